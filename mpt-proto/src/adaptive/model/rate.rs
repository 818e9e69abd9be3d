//! How many bytes a second a path carries: the highest of what went through it in some round trips, as in BBR
//! (draft-ietf-ccwg-bbr). A sample that was taken while there was too little to send can raise the rate, but not lower it.

use crate::adaptive::model::anchor::{Anchor, Span};
use crate::adaptive::model::highest::Highest;
use crate::adaptive::tuning::{
    FILLED_WITHIN, LEAST_RATE, LEAST_USED, MOST_OWN_LOSS, MOST_RATE, OWN_LOSS_FALL, OWN_LOSS_GAIN,
    OWN_LOSS_SHARE, OWN_LOSS_STAYS, POLICED, POLICED_AGAIN_FOR, POLICED_ALIKE, POLICED_FOR, POLICED_PACKETS,
    SAMPLE_PACKETS, SEEN_FOR, SEEN_SHARE, START_RATE,
};
use crate::time::{Instant, Micros};
use crate::wire::extension;

/// See the module.
#[derive(Debug)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct RateEstimate {
    value: f32,
    /// It at the end of the last sample of which all left while there was enough to send.
    proven: f32,
    highest: Highest,
    /// The highest sample of [`SEEN_FOR`], and what it says.
    recent: Highest,
    seen: f32,
    from: Option<Anchor>,
    /// Path numbers up to this one left while there was too little to send.
    app_limited: u32,
    /// When a sample last ended of which all left while there was enough to send; zero: never.
    filled_at: Instant,
    /// Where the present judgement of losses began.
    judged_from: Option<Anchor>,
    /// Path number of what left first at the rate that the last judgement left: what left before it lost at another.
    judged_after: Option<u32>,
    /// Too much was lost in the judgement before.
    was_lossy: bool,
    /// The rate was cut for its losses, and it is not clear yet whether that was right.
    cut: Option<Cut>,
    /// Share of the packets that the link loses however little is sent.
    own_loss: f32,
    /// A rate that lost too much, and until when it is not exceeded.
    ceiling: f32,
    ceiling_until: Instant,
    /// The one of the time before.
    ceiling_before: f32,
}

/// A rate that was cut for its losses.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
struct Cut {
    /// Before.
    rate: f32,
    /// Share that was lost.
    loss: f32,
    /// Packets a microsecond that had left.
    sent: f32,
    /// Judgements since then in which as much was lost.
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    stays: u8,
}

/// What losses tell.
#[derive(Debug, Clone, Copy)]
pub(super) enum Losses {
    /// The path drops what exceeds its rate: in this span.
    Policer(Span),
    /// It is the link that loses, at any rate.
    Link,
}

/// What one sample says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) span: Span,
    /// Too little was there to send.
    pub(super) app_limited: bool,
}

impl Default for RateEstimate {
    fn default() -> Self {
        Self {
            value: START_RATE,
            proven: START_RATE,
            highest: Highest::default(),
            recent: Highest::default(),
            seen: 0.0,
            from: None,
            app_limited: 0,
            filled_at: Instant::ZERO,
            judged_from: None,
            judged_after: None,
            was_lossy: false,
            cut: None,
            own_loss: 0.0,
            ceiling: MOST_RATE,
            ceiling_until: Instant::ZERO,
            ceiling_before: MOST_RATE,
        }
    }
}

impl RateEstimate {
    /// Bytes a second.
    pub(super) const fn value(&self) -> f32 {
        self.value
    }

    /// What it surely carries no more than: the rate, unless that was judged while there was too little to send.
    pub(super) const fn most(&self) -> f32 {
        self.value.max(self.proven)
    }

    /// The rate stands after a sample of which all left while there was enough to send.
    pub(super) const fn prove(&mut self) {
        self.proven = self.value;
    }

    /// What went through it lately, in bytes a second: the rate, or what there was to send, but no less than half of the rate.
    pub(super) const fn used(&self) -> f32 {
        // Not `clamp`, which panics where the bounds are not in order.
        self.seen.max(LEAST_USED * self.value).min(self.value)
    }

    /// Sets the rate, whatever was higher before.
    pub(super) fn reset(&mut self, rate: f32, now: Instant) {
        self.set(rate, now);
        self.highest.reset(now, rate);
    }

    fn set(&mut self, rate: f32, now: Instant) {
        let most = if self.is_policed(now) { self.ceiling } else { MOST_RATE };
        self.value = rate.min(most).clamp(LEAST_RATE, MOST_RATE);
    }

    /// Whether a higher rate lost too much lately.
    pub(super) fn is_policed(&self, now: Instant) -> bool {
        now < self.ceiling_until
    }

