//! Redundancy, fragmentation, congestion and overload.

use mpt_fuzz::link::{LinkConfig, Loss, Rate, Straggle};
use mpt_fuzz::pair::{A, B, Memory, Pair, Sizes};
use mpt_fuzz::rng::test_seed;
use mpt_proto::{Config, DropReason, Ecn, Policy};

use crate::{MS, SECOND, bring_up, delay, dropped_for, lab, waiting, weighted};

#[test]
fn redundant_loses_nothing_while_one_path_is_clean_and_delivers_nothing_twice() {
    let bad = LinkConfig { loss: Loss::Random(500_000), ..delay(5 * MS) };
    let config = Config { policy: Policy::Redundant, ..waiting(SECOND) };
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(40), &config, &[lab(bad), lab(delay(20 * MS))], &mut memory);
    assert!(pair.run_until(5 * SECOND, Pair::all_up).is_some());
    pair.send(A, MS, 1000, 5 * SECOND);
    pair.run(6 * SECOND);
    assert!(pair.log(B).serials().eq(0..5000), "{} of 5,000", pair.log(B).len());
    assert!(pair.log(B).longest_delay() <= 20 * MS, "the clean path brings all in time");
    assert!(dropped_for(&pair, B, DropReason::Duplicate) > 1000);
}

#[test]
fn fragments_over_clean_paths_all_come_together_in_order() {
    let mut memory = Memory::default();
    let mut pair =
        Pair::symmetric(test_seed(41), &weighted(), &[lab(delay(5 * MS)), lab(delay(30 * MS))], &mut memory);
    bring_up(&mut pair);
    pair.send(A, 5 * MS, 8000, 2 * SECOND);
    pair.send(A, 7 * MS, 300, 2 * SECOND);
    pair.run(3 * SECOND);
    let (sent, _) = pair.offered(A);
    assert!(pair.log(B).serials().eq(0..sent), "{} of {sent}", pair.log(B).len());
    assert_eq!(pair.end(B).stats().rx_reassembled, 400);
}

#[test]
fn fragments_over_lossy_paths_are_counted_bounded_and_never_mixed_up() {
    let link = LinkConfig {
        loss: Loss::Random(50_000),
        duplicate: 50_000,
        straggle: Straggle { share: 50_000, by: 200 * MS },
        ..delay(10 * MS)
    };
    let mut memory = Memory::new(Sizes { reassembly_slots: 3, ..Sizes::default() }, 0);
    let mut pair = Pair::symmetric(test_seed(42), &weighted(), &[lab(link); 2], &mut memory);
    bring_up(&mut pair);
    pair.send(A, 4 * MS, 7000, 4 * SECOND);
    pair.run(10 * SECOND);
    let log = pair.log(B);
    assert_eq!((log.broken(), log.duplicates()), (0, 0));
    assert!(log.is_in_order());
    // Five fragments each: three quarters arrive whole without stragglers, two thirds with them.
    assert!((450..850).contains(&log.len()), "{} of 1,000", log.len());
    let expired = dropped_for(&pair, B, DropReason::FragmentTimeout);
    assert!(expired > 100 && expired + log.len() as u64 <= 1000, "{expired} expired");
    assert_eq!(pair.end(B).stats().rx_reassembled, log.len() as u64);
}

#[test]
fn rfc6040_4_congestion_marks_of_a_bottleneck_reach_the_inner_packet() {
    let rate = Rate { bits_per_second: 8_000_000, queue: 100_000, mark_above: Some(20_000) };
    let link = LinkConfig { rate: Some(rate), ..delay(5 * MS) };
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(43), &waiting(SECOND), &[lab(link)], &mut memory);
    bring_up(&mut pair);
    // 10 Mbit/s into 8 for 200 ms: 50 kB too much.
    pair.send_with_ecn(A, MS, 1250, 200 * MS, Ecn::Ect0);
    pair.run(2 * SECOND);
    assert!(pair.link(A, 0).stats().marked > 30);
    assert_eq!((pair.log(B).len(), pair.log(B).broken()), (200, 0));
    assert_eq!(dropped_for(&pair, B, DropReason::CongestionMarked), 0);
}

#[test]
fn an_overloaded_link_fills_at_its_rate_and_its_path_stays_up() {
    let rate = Rate { bits_per_second: 10_000_000, queue: 30_000, mark_above: None };
    let link = LinkConfig { rate: Some(rate), ..delay(5 * MS) };
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(44), &waiting(SECOND), &[lab(link); 2], &mut memory);
    bring_up(&mut pair);
    // 40 Mbit/s into 20: probes are dropped with the rest, but what arrives shows that the paths live.
    pair.send(A, MS / 4, 1242, 4 * SECOND);
    let start = pair.now();
    pair.run(4 * SECOND);
    assert!(pair.link(A, 0).stats().overflowed > 1000);
    for path in 0..2 {
        assert_eq!(pair.end(A).path_stats(pair.id(A, path)).unwrap().downs, 0);
    }
    let log = pair.log(B);
    assert!(log.is_in_order());
    let delivered = log.since(start).len();
    // 1,000 datagrams of 1,250 bytes a second and path, less the control messages.
    assert!((7_700..=8_000).contains(&delivered), "{delivered} of 8,000");
    assert!(log.longest_delay() <= 80 * MS, "{:?}", log.longest_delay());
}
