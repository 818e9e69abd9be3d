//! Sizes of files, as people write them.

use super::unit;
use super::value::FromText;

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    const UNITS: [(&'static str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    /// Less ends within a minute; more is no file that somebody sends to somebody.
    const RANGE: std::ops::RangeInclusive<u64> = 100_000..=1_000_000_000_000;
}

impl FromText for Size {
    const ALLOWED: &'static str = "a size such as \"64MB\" or \"1GB\", from 100kB to 1000GB";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        let (number, unit) = unit::split(text);
        let factor = unit::factor(unit, &Self::UNITS).ok_or("neither kB, MB nor GB")?;
        let number: u64 = number.trim_end().parse().ok().ok_or("not a whole number before the unit")?;
        let bytes = number.checked_mul(factor).ok_or("out of range")?;
        if Self::RANGE.contains(&bytes) { Ok(Self(bytes)) } else { Err("out of range") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_whole_number_with_its_unit() {
        for (text, bytes) in
            [("64MB", 64_000_000), ("64mb", 64_000_000), ("100 kB", 100_000), ("2GB", 2_000_000_000)]
        {
            assert_eq!(Size::from_text(text), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "64", "MB", "64MiB", "1.5GB", "-1MB", "99kB", "1001GB", "99999999999999999999GB"] {
            assert!(Size::from_text(text).is_err(), "{text}");
        }
    }
}
