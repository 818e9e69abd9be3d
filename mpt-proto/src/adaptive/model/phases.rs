//! The phases of a path, and how its rate follows from what arrived.
//!
//! ```text
//!                     no growth for 3 rounds, or a queue             the queue is gone
//!            +---------+                              +-------+                       +--------+
//!  start --> | Startup | ---------------------------> | Drain | --------------------> | Cruise |
//!            | gain 2  | <--------------------------- | < 1   | <-------------------- | 0.85-1 |
//!            +---------+ a probe found more, or there +-------+  no empty queue seen  +--------+
//!                        was more a moment ago            ^      for 3 s, or arrivals     |
//!                                                         |      fall behind              | packets wait, and
//!                                             a queue, or |                               | the period is over
//!                                             long enough |      +-------+                |
//!                                                         +----- | Probe | <--------------+
//!                                                                | 1.125 |
//!                                                                +-------+
//! ```
//!
//! A queue that stands for two seconds although the rate was cut is kept by others. Whoever gives way to it gets nothing,
//! so from any phase the path then goes to Compete, where it grows by two packets a round trip and shrinks by loss, until
//! the queue is gone, or until nothing was lost for so long that the queue must be a longer way.

use core::time::Duration;

use crate::adaptive::model::{
    Anchor, BASE_WINDOW, LEAST_RATE, MOST_ALARMS, MOST_RATE, Model, PROBE_PERIOD, elapsed, micros, span,
};
use crate::feedback;
use crate::time::{Instant, Micros};
use crate::wire::extension;

/// A queue of this many microseconds on the path is all right.
const QUEUE_TARGET: f32 = 4_000.0;
/// Less than this share of it is none.
const EMPTY: f32 = 0.2;
/// Above this one the brake is pulled.
const QUEUE_HIGH: f32 = 20_000.0;
/// When no empty queue was seen for so long, one is made, or a standing queue would become the base.
const STALE_BASE: Duration = Duration::from_secs(3);
/// What a probe for more sends beyond the rate: enough to be seen in a sample, little enough that its queue is.
const PROBE_GAIN: f32 = 1.125;
/// And for how long at most: a round of it would leave a queue of an eighth of the round, and a far path would be closed.
const PULSE: f32 = 100_000.0;
/// The rate is taken over so long at least, but in startup.
const SAMPLE: f32 = 40_000.0;
/// A queue that stands for so long is kept by others.
const SQUEEZED: Duration = Duration::from_secs(2);

/// What the sender does on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Phase {
    /// Doubles the rate until it does not help.
    #[default]
    Startup,
    /// Sends less than the rate until the queue is gone.
    Drain,
    /// Sends at the rate.
    Cruise,
    /// Sends more than the rate for a while, to see whether there is more.
    Probe,
    /// Shares the link with others that fill its queue, by loss alone as they do.
    Compete,
}

impl Model {
    pub(in crate::adaptive) const fn phase(&self) -> Phase {
        self.phase
    }

    /// The queue that is all right here.
    pub(super) fn target(&self) -> f32 {
        QUEUE_TARGET + 2.0 * self.jitter
    }

    #[inline(never)]
    pub(super) fn enter(&mut self, phase: Phase, gain: f32, now: Instant) {
        self.phase = phase;
        self.phase_since = now;
        self.set_gain(gain);
    }

    pub(super) fn set_gain(&mut self, gain: f32) {
        self.gain = gain;
        self.set_cost();
    }

