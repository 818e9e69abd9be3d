//! The bulk: which path takes which of the packets that wait.
//!
//! Flows take turns on the open paths, and a path of a higher tier helps when packets have waited for [`SPILL`]. Packets that a rule of
//! the configuration binds to a tier wait in a row of their own, as they would keep what stands behind them off the other paths. Where
//! both rows may use a path, their flows take turns there.

use crate::adaptive::Adaptive;
use crate::adaptive::pool::{Index, PacketSlot};
use crate::adaptive::queue::Among;
use crate::adaptive::tuning::{MOST_LEAD, SPILL};
use crate::gate::Gate;
use crate::path_set::PathSet;
use crate::time::Instant;

/// Paths that are up, and those of them that seem to deliver.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usable {
    pub(super) up: PathSet,
    pub(super) alive: PathSet,
}

/// Which of the packets that wait may take a path now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kinds {
    free: bool,
    bound: bool,
}

/// The paths for the next packet of each kind.
#[derive(Debug, Clone, Copy, Default)]
struct Candidates {
    free: PathSet,
    bound: PathSet,
}

impl Adaptive<'_> {
    /// The paths that are up, and those of them that seem to deliver.
    pub(super) fn usable(&self, up: PathSet) -> Usable {
        Usable { up, alive: self.alive(up) }
    }

    /// The paths for a packet that may take this tier and lower ones: none while such a path is up, but all of those seem to have
    /// stopped; any, if none is up.
    // On small machines, where code is dear, it is there once.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn within(&self, tier: Option<u8>, usable: Usable) -> PathSet {
        let Usable { up, alive } = usable;
        let Some(most) = tier else { return alive };
        let is_within = |index: &usize| self.state.models.get(*index).is_some_and(|it| it.tier <= most);
        let within: PathSet = up.into_iter().filter(is_within).collect();
        if within.is_empty() { alive } else { within & alive }
    }

    /// The same for bulk: the open ones, if there are any.
    fn for_bound(&self, tier: Option<u8>, usable: Usable) -> PathSet {
        let within = self.within(tier, usable);
        let open = self.for_bulk(within);
        if open.is_empty() { within } else { open }
    }

    /// The packet that goes first among those that are bound: what is parked goes before all others.
    fn first_bound(&self) -> Option<&PacketSlot> {
        let slot = |index| self.pool.slot(index);
        match self.state.parked {
            Some(parked) => slot(parked).filter(|slot| slot.is_bound()),
            None => self.queue.first_bound().and_then(slot),
        }
    }

    // On small machines, where code is dear, it is there once.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn candidates(&self, usable: Usable) -> Candidates {
        let bound = self.first_bound().map(|slot| self.for_bound(slot.tier, usable)).unwrap_or_default();
        let free = if self.waits_free() { self.for_bulk(usable.alive) } else { PathSet::default() };
        Candidates { free, bound }
    }

    /// Whether packets wait that may take any open path; what is parked keeps all others waiting.
    fn waits_free(&self) -> bool {
        match self.state.parked {
            Some(_) => self.first_bound().is_none(),
            None => self.queue.has_free(),
        }
    }

    /// The paths for which bulk waits.
    pub(super) fn awaited(&self, usable: Usable) -> PathSet {
        let Candidates { free, bound } = self.candidates(usable);
        free | bound
    }

    /// The paths that have a backlog: all, if packets wait that may take any.
    pub(super) fn backlog(&self, up: PathSet) -> PathSet {
        match self.first_bound() {
            Some(slot) if !self.waits_free() => self.for_bound(slot.tier, self.usable(up)),
            None if !self.has_bulk() => PathSet::default(),
            _ => PathSet(u16::MAX),
        }
    }

    /// Whether another path of these tiers would help if the common delay rose.
    fn wants_delay(&self, tier: Option<u8>, usable: Usable) -> bool {
        !(self.within(tier, usable) - self.state.delay.open).is_empty()
    }

    /// The path that the bulk took last, if it takes the next packet as well: while no time passes and no report comes, no
    /// other path gets ready. So packets leave in runs, and cost less than the first of them.
    pub(super) fn run(&self, up: PathSet, now: Instant) -> Option<(usize, Kinds)> {
        let (path, _) = self.state.run.filter(|(_, at)| *at == now)?;
        let waits = !self.express.is_empty() || !self.state.lost.is_empty();
        let model = self.state.models.get(path).filter(|model| model.is_alive() && model.takes_more(now));
        let goes_on = !waits && up.contains(path) && self.state.delay.open.contains(path) && model.is_some();
        if !goes_on {
            return None;
        }
        let is_within = |slot: &PacketSlot| self.within(slot.tier, self.usable(up)).contains(path);
        let (free, bound) = (self.waits_free(), self.first_bound().is_some_and(is_within));
        (free || bound).then_some((path, Kinds { free, bound }))
    }

    /// Bulk: the fastest open path that is ready, and takes it, takes the packet whose turn it is.
    pub(super) fn poll_queue(&mut self, usable: Usable, gate: &Gate, now: Instant) -> Option<(usize, Index)> {
        if !self.has_bulk() || !gate.is_open(now) {
            let is_idle = self.express.is_empty() || !gate.is_open(now);
            if is_idle && self.state.lost.is_empty() {
                self.note_idle(usable.alive, now);
            }
            return None;
        }
        let (path, is_cheap, index) = loop {
            let (path, is_cheap, kinds) = self.bulk_path(usable, now)?;
            if let Some(index) = self.next_bulk(kinds, usable.up, gate, now) {
                break (path, is_cheap, index);
            }
            // All that waited of one kind was dropped. The other kind may take another path.
            if !self.has_bulk() {
                self.note_idle(usable.alive, now);
                return None;
            }
        };
        if self.suits(path, index) {
            self.state.run = is_cheap.then_some((path, now));
            self.free_from_order(path, index);
            return Some((path, index));
        }
        self.state.parked = Some(index);
        let (path, ..) = self.bulk_path(usable, now)?;
        self.free_from_order(path, index);
        self.state.parked.take().map(|index| (path, index))
    }

    /// The path for the bulk, if one is ready, whether it is of the lowest tier, and what may take it.
    fn bulk_path(&mut self, usable: Usable, now: Instant) -> Option<(usize, bool, Kinds)> {
        let Candidates { free, bound } = self.candidates(usable);
        let first = self.first_bound().map(|slot| (slot.tier, now.stamp().wrapping_sub(slot.since)));
        if let Some((tier, _)) = first.filter(|_| !self.waits_free()) {
            self.state.last_sojourn = 0;
            if !self.wants_delay(tier, usable) {
                self.state.delay.note_empty();
            }
        }
        let (cheap, cheap_bound) = (self.lowest_tier(free), self.lowest_tier(bound));
        let spills = self.state.last_sojourn >= SPILL;
        let bound_spills = !self.state.is_limited && first.is_some_and(|(_, sojourn)| sojourn >= SPILL);
        let mut best: Option<(u8, f32, usize, Kinds)> = None;
        for index in usable.alive {
            let is_open = self.state.delay.open.contains(index);
            let Some(model) = self.state.models.get_mut(index).filter(|model| model.is_ready(now)) else {
                continue;
            };
            let kinds = Kinds {
                free: free.contains(index) && (spills || cheap.contains(index)),
                bound: bound.contains(index) && (bound_spills || cheap_bound.contains(index)),
            };
            if !kinds.free && !kinds.bound {
                if is_open {
                    model.handle_idle();
                }
                continue;
            }
            // By the delay as it is: a path that is fast but for its queue would get all that a flow sends, and delay it,
            // while others stand idle.
            let rank = (model.tier, model.base().unwrap_or(0.0) + model.queue());
            if best.is_none_or(|(tier, base, ..)| rank < (tier, base)) {
                best = Some((rank.0, rank.1, index, kinds));
            }
        }
        let cheap = if free.is_empty() { cheap_bound } else { cheap };
        best.map(|(.., path, kinds)| (path, cheap.contains(path), kinds))
    }

    /// Whether a packet may leave on this path: it is trusted with the size.
    pub(super) fn suits(&self, path: usize, index: Index) -> bool {
        let len = self.pool.slot(index).map_or(0, |slot| usize::from(slot.len));
        self.state.models.get(path).is_some_and(|model| len <= usize::from(model.sizes.trusted()))
    }

    /// A packet that is bound to paths that do not fit the common delay leaves out of order: the receiver would not wait for it.
    fn free_from_order(&mut self, path: usize, index: Index) {
        let is_open = self.state.delay.open.contains(path);
        if let Some(slot) = self.pool.slot_mut(index).filter(|slot| slot.is_bound() && !is_open) {
            slot.unordered = slot.tries == 0;
        }
    }

    /// The packet of the bulk whose turn it is: the one that is parked before others.
    pub(super) fn next_bulk(
        &mut self,
        kinds: Kinds,
        up: PathSet,
        gate: &Gate,
        now: Instant,
    ) -> Option<Index> {
        if let Some(parked) = self.state.parked.take() {
            return Some(parked);
        }
        let is_contested = kinds.free && kinds.bound;
        let (first, second) = match kinds.bound && !(is_contested && self.state.bound_lead > 0) {
            true => (Among::Bound, Among::Free),
            false => (Among::Free, Among::Bound),
        };
        let mut index = self.pop_bulk(first, up, gate, now);
        if index.is_none() && is_contested {
            index = self.pop_bulk(second, up, gate, now);
        }
        let index = index?;
        if is_contested {
            let is_bound = self.pool.slot(index).is_some_and(PacketSlot::is_bound);
            let bytes = self.bytes_on_the_way(index);
            self.state.bound_lead = lead(
                self.state.bound_lead,
                match is_bound {
                    true => bytes / i32::from(self.queue.bound_flows().max(1)),
                    false => -bytes / i32::from(self.queue.old_flows().max(1)),
                },
            );
        }
        Some(index)
    }

    /// The packet of the queue whose turn it is.
    // On small machines, where code is dear, it is there once.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn pop_bulk(&mut self, among: Among, up: PathSet, gate: &Gate, now: Instant) -> Option<Index> {
        let bounds = self.accepted(gate, now).bulk;
        let index =
            self.queue.pop(among, &mut self.pool, bounds, &mut self.state.queue_counts, now.stamp())?;
        let &PacketSlot { since, tier, .. } = self.pool.slot(index)?;
        let sojourn = now.stamp().wrapping_sub(since);
        let flows = self.queue.old_flows().saturating_add(self.queue.bound_flows());
        let bytes = self.bytes_on_the_way(index) / i32::from(flows.max(1));
        self.note_share(-bytes);
        // Paths that are dearer or slower would not help.
        let sojourn = if self.state.is_limited { 0 } else { sojourn };
        if among == Among::Free {
            self.state.last_sojourn = sojourn;
        }
        if among == Among::Free || self.wants_delay(tier, self.usable(up)) {
            self.state.delay.note_sojourn(sojourn);
        }
        Some(index)
    }

    /// Nothing waits: what paths carry from now on does not tell what they could.
    fn note_idle(&mut self, paths: PathSet, now: Instant) {
        self.state.delay.note_empty();
        self.state.last_sojourn = 0;
        for index in paths {
            if let Some(model) = self.state.models.get_mut(index).filter(|model| model.is_ready(now)) {
                model.handle_idle();
            }
        }
    }
}

/// A lead in bytes after so many more.
pub(super) fn lead(lead: i32, bytes: i32) -> i32 {
    // Not `clamp`, which can panic.
    let lead = lead.saturating_add(bytes).max(-MOST_LEAD);
    lead.min(MOST_LEAD)
}
