//! Packets to a whole link: dropped, counted and told of by default, and carried to the peer with `multicast = true`.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use anyhow::Context as _;
use mpt_lab::host::Host;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::Side;
use socket2::{Domain, Socket, Type};

use crate::bench::{self, Tunnel, dropped, unchanged};

const PORT: u16 = 5000;

/// A datagram crosses within milliseconds; one that was dropped is waited for in vain, four times.
const WAIT: Duration = Duration::from_millis(500);

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
/// Of the link's scope: its packets have link-local sources.
const LINK_GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0x1234, 5);

/// The number of the tunnel interface on a host.
fn interface(host: &Host) -> anyhow::Result<u32> {
    let shown = host.run(&format!("ip -o link show dev {}", bench::DEVICE))?;
    shown.split(':').next().and_then(|number| number.parse().ok()).context(shown)
}

/// The destinations, as host `side` names them.
fn destinations(host: &Host) -> anyhow::Result<[SocketAddr; 4]> {
    Ok([
        (GROUP, PORT).into(),
        (Ipv4Addr::new(10, 0, 0, 255), PORT).into(),
        (Ipv4Addr::BROADCAST, PORT).into(),
        SocketAddrV6::new(LINK_GROUP, PORT, 0, interface(host)?).into(),
    ])
}

/// Sends one datagram from the host's end of the tunnel.
fn send(host: &Host, side: Side, to: SocketAddr) -> anyhow::Result<()> {
    let std::net::IpAddr::V4(own) = side.tunnel_address(Version::V4) else {
        unreachable!("IPv4 was asked for")
    };
    host.inside(|| {
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, None)?;
        if to.is_ipv4() {
            socket.set_multicast_if_v4(&own)?;
            socket.set_multicast_loop_v4(false)?;
            socket.set_broadcast(true)?;
            // The kernel sends 255.255.255.255 by the interface that the socket is bound to.
            socket.bind_device(Some(bench::DEVICE.as_bytes()))?;
        }
        socket.send_to(b"to everybody", &to.into())?;
        io::Result::Ok(())
    })??;
    Ok(())
}

/// Listens as a member of both groups: to IPv4, and to IPv6.
fn listen(host: &Host, side: Side) -> anyhow::Result<(UdpSocket, UdpSocket)> {
    let number = interface(host)?;
    let std::net::IpAddr::V4(own) = side.tunnel_address(Version::V4) else {
        unreachable!("IPv4 was asked for")
    };
    let sockets = host.inside(|| {
        let v4 = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
        v4.join_multicast_v4(&GROUP, &own)?;
        let v6 = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
        v6.set_only_v6(true)?;
        v6.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)).into())?;
        let v6 = UdpSocket::from(v6);
        v6.join_multicast_v6(&LINK_GROUP, number)?;
        v4.set_read_timeout(Some(WAIT))?;
        v6.set_read_timeout(Some(WAIT))?;
        io::Result::Ok((v4, v6))
    })??;
    Ok(sockets)
}

/// The sender of a datagram that came; `None`: none came.
fn sender(socket: &UdpSocket) -> anyhow::Result<Option<SocketAddr>> {
    match socket.recv_from(&mut [0; 64]) {
        Ok((_, source)) => Ok(Some(source)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[test]
fn multicast_and_broadcast_reach_the_peer_when_asked_for() {
    bench::test(&[], || {
        let tunnel = Tunnel::start(2, Stack::V4OverV4, |_, settings| {
            settings.connection("policy", "adaptive").connection("multicast", true)
        })?;
        for (from, to, side) in
            [(&tunnel.net.pc1, &tunnel.net.pc2, Side::Pc1), (&tunnel.net.pc2, &tunnel.net.pc1, Side::Pc2)]
        {
            let (v4, v6) = listen(to, side.peer())?;
            for destination in destinations(from)? {
                send(from, side, destination)?;
                let source = sender(if destination.is_ipv4() { &v4 } else { &v6 })?;
                let source = source.with_context(|| format!("{side:?}: nothing came to {destination}"))?;
                if destination.is_ipv4() {
                    assert_eq!(source.ip(), side.tunnel_address(Version::V4), "{destination}");
                } else {
                    assert!(source.to_string().starts_with("[fe80::"), "{destination}: {source}");
                }
                assert_eq!(sender(if destination.is_ipv4() { &v4 } else { &v6 })?, None, "once");
            }
        }
        for end in [&tunnel.pc1, &tunnel.pc2] {
            assert_eq!(dropped(&end.connection()?), []);
            assert_eq!(end.status()?.tunnel.dropped["link_scoped"], 0);
            assert!(!end.said().contains("multicast"), "{}", end.said());
        }
        Ok(())
    });
}

#[test]
fn otherwise_multicast_and_broadcast_are_counted_and_told_of_once() {
    bench::test(&[], || {
        let tunnel = Tunnel::start(1, Stack::V4OverV4, unchanged)?;
        let (v4, v6) = listen(&tunnel.net.pc2, Side::Pc2)?;
        // What the kernel sends by itself is no news.
        assert!(!tunnel.pc1.said().contains("multicast"), "{}", tunnel.pc1.said());
        let before = tunnel.pc1.status()?.tunnel.dropped["link_scoped"];
        let destinations = destinations(&tunnel.net.pc1)?;
        for to in destinations {
            send(&tunnel.net.pc1, Side::Pc1, to)?;
        }
        assert_eq!((sender(&v4)?, sender(&v6)?), (None, None));
        let after = tunnel.pc1.status()?.tunnel.dropped["link_scoped"];
        assert!(after >= before + destinations.len() as u64, "{before} and {after}");
        let said = tunnel.pc1.said();
        assert_eq!(said.matches("multicast = true").count(), 1, "{said}");
        Ok(())
    });
}
