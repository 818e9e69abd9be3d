//! `mpt check`: the configuration as mpt understands it, or what is wrong with it.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use anyhow::Result;
use mpt_proto::{Aspect, Policy};
use mpt_seal::PresharedKey;

use crate::config::{Config, ConfigError, Mistakes, Network, path_lines};
use crate::doctor::{self, Finding};
use crate::failure::misconfigured;
use crate::host_state::HostState;
use crate::keys::encode;
use crate::link::unspecified;
use crate::mtu::inside_wireguard;
use crate::names;
use crate::output;

/// Runs `mpt check`: looks for mistakes in the file and, unless it is `offline`, at what of this host is in its way. Offline, the file may
/// be of another machine, and nothing of this one is looked at.
///
/// # Errors
/// What is wrong with the file; and what keeps this host from the default route that it wants.
pub fn check(file: &Path, offline: bool) -> Result<()> {
    let name = file.display().to_string();
    let text = Config::text(file)?;
    let Mistakes { config, errors, may_be_more } = Mistakes::find(&text, &name, offline);
    let Some(config) = config else {
        return Err(all(&errors, may_be_more));
    };
    let mut warnings = config.warnings().to_vec();
    if !offline {
        let host_state = HostState::wanted(&config);
        host_state.check()?;
        warnings.extend(host_state.warnings());
        warnings.extend(unknown_names(&config));
        let lines = path_lines(&text, &name);
        match doctor::of_host(&config) {
            Ok(findings) => warnings.extend(findings.iter().map(|finding| of_host(finding, &name, &lines))),
            Err(error) => {
                warnings.push(format!("this host's interfaces and routes cannot be looked at: {error:#}"));
            }
        }
    }
    for warning in &warnings {
        output::complain(&format!("warning: {warning}\n"));
    }
    if let [first, others @ ..] = config.peer_errors() {
        for error in others {
            output::complain(&format!("{error}\n"));
        }
        return Err(misconfigured(first.to_string()));
    }
    output::print(&format!("{name}: ok\n{}", summary(&config, offline))).map(drop)
}

/// All mistakes as one error.
fn all(errors: &[ConfigError], may_be_more: bool) -> anyhow::Error {
    let mut text = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\nmpt: ");
    if may_be_more && errors.len() > 1 {
        text += "\nWhat is behind these mistakes is seen when they are mended.";
    }
    misconfigured(text)
}

/// What of this host is in the way, with the line of the path that it concerns.
fn of_host(finding: &Finding, file: &str, lines: &[(String, usize)]) -> String {
    let line = lines.iter().find(|(path, _)| finding.path.as_ref() == Some(path));
    let place = line.map_or_else(|| file.to_owned(), |(_, line)| format!("{file}:{line}"));
    let Finding { what, why, mend, .. } = finding;
    format!("{place}: {what}. Why it matters: {why}. What mends it: {mend}")
}

/// Names of peers that have no address now, or none of the IP version of a path.
fn unknown_names(config: &Config) -> Vec<String> {
    let mut known: HashMap<&str, Result<Vec<IpAddr>, String>> = HashMap::new();
    let mut warnings = Vec::new();
    for path in config.connections.iter().flat_map(|connection| &connection.paths) {
        let Some(name) = path.remote_name.as_deref() else { continue };
        let is_first = !known.contains_key(name);
        match known.entry(name).or_insert_with(|| names::system(name)) {
            Err(error) if is_first => warnings.push(format!(
                "the name {name} cannot be resolved now: {error}. Its paths wait until it can be"
            )),
            Ok(addresses) if addresses.iter().all(|it| it.is_ipv4() != path.local.is_ipv4()) => {
                let version = if path.local.is_ipv4() { 4 } else { 6 };
                warnings.push(format!(
                    "path {}: the name {name} has no IPv{version} address now, which local = \"{}\" wants",
                    path.name, path.local
                ));
            }
            _ => {}
        }
    }
    warnings
}

