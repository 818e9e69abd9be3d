//! One record of the history, as a fixed number of bytes with a checksum.

use crate::events::Level;
use crate::rates::Passed;

/// Bytes of a record.
pub const RECORD: usize = 64;
/// Bytes of an event.
pub const MARK: usize = 256;
/// Bytes of an event before its texts.
const MARK_HEAD: usize = 32;

/// What one path did in some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Record {
    /// The end of that time, by the system's clock: milliseconds since 1970.
    pub time_ms: u64,
    /// Its length in milliseconds, by a clock that never jumps.
    pub span_ms: u64,
    /// Bytes sent: UDP payloads.
    pub tx_bytes: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Datagrams sent.
    pub tx_datagrams: u64,
    /// Those of them of which it became known that they did not arrive; `None` where that is not known.
    pub lost: Option<u64>,
    /// Round-trip time in microseconds, once known.
    pub rtt_us: Option<u64>,
    /// Deviation of the delay in microseconds, where it is known.
    pub jitter_us: Option<u64>,
    /// Thousandths of the time in which the path was up.
    pub up_per_mille: u64,
}

/// What stands for a value that is not known.
const UNKNOWN: u32 = u32::MAX;

fn short(value: Option<u64>) -> u32 {
    // A larger one is not known exactly.
    value.map_or(UNKNOWN, |value| u32::try_from(value).unwrap_or(UNKNOWN - 1).min(UNKNOWN - 1))
}

fn long(value: u32) -> Option<u64> {
    (value != UNKNOWN).then_some(value.into())
}

impl Record {
    /// From what passed until `time_ms`, and how the path is then.
    pub fn new(
        time_ms: u64,
        passed: &Passed,
        rtt_us: Option<u64>,
        jitter_us: Option<u64>,
        is_up: bool,
    ) -> Self {
        Self {
            time_ms,
            span_ms: passed.ms,
            tx_bytes: passed.tx_bytes,
            rx_bytes: passed.rx_bytes,
            tx_datagrams: passed.tx_packets,
            lost: passed.lost,
            rtt_us: rtt_us.filter(|_| is_up),
            jitter_us: jitter_us.filter(|_| is_up),
            up_per_mille: if is_up { 1000 } else { 0 },
        }
    }

    /// Several as one: sums, and means over the time in which a value was known. `None` of none.
    pub fn merged(records: &[Self]) -> Option<Self> {
        let sum = |value: fn(&Self) -> u64| records.iter().map(value).fold(0, u64::saturating_add);
        let mean = |value: fn(&Self) -> Option<u64>| {
            let known = records.iter().filter_map(|record| Some((value(record)?, record.span_ms)));
            let (total, time) = known.fold((0u128, 0u128), |(total, time), (value, span)| {
                (total + u128::from(value) * u128::from(span), time + u128::from(span))
            });
            total.checked_div(time).and_then(|mean| u64::try_from(mean).ok())
        };
        let known_losses = || records.iter().filter_map(|record| record.lost);
        Some(Self {
            time_ms: records.last()?.time_ms,
            span_ms: sum(|record| record.span_ms),
            tx_bytes: sum(|record| record.tx_bytes),
            rx_bytes: sum(|record| record.rx_bytes),
            tx_datagrams: sum(|record| record.tx_datagrams),
            lost: known_losses().next().map(|_| known_losses().fold(0, u64::saturating_add)),
            rtt_us: mean(|record| record.rtt_us),
            jitter_us: mean(|record| record.jitter_us),
            up_per_mille: mean(|record| Some(record.up_per_mille)).unwrap_or(0),
        })
    }

    /// The same as what passed.
    pub fn passed(&self) -> Passed {
        Passed {
            ms: self.span_ms,
            tx_bytes: self.tx_bytes,
            rx_bytes: self.rx_bytes,
            tx_packets: self.tx_datagrams,
            lost: self.lost,
        }
    }

    /// As bytes, with the number of the path that it is of, and its own.
    pub fn encode(&self, owner: u32, number: u64) -> [u8; RECORD] {
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let words = [
            pair(0, owner),
            number,
            self.time_ms,
            pair(short(Some(self.span_ms)), short(Some(self.tx_datagrams))),
            self.tx_bytes,
            self.rx_bytes,
            pair(short(self.lost), short(self.rtt_us)),
            pair(short(self.jitter_us), short(Some(self.up_per_mille))),
        ];
        let mut bytes = [0; RECORD];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        seal(&mut bytes);
        bytes
    }

