//! What reports change: packets that arrived are let go, those that were lost are sent again, and what is under way on a
//! path that stopped to deliver leaves elsewhere.

use core::time::Duration;

use crate::adaptive::model::{Model, Trip};
use crate::adaptive::pool::{Index, List, PacketSlot, Pool};
use crate::adaptive::queue::Among;
use crate::adaptive::tuning::{
    ACTIVE, DOUBT, LEAST_PATIENCE, MOST_PATIENCE, OLDEST, PATIENCE_FAR, PATIENCE_FAST, PATIENCE_NOISE,
    PATIENCE_REORDERED, PATIENCE_SLOW, TRIES, UNKNOWN_FEEDBACK,
};
use crate::adaptive::{Adaptive, News};
use crate::feedback::TELLINGS;
use crate::path_set::PathSet;
use crate::time::{Instant, Micros};
use crate::wire::extension;
use crate::wire::report::{Gap, LONGEST_SPAN, Report};

/// A report after more than so many that did not come: gaps that only those named may be unknown.
const MISSED: i32 = TELLINGS as i32;

/// Why a packet is to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// A report names it.
    Reported,
    /// It was under way on a path that stopped.
    Moved,
}

/// The packets that are to be sent again: those that reports name, and what was moved for the second time, before what was
/// moved, which is much, and waits for them at the receiver.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Lost {
    #[cfg_attr(feature = "state", serde(skip))]
    reported: List,
    #[cfg_attr(feature = "state", serde(skip))]
    reported_bytes: usize,
    #[cfg_attr(feature = "state", serde(skip))]
    moved: List,
    #[cfg_attr(feature = "state", serde(skip))]
    moved_bytes: usize,
    /// Those that may take some paths only, for whichever cause: the others do not wait for those paths.
    #[cfg_attr(feature = "state", serde(skip))]
    bound: List,
    #[cfg_attr(feature = "state", serde(skip))]
    bound_bytes: usize,
    /// Of them in a second, lately.
    rate: f32,
    updated: Instant,
}

