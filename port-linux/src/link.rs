//! Interfaces, addresses and routes, as netlink tells of them. What a path needs of them is in `ends`; what mpt adds to
//! them is in `host_state`.

pub(crate) mod attributes;
#[cfg(feature = "program")]
mod details;
mod ends;
mod kind;
#[cfg(feature = "program")]
mod lease;
mod out;
#[cfg(feature = "program")]
mod reach;
mod ways;

#[cfg(feature = "program")]
pub(crate) use attributes::destination;
pub use ends::{Ends, Missing, scoped, unspecified};
pub use kind::{is_mobile, is_tunnel_kind};
pub use out::{WantedWays, Way};
#[cfg(feature = "program")]
pub(crate) use ways::is_strict;
pub use ways::obstacle;
#[cfg(feature = "program")]
pub use {
    details::{Discipline, Queue, Route, near_and_wide_routes, queues},
    lease::Leases,
    reach::reaches,
};

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, Prop};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage};
use rtnetlink::{Handle, LinkUnspec, MulticastGroup, RouteMessageBuilder};

use crate::wake::Waker;
use attributes::first_hops;

/// Whether an interface that is made now has IPv6, which an administrator may have switched off (`disable_ipv6`), or the kernel may
/// lack.
#[cfg(feature = "program")]
pub fn has_ipv6() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv6/conf/default/disable_ipv6")
        .is_ok_and(|text| text.trim() == "0")
}

/// After a change the next ones mostly follow at once (a link, its addresses, its routes): they are looked
/// at together.
const SETTLE: Duration = Duration::from_millis(5);
/// Netlink drops events when its queue is full; looking anyway once in a while costs next to nothing.
const LOOK_ANYWAY: Duration = Duration::from_secs(2);
/// The same while an interface that matters has just lost its carrier: the kernel tells of a carrier up to a
/// second after it came back (`linkwatch` in net/core/link_watch.c), but shows it at once to who looks.
const LOOK_IMPATIENTLY: Duration = Duration::from_millis(50);
/// Impatient looks until the kernel's second must do, which are ten seconds: a socket that never has a cable must not keep a
/// small machine awake.
const IMPATIENT_LOOKS: u32 = 200;

/// An interface as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its alternative names (`ip link property add dev eth0 altname NAME`).
    pub other_names: Vec<String>,
    /// Its number.
    pub index: u32,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is switched on and has a carrier.
    pub running: bool,
    /// What kind of virtual interface it is, in the kernel's words (`veth`, `bridge`); `None` for hardware.
    pub kind: Option<String>,
    /// Whether a datagram needs the hardware address of its next hop: not so on a point-to-point link, as of a modem.
    pub has_neighbours: bool,
    /// Its addresses that may be used (an IPv6 address under duplicate detection may not).
    pub addresses: Vec<IpAddr>,
}

/// All interfaces at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interfaces {
    list: Vec<Interface>,
    /// Ways out, if they were looked for.
    ways: Vec<Way>,
    /// Routers of interfaces through which no default route of IPv4 leads, by the interface's number.
    routers: Vec<(u32, Ipv4Addr)>,
}

impl Interfaces {
    /// Asks the kernel.
    ///
    /// # Errors
    /// When netlink cannot be used at all.
    pub fn now() -> Result<Self> {
        block_on(async { Ok(Self::ask(&connect()?).await?) })
    }

    /// The interface with this name, or with this alternative name: the kernel gives no name twice.
    pub fn named(&self, name: &str) -> Option<&Interface> {
        self.list.iter().find(|interface| interface.is_named(name))
    }

    /// The interface that has this address: among several, one that is running.
    pub fn with_address(&self, address: IpAddr) -> Option<&Interface> {
        self.list.iter().filter(|i| i.addresses.contains(&address)).max_by_key(|interface| interface.running)
    }

