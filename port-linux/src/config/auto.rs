//! `paths = "auto"`: which interfaces carry a path by themselves.

use std::net::IpAddr;
use std::ops::Range;

use glob::Pattern;
use toml::Spanned;

use super::added::{NewPath, Origin};
use super::error::Source;
use super::listen::LEARNED_PATHS;
use super::value::{AutoWord, InterfacePattern, Name, Remote, Text};
use super::{Config, ConfigError, Connection, Endpoint, Network, Path, Tunnel};
use crate::link::{Ends, Interface, Interfaces, is_mobile, unspecified};

/// The tier of a path whose interface is paid by volume, mostly: as `mpt init` drafts it.
const MOBILE_TIER: u8 = 2;

/// `paths = "auto"` of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auto {
    /// `except`: names of interfaces that carry no path.
    pub except: Vec<Pattern>,
    /// `remote`: where the peer is. Each interface takes the first that it leads to.
    pub remotes: Vec<Endpoint>,
}

/// What a table says of it.
pub(super) struct Keys {
    pub(super) paths: Option<Spanned<Text<AutoWord>>>,
    pub(super) except: Option<Spanned<Vec<Text<InterfacePattern>>>>,
    pub(super) remote: Option<Spanned<Vec<Spanned<Text<Remote>>>>>,
}

impl Keys {
    /// `None`: every path has a table.
    pub(super) fn check(self, at: &Range<usize>, source: &Source<'_>) -> Result<Option<Auto>, ConfigError> {
        let Self { paths, except, remote } = self;
        if paths.is_none() {
            let stray = except.map(|it| it.span()).or(remote.map(|it| it.span()));
            return stray.map_or(Ok(None), |at| {
                let problem = "only paths = \"auto\" uses it, and the connection does not have that";
                Err(source.error(
                    &at,
                    problem,
                    "paths = \"auto\" as well, or `remote` in [[connection.path]]",
                ))
            });
        }
        let Some(remote) = remote.filter(|remote| !remote.get_ref().is_empty()) else {
            let problem = "paths = \"auto\" does not say where the peer is";
            return Err(source.error(
                at,
                problem,
                "remote = [\"vps.example.net\"] in the connection: addresses or names",
            ));
        };
        let mut remotes = Vec::new();
        for endpoint in remote.into_inner() {
            let (at, endpoint) = (endpoint.span(), endpoint.into_inner().0.0);
            if endpoint.address().is_some_and(|address| address.is_unspecified()) {
                let problem = "a peer that speaks first has nowhere to speak to";
                return Err(source.error(&at, problem, "the peer's address or name"));
            }
            remotes.push(endpoint);
        }
        let except = except.map(Spanned::into_inner).unwrap_or_default();
        Ok(Some(Auto { except: except.into_iter().map(|pattern| pattern.0.0).collect(), remotes }))
    }
}

