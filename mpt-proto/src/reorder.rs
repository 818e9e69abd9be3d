//! The reorder buffer: where packets that came too early wait until they are next, or until waiting is
//! pointless. Duplicates are dropped here.
//!
//! RFC 2890 section 2.2 allows a receiver to buffer what came out of order, bounded in packets (its
//! `MAX_PERFLOW_BUFFER`, the window here) and in time (its `OUTOFORDER_TIMER`, the delay here). A missing
//! number is given up, and what comes behind it delivered, at the first of these:
//!
//! 1. **Passed on every path.** Every live path has delivered a number beyond it. As long as each path by
//!    itself delivers in the order of sending, and the sender gives out numbers in the order of sending, the
//!    missing packet cannot come any more. A probe counts as delivery of the number it names, so that a path
//!    without traffic does not hold the others up for longer than until its next probe. Where a path does
//!    reorder, `paths_in_order` must be off, or its stragglers are dropped as late.
//! 2. **Delay.** Some packet behind it has waited for the delay.
//! 3. **Window.** A number a window or more ahead of it has come.
//!
//! A sender that repairs what was lost is given the time to do so: with [patience](Reorder::set_patience) rules 1 and 2
//! wait for that much longer. And it may want a packet held until a moment that it names, so that paths of different
//! delay seem to have one.
//!
//! A number that comes after it was given up is dropped (the MUST of draft-lencse-tsvwg-mpt section 6).

mod config;
mod history;
mod occupancy;
mod slot;
#[cfg(feature = "state")]
mod state;

use core::ops::Range;
use core::time::Duration;

use crate::path_set::{MAX_PATHS, PathSet};
use crate::seq::Seq;
use crate::time::{Instant, Micros, earlier};
use crate::wire::copy;

pub use config::ReorderConfig;
pub(crate) use history::History;
use occupancy::Occupancy;
pub use slot::{Insert, Place, ReorderSlot};
#[cfg(feature = "state")]
pub(crate) use state::{Restore, Saved};

/// This many numbers in a row from far back, and nothing else for the delay, mean that a peer without control
/// messages started anew: enough, and long enough, that what one path brings at once after it lagged behind the
/// others does not pass for it.
const RESTART_RUN: u8 = 64;
/// Most that one of them may differ from the one before, or the window if that is more: paths of different
/// delay bring numbers of a new sequence as far apart as those of the old one.
const RESTART_STRIDE: usize = 64;

/// See the module. Numbers before `head` are settled: delivered or given up.
///
/// Invariant: the ring's places from `base` on stand for `head`, `head + 1`, ... `head + window - 1`; `count`
/// of them are occupied; the occupied ones, and only they, are linked from `oldest` to `newest` by arrival;
/// `spare` holds a packet beyond the ring that waits for the caller to drain. After the caller has drained,
/// `head`'s own place is empty, `forced` is not ahead of `head`, and `spare` is empty.
#[derive(Debug)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct Reorder<'s> {
    #[cfg_attr(feature = "state", serde(skip))]
    slots: &'s mut [ReorderSlot],
    #[cfg_attr(feature = "state", serde(skip))]
    bytes: &'s mut [u8],
    /// Bytes of `bytes` for each slot.
    cell: usize,
    delay: Micros,
    paths_in_order: bool,
    /// See [`set_patience`](Self::set_patience).
    patience: Micros,
    /// The latest time seen.
    now: Instant,
    /// Numbers before this one had been passed on every path at that time, some of them without having come.
    passed_all: Option<(Seq, Instant)>,
    /// Packets before this one are not held: the window needs their places.
    rush: Seq,
    /// Places in the ring; zero: reordering is off. The slot behind them is the spare one.
    window: usize,
    #[cfg_attr(feature = "state", serde(skip))]
    occupancy: Occupancy,
    head: Seq,
    /// Numbers before this one are given up.
    forced: Seq,
    #[cfg_attr(feature = "state", serde(skip))]
    base: usize,
    #[cfg_attr(feature = "state", serde(skip))]
    count: usize,
    #[cfg_attr(feature = "state", serde(skip))]
    oldest: Option<Place>,
    #[cfg_attr(feature = "state", serde(skip))]
    newest: Option<Place>,
    spare: Option<Seq>,
    /// Of 1,024 numbers: more than the packets in flight that a copy on another path may lag behind on links of 100 Mbit/s.
    history: History<32>,
    /// Paths that must have passed a number for it to be lost.
    live: PathSet,
    /// The lowest number each path may still deliver.
    passed: [Option<Seq>; MAX_PATHS],
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    lost: u64,
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    restarts: u64,
    /// Whether numbers from far back may mean that the peer restarted: not if it says so itself.
    watch_restart: bool,
    stray: Seq,
    stray_run: u8,
    /// When the first of the run came.
    stray_since: Instant,
    started: bool,
}

