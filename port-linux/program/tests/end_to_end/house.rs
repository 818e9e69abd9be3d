//! A house and a server, as people set them up: `mpt server setup`, `mpt peer add`, `mpt join`; then everything of the house
//! takes the tunnel, peers come and go while others notice nothing, and in the end both hosts are as they were.

mod forward;
mod limit;
mod refused;
mod shares;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use mpt_lab::host::{self, Host};
use mpt_lab::stopwatch::Stopwatch;
use mpt_lab::topology::Topology;
use port_linux::report::{ConnectionReport, State};
use rustix::process::Signal;

use crate::bench::{self, DIRECTORY, FAILED, MISCONFIGURED, Mpt, complains, done, routes, wire};
use crate::programs::{Background, Pings, Tool, all_pass, none_passes};

/// The only address of the server that the house knows.
const SERVER: &str = "8.8.4.1";
/// A host of the Internet, which the house reaches through the server only.
const INTERNET: &str = "8.8.9.9";

/// PC1 is the house, with a default route over each of two links; PC2 the server, with the Internet behind it.
struct World {
    net: Topology,
    internet: Host,
    /// Directories for the files of either.
    at_home: String,
    at_server: String,
}

impl World {
    fn build() -> anyhow::Result<Self> {
        let net = Topology::build(2, None)?;
        let internet = Host::create("internet")?;
        let (home, server) = (&net.pc1, &net.pc2);
        wire([(server, "wan", &["8.8.4.1/24"]), (&internet, "eth0", &["8.8.4.9/24"])])?;
        server.run("ip route add default via 8.8.4.9 dev wan")?;
        internet.run("ip address add 8.8.9.9/32 dev lo")?;
        for link in [1, 2] {
            home.run(&format!("ip route add default via 172.16.{link}.20 dev eth{link} metric {link}"))?;
        }
        let [at_home, at_server] = ["home", "server"].map(|name| format!("{DIRECTORY}/{name}"));
        for directory in [&at_home, &at_server] {
            fs::create_dir_all(directory)?;
        }
        Ok(Self { net, internet, at_home, at_server })
    }

    /// The same with the server's configuration.
    fn with_server() -> anyhow::Result<Self> {
        let world = Self::build()?;
        world.set_server_up()?;
        Ok(world)
    }

    /// `mpt server setup`; returns what it prints.
    fn set_server_up(&self) -> anyhow::Result<String> {
        done(&self.net.pc2, &format!("server setup --directory {} --no-start", self.at_server), "")
    }

    /// The server's configuration file.
    fn config(&self) -> String {
        format!("{}/server.toml", self.at_server)
    }

    /// A line of arguments for `mpt peer` on the server, which may run or not.
    fn peer_arguments(&self, arguments: &str) -> String {
        format!("peer {arguments} --config {} --control {DIRECTORY}/PC2.sock", self.config())
    }

    /// `mpt peer` with these arguments; returns what it prints.
    fn peer(&self, arguments: &str) -> anyhow::Result<String> {
        done(&self.net.pc2, &self.peer_arguments(arguments), "")
    }

    /// Starts the server.
    fn serve(&self) -> anyhow::Result<Mpt> {
        Mpt::with_config(&self.net.pc2, self.config())
    }

    /// The arguments of `mpt join` for the house.
    fn join_arguments(&self) -> String {
        format!("join --directory {} --no-start", self.at_home)
    }

    /// Has the house join the server with the line of `mpt peer add`, and starts it.
    fn join(&self, line: &str) -> anyhow::Result<Mpt> {
        done(&self.net.pc1, &self.join_arguments(), line)?;
        Mpt::with_config(&self.net.pc1, format!("{}/server.toml", self.at_home))
    }

