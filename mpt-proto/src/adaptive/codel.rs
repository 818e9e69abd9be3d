//! CoDel (RFC 8289): tells when a queue stands, and which packets to drop or mark so that it shrinks.

use core::num::NonZeroU32;

/// Sojourn that is good, and how long it may be exceeded, in microseconds.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct Bounds {
    /// The sojourn.
    pub target: u32,
    /// How long.
    pub interval: u32,
}

/// What is accepted in the two queues.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Accepted {
    pub(super) express: Bounds,
    pub(super) bulk: Bounds,
}

/// The state of one queue. Stamps are microseconds modulo 2^32.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "state", derive(PartialEq, serde::Serialize, serde::Deserialize))]
pub struct Codel {
    /// When the sojourn will have been above the target for an interval.
    above_at: Option<u32>,
    dropping: bool,
    next: u32,
    count: u32,
    last_count: u32,
}

impl Codel {
    /// Whether the packet at the head, which has waited for `sojourn`, is to be dropped or marked; the next one is
    /// asked about then as well. `last`: nothing is behind it.
    pub fn is_due(&mut self, sojourn: u32, last: bool, bounds: Bounds, now: u32) -> bool {
        if !self.is_above(sojourn, last, bounds, now) {
            self.dropping = false;
            return false;
        }
        if !self.dropping {
            self.dropping = true;
            // Back after a short while: start near the rate that controlled the queue last time.
            let recent = is_past(self.next.wrapping_add(bounds.interval.saturating_mul(16)), now);
            let delta = self.count.wrapping_sub(self.last_count);
            self.count = if !recent && delta > 1 { delta } else { 1 };
            self.last_count = self.count;
            self.next = now.wrapping_add(self.step(bounds));
            return true;
        }
        if !is_past(self.next, now) {
            return false;
        }
        self.count = self.count.saturating_add(1);
        self.next = self.next.wrapping_add(self.step(bounds));
        true
    }

    fn is_above(&mut self, sojourn: u32, last: bool, bounds: Bounds, now: u32) -> bool {
        if sojourn < bounds.target || last {
            self.above_at = None;
            return false;
        }
        match self.above_at {
            Some(at) => is_past(at, now),
            None => {
                self.above_at = Some(now.wrapping_add(bounds.interval));
                false
            }
        }
    }

    /// interval / sqrt(count), by an integer root of 16 more bits.
    fn step(&self, bounds: Bounds) -> u32 {
        let root = NonZeroU32::new((self.count.min(0xffff) << 16).isqrt()).map_or(1, NonZeroU32::get);
        u32::try_from((u64::from(bounds.interval) << 8) / u64::from(root)).unwrap_or(u32::MAX)
    }
}

/// Whether stamp `at` is not after `now`.
#[allow(clippy::cast_possible_wrap, reason = "the wrap is the comparison")]
const fn is_past(at: u32, now: u32) -> bool {
    now.wrapping_sub(at) as i32 >= 0
}

#[cfg(test)]
mod tests;
