use super::*;
use crate::adaptive::pool::PacketSlot;
use crate::adaptive::tuning::{OWNED, QUANTUM};
use crate::rng::Rng;
use crate::wire::HEADROOM;
use std::collections::VecDeque;
use std::vec;
use std::vec::Vec;

/// Nothing is due under these.
const LAX: Bounds = Bounds { target: u32::MAX, interval: 100_000 };
const CODEL: Bounds = Bounds { target: 5_000, interval: 100_000 };

struct Bench {
    pool: Pool<'static>,
    queue: Queue<'static>,
    counts: Counts,
}

fn bench(slots: usize, flows: usize) -> Bench {
    let bytes = vec![0; slots * (HEADROOM + 1600)];
    Bench {
        pool: Pool::new(vec![PacketSlot::default(); slots].leak(), bytes.leak()),
        queue: Queue::new(vec![FlowSlot::default(); flows].leak(), QUANTUM),
        counts: Counts::default(),
    }
}

fn packet(len: usize, ecn: Ecn) -> Vec<u8> {
    let mut packet = vec![0; len];
    packet[0] = 0x45;
    packet[1] = ecn.bits();
    packet
}

impl Bench {
    fn push(&mut self, flow: u16, len: usize, ecn: Ecn, now: u32) -> Option<Index> {
        let index = self.pool.store(&packet(len, ecn))?;
        let slot = self.pool.slot_mut(index).unwrap();
        (slot.flow, slot.since) = (flow, now);
        self.queue.push(&mut self.pool, index);
        Some(index)
    }

    fn pop(&mut self, bounds: Bounds, now: u32) -> Option<(Index, u16, u16)> {
        let index = self.queue.pop(Among::Free, &mut self.pool, bounds, &mut self.counts, now)?;
        let slot = self.pool.slot(index).unwrap();
        Some((index, slot.flow, slot.len))
    }
}

#[test]
fn rfc8290_4_1_flows_share_by_bytes_whatever_the_size_of_their_packets() {
    let mut bench = bench(400, 4);
    for _ in 0..200 {
        bench.push(0, 1500, Ecn::NotEct, 0);
        bench.push(1, 300, Ecn::NotEct, 0);
    }
    let mut bytes = [0i32; 2];
    for _ in 0..200 {
        let (index, flow, len) = bench.pop(LAX, 0).unwrap();
        bench.pool.release(index);
        bytes[usize::from(flow)] += i32::from(len);
        let apart = bytes[0] - bytes[1];
        assert!(apart.abs() <= 2 * i32::from(QUANTUM), "{bytes:?}");
    }
    assert!(bytes[0] > 30_000);
}

#[test]
fn rfc8290_4_2_a_new_flow_goes_before_those_that_wait() {
    let mut bench = bench(100, 4);
    for _ in 0..20 {
        bench.push(0, 1500, Ecn::NotEct, 0);
        bench.push(1, 1500, Ecn::NotEct, 0);
    }
    (0..6).for_each(|_| assert!(bench.pop(LAX, 0).is_some()));
    bench.push(2, 100, Ecn::NotEct, 0);
    assert_eq!(bench.pop(LAX, 0).map(|(_, flow, _)| flow), Some(2));
}

#[test]
fn a_flow_that_comes_again_and_again_does_not_stay_ahead_of_the_others() {
    let mut bench = bench(100, 4);
    (0..20).for_each(|_| assert!(bench.push(0, 1500, Ecn::NotEct, 0).is_some()));
    let mut served = [0; 2];
    for _ in 0..40 {
        bench.push(1, 1500, Ecn::NotEct, 0);
        if let Some((index, flow, _)) = bench.pop(LAX, 0) {
            bench.pool.release(index);
            served[usize::from(flow)] += 1;
        }
    }
    assert!(served[0] >= 15, "{served:?}");
}

