//! The bench itself, over what is known to work.

use super::links::{config, link, links, sizes, sum};
use super::*;
use crate::link::Loss;
use crate::rng::test_seed;
use crate::tcp_model;
use crate::tcp_model::wire::Transport;
use mpt_proto::Policy;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn setup(text: &str, policy: Policy) -> (Setup, Memory) {
    let paths = links(text);
    let memory = Memory::new(sizes(&paths), 0);
    (Setup::new(test_seed(70), &config(policy), paths), memory)
}

#[test]
fn links_are_what_their_text_says() {
    let paths = links("100mbit 5ms, 20mbit 80ms 1%, 0.5mbit 3ms 1.5ms 2% burst 8 queue 300ms");
    assert_eq!(sum(&paths), 120_500_000);
    assert_eq!(paths[1].link[A].loss, Loss::Random(10_000));
    assert_eq!(paths[1].link[B].delay, 80 * MS);
    assert_eq!((paths[0].config[A].weight, paths[2].config[B].weight), (100, 1));
    let third =
        LinkConfig { jitter: MS * 3 / 2, loss: Loss::new(20_000, 8), ..link(500_000, 3 * MS, 300 * MS) };
    assert_eq!(paths[2].link[A], third);
    assert_eq!(third.loss, Loss::Bursts { share: 20_000, length: 8 });
}

#[test]
#[should_panic(expected = "\"100mbit 5mn\": `5mn` is not a time")]
fn words_that_mean_nothing_are_refused() {
    links("100mbit 5mn");
}

#[test]
fn one_path_carries_what_its_rate_leaves_room_for_over_tcp_and_udp() {
    for transport in [Transport::Tcp, Transport::Udp] {
        let (setup, mut memory) = setup("50mbit 10ms", Policy::Weighted);
        let mut bond = Bond::new(&setup, &mut memory);
        bond.bring_up();
        let flow = bond.tcp(A, Route::Tunnel, TcpSetup { transport, ..TcpSetup::default() });
        bond.run(10 * SECOND);
        let within = 3 * SECOND..10 * SECOND;
        // 50 Mbit/s, 1,400 of 1,436 bytes.
        assert!((bond.capacity(50_000_000, 1400) / 1e6 - 48.75).abs() < 0.01);
        let rate = bond.flow(flow).meter().rate(&within);
        assert!((48.2..48.8).contains(&rate), "{rate}");
        assert_eq!((bond.flow(flow).copies(), bond.flow(flow).overtaken(), bond.strange()), (0, 0, 0));
        assert!(bond.flow(flow).meter().gaps().longest(&within) < 10 * MS);
        assert!(bond.path_series(A, 0).backlog(95, &within) > 50 * MS, "CUBIC fills the queue");
        assert!((bond.path_series(A, 0).rate(&within) - 49.0).abs() < 1.0);
    }
}

#[test]
fn a_short_transfer_tells_how_long_it_took() {
    let (setup, mut memory) = setup("50mbit 10ms", Policy::Weighted);
    let mut bond = Bond::new(&setup, &mut memory);
    bond.bring_up();
    let config = tcp_model::Config { limit: Some(10), ..tcp_model::Config::default() };
    let flow = bond.tcp(A, Route::Tunnel, TcpSetup { config, ..TcpSetup::default() });
    assert_eq!(bond.flow(flow).took(), None);
    bond.run(SECOND);
    // Ten packets of 1,436 bytes are 2.3 ms at 50 Mbit/s.
    let took = bond.flow(flow).took().unwrap();
    assert!((12 * MS..13 * MS).contains(&took), "{took:?}");
}

