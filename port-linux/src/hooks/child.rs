//! One run of a hook's program: clean environment, a process group of its own, and an end in any case.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::clock::Clock;

/// Where programs look for others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How often it is looked whether the program has ended: often at first, as most are quick.
const GLANCE_MIN: Duration = Duration::from_millis(2);
/// See [`GLANCE_MIN`].
pub(super) const GLANCE_MAX: Duration = Duration::from_millis(50);
/// Bytes of what the program says on standard error that are repeated.
const SAID_MAX: usize = 300;

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With success.
    Good,
    /// Otherwise.
    Bad {
        status: ExitStatus,
        /// What it said, after a colon; empty: nothing.
        said: String,
    },
    /// It was killed at its time's end.
    TooLong,
    /// It was killed because mpt ends.
    Stopped,
}

pub(super) struct Child {
    child: std::process::Child,
    said: Vec<u8>,
}

impl Child {
    /// Starts a program in a process group of its own, with `input` to be read.
    pub(super) fn start(run: &[String], environment: &[(&str, &str)], input: &str) -> io::Result<Self> {
        let (program, arguments) = run.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("PATH", PATH).envs(environment.iter().copied());
        command.current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // An event fits what a pipe holds, so that this does not wait; who does not read it does not want it.
            let _ = stdin.write_all(input.as_bytes());
        }
        if let Some(stderr) = &child.stderr {
            let _ = rustix::io::ioctl_fionbio(stderr, true);
        }
        Ok(Self { child, said: Vec::new() })
    }

    /// Waits until it ends, for so long at most or until mpt ends: then it is killed, with all of its process group.
    pub(super) fn wait(mut self, clock: Clock, timeout: Duration, ends: impl Fn() -> bool) -> Ending {
        let deadline = clock.now() + timeout;
        let mut glance = GLANCE_MIN;
        let ending = loop {
            // Else one that says much would wait for us.
            self.hear();
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => break Ending::Good,
                Ok(Some(status)) => {
                    self.hear();
                    return Ending::Bad { status, said: said(&self.said) };
                }
                Ok(None) | Err(_) => {}
            }
            if clock.now() >= deadline {
                break Ending::TooLong;
            }
            if ends() {
                break Ending::Stopped;
            }
            std::thread::sleep(glance);
            glance = (glance * 2).min(GLANCE_MAX);
        };
        if ending != Ending::Good {
            self.kill();
        }
        ending
    }

    fn kill(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }

    /// Takes what it says on standard error; the end of it is kept.
    fn hear(&mut self) {
        let Some(stderr) = &mut self.child.stderr else { return };
        if let Some(bytes) = read_some(stderr) {
            self.said.extend(bytes);
            let surplus = self.said.len().saturating_sub(SAID_MAX);
            self.said.drain(..surplus);
        }
    }
}

fn read_some(stderr: &mut ChildStderr) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 1 << 16];
    let len = stderr.read(&mut buffer).ok().filter(|len| *len > 0)?;
    buffer.truncate(len);
    Some(buffer)
}

/// As one line, after a colon.
fn said(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line: Vec<&str> = text.split_whitespace().collect();
    let line: String = line.join(" ").chars().filter(|character| !character.is_control()).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}
