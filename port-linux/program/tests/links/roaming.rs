//! A peer whose address is not known, or changes: behind a carrier's NAT, or on a link that gets another one; and
//! others who would like to be taken for it.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mpt_lab::host::{Host, Running};
use mpt_lab::stopwatch::Stopwatch;
use mpt_lab::topology::Topology;
use mpt_proto::Seq;
use mpt_proto::wire::control::{self, Features, Kind, Message};
use mpt_proto::wire::extension;
use mpt_proto::wire::gre::{self, Layout, Protocol};
use serde_json::Value;

use crate::mpt::{Mpt, is_sealed};
use crate::test;

/// The Pi: two links, and a server of which it knows the one address.
const PI: &str = r#"
security = "none"
[tunnel]
address = ["10.0.0.1/24"]
[[connection]]
name = "server"
peer = ["10.0.0.2"]
liveness = "lab"
[[connection.path]]
name = "dsl"
device = "eth1"
local = "0.0.0.0"
remote = "198.51.100.20"
[[connection.path]]
name = "modem"
device = "usb0"
local = "0.0.0.0"
remote = "198.51.100.20"
"#;

/// The server: one address, and a Pi whose addresses nobody knows.
const SERVER: &str = r#"
security = "none"
[tunnel]
address = ["10.0.0.2/24"]
[[connection]]
name = "pi"
peer = ["10.0.0.1"]
liveness = "lab"
[[connection.path]]
name = "dsl"
local = "198.51.100.20"
remote = "0.0.0.0"
[[connection.path]]
name = "modem"
local = "198.51.100.20"
remote = "0.0.0.0"
"#;

/// PC1 is the Pi, PC2 the server; the modem's carrier has a real NAT, or routes.
struct World {
    net: Topology,
    carrier: Host,
}

impl World {
    fn build() -> Result<Self> {
        let world = Self { net: Topology::build(1, None)?, carrier: Host::create("CARRIER")? };
        let World { net, carrier } = &world;
        for line in [
            "ip link add net0 type veth peer name eth9 netns PC2",
            "ip link add air0 type veth peer name usb0 netns PC1",
            "ip address add 198.51.100.1/24 dev net0",
            "ip address add 10.64.0.1/16 dev air0",
            "ip link set net0 up",
            "ip link set air0 up",
        ] {
            carrier.run(line)?;
        }
        carrier.sysctl("net.ipv4.ip_forward", "1")?;
        net.pc2.run("ip address add 198.51.100.20/24 dev eth9")?;
        net.pc2.run("ip link set eth9 up")?;
        net.pc2.run("ip route add 10.64.0.0/16 via 198.51.100.1")?;
        net.pc1.run("ip address add 10.64.0.9/16 dev usb0")?;
        net.pc1.run("ip link set usb0 up")?;
        net.pc1.run("ip route add default via 10.64.0.1 dev usb0")?;
        net.pc1.run("ip route add 198.51.100.20 dev eth1 metric 9")?;
        Ok(world)
    }

    /// The carrier hides its customers behind its address: an ordinary NAT, which remembers flows.
    fn masquerade(&self, ports: &str) -> Result<()> {
        let rules = format!(
            "table ip carrier\ndelete table ip carrier\ntable ip carrier {{\n\
             chain out {{ type nat hook postrouting priority 100; oif net0 meta l4proto udp masquerade to :{ports}; }}\n}}\n"
        );
        fs::write("/run/carrier.nft", rules)?;
        self.carrier.run("nft -f /run/carrier.nft").map(drop)
    }

    /// The DSL line of the Pi comes by the same carrier, as the interface usb1 with the address 10.65.0.9.
    fn second_customer(&self) -> Result<()> {
        for line in [
            "ip link add air1 type veth peer name usb1 netns PC1",
            "ip address add 10.65.0.1/16 dev air1",
            "ip link set air1 up",
        ] {
            self.carrier.run(line)?;
        }
        self.carrier.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
        self.net.pc1.run("ip address add 10.65.0.9/16 dev usb1")?;
        self.net.pc1.run("ip link set usb1 up")?;
        self.net.pc1.run("ip route add default via 10.65.0.1 dev usb1 metric 9")?;
        self.net.pc2.run("ip route add 198.51.100.9 via 198.51.100.1").map(drop)
    }

