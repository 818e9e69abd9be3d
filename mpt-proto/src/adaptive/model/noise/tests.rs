use super::*;
use crate::rng::Rng;

/// Bytes a second of the path, whose datagrams have 1,000 bytes.
const RATE: f32 = 1_000_000.0;
/// Microseconds between reports.
const STEP: i32 = 10_000;

/// Reports of a path without a queue for `ms`, with so many of the ten packets in each that it carries; the delay deviates by what
/// `draw` says of a time in microseconds.
fn run(ms: i32, packets: u32, mut draw: impl FnMut(i32) -> f32) -> Noise {
    let (mut noise, mut at) = (Noise::default(), Anchor::first(50_000.0));
    for report in 0..ms / 10 {
        at = at.with_delay(STEP, packets, 50_000.0 + draw(report * STEP));
        noise.handle(at, RATE, false);
    }
    noise
}

#[test]
fn a_constant_delay_has_none() {
    for load in [1, 5, 10] {
        assert_eq!(run(3_000, load, |_| 0.0).deviation(), 0.0);
    }
}

#[test]
fn normal_noise_is_measured_whatever_the_time_from_draw_to_draw() {
    for (each, load, deviation) in [10, 30, 100]
        .into_iter()
        .flat_map(|each| [5, 10].map(|load| (each, load)))
        .flat_map(|(each, load)| [2_000.0, 5_000.0, 10_000.0].map(|deviation| (each, load, deviation)))
    {
        let measured: f32 = (0..40)
            .map(|seed| {
                let (mut rng, mut value) = (Rng::new(seed), 0.0);
                let noise = run(3_000, load, |time| {
                    if time % (1_000 * each) == 0 {
                        value = rng.normal() * deviation;
                    }
                    value
                });
                noise.deviation() / 40.0
            })
            .sum();
        let share = measured / (deviation - OWN_NOISE * OWN_NOISE / deviation);
        assert!(
            (0.75..1.25).contains(&share),
            "{deviation} us each {each} ms, {load} packets: {share} of it"
        );
    }
}

#[test]
fn a_queue_of_ours_is_none_while_it_grows_and_while_it_drains() {
    let (mut noise, mut at) = (Noise::default(), Anchor::first(50_000.0));
    // What arrives does so at the path's rate, while three halves of it are sent, then a half.
    for (sent, reports) in [(6_666, 60), (20_000, 30), (6_666, 60)] {
        for _ in 0..reports {
            at = at.after(sent, STEP, 10, 0);
            noise.handle(at, RATE, false);
        }
        assert!(noise.deviation() < 50.0, "{} us", noise.deviation());
    }
}

/// Reports of a path for two seconds, each of which differs by 3 ms from the one before, as a queue of bursts does; `packets` in each,
/// of the ten that it carries.
fn bursts(packets: u32, is_startup: bool) -> f32 {
    let (mut noise, mut at) = (Noise::default(), Anchor::first(50_000.0));
    for report in 0..200 {
        at = at.with_delay(STEP, packets, 50_000.0 + 3_000.0 * (report / 3 % 2) as f32);
        noise.handle(at, RATE, is_startup);
    }
    noise.deviation()
}

#[test]
fn what_comes_in_bursts_in_startup_is_no_noise_unless_little_is_sent() {
    assert_eq!(bursts(8, true), 0.0);
    assert!(bursts(3, true) > 800.0, "{} us", bursts(3, true));
    assert!(bursts(8, false) > 800.0, "{} us", bursts(8, false));
}

#[test]
fn a_queue_of_ours_is_none_while_its_rate_is_being_found() {
    let (mut noise, mut at) = (Noise::default(), Anchor::first(50_000.0));
    let mut rate = RATE / 200.0;
    for report in 0..24 {
        rate *= 1.25;
        at = at.with_delay(STEP, 10, 50_000.0 + 3_000.0 * (report / 3 % 2) as f32);
        noise.handle(at, rate, false);
    }
    assert!(noise.deviation() < 100.0, "{} us", noise.deviation());
}

#[test]
fn a_queue_is_none_though_the_rate_is_wrong_by_a_tenth() {
    let (mut noise, mut at) = (Noise::default(), Anchor::first(50_000.0));
    for report in 0..300 {
        let sent = if report / 20 % 2 == 0 { 9_000 } else { 11_000 };
        at = at.after(sent, STEP, 10, 0);
        noise.handle(at, 1.1 * RATE, false);
    }
    assert!(noise.deviation() < 100.0, "{} us", noise.deviation());
}

/// Reports of a path that is loaded with its rate, stands still for 300 ms, delivers all that waited at once, and goes on for `ms`.
fn outage(reports_before: u32, ms: u32) -> Noise {
    let (mut noise, mut at) = (Noise::default(), Anchor::first(50_000.0));
    let calm = |count| core::iter::repeat_n((STEP, STEP), count as usize);
    let all = calm(reports_before).chain([(STEP, 310_000), (300_000, STEP)]).chain(calm(ms / 10));
    for (sent, arrived) in all {
        at = at.after(sent, arrived, sent.unsigned_abs() / 1_000, 0);
        noise.handle(at, RATE, false);
    }
    noise
}

#[test]
fn one_outage_hardly_raises_it() {
    let noise = outage(200, 0);
    assert!(noise.deviation() < 1_000.0, "{} us", noise.deviation());
    assert!(outage(200, 5_000).deviation() < 200.0);
}

#[test]
fn an_outage_before_anything_is_known_raises_it_by_little() {
    for reports_before in 1..60 {
        for (ms, most) in [(0, 10_000.0), (1_000, 5_000.0), (3_000, 1_000.0)] {
            let deviation = outage(reports_before, ms).deviation();
            assert!(deviation < most, "after {reports_before} reports, {ms} ms later: {deviation} us");
        }
    }
}
