//! Fragments of inner packets, put together in lent slots.

#[cfg(feature = "state")]
mod state;

use core::time::Duration;

use crate::ecn::Ecn;
use crate::time::{Instant, Micros};
use crate::wire::fragment::{self, Header};
use crate::wire::{copy, ip};

#[cfg(feature = "state")]
pub(crate) use state::{Restore, Saved};

/// One packet being put together. `Default` is empty.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct ReassemblySlot {
    /// When it is given up; `None`: the slot is free.
    expires: Option<Instant>,
    id: u16,
    size: u16,
    total: u16,
    /// Bit n: piece n has come.
    pieces: u32,
    congestion: bool,
}

/// What became of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Piece {
    /// The packet is whole: it is [`Reassembly::packet`] until the next insert.
    Complete,
    /// Others are missing.
    Waiting,
    /// It came before.
    Duplicate,
    /// It contradicts itself or the others, or the packet is larger than a slot.
    Bad,
    /// The packet is whole, but congestion was marked and its transport does not speak ECN.
    CongestionMarked,
}

/// Packets being put together.
///
/// Slots are few (a path delivers the pieces of a packet in a row), so they are searched, not indexed. When
/// all are taken, the one that expires first makes room.
///
/// Invariant: a taken slot misses at least one piece; all its pieces have its `size` and `total`.
#[derive(Debug)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct Reassembly<'s> {
    #[cfg_attr(feature = "state", serde(skip))]
    slots: &'s mut [ReassemblySlot],
    #[cfg_attr(feature = "state", serde(skip))]
    bytes: &'s mut [u8],
    timeout: Micros,
    /// The slot and length of the packet that was completed last.
    #[cfg_attr(feature = "state", serde(skip))]
    complete: (usize, usize),
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    expired: u64,
}

impl<'s> Reassembly<'s> {
    /// Over lent storage: packets of up to `bytes.len() / slots.len()` bytes can be put together.
    pub fn new(timeout: Duration, slots: &'s mut [ReassemblySlot], bytes: &'s mut [u8]) -> Self {
        slots.fill(ReassemblySlot::default());
        Self { slots, bytes, timeout: timeout.into(), complete: (0, 0), expired: 0 }
    }

    /// Its memory, for another one.
    pub(crate) fn into_memory(self) -> (&'s mut [ReassemblySlot], &'s mut [u8]) {
        (self.slots, self.bytes)
    }

    /// Bytes of the largest packet that can be put together; zero without storage.
    pub fn max_packet(&self) -> usize {
        self.bytes.len().checked_div(self.slots.len()).unwrap_or(0)
    }

    /// Packets given up because pieces were missing.
    pub const fn expired(&self) -> u64 {
        self.expired
    }

    /// Takes the payload of a datagram of [`Protocol::Fragment`](crate::wire::gre::Protocol).
    pub fn insert(&mut self, payload: &[u8], now: Instant) -> Piece {
        let Ok((header, piece)) = Header::parse(payload) else { return Piece::Bad };
        if usize::from(header.total) > self.max_packet() {
            return Piece::Bad;
        }
        let Some(index) = self.slot_for(&header, now) else { return Piece::Bad };
        let start = index * self.max_packet();
        let Some(slot) = self.slots.get_mut(index) else { return Piece::Bad };
        let bit = 1 << header.index;
        if (slot.size, slot.total) != (header.size, header.total) {
            return Piece::Bad;
        }
        if slot.pieces & bit != 0 {
            return Piece::Duplicate;
        }
        slot.pieces |= bit;
        slot.congestion |= header.congestion;
        let whole = start..start + usize::from(header.total);
        let Some(packet) = self.bytes.get_mut(whole) else { return Piece::Bad };
        if let Some(place) = header.range().and_then(|range| packet.get_mut(range)) {
            copy(place, piece);
        }
        if slot.pieces.count_ones() as usize != header.pieces() {
            return Piece::Waiting;
        }
        let congestion = slot.congestion;
        *slot = ReassemblySlot::default();
        self.complete = (index, usize::from(header.total));
        match ip::parse(packet) {
            Some((_, len)) if len == packet.len() => {}
            _ => return Piece::Bad,
        }
        if congestion {
            match Ecn::decapsulated(ip::ecn(packet), Ecn::Ce) {
                Some(ecn) => ip::set_ecn(packet, ecn),
                None => return Piece::CongestionMarked,
            }
        }
        Piece::Complete
    }

