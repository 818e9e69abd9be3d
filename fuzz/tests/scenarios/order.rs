//! Order over paths that differ, and gaps that hold nothing up for longer than they must.

use std::time::Duration;

use mpt_fuzz::link::{LinkConfig, Loss, Rate, Straggle};
use mpt_fuzz::pair::{A, B, Memory, Pair, PathSetup, Sizes};
use mpt_fuzz::rng::test_seed;
use mpt_proto::{Config, ReorderConfig};

use crate::{MS, SECOND, bring_up, delay, lab, waiting, weighted};

/// The setting of the reorder delay in tests of gaps: nothing may come near it.
const NEVER: Duration = Duration::from_secs(5);

#[test]
fn four_equal_jittering_links_deliver_everything_in_order_and_nothing_twice() {
    let jittering = LinkConfig { jitter: 5 * MS, ..delay(15 * MS) };
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(20), &waiting(NEVER), &[lab(jittering); 4], &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS / 4, 1400, 2 * SECOND);
    pair.send(B, MS, 100, 2 * SECOND);
    pair.run(3 * SECOND);
    assert!(pair.log(B).serials().eq(0..8000));
    assert!(pair.log(A).serials().eq(0..2000));
    assert!(pair.log(B).longest_delay() <= 21 * MS, "{:?}", pair.log(B).longest_delay());
    assert_eq!(pair.end(B).stats().rx_lost, 0);
}

#[test]
fn unequal_delays_are_in_order_within_the_slowest_delay() {
    let paths = [5, 30, 80].map(|ms| lab(delay(ms * MS)));
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(21), &weighted(), &paths, &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS / 2, 1000, 2 * SECOND);
    pair.run(3 * SECOND);
    assert!(pair.log(B).serials().eq(0..4000));
    assert_eq!(pair.log(B).longest_delay(), 80 * MS);
    assert_eq!(pair.end(B).stats().rx_lost, 0);
}

#[test]
fn unequal_rates_with_fitting_weights_use_them_all() {
    let mut paths: Vec<PathSetup> = Vec::new();
    for (mbits, weight) in [(50, 5), (20, 2), (30, 3)] {
        let rate = Rate { bits_per_second: mbits * 1_000_000, queue: 60_000, mark_above: None };
        let mut path = lab(LinkConfig { rate: Some(rate), ..delay(10 * MS) });
        path.config[A].weight = weight;
        paths.push(path);
    }
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(22), &waiting(NEVER), &paths, &mut memory);
    bring_up(&mut pair);
    // 100 Mbit/s in all; 1,250 bytes and 8 of header each 103 us are 97.7 Mbit/s.
    pair.send(A, Duration::from_micros(103), 1250, SECOND);
    pair.run(2 * SECOND);
    let (sent, _) = pair.offered(A);
    assert!(pair.log(B).serials().eq(0..sent), "{} of {sent}", pair.log(B).len());
}

/// What a lossy run gave: share delivered, longest time a packet took.
fn lossy(seed: u64, config: &Config, link: LinkConfig) -> (f64, Duration) {
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(seed, config, &[lab(link); 4], &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS / 2, 1000, 4 * SECOND);
    pair.run(10 * SECOND);
    let log = pair.log(B);
    assert!(log.is_in_order());
    let (sent, refused) = pair.offered(A);
    assert_eq!(refused, 0);
    // What the last packets of a run lose is never missed.
    let unaccounted = sent - log.len() as u64 - pair.end(B).stats().rx_lost;
    assert!(unaccounted < 50, "{unaccounted} neither delivered nor given up");
    assert_eq!(pair.end(B).held(), 0);
    (log.len() as f64 / sent as f64, log.longest_delay())
}

#[test]
fn random_loss_holds_up_others_only_until_every_path_has_passed_it() {
    let link = LinkConfig { loss: Loss::Random(20_000), ..delay(10 * MS) };
    let (delivered, longest) = lossy(test_seed(23), &waiting(NEVER), link);
    assert!(delivered > 0.97, "{delivered}");
    // Each path brings a packet every 2 ms; five losses in a row on one are one in three million.
    assert!(longest <= 22 * MS, "{longest:?}");
}

