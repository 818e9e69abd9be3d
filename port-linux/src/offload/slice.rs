//! A large TCP packet across the tunnel as [slices](mpt_proto::wire::slice), and together again: its headers cross once
//! or twice instead of with every segment, and nobody computes the checksum of data that both kernels leave to their
//! network card.
//!
//! The row of bytes is the packet as the kernel handed it over, but that the TCP checksum in its headers holds the size of
//! a segment: the sum of the pseudo header, which the kernel left there, can be computed.

use std::ops::Range;

use mpt_proto::Ecn;
use mpt_proto::wire::{ip, slice};

use super::shape::{Protocol, Shape};
use super::{
    CWR, FIN, HEADER_LEN, Header, MAX_PACKET, PSH, Segmentation, TCP, TCP_CHECKSUM, TCP_DATA_OFFSET,
    TCP_FLAGS, TCP_MIN, TCP_SEQUENCE, put_u16, set_ip_length, u16_at, u32_at,
};

/// Slices of one packet at most: a bit of a word each.
const MOST: usize = 128;
const DONT_FRAGMENT: u16 = 0x4000;
/// The longest headers: IPv6, and TCP with all options.
const MAX_HEADERS: usize = 100;
/// Packets that are put together at the same time. Slices of one packet come one behind the other, but where flows take
/// turns.
const PACKETS: usize = 8;
/// A packet whose slices have not all come when one comes that was sent so many packets later is given up.
const FAR: u16 = 64;

/// Where things are in a packet that can be sliced: IPv4 without options and not to be fragmented, or IPv6 without
/// extension headers. Returns the packet's length, too. `headers` is its beginning.
fn shape(headers: &[u8]) -> Option<(Shape, usize)> {
    let (is_ipv6, transport, total, protocol) = match headers {
        [0x45, ..] if headers.len() >= 20 && u16_at(headers, 6) == DONT_FRAGMENT => {
            (false, 20, usize::from(u16_at(headers, 2)), headers[9])
        }
        [first, ..] if first >> 4 == 6 && headers.len() >= 40 => {
            (true, 40, 40 + usize::from(u16_at(headers, 4)), headers[6])
        }
        _ => return None,
    };
    let offset = usize::from(headers.get(transport + TCP_DATA_OFFSET)? >> 4) * 4;
    let shape = Shape { is_ipv6, protocol: Protocol::Tcp, transport, headers: transport + offset };
    let is_sound = protocol == TCP
        && offset >= TCP_MIN
        && (shape.headers + 1..=MAX_PACKET).contains(&total)
        && headers.len() >= shape.headers;
    is_sound.then_some((shape, total))
}

/// The slices of a large TCP packet, one after the other.
#[derive(Debug)]
pub struct Slices<'p> {
    packet: &'p [u8],
    /// Bytes of the headers.
    headers: usize,
    /// Where the checksum is in the packet, which the size of a segment takes the place of.
    checksum: usize,
    size: u16,
    next: slice::Header,
}

impl<'p> Slices<'p> {
    /// Prepares to slice `packet`, as it came from the kernel, into slices of at most `room` bytes, all about as large;
    /// `None` if it is not TCP to be cut, has headers that are not expected, or would make too many slices. Consecutive
    /// packets have different `id`s.
    pub fn new(header: Header, packet: &'p [u8], room: usize, id: u16) -> Option<Self> {
        let Segmentation::Tcp { size } = header.segmentation else { return None };
        let (shape, total) = shape(packet)?;
        let start = u16::try_from(shape.transport).ok()?;
        let longest = room.checked_sub(slice::LEN)?;
        // As many as it takes with a copy of the headers in the last one, and all of a size: so they fit one call of
        // segmentation offload.
        let row = total + shape.headers;
        let slices = row.checked_div(longest)? + 1;
        let stride = row.div_ceil(slices).max(shape.headers + 1);
        let is_sound = size > 0
            && total == packet.len()
            && header.checksum == Some((start, TCP_CHECKSUM))
            && stride <= longest
            && stride < total
            && slices <= MOST;
        let total = u16::try_from(total).ok()?;
        let stride = u16::try_from(stride).ok()?;
        let next = slice::Header { ecn: ip::ecn(packet), has_copy: false, index: 0, id, total, stride };
        let checksum = shape.transport + usize::from(TCP_CHECKSUM);
        is_sound.then_some(Self { packet, headers: shape.headers, checksum, size, next })
    }

