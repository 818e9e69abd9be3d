use super::*;
use crate::adaptive::FlowSlot;
use crate::adaptive::queue::Among;
use crate::adaptive::{ClassRule, Travel};
use crate::feedback::Feedback;
use crate::time::Micros;
use crate::wire::HEADROOM;
use crate::wire::report::{PathReport, Report};
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A sender whose one path is known and takes [`START_RATE`](crate::adaptive::tuning::START_RATE).
struct Bench {
    adaptive: Adaptive<'static>,
    next: Seq,
    gate: Gate,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self::with(512)
    }

    /// With places for so many flows, half of them for those that are not held.
    fn with(flows: usize) -> Self {
        const SLOTS: usize = 2_000;
        let state: &'static mut AdaptiveState = Box::leak(Box::default());
        let slots = vec![PacketSlot::default(); SLOTS].leak();
        let bytes = vec![0; SLOTS * (HEADROOM + 1_500)].leak();
        let mut adaptive = Adaptive::new(state, slots, bytes, vec![FlowSlot::default(); flows].leak());
        (adaptive.is_chosen, adaptive.resends, adaptive.peer_window) = (true, true, 1_000);
        let now = Instant::from_micros(1_000_000);
        let mut report = Report { count: Seq::from_u32(1), repairs: true, ..Report::default() };
        report.paths.push(PathReport { stamp: now.stamp(), ..PathReport::default() }).unwrap();
        adaptive.handle_report(&report, now.stamp(), PathSet::of(0), now);
        Self { adaptive, next: Seq::ZERO, gate: Gate::default(), now }
    }

    fn push(&mut self, packet: &[u8]) {
        self.adaptive.push(packet, &ip::Flow::of(packet, 0), self.now);
    }

    /// What leaves now: the ports of the packets and their bytes. It has arrived.
    fn leave(&mut self) -> Vec<(u16, usize)> {
        let mut left = Vec::new();
        while let Some(leaving) =
            self.adaptive.poll(PathSet::of(0), (&mut self.next, &mut self.gate), self.now)
        {
            let packet = self.adaptive.pool.packet_mut(leaving.slot);
            left.push((u16::from_be_bytes([packet[20], packet[21]]), packet.len()));
            while let Some(index) = self.adaptive.pool.pop(self.adaptive.state.in_flight.get_mut(0).unwrap())
            {
                self.adaptive.pool.release(index);
            }
            self.adaptive.state.models.get_mut(0).unwrap().acked = leaving.header.number;
        }
        left
    }
}

/// A packet from this port.
fn packet(protocol: u8, port: u16, len: usize) -> Vec<u8> {
    let mut packet = vec![0; len];
    packet[..20].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet[2..4].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
    packet[20..22].copy_from_slice(&port.to_be_bytes());
    if protocol == TCP {
        packet[32..34].copy_from_slice(&[0x50, 0x10]);
    }
    packet
}

fn ack(port: u16, number: u32) -> Vec<u8> {
    let mut ack = packet(TCP, port, 40);
    ack[28..32].copy_from_slice(&number.to_be_bytes());
    ack
}

#[test]
fn many_thin_flows_share_with_the_bulk_and_a_lone_packet_goes_before_all() {
    let mut bench = Bench::new();
    let (mut bytes, mut lone_at) = ([0; 3], None);
    for ms in 0..2_000u64 {
        // Sixty flows of 400 kbit/s, which alone are more than the 20 Mbit/s of Startup, and a download.
        for flow in 0..60 {
            if (ms + flow) % 20 == 0 {
                bench.push(&packet(UDP, 1_000 + u16::try_from(flow).unwrap(), 1_000));
            }
        }
        bench.push(&packet(TCP, 1, 1_000));
        let lone = ms % 100 == 50;
        if lone {
            bench.push(&packet(UDP, 2, 100));
        }
        let left = bench.leave();
        lone_at = if lone { Some(ms) } else { lone_at };
        for (port, len) in left {
            if port == 2 {
                assert!(lone_at.take().is_some_and(|at| ms - at <= 3), "{ms}: it waited");
            }
            bytes[usize::from(port.min(3)) - 1] += len;
        }
        bench.now = bench.now + Micros(1_000);
    }
    assert_eq!(bytes[1], 20 * 100, "each lone packet");
    // A sixty-first of 4.7 MB, which is what leaves without headers.
    assert!((60_000..160_000).contains(&bytes[0]), "the bulk has its share: {bytes:?}");
    assert!(bytes[2] > 4_000_000, "{bytes:?}");
}

