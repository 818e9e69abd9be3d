//! What `mpt lab --speed` measures of each system.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use super::system::{Started, System};
use crate::cpu::{self, Cpu};
use crate::quick::WARM_UP;
use crate::sample::summary;
use crate::topology::Topology;
use crate::traffic::stream::{self, Amount, Flow, Payload, Sent};
use crate::traffic::{echo, packets};

/// Flows of [`Measure::Flows`].
const FLOWS: u8 = 8;
/// Payloads of [`Measure::Udp`], in bytes: small as of games and voice, middling, and nearly full.
const PAYLOADS: [u16; 3] = [64, 512, 1400];
/// Questions and answers of one latency measurement: a fifth of a second.
const ROUND_TRIPS: usize = 1000;
/// How long a receiver waits for its sender.
const CONNECT: Duration = Duration::from_secs(10);

/// What people choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Measure {
    /// One TCP flow
    Flow,
    /// Eight TCP flows at once
    Flows,
    /// Datagrams a second, of 64, 512 and 1,400 bytes
    Udp,
    /// Questions and answers of one byte
    Latency,
}

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(super) enum Work {
    /// TCP flows at once.
    Tcp {
        /// How many.
        flows: u8,
        /// Their congestion control, as the kernel calls it.
        congestion: &'static str,
    },
    /// Datagrams.
    Udp {
        /// Bytes of payload.
        payload: u16,
    },
    /// Questions and answers.
    Latency,
}

impl Measure {
    /// What it stands for, where flows go by each of these congestion controls.
    pub(super) fn works(self, congestion: &[&'static str]) -> Vec<Work> {
        let tcp = |flows| congestion.iter().map(|&congestion| Work::Tcp { flows, congestion }).collect();
        match self {
            Self::Flow => tcp(1),
            Self::Flows => tcp(FLOWS),
            Self::Udp => PAYLOADS.map(|payload| Work::Udp { payload }).to_vec(),
            Self::Latency => vec![Work::Latency],
        }
    }
}

/// One measurement.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Sample {
    /// Gbit/s of payload, thousands of datagrams a second, or the median microseconds one way (half of there and
    /// back).
    pub(super) value: f64,
    /// Of microseconds one way, the 99th percentile.
    pub(super) p99: Option<f64>,
    /// Busy seconds of the whole machine for 10^9 bytes, or for a million datagrams.
    pub(super) cpu: Option<f64>,
    /// Of these, of both ends of the tunnel, if that is a program.
    pub(super) tunnel_cpu: Option<f64>,
}

impl Work {
    /// For people, with the unit.
    pub(super) fn label(self) -> String {
        match self {
            Self::Tcp { flows: 1, congestion } => format!("one TCP flow by {congestion}, Gbit/s"),
            Self::Tcp { flows, congestion } => format!("{flows} TCP flows by {congestion}, Gbit/s"),
            Self::Udp { payload } => format!("UDP of {payload} bytes, thousand datagrams a second"),
            Self::Latency => "latency one way, us".to_owned(),
        }
    }

    /// What CPU time is counted for.
    pub(super) const fn cpu_unit(self) -> &'static str {
        match self {
            Self::Udp { .. } => "CPU s/million",
            _ => "CPU s/GB",
        }
    }

    /// Whether it can be measured of a system: MPTCP carries no datagrams.
    pub(super) fn applies_to(self, system: &System) -> bool {
        !matches!((self, system), (Self::Udp { .. }, System::Mptcp { .. }))
    }

    /// How long it takes when a transfer takes `time`.
    pub(super) fn takes(self, time: Duration) -> Duration {
        match self {
            Self::Tcp { .. } => time,
            Self::Udp { .. } => time / 2,
            Self::Latency => Duration::from_millis(300),
        }
    }

    /// Measures it once.
    ///
    /// # Errors
    /// When a connection breaks or nothing arrives.
    pub(super) fn measure(self, net: &Topology, system: &Started, time: Duration) -> anyhow::Result<Sample> {
        match self {
            Self::Tcp { flows, congestion } => tcp(net, system, flows, congestion, self.takes(time)),
            Self::Udp { payload } => udp(net, system, payload, self.takes(time)),
            Self::Latency => latency(net, system),
        }
    }
}

