//! Paths come up, idle, go down, come back; peers restart.

use mpt_fuzz::link::{LinkConfig, Loss};
use mpt_fuzz::pair::{A, B, Memory, Pair, PathSetup, Sizes};
use mpt_fuzz::rng::test_seed;
use mpt_proto::{Config, DownReason, Event, Link, Liveness, PathConfig, PathState, Policy, Probing};

use crate::{MS, SECOND, bring_up, delay, lab, unprobed, waiting, weighted};

/// The longest wait between two probes of the fast preset in use: its interval and a quarter of it.
const LAB_WAIT: std::time::Duration = std::time::Duration::from_micros(31_250);

#[test]
fn all_paths_come_up_and_stay_up_without_loss() {
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(1), &weighted(), &[lab(delay(20 * MS)); 4], &mut memory);
    let took = pair.run_until(SECOND, Pair::all_up);
    assert!(took.is_some_and(|took| took <= 60 * MS), "one and a half round trips, but {took:?}");
    let before = [A, B].map(|end| pair.events(end).len());
    pair.run(60 * SECOND);
    assert!(pair.all_up());
    for end in [A, B] {
        assert_eq!(pair.events(end).len(), before[end], "{:?}", pair.events(end));
        for path in 0..4 {
            assert_eq!(pair.end(end).path_rtt(pair.id(end, path)), Ok(Some(40 * MS)));
        }
    }
}

#[test]
fn all_paths_come_up_under_20_percent_loss() {
    let seed = test_seed(2);
    let lossy = LinkConfig { loss: Loss::Random(200_000), ..delay(20 * MS) };
    for round in 0..20 {
        let mut memory = Memory::default();
        let mut pair = Pair::symmetric(seed + round, &weighted(), &[lab(lossy); 4], &mut memory);
        let seen = |pair: &Pair| {
            (0..4).all(|path| {
                [A, B].iter().all(|end| {
                    let up = Event::Path { path: pair.id(*end, path), state: PathState::Up };
                    pair.events(*end).iter().any(|(_, event)| *event == up)
                })
            })
        };
        let took = pair.run_until(2 * SECOND, seen);
        assert!(took.is_some(), "round {round}");
    }
}

#[test]
fn sixteen_paths_come_up_and_all_carry_their_share() {
    let paths: Vec<PathSetup> = (0..16).map(|path| lab(delay(MS * (5 + path)))).collect();
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(3), &weighted(), &paths, &mut memory);
    bring_up(&mut pair);
    let before: Vec<u64> = (0..16).map(|path| pair.link(A, path).stats().sent).collect();
    pair.send(A, MS, 500, 1600 * MS);
    pair.run(2 * SECOND);
    assert!(pair.log(B).serials().eq(0..1600));
    for (path, before) in before.into_iter().enumerate() {
        // 100 packets and, each way, some 40 probes or echoes a second.
        let sent = pair.link(A, path).stats().sent - before;
        assert!((150..320).contains(&sent), "{sent} on path {path}");
    }
}

#[test]
fn rfc8085_3_5_an_idle_tunnel_on_the_internet_sends_a_probe_in_15_s_at_most() {
    let internet = PathSetup::symmetric(PathConfig::default(), delay(40 * MS));
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(4), &weighted(), &[internet; 2], &mut memory);
    bring_up(&mut pair);
    pair.send(A, 20 * MS, 1000, SECOND);
    pair.run(5 * SECOND);
    let probes = |pair: &Pair, end, path| pair.end(end).path_stats(pair.id(end, path)).unwrap().probes;
    let count = |pair: &Pair| [(A, 0), (A, 1), (B, 0), (B, 1)].map(|(end, path)| probes(pair, end, path));
    let before = count(&pair);
    let sent = pair.link(A, 0).stats().sent;
    let minutes = 30;
    pair.run(minutes * 60 * SECOND);
    for (before, after) in before.into_iter().zip(count(&pair)) {
        let probes = after - before;
        assert!(probes <= minutes * 60 / 15 + 1, "{probes} probes in {minutes} minutes");
    }
    let all = pair.link(A, 0).stats().sent - sent;
    assert!(all >= u64::from(minutes), "the path is kept alive: {all} datagrams");
    assert!(pair.all_up());
}

