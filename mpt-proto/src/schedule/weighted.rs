//! Packet by packet in proportion to weights: the original's sending vector without the vector.

mod runs;

use crate::path_set::{MAX_PATHS, PathSet};
use crate::schedule::{PacketView, Paths, Schedule};
use crate::time::Instant;

use runs::Runs;

/// The original's sending vector, each step of it a run of packets.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Weighted {
    cycle: Cycle,
    runs: Runs,
}

impl Schedule for Weighted {
    fn choose(&mut self, packet: &PacketView<'_>, paths: &Paths<'_>, now: Instant) -> PathSet {
        let path = self.runs.next(&mut self.cycle, paths, packet.follows(), now);
        path.map(PathSet::of).unwrap_or_default()
    }

    fn restart(&mut self) {
        self.cycle.restart();
    }
}

/// The algorithm `calculate_sending_vector` of draft-lencse-tsvwg-mpt section 5.1, one step at a time.
///
/// The draft gives path i, of weight `W_i`, the times 1/`W_i`, 2/`W_i`, ... and sends in the order of these times,
/// ties to the lowest path. It writes one cycle of that order into a vector of sum(W)/gcd(W) entries. Here
/// only the number of packets each path has had in the cycle is kept, so that weights need no common
/// divisor and the cycle may have any length.
///
/// Invariant: `sent[i] <= weight(i)`, and all are zero at the start of a cycle.
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct Cycle {
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    sent: [u16; MAX_PATHS],
    among: PathSet,
}

impl Cycle {
    /// Starts a new cycle: a path's weight changed.
    pub fn restart(&mut self) {
        self.sent = [0; MAX_PATHS];
    }

    /// The next path among those given, by their weights of 1 to 10,000; one of weight zero is left out. A set that differs from
    /// the last starts a new cycle.
    pub fn next(&mut self, among: PathSet, weight: impl Fn(usize) -> u16) -> Option<usize> {
        if among != self.among {
            self.among = among;
            self.restart();
        }
        let mut best: Option<(usize, u32, u32)> = None;
        for index in among {
            let Some(&sent) = self.sent.get(index) else { continue };
            let weight = weight(index);
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
        if among.into_iter().all(|index| self.sent.get(index) == Some(&weight(index))) {
            self.restart();
        }
        Some(index)
    }
}
