//! What a path carries beyond its first hop: datagram packetization layer path MTU discovery (RFC 8899), small.
//!
//! A path is first taken to carry what its interface does, which mostly is right, and a padded probe of that size
//! shows it within a round trip. When several of a size stay without an echo although the path is up, a hop in between
//! drops them without a word: then the largest size that passes is searched by halving, packets that do not fit being
//! split meanwhile. ICMP is not needed, nor believed.

use std::time::Duration;

use mpt_proto::Instant;

/// Probes of one size without an echo until it counts as too large. RFC 8899 section 5.1.2 has three; five are lost by
/// chance once a day where one datagram in ten is lost each way.
const TRIES: u8 = 5;
/// The search ends when the answer is known to so many bytes: less than one packet in a hundred is won by more.
const GRAIN: u16 = 8;
/// Between two looks at whether the size that was found still passes, while packets flow.
const CONFIRM: Duration = Duration::from_secs(30);
/// Between two searches for a larger size, when the one that was found is smaller than the interface's. RFC 8899 section
/// 5.1.1 has ten minutes for PMTU_RAISE_TIMER; a size that was lost by chance should not be missed for so long.
const RAISE: Duration = Duration::from_secs(120);
/// Bounds of the wait for an echo, which is three round trips: a probe stands in the queue behind packets.
const WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));

/// Bytes between two such looks from which on the path counts as in use; probes and echoes are fewer.
const IN_USE: u64 = 64 << 10;

/// The search on one path. Sizes are UDP payloads in bytes.
///
/// `least <= passes < fails`, where `passes` is proven or `least`, and `fails` is disproved or beyond the ceiling.
#[derive(Debug)]
pub struct PathMtu {
    least: u16,
    ceiling: u16,
    passes: u16,
    fails: u16,
    /// Whether the ceiling was found to be too large since the last restart, and not to pass after that.
    disproved: bool,
    /// The size that is being tried.
    candidate: u16,
    tries: u8,
    /// The stamp of the probes of the candidate. All tries have the same, so that an echo that comes after the next one
    /// has left shows as well that the size passes: where a queue holds more than the longest wait, each comes so late.
    stamp: Option<u32>,
    /// That of the candidate before: its echoes still come.
    former: Option<u32>,
    /// When the probe under way counts as lost, or the next look is due; `None`: the path is down.
    deadline: Option<Instant>,
    /// When a larger size may be searched.
    raise: Instant,
    /// Bytes that had been sent on the path at the last look.
    sent_before: u64,
}

impl PathMtu {
    /// A path with an interface for datagrams of `ceiling` bytes, and of `least` in any case.
    pub fn new(least: u16, ceiling: u16) -> Self {
        let mut search = Self {
            least: least.min(ceiling),
            ceiling,
            passes: 0,
            fails: 0,
            disproved: false,
            candidate: 0,
            tries: 0,
            stamp: None,
            former: None,
            deadline: None,
            raise: Instant::ZERO,
            sent_before: 0,
        };
        search.reset();
        search
    }

    fn reset(&mut self) {
        self.passes = self.least;
        self.fails = self.ceiling.saturating_add(1);
        self.disproved = false;
        self.look_at(self.ceiling);
    }

    fn look_at(&mut self, candidate: u16) {
        self.candidate = candidate;
        self.tries = 0;
        self.former = self.stamp.take().or(self.former);
    }

    /// The path came up, perhaps over other hops. What was found too large before is tried again later.
    pub fn resume(&mut self, now: Instant) {
        if self.disproved {
            self.look_at(self.passes);
            self.raise = now;
            self.deadline = Some(now);
        } else {
            self.restart(self.ceiling, now);
        }
    }

    /// The interface has another MTU: all is open again.
    pub fn restart(&mut self, ceiling: u16, now: Instant) {
        self.ceiling = ceiling;
        self.least = self.least.min(ceiling);
        self.reset();
        self.deadline = Some(now);
    }

