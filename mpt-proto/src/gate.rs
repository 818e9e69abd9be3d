//! When packets of a connection may leave: at the rate that it has, at the rate that the peer asks for, and in its turn where several
//! connections share an uplink.

use core::num::NonZeroU32;
use core::time::Duration;

use crate::limit::Limit;
use crate::time::Instant;

/// What the peer asked for holds for this long after the last report that says so: hundreds of intervals of reports.
const ASKED_FOR: Duration = Duration::from_secs(2);

/// See the module. `Default` lets everything leave.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Gate {
    /// Of inner packets.
    limit: Limit,
    /// Of datagrams with all that is around them; until then.
    asked: Limit,
    asked_until: Instant,
    /// Other connections are to send first.
    is_held: bool,
    /// Bytes a second that the turns of the connection come to; `None`: it does not wait for them.
    share: Option<NonZeroU32>,
}

impl Gate {
    /// For so many bytes of inner packets a second; zero: no limit.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit: Limit::new(limit), ..Self::default() }
    }

    /// Another limit.
    pub(crate) fn set_limit(&mut self, bytes: u64) {
        self.limit.set(bytes);
    }

    /// The peer asks for so many bytes a second at most; `None`: for whatever comes.
    pub(crate) fn ask(&mut self, bytes: Option<u32>, now: Instant) {
        self.asked.adjust(bytes.unwrap_or(0).into(), now);
        self.asked_until = now + ASKED_FOR;
    }

    /// Bytes a second that the peer asks for at most.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    pub(crate) fn asked(&self, now: Instant) -> Option<u32> {
        self.asked.rate().filter(|_| self.is_asked(now)).map(|rate| rate as u32)
    }

    fn is_asked(&self, now: Instant) -> bool {
        now < self.asked_until
    }

    /// Whether it is another connection's turn. Returns whether that is news.
    pub(crate) const fn hold(&mut self, is_held: bool) -> bool {
        let is_news = self.is_held != is_held;
        self.is_held = is_held;
        is_news
    }

    /// What the turns come to. Returns whether it differs enough to matter.
    pub(crate) fn set_share(&mut self, bytes: Option<u32>) -> bool {
        let share = bytes.map(|bytes| NonZeroU32::new(bytes).unwrap_or(NonZeroU32::MIN));
        let differs = match (self.share, share) {
            (Some(before), Some(now)) => before.get().abs_diff(now.get()) > before.get() / 4,
            (before, now) => before != now,
        };
        if differs {
            self.share = share;
        }
        differs
    }

    /// What the connection may send, in bytes a second; `None`: nothing limits it.
    pub(crate) fn rate(&self, now: Instant) -> Option<f32> {
        let asked = self.asked.rate().filter(|_| self.is_asked(now));
        [self.limit.rate(), asked, self.share.map(|share| share.get() as f32)]
            .into_iter()
            .flatten()
            .reduce(f32::min)
    }

    /// Whether a packet that is not queued passes. If it does not, it is to be dropped.
    pub(crate) fn passes(&mut self, len: usize, now: Instant) -> bool {
        self.limit.passes(len, now)
    }

    /// Whether a packet of a queue may leave.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        !self.is_held && self.limit.is_open(now) && (!self.is_asked(now) || self.asked.is_open(now))
    }

    /// Whether more waits than may leave, rather than for paths.
    pub(crate) fn is_felt(&self, now: Instant) -> bool {
        self.is_held || self.limit.is_felt(now) || self.is_asked(now) && self.asked.is_felt(now)
    }

    /// When a queue is to be looked at again; `None`: when it is its turn.
    pub(crate) fn opens_at(&self, now: Instant) -> Option<Instant> {
        let asked = if self.is_asked(now) { self.asked.opens_at(now) } else { now };
        (!self.is_held).then(|| self.limit.opens_at(now).max(asked))
    }

    /// A packet of so many bytes leaves the queue.
    pub(crate) fn charge_packet(&mut self, len: usize, now: Instant) {
        self.limit.charge(len, now);
    }

    /// A datagram leaves, of so many bytes with all that is around it.
    pub(crate) fn charge_datagram(&mut self, len: usize, now: Instant) {
        self.asked.charge(len, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(1_000_000 + millis * 1000)
    }

    /// Bytes that leave in a second of a queue that never ends, when the rate that is asked for changes each 10 ms between these.
    fn leaves(asked: [u32; 2]) -> u64 {
        let (mut gate, mut left) = (Gate::default(), 0);
        for milli in 0..1000u64 {
            if milli % 10 == 0 {
                gate.ask(Some(asked[usize::from(milli % 20 == 0)]), at(milli));
            }
            while gate.is_open(at(milli)) {
                gate.charge_datagram(1500, at(milli));
                left += 1500;
            }
        }
        left
    }

    #[test]
    fn what_the_peer_asks_for_holds_however_often_it_changes_and_is_forgotten_when_it_reports_no_more() {
        assert!((1_000_000..1_015_000).contains(&leaves([1_000_000; 2])), "{}", leaves([1_000_000; 2]));
        let changes = leaves([900_000, 1_100_000]);
        assert!((980_000..1_030_000).contains(&changes), "{changes}");

        let mut gate = Gate::default();
        gate.ask(Some(1_000), at(0));
        (0..100).for_each(|_| gate.charge_datagram(1500, at(0)));
        assert!(!gate.is_open(at(1_999)) && gate.is_felt(at(1_999)));
        assert_eq!((gate.asked(at(1_999)), gate.rate(at(0))), (Some(1_000), Some(1_000.0)));
        assert!(gate.is_open(at(2_000)) && !gate.is_felt(at(2_000)) && gate.rate(at(2_000)).is_none());
        assert_eq!((gate.asked(at(2_000)), gate.opens_at(at(2_000))), (None, Some(at(2_000))));
        gate.ask(Some(1_000), at(2_100));
        gate.ask(None, at(2_100));
        assert!(gate.is_open(at(2_100)) && gate.asked(at(2_100)).is_none());
    }

    #[test]
    fn who_waits_for_a_turn_has_no_time_at_which_the_gate_opens() {
        let mut gate = Gate::new(0);
        gate.hold(true);
        assert!(!gate.is_open(at(0)) && gate.is_felt(at(0)) && gate.opens_at(at(0)).is_none());
        assert!(gate.set_share(Some(1_000)) && !gate.set_share(Some(1_200)) && gate.set_share(Some(1_300)));
        assert_eq!(gate.rate(at(0)), Some(1_300.0));
        gate.hold(false);
        assert!(gate.set_share(None) && !gate.set_share(None));
        assert!(gate.is_open(at(0)) && gate.rate(at(0)).is_none());
    }
}
