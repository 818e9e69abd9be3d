//! Every check of what arrives, one by one: each of them, removed, lets a test fail.

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use core::time::Duration;

use mpt_proto::PathSet;

use super::world::*;
use crate::cipher::Offer;
use crate::epoch::Epoch;
use crate::keys::PresharedKey;
use crate::limits::{LAST_COUNT, REJECT_AFTER_BYTES, REKEY_AFTER_BYTES, REKEY_AFTER_COUNT};
use crate::mac::{MacKeys, mac};
use crate::message::{self, Choice, Identity, Proposal};
use crate::peer::Retry;
use crate::reason::Reason;
use crate::sealer::{NotSealed, Opened};
use crate::testing::times;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The epoch that an end seals with.
fn epoch(world: &mut World, end: usize) -> &mut Epoch<CheckedKey> {
    world.ends[end].sealer.peers[0].0.as_mut().unwrap().epoch_mut().unwrap()
}

/// How many epochs an end has.
fn epochs(world: &World, end: usize) -> usize {
    world.ends[end].sealer.peers[0].0.as_ref().unwrap().epochs.iter().flatten().count()
}

/// An initiation of end 0 that says this.
fn initiation_that_says(time: u64, forms: (u8, u8)) -> [u8; 160] {
    let proposal =
        Proposal { time, lowest_form: forms.0, highest_form: forms.1, ciphers: Offer::CHACHA, instance: 1 };
    let mut identity = Identity::new(private(1));
    let entropy = core::array::from_fn(|place| time.to_be_bytes()[place % 8]);
    let written = message::write_initiation(&mut identity, &private(2).public(), 77, &proposal, &entropy);
    written.ok().unwrap().1
}

/// A response for this index by somebody who did not read the initiation.
fn forged_response(receiver: u32) -> Vec<u8> {
    let mut bytes = [&[0x20, 0, 0x88, 0xb5][..], &(receiver << 4).to_be_bytes(), &[0x22, 0, 0, 0]].concat();
    bytes.resize(92, 9);
    bytes
}

/// The response of end 1 to this initiation, with a data form and a pre-shared key of its own.
fn response_to(begun: &[u8], form: u8, preshared: &PresharedKey) -> [u8; 92] {
    let mut identity = Identity::new(private(2));
    let initiation = message::Initiation::parse(begun).unwrap();
    let claim = initiation.read_static(&identity).ok().unwrap();
    let (responder, _) = message::read_proposal(claim, &identity).ok().unwrap();
    let choice = Choice { index: 5, form, cipher: crate::Suite::ChaCha20Poly1305, instance: 2 };
    let index = index_of(begun);
    message::write_response(responder, &mut identity, preshared, index, &choice, &[form; 32]).ok().unwrap().1
}

fn index_of(initiation: &[u8]) -> u32 {
    u32::from_be_bytes(initiation[12..16].try_into().unwrap()) >> 4
}

#[test]
fn a_datagram_without_room_for_a_sequence_number_and_a_tag_is_short_whatever_it_says() {
    let mut world = World::up(&[1], 200);
    let good = sealed(&mut world, 0, 0);
    for len in 0..32 {
        assert_eq!(hand_over(&mut world, 1, 0, &good[..len]), Err(Reason::Short), "{len}");
    }
    assert_eq!(hand_over(&mut world, 1, 0, &good[..32]), Err(Reason::BadTag));
}

#[test]
fn other_flags_or_another_type_are_no_sealed_form() {
    let mut world = World::up(&[1], 201);
    let good = sealed(&mut world, 0, 0);
    for bit in 0..32 {
        let mut other = good.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        let refused = hand_over(&mut world, 1, 0, &other);
        assert!(matches!(refused, Err(Reason::Form | Reason::Clear)), "bit {bit}: {refused:?}");
    }
    assert_eq!(hand_over(&mut world, 1, 0, &good), Ok(None));
}

