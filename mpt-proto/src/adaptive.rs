//! The adaptive policy: unequal paths bonded as if they were one good link.
//!
//! ```text
//!   packet -> queue by flow -> a path pulls it when its pace allows -> kept until the receiver has settled it
//!             (queue, codel)   (model: how fast; delay: which paths)    (pool), sent again if it was lost
//! ```
//!
//! Packets are bound to a path as late as possible: nothing waits behind a path, so a change of mind costs nothing, and
//! the flows above see one queue that is managed well. The design and the reasons for its numbers are in
//! `docs/adaptive.md`.

mod codel;
mod delay;
mod model;
mod once;
mod pool;
mod queue;

use core::time::Duration;

use crate::feedback::Feedback;
use crate::path_set::{MAX_PATHS, PathSet};
use crate::seq::Seq;
use crate::time::Instant;
use crate::wire::extension::{self, Header, Kind};
use crate::wire::ip;
use crate::wire::report::{Gap, Report};

use codel::{Bounds, Codel};
use delay::CommonDelay;
use model::Model;
pub use model::Phase;
use once::Once;
pub use pool::PacketSlot;
use pool::{Index, List, Pool};
pub use queue::FlowSlot;
use queue::Queue;

/// Times a packet is sent at most.
const TRIES: u8 = 4;
/// A packet older than this is not sent again: what is above has done so itself.
const OLDEST: u32 = 600_000;
/// A share of what is sent may be sent again: one in eight, and this much at once.
const MOST_CREDIT: u32 = 256 << 10;
/// Packets of sparse flows may leave ahead of a path's pace by the time of two full packets.
const OVERDRAW_BYTES: usize = 3_000;
/// Sparse packets that wait for longer are too many for all paths together.
const EXPRESS_BOUNDS: Bounds = Bounds { target: 20_000, interval: 100_000 };
/// A path of a higher tier takes packets that have waited for so long on the lower ones.
const SPILL: u32 = 4_000;
/// Signs of life on paths that carry nothing while others do: what is missing is then known soon.
const MARKER: Duration = Duration::from_millis(10);
/// And on paths that carry nothing for longer.
const IDLE_MARKER: Duration = Duration::from_millis(100);
/// A path that is new is shown this many padded signs of life at once, 8 kB in all: below 4 Mbit/s they arrive over more
/// time than two reports, and the path is known to be thin before anything relies on it.
const TRAIN: u32 = 32;
/// After the last packet, paths are watched for so long.
const ACTIVE: Duration = Duration::from_secs(1);
/// Packets are let gather for so long when all paths are busy: the caller's wake-ups then pay.
const GATHER: Duration = Duration::from_micros(500);
/// Without a report for so long, with packets under way, nothing is known.
const DEAF: Duration = Duration::from_secs(2);
/// While the common delay may rise, packets may wait as long as with a round trip that is this much longer.
const RISING: f32 = 60_000.0;

/// How an adaptive connection sends at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Mode {
    /// By what it measures.
    Adaptive,
    /// By weights, as the peer does not speak the extension.
    PeerCannot,
    /// By weights, as no memory was lent for it, or sequence numbers are off.
    NoMemory,
    /// By weights, as the peer announced the extension but does not report.
    NoReports,
}

/// What is known of a path. Times are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PathModel {
    /// Bytes a second that it carries, headers included.
    pub rate: u32,
    /// What the sender does to find that out.
    pub phase: Phase,
    /// Delay beyond that of the fastest path, without queues.
    pub extra_delay: u32,
    /// What the queue on it adds.
    pub queue: u32,
    /// Mean difference of the delays of two packets in a row.
    pub jitter: u32,
    /// Packets that did not arrive.
    pub lost: u64,
    /// Whether it carries ordered packets.
    pub open: bool,
    /// Whether it seems to have stopped to deliver.
    pub suspect: bool,
}

/// Memory of the adaptive policy that does not depend on the number of packets. `Default` is fresh.
#[derive(Debug, Default)]
pub struct AdaptiveState {
    models: [Model; MAX_PATHS],
    in_flight: [List; MAX_PATHS],
    express: List,
    express_codel: Codel,
    resend: List,
    delay: CommonDelay,
    pub(crate) feedback: Feedback,
    pub(crate) once: Once,
    next_unordered: Seq,
    credit: u32,
    /// As of the last report; `None`: to be found out anew.
    bounds: Option<Bounds>,
    /// Delays are measured against this raw one.
    reference: Option<u32>,
    last_count: Option<Seq>,
    last_sojourn: u32,
    /// When packets were last taken or seen, and a report came.
    active_at: Option<Instant>,
    ordered_at: Option<Instant>,
    heard_at: Option<Instant>,
    waiting_since: Option<Instant>,
    markers: PathSet,
    /// The open paths as last told.
    told: PathSet,
    resent: u64,
    bad_reports: u64,
}

