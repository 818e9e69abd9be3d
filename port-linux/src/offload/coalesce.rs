//! Packets that follow each other in a flow into one large packet.

use super::shape::{Class, Protocol, Shape};
use super::{
    FIN, HEADER_LEN, Header, MAX_PACKET, PSH, Segmentation, TCP_ACKNOWLEDGEMENT, TCP_CHECKSUM,
    TCP_DATA_OFFSET, TCP_FLAGS, TCP_SEQUENCE, UDP_CHECKSUM, UDP_LENGTH, put_u16, set_ip_length, u16_at,
    u32_at,
};

/// Flows that are joined at the same time. More than a few seldom interleave within one batch of arrivals.
pub const FLOWS: usize = 8;
/// Datagrams joined at most: what a kernel cuts in one go, wherever it sends them on (`UDP_MAX_SEGMENTS` was 64
/// until Linux 6.9).
const MOST_DATAGRAMS: usize = 64;
const DONT_FRAGMENT: u16 = 0x4000;
const TCP_WINDOW: usize = 14;
const TCP_URGENT: usize = 18;
/// What each packet of its own is written behind.
const PLAIN: [u8; HEADER_LEN] = [0; HEADER_LEN];

/// What the kernel takes joined: to begin with, nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Joins {
    /// TCP segments.
    pub tcp: bool,
    /// UDP datagrams (since Linux 6.2).
    pub udp: bool,
}

impl Joins {
    fn takes(self, shape: Shape) -> bool {
        match shape.protocol {
            Protocol::Tcp => self.tcp,
            Protocol::Udp => self.udp,
        }
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
    /// The sequence number that would follow; nothing for UDP.
    next: u32,
    /// The last packet ends it: it was short, or had PSH or FIN.
    closed: bool,
}

impl Flow {
    fn packet(&self) -> &[u8] {
        &self.bytes[HEADER_LEN..]
    }

    /// Whether `packet` belongs to the same flow.
    fn is_of(&self, packet: &[u8], shape: Shape) -> bool {
        let mine = self.packet();
        let addresses = if shape.is_ipv6 { 8..40 } else { 12..20 };
        let ports = shape.transport..shape.transport + 4;
        (self.shape.is_ipv6, self.shape.protocol) == (shape.is_ipv6, shape.protocol)
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
        let transport = match shape.protocol {
            // Acknowledgement and data offset; window; urgent pointer and options.
            Protocol::Tcp => {
                u32_at(packet, at + TCP_SEQUENCE) == self.next
                    && same(at + TCP_ACKNOWLEDGEMENT..at + TCP_DATA_OFFSET + 1)
                    && same(at + TCP_WINDOW..at + TCP_WINDOW + 2)
                    && same(at + TCP_URGENT..shape.headers)
            }
            Protocol::Udp => self.packets < MOST_DATAGRAMS,
        };
        !self.closed
            && self.shape == shape
            && ip
            && transport
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
        if self.shape.protocol == Protocol::Tcp {
            let flags = HEADER_LEN + self.shape.transport + TCP_FLAGS;
            self.bytes[flags] |= packet[self.shape.transport + TCP_FLAGS] & (PSH | FIN);
        }
    }

    fn note(&mut self, packet: &[u8]) {
        let data = packet.len() - self.shape.headers;
        self.packets += 1;
        self.closed = data < self.size;
        if self.shape.protocol == Protocol::Tcp {
            let sequence = u32_at(packet, self.shape.transport + TCP_SEQUENCE);
            self.next = sequence.wrapping_add(u32::try_from(data).unwrap_or(0));
            self.closed |= packet[self.shape.transport + TCP_FLAGS] & (PSH | FIN) != 0;
        }
    }

    /// Completes it: header and packet, as the tunnel device takes them.
    fn finish(&mut self) -> &[u8] {
        if self.packets > 1 {
            let shape = self.shape;
            let (start, packet) = (shape.transport, &mut self.bytes[HEADER_LEN..]);
            set_ip_length(packet, u16_at(packet, 4), packet.len());
            let pseudo = shape.pseudo(packet, packet.len() - start);
            let size = u16::try_from(self.size).unwrap_or(u16::MAX);
            let (segmentation, offset) = match shape.protocol {
                Protocol::Tcp => (Segmentation::Tcp { size }, TCP_CHECKSUM),
                Protocol::Udp => {
                    let length = u16::try_from(packet.len() - start).unwrap_or(u16::MAX);
                    put_u16(packet, start + UDP_LENGTH, length);
                    (Segmentation::Udp { size }, UDP_CHECKSUM)
                }
            };
            put_u16(packet, start + usize::from(offset), pseudo);
            let checksum = Some((u16::try_from(start).unwrap_or(0), offset));
            let headers = u16::try_from(shape.headers).unwrap_or(0);
            let header = Header { segmentation, checksum }.emit(shape.is_ipv6, headers);
            self.bytes[..HEADER_LEN].copy_from_slice(&header);
        }
        &self.bytes
    }
}

/// Joins packets that follow each other in a flow of TCP or UDP. What cutting makes of the result are the packets that
/// came, but for identifications of IPv4 packets with DF, which mean nothing (RFC 6864). Packets of one flow
/// stay in order; those of different flows may change places.
#[derive(Debug)]
pub struct Coalescer {
    flows: Vec<Flow>,
    /// How many of them are in the making.
    active: usize,
    /// Which of them makes room for another when all are.
    next_out: usize,
}

impl Coalescer {
    /// Nothing in the making.
    pub fn new() -> Self {
        let shape = Shape { is_ipv6: false, protocol: Protocol::Tcp, transport: 0, headers: 0 };
        let flow = || Flow {
            bytes: Vec::with_capacity(HEADER_LEN + MAX_PACKET),
            shape,
            size: 0,
            packets: 0,
            next: 0,
            closed: false,
        };
        Self { flows: (0..FLOWS).map(|_| flow()).collect(), active: 0, next_out: 0 }
    }

    /// Takes a packet. `write` gets what is complete: each time a [`Header`] and its packet, in one piece or in
    /// two. What the kernel does not take joined is written as it came.
    pub fn push(&mut self, packet: &[u8], joins: Joins, mut write: impl FnMut(&[u8], &[u8])) {
        let (shape, joinable) = match Class::of(packet) {
            Class::Joinable(shape) => (shape, joins.takes(shape)),
            Class::Single(shape) => (shape, false),
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
                self.next_out = (self.next_out + 1) % FLOWS;
                write(&[], self.flows[self.next_out].finish());
                self.next_out
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
