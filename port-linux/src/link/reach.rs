//! Whether the host's routes lead to a peer through a certain interface.

use std::net::IpAddr;

use anyhow::Result;
use futures_util::TryStreamExt;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::RouteType;

use super::attributes::{destination, first_hops};
use super::{block_on, connect};

/// Whether some route of the host, in whatever table, leads to `remote` through the interface with this number. A socket that
/// is bound to an interface leaves through it without a route as well: IPv4 then takes every host to be on the link.
///
/// # Errors
/// When netlink cannot be used at all.
pub fn reaches(interface: u32, remote: IpAddr) -> Result<bool> {
    block_on(async {
        let handle = connect()?;
        let all = match remote {
            IpAddr::V4(_) => RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(),
            IpAddr::V6(_) => RouteMessageBuilder::<std::net::Ipv6Addr>::new().build(),
        };
        let mut answers = handle.route().get(all).execute();
        while let Some(route) = answers.try_next().await? {
            // Not those of the host's own addresses, which are of another kind.
            let is_way = route.header.kind == RouteType::Unicast
                && first_hops(&route.attributes).any(|(through, _)| through == interface);
            if is_way && destination(&route).is_some_and(|to| to.contains(&remote)) {
                return Ok(true);
            }
        }
        Ok(false)
    })
}
