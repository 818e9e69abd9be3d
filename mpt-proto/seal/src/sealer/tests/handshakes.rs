//! Handshakes over several paths, lost, crossed, late, and under load.

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use core::time::Duration;

use super::world::*;
use crate::limits::EPOCHS;
use crate::reason::Reason;
use crate::sealer::{AddPeerError, Event, NotSealed, Opened};
use crate::testing::times;

#[test]
fn the_first_packet_begins_a_handshake_and_both_ends_have_keys_a_round_trip_later() {
    let mut world = World::new(&[10], 1);
    world.send(0, 0);
    assert_eq!(world.ends[0].unsent, 1);
    world.run_for(25);
    assert!(world.ends[0].is_up(world.now), "the response is there");
    assert!(
        !world.ends[1].is_up(world.now),
        "the other end sends nothing before it knows that we have the keys"
    );
    world.run_for(10);
    assert!(world.ends[1].is_up(world.now));
    let packet = world.send(1, 0);
    world.run_for(15);
    assert_eq!(world.ends[0].got.get(&packet), Some(&1));
    assert_eq!((world.ends[0].handshakes(world.now), world.ends[1].handshakes(world.now)), (1, 1));
}

#[test]
fn an_initiation_leaves_on_every_path_and_is_answered_on_each_that_works() {
    let mut world = World::new(&[5, 80, 500], 2);
    world.hand = Some(Box::new(|flying, _| {
        // Only the slowest path works.
        if flying.path == 2 { vec![(Duration::ZERO, flying.clone())] } else { vec![] }
    }));
    world.send(0, 0);
    world.run_for(1600);
    assert!(
        world.ends.iter().all(|end| end.is_up(world.now)),
        "a satellite's answer to the first initiation counts"
    );
}

#[test]
fn a_lost_response_is_asked_for_again_with_the_same_bytes() {
    let mut world = World::new(&[10], 3);
    let mut first = true;
    world.hand = Some(Box::new(move |flying, _| {
        let is_response = flying.bytes.len() == 92;
        if is_response && std::mem::take(&mut first) {
            vec![]
        } else {
            vec![(Duration::ZERO, flying.clone())]
        }
    }));
    world.send(0, 0);
    world.run_for(400);
    assert!(world.ends[0].is_up(world.now));
    world.run_for(50);
    assert_eq!(world.ends[1].handshakes(world.now), 1, "one epoch for both copies");
}

#[test]
fn handshakes_that_cross_leave_both_ends_with_the_same_keys_in_use() {
    for seed in 0..times(20, 1) {
        let mut world = World::new(&[10, 30], 100 + seed);
        world.send(0, 0);
        world.send(1, 1);
        world.run_for(2000);
        let sent = world.load(&[0, 1], times(10, 100), 3000);
        world.run_for(500);
        for number in sent {
            let got = world.ends.iter().filter_map(|end| end.got.get(&number)).sum::<u32>();
            assert_eq!(got, 1, "seed {seed}: packet {number}");
        }
        let ages =
            world.ends.each_ref().map(|end| end.sealer.status(end.peer, world.now).unwrap().age.unwrap());
        let apart = ages[0].abs_diff(ages[1]);
        assert!(
            apart < Duration::from_millis(61),
            "seed {seed}: the keys in use are of one handshake: {ages:?}"
        );
    }
}

#[test]
fn p4_keys_change_under_load_without_a_lost_late_or_doubled_packet() {
    let delays: Vec<u64> = (0..times(16, 3)).map(|path| 5 + 33 * path).collect();
    let mut world = World::up(&delays, 4);
    let sent = world.load(&[0, 1], times(20, 2000), times(1_250_000, 260_000));
    world.run_for(2000);
    assert!(world.ends[0].handshakes(world.now) >= times(10, 2), "{}", world.ends[0].handshakes(world.now));
    assert_eq!(world.ends[0].unsent + world.ends[1].unsent, 1, "only what came before the first keys");
    for number in &sent {
        let got: u32 = world.ends.iter().filter_map(|end| end.got.get(number)).sum();
        assert_eq!(got, 1, "packet {number}");
    }
}

#[test]
fn keys_change_also_while_nothing_is_sent_and_a_packet_after_a_pause_waits_for_nothing() {
    let mut world = World::up(&[20], 5);
    world.run_for(times(1_000_000, 260_000));
    assert!(world.ends[0].handshakes(world.now) >= times(8, 2));
    let packet = world.send(0, 0);
    world.run_for(21);
    assert_eq!(world.ends[1].got.get(&packet), Some(&1));
}