#[test]
fn acknowledgements_that_wait_are_replaced_by_those_that_follow_and_leave_room_for_others() {
    let mut bench = Bench::new();
    let (mut acks, mut data, mut newest) = (0, 0, 0);
    for ms in 0..2_000u32 {
        // Acknowledgements of 18 Mbit/s with all headers, and an upload of 8, over 20.
        for step in 0..25 {
            newest = ms * 25 + step + 1;
            bench.push(&ack(1, newest));
        }
        bench.push(&packet(TCP, 2, 1_000));
        for (port, len) in bench.leave() {
            if port == 1 { acks += 1 } else { data += len }
        }
        bench.now = bench.now + Micros(1_000);
    }
    assert!(acks > 1_000, "{acks} of {newest} acknowledgements");
    assert!(data > 600_000, "{data} bytes of the upload");
}

#[test]
fn a_flow_that_becomes_bulk_does_not_overtake_itself() {
    for others in [0, 30] {
        let mut bench = Bench::new();
        // Express flows that wait, so that a turn of the bulk comes first.
        for port in 0..others {
            (0..4).for_each(|_| bench.push(&packet(UDP, 100 + port, 1_400)));
        }
        let mut came = Vec::new();
        for number in 0..200u16 {
            let mut packet = packet(TCP, 7, 1_000);
            packet[40..42].copy_from_slice(&number.to_be_bytes());
            bench.push(&packet);
            if number % 4 == 3 {
                bench.now = bench.now + Micros(4_000);
                while let Some(leaving) =
                    bench.adaptive.poll(PathSet::of(0), (&mut bench.next, &mut bench.gate), bench.now)
                {
                    let packet = bench.adaptive.pool.packet_mut(leaving.slot);
                    if packet[21] == 7 {
                        came.push(u16::from_be_bytes([packet[40], packet[41]]));
                    }
                    bench.adaptive.state.models.get_mut(0).unwrap().acked = leaving.header.number;
                }
            }
        }
        assert!(came.len() > 20 && came.is_sorted(), "{others}: {came:?}");
    }
}

#[test]
fn bulk_that_shares_a_bucket_leaves_what_waits_of_its_owner_alone() {
    let mut bench = Bench::with(8);
    (100..103).for_each(|port| bench.push(&packet(UDP, port, 200)));
    // All buckets have an owner.
    (0..4).for_each(|_| bench.push(&packet(TCP, 7, 1_000)));
    let mut kinds = Vec::new();
    for _ in 0..20 {
        while let Some(leaving) =
            bench.adaptive.poll(PathSet::of(0), (&mut bench.next, &mut bench.gate), bench.now)
        {
            let packet = bench.adaptive.pool.packet_mut(leaving.slot);
            kinds.push((packet[21], leaving.header.kind));
        }
        bench.now = bench.now + Micros(1_000);
    }
    for (port, kind) in &kinds {
        assert_eq!(*kind, if *port == 7 { Kind::Ordered } else { Kind::Unordered }, "{port}");
    }
    assert_eq!(kinds.len(), 7);
}

#[test]
fn acknowledgements_that_come_together_all_leave() {
    let mut bench = Bench::new();
    (1..=8).for_each(|number| bench.push(&ack(1, number)));
    assert_eq!(bench.leave().len(), 8);
}

/// Another sender, over two paths that are known.
fn over_two(rules: &[ClassRule]) -> Bench {
    let mut bench = Bench::new();
    bench.adaptive.state.rules.extend(rules.iter().copied());
    let mut report = Report { count: Seq::from_u32(2), repairs: true, ..Report::default() };
    for path in 0..2 {
        report.paths.push(PathReport { path, stamp: bench.now.stamp(), ..PathReport::default() }).unwrap();
    }
    bench.adaptive.handle_report(&report, bench.now.stamp(), PathSet(3), bench.now);
    bench
}

