//! The search over links in virtual time.

use std::vec::Vec;

use super::*;

const LEAST: u16 = 548;
const CEILING: u16 = 1472;
const RTT: Duration = Duration::from_millis(10);

/// A path that carries datagrams of up to `carries` bytes, if it carries any.
struct Link {
    search: PathMtu,
    carries: Option<u16>,
    /// The round trip of the small probes, and how much longer padded ones take.
    rtt: Duration,
    longer: Duration,
    now: Instant,
    /// Bytes that others send in each step.
    traffic: u64,
    sent: u64,
    probes: Vec<u16>,
    /// Stamps whose echoes are under way.
    echoes: Vec<(Instant, u32)>,
    stamps: u32,
}

impl Link {
    fn new(carries: u16) -> Self {
        let mut search = PathMtu::new(LEAST, CEILING);
        let now = Instant::from_micros(1_000_000);
        search.restart(CEILING, now);
        Self {
            search,
            carries: Some(carries),
            rtt: RTT,
            longer: Duration::ZERO,
            now,
            traffic: IN_USE,
            sent: 0,
            probes: Vec::new(),
            echoes: Vec::new(),
            stamps: 0,
        }
    }

    fn stamp(&mut self) -> u32 {
        self.stamps += 1;
        self.stamps
    }

    fn step(&mut self) {
        let Some(size) = self.search.handle_timeout(self.sent, self.now) else { return };
        self.probes.push(size);
        let (small, padded) = self.search.stamps();
        let (small, padded) = (small.unwrap_or_else(|| self.stamp()), padded.unwrap_or_else(|| self.stamp()));
        self.search.handle_sent((small, padded), Some(RTT), self.now);
        if let Some(carries) = self.carries {
            self.echoes.push((self.now + self.rtt, small));
            if size <= carries {
                self.echoes.push((self.now + self.rtt + self.longer, padded));
            }
        }
    }

    /// Lets time pass, and checks the invariant all the way.
    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.echoes.sort_by_key(|(at, _)| *at);
            let echo = self.echoes.first().map(|(at, _)| *at);
            let next = echo.into_iter().chain(self.search.deadline()).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if echo == Some(next) {
                let (_, stamp) = self.echoes.remove(0);
                assert!(self.search.handle_echo(stamp, self.now), "one of ours");
            } else {
                self.sent += self.traffic;
                self.step();
            }
            assert!(!self.search.handle_echo(u32::MAX, self.now), "another's echo");
            let PathMtu { least, passes, fails, .. } = self.search;
            assert!(least <= passes && passes < fails);
        }
        self.now = end;
    }

    fn seconds(&mut self, seconds: u64) {
        self.run(Duration::from_secs(seconds));
    }

    fn found(&self) -> u16 {
        self.search.max_datagram()
    }
}

#[test]
fn a_path_that_carries_what_its_interface_does_costs_one_probe() {
    let mut link = Link::new(CEILING);
    assert_eq!(link.found(), CEILING, "from the start");
    link.seconds(9);
    assert_eq!((link.found(), link.probes.len()), (CEILING, 1));
    link.seconds(20);
    assert_eq!(link.probes, [CEILING; 3], "confirmed twice");
}

#[test]
fn every_smaller_size_is_found_within_seconds() {
    for carries in LEAST..CEILING {
        let mut link = Link::new(carries);
        link.seconds(3);
        let found = link.found();
        assert!(found <= carries && carries - found < GRAIN, "{found} of {carries}");
        assert!(link.probes.len() <= 50, "{} probes for {carries}", link.probes.len());
    }
}

#[test]
fn a_size_that_passes_no_more_is_noticed_and_one_that_passes_again_is_found() {
    let mut link = Link::new(CEILING);
    link.seconds(20);
    link.carries = Some(1400);
    link.seconds(13);
    assert!((1393..=1400).contains(&link.found()), "{}", link.found());
    link.carries = Some(CEILING);
    link.seconds(u64::from(RAISE.0.0 / 1_000_000) + 5);
    assert_eq!(link.found(), CEILING);
}

#[test]
fn a_doubt_makes_it_look_at_once_also_on_an_idle_path() {
    let mut link = Link::new(CEILING);
    link.traffic = 0;
    link.seconds(60);
    link.carries = Some(1400);
    link.search.doubt(link.now);
    assert!(!link.search.is_at_rest());
    link.run(Duration::from_millis(400));
    assert!(link.found() < CEILING, "disproved");
    link.seconds(3);
    assert!(link.search.is_at_rest() && (1393..=1400).contains(&link.found()));

    let mut link = Link::new(CEILING);
    link.seconds(20);
    link.search.doubt(link.now);
    link.seconds(1);
    assert!(link.search.is_at_rest() && link.found() == CEILING, "a false alarm");
}

