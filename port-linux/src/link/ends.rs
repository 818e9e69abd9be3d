//! What a path needs of this machine's interfaces, and what it waits for while that is not there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::{Interface, Interfaces};

/// The ends of a path, as the configuration names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends {
    /// Our address; unspecified: one that the kernel chooses among those of `device`.
    pub local: IpAddr,
    /// The peer's, where it was last; unspecified: not known yet.
    pub remote: IpAddr,
    /// The interface, by name: it may come, go, and come back as another one.
    pub device: Option<String>,
}

/// What a path waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The interface with this name.
    Interface(String),
    /// The interface is switched off or has no carrier.
    Carrier(String),
    /// An address on the interface that leads to the peer; with our address if a certain one is wanted.
    Address(String, Option<IpAddr>),
    /// An interface with this address.
    Owner(IpAddr),
    /// A route to the peer.
    Route(IpAddr, Option<String>),
    /// A filter that lets what comes in through the interface from the peer's address pass.
    Filter(String, IpAddr),
    /// The peer's address, which the configuration leaves open.
    Peer,
    /// An address of the peer's name.
    Name(String),
    /// An address of the peer's name that has this IP version, 4 or 6: others are known.
    NameOfVersion(String, u8),
    /// What the kernel said to the socket.
    Socket(SocketAddr, String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => write!(f, "there is no interface {name}"),
            Self::Carrier(name) => write!(f, "the interface {name} is switched off or has no carrier"),
            Self::Address(name, None) => {
                write!(f, "the interface {name} has no address that leads to the peer")
            }
            Self::Address(name, Some(local)) => {
                write!(f, "the interface {name} does not have the address {local}")
            }
            Self::Owner(local) => write!(f, "no interface has the address {local}"),
            Self::Route(remote, None) => write!(f, "there is no route to {remote}"),
            Self::Route(remote, Some(name)) => write!(f, "there is no route to {remote} through {name}"),
            Self::Filter(name, remote) => write!(
                f,
                "rp_filter drops what comes through {name} from {remote}, as the best route there leads elsewhere: \
                 sudo sysctl net.ipv4.conf.{name}.rp_filter=2"
            ),
            Self::Peer => write!(f, "the peer, whose address is open, has not been heard yet"),
            Self::Name(name) => write!(f, "the name {name} is not known yet"),
            Self::NameOfVersion(name, version) => {
                write!(f, "the name {name} has no IPv{version} address, which `local` wants")
            }
            Self::Socket(local, error) => write!(f, "cannot bind UDP {local}: {error}"),
        }
    }
}

impl Ends {
    /// The interface of the path if there is one, in whatever state.
    pub fn candidate<'i>(&self, interfaces: &'i Interfaces) -> Option<&'i Interface> {
        match &self.device {
            Some(name) => interfaces.named(name),
            None => interfaces.with_address(self.local),
        }
    }

    /// The interface of the path when it is running and has the address.
    ///
    /// # Errors
    /// The first thing that is missing.
    pub fn interface<'i>(&self, interfaces: &'i Interfaces) -> Result<&'i Interface, Missing> {
        let interface = self.candidate(interfaces).ok_or_else(|| match &self.device {
            Some(name) => Missing::Interface(name.clone()),
            None => Missing::Owner(self.local),
        })?;
        if !interface.running {
            return Err(Missing::Carrier(interface.name.clone()));
        }
        if !interface.addresses.iter().any(|&own| self.may_be(own)) {
            let wanted = (!self.local.is_unspecified()).then_some(self.local);
            return Err(Missing::Address(interface.name.clone(), wanted));
        }
        Ok(interface)
    }

    /// Whether datagrams may leave from this address of ours. An interface that waits for its real address
    /// mostly has a link-local one already, from which only a link-local peer can be reached.
    fn may_be(&self, own: IpAddr) -> bool {
        if self.local.is_unspecified() {
            own.is_ipv4() == self.local.is_ipv4() && (!is_link_local(own) || is_link_local(self.remote))
        } else {
            own == self.local
        }
    }
}

/// RFC 3927 and RFC 4291 section 2.5.6.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// The unspecified address of IPv4, or of IPv6.
pub fn unspecified(is_ipv4: bool) -> IpAddr {
    if is_ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// An address with the port; a link-local one means something only together with the interface's number.
pub fn scoped(address: IpAddr, port: u16, interface: u32) -> SocketAddr {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => SocketAddrV6::new(v6, port, 0, interface).into(),
        _ => SocketAddr::new(address, port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, running: bool, addresses: &[&str]) -> Interface {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Interface {
            name: name.into(),
            other_names: Vec::new(),
            has_neighbours: true,
            index: 7,
            mtu: 1500,
            running,
            addresses,
            kind: None,
        }
    }

    fn ends(local: &str, remote: &str, device: Option<&str>) -> Ends {
        Ends {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            device: device.map(str::to_owned),
        }
    }

    fn missing(ends: &Ends, interfaces: &[Interface]) -> Option<Missing> {
        ends.interface(&Interfaces::from(interfaces.to_vec())).err()
    }

    #[test]
    fn a_path_of_a_modem_waits_for_interface_then_carrier_then_address() {
        let lte = ends("0.0.0.0", "198.51.100.7", Some("wwan0"));

        assert_eq!(missing(&lte, &[]), Some(Missing::Interface("wwan0".into())));
        let states = [
            (interface("wwan0", false, &[]), Some(Missing::Carrier("wwan0".into()))),
            (interface("wwan0", true, &[]), Some(Missing::Address("wwan0".into(), None))),
            (
                interface("wwan0", true, &["fe80::1", "2001:db8::1"]),
                Some(Missing::Address("wwan0".into(), None)),
            ),
            (interface("wwan0", true, &["10.64.0.9"]), None),
        ];
        for (state, expected) in states {
            assert_eq!(missing(&lte, &[state]), expected);
        }
    }

    #[test]
    fn an_interface_is_found_by_its_alternative_names_too() {
        let named = interface("eth1", true, &["10.64.0.9"]);
        let named = Interface { other_names: vec!["enp0s31f6".into(), "lan".into()], ..named };
        for (name, missing_one) in [("lan", None), ("wan", Some(Missing::Interface("wan".into())))] {
            let path = ends("0.0.0.0", "198.51.100.7", Some(name));
            assert_eq!(missing(&path, std::slice::from_ref(&named)), missing_one);
        }
    }

    #[test]
    fn a_link_local_address_serves_only_a_link_local_peer() {
        let own = interface("eth1", true, &["169.254.9.9", "fe80::9"]);

        for (local, remote) in [("0.0.0.0", "198.51.100.7"), ("::", "2001:db8::7")] {
            let far = ends(local, remote, Some("eth1"));
            assert_eq!(
                missing(&far, std::slice::from_ref(&own)),
                Some(Missing::Address("eth1".into(), None))
            );
        }
        for (local, remote) in [("0.0.0.0", "169.254.1.1"), ("::", "fe80::1")] {
            assert_eq!(missing(&ends(local, remote, Some("eth1")), std::slice::from_ref(&own)), None);
        }
    }

    #[test]
    fn an_address_without_device_is_looked_for_on_every_interface_that_runs_first() {
        let path = ends("10.1.1.1", "10.1.1.2", None);
        let (off, on) = (interface("eth1", false, &["10.1.1.1"]), interface("eth2", true, &["10.1.1.1"]));

        assert_eq!(missing(&path, &[off.clone(), on]), None);
        assert_eq!(missing(&path, &[off]), Some(Missing::Carrier("eth1".into())));
        assert_eq!(missing(&path, &[]), Some(Missing::Owner(path.local)));
    }
}
