//! Packets that wait for a path: flows take turns (deficit round robin, as RFC 8290), each with its own `CoDel`, so that the
//! bond is one well-managed bottleneck and a bulk flow does not hold back a sparse one.

#[cfg(feature = "state")]
mod state;

use crate::adaptive::class::{Behaviour, Travel};
use crate::adaptive::codel::{Bounds, Codel};
use crate::adaptive::pool::{Index, List, Pool};
use crate::adaptive::tuning::{DROP_BATCH, L4S_MARK, WAYS};
use crate::ecn::Ecn;
use crate::wire::ip;

#[cfg(feature = "state")]
pub(super) use state::{Restore, Saved};

/// One bucket of flows. `Default` is empty.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "state", derive(PartialEq, serde::Serialize, serde::Deserialize))]
pub struct FlowSlot {
    #[cfg_attr(feature = "state", serde(skip))]
    packets: List,
    #[cfg_attr(feature = "state", serde(skip))]
    bytes: u32,
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::small"))]
    deficit: i32,
    codel: Codel,
    #[cfg_attr(feature = "state", serde(skip))]
    next: Option<u16>,
    #[cfg_attr(feature = "state", serde(skip))]
    turn: Turn,
    /// What the flow was seen to do.
    behaviour: Behaviour,
    /// The packet that left last is a slice, and more of its packet follow: the turn does not end here, so that the
    /// receiver need not join the slices of many packets at once.
    continues: bool,
}

/// The list of flows that a flow is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Turn {
    #[default]
    None,
    /// It began to send, and had no more than its quantum since: it goes before the others.
    Fresh,
    Old,
}

/// Flows in a row.
#[derive(Debug, Default)]
struct Flows {
    head: Option<u16>,
    tail: Option<u16>,
}

/// What was dropped and marked.
#[derive(Debug, Default, Clone, Copy)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Counts {
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    pub(super) dropped: u64,
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    pub(super) marked: u64,
}

/// See the module.
///
/// Invariant: `packets` are in the lists of the flows; a flow is in a list of flows if it has packets.
#[derive(Debug, Default)]
pub(super) struct Queue<'s> {
    flows: &'s mut [FlowSlot],
    fresh: Flows,
    old: Flows,
    /// Flows in `old`.
    old_flows: u16,
    /// Bytes of one turn.
    quantum: u16,
    packets: u16,
    /// The longest flow, of those that packets came for since another one was.
    longest: u16,
}

impl<'s> Queue<'s> {
    pub(super) fn new(flows: &'s mut [FlowSlot], quantum: u16) -> Self {
        flows.fill(FlowSlot::default());
        Self { flows, quantum, ..Self::default() }
    }

    /// Its memory, for another one.
    pub(super) fn into_memory(self) -> &'s mut [FlowSlot] {
        self.flows
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// Packets that wait.
    pub(super) const fn len(&self) -> usize {
        self.packets as usize
    }

    /// The bucket of a flow with this hash, and whether the flow has it for itself. Of [`WAYS`] that it may have, it keeps the one it
    /// had, or takes over one that was not used lately; `ruled` tells what is said of it then. The first bucket is nobody's, unless there is
    /// no other.
    pub(super) fn bucket(
        &mut self,
        hash: u64,
        ruled: impl FnOnce() -> Option<Travel>,
        now: u32,
    ) -> (u16, bool) {
        let sets = (self.flows.len() / WAYS).max(1);
        let (set, tag) = (usize::try_from(hash % sets as u64).unwrap_or(0), (hash >> 48) as u16);
        let mut free = None;
        let shared = usize::from(self.flows.len() > 1);
        for number in (set * WAYS..set * WAYS + WAYS).filter(|number| *number >= shared) {
            let Some(flow) = self.flows.get_mut(number) else { break };
            if flow.behaviour.is_of(tag, now) {
                return (narrow(number), true);
            }
            if free.is_none() && flow.packets.is_empty() && flow.behaviour.is_over(now) {
                free = Some(number);
            }
        }
        if let Some(number) = free
            && let Some(flow) = self.flows.get_mut(number)
        {
            flow.behaviour = Behaviour::begun(tag, ruled(), now);
            return (narrow(number), true);
        }
        let way = usize::from(tag) % WAYS.min(self.flows.len()).max(1);
        (narrow(set * WAYS + way), false)
    }

