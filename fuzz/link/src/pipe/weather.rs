//! What follows from the seed and the time alone, whatever is sent: dips, steps and a delay that wanders.

use std::time::Duration;

use crate::config::{Dip, Step, Swap, Wander};
use crate::rng::Rng;
use crate::trace::Trace;

/// A smooth wander is computed at this many points within its correlation time, and constant between...
const POINTS: u32 = 50;
/// ...so from one to the next this much of the deviation stays: e to the power of -1/50.
const STAYS: f64 = 0.980_198_673_306_755_3;
/// After so many points nothing is left of a deviation: a value is computed from no more than these before it.
const MEMORY: u64 = 20 * POINTS as u64;

/// Numbers of the streams that are drawn from.
const PHASE: u64 = 1 << 60;
const DIP: u64 = 2 << 60;
const STEP: u64 = 3 << 60;
const WANDER: u64 = 4 << 60;

/// The conditions of a link over time.
#[derive(Debug)]
pub(super) struct Weather {
    /// Of what one direction has alone.
    own: u64,
    /// Of what both directions have in common.
    common: u64,
    /// The last point of a smooth wander that was computed, and the deviation there.
    smooth: Option<(Wander, u64, f64)>,
}

impl Weather {
    pub(super) const fn new(own: u64, common: u64) -> Self {
        Self { own, common, smooth: None }
    }

    /// Sets the seed of what both directions have in common.
    pub(super) const fn share(&mut self, common: u64) {
        self.common = common;
    }

    /// The dip that a time is in, or else the next: begin and end.
    pub(super) fn dip(&self, dip: Dip, at: Duration) -> (Duration, Duration) {
        let (each, phase) = (nanos(dip.each).max(1), self.phase(dip.each));
        let bounds = |number: u64| {
            let begin = Duration::from_nanos(phase + number * each);
            let length =
                dip.shortest + Rng::stream(self.common, DIP + number).time(dip.longest - dip.shortest);
            (begin, begin + length)
        };
        let number = nanos(at).saturating_sub(phase) / each;
        let this = bounds(number);
        if at < this.1 { this } else { bounds(number + 1) }
    }

    /// How far into a trace the time zero is: somewhere, if it is generated, so that two links do not breathe at once; at
    /// its begin, if it was recorded.
    pub(super) fn offset(&self, trace: Trace) -> Duration {
        if !trace.is_made() {
            return Duration::ZERO;
        }
        Duration::from_millis(self.phase(trace.period()) / 1_000_000)
    }

    /// How much a step changes the base delay at a time, in nanoseconds.
    pub(super) fn step(&self, step: Step, at: Duration) -> i64 {
        let each = nanos(step.each).max(1);
        let number = (nanos(at) + each - self.phase(step.each)) / each;
        let within = step.within;
        let drawn = Rng::stream(self.common, STEP + number).time(2 * within);
        super::signed(drawn) - super::signed(within)
    }

    /// How much the delay of a packet deviates that leaves at a time, in nanoseconds; `rng` is for what each packet draws
    /// for itself.
    pub(super) fn wander(&mut self, wander: Wander, at: Duration, rng: &mut Rng) -> i64 {
        let each = nanos(wander.each);
        let deviation = match each {
            0 => draw(wander, rng),
            _ if wander.smooth => self.smooth(wander, nanos(at) / (each / u64::from(POINTS)).max(1)),
            _ => draw(wander, &mut Rng::stream(self.own, WANDER + nanos(at) / each)),
        };
        // To the microsecond, as all other times.
        #[allow(clippy::cast_possible_truncation, reason = "a float saturates")]
        let micros = (deviation * wander.deviation.as_micros() as f64).round() as i64;
        micros.saturating_mul(1000)
    }

    fn smooth(&mut self, wander: Wander, point: u64) -> f64 {
        let oldest = point.saturating_sub(MEMORY);
        let draw = |point: u64| draw(wander, &mut Rng::stream(self.own, WANDER + point));
        let known = self.smooth.filter(|(of, at, _)| *of == wander && (oldest..=point).contains(at));
        let (_, mut at, mut value) = known.unwrap_or_else(|| (wander, oldest, draw(oldest)));
        while at < point {
            at += 1;
            value = STAYS * value + (1.0 - STAYS * STAYS).sqrt() * draw(at);
        }
        self.smooth = Some((wander, point, value));
        value
    }

    /// When the first period begins that is whole, in nanoseconds.
    fn phase(&self, each: Duration) -> u64 {
        let part = u128::from(Rng::stream(self.common, PHASE).next() >> 32);
        // To the microsecond, as all other times.
        let micros = (part * each.as_micros()) >> 32;
        u64::try_from(micros * 1000).unwrap_or(0)
    }
}

/// How much longer a packet takes that leaves at a time, if it belongs to a block that changes places.
pub(super) fn held_back(swap: Swap, leaves: Duration) -> Option<Duration> {
    let into = Duration::from_nanos(nanos(leaves) % nanos(swap.each).max(1));
    (into < swap.block).then(|| 2 * swap.block - into)
}

fn draw(wander: Wander, rng: &mut Rng) -> f64 {
    if wander.heavy { rng.heavy() } else { rng.normal() }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}
