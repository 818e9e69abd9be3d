//! Which connection carries an inner packet, and which inner packets a connection may bring.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use mpt_proto::Handle;

use crate::config::{Connection, Network, Share};

/// Networks behind peers. Looking an address up takes as many steps as there are lengths of prefixes, however many networks there are.
#[derive(Debug, Default)]
struct Networks {
    /// For each prefix, who is behind it and which sources may go there, the longest source prefix first.
    owners: HashMap<IpNet, Vec<(Option<IpNet>, Handle)>>,
    /// Lengths of the prefixes, the longest first, of IPv4 and of IPv6.
    lengths: [Vec<u8>; 2],
}

impl Networks {
    fn add(&mut self, network: Network, connection: Handle) {
        let owners = self.owners.entry(network.to.trunc()).or_default();
        owners.push((network.from, connection));
        owners.sort_by_key(|(from, _)| std::cmp::Reverse(from.map_or(0, |from| from.prefix_len())));
        let lengths = &mut self.lengths[usize::from(network.to.addr().is_ipv6())];
        if !lengths.contains(&network.to.prefix_len()) {
            lengths.push(network.to.prefix_len());
            lengths.sort_by_key(|length| std::cmp::Reverse(*length));
        }
    }

    /// Who is behind the prefixes with this address, the longest prefix first.
    fn with(&self, address: IpAddr) -> impl Iterator<Item = &Vec<(Option<IpNet>, Handle)>> {
        self.lengths[usize::from(address.is_ipv6())].iter().filter_map(move |length| {
            let prefix = IpNet::new(address, *length).ok()?.trunc();
            self.owners.get(&prefix)
        })
    }
}

/// Where an inner packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To this connection.
    To(Handle),
    /// To none: a multicast, broadcast or link-local packet, and no connection has `multicast = true`.
    LinkScoped {
        /// Whether somebody may miss it. `false`: the kernel sends such packets by itself on every interface (router
        /// solicitations, neighbour solicitations, reports of multicast listeners).
        is_missed: bool,
    },
    /// No connection's peer or network has that destination.
    None,
}

/// The connections' peers and networks, ready to be searched.
#[derive(Debug, Default)]
pub struct Routes {
    peers: HashMap<IpAddr, Handle>,
    /// Others with the address of a peer: they stand by for it.
    standbys: HashSet<(IpAddr, Handle)>,
    networks: Networks,
    /// The connection with `multicast = true`: the link that multicast, broadcast and link-local packets belong to.
    multicast: Option<Handle>,
    /// The broadcast addresses of the tunnel's own prefixes.
    broadcasts: Vec<Ipv4Addr>,
    /// The connection and source that were accepted last: packets come in trains.
    accepted: Cell<Option<(Handle, IpAddr)>>,
}

impl Routes {
    /// From the tunnel's addresses, the LANs that share them, and the connections. Of those that have the same
    /// peer or network, packets take the first.
    pub fn new<'c>(
        tunnel: &[IpNet],
        shares: &[Share],
        connections: impl Iterator<Item = (Handle, &'c Connection)>,
    ) -> Self {
        let broadcasts = tunnel.iter().filter_map(broadcast).collect();
        let mut routes = Self { broadcasts, ..Self::default() };
        let is_shared = |from: IpNet| {
            shares.iter().any(|share| match share {
                Share::Network(network) => network.contains(&from),
                Share::Interface(_) => true,
            })
        };
        for (handle, connection) in connections {
            if connection.multicast {
                routes.multicast.get_or_insert(handle);
            }
            for &peer in &connection.peer {
                if *routes.peers.entry(peer).or_insert(handle) != handle {
                    routes.standbys.insert((peer, handle));
                }
            }
            for network in &connection.networks {
                routes.networks.add(*network, handle);
                // What comes from a LAN that shares the tunnel has the tunnel's address by now.
                if network.from.is_some_and(is_shared) {
                    let own = tunnel.iter().map(|own| IpNet::from(own.addr()));
                    own.filter(|own| own.addr().is_ipv4() == network.to.addr().is_ipv4()).for_each(|own| {
                        routes.networks.add(Network { to: network.to, from: Some(own) }, handle);
                    });
                }
            }
        }
        routes
    }

