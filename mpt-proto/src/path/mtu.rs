//! What a path carries beyond its first hop: datagram packetization layer path MTU discovery (RFC 8899), small.
//!
//! A path is first taken to carry what its interface does, which mostly is right, and a padded probe of that size shows it within a
//! round trip. If a hop in between drops such probes without a word, the largest size that passes is searched by halving. Packets that
//! do not fit take other paths meanwhile, or are split. ICMP is not needed, nor believed.
//!
//! A size that passes must not be taken for one that does not. So a small probe leaves just before each padded one. That the padded
//! one stayed away counts only once the small one was answered: a path that is dead, has no route or loses all says nothing about
//! sizes. A queue that is nearly full drops large datagrams and takes small ones. So it counts less where the small one took much longer
//! than the path's shortest round trip.

use core::time::Duration;

use crate::time::{Instant, Micros};

/// Evidence against a size, from which on it counts as too large: five probes that stayed away on an idle path. RFC 8899 section 5.1.2
/// has three; five are lost by chance once a day where one datagram in ten is lost each way.
const TOO_LARGE: u8 = 5 * AWAY;
/// Evidence of a padded probe that stayed away though the small one came back soon, and of one that came back late.
const AWAY: u8 = 3;
const AWAY_IN_QUEUE: u8 = 1;
/// A small probe comes back late after this many of the shortest round trips and this time: noise is less.
const LATE: (u32, Micros) = (2, millis(20));
/// Bounds of the time in which the padded probe's echo may follow that of the small one, which is half a round trip: networks reorder by
/// less. On a slow link the padded one takes longer; but its echo comes before that of the next small one, and is taken whenever it comes.
const GRACE: (Micros, Micros) = (millis(30), millis(500));
/// The search ends when the answer is known to so many bytes: less than one packet in a hundred is won by more.
const GRAIN: u16 = 8;
/// Between two looks at whether the size that was found still passes, while packets flow: a quiet connection whose packets no report tells
/// of, as under other policies than adaptive, then finds out within ten seconds.
const CONFIRM: Micros = millis(10_000);
/// Until the first search for a larger size, when the one that was found is smaller than the interface's, and the longest time between
/// later ones: each vain one doubles it. RFC 8899 section 5.1.1 has ten minutes for PMTU_RAISE_TIMER. A search costs some 40 kB.
const RAISE: (Micros, Micros) = (millis(60_000), millis(16 * 60_000));
/// Bounds of the first wait for an echo, which is three round trips: a probe stands in the queue behind packets. Each that is in vain
/// doubles it.
const WAIT: (Micros, Micros) = (millis(200), millis(1000));
/// The longest wait for an echo: a queue may hold some seconds on a link that became slow.
const LONGEST_WAIT: Micros = millis(4000);
/// Doublings of the wait: the shortest is beyond the longest after these.
const MOST_DOUBLINGS: u8 = 5;

/// Bytes between two looks from which on the path counts as in use: two full packets. Signs of life of an idle path are fewer.
const IN_USE: u64 = 3 << 10;

const fn millis(millis: u32) -> Micros {
    Micros(millis * 1000)
}

const fn times(span: Micros, factor: u32) -> Micros {
    Micros(span.0.saturating_mul(factor))
}

/// The search for the size of datagrams that one path carries, as a state machine without I/O. Sizes are UDP payloads in bytes.
///
/// Its owner tells it what became of the path ([`resume`](Self::resume), [`pause`](Self::pause), [`restart`](Self::restart)), calls
/// [`handle_timeout`](Self::handle_timeout) when [`deadline`](Self::deadline) has come, and sends what that returns: a small probe
/// and behind it one that is padded to the size. Each probe carries a stamp that nobody can guess; the peer's echoes bring the stamps
/// back to [`handle_echo`](Self::handle_echo). [`max_datagram`](Self::max_datagram) is the answer at any time.
//
// `least <= passes < fails`, where `passes` is proven or `least`, and `fails` is disproved or beyond the ceiling.
#[derive(Debug)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct PathMtu {
    least: u16,
    ceiling: u16,
    passes: u16,
    fails: u16,
    /// Whether the ceiling was found to be too large since the last restart, and not to pass after that.
    disproved: bool,
    /// The size that is being tried.
    candidate: u16,
    /// Evidence against it.
    against: u8,
    /// The stamp of the padded probes of the candidate. All have the same, so that an echo that comes after the next one has left shows
    /// as well that the size passes: where a queue holds more than the longest wait, each comes so late.
    stamp: Option<u32>,
    /// That of the candidate before: its echoes still come.
    former: Option<u32>,
    small: Small,
    /// The shortest round trip of the path since it came up.
    shortest: Option<Micros>,
    /// When the padded probe counts as lost, the next ones are to leave, or the next look is due; `None`: the path is down.
    deadline: Option<Instant>,
    /// When a larger size may be searched, and the time to the one after that.
    raise: Instant,
    raise_wait: Micros,
    /// A look was asked for, also at a path that is not in use.
    asked: bool,
    /// Bytes that had been sent on the path at the last look.
    sent_before: u64,
}

