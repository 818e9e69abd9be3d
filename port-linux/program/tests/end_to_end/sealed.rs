//! Sealed tunnels: what SECURITY.md promises, on real devices, and ends that do not fit together.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use mpt_lab::stack::{Stack, Version};
use mpt_lab::stopwatch::Stopwatch;
use mpt_lab::topology::{Side, Topology};
use rustix::process::Signal;

use crate::bench::{self, DIRECTORY, Mpt, Settings, Tunnel, printed, unchanged};
use crate::programs::{Tool, all_pass, none_passes};

fn address() -> std::net::IpAddr {
    Side::Pc2.tunnel_address(Version::V4)
}

#[test]
fn packets_pass_and_the_status_names_cipher_and_key() {
    bench::test(&[Tool::Ping], || {
        let tunnel = Tunnel::start(2, Stack::V4OverV4, unchanged)?;
        all_pass(&tunnel.net.pc1, address(), 20, "-s 1000")?;
        let seal = tunnel.pc1.connection()?.seal.context("a seal")?;
        ensure!(seal.public_key.len() == 44 && seal.handshakes >= 1, "{seal:?}");
        let cipher = seal.cipher.context("a cipher")?;
        ensure!(cipher == "AES-256-GCM" || cipher == "ChaCha20-Poly1305", "{cipher}");
        let private = fs::read_to_string(Path::new(DIRECTORY).join("PC1.key"))?;
        for end in [&tunnel.pc1, &tunnel.pc2] {
            ensure!(!end.said().contains(private.trim()), "a private key in the log");
        }
        Ok(())
    });
}

/// What is on the wire of the first link while `work` is done.
fn captured(net: &Topology, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Vec<u8>> {
    let file = "/run/wire.pcap";
    let mut command = net.pc2.command("dumpcap");
    command.args(["-q", "-i", "eth1", "-w", file]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut dumpcap = net.pc2.spawn(&mut command)?;
    sleep(Duration::from_millis(500));
    work()?;
    sleep(Duration::from_millis(500));
    dumpcap.stop()?;
    Ok(fs::read(file)?)
}

/// Whether the bytes of pings through such a tunnel can be found on the wire.
fn can_be_read(change: fn(Settings) -> Settings) -> anyhow::Result<bool> {
    let tunnel = Tunnel::start(1, Stack::V4OverV4, |_, settings| change(settings))?;
    let wire =
        captured(&tunnel.net, || all_pass(&tunnel.net.pc1, address(), 10, "-s 1000 -p a1b2c3d4e5f60718"))?;
    ensure!(wire.len() > 10_000, "the datagrams were captured: {}", wire.len());
    Ok(wire.windows(8).any(|window| window == [0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6, 0x07, 0x18]))
}

#[test]
fn nothing_that_is_sent_can_be_read_on_the_wire() {
    bench::test(&[Tool::Ping, Tool::Tshark], || {
        ensure!(!can_be_read(|settings| settings)?, "a packet can be read");
        Ok(())
    });
}

#[test]
fn in_the_clear_what_is_sent_can_be_read() {
    bench::test(&[Tool::Ping, Tool::Tshark], || {
        ensure!(can_be_read(Settings::clear)?, "the other test would find nothing, whatever leaves");
        Ok(())
    });
}

#[test]
fn p11_after_a_kill_of_either_end_packets_pass_within_a_second_of_its_return() {
    bench::test(&[Tool::Ping], || {
        let mut tunnel = Tunnel::start(2, Stack::V4OverV4, unchanged)?;
        let mut slowest = Duration::ZERO;
        for round in 0..6 {
            let side = if round % 2 == 0 { Side::Pc2 } else { Side::Pc1 };
            let settings = Settings::new(side, Stack::V4OverV4, 2);
            let end = if side == Side::Pc1 { &mut tunnel.pc1 } else { &mut tunnel.pc2 };
            end.end(Signal::KILL)?;
            let host = if side == Side::Pc1 { &tunnel.net.pc1 } else { &tunnel.net.pc2 };
            let back = Stopwatch::start();
            *end = Mpt::start(host, &settings)?;
            while !tunnel.net.pc1.reaches(address(), Duration::from_millis(100))? {
                ensure!(back.elapsed() < Duration::from_secs(10), "round {round}: it does not come back");
            }
            println!("{side:?} back after {} ms", back.elapsed().as_millis());
            slowest = slowest.max(back.elapsed());
        }
        ensure!(
            slowest < Duration::from_secs(2),
            "{slowest:?}: a second and what this machine takes to start it"
        );
        Ok(())
    });
}

#[test]
fn strangers_get_no_answer_and_stop_nothing() {
    bench::test(&[Tool::Ping], || {
        let tunnel = Tunnel::start(1, Stack::V4OverV4, unchanged)?;
        tunnel.net.pc1.run("ip address add 172.16.1.99/24 dev eth1")?;
        let answers = tunnel.net.pc1.inside(|| -> anyhow::Result<usize> {
            let socket = std::net::UdpSocket::bind("172.16.1.99:5000")?;
            socket.set_read_timeout(Some(Duration::from_millis(300)))?;
            let mut state = 7u32;
            for number in 0..10_000u32 {
                let mut datagram: Vec<u8> = (0..number % 300)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        state.to_be_bytes()[0]
                    })
                    .collect();
                // Often something that looks like ours.
                let head: &[u8] = match number % 4 {
                    0 => &[0x30, 0, 0x88, 0xb6],
                    1 => &[0x20, 0, 0x88, 0xb5, 0, 0, 0, 0, 0x21, 0, 0, 0],
                    2 => &[0x10, 0, 0x08, 0],
                    _ => &[],
                };
                let len = head.len().min(datagram.len());
                datagram[..len].copy_from_slice(&head[..len]);
                socket.send_to(&datagram, "172.16.1.20:4754")?;
            }
            let mut buffer = [0; 2048];
            Ok(std::iter::from_fn(|| socket.recv(&mut buffer).ok()).count())
        })??;
        ensure!(answers == 0, "{answers} answers");
        let dropped = tunnel.pc2.status()?.tunnel.dropped;
        ensure!(dropped["seal_unknown_index"] > 0 && dropped["seal_clear"] > 0, "{dropped:?}");
        all_pass(&tunnel.net.pc1, address(), 50, "")
    });
}

