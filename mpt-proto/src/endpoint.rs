//! Many connections in one place: handles that are never mistaken, what is to be settled, and which deadline is first.

mod deadlines;
mod slot;

use core::marker::PhantomData;

use crate::connection::Connection;
use crate::time::Instant;

use deadlines::Deadlines;
pub use slot::{Handle, Slot};
use slot::{List, Place};

/// What an [`Endpoint`] has to know of what it owns.
pub trait Timed {
    /// When it wants to be called next; `None`: not by itself.
    fn poll_timeout(&self) -> Option<Instant>;
}

impl Timed for Connection<'_> {
    fn poll_timeout(&self) -> Option<Instant> {
        Connection::poll_timeout(self)
    }
}

/// Many connections, each with what its caller keeps beside it, as one `T`.
///
/// No call takes longer the more of them there are, but for the deadlines: a change of one takes steps in proportion to the logarithm of
/// their number. The slots are lent (`&mut [Slot<T>]`, an array) or grow (`Vec<Slot<T>>`); one that was never used is never touched.
///
/// The endpoint knows which of its connections have something to do, if it is driven like this:
///
/// 1. Change a connection through [`get_mut`](Self::get_mut): it is *touched* from then on. What is due is touched by
///    [`next_due`](Self::next_due).
/// 2. At the end of a wake-up take what was touched, one after the other, by [`next_touched`](Self::next_touched). Drain each as
///    [`Connection`] asks for, and report it by [`settled`](Self::settled): its deadline is noted.
/// 3. Wait until [`poll_timeout`](Self::poll_timeout).
///
/// ```
/// use mpt_proto::{Config, Connection, Endpoint, Instant, PathConfig, Slot, Storage};
///
/// let now = Instant::from_micros(1);
/// let mut slots: [Slot<Connection<'_>>; 4] = Default::default();
/// let mut endpoint = Endpoint::new(&mut slots[..]);
/// let mut new = Connection::new(Config::default(), Storage::none(), now);
/// new.add_path(PathConfig::default(), now).unwrap();
/// let handle = endpoint.insert(new).unwrap();
///
/// while let Some((handle, connection)) = endpoint.next_touched() {
///     // Drain it: packets, datagrams, events.
///     connection.handle_timeout(now);
///     endpoint.settled(handle);
/// }
/// let deadline = endpoint.poll_timeout().unwrap();
/// assert_eq!(endpoint.next_due(deadline), Some(handle));
///
/// endpoint.remove(handle);
/// let other = Connection::new(Config::default(), Storage::none(), now);
/// assert_ne!(endpoint.insert(other).unwrap(), handle);
/// assert!(endpoint.get(handle).is_none(), "it has gone, and what came to its slot is another one");
/// ```
#[derive(Debug)]
pub struct Endpoint<T, S> {
    slots: S,
    /// How many slots were ever used: those behind them are as they were lent.
    used: usize,
    /// Slots that are free again, the one that is free for longest first.
    free: List,
    /// Slots that were touched since they were settled. One whose connection has gone may be among them.
    touched: List,
    deadlines: Deadlines,
    len: usize,
    owned: PhantomData<T>,
}

