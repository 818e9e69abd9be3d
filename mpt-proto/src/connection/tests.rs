use core::time::Duration;

use super::*;
use crate::adaptive::{FlowSlot, PacketSlot};
use crate::config::{Liveness, PathConfig, Probing};
use crate::connection::flow_pins::FlowPin;
use crate::ecn::Ecn;
use crate::path::{DownReason, EcnFault, PathId, PathState};
use crate::path_set::PathSet;
use crate::reassembly::ReassemblySlot;
use crate::reorder::ReorderConfig;
use crate::reorder::ReorderSlot;
use crate::wire::HEADROOM;
use crate::wire::checksum;
use crate::wire::ip;
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

mod adaptive;
mod flow_pins;
mod named;
mod pair;
mod sizes;

use pair::{MS, Pair, lab, packet, storage};

#[test]
fn both_ends_come_up_and_know_round_trip_times() {
    let pair = Pair::up(&Config::default(), 4);
    for end in 0..2 {
        assert!(pair.ends[end].peer_is_mpt());
        assert_eq!(pair.ends[end].path_rtt(pair.paths[0][end]), Ok(Some(Duration::ZERO)));
        assert_eq!(pair.events[end].iter().filter(|event| **event == Event::PeerStarted).count(), 1);
        assert_eq!(pair.events[end].len(), 1 + 4);
    }
}

#[test]
fn packets_take_the_paths_in_turn_and_arrive_in_order() {
    let mut pair = Pair::up(&Config::default(), 3);
    let taken: Vec<usize> = (0..6).flat_map(|mark| pair.send(0, &packet(100, mark))).collect();
    assert_eq!(taken, [0, 1, 2, 0, 1, 2]);
    assert_eq!(pair.delivered[1], (0..6).map(|mark| packet(100, mark)).collect::<Vec<_>>());
    assert_eq!(pair.ends[0].stats().tx_packets, 6);
    assert_eq!(pair.ends[1].stats().rx_bytes, 600);
}

#[test]
fn without_a_path_that_is_up_packets_are_refused_and_counted() {
    let mut pair = Pair::new(&Config::default(), &[lab()]);
    assert_eq!(pair.encapsulate(0, &packet(100, 0)), Err(EncapsulateError::NoPath));
    assert_eq!(pair.ends[0].stats().tx_no_path, 1);
}

#[test]
fn without_a_queue_what_is_more_than_the_limit_is_refused_and_counted_until_there_is_another_one() {
    let mut pair = Pair::up(&Config { limit: 125_000, ..Config::default() }, 1);
    let sent = (0..100).filter(|_| pair.encapsulate(0, &packet(1_000, 0)).is_ok()).count();
    // What a burst may have.
    assert_eq!(sent, 33);
    assert_eq!(pair.encapsulate(0, &packet(1_000, 0)), Err(EncapsulateError::Limited));
    assert_eq!(pair.ends[0].stats().tx_limited, 68);
    pair.ends[0].set_limit(0);
    assert!((0..100).all(|_| pair.encapsulate(0, &packet(1_000, 0)).is_ok()));
}

#[test]
fn what_is_not_an_ip_packet_is_refused() {
    let mut pair = Pair::up(&Config::default(), 1);
    assert_eq!(pair.encapsulate(0, &[]), Err(EncapsulateError::NotIp));
    assert_eq!(pair.encapsulate(0, &[0x25; 40]), Err(EncapsulateError::NotIp));
    assert!(matches!(pair.ends[0].encapsulate(&mut [0x45; 8], pair.now), Err(EncapsulateError::NotIp)));
}

#[test]
fn a_silent_cut_takes_the_path_down_at_both_ends_within_the_dead_time_and_back_after() {
    let mut pair = Pair::up(&Config::default(), 2);
    // In use, so that the short interval holds.
    for mark in 0..20 {
        pair.send(0, &packet(100, mark));
        pair.send(1, &packet(100, mark));
    }
    pair.cut = PathSet::of(1);
    pair.run(170);
    let down = |state| matches!(state, PathState::Down(DownReason::Silent | DownReason::Deaf));
    assert!(pair.states(1).into_iter().all(down), "{:?}", pair.states(1));
    assert_eq!(pair.states(0), [PathState::Up; 2]);
    assert_eq!([(); 3].map(|()| pair.send(0, &packet(100, 0))), [[0], [0], [0]]);
    pair.cut = PathSet::default();
    pair.run(150);
    assert_eq!(pair.states(1), [PathState::Up; 2]);
    assert_eq!(pair.ends[0].path_stats(pair.paths[1][0]).unwrap().downs, 1);
}

