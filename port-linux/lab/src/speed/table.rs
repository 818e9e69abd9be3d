//! The result as Markdown, which people can read as it is.

use std::fmt::Write as _;

use super::{Outcome, Row};
use crate::cpu;
use crate::sample::Summary;

/// A table for each thing that was measured, over each kind of links.
pub(super) fn text(outcome: &Outcome) -> String {
    let rate = outcome.rate.map_or("without a rate limit".to_owned(), |rate| format!("of {}", rate.spoken()));
    let mut text = format!(
        "Links {rate}, {} s each, medians of {} (least to most)\n{}\n",
        outcome.seconds, outcome.repeats, outcome.machine
    );
    let mut rest = &outcome.rows[..];
    while let Some(first) = rest.first() {
        let same = |row: &&Row| (row.work, row.large_segments) == (first.work, first.large_segments);
        let (table, others) = rest.split_at(rest.iter().take_while(same).count());
        one(&mut text, first, table);
        rest = others;
    }
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\n{}", cpu::note(outcome.background_percent));
    text
}

fn one(text: &mut String, first: &Row, rows: &[Row]) {
    let links = if first.large_segments { "" } else { "; large segments are cut before the links" };
    let _ = writeln!(text, "\n### {}{links}\n", first.work.label());
    let last = if first.p99.is_some() { "99th percentile" } else { "to MPTCP" };
    let _ = writeln!(
        text,
        "| {:<26} | {:<24} | {last:<15} | {:<14} | of it tunnel | MiB  |",
        "system",
        "median",
        first.work.cpu_unit()
    );
    let _ = writeln!(text, "|{:-<28}|{:-<26}|{:-<17}|{:-<16}|--------------|------|", "", "", "", "");
    let mptcp = rows.iter().find(|row| row.system.label().starts_with("kernel MPTCP"));
    for row in rows {
        let number = |value: &Option<Summary>| value.map_or(String::new(), |value| plain(value.median));
        let ratio =
            mptcp.map_or(String::new(), |mptcp| format!("{:.2}", row.value.median / mptcp.value.median));
        let value = row.value;
        let _ = writeln!(
            text,
            "| {:<26} | {:<24} | {:<15} | {:<14} | {:<12} | {:<4} |",
            row.system.label(),
            format!("{} ({} to {})", plain(value.median), plain(value.min), plain(value.max)),
            if row.p99.is_some() { number(&row.p99) } else { ratio },
            number(&row.cpu),
            number(&row.tunnel_cpu),
            row.peak_mib.map_or(String::new(), |peak| format!("{:.0}", peak.max))
        );
    }
}

/// Three digits or more.
fn plain(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