    /// The carrier has a NAT that knows no flows: it hands out these ports of 198.51.100.9, for usb0 and usb1.
    fn hand_out(&self, ports: [u16; 2]) -> Result<()> {
        let (mut out, mut back) = (String::new(), String::new());
        for (address, port) in ["10.64.0.9", "10.65.0.9"].into_iter().zip(ports) {
            out += &format!(
                "ip saddr {address} udp sport 4754 ip saddr set 198.51.100.9 udp sport set {port}\n"
            );
            back += &format!(
                "ip daddr 198.51.100.9 udp dport {port} ip daddr set {address} udp dport set 4754\n"
            );
        }
        let rules = format!(
            "table ip carrier\ndelete table ip carrier\ntable ip carrier {{\n\
             chain out {{ type filter hook postrouting priority 0; oif != net0 accept\n{out}}}\n\
             chain back {{ type filter hook prerouting priority -300; iif != net0 accept\n{back}}}\n}}\n"
        );
        fs::write("/run/carrier.nft", rules)?;
        self.carrier.run("nft -f /run/carrier.nft").map(drop)
    }

    /// The NAT gets another address. The kernel forgets the flows of a masquerade whose address goes.
    fn rebind(&self, from: &str, to: &str) -> Result<()> {
        self.carrier.run(&format!("ip address add {to}/24 dev net0"))?;
        self.carrier.run(&format!("ip address delete {from}/24 dev net0"))?;
        // The second address of a network goes with the first.
        let _ = self.carrier.run(&format!("ip address add {to}/24 dev net0"));
        Ok(())
    }

    /// Five seconds of TCP at 40 Mbit/s to the server, unless `reverse`.
    fn transfer(&self, reverse: bool) -> Result<(Running, Child)> {
        let mut server = self.net.pc2.command("iperf3");
        let server = self.net.pc2.spawn(server.args(["-s"]).stdout(Stdio::null()))?;
        sleep(Duration::from_millis(300));
        let mut client = self.net.pc1.command("iperf3");
        client.args(["-c", "10.0.0.2", "-t", "5", "-b", "40M", "--json"]);
        client.args(reverse.then_some("-R"));
        Ok((server, client.stdout(Stdio::piped()).spawn()?))
    }
}

fn remote(mpt: &Mpt, path: &str) -> Option<SocketAddr> {
    mpt.path(path).ok()?["remote"].as_str()?.parse().ok()
}

fn count(mpt: &Mpt, path: &str, what: &str) -> u64 {
    mpt.path(path).ok().and_then(|path| path["roaming"][what].as_u64()).unwrap_or(0)
}

fn is_at(mpt: &Mpt, path: &str, address: &str) -> bool {
    remote(mpt, path).map(|remote| remote.ip()) == address.parse::<IpAddr>().ok()
}

/// Checks that a transfer came to its end and that data still flowed in its last second.
fn finish(client: Child) -> Result<()> {
    let output = client.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "iperf3 failed: {text}");
    let report: Value = serde_json::from_str(&text)?;
    let last = report["intervals"].as_array().and_then(|all| all.last()).context("intervals")?;
    let rate = last["sum"]["bits_per_second"].as_f64().unwrap_or(0.0);
    ensure!(rate > 1e6, "the transfer went on, at {rate} bit/s");
    Ok(())
}

