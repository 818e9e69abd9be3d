//! Datagrams at a constant pace that carry when they left, and the delays of what is heard of them.

use std::thread;
use std::time::Duration;

use crate::sample::percentile;
use crate::stopwatch::Stopwatch;

/// What is heard later than this after the last datagram left counts as lost.
pub const LAST_ORDERS: Duration = Duration::from_secs(1);

/// How often the waiting threads look whether it is over.
pub const GLANCE: Duration = Duration::from_millis(100);

/// Calls `send` with a number and the nanoseconds by the clock, once each `period` until `time` has passed. Returns how often.
pub fn paced(clock: &Stopwatch, period: Duration, time: Duration, mut send: impl FnMut(u64, u64)) -> u64 {
    let mut sent = 0;
    loop {
        let due = period * u32::try_from(sent).unwrap_or(u32::MAX);
        if due >= time {
            return sent;
        }
        thread::sleep(due.saturating_sub(clock.elapsed()));
        send(sent, u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX));
        sent += 1;
    }
}

/// Delays are counted in steps of this many microseconds, up to [`MOST_STEPS`] of them.
const STEP_US: u128 = 10;
/// 10 s.
const MOST_STEPS: usize = 1_000_000;

/// How often each delay was met.
#[derive(Debug)]
pub struct Delays(Vec<u64>);

impl Default for Delays {
    /// None.
    fn default() -> Self {
        Self(vec![0; MOST_STEPS + 1])
    }
}

impl Delays {
    /// Notes the delay of what left at this time by the clock, in nanoseconds, and came now.
    pub fn note(&mut self, left: u64, clock: &Stopwatch) {
        let delay = clock.elapsed().saturating_sub(Duration::from_nanos(left));
        let step = usize::try_from(delay.as_micros() / STEP_US).unwrap_or(MOST_STEPS);
        self.0[step.min(MOST_STEPS)] += 1;
    }

    /// How many were noted.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The delay, in milliseconds, that this share does not exceed.
    pub fn ms(&self, share: f64) -> f64 {
        percentile(&self.0, share) as f64 * STEP_US as f64 / 1e3
    }
}