#[test]
fn p11_a_peer_that_was_killed_is_found_within_a_second_whichever_end_it_is() {
    for (seed, end) in [(1, 0), (2, 1), (3, 0), (4, 1)] {
        let mut world = World::up(&[20, 60], 10 + seed);
        world.load(&[0, 1], 10, 2000);
        world.restart(end, seed);
        let killed = world.now;
        let mut back = None;
        while back.is_none() && world.now.since(killed) < Duration::from_secs(5) {
            let numbers = world.load(&[0, 1], 10, 50);
            world.run_for(100);
            let crossed = |end: usize| numbers.iter().any(|number| world.ends[end].got.contains_key(number));
            back = (crossed(0) && crossed(1)).then(|| world.now.since(killed));
        }
        let back = back.expect("it comes back");
        assert!(back < Duration::from_secs(1), "end {end}: {back:?}");
    }
}

#[test]
fn p12_no_clock_is_needed_and_one_that_goes_back_does_no_harm() {
    let mut world = World::up(&[20], 6);
    world.ends[0].clock = None;
    world.restart(0, 7);
    world.send(0, 0);
    world.run_for(400);
    assert!(world.ends[0].is_up(world.now), "a stale reply tells the newest time");
    let packet = world.send(0, 0);
    world.run_for(50);
    assert!(world.ends[1].got.contains_key(&packet));
}

#[test]
fn a_peer_that_is_silent_is_asked_first_and_a_quiet_tunnel_sends_nothing() {
    let mut world = World::up(&[20], 8);
    world.run_for(2000);
    let before = [world.ends[0].sent_bytes, world.ends[1].sent_bytes];
    world.run_for(60_000);
    assert_eq!([world.ends[0].sent_bytes, world.ends[1].sent_bytes], before, "nothing is asked for");

    world.hand = Some(Box::new(|_, _| vec![]));
    world.ends[0].events.clear();
    let since = world.now;
    world.load(&[0], 20, 400);
    let asked = world.ends[0].events.iter().find(|(_, event)| matches!(event, Event::Silent { .. }));
    let (at, _) = asked.expect("it is asked");
    assert!((Duration::from_millis(120)..Duration::from_millis(200)).contains(&at.since(since)), "{at:?}");
    world.hand = None;
    world.load(&[0], 20, 400);
    let packet = world.send(0, 0);
    world.run_for(100);
    assert!(world.ends[1].got.contains_key(&packet), "the keys were kept meanwhile");
}

#[test]
fn keys_are_erased_after_three_minutes_without_the_peer_and_tries_go_on_slowly() {
    let mut world = World::up(&[20], 9);
    world.hand = Some(Box::new(|_, _| vec![]));
    world.load(&[0], times(100, 1000), 200_000);
    assert!(!world.ends[0].is_up(world.now));
    assert!(world.ends[0].events.iter().any(|(_, event)| matches!(event, Event::Expired { .. })));
    let before = world.ends[0].sent_bytes;
    world.load(&[0], times(100, 1000), 60_000);
    let tries = (world.ends[0].sent_bytes - before) / 160;
    assert!((10..=16).contains(&tries), "one in five seconds: {tries}");
    world.hand = None;
    world.load(&[0], 100, 7000);
    assert!(world.ends[0].is_up(world.now));
}

#[test]
fn peers_are_known_once_not_ourselves_and_no_more_than_there_is_room_for() {
    let used = Used::default();
    let mut sealer = sealer(1, 1, 3, 1, &used, START);
    assert_eq!(sealer.add_peer(keys(1, 0)), Err(AddPeerError::Ourselves));
    let ids: std::vec::Vec<_> =
        [5, 3, 4].iter().map(|number| sealer.add_peer(keys(*number, 0)).unwrap()).collect();
    assert_eq!(sealer.add_peer(keys(3, 1)), Err(AddPeerError::Known));
    assert_eq!(sealer.add_peer(keys(6, 0)), Err(AddPeerError::Full));
    sealer.remove_peer(ids[1]);
    assert_eq!(sealer.peer_id(1), None);
    assert_eq!(sealer.add_peer(keys(4, 1)), Err(AddPeerError::Known), "those behind it are found");
    assert_eq!(sealer.add_peer(keys(6, 0)), Ok(ids[1]), "its place is free");
    assert_eq!(sealer.add_peer(keys(5, 1)), Err(AddPeerError::Known));
    assert_eq!(sealer.add_peer(keys(6, 1)), Err(AddPeerError::Known));
}

