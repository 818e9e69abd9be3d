//! Whether a path carries ECN marks as they are sent (RFC 9000 section 13.4.2).
//!
//! Some hops drop packets that are ECN-capable, some clear the marks, some mark everything. So the outer header has the marks of
//! the inner one (RFC 6040 section 4.1, normal mode) only while a path is known to carry them, and none otherwise (compatibility
//! mode). The test is a probe that leaves right behind a regular one, marked ECT(0); its echo tells how it arrived. Tests are
//! sent only while packets with marks want the path.
//!
//! | finding | after |
//! |---|---|
//! | carried | one test that arrived as ECT(0) or CE, or whose echo comes from a version that does not tell |
//! | `Lost` | [`MOST_LOST`] tests in a row that were not answered, although the regular probe before each was |
//! | `Cleared` | one test that arrived with other marks |
//! | `AllMarked` | [`MOST_MARKED`] tests in a row that arrived as CE |

use crate::ecn::Ecn;
use crate::time::{Instant, Micros};

/// What is wrong with the ECN marks on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub enum EcnFault {
    /// Datagrams that are ECN-capable do not arrive.
    Lost,
    /// They arrive with other marks than they left with, and not for congestion.
    Cleared,
    /// All of them arrive marked as having met congestion.
    AllMarked,
}

/// Lost tests in a row that make the fault: 5, which at 10 % of loss happen once in 100,000 tests by chance.
const MOST_LOST: u8 = 5;
/// Marked tests in a row that make the fault: 10, as many as RFC 9000 appendix A.4 tests a new path with. No queue
/// management marks everything for that long.
const MOST_MARKED: u8 = 10;
/// How long an echo may take: 3 s, more than the fullest queue of a path that is of use.
const WAIT: Micros = Micros(3_000_000);
/// Between two tests of a path that carries marks: 2 s, so that a route that changes is noticed after three regular probes.
const EACH: Micros = Micros(2_000_000);
/// Until a path with a fault is tested again: a minute, as routes and faulty hops seldom change.
const RETRY: Micros = Micros(60_000_000);
/// What is known of one path. Small, as a connection has 16.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct EcnCheck {
    /// Stamp of until when the test that is under way may be answered, or else of when the next one may leave. A stamp takes half of
    /// what a time does.
    at: u32,
    is_testing: bool,
    /// The regular probe before the test was answered.
    is_paired: bool,
    /// Packets with marks left since the last regular probe, or would have.
    is_wanted: bool,
    is_proven: bool,
    fault: Option<EcnFault>,
    /// What was last told by an event.
    told: Option<EcnFault>,
    /// Tests in a row that were lost.
    lost: u8,
    /// Tests in a row that arrived as CE.
    marked: u8,
}

impl EcnCheck {
    /// The marks that a packet with these gets on the path.
    pub(crate) fn outer(&mut self, inner: Ecn) -> Ecn {
        self.is_wanted |= inner != Ecn::NotEct;
        let is_carried = self.is_proven && self.fault.is_none() && self.lost == 0;
        if is_carried { inner } else { Ecn::NotEct }
    }

    /// A regular probe leaves, with the time as its stamp. Whether a test is to leave behind it, with [`stamp`](Self::stamp).
    pub(crate) fn test(&mut self, now: Instant) -> bool {
        let is_wanted = core::mem::take(&mut self.is_wanted);
        if !self.is_due(now) {
            return false;
        }
        if core::mem::take(&mut self.is_testing) && self.is_paired {
            self.note_lost(now);
        }
        if !self.is_due(now) || !is_wanted {
            return false;
        }
        self.at = (now + WAIT).stamp();
        (self.is_testing, self.is_paired) = (true, false);
        true
    }

    /// The stamp of the test that is to leave, or is under way: 1 us before the regular probe's, so that the echoes can be told
    /// apart and no round trip seems negative.
    pub(crate) fn stamp(&self) -> u32 {
        self.at.wrapping_sub(WAIT.0).wrapping_sub(1)
    }

    /// An echo came of a probe that arrived with these marks; `None`: the peer does not tell.
    pub(crate) fn handle_echo(&mut self, stamp: u32, arrived: Option<Ecn>, now: Instant) {
        if !self.is_testing {
            return;
        }
        if stamp != self.stamp() {
            self.is_paired |= stamp == self.stamp().wrapping_add(1);
            return;
        }
        self.is_testing = false;
        self.lost = 0;
        self.marked = if arrived == Some(Ecn::Ce) { self.marked.saturating_add(1) } else { 0 };
        self.fault = match arrived {
            Some(Ecn::NotEct | Ecn::Ect1) => Some(EcnFault::Cleared),
            _ if self.marked >= MOST_MARKED => Some(EcnFault::AllMarked),
            _ => None,
        };
        self.is_proven |= self.fault.is_none();
        let wait = match (self.fault, self.marked) {
            (Some(_), _) => RETRY,
            (None, 0) => EACH,
            (None, _) => Micros(0),
        };
        self.at = (now + wait).stamp();
    }

    fn note_lost(&mut self, now: Instant) {
        self.lost = self.lost.saturating_add(1);
        if self.lost >= MOST_LOST {
            self.fault = Some(EcnFault::Lost);
            self.at = (now + RETRY).stamp();
        }
    }

    /// Whether that time has come: it never lies further ahead than [`RETRY`].
    const fn is_due(&self, now: Instant) -> bool {
        let ahead = self.at.wrapping_sub(now.stamp());
        ahead == 0 || ahead > RETRY.0
    }

    /// The path starts anew, perhaps over other hops.
    pub(crate) fn restart(&mut self) {
        *self = Self { told: self.told, is_wanted: self.is_wanted, ..Self::default() };
    }

    /// The fault, if it is another than was told before. A path that starts anew takes nothing back until it is proven.
    pub(crate) fn news(&mut self) -> Option<Option<EcnFault>> {
        let is_known = self.is_proven || self.fault.is_some();
        let is_news = is_known && self.told != self.fault;
        is_news.then(|| {
            self.told = self.fault;
            self.fault
        })
    }
}

#[cfg(test)]
mod tests;
