//! What must be known of an inner packet: its version, length, flow and ECN bits (RFC 791, RFC 8200).

use core::ops::Range;

use crate::ecn::Ecn;
use crate::rng::mix;
use crate::wire::gre::Protocol;
use crate::wire::{put, slice, u16_at};

const IPV4_MIN: usize = 20;
const IPV6_HEADER: usize = 40;
/// Most IPv6 extension headers looked through to find a port; a flow behind more has none.
const MAX_EXTENSIONS: usize = 6;

const HOP_BY_HOP: u8 = 0;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const ICMPV6: u8 = 58;
const DESTINATION_OPTIONS: u8 = 60;
const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

/// Tells the version of an IP packet that is whole and whose header makes sense, and the packet's own length,
/// which may be less than the bytes given. `None`: it is not one.
pub fn parse(packet: &[u8]) -> Option<(Protocol, usize)> {
    let &[first, ..] = packet else { return None };
    match first >> 4 {
        4 => {
            let header = usize::from(first & 0x0f) * 4;
            let total = usize::from(u16_at(packet, 2)?);
            (header >= IPV4_MIN && total >= header && total <= packet.len())
                .then_some((Protocol::Ipv4, total))
        }
        6 => {
            let total = IPV6_HEADER + usize::from(u16_at(packet, 4)?);
            (total <= packet.len()).then_some((Protocol::Ipv6, total))
        }
        _ => None,
    }
}

/// What tells one flow from another: addresses, protocol and, where the packet has them, ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Flow {
    /// IP protocol number (for IPv6, of the last header found).
    pub protocol: u8,
    /// Source and destination port of TCP, UDP, UDP-Lite, SCTP and DCCP. Fragments have none, not even the
    /// first: all fragments of a packet are one flow.
    pub ports: Option<(u16, u16)>,
    /// Spread evenly over 64 bits; equal for equal flows and seeds.
    pub hash: u64,
}

impl Flow {
    /// The flow of a packet that [`parse`] accepted.
    pub fn of(packet: &[u8], seed: u64) -> Self {
        let (protocol, transport, addresses) = match packet.first().map(|first| first >> 4) {
            Some(4) => ipv4_transport(packet),
            _ => ipv6_transport(packet),
        };
        let has_ports = matches!(protocol, TCP | UDP | DCCP | SCTP | UDP_LITE);
        let ports = transport
            .filter(|_| has_ports)
            .and_then(|at| Some((u16_at(packet, at)?, u16_at(packet, at.checked_add(2)?)?)));
        let mut hash = seed ^ u64::from(protocol);
        for word in packet.get(addresses).unwrap_or_default().as_chunks::<4>().0 {
            hash = mix(hash ^ u64::from(u32::from_be_bytes(*word)));
        }
        if let Some((source, destination)) = ports {
            hash = mix(hash ^ (u64::from(source) << 16 | u64::from(destination)));
        }
        Self { protocol, ports, hash }
    }

    /// Source and destination port, if the flow is TCP.
    pub fn tcp_ports(&self) -> Option<(u16, u16)> {
        self.ports.filter(|_| self.protocol == TCP)
    }

    /// Whether packets out of order hurt it: not UDP (unless `udp`), nor ICMP. Fragments of UDP packets are kept in order, as
    /// one is of no use without the others.
    pub const fn wants_order(&self, udp: bool) -> bool {
        match self.protocol {
            UDP | UDP_LITE => udp || self.ports.is_none(),
            ICMP | ICMPV6 => false,
            _ => true,
        }
    }

    /// Source and destination port, if the flow is UDP.
    pub fn udp_ports(&self) -> Option<(u16, u16)> {
        self.ports.filter(|_| self.protocol == UDP)
    }
}

fn ipv4_transport(packet: &[u8]) -> (u8, Option<usize>, Range<usize>) {
    let header = packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
    let protocol = packet.get(9).copied().unwrap_or(0);
    // More-fragments flag or an offset.
    let is_fragment = u16_at(packet, 6).is_some_and(|word| word & 0x3fff != 0);
    (protocol, (!is_fragment).then_some(header), 12..20)
}

