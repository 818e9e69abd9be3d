//! Data plans: how much a link may carry.

use std::fmt;

use serde::Deserialize;
use toml::Spanned;

use super::ConfigError;
use super::error::Source;
use super::unit;
use super::value::{FromText, Text, Whole};

/// An amount of data in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataSize(pub u64);

impl DataSize {
    const UNITS: [(&'static str, u64); 6] = [
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ];
    /// More than anybody pays for.
    const MOST: u64 = 1_000_000_000_000_000;
}

impl FromText for DataSize {
    const ALLOWED: &'static str =
        "an amount such as \"50GB\", \"1.5TB\", \"500MB\" or \"20GiB\", up to 1000TB";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        let (number, unit) = unit::split(text);
        let number = number.trim_end();
        let times = |factor| unit::times(number, factor).ok_or("not a number before the unit");
        let is_none = times(1)? == 0 && number.parse() == Ok(0.0);
        let bytes = match unit::factor(unit, &Self::UNITS) {
            Some(factor) => times(factor)?,
            None if unit.is_empty() && is_none => 0,
            None => return Err("neither kB, MB, GB, TB, MiB nor GiB"),
        };
        if bytes <= Self::MOST { Ok(Self(bytes)) } else { Err("out of range") }
    }
}

impl std::str::FromStr for DataSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::from_text(text).map_err(|problem| format!("{problem}; allowed: {}", Self::ALLOWED))
    }
}

impl fmt::Display for DataSize {
    /// With three digits or more.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = Self::UNITS[..4].iter().rev();
        let Some((unit, factor)) = units.into_iter().find(|(_, factor)| self.0 >= *factor) else {
            return out.pad(&format!("{} B", self.0));
        };
        let (whole, rest) = (self.0 / factor, self.0 % factor);
        let text = match whole {
            0..=9 => format!("{whole}.{:02} {unit}", rest * 100 / factor),
            10..=99 => format!("{whole}.{} {unit}", rest * 10 / factor),
            _ => format!("{whole} {unit}"),
        };
        out.pad(&text)
    }
}

/// `data`: how much a path may carry, both directions together, with all headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataPlan {
    /// `{ month = "50GB", reset_day = 7 }`: so many bytes a month, which begins on this day at midnight UTC.
    Month {
        /// Bytes.
        bytes: u64,
        /// 1 to 31; in a month without that day, the last one.
        reset_day: u8,
    },
    /// `{ bucket = "20GB" }`: so many bytes until more are bought.
    Bucket {
        /// Bytes.
        bytes: u64,
    },
}

impl DataPlan {
    /// Its size.
    pub const fn bytes(&self) -> u64 {
        match self {
            Self::Month { bytes, .. } | Self::Bucket { bytes } => *bytes,
        }
    }
}

impl fmt::Display for DataPlan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = DataSize(self.bytes());
        out.pad(&match self {
            Self::Month { .. } => format!("{size} a month"),
            Self::Bucket { .. } => format!("{size}"),
        })
    }
}

/// `data = { .. }`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DataTable {
    month: Option<Spanned<Text<DataSize>>>,
    reset_day: Option<Spanned<Whole<u8, 1, 31>>>,
    bucket: Option<Spanned<Text<DataSize>>>,
}

/// Reads the table.
pub(super) fn data_plan(
    table: Spanned<super::value::Table<DataTable>>,
    source: &Source<'_>,
) -> Result<DataPlan, ConfigError> {
    let allowed = "{ month = \"50GB\", reset_day = 7 } or { bucket = \"20GB\" }";
    let at = table.span();
    let DataTable { month, reset_day, bucket } = table.into_inner().0;
    let some = |size: Spanned<Text<DataSize>>| {
        let (at, bytes) = (size.span(), size.into_inner().0.0);
        if bytes == 0 { Err(source.error(&at, "nothing", DataSize::ALLOWED)) } else { Ok(bytes) }
    };
    match (month, reset_day, bucket) {
        (Some(month), reset_day, None) => {
            let reset_day = reset_day.map_or(1, |day| day.into_inner().0);
            Ok(DataPlan::Month { bytes: some(month)?, reset_day })
        }
        (None, None, Some(bucket)) => Ok(DataPlan::Bucket { bytes: some(bucket)? }),
        (None, Some(day), Some(_)) => {
            Err(source.error(&day.span(), "a bucket has no month that begins", allowed))
        }
        (Some(_), _, Some(bucket)) => Err(source.error(&bucket.span(), "there is a month already", allowed)),
        (None, _, None) => Err(source.error(&at, "neither a month nor a bucket", allowed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_as_people_write_it_and_written_for_them() {
        let read = |text: &str| DataSize::from_text(text).map(|size| size.0);
        assert_eq!(read("50GB"), Ok(50_000_000_000));
        assert_eq!(read("12.3 gb"), Ok(12_300_000_000));
        assert_eq!(read("1GiB"), Ok(1 << 30));
        assert_eq!(read("0"), Ok(0));
        for wrong in ["", "GB", "50", "50G", "-1GB", "1e3GB", "1001TB", "5 0GB", "nanGB"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let written = |bytes: u64| DataSize(bytes).to_string();
        assert_eq!(written(0), "0 B");
        assert_eq!(written(1_234_567), "1.23 MB");
        assert_eq!(written(12_345_000_000), "12.3 GB");
        assert_eq!(written(999_999_999), "999 MB");
        assert_eq!(written(1_000_000_000_000), "1.00 TB");
    }
}
