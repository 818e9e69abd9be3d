//! Inner packets that tell, on arrival, which they are, when they were sent and whether they are intact.

use mpt_proto::wire::ip;
use mpt_proto::{Ecn, Instant};

use crate::rng::Rng;

const IPV4: usize = 20;
const UDP: usize = 8;
/// Bytes of the smallest packet: headers, serial number, time of sending.
pub const MIN_LEN: usize = IPV4 + UDP + 16;

/// What a packet says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Its number among those of its sender.
    pub serial: u64,
    /// When it was handed to the tunnel.
    pub sent: Instant,
}

impl Stamp {
    /// The packet: IPv4 and UDP, `len` bytes long or [`MIN_LEN`] if that is more; every byte behind the stamp
    /// follows from it.
    pub fn packet(self, len: usize, ecn: Ecn) -> Vec<u8> {
        let len = len.clamp(MIN_LEN, usize::from(u16::MAX));
        let total = u16::try_from(len).unwrap_or(u16::MAX);
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        let sum = mpt_proto::wire::checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        // UDP without checksum (RFC 768 allows it): 16 flows by source port.
        let port = 40_000 + u16::try_from(self.serial % 16).unwrap_or(0);
        for word in [port, 9, total - 20, 0] {
            packet.extend_from_slice(&word.to_be_bytes());
        }
        packet.extend_from_slice(&self.serial.to_be_bytes());
        packet.extend_from_slice(&self.sent.as_micros().to_be_bytes());
        packet.extend_from_slice(
            &Rng::new(self.serial ^ self.sent.as_micros().rotate_left(32)).bytes(len - MIN_LEN),
        );
        ip::set_ecn(&mut packet, ecn);
        packet
    }

    /// What a packet says, and whether it is byte for byte what was sent (whatever its ECN bits are now).
    /// `None`: it is too short to say anything.
    pub fn read(packet: &[u8]) -> Option<(Self, bool)> {
        let number = |at: usize| Some(u64::from_be_bytes(*packet.get(at..)?.first_chunk()?));
        let stamp = Self { serial: number(IPV4 + UDP)?, sent: Instant::from_micros(number(IPV4 + UDP + 8)?) };
        Some((stamp, packet == stamp.packet(packet.len(), ip::ecn(packet))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpt_proto::wire::checksum;
    use mpt_proto::wire::gre::Protocol;

    const STAMP: Stamp = Stamp { serial: 77, sent: Instant::from_micros(123) };

    #[test]
    fn a_packet_is_an_ip_packet_and_tells_its_stamp_whatever_its_ecn_bits() {
        for ecn in [Ecn::NotEct, Ecn::Ce] {
            let packet = STAMP.packet(1000, ecn);
            assert_eq!(ip::parse(&packet), Some((Protocol::Ipv4, 1000)));
            assert_eq!(checksum(&packet[..IPV4]), 0);
            assert_eq!(Stamp::read(&packet), Some((STAMP, true)));
        }
    }

    #[test]
    fn any_changed_byte_is_seen() {
        let packet = STAMP.packet(100, Ecn::NotEct);
        for at in 0..packet.len() {
            let mut broken = packet.clone();
            broken[at] ^= 0x40;
            assert!(!matches!(Stamp::read(&broken), Some((_, true))), "byte {at}");
        }
        assert_eq!(Stamp::read(&packet[..MIN_LEN - 1]), None);
    }
}
