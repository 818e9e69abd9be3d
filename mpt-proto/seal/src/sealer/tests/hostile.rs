//! What somebody may try who has read this code: to stop a session, to keep a peer out, to take over what is sent.

use std::boxed::Box;
use std::cell::RefCell;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use core::time::Duration;

use mpt_proto::PathSet;

use super::world::*;
use crate::cipher::{Cipher, Ciphers, NONCE_LEN, Offer, Portable, PortableKey, Suite, TAG_LEN};
use crate::reason::Reason;
use crate::sealer::{Entropy, Opened, Sealer, Storage};
use crate::testing::times;
use crate::{INDEX_SLOTS_PER_PEER, IndexSlot, PeerSlot, RecentSlot, SourceSlot, WINDOW_WORDS_MIN};

#[test]
fn handshakes_that_cross_when_a_peer_restarted_leave_both_directions_open() {
    for restarted in [0, 1] {
        let mut world = World::up(&[100], 80);
        world.restart(restarted, 1);
        // The other end has noticed, and both begin at once.
        let (now, other) = (world.now, 1 - restarted);
        let peer = world.ends[other].peer;
        world.ends[other].sealer.initiate(peer, now);
        world.send(restarted, 0);
        world.run_for(450);
        let sent = world.load(&[0, 1], 20, 3000);
        world.run_for(200);
        assert_eq!(world.lost(&sent), 0, "end {restarted} restarted");
    }
}

#[test]
fn a_peer_that_restarts_within_seconds_of_our_handshake_is_sent_to_with_its_new_keys_whichever_is_the_larger()
{
    for restarted in [0, 1] {
        let mut world = World::new(&[10], 91);
        world.send(1 - restarted, 0);
        world.run_for(300);
        world.send(restarted, 0);
        world.run_for(50);
        assert!(world.ends.iter().all(|end| end.is_up(world.now)));
        world.restart(restarted, 4);
        world.send(restarted, 0);
        world.run_for(100);
        let sent = world.load(&[0, 1], 20, 300);
        world.run_for(100);
        assert_eq!(world.lost(&sent), 0, "end {restarted} restarted");
    }
}

#[test]
fn a_late_answer_of_a_process_that_is_gone_does_not_erase_the_keys_of_the_next() {
    let mut world = World::new(&[10], 81);
    let kept = withhold(&mut world, 0, &[92]);
    world.send(0, 0);
    world.run_for(100);
    let late = kept.borrow()[0].clone();
    world.hand = None;
    // The process that answered dies, and the next one begins a handshake itself.
    world.restart(1, 2);
    world.ends[0].sealer.set_paths(world.ends[0].peer, PathSet::default());
    world.send(1, 0);
    world.run_for(100);
    assert!(world.ends.iter().all(|end| end.is_up(world.now)));
    assert_eq!(hand_over(&mut world, 0, 0, &late.bytes), Err(Reason::UnknownIndex));
    let sent = world.load(&[0, 1], 20, 1000);
    world.run_for(100);
    assert_eq!(world.lost(&sent), 0);
}

#[test]
fn what_a_process_that_is_gone_had_sealed_is_not_taken_when_the_next_one_speaks() {
    let mut world = World::new(&[10], 82);
    // The peer's first datagrams with its keys are held up; then it dies.
    let kept = withhold(&mut world, 0, &[60, 92]);
    world.send(1, 0);
    world.run_for(50);
    world.send(1, 0);
    world.run_for(10);
    let held = kept.borrow().clone();
    assert!(!held.is_empty() && !world.ends[0].is_up(world.now));
    world.hand = None;
    world.restart(1, 3);
    world.send(0, 0);
    world.run_for(100);
    assert!(world.ends.iter().all(|end| end.is_up(world.now)));
    for flying in &held {
        assert_eq!(hand_over(&mut world, 0, 0, &flying.bytes), Err(Reason::UnknownIndex));
    }
    let sent = world.load(&[0, 1], 20, 1000);
    world.run_for(100);
    assert_eq!(world.lost(&sent), 0);
}

