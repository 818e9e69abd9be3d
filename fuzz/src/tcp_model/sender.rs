//! The sender: what is on the way, what is lost, and what may be sent.

use std::collections::VecDeque;
use std::time::Duration;

use mpt_proto::Instant;

use super::bbr::{Bbr, RateSample};
use super::loss_based::LossBased;
use super::{Ack, Config, Congestion, LossDetection, Ranges, at, instant, seconds};

/// RFC 8985 section 6.2: how long a wider reordering window is kept, in recoveries, and how wide it may become, in
/// quarters of the shortest round trip.
const REORDERING_RECOVERIES: u32 = 16;
const REORDERING_MOST: u32 = 255;
/// Segments that were found out of order before reordering is believed (RFC 5681).
const DUPLICATES: u64 = 3;
/// RFC 6298 with the least that Linux takes, and the most a timeout is multiplied by.
const RTO_INITIAL: Duration = Duration::from_secs(1);
const RTO_LEAST: f64 = 0.2;
const RTO_BACKOFF_MOST: u32 = 16;
/// A paced sender that was held up may catch up on this much.
const PACING_SLACK: f64 = 0.001;

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

/// The newest transmission that is known to have arrived (RFC 8985).
#[derive(Debug, Clone, Copy, Default)]
struct Rack {
    transmission: u64,
    rtt: Duration,
    reordering_seen: bool,
    /// The reordering window, in quarters of the shortest round trip; it grows once in so many deliveries.
    steps: u32,
    keep: u32,
    grow_after: u64,
    /// When the oldest segment on the way counts as lost, if nothing is heard of it.
    deadline: Option<Instant>,
}