#[test]
fn a_path_that_was_dead_for_long_is_back_soon_where_packets_leave_and_probed_seldom_where_none_do() {
    for traffic in [false, true] {
        let probing = Probing { idle: Duration::from_secs(60), ..Probing::LAB };
        let path = PathConfig { liveness: Liveness::Probe(probing), ..lab() };
        let mut pair = Pair::new(&Config::default(), &[path; 2]);
        pair.run(20);
        let run = |pair: &mut Pair, ms: u64| {
            for _ in 0..ms / 20 {
                if traffic {
                    pair.send(0, &packet(100, 0));
                }
                pair.run(20);
            }
        };
        pair.send(0, &packet(100, 0));
        pair.cut = PathSet::of(1);
        run(&mut pair, 70_000);
        let probes = |pair: &Pair| pair.ends[0].path_stats(pair.paths[1][0]).unwrap().probes;
        let before = probes(&pair);
        run(&mut pair, 30_000);
        let in_30_s = probes(&pair) - before;
        assert!(if traffic { (24..=40).contains(&in_30_s) } else { in_30_s <= 2 }, "{in_30_s}");
        pair.cut = PathSet::default();
        run(&mut pair, 1_300);
        assert_eq!(pair.states(1)[0] == PathState::Up, traffic);
        // Traffic begins: what came back meanwhile is known soon.
        pair.send(0, &packet(100, 0));
        pair.run(1_300);
        assert_eq!(pair.states(1), [PathState::Up; 2]);
    }
}

#[test]
fn a_path_that_works_one_way_only_is_left_by_both_ends() {
    let mut pair = Pair::up(&Config::default(), 2);
    let mut buffer = [0; CONTROL_MAX];
    // What end 0 sends on path 1 is lost; all else arrives.
    for _ in 0..400 {
        pair.now = pair.now + MS;
        for end in 0..2 {
            pair.ends[end].handle_timeout(pair.now);
            while let Some(departure) = pair.ends[end].poll_transmit(&mut buffer) {
                let (path, mut datagram) = (departure.path, departure.datagram.to_vec());
                if end == 1 || path.index() != 1 {
                    let arrival = pair.paths[path.index()][1 - end];
                    let _ = pair.ends[1 - end].decapsulate(arrival, &mut datagram, Ecn::NotEct, pair.now);
                }
            }
        }
    }
    assert_eq!(pair.states(1), [PathState::Down(DownReason::Deaf), PathState::Down(DownReason::Silent)]);
}

#[test]
fn a_path_disabled_at_one_end_is_left_by_the_other_at_once() {
    let mut pair = Pair::up(&Config::default(), 2);
    pair.ends[0].set_enabled(pair.paths[0][0], false, pair.now).unwrap();
    pair.drain(0);
    assert_eq!(pair.states(0), [PathState::Down(DownReason::Disabled), PathState::Down(DownReason::Deaf)]);
    assert_eq!(pair.send(1, &packet(100, 0)), [1]);
    pair.ends[0].set_enabled(pair.paths[0][0], true, pair.now).unwrap();
    pair.run(120);
    assert_eq!(pair.states(0), [PathState::Up; 2]);
}

#[test]
fn a_link_that_goes_and_comes_takes_its_path_along() {
    let mut pair = Pair::up(&Config::default(), 2);
    pair.ends[0].handle_link(pair.paths[1][0], Link::Down, pair.now).unwrap();
    pair.drain(0);
    assert_eq!(pair.states(1)[0], PathState::Down(DownReason::Link));
    assert_eq!(pair.send(0, &packet(100, 0)), [0]);
    pair.ends[0].handle_link(pair.paths[1][0], Link::Up, pair.now).unwrap();
    pair.run(120);
    assert_eq!(pair.states(1), [PathState::Up; 2]);
}