#[test]
fn a_confirmation_that_is_held_up_does_not_bring_older_keys_back_into_use() {
    let mut world = World::up(&[10], 83);
    // The end with the smaller key gives way where handshakes cross.
    let small = usize::from(private(1).public() > private(2).public());
    let large = 1 - small;
    // It begins a handshake; what it seals with these keys is held up.
    let begun = initiation(&mut world, small);
    let answer = hand_over(&mut world, large, 0, &begun).unwrap().unwrap();
    assert_eq!(hand_over(&mut world, small, 0, &answer), Ok(None));
    let kept = withhold(&mut world, large, &[60, 92]);
    world.send(small, 0);
    world.run_for(5);
    let held = kept.borrow()[0].clone();
    world.hand = None;
    // The other end begins another one.
    let begun = initiation(&mut world, large);
    let answer = hand_over(&mut world, small, 0, &begun).unwrap().unwrap();
    assert_eq!(hand_over(&mut world, large, 0, &answer), Ok(None));
    world.run_for(20_000);
    let age = |world: &World| {
        let end = &world.ends[large];
        end.sealer.status(end.peer, world.now).unwrap().age.unwrap()
    };
    let before = age(&world);
    assert_eq!(hand_over(&mut world, large, 0, &held.bytes), Ok(None), "authentic, and for the first time");
    assert_eq!(age(&world), before);
}

#[test]
fn copies_that_an_observer_repeats_do_not_use_up_the_answer_for_slower_paths() {
    let mut world = World::new(&[10, 300], 84);
    world.hand = Some(Box::new(|flying, _| {
        // Nothing passes on the first path from end 1, and who sits there repeats each initiation.
        match (flying.path, flying.to, flying.bytes.len()) {
            (0, 1, 160) => (0..100).map(|copy| (Duration::from_millis(copy), flying.clone())).collect(),
            (0, ..) => vec![],
            _ => vec![(Duration::ZERO, flying.clone())],
        }
    }));
    world.send(0, 0);
    world.run_for(1000);
    assert!(world.ends[0].is_up(world.now));
    assert_eq!(world.ends[1].sealer.stats().refused(Reason::Stale), 0);
}

#[test]
fn replays_of_old_initiations_do_not_keep_a_peer_without_a_clock_out() {
    let mut world = World::new(&[10], 85);
    let kept = record(&mut world);
    world.send(0, 0);
    world.run_for(250_000);
    let old: Vec<_> =
        kept.borrow().iter().filter(|flying| flying.bytes.len() == 160 && flying.to == 1).cloned().collect();
    assert!(old.len() >= 2);
    world.hand = None;
    world.ends[0].clock = None;
    world.restart(0, 4);
    world.send(0, 0);
    for step in 0..100 {
        let _ = hand_over(&mut world, 1, 0, &old[step % old.len()].bytes);
        world.run_for(5);
    }
    assert!(world.ends[0].is_up(world.now), "within half a second");
}

#[test]
fn a_peer_that_finds_every_initiation_stale_costs_no_more_than_the_retries() {
    let mut world = World::up(&[1], 86);
    // The peer is malicious: the time that it knows of us is the last that there is, so that all is stale.
    let mut begun = 0;
    world.hand = None;
    for step in 0..2000 {
        let now = world.now;
        let end = &mut world.ends[1];
        end.sealer.set_newest_time(end.peer, u64::MAX);
        let end = &mut world.ends[0];
        if step == 0 {
            end.sealer.initiate(end.peer, now);
        }
        end.sealer.handle_timeout(now.as_micros(), now);
        let sent = end.sealer.poll_transmit(now).map(|(_, _, bytes)| bytes.to_vec());
        if let Some(bytes) = sent {
            begun += 1;
            let reply = hand_over(&mut world, 1, 0, &bytes).unwrap().expect("a stale reply");
            assert_eq!(reply.len(), 60);
            assert_eq!(hand_over(&mut world, 0, 0, &reply), Ok(None));
        }
        world.now = world.now + Duration::from_millis(1);
    }
    assert!((4..=15).contains(&begun), "{begun} in two seconds, not one in each round trip");
}

