//! The multipath tunnel protocol as a state machine.
//!
//! One [`Connection`] joins two hosts by up to [`MAX_PATHS`] paths. It decides which path a packet takes,
//! writes and reads GRE-in-UDP headers (RFC 8086), restores order, watches the paths' lives, and does no
//! I/O: the caller owns the sockets, the clock and the memory. The loop to drive it is on [`Connection`]. A host with
//! many peers keeps their connections in an [`Endpoint`].
//!
//! No `std`, no `alloc`, no `unsafe`, no panic whatever bytes arrive; O(1) work per packet.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]
// What `internals` shows is unreachable without it.
#![cfg_attr(not(feature = "internals"), allow(unreachable_pub))]

#[cfg(test)]
extern crate std;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(any(feature = "embassy", feature = "smoltcp"))]
pub mod adapt;
mod adaptive;
mod config;
mod connection;
mod ecn;
mod endpoint;
mod event;
mod feedback;
mod gate;
mod limit;
mod path;
mod path_set;
mod reassembly;
mod reorder;
mod rng;
mod schedule;
mod seq;
#[cfg(feature = "state")]
mod state;
mod stats;
mod time;
pub mod wire;

pub use adaptive::{
    AdaptiveState, Bounds, ClassRule, ClassRules, Codel, FlowSlot, LimitedBy, MAX_CLASS_RULES, Mode,
    PacketSlot, PathModel, Phase, Travel, names_bulk,
};
pub use config::{Config, Liveness, PathConfig, Probing};
pub use connection::{
    AddPathError, CONTROL_MAX, Claim, Connection, Departure, Departures, EncapsulateError, FlowPin, Link,
    PathSizes, PinFlowError, Received, SearchSizeError, Storage, UnknownPath, Unsent, common_size,
};
pub use ecn::Ecn;
pub use endpoint::{Endpoint, Handle, Slot, Timed};
pub use event::Event;
pub use limit::Limit;
pub use path::{DownReason, EcnFault, PathId, PathState, Roaming, RoamingStats, RoamingStep, Sighting};
pub use path_set::{MAX_PATHS, PathSet};
pub use reassembly::ReassemblySlot;
pub use reorder::{ReorderConfig, ReorderSlot};
pub use schedule::{Aspect, MAX_PINS, Pin, PinError, Pins, Policy, PortMatch};
pub use seq::Seq;
pub use stats::{DropReason, PathStats, Stats};
pub use time::Instant;
pub use wire::HEADROOM;

/// Parts that the fuzz targets drive by themselves. They are no part of the public interface, and change without notice.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    pub use crate::reassembly::{Piece, Reassembly};
    pub use crate::reorder::{Insert, Place, Reorder};
    pub use crate::schedule::Cycle;
}
