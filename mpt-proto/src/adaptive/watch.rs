//! When something is to be done although nothing comes: signs of life on paths that carry nothing, reports that stopped.

use crate::adaptive::Adaptive;
use crate::adaptive::model::{Model, signal_time};
use crate::adaptive::queue::Among;
use crate::adaptive::tuning::{ACTIVE, DEAF, DEAF_ROUNDS, GATHER, IDLE_MARKER, LEAST_DEAF, MARKER};
use crate::feedback::Ways;
use crate::gate::Gate;
use crate::path_set::PathSet;
use crate::time::{Instant, Micros};

impl Adaptive<'_> {
    /// When something is to be done although nothing comes.
    pub(crate) fn deadline(&self, up: PathSet, gate: &Gate, now: Instant) -> Option<Instant> {
        let usable = self.usable(up);
        let soonest = |paths: PathSet| {
            let models = paths.into_iter().filter_map(|index| self.state.models.get(index));
            models.filter(|model| !model.is_full()).map(|model| model.wait(now)).min()
        };
        let opens = gate.opens_at(now);
        let express = self.express_path(usable, now).zip(opens).map(|((_, at), opens)| at.max(opens));
        let repair = |among| self.repair_path(among, usable, now).map(|(_, wait)| wait);
        let lost = [Among::Free, Among::Bound].into_iter().filter_map(repair).min();
        let lost = lost.map(|wait| now.later(wait));
        let bulk = self.has_bulk().then(|| soonest(self.awaited(usable))).flatten();
        let bulk = bulk.zip(opens).map(|(wait, opens)| (now.later(wait) + GATHER).max(opens));
        let deaf = self.deaf_at().filter(|at| *at > now);
        let markers = up
            .into_iter()
            .filter_map(|index| self.marker_at(index, self.signal_pause(up, gate, now), now))
            .min();
        let report = self.state.feedback.deadline().filter(|_| !up.is_empty());
        [express, lost, bulk, deaf, markers, report].into_iter().flatten().min()
    }

    /// Time between signs of life on a path, or reports, where this end or the peer may send no more than a rate, of which they have their
    /// share on all paths together: a hundred peers with two paths each would need 20 Mbit/s for them, else.
    fn signal_pause(&self, paths: PathSet, gate: &Gate, now: Instant) -> Micros {
        let asked = self.state.feedback.most.map(|most| most as f32);
        let rate = [gate.rate(now), asked].into_iter().flatten().reduce(f32::min);
        rate.map_or(Micros(0), |rate| signal_time(rate / paths.0.count_ones().max(1) as f32))
    }

    /// When a path is to give a sign of life; `pause`: not sooner than so long after the last.
    fn marker_at(&self, path: usize, pause: Micros, now: Instant) -> Option<Instant> {
        let active = self.state.active_at.filter(|at| now < *at + ACTIVE)?;
        let model = self.state.models.get(path)?;
        let busy = self.state.ordered_at.is_some_and(|at| now < at + IDLE_MARKER * 2);
        let watched = self.state.delay.open.contains(path) && busy
            || model.suspect_since().is_some_and(|since| now < since + ACTIVE)
            || model.base().is_none();
        let wait = if watched { MARKER } else { IDLE_MARKER };
        let at = (model.last_ordered + wait).max(model.last_ordered + model.signal_time().max(pause));
        (at < active + ACTIVE).then_some(at)
    }

    /// Finds out which paths are to give a sign of life.
    pub(crate) fn handle_timeout(&mut self, up: PathSet, gate: &Gate, now: Instant) {
        if self.is_deaf(now) {
            self.state.models.iter_mut().for_each(Model::forgive);
            self.state.run = None;
            // A report that was made up may have claimed a count that the true ones never come to.
            self.state.last_count = None;
        }
        let pause = self.signal_pause(up, gate, now);
        for index in up {
            if self.marker_at(index, pause, now).is_some_and(|at| at <= now) {
                self.state.markers.insert(index);
            }
        }
    }

    /// The path that is to give a sign of life now, and whether it is to be a large one.
    pub(crate) fn poll_marker(&mut self) -> Option<(usize, bool)> {
        let Self { state, .. } = self;
        for path in state.trains {
            match state.models.get(path).filter(|model| model.is_in_train()) {
                Some(model) if model.is_alive() => return Some((path, true)),
                Some(_) => {}
                None => state.trains.set(path, false),
            }
        }
        state.markers.pop().map(|path| (path, false))
    }

    /// Where the next report leaves: on the two paths that deliver first, but on one that is thin only as often as that may be.
    pub(crate) fn report_ways(&self, up: PathSet, gate: &Gate, now: Instant) -> Ways {
        let best = self.best(up, now);
        let models = best.into_iter().filter_map(|index| Some((index, self.state.models.get(index)?)));
        let Some((widest, model)) = models.clone().max_by(|a, b| a.1.rate().total_cmp(&b.1.rate())) else {
            return Ways::default();
        };
        let mut paths = PathSet::of(widest);
        for (index, _) in models.filter(|(_, model)| now >= model.last_report + model.signal_time()) {
            paths.insert(index);
        }
        Ways { paths, pause: model.signal_time().max(self.signal_pause(paths, gate, now)) }
    }

    /// The two paths that deliver first.
    fn best(&self, up: PathSet, now: Instant) -> PathSet {
        let alive = self.alive(up);
        let candidates = if alive.is_empty() { up } else { self.lowest_tier(alive) };
        let mut best = PathSet::default();
        for candidates in [candidates, alive] {
            for _ in 0..2 {
                let rest = candidates - best;
                if best.0.count_ones() < 2
                    && let Some((index, _)) = self.first_to_deliver(rest, now)
                {
                    best.insert(index);
                }
            }
        }
        best
    }

    /// What goes into a report: how long the peer shall hold ordered packets, and where they may come.
    #[allow(clippy::cast_possible_truncation, reason = "bounded by the spread of delays")]
    pub(crate) fn orders(&self) -> (Option<u32>, PathSet, bool) {
        let hold = self.state.delay.hold.zip(self.state.reference);
        let hold = hold.map(|(hold, reference)| reference.wrapping_add_signed(hold as i32));
        let mut open = self.state.delay.open;
        for (index, model) in self.state.models.iter().enumerate() {
            if model.is_alive() && model.carries_ordered() {
                open.insert(index);
            }
        }
        (hold, open, self.resends)
    }

    /// Whether reports have stopped although packets were sent.
    pub(crate) fn is_deaf(&self, now: Instant) -> bool {
        self.deaf_at().is_some_and(|at| at <= now)
    }

    fn deaf_at(&self) -> Option<Instant> {
        Some(self.state.waiting_since? + self.state.deafness.unwrap_or(Micros(DEAF)))
    }

    /// A report came: how long the next may take.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    pub(super) fn note_heard(&mut self) {
        let slowest = self.state.models.iter().map(|model| model.feedback).fold(0.0, f32::max);
        let rounds = (DEAF_ROUNDS * slowest) as u32;
        self.state.deafness = Some(Micros(LEAST_DEAF.saturating_add(rounds).min(DEAF)));
        self.state.waiting_since = None;
    }
}