impl<T, S: AsRef<[Slot<T>]> + AsMut<[Slot<T>]>> Endpoint<T, S> {
    /// Without connections. What the slots hold is dropped when they are used.
    pub fn new(slots: S) -> Self {
        Self {
            slots,
            used: 0,
            free: List::default(),
            touched: List::default(),
            deadlines: Deadlines::default(),
            len: 0,
            owned: PhantomData,
        }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds slots, where these can grow.
    pub fn add_slots(&mut self, count: usize)
    where
        S: Extend<Slot<T>>,
    {
        self.slots.extend((0..count).map(|_| Slot::default()));
    }

    /// The handle of the next one that is inserted; `None`: there is no room.
    pub fn next_handle(&self) -> Option<Handle> {
        let slots = self.slots.as_ref();
        match self.free.first() {
            Some(place) => Some(slots.get(place.index())?.handle(place)),
            None if self.used < slots.len() => Place::at(self.used).map(Handle::first_of),
            None => None,
        }
    }

    /// Takes one in, which counts as touched.
    ///
    /// # Errors
    /// There is no room: here it is again.
    pub fn insert(&mut self, value: T) -> Result<Handle, T> {
        let Some(handle) = self.next_handle() else { return Err(value) };
        let slots = self.slots.as_mut();
        if self.free.pop(slots, Slot::next_free).is_none() {
            self.used += 1;
            if let Some(slot) = slots.get_mut(handle.place.index()) {
                *slot = Slot::default();
            }
        }
        if let Some(slot) = slots.get_mut(handle.place.index()) {
            slot.value = Some(value);
        }
        self.len += 1;
        self.touch(handle);
        Ok(handle)
    }

    /// Takes one out. Its handle is nobody's from then on.
    pub fn remove(&mut self, handle: Handle) -> Option<T> {
        let slots = self.slots.as_mut();
        let slot = slots.get_mut(..self.used)?.get_mut(handle.place.index())?;
        let value = if slot.is_of(handle) { slot.value.take()? } else { return None };
        let is_spent = !slot.begin_another();
        self.len -= 1;
        self.deadlines.set(slots, handle.place, None);
        if !is_spent {
            self.free.push(slots, handle.place, Slot::next_free);
        }
        Some(value)
    }

    /// The one with this handle, to be looked at.
    pub fn get(&self, handle: Handle) -> Option<&T> {
        let slot = self.slots.as_ref().get(..self.used)?.get(handle.place.index())?;
        if slot.is_of(handle) { slot.value.as_ref() } else { None }
    }

    /// The one with this handle, to be changed: it is touched.
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        self.touch(handle);
        let slot = self.slots.as_mut().get_mut(..self.used)?.get_mut(handle.place.index())?;
        if slot.is_of(handle) { slot.value.as_mut() } else { None }
    }

    /// All of them, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        let slots = self.slots.as_ref().iter().take(self.used).enumerate();
        slots.filter_map(|(index, slot)| Some((slot.handle(Place::at(index)?), slot.value.as_ref()?)))
    }

    /// All of them, for changes after which there is nothing to settle: none is touched.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Handle, &mut T)> {
        let slots = self.slots.as_mut().iter_mut().take(self.used).enumerate();
        slots.filter_map(|(index, slot)| Some((slot.handle(Place::at(index)?), slot.value.as_mut()?)))
    }

    fn touch(&mut self, handle: Handle) {
        let slots = self.slots.as_mut();
        if let Some(slot) = slots.get_mut(..self.used).and_then(|used| used.get_mut(handle.place.index()))
            && slot.is_of(handle)
            && !core::mem::replace(&mut slot.is_touched, true)
        {
            self.touched.push(slots, handle.place, Slot::next_touched);
        }
    }

    /// Whether something may be to be settled: if not, [`next_touched`](Self::next_touched) has nothing.
    pub fn some_are_touched(&self) -> bool {
        self.touched.first().is_some()
    }

    /// The next one that was touched, in the order in which they were. Settle it, and say so by [`settled`](Self::settled).
    pub fn next_touched(&mut self) -> Option<(Handle, &mut T)> {
        let slots = self.slots.as_mut();
        let place = loop {
            let place = self.touched.pop(slots, Slot::next_touched)?;
            let slot = slots.get_mut(place.index())?;
            slot.is_touched = false;
            if slot.value.is_some() {
                break place;
            }
        };
        let slot = slots.get_mut(place.index())?;
        Some((slot.handle(place), slot.value.as_mut()?))
    }

    /// When [`next_due`](Self::next_due) has something.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first(self.slots.as_ref()).map(|(at, _)| at)
    }

    /// The one whose deadline is first, if that has come. It is touched, and has no deadline until it is [settled](Self::settled).
    pub fn next_due(&mut self, now: Instant) -> Option<Handle> {
        let slots = self.slots.as_mut();
        let (_, place) = self.deadlines.first(slots).filter(|(at, _)| *at <= now)?;
        self.deadlines.set(slots, place, None);
        let handle = slots.get(place.index())?.handle(place);
        self.touch(handle);
        Some(handle)
    }
}

impl<T: Timed, S: AsRef<[Slot<T>]> + AsMut<[Slot<T>]>> Endpoint<T, S> {
    /// Notes what one waits for, after it was settled.
    pub fn settled(&mut self, handle: Handle) {
        if let Some(value) = self.get(handle) {
            let deadline = value.poll_timeout();
            self.deadlines.set(self.slots.as_mut(), handle.place, deadline);
        }
    }
}

#[cfg(test)]
mod tests;
