//! BBR, version 1, simplified: as draft-cardwell-iccrg-bbr-congestion-control-00 but for policers and recovery, with what
//! Linux adds to the window so that bursts do not use it up.

use std::collections::VecDeque;

use crate::rng::Rng;

/// 2 / ln 2: the smallest gain that doubles the rate each round.
const STARTUP_GAIN: f64 = 2.885;
const CYCLE: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
/// The rate is the highest of so many rounds.
const RATE_ROUNDS: u64 = 10;
/// Startup ends after so many rounds without growth by a quarter.
const FULL_ROUNDS: u32 = 3;
/// The shortest round trip is looked for anew after so many seconds, for so long, with so few segments.
const MIN_RTT_EXPIRES: f64 = 10.0;
const PROBE_RTT: f64 = 0.2;
const PROBE_RTT_WINDOW: f64 = 4.0;
/// The pace is a little less than the gain says, so that queues empty.
const PACING_MARGIN: f64 = 0.99;
/// Linux sends a millisecond's worth at once, 2 to 45 segments, and adds three of these to the window.
const BURST: f64 = 0.001;
const BURST_SEGMENTS: (f64, f64) = (2.0, 45.0);
/// And the most that acknowledgements ran ahead of the rate within five to ten rounds, up to this many seconds' worth.
const AHEAD_ROUNDS: u64 = 5;
const MOST_AHEAD: f64 = 0.1;

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Startup,
    Drain,
    ProbeBandwidth,
    ProbeRtt { until: Option<f64>, least: f64, window_before: f64 },
}

/// What an acknowledgement says about the rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct RateSample {
    /// Segments delivered when the segment was sent, and when the last of them was, in seconds.
    pub(super) delivered_before: u64,
    pub(super) delivered_at: f64,
    /// When the last of them had been sent, and when the segment was.
    pub(super) sent_before: f64,
    pub(super) sent_at: f64,
}

/// A model of the path: its rate and its round trip.
#[derive(Debug, Clone)]
pub(super) struct Bbr {
    rng: Rng,
    state: State,
    window: f64,
    gain: f64,
    /// The highest rates, by round, descending; in segments a second.
    rates: VecDeque<(u64, f64)>,
    rate: f64,
    min_rtt: f64,
    min_rtt_at: f64,
    round: u64,
    /// The round ends when something sent after so many deliveries is acknowledged.
    round_end: u64,
    /// What was sent until so many had been delivered was limited by the window of the probe for the round trip.
    limited_until: u64,
    full_rate: f64,
    full_rounds: u32,
    phase: usize,
    phase_at: f64,
    ahead: Ahead,
}

/// How far acknowledgements run ahead of the rate.
#[derive(Debug, Clone, Default)]
struct Ahead {
    /// The most of these rounds and of those before.
    most: [f64; 2],
    since_round: u64,
    /// Since when `acked` counts.
    since: f64,
    acked: f64,
}

impl Ahead {
    fn handle_delivered(&mut self, count: f64, rate: f64, window: f64, round: u64, now: f64) {
        if round >= self.since_round + AHEAD_ROUNDS {
            self.since_round = round;
            self.most = [0.0, self.most[0]];
        }
        let mut expected = rate * (now - self.since);
        if self.acked <= expected {
            (self.since, self.acked, expected) = (now, 0.0, 0.0);
        }
        self.acked += count;
        self.most[0] = self.most[0].max((self.acked - expected).min(window));
    }

    fn segments(&self, rate: f64) -> f64 {
        self.most[0].max(self.most[1]).min(MOST_AHEAD * rate)
    }
}

