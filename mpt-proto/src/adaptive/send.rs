//! What leaves, when and where: what is not held, what was lost, and the bulk, each on the path that suits it.

use crate::adaptive::class::{Arrival, Class, Travel, Waiting};
use crate::adaptive::model::Model;
use crate::adaptive::pool::{Index, PacketSlot};
use crate::adaptive::queue::Turn;
use crate::adaptive::tuning::{
    COPY_AFTER, CREDIT_SHARE, DELAY_NOISE, EXPRESS_OLDEST, MOST_COPIES, MOST_CREDIT, MOST_LEAD, OLDEST,
    OVERDRAW_BYTES, RESERVED_CREDIT, SPILL, THIN_ACKS, TOLERANCE,
};
use crate::adaptive::{Adaptive, AdaptiveState};
use crate::gate::Gate;
use crate::path_set::PathSet;
use crate::seq::Seq;
use crate::time::Instant;
use crate::wire::extension::{self, Header, Kind};
use crate::wire::ip;

/// The bucket of the express queue for what has none for itself.
const SHARED: u16 = 0;

/// A datagram that leaves: its packet lies in `slot`, with room for headers before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leaving {
    pub(crate) path: usize,
    slot: Index,
    pub(crate) header: Header,
    pub(crate) seq: Seq,
}

/// How a packet travels.
struct Way {
    bucket: u16,
    class: Class,
    /// Per cent of what is sent that its copies may be.
    copies: u8,
}

/// A packet that has left, and is to leave once more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Twin {
    index: Index,
    /// The path that it took.
    path: usize,
    cause: Cause,
}

#[cfg(feature = "state")]
impl Twin {
    pub(super) const fn at(index: Index, path: usize, cause: Cause) -> Self {
        Self { index, path, cause }
    }

    pub(super) const fn index(&self) -> Index {
        self.index
    }

    pub(super) const fn path(&self) -> usize {
        self.path
    }

    pub(super) const fn cause(&self) -> Cause {
        self.cause
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum Cause {
    /// It was sent again, and the receiver will not wait for another time.
    LastTry,
    /// It is protected.
    Protected,
    /// It shows what a path carries that is not worth waiting for.
    Trial,
}

impl AdaptiveState {
    /// By how much, in microseconds, a packet that is not held may overtake one that is: the common delay beyond that of the fastest
    /// path, and what its estimate may be wrong by.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    fn overtakes(&self) -> u32 {
        let alive = self.models.iter().filter(|model| model.is_alive());
        let fastest = alive.filter_map(Model::base).reduce(f32::min);
        fastest.map_or(0, |fastest| (self.delay.spread(fastest) + TOLERANCE) as u32)
    }
}

impl Adaptive<'_> {
    /// Takes a packet of this flow, or a slice of one. If there is no room for it, others or it are dropped, and counted.
    pub(crate) fn push(&mut self, packet: &[u8], flow: &ip::Flow, now: Instant) {
        let Way { bucket, class, copies } = self.way(packet, flow, now);
        let is_express = class == Class::Express;
        if is_express && self.thins(packet, bucket, now) {
            return;
        }
        let Some(index) = self.store(packet, now) else { return };
        let Some(slot) = self.pool.slot_mut(index) else { return };
        (slot.flow, slot.unordered, slot.copies) = (bucket, is_express, copies);
        let queue = if is_express && self.express.has_flows() { &mut self.express } else { &mut self.queue };
        queue.push(&mut self.pool, index);
    }

