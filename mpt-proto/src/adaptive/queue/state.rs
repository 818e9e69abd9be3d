//! A queue written down: what is known of the flows that are not as new, and whose turn it is. Packets follow from outside.

use core::fmt;

use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::ser::{SerializeTuple, Serializer};

use crate::adaptive::pool::{Index, List as Row, Pool};
use crate::adaptive::queue::{FlowSlot, Flows, Number, Queue, Turn, narrow};
use crate::state::{Each, List, Misfit, part, plain};

/// Its form.
pub(in crate::adaptive) struct Saved<'a>(pub(in crate::adaptive) &'a Queue<'a>);

impl<'s> Queue<'s> {
    /// How many flows it tells apart.
    pub(in crate::adaptive) const fn places(&self) -> usize {
        self.flows.len()
    }

    /// The packets of each flow.
    pub(in crate::adaptive) fn rows(&self) -> impl Iterator<Item = Row> + Clone + '_ {
        self.flows.iter().map(|flow| flow.packets)
    }

    /// Flows of which something is known that counts, with their numbers.
    fn known(&self) -> impl Iterator<Item = (u16, FlowSlot)> + Clone + '_ {
        let flows = self.flows.iter().enumerate().map(|(number, flow)| (narrow(number), *flow));
        let without = |flow: &FlowSlot| FlowSlot {
            packets: Row::default(),
            bytes: 0,
            next: None,
            turn: Turn::None,
            ..*flow
        };
        flows.filter(move |(_, flow)| without(flow) != FlowSlot::default())
    }

    fn turns(&self, flows: &Flows) -> impl Iterator<Item = u16> + Clone + '_ {
        core::iter::successors(flows.head, |number| self.flows.get(usize::from(number.get()))?.next)
            .map(Number::get)
    }

    /// Puts a packet back behind those of its flow.
    pub(in crate::adaptive) fn put_back(&mut self, pool: &mut Pool<'_>, index: Index) -> Result<(), Misfit> {
        let slot = pool.slot(index).copied().unwrap_or_default();
        let flow = self.flows.get_mut(usize::from(slot.flow));
        let flow =
            flow.filter(|flow| flow.turn != Turn::None).ok_or(Misfit("a packet waits without a turn"))?;
        pool.push(&mut flow.packets, index);
        flow.bytes = flow.bytes.saturating_add(u32::from(slot.len));
        self.packets = self.packets.checked_add(1).ok_or(Misfit("more packets wait than can be"))?;
        Ok(())
    }
}

impl Serialize for Saved<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(queue) = *self;
        let of = |flows| (queue.turns(flows).count(), queue.turns(flows));
        let mut parts = serializer.serialize_tuple(5)?;
        parts.serialize_element(&queue.longest)?;
        parts.serialize_element(&List(queue.known().count(), queue.known()))?;
        for flows in [&queue.fresh, &queue.old, &queue.bound] {
            let (count, turns) = of(flows);
            parts.serialize_element(&List(count, turns))?;
        }
        parts.end()
    }
}

/// Reads it into a queue that is empty.
pub(in crate::adaptive) struct Restore<'a, 's>(pub(in crate::adaptive) &'a mut Queue<'s>);

impl<'de> DeserializeSeed<'de> for Restore<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_tuple(5, self)
    }
}

impl<'de> Visitor<'de> for Restore<'_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a queue of packets")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<(), A::Error> {
        let Self(queue) = self;
        queue.longest = plain(&mut parts)?;
        part(
            &mut parts,
            Each::new(|(number, flow): (u16, FlowSlot)| {
                let place = queue.flows.get_mut(usize::from(number));
                *place.ok_or(Misfit("a flow has no place"))? = flow;
                Ok(())
            }),
        )?;
        for turn in [Turn::Fresh, Turn::Old, Turn::Bound] {
            part(
                &mut parts,
                Each::new(|number: u16| {
                    let flow = queue.flows.get(usize::from(number));
                    flow.filter(|flow| flow.turn == Turn::None).ok_or(Misfit("a flow has two turns"))?;
                    queue.append(number, turn);
                    Ok(())
                }),
            )?;
        }
        Ok(())
    }
}
