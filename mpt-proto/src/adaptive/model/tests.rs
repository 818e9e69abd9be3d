use super::*;
use crate::adaptive::tuning::MOST_RATE;
use crate::feedback::{Feedback, Ways};
use crate::path_set::PathSet;
use crate::rng::Rng;
use crate::wire::extension::{Header, Kind};
use crate::wire::report::Report;
use core::time::Duration;
use std::collections::VecDeque;
use std::format;

mod bench;

use bench::*;

#[test]
fn a_constant_rate_is_found_and_used_without_a_standing_queue() {
    is_found_and_used(&[10.0, 100.0, 400.0]);
}

#[test]
fn a_constant_rate_that_is_less_than_the_first_guess_is_found_as_well() {
    is_found_and_used(&[2.0, 5.0]);
}

fn is_found_and_used(rates: &[f64]) {
    for mbits in rates {
        for delay in [2_000, 15_000, 80_000] {
            let mut bench = bench(mbits * 125_000.0, delay);
            bench.run(6_000);
            let share = bench.share(6_000);
            let what = format!("{mbits} Mbit/s, {delay} us");
            assert!(share > 0.85, "{what}: only {share} is used");
            assert!((0.8..1.2).contains(&bench.estimate()), "{what}: {}", bench.estimate());
            assert!(bench.model.queue() < 40_000.0, "{what}: {} us wait", bench.model.queue());
            let base = bench.model.base().unwrap();
            assert!((base - delay as f32).abs() < 10_000.0, "{what}: base {base}");
            assert!(!bench.overdue, "{what}");
        }
    }
}

#[test]
fn a_throttled_path_is_found_though_its_packets_are_few_and_its_queue_stays_short() {
    for kbits in [64.0, 128.0, 500.0] {
        let mut bench = Bench { buffer: 1_000_000, ..bench(kbits * 125.0, 15_000) };
        // By its own queue of a second it is taken for one that others fill, for half a minute.
        bench.run(60_000);
        let packet_time = LEN as f64 * 1e6 / bench.rate;
        assert!((0.7..1.2).contains(&bench.estimate()), "{kbits} kbit/s: {}", bench.estimate());
        let queue = bench.mean_queue(20_000);
        assert!(queue < 2.0 * packet_time, "{kbits} kbit/s: {queue} us wait");
        let share = bench.share(20_000);
        assert!(share > 0.75, "{kbits} kbit/s: only {share} is used");
    }
}

#[test]
fn a_rate_that_falls_to_a_tenth_is_believed_within_two_seconds() {
    let mut bench = bench(5_000_000.0, 15_000);
    bench.run(6_000);
    bench.rate /= 10.0;
    bench.run(2_000);
    assert!((0.7..1.6).contains(&bench.estimate()), "{}", bench.estimate());
    bench.run(2_000);
    assert!(bench.model.queue() < 60_000.0, "the queue is gone: {}", bench.model.queue());
    let share = bench.share(4_000);
    assert!(share > 0.8, "{share}");
}

#[test]
fn a_rate_that_rises_tenfold_is_found() {
    let mut bench = bench(500_000.0, 15_000);
    bench.run(6_000);
    bench.rate *= 10.0;
    bench.run(15_000);
    let share = bench.share(5_000);
    assert!(share > 0.7, "{share}");
}

#[test]
fn a_path_with_little_to_carry_is_not_misjudged() {
    let mut bench = bench(5_000_000.0, 15_000);
    bench.run(6_000);
    let before = bench.estimate();
    bench.busy = false;
    for _ in 0..300 {
        bench.post();
        bench.run(20);
    }
    assert!((bench.estimate() - before).abs() < 0.05, "{} after {before}", bench.estimate());
    bench.busy = true;
    let share = bench.share(2_000);
    assert!(share > 0.8, "{share}");
}

#[test]
fn little_that_is_sent_raises_the_rate_by_what_arrives() {
    let mut bench = bench(500_000.0, 15_000);
    bench.run(6_000);
    bench.rate *= 4.0;
    bench.busy = false;
    for _ in 0..1_000 {
        // A megabyte a second.
        bench.post();
        bench.run(1);
        bench.now = bench.now + Duration::from_micros(400);
    }
    assert!((0.45..0.6).contains(&bench.estimate()), "{}", bench.estimate());
}