    /// Another peer, which lives where the Internet host does and sends only these networks through the tunnel.
    fn join_boat(&self, through: &str) -> anyhow::Result<Mpt> {
        let line = self.peer(&format!("add boat --through {through}"))?;
        let at_boat = format!("{DIRECTORY}/boat");
        fs::create_dir_all(&at_boat)?;
        done(&self.internet, &format!("join --directory {at_boat} --no-start"), &line)?;
        let boat = Mpt::with_config(&self.internet, format!("{at_boat}/server.toml"))?;
        boat.until_up()?;
        Ok(boat)
    }

    /// Waits until the house, where this runs, has the Internet.
    fn until_online(&self, joined: &Mpt) -> anyhow::Result<()> {
        joined.until_around("the Internet", || self.is_online())
    }

    /// Whether a host of the Internet answers the house at once.
    fn is_online(&self) -> anyhow::Result<bool> {
        self.net.pc1.reaches(INTERNET.parse()?, Duration::from_millis(200))
    }

    /// What a host has of what mpt could change.
    fn state(host: &Host) -> anyhow::Result<String> {
        let rules = host.run("ip -4 rule")? + &host.run("ip -6 rule")? + &host.run("nft list ruleset")?;
        let forwarding = host.run("sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding")?;
        Ok(routes(host)? + &rules + &forwarding)
    }
}

#[test]
fn three_commands_bring_a_house_to_the_internet_and_leave_nothing_behind() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::build()?;
        let (home, server) = (&world.net.pc1, &world.net.pc2);
        let (at_home, at_server) = (&world.at_home, &world.at_server);
        let before = [World::state(home)?, World::state(server)?];

        let said = world.set_server_up()?;
        ensure!(said.contains(&format!("UDP port 4754 in, to {SERVER}")), "{said}");
        let again = world.set_server_up()?;
        ensure!(again.contains("nothing was changed"), "{again}");
        let mut serving = world.serve()?;
        let line = world.peer("add van")?;
        ensure!(line.starts_with("mpt1:") && line.trim().lines().count() == 1, "{line}");

        let mut joined = world.join(&line)?;
        world.until_online(&joined)?;
        all_pass(home, INTERNET.parse()?, 20, "")?;
        // The server hides the house: the Internet knows no way to it.
        ensure!(!world.internet.run("ip route")?.contains("default"), "or else the test shows nothing");
        let list = world.peer("list")?;
        ensure!(
            list.contains("connected") && list.contains("172.16.1.10") && list.contains("172.16.2.10"),
            "{list}"
        );

        // Another one comes and goes, and nothing is lost meanwhile.
        let pings = Background::start(home, INTERNET.parse()?, 300, "-i 0.01 -W 2")?;
        let other = world.peer("add boat --network 192.168.7.0/24")?;
        ensure!(
            server.run("ip route")?.contains("192.168.7.0/24 dev mpt0"),
            "no route to the network behind it"
        );
        // As an administrator does who edits files.
        fs::remove_file(format!("{at_server}/server.d/boat.toml"))?;
        serving.signal(Signal::HUP);
        serving.until_around("without the route to it", || {
            Ok(!server.run("ip route")?.contains("192.168.7.0/24"))
        })?;
        let pinged = pings.finish()?;
        ensure!(pinged == Pings { sent: 300, received: 300, copies: 0 }, "{pinged:?}");
        ensure!(other.starts_with("mpt1:") && other != line, "{other}");

        // New keys lock the old ones out.
        let shown = world.peer("renew van --qr")?;
        ensure!(shown.contains("\nmpt1:") && shown.contains('█'), "no QR code: {shown}");
        joined.until_around("without the Internet", || Ok(!world.is_online()?))?;
        none_passes(home, INTERNET.parse()?)?;
        serving.until_around("away", || {
            let list = world.peer("list")?;
            Ok(list.lines().any(|line| line.starts_with("van ") && line.contains(" away ")))
        })?;

        ensure!(joined.end(Signal::TERM)?.success(), "{}", joined.said());
        done(home, &format!("leave --directory {at_home}"), "")?;
        ensure!(serving.end(Signal::TERM)?.success(), "{}", serving.said());
        let remove = format!("server remove --directory {at_server}");
        let peers_left = complains(server, &remove, "", MISCONFIGURED)?;
        ensure!(peers_left.contains("--yes"), "{peers_left}");
        done(server, &format!("server remove --yes --directory {at_server}"), "")?;
        for directory in [at_home, at_server] {
            ensure!(fs::read_dir(directory)?.next().is_none(), "files are left in {directory}");
        }
        let after = [World::state(home)?, World::state(server)?];
        ensure!(
            after == before,
            "left behind:\n{}\n{}\nwas:\n{}\n{}",
            after[0],
            after[1],
            before[0],
            before[1]
        );
        Ok(())
    });
}