#[test]
fn a_server_finds_a_pi_behind_nats_and_follows_it_when_they_forget_it_in_mid_transfer() {
    test(&["iperf3", "nft"], || {
        let world = World::build()?;
        world.masquerade("40000-40010")?;
        let mut server = Mpt::start(&world.net.pc2, SERVER)?;
        ensure!(
            server.said().contains("path modem of pi waits: the peer, whose address is open"),
            "{}",
            server.said()
        );
        ensure!(server.path("dsl")?["remote"].is_null(), "{}", server.path("dsl")?);
        let mut pi = Mpt::start(&world.net.pc1, PI)?;

        // Both links come from other addresses to one socket, and are told apart.
        for path in ["dsl", "modem"] {
            pi.wait_until(path, "up")?;
            server.wait_until(path, "up")?;
        }
        ensure!(remote(&server, "dsl") == "172.16.1.10:4754".parse().ok(), "{}", server.path("dsl")?);
        ensure!(is_at(&server, "modem", "198.51.100.1"), "{}", server.path("modem")?);
        let port = remote(&server, "modem").context("a port")?.port();
        ensure!((40_000..=40_010).contains(&port), "{port}");

        for (reverse, from, to) in
            [(false, "198.51.100.1", "198.51.100.2"), (true, "198.51.100.2", "198.51.100.1")]
        {
            let (_iperf3, client) = world.transfer(reverse)?;
            sleep(Duration::from_millis(1500));
            let moves = count(&server, "modem", "moves");
            let changed = Stopwatch::start();
            world.rebind(from, to)?;
            server.wait_for("the new address", |server| is_at(server, "modem", to))?;
            eprintln!("followed to {to} within {} ms", changed.elapsed().as_millis());
            server.wait_until("modem", "up")?;
            pi.wait_until("modem", "up")?;
            let (sent, received) = (pi.received("modem"), server.received("modem"));
            finish(client)?;
            ensure!(
                pi.received("modem") > sent + 100 && server.received("modem") > received + 100,
                "it is used"
            );
            ensure!(count(&server, "modem", "moves") == moves + 1, "{}", server.path("modem")?);
        }
        ensure!(
            server.said().contains("path modem of pi: the peer is at 198.51.100.2:"),
            "{}",
            server.said()
        );
        let follows = !pi.path("modem")?["roaming"].is_null();
        ensure!(
            follows == is_sealed(),
            "the Pi was told where the server is: with keys it may move all the same"
        );
        Ok(())
    });
}

#[test]
fn a_nat_may_hand_out_the_ports_of_two_paths_the_other_way_round() {
    test(&["iperf3", "nft"], || {
        let world = World::build()?;
        world.second_customer()?;
        world.hand_out([5001, 5002])?;
        let mut server = Mpt::start(&world.net.pc2, SERVER)?;
        let mut pi = Mpt::start(&world.net.pc1, &PI.replace("eth1", "usb1"))?;
        for path in ["dsl", "modem"] {
            pi.wait_until(path, "up")?;
            server.wait_until(path, "up")?;
        }
        for (reverse, modem, dsl) in [(false, 5002, 5001), (true, 5001, 5002)] {
            let (_iperf3, client) = world.transfer(reverse)?;
            sleep(Duration::from_millis(1500));
            world.hand_out([modem, dsl])?;
            let changed = Stopwatch::start();
            server.wait_for("the other ports", |server| {
                [("modem", modem), ("dsl", dsl)]
                    .iter()
                    .all(|(path, port)| remote(server, path).is_some_and(|at| at.port() == *port))
            })?;
            eprintln!("followed within {} ms", changed.elapsed().as_millis());
            for path in ["dsl", "modem"] {
                pi.wait_until(path, "up")?;
                server.wait_until(path, "up")?;
            }
            finish(client)?;
        }
        Ok(())
    });
}

#[test]
fn a_pi_that_restarts_behind_a_nat_with_another_address_is_found_again() {
    test(&["ping", "nft"], || {
        let world = World::build()?;
        world.masquerade("40000-40010")?;
        let mut server = Mpt::start(&world.net.pc2, SERVER)?;
        let mut pi = Mpt::start(&world.net.pc1, PI)?;
        server.wait_until("modem", "up")?;
        server.wait_until("dsl", "up")?;
        ensure!(pi.running.stop()?.success());
        world.rebind("198.51.100.1", "198.51.100.2")?;
        server.wait_until("modem", "down")?;
        server.wait_until("dsl", "down")?;

        let mut pi = Mpt::start(&world.net.pc1, PI)?;
        for path in ["dsl", "modem"] {
            pi.wait_until(path, "up")?;
            server.wait_until(path, "up")?;
        }
        ensure!(is_at(&server, "modem", "198.51.100.2"), "{}", server.path("modem")?);
        world.net.pc1.run("ping -c 3 -i 0.05 -W 2 10.0.0.2").map(drop)
    });
}

