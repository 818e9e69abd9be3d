//! What a packet is to the coalescer, and where things are in it.

use mpt_proto::wire::{checksum, ip};

use super::{
    ACK, FIN, ICMP, ICMPV6, PSH, TCP, TCP_DATA_OFFSET, TCP_FLAGS, TCP_MIN, UDP, UDP_CHECKSUM, UDP_LEN,
    UDP_LENGTH, sum, u16_at,
};

/// In IPv4's flags and fragment offset: more fragments, or an offset.
const FRAGMENTED: u16 = 0x3fff;

/// What a packet is to the coalescer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// It can be joined with others.
    Joinable(Shape),
    /// It belongs to a flow, but stands for itself: no data, TCP flags other than ACK, PSH and FIN, or a
    /// checksum that is missing or wrong, which must stay wrong.
    Single(Shape),
    /// It cannot belong to a flow that is joined.
    Other,
    /// It may belong to any: a fragment, or headers that are not looked through.
    Unknown,
}

/// The protocols whose packets are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// Where things are in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) is_ipv6: bool,
    pub(super) protocol: Protocol,
    /// Where the transport header begins.
    pub(super) transport: usize,
    /// Where the data begins.
    pub(super) headers: usize,
}

impl Class {
    pub(super) fn of(packet: &[u8]) -> Self {
        // IPv4 with options and IPv6 with extension headers are rare, and not worth the looking through.
        let (is_ipv6, transport, protocol) = match packet {
            [0x45, ..] if packet.len() >= 20 => (false, 20, packet[9]),
            [first, ..] if first >> 4 == 6 && packet.len() >= 40 => (true, 40, packet[6]),
            _ => return Self::Unknown,
        };
        let is_whole = ip::parse(packet).is_some_and(|(_, len)| len == packet.len())
            && (is_ipv6 || u16_at(packet, 6) & FRAGMENTED == 0);
        if !is_whole {
            return Self::Unknown;
        }
        let body = &packet[transport..];
        let (shape, has_good_fields) = match protocol {
            TCP if body.len() >= TCP_MIN => {
                let headers = transport + usize::from(body[TCP_DATA_OFFSET] >> 4) * 4;
                let shape = Shape { is_ipv6, protocol: Protocol::Tcp, transport, headers };
                (shape, headers >= transport + TCP_MIN && body[TCP_FLAGS] & !(PSH | FIN) == ACK)
            }
            UDP if body.len() >= UDP_LEN => {
                let headers = transport + UDP_LEN;
                let shape = Shape { is_ipv6, protocol: Protocol::Udp, transport, headers };
                let has_checksum = u16_at(body, UDP_CHECKSUM.into()) != 0;
                (shape, usize::from(u16_at(body, UDP_LENGTH)) == body.len() && has_checksum)
            }
            ICMP | ICMPV6 => return Self::Other,
            _ => return Self::Unknown,
        };
        // Sums over everything, the pseudo header included, must come to nothing.
        let joinable = has_good_fields
            && shape.headers < packet.len()
            && (is_ipv6 || checksum(&packet[..transport]) == 0)
            && sum([shape.pseudo(packet, body.len()), !checksum(body)]) == 0xffff;
        if joinable { Self::Joinable(shape) } else { Self::Single(shape) }
    }
}

impl Shape {
    /// The sum of the pseudo header (RFC 9293 section 3.1, RFC 768) of a packet with `body` bytes from the transport
    /// header on.
    pub(super) fn pseudo(self, packet: &[u8], body: usize) -> u16 {
        let addresses = if self.is_ipv6 { &packet[8..40] } else { &packet[12..20] };
        let length = u16::try_from(body).unwrap_or(u16::MAX);
        let protocol = match self.protocol {
            Protocol::Tcp => TCP,
            Protocol::Udp => UDP,
        };
        sum([!checksum(addresses), u16::from(protocol), length])
    }
}
