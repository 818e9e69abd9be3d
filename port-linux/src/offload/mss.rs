//! The largest segment that two ends of a TCP connection offer each other (MSS, RFC 9293 section 3.7.1), lowered to what fits
//! the tunnel. Hosts behind a tunnel then send segments that fit from the start, whether or not the ICMP messages that
//! would tell them the tunnel's MTU arrive.
//!
//! Only SYNs carry the option, so any other packet costs a look at its header. The work for a SYN is bounded by the 40 bytes
//! of options that TCP has.

use mpt_proto::wire::gre::Protocol;
use mpt_proto::wire::ip;

use super::{TCP, TCP_CHECKSUM, TCP_DATA_OFFSET, TCP_FLAGS, TCP_MIN, put_u16, sum, u16_at};

const SYN: u8 = 0x02;
/// In IPv4's flags and fragment offset: the offset.
const FRAGMENT_OFFSET: u16 = 0x1fff;
/// IP and TCP headers without options, which is what an MSS leaves room for (RFC 6691 section 2).
const IPV4_HEADERS: u16 = 20 + 20;
const IPV6_HEADERS: u16 = 40 + 20;
const IPV6_HEADER: usize = 40;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// IPv6 extension headers looked through at most; a SYN behind more is left as it is.
const MAX_EXTENSIONS: usize = 6;

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const MSS: u8 = 2;
const MSS_LEN: usize = 4;

/// Whether a packet is a SYN that offers segments too large for packets of `mtu` bytes, so that [`clamp`] would change it.
pub fn exceeds(packet: &[u8], mtu: u16) -> bool {
    Syn::of(packet, mtu).is_some_and(|syn| syn.next_too_large(packet, syn.options).is_some())
}

/// Lowers what a SYN offers to what fits packets of `mtu` bytes, and corrects its checksum, which must be complete; one that
/// is wrong stays wrong. Any other packet stays as it is.
pub fn clamp(packet: &mut [u8], mtu: u16) {
    let Some(syn) = Syn::of(packet, mtu) else { return };
    let mut from = syn.options;
    // There should be one, but where there are more, hosts differ in which of them they take.
    while let Some(at) = syn.next_too_large(packet, from) {
        let before = u16_at(packet, at);
        put_u16(packet, at, syn.most);
        let checksum_at = syn.tcp + usize::from(TCP_CHECKSUM);
        // Sums are over pairs of bytes, and the option may stand across two of them.
        let is_odd = (at - syn.tcp) % 2 == 1;
        let [before, after] = [before, syn.most].map(|mss| if is_odd { mss.swap_bytes() } else { mss });
        // RFC 1624, equation 3.
        let checksum = !sum([!u16_at(packet, checksum_at), !before, after]);
        put_u16(packet, checksum_at, checksum);
        from = at + 2;
    }
}

/// A SYN. Positions are bytes from the beginning of the packet.
#[derive(Debug, Clone, Copy)]
struct Syn {
    /// Where the TCP header begins.
    tcp: usize,
    /// Where its options begin.
    options: usize,
    /// Where they end, at most the end of the packet.
    end: usize,
    /// The largest MSS that fits.
    most: u16,
}

impl Syn {
    /// `None` for any other packet, and for one whose headers make no sense or are not all there.
    fn of(packet: &[u8], mtu: u16) -> Option<Self> {
        let (version, len) = ip::parse(packet)?;
        let packet = packet.get(..len)?;
        let (tcp, most) = if version == Protocol::Ipv4 {
            let header = usize::from(packet.first()? & 0x0f) * 4;
            let is_tcp = *packet.get(9)? == TCP && u16_at(packet, 6) & FRAGMENT_OFFSET == 0;
            (is_tcp.then_some(header)?, mtu.saturating_sub(IPV4_HEADERS))
        } else {
            (ipv6_tcp(packet)?, mtu.saturating_sub(IPV6_HEADERS))
        };
        let header = packet.get(tcp..)?;
        if header.get(TCP_FLAGS)? & SYN == 0 {
            return None;
        }
        let header_len = usize::from(header.get(TCP_DATA_OFFSET)? >> 4) * 4;
        let is_sound = (TCP_MIN..=header.len()).contains(&header_len);
        is_sound.then_some(Self { tcp, options: tcp + TCP_MIN, end: tcp + header_len, most })
    }

    /// Where the next MSS stands that is too large, among the options that begin at `from`.
    fn next_too_large(&self, packet: &[u8], mut from: usize) -> Option<usize> {
        while from < self.end {
            let len = match *packet.get(from)? {
                END_OF_OPTIONS => return None,
                NO_OPERATION => 1,
                kind => {
                    let len = usize::from(*packet.get(from + 1)?);
                    if len < 2 || from + len > self.end {
                        return None;
                    }
                    if kind == MSS && len == MSS_LEN && u16_at(packet, from + 2) > self.most {
                        return Some(from + 2);
                    }
                    len
                }
            };
            from += len;
        }
        None
    }
}

/// Where the TCP header begins in an IPv6 packet that has one, and is no later fragment.
fn ipv6_tcp(packet: &[u8]) -> Option<usize> {
    let (mut next, mut at) = (*packet.get(6)?, IPV6_HEADER);
    for _ in 0..=MAX_EXTENSIONS {
        let len = match next {
            TCP => return Some(at),
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => (usize::from(*packet.get(at + 1)?) + 1) * 8,
            // The last three bits are flags.
            FRAGMENT if packet.len() >= at + 8 && u16_at(packet, at + 2) >> 3 == 0 => 8,
            _ => return None,
        };
        (next, at) = (*packet.get(at)?, at + len);
    }
    None
}

#[cfg(test)]
mod tests;