#[test]
fn room_is_made_at_the_head_of_the_longest_queue_and_at_most_64_packets_at_once() {
    let mut bench = bench(400, 4);
    let first = bench.push(1, 1000, Ecn::NotEct, 0).unwrap();
    (0..4).for_each(|_| assert!(bench.push(0, 200, Ecn::NotEct, 0).is_some()));
    (0..299).for_each(|_| assert!(bench.push(1, 1000, Ecn::NotEct, 0).is_some()));
    assert!(bench.queue.overflow(&mut bench.pool, &mut bench.counts));
    assert_eq!((bench.queue.len(), bench.counts.dropped), (304 - 64, 64));
    // The slot of the oldest is free, and was freed first: those freed after it are taken before.
    let free = (0..97).map(|_| bench.pool.store(&[]).unwrap()).collect::<Vec<_>>();
    assert_eq!(free[63], first);
    while let Some((index, ..)) = bench.pop(LAX, 0) {
        bench.pool.release(index);
    }
    assert_eq!(bench.queue.len(), 0);
    assert!(!bench.queue.overflow(&mut bench.pool, &mut bench.counts), "nothing to drop");
    assert_eq!(bench.counts.dropped, 64);
}

#[test]
fn of_a_short_queue_half_is_dropped_and_of_one_packet_that_one() {
    let mut bench = bench(20, 1);
    (0..9).for_each(|_| assert!(bench.push(0, 100, Ecn::NotEct, 0).is_some()));
    let mut lens = Vec::new();
    while bench.queue.overflow(&mut bench.pool, &mut bench.counts) {
        lens.push(bench.queue.len());
    }
    assert_eq!(lens, [4, 2, 1, 0]);
    assert!(bench.pop(LAX, 0).is_none());
}

#[test]
fn a_flow_is_fresh_until_it_had_its_quantum_and_old_ones_are_counted() {
    let mut bench = bench(40, 4);
    assert_eq!(bench.queue.turn(Among::Free), None);
    for flow in 0..3 {
        (0..3).for_each(|_| assert!(bench.push(flow, 1000, Ecn::NotEct, 0).is_some()));
    }
    let mut turns = Vec::new();
    while let Some(turn) = bench.queue.turn(Among::Free) {
        let first = bench.queue.first();
        turns.push((turn, bench.queue.old_flows()));
        let (index, ..) = bench.pop(LAX, 0).unwrap();
        assert_eq!(first, Some((turn, index)), "the one that was told");
        bench.pool.release(index);
    }
    assert_eq!(
        turns[..6],
        [
            (Turn::Fresh, 0),
            (Turn::Fresh, 0),
            (Turn::Fresh, 1),
            (Turn::Fresh, 1),
            (Turn::Fresh, 2),
            (Turn::Fresh, 2)
        ]
    );
    assert_eq!(turns[6..], [(Turn::Old, 3), (Turn::Old, 2), (Turn::Old, 1)]);
}

#[test]
fn packets_that_can_be_marked_are_marked_and_others_dropped() {
    for ecn in [Ecn::NotEct, Ecn::Ect0, Ecn::Ce] {
        let mut bench = bench(2000, 1);
        (0..1000).for_each(|_| assert!(bench.push(0, 1000, ecn, 0).is_some()));
        let (mut now, mut popped, mut marked) = (50_000, 0, 0);
        while let Some((index, ..)) = bench.pop(CODEL, now) {
            marked += u64::from(ip::ecn(bench.pool.packet_mut(index)) == Ecn::Ce && ecn != Ecn::Ce);
            bench.pool.release(index);
            (popped, now) = (popped + 1, now + 1000);
        }
        let counts = bench.counts;
        assert_eq!(counts.marked, marked);
        assert_eq!(popped + counts.dropped, 1000);
        match ecn {
            Ecn::NotEct => assert!(counts.dropped >= 15 && marked == 0, "{counts:?}"),
            Ecn::Ect0 => assert!(counts.dropped == 0 && marked >= 15, "{counts:?}"),
            _ => assert_eq!((counts.dropped, marked), (0, 0), "marked before"),
        }
    }
}

#[test]
fn rfc9331_low_latency_packets_are_marked_from_a_short_sojourn_on() {
    let mut bench = bench(4, 1);
    bench.push(0, 100, Ecn::Ect1, 0);
    bench.push(0, 100, Ecn::Ect1, 0);
    let (first, ..) = bench.pop(CODEL, L4S_MARK).unwrap();
    assert_eq!(ip::ecn(bench.pool.packet_mut(first)), Ecn::Ect1);
    let (second, ..) = bench.pop(CODEL, L4S_MARK + 1).unwrap();
    assert_eq!(ip::ecn(bench.pool.packet_mut(second)), Ecn::Ce);
}

