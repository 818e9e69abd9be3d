use super::*;
use std::vec;
use std::vec::Vec;

const DELAY: Duration = Duration::from_millis(100);

/// A buffer whose packets are their own numbers, and a clock in milliseconds.
struct Bench<'s> {
    reorder: Reorder<'s>,
    delivered: Vec<u32>,
}

fn leak(window: u16, config: ReorderConfig) -> Bench<'static> {
    let slots = vec![ReorderSlot::default(); usize::from(window) + 1].leak();
    let bytes = vec![0; slots.len() * 4].leak();
    Bench { reorder: Reorder::new(ReorderConfig { window, ..config }, slots, bytes), delivered: Vec::new() }
}

fn bench(window: u16) -> Bench<'static> {
    leak(window, ReorderConfig { delay: DELAY, ..ReorderConfig::default() })
}

impl Bench<'_> {
    fn insert(&mut self, path: usize, number: u32, ms: u64) -> Insert {
        let now = Instant::from_micros(ms * 1000);
        let outcome = self.reorder.insert(path, Seq::from_u32(number), &number.to_be_bytes(), now);
        if outcome == Insert::Next {
            self.delivered.push(number);
        }
        self.drain();
        outcome
    }

    /// As `insert`, of a packet that is to be held until `release_ms`.
    fn insert_until(&mut self, path: usize, number: u32, release_ms: u64, ms: u64) -> Insert {
        let [release, now] = [release_ms, ms].map(|ms| Instant::from_micros(ms * 1000));
        let seq = Seq::from_u32(number);
        let outcome = self.reorder.insert_until(path, seq, &number.to_be_bytes(), release, now);
        if outcome == Insert::Next {
            self.delivered.push(number);
        }
        self.drain();
        outcome
    }

    fn drain(&mut self) {
        while let Some(place) = self.reorder.pop() {
            let number = self.reorder.packet(place).try_into().unwrap();
            self.delivered.push(u32::from_be_bytes(number));
        }
    }

    fn timeout(&mut self, ms: u64) {
        self.reorder.handle_timeout(Instant::from_micros(ms * 1000));
        self.drain();
    }

    fn take(&mut self) -> Vec<u32> {
        core::mem::take(&mut self.delivered)
    }
}

fn live(paths: usize) -> PathSet {
    PathSet((1 << paths) - 1)
}

#[test]
fn rfc2890_2_2_the_first_number_is_zero_and_in_order_packets_pass_at_once() {
    let mut bench = bench(8);
    for number in 0..100 {
        assert_eq!(bench.insert(0, number, 0), Insert::Next);
    }
    assert_eq!(bench.take(), (0..100).collect::<Vec<_>>());
    assert_eq!(bench.reorder.deadline(), None);
}

#[test]
fn rfc2890_2_2_an_early_packet_waits_and_follows_the_missing_one() {
    let mut bench = bench(8);
    assert_eq!(bench.insert(0, 2, 0), Insert::Held);
    assert_eq!(bench.insert(0, 1, 0), Insert::Held);
    assert_eq!(bench.take(), []);
    assert_eq!(bench.insert(0, 0, 0), Insert::Next);
    assert_eq!(bench.take(), [0, 1, 2]);
}

#[test]
fn rfc2890_2_2_nothing_waits_longer_than_the_delay_and_gaps_are_then_skipped_in_order() {
    let mut bench = bench(16);
    bench.insert(0, 5, 0);
    bench.insert(0, 2, 40);
    bench.insert(0, 9, 60);
    assert_eq!(bench.reorder.deadline(), Some(Instant::from_micros(100_000)));
    bench.timeout(99);
    assert_eq!(bench.take(), []);
    bench.timeout(100);
    assert_eq!(bench.take(), [2, 5], "what lies before the one that waited goes with it");
    assert_eq!(bench.reorder.deadline(), Some(Instant::from_micros(160_000)));
    bench.timeout(160);
    assert_eq!(bench.take(), [9]);
    assert_eq!(bench.reorder.lost(), 7);
}

