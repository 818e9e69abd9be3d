//! How much the delay of a path varies by itself, over several time scales.
//!
//! Two reports tell by how much the delay changed between them. A part of that is a queue of ours: while one stands, packets
//! arrive at the path's rate however they left. So of the change itself and of what remains when the bytes are taken to have
//! arrived at the path's rate, or as fast as those before, the least is what nothing explains: noise. It is measured between reports that lie 10, 40 and
//! 160 ms apart, as a delay may be drawn anew for each packet or stay for a while; the largest counts.

use crate::adaptive::model::anchor::{Anchor, abs};
use crate::adaptive::tuning::{
    DEVIATION_OF_MEAN, NOISE_GAIN, NOISE_GROWTH, NOISE_OUTLIER, NOISE_SPANS, NOISE_STEP, NOISE_USED,
    OWN_NOISE,
};

/// Noise of one path. See the module.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Noise {
    scales: [Scale; NOISE_SPANS.len()],
    /// See [`deviation`](Self::deviation).
    deviation: f32,
}

/// Noise at one time scale.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
struct Scale {
    /// Where the measurement began.
    from: Option<Anchor>,
    /// The rate then, in bytes a second.
    rate: f32,
    /// Mean of what nothing explains, in microseconds.
    mean: f32,
    /// Bytes a second that arrived in the measurement before.
    arrival_rate: f32,
    /// Measurements so far.
    count: u8,
}

impl Noise {
    /// Standard deviation of the delay, in microseconds, if it is drawn from a normal distribution.
    pub(super) const fn deviation(&self) -> f32 {
        self.deviation
    }

    /// The same of the shortest time scale alone.
    pub(super) const fn quick_deviation(&self) -> f32 {
        let [quick, ..] = &self.scales;
        (DEVIATION_OF_MEAN * quick.mean - OWN_NOISE).max(0.0)
    }

    /// Measurements that had begun are void.
    pub(super) fn forget(&mut self) {
        for scale in &mut self.scales {
            scale.from = None;
        }
    }

    /// A report, on a path that carries `rate` bytes a second. `is_startup`: that is only being found, by sending more.
    pub(super) fn handle(&mut self, at: Anchor, rate: f32, is_startup: bool) {
        for (scale, span) in self.scales.iter_mut().zip(NOISE_SPANS) {
            scale.handle(at, span, rate, is_startup);
        }
        let all = DEVIATION_OF_MEAN * self.scales.iter().map(|scale| scale.mean).fold(0.0, f32::max);
        // The squares of independent parts add up; far from equal ones this is near enough to the root of the difference.
        self.deviation = (all - OWN_NOISE * OWN_NOISE / all.max(1.0)).max(0.0);
    }
}

impl Scale {
    /// A report, on a path that carries `rate` bytes a second; a measurement is of reports that lie `scale` microseconds apart.
    fn handle(&mut self, at: Anchor, scale: f32, rate: f32, is_startup: bool) {
        let Some(since) = self.from else {
            (self.from, self.rate) = (Some(at), rate);
            return;
        };
        let span = at.since(&since);
        // Reports come a little sooner than each ten milliseconds.
        if span.sent < 0.8 * scale {
            return;
        }
        let rate_before = core::mem::replace(&mut self.rate, rate);
        self.from = Some(at);
        if span.sent > 4.0 * scale {
            return;
        }
        let arrival_before = core::mem::replace(&mut self.arrival_rate, span.arrival_rate());
        let (least, most) = (rate.min(rate_before), rate.max(rate_before));
        if (is_startup || most > NOISE_GROWTH * least) && span.rate() > NOISE_USED * least {
            // The rate is only being found, and what is sent comes in bursts: what the bytes explain is not known.
            return;
        }
        let change = span.arrived - span.sent;
        let by_rate = span.arrived - span.bytes * 1e6 / rate;
        // The rate may be wrong by a tenth, as after a shaper's burst; but while a queue stands, packets arrive as fast as before.
        let by_before = span.arrived - span.bytes * 1e6 / arrival_before.max(1.0);
        let unexplained =
            abs(change).min(abs(by_rate)).min(abs(by_before)).min(NOISE_OUTLIER * self.mean + NOISE_STEP);
        self.count = self.count.saturating_add(1);
        self.mean += NOISE_GAIN.max(1.0 / f32::from(self.count)) * (unexplained - self.mean);
    }
}

#[cfg(test)]
mod tests;
