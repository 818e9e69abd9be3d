//! The form of a block of a recording: a column for each kind of number, so that like stands beside like and packs well.

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// One byte for each input: an [`Op`], and whether time passed.
    Ops,
    /// Microseconds that passed.
    Times,
    /// Microseconds from one arrival to the next.
    Arrivals,
    /// Path and ECN bits.
    Paths,
    /// Numbers of shapes.
    Shapes,
    /// Bytes of packets and datagrams.
    Sizes,
    /// Differences of sequence numbers.
    Sequences,
    /// Differences of the numbers that extension headers have.
    Numbers,
    /// Differences of their stamps.
    Stamps,
    /// Differences of numbers that are acknowledged.
    Acknowledged,
    /// How often the core was asked for more.
    Polls,
    /// Bytes of new shapes, of control messages, of slices' headers, and of what happens seldom.
    Bytes,
}

/// How many columns there are.
pub(super) const COLUMNS: usize = Column::Bytes as usize + 1;

/// What an input is, in the lower bits of its byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Timeout = 1,
    Tick = 2,
    Data = 3,
    Control = 4,
    Packet = 5,
    Slice = 6,
    NextSlice = 7,
    PollPacket = 8,
    PollTransmit = 9,
    PollEvent = 10,
    /// What follows is written out: a [`Change`](super::Change).
    Change = 11,
    /// The next shape, told in [`Column::Bytes`].
    NewShape = 12,
    /// All shapes are forgotten.
    Forget = 13,
}

/// Set in an input's byte where time has passed since the one before.
pub(super) const PASSED: u8 = 0x80;

impl Op {
    const ALL: [Self; 13] = [
        Self::Timeout,
        Self::Tick,
        Self::Data,
        Self::Control,
        Self::Packet,
        Self::Slice,
        Self::NextSlice,
        Self::PollPacket,
        Self::PollTransmit,
        Self::PollEvent,
        Self::Change,
        Self::NewShape,
        Self::Forget,
    ];

    pub(super) fn read(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|op| *op as u8 == byte)
    }
}

/// The columns of a block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Columns([Vec<u8>; COLUMNS]);

impl Columns {
    pub(super) fn byte(&mut self, column: Column, byte: u8) {
        self.0[column as usize].push(byte);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0[Column::Bytes as usize].extend_from_slice(bytes);
    }

    /// Seven bits a byte, the lowest first.
    pub(super) fn number(&mut self, column: Column, mut number: u64) {
        let bytes = &mut self.0[column as usize];
        while number >= 0x80 {
            bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        bytes.push((number & 0x7f) as u8);
    }

    /// The lowest bit is the sign: what is near zero is short.
    #[allow(clippy::cast_sign_loss, reason = "bits are moved, not numbers")]
    pub(super) fn difference(&mut self, column: Column, difference: i64) {
        self.number(column, ((difference << 1) ^ (difference >> 63)) as u64);
    }

    /// Bytes in all columns.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    pub(super) fn into_parts(self) -> [Vec<u8>; COLUMNS] {
        self.0
    }

    /// To read them.
    pub(super) fn reader(parts: [Vec<u8>; COLUMNS]) -> Reader {
        Reader { columns: parts, at: [0; COLUMNS] }
    }
}

/// Reads columns.
#[derive(Debug)]
pub(super) struct Reader {
    columns: [Vec<u8>; COLUMNS],
    at: [usize; COLUMNS],
}

impl Reader {
    pub(super) fn byte(&mut self, column: Column) -> Option<u8> {
        let at = &mut self.at[column as usize];
        let byte = self.columns[column as usize].get(*at)?;
        *at += 1;
        Some(*byte)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Option<&[u8]> {
        let at = &mut self.at[Column::Bytes as usize];
        let bytes = self.columns[Column::Bytes as usize].get(*at..at.checked_add(len)?)?;
        *at += len;
        Some(bytes)
    }

    pub(super) fn number(&mut self, column: Column) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(column)?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    #[allow(clippy::cast_possible_wrap, reason = "bits are moved, not numbers")]
    pub(super) fn difference(&mut self, column: Column) -> Option<i64> {
        let number = self.number(column)?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_and_sign_are_read_as_they_were_written() {
        let numbers: Vec<u64> =
            (0..64).flat_map(|bit| [1 << bit, (1_u64 << bit) - 1]).chain([u64::MAX]).collect();
        let differences = [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN];
        let mut columns = Columns::default();
        numbers.iter().for_each(|number| columns.number(Column::Sizes, *number));
        differences.iter().for_each(|difference| columns.difference(Column::Times, *difference));
        let mut reader = Columns::reader(columns.into_parts());
        assert!(numbers.iter().all(|number| reader.number(Column::Sizes) == Some(*number)));
        assert!(differences.iter().all(|difference| reader.difference(Column::Times) == Some(*difference)));
        assert_eq!((reader.number(Column::Sizes), reader.difference(Column::Times)), (None, None));
    }

    #[test]
    fn every_op_is_known_by_its_byte() {
        assert!(Op::ALL.iter().all(|op| Op::read(*op as u8) == Some(*op) && (*op as u8) < PASSED));
        assert_eq!(Op::read(0), None);
    }
}
