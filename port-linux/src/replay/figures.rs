//! The course of a recording as SVG: panels below each other, with one time axis.

use anyhow::Result;
use plotters::style::RGBColor;

use super::course::{Course, PathRow, Row};
use crate::figure::{self, BLUE, GREEN, Line, LineChart, ORANGE, PURPLE, SKY, VERMILION, YELLOW};

const COLOURS: [RGBColor; 7] = [BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, YELLOW];

/// The name of a panel, its unit, and what it shows of a path.
type OfPath = (&'static str, &'static str, fn(&PathRow) -> f64);
/// A line of a connection: its name, and what it shows.
type LineOf = (&'static str, fn(&Row) -> f64);
/// A panel of a connection.
type OfAll = (&'static str, &'static str, [LineOf; 3]);

const PATHS: [OfPath; 4] = [
    ("sent on each path", "Mbit/s", |path| megabits(path.tx_bps)),
    ("rate that each path is known to carry", "Mbit/s", |path| megabits(path.rate_bps)),
    ("queue on each path", "ms", |path| f64::from(path.queue_us) / 1000.0),
    ("lost on each path", "packets", |path| count(path.lost)),
];
const REPAIRS: OfAll = (
    "repairs and losses",
    "packets",
    [
        ("sent again", |row| count(row.tx_resent)),
        ("given up by this end", |row| count(row.rx_lost)),
        ("not taken, or dropped from the queue", |row| count(row.tx_dropped)),
    ],
);

/// Panels of what there is to see.
pub(super) fn svg(course: &Course, rows: &[Row]) -> Result<String> {
    let begin = rows.first().map_or(0, |row| row.from_us);
    let x = |row: &Row| seconds(row.to_us - begin);
    let names = course.names();
    let marks: Vec<(f64, String)> = course
        .events
        .iter()
        .filter(|(at, _)| *at >= begin)
        .map(|(at, what)| (seconds(at - begin), what.clone()))
        .collect();
    let x_label = format!("seconds after {:.1} s", seconds(begin));
    let chart = |title: &str, unit: &str, lines: Vec<Line>| LineChart {
        title: title.to_owned(),
        x_label: x_label.clone(),
        y_label: unit.to_owned(),
        lines,
        limits: Vec::new(),
        marks: marks.clone(),
    };
    let mut charts = Vec::new();
    for (title, unit, value) in PATHS {
        let line = |(name, colour): (&&str, &RGBColor)| {
            let of = |row: &Row| Some((x(row), value(row.paths.iter().find(|path| path.name == *name)?)));
            Line { name: (*name).to_owned(), colour: *colour, points: rows.iter().filter_map(of).collect() }
        };
        charts.push(chart(title, unit, names.iter().zip(COLOURS.iter().cycle()).map(line).collect()));
    }
    let (title, unit, lines) = REPAIRS;
    let line = |((name, value), colour): (&LineOf, &RGBColor)| Line {
        name: (*name).to_owned(),
        colour: *colour,
        points: rows.iter().map(|row| (x(row), value(row))).collect(),
    };
    charts.push(chart(title, unit, lines.iter().zip(&COLOURS).map(line).collect()));
    // What is nothing all the time is not drawn.
    charts.retain(|chart| chart.lines.iter().flat_map(|line| &line.points).any(|point| point.1 > 0.0));
    anyhow::ensure!(!charts.is_empty(), "nothing happened in that time: there is nothing to draw");
    figure::panels(&charts)
}

#[allow(clippy::cast_precision_loss, reason = "for display")]
fn count(number: u64) -> f64 {
    number as f64
}

fn megabits(bits: u64) -> f64 {
    count(bits) / 1e6
}

fn seconds(micros: u64) -> f64 {
    count(micros) / 1e6
}
