//! For packets and datagrams of all kinds, the core reads the same of the equivalent one.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "what is made up here fits")]

use mpt_proto::Seq;
use mpt_proto::wire::control;
use mpt_proto::wire::gre::Layout;

use super::*;

/// The generator "xorshift64" (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.one(&[0, 0, 1, 2, 4, 0x10, 0x50, 0xc0, 0xff, 0x45])).collect()
    }
}

/// A packet, mostly of IP, whose fields are of the kinds that the core tells apart.
fn some_packet(random: &mut Random) -> Vec<u8> {
    let protocol = random.one(&[6, 6, 6, 17, 17, 1, 58, 33, 132, 136, 0, 43, 44, 60, 99]);
    let len = random.one(&[0, 8, 12, 20, 32, 40, 60, 84, 100, 156, 1200, 1400]);
    let mut transport = random.bytes(len);
    if transport.len() >= 20 {
        let ports = random.one(&[(4789, 9), (1, 4500), (443, 50_000), (53, 53)]);
        transport[..2].copy_from_slice(&u16::to_be_bytes(ports.0));
        transport[2..4].copy_from_slice(&u16::to_be_bytes(ports.1));
        if protocol == 6 {
            transport[12] = random.one(&[0x50, 0x80, 0xa0, 0x00, 0xf0]);
            transport[13] = random.one(&[0x10, 0x18, 0x02, 0x12, 0x11, 0x04]);
            let header = usize::from(transport[12] >> 4) * 4;
            match random.below(3) {
                0 if header >= 20 => transport.resize(header, 0),
                1 => {
                    (transport[12], transport[13]) = (0x50, 0x10);
                    transport.truncate(20);
                }
                _ => {}
            }
        } else if random.below(2) == 0 {
            let named: [u8; 5] =
                random.one(&[[0xc3, 0, 0, 0, 1], [4, 0, 0, 0, 9], [1, 0, 0, 0, 0], [1, 2, 7, 7, 7]]);
            transport[8..13].copy_from_slice(&named);
        }
    }
    let mut packet = if random.below(2) == 0 {
        let words = random.one(&[5, 5, 5, 6, 15]);
        let mut packet = random.bytes(words * 4);
        packet[0] = 0x40 | u8::try_from(words).unwrap();
        (packet[6], packet[7]) = random.one(&[(0x40, 0), (0x40, 0), (0, 0), (0x20, 0), (0, 7)]);
        packet[9] = protocol;
        let len = u16::try_from(packet.len() + transport.len()).unwrap();
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        packet
    } else {
        let mut packet = random.bytes(40);
        packet[0] = 0x60 | packet[0] & 0x0f;
        packet[6] = protocol;
        packet[4..6].copy_from_slice(&u16::try_from(transport.len()).unwrap().to_be_bytes());
        packet
    };
    packet.append(&mut transport);
    if random.below(20) == 0 {
        packet.truncate(random.below(packet.len()));
    }
    packet
}

/// All that the core reads of a packet of this flow, its hash aside.
fn read(packet: &[u8], hash: u64) -> impl PartialEq + std::fmt::Debug {
    let whole = ip::parse(packet).filter(|(_, len)| *len == packet.len());
    whole.map(|whole| {
        let flow = Flow { hash, ..Flow::of(packet, 0) };
        let acks = (ip::is_bare_ack(packet, &flow), ip::opens(packet, &flow));
        (whole, flow, acks, ip::dscp(packet), ip::ecn(packet), names_bulk(packet, &flow))
    })
}

#[test]
fn the_core_reads_the_same_of_a_packet_and_of_the_one_made_from_what_is_kept() {
    let mut random = Random(0x5eed);
    let mut last: Option<(Vec<u8>, Vec<u8>)> = None;
    let (mut bare, mut supersedes) = (0, 0);
    for round in 0..60_000 {
        let packet = match &last {
            // An acknowledgement after an acknowledgement of its flow.
            Some((last, _)) if round % 3 == 0 && last.len() >= 40 && last[0] >> 4 == 4 => {
                let mut packet = last.clone();
                packet[28..32].copy_from_slice(&random.next().to_be_bytes()[..4]);
                packet
            }
            _ => some_packet(&mut random),
        };
        let flow = Flow::of(&packet, 7);
        let addresses = random.below(4) == 0;
        let mark = Mark { hash: flow.hash & ADAPTIVE_BITS, number: u32::try_from(flow.hash >> 32).unwrap() };
        let mut shape = Shape::new();
        let numbers = of_packet(&packet, &flow, mark, addresses, &mut shape);
        let mut again = Vec::new();
        assert_eq!(super::packet(&shape, numbers, packet.len(), &mut again), Some(mark));
        assert_eq!(read(&packet, 0), read(&again, 0), "{packet:x?} became {again:x?} by {shape:x?}");
        if addresses && ip::parse(&packet).is_some_and(|(_, len)| len == packet.len()) {
            assert_eq!(ip::addresses_v4(&packet), ip::addresses_v4(&again));
            assert_eq!(ip::addresses_v6(&packet), ip::addresses_v6(&again));
        }
        if let Some((last, last_again)) = &last
            && !addresses
            && Flow::of(last, 7).tcp_ports().is_some()
        {
            bare += 1;
            let is = ip::supersedes(&packet, last);
            supersedes += u32::from(is);
            assert!(!is || ip::supersedes(&again, last_again), "{packet:x?} {last:x?}");
        }
        last = (!addresses).then_some((packet, again));
    }
    assert!(bare > 1000 && supersedes > 20, "{bare} {supersedes}");
}