#[test]
fn thousands_of_peers_find_each_other_under_load_by_cookies() {
    const PEERS: u8 = times(200, 5);
    let used = Used::default();
    let mut server = sealer(1, 1, PEERS.into(), 1, &used, START);
    let mut clients: std::vec::Vec<_> = (2..PEERS + 2)
        .map(|number| {
            server.add_peer(keys(number, 0)).unwrap();
            let mut client = sealer(number, number.into(), 1, number.into(), &used, START);
            let peer = client.add_peer(keys(1, 0)).unwrap();
            client.set_paths(peer, mpt_proto::PathSet::of(0));
            client.initiate(peer, START);
            (client, peer)
        })
        .collect();
    // Somebody who knows the server's public key fills its budget: 300 initiations of keys that are no peers'.
    for number in 0..times(300, 20) {
        let mut stranger = sealer(u8::MAX, number, 1, number.into(), &used, START);
        let peer = stranger.add_peer(keys(1, 0)).unwrap();
        stranger.set_paths(peer, mpt_proto::PathSet::of(0));
        stranger.initiate(peer, START);
        stranger.handle_timeout(1, START);
        let Some((_, _, bytes)) = stranger.poll_transmit(START) else { panic!("it begins") };
        let mut bytes = bytes.to_vec();
        let verdict = server.open(&source(255), None, &mut bytes, START);
        assert!(matches!(verdict, Opened::Refused(Reason::UnknownPeer | Reason::Busy) | Opened::Reply(_)));
    }
    let mut now = START;
    for _ in 0..30 {
        now = now + Duration::from_millis(100);
        for (number, (client, peer)) in clients.iter_mut().enumerate() {
            let address = source(u8::try_from(number).unwrap());
            client.handle_timeout(now.as_micros(), now);
            while let Some((_, path, bytes)) = client.poll_transmit(now) {
                let mut bytes = bytes.to_vec();
                if let Opened::Reply(reply) = server.open(&address, None, &mut bytes, now) {
                    assert!(reply.len() < 160);
                    let mut reply = reply.to_vec();
                    let _ = client.open(&source(0), Some((*peer, path)), &mut reply, now);
                }
            }
        }
    }
    let up =
        clients.iter().filter(|(client, peer)| client.status(*peer, now).unwrap().suite.is_some()).count();
    assert_eq!(up, PEERS.into(), "within three seconds");
}

#[test]
fn what_cannot_be_sealed_is_refused_with_its_reason() {
    let mut world = World::up(&[1], 30);
    let end = &mut world.ends[0];
    let packet = [&[0x10, 0, 8, 0, 0, 0, 0, 1][..], &[0x45; 20]].concat();
    let len = end.sealer.sealed_len(&packet, 1400).unwrap();
    let mut place = vec![0; len];
    let mut seal =
        |clear: &[u8], path, place: &mut [u8]| end.sealer.seal(end.peer, path, clear, place, world.now);
    assert_eq!(seal(&packet, 0, &mut place), Ok(()));
    assert_eq!(seal(&packet, 16, &mut place), Err(NotSealed::Spent), "there is no such path");
    assert_eq!(seal(&packet, 0, &mut place[..20]), Err(NotSealed::Form));
    assert_eq!(seal(&[0x20, 0, 8, 0, 0, 0, 0, 1], 0, &mut place), Err(NotSealed::Form), "a GRE key");
}

#[test]
fn traffic_one_way_over_a_long_path_does_not_begin_one_handshake_after_the_other() {
    let cases: [&[u64]; 7] = [&[125], &[130], &[140], &[300], &[400], &[10, 300], &[10, 400]];
    for (number, delays) in (40..).zip(cases).step_by(times(1, 5)) {
        let mut world = World::up(delays, number);
        if delays.len() > 1 {
            // From now on only the slow path works.
            world.hand = Some(Box::new(|flying, _| {
                if flying.path == 1 { vec![(Duration::ZERO, flying.clone())] } else { vec![] }
            }));
        }
        let before = world.ends[0].handshakes(world.now);
        world.load(&[0], times(20, 500), 60_000);
        let begun = world.ends[0].handshakes(world.now) - before;
        assert!(begun <= 2, "{delays:?}: {begun}");
    }
}

#[test]
fn a_thousand_changes_of_keys_lose_nothing_and_leave_nothing_behind() {
    let mut world = World::up(&[5, 20], 21);
    let (mut sent, rounds) = (Vec::new(), times(1000, 12));
    for round in 0..rounds {
        let (now, end) = (world.now, &mut world.ends[2 * round / rounds]);
        end.sealer.initiate(end.peer, now);
        sent.extend(world.load(&[0, 1], 50, 350));
    }
    world.run_for(100);
    let got = |number: &u32| world.ends.iter().filter_map(|end| end.got.get(number)).sum::<u32>();
    assert!(sent.len() == 14 * rounds && sent.iter().all(|number| got(number) == 1));
    for end in &world.ends {
        // But for those that cross where the other end takes over.
        let handshakes = usize::try_from(end.handshakes(world.now)).unwrap();
        assert!(handshakes + 10 > rounds, "{handshakes}");
        assert!(end.sealer.index.used() <= EPOCHS, "indices of keys that are gone stand for nobody");
    }
}
