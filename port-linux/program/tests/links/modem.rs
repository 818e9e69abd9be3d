//! A wire that stays, and a modem that does not.
//!
//! The modem's carrier gives the Pi a private address and the world a public one, as mobile networks do; it is a
//! host of its own that rewrites addresses without keeping state.

use std::fs;
use std::net::Shutdown;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mpt_lab::host::{Host, run};
use mpt_lab::topology::Topology;
use serde_json::Value;

use crate::mpt::{MPT, Mpt, seal};
use crate::test;

const PC1: &str = r#"
[tunnel]
address = ["10.0.0.1/24"]
[[connection]]
name = "pc2"
peer = ["10.0.0.2"]
liveness = "lab"
[[connection.path]]
name = "wire"
local = "172.16.1.10"
remote = "172.16.1.20"
[[connection.path]]
name = "modem"
device = "usb0"
local = "0.0.0.0"
remote = "198.51.100.20"
"#;

const PC2: &str = r#"
[tunnel]
address = ["10.0.0.2/24"]
[[connection]]
name = "pc1"
peer = ["10.0.0.1"]
liveness = "lab"
[[connection.path]]
name = "wire"
local = "172.16.1.20"
remote = "172.16.1.10"
[[connection.path]]
name = "modem"
local = "198.51.100.20"
remote = "198.51.100.1"
mtu = 1400
"#;

/// PC1 and PC2 with a wire between them, and a carrier that reaches PC2.
struct World {
    net: Topology,
    carrier: Host,
}

impl World {
    fn build() -> Result<Self> {
        let world = Self { net: Topology::build(1, None)?, carrier: Host::create("CARRIER")? };
        let World { net, carrier } = &world;
        carrier.run("ip link add net0 type veth peer name eth9 netns PC2")?;
        carrier.run("ip address add 198.51.100.1/24 dev net0")?;
        carrier.run("ip link set net0 up")?;
        carrier.sysctl("net.ipv4.ip_forward", "1")?;
        net.pc2.run("ip address add 198.51.100.20/24 dev eth9")?;
        net.pc2.run("ip link set eth9 up")?;
        Ok(world)
    }

    /// A modem is plugged in, and has no address yet.
    fn plug(&self, mtu: u32) -> Result<()> {
        self.net
            .pc1
            .run(&format!("ip link add usb0 mtu {mtu} type veth peer name air0 mtu {mtu} netns CARRIER"))?;
        self.net.pc1.run("ip link set usb0 up")?;
        self.carrier.run("ip link set air0 up").map(drop)
    }

    /// The carrier gives the modem an address.
    fn give_address(&self, subnet: u8) -> Result<()> {
        self.carrier.run(&format!("ip address add 10.64.{subnet}.1/24 dev air0"))?;
        let rules = format!(
            "table ip carrier\ndelete table ip carrier\ntable ip carrier {{\n\
             chain up {{ type filter hook postrouting priority 0; oif net0 ip saddr set 198.51.100.1; }}\n\
             chain down {{ type filter hook prerouting priority -300; iif net0 udp dport 4754 \
             ip daddr set 10.64.{subnet}.9; }}\n}}\n"
        );
        fs::write("/run/carrier.nft", rules)?;
        self.carrier.run("nft -f /run/carrier.nft")?;
        self.net.pc1.run(&format!("ip address add 10.64.{subnet}.9/24 dev usb0"))?;
        self.net.pc1.run(&format!("ip route replace default via 10.64.{subnet}.1 dev usb0")).map(drop)
    }

    /// The carrier takes an address away.
    fn take_address(&self, subnet: u8) -> Result<()> {
        self.net.pc1.run(&format!("ip address delete 10.64.{subnet}.9/24 dev usb0"))?;
        self.carrier.run(&format!("ip address delete 10.64.{subnet}.1/24 dev air0")).map(drop)
    }

    fn unplug(&self) -> Result<()> {
        self.net.pc1.run("ip link delete usb0").map(drop)
    }

    fn ping(&self, arguments: &str) -> Result<String> {
        self.net.pc1.run(&format!("ping -c 3 -i 0.05 -W 2 {arguments} 10.0.0.2"))
    }
}

