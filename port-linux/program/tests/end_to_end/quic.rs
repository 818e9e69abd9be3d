//! QUIC as traffic of the laboratory: every byte arrives, over links alone and over the tunnel, and is measured.

use anyhow::{Context as _, ensure};
use mpt_lab::relay::link::Links;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Side, Topology};
use mpt_lab::traffic::quic::Flow;
use mpt_lab::traffic::stream::{Amount, Payload};
use mpt_lab::transfer;
use mpt_lab::tunnel::{Options, Tunnel};
use serde_json::Value;

use crate::bench::{self, printed};

#[test]
fn every_byte_crosses_an_emulated_link_and_the_tunnel() {
    bench::test(&[], || {
        let Links(links) = "20mbit 5ms 1%, 10mbit 15ms".parse().map_err(anyhow::Error::msg)?;
        let net = Topology::emulate(&links, 1)?;
        let carry = |to, congestion, pids: &[u32]| {
            let flow = Flow { congestion, payload: Payload::Pattern };
            let done = transfer::quic(&net, to, flow, Amount::Bytes(2_500_000), pids, |_| Ok(()))?;
            let counts = done.quic.context("QUIC counts")?;
            ensure!(done.received.bytes == 2_500_000 && counts.sent_packets > 1_700, "{done:?}");
            // Headers cost 6 % at least, and what is sent again some more.
            ensure!(done.link_bytes_per_byte() > 1.05, "{done:?}");
            anyhow::Ok(done)
        };
        let plain = carry(Side::Pc2.address(1, Version::V4), "cubic", &[])?;
        ensure!(plain.quic.is_some_and(|counts| counts.lost_packets > 0), "{plain:?}");
        ensure!(plain.link_bytes[1] < 10_000, "only one link was to be used: {plain:?}");
        for udp_in_order in [false, true] {
            let options = Options { udp_in_order, ..Options::lab(Stack::V4OverV4, 2, "adaptive") };
            let tunnel = Tunnel::start(&net, env!("CARGO_BIN_EXE_mpt").as_ref(), options)?;
            carry(tunnel.address(), "bbr", &tunnel.pids())?;
            tunnel.stop()?;
        }
        Ok(())
    });
}

#[test]
fn flows_are_measured_beside_tcp_with_the_tunnel_in_order() {
    bench::test(&[], || {
        let mut lab = bench::mpt();
        lab.args(["lab", "--links", "20mbit 5ms, 10mbit 10ms", "--seconds", "2", "--json"]);
        lab.args([
            "--flow",
            "quic,tcp",
            "--congestion",
            "cubic",
            "--only",
            "tcp,alone,mpt",
            "--udp-in-order",
        ]);
        let done = lab.output()?;
        let outcome: Value = serde_json::from_str(&printed(&done)?)?;
        let rows = outcome["rows"].as_array().context("rows")?;
        let systems: Vec<_> =
            rows.iter().map(|row| (&row["system"]["kind"], &row["system"]["flow"])).collect();
        ensure!(systems.len() == 8 && systems[0].0 == "tcp" && systems[4].0 == "quic", "{systems:?}");
        ensure!(*systems[7].0 == "mpt" && *systems[7].1 == "quic", "{systems:?}");
        for row in &rows[4..] {
            ensure!(row["goodput_mbit_s"]["median"].as_f64() > Some(1.0), "{row}");
            ensure!(row["samples"][0]["quic"]["sent_packets"].as_u64() > Some(100), "{row}");
        }
        ensure!(outcome["plan"]["udp_in_order"] == true, "{outcome}");
        Ok(())
    });
}
