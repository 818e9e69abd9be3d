//! Standard output: what a command answers.

use std::io::{ErrorKind, Write, stdout};

use anyhow::{Context, Result};

/// Writes the whole text at once and tells whether somebody still reads: who reads through `head` closes early,
/// which is no error.
///
/// # Errors
/// When standard output takes nothing more, such as a file on a full disk.
pub fn print(text: &str) -> Result<bool> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true).context("cannot write to standard output"),
    }
}