#[test]
fn a_stream_and_a_ping_tell_delays_losses_and_gaps() {
    let (setup, mut memory) = setup("50mbit 10ms", Policy::Weighted);
    let mut bond = Bond::new(&setup, &mut memory);
    bond.bring_up();
    let start = bond.elapsed();
    let stream = bond.stream(A, Route::Tunnel, StreamSetup { bits_per_second: 11_200_000, packet_len: 1400 });
    let ping = bond.ping(A, 10 * MS);
    bond.run(2 * SECOND);
    bond.freeze(0);
    bond.run(50 * MS);
    bond.mend(0);
    bond.run(SECOND);
    let all = start..bond.elapsed();
    let stream = bond.stream_of(stream);
    assert_eq!(stream.sent(), 3051);
    let lost = stream.lost(&(all.start..all.end - 20 * MS));
    assert!((59..=62).contains(&lost), "50 ms of it, and what was on the link: {lost}");
    assert_eq!(stream.copies() + stream.overtaken(), 0);
    assert_eq!(stream.latencies().percentile(50, &all), 10 * MS + Duration::from_micros(229));
    let gap = stream.meter().gaps().longest(&all);
    assert!((60 * MS..63 * MS).contains(&gap), "{gap:?}");
    let ping = bond.ping_of(ping);
    assert!((280..=310).contains(&ping.sent()), "{}", ping.sent());
    let p50 = ping.round_trip().percentile(50, &all);
    assert!((20 * MS..21 * MS).contains(&p50), "{p50:?}");
    assert!(ping.one_way().count(&all) > 270);
}

#[test]
fn flows_that_share_a_link_beside_the_tunnel_share_its_rate() {
    let (setup, mut memory) = setup("50mbit 10ms", Policy::Weighted);
    let mut bond = Bond::new(&setup, &mut memory);
    bond.bring_up();
    let inside = bond.tcp(A, Route::Tunnel, TcpSetup::default());
    let beside = bond.tcp(A, Route::Link(0), TcpSetup::default());
    bond.run(30 * SECOND);
    let within = 5 * SECOND..30 * SECOND;
    let [inside, beside] = [inside, beside].map(|flow| bond.flow(flow).meter().rate(&within));
    assert!((47.5..49.5).contains(&(inside + beside)), "{inside} + {beside}");
    assert!(inside > 10.0 && beside > 10.0, "{inside} + {beside}");
}

#[test]
fn a_bond_does_the_same_again_and_clocks_that_disagree_change_nothing_but_deadlines() {
    let run = |drift| {
        let (setup, mut memory) = setup("20mbit 5ms, 10mbit 20ms 0.1%", Policy::Weighted);
        let mut bond = Bond::new(&Setup { drift, ..setup }, &mut memory);
        bond.bring_up();
        let flow = bond.tcp(A, Route::Tunnel, TcpSetup::default());
        bond.run(5 * SECOND);
        let within = SECOND..5 * SECOND;
        (bond.flow(flow).meter().bytes(), bond.shares(A, &within))
    };
    let (bytes, shares) = run(0);
    assert_eq!(run(0), (bytes, shares.clone()));
    assert!((shares[0] - 2.0 / 3.0).abs() < 0.01, "{shares:?}");
    let (drifting, _) = run(200);
    assert!((drifting as f64 / bytes as f64 - 1.0).abs() < 0.3, "{drifting} and {bytes}");
}

#[test]
fn a_rate_that_changes_changes_what_a_flow_gets() {
    let (setup, mut memory) = setup("10mbit 10ms", Policy::Weighted);
    let mut bond = Bond::new(&setup, &mut memory);
    bond.bring_up();
    let flow = bond.tcp(A, Route::Tunnel, TcpSetup::default());
    bond.run(5 * SECOND);
    let rate = |bond: &Bond<'_>, within| bond.flow(flow).meter().rate(&within);
    let before = rate(&bond, 3 * SECOND..5 * SECOND);
    bond.change_link(0, |link| link.rate.as_mut().unwrap().bits_per_second *= 10);
    bond.run(10 * SECOND);
    let after = rate(&bond, 10 * SECOND..15 * SECOND);
    bond.change_link(0, |link| link.rate.as_mut().unwrap().bits_per_second /= 20);
    bond.run(5 * SECOND);
    let least = rate(&bond, 18 * SECOND..20 * SECOND);
    assert!((9.4..9.8).contains(&before), "{before}");
    assert!(after > 30.0, "{after}");
    // What waited behind a loss comes at once.
    assert!((4.5..5.2).contains(&least), "{least}");
}

