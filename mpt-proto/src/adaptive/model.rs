//! The model of a path: how fast it is, how long it takes, and how it is probed for more.
//!
//! It is made of parts that know nothing of each other: [`pacer`] (when the next datagram may leave), [`noise`] and [`delay`] (the
//! base delay, its deviation, the queue), [`rate`] (bytes a second), [`failure`] (has it stopped?), and [`phase`], which decides by
//! what they say what is sent to find out more, and puts their estimates right. [`trial`] is what a path answered to a phase.
//! [`Model::handle_report`] is the only place where they meet. The numbers are in [`tuning`](super::tuning).

mod anchor;
mod delay;
mod failure;
mod highest;
mod limited_by;
mod noise;
mod pacer;
mod phase;
mod rate;
mod sizes;
mod trial;

use crate::adaptive::News;
use crate::adaptive::common_delay::PathDelay;
use crate::adaptive::tuning::{
    BURST_NOISE, FEEDBACK_GAIN, GROWS, IN_FLIGHT, LONGEST_FEEDBACK, LONGEST_SAMPLE, MARKER, NAMED_DEBT,
    OVERDUE_NOISE, OVERDUE_QUEUE, OWN_NOISE, POLICED_SCATTER, POLICED_TIME, PROBE_GAIN, PROBE_NOISE,
    PROBE_TIME, QUANTUM, QUEUE_PACKETS, RATE_ROUNDS, RATE_SAMPLES, RATE_WINDOW, REPORTED_LATER,
    REPORTED_NOISE, SAMPLE, SAMPLE_NOISE, SAMPLE_PACKETS, SATURATED_GAIN, SCATTER_OF_JITTER, SIGNAL_BYTES,
    SIGNAL_SHARE, SLACK_PACKETS, STANDS, STARTUP_NOISE, STARTUP_SAMPLE, THIN,
};
use crate::feedback;
use crate::time::{Instant, Micros};
use crate::wire::extension;
use crate::wire::report::{self, PathReport};

pub(super) use anchor::Trip;
use anchor::{Anchor, Clocks};
use delay::DelayEstimate;
use failure::{Failure, Revival};
pub use limited_by::LimitedBy;
pub(super) use limited_by::Place;
use limited_by::Signs;
use pacer::Pacer;
pub use phase::Phase;
use phase::{Phases, Signal};
use rate::{Losses, RateEstimate};
pub(super) use sizes::Sizes;

/// Bytes of the largest datagram.
const LARGEST: u64 = 65_535 + extension::OUTER as u64;

/// See the module. Rates are bytes a second; times are microseconds unless they are an [`Instant`]; delays are
/// relative to the connection's reference, as the clocks' offset is not known.
#[derive(Debug)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Model {
    pub(super) tier: u8,
    /// Since when the path is down; `None`: it is up.
    pub(super) down: Option<Instant>,
    /// Of the next datagram with an extension header.
    pub(super) number: u32,
    /// The receiver has settled all before and this one.
    pub(super) acked: u32,
    /// When a loss was last reported.
    pub(super) lost_at: Option<Instant>,
    /// When a packet with a deadline last found it silent.
    pub(super) silent_at: Option<Instant>,
    /// The last ordered packet's number.
    ordered_number: u32,
    /// When something last left that tells the receiver how far the ordered sequence is.
    pub(super) last_ordered: Instant,
    /// When a report last left on it.
    pub(super) last_report: Instant,
    /// What the receiver has counted, modulo 2^32.
    arrived_bytes: u32,
    arrived_packets: u32,
    /// Mean bytes of a datagram.
    mean_len: f32,
    /// Packets that were kept and did not arrive, as reports named them.
    lost: u32,
    missing: Missing,
    /// Packets that left on it and had left before, on whichever path.
    pub(super) resent: u32,
    /// Since the last datagram left, it was the path that stood still, not the caller.
    was_full: bool,
    /// Mean time from sending to hearing of it.
    pub(super) feedback: f32,
    /// Standard deviation of the delay of packets that leave together.
    scatter: f32,
    latest: Option<Anchor>,
    clocks: Clocks,
    reported_at: Option<Instant>,
    /// Datagrams of the train that have not left, and its last number until that is settled.
    train: u32,
    train_end: Option<u32>,
    pacer: Pacer,
    delay: DelayEstimate,
    rate: RateEstimate,
    phases: Phases,
    failure: Failure,
    pub(super) sizes: Sizes,
}

