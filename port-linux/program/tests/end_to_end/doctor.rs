//! `mpt doctor` on hosts and links where things are wrong, which it finds, and what it prints as their remedy.

mod host;
mod links;
mod peers;
mod sockets;

use anyhow::{Context as _, ensure};
use mpt_lab::host::Host;
use mpt_lab::stack::Stack;
use mpt_lab::topology::{Side, Topology};
use port_linux::report::State;
use serde::Deserialize;
use serde_json::Value;

use crate::bench::{self, FAILED, Mpt, Settings, until};

/// An address of PC2 that lies behind its links.
const FAR: &str = "10.9.0.2";

/// A finding.
#[derive(Debug, Deserialize)]
pub(crate) struct Found {
    check: String,
    severity: String,
    what: String,
    mend: String,
}

/// What `mpt doctor --json` finds on a host by its configuration and its mpt.
fn findings(host: &Host, mpt: &Mpt) -> anyhow::Result<Vec<Found>> {
    let files =
        format!("--config {}/{}.toml --control {}", bench::DIRECTORY, host.name(), mpt.control().display());
    let (found, diagnosis) = diagnosis(host, &files)?;
    let left_out = diagnosis["left_out"].as_array().context("a list")?;
    // A peer that does not answer through a full tunnel, or has no path.
    let is_version = |text: &Value| text.as_str().is_some_and(|text| text.starts_with("the version of "));
    ensure!(left_out.iter().all(is_version), "{diagnosis}");
    Ok(found)
}

/// What it finds with these arguments, and all that it says.
fn diagnosis(host: &Host, arguments: &str) -> anyhow::Result<(Vec<Found>, Value)> {
    let output = bench::run(host, &format!("doctor --json {arguments}"), "")?;
    let diagnosis: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let found: Vec<Found> = serde_json::from_value(diagnosis["findings"].clone())?;
    ensure!(output.status.code() == Some(if found.is_empty() { 0 } else { FAILED }), "{output:?}");
    Ok((found, diagnosis))
}

/// Each of these checks finds something with this in what it says.
fn has(found: &[Found], expected: &[(&str, &str)]) {
    for (check, part) in expected {
        assert!(
            found.iter().any(|it| it.check == *check && it.what.contains(part)),
            "{check}, {part}: {found:#?}"
        );
    }
}

/// Waits until a check finds something with this in what it says.
pub(crate) fn until_found(host: &Host, mpt: &Mpt, check: &str, part: &str) -> anyhow::Result<Found> {
    let mut last = Vec::new();
    let looked = until(check, || {
        last = findings(host, mpt)?;
        Ok(last.iter().any(|it| it.check == check && it.what.contains(part)))
    });
    looked.with_context(|| format!("{last:#?}\n{:#?}", mpt.connection()))?;
    last.into_iter().find(|it| it.check == check && it.what.contains(part)).context("it is there")
}

/// A remedy that is a command, done.
fn mend(host: &Host, found: &Found) -> anyhow::Result<()> {
    host.run(found.mend.strip_prefix("sudo ").context("a command")?).map(drop)
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
        has(&found, &expected);
        assert_eq!(found[0].check, "rp_filter", "the worst comes first");

        for it in &found {
            if ["rp_filter", "arp_flux", "tunnel_queue"].contains(&it.check.as_str()) {
                mend(&net.pc1, it)?;
            }
        }
        net.pc1.run("ip address del 10.0.0.200/24 dev eth2")?;
        until("only what no command mends", || {
            let left = findings(&net.pc1, &pc1)?;
            let mended = ["rp_filter", "arp_flux", "tunnel_queue", "same_network"];
            Ok(left.iter().all(|it| !mended.contains(&it.check.as_str())))
        })
    });
}
