use super::*;
use crate::adaptive::{AdaptiveState, FlowSlot};
use crate::gate::Gate;
use crate::seq::Seq;
use crate::wire::HEADROOM;
use crate::wire::extension::{Header, Kind};
use crate::wire::ip::Flow;
use crate::wire::report::PathReport;
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

const LEN: usize = 1_000;

/// A sender over path 0 that has sent packets with the numbers 1 to `count` of that path, and heard nothing of them.
fn sender(count: u32) -> Adaptive<'static> {
    let slots = vec![PacketSlot::default(); 128].leak();
    let bytes = vec![0; 128 * (HEADROOM + LEN)].leak();
    let state: &'static mut AdaptiveState = Box::leak(Box::default());
    let mut adaptive = Adaptive::new(state, slots, bytes, vec![FlowSlot::default(); 8].leak());
    (adaptive.is_chosen, adaptive.resends, adaptive.peer_window) = (true, true, 1_000);
    let up = PathSet::of(0);
    let first = adaptive.handle_report(&report(1, 0, &[]), at(0).stamp(), up, at(0));
    assert_eq!(first, News::Fresh, "its delay is known");
    let mut packet = vec![0; LEN];
    packet[..20].copy_from_slice(&[0x45, 0, 3, 232, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    let mut next = Seq::ZERO;
    for number in 0..count {
        let now = at(u64::from(number) + 1);
        adaptive.push(&packet, &Flow::of(&packet, 0), now);
        let leaving = adaptive
            .poll(up, (&mut next, &mut Gate::default()), now)
            .expect("the path is ready each millisecond");
        assert_eq!((leaving.path, leaving.header.number), (0, number + 1));
    }
    adaptive
}

fn at(ms: u64) -> Instant {
    Instant::from_micros(1_000_000 + 1_000 * ms)
}

/// A report of this number: all up to `settled` came, but for what is missing.
fn report(count: u32, settled: u32, missing: &[u32]) -> Report {
    let packets = settled - u32::try_from(missing.len()).unwrap();
    let stamp = at(u64::from(settled)).stamp();
    let block = PathReport { settled, packets, bytes: packets * 1_000, stamp, ..PathReport::default() };
    let mut report = Report { count: Seq::from_u32(count), repairs: true, ..Report::default() };
    report.paths.push(block).unwrap();
    for first in missing {
        report.gaps.push(Gap { path: 0, first: *first, count: 1 }).unwrap();
    }
    report
}

/// Takes reports one after the other, and says how many packets are kept, and how many are to be sent again.
fn told(adaptive: &mut Adaptive<'_>, reports: &[(Report, u64)]) -> (usize, usize) {
    for (report, ms) in reports {
        // Written when the last packet came: nothing is overdue.
        adaptive.handle_report(report, report.paths[0].stamp, PathSet::of(0), at(*ms));
    }
    let kept = adaptive.pool.indexes(adaptive.state.in_flight.get_mut(0).unwrap()).len();
    (kept, adaptive.state.lost.bytes(Among::Free) / LEN)
}

#[test]
fn what_the_receiver_has_is_let_go_and_what_it_misses_is_sent_again() {
    let mut adaptive = sender(40);
    assert_eq!(told(&mut adaptive, &[(report(2, 30, &[7, 20]), 50)]), (10, 2));
}

#[test]
fn a_gap_that_only_lost_reports_named_is_known_by_their_copies_on_another_path() {
    // Three that were lost, as a gap is named in three.
    let mut adaptive = sender(40);
    let before = [(report(2, 20, &[]), 50)];
    let later = (report(6, 40, &[]), 80);
    assert_eq!(told(&mut adaptive, &before), (20, 0));
    assert_eq!(told(&mut adaptive, &[later]), (20, 0), "not sure: nothing is let go of");
    let copy = (report(3, 40, &[31]), 90);
    assert_eq!(told(&mut adaptive, core::slice::from_ref(&copy)), (19, 1));
    assert_eq!(told(&mut adaptive, &[copy]), (19, 1), "once");
    assert_eq!(told(&mut adaptive, &[(report(7, 40, &[]), 100)]), (19, 1));
    assert_eq!(told(&mut adaptive, &[(report(8, 40, &[]), 181)]), (0, 1), "the copies would have come");
}

#[test]
fn two_reports_that_are_lost_hide_nothing() {
    let mut adaptive = sender(40);
    assert_eq!(told(&mut adaptive, &[(report(2, 20, &[]), 50), (report(5, 40, &[]), 80)]), (0, 0));
    assert_eq!(told(&mut adaptive, &[(report(3, 40, &[31]), 90)]), (0, 0));
}

#[test]
fn a_repair_that_is_the_last_in_time_leaves_on_two_paths() {
    for (feedback, credit, ms, twice) in
        [(300_000.0, u32::MAX, 330, true), (20_000.0, u32::MAX, 50, false), (300_000.0, 50_000, 330, false)]
    {
        let mut adaptive = sender(40);
        let mut first = report(2, 30, &[27]);
        first.paths.push(PathReport { path: 1, stamp: at(30).stamp(), ..PathReport::default() }).unwrap();
        assert_eq!(told(&mut adaptive, &[(first, ms)]), (10, 1));
        for model in &mut adaptive.state.models[..2] {
            model.feedback = feedback;
        }
        adaptive.state.credit = credit;
        let up = PathSet(3);
        let mut next = Seq::from_u32(40);
        let mut poll = || {
            adaptive
                .poll(up, (&mut next, &mut Gate::default()), at(ms + 1))
                .map(|leaving| (leaving.path, leaving.seq, leaving.header.resent))
        };
        let (path, seq, resent) = poll().unwrap();
        assert!(resent);
        assert_eq!(poll(), twice.then_some((1 - path, seq, true)), "{feedback} us, {credit} bytes");
        assert_eq!(poll(), None);
    }
}

#[test]
fn what_a_stopped_path_had_under_way_leaves_after_what_was_reported_lost() {
    let mut adaptive = sender(0);
    let Adaptive { state, pool, .. } = &mut adaptive;
    // Moved, moved for the second time, reported.
    let lost = [(1, Cause::Moved), (2, Cause::Moved), (1, Cause::Reported)];
    let indexes = lost.map(|(tries, cause)| {
        let index = pool.store(&[0; LEN]).unwrap();
        let slot = pool.slot_mut(index).unwrap();
        (slot.tries, slot.since) = (tries, at(0).stamp());
        assert!(state.lost.push_or_release(pool, index, cause, true, at(0)));
        index
    });
    assert_eq!((state.lost.first(Among::Free), state.lost.bytes(Among::Free)), (Some(indexes[1]), 2 * LEN));
    let order = [0; 3].map(|_| state.lost.pop(Among::Free, pool).unwrap());
    assert_eq!(order, [indexes[1], indexes[2], indexes[0]]);
    assert!(state.lost.is_empty() && state.lost.bytes(Among::Free) == 0);
}

#[test]
fn a_clock_that_is_set_moves_the_reference_and_no_path_seems_to_have_stopped() {
    for step in [1_000_000, -1_000_000] {
        let mut adaptive = sender(40);
        told(&mut adaptive, &[(report(2, 20, &[]), 50)]);
        let reference = adaptive.state.reference.unwrap();
        let mut later = report(3, 30, &[]);
        later.paths[0].delay = reference.wrapping_add_signed(step);
        let written = at(30).stamp().wrapping_add_signed(step);
        assert_eq!(adaptive.handle_report(&later, written, PathSet::of(0), at(60)), News::Fresh);
        assert_eq!(adaptive.state.reference, Some(reference.wrapping_add_signed(step)));
        let model = &adaptive.state.models[0];
        assert_eq!((model.base(), model.queue(), model.is_alive()), (Some(0.0), 0.0, true), "{step}");
    }
}

#[test]
fn the_receiver_waits_longer_where_packets_overtake_each_other() {
    let adaptive = sender(1);
    let paths = PathSet::of(0);
    let before = adaptive.repair_time(paths);
    let header = |number| Header { kind: Kind::Ordered, resent: false, number, stamp: 0 };
    for (number, ms) in [(1, 100), (3, 100), (2, 104)] {
        adaptive.state.feedback.handle(0, &header(number), 1_000, true, at(ms), at(ms));
    }
    // Late by 4 ms, it is waited for half as much again; at first that is 1 ms.
    assert_eq!(adaptive.repair_time(paths), before + 3 * Duration::from_millis(5));
}

#[test]
fn half_of_the_first_packets_may_be_lost_and_all_of_them_are_sent_again() {
    let missing: Vec<u32> = (1..=16).step_by(2).collect();
    let mut adaptive = sender(16);
    assert_eq!(told(&mut adaptive, &[(report(2, 16, &missing), 30)]), (0, 8));
}