#[test]
fn keys_are_not_used_for_more_bytes_than_is_safe() {
    let mut world = World::up(&[1], 202);
    let good = sealed(&mut world, 0, 0);
    for (bytes_sealed, bytes_opened) in [(REJECT_AFTER_BYTES, 0), (0, REJECT_AFTER_BYTES)] {
        epoch(&mut world, 1).use_up(9, bytes_sealed, bytes_opened);
        assert_eq!(hand_over(&mut world, 1, 0, &good), Err(Reason::Expired), "for opening");
        let (packet, mut place) = ([&[0x10, 0, 8, 0, 0, 0, 0, 1][..], &[0x45; 20]].concat(), vec![0; 60]);
        let now = world.now;
        let end = &mut world.ends[1];
        let refused = end.sealer.seal(end.peer, 0, &packet, &mut place, now);
        assert_eq!(refused, Err(NotSealed::NoSession), "for sealing");
        assert_eq!(place, [0; 60], "and nothing is written");
    }
}

#[test]
fn keys_are_not_used_beyond_their_age_for_sealing_either() {
    let mut world = World::up(&[1], 203);
    let (packet, mut place) = ([&[0x10, 0, 8, 0, 0, 0, 0, 1][..], &[0x45; 20]].concat(), vec![0; 60]);
    let later = world.now + Duration::from_secs(181);
    let end = &mut world.ends[0];
    assert_eq!(end.sealer.seal(end.peer, 0, &packet, &mut place, later), Err(NotSealed::NoSession));
}

#[test]
fn new_keys_are_made_in_time_before_bytes_or_counters_run_out() {
    let cases = [(0, REKEY_AFTER_COUNT, 0, 0), (0, 0, REKEY_AFTER_BYTES, 0), (1, 0, 0, REKEY_AFTER_BYTES)];
    for (end, counter, bytes_sealed, bytes_opened) in cases {
        let mut world = World::up(&[1], 204);
        let before = world.ends[0].handshakes(world.now);
        epoch(&mut world, end).use_up(counter, bytes_sealed, bytes_opened);
        let bytes = sealed(&mut world, 0, 0);
        assert_eq!(hand_over(&mut world, 1, 0, &bytes), Ok(None));
        world.run_for(50);
        assert_eq!(
            world.ends[0].handshakes(world.now),
            before + 1,
            "{counter} {bytes_sealed} {bytes_opened}"
        );
    }
}

#[test]
fn the_last_counter_of_a_path_is_never_used_and_other_paths_go_on() {
    let mut world = World::up(&[1, 1], 205);
    epoch(&mut world, 0).use_up(LAST_COUNT - 1, 0, 0);
    let (packet, mut place) = ([&[0x10, 0, 8, 0, 0, 0, 0, 1][..], &[0x45; 20]].concat(), vec![0; 60]);
    let now = world.now;
    let end = &mut world.ends[0];
    let mut seal = |path| end.sealer.seal(end.peer, path, &packet, &mut place, now);
    assert_eq!([seal(0), seal(0), seal(0)], [Ok(()), Err(NotSealed::Spent), Err(NotSealed::Spent)]);
    assert_eq!(seal(1), Ok(()));
}

