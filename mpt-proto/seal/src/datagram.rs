//! Sealed data datagrams: the header before the ciphertext, and how a clear datagram of `mpt_proto` becomes its plaintext and back.
//!
//! ```text
//!  0  2  0x3000: GRE with key and sequence number (RFC 2890)
//!  2  2  0x88B6
//!  4  4  key: the receiver's index (28 bits), the sender's number of the path (4 bits)
//!  8  4  sequence number: the counter of this epoch, direction and path
//! 12  n  ciphertext of: the connection's sequence number (4), what follows the GRE header of the clear datagram, zeros
//!     16 tag
//! ```
//!
//! The first nibble behind the sequence number tells what the payload is, so that the plaintext needs no EtherType.

use mpt_proto::MAX_PATHS;
use mpt_proto::wire::extension::{self, Header as Extension, Kind};

use crate::cipher::TAG_LEN;

/// Bytes before the ciphertext: all of them are authenticated.
pub(crate) const HEADER_LEN: usize = 12;
/// Bytes of the connection's sequence number, before the payload.
const SEQUENCE_LEN: usize = 4;
/// Bytes that a sealed datagram has more than the clear one with a sequence number, padding aside.
pub const OVERHEAD: usize = 24;
/// The shortest sealed datagram: one without payload.
pub(crate) const SHORTEST: usize = HEADER_LEN + SEQUENCE_LEN + TAG_LEN;

/// Flags and EtherType.
const FORM: [u8; 4] = [0x30, 0x00, 0x88, 0xb6];
/// Flags of the clear datagram: a sequence number and nothing else.
const CLEAR_FLAGS: [u8; 2] = [0x10, 0x00];
/// Bytes of the clear header with and without a sequence number.
const CLEAR_LEN: usize = 8;
const BARE_LEN: usize = 4;
/// Where the clear datagram begins in an opened one: its sequence number stays in place.
const CLEAR_AT: usize = HEADER_LEN + SEQUENCE_LEN - CLEAR_LEN;
/// The first byte of a control message that answers a probe.
const ECHO: u8 = 0x12;
/// Plaintext of packets and control messages is padded to a multiple of this (WireGuard section 5.4.6): sizes tell less.
const PADDING: usize = 16;

/// What stands before the ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// The receiver's index, 28 bits.
    pub(crate) index: u32,
    /// The sender's number of the path, below [`MAX_PATHS`].
    pub(crate) path: u8,
    /// Counts the datagrams of this epoch, direction and path, from 0 on.
    pub(crate) counter: u32,
}

/// The key field for an index and a path number.
pub(crate) const fn key_field(index: u32, path: u8) -> u32 {
    index << 4 | (path & 0x0f) as u32
}

impl Header {
    /// Parses a datagram. `None`: no sealed datagram, or too short for one.
    pub(crate) fn parse(datagram: &[u8]) -> Option<Self> {
        if datagram.len() < SHORTEST || datagram.first_chunk() != Some(&FORM) {
            return None;
        }
        let key = u32_at(datagram, 4)?;
        Some(Self { index: key >> 4, path: (key & 0x0f) as u8, counter: u32_at(datagram, 8)? })
    }

    /// The bytes.
    pub(crate) fn bytes(self) -> [u8; HEADER_LEN] {
        let [f, o, r, m] = FORM;
        let [i, n, d, x] = key_field(self.index, self.path).to_be_bytes();
        let [c, u, t, e] = self.counter.to_be_bytes();
        [f, o, r, m, i, n, d, x, c, u, t, e]
    }
}

/// What a clear datagram becomes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plaintext<'c> {
    sequence: [u8; SEQUENCE_LEN],
    payload: &'c [u8],
}

impl<'c> Plaintext<'c> {
    /// Of a datagram with a GRE header that has a sequence number or nothing. `None`: it has another one.
    pub(crate) fn of(clear: &'c [u8]) -> Option<Self> {
        match clear {
            [0x10, 0, _, _, a, b, c, d, payload @ ..] => Some(Self { sequence: [*a, *b, *c, *d], payload }),
            [0, 0, _, _, payload @ ..] => Some(Self { sequence: [0; SEQUENCE_LEN], payload }),
            _ => None,
        }
    }

