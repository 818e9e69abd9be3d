//! Packets that wait for a path: flows take turns (deficit round robin, as RFC 8290), each with its own `CoDel`, so that the
//! bond is one well-managed bottleneck and a bulk flow does not hold back a sparse one.

#[cfg(feature = "state")]
mod state;

use core::num::NonZeroU16;

use crate::adaptive::class::{Behaviour, Ruled};
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
    next: Option<Number>,
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
    /// Its next packet waits for some of the paths ([`PacketSlot::is_bound`](crate::adaptive::pool::PacketSlot::is_bound)).
    Bound,
}

/// Which flows are asked for a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Among {
    /// Those whose packets may take any open path.
    Free,
    /// The others.
    Bound,
}

/// The number of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Number(NonZeroU16);

impl Number {
    /// More buckets have no number.
    const MOST: usize = u16::MAX as usize;

    fn of(number: u16) -> Option<Self> {
        number.checked_add(1).and_then(NonZeroU16::new).map(Self)
    }

    const fn get(self) -> u16 {
        self.0.get() - 1
    }
}

/// Flows in a row.
#[derive(Debug, Default)]
struct Flows {
    head: Option<Number>,
    tail: Option<Number>,
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
    bound: Flows,
    /// Flows in `old`, and in `bound`.
    old_flows: u16,
    bound_flows: u16,
    /// Bytes of one turn.
    quantum: u16,
    packets: u16,
    /// The longest flow, of those that packets came for since another one was.
    longest: u16,
}

impl<'s> Queue<'s> {
    pub(super) fn new(flows: &'s mut [FlowSlot], quantum: u16) -> Self {
        let most = flows.len().min(Number::MOST);
        let flows = flows.get_mut(..most).unwrap_or_default();
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
    pub(super) fn bucket(&mut self, hash: u64, ruled: impl FnOnce() -> Ruled, now: u32) -> (u16, bool) {
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

    /// Flows whose next packet may take some paths only.
    pub(super) const fn bound_flows(&self) -> u16 {
        self.bound_flows
    }

    /// Whether flows may have packets that take any path.
    pub(super) const fn has_free(&self) -> bool {
        self.fresh.head.is_some() || self.old.head.is_some()
    }

    /// The packet whose turn it is among those that may take some paths only.
    pub(super) fn first_bound(&self) -> Option<Index> {
        self.first_of(&self.bound)
    }

    fn first_of(&self, list: &Flows) -> Option<Index> {
        self.flows.get(usize::from(list.head?.get()))?.packets.first()
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
        let head = |turn, list: &Flows| self.first_of(list).map(|index| (turn, index));
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
            self.append(number, if slot.is_bound() { Turn::Bound } else { Turn::Fresh });
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
    // On small machines, where code is dear, it is there once.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn turn(&mut self, among: Among) -> Option<Turn> {
        loop {
            let turn = match among {
                Among::Free if self.fresh.head.is_some() => Turn::Fresh,
                Among::Free => Turn::Old,
                Among::Bound => Turn::Bound,
            };
            let number = self.list(turn).head?;
            let flow = self.flows.get_mut(usize::from(number.get()))?;
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
        among: Among,
        pool: &mut Pool<'_>,
        bounds: Bounds,
        counts: &mut Counts,
        now: u32,
    ) -> Option<Index> {
        loop {
            let turn = self.turn(among)?;
            let number = self.list(turn).head?;
            let popped = self.pop_from(number, among, pool, bounds, counts, now);
            if popped.is_none() || self.bound.head.is_some() {
                self.sort(turn, pool);
                self.settle_bound(pool);
            }
            if popped.is_some() {
                return popped;
            }
        }
    }

    /// Flows that share a bucket may have packets of both kinds: if the next packet of the first flow of a list is of the other kind, the
    /// flow waits there. Returns whether it does.
    // On small machines, where code is dear, it is there once.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn sort(&mut self, turn: Turn, pool: &Pool<'_>) -> bool {
        let is_listed_bound = turn == Turn::Bound;
        let head = self.list(turn).head.and_then(|head| self.flows.get(usize::from(head.get())));
        let first = head.and_then(|flow| flow.packets.first());
        let moves =
            first.and_then(|index| pool.slot(index)).is_some_and(|it| it.is_bound() != is_listed_bound);
        if let Some(number) = moves.then(|| self.leave(turn)).flatten() {
            self.append(number, if is_listed_bound { Turn::Old } else { Turn::Bound });
        }
        moves
    }

    /// Sees to it that the first of the flows that are bound has such a packet, if any of them has.
    fn settle_bound(&mut self, pool: &Pool<'_>) {
        while self.turn(Among::Bound).is_some() && self.sort(Turn::Bound, pool) {}
    }

    fn pop_from(
        &mut self,
        flow: Number,
        among: Among,
        pool: &mut Pool<'_>,
        bounds: Bounds,
        counts: &mut Counts,
        now: u32,
    ) -> Option<Index> {
        let flow = self.flows.get_mut(usize::from(flow.get()))?;
        loop {
            let slot = *pool.slot(flow.packets.first()?)?;
            if slot.is_bound() != (among == Among::Bound) {
                return None;
            }
            let index = pool.pop(&mut flow.packets)?;
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
        let heads = [&self.old, &self.bound, &self.fresh].map(|list| list.head.map(Number::get));
        let candidates = [Some(self.longest)].into_iter().chain(heads).flatten();
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
        self.settle_bound(pool);
        dropped > 0
    }

    const fn list(&mut self, turn: Turn) -> &mut Flows {
        match turn {
            Turn::Fresh => &mut self.fresh,
            Turn::Bound => &mut self.bound,
            Turn::None | Turn::Old => &mut self.old,
        }
    }

    /// How many flows a list has, if they are counted.
    const fn count(&mut self, turn: Turn) -> Option<&mut u16> {
        match turn {
            Turn::Old => Some(&mut self.old_flows),
            Turn::Bound => Some(&mut self.bound_flows),
            Turn::None | Turn::Fresh => None,
        }
    }

    /// The first flow of a list goes to the end of the old ones, or of those that are bound.
    fn rotate(&mut self, turn: Turn) {
        if let Some(number) = self.leave(turn) {
            self.append(number, if turn == Turn::Bound { turn } else { Turn::Old });
        }
    }

    /// The first flow of a list leaves it.
    fn leave(&mut self, turn: Turn) -> Option<u16> {
        let number = self.list(turn).head?.get();
        let flow = self.flows.get_mut(usize::from(number))?;
        flow.turn = Turn::None;
        let next = flow.next.take();
        if let Some(count) = self.count(turn) {
            *count -= 1;
        }
        let list = self.list(turn);
        list.head = next;
        if next.is_none() {
            list.tail = None;
        }
        Some(number)
    }

    fn append(&mut self, number: u16, turn: Turn) {
        if let Some(count) = self.count(turn) {
            *count += 1;
        }
        if let Some(flow) = self.flows.get_mut(usize::from(number)) {
            flow.turn = turn;
            flow.next = None;
        }
        let number = Number::of(number);
        let tail = core::mem::replace(&mut self.list(turn).tail, number);
        match tail.and_then(|tail| self.flows.get_mut(usize::from(tail.get()))) {
            Some(flow) => flow.next = number,
            None => self.list(turn).head = number,
        }
    }
}

/// The number of a bucket; of more than [`u16`] tells apart the rest is not used.
fn narrow(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests;
