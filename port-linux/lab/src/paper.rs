//! The long run: what the paper's figures 5 to 8 and 10 show, beside kernel MPTCP on the same links.
//!
//! Each repeat measures everything once before the next one begins, the tunnel and MPTCP in turn, so that what
//! changes on the machine meanwhile meets both. Medians are reported, with the least and the most.

mod figures;
mod ftp;
mod markdown;
mod plan;
mod record;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use port_linux::output;
use serde::Serialize;

use super::cpu::{self, Cpu};
use super::limit;
use super::machine::Machine;
use super::mptcp;
use super::out::write;
use super::progress::Progress;
use super::quick::{START, WARM_UP};
use super::stack::Version;
use super::topology::{Side, Topology};
use super::traffic::meter::mbit_per_second;
use super::traffic::stream::Transport;
use super::transfer::{self, Transfer};
use super::tunnel::{Options, Security, Tunnel};

pub use plan::{Job, Plan, System, Work};
pub use record::{Group, Record};

/// MPTCP may open its subflows late or not at all when a packet is lost; then it is measured again, so often.
const MPTCP_TRIES: usize = 3;

/// Everything that the long run found.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    /// Version of this format.
    pub format: u32,
    /// Where it ran.
    pub machine: Machine,
    /// How busy the machine was with other things before, in per cent of all cores.
    pub background_percent: f64,
    /// What was asked for.
    pub plan: Plan,
    /// What could not be measured here, and why.
    pub notes: Vec<String>,
    /// Medians of the repeats.
    pub summary: Vec<Group>,
    /// Every measurement, in the order in which they were made.
    pub records: Vec<Record>,
}

/// Runs it and writes `results.json`, `results.md` and the figures into a directory.
///
/// # Errors
/// When something cannot be set up, a measurement fails, or a file cannot be written.
pub fn run(plan: &Plan, mpt: &Path, out: &Path, json: bool) -> anyhow::Result<()> {
    let background_percent = cpu::background()?;
    let net = Topology::build(plan.links, Some(plan.rate))?;
    if !plan.gso {
        net.take_single_packets()?;
    }
    let (ftp, mptcp) = (ftp::is_installed(), mptcp::prepare(&net, 1, Version::V4));
    let mut notes = Vec::new();
    if !ftp {
        notes.push("Without FTP, which needs vsftpd and curl: apt install vsftpd curl.".to_owned());
    }
    if let Err(error) = &mptcp {
        notes.push(format!("Without MPTCP: {error:#}."));
    }
    for note in &notes {
        eprintln!("mpt: {note}");
    }
    let jobs = plan.jobs(ftp, mptcp.is_ok());
    let all: Duration = jobs.iter().map(|job| plan.expected(job) + START).sum();
    let mut progress = Progress::new(all * plan.repeats);
    let bench = Bench { plan, mpt, net };
    let mut records = Vec::new();
    for repeat in 1..=plan.repeats {
        for job in &jobs {
            progress.begin(&format!("{repeat} of {}: {job}", plan.repeats), plan.expected(job) + START);
            records.push(bench.measure(*job, repeat).with_context(|| job.to_string())?);
        }
    }
    progress.end();
    let summary = record::summarize(&records);
    let (machine, plan) = (Machine::describe(), plan.clone());
    let results = Results { format: 1, machine, background_percent, plan, notes, summary, records };
    let text = serde_json::to_string_pretty(&results)?;
    let table = markdown::tables(&results);
    write(out, "results.json", &text)?;
    write(out, "results.md", &table)?;
    for (name, svg) in figures::all(&results)? {
        write(out, &name, &svg)?;
    }
    output::print(&if json { text + "\n" } else { table })?;
    Ok(())
}

struct Bench<'a> {
    plan: &'a Plan,
    mpt: &'a Path,
    net: Topology,
}

impl Bench<'_> {
    fn measure(&self, job: Job, repeat: u32) -> anyhow::Result<Record> {
        match job.system {
            System::Tunnel(stack) => {
                let options =
                    Options { security: Security::None, ..Options::lab(stack, job.paths, "weighted") };
                let tunnel = Tunnel::start(&self.net, self.mpt, options)?;
                let share = tunnel.limit(&self.net)?;
                let record = self.through(job, repeat, share, &tunnel)?;
                tunnel.stop()?;
                Ok(record)
            }
            System::Mptcp(version) => {
                mptcp::prepare(&self.net, job.paths, version)?;
                let to = Side::Pc2.address(1, version);
                for _ in 0..MPTCP_TRIES {
                    let done =
                        transfer::run(&self.net, to, Transport::Mptcp, job.amount(self.plan), &[], |_| {
                            Ok(())
                        })?;
                    if done.links_used() == usize::from(job.paths) {
                        return Ok(self.record(job, repeat, limit::mptcp(version), &done));
                    }
                }
                bail!("MPTCP did not use all {} links in {MPTCP_TRIES} tries", job.paths)
            }
            System::Tcp(version) => {
                let to = Side::Pc2.address(1, version);
                let done =
                    transfer::run(&self.net, to, Transport::Tcp, job.amount(self.plan), &[], |_| Ok(()))?;
                Ok(self.record(job, repeat, limit::tcp(version), &done))
            }
        }
    }

    fn through(&self, job: Job, repeat: u32, share: f64, tunnel: &Tunnel) -> anyhow::Result<Record> {
        if job.work == Work::Ftp {
            let done = ftp::download(&self.net, tunnel.address(), self.plan.size, &tunnel.pids())?;
            return Ok(Record {
                goodput_mbit_s: mbit_per_second(self.plan.size, done.seconds),
                seconds: done.seconds,
                bytes: self.plan.size as f64,
                ..self.empty(job, repeat, share, done.cpu)
            });
        }
        if job.work == Work::Stream && self.plan.iperf3 {
            let done = transfer::iperf3(&self.net, tunnel.address(), self.plan.seconds, &tunnel.pids())?;
            return Ok(Record {
                goodput_mbit_s: done.goodput_mbit_s,
                seconds: self.plan.seconds,
                bytes: done.bytes,
                ..self.empty(job, repeat, share, done.cpu)
            });
        }
        let amount = job.amount(self.plan);
        let done =
            transfer::run(&self.net, tunnel.address(), Transport::Tcp, amount, &tunnel.pids(), |_| Ok(()))?;
        Ok(self.record(job, repeat, share, &done))
    }

    fn record(&self, job: Job, repeat: u32, share: f64, done: &Transfer) -> Record {
        let received = &done.received;
        let goodput_mbit_s = match job.work {
            // Steady state, as iperf3 measures with --omit; a download is measured whole.
            Work::Stream => received.goodput(WARM_UP, self.plan.time()),
            Work::Download | Work::Ftp => mbit_per_second(received.bytes, done.seconds),
        };
        Record {
            goodput_mbit_s,
            seconds: done.seconds,
            bytes: received.bytes as f64,
            interval_ms: received.interval_ms,
            // A stream's intervals say nothing that its goodput does not.
            intervals: if job.work == Work::Download { received.intervals.clone() } else { Vec::new() },
            ..self.empty(job, repeat, share, done.cpu)
        }
    }

    fn empty(&self, job: Job, repeat: u32, share: f64, cpu: Cpu) -> Record {
        let link = mbit_per_second(self.plan.rate.bytes_in_us(1_000_000), 1.0);
        Record {
            job,
            repeat,
            goodput_mbit_s: 0.0,
            limit_mbit_s: share * link * f64::from(job.paths),
            seconds: 0.0,
            bytes: 0.0,
            cpu,
            interval_ms: 0,
            intervals: Vec::new(),
        }
    }
}
