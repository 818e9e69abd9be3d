//! `mpt lab` itself, in a short run: that what it was asked for is measured and written down. What the figures are is a
//! matter of the machine.

use std::fs;

use anyhow::{Context as _, ensure};
use mpt_lab::namespace;
use serde_json::Value;

use crate::bench::{self, printed};
use crate::programs::Tool;

#[test]
fn an_emulated_link_is_measured_with_every_system_and_written_down() {
    bench::test(&[], || {
        let out = tempfile::tempdir()?;
        let mut lab = bench::mpt();
        lab.args(["lab", "--links", "20mbit 5ms 1ms 0.1% burst 2", "--seconds", "2", "--json", "--out"]);
        let done = lab.arg(out.path()).output()?;
        let outcome: Value = serde_json::from_str(&printed(&done)?)?;
        let rows = outcome["rows"].as_array().context("rows")?;
        for system in ["tcp", "mptcp", "mpt"] {
            let row = rows.iter().find(|row| row["system"]["kind"] == system && row["congestion"] == "cubic");
            let row = row.with_context(|| format!("no row for {system}: {outcome}"))?;
            for measured in ["goodput_mbit_s", "settled_mbit_s", "ping_p50_ms", "cpu_percent"] {
                ensure!(row[measured]["median"].as_f64() > Some(0.0), "{system}, {measured}: {row}");
            }
            // Twice the delay, less twice the jitter.
            ensure!(row["ping_p50_ms"]["median"].as_f64() >= Some(8.0), "{system}: {row}");
        }
        let there = &outcome["relay"]["links"][0][0];
        let count = |name: &str| there[name].as_u64().unwrap_or(0);
        let gone = count("dropped") + count("lost") + count("cut") + count("passed");
        ensure!(count("lost") > 0 && count("offered") >= gone, "{there}");
        let written = fs::read_to_string(out.path().join("links.json"))?;
        ensure!(written.as_bytes() == done.stdout, "the file says what was printed");
        ensure!(fs::read_to_string(out.path().join("links-goodput.svg"))?.contains("kernel MPTCP"));
        Ok(())
    });
}

#[test]
fn a_house_goes_through_everything_and_each_step_ends_well() {
    bench::test(&[Tool::Nft, Tool::Curl], || {
        let done = bench::mpt().args(["lab", "home", "--seconds", "2", "--json"]).output()?;
        let outcome: Value = serde_json::from_slice(&done.stdout)
            .with_context(|| String::from_utf8_lossy(&done.stderr).into_owned())?;
        let steps = outcome["steps"].as_array().context("steps")?;
        let failed: Vec<&Value> = steps.iter().filter(|step| step["ended"] == "failed").collect();
        ensure!(failed.is_empty() && done.status.success(), "{failed:#?}");
        for wanted in [
            "mpt join",
            "in the LAN: curl -6",
            "from the Internet: a page of the LAN",
            "kill switch",
            "past the tunnel",
            "mpt leave",
        ] {
            let is_wanted = |step: &&Value| step["what"].as_str().is_some_and(|what| what.contains(wanted));
            let step = steps.iter().find(is_wanted).with_context(|| format!("no step {wanted}"))?;
            ensure!(step["ended"] == "well", "{step}");
        }
        for measured in ["alone_mbit_s", "sum_mbit_s"] {
            ensure!(outcome["figures"][measured].as_f64() > Some(0.0), "{outcome}");
        }
        Ok(())
    });
}

#[test]
fn a_call_beside_a_download_is_heard_both_ways_over_each_system() {
    bench::test(&[], || {
        let links = "20mbit 5ms, 10mbit 10ms";
        let args =
            ["lab", "--links", links, "--flow", "call", "--congestion", "cubic", "--seconds", "3", "--json"];
        let done = bench::mpt().args(args).args(["--only", "tcp,mptcp,mpt"]).output()?;
        let outcome: Value = serde_json::from_str(&printed(&done)?)?;
        let rows = outcome["rows"].as_array().context("rows")?;
        let kinds: Vec<_> =
            rows.iter().map(|row| row["system"]["kind"].as_str().unwrap_or_default()).collect();
        ensure!(kinds == ["plain", "plain", "mptcp_call", "mpt"], "{kinds:?}");
        for row in rows {
            ensure!(row["goodput_mbit_s"]["median"].as_f64() > Some(1.0), "{row}");
            // Headers at least.
            ensure!(row["link_bytes_per_byte"]["median"].as_f64() > Some(1.03), "{row}");
            for direction in [0, 1] {
                let sample = &row["samples"][0]["call"][["there", "back"][direction]];
                ensure!((90..=100).contains(&sample["sent"].as_u64().unwrap_or(0)), "{row}");
                ensure!(row["call"][direction]["p50_ms"]["median"].as_f64() >= Some(5.0), "{row}");
            }
        }
        Ok(())
    });
}

#[test]
fn wireguard_carries_tcp_inside_the_tunnel_with_both_mtus_or_says_that_it_is_not_there() {
    bench::test(&[], || {
        let links = "20mbit 5ms, 10mbit 10ms";
        let args = [
            "lab",
            "--links",
            links,
            "--flow",
            "wireguard",
            "--congestion",
            "cubic",
            "--seconds",
            "3",
            "--json",
        ];
        let done = bench::mpt().args(args).args(["--only", "mpt"]).output()?;
        let outcome: Value = serde_json::from_str(&printed(&done)?)?;
        let rows = outcome["rows"].as_array().context("rows")?;
        if !["wireguard-go", "wg"].into_iter().all(namespace::is_installed) {
            let said = outcome["skipped"][0].as_str().context("a sentence")?;
            ensure!(rows.is_empty() && said.contains("wireguard-go and wg are not installed"), "{outcome}");
            return Ok(());
        }
        let flows: Vec<_> =
            rows.iter().map(|row| row["system"]["flow"].as_str().unwrap_or_default()).collect();
        ensure!(flows == ["wireguard", "wireguard_fitting"], "{flows:?}");
        let per_byte = rows.iter().map(|row| row["link_bytes_per_byte"]["median"].as_f64().unwrap_or(0.0));
        ensure!(per_byte.clone().all(|ratio| ratio > 1.1), "headers of two tunnels: {outcome}");
        ensure!(rows.iter().all(|row| row["goodput_mbit_s"]["median"].as_f64() > Some(1.0)), "{outcome}");
        Ok(())
    });
}

