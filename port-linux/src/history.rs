//! What each path did, kept in a file of bounded size: every ten seconds for a day, every five minutes for a month, and the last events.
//!
//! [`History`] writes, as an observer of the loop; [`past`] reads; [`show`] is `mpt history`. The file's form is in [`table`].

pub mod figure;
pub mod past;
pub mod record;
pub mod show;
pub mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::clock;
use crate::events::Event;
use crate::observer::Observe;
use crate::rates::Counted;
use crate::report::{PathReport, Report, State};
use crate::state_directory;
use record::{Mark, Record};
use table::{Span, Table};

/// A connection with more paths than there is room for is served by its first ones; a server with more connections than that keeps
/// no history: the loop would tell of all of them each time.
pub const MOST: usize = table::COLUMNS;

/// The time that one record of the long span stands for: 5 minutes.
const LONG_MS: u64 = 5 * 60_000;

/// The file of a tunnel.
pub fn file_of(tunnel: &str) -> PathBuf {
    state_directory::path().join(format!("{tunnel}.history"))
}

/// Writes the history of one tunnel.
#[derive(Debug)]
pub struct History {
    table: Table,
    /// Counters of each path in the report before, by its full name.
    before: Option<HashMap<String, Counted>>,
    /// What is to become a record of the long span.
    sums: BTreeMap<String, Vec<Record>>,
    is_failing: bool,
}

impl History {
    /// Opens or makes the file; makes its directory, too. A file that is none of this version is put aside.
    ///
    /// # Errors
    /// When the file cannot be had, as by a user who may not write there, or while another mpt has it.
    pub fn open(file: &Path) -> Result<Self> {
        if let Some(directory) = file.parent().filter(|directory| !directory.exists()) {
            std::fs::create_dir(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let table = Table::open(file)?;
        Ok(Self { table, before: None, sums: BTreeMap::new(), is_failing: false })
    }

    /// Notes what each path did since the report before, or since mpt has started if this is the first one; `time_ms` is the time of day in
    /// milliseconds since 1970. Only the time of day of records depends on that clock: it may jump.
    pub fn record(&mut self, report: &Report, time_ms: u64) {
        let at = report.tunnel.uptime_ms;
        let paths: Vec<(String, &PathReport)> = report
            .connections
            .iter()
            .flat_map(|connection| {
                connection.paths.iter().map(|path| (format!("{}/{}", connection.name, path.name), path))
            })
            .take(MOST)
            .collect();
        let now: HashMap<String, Counted> =
            paths.iter().map(|(name, path)| (name.clone(), Counted::of_path(at, path))).collect();
        let start = Counted { at_ms: 0, tx_bytes: 0, rx_bytes: 0, tx_packets: 0, lost: Some(0) };
        for (name, path) in &paths {
            let earlier = self.before.as_ref().map_or(Some(&start), |before| before.get(name));
            let passed = earlier.and_then(|earlier| now.get(name)?.since(earlier));
            let Some(passed) = passed else { continue };
            let record = Record::new(time_ms, &passed, path.rtt_us, jitter(path), path.state == State::Up);
            self.write(Span::Day, name, &record, &now);
            self.sums.entry(name.clone()).or_default().push(record);
        }
        let is_full =
            |records: &Vec<Record>| records.iter().map(|record| record.span_ms).sum::<u64>() >= LONG_MS;
        self.write_sums(&now, |name, records| is_full(records) || !now.contains_key(name));
        self.before = Some(now);
    }

    /// Notes that something happened.
    pub fn note(&mut self, event: &Event) {
        let names = [&event.connection, &event.path].map(|name| name.as_deref());
        let mark = Mark {
            time_ms: event.time_ms,
            level: event.level,
            name: names.into_iter().flatten().collect::<Vec<_>>().join("/"),
            text: event.text.clone(),
        };
        let written = self.table.write_mark(&mark);
        self.complain(written);
    }

    fn write_sums(
        &mut self,
        present: &HashMap<String, Counted>,
        is_due: impl Fn(&String, &Vec<Record>) -> bool,
    ) {
        let due: Vec<String> =
            self.sums.iter().filter(|(name, sum)| is_due(name, sum)).map(|(name, _)| name.clone()).collect();
        for name in due {
            let sum = self.sums.remove(&name).and_then(|records| Record::merged(&records));
            if let Some(record) = sum {
                self.write(Span::Month, &name, &record, present);
            }
        }
    }

    fn write(&mut self, span: Span, name: &str, record: &Record, present: &HashMap<String, Counted>) {
        let written = self.table.write(span, name, record, |other| present.contains_key(other));
        self.complain(written);
    }

    /// Once for each time that it begins to fail: a full disk stays full for a while.
    fn complain(&mut self, written: std::io::Result<()>) {
        let failed = written.err();
        if let Some(error) = failed.as_ref().filter(|_| !self.is_failing) {
            tracing::warn!("the history cannot be written: {error}");
        }
        self.is_failing = failed.is_some();
    }
}

fn jitter(path: &PathReport) -> Option<u64> {
    path.model.as_ref().map(|model| model.jitter_us.into())
}

impl Observe for History {
    fn handle_event(&mut self, event: &Event) {
        self.note(event);
    }

    fn handle_report(&mut self, report: &Report) {
        self.record(report, clock::time_of_day() / 1000);
    }

    fn wants_reports(&self) -> bool {
        true
    }

    fn end(&mut self) {
        let present = self.before.take().unwrap_or_default();
        self.write_sums(&present, |_, _| true);
    }
}
