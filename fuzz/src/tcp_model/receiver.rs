//! The receiver: what it acknowledges, and when.

use std::collections::VecDeque;
use std::time::Duration;

use mpt_proto::{Ecn, Instant};

use super::{Ack, MOST_BLOCKS, Ranges};

/// An acknowledgement waits this long for a second segment. Kernels take 25 to 40 ms.
const DELAY: Duration = Duration::from_millis(25);

/// Receives segments, and says what to acknowledge.
#[derive(Debug, Clone, Default)]
pub struct Receiver {
    /// The segment that is next in order.
    next: u64,
    /// What arrived beyond it.
    early: Ranges,
    /// A number out of each of the runs that grew last, the latest first.
    recent: VecDeque<u64>,
    /// Segments in order since the last acknowledgement.
    pending: u32,
    delayed_until: Option<Instant>,
    /// What was acknowledged last, and the transmission to echo (RFC 7323 section 4.3).
    acknowledged: u64,
    echo: u32,
    ack: Option<Ack>,
    congested: bool,
    /// The one-way delay to report, if any was noted.
    delay: Option<Duration>,
    duplicates: u64,
}

impl Receiver {
    /// All segments below have arrived.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Segments that arrived again.
    pub const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// The one-way delay of a segment that is about to be [taken](Self::handle_segment), where acknowledgements tell it.
    pub const fn note_delay(&mut self, delay: Duration) {
        self.delay = Some(delay);
    }

    /// Takes a segment of this transmission. `reduced`: the sender says that it has slowed down (RFC 3168, CWR).
    pub fn handle_segment(&mut self, number: u64, transmission: u64, ecn: Ecn, reduced: bool, now: Instant) {
        if number <= self.acknowledged {
            self.echo = u32::try_from(transmission).unwrap_or(u32::MAX);
        }
        if reduced {
            self.congested = false;
        }
        self.congested |= ecn == Ecn::Ce;
        if number < self.next || !self.early.insert(number) {
            self.duplicates += 1;
            self.acknowledge(Some(number));
            return;
        }
        if let Some(run) = self.early.first().filter(|run| run.start == self.next) {
            self.next = run.end;
            self.early.forget_below(run.end);
            self.pending += 1;
            if self.pending >= 2 || !self.early.is_empty() || run.end > number + 1 || self.congested {
                self.acknowledge(None);
            } else {
                self.delayed_until.get_or_insert(now + DELAY);
            }
        } else {
            self.recent.push_front(number);
            self.acknowledge(None);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.delayed_until
    }

    /// Acknowledges what waited long enough.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.delayed_until.is_some_and(|until| until <= now) {
            self.acknowledge(None);
        }
    }

    /// The acknowledgement to send.
    pub const fn poll_ack(&mut self) -> Option<Ack> {
        self.ack.take()
    }

    fn acknowledge(&mut self, duplicate: Option<u64>) {
        self.pending = 0;
        self.delayed_until = None;
        let mut blocks = Vec::with_capacity(MOST_BLOCKS);
        blocks.extend(duplicate.map(|number| number..number + 1));
        let reported = blocks.len();
        // Numbers whose run is reported already, or is in order by now, are dropped.
        let early = &self.early;
        // A duplicate inside an early run: the block that covers it must be the second (RFC 2883 section 4).
        if let Some(number) = duplicate.filter(|number| early.run_of(*number).is_some()) {
            self.recent.push_front(number);
        }
        self.recent.retain(|number| {
            let Some(run) = early.run_of(*number) else { return false };
            let is_new = !blocks[reported..].contains(&run);
            if is_new && blocks.len() < MOST_BLOCKS {
                blocks.push(run);
            }
            is_new
        });
        self.recent.truncate(MOST_BLOCKS);
        self.acknowledged = self.next;
        let Self { next: cumulative, congested, echo, delay, .. } = *self;
        self.ack = Some(Ack { cumulative, blocks, congested, echo, delay });
    }
}