#[test]
fn a_server_that_starts_anew_has_its_peers_back() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::with_server()?;
        // The peer is added while the server does not run.
        let joined = world.join(&world.peer("add van")?)?;
        let mut serving = world.serve()?;
        world.until_online(&joined)?;
        // The server has noted where the house is; the house has nothing to say for 15 s.
        sleep(Duration::from_secs(1));
        serving.end(Signal::KILL)?;
        let back = Stopwatch::start();
        let serving = world.serve()?;
        serving.until_around("connected", || Ok(world.peer("list")?.contains("connected")))?;
        println!("back after {} ms", back.elapsed().as_millis());
        ensure!(
            back.elapsed() < Duration::from_secs(10),
            "{:?}: it waited for the house to speak",
            back.elapsed()
        );
        Ok(())
    });
}

#[test]
fn what_cannot_be_is_refused_with_what_to_do_and_changes_nothing() {
    bench::test(&[Tool::Nft], || {
        let world = World::build()?;
        let (home, server) = (&world.net.pc1, &world.net.pc2);
        let (at_home, at_server) = (&world.at_home, &world.at_server);
        let join = world.join_arguments();

        let behind_nat =
            complains(home, &format!("server setup --directory {at_home} --no-start"), "", MISCONFIGURED)?;
        ensure!(behind_nat.contains("--endpoint"), "{behind_nat}");
        let taken = format!(
            "server setup --directory {at_home} --no-start --endpoint {SERVER} --network 172.16.1.0/24"
        );
        let taken = complains(home, &taken, "", MISCONFIGURED)?;
        ensure!(taken.contains("172.16.1.10") && taken.contains("--network"), "{taken}");

        world.set_server_up()?;
        let line = world.peer("add van")?;
        let refused =
            |arguments: &str, code: i32| complains(server, &world.peer_arguments(arguments), "", code);
        for (arguments, words) in [
            ("add van", "already"),
            ("add ../van", "allowed:"),
            ("add lab --network 172.16.0.0/33", "172.16.0.0/33"),
        ] {
            let said = refused(arguments, MISCONFIGURED)?;
            ensure!(said.contains(words), "{arguments}: {said}");
        }
        let files = |directory: &str| -> anyhow::Result<usize> { Ok(fs::read_dir(directory)?.count()) };
        let there = files(&format!("{at_server}/server.d"))?;
        let own = fs::read_to_string(world.config())?
            .lines()
            .find_map(|line| line.strip_prefix("address = [\"")?.split('/').next().map(str::to_owned));
        let own = own.context("the server's address")?;
        let said = refused(&format!("add lab --network {own}/32"), MISCONFIGURED)?;
        ensure!(said.contains("our own tunnel address"), "{said}");
        ensure!(files(&format!("{at_server}/server.d"))? == there, "files of a peer that was refused");
        let unknown = refused("remove nobody", FAILED)?;
        ensure!(unknown.contains("there are van"), "{unknown}");

        let cut = &line.trim()[..line.len() / 2];
        for (input, words) in
            [("", "mpt1:"), (cut, "copy all of it"), ("mpt9:abc", "another version"), ("hello", "mpt1:")]
        {
            let said = complains(home, &join, input, MISCONFIGURED)?;
            ensure!(said.contains(words) && !said.contains(cut), "{input}: {said}");
        }
        ensure!(files(at_home)? == 0, "files of a line that was refused");
        // The house has the tunnel's network already.
        let [a, b, c, _] = own.parse::<std::net::Ipv4Addr>()?.octets();
        home.run(&format!("ip address add {a}.{b}.{c}.77/24 dev eth1"))?;
        let said = complains(home, &join, &line, MISCONFIGURED)?;
        ensure!(
            said.contains(&format!("{a}.{b}.{c}.77")) && said.contains("server setup --network"),
            "{said}"
        );
        ensure!(files(at_home)? == 0, "files of a tunnel that was refused");
        Ok(())
    });
}

