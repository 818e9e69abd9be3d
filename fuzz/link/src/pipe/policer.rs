//! A token bucket that drops.

use std::time::Duration;

use crate::config::Policer;

/// The state of a policer. The default is a full bucket.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    /// What is missing, in billionths of a bit: what comes in within a nanosecond is a whole number of them.
    missing: u128,
    since: Duration,
}

/// Billionths of a bit in a byte.
const BYTE: u128 = 8_000_000_000;

impl Bucket {
    /// Takes tokens for a packet; if there are too few, it takes none.
    pub(super) fn admits(&mut self, policer: Policer, bytes: u64, now: Duration) -> bool {
        let came = now.saturating_sub(self.since).as_nanos() * u128::from(policer.bits_per_second);
        self.missing = self.missing.saturating_sub(came);
        self.since = now;
        let missing = self.missing + u128::from(bytes) * BYTE;
        let admits = missing <= u128::from(policer.bucket) * BYTE;
        if admits {
            self.missing = missing;
        }
        admits
    }
}
