//! The packets that a sender keeps: those that wait for a path, and those that may have to be sent again. Slots of
//! lent memory, linked into lists.

use core::num::NonZeroU16;
use core::ops::Range;

use crate::adaptive::class::RuleNumber;
use crate::seq::Seq;
use crate::wire::HEADROOM;
use crate::wire::copy;

/// One packet that is kept for sending. `Default` is empty.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct PacketSlot {
    #[cfg_attr(feature = "state", serde(skip))]
    next: Option<Index>,
    /// Bytes of the packet, behind [`HEADROOM`].
    pub(super) len: u16,
    /// The flow it belongs to.
    pub(super) flow: u16,
    /// Its number in the sequence it belongs to, from when it was first sent.
    pub(super) seq: Seq,
    /// Its number on the path it left on last.
    pub(super) number: u32,
    /// Stamp of when it came; once sent, of when it was first sent.
    pub(super) since: u32,
    /// Stamp of when it was last sent.
    pub(super) sent: u32,
    /// Whether the receiver may deliver it out of order.
    pub(super) unordered: bool,
    /// The rule of the configuration that fits it.
    pub(super) rule: Option<RuleNumber>,
    /// Highest tier of the paths that it may take, as long as one of those is up.
    pub(super) tier: Option<u8>,
    /// It is a slice, and more of its packet follow.
    pub(super) continues: bool,
    /// Times it was sent.
    pub(super) tries: u8,
}

impl PacketSlot {
    /// Whether it is bulk that waits for paths of its tier and of lower ones.
    pub(super) const fn is_bound(&self) -> bool {
        self.tier.is_some() && !self.unordered
    }

    /// The one behind it in its list.
    #[cfg(feature = "state")]
    pub(super) const fn next(&self) -> Option<Index> {
        self.next
    }
}

/// What a packet costs beside its bytes.
const _: () = assert!(size_of::<PacketSlot>() <= 28);

/// A slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Index(NonZeroU16);

impl Index {
    fn at(index: usize) -> Option<Self> {
        u16::try_from(index).ok()?.checked_add(1).and_then(NonZeroU16::new).map(Self)
    }

    const fn get(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Slots in a row, first in first out.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "state", derive(PartialEq))]
pub(super) struct List {
    head: Option<Index>,
    tail: Option<Index>,
}

impl List {
    pub(super) const fn first(&self) -> Option<Index> {
        self.head
    }

    pub(super) const fn last(&self) -> Option<Index> {
        self.tail
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.head.is_none()
    }
}

/// All slots.
///
/// Invariant: every slot is in exactly one list, those of the pool's owner or `free`.
#[derive(Debug, Default)]
pub(super) struct Pool<'s> {
    slots: &'s mut [PacketSlot],
    bytes: &'s mut [u8],
    /// Bytes of `bytes` for each slot.
    cell: usize,
    free: List,
}

impl<'s> Pool<'s> {
    pub(super) fn new(slots: &'s mut [PacketSlot], bytes: &'s mut [u8]) -> Self {
        let cell = bytes.len().checked_div(slots.len()).unwrap_or(0).min(usize::from(u16::MAX));
        let mut pool = Self { slots, bytes, cell, free: List::default() };
        let mut free = List::default();
        for index in (0..pool.slots.len()).filter_map(Index::at) {
            pool.push(&mut free, index);
        }
        pool.free = free;
        pool
    }

    /// Its memory, for another one.
    pub(super) fn into_memory(self) -> (&'s mut [PacketSlot], &'s mut [u8]) {
        (self.slots, self.bytes)
    }

    /// Slots, free or not.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether a packet of so many bytes fits a slot.
    pub(super) const fn fits(&self, len: usize) -> bool {
        HEADROOM + len <= self.cell
    }

    /// Copies a packet that [fits](Self::fits) into a free slot, if there is one.
    pub(super) fn store(&mut self, packet: &[u8]) -> Option<Index> {
        let mut free = self.free;
        let index = self.pop(&mut free)?;
        self.free = free;
        *self.slot_mut(index)? =
            PacketSlot { len: u16::try_from(packet.len()).unwrap_or(0), ..PacketSlot::default() };
        copy(self.packet_mut(index), packet);
        Some(index)
    }

    /// Puts another packet that [fits](Self::fits) in the place of one.
    pub(super) fn replace(&mut self, index: Index, packet: &[u8]) {
        if let Some(slot) = self.slot_mut(index) {
            slot.len = u16::try_from(packet.len()).unwrap_or(0);
        }
        copy(self.packet_mut(index), packet);
    }

    /// Gives a slot back that is in no list. It is the next to be taken, so that memory is touched only where it is
    /// needed, and is still in the caches.
    pub(super) fn release(&mut self, index: Index) {
        let next = self.free.head;
        if let Some(slot) = self.slot_mut(index) {
            slot.next = next;
        }
        self.free.head = Some(index);
        self.free.tail = self.free.tail.or(Some(index));
    }

    pub(super) fn push(&mut self, list: &mut List, index: Index) {
        if let Some(slot) = self.slot_mut(index) {
            slot.next = None;
        }
        match list.tail.and_then(|tail| self.slot_mut(tail)) {
            Some(tail) => tail.next = Some(index),
            None => list.head = Some(index),
        }
        list.tail = Some(index);
    }

    /// Puts `first` before what is in `list`.
    pub(super) fn prepend(&mut self, first: List, list: &mut List) {
        let Some(slot) = first.tail.and_then(|tail| self.slot_mut(tail)) else { return };
        slot.next = list.head;
        *list = List { head: first.head, tail: list.tail.or(first.tail) };
    }

    pub(super) fn pop(&mut self, list: &mut List) -> Option<Index> {
        let index = list.head?;
        list.head = self.slot(index)?.next;
        if list.head.is_none() {
            list.tail = None;
        }
        Some(index)
    }

    #[cfg(feature = "state")]
    pub(super) const fn cell(&self) -> usize {
        self.cell
    }

    /// Takes a free slot for a packet of which this was known.
    #[cfg(feature = "state")]
    pub(super) fn put_back(&mut self, slot: PacketSlot) -> Option<Index> {
        let mut free = self.free;
        let index = self.pop(&mut free)?;
        self.free = free;
        *self.slot_mut(index)? = slot;
        Some(index)
    }

    #[cfg(feature = "state")]
    pub(super) fn packet(&self, index: Index) -> &[u8] {
        self.bytes.get(self.range(index, 0)).unwrap_or_default()
    }

    pub(super) fn slot(&self, index: Index) -> Option<&PacketSlot> {
        self.slots.get(index.get())
    }

    pub(super) fn slot_mut(&mut self, index: Index) -> Option<&mut PacketSlot> {
        self.slots.get_mut(index.get())
    }

    pub(super) fn packet_mut(&mut self, index: Index) -> &mut [u8] {
        self.datagram_mut(index, 0)
    }

    /// The packet with so many bytes of its headroom.
    pub(super) fn datagram_mut(&mut self, index: Index, headroom: usize) -> &mut [u8] {
        let range = self.range(index, headroom);
        self.bytes.get_mut(range).unwrap_or_default()
    }

    fn range(&self, index: Index, headroom: usize) -> Range<usize> {
        let start = index.get() * self.cell + HEADROOM;
        let len = self.slot(index).map_or(0, |slot| usize::from(slot.len));
        start.saturating_sub(headroom)..start + len
    }
}

#[cfg(test)]
mod tests;
