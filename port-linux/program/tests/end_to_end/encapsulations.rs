//! What other tunnels and large datagrams make of the inside: fragments, equal datagrams in a
//! row, VXLAN. Nothing is joined, changed or lost.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use mpt_lab::host::{Host, wire};
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Side, Topology};

use crate::bench::{self, Tunnel, dropped};
use crate::programs::{Tool, all_pass, iperf3};

const PORT: u16 = 5000;

/// Of each kind; two of five contents at once, so that no socket is full.
const DATAGRAMS: usize = 400;
const PIECE: usize = 5;

/// Datagrams with a wrong checksum that a host was sent, by its own account.
fn checksum_errors(host: &Host) -> anyhow::Result<u64> {
    let read = |file: &str| host.inside(|| std::fs::read_to_string(file));
    let (v4, v6) = (read("/proc/net/snmp")??, read("/proc/net/snmp6")??);
    let mut count = 0;
    for protocol in ["Udp:", "Tcp:"] {
        let rows: Vec<Vec<&str>> = v4
            .lines()
            .filter(|line| line.starts_with(protocol))
            .map(|line| line.split_whitespace().collect())
            .collect();
        let [names, values] = &rows[..] else { anyhow::bail!("{v4}") };
        let at = names.iter().position(|name| *name == "InCsumErrors").context("InCsumErrors")?;
        count += values[at].parse::<u64>()?;
    }
    let v6 = v6.lines().find_map(|line| line.strip_prefix("Udp6InCsumErrors")).context("Udp6InCsumErrors")?;
    Ok(count + v6.trim().parse::<u64>()?)
}

/// Sends datagrams of this size, two of each content, and receives what comes: the contents in order of arrival.
fn pairs(from: &Host, at: &Host, to: IpAddr, size: usize) -> anyhow::Result<Vec<usize>> {
    let receiver = at.inside(|| UdpSocket::bind((to, PORT)))??;
    receiver.set_read_timeout(Some(Duration::from_secs(2)))?;
    let unspecified: SocketAddr = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse()?;
    let sender = from.inside(|| UdpSocket::bind(unspecified))??;
    let content = |number: usize| {
        let mut bytes = vec![u8::try_from(number % 251).unwrap_or(0); size];
        bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
        bytes
    };
    let (mut came, mut buffer) = (Vec::new(), vec![0; size + 1]);
    for first in (0..DATAGRAMS / 2).step_by(PIECE) {
        for number in first..first + PIECE {
            for _ in 0..2 {
                sender.send_to(&content(number), (to, PORT))?;
            }
        }
        for _ in 0..2 * PIECE {
            let len = match receiver.recv(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(came),
                len => len?,
            };
            let number = usize::try_from(u64::from_be_bytes(buffer[..8].try_into()?))?;
            ensure!(buffer[..len] == content(number), "{number}: {len} bytes, changed");
            came.push(number);
        }
    }
    Ok(came)
}

fn two_equal_ones_stay_two(policy: &str) -> anyhow::Result<()> {
    let tunnel = Tunnel::start(2, Stack::V4OverV4, |_, s| s.connection("policy", policy))?;
    for version in [Version::V4, Version::V6] {
        // One packet, and three fragments.
        for size in [100, 4000] {
            let mut came = pairs(&tunnel.net.pc1, &tunnel.net.pc2, Side::Pc2.tunnel_address(version), size)?;
            if size > 1500 && policy != "weighted" {
                // The first 8 kB of a flow are not held, so that its first datagrams may come in another order.
                let held = came.get(2 * PIECE..).unwrap_or_default();
                ensure!(held.is_sorted(), "{size} bytes: fragments are kept in order: {came:?}");
            }
            came.sort_unstable();
            let expected: Vec<usize> = (0..DATAGRAMS).map(|n| n / 2).collect();
            ensure!(came == expected, "{policy}, {size} bytes: {} of {DATAGRAMS}", came.len());
        }
    }
    for (end, host) in [(&tunnel.pc1, &tunnel.net.pc1), (&tunnel.pc2, &tunnel.net.pc2)] {
        // A repair that leaves before its original is known to have arrived comes beside it where a processor is busy, and is dropped as a
        // duplicate of its number. What equal datagrams have in common is no number: each has arrived above.
        let mut dropped = dropped(&end.connection()?);
        dropped.retain(|(reason, _)| policy != "adaptive" || reason != "duplicate");
        assert_eq!(dropped, []);
        assert_eq!(checksum_errors(host)?, 0);
    }
    Ok(())
}

