//! What the delay of a path tells: its base, its noise, and the queue on top of both.
//!
//! The base is the least delay of some seconds, in the middle of the path's noise. It is put right when a drain shows what the
//! delay is without a queue of ours ([`DelayEstimate::prove`]): a base that stepped up is known at once, and a queue that never
//! went does not become the base.

use crate::adaptive::model::anchor::Anchor;
use crate::adaptive::model::noise::Noise;
use crate::adaptive::model::phase::Phase;
use crate::adaptive::model::{elapsed, packet_time};
use crate::adaptive::tuning::{
    BASE_WINDOW, CENTRE, NOISY, QUEUE_GAIN, QUEUE_NOISE, QUEUE_PACKETS, QUEUE_TARGET, STANDS,
};
use crate::time::Instant;

/// Delay beyond the base, in microseconds; negative by chance.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Queue {
    /// Of the packet of the last report that waited least.
    pub(super) least: f32,
    /// Mean of the last report.
    pub(super) now: f32,
    /// Mean of the last few reports.
    pub(super) smoothed: f32,
}

/// See the module. Delays are in microseconds against the connection's reference, as the clocks' offset is not known.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct DelayEstimate {
    noise: Noise,
    /// Least delay of the window before and of this one.
    windows: [Option<f32>; 2],
    window_since: Instant,
    /// The delay without a queue; `None`: nothing was measured yet.
    base: Option<f32>,
    queue: Queue,
    /// What a full packet takes to leave at the path's rate.
    packet_time: f32,
    /// A queue has stood since the rate was last measured.
    stands: bool,
    /// When the queue was last seen to be empty, and the longest one since.
    empty_at: Instant,
    deepest: f32,
    /// The base that a drain last proved, and when.
    proven: Option<f32>,
    proven_at: Instant,
}

impl DelayEstimate {
    /// The delay without a queue; `None`: nothing was measured yet.
    pub(super) const fn base(&self) -> Option<f32> {
        self.base
    }

    /// Standard deviation of the delay without a queue.
    pub(super) const fn deviation(&self) -> f32 {
        self.noise.deviation()
    }

    /// Standard deviation of the delay within a hundredth of a second.
    pub(super) const fn quick_deviation(&self) -> f32 {
        self.noise.quick_deviation()
    }

    /// Whether one low delay says nothing.
    pub(super) const fn is_noisy(&self) -> bool {
        self.deviation() > NOISY
    }

    /// The queueing delay that is accepted.
    pub(super) const fn target(&self) -> f32 {
        (QUEUE_TARGET + QUEUE_NOISE * self.deviation()).max(QUEUE_PACKETS * self.thinness())
    }

    /// What a full packet takes to leave at the path's rate.
    pub(super) const fn packet_time(&self) -> f32 {
        self.packet_time
    }

    /// How much longer a full packet takes than the small ones that show the base, where that is more than a queue may.
    pub(super) const fn thinness(&self) -> f32 {
        (self.packet_time - QUEUE_TARGET).max(0.0)
    }

    pub(super) const fn queue(&self) -> Queue {
        self.queue
    }

    /// Forgets the queue that was seen, but not the base.
    pub(super) const fn forget_queue(&mut self) {
        self.queue.smoothed = 0.0;
    }

    /// Measurements of noise that had begun are void.
    pub(super) fn forget_spans(&mut self) {
        self.noise.forget();
    }

    /// Whether a queue has stood since this was last asked.
    pub(super) const fn take_standing(&mut self) -> bool {
        core::mem::replace(&mut self.stands, true)
    }

    /// Whether the last report saw an empty queue, or noise did.
    pub(super) const fn is_empty(&self) -> bool {
        self.queue.least < self.target()
    }

    /// Microseconds since the queue was last seen to be empty.
    pub(super) fn since_empty(&self, now: Instant) -> f32 {
        elapsed(now, self.empty_at)
    }

    /// The longest queue since it was last seen to be empty.
    pub(super) const fn deepest(&self) -> f32 {
        self.deepest
    }

    /// Counts as seen empty now: something is done about it.
    pub(super) const fn set_empty(&mut self, now: Instant) {
        self.empty_at = now;
    }

    /// Whether the delay alone does not show that the queue is empty: noise lets it seem so at any time, and on a thin path a packet
    /// that always waits is accepted.
    pub(super) const fn is_vague(&self) -> bool {
        self.is_noisy() || QUEUE_PACKETS * self.thinness() > QUEUE_TARGET
    }

    /// Whether the base is due for a proof.
    pub(super) fn wants_proof(&self, now: Instant) -> bool {
        self.is_vague() && elapsed(now, self.proven_at) > BASE_WINDOW.as_micros() as f32
    }

    /// Without a queue of ours the delay was `level`.
    pub(super) fn prove(&mut self, level: f32, now: Instant) {
        (self.windows, self.window_since) = ([None; 2], now);
        (self.base, self.proven) = (Some(level), Some(level));
        (self.proven_at, self.empty_at) = (now, now);
    }

    /// What seemed a queue is a longer way: the next report gives the base.
    pub(super) const fn forget_base(&mut self) {
        (self.base, self.proven, self.windows) = (None, None, [None; 2]);
    }

    /// A report: the least delay in it, and the mean in `at`; `rate` is that of the path, in bytes a second, and `phase` its phase: in
    /// Compete the queue is kept by others, and nothing of it becomes the base. Returns whether the queue is empty.
    pub(super) fn handle(&mut self, at: Anchor, least: f32, rate: f32, phase: Phase, now: Instant) -> bool {
        self.noise.handle(at, rate, phase == Phase::Startup);
        self.packet_time = packet_time(rate);
        if phase != Phase::Compete && elapsed(now, self.window_since) > BASE_WINDOW.as_micros() as f32 {
            self.windows = [self.windows[1], None];
            self.window_since = now;
        }
        let [before, current] = &mut self.windows;
        let lowest = current.map_or(at.delay, |lowest| lowest.min(at.delay));
        *current = Some(lowest);
        let lowest = before.map_or(lowest, |before| before.min(lowest));
        let centre = lowest + CENTRE * self.noise.deviation();
        // What was proved holds for a window, and bounds the base in the next.
        let windows = elapsed(now, self.proven_at) / BASE_WINDOW.as_micros() as f32;
        let base = match self.proven {
            Some(proven) if windows < 1.0 => proven.max(centre),
            Some(proven) if windows < 2.0 => proven.min(centre),
            _ => centre,
        };
        self.base = Some(base);
        self.queue.least = least - base;
        self.queue.now = at.delay - base;
        self.queue.smoothed += QUEUE_GAIN * (self.queue.now - self.queue.smoothed);
        let is_empty = self.is_empty();
        self.stands &= self.queue.least > STANDS * self.target();
        self.deepest = if is_empty { 0.0 } else { self.deepest.max(self.queue.least) };
        if is_empty {
            self.empty_at = now;
        }
        is_empty
    }
}

#[cfg(test)]
mod tests;
