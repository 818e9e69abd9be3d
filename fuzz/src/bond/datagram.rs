//! UDP packets with a serial number.

use mpt_proto::Instant;
use mpt_proto::wire::checksum;

const IPV4: usize = 20;
const UDP: usize = 8;

/// A packet of a stream or a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Datagram {
    /// Last bytes of the addresses, from and to.
    pub(super) hosts: [u8; 2],
    pub(super) ports: [u16; 2],
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
        packet.extend_from_slice(&[0x45, 0, high, low, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, from]);
        packet.extend_from_slice(&[10, 0, 0, to]);
        let sum = checksum(&packet[start..]).to_be_bytes();
        packet[start + 10..start + 12].copy_from_slice(&sum);
        let [from, to] = self.ports.map(u16::to_be_bytes);
        // Without checksum (RFC 768 allows it).
        packet.extend_from_slice(&[from, to, word(len - IPV4), [0; 2]].concat());
        packet.extend_from_slice(&self.serial.to_be_bytes());
        packet.extend_from_slice(&self.sent.as_micros().to_be_bytes());
        packet.resize(start + len, 0);
    }

    /// Reads a packet's beginning.
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let port = |at: usize| Some(u16::from_be_bytes(*packet.get(at..)?.first_chunk()?));
        let number = |at: usize| Some(u64::from_be_bytes(*packet.get(at..)?.first_chunk()?));
        Some(Self {
            hosts: [*packet.get(15)?, *packet.get(19)?],
            ports: [port(IPV4)?, port(IPV4 + 2)?],
            serial: number(IPV4 + UDP)?,
            sent: Instant::from_micros(number(IPV4 + UDP + 8)?),
        })
    }

    /// The answer to it.
    pub(super) const fn reply(self) -> Self {
        let ([from, to], [from_port, to_port]) = (self.hosts, self.ports);
        Self { hosts: [to, from], ports: [to_port, from_port], ..self }
    }
}