impl Auto {
    /// Whether `except` names an interface.
    pub(super) fn excepts(&self, name: &str) -> bool {
        self.except.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether an interface may carry a path: none that is excluded, neither the tunnel nor another one, nor one whose hosts use the
    /// tunnel.
    fn admits(&self, interface: &Interface, tunnel: &Tunnel) -> bool {
        !interface.is_loopback()
            && !interface.is_tunnel()
            && interface.name != tunnel.name
            && !tunnel.share.iter().any(|share| share.is_at(interface))
            && !interface.names().any(|name| self.excepts(name))
    }

    /// Where a path over an interface finds the peer: the first of its places that the interface leads to, and our end there. With
    /// `gateways`, an interface leads to its router where DHCP named one, also without a route; then the router comes, too.
    fn end(
        &self,
        interface: &Interface,
        (interfaces, gateways): (&Interfaces, bool),
        has: &impl Fn(&str, bool) -> bool,
    ) -> Option<(IpAddr, &Endpoint, Option<IpAddr>)> {
        let leads = |ipv4: bool, to: Option<IpAddr>| {
            let ends = Ends {
                local: unspecified(ipv4),
                remote: unspecified(ipv4),
                device: Some(interface.name.clone()),
            };
            let router = interfaces.router(interface).filter(|_| ipv4 && gateways).map(IpAddr::from);
            let leads = interfaces.lead_out(interface, ipv4, to);
            let gateway = router.filter(|_| !leads);
            ((leads || gateway.is_some()) && ends.interface(interfaces).is_ok()).then_some(gateway)
        };
        self.remotes.iter().find_map(|remote| {
            let versions = [true, false].into_iter().filter(|ipv4| match remote {
                Endpoint::Address(address) => address.is_ipv4() == *ipv4,
                Endpoint::Name(name) => has(name, *ipv4),
            });
            versions
                .into_iter()
                .find_map(|ipv4| Some((unspecified(ipv4), remote, leads(ipv4, remote.address())?)))
        })
    }
}

impl Auto {
    /// Whether a path of an interface is to be made anew: its peer turned out to have no address of the path's IP version, and one of
    /// the other that the interface leads to; or the interface has another router by now.
    fn is_outdated(
        &self,
        path: &Path,
        (interfaces, gateways): (&Interfaces, bool),
        has: &impl Fn(&str, bool) -> bool,
    ) -> bool {
        if path.origin != Origin::Interface {
            return false;
        }
        let interface = path.device.as_deref().and_then(|device| interfaces.named(device));
        let end = interface.and_then(|interface| self.end(interface, (interfaces, gateways), has));
        let Some((_, _, router)) = end else { return false };
        let lacks = path.remote_name.as_deref().is_some_and(|name| !has(name, path.local.is_ipv4()));
        // An interface with a route of the host has none: the path's own one may be what it sees.
        lacks || router.is_some() && path.gateway.is_some() && router != path.gateway
    }
}

impl Connection {
    /// Whether an interface carries a path of `paths = "auto"`.
    fn is_carried(&self, path: &Path, interfaces: &Interfaces, tunnel: &Tunnel) -> bool {
        let interface = path.device.as_deref().and_then(|device| interfaces.named(device));
        interface.zip(self.auto.as_ref()).is_some_and(|(interface, auto)| {
            auto.admits(interface, tunnel) && auto.end(interface, (interfaces, true), &|_, _| true).is_some()
        })
    }
}

impl Config {
    /// The addresses to which ways are to be looked for; `None`: none are.
    pub fn wanted_ways(&self) -> Option<Vec<IpAddr>> {
        let mut autos = self.connections.iter().filter_map(|connection| connection.auto.as_ref()).peekable();
        autos.peek()?;
        Some(autos.flat_map(|auto| auto.remotes.iter().filter_map(Endpoint::address)).collect())
    }

    /// The same with the paths that `paths = "auto"` makes now, for which ways out are looked for. Which names have addresses of which IP
    /// version is not known yet.
    ///
    /// # Errors
    /// When netlink cannot be used at all.
    pub fn with_paths_now(&self, interfaces: &mut Interfaces) -> anyhow::Result<Self> {
        let Some(to) = self.wanted_ways() else { return Ok(self.clone()) };
        interfaces.look_for_ways(&to)?;
        Ok(self.with_auto_paths(interfaces, &[], |_, _| true).0)
    }

    /// The paths of `paths = "auto"` whose interface carries none now, as names of connection and path.
    pub fn uncarried(&self, interfaces: &Interfaces) -> Vec<(String, String)> {
        let of = |connection: &Connection| -> Vec<(String, String)> {
            let auto = connection.paths.iter().filter(|path| path.origin == Origin::Interface);
            let gone = auto.filter(|path| !connection.is_carried(path, interfaces, &self.tunnel));
            gone.map(|path| (connection.name.clone(), path.name.clone())).collect()
        };
        self.connections.iter().flat_map(of).collect()
    }