#[test]
fn a_path_waits_for_its_modem_and_follows_it_through_its_life() {
    test(&["ping", "nft"], || {
        let world = World::build()?;
        let mut pc1 = Mpt::start(&world.net.pc1, PC1)?;
        let mut pc2 = Mpt::start(&world.net.pc2, PC2)?;

        // Not there at the start: the other path carries.
        pc1.wait_until("wire", "up")?;
        ensure!(pc1.path("modem")?["reason"] == "link", "{}", pc1.said());
        ensure!(pc1.said().contains("path modem of pc2 waits: there is no interface usb0"), "{}", pc1.said());
        ensure!(pc1.path("modem")?["waits_for"] == "there is no interface usb0");
        let table = run(Command::new(MPT).args(["status", "--control"]).arg(&pc1.control))?;
        ensure!(table.contains("modem waits: there is no interface usb0"), "{table}");
        world.ping("")?;

        // Plugged in, with a smaller MTU than was planned for: no address, then one.
        world.plug(1400)?;
        pc1.wait_for("the wait for an address", |mpt| mpt.said().contains("usb0 has no address"))?;
        world.give_address(0)?;
        pc1.wait_until("modem", "up")?;
        pc2.wait_until("modem", "up")?;
        run(Command::new(MPT).args(["path", "down", "wire", "--control"]).arg(&pc1.control))?;
        world.ping("-s 1400").context("packets that were full before the MTU followed")?;
        ensure!(pc1.said().contains(&format!("mpt0 has MTU {} now", 1356 - seal())), "{}", pc1.said());
        ensure!(pc1.said().contains("has MTU 1400"), "{}", pc1.said());

        // Another address, after a while without one and then at once: the path goes on from it.
        world.take_address(0)?;
        pc1.wait_until("modem", "down")?;
        world.give_address(1)?;
        pc1.wait_until("modem", "up")?;
        world.give_address(2)?;
        world.take_address(1)?;
        pc1.wait_for("the new address", |mpt| {
            mpt.said().contains("path modem of pc2 has the address 10.64.2.9 now")
        })?;
        pc1.wait_until("modem", "up")?;
        pc2.wait_until("modem", "up")?;
        ensure!(pc1.path("modem")?["local"] == "10.64.2.9:4754", "{}", pc1.path("modem")?);
        let before = pc2.received("modem");
        world.ping("").context("through the new address")?;
        ensure!(pc2.received("modem") >= before + 3);
        run(Command::new(MPT).args(["path", "up", "wire", "--control"]).arg(&pc1.control))?;
        pc1.wait_until("wire", "up")?;

        // Switched off and on; gone and back as another interface.
        world.net.pc1.run("ip link set usb0 down")?;
        pc1.wait_until("modem", "down")?;
        world.net.pc1.run("ip link set usb0 up")?;
        world.net.pc1.run("ip route replace default via 10.64.2.1 dev usb0")?;
        pc1.wait_until("modem", "up")?;
        world.unplug()?;
        pc1.wait_until("modem", "down")?;
        world.ping("").context("by the wire")?;
        world.plug(1500)?;
        world.give_address(3)?;
        pc1.wait_until("modem", "up")?;
        pc2.wait_until("modem", "up")?;
        ensure!(pc1.running.stop()?.success() && pc2.running.stop()?.success());
        Ok(())
    });
}

#[test]
fn a_modem_that_vanishes_in_mid_transfer_ends_nothing() {
    test(&["iperf3", "nft"], || {
        let world = World::build()?;
        world.plug(1500)?;
        world.give_address(0)?;
        let mut pc1 = Mpt::start(&world.net.pc1, PC1)?;
        let _pc2 = Mpt::start(&world.net.pc2, PC2)?;
        pc1.wait_until("wire", "up")?;
        pc1.wait_until("modem", "up")?;
        let mut server = world.net.pc2.command("iperf3");
        let _server = world.net.pc2.spawn(server.args(["-s"]).stdout(Stdio::null()))?;
        sleep(Duration::from_millis(300));

        let mut client = world.net.pc1.command("iperf3");
        client.args(["-c", "10.0.0.2", "-t", "4", "-b", "50M", "--json"]);
        let mut client = client.stdout(Stdio::piped()).spawn()?;
        sleep(Duration::from_millis(1500));
        let on_modem = pc1.path("modem")?["tx_datagrams"].as_u64().unwrap_or(0);
        world.unplug()?;
        pc1.wait_until("modem", "down")?;
        let output = {
            let mut text = String::new();
            use std::io::Read;
            client.stdout.take().context("stdout")?.read_to_string(&mut text)?;
            ensure!(client.wait()?.success(), "iperf3 failed: {text}");
            text
        };

        ensure!(on_modem > 100, "the transfer used the modem before: {on_modem}");
        let report: Value = serde_json::from_str(&output)?;
        let last = report["intervals"].as_array().and_then(|all| all.last()).context("intervals")?;
        let rate = last["sum"]["bits_per_second"].as_f64().unwrap_or(0.0);
        ensure!(rate > 1e6, "the transfer went on by the wire, at {rate} bit/s");
        ensure!(pc1.said().contains("path modem of pc2 is down"), "{}", pc1.said());
        Ok(())
    });
}

#[test]
fn an_address_that_is_nowhere_is_refused_unless_the_path_names_a_device() {
    test(&[], || {
        let net = Topology::build(1, None)?;
        let config = |extra: &str| {
            format!(
                "{}\n[[connection.path]]\nname = \"x\"\nlocal = \"10.9.9.9\"\nremote = \"10.9.9.1\"\n{extra}",
                &PC1
            )
        };
        fs::write("/run/refused.toml", config(""))?;
        let output = net.pc1.command(MPT).args(["run", "-c", "/run/refused.toml"]).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "{said}");
        ensure!(said.contains("local = \"10.9.9.9\" is not an address of this machine"), "{said}");

        let mut waiting = Mpt::start(&net.pc1, &config("device = \"eth1\"\n"))?;
        waiting.wait_for("the wait", |mpt| {
            mpt.said().contains("path x of pc2 waits: the interface eth1 does not have the address 10.9.9.9")
        })?;
        net.pc1.run("ip address add 10.9.9.9/24 dev eth1")?;
        waiting.wait_for("the address", |mpt| mpt.path("x").is_ok_and(|path| path["reason"] == "unheard"))
    });
}

