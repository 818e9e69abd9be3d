//! Numbers with a unit, both ways.

use std::time::Duration;

use crate::FULL_FRAME;

/// The longest delay, queue or dip.
pub(super) const LONGEST: Duration = Duration::from_secs(10);
/// The longest period.
const LONGEST_PERIOD: Duration = Duration::from_secs(3600);
/// The fastest link.
const FASTEST: u64 = 100_000_000_000;
/// The largest queue or bucket.
const LARGEST: u64 = 1_000_000_000;
/// The most parts of a million, where a link that does it to more is none.
const MOST: u32 = 500_000;

const RATES: [(&str, u64); 4] = [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000), ("bit", 1)];
const TIMES: [(&str, u64); 3] = [("us", 1), ("ms", 1_000), ("s", 1_000_000)];
const SIZES: [(&str, u64); 3] = [("MB", 1_000_000), ("kB", 1_000), ("B", 1)];

/// A number with one of some units, to the nearest whole smallest unit. `None`: it is none.
fn number(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.trim_end_matches(|last: char| last.is_ascii_alphabetic() || last == '%');
    let (_, factor) = units.iter().find(|(unit, _)| *unit == &text[digits.len()..])?;
    let is_plain = digits.chars().all(|digit| digit.is_ascii_digit() || digit == '.');
    let value = digits.parse::<f64>().ok().filter(|_| is_plain)? * *factor as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
    Some(value.round() as u64)
}

/// Bits per second: `20mbit`, `64kbit`, `1.5gbit`.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    number(&text.to_ascii_lowercase(), &RATES)
        .filter(|bits| (1..=FASTEST).contains(bits))
        .ok_or_else(|| format!("`{text}` is not a rate such as 100mbit, 1gbit or 512kbit, at most 100gbit"))
}

/// A time of at most ten seconds: `80ms`, `2.5ms`, `500us`, `1s`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    bounded_time(text, LONGEST)
}

/// A time of more than zero and at most an hour.
pub(super) fn period(text: &str) -> Result<Duration, String> {
    let period = bounded_time(text, LONGEST_PERIOD)?;
    if period.is_zero() {
        Err(format!("`{text}` is no time to repeat something: it must be more than 0"))
    } else {
        Ok(period)
    }
}

fn bounded_time(text: &str, longest: Duration) -> Result<Duration, String> {
    let micros = number(&text.replace('µ', "u"), &TIMES)
        .ok_or_else(|| format!("`{text}` is not a time such as 80ms, 2.5ms, 500us or 1s"))?;
    let time = Duration::from_micros(micros);
    if time <= longest { Ok(time) } else { Err(format!("`{text}` is not from 0 to {}", time_text(longest))) }
}

/// A time, or two with a hyphen between.
pub(super) fn times(text: &str) -> Result<(Duration, Duration), String> {
    let (shortest, longest) = text.split_once('-').unwrap_or((text, text));
    let both = (time(shortest)?, time(longest)?);
    if both.0 <= both.1 { Ok(both) } else { Err(format!("`{text}`: the first time is the longer one")) }
}

/// Parts of a million, from `1%`.
pub(super) fn share(text: &str) -> Result<u32, String> {
    share_up_to(text, MOST)
}

/// As [`share`], up to `most`.
pub(super) fn share_up_to(text: &str, most: u32) -> Result<u32, String> {
    number(text, &[("%", 10_000)])
        .and_then(|parts| u32::try_from(parts).ok())
        .filter(|parts| *parts <= most)
        .ok_or_else(|| format!("`{text}` is not a share from 0% to {}", share_text(most)))
}

/// Bytes: `64kB`, `2MB`, `9000B`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    number(text, &SIZES)
        .filter(|bytes| (1..=LARGEST).contains(bytes))
        .ok_or_else(|| format!("`{text}` is not a size such as 64kB, 2MB or 9000B"))
}

/// Bytes, or full packets: `5packets`.
pub(super) fn bucket(text: &str) -> Result<u64, String> {
    match number(text, &[("packets", 1), ("packet", 1)]) {
        Some(packets @ 1..=100_000) => Ok(packets * FULL_FRAME),
        Some(_) => Err(format!("`{text}` is not a bucket of 1packet to 100000packets")),
        None => size(text).map_err(|_| format!("`{text}` is not a bucket such as 2MB, 64kB or 5packets")),
    }
}

/// A mean number of packets lost in a row.
pub(super) fn burst(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|packets| (1..=1000).contains(packets))
        .ok_or_else(|| format!("`{text}` is not a mean number of packets from 1 to 1000"))
}

pub(super) fn rate_text(bits: u64) -> String {
    whole(bits, &RATES)
}

pub(super) fn size_text(bytes: u64) -> String {
    whole(bytes, &SIZES)
}

pub(super) fn bucket_text(bytes: u64) -> String {
    let packets = bytes / FULL_FRAME;
    if bytes.is_multiple_of(FULL_FRAME) && packets > 0 {
        format!("{packets}packets")
    } else {
        size_text(bytes)
    }
}

pub(super) fn time_text(time: Duration) -> String {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    match micros {
        0 => "0ms".to_owned(),
        1..1000 => format!("{micros}us"),
        _ if micros.is_multiple_of(1_000_000) => format!("{}s", micros / 1_000_000),
        _ => format!("{}ms", decimal(micros, 1000)),
    }
}

pub(super) fn share_text(parts: u32) -> String {
    format!("{}%", decimal(parts.into(), 10_000))
}

/// In the largest of some units of which it is a whole number.
fn whole(value: u64, units: &[(&str, u64)]) -> String {
    let found = units.iter().find(|(_, factor)| value.is_multiple_of(*factor)).unwrap_or(&("", 1));
    format!("{}{}", value / found.1, found.0)
}

/// A number of `unit` parts, with as many decimals as it needs.
fn decimal(parts: u64, unit: u64) -> String {
    let digits = unit.ilog10() as usize;
    let text = format!("{}.{:0digits$}", parts / unit, parts % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
