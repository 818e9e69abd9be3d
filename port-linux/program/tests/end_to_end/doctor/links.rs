//! Findings about what links and their queues do.

use std::net::UdpSocket;

use anyhow::ensure;
use mpt_lab::relay::link::Links;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Side, Topology};
use port_linux::report::PathReport;
use rustix::process::Signal;
use toml::Table;

use super::{findings, until_found};
use crate::bench::{self, Tunnel, unchanged, until};
use crate::programs::{Load, Tool};

/// Links that are fast, policed, narrow for datagrams, and both slow and bad; most of them long.
const LINKS: &str = "40mbit 80ms, 40mbit 30ms policer 6mbit 30kB, 10mbit 80ms, 1mbit 80ms 15%";

#[test]
fn the_doctor_finds_links_that_throttle_or_are_narrow_and_memory_that_is_small_for_them() {
    bench::test(&[Tool::Iperf3, Tool::Nft], || {
        let Links(links) = LINKS.parse().map_err(anyhow::Error::msg)?;
        let net = Topology::emulate(&links, 7)?;
        net.pc2.run("nft add table inet narrow")?;
        net.pc2.run("nft add chain inet narrow arriving { type filter hook input priority 0 ; }")?;
        net.pc2.run("nft add rule inet narrow arriving iifname eth3 udp length > 1300 drop")?;
        let memory = Table::from_iter([("memory_mb".to_owned(), 1.into())]);
        let tunnel = Tunnel::start_on(net, Stack::V4OverV4, |_, settings| {
            settings.connection("policy", "adaptive").connection("adaptive", memory.clone())
        })?;
        let (pc1, pc2) = (&tunnel.net.pc1, &tunnel.net.pc2);
        let _load = Load::start(pc2, pc1, Side::Pc2.tunnel_address(Version::V4), "--parallel 4")?;
        // It is told for five seconds after each time that it was seen.
        until("throttled", || {
            let is_seen =
                |path: &PathReport| path.model.as_ref().is_some_and(|it| it.limited_by == "policer");
            let found = if is_seen(&tunnel.pc1.connection()?.paths[1]) {
                findings(pc1, &tunnel.pc1)?
            } else {
                Vec::new()
            };
            Ok(found.iter().any(|it| it.what.starts_with("path pc2/path2 is throttled to ")))
        })?;
        until_found(pc1, &tunnel.pc1, "memory", "pc2: 1.0 MB for packets to be sent, and ")?;
        // What of the 1,300 bytes is no UDP header.
        let found = until_found(pc1, &tunnel.pc1, "small_datagrams", "pc2/path3 carries datagrams of 129")?;
        ensure!(found.mend.starts_with("mtu = 13") && found.mend.contains("in path path3"), "{found:?}");
        tunnel.pc1.until_around("another MTU of the tunnel", || tunnel.pc1.has_told("tunnel_mtu"))?;
        until_found(pc1, &tunnel.pc1, "costly_path", "pc2/path4 carries ").map(drop)
    });
}

#[test]
fn the_doctor_finds_queues_that_are_full() {
    bench::test(&[], || {
        let mut tunnel = Tunnel::start(2, Stack::V4OverV4, unchanged)?;
        // In one waits much, and in the other next to nothing.
        tunnel.net.pc1.run("tc qdisc replace dev eth1 root tbf rate 256kbit burst 2k limit 4mb")?;
        tunnel.net.pc1.run("tc qdisc replace dev eth2 root tbf rate 256kbit burst 2k limit 3k")?;
        let found = findings(&tunnel.net.pc1, &tunnel.pc1)?;
        ensure!(found.is_empty(), "{found:#?}");
        let address = Side::Pc2.tunnel_address(Version::V4);
        let application = tunnel.net.pc1.inside(|| UdpSocket::bind("10.0.0.1:0"))??;
        application.connect((address, 9))?;
        let send = |count| (0..count).for_each(|_| drop(application.send(&[0; 1000])));
        // More than the tunnel's queue takes while nobody reads it.
        tunnel.pc1.signal(Signal::STOP);
        send(3000);
        tunnel.pc1.signal(Signal::CONT);
        let (pc1, mpt) = (&tunnel.net.pc1, &tunnel.pc1);
        until_found(pc1, mpt, "tunnel_queue", "packets, as its queue of 1000 was full")?;
        // Half of it is for each link.
        until("datagrams that find a full queue", || {
            send(500);
            Ok(mpt.connection()?.paths[0].not_sent.full > 1000)
        })?;
        let found = until_found(pc1, mpt, "path_queue", "pc2/path1: ")?;
        ensure!(found.mend.starts_with("policy = \"adaptive\""), "{found:?}");
        until_found(pc1, mpt, "path_queue", "the queue of eth2 (tbf) dropped ").map(drop)
    });
}