    /// The packet that was completed last.
    pub fn packet(&self) -> &[u8] {
        let (index, len) = self.complete;
        let start = index * self.max_packet();
        self.bytes.get(start..start + len).unwrap_or_default()
    }

    /// When the first packet is given up.
    pub fn deadline(&self) -> Option<Instant> {
        self.slots.iter().filter_map(|slot| slot.expires).min()
    }

    /// Gives up the packets whose time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        for slot in self.slots.iter_mut().filter(|slot| slot.expires.is_some_and(|expires| expires <= now)) {
            *slot = ReassemblySlot::default();
            self.expired += 1;
        }
    }

    /// The slot of the piece's packet, or a free one, or the one that expires first.
    fn slot_for(&mut self, header: &Header, now: Instant) -> Option<usize> {
        let known = self.slots.iter().position(|slot| slot.expires.is_some() && slot.id == header.id);
        if known.is_some() {
            return known;
        }
        let (index, slot) = self.slots.iter_mut().enumerate().min_by_key(|(_, slot)| slot.expires)?;
        if slot.expires.is_some() {
            self.expired += 1;
        }
        *slot = ReassemblySlot {
            expires: Some(now + self.timeout),
            id: header.id,
            size: header.size,
            total: header.total,
            ..ReassemblySlot::default()
        };
        Some(index)
    }
}

/// How a packet is cut to fit a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Cut {
    pub(crate) id: u16,
    /// Bytes of every piece but the last.
    pub(crate) size: u16,
    pub(crate) total: u16,
}

impl Cut {
    /// Cuts `total` bytes so that every piece with its fragment header fits `room` bytes, into pieces of
    /// about one size. `None`: it would need more than [`fragment::MAX_PIECES`].
    pub(crate) fn new(id: u16, total: usize, room: usize) -> Option<Self> {
        let most = room.checked_sub(fragment::LEN)?;
        let pieces = total.div_ceil(most.max(1)).max(2);
        if most == 0 || pieces > fragment::MAX_PIECES {
            return None;
        }
        let size = u16::try_from(total.div_ceil(pieces)).ok()?;
        Some(Self { id, size, total: u16::try_from(total).ok()? })
    }

    /// The header of a piece.
    pub(crate) const fn header(self, index: u8) -> Header {
        Header { index, id: self.id, size: self.size, total: self.total, congestion: false }
    }

