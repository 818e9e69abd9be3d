//! The adaptive policy between two connections: who speaks the extension, and what a peer or a network may do to it.

use super::*;
use crate::adaptive::Mode;
use crate::wire::HEADROOM;
use crate::wire::extension::{Header, Kind as Extended};
use crate::wire::report::{PathReport, Report};

/// Memory for so many packets.
pub(super) fn lent(packets: usize) -> Storage<'static> {
    let cell = HEADROOM + 1600;
    storage().with_adaptive(
        Box::leak(Box::default()),
        vec![PacketSlot::default(); packets].leak(),
        vec![0; packets * cell].leak(),
        vec![FlowSlot::default(); 16.min(packets)].leak(),
    )
}

pub(super) fn up(config: &Config, paths: &[PathConfig]) -> Pair {
    let mut pair = Pair::with([config, config], [lent(1024), lent(1024)], paths);
    pair.run(20);
    assert!((0..paths.len()).all(|path| pair.states(path) == [PathState::Up; 2]));
    pair
}

/// The extension header of a datagram, if it has one.
pub(super) fn header(datagram: &[u8]) -> Option<(Header, &[u8])> {
    let gre = gre::parse(datagram).ok().filter(|header| header.protocol == Protocol::Control)?;
    let payload = datagram.get(gre.len..)?;
    Some((Header::parse(payload)?, payload.get(extension::LEN..)?))
}

/// An inner packet of this protocol and flow that tells its number.
pub(super) fn numbered(protocol: u8, flow: u8, number: u32, len: usize) -> Vec<u8> {
    let mut packet = vec![0; len];
    packet[..20].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet[2..4].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
    // Ports; for TCP a header of 20 bytes and the flag ACK.
    packet[20..24].copy_from_slice(&[200, flow, 0, 80]);
    packet[32..34].copy_from_slice(&[0x50, 0x10]);
    packet[40..44].copy_from_slice(&number.to_be_bytes());
    packet
}

pub(super) const TCP: u8 = 6;
const UDP: u8 = 17;

pub(super) fn number(packet: &[u8]) -> u32 {
    u32::from_be_bytes(*packet[40..].first_chunk().unwrap())
}

/// Sends so many packets a millisecond for a while, and says which numbers came out at the other end.
pub(super) fn traffic(pair: &mut Pair, from: usize, ms: u32, each: u32) -> Vec<u32> {
    pair.delivered[1 - from].clear();
    for step in 0..ms * each {
        pair.send(from, &numbered(TCP, 0, step, 1000));
        if step % each == each - 1 {
            pair.run(1);
        }
    }
    pair.run(200);
    pair.delivered[1 - from].iter().map(|packet| number(packet)).collect()
}

/// What left an end since the last call: kinds of extension headers, and datagrams without one that carry packets.
pub(super) fn kinds(pair: &mut Pair, end: usize) -> (Vec<(usize, Extended)>, usize) {
    let sent = core::mem::take(&mut pair.sent);
    let sent: Vec<_> = sent.into_iter().filter(|(from, ..)| *from == end).collect();
    let plain = sent.iter().filter(|(.., bytes)| {
        gre::parse(bytes).is_ok_and(|header| matches!(header.protocol, Protocol::Ipv4 | Protocol::Ipv6))
    });
    let plain = plain.count();
    let extended = sent.iter().filter_map(|(_, path, bytes)| Some((*path, header(bytes)?.0.kind)));
    (extended.collect(), plain)
}

#[test]
fn two_ends_that_announce_the_extension_use_it() {
    let mut pair = up(&Config::default(), &[lab(); 2]);
    assert_eq!([0, 1].map(|end| pair.ends[end].mode()), [Some(Mode::Adaptive); 2]);
    pair.sent.clear();
    let came = traffic(&mut pair, 0, 200, 1);
    assert!(came.into_iter().eq(0..200));
    let (extended, plain) = kinds(&mut pair, 0);
    assert_eq!(plain, 0);
    assert!(extended.iter().any(|(_, kind)| *kind == Extended::Ordered));
    assert!(pair.ends[0].path_model(pair.paths[0][0]).unwrap().rate > 0);
    assert_eq!((pair.ends[0].stats().tx_packets, pair.ends[1].stats().rx_packets), (200, 200));
}

