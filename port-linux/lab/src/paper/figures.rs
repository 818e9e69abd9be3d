//! Which figures the long run draws, numbered as in the paper.

use super::Results;
use super::plan::{Plan, System, Work};
use super::record::{Group, Record, find};
use crate::figure::{self, BLUE, BarChart, Bars, GREEN, Line, LineChart, SKY, VERMILION};
use crate::sample::Summary;
use crate::stack::{Stack, Version};

/// Points of a line over time: enough to see its course, few enough to be smooth.
const POINTS: usize = 60;

/// File names and SVG.
pub(super) fn all(results: &Results) -> anyhow::Result<Vec<(String, String)>> {
    let (plan, groups) = (&results.plan, &results.summary);
    let named = |name: &str, svg| (format!("{name}.svg"), svg);
    Ok(vec![
        named("figure5-goodput", figure::bars(&goodput(plan, groups), 2)?),
        named("figure6-download-rate", figure::bars(&[download(plan, groups, Unit::Rate)], 1)?),
        named("figure7-download-time", figure::bars(&[download(plan, groups, Unit::Time)], 1)?),
        named("figure8-one-path-and-all", figure::lines(&one_and_all(plan, &results.records))?),
        named("figure10-cpu", figure::bars(&cpu(plan, groups), 2)?),
    ])
}

type Value = Option<(Summary, Option<f64>)>;

fn bars(name: &str, colour: plotters::style::RGBColor, values: Vec<Value>) -> Bars {
    Bars { name: name.to_owned(), colour, values }
}

/// Figure 5: a panel for each combination of IP versions.
fn goodput(plan: &Plan, groups: &[Group]) -> Vec<BarChart> {
    let panel = |stack: Stack| {
        let values = |system| -> Vec<Value> {
            let value = |group: &Group| (group.goodput_mbit_s, Some(group.limit_mbit_s));
            (1..=plan.links).map(|paths| find(groups, Work::Stream, system, paths).map(value)).collect()
        };
        let mptcp = format!("kernel MPTCP, {}", stack.outer());
        BarChart {
            title: format!("Goodput of TCP: {stack}"),
            x_label: format!("paths of {} each", plan.rate.spoken()),
            y_label: "goodput, Mbit/s".to_owned(),
            groups: (1..=plan.links).map(|paths| paths.to_string()).collect(),
            series: vec![
                bars("mpt", BLUE, values(System::Tunnel(stack))),
                bars(&mptcp, VERMILION, values(System::Mptcp(stack.outer()))),
            ],
        }
    };
    Stack::ALL.map(panel).to_vec()
}

#[derive(Clone, Copy)]
enum Unit {
    Rate,
    Time,
}

/// Figures 6 and 7: a download over all paths.
fn download(plan: &Plan, groups: &[Group], unit: Unit) -> BarChart {
    let megabits = plan.size as f64 * 8.0 / 1e6;
    let value = |group: &Group| match unit {
        Unit::Rate => (group.goodput_mbit_s, Some(group.limit_mbit_s)),
        Unit::Time => (group.seconds, Some(megabits / group.limit_mbit_s)),
    };
    let values = |work, system: fn(Stack) -> System| -> Vec<Value> {
        Stack::ALL.map(|stack| find(groups, work, system(stack), plan.links).map(value)).to_vec()
    };
    let series = vec![
        bars("mpt", BLUE, values(Work::Download, System::Tunnel)),
        bars("mpt, FTP", SKY, values(Work::Ftp, System::Tunnel)),
        bars("kernel MPTCP", VERMILION, values(Work::Download, |stack| System::Mptcp(stack.outer()))),
    ];
    let (title, y_label) = match unit {
        Unit::Rate => ("Rate of a download", "goodput, Mbit/s"),
        Unit::Time => ("Time of a download", "time, s"),
    };
    BarChart {
        title: format!(
            "{title} of {} MB over {} paths of {}",
            plan.size / 1_000_000,
            plan.links,
            plan.rate.spoken()
        ),
        x_label: "IP versions above and below the tunnel".to_owned(),
        y_label: y_label.to_owned(),
        groups: Stack::ALL.map(|stack| stack.to_string()).to_vec(),
        series,
    }
}

