//! Several packets in a row on one path, where that costs next to no time.

use crate::path_set::{MAX_PATHS, PathSet};
use crate::schedule::Paths;
use crate::schedule::weighted::Cycle;
use crate::time::{Instant, Micros};

/// A run takes at most this much of a path's time. More would show: what is sent on another path meanwhile waits for it
/// at the peer, and a queue for a few packets overflows.
const LONGEST: Micros = Micros(1_000);
/// The rate is that of so much time at least: long enough to hold packets on slow paths, short against the time in
/// which TCP changes its rate.
const WINDOW: Micros = Micros(16_000);
/// Packets of a run at most: a call of UDP segmentation takes 44 of full size.
const MOST: u8 = 44;

/// Turns the sequence of paths that [`Cycle`] gives packet by packet into one of runs: each step of the sending vector
/// is worth as many packets as any of the paths passes in `LONGEST`, at least one. All steps are worth the same, so
/// the shares stay those of the weights. How fast a path is, is taken from what it was given lately: a sender that
/// fits its rate to the paths, as TCP does, gives them no more for long than they carry; one that does not overflows
/// them with runs or without.
///
/// Long runs make long batches for the system below, on fast paths; on slow ones packets alternate. On paths that pass a
/// whole run in that time, the slices of a packet stay together; what a run is longer for that, later ones are shorter. Until packets have
/// been sent for a while, runs are of one packet.
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Runs {
    /// When the count began.
    since: Instant,
    /// Packets since then.
    count: u32,
    /// Packets in `LONGEST`, over all paths, when the last window ended.
    rate: u32,
    among: PathSet,
    path: Option<u8>,
    /// Packets that the path may still have.
    left: u8,
    /// Packets that paths had too many.
    debts: [u8; MAX_PATHS],
}

