//! The programs of others that the tests use, and what is read from their output.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use anyhow::{Context as _, bail, ensure};
use mpt_lab::host::{self, Host, Running};
use mpt_lab::namespace;
use mpt_lab::stopwatch::Stopwatch;
use rustix::process::Signal;
use serde_json::Value;

use crate::bench::{DIRECTORY, PATIENCE};

/// Set to `1`, a missing tool fails a test instead of skipping it.
const REQUIRE: &str = "MPT_REQUIRE_TOOLS";

/// A Debian python, whatever `python3` comes first on the search path: python3-scapy is for that one.
const PYTHON: &str = "/usr/bin/python3";

/// A program that a test needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// iputils-ping
    Ping,
    /// iperf3
    Iperf3,
    /// nftables
    Nft,
    /// tshark, with its dumpcap
    Tshark,
    /// ethtool
    Ethtool,
    /// python3-scapy
    Scapy,
    /// util-linux
    Setpriv,
    /// bsdutils
    Script,
    /// curl
    Curl,
    /// tmux
    Tmux,
}

impl Tool {
    /// The program, and the Debian package that has it.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Ping => ("ping", "iputils-ping"),
            Self::Iperf3 => ("iperf3", "iperf3"),
            Self::Nft => ("nft", "nftables"),
            Self::Tshark => ("tshark", "tshark"),
            Self::Ethtool => ("ethtool", "ethtool"),
            Self::Scapy => ("scapy", "python3-scapy"),
            Self::Setpriv => ("setpriv", "util-linux"),
            Self::Script => ("script", "bsdutils"),
            Self::Curl => ("curl", "curl"),
            Self::Tmux => ("tmux", "tmux"),
        }
    }

    fn is_installed(self) -> bool {
        match self {
            Self::Scapy => {
                let mut python = Command::new(PYTHON);
                python.args(["-c", "import scapy"]).stdout(Stdio::null()).stderr(Stdio::null());
                python.status().is_ok_and(|status| status.success())
            }
            tool => namespace::is_installed(tool.names().0),
        }
    }
}

/// Whether a test can run. If not, says so even when the harness captures what it prints.
///
/// # Panics
/// When a tool is missing and all are required.
pub(crate) fn are_installed(test: &str, tools: &[Tool]) -> bool {
    for tool in tools {
        if !tool.is_installed() {
            let (program, package) = tool.names();
            let lacks = format!("{test}: it needs the program `{program}`: apt install {package}");
            assert!(env::var_os(REQUIRE).is_none_or(|value| value != "1"), "{lacks}");
            let _ = writeln!(io::stderr(), "SKIPPED {lacks}");
            return false;
        }
    }
    true
}

/// What `ping` counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pings {
    /// Echo requests sent.
    pub(crate) sent: u32,
    /// Echo replies, copies not counted.
    pub(crate) received: u32,
    /// Replies that came more than once.
    pub(crate) copies: u32,
}

/// Sends echo requests, 20 ms apart, and waits for the replies. `options` are those of `ping`.
pub(crate) fn ping(host: &Host, to: IpAddr, count: u32, options: &str) -> anyhow::Result<Pings> {
    Background::start(host, to, count, options)?.finish()
}

/// Whether echo requests pass: all of `count`.
pub(crate) fn all_pass(host: &Host, to: IpAddr, count: u32, options: &str) -> anyhow::Result<()> {
    let pings = ping(host, to, count, options)?;
    ensure!(pings == Pings { sent: count, received: count, copies: 0 }, "ping {options} {to}: {pings:?}");
    Ok(())
}

/// Whether none of a few echo requests is answered.
pub(crate) fn none_passes(host: &Host, to: IpAddr) -> anyhow::Result<()> {
    let pings = ping(host, to, 5, "-W 1")?;
    ensure!(pings.sent == 5 && pings.received == 0, "ping {to}: {pings:?}");
    Ok(())
}

/// How long replies may take that come after `ping` has stopped waiting.
const STRAGGLERS: Duration = Duration::from_secs(5);

/// A `ping` that runs while something else happens, the only one on its host.
pub(crate) struct Background {
    running: Running,
    host: Host,
    replies_before: u64,
}

impl Background {
    /// Starts it.
    pub(crate) fn start(host: &Host, to: IpAddr, count: u32, options: &str) -> anyhow::Result<Self> {
        let replies_before = echo_replies(host)?;
        let mut command = host.command("ping");
        command.args(["-q", "-n", "-i", "0.02", "-c", &count.to_string()]);
        command.args(options.split_whitespace()).arg(to.to_string());
        let running = host.spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
        Ok(Self { running, host: host.clone(), replies_before })
    }