/// A rule that binds packets of this port to paths of a tier.
fn bound(port: u16, tier: u8) -> ClassRule {
    ClassRule { tier: Some(tier), ..rule(port, Travel::Usual) }
}

/// What leaves now over two paths: path, port, and whether it may come in any order. It has arrived.
fn leave_by_two(bench: &mut Bench, up: PathSet) -> Vec<(usize, u16, bool)> {
    let mut left = Vec::new();
    while let Some(leaving) = bench.adaptive.poll(up, (&mut bench.next, &mut bench.gate), bench.now) {
        let packet = bench.adaptive.pool.packet_mut(leaving.slot);
        let port = u16::from_be_bytes([packet[20], packet[21]]);
        left.push((leaving.path, port, leaving.header.kind == Kind::Unordered));
        arrive(bench);
    }
    left
}

/// All that is under way has arrived.
fn arrive(bench: &mut Bench) {
    for path in 0..2 {
        while let Some(index) = bench.adaptive.pool.pop(bench.adaptive.state.in_flight.get_mut(path).unwrap())
        {
            bench.adaptive.pool.release(index);
        }
        bench.adaptive.state.models.get_mut(path).unwrap().forgive();
    }
}

/// Two flows in order over a cheap and a dear path, each with as much as it can send; that from port 1 is bound to the cheap one. What
/// leaves in a second: bytes by port, on each path.
fn beside_a_bound_flow(mut change: impl FnMut(&mut Bench), up: PathSet) -> [[u32; 2]; 2] {
    let mut bench = over_two(&[bound(1, 0)]);
    bench.adaptive.state.models.get_mut(1).unwrap().tier = 1;
    bench.adaptive.state.delay.open = PathSet(3);
    let mut bytes = [[0; 2]; 2];
    for _ in 0..1_000 {
        // More than both paths take.
        for _ in 0..6 {
            bench.push(&packet(TCP, 1, 1_000));
            bench.push(&packet(TCP, 2, 1_000));
        }
        change(&mut bench);
        for (path, port, is_unordered) in leave_by_two(&mut bench, up) {
            bytes[usize::from(port) - 1][path] += 1_000;
            assert!(!is_unordered || bench.adaptive.state.ordered_at.is_none(), "{port}");
        }
        bench.now = bench.now + Micros(1_000);
    }
    bytes
}

#[test]
fn what_is_bound_to_a_tier_waits_for_its_paths_and_keeps_nobody_off_the_others() {
    let [bound, free] = beside_a_bound_flow(|_| {}, PathSet(3));
    let of_path = bound[0] + free[0];
    assert_eq!(bound[1], 0, "a dear path: {bound:?}");
    assert!(bound[0].abs_diff(of_path / 2) < of_path / 20, "turns on the cheap one: {bound:?} {free:?}");
    assert!(free[1] > of_path * 9 / 10, "the dear one is full of the other flow: {free:?}");
}

#[test]
fn what_is_bound_to_a_tier_follows_it_and_takes_what_is_there_when_no_such_path_is_up() {
    let [bound, free] = beside_a_bound_flow(|_| {}, PathSet::of(1));
    assert!(
        bound[1].abs_diff(free[1]) < free[1] / 20 && bound[1] > 0,
        "the cheap path is down: {bound:?} {free:?}"
    );
    let cheap = |bench: &mut Bench| bench.adaptive.set_tier(1, 0);
    let [bound, free] = beside_a_bound_flow(cheap, PathSet(3));
    let [one, other] = [bound, free].map(|bytes| bytes[0] + bytes[1]);
    assert!(bound[1] > 500_000 && one.abs_diff(other) < one / 20, "both are cheap: {bound:?} {free:?}");
    let stopped = |bench: &mut Bench| {
        let now = bench.now;
        bench.adaptive.state.models.get_mut(0).unwrap().suspect(now);
    };
    let [bound, free] = beside_a_bound_flow(stopped, PathSet(3));
    // But for its first 8 kB, which are sparse and do not wait.
    assert!(bound[0] == 0 && bound[1] <= 8_000, "the cheap path is up, but seems to have stopped: {bound:?}");
    assert!(free[1] > 500_000, "{free:?}");
}