#[test]
fn a_peer_without_memory_for_it_gets_plain_gre() {
    let config = Config::default();
    let mut pair = Pair::with([&config, &config], [lent(64), storage()], &[lab(); 2]);
    pair.run(20);
    let modes = [0, 1].map(|end| pair.ends[end].mode());
    assert_eq!(modes, [Some(Mode::PeerCannot), Some(Mode::NoMemory)]);
    pair.sent.clear();
    assert!(traffic(&mut pair, 0, 100, 1).into_iter().eq(0..100));
    assert_eq!(kinds(&mut pair, 0), (vec![], 100));
}

#[test]
fn a_peer_that_says_nothing_of_it_as_one_of_an_older_version_gets_plain_gre() {
    let config = Config::default();
    let mut end = Connection::new(Config { seed: 1, ..config }, lent(64), Instant::from_micros(1_000_000));
    let now = Instant::from_micros(1_000_000);
    let path = end.add_path(PathConfig { liveness: Liveness::Off, ..lab() }, now).unwrap();
    let message = |extension| Message {
        kind: Kind::Probe,
        path: 0,
        hears: 1,
        instance: 7,
        count: Seq::from_u32(1 + u32::from(extension == Some(9))),
        next: Seq::ZERO,
        stamp: 0,
        arrived: None,
        features: Features::default(),
        mtu: 0,
        extension,
    };
    let layout = Layout { checksum: false, key: None, sequence: false };
    let mut hello = |message: Message, len: usize| {
        let mut datagram = vec![0; layout.header_len()];
        datagram.extend_from_slice(&message.emit()[..len]);
        layout.emit(&mut datagram, Protocol::Control, Seq::ZERO);
        assert_eq!(end.decapsulate(path, &mut datagram, Ecn::NotEct, now), Ok(Received::Consumed));
        end.mode()
    };
    assert_eq!(hello(message(None), 24), Some(Mode::PeerCannot));
    assert_eq!(hello(message(Some(9)), 28), Some(Mode::Adaptive), "it was updated without a restart");
}

#[test]
fn an_end_with_memory_for_reports_only_understands_and_reports_but_sends_by_weight() {
    let config = Config::default();
    let mut pair = Pair::with([&config, &config], [lent(1024), lent(0)], &[lab(); 2]);
    pair.run(20);
    let modes = [0, 1].map(|end| pair.ends[end].mode());
    assert_eq!(modes, [Some(Mode::Adaptive), Some(Mode::NoMemory)]);
    assert!(traffic(&mut pair, 0, 200, 1).into_iter().eq(0..200));
    assert!(traffic(&mut pair, 1, 200, 1).into_iter().eq(0..200));
    assert_eq!(pair.ends[0].mode(), Some(Mode::Adaptive), "it gets reports");
}

#[test]
fn other_policies_have_no_mode_but_report_to_a_peer_that_sends_by_this_one() {
    let (adaptive, weighted) = (Config::default(), Config { policy: Policy::Weighted, ..Config::default() });
    let mut pair = Pair::with([&adaptive, &weighted], [lent(1024), lent(1024)], &[lab(); 2]);
    pair.run(20);
    assert_eq!([0, 1].map(|end| pair.ends[end].mode()), [Some(Mode::Adaptive), None]);
    assert!(traffic(&mut pair, 0, 3_000, 1).into_iter().eq(0..3_000));
    assert_eq!(pair.ends[0].mode(), Some(Mode::Adaptive));
}

#[test]
fn a_peer_that_never_reports_gets_packets_by_weight_until_it_does() {
    let mut pair = up(&Config::default(), &[lab(); 2]);
    traffic(&mut pair, 0, 100, 1);
    pair.mute = Some(1);
    traffic(&mut pair, 0, 2_500, 1);
    assert_eq!(pair.ends[0].mode(), Some(Mode::NoReports));
    pair.sent.clear();
    assert!(traffic(&mut pair, 0, 300, 1).into_iter().eq(0..300), "none is lost");
    let (extended, plain) = kinds(&mut pair, 0);
    assert_eq!(plain, 300);
    assert!(
        extended.iter().all(|(_, kind)| *kind == Extended::Marker),
        "the paths are watched: {extended:?}"
    );
    pair.mute = None;
    traffic(&mut pair, 0, 300, 1);
    assert_eq!(pair.ends[0].mode(), Some(Mode::Adaptive));
    assert!(traffic(&mut pair, 0, 300, 1).into_iter().eq(0..300));
}

