//! What a path answers to what is sent in one phase, measured from the first datagram that left in it.

use crate::adaptive::model::anchor::{Anchor, Span};
use crate::adaptive::tuning::ANSWERED;
use crate::wire::extension;

/// One experiment. `Default` has not begun.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Trial {
    /// Number of the first datagram.
    first: u32,
    from: Option<Anchor>,
    latest: Option<Anchor>,
}

/// What a drain showed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Answer {
    /// The delay fell as a queue of ours does; or grew, as noise does; or it is too early to tell.
    Open,
    /// The delay did not fall though less was sent than the path can carry: this is the delay without a queue of ours, in
    /// microseconds against the reference.
    Stays(f32),
}

impl Trial {
    /// Begins with the datagram of this number.
    pub(super) const fn begin(number: u32) -> Self {
        Self { first: number, from: None, latest: None }
    }

    /// A report. Returns whether the experiment began with it.
    pub(super) fn handle(&mut self, at: Anchor) -> bool {
        if extension::distance(at.settled, self.first) < 0 {
            return false;
        }
        self.latest = Some(at);
        let begins = self.from.is_none();
        self.from = self.from.or(Some(at));
        begins
    }

    /// What was seen so far.
    pub(super) fn span(&self) -> Option<Span> {
        Some(self.latest?.since(self.from.as_ref()?))
    }

    /// Judges a drain on a path that carries `rate` bytes a second, once the delay should have fallen by `least`
    /// microseconds; then goes on from here.
    pub(super) fn answer(&mut self, rate: f32, least: f32) -> Answer {
        let (Some(from), Some(at), Some(span)) = (self.from, self.latest, self.span()) else {
            return Answer::Open;
        };
        let expected = span.sent - span.bytes * 1e6 / rate;
        if expected < least {
            return Answer::Open;
        }
        self.from = Some(at);
        let fell = from.delay - at.delay;
        if fell > ANSWERED * expected || fell < -expected {
            return Answer::Open;
        }
        Answer::Stays(at.delay.max(from.delay))
    }
}

#[cfg(test)]
mod tests;