fn ipv6_transport(packet: &[u8]) -> (u8, Option<usize>, Range<usize>) {
    let mut next = packet.get(6).copied().unwrap_or(0);
    let mut at = IPV6_HEADER;
    for _ in 0..MAX_EXTENSIONS {
        if !matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS) {
            return (next, Some(at), 8..40);
        }
        let Some(&[following, len, ..]) = packet.get(at..) else { break };
        if next == FRAGMENT {
            return (following, None, 8..40);
        }
        next = following;
        at += 8 + usize::from(len) * 8;
    }
    (next, None, 8..40)
}

/// Where the transport's header begins, if no IPv6 extension header stands before it.
fn plain_transport(packet: &[u8], protocol: u8) -> Option<usize> {
    match packet.first()? >> 4 {
        4 => packet.first().map(|first| usize::from(first & 0x0f) * 4),
        _ => (packet.get(6) == Some(&protocol)).then_some(IPV6_HEADER),
    }
}

/// What follows the UDP header of a packet of `flow`. IPv6 extension headers hide it.
pub fn udp_payload<'p>(packet: &'p [u8], flow: &Flow) -> Option<&'p [u8]> {
    flow.udp_ports()?;
    packet.get(plain_transport(packet, UDP)? + 8..)
}

/// Source and destination of an IPv4 packet.
pub fn addresses_v4(packet: &[u8]) -> Option<[[u8; 4]; 2]> {
    let is_there = packet.first()? >> 4 == 4;
    let (source, rest) = packet.get(12..).filter(|_| is_there)?.split_first_chunk()?;
    Some([*source, *rest.first_chunk()?])
}

/// Source and destination of an IPv6 packet.
pub fn addresses_v6(packet: &[u8]) -> Option<[[u8; 16]; 2]> {
    let is_there = packet.first()? >> 4 == 6;
    let (source, rest) = packet.get(8..).filter(|_| is_there)?.split_first_chunk()?;
    Some([*source, *rest.first_chunk()?])
}

/// The differentiated services code point of a packet (RFC 2474).
pub fn dscp(packet: &[u8]) -> u8 {
    match packet {
        [first, class, ..] if first >> 4 == 4 => class >> 2,
        [first, second, ..] => (first << 2 | second >> 6) & 0x3f,
        _ => 0,
    }
}

/// Whether the acknowledgement `newer` says all that `older` does, one of the same flow that came before: both have no data,
/// no flag but ACK and no options beyond timestamps, and it acknowledges more.
pub fn supersedes(newer: &[u8], older: &[u8]) -> bool {
    let (Some(newer), Some(older)) = (PlainAck::parse(newer), PlainAck::parse(older)) else { return false };
    let ahead = newer.number.wrapping_sub(older.number);
    (newer.addresses, newer.ports) == (older.addresses, older.ports) && (1..1 << 31).contains(&ahead)
}

/// A TCP segment without data, with no flag but ACK, and no options beyond timestamps.
struct PlainAck<'p> {
    addresses: &'p [u8],
    ports: [u8; 4],
    number: u32,
}

impl<'p> PlainAck<'p> {
    fn parse(packet: &'p [u8]) -> Option<Self> {
        const ACK: u8 = 0x10;
        /// Words of a header with timestamps (RFC 7323): SACK would need three more.
        const LONGEST: u8 = 8;
        let addresses = if packet.first()? >> 4 == 4 { 12..20 } else { 8..40 };
        let segment = packet.get(plain_transport(packet, TCP)?..)?;
        let &[offset, flags] = segment.get(12..)?.first_chunk()?;
        let ack = Self {
            addresses: packet.get(addresses)?,
            ports: *segment.first_chunk()?,
            number: u32::from_be_bytes(*segment.get(8..)?.first_chunk()?),
        };
        let words = offset >> 4;
        let is_bare = segment.len() == usize::from(words) * 4;
        (flags == ACK && words <= LONGEST && is_bare).then_some(ack)
    }
}

/// Where the addresses and the TCP header lie in what [`supersedes`] compares. `None`: it takes the packet for nothing that can be replaced.
#[cfg(feature = "state")]
pub(crate) fn plain_ack(packet: &[u8]) -> Option<(Range<usize>, usize)> {
    PlainAck::parse(packet)?;
    let addresses = if packet.first()? >> 4 == 4 { 12..20 } else { 8..40 };
    Some((addresses, plain_transport(packet, TCP)?))
}

