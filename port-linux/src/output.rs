//! Standard output: what a command answers; standard error: what else there is to say.

use std::ffi::OsStr;
use std::io::{ErrorKind, Write, stderr, stdout};

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

/// Writes a complaint to standard error, if that takes anything: a full disk under it is no reason to end otherwise
/// than planned.
pub fn complain(text: &str) {
    let _ = stderr().write_all(text.as_bytes());
}

/// Whether people want colours on a terminal: `NO_COLOR`, if it is there and not empty, says that they do not (no-color.org).
pub fn wants_colours() -> bool {
    allows_colours(std::env::var_os("NO_COLOR").as_deref())
}

fn allows_colours(no_color: Option<&OsStr>) -> bool {
    no_color.is_none_or(OsStr::is_empty)
}

/// Values as people write a list of them.
pub fn list<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_counts_unless_it_is_empty() {
        assert_eq!(
            [None, Some(""), Some("1"), Some("0")].map(|it| allows_colours(it.map(OsStr::new))),
            [true, true, false, false]
        );
    }
}
