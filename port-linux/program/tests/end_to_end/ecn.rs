//! ECN marks on a path that does not carry them.

use std::thread;
use std::time::Duration;

use anyhow::ensure;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::stopwatch::Stopwatch;
use mpt_lab::topology::Side;

use crate::bench::{self, PATIENCE, Tunnel};
use crate::programs::{Background, Pings, Tool};

/// Echo requests of more seconds than it takes to be sure: five tests of 3 s.
const PINGS: u32 = 1500;

#[test]
fn by_weight_nothing_is_lost_on_a_path_that_drops_marked_datagrams_and_the_log_says_so() {
    bench::test(&[Tool::Ping, Tool::Nft], || drops("weighted"));
}

#[test]
fn by_measure_nothing_is_lost_on_a_path_that_drops_marked_datagrams_and_the_log_says_so() {
    bench::test(&[Tool::Ping, Tool::Nft], || drops("adaptive"));
}

fn drops(policy: &str) -> anyhow::Result<()> {
    let tunnel = Tunnel::start(2, Stack::V4OverV4, |_, s| s.connection("policy", policy))?;
    let pc2 = &tunnel.net.pc2;
    pc2.run("nft add table inet old")?;
    pc2.run("nft add chain inet old arriving { type filter hook input priority 0 ; }")?;
    pc2.run("nft add rule inet old arriving iifname eth1 ip ecn != not-ect counter drop")?;

    // ECT(0), each 20 ms.
    let to = Side::Pc2.tunnel_address(Version::V4);
    let pings = Background::start(&tunnel.net.pc1, to, PINGS, "-Q 2")?;
    let clock = Stopwatch::start();
    let wanted = "path path1 of pc2 drops datagrams with ECN marks";
    while !tunnel.pc1.said().contains(wanted) {
        ensure!(clock.elapsed() < 2 * PATIENCE, "{}", tunnel.pc1.said());
        thread::sleep(Duration::from_millis(100));
    }
    crate::doctor::until_found(&tunnel.net.pc1, &tunnel.pc1, "no_ecn", "drops datagrams with ECN marks")?;
    let expected = Pings { sent: PINGS, received: PINGS, copies: 0 };
    assert_eq!(pings.finish()?, expected);
    let rules = pc2.run("nft list table inet old")?;
    ensure!(!rules.contains("counter packets 0 "), "the hop has met marked datagrams: {rules}");
    assert!(!tunnel.pc1.said().contains("path path2 of pc2 drops"), "{}", tunnel.pc1.said());
    Ok(())
}
