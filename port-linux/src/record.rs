//! `mpt record`: begins and ends recordings of a running mpt, and saves what is recorded.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::config::Size;
use crate::control::{self, Command, RecordingState};
use crate::recorder::file::End;
use crate::recorder::ring::Joined;
use crate::{output, private_file};

/// Between two questions whether everything is in the file, and how many there are: a disk that needs longer has other sorrows.
const GLANCE: Duration = Duration::from_millis(20);
/// See [`GLANCE`].
const GLANCES: u32 = 250;

/// Begins to record a connection.
///
/// # Errors
/// No mpt runs, or it says that it cannot be done.
pub fn start(connection: Option<String>, size: Size, control: Option<&Path>) -> Result<()> {
    let state = ask(control, Command::RecordStart { connection, bytes: size.0 })?;
    said(format!("{} is recorded in {}", state.connection, state.directory.display()))
}

/// Ends the recording of a connection.
///
/// # Errors
/// As [`start`].
pub fn stop(connection: Option<String>, control: Option<&Path>) -> Result<()> {
    let state = ask(control, Command::RecordStop { connection })?;
    said(format!(
        "{} is recorded no longer; the recording is {}, for `mpt replay`",
        state.connection,
        state.directory.display()
    ))
}

/// Copies what is recorded of a connection up to now.
///
/// # Errors
/// As [`start`]; or a file cannot be read or written.
pub fn save(to: &Path, connection: Option<String>, control: Option<&Path>) -> Result<()> {
    let mut state = ask(control, Command::RecordState { connection, flush: true })?;
    let handed = state.handed;
    for _ in 0..GLANCES {
        if state.written >= handed || state.is_over {
            break;
        }
        std::thread::sleep(GLANCE);
        state = ask(control, Command::RecordState { connection: Some(state.connection), flush: false })?;
    }
    let directory = &state.directory;
    let mut joined = Joined::open(directory, End::Saved).map_err(|error| match error.downcast_ref() {
        Some(cause) if io::Error::kind(cause) == io::ErrorKind::PermissionDenied => {
            anyhow!(
                "cannot read {}: {error}. Ask as the user that runs mpt, or with sudo.",
                directory.display()
            )
        }
        _ => error.context(format!("cannot read {}", directory.display())),
    })?;
    let cannot = || format!("cannot write {}", to.display());
    let mut made = private_file::create(to).with_context(cannot)?;
    let bytes = io::copy(&mut joined, &mut made).with_context(cannot)?;
    made.sync_all().with_context(cannot)?;
    said(format!("{} has {} kB: `mpt replay {}` shows it", to.display(), bytes.div_ceil(1000), to.display()))
}

fn ask(control: Option<&Path>, command: Command) -> Result<RecordingState> {
    control::ask(control, command)?.recording()
}

fn said(text: String) -> Result<()> {
    output::print(&(text + "\n")).map(drop)
}