impl Runs {
    /// The path of the next packet, among those that are up; a set that differs from the last ends the run. `follows`: it is a
    /// slice, and not the first one of its packet.
    pub(super) fn next(
        &mut self,
        cycle: &mut Cycle,
        paths: &Paths<'_>,
        follows: bool,
        now: Instant,
    ) -> Option<usize> {
        if self.since + WINDOW <= now {
            let elapsed = now.as_micros() - self.since.as_micros();
            let in_longest = u64::from(self.count) * u64::from(LONGEST.0) / elapsed.max(1);
            self.rate = u32::try_from(in_longest).unwrap_or(u32::MAX);
            (self.since, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(1);
        let among = paths.up;
        let path = self.path.map(usize::from);
        let debt = path.and_then(|path| self.debts.get_mut(path));
        if among == self.among && self.left > 0 {
            self.left -= 1;
        } else if among == self.among
            && follows
            && let Some(debt) = debt.filter(|debt| **debt < u8::MAX)
            && Self::length(self.rate, paths) == MOST
        {
            *debt += 1;
        } else {
            self.begin(cycle, paths);
        }
        self.path.map(usize::from)
    }

    fn begin(&mut self, cycle: &mut Cycle, paths: &Paths<'_>) {
        self.among = paths.up;
        let path = cycle.next(paths.up, |index| paths.weight(index));
        self.path = path.and_then(|path| u8::try_from(path).ok());
        let length = Self::length(self.rate, paths);
        let paid = path.and_then(|path| self.debts.get_mut(path)).map_or(0, |debt| {
            let paid = (*debt).min(length - 1);
            *debt -= paid;
            paid
        });
        self.left = length - paid - 1;
    }

    /// What the path with the smallest share passes in `LONGEST`.
    fn length(rate: u32, paths: &Paths<'_>) -> u8 {
        if rate < 2 {
            return 1;
        }
        let weights = || paths.up.into_iter().map(|index| paths.weight(index));
        let least = weights().filter(|weight| *weight > 0).min().unwrap_or(0);
        let sum: u32 = weights().map(u32::from).sum();
        let packets = u64::from(rate) * u64::from(least) / u64::from(sum.max(1));
        u8::try_from(packets).unwrap_or(MOST).clamp(1, MOST)
    }
}

/// There are no more paths than the sum of weights has room for.
const _: () = assert!(MAX_PATHS * 10_000 < u32::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::PathView;
    use std::vec::Vec;

    /// Runs of paths with weights, and their packets.
    struct Sender {
        table: [PathView; MAX_PATHS],
        up: PathSet,
        cycle: Cycle,
        runs: Runs,
    }

    impl Sender {
        fn new(weights: &[u16]) -> Self {
            let weight = |index: usize| weights.get(index).copied().unwrap_or(0);
            Self {
                table: core::array::from_fn(|index| PathView {
                    weight: weight(index),
                    ..PathView::default()
                }),
                up: (0..weights.len()).collect(),
                cycle: Cycle::default(),
                runs: Runs::default(),
            }
        }

        fn next(&mut self, follows: bool, micros: u64) -> Option<usize> {
            let paths = Paths { up: self.up, known: self.up, table: &self.table };
            self.runs.next(&mut self.cycle, &paths, follows, Instant::from_micros(micros))
        }
    }

    /// The paths of packets that are sent so many microseconds apart, from the second on which they are.
    fn sent(weights: &[u16], apart: u64, count: u64) -> Vec<usize> {
        let mut sender = Sender::new(weights);
        (0..count).filter_map(|number| sender.next(false, 1_000_000 + number * apart)).collect()
    }

    /// Lengths of runs, without the last one.
    fn lengths(paths: &[usize]) -> Vec<usize> {
        let mut lengths: Vec<usize> = paths.chunk_by(|a, b| a == b).map(<[usize]>::len).collect();
        lengths.pop();
        lengths
    }

    #[test]
    fn a_run_takes_no_more_than_a_millisecond_of_any_path() {
        // Four paths of 100 Mbit/s pass 33 full packets in a millisecond, each of them 8.
        let paths = sent(&[1; 4], 30, 10_000);
        assert_eq!(lengths(&paths[..100]), [1; 99], "nothing is known yet");
        assert!(lengths(&paths[1000..]).iter().all(|length| *length <= 8), "{:?}", lengths(&paths[1000..]));
        assert_eq!(lengths(&paths[5000..])[1], 8);
        // One of 1 Mbit/s and one of 99: the slow one passes a packet in 12 milliseconds.
        let slow = sent(&[1, 99], 120, 20_000);
        assert!(slow.chunk_by(|a, b| a == b).filter(|run| run[0] == 0).all(|run| run.len() == 1));
    }

    #[test]
    fn slow_paths_get_packets_one_by_one() {
        // Two paths of 8 Mbit/s.
        assert_eq!(lengths(&sent(&[1, 1], 750, 1000)), [1; 999]);
    }

    #[test]
    fn a_run_is_not_longer_than_one_call_takes() {
        let paths = sent(&[1, 1], 1, 200_000);
        assert_eq!(lengths(&paths[100_000..])[1..5], [usize::from(MOST); 4]);
    }

    #[test]
    fn slices_of_a_packet_stay_together_on_fast_paths_and_the_shares_are_the_same() {
        let mut sender = Sender::new(&[2, 1]);
        let mut paths = Vec::new();
        for packet in 0..20_000u64 {
            let now = 1_000_000 + packet * 43;
            let packet: Vec<_> = (0..43).filter_map(|slice| sender.next(slice > 0, now)).collect();
            paths.push(packet);
        }
        assert!(paths[1000..].iter().all(|packet| packet.iter().all(|path| *path == packet[0])));
        let first = paths.iter().flatten().filter(|path| **path == 0).count();
        let share = f64::from(u32::try_from(first).unwrap()) / (43.0 * 20_000.0);
        assert!((share - 2.0 / 3.0).abs() < 0.01, "{share}");
        // Two paths of 50 Mbit/s pass 4 packets in a millisecond.
        for packet in 0..1000u64 {
            let now = 10_000_000 + packet * 5160;
            let packet: Vec<_> = (0..43).filter_map(|slice| sender.next(slice > 0, now)).collect();
            assert!(packet.chunk_by(|a, b| a == b).all(|run| run.len() <= 16) || now < 11_000_000);
        }
    }

    #[test]
    fn the_shares_are_those_of_the_weights_whatever_the_rate() {
        for apart in [1, 30, 750] {
            let paths = sent(&[5, 2, 3], apart, 200_000);
            for (index, share) in [0.5, 0.2, 0.3].into_iter().enumerate() {
                let mine =
                    f64::from(u32::try_from(paths.iter().filter(|path| **path == index).count()).unwrap());
                assert!((mine / 200_000.0 - share).abs() < 0.01, "path {index}, {apart} us apart: {mine}");
            }
        }
    }

    #[test]
    fn after_a_pause_and_when_paths_change_a_run_is_over() {
        let mut sender = Sender::new(&[1, 1]);
        for number in 0..100_000 {
            sender.next(false, 1_000_000 + number);
        }
        let all = core::mem::replace(&mut sender.up, PathSet::of(1));
        assert_eq!(sender.next(false, 1_100_001), Some(1));
        sender.up = all;
        let paths: Vec<_> = (0..6).map(|number| sender.next(false, 5_000_000 + number)).collect();
        assert_eq!(paths, [Some(0), Some(1), Some(0), Some(1), Some(0), Some(1)]);
    }
}