    /// Whether there is a place for flows.
    pub(super) const fn has_flows(&self) -> bool {
        !self.flows.is_empty()
    }

    /// Flows that have had their quantum and take turns.
    pub(super) const fn old_flows(&self) -> u16 {
        self.old_flows
    }

    /// What the flow of a bucket was seen to do.
    pub(super) fn behaviour(&mut self, flow: u16) -> Option<&mut Behaviour> {
        self.flows.get_mut(usize::from(flow)).map(|flow| &mut flow.behaviour)
    }

    /// Whether packets of the flow wait.
    pub(super) fn waits(&self, flow: u16) -> bool {
        self.flows.get(usize::from(flow)).is_some_and(|flow| !flow.packets.is_empty())
    }

    /// The packets of a flow that have waited for longest and shortest.
    pub(super) fn ends(&self, flow: u16) -> Option<(Index, Index)> {
        let packets = &self.flows.get(usize::from(flow))?.packets;
        packets.first().zip(packets.last())
    }

    /// The packet whose turn it is, and the list that its flow is in; what was true after [`turn`](Self::turn) still is after others
    /// came.
    pub(super) fn first(&self) -> Option<(Turn, Index)> {
        let head = |turn, list: &Flows| {
            let flow = self.flows.get(usize::from(list.head?))?;
            flow.packets.first().map(|index| (turn, index))
        };
        head(Turn::Fresh, &self.fresh).or_else(|| head(Turn::Old, &self.old))
    }

    /// Appends a packet to its flow.
    pub(super) fn push(&mut self, pool: &mut Pool<'_>, index: Index) {
        let Some(&slot) = pool.slot(index) else { return };
        let number = slot.flow;
        let Some(flow) = self.flows.get_mut(usize::from(number)) else { return pool.release(index) };
        pool.push(&mut flow.packets, index);
        flow.bytes = flow.bytes.saturating_add(u32::from(slot.len));
        let bytes = flow.bytes;
        self.packets += 1;
        if flow.turn == Turn::None {
            flow.deficit = i32::from(self.quantum);
            self.append(number, Turn::Fresh);
        }
        if self.flows.get(usize::from(self.longest)).is_none_or(|longest| bytes > longest.bytes) {
            self.longest = number;
        }
    }

    /// Takes the packet of a flow that has waited for longest out of its turn.
    pub(super) fn take(&mut self, pool: &mut Pool<'_>, flow: u16) -> Option<Index> {
        let flow = self.flows.get_mut(usize::from(flow))?;
        let index = pool.pop(&mut flow.packets)?;
        let len = pool.slot(index).map_or(0, |slot| slot.len);
        flow.bytes = flow.bytes.saturating_sub(u32::from(len));
        self.packets -= 1;
        Some(index)
    }

    /// Finds the flow whose turn it is, and tells the list that it is in; `None`: nothing waits.
    pub(super) fn turn(&mut self) -> Option<Turn> {
        loop {
            let turn = if self.fresh.head.is_some() { Turn::Fresh } else { Turn::Old };
            let number = self.list(turn).head?;
            let flow = self.flows.get_mut(usize::from(number))?;
            if flow.deficit <= 0 && !flow.continues {
                flow.deficit += i32::from(self.quantum);
                self.rotate(turn);
            } else if !flow.packets.is_empty() {
                return Some(turn);
            } else if turn == Turn::Fresh && self.old.head.is_some() {
                // A flow that was fresh waits one turn, so that it cannot stay ahead of the others for ever.
                self.rotate(turn);
            } else {
                self.leave(turn);
            }
        }
    }

    /// Takes the packet whose turn it is; drops and marks on the way.
    pub(super) fn pop(
        &mut self,
        pool: &mut Pool<'_>,
        bounds: Bounds,
        counts: &mut Counts,
        now: u32,
    ) -> Option<Index> {
        loop {
            let turn = self.turn()?;
            let number = self.list(turn).head?;
            if let Some(index) = self.pop_from(number, pool, bounds, counts, now) {
                return Some(index);
            }
        }
    }

