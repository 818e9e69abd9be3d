//! The arithmetic limit: the most payload that a rate on the wire leaves after all headers.
//!
//! A full packet on a path of 1,500 bytes MTU costs 1,538 bytes on Ethernet. Through the tunnel it carries an
//! inner packet less the headers of inner IP and TCP; without it, a segment of the same size carries more. Kernel
//! MPTCP has a limit of its own, because each of its segments carries a DSS option, and so has QUIC, whose packets are
//! as large as path MTU discovery finds.

use port_linux::mtu;

use super::stack::{Stack, Version};

/// MTU of the links: Ethernet's.
pub const LINK_MTU: u32 = 1500;

/// Ethernet header: two addresses and a type.
const ETHERNET: u32 = 14;

/// What Ethernet adds to a frame as tbf sees it: preamble 8, check sequence 4, gap 12 (IEEE 802.3 clause 4.2).
pub const FRAME_OVERHEAD: u32 = 24;

/// UDP header (RFC 768).
const UDP: u32 = 8;

/// GRE header with sequence number, without key and checksum (RFC 2890 section 2).
const GRE: u32 = 8;

/// TCP header with the timestamps option, padded: 20 and 12 (RFC 9293 section 3.1, RFC 7323 appendix A).
const TCP: u32 = 32;

/// Header and trailer of a full QUIC packet: the first byte, a connection ID of 8 (quinn's), a packet number of 2, a STREAM
/// frame's type, a stream ID of 2 and an offset of 4, and the AEAD tag of 16 (RFC 9000 sections 17.3.1 and
/// 19.8, RFC 9001 section 5.3).
const QUIC: u32 = 1 + 8 + 2 + 1 + 2 + 4 + 16;

/// The largest UDP payload that quinn looks for: Ethernet less the headers of IPv6 and UDP.
const QUINN_MAX: u32 = 1452;

/// DSS option of a sender that gets no data: 4, data ack of 4, mapping of 8 + 4 + 2; 22 bytes, padded (RFC 8684
/// section 3.3; Linux sends 64-bit sequence numbers, and 64-bit acks only to a peer that sends it data).
const DSS: u32 = 24;

/// Payload per byte on the wire for TCP through the tunnel whose interface has this MTU, when extension header and seal of
/// each datagram have `extension` bytes.
pub fn tunnel(stack: Stack, mtu: u32, extension: u32) -> f64 {
    share(mtu - stack.inner().header() - TCP, mtu + extension + GRE + UDP + stack.outer().header())
}

/// Payload per byte on the wire for plain TCP on a link.
pub fn tcp(version: Version) -> f64 {
    share(LINK_MTU - version.header() - TCP, LINK_MTU)
}

/// Payload per byte on the wire for kernel MPTCP on its links.
pub fn mptcp(version: Version) -> f64 {
    share(LINK_MTU - version.header() - TCP - DSS, LINK_MTU)
}

/// Payload per byte on the wire for plain QUIC on a link.
pub fn quic(version: Version) -> f64 {
    let udp = quic_udp_payload(version, LINK_MTU);
    share(udp - QUIC, udp + UDP + version.header())
}

/// Payload per byte on the wire for QUIC through the tunnel whose interface has this MTU, when extension header and seal of
/// each datagram have `extension` bytes.
pub fn quic_tunnel(stack: Stack, mtu: u32, extension: u32) -> f64 {
    let inner = stack.inner();
    let udp = quic_udp_payload(inner, mtu);
    share(udp - QUIC, udp + UDP + inner.header() + extension + GRE + UDP + stack.outer().header())
}

