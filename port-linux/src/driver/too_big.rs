//! Tells TCP that sends segments which fit some paths only that smaller ones would have all of them: ICMP "fragmentation needed"
//! (RFC 1191) and "packet too big" (RFC 8201), as if a hop beyond the tunnel had that MTU.
//!
//! The segment itself leaves all the same, on the paths that take it. TCP follows at once. Programs that send UDP are not told: their
//! kernel would report an error to them, or split their datagrams, and at some thousand of them a second mix up the pieces of
//! different ones (RFC 4963). For the same reason the tunnel's MTU stays that of the widest path.

use std::time::Duration;

use mpt_proto::Instant;
use mpt_proto::wire::checksum;

/// Between two messages: a flow needs one, and is told again by the next packet if that was another's turn.
const EACH: Duration = Duration::from_millis(5);
/// Bytes of a message of which the packet is a part: every host takes as many (RFC 1812 section 4.3.2.3, RFC 4443 section 2.4).
const LONGEST_V4: usize = 576;
const LONGEST_V6: usize = 1280;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const ICMP_HEADER: usize = 8;
const HOP_LIMIT: u8 = 64;
const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// When the next message may leave.
#[derive(Debug, Default)]
pub(super) struct TooBig {
    next: Option<Instant>,
}

impl TooBig {
    /// The message about a packet for which smaller ones of up to `mtu` bytes would do better, if it is its turn and the sender wants to
    /// know. It is for the tunnel device.
    pub(super) fn about(&mut self, packet: &[u8], mtu: u16, now: Instant) -> Option<Vec<u8>> {
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        let message = message(packet, mtu)?;
        self.next = Some(now + EACH);
        Some(message)
    }
}

fn message(packet: &[u8], mtu: u16) -> Option<Vec<u8>> {
    match packet.first()? >> 4 {
        4 => v4(packet, mtu),
        6 => v6(packet, mtu.max(crate::mtu::IPV6_MIN_MTU)),
        _ => None,
    }
}

fn v4(packet: &[u8], mtu: u16) -> Option<Vec<u8>> {
    let header: &[u8; IPV4_HEADER] = packet.first_chunk()?;
    let (flags, protocol) = (u16::from_be_bytes([header[6], header[7]]), header[9]);
    let (is_whole, may_be_split) = (flags & 0x1fff == 0, flags & 0x4000 == 0);
    let to_one = header[16] < 224;
    if may_be_split || !is_whole || protocol != TCP || !to_one || packet.len() <= usize::from(mtu) {
        return None;
    }
    let about = &packet[..packet.len().min(LONGEST_V4 - IPV4_HEADER - ICMP_HEADER)];
    let mut message = vec![0x45, 0xc0, 0, 0, 0, 0, 0x40, 0, HOP_LIMIT, ICMP, 0, 0];
    message.extend_from_slice(&header[16..20]);
    message.extend_from_slice(&header[12..16]);
    message.extend_from_slice(&[3, 4, 0, 0, 0, 0]);
    message.extend_from_slice(&mtu.to_be_bytes());
    message.extend_from_slice(about);
    let len = u16::try_from(message.len()).ok()?;
    message[2..4].copy_from_slice(&len.to_be_bytes());
    let sum = checksum(&message[..IPV4_HEADER]);
    message[10..12].copy_from_slice(&sum.to_be_bytes());
    let sum = checksum(&message[IPV4_HEADER..]);
    message[IPV4_HEADER + 2..IPV4_HEADER + 4].copy_from_slice(&sum.to_be_bytes());
    Some(message)
}

