//! A LAN behind PC1 that uses the tunnel with PC1's tunnel address: `tunnel.share`.

use std::fs;
use std::path::Path;
use std::process::Command;

use mpt_lab::host::{self, Host};
use mpt_lab::stack::Stack;
use mpt_lab::topology::Side;
use rustix::process::Signal;
use toml::Value;

use super::{INTERNET, SERVER, World, client, client_with, reaches_the_internet};
use crate::bench::{self, DEVICE, DIRECTORY, Mpt, Settings, complains, complaint, refused, until, wire};
use crate::programs::{Tool, none_passes};

/// Adds a host behind PC1, with a default route to PC1.
pub(super) fn lan(world: &World) -> anyhow::Result<Host> {
    let (router, lan) = (&world.net.pc1, Host::create("lan")?);
    wire([
        (router, "lan", &["192.168.6.1/24", "fd06::1/64"]),
        (&lan, "eth0", &["192.168.6.2/24", "fd06::2/64"]),
    ])?;
    lan.run("ip route add default via 192.168.6.1")?;
    lan.run("ip route add default via fd06::1")?;
    Ok(lan)
}

/// A server that knows nothing of the LAN.
pub(super) fn start_server(world: &World) -> anyhow::Result<Mpt> {
    let settings = Settings::new(Side::Pc2, Stack::V4OverV4, 2);
    let settings = settings.tunnel("address", addresses("2")).connection("peer", vec!["10.0.0.1", "fd00::1"]);
    Mpt::start(&world.net.pc2, &settings.path(1, "local", SERVER).path(2, "local", SERVER))
}

fn addresses(last: &str) -> Vec<String> {
    vec![format!("10.0.0.{last}/24"), format!("fd00::{last}/64")]
}

/// PC1 with tunnel addresses of both IP versions.
pub(super) fn with_both(settings: Settings) -> Settings {
    settings.tunnel("address", addresses("1")).connection("peer", vec!["10.0.0.2", "fd00::2"])
}

/// A list of strings of the configuration.
pub(super) fn list(values: &[&str]) -> Value {
    values.iter().map(|value| Value::from(*value)).collect::<Vec<_>>().into()
}

#[test]
fn a_lan_uses_the_tunnel_by_network_or_interface_and_nothing_of_it_is_left() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::build()?;
        let lan = lan(&world)?;
        let _server = start_server(&world)?;
        // Settings that the kernel's switches would change besides.
        world.net.pc1.sysctl("net.ipv4.conf.all.accept_redirects", "0")?;
        world.net.pc1.sysctl("net.ipv4.conf.eth2.forwarding", "1")?;
        world.net.pc1.sysctl("net.ipv6.conf.eth2.accept_ra", "0")?;
        let before = world.state()?;
        let lan_only = [("0.0.0.0/0", Some("192.168.6.0/24")), ("::/0", Some("fd06::/64"))];
        for (settings, share) in [
            (client(), list(&["192.168.6.0/24", "fd06::/64"])),
            (client(), list(&["lan"])),
            (client_with(&lan_only), list(&["lan"])),
        ] {
            let mut client = world.start_client(&with_both(settings.tunnel("share", share)))?;
            reaches_the_internet(&lan, 10)?;
            assert_eq!(world.past_the_tunnel()?, 0);
            let setting = |name: &str| world.pc1(&format!("sysctl -n {name}"));
            assert_eq!(setting("net.ipv6.conf.eth1.accept_ra")?, "2\n", "router advertisements still count");
            assert_eq!(setting("net.ipv6.conf.eth2.accept_ra")?, "0\n", "where they did");
            let tables = world.pc1("nft list tables")?;
            assert_eq!(tables, format!("table inet past\ntable inet mpt_{DEVICE}\n"), "no one else's");
            assert!(client.end(Signal::TERM)?.success(), "{}", client.said());
            assert_eq!(world.state()?, before);
        }
        Ok(())
    });
}

