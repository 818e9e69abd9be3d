//! Segments as IP packets: IPv4 with TCP, or with the same header in the payload of UDP, behind what an observer sees of
//! QUIC, WireGuard or uTP.

use std::time::Duration;

use mpt_proto::Ecn;
use mpt_proto::wire::{checksum, ip};

use super::{Ack, MOST_BLOCKS};

const IPV4: usize = 20;
const TCP: usize = 20;
const UDP: usize = 8;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const FLAG_ACK: u8 = 0x10;
const FLAG_ECE: u8 = 0x40;
const FLAG_CWR: u8 = 0x80;
/// No operation, selective acknowledgement (RFC 2018 section 3), and timestamps (RFC 7323 section 3.2).
const OPTION_NOP: u8 = 1;
const OPTION_SACK: u8 = 5;
const OPTION_TIMESTAMPS: u8 = 8;
const TIMESTAMPS: usize = 12;
/// Bytes of an AEAD's tag, behind what QUIC and WireGuard encrypt (RFC 9001 section 5.3).
const TAG: usize = 16;
/// QUIC version 1 (RFC 9000): an Initial packet's long header with a connection ID of eight bytes; a short header with one,
/// and what is encrypted up to the same length.
const QUIC: usize = 20;
const QUIC_LONG: [u8; 6] = [0xc3, 0, 0, 0, 1, 8];
const QUIC_SHORT: u8 = 0x40;
/// Segments of the handshake's flight: certificates fill about three packets.
const QUIC_HANDSHAKE: u64 = 3;
/// Bytes of a datagram with a client's first Initial packet (RFC 9000 section 14.1: 1,200 of UDP payload at least).
const QUIC_HELLO: usize = IPV4 + UDP + 1200;
/// WireGuard: type 4 and three zeros, receiver, counter; then the IPv4 header of the packet inside, encrypted. The packet
/// inside is padded to 16 bytes.
const WIREGUARD: usize = 16 + IPV4;
const WIREGUARD_DATA: [u8; 4] = [4, 0, 0, 0];
const WIREGUARD_PADDING: usize = 16;
/// uTP (BEP 29): type and version, extension, connection, stamp, difference, window, numbers.
const UTP: usize = 20;
const UTP_DATA: u8 = 0x01;
const UTP_STATE: u8 = 0x21;
/// Where uTP's acknowledgement tells the one-way delay, in microseconds.
const UTP_DIFFERENCE: usize = 8;
/// Longest of these.
const PREFIX_MOST: usize = WIREGUARD;

/// What carries segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP, with a TCP header as its payload.
    Udp,
    /// QUIC (RFC 9000): long headers first, then short ones.
    Quic,
    /// TCP inside WireGuard.
    WireGuard,
    /// uTP (BEP 29), whose acknowledgements tell one-way delays.
    Utp,
}

impl Transport {
    /// Of IPv4.
    const fn protocol(self) -> u8 {
        match self {
            Self::Tcp => PROTOCOL_TCP,
            Self::Udp | Self::Quic | Self::WireGuard | Self::Utp => PROTOCOL_UDP,
        }
    }

    /// Bytes between IPv4 and the TCP header.
    const fn prefix_len(self) -> usize {
        match self {
            Self::Tcp => 0,
            Self::Udp => UDP,
            Self::Quic => UDP + QUIC,
            Self::WireGuard => UDP + WIREGUARD,
            Self::Utp => UDP + UTP,
        }
    }

    /// Bytes behind the payload.
    const fn suffix_len(self) -> usize {
        match self {
            Self::Quic | Self::WireGuard => TAG,
            Self::Tcp | Self::Udp | Self::Utp => 0,
        }
    }

    /// Bytes of a packet whose payload would make it so long, with what it is padded by.
    const fn padded(self, len: usize) -> usize {
        match self {
            Self::WireGuard => {
                let outside = IPV4 + UDP + 16 + TAG;
                outside + (len - outside).next_multiple_of(WIREGUARD_PADDING)
            }
            Self::Tcp | Self::Udp | Self::Quic | Self::Utp => len,
        }
    }

    /// What an observer sees behind UDP of a packet that is about the segment with a number.
    fn prefix(self, number: u64, ack: Option<&Ack>) -> [u8; PREFIX_MOST] {
        let mut prefix = [0; PREFIX_MOST];
        match self {
            Self::Tcp | Self::Udp => {}
            Self::Quic if number < QUIC_HANDSHAKE => prefix[..6].copy_from_slice(&QUIC_LONG),
            Self::Quic => prefix[0] = QUIC_SHORT,
            Self::WireGuard => prefix[..4].copy_from_slice(&WIREGUARD_DATA),
            Self::Utp => {
                prefix[0] = if ack.is_some() { UTP_STATE } else { UTP_DATA };
                let delay = ack.and_then(|ack| ack.delay).map_or(0, |delay| delay.as_micros());
                let delay = u32::try_from(delay).unwrap_or(u32::MAX);
                prefix[UTP_DIFFERENCE..UTP_DIFFERENCE + 4].copy_from_slice(&delay.to_be_bytes());
            }
        }
        prefix
    }
}