#[test]
fn when_reports_stop_bulk_goes_on_within_a_second() {
    let mut pair = up(&Config::default(), &[lab(); 2]);
    traffic(&mut pair, 0, 1_000, 4);
    pair.mute = Some(1);
    let (mut longest, mut since) = (0, 0);
    for step in 0..4_000 {
        pair.delivered[1].clear();
        for packet in 0..4 {
            pair.send(0, &numbered(TCP, 0, 4 * step + packet, 1_000));
        }
        pair.run(1);
        since = if pair.delivered[1].is_empty() { since + 1 } else { 0 };
        longest = longest.max(since);
    }
    assert_eq!(pair.ends[0].mode(), Some(Mode::NoReports));
    assert!(longest < 600, "{longest} ms");
}

#[test]
fn a_path_that_one_end_or_both_do_not_probe_carries_bulk() {
    let config = Config::default();
    for off in [[true, false], [false, true], [true, true]] {
        let mut pair = Pair::with([&config, &config], [lent(1024), lent(1024)], &[lab()]);
        for (end, off) in off.into_iter().enumerate() {
            if off {
                pair.ends[end].remove_path(pair.paths[0][end], pair.now).unwrap();
                let path = PathConfig { liveness: Liveness::Off, ..lab() };
                pair.paths[0][end] = pair.ends[end].add_path(path, pair.now).unwrap();
            }
        }
        pair.run(20);
        assert!(traffic(&mut pair, 0, 1_000, 2).into_iter().eq(0..2_000), "{off:?}");
        let expected = if off == [true; 2] { Mode::PeerCannot } else { Mode::Adaptive };
        assert_eq!(pair.ends[0].mode(), Some(expected), "{off:?}");
    }
}

#[test]
fn a_peer_that_restarts_is_followed_and_measured_anew() {
    let config = Config::default();
    let mut pair = up(&config, &[lab(); 2]);
    for seed in 5..8 {
        traffic(&mut pair, 0, 300, 1);
        pair.ends[1] = Connection::new(Config { seed, ..config.clone() }, lent(1024), pair.now);
        for path in 0..2 {
            pair.paths[path][1] = pair.ends[1].add_path(lab(), pair.now).unwrap();
        }
        pair.run(300);
        let stats = pair.ends[0].stats();
        for from in [0, 1] {
            let came = traffic(&mut pair, from, 500, 1);
            assert!(came.into_iter().eq(0..500), "end {from}");
        }
        assert_eq!(pair.ends[0].stats().rx_bad_reports, stats.rx_bad_reports);
        assert_eq!([0, 1].map(|end| pair.ends[end].mode()), [Some(Mode::Adaptive); 2]);
    }
    let started = pair.events[0].iter().filter(|event| **event == Event::PeerStarted).count();
    assert_eq!(started, 1 + 3);
}

#[test]
fn a_path_removed_and_added_again_at_one_end_under_traffic_is_used_again() {
    for end in [0, 1] {
        let mut pair = up(&Config::default(), &[lab(); 2]);
        traffic(&mut pair, 0, 1_000, 4);
        for step in 0..4_000 {
            if step == 1_000 {
                pair.ends[end].remove_path(pair.paths[0][end], pair.now).unwrap();
                pair.paths[0][end] = pair.ends[end].add_path(lab(), pair.now).unwrap();
            }
            pair.send(0, &numbered(TCP, 0, step, 1000));
            pair.run(u64::from(step % 4 == 3));
        }
        pair.run(300);
        assert_eq!(pair.ends[0].stats().rx_bad_reports, 0, "end {end}");
        assert_eq!(pair.states(0), [PathState::Up; 2]);
        pair.sent.clear();
        assert!(traffic(&mut pair, 0, 1_000, 4).into_iter().eq(0..4_000), "end {end}");
        pair.sent.clear();
        // The other path goes: all must take the one that is new.
        pair.ends[0].set_enabled(pair.paths[1][0], false, pair.now).unwrap();
        pair.drain(0);
        assert!(traffic(&mut pair, 0, 1_000, 4).into_iter().eq(0..4_000), "end {end}");
        let (extended, _) = kinds(&mut pair, 0);
        assert!(extended.iter().filter(|(_, kind)| *kind == Extended::Ordered).all(|(path, _)| *path == 0));
    }
}

