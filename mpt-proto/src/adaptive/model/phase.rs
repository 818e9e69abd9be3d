//! What is sent on a path to find its rate, and what follows from what arrives.
//!
//! ```text
//!                   no growth for 3 rounds, or a queue                  the queue is gone
//!            +---------+                              +-------+                          +--------+
//!  start --> | Startup | ---------------------------> | Drain | -----------------------> | Cruise |
//!            |   2.0   | <--------------------------- | <= 1  | <----------------------- | 0.85-1 |
//!            +---------+ a probe found more, or there +-------+  no empty queue was seen +--------+
//!                        was more before the brake      ^   ^    for too long, or the        |
//!                                                       |   |    brake: arrivals fall behind |
//!                        the time is over, or a queue   |   |                                | packets wait, and
//!                                              +--------+   +--- the brake, from any phase   | the period is over
//!                                              |                                             |
//!                                          +-------+                                         |
//!                                          | Probe | <---------------------------------------+
//!                                          | 1.125 |
//!                                          +-------+
//!     From any phase to Compete, 1.0: a queue stands though the rate was cut, so others keep it.
//!     From Compete to Cruise: the queue is gone, or nothing was lost for so long that it must be a longer way.
//! ```
//!
//! The numbers are what is sent, of the rate. Whoever gives way to a queue that others keep gets nothing, so Compete grows by two
//! packets a round trip and shrinks by loss, as they do.
//!
//! [`State::next`] is pure: what follows from a state and a report. [`Phases`] keeps what outlives a state, and applies it.

use core::fmt;

use crate::adaptive::model::anchor::Anchor;
use crate::adaptive::model::delay::{DelayEstimate, Queue};
use crate::adaptive::model::elapsed;
use crate::adaptive::model::rate::RateEstimate;
use crate::adaptive::model::trial::{Answer, Trial};
use crate::adaptive::tuning::{
    ANSWER, ANSWER_NOISE, BRAKE_EVENT, BRAKE_NOISE, BRAKE_QUEUE, BRAKE_SHARE, BRAKE_STRETCH, BRAKE_TIME,
    COMPETE_KEEPS, COMPETE_PACKETS, COMPETE_STEP, CRUISE_LEAST, CRUISE_SLOPE, DRAIN, DRAIN_NOISE,
    DRAIN_PACKETS, DRAIN_PROBE, DRAIN_ROUNDS, DRAIN_STARTUP, DRAIN_TIME, EMPTY, FALLEN, FLAT_ROUNDS,
    GROWING_REPORTS, LONGER_WAY, PROBE_BACKOFF, PROBE_FULL, PROBE_GROWTH, PROBE_HURRY, PROBE_JITTER,
    PROBE_JUDGED, PROBE_PERIOD, PROBE_QUEUE, PROBE_SPREAD, QUEUED_REPORTS, REGAIN, SAMPLE_PACKETS, SQUEEZED,
    SQUEEZED_QUEUE, SQUEEZED_SHARE, STABLE_GAIN, STALE_BASE, STARTUP_GAIN, STARTUP_GROWTH, STARTUP_QUEUE,
};
use crate::time::Instant;

/// What the sender does on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Phase {
    /// Doubles the rate until it does not help.
    #[default]
    Startup,
    /// Sends less than the rate, after a probe no more than it, until the queue is gone.
    Drain,
    /// Sends at the rate.
    Cruise,
    /// Sends more than the rate for a while, to see whether there is more.
    Probe,
    /// Shares the link with others that fill its queue, by loss alone as they do.
    Compete,
}

