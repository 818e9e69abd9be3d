//! Asking a running mpt.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Answer, Command, METRICS, Request};
use crate::report::{Report, VERSION};
use crate::state_directory::RUNTIME;

/// A daemon that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the daemon behind `socket`; without one, the only daemon that has a socket in [`RUNTIME`].
///
/// # Errors
/// When no daemon runs (with the command that starts one), or it says that it cannot be done.
pub fn ask(socket: Option<&Path>, command: Command) -> Result<Answer> {
    let socket = match socket {
        Some(socket) => socket.to_path_buf(),
        None => find()?,
    };
    let mut stream = match UnixStream::connect(&socket) {
        Ok(stream) => stream,
        Err(error) if is_nobody(&error) => {
            bail!("no mpt is running behind {}.\n{HOW_TO_START}", socket.display())
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            bail!("{}: {error}. Ask as the user that runs mpt, or with sudo.", socket.display())
        }
        Err(error) => return Err(error).with_context(|| format!("cannot connect to {}", socket.display())),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&Request { version: VERSION, command })?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).context("mpt does not answer")?;
    let answer = serde_json::from_str(&answer)
        .with_context(|| format!("mpt answered what this version does not understand: {answer}"))?;
    match answer {
        Answer::Error { error, .. } => bail!(error),
        answer => Ok(answer),
    }
}

/// Asks it for its report.
///
/// # Errors
/// As [`ask`].
pub fn report(socket: Option<&Path>) -> Result<Report> {
    ask(socket, Command::Status)?.report()
}

/// Whether a daemon listens there, also one that may not be asked. One that was killed leaves its socket behind.
pub fn is_there(socket: &Path) -> bool {
    !UnixStream::connect(socket).is_err_and(|error| is_nobody(&error))
}

fn is_nobody(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

/// What is wrong, where there is one line for it: without how to start a daemon, which follows.
pub fn first_line(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().to_owned()
}

const HOW_TO_START: &str = "Start one with:\n  sudo mpt run            (reads /etc/mpt/mpt.toml)\n  \
                            sudo mpt run -c FILE    (reads FILE)";

/// The socket of the only daemon that has one in [`RUNTIME`].
///
/// # Errors
/// When no daemon runs, or several do.
pub fn find() -> Result<PathBuf> {
    let mut sockets = Vec::new();
    match std::fs::read_dir(RUNTIME) {
        Ok(entries) => {
            for entry in entries {
                let path = entry?.path();
                let is_for_metrics = path.to_string_lossy().ends_with(&format!(".{METRICS}"));
                if path.extension().is_some_and(|extension| extension == "sock")
                    && !is_for_metrics
                    && is_there(&path)
                {
                    sockets.push(path);
                }
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).context(RUNTIME),
    }
    sockets.sort();
    match &sockets[..] {
        [] => bail!("no mpt is running.\n{HOW_TO_START}"),
        [socket] => Ok(socket.clone()),
        several => {
            let list: Vec<String> = several.iter().map(|s| format!("  --control {}", s.display())).collect();
            bail!("several mpt are running; say which one with\n{}", list.join("\n"))
        }
    }
}
