//! What is kept of a packet or a datagram: the bytes that the core reads, and from these an equivalent one.
//!
//! Payload is left out, and so are addresses: a flow has a number instead. What the core reads of a packet stands in
//! `mpt_proto::wire` and `mpt_proto::names_bulk`; tests hold both against it.

use std::net::IpAddr;

use mpt_proto::wire::gre::{self, Protocol};
use mpt_proto::wire::ip::{self, Flow};
use mpt_proto::wire::{checksum, extension, fragment, slice};
use mpt_proto::{Aspect, CONTROL_MAX, DropReason, Policy, names_bulk};

/// Bits of the first byte of a [`Shape`].
mod tag {
    /// The inner length follows from the size.
    pub(super) const FITS: u8 = 0x01;
    /// Says that it belongs to a transport or a tunnel that carries bulk.
    pub(super) const NAMED: u8 = 0x02;
    /// A GRE checksum that is wrong.
    pub(super) const BAD_SUM: u8 = 0x04;
    /// An acknowledgement of TCP and nothing else, with this number.
    pub(super) const BARE: u8 = 0x08;
    /// Addresses stand in it.
    pub(super) const ADDRESSES: u8 = 0x10;
    /// A GRE sequence number, told beside it.
    pub(super) const SEQUENCE: u8 = 0x20;
    /// An extension header, of which number and stamp are told beside it.
    pub(super) const EXTENSION: u8 = 0x40;
}

/// Numbers that differ from one packet to the next, and are therefore not in the [`Shape`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Numbers {
    /// Of the GRE header.
    pub(super) sequence: Option<u32>,
    /// Number and stamp of the extension header.
    pub(super) extension: Option<(u32, u32)>,
    /// What a TCP acknowledges.
    pub(super) acknowledged: Option<u32>,
}

/// The bytes that count, and zeros for those that do not, behind a byte of [`tag`]s and, of a packet, its [`Mark`]. Trailing zeros are left
/// out.
pub(super) type Shape = Vec<u8>;

/// What stands for the addresses of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// As the core hashes it, as far as it uses that.
    pub(super) hash: u64,
    /// Another one for each flow of the recording.
    pub(super) number: u32,
}

/// Bytes of a [`Mark`].
const MARK: usize = 12;
/// Bits of a hash by which the adaptive policy finds a flow's place, of 2,048 at most, and tells it from others there.
const ADAPTIVE_BITS: u64 = 0xffff_0000_0000_07ff;
/// The policies that go by the hash itself; all others use none.
const FLOW_BITS: u64 = u64::MAX;

/// The bits of flows' hashes that decide: fewer bits tell less of the addresses.
pub(super) fn hash_bits(policy: Policy) -> u64 {
    if policy.has(Aspect::Hash) { FLOW_BITS } else { ADAPTIVE_BITS }
}