impl Lost {
    pub(super) const fn first(&self, among: Among) -> Option<Index> {
        match among {
            Among::Bound => self.bound.first(),
            Among::Free if self.reported.is_empty() => self.moved.first(),
            Among::Free => self.reported.first(),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.reported.is_empty() && self.moved.is_empty() && self.bound.is_empty()
    }

    /// Its lists: those that reports name, those that were moved, and those that are bound.
    #[cfg(feature = "state")]
    pub(super) const fn rows(&self) -> [List; 3] {
        [self.reported, self.moved, self.bound]
    }

    /// Puts a packet back into one of them; one that is bound has one place only.
    #[cfg(feature = "state")]
    pub(super) fn put_back(&mut self, pool: &mut Pool<'_>, index: Index, is_moved: bool) {
        let is_bound = pool.slot(index).is_some_and(|slot| slot.tier.is_some());
        let (list, bytes) = match is_moved {
            _ if is_bound => (&mut self.bound, &mut self.bound_bytes),
            true => (&mut self.moved, &mut self.moved_bytes),
            false => (&mut self.reported, &mut self.reported_bytes),
        };
        *bytes += pool.slot(index).map_or(0, |slot| usize::from(slot.len));
        pool.push(list, index);
    }

    /// Of those that leave together with the first.
    pub(super) const fn bytes(&self, among: Among) -> usize {
        match among {
            Among::Bound => self.bound_bytes,
            Among::Free if self.reported.is_empty() => self.moved_bytes,
            Among::Free => self.reported_bytes,
        }
    }

    pub(super) fn pop(&mut self, among: Among, pool: &mut Pool<'_>) -> Option<Index> {
        let (list, bytes) = match among {
            Among::Bound => (&mut self.bound, &mut self.bound_bytes),
            Among::Free if self.reported.is_empty() => (&mut self.moved, &mut self.moved_bytes),
            Among::Free => (&mut self.reported, &mut self.reported_bytes),
        };
        let index = pool.pop(list)?;
        *bytes = bytes.saturating_sub(pool.slot(index).map_or(0, |slot| usize::from(slot.len)));
        Some(index)
    }

    /// The share of the time, up to all of it, in which packets wait for a repair that takes so many microseconds.
    pub(super) const fn share_of_time(&self, repair: f32) -> f32 {
        (self.rate * repair * 1e-6).min(1.0)
    }

    /// Lets what was lost long ago count less.
    fn age(&mut self, now: Instant) {
        let passed = now.micros_since(self.updated) as f32 * 1e-6;
        self.rate -= self.rate * passed.min(1.0);
        self.updated = now;
    }

    /// Takes a packet if that is `wanted` and it is young enough, or lets go of it.
    fn push_or_release(
        &mut self,
        pool: &mut Pool<'_>,
        index: Index,
        cause: Cause,
        wanted: bool,
        now: Instant,
    ) -> bool {
        let young = |slot: &&PacketSlot| now.stamp().wrapping_sub(slot.since) <= OLDEST && slot.tries < TRIES;
        let Some(&slot) = pool.slot(index).filter(young).filter(|_| wanted) else {
            pool.release(index);
            return false;
        };
        self.age(now);
        self.rate += 1.0;
        let (list, bytes) = match cause {
            _ if slot.tier.is_some() => (&mut self.bound, &mut self.bound_bytes),
            Cause::Moved if slot.tries == 1 => (&mut self.moved, &mut self.moved_bytes),
            _ => (&mut self.reported, &mut self.reported_bytes),
        };
        *bytes += usize::from(slot.len);
        pool.push(list, index);
        true
    }
}

impl Adaptive<'_> {
    /// Takes a report.
    pub(crate) fn handle_report(&mut self, report: &Report, written: u32, up: PathSet, now: Instant) -> News {
        let step = self.state.last_count.map_or(1, |last| report.count.distance_from(last));
        if step <= 0 {
            self.handle_old(report, now);
            return News::Old;
        }
        if step > MISSED {
            self.state.doubt_until = now + DOUBT;
        }
        self.state.last_count = Some(report.count);
        let mut sound = true;
        let backlog = self.backlog(up);
        self.follow_clocks(report, written, now);
        for block in &report.paths {
            let path = usize::from(block.path);
            let reference = *self.state.reference.get_or_insert(block.delay);
            #[allow(clippy::cast_possible_wrap, reason = "a difference of delays")]
            let delay = block.delay.wrapping_sub(reference) as i32 as f32;
            let random = self.random();
            let Some(model) = self.state.models.get_mut(path) else { continue };
            match model.handle_report(block, written, delay, backlog.contains(path), now, random) {
                News::Fresh => self.settle(path, &report.gaps, now),
                News::Old => {}
                News::Impossible => sound = false,
            }
        }
        if !sound {
            self.state.bad_reports += 1;
            return News::Impossible;
        }
        self.note_heard();
        if let Some(reference) = self.state.reference {
            for index in self.alive(up) {
                let overdue =
                    |model: &Model| model.is_alive() && model.is_overdue(written.wrapping_sub(reference));
                if self.state.models.get(index).is_some_and(overdue) {
                    self.suspect(index, now);
                }
            }
        }
        self.update(up, now);
        News::Fresh
    }

    /// If the clock of one end was set, delays are measured against a reference that moved with it.
    fn follow_clocks(&mut self, report: &Report, written: u32, now: Instant) {
        let Self { state, .. } = self;
        let (mut step, mut told) = (None, PathSet::default());
        for block in report.paths.iter().filter(|block| block.age < LONGEST_SPAN) {
            let Some(model) = state.models.get_mut(usize::from(block.path)) else { continue };
            let arrived = written.wrapping_sub(block.age);
            let there = arrived.wrapping_sub(block.stamp);
            let path = usize::from(block.path);
            if let Some(by) = model.clock_step(Trip { there, back: now.stamp().wrapping_sub(arrived) }) {
                step = step.or(Some(by));
                told.insert(path);
            }
        }
        let (Some(step), Some(reference)) = (step, state.reference.as_mut()) else { return };
        *reference = reference.wrapping_add_signed(step);
        for (path, model) in state.models.iter_mut().enumerate() {
            model.handle_clock_step(if told.contains(path) { 0 } else { step });
        }
    }

    /// Decides anew which paths are open.
    pub(super) fn update(&mut self, up: PathSet, now: Instant) {
        (self.state.run, self.state.twin) = (None, None);
        self.refresh_trusted(now);
        if !self.state.rules.is_empty() {
            self.refresh_way();
        }
        let backlog = self.has_bulk();
        let carries = if self.queue.first_bound().is_some() { self.backlog(up) } else { PathSet::default() };
        let window = f32::from(self.peer_window);
        let Self { state, .. } = self;
        state.delay.is_used = state.ordered_at.is_some_and(|at| now < at + ACTIVE);
        let paths = core::array::from_fn(|index| state.models.get(index).and_then(Model::path_delay));
        state.delay.update(&paths, up, backlog, window, now);
        state.lost.age(now);
        state.accepted = None;
        for (index, model) in state.models.iter_mut().enumerate() {
            let is_tried = backlog && state.delay.tried.contains(index);
            if !state.delay.open.contains(index) && !is_tried && !carries.contains(index) {
                model.handle_closed();
            }
        }
        if state.delay.open != state.told {
            state.told = state.delay.open;
            state.feedback.ask(now);
        }
    }

