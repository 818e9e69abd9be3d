//! The sender: what is on the way, what is lost, and what may be sent.

mod losses;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use mpt_proto::Instant;

use super::bbr::{Bbr, RateSample};
use super::loss_based::LossBased;
use super::{Ack, Config, Congestion, LossDetection, Ranges, at, instant, seconds};
use losses::{Rack, Recovery};

/// A paced sender that was held up may catch up on this much.
const PACING_SLACK: f64 = 0.001;
/// A window with so few segments left is used: a receiver acknowledges two at once.
const ACKED_AT_ONCE: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    OnTheWay,
    /// Reported by a block.
    Arrived,
    /// To be sent again.
    Lost,
}

/// A segment that is not acknowledged.
#[derive(Debug, Clone, Copy)]
struct Outstanding {
    state: State,
    /// Which transmission the last one was, among all, and when.
    transmission: u64,
    sent: Instant,
    is_retransmission: bool,
    /// How much had been delivered then.
    rate: RateSample,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SenderStats {
    /// Segments sent again.
    pub retransmissions: u64,
    /// Segments that arrived twice.
    pub spurious: u64,
    /// Losses, each with all that was lost with it.
    pub recoveries: u64,
    /// Recoveries and timeouts that were for nothing.
    pub undone: u64,
    /// Retransmission timeouts.
    pub timeouts: u64,
    /// Reductions because of a mark.
    pub marks: u64,
}

#[derive(Debug, Clone)]
enum Control {
    LossBased(LossBased),
    Bbr(Bbr),
}

/// Sends segments, and learns from acknowledgements.
///
/// Invariant: `pipe` segments of `outstanding` are on the way; `arrived` holds the numbers of those that arrived.
#[derive(Debug, Clone)]
pub struct Sender {
    config: Config,
    control: Control,
    /// From the first that is not acknowledged.
    outstanding: VecDeque<Outstanding>,
    first: u64,
    arrived: Ranges,
    arrived_count: u64,
    /// Room to collect numbers in.
    absent: Vec<u64>,
    highest_arrived: Option<u64>,
    /// Segments on the way by time of sending, with their transmission; some are out of date.
    order: VecDeque<(u64, u64)>,
    /// Lost segments by time of the finding; some have arrived since.
    to_retransmit: VecDeque<u64>,
    pipe: u64,
    transmissions: u64,
    delivered: u64,
    delivered_at: f64,
    /// When the newest that was delivered had been sent.
    delivered_sent: f64,
    rack: Rack,
    recovery: Option<Recovery>,
    /// Retransmissions of the last recovery that no duplicate has been reported for.
    undo: Option<i64>,
    /// The first retransmission since the last recovery or timeout began, as long as that may be undone.
    retransmission: Option<u64>,
    /// What was on the way at the last timeout, until that is acknowledged or the timeout was for nothing.
    timed_out: Option<Range<u64>>,
    /// No second reduction by a mark, and no growth, until more than this is acknowledged: only then has the receiver
    /// heard of the first one (RFC 3168 section 6.1.2).
    marked_until: Option<u64>,
    has_reduced: bool,
    min_rtt: Duration,
    smoothed_rtt: f64,
    rtt_variance: f64,
    /// When something new was acknowledged last.
    progress: Instant,
    backoff: u32,
    /// When the application began, and how many segments it has written since.
    begun: Instant,
    written: u64,
    /// When the next segment may leave, in seconds: finer than an [`Instant`].
    paced_until: f64,
    stats: SenderStats,
}

impl Sender {
    /// A sender that has all of its data at once. The seed is for BBR's cycle.
    pub fn new(config: Config, seed: u64, now: Instant) -> Self {
        let control = match config.congestion {
            Congestion::Bbr => Control::Bbr(Bbr::new(seed)),
            other => Control::LossBased(LossBased::new(other, config.hystart)),
        };
        Self {
            config,
            control,
            outstanding: VecDeque::new(),
            first: 0,
            arrived: Ranges::default(),
            arrived_count: 0,
            absent: Vec::new(),
            highest_arrived: None,
            order: VecDeque::new(),
            to_retransmit: VecDeque::new(),
            pipe: 0,
            transmissions: 0,
            delivered: 0,
            delivered_at: at(now),
            delivered_sent: at(now),
            rack: Rack::new(),
            recovery: None,
            undo: None,
            retransmission: None,
            timed_out: None,
            marked_until: None,
            has_reduced: false,
            min_rtt: Duration::MAX,
            smoothed_rtt: 0.0,
            rtt_variance: 0.0,
            progress: now,
            backoff: 1,
            begun: now,
            written: if config.pace.is_some() { 0 } else { u64::MAX },
            paced_until: 0.0,
            stats: SenderStats::default(),
        }
    }

