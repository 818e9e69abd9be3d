//! LEDBAT (RFC 6817): how long the queue is, by one-way delays, and how a window follows from it.

use std::collections::VecDeque;

/// The queue that is aimed at, in seconds: the most that RFC 6817 section 2.5 allows, and what libutp uses.
const TARGET: f64 = 0.1;
/// Slow start ends at this share of the target, as in libutp.
const SLOW_START_ENDS: f64 = 0.9;
/// Delays of which the least is compared with the base: one late packet is no queue (CURRENT_FILTER of RFC 6817 section 2.5).
const FILTER: usize = 4;
/// Minutes of which the least delay is the base (BASE_HISTORY of RFC 6817 section 2.5).
const MINUTES: usize = 10;
const MINUTE: f64 = 60.0;
/// Segments by which the window may exceed what is in flight (ALLOWED_INCREASE of RFC 6817 section 2.5).
const ALLOWED_INCREASE: f64 = 1.0;

/// One-way delays, in seconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Delays {
    current: VecDeque<f64>,
    /// The least of each minute, the newest first.
    least: VecDeque<f64>,
    minute_ends: f64,
}

impl Delays {
    /// A delay was reported.
    pub(super) fn note(&mut self, delay: f64, now: f64) {
        self.current.push_front(delay);
        self.current.truncate(FILTER);
        if self.least.is_empty() || now >= self.minute_ends {
            self.least.push_front(delay);
            self.least.truncate(MINUTES);
            self.minute_ends = now + MINUTE;
        }
        if let Some(least) = self.least.front_mut() {
            *least = least.min(delay);
        }
    }

    /// The window after `count` segments were acknowledged outside of slow start. It is not made smaller because little is in flight.
    pub(super) fn window(&self, window: f64, count: f64, in_flight: f64) -> f64 {
        let off_target = (TARGET - self.queue()) / TARGET;
        let allowed = in_flight + ALLOWED_INCREASE;
        (window + off_target * count / window).min(allowed.max(window)).max(2.0)
    }

    /// Whether the queue is so long that slow start ends.
    pub(super) fn ends_slow_start(&self) -> bool {
        self.queue() > SLOW_START_ENDS * TARGET
    }

    fn queue(&self) -> f64 {
        let least = |of: &VecDeque<f64>| of.iter().copied().fold(f64::INFINITY, f64::min);
        if self.current.is_empty() { 0.0 } else { least(&self.current) - least(&self.least) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_grows_by_a_segment_a_round_trip_without_a_queue_and_shrinks_beyond_the_target() {
        let mut delays = Delays::default();
        delays.note(0.02, 0.0);
        assert!((delays.window(100.0, 100.0, 100.0) - 101.0).abs() < 1e-9);
        // The least of four counts: one late packet is no queue.
        delays.note(0.3, 0.1);
        assert!(!delays.ends_slow_start());
        (0..FILTER).for_each(|_| delays.note(0.12, 0.2));
        assert!((delays.window(100.0, 100.0, 100.0) - 100.0).abs() < 1e-9, "at the target");
        assert!(delays.ends_slow_start());
        (0..FILTER).for_each(|_| delays.note(0.22, 0.3));
        assert!((delays.window(100.0, 100.0, 100.0) - 99.0).abs() < 1e-9, "a target beyond it");
    }

    #[test]
    fn the_base_is_forgotten_after_ten_minutes() {
        let mut delays = Delays::default();
        delays.note(0.02, 0.0);
        for minute in 1..=MINUTES {
            delays.note(0.2, 60.0 * minute as f64);
            assert_eq!(delays.ends_slow_start(), (FILTER..MINUTES).contains(&minute), "{minute}");
        }
    }
}
