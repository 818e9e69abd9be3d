//! From columns to inputs.

use mpt_proto::wire::ip::Flow;
use mpt_proto::{Ecn, HEADROOM, Instant};

use super::Change;
use super::columns::{Column, Op, PASSED, Reader};
use super::encode::Expected;
use super::head::{self, Numbers};

/// Largest packet or datagram.
const LARGEST: usize = 65_535;

/// What was done to the core. What it was done with is in the buffer of the [`Decoder`].
#[derive(Debug)]
pub(super) enum Entry {
    Timeout,
    Tick,
    Datagram {
        path: u8,
        ecn: Ecn,
        arrived: Instant,
    },
    /// Behind [`HEADROOM`]; it counts as one of a flow with this hash.
    Packet {
        hash: u64,
    },
    /// Behind [`HEADROOM`].
    Slice {
        flow: Flow,
    },
    PollPacket(u64),
    PollTransmit(u64),
    PollEvent(u64),
    Change(Change),
}

/// Reads what an encoder wrote.
#[derive(Debug)]
pub(super) struct Decoder {
    expected: Expected,
    now: Instant,
    shapes: Vec<Vec<u8>>,
    /// The packet, slice or datagram of the entry that was read last.
    pub(super) buffer: Vec<u8>,
}

impl Decoder {
    pub(super) fn new(now: Instant) -> Self {
        Self { expected: Expected::begin(now), now, shapes: Vec::new(), buffer: Vec::new() }
    }

    /// The time of the entry that was read last.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// The next entry; `Ok(None)`: the block has no more.
    ///
    /// # Errors
    /// `Err`: the block makes no sense.
    pub(super) fn next(&mut self, reader: &mut Reader) -> Result<Option<Entry>, Nonsense> {
        loop {
            let Some(byte) = reader.byte(Column::Ops) else { return Ok(None) };
            if byte & PASSED != 0 {
                let passed = reader.difference(Column::Times).ok_or(Nonsense)?;
                self.now = Instant::from_micros(self.expected.now_after(passed));
            }
            let op = Op::read(byte & !PASSED).ok_or(Nonsense)?;
            // Without an entry it was a shape.
            if let Some(entry) = self.entry(op, reader).ok_or(Nonsense)? {
                return Ok(Some(entry));
            }
        }
    }

    fn entry(&mut self, op: Op, reader: &mut Reader) -> Option<Option<Entry>> {
        Some(Some(match op {
            Op::Timeout => Entry::Timeout,
            Op::Tick => Entry::Tick,
            Op::PollPacket => Entry::PollPacket(reader.number(Column::Polls)?),
            Op::PollTransmit => Entry::PollTransmit(reader.number(Column::Polls)?),
            Op::PollEvent => Entry::PollEvent(reader.number(Column::Polls)?),
            Op::Data => self.data(reader)?,
            Op::Control => self.control(reader)?,
            Op::Packet => self.packet(reader)?,
            Op::Slice => self.slice(reader)?,
            Op::NextSlice => {
                self.expected.slice[1] = self.expected.slice[1].wrapping_add(1);
                self.expected_slice()?
            }
            Op::Change => {
                let len = usize::try_from(reader.number(Column::Bytes)?).ok()?;
                Entry::Change(postcard::from_bytes(reader.bytes(len)?).ok()?)
            }
            Op::NewShape => {
                let len = usize::try_from(reader.number(Column::Bytes)?).ok()?;
                self.shapes.push(reader.bytes(len)?.to_vec());
                return Some(None);
            }
            Op::Forget => {
                self.shapes.clear();
                return Some(None);
            }
        }))
    }