    /// Of `pace` bytes a second, what arrived is all for a while. What leaves next has this path number.
    pub(super) fn police(&mut self, pace: f32, judged: &Span, next_number: u32, now: Instant) {
        (self.judged_from, self.judged_after) = (None, Some(next_number));
        if !self.is_policed(now) {
            // What a cut of long ago was right about is of no use any more.
            (self.ceiling_before, self.cut) = (self.ceiling, None);
        }
        self.cut.get_or_insert(Cut {
            rate: self.value,
            loss: judged.loss(),
            sent: judged.sending_rate(),
            stays: 0,
        });
        // What was lost left at another pace than now; what arrived did arrive. But of a flow that pauses little arrives.
        let arrived = judged.rate().max(pace * (1.0 - judged.loss()));
        let ceiling = arrived.min(self.value);
        let is_known = (ceiling - self.ceiling_before).abs() < POLICED_ALIKE * self.ceiling_before;
        let lasts = if is_known { POLICED_AGAIN_FOR } else { POLICED_FOR };
        (self.ceiling, self.ceiling_until) = (ceiling, now + lasts);
        self.reset(ceiling, now);
    }

    /// It was not the rate that lost: it is what it was before it was cut.
    pub(super) fn acquit(&mut self, now: Instant) {
        (self.ceiling_until, self.ceiling_before) = (now, MOST_RATE);
        if let Some(cut) = self.cut.take() {
            self.reset(cut.rate.max(self.value), now);
        }
    }

    /// Bytes a second that went through the link with what it lost by itself.
    pub(super) fn carried(&self, span: &Span) -> f32 {
        span.rate() / (1.0 - self.own_loss)
    }

    /// A rate that was seen: the highest of `window` counts.
    pub(super) fn push(&mut self, rate: f32, window: Micros, now: Instant) {
        let highest = self.highest.push(window, now, rate);
        self.set(highest, now);
    }

    /// A queue stands: lowers the rate by `surplus`; but with little to send not below what arrived lately, as it may be that the way
    /// became longer.
    pub(super) fn saturate(&mut self, surplus: f32, app_limited: bool, now: Instant) {
        let least = if app_limited { SEEN_SHARE * self.seen } else { 0.0 };
        if self.value > least {
            self.reset((self.value - surplus).max(least), now);
        }
    }

    /// The next sample begins with this report, or with the next one.
    pub(super) const fn restart(&mut self, from: Option<Anchor>) {
        (self.from, self.judged_from) = (from, None);
    }

    /// Path numbers up to this one left while there was too little to send.
    pub(super) const fn limit(&mut self, number: u32) {
        self.app_limited = number;
    }

    /// The number up to which there was too little to send.
    pub(super) const fn app_limited(&self) -> u32 {
        self.app_limited
    }

    /// Whether there was enough to send lately.
    pub(super) fn is_filled(&self, now: Instant) -> bool {
        self.filled_at != Instant::ZERO && now < self.filled_at + FILLED_WITHIN
    }

    /// A report: the sample that ends with it, if it is long enough. `in_train`: packets left at once on purpose.
    pub(super) fn handle(
        &mut self,
        at: Anchor,
        shortest: f32,
        in_train: bool,
        now: Instant,
    ) -> Option<Sample> {
        let Some(from) = self.from else {
            self.from = Some(at);
            return None;
        };
        if extension::distance(from.settled, self.app_limited) > 0 {
            // It says nothing any more, but would seem to lie ahead after half the number circle.
            self.app_limited = from.settled.wrapping_sub(1);
        }
        let span = at.since(&from);
        if span.interval() < shortest || span.packets < SAMPLE_PACKETS {
            return None;
        }
        self.from = Some(at);
        self.seen = self.recent.push(SEEN_FOR, now, span.rate());
        let app_limited = extension::distance(at.settled, self.app_limited) <= 0
            || extension::distance(from.settled, self.app_limited) <= 0;
        if !app_limited {
            self.filled_at = now;
        }
        Some(Sample { span, app_limited: app_limited && !in_train })
    }

    /// A queue stood: losses since the last judgement may be its own.
    pub(super) const fn excuse(&mut self) {
        self.judged_from = None;
    }

    /// A report: what losses tell, if they tell something; judged over `shortest` microseconds at least.
    pub(super) fn judge(&mut self, at: Anchor, shortest: f32) -> Option<Losses> {
        self.judged_after = self.judged_after.filter(|first| extension::distance(at.settled, *first) < 0);
        if self.judged_after.is_some() {
            return None;
        }
        let Some(from) = self.judged_from else {
            self.judged_from = Some(at);
            return None;
        };
        let span = at.since(&from);
        if span.numbers < POLICED_PACKETS || span.interval() < shortest {
            return None;
        }
        self.judged_from = Some(at);
        let loss = span.loss();
        if loss < self.own_loss {
            self.own_loss += OWN_LOSS_GAIN * (loss - self.own_loss);
        }
        // A policer drops less when less is sent, a link does not. A flow may send what it did before, at whatever rate.
        self.cut = self.cut.filter(|cut| loss > OWN_LOSS_SHARE * cut.loss);
        if let Some(cut) = &mut self.cut
            && span.sending_rate() < (1.0 - OWN_LOSS_FALL * cut.loss) * cut.sent
        {
            cut.stays += 1;
            if cut.stays >= OWN_LOSS_STAYS {
                (self.own_loss, self.was_lossy) = (loss.min(cut.loss).min(MOST_OWN_LOSS), false);
                return Some(Losses::Link);
            }
        }
        let is_lossy = loss > self.own_loss + POLICED;
        (core::mem::replace(&mut self.was_lossy, is_lossy) && is_lossy).then_some(Losses::Policer(span))
    }
}

#[cfg(test)]
mod tests;