#[test]
fn the_id_of_a_removed_path_is_an_error_and_never_another_path() {
    let mut pair = Pair::up(&Config::default(), 1);
    let old = pair.paths[0][0];
    pair.ends[0].remove_path(old, pair.now).unwrap();
    let new = pair.ends[0].add_path(lab(), pair.now).unwrap();
    assert_eq!(new.index(), old.index());
    assert_eq!(pair.ends[0].path_state(old), Err(UnknownPath));
    assert_eq!(pair.ends[0].remove_path(old, pair.now), Err(UnknownPath));
    assert_eq!(pair.ends[0].decapsulate(old, &mut [0; 4], Ecn::NotEct, pair.now), Err(UnknownPath));
}

#[test]
fn there_is_room_for_16_paths_and_a_17th_changes_nothing() {
    let mut pair = Pair::new(&Config::default(), &[lab(); 16]);
    assert_eq!(pair.ends[0].add_path(lab(), pair.now), Err(AddPathError::Full));
    assert_eq!(pair.ends[0].paths().count(), 16);
    let weightless = PathConfig { weight: 0, ..lab() };
    assert_eq!(pair.ends[0].add_path(weightless, pair.now), Err(AddPathError::Weight));
}

#[test]
fn a_peer_that_restarts_with_number_0_is_followed_at_once() {
    let mut pair = Pair::up(&Config::default(), 2);
    for mark in 0..50 {
        pair.send(0, &packet(100, mark));
    }
    // End 0 starts anew, as another process.
    pair.ends[0] = Connection::new(Config { seed: 77, ..Config::default() }, storage(), pair.now);
    for path in 0..2 {
        pair.paths[path][0] = pair.ends[0].add_path(lab(), pair.now).unwrap();
    }
    pair.run(5);
    pair.delivered[1].clear();
    for mark in 0..10 {
        pair.send(0, &packet(100, mark));
        pair.send(1, &packet(100, mark));
    }
    assert_eq!(pair.delivered[1].len(), 10);
    assert_eq!(pair.delivered[0].len(), 10);
    assert_eq!(pair.ends[1].stats().rx_restarts, 1);
    assert_eq!(pair.events[1].iter().filter(|event| **event == Event::PeerStarted).count(), 2);
}

#[test]
fn a_late_message_of_the_peers_former_process_is_no_restart() {
    let mut pair = Pair::up(&Config::default(), 1);
    let mut buffer = [0; CONTROL_MAX];
    pair.run(200);
    pair.now = pair.now + Duration::from_secs(1);
    pair.ends[0].handle_timeout(pair.now);
    let old = pair.ends[0].poll_transmit(&mut buffer).unwrap().datagram.to_vec();
    pair.ends[0] = Connection::new(Config { seed: 78, ..Config::default() }, storage(), pair.now);
    pair.paths[0][0] = pair.ends[0].add_path(lab(), pair.now).unwrap();
    pair.run(5);
    let path = pair.paths[0][0];
    assert_eq!(pair.carry(0, path, &old, Ecn::NotEct), Received::Dropped(DropReason::Late));
    assert_eq!(pair.ends[1].stats().rx_restarts, 1);
}

/// What both ends deliver of ten packets each.
fn exchange(pair: &mut Pair) -> [usize; 2] {
    pair.delivered = Default::default();
    for mark in 0..10 {
        pair.send(0, &packet(100, mark));
        pair.send(1, &packet(100, mark));
    }
    [0, 1].map(|end| pair.delivered[end].len())
}

#[test]
fn a_number_that_is_not_the_peers_is_found_out_by_the_next_echo() {
    let mut pair = Pair::up(&Config::default(), 2);
    assert_eq!(exchange(&mut pair), [10; 2]);
    let mut forged = [&[0x10, 0, 8, 0, 0x40, 0, 0, 0][..], &packet(60, 0)].concat();
    let _ = pair.ends[1].decapsulate(pair.paths[0][1], &mut forged, Ecn::NotEct, pair.now).unwrap();
    pair.drain(1);
    assert_eq!(exchange(&mut pair), [10, 0], "all that end 0 sends is late");
    pair.run(2 * 125);
    assert_eq!(exchange(&mut pair), [10; 2]);
    assert_eq!(pair.ends[1].stats().rx_restarts, 1);
}