#[test]
fn a_peer_with_a_file_that_has_an_error_does_not_keep_the_others_away() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::with_server()?;
        let (home, server) = (&world.net.pc1, &world.net.pc2);
        let at_server = &world.at_server;
        let line = world.peer("add van")?;
        fs::write(
            format!("{at_server}/server.d/bad.toml"),
            "public_key = \"no key\"\nallowed_ips = [\"10.0.0.9\"]\n",
        )?;
        let serving = world.serve()?;
        let said = serving.said();
        ensure!(said.contains("this peer is left out") && said.contains("bad.toml:1"), "{said}");
        let joined = world.join(&line)?;
        world.until_online(&joined)?;
        // Others come nevertheless; but what is wrong with a peer that is known changes nothing, not even for others.
        world.peer("add boat")?;
        let known = format!("{at_server}/server.d/boat.toml");
        let good = fs::read_to_string(&known)?;
        fs::write(&known, good.replace("public_key", "public_kex"))?;
        let said = serving.complains("reload", FAILED)?;
        ensure!(said.contains("nothing was changed") && said.contains("boat.toml:"), "{said}");
        let files = || -> anyhow::Result<Vec<(PathBuf, String)>> {
            let entries = fs::read_dir(format!("{at_server}/server.d"))?;
            let mut files = entries
                .map(|entry| {
                    let path = entry?.path();
                    Ok((path.clone(), fs::read_to_string(path)?))
                })
                .collect::<anyhow::Result<Vec<_>>>()?;
            files.sort();
            Ok(files)
        };
        let before = files()?;
        let said = complains(server, &world.peer_arguments("renew van"), "", FAILED)?;
        ensure!(said.contains("as before") && files()? == before, "{said}");
        // Who is to be locked out is locked out.
        world.peer("remove boat")?;
        all_pass(home, INTERNET.parse()?, 5, "")
    });
}

#[test]
fn a_server_that_has_a_name_is_joined_by_it() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        fs::create_dir_all(DIRECTORY)?;
        let hosts = format!("{DIRECTORY}/hosts");
        fs::write(&hosts, format!("{SERVER} vps.example.net\n"))?;
        host::run(Command::new("mount").args(["--bind", &hosts, "/etc/hosts"]))?;
        let world = World::build()?;
        let setup =
            format!("server setup --directory {} --no-start --endpoint vps.example.net", world.at_server);
        let said = done(&world.net.pc2, &setup, "")?;
        ensure!(said.contains("UDP port 4754 in, to vps.example.net"), "{said}");
        let _serving = world.serve()?;
        let line = world.peer("add van")?;
        ensure!(line.starts_with("mpt2:"), "{line}");
        let joined = world.join(&line)?;
        let config = fs::read_to_string(format!("{}/server.toml", world.at_home))?;
        ensure!(config.contains("remote = [\"vps.example.net\"]\n"), "{config}");
        world.until_online(&joined)
    });
}

