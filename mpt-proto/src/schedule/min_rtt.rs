//! The path of the least round-trip time: the original scheduler of MPTCP for Linux, and one of most of multipath QUIC.
//!
//! There the congestion window of each path says when the nearest path is full, and packets take the next one only then. A policy
//! without feedback knows no window. What it knows is the RTT of probes: on a path that is full there is a queue, probes wait in it,
//! and some seconds later packets take another path. So all packets are on one path at a time, which carries what that path does, and
//! each change of paths comes late and puts packets out of order. Of a path that packets have left, RTTs come at the idle interval
//! only, 15 s by default: for a minute and more it seems as slow as it was.
//!
//! That is useless as a bond, and `fuzz/tests/snapshots/bond/policies.txt` shows it. The file is an example of a [`Schedule`], and
//! something to compare with; [`Policy::Adaptive`](crate::Policy::Adaptive) is for use.

use crate::path_set::PathSet;
use crate::schedule::{PacketView, PathView, Paths, Schedule};
use crate::time::Instant;

/// Microseconds by which another path must be nearer at least: less is not worth packets that are out of order.
const LEAST_GAIN: u32 = 1_000;

/// The path of the least smoothed RTT, of those of the lowest tier that is up. It stays on its path until another one is nearer by
/// [`LEAST_GAIN`] and by more than both RTTs deviate, as chance moves them by that.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct MinRtt {
    current: Option<u8>,
}

impl Schedule for MinRtt {
    fn choose(&mut self, _: &PacketView<'_>, paths: &Paths<'_>, _: Instant) -> PathSet {
        let views = || paths.up.into_iter().filter_map(|index| Some((index, paths.get(index)?)));
        let Some(tier) = views().map(|(_, path)| path.tier).min() else { return PathSet::default() };
        let cheap = || views().filter(|(_, path)| path.tier == tier);
        let Some((nearest, best)) = cheap().min_by_key(|(_, path)| rtt(path)) else {
            return PathSet::default();
        };
        let current = cheap().find(|(index, _)| self.current.is_some_and(|it| usize::from(it) == *index));
        let chosen = current.filter(|(_, path)| !is_nearer(best, path)).map_or(nearest, |(index, _)| index);
        self.current = u8::try_from(chosen).ok();
        PathSet::of(chosen)
    }
}

/// Microseconds; a path that was not measured yet, or is not probed, comes last.
fn rtt(path: &PathView) -> u32 {
    path.rtt.smoothed().map_or(u32::MAX, |rtt| rtt.0)
}

fn is_nearer(path: &PathView, than: &PathView) -> bool {
    let deviations = path.rtt.deviation().0.saturating_add(than.rtt.deviation().0);
    rtt(path).saturating_add(deviations.max(LEAST_GAIN)) < rtt(than)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path_set::MAX_PATHS;
    use crate::time::Micros;

    /// Paths of tiers and RTTs in milliseconds, and the one that carries packets.
    struct Bench {
        table: [PathView; MAX_PATHS],
        up: PathSet,
        scheduler: MinRtt,
    }

    impl Bench {
        fn new(paths: &[(u8, u32)]) -> Self {
            let mut bench = Self {
                table: [PathView::default(); MAX_PATHS],
                up: (0..paths.len()).collect(),
                scheduler: MinRtt::default(),
            };
            for (index, (tier, millis)) in paths.iter().enumerate() {
                bench.table[index].tier = *tier;
                bench.measure(index, &[*millis; 20]);
            }
            bench
        }

        fn measure(&mut self, index: usize, millis: &[u32]) {
            millis.iter().for_each(|millis| self.table[index].rtt.sample(Micros(millis * 1000)));
        }

        fn chosen(&mut self) -> PathSet {
            let paths = Paths { up: self.up, known: self.up, table: &self.table };
            let packet = PacketView { bytes: &[], flow: None, seed: 0 };
            self.scheduler.choose(&packet, &paths, Instant::ZERO)
        }
    }

    #[test]
    fn the_nearest_path_of_the_lowest_tier_that_is_up_carries_all() {
        let mut bench = Bench::new(&[(1, 40), (1, 20), (2, 5), (1, 30)]);
        for expected in [1, 3, 0, 2] {
            assert_eq!(bench.chosen(), PathSet::of(expected));
            bench.up.set(expected, false);
        }
        assert!(bench.chosen().is_empty());
    }

    #[test]
    fn a_path_that_was_not_measured_comes_last() {
        let mut bench = Bench::new(&[(1, 40), (1, 50)]);
        bench.table[0].rtt = PathView::default().rtt;
        assert_eq!(bench.chosen(), PathSet::of(1));
        bench.up = PathSet::of(0);
        assert_eq!(bench.chosen(), PathSet::of(0));
    }

    #[test]
    fn packets_leave_a_path_whose_queue_grows_and_not_for_a_difference_by_chance() {
        let mut bench = Bench::new(&[(1, 20), (1, 22), (1, 60)]);
        assert_eq!(bench.chosen(), PathSet::of(0));
        bench.measure(0, &[24, 18, 26, 23, 25]);
        assert_eq!(bench.chosen(), PathSet::of(0), "its RTT varies by more than the other is nearer");
        bench.measure(0, &[100; 20]);
        assert_eq!(bench.chosen(), PathSet::of(1), "its queue is long");
        bench.measure(0, &[20; 40]);
        assert_eq!(bench.chosen(), PathSet::of(0), "the queue is gone");
    }
}