    /// Whether routes of an IP version lead through an interface to everywhere, or to this address, if it is one that ways were looked for to.
    pub fn lead_out(&self, interface: &Interface, ipv4: bool, to: Option<IpAddr>) -> bool {
        let is_way = |way: &&Way| way.interface == interface.index && way.ipv4 == ipv4;
        self.ways.iter().filter(is_way).any(|way| way.to.is_none() || way.to == to)
    }

    /// Looks for ways out as well: to everywhere, and to these addresses.
    ///
    /// # Errors
    /// When netlink cannot be used at all.
    pub fn look_for_ways(&mut self, to: &[IpAddr]) -> Result<()> {
        self.ways = block_on(async { Ok(out::find(&connect()?, to).await?) })?;
        self.look_for_routers();
        Ok(())
    }

    /// The router that DHCP named on an interface through which no default route of IPv4 leads, if ways were looked for.
    pub fn router(&self, interface: &Interface) -> Option<Ipv4Addr> {
        self.routers.iter().find(|(index, _)| *index == interface.index).map(|(_, router)| *router)
    }

    #[cfg(feature = "program")]
    fn look_for_routers(&mut self) {
        let without =
            self.list.iter().filter(|it| it.has_neighbours && it.running && !self.lead_out(it, true, None));
        let leases = Leases::default();
        self.routers = without.filter_map(|it| Some((it.index, leases.of_dhclient(it)?))).collect();
    }

    /// Leases are of no concern to a program that is told its networks.
    #[cfg(not(feature = "program"))]
    fn look_for_routers(&mut self) {}

    /// The same with ways out of the host, and with routers that DHCP named.
    #[cfg(test)]
    pub(crate) fn with_ways(self, ways: Vec<Way>, routers: Vec<(u32, Ipv4Addr)>) -> Self {
        Self { ways, routers, ..self }
    }

    /// All of them, in the kernel's order.
    pub fn iter(&self) -> impl Iterator<Item = &Interface> {
        self.list.iter()
    }

    /// Every address of this machine but the loopback's, for error messages.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.list.iter().flat_map(|interface| &interface.addresses).copied().filter(|a| !a.is_loopback())
    }

    async fn ask(handle: &Handle) -> Result<Self, rtnetlink::Error> {
        let mut interfaces = Vec::new();
        let mut links = handle.link().get().execute();
        while let Some(link) = links.try_next().await? {
            let mut interface = Interface {
                name: String::new(),
                other_names: Vec::new(),
                index: link.header.index,
                mtu: 0,
                kind: None,
                has_neighbours: !link.header.flags.intersects(LinkFlags::Noarp | LinkFlags::Pointopoint),
                running: link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
                addresses: Vec::new(),
            };
            for attribute in link.attributes {
                match attribute {
                    LinkAttribute::IfName(name) => interface.name = name,
                    LinkAttribute::PropList(properties) => {
                        interface.other_names.extend(properties.into_iter().filter_map(|property| {
                            match property {
                                Prop::AltIfName(name) => Some(name),
                                _ => None,
                            }
                        }));
                    }
                    LinkAttribute::Mtu(mtu) => interface.mtu = mtu,
                    LinkAttribute::LinkInfo(infos) => {
                        interface.kind = infos.iter().find_map(|info| match info {
                            LinkInfo::Kind(kind) => Some(kind.to_string()),
                            _ => None,
                        });
                    }
                    _ => {}
                }
            }
            interfaces.push(interface);
        }
        let mut addresses = handle.address().get().execute();
        while let Some(message) = addresses.try_next().await? {
            let tentative = message.header.flags.contains(AddressHeaderFlags::Tentative)
                && !message.attributes.iter().any(
                    |a| matches!(a, AddressAttribute::Flags(flags) if flags.contains(AddressFlags::Optimistic)),
                );
            let interface = interfaces.iter_mut().find(|i| i.index == message.header.index);
            if let (Some(address), Some(interface), false) = (attributes::own(&message), interface, tentative)
            {
                interface.addresses.push(address);
            }
        }
        Ok(Self { list: interfaces, ways: Vec::new(), routers: Vec::new() })
    }
}

