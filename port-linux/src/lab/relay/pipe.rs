//! One direction of a link, in virtual time: no clock and no socket in here. The same seed and the same calls give the
//! same arrivals.
//!
//! ```text
//!   offer -> queue (tail drop) -> rate -> loss -> delay, jitter -> take
//! ```
//!
//! A packet takes as long on the wire as it does on Ethernet, with preamble, check sequence and gap, so that the
//! arithmetic of [`crate::lab::limit`] holds. A lost packet has taken its time on the wire, as on a radio.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use super::link::Link;
use crate::lab::rate::Rate;
use crate::lab::topology::FRAME_OVERHEAD;

/// However slow the link, its queue holds so many full frames: below that TCP cannot work.
const LEAST_QUEUE: u32 = 8;
/// A full frame without [`FRAME_OVERHEAD`].
const FULL_FRAME: usize = 1_514;

/// What became of the packets so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Handed to [`Pipe::offer`].
    pub offered: u64,
    /// Did not fit the queue.
    pub dropped: u64,
    /// Lost on the way, as the link's loss wants it.
    pub lost: u64,
    /// Lost because the link was cut.
    pub cut: u64,
    /// Handed out by [`Pipe::take`].
    pub passed: u64,
}

impl Counts {
    /// What became of those since an earlier reading.
    pub const fn since(self, then: Self) -> Self {
        Self {
            offered: self.offered - then.offered,
            dropped: self.dropped - then.dropped,
            lost: self.lost - then.lost,
            cut: self.cut - then.cut,
            passed: self.passed - then.passed,
        }
    }
}

/// One direction of a link; `F` is a frame.
///
/// Invariants: `offered = dropped + lost + cut + passed + flying`, and times in `flying` do not fall.
#[derive(Debug)]
pub struct Pipe<F> {
    link: Link,
    rng: fastrand::Rng,
    in_burst: bool,
    is_cut: bool,
    /// When the last packet in the queue will have left it.
    free_at: Duration,
    flying: VecDeque<(Duration, F)>,
    counts: Counts,
}

