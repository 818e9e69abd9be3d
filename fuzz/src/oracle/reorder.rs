//! The reorder buffer as a sorted map, with the rules of [`mpt_proto::internals::Reorder`] written down one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mpt_proto::Seq;
use mpt_proto::internals::Insert;
use mpt_proto::{Instant, ReorderConfig};

/// How far back deliveries are remembered.
const REMEMBERED: i64 = 1024;
/// Numbers in a row from far back that mean a restart, and how far each may be from the one before.
const RESTART_RUN: u32 = 64;
const RESTART_STRIDE: i64 = 64;

/// A packet that waits.
#[derive(Debug)]
struct Held {
    packet: Vec<u8>,
    release: Instant,
    arrival: u64,
}

/// Delivers packets in order, as [`mpt_proto::internals::Reorder`] must when it is drained after every call.
///
/// Numbers are unwrapped: a position counts on where the 32 bits of a number wrap.
#[derive(Debug)]
pub struct Reorder {
    window: i64,
    cell: usize,
    delay: Duration,
    paths_in_order: bool,
    /// The position that is next.
    head: i64,
    /// Positions before this one need not be waited for.
    forced: i64,
    /// Packets before this one are not held.
    rush: i64,
    held: BTreeMap<i64, Held>,
    /// Packets that were held so far.
    arrivals: u64,
    /// The latest time that it was told, but for packets that were not taken.
    now: Instant,
    patience: Duration,
    /// Positions before this one had been passed at that time.
    passed_all: Option<(i64, Instant)>,
    delivered: BTreeSet<i64>,
    live: BTreeSet<usize>,
    passed: BTreeMap<usize, i64>,
    started: bool,
    watch_restart: bool,
    /// Numbers from far back in a row, and when the first of them came.
    strays: Vec<(i64, Instant)>,
    /// Positions given up.
    pub lost: u64,
    /// Restarts told by the numbers alone.
    pub restarts: u64,
    /// What came out, in order.
    pub output: Vec<Vec<u8>>,
}

impl Reorder {
    /// A buffer of `slots` places, each of `cell` bytes, one of them spare.
    pub fn new(config: ReorderConfig, slots: usize, cell: usize) -> Self {
        let window = usize::from(config.window).min(slots.saturating_sub(1));
        Self {
            window: i64::try_from(window).unwrap_or(0),
            cell,
            delay: config.delay,
            paths_in_order: config.paths_in_order,
            head: 0,
            forced: 0,
            rush: 0,
            held: BTreeMap::new(),
            arrivals: 0,
            now: Instant::ZERO,
            patience: Duration::ZERO,
            passed_all: None,
            delivered: BTreeSet::new(),
            live: BTreeSet::new(),
            passed: BTreeMap::new(),
            started: false,
            watch_restart: true,
            strays: Vec::new(),
            lost: 0,
            restarts: 0,
            output: Vec::new(),
        }
    }

    /// The number that is next.
    pub fn head(&self) -> Seq {
        // The low 32 bits are the number.
        Seq::from_u32(u32::try_from(self.head.rem_euclid(1 << 32)).unwrap_or(0))
    }

    /// Packets that wait.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// When something may be delivered or given up although nothing comes: the packet that came first has waited enough,
    /// the next one has been held for long enough, or the time for repairs is over.
    pub fn deadline(&self) -> Option<Instant> {
        let first = self.held.values().min_by_key(|held| held.arrival)?;
        let next = self.held.get(&self.head).map(|held| held.release);
        let passed = self.passed_all.map(|(_, since)| since + self.patience);
        [next, passed, Some(self.expiry(first))].into_iter().flatten().min()
    }

    fn expiry(&self, held: &Held) -> Instant {
        held.release + self.delay + self.patience
    }

    /// How much longer to wait for what seems to be lost.
    pub const fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    fn position(&self, seq: Seq) -> i64 {
        self.head + i64::from(seq.distance_from(self.head()))
    }

    fn begin_at(&mut self, position: i64) {
        self.head = position;
        self.forced = position;
        self.rush = position;
        self.passed_all = None;
        self.held.clear();
        self.delivered.clear();
        self.passed.clear();
        self.strays.clear();
        self.started = true;
    }

    /// The peer is a new one.
    pub fn restart(&mut self, next: Seq) {
        self.watch_restart = false;
        self.begin_at(self.position(next));
    }

