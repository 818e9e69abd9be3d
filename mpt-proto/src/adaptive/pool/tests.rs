use super::*;
use crate::rng::Rng;
use std::collections::VecDeque;
use std::vec;
use std::vec::Vec;

const CELL: usize = HEADROOM + 8;

fn pool(slots: usize) -> Pool<'static> {
    Pool::new(vec![PacketSlot::default(); slots].leak(), vec![0; slots * CELL].leak())
}

impl Pool<'_> {
    /// The slots of a list, first to last.
    pub(crate) fn indexes(&self, list: &List) -> Vec<usize> {
        let mut all = Vec::new();
        let mut next = list.first();
        while let Some(index) = next {
            all.push(index.get());
            assert!(all.len() <= self.len(), "the list has no end");
            next = self.slot(index).unwrap().next;
        }
        assert_eq!(list.tail.map(Index::get), all.last().copied());
        all
    }
}

#[test]
fn every_slot_is_in_one_list_and_lists_are_first_in_first_out_whatever_is_done() {
    let mut rng = Rng::new(1);
    for slots in [0, 1, 2, 7, 64] {
        let mut pool = pool(slots);
        let mut lists = [List::default(); 3];
        let mut oracle: [VecDeque<(usize, [u8; 8])>; 3] = Default::default();
        for step in 0..2_000u64 {
            let [from, to] = [0, 1].map(|_| usize::try_from(rng.below(3)).unwrap());
            match rng.below(4) {
                0 => {
                    let packet = step.to_be_bytes();
                    let stored = pool.store(&packet);
                    let kept: usize = oracle.iter().map(VecDeque::len).sum();
                    assert_eq!(stored.is_some(), kept < slots);
                    if let Some(index) = stored {
                        pool.push(&mut lists[to], index);
                        oracle[to].push_back((index.get(), packet));
                    }
                }
                1 => {
                    let popped = pool.pop(&mut lists[from]);
                    let expected = oracle[from].pop_front();
                    assert_eq!(popped.map(Index::get), expected.map(|(index, _)| index));
                    if let Some((index, expected)) = popped.zip(expected) {
                        assert_eq!(pool.packet_mut(index), expected.1);
                        pool.push(&mut lists[to], index);
                        oracle[to].push_back(expected);
                    }
                }
                2 => {
                    let first = core::mem::take(&mut lists[from]);
                    pool.prepend(first, &mut lists[to]);
                    let mut first = core::mem::take(&mut oracle[from]);
                    first.append(&mut oracle[to]);
                    oracle[to] = first;
                }
                _ => {
                    if let Some(index) = pool.pop(&mut lists[from]) {
                        assert_eq!(pool.packet_mut(index), oracle[from].pop_front().unwrap().1);
                        pool.release(index);
                    }
                }
            }
            let mut all = pool.indexes(&pool.free);
            for (list, oracle) in lists.iter().zip(&oracle) {
                let held = pool.indexes(list);
                assert!(held.iter().eq(oracle.iter().map(|(index, _)| index)));
                assert_eq!(list.is_empty(), held.is_empty());
                all.extend(held);
            }
            all.sort_unstable();
            assert!(all.into_iter().eq(0..slots), "step {step}");
        }
    }
}

#[test]
fn a_full_pool_takes_nothing_and_changes_nothing() {
    let mut pool = pool(1);
    let mut list = List::default();
    let index = pool.store(&[1, 2, 3]).unwrap();
    pool.push(&mut list, index);
    assert_eq!(pool.store(&[9, 9, 9]), None);
    assert_eq!(pool.packet_mut(index), [1, 2, 3]);
    assert_eq!(pool.indexes(&list), [0]);
}

#[test]
fn what_fits_is_a_packet_with_room_for_headers_before_it() {
    let mut pool = pool(2);
    assert!(pool.fits(8) && !pool.fits(9));
    let [first, second] = [[1; 8], [2; 8]].map(|packet| pool.store(&packet).unwrap());
    let datagram = pool.datagram_mut(second, HEADROOM);
    assert_eq!((datagram.len(), &datagram[HEADROOM..]), (CELL, &[2; 8][..]));
    datagram.fill(7);
    assert_eq!(pool.packet_mut(first), [1; 8], "headers of one packet do not touch another");
}

#[test]
fn a_slot_taken_again_remembers_nothing() {
    let mut pool = pool(1);
    let index = pool.store(&[1; 8]).unwrap();
    *pool.slot_mut(index).unwrap() =
        PacketSlot { tries: 3, since: 9, flow: 5, len: 8, ..PacketSlot::default() };
    pool.release(index);
    let index = pool.store(&[]).unwrap();
    let slot = pool.slot(index).unwrap();
    assert_eq!((slot.tries, slot.since, slot.flow, slot.len), (0, 0, 0, 0));
    assert!(pool.packet_mut(index).is_empty());
}

#[test]
fn without_memory_nothing_fits() {
    let mut pool = Pool::new(&mut [], &mut []);
    assert!(!pool.fits(0));
    assert_eq!(pool.store(&[]), None);
    let mut slots = vec![PacketSlot::default(); 4];
    let mut pool = Pool::new(&mut slots, &mut []);
    assert!(!pool.fits(0), "slots without bytes");
    assert!(pool.store(&[]).is_some_and(|index| pool.packet_mut(index).is_empty()));
}