/// Time between signs of life or reports at which they take no more than their share of so many bytes a second, where that is longer than
/// they pause anyhow; or else nothing.
pub(super) fn signal_time(rate: f32) -> Micros {
    let time = SIGNAL_SHARE * SIGNAL_BYTES * 1e6 / rate;
    if time > MARKER.as_micros() as f32 { micros(time) } else { Micros(0) }
}

/// Datagrams that did not arrive, of all that have a number: also those that were not kept, as they do not leave again.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
struct Missing {
    /// How many, as far as it is known.
    told: u32,
    /// Arrivals whose numbers were not settled yet, or were counted here before they came.
    ahead: u32,
}

impl Missing {
    /// Most of `ahead`: reports say so much ahead of what they settle. More is a receiver that counts otherwise.
    const MOST_AHEAD: u32 = 4096;

    /// A report: so many more numbers are settled, and so many more datagrams have arrived.
    fn handle(&mut self, settled: u32, arrived: u32) {
        let arrived = self.ahead.saturating_add(arrived);
        self.told = self.told.wrapping_add(settled.saturating_sub(arrived));
        self.ahead = arrived.saturating_sub(settled).min(Self::MOST_AHEAD);
    }
}

impl Default for Model {
    fn default() -> Self {
        let mut model = Self {
            tier: 0,
            down: None,
            number: 1,
            acked: 0,
            lost_at: None,
            silent_at: None,
            ordered_number: 0,
            last_ordered: Instant::ZERO,
            last_report: Instant::ZERO,
            arrived_bytes: 0,
            arrived_packets: 0,
            mean_len: 1_400.0,
            lost: 0,
            missing: Missing::default(),
            resent: 0,
            was_full: false,
            feedback: 50_000.0,
            scatter: 0.0,
            latest: None,
            clocks: Clocks::default(),
            reported_at: None,
            train: 0,
            train_end: None,
            pacer: Pacer::default(),
            delay: DelayEstimate::default(),
            rate: RateEstimate::default(),
            phases: Phases::default(),
            failure: Failure::default(),
            sizes: Sizes::default(),
        };
        model.set_pace(Instant::ZERO);
        model
    }
}

/// What a full packet takes to leave at `rate` bytes a second, in microseconds.
pub(super) fn packet_time(rate: f32) -> f32 {
    f32::from(QUANTUM) * 1e6 / rate
}

/// Microseconds from one moment to a later one.
const fn elapsed(now: Instant, since: Instant) -> f32 {
    now.micros_since(since) as f32
}

impl Model {
    /// The delay without a queue, once known.
    pub(super) const fn base(&self) -> Option<f32> {
        self.delay.base()
    }

    /// What the common delay needs to know; `None`: nothing was measured yet.
    pub(super) fn path_delay(&self) -> Option<PathDelay> {
        Some(PathDelay {
            base: self.base()? + self.delay.thinness(),
            deviation: self.deviation(),
            queue: self.queue(),
            rate: self.rate(),
            feedback: self.feedback,
            unusable_since: self.down.or(self.suspect_since()),
        })
    }

    /// Standard deviation of the delay of single packets, without a queue.
    pub(super) const fn deviation(&self) -> f32 {
        self.delay.deviation().max(self.scatter)
    }

    /// What the queue on it adds to the delay; 0 and more.
    pub(super) const fn queue(&self) -> f32 {
        self.delay.queue().smoothed.max(0.0)
    }

    /// Bytes a second that it carries.
    pub(super) const fn rate(&self) -> f32 {
        self.rate.value()
    }

    /// See [`signal_time`]: by what the path carries.
    pub(super) fn signal_time(&self) -> Micros {
        signal_time(self.rate.most())
    }

    /// What is sent to find that out.
    pub(super) const fn phase(&self) -> Phase {
        self.phases.phase()
    }

    /// Why it carries no more.
    pub(super) fn limited_by(&self, place: Place, now: Instant) -> LimitedBy {
        let signs = Signs {
            is_suspect: self.suspect_since().is_some(),
            is_down: self.down.is_some(),
            is_reported: self.is_reported(),
            is_policed: self.rate.is_policed(now),
            is_filled: self.rate.is_filled(now),
            phase: self.phase(),
            place,
        };
        signs.limited_by()
    }

    /// Datagrams that did not arrive.
    pub(super) const fn missing(&self) -> u32 {
        self.missing.told
    }

    /// Since when it seems to have stopped to deliver.
    pub(super) const fn suspect_since(&self) -> Option<Instant> {
        self.failure.suspect_since()
    }

    /// Whether data may take it.
    pub(super) const fn is_alive(&self) -> bool {
        self.failure.suspect_since().is_none() && self.down.is_none()
    }

