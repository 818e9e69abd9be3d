//! The places of the reorder buffer, and what becomes of a packet that is put there.

use core::num::NonZeroU16;

/// One place in the reorder buffer. `Default` is empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReorderSlot {
    /// Stamp of when it may be delivered: of when it came, unless the sender wants it held for longer.
    pub(super) release: u32,
    /// Bytes of the packet.
    pub(super) len: u16,
    /// The place of the packet that came before this one, and after.
    pub(super) older: Option<Place>,
    pub(super) newer: Option<Place>,
    /// A word of the [`Occupancy`](super::Occupancy) tree; it has nothing to do with this place.
    pub(super) tree: u16,
}

/// What a window costs beside the packets.
const _: () = assert!(size_of::<ReorderSlot>() == 12);

/// A place in the ring, or the spare place behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(NonZeroU16);

impl Place {
    pub(super) fn at(index: usize) -> Option<Self> {
        u16::try_from(index).ok()?.checked_add(1).and_then(NonZeroU16::new).map(Self)
    }

    pub(super) const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Insert {
    /// It is next: deliver it now, from where it lies.
    Next,
    /// It waits.
    Held,
    /// It was taken before.
    Duplicate,
    /// It was given up before, or lies too far back to tell.
    Late,
    /// It does not fit a slot.
    TooLarge,
    /// There is no room, as the caller has not drained the buffer.
    Full,
}