#[test]
fn random_loss_alone_slows_nothing_down() {
    let mut bench = bench(5_000_000.0, 15_000);
    for _ in 0..600 {
        bench.run(10);
        // About 2 % at that rate.
        bench.data.remove(bench.data.len() / 2);
    }
    assert!(bench.share(2_000) > 0.85);
}

/// Whether a path is ever read as one that drops what exceeds its rate, if half of what is sent is lost where datagrams wait for
/// `queue` microseconds.
fn is_policed_with(queue: u32) -> bool {
    let (mut model, mut now, mut report) =
        (Model::default(), Instant::from_micros(START), PathReport::default());
    let mut policed = false;
    for round in 0..100 {
        now = now + Duration::from_millis(10);
        for _ in 0..10 {
            report.settled = model.handle_sent(LEN, now) & 0x00ff_ffff;
        }
        let (packets, waits) = if round < 20 { (10, 0) } else { (5, queue) };
        report.packets += packets;
        report.bytes += packets * 1_444;
        report.stamp = now.stamp();
        let written = now.stamp().wrapping_add(20_000 + waits);
        let (least, heard) = ((20_000 + waits) as f32, now + Duration::from_millis(100));
        assert_eq!(model.handle_report(&report, written, least, true, heard, 0.5), News::Fresh);
        policed |= model.rate.is_policed(now);
    }
    policed
}

#[test]
fn what_a_full_queue_loses_is_no_sign_of_a_policer() {
    assert!(is_policed_with(0));
    assert!(!is_policed_with(60_000));
}

#[test]
fn what_startup_loses_in_a_full_queue_is_no_sign_of_a_policer_when_that_is_empty() {
    let mut bench = Bench { buffer: 60_000, ..bench(700_000.0, 15_000) };
    for _ in 0..300 {
        bench.run(10);
        assert!(!bench.model.rate.is_policed(bench.now), "at {}", bench.estimate());
    }
}

#[test]
fn a_path_that_stops_is_overdue_soon_and_one_that_works_never() {
    for delay in [2_000, 15_000, 80_000] {
        let mut bench = bench(2_500_000.0, delay);
        for _ in 0..600 {
            bench.run(10);
            assert!(!bench.overdue || bench.model.phase() == Phase::Startup, "{delay} us: a false alarm");
        }
        bench.cut = true;
        bench.data.clear();
        let cut = bench.now;
        while !bench.overdue {
            bench.run(5);
            assert!(bench.now.since(cut) < Duration::from_millis(150 + 2 * delay / 1000), "{delay} us");
        }
    }
}

#[test]
fn signs_of_life_end_the_suspicion_and_the_path_goes_on_where_it_was() {
    let mut bench = bench(2_500_000.0, 15_000);
    bench.run(6_000);
    bench.cut = true;
    bench.run(500);
    bench.model.suspect(bench.now);
    bench.model.forget_under_way();
    bench.busy = false;
    bench.run(1_000);
    assert!(!bench.model.is_alive());
    bench.cut = false;
    for _ in 0..5 {
        bench.post();
        bench.run(20);
    }
    assert!(bench.model.is_alive());
    bench.busy = true;
    bench.run(2_000);
    let share = bench.share(2_000);
    assert!(share > 0.8, "{share}");
}

#[test]
fn bursts_that_are_lost_raise_false_alarms_only_at_first_and_cost_no_rate() {
    let mut bench = bench(2_500_000.0, 80_000);
    bench.run(6_000);
    let rate = bench.model.rate();
    let mut alarms = 0;
    for _ in 0..6 {
        // A burst of 40 ms.
        bench.cut = true;
        bench.run(40);
        bench.cut = false;
        let end = bench.now + Duration::from_secs(1);
        while bench.now < end {
            bench.run(1);
            if bench.overdue && bench.model.is_alive() {
                alarms += 1;
                bench.model.suspect(bench.now);
                bench.model.forget_under_way();
            }
        }
        assert!(bench.model.is_alive());
        assert!(bench.model.rate() > 0.8 * rate, "{} of {rate}", bench.model.rate());
    }
    assert!((1..=2).contains(&alarms), "{alarms}");
    // A true one is believed sooner again.
    (bench.cut, bench.busy) = (true, false);
    bench.run(500);
    bench.model.suspect(bench.now);
    bench.run(500);
    bench.cut = false;
    bench.post();
    bench.run(200);
    assert_eq!((bench.model.is_alive(), bench.model.failure.alarms()), (true, 0));
}