/// The small probes that leave with the padded ones.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
struct Small {
    /// The stamp, and when the first with it left. Those that follow have the same until it is answered.
    under_way: Option<(u32, Instant)>,
    /// That of the one before.
    former: Option<u32>,
    /// Waits for it in vain, in a row.
    vain: u8,
    /// It was answered: what it counts if the padded one stays away.
    answered: Option<u8>,
}

impl PathMtu {
    /// A path with an interface for datagrams of `ceiling` bytes, and of `least` in any case.
    pub(crate) fn new(least: u16, ceiling: u16) -> Self {
        let mut search = Self {
            least: least.min(ceiling),
            ceiling,
            passes: 0,
            fails: 0,
            disproved: false,
            candidate: 0,
            against: 0,
            stamp: None,
            former: None,
            small: Small::default(),
            shortest: None,
            deadline: None,
            raise: Instant::ZERO,
            raise_wait: RAISE.0,
            asked: false,
            sent_before: 0,
        };
        search.reset();
        search
    }

    fn reset(&mut self) {
        self.passes = self.least;
        self.fails = self.ceiling.saturating_add(1);
        self.disproved = false;
        self.raise_wait = RAISE.0;
        self.shortest = None;
        self.look_at(self.ceiling);
    }

    fn look_at(&mut self, candidate: u16) {
        self.candidate = candidate;
        self.against = 0;
        self.former = self.stamp.take().or(self.former);
        self.forget_small();
    }

    /// The small probe under way is answered, or of no use any more.
    fn forget_small(&mut self) {
        let stamp = self.small.under_way.map(|(stamp, _)| stamp);
        self.small = Small { former: stamp.or(self.small.former), ..Small::default() };
    }

    /// The path came up, perhaps over other hops. What was found too large before is tried again later.
    pub(crate) fn resume(&mut self, now: Instant) {
        if self.disproved {
            self.look_at(self.passes);
            self.shortest = None;
            (self.raise, self.raise_wait) = (now, RAISE.0);
            self.deadline = Some(now);
        } else {
            self.restart(self.ceiling, now);
        }
    }

    /// The interface has another MTU: all is open again.
    pub(crate) fn restart(&mut self, ceiling: u16, now: Instant) {
        self.ceiling = ceiling;
        self.least = self.least.min(ceiling);
        self.reset();
        self.deadline = Some(now);
    }

    /// The path is down: nothing can be learnt.
    pub(crate) fn pause(&mut self) {
        self.look_at(self.candidate);
        self.deadline = None;
    }

