//! Which path packets take: by policy, and by hand.

use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::Side;
use port_linux::report::State;

use crate::bench::{self, Mpt, Tunnel, sent_by_path, unchanged};
use crate::programs::{Background, Pings, Tool, all_pass, drop_arriving, iperf3, let_pass};

/// Payload of the pings: so many bytes that probes do not matter beside them.
const SIZE: &str = "-s 1200";
const COUNT: u32 = 50;
/// Less than this on a path is probes and stray packets; all pings are 60,000.
const LITTLE: u64 = 20_000;

/// The paths, counted from 1, that carry one flow of PC1's.
fn carriers(tunnel: &Tunnel) -> anyhow::Result<Vec<usize>> {
    let before = tunnel.pc1.connection()?;
    all_pass(&tunnel.net.pc1, Side::Pc2.tunnel_address(Version::V4), COUNT, SIZE)?;
    let sent = sent_by_path(&before, &tunnel.pc1.connection()?);
    Ok((1..).zip(sent).filter(|(_, bytes)| *bytes > LITTLE).map(|(number, _)| number).collect())
}

fn name_of(mpt: &Mpt, number: usize) -> anyhow::Result<String> {
    Ok(mpt.connection()?.paths[number - 1].name.clone())
}

#[test]
fn flow_keeps_a_flow_on_one_path_and_spreads_many() {
    bench::test(&[Tool::Ping, Tool::Iperf3], || {
        let tunnel = Tunnel::start(4, Stack::V4OverV4, |_, s| s.connection("policy", "flow"))?;
        let first = carriers(&tunnel)?;
        assert_eq!(first.len(), 1, "one flow, one path: {first:?}");

        // When its path goes, the flow takes another one.
        tunnel.pc1.set_path("down", &name_of(&tunnel.pc1, first[0])?)?;
        let second = carriers(&tunnel)?;
        assert_eq!(second.len(), 1, "{second:?}");
        assert_ne!(first, second);
        tunnel.pc1.set_path("up", &name_of(&tunnel.pc1, first[0])?)?;
        tunnel.until_up()?;

        let before = tunnel.pc1.connection()?;
        let to = Side::Pc2.tunnel_address(Version::V4);
        iperf3(&tunnel.net.pc2, &tunnel.net.pc1, to, "--parallel 16 --time 1")?;
        let sent = sent_by_path(&before, &tunnel.pc1.connection()?);
        let used = sent.iter().filter(|&&bytes| bytes > LITTLE).count();
        // Sixteen flows on one of four paths only: one in a thousand million.
        assert!(used >= 2, "{sent:?}");
        Ok(())
    });
}

#[test]
fn backup_uses_the_lowest_rank_that_is_up() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let tunnel = Tunnel::start(3, Stack::V4OverV4, |_, settings| {
            settings
                .connection("policy", "backup")
                .path(1, "rank", 20)
                .path(2, "rank", 10)
                .path(3, "rank", 30)
        })?;
        assert_eq!(carriers(&tunnel)?, [2]);

        drop_arriving(&tunnel.net.pc2, "eth2")?;
        tunnel.pc1.until_down(2, &["deaf", "silent"])?;
        tunnel.pc2.until_down(2, &["deaf", "silent"])?;
        assert_eq!(carriers(&tunnel)?, [1]);

        tunnel.pc1.set_path("down", "path1")?;
        tunnel.pc2.until_down(1, &["deaf", "silent"])?;
        assert_eq!(carriers(&tunnel)?, [3]);

        let_pass(&tunnel.net.pc2)?;
        tunnel.pc1.set_path("up", "path1")?;
        tunnel.until_up()?;
        assert_eq!(carriers(&tunnel)?, [2]);
        Ok(())
    });
}

#[test]
fn redundant_loses_nothing_when_a_path_is_cut() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let tunnel = Tunnel::start(2, Stack::V4OverV4, |_, s| s.connection("policy", "redundant"))?;
        let to = Side::Pc2.tunnel_address(Version::V4);
        let before = tunnel.pc1.connection()?.counters.tx_packets;
        let pings = Background::start(&tunnel.net.pc1, to, 250, "")?;
        tunnel.pc1.until("under way", |c| c.counters.tx_packets > before + 20)?;

        drop_arriving(&tunnel.net.pc2, "eth1")?;
        tunnel.pc1.until_down(1, &["deaf", "silent"])?;
        let_pass(&tunnel.net.pc2)?;

        let expected = Pings { sent: 250, received: 250, copies: 0 };
        assert_eq!(pings.finish()?, expected, "none lost, none twice");
        tunnel.until_up()?;
        assert_eq!(carriers(&tunnel)?, [1, 2]);
        let dropped = tunnel.pc2.connection()?.dropped;
        assert!(dropped["duplicate"] >= u64::from(COUNT), "{dropped:?}");
        Ok(())
    });
}

