//! `mpt record`: begins and ends recordings of a running mpt, and saves what is recorded.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::config::Size;
use crate::control::{self, Command, RecordingState};
use crate::recorder::file::{End, end};
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
    said(format!("{} began anew, and is recorded in {}", state.connection, state.file.display()))
}

/// Ends the recording of a connection.
///
/// # Errors
/// As [`start`].
pub fn stop(connection: Option<String>, control: Option<&Path>) -> Result<()> {
    let state = ask(control, Command::RecordStop { connection })?;
    said(format!("{} is recorded no longer; the recording is {}", state.connection, state.file.display()))
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
    let RecordingState { file, bytes, is_over, .. } = state;
    let from = match File::open(&file) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            bail!("cannot read {}: {error}. Ask as the user that runs mpt, or with sudo.", file.display())
        }
        opened => opened.with_context(|| format!("cannot read {}", file.display()))?,
    };
    let cannot = || format!("cannot write {}", to.display());
    let mut made = private_file::create(to).with_context(cannot)?;
    io::copy(&mut from.take(bytes), &mut made).with_context(cannot)?;
    if !is_over {
        io::copy(&mut &end(End::Saved)[..], &mut made).with_context(cannot)?;
    }
    made.sync_all().with_context(cannot)?;
    said(format!("{} has {} kB: `mpt replay {}` shows it", to.display(), bytes.div_ceil(1000), to.display()))
}

fn ask(control: Option<&Path>, command: Command) -> Result<RecordingState> {
    control::ask(control, command)?.recording()
}

fn said(text: String) -> Result<()> {
    output::print(&(text + "\n")).map(drop)
}
