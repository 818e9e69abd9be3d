//! Default routes through the tunnel: everything of a host takes it, beside whatever default routes there are; nothing is
//! left behind, and with a kill switch nothing leaves past it.

mod direct;
mod dns;
mod lan;
mod mss;
mod sticks;

pub(crate) use dns::install;
pub(crate) use lan::without;

use std::fs;
use std::net::IpAddr;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use mpt_lab::host::{self, Host};
use mpt_lab::stack::Stack;
use mpt_lab::topology::{Side, Topology};
use rustix::process::Signal;
use toml::{Table, Value};

use crate::bench::{
    self, DEVICE, DIRECTORY, Mpt, PATIENCE, Settings, complains, complaint, done, mpt_on, printed, refused,
    until, wire,
};
use crate::programs::{Tool, all_pass};

/// The only address of the server, which PC2 is: PC1 reaches it by its default routes.
const SERVER: &str = "198.51.100.7";

/// A host of the Internet, behind the server.
const INTERNET: [&str; 2] = ["203.0.113.9", "2001:db8:9::9"];

/// PC1 with two links and a default route through each, of metric 0 and 100, and one for IPv6 as router advertisements make
/// them; behind PC2 a host of the Internet, which can be reached past the tunnel as well.
struct World {
    net: Topology,
    internet: Host,
}

impl World {
    fn build() -> anyhow::Result<Self> {
        let net = Topology::build(2, None)?;
        let internet = Host::create("internet")?;
        let (pc1, pc2) = (&net.pc1, &net.pc2);
        pc2.run(&format!("ip address add {SERVER}/32 dev lo"))?;
        let (v4, v6) = (format!("{}/24", INTERNET[0]), format!("{}/64", INTERNET[1]));
        wire([(pc2, "wan", &["203.0.113.1/24", "2001:db8:9::1/64"]), (&internet, "eth0", &[&v4, &v6])])?;
        internet.run("ip route add default via 203.0.113.1")?;
        internet.run("ip route add default via 2001:db8:9::1")?;
        for (key, value) in [("ipv4.ip_forward", "1"), ("ipv6.conf.all.forwarding", "1")] {
            pc2.sysctl(&format!("net.{key}"), value)?;
        }
        for host in [pc1, pc2] {
            for name in ["all", "eth1", "eth2"] {
                host.sysctl(&format!("net.ipv4.conf.{name}.rp_filter"), "0")?;
            }
        }
        let world = Self { net, internet };
        world.add_default_routes()?;
        // Every packet to the host of the Internet that does not take the tunnel is counted.
        world.pc1("nft add table inet past")?;
        world.pc1("nft add chain inet past out { type filter hook postrouting priority 0 ; }")?;
        for (family, to) in [("ip", INTERNET[0]), ("ip6", INTERNET[1])] {
            world.pc1(&format!(
                "nft add rule inet past out oifname != {DEVICE} {family} daddr {to} counter"
            ))?;
        }
        Ok(world)
    }

    /// Runs a command line on PC1.
    fn pc1(&self, line: &str) -> anyhow::Result<String> {
        self.net.pc1.run(line)
    }

    fn add_default_routes(&self) -> anyhow::Result<()> {
        self.pc1("ip route add default via 172.16.1.20 dev eth1")?;
        self.pc1("ip route add default via 172.16.2.20 dev eth2 metric 100")?;
        self.pc1("ip route add default via 2001:db8:acad:1::20 dev eth1 proto ra metric 1024")?;
        Ok(())
    }

    /// Everything of PC1 that mpt could change.
    fn state(&self) -> anyhow::Result<String> {
        let rules = self.pc1("ip -4 rule")? + &self.pc1("ip -6 rule")?;
        let addresses = self.pc1("ip -brief address show scope global")?;
        let tables = self.pc1("nft --stateless list ruleset")?;
        let settings = self.pc1("sysctl --all --ignore --pattern forward|accept_ra$|accept_redirects")?;
        Ok(format!("{addresses}{rules}{}{tables}{settings}", bench::routes(&self.net.pc1)?))
    }