#[test]
fn a_tunnel_carries_its_flow_while_strangers_flood_one_end_and_answers_less_than_they_send() {
    bench::test(&[], || {
        let args =
            ["lab", "--attack", "initiations", "--paths", "2", "--repeats", "1", "--seconds", "3", "--json"];
        let done = bench::mpt().args(args).output()?;
        let outcome: Value = serde_json::from_str(&printed(&done)?)?;
        let (aside, attacked) = (&outcome["rows"][0]["aside"][0], &outcome["rows"][0]["attacked"][0]);
        let number = |value: &Value| value.as_f64().context("a number");
        ensure!(number(&aside["sent"]["answered_bytes"])? == 0.0, "{outcome}");
        let (sent, answered) =
            (number(&attacked["sent"]["datagrams"])?, number(&attacked["sent"]["answered_bytes"])?);
        ensure!(sent > 1000.0 && answered > 0.0 && answered < sent * 160.0, "{outcome}");
        ensure!(number(&attacked["goodput_mbit_s"])? > 1.0, "{outcome}");
        Ok(())
    });
}

#[test]
fn udp_in_order_is_refused_for_a_policy_that_has_no_such_setting() -> anyhow::Result<()> {
    let args = ["lab", "--links", "20mbit 5ms", "--policy", "weighted", "--udp-in-order"];
    let done = bench::mpt().args(args).output()?;
    ensure!(!done.status.success());
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(said.contains("--udp-in-order is for the policy adaptive"), "{said}");
    Ok(())
}

#[test]
fn each_system_carries_a_flow_and_questions_when_speed_is_measured() {
    bench::test(&[], || {
        let arguments = "lab --speed --rate 100mbit --paths 2 --policy adaptive --congestion bbr --repeats 1 --seconds 3 --json";
        let done = bench::mpt().args(arguments.split(' ')).output()?;
        let outcome: Value = serde_json::from_str(&printed(&done)?)?;
        let rows = outcome["rows"].as_array().context("rows")?;
        let of = |row: &Value| (row["work"]["kind"].clone(), row["system"]["kind"].clone());
        // A tunnel that does nothing loses whole large segments on a link with a rate: by BBR it has 7 to 35 Mbit/s of 100 in 4 s. It has to
        // be there, no more.
        for (system, tunnels, least) in
            [("plain", 1, 0.01), ("mptcp", 1, 0.01), ("pipe", 1, 0.001), ("mpt", 6, 0.01)]
        {
            for work in ["tcp", "latency"] {
                let measured = rows.iter().filter(|row| of(row) == (work.into(), system.into()));
                let values: Vec<_> = measured.map(|row| row["value"]["median"].as_f64()).collect();
                ensure!(
                    values.len() == tunnels && values.iter().all(|value| *value > Some(least)),
                    "{outcome}"
                );
            }
        }
        Ok(())
    });
}

#[test]
fn the_adaptive_policy_accounts_for_all_bytes_and_packets_while_links_are_cut() {
    bench::test(&[], || soak("adaptive"));
}

#[test]
fn the_weighted_policy_accounts_for_all_bytes_and_packets_while_links_are_cut() {
    bench::test(&[], || soak("weighted"));
}

fn soak(policy: &str) -> anyhow::Result<()> {
    let args = ["lab", "--soak", "--seconds", "14", "--json", "--congestion", "cubic", "--policy", policy];
    let done = bench::mpt().args(args).output()?;
    let outcome: Value = serde_json::from_str(&printed(&done)?)?;
    ensure!(outcome["cuts"] == 2 && outcome["tcp_bytes"].as_u64() > Some(10_000_000), "{outcome}");
    ensure!(outcome["packets"][0]["delivered"].as_u64() > Some(10_000), "{outcome}");
    Ok(())
}

#[test]
#[cfg(not(feature = "quic"))]
fn a_program_without_quic_says_so_at_once() -> anyhow::Result<()> {
    let done = bench::mpt().args(["lab", "--links", "20mbit 5ms", "--flow", "quic"]).output()?;
    ensure!(!done.status.success());
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(said.contains("built without QUIC"), "{said}");
    Ok(())
}

#[test]
fn a_server_that_shares_its_links_gives_each_of_ten_peers_that_overload_them_as_much() {
    bench::test(&[], || {
        let mut lab = bench::mpt();
        lab.args(["lab", "--peers", "12", "--senders", "10", "--rate", "10mbit", "--load", "150", "--share"]);
        let done = lab.args(["--seconds", "2", "--json"]).output()?;
        let outcome: Value = serde_json::from_str(&printed(&done)?)?;
        for direction in ["to_server", "to_peers"] {
            let load = &outcome[direction];
            ensure!(load["fairness"].as_f64() >= Some(0.9), "{direction}: {load}");
            ensure!(load["mbit_s"].as_f64() >= Some(10.0), "{direction}: {load}");
        }
        Ok(())
    });
}