#[test]
fn rfc2890_2_2_an_overflow_of_the_window_emits_from_the_head_at_once() {
    let mut bench = bench(4);
    bench.insert(0, 1, 0);
    bench.insert(0, 3, 0);
    assert_eq!(bench.insert(0, 5, 0), Insert::Held);
    assert_eq!(bench.take(), [1], "2 may still come, 5 waits for it");
    assert_eq!(bench.insert(0, 2, 0), Insert::Next);
    assert_eq!(bench.take(), [2, 3]);
    assert_eq!(bench.insert(0, 100, 0), Insert::Held);
    assert_eq!(bench.take(), [5]);
    assert_eq!(bench.insert(0, 97, 0), Insert::Next);
    bench.insert(0, 98, 0);
    bench.insert(0, 99, 0);
    assert_eq!(bench.take(), [97, 98, 99, 100]);
}

#[test]
fn rfc2890_2_2_a_number_already_settled_is_discarded() {
    let mut bench = bench(8);
    bench.insert(0, 0, 0);
    bench.insert(0, 2, 0);
    bench.timeout(100);
    assert_eq!(bench.take(), [0, 2]);
    assert_eq!(bench.insert(0, 1, 101), Insert::Late, "given up");
    assert_eq!(bench.insert(0, 2, 101), Insert::Duplicate);
    assert_eq!(bench.insert(0, u32::MAX, 101), Insert::Late);
    assert_eq!(bench.take(), []);
}

#[test]
fn a_copy_of_a_packet_that_waits_is_a_duplicate() {
    let mut bench = bench(8);
    assert_eq!(bench.insert(0, 3, 0), Insert::Held);
    assert_eq!(bench.insert(1, 3, 0), Insert::Duplicate);
    bench.timeout(100);
    assert_eq!(bench.take(), [3]);
}

#[test]
fn a_packet_is_held_until_its_release_and_those_behind_it_with_it() {
    let mut bench = bench(8);
    assert_eq!(bench.insert_until(0, 0, 40, 0), Insert::Held);
    assert_eq!(bench.insert_until(0, 1, 30, 0), Insert::Held);
    assert_eq!(bench.reorder.deadline(), Some(Instant::from_micros(40_000)));
    bench.timeout(39);
    assert_eq!(bench.take(), []);
    bench.timeout(40);
    assert_eq!(bench.take(), [0, 1]);
    assert_eq!(bench.insert_until(0, 2, 40, 41), Insert::Next, "its time is over");
}

#[test]
fn packets_whose_places_the_window_needs_are_not_held() {
    let mut bench = bench(4);
    for number in 0..4 {
        assert_eq!(bench.insert_until(0, number, 100, 0), Insert::Held);
    }
    assert_eq!(bench.insert_until(0, 5, 100, 1), Insert::Held);
    assert_eq!(bench.take(), [0, 1]);
    bench.timeout(100);
    assert_eq!(bench.take(), [2, 3], "4 is missing");
}

#[test]
fn a_sender_that_repairs_is_given_its_time_by_the_paths_and_by_the_delay() {
    let mut bench = bench(16);
    bench.reorder.set_patience(Duration::from_millis(50));
    bench.reorder.set_live(live(2), Instant::ZERO);
    bench.insert(0, 1, 10);
    bench.insert(1, 2, 20);
    assert_eq!(bench.reorder.deadline(), Some(Instant::from_micros(70_000)), "both passed 0 at 20 ms");
    bench.timeout(69);
    assert_eq!(bench.take(), []);
    bench.timeout(70);
    assert_eq!(bench.take(), [1, 2]);
    bench.insert(0, 4, 80);
    assert_eq!(
        bench.reorder.deadline(),
        Some(Instant::from_micros(80_000) + DELAY + Duration::from_millis(50))
    );
    assert_eq!(bench.insert(1, 3, 229), Insert::Next, "the repair");
    assert_eq!((bench.take(), bench.reorder.lost()), (vec![3, 4], 1));
}

#[test]
fn numbers_wrap() {
    let mut bench = bench(8);
    bench.reorder.restart(Seq::from_u32(u32::MAX - 1));
    for number in [u32::MAX, 1, u32::MAX - 1, 0] {
        bench.insert(0, number, 0);
    }
    assert_eq!(bench.take(), [u32::MAX - 1, u32::MAX, 0, 1]);
}

#[test]
fn a_gap_that_every_live_path_has_passed_is_given_up_without_a_timer() {
    let mut bench = bench(16);
    bench.reorder.set_live(live(3), Instant::ZERO);
    bench.insert(0, 0, 0);
    bench.insert(1, 2, 0);
    bench.insert(0, 3, 0);
    assert_eq!(bench.take(), [0], "path 2 may still bring 1");
    bench.insert(2, 4, 0);
    assert_eq!(bench.take(), [2, 3, 4]);
    assert_eq!(bench.reorder.lost(), 1);
}