impl Phase {
    /// Its name, as people are shown it; it is stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Drain => "drain",
            Self::Cruise => "cruise",
            Self::Probe => "probe",
            Self::Compete => "compete",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A phase with what it needs to know.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum State {
    Startup {
        /// Rate of the best round, in bytes a second.
        best: f32,
        /// When this round began.
        round_since: Instant,
        /// Rounds in a row without growth.
        flat_rounds: u8,
        /// Reports in a row with a queue, and with one that grows.
        queued_reports: u8,
        growing_reports: u8,
    },
    Drain {
        /// What is sent, of the rate.
        gain: f32,
        after: Cause,
    },
    Cruise,
    Probe {
        /// Rate before, in bytes a second.
        rate_before: f32,
    },
    Compete {
        /// When the rate was last cut, or since when it competes.
        yielded: Instant,
        /// Packets lost by then.
        lost: u32,
    },
}

/// Why a path drains.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum Cause {
    /// Startup ended, or the path was silent.
    Queue,
    /// No empty queue was seen for long: the drain is to show the base.
    Proof,
    /// A probe ended.
    Probe { rate_before: f32, is_full: bool },
    /// Arrivals fell behind; `regain` is the rate of before, if that is worth a try.
    Brake { regain: f32 },
}

/// What a report says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signal {
    pub(super) at: Anchor,
    pub(super) now: Instant,
    /// Path number of the next datagram.
    pub(super) next_number: u32,
    /// Packets wait for a path.
    pub(super) backlog: bool,
    /// The path drops what exceeds its rate.
    pub(super) is_policed: bool,
    /// From 0 to 1.
    pub(super) random: f32,
    /// A sample ended that was not limited by what there was to send.
    pub(super) sampled: bool,
    /// The delay grew since the report before.
    pub(super) grows: bool,
    /// How long a probe lasts on this path, in microseconds.
    pub(super) probe_time: f32,
    /// What a probe sends, of the rate.
    pub(super) probe_gain: f32,
    /// Shortest time of a sample in a probe, in microseconds.
    pub(super) probe_sample: f32,
    /// Time from sending to the report, and a report more, in microseconds.
    pub(super) round: f32,
    /// Packets lost so far.
    pub(super) lost: u32,
    /// Mean bytes of a datagram.
    pub(super) mean_len: f32,
    /// Microseconds since the report before.
    pub(super) since_report: f32,
}

/// What follows from a report.
enum Next {
    Stay(State),
    Enter(State),
}

impl State {
    const fn startup(best: f32, now: Instant) -> Self {
        Self::Startup { best, round_since: now, flat_rounds: 0, queued_reports: 0, growing_reports: 0 }
    }

    const fn drain(gain: f32, after: Cause) -> Self {
        Self::Drain { gain, after }
    }

    /// What is sent, of the rate, after `time` microseconds in this state.
    fn gain(&self, time: f32, queue: Queue, target: f32, see: &Signal) -> f32 {
        match *self {
            Self::Startup { .. } => STARTUP_GAIN,
            Self::Drain { gain, .. } => gain,
            Self::Cruise => {
                let surplus = (queue.least - target / 2.0).max(0.0);
                (1.0 - CRUISE_SLOPE * surplus).max(CRUISE_LEAST)
            }
            Self::Probe { .. } if time <= see.probe_time => see.probe_gain,
            Self::Probe { .. } | Self::Compete { .. } => 1.0,
        }
    }
}

/// See the module.
#[derive(Debug)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Phases {
    state: State,
    /// When the state began.
    since: Instant,
    /// What is sent, of the rate.
    gain: f32,
    /// What the path answers to this state.
    trial: Trial,
    /// Time from one probe to the next, in microseconds.
    period: f32,
    /// Slow mean of the rate while it cruised, in bytes a second; `None`: it never did.
    stable: Option<f32>,
    /// Rate when the queue was last empty, in bytes a second.
    rate_when_empty: f32,
    brake: Brake,
}

/// The fast way down: a queue that grows while less arrives than was sent, twice in a row.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
struct Brake {
    from: Option<Anchor>,
    /// What arrived in the time before, in bytes a second, if that fell behind as well.
    behind: Option<f32>,
    /// When the first brake of this event was pulled.
    pulled: Option<Instant>,
    /// When the rate last fell at once.
    fallen: Option<Instant>,
}

