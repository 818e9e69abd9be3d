//! The service that systemd runs: `mpt@NAME` for `/etc/mpt/NAME.toml`.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The directory that systemd makes when it runs the machine (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// Where the package puts the unit.
const UNITS: [&str; 3] = [
    "/etc/systemd/system/mpt@.service",
    "/usr/lib/systemd/system/mpt@.service",
    "/lib/systemd/system/mpt@.service",
];

/// Whether systemd runs this machine and has the unit.
pub(super) fn is_there() -> bool {
    Path::new(BOOTED).is_dir() && UNITS.iter().any(|unit| Path::new(unit).is_file())
}

/// Starts the service, now and at each boot.
pub(super) fn start(name: &str) -> Result<()> {
    systemctl(&["enable", "--now", &unit(name)])
}

/// Ends the service, now and for good.
pub(super) fn stop(name: &str) -> Result<()> {
    systemctl(&["disable", "--now", &unit(name)])
}

/// What people type to read its log.
pub(super) fn log_command(name: &str) -> String {
    format!("journalctl -u {}", unit(name))
}

fn unit(name: &str) -> String {
    format!("mpt@{name}")
}

fn systemctl(arguments: &[&str]) -> Result<()> {
    let output = Command::new("systemctl").args(arguments).stdin(Stdio::null()).output();
    let output = output.context("cannot run systemctl")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("systemctl {} failed: {}", arguments.join(" "), said.trim())
}