#[test]
fn a_path_that_the_house_adds_is_learnt_by_the_server() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::with_server()?;
        let _serving = world.serve()?;
        let join = format!("{} --paths eth1 --paths eth2", world.join_arguments());
        done(&world.net.pc1, &join, &world.peer("add van")?)?;
        let joined = Mpt::with_config(&world.net.pc1, format!("{}/server.toml", world.at_home))?;
        world.until_online(&joined)?;
        let listed = |address: &str| world.peer("list").map(|list| list.contains(address));
        joined.until_around("both links", || Ok(listed("172.16.1.10")? && listed("172.16.2.10")?))?;
        let pings = Background::start(&world.net.pc1, INTERNET.parse()?, 1000, "-i 0.01 -W 2")?;
        joined.path("remove eth2")?;
        joined.until_around("one link", || Ok(!listed("172.16.2.10")?))?;
        joined.path("add server stick --device eth2")?;
        joined.until_around("both links again", || Ok(listed("172.16.2.10")? && listed("172.16.1.10")?))?;
        let Pings { sent, received, .. } = pings.finish()?;
        ensure!(received == sent, "{received} of {sent} pings: {}", joined.said());
        Ok(())
    });
}

/// Links come and go as they please, and each that leads out is used.
#[test]
fn an_interface_that_comes_later_carries_a_path_and_goes() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::with_server()?;
        let (home, server) = (&world.net.pc1, &world.net.pc2);
        home.run("ip route del default via 172.16.2.20 dev eth2")?;
        let _serving = world.serve()?;
        let joined = world.join(&world.peer("add van")?)?;
        world.until_online(&joined)?;
        let names = |c: &ConnectionReport| c.paths.iter().map(|path| path.name.clone()).collect::<Vec<_>>();
        let paths = |wanted: &'static [&str]| {
            move |c: &ConnectionReport| {
                names(c) == wanted && c.paths.iter().all(|path| path.state == State::Up)
            }
        };
        joined.until("one path", paths(&["eth1"]))?;

        // A stick: first its interface, then an address, then a default route, as a DHCP client sets them.
        let pings = Background::start(home, INTERNET.parse()?, 3000, "-i 0.01 -W 2")?;
        let plug_in = || {
            wire([(home, "usb0", &["198.18.0.1/24"]), (server, "stick", &["198.18.0.9/24"])])?;
            home.run("ip route add default via 198.18.0.9 dev usb0 metric 700")
        };
        plug_in()?;
        let with_stick = joined.until("the stick", paths(&["eth1", "usb0"]))?;
        // Its packets are paid for: it waits until the other one does not work.
        home.run("ip link set eth1 down")?;
        joined.until("over the stick alone", |c| {
            c.paths[1].tx_bytes > with_stick.paths[1].tx_bytes + 10_000 && c.paths[0].state == State::Down
        })?;
        home.run("ip link set eth1 up")?;
        home.run("ip route add default via 172.16.1.20 dev eth1 metric 1")?;
        joined.until("both", paths(&["eth1", "usb0"]))?;
        joined.path("down usb0")?;
        home.run("ip link del usb0")?;
        joined.until_within(Duration::from_secs(90), "one path again", paths(&["eth1"]))?;
        let Pings { sent, received, .. } = pings.finish()?;
        // When a link dies, what is under way on it is lost, and what leaves until that is seen.
        ensure!(received * 10 > sent * 9, "{received} of {sent} pings: {}", joined.said());
        let said = joined.said();
        ensure!(
            said.contains("path usb0 of server is added") && said.contains("path usb0 of server is removed"),
            "{said}"
        );
        Ok(())
    });
}

