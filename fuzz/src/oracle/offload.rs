//! Packets of TCP and UDP as the standards write them (RFC 791, 8200, 9293, 768), and what a large one stands for by
//! definition. Slow and plain, and written without a look at the offload that it judges.

/// A packet to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// IPv6 or IPv4.
    pub is_ipv6: bool,
    /// Traffic class, or type of service.
    pub class: u8,
    /// IPv4 alone has one.
    pub identification: u16,
    /// IPv4 alone says so.
    pub dont_fragment: bool,
    /// So many groups of IPv4 options (four bytes each, at most 10) or of bytes in an IPv6 extension header (eight
    /// each; none: no such header).
    pub extra: u8,
    /// Ports, source and destination.
    pub ports: [u16; 2],
    /// TCP's own; `None`: UDP.
    pub tcp: Option<Tcp>,
    /// The data.
    pub data: Vec<u8>,
}

/// What TCP says besides ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// The byte of flags from CWR to FIN.
    pub flags: u8,
    /// Window.
    pub window: u16,
    /// A timestamp option of this value.
    pub timestamp: Option<u32>,
}

/// TCP's flags.
pub mod flag {
    /// The sender has all sent.
    pub const FIN: u8 = 1;
    /// Hand it over now.
    pub const PSH: u8 = 8;
    /// There is an acknowledgement.
    pub const ACK: u8 = 16;
    /// The congestion window was reduced.
    pub const CWR: u8 = 128;
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const DESTINATION_OPTIONS: u8 = 60;

/// The one's complement sum of 16-bit words, an odd byte as the high one of a word (RFC 1071).
fn sum(bytes: &[u8]) -> u16 {
    let mut total = 0u32;
    for pair in bytes.chunks(2) {
        total += u32::from(pair[0]) * 256 + pair.get(1).map_or(0, |low| u32::from(*low));
        total = total % 65_536 + total / 65_536;
    }
    u16::try_from(total).expect("carried round")
}

impl Packet {
    fn protocol(&self) -> u8 {
        if self.tcp.is_some() { TCP } else { UDP }
    }

    /// Where the transport header begins.
    pub fn transport(&self) -> usize {
        let extra = usize::from(self.extra);
        if self.is_ipv6 { 40 + 8 * extra } else { 20 + 4 * extra }
    }

    /// The addresses, as they stand in the header.
    fn addresses(&self) -> Vec<u8> {
        if self.is_ipv6 {
            [&[0xfd; 15][..], &[1], &[0xfd; 15], &[2]].concat()
        } else {
            vec![10, 0, 0, 1, 10, 0, 0, 2]
        }
    }

