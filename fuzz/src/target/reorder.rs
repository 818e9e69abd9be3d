//! The reorder buffer against its oracle.

use std::collections::BTreeSet;
use std::time::Duration;

use arbitrary::Arbitrary;
use mpt_proto::PathSet;
use mpt_proto::Seq;
use mpt_proto::internals::{Insert, Reorder};
use mpt_proto::{Instant, ReorderConfig, ReorderSlot};

use crate::oracle;
use crate::target::operations;

/// Bytes of a slot.
const CELL: usize = 8;

/// Where to begin, and how large.
#[derive(Debug, Arbitrary)]
struct Setup {
    slots: u8,
    window: u8,
    delay_ms: u8,
    paths_in_order: bool,
    /// `Some`: the peer says where its numbers begin.
    restart: Option<u32>,
    /// Time that a sender which repairs is given.
    patience_ms: u8,
    /// How long packets are to be held at most.
    hold_ms: u8,
}

/// A number, relative to the one that is next.
#[derive(Debug, Arbitrary)]
enum Number {
    Ahead(u8),
    FarAhead(u32),
    Behind(u8),
    FarBehind(u32),
}

impl Number {
    /// Far is at most an eighth of the number circle: further, serial arithmetic has no order.
    fn from(&self, head: Seq) -> Seq {
        const EIGHTH: u32 = 1 << 29;
        let distance = match *self {
            Self::Ahead(by) => u32::from(by),
            Self::FarAhead(by) => by % EIGHTH,
            Self::Behind(by) => u32::from(by).wrapping_neg(),
            Self::FarBehind(by) => (by % EIGHTH).wrapping_neg(),
        };
        head + distance
    }
}

#[derive(Debug, Arbitrary)]
enum Op {
    Insert {
        path: u8,
        number: Number,
        len: u8,
    },
    /// Packets from this number on, in a row.
    Run {
        path: u8,
        number: Number,
        count: u8,
    },
    Probe {
        path: u8,
        number: Number,
    },
    /// The live paths, in the low bits; with the highest one the sender does not repair from now on.
    Live(u16),
    Wait(u8),
    Timeout,
    Restart(Number),
}

struct Bench<'s> {
    reorder: Reorder<'s>,
    oracle: oracle::reorder::Reorder,
    now: Instant,
    patience: Duration,
    hold_ms: u8,
    serial: u32,
    output: Vec<Vec<u8>>,
}

impl Bench<'_> {
    /// `hold`: which share of the longest one, in parts of 25.
    fn insert(&mut self, path: u8, seq: Seq, len: usize, hold: u8) {
        self.serial += 1;
        let mut packet = self.serial.to_be_bytes().to_vec();
        packet.resize(len.max(4), 0);
        let path = usize::from(path % 4);
        let hold = Duration::from_millis(u64::from(self.hold_ms) * u64::from(hold) / 25);
        let release = self.now + hold;
        let outcome = self.reorder.insert_until(path, seq, &packet, release, self.now);
        if outcome == Insert::Next {
            self.output.push(packet.clone());
        }
        assert_eq!(outcome, self.oracle.insert(path, seq, &packet, release, self.now), "{seq:?}");
        self.check();
    }

    fn check(&mut self) {
        while let Some(place) = self.reorder.pop() {
            self.output.push(self.reorder.packet(place).to_vec());
        }
        assert_eq!(self.output, self.oracle.output);
        self.output.clear();
        self.oracle.output.clear();
        assert_eq!(self.reorder.head(), self.oracle.head());
        assert_eq!(self.reorder.held(), self.oracle.held());
        assert_eq!(self.reorder.deadline(), self.oracle.deadline());
        assert_eq!(self.reorder.lost(), self.oracle.lost);
        assert_eq!(self.reorder.restarts(), self.oracle.restarts);
    }

    fn apply(&mut self, op: &Op) {
        let head = self.oracle.head();
        match op {
            Op::Insert { path, number, len } => {
                let longest = CELL + 2;
                let hold = len / u8::try_from(longest).unwrap_or(u8::MAX);
                self.insert(*path, number.from(head), usize::from(*len) % longest, hold);
            }
            Op::Run { path, number, count } => {
                let first = number.from(head);
                (0..u32::from(*count)).for_each(|step| self.insert(*path, first + step, CELL, 25));
            }
            Op::Probe { path, number } => {
                let path = usize::from(path % 4);
                self.reorder.handle_probe(path, number.from(head), self.now);
                self.oracle.handle_probe(path, number.from(head), self.now);
            }
            Op::Live(bits) => {
                let live: BTreeSet<usize> = (0..4).filter(|path| bits & 1 << path != 0).collect();
                let set = live.iter().fold(PathSet::default(), |mut set, path| {
                    set.insert(*path);
                    set
                });
                let patience = if bits & 0x8000 == 0 { self.patience } else { Duration::ZERO };
                self.reorder.set_live(set, self.now);
                self.oracle.set_live(live, self.now);
                self.reorder.set_patience(patience);
                self.oracle.set_patience(patience);
            }
            Op::Wait(ms) => self.now = self.now + Duration::from_millis(u64::from(*ms)),
            Op::Timeout => {
                self.reorder.handle_timeout(self.now);
                self.oracle.handle_timeout(self.now);
            }
            Op::Restart(number) => {
                self.reorder.restart(number.from(head));
                self.oracle.restart(number.from(head));
            }
        }
        self.check();
    }
}

/// Compares the two after every operation.
///
/// # Panics
/// They differ.
pub fn reorder(data: &[u8]) {
    let Some((setup, rest)) = data.split_at_checked(16) else { return };
    let Some(setup) = operations::<Setup>(setup).next() else { return };
    let slots = usize::from(setup.slots);
    let config = ReorderConfig {
        window: u16::from(setup.window),
        delay: Duration::from_millis(u64::from(setup.delay_ms)),
        paths_in_order: setup.paths_in_order,
    };
    let (mut lent, mut bytes) = (vec![ReorderSlot::default(); slots], vec![0; slots * CELL]);
    let mut bench = Bench {
        reorder: Reorder::new(config, &mut lent, &mut bytes),
        oracle: oracle::reorder::Reorder::new(config, slots, CELL),
        now: Instant::from_micros(1),
        patience: Duration::from_millis(u64::from(setup.patience_ms)),
        hold_ms: setup.hold_ms,
        serial: 0,
        output: Vec::new(),
    };
    bench.reorder.set_patience(bench.patience);
    bench.oracle.set_patience(bench.patience);
    if let Some(first) = setup.restart {
        bench.reorder.restart(Seq::from_u32(first));
        bench.oracle.restart(Seq::from_u32(first));
    }
    for op in operations::<Op>(rest) {
        bench.apply(&op);
    }
}
