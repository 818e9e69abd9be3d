//! Fragments that wait for others, written down: which pieces came, and the first bytes of the packet.

use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{SerializeTuple, Serializer};
use serde::{Deserialize, Serialize};

use crate::reassembly::{Reassembly, ReassemblySlot};
use crate::state::{Each, FIRST_BYTES, Head, List, Misfit, fill, head_of, part, plain};

/// A packet that was put together, and was not delivered yet.
#[derive(Serialize, Deserialize)]
struct Complete {
    index: usize,
    len: usize,
    head: Head,
}

/// Its form. `assembled`: the packet that was completed last waits to be delivered.
pub(crate) struct Saved<'a> {
    pub(crate) reassembly: &'a Reassembly<'a>,
    pub(crate) assembled: bool,
}

impl Reassembly<'_> {
    /// The first bytes of a packet, as far as they came.
    fn first_bytes(&self, index: usize, slot: &ReassemblySlot) -> Option<[u8; FIRST_BYTES.len()]> {
        slot.expires?;
        let packet = self.bytes.get(index * self.max_packet()..)?;
        let mut first = [0; FIRST_BYTES.len()];
        for (at, (to, from)) in first.iter_mut().zip(packet).enumerate() {
            let piece = at.checked_div(slot.size.into()).unwrap_or(0);
            if slot.pieces & 1 << piece != 0 {
                *to = *from;
            }
        }
        Some(first)
    }
}

impl Serialize for Saved<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { reassembly, assembled } = *self;
        let (index, len) = reassembly.complete;
        let complete = assembled.then(|| Complete { index, len, head: head_of(reassembly.packet()) });
        let slots = reassembly.slots.iter().enumerate();
        let slots = slots.map(|(index, slot)| (*slot, reassembly.first_bytes(index, slot)));
        let mut parts = serializer.serialize_tuple(4)?;
        parts.serialize_element(reassembly)?;
        parts.serialize_element(&reassembly.bytes.len())?;
        parts.serialize_element(&List(reassembly.slots.len(), slots))?;
        parts.serialize_element(&complete)?;
        parts.end()
    }
}

/// Reads it into lent memory.
pub(crate) struct Restore<'s>(pub(crate) (&'s mut [ReassemblySlot], &'s mut [u8]));

impl<'de, 's> DeserializeSeed<'de> for Restore<'s> {
    type Value = (Reassembly<'s>, bool);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_tuple(4, self)
    }
}

impl<'de, 's> Visitor<'de> for Restore<'s> {
    type Value = (Reassembly<'s>, bool);

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("fragments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let Self((slots, bytes)) = self;
        let other_size = || Misfit("fragments had memory of another size");
        let saved: Reassembly<'s> = plain(&mut parts)?;
        if plain::<_, usize>(&mut parts)? != bytes.len() {
            return Err(A::Error::custom(other_size()));
        }
        let mut count = 0;
        let cell = bytes.len().checked_div(slots.len()).unwrap_or(0);
        part(
            &mut parts,
            Each::new(|(slot, first): (ReassemblySlot, Option<[u8; FIRST_BYTES.len()]>)| {
                let start = count * cell;
                let place = slots.get_mut(count).ok_or_else(other_size)?;
                *place = slot;
                if let (Some(first), Some(packet)) = (first, bytes.get_mut(start..start + cell)) {
                    fill(packet, &first);
                }
                count += 1;
                Ok(())
            }),
        )?;
        let complete: Option<Complete> = plain(&mut parts)?;
        if count != slots.len() {
            return Err(A::Error::custom(other_size()));
        }
        let mut reassembly = Reassembly { slots, bytes, ..saved };
        if let Some(Complete { index, len, head }) = &complete {
            if *index >= count || *len > cell {
                return Err(A::Error::custom(Misfit("a packet that was put together has no place")));
            }
            reassembly.complete = (*index, *len);
            let start = index * cell;
            fill(reassembly.bytes.get_mut(start..start + len).unwrap_or_default(), head);
        }
        Ok((reassembly, complete.is_some()))
    }
}
