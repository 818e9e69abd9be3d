//! What happened is told: by hooks and by `mpt status --json`, with the same words.

use std::fs;

use anyhow::{Context as _, ensure};
use port_linux::events::Event;
use port_linux::lab::stack::Stack;
use port_linux::lab::topology::Side;

use crate::bench::{self, DIRECTORY, Tunnel};

#[test]
fn a_hook_gets_what_the_log_and_status_have() {
    bench::test(&[], || {
        let told = format!("{DIRECTORY}/told");
        let run = ["/bin/sh", "-c", &format!("cat >> {told}")];
        let tunnel = Tunnel::start(2, Stack::V4OverV4, |side, settings| match side {
            Side::Pc1 => settings.hook(&["path_down", "path_up"], &run),
            Side::Pc2 => settings,
        })?;
        tunnel.pc1.path("down path2")?;
        let lines = || fs::read_to_string(&told).unwrap_or_default();
        let is_told = || Ok(lines().contains("\"event\":\"path_down\""));
        tunnel.pc1.until_around("told that a path is down", is_told)?;
        let lines = lines();
        ensure!(lines.lines().count() == 3, "two paths up, one down: {lines}");
        let last = lines.lines().last().context("a line")?;
        let event: Event = serde_json::from_str(last)?;
        ensure!(
            event.path.as_deref() == Some("path2") && event.text.ends_with("is down: disabled"),
            "{last}"
        );
        ensure!(tunnel.pc1.said().contains(&event.text), "{}", tunnel.pc1.said());
        let events = tunnel.pc1.status()?.events;
        ensure!(events.contains(&event), "{events:?}");
        ensure!(events.iter().any(|event| event.what.name() == "peer_up"), "{events:?}");
        let numbers: Vec<u64> = events.iter().map(|event| event.number).collect();
        ensure!(numbers == (1..=numbers.len() as u64).collect::<Vec<_>>(), "{numbers:?}");
        Ok(())
    });
}