#[test]
fn what_is_bound_to_a_path_that_does_not_fit_the_common_delay_leaves_there_out_of_order() {
    let mut bench = over_two(&[bound(1, 0)]);
    bench.adaptive.state.models.get_mut(1).unwrap().tier = 1;
    let mut left = Vec::new();
    for _ in 0..200 {
        bench.adaptive.state.delay.open = PathSet::of(1);
        bench.push(&packet(TCP, 1, 1_000));
        bench.push(&packet(TCP, 2, 1_000));
        left.extend(leave_by_two(&mut bench, PathSet(3)));
        bench.now = bench.now + Micros(2_000);
    }
    let late = |port| left.iter().filter(move |it| it.1 == port).skip(20);
    assert!(late(1).count() > 100 && late(1).all(|(path, _, is_unordered)| *path == 0 && *is_unordered));
    assert!(late(2).count() > 100 && late(2).all(|(path, _, is_unordered)| *path == 1 && !is_unordered));
}

#[test]
fn repairs_and_copies_of_what_is_bound_stay_on_its_paths_and_those_of_others_do_not_wait() {
    let protected = ClassRule { tier: Some(0), ..rule(1, Travel::Protected(100)) };
    let mut bench = over_two(&[protected, rule(2, Travel::Sparse)]);
    bench.adaptive.state.models.get_mut(1).unwrap().tier = 1;
    let now = bench.now;
    (1..3).for_each(|port| bench.push(&packet(UDP, port, 200)));
    let mut left = Vec::new();
    while let Some(leaving) = bench.adaptive.poll(PathSet(3), (&mut bench.next, &mut bench.gate), now) {
        left.push(leaving.path);
    }
    assert_eq!(left, [0, 0], "no copy, as there is one path of that tier only");
    // The cheap path stops: what is bound is given up, the other one leaves on the dear path.
    bench.adaptive.state.models.get_mut(0).unwrap().suspect(now);
    bench.adaptive.hand_over(0, now);
    assert!(bench.adaptive.state.lost.first(Among::Bound).is_some());
    assert_eq!(leave_by_two(&mut bench, PathSet(3)), [(1, 2, true)]);
    assert!(bench.adaptive.state.lost.is_empty());
}

#[test]
fn an_opening_and_what_shares_a_bucket_are_bound_as_well() {
    let mut bench = Bench::with(8);
    bench.adaptive.state.rules.push(bound(7, 0)).unwrap();
    // All buckets have an owner.
    (100..108).for_each(|port| bench.push(&packet(UDP, port, 200)));
    let mut syn = packet(TCP, 7, 40);
    syn[33] = 0x02;
    bench.push(&syn);
    (0..4).for_each(|_| bench.push(&packet(TCP, 7, 1_000)));
    let mut seen = 0;
    while let Some(leaving) =
        bench.adaptive.poll(PathSet::of(0), (&mut bench.next, &mut bench.gate), bench.now)
    {
        let port = bench.adaptive.pool.packet_mut(leaving.slot)[21];
        let tier = bench.adaptive.pool.slot(leaving.slot).unwrap().tier;
        assert_eq!(tier, (port == 7).then_some(0), "{port}");
        seen += u32::from(port == 7);
        bench.adaptive.state.models.get_mut(0).unwrap().forgive();
        bench.now = bench.now + Micros(1_000);
    }
    assert_eq!(seen, 5);
}

/// A rule for this port.
fn rule(port: u16, travel: Travel) -> ClassRule {
    ClassRule { protocol: None, ports: Some((port, port)), dscp: None, network: None, travel, tier: None }
}

#[test]
fn a_rule_overrules_what_a_flow_does() {
    let rules = [rule(1, Travel::Ordered), rule(2, Travel::Sparse)];
    let mut bench = over_two(&rules);
    for (port, protocol, unordered) in [(1, UDP, false), (2, TCP, true), (3, UDP, true), (3, TCP, false)] {
        for step in 0..20 {
            bench.push(&packet(protocol, port, 1_000));
            let leaving = bench
                .adaptive
                .poll(PathSet(3), (&mut bench.next, &mut bench.gate), bench.now)
                .expect("it leaves");
            let is_unordered = leaving.header.kind == Kind::Unordered;
            assert!(is_unordered == unordered || step < 8 && port == 3, "{port} {protocol} {step}");
            for path in 0..2 {
                bench.adaptive.state.models.get_mut(path).unwrap().forgive();
            }
            bench.now = bench.now + Micros(2_000);
        }
    }
}

