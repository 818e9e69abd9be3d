//! The model of a path: how fast it is, how long it takes, and how it is probed for more.
//!
//! The rate is what the receiver says arrived, at its highest over some round trips, like BBR
//! (draft-cardwell-iccrg-bbr-congestion-control). Unlike there a rising delay is believed at once: when a queue stands,
//! what arrives *is* the capacity. Loss alone says nothing. A sample taken while there was too little to send can raise
//! the rate but not lower it, so that an idle path is not misjudged. How that makes the path probe is in [`phases`].

mod highest;
mod phases;

use core::time::Duration;

use crate::time::{Instant, Micros};
use crate::wire::extension;
use crate::wire::report::PathReport;

use highest::Highest;
pub use phases::Phase;

/// Rate that a path starts with, in bytes a second: 10 Mbit/s. Less makes the slow start of TCP end early.
pub(super) const START_RATE: f32 = 1_250_000.0;
/// Never less than this: 160 kbit/s, so that a path that was misjudged can show what it does.
const LEAST_RATE: f32 = 20_000.0;
/// Never more than this, whatever reports claim: 32 Gbit/s.
const MOST_RATE: f32 = 4e9;
/// The base delay is the least of this long, and half as much again: long enough to meet an empty queue, short
/// enough that two clocks that drift apart by 200 ppm differ by 2 ms.
const BASE_WINDOW: Duration = Duration::from_secs(5);
/// Bounds of the time between two probes for more.
const PROBE_PERIOD: (f32, f32) = (500_000.0, 2_000_000.0);
/// Numbers sent, and when: for the failure test.
const MILESTONES: usize = 16;
const MILESTONE_STEP: u32 = 4_000;
/// Tokens that may gather while there is something to send: a burst of a millisecond.
const BURST_NANOS: u64 = 1_000_000;
/// And when packets waited because the caller came late, as on a busy machine: what the target of the queue allows for.
const LATE_NANOS: u64 = 4_000_000;
/// Bulk takes a path when a run has gathered: what the path carries in so much time, or as much as leaves in one call. Below
/// 15 Mbit/s that is a packet.
const RUN_NANOS: u64 = 750_000;
const RUN_BYTES: u64 = 60_000;
/// Packets that may leave on a path beyond what it is known to hold.
const SLACK_PACKETS: f32 = 8.0;
/// No packet is on the way for longer, in microseconds, nor larger.
const LONGEST_FEEDBACK: u32 = 60_000_000;
const LARGEST: u64 = 65_535 + extension::OUTER as u64;
/// Failure test: a packet is overdue this long after it should have arrived; twice as long after a false alarm, so many times.
const OVERDUE: f32 = 15_000.0;
const MOST_ALARMS: u8 = 2;
/// They are forgotten after so long.
const ALARMED: Duration = Duration::from_secs(60);

/// Where a measurement began: what had arrived by then.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    stamp: u32,
    arrived: u32,
    bytes: u32,
    packets: u32,
    settled: u32,
}