    fn pop_from(
        &mut self,
        flow: u16,
        pool: &mut Pool<'_>,
        bounds: Bounds,
        counts: &mut Counts,
        now: u32,
    ) -> Option<Index> {
        let flow = self.flows.get_mut(usize::from(flow))?;
        loop {
            let index = pool.pop(&mut flow.packets)?;
            let slot = *pool.slot(index)?;
            self.packets -= 1;
            flow.bytes = flow.bytes.saturating_sub(u32::from(slot.len));
            flow.deficit -= i32::from(slot.len);
            flow.continues = slot.continues;
            let sojourn = now.wrapping_sub(slot.since);
            let is_due = flow.codel.is_due(sojourn, flow.packets.is_empty(), bounds, now);
            let packet = pool.packet_mut(index);
            let ecn = ip::ecn(packet);
            let mark = match ecn {
                Ecn::NotEct | Ecn::Ce => false,
                Ecn::Ect0 => is_due,
                Ecn::Ect1 => is_due || sojourn > L4S_MARK,
            };
            if mark {
                ip::set_ecn(packet, Ecn::Ce);
                counts.marked += 1;
            } else if is_due && ecn == Ecn::NotEct {
                counts.dropped += 1;
                pool.release(index);
                continue;
            }
            return Some(index);
        }
    }

    /// Bytes of the longest flow, as far as that is known.
    pub(super) fn longest(&self) -> u32 {
        self.flows.get(usize::from(self.longest)).map_or(0, |flow| flow.bytes)
    }

    /// Makes room: drops from the head of the longest flow, or if that has been served meanwhile, of one whose turn it
    /// is, those that had a turn before. Returns whether there was something to drop.
    pub(super) fn overflow(&mut self, pool: &mut Pool<'_>, counts: &mut Counts) -> bool {
        let candidates = [Some(self.longest), self.old.head, self.fresh.head].into_iter().flatten();
        let waits =
            |number: &u16| self.flows.get(usize::from(*number)).is_some_and(|flow| !flow.packets.is_empty());
        let Some(number) = candidates.into_iter().find(waits) else { return false };
        let Some(flow) = self.flows.get_mut(usize::from(number)) else { return false };
        let half = flow.bytes / 2;
        let mut dropped = 0;
        while dropped < DROP_BATCH && (dropped == 0 || flow.bytes > half) {
            let Some(index) = pool.pop(&mut flow.packets) else { break };
            let len = pool.slot(index).map_or(0, |slot| slot.len);
            flow.bytes = flow.bytes.saturating_sub(u32::from(len));
            pool.release(index);
            dropped += 1;
        }
        self.packets -= dropped;
        counts.dropped += u64::from(dropped);
        dropped > 0
    }

    const fn list(&mut self, turn: Turn) -> &mut Flows {
        match turn {
            Turn::Fresh => &mut self.fresh,
            _ => &mut self.old,
        }
    }

    /// The first flow of a list goes to the end of the old ones.
    fn rotate(&mut self, turn: Turn) {
        if let Some(number) = self.leave(turn) {
            self.append(number, Turn::Old);
        }
    }

    /// The first flow of a list leaves it.
    fn leave(&mut self, turn: Turn) -> Option<u16> {
        let number = self.list(turn).head?;
        let flow = self.flows.get_mut(usize::from(number))?;
        flow.turn = Turn::None;
        let next = flow.next.take();
        if turn == Turn::Old {
            self.old_flows -= 1;
        }
        let list = self.list(turn);
        list.head = next;
        if next.is_none() {
            list.tail = None;
        }
        Some(number)
    }

    fn append(&mut self, number: u16, turn: Turn) {
        if turn == Turn::Old {
            self.old_flows += 1;
        }
        if let Some(flow) = self.flows.get_mut(usize::from(number)) {
            flow.turn = turn;
            flow.next = None;
        }
        let tail = self.list(turn).tail.replace(number);
        match tail.and_then(|tail| self.flows.get_mut(usize::from(tail))) {
            Some(flow) => flow.next = Some(number),
            None => self.list(turn).head = Some(number),
        }
    }
}

/// The number of a bucket; of more than [`u16`] tells apart the rest is not used.
fn narrow(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests;
