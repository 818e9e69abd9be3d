//! Which paths a packet fits, and what leaves in pieces because it fits none.
//!
//! Paths carry datagrams of different sizes. A packet leaves only on paths whose datagrams have room for it, and not where packets of
//! its size were lost lately if another path takes it. Bulk that fits none of the ready paths is parked until one that it fits is
//! ready. A packet that fits no path that is alive, as one shrank since it was queued, is cut into fragments, which are not repaired.

use crate::adaptive::Adaptive;
use crate::adaptive::model::Model;
use crate::adaptive::pool::Index;
use crate::path_set::PathSet;
use crate::reassembly::Cut;
use crate::time::Instant;

/// A packet that leaves in pieces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pieces {
    pub(crate) path: usize,
    index: Index,
    /// Bytes of the packet.
    pub(crate) len: usize,
    /// The next piece.
    pub(crate) piece: u8,
    /// How it is cut, from its first piece on; `None` after that: it fits whole, without the extension header.
    pub(crate) cut: Option<Cut>,
}

impl Pieces {
    #[cfg(feature = "state")]
    pub(super) const fn at(path: usize, index: Index, len: usize, piece: u8, cut: Option<Cut>) -> Self {
        Self { path, index, len, piece, cut }
    }

    #[cfg(feature = "state")]
    pub(super) const fn index(&self) -> Index {
        self.index
    }

    /// The same, cut in this way.
    pub(crate) const fn cut_by(self, cut: Option<Cut>) -> Self {
        Self { cut, ..self }
    }

    /// The same after one piece more.
    pub(crate) const fn next(self) -> Self {
        Self { piece: self.piece.saturating_add(1), ..self }
    }
}

impl Adaptive<'_> {
    /// A datagram of the path has room for packets of up to `room` bytes.
    pub(crate) fn set_room(&mut self, path: usize, room: u16, now: Instant) {
        if self.state.models.get_mut(path).is_some_and(|model| model.sizes.set_room(room)) {
            self.refresh_trusted(now);
        }
    }

    /// Which size a path carries was found out: losses before that say nothing.
    pub(crate) fn settle_size(&mut self, path: usize, now: Instant) {
        if let Some(model) = self.state.models.get_mut(path) {
            model.sizes.forget_losses();
        }
        self.refresh_trusted(now);
    }

    /// The largest packet that is known to have arrived on a path since the last call; 0: none.
    pub(crate) fn take_arrived(&mut self, path: usize) -> u16 {
        self.state.models.get_mut(path).map_or(0, |model| model.sizes.take_arrived())
    }

    /// Computes anew up to which size any path will do.
    pub(super) fn refresh_trusted(&mut self, now: Instant) {
        let mut trusted = u16::MAX;
        for model in self.state.models.iter_mut().filter(|model| model.down.is_none()) {
            model.sizes.handle_time(now);
            trusted = trusted.min(model.sizes.trusted());
        }
        self.state.trusted = trusted;
    }

    /// Whether a path takes a packet of `len` bytes, among those that are alive, or up if none is.
    pub(crate) fn is_taken(&self, len: usize, up: PathSet) -> bool {
        if len <= usize::from(self.state.trusted) {
            return true;
        }
        let alive = self.alive(up);
        !self.takers(if alive.is_empty() { up } else { alive }, len).is_empty()
    }

    pub(super) fn takes(&self, path: usize, len: usize) -> bool {
        self.state.models.get(path).is_some_and(|model| model.sizes.takes(len))
    }

    /// The paths among `paths` that take a packet of `len` bytes: those where its size is not doubted, if there are any.
    fn takers(&self, paths: PathSet, len: usize) -> PathSet {
        let of = |suits: fn(&Model, usize) -> bool| {
            let mut set = PathSet::default();
            for index in paths {
                set.set(index, self.state.models.get(index).is_some_and(|model| suits(model, len)));
            }
            set
        };
        let trusted = of(|model, len| len <= usize::from(model.sizes.trusted()));
        if trusted.is_empty() { of(|model, len| model.sizes.takes(len)) } else { trusted }
    }

    /// The paths among `paths` for a packet of `len` bytes: those that take it; or all, if none does, as it leaves in pieces then.
    pub(super) fn fitting(&self, paths: PathSet, len: usize) -> PathSet {
        if len <= usize::from(self.state.trusted) {
            return paths;
        }
        let takers = self.takers(paths, len);
        if takers.is_empty() { paths } else { takers }
    }

    /// The paths for bulk: the open ones; for a packet that is parked those of them that take it, or those that are not open if
    /// only such ones do.
    pub(super) fn for_bulk(&self, alive: PathSet) -> PathSet {
        let open = alive & self.state.delay.open;
        let Some(slot) = self.state.parked.and_then(|index| self.pool.slot(index)) else { return open };
        let len = usize::from(slot.len);
        if len <= usize::from(self.state.trusted) {
            return open;
        }
        let takers = self.takers(open, len);
        let takers = if takers.is_empty() { self.takers(alive, len) } else { takers };
        if takers.is_empty() { open } else { takers }
    }

    /// Whether bulk waits.
    pub(super) const fn has_bulk(&self) -> bool {
        !self.queue.is_empty() || self.state.parked.is_some()
    }

    /// Whether packets wait that have not left.
    pub(crate) const fn waits(&self) -> bool {
        self.has_bulk() || !self.express.is_empty()
    }

    /// A packet of `len` bytes that fits no path is to leave in pieces on this one.
    pub(super) fn begin_pieces(&mut self, path: usize, index: Index, len: usize, now: Instant) {
        if let Some(model) = self.state.models.get_mut(path) {
            model.handle_pieces(len, now);
        }
        self.state.twin = None;
        self.state.pieces = Some(Pieces { path, index, len, piece: 0, cut: None });
    }

    /// The packet that leaves in pieces, with so many bytes before it.
    pub(crate) fn packet_in_pieces(&mut self, headroom: usize) -> Option<&mut [u8]> {
        let pieces = self.state.pieces?;
        Some(self.pool.datagram_mut(pieces.index, headroom))
    }

    /// The packet that leaves in pieces has left, or cannot.
    pub(crate) fn end_pieces(&mut self) {
        if let Some(pieces) = self.state.pieces.take() {
            self.pool.release(pieces.index);
        }
    }
}

#[cfg(test)]
mod tests;
