//! `tier`: a path's cost class, which may be another one by time of day.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};
use toml::Spanned;

use super::ConfigError;
use super::error::Source;
use super::value::{FromText, Whole};

/// `tier` of a path: 1 to 8, for the adaptive policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// The tier, or `default` of a table: that at any time which is in none of `times`.
    pub default: u8,
    /// Those by time of day, in the order of the file. No two overlap.
    pub times: Vec<TierTime>,
}

/// `"22:00-06:00" = 1`: the tier of one part of each day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TierTime {
    /// When.
    pub interval: Interval,
    /// The tier then.
    pub tier: u8,
}

/// A part of each day by the local time of this machine, which may pass midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Its first minute, as minutes after midnight.
    from: u16,
    /// The minute after its last one, up to that of the next midnight.
    until: u16,
}

const MINUTES_OF_DAY: u16 = 24 * 60;

impl Tier {
    /// The same at any time.
    pub const fn fixed(tier: u8) -> Self {
        Self { default: tier, times: Vec::new() }
    }

    /// The tier at this minute of the day.
    pub fn at(&self, minute: u16) -> u8 {
        let time = self.times.iter().find(|time| time.interval.contains(minute));
        time.map_or(self.default, |time| time.tier)
    }
}

impl Tier {
    /// All that it ever is.
    pub(super) fn all(&self) -> impl Iterator<Item = u8> + '_ {
        [self.default].into_iter().chain(self.times.iter().map(|time| time.tier))
    }
}

impl fmt::Display for Tier {
    /// As the file has it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.times.is_empty() {
            return write!(out, "{}", self.default);
        }
        write!(out, "{{ default = {}", self.default)?;
        for TierTime { interval, tier } in &self.times {
            write!(out, ", \"{interval}\" = {tier}")?;
        }
        out.write_str(" }")
    }
}

impl Interval {
    const fn contains(self, minute: u16) -> bool {
        if self.from < self.until {
            self.from <= minute && minute < self.until
        } else {
            self.from <= minute || minute < self.until
        }
    }

    /// Whether some minute is in both: then the first one of either is in the other.
    const fn overlaps(self, other: Self) -> bool {
        self.contains(other.from) || other.contains(self.from)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        write!(out, "{}-{}", time(self.from), time(self.until))
    }
}

impl FromText for Interval {
    const ALLOWED: &'static str =
        "`default`, and parts of the day such as \"22:00-06:00\" or \"12:30-14:00\", from 00:00 to 24:00";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        let (from, until) = text.split_once('-').ok_or("no part of a day")?;
        let (from, until) = (minute_of(from)?, minute_of(until)?);
        if from == MINUTES_OF_DAY {
            return Err("24:00 is an end, and no beginning");
        }
        if from == until {
            return Err("no time is between both");
        }
        Ok(Self { from, until })
    }
}

/// Minutes after midnight, of `HH:MM`.
fn minute_of(text: &str) -> Result<u16, &'static str> {
    let two_digits = |text: &str| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_plain)
    };
    let parts = text.trim().split_once(':').and_then(|(h, m)| Some((two_digits(h)?, two_digits(m)?)));
    match parts {
        None => Err("not two times as HH:MM"),
        Some((hour, minute)) if minute < 60 && hour * 60 + minute <= MINUTES_OF_DAY => Ok(hour * 60 + minute),
        Some(_) => Err("no time of a day"),
    }
}

type TierNumber = Whole<u8, 1, 8>;

/// `tier`: a number or a table.
pub(super) enum TierSetting {
    /// `tier = 2`
    Fixed(u8),
    /// `tier = { default = 2, "22:00-06:00" = 1 }`
    Times(Vec<(Spanned<String>, TierNumber)>),
}

impl<'de> Deserialize<'de> for TierSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TierVisitor)
    }
}

struct TierVisitor;