    /// The path is down: nothing can be learnt.
    pub fn pause(&mut self) {
        self.former = self.stamp.take().or(self.former);
        self.deadline = None;
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// The stamp whose echo is awaited, and that further probes of the same size are to have.
    pub fn stamp(&self) -> Option<u32> {
        self.stamp
    }

    /// Time has passed; `sent` bytes have been sent on the path so far. Returns the size of the probe that is to
    /// be sent now, and to be told to [`handle_sent`](Self::handle_sent).
    pub fn handle_timeout(&mut self, sent: u64, now: Instant) -> Option<u16> {
        self.deadline.filter(|deadline| *deadline <= now)?;
        if self.is_settled() && self.tries == 0 {
            let is_used = sent.saturating_sub(std::mem::replace(&mut self.sent_before, sent)) >= IN_USE;
            if !is_used {
                self.deadline = Some(now + CONFIRM);
                return None;
            }
            if self.passes < self.ceiling && self.raise <= now {
                self.fails = self.ceiling.saturating_add(1);
                self.look_at(self.ceiling);
            }
        }
        if self.tries == TRIES {
            self.handle_too_large(now);
            self.deadline.filter(|deadline| *deadline <= now)?;
        }
        self.tries += 1;
        Some(self.candidate)
    }

    /// A probe with this stamp has left; `rtt` is the path's round-trip time.
    pub fn handle_sent(&mut self, stamp: u32, rtt: Option<Duration>, now: Instant) {
        self.stamp = Some(stamp);
        let wait = rtt.map_or(WAIT.1, |rtt| (rtt * 3).clamp(WAIT.0, WAIT.1));
        self.deadline = Some(now + wait);
    }

    /// A probe could not leave, as the interface does not take its size.
    pub fn handle_refused(&mut self, now: Instant) {
        self.tries = TRIES;
        self.deadline = Some(now);
    }

    /// An echo came; whether it was one of ours.
    pub fn handle_echo(&mut self, stamp: u32, now: Instant) -> bool {
        if self.stamp != Some(stamp) {
            return self.former == Some(stamp);
        }
        if self.is_settled() {
            self.look_at(self.passes);
            self.deadline = Some(now + CONFIRM);
            return true;
        }
        self.passes = self.candidate;
        self.disproved &= self.passes < self.ceiling;
        self.go_on(now);
        true
    }

    /// Largest datagram that may be sent now: what passes, or the interface's size until that is disproved.
    pub fn max_datagram(&self) -> u16 {
        if self.disproved { self.passes } else { self.ceiling }
    }

    /// Whether what passes is known as well as it is going to be.
    pub fn is_settled(&self) -> bool {
        self.candidate == self.passes && self.fails - self.passes <= GRAIN
    }

    fn handle_too_large(&mut self, now: Instant) {
        self.fails = self.candidate.max(self.least.saturating_add(1));
        self.disproved = true;
        if self.passes >= self.fails {
            // What once passed does not any more.
            self.passes = self.least;
        }
        self.go_on(now);
    }

    fn go_on(&mut self, now: Instant) {
        if self.fails.saturating_sub(self.passes) <= GRAIN {
            self.look_at(self.passes);
            self.deadline = Some(now + CONFIRM);
            self.raise = now + RAISE;
        } else {
            self.look_at(self.passes.midpoint(self.fails));
            self.deadline = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: u16 = 548;
    const CEILING: u16 = 1472;

    /// A path that carries datagrams of up to `carries` bytes and has a round-trip time of 10 ms.
    struct Link {
        search: PathMtu,
        carries: u16,
        now: Instant,
        sent: u64,
        probes: Vec<u16>,
    }

    impl Link {
        fn new(carries: u16) -> Self {
            let mut search = PathMtu::new(LEAST, CEILING);
            let now = Instant::from_micros(1_000_000);
            search.restart(CEILING, now);
            Self { search, carries, now, sent: 0, probes: Vec::new() }
        }

        /// Lets `seconds` pass with traffic on the path, and checks the invariant all the way.
        fn run(&mut self, seconds: u64) {
            let end = self.now + Duration::from_secs(seconds);
            while self.search.poll_timeout().is_some_and(|deadline| deadline <= end) {
                self.now = self.now.max(self.search.poll_timeout().unwrap());
                self.sent += IN_USE;
                if let Some(size) = self.search.handle_timeout(self.sent, self.now) {
                    self.probes.push(size);
                    let stamp = u32::try_from(self.probes.len()).unwrap();
                    self.search.handle_sent(stamp, Some(Duration::from_millis(10)), self.now);
                    assert!(!self.search.handle_echo(stamp + 1, self.now), "another echo");
                    if size <= self.carries {
                        self.now = self.now + Duration::from_millis(10);
                        assert!(self.search.handle_echo(stamp, self.now));
                    }
                }
                let PathMtu { least, passes, fails, .. } = self.search;
                assert!(least <= passes && passes < fails);
            }
            self.now = end;
        }
    }

    #[test]
    fn a_path_that_carries_what_its_interface_does_costs_one_probe() {
        let mut link = Link::new(CEILING);
        assert_eq!(link.search.max_datagram(), CEILING, "from the start");
        link.run(20);
        assert_eq!((link.search.max_datagram(), link.probes.len()), (CEILING, 1));
        link.run(60);
        assert_eq!(link.probes, [CEILING; 3], "confirmed twice");
    }

    #[test]
    fn every_smaller_size_is_found_within_seconds() {
        for carries in LEAST..CEILING {
            let mut link = Link::new(carries);
            link.run(10);
            let found = link.search.max_datagram();
            assert!(found <= carries && carries - found < GRAIN, "{found} of {carries}");
            assert!(link.probes.len() <= 50, "{} probes for {carries}", link.probes.len());
        }
    }

    #[test]
    fn a_size_that_passes_no_more_is_noticed_and_one_that_passes_again_is_found() {
        let mut link = Link::new(CEILING);
        link.run(20);
        link.carries = 1400;
        link.run(45);
        assert!((1393..=1400).contains(&link.search.max_datagram()), "{}", link.search.max_datagram());
        link.carries = CEILING;
        link.run(RAISE.as_secs() + 60);
        assert_eq!(link.search.max_datagram(), CEILING);
    }

    #[test]
    fn an_idle_path_is_not_probed_and_one_that_is_down_neither() {
        let mut link = Link::new(CEILING);
        link.run(1);
        let deadline = link.search.poll_timeout().unwrap();
        // One look after traffic, then none.
        assert_eq!(link.search.handle_timeout(link.sent, deadline), Some(CEILING));
        link.search.handle_sent(99, None, deadline);
        assert!(link.search.handle_echo(99, deadline));
        let deadline = link.search.poll_timeout().unwrap();
        assert_eq!(link.search.handle_timeout(link.sent, deadline), None);
        assert_eq!(link.search.poll_timeout(), Some(deadline + CONFIRM));

        link.search.pause();
        assert_eq!(link.search.poll_timeout(), None);
        assert_eq!(link.search.handle_timeout(link.sent + IN_USE, link.now), None);
        link.search.restart(1400, link.now);
        link.run(1);
        assert_eq!(link.probes.last(), Some(&1400));
    }

    #[test]
    fn a_few_losses_do_not_make_a_size_too_large() {
        let mut search = PathMtu::new(LEAST, CEILING);
        let mut now = Instant::from_micros(1_000_000);
        search.restart(CEILING, now);
        for stamp in 1..=u32::from(TRIES) {
            assert_eq!(search.handle_timeout(0, now), Some(CEILING));
            search.handle_sent(stamp, None, now);
            if stamp < u32::from(TRIES) {
                now = search.poll_timeout().unwrap();
            }
        }
        assert!(search.handle_echo(u32::from(TRIES), now));
        assert_eq!(search.max_datagram(), CEILING);
    }

    #[test]
    fn echoes_that_come_later_than_the_longest_wait_count_and_later_ones_do_no_harm() {
        let mut search = PathMtu::new(LEAST, CEILING);
        let mut now = Instant::from_micros(1_000_000);
        search.restart(CEILING, now);
        for _ in 0..3 {
            assert_eq!(search.handle_timeout(0, now), Some(CEILING));
            search.handle_sent(search.stamp().unwrap_or(7), Some(Duration::from_secs(2)), now);
            now = search.poll_timeout().unwrap();
        }
        for _ in 0..3 {
            assert!(search.handle_echo(7, now));
            assert!(search.is_settled() && search.max_datagram() == CEILING);
            assert_eq!(search.poll_timeout(), Some(now + CONFIRM));
        }
        assert!(!search.handle_echo(8, now), "not ours");
    }

    #[test]
    fn a_size_that_the_interface_refuses_is_left_at_once() {
        let mut search = PathMtu::new(LEAST, CEILING);
        let now = Instant::from_micros(1_000_000);
        search.restart(CEILING, now);
        assert_eq!(search.handle_timeout(0, now), Some(CEILING));
        search.handle_refused(now);
        assert_eq!(search.handle_timeout(0, now), Some(LEAST.midpoint(CEILING)));
        assert_eq!(search.max_datagram(), LEAST);
    }

    #[test]
    fn a_path_with_no_room_to_search_is_left_alone() {
        let mut search = PathMtu::new(1252, 1200);
        search.restart(1200, Instant::ZERO);
        assert_eq!(search.max_datagram(), 1200);
        assert_eq!(search.handle_timeout(0, Instant::ZERO), None);
    }
}
