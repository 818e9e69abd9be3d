//! One direction of an emulated link: sans-IO, seeded, without a clock.
//!
//! A packet goes through these in turn, as through a real router port and the wire behind it:
//!
//! ```text
//! offer -> policer -> queue (bytes, tail drop, ECN mark) -> rate or trace, dips, batches
//!       -> loss -> corruption -> duplication -> delay, jitter, wander, steps, stragglers, swaps -> take
//! ```
//!
//! A lost packet has taken its time on the wire, as on a radio. The same seed and the same calls give the same arrivals.

mod loss;
mod policer;
mod server;
mod weather;

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::config::LinkConfig;
use crate::rng::Rng;
use loss::LossState;
use policer::Bucket;
use server::Server;
use weather::Weather;

/// What became of the packets offered to a [`Pipe`] so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkStats {
    /// Packets handed to [`Pipe::offer`].
    pub sent: u64,
    /// Packets that found no token in the policer.
    pub policed: u64,
    /// Packets that did not fit the queue.
    pub overflowed: u64,
    /// Packets lost on the wire, by chance or as they are larger than its MTU.
    pub lost: u64,
    /// Packets lost because the link was cut.
    pub cut: u64,
    /// Second copies made.
    pub duplicated: u64,
    /// Packets that are to have a byte changed.
    pub corrupted: u64,
    /// Packets marked "congestion experienced".
    pub marked: u64,
    /// Packets handed out by [`Pipe::take`], copies included.
    pub received: u64,
}

/// A packet that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival<F> {
    /// When it arrived.
    pub at: Duration,
    /// What was offered.
    pub frame: F,
    /// Whether the queue marked it "congestion experienced".
    pub marked: bool,
    /// The link changed a byte of it: the number, which is random, is for [`damage`].
    pub damage: Option<u64>,
}

/// Changes one byte of a packet; `random` decides which and how.
pub fn damage(bytes: &mut [u8], random: u64) {
    let mut rng = Rng::new(random);
    let at = rng.index(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= u8::try_from(rng.below(255)).unwrap_or(0) + 1;
    }
}

/// A packet in the queue.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    order: u64,
    /// When its last bit is served; with batches it leaves later.
    served: Duration,
    leaves: Duration,
    bytes: usize,
}

/// A packet between the queue and the receiver, or in the queue and not going to be lost.
#[derive(Debug)]
struct Traveller<F> {
    order: u64,
    leaves: Duration,
    /// From the queue to the receiver, unless it must wait for one that it may not overtake.
    travel: Duration,
    lane: Lane,
    arrival: Arrival<F>,
}

/// Packets keep their order among those of the same lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    InOrder,
    /// Of a block that changes places.
    Swapped,
    /// Overtaken or overtaking.
    Free,
}

impl<F> Traveller<F> {
    const fn key(&self) -> (Duration, u64) {
        (self.arrival.at, self.order)
    }
}

impl<F> Ord for Traveller<F> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<F> PartialOrd for Traveller<F> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<F> PartialEq for Traveller<F> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<F> Eq for Traveller<F> {}

/// One direction of a link; `F` is what it carries. Times are since any fixed moment, and must not go back from call to
/// call.
///
/// Invariant: `sent + duplicated = policed + overflowed + lost + cut + received + in_flight`.
#[derive(Debug)]
pub struct Pipe<F> {
    config: LinkConfig,
    /// Of all that is drawn for each packet.
    rng: Rng,
    /// Of all that follows from the time alone.
    weather: Weather,
    loss: LossState,
    bucket: Bucket,
    server: Server,
    is_cut: bool,
    queue: VecDeque<Waiting>,
    queued: usize,
    /// What is on the way, sorted by arrival: nearly all packets, as they arrive after those that were offered before them.
    in_order: VecDeque<Traveller<F>>,
    /// What is on the way and arrives before the last of `in_order`.
    early: BinaryHeap<Reverse<Traveller<F>>>,
    /// The latest arrival of each lane that keeps an order.
    last: [Duration; 2],
    stats: LinkStats,
}

