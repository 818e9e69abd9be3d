//! Months that begin on some day, in UTC.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// When the month began that holds this moment; both in seconds since 1970. Months begin on `reset_day` at midnight, or on the last day of a
/// month that is too short.
pub(super) fn period_start(now: u64, reset_day: u8) -> u64 {
    let today = date(now);
    let this = reset_of(today, reset_day);
    let before = || reset_of(today.first_of_month().saturating_sub(1.day()), reset_day);
    seconds(if today >= this { this } else { before() })
}

/// When the month after the one that holds this moment begins.
pub(super) fn next_period(now: u64, reset_day: u8) -> u64 {
    let today = date(now);
    let this = reset_of(today, reset_day);
    let after = || reset_of(today.last_of_month().saturating_add(1.day()), reset_day);
    seconds(if today < this { this } else { after() })
}

/// The day of this moment, as `2026-12-07`.
pub(crate) fn day(now: u64) -> String {
    date(now).to_string()
}

/// What no calendar has is the last day that this one has.
fn date(now: u64) -> Date {
    let moment = i64::try_from(now).ok().and_then(|now| Timestamp::from_second(now).ok());
    moment.map_or(Date::MAX, |moment| TimeZone::UTC.to_datetime(moment).date())
}

/// The day on which a month begins in the calendar month of `date`.
fn reset_of(date: Date, reset_day: u8) -> Date {
    let later = i64::from(reset_day).clamp(1, 31) - 1;
    date.first_of_month().saturating_add(later.days()).min(date.last_of_month())
}

fn seconds(date: Date) -> u64 {
    let midnight = TimeZone::UTC.to_timestamp(date.to_datetime(Time::midnight()));
    u64::try_from(midnight.unwrap_or(Timestamp::MAX).as_second()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(year: i16, month: i8, day: i8) -> u64 {
        seconds(Date::new(year, month, day).unwrap())
    }

    #[test]
    fn a_month_begins_on_its_day_or_the_last_one() {
        let cases = [
            ((2026, 11, 30), 7, (2026, 11, 7), (2026, 12, 7)),
            ((2026, 11, 7), 7, (2026, 11, 7), (2026, 12, 7)),
            ((2026, 11, 6), 7, (2026, 10, 7), (2026, 11, 7)),
            ((2027, 1, 3), 7, (2026, 12, 7), (2027, 1, 7)),
            ((2027, 2, 28), 31, (2027, 2, 28), (2027, 3, 31)),
            ((2027, 2, 27), 31, (2027, 1, 31), (2027, 2, 28)),
            ((2028, 2, 29), 31, (2028, 2, 29), (2028, 3, 31)),
            ((2026, 12, 31), 1, (2026, 12, 1), (2027, 1, 1)),
        ];
        for ((y, m, d), day, start, next) in cases {
            for second in [0, 86_399] {
                let now = at(y, m, d) + second;
                assert_eq!(period_start(now, day), at(start.0, start.1, start.2), "{y}-{m}-{d} {day}");
                assert_eq!(next_period(now, day), at(next.0, next.1, next.2), "{y}-{m}-{d} {day}");
            }
        }
        assert_eq!(day(at(2026, 12, 7)), "2026-12-07");
    }

    #[test]
    fn no_clock_makes_it_panic() {
        for now in [0, 1, u64::MAX, u64::from(u32::MAX) << 20, 253_402_300_799, 253_402_300_800] {
            for day in [0, 1, 31, 255] {
                let start = period_start(now, day);
                assert!(start <= now.max(start) && next_period(now, day) >= start);
            }
        }
    }
}