#[test]
fn reports_of_what_cannot_be_are_refused_and_change_nothing() {
    let mut bench = bench(1_250_000.0, 15_000);
    bench.run(3_000);
    let (now, model) = (bench.now, &mut bench.model);
    let sound = PathReport {
        settled: model.acked & 0x00ff_ffff,
        packets: model.arrived_packets,
        bytes: model.arrived_bytes,
        stamp: now.stamp(),
        ..PathReport::default()
    };
    let before = format!("{model:?}");
    let future = PathReport { stamp: now.stamp().wrapping_add(1_000), ..sound };
    let unsent = PathReport { settled: model.number & 0x00ff_ffff, ..sound };
    let heavy = PathReport {
        bytes: sound.bytes.wrapping_add(1_000_000),
        packets: sound.packets.wrapping_add(1),
        ..sound
    };
    let ancient = PathReport { stamp: now.stamp().wrapping_sub(LONGEST_FEEDBACK + 1), ..sound };
    for report in [future, unsent, heavy, ancient] {
        assert_eq!(model.handle_report(&report, 0, 0.0, true, now, 0.5), News::Impossible, "{report:?}");
        assert_eq!(format!("{model:?}"), before);
    }
    let old = PathReport { settled: sound.settled.wrapping_sub(1) & 0x00ff_ffff, ..sound };
    assert_eq!(model.handle_report(&old, 0, 0.0, true, now, 0.5), News::Old);
    assert_eq!(format!("{model:?}"), before);
    assert_eq!(model.handle_report(&sound, now.stamp(), 0.0, true, now, 0.5), News::Fresh);
}

#[test]
fn a_receiver_that_counts_anew_is_followed() {
    let mut bench = bench(1_250_000.0, 15_000);
    bench.run(3_000);
    bench.receiver.restart(PathSet::of(0));
    bench.run(3_000);
    assert!(bench.share(3_000) > 0.85);
    assert!((0.8..1.2).contains(&bench.estimate()), "{}", bench.estimate());
}

#[test]
fn each_datagram_that_did_not_arrive_is_counted_whether_it_was_kept_or_not() {
    let mut model = Model::default();
    let mut now = Instant::from_micros(START);
    // Of each ten numbers nine arrive; of what overtakes, the receiver counts more than it has settled.
    let mut report = PathReport::default();
    for round in 1..=101u32 {
        (0..10).for_each(|_| _ = model.handle_sent(LEN, now));
        now = now + Duration::from_millis(20);
        let early = if round % 2 == 0 { 3 } else { 0 };
        report = PathReport {
            settled: round * 10 - early,
            packets: round * 9,
            bytes: round * 12_996,
            stamp: now.stamp(),
            ..report
        };
        assert_eq!(model.handle_report(&report, now.stamp(), 0.0, true, now, 0.5), News::Fresh);
    }
    // Those of the first report are not known, as it may be that the receiver counted before.
    assert_eq!((model.missing(), model.lost), (100, 0));
    model.reset();
    assert_eq!(model.missing(), 100, "it is counted since the start");
}

#[test]
fn a_sender_that_forgets_goes_on_with_its_numbers() {
    let mut bench = bench(1_250_000.0, 15_000);
    bench.run(3_000);
    let number = bench.model.number;
    bench.data.clear();
    bench.model.reset();
    assert_eq!((bench.model.number, bench.model.phase(), bench.model.base()), (number, Phase::Startup, None));
    bench.run(6_000);
    assert!(bench.share(3_000) > 0.85);
}

