//! Whether the host's routes lead to a peer through a certain interface.

use std::net::IpAddr;

use anyhow::Result;
use rtnetlink::packet_route::route::RouteType;

use super::attributes::{destination, first_hops};
use super::{block_on, connect, each_route};

/// Whether some route of the host, in whatever table, leads to `remote` through the interface with this number. A socket that
/// is bound to an interface leaves through it without a route as well: IPv4 then takes every host to be on the link.
///
/// # Errors
/// When netlink cannot be used at all.
pub fn reaches(interface: u32, remote: IpAddr) -> Result<bool> {
    block_on(async {
        let mut reaches = false;
        each_route(&connect()?, remote.is_ipv4(), |route| {
            // Not those of the host's own addresses, which are of another kind.
            let is_way = route.header.kind == RouteType::Unicast
                && first_hops(&route.attributes).any(|(through, _)| through == interface);
            reaches |= is_way && destination(route).is_some_and(|to| to.contains(&remote));
        })
        .await?;
        Ok(reaches)
    })
}
