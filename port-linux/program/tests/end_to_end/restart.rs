//! Ends that end, die and start anew.

use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Side, Topology};
use port_linux::report::ConnectionReport;
use rustix::process::Signal;
use toml::Table;

use crate::bench::{self, Mpt, Settings, Tunnel, unchanged};
use crate::programs::{Tool, all_pass, iperf3, none_passes, ping};

fn has_interface(net: &Topology, side: Side) -> bool {
    net.host(side).run(&format!("ip link show dev {}", bench::DEVICE)).is_ok()
}

#[test]
fn an_end_that_is_killed_and_started_again_is_found_again() {
    bench::test(&[Tool::Ping], || {
        let mut tunnel = Tunnel::start(2, Stack::V4OverV4, unchanged)?;
        let to = Side::Pc2.tunnel_address(Version::V4);
        all_pass(&tunnel.net.pc1, to, 50, "")?;

        for round in 1..=2 {
            assert_eq!(tunnel.pc2.end(Signal::KILL)?.code(), None, "it was killed");
            assert!(!has_interface(&tunnel.net, Side::Pc2), "the kernel takes the interface away");
            assert!(tunnel.pc2.control().exists(), "nobody was left to remove the socket");
            tunnel.pc2 = Mpt::start(&tunnel.net.pc2, &Settings::new(Side::Pc2, Stack::V4OverV4, 2))?;
            tunnel.pc1.until("told of the restart", |c| c.counters.rx_restarts == round)?;
            tunnel.until_up()?;
            all_pass(&tunnel.net.pc1, to, 50, "")?;
            all_pass(&tunnel.net.pc2, Side::Pc1.tunnel_address(Version::V4), 50, "")?;
        }
        assert!(tunnel.pc1.said().contains("has started"), "{}", tunnel.pc1.said());
        Ok(())
    });
}

#[test]
fn an_end_that_was_long_down_finds_its_peer_waiting() {
    bench::test(&[Tool::Ping], || {
        let mut tunnel = Tunnel::start(1, Stack::V4OverV6, unchanged)?;
        assert!(tunnel.pc2.end(Signal::TERM)?.success());
        tunnel.pc1.until_down(1, &["silent", "deaf"])?;
        none_passes(&tunnel.net.pc1, Side::Pc2.tunnel_address(Version::V4))?;

        tunnel.pc2 = Mpt::start(&tunnel.net.pc2, &Settings::new(Side::Pc2, Stack::V4OverV6, 1))?;

        tunnel.until_up()?;
        all_pass(&tunnel.net.pc1, Side::Pc2.tunnel_address(Version::V4), 20, "")
    });
}

#[test]
fn without_probes_a_peer_that_starts_again_at_sequence_number_zero_is_taken_for_what_it_is() {
    bench::test(&[Tool::Ping, Tool::Iperf3], || {
        // A small window, so that a short transfer leads further than it reaches: the numbers of the peer that starts
        // again are then from far back.
        let window = Table::from_iter([("window".to_owned(), 256.into())]);
        let silent =
            |settings: Settings| settings.connection("liveness", "off").connection("reorder", window.clone());
        let mut tunnel = Tunnel::start(2, Stack::V4OverV4, |_, settings| silent(settings))?;
        let to = Side::Pc2.tunnel_address(Version::V4);
        iperf3(&tunnel.net.pc2, &tunnel.net.pc1, to, "--reverse --time 2")?;
        let before = tunnel.pc1.until("many packets", |c| c.counters.rx_packets >= 1000)?;
        assert!(!before.peer_is_mpt, "nobody probes");

        tunnel.pc2.end(Signal::KILL)?;
        tunnel.pc2 = Mpt::start(&tunnel.net.pc2, &silent(Settings::new(Side::Pc2, Stack::V4OverV4, 2)))?;

        // The first ones are dropped as late, until their number says that it was a restart.
        ping(&tunnel.net.pc1, to, 200, "-i 0.005")?;
        let after = tunnel.pc1.until("one restart", |c| c.counters.rx_restarts == 1)?;
        let late = |c: &ConnectionReport| c.dropped["late"] + c.dropped["duplicate"];
        let late = late(&after) - late(&before);
        assert!((1..=100).contains(&late), "{late} packets were dropped until then");
        all_pass(&tunnel.net.pc1, to, 50, "")
    });
}

#[test]
fn sigterm_leaves_nothing_behind() {
    bench::test(&[], || leaves_nothing(Signal::TERM));
}

#[test]
fn sigint_leaves_nothing_behind() {
    bench::test(&[], || leaves_nothing(Signal::INT));
}

fn leaves_nothing(signal: Signal) -> anyhow::Result<()> {
    let net = Topology::build(1, None)?;
    let before = bench::routes(&net.pc1)?;
    let peers = ["10.9.9.9", "fd09::9"].map(toml::Value::from).to_vec();
    let settings = Settings::new(Side::Pc1, Stack::V4OverV4, 1).connection("peer", peers);
    let settings = settings.network("192.168.7.0/24").network("fd07::/64");
    let mut mpt = Mpt::start(&net.pc1, &settings)?;
    assert!(has_interface(&net, Side::Pc1));
    let during = bench::routes(&net.pc1)?;
    for to in ["192.168.7.0/24", "fd07::/64", "10.9.9.9", "fd09::9"] {
        assert!(during.contains(&format!("{to} dev {}", bench::DEVICE)), "{during}");
    }

    let status = mpt.end(signal)?;

    assert_eq!(status.code(), Some(0), "{}", mpt.said());
    assert!(!has_interface(&net, Side::Pc1));
    assert_eq!(bench::routes(&net.pc1)?, before);
    assert!(!mpt.control().exists());
    Ok(())
}
