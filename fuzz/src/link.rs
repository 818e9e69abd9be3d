//! One direction of an emulated link, in virtual time: sans-IO, seeded, without a clock.
//!
//! A datagram goes through these in turn, as through a real router port and the wire behind it:
//!
//! ```text
//!   send -> queue (bytes, tail drop, ECN mark) -> rate -> loss -> corruption -> delay + jitter -> receive
//!                                                          |         duplication ^
//!                                                          v
//!                                                        lost
//! ```
//!
//! The same seed and the same calls give the same arrivals.

mod loss;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use mpt_proto::{Ecn, Instant};

use crate::rng::Rng;
pub use loss::{Loss, LossState};

/// What a link does to datagrams. The default is a perfect wire: nothing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkConfig {
    /// Every datagram takes this long.
    pub delay: Duration,
    /// And up to this much longer, evenly spread.
    pub jitter: Duration,
    /// Whether jitter may let one datagram overtake another.
    pub jitter_reorders: bool,
    /// Bytes that each datagram is longer on the wire than what is sent: the outer headers.
    pub overhead: usize,
    /// How fast, and how much may wait. `None`: no limit.
    pub rate: Option<Rate>,
    /// Which datagrams are lost.
    pub loss: Loss,
    /// So many of a million arrive twice.
    pub duplicate: u32,
    /// So many of a million arrive [`straggle_by`](Self::straggle_by) later than they should, overtaken by
    /// others.
    pub straggle: u32,
    /// See [`straggle`](Self::straggle).
    pub straggle_by: Duration,
    /// So many of a million have one byte changed.
    pub corrupt: u32,
}

/// A bottleneck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bits per second, [`LinkConfig::overhead`] included.
    pub bits_per_second: u64,
    /// Bytes that may wait, with the datagram that is being sent; what exceeds them is dropped.
    pub queue: usize,
    /// A datagram that finds more bytes than this waiting, and speaks ECN, is marked (RFC 3168).
    pub mark_above: Option<usize>,
}

/// What became of the datagrams so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkStats {
    /// Handed to [`Link::send`].
    pub sent: u64,
    /// Did not fit the queue.
    pub overflowed: u64,
    /// Lost on the wire.
    pub lost: u64,
    /// Lost because the link was cut.
    pub cut: u64,
    /// Second copies made.
    pub duplicated: u64,
    /// Had a byte changed.
    pub corrupted: u64,
    /// Marked "congestion experienced".
    pub marked: u64,
    /// Handed out by [`Link::receive`].
    pub received: u64,
}

/// A datagram that arrived.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// Its bytes.
    pub datagram: Vec<u8>,
    /// ECN bits of its outer header, as [`Ecn::bits`].
    ecn: u8,
    /// Whose it is, as the sender said: 0 unless others share the link.
    pub owner: u8,
}

impl Arrival {
    /// The ECN bits of its outer header.
    pub const fn ecn(&self) -> Ecn {
        Ecn::from_bits(self.ecn)
    }
}

/// A datagram on the way. The order of the fields is the order of arrival.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Traveller {
    arrival: Instant,
    /// Of sending.
    order: u64,
    /// From the queue.
    departure: Instant,
    what: Arrival,
}

/// One direction of a link.
///
/// Invariant: `sent + duplicated = overflowed + lost + cut + received + in_flight`.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    rng: Rng,
    loss: LossState,
    is_cut: bool,
    /// Since when the bottleneck has been busy without a pause, and the bits it was given since: departures
    /// are computed from the sum, so that no rounding adds up.
    busy_since: Instant,
    busy_bits: u64,
    /// When each datagram in the queue will have left, and its bytes.
    queue: VecDeque<(Instant, usize)>,
    queued: usize,
    in_flight: BinaryHeap<Reverse<Traveller>>,
    last_arrival: Instant,
    stats: LinkStats,
}

