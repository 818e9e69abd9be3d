//! A large packet as slices, some of which are lost, marked or come twice; and slices that somebody made up.

use arbitrary::Arbitrary;
use mpt_proto::Ecn;
use mpt_proto::wire::{ip, slice};
use port_linux::offload::{
    HEADER_LEN, Header, Joiner, MAX_PACKET, Refused, Segmentation, Slices, Split, finish_checksum,
};

use crate::oracle::offload::{Packet, canonical, flag};
use crate::target::operations;
use crate::target::split::Shape;

/// Slices of one packet at most.
const MOST: usize = 128;

#[derive(Debug, Arbitrary)]
enum Op {
    /// A packet, of whose slices those are lost, marked by congestion, or come twice whose bits are set.
    Packet {
        shape: Shape,
        size: u16,
        room: u16,
        lost: u128,
        marked: u128,
        twice: u128,
    },
    /// Something that passes for a slice.
    Forged {
        id: u8,
        index: u8,
        total: u16,
        stride: u16,
        has_copy: bool,
        content: Vec<u8>,
        fill: u16,
    },
    /// The end of a batch.
    Flush,
    Raw(Vec<u8>),
}

/// Slices, loses, and puts together.
///
/// # Panics
/// What comes of a packet is not what came of it, cut by definition; or somebody's slices make the joining panic, or write
/// what no kernel takes.
pub fn slice(data: &[u8]) {
    let mut joiner = Joiner::new();
    for (number, op) in (0u16..).zip(operations::<Op>(data).take(24)) {
        let forged = match op {
            Op::Packet { shape, size, room, lost, marked, twice } => {
                // Numbers of their own, far from those of strangers.
                whole(&mut joiner, &shape.packet(), 1000 + number, [size, room], [lost, marked, twice]);
                continue;
            }
            Op::Forged { id, index, total, stride, has_copy, content, fill } => {
                let header =
                    slice::Header { ecn: Ecn::Ect0, has_copy, index, id: u16::from(id % 16), total, stride };
                let mut forged = vec![0; slice::LEN];
                header.emit(&mut forged);
                forged.extend(content);
                forged.resize(forged.len() + usize::from(fill % 3000), 0);
                forged
            }
            Op::Flush => {
                joiner.flush(|front, data| drop(segments(front, data)));
                joiner.flush(|_, _| panic!("nothing is left"));
                continue;
            }
            Op::Raw(bytes) => bytes,
        };
        let _ = joiner.push(1, &forged, |_| true, |front, data| drop(segments(front, data)));
    }
    joiner.flush(|front, data| drop(segments(front, data)));
    joiner.forget(1, |_, _| panic!("nothing is left"));
}

