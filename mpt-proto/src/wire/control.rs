//! Control messages between two mpts: probes, their echoes, and what each end hears.
//!
//! A message is 28 bytes behind a GRE header with EtherType 0x88B5: 24 that every version has, and four that announce
//! the [extension]. Fewer or more bytes behind the 24 do no harm, so that later versions can add
//! to them. The layout is drawn in `docs/wire.md`.

use crate::ecn::Ecn;
use crate::seq::Seq;
use crate::stats::DropReason;
use crate::wire::{extension, put, u16_at, u32_at};

/// Bytes of a message.
pub const LEN: usize = SHORTEST + 4;
/// Bytes that a message has at least.
const SHORTEST: usize = 24;
/// The version this module speaks, in the high nibble of the first byte. It is never 4 or 6, so that the
/// first nibble alone tells a control message from an IP packet.
const VERSION: u8 = 1;

/// The bit that says that the two below it are the ECN bits a probe arrived with.
const TELLS_ECN: u8 = 4;

/// What the message asks or answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Kind {
    /// Asks for an echo on the same path.
    Probe,
    /// Answers a probe: `stamp` is the probe's.
    Echo,
}

/// What a sender can do, as bits. Unknown bits are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct Features(pub u8);

impl Features {
    /// Puts fragments together.
    pub const REASSEMBLY: Self = Self(1);
    /// Joins slices of large packets.
    pub const SLICES: Self = Self(2);

    /// Whether all of `other` is among them.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These, and `other` if `condition` holds.
    #[must_use]
    pub(crate) const fn and(self, other: Self, condition: bool) -> Self {
        if condition { Self(self.0 | other.0) } else { self }
    }
}

/// A control message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Message {
    /// Probe or echo.
    pub kind: Kind,
    /// The number that the sender gives the path this travels on, 0 to 15.
    pub path: u8,
    /// Bit n: the sender hears the receiver on the path it numbers n.
    pub hears: u16,
    /// A random number that the sender chose when it started: another number is another sequence space.
    pub instance: u32,
    /// Counts the sender's messages over all paths, so that the newest `hears` is known.
    pub count: Seq,
    /// The sequence number that the sender gives its next packet: what it sent on this path before this
    /// message has an earlier one, what it sends later does not.
    pub next: Seq,
    /// Microseconds of the prober's clock when it sent the probe, modulo 2^32.
    pub stamp: u32,
    /// Of an echo: the ECN bits that the probe arrived with; `None`: a probe, or an earlier version.
    pub arrived: Option<Ecn>,
    /// What the sender can do.
    pub features: Features,
    /// The largest inner packet the sender takes, in bytes.
    pub mtu: u16,
    /// If the sender speaks the extension: how many packets its reorder buffer holds.
    pub extension: Option<u16>,
}

impl Message {
    /// Parses what follows the GRE header.
    ///
    /// # Errors
    /// [`DropReason::BadControl`], also for a version or a kind that is not known.
    pub fn parse(payload: &[u8]) -> Result<Self, DropReason> {
        Self::fields(payload).ok_or(DropReason::BadControl)
    }

    fn fields(payload: &[u8]) -> Option<Self> {
        let more = payload.get(SHORTEST..)?;
        let speaks = more.first() == Some(&extension::VERSION);
        let &[head, path, features, arrived, ..] = payload else { return None };
        if head >> 4 != VERSION || path > 15 {
            return None;
        }
        let kind = match head & 0x0f {
            1 => Kind::Probe,
            2 => Kind::Echo,
            _ => return None,
        };
        Some(Self {
            kind,
            path,
            features: Features(features),
            hears: u16_at(payload, 4)?,
            mtu: u16_at(payload, 6)?,
            instance: u32_at(payload, 8)?,
            count: Seq::from_u32(u32_at(payload, 12)?),
            next: Seq::from_u32(u32_at(payload, 16)?),
            stamp: u32_at(payload, 20)?,
            arrived: (kind == Kind::Echo && arrived & TELLS_ECN != 0).then(|| Ecn::from_bits(arrived)),
            extension: u16_at(more, 2).filter(|_| speaks),
        })
    }

