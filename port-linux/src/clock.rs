//! The clock: the only place of this crate that reads one.

use mpt_proto::Instant;

/// Counts from its start, monotonically.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// Starts counting at [`Instant::ZERO`].
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }

    /// The time since the start, in whole microseconds.
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }
}