#[test]
fn sixteen_packets_of_memory_work_and_what_does_not_fit_is_counted() {
    let config = Config::default();
    let mut pair = Pair::with([&config, &config], [lent(16), lent(16)], &[lab(); 2]);
    pair.run(20);
    assert!(traffic(&mut pair, 0, 300, 1).into_iter().eq(0..300));
    let before = pair.ends[0].stats().tx_dropped;
    let came = traffic(&mut pair, 0, 10, 200);
    let dropped = pair.ends[0].stats().tx_dropped - before;
    assert!(dropped > 0 && came.len() as u64 + dropped >= 2_000, "{} came, {dropped} dropped", came.len());
    assert!(traffic(&mut pair, 0, 300, 1).into_iter().eq(0..300));
}

#[test]
fn a_packet_larger_than_a_slot_or_a_path_goes_by_weight() {
    let mut pair = up(&Config::default(), &[lab(); 2]);
    pair.sent.clear();
    // Fits a datagram as it is, but not with the extension header.
    let len = usize::from(lab().max_datagram) - pair.ends[0].header_len();
    pair.send(0, &numbered(UDP, 0, 1, len));
    assert_eq!(kinds(&mut pair, 0).1, 1);
    pair.send(0, &numbered(UDP, 0, 2, 3_000));
    pair.run(300);
    let came: Vec<u32> = pair.delivered[1].iter().map(|packet| number(packet)).collect();
    assert_eq!(came, [1, 2]);
}

#[test]
fn udp_is_ordered_only_where_that_is_wanted_and_sparse_flows_never() {
    for (protocol, order_udp, ordered) in [(UDP, false, false), (UDP, true, true), (TCP, false, true)] {
        let mut pair = up(&Config { order_udp, ..Config::default() }, &[lab(); 2]);
        traffic(&mut pair, 0, 100, 1);
        pair.run(1_000);
        for (flow, each, sparse) in [(1, 1, false), (2, 50, true)] {
            pair.sent.clear();
            for step in 0..200u32 {
                pair.send(0, &numbered(protocol, flow, step, 1000));
                pair.run(each);
            }
            let (extended, _) = kinds(&mut pair, 0);
            let has_ordered = extended.iter().any(|(_, kind)| *kind == Extended::Ordered);
            assert_eq!(has_ordered, ordered && !sparse, "{protocol} {order_udp} {sparse}");
        }
    }
}

/// A UDP packet that begins as data of WireGuard does, whose length fits.
fn wireguard(flow: u8, number: u32) -> Vec<u8> {
    let mut packet = numbered(UDP, flow, number, 28 + 992);
    packet[28..32].copy_from_slice(&[4, 0, 0, 0]);
    packet
}

#[test]
fn udp_that_says_that_it_is_a_tunnel_is_ordered() {
    let mut pair = up(&Config::default(), &[lab(); 2]);
    traffic(&mut pair, 0, 100, 1);
    pair.run(1_000);
    pair.sent.clear();
    for step in 0..200u32 {
        pair.send(0, &wireguard(1, step));
        pair.run(1);
    }
    let (extended, _) = kinds(&mut pair, 0);
    let ordered = extended.iter().filter(|(_, kind)| *kind == Extended::Ordered).count();
    assert!((185..200).contains(&ordered), "all but the sparse start: {ordered}");
}

#[test]
fn pieces_of_marked_packets_arrive_where_marked_datagrams_do_not() {
    let mut pair = up(&Config::default(), &[lab()]);
    pair.hop = |ecn| (ecn == Ecn::NotEct).then_some(ecn);
    for number in 0..40 {
        let mut packet = numbered(UDP, 1, number, 1_400);
        packet[1] = Ecn::Ect0.bits();
        pair.send(0, &packet);
    }
    // What waits no longer fits.
    let path = pair.paths[0][0];
    pair.ends[0].set_max_datagram(path, 600, pair.now).unwrap();
    pair.run(300);
    assert!(pair.ends[1].stats().rx_reassembled > 10, "{:?}", pair.ends[1].stats());
    assert_eq!(pair.delivered[1].len(), 40);
}