/// Figures 8 and 9: the same download over one physical path and over all, as it goes on.
fn one_and_all(plan: &Plan, records: &[Record]) -> LineChart {
    let course = |system, paths| -> Option<&Record> {
        records.iter().find(|record| {
            record.job.work == Work::Download && record.job.system == system && record.job.paths == paths
        })
    };
    let line = |name: &str, colour, record: Option<&Record>| {
        let record = record?;
        let merged = record.intervals.len().div_ceil(POINTS);
        let points = figure::goodput_points(&record.intervals, record.interval_ms, merged);
        Some(Line { name: format!("{name}: {:.1} s", record.seconds), colour, points })
    };
    let tunnel = course(System::Tunnel(Stack::V4OverV4), plan.links);
    let mptcp = course(System::Mptcp(Version::V4), plan.links);
    let single = course(System::Tcp(Version::V4), 1);
    let limits = [tunnel, mptcp, single]
        .into_iter()
        .flatten()
        .map(|record| (0.0, record.seconds, record.limit_mbit_s));
    LineChart {
        title: format!("A download of {} MB over one path and over {}", plan.size / 1_000_000, plan.links),
        x_label: "time, s".to_owned(),
        y_label: "goodput, Mbit/s".to_owned(),
        lines: [
            line(&format!("mpt on {} paths", plan.links), BLUE, tunnel),
            line(&format!("kernel MPTCP on {} paths", plan.links), VERMILION, mptcp),
            line("TCP on one path, no tunnel", GREEN, single),
        ]
        .into_iter()
        .flatten()
        .collect(),
        limits: limits.collect(),
        marks: Vec::new(),
    }
}

/// Figure 10: CPU by number of paths, per byte and in per cent, over IPv6 as in the paper.
fn cpu(plan: &Plan, groups: &[Group]) -> Vec<BarChart> {
    let panel = |title: &str, y_label: &str, of: fn(&Group) -> Summary| {
        let values = |system| -> Vec<Value> {
            let value = |group: &Group| (of(group), None);
            (1..=plan.links).map(|paths| find(groups, Work::Stream, system, paths).map(value)).collect()
        };
        BarChart {
            title: title.to_owned(),
            x_label: format!("paths of {} each", plan.rate.spoken()),
            y_label: y_label.to_owned(),
            groups: (1..=plan.links).map(|paths| paths.to_string()).collect(),
            series: vec![
                bars("mpt, IPv6 over IPv6", BLUE, values(System::Tunnel(Stack::V6OverV6))),
                bars("kernel MPTCP, IPv6", VERMILION, values(System::Mptcp(Version::V6))),
            ],
        }
    };
    vec![
        panel("CPU time for each gigabyte", "busy seconds per 10^9 bytes", |group| group.cpu_s_per_gb),
        panel("CPU load of both hosts together", "busy, % of all cores", |group| group.cpu_percent),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::record::summarize;
    use super::super::record::tests::record;
    use super::*;
    use crate::figure::LIMIT;
    use crate::machine::Machine;
    use crate::rate::Rate;

    fn results() -> Results {
        let plan = Plan {
            links: 4,
            rate: Rate::FAST_ETHERNET,
            seconds: 10.0,
            repeats: 1,
            size: 1_000_000_000,
            iperf3: false,
            gso: true,
        };
        let goodput = |paths| 91.0 * f64::from(paths);
        let records: Vec<Record> = plan
            .jobs(true, true)
            .iter()
            .map(|job| record(job.work, job.system, job.paths, goodput(job.paths)))
            .collect();
        let summary = summarize(&records);
        Results {
            format: 1,
            machine: Machine::describe(),
            background_percent: 0.0,
            plan,
            notes: Vec::new(),
            summary,
            records,
        }
    }

    #[test]
    fn every_figure_has_both_systems_in_it_and_a_unit() {
        let figures = all(&results()).expect("drawn");
        assert_eq!(figures.len(), 5);
        for (name, svg) in &figures {
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{name}");
            for text in ["mpt", "kernel MPTCP"] {
                assert!(svg.contains(text), "{name} lacks {text}");
            }
            assert!(svg.contains("Mbit/s") || svg.contains(", s") || svg.contains('%'), "{name} has no unit");
            // CPU time has no limit.
            assert_eq!(svg.contains(LIMIT), !name.contains("cpu"), "{name}");
        }
    }

    #[test]
    fn the_table_sets_each_tunnel_beside_mptcp_on_the_same_paths() {
        let text = super::super::markdown::tables(&results());
        let line = text.lines().find(|line| line.starts_with("| mpt, IPv4 over IPv6 | 4 |")).expect("a line");
        assert!(
            line.contains("364.0 (364.0 to 364.0)") && line.contains("98.9 %") && line.contains("100.0 %"),
            "{line}"
        );
    }
}
