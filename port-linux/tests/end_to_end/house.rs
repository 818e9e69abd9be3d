//! A house and a server, as people set them up: `mpt server setup`, `mpt peer add`, `mpt join`; then everything of the house
//! takes the tunnel, peers come and go while others notice nothing, and in the end both hosts are as they were.

mod refused;

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use port_linux::lab::host::Host;
use port_linux::lab::stopwatch::Stopwatch;
use port_linux::lab::topology::Topology;
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
        world.peer("renew van")?;
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
        let said =
            complains(server, &format!("reload --control {}", serving.control().display()), "", FAILED)?;
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