#[test]
fn equal_datagrams_stay_two_and_fragments_arrive_by_measure() {
    bench::test(&[], || two_equal_ones_stay_two("adaptive"));
}

#[test]
fn equal_datagrams_stay_two_and_fragments_arrive_by_weight() {
    bench::test(&[], || two_equal_ones_stay_two("weighted"));
}

#[test]
fn vxlan_inside_carries_ping_and_tcp_with_and_without_checksums() {
    bench::test(&[Tool::Ping, Tool::Iperf3], || {
        let tunnel = Tunnel::start(2, Stack::V4OverV4, |_, s| s.connection("policy", "adaptive"))?;
        let (pc1, pc2) = (&tunnel.net.pc1, &tunnel.net.pc2);
        let inside: IpAddr = "10.77.0.2".parse()?;
        for checksum in ["udpcsum", "noudpcsum"] {
            for (host, own, peer) in [(pc1, 1, 2), (pc2, 2, 1)] {
                host.run(&format!(
                    "ip link add vx0 type vxlan id 7 remote 10.0.0.{peer} dstport 4789 dev {} {checksum}",
                    bench::DEVICE
                ))?;
                host.run(&format!("ip address add 10.77.0.{own}/24 dev vx0"))?;
                host.run("ip link set vx0 up")?;
            }
            // The neighbour has to be found first. The second kind is larger than the MTU.
            all_pass(pc1, inside, 10, "-W 5")?;
            all_pass(pc1, inside, 10, "-s 4000")?;
            for direction in ["", "--reverse"] {
                let report = iperf3(pc2, pc1, inside, &format!("--time 1 {direction}"))?;
                let bytes = report["end"]["sum_received"]["bytes"].as_u64();
                ensure!(
                    bytes.is_some_and(|bytes| bytes > 500_000),
                    "{checksum} {direction}: {bytes:?} bytes"
                );
            }
            for host in [pc1, pc2] {
                assert_eq!(checksum_errors(host)?, 0, "{checksum}");
                host.run("ip link delete vx0")?;
            }
        }
        Ok(())
    });
}

/// Large packets that the kernel has joined reach the tunnel device also from hosts that this one forwards for: as lists of packets, where
/// a network card makes those.
#[test]
fn what_the_kernel_joined_of_forwarded_packets_arrives_whole() {
    bench::test(&[Tool::Ping, Tool::Iperf3, Tool::Ethtool], || {
        let net = Topology::build(2, None)?;
        let lan = Host::create("lan")?;
        wire([(&net.pc1, "lan", &["192.168.7.1/24"]), (&lan, "lan", &["192.168.7.9/24"])])?;
        lan.run("ip route add default via 192.168.7.1")?;
        net.pc1.sysctl("net.ipv4.ip_forward", "1")?;
        let tunnel = Tunnel::start_on(net, Stack::V4OverV4, |side, settings| match side {
            Side::Pc1 => settings.connection("policy", "adaptive"),
            Side::Pc2 => settings.connection("policy", "adaptive").network("192.168.7.0/24"),
        })?;
        let (pc1, pc2) = (&tunnel.net.pc1, &tunnel.net.pc2);
        let to = Side::Pc2.tunnel_address(Version::V4);
        all_pass(&lan, to, 10, "-W 5")?;
        for kind in ["rx-udp-gro-forwarding", "rx-gro-list"] {
            for (host, device) in [(pc1, "lan"), (pc1, "eth1"), (pc2, "eth1"), (&lan, "lan")] {
                host.run(&format!("ethtool -K {device} gro on {kind} on"))?;
            }
            for size in [100, 1200] {
                let mut came = pairs(&lan, pc2, to, size)?;
                // A flow that sends little is not kept in order.
                came.sort_unstable();
                ensure!(
                    came == (0..DATAGRAMS).map(|it| it / 2).collect::<Vec<_>>(),
                    "{kind}, {size} bytes: {came:?}"
                );
            }
            for options in ["--time 1", "--time 1 --reverse", "--time 1 --udp --bitrate 20M --length 1300"] {
                let report = iperf3(pc2, &lan, to, options)?;
                let sum = &report["end"]["sum_received"];
                let sum = if sum.is_object() { sum } else { &report["end"]["sum"] };
                let bytes = sum["bytes"].as_u64();
                ensure!(bytes.is_some_and(|bytes| bytes > 500_000), "{kind} {options}: {bytes:?} bytes");
            }
            for host in [pc1, pc2, &lan] {
                assert_eq!(checksum_errors(host)?, 0, "{kind}");
            }
        }
        Ok(())
    });
}
