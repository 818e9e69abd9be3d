//! `mpt traffic pipe` over the first link: what any tunnel in user space pays for the tunnel device and UDP.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::bail;

use crate::lab::host::Running;
use crate::lab::stack::Version;
use crate::lab::stopwatch::Stopwatch;
use crate::lab::topology::{Side, Topology};

const DEVICE: &str = "pipe0";
const PORT: u16 = 5555;
/// As in the tunnel over Ethernet, so that the hosts cut their streams into as many segments.
const MTU: u16 = 1456;
/// Time to start.
const PATIENCE: Duration = Duration::from_secs(5);
const GLANCE: Duration = Duration::from_millis(50);

/// Both ends. They are ended when this is dropped.
#[derive(Debug)]
pub(super) struct Pipe {
    ends: [Running; 2],
}

impl Pipe {
    /// PC2's address in the tunnel.
    pub(super) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 8, 0, 2));

    /// Starts both ends, with the program at this path, and waits until PC2 answers PC1.
    ///
    /// # Errors
    /// When the tunnel is not up in time.
    pub(super) fn start(net: &Topology, mpt: &Path) -> anyhow::Result<Self> {
        let start = |side: Side| {
            let end = |side: Side| format!("{}:{PORT}", side.address(1, Version::V4));
            let mut command = net.host(side).command(mpt);
            command.args(["traffic", "pipe", DEVICE, &end(side), &end(side.peer())]).stderr(Stdio::null());
            net.host(side).spawn(&mut command)
        };
        let tunnel = Self { ends: [start(Side::Pc1)?, start(Side::Pc2)?] };
        let clock = Stopwatch::start();
        for (side, last) in [(Side::Pc1, 1), (Side::Pc2, 2)] {
            let host = net.host(side);
            while host.mtu(DEVICE).is_err() {
                wait(&clock)?;
            }
            host.run(&format!("ip address add 10.8.0.{last}/24 dev {DEVICE}"))?;
            host.run(&format!("ip link set {DEVICE} mtu {MTU} up"))?;
        }
        while !net.pc1.reaches(Self::ADDRESS, GLANCE)? {
            wait(&clock)?;
        }
        Ok(tunnel)
    }

    /// The process ids of both ends.
    pub(super) fn pids(&self) -> [u32; 2] {
        self.ends.each_ref().map(Running::pid)
    }

    /// Ends both.
    ///
    /// # Errors
    /// When somebody else reaped them.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        for end in &mut self.ends {
            end.stop()?;
        }
        Ok(())
    }
}

fn wait(clock: &Stopwatch) -> anyhow::Result<()> {
    if clock.elapsed() > PATIENCE {
        bail!("`mpt traffic pipe` is not up after {} s", PATIENCE.as_secs());
    }
    thread::sleep(GLANCE);
    Ok(())
}