#[test]
fn paths_that_share_a_link_share_its_rate() {
    let (setup, mut memory) = setup("50mbit 10ms, shared0", Policy::Weighted);
    assert_eq!(sum(&setup.paths), 50_000_000);
    let mut bond = Bond::new(&setup, &mut memory);
    bond.bring_up();
    let flow = bond.tcp(A, Route::Tunnel, TcpSetup::default());
    bond.run(5 * SECOND);
    let within = 2 * SECOND..5 * SECOND;
    let rate = bond.flow(flow).meter().rate(&within);
    assert!((47.0..48.8).contains(&rate), "{rate}");
    let shares = bond.shares(A, &within);
    assert!(shares[1] > 0.01, "{shares:?}");
    assert_eq!(bond.link(A, 0).stats(), bond.link(A, 1).stats());
}

#[test]
fn traffic_has_its_rates_sizes_and_paces_in_both_directions() {
    let (setup, mut memory) = setup("50mbit 10ms", Policy::Weighted);
    let mut bond = Bond::new(&setup, &mut memory);
    bond.bring_up();
    let begun = bond.elapsed();
    let kinds = ["call", "conference 2.5mbit", "game", "dns", "thin 10x400kbit", "syn 1000"];
    let kinds: Vec<Traffic> = kinds.into_iter().map(|text| text.parse().unwrap()).collect();
    let apps: Vec<_> = kinds.iter().map(|kind| bond.traffic(A, *kind)).collect();
    bond.run(16 * SECOND);
    let within = begun + SECOND..begun + 16 * SECOND - SECOND;
    let figures: Vec<_> =
        kinds.iter().zip(apps).flat_map(|(kind, app)| bond.figures(app, *kind, &within)).collect();
    let called: Vec<_> = figures.iter().map(|it| it.called.as_str()).collect();
    let directions = ["call there", "call back", "audio there", "audio back", "video there", "video back"];
    let rest = ["game there", "game back", "dns", "thin 10x400kbit", "syn 1000"];
    assert_eq!(called, [&directions[..], &rest].concat());
    for it in &figures {
        assert_eq!((it.lost, it.late, it.overtaken), (0, 0, 0), "{it:?}");
    }
    let rates: Vec<_> = figures.iter().map(|it| (it.rate * 100.0).round() / 100.0).collect();
    let expected = [0.08, 0.08, 0.08, 0.08, 2.5, 2.5, 0.14, 0.05, 0.0, 4.0, 0.48];
    for (rate, expected) in rates.iter().zip(expected) {
        assert!((rate - expected).abs() <= 0.04 * expected, "{rates:?}");
    }
    let sent: Vec<_> = figures.iter().map(|it| it.sent).collect();
    assert_eq!((sent[0], sent[6], sent[7], sent[8], sent[10]), (700, 630, 840, 28, 14_000), "{sent:?}");
    assert_eq!(figures[4].frames.map(|[complete, all]| (complete, all)), Some((420, 420)));
    // A query of 76 bytes and its answer of 180, with 36 of headers, are 0.05 ms of 50 Mbit/s.
    assert!((20 * MS..22 * MS).contains(&figures[8].delay[0]), "{:?}", figures[8]);
    assert_eq!((bond.strange(), bond.refused(A), bond.refused(B)), (0, 0, 0));
}

#[test]
fn bulk_in_udp_fills_a_path_by_any_name() {
    for name in ["http3", "http3-bbr", "wireguard", "wireguard-bbr", "utp"] {
        let (setup, mut memory) = setup("50mbit 10ms", Policy::Weighted);
        let mut bond = Bond::new(&setup, &mut memory);
        bond.bring_up();
        let flow = bond.tcp(A, Route::Tunnel, TcpSetup::named(name).unwrap());
        bond.run(15 * SECOND);
        let rate = bond.flow(flow).meter().rate(&(5 * SECOND..15 * SECOND));
        assert!((46.0..48.8).contains(&rate), "{name}: {rate}");
        assert_eq!((bond.flow(flow).copies(), bond.strange()), (0, 0), "{name}");
    }
}
