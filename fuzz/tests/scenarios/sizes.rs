//! Paths that carry datagrams of different sizes, and such whose MTU shrinks in use, under the adaptive policy.

use std::time::Duration;

use mpt_fuzz::link::{LinkConfig, Rate};
use mpt_fuzz::pair::{A, B, Memory, Pair, PathSetup};
use mpt_fuzz::rng::test_seed;
use mpt_proto::{Config, Ecn, Event, Mode, PathConfig, Policy};

use crate::{MS, SECOND, bring_up, delay, lab};

/// A full packet, and what its datagram has with all headers; and a hop that carries less.
const FULL: usize = 1400;
const NARROW: u16 = 1000;

fn adaptive() -> Config {
    Config { policy: Policy::Adaptive, ..Config::default() }
}

/// A path whose datagrams have at most so many bytes.
fn path(max_datagram: u16, link: LinkConfig) -> PathSetup {
    let setup = lab(link);
    PathSetup { config: setup.config.map(|config| PathConfig { max_datagram, ..config }), ..setup }
}

fn at_rate(bits_per_second: u64, link: LinkConfig) -> LinkConfig {
    LinkConfig { rate: Some(Rate { bits_per_second, queue: 60_000, mark_above: None }), ..link }
}

/// When an end first told that large packets are lost on a path.
fn told(pair: &Pair, path: usize) -> Option<mpt_proto::Instant> {
    let id = pair.id(A, path);
    let is_it = |event: &&(mpt_proto::Instant, Event)| event.1 == Event::LargeLost { path: id };
    pair.events(A).iter().find(is_it).map(|(at, _)| *at)
}

/// Packets that an end did not deliver of those that were offered to the other one.
fn undelivered(pair: &Pair) -> u64 {
    pair.offered(A).0 - pair.log(B).len() as u64
}

#[test]
fn full_packets_take_the_paths_that_they_fit_and_nothing_goes_by_weight_or_in_pieces() {
    // The fast path is narrow, then the slow one is.
    for sizes in [[NARROW, 1452], [1452, NARROW]] {
        let mut memory = Memory::default();
        let links = [5, 20].map(|ms| delay(ms * MS));
        let paths = [path(sizes[0], links[0]), path(sizes[1], links[1])];
        let mut pair = Pair::symmetric(test_seed(200), &adaptive(), &paths, &mut memory);
        bring_up(&mut pair);
        pair.send(A, MS, FULL, 4 * SECOND);
        pair.send(A, 2 * MS, 600, 4 * SECOND);
        pair.run(6 * SECOND);
        assert_eq!((undelivered(&pair), pair.log(B).duplicates()), (0, 0), "{sizes:?}");
        assert_eq!(pair.end(A).stats().tx_fragments, 0, "{sizes:?}");
        assert_eq!(pair.end(A).mode(), Some(Mode::Adaptive));
    }
}

#[test]
fn a_narrow_path_does_not_take_away_from_what_the_wide_one_carries_alone() {
    let mut memory = Memory::default();
    let paths =
        [path(1452, at_rate(50_000_000, delay(10 * MS))), path(NARROW, at_rate(10_000_000, delay(5 * MS)))];
    let mut pair = Pair::symmetric(test_seed(201), &adaptive(), &paths, &mut memory);
    bring_up(&mut pair);
    // 45 Mbit/s of packets that only the path of 50 takes.
    pair.send(A, Duration::from_micros(249), FULL, 6 * SECOND);
    pair.run(8 * SECOND);
    let sent = pair.offered(A).0;
    assert!(undelivered(&pair) < sent / 20, "{} of {sent}, most in the first second", undelivered(&pair));
}

#[test]
fn a_path_that_shrinks_in_use_is_told_within_a_second_and_large_packets_take_the_other() {
    for ms in [5, 20] {
        let mut memory = Memory::default();
        let paths = [ms, 25 - ms].map(|ms| path(1452, at_rate(50_000_000, delay(ms * MS))));
        let mut pair = Pair::symmetric(test_seed(202), &adaptive(), &paths, &mut memory);
        bring_up(&mut pair);
        pair.send(A, Duration::from_micros(500), FULL, 10 * SECOND);
        pair.run(3 * SECOND);
        let since = pair.now();
        pair.set_mtu(0, Some(NARROW.into()));
        pair.run(3 * SECOND);
        // The slower of two paths that one could carry alone may not have had packets to lose.
        if let Some(at) = told(&pair, 0) {
            assert!(at.since(since) < SECOND, "{:?}", at.since(since));
        } else {
            assert!(ms == 20, "nothing was told");
        }
        pair.set_max_datagram(A, 0, NARROW);
        pair.run(6 * SECOND);
        let gap = pair.log(B).longest_gap(since);
        assert!(gap < SECOND / 2, "{gap:?}");
        assert!(undelivered(&pair) < 200, "{}", undelivered(&pair));
    }
}

#[test]
fn a_quiet_connection_is_repaired_on_the_other_path() {
    for paths in [[5, 20], [20, 5]] {
        let mut memory = Memory::default();
        let paths = paths.map(|ms| path(1452, delay(ms * MS)));
        let mut pair = Pair::symmetric(test_seed(203), &adaptive(), &paths, &mut memory);
        bring_up(&mut pair);
        pair.run(20 * SECOND);
        pair.set_mtu(0, Some(NARROW.into()));
        for len in [FULL, FULL, 1200] {
            pair.offer(A, len, Ecn::NotEct);
        }
        pair.run(SECOND);
        assert_eq!((undelivered(&pair), pair.log(B).duplicates()), (0, 0));
    }
}

#[test]
fn on_a_lone_path_that_shrinks_what_waits_and_what_is_lost_leaves_in_pieces_once_the_size_is_known() {
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(204), &adaptive(), &[path(1452, delay(10 * MS))], &mut memory);
    bring_up(&mut pair);
    pair.run(5 * SECOND);
    pair.set_mtu(0, Some(NARROW.into()));
    for len in [FULL, FULL, 400] {
        pair.offer(A, len, Ecn::NotEct);
    }
    let took = pair.run_until(SECOND, |pair| told(pair, 0).is_some());
    assert!(took.is_some(), "{took:?}");
    pair.set_max_datagram(A, 0, NARROW);
    pair.run(SECOND);
    assert_eq!((undelivered(&pair), pair.log(B).duplicates()), (0, 0));
    assert_eq!(pair.end(B).stats().rx_reassembled, 2);
}

#[test]
fn nothing_is_told_of_paths_that_lose_by_chance_or_fail() {
    use mpt_fuzz::link::Loss;
    let mut memory = Memory::default();
    let link = LinkConfig { loss: Loss::Random(20_000), ..at_rate(20_000_000, delay(20 * MS)) };
    let mut pair = Pair::symmetric(test_seed(205), &adaptive(), &[path(1452, link); 2], &mut memory);
    bring_up(&mut pair);
    pair.send(A, Duration::from_micros(300), FULL, 20 * SECOND);
    for _ in 0..5 {
        pair.run(3 * SECOND);
        pair.set_cut(0, true);
        pair.run(SECOND / 5);
        pair.set_cut(0, false);
    }
    pair.run(6 * SECOND);
    assert_eq!([0, 1].map(|path| told(&pair, path)), [None; 2]);
}