impl<'s> Reorder<'s> {
    /// A buffer over lent storage: packets of up to `bytes.len() / slots.len()` bytes fit; the window is the
    /// configured one or one less than the slots, whichever is smaller. With fewer than two slots, or a
    /// window of zero, reordering is off: packets are delivered as they come and only duplicates are dropped.
    pub fn new(config: ReorderConfig, slots: &'s mut [ReorderSlot], bytes: &'s mut [u8]) -> Self {
        let window = usize::from(config.window).min(slots.len().saturating_sub(1));
        slots.fill(ReorderSlot::default());
        Self {
            occupancy: Occupancy::new(window),
            cell: bytes.len().checked_div(slots.len()).unwrap_or(0).min(usize::from(u16::MAX)),
            slots,
            bytes,
            delay: config.delay.into(),
            paths_in_order: config.paths_in_order,
            patience: Micros(0),
            now: Instant::ZERO,
            passed_all: None,
            rush: Seq::ZERO,
            window,
            head: Seq::ZERO,
            forced: Seq::ZERO,
            base: 0,
            count: 0,
            oldest: None,
            newest: None,
            spare: None,
            history: History::new(),
            live: PathSet::default(),
            passed: [None; MAX_PATHS],
            lost: 0,
            restarts: 0,
            watch_restart: true,
            stray: Seq::ZERO,
            stray_run: 0,
            stray_since: Instant::ZERO,
            started: false,
        }
    }

    /// Its memory, for another one.
    pub(crate) fn into_memory(self) -> (&'s mut [ReorderSlot], &'s mut [u8]) {
        (self.slots, self.bytes)
    }

    /// The number that is next: all before it are settled.
    pub const fn head(&self) -> Seq {
        self.head
    }

    /// Packets that may wait at once.
    pub fn window(&self) -> u16 {
        u16::try_from(self.window).unwrap_or(u16::MAX)
    }

    /// Numbers given up so far. Only counted while reordering is on.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Restarts told by the numbers alone so far.
    pub const fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Packets that wait.
    pub const fn held(&self) -> usize {
        self.count
    }

    /// The peer is a new one, whose next packet has the number `next`: what waits is dropped. From now on
    /// the peer is expected to say so when it starts anew.
    pub fn restart(&mut self, next: Seq) {
        self.watch_restart = false;
        self.begin_at(next);
    }

    /// The peer is heard for the first time, and its next packet has the number `next`, unless packets that
    /// overtook its message were here before. From now on it is expected to say so when it starts anew.
    pub fn join(&mut self, next: Seq) {
        self.watch_restart = false;
        if !self.started {
            self.begin_at(next);
        }
    }

    fn begin_at(&mut self, next: Seq) {
        while let Some(place) = self.oldest {
            self.release(place);
        }
        self.head = next;
        self.forced = next;
        self.rush = next;
        self.passed_all = None;
        self.base = 0;
        self.spare = None;
        self.history = History::new();
        self.passed = [None; MAX_PATHS];
        self.stray_run = 0;
        self.started = true;
    }

