//! Which path a packet takes.
//!
//! A policy that chooses at once is a file of this folder with a [`Schedule`] in it, its `mod` line, and an entry of `policies!`. All else
//! follows from the entry: [`Policy`], its name in the configuration, in reports and in recordings, and which warnings a configuration
//! gets. [`min_rtt`] is the example.

mod backup;
mod by_flow;
mod min_rtt;
mod pins;
mod redundant;
mod rtt;
mod view;
mod weighted;

pub use pins::{MAX_PINS, Pin, PinError, Pins, PortMatch};
pub(crate) use view::{PacketView, PathView, Paths};
#[cfg(feature = "internals")]
pub use weighted::Cycle;

use crate::path_set::{MAX_PATHS, PathSet};
use crate::time::{Instant, Micros};
use crate::wire::ip::Flow;

/// Chooses the paths of each packet at once, when it comes, and keeps what it needs for that.
///
/// Of the paths it sees what the caller configured and the RTT that probes measure. Rates, losses, jitter, queues and what is in flight
/// are measured by packets with extension headers, and only [`Policy::Adaptive`] sends packets with them. That policy is no `Schedule`: it keeps
/// packets, and a path takes the next one when it is ready, whereas here a packet takes a path when it comes.
///
/// What it keeps lies in the [`Connection`](crate::Connection), which has bytes to spare for no scheduler that is larger than
/// [`Weighted`](weighted::Weighted). The work for a packet is bounded by the number of paths. Nothing but its arguments may decide, as recordings are
/// played again.
trait Schedule: Default {
    /// The paths that a packet takes, of those that are up: several for a copy on each, none only if none is up.
    fn choose(&mut self, packet: &PacketView<'_>, paths: &Paths<'_>, now: Instant) -> PathSet;

    /// A path came or went, with its weight, rank and tier. Those that go up and down are seen in [`Paths::up`].
    fn restart(&mut self) {}
}

/// What is to be known of a policy outside the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Aspect {
    /// It goes by [`PathConfig::weight`](crate::PathConfig::weight).
    Weight,
    /// It goes by [`PathConfig::rank`](crate::PathConfig::rank).
    Rank,
    /// It goes by [`PathConfig::tier`](crate::PathConfig::tier).
    Tier,
    /// It goes by all bits of the hash of a packet's flow.
    Hash,
    /// Packets of one flow take several paths at the same time, so that it may have the sum of their rates.
    Sum,
}

