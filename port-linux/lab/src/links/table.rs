//! The result as tables for people.

use std::fmt::Write as _;

use super::cuts::Series;
use super::{Outcome, Plan, Protocol, Row, System};
use crate::cpu;
use crate::report::percent;
use crate::sample::{Summary, summary};

/// The links in one line, as they were described.
pub(super) fn links(plan: &Plan) -> String {
    plan.links.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// All of it.
pub(super) fn text(outcome: &Outcome) -> String {
    let plan = &outcome.plan;
    let mut text = format!(
        "{}: {}\npolicy {}{}, flows of {} s, medians of {} (least to most), seed {}\n{}\n",
        plan.stack,
        links(plan),
        plan.policy,
        if plan.udp_in_order { " with UDP in order" } else { "" },
        plan.time.as_secs_f64(),
        plan.repeats,
        plan.seed,
        outcome.machine
    );
    for congestion in super::CONGESTION {
        flows(&mut text, outcome, congestion);
    }
    calls(&mut text, outcome);
    for skipped in &outcome.skipped {
        let _ = writeln!(text, "\n{skipped}");
    }
    for system in plan.series() {
        cuts(&mut text, outcome, system);
    }
    notes(&mut text, outcome);
    text
}

fn flows(text: &mut String, outcome: &Outcome, congestion: &str) {
    let rows = || outcome.rows.iter().filter(|row| row.congestion == congestion);
    // Writing to a string cannot fail.
    if outcome.missing.contains(&congestion) {
        let _ = writeln!(
            text,
            "\nOne {congestion} flow of TCP: not measured, this kernel has none (sudo modprobe tcp_{congestion})"
        );
    }
    if rows().next().is_none() {
        return;
    }
    let width = widest(rows().map(|row| row.system.label()), 23);
    let _ = writeln!(text, "\nOne {congestion} flow, and a ping of 10 ms beside it");
    let _ = writeln!(
        text,
        "{:<width$}  {:>22}  {:>6}  {:>7}  {:>7}  {:>7}  {:>8}  {:>8}  {:>5}  {:>8}{}",
        "system",
        "goodput, Mbit/s",
        "limit",
        "share",
        "settled",
        "to best",
        "ping p50",
        "p99",
        "CPU",
        "per byte",
        if rows().any(|row| row.quic_lost_percent.is_some()) { "     lost" } else { "" }
    );
    for row in rows() {
        let _ = writeln!(
            text,
            "{:<width$}  {:>22}  {:>6.1}  {:>7}  {:>7}  {:>7}  {:>5.1} ms  {:>5.1} ms  {:>3.0} %  {:>8.3}{}",
            row.system.label(),
            ranged(row.goodput_mbit_s),
            row.limit_mbit_s,
            percent(row.goodput_mbit_s.median, row.limit_mbit_s),
            percent(row.settled_mbit_s.median, row.limit_mbit_s),
            row.to_best.map_or(String::new(), |ratio| format!("{ratio:.2}x")),
            row.ping_p50_ms.median,
            row.ping_p99_ms.median,
            row.cpu_percent.median,
            row.link_bytes_per_byte.median,
            row.quic_lost_percent.map_or(String::new(), |lost| format!("  {:>5.2} %", lost.median))
        );
    }
}

/// The length of the longest name, or `least` if that is more.
fn widest(names: impl Iterator<Item = String>, least: usize) -> usize {
    names.map(|name| name.chars().count()).max().unwrap_or(0).max(least)
}

/// The calls beside the flows, a line for each system and control.
fn calls(text: &mut String, outcome: &Outcome) {
    let mut called = outcome.rows.iter().filter_map(|row| Some((row, row.call?))).peekable();
    if called.peek().is_none() {
        return;
    }
    let _ = writeln!(text, "\nA call of 50 packets a second each way beside the flow: delays one way, in ms");
    let name = |row: &Row| format!("{} ({})", row.system.label(), row.congestion);
    let width = widest(outcome.rows.iter().filter(|row| row.call.is_some()).map(name), 31);
    let _ = writeln!(text, "{:<width$}  {:>34}  {:>34}", "", "with the flow", "against it");
    let heads = format!("{:>7}  {:>7}  {:>7}  {:>7}", "lost", "p50", "p95", "p99");
    let _ = writeln!(text, "{:<width$}  {heads}  {heads}", "system");
    for (row, directions) in called {
        let _ = write!(text, "{:<width$}", name(row));
        for it in directions {
            let [lost, p50, p95, p99] =
                [it.lost_percent, it.p50_ms, it.p95_ms, it.p99_ms].map(|summary| summary.median);
            let _ = write!(text, "  {lost:>5.2} %  {p50:>7.1}  {p95:>7.1}  {p99:>7.1}");
        }
        let _ = writeln!(text);
    }
}

/// One system's series: the worst gap and the median goodputs of all repeats, cut by cut.
fn cuts(text: &mut String, outcome: &Outcome, system: System) {
    let all: Vec<&Series> = outcome.series.iter().filter(|series| series.system == system).collect();
    if all.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\nEach link cut in turn ({}) under one cubic flow: {}",
        outcome.plan.cut,
        system.label()
    );
    for broke in all.iter().filter_map(|series| series.broke.as_ref()) {
        let _ = writeln!(text, "  broke off: {broke}");
    }
    for index in 0..outcome.plan.links.len() {
        let cuts: Vec<_> = all.iter().filter_map(|series| series.cuts.get(index)).collect();
        let Some(first) = cuts.first() else { return };
        let median = |value: &dyn Fn(usize) -> f64| {
            summary((0..cuts.len()).map(value)).map_or(0.0, |values| values.median)
        };
        let gap = cuts.iter().map(|cut| cut.gap_ms).fold(0.0, f64::max);
        let [without, again] = [median(&|i| cuts[i].without_mbit_s[0]), median(&|i| cuts[i].again_mbit_s[0])];
        let _ = writeln!(
            text,
            "  link {} cut at {:>4.1} s: gap {gap:>5.0} ms, without it {without:>6.1} of {:>6.1} Mbit/s ({}), \
             back {again:>6.1} of {:>6.1} ({})",
            first.link,
            first.cut_at_s,
            first.without_mbit_s[1],
            percent(without, first.without_mbit_s[1]),
            first.again_mbit_s[1],
            percent(again, first.again_mbit_s[1]),
        );
    }
    let before = all.iter().map(|series| series.gap_before_ms).fold(0.0, f64::max);
    let _ = writeln!(text, "  longest silence before the first cut: {before:.0} ms");
    for ping in all.iter().filter_map(|series| series.ping) {
        let _ = writeln!(
            text,
            "  ping all the while: p50 {:.1} ms, p99 {:.1} ms, most {:.0} ms, {} of {} lost",
            ping.p50_ms, ping.p99_ms, ping.max_ms, ping.lost, ping.sent
        );
    }
}