    /// The connection for this packet: the peer itself first, then the longest prefix that its source may
    /// use.
    pub fn route(&self, packet: &[u8]) -> Route {
        let Some((source, destination)) = addresses(packet) else { return Route::None };
        if let Some(&connection) = self.peers.get(&destination) {
            return Route::To(connection);
        }
        if self.is_link_scoped(destination) {
            let is_missed = !sent_by_the_kernel(destination);
            return self.multicast.map_or(Route::LinkScoped { is_missed }, Route::To);
        }
        let mut behind = self.networks.with(destination).flatten();
        match behind.find(|(from, _)| from.is_none_or(|from| from.contains(&source))) {
            Some(&(_, connection)) => Route::To(connection),
            None => Route::None,
        }
    }

    /// The connection that packets to the peer with this tunnel address take.
    pub fn peer(&self, address: IpAddr) -> Option<Handle> {
        self.peers.get(&address).copied()
    }

    /// Whether the connection may bring this packet: its source is the peer, or lies behind the peer and behind no other with a longer
    /// prefix. Otherwise one peer could speak in the name of another, or of a host on our own network.
    pub fn accepts(&self, connection: Handle, packet: &[u8]) -> bool {
        let Some((source, destination)) = addresses(packet) else { return false };
        if self.accepted.get() == Some((connection, source)) {
            return true;
        }
        let is_link = self.multicast == Some(connection);
        let accepts = match self.peers.get(&source) {
            Some(owner) => *owner == connection || self.standbys.contains(&(source, connection)),
            None => self.is_behind(connection, source) || (is_link && is_link_local(source)),
        };
        if accepts {
            self.accepted.set(Some((connection, source)));
        }
        // A host without an address may ask the whole link for one (RFC 2131 section 4.1), but nobody else.
        accepts || (is_link && source.is_unspecified() && self.is_link_scoped(destination))
    }

    /// Whether the longest prefix with this address is one of the connection's. Several connections may have it.
    fn is_behind(&self, connection: Handle, address: IpAddr) -> bool {
        self.networks
            .with(address)
            .next()
            .is_some_and(|owners| owners.iter().any(|(_, owner)| *owner == connection))
    }

    /// Whether a destination is the link itself or a host known only there: multicast, broadcast, link-local.
    fn is_link_scoped(&self, destination: IpAddr) -> bool {
        let is_broadcast = match destination {
            IpAddr::V4(address) => address.is_broadcast() || self.broadcasts.contains(&address),
            IpAddr::V6(_) => false,
        };
        destination.is_multicast() || is_broadcast || is_link_local(destination)
    }
}

/// The prefixes that need a route through the tunnel interface: the networks, and the peers that lie outside
/// the tunnel's own prefixes.
pub fn kernel_routes(tunnel: &[IpNet], connections: &[Connection]) -> Vec<IpNet> {
    let mut routes: Vec<IpNet> = connections
        .iter()
        .flat_map(|connection| {
            let peers = connection.peer.iter().map(|&peer| IpNet::from(peer));
            let peers = peers.filter(|peer| !tunnel.iter().any(|prefix| prefix.contains(peer)));
            peers.chain(connection.networks.iter().map(|network| network.to.trunc()))
        })
        .collect();
    routes.sort();
    routes.dedup();
    routes
}

/// Source and destination of an IP packet; `None` if it is too short to have them.
fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match packet.first()? >> 4 {
        4 => {
            let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
            let destination: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            Some((Ipv4Addr::from(source).into(), Ipv4Addr::from(destination).into()))
        }
        6 => {
            let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
            let destination: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            Some((Ipv6Addr::from(source).into(), Ipv6Addr::from(destination).into()))
        }
        _ => None,
    }
}

