//! Payload by which a receiver knows every byte that it should have got: no part of it is like another.

/// Bytes until it repeats itself: a prime, so that no number of whole packets is as long.
const PERIOD: usize = 1_048_573;

/// See the module.
#[derive(Debug)]
pub struct Pattern {
    /// One period and the beginning of the next.
    bytes: Vec<u8>,
}

impl Pattern {
    /// For pieces of at most so many bytes.
    pub fn new(longest: usize) -> Self {
        // The seed is a part of the format: both ends have the same.
        let mut random = fastrand::Rng::with_seed(1);
        let mut bytes: Vec<u8> = (0..PERIOD).map(|_| random.u8(..)).collect();
        let again: Vec<u8> = bytes.iter().copied().cycle().take(longest).collect();
        bytes.extend(again);
        Self { bytes }
    }

    /// The bytes from this position of the stream on.
    pub fn at(&self, position: u64, len: usize) -> &[u8] {
        #[allow(clippy::cast_possible_truncation, reason = "less than the period")]
        let start = (position % PERIOD as u64) as usize;
        &self.bytes[start..start + len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_where_it_was_and_repeats_itself_only_after_its_period() {
        let pattern = Pattern::new(1000);
        let edge = PERIOD as u64 - 500;
        assert_eq!(pattern.at(edge, 1000)[500..], *pattern.at(PERIOD as u64, 500));
        assert_eq!(pattern.at(3, 1000), pattern.at(3 + 7 * PERIOD as u64, 1000));
        for shift in 1..5_000 {
            assert_ne!(pattern.at(0, 64), pattern.at(shift, 64), "{shift}");
        }
    }
}