    /// Packets to the host of the Internet that have left PC1 past the tunnel.
    fn past_the_tunnel(&self) -> anyhow::Result<u64> {
        let rules = self.pc1("nft list table inet past")?;
        let counts = rules.split("packets ").skip(1).filter_map(|rest| rest.split(' ').next());
        let counts: Vec<u64> = counts.map(str::parse).collect::<Result<_, _>>()?;
        ensure!(counts.len() == 2, "{rules}");
        Ok(counts.iter().sum())
    }

    /// The way that a packet of PC1 would take.
    fn way(&self, to: &str) -> anyhow::Result<String> {
        self.pc1(&format!("ip route get {to}"))
    }

    /// Whether there is no way to the Internet.
    fn is_cut_off(&self) -> bool {
        INTERNET.iter().all(|to| self.way(to).map_or(true, |way| way.contains("unreachable")))
    }

    /// PC2's end, which knows PC1's links by their addresses.
    fn start_server(&self) -> anyhow::Result<Mpt> {
        let settings = Settings::new(Side::Pc2, Stack::V4OverV4, 2).network("192.168.6.0/24");
        Mpt::start(&self.net.pc2, &settings.path(1, "local", SERVER).path(2, "local", SERVER))
    }

    /// PC1's end, once all paths are up.
    fn start_client(&self, settings: &Settings) -> anyhow::Result<Mpt> {
        let client = Mpt::start(&self.net.pc1, settings)?;
        client.until_up()?;
        Ok(client)
    }

    /// `mpt clean` on PC1; returns what it prints.
    fn clean(&self, arguments: &str) -> anyhow::Result<String> {
        done(&self.net.pc1, &format!("clean {arguments}"), "")
    }

    /// The same as the service does after a crash.
    fn clean_after_crash(&self) -> anyhow::Result<String> {
        let mut command = mpt_on(&self.net.pc1, &format!("clean -c {DIRECTORY}/PC1.toml"));
        printed(&command.env("SERVICE_RESULT", "signal").output()?)
    }

    /// Both versions of the host of the Internet answer PC1.
    fn reaches_the_internet(&self) -> anyhow::Result<()> {
        reaches_the_internet(&self.net.pc1, 10)
    }
}

/// Both versions of the host of the Internet answer a host: all of this many echo requests each.
fn reaches_the_internet(from: &Host, count: u32) -> anyhow::Result<()> {
    INTERNET.iter().try_for_each(|to| all_pass(from, to.parse()?, count, ""))
}

/// PC1's configuration, with these networks behind the peer. The first path has no device: it is the mark alone that keeps its
/// datagrams out of the tunnel.
fn client_with(networks: &[(&str, Option<&str>)]) -> Settings {
    let network = |(to, from): &(&str, Option<&str>)| {
        let from = from.map(|from| ("from".to_owned(), Value::from(from)));
        Value::Table(Table::from_iter([("to".to_owned(), Value::from(*to))].into_iter().chain(from)))
    };
    Settings::new(Side::Pc1, Stack::V4OverV4, 2)
        .connection("network", networks.iter().map(network).collect::<Vec<_>>())
        .path(1, "remote", SERVER)
        .path(2, "remote", SERVER)
        .path(2, "device", "eth2")
        .path(2, "local", "0.0.0.0")
}

fn client() -> Settings {
    client_with(&[("0.0.0.0/0", None), ("::/0", None)])
}

#[test]
fn everything_takes_the_tunnel_beside_default_routes_of_any_metric_and_nothing_is_left() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::build()?;
        let (before, main) = (world.state()?, world.pc1("ip route")?);
        let _server = world.start_server()?;
        let mut client = world.start_client(&client())?;

        world.reaches_the_internet()?;

        assert_eq!(world.past_the_tunnel()?, 0);
        let carried = client.connection()?;
        assert!(carried.paths.iter().all(|path| path.tx_bytes > 0), "{carried:#?}");
        for to in INTERNET {
            assert!(world.way(to)?.contains("dev tun0"), "{}", world.way(to)?);
        }
        assert!(world.way("172.16.2.20")?.contains("dev eth2"), "local networks stay local");
        assert!(world.way(&format!("{SERVER} mark 0x4754"))?.contains("dev eth1"));
        let routes = world.pc1("ip route")?;
        let others: String =
            routes.lines().filter(|line| !line.contains(DEVICE)).map(|l| format!("{l}\n")).collect();
        assert_eq!(others, main, "the main table is the host's own");

        // Without a default route there is no way to the server: the tunnel is none. (A path with a device takes all hosts to
        // be on the link then, as the kernel does.)
        for device in ["eth1", "eth2"] {
            world.pc1(&format!("ip -4 route del default dev {device}"))?;
        }
        client.until_down(1, &["link"])?;
        world.pc1("ip -6 route del default dev eth1")?;
        world.add_default_routes()?;
        client.until_up()?;
        world.reaches_the_internet()?;
        assert_eq!(world.past_the_tunnel()?, 0);

        assert!(client.end(Signal::TERM)?.success(), "{}", client.said());
        assert_eq!(world.state()?, before);
        Ok(())
    });
}

