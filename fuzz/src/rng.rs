//! Pseudo-random numbers that a seed reproduces.

use std::time::Duration;

/// One million: probabilities are given in parts of it, so that no float decides what a run does.
pub const MILLION: u32 = 1_000_000;

/// The generator "splitmix64" of Steele, Lea and Flood (OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator; equal seeds give equal numbers.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// An index below `bound`; 0 if `bound` is 0.
    pub fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or(0)
    }

    /// True `parts` times in a [`MILLION`].
    pub fn chance(&mut self, parts: u32) -> bool {
        parts > 0 && self.below(u64::from(MILLION)) < u64::from(parts)
    }

    /// A time from zero to `longest`, evenly spread over whole microseconds.
    pub fn time(&mut self, longest: Duration) -> Duration {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX - 1);
        if micros == 0 { Duration::ZERO } else { Duration::from_micros(self.below(micros + 1)) }
    }

    /// `len` random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// The seed of a test: `MPT_SEED` if it is set, else `default`. It is printed, so that a failure shows it.
///
/// # Panics
/// `MPT_SEED` is not a number.
pub fn test_seed(default: u64) -> u64 {
    let seed = match std::env::var("MPT_SEED") {
        Ok(text) => text.parse().expect("MPT_SEED is a decimal number"),
        Err(_) => default,
    };
    println!("seed {seed}: replay with MPT_SEED={seed}");
    seed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_come_true_as_often_as_they_should() {
        let mut rng = Rng::new(test_seed(1));
        let hits = (0..100_000).filter(|_| rng.chance(200_000)).count();
        assert!((19_000..21_000).contains(&hits), "{hits} of 100,000 at a fifth");
        assert!(!(0..1000).any(|_| rng.chance(0)));
        assert!((0..1000).all(|_| rng.chance(MILLION)));
    }

    #[test]
    fn times_reach_both_ends() {
        let mut rng = Rng::new(test_seed(2));
        let longest = Duration::from_micros(3);
        let times: Vec<Duration> = (0..200).map(|_| rng.time(longest)).collect();
        assert_eq!(times.iter().max(), Some(&longest));
        assert_eq!(times.iter().min(), Some(&Duration::ZERO));
    }
}
