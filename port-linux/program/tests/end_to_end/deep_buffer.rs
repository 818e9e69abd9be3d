//! A slow link of this host with a deep queue, as a modem or an old queueing discipline has it.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use mpt_lab::host::Host;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Side, Topology};

use crate::bench::{self, Tunnel};
use crate::programs::{Tool, iperf3};

/// The mean and the longest round trip of some echo requests, in milliseconds.
fn round_trips(host: &Host, to: IpAddr) -> anyhow::Result<(f64, f64)> {
    let said = host.run(&format!("ping -q -i 0.1 -c 30 -W 5 {to}"))?;
    let (_, times) = said.split_once("rtt min/avg/max/mdev = ").with_context(|| said.clone())?;
    let times: Vec<f64> = times.split('/').filter_map(|time| time.parse().ok()).collect();
    ensure!(times.len() >= 3, "{said}");
    Ok((times[1], times[2]))
}

#[test]
fn a_deep_queue_of_our_own_is_not_filled_by_weight() {
    bench::test(&[Tool::Ping, Tool::Iperf3], || is_short("weighted"));
}

#[test]
fn a_deep_queue_of_our_own_is_not_filled_by_flow() {
    bench::test(&[Tool::Ping, Tool::Iperf3], || is_short("flow"));
}

fn is_short(policy: &str) -> anyhow::Result<()> {
    let net = Topology::build(1, None)?;
    net.pc1.run("tc qdisc replace dev eth1 root tbf rate 10mbit burst 16k limit 4mb")?;
    let tunnel = Tunnel::start_on(net, Stack::V4OverV4, |_, s| s.connection("policy", policy))?;
    let to = Side::Pc2.tunnel_address(Version::V4);
    let (pc1, pc2) = (&tunnel.net.pc1, &tunnel.net.pc2);
    let (upload, pings) = thread::scope(|scope| {
        let upload = scope.spawn(|| iperf3(pc2, pc1, to, "--time 12"));
        thread::sleep(Duration::from_secs(7));
        let pings = round_trips(pc1, to);
        (upload.join().expect("no panic"), pings)
    });
    let (upload, (mean, longest)) = (upload?, pings?);
    let bits = upload["end"]["sum_received"]["bits_per_second"].as_f64().context("no rate")?;
    // Without a bound it is 1,500 ms and more.
    ensure!(mean < 200.0, "{mean} ms, {longest} at most");
    ensure!(bits > 8e6, "{bits} bit/s of 10 Mbit/s");
    Ok(())
}
