//! The reorder buffer written down: what waits, in the order in which it came, and how far it lies ahead of the head.

use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{SerializeTuple, Serializer};
use serde::{Deserialize, Serialize};

use crate::reorder::{Occupancy, Reorder, ReorderSlot};
use crate::state::{Each, Head, List, Misfit, fill, head_of, part, plain};

/// A packet that waits.
#[derive(Serialize, Deserialize)]
struct Held {
    /// Numbers from the head to it; of the spare one nothing.
    ahead: u16,
    release: u32,
    len: u16,
    head: Head,
}

/// Its form.
pub(crate) struct Saved<'a>(pub(crate) &'a Reorder<'a>);

impl Reorder<'_> {
    fn held_at(&self, index: usize, ahead: usize) -> Option<Held> {
        let &ReorderSlot { release, len, .. } = self.slots.get(index)?;
        let packet = self.bytes.get(self.cell_range(index, len.into()))?;
        Some(Held { ahead: u16::try_from(ahead).ok()?, release, len, head: head_of(packet) })
    }

    /// What waits in the ring, the oldest first.
    fn by_arrival(&self) -> impl Iterator<Item = Held> + Clone + '_ {
        let mut next = self.oldest;
        let places = core::iter::from_fn(move || {
            let place = next?;
            next = self.slots.get(place.index())?.newer;
            Some(place)
        });
        places.filter_map(|place| self.held_at(place.index(), self.number_at(place).ahead_of(self.head)?))
    }

    /// Puts a packet where it lay.
    fn put_back(&mut self, index: usize, held: &Held) -> Result<(), Misfit> {
        if usize::from(held.len) > self.cell {
            return Err(Misfit("a packet that waits is larger than its place"));
        }
        let range = self.cell_range(index, held.len.into());
        let place = self.bytes.get_mut(range).ok_or(Misfit("there is no place for a packet that waits"))?;
        fill(place, &held.head);
        let slot = self.slots.get_mut(index).ok_or(Misfit("there is no place for a packet that waits"))?;
        (slot.release, slot.len) = (held.release, held.len);
        Ok(())
    }
}

impl Serialize for Saved<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(reorder) = self;
        let spare = reorder.spare.and_then(|_| reorder.held_at(reorder.window, 0));
        let mut parts = serializer.serialize_tuple(4)?;
        parts.serialize_element(reorder)?;
        parts.serialize_element(&reorder.slots.len())?;
        parts.serialize_element(&List(reorder.count, reorder.by_arrival()))?;
        parts.serialize_element(&spare)?;
        parts.end()
    }
}

/// Reads it into lent memory.
pub(crate) struct Restore<'s>(pub(crate) (&'s mut [ReorderSlot], &'s mut [u8]));

impl<'de, 's> DeserializeSeed<'de> for Restore<'s> {
    type Value = Reorder<'s>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Reorder<'s>, D::Error> {
        deserializer.deserialize_tuple(4, self)
    }
}

impl<'de, 's> Visitor<'de> for Restore<'s> {
    type Value = Reorder<'s>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a reorder buffer")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Reorder<'s>, A::Error> {
        let Self((slots, bytes)) = self;
        slots.fill(ReorderSlot::default());
        let saved: Reorder<'s> = plain(&mut parts)?;
        let cell = bytes.len().checked_div(slots.len()).unwrap_or(0).min(usize::from(u16::MAX));
        let len: usize = plain(&mut parts)?;
        if (len, saved.cell) != (slots.len(), cell) || saved.window > slots.len().saturating_sub(1) {
            return Err(A::Error::custom(Misfit("the reorder buffer had memory of another size")));
        }
        let occupancy = Occupancy::new(saved.window);
        let mut reorder = Reorder { slots, bytes, occupancy, ..saved };
        part(
            &mut parts,
            Each::new(|held: Held| {
                let ahead = usize::from(held.ahead);
                // The ring begins with the head's place.
                if ahead >= reorder.window || reorder.occupancy.contains(reorder.slots, ahead) {
                    return Err(Misfit("a packet that waits has no place"));
                }
                reorder.put_back(ahead, &held)?;
                reorder.link(ahead);
                Ok(())
            }),
        )?;
        let spare: Option<Held> = plain(&mut parts)?;
        if spare.is_some() != reorder.spare.is_some() {
            return Err(A::Error::custom(Misfit("the spare packet is not there")));
        }
        if let Some(held) = spare {
            reorder.put_back(reorder.window, &held).map_err(A::Error::custom)?;
        }
        Ok(reorder)
    }
}