    /// The number of the path, that of the record, and it; `None` for what was not written whole.
    pub fn decode(bytes: &[u8]) -> Option<(u32, u64, Self)> {
        is_whole(bytes).then_some(())?;
        let half = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let record = Self {
            time_ms: word(16)?,
            span_ms: half(24)?.into(),
            tx_bytes: word(32)?,
            rx_bytes: word(40)?,
            tx_datagrams: half(28)?.into(),
            lost: long(half(48)?),
            rtt_us: long(half(52)?),
            jitter_us: long(half(56)?),
            up_per_mille: half(60)?.into(),
        };
        Some((half(4)?, word(8)?, record))
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Mark {
    /// When, by the system's clock: milliseconds since 1970.
    pub time_ms: u64,
    /// How much it matters.
    pub level: Level,
    /// The path's full name, or the connection's; empty for the tunnel.
    pub name: String,
    /// The log line.
    pub text: String,
}

impl Mark {
    /// As bytes; texts that are too long are cut.
    pub fn encode(&self, number: u64) -> [u8; MARK] {
        let mut bytes = [0; MARK];
        let name = cut(&self.name, u8::MAX.into());
        let text = cut(&self.text, (MARK - MARK_HEAD).saturating_sub(name.len()).min(u8::MAX.into()));
        bytes[4] = u8::from(self.level == Level::Warning);
        bytes[5] = u8::try_from(name.len()).unwrap_or(u8::MAX);
        bytes[6] = u8::try_from(text.len()).unwrap_or(u8::MAX);
        bytes[8..16].copy_from_slice(&number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.time_ms.to_le_bytes());
        for (place, byte) in bytes[MARK_HEAD..].iter_mut().zip(name.bytes().chain(text.bytes())) {
            *place = byte;
        }
        seal(&mut bytes);
        bytes
    }

    /// Its number, and it; `None` for what was not written whole.
    pub fn decode(bytes: &[u8]) -> Option<(u64, Self)> {
        is_whole(bytes).then_some(())?;
        let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let name = MARK_HEAD + usize::from(*bytes.get(5)?);
        let text = name + usize::from(*bytes.get(6)?);
        let read = |from, to| Some(String::from_utf8_lossy(bytes.get(from..to)?).into_owned());
        let level = if bytes[4] == 0 { Level::Info } else { Level::Warning };
        let mark = Self { time_ms: word(16)?, level, name: read(MARK_HEAD, name)?, text: read(name, text)? };
        Some((word(8)?, mark))
    }
}

/// The longest beginning of a text with so many bytes.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Puts the checksum of what follows into the first four bytes.
pub(super) fn seal(bytes: &mut [u8]) {
    let sum = checksum(bytes);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
}

/// Whether the checksum is right. Nothing but zeros was never written.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let stored = bytes.get(..4).and_then(|stored| stored.try_into().ok()).map(u32::from_le_bytes);
    stored == Some(checksum(bytes)) && bytes.iter().any(|byte| *byte != 0)
}

fn checksum(bytes: &[u8]) -> u32 {
    static CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    CRC.checksum(bytes.get(4..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD_OF_TEN_SECONDS: Record = Record {
        time_ms: 1_800_000_000_000,
        span_ms: 10_000,
        tx_bytes: 1 << 40,
        rx_bytes: 7,
        tx_datagrams: 1_000,
        lost: Some(10),
        rtt_us: Some(12_345),
        jitter_us: None,
        up_per_mille: 1000,
    };

    #[test]
    fn a_record_comes_back_and_any_changed_bit_is_seen() {
        let bytes = RECORD_OF_TEN_SECONDS.encode(3, 77);
        assert_eq!(Record::decode(&bytes), Some((3, 77, RECORD_OF_TEN_SECONDS)));
        for bit in 0..RECORD * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::decode(&changed), None, "bit {bit}");
        }
        assert_eq!(Record::decode(&[0; RECORD]), None);
        assert_eq!(Record::decode(&bytes[..RECORD - 1]), None);
    }

    #[test]
    fn values_that_do_not_fit_are_the_largest_that_do() {
        let huge = Record { rtt_us: Some(u64::MAX), lost: Some(u32::MAX.into()), ..RECORD_OF_TEN_SECONDS };
        let (_, _, back) = Record::decode(&huge.encode(1, 1)).expect("whole");
        let most = Some(u64::from(u32::MAX) - 1);
        assert_eq!((back.rtt_us, back.lost), (most, most));
    }

    #[test]
    fn merged_records_have_sums_and_means_over_the_time_in_which_a_value_is_known() {
        let ten = RECORD_OF_TEN_SECONDS;
        let down = Record { time_ms: 5, span_ms: 30_000, rtt_us: None, up_per_mille: 0, lost: None, ..ten };
        let merged = Record::merged(&[ten, down]).expect("of two");
        assert_eq!((merged.time_ms, merged.span_ms, merged.tx_bytes), (5, 40_000, 2 << 40));
        assert_eq!((merged.rtt_us, merged.up_per_mille, merged.lost), (Some(12_345), 250, Some(10)));
        assert_eq!(merged.jitter_us, None);
        assert_eq!(Record::merged(&[]), None);
    }

    #[test]
    fn an_event_comes_back_and_long_texts_are_cut() {
        let mark =
            Mark { time_ms: 5, level: Level::Warning, name: "vps/lte".into(), text: "it is down".into() };
        assert_eq!(Mark::decode(&mark.encode(9)), Some((9, mark.clone())));
        let long = Mark { text: "ü".repeat(500), name: "n".repeat(129), ..mark };
        let (_, back) = Mark::decode(&long.encode(9)).expect("whole");
        assert_eq!((back.name.len(), back.text), (129, "ü".repeat((MARK - MARK_HEAD - 129) / 2)));
    }
}
