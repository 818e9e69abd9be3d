//! CPU time: of the whole machine and of single processes.
//!
//! The machine's busy time counts everything that a transfer costs: both ends, the generator, and the kernel's
//! work in interrupts, which belongs to no process. It also counts what else the machine does meanwhile.

use std::fmt::Write as _;
use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// Ticks a second in /proc: fixed by the kernel's interface to programs (proc_stat(5), `USER_HZ`).
const USER_HZ: u64 = 100;

/// The CPU time that something took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// Busy seconds of the whole machine, all cores together.
    pub machine_s: f64,
    /// Of these, seconds of the two mpt processes; `None` without a tunnel, or where /proc does not know them.
    pub mpt_s: Option<f64>,
    /// Busy share of the machine's cores, in per cent.
    pub percent: f64,
}

/// A reading, to take the difference from.
#[derive(Debug)]
pub struct Meter {
    processes: Vec<u32>,
    machine: Busy,
    mpt: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Busy {
    busy: u64,
    total: u64,
}

impl Meter {
    /// Reads the machine's time and that of some processes.
    ///
    /// # Errors
    /// When /proc/stat cannot be read.
    pub fn start(processes: &[u32]) -> anyhow::Result<Self> {
        Ok(Self {
            processes: processes.to_vec(),
            machine: machine()?,
            mpt: processes.iter().map(|pid| process(*pid)).sum(),
        })
    }

    /// The difference to now.
    ///
    /// # Errors
    /// When /proc/stat cannot be read.
    pub fn read(&self) -> anyhow::Result<Cpu> {
        let now = Self::start(&self.processes)?;
        let busy = now.machine.busy.saturating_sub(self.machine.busy);
        let total = now.machine.total.saturating_sub(self.machine.total).max(1);
        let mpt = now.mpt.zip(self.mpt).map(|(now, then)| now.saturating_sub(then).as_secs_f64());
        Ok(Cpu {
            machine_s: seconds(busy).as_secs_f64(),
            mpt_s: mpt.filter(|_| !self.processes.is_empty()),
            percent: 100.0 * busy as f64 / total as f64,
        })
    }
}

/// How busy the machine is with other things, in per cent of all cores: looks for half a second.
///
/// # Errors
/// When /proc/stat cannot be read.
pub fn background() -> anyhow::Result<f64> {
    let meter = Meter::start(&[])?;
    thread::sleep(Duration::from_millis(500));
    Ok(meter.read()?.percent)
}

/// Above this many per cent of [`background`], CPU figures are more about the other things.
const BUSY: f64 = 5.0;

/// What to say of the machine's CPU time, below a table.
pub fn note(background: f64) -> String {
    let mut text =
        "CPU: busy time of the whole machine, which is both hosts, the generator and the kernel; per cent \
                    of all cores."
            .to_owned();
    if background > BUSY {
        // Writing to a string cannot fail.
        let _ =
            write!(text, " Other things kept it {background:.0} % busy before; they are in these numbers.");
    }
    text
}

fn seconds(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1000 / USER_HZ)
}

fn machine() -> anyhow::Result<Busy> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    parse_machine(&text).context("cannot make sense of /proc/stat")
}

/// The line `cpu user nice system idle iowait irq softirq steal ...`: idle, iowait and what other virtual machines
/// steal is not ours. (Guests are already counted in user.)
fn parse_machine(text: &str) -> Option<Busy> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let [user, nice, system, idle, iowait, irq, softirq, ..] = ticks[..] else { return None };
    let busy = user + nice + system + irq + softirq;
    Some(Busy { busy, total: busy + idle + iowait })
}

fn process(pid: u32) -> Option<Duration> {
    parse_process(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The CPU time that one thread of this process has taken so far; `None` where /proc does not know it. What the kernel
/// does on its behalf counts: for one that hands packets to the kernel, their way to the other host's socket.
pub fn thread(tid: i32) -> Option<Duration> {
    parse_process(&fs::read_to_string(format!("/proc/self/task/{tid}/stat")).ok()?)
}

/// Fields 14 and 15, user and system time; the name in field 2 may hold spaces and parentheses.
fn parse_process(text: &str) -> Option<Duration> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(seconds(user + system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_waiting_and_stolen_time_is_not_busy() {
        let busy = parse_machine("cpu  1 2 3 100 50 4 5 70 0 0\ncpu0 9 9 9 9 9 9 9\n");
        assert_eq!(busy, Some(Busy { busy: 15, total: 165 }));
        assert_eq!(parse_machine("cpu 1 2\n"), None);
    }

    #[test]
    fn a_process_with_an_awkward_name_is_read() {
        let text = "42 (a) b) S 1 1 1 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(parse_process(text), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_busy_machine_is_mentioned() {
        assert!(!note(1.0).contains("Other things"));
        assert!(note(40.0).contains("40 % busy"));
    }

    #[test]
    fn this_process_is_known() {
        assert!(process(std::process::id()).is_some());
        assert!(process(u32::MAX).is_none());
        assert!(thread(rustix::thread::gettid().as_raw_nonzero().get()).is_some());
    }
}
