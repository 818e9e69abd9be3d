//! `mpt init`: a commented configuration from the interfaces of this machine, to be edited.

mod files;
mod write;

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Result, bail};
use ipnet::IpNet;
use mpt_proto::MAX_PATHS;

use crate::config::{Endpoint, Name};
use crate::link::{
    DefaultRoute, Ends, Interface, Interfaces, Missing, default_routes, is_mobile, reaches, unspecified,
};
use crate::names;
use crate::output;

/// The interfaces that a Raspberry Pi or a laptop gets over time: socket, Wi-Fi, a phone or stick on USB. Those
/// that are not there are proposed in comments.
const USUAL: [&str; 4] = ["eth0", "wlan0", "usb0", "wwan0"];

/// What the configuration is to say about the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The peer's addresses and names outside of the tunnel: each interface takes the first of an IP version it has.
    pub remotes: Vec<Endpoint>,
    /// Our tunnel addresses.
    pub addresses: Vec<IpNet>,
    /// The peer's tunnel addresses.
    pub peers: Vec<IpAddr>,
    /// The text of the peer's public key, if it is known.
    pub public_key: Option<String>,
    /// What else is known of a peer that has invited us.
    pub invited: Option<Invited>,
}

/// What an invitation says beside addresses and the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invited {
    /// The peer's name.
    pub name: String,
    /// The name of the tunnel interface.
    pub tunnel: String,
    /// The peer's UDP port.
    pub port: u16,
    /// The file with the pre-shared key, as the configuration names it.
    pub preshared_key_file: Option<String>,
    /// Networks behind the peer.
    pub networks: Vec<IpNet>,
    /// Whether what would take the tunnel goes nowhere when mpt has crashed.
    pub kill_switch: bool,
    /// LANs that use the tunnel, too: networks, or names of interfaces.
    pub share: Vec<String>,
    /// Servers to ask for names.
    pub dns: Vec<IpAddr>,
    /// Interfaces that carry a path each; `None`: all that lead out, also those that come later.
    pub only: Option<Vec<String>>,
}

/// The machine, as far as it matters here.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// Its interfaces.
    pub interfaces: Interfaces,
    /// Its default routes.
    pub default_routes: Vec<DefaultRoute>,
}

/// Where the peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Remote {
    /// As the configuration has it.
    endpoint: Endpoint,
    /// The address, or one that the name has now.
    address: IpAddr,
}

impl Remote {
    /// Of a peer's addresses and names; of each name an address of each IP version that it has, and warnings about those that are not
    /// known now.
    fn all(
        endpoints: &[Endpoint],
        lookup: impl Fn(&str) -> Result<Vec<IpAddr>, String>,
    ) -> (Vec<Self>, Vec<String>) {
        let (mut remotes, mut warnings) = (Vec::new(), Vec::new());
        for endpoint in endpoints {
            let addresses = match endpoint {
                Endpoint::Address(address) => vec![*address],
                Endpoint::Name(name) => lookup(name).unwrap_or_else(|error| {
                    warnings.push(format!(
                        "the name {name} cannot be resolved now ({error}): it is taken to have an IPv4 address"
                    ));
                    vec![NO_ADDRESS]
                }),
            };
            for is_ipv4 in [true, false] {
                let address = addresses.iter().find(|address| address.is_ipv4() == is_ipv4);
                remotes.extend(address.map(|&address| Self { endpoint: endpoint.clone(), address }));
            }
        }
        (remotes, warnings)
    }
}

/// Stands for an address that is not known (RFC 5737).
const NO_ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// A path that is proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Proposal {
    device: String,
    remote: Remote,
    /// Why it is only a comment.
    missing: Option<String>,
}

/// A configuration, and what whoever edits it should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// TOML.
    pub text: String,
    /// One line each.
    pub warnings: Vec<String>,
}

/// The file with our private key, as a draft names it that was printed and has no file.
const PRIVATE_KEY_FILE: &str = "mpt.key";

/// Runs `mpt init`: the draft to `file`, with a key beside it, or to standard output.
///
/// # Errors
/// When no interface could carry a path, netlink cannot be used, or a file cannot be made.
pub fn run(wanted: &Wanted, file: Option<&Path>) -> Result<()> {
    let key = file.map(files::key_beside).transpose()?;
    let draft = init(wanted, key.as_deref().unwrap_or(Path::new(PRIVATE_KEY_FILE)))?;
    for warning in &draft.warnings {
        tracing::warn!("{warning}");
    }
    let text = match file.zip(key.as_deref()) {
        Some((file, key)) => files::make(&draft, file, key)?,
        None => draft.text,
    };
    output::print(&text).map(drop)
}

/// Looks at this machine and drafts a configuration, whose key is in `key_file`.
///
/// # Errors
/// When no interface could carry a path, or netlink cannot be used.
pub fn init(wanted: &Wanted, key_file: &Path) -> Result<Draft> {
    let machine = Machine { interfaces: Interfaces::now()?, default_routes: default_routes()? };
    let has_route = |interface: &Interface, remote: IpAddr| reaches(interface.index, remote).unwrap_or(true);
    let (remotes, mut warnings) = Remote::all(&wanted.remotes, names::system);
    draft(&machine, (wanted, &remotes), key_file, &mut warnings, has_route)
}

