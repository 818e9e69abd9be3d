//! What of this host keeps datagrams from a path whose link works: no route through its device, or a filter on what comes in.
//!
//! The kernel sends from a socket that is bound to a device even where no route leads through that device: it takes the
//! peer to be on the link. And it drops, silently, what comes in by another interface than the one it would answer through.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use futures_util::TryStreamExt;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::{RouteAttribute, RouteFlags};

use super::{Interface, Missing, block_on, connect, egress};

/// What keeps the datagrams of a path from the peer, or the peer's from the path, that leave from the address `source` of
/// an interface, with `mark` if any. `None`: nothing that could be found. Only IPv4 has such cases.
pub fn obstacle(
    interface: &Interface,
    device: Option<&str>,
    (source, remote): (IpAddr, IpAddr),
    mark: Option<u32>,
) -> Option<Missing> {
    let (IpAddr::V4(_), IpAddr::V4(to)) = (source, remote) else { return None };
    if let Some(device) = device
        && interface.has_neighbours
        && !leads(to, interface.index, mark).unwrap_or(true)
    {
        return Some(Missing::Route(remote, Some(device.to_owned())));
    }
    let back = is_strict(&interface.name).then(|| egress(source, remote, None).ok().flatten()).flatten()?;
    (back != interface.index).then(|| Missing::Filter(interface.name.clone(), remote))
}

/// `rp_filter` where only what comes in by the interface of the best route back is taken (RFC 3704 section 2.2).
const STRICT: u8 = 1;

/// Whether the kernel drops what comes in by this interface and would be answered through another one. The larger value of
/// the interface's and that of `all` counts.
pub(crate) fn is_strict(interface: &str) -> bool {
    let filter = |interface: &str| -> Option<u8> {
        fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{interface}/rp_filter")).ok()?.trim().parse().ok()
    };
    ["all", interface].into_iter().filter_map(filter).max() == Some(STRICT)
}

/// Whether there is a route to an address through the interface with this number.
fn leads(to: Ipv4Addr, interface: u32, mark: Option<u32>) -> Result<bool> {
    let mut message =
        RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to, 32).output_interface(interface).build();
    // The entry of the table is asked for: else the answer is that the address is on the link.
    message.header.flags |= RouteFlags::FibMatch;
    message.attributes.extend(mark.map(RouteAttribute::Mark));
    block_on(async {
        let handle = connect()?;
        let mut answers = handle.route().get(message).execute();
        match answers.try_next().await {
            Ok(route) => Ok(route.is_some()),
            // Older kernels than 4.14 know no such question, and answer the other one.
            Err(rtnetlink::Error::NetlinkError(error)) => Ok(!is_no_route(error.raw_code())),
            Err(error) => Err(error.into()),
        }
    })
}

/// ENETUNREACH and EHOSTUNREACH, as netlink has them.
fn is_no_route(code: i32) -> bool {
    use rustix::io::Errno;
    [Errno::NETUNREACH, Errno::HOSTUNREACH].iter().any(|errno| errno.raw_os_error() == -code)
}