#[test]
fn a_cut_of_one_of_four_paths_is_seen_in_time_and_traffic_goes_on() {
    let (preset, rtt) = (Probing::LAB, 20 * MS);
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(5), &waiting(SECOND), &[lab(delay(rtt / 2)); 4], &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS, 1000, 3 * SECOND);
    pair.send(B, MS, 1000, 3 * SECOND);
    pair.run(SECOND);
    pair.set_cut(2, true);
    let cut = pair.now();
    let down = |pair: &Pair| pair.states(2).iter().all(|state| matches!(state, PathState::Down(_)));
    let took = pair.run_until(SECOND, down).expect("both ends see it");
    assert!(took <= preset.dead + LAB_WAIT + rtt, "seen after {took:?}");
    pair.run(SECOND);
    let lost_at_most = u64::try_from(took.as_millis()).unwrap() / 4 + 8;
    for end in [A, B] {
        let log = pair.log(end);
        assert!(log.is_in_order());
        // Packets behind the gap wait until the path counts as down, not for the delay of a second.
        assert!(log.longest_gap(cut) <= took + rtt, "{:?}", log.longest_gap(cut));
        assert!(log.longest_delay() <= took + rtt);
        let lost = pair.end(end).stats().rx_lost;
        assert!((1..=lost_at_most).contains(&lost), "{lost} lost");
    }

    pair.set_cut(2, false);
    let took = pair.run_until(SECOND, Pair::all_up).expect("it comes back");
    assert!(took <= preset.idle * 5 / 4 + 2 * rtt, "back after {took:?}");
    let (sent, lost) = (pair.link(A, 2).stats().sent, pair.end(B).stats().rx_lost);
    pair.run(500 * MS);
    assert!(pair.link(A, 2).stats().sent - sent > 100, "it carries its share again");
    assert_eq!(pair.end(B).stats().rx_lost, lost, "nothing more is lost");
    assert_eq!(pair.end(A).path_stats(pair.id(A, 2)).unwrap().downs, 1);
    pair.run(SECOND);
    assert!(pair.log(A).is_in_order() && pair.log(B).is_in_order());
}

#[test]
fn a_cut_of_one_direction_takes_the_path_down_at_both_ends() {
    let (preset, rtt) = (Probing::LAB, 20 * MS);
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(6), &waiting(SECOND), &[lab(delay(rtt / 2)); 4], &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS, 1000, 2 * SECOND);
    pair.send(B, MS, 1000, 2 * SECOND);
    pair.run(SECOND);
    pair.link(A, 1).set_cut(true);
    let down = [PathState::Down(DownReason::Deaf), PathState::Down(DownReason::Silent)];
    let took = pair.run_until(SECOND, |pair| pair.states(1) == down).expect("A is deaf, B hears nothing");
    assert!(took <= preset.dead + LAB_WAIT + rtt, "seen after {took:?}");
    pair.run(SECOND / 2);
    assert!(pair.log(A).is_in_order() && pair.log(B).is_in_order());
    assert_eq!(pair.end(A).stats().rx_lost, 0, "the other direction lost nothing");
    pair.link(A, 1).set_cut(false);
    let took = pair.run_until(SECOND, Pair::all_up).expect("it comes back");
    assert!(took <= preset.idle * 5 / 4 + 2 * rtt, "back after {took:?}");
}

#[test]
fn with_the_internet_preset_a_busy_path_that_is_cut_is_left_within_its_dead_time() {
    let (preset, rtt) = (Probing::INTERNET, 80 * MS);
    let internet = PathSetup::symmetric(PathConfig::default(), delay(rtt / 2));
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(7), &weighted(), &[internet; 2], &mut memory);
    bring_up(&mut pair);
    pair.send(A, 5 * MS, 1000, 20 * SECOND);
    pair.run(5 * SECOND);
    pair.set_cut(0, true);
    let down = |pair: &Pair| pair.states(0).iter().all(|state| matches!(state, PathState::Down(_)));
    let took = pair.run_until(10 * SECOND, down).expect("both ends see it");
    assert!(took <= preset.dead + preset.interval * 5 / 4 + rtt, "seen after {took:?}");
    pair.set_cut(0, false);
    let took = pair.run_until(30 * SECOND, Pair::all_up).expect("it comes back");
    assert!(took <= preset.idle * 5 / 4 + 2 * rtt, "back after {took:?}");
}

#[test]
fn a_link_whose_carrier_goes_is_left_at_once_and_the_peer_follows_in_half_a_round_trip() {
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(8), &waiting(SECOND), &[lab(delay(10 * MS)); 2], &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS, 1000, SECOND);
    pair.send(B, MS, 1000, SECOND);
    pair.run(SECOND / 2);
    pair.set_cut(0, true);
    pair.set_carrier(A, 0, Link::Down);
    assert_eq!(pair.states(0)[A], PathState::Down(DownReason::Link));
    pair.run(10 * MS);
    assert_eq!(pair.states(0)[B], PathState::Down(DownReason::Deaf));
    pair.run(SECOND);
    // A sent nothing into the void, but what was on the wire is gone.
    assert!(pair.end(B).stats().rx_lost <= 6, "{}", pair.end(B).stats().rx_lost);
    pair.set_cut(0, false);
    pair.set_carrier(A, 0, Link::Up);
    assert!(pair.run_until(SECOND, Pair::all_up).is_some());
}

