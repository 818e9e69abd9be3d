//! The round-trip time of a path and its deviation (RFC 6298 section 2).

use crate::time::Micros;

/// No path takes longer than a minute: a sample beyond is of a clock that jumped or of a message that was made up.
const LONGEST: Micros = Micros(60_000_000);

#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Rtt {
    /// Microseconds; [`UNKNOWN`] while none is.
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded_or_most"))]
    smoothed: u32,
    /// Microseconds.
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    deviation: u32,
}

const UNKNOWN: u32 = u32::MAX;

impl Default for Rtt {
    fn default() -> Self {
        Self { smoothed: UNKNOWN, deviation: 0 }
    }
}

impl Rtt {
    /// SRTT; `None` before the first sample.
    pub(crate) fn smoothed(&self) -> Option<Micros> {
        Some(self.smoothed).filter(|smoothed| *smoothed != UNKNOWN).map(Micros)
    }

    /// RTTVAR, the mean deviation of samples from SRTT; zero before the first sample.
    pub(crate) const fn deviation(&self) -> Micros {
        Micros(self.deviation)
    }

    /// RTTVAR <- 3/4 RTTVAR + 1/4 |SRTT - R'|, SRTT <- 7/8 SRTT + 1/8 R'.
    pub(super) fn sample(&mut self, sample: Micros) {
        if sample > LONGEST {
            return;
        }
        *self = match self.smoothed() {
            None => Self { smoothed: sample.0, deviation: sample.0 / 2 },
            Some(Micros(old)) => Self {
                smoothed: (old * 7 + sample.0) / 8,
                deviation: (self.deviation * 3 + old.abs_diff(sample.0)) / 4,
            },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sample_counts_whole_and_later_ones_an_eighth() {
        let mut rtt = Rtt::default();
        assert_eq!((rtt.smoothed(), rtt.deviation()), (None, Micros(0)));
        rtt.sample(Micros(80_000));
        assert_eq!((rtt.smoothed(), rtt.deviation()), (Some(Micros(80_000)), Micros(40_000)));
        rtt.sample(Micros(160_000));
        assert_eq!((rtt.smoothed(), rtt.deviation()), (Some(Micros(90_000)), Micros(50_000)));
        rtt.sample(Micros(4_000_000_000));
        assert_eq!((rtt.smoothed(), rtt.deviation()), (Some(Micros(90_000)), Micros(50_000)));
    }
}
