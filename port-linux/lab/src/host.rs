//! One host of the laboratory: a network namespace, and the programs that run in it.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::panic::resume_unwind;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::Deserialize;

/// How long a program may take to end after SIGTERM before it is killed.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often a program that should end is looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// The port of the discard service (RFC 863), where nobody listens.
const DISCARD: u16 = 9;

/// A network namespace with a name. Exists only inside [`super::namespace`]; it vanishes with it.
#[derive(Debug, Clone)]
pub struct Host {
    name: String,
}

/// What an interface has carried, from `ip -s link`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Bytes received, with Ethernet headers.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes sent, with Ethernet headers.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
}

impl Host {
    /// Makes the namespace and sets its loopback up.
    ///
    /// # Errors
    /// When `ip` fails; the error carries what it said.
    pub fn create(name: &str) -> anyhow::Result<Self> {
        run(Command::new("ip").args(["netns", "add", name]))?;
        let host = Self { name: name.to_owned() };
        host.run("ip link set lo up")?;
        Ok(host)
    }

    /// The namespace's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run on this host. The process it starts is the program itself: its pid can be killed.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program).stdin(Stdio::null());
        // Not everybody who may have the laboratory has the directories of `tc` and `nft` there.
        let path = env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
        command
    }

    /// Runs a command line, split at spaces, to its end, and returns its standard output.
    ///
    /// # Errors
    /// When it cannot be run or returns non-zero; the error carries the line and what it said.
    pub fn run(&self, line: &str) -> anyhow::Result<String> {
        let mut words = line.split_whitespace();
        let program = words.next().context("an empty command line")?;
        run(self.command(program).args(words))
    }

    /// Starts a command made by [`Host::command`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, command: &mut Command) -> anyhow::Result<Running> {
        let child = command.spawn().with_context(|| format!("cannot run {}", line(command)))?;
        Ok(Running { child })
    }

    /// Does some work in a thread that is on this host: sockets made in there belong to it, wherever they go later.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    ///
    /// # Panics
    /// When the work panics.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        let name = format!("/run/netns/{}", self.name);
        let namespace = File::open(&name).with_context(|| format!("cannot open {name}"))?;
        let enter = move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .with_context(|| format!("cannot enter {name}"))?;
            Ok(work())
        };
        thread::scope(|scope| scope.spawn(enter).join()).unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Sets a kernel parameter of this namespace, given with dots: `net.ipv4.tcp_rmem`.
    ///
    /// # Errors
    /// When the kernel has no such parameter or refuses the value.
    pub fn sysctl(&self, key: &str, value: &str) -> anyhow::Result<()> {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        self.inside(|| fs::write(path, value))?.with_context(|| format!("cannot set {key} to {value}"))
    }

    /// An interface's MTU.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn mtu(&self, device: &str) -> anyhow::Result<u32> {
        let json = self.run(&format!("ip -json link show dev {device}"))?;
        let links: Vec<MtuJson> =
            serde_json::from_str(&json).context("cannot read what `ip` says of links")?;
        links.first().map(|link| link.mtu).with_context(|| format!("there is no interface {device}"))
    }

    /// Whether another host answers within `patience`: it does when it refuses a TCP connection, too.
    ///
    /// # Errors
    /// As [`Host::inside`].
    pub fn reaches(&self, address: IpAddr, patience: Duration) -> anyhow::Result<bool> {
        let answer =
            self.inside(|| TcpStream::connect_timeout(&SocketAddr::new(address, DISCARD), patience))?;
        Ok(answer.map_or_else(|error| error.kind() == ErrorKind::ConnectionRefused, |_| true))
    }

    /// What each interface has carried so far.
    ///
    /// # Errors
    /// When `ip` fails or says something else than expected.
    pub fn counters(&self) -> anyhow::Result<BTreeMap<String, Counters>> {
        parse_counters(&self.run("ip -json -stats link show")?)
    }
}

