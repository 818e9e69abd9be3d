//! Two reports of a path, and what happened between them.

use crate::adaptive::tuning::{CLOCK_STEP, CLOCK_STEP_NOISE, CLOCK_STEP_ROUND, CLOCK_STEP_TRIPS};
use crate::wire::extension;

/// What had arrived on a path by a report.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Anchor {
    /// Stamp of the latest packet, on the sender's clock in microseconds.
    pub(super) stamp: u32,
    /// When that packet arrived, on the receiver's clock in microseconds.
    pub(super) arrived: u32,
    /// Bytes that had arrived, modulo 2^32.
    pub(super) bytes: u32,
    /// Datagrams that had arrived, modulo 2^32.
    pub(super) packets: u32,
    /// Path number up to which all had arrived or were named as missing.
    pub(super) settled: u32,
    /// Mean delay of the packets of the report against the connection's reference, in microseconds.
    pub(super) delay: f32,
}

/// How long the latest packet of a report took, and how long it took to hear of it, each in the difference of two clocks that may
/// show different times; microseconds modulo 2^32.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(in crate::adaptive) struct Trip {
    /// From its stamp, on the sender's clock, to its arrival, on the receiver's.
    pub(in crate::adaptive) there: u32,
    /// From its arrival, on the receiver's clock, to now, on the sender's.
    pub(in crate::adaptive) back: u32,
}

/// Tells when one of two clocks is set: the way there becomes longer and the way back shorter by as much, or the reverse, which no
/// link does. `Default` knows no trip.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Clocks {
    usual: Option<Trip>,
    /// Trips in a row with another round trip than the usual one.
    unusual: u8,
}

impl Clocks {
    /// A clock was set, as another path told: the way there is now longer by `step` microseconds.
    pub(super) const fn shift(&mut self, step: i32) {
        if let Some(Trip { there, back }) = &mut self.usual {
            *there = there.wrapping_add_signed(step);
            *back = back.wrapping_sub(step.cast_unsigned());
        }
    }

    /// A trip over a path whose delay deviates by so many microseconds: by how much a clock was set since the usual one, in
    /// microseconds.
    pub(super) fn handle(&mut self, trip: Trip, deviation: f32) -> Option<i32> {
        let usual = *self.usual.get_or_insert(trip);
        let there = micros_between(trip.there, usual.there);
        let least = CLOCK_STEP + CLOCK_STEP_NOISE * deviation;
        let round = there + micros_between(trip.back, usual.back);
        // What left before the sender's own clock was set seems to have taken longer: it says nothing yet, as a queue does not.
        if abs(round) > least && self.unusual < CLOCK_STEP_TRIPS {
            self.unusual += 1;
            return None;
        }
        *self = Self { usual: Some(trip), unusual: 0 };
        let is_step = abs(there) > least && abs(round) < CLOCK_STEP_ROUND * abs(there);
        #[allow(clippy::cast_possible_truncation, reason = "saturates")]
        is_step.then_some(there as i32)
    }
}

/// The absolute value.
pub(super) const fn abs(value: f32) -> f32 {
    value.max(-value)
}

/// What left and arrived between two reports. Times are in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// Time in which the packets left.
    pub(super) sent: f32,
    /// Time in which they arrived.
    pub(super) arrived: f32,
    /// Bytes that arrived.
    pub(super) bytes: f32,
    /// Datagrams that arrived.
    pub(super) packets: u32,
    /// Path numbers that were settled.
    pub(super) numbers: i32,
}

impl Anchor {
    /// What happened since an earlier report.
    pub(super) fn since(&self, from: &Self) -> Span {
        Span {
            sent: micros_between(self.stamp, from.stamp),
            arrived: micros_between(self.arrived, from.arrived),
            bytes: self.bytes.wrapping_sub(from.bytes) as f32,
            packets: self.packets.wrapping_sub(from.packets),
            numbers: extension::distance(self.settled, from.settled),
        }
    }
}

impl Span {
    /// Whether the delay grew: the packets arrived over more than `factor` times the time in which they left.
    pub(super) fn grows(&self, factor: f32) -> bool {
        self.arrived > factor * self.sent
    }

    /// Bytes a second that arrived.
    pub(super) fn arrival_rate(&self) -> f32 {
        self.bytes * 1e6 / self.arrived.max(100.0)
    }

    /// Bytes a second that went through: the slower of how they left and how they arrived.
    pub(super) fn rate(&self) -> f32 {
        self.bytes * 1e6 / self.interval().max(100.0)
    }

    /// The longer of both times.
    pub(super) const fn interval(&self) -> f32 {
        self.sent.max(self.arrived)
    }

    /// Datagrams a microsecond that left.
    pub(super) fn sending_rate(&self) -> f32 {
        self.numbers.max(0) as f32 / self.sent.max(100.0)
    }

    /// Share of the numbers that did not arrive, 0 to 1.
    pub(super) fn loss(&self) -> f32 {
        let numbers = self.numbers.max(1) as f32;
        ((numbers - self.packets as f32) / numbers).max(0.0)
    }
}

/// Microseconds from one stamp to a later one; negative if it is not later.
#[allow(clippy::cast_possible_wrap, reason = "a difference of stamps")]
pub(super) const fn micros_between(later: u32, earlier: u32) -> f32 {
    later.wrapping_sub(earlier) as i32 as f32
}

#[cfg(test)]
mod tests;