#[test]
fn a_terminal_that_is_closed_ends_mpt_which_leaves_nothing() {
    bench::test(&[Tool::Nft, Tool::Script], || {
        let world = World::build()?;
        let before = world.state()?;
        let mut client = Mpt::start_on_a_terminal(&world.net.pc1, &client())?;
        until("there", || {
            let rules = [world.pc1("ip -4 rule")?, world.pc1("ip -6 rule")?];
            Ok(rules.iter().all(|rules| rules.contains("lookup 4754")))
        })?;

        client.end(Signal::KILL)?;

        until("as before", || Ok(world.state()? == before))?;
        assert!(!client.control().exists(), "the socket is removed, too");
        Ok(())
    });
}

#[test]
fn what_a_killed_end_leaves_is_removed_by_clean_or_taken_over_by_the_next_start() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::build()?;
        let before = world.state()?;
        let _server = world.start_server()?;
        let mut client = world.start_client(&client())?;
        let during = world.state()?;
        let of_file = format!("-c {DIRECTORY}/PC1.toml");
        for arguments in [DEVICE, &of_file] {
            let said = complains(&world.net.pc1, &format!("clean {arguments}"), "", 1)?;
            assert!(said.contains("the interface tun0 exists: an mpt is running"), "{said}");
        }
        assert_eq!(world.state()?, during);

        client.end(Signal::KILL)?;
        assert_ne!(world.state()?, before, "rules outlive the process");
        assert!(
            world.way(INTERNET[0])?.contains("dev eth1"),
            "without a kill switch there is a way past the tunnel"
        );
        let said = world.clean(&of_file)?;
        assert!(
            said.contains("removed: `ip -6 rule` 14755: not from all fwmark 0x4754 lookup 4754"),
            "{said}"
        );
        assert_eq!(world.state()?, before);
        assert_eq!(world.clean(DEVICE)?, "nothing of tun0 was left\n");

        world
            .start_client(&client_with(&[("0.0.0.0/0", None)]).tunnel("kill_switch", true))?
            .end(Signal::KILL)?;
        let mut client = world.start_client(&client_with(&[("::/0", None)]))?;
        let state = world.state()?;
        assert!(!state.contains("unreachable") && state.matches("lookup 4754").count() == 1, "{state}");
        assert!(client.end(Signal::TERM)?.success());
        assert_eq!(world.state()?, before);
        Ok(())
    });
}

