//! `mpt lab --peers`: one server and many peers, sealed: what they cost while they are away, there, and busy, whether they are served
//! alike, what a quiet one notices, and how long it takes until all are back after the server was killed.
//!
//! The server is a real `mpt run`. The peers are as many real event loops in this process, each with two paths and a pair of sockets
//! for a tunnel device.

mod member;

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use port_linux::config::PORT;
use port_linux::control;
use port_linux::keys::{self, encode};
use port_linux::output;
use port_linux::report::State;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde::Serialize;

use self::member::{Crowd, Keys};
use super::ahead;
use super::cpu;
use super::host::Running;
use super::machine::Machine;
use super::memory;
use super::out::write;
use super::progress::Progress;
use super::rate::Rate;
use super::sample::percentile;
use super::stopwatch::Stopwatch;
use super::topology::Topology;

/// Links, and paths of each peer.
const LINKS: u8 = 2;
/// The server's tunnel address.
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);
/// Where inner packets go that nobody answers.
const SINK: u16 = 9;
/// Bytes of an inner packet of the load.
const PACKET: usize = 1200;
/// How long anything may take to come up.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const GLANCE: Duration = Duration::from_millis(20);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Peers.
    pub peers: u16,
    /// How many of them send.
    pub senders: u16,
    /// What they send together, in per cent of what the links carry.
    pub load_percent: u16,
    /// Whether the server knows what the links carry, and shares it.
    pub share: bool,
    /// Rate of each link.
    pub rate: Rate,
    /// Length of each measurement.
    pub time: Duration,
}

/// Round trips of the quiet peer, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
struct Latency {
    median_ms: f64,
    p99_ms: f64,
    lost: u32,
}

/// Load in one direction.
#[derive(Debug, Clone, Copy, Serialize)]
struct Load {
    mbit_s: f64,
    /// Jain's index of what each sender got: 1 when all got the same.
    fairness: f64,
    server_cpu_percent: f64,
    quiet: Latency,
}

/// Everything.
#[derive(Debug, Clone, Serialize)]
struct Outcome {
    format: u32,
    machine: Machine,
    background_percent: f64,
    peers: u16,
    senders: u16,
    load_percent: u16,
    share: bool,
    /// Whether server and quiet peer run ahead of the busy ones.
    ahead: bool,
    rate: Rate,
    seconds: f64,
    start_ms: u128,
    away_mib: f64,
    all_there_ms: u128,
    there_mib: f64,
    idle_cpu_percent: f64,
    quiet: Latency,
    to_server: Load,
    to_peers: Load,
    busy_mib: f64,
    all_back_ms: u128,
}

/// The real server.
struct Server<'n> {
    net: &'n Topology,
    mpt: PathBuf,
    directory: PathBuf,
    ahead: bool,
    running: Running,
}

impl<'n> Server<'n> {
    fn start(
        net: &'n Topology,
        mpt: &Path,
        directory: &Path,
        ahead: bool,
    ) -> anyhow::Result<(Self, Duration)> {
        let since = Stopwatch::start();
        let running = Self::spawn(net, mpt, directory, ahead)?;
        let server = Self { net, mpt: mpt.to_owned(), directory: directory.to_owned(), ahead, running };
        while server.connected().is_none() {
            ensure!(since.elapsed() < PATIENCE, "the server does not answer: {}", server.said());
            std::thread::sleep(GLANCE);
        }
        Ok((server, since.elapsed()))
    }

