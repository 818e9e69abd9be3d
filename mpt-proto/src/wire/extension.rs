//! The extension header, between two mpts that both announced it: what a receiver needs to restore order by
//! knowledge, and a sender to know its paths.
//!
//! Eight bytes behind a GRE header with EtherType 0x88B5, drawn in `docs/wire.md`. The first nibble is 8 or 9, so
//! that it tells the header from a control message (1) and from an IP packet (4, 6).

use crate::wire::{put, u32_at};

/// Bytes of the header.
pub const LEN: usize = 8;
/// The version of the extension that this module speaks, announced in control messages.
pub const VERSION: u8 = 1;

/// Bytes that are counted for each datagram beside the extension header and what follows: GRE with a sequence number,
/// UDP and IPv4. Both ends count the same, whatever is really there.
pub const OUTER: usize = 8 + 8 + 20;

const MARK: u8 = 0x80;
const RESENT: u8 = 0x10;
/// Bits of a path number on the wire.
const NUMBER_BITS: u32 = 24;

/// What follows the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Kind {
    /// An inner packet of the ordered sequence, whose number is in the GRE header.
    Ordered,
    /// An inner packet that is delivered as it comes; the GRE header has its number in a sequence of its own,
    /// so that copies are told.
    Unordered,
    /// A [`report`](crate::wire::report); the GRE header has the next number of the ordered sequence.
    Report,
    /// Nothing: a sign of life, and a time stamp. The GRE header as for a report.
    Marker,
}

/// An extension header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Header {
    /// What follows.
    pub kind: Kind,
    /// The packet was sent before, on this path or another.
    pub resent: bool,
    /// Counts the extension headers that left on this path, modulo 2^24.
    pub number: u32,
    /// Microseconds of the sender's clock when it left, modulo 2^32; one clock for all paths.
    pub stamp: u32,
}

impl Header {
    /// Whether a payload with the EtherType of control messages begins with an extension header.
    pub fn is_there(payload: &[u8]) -> bool {
        payload.first().is_some_and(|first| first & !RESENT & 0xf0 == MARK)
    }

    /// Parses what follows the GRE header. `None`: too short, or of a kind that is not known.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        if !Self::is_there(payload) {
            return None;
        }
        let kind = match first & 0x0f {
            0 => Kind::Ordered,
            1 => Kind::Unordered,
            2 => Kind::Report,
            3 => Kind::Marker,
            _ => return None,
        };
        let number = u32_at(payload, 0)? & ((1 << NUMBER_BITS) - 1);
        Some(Self { kind, resent: first & RESENT != 0, number, stamp: u32_at(payload, 4)? })
    }

    /// Writes the header to the front of `bytes`; nothing if it does not fit.
    pub fn emit(&self, bytes: &mut [u8]) {
        let kind = match self.kind {
            Kind::Ordered => 0,
            Kind::Unordered => 1,
            Kind::Report => 2,
            Kind::Marker => 3,
        };
        let first = MARK | if self.resent { RESENT } else { 0 } | kind;
        put(
            bytes,
            0,
            (u32::from(first) << NUMBER_BITS | self.number & ((1 << NUMBER_BITS) - 1)).to_be_bytes(),
        );
        put(bytes, 4, self.stamp.to_be_bytes());
    }
}

/// How far a number from the wire lies ahead of `from`, of which only the low 24 bits count: negative when it is
/// earlier.
#[allow(clippy::cast_possible_wrap, reason = "the wrap is the comparison, as in RFC 1982")]
pub const fn distance(number: u32, from: u32) -> i32 {
    let shift = 32 - NUMBER_BITS;
    (number.wrapping_sub(from) << shift) as i32 >> shift
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: Header =
        Header { kind: Kind::Unordered, resent: true, number: 0x01_0203, stamp: 0x0a0b_0c0d };

    #[test]
    fn the_bytes_are_those_of_docs_wire_md() {
        let golden = [0x91, 0x01, 0x02, 0x03, 0x0a, 0x0b, 0x0c, 0x0d];
        let mut bytes = [0; LEN];
        EXAMPLE.emit(&mut bytes);
        assert_eq!(bytes, golden);
        assert_eq!(Header::parse(&golden), Some(EXAMPLE));
    }

    #[test]
    fn every_kind_survives_a_round_trip() {
        for kind in [Kind::Ordered, Kind::Unordered, Kind::Report, Kind::Marker] {
            for resent in [false, true] {
                let header = Header { kind, resent, number: 0xff_ffff, stamp: u32::MAX };
                let mut bytes = [0; LEN + 3];
                header.emit(&mut bytes);
                assert!(Header::is_there(&bytes));
                assert_eq!(Header::parse(&bytes), Some(header));
            }
        }
    }

    #[test]
    fn short_headers_unknown_kinds_and_what_is_not_one_are_refused() {
        let mut bytes = [0; LEN];
        EXAMPLE.emit(&mut bytes);
        for len in 0..LEN {
            assert_eq!(Header::parse(&bytes[..len]), None);
        }
        for first in [0x84, 0x9f, 0x11, 0x45, 0x60, 0xa0] {
            bytes[0] = first;
            assert_eq!(Header::parse(&bytes), None, "{first:#x}");
        }
    }

    #[test]
    fn numbers_compare_across_the_wrap() {
        assert_eq!(distance(0, 0xff_ffff), 1);
        assert_eq!(distance(0xff_ffff, 0x100_0000), -1);
        assert_eq!(distance(5, 0xab00_0003), 2);
    }
}
