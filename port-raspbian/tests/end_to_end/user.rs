//! `mpt` as ARM code: cross-built programs under qemu-user hold a tunnel with this machine's own program.
//!
//! What it looks for is byte order, alignment and 32-bit arithmetic: everything that the two ends say to each other
//! crosses the processors. The tunnel is sealed: so do ciphers and handshakes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mpt_lab::host::run;
use mpt_lab::namespace;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Cut, Side, Topology};
use mpt_lab::tunnel::{Options, config, write_key};
use serde_json::Value;

use crate::arm::{AARCH64, ARMV7, Arm, DIRECTORY, End, NATIVE};

/// Well below what emulation brings, well above what a stalled transfer would.
const LEAST_BITS_PER_SECOND: f64 = 1e6;

fn ping(net: &Topology, to: Side, version: Version, size: u32) -> Result<()> {
    let address = to.tunnel_address(version);
    let from = net.host(to.peer());
    from.run(&format!("ping -c 5 -i 0.1 -W 2 -s {size} {address}")).map(drop)
}

/// Bits per second received; `reverse`: from PC2 to PC1.
fn iperf3(net: &Topology, version: Version, reverse: bool) -> Result<f64> {
    let mut server = net.pc2.command("iperf3");
    let _server = net.pc2.spawn(server.args(["-s", "-1"]).stdout(Stdio::null()))?;
    sleep(Duration::from_millis(500));
    let direction = if reverse { "-R" } else { "--forceflush" };
    let address = Side::Pc2.tunnel_address(version);
    let report = net.pc1.run(&format!("iperf3 -c {address} -t 2 --json {direction}"))?;
    let report: Value = serde_json::from_str(&report)?;
    report["end"]["sum_received"]["bits_per_second"].as_f64().context("a rate")
}

fn tunnel_with(name: &str, arm: &Arm) {
    if arm.is_skipped(name, &[arm.emulator, "iperf3", "ping"]) {
        return;
    }
    namespace::test(name, || {
        let program = arm.program().display().to_string();
        let emulated = [arm.emulator, "-L", arm.libraries, &program];
        for side in Side::BOTH {
            write_key(side, Path::new(DIRECTORY))?;
        }
        for stack in Stack::ALL {
            let net = Topology::build(2, None)?;
            let options = Options::lab(stack, 2, "weighted");
            let mut pc = End::start(&net.pc1, &[NATIVE], &config(Side::Pc1, &options))?;
            let mut pi = End::start(&net.pc2, &emulated, &config(Side::Pc2, &options))?;
            pc.wait_until_up(2)?;
            pi.wait_until_up(2)?;
            let cipher = pi.cipher()?;
            for to in Side::BOTH {
                // Empty, full, and split in three.
                for size in [0, 1400, 4000] {
                    ping(&net, to, stack.inner(), size)
                        .with_context(|| format!("{stack}, {size} bytes to {to:?}"))?;
                }
            }
            for reverse in [false, true] {
                let rate = iperf3(&net, stack.inner(), reverse)?;
                eprintln!("{}: {stack}: {:.0} Mbit/s by {cipher}, reverse {reverse}", arm.target, rate / 1e6);
                ensure!(rate > LEAST_BITS_PER_SECOND, "{stack}: {rate} bit/s, reverse {reverse}");
            }
            for cut in [Cut::Link, Cut::Silent] {
                net.cut(1, cut)?;
                pc.wait_until_up(1).with_context(|| format!("{stack}, {cut}"))?;
                pi.wait_until_up(1).with_context(|| format!("{stack}, {cut}"))?;
                ping(&net, Side::Pc2, stack.inner(), 1400)?;
                net.restore(1, cut)?;
                pc.wait_until_up(2).with_context(|| format!("{stack}, {cut} restored"))?;
                pi.wait_until_up(2).with_context(|| format!("{stack}, {cut} restored"))?;
            }
            ensure!(pi.running.stop()?.success(), "the emulated end did not end cleanly");
            ensure!(pc.running.stop()?.success(), "the native end did not end cleanly");
            for host in [&net.pc1, &net.pc2] {
                run(Command::new("ip").args(["netns", "delete", host.name()]))?;
            }
        }
        Ok(())
    });
}

#[test]
fn a_64_bit_pi_holds_a_tunnel_with_a_pc_in_the_four_combinations() {
    tunnel_with("user::a_64_bit_pi_holds_a_tunnel_with_a_pc_in_the_four_combinations", &AARCH64);
}

#[test]
fn a_32_bit_pi_holds_a_tunnel_with_a_pc_in_the_four_combinations() {
    tunnel_with("user::a_32_bit_pi_holds_a_tunnel_with_a_pc_in_the_four_combinations", &ARMV7);
}
