//! Why a path carries no more than it does, in a word.

use core::fmt;

use crate::adaptive::model::phase::Phase;

/// Why a path carries no more than it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LimitedBy {
    /// Nothing was reported of it yet.
    #[default]
    Unmeasured,
    /// It delivers nothing: it seems to have stopped, or is down.
    Outage,
    /// Its delay does not fit that of the others for packets that are kept in order.
    Delay,
    /// What exceeds a rate is dropped on the way.
    Policer,
    /// It competes with flows that keep the link's queue full.
    OtherTraffic,
    /// Less is sent for a moment, until a queue on the way is gone.
    Queue,
    /// Paths of a lower tier carry all that there is.
    Tier,
    /// Less is there to send than it could carry.
    Application,
    /// What it was measured to carry is sent.
    Bandwidth,
}

impl LimitedBy {
    /// The words that people are shown; they are stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unmeasured => "not measured yet",
            Self::Outage => "outage",
            Self::Delay => "delay",
            Self::Policer => "policer",
            Self::OtherTraffic => "other traffic",
            Self::Queue => "draining a queue",
            Self::Tier => "tier",
            Self::Application => "application",
            Self::Bandwidth => "bandwidth",
        }
    }
}

impl fmt::Display for LimitedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the paths together say of one.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::adaptive) struct Place {
    /// Others carry ordered packets, and it does not.
    pub(in crate::adaptive) is_closed: bool,
    /// Others that do are of a lower tier.
    pub(in crate::adaptive) is_spare: bool,
}

/// What is known of a path that bears on what it carries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signs {
    pub(super) is_suspect: bool,
    pub(super) is_down: bool,
    pub(super) is_reported: bool,
    pub(super) is_policed: bool,
    /// There was enough to send lately.
    pub(super) is_filled: bool,
    pub(super) phase: Phase,
    pub(super) place: Place,
}

impl Signs {
    /// What counts of all that is true: what a path cannot do before what is not asked of it.
    pub(super) fn limited_by(&self) -> LimitedBy {
        let by_precedence = [
            (self.is_suspect || self.is_down && self.is_reported, LimitedBy::Outage),
            (!self.is_reported, LimitedBy::Unmeasured),
            (self.place.is_closed, LimitedBy::Delay),
            (self.is_policed, LimitedBy::Policer),
            (self.phase == Phase::Compete, LimitedBy::OtherTraffic),
            (self.phase == Phase::Drain, LimitedBy::Queue),
            (!self.is_filled && self.place.is_spare, LimitedBy::Tier),
            (!self.is_filled, LimitedBy::Application),
        ];
        let first = by_precedence.into_iter().find(|(holds, _)| *holds);
        first.map_or(LimitedBy::Bandwidth, |(_, by)| by)
    }
}

#[cfg(test)]
mod tests;
