//! A house and a server, as people set them up: `mpt server setup`, `mpt peer add`, `mpt join`; then everything of the house
//! takes the tunnel, peers come and go while others notice nothing, and in the end both hosts are as they were.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use port_linux::lab::host::{Host, Running};
use port_linux::lab::stopwatch::Stopwatch;
use port_linux::lab::topology::Topology;
use rustix::process::Signal;

use crate::bench::{self, DIRECTORY, PATIENCE, mpt, routes};
use crate::programs::{Tool, all_pass, none_passes};

/// The only address of the server that the house knows.
const SERVER: &str = "8.8.4.1";
/// A host of the Internet, which the house reaches through the server only.
const INTERNET: &str = "8.8.9.9";

/// PC1 is the house, with a default route over each of two links; PC2 the server, with the Internet behind it.
struct World {
    net: Topology,
    internet: Host,
}

impl World {
    fn build() -> anyhow::Result<Self> {
        let net = Topology::build(2, None)?;
        let internet = Host::create("internet")?;
        let (home, server) = (&net.pc1, &net.pc2);
        for line in [
            "ip link add wan type veth peer name eth0 netns internet",
            "ip address add 8.8.4.1/24 dev wan",
            "ip link set wan up",
            "ip route add default via 8.8.4.9 dev wan",
        ] {
            server.run(line)?;
        }
        for line in
            ["ip address add 8.8.4.9/24 dev eth0", "ip address add 8.8.9.9/32 dev lo", "ip link set eth0 up"]
        {
            internet.run(line)?;
        }
        for link in [1, 2] {
            home.run(&format!("ip route add default via 172.16.{link}.20 dev eth{link} metric {link}"))?;
        }
        fs::create_dir_all(DIRECTORY)?;
        Ok(Self { net, internet })
    }

    /// A directory for the files of a host.
    fn directory(&self, name: &str) -> anyhow::Result<String> {
        let directory = PathBuf::from(DIRECTORY).join(name);
        fs::create_dir_all(&directory)?;
        Ok(directory.display().to_string())
    }

    /// What a host has of what mpt could change.
    fn state(host: &Host) -> anyhow::Result<String> {
        let rules = host.run("ip -4 rule")? + &host.run("ip -6 rule")? + &host.run("nft list ruleset")?;
        let forwarding = host.run("sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding")?;
        Ok(routes(host)? + &rules + &forwarding)
    }
}

/// Runs `mpt` on a host with something on its standard input.
fn run(host: &Host, arguments: &str, input: &str) -> anyhow::Result<Output> {
    let mut command = host.command(mpt().get_program());
    command.args(arguments.split(' ')).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().context("its input")?.write_all(input.as_bytes())?;
    Ok(child.wait_with_output()?)
}

