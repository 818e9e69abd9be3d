//! The GRE header inside UDP: RFC 8086 section 3, RFC 2784, RFC 2890, RFC 7676.

use crate::seq::Seq;
use crate::stats::DropReason;
use crate::wire::{checksum, put, u16_at, u32_at};

const CHECKSUM_PRESENT: u8 = 0x80;
const KEY_PRESENT: u8 = 0x20;
const SEQUENCE_PRESENT: u8 = 0x10;
/// Bits 1, 4 and 5 of the header. RFC 2784 section 2.3 wants a packet dropped when one of bits 1 to 5 is
/// set; RFC 2890 gave bits 2 and 3 a meaning.
const MUST_BE_ZERO: u8 = 0x4c;
const VERSION_MASK: u8 = 0x07;

/// The header without options: flags, version, EtherType.
pub const MIN_LEN: usize = 4;
/// The header with checksum, key and sequence number.
pub const MAX_LEN: usize = 16;

/// What the payload is: the EtherTypes that this protocol knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Protocol {
    /// 0x0800: an IPv4 packet (RFC 2784 section 3).
    Ipv4,
    /// 0x86DD: an IPv6 packet (RFC 7676 section 3.1).
    Ipv6,
    /// 0x88B5, IEEE 802 local experimental EtherType 1: a control message. A peer that is not mpt discards
    /// it as unknown (RFC 2784 section 2.4).
    Control,
    /// 0x88B6, IEEE 802 local experimental EtherType 2: a fragment of a packet.
    Fragment,
}

impl Protocol {
    const fn from_ether_type(ether_type: u16) -> Option<Self> {
        match ether_type {
            0x0800 => Some(Self::Ipv4),
            0x86dd => Some(Self::Ipv6),
            0x88b5 => Some(Self::Control),
            0x88b6 => Some(Self::Fragment),
            _ => None,
        }
    }

    const fn ether_type(self) -> u16 {
        match self {
            Self::Ipv4 => 0x0800,
            Self::Ipv6 => 0x86dd,
            Self::Control => 0x88b5,
            Self::Fragment => 0x88b6,
        }
    }
}

/// A parsed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Header {
    /// What follows.
    pub protocol: Protocol,
    /// Key, if present.
    pub key: Option<u32>,
    /// Sequence number, if present.
    pub sequence: Option<Seq>,
    /// Bytes of the header: where the payload begins.
    pub len: usize,
}

/// Parses the header of a datagram and verifies its checksum if there is one.
///
/// # Errors
/// The reason to drop the datagram.
pub fn parse(datagram: &[u8]) -> Result<Header, DropReason> {
    let &[flags, version, ..] = datagram else { return Err(DropReason::Truncated) };
    if version & VERSION_MASK != 0 {
        return Err(DropReason::BadVersion);
    }
    if flags & MUST_BE_ZERO != 0 {
        return Err(DropReason::BadFlags);
    }
    let ether_type = u16_at(datagram, 2).ok_or(DropReason::Truncated)?;
    let mut len = MIN_LEN;
    let has_checksum = flags & CHECKSUM_PRESENT != 0;
    if has_checksum {
        len += 4;
    }
    let mut word_if = |flag| {
        if flags & flag == 0 {
            return Ok(None);
        }
        let word = u32_at(datagram, len).ok_or(DropReason::Truncated)?;
        len += 4;
        Ok(Some(word))
    };
    let key = word_if(KEY_PRESENT)?;
    let sequence = word_if(SEQUENCE_PRESENT)?.map(Seq::from_u32);
    if datagram.len() < len {
        return Err(DropReason::Truncated);
    }
    if has_checksum && checksum(datagram) != 0 {
        return Err(DropReason::BadChecksum);
    }
    let protocol = Protocol::from_ether_type(ether_type).ok_or(DropReason::UnknownProtocol)?;
    Ok(Header { protocol, key, sequence, len })
}

/// Which optional fields a connection sends: constant, so that every header has one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct Layout {
    /// Whether a checksum is sent.
    pub checksum: bool,
    /// The key, if one is sent.
    pub key: Option<u32>,
    /// Whether a sequence number is sent.
    pub sequence: bool,
}

impl Layout {
    /// Bytes of the header: 4, 8, 12 or 16.
    pub const fn header_len(&self) -> usize {
        MIN_LEN + 4 * (self.checksum as usize + self.key.is_some() as usize + self.sequence as usize)
    }

