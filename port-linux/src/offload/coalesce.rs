//! Packets that follow each other in a TCP flow into one large packet.

use mpt_proto::wire::checksum;

use super::{
    ACK, FIN, HEADER_LEN, Header, ICMP, ICMPV6, MAX_PACKET, PSH, Segmentation, TCP, TCP_ACKNOWLEDGEMENT,
    TCP_CHECKSUM, TCP_DATA_OFFSET, TCP_FLAGS, TCP_MIN, TCP_SEQUENCE, UDP, put_u16, set_ip_length, sum,
    u16_at, u32_at,
};

/// Flows that are joined at the same time. More than a few seldom interleave within one batch of arrivals.
pub const FLOWS: usize = 8;
/// In IPv4's flags and fragment offset: more fragments, or an offset.
const FRAGMENTED: u16 = 0x3fff;
const DONT_FRAGMENT: u16 = 0x4000;
const TCP_WINDOW: usize = 14;
/// What each packet of its own is written behind.
const PLAIN: [u8; HEADER_LEN] = [0; HEADER_LEN];

/// What a packet is to the coalescer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// It can be joined with others.
    Joinable(Shape),
    /// It belongs to a TCP connection, but stands for itself: no data, flags other than ACK, PSH and FIN, or a
    /// checksum that is wrong, which must stay wrong.
    Tcp(Shape),
    /// It cannot belong to a TCP connection.
    Other,
    /// It may belong to any: a fragment, or headers that are not looked through.
    Unknown,
}

/// Where things are in a TCP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    is_ipv6: bool,
    /// Where the TCP header begins.
    transport: usize,
    /// Where the data begins.
    headers: usize,
}

impl Class {
    fn of(packet: &[u8]) -> Self {
        let (is_ipv6, transport, protocol) = match packet {
            [0x45, ..] if packet.len() >= 20 => (false, 20, packet[9]),
            [first, ..] if first >> 4 == 6 && packet.len() >= 40 => (true, 40, packet[6]),
            _ => return Self::Unknown,
        };
        if !is_ipv6 && u16_at(packet, 6) & FRAGMENTED != 0 {
            return Self::Unknown;
        }
        match protocol {
            TCP => {}
            UDP | ICMP | ICMPV6 => return Self::Other,
            _ => return Self::Unknown,
        }
        let Some(tcp) = packet.get(transport..).filter(|tcp| tcp.len() >= TCP_MIN) else {
            return Self::Unknown;
        };
        let offset = usize::from(tcp[TCP_DATA_OFFSET] >> 4) * 4;
        let shape = Shape { is_ipv6, transport, headers: transport + offset };
        let joinable =
            offset >= TCP_MIN && shape.headers < packet.len() && tcp[TCP_FLAGS] & !(PSH | FIN) == ACK;
        // The sum over everything, pseudo header included, must come to nothing.
        if joinable && sum([shape.pseudo(packet), !checksum(tcp)]) == 0xffff {
            Self::Joinable(shape)
        } else {
            Self::Tcp(shape)
        }
    }
}

impl Shape {
    /// The sum of the pseudo header (RFC 9293 section 3.1).
    fn pseudo(self, packet: &[u8]) -> u16 {
        let addresses = if self.is_ipv6 { &packet[8..40] } else { &packet[12..20] };
        let length = u16::try_from(packet.len() - self.transport).unwrap_or(u16::MAX);
        sum([!checksum(addresses), u16::from(TCP), length])
    }
}

/// A large packet in the making.
#[derive(Debug)]
struct Flow {
    /// The [`Header`]'s bytes and the packet.
    bytes: Vec<u8>,
    shape: Shape,
    /// Data of every packet but the last.
    size: usize,
    packets: usize,
    /// The sequence number that would follow.
    next: u32,
    /// The last packet ends it: it was short, or had PSH or FIN.
    closed: bool,
}

impl Flow {
    fn packet(&self) -> &[u8] {
        &self.bytes[HEADER_LEN..]
    }

    /// Whether `packet` belongs to the same TCP connection.
    fn is_of(&self, packet: &[u8], shape: Shape) -> bool {
        let mine = self.packet();
        let addresses = if shape.is_ipv6 { 8..40 } else { 12..20 };
        let ports = shape.transport..shape.transport + 4;
        self.shape.is_ipv6 == shape.is_ipv6
            && mine[addresses.clone()] == packet[addresses]
            && mine[ports.clone()] == packet[ports]
    }

    /// Whether `packet` can be put behind what is there, so that cutting gives both again.
    fn takes(&self, packet: &[u8], shape: Shape) -> bool {
        let mine = self.packet();
        let (at, data) = (shape.transport, packet.len() - shape.headers);
        let same = |range: std::ops::Range<usize>| mine.get(range.clone()) == packet.get(range);
        let ip = if shape.is_ipv6 {
            // Version, class, flow label; next header, hop limit.
            same(0..4) && same(6..8)
        } else {
            // Class; flags; time to live, protocol. Without DF the identification must count on.
            let counts_on = u16_at(mine, 4).wrapping_add(u16::try_from(self.packets).unwrap_or(0));
            same(1..2)
                && same(6..10)
                && (u16_at(mine, 6) & DONT_FRAGMENT != 0 || u16_at(packet, 4) == counts_on)
        };
        !self.closed
            && self.shape == shape
            && ip
            && u32_at(packet, at + TCP_SEQUENCE) == self.next
            && same(at + TCP_ACKNOWLEDGEMENT..at + TCP_DATA_OFFSET + 1)
            && same(at + TCP_WINDOW..at + TCP_WINDOW + 2)
            && same(at + TCP_MIN..shape.headers)
            && data <= self.size
            && mine.len() + data <= MAX_PACKET
    }

