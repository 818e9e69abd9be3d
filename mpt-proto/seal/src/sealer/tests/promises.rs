//! The promises of SECURITY.md that can be shown without a network, by their numbers.

use std::collections::HashSet;
use std::vec;
use std::vec::Vec;

use core::time::Duration;

use super::world::*;
use crate::keys::PublicKey;
use crate::mac::{MacKeys, is_mac};
use crate::reason::Reason;
use crate::sealer::Opened;
use crate::testing::times;

/// A session's first datagrams of each kind, from end 0 to end 1 and back.
fn recorded(seed: u64) -> (World, Vec<Flying>) {
    use std::cell::RefCell;
    use std::rc::Rc;
    let record = Rc::new(RefCell::new(Vec::new()));
    let mut world = World::new(&[10, 20], seed);
    let hand = record.clone();
    world.hand = Some(std::boxed::Box::new(move |flying, _| {
        hand.borrow_mut().push(flying.clone());
        vec![(Duration::ZERO, flying.clone())]
    }));
    world.send(0, 0);
    world.run_for(200);
    world.send(0, 1);
    world.send(1, 0);
    world.run_for(200);
    let all = record.borrow().clone();
    world.hand = None;
    (world, all)
}

#[test]
fn p1_a_peer_with_another_key_gets_no_session() {
    for (ours, theirs) in [(keys(3, 9), keys(1, 9)), (keys(2, 9), keys(3, 9)), (keys(3, 9), keys(3, 9))] {
        let mut world = World::with_keys(&[10], 1, [ours, theirs]);
        world.send(0, 0);
        world.send(1, 0);
        world.run_for(10_000);
        assert!(world.ends.iter().all(|end| !end.is_up(world.now)));
    }
}

#[test]
fn p2_a_preshared_key_that_differs_in_one_bit_gives_no_session() {
    let mut world = World::with_keys(&[10], 1, [keys(2, 9), keys(1, 8)]);
    world.load(&[0, 1], 100, 10_000);
    assert!(world.ends.iter().all(|end| end.got.is_empty() && !end.is_up(world.now)));
}

#[test]
fn p5_whatever_was_recorded_is_taken_at_no_end_a_second_time() {
    let (mut world, record) = recorded(2);
    let got = |world: &World| world.ends.each_ref().map(|end| end.got.clone());
    let before = got(&world);
    for round in 0..3 {
        for flying in &record {
            for to in 0..2 {
                for path in 0..2 {
                    let mut bytes = flying.bytes.clone();
                    let end = &mut world.ends[to];
                    let opened =
                        end.sealer.open(&source(path), Some((end.peer, path)), &mut bytes, world.now);
                    assert!(!matches!(opened, Opened::Clear { .. }), "round {round}: {flying:?}");
                }
            }
        }
        // Also when there are other keys, and when these are gone.
        let handshakes = world.ends[0].handshakes(world.now);
        world.run_for(125_000);
        assert!(world.ends[0].handshakes(world.now) > handshakes, "replays stopped no handshake");
    }
    assert_eq!(got(&world), before);
}

#[test]
fn p6_the_keys_of_neither_end_can_be_read_from_what_passes() {
    let (_, record) = recorded(3);
    for flying in &record {
        for number in 1..=2 {
            let public: PublicKey = private(number).public();
            for part in public.as_bytes().windows(8) {
                assert!(!flying.bytes.windows(8).any(|bytes| bytes == part));
            }
        }
        assert!(!flying.bytes.windows(8).any(|bytes| bytes == [0x45; 8]), "nor a packet");
        // Nor can they be tried; that of the responder can, by an initiation.
        if flying.bytes.len() == 92 {
            for number in 1..=2 {
                let key = MacKeys::new(&private(number).public()).mac1;
                assert!(!is_mac(&key, &flying.bytes[..76], flying.bytes[76..].try_into().unwrap()));
            }
        }
    }
    let shape = |record: &[Flying]| record.iter().map(|flying| flying.bytes.len()).collect::<Vec<_>>();
    assert_eq!(shape(&record), shape(&recorded(4).1), "whoever they are");
}

