//! `mpt lab --speed`: how fast the tunnel is over links without a rate limit, and what it costs, beside no tunnel, kernel
//! MPTCP and other tunnels that are installed, on the same links in the same run.

mod figure;
mod pipe;
mod system;
mod table;
mod work;

use std::path::Path;
use std::time::Duration;

use port_linux::output;
use serde::Serialize;

use super::machine::Machine;
use super::out::write;
use super::progress::Progress;
use super::quick::START;
use super::rate::Rate;
use super::sample::{Summary, summary};
use super::topology::Topology;
use super::tunnel::Security;
use super::tunnel::policies;
use super::{cpu, memory, namespace, wireguard};
use system::System;
pub use work::Measure;
use work::{Sample, Work};

/// Policies of a run that is not asked for more: packet by packet, as measured and by weight, and flow by flow.
const USUAL_POLICIES: [&str; 3] = ["adaptive", "weighted", "flow"];

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Links, and paths of the tunnel.
    pub links: u8,
    /// What the links are shaped to, if they are.
    pub rate: Option<Rate>,
    /// Length of a transfer.
    pub seconds: f64,
    /// How often each is measured.
    pub repeats: u32,
    /// What; nothing: one flow and latency, or with `full` everything.
    pub measures: Vec<Measure>,
    /// The congestion controls of the flows.
    pub congestion: Vec<&'static str>,
    /// The tunnel's only policy; `None`: the usual ones, or with `full` every one.
    pub policy: Option<String>,
    /// Every measure, every policy, and links that take no large segments, too.
    pub full: bool,
}

/// The measurements of one thing of one system.
#[derive(Debug, Clone, Serialize)]
struct Row {
    work: Work,
    system: System,
    /// Whether the links take large segments whole.
    large_segments: bool,
    value: Summary,
    p99: Option<Summary>,
    cpu: Option<Summary>,
    tunnel_cpu: Option<Summary>,
    /// The most memory that one end held until then, in MiB.
    peak_mib: Option<Summary>,
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
    rate: Option<Rate>,
    rows: Vec<Row>,
}

/// One measurement and what it was of.
#[derive(Debug, Clone)]
struct Record {
    work: Work,
    system: System,
    large_segments: bool,
    sample: Sample,
    peak_mib: Option<f64>,
}

impl Plan {
    fn systems(&self) -> Vec<System> {
        let links = self.links;
        let policies: Vec<&str> = match &self.policy {
            Some(policy) => vec![policy],
            None if self.full => policies(),
            None => USUAL_POLICIES.to_vec(),
        };
        let mpt = |paths, policy: &str, security| {
            let policy = policy.to_owned();
            System::Mpt { paths, policy, slices: true, security }
        };
        let mut systems = vec![System::Plain, System::Mptcp { links }, System::Pipe];
        systems.extend([Security::None, Security::Keys].map(|security| mpt(1, "weighted", security)));
        if links > 1 {
            // What sealing costs, by the policy that is usual here.
            let others = [Security::None, Security::Chacha];
            systems.extend(
                policies.first().into_iter().flat_map(|policy| others.map(|it| mpt(links, policy, it))),
            );
            systems.extend(policies.into_iter().map(|policy| mpt(links, policy, Security::Keys)));
            let policy = "weighted".to_owned();
            systems.push(System::Mpt { paths: links, policy, slices: false, security: Security::None });
        }
        if wireguard::PROGRAMS.into_iter().all(namespace::is_installed) {
            systems.push(System::WireGuard);
        }
        systems
    }

    fn works(&self) -> Vec<Work> {
        let chosen = match (&self.measures[..], self.full) {
            ([], false) => &[Measure::Flow, Measure::Latency][..],
            ([], true) => &[Measure::Flow, Measure::Flows, Measure::Udp, Measure::Latency],
            (chosen, _) => chosen,
        };
        chosen.iter().flat_map(|measure| measure.works(&self.congestion)).collect()
    }
}

/// Runs it. `mpt` is the program's path; what is written goes to `out`, too.
///
/// # Errors
/// When something cannot be set up or a transfer breaks.
pub fn run(plan: &Plan, mpt: &Path, out: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let (systems, works) = (plan.systems(), plan.works());
    let kinds: &[bool] = if plan.full { &[true, false] } else { &[true] };
    let time = Duration::from_secs_f64(plan.seconds);
    let step = works.iter().map(|work| work.takes(time)).sum::<Duration>() + START;
    let steps = plan.repeats * u32::try_from(systems.len() * kinds.len())?;
    let background_percent = cpu::background()?;
    let mut progress = Progress::new(step * steps);
    let net = Topology::build(plan.links, plan.rate)?;
    let mut records = Vec::new();
    // Interleaved, so that what else the machine does hits all alike.
    for repeat in 1..=plan.repeats {
        for &large_segments in kinds {
            if kinds.len() > 1 {
                net.take_large_segments(large_segments)?;
            }
            for system in &systems {
                progress.begin(&format!("{repeat} of {}: {}", plan.repeats, system.label()), step);
                records.extend(measure(&net, system, large_segments, &works, time, mpt)?);
            }
        }
    }
    progress.end();
    let machine = Machine::describe();
    let rows = summarize(&records);
    let &Plan { seconds, repeats, rate, .. } = plan;
    let outcome = Outcome { format: 3, machine, background_percent, seconds, repeats, rate, rows };
    let (text, document) = (table::text(&outcome), serde_json::to_string_pretty(&outcome)? + "\n");
    if let Some(directory) = out {
        write(directory, "speed.json", &document)?;
        write(directory, "speed.md", &text)?;
        write(directory, "speed.svg", &figure::svg(&outcome)?)?;
    }
    output::print(if json { &document } else { &text })?;
    Ok(())
}