/// A probe of a process that is not the peer's.
fn stranger(instance: u32) -> Vec<u8> {
    let message = Message {
        kind: Kind::Probe,
        path: 0,
        hears: 0,
        instance,
        count: Seq::ZERO,
        next: Seq::ZERO,
        stamp: 0,
        arrived: None,
        features: Features(0),
        mtu: 0,
        extension: None,
    };
    [&[0, 0, 0x88, 0xb5][..], &message.emit()].concat()
}

#[test]
fn a_peer_that_answers_lives_whatever_a_forged_message_said() {
    let mut pair = Pair::up(&Config::default(), 2);
    let mut forged = stranger(0xffff);
    let _ = pair.ends[1].decapsulate(pair.paths[0][1], &mut forged, Ecn::NotEct, pair.now).unwrap();
    assert_eq!(pair.states(0)[1], PathState::Down(DownReason::Deaf));
    pair.run(2 * 125);
    assert_eq!(pair.states(0), [PathState::Up; 2]);
    assert_eq!(exchange(&mut pair), [10; 2]);
}

#[test]
fn a_straggler_of_a_process_that_was_never_heard_silences_an_idle_peer_for_one_short_interval() {
    let mut pair = Pair::new(&Config::default(), &[PathConfig::default(); 2]);
    pair.run(5_000);
    assert_eq!(pair.states(0), [PathState::Up; 2]);
    let mut straggler = stranger(0xffff);
    let _ = pair.ends[1].decapsulate(pair.paths[0][1], &mut straggler, Ecn::NotEct, pair.now).unwrap();
    assert_eq!(pair.states(0)[1], PathState::Down(DownReason::Deaf));

    pair.run(501);

    assert_eq!([pair.states(0), pair.states(1)], [[PathState::Up; 2]; 2]);
    assert_eq!(exchange(&mut pair), [10; 2]);
    let _ = pair.ends[1].decapsulate(pair.paths[0][1], &mut straggler, Ecn::NotEct, pair.now).unwrap();
    assert_eq!(pair.states(0), [PathState::Up; 2], "the next one is known as such");
}

#[test]
fn stragglers_that_come_at_the_start_on_a_path_not_heard_before_silence_the_peer_as_shortly() {
    let mut pair = Pair::new(&Config::default(), &[PathConfig::default(); 2]);
    pair.cut = PathSet(0b10);
    pair.run(1_000);
    // That a path is heard is told by probes at once, in the instant of the straggler: their echoes prove nothing yet.
    let mut straggler = stranger(0xffff);
    for path in [1, 0, 1] {
        let id = pair.paths[path][1];
        let _ = pair.ends[1].decapsulate(id, &mut straggler, Ecn::NotEct, pair.now).unwrap();
        pair.drain(1);
    }
    pair.cut = PathSet::default();

    pair.run(626);

    assert_eq!(pair.ends[1].stats().rx_restarts, 2);
    assert_eq!(exchange(&mut pair), [10; 2]);
}

#[test]
fn a_first_message_that_packets_overtook_lets_no_copy_of_them_pass() {
    let off = PathConfig { liveness: Liveness::Off, ..PathConfig::default() };
    let mut pair = Pair::new(&Config::default(), &[off, lab()]);
    let mut buffer = [0; CONTROL_MAX];
    pair.ends[0].handle_timeout(pair.now);
    let probe = pair.ends[0].poll_transmit(&mut buffer).unwrap();
    let (path, probe) = (probe.path, probe.datagram.to_vec());
    let (_, copy, _) = pair.encapsulate(0, &packet(100, 0)).unwrap().remove(0);
    let _ = pair.carry(0, pair.paths[0][0], &copy, Ecn::NotEct);
    assert_eq!(pair.carry(0, path, &probe, Ecn::NotEct), Received::Consumed);
    let again = pair.carry(0, pair.paths[0][0], &copy, Ecn::NotEct);
    assert_eq!(again, Received::Dropped(DropReason::Duplicate));
}

#[test]
fn departures_asked_for_again_and_again_stay_at_their_end() {
    let mut pair = Pair::up(&Config::default(), 1);
    for len in [100, 4000] {
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(&packet(len, 0));
        let mut departures = pair.ends[0].encapsulate(&mut buffer, pair.now).unwrap();
        while departures.next().is_some() {}
        assert!((0..1000).all(|_| departures.next().is_none()));
    }
}

