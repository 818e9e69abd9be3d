//! When the next datagram may leave on a path.

use crate::adaptive::tuning::{BURST_NANOS, LATE_NANOS, RUN_BYTES, RUN_NANOS};
use crate::time::Instant;

/// See the module. `Default` lets everything leave at once.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Pacer {
    /// When the next datagram may leave, in nanoseconds.
    next: u64,
    /// Nanoseconds a byte, times 1,024.
    cost: u32,
    /// Credit of a path that stood still beyond [`BURST_NANOS`], in nanoseconds.
    unseen: u64,
}

impl Pacer {
    /// Sets the pace, in bytes a second, and how long a burst may be beyond it that would not be seen in the noise, in microseconds.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and far below 2^32")]
    pub(super) fn set_pace(&mut self, pace: f32, unseen: f32) {
        self.cost = (1e9 * 1024.0 / pace) as u32;
        self.unseen = unseen as u64 * 1000;
    }

    /// Microseconds until a datagram may leave.
    // On small machines, where code is dear, it is there once.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn wait(&self, now: Instant) -> u64 {
        self.next.saturating_sub(nanos(now)) / 1000
    }

    /// Whether a run of bulk may begin: enough of the path's time has gathered.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        let run = ((RUN_BYTES * u64::from(self.cost)) >> 10).min(RUN_NANOS);
        self.next.saturating_add(run) <= nanos(now)
    }

    /// Whether a run that has begun may go on.
    pub(super) const fn takes_more(&self, now: Instant) -> bool {
        self.next <= nanos(now)
    }

    /// A datagram of `len` bytes leaves. `may_be_late`: if the path stood still, it was the caller who came late. Returns whether
    /// that was so.
    pub(super) fn handle_sent(&mut self, len: usize, may_be_late: bool, now: Instant) -> bool {
        let burst = BURST_NANOS + self.unseen;
        let credit = if may_be_late { burst.max(LATE_NANOS) } else { burst };
        let earliest = nanos(now).saturating_sub(credit);
        let was_late = may_be_late && self.next < earliest;
        self.next = self.next.max(earliest).saturating_add((len as u64 * u64::from(self.cost)) >> 10);
        was_late
    }

    /// What left beyond the pace keeps others off the path for so many microseconds at most.
    pub(super) fn forgive(&mut self, most: u64, now: Instant) {
        self.next = self.next.min(nanos(now).saturating_add(most * 1000));
    }

    /// How long `bytes` take, in microseconds.
    pub(super) const fn time_of(&self, bytes: usize) -> u64 {
        ((bytes as u64 * self.cost as u64) >> 10) / 1000
    }
}

/// Nanoseconds; a time that does not fit stays the latest.
const fn nanos(now: Instant) -> u64 {
    now.as_micros().saturating_mul(1000)
}

#[cfg(test)]
mod tests;
