//! `[[hook]]`: programs that are run when something happens.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;

use super::error::Source;
use super::value::{FromText, Table};
use super::{ConfigError, file};
use crate::event_names::NAMES;

/// How long a program may take by default: what tells somebody over a network takes seconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// `[[hook]]`: a program that is run when something happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// `on`: the names of the events; empty: all, which is the default.
    pub on: Vec<&'static str>,
    /// `run`: the program, by its absolute path, and its arguments.
    pub run: Vec<String>,
    /// `timeout`: how long it may take until it is killed, 10 s by default.
    pub timeout: Duration,
}

impl Hook {
    /// Whether it is run for events of this name.
    pub fn is_on(&self, event: &str) -> bool {
        self.on.is_empty() || self.on.contains(&event)
    }
}

/// The name of an event.
pub(super) struct EventName(&'static str);

impl FromText for EventName {
    const ALLOWED: &'static str = "names of events, as docs/configuration.md#hook lists them";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        NAMES.iter().find(|name| **name == text).map(|name| Self(name)).ok_or("there is no such event")
    }
}

/// An argument of a program.
pub(super) struct Argument(String);

impl FromText for Argument {
    const ALLOWED: &'static str = "a program by its absolute path, and its arguments";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        if text.contains('\0') {
            return Err("a character that arguments cannot have");
        }
        Ok(Self(text.to_owned()))
    }
}

/// Reads the tables.
pub(super) fn hooks(
    tables: Vec<Spanned<Table<file::Hook>>>,
    source: &Source<'_>,
) -> Result<Vec<Hook>, ConfigError> {
    tables.into_iter().map(|table| hook(table.into_inner().0, source)).collect()
}

fn hook(table: file::Hook, source: &Source<'_>) -> Result<Hook, ConfigError> {
    let run = table.run;
    let allowed =
        "[\"/usr/local/bin/PROGRAM\", \"ARGUMENT\", ..]: a file that may be executed, by its absolute path";
    let Some(program) = run.get_ref().first() else {
        return Err(source.error(&run.span(), "no program", allowed));
    };
    if let Err(problem) = is_program(Path::new(&program.get_ref().0.0)) {
        return Err(source.error(&program.span(), problem, allowed));
    }
    Ok(Hook {
        on: table.on.into_iter().map(|name| name.0.0).collect(),
        run: run.into_inner().into_iter().map(|argument| argument.into_inner().0.0).collect(),
        timeout: table.timeout.map_or(TIMEOUT, |seconds| Duration::from_secs(seconds.0.into())),
    })
}

/// Whether a program can be run, as far as this user can see.
fn is_program(path: &Path) -> Result<(), &'static str> {
    if !path.is_absolute() {
        return Err("not an absolute path");
    }
    match std::fs::metadata(path) {
        Ok(file) if !file.is_file() => Err("not a file"),
        Ok(file) if file.permissions().mode() & 0o111 == 0 => Err("the file may not be executed"),
        Err(error) if error.kind() == ErrorKind::NotFound => Err("there is no such file"),
        // What another user sees may be hidden from the one that checks.
        _ => Ok(()),
    }
}