    /// How much longer to wait for what seems to be lost, at most 71 minutes: a sender that repairs it needs that time.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience.into();
    }

    /// Takes a packet with a sequence number. On [`Insert::Next`] the caller delivers it, on
    /// [`Insert::Held`] it was copied; either way [`pop`](Self::pop) is to be drained.
    pub fn insert(&mut self, path: usize, seq: Seq, packet: &[u8], now: Instant) -> Insert {
        self.insert_until(path, seq, packet, now, now)
    }

    /// As [`insert`](Self::insert), but the packet is to be held until `release`.
    pub fn insert_until(
        &mut self,
        path: usize,
        seq: Seq,
        packet: &[u8],
        release: Instant,
        now: Instant,
    ) -> Insert {
        let ahead = match seq.ahead_of(self.head) {
            Some(ahead) if self.started || ahead < self.window.max(1) => ahead,
            // A stream that was under way before we came: no use in waiting for its past.
            _ if !self.started => {
                self.begin_at(seq);
                0
            }
            _ => match self.insert_behind(seq, now) {
                Some(settled) => return settled,
                None => 0,
            },
        };
        self.started = true;
        self.stray_run = 0;
        let is_due = release <= now || self.window == 0;
        if (ahead > 0 || !is_due) && self.window > 0 && packet.len() > self.cell {
            return Insert::TooLarge;
        }
        self.now = self.now.max(now);
        self.pass(path, seq + 1);
        if self.window == 0 {
            self.history.skip(ahead);
            self.history.push();
            self.advance_to(seq + 1);
            return Insert::Next;
        }
        if self.count == 0 {
            self.forced = self.forced.later(self.head + self.overflow(ahead));
            self.give_up(self.forced);
        }
        // What follows also holds for a caller that has not drained: the head's place may be occupied, and
        // numbers up to `forced` were just given up.
        self.place_spare();
        let Some(ahead) = seq.ahead_of(self.head) else { return Insert::Late };
        let outcome = if ahead == 0 && is_due && !self.occupancy.contains(self.slots, self.base) {
            self.settle_head();
            Insert::Next
        } else if ahead < self.window {
            self.hold(self.ring(ahead), packet, release)
        } else if self.spare.is_none() {
            self.spare = Some(seq);
            self.forced = self.forced.later(self.head + self.overflow(ahead));
            self.rush = self.rush.later(self.forced);
            self.store(self.window, packet, release);
            Insert::Held
        } else {
            Insert::Full
        };
        self.give_up_passed();
        outcome
    }

    /// A number before the head. `None`: the peer started anew, and this is its first.
    fn insert_behind(&mut self, seq: Seq, now: Instant) -> Option<Insert> {
        let back = self.head.ahead_of(seq).unwrap_or(usize::MAX);
        match self.history.was_delivered(back) {
            Some(true) => return Some(Insert::Duplicate),
            Some(false) if self.window == 0 => {
                self.history.mark(back);
                return Some(Insert::Next);
            }
            _ => {}
        }
        if !self.watch_restart {
            return Some(Insert::Late);
        }
        let stride = i32::try_from(self.window.max(RESTART_STRIDE)).unwrap_or(i32::MAX);
        let step = seq.distance_from(self.stray);
        let follows = self.stray_run > 0 && step != 0 && (-stride..=stride).contains(&step);
        if follows {
            self.stray_run = self.stray_run.saturating_add(1);
        } else {
            (self.stray_run, self.stray_since) = (1, now);
        }
        self.stray = seq;
        if self.stray_run < RESTART_RUN || self.stray_since + self.delay > now {
            return Some(Insert::Late);
        }
        self.restarts += 1;
        self.begin_at(seq);
        None
    }

    /// The path will deliver no number before `next` any more: a probe said so.
    pub fn handle_probe(&mut self, path: usize, next: Seq, now: Instant) {
        self.now = self.now.max(now);
        self.pass(path, next);
        self.give_up_passed();
    }

    /// Which paths must have passed a number for it to be lost.
    pub fn set_live(&mut self, live: PathSet, now: Instant) {
        self.now = self.now.max(now);
        self.live = live;
        self.give_up_passed();
    }

    /// Which paths must have passed a number for it to be lost.
    pub(crate) const fn live(&self) -> PathSet {
        self.live
    }

    /// When something may be delivered or given up although nothing comes.
    pub fn deadline(&self) -> Option<Instant> {
        let expires = self.expiry(self.slots.get(self.oldest?.index())?);
        let head =
            self.occupancy.contains(self.slots, self.base).then(|| self.slots.get(self.base)).flatten();
        let head = head.map(|slot| self.time_of(slot.release));
        let passed = self.passed_all.map(|(_, since)| since + self.patience);
        earlier(earlier(head, passed), Some(expires))
    }

    /// The time of a stamp that is not far away.
    fn time_of(&self, stamp: u32) -> Instant {
        let ahead = stamp.wrapping_sub(self.now.stamp());
        let back = self.now.stamp().wrapping_sub(stamp);
        if ahead < back { self.now + Micros(ahead) } else { self.now - Micros(back) }
    }

    /// When a packet has waited enough.
    fn expiry(&self, slot: &ReorderSlot) -> Instant {
        self.time_of(slot.release) + self.delay + self.patience
    }

    /// Gives up what the packets that have waited for the delay wait for.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.passed_all.is_some_and(|(_, since)| since + self.patience <= self.now) {
            self.give_up_passed();
        }
        let mut place = self.oldest;
        while let Some(expired) = place {
            let Some(slot) = self.slots.get(expired.index()) else { break };
            if self.expiry(slot) > self.now {
                break;
            }
            place = slot.newer;
            self.forced = self.forced.later(self.number_at(expired));
            self.rush = self.rush.later(self.forced);
        }
    }

    /// The next packet that may be delivered; its bytes are at [`packet`](Self::packet) until the next
    /// insert.
    pub fn pop(&mut self) -> Option<Place> {
        loop {
            self.place_spare();
            if self.occupancy.contains(self.slots, self.base) {
                let place = Place::at(self.base)?;
                if self.is_held(self.base) {
                    return None;
                }
                self.release(place);
                self.settle_head();
                return Some(place);
            }
            if self.forced.distance_from(self.head) <= 0 {
                return None;
            }
            // The spare packet lies behind the ring, and may lie before what is forced.
            let until = self.first_held().or(self.spare).map_or(self.forced, |held| {
                if held.distance_from(self.forced) < 0 { held } else { self.forced }
            });
            self.give_up(until);
        }
    }

    /// Whether the packet at the head is to be held for longer.
    fn is_held(&self, index: usize) -> bool {
        let release = self.slots.get(index).map_or(0, |slot| slot.release);
        self.rush.distance_from(self.head) <= 0 && self.time_of(release) > self.now
    }

    /// The bytes of a packet that [`pop`](Self::pop) returned.
    pub fn packet(&self, place: Place) -> &[u8] {
        let len = self.slots.get(place.index()).map_or(0, |slot| usize::from(slot.len));
        self.bytes.get(self.cell_range(place.index(), len)).unwrap_or_default()
    }

    fn cell_range(&self, index: usize, len: usize) -> Range<usize> {
        let start = index * self.cell;
        start..start + len
    }

    /// How many numbers must be given up for `head + ahead` to lie in the window.
    fn overflow(&self, ahead: usize) -> u32 {
        u32::try_from((ahead + 1).saturating_sub(self.window)).unwrap_or(u32::MAX)
    }

    /// The ring's place for `head + ahead`; `ahead` is less than the window.
    fn ring(&self, ahead: usize) -> usize {
        let index = self.base + ahead;
        if index < self.window { index } else { index - self.window }
    }

    fn number_at(&self, place: Place) -> Seq {
        let index = place.index();
        let ahead = if index >= self.base { index - self.base } else { index + self.window - self.base };
        self.head + u32::try_from(ahead).unwrap_or(0)
    }

    /// The lowest number that is held.
    fn first_held(&self) -> Option<Seq> {
        let from_base = self.occupancy.first_from(self.slots, self.base);
        let index = from_base.or_else(|| self.occupancy.first_from(self.slots, 0))?;
        Some(self.number_at(Place::at(index)?))
    }

    fn hold(&mut self, index: usize, packet: &[u8], release: Instant) -> Insert {
        if self.occupancy.contains(self.slots, index) {
            return Insert::Duplicate;
        }
        self.store(index, packet, release);
        self.link(index);
        Insert::Held
    }

    fn store(&mut self, index: usize, packet: &[u8], release: Instant) {
        if let (Some(slot), Ok(len)) = (self.slots.get_mut(index), u16::try_from(packet.len())) {
            slot.release = release.stamp();
            slot.len = len;
        }
        let range = self.cell_range(index, packet.len());
        copy(self.bytes.get_mut(range).unwrap_or_default(), packet);
    }

    /// Appends a stored packet to the list by arrival.
    fn link(&mut self, index: usize) {
        let place = Place::at(index);
        if let Some(slot) = self.slots.get_mut(index) {
            slot.older = self.newest;
            slot.newer = None;
        }
        match self.newest.and_then(|newest| self.slots.get_mut(newest.index())) {
            Some(slot) => slot.newer = place,
            None => self.oldest = place,
        }
        self.newest = place;
        self.count += 1;
        self.occupancy.insert(self.slots, index);
    }

    /// Takes a packet out of the list and the ring; its bytes stay.
    fn release(&mut self, place: Place) {
        let Some(&ReorderSlot { older, newer, .. }) = self.slots.get(place.index()) else { return };
        match older.and_then(|older| self.slots.get_mut(older.index())) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match newer.and_then(|newer| self.slots.get_mut(newer.index())) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        self.count = self.count.saturating_sub(1);
        self.occupancy.remove(self.slots, place.index());
    }

    /// The head was delivered.
    fn settle_head(&mut self) {
        self.history.push();
        self.base = self.ring(1);
        self.advance_to(self.head + 1);
    }

    /// Gives up the numbers from the head to `until`, none of which is held.
    fn give_up(&mut self, until: Seq) {
        let Some(numbers) = until.ahead_of(self.head).filter(|numbers| *numbers > 0) else { return };
        self.lost = self.lost.wrapping_add(numbers as u64);
        self.history.skip(numbers);
        self.base = self.ring(numbers.checked_rem(self.window).unwrap_or(0));
        self.advance_to(until);
    }

    fn advance_to(&mut self, head: Seq) {
        // A path that is silent for half the number circle must not seem to be ahead: once in a quarter of
        // it, what lies behind is forgotten.
        if (head.as_u32() ^ self.head.as_u32()) >> 30 != 0 {
            for passed in &mut self.passed {
                *passed = passed.filter(|seq| seq.distance_from(head) >= 0);
            }
        }
        self.head = head;
        self.forced = self.forced.later(head);
        self.rush = self.rush.later(head);
    }

    /// Moves the spare packet into the ring once the ring has come to it.
    fn place_spare(&mut self) {
        let Some(ahead) =
            self.spare.and_then(|seq| seq.ahead_of(self.head)).filter(|ahead| *ahead < self.window)
        else {
            return;
        };
        self.spare = None;
        let index = self.ring(ahead);
        let Some(&ReorderSlot { release, len, .. }) = self.slots.get(self.window) else { return };
        let from = self.cell_range(self.window, usize::from(len));
        let to = self.cell_range(index, usize::from(len));
        // The spare cell lies behind the ring: the two never overlap.
        if let Some((ring, spare)) = self.bytes.split_at_mut_checked(from.start) {
            copy(ring.get_mut(to).unwrap_or_default(), spare);
        }
        if let Some(slot) = self.slots.get_mut(index) {
            slot.release = release;
            slot.len = len;
        }
        self.link(index);
    }

    /// The path delivers no number before `next` any more.
    fn pass(&mut self, path: usize, next: Seq) {
        if let Some(passed) = self.passed.get_mut(path) {
            *passed = Some(passed.map_or(next, |old| old.later(next)));
        }
    }

    /// Gives up the numbers that every live path has passed, if anything waits for them.
    fn give_up_passed(&mut self) {
        if self.count == 0 || !self.paths_in_order || self.live.is_empty() {
            self.passed_all = None;
            return;
        }
        let mut all_passed: Option<Seq> = None;
        for path in self.live {
            let Some(passed) = self.passed.get(path).copied().flatten() else {
                self.passed_all = None;
                return;
            };
            let earlier = all_passed.is_none_or(|seq| passed.distance_from(seq) < 0);
            if earlier {
                all_passed = Some(passed);
            }
        }
        let Some(passed) = all_passed else { return };
        if self.patience == Micros(0) {
            self.forced = self.forced.later(passed);
            self.passed_all = None;
            return;
        }
        if let Some((seq, _)) = self.passed_all.filter(|(_, since)| *since + self.patience <= self.now) {
            self.forced = self.forced.later(seq);
            self.passed_all = None;
        }
        // A path that joined may still bring what the others have passed.
        if self
            .passed_all
            .is_none_or(|(seq, _)| seq.distance_from(self.head) <= 0 || seq.distance_from(passed) > 0)
        {
            self.passed_all = (passed.distance_from(self.head) > 0).then_some((passed, self.now));
        }
    }
}

#[cfg(test)]
mod tests;