#[test]
fn a_dear_path_carries_nothing_until_the_cheap_one_is_full_or_gone() {
    let tiers = [1, 2].map(|tier| PathConfig { tier, ..lab() });
    let mut pair = up(&Config::default(), &tiers);
    traffic(&mut pair, 0, 500, 1);
    pair.sent.clear();
    assert!(traffic(&mut pair, 0, 1_000, 1).into_iter().eq(0..1_000));
    let carries = |pair: &mut Pair| {
        let (extended, _) = kinds(pair, 0);
        let packets =
            extended.iter().filter(|(_, kind)| matches!(kind, Extended::Ordered | Extended::Unordered));
        packets.fold([0, 0], |mut sum, (path, _)| {
            sum[*path] += 1;
            sum
        })
    };
    assert_eq!(carries(&mut pair), [1_000, 0]);
    traffic(&mut pair, 0, 20, 200);
    let full = carries(&mut pair);
    assert!(full[1] > 100, "{full:?}");
    pair.ends[0].set_enabled(pair.paths[0][0], false, pair.now).unwrap();
    pair.drain(0);
    assert!(traffic(&mut pair, 0, 300, 1).into_iter().eq(0..300));
    assert_eq!(carries(&mut pair), [0, 300]);
}

/// Lets a report arrive at end 0 as if end 1 had made it.
fn forge(pair: &mut Pair, report: &Report) -> Received<'static> {
    let layout = Layout { checksum: false, key: None, sequence: true };
    let body = layout.header_len() + extension::LEN;
    let mut datagram = [0; CONTROL_MAX];
    let len = report.emit(&mut datagram[body..]).unwrap();
    let header = Header { kind: Extended::Report, resent: false, number: 1, stamp: pair.now.stamp() };
    header.emit(&mut datagram[layout.header_len()..]);
    let sequence = pair.ends[1].sender.next_sequence;
    layout.emit(&mut datagram[..body + len], Protocol::Control, sequence);
    pair.carry(1, pair.paths[0][1], &datagram[..body + len], Ecn::NotEct)
}

fn empty(pair: &Pair, count: u32) -> Report {
    Report { instance: pair.ends[1].identity.instance(), count: Seq::from_u32(count), ..Report::default() }
}

/// Bytes that an end has sent since the last call, IPv4 and UDP headers included, in datagrams with this kind of extension header.
fn bytes_sent(pair: &mut Pair, end: usize, kind: Extended) -> u64 {
    let sent = core::mem::take(&mut pair.sent);
    let of = |bytes: &[u8]| header(bytes).is_some_and(|(header, _)| header.kind == kind);
    sent.iter()
        .filter(|(from, _, bytes)| *from == end && of(bytes))
        .map(|(.., bytes)| bytes.len() as u64 + 28)
        .sum()
}

#[test]
fn a_peer_is_sent_no_more_than_it_asks_for_until_it_asks_for_no_less_than_all() {
    let mut pair = up(&Config::default(), &[lab(); 2]);
    // It is told with the first report.
    pair.ends[1].ask(Some(250_000));
    traffic(&mut pair, 0, 100, 1);
    assert_eq!(pair.ends[0].asked(), Some(250_000));
    bytes_sent(&mut pair, 0, Extended::Ordered);
    for ms in 0..1_000 {
        pair.send(0, &numbered(TCP, 0, ms, 1000));
        pair.run(1);
    }
    let sent = bytes_sent(&mut pair, 0, Extended::Ordered);
    assert!((200_000..270_000).contains(&sent), "{sent}");
    pair.ends[1].ask(None);
    pair.run(3_000);
    assert_eq!(pair.ends[0].asked(), None);
    traffic(&mut pair, 0, 200, 1);
    let sent = bytes_sent(&mut pair, 0, Extended::Ordered);
    assert!(sent > 200_000, "{sent}");
}

