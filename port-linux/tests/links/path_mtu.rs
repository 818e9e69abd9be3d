//! A hop in between that carries less than the interfaces at the ends, and says so to nobody.

use std::time::Duration;

use anyhow::{Result, ensure};
use port_linux::lab::host::Host;
use port_linux::lab::stopwatch::Stopwatch;

use crate::mpt::Mpt;
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
    Ok((pc1, pc2))
}

fn size(mpt: &Mpt) -> u64 {
    mpt.path("far").ok().and_then(|path| path["max_datagram"].as_u64()).unwrap_or(0)
}

#[test]
fn the_size_that_a_hop_in_between_carries_is_found_from_both_ends() {
    test(&["ping"], || {
        let (left, right) = routed(1400)?;
        let mut one = Mpt::start(&left, &config(LEFT, RIGHT, ""))?;
        let mut other = Mpt::start(&right, &config(RIGHT, LEFT, ""))?;
        one.wait_until("far", "up")?;
        let since = Stopwatch::start();
        for mpt in [&mut one, &mut other] {
            // IPv4 and UDP headers are 28 bytes, and the search is eight bytes fine.
            mpt.wait_for("the size", |mpt| (1365..=1372).contains(&size(mpt)))?;
            mpt.wait_for("the word", |mpt| {
                mpt.said().contains("do not arrive, though its interface takes 1472")
            })?;
        }
        eprintln!("found within {} ms", since.elapsed().as_millis());

        left.run("ping -c 5 -i 0.05 -W 2 -M do -s 1436 10.0.0.2")?;
        ensure!(
            one.path("far")?["downs"] == 0 && other.path("far")?["downs"] == 0,
            "small ones always passed"
        );
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