    /// How a packet travels. If its flow becomes bulk with it, what waits of that becomes bulk as well, so that it is not overtaken.
    fn way(&mut self, packet: &[u8], flow: &ip::Flow, now: Instant) -> Way {
        let arrival = Arrival::new(packet, flow, self.order_udp, now.stamp());
        // There may be thousands of these in a second.
        if arrival.opens() {
            return Way { bucket: SHARED, class: Class::Express, copies: 0 };
        }
        let Self { state, queue, express, pool, .. } = self;
        let (bucket, is_owner) = queue.bucket(flow.hash, || arrival.ruled(&state.rules), now.stamp());
        let waiting = Waiting { express: express.waits(bucket), bulk: queue.waits(bucket) };
        let Some(behaviour) = queue.behaviour(bucket).filter(|_| is_owner) else {
            let class = arrival.class();
            return Way { bucket: if class == Class::Express { SHARED } else { bucket }, class, copies: 0 };
        };
        let class = behaviour.classify(&arrival, waiting, || state.overtakes());
        let copies = match behaviour.travel() {
            Some(Travel::Protected(share)) => share,
            _ => 0,
        };
        if class == Class::Bulk && waiting.express {
            while let Some(index) = express.take(pool, bucket) {
                if let Some(slot) = pool.slot_mut(index) {
                    slot.unordered = false;
                }
                queue.push(pool, index);
            }
        }
        Way { bucket, class, copies }
    }

    /// Whether a packet is an acknowledgement that takes the place of the one before it, as its flow has to wait: all that this said, it
    /// says.
    fn thins(&mut self, packet: &[u8], bucket: u16, now: Instant) -> bool {
        let Some((first, last)) = self.express.ends(bucket) else { return false };
        let waits = |slot: &PacketSlot| now.stamp().wrapping_sub(slot.since) >= THIN_ACKS;
        let thins =
            self.pool.slot(first).is_some_and(waits) && ip::supersedes(packet, self.pool.packet_mut(last));
        if thins {
            self.pool.replace(last, packet);
            self.state.refused += 1;
            self.state.active_at = Some(now);
        }
        thins
    }

    /// The next datagram that may leave now. `next` is the next number of the ordered sequence; what leaves for the first time does so
    /// through `gate`.
    pub(crate) fn poll(
        &mut self,
        up: PathSet,
        (next, gate): (&mut Seq, &mut Gate),
        now: Instant,
    ) -> Option<Leaving> {
        if !self.state.named_on.is_empty() {
            return self.poll_named(next, now);
        }
        let is_open = gate.is_open(now);
        self.state.is_limited = gate.is_felt(now);
        if is_open
            && let Some(path) = self.run(up, now)
            && let Some(slot) = self.next_bulk(gate, now)
        {
            if self.suits(path, slot) {
                self.charge(slot, gate, now);
                return self.depart(path, slot, next, now);
            }
            self.state.parked = Some(slot);
        }
        let alive = self.alive(up);
        if alive.is_empty() {
            return None;
        }
        if let Some(twin) = self.poll_twin(alive, now) {
            return Some(twin);
        }
        let is_fresh = self.express.turn() == Some(Turn::Fresh);
        let (path, slot) = (is_fresh && is_open)
            .then(|| self.poll_express(gate, alive, now))
            .flatten()
            .or_else(|| self.poll_resend(alive, now))
            .or_else(|| (!is_fresh && is_open).then(|| self.poll_express(gate, alive, now)).flatten())
            .or_else(|| self.poll_queue(alive, gate, now))?;
        self.charge(slot, gate, now);
        self.depart(path, slot, next, now)
    }

    /// A packet leaves: for the first time, or it is paid for.
    fn charge(&self, index: Index, gate: &mut Gate, now: Instant) {
        if let Some(slot) = self.pool.slot(index).filter(|slot| slot.tries == 0) {
            gate.charge_packet(usize::from(slot.len), now);
        }
    }

    /// The path that the bulk took last, if it takes the next packet as well: while no time passes and no report comes, no
    /// other path gets ready. So packets leave in runs, and cost less than the first of them.
    fn run(&self, up: PathSet, now: Instant) -> Option<usize> {
        let (path, _) = self.state.run.filter(|(_, at)| *at == now)?;
        let waits = !self.express.is_empty() || !self.state.lost.is_empty();
        let model = self.state.models.get(path).filter(|model| model.is_alive() && model.takes_more(now));
        (!waits && up.contains(path) && self.state.delay.open.contains(path) && model.is_some())
            .then_some(path)
    }