/// One system, from start to end.
fn measure(
    net: &Topology,
    system: &System,
    large_segments: bool,
    works: &[Work],
    time: Duration,
    mpt: &Path,
) -> anyhow::Result<Vec<Record>> {
    let started = system.start(net, mpt)?;
    let mut records = Vec::new();
    for &work in works.iter().filter(|work| work.applies_to(system)) {
        let sample = work.measure(net, &started, time)?;
        let peak = started.processes().into_iter().filter_map(memory::peak_mib).reduce(f64::max);
        records.push(Record { work, system: system.clone(), large_segments, sample, peak_mib: peak });
    }
    started.stop()?;
    Ok(records)
}

/// The medians, those of one thing one behind the other.
fn summarize(records: &[Record]) -> Vec<Row> {
    let mut rows: Vec<(bool, Work, &System)> = Vec::new();
    for record in records {
        let row = (record.large_segments, record.work, &record.system);
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    // Stable: in the order of measuring, but all systems of one thing together.
    let place = |kind: bool, work: Work| {
        let of = |record: &Record| (record.large_segments, record.work) == (kind, work);
        (!kind, records.iter().filter(|record| record.large_segments == kind).position(of))
    };
    rows.sort_by_key(|(kind, work, _)| place(*kind, *work));
    let row = |(large_segments, work, system): (bool, Work, &System)| {
        let mine = || {
            let of = move |record: &&Record| {
                (record.large_segments, record.work, &record.system) == (large_segments, work, system)
            };
            records.iter().filter(of)
        };
        Some(Row {
            work,
            system: system.clone(),
            large_segments,
            value: summary(mine().map(|record| record.sample.value))?,
            p99: summary(mine().filter_map(|record| record.sample.p99)),
            cpu: summary(mine().filter_map(|record| record.sample.cpu)),
            tunnel_cpu: summary(mine().filter_map(|record| record.sample.tunnel_cpu)),
            peak_mib: summary(mine().filter_map(|record| record.peak_mib)),
            samples: mine().map(|record| record.sample).collect(),
        })
    };
    rows.into_iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(work: Work, system: System, value: f64) -> Record {
        let sample = Sample { value, p99: None, cpu: Some(1.5), tunnel_cpu: Some(0.5) };
        Record { work, system, large_segments: true, sample, peak_mib: Some(20.0) }
    }

    fn outcome() -> Outcome {
        let security = Security::Keys;
        let mpt = || System::Mpt { paths: 4, policy: "weighted".to_owned(), slices: true, security };
        let (flow, udp) = (Work::Tcp { flows: 1, congestion: "bbr" }, Work::Udp { payload: 64 });
        let mptcp = System::Mptcp { links: 4 };
        let records = [
            record(flow, mptcp, 10.0),
            record(flow, mpt(), 1.0),
            record(udp, mpt(), 300.0),
            record(flow, mpt(), 9.0),
            record(flow, mpt(), 5.0),
        ];
        let rows = summarize(&records);
        Outcome {
            format: 3,
            machine: Machine::describe(),
            background_percent: 0.0,
            seconds: 4.0,
            repeats: 3,
            rate: None,
            rows,
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_system_with_its_median_beside_mptcp() {
        let text = table::text(&outcome());
        let line = text.lines().find(|line| line.contains("mpt, 4 paths")).expect("a line");
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        assert_eq!(
            cells[1..],
            ["mpt, 4 paths, weighted, sealed", "5.00 (1.00 to 9.00)", "0.50", "1.50", "0.500", "20", ""]
        );
        assert!(text.contains("UDP of 64 bytes"), "{text}");
    }

    #[test]
    fn the_figure_has_a_panel_for_what_was_measured() {
        let svg = figure::svg(&outcome()).expect("drawn");
        assert!(svg.contains("Datagrams") && !svg.contains("Latency"));
    }

    #[test]
    fn a_run_measures_what_was_asked_for_and_no_datagrams_over_mptcp() {
        let plan = |full, measures: &[Measure]| {
            let measures = measures.to_vec();
            let congestion = vec!["cubic", "bbr"];
            Plan { links: 4, rate: None, seconds: 4.0, repeats: 5, measures, congestion, policy: None, full }
        };
        let flow = |congestion| Work::Tcp { flows: 1, congestion };
        assert_eq!(plan(false, &[]).works(), [flow("cubic"), flow("bbr"), Work::Latency]);
        assert_eq!(plan(true, &[]).works().len(), 8);
        assert_eq!(plan(true, &[Measure::Udp]).works().len(), 3);
        let tunnels =
            |plan: &Plan| plan.systems().iter().filter(|system| matches!(system, System::Mpt { .. })).count();
        assert_eq!(tunnels(&plan(false, &[])), 8);
        assert_eq!(tunnels(&plan(true, &[])), 5 + policies().len());
        assert!(!Work::Udp { payload: 64 }.applies_to(&System::Mptcp { links: 4 }));
    }
}