/// Whether a packet of `flow` asks for a TCP connection. IPv6 extension headers hide it.
pub fn opens(packet: &[u8], flow: &Flow) -> bool {
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;
    let at = plain_transport(packet, TCP).filter(|_| flow.tcp_ports().is_some());
    at.and_then(|at| packet.get(at + 13)).is_some_and(|flags| flags & (SYN | ACK) == SYN)
}

/// Whether a packet of `flow` is a TCP acknowledgement that carries nothing else, or opens a connection: small, waited
/// for, and not hurt by overtaking others. IPv6 extension headers hide it.
pub fn is_bare_ack(packet: &[u8], flow: &Flow) -> bool {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    if flow.protocol != TCP || flow.ports.is_none() {
        return false;
    }
    let Some(at) = plain_transport(packet, TCP) else { return false };
    let Some(&[offset, flags]) = packet.get(at + 12..).and_then(|rest| rest.first_chunk()) else {
        return false;
    };
    let is_bare = at + usize::from(offset >> 4) * 4 >= packet.len();
    flags & SYN != 0 || is_bare && flags & (FIN | RST) == 0
}

/// The ECN bits of a packet, or of a slice of one.
pub fn ecn(packet: &[u8]) -> Ecn {
    match packet {
        [first, ..] if slice::is_there(packet) => slice::ecn(*first),
        [first, class, ..] if first >> 4 == 4 => Ecn::from_bits(*class),
        [_, second, ..] => Ecn::from_bits(second >> 4),
        _ => Ecn::NotEct,
    }
}

/// Changes the ECN bits of a packet, and the IPv4 header checksum with them (RFC 1624), or of a slice.
pub fn set_ecn(packet: &mut [u8], ecn: Ecn) {
    if slice::is_there(packet) {
        return slice::set_ecn(packet, ecn);
    }
    let Some(old) = u16_at(packet, 0) else { return };
    if old >> 12 == 4 {
        let new = old & !0b11 | u16::from(ecn.bits());
        if let (true, Some(sum)) = (old != new, u16_at(packet, 10)) {
            put(packet, 10, updated_checksum(sum, old, new).to_be_bytes());
        }
        put(packet, 0, new.to_be_bytes());
    } else {
        let new = old & !(0b11 << 4) | u16::from(ecn.bits()) << 4;
        put(packet, 0, new.to_be_bytes());
    }
}

/// Carries the congestion mark of the outer header to the packet (RFC 6040). `false`: the packet must be dropped.
pub fn decapsulate_ecn(packet: &mut [u8], outer: Ecn) -> bool {
    let inner = ecn(packet);
    match Ecn::decapsulated(inner, outer) {
        Some(new) if new != inner => set_ecn(packet, new),
        Some(_) => {}
        None => return false,
    }
    true
}

