//! TCP of hosts behind a gateway, whose own MTU is larger than the tunnel's, where no ICMP tells them so.

use anyhow::{Context as _, ensure};
use mpt_lab::host::Host;
use mpt_lab::stack::Stack;
use mpt_lab::topology::Side;
use rustix::process::Signal;

use super::lan::lan;
use super::{INTERNET, SERVER, World, client, until};
use crate::bench::{self, Mpt, Settings};
use crate::programs::{Tool, iperf3};

/// From now on a host hears nothing of packets that were too large, and notes the MSS of each SYN that comes to it.
fn note_mss(host: &Host) -> anyhow::Result<()> {
    host.run("nft add table inet mss")?;
    host.run("nft add set inet mss seen { typeof tcp option maxseg size ; flags dynamic ; }")?;
    host.run("nft add chain inet mss in { type filter hook input priority -10 ; }")?;
    host.run("nft add rule inet mss in icmp type destination-unreachable drop")?;
    host.run("nft add rule inet mss in icmpv6 type packet-too-big drop")?;
    host.run("nft add rule inet mss in tcp flags & syn == syn add @seen { tcp option maxseg size }")?;
    Ok(())
}

/// What it has noted since it was asked before, in order.
fn noted_mss(host: &Host) -> anyhow::Result<Vec<u16>> {
    let text = host.run("nft list set inet mss seen")?;
    host.run("nft flush set inet mss seen")?;
    let Some((_, rest)) = text.split_once("elements = {") else { return Ok(Vec::new()) };
    let (elements, _) = rest.split_once('}').context("no end of elements")?;
    let mut sizes: Vec<u16> =
        elements.split(',').map(|size| size.trim().parse()).collect::<Result<_, _>>()?;
    sizes.sort_unstable();
    Ok(sizes)
}

/// What fits a tunnel of this MTU, without headers: over IPv6 and over IPv4.
fn fitting(mtu: u16) -> [u16; 2] {
    [mtu - 60, mtu - 40]
}

#[test]
fn tcp_of_a_lan_fits_the_tunnel_in_both_directions_where_icmp_is_filtered_and_follows_its_mtu() {
    bench::test(&[Tool::Ping, Tool::Nft, Tool::Iperf3], || {
        let world = World::build()?;
        let lan = lan(&world)?;
        let internet = world.internet.clone();
        world.pc1("sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")?;
        let server = Settings::new(Side::Pc2, Stack::V4OverV4, 2)
            .network("192.168.6.0/24")
            .network("fd06::/64")
            .tunnel("mtu", 1500)
            .path(1, "local", SERVER)
            .path(2, "local", SERVER);
        let _server = Mpt::start(&world.net.pc2, &server)?;
        let mut pc1 = world.start_client(&client())?;
        for host in [&lan, &internet, &world.net.pc1, &world.net.pc2] {
            note_mss(host)?;
        }

        let mtu = pc1.status()?.tunnel.mtu;
        ensure!(mtu < 1500 && lan.mtu("eth0")? == 1500 && internet.mtu("eth0")? == 1500);
        let transfers = || -> anyhow::Result<()> {
            for to in INTERNET {
                for direction in ["", "-R"] {
                    iperf3(&internet, &lan, to.parse()?, &format!("-n 2M {direction}"))?;
                }
            }
            Ok(())
        };
        transfers()?;
        // PC2's tunnel has a larger MTU, so that PC1 alone sees to both directions: what it sends into the tunnel, and what
        // comes out of it.
        assert_eq!(noted_mss(&internet)?, fitting(mtu), "SYNs");
        assert_eq!(noted_mss(&lan)?, fitting(mtu), "answers");

        // TCP of the gateway itself does the same by the MTU of the interface.
        iperf3(&internet, &world.net.pc1, INTERNET[0].parse()?, "-n 2M -R")?;
        assert_eq!(noted_mss(&internet)?, [mtu - 40]);

        world.pc1("ip link set eth1 mtu 1400")?;
        until("a smaller MTU", || Ok(pc1.status()?.tunnel.mtu == mtu - 100))?;
        transfers()?;
        assert_eq!(noted_mss(&internet)?, fitting(mtu - 100));
        assert_eq!(noted_mss(&lan)?, fitting(mtu - 100));
        assert_eq!(world.past_the_tunnel()?, 0);

        world.pc1("ip link set eth1 mtu 1500")?;
        assert!(pc1.end(Signal::TERM)?.success());
        let pc1 = world.start_client(&client().tunnel("mtu", 1280))?;
        assert_eq!(pc1.status()?.tunnel.mtu, 1280);
        transfers()?;
        assert_eq!(noted_mss(&internet)?, fitting(1280));
        assert_eq!(noted_mss(&lan)?, fitting(1280));
        Ok(())
    });
}
