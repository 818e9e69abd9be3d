//! Slices: a large TCP packet that the kernel would have had cut into segments crosses the tunnel with its headers once.
//!
//! The headers and the data behind them are one row of bytes, cut at a constant stride; each piece travels behind a
//! [`Header`]. To the core a slice is a packet like another: it has a number, is put in order and sent again. Cutting
//! and joining is the port's work, which knows what its kernel takes. Only a peer that said that it joins slices
//! ([`Features::SLICES`](crate::wire::control::Features)) is sent any. The layout is drawn in `docs/wire.md`.

use crate::ecn::Ecn;
use crate::wire::{put, u16_at};

/// Bytes of the header, behind that of GRE or of the extension.
pub const LEN: usize = 8;
/// The high nibble of the first byte: neither that of an IP packet (4, 6) nor of a fragment (15).
const MARK: u8 = 0xe0;
/// Behind the header stands a copy of the packet's headers.
const COPY: u8 = 0x04;
const ECN: u8 = 0x03;

/// What stands before a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Header {
    /// ECN bits of the packet; [`Ecn::Ce`] also if this slice alone was marked on its way.
    pub ecn: Ecn,
    /// A copy of the packet's headers stands between this header and the slice: only in the last one, for the case that
    /// the first is lost.
    pub has_copy: bool,
    /// Which slice, from 0 on.
    pub index: u8,
    /// Names the packet among those of the sender that are under way.
    pub id: u16,
    /// Bytes of the whole row: headers and data.
    pub total: u16,
    /// Bytes of every slice but the last, at least 1 and less than `total`.
    pub stride: u16,
}

/// Whether a payload begins as a slice does.
pub fn is_there(payload: &[u8]) -> bool {
    payload.first().is_some_and(|first| first & 0xf0 == MARK)
}

/// Whether a packet is a slice, and not the first one.
pub(crate) fn follows(payload: &[u8]) -> bool {
    is_there(payload) && payload.get(1).is_some_and(|index| *index > 0)
}

/// Whether more slices of the packet follow.
pub(crate) fn continues(payload: &[u8]) -> bool {
    Header::parse(payload).is_some_and(|(header, _)| header.index < header.last())
}

/// The ECN bits of a slice.
pub(super) fn ecn(first: u8) -> Ecn {
    Ecn::from_bits(first & ECN)
}

/// Changes them.
pub(super) fn set_ecn(payload: &mut [u8], ecn: Ecn) {
    if let Some(first) = payload.first_mut() {
        *first = *first & !ECN | ecn.bits();
    }
}

impl Header {
    /// Parses a slice: its header, and what follows it. `None`: it is none, or contradicts itself or its length.
    pub fn parse(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (header, bytes) = payload.split_first_chunk::<LEN>()?;
        let &[first, index, ..] = header;
        let (total, stride) = (u16_at(header, 4)?, u16_at(header, 6)?);
        let has_copy = first & COPY != 0;
        let parsed = Self { ecn: ecn(first), has_copy, index, id: u16_at(header, 2)?, total, stride };
        let is_sound = first & !(COPY | ECN) == MARK
            && stride > 0
            && stride < total
            && parsed.index <= parsed.last()
            && (if has_copy {
                parsed.index == parsed.last() && bytes.len() > parsed.range().len()
            } else {
                bytes.len() == parsed.range().len()
            });
        is_sound.then_some((parsed, bytes))
    }

    /// Writes the header to the front of `payload`; nothing if it does not fit.
    pub fn emit(&self, payload: &mut [u8]) {
        let copy = if self.has_copy { COPY } else { 0 };
        put(payload, 0, [MARK | copy | self.ecn.bits(), self.index]);
        put(payload, 2, self.id.to_be_bytes());
        put(payload, 4, self.total.to_be_bytes());
        put(payload, 6, self.stride.to_be_bytes());
    }

    /// The index of the last slice; 255 if it is more.
    pub fn last(&self) -> u8 {
        let slices = self.total.div_ceil(self.stride.max(1));
        u8::try_from(slices.saturating_sub(1)).unwrap_or(u8::MAX)
    }

    /// Where the slice lies in the row.
    pub fn range(&self) -> core::ops::Range<usize> {
        let (stride, total) = (usize::from(self.stride), usize::from(self.total));
        let start = (usize::from(self.index) * stride).min(total);
        start..(start + stride).min(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: Header =
        Header { ecn: Ecn::Ect0, has_copy: true, index: 2, id: 0xabcd, total: 10, stride: 4 };
    const GOLDEN: [u8; 12] = [0xe6, 2, 0xab, 0xcd, 0, 10, 0, 4, 0x61, 0x62, 0x69, 0x6a];

    #[test]
    fn the_bytes_are_those_of_docs_wire_md() {
        let mut bytes = GOLDEN;
        bytes[..LEN].fill(0);
        EXAMPLE.emit(&mut bytes);
        assert_eq!(bytes, GOLDEN);
        assert_eq!(Header::parse(&GOLDEN), Some((EXAMPLE, &GOLDEN[LEN..])));
        assert!(is_there(&GOLDEN));
    }

    #[test]
    fn a_slice_that_contradicts_itself_or_its_length_is_refused() {
        for len in 0..GOLDEN.len() - 1 {
            assert_eq!(Header::parse(&GOLDEN[..len]), None, "{len} bytes");
        }
        let whole = [0xe0, 0, 0, 0, 0, 10, 0, 4, 1, 2, 3, 4];
        assert!(Header::parse(&whole).is_some());
        for (at, value, what) in [
            (0, 0xf0, "a fragment"),
            (0, 0xe8, "an unknown bit"),
            (0, 0xe4, "a copy that is not in the last slice"),
            (1, 3, "beyond the last"),
            (5, 4, "a packet of one slice"),
            (7, 0, "no stride"),
            (7, 5, "another length"),
        ] {
            let mut broken = whole;
            broken[at] = value;
            assert_eq!(Header::parse(&broken), None, "{what}");
        }
    }

    #[test]
    fn a_mark_changes_the_ecn_bits_alone() {
        let mut bytes = GOLDEN;
        set_ecn(&mut bytes, Ecn::Ce);
        assert_eq!(ecn(bytes[0]), Ecn::Ce);
        assert_eq!(Header::parse(&bytes).unwrap().0, Header { ecn: Ecn::Ce, ..EXAMPLE });
    }
}