impl From<Vec<Interface>> for Interfaces {
    fn from(interfaces: Vec<Interface>) -> Self {
        Self { list: interfaces, ways: Vec::new(), routers: Vec::new() }
    }
}

/// A route to everywhere, in whatever table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultRoute {
    /// The number of the interface it goes through.
    pub interface: u32,
    /// Whether it is for IPv4; else for IPv6.
    pub ipv4: bool,
    /// The router, unless everything is on the link.
    pub gateway: Option<IpAddr>,
}

/// The default routes of this machine.
///
/// # Errors
/// When netlink cannot be used at all.
pub fn default_routes() -> Result<Vec<DefaultRoute>> {
    block_on(async {
        let handle = connect()?;
        let mut routes = Vec::new();
        for ipv4 in [true, false] {
            each_route(&handle, ipv4, |route| {
                if route.header.destination_prefix_length == 0 {
                    routes.extend(first_hops(&route.attributes).map(|(interface, gateway)| DefaultRoute {
                        interface,
                        ipv4,
                        gateway,
                    }));
                }
            })
            .await?;
        }
        Ok(routes)
    })
}

/// The number of the interface through which datagrams from `local` to `remote`, with `mark` if any, leave by the routes as
/// they are; `None` when there is no way.
///
/// # Errors
/// When netlink cannot be used at all.
pub fn egress(local: IpAddr, remote: IpAddr, mark: Option<u32>) -> Result<Option<u32>> {
    let mut message = match (local, remote) {
        (IpAddr::V4(local), IpAddr::V4(remote)) => RouteMessageBuilder::<Ipv4Addr>::new()
            .source_prefix(local, 32)
            .destination_prefix(remote, 32)
            .build(),
        (IpAddr::V6(local), IpAddr::V6(remote)) => RouteMessageBuilder::<Ipv6Addr>::new()
            .source_prefix(local, 128)
            .destination_prefix(remote, 128)
            .build(),
        _ => return Ok(None),
    };
    message.attributes.extend(mark.map(RouteAttribute::Mark));
    block_on(async {
        // The handle must outlive its answers. An error is the answer that there is no route.
        let handle = connect()?;
        let mut answers = handle.route().get(message).execute();
        let route = answers.try_next().await.ok().flatten();
        Ok(route.and_then(|route| first_hops(&route.attributes).next().map(|(interface, _)| interface)))
    })
}

/// What a tunnel interface is to be. Its addresses and the routes through it are in
/// [`HostState`](crate::host_state::HostState).
#[derive(Debug)]
pub struct Setup<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its MTU in bytes.
    pub mtu: u16,
    /// Packets the kernel queues for us (txqueuelen).
    pub queue: u32,
    /// Bytes of the largest packet that the kernel leaves to us to cut.
    pub largest: u32,
}

impl Setup<'_> {
    /// Sets up the interface and switches it on.
    ///
    /// # Errors
    /// When the kernel refuses, or the interface is gone.
    pub fn apply(&self) -> Result<()> {
        block_on(async {
            let handle = connect()?;
            let name = self.name;
            let link = LinkUnspec::new_with_name(name);
            let link = link.mtu(self.mtu.into()).txqueuelen(self.queue).up().build();
            handle.link().set(link).execute().await.map_err(plain).with_context(|| {
                format!("cannot switch {name} on with MTU {} and queue {}", self.mtu, self.queue)
            })?;
            // Without it some packets take two calls.
            let mut link = LinkUnspec::new_with_name(name).build();
            link.attributes.push(LinkAttribute::GsoMaxSize(self.largest));
            if let Err(error) = handle.link().set(link).execute().await {
                tracing::debug!("largest packet of {name}: {}", plain(error));
            }
            Ok(())
        })
    }
}

/// Gives an interface another MTU.
///
/// # Errors
/// What the kernel says.
pub fn set_mtu(name: &str, mtu: u16) -> Result<()> {
    block_on(async {
        let handle = connect()?;
        let link = LinkUnspec::new_with_name(name).mtu(mtu.into()).build();
        let outcome = handle.link().set(link).execute().await.map_err(plain);
        outcome.with_context(|| format!("cannot give {name} the MTU {mtu}"))
    })
}