impl<'de> Visitor<'de> for TierVisitor {
    type Value = TierSetting;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a whole number from 1 to 8, or a table such as { default = 2, \"22:00-06:00\" = 1 }")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        match u8::try_from(number) {
            Ok(tier @ 1..=8) => Ok(TierSetting::Fixed(tier)),
            _ => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Self::Value, A::Error> {
        let mut times = Vec::new();
        while let Some(time) = table.next_entry()? {
            times.push(time);
        }
        // The reader of TOML has them in the order of their names.
        times.sort_by_key(|(key, _): &(Spanned<String>, _)| key.span().start);
        Ok(TierSetting::Times(times))
    }
}

/// Reads the setting.
pub(super) fn tier(setting: Spanned<TierSetting>, source: &Source<'_>) -> Result<Tier, ConfigError> {
    let at = setting.span();
    let entries = match setting.into_inner() {
        TierSetting::Fixed(tier) => return Ok(Tier::fixed(tier)),
        TierSetting::Times(entries) => entries,
    };
    let (mut default, mut times) = (None, Vec::<TierTime>::new());
    for (key, Whole(tier)) in entries {
        if key.get_ref() == "default" {
            default = Some(tier);
            continue;
        }
        let refused = |problem: &dyn fmt::Display, allowed| source.error(&key.span(), problem, allowed);
        let interval =
            Interval::from_text(key.get_ref()).map_err(|problem| refused(&problem, Interval::ALLOWED))?;
        if let Some(other) = times.iter().find(|other| other.interval.overlaps(interval)) {
            let problem = format_args!("overlaps \"{}\"", other.interval);
            return Err(refused(&problem, "parts of the day that do not overlap"));
        }
        times.push(TierTime { interval, tier });
    }
    let default = default.ok_or_else(|| {
        let problem = "`default` is missing: the tier at any other time";
        source.error(&at, problem, "for example { default = 2, \"22:00-06:00\" = 1 }")
    })?;
    Ok(Tier { default, times })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(text: &str) -> Interval {
        Interval::from_text(text).unwrap_or_else(|problem| panic!("{text}: {problem}"))
    }

    #[test]
    fn a_part_of_the_day_begins_with_its_minute_and_ends_before_its_end_also_past_midnight() {
        let minutes =
            |text: &str| (0..MINUTES_OF_DAY).filter(|minute| interval(text).contains(*minute)).count();
        assert_eq!(minutes("12:30-14:00"), 90);
        assert_eq!(minutes("22:00-06:00"), 8 * 60);
        assert_eq!(minutes("22:00-00:00"), 2 * 60);
        assert_eq!(minutes("22:00-24:00"), 2 * 60);
        assert_eq!(minutes("00:00-24:00"), 24 * 60);
        assert_eq!(minutes("23:59-00:01"), 2);
        let night = interval("22:00-06:00");
        let contained = [21 * 60 + 59, 22 * 60, 0, 5 * 60 + 59, 6 * 60].map(|minute| night.contains(minute));
        assert_eq!(contained, [false, true, true, true, false]);
        for text in ["12:30-14:00", "22:00-06:00", "22:00-24:00"] {
            assert_eq!(interval(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_part_of_a_day_is_not_read() {
        for wrong in [
            "",
            "-",
            "22:00",
            "22-06",
            "22:00-6:00",
            "22:60-06:00",
            "24:01-06:00",
            "24:00-06:00",
            "06:00-06:00",
            "+2:00-06:00",
        ] {
            assert!(Interval::from_text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn parts_overlap_when_a_minute_is_in_both() {
        let overlap = |a: &str, b: &str| {
            let [a, b] = [interval(a), interval(b)];
            let shared = (0..MINUTES_OF_DAY).any(|minute| a.contains(minute) && b.contains(minute));
            assert_eq!((a.overlaps(b), b.overlaps(a)), (shared, shared), "{a} {b}");
            shared
        };
        assert!(!overlap("22:00-06:00", "06:00-22:00"));
        assert!(overlap("22:00-06:00", "05:59-22:00"));
        assert!(overlap("22:00-06:00", "21:00-22:01"));
        assert!(overlap("22:00-06:00", "23:00-01:00"));
        assert!(overlap("22:00-06:00", "00:00-01:00"));
        assert!(overlap("00:00-24:00", "12:00-13:00"));
        assert!(!overlap("18:00-24:00", "00:00-06:00"));
        assert!(overlap("22:00-06:00", "20:00-04:00"));
    }
}
