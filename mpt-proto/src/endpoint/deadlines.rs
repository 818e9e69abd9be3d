//! All deadlines as a heap that lies in the slots: the node of place n of the heap is kept in slot n, and each slot knows where in the heap
//! its own deadline stands.

use crate::endpoint::slot::{Place, Slot};
use crate::time::Instant;

/// See the module.
///
/// Invariant: no node is earlier than the one above it. Of two at the same time the one of the lower slot is the
/// earlier, so that their order does not depend on what was there before.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    len: usize,
}

type Node = (Instant, Place);

/// Nodes below each one. With four, which lie side by side, there are half as many levels as with two: of 10,000 deadlines one comes, and
/// is set again, in seven eighths of the time (docs/measurements.md).
const BELOW: usize = 4;

impl Deadlines {
    /// The first deadline, and whose it is.
    pub(super) fn first<T>(&self, slots: &[Slot<T>]) -> Option<Node> {
        self.node(slots, 0)
    }

    /// Gives a slot another deadline, or none.
    pub(super) fn set<T>(&mut self, slots: &mut [Slot<T>], owner: Place, deadline: Option<Instant>) {
        let Some(slot) = slots.get(owner.index()) else { return };
        match (slot.rank, deadline) {
            (None, None) => {}
            (None, Some(at)) => {
                self.len += 1;
                self.rise(slots, self.len - 1, (at, owner));
            }
            (Some(rank), Some(at)) => {
                if self.node(slots, rank.index()) != Some((at, owner)) {
                    self.place(slots, rank.index(), (at, owner));
                }
            }
            (Some(rank), None) => {
                let last = self.node(slots, self.len.saturating_sub(1));
                self.len = self.len.saturating_sub(1);
                if let Some(slot) = slots.get_mut(owner.index()) {
                    slot.rank = None;
                }
                // What stood last fills the gap.
                if let Some(last) = last.filter(|last| last.1 != owner) {
                    self.place(slots, rank.index(), last);
                }
            }
        }
    }

    fn node<T>(&self, slots: &[Slot<T>], rank: usize) -> Option<Node> {
        if rank >= self.len {
            return None;
        }
        slots.get(rank).map(|slot| slot.node)
    }

    fn put<T>(slots: &mut [Slot<T>], rank: usize, node: Node) {
        if let Some(slot) = slots.get_mut(rank) {
            slot.node = node;
        }
        if let Some(slot) = slots.get_mut(node.1.index()) {
            slot.rank = Place::at(rank);
        }
    }

    /// Puts a node where it belongs, from a place on that is free.
    fn place<T>(&self, slots: &mut [Slot<T>], rank: usize, node: Node) {
        let above = rank.checked_sub(1).and_then(|rank| self.node(slots, rank / BELOW));
        if above.is_some_and(|above| node < above) {
            self.rise(slots, rank, node);
        } else {
            self.sink(slots, rank, node);
        }
    }

    fn rise<T>(&self, slots: &mut [Slot<T>], mut rank: usize, node: Node) {
        while let Some(up) = rank.checked_sub(1).map(|rank| rank / BELOW) {
            let Some(above) = self.node(slots, up).filter(|above| node < *above) else { break };
            Self::put(slots, rank, above);
            rank = up;
        }
        Self::put(slots, rank, node);
    }

    fn sink<T>(&self, slots: &mut [Slot<T>], mut rank: usize, node: Node) {
        loop {
            let first = BELOW * rank + 1;
            let nodes = (first..first + BELOW).map_while(|down| Some((self.node(slots, down)?, down)));
            let Some((below, down)) = nodes.min() else { break };
            if node <= below {
                break;
            }
            Self::put(slots, rank, below);
            rank = down;
        }
        Self::put(slots, rank, node);
    }
}
