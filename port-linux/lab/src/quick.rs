//! The short run: goodput by number of paths, then a path that is cut and restored under load.

use std::path::Path;
use std::thread;
use std::time::Duration;

use mpt_proto::{Aspect, Policy};
use serde::Serialize;

use super::cpu::{self, Cpu};
use super::machine::Machine;
use super::progress::Progress;
use super::rate::Rate;
use super::stack::Stack;
use super::topology::{Cut, Side, Topology};
use super::traffic::meter::mbit_per_second;
use super::traffic::stream::{Amount, Flow, Transport};
use super::traffic::udp::Delivery;
use super::transfer;
use super::tunnel::{Options, Security, Tunnel};

/// Left out of each goodput: TCP finds its rate in this time. (iperf3 has `--omit` for the same purpose.)
pub const WARM_UP: Duration = Duration::from_secs(1);

/// After a cut or a repair, goodput is that of a new state only after the dead time, a few probes, and TCP's recovery.
const SETTLE: Duration = Duration::from_millis(1500);

/// Silences that begin within this time after a cut or a repair are those of the hand-over.
const AROUND: Duration = Duration::from_secs(1);

/// The hand-over lasts at least this long: in each third something is left after [`SETTLE`].
const HAND_OVER_LEAST: Duration = Duration::from_secs(9);

/// How long starting and ending a tunnel takes, for the estimate of the time left.
pub const START: Duration = Duration::from_millis(600);

/// The order of delivery is watched at this part of what the remaining paths carry, so that no queue overflows and
/// each loss is the cut's.
const WATCHED_SHARE: f64 = 0.5;

/// How long it is watched.
const WATCHED_TIME: Duration = Duration::from_secs(5);

/// What the short run was asked for.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// Number of links and of paths.
    pub paths: u8,
    /// Rate of each link.
    pub rate: Rate,
    /// Length of each transfer.
    pub seconds: f64,
    /// IP versions above and below the tunnel.
    pub stack: Stack,
    /// The tunnel's policy.
    pub policy: String,
    /// Whether the tunnel is sealed.
    pub security: Security,
    /// How the last path is cut.
    pub cut: Cut,
    /// Whether goodput is measured by iperf3.
    pub iperf3: bool,
    /// The flow's congestion control; `None`: the usual one.
    pub congestion: Option<&'static str>,
}

/// Everything that the short run found.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Version of this format.
    pub format: u32,
    /// Where it ran.
    pub machine: Machine,
    /// How busy the machine was with other things before, in per cent of all cores.
    pub background_percent: f64,
    /// What was asked for.
    pub settings: Settings,
    /// Goodput by number of paths.
    pub rows: Vec<Row>,
    /// The hand-over; there is none with one path.
    pub handover: Option<Handover>,
    /// Numbered UDP through another hand-over.
    pub delivery: Option<Delivery>,
}

/// Goodput with a number of paths.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Number of paths.
    pub paths: u8,
    /// Payload that TCP delivered, without the first second.
    pub goodput_mbit_s: f64,
    /// The most that the links' rate leaves after all headers.
    pub limit_mbit_s: f64,
    /// CPU time of the whole transfer.
    pub cpu: Cpu,
    /// Busy seconds of the whole machine for 10^9 bytes of payload.
    pub cpu_s_per_gb: f64,
}

/// A path cut and restored while TCP flows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Handover {
    /// How it was cut: `link` or `silent`.
    pub cut: String,
    /// Number of paths before.
    pub paths: u8,
    /// When it was cut, in seconds.
    pub cut_at_s: f64,
    /// When it was restored, in seconds.
    pub restored_at_s: f64,
    /// Goodput before, on the remaining paths, and on all again, in Mbit/s.
    pub goodput_mbit_s: [f64; 3],
    /// The limit in the same three times.
    pub limit_mbit_s: [f64; 3],
    /// The longest times in which the receiver got nothing, in milliseconds: such as began before the cut, in the second after it, and in the
    /// second after the path was restored.
    pub gaps_ms: [f64; 3],
    /// Length of an interval, in milliseconds.
    pub interval_ms: u64,
    /// Bytes that came in each interval.
    pub intervals: Vec<u64>,
}

/// Runs it. `mpt` is the program's path.
///
/// # Errors
/// When something cannot be set up or a transfer breaks.
pub fn run(settings: &Settings, mpt: &Path) -> anyhow::Result<Outcome> {
    let background_percent = cpu::background()?;
    let step = settings.time() + START;
    let hand_over_time = settings.hand_over_time() + START;
    let rest = if settings.paths > 1 { hand_over_time + WATCHED_TIME } else { Duration::ZERO };
    let mut progress = Progress::new(step * u32::from(settings.paths) + rest);
    let net = Topology::build(settings.paths, Some(settings.rate))?;
    let mut rows = Vec::new();
    for paths in 1..=settings.paths {
        progress.begin(&format!("TCP over {paths} of {} paths", settings.paths), step);
        rows.push(row(&net, mpt, settings, paths)?);
    }
    let (mut handover, mut delivery) = (None, None);
    if settings.paths > 1 {
        let tunnel = Tunnel::start(&net, mpt, settings.tunnel(settings.paths))?;
        progress.begin("one path is cut and restored under TCP", hand_over_time);
        handover = Some(hand_over(&net, &tunnel, settings)?);
        progress.begin("the same under numbered UDP", WATCHED_TIME);
        delivery = Some(watch_order(&net, &tunnel, settings)?);
        tunnel.stop()?;
    }
    progress.end();
    let (machine, settings) = (Machine::describe(), settings.clone());
    Ok(Outcome { format: 2, machine, background_percent, settings, rows, handover, delivery })
}

