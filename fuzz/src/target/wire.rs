//! The codecs: any bytes are parsed without harm, and what is emitted is parsed to what it was.

use arbitrary::{Arbitrary, Unstructured};
use mpt_proto::Seq;
use mpt_proto::wire::control::{self, Features, Kind, Message};
use mpt_proto::wire::extension::{self as extensions, Header};
use mpt_proto::wire::gre::{self, Layout, Protocol};
use mpt_proto::wire::report::{self, Gap, PathReport, Report};
use mpt_proto::wire::{checksum, fragment as fragments, ip as inner};
use mpt_proto::{DropReason, Ecn};

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
        // All of the first 24 bytes have a meaning, the fourth in an echo only and there three bits of it; and so has what
        // announces the extension, but for a reserved byte.
        assert_eq!((&again[..3], &again[4..24]), (&data[..3], &data[4..24]));
        assert_eq!(again[3], if message.arrived.is_some() { data[3] & 7 } else { 0 });
        if message.extension.is_some() {
            assert_eq!((again[24], &again[26..]), (data[24], &data[26..control::LEN]));
        } else {
            assert_eq!(again[24..], [0; 4]);
        }
    }
    #[derive(Arbitrary)]
    struct Fields(bool, u8, u16, u32, u32, u32, u32, Option<u8>, u8, u16);
    let Ok(Fields(probe, path, hears, instance, count, next, stamp, arrived, features, mtu)) =
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
        arrived: arrived.filter(|_| !probe).map(Ecn::from_bits),
        features: Features(features),
        mtu,
        extension: (mtu % 2 == 0).then_some(mtu),
    };
    let expected = if path < 16 { Ok(message) } else { Err(DropReason::BadControl) };
    assert_eq!(Message::parse(&message.emit()), expected);
}

/// The extension header and the report behind it.
///
/// # Panics
/// A fault was found.
pub fn extension(data: &[u8]) {
    if let Some(header) = Header::parse(data) {
        let mut again = [0; extensions::LEN];
        header.emit(&mut again);
        assert_eq!(again, data[..extensions::LEN]);
        // Distances are those of the number circle.
        assert_eq!(extensions::distance(header.number.wrapping_add(5), header.number), 5);
    }
    if let Some(report) = Report::parse(data) {
        let mut again = [0; report::MAX_LEN];
        let len = report.emit(&mut again).expect("a report that was parsed fits the longest length");
        assert!(len <= data.len());
        assert_eq!(Report::parse(&again[..len]), Some(report.clone()));
        assert_eq!(report.emit(&mut again[..len - 1]), None);
    }
    // What is emitted is parsed to what it was, but for what the wire rounds.
    let mut choice = Unstructured::new(data);
    let Ok((instance, count, hold, open, repairs)) = choice.arbitrary::<(u32, u32, Option<u32>, u16, bool)>()
    else {
        return;
    };
    let count = Seq::from_u32(count);
    let mut made = Report { instance, count, hold, open, repairs, ..Report::default() };
    // An exhausted choice is no error: it goes on with zeros.
    while !choice.is_empty()
        && let Ok([settled, packets, bytes, stamp, delay]) = choice.arbitrary::<[u32; 5]>()
        && let Ok([path, age, jitter, excess]) = choice.arbitrary::<[u8; 4]>()
    {
        let (path, settled) = (path % 16, settled & 0x00ff_ffff);
        let [age, jitter, excess] = [age, jitter, excess].map(|span| u32::from(span) * 4);
        let _ =
            made.paths.push(PathReport { path, settled, packets, bytes, stamp, age, jitter, delay, excess });
        let _ = made.gaps.push(Gap { path, first: settled, count: u16::from_be_bytes([path, path]) });
    }
    let mut bytes = [0xee; report::MAX_LEN];
    let len = made.emit(&mut bytes).expect("whatever a report holds fits the longest length");
    assert_eq!(Report::parse(&bytes[..len]), Some(made));
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
