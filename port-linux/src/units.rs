//! Numbers and times in the form in which people read them.
//!
//! Digits are cut, not rounded, but for what is measured as a floating-point number.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Bytes: `999 B`, `12.3 GB`.
pub fn bytes(count: u64) -> String {
    scaled(count, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// Bits a second: `12.3 Mbit/s`.
pub fn bit_rate(bits: u64) -> String {
    scaled(bits, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", "Pbit/s", "Ebit/s"])
}

/// With one digit after the point from a thousand on.
fn scaled(count: u64, units: &[&str]) -> String {
    let (mut whole, mut tenth) = (count, None);
    let mut unit = units.iter();
    let mut name = unit.next();
    while whole >= 1000 {
        let Some(next) = unit.next() else { break };
        (whole, tenth, name) = (whole / 1000, Some(whole % 1000 / 100), Some(next));
    }
    let name = name.copied().unwrap_or_default();
    tenth.map_or(format!("{whole} {name}"), |tenth| format!("{whole}.{tenth} {name}"))
}

/// Bits a second in megabits, of whatever size, without the unit: `0.3`, `1234.5`.
pub fn megabits(bits: u64) -> String {
    format!("{}.{}", bits / 1_000_000, bits / 100_000 % 10)
}

/// Bits a second that were measured, in megabits with three or four digits where these matter: `0.12 Mbit/s`, `93.4 Mbit/s`.
pub fn measured_megabits(bps: f64) -> String {
    let digits = if bps < 10e6 { 2 } else { 1 };
    format!("{:.digits$} Mbit/s", bps / 1e6)
}

/// Microseconds: `12.3 ms`.
pub fn milliseconds(us: u64) -> String {
    format!("{}.{} ms", us / 1000, us % 1000 / 100)
}

/// Milliseconds that were measured, with as many digits as matter, as `ping` writes them: `0.12`, `12.3`, `123`.
pub fn measured_milliseconds(ms: f64) -> String {
    let digits = if ms < 10.0 { 2 } else { usize::from(ms < 100.0) };
    format!("{ms:.digits$}")
}

/// The two largest units of a duration: `59 s`, `1 d 1 h`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

/// A rate or a count for narrow columns, with at most five characters: `0`, `999`, `1.2k`, `91.4M`, `184M`.
pub fn short(count: u64) -> String {
    let (mut tenths, mut unit) = (u128::from(count) * 10, 0);
    while tenths >= 10_000 {
        (tenths, unit) = (tenths / 1000, unit + 1);
    }
    let unit = ["", "k", "M", "G", "T", "P", "E"].get(unit).copied().unwrap_or_default();
    let whole = tenths / 10;
    if whole >= 100 || unit.is_empty() {
        format!("{whole}{unit}")
    } else {
        format!("{whole}.{}{unit}", tenths % 10)
    }
}

/// Microseconds as milliseconds for narrow columns, with at most five characters below 100 s: `1.2`, `12345`.
pub fn short_milliseconds(us: u64) -> String {
    if us < 100_000 { format!("{}.{}", us / 1000, us % 1000 / 100) } else { (us / 1000).to_string() }
}

/// Thousandths as percent for narrow columns: `0.3`, `12`.
pub fn percent(per_mille: u64) -> String {
    if per_mille < 100 {
        format!("{}.{}", per_mille / 10, per_mille % 10)
    } else {
        (per_mille / 10).to_string()
    }
}

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
    fn numbers_are_scaled_for_reading() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_000), "1.0 kB");
        assert_eq!(bytes(u64::MAX), "18.4 EB");
        assert_eq!(bit_rate(1_000_000), "1.0 Mbit/s");
        assert_eq!(duration(Duration::from_secs(59)), "59 s");
        assert_eq!(duration(Duration::from_secs(90_061)), "1 d 1 h");
        assert_eq!([milliseconds(12_399), megabits(1_234_567_890)], ["12.3 ms", "1234.5"]);
    }

    #[test]
    fn numbers_fit_narrow_columns() {
        let shown = [0, 999, 1_000, 1_250, 99_950, 100_000, 183_500_000, 7_100_000_000, u64::MAX].map(short);
        assert_eq!(shown, ["0", "999", "1.0k", "1.2k", "99.9k", "100k", "183M", "7.1G", "18.4E"]);
        assert_eq!(
            [0, 1_250, 99_999, 100_000, 12_345_678].map(short_milliseconds),
            ["0.0", "1.2", "99.9", "100", "12345"]
        );
        assert_eq!([0, 3, 99, 100, 1000].map(percent), ["0.0", "0.3", "9.9", "10", "100"]);
    }

    #[test]
    fn measured_milliseconds_have_three_digits() {
        assert_eq!([0.1234, 12.34, 123.4].map(measured_milliseconds), ["0.12", "12.3", "123"]);
    }

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