#[test]
fn without_flows_what_is_pushed_is_let_go() {
    let mut bench = bench(1, 0);
    assert_eq!(bench.queue.bucket(77, || Ruled::ByNone, 0), (0, false));
    for _ in 0..3 {
        assert!(bench.push(0, 100, Ecn::NotEct, 0).is_some(), "the slot is free again");
        assert!(bench.pop(LAX, 0).is_none() && bench.queue.is_empty());
    }
}

#[test]
fn a_flow_keeps_its_bucket_and_others_take_it_over_when_it_rested() {
    let mut bench = bench(4, 8);
    let bucket = |bench: &mut Bench, tag: u64, now| bench.queue.bucket(tag << 48, || Ruled::ByNone, now);
    // The first set has three, as the first bucket is nobody's.
    let owned = [1, 2, 3].map(|tag| bucket(&mut bench, tag, 0));
    assert_eq!(owned, [(1, true), (2, true), (3, true)]);
    assert!(!bucket(&mut bench, 4, 1).1, "all are taken");
    assert_eq!([1, 2, 3].map(|tag| bucket(&mut bench, tag, 500_000)), owned);
    assert_eq!(bucket(&mut bench, 2, OWNED), (2, true));
    assert_eq!(bucket(&mut bench, 4, OWNED + 500_000), (1, true), "the first has rested");
    assert!(!bucket(&mut bench, 1, OWNED + 500_000).1 || bucket(&mut bench, 1, OWNED + 500_000).0 == 3);
    for flows in 1..12 {
        let mut bench = self::bench(4, flows);
        for hash in 0..1_000u64 {
            let (number, _) = bench.queue.bucket(hash << 48 | hash, || Ruled::ByNone, 0);
            assert!(usize::from(number) < flows, "{number} of {flows}");
        }
    }
}

/// RFC 8290 section 4, as lists of flows that are searched and rebuilt.
#[derive(Default)]
struct Oracle {
    packets: Vec<VecDeque<(Index, i32)>>,
    deficits: Vec<i32>,
    fresh: VecDeque<usize>,
    old: VecDeque<usize>,
    /// As it was when packets came.
    longest: usize,
}

impl Oracle {
    fn new(flows: usize) -> Self {
        Self { packets: vec![VecDeque::new(); flows], deficits: vec![0; flows], ..Self::default() }
    }

    fn push(&mut self, flow: usize, index: Index, len: i32) {
        self.packets[flow].push_back((index, len));
        if !self.fresh.contains(&flow) && !self.old.contains(&flow) {
            self.deficits[flow] = QUANTUM.into();
            self.fresh.push_back(flow);
        }
        let bytes = self.bytes();
        if bytes[flow] > bytes[self.longest] {
            self.longest = flow;
        }
    }

    /// The flow that has to make room.
    fn victim(&self) -> Option<usize> {
        let heads = [self.old.front(), self.fresh.front()].into_iter().flatten();
        [&self.longest].into_iter().chain(heads).copied().find(|flow| !self.packets[*flow].is_empty())
    }

    fn pop(&mut self) -> Option<Index> {
        loop {
            let is_fresh = !self.fresh.is_empty();
            let list = if is_fresh { &mut self.fresh } else { &mut self.old };
            let flow = *list.front()?;
            if self.deficits[flow] <= 0 {
                self.deficits[flow] += i32::from(QUANTUM);
                list.pop_front();
                self.old.push_back(flow);
            } else if let Some((index, len)) = self.packets[flow].pop_front() {
                self.deficits[flow] -= len;
                return Some(index);
            } else {
                list.pop_front();
                if is_fresh && !self.old.is_empty() {
                    self.old.push_back(flow);
                }
            }
        }
    }

    /// How many bytes each flow has waiting.
    fn bytes(&self) -> Vec<i32> {
        self.packets.iter().map(|packets| packets.iter().map(|(_, len)| len).sum()).collect()
    }
}