#[test]
fn who_waits_for_a_turn_keeps_packets_and_sends_all_else() {
    let mut pair = up(&Config::default(), &[lab(); 2]);
    traffic(&mut pair, 0, 100, 1);
    assert!(!pair.ends[0].waits());
    pair.ends[0].set_turn(false);
    bytes_sent(&mut pair, 0, Extended::Ordered);
    for ms in 0..50 {
        pair.send(0, &numbered(TCP, 0, ms, 1000));
        pair.send(1, &numbered(TCP, 1, ms, 1000));
        pair.run(1);
    }
    assert!(pair.ends[0].waits() && pair.delivered[0].len() > 40);
    let reports = pair.sent.iter().filter(|(from, ..)| *from == 0).filter_map(|(.., bytes)| header(bytes));
    assert!(reports.filter(|(header, _)| header.kind == Extended::Report).count() > 3);
    assert_eq!(bytes_sent(&mut pair, 0, Extended::Ordered), 0);
    pair.ends[0].set_turn(true);
    pair.run(100);
    assert!(!pair.ends[0].waits());
    assert!(bytes_sent(&mut pair, 0, Extended::Ordered) > 40_000);
}

#[test]
fn reports_of_another_process_are_dropped() {
    let mut pair = up(&Config::default(), &[lab(); 2]);
    traffic(&mut pair, 0, 100, 1);
    let report = Report { instance: 99, hold: Some(5), ..empty(&pair, 5_000) };
    assert_eq!(forge(&mut pair, &report), Received::Dropped(DropReason::BadControl));
    assert_ne!(pair.ends[0].adaptive().unwrap().state.hold, Some(5));
}

#[test]
fn a_report_that_comes_late_is_not_obeyed() {
    let mut pair = up(&Config::default(), &[lab(); 2]);
    traffic(&mut pair, 0, 100, 1);
    let hold = |pair: &Pair| pair.ends[0].adaptive().unwrap().state.hold;
    let newer = Report { hold: Some(70), ..empty(&pair, 50_000) };
    let older = Report { hold: Some(60), ..empty(&pair, 49_999) };
    assert_eq!((forge(&mut pair, &newer), hold(&pair)), (Received::Consumed, Some(70)));
    assert_eq!((forge(&mut pair, &older), hold(&pair)), (Received::Consumed, Some(70)));
    assert_eq!(pair.ends[0].stats().rx_bad_reports, 0);
}

#[test]
fn a_report_that_claims_what_cannot_be_is_counted_and_changes_nothing() {
    let mut pair = up(&Config::default(), &[lab(); 2]);
    traffic(&mut pair, 0, 300, 1);
    let model = pair.ends[0].path_model(pair.paths[0][0]);
    let ahead = PathReport {
        settled: 700_000,
        packets: 1,
        bytes: 1,
        stamp: pair.now.stamp(),
        ..PathReport::default()
    };
    let report = Report {
        hold: Some(70),
        paths: Vec::from_iter([ahead]).into_iter().collect(),
        ..empty(&pair, 50_000)
    };
    assert_eq!(forge(&mut pair, &report), Received::Dropped(DropReason::BadControl));
    assert_eq!(pair.ends[0].stats().rx_bad_reports, 1);
    assert_eq!(pair.ends[0].path_model(pair.paths[0][0]), model);
    assert_ne!(pair.ends[0].adaptive().unwrap().state.hold, Some(70));
}

#[test]
fn a_count_that_was_made_up_shuts_the_true_reports_out_for_two_seconds_only() {
    let mut pair = up(&Config::default(), &[lab(); 2]);
    traffic(&mut pair, 0, 300, 1);
    let forged = empty(&pair, 0x4000_0000);
    assert_eq!(forge(&mut pair, &forged), Received::Consumed);
    traffic(&mut pair, 0, 4_000, 1);
    assert!(traffic(&mut pair, 0, 1_000, 1).into_iter().eq(0..1_000));
    assert_eq!(pair.ends[0].mode(), Some(Mode::Adaptive));
}