    /// Writes the next slice to the front of `out`, and returns its length; `None` after the last, or if `out` is
    /// shorter than was said.
    pub fn next_into(&mut self, out: &mut [u8]) -> Option<usize> {
        let mut header = self.next;
        let bytes = self.packet.get(header.range()).filter(|bytes| !bytes.is_empty())?;
        header.has_copy = header.index == header.last() && self.headers + bytes.len() <= header.stride.into();
        let copy = if header.has_copy { self.headers } else { 0 };
        let len = slice::LEN + copy + bytes.len();
        let out = out.get_mut(..len)?;
        header.emit(out);
        out[slice::LEN..slice::LEN + copy].copy_from_slice(&self.packet[..copy]);
        out[slice::LEN + copy..].copy_from_slice(bytes);
        if header.index == 0 || header.has_copy {
            put_u16(out, slice::LEN + self.checksum, self.size);
        }
        self.next.index += 1;
        Some(len)
    }
}

/// A slice that is not taken; it changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Its header or its length makes no sense, or contradicts what came before of its packet.
    Bad,
    /// It has come already.
    Duplicate,
    /// The caller does not take packets with these headers.
    Headers,
}

/// A large packet of which slices have come.
#[derive(Debug)]
struct Partial<S> {
    /// Who sent it; nobody: free.
    sender: Option<S>,
    id: u16,
    total: u16,
    stride: u16,
    /// The row of bytes.
    row: Vec<u8>,
    /// Which slices are there, and which of them were handed on.
    seen: u128,
    written: u128,
    /// The headers, once they are there.
    headers: [u8; MAX_HEADERS],
    shape: Option<Shape>,
    /// Some slice was marked on its way.
    congestion: bool,
    /// Since how many packets.
    age: u64,
}

impl<S: Copy + PartialEq> Partial<S> {
    fn new() -> Self {
        Self {
            sender: None,
            id: 0,
            total: 0,
            stride: 0,
            row: Vec::new(),
            seen: 0,
            written: 0,
            headers: [0; MAX_HEADERS],
            shape: None,
            congestion: false,
            age: 0,
        }
    }

    /// Becomes the packet of which this is the first slice to come.
    fn start(&mut self, sender: S, header: &slice::Header, age: u64) {
        let mut row = std::mem::take(&mut self.row);
        // Memory is taken when it is first needed, and kept.
        row.resize(MAX_PACKET, 0);
        let slice::Header { id, total, stride, .. } = *header;
        *self = Self { sender: Some(sender), id, total, stride, row, age, ..Self::new() };
    }

    fn is_of(&self, sender: S, id: u16) -> bool {
        self.sender == Some(sender) && self.id == id
    }

    fn is_complete(&self) -> bool {
        self.seen.count_ones() == u32::from(self.total.div_ceil(self.stride.max(1)))
    }

    /// Takes a slice that is sound by itself.
    fn push(
        &mut self,
        header: &slice::Header,
        mut bytes: &[u8],
        accepts: impl FnOnce(&[u8]) -> bool,
    ) -> Result<(), Refused> {
        if (self.total, self.stride) != (header.total, header.stride) || usize::from(header.index) >= MOST {
            return Err(Refused::Bad);
        }
        let bit = 1 << header.index;
        if self.seen & bit != 0 {
            return Err(Refused::Duplicate);
        }
        if header.index == 0 || header.has_copy {
            let (shape, total) = shape(bytes).ok_or(Refused::Bad)?;
            let rest = bytes.len() - if header.has_copy { shape.headers } else { 0 };
            let size = u16_at(bytes, shape.transport + usize::from(TCP_CHECKSUM));
            let headers = &bytes[..shape.headers];
            let agrees = self.shape.is_none_or(|known| self.headers[..known.headers] == *headers);
            if total != usize::from(self.total) || rest != header.range().len() || size == 0 || !agrees {
                return Err(Refused::Bad);
            }
            if self.shape.is_none() {
                if !accepts(headers) {
                    return Err(Refused::Headers);
                }
                self.shape = Some(shape);
                self.headers[..shape.headers].copy_from_slice(headers);
            }
            bytes = &bytes[bytes.len() - rest..];
        }
        self.row[header.range()].copy_from_slice(bytes);
        self.seen |= bit;
        self.congestion |= header.ecn == Ecn::Ce;
        Ok(())
    }

