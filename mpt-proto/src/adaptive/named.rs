//! Flows with a path of their own, by pins or by a rule: their packets leave with the next poll, and are measured, but neither
//! held by the receiver nor repaired.

use crate::adaptive::Adaptive;
use crate::adaptive::class::{Arrival, Travel};
use crate::adaptive::send::Leaving;
use crate::adaptive::tuning::TRIES;
use crate::seq::Seq;
use crate::time::Instant;
use crate::wire::ip;

impl Adaptive<'_> {
    /// Whether a rule names a path.
    pub(crate) fn names_paths(&self) -> bool {
        self.state.rules.iter().any(|rule| matches!(rule.travel, Travel::Path(_)))
    }

    /// The number of the path that a rule names for a packet of this flow.
    pub(crate) fn named_path(&mut self, packet: &[u8], flow: &ip::Flow, now: Instant) -> Option<usize> {
        if !self.names_paths() {
            return None;
        }
        let arrival = Arrival::new(packet, flow, self.order_udp, now.stamp());
        let Self { state, queue, .. } = self;
        let (bucket, is_owner) = queue.bucket(flow.hash, || arrival.ruled(&state.rules), now.stamp());
        let ruled = || arrival.ruled(&state.rules);
        let rule = match queue.behaviour(bucket).filter(|_| is_owner) {
            Some(behaviour) => behaviour.rule(ruled),
            None => ruled().number(),
        };
        match state.travel(rule) {
            Travel::Path(path) => Some(usize::from(path)),
            _ => None,
        }
    }

    /// Takes a packet that leaves on a path which is named for its flow, with the next poll.
    pub(crate) fn push_named(&mut self, path: usize, packet: &[u8], now: Instant) {
        let Some(index) = self.store(packet, now) else { return };
        if let (Some(list), Some(slot)) = (self.state.named.get_mut(path), self.pool.slot_mut(index)) {
            slot.unordered = true;
            self.pool.push(list, index);
            self.state.named_on.insert(path);
        }
    }

    /// The next of them. It takes no turn, and is not sent again.
    pub(super) fn poll_named(&mut self, next: &mut Seq, now: Instant) -> Option<Leaving> {
        let path = self.state.named_on.into_iter().next()?;
        let list = self.state.named.get_mut(path)?;
        let index = self.pool.pop(list)?;
        self.state.named_on.set(path, !list.is_empty());
        let leaving = self.depart(path, index, next, now);
        if let Some(slot) = self.pool.slot_mut(index) {
            slot.tries = TRIES;
        }
        self.state.models.get_mut(path)?.handle_named(now);
        leaving
    }
}
