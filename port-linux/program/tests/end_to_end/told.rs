//! What happened is told, by hooks and by `mpt status --json`, with the same words; and what paths have used of their data plans.

use std::fs;

use anyhow::{Context as _, ensure};
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::Side;
use port_linux::data::Level;
use port_linux::events::{Event, What};
use port_linux::report::{ConnectionReport, State};
use rustix::process::Signal;
use toml::{Table, Value};

use crate::bench::{self, DIRECTORY, Mpt, Settings, Tunnel};
use crate::programs::{Tool, all_pass};

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

/// The level of the data plan of the second path, and what is used.
fn plan(mpt: &Mpt) -> anyhow::Result<(Level, u64)> {
    let data = mpt.connection()?.paths.pop().and_then(|path| path.data).context("a plan")?;
    Ok((data.level, data.used_bytes))
}

#[test]
fn a_data_plan_is_kept_over_a_kill_and_the_hand_has_the_last_word() {
    bench::test(&[Tool::Ping], || {
        let bucket = Table::from_iter([("bucket".to_owned(), Value::from("10MB"))]);
        let change = |side, settings: Settings| match side {
            Side::Pc1 => settings.path(2, "data", bucket.clone()),
            Side::Pc2 => settings,
        };
        let mut tunnel = Tunnel::start(2, Stack::V4OverV4, change)?;
        let before = plan(&tunnel.pc1)?.1;
        all_pass(&tunnel.net.pc1, Side::Pc2.tunnel_address(Version::V4), 100, "-i 0.01 -s 1000")?;
        // Half of 100 packets and their answers.
        let is_counted = || Ok(plan(&tunnel.pc1)?.1 >= before + 90_000);
        tunnel.pc1.until_around("counted", is_counted)?;

        let said = tunnel.pc1.data("set path2 9.5MB")?;
        ensure!(said.contains("used last"), "{said}");
        let said = tunnel.pc1.data("set pc2/path2 10MB")?;
        ensure!(said.contains("out of use"), "{said}");
        tunnel.pc1.until_down(2, &["disabled"])?;
        tunnel.pc1.path("up path2")?;
        tunnel.pc1.until_up()?;

        let settings = change(Side::Pc1, Settings::new(Side::Pc1, Stack::V4OverV4, 2));
        tunnel.pc1.end(Signal::KILL)?;
        tunnel.pc1 = Mpt::start(tunnel.net.host(Side::Pc1), &settings)?;
        tunnel.pc1.until_down(2, &["disabled"])?;
        let (level, used) = plan(&tunnel.pc1)?;
        ensure!(level == Level::Reached && (10_000_000..11_000_000).contains(&used), "{level:?}, {used}");
        let events = tunnel.pc1.status()?.events;
        ensure!(events.iter().any(|event| event.what.name() == "data_reached"), "{events:?}");
        tunnel.pc1.reload(&settings.connection("policy", "flow"))?;
        tunnel.pc1.until("one path up", |c| c.policy == "flow" && c.paths[0].state == State::Up)?;
        tunnel.pc1.until_down(2, &["disabled"])?;
        let said = tunnel.pc1.data("add path2 50MB")?;
        ensure!(said.contains("in use"), "{said}");
        tunnel.until_up()
    });
}

#[test]
fn a_tier_is_that_of_the_time_of_day_beside_data_plans_and_commands() {
    bench::test(&[], || {
        let table = |times: &[(String, i64)]| {
            Table::from_iter(times.iter().map(|(key, tier)| (key.clone(), Value::from(*tier))))
        };
        // Half a day from now.
        let now = jiff::tz::TimeZone::system().to_datetime(jiff::Timestamp::now());
        let hour = (now.hour() + 12) % 24;
        let later = format!("{hour:02}:00-{hour:02}:59");
        let day = table(&[("default".into(), 2), ("00:00-12:00".into(), 3), ("12:00-24:00".into(), 3)]);
        let later = table(&[("default".into(), 4), (later, 1)]);
        let bucket = Table::from_iter([("bucket".to_owned(), Value::from("10MB"))]);
        let settings = |side: Side| {
            let settings = Settings::new(side, Stack::V4OverV4, 2).connection("policy", "adaptive");
            if side == Side::Pc2 {
                return settings;
            }
            settings.path(1, "tier", later.clone()).path(2, "tier", day.clone()).path(
                2,
                "data",
                bucket.clone(),
            )
        };
        let tunnel = Tunnel::start(2, Stack::V4OverV4, |side, _| settings(side))?;
        let pc1 = &tunnel.pc1;
        // The tier by the time of day, and that in force.
        let until = |path: usize, tiers: (u8, u8)| {
            let in_force = |c: &ConnectionReport| {
                let path = c.paths.get(path - 1);
                path.and_then(|path| Some((path.tier, path.model.as_ref()?.tier)))
            };
            pc1.until(&format!("path {path} is of tiers {tiers:?}"), |c| in_force(c) == Some(tiers)).map(drop)
        };
        until(1, (4, 4))?;
        until(2, (3, 3))?;
        let told = |tier: u8, before: u8| {
            let is_it = |event: &Event| event.what == What::TierChanged { tier, before };
            anyhow::Ok(pc1.status()?.events.iter().filter(|event| is_it(event)).count())
        };
        ensure!(told(3, 2)? == 1, "{}", pc1.said());
        pc1.data("set path2 9.5MB")?;
        until(2, (3, 8))?;
        pc1.path("down path2")?;
        pc1.path("up path2")?;
        until(2, (3, 8))?;
        pc1.data("set path2 0MB")?;
        until(2, (3, 3))?;
        pc1.reload(&settings(Side::Pc1).path(2, "tier", later.clone()))?;
        until(2, (4, 4))?;
        pc1.reload(&settings(Side::Pc1))?;
        until(2, (3, 3))?;
        ensure!(told(3, 2)? == 2 && told(4, 4)? == 0, "{}", pc1.said());
        Ok(())
    });
}
