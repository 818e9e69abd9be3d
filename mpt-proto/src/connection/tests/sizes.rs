//! The search for what a path carries, between two connections.

use super::adaptive::{TCP, lent, numbered};
use super::*;
use crate::connection::sizes::{PathSizes, SearchSizeError, Unsent};

const LEAST: u16 = 548;
const CEILING: u16 = 1452;

fn with_sizes(storage: Storage<'static>) -> Storage<'static> {
    storage.with_path_sizes(Box::leak(Box::<PathSizes<2>>::default()))
}

/// Two ends with so many paths, of which the first is searched by the first end.
fn searched(paths: usize, mtu: usize, storages: [Storage<'static>; 2]) -> Pair {
    let config = Config::default();
    let mut pair = Pair::with([&config; 2], storages.map(with_sizes), &vec![lab(); paths]);
    pair.mtu = mtu;
    let path = pair.paths[0][0];
    pair.ends[0].search_size(path, LEAST, 7, pair.now).unwrap();
    pair
}

/// Sizes of the large control datagrams that an end has sent on path 0 since the last call.
fn probes(pair: &mut Pair, end: usize) -> Vec<usize> {
    let sent = core::mem::take(&mut pair.sent);
    let sent = sent.iter().filter(|(from, path, bytes)| (*from, *path) == (end, 0) && bytes.len() > 400);
    sent.map(|(.., bytes)| bytes.len()).collect()
}

fn size(pair: &Pair) -> (u16, bool) {
    let path = pair.paths[0][0];
    (pair.ends[0].max_datagram(path).unwrap(), pair.ends[0].seeks_size(path).unwrap())
}

fn told(pair: &Pair) -> Vec<(u16, bool)> {
    let sizes = pair.events[0].iter().filter_map(|event| match event {
        Event::PathSize { size, is_found, .. } => Some((*size, *is_found)),
        _ => None,
    });
    sizes.collect()
}

#[test]
fn a_path_that_carries_what_its_interface_does_costs_one_probe_and_nothing_is_told() {
    let config = Config::default();
    let mut pair = Pair::with([&config; 2], [storage(), storage()].map(with_sizes), &[PathConfig::default()]);
    pair.ends[0].search_size(pair.paths[0][0], LEAST, 7, pair.now).unwrap();
    pair.run(20);
    assert_eq!(size(&pair), (CEILING, false));
    assert_eq!((probes(&mut pair, 0), told(&pair)), (vec![usize::from(CEILING)], vec![]));
    pair.run(30_000);
    assert_eq!((probes(&mut pair, 0), probes(&mut pair, 1)), (vec![], vec![]), "an idle path");
}

#[test]
fn a_probe_of_the_size_of_a_jumbo_frame_is_no_use_of_the_path_that_would_be_probed_for_it() {
    const JUMBO: u16 = 8_972;
    let (config, path) = (Config::default(), PathConfig { max_datagram: JUMBO, ..PathConfig::default() });
    let mut pair = Pair::with([&config; 2], [storage(), storage()].map(with_sizes), &[path]);
    pair.ends[0].search_size(pair.paths[0][0], LEAST, 7, pair.now).unwrap();
    pair.run(60_000);
    assert_eq!(probes(&mut pair, 0), [usize::from(JUMBO)]);
}

#[test]
fn memory_for_searches_that_served_another_connection_is_as_new() {
    let mut sizes = PathSizes::<1>::default();
    let now = Instant::from_micros(1);
    for _ in 0..2 {
        let storage = Storage::none().with_path_sizes(&mut sizes);
        let mut connection = Connection::new(Config::default(), storage, now);
        let path = connection.add_path(PathConfig::default(), now).unwrap();
        assert_eq!(connection.seeks_size(path), Ok(false), "nobody asked for it");
        connection.search_size(path, LEAST, 7, now).unwrap();
        assert_eq!(connection.seeks_size(path), Ok(true));
    }
}

#[test]
fn a_smaller_size_is_found_and_told_and_large_packets_are_split_for_it() {
    let mut pair = searched(1, 1200, [storage(), storage()]);
    pair.run(5_000);
    let (found, seeks) = size(&pair);
    assert!((1193..=1200).contains(&found) && !seeks, "{found}");
    let told = told(&pair);
    assert_eq!(told[told.len() - 1], (found, true), "{told:?}");
    assert_eq!(told.iter().filter(|(_, is_found)| *is_found).count(), 1);
    let sizes = probes(&mut pair, 0);
    assert!((10..50).contains(&sizes.len()), "{sizes:?}");
    pair.send(0, &packet(1400, 9));
    assert!(pair.delivered[1] == [packet(1400, 9)]);
    assert_eq!(pair.ends[0].path_rtt(pair.paths[0][0]), Ok(Some(Duration::ZERO)), "no stamp is a time");
    assert_eq!(size(&pair).0, found);
}

#[test]
fn a_size_that_the_caller_says_cannot_leave_is_given_up_at_once_and_what_else_is_in_the_way_is_not() {
    for why in [Unsent::TooLarge, Unsent::Otherwise] {
        let mut pair = searched(1, usize::MAX, [storage(), storage()]);
        pair.refuses = Some((1000, why));
        pair.run(100);
        match why {
            Unsent::TooLarge => assert!((993..=1000).contains(&size(&pair).0), "{:?}", size(&pair)),
            Unsent::Otherwise => assert_eq!(size(&pair), (CEILING, true)),
        }
        pair.refuses = None;
        pair.run(2_000);
        let found = size(&pair);
        assert!(!found.1 && (why == Unsent::TooLarge || found.0 == CEILING), "{found:?}");
        pair.ends[0].handle_unsent(pair.paths[0][0], why, pair.now).unwrap();
        pair.drain(0);
        assert_eq!(size(&pair), found, "no probe is under way");
    }
}

#[test]
fn another_size_of_the_interface_begins_the_search_anew() {
    let mut pair = searched(1, 1200, [storage(), storage()]);
    let path = pair.paths[0][0];
    pair.run(5_000);
    pair.ends[0].set_max_datagram(path, 1100, pair.now).unwrap();
    pair.drain(0);
    assert_eq!(size(&pair), (1100, false), "its probe was answered at once");
    pair.ends[0].set_max_datagram(path, 1400, pair.now).unwrap();
    assert_eq!(size(&pair), (1400, true));
    pair.run(5_000);
    assert!((1193..=1200).contains(&size(&pair).0));
}

#[test]
fn a_path_that_is_down_is_not_probed_and_what_comes_to_its_place_is_not_searched() {
    let mut pair = searched(2, usize::MAX, [storage(), storage()]);
    pair.run(20);
    let path = pair.paths[0][0];
    pair.ends[0].set_enabled(path, false, pair.now).unwrap();
    pair.ends[0].set_max_datagram(path, 1400, pair.now).unwrap();
    pair.drain(0);
    probes(&mut pair, 0);
    pair.run(2_000);
    assert_eq!(probes(&mut pair, 0), vec![]);
    pair.ends[0].set_enabled(path, true, pair.now).unwrap();
    pair.run(1_000);
    assert_eq!(probes(&mut pair, 0), vec![1400]);

    pair.ends[0].remove_path(path, pair.now).unwrap();
    pair.paths[0][0] = pair.ends[0].add_path(lab(), pair.now).unwrap();
    pair.run(20_000);
    assert_eq!((pair.states(0), probes(&mut pair, 0)), ([PathState::Up; 2], vec![]));
    assert_eq!(pair.ends[0].seeks_size(path), Err(UnknownPath));
}

#[test]
fn echoes_with_other_stamps_and_of_others_than_the_peer_are_no_proof() {
    let mut pair = searched(1, 1200, [storage(), storage()]);
    pair.run(20);
    let probe =
        pair.sent.iter().find(|(from, _, bytes)| *from == 0 && bytes.len() > 1400).cloned().unwrap().2;
    let header = gre::parse(&probe).unwrap();
    let probe = Message::parse(&probe[header.len..]).unwrap();
    let peer = pair.ends[1].identity.instance();
    for (instance, stamp) in [(peer, probe.stamp ^ 1), (peer ^ 1, probe.stamp)] {
        let echo = Message { kind: Kind::Echo, instance, stamp, count: Seq::from_u32(1000), ..probe };
        let mut datagram = [&[0, 0, 0x88, 0xb5][..], &echo.emit()].concat();
        let _ = pair.ends[0].decapsulate(pair.paths[0][0], &mut datagram, Ecn::NotEct, pair.now).unwrap();
        pair.drain(0);
    }
    pair.run(5_000);
    assert!(size(&pair).0 <= 1200, "{:?}", size(&pair));
}

#[test]
fn a_doubt_of_the_adaptive_policy_is_answered_by_the_search_and_not_told() {
    let config = Config { policy: Policy::Adaptive, ..Config::default() };
    let storages = [lent(1024), lent(1024)].map(with_sizes);
    let mut pair = Pair::with([&config; 2], storages, &[lab(), lab()]);
    pair.ends[0].search_size(pair.paths[0][0], LEAST, 7, pair.now).unwrap();
    let large = |number| numbered(TCP, 0, number, 1400);
    let traffic = |pair: &mut Pair, ms: u32| {
        for number in 0..ms {
            pair.send(0, &large(number));
            pair.run(1);
        }
    };
    pair.run(20);
    traffic(&mut pair, 1_000);
    pair.mtu = 1200;
    traffic(&mut pair, 4_000);
    assert!((1193..=1200).contains(&size(&pair).0) && !size(&pair).1, "{:?}", size(&pair));
    let path = pair.paths[0][0];
    assert!(!pair.events[0].contains(&Event::LargeLost { path }), "{:?}", pair.events[0]);
    pair.delivered[1].clear();
    traffic(&mut pair, 100);
    pair.run(200);
    assert_eq!(pair.delivered[1].len(), 100);
}

#[test]
fn what_cannot_be_searched_is_refused() {
    let mut pair = Pair::new(&Config::default(), &[lab()]);
    let path = pair.paths[0][0];
    let mut search = |path| pair.ends[0].search_size(path, LEAST, 7, pair.now);
    assert_eq!(search(path), Err(SearchSizeError::NoMemory), "none was lent");

    let off = PathConfig { liveness: Liveness::Off, ..lab() };
    let config = Config::default();
    let mut pair = Pair::with([&config; 2], [storage(), storage()].map(with_sizes), &[lab(), off, lab()]);
    let paths: Vec<PathId> = pair.ends[0].paths().collect();
    let results = [0, 1, 2].map(|path| pair.ends[0].search_size(paths[path], LEAST, 7, pair.now));
    assert_eq!(results, [Ok(()), Err(SearchSizeError::NotProbed), Err(SearchSizeError::NoMemory)]);
    pair.ends[0].remove_path(paths[0], pair.now).unwrap();
    assert_eq!(pair.ends[0].search_size(paths[0], LEAST, 7, pair.now), Err(SearchSizeError::UnknownPath));
}

#[test]
fn memory_that_served_another_connection_has_no_searches() {
    let mut pair = searched(1, usize::MAX, [storage(), storage()]);
    pair.run(20);
    let [used, _] = pair.ends;
    let mut connection = Connection::new(Config::default(), used.into_storage(), pair.now);
    let path = connection.add_path(lab(), pair.now).unwrap();
    assert_eq!(connection.seeks_size(path), Ok(false));
    assert_eq!(connection.search_size(path, LEAST, 7, pair.now), Ok(()));
    assert_eq!(connection.seeks_size(path), Ok(true));
}
