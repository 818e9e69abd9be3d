//! A link's rate, written as tc writes it.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Bits per second on the wire. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

/// tc's units, the largest first, and what people write.
const UNITS: [(&str, u64, &str); 4] = [
    ("gbit", 1_000_000_000, "Gbit/s"),
    ("mbit", 1_000_000, "Mbit/s"),
    ("kbit", 1_000, "kbit/s"),
    ("bit", 1, "bit/s"),
];

impl Rate {
    /// The paper's Fast Ethernet: 100 Mbit/s.
    pub const FAST_ETHERNET: Self = Self(100_000_000);

    /// In bits per second.
    pub const fn bits_per_second(self) -> u64 {
        self.0
    }

    /// As people write it: `100 Mbit/s`.
    pub fn spoken(self) -> String {
        let (_, factor, unit) = self.unit();
        format!("{} {unit}", self.0 / factor)
    }

    /// The largest unit of which it is a whole number.
    fn unit(self) -> (&'static str, u64, &'static str) {
        let [larger @ .., smallest] = UNITS;
        larger.into_iter().find(|(_, factor, _)| self.0.is_multiple_of(*factor)).unwrap_or(smallest)
    }

    /// Bytes that pass in so many microseconds, rounded down.
    pub const fn bytes_in_us(self, microseconds: u64) -> u64 {
        self.0.saturating_mul(microseconds) / 8_000_000
    }
}

impl FromStr for Rate {
    type Err = String;

    /// Takes a whole number and one of tc's units: `100mbit`, `1gbit`, `512kbit`, `9600bit`.
    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        UNITS
            .iter()
            .find_map(|(unit, factor, _)| lower.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*factor))
            .filter(|bits| *bits > 0)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not a rate such as 100mbit, 1gbit or 512kbit"))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor, _) = self.unit();
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_written_as_it_was_read() {
        for text in ["100mbit", "1gbit", "512kbit", "9601bit"] {
            assert_eq!(text.parse::<Rate>().map(|rate| rate.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("1000Mbit".parse::<Rate>().map(|rate| rate.to_string()), Ok("1gbit".to_owned()));
    }

    #[test]
    fn people_read_it_in_their_units() {
        assert_eq!(Rate::FAST_ETHERNET.spoken(), "100 Mbit/s");
    }

    #[test]
    fn what_is_not_a_rate_is_refused() {
        for text in ["", "100", "mbit", "0mbit", "-1mbit", "1.5mbit", "99999999999999gbit"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn fast_ethernet_passes_twelve_and_a_half_bytes_in_a_microsecond() {
        assert_eq!(Rate::FAST_ETHERNET.bytes_in_us(1), 12);
        assert_eq!(Rate::FAST_ETHERNET.bytes_in_us(2), 25);
    }
}
