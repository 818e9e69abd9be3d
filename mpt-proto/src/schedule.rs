//! Which path a packet takes.

mod pins;
mod runs;
mod weighted;

pub use pins::{MAX_PINS, Pin, PinError, Pins, PortMatch};
pub(crate) use runs::Runs;
pub use weighted::Weighted;

use crate::path_set::{MAX_PATHS, PathSet};
use crate::rng::mix;
use crate::time::Instant;
use crate::wire::ip::Flow;
use crate::wire::slice;

/// How a path is chosen for each packet. Only paths that are up are ever chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Policy {
    /// Packet by packet, by what is measured on each path: unequal paths as if they were one good link. Needs a peer
    /// that speaks the extension and memory lent by [`Storage::with_adaptive`](crate::Storage::with_adaptive); without
    /// either it is [`Weighted`](Self::Weighted), and [`Connection::mode`](crate::Connection::mode) says why.
    #[default]
    Adaptive,
    /// Packet by packet, in proportion to the paths' weights: the original's sending vector
    /// (draft-lencse-tsvwg-mpt section 5.1), and on fast paths each step of it a run of packets ([`Runs`]). Needs a peer
    /// that restores order.
    Weighted,
    /// All packets of a flow on one path, chosen by a hash of its addresses, protocol and ports; flows share
    /// the paths in proportion to the weights. When a path goes down, only its flows move.
    Flow,
    /// Everything on the path of the lowest rank that is up.
    Backup,
    /// A copy on every path; the peer drops the duplicates.
    Redundant,
}

/// Chooses paths by a [`Policy`].
#[derive(Debug)]
pub(crate) struct Scheduler {
    policy: Policy,
    pins: Pins,
    /// So that peers, and runs, spread flows differently.
    seed: u64,
    ranks: [u8; MAX_PATHS],
    /// The paths that there are, up or not.
    known: PathSet,
    weighted: Weighted,
    runs: Runs,
}

impl Scheduler {
    pub(crate) fn new(policy: Policy, pins: Pins, seed: u64) -> Self {
        Self {
            policy,
            pins,
            seed,
            ranks: [0; MAX_PATHS],
            known: PathSet::default(),
            weighted: Weighted::new(),
            runs: Runs::new(),
        }
    }

    pub(crate) fn set_path(&mut self, index: usize, weight: u16, rank: u8) {
        if let Some(place) = self.ranks.get_mut(index) {
            *place = rank;
        }
        self.known.set(index, weight > 0);
        self.weighted.set_weight(index, weight);
    }

    pub(crate) const fn policy(&self) -> Policy {
        self.policy
    }

    /// What flows are hashed with.
    pub(crate) const fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether some ports are pinned to paths.
    pub(crate) fn has_pins(&self) -> bool {
        !self.pins.is_empty()
    }

    /// The path that `packet` (or a slice of this flow) is pinned to, if that is up.
    pub(crate) fn pin(&self, packet: &[u8], flow: Option<&Flow>, up: PathSet) -> Option<usize> {
        if !self.has_pins() {
            return None;
        }
        self.pins.path_of(&self.flow(packet, flow)).filter(|path| up.contains(*path))
    }

    /// The flow that a packet belongs to; that of a slice must be given.
    fn flow(&self, packet: &[u8], given: Option<&Flow>) -> Flow {
        given.copied().unwrap_or_else(|| Flow::of(packet, self.seed))
    }

    /// The paths, among those that are up, that `packet` (or a slice of this flow) takes: none if none is up, several only
    /// under [`Policy::Redundant`].
    pub(crate) fn choose(
        &mut self,
        packet: &[u8],
        flow: Option<&Flow>,
        up: PathSet,
        now: Instant,
    ) -> PathSet {
        if up.is_empty() {
            return up;
        }
        if self.pins.is_empty() && self.policy != Policy::Flow {
            return self.choose_by_policy(0, slice::follows(packet), up, now);
        }
        let flow = self.flow(packet, flow);
        match self.pins.path_of(&flow) {
            Some(path) if up.contains(path) => PathSet::of(path),
            _ => self.choose_by_policy(flow.hash, slice::follows(packet), up, now),
        }
    }

    fn choose_by_policy(&mut self, hash: u64, follows: bool, up: PathSet, now: Instant) -> PathSet {
        let one = match self.policy {
            Policy::Redundant => return up,
            Policy::Adaptive | Policy::Weighted => self.runs.next(&mut self.weighted, up, follows, now),
            Policy::Backup => up.into_iter().min_by_key(|index| self.ranks.get(*index)),
            Policy::Flow => self.by_hash(hash, up),
        };
        one.map(PathSet::of).unwrap_or_default()
    }

    /// First among all paths, so that a flow keeps its path while others come and go; only if that one is
    /// down, among those that are up, by other bits.
    fn by_hash(&self, hash: u64, up: PathSet) -> Option<usize> {
        self.at_share(hash, self.known)
            .filter(|index| up.contains(*index))
            .or_else(|| self.at_share(mix(hash), up))
    }

    /// The path whose stretch of the summed weights `hash` falls into, as a part of 2^64.
    fn at_share(&self, hash: u64, among: PathSet) -> Option<usize> {
        let weight = |index: usize| u64::from(self.weighted.weight(index));
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
}

#[cfg(test)]
mod tests;
