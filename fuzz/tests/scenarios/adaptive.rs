//! The adaptive policy keeps what every policy promises: nothing that was taken is lost on links without loss, nothing
//! comes twice, ordered packets come in order, restarts and forgeries are survived.

use std::time::Duration;

use mpt_fuzz::link::{LinkConfig, Loss, Rate};
use mpt_fuzz::packet::Stamp;
use mpt_fuzz::pair::{A, B, Memory, Pair, PathSetup, Sizes};
use mpt_fuzz::rng::test_seed;
use mpt_proto::Seq;
use mpt_proto::wire::gre::{Layout, Protocol};
use mpt_proto::{Config, DropReason, Ecn, Mode, Policy, ReorderConfig};

use crate::{MS, SECOND, bring_up, delay, dropped, dropped_for, lab, taken, unprobed};

/// Keeps the packets of these scenarios, which are UDP, in order or not.
fn adaptive(order_udp: bool) -> Config {
    let reorder = ReorderConfig { delay: 200 * MS, ..ReorderConfig::default() };
    Config { policy: Policy::Adaptive, order_udp, reorder, ..Config::default() }
}

/// Room for what is under way at these rates.
fn large() -> Memory {
    Memory::new(Sizes { adaptive_slots: 8192, reorder_slots: 8193, ..Sizes::default() }, 3)
}

/// The serial numbers that an end delivered, sorted.
fn sorted(pair: &Pair, end: usize) -> Vec<u64> {
    let mut serials: Vec<u64> = pair.log(end).serials().collect();
    serials.sort_unstable();
    serials
}

/// Each flow of an ordered connection by itself is in order: 16 flows take turns. The first packets of a flow, and
/// those of flows that send little, are not held for others.
fn flows_are_in_order(pair: &Pair, end: usize) -> bool {
    let mut last = [None; 16];
    let start = pair.log(end).deliveries().first().map_or(pair.now(), |first| first.at);
    pair.log(end).since(start + SECOND / 2).serials().all(|serial| {
        let flow = &mut last[usize::try_from(serial % 16).unwrap_or(0)];
        let is_later = flow.is_none_or(|last| last < serial);
        *flow = Some(serial);
        is_later
    })
}

#[test]
fn on_clean_links_of_any_delay_all_that_is_taken_arrives_once() {
    for order_udp in [false, true] {
        for delays in [&[10][..], &[10, 10, 10, 10], &[5, 30, 80], &[2, 150]] {
            let paths: Vec<PathSetup> = delays.iter().map(|ms| lab(delay(*ms * MS))).collect();
            let mut memory = large();
            let mut pair = Pair::symmetric(test_seed(100), &adaptive(order_udp), &paths, &mut memory);
            bring_up(&mut pair);
            pair.send(A, MS / 4, 1000, 2 * SECOND);
            pair.send(B, MS / 2, 500, 2 * SECOND);
            pair.run(6 * SECOND);
            for (end, sent) in [(B, 8000), (A, 4000)] {
                let serials = sorted(&pair, end);
                assert!(serials.iter().copied().eq(0..sent), "{delays:?}: {} of {sent}", serials.len());
                assert!(!order_udp || flows_are_in_order(&pair, end), "{delays:?}");
                assert_eq!(taken(&pair, end) + dropped(&pair, end), pair.arrived(end));
            }
            assert_eq!(pair.end(A).mode(), Some(Mode::Adaptive));
            assert_eq!(pair.end(A).stats().tx_resent, 0, "{delays:?}");
        }
    }
}

#[test]
fn links_that_jitter_and_duplicate_deliver_everything_once() {
    let link = LinkConfig { duplicate: 200_000, jitter: MS * 5 / 2, ..delay(MS * 25 / 2) };
    for order_udp in [false, true] {
        let mut memory = large();
        let mut pair = Pair::symmetric(test_seed(101), &adaptive(order_udp), &[lab(link); 3], &mut memory);
        bring_up(&mut pair);
        pair.send(A, MS / 2, 1000, 2 * SECOND);
        pair.run(6 * SECOND);
        assert!(sorted(&pair, B).into_iter().eq(0..4000));
        assert!(!order_udp || flows_are_in_order(&pair, B));
        assert!(dropped_for(&pair, B, DropReason::Duplicate) > 500);
    }
}