/// Between a loss and the acknowledgement of everything sent before it was found (RFC 9937).
#[derive(Debug, Clone, Copy)]
struct Recovery {
    until: u64,
    /// Segments outstanding when it began; delivered and sent since.
    outstanding: u64,
    delivered: u64,
    sent: u64,
    /// Segments that may be sent before the next acknowledgement.
    allowance: u64,
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
    /// Recoveries that were for nothing.
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
    rack: Rack,
    recovery: Option<Recovery>,
    /// Retransmissions of the last recovery that no duplicate has been reported for.
    undo: Option<i64>,
    /// No second reduction by a mark until this is acknowledged (RFC 3168 section 6.1.2).
    marked_until: u64,
    has_reduced: bool,
    min_rtt: Duration,
    smoothed_rtt: f64,
    rtt_variance: f64,
    /// When something new was acknowledged last.
    progress: Instant,
    backoff: u32,
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
            rack: Rack { steps: 1, keep: REORDERING_RECOVERIES, ..Rack::default() },
            recovery: None,
            undo: None,
            marked_until: 0,
            has_reduced: false,
            min_rtt: Duration::MAX,
            smoothed_rtt: 0.0,
            rtt_variance: 0.0,
            progress: now,
            backoff: 1,
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
            self.delivered_at = at(now);
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
            rate: RateSample { delivered_before: self.delivered, delivered_at: self.delivered_at },
        };
        if is_retransmission {
            self.outstanding[index] = sent;
            self.stats.retransmissions += 1;
            self.undo = self.undo.map(|count| count + 1);
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
        let mut news = News { highest_before: self.highest_arrived, ..News::default() };
        self.arrive(self.first..ack.cumulative.min(self.next()), &mut news, now);
        let mut blocks: Vec<_> = ack.blocks[usize::from(duplicate.is_some())..].to_vec();
        blocks.sort_by_key(|block| block.start);
        for block in blocks {
            self.arrive(block.start.max(self.first)..block.end.min(self.next()), &mut news, now);
        }
        self.advance(ack.cumulative.min(self.next()), now);
        if let Some(rtt) = news.rtt {
            self.handle_rtt(rtt, now);
        }
        if duplicate.is_some() {
            self.handle_duplicate();
        }
        if news.count > 0 {
            self.delivered_at = at(now);
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
        let (min_rtt, delivered, pipe) =
            (seconds(self.min_rtt.min(Duration::from_secs(1))), self.delivered, self.pipe);
        match &mut self.control {
            Control::Bbr(control) => {
                control.handle_delivered(news.sample, news.count, delivered, pipe, at(now));
            }
            Control::LossBased(control) => {
                // A window that is not used must not grow (RFC 9438 section 5.8).
                let used = pipe_before as f64 * if control.in_slow_start() { 2.0 } else { 1.0 };
                if self.recovery.is_none() && used + DUPLICATES as f64 >= control.window() {
                    control.handle_delivered(news.count, min_rtt, at(now));
                }
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), then poll again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let has_more = !self.to_retransmit.is_empty() || self.has_new();
        let paced = self.paced_until().filter(|_| has_more && self.may_send());
        [paced, self.rack.deadline, self.retransmission_deadline()].into_iter().flatten().min()
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
        next - self.first < self.config.window && self.config.limit.is_none_or(|limit| next < limit)
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
        let (Some(recovery), Control::LossBased(_)) = (&self.recovery, &self.control) else {
            return (self.pipe + 1) as f64 <= self.window();
        };
        recovery.allowance > 0
    }

    /// How much may be sent in recovery: in proportion to what arrives while more is on the way than should be, then as
    /// much as arrives, and one more if all goes well.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
    fn allow(&mut self, arrived: u64, goes_well: bool) {
        let Control::LossBased(control) = &self.control else { return };
        let Some(recovery) = &mut self.recovery else { return };
        let (pipe, threshold) = (self.pipe as f64, control.threshold());
        let allowance = if pipe > threshold {
            let share = recovery.delivered as f64 * threshold / recovery.outstanding as f64;
            (share.ceil() as u64).saturating_sub(recovery.sent)
        } else {
            let most = recovery.delivered.saturating_sub(recovery.sent).max(arrived) + u64::from(goes_well);
            most.min((threshold - pipe) as u64)
        };
        // The first retransmission does not wait.
        recovery.allowance = allowance.max(u64::from(recovery.sent == 0));
    }

    /// Notes that segments arrived, if that is new.
    fn arrive(&mut self, numbers: Range, news: &mut News, now: Instant) {
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
        news.count += 1;
        self.delivered += 1;
        self.arrived_count += 1;
        let rtt = now.since(segment.sent);
        if !segment.is_retransmission && news.highest_before.is_some_and(|highest| number < highest) {
            self.rack.reordering_seen = true;
        }
        self.highest_arrived = self.highest_arrived.max(Some(number));
        // What comes back sooner than any segment ever did answers an earlier transmission.
        if !(segment.is_retransmission && rtt < self.min_rtt) {
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

    fn handle_duplicate(&mut self) {
        self.stats.spurious += 1;
        let rack = &mut self.rack;
        rack.reordering_seen = true;
        if self.delivered >= rack.grow_after {
            rack.steps = (rack.steps + 1).min(REORDERING_MOST);
            rack.keep = REORDERING_RECOVERIES;
            rack.grow_after = self.delivered + self.outstanding.len() as u64;
        }
        self.undo = self.undo.map(|count| count - 1);
        if self.undo.is_some_and(|count| count <= 0) {
            self.undo = None;
            self.recovery = None;
            self.stats.undone += 1;
            if let Control::LossBased(control) = &mut self.control {
                control.undo();
            }
        }
    }

    fn handle_mark(&mut self) {
        if self.first < self.marked_until || self.recovery.is_some() {
            return;
        }
        self.marked_until = self.next();
        self.has_reduced = true;
        self.stats.marks += 1;
        if let Control::LossBased(control) = &mut self.control {
            control.reduce();
        }
    }

    /// How much later than the newest arrival a segment may be (RFC 8985 section 6.2 step 4).
    fn reordering_window(&self) -> Duration {
        if !self.rack.reordering_seen && (self.recovery.is_some() || self.arrived_count >= DUPLICATES) {
            return Duration::ZERO;
        }
        let quarter = if self.min_rtt == Duration::MAX { Duration::ZERO } else { self.min_rtt / 4 };
        (quarter * self.rack.steps).min(Duration::from_secs_f64(self.smoothed_rtt))
    }

    /// Whether segments are found lost.
    fn find_losses(&mut self, now: Instant) -> bool {
        let window = self.reordering_window();
        let mut found = false;
        self.rack.deadline = None;
        while let Some(&(number, transmission)) = self.order.front() {
            let segment = (number >= self.first)
                .then(|| self.outstanding[self.index(number)])
                .filter(|it| it.state == State::OnTheWay && it.transmission == transmission);
            let Some(segment) = segment else {
                self.order.pop_front();
                continue;
            };
            if self.config.detection == LossDetection::Threshold && !segment.is_retransmission {
                if self.highest_arrived.is_none_or(|highest| number + DUPLICATES > highest) {
                    break;
                }
            } else {
                if transmission >= self.rack.transmission {
                    break;
                }
                // RFC 9002 section 6.1.2 has 9/8 of the round trip.
                let patience = match self.config.detection {
                    LossDetection::Rack => self.rack.rtt + window,
                    LossDetection::Threshold => {
                        self.rack.rtt.max(Duration::from_secs_f64(self.smoothed_rtt)) * 9 / 8
                    }
                };
                let deadline = segment.sent + patience;
                if deadline > now {
                    self.rack.deadline = Some(deadline);
                    break;
                }
            }
            self.order.pop_front();
            let index = self.index(number);
            self.outstanding[index].state = State::Lost;
            self.pipe -= 1;
            self.to_retransmit.push_back(number);
            found = true;
        }
        found
    }

    fn enter_recovery(&mut self, delivered: u64) {
        self.stats.recoveries += 1;
        let outstanding = (self.outstanding.len() as u64).max(1);
        self.recovery = Some(Recovery { until: self.next(), outstanding, delivered, sent: 0, allowance: 0 });
        self.undo = Some(0);
        if let Control::LossBased(control) = &mut self.control {
            control.reduce();
        }
    }

    fn leave_recovery(&mut self) {
        self.recovery = None;
        if let Control::LossBased(control) = &mut self.control {
            control.settle();
        }
        self.rack.keep = self.rack.keep.saturating_sub(1);
        if self.rack.keep == 0 {
            self.rack.steps = 1;
        }
    }

    fn retransmission_deadline(&self) -> Option<Instant> {
        let oldest = self.outstanding.front()?;
        let timeout = if self.smoothed_rtt > 0.0 {
            Duration::from_secs_f64((self.smoothed_rtt + 4.0 * self.rtt_variance).max(RTO_LEAST))
                * self.backoff
        } else {
            RTO_INITIAL * self.backoff
        };
        Some(self.progress.max(oldest.sent) + timeout)
    }

    /// Everything that did not arrive is taken for lost.
    fn time_out(&mut self, now: Instant) {
        self.stats.timeouts += 1;
        self.backoff = (self.backoff * 2).min(RTO_BACKOFF_MOST);
        self.to_retransmit.clear();
        for (number, segment) in (self.first..).zip(&mut self.outstanding) {
            if segment.state != State::Arrived {
                segment.state = State::Lost;
                self.to_retransmit.push_back(number);
            }
        }
        self.pipe = 0;
        self.order.clear();
        self.rack.deadline = None;
        self.recovery = None;
        self.undo = None;
        self.progress = now;
        if let Control::LossBased(control) = &mut self.control {
            control.handle_timeout();
        }
    }
}

/// What an acknowledgement brought.
#[derive(Debug, Default)]
struct News {
    count: u64,
    highest_before: Option<u64>,
    /// The newest transmission among what arrived, and its round trip.
    newest: u64,
    rtt: Option<Duration>,
    sample: Option<RateSample>,
}

type Range = std::ops::Range<u64>;