    /// Waits for its end, and reads what it counted. After the last request `ping` waits for two round trips only,
    /// which a busy machine may exceed: the kernel counts the replies that come later.
    pub(crate) fn finish(mut self) -> anyhow::Result<Pings> {
        self.running.wait(3 * PATIENCE)?.context("ping does not end")?;
        let child = self.running.child();
        let text = io::read_to_string(child.stdout.take().context("no output")?)?;
        let errors = io::read_to_string(child.stderr.take().context("no output")?)?;
        let mut pings = counted(&text).with_context(|| format!("ping said: {text}{errors}"))?;
        let clock = Stopwatch::start();
        while (1..pings.sent).contains(&pings.received) && clock.elapsed() < STRAGGLERS {
            thread::sleep(Duration::from_millis(20));
            let arrived = u32::try_from(echo_replies(&self.host)? - self.replies_before)?;
            pings.received = pings.received.max(arrived.saturating_sub(pings.copies));
        }
        Ok(pings)
    }
}

/// Echo replies that this host has got.
fn echo_replies(host: &Host) -> anyhow::Result<u64> {
    kernel_counter(host, ("Icmp:", "InEchoReps"), "Icmp6InEchoReplies")
}

/// `5 packets transmitted, 4 received, +1 duplicates, 20% packet loss, time 80ms`
fn counted(text: &str) -> Option<Pings> {
    let line = text.lines().find(|line| line.contains(" packets transmitted"))?;
    let before = |what: &str| {
        let part = line.split(", ").find(|part| part.contains(what))?;
        part.trim_start_matches('+').split(' ').next()?.parse().ok()
    };
    Some(Pings {
        sent: before("transmitted")?,
        received: before("received")?,
        copies: before("duplicates").unwrap_or(0),
    })
}

/// Runs an iperf3 server for one client, and a client with these options; returns what the client reports.
pub(crate) fn iperf3(server: &Host, client: &Host, to: IpAddr, options: &str) -> anyhow::Result<Value> {
    let mut serving = iperf3_server(server, to)?;
    let mut command = client.command("iperf3");
    command.args(["--json", "--client", &to.to_string()]).args(options.split_whitespace());
    let output = command.output()?;
    let report: Value = serde_json::from_slice(&output.stdout).context("iperf3 --json")?;
    if !output.status.success() || report.get("error").is_some() {
        bail!("iperf3 {options}: {}", report["error"]);
    }
    serving.wait(PATIENCE)?.context("the iperf3 server does not end")?;
    Ok(report)
}

/// Starts an iperf3 server for one client.
fn iperf3_server(host: &Host, at: IpAddr) -> anyhow::Result<Running> {
    let mut command = host.command("iperf3");
    command.args(["--server", "--one-off", "--bind", &at.to_string()]).stdout(Stdio::null());
    let serving = host.spawn(&mut command)?;
    wait_for_listener(host, 5201)?;
    Ok(serving)
}

/// An iperf3 that fills a tunnel until it is dropped.
pub(crate) struct Load {
    _client: Running,
    _server: Running,
}

impl Load {
    /// Starts it, with these options of the client's.
    pub(crate) fn start(server: &Host, client: &Host, to: IpAddr, options: &str) -> anyhow::Result<Self> {
        let serving = iperf3_server(server, to)?;
        let mut command = client.command("iperf3");
        command.args(["--time", "600", "--client", &to.to_string()]).args(options.split_whitespace());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { _client: client.spawn(&mut command)?, _server: serving })
    }
}

