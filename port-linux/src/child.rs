//! One run of another program: clean environment, a process group of its own, and an end in any case.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use rustix::thread::clear_ambient_capability_set;

use crate::clock::Clock;

/// Where programs look for others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How often it is looked whether the program has ended: often at first, as most are quick.
const GLANCE_MIN: Duration = Duration::from_millis(2);
/// See [`GLANCE_MIN`].
pub(crate) const GLANCE_MAX: Duration = Duration::from_millis(50);
/// Bytes of what the program says on standard error that are repeated.
const SAID_MAX: usize = 300;
/// The user and the group nobody, of Debian and of the kernel.
const NOBODY: u32 = 65534;

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
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

/// What a program is started with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Start<'a> {
    /// Its environment, beside PATH.
    pub(crate) environment: &'a [(&'a str, &'a str)],
    /// What it finds on standard input.
    pub(crate) input: &'a str,
    /// Bytes of its standard output that are kept, from the first on; zero: it has none.
    pub(crate) printed_max: usize,
    /// Whether it gets none of mpt's rights: root's program is nobody's, and another one has no capability.
    pub(crate) without_rights: bool,
}

/// A program that runs.
pub(crate) struct Child {
    child: std::process::Child,
    said: Vec<u8>,
    printed: Vec<u8>,
    printed_max: usize,
}

impl Child {
    /// Starts a program, with its arguments, in a process group of its own. One without rights is started by a thread that starts no
    /// others with them.
    pub(crate) fn start(run: &[String], start: Start<'_>) -> io::Result<Self> {
        let (program, arguments) = run.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let command = || {
            let mut command = Command::new(program);
            command.args(arguments).env_clear().env("PATH", PATH).envs(start.environment.iter().copied());
            command.current_dir("/").process_group(0);
            let stdout = if start.printed_max == 0 { Stdio::null() } else { Stdio::piped() };
            command.stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped());
            command
        };
        let mut child = if start.without_rights {
            clear_ambient_capability_set()?;
            as_nobody(command)?
        } else {
            command().spawn()?
        };
        if let Some(mut stdin) = child.stdin.take() {
            // What is given fits what a pipe holds, so that this does not wait; who does not read it does not want it.
            let _ = stdin.write_all(start.input.as_bytes());
        }
        if let Some(stderr) = &child.stderr {
            let _ = rustix::io::ioctl_fionbio(stderr, true);
        }
        if let Some(stdout) = &child.stdout {
            let _ = rustix::io::ioctl_fionbio(stdout, true);
        }
        Ok(Self { child, said: Vec::new(), printed: Vec::new(), printed_max: start.printed_max })
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it runs still.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it ends, for so long at most or until mpt ends: then it is killed, with all of its process group.
    pub(crate) fn wait(&mut self, clock: Clock, timeout: Duration, ends: impl Fn() -> bool) -> Ending {
        let deadline = clock.now() + timeout;
        let mut glance = GLANCE_MIN;
        let ending = loop {
            let status = self.child.try_wait();
            // Else one that says much would wait for us. After its end this is the rest of what it said.
            self.hear();
            match status {
                Ok(Some(status)) if status.success() => break Ending::Good,
                Ok(Some(status)) => return Ending::Bad { status, said: said(&self.said) },
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

    /// What it has printed until now, as far as that is kept.
    pub(crate) fn printed(&self) -> &[u8] {
        &self.printed
    }

    /// Takes what it says: the end of standard error is kept, and the beginning of standard output.
    fn hear(&mut self) {
        if let Some(bytes) = self.child.stderr.as_mut().and_then(read_some) {
            self.said.extend(bytes);
            let surplus = self.said.len().saturating_sub(SAID_MAX);
            self.said.drain(..surplus);
        }
        if let Some(bytes) = self.child.stdout.as_mut().and_then(read_some) {
            self.printed.extend(bytes);
            self.printed.truncate(self.printed_max);
        }
    }
}

/// Starts a program as nobody, if this is root. In a namespace that has no other users, its root is no more than who made that.
fn as_nobody(command: impl Fn() -> Command) -> io::Result<std::process::Child> {
    if !geteuid().is_root() {
        return command().spawn();
    }
    match command().uid(NOBODY).gid(NOBODY).spawn() {
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INVAL | Errno::PERM)) => {
            command().spawn()
        }
        spawned => spawned,
    }
}

/// As much as a pipe holds, or `None`.
fn read_some(pipe: &mut impl Read) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 1 << 16];
    let len = pipe.read(&mut buffer).ok().filter(|len| *len > 0)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, start: Start<'_>) -> (Ending, Vec<u8>) {
        let run = ["/bin/sh", "-c", script].map(str::to_owned);
        let mut child = Child::start(&run, start).unwrap();
        let ending = child.wait(Clock::start(), Duration::from_secs(30), || false);
        (ending, child.printed().to_vec())
    }

    #[test]
    fn what_a_program_prints_is_kept_to_its_end_or_to_a_limit() {
        let start = Start { printed_max: 100, ..Start::default() };
        assert_eq!(shell("cat", Start { input: "text", ..start }), (Ending::Good, b"text".to_vec()));
        assert_eq!(shell("cat", Start { input: "text", ..Start::default() }).1, b"");
        // More than a pipe holds: it would wait for ever if nobody read it.
        let (ending, printed) = shell("head -c 1000000 /dev/zero", start);
        assert_eq!((ending, printed), (Ending::Good, vec![0; 100]));
    }

    #[test]
    fn a_program_without_rights_has_none() {
        let rights = |without_rights| {
            let status = "grep -E '^(Uid|CapEff)' /proc/self/status";
            // Of a thread of its own, as it loses them, too.
            let start = Start { printed_max: 1000, without_rights, ..Start::default() };
            let printed = std::thread::spawn(move || shell(status, start).1).join().unwrap();
            String::from_utf8(printed).unwrap()
        };
        let without = rights(true);
        assert!(without.contains("CapEff:\t0000000000000000\n"), "{without}");
        assert!(!geteuid().is_root() || without.starts_with("Uid:\t65534\t65534\t"), "{without}");
        assert!(!geteuid().is_root() || rights(false).starts_with("Uid:\t0\t"));
    }
}