impl<F> Pipe<F> {
    /// An empty one.
    pub fn new(link: Link, seed: u64) -> Self {
        Self {
            link,
            rng: fastrand::Rng::with_seed(seed),
            in_burst: false,
            is_cut: false,
            free_at: Duration::ZERO,
            flying: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// A frame of so many bytes (its Ethernet header and what it carries) is at the queue at the time `now`. Times
    /// do not go back.
    pub fn offer(&mut self, frame: F, bytes: usize, now: Duration) {
        self.counts.offered += 1;
        if self.is_cut {
            self.counts.cut += 1;
            return;
        }
        let leaves = self.free_at.max(now) + wire_time(self.link.rate, bytes);
        let room = self.link.queue.max(wire_time(self.link.rate, FULL_FRAME) * LEAST_QUEUE);
        if leaves - now > room {
            self.counts.dropped += 1;
            return;
        }
        self.free_at = leaves;
        let delay = self.delay();
        if self.loses() {
            self.counts.lost += 1;
            return;
        }
        let before = self.flying.back().map_or(Duration::ZERO, |(due, _)| *due);
        self.flying.push_back(((leaves + delay).max(before), frame));
    }

    /// When the next frame arrives.
    pub fn due(&self) -> Option<Duration> {
        self.flying.front().map(|(due, _)| *due)
    }

    /// A frame that has arrived by now, and when it did.
    pub fn take(&mut self, now: Duration) -> Option<(Duration, F)> {
        self.due().filter(|due| *due <= now)?;
        let arrived = self.flying.pop_front()?;
        self.counts.passed += 1;
        Some(arrived)
    }

    /// Cuts the link, and what is on it is lost; or repairs it.
    pub fn set_cut(&mut self, is_cut: bool) {
        self.is_cut = is_cut;
        if is_cut {
            self.counts.cut += self.flying.len() as u64;
            self.flying.clear();
            self.free_at = Duration::ZERO;
        }
    }

    /// What became of the packets so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    fn delay(&mut self) -> Duration {
        let jitter = self.link.jitter;
        if jitter.is_zero() {
            return self.link.delay;
        }
        (self.link.delay - jitter) + (jitter * 2).mul_f64(self.rng.f64())
    }

    /// Decides over the next packet. Within a burst all are lost; the chances of its begin and its end give the
    /// wanted share and mean length (Gilbert 1960).
    fn loses(&mut self) -> bool {
        let share = self.link.loss.share;
        let Some(burst) = self.link.loss.burst else { return self.rng.f64() < share };
        let turns = if self.in_burst { 1.0 / burst } else { share / (burst * (1.0 - share)) };
        self.in_burst ^= self.rng.f64() < turns;
        self.in_burst
    }
}

/// How long a frame takes at a rate.
fn wire_time(rate: Rate, bytes: usize) -> Duration {
    let bits = (bytes as u64 + u64::from(FRAME_OVERHEAD)) * 8;
    Duration::from_nanos(bits * 1_000_000_000 / rate.bits_per_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn pipe(link: &str) -> Pipe<u64> {
        let seed = std::env::var("MPT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        println!("MPT_SEED={seed}");
        Pipe::new(link.parse().expect("a link"), seed)
    }

    /// Offers `count` full frames as fast as the link takes them and returns numbers and times of those that arrive.
    fn run(pipe: &mut Pipe<u64>, count: u64) -> Vec<(Duration, u64)> {
        let mut arrivals = Vec::new();
        let each = wire_time(pipe.link.rate, FULL_FRAME);
        for number in 0..count {
            let now = each * u32::try_from(number).expect("few");
            pipe.offer(number, FULL_FRAME, now);
            arrivals.extend(std::iter::from_fn(|| pipe.take(now)));
            let counts = pipe.counts();
            let gone = counts.dropped + counts.lost + counts.cut + counts.passed;
            assert_eq!(counts.offered, gone + pipe.flying.len() as u64);
        }
        arrivals.extend(std::iter::from_fn(|| pipe.take(Duration::MAX)));
        assert!(arrivals.is_sorted(), "in order of time and of number");
        arrivals
    }

    #[test]
    fn a_frame_arrives_after_its_time_on_the_wire_and_the_delay() {
        let mut pipe = pipe("100mbit 5ms");
        pipe.offer(7, FULL_FRAME, ms(10));
        // 1,538 bytes at 100 Mbit/s.
        let due = ms(15) + Duration::from_nanos(123_040);
        assert_eq!(pipe.due(), Some(due));
        assert_eq!(pipe.take(due - Duration::from_nanos(1)), None);
        assert_eq!(pipe.take(due), Some((due, 7)));
    }

    #[test]
    fn frames_that_come_at_once_leave_at_the_rate() {
        let mut pipe = pipe("20mbit 80ms");
        for number in 0..100 {
            pipe.offer(number, FULL_FRAME, Duration::ZERO);
        }
        let arrivals: Vec<_> = std::iter::from_fn(|| pipe.take(Duration::MAX)).collect();
        for (index, (at, _)) in arrivals.iter().enumerate() {
            let wire = Duration::from_nanos(615_200) * u32::try_from(index + 1).expect("few");
            assert_eq!(*at, ms(80) + wire);
        }
    }

    #[test]
    fn what_exceeds_the_queue_is_dropped_from_its_tail_and_what_left_makes_room() {
        let mut pipe = pipe("100mbit 5ms queue 10ms");
        // 10 ms are 81 frames.
        for number in 0..100 {
            pipe.offer(number, FULL_FRAME, Duration::ZERO);
        }
        assert_eq!(pipe.counts(), Counts { offered: 100, dropped: 19, ..Counts::default() });
        pipe.offer(100, FULL_FRAME, ms(1));
        assert_eq!(pipe.counts().dropped, 19, "eight frames have left in 1 ms");
        let last = std::iter::from_fn(|| pipe.take(Duration::MAX)).last().expect("frames");
        assert_eq!(last.1, 100);
        assert!(last.0 <= ms(1 + 10 + 5), "never older than the queue and the delay: {last:?}");
    }

    #[test]
    fn the_queue_of_a_slow_link_holds_eight_frames() {
        let mut pipe = pipe("64kbit 5ms queue 1ms");
        (0..20).for_each(|number| pipe.offer(number, FULL_FRAME, Duration::ZERO));
        assert_eq!(pipe.counts().dropped, 12);
    }

    #[test]
    fn jitter_stays_within_its_bounds_and_reorders_nothing() {
        let mut pipe = pipe("20mbit 30ms 5ms");
        let each = wire_time(pipe.link.rate, FULL_FRAME);
        let arrivals = run(&mut pipe, 5000);
        assert_eq!(arrivals.len(), 5000);
        let mut delays: Vec<Duration> = arrivals
            .iter()
            .map(|(at, number)| *at - each * u32::try_from(number + 1).expect("few"))
            .collect();
        delays.sort();
        assert!(delays[0] >= ms(25) && *delays.last().expect("some") <= ms(35));
        assert!(delays[4999] - delays[0] > ms(5), "it is spread: {:?} to {:?}", delays[0], delays[4999]);
    }

    #[test]
    fn losses_have_the_wanted_share_and_mean_length() {
        let count = 200_000;
        for (text, share, burst) in [
            ("20mbit 1ms 1%", 0.01, 1.0 / 0.99),
            ("20mbit 1ms 1% burst 5", 0.01, 5.0),
            ("20mbit 1ms 20% burst 2", 0.2, 2.0),
        ] {
            let mut pipe = pipe(text);
            let arrivals = run(&mut pipe, count);
            let lost = pipe.counts().lost;
            assert_eq!(lost + arrivals.len() as u64, count);
            let gaps: Vec<u64> = arrivals.windows(2).map(|pair| pair[1].1 - pair[0].1 - 1).collect();
            let bursts = gaps.iter().filter(|gap| **gap > 0).count() as f64;
            let mean = gaps.iter().sum::<u64>() as f64 / bursts;
            let found = lost as f64 / count as f64;
            // Four standard deviations of the scarcest case, 400 bursts, are 20 % and more for their length.
            assert!((found / share - 1.0).abs() < 0.25, "{text}: share {found}");
            assert!((mean / burst - 1.0).abs() < 0.25, "{text}: mean length {mean}");
        }
    }

    #[test]
    fn a_cut_loses_what_is_on_the_way_and_what_comes_and_a_repaired_link_is_empty() {
        let mut pipe = pipe("20mbit 80ms");
        (0..10).for_each(|number| pipe.offer(number, FULL_FRAME, ms(0)));
        pipe.set_cut(true);
        assert_eq!(pipe.due(), None);
        pipe.offer(10, FULL_FRAME, ms(1));
        assert_eq!(pipe.counts(), Counts { offered: 11, cut: 11, ..Counts::default() });
        pipe.set_cut(false);
        pipe.offer(11, FULL_FRAME, ms(2));
        assert_eq!(pipe.due(), Some(ms(82) + wire_time(pipe.link.rate, FULL_FRAME)));
    }

    #[test]
    fn the_same_seed_gives_the_same_arrivals_and_another_one_others() {
        let link = "20mbit 30ms 5ms 10% burst 3".parse().expect("a link");
        let [one, same, other] = [1, 1, 2].map(|seed| run(&mut Pipe::new(link, seed), 1000));
        assert_eq!(one, same);
        assert_ne!(one, other);
    }
}