#[test]
fn everything_replayed_delivers_nothing_twice() {
    let mut pair = up(&Config::default(), &[lab(); 2]);
    traffic(&mut pair, 0, 300, 1);
    for (from, path, datagram) in core::mem::take(&mut pair.sent) {
        let id = pair.paths[path][from];
        let _ = pair.carry(from, id, &datagram, Ecn::NotEct);
    }
    assert_eq!(pair.delivered[1].len(), 300);
    assert!(traffic(&mut pair, 0, 300, 1).into_iter().eq(0..300));
    assert_eq!(pair.ends[0].mode(), Some(Mode::Adaptive));
}

#[test]
fn a_packet_is_held_until_its_time_but_never_for_longer_than_half_a_second() {
    for (wait, held_ms) in
        [(40_000, 40), (499_000, 499), (700_000, 0), (2_000_000_000, 0), (3_000_000_000, 0)]
    {
        let mut pair = up(&Config::default(), &[lab()]);
        traffic(&mut pair, 1, 100, 1);
        pair.delivered[0].clear();
        let hold = Report { hold: Some(0), open: 1, ..empty(&pair, 50_000) };
        assert_eq!(forge(&mut pair, &hold), Received::Consumed);
        let layout = Layout { checksum: false, key: None, sequence: true };
        let mut datagram = vec![0; layout.header_len() + extension::LEN];
        datagram.extend_from_slice(&numbered(TCP, 0, 5, 200));
        let stamp = pair.now.stamp().wrapping_add(wait);
        let header = Header { kind: Extended::Ordered, resent: false, number: 9_999, stamp };
        header.emit(&mut datagram[layout.header_len()..]);
        layout.emit(&mut datagram, Protocol::Control, pair.ends[1].sender.next_sequence);
        let (id, began) = (pair.paths[0][1], pair.now);
        let _ = pair.carry(1, id, &datagram, Ecn::NotEct);
        while pair.delivered[0].is_empty() {
            pair.run(1);
            assert!(pair.now.since(began) < Duration::from_secs(1), "{wait}");
        }
        let took = u64::try_from(pair.now.since(began).as_millis()).unwrap();
        assert!(took.abs_diff(held_ms) <= 1, "{wait}: {took} ms");
    }
}

#[test]
fn a_deadline_never_stays_where_it_is_whatever_happens_to_the_paths() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let mut pair = up(&Config::default(), &[lab(); 3]);
        for step in 0..1_500 {
            pair.now = pair.now + Duration::from_micros(rng.below(8_000));
            let (end, path) =
                (usize::try_from(rng.below(2)).unwrap(), usize::try_from(rng.below(3)).unwrap());
            let (id, now) = (pair.paths[path][end], pair.now);
            match rng.below(12) {
                0 => pair.cut.set(path, rng.below(2) == 0),
                1 => pair.ends[end].set_enabled(id, rng.below(3) > 0, now).unwrap(),
                2 => {
                    pair.ends[end].remove_path(id, now).unwrap();
                    pair.paths[path][end] = pair.ends[end].add_path(lab(), now).unwrap();
                }
                3 => pair.mute = (rng.below(3) == 0).then_some(end),
                _ => {
                    for number in 0..u32::try_from(rng.below(40)).unwrap() {
                        let _ = pair.encapsulate(end, &numbered(TCP, 0, number, 1000));
                    }
                }
            }
            for end in 0..2 {
                pair.drain(end);
                pair.ends[end].handle_timeout(pair.now);
                pair.drain(end);
            }
            for end in 0..2 {
                pair.ends[end].handle_timeout(pair.now);
                pair.drain(end);
                let next = pair.ends[end].poll_timeout();
                assert!(next.is_none_or(|next| next > pair.now), "seed {seed}, step {step}: {next:?}");
            }
        }
    }
}

#[test]
fn memory_that_served_a_connection_serves_another_as_if_it_were_new() {
    let run = |storage| {
        let mut pair = Pair::with([&Config::default(); 2], storage, &[lab(); 2]);
        pair.run(20);
        traffic(&mut pair, 0, 100, 3);
        // What is lost and what waits leaves traces.
        pair.cut.insert(0);
        traffic(&mut pair, 0, 100, 3);
        (core::mem::take(&mut pair.sent), pair.ends.map(Connection::into_storage))
    };
    let (first, used) = run([lent(1024), lent(1024)]);
    let (second, _) = run(used);
    assert!(first.len() > 1000);
    assert_eq!(first, second);
}