    pub(crate) fn pieces(self) -> usize {
        self.header(0).pieces()
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "small numbers")]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn packet(len: usize) -> Vec<u8> {
        let mut packet: Vec<u8> = (0..len).map(|at| at as u8).collect();
        packet[0] = 0x45;
        packet[1] = 0;
        packet[2..4].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        packet
    }

    fn pieces(id: u16, packet: &[u8], room: usize) -> Vec<Vec<u8>> {
        let cut = Cut::new(id, packet.len(), room).unwrap();
        (0..cut.pieces())
            .map(|index| {
                let header = cut.header(index as u8);
                let mut payload = vec![0; fragment::LEN];
                payload.extend_from_slice(&packet[header.range().unwrap()]);
                header.emit(&mut payload);
                assert!(payload.len() <= room);
                payload
            })
            .collect()
    }

    const NOW: Instant = Instant::from_micros(5);
    const TIMEOUT: Duration = Duration::from_secs(1);

    #[test]
    fn pieces_in_any_order_make_the_packet_again() {
        for (len, room) in [(1000, 990), (1400, 700), (1500, 60), (21, 12 + 8)] {
            let packet = packet(len);
            let mut all = pieces(9, &packet, room);
            all.reverse();
            let (mut slots, mut bytes) = ([ReassemblySlot::default(); 2], [0; 3000]);
            let mut reassembly = Reassembly::new(TIMEOUT, &mut slots, &mut bytes);
            let last = all.pop().unwrap();
            for piece in &all {
                assert_eq!(reassembly.insert(piece, NOW), Piece::Waiting);
                assert_eq!(reassembly.insert(piece, NOW), Piece::Duplicate);
            }
            assert_eq!(reassembly.insert(&last, NOW), Piece::Complete);
            assert_eq!(reassembly.packet(), packet);
            assert_eq!(reassembly.deadline(), None);
        }
    }

    #[test]
    fn a_packet_that_misses_a_piece_expires_and_is_counted() {
        let (mut slots, mut bytes) = ([ReassemblySlot::default(); 1], [0; 1500]);
        let mut reassembly = Reassembly::new(TIMEOUT, &mut slots, &mut bytes);
        let all = pieces(1, &packet(1000), 600);
        assert_eq!(reassembly.insert(&all[0], NOW), Piece::Waiting);
        assert_eq!(reassembly.deadline(), Some(NOW + TIMEOUT));
        reassembly.handle_timeout(NOW + TIMEOUT - Duration::from_micros(1));
        assert_eq!(reassembly.expired(), 0);
        reassembly.handle_timeout(NOW + TIMEOUT);
        assert_eq!((reassembly.expired(), reassembly.deadline()), (1, None));
    }

    #[test]
    fn when_all_slots_are_taken_the_oldest_packet_makes_room() {
        let (mut slots, mut bytes) = ([ReassemblySlot::default(); 2], [0; 3000]);
        let mut reassembly = Reassembly::new(TIMEOUT, &mut slots, &mut bytes);
        let packet = packet(1000);
        for id in 0..3 {
            let now = NOW + Duration::from_millis(u64::from(id));
            assert_eq!(reassembly.insert(&pieces(id, &packet, 600)[0], now), Piece::Waiting);
        }
        assert_eq!(reassembly.expired(), 1);
        assert_eq!(reassembly.insert(&pieces(1, &packet, 600)[1], NOW), Piece::Complete);
        assert_eq!(reassembly.insert(&pieces(2, &packet, 600)[1], NOW), Piece::Complete);
    }

    #[test]
    fn a_piece_that_contradicts_the_others_changes_nothing() {
        let (mut slots, mut bytes) = ([ReassemblySlot::default(); 1], [0; 1500]);
        let mut reassembly = Reassembly::new(TIMEOUT, &mut slots, &mut bytes);
        let good = packet(1000);
        assert_eq!(reassembly.insert(&pieces(1, &good, 600)[0], NOW), Piece::Waiting);
        assert_eq!(reassembly.insert(&pieces(1, &packet(1002), 600)[1], NOW), Piece::Bad);
        assert_eq!(
            reassembly.insert(&pieces(7, &packet(1501), 600)[1], NOW),
            Piece::Bad,
            "larger than a slot"
        );
        assert_eq!(reassembly.insert(&pieces(1, &good, 600)[1], NOW), Piece::Complete);
        assert_eq!(reassembly.packet(), good);
    }

    #[test]
    fn pieces_that_make_no_ip_packet_are_bad() {
        let (mut slots, mut bytes) = ([ReassemblySlot::default(); 1], [0; 1500]);
        let mut reassembly = Reassembly::new(TIMEOUT, &mut slots, &mut bytes);
        let mut nonsense = packet(1000);
        nonsense[0] = 0x20;
        let all = pieces(1, &nonsense, 600);
        assert_eq!(reassembly.insert(&all[0], NOW), Piece::Waiting);
        assert_eq!(reassembly.insert(&all[1], NOW), Piece::Bad);
    }

    #[test]
    fn rfc3168_5_3_one_marked_fragment_marks_the_packet_or_drops_it() {
        for (inner, expected) in [(0b10, Piece::Complete), (0b00, Piece::CongestionMarked)] {
            let (mut slots, mut bytes) = ([ReassemblySlot::default(); 1], [0; 1500]);
            let mut reassembly = Reassembly::new(TIMEOUT, &mut slots, &mut bytes);
            let mut packet = packet(1000);
            packet[1] = inner;
            let mut all = pieces(1, &packet, 600);
            fragment::mark_congestion(&mut all[0]);
            assert_eq!(reassembly.insert(&all[0], NOW), Piece::Waiting);
            assert_eq!(reassembly.insert(&all[1], NOW), expected);
            if expected == Piece::Complete {
                assert_eq!(ip::ecn(reassembly.packet()), Ecn::Ce);
            }
        }
    }
}