#[test]
fn over_ipv6_a_peer_is_found_as_well_and_again_at_another_port() {
    test(&["ping"], || {
        let net = Topology::build(1, None)?;
        let config = |own: u8, other: u8, local: &str, remote: &str, port: u16| {
            format!(
                "security = \"none\"\n[tunnel]\naddress = [\"10.0.0.{own}/24\"]\n\
                 [[connection]]\nname = \"c\"\npeer = [\"10.0.0.{other}\"]\nliveness = \"lab\"\n[[connection.path]]\nname = \"p\"\nlocal = \"{local}\"\nremote = \"{remote}\"\n\
                 port = {port}\n"
            )
        };
        let (near, far) = ("2001:db8:acad:1::10", "2001:db8:acad:1::20");
        let mut server = Mpt::start(&net.pc2, &config(2, 1, far, "::", 4754))?;
        for port in [4754, 5000] {
            let mut client = Mpt::start(&net.pc1, &config(1, 2, near, far, port))?;
            client.wait_until("p", "up")?;
            server.wait_until("p", "up")?;
            ensure!(remote(&server, "p") == format!("[{near}]:{port}").parse().ok(), "{}", server.path("p")?);
            net.pc1.run("ping -c 3 -i 0.05 -W 2 10.0.0.2")?;
            ensure!(client.running.stop()?.success());
            server.wait_until("p", "down")?;
        }
        Ok(())
    });
}

#[test]
fn a_path_with_roaming_follows_an_interface_that_gets_another_address_in_mid_transfer() {
    test(&["iperf3"], || {
        let world = World::build()?;
        let known = SERVER.replacen("remote = \"0.0.0.0\"", "remote = \"172.16.1.10\"", 1);
        let known = known.replace("remote = \"0.0.0.0\"", "remote = \"10.64.0.9\"");
        let mut server = Mpt::start(&world.net.pc2, &format!("{known}roaming = true\n"))?;
        let mut pi = Mpt::start(&world.net.pc1, PI)?;
        server.wait_until("modem", "up")?;
        let (_iperf3, client) = world.transfer(false)?;
        sleep(Duration::from_millis(1500));

        let changed = Stopwatch::start();
        world.net.pc1.run("ip address add 10.64.7.9/16 dev usb0")?;
        world.net.pc1.run("ip address delete 10.64.0.9/16 dev usb0")?;
        let _ = world.net.pc1.run("ip address add 10.64.7.9/16 dev usb0");
        world.net.pc1.run("ip route replace default via 10.64.0.1 dev usb0")?;
        server.wait_for("the new address", |server| is_at(server, "modem", "10.64.7.9"))?;
        eprintln!("followed within {} ms", changed.elapsed().as_millis());
        pi.wait_until("modem", "up")?;
        server.wait_until("modem", "up")?;
        finish(client)?;
        ensure!(count(&server, "modem", "moves") == 1, "{}", server.path("modem")?);
        Ok(())
    });
}

#[test]
fn a_path_with_a_fixed_remote_stays_and_says_what_would_help() {
    test(&[], || {
        let world = World::build()?;
        let known = SERVER.replacen("remote = \"0.0.0.0\"", "remote = \"172.16.1.10\"", 1);
        let known = known.replace("remote = \"0.0.0.0\"", "remote = \"10.64.0.8\"");
        let mut server = Mpt::start_clear(&world.net.pc2, &known)?;
        let _pi = Mpt::start_clear(&world.net.pc1, PI)?;
        server.wait_until("dsl", "up")?;
        server.wait_for("the hint", |server| {
            server.said().contains("an mpt with the right key sends from 10.64.0.9:4754")
        })?;
        ensure!(server.path("modem")?["reason"] == "unheard", "{}", server.path("modem")?);
        ensure!(
            server.said().matches("an mpt with the right key sends from").count() == 1,
            "once: {}",
            server.said()
        );
        Ok(())
    });
}