impl Brake {
    /// A report: the rate at which packets arrive, if that is too little.
    fn handle(&mut self, at: Anchor, rate: f32) -> Option<f32> {
        let Some(from) = self.from.filter(|from| at.since(from).arrived <= BRAKE_TIME.1) else {
            self.from = Some(at);
            return None;
        };
        let span = at.since(&from);
        if span.arrived < BRAKE_TIME.0 || span.packets < SAMPLE_PACKETS {
            return None;
        }
        self.from = Some(at);
        let arrival = span.arrival_rate();
        let falls_behind = span.grows(BRAKE_STRETCH) && arrival < BRAKE_SHARE * rate;
        // Once may be a pause of the link: what waited then comes at its rate.
        let before = core::mem::replace(&mut self.behind, falls_behind.then_some(arrival))?;
        falls_behind.then_some(arrival.max(before))
    }
}

impl Default for Phases {
    fn default() -> Self {
        Self {
            state: State::startup(0.0, Instant::ZERO),
            since: Instant::ZERO,
            gain: STARTUP_GAIN,
            trial: Trial::default(),
            period: PROBE_PERIOD.0,
            stable: None,
            rate_when_empty: 0.0,
            brake: Brake::default(),
        }
    }
}

impl Phases {
    /// The phase, as people are shown it.
    pub(super) const fn phase(&self) -> Phase {
        match self.state {
            State::Startup { .. } => Phase::Startup,
            State::Drain { .. } => Phase::Drain,
            State::Cruise => Phase::Cruise,
            State::Probe { .. } => Phase::Probe,
            State::Compete { .. } => Phase::Compete,
        }
    }

    /// What is sent, of the rate.
    pub(super) const fn gain(&self) -> f32 {
        self.gain
    }

    /// The queue was seen to be empty at this rate.
    pub(super) const fn note_empty(&mut self, rate: f32) {
        self.rate_when_empty = rate;
    }

    /// Measurements that had begun are void.
    pub(super) const fn forget(&mut self, next_number: u32) {
        (self.brake.from, self.brake.behind) = (None, None);
        self.trial = Trial::begin(next_number);
    }

    /// The path was silent, and delivers again: it goes on where it was, but empties first.
    pub(super) fn revive(&mut self, rate: &RateEstimate, next_number: u32, now: Instant) {
        let regain = self.stable.unwrap_or(0.0).max(rate.value());
        self.brake.pulled = Some(now);
        self.enter(State::drain(DRAIN, Cause::Brake { regain }), next_number, now);
    }

    fn enter(&mut self, state: State, next_number: u32, now: Instant) {
        (self.state, self.since) = (state, now);
        self.trial = Trial::begin(next_number);
    }

    /// A report.
    pub(super) fn handle(&mut self, see: &Signal, rate: &mut RateEstimate, delay: &mut DelayEstimate) {
        if self.trial.handle(see.at) && matches!(self.state, State::Probe { .. }) {
            // The sample is of the probe alone.
            rate.restart(Some(see.at));
        }
        let next = self.squeeze(see, rate, delay).or_else(|| self.pull_brake(see, rate, delay));
        match next.unwrap_or_else(|| self.next(see, rate, delay)) {
            Next::Stay(state) => self.state = state,
            Next::Enter(state) => self.enter(state, see.next_number, see.now),
        }
        self.gain = self.state.gain(elapsed(see.now, self.since), delay.queue(), delay.target(), see);
    }

    /// Whether others keep the queue.
    fn squeeze(&self, see: &Signal, rate: &mut RateEstimate, delay: &DelayEstimate) -> Option<Next> {
        let stands_for = delay.since_empty(see.now) - SQUEEZED_QUEUE * delay.deepest();
        let is_squeezed = see.backlog
            && !matches!(self.state, State::Compete { .. })
            && stands_for > SQUEEZED.as_micros() as f32
            && delay.queue().least > BRAKE_QUEUE
            && rate.value() < SQUEEZED_SHARE * self.rate_when_empty;
        is_squeezed.then(|| {
            rate.reset(SQUEEZED_SHARE * self.rate_when_empty, see.now);
            Next::Enter(State::Compete { yielded: see.now, lost: see.lost })
        })
    }

