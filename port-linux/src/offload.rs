//! Segmentation and coalescing of TCP and UDP packets, as a network card would do it: pure functions over bytes.
//!
//! With offload the kernel hands the tunnel device one large packet where it would send many, and takes one where
//! many came; each such call saves the others. In front of every packet stands a [`Header`], which says how the
//! packet is to be cut. [`Split`] cuts what the kernel sends; [`Coalescer`] joins what the peer's packets bring.
//! [`clamp`] lowers the segment size that a SYN offers to what fits the tunnel.

mod coalesce;
mod mss;
mod shape;
mod slice;
mod split;

pub use coalesce::{Coalescer, FLOWS, Joins};
pub use mss::{clamp, exceeds};
pub use slice::{Joiner, Refused, Slices};
pub use split::{Split, finish_checksum};

/// Bytes of a [`Header`].
pub const HEADER_LEN: usize = 10;
/// The largest packet the kernel hands over: what an IP length field can say.
pub const MAX_PACKET: usize = 65_535;

const NEEDS_CHECKSUM: u8 = 1;
const TYPE_TCP_V4: u8 = 1;
const TYPE_TCP_V6: u8 = 4;
const TYPE_UDP: u8 = 5;
/// Set beside the type when the first segment carries CWR.
const TYPE_ECN: u8 = 0x80;

/// What a packet is to be cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segmentation {
    /// Nothing: it is one packet.
    None,
    /// TCP segments of `size` bytes of data each.
    Tcp {
        /// Bytes of data.
        size: u16,
    },
    /// UDP datagrams of `size` bytes of data each.
    Udp {
        /// Bytes of data.
        size: u16,
    },
}

/// The `virtio_net_hdr` before each packet of a tunnel device (Virtual I/O Device 1.2, section 5.1.6; in the
/// legacy layout of 10 bytes in the machine's own byte order).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// How the packet is to be cut.
    pub segmentation: Segmentation,
    /// Where the transport header begins, and where the checksum lies in it: the checksum is yet to be
    /// computed from there to the end; its field holds the sum of the pseudo header.
    pub checksum: Option<(u16, u16)>,
}

impl Header {
    /// A packet that is whole.
    pub const PLAIN: Self = Self { segmentation: Segmentation::None, checksum: None };

    /// Parses what stands before a packet; `None` for what was not asked of the kernel.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let &[flags, kind, _, _, size_0, size_1, start_0, start_1, offset_0, offset_1] = bytes;
        let size = u16::from_ne_bytes([size_0, size_1]);
        let segmentation = match kind & !TYPE_ECN {
            0 => Segmentation::None,
            TYPE_TCP_V4 | TYPE_TCP_V6 => Segmentation::Tcp { size },
            TYPE_UDP => Segmentation::Udp { size },
            _ => return None,
        };
        let checksum = (flags & NEEDS_CHECKSUM != 0)
            .then(|| (u16::from_ne_bytes([start_0, start_1]), u16::from_ne_bytes([offset_0, offset_1])));
        Some(Self { segmentation, checksum })
    }

    /// Its bytes, for a packet of the IP version given by `is_ipv6` whose headers are `headers_len` long.
    pub fn emit(&self, is_ipv6: bool, headers_len: u16) -> [u8; HEADER_LEN] {
        let (kind, size) = match self.segmentation {
            Segmentation::None => (0, 0),
            Segmentation::Tcp { size } => (if is_ipv6 { TYPE_TCP_V6 } else { TYPE_TCP_V4 }, size),
            Segmentation::Udp { size } => (TYPE_UDP, size),
        };
        let (start, offset) = self.checksum.unwrap_or_default();
        let [len_0, len_1] = if kind == 0 { [0; 2] } else { headers_len.to_ne_bytes() };
        let [size_0, size_1] = size.to_ne_bytes();
        let [start_0, start_1] = start.to_ne_bytes();
        let [offset_0, offset_1] = offset.to_ne_bytes();
        let flags = if self.checksum.is_some() { NEEDS_CHECKSUM } else { 0 };
        [flags, kind, len_0, len_1, size_0, size_1, start_0, start_1, offset_0, offset_1]
    }
}

/// The big-endian number at `at`; 0 beyond the end.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |two| u16::from_be_bytes([two[0], two[1]]))
}

fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) << 16 | u32::from(u16_at(bytes, at + 2))
}

/// The one's complement sum of numbers.
fn sum(numbers: impl IntoIterator<Item = u16>) -> u16 {
    let mut total: u32 = numbers.into_iter().map(u32::from).sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    #[allow(clippy::cast_possible_truncation, reason = "folded to 16 bits above")]
    let folded = total as u16;
    folded
}

/// Gives the IP header that `packet` begins with the length `len` of the whole packet, and IPv4 its identification and
/// checksum.
fn set_ip_length(packet: &mut [u8], identification: u16, len: usize) {
    let len = u16::try_from(len).unwrap_or(u16::MAX);
    if packet[0] >> 4 == 4 {
        let header = usize::from(packet[0] & 0x0f) * 4;
        put_u16(packet, 2, len);
        put_u16(packet, 4, identification);
        put_u16(packet, 10, 0);
        let checksum = mpt_proto::wire::checksum(&packet[..header]);
        put_u16(packet, 10, checksum);
    } else {
        put_u16(packet, 4, len.saturating_sub(40));
    }
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const TCP_SEQUENCE: usize = 4;
const TCP_ACKNOWLEDGEMENT: usize = 8;
const TCP_DATA_OFFSET: usize = 12;
const TCP_FLAGS: usize = 13;
const TCP_CHECKSUM: u16 = 16;
const TCP_MIN: usize = 20;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const CWR: u8 = 0x80;
const UDP_LENGTH: usize = 4;
const UDP_CHECKSUM: u16 = 6;
const UDP_LEN: usize = 8;

#[cfg(test)]
mod tests;