/// What a report was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    Fresh,
    /// It, or a later one, came before on another path.
    Old,
    /// It claims what cannot be.
    Impossible,
}

/// A datagram that leaves: its packet lies in `slot`, with room for headers before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leaving {
    pub(crate) path: usize,
    slot: Index,
    pub(crate) header: Header,
    pub(crate) seq: Seq,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Adaptive<'s> {
    pub(crate) state: &'s mut AdaptiveState,
    pool: Pool<'s>,
    queue: Queue<'s>,
    /// The connection sends by this policy.
    is_chosen: bool,
    resends: bool,
    order_udp: bool,
    /// Packets that the peer can hold.
    pub(crate) peer_window: u16,
    /// How the peer wants ordered packets held, and the paths where they may come, by its numbers.
    pub(crate) hold: Option<u32>,
    pub(crate) open: Option<PathSet>,
    /// Packets for which there was no room.
    refused: u64,
    random: u32,
}

impl<'s> Adaptive<'s> {
    pub(crate) fn new(
        (is_chosen, resends, order_udp): (bool, bool, bool),
        state: &'s mut AdaptiveState,
        slots: &'s mut [PacketSlot],
        bytes: &'s mut [u8],
        flows: &'s mut [FlowSlot],
    ) -> Self {
        *state = AdaptiveState::default();
        Self {
            state,
            pool: Pool::new(slots, bytes),
            queue: Queue::new(flows),
            is_chosen,
            resends,
            order_udp,
            peer_window: 0,
            hold: None,
            open: None,
            refused: 0,
            random: 1,
        }
    }

    /// Whether there is memory to send by it.
    pub(crate) fn can_send(&self) -> bool {
        self.pool.len() > 0
    }

    /// Whether a packet of so many bytes can be kept.
    pub(crate) const fn fits(&self, len: usize) -> bool {
        self.pool.fits(len)
    }

    /// Takes a packet. If there is no room for it, others or it are dropped, and counted.
    pub(crate) fn push(&mut self, packet: &[u8], seed: u64, now: Instant) {
        let mut stored = self.pool.store(packet);
        if stored.is_none() {
            self.make_room(now);
            stored = self.pool.store(packet);
        }
        let Some(index) = stored else {
            self.refused += 1;
            return;
        };
        let flow = ip::Flow::of(packet, seed);
        let bucket = self.queue.bucket(flow.hash);
        let bare = ip::is_bare_ack(packet, &flow);
        let sparse = bare || self.queue.is_sparse(bucket, packet.len(), now.stamp());
        let Some(slot) = self.pool.slot_mut(index) else { return };
        slot.flow = bucket;
        slot.since = now.stamp();
        slot.unordered = sparse || !flow.wants_order(self.order_udp);
        if sparse {
            self.pool.push(&mut self.state.express, index);
        } else {
            self.queue.push(&mut self.pool, index, now.stamp());
        }
        self.state.active_at = Some(now);
    }

    /// All slots are taken: forgets the packet that has been under way for longest, or drops packets that wait.
    fn make_room(&mut self, now: Instant) {
        let Self { state, pool, queue, .. } = self;
        let age = |list: &List| {
            let slot = list.first().and_then(|index| pool.slot(index));
            slot.map(|slot| now.stamp().wrapping_sub(slot.sent))
        };
        let oldest = state.in_flight.iter_mut().max_by_key(|list| age(list));
        match oldest.filter(|list| !list.is_empty() && queue.len() < pool.len() / 2) {
            Some(list) => {
                if let Some(index) = pool.pop(list) {
                    pool.release(index);
                }
            }
            None => {
                queue.overflow(pool);
            }
        }
    }