/// Somebody who speaks the protocol, one message at a time.
struct Speaker {
    socket: UdpSocket,
    instance: u32,
    count: u32,
}

const INSTANCE: u32 = 0x600d_600d;
const KEYLESS: Layout = Layout { checksum: false, key: None, sequence: false };
const SERVER_ADDRESS: &str = "172.16.1.20:4754";

impl Speaker {
    fn new(host: &Host, address: &str, instance: u32) -> Result<Self> {
        let socket = host.inside(|| UdpSocket::bind(address))??;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Self { socket, instance, count: 0 })
    }

    fn message(&mut self, kind: Kind, stamp: u32) -> Vec<u8> {
        self.count += 1;
        let message = Message {
            kind,
            path: 0,
            hears: 1,
            instance: self.instance,
            count: Seq::from_u32(self.count),
            next: Seq::ZERO,
            stamp,
            arrived: None,
            features: Features::default(),
            mtu: 0,
            extension: None,
        };
        let mut datagram = vec![0; KEYLESS.header_len() + control::LEN];
        datagram[KEYLESS.header_len()..].copy_from_slice(&message.emit());
        KEYLESS.emit(&mut datagram, Protocol::Control, Seq::ZERO);
        datagram
    }

    fn send(&self, datagram: &[u8]) -> Result<()> {
        self.socket.send_to(datagram, SERVER_ADDRESS)?;
        Ok(())
    }

    fn probe(&mut self) -> Result<()> {
        let probe = self.message(Kind::Probe, 1);
        self.send(&probe)
    }

    /// The probes that have come, by their stamps.
    fn probes(&self) -> Vec<u32> {
        let mut buffer = [0; 2048];
        let mut stamps = Vec::new();
        while let Ok(len) = self.socket.recv(&mut buffer) {
            let header = gre::parse(&buffer[..len]).expect("mpt's own header");
            if extension::Header::is_there(&buffer[header.len..len]) {
                // For the one who was here before.
                continue;
            }
            let message = Message::parse(&buffer[header.len..len]).expect("mpt's own message");
            stamps.extend((message.kind == Kind::Probe).then_some(message.stamp));
        }
        stamps
    }

    /// Answers all that has come, `change`d.
    fn answer(&mut self, change: impl Fn(u32) -> u32) -> Result<usize> {
        let stamps = self.probes();
        for &stamp in &stamps {
            let echo = self.message(Kind::Echo, change(stamp));
            self.send(&echo)?;
        }
        Ok(stamps.len())
    }
}