#[test]
fn nothing_of_payload_and_addresses_is_kept() {
    let mut packet =
        vec![0x45, 0, 0, 68, 9, 9, 0x40, 0, 64, 17, 9, 9, 0xaa, 0xaa, 0xaa, 0xaa, 0xbb, 0xbb, 0xbb, 0xbb];
    packet.extend([0x30, 0x39, 0, 53, 0, 48, 9, 9]);
    packet.extend([0xcc; 40]);
    let flow = Flow::of(&packet, 7);
    let mut shape = Shape::new();
    of_packet(&packet, &flow, Mark { hash: 0, number: 1 }, false, &mut shape);
    assert!(shape.iter().all(|byte| !matches!(byte, 9 | 0xaa | 0xbb | 0xcc)), "{shape:x?}");
    let mut datagram = vec![0x10, 0, 0x88, 0xb5, 0, 0, 0, 1, 0x80, 0, 0, 1, 0, 0, 0, 1];
    datagram.extend(&packet);
    of_datagram(&datagram, &mut shape);
    assert!(shape.iter().all(|byte| !matches!(byte, 9 | 0xaa | 0xbb | 0xcc)), "{shape:x?}");
}

#[test]
fn a_slice_keeps_its_flow() {
    for ports in [None, Some((1, 65_535))] {
        let flow = Flow { protocol: 6, ports, hash: 0x0123_4567_89ab_cdef };
        let mut shape = Shape::new();
        of_slice(&flow, Mark { hash: flow.hash & FLOW_BITS, number: 3 }, &mut shape);
        assert_eq!(slice_flow(&shape), Some(flow));
    }
}

/// A datagram of some kind, whole or not.
fn some_datagram(random: &mut Random) -> Vec<u8> {
    let layout = Layout {
        checksum: random.below(3) == 0,
        key: (random.below(3) == 0).then_some(7),
        sequence: random.below(4) != 0,
    };
    let inner = match random.below(4) {
        0 => [&[0xe0, 1, 0, 7, 1, 0, 0, 64][..], &random.bytes(64)].concat(),
        1 => {
            let piece = random.bytes(8);
            let index = u8::try_from(random.below(3)).unwrap();
            let header = fragment::Header { index, id: 3, size: 8, total: 24, congestion: false };
            let mut fragment = [&[0; 8][..], &piece].concat();
            header.emit(&mut fragment);
            fragment
        }
        _ => some_packet(random),
    };
    let (protocol, payload) = match random.below(4) {
        0 => (Protocol::Control, random.bytes(60)),
        1 | 2 => {
            let kind = random.one(&[0x80, 0x81, 0x91, 0x82, 0x83, 0x8f]);
            (Protocol::Control, [&[kind, 1, 2, 3, 9, 8, 7, 6][..], &inner].concat())
        }
        _ => {
            let plain = if inner.first().is_some_and(|first| first >> 4 == 6) {
                Protocol::Ipv6
            } else {
                Protocol::Ipv4
            };
            (random.one(&[plain, plain, Protocol::Fragment]), inner)
        }
    };
    let mut datagram = vec![0; layout.header_len()];
    datagram.extend(payload);
    layout.emit(&mut datagram, protocol, Seq::from_u32(random.next() as u32));
    match random.below(12) {
        0 => datagram.truncate(random.below(datagram.len())),
        1 => {
            let place = random.below(datagram.len().min(24));
            datagram[place] ^= 1 << random.below(8);
        }
        2 => datagram.extend([0; 9]),
        _ => {}
    }
    datagram
}

/// All that the core reads of a datagram.
fn read_datagram(datagram: &[u8]) -> impl PartialEq + std::fmt::Debug {
    let header = gre::parse(datagram);
    let payload = datagram.get(header.map_or(usize::MAX, |header| header.len)..).unwrap_or_default();
    let extension = extension::Header::parse(payload);
    let inner = if extension.is_some() { &payload[extension::LEN..] } else { payload };
    let packet = (ip::parse(inner), slice::is_there(inner), ip::ecn(inner));
    let is_fragment = header.is_ok_and(|header| header.protocol == Protocol::Fragment);
    let piece = is_fragment.then(|| fragment::Header::parse(payload)).map(|piece| {
        piece.map(|(header, piece)| {
            let start = header.range().map_or(0, |range| range.start);
            (header, piece.iter().take(4_usize.saturating_sub(start)).copied().collect::<Vec<u8>>())
        })
    });
    let is_control = header.is_ok_and(|header| header.protocol == Protocol::Control);
    let control = is_control.then(|| control::Message::parse(payload));
    let report = is_control.then(|| mpt_proto::wire::report::Report::parse(inner));
    let is_data =
        extension.is_some_and(|it| matches!(it.kind, extension::Kind::Ordered | extension::Kind::Unordered));
    let counts = is_control && !is_data;
    (
        datagram.len(),
        header,
        extension.filter(|_| is_control),
        packet,
        piece,
        counts.then_some((control, report)),
    )
}

#[test]
fn the_core_reads_the_same_of_a_datagram_and_of_the_one_made_from_what_is_kept() {
    let mut random = Random(0xda7a);
    let mut raw = 0;
    for _ in 0..60_000 {
        let datagram = some_datagram(&mut random);
        let mut shape = Shape::new();
        let numbers = of_datagram(&datagram, &mut shape);
        raw += u32::from(numbers.is_none());
        let mut again = Vec::new();
        super::datagram(&shape, numbers.unwrap_or_default(), datagram.len(), &mut again).unwrap();
        assert_eq!(
            read_datagram(&datagram),
            read_datagram(&again),
            "{datagram:x?} became {again:x?} by {shape:x?}"
        );
    }
    assert!((6_000..54_000).contains(&raw), "{raw}");
}
