//! What makes a gateway of a host: `tunnel.share`, `tunnel.dns` and `tunnel.direct`.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;
use toml::Spanned;

use super::error::Source;
use super::seen::earlier;
use super::value::{FromText, Host, InterfaceName, PortRange, Prefix, Text};
use super::{ConfigError, Tunnel};
use crate::link::Interface;

/// One of `tunnel.share`: a LAN whose hosts use the tunnel with this host's tunnel address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Share {
    /// The hosts with an address in this network.
    Network(IpNet),
    /// The hosts behind this interface.
    Interface(String),
}

impl Share {
    /// Whether these hosts are behind an interface, by its name or as it has an address in their network.
    pub fn is_at(&self, interface: &Interface) -> bool {
        match self {
            Self::Network(network) => interface.addresses.iter().any(|address| network.contains(address)),
            Self::Interface(name) => interface.is_named(name),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => write!(out, "{network}"),
            Self::Interface(name) => out.write_str(name),
        }
    }
}

impl FromText for Share {
    const ALLOWED: &'static str =
        "a network such as 192.168.6.0/24 or fd06::/64, or the name of an interface such as lan0";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        // Names of interfaces have no slash. Who writes an address alone means a network.
        if text.contains('/') || text.parse::<IpAddr>().is_ok() {
            let network = Prefix::from_text(text)?.0;
            return if network.prefix_len() == 0 {
                Err("everything is no LAN")
            } else {
                Ok(Self::Network(network))
            };
        }
        let name = InterfaceName::from_text(text)?.0;
        if is_quotable(&name) { Ok(Self::Interface(name)) } else { Err(UNQUOTABLE) }
    }
}

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One of `tunnel.direct`: packets that leave past the tunnel in spite of a default route through it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exception {
    /// Those to this network.
    Network(IpNet),
    /// Those to these ports, from the first to the last.
    Ports {
        /// Of which protocol.
        protocol: Transport,
        /// From 1.
        first: u16,
        /// At least the first.
        last: u16,
    },
    /// Those of this user's programs, by name or number.
    User(String),
    /// Those of the programs in this control group (version 2) and in those below it.
    Cgroup(String),
}

impl fmt::Display for Exception {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => write!(out, "{network}"),
            Self::Ports { protocol, first, last } if first == last => write!(out, "{protocol} {first}"),
            Self::Ports { protocol, first, last } => write!(out, "{protocol} {first}-{last}"),
            Self::User(name) => write!(out, "user {name}"),
            Self::Cgroup(path) => write!(out, "cgroup {path}"),
        }
    }
}

impl FromText for Exception {
    const ALLOWED: &'static str = "a network such as 198.51.100.0/24, \"tcp 22\", \"udp 5000-5010\", \"user NAME\" or \"cgroup PATH\", such \
                                   as \"cgroup system.slice/backup.service\"";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        let Some((kind, rest)) = text.split_once(' ') else {
            let network = Prefix::from_text(text)?.0;
            return if network.prefix_len() == 0 {
                Err("everything would leave past the tunnel")
            } else {
                Ok(Self::Network(network))
            };
        };
        let ports = |protocol| {
            let (first, last) = PortRange::from_text(rest)?.0;
            Ok(Self::Ports { protocol, first, last })
        };
        match kind {
            "tcp" => ports(Transport::Tcp),
            "udp" => ports(Transport::Udp),
            "user" => user(rest),
            "cgroup" => cgroup(rest),
            _ => Err("unknown kind of exception"),
        }
    }
}

fn user(name: &str) -> Result<Exception, &'static str> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 32 || !name.chars().all(is_fit) {
        return Err("not the name or number of a user");
    }
    Ok(Exception::User(name.to_owned()))
}

fn cgroup(path: &str) -> Result<Exception, &'static str> {
    let path = path.strip_prefix("/sys/fs/cgroup").unwrap_or(path);
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Err("the root of the control groups has all programs");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("not the path of a control group");
    }
    // The longest string that nft takes, a rule for which is tested.
    if path.len() > 255 {
        return Err("too long");
    }
    if is_quotable(path) { Ok(Exception::Cgroup(path.to_owned())) } else { Err(UNQUOTABLE) }
}

pub(super) const UNQUOTABLE: &str = "a character that `nft` does not take in a name";

/// Whether `nft` reads a name in quotes as it stands: `*` at the end would mean any end.
pub(super) fn is_quotable(name: &str) -> bool {
    name.chars().all(|c| !c.is_control() && !matches!(c, '"' | '\\' | '*'))
}

