//! `limit` of a peer: what goes to it waits its turn, what comes from it is dropped beyond, and reload changes it.

use std::{fs, thread};

use anyhow::{Context as _, ensure};

use super::{INTERNET, World};
use crate::bench::{self, Mpt};
use crate::programs::{Background, Pings, Tool, iperf3};

/// What a TCP between the house and the Internet reaches, in bits a second of its data, and how many packets mpt dropped for the limit.
fn speed(world: &World, serving: &Mpt, options: &str) -> anyhow::Result<(f64, u64)> {
    let dropped = || -> anyhow::Result<u64> {
        Ok(serving.connection()?.dropped.get("limit").copied().unwrap_or_default())
    };
    let before = dropped()?;
    let report =
        iperf3(&world.internet, &world.net.pc1, INTERNET.parse()?, &format!("--time 5 --omit 1 {options}"))?;
    let speed = report["end"]["sum_received"]["bits_per_second"].as_f64().unwrap_or_default();
    Ok((speed, dropped()? - before))
}

#[test]
fn a_peer_has_its_limit_in_each_direction_and_another_one_without_a_new_session() {
    bench::test(&[Tool::Ping, Tool::Iperf3, Tool::Nft], || {
        const LIMIT: f64 = 20e6;
        let world = World::with_server()?;
        let home = &world.net.pc1;
        let serving = world.serve()?;
        let joined = world.join(&world.peer("add van --limit 20mbit")?)?;
        world.until_online(&joined)?;
        let shown = world.peer("show van")?;
        ensure!(shown.contains("limit: 20mbit"), "{shown}");
        // Until reports come, packets have no queue to wait in.
        serving.until("adaptive", |c| c.mode.as_deref() == Some("adaptive"))?;

        let pings = Background::start(home, INTERNET.parse()?, 60, "-i 0.1 -W 2")?;
        let (down, dropped_down) = speed(&world, &serving, "--reverse")?;
        let pinged = pings.finish()?;
        let (up, dropped_up) = thread::scope(|scope| {
            // How long they take is for people to see.
            scope.spawn(|| {
                let said = home.run(&format!("ping -q -i 0.1 -c 50 {INTERNET}"));
                println!("{}", said.unwrap_or_default().lines().last().unwrap_or_default());
            });
            speed(&world, &serving, "")
        })?;
        println!("down {:.1} Mbit/s, up {:.1} Mbit/s, {dropped_up} dropped", down / 1e6, up / 1e6);
        for (speed, direction) in [(down, "down"), (up, "up")] {
            ensure!((0.7 * LIMIT..1.1 * LIMIT).contains(&speed), "{direction}: {speed}");
        }
        ensure!(pinged == Pings { sent: 60, received: 60, copies: 0 }, "{pinged:?}");
        ensure!(dropped_down == 0 && dropped_up > 0, "{dropped_down} and {dropped_up} dropped");

        let file = format!("{}/server.d/van.toml", world.at_server);
        let text = fs::read_to_string(&file)?;
        let handshakes =
            || -> anyhow::Result<_> { Ok(serving.connection()?.seal.map(|seal| seal.handshakes)) };
        let before = handshakes()?;
        for (line, bounds) in [("limit = \"5mbit\"", 3.5e6..5.5e6), ("", 1.5 * LIMIT..1e12)] {
            fs::write(&file, text.replace("limit = \"20mbit\"", line))?;
            let said = serving.done("reload")?;
            ensure!(said.contains("van has another limit, 0 as before"), "{said}");
            for options in ["--reverse", ""] {
                let (speed, _) = speed(&world, &serving, options)?;
                println!("{line} {options}: {:.1} Mbit/s", speed / 1e6);
                ensure!(bounds.contains(&speed), "{line} {options}: {speed}");
            }
        }
        ensure!(handshakes()? == before, "a new session");
        Ok(())
    });
}

#[test]
fn a_flood_of_one_peer_ends_at_its_limit_and_another_one_notices_nothing() {
    bench::test(&[Tool::Ping, Tool::Iperf3, Tool::Nft], || {
        const LIMIT: f64 = 10e6;
        let world = World::with_server()?;
        let serving = world.serve()?;
        let joined = world.join(&world.peer("add van --limit 10mbit")?)?;
        let own = world.peer("list --json")?;
        let own: serde_json::Value = serde_json::from_str(&own)?;
        let van = own[0]["addresses"][0].as_str().unwrap_or_default();
        let tunnel = format!("{}.1", van.rsplit_once('.').unwrap_or_default().0);
        let _boat = world.join_boat(&format!("{tunnel}/32"))?;
        world.until_online(&joined)?;
        let tunnel = tunnel.parse()?;
        serving.until_around("van has a queue", || {
            let report = serving.status()?;
            Ok(report.connections.iter().any(|c| c.name == "van" && c.mode.as_deref() == Some("adaptive")))
        })?;

        let dropped = || -> anyhow::Result<u64> {
            let van = serving.status()?.connections.into_iter().find(|c| c.name == "van").context("van")?;
            Ok(van.dropped.get("limit").copied().unwrap_or_default())
        };
        for direction in ["--reverse", ""] {
            let before = dropped()?;
            let pings = Background::start(&world.internet, tunnel, 60, "-i 0.1 -W 2")?;
            let options = format!("--udp --bitrate 60M --length 1200 --time 5 {direction}");
            let report = iperf3(&world.internet, &world.net.pc1, INTERNET.parse()?, &options)?;
            let end = &report["end"];
            let got = end["sum_received"]["bits_per_second"].as_f64().unwrap_or_default();
            let dropped = dropped()? - before;
            println!("{direction}: {:.1} Mbit/s, {dropped} dropped for the limit", got / 1e6);
            ensure!((0.7 * LIMIT..1.1 * LIMIT).contains(&got), "{direction}: {got}: {end}");
            let pinged = pings.finish()?;
            ensure!(pinged == Pings { sent: 60, received: 60, copies: 0 }, "{direction}: {pinged:?}");
            // What goes to the peer waits in its own queue, and is dropped there as from any queue that is full.
            ensure!((dropped > 0) == direction.is_empty(), "{direction}: {dropped} dropped for the limit");
        }
        let status = serving.done("status van")?;
        ensure!(
            status.contains("limited to 10mbit in each direction") && status.contains(" limit "),
            "{status}"
        );
        Ok(())
    });
}
