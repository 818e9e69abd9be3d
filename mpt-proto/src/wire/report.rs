//! Reports: what a receiver tells the sender about each path, behind an extension header. The layout is drawn in
//! `docs/wire.md`.
//!
//! All counters are cumulative, so that a report that is lost costs nothing but time. Delays are differences of
//! the receiver's clock and the sender's stamps: their offset is unknown, but the same on all paths.

use heapless::Vec;

use crate::seq::Seq;
use crate::wire::{put, u16_at, u32_at};

/// Most paths that one report speaks of; more paths take turns.
pub const MAX_PATHS: usize = 4;
/// Most gaps that one report names.
pub const MAX_GAPS: usize = 8;
/// Bytes of the longest report.
pub const MAX_LEN: usize = HEAD + MAX_PATHS * PATH + MAX_GAPS * GAP + MOST;

const HEAD: usize = 16;
const PATH: usize = 28;
const GAP: usize = 8;
const MOST: usize = 4;
/// Unit of the 16-bit spans, in microseconds.
const UNIT: u32 = 4;
/// The longest such span, in microseconds: a longer one is written as this.
pub(crate) const LONGEST_SPAN: u32 = u16::MAX as u32 * UNIT;

/// A report. The extension header's stamp says when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct Report {
    /// The reporting process, as in its control messages.
    pub instance: u32,
    /// Counts the reporter's reports.
    pub count: Seq,
    /// For the other direction: hold ordered packets until this much after their stamp, on the receiver's clock
    /// less the sender's, modulo 2^32 microseconds. `None`: do not hold them.
    pub hold: Option<u32>,
    /// For the other direction: bit n is set if ordered packets may come on the path that the reporter numbers n.
    pub open: u16,
    /// For the other direction: whether packets that were lost are sent again.
    pub repairs: bool,
    /// For the other direction: bytes a second that are to be sent at most, as datagrams with their outer headers. `None`: the
    /// reporter asks for no less than what its links carry.
    pub most: Option<u32>,
    /// Of each path: what arrived.
    pub paths: Vec<PathReport, MAX_PATHS>,
    /// What did not.
    pub gaps: Vec<Gap, MAX_GAPS>,
}

/// What arrived on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct PathReport {
    /// The number that the sender of the packets gives the path.
    pub path: u8,
    /// All path numbers up to this one have arrived or were named as a gap; 24 bits.
    pub settled: u32,
    /// Datagrams that arrived, modulo 2^32.
    pub packets: u32,
    /// Bytes of datagrams that arrived, modulo 2^32.
    pub bytes: u32,
    /// The stamp of the latest.
    pub stamp: u32,
    /// How long before this report it came, in microseconds: up to a quarter of a second.
    pub age: u32,
    /// Mean difference of the delays of two packets in a row, in microseconds (RFC 3550 section 6.4.1).
    pub jitter: u32,
    /// Shortest delay since the report before, in microseconds, modulo 2^32.
    pub delay: u32,
    /// How much longer the mean delay was, in microseconds.
    pub excess: u32,
}

/// Path numbers that did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct Gap {
    /// The number that the sender of the packets gives the path.
    pub path: u8,
    /// The first; 24 bits.
    pub first: u32,
    /// How many.
    pub count: u16,
}

/// A span in the units of the wire.
fn units(micros: u32) -> [u8; 2] {
    u16::try_from(micros / UNIT).unwrap_or(u16::MAX).to_be_bytes()
}

