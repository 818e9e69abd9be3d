//! `mpt history`: as lines of bars, JSON, CSV or a picture.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::past::{Past, PastPath};
use super::record::Record;
use super::{figure, file_of};
use crate::events::Level;
use crate::sparkline::sparkline;
use crate::units::{self, clock_time};
use crate::{clock, output, state_directory};

/// Version of the JSON.
const VERSION: u32 = 1;
/// Bars in a line: with the numbers before them, a line fits 80 columns.
const BARS: u64 = 40;
/// Events that are listed.
const EVENTS: usize = 20;

/// What is wanted.
#[derive(Debug)]
pub struct Show {
    /// How far back.
    pub since: Duration,
    /// Only paths of this name.
    pub path: Option<String>,
    /// In which form.
    pub form: Form,
    /// Of this tunnel.
    pub tunnel: Option<String>,
    /// From this file.
    pub file: Option<PathBuf>,
}

/// How it is shown.
#[derive(Debug)]
pub enum Form {
    /// Lines of bars.
    Table,
    /// One line of JSON.
    Json,
    /// Every record, one a line.
    Csv,
    /// A picture, in this file.
    Svg(PathBuf),
}

/// Runs `mpt history`.
///
/// # Errors
/// When there is no history, or it cannot be read.
pub fn show(wanted: &Show) -> Result<()> {
    let file = match (&wanted.file, &wanted.tunnel) {
        (Some(file), _) => file.clone(),
        (None, Some(tunnel)) => file_of(tunnel),
        (None, None) => only_one(&state_directory::path())?,
    };
    let until = clock::time_of_day() / 1000;
    let from = until.saturating_sub(u64::try_from(wanted.since.as_millis()).unwrap_or(u64::MAX));
    let past = Past::read(&file, (from, until), wanted.path.as_deref())?;
    if past.paths.is_empty() {
        let of = wanted.path.as_ref().map_or(String::new(), |path| format!(" of a path {path}"));
        let since = clock_time(from, &TimeZone::system());
        bail!(
            "{} has no record{of} since {since}: see --since and --path, or is mpt not running?",
            file.display()
        );
    }
    let tunnel = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match &wanted.form {
        Form::Table => output::print(&table(&tunnel, &past, &TimeZone::system())).map(drop),
        Form::Json => output::print(&(json(&tunnel, &past)? + "\n")).map(drop),
        Form::Csv => output::print(&csv(&past)).map(drop),
        Form::Svg(picture) => {
            let svg = figure::svg(&tunnel, &past, &TimeZone::system())?;
            std::fs::write(picture, svg).with_context(|| format!("cannot write {}", picture.display()))
        }
    }
}

/// The only history in a directory.
fn only_one(directory: &Path) -> Result<PathBuf> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "there is no history: {} does not exist. mpt makes it when it runs as root or as a service",
            directory.display()
        ),
        Err(error) => {
            bail!("{}: {error}. Ask as the user that runs mpt, or with sudo.", directory.display())
        }
    };
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|extension| extension == "history")).collect();
    files.sort();
    match &files[..] {
        [] => bail!(
            "there is no history in {}: has an mpt run, and not with history = false?",
            directory.display()
        ),
        [file] => Ok(file.clone()),
        several => {
            let names = several.iter().filter_map(|file| file.file_stem());
            let list: Vec<String> =
                names.map(|name| format!("  --tunnel {}", name.to_string_lossy())).collect();
            bail!("several tunnels have a history; say which one with\n{}", list.join("\n"))
        }
    }
}

/// A value of each equal part of the time, of the records that end in it.
fn parts(past: &Past, path: &PastPath) -> Vec<Option<Record>> {
    let length = (past.until_ms - past.from_ms).max(1);
    let mut parts: Vec<Vec<Record>> = vec![Vec::new(); usize::try_from(BARS).unwrap_or(1)];
    for record in &path.records {
        let part = record.time_ms.saturating_sub(past.from_ms + 1).saturating_mul(BARS) / length;
        let last = parts.len() - 1;
        parts[usize::try_from(part).unwrap_or(last).min(last)].push(*record);
    }
    parts.iter().map(|records| Record::merged(records)).collect()
}