/// Lays a wire between two hosts: each end is the host that it is on, its device and the device's addresses, which can be used at
/// once, and stay when the device is set down.
///
/// # Errors
/// When `ip` fails.
pub fn wire(ends: [(&Host, &str, &[&str]); 2]) -> anyhow::Result<()> {
    let [(host, device, _), (other, peer, _)] = ends;
    host.run(&format!("ip link add {device} type veth peer name {peer} netns {}", other.name()))?;
    for (host, device, addresses) in ends {
        host.sysctl(&format!("net.ipv6.conf.{device}.keep_addr_on_down"), "1")?;
        for address in addresses {
            let detection = if address.contains(':') { "nodad" } else { "" };
            host.run(&format!("ip address add {address} dev {device} {detection}"))?;
        }
        host.run(&format!("ip link set {device} up"))?;
    }
    Ok(())
}

/// The part of `ip -json -stats link` that is of use here.
#[derive(Deserialize)]
struct LinkJson {
    ifname: String,
    stats64: StatsJson,
}

#[derive(Deserialize)]
struct MtuJson {
    mtu: u32,
}

#[derive(Deserialize)]
struct StatsJson {
    rx: DirectionJson,
    tx: DirectionJson,
}

#[derive(Deserialize)]
struct DirectionJson {
    bytes: u64,
    packets: u64,
}

fn parse_counters(json: &str) -> anyhow::Result<BTreeMap<String, Counters>> {
    let links: Vec<LinkJson> = serde_json::from_str(json).context("cannot read what `ip` says of links")?;
    let one = |link: LinkJson| {
        let StatsJson { rx, tx } = link.stats64;
        let counters = Counters {
            rx_bytes: rx.bytes,
            rx_packets: rx.packets,
            tx_bytes: tx.bytes,
            tx_packets: tx.packets,
        };
        (link.ifname, counters)
    };
    Ok(links.into_iter().map(one).collect())
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
/// When it cannot be run or returns non-zero; the error carries what it said.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run {}", line(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}", line(command), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as people type it, without its environment.
fn line(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// A program that runs on a host. It is ended and reaped when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The handles of its standard streams.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its exit status if it has ended.
    ///
    /// # Errors
    /// When the kernel does not know the process, which means that somebody else reaped it.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends it a signal. A program that has already ended is left alone.
    pub fn signal(&mut self, signal: Signal) {
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// Asks it to end (SIGTERM), kills it if it does not within three seconds, and returns its exit status.
    ///
    /// # Errors
    /// As [`Running::ended`].
    pub fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM);
        match self.wait(PATIENCE)? {
            Some(status) => Ok(status),
            None => {
                self.signal(Signal::KILL);
                Ok(self.child.wait()?)
            }
        }
    }

    /// Waits for it to end by itself; `None` when it has not within `patience`.
    ///
    /// # Errors
    /// As [`Running::ended`].
    pub fn wait(&mut self, patience: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let mut waited = Duration::ZERO;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if waited >= patience {
                return Ok(None);
            }
            thread::sleep(GLANCE);
            waited += GLANCE;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_interface() {
        let json = r#"[{"ifname":"lo","stats64":{"rx":{"bytes":1,"packets":2},"tx":{"bytes":3,"packets":4}}},
                       {"ifname":"eth1","flags":["UP"],"stats64":{"rx":{"bytes":5,"packets":6,"errors":0},
                        "tx":{"bytes":7,"packets":8}}}]"#;

        let counters = parse_counters(json).expect("counters");

        assert_eq!(counters.len(), 2);
        assert_eq!(counters["eth1"], Counters { rx_bytes: 5, rx_packets: 6, tx_bytes: 7, tx_packets: 8 });
    }

    #[test]
    fn a_failed_command_says_what_it_said() {
        let error = run(Command::new("sh").args(["-c", "echo no such luck >&2; exit 3"])).expect_err("fails");
        assert!(error.to_string().contains("no such luck"), "{error}");
    }
}