    /// Takes a packet that is to be held until `release`.
    pub fn insert(&mut self, path: usize, seq: Seq, packet: &[u8], release: Instant, now: Instant) -> Insert {
        let position = self.position(seq);
        if !self.started && !(0..self.window.max(1)).contains(&(position - self.head)) {
            self.begin_at(position);
        }
        if position < self.head {
            let remembered = self.head - position <= REMEMBERED;
            if remembered && self.delivered.contains(&position) {
                return Insert::Duplicate;
            }
            if remembered && self.window == 0 {
                self.deliver(position, packet);
                return Insert::Next;
            }
            if !self.is_restart(position, now) {
                return Insert::Late;
            }
            self.restarts += 1;
            self.begin_at(position);
        }
        self.started = true;
        self.strays.clear();
        let is_due = release <= now || self.window == 0;
        if (position > self.head || !is_due) && self.window > 0 && packet.len() > self.cell {
            return Insert::TooLarge;
        }
        self.now = self.now.max(now);
        self.pass(path, position + 1);
        if self.window == 0 {
            self.deliver(position, packet);
            self.advance(position + 1);
            return Insert::Next;
        }
        // Rule 3. With packets that wait, it also ends their holding.
        let first = position - self.window + 1;
        if self.held.is_empty() {
            self.forced = self.forced.max(first);
            self.drain();
        } else if first > self.head {
            self.forced = self.forced.max(first);
            self.rush = self.rush.max(self.forced);
        }
        let outcome = if self.held.contains_key(&position) {
            Insert::Duplicate
        } else if position == self.head && is_due {
            self.deliver(position, packet);
            self.advance(self.head + 1);
            Insert::Next
        } else {
            self.arrivals += 1;
            let held = Held { packet: packet.to_vec(), release, arrival: self.arrivals };
            self.held.insert(position, held);
            Insert::Held
        };
        self.give_up_passed();
        outcome
    }

    /// The path delivers nothing before `next` any more.
    pub fn handle_probe(&mut self, path: usize, next: Seq, now: Instant) {
        self.now = self.now.max(now);
        let position = self.position(next);
        self.pass(path, position);
        self.give_up_passed();
    }

    /// Which paths must have passed a number for it to be lost.
    pub fn set_live(&mut self, live: BTreeSet<usize>, now: Instant) {
        self.now = self.now.max(now);
        self.live = live;
        self.give_up_passed();
    }

    /// Rule 2, in the order of arrival, and rule 1 once there was time for a repair.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.passed_all.is_some_and(|(_, since)| since + self.patience <= self.now) {
            self.note_passed();
        }
        let mut held: Vec<(&i64, &Held)> = self.held.iter().collect();
        held.sort_by_key(|(_, held)| held.arrival);
        let expired = held.into_iter().take_while(|(_, held)| self.expiry(held) <= self.now);
        if let Some(last) = expired.map(|(position, _)| *position).max() {
            self.forced = self.forced.max(last);
            self.rush = self.rush.max(self.forced);
        }
        self.drain();
    }

    fn is_restart(&mut self, position: i64, now: Instant) -> bool {
        if !self.watch_restart {
            return false;
        }
        let stride = self.window.max(RESTART_STRIDE);
        if self.strays.last().is_some_and(|(last, _)| {
            let step = (position - last).abs();
            step == 0 || step > stride
        }) {
            self.strays.clear();
        }
        self.strays.push((position, now));
        self.strays.len() >= RESTART_RUN as usize && self.strays[0].1 + self.delay <= now
    }

    fn pass(&mut self, path: usize, next: i64) {
        let passed = self.passed.entry(path).or_insert(next);
        *passed = next.max(*passed);
    }

    fn give_up_passed(&mut self) {
        self.note_passed();
        self.drain();
    }

    /// Rule 1: what every live path has passed is given up, at once or when there was time for a repair.
    fn note_passed(&mut self) {
        let passed: Option<Vec<i64>> = self.live.iter().map(|path| self.passed.get(path).copied()).collect();
        let passed = passed.and_then(|passed| passed.into_iter().min());
        let waits = !self.held.is_empty() && self.paths_in_order;
        let Some(passed) = passed.filter(|_| waits) else {
            self.passed_all = None;
            return;
        };
        if self.patience.is_zero() {
            self.forced = self.forced.max(passed);
            self.passed_all = None;
            return;
        }
        if let Some((position, since)) = self.passed_all
            && since + self.patience <= self.now
        {
            self.forced = self.forced.max(position);
            self.passed_all = None;
        }
        if self.passed_all.is_none_or(|(position, _)| !(self.head + 1..=passed).contains(&position)) {
            self.passed_all = (passed > self.head).then_some((passed, self.now));
        }
    }

    /// Delivers what is next and need not be held, and gives up what need not be waited for.
    fn drain(&mut self) {
        loop {
            let next = self.held.first_key_value().map(|(position, held)| (*position, held.release));
            match next {
                Some((position, release)) if position == self.head => {
                    if self.rush <= self.head && release > self.now {
                        return;
                    }
                    if let Some(held) = self.held.remove(&position) {
                        self.deliver(position, &held.packet);
                    }
                    self.advance(self.head + 1);
                }
                _ if self.forced <= self.head => return,
                next => {
                    let until = next.map_or(self.forced, |(position, _)| position.min(self.forced));
                    self.lost += u64::try_from(until - self.head).unwrap_or(0);
                    self.advance(until);
                }
            }
        }
    }

    /// What paths have passed is forgotten once in a quarter of the number circle, where it lies behind.
    fn advance(&mut self, head: i64) {
        const QUARTER: i64 = 1 << 30;
        if head.div_euclid(QUARTER) != self.head.div_euclid(QUARTER) {
            self.passed.retain(|_, next| *next >= head);
        }
        self.head = head;
    }

    fn deliver(&mut self, position: i64, packet: &[u8]) {
        self.output.push(packet.to_vec());
        self.delivered.insert(position);
        self.delivered = self.delivered.split_off(&(self.head - REMEMBERED - 1));
    }
}