    /// Whether something must come back if the peer lives and has the keys: all but answers and signs of life.
    pub(crate) fn asks(self) -> bool {
        match Extension::parse(self.payload) {
            Some(header) => matches!(header.kind, Kind::Ordered | Kind::Unordered),
            None => self.payload.first() != Some(&ECHO),
        }
    }

    /// Bytes of the sealed datagram, which are not more than `limit` because of padding.
    pub(crate) fn sealed_len(self, limit: usize) -> usize {
        let bare = HEADER_LEN + SEQUENCE_LEN + self.payload.len() + TAG_LEN;
        if !has_length_inside(self.payload) {
            return bare;
        }
        let padded = (SEQUENCE_LEN + self.payload.len()).next_multiple_of(PADDING) + HEADER_LEN + TAG_LEN;
        padded.min(limit.max(bare))
    }

    /// Writes it, with zeros behind, into what is to become ciphertext.
    pub(crate) fn write(self, ciphertext: &mut [u8]) {
        let len = SEQUENCE_LEN + self.payload.len();
        if let Some((sequence, rest)) = ciphertext.split_first_chunk_mut()
            && let Some((payload, padding)) = rest.split_at_mut_checked(self.payload.len())
        {
            *sequence = self.sequence;
            payload.copy_from_slice(self.payload);
            padding.fill(0);
        }
        debug_assert!(ciphertext.len() >= len, "the caller gives as much room as sealed_len says");
    }
}

/// Whether zeros behind a payload do not change its meaning: it says itself how long it is.
fn has_length_inside(payload: &[u8]) -> bool {
    let is_packet = |bytes: &[u8]| bytes.first().is_some_and(|first| matches!(first >> 4, 4 | 6));
    match Extension::parse(payload) {
        Some(Extension { kind: Kind::Ordered | Kind::Unordered, .. }) => {
            payload.get(extension::LEN..).is_some_and(is_packet)
        }
        Some(_) => false,
        None => is_packet(payload) || payload.first().is_some_and(|first| first >> 4 == 1),
    }
}

/// Makes a clear datagram of an opened one, in place: `len` bytes of it are header and plaintext. `None`: the plaintext is
/// nothing that a clear datagram may hold.
pub(crate) fn clear(datagram: &mut [u8], len: usize) -> Option<&mut [u8]> {
    let clear = datagram.get_mut(CLEAR_AT..len)?;
    let ether_type: [u8; 2] = match clear.get(CLEAR_LEN)? >> 4 {
        4 => [0x08, 0x00],
        6 => [0x86, 0xdd],
        1 | 8 | 9 => [0x88, 0xb5],
        14 | 15 => [0x88, 0xb6],
        _ => return None,
    };
    let (header, _) = clear.split_first_chunk_mut::<BARE_LEN>()?;
    *header = [CLEAR_FLAGS[0], CLEAR_FLAGS[1], ether_type[0], ether_type[1]];
    Some(clear)
}

/// Header, ciphertext and tag.
pub(crate) type Parts<'d> = (&'d mut [u8; HEADER_LEN], &'d mut [u8], &'d mut [u8; TAG_LEN]);

/// The parts of a sealed datagram that a cipher needs.
pub(crate) fn parts(datagram: &mut [u8]) -> Option<Parts<'_>> {
    let (header, rest) = datagram.split_first_chunk_mut()?;
    let (ciphertext, tag) = rest.split_last_chunk_mut()?;
    Some((header, ciphertext, tag))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