fn notes(text: &mut String, outcome: &Outcome) {
    let _ = writeln!(text, "\nIdle links: ping p50 and p99");
    for (idle, link) in outcome.idle.iter().zip(&outcome.plan.links) {
        let _ = writeln!(
            text,
            "  link {} ({link}): {:.2} and {:.2} ms, {} of {} lost",
            idle.link, idle.ping.p50_ms, idle.ping.p99_ms, idle.ping.lost, idle.ping.sent
        );
    }
    let [half, most, worst] = outcome.relay.late_us;
    let _ = writeln!(
        text,
        "Relay ({} priority): packets passed on late by {half:.0} us (median), {most:.0} us (99 %), {worst:.0} us (worst)",
        if outcome.relay.real_time { "real-time" } else { "ordinary" },
    );
    let relay = outcome.rows.iter().filter_map(|row| row.relay_cpu_percent).map(|percent| percent.median);
    if let Some(relay) = summary(relay) {
        let _ = writeln!(text, "Relay's CPU, in that of each flow: {:.0} to {:.0} %", relay.min, relay.max);
    }
    let _ = writeln!(
        text,
        "Limit: what headers and losses leave of the links' rates; slices save some headers. Share: of the limit,\n\
         without the first second. Settled: of it, in the last half. To best: to the same protocol over the best single\n\
         link. Links other than the best are measured once. MPTCP carries no UDP: beside it the ping and the call take the best link.\n\
         Per byte: bytes that PC1 sent on the links, with Ethernet headers, for each byte of payload received."
    );
    if outcome.plan.flows.contains(&Protocol::Quic) {
        let _ = writeln!(
            text,
            "Lost: QUIC packets that the sender declared lost; one that came after three later ones counts as well."
        );
    }
    let _ = writeln!(text, "{}", cpu::note(outcome.background_percent));
}

fn ranged(summary: Summary) -> String {
    format!("{:.1} ({:.1} to {:.1})", summary.median, summary.min, summary.max)
}
