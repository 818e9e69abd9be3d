//! `mpt ping` and `mpt speed`: the tunnel measured from inside, against the responder of the other end.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use mpt_lab::relay::link::Links;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Side, Topology};
use serde_json::Value;

use crate::bench::{self, FAILED, Settings, Tunnel, sent_by_path};

/// A sealed tunnel over emulated links.
fn tunnel(links: &str, change: impl Fn(Side, Settings) -> Settings) -> anyhow::Result<Tunnel> {
    let Links(links) = links.parse().map_err(anyhow::Error::msg)?;
    Tunnel::start_on(Topology::emulate(&links, 1)?, Stack::V4OverV4, change)
}

/// What a command of PC1 prints as JSON.
fn measured(tunnel: &Tunnel, arguments: &str) -> anyhow::Result<Value> {
    let said = tunnel.pc1.done(&format!("{arguments} --json"))?;
    serde_json::from_str(&said).with_context(|| said.clone())
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

#[test]
fn a_ping_takes_the_path_that_it_is_to_measure_both_ways() {
    bench::test(&[], || {
        let tunnel =
            tunnel("20mbit 2ms, 20mbit 40ms", |_, settings| settings.connection("policy", "adaptive"))?;
        let ping = |path: &str| measured(&tunnel, &format!("ping pc2 -c 10 -i 0.05 -s 1000 {path}"));
        let at_both = || anyhow::Ok([tunnel.pc1.connection()?, tunnel.pc2.connection()?]);
        for (number_of_path, least) in [(1, 4.0), (2, 80.0)] {
            let before = at_both()?;
            let outcome = ping(&format!("--path path{number_of_path}"))?;
            let after = at_both()?;
            assert_eq!((&outcome["sent"], &outcome["received"]), (&10.into(), &10.into()), "{outcome}");
            ensure!(number(&outcome["rtt"]["min_ms"]) >= least, "{outcome}");
            if number_of_path == 1 {
                ensure!(number(&outcome["rtt"]["min_ms"]) < 80.0, "{outcome}");
            }
            for end in 0..2 {
                let sent = sent_by_path(&before[end], &after[end]);
                let (measured, other) = (sent[number_of_path - 1], sent[2 - number_of_path]);
                ensure!(measured >= 10_000 && other < 10_000, "{sent:?} bytes on the paths");
            }
        }
        // For a call, the policy takes the path that delivers first.
        let outcome = ping("")?;
        ensure!(outcome["received"] == 10 && number(&outcome["rtt"]["min_ms"]) < 80.0, "{outcome}");
        Ok(())
    });
}

#[test]
fn without_a_responder_or_in_another_network_the_reason_is_told() {
    bench::test(&[], || {
        let tunnel = Tunnel::start(1, Stack::V4OverV4, |side, settings| match side {
            Side::Pc1 => settings,
            Side::Pc2 => settings.tunnel("responder", false),
        })?;
        let complaint = tunnel.pc1.complains("ping pc2 -c 3", FAILED)?;
        ensure!(complaint.contains("pc2 has no responder"), "{complaint}");
        let complaint = tunnel.pc1.complains("ping pc3", FAILED)?;
        ensure!(complaint.contains("there are pc2"), "{complaint}");

        // The responder of PC1 answers PC2 through the tunnel, and nobody on a link.
        tunnel.pc2.done("ping pc1 -c 1")?;
        let answer = tunnel.net.pc2.inside(|| -> anyhow::Result<bool> {
            let socket = UdpSocket::bind((Side::Pc2.address(1, Version::V4), 0))?;
            socket.set_read_timeout(Some(Duration::from_millis(300)))?;
            let mut question = [0; 24];
            question[..8].copy_from_slice(b"mptp\x01\x01\xff\x00");
            for address in [Side::Pc1.address(1, Version::V4), Side::Pc1.tunnel_address(Version::V4)] {
                socket.send_to(&question, (address, port_linux::measure::PORT))?;
            }
            Ok(socket.recv(&mut question).is_ok())
        })??;
        ensure!(!answer, "a stranger got an answer");
        Ok(())
    });
}

/// What a path has carried, as `mpt speed` says it.
fn carried(outcome: &Value, path: usize) -> f64 {
    number(&outcome["data"][path]["bytes"])
}

#[test]
fn speed_over_a_path_takes_that_path_alone_and_the_bond_takes_all() {
    bench::test(&[], || {
        let tunnel =
            tunnel("20mbit 5ms, 10mbit 10ms", |_, settings| settings.connection("policy", "adaptive"))?;
        // How near to its link's a rate comes is the machine's, if that is busy. It is not far beyond.
        let is_plausible = |row: &Value, mbit: f64| {
            ["down", "up"]
                .into_iter()
                .all(|way| (0.01..1.6).contains(&(number(&row[way]["bps"]) / (mbit * 1e6))))
        };
        let alone = measured(&tunnel, "speed pc2 --path path2 --seconds 1")?;
        let row = &alone["paths"][0];
        ensure!(row["name"] == "path2" && is_plausible(row, 10.0), "{alone:#}");
        ensure!(number(&row["idle_ms"]) >= 20.0, "{alone:#}");
        ensure!(carried(&alone, 1) > 10.0 * carried(&alone, 0), "{alone:#}");

        let before = tunnel.pc1.connection()?;
        let bond = measured(&tunnel, "speed pc2 --bond --seconds 1")?;
        let after = tunnel.pc1.connection()?;
        ensure!(is_plausible(&bond["bond"], 30.0), "{bond:#}");
        let sent = sent_by_path(&before, &after);
        ensure!(sent.iter().all(|bytes| *bytes > 20_000), "{sent:?} bytes on the paths: {bond:#}");
        Ok(())
    });
}
