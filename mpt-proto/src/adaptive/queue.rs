//! The ingress queue: flows take turns (deficit round robin, as RFC 8290), each with its own `CoDel`, so that the bond
//! is one well-managed bottleneck and a bulk flow does not hold back a sparse one.

use crate::adaptive::codel::{Bounds, Codel};
use crate::adaptive::pool::{Index, List, Pool};
use crate::adaptive::tuning::{DROP_BATCH, L4S_MARK, QUANTUM, REST, SPARSE_BYTES, SPARSE_WINDOW};
use crate::ecn::Ecn;
use crate::wire::ip;

/// One bucket of flows. `Default` is empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct FlowSlot {
    packets: List,
    bytes: u32,
    deficit: i32,
    codel: Codel,
    next: Option<u16>,
    turn: Turn,
    /// Since when `recent` counts the bytes that came.
    window: u32,
    recent: u32,
    /// When a packet last joined the ordered sequence.
    ordered_at: Option<u32>,
    /// The packet that left last is a slice, and more of its packet follow: the turn does not end here, so that the
    /// receiver need not join the slices of many packets at once.
    continues: bool,
}

/// The list of flows that a flow is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Turn {
    #[default]
    None,
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
pub(super) struct Counts {
    pub(super) dropped: u64,
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
    packets: usize,
    /// The longest flow, of those that packets came for since another one was.
    longest: u16,
    pub(super) counts: Counts,
}

impl<'s> Queue<'s> {
    pub(super) fn new(flows: &'s mut [FlowSlot]) -> Self {
        flows.fill(FlowSlot::default());
        Self { flows, ..Self::default() }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// Packets that wait.
    pub(super) const fn len(&self) -> usize {
        self.packets
    }

    /// The bucket of a flow with this hash.
    pub(super) fn bucket(&self, hash: u64) -> u16 {
        let index = hash.checked_rem(self.flows.len() as u64).unwrap_or(0);
        u16::try_from(index).unwrap_or(0)
    }

    /// A packet of `len` bytes came: whether its flow is sparse.
    pub(super) fn is_sparse(&mut self, flow: u16, len: usize, now: u32) -> bool {
        let Some(flow) = self.flows.get_mut(usize::from(flow)) else { return false };
        if now.wrapping_sub(flow.window) >= SPARSE_WINDOW {
            flow.window = now;
            flow.recent = 0;
        }
        flow.recent = flow.recent.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        let rested = flow.ordered_at.is_none_or(|at| now.wrapping_sub(at) >= REST);
        rested && flow.recent <= SPARSE_BYTES && flow.packets.is_empty()
    }

    /// Appends a packet to its flow.
    pub(super) fn push(&mut self, pool: &mut Pool<'_>, index: Index, now: u32) {
        let Some(&slot) = pool.slot(index) else { return };
        let number = slot.flow;
        let Some(flow) = self.flows.get_mut(usize::from(number)) else { return pool.release(index) };
        pool.push(&mut flow.packets, index);
        flow.bytes = flow.bytes.saturating_add(u32::from(slot.len));
        if !slot.unordered {
            flow.ordered_at = Some(now);
        }
        let bytes = flow.bytes;
        self.packets += 1;
        if flow.turn == Turn::None {
            flow.deficit = QUANTUM;
            self.append(number, Turn::Fresh);
        }
        if self.flows.get(usize::from(self.longest)).is_none_or(|longest| bytes > longest.bytes) {
            self.longest = number;
        }
    }

    /// Takes the packet whose turn it is; drops and marks on the way.
    pub(super) fn pop(&mut self, pool: &mut Pool<'_>, bounds: Bounds, now: u32) -> Option<Index> {
        loop {
            let turn = if self.fresh.head.is_some() { Turn::Fresh } else { Turn::Old };
            let number = self.list(turn).head?;
            let flow = self.flows.get_mut(usize::from(number))?;
            if flow.deficit <= 0 && !flow.continues {
                flow.deficit += QUANTUM;
                self.rotate(turn);
                continue;
            }
            let Some(index) = self.pop_from(number, pool, bounds, now) else {
                // A flow that was fresh waits one turn, so that it cannot stay ahead of the others for ever.
                if turn == Turn::Fresh && self.old.head.is_some() {
                    self.rotate(turn);
                } else {
                    self.leave(turn);
                }
                continue;
            };
            return Some(index);
        }
    }

    fn pop_from(&mut self, flow: u16, pool: &mut Pool<'_>, bounds: Bounds, now: u32) -> Option<Index> {
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
                self.counts.marked += 1;
            } else if is_due && ecn == Ecn::NotEct {
                self.counts.dropped += 1;
                pool.release(index);
                continue;
            }
            return Some(index);
        }
    }

    /// Makes room: drops from the head of the longest flow, or if that has been served meanwhile, of one whose turn it
    /// is. Returns whether there was something to drop.
    pub(super) fn overflow(&mut self, pool: &mut Pool<'_>) -> bool {
        let candidates = [Some(self.longest), self.fresh.head, self.old.head].into_iter().flatten();
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
        self.counts.dropped += dropped as u64;
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
        let list = self.list(turn);
        list.head = next;
        if next.is_none() {
            list.tail = None;
        }
        Some(number)
    }

    fn append(&mut self, number: u16, turn: Turn) {
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

#[cfg(test)]
mod tests;
