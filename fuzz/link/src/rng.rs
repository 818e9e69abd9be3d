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

    /// The generator of one of many streams that belong to `seed`: stream `number` can be had without the ones before
    /// it.
    pub const fn stream(seed: u64, number: u64) -> Self {
        let mut mix = Self(seed ^ number.wrapping_mul(0xd134_2543_de82_ef95));
        Self(mix.next())
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

    /// A number with mean 0 and standard deviation 1 that is normally distributed, as the sum of twelve even ones: the
    /// tails are a little thin beyond three deviations and end at six.
    pub const fn normal(&mut self) -> f64 {
        let (mut sum, mut word) = (0, 0);
        while word < 3 {
            let drawn = self.next();
            sum += (drawn & 0xffff) + (drawn >> 16 & 0xffff) + (drawn >> 32 & 0xffff) + (drawn >> 48);
            word += 1;
        }
        // Twelve numbers from 0 to 65,535: their mean is half of twelve times 65,535.
        (sum as f64 - 393_210.0) / 65_536.0
    }

    /// A number with mean 0 and standard deviation 1 with a heavy tail: Pareto with exponent 4. It is never below
    /// -0.71, above 3 in one case of 57 and above 10 in one of 1,300; the most is 100.
    pub fn heavy(&mut self) -> f64 {
        let even = ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        let pareto = 1.0 / even.sqrt().sqrt();
        ((pareto - 4.0 / 3.0) * (9.0f64 / 2.0).sqrt()).min(100.0)
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

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: usize = 200_000;

    fn mean_and_deviation(draw: impl FnMut() -> f64) -> (f64, f64) {
        let values: Vec<f64> = std::iter::repeat_with(draw).take(COUNT).collect();
        let mean = values.iter().sum::<f64>() / COUNT as f64;
        let square = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
        (mean, (square / COUNT as f64).sqrt())
    }

    #[test]
    fn chances_come_true_as_often_as_they_should() {
        let mut rng = Rng::new(1);
        let hits = (0..100_000).filter(|_| rng.chance(200_000)).count();
        assert!((19_000..21_000).contains(&hits), "{hits} of 100,000 at a fifth");
        assert!(!(0..1000).any(|_| rng.chance(0)));
        assert!((0..1000).all(|_| rng.chance(MILLION)));
    }

    #[test]
    fn times_reach_both_ends() {
        let mut rng = Rng::new(2);
        let longest = Duration::from_micros(3);
        let times: Vec<Duration> = (0..200).map(|_| rng.time(longest)).collect();
        assert_eq!(times.iter().max(), Some(&longest));
        assert_eq!(times.iter().min(), Some(&Duration::ZERO));
    }

    #[test]
    fn normal_numbers_have_the_mean_the_deviation_and_the_shares_of_the_normal_distribution() {
        let mut rng = Rng::new(3);
        let (mean, deviation) = mean_and_deviation(|| rng.normal());
        assert!(mean.abs() < 0.01 && (deviation - 1.0).abs() < 0.01, "{mean} {deviation}");
        for (within, share) in [(1.0, 0.6827), (2.0, 0.9545), (3.0, 0.9973)] {
            let found = (0..COUNT).filter(|_| rng.normal().abs() < within).count() as f64 / COUNT as f64;
            assert!((found - share).abs() < 0.005, "{found} within {within}");
        }
    }

    #[test]
    fn heavy_numbers_have_the_same_mean_and_deviation_and_more_that_is_far_away() {
        let mut rng = Rng::new(4);
        let (mean, deviation) = mean_and_deviation(|| rng.heavy());
        assert!(mean.abs() < 0.02 && (deviation - 1.0).abs() < 0.1, "{mean} {deviation}");
        let far = (0..COUNT).filter(|_| rng.heavy() > 3.0).count() as f64 / COUNT as f64;
        assert!((0.015..0.02).contains(&far), "{far}");
    }

    #[test]
    fn streams_of_one_seed_differ_from_each_other() {
        let mut firsts: Vec<u64> = (0..1000).map(|number| Rng::stream(7, number).next()).collect();
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), 1000);
    }
}