#[test]
fn what_a_killed_gateway_leaves_is_put_back_by_clean_or_by_the_next_start() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::build()?;
        let lan = lan(&world)?;
        let _server = start_server(&world)?;
        let before = world.state()?;
        let sharing = with_both(client().tunnel("share", list(&["lan"])));
        let mut client = world.start_client(&sharing)?;
        client.end(Signal::KILL)?;
        let during = world.state()?;
        assert!(during.contains("table inet mpt_tun0") && during.contains("net.ipv4.ip_forward = 1"));
        let said = world.clean(DEVICE)?;
        for removed in
            ["net.ipv6.conf.all.forwarding = 1", "net.ipv4.ip_forward = 1", "nft table inet mpt_tun0"]
        {
            assert!(said.contains(&format!("removed: {removed}\n")), "{said}");
        }
        assert_eq!(world.state()?, before);
        assert_eq!(world.clean(DEVICE)?, "nothing of tun0 was left\n");

        // Twice, so that the second one finds what the first one has switched on.
        world.start_client(&sharing)?.end(Signal::KILL)?;
        let mut client = world.start_client(&sharing)?;
        reaches_the_internet(&lan, 10)?;
        client.end(Signal::KILL)?;
        let mut plain = world.start_client(&with_both(super::client()))?;
        let state = world.state()?;
        assert!(!state.contains("mpt_tun0") && state.contains("net.ipv4.ip_forward = 0"), "{state}");
        assert!(plain.end(Signal::TERM)?.success());
        assert_eq!(world.state()?, before);

        // A host that forwards anyway goes on with it.
        world.pc1("sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")?;
        let before = world.state()?;
        world.start_client(&sharing)?.end(Signal::KILL)?;
        world.clean(DEVICE)?;
        assert_eq!(world.state()?, before);
        assert_eq!(fs::read_dir("/run/mpt")?.count(), 0, "all is forgotten");
        Ok(())
    });
}

#[test]
fn a_firewall_that_is_flushed_and_forwarding_that_is_switched_off_come_back() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::build()?;
        let lan = lan(&world)?;
        let _server = start_server(&world)?;
        let mut client = world.start_client(&with_both(client().tunnel("share", list(&["lan"]))))?;
        let table = || world.pc1(&format!("nft list table inet mpt_{DEVICE}"));
        let whole = table()?;

        world.pc1(&format!("nft flush table inet mpt_{DEVICE}"))?;
        until("the rules are back", || Ok(table()? == whole))?;
        // As a firewall does that is loaded anew, at the same time as somebody who hardens the host.
        let both = "nft flush ruleset && sysctl -q -w net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0";
        host::run(world.net.pc1.command("sh").args(["-c", both]))?;
        until("the table is back", || Ok(table().is_ok_and(|table| table == whole)))?;
        until("forwarding again", || {
            let values = world.pc1("sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding")?;
            Ok(values == "1\n1\n")
        })?;
        reaches_the_internet(&lan, 10)?;
        assert!(client.said().contains("mpt put back: nft table inet mpt_tun0"), "{}", client.said());
        assert!(client.end(Signal::TERM)?.success());
        assert!(table().is_err());
        Ok(())
    });
}

#[test]
fn with_a_kill_switch_a_lan_stays_cut_off_while_the_gateway_is_dead() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::build()?;
        let lan = lan(&world)?;
        let _server = start_server(&world)?;
        let before = world.state()?;
        let settings = client().tunnel("share", list(&["lan"])).tunnel("kill_switch", true);
        let mut client = world.start_client(&with_both(settings))?;
        reaches_the_internet(&lan, 10)?;
        client.end(Signal::KILL)?;
        // As the service does after a crash: what belongs to the kill switch stays, and the LAN is told at once.
        assert!(world.clean_after_crash()?.contains("the kill switch of tun0 stays in place"));
        assert!(world.state()?.contains("net.ipv4.ip_forward = 1"));
        for to in INTERNET {
            none_passes(&lan, to.parse()?)?;
        }
        assert_eq!(world.past_the_tunnel()?, 0);
        world.clean(DEVICE)?;
        assert_eq!(world.state()?, before);
        Ok(())
    });
}

/// Takes a program away from this test, whatever directory it is in, while some work is done.
pub(crate) fn without<T>(program: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let directories = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let files = directories.map(|directory| Path::new(directory).join(program));
    let mut hidden = Vec::new();
    // Directories may be one and the same.
    for file in files {
        if file.is_file() {
            host::run(Command::new("mount").args(["--bind", "/dev/null"]).arg(&file))?;
            hidden.push(file);
        }
    }
    let outcome = work();
    for file in hidden {
        host::run(Command::new("umount").arg(file))?;
    }
    outcome
}

#[test]
fn without_nft_a_shared_tunnel_says_what_to_install_and_changes_nothing() {
    bench::test(&[Tool::Nft], || {
        let world = World::build()?;
        let before = world.state()?;
        let said = without("nft", || {
            let said = complaint(&refused(&world.net.pc1, &client().tunnel("share", list(&["lan"])))?, 1)?;
            let check = format!("check {DIRECTORY}/PC1.toml");
            assert_eq!(complains(&world.net.pc1, &check, "", 1)?, said);
            // Without need it is not missed.
            assert!(Mpt::start(&world.net.pc1, &client())?.end(Signal::TERM)?.success());
            Ok(said)
        })?;
        assert!(said.contains("sudo apt install nftables"), "{said}");
        assert_eq!(world.state()?, before);
        Ok(())
    });
}
