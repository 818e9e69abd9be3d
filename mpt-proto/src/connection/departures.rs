//! The datagrams that carry one inner packet.

use heapless::Vec;

use crate::ecn::Ecn;
use crate::path::PathId;
use crate::path_set::{MAX_PATHS, PathSet};
use crate::reassembly::Cut;
use crate::seq::Seq;
use crate::wire::HEADROOM;
use crate::wire::fragment;
use crate::wire::gre::{Layout, Protocol};

/// One datagram to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Departure<'b> {
    /// On this path.
    pub path: PathId,
    /// The UDP payload.
    pub datagram: &'b [u8],
    /// For the outer header (RFC 6040 section 4.1).
    pub ecn: Ecn,
    /// Of a probe of the path's size: bytes that the UDP payload is to have, with zeros behind `datagram`. Zero for all others. It must
    /// neither be split on the way (DF in the outer IPv4 header) nor be joined with others, and is lost if the network does not take it
    /// whole, which [`Connection::handle_unsent`](crate::Connection::handle_unsent) is told if it is known.
    pub padded_to: u16,
}

impl Departure<'_> {
    /// The whole UDP payload: `datagram`, or if it is to be padded a copy in `room` with zeros behind it. `None`: it has no room there.
    pub fn padded<'p>(&'p self, room: &'p mut [u8]) -> Option<&'p [u8]> {
        if usize::from(self.padded_to) <= self.datagram.len() {
            return Some(self.datagram);
        }
        let place = room.get_mut(..self.padded_to.into())?;
        let (head, rest) = place.split_at_mut_checked(self.datagram.len())?;
        head.copy_from_slice(self.datagram);
        rest.fill(0);
        Some(place)
    }
}

/// The datagrams that carry one inner packet, one at a time: one for most, several for a packet that is
/// fragmented or goes over several paths. The headers of a fragment are written over the end of the fragment
/// before it, so each datagram is to be sent, or copied, before the next is asked for.
#[derive(Debug)]
pub struct Departures<'b> {
    /// Headroom and packet.
    buffer: &'b mut [u8],
    layout: Layout,
    protocol: Protocol,
    /// Of the first piece.
    sequence: Seq,
    cut: Option<Cut>,
    paths: Vec<PathId, MAX_PATHS>,
    ecn: Ecn,
    /// The paths on which the outer header has these marks; it has none on the others.
    marked: PathSet,
    piece: u8,
    /// How many paths the piece has been handed out for.
    copies: usize,
}

impl<'b> Departures<'b> {
    pub(super) fn new(
        buffer: &'b mut [u8],
        layout: Layout,
        protocol: Protocol,
        sequence: Seq,
        cut: Option<Cut>,
        paths: Vec<PathId, MAX_PATHS>,
        (ecn, marked): (Ecn, PathSet),
    ) -> Self {
        let protocol = if cut.is_some() { Protocol::Fragment } else { protocol };
        Self { buffer, layout, protocol, sequence, cut, paths, ecn, marked, piece: 0, copies: 0 }
    }

    /// The next datagram.
    #[allow(clippy::should_implement_trait, reason = "what it returns borrows from self")]
    pub fn next(&mut self) -> Option<Departure<'_>> {
        if self.copies == self.paths.len() {
            // Asked for more than there are, again and again, it stays at the end.
            self.piece = self.piece.saturating_add(1);
            self.copies = 0;
        }
        let path = *self.paths.get(self.copies)?;
        let is_new = self.copies == 0;
        self.copies += 1;
        let datagram = locate(self.buffer, self.layout, self.cut, self.piece)?;
        if is_new {
            let sequence = self.sequence + u32::from(self.piece);
            emit(datagram, self.layout, self.protocol, (self.cut, self.piece), sequence);
        }
        let ecn = if self.marked.contains(path.index()) { self.ecn } else { Ecn::NotEct };
        Some(Departure { path, datagram, ecn, padded_to: 0 })
    }
}

/// The datagram of a piece, in a buffer of headroom and packet; `cut` is `None` for a packet that is one piece. `None`: there is no
/// such piece.
pub(super) fn locate(buffer: &mut [u8], layout: Layout, cut: Option<Cut>, piece: u8) -> Option<&mut [u8]> {
    let (start, end) = match cut {
        None if piece > 0 => return None,
        None => (HEADROOM, buffer.len()),
        Some(cut) => {
            let range = cut.header(piece).range()?;
            (HEADROOM + range.start - fragment::LEN, HEADROOM + range.end)
        }
    };
    buffer.get_mut(start - layout.header_len()..end)
}

/// Writes the headers of a piece, over what was before it.
pub(super) fn emit(
    datagram: &mut [u8],
    layout: Layout,
    protocol: Protocol,
    (cut, piece): (Option<Cut>, u8),
    sequence: Seq,
) {
    if let (Some(cut), Some(payload)) = (cut, datagram.get_mut(layout.header_len()..)) {
        cut.header(piece).emit(payload);
    }
    layout.emit(datagram, protocol, sequence);
}
