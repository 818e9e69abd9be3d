//! What rtnetlink's messages of addresses and routes say.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};

/// The interface's own address. On a point-to-point interface `Address` is the peer's and `Local` ours; IPv6 mostly has
/// `Address` only.
pub(crate) fn own(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    local.or(address)
}

/// The number of the interface that a route, or one of several ways of it, goes through.
pub(crate) fn interface(attributes: &[RouteAttribute]) -> Option<u32> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(interface) => Some(*interface),
        _ => None,
    })
}

/// The router of a route, or of one of several ways of it; `None`: everything is on the link.
pub(crate) fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(router) => address(router),
        _ => None,
    })
}

/// Interfaces and routers of a route: one, or several with equal rights.
pub(crate) fn first_hops(attributes: &[RouteAttribute]) -> impl Iterator<Item = (u32, Option<IpAddr>)> {
    let one = interface(attributes).map(|interface| (interface, gateway(attributes)));
    let several = attributes.iter().filter_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops),
        _ => None,
    });
    let several = several.flatten().map(|hop| (hop.interface_index, gateway(&hop.attributes)));
    one.into_iter().chain(several)
}

/// An address of a route.
pub(crate) fn address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

/// The network that a route leads to.
pub(crate) fn destination(route: &RouteMessage) -> Option<IpNet> {
    let length = route.header.destination_prefix_length;
    if length == 0 {
        return match route.header.address_family {
            AddressFamily::Inet => Some(Ipv4Net::default().into()),
            AddressFamily::Inet6 => Some(Ipv6Net::default().into()),
            _ => None,
        };
    }
    let to = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(to) => address(to),
        _ => None,
    });
    IpNet::new(to?, length).ok()
}
