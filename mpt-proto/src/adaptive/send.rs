//! What leaves, when and where: what is not held, what was lost, and the bulk, each on the path that suits it.

use crate::adaptive::bulk::{Usable, lead};
use crate::adaptive::class::{Arrival, Class, RuleNumber, Waiting};
use crate::adaptive::model::Model;
use crate::adaptive::pool::{Index, PacketSlot};
use crate::adaptive::queue::{Among, Turn};
use crate::adaptive::tuning::{
    CREDIT_SHARE, DELAY_NOISE, EXPRESS_OLDEST, MOST_COPIES, MOST_CREDIT, OLDEST, OVERDRAW_BYTES, THIN_ACKS,
    TOLERANCE,
};
use crate::adaptive::twin::{Cause, Twin};
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
    pub(super) slot: Index,
    pub(crate) header: Header,
    pub(crate) seq: Seq,
}

/// How a packet travels.
struct Way {
    bucket: u16,
    class: Class,
    /// The rule of the configuration that fits it.
    rule: Option<RuleNumber>,
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
        let Way { bucket, class, rule } = self.way(packet, flow, now);
        let is_express = class == Class::Express;
        if is_express && self.thins(packet, bucket, now) {
            return;
        }
        let Some(index) = self.store(packet, now) else { return };
        let Some(slot) = self.pool.slot_mut(index) else { return };
        (slot.flow, slot.unordered) = (bucket, is_express);
        (slot.rule, slot.tier) = (rule, self.state.most_tier(rule));
        let queue = if is_express && self.express.has_flows() { &mut self.express } else { &mut self.queue };
        queue.push(&mut self.pool, index);
    }

    /// How a packet travels. If its flow becomes bulk with it, what waits of that becomes bulk as well, so that it is not overtaken.
    fn way(&mut self, packet: &[u8], flow: &ip::Flow, now: Instant) -> Way {
        let arrival = Arrival::new(packet, flow, self.order_udp, now.stamp());
        // There may be thousands of these in a second.
        if arrival.opens() {
            return Way { bucket: SHARED, class: Class::Express, rule: self.bound_by(&arrival) };
        }
        let Self { state, queue, express, pool, .. } = self;
        let (bucket, is_owner) = queue.bucket(flow.hash, || arrival.ruled(&state.rules), now.stamp());
        let waiting = Waiting { express: express.waits(bucket), bulk: queue.waits(bucket) };
        let Some(behaviour) = queue.behaviour(bucket).filter(|_| is_owner) else {
            let class = arrival.class();
            let bucket = if class == Class::Express { SHARED } else { bucket };
            return Way { bucket, class, rule: self.bound_by(&arrival) };
        };
        let rule = behaviour.rule(|| arrival.ruled(&state.rules));
        let class = behaviour.classify(&arrival, state.travel(rule), waiting, || state.overtakes());
        if class == Class::Bulk && waiting.express {
            while let Some(index) = express.take(pool, bucket) {
                if let Some(slot) = pool.slot_mut(index) {
                    slot.unordered = false;
                }
                queue.push(pool, index);
            }
        }
        Way { bucket, class, rule }
    }

    /// The rule that binds a packet to a tier of paths, whose flow has no place of its own.
    // On small machines, where code is dear, it is there once.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn bound_by(&self, arrival: &Arrival<'_>) -> Option<RuleNumber> {
        let rule = arrival.ruled(&self.state.rules).number();
        rule.filter(|_| self.state.most_tier(rule).is_some())
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
            && let Some((path, kinds)) = self.run(up, now)
            && let Some(slot) = self.next_bulk(kinds, up, gate, now)
        {
            if self.suits(path, slot) {
                self.charge(slot, gate, now);
                return self.depart(path, slot, next, now);
            }
            self.state.parked = Some(slot);
        }
        let usable = self.usable(up);
        if usable.alive.is_empty() {
            return None;
        }
        if let Some(twin) = self.poll_twin(usable, now) {
            return Some(twin);
        }
        let is_fresh = self.express.turn(Among::Free) == Some(Turn::Fresh);
        let (path, slot) = (is_fresh && is_open)
            .then(|| self.poll_express(gate, usable, now))
            .flatten()
            .or_else(|| self.poll_resend(usable, now))
            .or_else(|| (!is_fresh && is_open).then(|| self.poll_express(gate, usable, now)).flatten())
            .or_else(|| self.poll_queue(usable, gate, now))?;
        self.charge(slot, gate, now);
        self.depart(path, slot, next, now)
    }

    /// A packet leaves: for the first time, or it is paid for.
    fn charge(&self, index: Index, gate: &mut Gate, now: Instant) {
        if let Some(slot) = self.pool.slot(index).filter(|slot| slot.tries == 0) {
            gate.charge_packet(usize::from(slot.len), now);
        }
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
    fn poll_express(&mut self, gate: &Gate, usable: Usable, now: Instant) -> Option<(usize, Index)> {
        let (path, at) = self.express_path(usable, now)?;
        if at > now {
            return None;
        }
        let bounds = self.accepted(gate, now).express;
        let index = loop {
            let index = self.express.pop(
                Among::Free,
                &mut self.pool,
                bounds,
                &mut self.state.queue_counts,
                now.stamp(),
            )?;
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
    pub(super) fn bytes_on_the_way(&self, index: Index) -> i32 {
        let len = self.pool.slot(index).map_or(0, |slot| slot.len);
        i32::from(len) + (extension::LEN + extension::OUTER) as i32
    }

    /// Each of the express flows got so many bytes, or each of the bulk flows did, if it is negative.
    pub(super) fn note_share(&mut self, bytes: i32) {
        self.state.express_lead = lead(self.state.express_lead, bytes);
    }

    /// The path for the first packet that is not held, and when it may leave on it. Flows that have had their quantum share the open
    /// paths with the bulk: `None` if it is the bulk's turn there.
    pub(super) fn express_path(&self, usable: Usable, now: Instant) -> Option<(usize, Instant)> {
        let (turn, first) = self.express.first()?;
        let (path, at) = self.fastest_for(self.pool.slot(first)?, usable, now)?;
        let is_others = turn == Turn::Old && self.state.express_lead > 0 && self.has_bulk();
        (!is_others || !self.state.delay.open.contains(path)).then_some((path, at))
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    fn fastest_for(&self, first: &PacketSlot, usable: Usable, now: Instant) -> Option<(usize, Instant)> {
        let sojourn = now.stamp().wrapping_sub(first.since) as f32;
        // It does not wait for paths that seem to have stopped, whatever its tier is.
        let within = self.within(first.tier, usable);
        let paths = if within.is_empty() { usable.alive } else { within };
        let paths = self.lowest_tier(self.fitting(paths, usize::from(first.len)));
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
    pub(super) fn delivery(&self, path: usize, now: Instant) -> Option<f32> {
        let model = self.state.models.get(path)?;
        let noise = DELAY_NOISE * model.deviation();
        Some(model.base().unwrap_or(1e6) + noise + model.queue() + model.wait(now) as f32)
    }

    /// What was lost.
    fn poll_resend(&mut self, usable: Usable, now: Instant) -> Option<(usize, Index)> {
        [Among::Free, Among::Bound].into_iter().find_map(|among| self.poll_lost(among, usable, now))
    }

    /// What was lost, of those that may take any path or of the others. These are given up while their paths seem to have stopped.
    // On small machines, where code is dear, it is there once.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn poll_lost(&mut self, among: Among, usable: Usable, now: Instant) -> Option<(usize, Index)> {
        loop {
            let first = *self.pool.slot(self.state.lost.first(among)?)?;
            let paths = self.within(first.tier, usable);
            if now.stamp().wrapping_sub(first.since) <= OLDEST && !paths.is_empty() {
                let path = self.repair_path(among, usable, now).filter(|(_, wait)| *wait == 0)?.0;
                self.state.resent += 1;
                let index = self.state.lost.pop(among, &mut self.pool)?;
                let is_last = self.is_last_try(path, index, now);
                self.state.twin = is_last.then_some(Twin::new(index, path, Cause::LastTry));
                return Some((path, index));
            }
            let index = self.state.lost.pop(among, &mut self.pool)?;
            self.pool.release(index);
        }
    }

    /// The path for the first packet that was lost, and how long it waits for it: the one that delivers it first; or, if
    /// that is busy, one that delivers it before that would have delivered all that was lost. A near but thin path does not
    /// hold up the repairs of a wide one.
    // On small machines, where code is dear, it is there once.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn repair_path(&self, among: Among, usable: Usable, now: Instant) -> Option<(usize, u64)> {
        let first = self.pool.slot(self.state.lost.first(among)?)?;
        let paths = self.fitting(self.within(first.tier, usable), usize::from(first.len));
        let (fastest, wait) = self.first_to_deliver(paths, now)?;
        let all = self.state.models.get(fastest)?.time_of(self.state.lost.bytes(among));
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
        let resent = self.pool.slot(index)?.tries > 0;
        let copy = if resent { None } else { self.copy_of(index, path, now) };
        let slot = self.pool.slot_mut(index)?;
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
            self.state.twin = copy.or(self.state.twin);
            if is_tried && self.state.twin.is_none() && !slot.unordered {
                self.state.twin = Some(Twin::new(index, path, Cause::Trial));
                self.state.run = None;
            }
            // What is not protected pays for copies as well, by what the last packet that is protected allows.
            let share = self.state.travel(slot.rule).copies();
            self.state.copy_share = if share > 0 { share } else { self.state.copy_share };
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
