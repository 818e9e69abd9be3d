//! Links without a route of the host: two LTE sticks of one make, with the same address and the same router on both, of which
//! at most one gave the host a default route. Paths name the router: `gateway`.

use std::fs;
use std::process::Command;

use mpt_lab::host::{self, Host};
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Side, Topology};
use port_linux::report::State;
use rustix::process::Signal;

use crate::bench::{self, DEVICE, Mpt, Settings, done, routes, sent_by_path, until, wire};
use crate::programs::{Tool, all_pass};

/// What each stick calls itself, and the address that it gives the host.
const ROUTER: &str = "192.168.8.1";
const OURS: &str = "192.168.8.100";

/// PC1 with the sticks usb1 and usb2, each of which is a NAT to an address of PC2's.
fn build() -> anyhow::Result<(Topology, Vec<Host>)> {
    let (net, mut sticks) = (Topology::build(2, None)?, Vec::new());
    for number in [1, 2] {
        net.pc1.run(&format!("ip link set eth{number} down"))?;
        let stick = Host::create(&format!("stick{number}"))?;
        stick.sysctl("net.ipv4.ip_forward", "1")?;
        let [inside, outside] = [2, 1].map(|last| format!("198.18.{number}.{last}/24"));
        wire([(&stick, "wan", &[&inside]), (&net.pc2, &format!("w{number}"), &[&outside])])?;
        stick.run("nft add table ip nat")?;
        stick.run("nft add chain ip nat out { type nat hook postrouting priority srcnat ; }")?;
        stick.run("nft add rule ip nat out oifname wan masquerade")?;
        plug_in(&net, &stick, number)?;
        sticks.push(stick);
    }
    for name in ["all", "default", "usb1", "usb2"] {
        net.pc1.sysctl(&format!("net.ipv4.conf.{name}.rp_filter"), "0")?;
    }
    Ok((net, sticks))
}

/// Makes the interface of a stick, which gives it its address, and no route but that of its link.
fn plug_in(net: &Topology, stick: &Host, number: usize) -> anyhow::Result<()> {
    let [ours, router] = [OURS, ROUTER].map(|address| format!("{address}/24"));
    wire([(&net.pc1, &format!("usb{number}"), &[&ours]), (stick, "lan", &[&router])])
}

fn client(gateway: Option<&str>) -> Settings {
    [1, 2].into_iter().fold(Settings::new(Side::Pc1, Stack::V4OverV4, 2), |settings, number| {
        let settings = settings
            .path(number, "local", "0.0.0.0")
            .path(number, "remote", format!("198.18.{number}.1"))
            .path(number, "device", format!("usb{number}"));
        gateway.map_or(settings.clone(), |gateway| settings.path(number, "gateway", gateway))
    })
}

fn start_server(net: &Topology) -> anyhow::Result<Mpt> {
    let settings =
        [1, 2].into_iter().fold(Settings::new(Side::Pc2, Stack::V4OverV4, 2), |settings, number| {
            settings.path(number, "local", format!("198.18.{number}.1")).path(number, "remote", "0.0.0.0")
        });
    Mpt::start(&net.pc2, &settings)
}

fn state(net: &Topology) -> anyhow::Result<String> {
    Ok(net.pc1.run("ip -4 rule")? + &net.pc1.run("ip -6 rule")? + &routes(&net.pc1)?)
}

#[test]
fn two_sticks_with_one_address_and_one_router_carry_both_whatever_default_routes_there_are() {
    bench::test(&[Tool::Nft, Tool::Ping], || {
        let (net, sticks) = build()?;
        let _server = start_server(&net)?;
        // Two default routes, one, none.
        net.pc1.run(&format!("ip route add default via {ROUTER} dev usb1"))?;
        let before = state(&net)?;
        let mut pc1 = Mpt::start(&net.pc1, &client(Some(ROUTER)))?;
        pc1.until_up()?;
        let rule = net.pc1.run("ip rule show priority 14752")?;
        assert_eq!(rule.matches("fwmark 0x4754 oif usb").count(), 2, "{rule}");
        let others = net.pc1.run("ip route get 198.18.2.1")?;
        assert!(others.contains("dev usb1"), "other programs take the host's routes: {others}");
        net.pc1.run("ip route del default")?;
        let before_pings = pc1.connection()?;
        all_pass(&net.pc1, "10.0.0.2".parse()?, 20, "")?;
        let sent = sent_by_path(&before_pings, &pc1.connection()?);
        assert!(sent.iter().all(|bytes| *bytes > 500), "{sent:?}");
        net.pc1.run(&format!("ip route add default via {ROUTER} dev usb1"))?;

        // Switched off and on, as an interface of another number, and after somebody has flushed the table.
        net.pc1.run("ip link set usb2 down")?;
        pc1.until_down(2, &["link"])?;
        net.pc1.run("ip link set usb2 up")?;
        pc1.until_up()?;
        net.pc1.run("ip link del usb2")?;
        pc1.until_down(2, &["link"])?;
        plug_in(&net, &sticks[1], 2)?;
        pc1.until_up()?;
        assert!(!pc1.said().contains("somebody removed"), "{}", pc1.said());
        net.pc1.run("ip route flush table 4755")?;
        net.pc1.run("ip rule del priority 14752")?;
        until("back", || {
            let routes = net.pc1.run("ip route show table 4755").unwrap_or_default();
            let rules = net.pc1.run("ip rule show priority 14752")?;
            Ok(routes.lines().count() == 2 && rules.lines().count() == 2)
        })?;
        pc1.until_up()?;
        assert!(pc1.end(Signal::TERM)?.success(), "{}", pc1.said());
        // The stick that was plugged in anew comes last in lists.
        let sorted = |text: String| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(state(&net)?), sorted(before));

        let before = state(&net)?;
        Mpt::start(&net.pc1, &client(Some("192.168.8.7")))?.end(Signal::KILL)?;
        let mut pc1 = Mpt::start(&net.pc1, &client(Some(ROUTER)))?;
        pc1.until_up()?;
        pc1.end(Signal::KILL)?;
        let said = done(&net.pc1, &format!("clean {DEVICE}"), "")?;
        assert!(said.contains("removed: route default via 192.168.8.1 dev usb2 table 4755"), "{said}");
        assert_eq!(state(&net)?, before);
        Ok(())
    });
}

