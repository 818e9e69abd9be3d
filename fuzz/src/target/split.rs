//! One large packet into many, against its definition; and packets whose virtio header lies.

use arbitrary::Arbitrary;
use port_linux::offload::{HEADER_LEN, Header, MAX_PACKET, Segmentation, Split, finish_checksum};

use crate::oracle::offload::{Packet, Tcp, canonical};
use crate::target::operations;

/// Longest data of a UDP datagram over IPv4: 65,535 less both headers.
const LONGEST: usize = 65_507;

/// A packet as the kernel would hand it over.
#[derive(Debug, Arbitrary)]
pub(super) struct Shape {
    is_ipv6: bool,
    extra: u8,
    class: u8,
    identification: u16,
    dont_fragment: bool,
    /// Sequence number, flags, and whether there is a timestamp.
    tcp: Option<(u32, u8, bool)>,
    len: u16,
    fill: u8,
}

impl Shape {
    pub(super) fn packet(&self) -> Packet {
        let tcp = self.tcp.map(|(sequence, flags, has_timestamp)| Tcp {
            sequence,
            acknowledgement: 1,
            flags,
            window: 500,
            timestamp: has_timestamp.then_some(9),
        });
        let mut packet = Packet {
            is_ipv6: self.is_ipv6,
            class: self.class,
            identification: self.identification,
            dont_fragment: self.dont_fragment,
            extra: self.extra % if self.is_ipv6 { 4 } else { 11 },
            ports: [4000, 80],
            tcp,
            data: Vec::new(),
        };
        // Longer than any packet can be: as long as this one can be.
        let headers = packet.bytes(false).len();
        let len = usize::from(self.len).min(LONGEST).min(MAX_PACKET - headers);
        packet.data = (0..len).map(|at| self.fill.wrapping_add(at.to_le_bytes()[0])).collect();
        packet
    }
}

#[derive(Debug, Arbitrary)]
enum Input {
    /// As it should be.
    Sound { shape: Shape, size: u16 },
    /// Bytes of the virtio header, and of the packet's first hundred, are something else; perhaps its end is missing.
    Lying { shape: Shape, size: u16, header: Vec<(u8, u8)>, packet: Vec<(u8, u8)>, missing: u16 },
    /// Anything.
    Raw { header: [u8; HEADER_LEN], packet: Vec<u8> },
}

/// Cuts.
///
/// # Panics
/// The pieces of a sound packet are not those by definition, or something of a lying one is cut twice, or lost, or
/// becomes more than it was.
pub fn split(data: &[u8]) {
    for input in operations::<Input>(data).take(16) {
        match input {
            Input::Sound { shape, size } => sound(&shape.packet(), size),
            Input::Lying { shape, size, header, packet, missing } => {
                let sound = shape.packet();
                let mut raw = virtio_header(&sound, size).emit(sound.is_ipv6, 0);
                let mut bytes = sound.bytes(false);
                bytes.truncate(bytes.len().saturating_sub(missing.into()));
                for (at, change) in header {
                    raw[usize::from(at) % HEADER_LEN] ^= change;
                }
                for (at, change) in packet {
                    let at = usize::from(at) % bytes.len().clamp(1, 100);
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= change;
                    }
                }
                lying(&raw, &bytes);
            }
            Input::Raw { header, packet } => lying(&header, &packet),
        }
    }
}

fn virtio_header(packet: &Packet, size: u16) -> Header {
    let (segmentation, offset) = match packet.tcp {
        Some(_) => (Segmentation::Tcp { size }, 16),
        None => (Segmentation::Udp { size }, 6),
    };
    let start = u16::try_from(packet.transport()).expect("headers are short");
    Header { segmentation, checksum: Some((start, offset)) }
}

fn sound(packet: &Packet, size: u16) {
    let header = virtio_header(packet, size);
    let bytes = packet.bytes(false);
    assert_eq!(Header::parse(&header.emit(packet.is_ipv6, 60)), Some(header));
    let mut whole = bytes.clone();
    assert_eq!(finish_checksum(header, &mut whole), Some(()));
    assert_eq!(canonical(&whole), canonical(&packet.bytes(true)), "not cut");
    let Some(mut split) = Split::new(header, &bytes, MAX_PACKET) else {
        assert!(size == 0 || packet.data.is_empty(), "a sound packet is refused");
        return;
    };
    let mut out = vec![0; MAX_PACKET];
    for (number, expected) in packet.cut(size.into()).into_iter().enumerate() {
        let len = split.next_into(&mut out).expect("as many as there should be");
        assert_eq!(canonical(&out[..len]), canonical(&expected.bytes(true)), "piece {number}");
    }
    assert_eq!(split.next_into(&mut out), None, "no more than there should be");
}

fn lying(header: &[u8; HEADER_LEN], packet: &[u8]) {
    let Some(header) = Header::parse(header) else { return };
    let mut whole = packet.to_vec();
    if finish_checksum(header, &mut whole).is_some() {
        let changed = whole.iter().zip(packet).filter(|(after, before)| after != before).count();
        assert!(whole.len() == packet.len() && changed <= 2, "a checksum is two bytes");
    }
    let Some(mut split) = Split::new(header, packet, MAX_PACKET) else { return };
    let (Segmentation::Tcp { size } | Segmentation::Udp { size }) = header.segmentation else {
        panic!("what is not to be cut is cut");
    };
    let headers = headers_of(header, packet);
    let mut out = vec![0; MAX_PACKET];
    let mut data = Vec::new();
    while let Some(len) = split.next_into(&mut out) {
        assert!((headers + 1..=headers + usize::from(size)).contains(&len), "{len} bytes");
        data.extend_from_slice(&out[headers..len]);
        assert!(data.len() <= packet.len(), "more than there was");
    }
    assert_eq!(data, packet[headers..], "all data once, in order");
}

/// Where the data begins, by the header's word.
fn headers_of(header: Header, packet: &[u8]) -> usize {
    let start = usize::from(header.checksum.expect("what is cut has one").0);
    match header.segmentation {
        Segmentation::Tcp { .. } => start + usize::from(packet[start + 12] >> 4) * 4,
        _ => start + 8,
    }
}
