//! Routers on the way that translate addresses, and peers that must be found behind them.

use std::fs;
use std::time::Duration;

use mpt_lab::host::Host;
use mpt_lab::relay::link::Links;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Side, Topology};
use port_linux::report::{ConnectionReport, State};

use crate::bench::{self, Mpt, Settings, Tunnel};
use crate::programs::{Tool, all_pass};

/// The port of both ends, unless a configuration says otherwise.
const PORT: u16 = 4754;
/// Until another port is tried and found to work: 20 s of silence before, and a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// From now on the host takes in nothing from this port and sends nothing to it: the flow of that port is translated to
/// an address that is dead, and goes on being so while datagrams of it come.
fn lose_flow(host: &Host, port: u16) -> anyhow::Result<()> {
    let rules = format!(
        "table inet way {{\n\
         chain in {{ type filter hook input priority 0; iifname \"eth1\" udp sport {port} drop; }}\n\
         chain out {{ type filter hook output priority 0; oifname \"eth1\" udp dport {port} drop; }}\n}}\n"
    );
    fs::write("/run/way.nft", rules)?;
    host.run("nft -f /run/way.nft").map(drop)
}

fn is_up(connection: &ConnectionReport) -> bool {
    connection.paths.iter().all(|path| path.state == State::Up)
}

/// The ends of a path whose flow dies: PC2 does not know where PC1 is.
fn survives_a_dead_translation(change: impl Fn(Settings) -> Settings) -> anyhow::Result<()> {
    let settings = |side, settings: Settings| match side {
        Side::Pc1 => change(settings),
        Side::Pc2 => change(settings).path(1, "remote", "0.0.0.0"),
    };
    let tunnel = Tunnel::start(1, Stack::V4OverV4, settings)?;
    lose_flow(&tunnel.net.pc2, PORT)?;
    tunnel.pc1.until_down(1, &["silent", "deaf"])?;
    let after = tunnel.pc1.until_within(LONG, "up from another port", is_up)?;
    assert_ne!(after.paths[0].local.port(), PORT, "{after:?}");
    let there = tunnel.pc2.until("up at the other port", is_up)?;
    assert_eq!(there.paths[0].remote, Some(after.paths[0].local), "{there:?}");
    let said = tunnel.pc1.said();
    assert!(said.contains("nothing came back to port 4754"), "{said}");
    all_pass(&tunnel.net.pc1, Side::Pc2.tunnel_address(Version::V4), 50, "")
}

#[test]
fn a_path_whose_translation_is_dead_goes_on_from_another_port() {
    bench::test(&[Tool::Ping, Tool::Nft], || survives_a_dead_translation(|settings| settings));
}

#[test]
fn in_the_clear_it_does_so_as_well() {
    bench::test(&[Tool::Ping, Tool::Nft], || survives_a_dead_translation(Settings::clear));
}

#[test]
fn a_path_keeps_its_port_if_the_peer_was_away_and_does_not_follow() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let clear = |_, settings: Settings| settings.clear();
        let tunnel = Tunnel::start(1, Stack::V4OverV4, clear)?;
        // All ports but the two that are allowed again below: also those that are tried.
        lose_flow(&tunnel.net.pc2, PORT)?;
        tunnel.pc1.until_down(1, &["silent", "deaf"])?;
        let is_tried = |c: &ConnectionReport| c.dropped.get("wrong_source").is_some_and(|n| *n > 0);
        tunnel.pc2.until_within(LONG, "another port is tried, and refused", is_tried)?;
        assert_eq!(tunnel.pc1.connection()?.paths[0].state, State::Down);
        tunnel.net.pc2.run("nft flush ruleset")?;
        tunnel.until_up()?;
        for end in [&tunnel.pc1, &tunnel.pc2] {
            assert_eq!(end.connection()?.paths[0].local.port(), PORT);
        }
        all_pass(&tunnel.net.pc1, Side::Pc2.tunnel_address(Version::V4), 50, "")
    });
}

#[test]
fn a_peer_further_away_than_a_second_proves_where_it_is() {
    bench::test(&[], || {
        let Links(links) = "20mbit 600ms".parse().map_err(anyhow::Error::msg)?;
        let net = Topology::emulate(&links, 1)?;
        let start = |side| {
            let settings = Settings::new(side, Stack::V4OverV4, 1).connection("liveness", "internet");
            let open = if side == Side::Pc2 { settings.path(1, "remote", "0.0.0.0") } else { settings };
            Mpt::start(net.host(side), &open)
        };
        let (pc2, pc1) = (start(Side::Pc2)?, start(Side::Pc1)?);
        pc2.until_up()?;
        pc1.until_up()?;
        assert_eq!(
            pc2.connection()?.paths[0].remote.map(|remote| remote.ip()),
            Some(Side::Pc1.address(1, Version::V4))
        );
        Ok(())
    });
}
