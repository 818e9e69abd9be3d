//! Unordered packets are delivered as they come, but each of them once.

use crate::reorder::History;
use crate::seq::Seq;

/// A quarter of the number circle.
const FORGOTTEN: i32 = 1 << 30;

/// See the module.
#[derive(Debug)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Once {
    next: Seq,
    started: bool,
    /// Of 8,192 numbers.
    history: History<256>,
    /// The last number that came by being sent again.
    repaired: Option<Seq>,
    /// Numbers below `next` that did not come.
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    missing: u64,
}

impl Default for Once {
    fn default() -> Self {
        Self { next: Seq::ZERO, started: false, history: History::new(), repaired: None, missing: 0 }
    }
}

impl Once {
    /// Whether this number comes for the first time. Of a number too far back to tell only the first sending counts, and
    /// that only if no number from there on was repaired.
    pub(crate) fn take(&mut self, seq: Seq, resent: bool) -> bool {
        if !self.started {
            self.started = true;
            self.next = seq;
        }
        if let Some(ahead) = seq.ahead_of(self.next) {
            self.missing += ahead as u64;
            self.history.skip(ahead);
            self.history.push();
            self.next = seq + 1;
            self.note_repair(seq, resent);
            return true;
        }
        let back = self.next.ahead_of(seq).unwrap_or(usize::MAX);
        let is_new = match self.history.was_delivered(back) {
            Some(true) => false,
            Some(false) => {
                self.history.mark(back);
                true
            }
            None => !resent && self.repaired.is_none_or(|last| seq.distance_from(last) > 0),
        };
        self.note_repair(seq, resent && is_new);
        self.missing = self.missing.saturating_sub(u64::from(is_new));
        is_new
    }

    fn note_repair(&mut self, seq: Seq, repaired: bool) {
        // Left behind, it would seem to lie ahead after half the number circle.
        self.repaired = self.repaired.filter(|last| self.next.distance_from(*last) < FORGOTTEN);
        if repaired && self.repaired.is_none_or(|last| seq.distance_from(last) > 0) {
            self.repaired = Some(seq);
        }
    }

    /// Numbers that did not come until now.
    pub(crate) const fn missing(&self) -> u64 {
        self.missing
    }

    /// The peer starts anew; what did not come from the former one stays counted.
    pub(crate) fn restart(&mut self) {
        *self = Self { missing: self.missing, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_taken_once_in_whatever_order_they_come() {
        let mut once = Once::default();
        let numbers = [5u32, 7, 6, 5, 7, 8, 6, 4, 4];
        let taken = numbers.map(|number| once.take(Seq::from_u32(number), false));
        assert_eq!(taken, [true, true, true, false, false, true, false, true, false]);
        assert_eq!(once.missing(), 0);
    }

    #[test]
    fn what_does_not_come_is_missing_until_it_comes() {
        let mut once = Once::default();
        assert!(once.take(Seq::from_u32(5), false) && once.take(Seq::from_u32(9), false));
        assert_eq!(once.missing(), 3);
        assert!(once.take(Seq::from_u32(7), true));
        assert_eq!(once.missing(), 2);
        once.restart();
        assert!(once.take(Seq::from_u32(1), false) && once.take(Seq::from_u32(3), false));
        assert_eq!(once.missing(), 3, "of both peers");
    }

    #[test]
    fn what_lies_too_far_back_is_taken_unless_it_was_sent_again() {
        let mut once = Once::default();
        assert!(once.take(Seq::from_u32(1), false));
        assert!(once.take(Seq::from_u32(100_000), false));
        assert!(once.take(Seq::from_u32(2), false));
        assert!(!once.take(Seq::from_u32(3), true));
    }

    #[test]
    fn the_first_sending_of_what_was_repaired_is_not_taken_however_late_it_comes() {
        let mut once = Once::default();
        assert!(once.take(Seq::from_u32(1), false) && once.take(Seq::from_u32(3), false));
        assert!(once.take(Seq::from_u32(2), true));
        assert!(once.take(Seq::from_u32(100_000), false));
        assert!(!once.take(Seq::from_u32(2), false));
        assert!(once.take(Seq::from_u32(4), false), "nothing after the repair was sent again");
    }
}
