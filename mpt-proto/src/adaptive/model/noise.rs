//! How much the delay of a path varies by itself, over several time scales.
//!
//! Two reports tell by how much the delay changed between them. A part of that is a queue of ours: while one stands, packets
//! arrive at the path's rate however they left. So of the change itself and of what remains when the bytes are taken to have
//! arrived at the path's rate, the smaller is what neither explains: noise. It is measured between reports that lie 10, 40 and
//! 160 ms apart, as a delay may be drawn anew for each packet or stay for a while; the largest counts.

use crate::adaptive::model::anchor::{Anchor, abs};
use crate::adaptive::tuning::{DEVIATION_OF_MEAN, NOISE_GAIN, NOISE_OUTLIER, NOISE_SPANS, NOISE_STEP};

const SCALES: usize = NOISE_SPANS.len();

/// Noise of one path. See the module.
#[derive(Debug, Default)]
pub(super) struct Noise {
    /// Where the measurement of each time scale began.
    from: [Option<Anchor>; SCALES],
    /// Mean of what nothing explains, in microseconds.
    means: [f32; SCALES],
    count: [u8; SCALES],
    /// See [`deviation`](Self::deviation).
    deviation: f32,
}

impl Noise {
    /// Standard deviation of the delay, in microseconds, if it is drawn from a normal distribution.
    pub(super) const fn deviation(&self) -> f32 {
        self.deviation
    }

    /// Measurements that had begun are void.
    pub(super) const fn forget(&mut self) {
        self.from = [None; SCALES];
    }

    /// A report, on a path that carries `rate` bytes a second.
    pub(super) fn handle(&mut self, at: Anchor, rate: f32) {
        for (level, ((from, mean), scale)) in
            self.from.iter_mut().zip(&mut self.means).zip(NOISE_SPANS).enumerate()
        {
            let Some(since) = *from else {
                *from = Some(at);
                continue;
            };
            let span = at.since(&since);
            // Reports come a little sooner than each ten milliseconds.
            if span.sent < 0.8 * scale {
                continue;
            }
            *from = Some(at);
            if span.sent > 4.0 * scale {
                continue;
            }
            let change = span.arrived - span.sent;
            let by_rate = span.arrived - span.bytes * 1e6 / rate;
            let mut unexplained = abs(change).min(abs(by_rate));
            if self.count[level] >= 4 {
                unexplained = unexplained.min(NOISE_OUTLIER * *mean + NOISE_STEP);
            }
            self.count[level] = self.count[level].saturating_add(1);
            *mean += NOISE_GAIN.max(1.0 / f32::from(self.count[level])) * (unexplained - *mean);
        }
        self.deviation = DEVIATION_OF_MEAN * self.means.iter().copied().fold(0.0, f32::max);
    }
}
