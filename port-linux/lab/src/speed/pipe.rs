//! `mpt traffic pipe` over the first link: what any tunnel in user space pays for the tunnel device and UDP.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use crate::ends::{Ends, GLANCE};
use crate::stack::Version;
use crate::topology::{Side, Topology};

const DEVICE: &str = "pipe0";
const PORT: u16 = 5555;
/// As in the tunnel over Ethernet, so that the hosts cut their streams into as many segments.
const MTU: u16 = 1456;

/// PC2's address in the tunnel.
pub(super) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 8, 0, 2));

/// Starts both ends, with the program at this path, and waits until PC2 answers PC1.
///
/// # Errors
/// When the tunnel is not up in time.
pub(super) fn start(net: &Topology, mpt: &Path) -> anyhow::Result<Ends> {
    let end = |side: Side| format!("{}:{PORT}", side.address(1, Version::V4));
    let mut tunnel = Ends::start(net, "`mpt traffic pipe`", |side| {
        let mut command = net.host(side).command(mpt);
        command.args(["traffic", "pipe", DEVICE, &end(side), &end(side.peer())]);
        command
    })?;
    for (side, last) in [(Side::Pc1, 1), (Side::Pc2, 2)] {
        let host = net.host(side);
        tunnel.wait(|| Ok(host.mtu(DEVICE).is_ok()))?;
        host.run(&format!("ip address add 10.8.0.{last}/24 dev {DEVICE}"))?;
        host.run(&format!("ip link set {DEVICE} mtu {MTU} up"))?;
    }
    tunnel.wait(|| net.pc1.reaches(ADDRESS, GLANCE))?;
    Ok(tunnel)
}
