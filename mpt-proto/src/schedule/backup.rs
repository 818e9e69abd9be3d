//! Everything on one path: the first in line that is up.

use crate::path_set::PathSet;
use crate::schedule::{PacketView, Paths, Schedule};
use crate::time::Instant;

/// The path of the lowest rank, and of equal ranks the one of the lowest number.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Backup;

impl Schedule for Backup {
    fn choose(&mut self, _: &PacketView<'_>, paths: &Paths<'_>, _: Instant) -> PathSet {
        let first = paths.up.into_iter().min_by_key(|index| paths.get(*index).map(|path| path.rank));
        first.map(PathSet::of).unwrap_or_default()
    }
}
