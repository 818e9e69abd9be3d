//! What the host itself has between a path and its peer: names of interfaces, routes, filters.

use anyhow::ensure;
use mpt_lab::host::Host;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::stopwatch::Stopwatch;
use mpt_lab::topology::{Side, Topology};
use port_linux::report::{ConnectionReport, State};

use crate::bench::{self, Mpt, PATIENCE, Settings, Tunnel};
use crate::programs::{Tool, all_pass, ping};

/// PC2's address that lies behind its links.
const FAR: &str = "10.9.0.2";

/// Two links, and PC2 with an address behind them, where the second path leads.
fn world() -> anyhow::Result<Topology> {
    let net = Topology::build(2, None)?;
    net.pc2.run(&format!("ip address add {FAR}/32 dev lo"))?;
    // Who believes that address to be on the link gets no answer.
    for device in ["all", "eth1", "eth2"] {
        net.pc2.sysctl(&format!("net.ipv4.conf.{device}.arp_ignore"), "1")?;
    }
    set_filter(&net.pc2, "0")?;
    set_filter(&net.pc1, "0")?;
    route(&net.pc1, "add", 1)?;
    route(&net.pc1, "add", 2)?;
    Ok(net)
}

/// The route to PC2's address over a link; the first link's is the better one.
fn route(host: &Host, what: &str, link: u8) -> anyhow::Result<()> {
    let router = Side::Pc2.address(link, Version::V4);
    host.run(&format!("ip route {what} {FAR}/32 via {router} dev eth{link} metric {link}")).map(drop)
}

fn set_filter(host: &Host, value: &str) -> anyhow::Result<()> {
    ["all", "eth1", "eth2"]
        .iter()
        .try_for_each(|device| host.sysctl(&format!("net.ipv4.conf.{device}.rp_filter"), value).map(drop))
}

fn settings(side: Side) -> Settings {
    let settings = Settings::new(side, Stack::V4OverV4, 2);
    match side {
        Side::Pc1 => settings.path(2, "remote", FAR).path(2, "device", "eth2"),
        Side::Pc2 => settings.path(2, "local", FAR),
    }
}

fn waits_for(connection: &ConnectionReport, what: &str) -> bool {
    let path = &connection.paths[1];
    path.state == State::Down && path.waits_for.as_deref().is_some_and(|why| why.contains(what))
}

#[test]
fn a_path_whose_route_vanishes_names_it_and_is_up_again_when_it_is_back() {
    bench::test(&[Tool::Ping], || {
        let net = world()?;
        let (pc2, pc1) =
            (Mpt::start(&net.pc2, &settings(Side::Pc2))?, Mpt::start(&net.pc1, &settings(Side::Pc1))?);
        pc1.until_up()?;
        pc2.until_up()?;
        route(&net.pc1, "del", 2)?;
        let what = format!("there is no route to {FAR} through eth2");
        pc1.until("the route is named", |c| waits_for(c, &what))?;
        assert!(pc1.said().contains(&what), "{}", pc1.said());
        route(&net.pc1, "add", 2)?;
        pc1.until_up()?;
        pc1.until("nothing is missing", |c| c.paths[1].waits_for.is_none())?;
        pc2.until_up()?;
        // What was sent without a route waits for seconds for an answer that tells where the address is, and looks like a queue.
        let clock = Stopwatch::start();
        while ping(&net.pc1, Side::Pc2.tunnel_address(Version::V4), 20, "")?.received < 20 {
            ensure!(clock.elapsed() < PATIENCE, "not all packets pass: {:?}", pc1.connection()?);
        }
        Ok(())
    });
}

#[test]
fn a_strict_filter_of_what_comes_in_is_named_with_the_command_that_loosens_it() {
    bench::test(&[], || {
        let net = world()?;
        set_filter(&net.pc1, "1")?;
        let (pc2, pc1) =
            (Mpt::start(&net.pc2, &settings(Side::Pc2))?, Mpt::start(&net.pc1, &settings(Side::Pc1))?);
        pc1.until("the filter is named", |c| waits_for(c, "sudo sysctl net.ipv4.conf.eth2.rp_filter=2"))?;
        assert_eq!(pc1.connection()?.paths[0].waits_for, None);
        net.pc1.sysctl("net.ipv4.conf.eth2.rp_filter", "2")?;
        pc1.until_up()?;
        pc1.until("nothing is missing", |c| c.paths[1].waits_for.is_none())?;
        pc2.until_up().map(drop)
    });
}

#[test]
fn an_interface_may_be_named_by_an_alternative_name() {
    bench::test(&[Tool::Ping], || {
        let net = Topology::build(2, None)?;
        net.pc1.run("ip link property add dev eth1 altname enp0s31f6")?;
        let tunnel = Tunnel::start_on(net, Stack::V4OverV4, |side, settings| match side {
            Side::Pc1 => settings.path(1, "device", "enp0s31f6").path(2, "device", "eth2"),
            Side::Pc2 => settings,
        })?;
        all_pass(&tunnel.net.pc1, Side::Pc2.tunnel_address(Version::V4), 20, "")?;
        tunnel.net.pc1.run("ip link set eth1 down")?;
        tunnel.pc1.until_down(1, &["link"])?;
        tunnel.net.pc1.run("ip link set eth1 up")?;
        tunnel.until_up()
    });
}