#[test]
fn what_links_lose_is_sent_again_and_in_order() {
    let link = LinkConfig { loss: Loss::Random(20_000), ..delay(10 * MS) };
    for order_udp in [false, true] {
        let mut memory = large();
        let mut pair = Pair::symmetric(test_seed(102), &adaptive(order_udp), &[lab(link); 2], &mut memory);
        bring_up(&mut pair);
        pair.send(A, MS / 4, 1000, 5 * SECOND);
        pair.run(8 * SECOND);
        let log = pair.log(B);
        assert!(log.len() >= 19_960, "{} of 20,000", log.len());
        assert_eq!(log.duplicates(), 0);
        assert!(!order_udp || flows_are_in_order(&pair, B));
        assert!(pair.end(A).stats().tx_resent >= 300);
    }
}

#[test]
fn without_resending_what_is_lost_stays_lost_and_holds_up_others_no_longer() {
    let link = LinkConfig { loss: Loss::Random(20_000), ..delay(10 * MS) };
    let config = Config { resend: false, ..adaptive(true) };
    let mut memory = large();
    let mut pair = Pair::symmetric(test_seed(103), &config, &[lab(link); 2], &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS / 4, 1000, 5 * SECOND);
    pair.run(8 * SECOND);
    assert_eq!(pair.end(A).stats().tx_resent, 0);
    let log = pair.log(B);
    assert!((19_400..19_800).contains(&log.len()), "{} of 20,000", log.len());
    assert!(flows_are_in_order(&pair, B));
    assert_eq!(pair.end(B).held(), 0);
}

#[test]
fn a_path_that_is_cut_costs_nothing_when_what_was_under_way_is_sent_again() {
    let mut memory = large();
    let mut pair = Pair::symmetric(test_seed(104), &adaptive(true), &[lab(delay(10 * MS)); 2], &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS / 4, 1000, 6 * SECOND);
    for _ in 0..3 {
        pair.run(SECOND);
        pair.set_cut(0, true);
        pair.run(SECOND / 2);
        pair.set_cut(0, false);
    }
    pair.run(4 * SECOND);
    let log = pair.log(B);
    assert_eq!(log.duplicates(), 0);
    assert!(log.len() >= 23_960, "{} of 24,000", log.len());
    assert!(flows_are_in_order(&pair, B));
    assert!(log.longest_delay() <= 400 * MS, "{:?}", log.longest_delay());
}

#[test]
fn a_link_that_is_too_slow_keeps_its_path_and_what_does_not_fit_is_dropped_at_the_sender() {
    let rate = Rate { bits_per_second: 10_000_000, queue: 60_000, mark_above: None };
    let link = LinkConfig { rate: Some(rate), ..delay(10 * MS) };
    let mut memory = Memory::default();
    let mut pair = Pair::symmetric(test_seed(105), &adaptive(true), &[lab(link); 2], &mut memory);
    bring_up(&mut pair);
    // 40 Mbit/s into 20.
    pair.send(A, MS / 4, 1250, 10 * SECOND);
    pair.run(5 * SECOND);
    let since = pair.now();
    pair.run(5 * SECOND);
    let delivered = pair.log(B).since(since);
    assert!((8_000..10_000).contains(&delivered.len()), "{} of 10,000 that fit", delivered.len());
    pair.run(2 * SECOND);
    let (log, stats) = (pair.log(B), pair.end(A).stats());
    assert!(stats.tx_dropped > 15_000, "{}", stats.tx_dropped);
    let lost = pair.offered(A).0 - log.len() as u64 - stats.tx_dropped;
    assert!(lost < 400, "{lost} lost on the links, most while the rates were found");
    assert_eq!(log.duplicates(), 0);
    assert!(flows_are_in_order(&pair, B));
    (0..2).for_each(|path| assert_eq!(pair.end(A).path_stats(pair.id(A, path)).unwrap().downs, 0));
}