    /// What happened so far.
    pub const fn stats(&self) -> &SenderStats {
        &self.stats
    }

    /// All segments below are acknowledged.
    pub const fn acknowledged(&self) -> u64 {
        self.first
    }

    /// Segments to send in all; `None`: without end.
    pub const fn limit(&self) -> Option<u64> {
        self.config.limit
    }

    /// Whether all there is to send is acknowledged.
    pub fn is_done(&self) -> bool {
        self.config.limit.is_some_and(|limit| self.first >= limit)
    }

    /// The congestion window, in segments.
    pub const fn window(&self) -> f64 {
        match &self.control {
            Control::LossBased(control) => control.window(),
            Control::Bbr(control) => control.window(),
        }
    }

    /// The smoothed round trip; zero before the first.
    pub fn smoothed_rtt(&self) -> Duration {
        Duration::from_secs_f64(self.smoothed_rtt)
    }

    /// The next segment to send now, and the number of its transmission among all. The second is what tells a
    /// retransmission from a copy that the network made.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(u64, u64)> {
        self.write(now);
        if !self.may_send() || self.paced_until().is_some_and(|until| until > now) {
            return None;
        }
        let number = self.next_lost().or_else(|| self.next_new())?;
        if let Control::Bbr(control) = &self.control
            && let Some(interval) = control.interval()
        {
            self.paced_until = self.paced_until.max(at(now) - PACING_SLACK) + interval;
        }
        if self.pipe == 0 {
            (self.delivered_at, self.delivered_sent) = (at(now), at(now));
        }
        self.transmissions += 1;
        let transmission = self.transmissions;
        let index = self.index(number);
        let is_retransmission = index < self.outstanding.len();
        let sent = Outstanding {
            state: State::OnTheWay,
            transmission,
            sent: now,
            is_retransmission,
            rate: RateSample {
                delivered_before: self.delivered,
                delivered_at: self.delivered_at,
                sent_before: self.delivered_sent,
                sent_at: at(now),
            },
        };
        if is_retransmission {
            self.outstanding[index] = sent;
            self.stats.retransmissions += 1;
            self.undo = self.undo.map(|count| count + 1);
            self.retransmission.get_or_insert(transmission);
        } else {
            if self.outstanding.is_empty() {
                self.progress = now;
            }
            self.outstanding.push_back(sent);
        }
        self.order.push_back((number, transmission));
        self.pipe += 1;
        if let Some(recovery) = &mut self.recovery {
            recovery.sent += 1;
            recovery.allowance = recovery.allowance.saturating_sub(1);
        }
        Some((number, transmission))
    }

    /// Whether the next segment says that the window was reduced because of a mark (RFC 3168, CWR).
    pub const fn take_reduced(&mut self) -> bool {
        std::mem::replace(&mut self.has_reduced, false)
    }