    fn ip_header(&self, body: usize) -> Vec<u8> {
        let (extra, addresses) = (usize::from(self.extra), self.addresses());
        if self.is_ipv6 {
            let length = u16::try_from(8 * extra + body).expect("a packet that IPv6 can carry").to_be_bytes();
            let next = if extra > 0 { DESTINATION_OPTIONS } else { self.protocol() };
            let mut header =
                vec![0x60 | self.class >> 4, self.class << 4, 0x12, 0x34, length[0], length[1], next, 64];
            header.extend(addresses);
            if extra > 0 {
                let mut options = vec![0; 8 * extra];
                // PadN over all of it.
                options[..4].copy_from_slice(&[self.protocol(), self.extra - 1, 1, self.extra * 8 - 4]);
                header.extend(options);
            }
            return header;
        }
        let length = u16::try_from(self.transport() + body).expect("a packet that IPv4 can carry");
        let mut header = vec![0x45 + self.extra, self.class];
        header.extend(length.to_be_bytes());
        header.extend(self.identification.to_be_bytes());
        header.extend([u8::from(self.dont_fragment) << 6, 0, 64, self.protocol(), 0, 0]);
        header.extend(addresses);
        // No operation, again and again.
        header.extend(vec![1; 4 * extra]);
        let checksum = !sum(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    /// Its bytes. Not `complete`: the checksum of TCP or UDP is the sum of the pseudo header only, as a kernel leaves
    /// it to a network card.
    pub fn bytes(&self, complete: bool) -> Vec<u8> {
        let mut body = self.ports.map(u16::to_be_bytes).concat();
        let checksum_at = match &self.tcp {
            Some(tcp) => {
                body.extend(tcp.sequence.to_be_bytes());
                body.extend(tcp.acknowledgement.to_be_bytes());
                body.extend([if tcp.timestamp.is_some() { 0x80 } else { 0x50 }, tcp.flags]);
                body.extend(tcp.window.to_be_bytes());
                body.extend([0; 4]);
                if let Some(timestamp) = tcp.timestamp {
                    body.extend([1, 1, 8, 10]);
                    body.extend(timestamp.to_be_bytes());
                    body.extend([0, 0, 0, 7]);
                }
                16
            }
            None => {
                let length = u16::try_from(8 + self.data.len()).expect("a datagram that UDP can carry");
                body.extend(length.to_be_bytes());
                body.extend([0; 2]);
                6
            }
        };
        body.extend(&self.data);
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        let pseudo = [&self.addresses()[..], &length, &[0, 0, 0, self.protocol()]].concat();
        let partial = sum(&pseudo);
        body[checksum_at..checksum_at + 2].copy_from_slice(&partial.to_be_bytes());
        if complete {
            let mut checksum = !sum(&body);
            if checksum == 0 && self.tcp.is_none() {
                checksum = 0xffff;
            }
            body[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
        }
        let mut packet = self.ip_header(body.len());
        packet.extend(body);
        packet
    }

    /// The packets that it stands for, each with `size` bytes of data but the last.
    pub fn cut(&self, size: usize) -> Vec<Self> {
        let count = self.data.len().div_ceil(size);
        let piece = |(number, data): (usize, &[u8])| {
            let mut piece = Self { data: data.to_vec(), ..self.clone() };
            piece.identification = self.identification.wrapping_add(u16::try_from(number).unwrap_or(0));
            if let Some(tcp) = &mut piece.tcp {
                let before = u32::try_from(number * size).expect("short");
                tcp.sequence = tcp.sequence.wrapping_add(before);
                if number > 0 {
                    tcp.flags &= !flag::CWR;
                }
                if number + 1 < count {
                    tcp.flags &= !(flag::FIN | flag::PSH);
                }
            }
            piece
        };
        self.data.chunks(size).enumerate().map(piece).collect()
    }
}

/// The packet without what may change on its way through the tunnel device: the identification of one that is not to
/// be fragmented, which means nothing (RFC 6864 section 4.1), and which of its two zeros a TCP checksum is.
pub fn canonical(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let (header, protocol) = match packet.first().map(|first| first >> 4) {
        Some(4) if packet.len() >= 20 => (usize::from(packet[0] & 15) * 4, packet[9]),
        Some(6) if packet.len() >= 40 => (40, packet[6]),
        _ => return packet,
    };
    if packet[0] >> 4 == 4
        && header <= packet.len()
        && packet[6] & 0x40 != 0
        && sum(&packet[..header]) == 0xffff
    {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    if protocol == TCP && packet.get(header + 16..header + 18) == Some(&[0xff, 0xff]) {
        packet[header + 16..header + 18].fill(0);
    }
    packet
}

/// What tells a packet's flow from others, within which order must be kept; `None`: it may belong to any.
pub fn flow(packet: &[u8]) -> Option<Vec<u8>> {
    let (transport, protocol, addresses) = match packet.first()? {
        0x45 if packet.len() >= 20 => (20, packet[9], 12..20),
        first if first >> 4 == 6 && packet.len() >= 40 => (40, packet[6], 8..40),
        _ => return None,
    };
    if transport == 20 && (packet[6] & 0x3f, packet[7]) != (0, 0) {
        return None;
    }
    if [ICMP, ICMPV6].contains(&protocol) {
        return Some(vec![protocol]);
    }
    let ports = packet.get(transport..transport + 4).filter(|_| [TCP, UDP].contains(&protocol))?;
    Some([&[protocol][..], &packet[addresses], ports].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_written_byte_by_byte() {
        let packet = Packet {
            is_ipv6: false,
            class: 0,
            identification: 0x1c46,
            dont_fragment: true,
            extra: 0,
            ports: [0x04d2, 0x162e],
            tcp: None,
            data: b"hi".to_vec(),
        };
        // The checksums are those of a program that shares nothing with this one.
        let expected = [
            0x45, 0, 0, 30, 0x1c, 0x46, 0x40, 0, 64, 17, 0x0a, 0x87, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
            0x04, 0xd2, 0x16, 0x2e, 0, 10, 0x68, 0x6e, b'h', b'i', // UDP
        ];
        assert_eq!(packet.bytes(true), expected);
    }

    #[test]
    fn what_is_cut_is_all_there() {
        let tcp = Tcp {
            sequence: u32::MAX,
            acknowledgement: 1,
            flags: flag::ACK | flag::PSH | flag::CWR,
            window: 1,
            timestamp: Some(1),
        };
        let packet = Packet {
            is_ipv6: true,
            class: 0,
            identification: 0,
            dont_fragment: false,
            extra: 1,
            ports: [1, 2],
            tcp: Some(tcp),
            data: (0..25).collect(),
        };
        let pieces = packet.cut(10);
        let data: Vec<u8> = pieces.iter().flat_map(|piece| piece.data.clone()).collect();
        assert_eq!(data, packet.data);
        let told: Vec<_> = pieces.into_iter().filter_map(|piece| piece.tcp).collect();
        let flags: Vec<u8> = told.iter().map(|tcp| tcp.flags).collect();
        assert_eq!(flags, [flag::ACK | flag::CWR, flag::ACK, flag::ACK | flag::PSH]);
        assert_eq!(told[1].sequence, 9, "numbers wrap");
    }
}