impl<F: Clone> Pipe<F> {
    /// A direction with nothing on it.
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            config,
            rng: Rng::new(seed),
            weather: Weather::new(seed, seed),
            loss: LossState::default(),
            bucket: Bucket::default(),
            server: Server::default(),
            is_cut: false,
            queue: VecDeque::new(),
            queued: 0,
            in_order: VecDeque::new(),
            early: BinaryHeap::new(),
            last: [Duration::ZERO; 2],
            stats: LinkStats::default(),
        }
    }

    /// With the dips and steps of another seed: both directions of a link have them at the same times.
    #[must_use]
    pub fn with_weather(mut self, seed: u64) -> Self {
        self.weather.share(seed);
        self
    }

    /// What the link does now.
    pub const fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// What became of the packets so far.
    pub const fn stats(&self) -> &LinkStats {
        &self.stats
    }

    /// Packets on the way, those in the queue included.
    pub fn in_flight(&self) -> usize {
        self.in_order.len() + self.early.len()
    }

    /// How long a packet offered now would wait for those that were offered before.
    pub fn backlog(&self, now: Duration) -> Duration {
        self.queue.back().map_or(Duration::ZERO, |last| last.leaves.saturating_sub(now))
    }

    /// Changes what the link does from now on to what is offered. A new rate, trace, dip or batch also moves what waits in
    /// the queue; a smaller queue drops nothing of it.
    pub fn set_config(&mut self, config: LinkConfig, now: Duration) {
        let before = std::mem::replace(&mut self.config, config);
        let service = |config: &LinkConfig| (config.rate, config.trace, config.dip, config.batch);
        if service(&before) != service(&config) {
            self.serve_anew(&before, now);
        }
    }

    /// Cuts the link, silently: what is on it and what is offered is lost. Or restores it.
    pub fn set_cut(&mut self, is_cut: bool) {
        if is_cut {
            self.stats.cut += self.in_flight() as u64;
            self.in_order.clear();
            self.early.clear();
            self.queue.clear();
            self.queued = 0;
            self.server = Server::default();
            self.last = [Duration::ZERO; 2];
        }
        self.is_cut = is_cut;
    }

    /// A packet is at the entrance. It is `bytes` long, to which [`LinkConfig::overhead`] is added; the queue may mark it
    /// if it is capable of ECN.
    pub fn offer(&mut self, frame: F, bytes: usize, is_ecn_capable: bool, now: Duration) {
        self.stats.sent += 1;
        if self.is_cut {
            self.stats.cut += 1;
            return;
        }
        let bytes = bytes + self.config.overhead;
        if self.config.policer.is_some_and(|policer| !self.bucket.admits(policer, bytes as u64, now)) {
            self.stats.policed += 1;
            return;
        }
        let Some((leaves, marked)) = self.queue_up(bytes, is_ecn_capable, now) else {
            self.stats.overflowed += 1;
            return;
        };
        let is_too_large = self.config.mtu.is_some_and(|mtu| bytes > mtu);
        if is_too_large || self.loss.is_lost(self.config.loss, &mut self.rng) {
            self.stats.lost += 1;
            return;
        }
        let damage = self.rng.chance(self.config.corrupt).then(|| self.rng.next());
        self.stats.corrupted += u64::from(damage.is_some());
        if self.rng.chance(self.config.duplicate) {
            self.stats.duplicated += 1;
            self.travel(frame.clone(), marked, damage, leaves);
        }
        self.travel(frame, marked, damage, leaves);
    }

    /// When the next packet arrives.
    pub fn due(&self) -> Option<Duration> {
        self.next().map(|traveller| traveller.arrival.at)
    }

    /// The next packet that has arrived by `now`.
    pub fn take(&mut self, now: Duration) -> Option<Arrival<F>> {
        self.due().filter(|due| *due <= now)?;
        let traveller = if self.is_early_next() {
            self.early.pop().map(|Reverse(traveller)| traveller)
        } else {
            self.in_order.pop_front()
        }?;
        self.stats.received += 1;
        Some(traveller.arrival)
    }

    /// The packet that arrives next.
    fn next(&self) -> Option<&Traveller<F>> {
        if self.is_early_next() {
            self.early.peek().map(|Reverse(traveller)| traveller)
        } else {
            self.in_order.front()
        }
    }

    fn is_early_next(&self) -> bool {
        let Some(Reverse(early)) = self.early.peek() else { return false };
        self.in_order.front().is_none_or(|first| early < first)
    }

    fn insert(&mut self, traveller: Traveller<F>) {
        if self.in_order.back().is_some_and(|last| traveller < *last) {
            self.early.push(Reverse(traveller));
        } else {
            self.in_order.push_back(traveller);
        }
    }

    /// When a packet leaves the queue, and whether it was marked; `None`: the queue is full.
    fn queue_up(&mut self, bytes: usize, is_ecn_capable: bool, now: Duration) -> Option<(Duration, bool)> {
        self.forget_what_left(now);
        let Some(rate) = self.config.rate else {
            let served = self.server.serve(&self.config, &self.weather, 0, now);
            return Some((server::batched(self.config.batch, served), false));
        };
        if self.queued + bytes > rate.queue {
            return None;
        }
        let marked = is_ecn_capable && rate.mark_above.is_some_and(|limit| self.queued > limit);
        self.stats.marked += u64::from(marked);
        let served = self.server.serve(&self.config, &self.weather, micro_bits(bytes), now);
        let leaves = server::batched(self.config.batch, served);
        self.queue.push_back(Waiting { order: self.stats.sent, served, leaves, bytes });
        self.queued += bytes;
        Some((leaves, marked))
    }

    fn forget_what_left(&mut self, now: Duration) {
        while let Some(first) = self.queue.front().filter(|first| first.leaves <= now) {
            self.queued -= first.bytes;
            self.queue.pop_front();
        }
    }

    fn travel(&mut self, frame: F, marked: bool, damage: Option<u64>, leaves: Duration) {
        let (travel, lane) = self.draw_travel(leaves);
        let at = self.arrive(leaves + travel, lane);
        let arrival = Arrival { at, frame, marked, damage };
        self.insert(Traveller { order: self.stats.sent, leaves, travel, lane, arrival });
    }

    /// How long a packet takes that leaves the queue at a time.
    fn draw_travel(&mut self, leaves: Duration) -> (Duration, Lane) {
        let config = &self.config;
        let mut delay =
            signed(config.delay) + signed(self.rng.time(2 * config.jitter)) - signed(config.jitter);
        if let Some(wander) = config.wander {
            delay += self.weather.wander(wander, leaves, &mut self.rng);
        }
        if let Some(step) = config.step {
            delay += self.weather.step(step, leaves);
        }
        let delay = Duration::from_nanos(u64::try_from(delay).unwrap_or(0));
        let lane = if config.reorder { Lane::Free } else { Lane::InOrder };
        if self.rng.chance(config.straggle.share) {
            return (delay + config.straggle.by, Lane::Free);
        }
        match config.swap.and_then(|swap| weather::held_back(swap, leaves)) {
            Some(held) => (delay + held, Lane::Swapped),
            None => (delay, lane),
        }
    }

    /// When a packet arrives that would at `arrival`, if it does not overtake another of its lane.
    fn arrive(&mut self, arrival: Duration, lane: Lane) -> Duration {
        let last = match lane {
            Lane::InOrder => &mut self.last[0],
            Lane::Swapped => &mut self.last[1],
            Lane::Free => return arrival,
        };
        *last = arrival.max(*last);
        *last
    }

    /// What waits at a constant rate that becomes another: the time that each packet has to go is stretched by their
    /// ratio.
    fn stretch(&mut self, old: u64, new: u64, now: Duration) {
        for waiting in self.queue.iter_mut().filter(|waiting| waiting.served > now) {
            let micros = (waiting.served - now).as_micros() * u128::from(old) / u128::from(new);
            waiting.served = now + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        }
        self.server.restart(self.queue.back().map_or(now, |last| last.served.max(now)));
    }

    /// What waits is served as the new configuration has it, with what the old one has already done of the first packet.
    fn serve_anew(&mut self, before: &LinkConfig, now: Duration) {
        self.forget_what_left(now);
        if let Some((old, new)) = server::constant(before).zip(server::constant(&self.config)) {
            self.stretch(old, new, now);
        } else {
            self.server.restart(now);
            let mut first = Some(before);
            for waiting in self.queue.iter_mut().filter(|waiting| waiting.served > now) {
                let whole = micro_bits(waiting.bytes);
                let left = |config| server::remaining(config, waiting.served - now).min(whole);
                let work = first.take().map_or(whole, left);
                waiting.served = self.server.serve(&self.config, &self.weather, work, now);
            }
        }
        for waiting in &mut self.queue {
            waiting.leaves = server::batched(self.config.batch, waiting.served.max(now));
        }
        let early = self.early.drain().map(|Reverse(traveller)| traveller);
        let mut travellers: Vec<_> = self.in_order.drain(..).chain(early).collect();
        travellers.sort_by_key(|traveller| traveller.order);
        self.last = [Duration::ZERO; 2];
        for traveller in &mut travellers {
            if let Ok(index) = self.queue.binary_search_by_key(&traveller.order, |waiting| waiting.order) {
                traveller.leaves = self.queue[index].leaves;
            }
            traveller.arrival.at = self.arrive(traveller.leaves + traveller.travel, traveller.lane);
        }
        travellers.into_iter().for_each(|traveller| self.insert(traveller));
    }
}

/// A length in millionths of a bit: what a rate serves in a microsecond is a whole number of them.
fn micro_bits(bytes: usize) -> u128 {
    bytes as u128 * 8_000_000
}

/// A time in nanoseconds that can be subtracted from.
fn signed(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests;