fn tcp(
    net: &Topology,
    system: &Started,
    flows: u8,
    congestion: &'static str,
    time: Duration,
) -> anyhow::Result<Sample> {
    // On every address: MPTCP's other subflows come to other addresses of PC2.
    let any = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let listen = |_| net.pc2.inside(|| stream::listen((any, 0).into(), system.transport()))?;
    let listeners = (0..flows).map(listen).collect::<anyhow::Result<Vec<_>>>()?;
    let cpu = cpu::Meter::start(&system.processes())?;
    let send = |listener: &TcpListener| -> anyhow::Result<Sent> {
        let port = listener.local_addr()?.port();
        let flow = Flow { congestion: Some(congestion), ..system.transport().into() };
        stream::send((system.address(), port).into(), flow, Amount::Time(time))
    };
    let ended: Vec<_> = thread::scope(|scope| {
        let start = |listener| {
            let receiver = scope.spawn(move || stream::receive(listener, Payload::Zeros, CONNECT));
            (receiver, scope.spawn(move || net.pc1.inside(|| send(listener))))
        };
        let running: Vec<_> = listeners.iter().map(start).collect();
        running.into_iter().map(|(receiver, sender)| (receiver.join(), sender.join())).collect()
    });
    let cpu = cpu.read()?;
    let mut received = Vec::new();
    for (receiver, sender) in ended {
        // The sender's error says more when both fail.
        sender.expect("the sender does not panic")?.context("PC1")?;
        received.push(receiver.expect("the receiver does not panic").context("PC2")?);
    }
    let megabits: f64 = received.iter().map(|received| received.goodput(WARM_UP, time)).sum();
    let bytes: u64 = received.iter().map(|received| received.bytes).sum();
    Ok(sample(megabits / 1e3, cpu, bytes as f64 / 1e9))
}

fn udp(net: &Topology, system: &Started, payload: u16, time: Duration) -> anyhow::Result<Sample> {
    let socket = net.pc2.inside(|| packets::bind((system.address(), 0).into()))??;
    let address = socket.local_address()?;
    let cpu = cpu::Meter::start(&system.processes())?;
    let stop = AtomicBool::new(false);
    let (rate, answered) = thread::scope(|scope| {
        let answerer = scope.spawn(|| packets::answer(&socket, &stop));
        let rate = net.pc1.inside(|| packets::rate(address, payload, time));
        stop.store(true, Relaxed);
        (rate, answerer.join())
    });
    let cpu = cpu.read()?;
    let rate = rate??;
    answered.expect("the answerer does not panic")?;
    Ok(sample(rate / 1e3, cpu, rate * time.as_secs_f64() / 1e6))
}

/// Half the time of a question of one byte and its answer on an idle connection.
fn latency(net: &Topology, system: &Started) -> anyhow::Result<Sample> {
    let transport = system.transport();
    let listener = net.pc2.inside(|| stream::listen((system.address(), 0).into(), transport))??;
    let address = listener.local_addr()?;
    let (answered, times) = thread::scope(|scope| {
        let answerer = scope.spawn(|| echo::answer(&listener));
        let asker = scope.spawn(|| net.pc1.inside(|| echo::ask(address, transport, ROUND_TRIPS)));
        (answerer.join(), asker.join())
    });
    let mut times = times.expect("the asker does not panic")??;
    answered.expect("the answerer does not panic")?;
    times.sort_unstable();
    let one_way = |time: &Duration| time.as_secs_f64() * 1e6 / 2.0;
    let median = summary(times.iter().map(one_way)).map_or(0.0, |times| times.median);
    let p99 = times.get(times.len() * 99 / 100).map(one_way);
    Ok(Sample { value: median, p99, cpu: None, tunnel_cpu: None })
}

fn sample(value: f64, cpu: Cpu, amount: f64) -> Sample {
    let tunnel_cpu = cpu.mpt_s.map(|seconds| seconds / amount);
    Sample { value, p99: None, cpu: Some(cpu.machine_s / amount), tunnel_cpu }
}
