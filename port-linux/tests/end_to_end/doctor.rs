//! `mpt doctor` on a host where several things are wrong at once, and what it prints as their remedy.

use anyhow::{Context as _, ensure};
use port_linux::lab::host::Host;
use port_linux::lab::stack::Stack;
use port_linux::lab::topology::{Side, Topology};
use port_linux::report::State;
use serde_json::Value;

use crate::bench::{self, FAILED, Mpt, Settings, until};

/// An address of PC2 that lies behind its links.
const FAR: &str = "10.9.0.2";

/// What `mpt doctor --json` finds on PC1: names of checks, with what is wrong and what mends it.
fn findings(host: &Host, mpt: &Mpt) -> anyhow::Result<Vec<(String, String, String)>> {
    let files =
        format!("--config {}/{}.toml --control {}", bench::DIRECTORY, host.name(), mpt.control().display());
    let output = bench::run(host, &format!("doctor --json {files}"), "")?;
    let diagnosis: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let list = diagnosis["findings"].as_array().context("no list")?;
    ensure!(output.status.code() == Some(if list.is_empty() { 0 } else { FAILED }), "{output:?}");
    ensure!(diagnosis["left_out"].as_array().is_some_and(Vec::is_empty), "{diagnosis}");
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    Ok(list.iter().map(|it| (text(it, "check"), text(it, "what"), text(it, "mend"))).collect())
}

#[test]
fn the_doctor_finds_what_is_wrong_and_its_commands_mend_it() {
    bench::test(&[], || {
        let net = Topology::build(3, None)?;
        net.pc2.run(&format!("ip address add {FAR}/32 dev lo"))?;
        // The first path works; nobody has the second one's address; the third one's device has no route to the peer, and the best
        // route leads elsewhere.
        net.pc1.run(&format!("ip route add {FAR}/32 via 172.16.1.20 dev eth1"))?;
        net.pc1.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
        net.pc1.sysctl("net.ipv4.conf.eth3.rp_filter", "1")?;
        let settings = Settings::new(Side::Pc1, Stack::V4OverV4, 3)
            .path(2, "remote", "172.16.2.99")
            .path(3, "remote", FAR)
            .path(3, "device", "eth3");
        let pc1 = Mpt::start(&net.pc1, &settings)?;
        let config = format!("{}/PC1.toml", bench::DIRECTORY);
        let check = bench::run(&net.pc1, &format!("check {config}"), "")?;
        let lines = settings.text();
        let line = lines.lines().position(|line| line == "name = \"path3\"").context("the third path")? + 1;
        let warning =
            format!("warning: {config}:{line}: path pc2/path3 has no route to {FAR} through eth3. ");
        bench::says(&check, 0, &[&warning]);
        let offline = bench::run(&net.pc1, &format!("check --offline {config}"), "")?;
        ensure!(offline.status.success() && offline.stderr.is_empty(), "{offline:?}");
        let _pc2 = Mpt::start(&net.pc2, &Settings::new(Side::Pc2, Stack::V4OverV4, 1))?;
        // Two links in one LAN, which has the tunnel's network besides; and a queue that takes next to nothing.
        net.pc1.run("ip address add 172.16.2.11/24 dev eth3")?;
        net.pc1.run("ip address add 10.0.0.200/24 dev eth2")?;
        net.pc1.run(&format!("ip link set {} txqueuelen 5", bench::DEVICE))?;
        pc1.until("the first path up, and the second one found silent", |c| {
            c.paths[0].state == State::Up && c.paths[1].problem.is_some()
        })?;

        let found = findings(&net.pc1, &pc1)?;
        let expected = [
            ("rp_filter", "eth3"),
            ("missing_route", FAR),
            ("same_network", "10.0.0.0/24"),
            ("arp_flux", "172.16.2.0/24"),
            ("tunnel_queue", "5 packets"),
            ("no_answer", "no host on the link answers to the address 172.16.2.99"),
        ];
        for (check, part) in expected {
            assert!(
                found.iter().any(|(name, what, _)| name == check && what.contains(part)),
                "{check}: {found:#?}"
            );
        }
        assert_eq!(found[0].0, "rp_filter", "the worst comes first");

        for (check, _, mend) in &found {
            if ["rp_filter", "arp_flux", "tunnel_queue"].contains(&check.as_str()) {
                net.pc1.run(mend.strip_prefix("sudo ").context("a command")?)?;
            }
        }
        net.pc1.run("ip address del 10.0.0.200/24 dev eth2")?;
        until("only what no command mends", || {
            let left = findings(&net.pc1, &pc1)?;
            let mended = ["rp_filter", "arp_flux", "tunnel_queue", "same_network"];
            Ok(left.iter().all(|(check, ..)| !mended.contains(&check.as_str())))
        })
    });
}
