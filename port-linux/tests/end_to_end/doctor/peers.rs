//! Findings about peers, and about paths over time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::thread;

use port_linux::lab::host::Host;
use port_linux::lab::stack::{Stack, Version};
use port_linux::lab::topology::{Cut, Side, Topology};

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
        has(&findings(pc1, &tunnel.pc1)?, &[("unsteady_path", "path pc2/path2 went down 3 times in 0 min")]);
        tunnel
            .pc2
            .reload(&change(Side::Pc2, Settings::new(Side::Pc2, Stack::V4OverV4, 2)).connection("key", 8))?;
        until_found(pc1, &tunnel.pc1, "peer_set_up_otherwise", "has the GRE key 8, and this end none")?;
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
        until_found(&tunnel.net.pc2, &tunnel.pc2, "forgetful_nat", "was found at another address")?;
        Ok(())
    });
}