fn summary(config: &Config, offline: bool) -> String {
    let tunnel = &config.tunnel;
    let addresses: Vec<String> = tunnel.addresses.iter().map(ToString::to_string).collect();
    let mtu = tunnel.mtu.map_or("auto".to_owned(), |mtu| mtu.to_string());
    let mut text = format!("tunnel interface {}: {}, MTU {mtu}\n", tunnel.name, addresses.join(", "));
    // Writing to a String cannot fail.
    let _ = match tunnel.mtu {
        Some(mtu) => {
            let [four, six] = [true, false].map(|is_ipv4| inside_wireguard(mtu, unspecified(is_ipv4)));
            writeln!(text, "  WireGuard inside it: MTU {four} over IPv4, {six} over IPv6")
        }
        None => writeln!(text, "  WireGuard inside it: its MTU less 60 over IPv4, 80 over IPv6"),
    };
    let mut networks = config.connections.iter().flat_map(|connection| &connection.networks);
    if networks.any(Network::is_default) {
        let kill_switch =
            if tunnel.kill_switch { "stays unreachable until mpt starts again" } else { "goes past it" };
        let _ = writeln!(
            text,
            "  default route by policy rules; after a crash, what it would carry {kill_switch}"
        );
    }
    let list = [
        ("LAN that uses it with this host's address in it:", output::list(&tunnel.share)),
        ("names are asked for at", output::list(&tunnel.dns)),
        ("past it:", output::list(&tunnel.direct)),
    ];
    for (what, values) in list.iter().filter(|(_, values)| !values.is_empty()) {
        let _ = writeln!(text, "  {what} {values}");
    }
    let _ = match &config.security {
        Some(_) if offline => writeln!(text, "encrypted: the key is not looked at"),
        Some(security) => {
            let public_key = security.private_key.public();
            writeln!(text, "encrypted: our public key is {}", encode(public_key.as_bytes()))
        }
        None => writeln!(text, "not encrypted: whoever is on the way can read and change packets"),
    };
    for connection in &config.connections {
        let peers: Vec<String> = connection.peer.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "connection {} to {}: {}, {} path{}",
            connection.name,
            peers.join(", "),
            connection.policy.name(),
            connection.paths.len(),
            if connection.paths.len() == 1 { "" } else { "s" }
        );
        if let Some(keys) = &connection.keys {
            let preshared = if keys.preshared == PresharedKey::NONE { "" } else { ", and a pre-shared key" };
            let _ = writeln!(text, "  public key {}{preshared}", encode(keys.public.as_bytes()));
        }
        if let Some(auto) = &connection.auto {
            let except = output::list(&auto.except);
            let except = if except.is_empty() { String::new() } else { format!(", but {except}") };
            let _ = writeln!(
                text,
                "  paths over all interfaces that lead out{except} -> {} port {}",
                output::list(&auto.remotes),
                connection.remote_port
            );
        }
        for path in &connection.paths {
            let disabled = if path.enabled { "" } else { ", disabled" };
            let place = path.remote_name.clone().unwrap_or_else(|| path.remote.to_string());
            let remote = match (path.is_open(), path.roaming) {
                (true, _) => "wherever the peer is".to_owned(),
                (false, true) => format!("{place} port {} at first", path.remote_port),
                (false, false) => format!("{place} port {}", path.remote_port),
            };
            let data = path.data.map_or(String::new(), |plan| format!(", data plan: {plan}"));
            let gateway = path.gateway.map_or(String::new(), |gateway| format!(" by way of {gateway}"));
            let share = match connection.policy {
                Policy::Redundant => "a copy of each packet".to_owned(),
                policy if policy.has(Aspect::Tier) => format!("tier {}", path.tier),
                policy if policy.has(Aspect::Rank) => format!("rank {}", path.rank),
                _ => format!("weight {}", path.weight),
            };
            let _ = writeln!(
                text,
                "  path {}: {} port {} -> {remote}{gateway}, {share}{data}{disabled}",
                path.name, path.local, path.port
            );
        }
        for network in &connection.networks {
            let from = network.from.map_or(String::new(), |from| format!(" from {from}"));
            let _ = writeln!(text, "  network {}{from}", network.to);
        }
    }
    text
}