#[test]
fn what_is_in_the_way_is_named_and_a_start_that_fails_changes_nothing() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::build()?;
        let cases = [
            ("ip rule add priority 14755 lookup main", "sudo ip -4 rule delete priority 14755"),
            (
                "ip -6 rule add priority 14754 from fd06::/64 lookup main",
                "sudo ip -6 rule delete priority 14754",
            ),
            ("ip route add 192.0.2.0/24 dev eth1 table 4754", "sudo ip -4 route flush table 4754"),
        ];
        for (line, remedy) in cases {
            world.pc1(line)?;
            let before = world.state()?;
            let said = complaint(&refused(&world.net.pc1, &client())?, 1)?;
            assert!(said.contains(remedy), "{said}");
            let checked = complains(&world.net.pc1, &format!("check {DIRECTORY}/PC1.toml"), "", 1)?;
            assert!(checked.contains(remedy), "{checked}");
            assert_eq!(world.state()?, before);
            world.pc1(remedy.strip_prefix("sudo ").context("a remedy")?)?;
        }

        // Found only when it is added, after addresses and other routes.
        world.pc1("ip route add 192.168.7.0/24 dev eth2")?;
        let before = world.state()?;
        let settings = client_with(&[("0.0.0.0/0", None), ("192.168.7.0/24", None)]);
        let said = complaint(&refused(&world.net.pc1, &settings)?, 1)?;
        assert!(said.contains("`ip -4 route show 192.168.7.0/24` shows another one"), "{said}");
        assert_eq!(world.state()?, before);
        world.pc1("ip route del 192.168.7.0/24 dev eth2")?;

        // One tunnel of a host has the default route; the other one does not clean it away.
        let _server = world.start_server()?;
        let _client = world.start_client(&client())?;
        let before = world.state()?;
        let file = format!("{DIRECTORY}/second.toml");
        let second = client_with(&[("0.0.0.0/0", None)]).tunnel("name", "tun1").connection("port", 4999);
        fs::write(&file, second.text())?;
        let second = format!("run -c {file} --control /run/second.sock");
        let said = complains(&world.net.pc1, &second, "", 1)?;
        assert!(
            said.contains("the tunnel interface tun0 of another mpt has the default route already"),
            "{said}"
        );
        assert_eq!(world.clean("tun1")?, "nothing of tun1 was left\n");
        assert_eq!(world.state()?, before);
        world.reaches_the_internet()
    });
}

#[test]
fn what_somebody_flushes_comes_back_until_that_is_a_fight() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::build()?;
        let before = world.state()?;
        let _server = world.start_server()?;
        let mut client = world.start_client(&client_with(&[
            ("0.0.0.0/0", None),
            ("::/0", None),
            ("192.168.7.0/24", None),
        ]))?;
        // Lists have the order in which things came.
        let state = || -> anyhow::Result<Vec<String>> {
            let mut lines: Vec<String> = world.state()?.lines().map(str::to_owned).collect();
            lines.sort();
            Ok(lines)
        };
        let during = state()?;

        // By one shell: what comes in more than a second is a repair of its own, and the third one would be the last.
        let flushes = [
            "ip address flush dev tun0 scope global",
            "ip -4 rule del priority 14754",
            "ip -6 rule del priority 14755",
            "ip -4 route flush table 4754",
            "ip -6 route flush table 4754",
        ];
        host::run(world.net.pc1.command("sh").args(["-c", &flushes.join(" && ")]))?;
        until("all back", || Ok(state()? == during))?;
        world.reaches_the_internet()?;
        let lines = client.said().lines().filter(|line| line.contains("mpt put back")).count();
        assert!((1..=2).contains(&lines), "{}", client.said());

        // Also what the kernel has added by itself.
        world.pc1("ip -4 route flush dev tun0")?;
        until("back", || Ok(state()?.len() == during.len()))?;
        world.reaches_the_internet()?;
        world.pc1("ip link set tun0 down")?;
        until("up again", || Ok(state()?.len() == during.len()))?;
        world.reaches_the_internet()?;

        for _ in 0..2 {
            if client.said().contains("are not put back any more") {
                break;
            }
            world.pc1("ip -4 rule del priority 14755")?;
            until("back", || Ok(world.pc1("ip -4 rule")?.contains("14755:")))?;
        }
        until("given up", || Ok(client.said().contains("are not put back any more")))?;
        world.pc1("ip -4 rule del priority 14755")?;
        thread::sleep(Duration::from_secs(2));
        assert!(!world.pc1("ip -4 rule")?.contains("14755:"));

        assert!(client.end(Signal::TERM)?.success(), "{}", client.said());
        assert_eq!(world.state()?, before);
        Ok(())
    });
}

