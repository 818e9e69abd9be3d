//! The adaptive policy: unequal paths without weights, a path that goes, tiers, and peers that do otherwise.

use anyhow::{Context as _, ensure};
use mpt_lab::limit;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Cut, Side, Topology};
use port_linux::report::{ConnectionReport, ModelReport};
use serde_json::Value;
use toml::Table;

use crate::bench::{self, Settings, Tunnel, dropped, seal, sent_by_path};
use crate::programs::{Tool, all_pass, iperf3};

/// Rates of the two links, in Mbit/s.
const RATES: [u8; 2] = [60, 20];
/// Times that a rate is measured until it is as wanted: one that a busy machine spoils says nothing of the policy.
const TRIES: usize = 5;

fn adaptive(_: Side, settings: Settings) -> Settings {
    settings.connection("policy", "adaptive")
}

/// Two links of these rates, whose queues hold 40 ms.
fn unequal() -> anyhow::Result<Topology> {
    let net = Topology::build(2, None)?;
    for (link, mbit) in (1..).zip(RATES.map(u32::from)) {
        let (burst, limit) = (mbit * 400 + 3_000, mbit * 5_000);
        for side in Side::BOTH {
            let device = Topology::device(link);
            let shape =
                format!("tc qdisc add dev {device} root tbf rate {mbit}mbit burst {burst} limit {limit}");
            net.host(side).run(&shape)?;
        }
    }
    Ok(net)
}

/// One iperf3 from PC1 to PC2, and what it says that came.
fn received(tunnel: &Tunnel, options: &str) -> anyhow::Result<Value> {
    let to = Side::Pc2.tunnel_address(Version::V4);
    let report = iperf3(&tunnel.net.pc2, &tunnel.net.pc1, to, options)?;
    Ok(report["end"]["sum_received"].clone())
}

fn models(connection: &ConnectionReport) -> anyhow::Result<Vec<&ModelReport>> {
    connection.paths.iter().map(|path| path.model.as_ref()).collect::<Option<_>>().context("no models")
}

#[test]
fn one_flow_gets_the_sum_of_unequal_paths_without_weights() {
    bench::test(&[Tool::Iperf3], || {
        let tunnel = Tunnel::start_on(unequal()?, Stack::V4OverV4, adaptive)?;
        let mtu = tunnel.pc1.status()?.tunnel.mtu;
        assert_eq!(mtu, 1456 - seal(), "room for the extension header");
        let sum = 1e6 * RATES.map(f64::from).iter().sum::<f64>();
        let wanted = 0.85 * sum * limit::tunnel(Stack::V4OverV4, mtu.into(), 8 + u32::from(seal()));
        let mut best = 0.0f64;
        for _ in 0..TRIES {
            let got = received(&tunnel, "--time 3 --omit 1")?;
            best = best.max(got["bits_per_second"].as_f64().context("a rate")?);
            if best >= wanted {
                break;
            }
        }
        let connection = tunnel.pc1.connection()?;
        assert_eq!((connection.mode.as_deref(), connection.mode_reason.as_deref()), (Some("adaptive"), None));
        for (model, mbit) in models(&connection)?.into_iter().zip(RATES) {
            let percent = model.rate / (10_000 * u64::from(mbit));
            assert!((70..150).contains(&percent), "{model:?} for {mbit} Mbit/s");
        }
        ensure!(best >= wanted, "{best} of {wanted} bits a second: {connection:#?}");
        assert!(tunnel.pc1.said().contains("are sent by what is measured"), "{}", tunnel.pc1.said());
        Ok(())
    });
}

#[test]
fn a_transfer_goes_on_when_the_larger_path_is_cut_and_uses_it_again_when_it_is_back() {
    bench::test(&[Tool::Iperf3], || {
        let tunnel = Tunnel::start_on(unequal()?, Stack::V4OverV4, adaptive)?;
        let sent = || tunnel.pc1.connection().map(|connection| connection.counters.tx_bytes);
        let got = std::thread::scope(|scope| {
            let before = sent()?;
            let transfer = scope.spawn(|| received(&tunnel, "--time 8"));
            tunnel.pc1.until("under way", |c| c.counters.tx_bytes > before + 1_000_000)?;
            tunnel.net.cut(1, Cut::Link)?;
            let at_the_cut = tunnel.pc1.until_down(1, &["link", "silent", "deaf"])?.counters.tx_bytes;
            tunnel.pc1.until("going on", |c| c.counters.tx_bytes > at_the_cut + 1_000_000)?;
            tunnel.net.restore(1, Cut::Link)?;
            let back = tunnel.pc1.until_up()?;
            tunnel.pc1.until("on both", |c| sent_by_path(&back, c)[0] > 1_000_000)?;
            transfer.join().expect("no panic")
        })?;
        assert!(got["bytes"].as_u64().is_some_and(|bytes| bytes > 3_000_000), "{got}");
        Ok(())
    });
}