/// The same, which has to go well. Returns what it prints.
fn done(host: &Host, arguments: &str, input: &str) -> anyhow::Result<String> {
    let output = run(host, arguments, input)?;
    ensure!(output.status.success(), "mpt {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The same, which has to be refused. Returns what it complains about.
fn refused(host: &Host, arguments: &str, input: &str, code: i32) -> anyhow::Result<String> {
    let output = run(host, arguments, input)?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(code), "mpt {arguments} ended with {:?}: {said}", output.status);
    Ok(said)
}

/// An `mpt run` with a configuration that one of the commands has made.
struct Runs {
    running: Running,
    control: String,
    log: PathBuf,
}

impl Runs {
    fn start(host: &Host, config: &str, name: &str) -> anyhow::Result<Self> {
        let (control, log) =
            (format!("{DIRECTORY}/{name}.sock"), PathBuf::from(DIRECTORY).join(format!("{name}.log")));
        let file = fs::File::create(&log)?;
        let mut command: Command = host.command(mpt().get_program());
        command.args(["run", "-c", config, "--control", &control]);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let runs = Self { running: host.spawn(&mut command)?, control, log };
        runs.until("it answers", || {
            run(host, &format!("status --control {}", runs.control), "").is_ok_and(|it| it.status.success())
        })?;
        Ok(runs)
    }

    fn until(&self, what: &str, mut is: impl FnMut() -> bool) -> anyhow::Result<()> {
        let clock = Stopwatch::start();
        while !is() {
            ensure!(clock.elapsed() < PATIENCE, "never: {what}\n{}", fs::read_to_string(&self.log)?);
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn end(mut self) -> anyhow::Result<()> {
        self.running.signal(Signal::TERM);
        self.running.wait(PATIENCE)?.context("it does not end")?;
        Ok(())
    }
}

#[test]
fn three_commands_bring_a_house_to_the_internet_and_leave_nothing_behind() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::build()?;
        let (home, server) = (&world.net.pc1, &world.net.pc2);
        let (at_home, at_server) = (world.directory("home")?, world.directory("server")?);
        let before = [World::state(home)?, World::state(server)?];

        let said = done(server, &format!("server setup --directory {at_server} --no-start"), "")?;
        ensure!(said.contains(&format!("UDP port 4754 in, to {SERVER}")), "{said}");
        let again = done(server, &format!("server setup --directory {at_server} --no-start"), "")?;
        ensure!(again.contains("nothing was changed"), "{again}");
        let config = format!("{at_server}/server.toml");
        let mut serving = Runs::start(server, &config, "serving")?;
        let peer = format!("--config {config} --control {}", serving.control);
        let line = done(server, &format!("peer add van {peer}"), "")?;
        ensure!(line.starts_with("mpt1:") && line.trim().lines().count() == 1, "{line}");

        done(home, &format!("join --directory {at_home} --no-start"), &line)?;
        let joined = Runs::start(home, &format!("{at_home}/server.toml"), "joined")?;
        joined.until("the Internet is there", || {
            home.reaches(INTERNET.parse().unwrap(), Duration::from_millis(200)).unwrap_or(false)
        })?;
        all_pass(home, INTERNET.parse()?, 20, "")?;
        // The server hides the house: the Internet knows no way to it.
        ensure!(!world.internet.run("ip route")?.contains("default"), "or else the test shows nothing");
        let list = done(server, &format!("peer list {peer}"), "")?;
        ensure!(
            list.contains("connected") && list.contains("172.16.1.10") && list.contains("172.16.2.10"),
            "{list}"
        );

        // Another one comes and goes, and nothing is lost meanwhile.
        let pings = home
            .command("ping")
            .args(["-q", "-i", "0.01", "-c", "300", "-W", "2", INTERNET])
            .stdout(Stdio::piped())
            .spawn()?;
        let other = done(server, &format!("peer add boat --network 192.168.7.0/24 {peer}"), "")?;
        ensure!(
            server.run("ip route")?.contains("192.168.7.0/24 dev mpt0"),
            "no route to the network behind it"
        );
        // As an administrator does who edits files.
        fs::remove_file(format!("{at_server}/server.d/boat.toml"))?;
        serving.running.signal(Signal::HUP);
        serving.until("the route to it goes", || {
            server.run("ip route").is_ok_and(|routes| !routes.contains("192.168.7.0/24"))
        })?;
        let pinged = String::from_utf8(pings.wait_with_output()?.stdout)?;
        ensure!(pinged.contains("300 received"), "{pinged}");
        ensure!(other.starts_with("mpt1:") && other != line, "{other}");

        // New keys lock the old ones out.
        done(server, &format!("peer renew van {peer}"), "")?;
        joined.until("the old keys are worth nothing", || {
            !home.reaches(INTERNET.parse().unwrap(), Duration::from_millis(200)).unwrap_or(true)
        })?;
        none_passes(home, INTERNET.parse()?)?;
        serving.until("van is away", || {
            done(server, &format!("peer list {peer}"), "").is_ok_and(|list| {
                list.lines().any(|line| line.starts_with("van ") && line.contains(" away "))
            })
        })?;

        joined.end()?;
        done(home, &format!("leave --directory {at_home}"), "")?;
        serving.end()?;
        let peers_left = refused(server, &format!("server remove --directory {at_server}"), "", 2)?;
        ensure!(peers_left.contains("--yes"), "{peers_left}");
        done(server, &format!("server remove --yes --directory {at_server}"), "")?;
        for directory in [at_home, at_server] {
            ensure!(fs::read_dir(&directory)?.next().is_none(), "files are left in {directory}");
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
        let world = World::build()?;
        let (home, server) = (&world.net.pc1, &world.net.pc2);
        let (at_home, at_server) = (world.directory("home")?, world.directory("server")?);
        done(server, &format!("server setup --directory {at_server} --no-start"), "")?;
        let config = format!("{at_server}/server.toml");
        // The peer is added while the server does not run.
        let line = done(server, &format!("peer add van --config {config} --control /run/none"), "")?;
        done(home, &format!("join --directory {at_home} --no-start"), &line)?;
        let joined = Runs::start(home, &format!("{at_home}/server.toml"), "joined")?;
        let mut serving = Runs::start(server, &config, "serving")?;
        joined.until("the Internet is there", || {
            home.reaches(INTERNET.parse().unwrap(), Duration::from_millis(200)).unwrap_or(false)
        })?;
        // The server has noted where the house is; the house has nothing to say for 15 s.
        sleep(Duration::from_secs(1));
        serving.running.signal(Signal::KILL);
        serving.running.wait(PATIENCE)?.context("it does not end")?;
        let back = Stopwatch::start();
        let serving = Runs::start(server, &config, "serving")?;
        serving.until("the peer is back", || {
            done(server, &format!("peer list --config {config} --control {}", serving.control), "")
                .is_ok_and(|list| list.contains("connected"))
        })?;
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
        let (at_home, at_server) = (world.directory("home")?, world.directory("server")?);
        let join = format!("join --directory {at_home} --no-start");

        let behind_nat = refused(home, &format!("server setup --directory {at_home} --no-start"), "", 2)?;
        ensure!(behind_nat.contains("--endpoint"), "{behind_nat}");
        let taken = format!(
            "server setup --directory {at_home} --no-start --endpoint {SERVER} --network 172.16.1.0/24"
        );
        let taken = refused(home, &taken, "", 2)?;
        ensure!(taken.contains("172.16.1.10") && taken.contains("--network"), "{taken}");

        done(server, &format!("server setup --directory {at_server} --no-start"), "")?;
        let config = format!("{at_server}/server.toml");
        let peer = format!("--config {config} --control /run/none");
        let line = done(server, &format!("peer add van {peer}"), "")?;
        for (arguments, words) in [
            (format!("peer add van {peer}"), "already"),
            (format!("peer add ../van {peer}"), "allowed:"),
            (format!("peer add lab --network 172.16.0.0/33 {peer}"), "172.16.0.0/33"),
        ] {
            let said = refused(server, &arguments, "", 2)?;
            ensure!(said.contains(words), "{arguments}: {said}");
        }
        let files = |directory: &str| -> anyhow::Result<usize> { Ok(fs::read_dir(directory)?.count()) };
        let there = files(&format!("{at_server}/server.d"))?;
        let own = fs::read_to_string(&config)?
            .lines()
            .find_map(|line| line.strip_prefix("address = [\"")?.split('/').next().map(str::to_owned));
        let own = own.context("the server's address")?;
        let said = refused(server, &format!("peer add lab --network {own}/32 {peer}"), "", 2)?;
        ensure!(said.contains("our own tunnel address"), "{said}");
        ensure!(files(&format!("{at_server}/server.d"))? == there, "files of a peer that was refused");
        let unknown = refused(server, &format!("peer remove nobody {peer}"), "", 1)?;
        ensure!(unknown.contains("there are van"), "{unknown}");

        let cut = &line.trim()[..line.len() / 2];
        for (input, words) in
            [("", "mpt1:"), (cut, "copy all of it"), ("mpt9:abc", "another version"), ("hello", "mpt1:")]
        {
            let said = refused(home, &join, input, 2)?;
            ensure!(said.contains(words) && !said.contains(cut), "{input}: {said}");
        }
        ensure!(files(&at_home)? == 0, "files of a line that was refused");
        // The house has the tunnel's network already.
        let [a, b, c, _] = own.parse::<std::net::Ipv4Addr>()?.octets();
        home.run(&format!("ip address add {a}.{b}.{c}.77/24 dev eth1"))?;
        let said = refused(home, &join, &line, 2)?;
        ensure!(
            said.contains(&format!("{a}.{b}.{c}.77")) && said.contains("server setup --network"),
            "{said}"
        );
        ensure!(files(&at_home)? == 0, "files of a tunnel that was refused");
        Ok(())
    });
}

#[test]
fn a_peer_with_a_file_that_has_an_error_does_not_keep_the_others_away() {
    bench::test(&[Tool::Ping, Tool::Nft], || {
        let world = World::build()?;
        let (home, server) = (&world.net.pc1, &world.net.pc2);
        let (at_home, at_server) = (world.directory("home")?, world.directory("server")?);
        done(server, &format!("server setup --directory {at_server} --no-start"), "")?;
        let config = format!("{at_server}/server.toml");
        let line = done(server, &format!("peer add van --config {config} --control /run/none"), "")?;
        fs::write(
            format!("{at_server}/server.d/bad.toml"),
            "public_key = \"no key\"\nallowed_ips = [\"10.0.0.9\"]\n",
        )?;
        let serving = Runs::start(server, &config, "serving")?;
        let said = fs::read_to_string(&serving.log)?;
        ensure!(said.contains("this peer is left out") && said.contains("bad.toml:1"), "{said}");
        done(home, &format!("join --directory {at_home} --no-start"), &line)?;
        let joined = Runs::start(home, &format!("{at_home}/server.toml"), "joined")?;
        joined.until("the Internet is there", || {
            home.reaches(INTERNET.parse().unwrap(), Duration::from_millis(200)).unwrap_or(false)
        })?;
        // Others come nevertheless; but what is wrong with a peer that is known changes nothing, not even for others.
        let peer = format!("--config {config} --control {}", serving.control);
        done(server, &format!("peer add boat {peer}"), "")?;
        let known = format!("{at_server}/server.d/boat.toml");
        let good = fs::read_to_string(&known)?;
        fs::write(&known, good.replace("public_key", "public_kex"))?;
        let said = refused(server, &format!("reload --control {}", serving.control), "", 1)?;
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
        let said = refused(server, &format!("peer renew van {peer}"), "", 1)?;
        ensure!(said.contains("as before") && files()? == before, "{said}");
        // Who is to be locked out is locked out.
        done(server, &format!("peer remove boat {peer}"), "")?;
        all_pass(home, INTERNET.parse()?, 5, "")
    });
}
