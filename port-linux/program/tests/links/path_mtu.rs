//! A hop in between that carries less than the interfaces at the ends, and says so to nobody.

use std::time::Duration;

use anyhow::{Result, ensure};
use mpt_lab::host::Host;
use mpt_lab::stopwatch::Stopwatch;

use crate::mpt::{Mpt, seal};
use crate::test;

fn config(here: (&str, &str), there: (&str, &str), extra: &str) -> String {
    format!(
        "[tunnel]\naddress = [\"{}/24\"]\n[[connection]]\nname = \"other\"\npeer = [\"{}\"]\n\
         liveness = {{ interval_ms = 50, idle_ms = 100, dead_ms = 1500 }}\n\
         [[connection.path]]\nname = \"far\"\nlocal = \"{}\"\nremote = \"{}\"\n{extra}",
        here.0, there.0, here.1, there.1
    )
}

const LEFT: (&str, &str) = ("10.0.0.1", "10.1.0.2");
const RIGHT: (&str, &str) = ("10.0.0.2", "10.2.0.2");

/// Two hosts and a router whose right side has a small MTU: what comes from the left is refused with an ICMP message,
/// which mpt does not believe; what comes from the right vanishes.
fn routed(mtu: u16) -> Result<(Host, Host)> {
    let (left, right, _) = routed_by(mtu)?;
    Ok((left, right))
}

/// The same, with the router.
fn routed_by(mtu: u16) -> Result<(Host, Host, Host)> {
    let (pc1, pc2, router) = (Host::create("PC1")?, Host::create("PC2")?, Host::create("ROUTER")?);
    for (device, peer, network) in [("r1", "PC1", 1), ("r2", "PC2", 2)] {
        router.run(&format!("ip link add {device} type veth peer name eth1 netns {peer}"))?;
        router.run(&format!("ip address add 10.{network}.0.1/24 dev {device}"))?;
        router.run(&format!("ip link set {device} up"))?;
    }
    router.run(&format!("ip link set r2 mtu {mtu}"))?;
    router.sysctl("net.ipv4.ip_forward", "1")?;
    for (host, own, other) in [(&pc1, 1, 2), (&pc2, 2, 1)] {
        host.run(&format!("ip address add 10.{own}.0.2/24 dev eth1"))?;
        host.run("ip link set eth1 up")?;
        host.run(&format!("ip route add 10.{other}.0.0/24 via 10.{own}.0.1"))?;
    }
    Ok((pc1, pc2, router))
}

fn size(mpt: &Mpt) -> u64 {
    mpt.path("far").ok().and_then(|path| path["max_datagram"].as_u64()).unwrap_or(0)
}

/// The tunnel interface's MTU, as the program says it and as the kernel has it.
fn tunnel_mtu(mpt: &Mpt, host: &Host) -> Result<(u64, u64)> {
    let said = mpt.status()?["tunnel"]["mtu"].as_u64().unwrap_or(0);
    let text = host.run("cat /sys/class/net/mpt0/mtu")?;
    Ok((said, text.trim().parse()?))
}

#[test]
fn the_size_that_a_hop_in_between_carries_is_found_from_both_ends_and_the_tunnels_mtu_follows() {
    test(&["ping"], || {
        let (left, right) = routed(1400)?;
        let mut one = Mpt::start(&left, &config(LEFT, RIGHT, ""))?;
        let mut other = Mpt::start(&right, &config(RIGHT, LEFT, ""))?;
        one.wait_until("far", "up")?;
        let since = Stopwatch::start();
        for (mpt, host) in [(&mut one, &left), (&mut other, &right)] {
            // IPv4 and UDP headers are 28 bytes, and the search is eight bytes fine.
            mpt.wait_for("the size", |mpt| (1365..=1372).contains(&size(mpt)))?;
            mpt.wait_for("the word", |mpt| {
                mpt.said().contains("do not arrive, though its interface takes 1472")
            })?;
            // Less 16 bytes of GRE and extension header.
            mpt.wait_for("the MTU", |mpt| mpt.said().contains("larger packets do not fit all paths"))?;
            let (said, has) = tunnel_mtu(mpt, host)?;
            ensure!(said == has && (1349 - seal()..=1356 - seal()).contains(&has), "{said} and {has}");
        }
        eprintln!("found within {} ms", since.elapsed().as_millis());

        left.run("ping -c 5 -i 0.05 -W 2 -s 1428 10.0.0.2")?;
        ensure!(
            left.run("ping -c 1 -W 1 -M do -s 1428 10.0.0.2").is_err(),
            "the kernel tells who may not split"
        );
        ensure!(
            one.path("far")?["downs"] == 0 && other.path("far")?["downs"] == 0,
            "small ones always passed"
        );
        Ok(())
    });
}

