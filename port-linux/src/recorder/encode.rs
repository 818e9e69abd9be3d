//! From inputs to columns: what can be foretold is left out.

use std::collections::HashMap;

use mpt_proto::{Instant, MAX_PATHS, Policy};

use super::columns::{Column, Columns, Op, PASSED};
use super::head::{self, Mark, Numbers, Shape};
use super::{Change, Input};

/// Shapes that are known at most: a flood of packets that all differ takes no more memory than these.
const SHAPES: usize = 1 << 16;

/// What the next input is compared with. Writer and reader keep the same.
#[derive(Debug, Default)]
pub(super) struct Expected {
    now: u64,
    arrived: u64,
    paths: [OfPath; MAX_PATHS],
    /// By shape.
    acknowledged: Vec<u32>,
    pub(super) slice: [u8; 8],
    pub(super) slice_size: usize,
    pub(super) slice_shape: u32,
}

/// Of the last datagrams of a path.
#[derive(Debug, Default)]
struct OfPath {
    /// By the bit that says "ordered" or not.
    sequences: [u32; 2],
    number: u32,
    stamp: u32,
    /// Control messages, by their kind.
    control: [Vec<u8>; 16],
}

#[allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "differences of numbers that wrap")]
impl Expected {
    pub(super) fn begin(now: Instant) -> Self {
        Self { now: now.as_micros(), arrived: now.as_micros(), ..Self::default() }
    }

    pub(super) fn now(&mut self, now: u64) -> i64 {
        now.wrapping_sub(std::mem::replace(&mut self.now, now)) as i64
    }

    pub(super) fn now_after(&mut self, difference: i64) -> u64 {
        self.now = self.now.wrapping_add(difference as u64);
        self.now
    }

    pub(super) fn arrived(&mut self, arrived: u64) -> i64 {
        arrived.wrapping_sub(std::mem::replace(&mut self.arrived, arrived)) as i64
    }

    pub(super) fn arrived_after(&mut self, difference: i64) -> u64 {
        self.arrived = self.arrived.wrapping_add(difference as u64);
        self.arrived
    }

    /// The last number of its kind, to be set to the present one.
    pub(super) fn sequence(&mut self, path: usize, shape: &[u8]) -> &mut u32 {
        &mut self.paths[path % MAX_PATHS].sequences[usize::from(head::order(shape))]
    }

    pub(super) fn number(&mut self, path: usize) -> &mut u32 {
        &mut self.paths[path % MAX_PATHS].number
    }

    pub(super) fn stamp(&mut self, path: usize) -> &mut u32 {
        &mut self.paths[path % MAX_PATHS].stamp
    }

    pub(super) fn acknowledged(&mut self, shape: u32) -> &mut u32 {
        let shape = shape as usize;
        if shape >= self.acknowledged.len() {
            self.acknowledged.resize(shape + 1, 0);
        }
        &mut self.acknowledged[shape]
    }

    /// The last control message on a path that has the kind of this one.
    pub(super) fn control(&mut self, path: usize, kind: u8) -> &mut Vec<u8> {
        &mut self.paths[path % MAX_PATHS].control[usize::from(kind & 0x0f)]
    }
}

/// How far a number lies behind the last one, that being replaced by it.
#[allow(clippy::cast_possible_wrap, reason = "numbers wrap")]
fn step(last: &mut u32, number: u32) -> i64 {
    i64::from(number.wrapping_sub(std::mem::replace(last, number)) as i32)
}

/// Writes inputs to columns.
#[derive(Debug)]
pub(super) struct Encoder {
    columns: Columns,
    expected: Expected,
    /// The same question, asked again and again.
    polls: Option<(Op, u64)>,
    shapes: HashMap<Shape, u32>,
    /// Numbers of flows, those that were seen since the last [`age`](Self::age), and before.
    flows: HashMap<u64, u32>,
    older: HashMap<u64, u32>,
    next_flow: u32,
    /// The last packet's, datagram's and slice's.
    last: [(Shape, u32); 3],
    scratch: Shape,
    hash_bits: u64,
    addresses: bool,
}