/// Payload per byte on the wire for TCP inside WireGuard whose interface has that MTU: over a link, or through the tunnel whose
/// interface has an MTU and whose datagrams have an extension header: the lengths of both.
pub fn wireguard(stack: Stack, mtu: u32, tunnel: Option<(u32, u32)>) -> f64 {
    // The packet inside is IPv4, and padded to no more than the MTU.
    let payload = mtu - Version::V4.header() - TCP;
    let header = stack.inner().header();
    let datagram = mtu + wireguard_overhead(stack.inner());
    let Some((below, extension)) = tunnel else { return share(payload, datagram) };
    // What does not fit leaves as IP fragments, each with an IP header.
    let fragments = if datagram > below { (datagram - header).div_ceil((below - header) / 8 * 8) } else { 1 };
    let fragment_headers = (fragments - 1) * (header + if stack.inner() == Version::V6 { 8 } else { 0 });
    let each = extension + GRE + UDP + stack.outer().header() + ETHERNET + FRAME_OVERHEAD;
    f64::from(payload) / f64::from(datagram + fragment_headers + fragments * each)
}

/// What WireGuard over an IP version adds to the packet inside.
pub fn wireguard_overhead(outer: Version) -> u32 {
    outer.header() + u32::from(mtu::WIREGUARD)
}

/// The largest UDP payload that QUIC can find on an interface with that MTU.
fn quic_udp_payload(version: Version, mtu: u32) -> u32 {
    QUINN_MAX.min(mtu - version.header() - UDP)
}

fn share(payload: u32, packet: u32) -> f64 {
    f64::from(payload) / f64::from(packet + ETHERNET + FRAME_OVERHEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MTU of the tunnel interface when no packet is to be split.
    fn tunnel_mtu(outer: Version) -> u32 {
        LINK_MTU - outer.header() - UDP - GRE
    }

    /// To a tenth of a Mbit/s on 100 Mbit/s, which is what the paper prints.
    fn tenths(share: f64) -> f64 {
        (share * 1000.0).round() / 10.0
    }

    #[test]
    fn ipv4_over_ipv4_has_the_limit_of_the_paper() {
        assert_eq!(tunnel_mtu(Version::V4), 1464);
        assert_eq!(tenths(tunnel(Stack::V4OverV4, 1464, 0)), 91.8);
    }

    #[test]
    fn each_ipv6_header_costs_twenty_bytes_of_1538() {
        let [v44, v46, v64, v66] = Stack::ALL.map(|stack| tunnel(stack, tunnel_mtu(stack.outer()), 0));
        assert!((v44 - v46 - 20.0 / 1538.0).abs() < 1e-12);
        assert!((v44 - v64 - 20.0 / 1538.0).abs() < 1e-12);
        assert!((v44 - v66 - 40.0 / 1538.0).abs() < 1e-12);
    }

    #[test]
    fn plain_tcp_on_fast_ethernet_gets_94_1_and_mptcp_is_0_85_per_cent_ahead_of_the_tunnel() {
        assert_eq!(tenths(tcp(Version::V4)), 94.1);
        assert_eq!(tenths(mptcp(Version::V4)), 92.6);
        let ahead = mptcp(Version::V4) / tunnel(Stack::V4OverV4, 1464, 0) - 1.0;
        assert!((ahead - 0.0085).abs() < 0.0001, "{ahead}");
    }

    #[test]
    fn quic_has_smaller_packets_and_larger_headers_than_tcp() {
        assert_eq!(tenths(quic(Version::V4)), 93.4);
        assert_eq!(tenths(quic(Version::V6)), 92.2);
        // A packet of 1,480 bytes does not fit the tunnel, one of 1,464 does: a payload of 1,402 of 1,538 on the wire.
        assert_eq!(tenths(quic_tunnel(Stack::V4OverV4, 1464, 0)), 91.2);
        assert_eq!(tenths(quic_tunnel(Stack::V4OverV4, 1456, 8)), 90.6);
    }

    #[test]
    fn a_smaller_tunnel_packet_costs_less_wire_but_more_of_it() {
        assert!(tunnel(Stack::V4OverV4, 1280, 0) < tunnel(Stack::V4OverV4, 1464, 0));
    }
}
