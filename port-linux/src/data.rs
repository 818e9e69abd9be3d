//! Data plans: what each link with one has carried, over restarts, and what follows from it.

mod ahead;
mod calendar;
mod meter;
mod store;

pub use ahead::Ahead;
#[cfg(feature = "program")]
pub(crate) use calendar::day;
pub use meter::{ClockNews, Count, Level, Meter};
pub use store::{Counts, Store};

use serde::{Deserialize, Serialize};

/// What is known of a path's data plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataReport {
    /// `month` or `bucket`.
    pub plan: String,
    /// Bytes of the plan, and those that were added to it.
    pub size_bytes: u64,
    /// Bytes that are used: both directions, with IP and UDP headers.
    pub used_bytes: u64,
    /// What follows from that.
    pub level: Level,
    /// Of a month: when the next one begins, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renews_at: Option<u64>,
}