#[test]
fn a_packet_beyond_the_window_that_every_path_has_passed_is_not_given_up_itself() {
    let mut bench = bench(2);
    bench.reorder.set_live(PathSet::of(1), Instant::ZERO);
    bench.insert(0, 1, 0);
    assert_eq!(bench.insert(1, 8, 0), Insert::Held);
    assert_eq!(bench.take(), [1, 8]);
    assert_eq!(bench.reorder.lost(), 7);
}

#[test]
fn a_probe_passes_for_a_path_without_traffic() {
    let mut bench = bench(16);
    bench.reorder.set_live(live(2), Instant::ZERO);
    bench.insert(0, 1, 0);
    bench.reorder.handle_probe(1, Seq::from_u32(0), Instant::ZERO);
    bench.drain();
    assert_eq!(bench.take(), [], "the probe was sent before 0 was");
    bench.reorder.handle_probe(1, Seq::from_u32(1), Instant::ZERO);
    bench.drain();
    assert_eq!(bench.take(), [1]);
}

#[test]
fn a_path_that_is_not_live_any_more_holds_nothing_up() {
    let mut bench = bench(16);
    bench.reorder.set_live(live(2), Instant::ZERO);
    bench.insert(0, 1, 0);
    bench.insert(0, 2, 0);
    assert_eq!(bench.take(), []);
    bench.reorder.set_live(live(1), Instant::ZERO);
    bench.drain();
    assert_eq!(bench.take(), [1, 2]);
}

#[test]
fn where_paths_reorder_only_the_delay_and_the_window_give_up() {
    let mut bench = leak(16, ReorderConfig { delay: DELAY, paths_in_order: false, window: 16 });
    bench.reorder.set_live(live(1), Instant::ZERO);
    bench.insert(0, 1, 0);
    assert_eq!(bench.take(), []);
    bench.insert(0, 0, 0);
    assert_eq!(bench.take(), [0, 1]);
}

#[test]
fn a_path_silent_for_half_the_number_circle_is_not_taken_to_be_ahead() {
    let mut bench = bench(8);
    bench.reorder.set_live(live(2), Instant::ZERO);
    bench.insert(1, 0, 0);
    // Path 0 goes on alone for more than 2^31 numbers, in strides that the window gives up.
    let mut number = 0u32;
    for _ in 0..5 {
        number += 1 << 29;
        bench.insert(0, number, 0);
        bench.timeout(1_000_000);
    }
    bench.take();
    bench.insert(0, number + 2, 2_000_000);
    assert_eq!(bench.take(), [], "path 1 has passed nothing lately");
}

#[test]
fn a_stream_already_under_way_is_joined_where_it_is() {
    let mut bench = bench(8);
    assert_eq!(bench.insert(0, 1_000_000, 0), Insert::Next);
    assert_eq!(bench.insert(0, 1_000_002, 0), Insert::Held);
    assert_eq!(bench.reorder.lost(), 0);
}

#[test]
fn a_peer_that_restarts_at_zero_without_saying_so_is_understood_after_64_packets() {
    let mut bench = bench(8);
    bench.insert(0, 5000, 0);
    bench.take();
    let outcomes: Vec<Insert> =
        (0..70).map(|number| bench.insert(0, number, 1 + 2 * u64::from(number))).collect();
    assert!(outcomes[..63].iter().all(|outcome| *outcome == Insert::Late));
    assert!(outcomes[63..].iter().all(|outcome| *outcome == Insert::Next));
    assert_eq!(bench.take(), (63..70).collect::<Vec<_>>());
    assert_eq!(bench.reorder.restarts(), 1);
}

#[test]
fn a_stream_under_way_in_the_upper_half_of_the_number_circle_is_joined_too() {
    let mut bench = bench(8);
    assert_eq!(bench.insert(0, u32::MAX, 0), Insert::Next);
    assert_eq!(bench.insert(0, 0, 0), Insert::Next);
}

#[test]
fn a_restart_over_paths_of_different_delay_is_understood_too() {
    let mut bench = bench(32);
    bench.insert(0, 5000, 0);
    bench.timeout(100);
    bench.take();
    // Two paths, the second 20 numbers behind.
    for number in 0..80 {
        let ms = 200 + 2 * u64::from(number);
        bench.insert(number as usize % 2, if number % 2 == 0 { number + 20 } else { number }, ms);
    }
    assert_eq!(bench.reorder.restarts(), 1);
    bench.timeout(1000);
    let delivered = bench.take();
    assert!(delivered.len() >= 11 && delivered.is_sorted(), "{delivered:?}");
}