impl Settings {
    fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    fn hand_over_time(&self) -> Duration {
        (self.time() * 2).max(HAND_OVER_LEAST)
    }

    fn tunnel(&self, paths: u8) -> Options {
        Options { security: self.security, ..Options::lab(self.stack, paths, &self.policy) }
    }

    fn flow(&self) -> Flow {
        Flow { congestion: self.congestion, ..Transport::Tcp.into() }
    }

    /// The most goodput, in Mbit/s, when each link leaves that share of its rate.
    fn limit(&self, share: f64, paths: u8) -> f64 {
        let policy = Policy::ALL.iter().find(|policy| policy.name() == self.policy);
        // Others keep one flow on one path at a time, or send the same on all.
        let adds_up = policy.is_some_and(|policy| policy.has(Aspect::Sum));
        let used = if adds_up { paths } else { 1 };
        share * f64::from(used) * mbit_per_second(self.rate.bytes_in_us(1_000_000), 1.0)
    }
}

fn row(net: &Topology, mpt: &Path, settings: &Settings, paths: u8) -> anyhow::Result<Row> {
    let tunnel = Tunnel::start(net, mpt, settings.tunnel(paths))?;
    let limit_mbit_s = settings.limit(tunnel.limit(net)?, paths);
    let (goodput_mbit_s, bytes, cpu) = if settings.iperf3 {
        let done = transfer::iperf3(net, tunnel.address(), settings.seconds, &tunnel.pids())?;
        (done.goodput_mbit_s, done.bytes, done.cpu)
    } else {
        let amount = Amount::Time(settings.time());
        let done = transfer::run(net, tunnel.address(), settings.flow(), amount, &tunnel.pids(), |_| Ok(()))?;
        (done.received.goodput(WARM_UP, settings.time()), done.received.bytes as f64, done.cpu)
    };
    tunnel.stop()?;
    let cpu_s_per_gb = cpu.machine_s / (bytes / 1e9);
    Ok(Row { paths, goodput_mbit_s, limit_mbit_s, cpu, cpu_s_per_gb })
}

/// Cuts the last path at a third of the time and restores it at two thirds; returns both moments.
fn cut_and_restore(net: &Topology, cut: Cut, time: Duration) -> anyhow::Result<[Duration; 2]> {
    let clock = super::stopwatch::Stopwatch::start();
    thread::sleep(time / 3);
    let cut_at = clock.elapsed();
    net.cut(net.links(), cut)?;
    thread::sleep((time * 2 / 3).saturating_sub(clock.elapsed()));
    let restored_at = clock.elapsed();
    net.restore(net.links(), cut)?;
    Ok([cut_at, restored_at])
}

fn hand_over(net: &Topology, tunnel: &Tunnel, settings: &Settings) -> anyhow::Result<Handover> {
    let (time, paths) = (settings.hand_over_time(), settings.paths);
    let mut moments = [Duration::ZERO; 2];
    let amount = Amount::Time(time);
    let done = transfer::run(net, tunnel.address(), settings.flow(), amount, &tunnel.pids(), |_| {
        moments = cut_and_restore(net, settings.cut, time)?;
        Ok(())
    })?;
    let [cut_at, restored_at] = moments;
    let received = done.received;
    let share = tunnel.limit(net)?;
    Ok(Handover {
        cut: settings.cut.to_string(),
        paths,
        cut_at_s: cut_at.as_secs_f64(),
        restored_at_s: restored_at.as_secs_f64(),
        goodput_mbit_s: [
            received.goodput(WARM_UP, cut_at),
            received.goodput(cut_at + SETTLE, restored_at),
            received.goodput(restored_at + SETTLE, time),
        ],
        limit_mbit_s: [paths, paths - 1, paths].map(|paths| settings.limit(share, paths)),
        gaps_ms: [
            received.longest_gap_ms(WARM_UP, cut_at - AROUND),
            received.longest_gap_ms(cut_at, cut_at + AROUND),
            received.longest_gap_ms(restored_at, restored_at + AROUND),
        ],
        interval_ms: received.interval_ms,
        intervals: received.intervals,
    })
}

fn watch_order(net: &Topology, tunnel: &Tunnel, settings: &Settings) -> anyhow::Result<Delivery> {
    let bits = settings.limit(tunnel.limit(net)?, settings.paths - 1) * WATCHED_SHARE * 1e6;
    let rate = format!("{bits:.0}bit").parse().map_err(anyhow::Error::msg)?;
    transfer::datagrams(net, Side::Pc1, tunnel.address(), rate, WATCHED_TIME, || {
        cut_and_restore(net, settings.cut, WATCHED_TIME).map(drop)
    })
}