    fn data(&mut self, reader: &mut Reader) -> Option<Entry> {
        let shape = self.shapes.get(usize::try_from(reader.number(Column::Shapes)?).ok()?)?;
        let (path, ecn) = path(reader)?;
        let (has_sequence, has_extension) = head::numbered(shape);
        let mut numbers = Numbers::default();
        let place = usize::from(path);
        if has_sequence {
            let last = self.expected.sequence(place, shape);
            numbers.sequence = Some(advance(last, reader.difference(Column::Sequences)?));
        }
        if has_extension {
            let number = advance(self.expected.number(place), reader.difference(Column::Numbers)?);
            let stamp = advance(self.expected.stamp(place), reader.difference(Column::Stamps)?);
            numbers.extension = Some((number, stamp));
        }
        let size = size(reader)?;
        self.buffer.clear();
        head::datagram(shape, numbers, size, &mut self.buffer)?;
        self.arrived(path, ecn, reader)
    }

    fn control(&mut self, reader: &mut Reader) -> Option<Entry> {
        let len = usize::try_from(reader.number(Column::Bytes)?).ok().filter(|len| *len <= LARGEST)?;
        let kind = reader.byte(Column::Bytes)?;
        let (path, ecn) = path(reader)?;
        let last = self.expected.control(usize::from(path), kind);
        last.resize(len, 0);
        for (last, change) in last.iter_mut().zip(reader.bytes(len)?) {
            *last ^= change;
        }
        let message = last.clone();
        let size = size(reader)?;
        self.buffer.clear();
        head::datagram(&message, Numbers::default(), size, &mut self.buffer)?;
        self.arrived(path, ecn, reader)
    }

    fn arrived(&mut self, path: u8, ecn: Ecn, reader: &mut Reader) -> Option<Entry> {
        let arrived = self.expected.arrived_after(reader.difference(Column::Arrivals)?);
        Some(Entry::Datagram { path, ecn, arrived: Instant::from_micros(arrived) })
    }

    fn packet(&mut self, reader: &mut Reader) -> Option<Entry> {
        let number = u32::try_from(reader.number(Column::Shapes)?).ok()?;
        let shape = self.shapes.get(number as usize)?;
        let size = size(reader)?;
        let mut numbers = Numbers::default();
        if head::acknowledges(shape) {
            let last = self.expected.acknowledged(number);
            numbers.acknowledged = Some(advance(last, reader.difference(Column::Acknowledged)?));
        }
        self.buffer.clear();
        self.buffer.resize(HEADROOM, 0);
        let mark = head::packet(shape, numbers, size, &mut self.buffer)?;
        Some(Entry::Packet { hash: mark.hash })
    }

    fn slice(&mut self, reader: &mut Reader) -> Option<Entry> {
        self.expected.slice[1] = self.expected.slice[1].wrapping_add(1);
        self.expected.slice_shape = u32::try_from(reader.number(Column::Shapes)?).ok()?;
        self.expected.slice_size = size(reader)?;
        let changes = reader.bytes(8)?;
        for (byte, change) in self.expected.slice.iter_mut().zip(changes) {
            *byte ^= change;
        }
        self.expected_slice()
    }

    fn expected_slice(&mut self) -> Option<Entry> {
        let Expected { slice, slice_size, slice_shape, .. } = &self.expected;
        let flow = head::slice_flow(self.shapes.get(*slice_shape as usize)?)?;
        self.buffer.clear();
        self.buffer.resize(HEADROOM + slice_size, 0);
        let len = 8.min(*slice_size);
        self.buffer[HEADROOM..HEADROOM + len].copy_from_slice(&slice[..len]);
        Some(Entry::Slice { flow })
    }
}

/// A block that makes no sense, though its checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nonsense;

fn path(reader: &mut Reader) -> Option<(u8, Ecn)> {
    let byte = reader.byte(Column::Paths)?;
    Some((byte & 0x0f, Ecn::from_bits(byte >> 4)))
}

fn size(reader: &mut Reader) -> Option<usize> {
    let size = usize::try_from(reader.number(Column::Sizes)?).ok()?;
    Some(size).filter(|size| *size <= LARGEST + HEADROOM)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers wrap")]
fn advance(last: &mut u32, step: i64) -> u32 {
    *last = last.wrapping_add(step as u32);
    *last
}