#[test]
fn redundant_copies_arrive_once() {
    let mut pair = Pair::up(&Config { policy: Policy::Redundant, ..Config::default() }, 3);
    for mark in 0..10 {
        assert_eq!(pair.send(0, &packet(100, mark)), [0, 1, 2]);
    }
    assert_eq!(pair.delivered[1].len(), 10);
    assert_eq!(pair.ends[1].stats().dropped(DropReason::Duplicate), 20);
}

#[test]
fn a_packet_larger_than_the_path_is_split_and_put_together_by_the_peer() {
    for paths_in_order in [true, false] {
        let reorder = ReorderConfig { paths_in_order, ..ReorderConfig::default() };
        let mut pair = Pair::up(&Config { reorder, checksum: true, key: Some(7), ..Config::default() }, 2);
        let large = packet(4000, 9);
        let mut datagrams = pair.encapsulate(0, &large).unwrap();
        assert!(datagrams.iter().all(|(_, datagram, _)| datagram.len() <= 1452));
        assert_eq!(datagrams.len(), 3);
        datagrams.rotate_left(1);
        for (path, datagram, ecn) in datagrams {
            let _ = pair.carry(0, path, &datagram, ecn);
        }
        pair.send(0, &packet(100, 1));
        assert!(pair.delivered[1] == [large, packet(100, 1)]);
        assert_eq!(pair.ends[1].stats().rx_reassembled, 1);
    }
}

#[test]
fn a_path_that_carries_less_from_now_on_gets_smaller_datagrams() {
    let mut pair = Pair::up(&Config::default(), 1);
    let path = pair.paths[0][0];
    assert_eq!(pair.encapsulate(0, &packet(1400, 9)).unwrap().len(), 1);

    pair.ends[0].set_max_datagram(path, 1000, pair.now).unwrap();
    let datagrams = pair.encapsulate(0, &packet(1400, 9)).unwrap();
    assert_eq!(datagrams.len(), 2);
    assert!(datagrams.iter().all(|(_, datagram, _)| datagram.len() <= 1000));

    pair.ends[0].remove_path(path, pair.now).unwrap();
    assert_eq!(pair.ends[0].set_max_datagram(path, 1452, pair.now), Err(UnknownPath));
}

#[test]
fn fragments_in_order_are_put_together_without_waiting() {
    let mut pair = Pair::up(&Config::default(), 2);
    pair.send(0, &packet(4000, 9));
    pair.send(0, &packet(100, 1));
    assert!(pair.delivered[1] == [packet(4000, 9), packet(100, 1)]);
    assert_eq!(pair.ends[0].stats().tx_fragments, 3);
}

#[test]
fn a_packet_larger_than_the_peer_takes_is_refused() {
    let mut pair = Pair::up(&Config::default(), 1);
    assert_eq!(pair.encapsulate(0, &packet(4001, 0)), Err(EncapsulateError::TooLarge));
    assert_eq!(pair.ends[0].stats().tx_too_large, 1);
}

#[test]
fn rfc8086_3_3_a_wrong_missing_or_unexpected_key_is_dropped() {
    let config = |key| Config { key, ..Config::default() };
    for (ours, theirs) in [(Some(1), Some(2)), (Some(1), None), (None, Some(2))] {
        let mut pair = Pair::new(&config(ours), &[lab()]);
        pair.ends[1] = Connection::new(Config { seed: 5, ..config(theirs) }, storage(), pair.now);
        pair.paths[0][1] = pair.ends[1].add_path(lab(), pair.now).unwrap();
        pair.run(50);
        assert!(pair.ends.iter().all(|end| end.stats().dropped(DropReason::WrongKey) > 0));
        assert_eq!(pair.states(0), [PathState::Down(DownReason::Unheard); 2]);
    }
}

