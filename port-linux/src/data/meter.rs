//! What one path has used of its plan.

use std::time::Duration;

use mpt_proto::Instant;
use serde::{Deserialize, Serialize};

use super::DataReport;
use super::calendar::{day, next_period, period_start};
use crate::config::DataPlan;

/// People are warned from this share of the plan on, in percent.
const WARN: u64 = 80;
/// The path is used last from this share on.
const DEMOTE: u64 = 90;
/// A clock that is so much later than when data was last counted was perhaps wrong, or is now.
const LONG: u64 = 40 * 86_400;
/// Such a clock is believed when it has gone on for so long: what sets clocks has corrected it by then.
const BELIEVED_AFTER: Duration = Duration::from_secs(3600);

/// What follows from what is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing.
    #[default]
    Ok,
    /// People are warned.
    Warned,
    /// The path is used last.
    Demoted,
    /// The path is not used.
    Reached,
}

/// What is kept over restarts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Count {
    /// Bytes used.
    used: u64,
    /// Bytes that were added to the plan.
    #[serde(default)]
    added: u64,
    /// When the month began, in seconds since 1970.
    #[serde(default)]
    period: u64,
    /// When data was last counted, by the system's clock.
    seen: u64,
    /// The month before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    former: Option<Former>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Former {
    used: u64,
    added: u64,
    period: u64,
}

/// What people are told of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockNews {
    /// A month has begun.
    Renewed,
    /// The clock is so many days later than when data was last counted: the month is not begun anew for now.
    Doubted(u64),
    /// The clock has gone back into the month before: what was used then counts again.
    Restored,
}

/// See the module.
#[derive(Debug)]
pub struct Meter {
    plan: DataPlan,
    count: Count,
    /// Bytes on the path's counters at the last look.
    before: u64,
    /// Since when the clock is too late to be believed.
    doubted_at: Option<Instant>,
}

impl Meter {
    /// Goes on with what was counted, if anything was. `clock`: seconds since 1970.
    pub fn new(plan: DataPlan, count: Option<Count>, clock: u64) -> Self {
        let fresh = || Count { period: period(&plan, clock), seen: clock, ..Count::default() };
        let mut count = count.unwrap_or_else(fresh);
        if let DataPlan::Month { reset_day, .. } = plan {
            // Another day may have been configured meanwhile: the month that was counted goes on until then.
            count.period = period_start(count.period.max(count.seen.min(clock)), reset_day);
        }
        Self { plan, count, before: 0, doubted_at: None }
    }

    /// What is to be kept, if so many bytes more will be used before it is kept again.
    pub fn kept(&self, ahead: u64) -> Count {
        Count { used: self.count.used.saturating_add(ahead), ..self.count.clone() }
    }

    /// The path has carried so many bytes since it came.
    pub fn count(&mut self, total: u64) {
        // Fewer than before: it has come anew.
        let more = total.checked_sub(self.before).unwrap_or(total);
        self.before = total;
        self.count.used = self.count.used.saturating_add(more);
    }

    /// So much is used, as the provider says, in the month that the clock says it is.
    pub fn set(&mut self, bytes: u64, clock: u64) {
        let added = self.count.added;
        self.count =
            Count { used: bytes, added, period: period(&self.plan, clock), seen: clock, former: None };
        self.doubted_at = None;
    }

    /// So much was bought in addition: for good, or until the month ends.
    pub fn add(&mut self, bytes: u64) {
        self.count.added = self.count.added.saturating_add(bytes);
    }

    /// Bytes that are used, and that may be.
    pub const fn used(&self) -> (u64, u64) {
        (self.count.used, self.plan.bytes().saturating_add(self.count.added))
    }

    /// What follows from that.
    pub fn level(&self) -> Level {
        let (used, size) = self.used();
        let percent = u128::from(used) * 100 / u128::from(size.max(1));
        match u64::try_from(percent).unwrap_or(u64::MAX) {
            0..WARN => Level::Ok,
            WARN..DEMOTE => Level::Warned,
            DEMOTE..100 => Level::Demoted,
            _ => Level::Reached,
        }
    }

    /// Begins a month when it is time. `clock` is the system's, in seconds since 1970, which somebody may set; `now` is not.
    pub fn follow_clock(&mut self, clock: u64, now: Instant) -> Option<ClockNews> {
        let period = period(&self.plan, clock);
        let count = &mut self.count;
        if period > count.period {
            return self.begin(period, clock, now);
        }
        if period == count.period {
            (count.seen, self.doubted_at) = (clock, None);
            return None;
        }
        // The clock was wrong when the month began, or is wrong now, as after a start without a battery: then it changes nothing.
        let before = count.former.as_ref().map(|former| former.period)?;
        if period < before {
            return None;
        }
        if period == before {
            let former = count.former.take()?;
            count.used = count.used.saturating_add(former.used);
            count.added = count.added.saturating_add(former.added);
            (count.period, count.seen, self.doubted_at) = (period, clock, None);
            return Some(ClockNews::Restored);
        }
        // It went back into a month between both: that one goes on with the count.
        let since = *self.doubted_at.get_or_insert(now);
        if now.since(since) >= BELIEVED_AFTER {
            (count.period, count.seen, self.doubted_at) = (period, clock, None);
        }
        None
    }

    /// Another month than the one that is counted.
    fn begin(&mut self, period: u64, clock: u64, now: Instant) -> Option<ClockNews> {
        let gap = clock.saturating_sub(self.count.seen);
        if gap > LONG {
            let since = *self.doubted_at.get_or_insert(now);
            if since == now {
                return Some(ClockNews::Doubted(gap / 86_400));
            }
            if now.since(since) < BELIEVED_AFTER {
                return None;
            }
        }
        self.doubted_at = None;
        let Count { used, added, period: before, .. } = self.count;
        let former = Some(Former { used, added, period: before });
        self.count = Count { used: 0, added: 0, period, seen: clock, former };
        Some(ClockNews::Renewed)
    }

    /// For the status.
    pub fn report(&self, clock: u64) -> DataReport {
        let (used_bytes, size_bytes) = self.used();
        let (plan, renews_at) = match self.plan {
            DataPlan::Month { reset_day, .. } => {
                ("month", Some(next_period(clock.max(self.count.period), reset_day)))
            }
            DataPlan::Bucket { .. } => ("bucket", None),
        };
        DataReport { plan: plan.to_owned(), size_bytes, used_bytes, level: self.level(), renews_at }
    }

    /// The day on which the month that is counted began.
    pub fn began(&self) -> String {
        day(self.count.period)
    }
}

fn period(plan: &DataPlan, clock: u64) -> u64 {
    match plan {
        DataPlan::Month { reset_day, .. } => period_start(clock, *reset_day),
        DataPlan::Bucket { .. } => 0,
    }
}

#[cfg(test)]
mod tests;
