//! How much work strangers may cause: handshakes per second, with and without a cookie, in all and for each source.

use core::time::Duration;

use mpt_proto::Instant;

use crate::limits::{
    COOKIE_REPLIES_PER_SECOND, HANDSHAKES_PER_SECOND, LOAD_LASTS, PER_SOURCE_AT_ONCE, PER_SOURCE_PER_SECOND,
    WITHOUT_COOKIE_PER_SECOND,
};
use crate::mac::Source;

/// A row of the table of sources that have proven that they receive what is sent there; lent to [`Storage`](crate::Storage).
#[derive(Debug, Clone, Copy)]
pub struct SourceSlot {
    source: Source,
    /// When its allowance would be full again.
    full_at: Instant,
}

impl Default for SourceSlot {
    fn default() -> Self {
        Self { source: Source([0; 20]), full_at: Instant::ZERO }
    }
}

/// What may be done with an initiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may cost what it costs.
    Take,
    /// Its sender is to show first that it receives what is sent to it.
    AskForCookie,
    /// It is to be dropped.
    Drop,
}

/// The counts of this second, and the table of sources.
pub(crate) struct Budget<'s> {
    sources: &'s mut [SourceSlot],
    second: Instant,
    handshakes: u16,
    without_cookie: u16,
    cookie_replies: u16,
    loaded_until: Instant,
}

impl<'s> Budget<'s> {
    /// Nothing was spent. Without any row for sources, who has a cookie counts in all alone.
    pub(crate) fn new(sources: &'s mut [SourceSlot]) -> Self {
        sources.fill(SourceSlot::default());
        Self {
            sources,
            second: Instant::ZERO,
            handshakes: 0,
            without_cookie: 0,
            cookie_replies: 0,
            loaded_until: Instant::ZERO,
        }
    }

    /// An initiation whose mac1 is right; `has_cookie`: and its mac2, for this source.
    pub(crate) fn initiation(&mut self, source: &Source, has_cookie: bool, now: Instant) -> Verdict {
        self.turn(now);
        if has_cookie {
            let may = self.source_may(source, now) && self.handshakes < HANDSHAKES_PER_SECOND;
            self.handshakes += u16::from(may);
            return if may { Verdict::Take } else { Verdict::Drop };
        }
        if self.without_cookie >= WITHOUT_COOKIE_PER_SECOND {
            self.loaded_until = now + LOAD_LASTS;
        }
        if now >= self.loaded_until {
            self.without_cookie += 1;
            self.handshakes += 1;
            return Verdict::Take;
        }
        let may = self.cookie_replies < COOKIE_REPLIES_PER_SECOND;
        self.cookie_replies += u16::from(may);
        if may { Verdict::AskForCookie } else { Verdict::Drop }
    }

    /// Whether a response may be taken: nobody has one but to a handshake of ours.
    pub(crate) fn response(&mut self, now: Instant) -> bool {
        self.turn(now);
        let may = self.handshakes < HANDSHAKES_PER_SECOND;
        self.handshakes += u16::from(may);
        may
    }

    fn turn(&mut self, now: Instant) {
        if now.since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            (self.handshakes, self.without_cookie, self.cookie_replies) = (0, 0, 0);
        }
    }

    /// Whether a source has something left of its allowance, of which then a part is spent.
    fn source_may(&mut self, source: &Source, now: Instant) -> bool {
        const PART: Duration = Duration::from_micros(1_000_000 / PER_SOURCE_PER_SECOND as u64);
        let hash = source.0.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let rows = self.sources.len() as u64;
        let row = hash.checked_rem(rows).and_then(|row| usize::try_from(row).ok());
        let Some(slot) = row.and_then(|row| self.sources.get_mut(row)) else { return true };
        if slot.source != *source {
            *slot = SourceSlot { source: *source, full_at: now };
        }
        let full_at = slot.full_at.max(now) + PART;
        let may = full_at.since(now) <= PART * u32::from(PER_SOURCE_AT_ONCE);
        if may {
            slot.full_at = full_at;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(60_000_000 + ms * 1000)
    }

    fn source(port: u8) -> Source {
        Source([port; 20])
    }

    #[test]
    fn more_initiations_without_a_cookie_than_a_few_hundred_a_second_must_get_one() {
        let mut rows = vec![SourceSlot::default(); 16];
        let mut budget = Budget::new(&mut rows);
        for _ in 0..WITHOUT_COOKIE_PER_SECOND {
            assert_eq!(budget.initiation(&source(1), false, at(0)), Verdict::Take);
        }
        for _ in 0..COOKIE_REPLIES_PER_SECOND {
            assert_eq!(budget.initiation(&source(2), false, at(900)), Verdict::AskForCookie);
        }
        assert_eq!(budget.initiation(&source(2), false, at(999)), Verdict::Drop);
        assert_eq!(budget.initiation(&source(2), false, at(1500)), Verdict::AskForCookie, "load lasts");
        assert_eq!(budget.initiation(&source(2), true, at(1500)), Verdict::Take);
        assert_eq!(budget.initiation(&source(3), false, at(2500)), Verdict::Take, "it is over");
    }

    #[test]
    fn a_source_with_a_cookie_has_five_at_once_and_twenty_a_second() {
        let mut rows = vec![SourceSlot::default(); 16];
        let mut budget = Budget::new(&mut rows);
        let taken = |budget: &mut Budget<'_>, from: u64| {
            (0..1000).filter(|ms| budget.initiation(&source(1), true, at(from + ms)) == Verdict::Take).count()
        };
        let first = taken(&mut budget, 0);
        assert!((24..=25).contains(&first), "{first}");
        assert_eq!(budget.initiation(&source(2), true, at(500)), Verdict::Take, "another is not its concern");
    }

    #[test]
    fn with_cookies_of_many_sources_there_is_an_end_too() {
        let mut rows = vec![SourceSlot::default(); 4096];
        let mut budget = Budget::new(&mut rows);
        let mut taken = 0;
        for number in 0..3000u32 {
            let mut address = [7; 20];
            address[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
            taken += u16::from(budget.initiation(&Source(address), true, at(5)) == Verdict::Take);
        }
        assert_eq!(taken, HANDSHAKES_PER_SECOND);
        assert!(!budget.response(at(6)));
        assert!(budget.response(at(1005)));
    }
}
