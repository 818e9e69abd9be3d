//! The host's resolver: while the tunnel is there, names are asked for at `tunnel.dns`.
//!
//! Where systemd-resolved runs it is told so for the tunnel interface, and forgets it with the interface. Else resolvconf (that
//! of Debian or openresolv, which share the command) keeps a record of mpt's until it is removed, beside those of others, and
//! makes /etc/resolv.conf of them. mpt does not write that file itself: nobody would know whose it is then.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::helper;
use super::{Depth, HostState, Item};

/// Exists while systemd-resolved runs.
const RESOLVED: &str = "/run/systemd/resolve/io.systemd.Resolve";

/// Where resolvconf's implementations keep their records, one file each: Debian's, openresolv's, and openresolv's since 3.13.
const RECORDS: [&str; 3] =
    ["/run/resolvconf/interface", "/run/resolvconf/interfaces", "/run/resolvconf/keys"];

const MISSING: &str = "`tunnel.dns` needs systemd-resolved, or the program resolvconf: neither is there. Install one of them:\n  \
                       sudo apt install systemd-resolved\n  sudo apt install openresolv\nor take `dns` out of [tunnel] and set the \
                       resolver by other means";

/// Who sets this host's resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Service {
    /// systemd-resolved, through this program `resolvectl`.
    Resolved(PathBuf),
    /// This program `resolvconf`.
    Resolvconf(PathBuf),
}

impl Service {
    fn here() -> Option<Self> {
        let resolved = helper::find("resolvectl").filter(|_| Path::new(RESOLVED).exists());
        resolved.map(Self::Resolved).or_else(|| helper::find("resolvconf").map(Self::Resolvconf))
    }
}

/// The record's name. Debian's resolvconf takes the servers of `tun*` before those of Ethernet and Wi-Fi
/// (/etc/resolvconf/interface-order).
fn record(device: &str) -> String {
    format!("tun.{device}")
}

/// What resolvconf is given, and keeps.
fn lines(servers: &[IpAddr]) -> String {
    servers.iter().map(|server| format!("nameserver {server}\n")).collect()
}

/// Checks, without changing anything, that the resolver can be set if it is to be.
///
/// # Errors
/// Says what to install.
pub(super) fn check(state: &HostState) -> Result<()> {
    let wants = state.items.iter().any(|item| matches!(item, Item::Resolver(_)));
    if wants && Service::here().is_none() {
        return Err(anyhow!(MISSING));
    }
    Ok(())
}

/// The item that is there: the servers that the resolver has for the tunnel interface.
pub(super) fn present(state: &HostState, depth: Depth) -> Option<Item> {
    let wanted = state.items.iter().find_map(|item| match item {
        Item::Resolver(servers) => Some(servers),
        _ => None,
    });
    // Other network namespaces, which may have a tunnel interface of the same name, share the records.
    if wanted.is_none() && depth != Depth::Start {
        return None;
    }
    let record = record(&state.device);
    let kept =
        RECORDS.iter().find_map(|directory| fs::read_to_string(Path::new(directory).join(&record)).ok());
    if let Some(text) = kept {
        let servers = text.lines().filter_map(|line| line.strip_prefix("nameserver ")?.trim().parse().ok());
        return Some(Item::Resolver(servers.collect()));
    }
    // What systemd-resolved has goes with the interface.
    let wanted = wanted?;
    let Some(Service::Resolved(resolvectl)) = Service::here() else { return None };
    if depth == Depth::Quick {
        return Some(Item::Resolver(wanted.clone()));
    }
    let said = |what: &str| helper::run(&resolvectl, &[what, &state.device], "").unwrap_or_default();
    // "Link 7 (mpt0): 10.8.0.1 fd00::1"
    let values = |text: String| -> Vec<String> {
        let (_, values) = text.split_once("):").unwrap_or_default();
        values.split_whitespace().map(str::to_owned).collect()
    };
    if values(said("domain")) != ["~."] {
        return None;
    }
    let servers = values(said("dns")).iter().map(|server| server.parse()).collect::<Result<_, _>>().ok()?;
    Some(Item::Resolver(servers))
}

/// Sets the resolver.
///
/// # Errors
/// What the program says, and what it lacks.
pub(super) fn set(device: &str, servers: &[IpAddr]) -> Result<()> {
    let context = || format!("cannot set the resolver of {device}{}", privilege_hint());
    match Service::here().context(MISSING)? {
        Service::Resolved(resolvectl) => {
            let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
            let dns: Vec<&str> =
                ["dns", device].into_iter().chain(servers.iter().map(String::as_str)).collect();
            for arguments in [&dns[..], &["domain", device, "~."], &["default-route", device, "true"]] {
                helper::run(&resolvectl, arguments, "").with_context(context)?;
            }
        }
        Service::Resolvconf(resolvconf) => {
            // openresolv: before all others (-m 0), and no other is asked (-x). Debian's knows neither.
            let record = record(device);
            let arguments: &[&str] =
                if is_openresolv() { &["-a", &record, "-m", "0", "-x"] } else { &["-a", &record] };
            helper::run(&resolvconf, arguments, &lines(servers)).with_context(context)?;
        }
    }
    Ok(())
}

/// Puts the resolver back.
///
/// # Errors
/// What the program says.
pub(super) fn restore(device: &str) -> Result<()> {
    let record = record(device);
    let has_record = RECORDS.iter().any(|directory| Path::new(directory).join(&record).exists());
    let context = || format!("cannot put the resolver back{}", privilege_hint());
    match Service::here() {
        _ if has_record => {
            let resolvconf = helper::find("resolvconf").context("the program resolvconf is gone")?;
            // openresolv: no complaint if it is gone meanwhile (-f).
            let arguments: &[&str] = if is_openresolv() { &["-f", "-d", &record] } else { &["-d", &record] };
            helper::run(&resolvconf, arguments, "").with_context(context)?;
        }
        Some(Service::Resolved(resolvectl)) => {
            // The interface may have gone, and its resolver with it.
            let _ = helper::run(&resolvectl, &["revert", device], "");
        }
        _ => {}
    }
    Ok(())
}

/// Debian's resolvconf keeps its hooks in a directory that openresolv does not have.
fn is_openresolv() -> bool {
    !Path::new("/etc/resolvconf/update.d").exists()
}

fn privilege_hint() -> &'static str {
    if rustix::process::geteuid().is_root() {
        ""
    } else {
        " (mpt does not run as root, and may lack the right to)"
    }
}