#[test]
fn a_flood_of_strangers_does_not_keep_out_a_peer_whose_path_is_known() {
    let mut world = World::up(&[1], 87);
    let used = Used::default();
    let mut stranger = sealer(9, 9, 1, 9, &used, world.now);
    let peer = stranger.add_peer(keys(2, 0)).unwrap();
    stranger.set_paths(peer, PathSet::of(0));
    let flood: Vec<Vec<u8>> = (0..20)
        .map(|number| {
            let at = world.now + Duration::from_secs(6 * number);
            stranger.initiate(peer, at);
            stranger.handle_timeout(1, at);
            stranger.poll_transmit(at).unwrap().2.to_vec()
        })
        .collect();
    let mut full = false;
    // Interpreted, 3,000 would take two hours: there the budget is not spent, and what follows runs nevertheless.
    for number in 0..times(3000, 30) {
        let mut bytes = flood[number % flood.len()].clone();
        let opened = world.ends[1].sealer.open(&source(99), None, &mut bytes, world.now);
        full |= matches!(opened, Opened::Refused(Reason::Busy));
    }
    assert!(full || cfg!(miri), "the budget for strangers is spent");
    let begun = initiation(&mut world, 0);
    let reply = hand_over(&mut world, 1, 0, &begun).unwrap().unwrap();
    assert_eq!(reply.len(), 92, "it is answered at once");
}

#[test]
fn a_cookie_of_one_path_does_not_replace_that_of_another() {
    let mut world = World::new(&[10, 10], 88);
    let now = world.now;
    // End 1 is under load: it answers with cookies.
    world.ends[0].sealer.initiate(world.ends[0].peer, now);
    world.ends[0].sealer.handle_timeout(1, now);
    let used = Used::default();
    let mut stranger = sealer(9, 9, 1, 9, &used, now);
    let peer = stranger.add_peer(keys(2, 0)).unwrap();
    stranger.set_paths(peer, PathSet::of(0));
    stranger.initiate(peer, now);
    stranger.handle_timeout(1, now);
    let flood = stranger.poll_transmit(now).unwrap().2.to_vec();
    for _ in 0..300 {
        let _ = hand_over(&mut world, 1, 0, &flood);
    }
    for path in [0, 1] {
        let (_, number, bytes) = world.ends[0].sealer.poll_transmit(now).unwrap();
        assert_eq!(number, path);
        let bytes = bytes.to_vec();
        assert_eq!(bytes[144..], [0; 16]);
        let reply = hand_over(&mut world, 1, path, &bytes).unwrap().unwrap();
        assert_eq!(reply.len(), 68);
        assert_eq!(hand_over(&mut world, 0, path, &reply), Ok(None));
    }
    world.now = now + Duration::from_millis(400);
    world.ends[0].sealer.handle_timeout(1, world.now);
    for path in [0, 1] {
        let bytes = world.ends[0].sealer.poll_transmit(world.now).unwrap().2.to_vec();
        assert_ne!(bytes[144..], [0; 16], "path {path} has a cookie");
        let reply = hand_over(&mut world, 1, path, &bytes).unwrap().unwrap();
        assert_eq!(reply.len(), 92);
    }
}

#[test]
fn a_datagram_of_earlier_keys_is_not_the_newest_of_its_path() {
    let mut world = World::up(&[10], 89);
    let newest = |world: &mut World, bytes: &[u8]| {
        let end = &mut world.ends[1];
        match end.sealer.open(&source(0), None, &mut bytes.to_vec(), world.now) {
            Opened::Clear { is_newest, .. } => is_newest,
            other => panic!("{other:?}"),
        }
    };
    let [first, second] = [sealed(&mut world, 0, 0), sealed(&mut world, 0, 0)];
    assert!(newest(&mut world, &first));
    // Who sits on the way keeps the second one until there are other keys. It is the last one of its own: an answer comes, so that
    // nothing is asked for.
    world.control(1, 0, 0x12);
    let handshakes = world.ends[0].handshakes(world.now);
    world.run_for(130_000);
    assert!(world.ends[0].handshakes(world.now) > handshakes);
    let third = sealed(&mut world, 0, 0);
    assert!(newest(&mut world, &third));
    assert!(!newest(&mut world, &second), "and it is of a path that was used since");
}

#[test]
fn a_handshake_leaves_on_no_path_that_was_taken_away() {
    let mut world = World::new(&[10, 10, 10], 90);
    let now = world.now;
    let end = &mut world.ends[0];
    end.sealer.initiate(end.peer, now);
    end.sealer.handle_timeout(1, now);
    end.sealer.set_paths(end.peer, PathSet::of(1));
    assert!(matches!(end.sealer.poll_transmit(now), Some((_, 1, _))));
    assert!(end.sealer.poll_transmit(now).is_none());
}