#[test]
fn what_a_path_brings_at_once_after_it_lagged_behind_is_no_restart() {
    let mut bench = bench(8);
    bench.insert(0, 5000, 0);
    for number in 0..200 {
        assert_eq!(bench.insert(1, 4000 + number, 1), Insert::Late);
    }
    assert_eq!(bench.insert(0, 5001, 1), Insert::Next);
    assert_eq!(bench.reorder.restarts(), 0);
}

#[test]
fn one_straggler_that_comes_again_and_again_is_no_restart() {
    let mut bench = bench(8);
    bench.insert(0, 5000, 0);
    for _ in 0..200 {
        assert_eq!(bench.insert(0, 7, 1), Insert::Late);
    }
    assert_eq!(bench.reorder.restarts(), 0);
}

#[test]
fn stragglers_between_accepted_packets_are_no_restart() {
    let mut bench = bench(8);
    bench.insert(0, 5000, 0);
    for number in 0..200 {
        assert_eq!(bench.insert(1, number, 1), Insert::Late);
        assert_eq!(bench.insert(0, 5001 + number, 1), Insert::Next);
    }
    assert_eq!(bench.reorder.restarts(), 0);
}

#[test]
fn a_peer_that_speaks_for_itself_is_not_second_guessed() {
    let mut bench = bench(8);
    bench.reorder.restart(Seq::from_u32(5000));
    for number in 0..200 {
        assert_eq!(bench.insert(0, number, 1), Insert::Late);
    }
}

#[test]
fn a_restart_drops_what_waits() {
    let mut bench = bench(8);
    bench.insert(0, 3, 0);
    bench.reorder.restart(Seq::ZERO);
    bench.timeout(1000);
    assert_eq!(bench.take(), []);
    assert_eq!((bench.reorder.held(), bench.reorder.deadline()), (0, None));
}

#[test]
fn a_caller_that_does_not_drain_gets_no_packet_twice_and_no_loop_without_end() {
    let mut bench = bench(2);
    let insert = |bench: &mut Bench, number: u32| {
        bench.reorder.insert(0, Seq::from_u32(number), &number.to_be_bytes(), Instant::ZERO)
    };
    assert_eq!(insert(&mut bench, 1), Insert::Held);
    assert_eq!(insert(&mut bench, 0), Insert::Next);
    assert_eq!(insert(&mut bench, 1), Insert::Duplicate, "it lies at the head, not drained");
    assert_eq!(insert(&mut bench, 3), Insert::Held, "beyond the ring");
    // In part: the packet beyond the ring now has its place, but does not lie there yet.
    assert!(bench.reorder.pop().is_some());
    assert_eq!(insert(&mut bench, 3), Insert::Duplicate);
    bench.timeout(1000);
    assert_eq!(bench.take(), [3]);
    bench.timeout(2000);
    assert_eq!((bench.reorder.held(), bench.reorder.deadline()), (0, None));
}

#[test]
fn a_packet_larger_than_a_slot_is_refused_and_changes_nothing() {
    let mut bench = bench(8);
    bench.reorder.set_live(live(1), Instant::ZERO);
    bench.insert(0, 1, 0);
    let before = std::format!("{:?}", bench.reorder);
    let outcome = bench.reorder.insert(0, Seq::from_u32(4), &[0; 5], Instant::from_micros(1));
    assert_eq!(outcome, Insert::TooLarge);
    assert_eq!(std::format!("{:?}", bench.reorder), before);
}

#[test]
fn without_storage_packets_pass_as_they_come_and_only_duplicates_are_dropped() {
    for mut bench in [bench(0), leak(0, ReorderConfig { window: 100, ..ReorderConfig::default() })] {
        bench.reorder.set_live(live(1), Instant::ZERO);
        let outcomes = [0, 3, 1, 3, 1, 2, 0].map(|number| bench.insert(0, number, 0));
        use Insert::{Duplicate, Next};
        assert_eq!(outcomes, [Next, Next, Next, Duplicate, Duplicate, Next, Duplicate]);
        assert_eq!(bench.take(), [0, 3, 1, 2]);
        assert_eq!(bench.insert(0, 5000, 0), Insert::Next);
        assert_eq!(bench.insert(0, 3976, 0), Insert::Late, "too far back to tell");
    }
}
