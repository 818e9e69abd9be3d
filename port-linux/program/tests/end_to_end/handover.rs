//! Paths that die and come back: by a pulled cable, by a network that silently eats packets, in one direction only.

use anyhow::ensure;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Cut, Side, Topology};
use port_linux::report::ConnectionReport;

use crate::bench::{self, Tunnel, sent_by_path, unchanged};
use crate::programs::{Background, Tool, all_pass, drop_arriving, iperf3, let_pass};

/// Over the second of two paths as many bytes again as these pings have must go, give or take a probe.
const PINGS: u32 = 30;
const PING_BYTES: u64 = 1000;

/// PC1 reaches PC2, and uses the second path for it or does not.
fn passes(tunnel: &Tunnel, second_is_used: bool) -> anyhow::Result<()> {
    let before = tunnel.pc1.connection()?;
    let options = format!("-s {PING_BYTES}");
    all_pass(&tunnel.net.pc1, Side::Pc2.tunnel_address(Version::V4), PINGS, &options)?;
    let sent = sent_by_path(&before, &tunnel.pc1.connection()?);
    let used = sent[1] > u64::from(PINGS) * PING_BYTES / 3;
    ensure!(used == second_is_used, "sent by path: {sent:?}");
    ensure!(sent[0] > u64::from(PINGS) * PING_BYTES / 3, "the first path is whole: {sent:?}");
    Ok(())
}

fn second_went_down_once(connection: &ConnectionReport) {
    let downs: Vec<u64> = connection.paths.iter().map(|path| path.downs).collect();
    assert_eq!(downs, [0, 1]);
}

#[test]
fn a_pulled_cable_moves_traffic_and_plugging_it_in_brings_it_back() {
    bench::test(&[Tool::Ping], || {
        let tunnel = Tunnel::start(2, Stack::V4OverV4, unchanged)?;
        passes(&tunnel, true)?;

        tunnel.net.cut(2, Cut::Link)?;
        for end in [&tunnel.pc1, &tunnel.pc2] {
            let connection = end.until_down(2, &["link"])?;
            second_went_down_once(&connection);
            // People are told once, of what was noticed first: the carrier here or what the peer says.
            let told = end
                .said()
                .lines()
                .filter(|line| line.contains("path path2 of") && line.contains("is down:"))
                .count();
            assert_eq!(told, 1, "{}", end.said());
        }
        passes(&tunnel, false)?;

        tunnel.net.restore(2, Cut::Link)?;
        tunnel.until_up()?;
        passes(&tunnel, true)
    });
}

#[test]
fn an_ipv6_address_that_went_with_its_link_is_used_again_when_it_is_back() {
    bench::test(&[Tool::Ping], || {
        let net = Topology::build(2, None)?;
        // As Linux does it by default; the laboratory keeps them.
        net.pc2.sysctl("net.ipv6.conf.eth2.keep_addr_on_down", "0")?;
        let tunnel = Tunnel::start_on(net, Stack::V4OverV6, unchanged)?;
        let address = Side::Pc2.address(2, Version::V6);

        tunnel.net.cut(2, Cut::Link)?;
        let shown = tunnel.net.pc2.run("ip -6 address show dev eth2")?;
        assert!(!shown.contains(&address.to_string()), "flushed: {shown}");
        tunnel.pc1.until_down(2, &["link"])?;
        tunnel.pc2.until_down(2, &["link"])?;
        passes(&tunnel, false)?;

        tunnel.net.pc2.run("ip link set eth2 up")?;
        // With duplicate address detection: it can be used a second later only.
        tunnel.net.pc2.run(&format!("ip -6 address add {address}/64 dev eth2"))?;
        tunnel.net.restore(2, Cut::Link)?;
        tunnel.until_up()?;
        passes(&tunnel, true)
    });
}

#[test]
fn a_network_that_silently_eats_packets_is_noticed_at_both_ends() {
    bench::test(&[Tool::Ping, Tool::Nft], || silently(Stack::V4OverV4));
}