    /// Hands on what is there and was not yet: one large packet for each stretch without a gap. Nothing without the
    /// headers.
    fn flush(&mut self, write: &mut impl FnMut(&[u8], &[u8])) {
        let Some(shape) = self.shape else { return };
        let fresh = self.seen & !self.written;
        self.written = self.seen;
        let mut headers = self.headers;
        if std::mem::take(&mut self.congestion) {
            // Such a mark comes only on a packet that may have it: the core sees to that.
            ip::set_ecn(&mut headers, Ecn::Ce);
        }
        let (stride, total) = (usize::from(self.stride), usize::from(self.total));
        let mut rest = fresh;
        while rest != 0 {
            let from = rest.trailing_zeros() as usize;
            let len = (!(rest >> from)).trailing_zeros() as usize;
            // Of the row; the headers themselves are no data.
            let data = (from * stride).max(shape.headers)..((from + len) * stride).min(total);
            if !data.is_empty() {
                let front = front(&headers, shape, total, data.clone());
                write(&front[..HEADER_LEN + shape.headers], &self.row[data]);
            }
            rest = if from + len < MOST { rest >> (from + len) << (from + len) } else { 0 };
        }
    }

    /// Whether a packet may belong to the same flow.
    fn shares_flow(&self, packet: &[u8]) -> bool {
        let Some(shape) = self.shape else { return true };
        let is_ipv6 = packet.first().is_some_and(|first| first >> 4 == 6);
        let (addresses, ports) = if is_ipv6 { (8..40, 40..44) } else { (12..20, 20..24) };
        let same = |range: Range<usize>| self.headers.get(range.clone()) == packet.get(range);
        // An IPv4 packet with options may hide its ports, and so may an IPv6 one; there is no harm in a mistake.
        is_ipv6 == shape.is_ipv6 && same(addresses) && (same(ports) || packet.first() != Some(&0x45))
    }
}

/// Puts slices together, those of each sender `S` by themselves.
///
/// Invariant: a packet all of whose slices came is handed on and forgotten; of others what came is handed on at
/// [`flush`](Self::flush), and they are remembered for those that follow.
#[derive(Debug)]
pub struct Joiner<S> {
    packets: [Partial<S>; PACKETS],
    /// Packets begun so far.
    begun: u64,
    /// Something waits to be handed on.
    waits: bool,
    orphans: u64,
}

impl<S: Copy + PartialEq> Joiner<S> {
    /// Nothing is there.
    pub fn new() -> Self {
        Self { packets: std::array::from_fn(|_| Partial::new()), begun: 0, waits: false, orphans: 0 }
    }

