//! What a tunnel did is kept in a file that outlives it: `mpt history`.

use std::fs;
use std::time::Duration;

use anyhow::ensure;
use mpt_lab::stack::Stack;
use rustix::process::Signal;

use crate::bench::{self, DEVICE, DIRECTORY, FAILED, Tunnel, complains, done, unchanged, until_within};

/// A record comes every ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn history_outlives_the_tunnel_and_a_kill() {
    bench::test(&[], || {
        let history = format!("history --file {DIRECTORY}/{DEVICE}.history");
        let mut tunnel = Tunnel::start(2, Stack::V4OverV4, unchanged)?;
        let host = tunnel.net.pc1.clone();
        let message = complains(&host, &format!("{history} --since 1s"), "", FAILED)?;
        ensure!(message.contains("has no record since"), "{message}");
        tunnel.pc1.path("down path2")?;
        // PC2's tunnel has the same name, and finds the file in use.
        until_within(PATIENCE, "a record", || {
            Ok(bench::run(&host, &format!("{history} --csv"), "")?.stdout.starts_with(b"time,path"))
        })?;
        tunnel.pc1.end(Signal::KILL)?;

        let table = done(&host, &format!("{history} --since 1h"), "")?;
        for part in [
            DEVICE,
            "pc2/path1  up 100.0 %",
            "pc2/path2  up 0.0 %",
            "  RTT ",
            "path path2 of pc2 is down: disabled",
        ] {
            ensure!(table.contains(part), "`{part}` is not in: {table}");
        }
        let one: serde_json::Value =
            serde_json::from_str(&done(&host, &format!("{history} --path path1 --json"), "")?)?;
        let records = one["paths"][0]["records"].as_array().map_or(0, Vec::len);
        ensure!(one["tunnel"] == DEVICE && records > 0, "{one}");
        let picture = format!("{DIRECTORY}/history.svg");
        done(&host, &format!("{history} --svg {picture}"), "")?;
        ensure!(fs::read_to_string(&picture)?.starts_with("<svg"));
        Ok(())
    });
}
