//! The common delay: how long ordered packets are held at the receiver, so that a flow over paths of different delay
//! sees one delay, and which paths fit it.
//!
//! A path carries ordered packets only if its delay fits the common one. That is raised, slowly, only while packets
//! wait in the ingress queue for longer than they should: the time they spend there turns into time spent on slower
//! paths, and the flow above sees no change. When nothing waits any more it sinks again, so that a lone transfer has
//! the delay of the fastest path, but not below what it takes to carry what is sent. A step up would be taken for
//! congestion by the transport above, a step down for reordering.
//!
//! A flow that paces itself, as under BBR, may fill the open paths and leave no queue. It has about twice of its shortest
//! round trip on the way at most, so that the delay may rise by nearly as much as that unnoticed, and the flow learns the
//! longer one when it next looks.

use core::time::Duration;

use crate::adaptive::model::Model;
use crate::adaptive::tuning::START_RATE;
use crate::path_set::{MAX_PATHS, PathSet};
use crate::time::Instant;

/// Queueing delay that a path may have without being late, in microseconds.
const ALLOWANCE: f32 = 12_000.0;
/// How much a path's delay may exceed the common one before it is closed.
const TOLERANCE: f32 = 4_000.0;
/// Most that the slowest path may lag behind the fastest. Beyond it, a flow would wait longer than for a path by way of a
/// satellite's.
const MOST_SPREAD: f32 = 300_000.0;
/// The delay is never less than what paths with this share of the whole rate need, or with [`START_RATE`]: a fast start on
/// a path that is near but thin would end in a crawl, and a short transfer should not wait for a path that is far. Sparse
/// flows take the near path all the same.
const MAIN_SHARE: f32 = 0.5;
/// Microseconds a microsecond: CUBIC at 1,300 packets grows by at most 16 ms of its round trip in a second, and BBR
/// remembers its shortest round trip for ten seconds.
const RISE: f32 = 0.06;
const FALL: f32 = 0.02;
/// Faster where packets wait here for longer than the next path takes longer: the flow then has no more to wait for than
/// before, and what comes out is less by a quarter for a moment. As fast as time itself (1.0), BBR would see it halve.
const RUSH: f32 = 0.3;
/// Where the open paths are full though no queue stands, as under BBR at its own pace, the delay rises as well, until the round
/// trip is so many of the shortest that the flow may remember: BBR has twice of that on the way, and notices nothing.
const LIFT: f32 = 1.9;
/// BBR remembers for ten seconds, and looks anew within two more.
const MEMORY: usize = 12;
/// Full: this share of what the open paths carry left in each second, for so long. Transfers that are over sooner are let alone.
const FULL: f32 = 0.8;
const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(3);
/// Sojourn of the packet that waited least within a round trip: more than this is a standing queue.
const STANDING: u32 = 3_000;
/// And for so long: a queue that comes and goes is that of a path's own probe, or of a flow's.
const PERSISTS: f32 = 250_000.0;
/// The queue must have been empty for so long for the delay to sink.
const IDLE: Duration = Duration::from_millis(500);
/// A path that went down may come back: the delay stays for so long.
const REMEMBERED: f32 = 15e6;
/// Of the receiver's window this part may be filled by holding.
const WINDOW_SHARE: f32 = 0.7;
/// A common delay that exceeds the fastest path's by less is not worth holding for: waiting for what is missing
/// brings packets in order.
const NO_HOLD: f32 = 2_000.0;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct CommonDelay {
    /// In microseconds against the reference.
    delay: f32,
    updated: Instant,
    /// Least sojourn since `window_since`, and of the window before.
    least: Option<u32>,
    window_since: Instant,
    standing: u32,
    /// For how long a queue has stood, less the time in which none did; twice of what it takes at most.
    stood: f32,
    busy_at: Instant,
    /// Bytes of ordered packets that left since `sent_since`.
    sent: f32,
    sent_since: Instant,
    /// Of them in the last whole second.
    sent_rate: f32,
    /// Since when the open paths have been full.
    full_since: Option<Instant>,
    /// Least delay beyond that of the fastest path, in each of the last seconds.
    spreads: [f32; MEMORY],
    /// There are paths that it does not reach yet: packets may wait for longer, so that it rises.
    pub(super) may_rise: bool,
    /// Ordered packets were sent lately.
    pub(super) is_used: bool,
    /// Paths that may carry ordered packets.
    pub(super) open: PathSet,
    /// Against the reference; `None`: nothing is held.
    pub(super) hold: Option<f32>,
}

