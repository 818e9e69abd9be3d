//! Somebody on the way who may do everything but break ciphers: drop, delay, repeat, reflect, flip, cut, splice, forge.

use std::boxed::Box;
use std::cell::Cell;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use core::time::Duration;

use super::world::*;
use crate::testing::times;

/// A hand that does harm while `active`, by chance.
fn adversary(seed: u64, paths: u8, active: Rc<Cell<bool>>) -> Hand {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut record: Vec<Flying> = Vec::new();
    Box::new(move |flying, _| {
        let mut out = Vec::new();
        if !active.get() {
            return vec![(Duration::ZERO, flying.clone())];
        }
        record.push(flying.clone());
        if record.len() > 2000 {
            record.swap_remove(random.usize(..1000));
        }
        if random.f32() < 0.8 {
            let late = match random.u8(..20) {
                0 => random.u64(..300_000),
                1..=3 => random.u64(..2000),
                _ => 0,
            };
            out.push((Duration::from_millis(late), flying.clone()));
        }
        for _ in 0..random.usize(..3) {
            let mut forged = record[random.usize(..record.len())].clone();
            match random.u8(..7) {
                0 => forged.to = 1 - forged.to,
                1 => forged.path = random.u8(..paths),
                2 => {
                    let bit = random.usize(..forged.bytes.len() * 8);
                    forged.bytes[bit / 8] ^= 1 << (bit % 8);
                }
                3 => forged.bytes.truncate(random.usize(..forged.bytes.len())),
                4 => {
                    let other = &record[random.usize(..record.len())].bytes;
                    let cut = random.usize(..forged.bytes.len().min(other.len()));
                    forged.bytes = [&forged.bytes[..cut], &other[cut..]].concat();
                }
                5 => forged.bytes.extend([0; 16]),
                _ => {}
            }
            let is_replay_to_the_same_path = record.iter().any(|known| {
                known.bytes == forged.bytes && known.to == forged.to && known.path != forged.path
            });
            // The world asserts that a datagram is of its path; one that is forwarded on another is its business.
            if !is_replay_to_the_same_path {
                out.push((Duration::from_millis(random.u64(..1000)), forged));
            }
        }
        out
    })
}

#[test]
fn nothing_is_taken_twice_or_altered_and_traffic_flows_within_a_second_after_it_ends() {
    for seed in 0..times(12, 1) {
        let active = Rc::new(Cell::new(false));
        let mut world = World::up(&[5, 40, 120], 50 + seed);
        world.hand = Some(adversary(seed, 3, active.clone()));
        active.set(true);
        for step in 0..times(30, 10) {
            world.load(&[0, 1], times(25, 1000), 10_000);
            if step % 10 == 9 {
                world.restart(usize::try_from(step / 10 % 2).unwrap(), seed * 10 + step);
            }
            for end in &world.ends {
                let twice: Vec<_> = end.got.iter().filter(|(_, count)| **count > 1).collect();
                assert!(twice.is_empty(), "seed {seed}, step {step}: taken twice: {twice:?}");
            }
        }
        active.set(false);
        world.load(&[0, 1], times(10, 50), 1000);
        let sent = world.load(&[0, 1], times(10, 50), 1000);
        world.run_for(500);
        for number in sent {
            let got: u32 = world.ends.iter().filter_map(|end| end.got.get(&number)).sum();
            assert_eq!(got, 1, "seed {seed}: packet {number}");
        }
    }
}

#[test]
fn a_flood_of_an_authentic_peers_old_initiations_stops_no_session() {
    let kept = Rc::new(std::cell::RefCell::new(Vec::new()));
    let mut world = World::new(&[10], 70);
    let record = kept.clone();
    world.hand = Some(Box::new(move |flying, _| {
        if flying.bytes.len() == 160 {
            record.borrow_mut().push(flying.bytes.clone());
        }
        vec![(Duration::ZERO, flying.clone())]
    }));
    world.send(0, 0);
    world.run_for(500);
    let packets = times(200, 10);
    for step in 0..10 * packets {
        let mut bytes = kept.borrow()[0].clone();
        let end = &mut world.ends[1];
        let _ = end.sealer.open(&source(3), None, &mut bytes, world.now);
        if step % 10 == 0 {
            world.send(0, 0);
            world.send(1, 0);
        }
        world.run_for(100);
    }
    assert_eq!(world.ends[0].unsent + world.ends[1].unsent, 1);
    let got = world.ends.each_ref().map(|end| end.got.len());
    assert_eq!(got, [packets, packets]);
}
