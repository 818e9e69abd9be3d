//! The flight recorder: what a real tunnel did is done again from its recording, bit for bit.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use mpt_lab::host;
use mpt_lab::relay::link::Links;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Cut, Side, Topology};
use rustix::process::Signal;
use serde_json::Value;

use crate::bench::{self, DEVICE, DIRECTORY, FAILED, MISCONFIGURED, Settings, Tunnel, complains, done};
use crate::programs::{Load, Tool, all_pass};

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
        let transfer = Load::start(&tunnel.net.pc2, &tunnel.net.pc1, to, "--bidir")?;
        tunnel.pc1.until("under way", |c| c.counters.tx_bytes > 1_000_000)?;
        tunnel.net.cut(1, Cut::Link)?;
        let at_the_cut = tunnel.pc1.until_down(1, &["link", "silent", "deaf"])?.counters.tx_bytes;
        tunnel.pc1.until("going on", |c| c.counters.tx_bytes > at_the_cut + 100_000)?;
        tunnel.net.restore(1, Cut::Link)?;
        tunnel.until_up()?;
        // A block is written each second: there are two at least.
        std::thread::sleep(Duration::from_millis(1_200));
        drop(transfer);
        let pc1 = tunnel.net.pc1.clone();
        let saved = format!("{DIRECTORY}/saved.mptrec");
        tunnel.pc1.record(&format!("save {saved}"))?;
        let said = done(&pc1, &format!("replay {saved}"), "")?;
        ensure!(said.contains(AGREES) && said.contains("until it was saved"), "{said}");

        // It is recorded again from the middle on, which no packet notices.
        let before = tunnel.pc1.connection()?.counters;
        std::thread::scope(|scope| {
            let pings = scope.spawn(|| all_pass(&pc1, to, 150, "-i 0.01"));
            for _ in 0..3 {
                ensure!(tunnel.pc1.record("stop")?.contains("no longer"));
                tunnel.pc1.record("start --size 1MB")?;
            }
            pings.join().expect("no panic")
        })?;
        let after = tunnel.pc1.connection()?.counters;
        ensure!(after.rx_restarts == before.rx_restarts && after.tx_packets > before.tx_packets + 100);
        let ended = [tunnel.pc1.end(Signal::TERM)?, tunnel.pc2.end(Signal::TERM)?];
        ensure!(ended.iter().all(std::process::ExitStatus::success));

        let files: Vec<_> = fs::read_dir(format!("{DIRECTORY}/record"))?.collect::<Result<_, _>>()?;
        ensure!(files.len() == 3, "{files:?}");
        for file in files {
            let file = file.path();
            ensure!(file.is_dir());
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
        // Without its end, and a byte of its last block.
        fs::write(&saved, &bytes[..bytes.len() - 3])?;
        let said = done(&pc1, &format!("replay {saved} --without path1"), "")?;
        ensure!(said.contains("then the file is cut") && said.contains("would have been"), "{said}");
        let said = complains(&pc1, &format!("replay {saved} --without nothing"), "", MISCONFIGURED)?;
        ensure!(said.contains("no path is named nothing; there are"), "{said}");
        Ok(())
    });
}

/// The names of the segments of PC1's recording.
fn segments() -> anyhow::Result<Vec<String>> {
    let files = fs::read_dir(format!("{DIRECTORY}/record/{DEVICE}-pc2"))?;
    let mut names: Vec<String> = files
        .map(|file| Ok(file?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<_>>()?;
    names.sort();
    Ok(names)
}

#[test]
fn a_small_ring_has_the_last_seconds_and_they_decide_again_as_they_did_also_after_a_kill() {
    bench::test(&[Tool::Iperf3], || {
        let small =
            |_, settings: Settings| settings.connection("policy", "adaptive").connection("record", "100kB");
        let mut tunnel = Tunnel::start_on(lossy()?, Stack::V4OverV4, small)?;
        let (pc1, to) = (tunnel.net.pc1.clone(), Side::Pc2.tunnel_address(Version::V4));
        let transfer = Load::start(&tunnel.net.pc2, &pc1, to, "--bidir")?;
        bench::until_within(3 * bench::PATIENCE, "without the first segments", || {
            Ok(segments()?.first().is_some_and(|name| name.as_str() > "00000002.mptrec"))
        })?;
        drop(transfer);
        let names = segments()?;
        ensure!(names.len() >= 4, "{names:?}");

        let saved = format!("{DIRECTORY}/saved.mptrec");
        tunnel.pc1.record(&format!("save {saved}"))?;
        let said = done(&pc1, &format!("replay {saved}"), "")?;
        ensure!(said.contains(AGREES) && fs::metadata(&saved)?.len() <= 100_000, "{said}");
        let said = done(&pc1, &format!("replay {saved} --without path1"), "")?;
        ensure!(said.contains("begins in the middle"), "{said}");
        let said = done(&pc1, &format!("replay {saved} --policy weighted --from 1s --to 2s"), "")?;
        ensure!(said.contains("begins in the middle"), "{said}");
        done(&pc1, &format!("replay {saved} --to 2s --test {DIRECTORY}/made"), "")?;
        ensure!(fs::read_to_string(format!("{DIRECTORY}/made.txt"))?.starts_with("decides as recorded"));

        tunnel.pc1.end(Signal::KILL)?;
        let said = done(&pc1, &format!("replay {DIRECTORY}/record/{DEVICE}-pc2"), "")?;
        ensure!(said.contains(AGREES) && said.contains("then the file is cut"), "{said}");
        Ok(())
    });
}

#[test]
fn a_disk_that_is_full_ends_the_recording_with_a_word_and_the_tunnel_goes_on() {
    bench::test(&[Tool::Iperf3, Tool::Ping], || {
        let directory = format!("{DIRECTORY}/record");
        fs::create_dir_all(&directory)?;
        let mut mount = Command::new("mount");
        host::run(mount.args(["-t", "tmpfs", "-o", "size=128k", "tmpfs", &directory]))?;
        let tunnel = Tunnel::start_on(lossy()?, Stack::V4OverV4, recorded)?;
        let (pc1, to) = (tunnel.net.pc1.clone(), Side::Pc2.tunnel_address(Version::V4));
        let transfer = Load::start(&tunnel.net.pc2, &pc1, to, "--bidir")?;
        let full = "ends: No space left";
        bench::until_within(3 * bench::PATIENCE, "told that the disk is full", || {
            Ok(tunnel.pc1.said().contains(full) || tunnel.pc2.said().contains(full))
        })?;
        drop(transfer);
        all_pass(&pc1, to, 20, "")
    });
}