#[test]
fn two_addresses_whose_routes_share_a_link_are_called_out() {
    test(&[], || {
        let net = Topology::build(2, None)?;
        net.pc1.run("ip route add default via 172.16.1.20 dev eth1")?;
        let far = PC1.replace("name = \"wire\"", "name = \"near\"").replace("172.16.1.20", "198.51.100.9")
            + "[[connection.path]]\nname = \"lost\"\nlocal = \"172.16.2.10\"\nremote = \"198.51.100.9\"\n";
        let mpt = Mpt::start(&net.pc1, &far)?;
        let said = mpt.said();
        ensure!(said.contains("path lost: datagrams from 172.16.2.10 leave through eth1"), "{said}");
        ensure!(said.contains("device = \"eth2\"") && !said.contains("path near: datagrams"), "{said}");
        Ok(())
    });
}

#[test]
fn systemd_is_told_that_the_tunnel_is_up_how_it_does_and_that_it_lives() {
    test(&[], || {
        let net = Topology::build(1, None)?;
        let socket = UnixDatagram::bind("/run/notify")?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut mpt = Mpt::start_with(&net.pc1, PC1, |command| {
            command.env("NOTIFY_SOCKET", "/run/notify").env("WATCHDOG_USEC", "200000");
        })?;
        let mut heard = Vec::new();
        let mut buffer = [0; 512];
        while heard.iter().filter(|line: &&String| *line == "WATCHDOG=1").count() < 3 {
            let len = socket.recv(&mut buffer).context("a sign of life")?;
            heard.extend(String::from_utf8_lossy(&buffer[..len]).lines().map(str::to_owned));
        }
        ensure!(heard.contains(&"READY=1".to_owned()), "{heard:?}");
        ensure!(heard.contains(&"STATUS=0 of 2 paths are up".to_owned()), "{heard:?}");

        mpt.running.stop()?;
        socket.shutdown(Shutdown::Write)?;
        while !heard.contains(&"STOPPING=1".to_owned()) {
            let len = socket.recv(&mut buffer).context("the end")?;
            heard.extend(String::from_utf8_lossy(&buffer[..len]).lines().map(str::to_owned));
        }
        Ok(())
    });
}

/// Bob's public key, RFC 7748 section 6.1.
const SOMEBODY: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";

#[test]
fn what_init_drafts_is_accepted_and_runs() {
    test(&[], || {
        let net = Topology::build(2, None)?;
        net.pc1.run("ip link add br0 type bridge")?;
        net.pc1.run("ip address add 10.77.0.1/24 dev br0")?;
        net.pc1.run("ip link set br0 up")?;
        let mut init = net.pc1.command(MPT);
        init.args(["init", "--remote", "172.16.1.20", "--public-key", SOMEBODY, "-o", "/run/drafted.toml"]);
        let drafted = init.output()?;
        let said = String::from_utf8_lossy(&drafted.stderr).into_owned();
        ensure!(drafted.status.success(), "{said}");
        ensure!(said.contains("no route to 172.16.1.20 through eth2") && !said.contains("eth1"), "{said}");
        let text = fs::read_to_string("/run/drafted.toml")?;
        run(Command::new(MPT).args(["check", "/run/drafted.toml"]))?;

        let mut mpt = Mpt::start(&net.pc1, &text)?;
        mpt.wait_for("both paths", |mpt| {
            ["eth1", "eth2"].iter().all(|name| mpt.path(name).is_ok_and(|path| path["reason"] == "unheard"))
        })?;
        ensure!(!text.contains("br0"), "{text}");
        Ok(())
    });
}

#[test]
fn init_calls_out_two_default_routes_through_one_link_and_the_link_still_gets_its_path() {
    test(&[], || {
        let net = Topology::build(2, None)?;
        net.pc1.run("ip route add default via 172.16.1.20 dev eth1 metric 1")?;
        net.pc1.run("ip route add default via 172.16.2.20 dev eth2 metric 2")?;
        let init = || net.pc1.command(MPT).args(["init", "--remote", "198.51.100.7"]).output();
        let said = String::from_utf8_lossy(&init()?.stderr).into_owned();
        ensure!(said.is_empty(), "one for each link is as it should be: {said}");

        net.pc1.run("ip route add default via 172.16.1.21 dev eth1 metric 3")?;
        let drafted = init()?;
        let (text, said) =
            (String::from_utf8(drafted.stdout)?, String::from_utf8_lossy(&drafted.stderr).into_owned());
        ensure!(drafted.status.success(), "{said}");
        ensure!(
            said.contains("two default routes go through eth1 (via 172.16.1.20 and via 172.16.1.21)"),
            "{said}"
        );
        ensure!(!said.contains("eth2"), "{said}");
        ensure!(text.contains("device = \"eth1\"") && text.contains("device = \"eth2\""), "{text}");
        Ok(())
    });
}
