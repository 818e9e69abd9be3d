//! The slots that connections lie in, and lists through them.

use core::num::NonZeroU32;

use crate::time::Instant;

/// The place of a slot among all, less by one than the number kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Place(NonZeroU32);

impl Place {
    /// That of the first slot.
    pub(super) const FIRST: Self = Self(NonZeroU32::MIN);

    pub(super) fn at(index: usize) -> Option<Self> {
        u32::try_from(index).ok()?.checked_add(1).and_then(NonZeroU32::new).map(Self)
    }

    pub(super) const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Names a connection of an [`Endpoint`](crate::Endpoint): a slot, and how many were in it before. One that went and one that came later
/// never have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Handle {
    pub(super) place: Place,
    generation: u32,
}

impl Handle {
    /// Of the first connection in a slot.
    pub(super) const fn first_of(place: Place) -> Self {
        Self { place, generation: 0 }
    }

    /// The position of its slot, from 0 on: an index into tables of the caller's. Another connection may have it later.
    pub const fn index(self) -> usize {
        self.place.index()
    }
}

/// Room for a connection of an [`Endpoint`](crate::Endpoint). `Default` is empty.
#[derive(Debug)]
pub struct Slot<T> {
    pub(super) value: Option<T>,
    /// How many were in it before.
    generation: u32,
    /// It is in the list of those that are to be settled.
    pub(super) is_touched: bool,
    next_touched: Option<Place>,
    next_free: Option<Place>,
    /// Where its deadline stands in the heap, if it has one.
    pub(super) rank: Option<Place>,
    /// What stands in the heap at the place of this slot: a deadline, and whose it is.
    pub(super) node: (Instant, Place),
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            value: None,
            generation: 0,
            is_touched: false,
            next_touched: None,
            next_free: None,
            rank: None,
            node: (Instant::ZERO, Place::FIRST),
        }
    }
}

impl<T> Slot<T> {
    /// The handle of what is in it, at this place, or comes to it next.
    pub(super) const fn handle(&self, place: Place) -> Handle {
        Handle { place, generation: self.generation }
    }

    /// Whether what is in it has this handle.
    pub(super) const fn is_of(&self, handle: Handle) -> bool {
        self.value.is_some() && self.generation == handle.generation
    }

    /// What comes next has another handle. `false`: there are no more, and the slot stays empty.
    pub(super) const fn begin_another(&mut self) -> bool {
        self.generation = self.generation.saturating_add(1);
        self.generation < u32::MAX
    }

    #[cfg(test)]
    pub(super) const fn set_generation(&mut self, generation: u32) {
        self.generation = generation;
    }

    /// For [`List`].
    pub(super) const fn next_touched(&mut self) -> &mut Option<Place> {
        &mut self.next_touched
    }

    /// For [`List`].
    pub(super) const fn next_free(&mut self) -> &mut Option<Place> {
        &mut self.next_free
    }
}

/// Slots in a row, first in first out, linked by one of their fields.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct List {
    head: Option<Place>,
    tail: Option<Place>,
}

impl List {
    pub(super) const fn first(&self) -> Option<Place> {
        self.head
    }

    pub(super) fn push<T>(
        &mut self,
        slots: &mut [Slot<T>],
        place: Place,
        link: fn(&mut Slot<T>) -> &mut Option<Place>,
    ) {
        if let Some(slot) = slots.get_mut(place.index()) {
            *link(slot) = None;
        }
        match self.tail.and_then(|tail| slots.get_mut(tail.index())) {
            Some(tail) => *link(tail) = Some(place),
            None => self.head = Some(place),
        }
        self.tail = Some(place);
    }

    pub(super) fn pop<T>(
        &mut self,
        slots: &mut [Slot<T>],
        link: fn(&mut Slot<T>) -> &mut Option<Place>,
    ) -> Option<Place> {
        let place = self.head?;
        self.head = slots.get_mut(place.index()).and_then(|slot| *link(slot));
        if self.head.is_none() {
            self.tail = None;
        }
        Some(place)
    }
}