#[test]
fn bursty_loss_holds_up_others_until_the_burst_is_over_or_a_probe_comes() {
    let link = LinkConfig { loss: Loss::new(38_500, 8), ..delay(10 * MS) };
    let (delivered, longest) = lossy(test_seed(24), &waiting(NEVER), link);
    assert!(delivered > 0.93, "{delivered}");
    // A path is silent for a burst, or else is dead in 176 ms.
    assert!(longest <= 190 * MS, "{longest:?}");
}

#[test]
fn a_gap_before_a_pause_is_given_up_when_the_idle_paths_have_probed() {
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(25), &waiting(NEVER), &[lab(delay(10 * MS)); 4], &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS, 500, 40 * MS);
    pair.run(SECOND);
    assert_eq!(pair.log(B).len(), 40);
    // The first packet of two is lost; nothing follows for longer than the probes' interval.
    pair.link(A, 0).set_cut(true);
    pair.offer(A, 500, mpt_proto::Ecn::NotEct);
    pair.link(A, 0).set_cut(false);
    pair.offer(A, 500, mpt_proto::Ecn::NotEct);
    pair.run(SECOND);
    assert_eq!(pair.log(B).len(), 41);
    assert!(pair.log(B).longest_delay() <= 10 * MS + 32 * MS, "{:?}", pair.log(B).longest_delay());
}

#[test]
fn paths_that_reorder_by_themselves_wait_at_most_the_delay() {
    let wait = 60 * MS;
    let reorder = ReorderConfig { delay: wait, paths_in_order: false, ..ReorderConfig::default() };
    let config = Config { reorder, ..weighted() };
    let reordering = LinkConfig { jitter: 10 * MS, reorder: true, ..delay(20 * MS) };
    let seed = test_seed(26);
    let (delivered, longest) = lossy(seed, &config, reordering);
    assert!((delivered - 1.0).abs() < f64::EPSILON, "nothing is lost by reordering alone: {delivered}");
    assert!(longest <= 30 * MS);
    let (delivered, longest) = lossy(seed, &config, LinkConfig { loss: Loss::Random(20_000), ..reordering });
    assert!(delivered > 0.97, "{delivered}");
    assert!(longest <= 30 * MS + wait, "{longest:?}");
    assert!(longest > wait, "losses are waited for: {longest:?}");
}

#[test]
fn stragglers_that_come_after_the_delay_are_dropped_and_order_stays() {
    let straggling = LinkConfig { straggle: Straggle { share: 10_000, by: 300 * MS }, ..delay(10 * MS) };
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(27), &waiting(100 * MS), &[lab(straggling); 2], &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS, 1000, 4 * SECOND);
    pair.run(6 * SECOND);
    assert!(pair.log(B).is_in_order());
    let late = crate::dropped_for(&pair, B, mpt_proto::DropReason::Late);
    assert_eq!(late, pair.end(B).stats().rx_lost, "each straggler was given up, then came");
    assert!((15..80).contains(&late), "{late} stragglers of 4,000 at 1 %");
}

#[test]
fn a_window_smaller_than_the_paths_differ_loses_but_never_disorders() {
    let mut memory = Memory::new(Sizes { reorder_slots: 17, ..Sizes::default() }, 0);
    let paths = [5, 80].map(|ms| lab(delay(ms * MS)));
    let mut pair = Pair::symmetric(test_seed(28), &weighted(), &paths, &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS, 1000, 2 * SECOND);
    pair.run(3 * SECOND);
    let log = pair.log(B);
    assert!(log.is_in_order());
    assert!(log.len() >= 1000, "the fast path delivers all it carries: {}", log.len());
    assert_eq!(log.len() as u64 + crate::dropped_for(&pair, B, mpt_proto::DropReason::Late), 2000);
}

#[test]
fn without_reordering_packets_come_as_they_come_and_none_twice() {
    let reorder = ReorderConfig { window: 0, ..ReorderConfig::default() };
    let link = LinkConfig { duplicate: 100_000, ..delay(5 * MS) };
    let paths = [lab(link), lab(LinkConfig { delay: 30 * MS, ..link })];
    let mut memory = Memory::default();
    let config = Config { reorder, ..weighted() };
    let mut pair = Pair::symmetric(test_seed(29), &config, &paths, &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS, 1000, 2 * SECOND);
    pair.run(3 * SECOND);
    let log = pair.log(B);
    assert_eq!((log.len(), log.duplicates()), (2000, 0));
    assert!(!log.is_in_order());
    assert_eq!(pair.end(B).stats().rx_held, 0);
}