    /// Whether arrivals fall behind what is sent.
    fn pull_brake(&mut self, see: &Signal, rate: &mut RateEstimate, delay: &DelayEstimate) -> Option<Next> {
        if matches!(self.state, State::Compete { .. }) {
            return None;
        }
        let arrival = self.brake.handle(see.at, rate.value())?;
        let is_queued = delay.queue().now > BRAKE_QUEUE + BRAKE_NOISE * delay.deviation();
        if !is_queued || matches!(self.state, State::Startup { .. }) {
            return None;
        }
        let is_first = self.brake.pulled.is_none_or(|at| elapsed(see.now, at) > BRAKE_EVENT);
        let regain = match self.state {
            State::Drain { after: Cause::Brake { regain }, .. } => regain,
            _ if is_first => self.stable.unwrap_or(0.0),
            _ => 0.0,
        };
        self.brake.pulled = Some(see.now);
        if arrival < FALLEN * rate.value() {
            // It may rise as soon: the next probes follow at once.
            (self.brake.fallen, self.period) = (Some(see.now), 0.0);
        }
        rate.reset(arrival, see.now);
        Some(Next::Enter(State::drain(DRAIN, Cause::Brake { regain })))
    }

    fn next(&mut self, see: &Signal, rate: &mut RateEstimate, delay: &mut DelayEstimate) -> Next {
        let (queue, target, in_state) = (delay.queue(), delay.target(), elapsed(see.now, self.since));
        match self.state {
            State::Startup {
                mut best,
                mut round_since,
                mut flat_rounds,
                mut queued_reports,
                mut growing_reports,
            } => {
                if see.sampled && elapsed(see.now, round_since) > see.round {
                    round_since = see.now;
                    if rate.value() > best * STARTUP_GROWTH {
                        (best, flat_rounds) = (rate.value(), 0);
                    } else {
                        flat_rounds += 1;
                    }
                }
                // Of a flow that is slow to grow no round would tell; that even the luckiest packet waits does.
                let stands = !see.sampled && queue.least > target;
                let is_queued = stands || queue.smoothed > (2.0 * target).max(STARTUP_QUEUE);
                queued_reports = if is_queued { queued_reports.saturating_add(1) } else { 0 };
                growing_reports = if is_queued && see.grows { growing_reports + 1 } else { 0 };
                let is_full = queued_reports >= QUEUED_REPORTS && !delay.is_noisy()
                    || growing_reports >= GROWING_REPORTS;
                if see.is_policed {
                    return Next::Enter(State::Cruise);
                }
                if flat_rounds >= FLAT_ROUNDS || is_full {
                    return Next::Enter(State::drain(DRAIN_STARTUP, Cause::Queue));
                }
                Next::Stay(State::Startup { best, round_since, flat_rounds, queued_reports, growing_reports })
            }
            State::Drain { after, .. } => {
                let longest = DRAIN_ROUNDS * see.round
                    + DRAIN_TIME
                    + DRAIN_NOISE * delay.deviation()
                    + DRAIN_PACKETS * delay.packet_time();
                let is_empty = match after {
                    Cause::Proof => self.is_proved(see, rate, delay),
                    _ => queue.least < target,
                };
                if !is_empty && in_state <= longest {
                    return Next::Stay(self.state);
                }
                Next::Enter(self.after_drain(after, see, rate, delay))
            }
            State::Cruise => {
                let stable = self.stable.get_or_insert(rate.value());
                *stable += STABLE_GAIN * (rate.value() - *stable);
                let is_stale = delay.since_empty(see.now) > STALE_BASE.as_micros() as f32;
                if is_stale || see.backlog && delay.wants_proof(see.now) {
                    delay.set_empty(see.now);
                    // Less than is used, or a queue would stay.
                    return Next::Enter(State::drain(DRAIN * rate.used() / rate.value(), Cause::Proof));
                }
                // At the rate that is there a queue comes and goes; where there is none, there may well be more.
                let hurries = queue.smoothed < EMPTY * target;
                let period = if hurries { self.period / PROBE_HURRY } else { self.period };
                if in_state > period && delay.is_empty() && see.backlog && !rate.is_policed(see.now) {
                    return Next::Enter(State::Probe { rate_before: rate.value() });
                }
                Next::Stay(State::Cruise)
            }
            State::Probe { rate_before } => {
                let time = see.probe_time;
                // A probe that is cut short is seen whole; of a longer one, a sample is enough.
                let seen = if see.round + see.probe_sample > time { time } else { see.probe_sample };
                if in_state <= see.round + seen && queue.least <= PROBE_QUEUE * target {
                    return Next::Stay(self.state);
                }
                let gain = if queue.least > target { DRAIN_PROBE } else { 1.0 };
                let is_full = self.trial.span().is_some_and(|span| {
                    let expected = (see.probe_gain - 1.0) * span.sent.min(time);
                    span.sent > PROBE_JUDGED && span.arrived - span.sent > PROBE_FULL * expected
                });
                Next::Enter(State::drain(gain, Cause::Probe { rate_before, is_full }))
            }
            State::Compete { yielded, lost } => compete(yielded, lost, see, rate, delay),
        }
    }

