//! Unordered packets are delivered as they come, but each of them once.

use crate::reorder::History;
use crate::seq::Seq;

/// See the module.
#[derive(Debug)]
pub(crate) struct Once {
    next: Seq,
    started: bool,
    history: History,
}

impl Default for Once {
    fn default() -> Self {
        Self { next: Seq::ZERO, started: false, history: History::new() }
    }
}

impl Once {
    /// Whether this number comes for the first time. Of a number too far back to tell only the first sending counts.
    pub(crate) fn take(&mut self, seq: Seq, resent: bool) -> bool {
        if !self.started {
            self.started = true;
            self.next = seq;
        }
        if let Some(ahead) = seq.ahead_of(self.next) {
            self.history.skip(ahead);
            self.history.push();
            self.next = seq + 1;
            return true;
        }
        let back = self.next.ahead_of(seq).unwrap_or(usize::MAX);
        match self.history.was_delivered(back) {
            Some(true) => false,
            Some(false) => {
                self.history.mark(back);
                true
            }
            None => !resent,
        }
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
    }

    #[test]
    fn what_lies_too_far_back_is_taken_unless_it_was_sent_again() {
        let mut once = Once::default();
        assert!(once.take(Seq::from_u32(1), false));
        assert!(once.take(Seq::from_u32(100_000), false));
        assert!(once.take(Seq::from_u32(2), false));
        assert!(!once.take(Seq::from_u32(3), true));
    }
}
