//! The result as bars.

use plotters::style::RGBColor;

use super::system::System;
use super::work::Work;
use super::{Outcome, Row};
use crate::figure::{BLUE, BarChart, Bars, GREEN, ORANGE, PURPLE, SKY, VERMILION, YELLOW, bars};
use crate::sample::Summary;

const COLOURS: [RGBColor; 7] = [SKY, VERMILION, GREEN, BLUE, ORANGE, PURPLE, YELLOW];

/// Speed, what it costs, datagrams and latency, of what was measured.
///
/// # Errors
/// As [`bars`].
pub(super) fn svg(outcome: &Outcome) -> anyhow::Result<String> {
    let value = |row: &Row| Some(row.value);
    let is_tcp = |work| matches!(work, Work::Tcp { .. });
    let charts = [
        chart(outcome, "Goodput", "Gbit/s", is_tcp, value),
        chart(outcome, "Processor time, all of the machine", "s per GB", is_tcp, |row| row.cpu),
        chart(outcome, "Datagrams", "thousand a second", |work| matches!(work, Work::Udp { .. }), value),
        chart(outcome, "Latency one way, median", "us", |work| work == Work::Latency, value),
    ];
    let charts: Vec<BarChart> = charts.into_iter().flatten().collect();
    bars(&charts, charts.len().min(2))
}

/// `None` when nothing of it was measured.
fn chart(
    outcome: &Outcome,
    title: &str,
    unit: &str,
    wanted: impl Fn(Work) -> bool,
    value: impl Fn(&Row) -> Option<Summary>,
) -> Option<BarChart> {
    let mut groups: Vec<(Work, bool)> = Vec::new();
    let mut systems = Vec::new();
    for row in &outcome.rows {
        if !systems.contains(&row.system) {
            systems.push(row.system.clone());
        }
        if wanted(row.work) && !groups.contains(&(row.work, row.large_segments)) {
            groups.push((row.work, row.large_segments));
        }
    }
    let find = |system: &System, group: &(Work, bool)| {
        let row = outcome
            .rows
            .iter()
            .find(|row| row.system == *system && (row.work, row.large_segments) == *group)?;
        Some((value(row)?, None))
    };
    let series = systems.iter().zip(COLOURS.into_iter().cycle()).map(|(system, colour)| Bars {
        name: system.label(),
        colour,
        values: groups.iter().map(|group| find(system, group)).collect(),
    });
    let name = |(work, large_segments): &(Work, bool)| {
        let name = match work {
            Work::Tcp { flows: 1, congestion } => format!("one flow, {congestion}"),
            Work::Tcp { flows, congestion } => format!("{flows} flows, {congestion}"),
            Work::Udp { payload } => format!("{payload} bytes"),
            Work::Latency => "questions and answers".to_owned(),
        };
        if *large_segments { name } else { format!("{name}, cut") }
    };
    (!groups.is_empty()).then(|| BarChart {
        title: title.to_owned(),
        x_label: String::new(),
        y_label: unit.to_owned(),
        groups: groups.iter().map(name).collect(),
        series: series.collect(),
    })
}
