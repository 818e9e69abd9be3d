//! What should not arrive: from strangers, with the wrong key, broken. It is counted by reason, and the tunnel goes on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Side, Topology};
use port_linux::report::State;
use socket2::{Domain, Protocol, Socket, Type};

use crate::bench::{self, Mpt, Settings, Tunnel};
use crate::programs::{Tool, all_pass, none_passes};

/// GRE in UDP (RFC 8086 section 3.2.2).
const PORT: u16 = 4754;

/// How often each bad datagram is sent.
const TIMES: u64 = 20;

/// Sends a UDP datagram with any source port, one that mpt itself holds included; the kernel splits a large one.
fn forge(from: (Ipv4Addr, u16), to: Ipv4Addr, payload: &[u8]) -> anyhow::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP))?;
    socket.bind(&SocketAddr::new(from.0.into(), 0).into())?;
    let length = u16::try_from(8 + payload.len())?;
    // Without a checksum, which IPv4 permits.
    let header = [from.1, PORT, length, 0].map(u16::to_be_bytes);
    socket.send_to(&[header.as_flattened(), payload].concat(), &SocketAddr::new(to.into(), 0).into())?;
    Ok(())
}

/// What it is, who sends it, the UDP payload, and the reason that is counted.
type Case = (&'static str, (Ipv4Addr, u16), Vec<u8>, &'static str);

fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => panic!("{address} is IPv6"),
    }
}

#[test]
fn broken_datagrams_are_counted_by_reason_and_the_tunnel_goes_on() {
    bench::test(&[Tool::Ping], || {
        let tunnel = Tunnel::start(1, Stack::V4OverV4, |_, settings| settings.clear())?;
        let peer = v4(Side::Pc1.address(1, Version::V4));
        let to = v4(Side::Pc2.address(1, Version::V4));
        let stranger = Ipv4Addr::new(172, 16, 1, 99);
        tunnel.net.pc1.run(&format!("ip address add {stranger}/24 dev eth1"))?;

        let ipv4 = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let gre =
            |flags: [u8; 2], ether_type: [u8; 2], rest: &[u8]| [&flags[..], &ether_type[..], rest].concat();
        let elsewhere = {
            let mut packet = ipv4;
            packet[12] = 11;
            packet
        };
        let cases: [Case; 18] = [
            ("nothing", (peer, PORT), vec![], "truncated"),
            ("one byte", (peer, PORT), vec![0], "truncated"),
            ("half a GRE header", (peer, PORT), vec![0x10, 0, 8], "truncated"),
            ("no sequence number", (peer, PORT), gre([0x10, 0], [8, 0], &[0, 0]), "truncated"),
            ("version 1 (PPTP)", (peer, PORT), gre([0x30, 1], [0x88, 0x0b], &[0; 40]), "bad_version"),
            ("routing", (peer, PORT), gre([0x40, 0], [8, 0], &ipv4), "bad_flags"),
            ("a key", (peer, PORT), gre([0x20, 0], [8, 0], &[&[0; 4][..], &ipv4].concat()), "wrong_key"),
            ("a wrong checksum", (peer, PORT), gre([0x80, 0], [8, 0], &[1; 40]), "bad_checksum"),
            ("an ARP request", (peer, PORT), gre([0, 0], [8, 6], &[0; 28]), "unknown_protocol"),
            ("garbage inside", (peer, PORT), gre([0, 0], [8, 0], &[0xff; 64]), "bad_inner"),
            ("65,507 bytes of garbage", (peer, PORT), gre([0, 0], [8, 0], &[0xff; 65_503]), "bad_inner"),
            ("a short inner packet", (peer, PORT), gre([0, 0], [8, 0], &ipv4[..19]), "bad_inner"),
            ("half a control message", (peer, PORT), gre([0, 0], [0x88, 0xb5], &[0x11; 12]), "bad_control"),
            ("half a fragment", (peer, PORT), gre([0, 0], [0x88, 0xb6], &[0xf0; 6]), "bad_fragment"),
            ("a stranger's packet", (stranger, PORT), gre([0, 0], [8, 0], &ipv4), "wrong_source"),
            ("a stranger's garbage", (stranger, PORT), vec![0xff; 1000], "wrong_source"),
            ("from another port", (peer, 9999), gre([0, 0], [8, 0], &ipv4), "wrong_source"),
            ("in another's name", (peer, PORT), gre([0, 0], [8, 0], &elsewhere), "wrong_inner_source"),
        ];
        for (what, from, payload, reason) in cases {
            let before = tunnel.pc2.connection()?.dropped;
            tunnel.net.pc1.inside(|| (0..TIMES).try_for_each(|_| forge(from, to, &payload)))??;
            let counted = |c: &port_linux::report::ConnectionReport| c.dropped[reason] - before[reason];
            let after = tunnel.pc2.until(&format!("{what} counted"), |c| counted(c) >= TIMES)?;
            // Nothing else changes: each datagram is counted once, for one reason.
            let mut expected = before;
            *expected.get_mut(reason).expect("a reason") += TIMES;
            assert_eq!(after.dropped, expected, "{what}");
        }

        let connection = tunnel.pc2.connection()?;
        assert_eq!((connection.paths[0].state, connection.paths[0].downs), (State::Up, 0));
        all_pass(&tunnel.net.pc1, Side::Pc2.tunnel_address(Version::V4), 50, "")
    });
}