#[test]
fn a_path_of_a_higher_tier_stays_unused_until_the_lower_one_is_full() {
    bench::test(&[Tool::Iperf3], || {
        let tunnel =
            Tunnel::start_on(unequal()?, Stack::V4OverV4, |side, s| adaptive(side, s).path(2, "tier", 2))?;
        let before = tunnel.pc1.connection()?;
        received(&tunnel, "--udp --bitrate 10M --length 1200 --time 3")?;
        let after = tunnel.pc1.connection()?;
        let [free, paid] = sent_by_path(&before, &after)[..] else { panic!("two paths") };
        // Probes, and signs of life every tenth of a second.
        assert!(free > 1_000_000 && paid < 50_000, "{free} and {paid} bytes");

        // Under BBR, the default of some machines, hardly anything ever waits.
        received(&tunnel, "--time 3 --congestion cubic")?;
        let full = sent_by_path(&after, &tunnel.pc1.connection()?);
        assert!(full[1] > 2_000_000, "{full:?}");
        Ok(())
    });
}

/// A `[[connection.class]]` for what iperf3 sends, with these keys.
fn class(keys: &[(&str, Value)]) -> Vec<toml::Value> {
    let ports = [("ports".to_owned(), toml::Value::from("5201"))];
    let keys = keys
        .iter()
        .map(|(key, value)| ((*key).to_owned(), toml::Value::try_from(value).expect("it is simple")));
    vec![toml::Value::Table(ports.into_iter().chain(keys).collect())]
}

#[test]
fn a_class_with_a_tier_takes_no_dearer_path_however_full_its_own_is_until_that_is_down() {
    bench::test(&[Tool::Iperf3], || {
        let settings = |side, settings| {
            adaptive(side, settings).path(2, "tier", 2).connection("class", class(&[("tier", 1.into())]))
        };
        let tunnel = Tunnel::start_on(unequal()?, Stack::V4OverV4, settings)?;
        for direction in ["", "--reverse"] {
            let before = [tunnel.pc1.connection()?, tunnel.pc2.connection()?];
            let got = received(&tunnel, &format!("--time 3 --congestion cubic {direction}"))?;
            let after = [tunnel.pc1.connection()?, tunnel.pc2.connection()?];
            for (before, after) in before.iter().zip(&after) {
                // Probes, reports and signs of life.
                let paid = sent_by_path(before, after)[1];
                assert!(paid < 100_000, "{direction}: {paid} bytes");
            }
            assert!(got["bytes"].as_u64().is_some_and(|bytes| bytes > 3_000_000), "{direction}: {got}");
        }
        tunnel.pc1.set_path("down", "path1")?;
        tunnel.pc2.until_down(1, &["deaf", "silent"])?;
        let before = tunnel.pc1.connection()?;
        received(&tunnel, "--time 2")?;
        let sent = sent_by_path(&before, &tunnel.pc1.connection()?);
        assert!(sent[1] > 500_000, "no path of its tier is up: {sent:?}");

        // Without the class, as the file says after a reload, it spills.
        tunnel.pc1.set_path("up", "path1")?;
        tunnel.until_up()?;
        let without =
            Settings::new(Side::Pc1, Stack::V4OverV4, 2).connection("policy", "adaptive").path(2, "tier", 2);
        tunnel.pc1.reload(&without)?;
        tunnel.until_up()?;
        let before = tunnel.pc1.connection()?;
        received(&tunnel, "--time 3 --congestion cubic")?;
        let sent = sent_by_path(&before, &tunnel.pc1.connection()?);
        assert!(sent[1] > 1_000_000, "{sent:?}");
        Ok(())
    });
}

#[test]
fn a_class_with_a_deadline_has_copies_only_where_a_path_may_miss_it() {
    bench::test(&[Tool::Iperf3, Tool::Nft], || {
        let protected = |settings: Settings, deadline: u16| {
            let keys =
                [("travel", "protected".into()), ("deadline_ms", deadline.into()), ("overhead", 100.into())];
            settings.connection("policy", "adaptive").connection("class", class(&keys))
        };
        let tunnel = Tunnel::start(2, Stack::V4OverV4, |_, settings| protected(settings, 30))?;
        // A call: 50 packets a second. What begins is copied until reports have come.
        let copies = || -> anyhow::Result<u64> {
            received(&tunnel, "--udp --bitrate 64K --length 160 --time 1")?;
            let before = tunnel.pc1.connection()?.counters.tx_copies;
            received(&tunnel, "--udp --bitrate 64K --length 160 --time 4")?;
            Ok(tunnel.pc1.connection()?.counters.tx_copies - before)
        };
        let fast = copies()?;
        assert!(fast < 40, "{fast} copies of some 200 packets that are there at once");

        // One datagram in ten is lost, and its repair needs some 40 ms.
        tunnel.net.pc2.run("nft add table netdev few")?;
        for link in 1..=2 {
            let device = Topology::device(link);
            let hook = format!("type filter hook ingress device {device} priority 0");
            tunnel.net.pc2.run(&format!("nft add chain netdev few in{link} {{ {hook} ; }}"))?;
            tunnel.net.pc2.run(&format!("nft add rule netdev few in{link} numgen random mod 10 0 drop"))?;
        }
        let lossy = copies()?;
        assert!(lossy > 100, "{lossy} copies of some 200 packets whose repairs would be late");
        let text = tunnel.pc1.done("status")?;
        assert!(text.contains(" sent with a copy"), "{text}");

        tunnel.pc1.reload(&protected(Settings::new(Side::Pc1, Stack::V4OverV4, 2), 1000))?;
        tunnel.until_up()?;
        let patient = copies()?;
        assert!(patient < 40, "{patient} copies of some 200 packets whose repairs are in time");
        Ok(())
    });
}