#[test]
fn rfc6040_4_1_the_inner_ecn_bits_go_to_the_outer_header_and_marks_come_back() {
    let mut pair = Pair::up(&Config::default(), 1);
    pair.send(0, &marked(0, Ecn::Ect0));
    pair.run(50);
    for (bits, mark) in [(0b00, Ecn::NotEct), (0b01, Ecn::Ect1), (0b10, Ecn::Ect0), (0b11, Ecn::Ce)] {
        let mut packet = packet(100, 0);
        ip::set_ecn(&mut packet, Ecn::from_bits(bits));
        let datagrams = pair.encapsulate(0, &packet).unwrap();
        assert_eq!(datagrams[0].2, mark);
        let received = pair.carry(0, datagrams[0].0, &datagrams[0].1, Ecn::Ce);
        if mark == Ecn::NotEct {
            assert_eq!(received, Received::Dropped(DropReason::CongestionMarked));
        } else {
            assert_eq!(ip::ecn(pair.delivered[1].last().unwrap()), Ecn::Ce);
            assert_eq!(checksum(&pair.delivered[1].last().unwrap()[..20]), 0);
        }
    }
}

/// A packet with these marks.
fn marked(mark: u8, ecn: Ecn) -> Vec<u8> {
    let mut packet = packet(100, mark);
    ip::set_ecn(&mut packet, ecn);
    packet
}

/// Sends packets marked ECT(0) over two paths for so many seconds, 100 each second: how many arrived, and how many of those
/// that took path 0 left with the mark.
fn send_marked(pair: &mut Pair, seconds: usize) -> (usize, usize) {
    pair.delivered[1].clear();
    let mut left = 0;
    for mark in (0..=u8::MAX).cycle().take(100 * seconds) {
        let datagrams = pair.encapsulate(0, &marked(mark, Ecn::Ect0)).unwrap();
        for (path, datagram, ecn) in datagrams {
            left += usize::from(path.index() == 0 && ecn == Ecn::Ect0);
            let _ = pair.carry(0, path, &datagram, ecn);
        }
        pair.run(10);
    }
    (pair.delivered[1].len(), left)
}

#[test]
fn rfc9000_13_4_2_marks_leave_on_paths_that_carry_them_and_nothing_is_lost_on_others() {
    type Hop = fn(Ecn) -> Option<Ecn>;
    let hops: [(Hop, EcnFault); 3] = [
        (|ecn| (ecn == Ecn::NotEct).then_some(ecn), EcnFault::Lost),
        (|_| Some(Ecn::NotEct), EcnFault::Cleared),
        (|ecn| Some(if ecn == Ecn::NotEct { ecn } else { Ecn::Ce }), EcnFault::AllMarked),
    ];
    for policy in [Policy::Weighted, Policy::Redundant] {
        for (hop, fault) in hops {
            let mut pair = Pair::new(&Config { policy, ..Config::default() }, &[lab(); 2]);
            pair.hop = hop;
            pair.run(20);
            pair.events[0].clear();
            assert_eq!(
                send_marked(&mut pair, 20).0,
                2000,
                "{policy:?} {fault:?}: all arrive from the first on"
            );
            let faulty = pair.paths[0][0];
            let ecn = |event: &Event| matches!(event, Event::Ecn { .. });
            pair.events[0].retain(ecn);
            assert_eq!(pair.events[0], [Event::Ecn { path: faulty, fault: Some(fault) }]);
            assert_eq!(send_marked(&mut pair, 10), (1000, 0), "{policy:?} {fault:?}");
            assert_eq!(pair.ends[0].path_state(faulty), Ok(PathState::Up));

            pair.hop = Some;
            send_marked(&mut pair, 60);
            pair.events[0].retain(ecn);
            assert_eq!(pair.events[0].last(), Some(&Event::Ecn { path: faulty, fault: None }));
            let (arrived, left) = send_marked(&mut pair, 10);
            assert_eq!((arrived, left), (1000, if policy == Policy::Redundant { 1000 } else { 500 }));
        }
    }
}

#[test]
fn a_path_that_begins_to_drop_marked_datagrams_loses_few() {
    let mut pair = Pair::up(&Config::default(), 2);
    assert_eq!(send_marked(&mut pair, 5).0, 500);
    pair.hop = |ecn| (ecn == Ecn::NotEct).then_some(ecn);
    // A test each 2 s, and 3 s until it is given up; every second packet takes the path.
    let arrived = send_marked(&mut pair, 10).0;
    assert!(arrived >= 1000 - 255, "{arrived}");
    assert_eq!(send_marked(&mut pair, 10).0, 1000);
}