    fn spawn(net: &Topology, mpt: &Path, directory: &Path, ahead: bool) -> anyhow::Result<Running> {
        let log = fs::File::create(directory.join("log"))?;
        let before: &[&str] = if ahead { &ahead::PROGRAM } else { &[] };
        let words: Vec<&OsStr> = before.iter().map(OsStr::new).chain([mpt.as_os_str()]).collect();
        let mut command: Command = net.pc2.command(words[0]);
        command.args(&words[1..]);
        command
            .args(["run", "-c"])
            .arg(directory.join("server.toml"))
            .arg("--control")
            .arg(directory.join("sock"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        net.pc2.spawn(&mut command)
    }

    fn said(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Peers with a path that is up; `None`: it does not answer.
    fn connected(&self) -> Option<usize> {
        let socket = self.directory.join("sock");
        let report = control::report(Some(&socket)).ok()?;
        let is_up =
            |paths: &[port_linux::report::PathReport]| paths.iter().any(|path| path.state == State::Up);
        Some(report.connections.iter().filter(|it| is_up(&it.paths)).count())
    }

    fn until_connected(&self, peers: u16) -> anyhow::Result<Duration> {
        let since = Stopwatch::start();
        loop {
            let connected = self.connected().unwrap_or(0);
            if connected >= peers.into() {
                return Ok(since.elapsed());
            }
            ensure!(
                since.elapsed() < PATIENCE,
                "only {connected} of {peers} peers are there: {}",
                self.said()
            );
            std::thread::sleep(GLANCE);
        }
    }

    /// Kills it, and starts it again at once.
    fn restart(&mut self) -> anyhow::Result<()> {
        self.running.signal(Signal::KILL);
        self.running.wait(PATIENCE)?.context("the server does not end")?;
        self.running = Self::spawn(self.net, &self.mpt, &self.directory, self.ahead)?;
        Ok(())
    }

    fn resident_mib(&self) -> f64 {
        memory::resident_mib(self.running.pid()).unwrap_or(f64::NAN)
    }
}

/// Runs it. `mpt` is the program's path; what is written goes to `out`, too.
///
/// # Errors
/// When something cannot be set up, or not all peers come.
pub fn run(plan: &Plan, mpt: &Path, out: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let (background_percent, ahead) = (cpu::background()?, ahead::is_possible());
    allow_files(plan.peers)?;
    let mut progress = Progress::new(plan.time * 3 + Duration::from_secs(15));
    let net = Topology::build(LINKS, Some(plan.rate))?;
    let directory = tempfile::tempdir()?;
    let keys = Keys::new(plan.peers)?;
    configure(plan, directory.path(), &keys)?;

    progress.begin(&format!("{} peers come", plan.peers), Duration::from_secs(10));
    let (mut server, start) = Server::start(&net, mpt, directory.path(), ahead)?;
    let away_mib = server.resident_mib();
    let crowd = Crowd::start(&net, &keys, directory.path(), ahead)
        .context("not all peers start; each has some ten files open, and `ulimit -Hn` shows how many a process may have")?;
    let all_there = server.until_connected(plan.peers)?;
    let there_mib = server.resident_mib();

    progress.begin("nobody sends but a quiet one", plan.time);
    let meter = cpu::Meter::start(&[server.running.pid()])?;
    let quiet = latency(&crowd.ping(plan.time, || {})?);
    let idle_cpu_percent = share(&meter, plan.time)?;

    progress.begin("peers send", plan.time);
    let to_server = to_server(plan, &net, &crowd, &server)?;
    progress.begin("the server sends", plan.time);
    let to_peers = to_peers(plan, &net, &crowd, &server)?;
    let busy_mib = server.resident_mib();

    progress.begin("the server is killed", Duration::from_secs(5));
    let since = Stopwatch::start();
    server.restart()?;
    server.until_connected(plan.peers)?;
    let all_back = since.elapsed();
    progress.end();
    drop(crowd);

    let outcome = Outcome {
        format: 1,
        machine: Machine::describe(),
        background_percent,
        peers: plan.peers,
        senders: plan.senders,
        load_percent: plan.load_percent,
        share: plan.share,
        ahead,
        rate: plan.rate,
        seconds: plan.time.as_secs_f64(),
        start_ms: start.as_millis(),
        away_mib,
        all_there_ms: all_there.as_millis(),
        there_mib,
        idle_cpu_percent,
        quiet,
        to_server,
        to_peers,
        busy_mib,
        all_back_ms: all_back.as_millis(),
    };
    let (text, document) = (text(&outcome), serde_json::to_string_pretty(&outcome)? + "\n");
    if let Some(directory) = out {
        write(directory, "crowd.json", &document)?;
        write(directory, "crowd.md", &text)?;
    }
    output::print(if json { &document } else { &text }).map(drop)
}

/// Each peer has some ten descriptors open, and a process may often have no more than 1,024.
fn allow_files(peers: u16) -> anyhow::Result<()> {
    let wanted = u64::from(peers) * 16 + 1024;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    // Root may have more than it was given, in most places.
    let maximum = limit.maximum.map(|maximum| maximum.max(wanted));
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
        .or_else(|_| setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }))
        .context("the number of files that may be open")
}

/// The server's files.
fn configure(plan: &Plan, directory: &Path, keys: &Keys) -> anyhow::Result<()> {
    keys::create(&directory.join("server.key"), &keys.server)?;
    let peers = directory.join("peers");
    fs::create_dir(&peers)?;
    for (number, key) in (0u16..).zip(&keys.peers) {
        let public = encode(keys::private(key).public().as_bytes());
        let text = format!("public_key = \"{public}\"\nallowed_ips = [\"{}\"]\n", member::address(number));
        fs::write(peers.join(format!("p{number}.toml")), text)?;
    }
    let bits = plan.rate.bits_per_second() * u64::from(LINKS);
    let access = format!("uplink = \"{0}kbit\"\ndownlink = \"{0}kbit\"\n", bits / 1000);
    let access = if plan.share { access } else { String::new() };
    let text = format!(
        "[security]\nprivate_key_file = \"server.key\"\n[tunnel]\nname = \"mpt0\"\naddress = [\"{SERVER}/16\"]\n\
         [listen]\nport = {PORT}\npeers = \"peers\"\n{access}"
    );
    Ok(fs::write(directory.join("server.toml"), text)?)
}

/// Processor time of the server, in per cent of one core.
fn share(meter: &cpu::Meter, time: Duration) -> anyhow::Result<f64> {
    Ok(meter.read()?.mpt_s.unwrap_or(f64::NAN) / time.as_secs_f64() * 100.0)
}

/// The load, from all senders alike, as datagrams to the server.
fn to_server(plan: &Plan, net: &Topology, crowd: &Crowd, server: &Server<'_>) -> anyhow::Result<Load> {
    let sink = net.pc2.inside(|| UdpSocket::bind((SERVER, SINK)))??;
    sink.set_read_timeout(Some(GLANCE))?;
    let (stop, meter) = (AtomicBool::new(false), cpu::Meter::start(&[server.running.pid()])?);
    let (counts, trips) = std::thread::scope(|scope| -> anyhow::Result<_> {
        let counting = scope.spawn(|| member::count(&sink, plan.senders, &stop));
        let trips = crowd.ping(plan.time, || crowd.send(plan.senders, interval(plan), plan.time));
        stop.store(true, Ordering::Relaxed);
        let counts = counting.join().map_err(|_| anyhow::anyhow!("the sink panicked"))?;
        Ok((counts, trips?))
    })?;
    load(plan, &counts, &trips, &meter)
}

/// The same from the server, to as many peers.
fn to_peers(plan: &Plan, net: &Topology, crowd: &Crowd, server: &Server<'_>) -> anyhow::Result<Load> {
    let source = net.pc2.inside(|| UdpSocket::bind((SERVER, 0)))??;
    let before = crowd.received();
    let meter = cpu::Meter::start(&[server.running.pid()])?;
    let trips = crowd.ping(plan.time, || member::spread(&source, plan.senders, interval(plan), plan.time))?;
    let received = crowd.received();
    let counts: Vec<u64> =
        received.iter().zip(&before).map(|(now, then)| now - then).take(plan.senders.into()).collect();
    load(plan, &counts, &trips, &meter)
}

/// Between two packets of all senders together.
fn interval(plan: &Plan) -> Duration {
    let rate = plan.rate.bits_per_second() as f64 * f64::from(LINKS) * f64::from(plan.load_percent) / 100.0;
    Duration::from_secs_f64(PACKET as f64 * 8.0 / rate)
}

fn load(plan: &Plan, bytes: &[u64], trips: &member::Trips, meter: &cpu::Meter) -> anyhow::Result<Load> {
    let sum: f64 = bytes.iter().map(|bytes| *bytes as f64).sum();
    let squares: f64 = bytes.iter().map(|bytes| (*bytes as f64).powi(2)).sum();
    Ok(Load {
        mbit_s: sum * 8.0 / plan.time.as_secs_f64() / 1e6,
        fairness: sum * sum / (squares * bytes.len() as f64),
        server_cpu_percent: share(meter, plan.time)?,
        quiet: latency(trips),
    })
}

fn latency(trips: &member::Trips) -> Latency {
    let ms = |share: f64| percentile(&trips.histogram, share) as f64 / 10.0;
    Latency { median_ms: ms(0.5), p99_ms: ms(0.99), lost: trips.lost }
}

fn text(outcome: &Outcome) -> String {
    let Outcome { peers, senders, to_server, to_peers, .. } = outcome;
    let quiet =
        |it: Latency| format!("median {:.1} ms, p99 {:.1} ms, {} lost", it.median_ms, it.p99_ms, it.lost);
    let row = |what: &str, value: String| format!("| {what:<52} | {value:<46} |\n");
    let load = |what: &str, it: Load| {
        row(
            &format!("{senders} {what}"),
            format!(
                "{:.0} Mbit/s, Jain {:.3}, server {:.0} % of a core",
                it.mbit_s, it.fairness, it.server_cpu_percent
            ),
        ) + &row("  a quiet one beside them", quiet(it.quiet))
    };
    let mut text = format!(
        "One server and {peers} peers with {LINKS} paths each over {LINKS} links of {}{}, sealed\n{}\n{}\n\n",
        outcome.rate.spoken(),
        if outcome.share { " that the server shares" } else { "" },
        outcome.machine,
        if outcome.ahead {
            "The server, the quiet peer and who reads answers run ahead of the other peers, as if these had machines of their own."
        } else {
            "All run on the same processors: only root may let the server run ahead of the other peers (chrt)."
        }
    );
    text += &row(
        "server starts, all peers away",
        format!("{} ms, {:.0} MiB", outcome.start_ms, outcome.away_mib),
    );
    text +=
        &row("all peers come at once", format!("{} ms, {:.0} MiB", outcome.all_there_ms, outcome.there_mib));
    text += &row("all there and idle", format!("server {:.0} % of a core", outcome.idle_cpu_percent));
    text += &row("  a quiet one", quiet(outcome.quiet));
    let share = outcome.load_percent;
    text += &load(&format!("send {share} % of what the links carry"), *to_server);
    text += &load("are sent to, as much", *to_peers);
    text += &row("server after that", format!("{:.0} MiB", outcome.busy_mib));
    text += &row("server killed and started again: all back after", format!("{} ms", outcome.all_back_ms));
    text + "\n" + &cpu::note(outcome.background_percent) + "\n"
}