/// Starts both ends with different settings, and checks that nothing passes; PC2's counter of `reason` says why.
fn stay_apart(
    change: impl Fn(Side, Settings) -> Settings,
    reason: &str,
    paths_are_up: bool,
) -> anyhow::Result<()> {
    let net = Topology::build(1, None)?;
    net.pc1.run("ip address add 172.16.1.99/24 dev eth1")?;
    let start =
        |side| Mpt::start(net.host(side), &change(side, Settings::new(side, Stack::V4OverV4, 1).clear()));
    let (pc1, pc2) = (start(Side::Pc1)?, start(Side::Pc2)?);
    if paths_are_up {
        pc1.until_up()?;
        pc2.until_up()?;
    }

    none_passes(&net.pc1, Side::Pc2.tunnel_address(Version::V4))?;

    let report = pc2.until(&format!("some {reason}"), |c| c.dropped[reason] > 0)?;
    assert_eq!(report.counters.tx_packets, 0, "nothing was answered: {report:#?}");
    if !paths_are_up {
        assert_eq!(report.counters.rx_packets, 0, "{report:#?}");
        assert_eq!(report.paths[0].state, State::Down);
        assert_eq!(report.paths[0].reason.as_deref(), Some("unheard"));
    }
    let sentence = match reason {
        "wrong_inner_source" => Some("addresses that are not the peer's here"),
        "wrong_key" => Some("`key` is to be the same at both ends"),
        _ => None,
    };
    if let Some(sentence) = sentence {
        assert!(report.problem.is_some_and(|problem| problem.contains(sentence)));
        assert_eq!(pc2.said().matches(sentence).count(), 1, "{}", pc2.said());
    }
    Ok(())
}

#[test]
fn with_a_wrong_key_nothing_passes() {
    bench::test(&[Tool::Ping], || {
        let keys = |side| if side == Side::Pc1 { 7 } else { 8 };
        stay_apart(|side, settings| settings.connection("key", keys(side)), "wrong_key", false)
    });
}

#[test]
fn with_a_key_at_one_end_only_nothing_passes() {
    bench::test(&[Tool::Ping], || {
        let change = |side, settings: Settings| match side {
            Side::Pc1 => settings,
            Side::Pc2 => settings.connection("key", 8),
        };
        stay_apart(change, "wrong_key", false)
    });
}

#[test]
fn with_a_wrong_peer_address_on_the_path_nothing_passes() {
    bench::test(&[Tool::Ping], || {
        let change = |side, settings: Settings| match side {
            Side::Pc1 => settings,
            Side::Pc2 => settings.path(1, "remote", "172.16.1.99"),
        };
        stay_apart(change, "wrong_source", false)
    });
}

#[test]
fn with_a_wrong_port_nothing_passes() {
    bench::test(&[Tool::Ping], || {
        let change = |side, settings: Settings| match side {
            Side::Pc1 => settings.connection("port", 4800),
            Side::Pc2 => settings,
        };
        stay_apart(change, "wrong_source", false)
    });
}

#[test]
fn with_a_wrong_peer_address_in_the_tunnel_nothing_passes() {
    bench::test(&[Tool::Ping], || {
        let change = |side, settings: Settings| match side {
            Side::Pc1 => settings,
            Side::Pc2 => settings.connection("peer", toml::Value::Array(vec!["10.0.0.9".into()])),
        };
        stay_apart(change, "wrong_inner_source", true)
    });
}