#[test]
fn interfaces_that_are_excluded_carry_no_path_also_after_a_reload() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::with_server()?;
        let home = &world.net.pc1;
        let _serving = world.serve()?;
        wire([(home, "docker0", &["198.18.7.1/24"]), (&world.net.pc2, "inner", &["198.18.7.9/24"])])?;
        home.run("ip route add default via 198.18.7.9 dev docker0 metric 900")?;
        let joined = world.join(&world.peer("add van")?)?;
        let both = |c: &ConnectionReport| c.paths.len() == 2;
        joined.until("all three", |c| c.paths.len() == 3)?;
        let file = format!("{}/server.toml", world.at_home);
        let text = fs::read_to_string(&file)?;
        let reload = |text: &str| {
            fs::write(&file, text)?;
            joined.done("reload")
        };
        let said = reload(
            &text.replace("paths = \"auto\"\n", "paths = \"auto\"\nexcept = [\"docker*\", \"*2\"]\n"),
        )?;
        ensure!(said == "path server/eth2 removed, path server/docker0 removed, 1 as before\n", "{said}");
        joined.until("one link", |c| c.paths.len() == 1 && c.paths[0].name == "eth1")?;
        // A table for the interface counts more than what is excluded.
        let path = "\n[[connection.path]]\nname = \"second\"\ndevice = \"eth2\"\nlocal = \"0.0.0.0\"\nremote = \"8.8.4.1\"\ntier = 2\n";
        let excluded =
            text.replace("paths = \"auto\"\n", "paths = \"auto\"\nexcept = [\"docker*\", \"*2\"]\n") + path;
        let said = reload(&excluded)?;
        ensure!(said.contains("path server/second added"), "{said}");
        joined.until("both links", |c| both(c) && c.paths.iter().any(|path| path.name == "second"))?;
        let refused = joined.complains("path remove eth1", FAILED)?;
        ensure!(refused.contains("eth1 is there by paths = \"auto\""), "{refused}");
        Ok(())
    });
}

#[test]
fn named_interfaces_alone_carry_paths_if_join_is_told_so() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::with_server()?;
        let home = &world.net.pc1;
        let _serving = world.serve()?;
        let line = world.peer("add van")?;
        // Without a way out nothing is made.
        let (first, second) =
            ("default via 172.16.1.20 dev eth1 metric 1", "default via 172.16.2.20 dev eth2 metric 2");
        home.run(&format!("ip route del {first}"))?;
        home.run(&format!("ip route del {second}"))?;
        let said = complains(home, &world.join_arguments(), &line, FAILED)?;
        ensure!(said.contains("no interface of this machine leads to the server now"), "{said}");
        ensure!(said.contains("eth1: no default route leads through it"), "{said}");
        home.run(&format!("ip route add {first}"))?;
        home.run(&format!("ip route add {second}"))?;
        let unknown = format!("{} --paths eth7", world.join_arguments());
        let said = complains(home, &unknown, &line, FAILED)?;
        ensure!(said.contains("this machine has no interface eth7 now"), "{said}");
        done(home, &format!("{} --paths eth2", world.join_arguments()), &line)?;
        let joined = Mpt::with_config(home, format!("{}/server.toml", world.at_home))?;
        joined.until("its path", |c| c.paths.len() == 1 && c.paths[0].device.as_deref() == Some("eth2"))?;
        world.until_online(&joined)?;
        // All of them from now on: which lead out is looked for only since somebody wants to know.
        let file = format!("{}/server.toml", world.at_home);
        let text = fs::read_to_string(&file)?;
        let all = format!("\npaths = \"auto\"\nremote = [\"{SERVER}\"]\npublic_key");
        fs::write(&file, text.replace("\npublic_key", &all))?;
        let pings = Background::start(home, INTERNET.parse()?, 300, "-i 0.01 -W 2")?;
        let said = joined.done("reload")?;
        ensure!(said == "1 as before\n", "{said}");
        joined.until("both", |c| c.paths.len() == 2 && c.paths.iter().all(|path| path.state == State::Up))?;
        let Pings { sent, received, .. } = pings.finish()?;
        ensure!(sent == received, "{received} of {sent} pings");
        Ok(())
    });
}

