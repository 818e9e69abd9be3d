//! All packets of a flow on one path, chosen by its hash.

use crate::path_set::PathSet;
use crate::rng::mix;
use crate::schedule::{PacketView, Paths, Schedule};
use crate::time::Instant;

/// Flows in proportion to weights. First among all paths, so that a flow keeps its path while others come and go; only if
/// that one is down, among those that are up, by other bits.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct ByFlow;

impl Schedule for ByFlow {
    fn choose(&mut self, packet: &PacketView<'_>, paths: &Paths<'_>, _: Instant) -> PathSet {
        let hash = packet.flow().hash;
        at_share(hash, paths.known, paths)
            .filter(|index| paths.up.contains(*index))
            .or_else(|| at_share(mix(hash), paths.up, paths))
            .map(PathSet::of)
            .unwrap_or_default()
    }
}

/// The path whose stretch of the summed weights `hash` falls into, as a part of 2^64.
fn at_share(hash: u64, among: PathSet, paths: &Paths<'_>) -> Option<usize> {
    let weight = |index: usize| u64::from(paths.weight(index));
    let total: u64 = among.into_iter().map(weight).sum();
    // The upper half is enough, and the sum of 16 weights has room above it: no division.
    let mut point = ((hash >> 32) * total) >> 32;
    among.into_iter().find(|index| {
        let mine = weight(*index);
        let here = point < mine;
        point = point.wrapping_sub(mine);
        here
    })
}
