//! What the tunnel is for: ping, TCP and UDP over several paths, in every combination of IP versions; sizes, routes,
//! networks behind the peer.

use std::net::UdpSocket;

use anyhow::ensure;
use mpt_lab::host::Host;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Side, Topology};
use toml::Table;

use crate::bench::{self, Mpt, Settings, Tunnel, dropped, sent_by_path, unchanged, wire};
use crate::programs::{Tool, all_pass, full_sockets, iperf3, none_passes};

const TOOLS: &[Tool] = &[Tool::Ping, Tool::Iperf3];

/// The least that TCP must carry in a second, however slow the machine, and what UDP sends.
const TCP_BYTES: u64 = 500_000;
const UDP_BYTES: u64 = 400_000;

#[test]
fn ipv4_over_ipv4_carries_ping_tcp_and_udp_over_four_paths() {
    bench::test(TOOLS, || carries_everything(Stack::V4OverV4, 1464));
}

#[test]
fn ipv4_over_ipv6_carries_ping_tcp_and_udp_over_four_paths() {
    bench::test(TOOLS, || carries_everything(Stack::V4OverV6, 1444));
}

#[test]
fn ipv6_over_ipv4_carries_ping_tcp_and_udp_over_four_paths() {
    bench::test(TOOLS, || carries_everything(Stack::V6OverV4, 1464));
}

#[test]
fn ipv6_over_ipv6_carries_ping_tcp_and_udp_over_four_paths() {
    bench::test(TOOLS, || carries_everything(Stack::V6OverV6, 1444));
}

fn carries_everything(stack: Stack, mtu: u16) -> anyhow::Result<()> {
    let mtu = mtu - bench::seal();
    // A datagram that the kernel lets another one overtake must not pass for lost just because the machine is busy.
    let patient = Table::from_iter([("delay_ms".to_owned(), 2000.into())]);
    let tunnel = Tunnel::start(4, stack, |_, settings| settings.connection("reorder", patient.clone()))?;
    let (pc1, pc2) = (&tunnel.net.pc1, &tunnel.net.pc2);
    let address = Side::Pc2.tunnel_address(stack.inner());
    assert_eq!(tunnel.pc1.status()?.tunnel.mtu, mtu);
    assert_eq!(pc2.mtu(bench::DEVICE)?, u32::from(mtu));
    let before = tunnel.pc1.connection()?;

    all_pass(pc1, address, 20, "")?;
    // Three times the MTU: split by the kernel before it enters the tunnel.
    all_pass(pc1, address, 10, "-s 4000")?;
    for direction in ["", "--reverse"] {
        let report = iperf3(pc2, pc1, address, &format!("--time 1 {direction}"))?;
        let received = report["end"]["sum_received"]["bytes"].as_u64();
        ensure!(received.is_some_and(|bytes| bytes >= TCP_BYTES), "{direction}: {received:?} bytes came");
    }
    // Slow, and with a large buffer: what is lost then is lost by the tunnel. `iperf3` is told by the kernel when its
    // own socket was full.
    let full = full_sockets(pc2)?;
    let report = iperf3(
        pc2,
        pc1,
        address,
        &format!("--udp --bitrate 4M --length 1000 --window 200K --bytes {UDP_BYTES}"),
    )?;
    let (udp, full) = (&report["end"]["streams"][0]["udp"], full_sockets(pc2)? - full);
    ensure!(udp["packets"].as_u64().is_some_and(|n| n >= UDP_BYTES / 1000), "{udp}");
    ensure!(udp["lost_packets"].as_u64().is_some_and(|lost| lost <= full), "{udp}, {full} by a full socket");
    assert_eq!(udp["out_of_order"], 0, "{udp}");

    let after = tunnel.pc1.connection()?;
    let sent = sent_by_path(&before, &after);
    let all: u64 = sent.iter().sum();
    for bytes in &sent {
        ensure!(bytes * 5 > all, "each path carries about a quarter: {sent:?}");
    }
    for end in [&tunnel.pc1, &tunnel.pc2] {
        let connection = end.connection()?;
        assert_eq!(dropped(&connection), []);
        assert_eq!(connection.counters.rx_lost, 0, "{connection:#?}");
        assert!(connection.peer_is_mpt);
    }
    Ok(())
}

#[test]
fn an_end_that_does_not_join_slices_is_sent_segments() {
    bench::test(&[Tool::Iperf3], || {
        let tunnel = Tunnel::start(2, Stack::V4OverV4, |side, settings| {
            if side == Side::Pc2 { settings.connection("slices", false) } else { settings }
        })?;
        let to = Side::Pc2.tunnel_address(Version::V4);
        for direction in ["", "--reverse"] {
            let report = iperf3(&tunnel.net.pc2, &tunnel.net.pc1, to, &format!("--time 1 {direction}"))?;
            let received = report["end"]["sum_received"]["bytes"].as_u64();
            ensure!(received.is_some_and(|bytes| bytes >= TCP_BYTES), "{direction}: {received:?} bytes came");
        }
        for end in [&tunnel.pc1, &tunnel.pc2] {
            assert_eq!(dropped(&end.connection()?), []);
        }
        Ok(())
    });
}

#[test]
fn packets_larger_than_the_paths_are_split_and_put_together_again_over_ipv4() {
    bench::test(&[Tool::Ping], || splits(Stack::V4OverV4));
}

#[test]
fn packets_larger_than_the_paths_are_split_and_put_together_again_over_ipv6() {
    bench::test(&[Tool::Ping], || splits(Stack::V4OverV6));
}

