//! Reassembly against its oracle.

use std::time::Duration;

use arbitrary::Arbitrary;
use mpt_proto::internals::{Piece, Reassembly};
use mpt_proto::wire::fragment::{self, Header};
use mpt_proto::{Ecn, Instant, ReassemblySlot};

use crate::oracle;
use crate::packet::{MIN_LEN, Stamp};
use crate::target::operations;

const SLOTS: usize = 3;
/// The largest packet that fits.
const LARGEST: usize = 400;
const TIMEOUT: Duration = Duration::from_millis(500);

#[derive(Debug, Arbitrary)]
enum Op {
    /// A piece of a good packet.
    Good {
        id: u8,
        len: u16,
        size: u16,
        index: u8,
    },
    /// A piece that claims anything.
    Forged {
        id: u8,
        total: u16,
        size: u16,
        index: u8,
        fill: u8,
    },
    /// Bytes that may be no piece at all.
    Raw([u8; 12]),
    Wait(u8),
    Timeout,
}

/// Compares the two after every operation.
///
/// # Panics
/// They differ.
pub fn reassembly(data: &[u8]) {
    let (mut slots, mut bytes) = (vec![ReassemblySlot::default(); SLOTS], vec![0; SLOTS * LARGEST]);
    let mut reassembly = Reassembly::new(TIMEOUT, &mut slots, &mut bytes);
    let mut oracle = oracle::reassembly::Reassembly::new(SLOTS, LARGEST, TIMEOUT);
    let mut now = Instant::from_micros(1);
    for op in operations::<Op>(data) {
        // No two packets start at the same time.
        now = now + Duration::from_micros(1);
        let payload = match op {
            Op::Good { id, len, size, index } => {
                let len = MIN_LEN + usize::from(len) % (LARGEST + 20 - MIN_LEN);
                let packet = Stamp { serial: u64::from(id), sent: Instant::ZERO }.packet(len, Ecn::NotEct);
                piece(id, len, size % 512, index, |range| packet[range].to_vec())
            }
            Op::Forged { id, total, size, index, fill } => {
                piece(id, usize::from(total), size, index, |range| vec![fill; range.len()])
            }
            Op::Raw(bytes) => bytes.to_vec(),
            Op::Wait(ms) => {
                now = now + Duration::from_millis(u64::from(ms));
                continue;
            }
            Op::Timeout => {
                reassembly.handle_timeout(now);
                oracle.handle_timeout(now);
                Vec::new()
            }
        };
        let expected = match Header::parse(&payload) {
            // The mark is set by whoever receives; the scenarios test it.
            Ok((header, piece)) if !header.congestion => oracle.insert(&header, piece, now),
            Ok(_) => continue,
            Err(_) => Piece::Bad,
        };
        assert_eq!(reassembly.insert(&payload, now), expected);
        if expected == Piece::Complete {
            assert_eq!(reassembly.packet(), oracle.packet);
        }
        assert_eq!(reassembly.deadline(), oracle.deadline());
        assert_eq!(reassembly.expired(), oracle.expired);
    }
}

fn piece(
    id: u8,
    total: usize,
    size: u16,
    index: u8,
    content: impl FnOnce(std::ops::Range<usize>) -> Vec<u8>,
) -> Vec<u8> {
    let total = u16::try_from(total).unwrap_or(u16::MAX);
    let header = Header { index: index % 36, id: u16::from(id % 8), size, total, congestion: false };
    let mut payload = vec![0; fragment::LEN];
    payload.extend(header.range().map(content).unwrap_or_default());
    header.emit(&mut payload);
    payload
}