/// A generator that gives nothing.
struct Zeros;

impl Entropy for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

/// Ciphers whose keys tell where they lay when they were dropped.
struct Watched(Rc<RefCell<Vec<usize>>>);

struct WatchedKey(PortableKey, Rc<RefCell<Vec<usize>>>);

impl Drop for WatchedKey {
    fn drop(&mut self) {
        self.1.borrow_mut().push(core::ptr::from_ref(&self.0).addr());
    }
}

impl Ciphers for Watched {
    type Key = WatchedKey;

    fn offered(&self) -> Offer {
        Offer::CHACHA
    }

    fn key(&self, suite: Suite, key: &[u8; 32]) -> WatchedKey {
        WatchedKey(Portable.key(suite, key), self.0.clone())
    }
}

impl Cipher for WatchedKey {
    fn seal(&self, nonce: &[u8; NONCE_LEN], associated: &[u8], bytes: &mut [u8]) -> [u8; TAG_LEN] {
        self.0.seal(nonce, associated, bytes)
    }

    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> bool {
        self.0.open(nonce, associated, bytes, tag)
    }
}

/// Memory for one peer.
struct Memory {
    peers: [PeerSlot<WatchedKey>; 1],
    order: [u16; 1],
    index: [IndexSlot; INDEX_SLOTS_PER_PEER],
    windows: Vec<u64>,
    sources: [SourceSlot; 1],
    recent: [RecentSlot; 1],
}

impl Memory {
    fn new() -> Self {
        Self {
            peers: [PeerSlot::default()],
            order: [0],
            index: [IndexSlot::default(); INDEX_SLOTS_PER_PEER],
            windows: vec![0; WINDOW_WORDS_MIN],
            sources: [SourceSlot::default()],
            recent: [RecentSlot::default()],
        }
    }

    fn lend(&mut self) -> Storage<'_, WatchedKey> {
        let Self { peers, order, index, windows, sources, recent } = self;
        Storage { peers, order, index, windows, sources, recent }
    }
}

#[test]
fn without_any_entropy_two_ends_meet_nevertheless_and_keys_are_erased_where_they_lay() {
    let dropped = Rc::new(RefCell::new(Vec::new()));
    let mut memory = [Memory::new(), Memory::new()];
    let lent = memory.each_ref().map(|memory| {
        let range = memory.peers.as_ptr_range();
        range.start.addr()..range.end.addr()
    });
    let [one, other] = &mut memory;
    let ciphers = || Watched(dropped.clone());
    let mut a = Sealer::new(private(1), 1, ciphers(), Zeros, one.lend(), START);
    let mut b = Sealer::new(private(2), 2, ciphers(), Zeros, other.lend(), START);
    let (to_b, to_a) = (a.add_peer(keys(2, 0)).unwrap(), b.add_peer(keys(1, 0)).unwrap());
    a.set_paths(to_b, PathSet::of(0));
    let mut now = START;
    for round in 0..7u64 {
        now = now + Duration::from_secs(40);
        a.initiate(to_b, now);
        a.handle_timeout(now.as_micros(), now);
        let mut bytes = a.poll_transmit(now).unwrap().2.to_vec();
        let Opened::Reply(reply) = b.open(&source(1), None, &mut bytes, now) else { panic!("{round}") };
        let mut reply = reply.to_vec();
        assert!(matches!(a.open(&source(2), None, &mut reply, now), Opened::Consumed), "{round}");
        let packet = [&[0x10, 0, 8, 0, 0, 0, 0, 1][..], &[0x45; 20]].concat();
        let mut sealed = vec![0; a.sealed_len(&packet, 1400).unwrap()];
        a.seal(to_b, 0, &packet, &mut sealed, now).unwrap();
        assert!(matches!(b.open(&source(1), None, &mut sealed, now), Opened::Clear { .. }), "{round}");
        b.handle_timeout(now.as_micros(), now);
    }
    assert!(!dropped.borrow().is_empty(), "by age");
    b.remove_peer(to_a);
    drop(a);
    drop(b);
    let dropped = dropped.take();
    assert_eq!(dropped.len(), 2 * 2 * 7);
    assert!(
        dropped.iter().all(|at| lent.iter().any(|lent| lent.contains(at))),
        "moved before they were erased"
    );
}
