//! `mpt data`: the plans of a running mpt, as a table or as JSON.

use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::config::DataSize;
use crate::control::{self, Command};
use crate::data::{DataReport, Level, day};
use crate::output;
use crate::report::Report;

/// What is changed.
#[derive(Debug, Clone, Copy)]
pub enum Change {
    /// So much is used.
    Set(DataSize),
    /// So much more may be used.
    Add(DataSize),
}

/// One path with a plan.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    path: String,
    #[serde(flatten)]
    data: DataReport,
}

/// Runs `mpt data [NAME]`.
///
/// # Errors
/// When no daemon answers, or no path of that name has a plan.
pub fn show(name: Option<&str>, json: bool, socket: Option<&Path>) -> Result<()> {
    let rows = rows(control::report(socket)?, name)?;
    let text = if json { serde_json::to_string(&rows)? + "\n" } else { table(&rows) };
    output::print(&text).map(drop)
}

/// Runs `mpt data set` and `mpt data add`.
///
/// # Errors
/// When no daemon answers, or no path of that name has a plan.
pub fn change(name: &str, change: Change, json: bool, socket: Option<&Path>) -> Result<()> {
    let path = name.to_owned();
    let command = match change {
        Change::Set(size) => Command::DataSet { path, bytes: size.0 },
        Change::Add(size) => Command::DataAdd { path, bytes: size.0 },
    };
    let (path, data) = control::ask(socket, command)?.data()?;
    let rows = [Row { path, data }];
    let text = if json { serde_json::to_string(&rows)? + "\n" } else { table(&rows) };
    output::print(&text).map(drop)
}

fn rows(report: Report, name: Option<&str>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for connection in report.connections {
        for path in connection.paths {
            let full = format!("{}/{}", connection.name, path.name);
            let is_wanted = name.is_none_or(|name| name == path.name || name == full);
            if let Some(data) = path.data.filter(|_| is_wanted) {
                rows.push(Row { path: full, data });
            }
        }
    }
    match name {
        Some(name) if rows.is_empty() => bail!("no path named {name} has a data plan"),
        _ => Ok(rows),
    }
}

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no path has a data plan: data = { month = \"50GB\", reset_day = 7 } in its [[connection.path]] is one\n"
            .to_owned();
    }
    let width = rows.iter().map(|row| row.path.len()).chain([4]).max().unwrap_or(4);
    let mut text = format!(
        "{:width$}  {:>16}  {:>9}  {:>9}  {:>5}  {:10}  state\n",
        "path", "plan", "used", "left", "share", "renews"
    );
    for Row { path, data } in rows {
        let DataReport { plan, size_bytes, used_bytes, level, renews_at } = data;
        let a_month = if plan == "month" { " a month" } else { "" };
        let share = u128::from(*used_bytes) * 100 / u128::from((*size_bytes).max(1));
        text += &format!(
            "{path:width$}  {:>16}  {:>9}  {:>9}  {share:>3} %  {:10}  {}\n",
            format!("{}{a_month}", DataSize(*size_bytes)),
            DataSize(*used_bytes),
            DataSize(size_bytes.saturating_sub(*used_bytes)),
            renews_at.map_or_else(|| "-".to_owned(), day),
            match level {
                Level::Ok => "in use",
                Level::Warned => "in use, soon last",
                Level::Demoted => "used last",
                Level::Reached => "out of use",
            }
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_how_much_is_left_and_until_when() {
        let row = |path: &str, used_bytes, level, renews_at: Option<u64>| Row {
            path: path.into(),
            data: DataReport {
                plan: if renews_at.is_some() { "month" } else { "bucket" }.into(),
                size_bytes: 50_000_000_000,
                used_bytes,
                level,
                renews_at,
            },
        };
        let rows = [
            row("vps/lte", 12_300_000_000, Level::Ok, Some(1_796_601_600)),
            row("vps/satellite", 50_100_000_000, Level::Reached, None),
        ];
        let expected = "\
path                       plan       used       left  share  renews      state
vps/lte         50.0 GB a month    12.3 GB    37.7 GB   24 %  2026-12-07  in use
vps/satellite           50.0 GB    50.1 GB        0 B  100 %  -           out of use
";
        assert_eq!(table(&rows), expected);
    }
}