/// Watches interfaces and addresses from a thread of its own: whenever something has changed, all of it is
/// sent and `waker` is rung. While one of `awaited` has lost its carrier, it looks more often for a while. The
/// thread ends when the receiver is gone.
///
/// With `ways`, routes are looked at, too.
///
/// # Errors
/// When the thread or its netlink socket cannot be had.
pub fn watch(awaited: Vec<Ends>, ways: WantedWays, waker: Waker) -> Result<mpsc::Receiver<Interfaces>> {
    let (sender, receiver) = mpsc::channel();
    let (ready_sender, ready) = mpsc::channel();
    let thread = move || {
        let outcome = block_on(async {
            let (connection, handle, mut changes) = rtnetlink::new_multicast_connection(&[
                MulticastGroup::Link,
                MulticastGroup::Ipv4Ifaddr,
                MulticastGroup::Ipv6Ifaddr,
            ])?;
            tokio::spawn(connection);
            let _ = ready_sender.send(());
            let mut last = Interfaces::default();
            let mut looks = 0;
            loop {
                let mut now = Interfaces::ask(&handle).await?;
                if let Some(to) = ways.get() {
                    now.ways = out::find(&handle, &to).await?;
                    now.look_for_routers();
                }
                let no_carrier = |ends: &Ends| matches!(ends.interface(&now), Err(Missing::Carrier(_)));
                let impatient = looks < IMPATIENT_LOOKS && awaited.iter().any(no_carrier);
                let patience = if impatient { LOOK_IMPATIENTLY } else { LOOK_ANYWAY };
                looks += 1;
                if now != last {
                    last = now.clone();
                    looks = 0;
                    if sender.send(now).is_err() {
                        return Ok(());
                    }
                    waker.wake();
                }
                if let Ok(change) = tokio::time::timeout(patience, changes.next()).await {
                    change.context("netlink closed")?;
                    tokio::time::sleep(SETTLE).await;
                    while let Ok(Some(_)) = tokio::time::timeout(Duration::ZERO, changes.next()).await {}
                }
            }
        });
        if let Err(error) = outcome {
            tracing::error!("changes of links are not seen any more: {error:#}");
        }
    };
    std::thread::Builder::new().name("links".into()).spawn(thread).context("cannot start a thread")?;
    ready.recv().context("cannot watch interfaces through netlink")?;
    Ok(receiver)
}

/// What the kernel said, without netlink's words around it.
pub(crate) fn plain(error: rtnetlink::Error) -> anyhow::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io().into(),
        other => other.into(),
    }
}

fn connect() -> Result<Handle> {
    let (connection, handle, _) = rtnetlink::new_connection().context("cannot open a netlink socket")?;
    tokio::spawn(connection);
    Ok(handle)
}

/// Looks at each route of an IP version, in whatever table.
async fn each_route(
    handle: &Handle,
    is_ipv4: bool,
    mut look: impl FnMut(&RouteMessage),
) -> Result<(), rtnetlink::Error> {
    let all = if is_ipv4 {
        RouteMessageBuilder::<Ipv4Addr>::new().build()
    } else {
        RouteMessageBuilder::<Ipv6Addr>::new().build()
    };
    let mut answers = handle.route().get(all).execute();
    while let Some(route) = answers.try_next().await? {
        look(&route);
    }
    Ok(())
}

pub(crate) fn block_on<T>(task: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(task)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_seen_with_its_address() {
        let interfaces = Interfaces::now().unwrap();
        let loopback = interfaces.named("lo").unwrap();
        assert_eq!(loopback.index, 1);
        assert!(interfaces.addresses().all(|address| !address.is_loopback()));
        if loopback.running {
            assert_eq!(interfaces.with_address(IpAddr::from([127, 0, 0, 1])), Some(loopback));
        }
    }
}
