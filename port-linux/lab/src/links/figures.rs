//! The figures: goodput of all systems as bars, and over time while links are cut.

use plotters::style::RGBColor;

use super::cuts::Series;
use super::{Outcome, Protocol, Row, System};
use crate::figure::{self, BarChart, Bars, Line, LineChart};

/// Rows that share a colour.
struct Kind {
    name: &'static str,
    colour: RGBColor,
    is_one: fn(&Row) -> bool,
}

impl Kind {
    const fn new(name: &'static str, colour: RGBColor, is_one: fn(&Row) -> bool) -> Self {
        Self { name, colour, is_one }
    }
}

/// Goodput by congestion control of TCP and QUIC; `None` without either.
///
/// # Errors
/// When plotters cannot draw it.
pub(super) fn goodput(outcome: &Outcome) -> anyhow::Result<Option<String>> {
    let mut names: Vec<&str> = outcome.rows.iter().map(|row| row.congestion).collect();
    names.dedup();
    // Which link is the best may differ between congestion controls.
    let kinds = [
        Kind::new("TCP, best link", figure::GREEN, |row| {
            matches!(row.system, System::Tcp { .. }) && row.to_best == Some(1.0)
        }),
        Kind::new("kernel MPTCP", figure::VERMILION, |row| row.system == System::Mptcp),
        Kind::new("mpt, best link", figure::SKY, |row| {
            matches!(row.system, System::MptAlone { flow: Protocol::Tcp, .. })
        }),
        Kind::new("mpt, all links", figure::BLUE, |row| row.system == System::Mpt { flow: Protocol::Tcp }),
        Kind::new("QUIC, best link", figure::YELLOW, |row| {
            matches!(row.system, System::Quic { .. }) && row.to_best == Some(1.0)
        }),
        Kind::new("mpt, best link, QUIC", figure::ORANGE, |row| {
            matches!(row.system, System::MptAlone { flow: Protocol::Quic, .. })
        }),
        Kind::new("mpt, all links, QUIC", figure::PURPLE, |row| {
            row.system == System::Mpt { flow: Protocol::Quic }
        }),
    ];
    let is_measured = |kind: &Kind| outcome.rows.iter().any(kind.is_one);
    if !kinds.iter().any(is_measured) {
        return Ok(None);
    }
    let bars = |kind: Kind| {
        let value = |congestion: &&str| {
            let is_it = |row: &&Row| row.congestion == *congestion && (kind.is_one)(row);
            outcome.rows.iter().find(is_it).map(|row| (row.goodput_mbit_s, Some(row.limit_mbit_s)))
        };
        let values = names.iter().map(value).collect();
        Bars { name: kind.name.to_owned(), colour: kind.colour, values }
    };
    let chart = BarChart {
        title: format!("One flow over {}", super::table::links(&outcome.plan)),
        x_label: "congestion control".to_owned(),
        y_label: "goodput, Mbit/s".to_owned(),
        groups: names.iter().map(|name| (*name).to_owned()).collect(),
        series: kinds.into_iter().filter(is_measured).map(bars).collect(),
    };
    figure::bars(&[chart], 1).map(Some)
}

/// Goodput over time with the cuts marked, of the first repeat; `None` without one.
///
/// # Errors
/// As [`goodput`].
pub(super) fn cuts(outcome: &Outcome) -> anyhow::Result<Option<String>> {
    let of = |system| outcome.series.iter().find(|series| series.system == system && series.broke.is_none());
    let [tcp, quic] = [Protocol::Tcp, Protocol::Quic].map(|flow| of(System::Mpt { flow }));
    let Some(mpt) = tcp.or(quic) else { return Ok(None) };
    let line = |name: &str, colour, series: &Series| {
        let received = &series.received;
        let points = figure::goodput_points(&received.intervals, received.interval_ms, 2);
        Line { name: name.to_owned(), colour, points }
    };
    let mut lines: Vec<_> = tcp.map(|tcp| line("mpt", figure::BLUE, tcp)).into_iter().collect();
    lines.extend(quic.map(|quic| line("mpt, QUIC", figure::PURPLE, quic)));
    lines.extend(of(System::Mptcp).map(|mptcp| line("kernel MPTCP", figure::VERMILION, mptcp)));
    let (mut limits, mut marks, mut since) = (Vec::new(), Vec::new(), 0.0);
    for cut in &mpt.cuts {
        limits.push((since, cut.cut_at_s, mpt.limit_mbit_s));
        limits.push((cut.cut_at_s, cut.restored_at_s, cut.without_mbit_s[1]));
        marks.push((cut.cut_at_s, format!("link {} cut", cut.link)));
        marks.push((cut.restored_at_s, "back".to_owned()));
        since = cut.restored_at_s;
    }
    limits.push((since, mpt.received.seconds, mpt.limit_mbit_s));
    let gap = mpt.cuts.iter().map(|cut| cut.gap_ms).fold(0.0, f64::max);
    let chart = LineChart {
        title: format!("Each link cut in turn ({}): mpt's longest gap {gap:.0} ms", outcome.plan.cut),
        x_label: "time, s".to_owned(),
        y_label: "goodput, Mbit/s".to_owned(),
        lines,
        limits,
        marks,
    };
    figure::lines(&chart).map(Some)
}
