//! The reorder buffer as a sorted map, with the rules of [`mpt_proto::reorder`] written down one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mpt_proto::reorder::Insert;
use mpt_proto::seq::Seq;
use mpt_proto::{Instant, ReorderConfig};

/// How far back deliveries are remembered.
const REMEMBERED: i64 = 1024;
/// Numbers in a row from far back that mean a restart, and how far each may be from the one before.
const RESTART_RUN: u32 = 64;
const RESTART_STRIDE: i64 = 64;

/// Delivers packets in order, as [`mpt_proto::reorder::Reorder`] must when it is drained after every call.
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
    held: BTreeMap<i64, (Vec<u8>, Instant)>,
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
            held: BTreeMap::new(),
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

    /// When the packet that has waited longest has waited enough.
    pub fn deadline(&self) -> Option<Instant> {
        self.held.values().map(|(_, arrived)| *arrived + self.delay).min()
    }

    fn position(&self, seq: Seq) -> i64 {
        self.head + i64::from(seq.distance_from(self.head()))
    }

    fn begin_at(&mut self, position: i64) {
        self.head = position;
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

    /// Takes a packet.
    pub fn insert(&mut self, path: usize, seq: Seq, packet: &[u8], now: Instant) -> Insert {
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
        if position > self.head && self.window > 0 && packet.len() > self.cell {
            return Insert::TooLarge;
        }
        self.pass(path, position + 1);
        if self.window == 0 {
            self.deliver(position, packet);
            self.head = position + 1;
            return Insert::Next;
        }
        if self.held.contains_key(&position) {
            self.give_up_passed();
            return Insert::Duplicate;
        }
        // Rule 3.
        let first = position - self.window + 1;
        if self.held.is_empty() {
            self.give_up_before(first);
        }
        let outcome = if position == self.head { Insert::Next } else { Insert::Held };
        self.held.insert(position, (packet.to_vec(), now));
        self.give_up_before(first);
        self.give_up_passed();
        outcome
    }

    /// The path delivers nothing before `next` any more.
    pub fn handle_probe(&mut self, path: usize, next: Seq) {
        let position = self.position(next);
        self.pass(path, position);
        self.give_up_passed();
    }

    /// Which paths must have passed a number for it to be lost.
    pub fn set_live(&mut self, live: BTreeSet<usize>) {
        self.live = live;
        self.give_up_passed();
    }

    /// Rule 2.
    pub fn handle_timeout(&mut self, now: Instant) {
        let expired = |arrived: Instant| arrived + self.delay <= now;
        let last = self.held.iter().filter(|(_, (_, arrived))| expired(*arrived)).map(|(at, _)| *at).max();
        if let Some(last) = last {
            self.give_up_before(last);
        }
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

    /// Rule 1.
    fn give_up_passed(&mut self) {
        self.drain();
        if self.held.is_empty() || !self.paths_in_order || self.live.is_empty() {
            return;
        }
        let passed: Option<Vec<i64>> = self.live.iter().map(|path| self.passed.get(path).copied()).collect();
        if let Some(all) = passed.and_then(|passed| passed.into_iter().min()) {
            self.give_up_before(all);
        }
    }

    /// Everything before `position` is delivered if it is here, or lost.
    fn give_up_before(&mut self, position: i64) {
        while self.head < position {
            let next = self.held.keys().next().map_or(position, |first| position.min(*first));
            if next > self.head {
                self.lost += u64::try_from(next - self.head).unwrap_or(0);
                self.head = next;
            }
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Some((packet, _)) = self.held.remove(&self.head) {
            self.deliver(self.head, &packet);
            self.head += 1;
        }
    }

    fn deliver(&mut self, position: i64, packet: &[u8]) {
        self.output.push(packet.to_vec());
        self.delivered.insert(position);
        self.delivered = self.delivered.split_off(&(self.head - REMEMBERED - 1));
    }
}