#[test]
fn p7_strangers_get_no_answer_and_change_nothing() {
    let (mut world, record) = recorded(5);
    let mut random = fastrand::Rng::with_seed(5);
    let end = &mut world.ends[1];
    let before = end.sealer.fingerprint();
    for _ in 0..times(10_000, 60) {
        let mut bytes: Vec<u8> = match random.u8(0..4) {
            0 => {
                let mut bytes = vec![0; random.usize(0..300)];
                random.fill(&mut bytes);
                bytes
            }
            1 => {
                // The right header, and nothing else right.
                let known = &record[random.usize(..record.len())].bytes;
                let mut bytes = known.clone();
                let from = random.usize(12..bytes.len());
                random.fill(&mut bytes[from..]);
                bytes
            }
            2 => {
                let known = &record[random.usize(..record.len())].bytes;
                known[..random.usize(..known.len())].to_vec()
            }
            _ => {
                let mut bytes = [&[0x20, 0, 0x88, 0xb5, 0, 0, 0, 0, 0x21, 0, 0, 0][..], &[7; 148]].concat();
                random.fill(&mut bytes[12..]);
                bytes
            }
        };
        // While no cookie is asked for, what stands in an initiation's place for it has no meaning.
        let meaning = |bytes: &[u8]| bytes[..if bytes.len() == 160 { 144 } else { bytes.len() }].to_vec();
        if record.iter().any(|flying| meaning(&flying.bytes) == meaning(&bytes)) {
            continue;
        }
        let opened = end.sealer.open(&source(77), None, &mut bytes, world.now);
        assert!(matches!(opened, Opened::Refused(_)), "{opened:?}");
    }
    assert_eq!(end.sealer.fingerprint(), before);
}

#[test]
fn p10_a_flipped_bit_is_never_taken() {
    let (mut world, _) = recorded(6);
    let packet = [&[0x10, 0, 8, 0, 0, 0, 0, 1][..], &[0x45; 20]].concat();
    let end = &mut world.ends[0];
    let mut sealed = vec![0; end.sealer.sealed_len(&packet, 1400).unwrap()];
    end.sealer.seal(end.peer, 1, &packet, &mut sealed, world.now).unwrap();
    let end = &mut world.ends[1];
    let before = end.sealer.fingerprint();
    let mut reasons = HashSet::new();
    for bit in (0..sealed.len() * 8).step_by(times(1, 13)) {
        let mut flipped = sealed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match end.sealer.open(&source(1), None, &mut flipped, world.now) {
            Opened::Refused(reason) => reasons.insert(std::format!("{reason:?}")),
            other => panic!("bit {bit}: {other:?}"),
        };
        assert_eq!(end.sealer.fingerprint(), before, "bit {bit}");
    }
    assert!(reasons.contains("BadTag") && reasons.contains("UnknownIndex"), "{reasons:?}");
    let opened = end.sealer.open(&source(1), None, &mut sealed, world.now);
    assert!(matches!(opened, Opened::Clear { path: 1, .. }), "and the true one is: {opened:?}");
}

#[test]
fn refusals_say_their_reason() {
    let (mut world, record) = recorded(7);
    let now = world.now;
    let mut data = record.iter().filter(|flying| flying.to == 1 && flying.bytes[0] == 0x30);
    let data = data.next_back().unwrap().bytes.clone();
    let end = &mut world.ends[1];
    let mut refused = |bytes: &[u8], now| match end.sealer.open(&source(9), None, &mut bytes.to_vec(), now) {
        Opened::Refused(reason) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&[], now), Reason::Short);
    assert_eq!(refused(&[0x10; 40], now), Reason::Form);
    assert_eq!(refused(&[&[0x10, 0, 8, 0, 0, 0, 0, 1][..], &[0x45; 40]].concat(), now), Reason::Clear);
    assert_eq!(refused(&data, now), Reason::Replayed);
    let mut unknown = data.clone();
    unknown[4] ^= 1;
    assert_eq!(refused(&unknown, now), Reason::UnknownIndex);
    let mut damaged = data.clone();
    *damaged.last_mut().unwrap() ^= 1;
    damaged[11] ^= 0x40;
    assert_eq!(refused(&damaged, now), Reason::BadTag);
    assert_eq!(refused(&data, now + Duration::from_secs(181)), Reason::Expired);
}