/// RFC 1624 equation 3: HC' = ~(~HC + ~m + m').
fn updated_checksum(sum: u16, old: u16, new: u16) -> u16 {
    let mut total = u32::from(!sum) + u32::from(!old) + u32::from(new);
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    #[allow(clippy::cast_possible_truncation, reason = "folded to 16 bits above")]
    let folded = total as u16;
    !folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum;
    use std::vec;
    use std::vec::Vec;

    fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend_from_slice(payload);
        let len = u16::try_from(packet.len()).unwrap();
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        let sum = checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
        packet.extend_from_slice(&[0xfe; 32]);
        packet.extend_from_slice(payload);
        let len = u16::try_from(payload.len()).unwrap();
        packet[4..6].copy_from_slice(&len.to_be_bytes());
        packet
    }

    const PORTS: [u8; 4] = [0x12, 0x34, 0x00, 0x50];

    #[test]
    fn whole_packets_are_accepted_with_their_own_length() {
        let mut packet = ipv4(UDP, &[0; 8]);
        packet.extend_from_slice(&[0; 6]);
        assert_eq!(parse(&packet), Some((Protocol::Ipv4, 28)));
        assert_eq!(parse(&ipv6(UDP, &[0; 8])), Some((Protocol::Ipv6, 48)));
    }

    #[test]
    fn packets_shorter_than_they_say_are_refused_at_every_length() {
        for packet in [ipv4(TCP, &PORTS), ipv6(TCP, &PORTS)] {
            for len in 0..packet.len() {
                assert_eq!(parse(&packet[..len]), None, "{len} of {} bytes", packet.len());
            }
        }
        assert_eq!(parse(&[0x44; 64]), None, "an IPv4 header of 16 bytes");
        assert_eq!(parse(&[0x55; 64]), None, "version 5");
    }

    #[test]
    fn ports_are_found_behind_ipv4_options_and_ipv6_extension_headers() {
        let mut options = ipv4(TCP, &[&[1, 1, 1, 0], &PORTS[..]].concat());
        options[0] = 0x46;
        assert_eq!(Flow::of(&options, 0).tcp_ports(), Some((0x1234, 80)));

        let mut chain = vec![DESTINATION_OPTIONS, 0, 1, 4, 0, 0, 0, 0];
        chain.extend_from_slice(&[UDP, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        chain.extend_from_slice(&PORTS);
        let flow = Flow::of(&ipv6(HOP_BY_HOP, &chain), 0);
        assert_eq!((flow.udp_ports(), flow.tcp_ports()), (Some((0x1234, 80)), None));
    }

    #[test]
    fn fragments_and_protocols_without_ports_have_none() {
        let mut first = ipv4(UDP, &PORTS);
        first[6] = 0x20;
        let mut second = ipv4(UDP, &PORTS);
        second[7] = 1;
        assert_eq!(Flow::of(&first, 0), Flow::of(&second, 0), "one flow");
        assert_eq!(Flow::of(&first, 0).ports, None);
        assert_eq!(Flow::of(&ipv4(1, &PORTS), 0).ports, None);
        let fragment = ipv6(FRAGMENT, &[&[UDP, 0, 0, 1, 0, 0, 0, 0], &PORTS[..]].concat());
        assert_eq!(Flow::of(&fragment, 0).ports, None);
        assert_eq!(Flow::of(&fragment, 0).protocol, UDP);
    }

    /// A TCP header of 20 bytes with these flags, so many words longer, and what follows.
    fn tcp(flags: u8, options: u8, payload: &[u8]) -> Vec<u8> {
        let mut segment = vec![0; 20 + usize::from(options) * 4];
        segment[12..14].copy_from_slice(&[(5 + options) << 4, flags]);
        segment.extend_from_slice(payload);
        segment
    }

    #[test]
    fn acknowledgements_without_data_and_openings_are_told_from_other_segments() {
        const ACK: u8 = 0x10;
        let cases = [
            (ACK, 0, &[][..], true),
            (ACK, 3, &[], true),
            (ACK, 0, &[1], false),
            (ACK, 3, &[1], false),
            (0x02, 5, &[], true),
            (0x12, 0, &[1, 2], true),
            (ACK | 0x01, 0, &[], false),
            (ACK | 0x04, 0, &[], false),
        ];
        for (flags, options, payload, expected) in cases {
            let segment = tcp(flags, options, payload);
            for packet in [ipv4(TCP, &segment), ipv6(TCP, &segment)] {
                let is_bare = is_bare_ack(&packet, &Flow::of(&packet, 0));
                assert_eq!(is_bare, expected, "{flags:#x}, {options} words, {payload:?}");
            }
        }
        let mut options = ipv4(TCP, &[&[1, 1, 1, 0], &tcp(ACK, 0, &[])[..]].concat());
        options[0] = 0x46;
        assert!(is_bare_ack(&options, &Flow::of(&options, 0)));
    }

    #[test]
    fn an_acknowledgement_supersedes_only_what_it_repeats() {
        let ack = |number: u32, flags, options| {
            let mut segment = tcp(flags, options, &[]);
            segment[8..12].copy_from_slice(&number.to_be_bytes());
            segment
        };
        let with = |ports: [u8; 4], segment: Vec<u8>| [&ports[..], &segment[4..]].concat();
        let old = ack(u32::MAX, 0x10, 3);
        for (number, flags, options, expected) in [
            (5, 0x10, 3, true),
            (5, 0x10, 0, true),
            (u32::MAX, 0x10, 3, false),
            (u32::MAX - 1, 0x10, 3, false),
            (5, 0x18, 3, false),
            (5, 0x50, 3, false),
            (5, 0x10, 6, false),
        ] {
            let new = ack(number, flags, options);
            for make in [ipv4, ipv6] {
                let supersedes = supersedes(&make(TCP, &new), &make(TCP, &old));
                assert_eq!(supersedes, expected, "{number} {flags:#x} {options}");
            }
        }
        let new = ack(5, 0x10, 3);
        assert!(!supersedes(&ipv4(TCP, &with(PORTS, new.clone())), &ipv4(TCP, &old)), "another flow");
        assert!(!supersedes(&ipv6(TCP, &new), &ipv4(TCP, &old)), "another version");
        assert!(
            !supersedes(&ipv4(TCP, &new), &ipv4(TCP, &ack(u32::MAX, 0x12, 3))),
            "what opens a connection"
        );
        for len in 0..52 {
            assert!(!supersedes(&ipv4(TCP, &new)[..len], &ipv4(TCP, &old)), "{len} bytes");
        }
    }

    #[test]
    fn the_payload_of_udp_is_found_in_whole_packets() {
        let segment = [&PORTS[..], &[0, 12, 0, 0, 1, 2, 3, 4]].concat();
        let payload = |packet: &[u8]| udp_payload(packet, &Flow::of(packet, 0)).map(<[u8]>::to_vec);
        let whole = ipv4(UDP, &segment);
        assert_eq!(payload(&whole), Some(vec![1, 2, 3, 4]));
        assert_eq!(payload(&ipv6(UDP, &segment)), Some(vec![1, 2, 3, 4]));
        let mut fragment = whole.clone();
        fragment[6] = 0x20;
        assert_eq!(payload(&fragment), None);
        assert_eq!(payload(&ipv4(TCP, &segment)), None);
        assert_eq!(payload(&whole[..24]), None);
    }

    #[test]
    fn the_code_point_is_read_from_both_versions() {
        for dscp in [0u8, 1, 46, 63] {
            let (mut four, mut six) = (ipv4(UDP, &PORTS), ipv6(UDP, &PORTS));
            four[1] = dscp << 2 | 3;
            (six[0], six[1]) = (0x60 | dscp >> 2, dscp << 6 | 0x3f);
            assert_eq!([four, six].map(|packet| super::dscp(&packet)), [dscp; 2]);
        }
    }

    #[test]
    fn what_is_no_whole_tcp_header_is_no_acknowledgement() {
        let segment = tcp(0x10, 0, &[]);
        let whole = ipv4(TCP, &segment);
        for len in 0..20 + 14 {
            assert!(!is_bare_ack(&whole[..len], &Flow::of(&whole, 0)), "{len} bytes");
        }
        let udp = ipv4(UDP, &segment);
        assert!(!is_bare_ack(&udp, &Flow::of(&udp, 0)));
        let mut fragment = whole;
        fragment[6] = 0x20;
        assert!(!is_bare_ack(&fragment, &Flow::of(&fragment, 0)));
        let hidden = ipv6(HOP_BY_HOP, &[&[TCP, 0, 0, 0, 0, 0, 0, 0], &segment[..]].concat());
        assert!(!is_bare_ack(&hidden, &Flow::of(&hidden, 0)), "behind an extension header");
    }

    #[test]
    fn order_is_wanted_by_all_but_udp_and_icmp() {
        for (protocol, always, with_udp) in
            [(TCP, true, true), (SCTP, true, true), (47, true, true), (UDP, false, true)].into_iter().chain([
                (UDP_LITE, false, true),
                (ICMP, false, false),
                (ICMPV6, false, false),
            ])
        {
            let flow = Flow { protocol, ports: Some((1, 2)), hash: 0 };
            assert_eq!([false, true].map(|udp| flow.wants_order(udp)), [always, with_udp], "{protocol}");
        }
    }

    #[test]
    fn all_fragments_of_an_ipv6_packet_are_one_flow_that_is_kept_in_order() {
        // Before the fragment header stands what hops read (RFC 8200 section 4.5), and behind it, in the first only, options for
        // the destination and the ports.
        let hops = [FRAGMENT, 0, 1, 4, 0, 0, 0, 0];
        let options = [UDP, 0, 1, 4, 0, 0, 0, 0];
        for next in [UDP, TCP, DESTINATION_OPTIONS] {
            let body = [&options[..], &PORTS].concat();
            let first = ipv6(HOP_BY_HOP, &[&hops[..], &[next, 0, 0, 1, 0, 0, 0, 7], &body].concat());
            let middle = ipv6(HOP_BY_HOP, &[&hops[..], &[next, 0, 0, 9, 0, 0, 0, 7], &PORTS].concat());
            let last = ipv6(HOP_BY_HOP, &[&hops[..], &[next, 0, 0, 16, 0, 0, 0, 7], &[0xff; 9]].concat());
            let flow = Flow::of(&first, 5);
            assert_eq!([Flow::of(&middle, 5), Flow::of(&last, 5)], [flow; 2], "{next}");
            assert!(flow.wants_order(false), "{next}");
        }
        let mut first = ipv4(UDP, &PORTS);
        first[6] = 0x20;
        assert!(Flow::of(&first, 0).wants_order(false));
        assert!(!Flow::of(&ipv4(UDP, &PORTS), 0).wants_order(false), "a whole one");
        first[9] = ICMP;
        assert!(!Flow::of(&first, 0).wants_order(false), "a large ping measures as a small one");
    }

    #[test]
    fn a_flow_is_found_behind_each_kind_of_extension_header_but_not_behind_too_many() {
        for kind in [HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS] {
            for words in 0..4u8 {
                let mut header = vec![0; 8 + 8 * usize::from(words)];
                header[..2].copy_from_slice(&[TCP, words]);
                header.extend_from_slice(&PORTS);
                assert_eq!(
                    Flow::of(&ipv6(kind, &header), 0).tcp_ports(),
                    Some((0x1234, 80)),
                    "{kind} {words}"
                );
            }
        }
        for (count, ports) in [(MAX_EXTENSIONS - 1, Some((0x1234, 80))), (MAX_EXTENSIONS, None)] {
            let mut chain = [DESTINATION_OPTIONS, 0, 0, 0, 0, 0, 0, 0].repeat(count);
            chain[8 * (count - 1)] = UDP;
            chain.extend_from_slice(&PORTS);
            assert_eq!(Flow::of(&ipv6(DESTINATION_OPTIONS, &chain), 0).udp_ports(), ports, "{count}");
        }
    }

    #[test]
    fn a_chain_of_extension_headers_without_end_ends() {
        let chain = [HOP_BY_HOP, 0, 0, 0, 0, 0, 0, 0].repeat(40);
        assert_eq!(Flow::of(&ipv6(HOP_BY_HOP, &chain), 0).ports, None);
        let beyond = ipv6(HOP_BY_HOP, &[TCP, 255, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Flow::of(&beyond, 0).ports, None);
    }

    #[test]
    fn flows_differ_by_address_port_protocol_and_seed() {
        let base = ipv4(TCP, &PORTS);
        let hash = |packet: &[u8], seed| Flow::of(packet, seed).hash;
        assert_eq!(hash(&base, 1), hash(&base, 1));
        assert_ne!(hash(&base, 1), hash(&base, 2));
        for at in [9, 15, 19, 21, 23] {
            let mut other = base.clone();
            other[at] ^= 1;
            assert_ne!(hash(&base, 1), hash(&other, 1), "byte {at}");
        }
    }

    #[test]
    fn changing_ecn_keeps_the_ipv4_checksum_right_and_dscp_untouched() {
        for dscp in [0u8, 0xb8, 0xfc] {
            for from in 0..4u8 {
                for to in [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce] {
                    let mut packet = ipv4(TCP, &PORTS);
                    packet[1] = dscp | from;
                    packet[10..12].fill(0);
                    let sum = checksum(&packet[..20]);
                    packet[10..12].copy_from_slice(&sum.to_be_bytes());
                    set_ecn(&mut packet, to);
                    assert_eq!((ecn(&packet), packet[1] & 0xfc), (to, dscp));
                    assert_eq!(checksum(&packet[..20]), 0);
                }
            }
        }
        let mut packet = ipv6(TCP, &PORTS);
        packet[0] = 0x6b;
        packet[1] = 0x8f;
        set_ecn(&mut packet, Ecn::Ce);
        assert_eq!((packet[0], packet[1], ecn(&packet)), (0x6b, 0xbf, Ecn::Ce));
    }
}
