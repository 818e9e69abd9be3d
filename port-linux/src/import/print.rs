//! Writes what was read from the original as our TOML.

use std::collections::HashSet;
use std::fmt::{self, Display, Write};

use super::original::{Connection, Interface};
use super::path::Path;
use crate::config::{Name, PORT};

/// The configuration file: the same settings, and a comment for each thing that has no equivalent.
pub(super) fn configuration(interface: &Interface, connections: &[Connection], files: &[String]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_configuration(&mut out, interface, connections, files);
    out
}

fn write_configuration(
    out: &mut String,
    interface: &Interface,
    connections: &[Connection],
    files: &[String],
) -> fmt::Result {
    writeln!(out, "# Converted by `mpt import` from the configuration of the original MPT:")?;
    for file in files {
        writeln!(out, "#   {}", one_line(file))?;
    }
    writeln!(out, "# A comment that begins with a file and a line tells what has no equivalent, and why.")?;
    writeln!(out, "# Change both ends to mpt together. docs/configuration.md describes every key.")?;
    writeln!(
        out,
        "\n# The original encrypts nothing. With keys, [security] does, with mpt at both ends: mpt genkey --help."
    )?;
    writeln!(out, "security = \"none\"")?;
    writeln!(out, "\n[tunnel]\nname = {}", quoted(&interface.name))?;
    writeln!(out, "address = [{}]", list(interface.addresses.iter().map(quoted)))?;
    writeln!(out, "mtu = {}  # \"auto\" finds the largest that no path has to split", interface.mtu)?;
    remarks(out, &interface.remarks)?;
    let mut names = HashSet::new();
    for connection in connections {
        write_connection(out, connection, &mut names)?;
    }
    Ok(())
}

fn write_connection(out: &mut String, connection: &Connection, names: &mut HashSet<String>) -> fmt::Result {
    let name = unique(&connection.name, names);
    writeln!(out, "\n[[connection]]  # {}", one_line(&connection.files.join(", ")))?;
    writeln!(out, "name = {}", quoted(&name))?;
    if name != connection.name {
        writeln!(out, "# its name was {}", one_line(&connection.name))?;
    }
    writeln!(out, "peer = [{}]", list(connection.peers.iter().map(quoted)))?;
    writeln!(out, "port = {}", connection.port.unwrap_or(PORT))?;
    writeln!(out, "remote_port = {}", connection.remote_port)?;
    writeln!(
        out,
        "policy = \"weighted\"  # as the original; \"adaptive\" measures the paths and needs no weights"
    )?;
    if connection.window == 0 {
        writeln!(out, "sequence = false")?;
    }
    remarks(out, &connection.remarks)?;
    writeln!(
        out,
        "\n[connection.reorder]\nwindow = {}\ndelay_ms = {}",
        connection.window, connection.delay_ms
    )?;
    for network in &connection.networks {
        writeln!(out, "\n[[connection.network]]\nto = {}", quoted(network.to))?;
        if network.from.prefix_len() > 0 {
            writeln!(out, "from = {}", quoted(network.from))?;
        }
        remarks(out, &network.remarks)?;
    }
    let mut names = HashSet::new();
    for (n, path) in connection.paths.iter().enumerate() {
        write_path(out, path, &unique(path.device.as_deref().unwrap_or(&format!("path_{n}")), &mut names))?;
    }
    Ok(())
}

fn write_path(out: &mut String, path: &Path, name: &str) -> fmt::Result {
    writeln!(out, "\n[[connection.path]]\nname = {}", quoted(name))?;
    writeln!(out, "local = {}\nremote = {}", quoted(path.local), quoted(path.remote))?;
    if let Some(device) = &path.device {
        writeln!(out, "device = {}", quoted(device))?;
    }
    writeln!(out, "weight = {}", path.weight)?;
    match path.keepalive {
        None => writeln!(out, "liveness = \"off\"")?,
        Some((keepalive, dead)) => {
            let (interval, dead) = (1000 * keepalive, 1000 * dead);
            writeln!(
                out,
                "liveness = {{ interval_ms = {interval}, idle_ms = {interval}, dead_ms = {dead} }}"
            )?;
        }
    }
    if !path.enabled {
        writeln!(out, "enabled = false")?;
    }
    for (key, ports) in path.pins.iter().filter(|(_, ports)| !ports.is_empty()) {
        writeln!(out, "{key} = [{}]", list(ports))?;
    }
    remarks(out, &path.remarks)
}

fn remarks(out: &mut String, remarks: &[String]) -> fmt::Result {
    remarks.iter().try_for_each(|remark| writeln!(out, "# {}", one_line(remark)))
}

fn list(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// A TOML string.
fn quoted(text: impl Display) -> String {
    toml::Value::String(text.to_string()).to_string()
}

/// Fit for a comment: TOML allows no control characters there.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Characters kept free for a hyphen and a number.
const ROOM: usize = 4;

/// A name that mpt accepts and that was not used before, as like the original one as can be.
fn unique(name: &str, used: &mut HashSet<String>) -> String {
    let accepted = |c: char| if Name::may_have(c) { c } else { '_' };
    let base: String = name.chars().take(Name::MAX - ROOM).map(accepted).collect();
    let base = if base.is_empty() { "connection".to_owned() } else { base };
    let mut candidate = base.clone();
    for n in 2.. {
        if used.insert(candidate.clone()) {
            break;
        }
        candidate = format!("{base}-{n}");
    }
    candidate
}
