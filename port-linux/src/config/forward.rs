//! `[[forward]]`: ports of this host that lead to a host elsewhere.

mod value;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use ipnet::IpNet;
use serde::Serialize;
use toml::Spanned;

use super::error::Source;
use super::gateway::{Transport, UNQUOTABLE, is_quotable};
use super::value::Table;
use super::{ConfigError, Connection, Network, Path, Tunnel, file};

pub(super) use value::{ForwardPorts, Protocols, Target};

/// The port of ssh.
const SSH: u16 = 22;

const SSH_IS_HIDDEN: &str = "TCP port 22 is that of ssh: who logs in to this host from outside reaches the other one instead; another \
                             port, or an `address` of this host that is not used for that, leaves it as it is";

/// Ports of one protocol and IP version that lead to another host. Packets keep their source address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Forward {
    /// `proto`: one of its protocols.
    #[serde(rename = "proto")]
    pub protocol: Transport,
    /// `port`: the first one, from 1.
    pub first: u16,
    /// The last one, at least the first.
    pub last: u16,
    /// `address`: which packets to these ports.
    pub at: Entrance,
    /// `to`: the host.
    pub to: IpAddr,
    /// Its port; `None`: the one that the packet was sent to.
    pub to_port: Option<u16>,
}

/// The addresses whose ports are forwarded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Entrance {
    /// This one.
    Address(IpAddr),
    /// All of this host but these, which are the tunnel's own: `to` is reached through the tunnel.
    AllBut(Vec<IpAddr>),
    /// All of this host, for packets that come out of the tunnel: `to` is elsewhere, as a host of the LAN.
    Tunnel,
}

impl Forward {
    /// Whether the host is the connection's peer, or behind it by more than a default route.
    pub fn leads_to(&self, connection: &Connection) -> bool {
        let mut networks = connection.networks.iter().filter(|network| !network.is_default());
        connection.peer.contains(&self.to) || networks.any(|network| network.to.contains(&self.to))
    }

    /// Whether a port is among these.
    fn has(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Whether datagrams that come to a UDP port of mpt would be sent elsewhere.
    pub(super) fn takes(&self, port: u16) -> bool {
        self.protocol == Transport::Udp && self.has(port)
    }

    /// Whether some packet would be for both.
    fn meets(&self, other: &Self) -> bool {
        let apart = matches!((&self.at, &other.at), (Entrance::Address(one), Entrance::Address(other)) if one != other);
        self.protocol == other.protocol
            && self.to.is_ipv4() == other.to.is_ipv4()
            && self.first <= other.last
            && other.first <= self.last
            && !apart
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.protocol, self.first)?;
        if self.last > self.first {
            write!(out, "-{}", self.last)?;
        }
        match &self.at {
            Entrance::Address(address) => write!(out, " of {address}")?,
            Entrance::Tunnel => out.write_str(" from the tunnel")?,
            Entrance::AllBut(_) => {}
        }
        match self.to_port {
            Some(port) => write!(out, " to {}", SocketAddr::new(self.to, port)),
            None => write!(out, " to {}", self.to),
        }
    }
}

/// The peer in whose file a forward stands.
pub(super) struct Owner<'a> {
    pub(super) addresses: &'a [IpAddr],
    pub(super) networks: &'a [Network],
}

impl Owner<'_> {
    fn has(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address) || self.networks.iter().any(|network| network.to.contains(&address))
    }
}

/// The forwards of all files, and what they are checked against.
#[derive(Default)]
pub(super) struct Forwards {
    /// The UDP ports of mpt itself.
    own_ports: BTreeSet<u16>,
    main: Read,
    /// Those of the peers' files, with their places.
    of_peers: Vec<(Forward, String)>,
}

impl Forwards {
    /// Reads those of the main file. `own_ports` are the UDP ports of mpt itself.
    pub(super) fn new(
        tables: Vec<Spanned<Table<file::Forward>>>,
        own_ports: impl Iterator<Item = u16>,
        tunnel: &Tunnel,
        source: &Source<'_>,
    ) -> Result<Self, ConfigError> {
        let mut forwards = Self { own_ports: own_ports.collect(), ..Self::default() };
        forwards.main = forwards.read(tables, None, tunnel, source)?;
        Ok(forwards)
    }

    /// Takes those of a peer with whose file nothing is wrong.
    pub(super) fn add(&mut self, read: Read) {
        self.of_peers.extend(read.list);
    }