/// See the module. Rates are bytes a second; times are microseconds unless they are an [`Instant`]; delays are
/// relative to the connection's reference, as the clocks' offset is not known.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) tier: u8,
    /// Of the next datagram with an extension header.
    pub(super) number: u32,
    /// The receiver has settled all before and this one.
    pub(super) acked: u32,
    /// What the receiver has counted.
    arrived_bytes: u32,
    arrived_packets: u32,
    /// Mean bytes of a datagram.
    mean_len: f32,
    /// Numbers up to this one were sent while there was too little to send.
    limit: u32,
    pub(super) rate: f32,
    gain: f32,
    phase: Phase,
    phase_since: Instant,
    highest: Highest,
    base: Option<f32>,
    /// Least delay of the last window and of this one, and when this one began: the base delay is the least of both.
    bases: [Option<f32>; 2],
    base_since: Instant,
    jitter: f32,
    /// Least and mean queueing delay.
    queue_least: f32,
    pub(super) queue: f32,
    /// Mean queueing delay of the last report alone.
    queue_now: f32,
    /// From sending to hearing of it.
    pub(super) feedback: f32,
    sample: Option<Anchor>,
    quick: Option<Anchor>,
    /// Startup: rate of the best round, rounds without growth, reports with a queue.
    full: f32,
    flat_rounds: u8,
    queued_reports: u8,
    /// Cruise: how long, rate before the last probe, slow mean.
    period: f32,
    rate_before: f32,
    stable: f32,
    /// Rate when the queue was last empty; since when the path competes or last lost something then, and losses by then.
    rate_empty: f32,
    yielded: Instant,
    lost_before: u32,
    /// Rate before the brake was pulled, and when.
    before_brake: f32,
    braked: Option<Instant>,
    may_restart: bool,
    empty_at: Instant,
    /// Since the last datagram left, it was the path that stood still, not the caller.
    was_full: bool,
    /// When the next datagram may leave, in nanoseconds.
    next: u64,
    /// Nanoseconds a byte at the current rate and gain, times 1,024.
    cost: u32,
    /// When something last left that tells the receiver how far the ordered sequence is.
    pub(super) last_ordered: Instant,
    /// The last ordered packet's number.
    pub(super) ordered_number: u32,
    pub(super) suspect: Option<Instant>,
    /// False alarms of the failure test since the last true one, and when the last one was.
    pub(super) alarms: u8,
    alarmed_at: Instant,
    pub(super) down: Option<Instant>,
    milestones: heapless::Deque<(u32, u32), MILESTONES>,
    lost: u32,
    /// Datagrams of the train that have not left, and its last number until that is settled.
    train: u32,
    train_end: Option<u32>,
    pub(super) reported: bool,
    reported_at: Instant,
}

impl Default for Model {
    fn default() -> Self {
        let mut model = Self {
            tier: 0,
            number: 1,
            acked: 0,
            arrived_bytes: 0,
            arrived_packets: 0,
            mean_len: 1_400.0,
            limit: 0,
            rate: START_RATE,
            gain: 2.0,
            phase: Phase::Startup,
            phase_since: Instant::ZERO,
            highest: Highest::default(),
            base: None,
            bases: [None; 2],
            base_since: Instant::ZERO,
            jitter: 0.0,
            queue_least: 0.0,
            queue: 0.0,
            queue_now: 0.0,
            feedback: 50_000.0,
            sample: None,
            quick: None,
            full: 0.0,
            flat_rounds: 0,
            queued_reports: 0,
            period: PROBE_PERIOD.0,
            rate_before: MOST_RATE,
            stable: 0.0,
            rate_empty: 0.0,
            yielded: Instant::ZERO,
            lost_before: 0,
            before_brake: 0.0,
            braked: None,
            may_restart: false,
            empty_at: Instant::ZERO,
            was_full: false,
            next: 0,
            cost: 0,
            last_ordered: Instant::ZERO,
            ordered_number: 0,
            suspect: None,
            alarms: 0,
            alarmed_at: Instant::ZERO,
            down: None,
            milestones: heapless::Deque::new(),
            lost: 0,
            train: 0,
            train_end: None,
            reported: false,
            reported_at: Instant::ZERO,
        };
        model.set_gain(2.0);
        model
    }
}

#[allow(clippy::cast_possible_wrap, reason = "a difference of stamps")]
fn span(later: u32, earlier: u32) -> f32 {
    later.wrapping_sub(earlier) as i32 as f32
}

/// Nanoseconds; a time that does not fit stays the latest.
const fn nanos(now: Instant) -> u64 {
    now.as_micros().saturating_mul(1000)
}

fn elapsed(now: Instant, since: Instant) -> f32 {
    now.micros_since(since) as f32
}

impl Model {
    /// The base delay, once known.
    pub(super) const fn base(&self) -> Option<f32> {
        self.base
    }

    pub(super) const fn jitter(&self) -> f32 {
        self.jitter
    }

    /// Whether data may take it.
    pub(super) const fn is_alive(&self) -> bool {
        self.suspect.is_none() && self.down.is_none()
    }

