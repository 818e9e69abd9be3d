//! How much work strangers may cause: handshakes per second, with and without a cookie, in all and for each host.

use core::time::Duration;

use mpt_proto::Instant;

use crate::hash::keyed;
use crate::keys::Secret;
use crate::limits::{
    CHECKS_PER_HANDSHAKE, HANDSHAKES_PER_SECOND, LOAD_LASTS, ONE_WITHOUT_COOKIE_OF, PER_SOURCE_AT_ONCE,
    PER_SOURCE_PER_SECOND,
};
use crate::mac::Source;

/// A row of the table of hosts that have proven that they receive what is sent to them; lent to [`Storage`](crate::Storage).
#[derive(Debug, Clone, Copy, Default)]
pub struct SourceSlot {
    /// When the allowance of the hosts of this row would be full again.
    full_at: Instant,
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

/// The counts of one second.
struct Share {
    /// Handshakes per second.
    limit: u16,
    second: Instant,
    checks: u32,
    handshakes: u16,
    without_cookie: u16,
    cookie_replies: u16,
    loaded_until: Instant,
}

impl Share {
    const fn new(limit: u16) -> Self {
        Self {
            limit,
            second: Instant::ZERO,
            checks: 0,
            handshakes: 0,
            without_cookie: 0,
            cookie_replies: 0,
            loaded_until: Instant::ZERO,
        }
    }

    fn turn(&mut self, now: Instant) {
        if now.since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            (self.checks, self.handshakes, self.without_cookie, self.cookie_replies) = (0, 0, 0, 0);
        }
    }

    /// Whether one more mac1 may be looked at, which then is counted.
    fn check(&mut self) -> bool {
        let may = self.checks < CHECKS_PER_HANDSHAKE * u32::from(self.limit);
        self.checks += u32::from(may);
        may
    }

    /// Whether one more handshake may be, which then is counted.
    fn handshake(&mut self) -> bool {
        let may = self.handshakes < self.limit;
        self.handshakes += u16::from(may);
        may
    }

    fn without_cookie(&mut self, now: Instant) -> Verdict {
        if self.without_cookie >= self.limit.div_ceil(ONE_WITHOUT_COOKIE_OF) {
            self.loaded_until = now + LOAD_LASTS;
        }
        if now >= self.loaded_until {
            self.without_cookie += 1;
            return Verdict::Take;
        }
        // A cookie reply costs as much as it saves when there are more.
        let may = self.cookie_replies < self.limit;
        self.cookie_replies += u16::from(may);
        if may { Verdict::AskForCookie } else { Verdict::Drop }
    }
}

/// The counts of this second, and the table of hosts.
pub(crate) struct Budget<'s> {
    sources: &'s mut [SourceSlot],
    /// Nobody else knows which hosts share a row.
    secret: Secret,
    strangers: Share,
    /// Of initiations from the remote address of a peer's path.
    known: Share,
}

impl<'s> Budget<'s> {
    /// Nothing was spent. Without any row for sources, who has a cookie counts in all alone. `secret` is random.
    pub(crate) fn new(sources: &'s mut [SourceSlot], secret: [u8; 32]) -> Self {
        sources.fill(SourceSlot::default());
        Self {
            sources,
            secret: Secret::from_bytes(secret),
            strangers: Share::new(HANDSHAKES_PER_SECOND),
            known: Share::new(HANDSHAKES_PER_SECOND),
        }
    }

    /// From now on so many handshakes per second.
    pub(crate) fn limit(&mut self, per_second: u16) {
        (self.strangers.limit, self.known.limit) = (per_second, per_second);
    }

    /// Whether the mac1 of another initiation may be looked at. `is_known` as below.
    pub(crate) fn check(&mut self, is_known: bool, now: Instant) -> bool {
        let share = if is_known { &mut self.known } else { &mut self.strangers };
        share.turn(now);
        share.check()
    }

    /// An initiation whose mac1 is right. `has_cookie`: and its mac2, for this source. `is_known`: it came from where a path of a peer
    /// is; strangers do not spend what is for these.
    pub(crate) fn initiation(
        &mut self,
        source: &Source,
        has_cookie: bool,
        is_known: bool,
        now: Instant,
    ) -> Verdict {
        let may = !has_cookie || self.host_may(source, now);
        let share = if is_known { &mut self.known } else { &mut self.strangers };
        share.turn(now);
        match (has_cookie, may) {
            (false, _) => share.without_cookie(now),
            (true, true) if share.handshake() => Verdict::Take,
            (true, _) => Verdict::Drop,
        }
    }

    /// Whether a host has something left of its allowance, of which then a part is spent. Hosts whose row is the same share one
    /// allowance, so that nobody gets another one by taking turns with a second address.
    fn host_may(&mut self, source: &Source, now: Instant) -> bool {
        const PART: Duration = Duration::from_micros(1_000_000 / PER_SOURCE_PER_SECOND as u64);
        let hash = u128::from_be_bytes(keyed(self.secret.as_bytes(), &[source.host()]));
        let row = hash.checked_rem(self.sources.len() as u128).and_then(|row| usize::try_from(row).ok());
        let Some(slot) = row.and_then(|row| self.sources.get_mut(row)) else { return true };
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
    use crate::testing::times;
    use std::vec;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(60_000_000 + ms * 1000)
    }

    /// An IPv6 address by its first bytes, a port and the socket 0.
    fn source(network: u32, host: u8, port: u16) -> Source {
        let mut bytes = [0; 20];
        bytes[..2].copy_from_slice(&[0x20, 0x01]);
        bytes[4..8].copy_from_slice(&network.to_be_bytes());
        bytes[15] = host;
        bytes[16..18].copy_from_slice(&port.to_be_bytes());
        Source(bytes)
    }