    /// Reads the tables of a file: of a peer's, or of the main one.
    pub(super) fn read(
        &self,
        tables: Vec<Spanned<Table<file::Forward>>>,
        owner: Option<&Owner<'_>>,
        tunnel: &Tunnel,
        source: &Source<'_>,
    ) -> Result<Read, ConfigError> {
        let mut read = Read::default();
        for table in tables {
            let at = table.span();
            let keys = Keys::new(table, owner, tunnel, source)?;
            let place = source.full_place(&keys.port.1);
            for forward in keys.expand() {
                if let Some(port) = self.own_ports.iter().find(|port| forward.takes(**port)) {
                    let problem = format_args!("mpt's own datagrams come to UDP port {port}");
                    return Err(source.error(&keys.port.1, problem, "ports that mpt does not use itself"));
                }
                let mut known = self.main.list.iter().chain(&self.of_peers).chain(&read.list);
                if let Some((other, place)) = known.find(|(other, _)| other.meets(&forward)) {
                    let problem = format_args!("stands in {place} already: {other}");
                    let allowed = "each port of an address in one [[forward]]";
                    return Err(source.error(&keys.port.1, problem, allowed));
                }
                if owner.is_some() && hides_ssh(&forward) {
                    read.warnings.push(source.warning(&keys.port.1, SSH_IS_HIDDEN));
                }
                read.list.push((forward, place.clone()));
                read.spans.push(keys.to.clone().unwrap_or(at.clone()));
            }
        }
        Ok(read)
    }

    /// All of them, and warnings. What the connections are, and whether there is `[listen]`, says whether `to` of the main file's is
    /// reached through the tunnel.
    pub(super) fn place(
        mut self,
        connections: &[Connection],
        (tunnel, listens): (&Tunnel, bool),
        source: &Source<'_>,
    ) -> (Vec<Forward>, Vec<String>) {
        let mut warnings = self.main.warnings;
        for ((forward, _), at) in self.main.list.iter_mut().zip(&self.main.spans) {
            let is_known = connections.iter().any(|connection| forward.leads_to(connection));
            let is_inside = is_known || tunnel.addresses.iter().any(|own| own.contains(&forward.to));
            let problem = if listens {
                let problem = "no peer has this address, or a network with it, in its `allowed_ips` now, so nothing gets there";
                (!is_known).then(|| problem.to_owned())
            } else if !is_inside {
                if let Entrance::AllBut(_) = forward.at {
                    forward.at = Entrance::Tunnel;
                }
                answerless(forward, connections, tunnel)
            } else {
                None
            };
            warnings.extend(problem.map(|problem| source.warning(at, problem)));
            warnings.extend(hides_ssh(forward).then(|| source.warning(at, SSH_IS_HIDDEN)));
        }
        let all = self.main.list.into_iter().chain(self.of_peers);
        (all.map(|(forward, _)| forward).collect(), warnings)
    }
}

/// That no forward of a configuration takes the datagrams of a path that comes to it.
pub(super) fn apart_from(forwards: &[Forward], path: &Path, source: &Source<'_>) -> Result<(), ConfigError> {
    let Some(forward) = forwards.iter().find(|forward| forward.takes(path.port)) else { return Ok(()) };
    let problem = format!(
        "[[forward]] {forward} takes the datagrams of path {}, which come to its port {}",
        path.name, path.port
    );
    Err(source.error_in_file(&problem, "another `port` for the path, or in [[forward]]"))
}

/// Whether nobody outside gets to ssh of this host any more.
fn hides_ssh(forward: &Forward) -> bool {
    forward.protocol == Transport::Tcp && forward.has(SSH) && matches!(forward.at, Entrance::AllBut(_))
}

/// Why hosts of the Internet that come out of the tunnel would get no answer.
fn answerless(forward: &Forward, connections: &[Connection], tunnel: &Tunnel) -> Option<String> {
    let is_v4 = forward.to.is_ipv4();
    let mut networks = connections.iter().flat_map(|connection| &connection.networks);
    let own = tunnel.addresses.iter().map(IpNet::addr).find(|own| own.is_ipv4() == is_v4)?;
    let is_default = |network: &Network| network.is_default() && network.to.addr().is_ipv4() == is_v4;
    let everything = if is_v4 { "0.0.0.0/0" } else { "::/0" };
    (!networks.any(is_default)).then(|| {
        format!(
            "only hosts in the networks of the connection come out of the tunnel. For all of the Internet, and nothing else of this \
             host through the tunnel: [[connection.network]] with to = \"{everything}\" and from = \"{}\"",
            IpNet::from(own)
        )
    })
}

/// The forwards of a file.
#[derive(Default)]
pub(super) struct Read {
    pub(super) list: Vec<(Forward, String)>,
    /// Where `to` of each stands.
    spans: Vec<Range<usize>>,
    pub(super) warnings: Vec<String>,
}