#[test]
fn p9_what_was_recorded_and_comes_again_from_elsewhere_moves_no_path() {
    bench::test(&[Tool::Ping, Tool::Tshark], || {
        let tunnel = Tunnel::start(1, Stack::V4OverV4, |_, settings| settings.path(1, "roaming", true))?;
        tunnel.net.pc1.run("ip address add 172.16.1.99/24 dev eth1")?;
        captured(&tunnel.net, || all_pass(&tunnel.net.pc1, address(), 20, ""))?;
        let filter = "ip.src == 172.16.1.10 && udp.dstport == 4754";
        let mut tshark = tunnel.net.pc2.command("tshark");
        tshark.args(["-r", "/run/wire.pcap", "-Y", filter, "-T", "fields", "-e", "udp.payload"]);
        let payloads = String::from_utf8(tshark.output()?.stdout)?;
        let recorded: Vec<Vec<u8>> = payloads.lines().filter_map(from_hex).collect();
        ensure!(recorded.len() >= 20, "{} datagrams", recorded.len());

        tunnel.net.pc1.inside(|| -> anyhow::Result<()> {
            let socket = std::net::UdpSocket::bind("172.16.1.99:4754")?;
            for datagram in recorded.iter().cycle().take(10 * recorded.len()) {
                socket.send_to(datagram, "172.16.1.20:4754")?;
            }
            Ok(())
        })??;

        all_pass(&tunnel.net.pc1, address(), 20, "")?;
        let dropped = tunnel.pc2.status()?.tunnel.dropped;
        ensure!(dropped["seal_replayed"] >= 20, "{dropped:?}");
        let path = &tunnel.pc2.connection()?.paths[0];
        ensure!(path.remote == Some("172.16.1.10:4754".parse()?), "{path:?}");
        ensure!(path.roaming.is_some_and(|counts| counts.challenges == 0), "{path:?}");
        Ok(())
    });
}