    /// Large packets are lost on the path: it is to be looked at now whether the size that was found still passes.
    pub(crate) fn doubt(&mut self, now: Instant) {
        if self.is_settled() && self.deadline.is_some() {
            self.asked = true;
            if self.stamp.is_none() {
                self.deadline = Some(now);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do. `None`: it is paused.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The stamps that the next small and the next padded probe are to have, if they are not to be new ones.
    pub(crate) fn stamps(&self) -> (Option<u32>, Option<u32>) {
        (self.small.under_way.map(|(stamp, _)| stamp), self.stamp)
    }

    /// Time has passed; `sent` bytes have been sent on the path so far. Returns the size of the padded probe that is to be sent now, behind
    /// a small one, and to be told to [`handle_sent`](Self::handle_sent).
    pub(crate) fn handle_timeout(&mut self, sent: u64, now: Instant) -> Option<u16> {
        self.deadline.filter(|deadline| *deadline <= now)?;
        if self.is_settled() && self.stamp.is_none() && self.small.answered.is_none() {
            let is_used = sent.saturating_sub(core::mem::replace(&mut self.sent_before, sent)) >= IN_USE;
            if self.passes < self.ceiling && self.raise <= now && !self.asked {
                self.fails = self.ceiling.saturating_add(1);
                self.look_at(self.ceiling);
            } else if !is_used && !self.asked {
                self.rest(now);
                return None;
            }
        }
        if let Some(evidence) = self.small.answered {
            self.forget_small();
            self.against = self.against.saturating_add(evidence);
            if self.against >= TOO_LARGE {
                self.handle_too_large(now);
                self.deadline.filter(|deadline| *deadline <= now)?;
            }
        }
        Some(self.candidate)
    }

    /// A small probe and a padded one have left, with these stamps; `rtt` is the path's round-trip time.
    pub(crate) fn handle_sent(&mut self, (small, stamp): (u32, u32), rtt: Option<Duration>, now: Instant) {
        self.stamp = Some(stamp);
        if self.small.under_way.is_none() {
            self.small.under_way = Some((small, now));
        }
        let rtt = rtt.map(Micros::from);
        self.shortest = self.shortest.into_iter().chain(rtt).min();
        let wait = rtt.map_or(WAIT.1, |rtt| times(rtt, 3).clamp(WAIT.0, WAIT.1));
        self.deadline = Some(now + times(wait, 1 << self.small.vain.min(MOST_DOUBLINGS)).min(LONGEST_WAIT));
        self.small.vain = self.small.vain.saturating_add(1);
    }

    /// Of the bytes that are sent on the path, so many are those of a padded probe: they are no use of the path.
    pub(crate) fn discount(&mut self, bytes: u16) {
        self.sent_before = self.sent_before.saturating_add(bytes.into());
    }

    /// The padded probe could not leave, for another reason than its size: neither that nor the small one says anything.
    pub(crate) fn handle_unsent(&mut self, now: Instant) {
        if self.stamp.is_some() {
            self.forget_small();
            self.deadline = Some(now + WAIT.1);
        }
    }

    /// The padded probe could not leave, as the interface does not take its size.
    pub(crate) fn handle_refused(&mut self, now: Instant) {
        if self.stamp.is_some() {
            self.small.answered = Some(TOO_LARGE);
            self.deadline = Some(now);
        }
    }

    /// An echo came; whether it was one of ours.
    pub(crate) fn handle_echo(&mut self, stamp: u32, now: Instant) -> bool {
        if let Some((small, since)) = self.small.under_way.filter(|(small, _)| *small == stamp) {
            if self.small.answered.is_none() {
                self.handle_small(now.since(since).into(), now);
            }
            return small == stamp;
        }
        if self.stamp != Some(stamp) {
            return self.former == Some(stamp) || self.small.former == Some(stamp);
        }
        self.handle_passed(now);
        true
    }

    /// A datagram of `size` bytes is known to have arrived lately.
    pub(crate) fn handle_carried(&mut self, size: u16, now: Instant) {
        if self.stamp.is_some() && size >= self.candidate {
            self.handle_passed(now);
        }
    }

    /// The small probe came back after `round`: the padded one may still follow for a moment.
    fn handle_small(&mut self, round: Micros, now: Instant) {
        let shortest = self.shortest.map_or(round, |shortest| shortest.min(round));
        self.shortest = Some(shortest);
        let is_late = round.0 > times(shortest, LATE.0).0.saturating_add(LATE.1.0);
        self.small.answered = Some(if is_late { AWAY_IN_QUEUE } else { AWAY });
        self.deadline = Some(now + Micros(round.0 / 2).clamp(GRACE.0, GRACE.1));
    }

    /// The candidate passes.
    fn handle_passed(&mut self, now: Instant) {
        if self.is_settled() {
            self.look_at(self.passes);
            self.rest(now);
            return;
        }
        self.passes = self.candidate;
        if self.passes == self.ceiling {
            (self.disproved, self.raise_wait) = (false, RAISE.0);
        }
        self.go_on(now);
    }

    /// Largest datagram that may be sent now: what passes, or the interface's size until that is disproved.
    pub(crate) fn max_datagram(&self) -> u16 {
        if self.disproved { self.passes } else { self.ceiling }
    }

    /// Whether what passes is known as well as it is going to be.
    pub(crate) fn is_settled(&self) -> bool {
        self.candidate == self.passes && self.fails.saturating_sub(self.passes) <= GRAIN
    }

    /// Whether it is known, and nothing is being looked at.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.is_settled() && self.stamp.is_none() && !self.asked
    }

    fn handle_too_large(&mut self, now: Instant) {
        self.fails = self.candidate.max(self.least.saturating_add(1));
        self.disproved = true;
        if self.passes >= self.fails {
            // What once passed does not any more.
            self.passes = self.least;
        }
        self.go_on(now);
    }

    fn go_on(&mut self, now: Instant) {
        if self.fails.saturating_sub(self.passes) <= GRAIN {
            self.look_at(self.passes);
            if self.passes < self.ceiling {
                self.raise = now + self.raise_wait;
                self.raise_wait = times(self.raise_wait, 2).min(RAISE.1);
            }
            self.rest(now);
        } else {
            self.look_at(self.passes.midpoint(self.fails));
            self.deadline = Some(now);
        }
    }

    /// Nothing is to be done until the next look.
    fn rest(&mut self, now: Instant) {
        self.asked = false;
        let confirm = now + CONFIRM;
        self.deadline =
            Some(if self.passes < self.ceiling { confirm.min(self.raise.max(now)) } else { confirm });
    }
}

#[cfg(test)]
mod tests;