#[test]
fn an_ipv6_network_that_silently_eats_packets_is_noticed_at_both_ends() {
    bench::test(&[Tool::Ping, Tool::Nft], || silently(Stack::V4OverV6));
}

fn silently(stack: Stack) -> anyhow::Result<()> {
    let tunnel = Tunnel::start(2, stack, unchanged)?;
    let hosts = [&tunnel.net.pc1, &tunnel.net.pc2];
    for host in hosts {
        drop_arriving(host, "eth2")?;
    }
    for end in [&tunnel.pc1, &tunnel.pc2] {
        second_went_down_once(&end.until_down(2, &["silent", "deaf"])?);
    }
    passes(&tunnel, false)?;

    for host in hosts {
        let_pass(host)?;
    }
    tunnel.until_up()?;
    passes(&tunnel, true)
}

#[test]
fn a_path_that_is_dead_in_one_direction_is_left_in_both() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let tunnel = Tunnel::start(2, Stack::V4OverV4, unchanged)?;
        drop_arriving(&tunnel.net.pc2, "eth2")?;
        // PC2 hears nothing and says so on the other path; PC1 still hears PC2's probes.
        tunnel.pc2.until_down(2, &["silent"])?;
        tunnel.pc1.until_down(2, &["deaf"])?;
        passes(&tunnel, false)?;

        let_pass(&tunnel.net.pc2)?;
        tunnel.until_up()?;
        passes(&tunnel, true)
    });
}

#[test]
fn a_tcp_transfer_outlives_a_cut_and_a_repair() {
    bench::test(&[Tool::Iperf3, Tool::Nft], || {
        let tunnel = Tunnel::start(2, Stack::V4OverV4, unchanged)?;
        let (pc1, pc2) = (&tunnel.net.pc1, &tunnel.net.pc2);
        let to = Side::Pc2.tunnel_address(Version::V4);
        let report = std::thread::scope(|scope| {
            let before = tunnel.pc1.connection()?.counters.tx_bytes;
            let transfer = scope.spawn(|| iperf3(pc2, pc1, to, "--time 6"));
            let flows = |connection: &ConnectionReport| connection.counters.tx_bytes > before + 100_000;
            tunnel.pc1.until("under way", flows)?;
            drop_arriving(pc1, "eth2")?;
            tunnel.pc2.until_down(2, &["silent", "deaf"])?;
            let at_the_cut = tunnel.pc1.connection()?.counters.tx_bytes;
            tunnel.pc1.until("going on", |c| c.counters.tx_bytes > at_the_cut + 1_000_000)?;
            let_pass(pc1)?;
            tunnel.until_up()?;
            transfer.join().expect("no panic")
        })?;
        let bytes = report["end"]["sum_received"]["bytes"].as_u64();
        assert!(bytes.is_some_and(|bytes| bytes > 1_000_000), "{bytes:?}");
        Ok(())
    });
}

#[test]
fn when_all_paths_are_cut_packets_are_counted_and_the_tunnel_comes_back() {
    bench::test(&[Tool::Ping], || {
        let tunnel = Tunnel::start(2, Stack::V4OverV4, unchanged)?;
        for link in [1, 2] {
            tunnel.net.cut(link, Cut::Link)?;
            tunnel.pc1.until_down(link.into(), &["link"])?;
        }
        let to = Side::Pc2.tunnel_address(Version::V4);
        let pings = Background::start(&tunnel.net.pc1, to, 5, "-W 1")?.finish()?;
        assert_eq!((pings.sent, pings.received), (5, 0));
        tunnel.pc1.until("five packets without a path", |c| c.counters.tx_no_path >= 5)?;

        for link in [1, 2] {
            tunnel.net.restore(link, Cut::Link)?;
        }
        tunnel.until_up()?;
        passes(&tunnel, true)
    });
}
