//! The result for people.

use super::{Direction, Outcome, Row};
use crate::units::{bytes, measured_megabits, measured_milliseconds};

/// All of it.
pub(super) fn text(outcome: &Outcome) -> String {
    let mut text = format!(
        "{} ({}): TCP over {} connection{}, {} s in each direction, and pings beside it\n\n",
        outcome.peer,
        outcome.address,
        outcome.streams,
        if outcome.streams == 1 { "" } else { "s" },
        outcome.seconds
    );
    let mut lines =
        vec![["", "down", "up", "delay", "added down", "added up", "grade", "lost"].map(str::to_owned)];
    lines.extend(outcome.paths.iter().map(line));
    if let Some(sum) = outcome.sum.filter(|_| outcome.paths.len() > 1) {
        let empty = String::new;
        let (down, up) = (measured_megabits(sum.down_bps), measured_megabits(sum.up_bps));
        lines.push(["sum".to_owned(), down, up, empty(), empty(), empty(), empty(), empty()]);
    }
    lines.extend(outcome.bond.iter().map(line));
    text += &aligned(&lines);
    if let Some((down, up)) =
        outcome.bond.as_ref().and_then(|bond| bond.down.share_percent.zip(bond.up.share_percent))
    {
        text += &format!("\nThe bond carries {down:.0} % of the sum down, and {up:.0} % up.\n");
    }
    let data = outcome.data.iter().map(|data| format!("{} {}", data.path, bytes(data.bytes)));
    text += &format!("\nData used: {}\n", data.collect::<Vec<_>>().join(", "));
    for left_out in &outcome.left_out {
        text += &format!("Not measured: {left_out}\n");
    }
    text
}

fn line(row: &Row) -> [String; 8] {
    let added = |direction: &Direction| format!("{} ms", measured_milliseconds(direction.added_ms));
    [
        row.name.clone(),
        measured_megabits(row.down.bps),
        measured_megabits(row.up.bps),
        format!("{} ms", measured_milliseconds(row.idle_ms)),
        added(&row.down),
        added(&row.up),
        row.grade.to_owned(),
        format!("{:.1} %", f64::midpoint(row.down.lost_percent, row.up.lost_percent)),
    ]
}

/// Names to the left, figures to the right.
fn aligned(lines: &[[String; 8]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}
