//! The relay with real packets. How well it keeps time is measured by `mpt lab --links`, not here: these hold on a busy
//! machine, too.

use std::time::Duration;

use super::link::Links;
use super::*;
use crate::lab::namespace;
use crate::lab::stack::Version;
use crate::lab::topology::{Cut, Side, Topology};
use crate::lab::traffic::stream::{Amount, Transport};
use crate::lab::traffic::{ping, udp};
use crate::lab::{limit, transfer};

fn emulate(links: &str) -> anyhow::Result<Topology> {
    let Links(links) = links.parse().map_err(anyhow::Error::msg)?;
    Topology::emulate(&links, 1)
}

fn counts(net: &Topology, link: usize) -> Counts {
    net.relay().expect("links are emulated").report().links[link][0]
}

#[test]
fn a_round_trip_takes_at_least_the_delay_twice() {
    namespace::test("lab::relay::tests::a_round_trip_takes_at_least_the_delay_twice", || {
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
        "lab::relay::tests::what_the_link_loses_is_what_does_not_arrive_and_nothing_is_reordered",
        || {
            let net = emulate("50mbit 10ms 3ms 5%")?;
            let before = counts(&net, 0);
            let socket = net.pc2.inside(|| udp::bind((Side::Pc2.address(1, Version::V4), 0).into()))??;
            let address = socket.local_addr()?;
            let rate = "20mbit".parse().map_err(anyhow::Error::msg)?;
            let send = || udp::send(address, rate, udp::PAYLOAD, Duration::from_secs(1));
            let (delivery, sent) = thread::scope(|scope| {
                let receiver = scope.spawn(|| udp::receive(&socket, Duration::from_secs(5)));
                let sent = net.pc1.inside(send);
                (receiver.join().expect("no panic"), sent)
            });
            let (delivery, after) = (delivery?, counts(&net, 0));
            sent??;

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
        "lab::relay::tests::tcp_gets_no_more_than_the_arithmetic_limit_and_nothing_once_the_link_is_cut",
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