const _: () = assert!(OVERHEAD == SHORTEST - CLEAR_LEN);
const _: () = assert!(MAX_PATHS == 16, "path numbers fit four bits of the key");

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    /// A clear datagram with this payload, and with a sequence number or without.
    fn datagram(sequence: Option<u32>, ether_type: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![if sequence.is_some() { 0x10 } else { 0 }, 0];
        bytes.extend(ether_type.to_be_bytes());
        bytes.extend(sequence.iter().flat_map(|sequence| sequence.to_be_bytes()));
        bytes.extend_from_slice(payload);
        bytes
    }

    /// What comes out at the other end when nothing encrypts.
    fn across(clear_datagram: &[u8], limit: usize) -> (usize, Vec<u8>) {
        let plaintext = Plaintext::of(clear_datagram).unwrap();
        let mut sealed = vec![0xee; plaintext.sealed_len(limit)];
        let len = sealed.len();
        let (_, ciphertext, _) = parts(&mut sealed).unwrap();
        plaintext.write(ciphertext);
        (len, clear(&mut sealed, len - TAG_LEN).unwrap().to_vec())
    }

    #[test]
    fn the_header_is_that_of_docs_wire_md() {
        let header = Header { index: 0x0abc_def1, path: 3, counter: 0x0102_0304 };
        let golden = [0x30, 0, 0x88, 0xb6, 0xab, 0xcd, 0xef, 0x13, 1, 2, 3, 4];
        assert_eq!(header.bytes(), golden);
        let mut datagram = golden.to_vec();
        datagram.resize(SHORTEST, 0);
        assert_eq!(Header::parse(&datagram), Some(header));
        for len in 0..SHORTEST {
            assert_eq!(Header::parse(&datagram[..len]), None);
        }
        for bit in 0..32 {
            let mut flipped = datagram.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::parse(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn every_kind_of_datagram_comes_back_as_it_was_with_zeros_behind_what_knows_its_length() {
        let packet = |first: u8, len: usize| [vec![first], vec![7; len - 1]].concat();
        let extended = |kind: u8, inner: &[u8]| [&[kind, 0, 0, 1, 0, 0, 0, 2], inner].concat();
        let cases = [
            (0x0800, packet(0x45, 40), true),
            (0x86dd, packet(0x60, 41), true),
            (0x88b5, packet(0x11, 28), true),
            (0x88b5, extended(0x80, &packet(0x45, 50)), true),
            (0x88b5, extended(0x91, &packet(0x60, 50)), true),
            (0x88b5, extended(0x80, &packet(0xe0, 50)), false),
            (0x88b5, extended(0x82, &packet(0x45, 50)), false),
            (0x88b5, extended(0x83, &[]), false),
            (0x88b6, packet(0xe0, 50), false),
            (0x88b6, packet(0xf0, 51), false),
        ];
        for (ether_type, payload, is_padded) in cases {
            let before = datagram(Some(0x0a0b_0c0d), ether_type, &payload);
            let (len, after) = across(&before, 1472);
            assert_eq!(after[..before.len()], before, "{ether_type:x}");
            assert!(after[before.len()..].iter().all(|byte| *byte == 0));
            let least = before.len() + OVERHEAD;
            let expected =
                if is_padded { (least - HEADER_LEN - TAG_LEN).next_multiple_of(16) + 28 } else { least };
            assert_eq!(len, expected, "{ether_type:x} {payload:?}");
        }
    }

    #[test]
    fn a_control_message_gets_the_number_zero() {
        let (_, after) = across(&datagram(None, 0x88b5, &[0x11; 28]), 1472);
        assert_eq!(after[..36], datagram(Some(0), 0x88b5, &[0x11; 28]));
    }

    #[test]
    fn padding_never_makes_a_datagram_larger_than_its_path_takes() {
        for len in 1425..1440 {
            let mut packet = vec![0; len];
            packet[0] = 0x45;
            let (sealed, _) = across(&datagram(Some(1), 0x0800, &packet), 1472);
            assert!(sealed <= 1472.max(len + 8 + OVERHEAD), "{len}: {sealed}");
        }
        let (sealed, _) = across(&datagram(Some(1), 0x0800, &[0x45; 1440]), 1472);
        assert_eq!(sealed, 1472, "the largest packet of a path fits it");
    }

    #[test]
    fn what_a_sealed_connection_never_makes_has_no_plaintext() {
        for header in [[0x20u8, 0, 8, 0], [0x30, 0, 8, 0], [0x90, 0, 8, 0], [0x10, 1, 8, 0]] {
            assert!(Plaintext::of(&[&header[..], &[0; 20]].concat()).is_none());
        }
        assert!(Plaintext::of(&[0x10, 0, 8, 0, 0, 0]).is_none());
        assert!(Plaintext::of(&[]).is_none());
    }

    #[test]
    fn plaintext_of_an_unknown_kind_is_nothing() {
        for first in [0x00, 0x21, 0x51, 0x70, 0xa0, 0xd0] {
            let mut opened = vec![0; SHORTEST + 1];
            opened[16] = first;
            assert!(clear(&mut opened, 17).is_none(), "{first:x}");
        }
        assert!(clear(&mut [0; 16], 16).is_none(), "no payload at all");
        assert!(clear(&mut [0x40; 16], 20).is_none());
    }
}