fn need(model: &Model) -> Option<f32> {
    Some(model.base()? + 2.0 * model.deviation() + ALLOWANCE)
}

/// The shortest round trip of a path, without queues.
fn round_trip(models: &[Model; MAX_PATHS], up: PathSet) -> f32 {
    let known = up.into_iter().filter_map(|index| models.get(index));
    let known = known.filter(|model| model.is_alive() && model.base().is_some());
    let round_trips = known.map(|model| (model.feedback - model.queue()).max(0.0));
    round_trips.reduce(f32::min).unwrap_or(0.0)
}

impl CommonDelay {
    /// A packet left the ingress queue after so many microseconds.
    pub(super) fn note_sojourn(&mut self, sojourn: u32) {
        self.least = Some(self.least.map_or(sojourn, |least| least.min(sojourn)));
    }

    /// The ingress queue is empty.
    pub(super) fn note_empty(&mut self) {
        self.least = Some(0);
    }

    /// An ordered packet leaves for the first time.
    pub(super) fn note_sent(&mut self, len: usize) {
        self.sent += len as f32;
    }

    /// By how much ordered packets are delayed beyond the fastest path.
    pub(super) fn spread(&self, fastest: f32) -> f32 {
        self.hold.map_or(0.0, |hold| (hold - fastest).max(0.0))
    }

    /// Decides anew, after a report. `window`: packets that the receiver can hold.
    pub(super) fn update(
        &mut self,
        models: &[Model; MAX_PATHS],
        up: PathSet,
        backlog: bool,
        window: f32,
        now: Instant,
    ) {
        let micros = now.micros_since(self.updated).min(50_000) as f32;
        self.updated = now;
        let usable = |index: usize| models.get(index).filter(|model| model.is_alive());
        let needs = || up.into_iter().filter_map(|index| need(usable(index)?));
        let known = || up.into_iter().filter_map(usable).filter_map(|model| Some((need(model)?, model.rate())));
        let rate: f32 = known().map(|(_, rate)| rate).sum();
        let up_to = |most: f32| known().filter(|(need, _)| *need <= most).map(|(_, rate)| rate).sum::<f32>();
        let main =
            known().map(|(need, _)| need).filter(|need| up_to(*need) >= (MAIN_SHARE * rate).min(START_RATE));
        let (Some(fastest), Some(main)) = (needs().reduce(f32::min), main.reduce(f32::min)) else { return };
        // A step up under a running flow would look like congestion to it.
        let low = if self.is_used { fastest.max(self.delay.min(main)) } else { main };
        let most = low + (WINDOW_SHARE * window * 1_400.0 * 1e6 / rate.max(1.0)).min(MOST_SPREAD);
        let remembered = |model: &&Model| {
            let since = model.down.or(model.suspect_since());
            since.is_none_or(|since| (now.micros_since(since) as f32) < REMEMBERED)
        };
        let high = models.iter().filter(remembered).filter_map(need).filter(|need| *need <= most + TOLERANCE);
        let high = high.fold(low, f32::max);
        self.judge_queue(low, now);
        self.judge_rate(models, now);
        if backlog {
            self.busy_at = now;
        }
        let rests = now > self.busy_at + IDLE;
        let standing = self.standing > STANDING && self.stood >= PERSISTS;
        let spread = self.note_spread((self.delay - fastest).max(0.0));
        let round = round_trip(models, up) + spread;
        // The least delay whose paths can carry what was sent in the last second, and are not full: none of them is closed.
        let enough = known().map(|(need, _)| need).filter(|need| FULL * up_to(*need) >= self.sent_rate);
        let kept = enough.reduce(f32::min).unwrap_or(high).min(high).max(low);
        let lifted = (fastest + spread + (LIFT - 1.0) * round).min(high);
        self.may_rise = self.delay < high - 100.0;
        if self.delay < low || rests && !self.is_used {
            // No flow is under way that would feel the step.
            self.delay = low;
        } else if standing && self.may_rise {
            let next = needs().filter(|need| *need > self.delay + 100.0).reduce(f32::min);
            let pays = next.is_some_and(|next| next - self.delay < self.standing as f32);
            let rise = if pays { RUSH } else { RISE };
            self.delay = (self.delay + rise * micros).min(next.unwrap_or(self.delay).min(most));
        } else if self.delay < lifted && !rests && self.is_filled(now) {
            self.delay = (self.delay + RISE * micros).min(lifted);
        } else if self.delay > low && rests || high < self.delay - 3_000.0 {
            self.delay = (self.delay - FALL * micros).max(kept.min(self.delay));
        }
        self.choose(models, up, fastest);
    }