#[test]
fn a_route_that_somebody_took_over_does_not_keep_the_rest_from_coming_back() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::build()?;
        let _server = world.start_server()?;
        let client = world.start_client(&client_with(&[("0.0.0.0/0", None), ("192.168.7.0/24", None)]))?;
        world.pc1("ip route del 192.168.7.0/24 dev tun0")?;
        world.pc1("ip route add 192.168.7.0/24 dev eth2")?;
        world.pc1("ip rule del priority 14755")?;

        until("back", || Ok(world.pc1("ip rule")?.contains("14755:")))?;

        until("told", || {
            Ok(client.said().contains("what mpt cannot put back: cannot set the route to 192.168.7.0/24"))
        })?;
        assert!(world.way("192.168.7.1")?.contains("dev eth2"), "it is theirs");
        Ok(())
    });
}

#[test]
fn with_a_kill_switch_nothing_leaves_past_the_tunnel_while_mpt_is_dead() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::build()?;
        let before = world.state()?;
        let settings = client().tunnel("kill_switch", true);
        let _server = world.start_server()?;
        let mut client = world.start_client(&settings)?;
        let to: IpAddr = INTERNET[0].parse()?;
        let mut pings = Vec::new();
        for to in INTERNET {
            let mut command = world.net.pc1.command("ping");
            command
                .args(["-q", "-n", "-i", "0.02", "-c", "150", to])
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            pings.push(world.net.pc1.spawn(&mut command)?);
        }

        client.end(Signal::KILL)?;
        assert!(world.is_cut_off());
        assert!(world.way("172.16.1.20")?.contains("dev eth1"), "local networks are still reached");
        assert!(world.clean_after_crash()?.contains("the kill switch of tun0 stays in place"));
        assert!(world.is_cut_off());
        let mut client = world.start_client(&settings)?;
        for ping in &mut pings {
            ping.wait(PATIENCE)?.context("ping does not end")?;
        }
        world.reaches_the_internet()?;
        assert_eq!(world.past_the_tunnel()?, 0);
        assert!(client.end(Signal::TERM)?.success());
        assert_eq!(world.state()?, before, "a stop that was asked for leaves nothing");

        world.start_client(&settings)?.end(Signal::KILL)?;
        world.clean(DEVICE)?;
        assert_eq!(world.state()?, before);
        all_pass(&world.net.pc1, to, 5, "")?;
        assert_eq!(world.past_the_tunnel()?, 5, "the counter counts");
        Ok(())
    });
}

#[test]
fn a_default_route_for_a_lan_leaves_the_routers_own_packets_as_they_are() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::build()?;
        world.net.pc1.sysctl("net.ipv4.ip_forward", "1")?;
        let before = world.state()?;
        let lan = Host::create("lan")?;
        let router = &world.net.pc1;
        wire([(router, "lan", &["192.168.6.1/24"]), (&lan, "eth0", &["192.168.6.2/24"])])?;
        lan.run("ip route add default via 192.168.6.1")?;
        let _server = world.start_server()?;
        let mut client = world.start_client(&client_with(&[("0.0.0.0/0", Some("192.168.6.0/24"))]))?;

        all_pass(&lan, INTERNET[0].parse()?, 10, "")?;
        assert_eq!(world.past_the_tunnel()?, 0);
        let near = world.way("172.16.1.20 from 192.168.6.2 iif lan")?;
        assert!(near.contains("dev eth1"), "narrower routes come first: {near}");
        all_pass(router, INTERNET[0].parse()?, 5, "")?;
        assert_eq!(world.past_the_tunnel()?, 5);

        assert!(client.end(Signal::TERM)?.success());
        router.run("ip link del lan")?;
        assert_eq!(world.state()?, before);
        Ok(())
    });
}

#[test]
fn a_link_where_the_kernel_drops_what_the_peer_sends_is_named_with_the_remedy() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::build()?;
        let _server = world.start_server()?;
        world.net.pc1.sysctl("net.ipv4.conf.eth2.rp_filter", "1")?;
        let client = Mpt::start(&world.net.pc1, &client())?;
        let said = client.said();
        assert!(
            said.contains("path path2") && said.contains("sudo sysctl net.ipv4.conf.eth2.rp_filter=2"),
            "{said}"
        );
        assert!(!said.contains("eth1.rp_filter"), "{said}");
        client.until_down(2, &["silent", "unheard"])?;

        world.net.pc1.sysctl("net.ipv4.conf.eth2.rp_filter", "2")?;
        client.until_up()?;
        Ok(())
    });
}