impl Link {
    /// A link without anything on it.
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            config,
            rng: Rng::new(seed),
            loss: LossState::default(),
            is_cut: false,
            busy_since: Instant::ZERO,
            busy_bits: 0,
            queue: VecDeque::new(),
            queued: 0,
            in_flight: BinaryHeap::new(),
            last_arrival: Instant::ZERO,
            stats: LinkStats::default(),
        }
    }

    /// What became of the datagrams so far.
    pub const fn stats(&self) -> &LinkStats {
        &self.stats
    }

    /// Datagrams on the way, those in the queue included.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Changes what the link does from now on to what is sent. A new rate also moves what waits in the queue; a
    /// smaller queue drops nothing of it.
    pub fn set_config(&mut self, config: LinkConfig, now: Instant) {
        if config.rate != self.config.rate {
            self.change_rate(config.rate, now);
        }
        self.config = config;
    }

    /// What the link does.
    pub const fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// How long what is sent now would wait for what was sent before.
    pub fn backlog(&self, now: Instant) -> Duration {
        self.queue.back().map_or(Duration::ZERO, |(left, _)| left.since(now))
    }

    /// Cuts the link, silently: what is on it and what is sent is lost. Or restores it.
    pub fn set_cut(&mut self, is_cut: bool) {
        if is_cut {
            self.stats.cut += self.in_flight.len() as u64;
            self.in_flight.clear();
            self.queue.clear();
            self.queued = 0;
        }
        self.is_cut = is_cut;
    }

    /// Sends a datagram.
    pub fn send(&mut self, datagram: &[u8], ecn: Ecn, now: Instant) {
        self.send_for(0, datagram, ecn, now);
    }

    /// Sends a datagram of one of several that share the link.
    pub fn send_for(&mut self, owner: u8, datagram: &[u8], ecn: Ecn, now: Instant) {
        self.stats.sent += 1;
        if self.is_cut {
            self.stats.cut += 1;
            return;
        }
        let mut ecn = ecn;
        let Some(departure) = self.depart(datagram.len() + self.config.overhead, &mut ecn, now) else {
            self.stats.overflowed += 1;
            return;
        };
        if self.loss.is_lost(self.config.loss, &mut self.rng) {
            self.stats.lost += 1;
            return;
        }
        let mut datagram = datagram.to_vec();
        if self.rng.chance(self.config.corrupt) && !datagram.is_empty() {
            let at = self.rng.index(datagram.len());
            let change = u8::try_from(self.rng.below(255)).unwrap_or(0) + 1;
            datagram[at] ^= change;
            self.stats.corrupted += 1;
        }
        if self.rng.chance(self.config.duplicate) {
            self.stats.duplicated += 1;
            self.travel(Arrival { datagram: datagram.clone(), ecn: ecn.bits(), owner }, departure);
        }
        self.travel(Arrival { datagram, ecn: ecn.bits(), owner }, departure);
    }

    /// When the next datagram arrives.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.in_flight.peek().map(|Reverse(traveller)| traveller.arrival)
    }

    /// The next datagram that has arrived by `now`.
    pub fn receive(&mut self, now: Instant) -> Option<Arrival> {
        self.poll_timeout().filter(|arrival| *arrival <= now)?;
        let Reverse(traveller) = self.in_flight.pop()?;
        self.stats.received += 1;
        Some(traveller.what)
    }

    /// When the last bit leaves the bottleneck; `None`: the queue is full.
    fn depart(&mut self, len: usize, ecn: &mut Ecn, now: Instant) -> Option<Instant> {
        let Some(rate) = self.config.rate else { return Some(now) };
        while let Some((_, bytes)) = self.queue.front().filter(|(left, _)| *left <= now) {
            self.queued -= bytes;
            self.queue.pop_front();
        }
        if self.queued + len > rate.queue {
            return None;
        }
        if rate.mark_above.is_some_and(|limit| self.queued > limit) && *ecn != Ecn::NotEct {
            *ecn = Ecn::Ce;
            self.stats.marked += 1;
        }
        if self.queue.is_empty() {
            self.busy_since = now;
            self.busy_bits = 0;
        }
        self.busy_bits += len as u64 * 8;
        let micros = u128::from(self.busy_bits) * 1_000_000 / u128::from(rate.bits_per_second.max(1));
        let departure = self.busy_since + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        self.queue.push_back((departure, len));
        self.queued += len;
        Some(departure)
    }

    fn travel(&mut self, what: Arrival, departure: Instant) {
        let mut arrival = departure + self.config.delay + self.rng.time(self.config.jitter);
        if self.rng.chance(self.config.straggle) {
            arrival = arrival + self.config.straggle_by;
        } else if !self.config.jitter_reorders {
            arrival = arrival.max(self.last_arrival);
            self.last_arrival = arrival;
        }
        let order = self.stats.sent + self.stats.duplicated;
        self.in_flight.push(Reverse(Traveller { arrival, order, departure, what }));
    }

    /// What waits at `rate` leaves as its bytes do: the time each datagram has to go is stretched by the ratio of the
    /// rates.
    fn change_rate(&mut self, rate: Option<Rate>, now: Instant) {
        let bits = |rate: Option<Rate>| rate.map_or(1, |rate| u128::from(rate.bits_per_second.max(1)));
        let (old, new) = (bits(self.config.rate), bits(rate));
        let moved = |departure: Instant| match rate {
            None => departure.min(now),
            Some(_) => {
                let micros = departure.since(now).as_micros() * old / new;
                departure.min(now) + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
            }
        };
        for (departure, _) in &mut self.queue {
            *departure = moved(*departure);
        }
        // The next one is reckoned from the last that waits, as if the queue began there.
        self.busy_since = self.queue.back().map_or(now, |(departure, _)| *departure);
        self.busy_bits = 0;
        let mut travellers: Vec<_> = self.in_flight.drain().map(|Reverse(it)| it).collect();
        travellers.sort_by_key(|it| it.order);
        self.last_arrival = Instant::ZERO;
        for traveller in &mut travellers {
            let departure = moved(traveller.departure);
            let travel = traveller.arrival.since(traveller.departure);
            traveller.departure = departure;
            traveller.arrival = departure + travel;
            if !self.config.jitter_reorders {
                traveller.arrival = traveller.arrival.max(self.last_arrival);
                self.last_arrival = traveller.arrival;
            }
        }
        self.in_flight = travellers.into_iter().map(Reverse).collect();
    }
}

#[cfg(test)]
mod tests;
