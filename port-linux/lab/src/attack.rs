//! `mpt lab --attack`: what a sealed tunnel carries while somebody floods one of its ends, as fast as one processor core sends.
//!
//! The flood itself takes processor time that the tunnel would have had. Each is therefore sent twice: to a socket beside the tunnel's,
//! which nobody reads, and to the tunnel's own. The share is what is left of the first.

mod flood;

use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use port_linux::config::PORT;
use port_linux::output;
use serde::Serialize;

pub use self::flood::Flood;
use self::flood::Sent;
use super::machine::Machine;
use super::out::write;
use super::progress::Progress;
use super::quick::{START, WARM_UP};
use super::rate::Rate;
use super::sample::{Summary, summary};
use super::stack::Stack;
use super::topology::{Side, Topology};
use super::traffic::stream::{Amount, Transport};
use super::tunnel::{Options, Tunnel};
use super::{cpu, memory, transfer};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Links, and paths of the tunnel.
    pub links: u8,
    /// Rate of each.
    pub rate: Rate,
    /// Length of each transfer.
    pub time: Duration,
    /// How often each is measured.
    pub repeats: u32,
    /// IP versions above and below.
    pub stack: Stack,
    /// `connection.policy`.
    pub policy: String,
    /// What is sent.
    pub floods: Vec<Flood>,
}

/// One transfer beside a flood.
#[derive(Debug, Clone, Serialize)]
struct Sample {
    goodput_mbit_s: f64,
    sent: Sent,
    /// The most memory that the flooded end held, in MiB.
    peak_mib: Option<f64>,
}

/// A flood: beside the tunnel, and at it.
#[derive(Debug, Clone, Serialize)]
struct Row {
    flood: Flood,
    aside: Vec<Sample>,
    attacked: Vec<Sample>,
}

/// Everything.
#[derive(Debug, Clone, Serialize)]
struct Outcome {
    format: u32,
    machine: Machine,
    background_percent: f64,
    links: u8,
    rate: Rate,
    policy: String,
    seconds: f64,
    rows: Vec<Row>,
}

/// Runs it. `mpt` is the program's path; what is written goes to `out`, too.
///
/// # Errors
/// When something cannot be set up or a transfer breaks.
pub fn run(plan: &Plan, mpt: &Path, out: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let step = (plan.time + START) * 2;
    let background_percent = cpu::background()?;
    let mut progress = Progress::new(step * plan.repeats * u32::try_from(plan.floods.len())?);
    let net = Topology::build(plan.links, Some(plan.rate))?;
    let row = |&flood| Row { flood, aside: Vec::new(), attacked: Vec::new() };
    let mut rows: Vec<Row> = plan.floods.iter().map(row).collect();
    for repeat in 1..=plan.repeats {
        for row in &mut rows {
            progress.begin(&format!("{repeat} of {}: {}", plan.repeats, row.flood.label()), step);
            let datagrams = row.flood.datagrams()?;
            row.aside.push(measure(&net, plan, mpt, &datagrams, false)?);
            row.attacked.push(measure(&net, plan, mpt, &datagrams, true)?);
        }
    }
    progress.end();
    let outcome = Outcome {
        format: 1,
        machine: Machine::describe(),
        background_percent,
        links: plan.links,
        rate: plan.rate,
        policy: plan.policy.clone(),
        seconds: plan.time.as_secs_f64(),
        rows,
    };
    let (text, document) = (text(&outcome), serde_json::to_string_pretty(&outcome)? + "\n");
    if let Some(directory) = out {
        write(directory, "attack.json", &document)?;
        write(directory, "attack.md", &text)?;
    }
    output::print(if json { &document } else { &text })?;
    Ok(())
}

/// One flow from PC1 to PC2, and a flood at PC2: from its own first address to the tunnel's socket there, or to one beside it.
fn measure(
    net: &Topology,
    plan: &Plan,
    mpt: &Path,
    datagrams: &[Vec<u8>],
    is_attacked: bool,
) -> anyhow::Result<Sample> {
    let tunnel = Tunnel::start(net, mpt, Options::lab(plan.stack, plan.links, &plan.policy))?;
    let pids = tunnel.pids();
    let [_, attacked] = pids;
    let address = Side::Pc2.address(1, plan.stack.outer());
    let beside = net.pc2.inside(|| UdpSocket::bind((address, 0)))??;
    let to = if is_attacked { SocketAddr::new(address, PORT) } else { beside.local_addr()? };
    let mut sent = Sent::default();
    let amount = Amount::Time(plan.time);
    let done = transfer::run(net, tunnel.address(), Transport::Tcp, amount, &pids, |_| {
        sent = net.pc2.inside(|| flood::send(datagrams, to, plan.time))??;
        Ok(())
    })?;
    let peak_mib = memory::peak_mib(attacked);
    tunnel.stop()?;
    let goodput_mbit_s = done.received.goodput(WARM_UP, plan.time);
    Ok(Sample { goodput_mbit_s, sent, peak_mib })
}

impl Row {
    /// What is left of the goodput, repeat by repeat.
    fn share(&self) -> Option<Summary> {
        let pairs = self.aside.iter().zip(&self.attacked);
        summary(pairs.map(|(aside, attacked)| attacked.goodput_mbit_s / aside.goodput_mbit_s))
    }
}

fn text(outcome: &Outcome) -> String {
    let mut text = format!(
        "A sealed tunnel over {} links of {}, policy {}, one TCP flow for {} s each, medians of {}\n{}\n\n",
        outcome.links,
        outcome.rate.spoken(),
        outcome.policy,
        outcome.seconds,
        outcome.rows.first().map_or(0, |row| row.aside.len()),
        outcome.machine
    );
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "| {:<38} | datagrams/s | flood aside | attacked | share (least to most) | answered, bytes/s | MiB: aside, attacked |",
        "flood"
    );
    let _ = writeln!(
        text,
        "|{:-<40}|-------------|-------------|----------|-----------------------|-------------------|----------------------|",
        ""
    );
    for row in &outcome.rows {
        let median = |samples: &[Sample], value: fn(&Sample) -> f64| {
            summary(samples.iter().map(value)).map_or(f64::NAN, |summary| summary.median)
        };
        let peak = |samples: &[Sample]| {
            let peaks = samples.iter().filter_map(|sample| sample.peak_mib);
            summary(peaks).map_or("?".to_owned(), |peaks| format!("{:.1}", peaks.max))
        };
        let share = row.share().map_or(String::new(), |share| {
            format!("{:.2} ({:.2} to {:.2})", share.median, share.min, share.max)
        });
        let _ = writeln!(
            text,
            "| {:<38} | {:>11.0} | {:>11.1} | {:>8.1} | {share:<21} | {:>17.0} | {:<20} |",
            row.flood.label(),
            median(&row.attacked, |sample| sample.sent.datagrams as f64 / sample.sent.seconds),
            median(&row.aside, |sample| sample.goodput_mbit_s),
            median(&row.attacked, |sample| sample.goodput_mbit_s),
            median(&row.attacked, |sample| sample.sent.answered_bytes as f64 / sample.sent.seconds),
            format!("{}, {}", peak(&row.aside), peak(&row.attacked)),
        );
    }
    let _ = writeln!(
        text,
        "\nGoodput in Mbit/s. \"Aside\": the same flood to a socket beside the tunnel's, which takes as much of the processor but nothing of the\n\
         tunnel's time. The share is what is left of that.\n{}",
        cpu::note(outcome.background_percent)
    );
    text
}
