use super::*;
use crate::config::{Dip, Loss, Policer, Rate, Step, Straggle, Swap, Wander};
use crate::rng::MILLION;
use crate::{FULL_FRAME, LinkSpec, Trace};

mod losses;

const US: Duration = Duration::from_micros(1);
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const START: Duration = SECOND;
const FULL: usize = 1538;

/// The seed of a test: `MPT_SEED` if it is set, else `default`. It is printed, so that a failure shows it.
fn seed(default: u64) -> u64 {
    let seed = std::env::var("MPT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    println!("seed {seed}: replay with MPT_SEED={seed}");
    seed
}

/// A direction whose packets are numbers.
fn pipe(config: LinkConfig, default: u64) -> Pipe<u32> {
    Pipe::new(config, seed(default))
}

fn written(text: &str) -> LinkConfig {
    text.parse::<LinkSpec>().unwrap_or_else(|error| panic!("{text}: {error}")).forward
}

fn rate(bits_per_second: u64, queue: usize) -> LinkConfig {
    LinkConfig { rate: Some(Rate { bits_per_second, queue, mark_above: None }), ..LinkConfig::default() }
}

/// Offers packets of a length, `gap` apart, and takes all that arrives, with when; checks that no packet vanishes.
fn run(pipe: &mut Pipe<u32>, count: u32, bytes: usize, gap: Duration) -> Vec<(Duration, u32)> {
    let mut all = Vec::new();
    for number in 0..count {
        let now = START + gap * number;
        while let Some(arrival) = pipe.take(now) {
            all.push((arrival.at, arrival.frame));
        }
        pipe.offer(number, bytes, true, now);
    }
    while let Some(due) = pipe.due() {
        assert_eq!(pipe.take(due - Duration::from_nanos(1)), None, "not before its time");
        let arrival = pipe.take(due).unwrap();
        all.push((arrival.at, arrival.frame));
    }
    let stats = pipe.stats();
    let gone = stats.policed + stats.overflowed + stats.lost + stats.cut + stats.received;
    assert_eq!(stats.sent + stats.duplicated, gone + pipe.in_flight() as u64);
    all
}

fn numbers(arrivals: &[(Duration, u32)]) -> Vec<u32> {
    arrivals.iter().map(|(_, number)| *number).collect()
}

/// Delay of each arrival of [`run`], in ms.
fn delays(arrivals: &[(Duration, u32)], gap: Duration) -> Vec<f64> {
    arrivals.iter().map(|(at, number)| (*at - START - gap * *number).as_secs_f64() * 1e3).collect()
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let square = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
    (mean, (square / values.len() as f64).sqrt())
}

/// Correlation of each value with the one that many after it.
fn correlation(values: &[f64], lag: usize) -> f64 {
    let (mean, deviation) = mean_and_deviation(values);
    let pairs = values.iter().zip(&values[lag..]);
    let sum: f64 = pairs.map(|(one, other)| (one - mean) * (other - mean)).sum();
    sum / (values.len() - lag) as f64 / (deviation * deviation)
}

/// Mbit/s that arrived from `from` until `to` after the start, of packets of a length.
fn megabits(arrivals: &[(Duration, u32)], bytes: usize, from: Duration, to: Duration) -> f64 {
    let within = START + from..START + to;
    let count = arrivals.iter().filter(|(at, _)| within.contains(at)).count();
    (count * bytes * 8) as f64 / (to - from).as_secs_f64() / 1e6
}

#[test]
fn a_perfect_wire_delivers_everything_at_once() {
    let expected: Vec<_> = (0..100).map(|number| (START + MS * number, number)).collect();
    assert_eq!(run(&mut pipe(LinkConfig::default(), 0), 100, 1500, MS), expected);
}

#[test]
fn a_packet_arrives_after_its_time_on_the_wire_and_the_delay() {
    let config = LinkConfig { overhead: 24, ..written("100mbit 5ms") };
    let mut pipe = pipe(config, 0);
    pipe.offer(7, 1514, false, 10 * MS);
    // 1,538 bytes at 100 Mbit/s, to the microsecond.
    assert_eq!(pipe.due(), Some(15 * MS + 123 * US));
}

#[test]
fn the_rate_is_exact_to_a_packet_over_any_time() {
    // A rate that divides nothing evenly, and more than it carries: the queue is never empty.
    let bits = 99_999_989;
    let arrivals = run(&mut pipe(rate(bits, 15_000), 0), 20_000, 1500, 100 * US);
    let carried = arrivals.iter().filter(|(at, _)| *at <= START + 2 * SECOND).count();
    assert_eq!(carried as u64, bits * 2 / (1500 * 8));
}

#[test]
fn a_queue_drops_what_does_not_fit_its_bytes_and_frees_them_as_they_leave() {
    let mut pipe = pipe(rate(8_000_000, 3000), 0);
    for number in 0..5 {
        pipe.offer(number, 1000, false, Duration::ZERO);
    }
    assert_eq!((pipe.stats().overflowed, pipe.in_flight()), (2, 3));
    pipe.offer(5, 1000, false, 999 * US);
    assert_eq!(pipe.stats().overflowed, 3, "the first has not quite left");
    pipe.offer(6, 1000, false, 1000 * US);
    assert_eq!((pipe.stats().overflowed, pipe.in_flight()), (3, 4));
}

#[test]
fn the_queue_of_a_slow_link_holds_eight_full_packets() {
    let mut pipe = pipe(written("64kbit 5ms queue 1ms"), 0);
    (0..20).for_each(|number| pipe.offer(number, FULL, false, Duration::ZERO));
    assert_eq!(pipe.stats().overflowed, 12);
}

#[test]
fn a_packet_that_finds_a_long_queue_and_is_capable_of_ecn_is_marked() {
    let mut config = rate(8_000_000, 100_000);
    config.rate.as_mut().unwrap().mark_above = Some(2000);
    let mut pipe = pipe(config, 0);
    for is_capable in [true, true, true, true, false] {
        pipe.offer(0, 1000, is_capable, Duration::ZERO);
    }
    let marks: Vec<bool> = std::iter::from_fn(|| pipe.take(SECOND)).map(|arrival| arrival.marked).collect();
    assert_eq!(marks, [false, false, false, true, false]);
    assert_eq!(pipe.stats().marked, 1);
}

#[test]
fn jitter_is_even_on_both_sides_and_keeps_the_order_unless_told_otherwise() {
    let arrivals = run(&mut pipe(written("1gbit 20ms 5ms reorder"), 3), 20_000, 100, MS);
    let delays = delays(&arrivals, MS);
    let (mean, deviation) = mean_and_deviation(&delays);
    // An even distribution deviates by its half width over the square root of three.
    assert!((mean - 20.0).abs() < 0.1 && (deviation - 5.0 / 3f64.sqrt()).abs() < 0.1, "{mean} {deviation}");
    assert!(delays.iter().all(|delay| (15.0..25.01).contains(delay)));
    assert!(!numbers(&arrivals).is_sorted());

    let arrivals = run(&mut pipe(written("1gbit 20ms 5ms"), 3), 20_000, 100, MS);
    assert!(numbers(&arrivals).into_iter().eq(0..20_000));
}

#[test]
fn a_wander_of_each_packet_has_its_deviation_and_no_memory() {
    let arrivals = run(&mut pipe(written("1gbit 50ms wander 8ms reorder"), 5), 50_000, 100, MS);
    let mut sorted = arrivals;
    sorted.sort_by_key(|(_, number)| *number);
    let delays = delays(&sorted, MS);
    let (mean, deviation) = mean_and_deviation(&delays);
    assert!((mean - 50.0).abs() < 0.2 && (deviation - 8.0).abs() < 0.2, "{mean} {deviation}");
    assert!(correlation(&delays, 1).abs() < 0.02);
}

#[test]
fn a_wander_stays_at_its_value_for_the_time_it_should_and_then_takes_another() {
    let gap = 2 * MS;
    let config = written("1gbit 80ms wander 5ms each 10ms reorder");
    let mut arrivals = run(&mut pipe(config, 6), 100_000, 100, gap);
    arrivals.sort_by_key(|(_, number)| *number);
    let delays = delays(&arrivals, gap);
    let (mean, deviation) = mean_and_deviation(&delays);
    assert!((mean - 80.0).abs() < 0.2 && (deviation - 5.0).abs() < 0.2, "{mean} {deviation}");
    // Five packets share a value: of the pairs that are n apart, n in five do not.
    for lag in 1..=6 {
        let expected = 1.0 - (lag as f64 / 5.0).min(1.0);
        assert!((correlation(&delays, lag) - expected).abs() < 0.03, "{lag}: {}", correlation(&delays, lag));
    }
}

#[test]
fn a_smooth_wander_has_its_deviation_and_forgets_within_its_correlation_time() {
    let gap = 5 * MS;
    let config = written("1gbit 80ms wander 5ms each 50ms smooth reorder");
    let mut arrivals = run(&mut pipe(config, 7), 100_000, 100, gap);
    arrivals.sort_by_key(|(_, number)| *number);
    let delays = delays(&arrivals, gap);
    let (mean, deviation) = mean_and_deviation(&delays);
    assert!((mean - 80.0).abs() < 0.5 && (deviation - 5.0).abs() < 0.3, "{mean} {deviation}");
    for (lag, expected) in [(1, (-0.1f64).exp()), (10, (-1f64).exp()), (30, (-3f64).exp())] {
        assert!((correlation(&delays, lag) - expected).abs() < 0.06, "{lag}: {}", correlation(&delays, lag));
    }
}

#[test]
fn a_heavy_wander_has_the_same_deviation_and_its_tail_on_the_late_side() {
    let mut arrivals =
        run(&mut pipe(written("1gbit 80ms wander 5ms each 10ms heavy reorder"), 8), 100_000, 100, 10 * MS);
    arrivals.sort_by_key(|(_, number)| *number);
    let delays = delays(&arrivals, 10 * MS);
    let (mean, deviation) = mean_and_deviation(&delays);
    assert!((mean - 80.0).abs() < 0.3 && (deviation - 5.0).abs() < 0.7, "{mean} {deviation}");
    let least = delays.iter().copied().fold(f64::MAX, f64::min);
    let late = delays.iter().filter(|delay| **delay > 95.0).count() as f64 / 100_000.0;
    assert!(least > 76.0 && (0.012..0.023).contains(&late), "{least} {late}");
}

#[test]
fn a_wander_keeps_the_order_unless_told_otherwise_and_no_delay_is_negative() {
    for text in [
        "1gbit 20ms wander 15ms",
        "1gbit 20ms wander 15ms each 10ms",
        "1gbit 5ms wander 15ms each 20ms smooth",
    ] {
        let arrivals = run(&mut pipe(written(text), 9), 20_000, 100, MS);
        assert!(numbers(&arrivals).into_iter().eq(0..20_000), "{text}");
        let arrivals = run(&mut pipe(LinkConfig { reorder: true, ..written(text) }, 9), 20_000, 100, MS);
        assert_eq!(
            numbers(&arrivals).is_sorted(),
            text.contains("smooth") && numbers(&arrivals).is_sorted(),
            "{text}"
        );
        assert!(delays(&arrivals, MS).into_iter().all(|delay| delay >= 0.0));
    }
}

#[test]
fn the_delay_over_time_does_not_depend_on_what_is_sent() {
    let config =
        written("100mbit 60ms wander 5ms each 10ms step 20ms each 1s dip 50ms each 700ms 5% reorder");
    let smooth = LinkConfig {
        wander: Some(Wander { deviation: 5 * MS, each: 40 * MS, heavy: false, smooth: true }),
        ..config
    };
    for config in [config, smooth] {
        let [all, few] = [MS, 37 * MS].map(|gap| run(&mut pipe(config, 10), 3000, 100, gap));
        let known: std::collections::BTreeMap<u32, Duration> =
            all.iter().map(|(at, number)| (*number, *at - MS * *number)).collect();
        let mut compared = 0;
        for (at, number) in few.iter().take_while(|(_, number)| *number < 80) {
            if let Some(other) = known.get(&(37 * *number)) {
                let difference = other.abs_diff(*at - 37 * MS * *number);
                assert!(difference < MS / 2, "{number}: {difference:?}, the queue in a dip left out");
                compared += 1;
            }
        }
        assert!(compared > 50, "{compared}");
    }
}

#[test]
fn a_step_takes_another_value_within_its_bounds_each_period_and_stays_there() {
    let config = written("1gbit 60ms step 20ms each 2s reorder");
    let mut arrivals = run(&mut pipe(config, 11), 40_000, 100, 10 * MS);
    arrivals.sort_by_key(|(_, number)| *number);
    let delays = delays(&arrivals, 10 * MS);
    let changes: Vec<usize> =
        (1..delays.len()).filter(|at| (delays[*at] - delays[at - 1]).abs() > 0.01).collect();
    assert!((190..=201).contains(&changes.len()), "{} in 400 s", changes.len());
    assert!(changes.windows(2).all(|pair| (pair[1] - pair[0]) % 200 == 0), "each 2 s");
    let (mean, deviation) = mean_and_deviation(&delays);
    assert!((mean - 60.0).abs() < 3.0 && (deviation - 20.0 / 3f64.sqrt()).abs() < 1.5, "{mean} {deviation}");
    assert!(delays.iter().all(|delay| (40.0..80.1).contains(delay)));
}

#[test]
fn a_dip_serves_nothing_and_loses_nothing_and_the_queue_holds() {
    // 10 Mbit/s for 60 s at eight tenths of the rate, with 200 ms of nothing each 3 s.
    let config = written("10mbit 10ms queue 400ms dip 200ms each 3s");
    let gap = Duration::from_nanos(FULL_FRAME * 8 * 1_000_000_000 / 8_000_000);
    let count = 39_000;
    let arrivals = run(&mut pipe(config, 12), count, FULL, gap);
    assert!(numbers(&arrivals).into_iter().eq(0..count), "nothing is lost");
    let gaps: Vec<Duration> = arrivals.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let silences: Vec<&Duration> = gaps.iter().filter(|gap| **gap > 10 * MS).collect();
    assert!((19..=21).contains(&silences.len()), "{silences:?}");
    assert!(silences.iter().all(|silence| (198 * MS..=204 * MS).contains(silence)), "{silences:?}");

    // More than the link carries: the rate, without the dips.
    let arrivals = run(&mut pipe(config, 12), count, FULL, gap / 2);
    let expected = config.capacity() as f64 / 1e6;
    assert!((expected - 10.0 * 14.0 / 15.0).abs() < 0.01);
    let found = megabits(&arrivals, FULL, SECOND, 28 * SECOND);
    assert!((found / expected - 1.0).abs() < 0.01, "{found} of {expected}");
}

#[test]
fn dips_have_lengths_between_their_bounds_and_both_directions_have_them_at_once() {
    let dip = Dip { shortest: 100 * MS, longest: 300 * MS, each: 15 * SECOND };
    let forward = Weather::new(1, 1);
    let mut back = Weather::new(2, 2);
    assert_ne!(forward.dip(dip, SECOND), back.dip(dip, SECOND));
    back.share(1);
    let (mut at, mut lengths) = (Duration::ZERO, Vec::new());
    for _ in 0..1000 {
        let (begin, end) = forward.dip(dip, at);
        assert_eq!(back.dip(dip, at), (begin, end));
        assert_eq!(forward.dip(dip, begin), (begin, end), "the dip that a time is in");
        lengths.push((end - begin).as_secs_f64() * 1e3);
        at = end;
    }
    let (mean, deviation) = mean_and_deviation(&lengths);
    assert!((mean - 200.0).abs() < 6.0 && (deviation - 57.7).abs() < 5.0, "{mean} {deviation}");
    assert!((14_900..15_100).contains(&(at.as_millis() / 1000)));
}

#[test]
fn batches_leave_at_multiples_of_their_time_and_take_nothing_off_the_rate() {
    let config = LinkConfig { batch: 8 * MS, ..rate(20_000_000, 100_000) };
    let arrivals = run(&mut pipe(config, 0), 50_000, 1250, 400 * US);
    assert!(arrivals.iter().all(|(at, _)| at.as_micros().is_multiple_of(8000)));
    let found = megabits(&arrivals, 1250, SECOND, 19 * SECOND);
    assert!((found - 20.0).abs() < 0.02, "{found}");
    let mut at_once: Vec<Duration> = arrivals.iter().map(|(at, _)| *at).collect();
    at_once.dedup();
    assert!((arrivals.len() as f64 / at_once.len() as f64 - 16.0).abs() < 0.1, "20 Mbit/s are 16 in 8 ms");
}

#[test]
fn a_policer_passes_its_bucket_and_then_its_rate_and_holds_nothing() {
    // 50 Mbit/s offered: 2 MB on top, then 30.
    let config = written("1gbit 5ms policer 30mbit 2MB");
    let gap = Duration::from_nanos(FULL_FRAME * 8 * 1_000_000_000 / 50_000_000);
    let mut pipe = pipe(config, 0);
    let arrivals = run(&mut pipe, 40_000, FULL, gap);
    let (begin, later) =
        (megabits(&arrivals, FULL, 10 * MS, 700 * MS), megabits(&arrivals, FULL, SECOND, 9 * SECOND));
    assert!((begin - 50.0).abs() < 0.5 && (later - 30.0).abs() < 0.05, "{begin} {later}");
    let bytes = arrivals.len() as u64 * FULL_FRAME;
    let expected =
        2_000_000 + 30_000_000 / 8 * u64::try_from((gap * 40_000).as_micros()).unwrap() / 1_000_000;
    assert!(bytes.abs_diff(expected) < 2 * FULL_FRAME, "{bytes} of {expected}");
    assert_eq!((pipe.stats().overflowed, pipe.stats().policed), (0, 40_000 - arrivals.len() as u64));
    assert!(delays(&arrivals, gap).into_iter().all(|delay| delay < 5.1));
    assert_eq!(config.capacity(), 30_000_000);
}

#[test]
fn a_policer_of_few_packets_passes_few_at_once() {
    let config = LinkConfig {
        policer: Some(Policer { bits_per_second: 1_000_000, bucket: 5 * FULL_FRAME }),
        ..LinkConfig::default()
    };
    let mut pipe = pipe(config, 0);
    (0..100).for_each(|number| pipe.offer(number, FULL, false, SECOND));
    assert_eq!(pipe.stats().policed, 95);
    // A packet is 12.3 ms at that rate.
    pipe.offer(100, FULL, false, SECOND + 12 * MS);
    pipe.offer(101, FULL, false, SECOND + 13 * MS);
    assert_eq!(pipe.stats().policed, 96);
}

#[test]
fn a_trace_passes_its_opportunities_and_no_more() {
    let path = format!("{}/traces/breathing.down", env!("CARGO_MANIFEST_DIR"));
    let config = written(&format!("trace {path} 10ms"));
    let trace = Trace::open(&path).unwrap();
    // 24 Mbit/s for two rounds, which take 8: all opportunities are used.
    let arrivals = run(&mut pipe(config, 0), 80_000, 1500, MS / 2);
    let within =
        |from: Duration, to: Duration| (trace.first_from(START + to) - trace.first_from(START + from)) as f64;
    for second in 2..38 {
        let (from, to) = (SECOND * second, SECOND * (second + 1));
        let expected = within(from - 10 * MS, to - 10 * MS) * 12_000.0 / 1e6;
        let found = megabits(&arrivals, 1500, from, to);
        assert!((found - expected).abs() < 0.1, "second {second}: {found} of {expected}");
    }
    assert_eq!(config.capacity(), trace.mean());
    let found = megabits(&arrivals, 1500, SECOND, 39 * SECOND) * 38.0;
    assert!((found / (within(SECOND, 39 * SECOND) * 0.012) - 1.0).abs() < 0.01);
}

#[test]
fn small_packets_share_an_opportunity_and_large_ones_take_two() {
    let path = std::env::temp_dir().join(format!("mpt-link-{}.trace", std::process::id()));
    std::fs::write(&path, "10\n20\n").unwrap();
    let config = written(&format!("trace {} queue 100kB", path.display()));
    std::fs::remove_file(&path).unwrap();
    let mut pipe = pipe(config, 0);
    for (number, bytes) in [(0, 700), (1, 700), (2, 1400), (3, 1500)] {
        pipe.offer(number, bytes, false, MS);
    }
    let at: Vec<Duration> = std::iter::from_fn(|| pipe.take(SECOND)).map(|arrival| arrival.at).collect();
    assert_eq!(at, [10 * MS, 10 * MS, 20 * MS, 30 * MS]);
    pipe.offer(4, 200, false, 30 * MS);
    pipe.offer(5, 200, false, 31 * MS);
    assert_eq!(pipe.take(SECOND).map(|arrival| arrival.at), Some(30 * MS), "what is left of it");
    assert_eq!(pipe.take(SECOND).map(|arrival| arrival.at), Some(40 * MS), "the rest was wasted");
}

#[test]
fn a_rate_that_breathes_has_its_mean_and_two_links_do_not_breathe_at_once() {
    let config = written("20mbit 10ms breathe 50%");
    assert_eq!(config.capacity(), 20_000_000);
    let courses = [13, 14].map(|seed| {
        let mut pipe = Pipe::new(config, seed);
        let arrivals = run(&mut pipe, 100_000, 1500, 600 * US);
        (0..59)
            .map(|second| megabits(&arrivals, 1500, SECOND * second, SECOND * (second + 1)))
            .collect::<Vec<_>>()
    });
    for course in &courses {
        let (mean, deviation) = mean_and_deviation(course);
        // What it cannot use of the best seconds is lost: the load is as high as the mean.
        assert!((13.0..20.1).contains(&mean) && deviation > 2.0, "{mean} {deviation}");
    }
    assert_ne!(courses[0], courses[1]);
}

#[test]
fn a_cut_loses_what_is_under_way_and_what_is_offered_until_it_is_mended() {
    let config = written("20mbit 80ms");
    let mut pipe = pipe(config, 0);
    (0..10).for_each(|number| pipe.offer(number, FULL, false, START));
    pipe.set_cut(true);
    assert_eq!((pipe.due(), pipe.backlog(START)), (None, Duration::ZERO));
    pipe.offer(10, FULL, false, START + MS);
    assert_eq!(pipe.stats().cut, 11);
    pipe.set_cut(false);
    pipe.offer(11, FULL, false, START + 2 * MS);
    assert_eq!(pipe.due(), Some(START + 82 * MS + 615 * US));
}

#[test]
fn the_same_seed_does_the_same_and_another_one_does_not() {
    let text = "100kbit 9ms 5ms queue 20kB 10% burst 3 wander 2ms step 3ms each 100ms dip 10ms-30ms each 300ms batch 3ms \
                policer 90kbit 3kB duplicate 10% straggle 10% 9ms swap 20ms each 100ms corrupt 10% reorder";
    let run = |seed| run(&mut Pipe::new(written(text), seed), 3000, 100, MS / 4);
    assert_eq!(run(9), run(9));
    assert_ne!(run(9), run(10));
}

#[test]
fn a_new_rate_moves_what_waits_and_what_comes() {
    let rate = |bits_per_second| Some(Rate { bits_per_second, queue: 100_000, mark_above: None });
    let config = LinkConfig { rate: rate(8_000_000), overhead: 28, delay: 10 * MS, ..LinkConfig::default() };
    let mut pipe = pipe(config, 0);
    (0..10).for_each(|number| pipe.offer(number, 972, false, START));
    assert_eq!(pipe.backlog(START), 10 * MS, "a millisecond for each thousand bytes, headers included");
    // Two and a half have left; the rest goes ten times as fast, then ten times as slow.
    let change = START + MS * 5 / 2;
    pipe.set_config(LinkConfig { rate: rate(80_000_000), ..config }, change);
    assert_eq!(pipe.backlog(change), MS * 3 / 4);
    pipe.offer(10, 972, false, change);
    assert_eq!(pipe.backlog(change), MS * 17 / 20);
    pipe.set_config(LinkConfig { rate: rate(800_000), ..config }, change);
    assert_eq!(pipe.backlog(change), 85 * MS);
    let arrivals: Vec<Duration> =
        std::iter::from_fn(|| pipe.take(10 * SECOND)).map(|arrival| arrival.at - START - 10 * MS).collect();
    let expected = [MS, 2 * MS].into_iter().chain((0..9).map(|n| MS * 15 / 2 + 10 * MS * n));
    assert!(arrivals.iter().copied().eq(expected), "{arrivals:?}");
}

#[test]
fn any_setting_can_change_while_packets_wait_and_none_vanishes() {
    let texts = [
        "8mbit 10ms",
        "8mbit 10ms dip 100ms each 400ms",
        "8mbit 30ms wander 5ms each 10ms batch 5ms",
        "8mbit 10ms breathe 50%",
        "1mbit 10ms swap 20ms each 1s",
        "80mbit 1ms policer 4mbit 9kB",
        "80mbit 10ms step 5ms each 50ms",
    ];
    let mut pipe = pipe(written(texts[0]), 15);
    let (mut arrived, mut now) = (Vec::new(), START);
    for number in 0..20_000 {
        now += 500 * US;
        if number % 50 == 49 {
            pipe.set_config(written(texts[number as usize / 50 % texts.len()]), now);
        }
        pipe.offer(number, 400, false, now);
        arrived.extend(std::iter::from_fn(|| pipe.take(now)).map(|arrival| arrival.frame));
        let stats = pipe.stats();
        let gone = stats.policed + stats.overflowed + stats.lost + stats.cut + stats.received;
        assert_eq!(stats.sent + stats.duplicated, gone + pipe.in_flight() as u64);
        assert!(pipe.backlog(now) < 3 * SECOND, "{:?}", pipe.backlog(now));
    }
    arrived.sort_unstable();
    assert!(arrived.windows(2).all(|pair| pair[0] < pair[1]), "none twice");
    assert!(arrived.len() > 5000, "{}", arrived.len());
}

#[test]
fn a_step_and_a_dip_of_one_period_come_at_once() {
    let weather = Weather::new(3, 3);
    let dip = Dip { shortest: MS, longest: MS, each: 15 * SECOND };
    let step = Step { within: 20 * MS, each: 15 * SECOND };
    let mut at = Duration::ZERO;
    for _ in 0..10 {
        let (begin, end) = weather.dip(dip, at);
        assert_ne!(weather.step(step, begin - US), weather.step(step, begin));
        assert_eq!(weather.step(step, begin), weather.step(step, begin + 14 * SECOND));
        at = end;
    }
}

#[test]
fn uneven_arrivals_by_a_clock_of_nanoseconds_leave_in_order_at_the_rate_and_after_the_delay() {
    let config = LinkConfig { overhead: 24, ..written("20mbit 40ms wander 5ms each 50ms 1%") };
    let mut pipe = pipe(config, 16);
    let (mut rng, mut now, mut last) = (Rng::new(17), START, (Duration::ZERO, 0));
    let mut bursts = Vec::new();
    for number in 0..200_000 {
        // Ten packets at once each 5 to 15 ms, as a thread finds them on a socket; the link needs 4.95 ms for them.
        if number % 10 == 0 {
            now += Duration::from_nanos(5_000_000 + rng.below(10_000_000));
            assert_eq!(pipe.backlog(now), Duration::ZERO);
            bursts.push(now);
        }
        pipe.offer(number, 1214, false, now);
        while let Some(arrival) = pipe.take(now) {
            assert!((arrival.at, arrival.frame) > last, "in order of time and of number");
            last = (arrival.at, arrival.frame);
            let sent = bursts[arrival.frame as usize / 10];
            let wire = Duration::from_nanos(495_200) * (arrival.frame % 10 + 1);
            // Six deviations around the mean, and the queue behind one that must not be overtaken.
            let travel = arrival.at - sent - wire + US;
            assert!((10 * MS..=75 * MS).contains(&travel), "{travel:?}");
        }
    }
    let stats = *pipe.stats();
    let loss = stats.lost as f64 / 200_000.0;
    assert!(stats.overflowed == 0 && (loss - 0.01).abs() < 0.001, "{stats:?}");
    assert_eq!(stats.received + stats.lost + pipe.in_flight() as u64, 200_000);
}

#[test]
fn no_packet_of_a_preset_or_profile_takes_longer_than_its_queue_its_dips_and_its_delay() {
    let profiles = crate::profiles().iter().flat_map(|profile| crate::links(profile.links).unwrap());
    let presets = crate::presets().iter().map(|preset| preset.name.parse::<LinkSpec>().unwrap());
    for config in presets.chain(profiles).flat_map(|link| [link.forward, link.back]) {
        let rate = config.rate.unwrap();
        let queue = Duration::from_secs_f64(rate.queue as f64 * 8.0 / rate.bits_per_second as f64);
        // A rate that breathes is down to a twentieth at worst; a heavy tail is 100 deviations long.
        let slowest = if config.trace.is_some() { 20 } else { 1 };
        let tail = config
            .wander
            .map_or(Duration::ZERO, |wander| if wander.heavy { 100 } else { 1 } * wander.deviation);
        let most = slowest * queue + config.longest_delay() + tail + config.batch;
        // Half as much again as it carries, for ten seconds.
        let gap = Duration::from_secs_f64(FULL as f64 * 8.0 / 1.5 / rate.bits_per_second as f64);
        let count = u32::try_from(10_000_000_000 / gap.as_nanos()).unwrap();
        let mut pipe = pipe(config, 18);
        let arrivals = run(&mut pipe, count, FULL, gap);
        assert!(numbers(&arrivals).is_sorted());
        assert!(pipe.stats().overflowed > 0);
        let longest = delays(&arrivals, gap).into_iter().fold(0.0, f64::max);
        assert!(longest <= most.as_secs_f64() * 1e3, "{longest} ms of {most:?}: {config:?}");
        if config.trace.is_none() {
            let (found, expected) =
                (megabits(&arrivals, FULL, SECOND, 10 * SECOND), config.delivered() as f64 / 1e6);
            assert!((found / expected - 1.0).abs() < 0.04, "{found} of {expected} Mbit/s: {config:?}");
        }
    }
}