    fn start(&mut self, packet: &[u8], shape: Shape) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&Header::PLAIN.emit(shape.is_ipv6, 0));
        self.shape = shape;
        self.size = packet.len() - shape.headers;
        self.packets = 0;
        self.closed = false;
        self.note(packet);
        self.bytes.extend_from_slice(packet);
    }

    fn append(&mut self, packet: &[u8]) {
        self.note(packet);
        self.bytes.extend_from_slice(&packet[self.shape.headers..]);
        let flags = HEADER_LEN + self.shape.transport + TCP_FLAGS;
        self.bytes[flags] |= packet[self.shape.transport + TCP_FLAGS] & (PSH | FIN);
    }

    fn note(&mut self, packet: &[u8]) {
        let data = packet.len() - self.shape.headers;
        let sequence = u32_at(packet, self.shape.transport + TCP_SEQUENCE);
        self.next = sequence.wrapping_add(u32::try_from(data).unwrap_or(0));
        self.packets += 1;
        self.closed = data < self.size || packet[self.shape.transport + TCP_FLAGS] & (PSH | FIN) != 0;
    }

    /// Completes it: header and packet, as the tunnel device takes them.
    fn finish(&mut self) -> &[u8] {
        if self.packets > 1 {
            let shape = self.shape;
            let (start, packet) = (shape.transport, &mut self.bytes[HEADER_LEN..]);
            set_ip_length(packet, u16_at(packet, 4));
            let pseudo = shape.pseudo(packet);
            put_u16(packet, start + usize::from(TCP_CHECKSUM), pseudo);
            let header = Header {
                segmentation: Segmentation::Tcp { size: u16::try_from(self.size).unwrap_or(u16::MAX) },
                checksum: Some((u16::try_from(start).unwrap_or(0), TCP_CHECKSUM)),
            };
            let headers = u16::try_from(shape.headers).unwrap_or(0);
            self.bytes[..HEADER_LEN].copy_from_slice(&header.emit(shape.is_ipv6, headers));
        }
        &self.bytes
    }
}

/// Joins packets that follow each other in a TCP flow. What cutting makes of the result are the packets that
/// came, but for identifications of IPv4 packets with DF, which mean nothing (RFC 6864). Packets of one flow
/// stay in order; those of different flows may change places.
#[derive(Debug)]
pub struct Coalescer {
    flows: Vec<Flow>,
    /// How many of them are in the making.
    active: usize,
}

impl Coalescer {
    /// Nothing in the making.
    pub fn new() -> Self {
        let shape = Shape { is_ipv6: false, transport: 0, headers: 0 };
        let flow = || Flow {
            bytes: Vec::with_capacity(HEADER_LEN + MAX_PACKET),
            shape,
            size: 0,
            packets: 0,
            next: 0,
            closed: false,
        };
        Self { flows: (0..FLOWS).map(|_| flow()).collect(), active: 0 }
    }

    /// Takes a packet. `write` gets what is complete: each time a [`Header`] and its packet, in one piece.
    pub fn push(&mut self, packet: &[u8], mut write: impl FnMut(&[u8], &[u8])) {
        let (shape, joinable) = match Class::of(packet) {
            Class::Joinable(shape) => (shape, true),
            Class::Tcp(shape) => (shape, false),
            Class::Other => return write(&PLAIN, packet),
            Class::Unknown => {
                self.flush(&mut write);
                return write(&PLAIN, packet);
            }
        };
        let active = &mut self.flows[..self.active];
        let known = active.iter().position(|flow| flow.is_of(packet, shape));
        let at = match known {
            Some(at) if joinable && active[at].takes(packet, shape) => return active[at].append(packet),
            Some(at) => {
                write(&[], active[at].finish());
                at
            }
            None if !joinable => return write(&PLAIN, packet),
            None if self.active < FLOWS => {
                self.active += 1;
                self.active - 1
            }
            None => {
                self.flush(&mut write);
                self.active = 1;
                0
            }
        };
        if !joinable {
            self.active -= 1;
            self.flows.swap(at, self.active);
            return write(&PLAIN, packet);
        }
        self.flows[at].start(packet, shape);
    }

    /// Completes everything.
    pub fn flush(&mut self, mut write: impl FnMut(&[u8], &[u8])) {
        for flow in &mut self.flows[..self.active] {
            write(&[], flow.finish());
        }
        self.active = 0;
    }
}

impl Default for Coalescer {
    fn default() -> Self {
        Self::new()
    }
}