#[test]
fn of_a_flood_of_initiations_only_a_part_is_looked_at() {
    let mut world = World::new(&[1], 225);
    world.ends[1].sealer.limit_handshakes(1);
    let mut bad = initiation_that_says(1, (1, 1));
    bad[130] ^= 1;
    let (mut looked_at, mut unread, flood) = (0, 0, times(1000, 40));
    for _ in 0..flood {
        match hand_over(&mut world, 1, 0, &bad) {
            Err(Reason::BadMac) => looked_at += 1,
            Err(Reason::Busy) => unread += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((looked_at, unread), (20, flood - 20));
}

#[test]
fn of_two_initiations_of_one_peer_within_20_ms_the_second_is_not_answered() {
    let mut world = World::new(&[1], 206);
    let reply = |world: &mut World, time| hand_over(world, 1, 0, &initiation_that_says(time, (1, 1)));
    assert_eq!(reply(&mut world, 1).unwrap().unwrap().len(), 92);
    world.now = world.now + ms(19);
    assert_eq!(reply(&mut world, 2), Err(Reason::Busy));
    world.now = world.now + ms(1);
    assert_eq!(reply(&mut world, 3).unwrap().unwrap().len(), 92);
}

#[test]
fn an_initiation_that_is_no_later_than_one_before_makes_no_keys() {
    let mut world = World::new(&[1], 207);
    let reply = |world: &mut World, time| {
        world.now = world.now + ms(25);
        hand_over(world, 1, 0, &initiation_that_says(time, (1, 1))).unwrap().unwrap().len()
    };
    assert_eq!(reply(&mut world, 1000), 92);
    let before = world.ends[1].sealer.fingerprint();
    for time in [999, 0] {
        assert_eq!(reply(&mut world, time), 60, "a stale reply");
        assert_eq!(world.ends[1].sealer.fingerprint(), before);
    }
    // The same time in another initiation.
    let mut identity = Identity::new(private(1));
    let proposal =
        Proposal { time: 1000, lowest_form: 1, highest_form: 1, ciphers: Offer::CHACHA, instance: 5 };
    let written = message::write_initiation(&mut identity, &private(2).public(), 78, &proposal, &[3; 32]);
    world.now = world.now + ms(25);
    let answer = hand_over(&mut world, 1, 0, &written.ok().unwrap().1).unwrap().unwrap();
    assert_eq!(answer.len(), 60);
    assert_eq!(reply(&mut world, 1001), 92);
}

#[test]
fn a_proposal_of_data_forms_that_this_end_does_not_speak_is_refused_and_changes_nothing() {
    let mut world = World::new(&[1], 208);
    let before = world.ends[1].sealer.fingerprint();
    for forms in [(0, 0), (2, 9), (2, 0)] {
        let refused = hand_over(&mut world, 1, 0, &initiation_that_says(1, forms));
        assert_eq!(refused, Err(Reason::Form), "{forms:?}");
    }
    assert_eq!(world.ends[1].sealer.fingerprint(), before);
    assert!(hand_over(&mut world, 1, 0, &initiation_that_says(1, (0, 255))).unwrap().is_some());
}

#[test]
fn copies_of_an_initiation_get_the_same_answer_for_ten_seconds_and_after_that_it_is_stale() {
    let mut world = World::new(&[1], 209);
    let bytes = initiation_that_says(1, (1, 1));
    let first = hand_over(&mut world, 1, 0, &bytes).unwrap().unwrap();
    let before = world.ends[1].sealer.fingerprint();
    let copies = times(100, 5);
    for copy in 0..copies {
        world.now = world.now + ms(9900 / copies);
        let answer = hand_over(&mut world, 1, 0, &bytes).unwrap().unwrap();
        assert_eq!(answer, first, "copy {copy}");
    }
    world.now = world.now + ms(100);
    assert_eq!(hand_over(&mut world, 1, 0, &bytes).unwrap().unwrap().len(), 60);
    assert_eq!(world.ends[1].sealer.fingerprint(), before);
}

#[test]
fn when_keys_are_in_use_no_copy_of_the_initiation_gets_them_again() {
    let mut world = World::new(&[1], 231);
    let begun = initiation(&mut world, 0);
    let answer = hand_over(&mut world, 1, 0, &begun).unwrap().unwrap();
    assert_eq!(hand_over(&mut world, 1, 0, &begun), Ok(Some(answer.clone())));
    hand_over(&mut world, 0, 0, &answer).unwrap();
    world.send(0, 0);
    world.run_for(5);
    assert!(world.ends[1].is_up(world.now));
    world.run_for(30);
    let again = hand_over(&mut world, 1, 0, &begun).unwrap().unwrap();
    assert_eq!(again.len(), 60, "a stale reply, and no keys whose counters were used");
}

#[test]
fn an_initiation_of_who_does_not_know_the_public_key_costs_no_more_than_a_hash() {
    let mut world = World::new(&[1], 210);
    let mut bytes = initiation_that_says(1, (1, 1));
    bytes[130] ^= 1;
    assert_eq!(hand_over(&mut world, 1, 0, &bytes), Err(Reason::BadMac));
    let mut stranger = Identity::new(private(9));
    let proposal = Proposal { time: 1, lowest_form: 1, highest_form: 1, ciphers: Offer::CHACHA, instance: 5 };
    let written = message::write_initiation(&mut stranger, &private(2).public(), 78, &proposal, &[3; 32]);
    assert_eq!(hand_over(&mut world, 1, 0, &written.ok().unwrap().1), Err(Reason::UnknownPeer));
}

#[test]
fn forged_responses_are_known_by_their_mac1_and_hold_up_nothing() {
    let mut world = World::new(&[1], 211);
    let begun = initiation(&mut world, 0);
    let answer = hand_over(&mut world, 1, 0, &begun).unwrap().unwrap();
    let before = world.ends[0].sealer.fingerprint();
    let index = index_of(&begun);
    let mut by_public_key = forged_response(index);
    let mac1 = mac(&MacKeys::new(&private(1).public()).mac1, &by_public_key[..76]);
    by_public_key[76..].copy_from_slice(&mac1);
    for forged in [forged_response(index), by_public_key] {
        for _ in 0..times(2000, 4) {
            assert_eq!(hand_over(&mut world, 0, 0, &forged), Err(Reason::BadTag));
        }
    }
    assert_eq!(world.ends[0].sealer.fingerprint(), before);
    assert_eq!(hand_over(&mut world, 0, 0, &answer), Ok(None));
    assert!(world.ends[0].is_up(world.now));
}

#[test]
fn a_response_of_the_responder_that_does_not_fit_ends_that_handshake_and_another_begins() {
    let mut world = World::new(&[1], 224);
    let begun = initiation(&mut world, 0);
    let wrong = response_to(&begun, 1, &PresharedKey::from_bytes([8; 32]));
    assert_eq!(hand_over(&mut world, 0, 0, &wrong), Err(Reason::BadResponse));
    assert_eq!(hand_over(&mut world, 0, 0, &wrong), Err(Reason::UnknownIndex), "it costs nothing again");
    world.now = world.now + ms(800);
    let again = initiation(&mut world, 0);
    assert_ne!(index_of(&again), index_of(&begun));
    let answer = hand_over(&mut world, 1, 0, &again).unwrap().unwrap();
    assert_eq!(hand_over(&mut world, 0, 0, &answer), Ok(None));
    assert!(world.ends[0].is_up(world.now));
}

#[test]
fn an_answer_to_a_handshake_that_is_done_is_stale_and_one_to_none_of_ours_is_unknown() {
    let mut world = World::new(&[1], 212);
    let begun = initiation(&mut world, 0);
    let answer = hand_over(&mut world, 1, 0, &begun).unwrap().unwrap();
    assert_eq!(hand_over(&mut world, 0, 0, &answer), Ok(None));
    let before = world.ends[0].sealer.fingerprint();
    let index = index_of(&begun);
    let mut answers = [answer, forged_response(index), vec![7; 68], vec![7; 60]];
    for (bytes, word) in answers.iter_mut().zip([0x22, 0x22, 0x23, 0x24]) {
        bytes[..4].copy_from_slice(&[0x20, 0, 0x88, 0xb5]);
        bytes[8..12].copy_from_slice(&[word, 0, 0, 0]);
        bytes[4..8].copy_from_slice(&(index << 4).to_be_bytes());
        assert_eq!(hand_over(&mut world, 0, 0, bytes), Err(Reason::Stale));
        bytes[4..8].copy_from_slice(&((index ^ 1) << 4).to_be_bytes());
        assert_eq!(hand_over(&mut world, 0, 0, bytes), Err(Reason::UnknownIndex));
    }
    assert_eq!(world.ends[0].sealer.fingerprint(), before);
    // It is not taken for an answer to the handshake that is under way by then, either.
    world.now = world.now + ms(1000);
    let begun = initiation(&mut world, 0);
    let answer = hand_over(&mut world, 1, 0, &begun).unwrap().unwrap();
    for _ in 0..3 {
        let late = forged_response(index);
        assert_eq!(hand_over(&mut world, 0, 0, &late), Err(Reason::Stale));
    }
    assert_eq!(hand_over(&mut world, 0, 0, &answer), Ok(None));
}

#[test]
fn a_data_datagram_for_the_index_of_a_handshake_is_unknown() {
    let mut world = World::up(&[1], 223);
    let mut data = sealed(&mut world, 1, 0);
    let begun = initiation(&mut world, 0);
    data[4..8].copy_from_slice(&(index_of(&begun) << 4).to_be_bytes());
    assert_eq!(hand_over(&mut world, 0, 0, &data), Err(Reason::UnknownIndex));
}

#[test]
fn keys_that_wait_for_their_first_datagram_are_not_sealed_with_also_in_the_place_of_those_that_were() {
    let mut world = World::up(&[1], 227);
    // Nothing arrives any more, and the keys in use die.
    world.hand = Some(Box::new(|_, _| vec![]));
    world.run_for(200_000);
    assert_eq!(epochs(&world, 1), 0);
    let begun = initiation(&mut world, 0);
    assert_eq!(hand_over(&mut world, 1, 0, &begun).unwrap().unwrap().len(), 92);
    assert_eq!(epochs(&world, 1), 1);
    let (packet, mut place) = ([&[0x10, 0, 8, 0, 0, 0, 0, 1][..], &[0x45; 20]].concat(), vec![0; 60]);
    let (now, end) = (world.now, &mut world.ends[1]);
    assert_eq!(end.sealer.seal(end.peer, 0, &packet, &mut place, now), Err(NotSealed::NoSession));
}

#[test]
fn a_round_trip_that_somebody_made_long_is_not_believed_beyond_a_second() {
    let world = World::up(&[1], 228);
    let peer = world.ends[0].sealer.peers[0].0.as_mut().unwrap();
    peer.note_rtt(ms(60_000));
    assert_eq!(peer.rtt_or_assumed(), ms(1000));
}

#[test]
fn tries_are_spread_by_chance_so_that_a_thousand_peers_do_not_come_at_once() {
    let after = |chance| {
        let mut retry = Retry::default();
        retry.note(chance, START);
        retry.at.since(START)
    };
    assert_eq!((after(0), after(128)), (Duration::from_micros(187_500), ms(250)));
    assert!(after(255) > ms(311) && after(255) < Duration::from_micros(312_500));
}

#[test]
fn an_answer_that_comes_after_the_ephemeral_key_is_erased_is_unknown() {
    let mut world = World::new(&[1], 213);
    let kept = withhold(&mut world, 0, &[92]);
    world.send(0, 0);
    world.run_for(4000);
    let answer = kept.borrow()[0].bytes.clone();
    world.run_for(1500);
    assert_eq!(hand_over(&mut world, 0, 0, &answer), Err(Reason::UnknownIndex));
}

#[test]
fn a_choice_that_was_not_proposed_makes_no_keys() {
    let mut world = World::new(&[1], 214);
    let begun = initiation(&mut world, 0);
    let psk = PresharedKey::from_bytes([9; 32]);
    assert_eq!(hand_over(&mut world, 0, 0, &response_to(&begun, 2, &psk)), Err(Reason::BadResponse));
    assert!(!world.ends[0].is_up(world.now));
    world.now = world.now + ms(800);
    let begun = initiation(&mut world, 0);
    assert_eq!(hand_over(&mut world, 0, 0, &response_to(&begun, 1, &psk)), Ok(None));
}

#[test]
fn a_cookie_is_taken_only_from_where_an_initiation_went() {
    let mut world = World::new(&[1], 215);
    let begun = initiation(&mut world, 0);
    let identity = Identity::new(private(2));
    let mac1 = begun[128..144].try_into().unwrap();
    let reply = message::write_cookie_reply(&identity, index_of(&begun), mac1, &[4; 16], &[5; 24]);
    let now = world.now;
    let end = &mut world.ends[0];
    let other = end.sealer.add_peer(keys(5, 0)).unwrap();
    for path in [None, Some((other, 0))] {
        let mut bytes = reply.to_vec();
        let opened = end.sealer.open(&source(0), path, &mut bytes, now);
        assert!(matches!(opened, Opened::Refused(Reason::Stale)), "{opened:?}");
    }
    let mut forged = reply.to_vec();
    forged[60] ^= 1;
    assert_eq!(hand_over(&mut world, 0, 0, &forged), Err(Reason::BadTag));
    assert_eq!(hand_over(&mut world, 0, 0, &reply), Ok(None));
}

#[test]
fn initiations_without_a_confirmation_replace_one_another_and_nothing_that_is_used() {
    let mut world = World::up(&[1], 216);
    let old = sealed(&mut world, 0, 0);
    for _ in 0..10 {
        world.now = world.now + ms(5100);
        let begun = initiation(&mut world, 0);
        assert_eq!(hand_over(&mut world, 1, 0, &begun).unwrap().unwrap().len(), 92);
        assert_eq!(epochs(&world, 1), 2, "one in use and one that waits");
    }
    assert_eq!(hand_over(&mut world, 1, 0, &old), Ok(None), "what was sealed before is taken");
}

#[test]
fn of_four_places_for_keys_the_oldest_gives_way_and_never_that_which_is_sealed_with() {
    let mut world = World::up(&[1], 217);
    let mut held: Option<(usize, Vec<u8>)> = None;
    for round in 0..8 {
        // From either end, in turns.
        let (from, to) = (round % 2, 1 - round % 2);
        world.now = world.now + Duration::from_secs(6);
        let begun = initiation(&mut world, from);
        let before = sealed(&mut world, to, 0);
        let for_long = sealed(&mut world, to, 0);
        let answer = hand_over(&mut world, to, 0, &begun).unwrap().unwrap();
        assert_eq!(hand_over(&mut world, from, 0, &answer), Ok(None));
        assert_eq!(hand_over(&mut world, from, 0, &before), Ok(None), "round {round}: a straggler");
        let first = sealed(&mut world, from, 0);
        assert_eq!(hand_over(&mut world, to, 0, &first), Ok(None), "round {round}: it confirms");
        let back = sealed(&mut world, to, 0);
        assert_eq!(hand_over(&mut world, from, 0, &back), Ok(None), "round {round}");
        assert!(epochs(&world, 0) <= 4 && epochs(&world, 1) <= 4);
        if let Some((end, bytes)) = held.replace((from, for_long)) {
            assert_eq!(hand_over(&mut world, end, 0, &bytes), Ok(None), "round {round}: a late straggler");
        }
    }
}

#[test]
fn keys_in_use_stay_also_when_they_are_the_oldest() {
    let mut world = World::up(&[1], 224);
    let small = usize::from(private(1).public() > private(2).public());
    let large = 1 - small;
    let begun = initiation(&mut world, large);
    let answer = hand_over(&mut world, small, 0, &begun).unwrap().unwrap();
    assert_eq!(hand_over(&mut world, large, 0, &answer), Ok(None));
    let first = sealed(&mut world, large, 0);
    assert_eq!(hand_over(&mut world, small, 0, &first), Ok(None));
    // Handshakes of the end with the smaller key that seem to have crossed: none of these keys is used.
    for _ in 0..4 {
        world.now = world.now + ms(1000);
        let begun = initiation(&mut world, small);
        let answer = hand_over(&mut world, large, 0, &begun).unwrap().unwrap();
        assert_eq!(hand_over(&mut world, small, 0, &answer), Ok(None));
    }
    let end = &world.ends[small];
    assert_eq!(end.sealer.status(end.peer, world.now).unwrap().age, Some(ms(4000)));
    let packet = sealed(&mut world, small, 0);
    assert_eq!(hand_over(&mut world, large, 0, &packet), Ok(None));
}

#[test]
fn a_peer_that_was_removed_is_unknown_with_all_its_indices() {
    let mut world = World::up(&[1], 218);
    let good = sealed(&mut world, 0, 0);
    let begun = initiation(&mut world, 1);
    let answer = hand_over(&mut world, 0, 0, &begun).unwrap().unwrap();
    let again = initiation(&mut world, 0);
    let peer = world.ends[1].peer;
    world.ends[1].sealer.remove_peer(peer);
    assert_eq!(hand_over(&mut world, 1, 0, &good), Err(Reason::UnknownIndex));
    assert_eq!(hand_over(&mut world, 1, 0, &answer), Err(Reason::UnknownIndex));
    assert_eq!(hand_over(&mut world, 1, 0, &again), Err(Reason::UnknownPeer));
    let index = std::format!("{:?}", world.ends[1].sealer.index);
    assert!(!index.contains("Epoch"), "{index}");
}

#[test]
fn a_first_datagram_that_is_held_up_does_not_delay_the_notice_of_a_restart() {
    let mut world = World::new(&[10], 219);
    world.hand = Some(Box::new(|flying, _| {
        // Probes and packets to end 1 are held up at first.
        let is_first = flying.to == 1 && flying.bytes[0] == 0x30;
        vec![(if is_first { Duration::from_secs(60) } else { Duration::ZERO }, flying.clone())]
    }));
    world.send(0, 0);
    world.run_for(60_050);
    world.hand = None;
    world.run_for(1000);
    assert!(world.ends.iter().all(|end| end.is_up(world.now)));
    world.restart(0, 5);
    world.ends[0].sealer.set_paths(world.ends[0].peer, PathSet::default());
    let sent = world.load(&[1], times(10, 100), 4500);
    let end = &mut world.ends[0];
    end.sealer.set_paths(end.peer, PathSet::of(0));
    assert!(!end.got.is_empty(), "{} sent", sent.len());
}

#[test]
fn after_an_outage_of_minutes_a_restart_is_noticed_as_fast_as_ever() {
    let mut world = World::up(&[10], 220);
    world.hand = Some(Box::new(|_, _| vec![]));
    world.load(&[0, 1], times(20, 500), times(150_000, 20_000));
    world.hand = None;
    world.load(&[0, 1], times(20, 100), 10_000);
    assert!(world.ends.iter().all(|end| end.is_up(world.now)));
    // The peer is gone for a second, and does not begin a handshake itself.
    world.hand = Some(Box::new(|_, _| vec![]));
    world.load(&[0], 10, 1000);
    world.hand = None;
    world.restart(1, 6);
    world.ends[1].sealer.set_paths(world.ends[1].peer, PathSet::default());
    let sent = world.load(&[0], 10, 1000);
    world.run_for(50);
    assert!(world.ends[1].got.contains_key(sent.last().unwrap()));
}

#[test]
fn a_datagram_counts_on_its_own_path_and_in_its_own_epoch() {
    let mut world = World::up(&[1, 1, 1], 221);
    // As many on each path, so that their counters are the same.
    for path in [0, 1, 2] {
        for _ in 0..3 {
            let bytes = sealed(&mut world, 0, path);
            assert_eq!(hand_over(&mut world, 1, path, &bytes), Ok(None), "path {path}");
            assert_eq!(hand_over(&mut world, 1, path, &bytes), Err(Reason::Replayed));
        }
    }
}

#[test]
fn who_sends_clear_datagrams_is_told_apart_from_noise() {
    let mut world = World::up(&[1], 222);
    for header in [[0u8, 0, 8, 0], [0x10, 0, 0x86, 0xdd], [0xb0, 0, 0x88, 0xb5], [0x20, 0, 0x88, 0xb6]] {
        let bytes = [&header[..], &[0x11; 40]].concat();
        assert_eq!(hand_over(&mut world, 1, 0, &bytes), Err(Reason::Clear), "{header:x?}");
    }
    for header in [[0x40u8, 0, 8, 0], [0x10, 1, 8, 0], [0x10, 0, 8, 6], [0x01, 0, 8, 0]] {
        let bytes = [&header[..], &[0x11; 40]].concat();
        assert_eq!(hand_over(&mut world, 1, 0, &bytes), Err(Reason::Form), "{header:x?}");
    }
}