#[test]
fn weighted_sends_by_weight() {
    bench::test(&[Tool::Ping], || {
        let tunnel = Tunnel::start(2, Stack::V4OverV4, |_, s| s.path(1, "weight", 1).path(2, "weight", 9))?;
        let before = tunnel.pc1.connection()?;
        all_pass(&tunnel.net.pc1, Side::Pc2.tunnel_address(Version::V4), 100, SIZE)?;
        let sent = sent_by_path(&before, &tunnel.pc1.connection()?);
        // Ten and ninety of 1,236 bytes, and some probes.
        assert!((12_000..30_000).contains(&sent[0]) && (108_000..140_000).contains(&sent[1]), "{sent:?}");
        Ok(())
    });
}

#[test]
fn a_port_pinned_to_a_path_takes_that_path() {
    bench::test(&[Tool::Iperf3], || {
        let ports = || toml::Value::Array(vec![5201.into()]);
        let tunnel = Tunnel::start(2, Stack::V6OverV4, |_, s| {
            s.path(2, "tcp_dst", ports()).path(2, "tcp_src", ports())
        })?;
        let before = tunnel.pc1.connection()?;
        iperf3(&tunnel.net.pc2, &tunnel.net.pc1, Side::Pc2.tunnel_address(Version::V6), "--time 1")?;
        let sent = sent_by_path(&before, &tunnel.pc1.connection()?);
        assert!(sent[0] < LITTLE && sent[1] > 10 * LITTLE, "{sent:?}");
        Ok(())
    });
}

#[test]
fn a_class_with_a_path_takes_that_path() {
    bench::test(&[Tool::Iperf3], || {
        let tunnel = Tunnel::start(2, Stack::V4OverV4, |_, settings| {
            let class =
                [("ports", "5201"), ("path", "path2")].map(|(key, value)| (key.to_owned(), value.into()));
            let classes = vec![toml::Value::Table(class.into_iter().collect())];
            settings.connection("policy", "adaptive").connection("class", classes)
        })?;
        let before = tunnel.pc1.connection()?;
        for direction in ["", "--reverse"] {
            let to = Side::Pc2.tunnel_address(Version::V4);
            iperf3(&tunnel.net.pc2, &tunnel.net.pc1, to, &format!("--time 1 {direction}"))?;
        }
        let sent = sent_by_path(&before, &tunnel.pc1.connection()?);
        // The other path has reports and signs of life.
        assert!(100 * sent[0] < sent[1] && sent[1] > 10 * LITTLE, "{sent:?}");
        Ok(())
    });
}

#[test]
fn a_path_is_taken_out_of_use_and_back_by_hand() {
    bench::test(&[Tool::Ping], || {
        let tunnel = Tunnel::start(2, Stack::V4OverV4, unchanged)?;
        assert_eq!(carriers(&tunnel)?, [1, 2]);

        assert_eq!(tunnel.pc1.set_path("down", "path1")?, "pc2/path1 is disabled\n");
        tunnel.pc1.until_down(1, &["disabled"])?;
        tunnel.pc2.until_down(1, &["deaf", "silent"])?;
        assert_eq!(carriers(&tunnel)?, [2]);

        assert_eq!(tunnel.pc1.set_path("up", "pc2/path1")?, "pc2/path1 is enabled\n");
        tunnel.until_up()?;
        assert_eq!(carriers(&tunnel)?, [1, 2]);

        let error = format!("{:#}", tunnel.pc1.set_path("down", "path9").expect_err("there is none"));
        assert!(error.contains("no path is named path9; there are pc2/path1, pc2/path2"), "{error}");
        assert!(tunnel.pc1.connection()?.paths.iter().all(|path| path.state == State::Up));
        Ok(())
    });
}