    /// The same with a path for each interface that carries one by `paths = "auto"`, and without those of `gone`. `has` tells whether
    /// a name may have an address of an IP version, which is IPv4 if `true`. Also returns which interfaces are left out, as sentences with the reason.
    pub fn with_auto_paths(
        &self,
        interfaces: &Interfaces,
        gone: &[(String, String)],
        has: impl Fn(&str, bool) -> bool,
    ) -> (Self, Vec<String>) {
        let (mut config, mut left_out) = (self.clone(), Vec::new());
        // A path's gateway takes a mark and rules, which are there with a default route through the tunnel.
        let gateways = self.connections.iter().flat_map(|it| &it.networks).any(Network::is_default);
        for connection in &mut config.connections {
            let Some(auto) = &connection.auto else { continue };
            let is_gone = |path: &Path| {
                path.origin == Origin::Interface
                    && gone.iter().any(|(name, gone)| *name == connection.name && *gone == path.name)
            };
            connection
                .paths
                .retain(|path| !is_gone(path) && !auto.is_outdated(path, (interfaces, gateways), &has));
        }
        for index in 0..config.connections.len() {
            let Some(auto) = config.connections[index].auto.clone() else { continue };
            let mut new = interfaces
                .iter()
                .filter(|interface| auto.admits(interface, &self.tunnel))
                .collect::<Vec<_>>();
            // Those that were there first, whatever the kernel's order.
            new.sort_by_key(|interface| interface.index);
            for interface in new {
                let connection = &config.connections[index];
                let is_over = |path: &Path| path.device.as_deref().is_some_and(|it| interface.is_named(it));
                if connection.paths.iter().any(is_over) {
                    continue;
                }
                let end = auto.end(interface, (interfaces, gateways), &has);
                let Some((local, remote, gateway)) = end else { continue };
                let mut leave_out = |why: &dyn std::fmt::Display| {
                    left_out.push(format!("no path of {} over {}: {why}", connection.name, interface.name));
                };
                // What a server with `[listen]` has places for.
                if connection.paths.len() >= LEARNED_PATHS {
                    leave_out(&format_args!("from {LEARNED_PATHS} paths on, none comes by itself"));
                    continue;
                }
                let wanted = NewPath {
                    name: path_name(&interface.name, connection),
                    device: Some(interface.name.clone()),
                    local: Some(local),
                    remote: Some(remote.to_string()),
                    gateway,
                    tier: is_mobile(&interface.name).then_some(MOBILE_TIER),
                    ..NewPath::default()
                };
                match wanted.path(&config, connection) {
                    Ok(path) => {
                        config.connections[index].paths.push(Path { origin: Origin::Interface, ..path });
                    }
                    Err(error) => leave_out(&error),
                }
            }
        }
        (config, left_out)
    }
}

/// The name of a path over an interface.
fn path_name(device: &str, connection: &Connection) -> String {
    let name: String = device.chars().map(|c| if Name::may_have(c) { c } else { '-' }).collect();
    Name::free(&name, |name| connection.paths.iter().any(|path| path.name == name))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::link::Way;

    fn interface(index: u32, name: &str, kind: Option<&str>, address: &str) -> Interface {
        Interface {
            name: name.into(),
            other_names: Vec::new(),
            index,
            mtu: 1500,
            running: true,
            kind: kind.map(str::to_owned),
            has_neighbours: true,
            addresses: vec![address.parse().unwrap()],
        }
    }

    /// All of these with a default route of IPv4, and of IPv6 through those of `v6`.
    fn machine(list: Vec<Interface>, v6: &[u32]) -> Interfaces {
        let ways = list.iter().map(|interface| Way { interface: interface.index, ipv4: true, to: None });
        let ways = ways.chain(v6.iter().map(|&interface| Way { interface, ipv4: false, to: None })).collect();
        Interfaces::from(list).with_ways(ways, Vec::new())
    }

    fn config(keys: &str) -> Config {
        shared("[]", keys)
    }

    /// With these LANs that use the tunnel.
    fn shared(share: &str, keys: &str) -> Config {
        let text = format!(
            "security = \"none\"\n[tunnel]\naddress = [\"10.0.0.1/24\"]\nshare = {share}\n[[connection]]\nname = \"vps\"\npeer = [\"10.0.0.2\"]\n\
             paths = \"auto\"\n{keys}\n"
        );
        Config::parse(&text, "test").unwrap()
    }

    fn paths(config: &Config) -> Vec<&str> {
        config.connections[0].paths.iter().map(|path| path.name.as_str()).collect()
    }

    #[test]
    fn interfaces_with_a_default_route_carry_paths_but_those_that_are_excluded_or_tunnels() {
        let config = config("remote = [\"198.51.100.7\"]\nexcept = [\"docker*\", \"br-????\"]");
        let machine = machine(
            vec![
                interface(1, "lo", None, "127.0.0.1"),
                interface(5, "wwan0", None, "10.64.0.9"),
                interface(2, "eth0", None, "192.168.1.8"),
                interface(3, "docker0", Some("bridge"), "172.17.0.1"),
                interface(4, "br-abcd", Some("bridge"), "172.18.0.1"),
                interface(6, "br0", Some("bridge"), "192.168.3.1"),
                interface(7, "wg0", Some("wireguard"), "10.9.0.1"),
                interface(8, "mpt0", None, "10.0.0.1"),
            ],
            &[],
        );
        let (config, left_out) = config.with_auto_paths(&machine, &[], |_, _| true);
        assert_eq!((paths(&config), left_out.len()), (vec!["eth0", "wwan0", "br0"], 0));
        let tiers: Vec<u8> = config.connections[0].paths.iter().map(|path| path.tier.default).collect();
        assert_eq!(tiers, [1, 2, 1]);
        let again = config.with_auto_paths(&machine, &[], |_, _| true).0;
        assert_eq!(again, config);
        assert_eq!(config.uncarried(&machine), []);
        let gone = config.uncarried(&Interfaces::default());
        assert_eq!(gone.len(), 3);
        let (config, _) = config.with_auto_paths(&Interfaces::default(), &gone, |_, _| true);
        assert_eq!(paths(&config), [""; 0]);
    }

    #[test]
    fn an_interface_whose_hosts_use_the_tunnel_carries_no_path() {
        let lan = interface(3, "lan0", None, "192.168.6.1");
        let machine = machine(vec![interface(2, "eth0", None, "192.168.1.10"), lan], &[]);
        for (share, expected) in [
            ("[]", vec!["eth0", "lan0"]),
            ("[\"lan0\"]", vec!["eth0"]),
            ("[\"192.168.6.0/24\"]", vec!["eth0"]),
            ("[\"192.168.7.0/24\"]", vec!["eth0", "lan0"]),
        ] {
            let config =
                shared(share, "remote = [\"192.0.2.7\"]").with_auto_paths(&machine, &[], |_, _| true).0;
            assert_eq!(paths(&config), expected, "{share}");
        }
    }

    #[test]
    fn an_interface_takes_the_first_place_of_a_version_that_it_leads_to() {
        let config = config("remote = [\"2001:db8::7\", \"vps.example.net\"]");
        let eth1 = interface(3, "eth1", None, "2001:db8:1::9");
        let machine = machine(vec![interface(2, "eth0", None, "192.168.1.8"), eth1], &[3]);
        let (with_any, _) = config.with_auto_paths(&machine, &[], |_, _| true);
        let ends: Vec<_> = with_any.connections[0]
            .paths
            .iter()
            .map(|path| (path.local.to_string(), path.remote.to_string(), path.remote_name.as_deref()))
            .collect();
        let (any4, any6) = ("0.0.0.0".to_owned(), "::".to_owned());
        assert_eq!(
            ends,
            [(any4.clone(), any4, Some("vps.example.net")), (any6, "2001:db8::7".to_owned(), None)]
        );
        // The name is known to have no IPv4 address.
        let (without, _) = config.with_auto_paths(&machine, &[], |_, ipv4| !ipv4);
        assert_eq!(paths(&without), ["eth1"]);
    }

    #[test]
    fn a_path_goes_over_to_the_version_that_its_name_turns_out_to_have() {
        let config = config("remote = [\"vps.example.net\"]");
        let mut eth0 = interface(2, "eth0", None, "192.168.1.8");
        eth0.addresses.push("2001:db8:1::9".parse().unwrap());
        let machine = machine(vec![eth0], &[2]);
        let local = |config: &Config| config.connections[0].paths[0].local.is_ipv4();
        let (config, _) = config.with_auto_paths(&machine, &[], |_, _| true);
        assert!(local(&config));
        let (config, _) = config.with_auto_paths(&machine, &[], |_, ipv4| !ipv4);
        assert!(!local(&config));
        assert_eq!(config.connections[0].paths.len(), 1);
    }

    #[test]
    fn a_path_goes_over_to_the_router_that_its_interface_has_now() {
        let text = "[tunnel]\naddress = [\"10.0.0.1/24\"]\n[[connection]]\nname = \"vps\"\npeer = [\"10.0.0.2\"]\n\
                    paths = \"auto\"\nremote = [\"198.51.100.7\"]\n[[connection.network]]\nto = \"0.0.0.0/0\"\n";
        let config = Config::parse(&format!("security = \"none\"\n{text}"), "test").unwrap();
        let machine = |routers: Vec<(u32, Ipv4Addr)>| {
            Interfaces::from(vec![interface(2, "usb0", None, "192.168.8.100")]).with_ways(Vec::new(), routers)
        };
        let first = machine(vec![(2, [192, 168, 8, 1].into())]);
        let gateway = |config: &Config| config.connections[0].paths.first().and_then(|path| path.gateway);
        let (config, _) = config.with_auto_paths(&first, &[], |_, _| true);
        assert_eq!(gateway(&config), Some([192, 168, 8, 1].into()));
        // The router is not known while the lease is renewed, or as the host has a route by now.
        let (config, _) = config.with_auto_paths(&machine(Vec::new()), &[], |_, _| true);
        assert_eq!(gateway(&config), Some([192, 168, 8, 1].into()));
        let (config, _) =
            config.with_auto_paths(&machine(vec![(2, [192, 168, 8, 254].into())]), &[], |_, _| true);
        assert_eq!(gateway(&config), Some([192, 168, 8, 254].into()));
        assert_eq!(config.connections[0].paths.len(), 1);
    }

    #[test]
    fn paths_of_two_connections_go_over_to_another_router_together() {
        let connection = |number: u8, network: &str| {
            format!(
                "[[connection]]\nname = \"c{number}\"\npeer = [\"10.0.0.{number}\"]\npaths = \"auto\"\n\
                 remote = [\"198.51.100.{number}\"]\n[[connection.network]]\nto = \"{network}\"\n"
            )
        };
        let text = connection(2, "0.0.0.0/0") + &connection(3, "192.168.7.0/24");
        let text = format!("security = \"none\"\n[tunnel]\naddress = [\"10.0.0.1/24\"]\n{text}");
        let config = Config::parse(&text, "test").unwrap();
        let machine = |last: u8| {
            Interfaces::from(vec![interface(2, "usb0", None, "192.168.8.100")])
                .with_ways(Vec::new(), vec![(2, [192, 168, 8, last].into())])
        };
        let (config, _) = config.with_auto_paths(&machine(1), &[], |_, _| true);
        let (config, left_out) = config.with_auto_paths(&machine(254), &[], |_, _| true);
        let gateways: Vec<_> =
            config.connections.iter().flat_map(|it| &it.paths).map(|path| path.gateway).collect();
        assert_eq!((gateways, left_out), (vec![Some([192, 168, 8, 254].into()); 2], vec![]));
    }

    #[test]
    fn an_interface_with_a_route_to_one_peer_carries_no_path_to_another() {
        let way = |to: &str| Way { interface: 2, ipv4: true, to: Some(to.parse().unwrap()) };
        let machine = |to: &str| {
            Interfaces::from(vec![interface(2, "eth0", None, "192.168.1.8")])
                .with_ways(vec![way(to)], Vec::new())
        };
        let config = config("remote = [\"198.51.100.7\"]");
        assert_eq!(paths(&config.with_auto_paths(&machine("198.51.100.7"), &[], |_, _| true).0), ["eth0"]);
        assert_eq!(paths(&config.with_auto_paths(&machine("203.0.113.7"), &[], |_, _| true).0), [""; 0]);
    }

    #[test]
    fn a_table_for_an_interface_counts_and_there_are_eight_paths_at_most() {
        let path = "[[connection.path]]\nname = \"dear\"\ndevice = \"e7\"\nlocal = \"0.0.0.0\"\nremote = \"198.51.100.7\"\ntier = 3";
        let config = config(&format!("remote = [\"198.51.100.7\"]\n{path}"));
        let all = (1..=10).map(|number| interface(number, &format!("e{number}"), None, "192.168.1.8"));
        let (config, left_out) = config.with_auto_paths(&machine(all.collect(), &[]), &[], |_, _| true);
        assert_eq!(paths(&config), ["dear", "e1", "e2", "e3", "e4", "e5", "e6", "e8"]);
        let full = |name: &str| format!("no path of vps over {name}: from 8 paths on, none comes by itself");
        assert_eq!(left_out, [full("e9"), full("e10")]);
        // Another one would come in its place.
        assert!(config.without_path("vps", "dear").unwrap_err().contains("put it into `except`"));
    }

    #[test]
    fn an_interface_is_left_out_for_the_reason_that_is_told() {
        let config = config("remote = [\"10.0.0.2\"]");
        let machine = machine(vec![interface(2, "eth0", None, "192.168.1.8")], &[]);
        let (config, left_out) = config.with_auto_paths(&machine, &[], |_, _| true);
        let expected = "no path of vps over eth0: remote = \"10.0.0.2\": this is an address of the tunnel itself; \
                        allowed: an address of the network below the tunnel";
        assert_eq!((paths(&config), left_out), (vec![], vec![expected.to_owned()]));
    }

    #[test]
    fn a_table_for_an_interface_that_is_excluded_can_go() {
        let path = "[[connection.path]]\nname = \"dear\"\ndevice = \"e7\"\nlocal = \"0.0.0.0\"\nremote = \"198.51.100.7\"";
        let config = config(&format!("remote = [\"198.51.100.7\"]\nexcept = [\"e7\"]\n{path}"));
        let config = config.without_path("vps", "dear").unwrap();
        let machine = machine(vec![interface(7, "e7", None, "192.168.1.8")], &[]);
        assert_eq!(paths(&config.with_auto_paths(&machine, &[], |_, _| true).0), [""; 0]);
    }
}
