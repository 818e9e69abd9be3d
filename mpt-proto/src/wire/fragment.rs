//! Fragments of an inner packet that is larger than a path takes.
//!
//! RFC 8086 section 4.1 wants fragmentation before encapsulation. IPv6 and IPv4 with DF cannot be fragmented
//! by anyone but their source, so the tunnel splits the packet itself and the peer puts it together; only a
//! peer that said it can ([`Features::REASSEMBLY`](crate::wire::control::Features)) is sent fragments. All
//! pieces of a packet but the last have one size. The layout is drawn in `docs/wire.md`.

use crate::stats::DropReason;
use crate::wire::{put, u16_at};

/// Bytes of the fragment header, behind the GRE header.
pub const LEN: usize = 8;
/// Most pieces of one packet: what a 32-bit mask counts.
pub const MAX_PIECES: usize = 32;
/// Version 0 in the low six bits. The high nibble is neither 4 nor 6: a fragment is told from an IP packet
/// by it alone.
const MARK: u8 = 0xf0;
/// Set by the receiver, never sent: the datagram arrived marked "congestion experienced".
const CONGESTION: u8 = 0x01;

/// One piece's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Header {
    /// Which piece, 0 to 31.
    pub index: u8,
    /// Names the packet among those of the sender that are under way.
    pub id: u16,
    /// Bytes of every piece but the last, at least 1.
    pub size: u16,
    /// Bytes of the whole packet, more than `size`.
    pub total: u16,
    /// The piece arrived marked "congestion experienced". Not sent.
    pub congestion: bool,
}

impl Header {
    /// Parses what follows the GRE header: the piece's header and its bytes.
    ///
    /// # Errors
    /// [`DropReason::BadFragment`] when the header contradicts itself or the piece's length.
    pub fn parse(payload: &[u8]) -> Result<(Self, &[u8]), DropReason> {
        Self::fields(payload).ok_or(DropReason::BadFragment)
    }

    fn fields(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (header, piece) = payload.split_first_chunk::<LEN>()?;
        let &[mark, index, ..] = header;
        let header = Self {
            index,
            id: u16_at(header, 2)?,
            size: u16_at(header, 4)?,
            total: u16_at(header, 6)?,
            congestion: mark & CONGESTION != 0,
        };
        let sound = mark & !CONGESTION == MARK
            && header.size > 0
            && header.size < header.total
            && header.pieces() <= MAX_PIECES
            && header.range()?.len() == piece.len();
        sound.then_some((header, piece))
    }

    /// Writes the header to the front of `payload`, whose piece is in place behind it.
    pub fn emit(&self, payload: &mut [u8]) {
        put(payload, 0, [MARK | if self.congestion { CONGESTION } else { 0 }, self.index]);
        put(payload, 2, self.id.to_be_bytes());
        put(payload, 4, self.size.to_be_bytes());
        put(payload, 6, self.total.to_be_bytes());
    }

    /// How many pieces the packet has.
    pub fn pieces(&self) -> usize {
        usize::from(self.total).div_ceil(usize::from(self.size).max(1))
    }

    /// Where the piece lies in the packet; `None` if the packet has no piece of this index.
    pub fn range(&self) -> Option<core::ops::Range<usize>> {
        let start = usize::from(self.index) * usize::from(self.size);
        let end = (start + usize::from(self.size)).min(usize::from(self.total));
        (start < end).then_some(start..end)
    }
}

/// Notes on a fragment's header that it arrived marked "congestion experienced".
pub(crate) fn mark_congestion(payload: &mut [u8]) {
    if let Some(mark) = payload.first_mut() {
        *mark |= CONGESTION;
    }
}

/// Clears what only the receiver may note, lest a peer's byte pass for it.
pub(crate) fn clear_congestion(payload: &mut [u8]) {
    if let Some(mark) = payload.first_mut() {
        *mark &= !CONGESTION;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: Header = Header { index: 2, id: 0xabcd, size: 4, total: 10, congestion: false };

    #[test]
    fn the_bytes_are_those_of_docs_wire_md() {
        let mut payload = [0, 0, 0, 0, 0, 0, 0, 0, b'i', b'j'];
        LAST.emit(&mut payload);
        assert_eq!(payload, [0xf0, 2, 0xab, 0xcd, 0, 4, 0, 10, b'i', b'j']);
        assert_eq!(Header::parse(&payload), Ok((LAST, &b"ij"[..])));
        assert_eq!((LAST.pieces(), LAST.range()), (3, Some(8..10)));
    }

    #[test]
    fn contradictions_are_refused() {
        let wrong = [
            (Header { index: 3, ..LAST }, 2),                     // behind the end
            (LAST, 1),                                            // piece too short
            (LAST, 3),                                            // piece too long
            (Header { index: 0, size: 0, ..LAST }, 0),            // pieces of nothing
            (Header { index: 0, size: 10, ..LAST }, 10),          // a whole packet is no fragment
            (Header { index: 0, size: 1, total: 33, ..LAST }, 1), // too many pieces
        ];
        for (header, len) in wrong {
            let mut payload = std::vec![0; LEN + len];
            header.emit(&mut payload);
            assert_eq!(Header::parse(&payload), Err(DropReason::BadFragment), "{header:?} with {len} bytes");
        }
        assert_eq!(Header::parse(&[0xf0; 7]), Err(DropReason::BadFragment));
        assert_eq!(Header::parse(&[0x45; 12]), Err(DropReason::BadFragment));
    }
}
