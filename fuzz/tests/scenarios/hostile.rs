//! Networks that duplicate, corrupt and replay; peers that are not who they should be; numbers that wrap.

use std::collections::VecDeque;

use mpt_fuzz::link::LinkConfig;
use mpt_fuzz::packet::Stamp;
use mpt_fuzz::pair::{A, B, Memory, Pair, Sizes};
use mpt_fuzz::rng::{Rng, test_seed};
use mpt_proto::Seq;
use mpt_proto::wire::control::{Features, Kind, Message};
use mpt_proto::wire::gre::{Layout, Protocol};
use mpt_proto::{Config, DownReason, DropReason, Ecn, PathState};

use crate::{MS, SECOND, bring_up, delay, dropped, dropped_for, lab, taken, unprobed, waiting, weighted};

const NUMBERED: Layout = Layout { checksum: false, key: None, sequence: true };

/// A datagram as another implementation would send it.
fn datagram(layout: Layout, number: u32, packet: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0; layout.header_len()];
    datagram.extend_from_slice(packet);
    layout.emit(&mut datagram, Protocol::Ipv4, Seq::from_u32(number));
    datagram
}

/// A control message of a made-up peer.
fn control(message: &Message) -> Vec<u8> {
    let layout = Layout { sequence: false, ..NUMBERED };
    let mut datagram = vec![0; layout.header_len()];
    datagram.extend_from_slice(&message.emit());
    layout.emit(&mut datagram, Protocol::Control, Seq::ZERO);
    datagram
}

const FORGED: Message = Message {
    kind: Kind::Probe,
    path: 0,
    hears: 0,
    instance: 0x0bad_cafe,
    count: Seq::from_u32(1),
    next: Seq::from_u32(0x4000_0000),
    stamp: 0,
    arrived: None,
    features: Features(0),
    mtu: 0,
    extension: None,
};

#[test]
fn duplicates_made_by_the_network_are_dropped_and_every_datagram_is_accounted_for() {
    let link = LinkConfig { duplicate: 300_000, jitter: MS * 5 / 2, ..delay(MS * 15 / 2) };
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(60), &weighted(), &[lab(link); 3], &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS, 1000, 4 * SECOND);
    pair.run(5 * SECOND);
    assert!(pair.log(B).serials().eq(0..4000));
    assert!((1000..1400).contains(&dropped_for(&pair, B, DropReason::Duplicate)));
    for end in [A, B] {
        assert_eq!(taken(&pair, end) + dropped(&pair, end), pair.arrived(end));
    }
}

#[test]
fn no_corrupted_packet_is_delivered_with_checksums_and_every_datagram_is_accounted_for() {
    let link = LinkConfig { corrupt: 100_000, ..delay(5 * MS) };
    let config = Config { checksum: true, key: Some(0xfeed), ..waiting(SECOND) };
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(61), &config, &[lab(link); 2], &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS / 2, 400, 10 * SECOND);
    pair.run(12 * SECOND);
    let log = pair.log(B);
    assert_eq!(log.broken(), 0);
    assert!(log.is_in_order());
    assert!((17_000..19_000).contains(&log.len()), "{} of 20,000", log.len());
    assert!(dropped_for(&pair, B, DropReason::BadChecksum) > 1500);
    for end in [A, B] {
        assert_eq!(taken(&pair, end) + dropped(&pair, end), pair.arrived(end));
    }
}

#[test]
fn garbage_is_dropped_counted_and_disturbs_nothing() {
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(62), &weighted(), &[lab(delay(5 * MS)); 2], &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS, 500, 2 * SECOND);
    let mut rng = Rng::new(test_seed(62));
    for _ in 0..2000 {
        pair.run(MS);
        let len = rng.index(200);
        // Bytes that set a reserved bit or a version, as nearly all random ones do.
        let mut garbage = rng.bytes(len);
        if let Some(first) = garbage.first_mut() {
            *first |= 0x40;
        }
        pair.inject(B, rng.index(2), garbage, Ecn::Ce);
    }
    pair.run(SECOND);
    assert!(pair.log(B).serials().eq(0..2000));
    assert_eq!(dropped(&pair, B), 2000);
    assert_eq!(taken(&pair, B) + dropped(&pair, B), pair.arrived(B));
}

