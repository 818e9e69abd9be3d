//! Flows with a path of their own under the adaptive policy: by pins, and by rules.

use super::adaptive::{TCP, header, kinds, number, numbered, traffic, up};
use super::*;
use crate::adaptive::{ClassRule, Travel};
use crate::schedule::{Pin, Pins, PortMatch};
use crate::wire::extension::Kind as Extended;

/// The ports of [`numbered`] belong to path 1, by a pin and by a rule.
fn configs() -> [Config; 2] {
    let mut pins = Pins::new();
    pins.insert(Pin { port_match: PortMatch::TcpSource, port: 200 << 8, path: 1 }).unwrap();
    let mut classes = crate::ClassRules::new();
    let ports = Some((200 << 8, 200 << 8));
    let rule =
        ClassRule { protocol: None, ports, dscp: None, network: None, travel: Travel::Path(1), tier: None };
    classes.push(rule).unwrap();
    [Config { pins, ..Config::default() }, Config { classes, ..Config::default() }]
}

/// Sends a packet, and lets what may leave do so without any time passing; the paths of the datagrams that carry it.
fn sent_at_once(pair: &mut Pair, packet: &[u8]) -> Vec<usize> {
    let before = pair.sent.len();
    assert_eq!(pair.send(0, packet), [] as [usize; 0]);
    pair.drain(0);
    let carries = |bytes: &[u8]| match header(bytes) {
        Some((header, body)) => header.kind == Extended::Unordered && body == packet,
        None => gre::parse(bytes).is_ok_and(|header| header.protocol == Protocol::Fragment),
    };
    let sent = pair.sent[before..].iter().filter(|(from, _, bytes)| *from == 0 && carries(bytes));
    sent.map(|(_, path, _)| *path).collect()
}

#[test]
fn they_leave_at_once_on_their_path_and_others_wait_for_their_turn() {
    for config in configs() {
        let mut pair = up(&config, &[lab(); 2]);
        pair.sent.clear();
        for number in 0..50 {
            assert_eq!(sent_at_once(&mut pair, &numbered(TCP, 0, number, 1000)), [1]);
            pair.send(0, &numbered(TCP, 1, number, 1000));
        }
        let unordered = kinds(&mut pair, 0).0.into_iter().filter(|(_, kind)| *kind == Extended::Unordered);
        assert!(unordered.filter(|(path, _)| *path == 1).count() >= 50);
        pair.run(100);
        assert_eq!(pair.delivered[1].len(), 100);
        let stats = pair.ends[0].stats();
        assert_eq!((stats.tx_packets, pair.ends[1].stats().rx_packets), (100, 100));
    }
}

#[test]
fn what_their_path_loses_holds_nobody_up() {
    for config in configs() {
        let mut pair = up(&config, &[lab(); 2]);
        traffic(&mut pair, 0, 100, 1);
        pair.delivered[1].clear();
        pair.cut = PathSet::of(1);
        assert_eq!(sent_at_once(&mut pair, &numbered(TCP, 0, 0, 1000)), [1]);
        pair.cut = PathSet::default();
        for next in 1..4 {
            sent_at_once(&mut pair, &numbered(TCP, 0, next, 1000));
            let last = pair.delivered[1].last().map(|packet| number(packet));
            assert_eq!(last, Some(next), "in the same moment");
        }
    }
}

#[test]
fn what_their_path_loses_is_not_sent_again() {
    for config in configs() {
        let mut pair = up(&config, &[lab(); 2]);
        traffic(&mut pair, 0, 100, 1);
        pair.delivered[1].clear();
        pair.cut = PathSet::of(1);
        sent_at_once(&mut pair, &numbered(TCP, 0, 0, 1000));
        pair.cut = PathSet::default();
        for next in 1..100 {
            sent_at_once(&mut pair, &numbered(TCP, 0, next, 1000));
            pair.run(1);
        }
        pair.run(500);
        let came: Vec<u32> = pair.delivered[1].iter().map(|packet| number(packet)).collect();
        assert_eq!(came, (1..100).collect::<Vec<_>>());
        let lost = pair.ends[0].path_model(pair.paths[1][0]).unwrap().lost;
        assert_eq!((lost, pair.ends[0].stats().tx_resent), (1, 0));
    }
}

#[test]
fn while_their_path_is_down_they_take_the_others() {
    for config in configs() {
        let mut pair = up(&config, &[lab(); 2]);
        let (path, now) = (pair.paths[1][0], pair.now);
        pair.ends[0].set_enabled(path, false, now).unwrap();
        assert_eq!(traffic(&mut pair, 0, 50, 1), (0..50).collect::<Vec<_>>());
        let now = pair.now;
        pair.ends[0].set_enabled(path, true, now).unwrap();
        pair.run(100);
        assert_eq!(sent_at_once(&mut pair, &numbered(TCP, 0, 0, 1000)), [1]);
    }
}

#[test]
fn one_that_floods_its_path_keeps_others_off_it_no_longer_than_it_floods() {
    for config in configs() {
        let mut pair = up(&config, &[lab(); 2]);
        // 800 Mbit/s, where nothing was measured yet.
        for number in 0..10_000 {
            pair.send(0, &numbered(TCP, 0, number, 1000));
            if number % 100 == 99 {
                pair.run(1);
            }
        }
        pair.sent.clear();
        pair.run(50);
        assert!(traffic(&mut pair, 1, 1, 1).into_iter().eq(0..1));
        pair.sent.clear();
        for number in 0..200 {
            pair.send(0, &numbered(TCP, 1, number, 1000));
            pair.run(1);
        }
        let ordered = pair.sent.iter().filter(|(from, path, bytes)| {
            *from == 0 && *path == 1 && header(bytes).is_some_and(|(it, _)| it.kind == Extended::Ordered)
        });
        assert!(ordered.count() > 20);
    }
}

#[test]
fn one_that_is_too_large_for_its_path_leaves_on_it_in_pieces() {
    for config in configs() {
        let narrow = PathConfig { max_datagram: 600, ..lab() };
        let mut pair = up(&config, &[lab(), narrow]);
        assert_eq!(sent_at_once(&mut pair, &numbered(TCP, 0, 7, 1000)), [1, 1]);
        pair.run(100);
        assert_eq!(pair.delivered[1].iter().map(|packet| number(packet)).collect::<Vec<_>>(), [7]);
    }
}