    fn judge_queue(&mut self, low: f32, now: Instant) {
        if self.window_since == Instant::ZERO {
            // The first window is a whole one as well.
            self.window_since = now;
        }
        let round = 1.2 * (self.delay - low) + 50_000.0;
        let window = now.micros_since(self.window_since) as f32;
        if window > round {
            self.standing = self.least.take().unwrap_or(0);
            let more = if self.standing > STANDING { window } else { -window };
            self.stood = (self.stood + more).clamp(0.0, 2.0 * PERSISTS);
            self.window_since = now;
        }
    }

    /// Whether the open paths were full in the last second.
    fn judge_rate(&mut self, models: &[Model; MAX_PATHS], now: Instant) {
        let passed = now.since(self.sent_since);
        if passed < SECOND {
            return;
        }
        let rate = self.sent / passed.as_secs_f32();
        self.sent_rate = rate;
        let open: f32 =
            self.open.into_iter().filter_map(|index| models.get(index)).map(Model::rate).sum();
        let since = self.full_since.unwrap_or(self.sent_since);
        self.full_since = (open > 0.0 && rate >= FULL * open).then_some(since);
        (self.sent, self.sent_since) = (0.0, now);
        self.spreads.rotate_right(1);
        self.spreads[0] = MOST_SPREAD;
    }

    /// The least spread that a flow may remember, this one included.
    fn note_spread(&mut self, spread: f32) -> f32 {
        self.spreads[0] = self.spreads[0].min(spread);
        self.spreads.into_iter().fold(spread, f32::min)
    }

    /// Whether they have been so for long.
    fn is_filled(&self, now: Instant) -> bool {
        self.full_since.is_some_and(|since| now.since(since) >= LONG)
    }

    fn choose(&mut self, models: &[Model; MAX_PATHS], up: PathSet, fastest: f32) {
        let mut open = PathSet::default();
        let mut best: Option<(f32, usize)> = None;
        for index in up {
            let Some(model) = models.get(index).filter(|model| model.is_alive()) else { continue };
            let (Some(base), Some(need)) = (model.base(), need(model)) else { continue };
            let delay = base + model.queue();
            if best.is_none_or(|(least, _)| delay < least) {
                best = Some((delay, index));
            }
            if delay <= self.delay + TOLERANCE && need <= self.delay + 2.0 * TOLERANCE {
                open.insert(index);
            }
        }
        if let (true, Some((_, index))) = (open.is_empty(), best) {
            open.insert(index);
        }
        self.open = open;
        self.hold = (self.delay - fastest > NO_HOLD).then_some(self.delay - ALLOWANCE);
    }
}

#[cfg(test)]
mod tests;