fn whole(joiner: &mut Joiner<usize>, packet: &Packet, id: u16, sizes: [u16; 2], fates: [u128; 3]) {
    let ([size, room], [lost, marked, twice]) = (sizes, fates);
    let bytes = packet.bytes(false);
    let headers = bytes.len() - packet.data.len();
    let start = u16::try_from(packet.transport()).expect("headers are short");
    let (segmentation, offset) = match packet.tcp {
        Some(_) => (Segmentation::Tcp { size }, 16),
        None => (Segmentation::Udp { size }, 6),
    };
    let header = Header { segmentation, checksum: Some((start, offset)) };
    let room = usize::from(room);
    let longest = room.saturating_sub(slice::LEN);
    let row = bytes.len() + headers;
    let slices = row.checked_div(longest).map_or(usize::MAX, |slices| slices + 1);
    let stride = row.div_ceil(slices).max(headers + 1);
    let can_be_sliced = packet.tcp.is_some()
        && size > 0
        && packet.extra == 0
        && (packet.is_ipv6 || packet.dont_fragment)
        && !packet.data.is_empty()
        && stride <= longest
        && bytes.len() > stride
        && slices <= MOST;
    let Some(mut slices) = Slices::new(header, &bytes, room, id) else {
        assert!(!can_be_sliced, "a sound packet is refused");
        return;
    };
    assert!(can_be_sliced, "what cannot be put together again is sliced");
    let count = bytes.len().div_ceil(stride);
    let lost = lost & (u128::MAX >> (MOST - count));
    let (mut written, mut came, mut is_marked) = (Vec::new(), vec![false; count], false);
    let mut out = vec![0; MAX_PACKET];
    let mut copied = false;
    for (index, came) in came.iter_mut().enumerate() {
        let len = slices.next_into(&mut out).expect("as many as there should be");
        let most = slice::LEN + stride;
        assert!(len == most || index + 1 == count && len <= most, "all of one size but the last");
        let header = slice::Header::parse(&out[..len]).expect("a slice").0;
        copied = header.has_copy;
        let has = |fate: u128| fate & (1 << index) != 0;
        if has(lost) {
            continue;
        }
        let mut write = |front: &[u8], data: &[u8]| written.extend(segments(front, data));
        if has(marked) && !ip::decapsulate_ecn(&mut out[..len], Ecn::Ce) {
            // What says that it cannot be marked is dropped by the core.
            continue;
        }
        assert_eq!(joiner.push(0, &out[..len], |_| true, &mut write), Ok(()));
        (*came, is_marked) = (true, is_marked || has(marked));
        if has(twice) && index + 1 < count {
            // A packet that is complete is forgotten, so that a copy of its last slice would begin another.
            let again = joiner.push(0, &out[..len], |_| true, &mut write);
            assert_eq!(again, Err(Refused::Duplicate));
        }
    }
    assert_eq!(slices.next_into(&mut out), None, "no more than there should be");
    joiner.forget(0, |front, data| written.extend(segments(front, data)));

    let headers_came = came[0] || copied && came[count - 1];
    let mut packet = packet.clone();
    if is_marked {
        packet.class |= 3;
    }
    let mut expected: Vec<Vec<u8>> = Vec::new();
    let mut index = 0;
    while index < count && headers_came {
        let from = index;
        while index < count && came[index] {
            index += 1;
        }
        let start = (from * stride).max(headers) - headers;
        let end = (index * stride).min(bytes.len()).saturating_sub(headers);
        if start < end {
            expected.extend(part(&packet, start..end).cut(size.into()).iter().map(|piece| piece.bytes(true)));
        }
        index = index.max(from + 1);
    }
    let canonical = |packets: &[Vec<u8>]| packets.iter().map(|packet| canonical(packet)).collect::<Vec<_>>();
    assert!(canonical(&written) == canonical(&expected), "what came is not what comes out");
}

/// The packet with a part of its data.
fn part(packet: &Packet, range: std::ops::Range<usize>) -> Packet {
    let mut part = Packet { data: packet.data[range.clone()].to_vec(), ..packet.clone() };
    if let Some(tcp) = &mut part.tcp {
        tcp.sequence = tcp.sequence.wrapping_add(u32::try_from(range.start).expect("short"));
        if range.start > 0 {
            tcp.flags &= !flag::CWR;
        }
        if range.end < packet.data.len() {
            tcp.flags &= !(flag::FIN | flag::PSH);
        }
    }
    part
}

/// What a kernel makes of what is written.
fn segments(front: &[u8], data: &[u8]) -> Vec<Vec<u8>> {
    let mut bytes = [front, data].concat();
    let (header, packet) = bytes.split_first_chunk_mut::<HEADER_LEN>().expect("a header");
    let header = Header::parse(header).expect("a header that makes sense");
    assert!(packet.len() <= MAX_PACKET);
    if header.segmentation == Segmentation::None {
        finish_checksum(header, packet).expect("a checksum that can be completed");
        return vec![packet.to_vec()];
    }
    let mut split = Split::new(header, packet, MAX_PACKET).expect("what is put together can be cut");
    let mut out = vec![0; MAX_PACKET];
    std::iter::from_fn(|| split.next_into(&mut out).map(|len| out[..len].to_vec())).collect()
}
