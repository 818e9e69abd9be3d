//! Sequence numbers modulo 2^32.

use core::ops::Add;

/// A GRE sequence number (RFC 2890 section 2.2): 0 first, compared by serial arithmetic (RFC 1982), so that
/// the half of the number circle ahead of a number is later and the other half earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct Seq(u32);

impl Seq {
    /// The first number of a sequence.
    pub const ZERO: Self = Self(0);

    /// The number as the wire carries it.
    pub const fn from_u32(number: u32) -> Self {
        Self(number)
    }

    /// The number as the wire carries it.
    pub const fn as_u32(self) -> u32 {
        self.0
    }

    /// How far `self` lies ahead of `other`: negative when it is earlier. Numbers exactly 2^31 apart, whose
    /// order RFC 1982 section 3.2 leaves open, count as earlier.
    #[allow(clippy::cast_possible_wrap, reason = "the wrap is RFC 1982's comparison")]
    pub const fn distance_from(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }

    /// How many numbers `self` lies ahead of `other`; `None` when it is earlier.
    pub fn ahead_of(self, other: Self) -> Option<usize> {
        usize::try_from(self.distance_from(other)).ok()
    }

    /// The later of the two.
    #[must_use]
    pub const fn later(self, other: Self) -> Self {
        if self.distance_from(other) < 0 { other } else { self }
    }
}

impl Add<u32> for Seq {
    type Output = Self;
    fn add(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc2890_2_2_numbers_wrap_after_2_to_the_32() {
        assert_eq!(Seq(u32::MAX) + 1, Seq::ZERO);
        assert_eq!(Seq::ZERO.distance_from(Seq(u32::MAX)), 1);
    }

    #[test]
    fn rfc1982_3_2_the_half_circle_ahead_is_later() {
        let base = Seq(0xffff_fff0);
        assert_eq!((base + 0x7fff_ffff).ahead_of(base), Some(0x7fff_ffff));
        assert_eq!((base + 0x8000_0000).ahead_of(base), None);
        assert_eq!(base.ahead_of(base + 1), None);
    }

    #[test]
    fn later_picks_across_the_wrap() {
        assert_eq!(Seq(3).later(Seq(u32::MAX)), Seq(3));
        assert_eq!(Seq(u32::MAX).later(Seq(3)), Seq(3));
    }
}