/// How one direction of a flow looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// What carries it.
    pub transport: Transport,
    /// Last bytes of the addresses 10.0.0.x, from and to.
    pub hosts: [u8; 2],
    /// From and to.
    pub ports: [u16; 2],
    /// IPv4's identification, which says nothing of packets that are not fragments (RFC 6864): whose they are.
    pub id: u16,
    /// Bytes of a packet with data.
    pub packet_len: usize,
    /// Of packets with data.
    pub ecn: Ecn,
}

impl Format {
    /// The same flow the other way.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self { hosts: [self.hosts[1], self.hosts[0]], ports: [self.ports[1], self.ports[0]], ..self }
    }

    /// Bytes of data in a segment.
    pub const fn payload_len(self) -> usize {
        self.packet_len - self.header_len() - self.transport.suffix_len()
    }

    const fn header_len(self) -> usize {
        IPV4 + TCP + self.transport.prefix_len()
    }

    /// Appends a packet with data. `transmission` is carried in the data.
    pub fn data(self, packet: &mut Vec<u8>, number: u64, transmission: u64, reduced: bool) {
        let flags = FLAG_ACK | if reduced { FLAG_CWR } else { 0 };
        let start = packet.len();
        let prefix = self.transport.prefix(number, None);
        self.header(packet, self.packet_len, &prefix, self.bytes(number), 0, flags, 0, self.ecn);
        packet.extend_from_slice(&transmission.to_be_bytes());
        packet.resize(start + self.packet_len, 0);
    }

    /// Appends a packet that only acknowledges.
    pub fn ack(self, packet: &mut Vec<u8>, ack: &Ack) {
        let blocks = &ack.blocks[..ack.blocks.len().min(MOST_BLOCKS)];
        let sack = if blocks.is_empty() { 0 } else { 4 + 8 * blocks.len() };
        let options = TIMESTAMPS + sack;
        let flags = FLAG_ACK | if ack.congested { FLAG_ECE } else { 0 };
        let len = self.transport.padded(self.header_len() + options + self.transport.suffix_len());
        let (start, prefix) = (packet.len(), self.transport.prefix(ack.cumulative, Some(ack)));
        self.header(packet, len, &prefix, 0, self.bytes(ack.cumulative), flags, options, Ecn::NotEct);
        packet.extend_from_slice(&[OPTION_NOP, OPTION_NOP, OPTION_TIMESTAMPS, 10, 0, 0, 0, 0]);
        packet.extend_from_slice(&ack.echo.to_be_bytes());
        if !blocks.is_empty() {
            let option_len = u8::try_from(sack - 2).unwrap_or(0);
            packet.extend_from_slice(&[OPTION_NOP, OPTION_NOP, OPTION_SACK, option_len]);
            for block in blocks {
                packet.extend_from_slice(&self.bytes(block.start).to_be_bytes());
                packet.extend_from_slice(&self.bytes(block.end).to_be_bytes());
            }
        }
        packet.resize(start + len, 0);
    }

    /// Appends what a QUIC client begins with; it acknowledges nothing.
    pub fn hello(self, packet: &mut Vec<u8>) {
        let (start, prefix) = (packet.len(), self.transport.prefix(0, None));
        self.header(packet, QUIC_HELLO, &prefix, 0, self.bytes(0), FLAG_ACK, 0, Ecn::NotEct);
        packet.resize(start + QUIC_HELLO, 0);
    }

    /// The sequence number of a segment's first byte.
    #[allow(clippy::cast_possible_truncation, reason = "sequence numbers are modulo 2^32")]
    const fn bytes(self, number: u64) -> u32 {
        (number * self.payload_len() as u64) as u32
    }

    /// The segment with a sequence number, of those that may be meant the nearest to `near`.
    pub fn number(self, sequence: u32, near: u64) -> u64 {
        let len = self.payload_len() as u64;
        let distance = sequence.wrapping_sub(self.bytes(near)).cast_signed();
        (near * len).saturating_add_signed(i64::from(distance)) / len
    }

    #[allow(clippy::too_many_arguments, reason = "they are the fields of a header")]
    fn header(
        self,
        packet: &mut Vec<u8>,
        len: usize,
        prefix: &[u8],
        sequence: u32,
        ack: u32,
        flags: u8,
        options: usize,
        ecn: Ecn,
    ) {
        let word = |value: usize| u16::try_from(value).unwrap_or(u16::MAX).to_be_bytes();
        let [from, to] = self.hosts;
        let [from_port, to_port] = self.ports.map(u16::to_be_bytes);
        let protocol = self.transport.protocol();
        let [id_high, id_low] = self.id.to_be_bytes();
        let start = packet.len();
        let [total, offset] = [word(len), [0; 2]];
        packet.extend_from_slice(&[
            0x45,
            ecn.bits(),
            total[0],
            total[1],
            id_high,
            id_low,
            0x40,
            0,
            64,
            protocol,
        ]);
        packet.extend_from_slice(&[offset[0], offset[1], 10, 0, 0, from, 10, 0, 0, to]);
        let sum = checksum(&packet[start..]).to_be_bytes();
        packet[start + 10..start + 12].copy_from_slice(&sum);
        if let Some(len_behind) = self.transport.prefix_len().checked_sub(UDP) {
            packet.extend_from_slice(&[from_port, to_port, word(len - IPV4), [0; 2]].concat());
            packet.extend_from_slice(&prefix[..len_behind]);
        }
        packet.extend_from_slice(&[from_port, to_port].concat());
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&ack.to_be_bytes());
        let data_offset = u8::try_from((TCP + options) / 4).unwrap_or(0) << 4;
        // Window 65,535; the checksum, which only the ends would look at, is zero.
        packet.extend_from_slice(&[data_offset, flags, 0xff, 0xff, 0, 0, 0, 0]);
    }
}

