use super::*;
use crate::adaptive::tuning::POLICED_TIME;
use crate::rng::Rng;
use core::time::Duration;

const NOW: Instant = Instant::from_micros(10_000_000);
const WINDOW: Micros = Micros(1_000_000);

/// Reports each 10 ms of `packets` sent in each, of which `is_lost` tells by number whether one is lost. Returns after how many numbers
/// the path was first read as one that drops what exceeds its rate, and the share that arrives.
fn judge(packets: u32, reports: u32, mut is_lost: impl FnMut(u32) -> bool) -> Option<(u32, f32)> {
    let (mut rate, mut at) = (RateEstimate::default(), Anchor::first(0.0));
    rate.policed(at, POLICED_TIME);
    for report in 0..reports {
        let numbers = report * packets..(report + 1) * packets;
        let lost = numbers.clone().filter(|number| is_lost(*number)).count();
        at = at.after(10_000, 10_000, packets, u32::try_from(lost).unwrap());
        if let Some(share) = rate.policed(at, POLICED_TIME) {
            return Some((numbers.end, share));
        }
    }
    None
}

#[test]
fn random_losses_are_not_those_of_a_policer() {
    for packets in [1, 4, 20, 100] {
        for seed in 0..10 {
            let mut rng = Rng::new(seed);
            assert_eq!(
                judge(packets, 6_000, |_| rng.below(100) < 5),
                None,
                "{packets} in each report, {seed}"
            );
        }
    }
}

/// Whether losses of one packet in twenty, in bursts of `mean` packets on the mean, are ever read as those of a policer.
fn is_misread(mean: u64, packets: u32, seed: u64) -> bool {
    let (mut rng, mut is_bad) = (Rng::new(seed), false);
    let burst = |_| {
        is_bad = if is_bad { rng.below(mean) > 0 } else { rng.below(19 * mean) == 0 };
        is_bad
    };
    judge(packets, 6_000, burst).is_some()
}

#[test]
fn bursts_of_losses_on_a_fast_path_are_not_those_of_a_policer() {
    for mean in [2, 5] {
        assert!((0..10).all(|seed| !is_misread(mean, 100, seed)), "bursts of {mean}");
    }
}

#[test]
#[ignore = "fault: a burst is an eighth of so few numbers, twice in a row: within a minute, 5 % of loss in bursts of two are \
            read as a policer on 5 of 10 paths of 100 packets a second, on 10 of 400, on 1 of 2,000; bursts of ten on 8, 10 \
            and 10"]
fn bursts_of_losses_on_a_slow_path_are_not_those_of_a_policer() {
    for (packets, mean) in [1, 4, 20].into_iter().flat_map(|packets| [(packets, 2), (packets, 10)]) {
        let misread = (0..10).filter(|seed| is_misread(mean, packets, *seed)).count();
        assert_eq!(misread, 0, "{packets} in each report, bursts of {mean}");
    }
}

#[test]
fn a_policer_is_known_within_two_judgements() {
    for (packets, within) in [(1, 128), (6, 132), (64, 128 * 10)] {
        // Of three packets two get through: half more is sent than it lets pass.
        let (numbers, share) = judge(packets, 1_000, |number| number % 3 == 0).unwrap();
        assert!(numbers <= within, "{packets} in each report: after {numbers}");
        assert!((share - 0.67).abs() < 0.02, "{share}");
    }
}

#[test]
fn losses_that_stop_are_not_those_of_a_policer() {
    assert_eq!(judge(8, 1_000, |number| number % 800 < 70), None);
}

#[test]
fn a_sample_is_limited_if_anything_of_it_left_while_there_was_too_little_to_send() {
    for (limit, limited) in [(0, false), (15, true), (20, true), (21, true), (5, false)] {
        let mut rate = RateEstimate::default();
        let from = Anchor::first(0.0).after(10_000, 10_000, 10, 0);
        rate.limit(limit);
        assert!(rate.handle(from, 5_000.0, false, Instant::ZERO).is_none());
        let at = from.after(10_000, 12_500, 10, 0);
        let sample = rate.handle(at, 5_000.0, false, Instant::ZERO).unwrap();
        assert_eq!((sample.app_limited, sample.span.rate()), (limited, 800_000.0), "up to {limit}");
    }
}

#[test]
fn packets_of_a_train_left_on_purpose() {
    let mut rate = RateEstimate::default();
    rate.limit(20);
    rate.handle(Anchor::first(0.0), 5_000.0, true, Instant::ZERO);
    let sample = rate.handle(Anchor::first(0.0).after(10_000, 10_000, 10, 0), 5_000.0, true, Instant::ZERO);
    assert!(!sample.unwrap().app_limited);
}

