//! A large TCP packet across the tunnel as slices, and together again: its headers cross once or twice instead of with
//! every segment, and nobody computes the checksum of data that both kernels leave to their network card.
//!
//! The headers and the data behind them are one row of bytes, cut at a constant stride, so that all slices but the last
//! are of one size:
//!
//! ```text
//! 0        2       3           4        6
//! | id     | index | last      | stride | bytes index * stride to (index + 1) * stride of the row
//! ```
//!
//! `last` is the index of the last slice, below 128; its top bit, in the last slice only, says that a copy of the headers
//! stands before its bytes, for the case that the first slice is lost. Numbers are big-endian. In the headers the TCP
//! checksum holds the size of a segment instead: the sum of the pseudo header, which the kernel left there, can be
//! computed. Slices of one packet are sent one behind the other, and come so, but for those that are lost.

use mpt_proto::Ecn;
use mpt_proto::wire::ip;

use super::shape::{Protocol, Shape};
use super::{
    CWR, FIN, HEADER_LEN, Header, MAX_PACKET, PSH, Segmentation, TCP, TCP_CHECKSUM, TCP_DATA_OFFSET,
    TCP_FLAGS, TCP_MIN, TCP_SEQUENCE, put_u16, set_ip_length, u16_at, u32_at,
};

/// Bytes before those of the row.
pub const SLICE_HEADER: usize = 6;
/// Slices of one packet at most: a bit of a word each.
const MOST: usize = 128;
/// In the byte of the last index: a copy of the headers follows.
const HAS_COPY: u8 = 0x80;
const DONT_FRAGMENT: u16 = 0x4000;
/// The longest headers: IPv6, and TCP with all options.
const MAX_HEADERS: usize = 100;

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
    headers: usize,
    /// Where the checksum is in the packet, which the size of a segment takes the place of.
    checksum: usize,
    size: u16,
    id: u16,
    stride: usize,
    last: usize,
    next: usize,
}

impl<'p> Slices<'p> {
    /// Prepares to slice `packet`, as it came from the kernel, into slices of at most `room` bytes; `None` if it is not
    /// TCP to be cut, has headers that are not expected, or would make too many slices. Consecutive packets have
    /// different `id`s.
    pub fn new(header: Header, packet: &'p [u8], room: usize, id: u16) -> Option<Self> {
        let Segmentation::Tcp { size } = header.segmentation else { return None };
        let (shape, total) = shape(packet)?;
        let stride = room.checked_sub(SLICE_HEADER)?.min(usize::from(u16::MAX));
        let start = u16::try_from(shape.transport).ok()?;
        let is_sound = size > 0
            && total == packet.len()
            && header.checksum == Some((start, TCP_CHECKSUM))
            && stride > shape.headers
            && total > stride
            && total.div_ceil(stride) <= MOST;
        is_sound.then(|| Self {
            packet,
            headers: shape.headers,
            checksum: shape.transport + usize::from(TCP_CHECKSUM),
            size,
            id,
            stride,
            last: total.div_ceil(stride) - 1,
            next: 0,
        })
    }

    /// Writes the next slice to the front of `out`, and returns its length; `None` after the last, or if `out` is
    /// shorter than was said.
    pub fn next_into(&mut self, out: &mut [u8]) -> Option<usize> {
        let index = Some(self.next).filter(|next| *next <= self.last)?;
        let bytes = &self.packet[index * self.stride..self.packet.len().min((index + 1) * self.stride)];
        let copies = index == self.last && self.headers + bytes.len() <= self.stride;
        let copy = if copies { self.headers } else { 0 };
        let len = SLICE_HEADER + copy + bytes.len();
        let out = out.get_mut(..len)?;
        put_u16(out, 0, self.id);
        out[2] = u8::try_from(index).ok()?;
        out[3] = u8::try_from(self.last).ok()? | if copies { HAS_COPY } else { 0 };
        put_u16(out, 4, u16::try_from(self.stride).ok()?);
        out[SLICE_HEADER..SLICE_HEADER + copy].copy_from_slice(&self.packet[..copy]);
        out[SLICE_HEADER + copy..].copy_from_slice(bytes);
        if index == 0 || copies {
            put_u16(out, SLICE_HEADER + self.checksum, self.size);
        }
        self.next += 1;
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
}

/// Puts slices together, one packet at a time: a slice of another packet completes the one before.
#[derive(Debug)]
pub struct Rebuild {
    /// The row of bytes.
    row: Vec<u8>,
    /// Which slices are there.
    seen: u128,
    id: u16,
    last: usize,
    stride: usize,
    /// Bytes of the last slice without a copy of the headers, once it is there.
    rest: Option<usize>,
    /// The headers, once they are there.
    headers: [u8; MAX_HEADERS],
    headers_len: usize,
    /// Some slice was marked on its way.
    congestion: bool,
}

/// A slice as it came.
struct Parsed<'s> {
    id: u16,
    index: usize,
    last: usize,
    stride: usize,
    has_copy: bool,
    bytes: &'s [u8],
}