    /// Microseconds until a datagram may leave, by the pace alone.
    // On small machines, where code is dear, it is there once.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn wait(&self, now: Instant) -> u64 {
        self.next.saturating_sub(nanos(now)) / 1000
    }

    /// Whether a run of bulk may begin.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        let run = ((RUN_BYTES * u64::from(self.cost)) >> 10).min(RUN_NANOS);
        self.next.saturating_add(run) <= nanos(now) && !self.is_full()
    }

    /// Whether a run that has begun may go on.
    pub(super) fn takes_more(&self, now: Instant) -> bool {
        self.next <= nanos(now) && !self.is_full()
    }

    /// Whether as much is on the way as can be unless it is dead.
    // As above.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn is_full(&self) -> bool {
        let round = self.feedback + 25_000.0;
        let most = self.rate * self.gain.max(1.0) * round * 1.25e-6 / self.mean_len + SLACK_PACKETS;
        let on_the_way = extension::distance(self.number, self.acked) - 1;
        on_the_way as f32 > most
    }

    /// A datagram leaves.
    pub(super) fn handle_sent(&mut self, len: usize, now: Instant) -> u32 {
        let number = self.number;
        self.mean_len += (len as f32 - self.mean_len) / 16.0;
        let was_idle = extension::distance(self.limit, number) >= -1;
        let is_late = !was_idle && !core::mem::take(&mut self.was_full);
        let credit = if is_late { LATE_NANOS } else { BURST_NANOS };
        let earliest = nanos(now).saturating_sub(credit);
        if is_late && self.next < earliest {
            // The caller came late, and the path stood still: what arrives tells how busy this machine is.
            self.handle_idle();
        }
        self.next = self.next.max(earliest).saturating_add((len as u64 * u64::from(self.cost)) >> 10);
        let spaced =
            self.milestones.back().is_none_or(|(_, sent)| now.stamp().wrapping_sub(*sent) >= MILESTONE_STEP);
        if spaced && !self.milestones.is_full() {
            let _ = self.milestones.push_back((number, now.stamp()));
        }
        self.number = number.wrapping_add(1);
        self.train = self.train.saturating_sub(1);
        self.was_full = self.is_full();
        number
    }

    /// There is nothing more to send now, though the path would take it.
    pub(super) const fn handle_idle(&mut self) {
        self.limit = self.number.wrapping_sub(1);
    }

    /// The peer or the path starts anew: what was measured is forgotten. The numbers go on: the other end may know
    /// nothing of it, and would take a sequence that begins again for stragglers.
    pub(super) fn reset(&mut self) {
        let before = self.number.wrapping_sub(1);
        *self = Self {
            tier: self.tier,
            down: self.down,
            number: self.number,
            acked: before,
            limit: before,
            ordered_number: before,
            ..Self::default()
        };
    }

    /// Takes in a report, written at `written` of the receiver's clock. `delay` is the least delay against the
    /// reference. `None`: it claims what cannot be; `Some(false)`: it is older than what is known.
    pub(super) fn handle_report(
        &mut self,
        report: &PathReport,
        written: u32,
        delay: f32,
        backlog: bool,
        now: Instant,
        random: f32,
    ) -> Option<bool> {
        let news = extension::distance(report.settled, self.acked);
        let acked = self.acked.wrapping_add_signed(news);
        if extension::distance(acked, self.number) >= 0 {
            return None;
        }
        let bytes = report.bytes.wrapping_sub(self.arrived_bytes);
        let packets = report.packets.wrapping_sub(self.arrived_packets);
        let age = now.stamp().wrapping_sub(report.stamp);
        if news < 0 {
            return Some(false);
        }
        let recounts = bytes > u32::MAX / 2 || packets > u32::MAX / 2;
        if age > LONGEST_FEEDBACK || !recounts && u64::from(bytes) > u64::from(packets) * LARGEST {
            return None;
        }
        if recounts {
            // The receiver began to count anew.
            (self.sample, self.quick) = (None, None);
        }
        (self.arrived_bytes, self.arrived_packets) = (report.bytes, report.packets);
        self.acked = acked;
        if extension::distance(self.ordered_number, acked) < 0 {
            // Left behind, it would seem to lie ahead after half the number circle.
            self.ordered_number = acked;
        }
        while self.milestones.front().is_some_and(|(number, _)| extension::distance(*number, acked) <= 0) {
            self.milestones.pop_front();
        }
        if news > 0
            && let Some(since) = self.suspect.filter(|since| elapsed(now, *since) > 20_000.0)
        {
            self.revive(since, now);
        }
        if now > self.alarmed_at + ALARMED {
            self.alarms = 0;
        }
        self.feedback += 0.2 * (age as f32 - self.feedback);
        if !self.reported {
            self.reported = true;
            self.feedback = age as f32;
        }
        self.jitter += 0.1 * (report.jitter as f32 - self.jitter);
        self.note_delay(delay, report.excess as f32, now);
        let anchor = Anchor {
            stamp: report.stamp,
            arrived: written.wrapping_sub(report.age),
            bytes: report.bytes,
            packets: report.packets,
            settled: acked,
        };
        self.estimate(anchor, backlog, now, random);
        self.was_full |= self.is_full();
        self.reported_at = now;
        Some(true)
    }

    fn note_delay(&mut self, delay: f32, excess: f32, now: Instant) {
        if self.phase != Phase::Compete && elapsed(now, self.base_since) > BASE_WINDOW.as_micros() as f32 {
            self.bases = [self.bases[1], None];
            self.base_since = now;
        }
        let [before, current] = &mut self.bases;
        let least = current.map_or(delay, |least| least.min(delay));
        *current = Some(least);
        let base = before.map_or(least, |before| before.min(least));
        self.base = Some(base);
        self.queue_least = delay - base;
        self.queue_now = delay + excess - base;
        self.queue += 0.3 * (self.queue_now - self.queue);
        if self.queue_least < self.target() {
            self.empty_at = now;
            self.rate_empty = self.rate;
        }
    }

    /// Whether the path has stopped to deliver: by the time `written` on the receiver's clock, given as the delay
    /// against the reference of a packet sent at stamp 0, three packets and more should have arrived since the last.
    pub(super) fn is_overdue(&self, written_less_reference: u32) -> bool {
        let Some(base) = self.base() else { return false };
        let grace = base
            + 1.5 * self.queue.max(self.queue_least)
            + 4.0 * self.jitter
            + OVERDUE * f32::from(1_u8 << self.alarms);
        let third = self.milestones.iter().find(|(number, _)| extension::distance(*number, self.acked) >= 3);
        third.is_some_and(|(_, sent)| span(written_less_reference, *sent) >= grace)
    }

    /// Without reports nothing is known of what is under way: it does not count against the path.
    pub(super) const fn forgive(&mut self) {
        self.acked = self.number.wrapping_sub(1);
    }

    /// The next `count` numbers leave at once, so that a thin path shows.
    pub(super) const fn begin_train(&mut self, count: u32) {
        self.train = count;
        self.train_end = Some(self.number.wrapping_add(count).wrapping_sub(1));
    }

    /// Whether what leaves next belongs to the train.
    pub(super) const fn is_in_train(&self) -> bool {
        self.train > 0
    }

    /// Forgets what was under way: it is dead, or sent again elsewhere.
    pub(super) fn forget_milestones(&mut self) {
        self.milestones.clear();
    }

    /// Datagrams that did not arrive.
    pub(super) const fn lost(&self) -> u32 {
        self.lost
    }

    pub(super) const fn handle_lost(&mut self) {
        self.lost = self.lost.wrapping_add(1);
    }

    /// Nothing of the bulk may take the path now: what it carries does not tell what it could.
    pub(super) const fn handle_closed(&mut self) {
        self.limit = self.number;
    }

    /// Whether ordered packets are under way.
    pub(super) const fn carries_ordered(&self) -> bool {
        extension::distance(self.ordered_number, self.acked) > 0
    }

    /// How long so many bytes take, in microseconds.
    pub(super) const fn time_of(&self, bytes: usize) -> u64 {
        ((bytes as u64 * self.cost as u64) >> 10) / 1000
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn micros(value: f32) -> Micros {
    Micros(value as u32)
}

#[cfg(test)]
mod tests;
