//! The short run's result as a table for people.

use std::fmt::Write as _;

use super::cpu;
use super::quick::{Handover, Outcome};
use super::traffic::udp::Delivery;

/// The table.
pub fn text(outcome: &Outcome) -> String {
    let settings = &outcome.settings;
    let generator = if settings.iperf3 { "iperf3" } else { "built-in generator" };
    let mut text = format!(
        "{} through the tunnel, {} links of {}, policy {}, TCP for {} s each ({generator})\n{}\n\n",
        settings.stack,
        settings.paths,
        settings.rate.spoken(),
        settings.policy,
        settings.seconds,
        outcome.machine
    );
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{:>5}  {:>13}  {:>12}  {:>7}  {:>8}  {:>8}  {:>7}",
        "paths", "goodput", "limit", "share", "CPU busy", "CPU s/GB", "of mpt"
    );
    for row in &outcome.rows {
        let of_mpt = row.cpu.mpt_s.map_or("?".to_owned(), |mpt| percent(mpt, row.cpu.machine_s));
        let _ = writeln!(
            text,
            "{:>5}  {:>6.1} Mbit/s  {:>5.1} Mbit/s  {:>7}  {:>6.1} %  {:>8.2}  {:>7}",
            row.paths,
            row.goodput_mbit_s,
            row.limit_mbit_s,
            percent(row.goodput_mbit_s, row.limit_mbit_s),
            row.cpu.percent,
            row.cpu_s_per_gb,
            of_mpt
        );
    }
    if let Some(handover) = &outcome.handover {
        hand_over(&mut text, handover);
    }
    if let Some(delivery) = &outcome.delivery {
        order(&mut text, delivery);
    }
    let _ = writeln!(
        text,
        "\nLimit: what is left of the links' rates if each packet has all its headers; slices save some, so that\n\
         shares may be above 100 %."
    );
    let _ = writeln!(text, "{}", cpu::note(outcome.background_percent));
    text
}

fn hand_over(text: &mut String, handover: &Handover) {
    let Handover { paths, cut, cut_at_s, restored_at_s, .. } = handover;
    let _ = writeln!(
        text,
        "\nHand-over: path {paths} of {paths} cut ({cut}) at {cut_at_s:.1} s, restored at {restored_at_s:.1} s"
    );
    let times = ["before the cut", "while it is cut", "after restoring"];
    for (index, time) in times.iter().enumerate() {
        let (goodput, limit) = (handover.goodput_mbit_s[index], handover.limit_mbit_s[index]);
        let _ = writeln!(
            text,
            "  {time:<16} {goodput:>6.1} Mbit/s  {limit:>5.1} Mbit/s  {:>7}",
            percent(goodput, limit)
        );
    }
    let [before, at_cut, at_return] = handover.gaps_ms;
    let _ = writeln!(
        text,
        "  hand-over gap    {at_cut:>6.0} ms at the cut, {at_return:.0} ms when it is back, {before:.0} ms before: longest times without data"
    );
}

fn order(text: &mut String, delivery: &Delivery) {
    let _ = writeln!(
        text,
        "\nUDP through another cut: {} sent, {} lost with the path, {} twice, {} out of order",
        delivery.sent, delivery.lost, delivery.duplicates, delivery.reordered
    );
}

/// A share, in per cent.
pub(super) fn percent(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:.1} %", 100.0 * part / whole) } else { "?".to_owned() }
}
