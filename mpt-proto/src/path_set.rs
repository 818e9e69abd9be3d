//! Path numbers, sets of them, and what there is one of for each.

use core::ops::{BitAnd, BitOr, Deref, DerefMut, Sub};

/// Most paths of one connection: path numbers fit a 16-bit mask on the wire.
pub const MAX_PATHS: usize = 16;

/// A set of path numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct PathSet(pub(crate) u16);

impl PathSet {
    /// The set of one path number; empty if the number is above 15.
    pub fn of(index: usize) -> Self {
        let mut set = Self::default();
        set.insert(index);
        set
    }

    /// Whether the number is in it.
    pub fn contains(self, index: usize) -> bool {
        self.0 & Self::of(index).0 != 0
    }

    /// Whether no number is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds a number; one above 15 is not added.
    pub fn insert(&mut self, index: usize) {
        if index < MAX_PATHS {
            self.0 |= 1 << index;
        }
    }

    /// Adds or removes a number.
    pub fn set(&mut self, index: usize, present: bool) {
        if present {
            self.insert(index);
        } else if index < MAX_PATHS {
            self.0 &= !(1 << index);
        }
    }

    /// Takes out the lowest number.
    pub fn pop(&mut self) -> Option<usize> {
        let lowest = self.into_iter().next()?;
        self.set(lowest, false);
        Some(lowest)
    }
}

impl IntoIterator for PathSet {
    type Item = usize;
    type IntoIter = PathSetIter;
    fn into_iter(self) -> PathSetIter {
        PathSetIter(self.0)
    }
}

impl BitOr for PathSet {
    type Output = Self;

    /// What is in one or the other.
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for PathSet {
    type Output = Self;

    /// What is in both.
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Sub for PathSet {
    type Output = Self;

    /// What is in the first alone.
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl FromIterator<usize> for PathSet {
    fn from_iter<I: IntoIterator<Item = usize>>(numbers: I) -> Self {
        let mut set = Self::default();
        numbers.into_iter().for_each(|number| set.insert(number));
        set
    }
}

/// The numbers of a [`PathSet`], lowest first.
#[derive(Debug, Clone)]
pub struct PathSetIter(u16);

impl Iterator for PathSetIter {
    type Item = usize;
    fn next(&mut self) -> Option<usize> {
        let lowest = self.0.trailing_zeros() as usize;
        self.0 &= self.0.wrapping_sub(1);
        (lowest < MAX_PATHS).then_some(lowest)
    }
}

/// One of each path, by number. `Default` makes them in a loop: that of an array is written out sixteen times, which takes
/// kilobytes of a firmware.
#[derive(Debug)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct PerPath<T>([T; MAX_PATHS]);

impl<T: Default> Default for PerPath<T> {
    fn default() -> Self {
        Self(core::array::from_fn(|_| T::default()))
    }
}

impl<T> Deref for PerPath<T> {
    type Target = [T; MAX_PATHS];
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> DerefMut for PerPath<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
