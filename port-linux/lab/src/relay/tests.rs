//! The relay with real packets. How well it keeps time is measured by `mpt lab --links`, not here: these hold on a busy
//! machine, too.

use std::time::Duration;

use super::link::Links;
use super::*;
use crate::namespace;
use crate::stack::Version;
use crate::topology::{Cut, Side, Topology};
use crate::traffic::stream::{Amount, Transport};
use crate::traffic::{ping, udp};
use crate::{limit, transfer};

fn emulate(links: &str) -> anyhow::Result<Topology> {
    let Links(links) = links.parse().map_err(anyhow::Error::msg)?;
    Topology::emulate(&links, 1)
}

fn counts(net: &Topology, link: usize) -> Counts {
    net.relay().expect("links are emulated").report().links[link][0]
}

/// Sends datagrams at a rate of payload over a link, counted from 1.
fn datagrams(net: &Topology, link: u8, rate: &str, time: Duration) -> anyhow::Result<udp::Delivery> {
    let socket = net.pc2.inside(|| udp::bind((Side::Pc2.address(link, Version::V4), 0).into()))??;
    let address = socket.local_addr()?;
    let rate = rate.parse().map_err(anyhow::Error::msg)?;
    let send = || udp::send(address, rate, udp::PAYLOAD, time);
    let (delivery, sent) = thread::scope(|scope| {
        let receiver = scope.spawn(|| udp::receive(&socket, Duration::from_secs(5)));
        let sent = net.pc1.inside(send);
        (receiver.join().expect("no panic"), sent)
    });
    sent??;
    delivery
}

#[test]
fn a_round_trip_takes_at_least_the_delay_twice() {
    namespace::test("relay::tests::a_round_trip_takes_at_least_the_delay_twice", || {
        let net = emulate("20mbit 20ms, 50mbit 40ms")?;
        for (link, least) in [(1, 40.0), (2, 80.0)] {
            let to = Side::Pc2.address(link, Version::V4);
            let answerer = net.pc2.inside(|| ping::answerer(to))??;
            let address = answerer.local_addr()?;
            let asker = net.pc1.inside(|| ping::asker(address))??;
            let pings = ping::run(&asker, &answerer, Duration::from_millis(500))?;
            assert!(pings.p50_ms >= least && pings.lost == 0, "link {link}: {pings:?}");
        }
        Ok(())
    });
}

#[test]
fn what_the_link_loses_is_what_does_not_arrive_and_nothing_is_reordered() {
    namespace::test(
        "relay::tests::what_the_link_loses_is_what_does_not_arrive_and_nothing_is_reordered",
        || {
            let net = emulate("50mbit 10ms 3ms 5%")?;
            let before = counts(&net, 0);
            let delivery = datagrams(&net, 1, "20mbit", Duration::from_secs(1))?;
            let after = counts(&net, 0);

            assert!(delivery.lost > 0, "{delivery:?}");
            assert_eq!((delivery.duplicates, delivery.reordered), (0, 0));
            // The ten farewells and the kernel's own packets may be lost, too.
            let lost = after.lost - before.lost;
            assert!((delivery.lost..delivery.lost + 15).contains(&lost), "{delivery:?}\n{after:?}");
            assert_eq!(after.dropped, 0, "the queue was never full");
            Ok(())
        },
    );
}

#[test]
fn tcp_gets_no_more_than_the_arithmetic_limit_and_nothing_once_the_link_is_cut() {
    namespace::test(
        "relay::tests::tcp_gets_no_more_than_the_arithmetic_limit_and_nothing_once_the_link_is_cut",
        || {
            let net = emulate("20mbit 5ms queue 50ms, 10mbit 5ms")?;
            for version in [Version::V4, Version::V6] {
                let to = Side::Pc2.address(1, version);
                let amount = Amount::Bytes(2_500_000);
                let done = transfer::run(&net, to, Transport::Tcp, amount, &[], |_| Ok(()))?;
                let most = 20.0 * limit::tcp(version);
                assert_eq!(done.received.bytes, 2_500_000);
                assert!(done.received.goodput_mbit_s <= most * 1.01, "{version}: {:?}", done.received);
            }
            let reaches =
                |link| net.pc1.reaches(Side::Pc2.address(link, Version::V6), Duration::from_millis(500));
            for cut in [Cut::Link, Cut::Silent] {
                net.cut(2, cut)?;
                assert!(!reaches(2)? && reaches(1)?, "{cut}: cut");
                net.restore(2, cut)?;
                assert!(reaches(2)?, "{cut}: restored");
            }
            Ok(())
        },
    );
}

#[test]
fn a_policer_and_a_trace_let_pass_what_they_should_and_the_way_back_is_another() {
    namespace::test(
        "relay::tests::a_policer_and_a_trace_let_pass_what_they_should_and_the_way_back_is_another",
        || {
            // An opportunity of 1,500 bytes each ms: 12 Mbit/s.
            let file = tempfile::NamedTempFile::new()?;
            std::fs::write(file.path(), (1..=100).map(|at| format!("{at}\n")).collect::<String>())?;
            let links =
                "100mbit 10ms policer 10mbit 30kB back policer none, trace FILE 10ms queue 30ms back 50mbit";
            let net = emulate(&links.replace("FILE", &file.path().display().to_string()))?;
            for (link, megabits) in [(1, 10.0), (2, 12.0)] {
                let clock = Stopwatch::start();
                let delivery = datagrams(&net, link, "30mbit", Duration::from_secs(2))?;
                let time = clock.elapsed().as_secs_f64();
                let [there, back] =
                    net.relay().expect("links are emulated").report().links[usize::from(link) - 1];
                assert!(there.dropped + there.policed > 0, "link {link}: {there:?}");
                assert_eq!((back.dropped, back.policed), (0, 0));
                // 1,200 bytes in UDP, IPv4 and Ethernet, with what Ethernet adds to a frame.
                let passed = delivery.received as f64 * (1200.0 + 28.0 + 14.0 + 24.0) * 8.0 / 1e6;
                // The bucket is 0.24 Mbit. A machine that has no time for the sender may let fewer come.
                let (least, most) = (0.5 * megabits * 2.0, megabits * time + 0.3);
                assert!((least..most).contains(&passed), "link {link}: {passed} Mbit, not {least} to {most}");
            }
            Ok(())
        },
    );
}

#[test]
fn a_delay_that_wanders_is_seen_by_a_ping() {
    namespace::test("relay::tests::a_delay_that_wanders_is_seen_by_a_ping", || {
        // There and back 80 ms, with a deviation of 11.3: one in a hundred is above 106.
        let net = emulate("100mbit 40ms wander 8ms each 20ms")?;
        let to = Side::Pc2.address(1, Version::V4);
        let answerer = net.pc2.inside(|| ping::answerer(to))??;
        let address = answerer.local_addr()?;
        let asker = net.pc1.inside(|| ping::asker(address))??;
        let pings = ping::run(&asker, &answerer, Duration::from_secs(3))?;
        assert!((74.0..95.0).contains(&pings.p50_ms) && pings.lost == 0, "{pings:?}");
        assert!(pings.p99_ms > 93.0 && pings.max_ms < 400.0, "{pings:?}");
        Ok(())
    });
}
