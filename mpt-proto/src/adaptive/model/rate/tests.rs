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
    rate.judge(at, POLICED_TIME);
    for report in 0..reports {
        let numbers = report * packets..(report + 1) * packets;
        let lost = numbers.clone().filter(|number| is_lost(*number)).count();
        at = at.after(10_000, 10_000, packets, u32::try_from(lost).unwrap());
        if let Some(Losses::Policer(judged)) = rate.judge(at, POLICED_TIME) {
            return Some((numbers.end, 1.0 - judged.loss()));
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
    rate.police(3e6, &half_of(1e6), 0, NOW);
    assert_eq!(rate.value(), 1.5e6, "what arrived of a flow that paused");
    let during = NOW + Duration::from_millis(4_900);
    rate.push(2e6, WINDOW, during);
    assert_eq!((rate.value(), rate.is_policed(during)), (1.5e6, true));
    let after = NOW + Duration::from_millis(5_100);
    rate.push(2e6, WINDOW, after);
    assert_eq!((rate.value(), rate.is_policed(after)), (2e6, false));
    rate.police(8e6, &half_of(1e6), 0, after);
    assert_eq!(rate.value(), 2e6, "it is not raised");
    rate.police(1e6, &half_of(1.2e6), 0, after);
    assert_eq!(rate.value(), 1.2e6, "what arrived, however much less is sent now");
}

#[test]
fn a_rate_that_lost_too_much_once_more_is_not_exceeded_for_half_a_minute() {
    let mut rate = RateEstimate::default();
    let mut now = NOW;
    let mut police = |rates: &[f32]| {
        now = now + Duration::from_secs(60);
        rate.reset(2.0 * rates[0], now);
        for arrived in rates {
            rate.police(*arrived, &half_of(*arrived), 0, now);
        }
        [4, 6, 29, 31].map(|later| rate.is_policed(now + Duration::from_secs(later)))
    };
    assert_eq!(police(&[1e6]), [true, false, false, false]);
    assert_eq!(police(&[1.1e6]), [true, true, true, false], "about the same");
    assert_eq!(police(&[1.5e6, 1.2e6]), [true, true, true, false], "where it ended");
    assert_eq!(police(&[0.8e6]), [true, false, false, false], "another one");
    rate.acquit(NOW);
    assert!(!rate.is_policed(NOW));
}

/// A second in which half of what left arrived, at so many bytes a second.
fn half_of(arrived: f32) -> Span {
    Span { sent: 1e6, arrived: 1e6, bytes: arrived, packets: 100, numbers: 200 }
}

/// Reports of a hundred numbers each, of which so many are lost.
struct Reports {
    rate: RateEstimate,
    at: Anchor,
    /// The flow sends what it did before, whatever the rate is.
    keeps_sending: bool,
}

impl Reports {
    fn new() -> Self {
        let mut reports =
            Self { rate: RateEstimate::default(), at: Anchor::first(0.0), keeps_sending: false };
        reports.rate.reset(2e6, NOW);
        assert!(reports.rate.judge(reports.at, 100_000.0).is_none());
        reports
    }

    #[allow(clippy::cast_possible_truncation, reason = "some hundred thousand")]
    fn lose(&mut self, lost: u32) -> Option<Losses> {
        // As many leave as the rate has them.
        let time = if self.keeps_sending { 100_000 } else { (2e11 / self.rate.value()) as i32 };
        self.at = self.at.after(time, time, 100, lost);
        self.rate.judge(self.at, 100_000.0)
    }

    /// As [`lose`](Self::lose), until the rate is cut for it, after which `under_way` numbers are under way. Returns in how many it was not.
    fn cut(&mut self, lost: u32, under_way: u32) -> usize {
        for spared in 0..10 {
            if let Some(Losses::Policer(judged)) = self.lose(lost) {
                self.rate.police(self.rate.value(), &judged, self.at.settled + under_way, NOW);
                return spared;
            }
        }
        panic!("it was never cut");
    }
}

#[test]
fn what_left_before_a_rate_was_cut_for_its_losses_is_not_held_against_the_lower_one() {
    // A far path has many reports of what left at the higher pace.
    let mut reports = Reports::new();
    assert_eq!(reports.cut(70, 400), 1, "once may be a burst");
    let cut = reports.rate.value();
    assert_eq!(reports.cut(70, 0), 4, "it left before; then the lower rate loses, too");
    assert!(reports.rate.value() < cut);
}

#[test]
fn what_a_link_loses_at_any_rate_is_no_policer() {
    let mut reports = Reports::new();
    for spared in [1, 1, 1] {
        assert_eq!(reports.cut(20, 0), spared);
    }
    assert!(reports.rate.value() < 1.1e6 && reports.lose(20).is_none());
    assert!(matches!(reports.lose(20), Some(Losses::Link)));
    reports.rate.acquit(NOW);
    assert_eq!((reports.rate.value(), reports.rate.is_policed(NOW)), (2e6, false), "as before the first cut");
    assert!((0..100).all(|_| reports.lose(20).is_none()), "it is known");
    let arrived = Span { sent: 1e6, arrived: 1e6, bytes: 1.6e6, packets: 160, numbers: 200 };
    assert!((reports.rate.carried(&arrived) - 2e6).abs() < 1.0, "what it carried at its entrance");
    assert_eq!(reports.cut(50, 0), 1, "a policer before it");
    (0..20).for_each(|_| _ = reports.lose(0));
    assert!((reports.rate.carried(&arrived) - 1.6e6).abs() < 1e4, "what is not lost any more is forgotten");
}

#[test]
fn losses_that_fall_when_less_is_sent_are_those_of_a_policer_though_its_bucket_hides_that_at_first() {
    let mut reports = Reports::new();
    reports.cut(40, 0);
    assert_eq!(reports.cut(50, 0), 1, "the bucket was not empty before");
    assert!((0..100).all(|_| reports.lose(2).is_none()), "less is sent, less is lost");
    assert!(reports.rate.is_policed(NOW) && reports.rate.own_loss == 0.0);
}

#[test]
fn losses_of_a_flow_that_sends_no_less_than_before_do_not_tell_whose_they_are() {
    let mut reports = Reports { keeps_sending: true, ..Reports::new() };
    for _ in 0..20 {
        assert_eq!(reports.cut(20, 0), 1);
    }
    assert!(reports.rate.is_policed(NOW) && reports.rate.own_loss == 0.0);
}