/// The broadcast address of an IPv4 prefix; one of 31 bits has none (RFC 3021).
fn broadcast(prefix: &IpNet) -> Option<Ipv4Addr> {
    match prefix {
        IpNet::V4(prefix) if prefix.prefix_len() <= 30 => Some(prefix.broadcast()),
        _ => None,
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Groups that the kernel speaks to on every interface, wanted or not: all routers (RFC 4861 section 6.3.7), solicited
/// nodes (RFC 4291 section 2.7.1), and the routers that listen for reports of multicast listeners (RFC 3376 section
/// 4.2.14, RFC 3810 section 5.2.14).
fn sent_by_the_kernel(destination: IpAddr) -> bool {
    match destination {
        IpAddr::V4(address) => address == Ipv4Addr::new(224, 0, 0, 22),
        IpAddr::V6(address) => matches!(
            address.segments(),
            [0xff02, 0, 0, 0, 0, 0, 0, 2 | 0x16] | [0xff02, 0, 0, 0, 0, 1, 0xff00..=0xffff, _]
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Adaptive;
    use crate::table::testing::handles;
    use mpt_proto::{ClassRules, Policy, ReorderConfig};

    fn nth(number: usize) -> Handle {
        handles(number + 1)[number]
    }

    fn connection(peer: &[&str], networks: &[(&str, Option<&str>)]) -> Connection {
        Connection {
            name: "test".into(),
            peer: peer.iter().map(|a| a.parse().unwrap()).collect(),
            keys: None,
            networks: networks
                .iter()
                .map(|(to, from)| Network {
                    to: to.parse().unwrap(),
                    from: from.map(|from| from.parse().unwrap()),
                })
                .collect(),
            port: 4754,
            remote_port: 4754,
            check_source_port: true,
            policy: Policy::Weighted,
            key: None,
            checksum: false,
            sequence: true,
            slices: true,
            multicast: false,
            limit: None,
            record: None,
            adaptive: Adaptive { resend: true, udp_in_order: false, memory: None },
            classes: ClassRules::new(),
            reorder: ReorderConfig::default(),
            standby: None,
            liveness: mpt_proto::Liveness::default(),
            auto: None,
            paths: Vec::new(),
            is_learned: false,
        }
    }

    #[test]
    fn a_peer_with_a_wide_network_does_not_speak_in_the_name_of_another() {
        let routes = routes(&[
            connection(&["10.0.0.2"], &[("0.0.0.0/0", None)]),
            connection(&["10.0.0.3"], &[("192.168.7.0/24", None)]),
            connection(&["10.0.0.4"], &[("192.168.7.0/24", Some("10.1.0.0/16"))]),
        ]);
        let accepted =
            |from: &str| [0, 1, 2].map(|index| routes.accepts(nth(index), &packet(from, "10.0.0.1")));
        assert_eq!(accepted("8.8.8.8"), [true, false, false]);
        assert_eq!(accepted("10.0.0.3"), [false, true, false], "another peer itself");
        assert_eq!(accepted("192.168.7.9"), [false, true, true], "behind others");
        assert_eq!(accepted("10.0.0.2"), [true, false, false]);
    }

    #[test]
    fn what_a_lan_sends_with_our_address_takes_the_networks_that_are_for_the_lan() {
        let tunnel = ["10.0.0.1/24".parse().unwrap(), "fd00::1/64".parse().unwrap()];
        let connections = [
            connection(&["10.0.0.2"], &[("0.0.0.0/0", Some("192.168.6.0/25")), ("::/0", Some("fd06::/64"))]),
            connection(&["10.0.0.3"], &[("192.168.9.0/24", Some("192.168.8.0/24"))]),
        ];
        let share = |network: &str| Share::Network(network.parse().unwrap());
        let route = |shares: &[Share], from, to| {
            Routes::new(&tunnel, shares, (0..).map(nth).zip(&connections)).route(&packet(from, to))
        };
        let shares = [share("192.168.6.0/24"), share("fd06::/64")];
        assert_eq!(route(&shares, "10.0.0.1", "8.8.8.8"), Route::To(nth(0)));
        assert_eq!(route(&shares, "fd00::1", "2001:db8::8"), Route::To(nth(0)));
        assert_eq!(route(&shares, "10.0.0.1", "192.168.9.1"), Route::To(nth(0)), "that LAN does not share");
        assert_eq!(route(&[Share::Interface("lan0".into())], "10.0.0.1", "192.168.9.1"), Route::To(nth(1)));
        assert_eq!(route(&[], "10.0.0.1", "8.8.8.8"), Route::None);
    }

    fn routes(connections: &[Connection]) -> Routes {
        let tunnel = ["10.0.0.1/24".parse().unwrap(), "fd00::1/64".parse().unwrap()];
        Routes::new(&tunnel, &[], (0..).map(nth).zip(connections))
    }

    fn packet(source: &str, destination: &str) -> Vec<u8> {
        match (source.parse().unwrap(), destination.parse().unwrap()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut packet = vec![0; 20];
                packet[0] = 0x45;
                packet[12..16].copy_from_slice(&source.octets());
                packet[16..20].copy_from_slice(&destination.octets());
                packet
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut packet = vec![0; 40];
                packet[0] = 0x60;
                packet[8..24].copy_from_slice(&source.octets());
                packet[24..40].copy_from_slice(&destination.octets());
                packet
            }
            mixed => panic!("{mixed:?}"),
        }
    }

    #[test]
    fn the_peers_own_address_goes_to_the_peer_even_inside_another_ones_network() {
        let routes = routes(&[
            connection(&["10.0.0.2"], &[("10.0.0.0/8", None)]),
            connection(&["10.0.0.3", "fd00::3"], &[]),
        ]);
        assert_eq!(routes.route(&packet("10.0.0.1", "10.0.0.3")), Route::To(nth(1)));
        assert_eq!(routes.route(&packet("fd00::1", "fd00::3")), Route::To(nth(1)));
        assert_eq!(routes.route(&packet("10.0.0.1", "10.9.9.9")), Route::To(nth(0)));
    }

    #[test]
    fn the_longest_prefix_wins_and_the_source_prefix_is_respected() {
        let routes = routes(&[
            connection(&["10.0.0.2"], &[("192.168.0.0/16", None)]),
            connection(&["10.0.0.3"], &[("192.168.5.0/24", Some("172.16.0.0/16"))]),
            connection(&["10.0.0.4"], &[("192.168.5.0/24", None)]),
        ]);
        assert_eq!(routes.route(&packet("172.16.1.1", "192.168.5.1")), Route::To(nth(1)));
        assert_eq!(routes.route(&packet("172.17.1.1", "192.168.5.1")), Route::To(nth(2)));
        assert_eq!(routes.route(&packet("172.16.1.1", "192.168.6.1")), Route::To(nth(0)));
        assert_eq!(routes.route(&packet("172.16.1.1", "192.169.6.1")), Route::None);
    }

    #[test]
    fn what_the_kernel_says_to_the_link_goes_nowhere_and_nobody_misses_it() {
        let routes = routes(&[connection(&["10.0.0.2"], &[("0.0.0.0/0", None), ("::/0", None)])]);
        for groups in ["ff02::2", "ff02::16", "ff02::1:ff00:1"] {
            let route = routes.route(&packet("fe80::1", groups));
            assert_eq!(route, Route::LinkScoped { is_missed: false }, "{groups}");
        }
        assert_eq!(
            routes.route(&packet("10.0.0.1", "224.0.0.22")),
            Route::LinkScoped { is_missed: false },
            "a listener's report"
        );
        assert_eq!(routes.route(&packet("10.0.0.1", "8.8.8.8")), Route::To(nth(0)));
    }

    /// Destinations that belong to the link, with a source that uses them.
    const LINK: [(&str, &str); 8] = [
        ("10.0.0.1", "224.0.0.5"),
        ("10.0.0.1", "239.1.2.3"),
        ("10.0.0.1", "10.0.0.255"),
        ("10.0.0.1", "255.255.255.255"),
        ("169.254.1.1", "169.254.1.2"),
        ("fe80::1", "ff02::5"),
        ("fd00::1", "ff0e::1234"),
        ("fe80::1", "fe80::2"),
    ];

    #[test]
    fn multicast_and_broadcast_go_nowhere_unless_asked_for() {
        let routes = routes(&[connection(&["10.0.0.2"], &[("0.0.0.0/0", None), ("::/0", None)])]);
        for (source, destination) in LINK {
            let route = routes.route(&packet(source, destination));
            assert_eq!(route, Route::LinkScoped { is_missed: true }, "{destination}");
        }
    }

    #[test]
    fn link_local_sources_are_accepted_only_where_multicast_was_asked_for() {
        assert!(!routes(&[connection(&["10.0.0.2"], &[])]).accepts(nth(0), &packet("fe80::2", "ff02::5")));
    }

    #[test]
    fn multicast_and_broadcast_take_the_one_connection_that_asks_for_it() {
        let asking = Connection { multicast: true, ..connection(&["10.0.0.3", "fd00::3"], &[]) };
        let routes = routes(&[connection(&["10.0.0.2"], &[("0.0.0.0/0", None)]), asking]);
        for (source, destination) in LINK {
            assert_eq!(routes.route(&packet(source, destination)), Route::To(nth(1)), "{destination}");
        }
        assert_eq!(routes.route(&packet("10.0.0.1", "10.0.0.2")), Route::To(nth(0)));
        assert_eq!(
            routes.route(&packet("10.0.0.1", "192.168.5.255")),
            Route::To(nth(0)),
            "another network's"
        );
        for (source, destination) in [
            ("10.0.0.3", "224.0.0.5"),
            ("10.0.0.3", "10.0.0.255"),
            ("fe80::3", "ff02::5"),
            ("fe80::3", "fe80::1"),
            ("0.0.0.0", "255.255.255.255"),
            ("::", "ff02::16"),
        ] {
            assert!(routes.accepts(nth(1), &packet(source, destination)), "{source} to {destination}");
        }
        assert!(!routes.accepts(nth(1), &packet("10.0.0.9", "224.0.0.5")), "not behind this peer");
        assert!(
            !routes.accepts(nth(1), &packet("0.0.0.0", "10.0.0.1")),
            "no address, but not to the whole link"
        );
        assert!(!routes.accepts(nth(1), &packet("224.0.0.5", "10.0.0.1")), "a group is no source");
        assert!(routes.accepts(nth(0), &packet("10.0.0.2", "10.0.0.1")));
    }

    #[test]
    fn a_prefix_of_two_hosts_has_no_broadcast_address() {
        let tunnel: Vec<IpNet> = vec!["10.0.0.2/31".parse().unwrap()];
        let connections = [connection(&["10.0.0.9"], &[("10.0.0.3/32", None)])];
        let routes = Routes::new(&tunnel, &[], (0..).map(nth).zip(&connections));
        assert_eq!(routes.route(&packet("10.0.0.2", "10.0.0.3")), Route::To(nth(0)));
    }

    #[test]
    fn rubbish_has_no_route_and_is_not_accepted() {
        let routes = routes(&[connection(&["10.0.0.2"], &[("0.0.0.0/0", None)])]);
        for rubbish in [&[][..], &[0x45; 19], &[0x60; 39], &[0xff; 100]] {
            assert_eq!(routes.route(rubbish), Route::None);
            assert!(!routes.accepts(nth(0), rubbish));
        }
    }

    #[test]
    fn a_connection_brings_only_packets_of_its_peer_and_the_networks_behind_it() {
        let routes = routes(&[
            connection(&["10.0.0.2"], &[("192.168.5.0/24", Some("172.16.0.0/16"))]),
            connection(&["10.0.0.3"], &[]),
        ]);
        assert!(routes.accepts(nth(0), &packet("10.0.0.2", "10.0.0.1")));
        assert!(routes.accepts(nth(0), &packet("192.168.5.7", "172.16.0.1")));
        assert!(!routes.accepts(nth(0), &packet("10.0.0.3", "10.0.0.1")), "another connection's peer");
        assert!(!routes.accepts(nth(1), &packet("192.168.5.7", "10.0.0.1")), "another connection's network");
        assert!(!routes.accepts(nth(1), &packet("8.8.8.8", "10.0.0.1")));
    }

    #[test]
    fn only_networks_and_peers_outside_the_tunnels_prefix_need_a_kernel_route() {
        let tunnel: Vec<IpNet> = vec!["10.0.0.1/24".parse().unwrap(), "fd00::1/64".parse().unwrap()];
        let connections = [
            connection(&["10.0.0.2", "fd01::2"], &[("192.168.5.9/24", None)]),
            connection(&["10.0.0.3"], &[("192.168.5.0/24", Some("10.0.0.0/8"))]),
        ];
        let expected: Vec<IpNet> = vec!["192.168.5.0/24".parse().unwrap(), "fd01::2/128".parse().unwrap()];
        assert_eq!(kernel_routes(&tunnel, &connections), expected);
    }
}