impl Encoder {
    /// For a connection with this policy, whose rules may look at `addresses`.
    pub(super) fn new(policy: Policy, addresses: bool, now: Instant) -> Self {
        Self {
            columns: Columns::default(),
            expected: Expected::begin(now),
            polls: None,
            shapes: HashMap::new(),
            flows: HashMap::new(),
            older: HashMap::new(),
            next_flow: 0,
            last: Default::default(),
            scratch: Shape::new(),
            hash_bits: head::hash_bits(policy),
            addresses,
        }
    }

    /// A new segment begins, in which nothing of before is known but the numbers of flows: a packet that waits is compared by them with
    /// those that will come. What was written is to be [taken](Self::take) before.
    pub(super) fn renew(&mut self, now: Instant) {
        self.expected = Expected::begin(now);
        self.shapes.clear();
        self.last = Default::default();
        self.age();
    }

    /// Forgets flows that were not seen for long.
    fn age(&mut self) {
        self.older = std::mem::take(&mut self.flows);
    }

    /// Writes over addresses what stands for them in a packet that is played.
    pub(super) fn hide(&mut self, flow: &mpt_proto::wire::ip::Flow, addresses: &mut [u8]) {
        let number = self.mark(flow.hash).number;
        if self.addresses {
            return;
        }
        addresses.fill(0);
        for (place, byte) in addresses.iter_mut().zip(number.to_be_bytes()) {
            *place = byte;
        }
    }

    /// Bytes written since the last [`take`](Self::take).
    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// What was written.
    pub(super) fn take(&mut self) -> Columns {
        self.end_polls();
        std::mem::take(&mut self.columns)
    }

    pub(super) fn input(&mut self, input: &Input<'_>, now: Option<Instant>) {
        if !matches!(input, Input::PollPacket | Input::PollTransmit | Input::PollEvent) {
            self.end_polls();
        }
        match input {
            Input::PollPacket => self.poll(Op::PollPacket),
            Input::PollTransmit => self.poll(Op::PollTransmit),
            Input::PollEvent => self.poll(Op::PollEvent),
            Input::Timeout => self.op(Op::Timeout, now),
            Input::Tick => self.op(Op::Tick, now),
            Input::Datagram { path, datagram, ecn, arrived } => {
                self.datagram((*path, ecn.bits()), datagram, *arrived, now);
            }
            Input::Packet { packet, flow } => self.packet(packet, flow, now),
            Input::Slice { slice, flow } => self.slice(slice, flow, now),
            Input::Change(change) => self.change(change, now),
        }
    }

    fn poll(&mut self, op: Op) {
        match &mut self.polls {
            Some((same, count)) if *same == op => *count += 1,
            _ => {
                self.end_polls();
                self.polls = Some((op, 1));
            }
        }
    }

    fn end_polls(&mut self) {
        if let Some((op, count)) = self.polls.take() {
            self.op(op, None);
            self.columns.number(Column::Polls, count);
        }
    }

    fn op(&mut self, op: Op, now: Option<Instant>) {
        let passed = now.map_or(0, |now| self.expected.now(now.as_micros()));
        if passed == 0 {
            return self.columns.byte(Column::Ops, op as u8);
        }
        self.columns.byte(Column::Ops, op as u8 | PASSED);
        self.columns.difference(Column::Times, passed);
    }

    fn datagram(&mut self, (path, ecn): (u8, u8), datagram: &[u8], arrived: Instant, now: Option<Instant>) {
        let mut shape = std::mem::take(&mut self.scratch);
        let numbers = head::of_datagram(datagram, &mut shape);
        let place = usize::from(path);
        match numbers {
            Some(numbers) => {
                let number = self.shape(1, &shape);
                self.op(Op::Data, now);
                self.columns.number(Column::Shapes, number.into());
                self.numbers(place, &shape, numbers);
            }
            None => {
                self.op(Op::Control, now);
                self.control(place, &shape);
            }
        }
        self.scratch = shape;
        self.columns.byte(Column::Paths, path | ecn << 4);
        self.columns.number(Column::Sizes, datagram.len() as u64);
        let arrived = self.expected.arrived(arrived.as_micros());
        self.columns.difference(Column::Arrivals, arrived);
    }

    fn numbers(&mut self, path: usize, shape: &[u8], numbers: Numbers) {
        if let Some(sequence) = numbers.sequence {
            let step = step(self.expected.sequence(path, shape), sequence);
            self.columns.difference(Column::Sequences, step);
        }
        if let Some((number, stamp)) = numbers.extension {
            let step_of_number = step(self.expected.number(path), number);
            self.columns.difference(Column::Numbers, step_of_number);
            let step_of_stamp = step(self.expected.stamp(path), stamp);
            self.columns.difference(Column::Stamps, step_of_stamp);
        }
    }

