//! From nothing to a working tunnel: `mpt server setup`, `mpt peer` and `mpt join`.
//!
//! They write the files that people could write by hand, and ask the running mpt to read them again; nothing of a tunnel is theirs
//! alone. What is half done when something fails is taken back.

mod files;
pub mod forward;
mod invitation;
pub mod join;
pub mod list;
pub mod peers;
mod registry;
pub mod server;
mod service;
pub mod standby;

pub use invitation::{BadLine, Invitation};
pub use registry::Which;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ipnet::IpNet;

use crate::clean;
use crate::config::{Config, FromText, Name};
use crate::control::{self, default_socket};
use crate::failure::misconfigured;
use crate::history;
use crate::link::has_ipv6;

/// What switches IPv6 on, until the machine starts anew.
const SWITCH_IPV6_ON: &str = "sudo sysctl -w net.ipv6.conf.all.disable_ipv6=0";

/// Where configurations are.
const DIRECTORY: &str = "/etc/mpt";

/// A name for a configuration or a peer, which is the name of a file, too.
fn name(text: &str) -> Result<String> {
    let name = Name::from_text(text);
    Ok(name.map_err(|problem| misconfigured(format!("{text}: {problem}; allowed: {}", Name::ALLOWED)))?.0)
}

/// The configurations in a directory whose text is as wanted, in the order of their names.
fn configurations(directory: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_wanted = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "toml")
            && fs::read_to_string(path).is_ok_and(|text| is_wanted(&text))
    };
    let mut found: Vec<PathBuf> = files.filter(is_wanted).collect();
    found.sort();
    Ok(found)
}

/// Whether an mpt runs with this configuration's tunnel interface.
fn is_running(config: &Config) -> bool {
    control::report(Some(&default_socket(&config.tunnel.name))).is_ok()
}

/// The service of a configuration ends, and what is left of it on this host goes. Without a service, it has to have ended. One that has
/// an error, `None`, has not run since.
fn end(name: &str, file: &Path, config: Option<&Config>) -> Result<()> {
    if service::is_there() {
        service::stop(name)?;
    }
    let Some(config) = config else { return Ok(()) };
    if is_running(config) {
        bail!("mpt run -c {} is running: end it first, with Ctrl-C where it was started", file.display());
    }
    clean::clean(Some(&config.tunnel.name), None)?;
    let history = history::file_of(&config.tunnel.name);
    files::remove([history::table::aside(&history), history])
}

/// Refuses networks of `--network` that nothing here could be sent to.
fn admit(networks: &[IpNet]) -> Result<()> {
    match networks.iter().find(|network| network.addr().is_ipv6()) {
        Some(network) if !has_ipv6() => Err(misconfigured(format!(
            "--network {network}: IPv6 is switched off here; leave that network out, or switch IPv6 on: {SWITCH_IPV6_ON}"
        ))),
        _ => Ok(()),
    }
}

/// The addresses that hosts of a network may have. IPv6's first one stands for its routers (RFC 4291 section 2.6.1).
fn hosts(network: &IpNet) -> impl Iterator<Item = IpAddr> {
    let first = network.network();
    network.hosts().filter(move |address| *address != first)
}