    fn ipv4(last: u8, port: u16) -> Source {
        let mut bytes = [0; 20];
        bytes[10..16].copy_from_slice(&[0xff, 0xff, 192, 0, 2, last]);
        bytes[16..18].copy_from_slice(&port.to_be_bytes());
        Source(bytes)
    }

    #[test]
    fn more_initiations_without_a_cookie_than_a_few_hundred_a_second_must_get_one() {
        let mut rows = vec![SourceSlot::default(); 16];
        let mut budget = Budget::new(&mut rows, [1; 32]);
        let (one, two, three) = (source(1, 1, 1), source(2, 1, 1), source(3, 1, 1));
        for _ in 0..HANDSHAKES_PER_SECOND / ONE_WITHOUT_COOKIE_OF {
            assert_eq!(budget.initiation(&one, false, false, at(0)), Verdict::Take);
        }
        for _ in 0..HANDSHAKES_PER_SECOND {
            assert_eq!(budget.initiation(&two, false, false, at(900)), Verdict::AskForCookie);
        }
        assert_eq!(budget.initiation(&two, false, false, at(999)), Verdict::Drop);
        assert_eq!(budget.initiation(&two, false, false, at(1500)), Verdict::AskForCookie, "load lasts");
        assert_eq!(budget.initiation(&two, true, false, at(1500)), Verdict::Take);
        assert_eq!(budget.initiation(&three, false, false, at(2500)), Verdict::Take, "it is over");
    }

    #[test]
    fn a_flood_is_dropped_unread_but_for_a_part_and_the_paths_of_peers_have_their_own() {
        let mut rows = vec![SourceSlot::default(); 16];
        let mut budget = Budget::new(&mut rows, [1; 32]);
        let checked = (0..300_000).filter(|_| budget.check(false, at(0))).count();
        assert_eq!(checked, 20_000);
        assert!(budget.check(true, at(0)) && budget.check(false, at(1000)));
    }

    #[test]
    fn a_controller_computes_as_many_handshakes_as_it_says_and_never_none() {
        let mut budget = Budget::new(&mut [], [1; 32]);
        budget.limit(1);
        let mut taken = |has_cookie, from: u64| {
            let take = |ms: u64| {
                budget.check(false, at(ms))
                    && budget.initiation(&source(1, 1, 1), has_cookie, false, at(ms)) == Verdict::Take
            };
            (from..from + 10_000).map(take).filter(|taken| *taken).count()
        };
        // One, then load, in which cookies are asked for.
        assert!((1..=10).contains(&taken(false, 0)));
        assert_eq!(taken(true, 10_000), 10);
    }

    #[test]
    fn a_flood_of_strangers_spends_nothing_of_what_is_for_the_paths_of_peers() {
        let mut budget = Budget::new(&mut [], [1; 32]);
        for _ in 0..times(10_000, 2500) {
            budget.initiation(&source(1, 1, 1), false, false, at(0));
            budget.initiation(&source(1, 1, 1), true, false, at(0));
        }
        assert_eq!(budget.initiation(&source(2, 1, 1), false, false, at(0)), Verdict::Drop);
        assert_eq!(budget.initiation(&source(2, 1, 1), true, false, at(0)), Verdict::Drop);
        assert_eq!(budget.initiation(&source(2, 1, 1), false, true, at(0)), Verdict::Take);
        assert_eq!(budget.initiation(&source(2, 1, 1), true, true, at(0)), Verdict::Take);
    }

    #[test]
    fn a_host_with_a_cookie_has_five_at_once_and_twenty_a_second_whatever_its_port() {
        let mut rows = vec![SourceSlot::default(); 1024];
        let mut budget = Budget::new(&mut rows, [1; 32]);
        let mut taken = |source: &dyn Fn(u8) -> Source, from: u64| {
            let take = |ms: u64| {
                let source = source(u8::try_from(ms % 256).unwrap());
                budget.initiation(&source, true, false, at(from + ms)) == Verdict::Take
            };
            (0..1000).map(take).filter(|taken| *taken).count()
        };
        let of_one_host: [&dyn Fn(u8) -> Source; 2] =
            [&|number| ipv4(7, number.into()), &|number| source(1, number, number.into())];
        for one in of_one_host {
            let first = taken(one, 0);
            assert!((24..=25).contains(&first), "{first}");
        }
        assert!(taken(&|number| ipv4(number, 1), 0) > 500, "hosts count one by one");
        assert!(taken(&|number| source(number.into(), 1, 1), 2000) > 500, "and so do networks");
    }

    #[test]
    fn two_hosts_in_one_row_have_no_more_than_one() {
        let mut rows = vec![SourceSlot::default(); 1];
        let mut budget = Budget::new(&mut rows, [1; 32]);
        let take = |number: u8| budget.initiation(&ipv4(number % 2, 1), true, false, at(0)) == Verdict::Take;
        assert_eq!((0..100).map(take).filter(|taken| *taken).count(), PER_SOURCE_AT_ONCE.into());
    }

    #[test]
    fn with_cookies_of_many_hosts_there_is_an_end_too() {
        let mut rows = vec![SourceSlot::default(); 4096];
        let mut budget = Budget::new(&mut rows, [1; 32]);
        let mut taken = 0;
        for number in 0..3000u32 {
            taken += u16::from(budget.initiation(&source(number, 1, 1), true, false, at(5)) == Verdict::Take);
        }
        assert_eq!(taken, HANDSHAKES_PER_SECOND);
    }
}