/// A packet of a flow, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// From and to.
    pub ports: [u16; 2],
    /// The ECN bits it arrived with.
    pub ecn: Ecn,
    sequence: u32,
    ack: u32,
    flags: u8,
    blocks: [[u32; 2]; MOST_BLOCKS],
    block_count: usize,
    echo: u32,
    delay: Option<Duration>,
    /// The number of the transmission, if there is data.
    transmission: Option<u64>,
}

impl Segment {
    /// Reads a packet that [`Format`] wrote for a transport; `None`: it is something else.
    pub fn read(packet: &[u8], transport: Transport) -> Option<Self> {
        if *packet.get(9)? != transport.protocol() {
            return None;
        }
        let at = IPV4 + transport.prefix_len();
        let difference = packet.get(IPV4 + UDP + UTP_DIFFERENCE..).and_then(<[u8]>::first_chunk);
        let delay = difference.filter(|_| transport == Transport::Utp).map(|it| u32::from_be_bytes(*it));
        let header = packet.get(at..)?;
        let word = |at: usize| Some(u16::from_be_bytes(*header.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u32::from_be_bytes(*header.get(at..)?.first_chunk()?));
        let header_len = usize::from(*header.get(12)? >> 4) * 4;
        let mut blocks = [[0; 2]; MOST_BLOCKS];
        let sack = TCP + TIMESTAMPS + 4;
        let block_count = header_len.checked_sub(sack).map_or(0, |len| len / 8).min(MOST_BLOCKS);
        for (index, block) in blocks.iter_mut().enumerate().take(block_count) {
            let at = sack + 8 * index;
            *block = [long(at)?, long(at + 4)?];
        }
        // Behind an acknowledgement is padding at most.
        let total = usize::from(u16::from_be_bytes(*packet.get(2..)?.first_chunk()?));
        let data_len = total.checked_sub(at + header_len + transport.suffix_len())?;
        let data = header.get(header_len..).filter(|_| data_len >= WIREGUARD_PADDING);
        let transmission = data.and_then(<[u8]>::first_chunk);
        Some(Self {
            ports: [word(0)?, word(2)?],
            ecn: ip::ecn(packet),
            sequence: long(4)?,
            ack: long(8)?,
            flags: *header.get(13)?,
            blocks,
            block_count,
            delay: delay.map(|micros| Duration::from_micros(micros.into())),
            echo: if header_len > TCP { long(TCP + TIMESTAMPS - 4)? } else { 0 },
            transmission: transmission.map(|bytes| u64::from_be_bytes(*bytes)),
        })
    }

    /// The segment's number and transmission, and whether the sender has slowed down. `None`: it carries no data.
    /// `near`: any number not far from it.
    pub fn data(&self, format: Format, near: u64) -> Option<(u64, u64, bool)> {
        let transmission = self.transmission?;
        Some((format.number(self.sequence, near), transmission, self.flags & FLAG_CWR != 0))
    }

    /// The acknowledgement.
    pub fn ack(&self, format: Format, near: u64) -> Ack {
        let number = |sequence| format.number(sequence, near);
        Ack {
            cumulative: number(self.ack),
            blocks: self.blocks[..self.block_count].iter().map(|[a, b]| number(*a)..number(*b)).collect(),
            congested: self.flags & FLAG_ECE != 0,
            echo: self.echo,
            delay: self.delay,
        }
    }
}