#[test]
fn a_peer_with_another_key_gets_nowhere() {
    let mut memory = Memory::default();
    let configs = [Some(1), Some(2)].map(|key| Config { key, ..weighted() });
    let mut pair = Pair::new(test_seed(63), configs, &[lab(delay(5 * MS)); 2], &mut memory);
    pair.run(SECOND);
    pair.send(A, MS, 500, SECOND);
    pair.run(2 * SECOND);
    assert_eq!(pair.states(0), [PathState::Down(DownReason::Unheard); 2]);
    assert_eq!(pair.offered(A), (1000, 1000), "refused: no path is up");
    assert!(pair.log(B).is_empty());
    for end in [A, B] {
        assert_eq!(dropped_for(&pair, end, DropReason::WrongKey), pair.arrived(end));
    }
}

#[test]
fn rfc2890_2_2_numbers_that_wrap_in_the_midst_of_traffic_are_not_noticed() {
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(64), &waiting(SECOND), &[unprobed(delay(MS)); 2], &mut memory);
    let mut rng = Rng::new(test_seed(64));
    let first = u32::MAX - 1000;
    // Two paths: the numbers of each in order, the second lagging behind.
    let mut queues = [VecDeque::new(), VecDeque::new()];
    for serial in 0..4000u64 {
        let stamp = Stamp { serial, sent: pair.now() };
        let number = first.wrapping_add(u32::try_from(serial).unwrap());
        let path = if serial == 0 { 0 } else { rng.index(2) };
        queues[path].push_back(datagram(NUMBERED, number, &stamp.packet(200, Ecn::NotEct)));
        pair.run(MS);
        let lag = queues[1].len() > 20;
        for path in [0, 1].into_iter().filter(|path| *path == 0 || lag) {
            if let Some(datagram) = queues[path].pop_front() {
                pair.inject(B, path, datagram, Ecn::NotEct);
            }
        }
    }
    for datagram in queues.into_iter().flatten() {
        pair.inject(B, 1, datagram, Ecn::NotEct);
    }
    assert!(pair.log(B).serials().eq(0..4000), "{} of 4,000", pair.log(B).len());
    assert_eq!(pair.end(B).stats().rx_lost, 0);
}

#[test]
fn replayed_datagrams_are_not_delivered_again() {
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(65), &weighted(), &[unprobed(delay(MS))], &mut memory);
    let all: Vec<Vec<u8>> = (0..50)
        .map(|serial| {
            let stamp = Stamp { serial, sent: pair.now() };
            datagram(NUMBERED, u32::try_from(serial).unwrap(), &stamp.packet(200, Ecn::NotEct))
        })
        .collect();
    for _ in 0..20 {
        for datagram in &all {
            pair.inject(B, 0, datagram.clone(), Ecn::NotEct);
        }
    }
    assert!(pair.log(B).serials().eq(0..50));
    assert_eq!(dropped_for(&pair, B, DropReason::Duplicate), 19 * 50);
}

/// Runs traffic both ways, lets `harm` be done, and expects that the tunnel works again a second later.
fn recovers_from(seed: u64, harm: impl Fn(&mut Pair)) {
    let mut memory = Memory::new(Sizes::default(), 1);
    let mut pair = Pair::symmetric(seed, &weighted(), &[lab(delay(10 * MS)); 2], &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS, 500, 4 * SECOND);
    pair.send(B, MS, 500, 4 * SECOND);
    pair.run(SECOND);
    harm(&mut pair);
    pair.run(SECOND);
    let since = pair.now();
    assert!(pair.all_up(), "{:?}", pair.states(0));
    pair.run(SECOND);
    for end in [A, B] {
        let delivered = pair.log(end).since(since);
        assert!(delivered.len() > 950, "end {end} got {} of 1,000", delivered.len());
        assert!(delivered.is_in_order());
    }
}

#[test]
fn a_single_number_from_far_ahead_does_not_stop_the_tunnel_for_good() {
    recovers_from(test_seed(66), |pair| {
        let stamp = Stamp { serial: u64::MAX, sent: pair.now() };
        let forged = datagram(NUMBERED, 0x4000_0000, &stamp.packet(100, Ecn::NotEct));
        pair.inject(B, 0, forged, Ecn::NotEct);
    });
}

#[test]
fn a_single_forged_control_message_does_not_stop_the_tunnel_for_good() {
    recovers_from(test_seed(67), |pair| pair.inject(B, 0, control(&FORGED), Ecn::NotEct));
}

#[test]
fn packets_of_a_former_process_that_come_after_its_restart_do_not_stop_the_tunnel_for_good() {
    recovers_from(test_seed(68), |pair| {
        pair.restart(A);
        pair.run(50 * MS);
        // Longer on its way than the new process took to start.
        let stamp = Stamp { serial: 999, sent: pair.now() };
        pair.inject(B, 0, datagram(NUMBERED, 500_000, &stamp.packet(500, Ecn::NotEct)), Ecn::NotEct);
    });
}