    /// The message's bytes.
    pub fn emit(&self) -> [u8; LEN] {
        let kind = match self.kind {
            Kind::Probe => 1,
            Kind::Echo => 2,
        };
        let mut bytes = [0; LEN];
        let arrived = self.arrived.map_or(0, |ecn| TELLS_ECN | ecn.bits());
        put(&mut bytes, 0, [VERSION << 4 | kind, self.path, self.features.0, arrived]);
        put(&mut bytes, 4, self.hears.to_be_bytes());
        put(&mut bytes, 6, self.mtu.to_be_bytes());
        put(&mut bytes, 8, self.instance.to_be_bytes());
        put(&mut bytes, 12, self.count.as_u32().to_be_bytes());
        put(&mut bytes, 16, self.next.as_u32().to_be_bytes());
        put(&mut bytes, 20, self.stamp.to_be_bytes());
        if let Some(window) = self.extension {
            put(&mut bytes, 24, [extension::VERSION, 0]);
            put(&mut bytes, 26, window.to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: Message = Message {
        kind: Kind::Probe,
        path: 3,
        hears: 0x000b,
        instance: 0xdead_beef,
        count: Seq::from_u32(7),
        next: Seq::from_u32(0x0001_0000),
        stamp: 0x0102_0304,
        arrived: None,
        features: Features::REASSEMBLY,
        mtu: 1464,
        extension: Some(4096),
    };

    #[test]
    fn the_bytes_are_those_of_docs_wire_md() {
        let golden = [
            0x11, 0x03, 0x01, 0x00, 0x00, 0x0b, 0x05, 0xb8, 0xde, 0xad, 0xbe, 0xef, 0x00, 0x00, 0x00, 0x07,
            0x00, 0x01, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x01, 0x00, 0x10, 0x00,
        ];
        assert_eq!(EXAMPLE.emit(), golden);
        assert_eq!(Message::parse(&golden), Ok(EXAMPLE));
    }

    #[test]
    fn an_echo_survives_a_round_trip_and_bytes_behind_it_are_ignored() {
        let echo = Message { kind: Kind::Echo, features: Features(0xff), ..EXAMPLE };
        let mut longer = [0xaa; LEN + 5];
        longer[..LEN].copy_from_slice(&echo.emit());
        assert_eq!(Message::parse(&longer), Ok(echo));
    }

    #[test]
    fn an_echo_tells_how_the_probe_arrived_where_earlier_versions_have_a_zero() {
        for bits in 0..4 {
            let arrived = Some(Ecn::from_bits(bits));
            let echo = Message { kind: Kind::Echo, arrived, ..EXAMPLE };
            assert_eq!(echo.emit()[3], 4 | bits);
            assert_eq!(Message::parse(&echo.emit()), Ok(echo));
        }
        let mut probe = EXAMPLE.emit();
        probe[3] = 6;
        assert_eq!(Message::parse(&probe), Ok(EXAMPLE), "a probe has nothing to tell");
    }

    #[test]
    fn truncated_messages_and_unknown_versions_kinds_and_paths_are_refused() {
        let bytes = EXAMPLE.emit();
        for len in 0..SHORTEST {
            assert_eq!(Message::parse(&bytes[..len]), Err(DropReason::BadControl));
        }
        let plain = Message { extension: None, ..EXAMPLE };
        for len in SHORTEST..LEN {
            assert_eq!(Message::parse(&bytes[..len]), Ok(plain), "an older version");
        }
        assert_eq!(Message::parse(&plain.emit()), Ok(plain));
        for (at, value) in [(0, 0x01), (0, 0x21), (0, 0x10), (0, 0x13), (1, 16)] {
            let mut broken = bytes;
            broken[at] = value;
            assert_eq!(Message::parse(&broken), Err(DropReason::BadControl));
        }
    }
}
