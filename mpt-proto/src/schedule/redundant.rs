//! A copy on every path.

use crate::path_set::PathSet;
use crate::schedule::{PacketView, Paths, Schedule};
use crate::time::Instant;

/// All paths that are up; the peer drops the duplicates.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Redundant;

impl Schedule for Redundant {
    fn choose(&mut self, _: &PacketView<'_>, paths: &Paths<'_>, _: Instant) -> PathSet {
        paths.up
    }
}