#[test]
fn a_path_that_flaps_disturbs_the_others_no_longer_than_it_must() {
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(9), &waiting(SECOND), &[lab(delay(5 * MS)); 3], &mut memory);
    bring_up(&mut pair);
    // In use, so that the short interval holds when the path goes for the first time.
    pair.send(A, MS, 800, 13 * SECOND);
    pair.run(SECOND);
    for _ in 0..20 {
        pair.set_cut(1, true);
        pair.run(300 * MS);
        pair.set_cut(1, false);
        pair.run(300 * MS);
    }
    pair.run(SECOND);
    let log = pair.log(B);
    assert!(log.is_in_order());
    let bound = Probing::LAB.dead + LAB_WAIT + 10 * MS;
    assert!(log.longest_delay() <= bound, "{:?}", log.longest_delay());
    let (lost, downs) = (pair.end(B).stats().rx_lost, pair.end(A).path_stats(pair.id(A, 1)).unwrap().downs);
    assert!((15..=20).contains(&downs), "{downs} downs");
    // A third of the packets of at most 170 ms is lost each time.
    assert!(lost <= 20 * 60, "{lost} lost");
    assert_eq!(log.len() as u64 + lost, 13_000, "what is not lost is delivered");
    assert!(pair.all_up());
}

#[test]
fn a_peer_that_restarts_in_the_midst_of_traffic_is_followed_and_both_directions_go_on() {
    for unequal in [false, true] {
        let paths: Vec<PathSetup> =
            (0..4).map(|path| lab(delay(MS * if unequal { 5 + 25 * path } else { 10 }))).collect();
        let mut memory = Memory::new(Sizes::default(), 3);
        let mut pair = Pair::symmetric(test_seed(10), &weighted(), &paths, &mut memory);
        bring_up(&mut pair);
        pair.send(A, MS / 2, 1000, 12 * SECOND);
        pair.send(B, MS / 2, 1000, 12 * SECOND);
        for restart in 1..=3 {
            pair.run(2 * SECOND);
            pair.restart(A);
            pair.run(SECOND);
            assert!(pair.all_up(), "after restart {restart}");
            let (since, half) = (pair.now(), SECOND / 2);
            pair.run(half);
            for end in [A, B] {
                let delivered = pair.log(end).since(since);
                assert!(
                    delivered.len() > 900,
                    "unequal: {unequal}, restart {restart}, end {end}: {}",
                    delivered.len()
                );
                assert!(delivered.is_in_order());
            }
        }
        assert_eq!(pair.events(B).iter().filter(|(_, event)| *event == Event::PeerStarted).count(), 1 + 3);
    }
}

#[test]
fn a_peer_that_restarts_without_a_word_is_followed_too() {
    for unequal in [false, true] {
        let paths: Vec<PathSetup> =
            (0..3).map(|path| unprobed(delay(MS * if unequal { 5 + 25 * path } else { 10 }))).collect();
        let mut memory = Memory::new(Sizes::default(), 1);
        let mut pair = Pair::symmetric(test_seed(11), &weighted(), &paths, &mut memory);
        pair.send(A, MS / 2, 1000, 20 * SECOND);
        pair.run(10 * SECOND);
        pair.restart(A);
        pair.run(SECOND);
        let since = pair.now();
        pair.run(SECOND);
        let delivered = pair.log(B).since(since);
        assert!(delivered.len() > 1900, "unequal: {unequal}: {}", delivered.len());
        assert!(delivered.is_in_order());
        assert_eq!(pair.end(B).stats().rx_restarts, 1);
    }
}

#[test]
fn the_backup_policy_moves_all_traffic_and_moves_it_back() {
    let mut paths = [lab(delay(5 * MS)); 2];
    for end in [A, B] {
        paths[1].config[end].rank = 1;
    }
    let config = Config { policy: Policy::Backup, ..waiting(SECOND) };
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(12), &config, &paths, &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS, 1000, 4 * SECOND);
    pair.run(SECOND);
    pair.set_cut(0, true);
    pair.run(SECOND);
    pair.set_cut(0, false);
    pair.run(SECOND);
    let backup = pair.link(A, 1).stats().sent;
    pair.run(2 * SECOND);
    let probes = pair.link(A, 1).stats().sent - backup;
    assert!(probes < 250, "only probes take the backup again: {probes}");
    let log = pair.log(B);
    assert!(log.is_in_order());
    assert_eq!(log.len() as u64 + pair.end(B).stats().rx_lost, 4000);
    assert!(pair.end(B).stats().rx_lost <= 170, "{}", pair.end(B).stats().rx_lost);
}

#[test]
fn a_path_without_probes_is_up_at_once_and_carries_traffic() {
    let mixed = [unprobed(delay(5 * MS)), lab(delay(5 * MS))];
    assert_eq!(mixed[0].config[A].liveness, Liveness::Off);
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(13), &weighted(), &mixed, &mut memory);
    assert_eq!(pair.states(0), [PathState::Up; 2]);
    pair.send(A, MS, 1000, SECOND);
    pair.run(2 * SECOND);
    assert!(pair.log(B).serials().eq(0..1000));
}
