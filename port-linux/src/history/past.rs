//! The history, read.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::record::{Mark, Record};
use super::table::{self, Span};

/// What was, from one time of day to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Past {
    /// Milliseconds since 1970.
    pub from_ms: u64,
    /// Milliseconds since 1970.
    pub until_ms: u64,
    /// The paths that have a record in that time, by their names.
    pub paths: Vec<PastPath>,
    /// What happened in that time, the oldest first.
    pub events: Vec<Mark>,
}

/// What a path did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PastPath {
    /// Its full name, `CONNECTION/PATH`.
    pub name: String,
    /// By time of day.
    pub records: Vec<Record>,
}

impl Past {
    /// Reads what a file has of this time, of paths with this name, `PATH` or `CONNECTION/PATH`, or of all.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(file: &Path, (from_ms, until_ms): (u64, u64), path: Option<&str>) -> Result<Self> {
        let context = || format!("cannot read {}", file.display());
        let open = table::open_to_read(file)?;
        let is_wanted = |name: &str| {
            let bare = name.split_once('/').map_or(name, |(_, path)| path);
            path.is_none_or(|path| path == name || path == bare)
        };
        let is_in = |time: u64| time > from_ms && time <= until_ms;
        let mut paths = Vec::new();
        for column in table::read_columns(&open).with_context(context)? {
            if !is_wanted(&column.1.name) {
                continue;
            }
            let day = table::read(&open, &column, Span::Day).with_context(context)?;
            let month = table::read(&open, &column, Span::Month).with_context(context)?;
            let mut records = joined(day, month);
            records.retain(|record| is_in(record.time_ms));
            if !records.is_empty() {
                paths.push(PastPath { name: column.1.name, records });
            }
        }
        paths.sort_by(|one, other| one.name.cmp(&other.name));
        let marks = table::read_marks(&open).with_context(context)?.into_iter().map(|(_, mark)| mark);
        // What happened to a connection happened to its paths.
        let concerns = |mark: &Mark| {
            path.is_none()
                || is_wanted(&mark.name)
                || paths.iter().any(|path| path.name.starts_with(&format!("{}/", mark.name)))
        };
        let mut events: Vec<Mark> = marks.filter(|mark| is_in(mark.time_ms) && concerns(mark)).collect();
        events.sort_by_key(|mark| mark.time_ms);
        Ok(Self { from_ms, until_ms, paths, events })
    }
}

/// All records of the day, and those of the month where there are none of the day, by time of day. Where the clock was set back, both
/// times are there.
fn joined(day: Vec<Record>, month: Vec<Record>) -> Vec<Record> {
    let mut times: Vec<u64> = day.iter().map(|record| record.time_ms).collect();
    times.sort_unstable();
    let has_any = |from: u64, until: u64| {
        let next = times.partition_point(|time| *time <= from);
        times.get(next).is_some_and(|time| *time <= until)
    };
    let mut records = month;
    records.retain(|record| !has_any(record.time_ms.saturating_sub(record.span_ms), record.time_ms));
    records.extend(day);
    records.sort_by_key(|record| record.time_ms);
    records
}
