//! A point in time, as the caller tells it. The core never reads a clock.

use core::ops::{Add, Sub};
use core::time::Duration;

/// Whole microseconds since a moment that the caller chose (its start, say).
///
/// Only differences count. A `now` that goes back is treated as equal to the latest one seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct Instant(u64);

impl Instant {
    /// The moment the caller counts from.
    pub const ZERO: Self = Self(0);

    /// A time that does not come. It takes half of what an option does, and fewer instructions to compare.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// The moment `micros` microseconds after [`Instant::ZERO`].
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since [`Instant::ZERO`].
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero if `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// As [`since`](Self::since), in microseconds: a [`Duration`] is made with divisions.
    pub(crate) const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// So many microseconds later.
    pub(crate) const fn later(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// The low 32 bits of the microseconds: what fits into a datagram. Wraps every 71.6 minutes.
    #[allow(clippy::cast_possible_truncation, reason = "the low half is what is meant")]
    pub(crate) const fn stamp(self) -> u32 {
        self.0 as u32
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// The earlier of two deadlines.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        _ => one.or(other),
    }
}

/// A span of up to 71 minutes, in a quarter of a [`Duration`]'s bytes and without its divisions: what every path
/// keeps. Longer ones are taken as that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Micros(pub(crate) u32);

impl From<Duration> for Micros {
    fn from(duration: Duration) -> Self {
        Self(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX))
    }
}

impl From<Micros> for Duration {
    fn from(span: Micros) -> Self {
        Self::from_micros(u64::from(span.0))
    }
}

impl Add<Micros> for Instant {
    type Output = Self;
    fn add(self, span: Micros) -> Self {
        Self(self.0.saturating_add(u64::from(span.0)))
    }
}

impl Sub<Micros> for Instant {
    type Output = Self;
    fn sub(self, span: Micros) -> Self {
        Self(self.0.saturating_sub(u64::from(span.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_saturates_at_both_ends() {
        let late = Instant::from_micros(u64::MAX);
        assert_eq!(late + Duration::from_secs(1), late);
        assert_eq!(Instant::ZERO - Duration::from_secs(1), Instant::ZERO);
        assert_eq!(Instant::ZERO.since(late), Duration::ZERO);
    }
}