#[test]
fn a_second_server_is_joined_to_stand_by() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::build()?;
        let (home, other) = (&world.net.pc1, Host::create("other")?);
        wire([(home, "eth3", &["198.18.0.10/24"]), (&other, "eth0", &["198.18.0.20/24"])])?;
        other.run(&format!("ip address add {INTERNET}/32 dev lo"))?;
        let setup = |host: &Host, directory: &str, endpoint: &str| {
            let network = "--network 10.8.0.0/24 --no-start";
            done(host, &format!("server setup --directory {directory} --endpoint {endpoint} {network}"), "")
        };
        let at_other = format!("{DIRECTORY}/other");
        fs::create_dir_all(&at_other)?;
        setup(&world.net.pc2, &world.at_server, SERVER)?;
        setup(&other, &at_other, "198.18.0.20")?;
        let mut serving = world.serve()?;
        let _other_serving = Mpt::with_config(&other, format!("{at_other}/server.toml"))?;
        let joined = world.join(&world.peer("add van")?)?;
        world.until_online(&joined)?;

        // A line that does not fit says which one would.
        let add = |more: &str| {
            let arguments =
                format!("peer add {more} --config {at_other}/server.toml --control {DIRECTORY}/other.sock");
            done(&other, &arguments, "")
        };
        let stand_by = format!("join --standby-of server --directory {}", world.at_home);
        let said = complains(home, &stand_by, &add("stranger")?, MISCONFIGURED)?;
        ensure!(said.contains("the line has a new key for this machine"), "{said}");
        let remedy = said.split("peer add NAME ").nth(1).context("no command")?.trim().to_owned();
        let taken = world.peer_arguments(&format!("add cat {remedy}"));
        ensure!(
            complains(&world.net.pc2, &taken, "", MISCONFIGURED)?.contains("--address 10.8.0.2: van has it")
        );
        let missing = remedy.replace("10.8.0.2", "10.9.0.2");
        let elsewhere = world.peer_arguments(&format!("add cat {missing}"));
        ensure!(
            complains(&world.net.pc2, &elsewhere, "", MISCONFIGURED)?
                .contains("in none of the tunnel's networks")
        );
        done(
            &other,
            &format!("peer remove stranger --config {at_other}/server.toml --control {DIRECTORY}/other.sock"),
            "",
        )?;
        let line = add(&format!("van {remedy}"))?;
        let said = done(home, &stand_by, &line)?;
        ensure!(said.contains("server-2 stands by for server"), "{said}");
        ensure!(complains(home, &stand_by, &line, MISCONFIGURED)?.contains("the line is of server-2"));
        joined.done("reload")?;

        let used = |name: &str| {
            let report = joined.status()?;
            anyhow::Ok(report.connections.iter().any(|it| it.name == name && it.used == Some(true)))
        };
        let is_up = |name: &str| {
            let report = joined.status()?;
            let named = report.connections.iter().find(|it| it.name == name);
            anyhow::Ok(named.is_some_and(|it| it.paths.iter().any(|path| path.state == State::Up)))
        };
        joined.until_around("the second one up", || is_up("server-2"))?;
        ensure!(used("server")?);
        serving.end(Signal::KILL)?;
        // Quiet paths are probed each 15 s; that they are dead is seen then, and it takes ten more.
        let takes_over = |c: &ConnectionReport| c.name == "server-2" && c.used == Some(true);
        joined.until_within(Duration::from_secs(90), "the second one", takes_over)?;
        // It has the address of the host of the Internet itself.
        world.until_online(&joined)?;
        let keys = |directory: &str| anyhow::Ok(fs::read_dir(directory)?.count());
        ensure!(keys(&world.at_home)? == 4, "configuration, key and two pre-shared keys");
        drop(joined);
        done(home, &format!("leave server --directory {}", world.at_home), "")?;
        ensure!(keys(&world.at_home)? == 0);
        Ok(())
    });
}
