//! Rates, as people write them.

use std::fmt;

use super::unit;
use super::value::FromText;

/// A rate in bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub u64);

impl Rate {
    const UNITS: [(&'static str, u64); 3] = [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000)];
    /// Less would not carry a packet in a tenth of a second; more is no link.
    const RANGE: std::ops::RangeInclusive<u64> = 64_000..=100_000_000_000;
}

impl FromText for Rate {
    const ALLOWED: &'static str =
        "a rate such as \"50mbit\", \"2.5mbit\" or \"1gbit\", from 64kbit to 100gbit";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        let (number, unit) = unit::split(text);
        let factor = unit::factor(unit, &Self::UNITS).ok_or("neither kbit, mbit nor gbit")?;
        let bits = unit::times(number, factor).ok_or("not a number before the unit")?;
        if Self::RANGE.contains(&bits) { Ok(Self(bits)) } else { Err("out of range") }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = Self::UNITS.iter().find(|(_, factor)| self.0 >= *factor).unwrap_or(&("bit", 1));
        let digits = format!("{}.{:09}", self.0 / unit.1, self.0 % unit.1 * (1_000_000_000 / unit.1));
        write!(out, "{}{}", digits.trim_end_matches('0').trim_end_matches('.'), unit.0)
    }
}
