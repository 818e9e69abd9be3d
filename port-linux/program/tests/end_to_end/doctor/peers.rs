//! Findings about peers, and about paths over time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::UdpSocket;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use anyhow::ensure;
use mpt_lab::host::Host;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Cut, Side, Topology};
use port_linux::measure::PORT;
use port_linux::report::ConnectionReport;

use super::{diagnosis, findings, has, until_found};
use crate::bench::{self, DIRECTORY, Mpt, Settings, Tunnel};
use crate::programs::{Tool, all_pass, ping};

#[test]
fn the_doctor_finds_peers_that_are_set_up_otherwise_and_paths_that_come_and_go() {
    bench::test(&[Tool::Ping], || {
        let change = |side, settings: Settings| {
            let settings = settings.clear().connection("policy", "adaptive");
            if side == Side::Pc1 { settings } else { settings.connection("sequence", false) }
        };
        let tunnel = Tunnel::start(2, Stack::V4OverV4, change)?;
        let (pc1, pc2) = (&tunnel.net.pc1, &tunnel.net.pc2);
        until_found(pc1, &tunnel.pc1, "old_peer", "does not speak what policy \"adaptive\" needs")?;
        // A LAN of PC1 that PC2 does not know.
        pc1.run("ip address add 10.3.0.1/32 dev lo")?;
        let to = Side::Pc2.tunnel_address(Version::V4);
        all_pass(pc1, to, 1, "")?;
        ping(pc1, to, 3, "-I 10.3.0.1 -W 1")?;
        has(&findings(pc2, &tunnel.pc2)?, &[("foreign_packets", "3 packets")]);
        for _ in 0..3 {
            tunnel.net.cut(2, Cut::Link)?;
            tunnel.pc1.until_down(2, &["link", "silent", "deaf"])?;
            tunnel.net.restore(2, Cut::Link)?;
            tunnel.pc1.until_up()?;
        }
        has(&findings(pc1, &tunnel.pc1)?, &[("unsteady_path", "path pc2/path2 went down 3 times in ")]);
        tunnel
            .pc2
            .reload(&change(Side::Pc2, Settings::new(Side::Pc2, Stack::V4OverV4, 2)).connection("key", 8))?;
        until_found(pc1, &tunnel.pc1, "peer_set_up_otherwise", "has the GRE key 8, and this end none")?;
        ensure!(tunnel.pc1.has_told("peer_refused")?, "{:#?}", tunnel.pc1.status()?.events);
        older(pc1, &tunnel.pc1)
    });
}

/// What runs says that it is another version than the program that asks.
fn older(host: &Host, mpt: &Mpt) -> anyhow::Result<()> {
    let socket = format!("{DIRECTORY}/older.sock");
    let listener = UnixListener::bind(&socket)?;
    let mut report = mpt.status()?;
    report.tunnel.program = "0.0.1".into();
    let report = serde_json::to_string(&report)?;
    let answering = thread::spawn(move || -> anyhow::Result<()> {
        let (mut asked, _) = listener.accept()?;
        BufReader::new(asked.try_clone()?).read_line(&mut String::new())?;
        Ok(writeln!(asked, "{report}")?)
    });
    let (found, _) =
        diagnosis(host, &format!("--config {DIRECTORY}/{}.toml --control {socket}", host.name()))?;
    answering.join().expect("no panic")?;
    has(&found, &[("old_program", "the tunnel is run by version 0.0.1, and this program is version ")]);
    Ok(())
}

#[test]
fn the_doctor_asks_peers_for_their_version_and_says_which_end_is_older() {
    bench::test(&[], || {
        let tunnel = Tunnel::start(1, Stack::V4OverV4, |side, settings| match side {
            Side::Pc1 => settings,
            Side::Pc2 => settings.tunnel("responder", false),
        })?;
        let (pc1, pc2) = (&tunnel.net.pc1, &tunnel.net.pc2);
        let found = findings(pc2, &tunnel.pc2)?;
        ensure!(found.is_empty(), "the same version: {found:#?}");
        let files = format!("--config {DIRECTORY}/PC1.toml --control {}", tunnel.pc1.control().display());
        let (found, said) = diagnosis(pc1, &files)?;
        ensure!(
            found.is_empty()
                && said["left_out"][0].as_str().is_some_and(|text| text.contains("the version of pc2")),
            "{said}"
        );

        // In its place one of a later version, and one that knows echoes alone.
        let responder = pc2.inside(|| UdpSocket::bind((Side::Pc2.tunnel_address(Version::V4), PORT)))??;
        for (version, what) in [
            (Some("90.1.2"), "the peer is run by version 90.1.2, and this tunnel "),
            (None, "the peer is run by an earlier version, which does not say its number"),
        ] {
            let found = thread::scope(|scope| {
                let asked = scope.spawn(|| findings(pc1, &tunnel.pc1));
                while !asked.is_finished() {
                    answer(&responder, version)?;
                }
                asked.join().expect("no panic")
            })?;
            has(&found, &[("peer_version", what)]);
            ensure!(found.len() == 1 && found[0].severity == "warning", "{found:#?}");
        }
        Ok(())
    });
}

/// Answers one question as a responder does that has this version, or knows nothing of versions; or waits for a while.
fn answer(responder: &UdpSocket, version: Option<&str>) -> anyhow::Result<()> {
    let mut message = [0; 64];
    responder.set_read_timeout(Some(Duration::from_millis(50)))?;
    let Ok((len, from)) = responder.recv_from(&mut message) else { return Ok(()) };
    match (message[5], version) {
        (1, _) => message[5] = 2,
        (6, Some(version)) => {
            message[5] = 7;
            message[16..16 + version.len()].copy_from_slice(version.as_bytes());
        }
        _ => return Ok(()),
    }
    responder.send_to(&message[..len], from)?;
    Ok(())
}

/// Behind a NAT that forgets within a second who spoke, and gives another port then.
#[test]
fn the_doctor_finds_a_nat_that_forgets() {
    bench::test(&[Tool::Nft], || {
        let net = Topology::build(1, None)?;
        net.pc1.run("nft add table ip home")?;
        net.pc1.run("nft add chain ip home out { type nat hook postrouting priority 100 ; }")?;
        net.pc1.run(
            "nft add rule ip home out oifname eth1 udp sport 4754 masquerade to :40000-60000 fully-random",
        )?;
        for name in ["nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"] {
            net.pc1.sysctl(&format!("net.netfilter.{name}"), "1")?;
        }
        let calm: toml::Table = "interval_ms = 100\nidle_ms = 2200\ndead_ms = 9000".parse()?;
        let tunnel = Tunnel::start_on(net, Stack::V4OverV4, |side, settings| {
            let settings = settings.connection("liveness", calm.clone());
            if side == Side::Pc1 { settings } else { settings.path(1, "remote", "0.0.0.0") }
        })?;
        // Who asks the peer for its version keeps the NAT awake.
        let moves = |c: &ConnectionReport| c.paths[0].roaming.map_or(0, |roaming| roaming.moves);
        tunnel.pc2.until("three moves", |c| moves(c) >= 3)?;
        has(
            &findings(&tunnel.net.pc2, &tunnel.pc2)?,
            &[("forgetful_nat", "was found at another address 3 times in ")],
        );
        Ok(())
    });
}
