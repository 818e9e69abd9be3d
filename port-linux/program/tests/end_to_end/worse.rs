//! All paths together deliver less than the best one alone could.

use std::thread;
use std::time::Duration;

use anyhow::ensure;
use mpt_lab::relay::link::Links;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Side, Topology};
use port_linux::events::What;
use port_linux::report::ConnectionReport;
use rustix::process::Signal;

use crate::bench::{self, Tunnel, until};
use crate::programs::{Load, Tool};

const LINKS: &str = "40mbit 20ms, 10mbit 20ms";
/// Of the processor, mpt has a quarter; and less than seems that its paths have stopped.
const RESTS: Duration = Duration::from_millis(60);
/// See [`RESTS`].
const RUNS: Duration = Duration::from_millis(20);

#[test]
fn an_mpt_that_seldom_gets_the_processor_tells_that_it_is_worse_than_its_best_path_and_when_that_is_over() {
    bench::test(&[Tool::Iperf3], || {
        let Links(links) = LINKS.parse().map_err(anyhow::Error::msg)?;
        let net = Topology::emulate(&links, 1)?;
        let mut tunnel =
            Tunnel::start_on(net, Stack::V4OverV4, |_, settings| settings.connection("policy", "adaptive"))?;
        let to = Side::Pc2.tunnel_address(Version::V4);
        let _load = Load::start(&tunnel.net.pc2, &tunnel.net.pc1, to, "--udp --bitrate 80M --length 1200")?;
        let is_known = |c: &ConnectionReport| {
            let first = c.paths[0].measured();
            first.is_some_and(|model| model.phase == "cruise" && model.rate > 30_000_000)
        };
        tunnel.pc1.until("the rate of the first path", is_known)?;
        // Asked seldom: what answers is not stopped meanwhile.
        until("told that it is worse", || {
            for _ in 0..12 {
                tunnel.pc1.signal(Signal::STOP);
                thread::sleep(RESTS);
                tunnel.pc1.signal(Signal::CONT);
                thread::sleep(RUNS);
            }
            tunnel.pc1.has_told("worse_than_best")
        })?;
        let events = tunnel.pc1.status()?.events;
        let told = events.iter().find_map(|event| match &event.what {
            What::WorseThanBest { best, rate_bps, delivered_bps, .. } => {
                Some((best, *rate_bps, *delivered_bps))
            }
            _ => None,
        });
        let is_so = |(best, rate, delivered): (&String, u64, u64)| best == "path1" && delivered < rate;
        ensure!(told.is_some_and(is_so), "{events:#?}");
        // The load goes on.
        tunnel.pc1.until_around("told that it is over", || tunnel.pc1.has_told("as_good_as_best"))?;
        let worse_ms = tunnel.pc1.connection()?.worse_than_best_ms;
        ensure!((5_000..60_000).contains(&worse_ms), "{worse_ms}");
        Ok(())
    });
}