    /// A control message: what differs from the last one of its kind.
    fn control(&mut self, path: usize, message: &[u8]) {
        self.columns.number(Column::Bytes, message.len() as u64);
        let kind = head::kind(message);
        self.columns.byte(Column::Bytes, kind);
        let last = self.expected.control(path, kind);
        last.resize(message.len(), 0);
        for (last, byte) in last.iter_mut().zip(message) {
            self.columns.byte(Column::Bytes, *last ^ byte);
            *last = *byte;
        }
    }

    fn packet(&mut self, packet: &[u8], flow: &mpt_proto::wire::ip::Flow, now: Option<Instant>) {
        let mark = self.mark(flow.hash);
        let mut shape = std::mem::take(&mut self.scratch);
        let numbers = head::of_packet(packet, flow, mark, self.addresses, &mut shape);
        let number = self.shape(0, &shape);
        self.scratch = shape;
        self.op(Op::Packet, now);
        self.columns.number(Column::Shapes, number.into());
        self.columns.number(Column::Sizes, packet.len() as u64);
        if let Some(acknowledged) = numbers.acknowledged {
            let step = step(self.expected.acknowledged(number), acknowledged);
            self.columns.difference(Column::Acknowledged, step);
        }
    }

    fn slice(&mut self, slice: &[u8], flow: &mpt_proto::wire::ip::Flow, now: Option<Instant>) {
        let mark = self.mark(flow.hash);
        let mut shape = std::mem::take(&mut self.scratch);
        head::of_slice(flow, mark, &mut shape);
        let number = self.shape(2, &shape);
        self.scratch = shape;
        let mut header = [0; 8];
        let len = slice.len().min(8);
        header[..len].copy_from_slice(&slice[..len]);
        let expected = &mut self.expected;
        expected.slice[1] = expected.slice[1].wrapping_add(1);
        let is_next =
            (expected.slice, expected.slice_size, expected.slice_shape) == (header, slice.len(), number);
        if is_next {
            return self.op(Op::NextSlice, now);
        }
        let last = std::mem::replace(&mut expected.slice, header);
        (expected.slice_size, expected.slice_shape) = (slice.len(), number);
        self.op(Op::Slice, now);
        self.columns.number(Column::Shapes, number.into());
        self.columns.number(Column::Sizes, slice.len() as u64);
        for (last, byte) in last.iter().zip(header) {
            self.columns.byte(Column::Bytes, last ^ byte);
        }
    }

    fn mark(&mut self, hash: u64) -> Mark {
        let Self { flows, older, next_flow, .. } = self;
        let number = *flows.entry(hash).or_insert_with(|| {
            older.get(&hash).copied().unwrap_or_else(|| {
                *next_flow = next_flow.wrapping_add(1);
                *next_flow
            })
        });
        Mark { hash: hash & self.hash_bits, number }
    }

    /// The number of a shape; a new one is written first. `of` tells whose shapes it is compared with before all others.
    fn shape(&mut self, of: usize, shape: &Shape) -> u32 {
        if self.last[of].0 == *shape {
            return self.last[of].1;
        }
        let number = self.known(shape);
        self.last[of].0.clone_from(shape);
        self.last[of].1 = number;
        number
    }

    fn known(&mut self, shape: &Shape) -> u32 {
        if let Some(number) = self.shapes.get(shape) {
            return *number;
        }
        if self.shapes.len() >= SHAPES {
            self.shapes.clear();
            self.age();
            self.last = Default::default();
            self.op(Op::Forget, None);
        }
        let number = u32::try_from(self.shapes.len()).unwrap_or(u32::MAX);
        self.shapes.insert(shape.clone(), number);
        self.op(Op::NewShape, None);
        self.columns.number(Column::Bytes, shape.len() as u64);
        self.columns.bytes(shape);
        number
    }

    fn change(&mut self, change: &Change, now: Option<Instant>) {
        // A name of any length can be written.
        let Ok(bytes) = postcard::to_allocvec(change) else { return };
        self.op(Op::Change, now);
        self.columns.number(Column::Bytes, bytes.len() as u64);
        self.columns.bytes(&bytes);
    }
}
