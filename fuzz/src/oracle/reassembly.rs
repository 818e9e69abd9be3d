//! Reassembly as a map from packet to pieces.

use std::collections::BTreeMap;
use std::time::Duration;

use mpt_proto::Instant;
use mpt_proto::internals::Piece;
use mpt_proto::wire::fragment::Header;
use mpt_proto::wire::ip;

/// A packet that misses pieces.
#[derive(Debug, Clone)]
struct Unfinished {
    expires: Instant,
    size: u16,
    total: u16,
    pieces: BTreeMap<u8, Vec<u8>>,
}

/// Puts packets together, as [`mpt_proto::internals::Reassembly`] must.
#[derive(Debug)]
pub struct Reassembly {
    slots: usize,
    max_packet: usize,
    timeout: Duration,
    unfinished: BTreeMap<u16, Unfinished>,
    /// Packets given up.
    pub expired: u64,
    /// The packet that was completed last.
    pub packet: Vec<u8>,
}

impl Reassembly {
    /// At most `slots` packets of `max_packet` bytes at a time.
    pub const fn new(slots: usize, max_packet: usize, timeout: Duration) -> Self {
        Self { slots, max_packet, timeout, unfinished: BTreeMap::new(), expired: 0, packet: Vec::new() }
    }

    /// Takes a piece, whose header was parsed. No two packets may start at the same time: which of them makes
    /// room for a third is not told by the documentation.
    pub fn insert(&mut self, header: &Header, piece: &[u8], now: Instant) -> Piece {
        if usize::from(header.total) > self.max_packet || self.slots == 0 {
            return Piece::Bad;
        }
        if !self.unfinished.contains_key(&header.id) {
            if self.unfinished.len() == self.slots {
                let oldest = self.unfinished.iter().min_by_key(|(_, it)| it.expires).map(|(id, _)| *id);
                oldest.map(|id| self.unfinished.remove(&id));
                self.expired += 1;
            }
            let (size, total) = (header.size, header.total);
            let fresh = Unfinished { expires: now + self.timeout, size, total, pieces: BTreeMap::new() };
            self.unfinished.insert(header.id, fresh);
        }
        let Some(packet) = self.unfinished.get_mut(&header.id) else { return Piece::Bad };
        if (packet.size, packet.total) != (header.size, header.total) {
            return Piece::Bad;
        }
        if packet.pieces.contains_key(&header.index) {
            return Piece::Duplicate;
        }
        packet.pieces.insert(header.index, piece.to_vec());
        if packet.pieces.len() < header.pieces() {
            return Piece::Waiting;
        }
        self.packet = packet.pieces.values().flatten().copied().collect();
        self.unfinished.remove(&header.id);
        let whole = ip::parse(&self.packet).is_some_and(|(_, len)| len == self.packet.len());
        if whole { Piece::Complete } else { Piece::Bad }
    }

    /// Gives up what has waited too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        let before = self.unfinished.len();
        self.unfinished.retain(|_, packet| packet.expires > now);
        self.expired += (before - self.unfinished.len()) as u64;
    }

    /// When the next packet is given up.
    pub fn deadline(&self) -> Option<Instant> {
        self.unfinished.values().map(|packet| packet.expires).min()
    }
}
