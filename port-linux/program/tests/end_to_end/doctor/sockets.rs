//! Findings about the sockets of paths: what the kernel does not grant, and what mpt was told not to ask for.

use std::fs;
use std::io::{self, Write as _};
use std::process::Command;

use anyhow::{Context as _, ensure};
use mpt_lab::stack::Stack;
use mpt_lab::topology::{Side, Topology};
use serde_json::Value;

use super::{findings, until_found};
use crate::bench::{self, DIRECTORY, Mpt, Settings, printed};
use crate::programs::Tool;

/// Bytes of buffer that mpt asks for.
const WANTED: u64 = 4 << 20;

/// No kernel since 6.11 refuses to cut datagrams (UDP GSO) but behind IPsec. So it is mpt that was started when the file still said
/// `offload = false`.
#[test]
fn the_doctor_finds_paths_that_send_each_datagram_in_a_call_of_its_own() {
    bench::test(&[], || {
        let net = Topology::build(1, None)?;
        let settings = Settings::new(Side::Pc1, Stack::V4OverV4, 1);
        let without = settings.clone().tunnel("offload", false);
        let pc1 = Mpt::start(&net.pc1, &without)?;
        let found = findings(&net.pc1, &pc1)?;
        ensure!(found.iter().all(|it| it.check != "no_segmentation"), "it is meant: {found:#?}");
        let with = settings.tunnel("offload", true);
        fs::write(format!("{DIRECTORY}/PC1.toml"), with.text())?;
        let found = until_found(&net.pc1, &pc1, "no_segmentation", "path pc2/path1 sends each datagram")?;
        ensure!(found.severity == "warning" && found.mend.ends_with("then restart mpt"), "{found:?}");
        // The end of its remedy.
        drop(pc1);
        let pc1 = Mpt::start(&net.pc1, &with)?;
        let found = findings(&net.pc1, &pc1)?;
        ensure!(found.iter().all(|it| it.check != "no_segmentation"), "{found:#?}");
        Ok(())
    });
}

/// In a container without the host's root, the kernel's limits bind sockets of mpt, too (SO_RCVBUFFORCE asks for a right in the first
/// user namespace).
#[test]
fn the_doctor_finds_socket_buffers_that_the_kernel_does_not_grant() {
    bench::test(&[Tool::Setpriv], || {
        let limit = |name: &str| -> anyhow::Result<u64> {
            Ok(fs::read_to_string(format!("/proc/sys/net/core/{name}"))?.trim().parse()?)
        };
        let granted = limit("rmem_max")?.min(limit("wmem_max")?);
        fs::create_dir_all(DIRECTORY)?;
        let settings = Settings::new(Side::Pc1, Stack::V4OverV4, 1).clear();
        fs::write(format!("{DIRECTORY}/container.toml"), settings.text())?;
        let script = format!(
            "ip link set lo up; ip link add eth1 type veth peer name other; ip address add 172.16.1.10/24 dev eth1
            ip link set eth1 up; ip link set other up; export STATE_DIRECTORY={DIRECTORY}
            $MPT run -c {DIRECTORY}/container.toml --control {DIRECTORY}/container.sock >&2 & mpt=$!
            for i in $(seq 200); do $MPT status --control {DIRECTORY}/container.sock >&2 && break; sleep 0.1; done
            $MPT doctor --json --config {DIRECTORY}/container.toml --control {DIRECTORY}/container.sock
            kill $mpt; wait; true"
        );
        let mut container = Command::new("unshare");
        container.args(["--user", "--map-root-user", "--net", "sh", "-c", &script]);
        let said = printed(&container.env("MPT", env!("CARGO_BIN_EXE_mpt")).output()?)?;
        let said: Value = serde_json::from_str(&said).context(said)?;
        let found = said["findings"].as_array().context("findings")?;
        let found = found.iter().find(|found| found["check"] == "socket_buffers");
        if granted >= WANTED {
            ensure!(found.is_none(), "{said}");
            let _ = writeln!(
                io::stderr(),
                "SKIPPED small socket buffers: this kernel grants {granted} bytes to everybody (net.core.rmem_max, wmem_max)"
            );
            return Ok(());
        }
        let what = found.and_then(|found| found["what"].as_str()).with_context(|| said.to_string())?;
        ensure!(
            what.starts_with(&format!("the sockets have buffers of {granted} bytes, not of {WANTED} ")),
            "{what}"
        );
        Ok(())
    });
}