    /// Takes an acknowledgement.
    pub fn handle_ack(&mut self, ack: &Ack, now: Instant) {
        let (pipe_before, first_before) = (self.pipe, self.first);
        let duplicate = ack.duplicate();
        let echo = u64::from(ack.echo);
        let mut news = News { highest_before: self.highest_arrived, echo, ..News::default() };
        self.arrive(self.first..ack.cumulative.min(self.next()), &mut news, now);
        let mut blocks: Vec<_> = ack.blocks[usize::from(duplicate.is_some())..].to_vec();
        blocks.sort_by_key(|block| block.start);
        for block in blocks {
            self.arrive(block.start.max(self.first)..block.end.min(self.next()), &mut news, now);
        }
        self.advance(ack.cumulative.min(self.next()), now);
        // What is acknowledged left before anything was sent again (RFC 3522), or was never sent again (RFC 5682 section
        // 3.1 with selective acknowledgements): as in Linux. RFC 9002 has no such thing.
        let is_earlier = self.first > first_before && self.retransmission.is_some_and(|first| echo < first);
        if (is_earlier || news.is_original) && self.config.detection == LossDetection::Rack {
            self.undo_all();
        }
        self.timed_out = self.timed_out.take().filter(|before| self.first < before.end);
        if let Some(rtt) = news.rtt {
            self.handle_rtt(rtt, now);
        }
        if let (Some(delay), Control::LossBased(control)) = (ack.delay, &mut self.control) {
            control.handle_delay(seconds(delay), at(now));
        }
        if duplicate.is_some() {
            self.handle_duplicate();
        }
        if news.count > 0 {
            self.delivered_at = at(now);
        }
        if let Some(sample) = &news.sample {
            self.delivered_sent = sample.sent_at;
        }
        if let Some(recovery) = &mut self.recovery {
            recovery.delivered += news.count;
            if self.first >= recovery.until {
                self.leave_recovery();
            }
        }
        let found = self.find_losses(now);
        if found && self.recovery.is_none() {
            self.enter_recovery(news.count);
        }
        self.allow(news.count, !found && self.first > first_before);
        if ack.congested {
            self.handle_mark();
        }
        if news.count == 0 {
            return;
        }
        let may_grow = self.recovery.is_none() && !self.is_reducing();
        let (min_rtt, delivered, pipe) =
            (seconds(self.min_rtt.min(Duration::from_secs(1))), self.delivered, self.pipe);
        match &mut self.control {
            Control::Bbr(control) => {
                control.handle_delivered(news.sample, news.count, delivered, pipe, at(now));
            }
            Control::LossBased(control) => {
                // A window that is not used must not grow (RFC 9438 section 5.8).
                let used = pipe_before as f64 * if control.in_slow_start() { 2.0 } else { 1.0 };
                if may_grow && used + ACKED_AT_ONCE as f64 >= control.window() {
                    control.handle_delivered(news.count, pipe_before, min_rtt, at(now));
                }
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), then poll again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let has_more = !self.to_retransmit.is_empty() || self.has_new();
        let paced = self.paced_until().filter(|_| has_more && self.may_send());
        let deadlines = [paced, self.rack.deadline, self.retransmission_deadline(), self.next_write()];
        deadlines.into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.rack.deadline.is_some_and(|deadline| deadline <= now) && self.find_losses(now) {
            if self.recovery.is_none() {
                self.enter_recovery(0);
            }
            self.allow(1, false);
        }
        if self.retransmission_deadline().is_some_and(|deadline| deadline <= now) {
            self.time_out(now);
        }
    }

    fn next(&self) -> u64 {
        self.first + self.outstanding.len() as u64
    }

    fn index(&self, number: u64) -> usize {
        usize::try_from(number - self.first).unwrap_or(usize::MAX)
    }

    fn has_new(&self) -> bool {
        let next = self.next();
        next - self.first < self.config.window
            && next < self.written
            && self.config.limit.is_none_or(|limit| next < limit)
    }

    /// The application writes what it has by now.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count since the begin")]
    fn write(&mut self, now: Instant) {
        if let Some(pace) = self.config.pace {
            self.written = self.written.max((seconds(now.since(self.begun)) * pace + 1e-3) as u64);
        }
    }

    /// When the application writes next.
    fn next_write(&self) -> Option<Instant> {
        self.config.pace.map(|pace| instant(at(self.begun) + (self.written + 1) as f64 / pace))
    }

    fn next_new(&self) -> Option<u64> {
        self.has_new().then(|| self.next())
    }

    fn next_lost(&mut self) -> Option<u64> {
        while let Some(number) = self.to_retransmit.pop_front() {
            if number >= self.first && self.outstanding[self.index(number)].state == State::Lost {
                return Some(number);
            }
        }
        None
    }

    fn paced_until(&self) -> Option<Instant> {
        let Control::Bbr(control) = &self.control else { return None };
        // Down to a whole microsecond: the fraction is not lost, as the next time is reckoned from the exact one.
        control.interval().map(|_| instant(self.paced_until - 1e-6))
    }

    fn may_send(&self) -> bool {
        if self.timed_out.as_ref().is_some_and(|before| self.first == before.start) {
            // One segment, to find out.
            return self.pipe == 0;
        }
        let (Some(recovery), Control::LossBased(_)) = (&self.recovery, &self.control) else {
            return (self.pipe + 1) as f64 <= self.window();
        };
        recovery.allowance > 0
    }

    /// Notes that segments arrived, if that is new.
    fn arrive(&mut self, numbers: Range<u64>, news: &mut News, now: Instant) {
        let mut absent = std::mem::take(&mut self.absent);
        self.arrived.absent(numbers, |number| absent.push(number));
        for number in absent.drain(..) {
            self.arrived.insert(number);
            self.arrive_one(number, news, now);
        }
        self.absent = absent;
    }

    fn arrive_one(&mut self, number: u64, news: &mut News, now: Instant) {
        let index = self.index(number);
        let segment = &mut self.outstanding[index];
        if segment.state == State::OnTheWay {
            self.pipe -= 1;
        }
        segment.state = State::Arrived;
        let was_before = self.timed_out.as_ref().is_some_and(|before| number < before.end);
        news.is_original |= was_before && !segment.is_retransmission;
        news.count += 1;
        self.delivered += 1;
        self.arrived_count += 1;
        let rtt = now.since(segment.sent);
        if !segment.is_retransmission && news.highest_before.is_some_and(|highest| number < highest) {
            self.rack.reordering_seen = true;
        }
        self.highest_arrived = self.highest_arrived.max(Some(number));
        // What comes back sooner than any segment ever did answers an earlier transmission (RFC 8985 section 6.2).
        let is_earlier = news.echo < segment.transmission || rtt < self.min_rtt;
        if !(segment.is_retransmission && is_earlier) {
            if segment.transmission > self.rack.transmission {
                self.rack.transmission = segment.transmission;
                self.rack.rtt = rtt;
            }
            if news.newest < segment.transmission {
                news.newest = segment.transmission;
                // Karn's algorithm (RFC 6298 section 3): which transmission this answers is not known.
                news.rtt = (!segment.is_retransmission).then_some(rtt);
            }
        }
        if news.sample.is_none_or(|sample| sample.delivered_before < segment.rate.delivered_before) {
            news.sample = Some(segment.rate);
        }
    }

    /// Everything below `cumulative` has arrived.
    fn advance(&mut self, cumulative: u64, now: Instant) {
        if cumulative <= self.first {
            return;
        }
        self.arrived_count -= cumulative - self.first;
        self.outstanding.drain(..self.index(cumulative));
        self.arrived.forget_below(cumulative);
        self.first = cumulative;
        self.progress = now;
        self.backoff = 1;
    }

    fn handle_rtt(&mut self, rtt: Duration, now: Instant) {
        self.min_rtt = self.min_rtt.min(rtt);
        let (min_rtt, rtt) = (seconds(self.min_rtt), seconds(rtt));
        if self.smoothed_rtt > 0.0 {
            self.rtt_variance += ((rtt - self.smoothed_rtt).abs() - self.rtt_variance) / 4.0;
            self.smoothed_rtt += (rtt - self.smoothed_rtt) / 8.0;
        } else {
            (self.smoothed_rtt, self.rtt_variance) = (rtt, rtt / 2.0);
        }
        let next = self.next();
        match &mut self.control {
            Control::Bbr(control) => control.handle_rtt(rtt, at(now)),
            Control::LossBased(control) => control.handle_rtt(rtt, min_rtt, self.first, next),
        }
    }
}

/// What an acknowledgement brought.
#[derive(Debug, Default)]
struct News {
    count: u64,
    /// Something sent before the timeout, and not again, arrived.
    is_original: bool,
    highest_before: Option<u64>,
    /// The transmission that is answered.
    echo: u64,
    /// The newest transmission among what arrived, and its round trip.
    newest: u64,
    rtt: Option<Duration>,
    sample: Option<RateSample>,
}
