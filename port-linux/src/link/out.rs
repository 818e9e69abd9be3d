//! Interfaces through which routes lead out of this host: those that could carry a path, where the configuration leaves that open.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rtnetlink::Handle;
use rtnetlink::packet_route::route::RouteType;

use super::attributes::{destination, first_hops};
use super::each_route;

/// A way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// The number of the interface.
    pub interface: u32,
    /// Whether it is for IPv4; else for IPv6.
    pub ipv4: bool,
    /// The only address that it is known to lead to; `None`: to everywhere.
    pub to: Option<IpAddr>,
}

/// Which ways are looked for, as a thread that watches interfaces is told: those to everywhere, and to these addresses; `None`:
/// none, as a host may have a million routes.
#[derive(Debug, Clone, Default)]
pub struct WantedWays(Arc<Mutex<Option<Vec<IpAddr>>>>);

impl WantedWays {
    /// Tells which.
    pub fn set(&self, to: Option<Vec<IpAddr>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }

    /// As they were told last.
    pub(super) fn get(&self) -> Option<Vec<IpAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The ways to everywhere, and to these addresses, in whatever table.
pub(super) async fn find(handle: &Handle, to: &[IpAddr]) -> Result<Vec<Way>, rtnetlink::Error> {
    let mut ways = Vec::new();
    for ipv4 in [true, false] {
        each_route(handle, ipv4, |route| {
            // Not those of the host's own addresses, nor such as refuse.
            if route.header.kind != RouteType::Unicast {
                return;
            }
            let Some(network) = destination(route) else { return };
            let is_default = network.prefix_len() == 0;
            let led =
                to.iter().filter(|address| !is_default && network.contains(*address)).map(|to| Some(*to));
            for to in is_default.then_some(None).into_iter().chain(led) {
                for (interface, _) in first_hops(&route.attributes) {
                    let way = Way { interface, ipv4, to };
                    if !ways.contains(&way) {
                        ways.push(way);
                    }
                }
            }
        })
        .await?;
    }
    // The kernel's order says nothing, and changes.
    ways.sort_unstable_by_key(|way| (way.interface, !way.ipv4, way.to));
    Ok(ways)
}
