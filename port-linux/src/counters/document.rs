//! docs/operations.md, held against what mpt shows.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::sample::report;
use super::*;
use crate::metrics::metric_name;
use crate::report::RoamingReport;
use crate::status::{MODEL_COLUMNS, PATH_COLUMNS};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn document() -> String {
    std::fs::read_to_string(repository().join("docs/operations.md")).expect("docs/operations.md")
}

/// What stands under a heading, until the next one.
fn section<'d>(document: &'d str, heading: &str) -> &'d str {
    let (_, rest) = document.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    rest.split("\n#").next().expect("a section")
}

/// The rows of tables under a heading that begin with a name in backticks.
fn rows<'d>(document: &'d str, heading: &str) -> Vec<&'d str> {
    let rows: Vec<_> = section(document, heading).lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.iter().all(|row| row.ends_with(" |")), "a row under {heading} has no end");
    rows
}

/// What is missing in the rows under a heading, or stands there and is none of it.
fn compare(missing: &mut Vec<String>, document: &str, heading: &str, beginnings: &[String]) {
    let rows = rows(document, heading);
    for beginning in beginnings {
        // And what to do.
        if !rows.iter().any(|row| row.strip_prefix(beginning.as_str()).is_some_and(|rest| rest.len() > 3)) {
            missing.push(format!("under {heading}: {beginning}"));
        }
    }
    let is_known = |row: &&&str| beginnings.iter().any(|beginning| row.starts_with(beginning.as_str()));
    missing.extend(rows.iter().filter(|row| !is_known(row)).map(|row| format!("not under {heading}: {row}")));
}

fn figures<R>(place: &str, figures: &[Figure<R>]) -> Vec<String> {
    let row = |figure: &Figure<R>| {
        format!("| `{}` | `{}` | {} | ", figure.field, metric_name(place, figure), figure.help)
    };
    figures.iter().map(row).collect()
}

fn words(words: &[Word]) -> Vec<String> {
    words.iter().map(|word| format!("| `{}` | {} | ", word.name, word.help)).collect()
}

#[test]
fn every_number_reason_and_state_is_explained_in_the_words_of_the_table() {
    let document = document();
    let mut missing = Vec::new();
    let mut check = |heading: &str, rows: &[String]| compare(&mut missing, &document, heading, rows);
    check("## The tunnel interface", &figures("tunnel", &TUNNEL));
    check("## Counters of a connection", &figures("connection", &CONNECTION));
    check("## Figures of a path", &figures("path", &PATH));
    check("### Of the tunnel interface", &words(&TUNNEL_DROPS));
    check("### Of a connection", &words(&CONNECTION_DROPS));
    check("### Not sent", &words(&NOT_SENT));
    check("## States of a path", &words(&DOWN_REASONS));
    check("### What limits a path", &words(&LIMITS));
    check("### Phases", &words(&PHASES));
    check("### Why packets go by weight", &words(&MODE_REASONS));
    assert!(missing.is_empty(), "in docs/operations.md:\n{}", missing.join("\n"));
}

#[test]
fn every_column_of_the_status_is_explained() {
    let document = document();
    let columns = section(&document, "## What `mpt status` prints");
    for column in PATH_COLUMNS.iter().chain(&MODEL_COLUMNS) {
        let row =
            columns.lines().find(|line| line.starts_with("| `") && line.contains(&format!("`{column}`")));
        assert!(row.is_some(), "{column}");
    }
}

/// The names of the fields of `value` that are no numbers, those of parts within it included, with the part that they are in.
fn fields(value: &Value, part: &str, found: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let full = if part.is_empty() { name.clone() } else { format!("{part}.{name}") };
        match value {
            Value::Number(_) | Value::Bool(_) => continue,
            Value::Array(elements) if elements.first().is_some_and(Value::is_object) => {
                let part = if name == "paths" { "paths[]".to_owned() } else { format!("{name}[]") };
                fields(&elements[0], &part, found);
            }
            Value::Object(_) if name != "dropped" => fields(value, &full, found),
            _ => {}
        }
        found.push(full);
    }
}

#[test]
fn every_field_of_the_json_is_explained() {
    let document = document();
    let json = section(&document, "## The JSON of `mpt status`");
    let mut report = report();
    let path = &mut report.connections[0].paths[0];
    (path.reason, path.waits_for) = (Some("link".into()), Some("there is no interface eth9".into()));
    path.roaming = Some(RoamingReport::default());
    (report.connections[0].mode_reason, report.connections[0].problem) =
        (Some("no_reports".into()), Some("has another key".into()));
    let mut found = Vec::new();
    fields(&serde_json::to_value(&report).unwrap(), "", &mut found);
    assert!(found.len() > 25, "{found:?}");
    for field in found {
        // Of a part within a part, its name stands in the row of that part.
        let (part, name) = field.rsplit_once('.').unwrap_or(("", &field));
        let whole = json.contains(&format!("`{field}`"));
        let within = json
            .lines()
            .any(|line| line.contains(&format!("`{part}`")) && line.contains(&format!("`{name}`")));
        assert!(whole || within, "{field} is not in the section about the JSON");
    }
}

/// Every Rust file below a directory, as one text. Strings that go on in the next line are joined, as the compiler does.
fn sources(directory: &Path, text: &mut String) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).expect("a file");
            for line in source.lines().map(str::trim_start) {
                match line.strip_suffix('\\') {
                    Some(begun) => text.push_str(begun),
                    None => *text += &format!("{line}\n"),
                }
            }
        }
    }
}

/// The texts in backticks in the first cell of a row; `..` stands for what is filled in.
fn quoted(row: &str) -> impl Iterator<Item = &str> {
    let cell = row.trim_start_matches("| ").split(" | ").next().expect("a cell");
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn the_lines_that_are_quoted_are_those_that_mpt_writes() {
    let document = document();
    let mut source = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut source);
    let mut count = 0;
    for heading in ["## Lines of the log", "### What a path waits for"] {
        for line in rows(&document, heading).into_iter().flat_map(quoted) {
            for part in line.split("..").map(str::trim).filter(|part| part.len() > 1) {
                assert!(source.contains(part), "no source has `{part}` of `{line}`");
                count += 1;
            }
        }
    }
    assert!(count > 50, "only {count} were compared");
}