/// The bytes of hexadecimal digits.
fn from_hex(line: &str) -> Option<Vec<u8>> {
    (0..line.len()).step_by(2).map(|at| u8::from_str_radix(line.get(at..at + 2)?, 16).ok()).collect()
}

/// Starts both ends with other settings: nothing passes, and each of these ends says a sentence with this in it.
fn stay_apart(
    net: &Topology,
    change: impl Fn(Side, Settings) -> Settings,
    said: &[(Side, &str)],
) -> anyhow::Result<()> {
    let start = |side| Mpt::start(net.host(side), &change(side, Settings::new(side, Stack::V4OverV4, 1)));
    let (pc1, pc2) = (start(Side::Pc1)?, start(Side::Pc2)?);
    none_passes(&net.pc1, address())?;
    for (side, what) in said {
        let end = if *side == Side::Pc1 { &pc1 } else { &pc2 };
        let since = Stopwatch::start();
        while !end.said().contains(what) {
            ensure!(
                since.elapsed() < Duration::from_secs(5),
                "{side:?} does not say {what:?}: {}",
                end.said()
            );
            sleep(Duration::from_millis(50));
        }
        ensure!(end.said().matches(what).count() == 1, "once: {}", end.said());
        let problem = end.connection()?.problem.context("status says why")?;
        ensure!(problem.contains(what.trim_start_matches("the peer ")), "{problem}");
    }
    Ok(())
}

#[test]
fn a_sealed_and_a_clear_end_tell_people_what_is_wrong() {
    bench::test(&[Tool::Ping], || {
        let net = Topology::build(1, None)?;
        stay_apart(
            &net,
            |side, settings| if side == Side::Pc1 { settings.clear() } else { settings },
            &[
                (Side::Pc1, "has keys and seals, which security = \"none\" does not understand"),
                (Side::Pc2, "sends in the clear"),
            ],
        )
    });
}

#[test]
fn ends_with_keys_that_do_not_fit_tell_people_which() {
    bench::test(&[Tool::Ping], || {
        let other = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
        let net = Topology::build(1, None)?;
        // PC1 takes PC2 for somebody else: what it sends is for another key.
        stay_apart(
            &net,
            |side, settings| {
                if side == Side::Pc1 { settings.connection("public_key", other) } else { settings }
            },
            &[
                (Side::Pc2, "has another public key for us"),
                (Side::Pc1, "proves a key that is no connection's"),
            ],
        )?;
        let psk = Path::new(DIRECTORY).join("psk");
        fs::create_dir_all(DIRECTORY)?;
        printed(&bench::mpt().args(["genpsk", "-o"]).arg(&psk).output()?)?;
        stay_apart(
            &net,
            |side, settings| {
                if side == Side::Pc1 { settings.connection("preshared_key_file", "psk") } else { settings }
            },
            &[(Side::Pc1, "has another pre-shared key")],
        )
    });
}

#[test]
fn keys_change_while_packets_flow_and_none_is_lost() {
    bench::test(&[Tool::Ping], || {
        let tunnel = Tunnel::start(2, Stack::V4OverV4, unchanged)?;
        let before = tunnel.pc1.connection()?.seal.context("a seal")?.handshakes;
        // 126 s, the longest that keys are used; too long for each run of all tests.
        if std::env::var_os("MPT_TEST_SLOW").is_none() {
            println!("SKIPPED: 130 s; MPT_TEST_SLOW=1 runs it");
            return Ok(());
        }
        for _ in 0..13 {
            all_pass(&tunnel.net.pc1, address(), 200, "-i 0.05")?;
        }
        let after = tunnel.pc1.connection()?.seal.context("a seal")?.handshakes;
        ensure!(after > before, "{before} handshakes, then {after}");
        Ok(())
    });
}