fn parse(slice: &[u8]) -> Option<Parsed<'_>> {
    let (header, bytes) = slice.split_first_chunk::<SLICE_HEADER>()?;
    let &[id_0, id_1, index, last, stride_0, stride_1] = header;
    let (index, has_copy) = (usize::from(index), last & HAS_COPY != 0);
    let (last, stride) =
        (usize::from(last & !HAS_COPY), usize::from(u16::from_be_bytes([stride_0, stride_1])));
    let is_sound = last > 0
        && index <= last
        && !bytes.is_empty()
        && (if index == last { bytes.len() <= stride } else { bytes.len() == stride && !has_copy })
        && last * stride < MAX_PACKET;
    let id = u16::from_be_bytes([id_0, id_1]);
    is_sound.then_some(Parsed { id, index, last, stride, has_copy, bytes })
}

impl Rebuild {
    /// Nothing is there. Memory is taken once, here.
    pub fn new() -> Self {
        Self {
            row: vec![0; MAX_PACKET],
            seen: 0,
            id: 0,
            last: 0,
            stride: 0,
            rest: None,
            headers: [0; MAX_HEADERS],
            headers_len: 0,
            congestion: false,
        }
    }

    /// Takes a slice, and whether it was marked by congestion on its way (CE in the outer header). `write` gets what is
    /// complete with it, or ended by it: each time a [`Header`] and headers, and the data behind them.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn push(
        &mut self,
        slice: &[u8],
        congestion: bool,
        mut write: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), Refused> {
        let parsed = parse(slice).ok_or(Refused::Bad)?;
        let is_of_this = self.seen != 0 && self.id == parsed.id;
        if is_of_this && (self.last, self.stride) != (parsed.last, parsed.stride) {
            return Err(Refused::Bad);
        }
        let bit = 1u128 << parsed.index;
        if is_of_this && self.seen & bit != 0 {
            return Err(Refused::Duplicate);
        }
        // The headers of this slice, and its part of the row.
        let mut bytes = parsed.bytes;
        let (mut headers, mut headers_len) = ([0; MAX_HEADERS], 0);
        if parsed.index == 0 || parsed.has_copy {
            let (shape, total) = shape(bytes).ok_or(Refused::Bad)?;
            let fits = total.div_ceil(parsed.stride) == parsed.last + 1
                && u16_at(bytes, shape.transport + usize::from(TCP_CHECKSUM)) > 0;
            if !fits {
                return Err(Refused::Bad);
            }
            headers_len = shape.headers;
            headers[..headers_len].copy_from_slice(&bytes[..headers_len]);
            if parsed.has_copy {
                bytes = &bytes[headers_len..];
            }
        }
        let rest = (parsed.index == parsed.last).then_some(bytes.len());
        let known = if is_of_this { self.headers() } else { &[] };
        let headers_seen = if headers_len > 0 { &headers[..headers_len] } else { known };
        let rest_seen = rest.or(self.rest.filter(|_| is_of_this));
        let agrees = headers_len == 0 || known.is_empty() || headers[..headers_len] == *known;
        let length_agrees = match (shape(headers_seen), rest_seen) {
            (Some((_, total)), Some(rest)) => total == parsed.last * parsed.stride + rest,
            _ => true,
        };
        if !agrees
            || !length_agrees
            || bytes.is_empty()
            || parsed.index * parsed.stride + bytes.len() > MAX_PACKET
        {
            return Err(Refused::Bad);
        }
        if !is_of_this {
            self.flush(&mut write);
            (self.id, self.last, self.stride) = (parsed.id, parsed.last, parsed.stride);
        }
        self.seen |= bit;
        self.rest = rest_seen;
        self.congestion |= congestion;
        if headers_len > 0 {
            (self.headers, self.headers_len) = (headers, headers_len);
        }
        let at = parsed.index * parsed.stride;
        self.row[at..at + bytes.len()].copy_from_slice(bytes);
        if self.seen.count_ones() as usize == self.last + 1 {
            self.flush(write);
        }
        Ok(())
    }

    fn headers(&self) -> &[u8] {
        &self.headers[..self.headers_len]
    }

    /// Completes what is there: one large packet for each stretch without a gap; nothing if the headers are lost, or if
    /// it was marked by congestion and says that it cannot be (RFC 6040 section 4.2).
    pub fn flush(&mut self, mut write: impl FnMut(&[u8], &[u8])) {
        let seen = std::mem::take(&mut self.seen);
        let found = shape(self.headers());
        let congestion = std::mem::take(&mut self.congestion);
        self.rest = None;
        let headers = self.headers;
        self.headers_len = 0;
        let Some((shape, total)) = found else { return };
        let mut headers = headers;
        if congestion {
            match Ecn::decapsulated(ip::ecn(&headers), Ecn::Ce) {
                Some(marked) => ip::set_ecn(&mut headers, marked),
                None => return,
            }
        }
        let mut index = 0;
        while index <= self.last {
            let from = index;
            while index <= self.last && seen & (1 << index) != 0 {
                index += 1;
            }
            if index == from {
                index += 1;
                continue;
            }
            // Of the row; the headers themselves are no data.
            let (start, end) = ((from * self.stride).max(shape.headers), total.min(index * self.stride));
            if start < end {
                let front = front(&headers, shape, start - shape.headers, end - start, end == total);
                write(&front[..HEADER_LEN + shape.headers], &self.row[start..end]);
            }
        }
    }
}

impl Default for Rebuild {
    fn default() -> Self {
        Self::new()
    }
}

/// What stands before `len` bytes of data that begin `skipped` bytes behind the first.
fn front(
    headers: &[u8; MAX_HEADERS],
    shape: Shape,
    skipped: usize,
    len: usize,
    is_end: bool,
) -> [u8; HEADER_LEN + MAX_HEADERS] {
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
    if !is_end {
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
