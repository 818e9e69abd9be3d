//! What is lost, and how a sender slows down for it.

use std::collections::VecDeque;
use std::time::Duration;

use mpt_proto::Instant;

use super::{Control, Sender, State};
use crate::tcp_model::LossDetection;

/// RFC 8985 section 6.2: how long a wider reordering window is kept, in recoveries, and how wide it may become, in
/// quarters of the shortest round trip.
const REORDERING_RECOVERIES: u32 = 16;
const REORDERING_MOST: u32 = 255;
/// Segments that were found out of order before reordering is believed (RFC 5681).
const DUPLICATES: u64 = 3;
/// RFC 6298 with what Linux adds to the round trip at least, and the most a timeout is multiplied by.
const RTO_INITIAL: Duration = Duration::from_secs(1);
const RTO_LEAST: f64 = 0.2;
const RTO_BACKOFF_MOST: u32 = 16;

/// The newest transmission that is known to have arrived (RFC 8985).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rack {
    pub(super) transmission: u64,
    pub(super) rtt: Duration,
    pub(super) reordering_seen: bool,
    /// The reordering window, in quarters of the shortest round trip; it grows once in so many deliveries.
    pub(super) steps: u32,
    pub(super) keep: u32,
    pub(super) grow_after: u64,
    /// When the oldest segment on the way counts as lost, if nothing is heard of it.
    pub(super) deadline: Option<Instant>,
}

/// Between a loss and the acknowledgement of everything sent before it was found (RFC 9937).
#[derive(Debug, Clone, Copy)]
pub(super) struct Recovery {
    pub(super) until: u64,
    /// Segments outstanding when it began; delivered and sent since.
    pub(super) outstanding: u64,
    pub(super) delivered: u64,
    pub(super) sent: u64,
    /// Segments that may be sent before the next acknowledgement.
    pub(super) allowance: u64,
}

impl Rack {
    pub(super) fn new() -> Self {
        Self { steps: 1, keep: REORDERING_RECOVERIES, ..Self::default() }
    }
}

impl Sender {
    /// How much may be sent in recovery: in proportion to what arrives while more is on the way than should be, then as
    /// much as arrives, and one more if all goes well.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
    pub(super) fn allow(&mut self, arrived: u64, goes_well: bool) {
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

    pub(super) fn handle_duplicate(&mut self) {
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
            self.retransmission = None;
            self.recovery = None;
            self.stats.undone += 1;
            if let Control::LossBased(control) = &mut self.control {
                control.undo();
            }
        }
    }

    /// Whether the reduction for a mark is under way.
    pub(super) fn is_reducing(&self) -> bool {
        self.marked_until.is_some_and(|until| self.first <= until)
    }

    pub(super) fn handle_mark(&mut self) {
        if self.is_reducing() || self.recovery.is_some() {
            return;
        }
        self.marked_until = Some(self.next());
        self.has_reduced = true;
        self.stats.marks += 1;
        if let Control::LossBased(control) = &mut self.control {
            control.reduce();
        }
    }

    /// How much later than the newest arrival a segment may be (RFC 8985 section 6.2 step 4).
    pub(super) fn reordering_window(&self) -> Duration {
        if !self.rack.reordering_seen && (self.recovery.is_some() || self.arrived_count >= DUPLICATES) {
            return Duration::ZERO;
        }
        let quarter = if self.min_rtt == Duration::MAX { Duration::ZERO } else { self.min_rtt / 4 };
        (quarter * self.rack.steps).min(Duration::from_secs_f64(self.smoothed_rtt))
    }

    /// Whether segments are found lost.
    pub(super) fn find_losses(&mut self, now: Instant) -> bool {
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

    pub(super) fn enter_recovery(&mut self, delivered: u64) {
        self.stats.recoveries += 1;
        let outstanding = (self.outstanding.len() as u64).max(1);
        self.recovery = Some(Recovery { until: self.next(), outstanding, delivered, sent: 0, allowance: 0 });
        self.undo = Some(0);
        self.retransmission = None;
        if let Control::LossBased(control) = &mut self.control {
            control.reduce();
        }
    }

    pub(super) fn leave_recovery(&mut self) {
        self.recovery = None;
        if let Control::LossBased(control) = &mut self.control {
            control.settle();
        }
        self.rack.keep = self.rack.keep.saturating_sub(1);
        if self.rack.keep == 0 {
            self.rack.steps = 1;
        }
    }

    pub(super) fn retransmission_deadline(&self) -> Option<Instant> {
        let oldest = self.outstanding.front()?;
        let timeout = if self.smoothed_rtt > 0.0 {
            Duration::from_secs_f64(self.smoothed_rtt + (4.0 * self.rtt_variance).max(RTO_LEAST))
                * self.backoff
        } else {
            RTO_INITIAL * self.backoff
        };
        Some(self.progress.max(oldest.sent) + timeout)
    }

    /// Everything that did not arrive is taken for lost.
    pub(super) fn time_out(&mut self, now: Instant) {
        self.stats.timeouts += 1;
        let again = self.recovery.is_some() || self.timed_out.is_some();
        self.retransmission = None;
        if self.backoff == 1 {
            self.timed_out = Some(self.first..self.next());
        }
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
            control.handle_timeout(again);
        }
    }

    /// The last recovery or timeout was for nothing.
    pub(super) fn undo_all(&mut self) {
        self.timed_out = None;
        self.retransmission = None;
        self.undo = None;
        self.recovery = None;
        self.stats.undone += 1;
        self.to_retransmit.clear();
        let mut restored = VecDeque::new();
        for (number, segment) in (self.first..).zip(&mut self.outstanding) {
            if segment.state == State::Lost && segment.is_retransmission {
                self.to_retransmit.push_back(number);
            } else if segment.state == State::Lost {
                segment.state = State::OnTheWay;
                restored.push_back((number, segment.transmission));
            }
        }
        self.pipe += restored.len() as u64;
        restored.append(&mut self.order);
        self.order = restored;
        if let Control::LossBased(control) = &mut self.control {
            control.undo();
        }
    }
}
