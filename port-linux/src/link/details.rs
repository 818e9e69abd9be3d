//! What `mpt doctor` looks at besides: queues of interfaces, and the routes that may be in the tunnel's way.

use std::net::IpAddr;

use anyhow::Result;
use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::Handle;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::route::{RouteHeader, RouteType};
use rtnetlink::packet_route::tc::{TcAttribute, TcHandle, TcStats2};

use super::attributes::{destination, first_hops};
use super::{block_on, connect, each_route};

/// The queue of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Queue {
    /// The interface's number.
    pub interface: u32,
    /// Packets that it takes (txqueuelen); `None`: the kernel does not say.
    pub len: Option<u32>,
    /// Packets that were handed to the interface.
    pub sent: u64,
    /// Packets that it dropped.
    pub dropped: u64,
    /// What stands before the interface; `None`: nothing does, or the kernel does not say.
    pub discipline: Option<Discipline>,
}

/// A queueing discipline, with all that it consists of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Discipline {
    /// Its kind, in the kernel's words.
    pub kind: String,
    /// Packets that it has let out.
    pub passed: u64,
    /// Packets that it dropped.
    pub dropped: u64,
}

/// The queues of all interfaces.
///
/// # Errors
/// When netlink cannot be used at all.
pub fn queues() -> Result<Vec<Queue>> {
    block_on(async {
        let handle = connect()?;
        let mut queues = Vec::new();
        let mut links = handle.link().get().execute();
        while let Some(link) = links.try_next().await? {
            let mut queue = Queue { interface: link.header.index, ..Queue::default() };
            for attribute in link.attributes {
                match attribute {
                    LinkAttribute::TxQueueLen(len) => queue.len = Some(len),
                    LinkAttribute::Stats64(stats) => {
                        (queue.sent, queue.dropped) = (stats.tx_packets, stats.tx_dropped);
                    }
                    _ => {}
                }
            }
            queues.push(queue);
        }
        // Where the kernel does not say, or says what is not understood, there is no discipline.
        for (interface, discipline) in disciplines(&handle).await.unwrap_or_default() {
            if let Some(queue) = queues.iter_mut().find(|queue| queue.interface == interface) {
                queue.discipline = Some(discipline);
            }
        }
        Ok(queues)
    })
}

/// The outermost queueing disciplines, with the numbers of their interfaces.
async fn disciplines(handle: &Handle) -> Result<Vec<(u32, Discipline)>> {
    let mut found = Vec::new();
    let mut all = handle.qdisc().get().execute();
    while let Some(message) = all.try_next().await? {
        let mut discipline = Discipline::default();
        for attribute in message.attributes {
            match attribute {
                TcAttribute::Kind(kind) => discipline.kind = kind,
                TcAttribute::Stats2(stats) => stats.iter().for_each(|stats| match stats {
                    TcStats2::Basic(basic) => discipline.passed = basic.packets.into(),
                    TcStats2::Queue(queue) => discipline.dropped = queue.drops.into(),
                    _ => {}
                }),
                _ => {}
            }
        }
        if let (TcHandle::ROOT, Ok(interface)) = (message.header.parent, u32::try_from(message.header.index))
        {
            found.push((interface, discipline));
        }
    }
    Ok(found)
}

/// A route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub to: IpNet,
    /// The number of the interface that it leads through.
    pub interface: u32,
    /// Whether it is in the main table.
    pub is_main: bool,
}

/// Routes to networks on the links themselves, and to half of all addresses or more, in whatever table.
///
/// # Errors
/// When netlink cannot be used at all.
pub fn near_and_wide_routes() -> Result<Vec<Route>> {
    block_on(async {
        let handle = connect()?;
        let mut routes = Vec::new();
        for is_ipv4 in [true, false] {
            each_route(&handle, is_ipv4, |route| {
                let Some(to) = destination(route).filter(|_| route.header.kind == RouteType::Unicast) else {
                    return;
                };
                // Each link has such a network of its own.
                let is_link_local = matches!(to.addr(), IpAddr::V6(to) if to.is_unicast_link_local());
                let hops = first_hops(&route.attributes)
                    .filter(|(_, router)| router.is_none() || to.prefix_len() <= 1);
                let is_main = route.header.table == RouteHeader::RT_TABLE_MAIN;
                routes.extend(hops.filter(|_| !is_link_local).map(|(interface, _)| Route {
                    to,
                    interface,
                    is_main,
                }));
            })
            .await?;
        }
        Ok(routes)
    })
}