    /// Takes a slice that a sender sent. `accepts` is asked once for each packet, with its headers. `write` gets what is
    /// complete with it, or given up: each time a [`Header`] and headers, and the data behind them.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn push(
        &mut self,
        sender: S,
        payload: &[u8],
        accepts: impl FnOnce(&[u8]) -> bool,
        mut write: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), Refused> {
        let (header, bytes) = slice::Header::parse(payload).ok_or(Refused::Bad)?;
        let known = self.packets.iter().position(|packet| packet.is_of(sender, header.id));
        let place = match known {
            Some(place) => place,
            None => self.begin(sender, &header, &mut write),
        };
        let packet = &mut self.packets[place];
        let outcome = packet.push(&header, bytes, accepts);
        self.waits |= outcome.is_ok();
        if outcome.is_err() && packet.seen == 0 {
            packet.sender = None;
        } else if packet.is_complete() {
            packet.flush(&mut write);
            packet.sender = None;
        }
        outcome
    }

    /// A place for another packet: a free one, or that of the oldest.
    fn begin(&mut self, sender: S, header: &slice::Header, write: &mut impl FnMut(&[u8], &[u8])) -> usize {
        for place in 0..PACKETS {
            let packet = &self.packets[place];
            let distance = header.id.wrapping_sub(packet.id);
            if packet.sender == Some(sender) && distance.min(distance.wrapping_neg()) > FAR {
                self.give_up(place, write);
            }
        }
        let age = |place: &usize| self.packets[*place].sender.map(|_| self.packets[*place].age);
        let place = (0..PACKETS).min_by_key(age).unwrap_or(0);
        self.give_up(place, write);
        self.begun += 1;
        self.packets[place].start(sender, header, self.begun);
        place
    }

    fn give_up(&mut self, place: usize, write: &mut impl FnMut(&[u8], &[u8])) {
        let packet = &mut self.packets[place];
        if packet.sender.take().is_some() {
            packet.flush(write);
            self.orphans += u64::from((packet.seen & !packet.written).count_ones());
        }
    }

    /// Hands on what is there.
    pub fn flush(&mut self, mut write: impl FnMut(&[u8], &[u8])) {
        if std::mem::take(&mut self.waits) {
            for packet in self.packets.iter_mut().filter(|packet| packet.sender.is_some()) {
                packet.flush(&mut write);
            }
        }
    }

    /// Hands on what is there of the flow of `packet`, before that itself is.
    pub fn flush_before(&mut self, packet: &[u8], mut write: impl FnMut(&[u8], &[u8])) {
        if self.waits {
            for partial in self.packets.iter_mut().filter(|partial| partial.sender.is_some()) {
                if partial.shares_flow(packet) {
                    partial.flush(&mut write);
                }
            }
        }
    }

    /// The sender started anew: what is there of its packets is given up.
    pub fn forget(&mut self, sender: S, mut write: impl FnMut(&[u8], &[u8])) {
        for place in 0..PACKETS {
            if self.packets[place].sender == Some(sender) {
                self.give_up(place, &mut write);
            }
        }
    }

    /// Slices that were given up because the headers of their packet never came.
    pub fn orphans(&self) -> u64 {
        self.orphans
    }
}

impl<S: Copy + PartialEq> Default for Joiner<S> {
    fn default() -> Self {
        Self::new()
    }
}

/// What stands before a part of the row of `total` bytes.
fn front(
    headers: &[u8; MAX_HEADERS],
    shape: Shape,
    total: usize,
    data: Range<usize>,
) -> [u8; HEADER_LEN + MAX_HEADERS] {
    let (skipped, len) = (data.start - shape.headers, data.len());
    let mut front = [0; HEADER_LEN + MAX_HEADERS];
    front[HEADER_LEN..].copy_from_slice(headers);
    let at = shape.transport;
    let packet = &mut front[HEADER_LEN..];
    let size = u16_at(packet, at + usize::from(TCP_CHECKSUM));
    let segments = u16::try_from(skipped / usize::from(size.max(1))).unwrap_or(0);
    set_ip_length(
        &mut packet[..shape.headers],
        u16_at(headers, 4).wrapping_add(segments),
        shape.headers + len,
    );
    let sequence = u32_at(packet, at + TCP_SEQUENCE).wrapping_add(u32::try_from(skipped).unwrap_or(0));
    packet[at + TCP_SEQUENCE..at + TCP_SEQUENCE + 4].copy_from_slice(&sequence.to_be_bytes());
    if skipped > 0 {
        packet[at + TCP_FLAGS] &= !CWR;
    }
    if data.end < total {
        packet[at + TCP_FLAGS] &= !(FIN | PSH);
    }
    let pseudo = shape.pseudo(packet, shape.headers - at + len);
    put_u16(packet, at + usize::from(TCP_CHECKSUM), pseudo);
    let segmentation = if len > usize::from(size) { Segmentation::Tcp { size } } else { Segmentation::None };
    let checksum = Some((u16::try_from(at).unwrap_or(0), TCP_CHECKSUM));
    let header = Header { segmentation, checksum };
    let emitted = header.emit(shape.is_ipv6, u16::try_from(shape.headers).unwrap_or(0));
    front[..HEADER_LEN].copy_from_slice(&emitted);
    front
}
