//! What travels: GRE headers, control messages, extension headers, reports, fragments, slices, and what must be known of
//! an inner packet.
//!
//! Each module parses bytes into meaning and emits bytes from meaning; parsing never panics. The layouts
//! are drawn in `docs/wire.md`.

pub mod control;
pub mod extension;
pub mod fragment;
pub mod gre;
pub mod ip;
pub mod report;
pub mod slice;

/// Bytes that must be free before the inner packet handed to [`Connection::encapsulate`](crate::Connection::encapsulate): the longest GRE
/// header and a fragment header.
pub const HEADROOM: usize = gre::MAX_LEN + fragment::LEN;

/// The big-endian number at `at`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The big-endian number at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Writes `value` at `at`; nothing if it does not fit.
pub(crate) fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = value;
    }
}

/// Copies as much as fits: unlike `copy_from_slice` without a panic for lengths that differ.
pub(crate) fn copy(to: &mut [u8], from: &[u8]) {
    let len = to.len().min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(..len), from.get(..len)) {
        to.copy_from_slice(from);
    }
}

/// The Internet checksum (RFC 1071): the one's complement of the one's complement sum of `bytes` as 16-bit
/// words, an odd last byte padded with zero. Zero over bytes that contain their own checksum.
pub fn checksum(bytes: &[u8]) -> u16 {
    // The sum is the same whatever the order of bytes, but for the order of its own two (RFC 1071 section 2 (B)): so
    // words are taken as the machine reads them. Four bytes at a time into 64 bits: 2^32 words fit before the carry
    // can overflow.
    let (words, rest) = bytes.as_chunks::<4>();
    let mut sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let mut tail = [0; 4];
    for (to, from) in tail.iter_mut().zip(rest) {
        *to = *from;
    }
    sum += u64::from(u32::from_ne_bytes(tail));
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    #[allow(clippy::cast_possible_truncation, reason = "folded to 16 bits above")]
    let folded = sum as u16;
    !u16::from_be(folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc1071_3_the_checksum_of_the_example_is_right() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    #[test]
    fn an_odd_byte_counts_as_the_high_half_of_a_word() {
        assert_eq!(checksum(&[0x12]), !0x1200);
        assert_eq!(checksum(&[0, 0, 0, 0, 0, 0, 0x12]), !0x1200);
        assert_eq!(checksum(&[]), 0xffff);
    }

    #[test]
    fn the_sum_over_a_packet_with_its_own_checksum_is_zero() {
        let mut bytes = [0xff; 1501];
        bytes[4] = 0;
        bytes[5] = 0;
        let sum = checksum(&bytes);
        bytes[4..6].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(checksum(&bytes), 0);
    }
}
