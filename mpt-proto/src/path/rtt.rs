//! The smoothed round-trip time of a path (RFC 6298 section 2).

use core::time::Duration;

/// No path takes longer: a sample beyond is of a clock that jumped or of a message that was made up.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rtt {
    smoothed: Option<Duration>,
}

impl Rtt {
    pub(super) const fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// SRTT <- 7/8 SRTT + 1/8 R'.
    pub(super) fn sample(&mut self, sample: Duration) {
        if sample <= LONGEST {
            self.smoothed = Some(self.smoothed.map_or(sample, |old| (old * 7 + sample) / 8));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sample_counts_whole_and_later_ones_an_eighth() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.smoothed(), None);
        rtt.sample(Duration::from_millis(80));
        rtt.sample(Duration::from_millis(160));
        assert_eq!(rtt.smoothed(), Some(Duration::from_millis(90)));
        rtt.sample(Duration::from_secs(4000));
        assert_eq!(rtt.smoothed(), Some(Duration::from_millis(90)));
    }
}
