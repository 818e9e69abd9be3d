//! Room for a packet that came, and what gives way to it.

use crate::adaptive::Adaptive;
use crate::adaptive::pool::{Index, List};
use crate::time::Instant;
use crate::wire::slice;

impl Adaptive<'_> {
    /// Copies a packet that came now. `None`: there is no room, which is counted.
    pub(super) fn store(&mut self, packet: &[u8], now: Instant) -> Option<Index> {
        let mut stored = self.pool.store(packet);
        if stored.is_none() {
            self.make_room(now);
            stored = self.pool.store(packet);
        }
        let Some(slot) = stored.and_then(|index| self.pool.slot_mut(index)) else {
            self.state.refused += 1;
            return None;
        };
        slot.since = now.stamp();
        slot.continues = slice::continues(packet);
        self.state.active_at = Some(now);
        stored
    }

    /// All slots are taken: forgets the packet that has been under way for longest, or drops packets that wait.
    fn make_room(&mut self, now: Instant) {
        let Self { state, pool, queue, express, .. } = self;
        let age = |list: &List| {
            let slot = list.first().and_then(|index| pool.slot(index));
            slot.map(|slot| now.stamp().wrapping_sub(slot.sent))
        };
        let oldest = state.in_flight.iter_mut().max_by_key(|list| age(list));
        match oldest.filter(|list| !list.is_empty() && queue.len() + express.len() < pool.len() / 2) {
            Some(list) => {
                if let Some(index) = pool.pop(list) {
                    pool.release(index);
                }
            }
            None => {
                let fattest = if express.longest() > queue.longest() { express } else { queue };
                fattest.overflow(pool, &mut state.queue_counts);
            }
        }
    }
}