#[test]
fn an_mtu_that_is_configured_stays_and_what_does_not_fit_is_split() {
    test(&["ping"], || {
        let (left, right) = routed(1400)?;
        let fixed = |text: String| text.replace("[tunnel]\n", "[tunnel]\nmtu = 1456\n");
        let mut one = Mpt::start(&left, &fixed(config(LEFT, RIGHT, "")))?;
        let mut other = Mpt::start(&right, &fixed(config(RIGHT, LEFT, "")))?;
        for mpt in [&mut one, &mut other] {
            mpt.wait_for("the size", |mpt| (1365..=1372).contains(&size(mpt)))?;
        }
        left.run("ping -c 5 -i 0.05 -W 2 -M do -s 1428 10.0.0.2")?;
        ensure!(tunnel_mtu(&one, &left)? == (1456, 1456));
        Ok(())
    });
}

#[test]
fn a_quiet_tunnel_whose_path_shrinks_in_use_finds_out_by_its_first_large_packets() {
    test(&["ping"], || {
        let (left, right, router) = routed_by(1500)?;
        let mut one = Mpt::start(&left, &config(LEFT, RIGHT, ""))?;
        let mut other = Mpt::start(&right, &config(RIGHT, LEFT, ""))?;
        one.wait_until("far", "up")?;
        other.wait_until("far", "up")?;
        left.run("ping -c 2 -i 0.2 -W 2 -s 1400 10.0.0.2")?;
        std::thread::sleep(Duration::from_secs(2));
        ensure!(size(&one) == 1472 && size(&other) == 1472);
        // From left to right larger ones vanish now.
        router.run("ip link set r2 mtu 1400")?;
        let since = Stopwatch::start();
        left.run("ping -c 30 -i 0.1 -W 2 -w 4 -s 1400 10.0.0.2").ok();
        one.wait_for("the size", |mpt| (1365..=1372).contains(&size(mpt)))?;
        eprintln!("found within {} ms, ping included", since.elapsed().as_millis());
        left.run("ping -c 3 -i 0.1 -W 2 -s 1400 10.0.0.2")?;
        ensure!(one.path("far")?["downs"] == 0);
        Ok(())
    });
}

#[test]
fn a_path_whose_hops_all_carry_the_same_or_whose_mtu_is_configured_stays_as_it_is() {
    test(&["ping"], || {
        let (left, right) = routed(1500)?;
        let mut one = Mpt::start(&left, &config(LEFT, RIGHT, ""))?;
        let mut other = Mpt::start(&right, &config(RIGHT, LEFT, "mtu = 1300\n"))?;
        one.wait_until("far", "up")?;
        other.wait_until("far", "up")?;
        let sent = one.path("far")?["tx_bytes"].as_u64().unwrap_or(0);
        std::thread::sleep(Duration::from_secs(2));
        ensure!(size(&one) == 1472 && size(&other) == 1272, "{} and {}", size(&one), size(&other));
        left.run("ping -c 5 -i 0.05 -W 2 -M do -s 1400 10.0.0.2")?;
        ensure!(!one.said().contains("do not arrive"), "{}", one.said());
        ensure!(one.path("far")?["tx_bytes"].as_u64().unwrap_or(0) > sent);
        Ok(())
    });
}