    /// Whether the drain showed the base, or an empty queue.
    fn is_proved(&mut self, see: &Signal, rate: &RateEstimate, delay: &mut DelayEstimate) -> bool {
        if !delay.is_vague() && delay.is_empty() {
            return true;
        }
        let expected = ANSWER.max(ANSWER_NOISE * delay.deviation()).max(delay.packet_time());
        match self.trial.answer(rate.used(), expected) {
            Answer::Open => false,
            Answer::Stays(level) => {
                delay.prove(level, see.now);
                true
            }
        }
    }

    /// What follows when the queue is gone, or a drain has lasted for too long.
    fn after_drain(
        &mut self,
        after: Cause,
        see: &Signal,
        rate: &mut RateEstimate,
        delay: &mut DelayEstimate,
    ) -> State {
        // What left while the queue drained is no sign of what the path carries.
        rate.limit(see.next_number.wrapping_sub(1));
        let restart = match after {
            Cause::Probe { rate_before, is_full } => !is_full && rate.value() > PROBE_GROWTH * rate_before,
            // The capacity may be back: one quick try, which ends at the first sign of a queue.
            Cause::Brake { regain } => regain > REGAIN * rate.value(),
            Cause::Queue | Cause::Proof => false,
        };
        let grew = restart && matches!(after, Cause::Probe { .. });
        self.period = if grew {
            see.round
        } else {
            let has_fallen = self.brake.fallen.is_some_and(|at| elapsed(see.now, at) < BRAKE_EVENT);
            let least = if has_fallen { see.round } else { PROBE_PERIOD.0 };
            let longer = (PROBE_BACKOFF * self.period).max(least).min(PROBE_PERIOD.1);
            longer * (PROBE_JITTER + PROBE_SPREAD * see.random)
        };
        if restart && (delay.is_empty() || !grew) {
            delay.forget_queue();
            return State::startup(rate.value(), see.now);
        }
        State::Cruise
    }
}

/// Additive increase, multiplicative decrease, like the flows it shares the link with.
fn compete(
    yielded: Instant,
    lost: u32,
    see: &Signal,
    rate: &mut RateEstimate,
    delay: &mut DelayEstimate,
) -> Next {
    let round = see.round.max(1_000.0);
    let since_yielded = elapsed(see.now, yielded);
    let mut state = State::Compete { yielded, lost: see.lost };
    if lost == see.lost {
        let rounds = see.since_report.min(COMPETE_STEP) / round;
        rate.reset(rate.value() + COMPETE_PACKETS * see.mean_len * 1e6 / round * rounds, see.now);
    } else if since_yielded > round {
        rate.reset(COMPETE_KEEPS * rate.value(), see.now);
        state = State::Compete { yielded: see.now, lost: see.lost };
    }
    let is_longer_way = since_yielded > LONGER_WAY.as_micros() as f32;
    if is_longer_way {
        delay.forget_base();
    }
    if !is_longer_way && !delay.is_empty() {
        return Next::Stay(state);
    }
    rate.restart(None);
    delay.set_empty(see.now);
    Next::Enter(State::Cruise)
}

#[cfg(test)]
mod tests;