#[test]
fn a_peer_with_another_policy_is_sent_to_by_what_it_reports() {
    bench::test(&[Tool::Ping, Tool::Iperf3], || {
        let tunnel = Tunnel::start_on(unequal()?, Stack::V4OverV4, |side, settings| {
            settings.connection("policy", if side == Side::Pc1 { "adaptive" } else { "weighted" })
        })?;
        all_pass(&tunnel.net.pc1, Side::Pc2.tunnel_address(Version::V4), 10, "")?;
        for direction in ["", "--reverse"] {
            let got = received(&tunnel, &format!("--time 2 {direction}"))?;
            assert!(got["bytes"].as_u64().is_some_and(|bytes| bytes > 500_000), "{direction}: {got}");
        }
        let (here, there) = (tunnel.pc1.connection()?, tunnel.pc2.connection()?);
        assert_eq!((here.mode.as_deref(), there.mode.as_deref()), (Some("adaptive"), None));
        assert_eq!(
            (tunnel.pc1.status()?.tunnel.mtu, tunnel.pc2.status()?.tunnel.mtu),
            (1456 - seal(), 1464 - seal())
        );
        assert!(models(&there).is_err());
        assert_eq!((here.counters.tx_fragments, there.counters.tx_fragments), (0, 0));
        for end in [&here, &there] {
            assert!(!dropped(end).iter().any(|(reason, _)| reason.starts_with("bad")), "{end:#?}");
        }
        Ok(())
    });
}

#[test]
fn a_peer_that_does_not_speak_the_extension_is_sent_to_by_weight() {
    bench::test(&[Tool::Ping, Tool::Iperf3], || {
        // What has no sequence numbers cannot report.
        let tunnel = Tunnel::start_on(unequal()?, Stack::V4OverV4, |side, settings| {
            let settings = adaptive(side, settings).clear().path(1, "weight", 3);
            if side == Side::Pc1 { settings } else { settings.connection("sequence", false) }
        })?;
        all_pass(&tunnel.net.pc1, Side::Pc2.tunnel_address(Version::V4), 20, "-s 1200")?;
        let got = received(&tunnel, "--time 2")?;
        assert!(got["bytes"].as_u64().is_some_and(|bytes| bytes > 500_000), "{got}");
        let (here, there) = (tunnel.pc1.connection()?, tunnel.pc2.connection()?);
        let of = |connection: &ConnectionReport| (connection.mode.clone(), connection.mode_reason.clone());
        assert_eq!(of(&here), (Some("weighted".into()), Some("peer_cannot".into())));
        assert_eq!(of(&there), (Some("weighted".into()), Some("no_memory".into())));
        assert!(tunnel.pc1.said().contains("does not speak"), "{}", tunnel.pc1.said());
        Ok(())
    });
}

#[test]
fn packets_that_a_hand_made_mtu_makes_too_large_are_split_and_people_are_told_once() {
    bench::test(&[Tool::Ping], || {
        let memory = Table::from_iter([("memory_mb".to_owned(), 2.into())]);
        let tunnel = Tunnel::start(2, Stack::V4OverV4, |side, settings| {
            adaptive(side, settings).tunnel("mtu", 3000).connection("adaptive", memory.clone())
        })?;
        for size in [1000, 1440, 2900] {
            let size = format!("-M do -s {size}");
            all_pass(&tunnel.net.pc1, Side::Pc2.tunnel_address(Version::V4), 10, &size)?;
        }
        assert!(tunnel.pc1.connection()?.counters.tx_fragments >= 20);
        let said = tunnel.pc1.said();
        let (whole, adaptive) = (1464 - seal(), 1456 - seal());
        let split = format!("packets of more than {whole} bytes are split");
        assert_eq!(said.matches(&split).count(), 1, "{said}");
        let without = format!("packets of more than {adaptive} bytes have no room");
        assert_eq!(said.matches(&without).count(), 1, "{said}");
        Ok(())
    });
}
