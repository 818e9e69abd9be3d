//! What a scheduler sees of the paths and of the packet.

use crate::path_set::{MAX_PATHS, PathSet};
use crate::schedule::rtt::Rtt;
use crate::wire::ip::Flow;
use crate::wire::slice;

/// A path: what the caller configured, and what is measured whatever the policy is.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct PathView {
    /// As in [`PathConfig`](crate::PathConfig), 1 to 10,000; zero: there is no such path.
    pub(crate) weight: u16,
    /// As in [`PathConfig`](crate::PathConfig).
    pub(crate) rank: u8,
    /// As in [`PathConfig`](crate::PathConfig), or as it was set since.
    pub(crate) tier: u8,
    /// What probes and their echoes took: sampled at [`Probing::interval`](crate::Probing::interval) while packets take the path, else at
    /// [`Probing::idle`](crate::Probing::idle), and never if it is not probed.
    pub(crate) rtt: Rtt,
}

/// The paths of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paths<'a> {
    /// Those that packets may take.
    pub(crate) up: PathSet,
    /// All that there are, up or not.
    pub(crate) known: PathSet,
    pub(super) table: &'a [PathView; MAX_PATHS],
}

impl<'a> Paths<'a> {
    /// The path of a number; `None` for a number that no path can have.
    pub(crate) fn get(&self, index: usize) -> Option<&'a PathView> {
        self.table.get(index)
    }

    /// A path's weight; zero: there is no such path.
    pub(crate) fn weight(&self, index: usize) -> u16 {
        self.get(index).map_or(0, |path| path.weight)
    }
}

/// A packet, or a slice of a large one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PacketView<'a> {
    pub(super) bytes: &'a [u8],
    /// If it is known already; that of a slice must be.
    pub(super) flow: Option<&'a Flow>,
    pub(super) seed: u64,
}

impl PacketView<'_> {
    /// Its flow: protocol, ports, and a hash of these and the addresses. Read from the packet when it is asked for.
    pub(crate) fn flow(&self) -> Flow {
        self.flow.copied().unwrap_or_else(|| Flow::of(self.bytes, self.seed))
    }

    /// Whether it is a slice, and not the first one of its packet.
    pub(crate) fn follows(&self) -> bool {
        slice::follows(self.bytes)
    }
}