    pub(super) fn alive(&self, up: PathSet) -> PathSet {
        let mut alive = up;
        for index in up {
            if self.state.models.get(index).is_none_or(|model| !model.is_alive()) {
                alive.set(index, false);
            }
        }
        alive
    }

    /// The paths of the lowest tier among `paths`.
    pub(super) fn lowest_tier(&self, paths: PathSet) -> PathSet {
        let tier = |index: usize| self.state.models.get(index).map_or(u8::MAX, |model| model.tier);
        let Some(lowest) = paths.into_iter().map(tier).min() else { return paths };
        let mut set = PathSet::default();
        for index in paths.into_iter().filter(|index| tier(*index) == lowest) {
            set.insert(index);
        }
        set
    }

    /// The path among `paths` that delivers first what leaves now, and how long it waits before.
    pub(super) fn first_to_deliver(&self, paths: PathSet, now: Instant) -> Option<(usize, u64)> {
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

    /// Packets that are not held: on the fastest path, a little ahead of its pace; on a slower one once they have waited
    /// for as long as that takes longer.
    fn poll_express(&mut self, gate: &Gate, alive: PathSet, now: Instant) -> Option<(usize, Index)> {
        let (path, at) = self.express_path(alive, now)?;
        if at > now {
            return None;
        }
        let bounds = self.accepted(gate, now).express;
        let index = loop {
            let index =
                self.express.pop(&mut self.pool, bounds, &mut self.state.queue_counts, now.stamp())?;
            let &PacketSlot { since, flow, .. } = self.pool.slot(index)?;
            if now.stamp().wrapping_sub(since) < EXPRESS_OLDEST || !self.express.waits(flow) {
                break index;
            }
            self.pool.release(index);
            self.state.refused += 1;
        };
        let bytes = self.bytes_on_the_way(index) / i32::from(self.express.old_flows().max(1));
        self.note_share(bytes);
        Some((path, index))
    }

    /// What a packet has on a path, headers included.
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a small constant")]
    fn bytes_on_the_way(&self, index: Index) -> i32 {
        let len = self.pool.slot(index).map_or(0, |slot| slot.len);
        i32::from(len) + (extension::LEN + extension::OUTER) as i32
    }

    /// Each of the express flows got so many bytes, or each of the bulk flows did, if it is negative.
    fn note_share(&mut self, bytes: i32) {
        // Not `clamp`, which can panic.
        let lead = self.state.express_lead.saturating_add(bytes).max(-MOST_LEAD);
        self.state.express_lead = lead.min(MOST_LEAD);
    }

    /// The path for the first packet that is not held, and when it may leave on it. Flows that have had their quantum share the open
    /// paths with the bulk: `None` if it is the bulk's turn there.
    pub(super) fn express_path(&self, alive: PathSet, now: Instant) -> Option<(usize, Instant)> {
        let (turn, first) = self.express.first()?;
        let (path, at) = self.fastest_for(self.pool.slot(first)?, alive, now)?;
        let is_others = turn == Turn::Old && self.state.express_lead > 0 && self.has_bulk();
        (!is_others || !self.state.delay.open.contains(path)).then_some((path, at))
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    fn fastest_for(&self, first: &PacketSlot, alive: PathSet, now: Instant) -> Option<(usize, Instant)> {
        let sojourn = now.stamp().wrapping_sub(first.since) as f32;
        let paths = self.lowest_tier(self.fitting(alive, usize::from(first.len)));
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
            let wait = model.wait(now).saturating_sub(ahead(index)).max(u64::from(patience.max(0.0) as u32));
            if wait < best.1 {
                best = (index, wait);
            }
        }
        Some((best.0, now.later(best.1)))
    }

    /// The delay, against the reference, within which nearly all arrives that is sent on a path now.
    fn delivery(&self, path: usize, now: Instant) -> Option<f32> {
        let model = self.state.models.get(path)?;
        let noise = DELAY_NOISE * model.deviation();
        Some(model.base().unwrap_or(1e6) + noise + model.queue() + model.wait(now) as f32)
    }

    /// What was lost.
    fn poll_resend(&mut self, alive: PathSet, now: Instant) -> Option<(usize, Index)> {
        loop {
            let first = self.pool.slot(self.state.lost.first()?)?;
            if now.stamp().wrapping_sub(first.since) <= OLDEST {
                let path = self.repair_path(alive, now).filter(|(_, wait)| *wait == 0)?.0;
                self.state.resent += 1;
                let index = self.state.lost.pop(&mut self.pool)?;
                let is_last = self.is_last_try(path, index, now);
                self.state.twin = is_last.then_some(Twin { index, path, cause: Cause::LastTry });
                return Some((path, index));
            }
            let index = self.state.lost.pop(&mut self.pool)?;
            self.pool.release(index);
        }
    }

    /// For how long the receiver will still wait for a packet that was sent first at `since`, in microseconds, and a little
    /// longer: it begins when it notices.
    fn time_left(&self, since: u32, now: Instant) -> f32 {
        self.repair_time(self.state.delay.open).as_micros() as f32 - now.stamp().wrapping_sub(since) as f32
    }

    /// Whether it will not wait for another repair, if this one is lost on this path.
    fn is_last_try(&self, path: usize, index: Index, now: Instant) -> bool {
        let (model, slot) =
            (self.state.models.get(path), self.pool.slot(index).filter(|slot| !slot.unordered));
        let left = slot.map(|slot| self.time_left(slot.since, now));
        model.zip(left).is_some_and(|(model, left)| (0.0..model.feedback).contains(&left))
    }

    /// The packet that has just left leaves once more: at the last time that helps on another path if that is in time, or else on the
    /// same; if it is protected, on another path only.
    fn poll_twin(&mut self, alive: PathSet, now: Instant) -> Option<Leaving> {
        let Twin { index, path: taken, cause } = self.state.twin.take()?;
        let slot = *self.pool.slot(index).filter(|slot| slot.tries > 0 && slot.sent == now.stamp())?;
        let mut others = alive;
        others.set(taken, false);
        let len = usize::from(slot.len);
        let other = self.first_to_deliver(self.fitting(others, len), now).map(|(path, _)| path);
        let other = other.filter(|path| self.takes(*path, len));
        let path = match cause {
            Cause::LastTry => {
                let latest = self.delivery(taken, now)? + self.time_left(slot.since, now);
                let in_time =
                    other.filter(|path| self.delivery(*path, now).is_some_and(|delay| delay <= latest));
                in_time.unwrap_or(taken)
            }
            Cause::Protected => other?,
            Cause::Trial => self.tried(taken, now).filter(|path| self.takes(*path, len))?,
        };
        let model = self.state.models.get(path).filter(|_| alive.contains(path))?;
        if model.wait(now) > model.time_of(OVERDRAW_BYTES) {
            return None;
        }
        // What a path that is tried carries is next to nothing, and costs no credit.
        let credit = match cause {
            Cause::LastTry => Some((&mut self.state.credit, RESERVED_CREDIT)),
            Cause::Protected => Some((&mut self.state.copy_credit, 0)),
            Cause::Trial => None,
        };
        if let Some((credit, least)) = credit {
            *credit = credit.checked_sub(u32::from(slot.len)).filter(|rest| *rest >= least)?;
        }
        self.state.resent += u64::from(cause == Cause::LastTry);
        let kind = if slot.unordered { Kind::Unordered } else { Kind::Ordered };
        let header = self.stamp(path, kind, true, len, now)?;
        Some(Leaving { path, slot: index, header, seq: slot.seq })
    }

    /// The path that is to be tried with a packet that takes path `taken`, and is ready: none that is paid for what another one carries.
    fn tried(&self, taken: usize, now: Instant) -> Option<usize> {
        let tier = self.state.models.get(taken)?.tier;
        let is_ready = |model: &Model| model.tier <= tier && model.is_alive() && model.is_ready(now);
        let mut tried = self.state.delay.tried.into_iter();
        tried.find(|index| self.state.models.get(*index).is_some_and(is_ready))
    }

    /// The path for the first packet that was lost, and how long it waits for it: the one that delivers it first; or, if
    /// that is busy, one that delivers it before that would have delivered all that was lost. A near but thin path does not
    /// hold up the repairs of a wide one.
    pub(super) fn repair_path(&self, paths: PathSet, now: Instant) -> Option<(usize, u64)> {
        let first = self.state.lost.first().and_then(|index| self.pool.slot(index));
        let paths = self.fitting(paths, first.map_or(0, |slot| usize::from(slot.len)));
        let (fastest, wait) = self.first_to_deliver(paths, now)?;
        let all = self.state.models.get(fastest)?.time_of(self.state.lost.bytes());
        let latest = self.delivery(fastest, now)? + all as f32;
        let mut best = (fastest, wait);
        for index in paths {
            let Some(model) = self.state.models.get(index) else { continue };
            let in_time = self.delivery(index, now).is_some_and(|delay| delay <= latest);
            if in_time && model.wait(now) < best.1 {
                best = (index, model.wait(now));
            }
        }
        Some(best)
    }

    /// Bulk: the fastest open path that is ready, and takes it, takes the packet whose turn it is.
    fn poll_queue(&mut self, alive: PathSet, gate: &Gate, now: Instant) -> Option<(usize, Index)> {
        if !self.has_bulk() || !gate.is_open(now) {
            let is_idle = self.express.is_empty() || !gate.is_open(now);
            if is_idle && self.state.lost.is_empty() {
                self.note_idle(alive, now);
            }
            return None;
        }
        let (path, is_cheap) = self.bulk_path(alive, now)?;
        let Some(index) = self.next_bulk(gate, now) else {
            self.note_idle(alive, now);
            return None;
        };
        if self.suits(path, index) {
            self.state.run = is_cheap.then_some((path, now));
            return Some((path, index));
        }
        self.state.parked = Some(index);
        let (path, _) = self.bulk_path(alive, now)?;
        self.state.parked.take().map(|index| (path, index))
    }

    /// The path for the bulk, if one is ready, and whether it is of the lowest tier.
    fn bulk_path(&mut self, alive: PathSet, now: Instant) -> Option<(usize, bool)> {
        let paths = self.for_bulk(alive);
        let cheap = self.lowest_tier(paths);
        let mut best: Option<(u8, f32, usize)> = None;
        for index in alive {
            let is_open = self.state.delay.open.contains(index);
            let Some(model) = self.state.models.get_mut(index).filter(|model| model.is_ready(now)) else {
                continue;
            };
            if !paths.contains(index) || !cheap.contains(index) && self.state.last_sojourn < SPILL {
                if is_open {
                    model.handle_idle();
                }
                continue;
            }
            // By the delay as it is: a path that is fast but for its queue would get all that a flow sends, and delay it,
            // while others stand idle.
            let rank = (model.tier, model.base().unwrap_or(0.0) + model.queue());
            if best.is_none_or(|(tier, base, _)| rank < (tier, base)) {
                best = Some((rank.0, rank.1, index));
            }
        }
        best.map(|(.., path)| (path, cheap.contains(path)))
    }

    /// Whether a packet may leave on this path: it is trusted with the size, or no path takes it.
    fn suits(&self, path: usize, index: Index) -> bool {
        let len = self.pool.slot(index).map_or(0, |slot| usize::from(slot.len));
        self.state.models.get(path).is_some_and(|model| len <= usize::from(model.sizes.trusted()))
    }

    /// The packet of the bulk whose turn it is: the one that is parked before others.
    fn next_bulk(&mut self, gate: &Gate, now: Instant) -> Option<Index> {
        let parked = self.state.parked.take();
        parked.or_else(|| self.pop_bulk(gate, now))
    }

    /// The packet of the queue whose turn it is.
    fn pop_bulk(&mut self, gate: &Gate, now: Instant) -> Option<Index> {
        let bounds = self.accepted(gate, now).bulk;
        let index = self.queue.pop(&mut self.pool, bounds, &mut self.state.queue_counts, now.stamp())?;
        let sojourn = now.stamp().wrapping_sub(self.pool.slot(index)?.since);
        let bytes = self.bytes_on_the_way(index) / i32::from(self.queue.old_flows().max(1));
        self.note_share(-bytes);
        // Paths that are dearer or slower would not help.
        let sojourn = if self.state.is_limited { 0 } else { sojourn };
        self.state.last_sojourn = sojourn;
        self.state.delay.note_sojourn(sojourn);
        Some(index)
    }

    /// Nothing waits: what paths carry from now on does not tell what they could.
    fn note_idle(&mut self, paths: PathSet, now: Instant) {
        self.state.delay.note_empty();
        self.state.last_sojourn = 0;
        for index in paths {
            if let Some(model) = self.state.models.get_mut(index).filter(|model| model.is_ready(now)) {
                model.handle_idle();
            }
        }
    }

    pub(super) fn depart(
        &mut self,
        path: usize,
        index: Index,
        next: &mut Seq,
        now: Instant,
    ) -> Option<Leaving> {
        let len = usize::from(self.pool.slot(index)?.len);
        if !self.takes(path, len) {
            self.begin_pieces(path, index, len, now);
            return None;
        }
        let is_tried = self.tried(path, now).is_some();
        let slot = self.pool.slot_mut(index)?;
        let resent = slot.tries > 0;
        slot.tries = slot.tries.saturating_add(1);
        slot.sent = now.stamp();
        if !resent {
            slot.since = now.stamp();
            let counter = if slot.unordered { &mut self.state.next_unordered } else { next };
            slot.seq = *counter;
            *counter = *counter + 1;
            if !slot.unordered {
                self.state.delay.note_sent(len);
            }
            let credit = self.state.credit.saturating_add(u32::from(slot.len) / CREDIT_SHARE);
            self.state.credit = credit.min(MOST_CREDIT);
            // Where copies are dear, those are copied that the next loss of a burst may take.
            let is_plenty = slot.copies >= 100 || self.state.copy_credit >= MOST_COPIES / 2;
            let loses = |model: &Model| model.lost_at.is_some_and(|at| now < at + COPY_AFTER);
            if slot.copies > 0 && (is_plenty || self.state.models.get(path).is_some_and(loses)) {
                self.state.twin = Some(Twin { index, path, cause: Cause::Protected });
            }
            if is_tried && self.state.twin.is_none() && !slot.unordered {
                self.state.twin = Some(Twin { index, path, cause: Cause::Trial });
                self.state.run = None;
            }
            // What is not protected pays for copies as well, by what the last packet that is protected allows.
            self.state.copy_share =
                if slot.copies > 0 { slot.copies.min(100) } else { self.state.copy_share };
            let earned = u32::from(slot.len) * u32::from(self.state.copy_share) / 100;
            self.state.copy_credit = self.state.copy_credit.saturating_add(earned).min(MOST_COPIES);
        }
        let kind = if slot.unordered { Kind::Unordered } else { Kind::Ordered };
        let (seq, unordered) = (slot.seq, slot.unordered);
        let header = self.stamp(path, kind, resent, len, now)?;
        if let Some(slot) = self.pool.slot_mut(index) {
            slot.number = header.number;
            if let Some(model) = self.state.models.get_mut(path) {
                model.sizes.note_sent(header.number, slot.len);
            }
        }
        self.pool.push(self.state.in_flight.get_mut(path)?, index);
        if !unordered {
            self.state.ordered_at = Some(now);
            let model = self.state.models.get_mut(path)?;
            model.handle_ordered(header.number, now);
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
        if kind == Kind::Report {
            model.last_report = now;
        }
        model.resent = model.resent.wrapping_add(resent.into());
        let number = model.handle_sent(len + extension::LEN + extension::OUTER, now) & 0x00ff_ffff;
        Some(Header { kind, resent, number, stamp: now.stamp() })
    }

    /// The bytes of a datagram that leaves, with so many before the packet.
    pub(crate) fn datagram(&mut self, leaving: &Leaving, headroom: usize) -> &mut [u8] {
        self.pool.datagram_mut(leaving.slot, headroom)
    }
}

#[cfg(test)]
mod tests;
