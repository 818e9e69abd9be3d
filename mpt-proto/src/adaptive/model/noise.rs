//! How much the delay of a path varies by itself, over several time scales.
//!
//! Two reports tell by how much the delay changed between them. A part of that is a queue of ours: while one stands, packets
//! arrive at the path's rate however they left. So of the change itself and of what remains when the bytes are taken to have
//! arrived at the path's rate, the smaller is what neither explains: noise. It is measured between reports that lie 10, 40 and
//! 160 ms apart, as a delay may be drawn anew for each packet or stay for a while; the largest counts.

use crate::adaptive::model::anchor::{Anchor, abs};
use crate::adaptive::tuning::{DEVIATION_OF_MEAN, NOISE_GAIN, NOISE_OUTLIER, NOISE_SPANS, NOISE_STEP};

/// Noise of one path. See the module.
#[derive(Debug, Default)]
pub(super) struct Noise {
    scales: [Scale; NOISE_SPANS.len()],
    /// See [`deviation`](Self::deviation).
    deviation: f32,
}

/// Noise at one time scale.
#[derive(Debug, Default)]
struct Scale {
    /// Where the measurement began.
    from: Option<Anchor>,
    /// Mean of what nothing explains, in microseconds.
    mean: f32,
    /// Measurements so far.
    count: u8,
}

impl Noise {
    /// Standard deviation of the delay, in microseconds, if it is drawn from a normal distribution.
    pub(super) const fn deviation(&self) -> f32 {
        self.deviation
    }

    /// Measurements that had begun are void.
    pub(super) fn forget(&mut self) {
        for scale in &mut self.scales {
            scale.from = None;
        }
    }

    /// A report, on a path that carries `rate` bytes a second.
    pub(super) fn handle(&mut self, at: Anchor, rate: f32) {
        for (scale, span) in self.scales.iter_mut().zip(NOISE_SPANS) {
            scale.handle(at, span, rate);
        }
        self.deviation = DEVIATION_OF_MEAN * self.scales.iter().map(|scale| scale.mean).fold(0.0, f32::max);
    }
}

impl Scale {
    /// A report, on a path that carries `rate` bytes a second; a measurement is of reports that lie `scale` microseconds apart.
    fn handle(&mut self, at: Anchor, scale: f32, rate: f32) {
        let Some(since) = self.from else {
            self.from = Some(at);
            return;
        };
        let span = at.since(&since);
        // Reports come a little sooner than each ten milliseconds.
        if span.sent < 0.8 * scale {
            return;
        }
        self.from = Some(at);
        if span.sent > 4.0 * scale {
            return;
        }
        let change = span.arrived - span.sent;
        let by_rate = span.arrived - span.bytes * 1e6 / rate;
        let unexplained = abs(change).min(abs(by_rate)).min(NOISE_OUTLIER * self.mean + NOISE_STEP);
        self.count = self.count.saturating_add(1);
        self.mean += NOISE_GAIN.max(1.0 / f32::from(self.count)) * (unexplained - self.mean);
    }
}

#[cfg(test)]
mod tests;