fn draft(
    machine: &Machine,
    (wanted, remotes): (&Wanted, &[Remote]),
    key_file: &Path,
    warnings: &mut Vec<String>,
    has_route: impl Fn(&Interface, IpAddr) -> bool,
) -> Result<Draft> {
    let only = wanted.invited.as_ref().map(|invited| invited.only.as_deref());
    let mut proposals = match only {
        // Which interfaces it are is seen when it runs.
        Some(None) => Vec::new(),
        Some(Some(only)) => propose_only(&machine.interfaces, remotes, only)?,
        None => propose(&machine.interfaces, remotes),
    };
    if only.is_none() && proposals.iter().all(|proposal| proposal.missing.is_some()) {
        let seen: Vec<String> = proposals
            .iter()
            .filter_map(|proposal| {
                proposal.missing.as_ref().map(|why| format!("  {}: {why}", proposal.device))
            })
            .collect();
        bail!("no interface of this machine can carry a path now:\n{}", seen.join("\n"));
    }
    if proposals.len() > MAX_PATHS {
        let left_out: Vec<String> = proposals.drain(MAX_PATHS..).map(|proposal| proposal.device).collect();
        warnings
            .push(format!("a connection has at most {MAX_PATHS} paths: {} left out", left_out.join(", ")));
    }
    for proposal in proposals.iter().filter(|proposal| proposal.missing.is_none()) {
        let interface = machine.interfaces.named(&proposal.device);
        if interface.is_some_and(|interface| !has_route(interface, proposal.remote.address)) {
            warnings.push(format!(
                "there is no route to {} through {}: its path waits until there is one (a default route will do, or in the path gateway = \"..\", the router there)",
                proposal.remote.endpoint, proposal.device
            ));
        }
    }
    warnings.extend(shared_links(machine));
    let warnings = std::mem::take(warnings);
    Ok(Draft { text: write::configuration(&proposals, wanted, key_file, &warnings), warnings })
}

/// A path for each interface that could carry one, wired ones first, and comments for the others.
fn propose(interfaces: &Interfaces, remotes: &[Remote]) -> Vec<Proposal> {
    let known = interfaces.iter().filter(|interface| interface.may_lead_out());
    let mut proposals: Vec<Proposal> =
        known.map(|interface| propose_one(interface, interfaces, remotes)).collect();
    for device in USUAL.into_iter().filter(|&device| interfaces.named(device).is_none()) {
        if let Some(remote) = remotes.first().cloned() {
            let missing = Some("it is not there now".to_owned());
            proposals.push(Proposal { device: device.to_owned(), remote, missing });
        }
    }
    proposals.sort_by_key(|proposal| (proposal.missing.is_some(), Medium::of(&proposal.device)));
    proposals
}

/// Paths over the interfaces with these names, which may be away.
fn propose_only(interfaces: &Interfaces, remotes: &[Remote], only: &[String]) -> Result<Vec<Proposal>> {
    let propose = |name: &String| match interfaces.named(name) {
        Some(interface) => Ok(Proposal { missing: None, ..propose_one(interface, interfaces, remotes) }),
        None => bail!(
            "this machine has no interface {name} now; one that comes later is a [[connection.path]] with its device"
        ),
    };
    only.iter().map(propose).collect()
}

fn propose_one(interface: &Interface, interfaces: &Interfaces, remotes: &[Remote]) -> Proposal {
    let missing = |remote: IpAddr| {
        let local = unspecified(remote.is_ipv4());
        Ends { local, remote, device: Some(interface.name.clone()) }.interface(interfaces).err()
    };
    let explain = |missing: Missing| match missing {
        Missing::Carrier(_) => "it is switched off or has no carrier".to_owned(),
        Missing::Address(..) => "it has no address that leads to the peer".to_owned(),
        other => other.to_string(),
    };
    let works = remotes.iter().find(|remote| missing(remote.address).is_none());
    let none = || Remote { endpoint: NO_ADDRESS.into(), address: NO_ADDRESS };
    let remote = works.or(remotes.first()).cloned().unwrap_or_else(none);
    let missing = missing(remote.address).map(explain);
    Proposal { device: interface.name.clone(), remote, missing }
}

/// What an interface's name says of it, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Medium {
    Wire,
    Radio,
    Mobile,
}

impl Medium {
    fn of(device: &str) -> Self {
        match device {
            name if is_mobile(name) => Self::Mobile,
            name if name.starts_with("wl") => Self::Radio,
            _ => Self::Wire,
        }
    }
}

/// Paths that would share what lies behind them.
fn shared_links(machine: &Machine) -> Vec<String> {
    let name = |index: u32| machine.interfaces.iter().find(|i| i.index == index).map(|i| i.name.clone());
    let mut warnings = Vec::new();
    let routes = &machine.default_routes;
    for (number, route) in routes.iter().enumerate() {
        for later in routes.iter().skip(number + 1).filter(|later| later.ipv4 == route.ipv4) {
            let (Some(one), Some(other)) = (name(route.interface), name(later.interface)) else { continue };
            match (route.gateway, later.gateway) {
                (Some(gateway), Some(same)) if one != other && gateway == same && !is_fe80(gateway) => {
                    warnings.push(format!(
                        "{one} and {other} lead to the same router {gateway}: two paths, but perhaps one line behind it"
                    ));
                }
                (Some(gateway), Some(second)) if one == other && gateway != second => warnings.push(format!(
                    "two default routes go through {one} (via {gateway} and via {second}): they are one link, and one \
                     path"
                )),
                _ => {}
            }
        }
    }
    warnings
}

/// Many routers have the same link-local address, such as fe80::1: it says nothing.
fn is_fe80(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// The name of a path over an interface.
fn path_name(device: &str) -> String {
    device.chars().map(|c| if Name::may_have(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests;