    /// The next datagram that may leave now. `next` is the next number of the ordered sequence.
    pub(crate) fn poll(&mut self, up: PathSet, next: &mut Seq, now: Instant) -> Option<Leaving> {
        let alive = self.alive(up);
        if alive.is_empty() {
            return None;
        }
        let (path, slot) = match self.poll_express(alive, now) {
            Some(leaving) => leaving,
            None => {
                let mut free = alive;
                match self.poll_resend(&mut free, now) {
                    Some(leaving) => leaving,
                    None => self.poll_queue(free, now)?,
                }
            }
        };
        self.depart(path, slot, next, now)
    }

    fn alive(&self, up: PathSet) -> PathSet {
        let mut alive = up;
        for index in up {
            if self.state.models.get(index).is_none_or(|model| !model.is_alive()) {
                alive.set(index, false);
            }
        }
        alive
    }

    /// The paths of the lowest tier among `paths`.
    fn lowest_tier(&self, paths: PathSet) -> PathSet {
        let tier = |index: usize| self.state.models.get(index).map_or(u8::MAX, |model| model.tier);
        let Some(lowest) = paths.into_iter().map(tier).min() else { return paths };
        let mut set = PathSet::default();
        for index in paths.into_iter().filter(|index| tier(*index) == lowest) {
            set.insert(index);
        }
        set
    }

    /// The path among `paths` that delivers first what leaves now, and how long it waits before.
    fn first_to_deliver(&self, paths: PathSet, now: Instant) -> Option<(usize, u64)> {
        let mut best: Option<(f32, usize, u64)> = None;
        for index in paths {
            let (Some(model), Some(delay)) = (self.state.models.get(index), self.delivery(index, now)) else {
                continue;
            };
            let wait = model.wait(now);
            if best.is_none_or(|(least, ..)| delay < least) {
                best = Some((delay, index, wait));
            }
        }
        best.map(|(_, index, wait)| (index, wait))
    }

    /// Packets of sparse flows: on the fastest path, a little ahead of its pace; on a slower one once they have waited
    /// for as long as that takes longer.
    fn poll_express(&mut self, alive: PathSet, now: Instant) -> Option<(usize, Index)> {
        loop {
            let (path, at) = self.express_path(alive, now)?;
            if at > now {
                return None;
            }
            let index = self.pool.pop(&mut self.state.express)?;
            let sojourn = now.stamp().wrapping_sub(self.pool.slot(index)?.since);
            let last = self.state.express.is_empty();
            if !self.state.express_codel.is_due(sojourn, last, EXPRESS_BOUNDS, now.stamp()) {
                return Some((path, index));
            }
            self.pool.release(index);
            self.refused += 1;
        }
    }