impl Bbr {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            state: State::Startup,
            window: 10.0,
            gain: STARTUP_GAIN,
            rates: VecDeque::new(),
            rate: 0.0,
            min_rtt: f64::INFINITY,
            min_rtt_at: 0.0,
            round: 0,
            round_end: 0,
            limited_until: 0,
            full_rate: 0.0,
            full_rounds: 0,
            phase: 0,
            phase_at: 0.0,
            ahead: Ahead::default(),
        }
    }

    pub(super) const fn window(&self) -> f64 {
        self.window
    }

    /// Seconds from one segment to the next; `None`: not known yet.
    pub(super) fn interval(&self) -> Option<f64> {
        (self.rate > 0.0).then(|| 1.0 / (self.gain * self.rate * PACING_MARGIN))
    }

    /// A round trip was measured.
    pub(super) fn handle_rtt(&mut self, rtt: f64, now: f64) {
        if rtt < self.min_rtt {
            self.min_rtt = rtt;
            self.min_rtt_at = now;
        }
        if let State::ProbeRtt { least, .. } = &mut self.state {
            *least = least.min(rtt);
        }
    }

    /// Segments arrived: `count` now, `delivered` in all; `pipe` are on the way.
    pub(super) fn handle_delivered(
        &mut self,
        sample: Option<RateSample>,
        count: u64,
        delivered: u64,
        pipe: u64,
        now: f64,
    ) {
        let is_new_round = sample.is_some_and(|sample| self.handle_sample(sample, delivered, now));
        if matches!(self.state, State::ProbeRtt { .. }) {
            // As Linux: what is sent with a window of four tells nothing of the rate.
            self.limited_until = delivered + pipe;
        }
        self.ahead.handle_delivered(count as f64, self.rate, self.window, self.round, now);
        let pipe = pipe as f64;
        let bdp = if self.min_rtt.is_finite() { self.rate * self.min_rtt } else { 0.0 };
        if self.state == State::Startup && is_new_round {
            if self.rate > self.full_rate * 1.25 {
                self.full_rate = self.rate;
                self.full_rounds = 0;
            } else {
                self.full_rounds += 1;
                if self.full_rounds >= FULL_ROUNDS {
                    self.state = State::Drain;
                    self.gain = 1.0 / STARTUP_GAIN;
                }
            }
        }
        if self.state == State::Drain && pipe <= bdp {
            self.probe_bandwidth(now);
        }
        if self.state == State::ProbeBandwidth {
            self.cycle(pipe, bdp, now);
        }
        self.probe_rtt(pipe, now);
        self.set_window(count as f64);
    }

    /// Whether a round has ended.
    fn handle_sample(&mut self, sample: RateSample, delivered: u64, now: f64) -> bool {
        let is_new_round = sample.delivered_before >= self.round_end;
        if is_new_round {
            self.round_end = delivered;
            self.round += 1;
        }
        let least = if self.min_rtt.is_finite() { self.min_rtt } else { 0.0 };
        // What was sent slowly and acknowledged at once came no faster than it was sent.
        let sent = sample.sent_at - sample.sent_before;
        let interval = (now - sample.delivered_at).max(sent).max(least).max(1e-4);
        let rate = (delivered - sample.delivered_before) as f64 / interval;
        if sample.delivered_before < self.limited_until && rate < self.rate {
            return is_new_round;
        }
        while self.rates.back().is_some_and(|(_, lower)| *lower <= rate) {
            self.rates.pop_back();
        }
        self.rates.push_back((self.round, rate));
        while self.rates.front().is_some_and(|(round, _)| round + RATE_ROUNDS < self.round) {
            self.rates.pop_front();
        }
        self.rate = self.rates.front().map_or(rate, |(_, rate)| *rate);
        is_new_round
    }

    fn probe_bandwidth(&mut self, now: f64) {
        self.state = State::ProbeBandwidth;
        // Any phase but those that probe and drain.
        self.phase = 2 + self.rng.index(CYCLE.len() - 2);
        self.phase_at = now;
        self.gain = 1.0;
    }

    fn cycle(&mut self, pipe: f64, bdp: f64, now: f64) {
        let elapsed = now - self.phase_at;
        let has_passed = elapsed > self.min_rtt;
        let gain = CYCLE[self.phase];
        let is_over = if gain > 1.0 {
            has_passed && (pipe >= 1.25 * bdp * 0.99 || elapsed > 3.0 * self.min_rtt)
        } else if gain < 1.0 {
            has_passed || pipe <= bdp
        } else {
            has_passed
        };
        if is_over {
            self.phase = (self.phase + 1) % CYCLE.len();
            self.phase_at = now;
            self.gain = CYCLE[self.phase];
        }
    }

    fn probe_rtt(&mut self, pipe: f64, now: f64) {
        match &mut self.state {
            State::ProbeRtt { until, least, window_before } => {
                if until.is_none() && pipe <= PROBE_RTT_WINDOW {
                    *until = Some(now + PROBE_RTT);
                }
                if until.is_some_and(|until| now > until) {
                    self.min_rtt = *least;
                    self.min_rtt_at = now;
                    self.window = self.window.max(*window_before);
                    self.probe_bandwidth(now);
                }
            }
            _ if now - self.min_rtt_at > MIN_RTT_EXPIRES => {
                self.state =
                    State::ProbeRtt { until: None, least: f64::INFINITY, window_before: self.window };
                self.gain = 1.0;
            }
            _ => {}
        }
    }

    fn set_window(&mut self, count: f64) {
        let bdp = if self.min_rtt.is_finite() { self.rate * self.min_rtt } else { 0.0 };
        match self.state {
            State::ProbeRtt { .. } => self.window = PROBE_RTT_WINDOW,
            State::Startup => {
                if self.window < STARTUP_GAIN * bdp + 3.0 {
                    self.window += count;
                }
                self.window = self.window.max(10.0);
            }
            State::Drain | State::ProbeBandwidth => {
                let gain = if self.state == State::Drain { STARTUP_GAIN } else { 2.0 };
                let burst = (self.gain * self.rate * BURST).clamp(BURST_SEGMENTS.0, BURST_SEGMENTS.1);
                let target = gain * bdp + self.ahead.segments(self.rate) + 3.0 * burst;
                self.window = target.min(self.window + count);
            }
        }
    }
}