#[test]
fn what_lies_half_the_circle_of_numbers_back_counts_for_nothing() {
    let mut model = Model::default();
    let mut now = Instant::from_micros(START);
    let mut report = PathReport::default();
    model.handle_idle();
    // 12 million packets without a pause, then much less than before and a queue.
    for round in 0..2_500u32 {
        let packets = if round < 2_450 { 5_000 } else { 500 };
        for _ in 0..packets {
            report.settled = model.handle_sent(LEN, now) & 0x00ff_ffff;
        }
        now = now + Duration::from_millis(100);
        report.packets = report.packets.wrapping_add(packets);
        report.bytes = report.bytes.wrapping_add(packets * 1_444);
        report.stamp = now.stamp();
        assert_eq!(model.handle_report(&report, now.stamp(), 0.0, true, now, 0.5), News::Fresh);
        assert!(!model.carries_ordered(), "round {round}: no ordered packet was sent");
    }
    assert!(model.rate() < 10_000_000.0, "it is not seen that less arrives: {}", model.rate());
}

#[test]
fn no_time_and_no_length_is_too_large() {
    let mut model = Model::default();
    let late = Instant::from_micros(u64::MAX);
    for _ in 0..1_000 {
        model.handle_sent(65_535, late);
    }
    assert!(model.wait(Instant::ZERO) > 0);
    assert!(model.time_of(65_535) > 0);
    let report = PathReport { settled: 1_000, packets: u32::MAX, bytes: u32::MAX, ..PathReport::default() };
    let _ = model.handle_report(&report, u32::MAX, f32::MAX, true, late, 1.0);
    assert!(model.rate().is_finite() && model.rate() <= MOST_RATE);
}

#[test]
fn a_train_ends_and_does_not_begin_again_when_numbers_come_round() {
    let mut model = Model::default();
    model.begin_train(32);
    for sent in 0..1 << 24 {
        assert_eq!(model.is_in_train(), sent < 32, "{sent}");
        model.handle_sent(100, Instant::from_micros(sent * 10));
    }
}

/// A path of 50 Mbit/s and 20 ms whose delay wanders.
fn wandering(deviation: f64, each: u64, seed: u64) -> Bench {
    let wander = Some(Wander { deviation, each: 1_000 * each, seed });
    Bench { wander, ..bench(6_250_000.0, 20_000) }
}

/// Paths of each kind, as one alone may be lucky.
const SEEDS: u64 = 20;
/// Deviation in microseconds, and milliseconds from draw to draw.
const WANDERS: [(f64, u64); 6] =
    [(2_000.0, 10), (5_000.0, 10), (10_000.0, 10), (2_000.0, 100), (5_000.0, 100), (10_000.0, 100)];

#[test]
fn a_path_whose_delay_wanders_is_used_without_a_standing_queue() {
    for (deviation, each) in WANDERS {
        let what = format!("{deviation} us each {each} ms");
        let queues = (0..SEEDS).map(|seed| {
            let mut bench = wandering(deviation, each, seed);
            bench.run(10_000);
            let share = bench.share(5_000);
            assert!(share > 0.85, "{what}, seed {seed}: only {share} is used");
            bench.mean_queue(5_000)
        });
        let queue = queues.sum::<f64>() / SEEDS as f64;
        assert!(queue < 20_000.0 + 2.0 * deviation, "{what}: {queue} us wait");
    }
}

#[test]
fn a_base_that_steps_does_not_collapse_the_rate() {
    let mut bench = bench(6_250_000.0, 20_000);
    bench.run(5_000);
    for step in 0..8 {
        bench.delay = if step % 2 == 0 { 40_000 } else { 20_000 };
        let share = bench.share(5_000);
        assert!(share > 0.75, "step {step}: {share}");
    }
}

/// On how many of `paths` wandering paths the estimate is within a factor of two `ms` after the rate changed by `factor`.
fn known_after(paths: u64, wander: (f64, u64), factor: f64, ms: u64) -> usize {
    let is_known = |seed: &u64| {
        let mut bench = wandering(wander.0, wander.1, *seed);
        bench.rate /= factor.max(1.0);
        bench.run(10_000);
        bench.rate *= factor;
        bench.run(ms);
        (0.5..2.0).contains(&bench.estimate())
    };
    (0..paths).filter(is_known).count()
}

