//! `mpt lab --speed`: how fast one TCP flow is over links without a rate limit, and what it costs, beside plain TCP and
//! kernel MPTCP on the same links in the same run.

use std::fmt::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::cpu;
use super::machine::Machine;
use super::mptcp;
use super::progress::Progress;
use super::quick::{START, WARM_UP};
use super::sample::{Summary, summary};
use super::stack::{Stack, Version};
use super::topology::{Side, Topology};
use super::traffic::echo;
use super::traffic::stream::{Amount, Transport};
use super::transfer;
use super::tunnel::{Options, Tunnel};
use crate::output;

/// Questions and answers of one latency measurement: a second at a millisecond each.
const ROUND_TRIPS: usize = 1000;
/// Time allowed for them in the estimate.
const ROUND_TRIP_TIME: Duration = Duration::from_millis(200);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum System {
    /// TCP over the first link.
    Tcp,
    /// Kernel MPTCP over all links.
    Mptcp { links: u8 },
    /// The tunnel.
    Mpt { paths: u8, policy: &'static str },
}

impl System {
    fn label(self) -> String {
        match self {
            Self::Tcp => "TCP, 1 link".to_owned(),
            Self::Mptcp { links } => format!("kernel MPTCP, {links} links"),
            Self::Mpt { paths: 1, .. } => "mpt, 1 path".to_owned(),
            Self::Mpt { paths, policy } => format!("mpt, {paths} paths, {policy}"),
        }
    }
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
struct Sample {
    goodput_gbit_s: f64,
    cpu_s_per_gb: f64,
    mpt_cpu_s_per_gb: Option<f64>,
    round_trip_us: f64,
}

/// A system's measurements.
#[derive(Debug, Clone, Serialize)]
struct Row {
    system: System,
    goodput_gbit_s: Summary,
    cpu_s_per_gb: Summary,
    mpt_cpu_s_per_gb: Option<Summary>,
    round_trip_us: Summary,
    samples: Vec<Sample>,
}

/// Everything.
#[derive(Debug, Clone, Serialize)]
struct Outcome {
    format: u32,
    machine: Machine,
    background_percent: f64,
    seconds: f64,
    repeats: u32,
    rows: Vec<Row>,
}

/// Runs it. `mpt` is the program's path.
///
/// # Errors
/// When something cannot be set up or a transfer breaks.
pub fn run(links: u8, seconds: f64, repeats: u32, mpt: &Path, json: bool) -> anyhow::Result<()> {
    let systems = [
        System::Tcp,
        System::Mptcp { links },
        System::Mpt { paths: 1, policy: "weighted" },
        System::Mpt { paths: links, policy: "weighted" },
        System::Mpt { paths: links, policy: "flow" },
    ];
    let background_percent = cpu::background()?;
    let step = Duration::from_secs_f64(seconds) + START + ROUND_TRIP_TIME;
    let mut progress = Progress::new(step * repeats * u32::try_from(systems.len())?);
    let net = Topology::build(links, None)?;
    let mut samples = systems.map(|_| Vec::new());
    // Interleaved, so that what else the machine does hits all alike.
    for repeat in 1..=repeats {
        for (system, samples) in systems.iter().zip(&mut samples) {
            progress.begin(&format!("{repeat} of {repeats}: {}", system.label()), step);
            samples.push(measure(&net, *system, seconds, mpt)?);
        }
    }
    progress.end();
    let rows =
        systems.into_iter().zip(samples).filter_map(|(system, samples)| row(system, samples)).collect();
    let machine = Machine::describe();
    let outcome = Outcome { format: 1, machine, background_percent, seconds, repeats, rows };
    let text = if json { serde_json::to_string_pretty(&outcome)? + "\n" } else { table(&outcome) };
    output::print(&text)?;
    Ok(())
}

fn measure(net: &Topology, system: System, seconds: f64, mpt: &Path) -> anyhow::Result<Sample> {
    let (mut tunnel, mut transport, mut to) = (None, Transport::Tcp, Side::Pc2.address(1, Version::V4));
    match system {
        System::Tcp => {}
        System::Mptcp { links } => {
            mptcp::prepare(net, links, Version::V4)?;
            transport = Transport::Mptcp;
        }
        System::Mpt { paths, policy } => {
            let options = Options::lab(Stack::V4OverV4, paths, policy);
            let started = Tunnel::start(net, mpt, options)?;
            to = started.address();
            tunnel = Some(started);
        }
    }
    let pids = tunnel.as_ref().map(Tunnel::pids);
    let pids = pids.as_ref().map_or(&[][..], |pids| &pids[..]);
    let time = Duration::from_secs_f64(seconds);
    let done = transfer::run(net, to, transport, Amount::Time(time), pids, |_| Ok(()))?;
    let round_trip_us = round_trip(net, to, transport)?;
    if let Some(tunnel) = tunnel {
        tunnel.stop()?;
    }
    let gigabytes = done.received.bytes as f64 / 1e9;
    Ok(Sample {
        goodput_gbit_s: done.received.goodput(WARM_UP, time) / 1e3,
        cpu_s_per_gb: done.cpu.machine_s / gigabytes,
        mpt_cpu_s_per_gb: done.cpu.mpt_s.map(|seconds| seconds / gigabytes),
        round_trip_us,
    })
}

/// The median time of a question of one byte and its answer on an idle connection, in microseconds.
fn round_trip(net: &Topology, to: std::net::IpAddr, transport: Transport) -> anyhow::Result<f64> {
    let listener = net.pc2.inside(|| super::traffic::stream::listen((to, 0).into(), transport))??;
    let address = listener.local_addr()?;
    let (answered, times) = thread::scope(|scope| {
        let answerer = scope.spawn(|| echo::answer(&listener));
        let asker = scope.spawn(|| net.pc1.inside(|| echo::ask(address, transport, ROUND_TRIPS)));
        (answerer.join(), asker.join())
    });
    let times = times.expect("the asker does not panic")??;
    answered.expect("the answerer does not panic")?;
    Ok(summary(times.iter().map(|time| time.as_secs_f64() * 1e6)).map_or(0.0, |times| times.median))
}

fn row(system: System, samples: Vec<Sample>) -> Option<Row> {
    let of = |value: fn(&Sample) -> f64| summary(samples.iter().map(value));
    Some(Row {
        system,
        goodput_gbit_s: of(|sample| sample.goodput_gbit_s)?,
        cpu_s_per_gb: of(|sample| sample.cpu_s_per_gb)?,
        mpt_cpu_s_per_gb: summary(samples.iter().filter_map(|sample| sample.mpt_cpu_s_per_gb)),
        round_trip_us: of(|sample| sample.round_trip_us)?,
        samples,
    })
}

fn table(outcome: &Outcome) -> String {
    let mut text = format!(
        "One TCP flow over links without a rate limit, {} s each, medians of {} (least to most)\n{}\n\n",
        outcome.seconds, outcome.repeats, outcome.machine
    );
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{:<24}  {:>26}  {:>8}  {:>8}  {:>10}",
        "system", "goodput", "CPU s/GB", "of mpt", "round trip"
    );
    for row in &outcome.rows {
        let goodput = row.goodput_gbit_s;
        let of_mpt = row.mpt_cpu_s_per_gb.map_or(String::new(), |seconds| format!("{:.2}", seconds.median));
        let _ = writeln!(
            text,
            "{:<24}  {:>5.2} Gbit/s {:>13}  {:>8.2}  {:>8}  {:>7.0} us",
            row.system.label(),
            goodput.median,
            format!("({:.2} to {:.2})", goodput.min, goodput.max),
            row.cpu_s_per_gb.median,
            of_mpt,
            row.round_trip_us.median
        );
    }
    let _ = writeln!(text, "\n{}", cpu::note(outcome.background_percent));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_system_with_its_median() {
        let sample = |goodput_gbit_s| Sample {
            goodput_gbit_s,
            cpu_s_per_gb: 1.5,
            mpt_cpu_s_per_gb: Some(0.5),
            round_trip_us: 50.0,
        };
        let system = System::Mpt { paths: 4, policy: "weighted" };
        let outcome = Outcome {
            format: 1,
            machine: Machine::describe(),
            background_percent: 0.0,
            seconds: 4.0,
            repeats: 3,
            rows: row(system, vec![sample(1.0), sample(9.0), sample(5.0)]).into_iter().collect(),
        };
        let text = table(&outcome);
        assert!(text.contains("mpt, 4 paths, weighted"), "{text}");
        assert!(text.contains(" 5.00 Gbit/s (1.00 to 9.00)      1.50      0.50       50 us"), "{text}");
    }
}
