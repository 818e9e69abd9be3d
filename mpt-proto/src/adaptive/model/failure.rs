//! Whether a path has stopped to deliver, by the receiver's own clock: packets that should have arrived by the time a report was
//! written, and did not.

use crate::adaptive::model::anchor::micros_between;
use crate::adaptive::model::elapsed;
use crate::adaptive::tuning::{
    ALARMED, MILESTONE_STEP, MILESTONES, MOST_ALARMS, OVERDUE, OVERDUE_PACKETS, REVIVED,
};
use crate::time::Instant;
use crate::wire::extension;

/// A path number, and the stamp of its packet.
type Milestone = (u32, u32);

/// See the module. `Default` suspects nothing.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Failure {
    /// Some of the numbers that are under way.
    milestones: heapless::Deque<Milestone, MILESTONES>,
    suspect_since: Option<Instant>,
    /// False alarms since the last true one, and when the last one was.
    #[cfg_attr(
        feature = "state",
        serde(deserialize_with = "crate::state::at_most::<{ MOST_ALARMS as u64 }, _, _>")
    )]
    alarms: u8,
    alarmed_at: Instant,
}

/// What ended a suspicion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revival {
    /// Only a burst was lost: what is heard of had left before the suspicion.
    FalseAlarm,
    /// The path had stopped, and delivers again.
    Outage,
}

impl Failure {
    /// Since when the path seems to have stopped to deliver.
    pub(super) const fn suspect_since(&self) -> Option<Instant> {
        self.suspect_since
    }

    /// Suspects the path from now on.
    pub(super) const fn suspect(&mut self, now: Instant) {
        self.suspect_since = Some(now);
    }

    /// The path came up: nothing is held against it.
    pub(super) const fn acquit(&mut self) {
        (self.suspect_since, self.alarms) = (None, 0);
    }

    /// A datagram with this number leaves.
    pub(super) fn note_sent(&mut self, number: u32, stamp: u32) {
        let spaced =
            self.milestones.back().is_none_or(|(_, sent)| stamp.wrapping_sub(*sent) >= MILESTONE_STEP);
        if spaced && !self.milestones.is_full() {
            let _ = self.milestones.push_back((number, stamp));
        }
    }

    /// All numbers up to this one arrived or were named as missing. `news`: it is a later one than before. `feedback`: time from
    /// sending to hearing of it, in microseconds.
    pub(super) fn note_settled(
        &mut self,
        acked: u32,
        news: bool,
        feedback: f32,
        now: Instant,
    ) -> Option<Revival> {
        while self.milestones.front().is_some_and(|(number, _)| extension::distance(*number, acked) <= 0) {
            self.milestones.pop_front();
        }
        if now > self.alarmed_at + ALARMED {
            self.alarms = 0;
        }
        let since = self.suspect_since.filter(|since| news && elapsed(now, *since) > REVIVED)?;
        self.suspect_since = None;
        if elapsed(now, since) < feedback {
            self.alarms = (self.alarms + 1).min(MOST_ALARMS);
            self.alarmed_at = now;
            return Some(Revival::FalseAlarm);
        }
        self.alarms = 0;
        Some(Revival::Outage)
    }

    /// Whether packets are overdue. `written`: when the report was written, as the delay against the reference of a packet sent at
    /// stamp 0; `arrived`: stamp of the latest packet that arrived, as a number that is missing holds up `acked` where packets overtake
    /// each other; `usual`: the longest delay that is usual on the path.
    pub(super) fn is_overdue(&self, written: u32, acked: u32, arrived: Option<u32>, usual: f32) -> bool {
        let late = usual + OVERDUE * f32::from(1_u8 << self.alarms);
        let third = self.milestones.iter().find(|(number, sent)| {
            extension::distance(*number, acked) >= OVERDUE_PACKETS
                && arrived.is_none_or(|arrived| micros_between(*sent, arrived) > 0.0)
        });
        third.is_some_and(|(_, sent)| micros_between(written, *sent) >= late)
    }

    /// Forgets what was under way: it is dead, or sent again elsewhere.
    pub(super) fn forget_under_way(&mut self) {
        self.milestones.clear();
    }

    #[cfg(test)]
    pub(super) const fn alarms(&self) -> u8 {
        self.alarms
    }
}

#[cfg(test)]
mod tests;
