//! The draft's sending vector, made as the draft makes it.

use std::collections::BTreeMap;

/// `calculate_sending_vector` of draft-lencse-tsvwg-mpt section 5.1: L = lcm(W); s = 0; repeatedly the path
/// with the least `s + L / W`, ties to the lowest, is appended and its `s` becomes that; until all `s` are equal.
///
/// The vector is not kept: [`take`](Self::take) gives one entry after the other, cycle after cycle.
#[derive(Debug, Clone)]
pub struct SendingVector {
    /// L / W of each path, by number.
    increments: BTreeMap<usize, u128>,
    s: BTreeMap<usize, u128>,
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl SendingVector {
    /// For these paths and weights. At most eight, so that L fits 128 bits.
    ///
    /// # Panics
    /// There are more.
    pub fn new(weights: &BTreeMap<usize, u16>) -> Self {
        assert!(weights.len() <= 8, "the least common multiple of more may not fit");
        let lcm = weights.values().map(|w| u128::from(*w)).fold(1, |l, w| l / gcd(l, w) * w);
        let increments = weights.iter().map(|(path, w)| (*path, lcm / u128::from(*w))).collect();
        Self { increments, s: weights.keys().map(|path| (*path, 0)).collect() }
    }

    /// The next path; `None` if there is none.
    pub fn take(&mut self) -> Option<usize> {
        let key = |path: &usize| (self.s[path] + self.increments[path], *path);
        let (z, path) = self.s.keys().map(key).min()?;
        self.s.insert(path, z);
        if self.s.values().all(|s| *s == z) {
            self.s.values_mut().for_each(|s| *s = 0);
        }
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_the_vectors_worked_out_by_hand() {
        for (weights, vector) in [
            (&[5, 2, 3][..], &[0, 2, 0, 1, 0, 2, 0, 0, 1, 2][..]),
            (&[12, 18, 15], &[1, 2, 0, 1, 2, 0, 1, 2, 1, 0, 2, 1, 0, 1, 2]),
            (&[100, 80], &[0, 1, 0, 1, 0, 1, 0, 0, 1]),
            (&[3, 1], &[0, 0, 0, 1]),
            (&[1, 1], &[0, 1]),
        ] {
            let mut oracle = SendingVector::new(&weights.iter().copied().enumerate().collect());
            let made: Vec<usize> = (0..vector.len() * 3).filter_map(|_| oracle.take()).collect();
            assert_eq!(made, vector.repeat(3));
        }
    }
}