#[test]
fn it_answers_like_lists_that_are_searched() {
    let mut rng = Rng::new(2);
    for (slots, flows) in [(40, 1), (40, 3), (200, 16)] {
        let (mut bench, mut oracle) = (bench(slots, flows), Oracle::new(flows));
        for step in 0..4_000u32 {
            if rng.below(100) < 52 {
                let (flow, len) = (rng.below(flows as u64), usize::try_from(rng.below(1480)).unwrap() + 20);
                let flow = u16::try_from(flow).unwrap();
                match bench.push(flow, len, Ecn::NotEct, step) {
                    Some(index) => oracle.push(flow.into(), index, i32::try_from(len).unwrap()),
                    None => {
                        let before = bench.queue.len();
                        assert_eq!(
                            bench.queue.overflow(&mut bench.pool, &mut bench.counts),
                            oracle.victim().is_some()
                        );
                        let dropped = before - bench.queue.len();
                        if let Some(victim) = oracle.victim() {
                            let most = oracle.bytes()[victim];
                            oracle.packets[victim].drain(..dropped);
                            assert!(oracle.bytes()[victim] <= most / 2 || dropped == usize::from(DROP_BATCH));
                        }
                    }
                }
            } else {
                let popped = bench.pop(LAX, step).map(|(index, ..)| index);
                assert_eq!(popped, oracle.pop(), "step {step}");
                if let Some(index) = popped {
                    bench.pool.release(index);
                }
            }
            let waiting: usize = oracle.packets.iter().map(VecDeque::len).sum();
            assert_eq!(bench.queue.len(), waiting);
            for (flow, bytes) in bench.queue.flows.iter().zip(oracle.bytes()) {
                assert_eq!(i64::from(flow.bytes), i64::from(bytes));
                assert!(bytes == 0 || flow.turn != Turn::None, "a flow with packets has its turn");
            }
        }
    }
}

#[test]
fn flows_that_are_bound_have_turns_of_their_own_also_in_a_bucket_that_they_share_with_others() {
    let draw = |rng: &mut Rng, below: u64| usize::try_from(rng.below(below)).unwrap();
    let mut rng = Rng::new(9);
    let mut bench = bench(400, 8);
    let mut waiting: [VecDeque<Index>; 8] = Default::default();
    let (mut popped, mut served) = (0, [0; 2]);
    for step in 0..20_000 {
        if draw(&mut rng, 2) == 0 {
            // Flows 0 to 2 are free, 3 to 5 bound, 6 and 7 both.
            let flow = draw(&mut rng, 8);
            let is_bound = if flow >= 6 { draw(&mut rng, 2) == 0 } else { flow >= 3 };
            let Some(index) = bench.pool.store(&packet(1_000, Ecn::NotEct)) else { continue };
            let slot = bench.pool.slot_mut(index).unwrap();
            (slot.flow, slot.tier) = (u16::try_from(flow).unwrap(), is_bound.then_some(1));
            bench.queue.push(&mut bench.pool, index);
            waiting[flow].push_back(index);
        } else {
            let (among, is_bound) = [(Among::Free, false), (Among::Bound, true)][draw(&mut rng, 2)];
            let index = bench.queue.pop(among, &mut bench.pool, LAX, &mut bench.counts, 0);
            let is_of = |index: &Index| bench.pool.slot(*index).unwrap().is_bound() == is_bound;
            let alone = &waiting[if is_bound { 3..6 } else { 0..3 }];
            assert!(index.is_some() || alone.iter().all(VecDeque::is_empty), "{step}");
            let Some(index) = index else { continue };
            assert!(is_of(&index), "{step}");
            let flow = usize::from(bench.pool.slot(index).unwrap().flow);
            assert_eq!(waiting[flow].pop_front(), Some(index), "{step}: in its order");
            bench.pool.release(index);
            popped += 1;
            served[usize::from(is_bound)] += 1;
        }
    }
    assert!(popped > 5_000 && served.iter().all(|count| *count > 2_000), "{served:?}");
    assert_eq!(bench.queue.len(), waiting.iter().map(VecDeque::len).sum::<usize>());
}