/// Waits until somebody listens to a TCP port.
fn wait_for_listener(host: &Host, port: u16) -> anyhow::Result<()> {
    let clock = Stopwatch::start();
    while !host.run(&format!("ss -Hltn sport = :{port}"))?.contains("LISTEN") {
        ensure!(clock.elapsed() < PATIENCE, "nobody listens to port {port}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// UDP datagrams that the kernel could not give to a program of this host, as its socket was full.
pub(crate) fn full_sockets(host: &Host) -> anyhow::Result<u64> {
    kernel_counter(host, ("Udp:", "RcvbufErrors"), "Udp6RcvbufErrors")
}

/// A counter of the kernel's on this host, IPv4's and IPv6's together.
fn kernel_counter(host: &Host, (table, v4): (&str, &str), v6: &str) -> anyhow::Result<u64> {
    let read = |file: &str| host.inside(|| fs::read_to_string(file)).and_then(|text| Ok(text?));
    // IPv4: a line of names and a line of numbers for each table; IPv6: a name and a number a line.
    let (text4, text6) = (read("/proc/thread-self/net/snmp")?, read("/proc/thread-self/net/snmp6")?);
    let mut lines = text4.lines().filter(|line| line.starts_with(table)).map(str::split_whitespace);
    let (names, numbers) = (lines.next().context("names")?, lines.next().context("numbers")?);
    let count4 = names.zip(numbers).find(|(name, _)| *name == v4).context("no such counter")?.1;
    let mut pairs = text6.lines().filter_map(|line| line.split_once(char::is_whitespace));
    let count6 = pairs.find(|(name, _)| *name == v6).context("no such counter")?.1;
    Ok(count4.parse::<u64>()? + count6.trim().parse::<u64>()?)
}

/// Drops silently what arrives on a device, in the host's firewall.
pub(crate) fn drop_arriving(host: &Host, device: &str) -> anyhow::Result<()> {
    host.run("nft add table inet silent")?;
    host.run("nft add chain inet silent arriving { type filter hook input priority 0 ; }")?;
    host.run(&format!("nft add rule inet silent arriving iifname {device} drop"))?;
    Ok(())
}

/// Lets it pass again.
pub(crate) fn let_pass(host: &Host) -> anyhow::Result<()> {
    host.run("nft delete table inet silent")?;
    Ok(())
}

/// A capture on one device.
pub(crate) struct Capture {
    dumpcap: Running,
    file: String,
}

impl Capture {
    /// Starts it, and waits until it sees packets.
    pub(crate) fn start(host: &Host, device: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(DIRECTORY)?;
        let file = format!("{DIRECTORY}/{}.pcap", host.name());
        let _ = fs::remove_file(&file);
        let mut command = host.command("dumpcap");
        command.args(["-q", "-P", "-i", device, "-w", &file]).stdout(Stdio::null()).stderr(Stdio::null());
        let dumpcap = host.spawn(&mut command)?;
        let clock = Stopwatch::start();
        // The socket is open before the file's header is written.
        while fs::metadata(&file).map_or(0, |file| file.len()) == 0 {
            ensure!(clock.elapsed() < PATIENCE, "dumpcap does not begin");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { dumpcap, file })
    }

    /// Ends it, when everything that has passed until now is in the file: `host`, whose device it is, pings `other`
    /// on the link with a mark until the mark is there. (What is still in the ring when dumpcap ends is lost.)
    pub(crate) fn end(&mut self, host: &Host, other: IpAddr) -> anyhow::Result<()> {
        const MARK: &[u8; 6] = b"MARKED";
        let clock = Stopwatch::start();
        while !fs::read(&self.file)?.windows(MARK.len()).any(|bytes| bytes == MARK) {
            ensure!(clock.elapsed() < PATIENCE, "dumpcap does not write");
            ping(host, other, 1, "-p 4d41524b4544")?;
            thread::sleep(Duration::from_millis(50));
        }
        self.dumpcap.signal(Signal::INT);
        self.dumpcap.wait(PATIENCE)?.context("dumpcap does not end")?;
        Ok(())
    }

    /// The packets that match a display filter, with every value of these fields as tshark sees them: one list a
    /// field, outermost header first.
    pub(crate) fn dissect(&self, filter: &str, fields: &[&str]) -> anyhow::Result<Vec<Vec<Vec<String>>>> {
        let mut command = Command::new("tshark");
        command.args(["-n", "-r", &self.file, "-Y", filter, "-T", "fields", "-E", "occurrence=a"]);
        command.args(["-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]);
        for field in fields {
            command.args(["-e", field]);
        }
        let text = host::run(&mut command)?;
        let values = |cell: &str| cell.split(',').filter(|v| !v.is_empty()).map(str::to_owned).collect();
        Ok(text.lines().map(|line| line.split('\t').map(values).collect()).collect())
    }
}

/// A python script beside the tests, run on a host.
pub(crate) fn python(host: &Host, script: &str) -> Command {
    let mut command = host.command(PYTHON);
    command.arg(format!("{}/tests/end_to_end/conformance/{script}", env!("CARGO_MANIFEST_DIR")));
    command
}