    /// An old report, or one that came on another path before. Its gaps are news if those that followed it were lost.
    fn handle_old(&mut self, report: &Report, now: Instant) {
        if now >= self.state.doubt_until || report.gaps.is_empty() {
            return;
        }
        for block in &report.paths {
            self.settle(usize::from(block.path), &report.gaps, now);
        }
    }

    /// Lets go of what the receiver has settled on a path, but for what is in a gap; or, while there may be gaps that are
    /// not known, of nothing.
    fn settle(&mut self, path: usize, gaps: &[Gap], now: Instant) {
        let Self { state, pool, .. } = self;
        let is_sure = now >= state.doubt_until;
        let mut kept = List::default();
        let (Some(list), Some(model)) = (state.in_flight.get_mut(path), state.models.get_mut(path)) else {
            return;
        };
        let names = |number: u32| {
            gaps.iter().any(|gap| {
                let ahead = extension::distance(number, gap.first);
                usize::from(gap.path) == path && (0..i32::from(gap.count)).contains(&ahead)
            })
        };
        while let Some(index) = list.first() {
            let Some(&slot) = pool.slot(index) else { break };
            if extension::distance(slot.number, model.acked) > 0 {
                break;
            }
            pool.pop(list);
            let is_lost = names(slot.number);
            if !is_lost && !is_sure {
                pool.push(&mut kept, index);
                continue;
            }
            if is_lost {
                model.handle_lost(now);
                model.sizes.note_lost(slot.len);
            } else {
                model.sizes.note_arrived(slot.len);
            }
            let pays = is_lost && state.credit >= u32::from(slot.len);
            if state.lost.push_or_release(pool, index, Cause::Reported, pays && self.resends, now) {
                state.credit -= u32::from(slot.len);
            }
        }
        pool.prepend(kept, list);
        if model.sizes.note_settled(model.acked, names, is_sure, now) {
            state.doubted.insert(path);
        }
    }

    /// A path stopped to deliver: what is under way on it leaves again elsewhere.
    fn suspect(&mut self, path: usize, now: Instant) {
        if let Some(model) = self.state.models.get_mut(path) {
            model.suspect(now);
        }
        self.hand_over(path, now);
    }

    pub(super) fn hand_over(&mut self, path: usize, now: Instant) {
        let Self { state, pool, .. } = self;
        let (Some(list), Some(model)) = (state.in_flight.get_mut(path), state.models.get_mut(path)) else {
            return;
        };
        model.forget_under_way();
        while let Some(index) = pool.pop(list) {
            let number = pool.slot(index).map_or(0, |slot| slot.number);
            let is_under_way = extension::distance(number, model.acked) > 0;
            state.lost.push_or_release(pool, index, Cause::Moved, is_under_way && self.resends, now);
        }
    }

    /// How long the receiver should wait for a repair once it knows that a packet is missing, if packets come on `paths`:
    /// for the third try on the fastest of them, or the first on the slowest.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    pub(crate) fn repair_time(&self, paths: PathSet) -> Duration {
        let is_known = |model: &&Model| model.is_alive() && model.base().is_some();
        let fastest = self.state.models.iter().filter(is_known).map(|model| model.feedback);
        let fastest = fastest.fold(UNKNOWN_FEEDBACK, f32::min);
        let used = paths.into_iter().filter_map(|index| self.state.models.get(index)).filter(is_known);
        let noise = used.clone().map(Model::deviation).fold(0.0, f32::max);
        let slowest = used.map(|model| model.feedback).fold(fastest, f32::max);
        let of = |(rounds, more): (f32, f32), round: f32| rounds * round + more;
        let time = of(PATIENCE_FAST, fastest).max(of(PATIENCE_SLOW, slowest)).max(LEAST_PATIENCE);
        let most = of(PATIENCE_FAR, fastest).max(MOST_PATIENCE);
        let reordering =
            paths.into_iter().map(|index| self.state.feedback.reordering(index)).fold(0, u32::max);
        let later = PATIENCE_NOISE * noise + PATIENCE_REORDERED * reordering as f32;
        Micros((time.min(most) + later) as u32).into()
    }
}

#[cfg(test)]
mod tests;