impl Mark {
    fn bytes(self) -> [u8; MARK] {
        let mut bytes = [0; MARK];
        bytes[..8].copy_from_slice(&self.hash.to_le_bytes());
        bytes[8..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (hash, rest) = bytes.split_first_chunk()?;
        Some(Self { hash: u64::from_le_bytes(*hash), number: u32::from_le_bytes(*rest.first_chunk()?) })
    }
}

/// The shape of a slice: its flow alone.
pub(super) fn of_slice(flow: &Flow, mark: Mark, shape: &mut Shape) {
    shape.clear();
    let (from, to) = flow.ports.unwrap_or((0, 0));
    shape.extend([flow.protocol, u8::from(flow.ports.is_some())]);
    shape.extend(mark.bytes());
    shape.extend(from.to_be_bytes());
    shape.extend(to.to_be_bytes());
}

/// The flow that [`of_slice`] kept.
pub(super) fn slice_flow(shape: &[u8]) -> Option<Flow> {
    let &[protocol, has_ports, ..] = shape else { return None };
    let hash = Mark::read(shape.get(2..)?)?.hash;
    let ports: &[u8; 4] = shape.get(2 + MARK..)?.first_chunk()?;
    let ports = (u16::from_be_bytes([ports[0], ports[1]]), u16::from_be_bytes([ports[2], ports[3]]));
    Some(Flow { protocol, ports: (has_ports != 0).then_some(ports), hash })
}

/// The shape of an inner packet that is to be sent. With `addresses` it has them: rules of the configuration look at them.
pub(super) fn of_packet(
    packet: &[u8],
    flow: &Flow,
    mark: Mark,
    addresses: bool,
    shape: &mut Shape,
) -> Numbers {
    shape.clear();
    let mut numbers = Numbers::default();
    shape.push(0);
    shape.extend(mark.bytes());
    if ip::parse(packet).is_none_or(|(_, len)| len != packet.len()) {
        // It is refused for what stands in these bytes.
        shape.extend_from_slice(&packet[..packet.len().min(6)]);
        return numbers;
    }
    let mut tags = tag::FITS;
    let start = shape.len();
    let transport = keep_network(packet, shape);
    if addresses {
        tags |= tag::ADDRESSES;
        let place = address_range(packet);
        shape[start + place.start..start + place.end].copy_from_slice(&packet[place]);
    }
    // Each lies behind what is there already.
    let keep = |from: usize, to: usize, shape: &mut Shape| {
        shape.resize(start + from, 0);
        shape.extend_from_slice(packet.get(from..to).unwrap_or_default());
    };
    // Extension headers of IPv6 hide what stands behind the ports.
    let is_plain = packet[0] >> 4 == 4 || packet[6] == flow.protocol;
    if let Some(at) = transport.filter(|_| flow.ports.is_some()) {
        keep(at, at + 4, shape);
        if flow.tcp_ports().is_some() {
            keep(at + 12, at + 14, shape);
            let data = packet.get(at + 12).map_or(0, |offset| at + usize::from(offset >> 4) * 4);
            let number = packet.get(at + 8..).and_then(|rest| rest.first_chunk());
            if let Some(number) = number.filter(|_| is_plain && data == packet.len()) {
                numbers.acknowledged = Some(u32::from_be_bytes(*number));
                tags |= tag::BARE;
            }
        }
    }
    if is_plain && names_bulk(packet, flow) {
        tags |= tag::NAMED;
    }
    shape[0] = tags;
    trim(shape);
    numbers
}

/// Keeps what counts of the IP headers, lengths and addresses aside. Returns where the transport's header begins.
fn keep_network(packet: &[u8], shape: &mut Shape) -> Option<usize> {
    let start = shape.len();
    if packet[0] >> 4 == 4 {
        let header = usize::from(packet[0] & 0x0f) * 4;
        shape.resize(start + header.min(packet.len()), 0);
        let head = &mut shape[start..];
        head[..2].copy_from_slice(&packet[..2]);
        // Whether it is a fragment, not which.
        let is_fragment = packet[6] & 0x3f != 0 || packet[7] != 0;
        head[6] = if is_fragment { 0x20 } else { 0 };
        head[9] = packet[9];
        return (!is_fragment).then_some(header);
    }
    shape.extend_from_slice(&[packet[0], packet[1] & 0xf0]);
    shape.resize(start + 40, 0);
    shape[start + 6] = packet[6];
    // As the core walks them, types and lengths of extension headers are read; here of all that there may be.
    let (mut next, mut at) = (packet[6], 40);
    for _ in 0..8 {
        if !matches!(next, 0 | 43 | 44 | 60) {
            return Some(at);
        }
        let Some(&[following, len, ..]) = packet.get(at..) else { return None };
        shape.resize(start + at, 0);
        shape.extend_from_slice(&[following, len]);
        if next == 44 {
            return None;
        }
        next = following;
        at += 8 + usize::from(len) * 8;
    }
    None
}

fn address_range(packet: &[u8]) -> std::ops::Range<usize> {
    if packet[0] >> 4 == 4 { 12..20 } else { 8..40 }
}

/// An inner packet of this shape and size, and the flow that it is to count as.
pub(super) fn packet(shape: &[u8], numbers: Numbers, size: usize, buffer: &mut Vec<u8>) -> Option<Mark> {
    let (&tags, rest) = shape.split_first()?;
    let mark = Mark::read(rest)?;
    let start = buffer.len();
    fill(buffer, rest.get(MARK..)?, size);
    let packet = &mut buffer[start..];
    if tags & tag::FITS == 0 {
        return Some(mark);
    }
    let &first = packet.first()?;
    let len = u16::try_from(size).ok()?;
    let header = if first >> 4 == 4 {
        packet.get_mut(2..4)?.copy_from_slice(&len.to_be_bytes());
        usize::from(first & 0x0f) * 4
    } else {
        packet.get_mut(4..6)?.copy_from_slice(&len.checked_sub(40)?.to_be_bytes());
        40
    };
    if tags & tag::ADDRESSES == 0 {
        let place = address_range(packet).start;
        packet.get_mut(place..place + 4)?.copy_from_slice(&mark.number.to_be_bytes());
    }
    if let Some(number) = numbers.acknowledged
        && let Some(place) = packet.get_mut(header + 8..header + 12)
    {
        place.copy_from_slice(&number.to_be_bytes());
    }
    if tags & tag::NAMED != 0
        && let Some(place) = packet.get_mut(header + 8..header + 13)
    {
        // A long header of QUIC: what has the name of another one is treated alike.
        place.copy_from_slice(&[0xc0, 0, 0, 0, 1]);
    }
    Some(mark)
}

/// Whether a shape of a packet has a number that it acknowledges.
pub(super) fn acknowledges(shape: &[u8]) -> bool {
    shape.first().is_some_and(|tags| tags & tag::BARE != 0)
}

/// Which [`Numbers`] a shape of a datagram has: a sequence number, those of an extension header.
pub(super) fn numbered(shape: &[u8]) -> (bool, bool) {
    let tags = shape.first().copied().unwrap_or(0);
    (tags & tag::SEQUENCE != 0, tags & tag::EXTENSION != 0)
}

/// Which of the two sequences the number of a datagram of this shape is of.
pub(super) fn order(shape: &[u8]) -> u8 {
    if numbered(shape).1 { first_of_payload(shape) & 1 } else { 0 }
}

/// What a control message is, below 16: an index of those before it.
pub(super) fn kind(shape: &[u8]) -> u8 {
    let first = first_of_payload(shape);
    first & 7 | first >> 4 & 8
}

/// The first byte behind the GRE header of a datagram.
fn first_of_payload(shape: &[u8]) -> u8 {
    let flags = shape.get(1).copied().unwrap_or(0);
    shape.get(1 + header_len(flags)).copied().unwrap_or(0)
}

/// Bytes of a GRE header with these flags.
fn header_len(flags: u8) -> usize {
    let has = |bit: u8| usize::from(flags & bit != 0) * 4;
    gre::MIN_LEN + has(0x80) + has(0x20) + has(0x10)
}

/// The shape of a datagram that arrived. What carries data has numbers beside it. `None`: all stands in the shape, as of a control message.
pub(super) fn of_datagram(datagram: &[u8], shape: &mut Shape) -> Option<Numbers> {
    shape.clear();
    shape.push(0);
    let mut numbers = Numbers::default();
    let header = match gre::parse(datagram) {
        Ok(header) => header,
        Err(reason) => {
            shape[0] = if reason == DropReason::BadChecksum { tag::BAD_SUM } else { 0 };
            shape.extend_from_slice(&datagram[..datagram.len().min(gre::MAX_LEN)]);
            clear_sum(&mut shape[1..]);
            return None;
        }
    };
    let (head, payload) = datagram.split_at(header.len);
    let extended = extension::Header::parse(payload).filter(|_| header.protocol == Protocol::Control);
    let data = match header.protocol {
        Protocol::Control => match extended.map(|extension| extension.kind) {
            Some(extension::Kind::Ordered | extension::Kind::Unordered) => &payload[extension::LEN..],
            _ => {
                // A control message, or a report: all that is read of it.
                shape.extend_from_slice(head);
                shape.extend_from_slice(&payload[..payload.len().min(CONTROL_MAX)]);
                clear_sum(&mut shape[1..]);
                trim(shape);
                return None;
            }
        },
        _ => payload,
    };
    shape.extend_from_slice(head);
    clear_sum(&mut shape[1..]);
    if let Some(sequence) = header.sequence {
        numbers.sequence = Some(sequence.as_u32());
        shape[0] |= tag::SEQUENCE;
        let end = shape.len();
        shape[end - 4..].fill(0);
    }
    if let Some(extension) = extended {
        numbers.extension = Some((extension.number, extension.stamp));
        shape[0] |= tag::EXTENSION;
        shape.push(payload[0]);
        shape.extend([0; extension::LEN - 1]);
    }
    let is_piece = header.protocol == Protocol::Fragment && !slice::is_there(data);
    if is_piece {
        keep_fragment(data, shape);
    } else {
        let fits = keep_inner(data, shape);
        shape[0] |= fits;
    }
    trim(shape);
    Some(numbers)
}

/// Keeps a fragment's header, and of its bytes those that are the first of the packet: its version and length.
fn keep_fragment(payload: &[u8], shape: &mut Shape) {
    let start = match fragment::Header::parse(payload) {
        Ok((header, _)) => header.range().map_or(usize::MAX, |range| range.start),
        Err(_) => usize::MAX,
    };
    let kept = fragment::LEN + 6_usize.saturating_sub(start);
    shape.extend_from_slice(&payload[..payload.len().min(kept)]);
}

/// Keeps version, ECN bits and length of an inner packet that arrived, or that it is a slice.
fn keep_inner(data: &[u8], shape: &mut Shape) -> u8 {
    let Some(&first) = data.first() else { return 0 };
    if slice::is_there(data) {
        shape.push(first);
        return 0;
    }
    let is_four = first >> 4 == 4;
    let mut kept: Vec<u8> = data[..data.len().min(if is_four { 4 } else { 6 })].to_vec();
    if first >> 4 == 6 {
        for (place, keep) in kept.iter_mut().zip([0xff, 0xf0, 0, 0, 0xff, 0xff]) {
            *place &= keep;
        }
    }
    let fits = ip::parse(data).is_some_and(|(_, len)| len == data.len());
    if fits {
        let at = if is_four { 2 } else { 4 };
        kept[at..at + 2].fill(0);
    }
    shape.extend_from_slice(&kept);
    if fits { tag::FITS } else { 0 }
}

/// A datagram of this shape and size.
pub(super) fn datagram(shape: &[u8], numbers: Numbers, size: usize, buffer: &mut Vec<u8>) -> Option<()> {
    let (&tags, head) = shape.split_first()?;
    let start = buffer.len();
    fill(buffer, head, size);
    let datagram = &mut buffer[start..];
    let flags = datagram.first().copied().unwrap_or(0);
    let mut at = header_len(flags);
    if let Some(sequence) = numbers.sequence {
        datagram.get_mut(at.checked_sub(4)?..at)?.copy_from_slice(&sequence.to_be_bytes());
    }
    if let Some((number, stamp)) = numbers.extension {
        datagram.get_mut(at + 1..at + 4)?.copy_from_slice(&number.to_be_bytes()[1..]);
        datagram.get_mut(at + 4..at + 8)?.copy_from_slice(&stamp.to_be_bytes());
        at += extension::LEN;
    }
    if tags & tag::FITS != 0 {
        let inner = datagram.get_mut(at..)?;
        let len = u16::try_from(inner.len()).ok()?;
        let (place, len) = if inner.first()? >> 4 == 4 { (2, len) } else { (4, len.checked_sub(40)?) };
        inner.get_mut(place..place + 2)?.copy_from_slice(&len.to_be_bytes());
    }
    if flags & 0x80 != 0 && datagram.len() >= 8 {
        let right = checksum(datagram);
        let wrong = u16::from(tags & tag::BAD_SUM != 0);
        datagram[4..6].copy_from_slice(&(right ^ wrong).to_be_bytes());
    }
    Some(())
}

/// A checksum over payload that is not kept.
fn clear_sum(head: &mut [u8]) {
    if head.first().is_some_and(|flags| flags & 0x80 != 0)
        && let Some(sum) = head.get_mut(4..6)
    {
        sum.fill(0);
    }
}

/// Appends `size` bytes: these, as far as they fit, and zeros.
fn fill(buffer: &mut Vec<u8>, head: &[u8], size: usize) {
    let end = buffer.len() + size;
    buffer.extend_from_slice(&head[..head.len().min(size)]);
    buffer.resize(end, 0);
}

fn trim(shape: &mut Shape) {
    let len = shape.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    // The tag and a mark stay.
    shape.truncate(len.max(1 + MARK).min(shape.len()));
}

/// Whether some rule looks at addresses.
pub(super) fn needs_addresses(rules: &mpt_proto::ClassRules) -> bool {
    rules.iter().any(|rule| matches!(rule.network, Some((IpAddr::V4(_) | IpAddr::V6(_), _))))
}

#[cfg(test)]
mod tests;
