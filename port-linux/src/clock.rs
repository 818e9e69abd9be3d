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

    /// The moment of a time stamp of the system's clock, given as the time since 1970. A stamp from the future, or of
    /// more than a second ago, is of a clock that was set meanwhile: it counts as now.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn at(&self, stamp: std::time::Duration) -> Instant {
        let stamp = std::time::SystemTime::UNIX_EPOCH + stamp;
        let age = std::time::SystemTime::now().duration_since(stamp).unwrap_or_default();
        self.now() - if age <= std::time::Duration::from_secs(1) { age } else { std::time::Duration::ZERO }
    }

    /// The time since the start, in whole microseconds.
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }
}