    pub(super) fn set_rate(&mut self, rate: f32) {
        self.rate = rate.clamp(LEAST_RATE, MOST_RATE);
        self.set_cost();
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and far below 2^32")]
    fn set_cost(&mut self) {
        self.cost = (1e9 * 1024.0 / (self.rate * self.gain)) as u32;
    }

    /// Signs of life on a path that was suspected `since` then: it goes on where it was, but empties first. What is heard of
    /// within one feedback had left before the suspicion: only a burst was lost, and it was a false alarm.
    pub(super) fn revive(&mut self, since: Instant, now: Instant) {
        self.suspect = None;
        if elapsed(now, since) < self.feedback {
            self.alarms = (self.alarms + 1).min(MOST_ALARMS);
            self.alarmed_at = now;
            return;
        }
        self.alarms = 0;
        self.before_brake = self.stable.max(self.rate);
        self.braked = Some(now);
        self.may_restart = true;
        self.empty_at = now;
        self.set_rate(self.rate * 0.5);
        let rate = self.rate;
        self.highest.reset(now, rate);
        self.enter(Phase::Drain, 0.5, now);
    }

    pub(super) fn estimate(&mut self, at: Anchor, backlog: bool, now: Instant, random: f32) {
        if self.phase == Phase::Compete {
            self.compete(now);
            return;
        }
        let is_squeezed = elapsed(now, self.empty_at) > SQUEEZED.as_micros() as f32
            && self.queue_least > QUEUE_HIGH
            && self.rate < 0.5 * self.rate_empty;
        if is_squeezed && backlog {
            (self.yielded, self.lost_before) = (now, self.lost);
            self.set_rate(0.5 * self.rate_empty);
            self.enter(Phase::Compete, 1.0, now);
            return;
        }
        self.brake(at, now);
        let Some(from) = self.sample else {
            self.sample = Some(at);
            return;
        };
        let sent = span(at.stamp, from.stamp);
        let arrived = span(at.arrived, from.arrived);
        let packets = at.packets.wrapping_sub(from.packets);
        let bytes = at.bytes.wrapping_sub(from.bytes) as f32;
        let least = if self.phase == Phase::Startup { 12_000.0 } else { SAMPLE };
        let interval = sent.max(arrived);
        let sampled = interval >= least && packets >= 8;
        if extension::distance(from.settled, self.limit) > 0 {
            // It does not tell anything any more, but would seem to lie ahead after half the number circle.
            self.limit = from.settled.wrapping_sub(1);
        }
        self.train_end = self.train_end.filter(|end| extension::distance(at.settled, *end) <= 0);
        let in_train = self.train_end.is_some();
        let limited = !in_train
            && (extension::distance(at.settled, self.limit) <= 0
                || extension::distance(from.settled, self.limit) < 0);
        if sampled {
            self.sample = Some(at);
            let rate = bytes * 1e6 / interval;
            let arrival = bytes * 1e6 / arrived.max(100.0);
            let window = Micros(1_000_000).max(micros(6.0 * self.feedback));
            // What left while the queue was let drain is less than the path can carry, and no sign of how much that is.
            let spared = self.phase == Phase::Drain;
            if !limited && !spared || rate > self.rate {
                let highest = self.highest.push(window, now, rate);
                self.set_rate(highest);
            }
            let saturated = !limited && self.queue_least > 2.0 * self.target();
            if saturated && arrival < self.rate && self.phase != Phase::Startup {
                let rate = self.rate + 0.3 * (arrival - self.rate);
                self.set_rate(rate);
                self.highest.reset(now, rate);
            }
        }
        self.step(sampled && !limited, backlog, now, random);
    }

    /// Additive increase, multiplicative decrease, like the flows it shares the link with.
    fn compete(&mut self, now: Instant) {
        let micros = elapsed(now, self.reported_at).min(100_000.0);
        let round = self.feedback.max(1_000.0);
        if core::mem::replace(&mut self.lost_before, self.lost) != self.lost {
            if elapsed(now, self.yielded) > round {
                self.yielded = now;
                self.set_rate(self.rate * 0.7);
            }
        } else {
            self.set_rate(self.rate + 2.0 * self.mean_len * 1e6 / round * micros / round);
        }
        let is_alone = self.queue_least < self.target();
        let is_longer_way = elapsed(now, self.yielded) > 6.0 * BASE_WINDOW.as_micros() as f32;
        if is_alone || is_longer_way {
            if is_longer_way {
                (self.base, self.bases) = (None, [None; 2]);
            }
            let rate = self.rate;
            self.highest.reset(now, rate);
            (self.sample, self.quick, self.empty_at) = (None, None, now);
            self.enter(Phase::Cruise, 1.0, now);
        }
    }

    /// The fast way down: a queue that grows while less arrives than was sent.
    fn brake(&mut self, at: Anchor, now: Instant) {
        let Some(from) = self.quick.filter(|from| span(at.arrived, from.arrived) <= 200_000.0) else {
            self.quick = Some(at);
            return;
        };
        let arrived = span(at.arrived, from.arrived);
        let packets = at.packets.wrapping_sub(from.packets);
        if arrived < 20_000.0 || packets < 8 {
            return;
        }
        self.quick = Some(at);
        let arrival = at.bytes.wrapping_sub(from.bytes) as f32 * 1e6 / arrived;
        let falls_behind = arrived > 1.15 * span(at.stamp, from.stamp) && arrival < 0.9 * self.rate;
        let queued = self.queue_now > QUEUE_HIGH + 4.0 * self.jitter;
        if !falls_behind || !queued || self.phase == Phase::Startup {
            return;
        }
        if self.braked.is_none_or(|at| elapsed(now, at) > 2e6) {
            self.before_brake = self.stable;
            self.may_restart = true;
        }
        self.braked = Some(now);
        self.set_rate(arrival);
        self.highest.reset(now, arrival);
        self.enter(Phase::Drain, 0.5, now);
    }

    /// How long to cruise before the next probe. At the rate that is there a queue comes and goes; where there is none, there
    /// may well be more.
    fn cruise_time(&self) -> f32 {
        if self.queue < EMPTY * self.target() { self.period / 4.0 } else { self.period }
    }

    fn step(&mut self, sampled: bool, backlog: bool, now: Instant, random: f32) {
        let target = self.target();
        let round = self.feedback + feedback::INTERVAL.as_micros() as f32;
        let in_phase = elapsed(now, self.phase_since);
        match self.phase {
            Phase::Startup => {
                if sampled && in_phase > round {
                    self.phase_since = now;
                    if self.rate > self.full * 1.2 {
                        (self.full, self.flat_rounds) = (self.rate, 0);
                    } else {
                        self.flat_rounds += 1;
                    }
                }
                // Of a flow that is slow to grow no round would tell; that even the luckiest packet waits does.
                let stands = !sampled && self.queue_least > target;
                let queued = stands || self.queue > (2.0 * target).max(8_000.0);
                self.queued_reports = if queued { self.queued_reports + 1 } else { 0 };
                if self.flat_rounds >= 3 || self.queued_reports >= 2 {
                    self.enter(Phase::Drain, 0.6, now);
                }
            }
            Phase::Drain => {
                if self.queue_least >= target && in_phase <= 4.0 * round + 300_000.0 {
                    return;
                }
                self.handle_idle();
                self.enter(Phase::Cruise, 1.0, now);
                let grew = self.rate > self.rate_before * 1.04;
                self.period = if grew {
                    round
                } else {
                    (self.period * 1.5).clamp(PROBE_PERIOD.0, PROBE_PERIOD.1) * (0.85 + 0.3 * random)
                };
                self.rate_before = MOST_RATE;
                if grew && self.queue_least < target {
                    (self.full, self.flat_rounds, self.queued_reports) = (self.rate, 0, 0);
                    self.queue = 0.0;
                    self.enter(Phase::Startup, 2.0, now);
                    return;
                }
                let recent = self.braked.is_some_and(|at| elapsed(now, at) < 3e6);
                if core::mem::take(&mut self.may_restart) && recent && self.before_brake > 1.25 * self.rate {
                    // The capacity may be back: one quick try, which ends at the first sign of a queue.
                    (self.full, self.flat_rounds, self.queued_reports) = (self.rate, 0, 0);
                    self.queue = 0.0;
                    self.enter(Phase::Startup, 2.0, now);
                }
            }
            Phase::Cruise => {
                let gain = 1.0 - ((self.queue_least - target / 2.0) / 100_000.0).max(0.0);
                self.set_gain(gain.max(0.85));
                self.stable = if self.stable > 0.0 {
                    self.stable + 0.02 * (self.rate - self.stable)
                } else {
                    self.rate
                };
                if elapsed(now, self.empty_at) > STALE_BASE.as_micros() as f32 {
                    self.empty_at = now;
                    self.enter(Phase::Drain, 0.5, now);
                } else if in_phase > self.cruise_time() && self.queue_least < target && backlog {
                    self.rate_before = self.rate;
                    self.enter(Phase::Probe, PROBE_GAIN, now);
                }
            }
            Phase::Compete => {}
            Phase::Probe => {
                if in_phase > PULSE {
                    self.set_gain(1.0);
                }
                // A probe that is cut short is seen whole; of a longer one, a sample is enough.
                let seen = if round + SAMPLE > PULSE { PULSE } else { SAMPLE };
                if in_phase > round + seen || self.queue_least > 2.5 * target {
                    let gain = if self.queue_least > target { 0.9 } else { 1.0 };
                    self.enter(Phase::Drain, gain, now);
                }
            }
        }
    }
}