/// The lists as the file has them.
pub(super) struct Lists {
    pub(super) share: Vec<Spanned<Text<Share>>>,
    pub(super) dns: Vec<Spanned<Text<Host>>>,
    pub(super) direct: Vec<Spanned<Text<Exception>>>,
}

impl Lists {
    /// Checks the lists against the rest of the table, and puts them into it.
    pub(super) fn check(self, tunnel: &mut Tunnel, source: &Source) -> Result<(), ConfigError> {
        let has_version = |ipv4: bool| tunnel.addresses.iter().any(|own| own.addr().is_ipv4() == ipv4);
        for share in &self.share {
            if let Share::Network(network) = &share.get_ref().0
                && !has_version(network.addr().is_ipv4())
            {
                let version = if network.addr().is_ipv4() { "IPv4" } else { "IPv6" };
                let problem = format_args!(
                    "the tunnel interface has no {version} address for the hosts of that network"
                );
                let allowed = "a network of an IP version that `tunnel.address` has, too";
                return Err(source.error(&share.span(), problem, allowed));
            }
        }
        let first = self.share.first().map(Spanned::span).or(self.direct.first().map(Spanned::span));
        if let Some(at) = first.filter(|_| !is_quotable(&tunnel.name)) {
            let problem = format_args!("`tunnel.name` is {:?}, which has {UNQUOTABLE}", tunnel.name);
            return Err(source.error(&at, problem, "another name for the tunnel interface"));
        }
        let is_tunnel = |share: &Share| matches!(share, Share::Interface(name) if *name == tunnel.name);
        if let Some(share) = self.share.iter().find(|share| is_tunnel(&share.get_ref().0)) {
            let problem = "this is the tunnel interface itself";
            return Err(source.error(&share.span(), problem, "an interface with a LAN behind it"));
        }
        tunnel.share = unique(self.share, source)?;
        tunnel.direct = unique(self.direct, source)?;
        let mut seen = HashMap::new();
        for server in self.dns {
            let at = server.span();
            let server = server.into_inner().0.0;
            if let Some(line) = earlier(&mut seen, server, source.line(&at)) {
                let problem = format_args!("stands in line {line} already");
                return Err(source.error(&at, problem, "each server once"));
            }
            tunnel.dns.push(server);
        }
        Ok(())
    }
}

/// The values of a list in which none may stand twice.
fn unique<T: Clone + Eq + Hash>(list: Vec<Spanned<Text<T>>>, source: &Source) -> Result<Vec<T>, ConfigError> {
    let mut seen = HashMap::new();
    let mut values = Vec::new();
    for value in list {
        let (at, value) = (value.span(), value.into_inner().0);
        if let Some(line) = earlier(&mut seen, value.clone(), source.line(&at)) {
            return Err(source.error(&at, format_args!("stands in line {line} already"), "each entry once"));
        }
        values.push(value);
    }
    Ok(values)
}

/// The routers that paths name, by device and IP version: one each, with the place of the path.
#[derive(Default)]
pub(super) struct Gateways(HashMap<(String, bool), (IpAddr, String)>);

impl Gateways {
    /// Notes the router of a path's device. Returns the first one that it has, and of which path.
    pub(super) fn note(&mut self, device: &str, gateway: IpAddr, place: &str) -> &(IpAddr, String) {
        let key = (device.to_owned(), gateway.is_ipv4());
        self.0.entry(key).or_insert_with(|| (gateway, place.to_owned()))
    }

    /// Checks `gateway` of a path with this device and local address.
    pub(super) fn check(
        &mut self,
        gateway: Option<Spanned<Text<Host>>>,
        device: Option<&str>,
        local: IpAddr,
        source: &Source,
    ) -> Result<Option<IpAddr>, ConfigError> {
        let Some(gateway) = gateway else { return Ok(None) };
        let at = gateway.span();
        let gateway = gateway.into_inner().0.0;
        let Some(device) = device else {
            let problem = "a router is one on the link of a device, and `device` is missing";
            return Err(source.error(&at, problem, "this with device = \"eth1\", or no gateway"));
        };
        if gateway.is_ipv4() != local.is_ipv4() {
            let problem = format_args!("not the IP version of `local`, which is {local}");
            return Err(source.error(&at, problem, "an address of the same IP version"));
        }
        if gateway == local {
            return Err(source.error(&at, "the same as `local`", "the router's address"));
        }
        let place = format!("the path in line {}", source.line(&at));
        let (first, place) = self.note(device, gateway, &place);
        if *first != gateway {
            let problem = format_args!("{place} has the same device, and the gateway {first}");
            return Err(source.error(&at, problem, "one router for a device"));
        }
        Ok(Some(gateway))
    }
}
