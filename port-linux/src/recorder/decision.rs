//! What the core puts out, as one number that tells whether two runs did the same.

use mpt_proto::wire::{extension, fragment};
use mpt_proto::{Departure, DropReason, EncapsulateError, Event, PathState, Received};

/// An odd number that spreads bits well: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// One answer of the core.
#[derive(Debug)]
pub enum Decision<'d> {
    /// A datagram that leaves, and the length of its GRE header.
    Departure(&'d Departure<'d>, usize),
    /// What became of a datagram that arrived.
    Received(&'d Received<'d>),
    /// A packet to be delivered.
    Packet(Option<&'d [u8]>),
    /// A packet was not taken.
    Refused(EncapsulateError),
    /// Something to be told.
    Event(Option<Event>),
    /// A size that a path carries.
    Carried(Option<u16>),
}

/// The running hash over all decisions. Payload and addresses are left out: a recording has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Decisions {
    /// The hash.
    pub hash: u64,
    /// How many there were.
    pub count: u64,
}

impl Decisions {
    /// Takes in one more.
    pub fn add(&mut self, decision: &Decision<'_>) {
        self.count += 1;
        match decision {
            Decision::Departure(departure, header_len) => self.departure(departure, *header_len),
            Decision::Received(Received::Packet(packet)) => self.word(0x100 | (packet.len() as u64) << 16),
            Decision::Received(Received::Consumed) => self.word(0x101),
            Decision::Received(Received::Dropped(reason)) => self.word(0x102 | number(*reason) << 16),
            Decision::Packet(None) => self.word(0x103),
            Decision::Packet(Some(packet)) => self.word(0x104 | (packet.len() as u64) << 16),
            Decision::Refused(error) => self.word(0x105 | (*error as u64) << 16),
            Decision::Event(event) => self.word(0x106 | event.map_or(0, code) << 16),
            Decision::Carried(size) => self.word(0x107 | u64::from(size.unwrap_or(0)) << 16),
        }
    }

    fn word(&mut self, word: u64) {
        self.hash = (self.hash.rotate_left(23) ^ word).wrapping_mul(SPREAD);
    }

    fn departure(&mut self, departure: &Departure<'_>, header_len: usize) {
        let datagram = departure.datagram;
        let facts = (departure.path.index() as u64) << 8 | u64::from(departure.ecn.bits()) << 16;
        self.word(0x108 | facts | (datagram.len() as u64) << 24);
        if departure.padded_to > 0 {
            self.word(0x109 | u64::from(departure.padded_to) << 16);
        }
        let head = &datagram[..datagram.len().min(decided(datagram, header_len))];
        let (words, rest) = head.as_chunks::<8>();
        // The checksum covers the payload.
        let has_checksum = datagram.first().is_some_and(|flags| flags & 0x80 != 0);
        for (place, word) in words.iter().enumerate() {
            let word = u64::from_be_bytes(*word);
            self.word(if has_checksum && place == 0 { word >> 32 } else { word });
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_be_bytes(last));
    }
}

/// How many bytes of a datagram the core has decided: its headers, or all of a control message.
fn decided(datagram: &[u8], header_len: usize) -> usize {
    const CONTROL: [u8; 2] = [0x88, 0xb5];
    const FRAGMENT: [u8; 2] = [0x88, 0xb6];
    let protocol = datagram.get(2..4).unwrap_or_default();
    let payload = datagram.get(header_len..).unwrap_or_default();
    if protocol == CONTROL {
        use extension::Kind::{Marker, Ordered, Report, Unordered};
        match extension::Header::parse(payload).map(|header| header.kind) {
            Some(Ordered | Unordered) => header_len + extension::LEN,
            Some(Report | Marker) | None => datagram.len(),
        }
    } else if protocol == FRAGMENT {
        header_len + fragment::LEN
    } else {
        header_len
    }
}

fn number(reason: DropReason) -> u64 {
    reason as u64
}

fn code(event: Event) -> u64 {
    match event {
        Event::Path { path, state } => {
            let state = match state {
                PathState::Up => 0,
                PathState::Down(reason) => 1 + reason as u64,
            };
            1 | (path.index() as u64) << 8 | state << 16
        }
        Event::Ecn { path, fault } => {
            2 | (path.index() as u64) << 8 | fault.map_or(0, |fault| 1 + fault as u64) << 16
        }
        Event::LargeLost { path } => 3 | (path.index() as u64) << 8,
        Event::PeerStarted => 4,
        Event::PathSize { path, size, is_found } => {
            6 | (path.index() as u64) << 8 | u64::from(size) << 16 | u64::from(is_found) << 32
        }
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(decisions: &[Decision<'_>]) -> u64 {
        let mut all = Decisions::default();
        decisions.iter().for_each(|decision| all.add(decision));
        all.hash
    }

    #[test]
    fn what_differs_in_what_was_decided_is_another_number() {
        let late = Received::Dropped(DropReason::Late);
        let bytes = [0; 40];
        let (short, long) = (Received::Packet(&bytes[..20]), Received::Packet(&bytes));
        let runs = [
            vec![Decision::Received(&late)],
            vec![Decision::Received(&Received::Consumed)],
            vec![Decision::Received(&short)],
            vec![Decision::Received(&long)],
            vec![Decision::Packet(Some(&bytes[..20]))],
            vec![Decision::Packet(None)],
            vec![Decision::Packet(None), Decision::Packet(None)],
            vec![Decision::Refused(EncapsulateError::NoPath)],
            vec![Decision::Event(Some(Event::PeerStarted))],
            vec![Decision::Event(None)],
            vec![],
        ];
        let hashes: std::collections::HashSet<u64> = runs.iter().map(|run| of(run)).collect();
        assert_eq!(hashes.len(), runs.len());
    }
}
