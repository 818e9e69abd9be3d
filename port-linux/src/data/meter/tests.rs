use super::*;

const GB: u64 = 1_000_000_000;
const DAY: u64 = 86_400;
/// 2026-11-30, and 2026-12-07.
const NOVEMBER: u64 = 1_796_000_400;
const DECEMBER: u64 = 1_796_601_600;

fn month() -> DataPlan {
    DataPlan::Month { bytes: 50 * GB, reset_day: 7 }
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn used(meter: &Meter) -> u64 {
    meter.used().0 / GB
}

#[test]
fn levels_follow_what_is_used_and_what_was_added() {
    let mut meter = Meter::new(DataPlan::Bucket { bytes: 10 * GB }, None, NOVEMBER);
    let mut level = |bytes: u64| {
        meter.set(bytes, NOVEMBER);
        meter.level()
    };
    assert_eq!(level(0), Level::Ok);
    assert_eq!(level(8 * GB - 1), Level::Ok);
    assert_eq!(level(8 * GB), Level::Warned);
    assert_eq!(level(9 * GB), Level::Demoted);
    assert_eq!(level(10 * GB - 1), Level::Demoted);
    assert_eq!(level(10 * GB), Level::Reached);
    assert_eq!(level(u64::MAX), Level::Reached);
    meter.set(10 * GB, NOVEMBER);
    meter.add(10 * GB);
    assert_eq!((meter.level(), meter.used()), (Level::Ok, (10 * GB, 20 * GB)));
    assert_eq!(meter.follow_clock(DECEMBER + 1000 * DAY, at(1)), None, "a bucket has no month");
}

#[test]
fn what_is_counted_goes_on_over_restarts_and_paths_that_come_anew() {
    let mut meter = Meter::new(month(), None, NOVEMBER);
    meter.count(GB);
    meter.count(3 * GB);
    meter.count(GB);
    assert_eq!(used(&meter), 4);
    let text = serde_json::to_string(&meter.kept(0)).unwrap();
    let mut again = Meter::new(month(), serde_json::from_str(&text).unwrap(), NOVEMBER + 60);
    again.count(GB);
    assert_eq!(used(&again), 5);
    assert_eq!(again.follow_clock(NOVEMBER + 61, at(1)), None);
}

#[test]
fn a_month_begins_on_its_day_also_after_weeks_without_power() {
    let mut meter = Meter::new(month(), None, NOVEMBER);
    meter.count(3 * GB);
    meter.add(GB);
    assert_eq!(meter.follow_clock(DECEMBER - 1, at(1)), None);
    assert_eq!(meter.follow_clock(DECEMBER, at(2)), Some(ClockNews::Renewed));
    assert_eq!((meter.used(), meter.follow_clock(DECEMBER + 1, at(3))), ((0, 50 * GB), None));
    meter.count(4 * GB);
    let mut later = Meter::new(month(), Some(meter.kept(0)), DECEMBER + 35 * DAY);
    assert_eq!(later.used().0, GB);
    assert_eq!(later.follow_clock(DECEMBER + 35 * DAY, at(1)), Some(ClockNews::Renewed));
    assert_eq!(later.used().0, 0);
}

#[test]
fn a_clock_that_jumps_by_years_begins_no_month_before_it_has_gone_on_for_an_hour() {
    let mut meter = Meter::new(month(), None, NOVEMBER);
    meter.count(3 * GB);
    let years = NOVEMBER + 3650 * DAY;
    assert_eq!(meter.follow_clock(years, at(10)), Some(ClockNews::Doubted(3650)));
    assert_eq!(meter.follow_clock(years + 10, at(20)), None);
    assert_eq!(used(&meter), 3);
    assert_eq!(meter.follow_clock(NOVEMBER + 30, at(30)), None, "it was set right");
    assert_eq!(meter.follow_clock(years, at(40)), Some(ClockNews::Doubted(3649)));
    assert_eq!(meter.follow_clock(years + 3599, at(3639)), None);
    assert_eq!(meter.follow_clock(years + 3600, at(3640)), Some(ClockNews::Renewed));
    assert_eq!(used(&meter), 0);
    meter.count(4 * GB);
    assert_eq!(meter.follow_clock(NOVEMBER + 3700, at(3700)), Some(ClockNews::Restored));
    assert_eq!(used(&meter), 4, "what was used before counts again");
    assert_eq!(meter.follow_clock(NOVEMBER + 3701, at(3701)), None);
}

#[test]
fn a_clock_that_starts_in_1970_changes_nothing() {
    let mut meter = Meter::new(month(), None, NOVEMBER);
    meter.count(3 * GB);
    let mut again = Meter::new(month(), Some(meter.kept(0)), 60);
    assert_eq!(again.follow_clock(60, at(1)), None);
    assert_eq!(used(&again), 3);
    let kept = Some(again.kept(0));
    assert_eq!(again.follow_clock(NOVEMBER + 90, at(30)), None, "and then it is set");
    assert_eq!(used(&again), 3);
    let mut third = Meter::new(month(), kept, NOVEMBER + 120);
    assert_eq!((third.follow_clock(NOVEMBER + 120, at(1)), used(&third)), (None, 3));
}

#[test]
fn another_day_of_the_month_keeps_the_count() {
    let mut meter = Meter::new(month(), None, NOVEMBER);
    meter.count(3 * GB);
    let plan = DataPlan::Month { bytes: 50 * GB, reset_day: 20 };
    let mut again = Meter::new(plan, Some(meter.kept(0)), NOVEMBER + 60);
    assert_eq!((again.follow_clock(NOVEMBER + 61, at(1)), used(&again)), (None, 3));
    let earlier = DataPlan::Month { bytes: 50 * GB, reset_day: 3 };
    let mut again = Meter::new(earlier, Some(meter.kept(0)), NOVEMBER + 60);
    assert_eq!((again.follow_clock(NOVEMBER + 61, at(1)), used(&again)), (None, 3));
}

#[test]
fn a_month_that_began_by_a_wrong_clock_does_not_last_until_then() {
    let mut meter = Meter::new(month(), None, NOVEMBER);
    let years = NOVEMBER + 3650 * DAY;
    assert_eq!(meter.follow_clock(years, at(1)), Some(ClockNews::Doubted(3650)));
    assert_eq!(meter.follow_clock(years + 3600, at(3601)), Some(ClockNews::Renewed));
    meter.count(4 * GB);
    let right = DECEMBER + 5 * DAY;
    assert_eq!(meter.follow_clock(right, at(4000)), None);
    assert_eq!(meter.follow_clock(right + 3600, at(7600)), None, "it is believed");
    assert_eq!(used(&meter), 4);
    assert_eq!(meter.follow_clock(right + 27 * DAY, at(7600 + 27 * DAY)), Some(ClockNews::Renewed));
    let mut stuck = Meter::new(month(), None, years);
    stuck.set(GB, NOVEMBER);
    assert_eq!(stuck.follow_clock(DECEMBER, at(1)), Some(ClockNews::Renewed), "set by hand begins it anew");
}
