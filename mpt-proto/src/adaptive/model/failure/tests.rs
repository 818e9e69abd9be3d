use super::*;
use core::time::Duration;

const START: Instant = Instant::from_micros(1_000_000);
/// Usual delay of the path, in microseconds against the reference.
const USUAL: f32 = 20_000.0;

/// A number each 2 ms, up to `count`.
fn sent(count: u32) -> Failure {
    let mut failure = Failure::default();
    for number in 1..=count {
        failure.note_sent(number, stamp(number));
    }
    failure
}

fn stamp(number: u32) -> u32 {
    START.stamp() + 2_000 * number
}

/// Whether packets are overdue in a report that was written `after` microseconds after this number left, with all up to `acked`.
fn is_overdue(failure: &Failure, number: u32, after: u32, acked: u32) -> bool {
    failure.is_overdue(stamp(number).wrapping_add(after), acked, None, USUAL)
}

#[test]
fn three_packets_that_should_have_come_are_overdue() {
    let failure = sent(20);
    // Each second number is remembered: the third that is missing is 13.
    assert!(!is_overdue(&failure, 13, 34_000, 10));
    assert!(is_overdue(&failure, 13, 36_000, 10));
    assert!(!is_overdue(&failure, 13, 36_000, 14));
}

#[test]
fn two_packets_are_never_overdue() {
    assert!(!is_overdue(&sent(20), 20, 10_000_000, 18));
}

#[test]
fn what_arrived_or_is_forgotten_is_not_overdue() {
    let mut failure = sent(20);
    failure.note_settled(20, true, 50_000.0, START);
    assert!(!is_overdue(&failure, 20, 10_000_000, 20));
    let mut failure = sent(20);
    failure.forget_under_way();
    assert!(!is_overdue(&failure, 20, 10_000_000, 0));
}

#[test]
fn what_had_left_before_the_suspicion_makes_it_a_false_alarm_and_what_left_later_ends_an_outage() {
    for (after, revival) in [(30, Revival::FalseAlarm), (300, Revival::Outage)] {
        let mut failure = sent(20);
        failure.suspect(START);
        let soon = START + Duration::from_millis(10);
        assert_eq!(failure.note_settled(5, true, 50_000.0, soon), None, "it may have been on the way");
        let later = START + Duration::from_millis(after);
        assert_eq!(failure.note_settled(5, false, 50_000.0, later), None, "nothing new");
        assert_eq!(failure.suspect_since(), Some(START));
        assert_eq!(failure.note_settled(6, true, 50_000.0, later), Some(revival));
        assert_eq!(failure.suspect_since(), None);
    }
}

#[test]
fn each_false_alarm_doubles_the_patience_twice_until_an_outage_a_minute_or_a_new_start() {
    let mut failure = sent(60);
    let mut now = START;
    let alarm = |failure: &mut Failure, now: &mut Instant, after: u64| {
        failure.suspect(*now);
        *now = *now + Duration::from_millis(after);
        failure.note_settled(2, true, 50_000.0, *now)
    };
    for late in [15_000, 30_000, 60_000, 60_000] {
        assert!(!is_overdue(&failure, 13, 20_000 + late - 1_000, 10), "{late}");
        assert!(is_overdue(&failure, 13, 20_000 + late + 1_000, 10), "{late}");
        assert_eq!(alarm(&mut failure, &mut now, 30), Some(Revival::FalseAlarm));
    }
    let alarmed = failure;
    let alarmed = || Failure { milestones: alarmed.milestones.clone(), suspect_since: None, ..alarmed };
    let mut outage = alarmed();
    assert_eq!(alarm(&mut outage, &mut now.clone(), 300), Some(Revival::Outage));
    let mut minute = alarmed();
    minute.note_settled(3, true, 50_000.0, now + Duration::from_secs(61));
    let mut up = alarmed();
    up.acquit();
    assert_eq!((alarmed().alarms(), outage.alarms(), minute.alarms(), up.alarms()), (2, 0, 0, 0));
}

#[test]
fn numbers_and_stamps_may_wrap() {
    let mut failure = Failure::default();
    for count in 0..20 {
        failure.note_sent(0x00ff_fff0 + count, (u32::MAX - 20_000).wrapping_add(2_000 * count));
    }
    let written = |after: u32| (u32::MAX - 20_000).wrapping_add(after);
    assert!(!failure.is_overdue(written(30_000), 0x00ff_fff0, None, USUAL));
    assert!(failure.is_overdue(written(50_000), 0x00ff_fff0, None, USUAL));
}

#[test]
fn a_number_that_is_missing_for_long_is_no_failure_while_later_ones_arrive() {
    // What overtakes others is waited for before it is named as missing: until then nothing behind it is settled.
    let (failure, written) = (sent(20), stamp(13).wrapping_add(36_000));
    assert!(failure.is_overdue(written, 10, Some(stamp(10)), USUAL));
    assert!(!failure.is_overdue(written, 10, Some(stamp(13)), USUAL));
}
