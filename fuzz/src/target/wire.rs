//! The codecs: any bytes are parsed without harm, and what is emitted is parsed to what it was.

use arbitrary::{Arbitrary, Unstructured};
use mpt_proto::seq::Seq;
use mpt_proto::wire::control::{self, Features, Kind, Message};
use mpt_proto::wire::gre::{self, Layout, Protocol};
use mpt_proto::wire::{checksum, fragment as fragments, ip as inner};
use mpt_proto::{Drop, Ecn};

const PROTOCOLS: [Protocol; 4] = [Protocol::Ipv4, Protocol::Ipv6, Protocol::Control, Protocol::Fragment];

/// The GRE header.
///
/// # Panics
/// A fault was found.
pub fn gre(data: &[u8]) {
    if let Ok(header) = gre::parse(data) {
        assert!((gre::MIN_LEN..=gre::MAX_LEN).contains(&header.len) && header.len <= data.len());
        let has_checksum = data[0] & 0x80 != 0;
        let layout = Layout { checksum: has_checksum, key: header.key, sequence: header.sequence.is_some() };
        assert_eq!(layout.header_len(), header.len);
        let mut again = data.to_vec();
        layout.emit(&mut again, header.protocol, header.sequence.unwrap_or_default());
        assert_eq!(gre::parse(&again), Ok(header));
        if has_checksum {
            assert_eq!(checksum(&again), 0);
        }
    }
    let mut choice = Unstructured::new(data);
    let Ok((checksum, key, sequence, number, protocol)) =
        choice.arbitrary::<(bool, Option<u32>, bool, u32, u8)>()
    else {
        return;
    };
    let layout = Layout { checksum, key, sequence };
    let protocol = PROTOCOLS[usize::from(protocol % 4)];
    let mut datagram = vec![0xee; layout.header_len()];
    datagram.extend_from_slice(choice.take_rest());
    let payload = datagram[layout.header_len()..].to_vec();
    layout.emit(&mut datagram, protocol, Seq::from_u32(number));
    let sequence = sequence.then_some(Seq::from_u32(number));
    let len = layout.header_len();
    assert_eq!(gre::parse(&datagram), Ok(gre::Header { protocol, key, sequence, len }));
    assert_eq!(datagram[len..], payload);
}

/// Control messages.
///
/// # Panics
/// A fault was found.
pub fn control(data: &[u8]) {
    if let Ok(message) = Message::parse(data) {
        let again = message.emit();
        // All bytes have a meaning but the fourth, which is reserved.
        assert_eq!((&again[..3], &again[4..]), (&data[..3], &data[4..control::LEN]));
    }
    #[derive(Arbitrary)]
    struct Fields(bool, u8, u16, u32, u32, u32, u32, u8, u16);
    let Ok(Fields(probe, path, hears, instance, count, next, stamp, features, mtu)) =
        Unstructured::new(data).arbitrary()
    else {
        return;
    };
    let message = Message {
        kind: if probe { Kind::Probe } else { Kind::Echo },
        path,
        hears,
        instance,
        count: Seq::from_u32(count),
        next: Seq::from_u32(next),
        stamp,
        features: Features(features),
        mtu,
        extension: (mtu % 2 == 0).then_some(mtu),
    };
    let expected = if path < 16 { Ok(message) } else { Err(Drop::BadControl) };
    assert_eq!(Message::parse(&message.emit()), expected);
}

/// The fragment header.
///
/// # Panics
/// A fault was found.
pub fn fragment(data: &[u8]) {
    let Ok((header, piece)) = fragments::Header::parse(data) else { return };
    assert!((2..=fragments::MAX_PIECES).contains(&header.pieces()));
    let range = header.range().expect("a piece that was accepted lies in its packet");
    assert_eq!(range.len(), piece.len());
    assert!(range.end <= usize::from(header.total));
    let is_last = usize::from(header.index) + 1 == header.pieces();
    assert_eq!(is_last, range.end == usize::from(header.total));
    let mut again = data.to_vec();
    header.emit(&mut again);
    assert_eq!(again, data);
    // The pieces cover the packet without overlap.
    let mut end = 0;
    for index in 0..=u8::try_from(fragments::MAX_PIECES).unwrap_or(0) {
        if let Some(range) = (fragments::Header { index, ..header }).range() {
            assert_eq!(range.start, end);
            end = range.end;
        }
    }
    assert_eq!(end, usize::from(header.total));
}

/// Inner packets: lengths, flows, ECN bits.
///
/// # Panics
/// A fault was found.
pub fn ip(data: &[u8]) {
    // None of these may panic, whatever the bytes.
    let flow = inner::Flow::of(data, 1);
    assert_eq!(flow, inner::Flow::of(data, 1));
    let _ = inner::ecn(data);
    let Some((protocol, len)) = inner::parse(data) else { return };
    assert!(len <= data.len() && matches!(protocol, Protocol::Ipv4 | Protocol::Ipv6));
    assert!(flow.tcp_ports().is_none() || flow.udp_ports().is_none());
    let header = usize::from(data[0] & 0x0f) * 4;
    let sum_is_right = protocol == Protocol::Ipv4 && checksum(&data[..header]) == 0;
    for ecn in [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce] {
        let mut packet = data.to_vec();
        inner::set_ecn(&mut packet, ecn);
        assert_eq!(inner::ecn(&packet), ecn);
        assert_eq!(inner::parse(&packet), Some((protocol, len)));
        assert_eq!(inner::Flow::of(&packet, 1), flow);
        if sum_is_right {
            assert_eq!(checksum(&packet[..header]), 0);
        }
    }
}