    /// The path for the first sparse packet, and when it may leave on it.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    fn express_path(&self, alive: PathSet, now: Instant) -> Option<(usize, Instant)> {
        let first = self.pool.slot(self.state.express.first()?)?;
        let sojourn = now.stamp().wrapping_sub(first.since) as f32;
        let paths = self.lowest_tier(alive);
        let (fastest, wait) = self.first_to_deliver(paths, now)?;
        let ahead =
            |index: usize| self.state.models.get(index).map_or(0, |model| model.time_of(OVERDRAW_BYTES));
        let wait = wait.saturating_sub(ahead(fastest));
        if wait == 0 {
            return Some((fastest, now));
        }
        let least = self.delivery(fastest, now)?;
        let mut best = (fastest, wait);
        for index in paths {
            let Some(model) = self.state.models.get(index) else { continue };
            let patience = self.delivery(index, now)? - least - sojourn;
            let wait = model.wait(now).saturating_sub(ahead(index)).max(patience.max(0.0) as u64);
            if wait < best.1 {
                best = (index, wait);
            }
        }
        Some((best.0, now + Duration::from_micros(best.1)))
    }

    /// The delay, against the reference, of what is sent on a path now.
    fn delivery(&self, path: usize, now: Instant) -> Option<f32> {
        let model = self.state.models.get(path)?;
        Some(model.base().unwrap_or(1e6) + model.queue.max(0.0) + model.wait(now) as f32)
    }

    /// What was lost: on the path that delivers it first, which then waits for it.
    fn poll_resend(&mut self, free: &mut PathSet, now: Instant) -> Option<(usize, Index)> {
        while let Some(index) = self.state.resend.first() {
            if self.pool.slot(index).is_some_and(|slot| now.stamp().wrapping_sub(slot.since) <= OLDEST) {
                let (path, wait) = self.first_to_deliver(*free, now)?;
                if wait > 0 {
                    free.set(path, false);
                    return None;
                }
                let index = self.pool.pop(&mut self.state.resend)?;
                self.state.resent += 1;
                return Some((path, index));
            }
            let index = self.pool.pop(&mut self.state.resend)?;
            self.pool.release(index);
        }
        None
    }

    /// Bulk: the fastest open path that is ready takes the packet whose turn it is.
    fn poll_queue(&mut self, free: PathSet, now: Instant) -> Option<(usize, Index)> {
        if self.queue.is_empty() {
            if self.state.express.is_empty() && self.state.resend.is_empty() {
                self.note_idle(free, now);
            }
            return None;
        }
        let open = PathSet(free.0 & self.state.delay.open.0);
        let cheap = self.lowest_tier(open);
        let mut best: Option<(u8, f32, usize)> = None;
        for index in open {
            let Some(model) = self.state.models.get_mut(index).filter(|model| model.is_ready(now)) else {
                continue;
            };
            if !cheap.contains(index) && self.state.last_sojourn < SPILL {
                model.handle_idle();
                continue;
            }
            let rank = (model.tier, model.base().unwrap_or(0.0));
            if best.is_none_or(|(tier, base, _)| rank < (tier, base)) {
                best = Some((rank.0, rank.1, index));
            }
        }
        let (.., path) = best?;
        let bounds = self.bounds();
        let Some(index) = self.queue.pop(&mut self.pool, bounds, now.stamp()) else {
            self.note_idle(free, now);
            return None;
        };
        let sojourn = now.stamp().wrapping_sub(self.pool.slot(index)?.since);
        self.state.last_sojourn = sojourn;
        self.state.delay.note_sojourn(sojourn);
        Some((path, index))
    }

    /// Nothing waits: what paths carry from now on does not tell what they could.
    fn note_idle(&mut self, paths: PathSet, now: Instant) {
        self.state.delay.note_empty();
        self.state.last_sojourn = 0;
        for index in paths {
            if let Some(model) = self.state.models.get_mut(index).filter(|model| model.wait(now) == 0) {
                model.handle_idle();
            }
        }
    }

    /// The round trip that a bulk flow sees, without the queue here.
    fn round_trip(&self) -> f32 {
        let mut fastest: Option<(f32, f32)> = None;
        for model in &self.state.models {
            let Some(base) = model.base().filter(|_| model.is_alive()) else { continue };
            if fastest.is_none_or(|(least, _)| base < least) {
                fastest = Some((base, model.feedback));
            }
        }
        fastest.map_or(100_000.0, |(base, feedback)| feedback + self.state.delay.spread(base))
    }

    /// The queue here may stand for a part of the round trip: less would leave a lone flow below capacity.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    fn bounds(&mut self) -> Bounds {
        if let Some(bounds) = self.state.bounds {
            return bounds;
        }
        let round_trip = self.round_trip() + if self.state.delay.may_rise { RISING } else { 0.0 };
        let bounds = Bounds {
            target: (0.3 * round_trip).clamp(5_000.0, 40_000.0) as u32,
            interval: (3.0 * round_trip).clamp(100_000.0, 1e6) as u32,
        };
        self.state.bounds = Some(bounds);
        bounds
    }

    fn depart(&mut self, path: usize, index: Index, next: &mut Seq, now: Instant) -> Option<Leaving> {
        let slot = self.pool.slot_mut(index)?;
        let len = usize::from(slot.len);
        let resent = slot.tries > 0;
        slot.tries = slot.tries.saturating_add(1);
        slot.sent = now.stamp();
        if !resent {
            slot.since = now.stamp();
            let counter = if slot.unordered { &mut self.state.next_unordered } else { next };
            slot.seq = *counter;
            *counter = *counter + 1;
            let credit = self.state.credit.saturating_add(u32::from(slot.len) / 8);
            self.state.credit = credit.min(MOST_CREDIT);
        }
        let kind = if slot.unordered { Kind::Unordered } else { Kind::Ordered };
        let (seq, unordered) = (slot.seq, slot.unordered);
        let header = self.stamp(path, kind, resent, len, now)?;
        if let Some(slot) = self.pool.slot_mut(index) {
            slot.number = header.number;
        }
        self.pool.push(self.state.in_flight.get_mut(path)?, index);
        if !unordered {
            self.state.ordered_at = Some(now);
            let model = self.state.models.get_mut(path)?;
            (model.last_ordered, model.ordered_number) = (now, header.number);
        }
        self.state.active_at = Some(now);
        self.state.waiting_since = self.state.waiting_since.or(Some(now));
        Some(Leaving { path, slot: index, header, seq })
    }

    /// The extension header of a datagram that leaves now with `len` bytes behind it.
    pub(crate) fn stamp(
        &mut self,
        path: usize,
        kind: Kind,
        resent: bool,
        len: usize,
        now: Instant,
    ) -> Option<Header> {
        let model = self.state.models.get_mut(path)?;
        if matches!(kind, Kind::Marker | Kind::Report) {
            model.last_ordered = now;
        }
        let number = model.handle_sent(len + extension::LEN + extension::OUTER, now) & 0x00ff_ffff;
        Some(Header { kind, resent, number, stamp: now.stamp() })
    }

    /// The bytes of a datagram that leaves, with so many before the packet.
    pub(crate) fn datagram(&mut self, leaving: &Leaving, headroom: usize) -> &mut [u8] {
        self.pool.datagram_mut(leaving.slot, headroom)
    }

    /// Takes a report.
    pub(crate) fn handle_report(&mut self, report: &Report, written: u32, up: PathSet, now: Instant) -> News {
        if self.state.last_count.is_some_and(|last| report.count.distance_from(last) <= 0) {
            return News::Old;
        }
        self.state.last_count = Some(report.count);
        let mut sound = true;
        let backlog = !self.queue.is_empty();
        for block in &report.paths {
            let path = usize::from(block.path);
            let reference = *self.state.reference.get_or_insert(block.delay);
            #[allow(clippy::cast_possible_wrap, reason = "a difference of delays")]
            let delay = block.delay.wrapping_sub(reference) as i32 as f32;
            let random = self.random();
            let Some(model) = self.state.models.get_mut(path) else { continue };
            match model.handle_report(block, written, delay, backlog, now, random) {
                Some(true) => self.settle(path, &report.gaps, now),
                Some(false) => {}
                None => sound = false,
            }
        }
        if !sound {
            self.state.bad_reports += 1;
            return News::Impossible;
        }
        self.state.heard_at = Some(now);
        self.state.waiting_since = None;
        if let Some(reference) = self.state.reference {
            for index in self.alive(up) {
                let overdue =
                    |model: &Model| model.is_alive() && model.is_overdue(written.wrapping_sub(reference));
                if self.state.models.get(index).is_some_and(overdue) {
                    self.suspect(index, now);
                }
            }
        }
        self.update(up, now);
        News::Fresh
    }

    /// Decides anew which paths are open.
    fn update(&mut self, up: PathSet, now: Instant) {
        let backlog = !self.queue.is_empty();
        let window = f32::from(self.peer_window);
        let Self { state, .. } = self;
        state.delay.is_used = state.ordered_at.is_some_and(|at| now.since(at) < ACTIVE);
        state.delay.update(&state.models, up, backlog, window, now);
        state.bounds = None;
        for (index, model) in state.models.iter_mut().enumerate() {
            if !state.delay.open.contains(index) {
                model.handle_closed();
            }
        }
        if state.delay.open != state.told {
            state.told = state.delay.open;
            state.feedback.ask(now);
        }
    }

    /// Lets go of what the receiver has settled on a path, but for what is in a gap.
    fn settle(&mut self, path: usize, gaps: &[Gap], now: Instant) {
        let Self { state, pool, .. } = self;
        let (Some(list), Some(model)) = (state.in_flight.get_mut(path), state.models.get_mut(path)) else {
            return;
        };
        while let Some(index) = list.first() {
            let Some(&slot) = pool.slot(index) else { break };
            if extension::distance(slot.number, model.acked) > 0 {
                break;
            }
            pool.pop(list);
            let lost = gaps.iter().any(|gap| {
                let ahead = extension::distance(slot.number, gap.first);
                usize::from(gap.path) == path && (0..i32::from(gap.count)).contains(&ahead)
            });
            let young = now.stamp().wrapping_sub(slot.since) <= OLDEST && slot.tries < TRIES;
            let cost = u32::from(slot.len);
            if lost {
                model.handle_lost();
            }
            if lost && self.resends && young && state.credit >= cost {
                state.credit -= cost;
                pool.push(&mut state.resend, index);
            } else {
                pool.release(index);
            }
        }
    }

    /// A path stopped to deliver: what is under way on it leaves again elsewhere.
    fn suspect(&mut self, path: usize, now: Instant) {
        if let Some(model) = self.state.models.get_mut(path) {
            model.suspect = Some(now);
        }
        self.hand_over(path, now);
    }

    fn hand_over(&mut self, path: usize, now: Instant) {
        let Self { state, pool, .. } = self;
        if let Some(model) = state.models.get_mut(path) {
            model.forget_milestones();
        }
        let Some(list) = state.in_flight.get_mut(path) else { return };
        while let Some(index) = pool.pop(list) {
            let young = pool
                .slot(index)
                .is_some_and(|slot| now.stamp().wrapping_sub(slot.since) <= OLDEST && slot.tries < TRIES);
            if young && self.resends {
                pool.push(&mut state.resend, index);
            } else {
                pool.release(index);
            }
        }
    }

    /// A path went down or came up, or is another one.
    pub(crate) fn set_up(&mut self, path: usize, is_up: bool, up: PathSet, now: Instant) {
        let Some(model) = self.state.models.get_mut(path) else { return };
        match (model.down, is_up) {
            (None, false) => {
                model.down = Some(now);
                self.hand_over(path, now);
            }
            (Some(_), true) => {
                model.down = None;
                model.suspect = None;
                if self.is_chosen && !model.reported {
                    model.begin_train(TRAIN);
                }
            }
            _ => return,
        }
        self.update(up, now);
    }

    /// The path of this number is a new one, of this tier.
    pub(crate) fn set_path(&mut self, path: usize, tier: u8, now: Instant) {
        self.hand_over(path, now);
        if let Some(model) = self.state.models.get_mut(path) {
            (model.tier, model.down) = (tier, Some(now));
            model.reset();
        }
        self.state.feedback.restart(PathSet::of(path));
    }

    /// The peer starts anew: all that was measured with the former one is void.
    pub(crate) fn restart(&mut self) {
        for path in 0..MAX_PATHS {
            let Self { state, pool, .. } = self;
            if let (Some(list), Some(model)) = (state.in_flight.get_mut(path), state.models.get_mut(path)) {
                while let Some(index) = pool.pop(list) {
                    pool.release(index);
                }
                model.reset();
            }
        }
        while let Some(index) = self.pool.pop(&mut self.state.resend) {
            self.pool.release(index);
        }
        self.state.reference = None;
        self.state.last_count = None;
        self.state.heard_at = None;
        self.state.waiting_since = None;
        self.state.delay = CommonDelay::default();
        self.state.bounds = None;
        self.state.once = Once::default();
        (self.hold, self.open) = (None, None);
        self.state.feedback.restart(PathSet(u16::MAX));
    }

    /// When something is to be done although nothing comes.
    pub(crate) fn deadline(&self, up: PathSet, now: Instant) -> Option<Instant> {
        let alive = self.alive(up);
        let soonest = |paths: PathSet| {
            let models = paths.into_iter().filter_map(|index| self.state.models.get(index));
            models.filter(|model| !model.is_full()).map(|model| model.wait(now)).min()
        };
        let wait_of = |micros: u64| now + Duration::from_micros(micros);
        let express = self.express_path(alive, now).map(|(_, at)| at);
        let resend = self
            .state
            .resend
            .first()
            .and_then(|_| self.first_to_deliver(alive, now).map(|(_, wait)| wait_of(wait)));
        let open = PathSet(alive.0 & self.state.delay.open.0);
        let bulk = (!self.queue.is_empty()).then(|| soonest(open)).flatten();
        let bulk = bulk.map(|wait| wait_of(wait) + GATHER);
        let deaf = self.state.waiting_since.map(|since| since + DEAF).filter(|at| *at > now);
        let markers = up.into_iter().filter_map(|index| self.marker_at(index, now)).min();
        let report = self.state.feedback.deadline().filter(|_| !up.is_empty());
        [express, resend, bulk, deaf, markers, report].into_iter().flatten().min()
    }

    /// When a path is to give a sign of life.
    fn marker_at(&self, path: usize, now: Instant) -> Option<Instant> {
        let active = self.state.active_at.filter(|at| now.since(*at) < ACTIVE)?;
        let model = self.state.models.get(path)?;
        let busy = self.state.ordered_at.is_some_and(|at| now.since(at) < IDLE_MARKER * 2);
        let watched = self.state.delay.open.contains(path) && busy
            || model.suspect.is_some_and(|since| now.since(since) < ACTIVE)
            || model.base().is_none();
        let wait = if watched { MARKER } else { IDLE_MARKER };
        let at = model.last_ordered + wait;
        (at < active + ACTIVE).then_some(at)
    }

    /// Finds out which paths are to give a sign of life.
    pub(crate) fn handle_timeout(&mut self, up: PathSet, now: Instant) {
        if self.is_deaf(now) {
            self.state.models.iter_mut().for_each(Model::forgive);
            // A report that was made up may have claimed a count that the true ones never come to.
            self.state.last_count = None;
        }
        for index in up {
            if self.marker_at(index, now).is_some_and(|at| at <= now) {
                self.state.markers.insert(index);
            }
        }
    }

    /// The path that is to give a sign of life now, and whether it is to be a large one.
    pub(crate) fn poll_marker(&mut self) -> Option<(usize, bool)> {
        let train = self.state.models.iter().position(|model| model.is_alive() && model.is_in_train());
        train.map(|path| (path, true)).or_else(|| self.state.markers.pop().map(|path| (path, false)))
    }

    /// Paths that a report should take: the two that deliver first.
    pub(crate) fn best(&self, up: PathSet, now: Instant) -> PathSet {
        let alive = self.alive(up);
        let candidates = if alive.is_empty() { up } else { self.lowest_tier(alive) };
        let mut best = PathSet::default();
        for candidates in [candidates, alive] {
            for _ in 0..2 {
                let rest = PathSet(candidates.0 & !best.0);
                if best.0.count_ones() < 2
                    && let Some((index, _)) = self.first_to_deliver(rest, now)
                {
                    best.insert(index);
                }
            }
        }
        best
    }

    /// What goes into a report: how long the peer shall hold ordered packets, and where they may come.
    #[allow(clippy::cast_possible_truncation, reason = "bounded by the spread of delays")]
    pub(crate) fn orders(&self) -> (Option<u32>, PathSet, bool) {
        let hold = self.state.delay.hold.zip(self.state.reference);
        let hold = hold.map(|(hold, reference)| reference.wrapping_add_signed(hold as i32));
        let mut open = self.state.delay.open;
        for (index, model) in self.state.models.iter().enumerate() {
            if model.is_alive() && model.carries_ordered() {
                open.insert(index);
            }
        }
        (hold, open, self.resends)
    }

    /// How long the receiver should wait for a repair once it knows that a packet is missing.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    pub(crate) fn repair_time(&self) -> Duration {
        let fastest = self.state.models.iter().filter(|model| model.is_alive() && model.base().is_some());
        let feedback = fastest.map(|model| model.feedback).fold(150_000.0, f32::min);
        let most = (1.5 * feedback + 60_000.0).max(250_000.0);
        Duration::from_micros((4.0 * feedback + 20_000.0).max(80_000.0).min(most) as u64)
    }

    /// Whether reports have stopped although packets were sent.
    pub(crate) fn is_deaf(&self, now: Instant) -> bool {
        self.state.waiting_since.is_some_and(|since| now.since(since) >= DEAF)
    }

    /// What is known of a path.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    pub(crate) fn path_model(&self, path: usize) -> PathModel {
        let Some(model) = self.state.models.get(path) else { return PathModel::default() };
        let bases = self.state.models.iter().filter(|model| model.is_alive()).filter_map(Model::base);
        let fastest = bases.reduce(f32::min);
        PathModel {
            rate: model.rate as u32,
            phase: model.phase(),
            extra_delay: model.base().zip(fastest).map_or(0, |(base, fastest)| (base - fastest) as u32),
            queue: model.queue as u32,
            jitter: model.jitter() as u32,
            lost: u64::from(model.lost()),
            open: self.state.delay.open.contains(path),
            suspect: model.suspect.is_some(),
        }
    }

    fn random(&mut self) -> f32 {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.random >> 8) as f32 / (1 << 24) as f32
    }

    pub(crate) const fn counts(&self) -> Counts {
        let queue = self.queue.counts;
        Counts {
            dropped: queue.dropped + self.refused,
            marked: queue.marked,
            resent: self.state.resent,
            bad_reports: self.state.bad_reports,
        }
    }

    /// Packets leave by another policy: the paths are watched all the same.
    pub(crate) const fn note_active(&mut self, now: Instant) {
        self.state.active_at = Some(now);
    }
}

/// What happened to packets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) dropped: u64,
    pub(crate) marked: u64,
    pub(crate) resent: u64,
    pub(crate) bad_reports: u64,
}
