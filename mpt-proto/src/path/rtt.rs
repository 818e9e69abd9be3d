//! The smoothed round-trip time of a path (RFC 6298 section 2).

use crate::time::Micros;

/// No path takes longer than a minute: a sample beyond is of a clock that jumped or of a message that was made up.
const LONGEST: Micros = Micros(60_000_000);

#[derive(Debug, Clone, Copy)]
pub(super) struct Rtt {
    /// Microseconds; [`UNKNOWN`] while none is.
    smoothed: u32,
}

const UNKNOWN: u32 = u32::MAX;

impl Default for Rtt {
    fn default() -> Self {
        Self { smoothed: UNKNOWN }
    }
}

impl Rtt {
    pub(super) fn smoothed(&self) -> Option<Micros> {
        Some(self.smoothed).filter(|smoothed| *smoothed != UNKNOWN).map(Micros)
    }

    /// SRTT <- 7/8 SRTT + 1/8 R'.
    pub(super) fn sample(&mut self, sample: Micros) {
        if sample <= LONGEST {
            let smoothed = self.smoothed().map_or(sample, |old| Micros((old.0 * 7 + sample.0) / 8));
            self.smoothed = smoothed.0;
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
        rtt.sample(Micros(80_000));
        rtt.sample(Micros(160_000));
        assert_eq!(rtt.smoothed(), Some(Micros(90_000)));
        rtt.sample(Micros(4_000_000_000));
        assert_eq!(rtt.smoothed(), Some(Micros(90_000)));
    }
}
