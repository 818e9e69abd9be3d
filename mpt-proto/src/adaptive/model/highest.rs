//! The highest sample of a window.

use crate::time::{Instant, Micros};

/// Highest of the samples of a window: three candidates, as Kathleen Nichols' filter in Linux.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Highest {
    samples: [(Instant, f32); 3],
}

impl Highest {
    pub(super) fn reset(&mut self, now: Instant, value: f32) {
        self.samples = [(now, value); 3];
    }

    pub(super) fn push(&mut self, window: Micros, now: Instant, value: f32) -> f32 {
        let [first, second, third] = self.samples;
        if value >= first.1 || now > third.0 + window {
            self.reset(now, value);
            return value;
        }
        if value >= second.1 {
            self.samples = [first, (now, value), (now, value)];
        } else if value >= third.1 {
            self.samples = [first, second, (now, value)];
        }
        self.expire(window, now, value)
    }

    /// Drops the candidates that are too old; `value` stands in for those that are missing then.
    fn expire(&mut self, window: Micros, now: Instant, value: f32) -> f32 {
        let [first, second, third] = self.samples;
        if now > first.0 + window {
            self.samples = [second, third, (now, value)];
            if now > second.0 + window {
                self.samples = [third, (now, value), (now, value)];
            }
        } else if second.0 == first.0 && now > first.0 + Micros(window.0 / 4) {
            self.samples = [first, (now, value), (now, value)];
        } else if third.0 == second.0 && now > second.0 + Micros(window.0 / 2) {
            self.samples = [first, second, (now, value)];
        }
        self.samples[0].1
    }
}