#[test]
fn a_peer_that_never_answers_probes_stays_usable_with_liveness_off() {
    let off = PathConfig { liveness: Liveness::Off, ..PathConfig::default() };
    let mut end = Connection::new(Config::default(), storage(), Instant::ZERO);
    let path = end.add_path(off, Instant::ZERO).unwrap();
    let mut buffer = [0; CONTROL_MAX];
    for second in 0..100 {
        end.handle_timeout(Instant::from_micros(second * 1_000_000));
        assert_eq!(end.poll_transmit(&mut buffer), None);
        assert_eq!(end.path_state(path), Ok(PathState::Up));
    }
    // A Linux kernel's packet: no key, no sequence number.
    let mut datagram = [&[0, 0, 8, 0][..], &packet(60, 3)].concat();
    let received = end.decapsulate(path, &mut datagram, Ecn::NotEct, Instant::ZERO).unwrap();
    assert_eq!(received, Received::Packet(&packet(60, 3)));
    assert_eq!(end.poll_timeout(), None);
}

#[test]
fn bad_datagrams_are_dropped_and_counted_by_reason() {
    let mut end = Connection::new(Config::default(), storage(), Instant::ZERO);
    let path = end.add_path(lab(), Instant::ZERO).unwrap();
    let ipv4_as_ipv6 = [&[0, 0, 0x86, 0xdd][..], &packet(60, 3)].concat();
    for (datagram, reason) in [
        (&[][..], DropReason::Truncated),
        (&[0, 1, 8, 0], DropReason::BadVersion),
        (&[0x40, 0, 8, 0], DropReason::BadFlags),
        (&[0x80, 0, 8, 0, 1, 1, 0, 0], DropReason::BadChecksum),
        (&[0x20, 0, 8, 0, 0, 0, 0, 1], DropReason::WrongKey),
        (&[0, 0, 0x12, 0x34], DropReason::UnknownProtocol),
        (&[0, 0, 8, 0, 0x45], DropReason::BadInner),
        (&ipv4_as_ipv6, DropReason::BadInner),
        (&[0, 0, 0x88, 0xb5, 0x11], DropReason::BadControl),
        (&[0, 0, 0x88, 0xb6, 0xf0], DropReason::BadFragment),
    ] {
        let before = end.stats().dropped(reason);
        let mut datagram = datagram.to_vec();
        let received = end.decapsulate(path, &mut datagram, Ecn::NotEct, Instant::ZERO);
        assert_eq!(received, Ok(Received::Dropped(reason)));
        assert_eq!(end.stats().dropped(reason), before + 1);
    }
    assert_eq!(end.path_state(path), Ok(PathState::Down(DownReason::Unheard)), "nothing bad counts as heard");
}

#[test]
fn a_message_of_our_own_that_comes_back_is_dropped() {
    let mut pair = Pair::up(&Config::default(), 1);
    let mut buffer = [0; CONTROL_MAX];
    pair.ends[0].handle_timeout(pair.now + Duration::from_secs(1));
    let mut own = pair.ends[0].poll_transmit(&mut buffer).unwrap().datagram.to_vec();
    let path = pair.paths[0][0];
    let received = pair.ends[0].decapsulate(path, &mut own, Ecn::NotEct, pair.now);
    assert_eq!(received, Ok(Received::Dropped(DropReason::BadControl)));
}

#[test]
fn an_idle_path_is_probed_at_the_idle_interval_and_a_busy_one_at_the_short_one() {
    let probes = |pair: &Pair| pair.ends[0].path_stats(pair.paths[0][0]).unwrap().probes;
    let mut pair = Pair::up(&Config::default(), 1);
    pair.run(1100);
    let start = probes(&pair);
    pair.run(1000);
    let idle = probes(&pair) - start;
    assert!((8..=14).contains(&idle), "{idle} probes in 1 s at 100 ms");
    let start = probes(&pair);
    for _ in 0..100 {
        pair.send(0, &packet(100, 0));
        pair.run(10);
    }
    let busy = probes(&pair) - start;
    assert!((32..=54).contains(&busy), "{busy} probes in 1 s at 25 ms");
}

#[test]
fn time_that_goes_back_is_taken_as_standing_still() {
    let mut pair = Pair::up(&Config::default(), 1);
    let early = Instant::from_micros(1);
    pair.ends[0].handle_timeout(early);
    assert!(pair.ends[0].poll_timeout().unwrap() > pair.now);
    assert_eq!(pair.states(0), [PathState::Up; 2]);
}
