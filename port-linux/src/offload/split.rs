//! One large packet into the packets it stands for.

use mpt_proto::wire::checksum;
use mpt_proto::wire::gre::Protocol;
use mpt_proto::wire::ip;

use super::{
    CWR, FIN, Header, PSH, Segmentation, TCP_CHECKSUM, TCP_DATA_OFFSET, TCP_FLAGS, TCP_MIN, TCP_SEQUENCE,
    UDP_CHECKSUM, UDP_LEN, UDP_LENGTH, put_u16, set_ip_length, sum, u16_at, u32_at,
};

/// The packets that a packet with its [`Header`] stands for, one after the other.
///
/// The segments of TCP count their sequence numbers on; FIN and PSH are the last one's, CWR the first one's
/// (RFC 3168 section 6.1.2). IPv4 identifications count up. Checksums are complete.
#[derive(Debug)]
pub struct Split<'p> {
    packet: &'p [u8],
    kind: Kind,
    /// Bytes of the headers that every segment gets.
    headers: usize,
    /// Where the transport header begins.
    transport: usize,
    /// The sum of the pseudo header but for the length.
    pseudo: u16,
    /// Bytes of data for each segment.
    size: usize,
    /// Data cut off so far.
    done: usize,
    segments: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Udp,
}

impl<'p> Split<'p> {
    /// Prepares to cut `packet`, as it came from the kernel, into packets of at most `room` bytes; `None` if it is not
    /// to be cut, contradicts its header, or would be cut into larger ones.
    pub fn new(header: Header, packet: &'p [u8], room: usize) -> Option<Self> {
        let (kind, size) = match header.segmentation {
            Segmentation::None => return None,
            Segmentation::Tcp { size } => (Kind::Tcp, size),
            Segmentation::Udp { size } => (Kind::Udp, size),
        };
        let (transport, offset) = header.checksum?;
        let transport = usize::from(transport);
        let version = ip::parse(packet).filter(|(_, len)| *len == packet.len())?.0;
        let least = if version == Protocol::Ipv4 { usize::from(packet[0] & 0x0f) * 4 } else { 40 };
        let headers = match kind {
            Kind::Tcp => transport + usize::from(packet.get(transport + TCP_DATA_OFFSET)? >> 4) * 4,
            Kind::Udp => transport + UDP_LEN,
        };
        let expected = if kind == Kind::Tcp { TCP_CHECKSUM } else { UDP_CHECKSUM };
        let sound = transport >= least
            && (kind == Kind::Udp || headers >= transport + TCP_MIN)
            && headers < packet.len()
            && offset == expected
            && size > 0
            && packet.len().min(headers + usize::from(size)) <= room;
        if !sound {
            return None;
        }
        let length = u16::try_from(packet.len() - transport).ok()?;
        let pseudo = sum([u16_at(packet, transport + usize::from(offset)), !length]);
        Some(Self { packet, kind, headers, transport, pseudo, size: size.into(), done: 0, segments: 0 })
    }

    /// Writes the next packet to the front of `out`, and returns its length; `None` after the last, or if `out` is
    /// shorter than was said.
    pub fn next_into(&mut self, out: &mut [u8]) -> Option<usize> {
        let data = self.packet.get(self.headers + self.done..).filter(|data| !data.is_empty())?;
        let data = &data[..data.len().min(self.size)];
        let len = self.headers + data.len();
        let out = out.get_mut(..len)?;
        out[..self.headers].copy_from_slice(&self.packet[..self.headers]);
        out[self.headers..].copy_from_slice(data);
        let is_first = self.done == 0;
        let is_last = self.headers + self.done + data.len() == self.packet.len();
        set_ip_length(out, u16_at(self.packet, 4).wrapping_add(self.segments), len);

        let transport = &mut out[self.transport..];
        let length = u16::try_from(transport.len()).unwrap_or(u16::MAX);
        let checksum_at = if self.kind == Kind::Tcp {
            let done = u32::try_from(self.done).unwrap_or(0);
            let sequence = u32_at(transport, TCP_SEQUENCE).wrapping_add(done);
            transport[TCP_SEQUENCE..TCP_SEQUENCE + 4].copy_from_slice(&sequence.to_be_bytes());
            if !is_last {
                transport[TCP_FLAGS] &= !(FIN | PSH);
            }
            if !is_first {
                transport[TCP_FLAGS] &= !CWR;
            }
            usize::from(TCP_CHECKSUM)
        } else {
            put_u16(transport, UDP_LENGTH, length);
            usize::from(UDP_CHECKSUM)
        };
        put_u16(transport, checksum_at, sum([self.pseudo, length]));
        let checksum = checksum(transport);
        put_u16(transport, checksum_at, if checksum == 0 { 0xffff } else { checksum });

        self.done += data.len();
        self.segments = self.segments.wrapping_add(1);
        Some(len)
    }
}

/// Completes the checksum of a packet that is not to be cut, if that is left to do; `None` if it contradicts
/// its header.
pub fn finish_checksum(header: Header, packet: &mut [u8]) -> Option<()> {
    let Some((start, offset)) = header.checksum else { return Some(()) };
    let covered = packet.get_mut(usize::from(start)..)?;
    let at = usize::from(offset);
    if at + 2 > covered.len() {
        return None;
    }
    let checksum = checksum(covered);
    // Zero is written as its other form, as UDP wants it (RFC 768) and TCP takes it.
    put_u16(covered, at, if checksum == 0 { 0xffff } else { checksum });
    Some(())
}