#[test]
fn a_peer_that_restarts_in_the_midst_of_traffic_is_followed() {
    for order_udp in [false, true] {
        let mut memory = large();
        let paths = [5, 30, 60].map(|ms| lab(delay(ms * MS)));
        let mut pair = Pair::symmetric(test_seed(106), &adaptive(order_udp), &paths, &mut memory);
        bring_up(&mut pair);
        pair.send(A, MS, 1000, 16 * SECOND);
        pair.send(B, MS, 1000, 16 * SECOND);
        for end in [A, B, A] {
            pair.run(3 * SECOND);
            pair.restart(end);
            pair.run(SECOND);
            assert!(pair.all_up(), "after a restart of {end}");
            let since = pair.now();
            pair.run(SECOND);
            for end in [A, B] {
                let delivered = pair.log(end).since(since);
                assert!((980..=1020).contains(&delivered.len()), "{order_udp} {end}: {}", delivered.len());
                assert_eq!(pair.end(end).mode(), Some(Mode::Adaptive));
            }
        }
    }
}

#[test]
fn sixteen_paths_are_used_and_reported_on() {
    let rate = Rate { bits_per_second: 2_000_000, queue: 30_000, mark_above: None };
    let link = LinkConfig { rate: Some(rate), ..delay(20 * MS) };
    let mut memory = large();
    let mut pair = Pair::symmetric(test_seed(107), &adaptive(true), &[lab(link); 16], &mut memory);
    bring_up(&mut pair);
    pair.send(A, Duration::from_micros(300), 1000, 10 * SECOND);
    pair.run(5 * SECOND);
    let since = pair.now();
    pair.run(5 * SECOND);
    let delivered = pair.log(B).since(since).len();
    // 32 Mbit/s in all; 1,000 bytes each 300 us are 26.7.
    assert!(delivered > 15_000, "{delivered} of 16,667");
    assert!(flows_are_in_order(&pair, B));
    (0..16).for_each(|path| assert!(pair.end(A).path_model(pair.id(A, path)).unwrap().rate > 100_000));
}

#[test]
fn a_few_packets_of_memory_are_enough_to_work() {
    let mut memory = Memory::new(Sizes { adaptive_slots: 16, reorder_slots: 17, ..Sizes::default() }, 0);
    let mut pair = Pair::symmetric(test_seed(108), &adaptive(true), &[lab(delay(5 * MS)); 2], &mut memory);
    bring_up(&mut pair);
    pair.send(A, 2 * MS, 500, 4 * SECOND);
    pair.run(6 * SECOND);
    let log = pair.log(B);
    assert!(log.len() as u64 + pair.end(A).stats().tx_dropped + pair.end(B).stats().rx_lost >= 2000);
    assert!(log.len() >= 1_950, "{} of 2,000", log.len());
    assert_eq!(log.duplicates(), 0);
}

#[test]
fn a_path_that_is_never_probed_carries_packets_beside_one_that_is() {
    let mut memory = large();
    let paths = [unprobed(delay(5 * MS)), lab(delay(5 * MS))];
    let mut pair = Pair::symmetric(test_seed(109), &adaptive(true), &paths, &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS, 1000, 4 * SECOND);
    pair.run(2 * SECOND);
    let sent = pair.link(A, 0).stats().sent + pair.link(B, 0).stats().sent;
    pair.run(4 * SECOND);
    assert!(sorted(&pair, B).into_iter().eq(0..4000));
    let later = pair.link(A, 0).stats().sent + pair.link(B, 0).stats().sent - sent;
    assert!(later < 4_000, "no reports without end: {later}");
}

#[test]
fn a_number_from_far_ahead_does_not_stop_it_for_good() {
    let mut memory = large();
    let mut pair = Pair::symmetric(test_seed(110), &adaptive(true), &[lab(delay(10 * MS)); 2], &mut memory);
    bring_up(&mut pair);
    pair.send(A, MS, 500, 4 * SECOND);
    pair.run(SECOND);
    let layout = Layout { checksum: false, key: None, sequence: true };
    let stamp = Stamp { serial: u64::MAX, sent: pair.now() };
    let mut forged = vec![0; layout.header_len()];
    forged.extend_from_slice(&stamp.packet(100, Ecn::NotEct));
    layout.emit(&mut forged, Protocol::Ipv4, Seq::from_u32(0x4000_0000));
    pair.inject(B, 0, forged, Ecn::NotEct);
    pair.run(SECOND);
    let since = pair.now();
    pair.run(SECOND);
    assert!(pair.log(B).since(since).len() > 950);
}
