//! Emulated links: how they are written, and what they do to packets.
//!
//! - [`LinkSpec`] is a link with two directions, parsed from text such as `40mbit 35ms wander 8ms each 10ms back 10mbit`;
//!   `docs/links.md` has the grammar. [`presets`] and [`profiles`] are links by name.
//! - [`LinkConfig`] is one direction.
//! - [`Pipe`] carries packets through one direction: sans-IO, seeded, without a clock. The scenarios of `mpt-fuzz` run
//!   it in virtual time, the laboratory (`mpt lab --links`) with real packets.
//! - [`Trace`] is a recorded or generated rate that changes over time, in the format of mahimahi.
//!
//! No arithmetic here depends on a platform: floating point is limited to operations that IEEE 754 defines exactly.

mod config;
pub mod pipe;
mod presets;
pub mod rng;
mod spec;
mod trace;

pub use config::{Dip, LinkConfig, Loss, Policer, Rate, Step, Straggle, Swap, Wander};
pub use pipe::{Arrival, LinkStats, Pipe};
pub use presets::{Preset, Profile, presets, profiles};
pub use spec::{GRAMMAR, LinkSpec, links, queue_bytes};
pub use trace::Trace;

/// Bytes that a full packet takes on Ethernet: 1,500 of IP, and header, preamble, check sequence and gap.
pub const FULL_FRAME: u64 = 1_538;