fn table(tunnel: &str, past: &Past, zone: &TimeZone) -> String {
    let part = Duration::from_millis((past.until_ms - past.from_ms) / BARS);
    let mut text = format!(
        "{tunnel}  {} to {}, one bar: {}\n",
        clock_time(past.from_ms, zone),
        clock_time(past.until_ms, zone),
        units::duration(part)
    );
    for path in &past.paths {
        text += &path_text(past, path);
    }
    if !past.events.is_empty() {
        let left_out = past.events.len().saturating_sub(EVENTS);
        let of = if left_out > 0 {
            format!(", the last {EVENTS} of {}", past.events.len())
        } else {
            String::new()
        };
        let _ = writeln!(text, "\nevents{of}");
        for event in &past.events[left_out..] {
            let mark = if event.level == Level::Warning { "! " } else { "  " };
            let _ = writeln!(text, "{mark}{}  {}", clock_time(event.time_ms, zone), event.text);
        }
    }
    text
}

/// A name, a value of a record, and how that is written.
type Line = (&'static str, fn(&Record) -> Option<u64>, fn(u64) -> String);

fn path_text(past: &Past, path: &PastPath) -> String {
    let parts = parts(past, path);
    let all = Record::merged(&path.records);
    let up = all.map_or(0, |all| all.up_per_mille);
    let mut text = format!("\n{}  up {}.{} % of the time\n", path.name, up / 10, up % 10);
    let percent = |value: u64| format!("{}.{} %", value / 10, value % 10);
    let lines: [Line; 4] = [
        ("out", |record| Some(record.passed().out_rate()), units::bit_rate),
        ("in", |record| Some(record.passed().in_rate()), units::bit_rate),
        ("RTT", |record| record.rtt_us, units::milliseconds),
        ("loss", |record| record.passed().loss_per_mille(), percent),
    ];
    for (name, value, show) in lines {
        let values: Vec<Option<u64>> = parts.iter().map(|part| part.as_ref().and_then(value)).collect();
        let mean = all.as_ref().and_then(value);
        let highest = path.records.iter().filter_map(value).max();
        let known = |value: Option<u64>| value.map_or("-".to_owned(), show);
        let bars = sparkline(&values, values.len());
        let line = format!("  {name:<5}{:>12}{:>12} max  {bars}", known(mean), known(highest));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn json(tunnel: &str, past: &Past) -> Result<String> {
    #[derive(Serialize)]
    struct Whole<'a> {
        version: u32,
        tunnel: &'a str,
        #[serde(flatten)]
        past: &'a Past,
    }
    Ok(serde_json::to_string(&Whole { version: VERSION, tunnel, past })?)
}

fn csv(past: &Past) -> String {
    let mut text =
        "time,path,span_ms,tx_bytes,rx_bytes,tx_datagrams,lost,rtt_us,jitter_us,up_per_mille\n".to_owned();
    let known = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    for path in &past.paths {
        // No character of names has a meaning in CSV.
        for record in &path.records {
            let time = i64::try_from(record.time_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
            let _ = writeln!(
                text,
                "{},{},{},{},{},{},{},{},{},{}",
                time.map(|time| time.to_string()).unwrap_or_default(),
                path.name,
                record.span_ms,
                record.tx_bytes,
                record.rx_bytes,
                record.tx_datagrams,
                known(record.lost),
                known(record.rtt_us),
                known(record.jitter_us),
                record.up_per_mille
            );
        }
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::history::record::Mark;

    const START: u64 = 1_800_000_000_000;

    /// Two hours of two paths, one of which was down in the second hour, and an event.
    pub(crate) fn two_hours() -> Past {
        let record = |n: u64, is_up: bool| Record {
            time_ms: START + n * 10_000,
            span_ms: 10_000,
            tx_bytes: if is_up { 12_500_000 } else { 0 },
            rx_bytes: if is_up { 1_250_000 * (n % 9) } else { 0 },
            tx_datagrams: if is_up { 10_000 } else { 0 },
            lost: Some(if is_up { 100 } else { 0 }),
            rtt_us: is_up.then_some(20_000 + n),
            jitter_us: None,
            up_per_mille: if is_up { 1000 } else { 0 },
        };
        let path = |name: &str, goes: u64| PastPath {
            name: name.into(),
            records: (1..=720).map(|n| record(n, n <= goes)).collect(),
        };
        Past {
            from_ms: START,
            until_ms: START + 7_200_000,
            paths: vec![path("vps/fibre", 720), path("vps/lte", 360)],
            events: vec![Mark {
                time_ms: START + 3_600_000,
                level: Level::Warning,
                name: "vps/lte".into(),
                text: "path lte of vps is down: silent for 300 ms".into(),
            }],
        }
    }

    #[test]
    fn the_table_has_lines_of_bars_within_80_columns_and_the_events() {
        let text = table("mpt0", &two_hours(), &TimeZone::UTC);
        let golden = "\
mpt0  2027-01-15 08:00:00 to 2027-01-15 10:00:00, one bar: 3 min 0 s

vps/fibre  up 100.0 % of the time
";
        assert!(text.starts_with(golden), "{text}");
        let full = "█".repeat(40);
        assert!(text.contains(&format!("  out   10.0 Mbit/s 10.0 Mbit/s max  {full}\n")), "{text}");
        assert!(
            text.contains("vps/lte  up 50.0 % of the time\n  out    5.0 Mbit/s 10.0 Mbit/s max  ██"),
            "{text}"
        );
        let half = "█".repeat(20);
        assert!(text.contains(&format!("  loss        1.0 %       1.0 % max  {half}\n")), "{text}");
        assert!(
            text.ends_with("\nevents\n! 2027-01-15 09:00:00  path lte of vps is down: silent for 300 ms\n"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn json_and_csv_have_every_record_and_leave_out_what_is_not_known() {
        let past = two_hours();
        let json: serde_json::Value = serde_json::from_str(&json("mpt0", &past).unwrap()).unwrap();
        assert_eq!((&json["version"], &json["tunnel"]), (&1.into(), &"mpt0".into()));
        assert_eq!(json["paths"][1]["records"].as_array().unwrap().len(), 720);
        assert_eq!(json["paths"][1]["records"][719]["rtt_us"], serde_json::Value::Null);
        assert_eq!(json["events"][0]["level"], "warning");
        let csv = csv(&past);
        assert_eq!(csv.lines().count(), 1441);
        assert_eq!(
            csv.lines().nth(1).unwrap(),
            "2027-01-15T08:00:10Z,vps/fibre,10000,12500000,1250000,10000,100,20001,,1000"
        );
        assert_eq!(csv.lines().last().unwrap(), "2027-01-15T10:00:00Z,vps/lte,10000,0,0,0,0,,,0");
    }

    #[test]
    fn the_only_history_is_found_and_of_several_one_must_be_named() {
        let directory = tempfile::tempdir().unwrap();
        let error = |directory: &Path| only_one(directory).unwrap_err().to_string();
        assert!(error(&directory.path().join("none")).contains("does not exist"));
        assert!(error(directory.path()).contains("there is no history in"));
        let file = directory.path().join("mpt0.history");
        std::fs::write(&file, "").unwrap();
        std::fs::write(directory.path().join("mpt0.history.old"), "").unwrap();
        assert_eq!(only_one(directory.path()).unwrap(), file);
        std::fs::write(directory.path().join("mpt1.history"), "").unwrap();
        assert!(error(directory.path()).ends_with("  --tunnel mpt0\n  --tunnel mpt1"));
    }
}
