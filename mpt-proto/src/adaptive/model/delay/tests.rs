use super::*;
use crate::rng::Rng;
use core::time::Duration;

const RATE: f32 = 1_000_000.0;
const STEP: i32 = 10_000;

/// A path that is sent half of its rate, with a report each 10 ms.
struct Bench {
    delay: DelayEstimate,
    at: Anchor,
    now: Instant,
}

fn bench(base: f32) -> Bench {
    Bench { delay: DelayEstimate::default(), at: Anchor::first(base), now: Instant::from_micros(10_000_000) }
}

impl Bench {
    /// A report with this delay. Returns whether the queue seems empty.
    fn report(&mut self, delay: f32) -> bool {
        self.now = self.now + Duration::from_millis(10);
        self.at = self.at.with_delay(STEP, 5, delay);
        self.delay.handle(self.at, self.at.delay, RATE, Phase::Cruise, self.now)
    }

    fn run(&mut self, ms: u64, delay: f32) {
        for _ in 0..ms / 10 {
            self.report(delay);
        }
    }

    fn base(&self) -> f32 {
        self.delay.base().unwrap()
    }
}

#[test]
fn a_base_that_steps_down_is_known_at_once() {
    let mut bench = bench(40_000.0);
    bench.run(3_000, 40_000.0);
    assert_eq!(bench.base(), 40_000.0);
    assert!(bench.report(20_000.0));
    assert!((bench.base() - 20_000.0).abs() < 500.0, "{}", bench.base());
}

#[test]
fn a_base_that_steps_up_is_a_queue_until_it_is_proved() {
    let mut bench = bench(20_000.0);
    bench.run(3_000, 20_000.0);
    bench.delay.take_standing();
    bench.run(1_000, 40_000.0);
    assert!((bench.base() - 20_000.0).abs() < 500.0, "{}", bench.base());
    assert!(!bench.delay.is_empty() && bench.delay.take_standing());
    bench.delay.prove(40_000.0, bench.now);
    assert!(bench.report(40_000.0), "the queue is gone");
    assert!((bench.base() - 40_000.0).abs() < 500.0, "{}", bench.base());
}

#[test]
fn a_queue_that_never_goes_becomes_the_base_only_after_two_windows() {
    let mut bench = bench(20_000.0);
    bench.run(1_000, 20_000.0);
    bench.run(4_500, 40_000.0);
    assert!(bench.base() < 21_000.0, "{}", bench.base());
    bench.run(6_000, 40_000.0);
    assert!((bench.base() - 40_000.0).abs() < 500.0, "{}", bench.base());
}

#[test]
fn a_base_that_was_proved_holds_for_a_window() {
    let mut bench = bench(40_000.0);
    bench.run(1_000, 40_000.0);
    bench.delay.prove(40_000.0, bench.now);
    bench.run(4_900, 36_000.0);
    assert_eq!(bench.base(), 40_000.0);
    bench.run(200, 36_000.0);
    assert!((bench.base() - 36_000.0).abs() < 500.0, "{}", bench.base());
}

#[test]
fn what_was_proved_is_the_least_of_the_base_for_a_window_and_the_most_in_the_next() {
    let mut bench = bench(20_000.0);
    bench.run(3_000, 20_000.0);
    bench.delay.prove(40_000.0, bench.now);
    for (ms, base) in [(4_900, 45_000.0), (200, 40_000.0), (4_800, 40_000.0), (200, 45_000.0)] {
        bench.run(ms, 45_000.0);
        assert!((bench.base() - base).abs() < 500.0, "{} of {base}", bench.base());
    }
}

#[test]
fn a_proof_amid_noise_that_ends_does_not_leave_a_base_below_all_delays() {
    let (mut bench, mut rng) = (bench(40_000.0), Rng::new(1));
    for _ in 0..300 {
        bench.report(40_000.0 + 5_000.0 * rng.normal());
    }
    bench.run(200, 40_000.0);
    bench.delay.prove(40_000.0, bench.now);
    bench.run(6_000, 40_000.0);
    assert!((bench.base() - 40_000.0).abs() < 2_000.0, "{}", bench.base());
}

#[test]
fn noise_does_not_make_a_queue() {
    for (deviation, each) in [(2_000.0, 1), (5_000.0, 1), (10_000.0, 1), (5_000.0, 10)] {
        let (mut bench, mut rng, mut value) = (bench(50_000.0), Rng::new(7), 0.0);
        let (mut full, mut mean) = (0, 0.0);
        for report in 0..2_000 {
            if report % each == 0 {
                value = rng.normal() * deviation;
            }
            let is_empty = bench.report(50_000.0 + value);
            if report >= 300 {
                full += i32::from(!is_empty);
                mean += bench.delay.queue().smoothed / 1_700.0;
            }
            if report % 12 == 0 {
                assert!(!bench.delay.take_standing() || report == 0, "{deviation} us: a queue stood");
            }
        }
        let what = std::format!("{deviation} us each {each} reports");
        assert!(full < 300, "{what}: a queue in {full} of 1,700 reports");
        assert!(mean.abs() < 1.3 * deviation, "{what}: {mean} us on the mean");
    }
}

#[test]
fn a_path_that_is_not_noisy_needs_no_proof_and_a_noisy_one_each_five_seconds() {
    let mut calm = bench(20_000.0);
    calm.run(10_000, 20_000.0);
    assert!(!calm.delay.wants_proof(calm.now));
    let (mut noisy, mut rng) = (bench(20_000.0), Rng::new(3));
    for _ in 0..300 {
        noisy.report(20_000.0 + 3_000.0 * rng.normal());
    }
    assert!(noisy.delay.wants_proof(noisy.now));
    noisy.delay.prove(20_000.0, noisy.now);
    assert!(!noisy.delay.wants_proof(noisy.now + Duration::from_millis(4_900)));
    assert!(noisy.delay.wants_proof(noisy.now + Duration::from_millis(5_100)));
}