    /// Writes the header to the front of `datagram`, whose payload is in place behind it. Without a
    /// sequence number in the layout `sequence` is not used. A datagram shorter than the header stays
    /// as it is.
    pub fn emit(&self, datagram: &mut [u8], protocol: Protocol, sequence: Seq) {
        if datagram.len() < self.header_len() {
            return;
        }
        let mut flags = 0;
        let mut at = MIN_LEN;
        if self.checksum {
            flags |= CHECKSUM_PRESENT;
            put(datagram, at, [0; 4]);
            at += 4;
        }
        if let Some(key) = self.key {
            flags |= KEY_PRESENT;
            put(datagram, at, key.to_be_bytes());
            at += 4;
        }
        if self.sequence {
            flags |= SEQUENCE_PRESENT;
            put(datagram, at, sequence.as_u32().to_be_bytes());
        }
        put(datagram, 0, [flags, 0]);
        put(datagram, 2, protocol.ether_type().to_be_bytes());
        if self.checksum {
            let sum = checksum(datagram);
            put(datagram, MIN_LEN, sum.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    const PLAIN: Layout = Layout { checksum: false, key: None, sequence: false };

    fn emitted(layout: Layout, protocol: Protocol, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut datagram = vec![0xee; layout.header_len()];
        datagram.extend_from_slice(payload);
        layout.emit(&mut datagram, protocol, Seq::from_u32(sequence));
        datagram
    }

    #[test]
    fn rfc2784_2_1_the_plain_header_is_flags_version_and_ether_type() {
        assert_eq!(emitted(PLAIN, Protocol::Ipv4, 0, &[]), [0x00, 0x00, 0x08, 0x00]);
        assert_eq!(emitted(PLAIN, Protocol::Ipv6, 0, &[]), [0x00, 0x00, 0x86, 0xdd]);
    }

    #[test]
    fn rfc2890_2_the_fields_come_as_checksum_key_sequence() {
        let layout = Layout { checksum: true, key: Some(0x0102_0304), sequence: true };
        let datagram = emitted(layout, Protocol::Ipv4, 0x0a0b_0c0d, &[]);
        assert_eq!(datagram[..4], [0xb0, 0x00, 0x08, 0x00]);
        assert_eq!(datagram[6..], [0, 0, 1, 2, 3, 4, 0x0a, 0x0b, 0x0c, 0x0d]);
        assert_eq!(checksum(&datagram), 0);
    }

    #[test]
    fn every_layout_survives_a_round_trip() {
        for bits in 0..8u8 {
            let layout = Layout {
                checksum: bits & 1 != 0,
                key: (bits & 2 != 0).then_some(77),
                sequence: bits & 4 != 0,
            };
            for protocol in [Protocol::Ipv4, Protocol::Ipv6, Protocol::Control, Protocol::Fragment] {
                let datagram = emitted(layout, protocol, 99, b"odd");
                let sequence = layout.sequence.then_some(Seq::from_u32(99));
                let len = layout.header_len();
                assert_eq!(parse(&datagram), Ok(Header { protocol, key: layout.key, sequence, len }));
            }
        }
    }

    #[test]
    fn rfc2784_2_3_reserved_bits_1_to_5_without_a_meaning_are_refused() {
        for bit in [1, 4, 5] {
            let mut datagram = emitted(PLAIN, Protocol::Ipv4, 0, &[]);
            datagram[0] |= 0x80 >> bit;
            assert_eq!(parse(&datagram), Err(DropReason::BadFlags), "bit {bit}");
        }
    }

    #[test]
    fn rfc2784_2_3_reserved_bits_6_to_12_are_ignored() {
        for bit in 6..=12 {
            let mut datagram = emitted(PLAIN, Protocol::Ipv4, 0, &[]);
            datagram[bit / 8] |= 0x80 >> (bit % 8);
            assert!(parse(&datagram).is_ok(), "bit {bit}");
        }
    }

    #[test]
    fn rfc2784_2_3_reserved_bits_are_sent_as_zero() {
        let layout = Layout { checksum: true, key: Some(u32::MAX), sequence: true };
        let datagram = emitted(layout, Protocol::Ipv4, u32::MAX, &[]);
        assert_eq!((datagram[0] & 0x4f, datagram[1]), (0, 0));
    }

    #[test]
    fn rfc2784_2_3_1_a_version_other_than_zero_is_refused() {
        for version in 1..=7 {
            let mut datagram = emitted(PLAIN, Protocol::Ipv4, 0, &[]);
            datagram[1] |= version;
            assert_eq!(parse(&datagram), Err(DropReason::BadVersion));
        }
    }

    #[test]
    fn rfc2784_2_4_and_3_an_unknown_protocol_type_is_discarded() {
        assert_eq!(parse(&[0, 0, 0x65, 0x58]), Err(DropReason::UnknownProtocol));
    }

    #[test]
    fn rfc2784_2_5_a_checksum_that_is_present_is_verified_over_header_and_payload() {
        let layout = Layout { checksum: true, ..PLAIN };
        let datagram = emitted(layout, Protocol::Ipv4, 0, b"payload");
        assert!(parse(&datagram).is_ok());
        for at in 0..datagram.len() {
            let mut broken = datagram.clone();
            // Bit 6 of the first byte and the low bit of others: no flag or version changes.
            broken[at] ^= if at == 1 { 0x08 } else { 0x02 };
            assert_eq!(parse(&broken), Err(DropReason::BadChecksum), "byte {at}");
        }
    }

    #[test]
    fn rfc2784_2_6_reserved1_is_sent_as_zero() {
        let layout = Layout { checksum: true, ..PLAIN };
        assert_eq!(emitted(layout, Protocol::Ipv4, 0, b"x")[6..8], [0, 0]);
    }

    #[test]
    fn rfc8086_3_3_key_sequence_and_checksum_are_optional_to_send() {
        assert_eq!(PLAIN.header_len(), 4);
        assert_eq!(Layout { sequence: true, ..PLAIN }.header_len(), 8);
        assert_eq!(Layout { sequence: true, key: Some(0), ..PLAIN }.header_len(), 12);
        assert_eq!(Layout { sequence: true, key: Some(0), checksum: true }.header_len(), MAX_LEN);
    }

    #[test]
    fn every_truncation_is_refused() {
        let layout = Layout { checksum: true, key: Some(1), sequence: true };
        let datagram = emitted(layout, Protocol::Ipv4, 0, &[]);
        for len in 0..datagram.len() {
            assert_eq!(parse(&datagram[..len]), Err(DropReason::Truncated), "{len} bytes");
        }
    }

    #[test]
    fn a_datagram_too_short_for_the_header_is_left_alone() {
        let mut short = [0xee; 3];
        PLAIN.emit(&mut short, Protocol::Ipv4, Seq::ZERO);
        assert_eq!(short, [0xee; 3]);
    }
}