impl Report {
    /// Parses what follows the extension header. `None`: it is too short, or names a path above 15.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let counts = usize::from(u16_at(payload, 14)?);
        let (paths, gaps, has_hold) = (counts >> 8 & 0x0f, counts >> 4 & 0x0f, counts & 1 != 0);
        let mut report = Self {
            instance: u32_at(payload, 0)?,
            count: Seq::from_u32(u32_at(payload, 4)?),
            hold: Some(u32_at(payload, 8)?).filter(|_| has_hold),
            open: u16_at(payload, 12)?,
            repairs: counts & 2 != 0,
            ..Self::default()
        };
        let mut rest = payload.get(HEAD..)?;
        for _ in 0..paths {
            let (block, behind) = rest.split_at_checked(PATH)?;
            rest = behind;
            let head = u32_at(block, 0)?;
            let path = PathReport {
                path: u8::try_from(head >> 24).ok().filter(|path| *path < 16)?,
                settled: head & 0x00ff_ffff,
                packets: u32_at(block, 4)?,
                bytes: u32_at(block, 8)?,
                stamp: u32_at(block, 12)?,
                age: u32::from(u16_at(block, 16)?) * UNIT,
                jitter: u32::from(u16_at(block, 18)?) * UNIT,
                delay: u32_at(block, 20)?,
                excess: u32::from(u16_at(block, 24)?) * UNIT,
            };
            report.paths.push(path).ok()?;
        }
        for _ in 0..gaps {
            let (block, behind) = rest.split_at_checked(GAP)?;
            rest = behind;
            let head = u32_at(block, 0)?;
            let gap = Gap {
                path: u8::try_from(head >> 24).ok().filter(|path| *path < 16)?,
                first: head & 0x00ff_ffff,
                count: u16_at(block, 4)?,
            };
            report.gaps.push(gap).ok()?;
        }
        if counts & 4 != 0 {
            report.most = Some(u32_at(rest, 0)?);
        }
        Some(report)
    }

    /// Writes the report to the front of `bytes` and says how long it is; `None`: it does not fit.
    pub fn emit(&self, bytes: &mut [u8]) -> Option<usize> {
        let most = if self.most.is_some() { MOST } else { 0 };
        let len = HEAD + self.paths.len() * PATH + self.gaps.len() * GAP + most;
        let bytes = bytes.get_mut(..len)?;
        bytes.fill(0);
        put(bytes, 0, self.instance.to_be_bytes());
        put(bytes, 4, self.count.as_u32().to_be_bytes());
        put(bytes, 8, self.hold.unwrap_or(0).to_be_bytes());
        put(bytes, 12, self.open.to_be_bytes());
        let flags = [self.hold.is_some(), self.repairs, self.most.is_some()];
        let flags = (0..).zip(flags).fold(0, |flags, (bit, is_set)| flags | usize::from(is_set) << bit);
        let counts = self.paths.len() << 8 | self.gaps.len() << 4 | flags;
        put(bytes, 14, u16::try_from(counts).ok()?.to_be_bytes());
        let mut at = HEAD;
        for path in &self.paths {
            put(bytes, at, (u32::from(path.path) << 24 | path.settled & 0x00ff_ffff).to_be_bytes());
            put(bytes, at + 4, path.packets.to_be_bytes());
            put(bytes, at + 8, path.bytes.to_be_bytes());
            put(bytes, at + 12, path.stamp.to_be_bytes());
            put(bytes, at + 16, units(path.age));
            put(bytes, at + 18, units(path.jitter));
            put(bytes, at + 20, path.delay.to_be_bytes());
            put(bytes, at + 24, units(path.excess));
            at += PATH;
        }
        for gap in &self.gaps {
            put(bytes, at, (u32::from(gap.path) << 24 | gap.first & 0x00ff_ffff).to_be_bytes());
            put(bytes, at + 4, gap.count.to_be_bytes());
            at += GAP;
        }
        if let Some(most) = self.most {
            put(bytes, at, most.to_be_bytes());
        }
        Some(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Report {
        let path = PathReport {
            path: 2,
            settled: 0x00_1234,
            packets: 4660,
            bytes: 0x0066_0000,
            stamp: 0x0102_0304,
            age: 400,
            jitter: 40,
            delay: 0xffff_fff0,
            excess: 800,
        };
        let gap = Gap { path: 2, first: 0x00_1200, count: 3 };
        Report {
            instance: 0xdead_beef,
            count: Seq::from_u32(7),
            hold: Some(80_000),
            open: 0x0005,
            repairs: true,
            most: None,
            paths: Vec::from_slice(&[path]).unwrap(),
            gaps: Vec::from_slice(&[gap]).unwrap(),
        }
    }

    #[test]
    fn the_bytes_are_those_of_docs_wire_md() {
        #[rustfmt::skip]
        let golden = [
            0xde, 0xad, 0xbe, 0xef, 0x00, 0x00, 0x00, 0x07, 0x00, 0x01, 0x38, 0x80, 0x00, 0x05, 0x01, 0x13,
            0x02, 0x00, 0x12, 0x34, 0x00, 0x00, 0x12, 0x34, 0x00, 0x66, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04,
            0x00, 0x64, 0x00, 0x0a, 0xff, 0xff, 0xff, 0xf0, 0x00, 0xc8, 0x00, 0x00,
            0x02, 0x00, 0x12, 0x00, 0x00, 0x03, 0x00, 0x00,
        ];
        let mut bytes = [0xee; MAX_LEN];
        let len = example().emit(&mut bytes).unwrap();
        assert_eq!(bytes[..len], golden);
        assert_eq!(Report::parse(&golden), Some(example()));
        // The same from a server that shares 12.5 MB/s, of which earlier versions read all but that.
        let asking = Report { most: Some(12_500_000), ..example() };
        let len = asking.emit(&mut bytes).unwrap();
        assert_eq!((bytes[15], &bytes[golden.len()..len]), (0x17, &[0x00, 0xbe, 0xbc, 0x20][..]));
        assert_eq!(Report::parse(&bytes[..len]), Some(asking));
    }

    #[test]
    fn a_full_report_survives_a_round_trip_and_fits_its_longest_length() {
        let mut full = Report { hold: None, most: Some(u32::MAX), ..example() };
        while full.paths.push(PathReport { path: 15, ..Default::default() }).is_ok() {}
        while full.gaps.push(Gap { path: 15, first: 0xff_ffff, count: u16::MAX }).is_ok() {}
        let mut bytes = [0; MAX_LEN];
        assert_eq!(full.emit(&mut bytes), Some(MAX_LEN));
        assert_eq!(Report::parse(&bytes), Some(full));
    }

    #[test]
    fn truncated_reports_and_paths_above_15_are_refused() {
        let mut bytes = [0; MAX_LEN];
        let asking = Report { most: Some(1), ..example() };
        let len = asking.emit(&mut bytes).unwrap();
        for len in 0..len {
            assert_eq!(Report::parse(&bytes[..len]), None, "{len} bytes");
        }
        for at in [HEAD, HEAD + PATH] {
            let mut broken = bytes;
            broken[at] = 16;
            assert_eq!(Report::parse(&broken), None);
        }
        let mut many = [0; 600];
        many[14] = 0x0f;
        assert_eq!(Report::parse(&many), None, "more paths than a report has");
    }
}