#[test]
fn a_larger_size_is_searched_again_after_a_minute_at_rest_and_ever_less_often() {
    let mut link = Link::new(1400);
    link.seconds(5);
    link.traffic = 0;
    link.probes.clear();
    link.seconds(3600);
    let tried = link.probes.iter().filter(|size| **size == CEILING).count();
    assert!((5 * 5..=5 * 8).contains(&tried), "{tried} probes");
    assert!((1393..=1400).contains(&link.found()));
    link.carries = Some(CEILING);
    link.seconds(u64::from(RAISE.1.0 / 1_000_000) + 10);
    assert_eq!(link.found(), CEILING);
}

#[test]
fn without_answers_to_small_probes_no_size_is_too_large() {
    let mut link = Link::new(CEILING);
    link.carries = None;
    link.seconds(60);
    assert_eq!(link.found(), CEILING);
    assert!(link.probes.len() < 30, "{}", link.probes.len());
    link.carries = Some(CEILING);
    link.seconds(5);
    assert!(link.search.is_at_rest() && link.found() == CEILING);
}

#[test]
fn what_cannot_leave_says_nothing_until_it_can() {
    let mut search = PathMtu::new(LEAST, CEILING);
    let mut now = Instant::from_micros(1_000_000);
    search.restart(CEILING, now);
    for _ in 0..100 {
        assert_eq!(search.handle_timeout(0, now), Some(CEILING));
        search.handle_sent((1, 2), Some(RTT), now);
        search.handle_unsent(now);
        assert!(search.handle_echo(1, now), "the small one left");
        now = search.deadline().unwrap();
    }
    assert_eq!(search.max_datagram(), CEILING);
}

#[test]
fn a_slow_link_where_the_padded_probe_takes_longer_is_no_smaller_one() {
    // At 16 kbit/s the padded one takes 0.7 s more; what follows stands behind it.
    let mut link = Link::new(CEILING);
    link.longer = Duration::from_millis(700);
    link.run(Duration::from_millis(25));
    link.rtt = link.longer + RTT;
    link.seconds(5);
    assert!(link.search.is_at_rest() && link.found() == CEILING);
}

#[test]
fn probes_that_are_lost_beside_a_queue_count_less_and_what_others_bring_more() {
    let mut link = Link::new(LEAST);
    link.rtt = Duration::from_secs(1);
    link.seconds(12);
    assert_eq!(link.found(), CEILING, "the queue may be full");
    link.search.handle_carried(CEILING - 1, link.now);
    assert!(!link.search.is_at_rest());
    link.search.handle_carried(CEILING, link.now);
    assert!(link.search.is_at_rest() && link.found() == CEILING);

    let mut link = Link::new(LEAST);
    link.rtt = Duration::from_secs(1);
    link.seconds(40);
    assert!(link.found() < CEILING, "a queue that never empties hides it, but not for ever");
}

#[test]
fn an_idle_path_is_not_probed_and_one_that_is_down_neither() {
    let mut link = Link::new(CEILING);
    link.traffic = 0;
    link.seconds(60);
    assert_eq!(link.probes.len(), 1);
    link.search.pause();
    assert_eq!(link.search.deadline(), None);
    assert_eq!(link.search.handle_timeout(1 << 20, link.now), None);
    link.search.doubt(link.now);
    assert_eq!(link.search.deadline(), None);
    link.search.restart(1400, link.now);
    link.seconds(1);
    assert_eq!(link.probes.last(), Some(&1400));
}

#[test]
fn a_few_losses_do_not_make_a_size_too_large() {
    let mut link = Link::new(LEAST);
    link.run(Duration::from_millis(140));
    assert_eq!(link.probes.len(), 4, "{:?}", link.probes);
    link.carries = Some(CEILING);
    link.seconds(1);
    assert!(link.found() == CEILING && link.search.is_at_rest());
}

#[test]
fn echoes_that_come_later_than_the_longest_wait_count_and_later_ones_do_no_harm() {
    let mut link = Link::new(CEILING);
    link.rtt = Duration::from_secs(6);
    link.seconds(20);
    assert!(link.search.is_settled() && link.found() == CEILING);
}

#[test]
fn a_size_that_the_interface_refuses_is_left_at_once() {
    let mut search = PathMtu::new(LEAST, CEILING);
    let now = Instant::from_micros(1_000_000);
    search.restart(CEILING, now);
    search.handle_refused(now);
    assert_eq!(search.max_datagram(), CEILING, "no probe is under way");
    assert_eq!(search.handle_timeout(0, now), Some(CEILING));
    search.handle_sent((1, 2), None, now);
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