#[test]
fn a_device_without_a_route_to_the_peer_is_named_with_the_remedy() {
    bench::test(&[Tool::Nft], || {
        let (net, _) = build()?;
        let _server = start_server(&net)?;
        net.pc1.run(&format!("ip route add default via {ROUTER} dev usb1"))?;
        // As networkd has it, told not to make a route of it.
        let index = net.pc1.run("cat /sys/class/net/usb2/ifindex")?;
        fs::create_dir_all("/run/systemd/netif/leases")?;
        fs::write(format!("/run/systemd/netif/leases/{}", index.trim()), format!("ROUTER={ROUTER}\n"))?;
        let pc1 = Mpt::start(&net.pc1, &client(None))?;
        pc1.until("path 1 up", |c| c.paths[0].state == port_linux::report::State::Up)?;
        let said = pc1.said();
        assert!(
            said.contains("path path2: there is no route to 198.18.2.1 through usb2")
                && said.contains("give the path gateway = \"192.168.8.1\""),
            "{said}"
        );
        assert!(!said.contains("path path1: there is no route"), "{said}");
        pc1.until_down(2, &["silent", "unheard"])?;
        Ok(())
    });
}

#[test]
fn a_device_with_a_router_may_be_named_by_an_alternative_name() {
    bench::test(&[Tool::Nft], || {
        let (net, _) = build()?;
        let _server = start_server(&net)?;
        net.pc1.run("ip link property add dev usb2 altname enx2")?;
        let before = state(&net)?;
        let mut pc1 = Mpt::start(&net.pc1, &client(Some(ROUTER)).path(2, "device", "enx2"))?;
        pc1.until_up()?;
        // The other one is known again as it is.
        net.pc1.run("ip route del table 4755 default dev usb1")?;
        until("back", || Ok(net.pc1.run("ip route show table 4755")?.lines().count() == 2))?;
        assert!(!pc1.said().contains("somebody removed"), "{}", pc1.said());
        assert!(pc1.end(Signal::TERM)?.success(), "{}", pc1.said());
        assert_eq!(state(&net)?, before);
        Ok(())
    });
}

/// The sticks carry paths by themselves, with these keys of `[[connection]]` and networks.
fn carry_by_themselves(
    net: &Topology,
    sticks: &[Host],
    change: impl Fn(Settings) -> Settings,
) -> anyhow::Result<()> {
    net.pc2.run("ip address add 198.51.100.7/32 dev lo")?;
    for (number, stick) in (1..).zip(sticks) {
        stick.run(&format!("ip route add default via 198.18.{number}.1 dev wan"))?;
    }
    let server = [1, 2].into_iter().fold(Settings::new(Side::Pc2, Stack::V4OverV4, 2), |settings, number| {
        settings.path(number, "local", "198.51.100.7").path(number, "remote", "0.0.0.0")
    });
    let _server = Mpt::start(&net.pc2, &server)?;
    let client = Settings::new(Side::Pc1, Stack::V4OverV4, 2)
        .without_path(2)
        .without_path(1)
        .connection("paths", "auto")
        .connection("remote", vec!["198.51.100.7"])
        .connection("policy", "weighted");
    let pc1 = Mpt::start(&net.pc1, &change(client))?;
    let before = pc1.until("both sticks", |c| {
        let names: Vec<&str> = c.paths.iter().map(|path| path.name.as_str()).collect();
        names == ["usb1", "usb2"] && c.paths.iter().all(|path| path.state == State::Up)
    })?;
    all_pass(&net.pc1, Side::Pc2.tunnel_address(Version::V4), 100, "")?;
    let sent = sent_by_path(&before, &pc1.connection()?);
    assert!(sent.iter().all(|bytes| *bytes > 2000), "{sent:?}");
    Ok(())
}

#[test]
fn two_sticks_carry_paths_by_themselves_where_each_gave_the_host_a_default_route() {
    bench::test(&[Tool::Nft, Tool::Ping], || {
        let (net, sticks) = build()?;
        // As NetworkManager and systemd-networkd do it.
        for number in [1, 2] {
            net.pc1
                .run(&format!("ip route add default via {ROUTER} dev usb{number} metric {}", 100 + number))?;
        }
        carry_by_themselves(&net, &sticks, |settings| settings)
    });
}

#[test]
fn and_where_dhclient_made_a_route_for_the_first_alone() {
    bench::test(&[Tool::Nft, Tool::Ping], || {
        let (net, sticks) = build()?;
        net.pc1.run(&format!("ip route add default via {ROUTER} dev usb1"))?;
        host::run(Command::new("mount").args(["-t", "tmpfs", "none", "/var/lib"]))?;
        fs::create_dir("/var/lib/dhcp")?;
        for number in [1, 2] {
            let lease = format!(
                "lease {{\n  interface \"usb{number}\";\n  fixed-address {OURS};\n  option routers {ROUTER};\n}}\n"
            );
            fs::write(format!("/var/lib/dhcp/dhclient.usb{number}.leases"), lease)?;
        }
        // With a default route through the tunnel there is the mark that a gateway of a path needs.
        carry_by_themselves(&net, &sticks, |settings| settings.network("0.0.0.0/0"))
    });
}