#[test]
fn a_sample_lasts_for_the_time_and_the_packets_that_are_asked_for() {
    for (sent, packets, counts) in [(50_000, 20, true), (30_000, 20, false), (50_000, 7, false)] {
        let (mut rate, from) = (RateEstimate::default(), Anchor::first(0.0));
        rate.handle(from, 40_000.0, false, Instant::ZERO);
        let sample = rate.handle(from.after(sent, 10_000, packets, 0), 40_000.0, false, Instant::ZERO);
        assert_eq!(sample.is_some(), counts, "{packets} packets in {sent} us");
    }
}

#[test]
fn a_limit_does_not_come_back_when_numbers_come_round() {
    let (mut rate, mut at) = (RateEstimate::default(), Anchor::first(0.0));
    rate.limit(5);
    rate.handle(at, 5_000.0, false, Instant::ZERO);
    // Twice round the circle of 2^24.
    for step in 0..3_400 {
        at = at.after(10_000, 10_000, 10_000, 0);
        let sample = rate.handle(at, 5_000.0, false, Instant::ZERO).unwrap();
        assert_eq!(sample.app_limited, step == 0, "step {step}");
    }
}

#[test]
fn the_highest_of_a_window_counts_and_nothing_beyond_the_bounds() {
    let mut rate = RateEstimate::default();
    assert_eq!(rate.value(), START_RATE);
    rate.push(3e6, WINDOW, NOW);
    rate.push(2e6, WINDOW, NOW + Duration::from_millis(600));
    assert_eq!(rate.value(), 3e6);
    rate.push(1e6, WINDOW, NOW + Duration::from_millis(1_100));
    assert_eq!(rate.value(), 2e6);
    rate.reset(1e6, NOW + Duration::from_millis(1_200));
    assert_eq!(rate.value(), 1e6);
    for (pushed, value) in [(f32::MAX, MOST_RATE), (0.0, LEAST_RATE)] {
        rate.reset(pushed, NOW);
        assert_eq!(rate.value(), value);
    }
}

/// An estimate that lately saw a sample of 800,000 bytes a second.
fn seen() -> RateEstimate {
    let (mut rate, from) = (RateEstimate::default(), Anchor::first(0.0));
    assert_eq!(rate.used(), LEAST_USED * START_RATE, "nothing was seen yet");
    rate.handle(from, 5_000.0, false, NOW);
    rate.handle(from.after(10_000, 12_500, 10, 0), 5_000.0, false, NOW).unwrap();
    rate
}

#[test]
fn what_is_used_is_the_rate_or_what_was_seen_in_five_seconds() {
    let mut rate = seen();
    for (value, used) in [(1.2e6, 800_000.0), (500_000.0, 500_000.0), (2e6, 1e6)] {
        rate.reset(value, NOW);
        assert_eq!(rate.used(), used, "at {value}");
    }
    rate.reset(1.2e6, NOW);
    let (mut at, mut now) = (Anchor::first(0.0).after(10_000, 12_500, 10, 0), NOW);
    for (ms, used) in [(4_900, 800_000.0), (200, 600_000.0)] {
        for _ in 0..ms / 100 {
            (at, now) = (at.after(100_000, 100_000, 10, 0), now + Duration::from_millis(100));
            rate.handle(at, 5_000.0, false, now).unwrap();
        }
        assert_eq!(rate.used(), used, "{ms} ms later");
    }
}

#[test]
fn with_little_to_send_a_standing_queue_lowers_the_rate_to_most_of_what_was_seen() {
    for (value, surplus, app_limited, lowered) in [
        (2e6, 500_000.0, true, 1.5e6),
        (2e6, 1.5e6, true, 680_000.0),
        (600_000.0, 100_000.0, true, 600_000.0),
        (2e6, 1.5e6, false, 500_000.0),
        (600_000.0, 100_000.0, false, 500_000.0),
    ] {
        let mut rate = seen();
        rate.reset(value, NOW);
        rate.saturate(surplus, app_limited, NOW);
        assert!((rate.value() - lowered).abs() < 1.0, "{value} less {surplus}: {}", rate.value());
    }
}

#[test]
fn a_rate_that_lost_too_much_is_not_exceeded_for_five_seconds() {
    let mut rate = RateEstimate::default();
    rate.reset(2e6, NOW);
    rate.police(3e6, 0.5, NOW);
    assert_eq!(rate.value(), 1.5e6, "what arrived");
    let during = NOW + Duration::from_millis(4_900);
    rate.push(2e6, WINDOW, during);
    assert_eq!((rate.value(), rate.is_policed(during)), (1.5e6, true));
    let after = NOW + Duration::from_millis(5_100);
    rate.push(2e6, WINDOW, after);
    assert_eq!((rate.value(), rate.is_policed(after)), (2e6, false));
    rate.police(8e6, 0.5, after);
    assert_eq!(rate.value(), 2e6, "it is not raised");
}
