//! Flows with a path of their own, by pins or by a rule: their packets leave at once, and are measured, but neither held nor repaired.

use crate::adaptive::Adaptive;
use crate::adaptive::class::{Arrival, Travel};
use crate::seq::Seq;
use crate::time::Instant;
use crate::wire::extension::{Header, Kind};
use crate::wire::ip;

impl Adaptive<'_> {
    /// The number of the path that a rule names for a packet of this flow.
    pub(crate) fn named_path(&mut self, packet: &[u8], flow: &ip::Flow, now: Instant) -> Option<usize> {
        if !self.state.names_paths {
            return None;
        }
        let arrival = Arrival::new(packet, flow, self.order_udp, now.stamp());
        let Self { state, queue, .. } = self;
        let (bucket, is_owner) = queue.bucket(flow.hash, || arrival.ruled(&state.rules), now.stamp());
        let known = queue.behaviour(bucket).filter(|_| is_owner).map(|behaviour| behaviour.travel());
        match known.unwrap_or_else(|| arrival.ruled(&state.rules)) {
            Some(Travel::Path(path)) => Some(usize::from(path)),
            _ => None,
        }
    }

    /// A packet of `len` bytes leaves on a path that is named for it, without waiting for its turn: its extension header and its number
    /// among those that come in any order. The path [takes](Self::takes) it. `None`: there is no such path.
    pub(crate) fn depart_named(&mut self, path: usize, len: usize, now: Instant) -> Option<(Header, Seq)> {
        let header = self.stamp(path, Kind::Unordered, false, len, now)?;
        self.state.models.get_mut(path)?.handle_named(now);
        let seq = self.state.next_unordered;
        self.state.next_unordered = seq + 1;
        self.state.active_at = Some(now);
        self.state.waiting_since = self.state.waiting_since.or(Some(now));
        Some((header, seq))
    }
}
