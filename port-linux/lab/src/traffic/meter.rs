//! What a receiver measures: bytes by interval, and the longest silence. No clock and no socket in here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Length of an interval: short enough to see a hand-over, long enough to hold 300 packets of 100 Mbit/s paths.
pub const INTERVAL: Duration = Duration::from_millis(INTERVAL_MS);
const INTERVAL_MS: u64 = 100;

/// What was received, and when. Time counts from the moment the connection was accepted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Received {
    /// Bytes of payload.
    pub bytes: u64,
    /// When the last of them came, in seconds.
    pub seconds: f64,
    /// Bytes over seconds, in Mbit/s.
    pub goodput_mbit_s: f64,
    /// The longest time between two reads, in milliseconds.
    pub longest_gap_ms: f64,
    /// When that silence began, in seconds.
    pub longest_gap_at_s: f64,
    /// Length of an interval, in milliseconds.
    pub interval_ms: u64,
    /// Bytes that came in each interval.
    pub intervals: Vec<u64>,
    /// The longest time between two reads that began in each interval, in milliseconds.
    #[serde(default)]
    pub gaps_ms: Vec<f64>,
}

impl Received {
    /// The longest silence that began between two moments, in milliseconds.
    pub fn longest_gap_ms(&self, from: Duration, until: Duration) -> f64 {
        let interval = Duration::from_millis(self.interval_ms.max(1));
        let index = |at: Duration| usize::try_from(at.as_nanos() / interval.as_nanos()).unwrap_or(usize::MAX);
        let end = index(until).saturating_add(1).min(self.gaps_ms.len());
        self.gaps_ms.get(index(from)..end).unwrap_or_default().iter().copied().fold(0.0, f64::max)
    }

    /// Goodput in Mbit/s between two moments, over whole intervals; zero when there is none between them.
    pub fn goodput(&self, from: Duration, until: Duration) -> f64 {
        let interval = Duration::from_millis(self.interval_ms.max(1));
        let first = usize::try_from(from.as_millis().div_ceil(interval.as_millis())).unwrap_or(usize::MAX);
        let end = usize::try_from(until.as_millis() / interval.as_millis()).unwrap_or(usize::MAX);
        // The last interval is not a whole one.
        let whole = &self.intervals[..self.intervals.len().saturating_sub(1)];
        let between = whole.get(first..end.min(whole.len())).unwrap_or_default();
        match between.len() {
            0 => 0.0,
            count => mbit_per_second(between.iter().sum(), interval.as_secs_f64() * count as f64),
        }
    }
}

/// Bytes over seconds in Mbit/s.
pub fn mbit_per_second(bytes: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { bytes as f64 * 8.0 / 1e6 / seconds } else { 0.0 }
}

/// Takes note of each read.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: u64,
    last: Option<Duration>,
    gap: Duration,
    gap_at: Duration,
    intervals: Vec<u64>,
    gaps: Vec<Duration>,
}

impl Meter {
    /// So many bytes were read `at` that time since the start. Times do not go back.
    pub fn record(&mut self, at: Duration, bytes: usize) {
        let bytes = bytes as u64;
        let last = self.last.unwrap_or(at);
        if at.saturating_sub(last) > self.gap {
            self.gap = at.saturating_sub(last);
            self.gap_at = last;
        }
        self.last = Some(at);
        self.bytes += bytes;
        let index =
            |at: Duration| usize::try_from(at.as_nanos() / INTERVAL.as_nanos()).unwrap_or(usize::MAX - 1);
        if index(at) >= self.intervals.len() {
            self.intervals.resize(index(at) + 1, 0);
            self.gaps.resize(index(at) + 1, Duration::ZERO);
        }
        self.intervals[index(at)] += bytes;
        let gap = &mut self.gaps[index(last)];
        *gap = at.saturating_sub(last).max(*gap);
    }

    /// The sum of it.
    pub fn finish(self) -> Received {
        let seconds = self.last.unwrap_or_default().as_secs_f64();
        Received {
            bytes: self.bytes,
            seconds,
            goodput_mbit_s: mbit_per_second(self.bytes, seconds),
            longest_gap_ms: self.gap.as_secs_f64() * 1e3,
            longest_gap_at_s: self.gap_at.as_secs_f64(),
            interval_ms: INTERVAL_MS,
            intervals: self.intervals,
            gaps_ms: self.gaps.iter().map(|gap| gap.as_secs_f64() * 1e3).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_longest_gap_is_between_two_reads_and_not_before_the_first() {
        let mut meter = Meter::default();
        for at in [900, 910, 1130, 1140] {
            meter.record(ms(at), 1);
        }
        let received = meter.finish();
        assert_eq!((received.longest_gap_ms, received.longest_gap_at_s), (220.0, 0.91));
    }

    #[test]
    fn each_silence_belongs_to_the_interval_in_which_it_began() {
        let mut meter = Meter::default();
        for at in [100, 130, 190, 450, 460] {
            meter.record(ms(at), 1);
        }
        let received = meter.finish();
        assert_eq!(received.gaps_ms, [0.0, 260.0, 0.0, 0.0, 10.0]);
        assert_eq!(received.longest_gap_ms(ms(0), ms(99)), 0.0);
        assert_eq!(received.longest_gap_ms(ms(150), ms(9999)), 260.0);
        assert_eq!(received.longest_gap_ms(ms(200), ms(9999)), 10.0);
    }

    #[test]
    fn goodput_counts_whole_intervals_only() {
        let mut meter = Meter::default();
        // 12,500 bytes in each 100 ms are 1 Mbit/s; the first second has half of it, the last interval is cut short.
        for at in (0..3000).step_by(50) {
            meter.record(ms(at), if at < 1000 { 3_125 } else { 6_250 });
        }
        meter.record(ms(3010), 100);
        let received = meter.finish();
        assert_eq!(received.goodput(ms(1000), ms(3000)), 1.0);
        assert_eq!(received.goodput(ms(0), ms(9999)), (10.0 * 0.5 + 20.0) / 30.0);
        assert_eq!(received.goodput(ms(5000), ms(9999)), 0.0);
    }

    #[test]
    fn nothing_received_is_zero_everywhere() {
        let received = Meter::default().finish();
        assert_eq!((received.bytes, received.goodput_mbit_s, received.longest_gap_ms), (0, 0.0, 0.0));
    }
}