    /// Whether a report of it ever came.
    pub(super) const fn is_reported(&self) -> bool {
        self.reported_at.is_some()
    }

    /// Microseconds until a datagram may leave, by the pace alone.
    pub(super) fn wait(&self, now: Instant) -> u64 {
        self.pacer.wait(now)
    }

    /// Whether a run of bulk may begin.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.pacer.is_ready(now) && !self.is_full()
    }

    /// Whether a run that has begun may go on.
    pub(super) fn takes_more(&self, now: Instant) -> bool {
        self.pacer.takes_more(now) && !self.is_full()
    }

    /// Whether as much is on the way as can be unless it is dead.
    // On small machines, where code is dear, it is there once.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn is_full(&self) -> bool {
        let round = self.feedback + REPORTED_LATER + REPORTED_NOISE * self.deviation();
        let pace = self.rate.value() * self.phases.gain().max(1.0);
        let most = pace * round * 1e-6 * IN_FLIGHT / self.mean_len + SLACK_PACKETS;
        let on_the_way = extension::distance(self.number, self.acked) - 1;
        on_the_way as f32 > most
    }

    /// How long `bytes` take, in microseconds.
    pub(super) const fn time_of(&self, bytes: usize) -> u64 {
        self.pacer.time_of(bytes)
    }

    /// A datagram leaves. Returns its path number.
    pub(super) fn handle_sent(&mut self, len: usize, now: Instant) -> u32 {
        let number = self.number;
        self.mean_len += (len as f32 - self.mean_len) / 16.0;
        let was_idle = extension::distance(self.rate.app_limited(), number) >= -1;
        let may_be_late = !was_idle && !core::mem::take(&mut self.was_full);
        if self.pacer.handle_sent(len, may_be_late, now) {
            // The caller came late, and the path stood still: what arrives tells how busy this machine is.
            self.handle_idle();
        }
        self.failure.note_sent(number, now.stamp());
        self.number = number.wrapping_add(1);
        self.train = self.train.saturating_sub(1);
        self.was_full = self.is_full();
        number
    }

    /// What left was not asked whether it was its turn.
    pub(super) fn handle_named(&mut self, now: Instant) {
        self.pacer.forgive(NAMED_DEBT, now);
    }

    /// A packet of `len` bytes leaves in pieces, which no report tells of.
    pub(super) fn handle_pieces(&mut self, len: usize, now: Instant) {
        self.pacer.handle_sent(len, false, now);
        self.handle_closed();
    }

    /// An ordered packet left with this number.
    pub(super) const fn handle_ordered(&mut self, number: u32, now: Instant) {
        (self.last_ordered, self.ordered_number) = (now, number);
    }

    /// Whether ordered packets are under way.
    pub(super) const fn carries_ordered(&self) -> bool {
        extension::distance(self.ordered_number, self.acked) > 0
    }

    /// There is nothing more to send now, though the path would take it.
    pub(super) const fn handle_idle(&mut self) {
        self.rate.limit(self.number.wrapping_sub(1));
    }

    /// Nothing of the bulk may take the path now: what it carries does not tell what it could.
    pub(super) const fn handle_closed(&mut self) {
        self.rate.limit(self.number);
    }

    /// A datagram did not arrive.
    pub(super) const fn handle_lost(&mut self, now: Instant) {
        self.lost = self.lost.wrapping_add(1);
        self.lost_at = Some(now);
    }

    /// It seems to have stopped to deliver.
    pub(super) fn suspect(&mut self, now: Instant) {
        self.failure.suspect(now);
    }

    /// It came up.
    pub(super) const fn handle_up(&mut self) {
        self.down = None;
        self.failure.acquit();
    }

    /// Without reports nothing is known of what is under way: it does not count against the path.
    pub(super) const fn forgive(&mut self) {
        self.acked = self.number.wrapping_sub(1);
        self.sizes.forget_losses();
    }

    /// Forgets what was under way: it is dead, or sent again elsewhere.
    pub(super) fn forget_under_way(&mut self) {
        self.failure.forget_under_way();
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

    /// The peer or the path starts anew: what was measured is forgotten. The numbers go on: the other end may know
    /// nothing of it, and would take a sequence that begins again for stragglers.
    pub(super) fn reset(&mut self) {
        let before = self.number.wrapping_sub(1);
        let mut sizes = core::mem::take(&mut self.sizes);
        sizes.forget_losses();
        *self = Self {
            sizes,
            tier: self.tier,
            down: self.down,
            number: self.number,
            acked: before,
            ordered_number: before,
            missing: self.missing,
            ..Self::default()
        };
        self.rate.limit(before);
    }

    /// Whether something is known to have arrived that left at this stamp or later.
    pub(super) fn has_arrived_since(&self, stamp: u32) -> bool {
        self.latest.is_some_and(|at| anchor::micros_between(at.stamp, stamp) >= 0.0)
    }

    /// Whether the path has stopped to deliver: by the time `written` on the receiver's clock, given as the delay
    /// against the reference of a packet sent at stamp 0, packets should have arrived that did not.
    pub(super) fn is_overdue(&self, written_less_reference: u32) -> bool {
        let Some(base) = self.base() else { return false };
        let queue = self.delay.queue();
        let usual = base + OVERDUE_QUEUE * queue.smoothed.max(queue.least) + OVERDUE_NOISE * self.deviation();
        let arrived = self.latest.map(|at| at.stamp);
        self.failure.is_overdue(written_less_reference, self.acked, arrived, usual)
    }

    /// Takes in a report, written at `written` of the receiver's clock. `least` is the least delay in it against the
    /// reference.
    pub(super) fn handle_report(
        &mut self,
        report: &PathReport,
        written: u32,
        least: f32,
        backlog: bool,
        now: Instant,
        random: f32,
    ) -> News {
        let news = extension::distance(report.settled, self.acked);
        let acked = self.acked.wrapping_add_signed(news);
        if extension::distance(acked, self.number) >= 0 {
            return News::Impossible;
        }
        let bytes = report.bytes.wrapping_sub(self.arrived_bytes);
        let packets = report.packets.wrapping_sub(self.arrived_packets);
        let age = now.stamp().wrapping_sub(report.stamp);
        if news < 0 {
            return News::Old;
        }
        let recounts = bytes > u32::MAX / 2 || packets > u32::MAX / 2;
        if age > LONGEST_FEEDBACK || !recounts && u64::from(bytes) > u64::from(packets) * LARGEST {
            return News::Impossible;
        }
        if recounts {
            // The receiver began to count anew.
            self.forget_spans();
        } else if self.is_reported() {
            self.missing.handle(news.unsigned_abs(), packets);
        }
        (self.arrived_bytes, self.arrived_packets) = (report.bytes, report.packets);
        self.acked = acked;
        if extension::distance(self.ordered_number, acked) < 0 {
            // Left behind, it would seem to lie ahead after half the number circle.
            self.ordered_number = acked;
        }
        self.settle(news > 0, now);
        // Without a packet that came since, or if it came too long ago, the report measures nothing.
        if (packets > 0 || !self.is_reported()) && report.age < report::LONGEST_SPAN {
            let at = Anchor {
                stamp: report.stamp,
                arrived: written.wrapping_sub(report.age),
                bytes: report.bytes,
                packets: report.packets,
                settled: acked,
                delay: least + report.excess as f32,
            };
            self.scatter = (SCATTER_OF_JITTER * report.jitter as f32 - OWN_NOISE).max(0.0);
            self.measure(at, least, age as f32, backlog, now, random);
        }
        News::Fresh
    }

    /// By how much one of the clocks was set since the report before, in microseconds, if this one tells; remembers it.
    pub(super) fn clock_step(&mut self, trip: Trip) -> Option<i32> {
        self.clocks.handle(trip, self.deviation())
    }

    /// A clock was set by `step` microseconds, as this path or another one told.
    pub(super) fn handle_clock_step(&mut self, step: i32) {
        self.clocks.shift(step);
        self.forget_spans();
    }

    /// A clock was set, or the receiver counts anew: measurements that had begun are void.
    fn forget_spans(&mut self) {
        self.rate.restart(None);
        self.phases.forget(self.number);
        self.delay.forget_spans();
        self.latest = None;
    }

    /// Looks whether the path still delivers.
    fn settle(&mut self, news: bool, now: Instant) {
        match self.failure.note_settled(self.acked, news, self.feedback, now) {
            Some(Revival::Outage) => {
                self.delay.set_empty(now);
                self.phases.revive(&self.rate, self.number, now);
                self.set_pace(now);
            }
            Some(Revival::FalseAlarm) | None => {}
        }
        self.was_full |= self.is_full();
    }

    /// Lets the parts have their say.
    fn measure(&mut self, at: Anchor, least: f32, age: f32, backlog: bool, now: Instant, random: f32) {
        self.feedback += FEEDBACK_GAIN * (age - self.feedback);
        if self.reported_at.is_none() {
            self.feedback = age;
        }
        // A queue that is full loses as well, and is known by its delay.
        if !self.delay.is_empty() {
            self.rate.excuse();
        }
        let losses = self.rate.judge(at, POLICED_TIME.max(POLICED_SCATTER * self.scatter));
        match &losses {
            Some(Losses::Policer(judged)) => {
                // What arrives of a pace that loses is the rate.
                let pace = self.rate.value() * self.phases.gain().max(1.0);
                self.rate.police(pace, judged, self.number, now);
            }
            Some(Losses::Link) => self.rate.acquit(now),
            None => {}
        }
        let competes = self.phase() == Phase::Compete;
        if self.delay.handle(at, least, self.rate.value(), self.phase(), now) {
            self.phases.note_empty(self.rate.value());
        }
        let deviation = self.delay.deviation();
        let sample_time = SAMPLE_PACKETS as f32 * self.delay.packet_time();
        let probe_time = PROBE_TIME.max(PROBE_NOISE.0 * deviation).max(sample_time);
        let probe_sample = SAMPLE.max(PROBE_NOISE.0 * deviation).max(sample_time);
        let noise = (SAMPLE_NOISE * deviation).min(LONGEST_SAMPLE);
        let shortest = match self.phase() {
            Phase::Startup => STARTUP_SAMPLE.max(STARTUP_NOISE * deviation),
            Phase::Probe => probe_sample,
            _ => SAMPLE.max(noise),
        };
        let see = Signal {
            at,
            now,
            next_number: self.number,
            backlog,
            is_policed: matches!(losses, Some(Losses::Policer(_))),
            random,
            sampled: !competes && self.sample(at, shortest, now),
            grows: self.latest.is_some_and(|before| at.since(&before).grows(GROWS)),
            probe_time,
            probe_gain: PROBE_GAIN.max(1.0 + PROBE_NOISE.1 * deviation / probe_time),
            probe_sample,
            round: self.feedback + feedback::INTERVAL.as_micros() as f32,
            lost: self.lost,
            mean_len: self.mean_len,
            since_report: self.reported_at.map_or(0.0, |at| elapsed(now, at)),
        };
        self.phases.handle(&see, &mut self.rate, &mut self.delay);
        self.latest = Some(at);
        self.reported_at = Some(now);
        self.set_pace(now);
        self.was_full |= self.is_full();
    }

    /// Takes a sample of the rate, if one ends with this report. Returns whether it was one that tells what the path carries.
    fn sample(&mut self, at: Anchor, shortest: f32, now: Instant) -> bool {
        self.train_end = self.train_end.filter(|end| extension::distance(at.settled, *end) <= 0);
        let Some(sample) = self.rate.handle(at, shortest, self.train_end.is_some(), now) else {
            return false;
        };
        let (rate, arrival) = (self.rate.carried(&sample.span), sample.span.arrival_rate());
        let window = RATE_WINDOW.max(RATE_ROUNDS * self.feedback).max(RATE_SAMPLES * shortest);
        // What left while the queue was let drain is less than the path can carry, and no sign of how much that is.
        let counts = !sample.app_limited && self.phase() != Phase::Drain;
        if counts || rate > self.rate.value() {
            self.rate.push(rate, micros(window), now);
        }
        // Less than some packets that wait are noise, of a path that carries little because there is little to send.
        let holds_packets = self.delay.queue().least > STANDS * QUEUE_PACKETS * packet_time(arrival);
        let is_thin = sample.span.interval() > THIN * shortest && holds_packets;
        let is_steady = match self.phase() {
            Phase::Startup => false,
            Phase::Drain => is_thin,
            Phase::Cruise | Phase::Probe | Phase::Compete => true,
        };
        // A queue that stood all the time kept the path busy, however little there was to send.
        let is_saturated = self.delay.take_standing() && is_steady;
        let surplus = self.rate.value() - arrival;
        if is_saturated && surplus > 0.0 {
            let gain = if is_thin { 1.0 } else { SATURATED_GAIN };
            self.rate.saturate(gain * surplus, sample.app_limited, now);
        }
        if !sample.app_limited {
            self.rate.prove();
        }
        !sample.app_limited
    }

    fn set_pace(&mut self, now: Instant) {
        let noise = if self.rate.is_filled(now) { 0.0 } else { self.delay.quick_deviation() };
        self.pacer.set_pace(self.rate.value() * self.phases.gain(), BURST_NOISE * noise);
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn micros(value: f32) -> Micros {
    Micros(value as u32)
}

#[cfg(test)]
mod tests;