fn v6(packet: &[u8], mtu: u16) -> Option<Vec<u8>> {
    let header: &[u8; IPV6_HEADER] = packet.first_chunk()?;
    let is_multicast = header[24] == 0xff;
    if header[6] != TCP || is_multicast || packet.len() <= usize::from(mtu) {
        return None;
    }
    let about = &packet[..packet.len().min(LONGEST_V6 - IPV6_HEADER - ICMP_HEADER)];
    let len = u16::try_from(ICMP_HEADER + about.len()).ok()?;
    // The pseudo header of the checksum, behind which the body is written; then the header takes its place.
    let mut message = Vec::with_capacity(LONGEST_V6);
    message.extend_from_slice(&header[24..40]);
    message.extend_from_slice(&header[8..24]);
    message.extend_from_slice(&u32::from(len).to_be_bytes());
    message.extend_from_slice(&[0, 0, 0, ICMPV6]);
    message.extend_from_slice(&[2, 0, 0, 0, 0, 0]);
    message.extend_from_slice(&mtu.to_be_bytes());
    message.extend_from_slice(about);
    let sum = checksum(&message);
    message[IPV6_HEADER + 2..IPV6_HEADER + 4].copy_from_slice(&sum.to_be_bytes());
    let [high, low] = len.to_be_bytes();
    message[..8].copy_from_slice(&[0x60, 0, 0, 0, high, low, ICMPV6, HOP_LIMIT]);
    message[8..24].copy_from_slice(&header[24..40]);
    message[24..40].copy_from_slice(&header[8..24]);
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_micros(1_000_000);
    const UDP: u8 = 17;

    fn packet_v4(len: u16, flags: u16, protocol: u8) -> Vec<u8> {
        let mut packet = vec![7; usize::from(len)];
        packet[..12].copy_from_slice(&[0x45, 0, 0, 0, 1, 2, 0, 0, 64, protocol, 0, 0]);
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        packet[6..8].copy_from_slice(&flags.to_be_bytes());
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet
    }

    fn packet_v6(len: u16, protocol: u8) -> Vec<u8> {
        let mut packet = vec![7; usize::from(len)];
        packet[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, protocol, 64]);
        packet[4..6].copy_from_slice(&(len - 40).to_be_bytes());
        packet[8..40].fill(0);
        (packet[8], packet[23], packet[24], packet[39]) = (0xfd, 1, 0xfd, 2);
        packet
    }

    #[test]
    fn rfc1191_4_the_message_names_the_mtu_and_carries_the_packets_beginning() {
        let packet = packet_v4(1456, 0x4000, TCP);
        let message = message(&packet, 1448).unwrap();
        assert_eq!(message.len(), 576);
        assert_eq!((checksum(&message[..20]), checksum(&message[20..])), (0, 0));
        assert_eq!(message[12..20], [10, 0, 0, 2, 10, 0, 0, 1], "as if from where the packet was to go");
        assert_eq!(
            (message[9], &message[20..22], &message[26..28]),
            (ICMP, &[3, 4][..], &1448u16.to_be_bytes()[..])
        );
        assert_eq!(message[28..], packet[..548]);
    }

    #[test]
    fn rfc8201_the_message_for_ipv6_names_no_less_than_1280() {
        let packet = packet_v6(1436, TCP);
        let message = message(&packet, 1000).unwrap();
        assert_eq!(message.len(), 1280);
        assert_eq!(message[8..24], packet[24..40]);
        assert_eq!(message[24..40], packet[8..24]);
        assert_eq!((message[40], &message[46..48]), (2, &1280u16.to_be_bytes()[..]));
        let mut summed = [&message[8..40], &[0, 0, 4, 216, 0, 0, 0, ICMPV6]].concat();
        summed.extend_from_slice(&message[40..]);
        assert_eq!(checksum(&summed), 0);
    }

    #[test]
    fn only_tcp_that_forbids_splitting_is_told() {
        assert_eq!(message(&packet_v4(1456, 0, TCP), 1448), None);
        assert_eq!(message(&packet_v4(1456, 0x4001, TCP), 1448), None, "a piece");
        assert_eq!(message(&packet_v4(1448, 0x4000, TCP), 1448), None);
        assert_eq!(message(&packet_v4(1456, 0x4000, UDP), 1448), None);
        assert_eq!(message(&packet_v6(1436, UDP), 1428), None);
        assert_eq!(message(&packet_v6(1300, TCP)[..30], 1280), None);
        assert_eq!(message(&[0x45; 8], 1280), None);
        assert_eq!(message(&[], 1280), None);
    }

    #[test]
    fn messages_are_few() {
        let mut too_big = TooBig::default();
        let packet = packet_v4(1456, 0x4000, TCP);
        let told =
            (0..1000).filter(|ms| too_big.about(&packet, 1448, NOW + Duration::from_millis(*ms)).is_some());
        assert_eq!(told.count(), 200);
    }
}
