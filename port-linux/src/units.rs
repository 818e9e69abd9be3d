//! Numbers and times in the form in which people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A time of day, in milliseconds since 1970, as people in a time zone write it: `2026-11-30 23:17:05`.
pub fn clock_time(ms: u64, zone: &TimeZone) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let time =
        time.map(|time| time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string());
    time.unwrap_or_else(|| format!("{ms} ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_796_080_625, "2026-11-30 23:17:05"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(clock_time(seconds * 1000, &TimeZone::UTC), text);
        }
        assert_eq!(clock_time(u64::MAX, &TimeZone::UTC), format!("{} ms", u64::MAX));
    }
}