#[test]
fn who_replays_guesses_or_only_claims_is_not_taken_for_the_peer() {
    test(&[], || {
        let net = Topology::build(1, None)?;
        net.pc1.run("ip address add 172.16.1.66/24 dev eth1")?;
        let config = "security = \"none\"\n[tunnel]\naddress = [\"10.0.0.2/24\"]\n\
                      [[connection]]\nname = \"pi\"\npeer = [\"10.0.0.1\"]\n[[connection.path]]\nname = \"p\"\nlocal = \"172.16.1.20\"\nremote = \"0.0.0.0\"\n";
        let server = Mpt::start_clear(&net.pc2, config)?;
        let mut peer = Speaker::new(&net.pc1, "172.16.1.10:4754", INSTANCE)?;
        let mut thief = Speaker::new(&net.pc1, "172.16.1.66:4754", INSTANCE)?;
        let at_peer = |server: &Mpt| is_at(server, "p", "172.16.1.10");
        let alive = |peer: &mut Speaker| -> Result<()> {
            peer.probe()?;
            peer.answer(|stamp| stamp)?;
            Ok(())
        };

        // A probe alone, and a wrong answer, prove nothing; the right answer does.
        peer.probe()?;
        ensure!(peer.answer(|stamp| stamp ^ 1)? == 1, "a challenge came");
        ensure!(remote(&server, "p").is_none(), "{}", server.path("p")?);
        peer.probe()?;
        // Also after the wrong answer, if that came late enough.
        ensure!((1..=2).contains(&peer.answer(|stamp| stamp)?), "it is repeated");
        sleep(Duration::from_millis(100));
        ensure!(at_peer(&server), "{}", server.path("p")?);
        alive(&mut peer)?;
        ensure!(server.path("p")?["state"] == "up", "{}", server.path("p")?);

        // Replayed from elsewhere: the thief has heard all, and answers with what the peer once answered.
        let recorded: Vec<Vec<u8>> =
            vec![peer.message(Kind::Probe, 1), peer.message(Kind::Echo, 7), peer.message(Kind::Echo, 8)];
        for datagram in &recorded {
            peer.send(datagram)?;
        }
        let since = Stopwatch::start();
        for _ in 0..15 {
            recorded.iter().try_for_each(|datagram| thief.send(datagram))?;
            alive(&mut peer)?;
        }
        let challenged = thief.probes().len();
        let most = since.elapsed().as_millis() / 100 + 2;
        ensure!((1..=most).contains(&(challenged as u128)), "{challenged} challenges instead of {most}");
        ensure!(at_peer(&server) && count(&server, "p", "moves") == 1, "{}", server.path("p")?);
        ensure!(count(&server, "p", "unproven") >= 1, "{}", server.path("p")?);

        // As another instance, from anywhere, while the peer lives: not even a challenge.
        let mut stranger = Speaker::new(&net.pc1, "172.16.1.66:5000", 0xbad_bad)?;
        stranger.probe()?;
        ensure!(stranger.answer(|stamp| stamp)? == 0);
        ensure!(at_peer(&server));

        // Who knows the instance and answers does not get the path while the peer answers, too.
        sleep(Duration::from_millis(1100));
        thief.count = peer.count;
        for _ in 0..10 {
            thief.probe()?;
            sleep(Duration::from_millis(20));
            peer.count = peer.count.max(thief.count);
            peer.answer(|stamp| stamp)?;
            thief.answer(|stamp| stamp)?;
            ensure!(at_peer(&server), "{}", server.path("p")?);
        }
        ensure!(count(&server, "p", "kept") >= 1, "{}", server.path("p")?);
        Ok(())
    });
}

#[test]
fn whose_address_is_forged_gets_no_more_than_was_sent_in_its_name() {
    test(&[], || {
        let net = Topology::build(1, None)?;
        let config = "security = \"none\"\n[tunnel]\naddress = [\"10.0.0.2/24\"]\n\
                      [[connection]]\nname = \"pi\"\npeer = [\"10.0.0.1\"]\n[[connection.path]]\nname = \"p\"\nlocal = \"172.16.1.20\"\nremote = \"0.0.0.0\"\n";
        let server = Mpt::start_clear(&net.pc2, config)?;
        // The victim never answers: what arrives is what somebody with its address in raw packets would bring on it.
        let mut victim = Speaker::new(&net.pc1, "172.16.1.10:53", INSTANCE)?;
        let (mut sent, mut received) = (0, 0);
        let mut buffer = [0; 2048];
        victim.socket.set_read_timeout(Some(Duration::from_millis(1)))?;
        let since = Stopwatch::start();
        for _ in 0..300 {
            let probe = victim.message(Kind::Probe, 1);
            victim.send(&probe)?;
            sent += probe.len();
            while let Ok(len) = victim.socket.recv(&mut buffer) {
                received += len;
            }
        }
        let most = since.elapsed().as_millis() / 100 + 2;
        ensure!(0 < received && received < sent, "{received} of {sent} bytes");
        ensure!(
            received as u128 <= most * (sent as u128 / 300),
            "{received} bytes, at most {most} challenges"
        );
        ensure!(remote(&server, "p").is_none(), "{}", server.path("p")?);
        Ok(())
    });
}
