//! Pseudo-random numbers for jitter and instance numbers: reproducible from a seed, not for secrets.

/// The generator "splitmix64" of Steele, Lea and Flood (OOPSLA 2014).
#[derive(Debug, Clone)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`; 0 if `bound` is 0. The bias of 2^-64 times `bound` does not matter here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// A draw from the standard normal distribution: the sum of twelve uniform ones, so never beyond 6.
    #[cfg(test)]
    pub(crate) fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.below(1 << 24) as f32 / (1 << 24) as f32).sum::<f32>() - 6.0
    }
}

/// Spreads every input bit over the output: the finaliser of splitmix64.
// Products of 64 bits are long where words are of 32: there once.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(crate) const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
