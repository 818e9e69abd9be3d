//! Memory that a sealer is lent: by a program that has a heap as one [`Memory`], by others part by part.

use mpt_proto::{Instant, MAX_PATHS};

use crate::budget::SourceSlot;
use crate::hash::MAC_LEN;
use crate::index::IndexSlot;
use crate::limits::EPOCHS;
use crate::peer::Peer;

#[cfg(any(feature = "alloc", test))]
pub use owned::Memory;

/// The place of a peer; lent by [`Storage`].
pub struct PeerSlot<K>(pub(super) Option<Peer<K>>);

impl<K> Default for PeerSlot<K> {
    fn default() -> Self {
        Self(None)
    }
}

/// The place for word of an initiation that was answered; lent by [`Storage`].
#[derive(Debug, Clone, Copy, Default)]
pub struct RecentSlot {
    pub(super) mac1: [u8; MAC_LEN],
    pub(super) peer: u16,
    pub(super) at: Instant,
}

/// Memory that a [`Sealer`](crate::Sealer) is lent for its life.
pub struct Storage<'s, K> {
    /// One for each peer.
    pub peers: &'s mut [PeerSlot<K>],
    /// As many as peers.
    pub order: &'s mut [u16],
    /// At least [`INDEX_SLOTS_PER_PEER`](crate::INDEX_SLOTS_PER_PEER) for each peer; a power of two of them is used.
    pub index: &'s mut [IndexSlot],
    /// At least [`WINDOW_WORDS_MIN`] for each peer. The more, the further a datagram may be behind the newest of its path: by 64
    /// numbers for each word of the path's window but one. What is not used is not touched.
    pub windows: &'s mut [u64],
    /// Sources with a cookie that are counted one by one: 1,024 on a server, none on a device with one peer.
    pub sources: &'s mut [SourceSlot],
    /// Initiations whose copies are known without a Diffie-Hellman: 64 on a server, one on a device with one peer.
    pub recent: &'s mut [RecentSlot],
}

/// Words of the windows of one peer at least: two for each path and epoch, so that a datagram may be 64 numbers late.
pub const WINDOW_WORDS_MIN: usize = 2 * WINDOWS;
/// Windows of one peer.
pub(super) const WINDOWS: usize = MAX_PATHS * EPOCHS;

#[cfg(any(feature = "alloc", test))]
mod owned {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::{IndexSlot, PeerSlot, RecentSlot, SourceSlot, Storage, WINDOWS};
    use crate::index::INDEX_SLOTS_PER_PEER;

    /// Memory of the heap for a sealer. Pages of it that are never written to cost nothing.
    pub struct Memory<K> {
        peers: Vec<PeerSlot<K>>,
        order: Vec<u16>,
        index: Vec<IndexSlot>,
        windows: Vec<u64>,
        sources: Vec<SourceSlot>,
        recent: Vec<RecentSlot>,
    }

    impl<K> Memory<K> {
        /// For this many peers, with windows of `window_words` words for each path and epoch, and as many sources and recent initiations
        /// as [`Storage`] tells of.
        pub fn new(peers: usize, window_words: usize, sources: usize, recent: usize) -> Self {
            Self {
                peers: core::iter::repeat_with(PeerSlot::default).take(peers).collect(),
                order: vec![0; peers],
                index: vec![IndexSlot::default(); (peers * INDEX_SLOTS_PER_PEER).next_power_of_two()],
                windows: vec![0; peers * WINDOWS * window_words],
                sources: vec![SourceSlot::default(); sources],
                recent: vec![RecentSlot::default(); recent],
            }
        }

        /// Lends it.
        pub fn lend(&mut self) -> Storage<'_, K> {
            Storage {
                peers: &mut self.peers,
                order: &mut self.order,
                index: &mut self.index,
                windows: &mut self.windows,
                sources: &mut self.sources,
                recent: &mut self.recent,
            }
        }
    }
}
