use super::weighted::Cycle;
use super::*;
use crate::wire::checksum;
use std::vec;
use std::vec::Vec;

const TCP: u8 = 6;
const UDP: u8 = 17;

fn packet(protocol: u8, source: u16, destination: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 24, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    packet.extend_from_slice(&source.to_be_bytes());
    packet.extend_from_slice(&destination.to_be_bytes());
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn first(count: usize) -> PathSet {
    (0..count).fold(PathSet::default(), |mut set, index| {
        set.insert(index);
        set
    })
}

fn path(weight: u16, rank: u8) -> Option<PathView> {
    Some(PathView { weight, rank, tier: 1, ..PathView::default() })
}

fn scheduler(policy: Policy, weights: &[u16]) -> Scheduler {
    let mut scheduler = Scheduler::new(policy, Pins::new(), 7);
    for (index, weight) in weights.iter().enumerate() {
        scheduler.set_path(index, path(*weight, 0));
    }
    scheduler
}

fn vector(weights: &[u16], len: usize) -> Vec<usize> {
    let mut cycle = Cycle::default();
    (0..len).map(|_| cycle.next(first(weights.len()), |index| weights[index]).unwrap()).collect()
}

#[test]
fn weighted_sends_the_originals_vectors_cycle_after_cycle() {
    for (weights, cycle) in [
        (&[5, 2, 3][..], &[0, 2, 0, 1, 0, 2, 0, 0, 1, 2][..]),
        (&[12, 18, 15], &[1, 2, 0, 1, 2, 0, 1, 2, 1, 0, 2, 1, 0, 1, 2]),
        (&[100, 80], &[0, 1, 0, 1, 0, 1, 0, 0, 1]),
        (&[3, 1], &[0, 0, 0, 1]),
        (&[1, 1], &[0, 1]),
    ] {
        assert_eq!(vector(weights, cycle.len() * 3), cycle.repeat(3), "weights {weights:?}");
    }
}

#[test]
fn weighted_has_no_limit_on_the_cycle_and_keeps_exact_shares_over_it() {
    // Without a common divisor: a cycle of 38,973 packets, four times what the original's vector held.
    let weights = [9_973, 10_000, 9_999, 9_001];
    let cycle: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
    let sent = vector(&weights, cycle);
    for (index, weight) in weights.iter().enumerate() {
        assert_eq!(sent.iter().filter(|path| **path == index).count(), usize::from(*weight));
    }
}

#[test]
fn weighted_starts_a_new_cycle_when_a_path_goes_or_comes() {
    let mut cycle = Cycle::default();
    let mut next = |among| cycle.next(among, |index| [3, 1][index]).unwrap();
    assert_eq!([(); 2].map(|()| next(first(2))), [0, 0]);
    assert_eq!([(); 3].map(|()| next(PathSet::of(1))), [1, 1, 1]);
    assert_eq!([(); 4].map(|()| next(first(2))), [0, 0, 0, 1]);
}

#[test]
fn nothing_is_chosen_when_no_path_is_up() {
    for policy in Policy::ALL {
        assert!(
            scheduler(*policy, &[1, 1])
                .choose(&packet(TCP, 1, 2), None, PathSet::default(), Instant::ZERO)
                .is_empty()
        );
    }
}

#[test]
fn only_paths_that_are_up_are_chosen_and_some_path_always() {
    for policy in Policy::ALL {
        let mut scheduler = scheduler(*policy, &[3, 2, 1, 1]);
        for turn in 0..4000u16 {
            let at = Instant::from_micros(u64::from(turn) * 500);
            let up: PathSet = (0..4).filter(|index| (turn / 100) >> index & 1 == 1).collect();
            scheduler.sample_rtt(usize::from(turn % 4), Micros(u32::from(turn) * 37 % 20_000));
            let taken = scheduler.choose(&packet(UDP, turn, 53), None, up, at);
            assert!(
                (taken - up).is_empty() && taken.is_empty() == up.is_empty(),
                "{policy:?}: {taken:?} of {up:?}"
            );
        }
    }
}

#[test]
fn names_differ() {
    for (place, policy) in Policy::ALL.iter().enumerate() {
        assert_eq!(Policy::ALL.iter().position(|other| other.name() == policy.name()), Some(place));
    }
}

#[test]
fn flow_keeps_a_flow_on_its_path_and_shares_flows_by_weight() {
    let mut scheduler = scheduler(Policy::Flow, &[3, 1]);
    let mut flows = [0; 2];
    for port in 0..4000 {
        let packet = packet(UDP, port, 53);
        let path = scheduler.choose(&packet, None, first(2), Instant::ZERO);
        assert_eq!(path, scheduler.choose(&packet, None, first(2), Instant::ZERO));
        flows[path.into_iter().next().unwrap()] += 1;
    }
    assert!((2850..3150).contains(&flows[0]), "{flows:?}");
}

#[test]
fn flow_moves_only_the_flows_of_a_path_that_is_down_and_never_uses_it() {
    let mut scheduler = scheduler(Policy::Flow, &[1, 1, 1, 1]);
    let mut without_2 = first(4);
    without_2.set(2, false);
    let mut taken = [0; 4];
    for port in 0..1000 {
        let packet = packet(TCP, port, 80);
        let before = scheduler.choose(&packet, None, first(4), Instant::ZERO);
        let after = scheduler.choose(&packet, None, without_2, Instant::ZERO);
        if before == PathSet::of(2) {
            taken[after.into_iter().next().unwrap()] += 1;
        } else {
            assert_eq!(after, before);
        }
    }
    assert_eq!(taken[2], 0);
    assert!([0, 1, 3].iter().all(|path| taken[*path] > 40), "spread over the others: {taken:?}");
}

#[test]
fn backup_takes_the_lowest_rank_that_is_up_and_the_first_of_equals() {
    let mut scheduler = Scheduler::new(Policy::Backup, Pins::new(), 0);
    for (index, rank) in [5, 1, 1, 9].into_iter().enumerate() {
        scheduler.set_path(index, path(1, rank));
    }
    let packet = packet(TCP, 1, 2);
    let mut up = first(4);
    for expected in [1, 2, 0, 3] {
        assert_eq!(scheduler.choose(&packet, None, up, Instant::ZERO), PathSet::of(expected));
        up.set(expected, false);
    }
}

#[test]
fn redundant_takes_every_path_that_is_up() {
    let mut up = first(4);
    up.set(1, false);
    assert_eq!(scheduler(Policy::Redundant, &[1; 4]).choose(&packet(TCP, 1, 2), None, up, Instant::ZERO), up);
}

#[test]
fn a_pinned_port_takes_its_path_while_that_is_up_whatever_the_policy() {
    for policy in Policy::ALL {
        let mut scheduler = scheduler(*policy, &[1; 3]);
        scheduler.pins.insert(Pin { port_match: PortMatch::TcpDestination, port: 22, path: 2 }).unwrap();
        let ssh = packet(TCP, 40_000, 22);
        assert_eq!(scheduler.choose(&ssh, None, first(3), Instant::ZERO), PathSet::of(2));
        assert_eq!(scheduler.choose(&ssh, None, first(3), Instant::ZERO), PathSet::of(2));
        assert!(
            !scheduler.choose(&ssh, None, first(2), Instant::ZERO).is_empty(),
            "its path is down: another one"
        );
        assert_ne!(
            scheduler.choose(&packet(UDP, 40_000, 22), None, PathSet::of(0), Instant::ZERO),
            PathSet::of(2)
        );
    }
}

#[test]
fn a_source_pin_wins_over_a_destination_pin() {
    let mut scheduler = scheduler(Policy::Weighted, &[1; 2]);
    scheduler.pins.insert(Pin { port_match: PortMatch::UdpDestination, port: 53, path: 0 }).unwrap();
    scheduler.pins.insert(Pin { port_match: PortMatch::UdpSource, port: 5000, path: 1 }).unwrap();
    assert_eq!(scheduler.choose(&packet(UDP, 5000, 53), None, first(2), Instant::ZERO), PathSet::of(1));
}
