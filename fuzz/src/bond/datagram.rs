//! UDP packets with a serial number.

use mpt_proto::Instant;
use mpt_proto::wire::checksum;

const IPV4: usize = 20;
const UDP: usize = 8;

/// What a packet's payload begins with, before its serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    /// Nothing.
    Bare,
    /// RTP's header (RFC 3550 section 5.1) with this payload type: 0x80 in front.
    Rtp(u8),
    /// DNS's header of a query, or of an answer (RFC 1035 section 4.1.1).
    Dns { is_answer: bool },
    /// uTP's type and version (BEP 29): data.
    Utp,
}

/// Bytes of RTP's and of DNS's header, and of uTP's that are written.
const LEAD: usize = 12;

impl Lead {
    fn write(self, packet: &mut Vec<u8>, serial: u64) {
        let [.., high, low] = serial.to_be_bytes();
        let mut lead = [0; LEAD];
        match self {
            Self::Bare => return,
            Self::Rtp(payload_type) => lead[..4].copy_from_slice(&[0x80, payload_type, high, low]),
            // Recursion desired; one question, and one answer.
            Self::Dns { is_answer: false } => lead[..6].copy_from_slice(&[high, low, 0x01, 0x00, 0, 1]),
            Self::Dns { is_answer: true } => lead[..8].copy_from_slice(&[high, low, 0x81, 0x80, 0, 1, 0, 1]),
            Self::Utp => lead[0] = 0x01,
        }
        packet.extend_from_slice(&lead);
    }

    const fn len(self) -> usize {
        match self {
            Self::Bare => 0,
            Self::Rtp(_) | Self::Dns { .. } | Self::Utp => LEAD,
        }
    }
}

/// A packet of a UDP application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Datagram {
    /// Last bytes of the addresses, from and to.
    pub(super) hosts: [u8; 2],
    pub(super) ports: [u16; 2],
    /// Whose it is.
    pub(super) id: u16,
    pub(super) lead: Lead,
    pub(super) serial: u64,
    /// When the request was sent.
    pub(super) sent: Instant,
}

impl Datagram {
    /// Appends the packet.
    pub(super) fn write(self, packet: &mut Vec<u8>, len: usize) {
        let word = |value: usize| u16::try_from(value).unwrap_or(u16::MAX).to_be_bytes();
        let start = packet.len();
        let [[high, low], [from, to]] = [word(len), self.hosts];
        let [id_high, id_low] = self.id.to_be_bytes();
        packet.extend_from_slice(&[0x45, 0, high, low, id_high, id_low, 0x40, 0, 64, 17]);
        packet.extend_from_slice(&[0, 0, 10, 0, 0, from]);
        packet.extend_from_slice(&[10, 0, 0, to]);
        let sum = checksum(&packet[start..]).to_be_bytes();
        packet[start + 10..start + 12].copy_from_slice(&sum);
        let [from, to] = self.ports.map(u16::to_be_bytes);
        // Without checksum (RFC 768 allows it).
        packet.extend_from_slice(&[from, to, word(len - IPV4), [0; 2]].concat());
        self.lead.write(packet, self.serial);
        packet.extend_from_slice(&self.serial.to_be_bytes());
        packet.extend_from_slice(&self.sent.as_micros().to_be_bytes());
        packet.resize(start + len, 0);
    }

    /// Reads the beginning of a packet with this lead.
    pub(super) fn read(packet: &[u8], lead: Lead) -> Option<Self> {
        let payload = IPV4 + UDP + lead.len();
        let port = |at: usize| Some(u16::from_be_bytes(*packet.get(at..)?.first_chunk()?));
        let number = |at: usize| Some(u64::from_be_bytes(*packet.get(at..)?.first_chunk()?));
        Some(Self {
            hosts: [*packet.get(15)?, *packet.get(19)?],
            ports: [port(IPV4)?, port(IPV4 + 2)?],
            id: port(4)?,
            lead,
            serial: number(payload)?,
            sent: Instant::from_micros(number(payload + 8)?),
        })
    }

    /// The answer to it.
    pub(super) const fn reply(self) -> Self {
        let ([from, to], [from_port, to_port]) = (self.hosts, self.ports);
        Self { hosts: [to, from], ports: [to_port, from_port], ..self }
    }
}
