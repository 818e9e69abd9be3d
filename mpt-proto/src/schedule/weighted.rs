//! Packet by packet in proportion to weights: the original's sending vector without the vector.

use crate::path_set::{MAX_PATHS, PathSet};

/// The algorithm `calculate_sending_vector` of draft-lencse-tsvwg-mpt section 5.1, one step at a time.
///
/// The draft gives path i, of weight `W_i`, the times 1/`W_i`, 2/`W_i`, ... and sends in the order of these times,
/// ties to the lowest path. It writes one cycle of that order into a vector of sum(W)/gcd(W) entries. Here
/// only the number of packets each path has had in the cycle is kept, so that weights need no common
/// divisor and the cycle may have any length.
///
/// Invariant: `sent[i] <= weight[i]`, and all are zero at the start of a cycle.
#[derive(Debug, Clone, Default)]
pub struct Weighted {
    weight: [u16; MAX_PATHS],
    sent: [u16; MAX_PATHS],
    among: PathSet,
}

impl Weighted {
    /// No path has a weight yet.
    pub const fn new() -> Self {
        Self { weight: [0; MAX_PATHS], sent: [0; MAX_PATHS], among: PathSet(0) }
    }

    /// Sets a path's weight, 1 to 10,000, and starts a new cycle; zero takes the path out.
    pub fn set_weight(&mut self, index: usize, weight: u16) {
        if let Some(place) = self.weight.get_mut(index) {
            *place = weight;
        }
        self.sent = [0; MAX_PATHS];
    }

    /// A path's weight; zero: it has none.
    pub(super) fn weight(&self, index: usize) -> u16 {
        self.weight.get(index).copied().unwrap_or(0)
    }

    /// The next path among those given; a set that differs from the last starts a new cycle.
    pub fn next(&mut self, among: PathSet) -> Option<usize> {
        if among != self.among {
            self.among = among;
            self.sent = [0; MAX_PATHS];
        }
        let mut best: Option<(usize, u32, u32)> = None;
        for index in among {
            let (Some(&weight), Some(&sent)) = (self.weight.get(index), self.sent.get(index)) else {
                continue;
            };
            if weight == 0 {
                continue;
            }
            // Its next time is (sent + 1) / weight; times are compared crosswise.
            let (numerator, denominator) = (u32::from(sent) + 1, u32::from(weight));
            if best.is_none_or(|(_, top, bottom)| numerator * bottom < top * denominator) {
                best = Some((index, numerator, denominator));
            }
        }
        let (index, _, _) = best?;
        if let Some(sent) = self.sent.get_mut(index) {
            *sent += 1;
        }
        // Everyone has had its weight: all stand at time 1, which is time 0 of the next cycle.
        if among.into_iter().all(|index| self.sent.get(index) == self.weight.get(index)) {
            self.sent = [0; MAX_PATHS];
        }
        Some(index)
    }

    /// The smallest of the weights of the paths given, and their sum.
    pub(super) fn least_and_sum(&self, among: PathSet) -> (u16, u32) {
        let weights = || among.into_iter().map(|index| self.weight(index));
        (weights().filter(|weight| *weight > 0).min().unwrap_or(0), weights().map(u32::from).sum())
    }
}
