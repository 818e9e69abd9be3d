//! `uplink` and `downlink` of a server: a flood to a peer, and from it, is kept below them, both ends show it, and reload changes it.

use std::{fs, thread};

use anyhow::ensure;

use super::{INTERNET, World};
use crate::bench::{self, Mpt};
use crate::programs::{Background, Pings, Tool, iperf3};

/// The access, in bits a second.
const ACCESS: u32 = 10_000_000;

/// What is left of a flood of six times as much, while `until` waits for what is seen during it.
fn flood(
    world: &World,
    options: &str,
    until: impl FnOnce() -> anyhow::Result<()> + Send,
) -> anyhow::Result<f64> {
    let pings = Background::start(&world.net.pc1, INTERNET.parse()?, 20, "-i 0.1 -W 2")?;
    let report = thread::scope(|scope| {
        let seen = scope.spawn(until);
        let options = format!("--udp --bitrate 60M --length 1200 --time 3 --omit 1 {options}");
        let report = iperf3(&world.internet, &world.net.pc1, INTERNET.parse()?, &options)?;
        seen.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        anyhow::Ok(report)
    })?;
    let pinged = pings.finish()?;
    ensure!(pinged == Pings { sent: 20, received: 20, copies: 0 }, "{options}: {pinged:?}");
    let got = report["end"]["sum_received"]["bits_per_second"].as_f64().unwrap_or_default();
    println!("{options}: {:.1} Mbit/s", got / 1e6);
    Ok(got)
}

#[test]
fn a_flood_stays_below_the_access_of_the_server_in_both_directions_and_reload_changes_that() {
    bench::test(&[Tool::Ping, Tool::Iperf3, Tool::Nft], || {
        let world = World::with_server()?;
        let serving = world.serve()?;
        let joined = world.join(&world.peer("add van")?)?;
        world.until_online(&joined)?;
        serving.until("adaptive", |c| c.mode.as_deref() == Some("adaptive"))?;
        let plain = fs::read_to_string(world.config())?;
        let reload = |mpt: &Mpt, text: &str| {
            fs::write(world.config(), text)?;
            mpt.done("reload")
        };

        let access = "[listen]\nuplink = \"10mbit\"\ndownlink = \"10mbit\"";
        let said = reload(&serving, &plain.replace("[listen]", access))?;
        ensure!(said.contains("uplink 10mbit, downlink 10mbit, 1 as before"), "{said}");
        // A busy machine reaches less; headers take a tenth.
        let bounds = 0.5 * f64::from(ACCESS)..0.95 * f64::from(ACCESS);
        let down = flood(&world, "--reverse", || {
            serving.until("a share of the uplink", |c| c.uplink_share_bps.is_some()).map(drop)
        })?;
        ensure!(bounds.contains(&down), "down: {down}");
        let up = flood(&world, "", || {
            let most = 1..=u64::from(ACCESS);
            serving.until("a share of the downlink", |c| c.downlink_share_bps.is_some())?;
            joined.until("asked", |c| c.asked_bps.is_some_and(|bits| most.contains(&bits))).map(drop)
        })?;
        ensure!(bounds.contains(&up), "up: {up}");

        let said = reload(&serving, &plain)?;
        ensure!(said.contains("uplink not shared, downlink not shared, 1 as before"), "{said}");
        joined.until("not asked", |c| c.asked_bps.is_none())?;
        Ok(())
    });
}