/// Makes [`Policy`] and `State` of entries: documentation, the policy and its name, its [`Schedule`], and its [`Aspect`]s. That of
/// [`Policy::Adaptive`] is what it falls back to.
macro_rules! policies {
    (@list $first:literal $(, $name:literal)*) => {
        concat!("\"", $first, "\"" $(, ", \"", $name, "\"")*)
    };
    ($($(#[$attribute:meta])* $policy:ident $name:literal: $schedule:ty, [$($aspect:ident),*];)*) => {
        /// How a path is chosen for each packet. Only paths that are up are ever chosen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[non_exhaustive]
        pub enum Policy {
            $($(#[$attribute])* $policy,)*
        }

        impl Policy {
            /// Every policy. A new one is added at the end: recordings have its place.
            pub const ALL: &'static [Self] = &[$(Self::$policy,)*];

            /// All names in quotes, with commas between.
            pub const NAMES: &'static str = policies!(@list $($name),*);

            /// The name used in the configuration, `mpt status` and its JSON.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$policy => $name,)*
                }
            }

            const fn aspects(self) -> &'static [Aspect] {
                match self {
                    $(Self::$policy => &[$(Aspect::$aspect,)*],)*
                }
            }
        }

        /// The policy in use, with what it keeps.
        #[derive(Debug)]
        #[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
        enum State {
            $($policy($schedule),)*
        }

        impl State {
            fn new(policy: Policy) -> Self {
                match policy {
                    $(Policy::$policy => Self::$policy(<$schedule>::default()),)*
                }
            }

            const fn policy(&self) -> Policy {
                match self {
                    $(Self::$policy(_) => Policy::$policy,)*
                }
            }

            fn choose(&mut self, packet: &PacketView<'_>, paths: &Paths<'_>, now: Instant) -> PathSet {
                match self {
                    $(Self::$policy(schedule) => schedule.choose(packet, paths, now),)*
                }
            }

            fn restart(&mut self) {
                match self {
                    $(Self::$policy(schedule) => schedule.restart(),)*
                }
            }
        }
    };
}

policies! {
    /// Packet by packet, by what is measured on each path: unequal paths as if they were one good link. Needs a peer
    /// that speaks the extension and memory lent by [`Storage::with_adaptive`](crate::Storage::with_adaptive); without
    /// either it is [`Weighted`](Self::Weighted), and [`Connection::mode`](crate::Connection::mode) says why.
    #[default]
    Adaptive "adaptive": weighted::Weighted, [Weight, Tier, Sum];
    /// Packet by packet, in proportion to the paths' weights: the original's sending vector
    /// (draft-lencse-tsvwg-mpt section 5.1), and on fast paths each step of it a run of packets. Needs a peer
    /// that restores order.
    Weighted "weighted": weighted::Weighted, [Weight, Sum];
    /// All packets of a flow on one path, chosen by a hash of its addresses, protocol and ports; flows share
    /// the paths in proportion to the weights. When a path goes down, only its flows move.
    Flow "flow": by_flow::ByFlow, [Weight, Hash];
    /// Everything on the path of the lowest rank that is up.
    Backup "backup": backup::Backup, [Rank];
    /// A copy on every path; the peer drops the duplicates.
    Redundant "redundant": redundant::Redundant, [];
    /// Everything on the path of the least smoothed RTT, of those of the lowest tier that is up. To compare with and as an example:
    /// without feedback it does not see that a path is full before probes wait in its queue.
    MinRtt "minrtt": min_rtt::MinRtt, [Tier];
}

impl Policy {
    /// Whether this is true of the policy.
    pub fn has(self, aspect: Aspect) -> bool {
        self.aspects().contains(&aspect)
    }
}

/// Chooses paths by a [`Policy`].
#[derive(Debug)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Scheduler {
    pins: Pins,
    /// So that peers, and runs, spread flows differently.
    #[cfg_attr(feature = "state", serde(skip))]
    seed: u64,
    /// The paths that there are, up or not.
    known: PathSet,
    table: [PathView; MAX_PATHS],
    state: State,
}

impl Scheduler {
    pub(crate) fn new(policy: Policy, pins: Pins, seed: u64) -> Self {
        let table = [PathView::default(); MAX_PATHS];
        Self { pins, seed, known: PathSet::default(), table, state: State::new(policy) }
    }

    /// A path came with its settings, and nothing measured; or it went, if there are none.
    pub(crate) fn set_path(&mut self, index: usize, settings: Option<PathView>) {
        if let Some(place) = self.table.get_mut(index) {
            *place = settings.unwrap_or_default();
        }
        self.known.set(index, settings.is_some());
        self.state.restart();
    }

    /// A path has another tier from now on.
    pub(crate) fn set_tier(&mut self, index: usize, tier: u8) {
        if let Some(path) = self.table.get_mut(index) {
            path.tier = tier;
        }
    }

    /// A probe and its echo took so long on a path.
    pub(crate) fn sample_rtt(&mut self, index: usize, sample: Micros) {
        if let Some(path) = self.table.get_mut(index) {
            path.rtt.sample(sample);
        }
    }

    /// A path's smoothed round-trip time.
    pub(crate) fn rtt(&self, index: usize) -> Option<Micros> {
        self.table.get(index)?.rtt.smoothed()
    }

    pub(crate) const fn policy(&self) -> Policy {
        self.state.policy()
    }

    /// Goes by another policy from now on, which begins anew.
    #[cfg(feature = "state")]
    pub(crate) fn set_policy(&mut self, policy: Policy) {
        self.state = State::new(policy);
    }

    /// Hashes flows with another seed from now on.
    #[cfg(feature = "state")]
    pub(crate) const fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
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
        let packet = PacketView { bytes: packet, flow, seed: self.seed };
        self.pins.path_of(&packet.flow()).filter(|path| up.contains(*path))
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
        if let Some(path) = self.pin(packet, flow, up) {
            return PathSet::of(path);
        }
        let packet = PacketView { bytes: packet, flow, seed: self.seed };
        self.state.choose(&packet, &Paths { up, known: self.known, table: &self.table }, now)
    }
}

#[cfg(test)]
mod tests;