fn splits(stack: Stack) -> anyhow::Result<()> {
    let tunnel = Tunnel::start(2, stack, |_, s| s.tunnel("mtu", 4000).path(2, "mtu", 1400))?;
    let before = tunnel.pc1.connection()?;
    for version in [Version::V4, Version::V6] {
        // With headers less than 4000: the kernel does not split it, so the tunnel must.
        all_pass(&tunnel.net.pc1, Side::Pc2.tunnel_address(version), 10, "-M do -s 3900")?;
    }
    for end in [&tunnel.pc1, &tunnel.pc2] {
        let connection = end.connection()?;
        let counters = &connection.counters;
        assert!(counters.tx_fragments >= 60, "three or more pieces each: {counters:?}");
        assert!(counters.rx_reassembled >= 20, "{counters:?}");
        assert_eq!(dropped(&connection), []);
    }
    let sent = sent_by_path(&before, &tunnel.pc1.connection()?);
    assert!(sent.iter().all(|&bytes| bytes > 20_000), "both paths took packets: {sent:?}");
    Ok(())
}

#[test]
fn two_paths_lead_to_the_same_remote_address() {
    bench::test(&[Tool::Ping], || {
        let net = Topology::build(2, None)?;
        // PC2 has one address for both, as a server has one and a client two lines.
        net.pc1.run("ip route add 172.16.1.20 dev eth2 src 172.16.2.10")?;
        for (host, device) in [(&net.pc1, "eth2"), (&net.pc2, "eth2")] {
            host.sysctl(&format!("net.ipv4.conf.{device}.rp_filter"), "0")?;
            host.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
        }
        let tunnel = Tunnel::start_on(net, Stack::V4OverV4, |side, settings| match side {
            Side::Pc1 => {
                settings.path(1, "device", "eth1").path(2, "remote", "172.16.1.20").path(2, "device", "eth2")
            }
            Side::Pc2 => settings.path(2, "local", "172.16.1.20"),
        })?;
        let before = (tunnel.net.pc1.counters()?, tunnel.net.pc2.counters()?);

        all_pass(&tunnel.net.pc1, Side::Pc2.tunnel_address(Version::V4), 40, "-s 1000")?;

        let after = (tunnel.net.pc1.counters()?, tunnel.net.pc2.counters()?);
        for device in ["eth1", "eth2"] {
            for (before, after) in [(&before.0, &after.0), (&before.1, &after.1)] {
                let bytes = after[device].tx_bytes - before[device].tx_bytes;
                assert!(bytes > 15_000, "{device} carries half: {bytes} bytes");
            }
        }
        Ok(())
    });
}

#[test]
fn a_network_behind_the_peer_is_reached_and_its_route_goes_with_mpt() {
    bench::test(&[Tool::Ping], || {
        let net = Topology::build(2, None)?;
        let printer = Host::create("PRINTER")?;
        wire([
            (&net.pc2, "lan", &["192.168.7.1/24", "fd07::1/64"]),
            (&printer, "lan", &["192.168.7.9/24", "fd07::9/64"]),
        ])?;
        printer.run("ip route add default via 192.168.7.1")?;
        printer.run("ip route add default via fd07::1")?;
        net.pc2.sysctl("net.ipv4.ip_forward", "1")?;
        net.pc2.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        let networks = ["192.168.7.0/24", "fd07::/64"];
        let mut tunnel = Tunnel::start_on(net, Stack::V4OverV4, |side, settings| match side {
            Side::Pc1 => networks.iter().fold(settings, |settings, to| settings.network(to)),
            Side::Pc2 => settings,
        })?;
        for to in networks {
            let shown = bench::routes(&tunnel.net.pc1)?;
            assert!(shown.contains(&format!("{to} dev {}", bench::DEVICE)), "{shown}");
        }

        for to in ["192.168.7.9", "fd07::9"] {
            // The neighbour has to be found first.
            all_pass(&tunnel.net.pc1, to.parse()?, 10, "-W 5")?;
        }
        // RFC 2784 section 3.1: PC2 forwards, and takes one off the TTL.
        let said = tunnel.net.pc1.run("ping -c 1 -W 5 192.168.7.9")?;
        assert!(said.contains("ttl=63"), "{said}");

        assert!(tunnel.pc1.end(rustix::process::Signal::TERM)?.success());
        let shown = bench::routes(&tunnel.net.pc1)?;
        assert!(!shown.contains("192.168.7") && !shown.contains("fd07"), "{shown}");
        Ok(())
    });
}

#[test]
fn an_ipv6_address_of_the_tunnel_can_be_used_at_once() {
    bench::test(&[], || {
        let net = Topology::build(1, None)?;
        let _mpt = Mpt::start(&net.pc1, &Settings::new(Side::Pc1, Stack::V4OverV4, 1))?;
        let address = Side::Pc1.tunnel_address(Version::V6);
        net.pc1.inside(|| UdpSocket::bind((address, 0)))??;
        let shown = net.pc1.run(&format!("ip -6 address show dev {} to {address}", bench::DEVICE))?;
        assert!(shown.contains("nodad") && !shown.contains("tentative"), "{shown}");
        Ok(())
    });
}

#[test]
fn a_peer_that_is_not_configured_is_not_answered_for() {
    bench::test(&[Tool::Ping], || {
        let tunnel = Tunnel::start(1, Stack::V4OverV4, unchanged)?;
        // In the tunnel's prefix, so the kernel gives it to mpt; but no peer has it.
        let nobody = "10.0.0.77".parse()?;
        none_passes(&tunnel.net.pc1, nobody)?;
        assert!(tunnel.pc1.status()?.tunnel.dropped["no_route"] >= 5);
        all_pass(&tunnel.net.pc1, Side::Pc2.tunnel_address(Version::V4), 5, "")?;
        Ok(())
    });
}