#[test]
fn a_wandering_path_that_changes_is_known_within_two_seconds_on_four_of_five() {
    for wander in WANDERS {
        for factor in [0.1, 10.0] {
            // A rise is seen when the next probe is due. Of fewer paths one more or less would decide.
            let soon = known_after(100, wander, factor, 2_000);
            assert!(soon >= 80, "{wander:?} us and ms, {factor}: on {soon} of 100 paths after 2 s");
        }
    }
}

#[test]
fn a_wandering_path_that_changes_is_known_within_six_seconds_on_all_but_one_of_a_hundred() {
    for wander in WANDERS {
        for factor in [0.1, 10.0] {
            let late = known_after(100, wander, factor, 6_000);
            assert!(late >= 99, "{wander:?} us and ms, {factor}: on {late} of 100 paths after 6 s");
        }
    }
}

#[test]
#[ignore = "fault: a probe is due only each two seconds, and one in vain delays the next: a tenfold rise is not known after 2 \
            s on 2, 5 and 1 of 20 paths whose delay deviates by 5 ms each 10 ms, by 10 each 10, and by 5 each 100"]
fn a_wandering_path_that_changes_is_known_within_two_seconds_on_all() {
    for wander in WANDERS {
        for factor in [0.1, 10.0] {
            assert_eq!(known_after(SEEDS, wander, factor, 2_000), 20, "{wander:?} us and ms, {factor}");
        }
    }
}

#[test]
fn it_is_known_why_a_path_carries_no_more() {
    let mut bench = bench(2_500_000.0, 15_000);
    let limit = |bench: &Bench, place| bench.model.limited_by(place, bench.now);
    let usual = Place::default();
    assert_eq!(limit(&bench, usual), LimitedBy::Unmeasured);
    bench.run(6_000);
    let (mut filled, reports) = (0, 200);
    for _ in 0..reports {
        bench.run(20);
        filled += i32::from(limit(&bench, usual) == LimitedBy::Bandwidth);
        let by = limit(&bench, usual);
        assert!(matches!(by, LimitedBy::Bandwidth | LimitedBy::Queue), "{by}");
    }
    assert!(filled > reports / 2, "{filled} of {reports}");
    bench.busy = false;
    bench.run(3_000);
    assert_eq!(limit(&bench, usual), LimitedBy::Application);
    assert_eq!(limit(&bench, Place { is_spare: true, ..usual }), LimitedBy::Tier);
    assert_eq!(limit(&bench, Place { is_closed: true, ..usual }), LimitedBy::Delay);
    let judged = crate::adaptive::model::anchor::Span {
        sent: 1e6,
        arrived: 1e6,
        bytes: 5e5,
        packets: 100,
        numbers: 200,
    };
    bench.model.rate.police(1_000_000.0, &judged, 0, bench.now);
    assert_eq!(limit(&bench, usual), LimitedBy::Policer);
    bench.model.suspect(bench.now);
    assert_eq!(limit(&bench, usual), LimitedBy::Outage);
}

/// Sends `count` packets, one each second, and then as much as the path takes.
fn little_and_then_much(bench: &mut Bench, count: u32) {
    bench.run(6_000);
    bench.busy = false;
    for _ in 0..count {
        bench.post();
        bench.run(1_000);
    }
    bench.busy = true;
}

#[test]
fn a_proof_after_little_was_sent_does_not_stop_what_comes() {
    for wander in WANDERS {
        let shares = (0..SEEDS).map(|seed| {
            let mut bench = wandering(wander.0, wander.1, seed);
            little_and_then_much(&mut bench, 8);
            bench.share(500)
        });
        let share = shares.sum::<f64>() / SEEDS as f64;
        assert!(share > 0.6, "{wander:?} us and ms: only {share} is used");
    }
}

#[test]
fn a_pause_is_no_sign_of_a_low_rate() {
    let estimates = (8..24).map(|count| {
        let mut bench = bench(6_250_000.0, 20_000);
        little_and_then_much(&mut bench, count);
        let steps = (0..20).map(|_| {
            bench.run(10);
            bench.estimate()
        });
        (count, steps.fold(f64::MAX, f64::min))
    });
    let low: std::vec::Vec<_> = estimates.filter(|(_, estimate)| *estimate < 0.8).collect();
    assert!(low.is_empty(), "packets before it, and the estimate: {low:?}");
}
