//! The flight recorder: what a real tunnel did is done again from its recording, bit for bit.

use std::fs;

use anyhow::{Context as _, ensure};
use port_linux::lab::relay::link::Links;
use port_linux::lab::stack::{Stack, Version};
use port_linux::lab::topology::{Cut, Side, Topology};
use rustix::process::Signal;
use serde_json::Value;

use crate::bench::{self, DIRECTORY, FAILED, MISCONFIGURED, Settings, Tunnel, complains, done};
use crate::programs::{Tool, all_pass, iperf3};

const AGREES: &str = "Every decision is the recorded one";

/// Two links of unequal rates, of which the slower one loses packets.
fn lossy() -> anyhow::Result<Topology> {
    let Links(links) = "40mbit 5ms, 15mbit 20ms 1%".parse().map_err(anyhow::Error::msg)?;
    Topology::emulate(&links, 1)
}

fn recorded(_: Side, settings: Settings) -> Settings {
    settings.connection("policy", "adaptive").connection("record", "64MB")
}

#[test]
fn both_ends_of_a_tunnel_with_traffic_losses_and_a_cut_decide_again_as_they_did() {
    bench::test(&[Tool::Iperf3, Tool::Ping], || {
        let mut tunnel = Tunnel::start_on(lossy()?, Stack::V4OverV4, recorded)?;
        let to = Side::Pc2.tunnel_address(Version::V4);
        std::thread::scope(|scope| {
            let transfer = scope.spawn(|| iperf3(&tunnel.net.pc2, &tunnel.net.pc1, to, "--bidir --time 4"));
            tunnel.pc1.until("under way", |c| c.counters.tx_bytes > 1_000_000)?;
            tunnel.net.cut(1, Cut::Link)?;
            let at_the_cut = tunnel.pc1.until_down(1, &["link", "silent", "deaf"])?.counters.tx_bytes;
            tunnel.pc1.until("going on", |c| c.counters.tx_bytes > at_the_cut + 100_000)?;
            tunnel.net.restore(1, Cut::Link)?;
            transfer.join().expect("no panic")
        })?;
        let pc1 = tunnel.net.pc1.clone();
        let saved = format!("{DIRECTORY}/saved.mptrec");
        tunnel.pc1.record(&format!("save {saved}"))?;
        let said = done(&pc1, &format!("replay {saved}"), "")?;
        ensure!(said.contains(AGREES) && said.contains("until it was saved"), "{said}");

        // It begins anew, and is recorded again.
        ensure!(tunnel.pc1.record("stop")?.contains("no longer"));
        tunnel.pc1.record("start --size 1MB")?;
        tunnel.until_up()?;
        all_pass(&pc1, to, 20, "")?;
        let ended = [tunnel.pc1.end(Signal::TERM)?, tunnel.pc2.end(Signal::TERM)?];
        ensure!(ended.iter().all(std::process::ExitStatus::success));

        let files: Vec<_> = fs::read_dir(format!("{DIRECTORY}/record"))?.collect::<Result<_, _>>()?;
        ensure!(files.len() == 3, "{files:?}");
        for file in files {
            let file = file.path();
            let answer = done(&pc1, &format!("replay {} --json", file.display()), "")?;
            let facts: Value = serde_json::from_str(answer.lines().next().context("a line")?)?;
            ensure!(facts["agrees"] == true && facts["end"] == "closed", "{facts}");
        }

        let mut bytes = fs::read(&saved)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&saved, &bytes)?;
        let said = complains(&pc1, &format!("replay {saved}"), "", FAILED)?;
        ensure!(said.contains("damaged"), "{said}");
        bytes[middle] ^= 1;
        fs::write(&saved, &bytes[..middle])?;
        let said = done(&pc1, &format!("replay {saved} --without path1"), "")?;
        ensure!(said.contains("then the file is cut") && said.contains("would have been"), "{said}");
        let said = complains(&pc1, &format!("replay {saved} --without nothing"), "", MISCONFIGURED)?;
        ensure!(said.contains("no path is named nothing; there are"), "{said}");
        Ok(())
    });
}