/// A table whose keys fit each other.
struct Keys {
    protocols: BTreeSet<Transport>,
    port: ((u16, u16), Range<usize>),
    at: Option<IpAddr>,
    /// Where `to` stands.
    to: Option<Range<usize>>,
    hosts: Vec<IpAddr>,
    to_port: Option<u16>,
    /// The tunnel's own addresses.
    own: Vec<IpAddr>,
}

impl Keys {
    fn new(
        table: Spanned<Table<file::Forward>>,
        owner: Option<&Owner<'_>>,
        tunnel: &Tunnel,
        source: &Source<'_>,
    ) -> Result<Self, ConfigError> {
        let at = table.span();
        let file::Forward { proto, port, to, address } = table.into_inner().0;
        if !is_quotable(&tunnel.name) {
            let problem = format_args!("`tunnel.name` is {:?}, which has {UNQUOTABLE}", tunnel.name);
            return Err(source.error(&at, problem, "another name for the tunnel interface"));
        }
        let own: Vec<IpAddr> = tunnel.addresses.iter().map(IpNet::addr).collect();
        let (address_at, address) =
            (address.as_ref().map(Spanned::span), address.map(|it| it.into_inner().0.0));
        let fits = |host: &IpAddr| address.is_none_or(|address| address.is_ipv4() == host.is_ipv4());
        let port = (port.get_ref().0, port.span());
        let to_at = to.as_ref().map(Spanned::span);
        let (host, to_port) = match to.map(Spanned::into_inner) {
            Some(Target::Host(host, port)) => (Some(host), port),
            Some(Target::Port(port)) => (None, Some(port)),
            None => (None, None),
        };
        let place = to_at.clone().unwrap_or(at.clone());
        let hosts = match (host, owner) {
            (Some(host), _) => {
                check_host(host, owner, &own, (source, &place))?;
                vec![host]
            }
            (None, Some(owner)) => {
                let first = |v4: bool| {
                    owner.addresses.iter().copied().find(|it| it.is_ipv4() == v4).filter(|host| fits(host))
                };
                first(true).into_iter().chain(first(false)).collect()
            }
            (None, None) => {
                let allowed =
                    "to = \"10.8.0.2:443\" or to = \"10.8.0.2\"; in the file of a peer it may be left out";
                return Err(source.error(&place, "`to` does not say which host", allowed));
            }
        };
        if let Some((at, address)) = address_at.zip(address)
            && !hosts.iter().any(fits)
        {
            let problem =
                if address.is_ipv4() { "`to` has no IPv4 address" } else { "`to` has no IPv6 address" };
            return Err(source.error(&at, problem, "an address of the IP version of `to`"));
        }
        let (first, last) = port.0;
        if to_port.is_some() && first < last {
            let problem = "one port for several: the ports of a range stay as they are";
            return Err(source.error(&place, problem, "`to` without a port"));
        }
        Ok(Self { protocols: proto.0, port, at: address, to: to_at, hosts, to_port, own })
    }

    /// One for each protocol and host.
    fn expand(&self) -> Vec<Forward> {
        let of = |protocol: Transport, to: IpAddr| {
            let own = self.own.iter().copied().filter(|own| own.is_ipv4() == to.is_ipv4());
            let at = self.at.map_or_else(|| Entrance::AllBut(own.collect()), Entrance::Address);
            let ((first, last), to_port) = (self.port.0, self.to_port.filter(|port| *port != self.port.0.0));
            Forward { protocol, first, last, at, to, to_port }
        };
        let protocols = self.protocols.iter();
        protocols.flat_map(|protocol| self.hosts.iter().map(|host| of(*protocol, *host))).collect()
    }
}

/// Whether a host that `to` names can be meant.
fn check_host(
    host: IpAddr,
    owner: Option<&Owner<'_>>,
    own: &[IpAddr],
    (source, at): (&Source<'_>, &Range<usize>),
) -> Result<(), ConfigError> {
    if own.contains(&host) {
        return Err(source.error(at, "this is our own tunnel address", "the address of another host"));
    }
    if !own.iter().any(|own| own.is_ipv4() == host.is_ipv4()) {
        let version = if host.is_ipv4() { "IPv4" } else { "IPv6" };
        let problem = format_args!("the tunnel interface has no {version} address");
        let allowed = "an address of an IP version that `tunnel.address` has, too";
        return Err(source.error(at, problem, allowed));
    }
    if owner.is_some_and(|owner| !owner.has(host)) {
        let allowed = "an address of the peer's `allowed_ips`, or in a network of these";
        return Err(source.error(at, "not an address of this peer, nor behind it", allowed));
    }
    Ok(())
}