#[test]
fn what_is_protected_leaves_on_two_paths_while_copies_are_within_their_share() {
    for (share, loses, least, most) in
        [(100, false, 99, 100), (20, true, 15, 21), (20, false, 0, 0), (0, true, 0, 0)]
    {
        let mut bench = over_two(&[rule(1, Travel::Protected(share))]);
        let (mut first, mut copies) = ([0, 0], 0);
        for _ in 0..100 {
            for path in 0..2 {
                bench.adaptive.state.models.get_mut(path).unwrap().lost_at = loses.then_some(bench.now);
            }
            bench.push(&packet(UDP, 1, 200));
            let mut left = Vec::new();
            while let Some(leaving) =
                bench.adaptive.poll(PathSet(3), (&mut bench.next, &mut bench.gate), bench.now)
            {
                left.push((leaving.path, leaving.seq, leaving.header.resent, leaving.header.kind));
            }
            assert!(left.iter().all(|(.., kind)| *kind == Kind::Unordered));
            first[left[0].0] += 1;
            if let [(path, seq, false, _), (other, same, true, _)] = left[..] {
                assert!(path != other && seq == same);
                copies += 1;
            }
            for path in 0..2 {
                bench.adaptive.state.models.get_mut(path).unwrap().forgive();
            }
            bench.now = bench.now + Micros(20_000);
        }
        assert_eq!(first[0] + first[1], 100);
        assert!((least..=most).contains(&copies), "{copies} copies of 100 at {share} %, {loses}");
    }
}

#[test]
fn a_path_that_is_tried_gets_copies_at_its_pace_of_what_leaves_in_order_elsewhere() {
    let [first, copies] = tried(0);
    assert!(first > 80 && (20..=first).contains(&copies), "{copies} copies of {first}");
    assert_eq!(tried(1)[1], 0, "it is paid for");
}

/// Packets that leave in order on path 0, and copies of them on path 1, of this tier, which is tried.
fn tried(tier: u8) -> [u32; 2] {
    let mut bench = over_two(&[rule(1, Travel::Ordered)]);
    bench.adaptive.state.models.get_mut(1).unwrap().tier = tier;
    (bench.adaptive.state.delay.open, bench.adaptive.state.delay.tried) = (PathSet::of(0), PathSet::of(1));
    let mut sent = [0, 0];
    for _ in 0..200 {
        bench.push(&packet(UDP, 1, 1_000));
        let mut last = None;
        while let Some(leaving) =
            bench.adaptive.poll(PathSet(3), (&mut bench.next, &mut bench.gate), bench.now)
        {
            assert_eq!(leaving.header.resent, leaving.path == 1);
            assert!(leaving.path == 0 || last == Some(leaving.seq), "a copy follows what it is of");
            last = Some(leaving.seq);
            sent[leaving.path] += 1;
        }
        for path in 0..2 {
            bench.adaptive.state.models.get_mut(path).unwrap().forgive();
        }
        bench.now = bench.now + Micros(200);
    }
    sent
}

#[test]
fn within_a_limit_bulk_waits_its_turn_and_what_is_sparse_does_not_and_nobody_looks_in_vain() {
    // An eighth of what the path takes: 1 Mbit/s, a packet each 12 ms.
    let mut bench = Bench::new();
    bench.gate = Gate::new(125_000);
    let (mut bulk, mut longest, mut looks) = (0, 0, 0);
    // Its reports are none of this test.
    let quiet = |bench: &mut Bench| bench.adaptive.state.feedback = Feedback::default();
    let mut asked = None;
    for millisecond in 0..4_000u64 {
        bench.now = bench.now + Micros(1_000);
        // As much as a TCP in congestion avoidance has waiting: never empty, never full.
        while bench.adaptive.queue.len() < 4 {
            bench.push(&packet(TCP, 1, 1_500));
        }
        if millisecond % 100 == 50 {
            bench.push(&packet(UDP, 7, 100));
            asked = Some(millisecond);
        }
        bench.adaptive.handle_timeout(PathSet::of(0), &Gate::default(), bench.now);
        while let Some((path, _)) = bench.adaptive.poll_marker() {
            bench.adaptive.stamp(path, Kind::Marker, false, 0, bench.now);
        }
        quiet(&mut bench);
        let due = bench.adaptive.deadline(PathSet::of(0), &bench.gate, bench.now);
        looks += u64::from(due.is_some_and(|due| due <= bench.now));
        for (port, len) in bench.leave() {
            if port == 7 {
                longest = longest.max(millisecond - asked.take().unwrap());
            } else {
                bulk += len;
            }
        }
        assert!(
            bench.adaptive.deadline(PathSet::of(0), &bench.gate, bench.now).is_none_or(|due| due > bench.now)
        );
    }
    let allowed = 125_000 * 4;
    assert!((allowed * 95 / 100..=allowed + 3_000).contains(&bulk), "{bulk}");
    assert!(longest <= 13, "{longest} ms: more than the packet before it");
    assert!(looks < 1_000, "{looks}");
    assert_eq!(bench.adaptive.state.last_sojourn, 0, "a second path would not help");
}

