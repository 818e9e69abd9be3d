//! Round-trip times, and what people want to know of them.

use std::time::Duration;

use serde::Serialize;

/// Round-trip times that were measured, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Delays(Vec<u32>);

/// What they come to, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Summary {
    /// The shortest.
    pub(super) min_ms: f64,
    /// Their mean.
    pub(super) avg_ms: f64,
    /// The longest.
    pub(super) max_ms: f64,
    /// Their standard deviation, which `ping` calls mdev.
    pub(super) mdev_ms: f64,
    /// So many in a hundred are not longer.
    pub(super) p50_ms: f64,
    /// See `p50_ms`.
    pub(super) p95_ms: f64,
    /// See `p50_ms`.
    pub(super) p99_ms: f64,
}

impl Delays {
    pub(super) fn add(&mut self, delay: Duration) {
        self.0.push(u32::try_from(delay.as_micros()).unwrap_or(u32::MAX));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// `None`: there are none.
    pub(super) fn summary(&self) -> Option<Summary> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let ms = |micros: u32| f64::from(micros) / 1000.0;
        #[allow(clippy::cast_precision_loss, reason = "fewer than 2^52")]
        let count = sorted.len() as f64;
        let mean = sorted.iter().map(|delay| ms(*delay)).sum::<f64>() / count;
        let variance = sorted.iter().map(|delay| (ms(*delay) - mean).powi(2)).sum::<f64>() / count;
        // Nearest rank: the least that is not shorter than this many of a hundred.
        let rank = |percent: usize| ms(sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]);
        Some(Summary {
            min_ms: ms(min),
            avg_ms: mean,
            max_ms: ms(max),
            mdev_ms: variance.sqrt(),
            p50_ms: rank(50),
            p95_ms: rank(95),
            p99_ms: rank(99),
        })
    }
}

/// So many of so many were lost, in per cent.
pub(super) fn lost_percent(sent: u64, received: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "for display")]
    let share = |part: u64, whole: u64| 100.0 * part as f64 / whole as f64;
    if sent == 0 { 0.0 } else { share(sent.saturating_sub(received), sent) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_mean_deviation_and_nearest_ranks() {
        let mut delays = Delays::default();
        assert_eq!(delays.summary(), None);
        (1..=100).rev().for_each(|ms| delays.add(Duration::from_millis(ms)));
        let summary = delays.summary().unwrap();
        assert_eq!((summary.min_ms, summary.avg_ms, summary.max_ms), (1.0, 50.5, 100.0));
        assert_eq!((summary.p50_ms, summary.p95_ms, summary.p99_ms), (50.0, 95.0, 99.0));
        assert!((summary.mdev_ms - 28.866).abs() < 0.001, "{summary:?}");
        let mut one = Delays::default();
        one.add(Duration::from_millis(7));
        let summary = one.summary().unwrap();
        assert_eq!((summary.p50_ms, summary.p99_ms, summary.mdev_ms), (7.0, 7.0, 0.0));
    }

    #[test]
    fn losses_are_shares_of_what_was_sent() {
        assert_eq!([lost_percent(0, 0), lost_percent(10, 10), lost_percent(8, 6)], [0.0, 0.0, 25.0]);
        assert_eq!(lost_percent(1, 2), 0.0);
    }
}