/// Copies of a hundred packets with a deadline in ms over two paths of 20 and 30 ms; `change` is called before each packet.
fn timely(share: u8, deadline: u16, mut change: impl FnMut(&mut Bench)) -> u32 {
    let mut bench = over_two(&[rule(1, Travel::Timely { share, deadline })]);
    // What both take is half of the round trip of the nearer one, and what the further one takes longer.
    let mut copies = 0;
    for number in 0..100u32 {
        bench.now = bench.now + Micros(20_000);
        let now = bench.now;
        let mut report = Report { count: Seq::from_u32(3 + number), repairs: true, ..Report::default() };
        for (path, delay) in [(0, 0), (1, 10_000)] {
            let model = bench.adaptive.state.models.get_mut(usize::from(path)).unwrap();
            let stamp = now.stamp().wrapping_sub(40_000 + delay);
            model.feedback = (40_000 + delay) as f32;
            let (settled, arrived) = (model.number.wrapping_sub(1), number + 1);
            let block = PathReport {
                path,
                stamp,
                settled,
                delay,
                packets: arrived,
                bytes: arrived * 100,
                ..PathReport::default()
            };
            report.paths.push(block).unwrap();
        }
        bench.adaptive.handle_report(&report, now.stamp().wrapping_sub(20_000), PathSet(3), now);
        change(&mut bench);
        bench.push(&packet(UDP, 1, 200));
        let left = leave_by_two(&mut bench, PathSet(3));
        assert!((1..=2).contains(&left.len()), "{left:?}");
        copies += u32::from(left.len() == 2);
    }
    assert_eq!(u64::from(copies), bench.adaptive.counts().copied);
    copies
}

#[test]
fn a_packet_with_a_deadline_is_copied_only_where_its_path_may_miss_it_and_the_other_one_may_not() {
    let loses = |bench: &mut Bench| {
        let now = bench.now;
        bench.adaptive.state.models.iter_mut().take(2).for_each(|model| model.lost_at = Some(now));
    };
    assert_eq!(timely(100, 60, |_| {}), 0, "both make it");
    assert!(timely(100, 60, loses) >= 99, "a repair would be late");
    assert_eq!(timely(100, 500, loses), 0, "a repair would be in time");
    assert_eq!(timely(100, 5, loses), 0, "no path makes it");
    let some = timely(20, 60, loses);
    assert!((15..=21).contains(&some), "{some} within a share of 20 %");
    let waited = |bench: &mut Bench| {
        // The nearer path is silent: what left on it 39 ms ago was not heard of, and nothing that left later.
        let now = bench.now;
        bench.adaptive.state.models.get_mut(0).unwrap().feedback = 5_000.0;
        let index = bench.adaptive.pool.store(&packet(UDP, 9, 100)).unwrap();
        bench.adaptive.pool.slot_mut(index).unwrap().sent = now.stamp().wrapping_sub(39_000);
        let Adaptive { state, pool, .. } = &mut bench.adaptive;
        pool.push(state.in_flight.get_mut(0).unwrap(), index);
    };
    assert!(timely(100, 60, waited) >= 99, "a path that is silent");
    assert_eq!(timely(100, 500, waited), 0, "another path takes over in time");
}
