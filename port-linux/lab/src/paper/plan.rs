//! What the long run measures, and in which order.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::rate::Rate;
use crate::stack::{Stack, Version};
use crate::traffic::stream::Amount;

/// What the long run was asked for.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// Number of links.
    pub links: u8,
    /// Rate of each.
    pub rate: Rate,
    /// Length of a transfer, in seconds.
    pub seconds: f64,
    /// Repeats of everything.
    pub repeats: u32,
    /// Size of a download, in bytes.
    pub size: u64,
    /// Whether the tunnel's goodput by number of paths is measured by iperf3.
    pub iperf3: bool,
    /// Whether the kernel may hand several TCP segments to a link at once (GSO).
    pub gso: bool,
}

/// What carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum System {
    /// TCP through the tunnel.
    Tunnel(Stack),
    /// Kernel MPTCP on the links.
    Mptcp(Version),
    /// Plain TCP on the first link.
    Tcp(Version),
}

/// What is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// As much as goes in a time.
    Stream,
    /// A file's worth of bytes by the built-in generator.
    Download,
    /// A file by vsftpd and curl.
    Ftp,
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Job {
    /// What is carried.
    pub work: Work,
    /// What carries it.
    pub system: System,
    /// Over how many paths or links.
    pub paths: u8,
}

impl Plan {
    /// All measurements of one repeat that are possible, with or without FTP and MPTCP. MPTCP comes right after the tunnel over the same IP version.
    pub fn jobs(&self, ftp: bool, mptcp: bool) -> Vec<Job> {
        let job = |work, system, paths| Job { work, system, paths };
        let mut jobs = Vec::new();
        for stack in Stack::ALL {
            // Each of MPTCP's two versions once, though two tunnels run over it.
            let mptcp = mptcp && matches!(stack, Stack::V4OverV4 | Stack::V6OverV6);
            for paths in 1..=self.links {
                jobs.push(job(Work::Stream, System::Tunnel(stack), paths));
                jobs.extend(mptcp.then(|| job(Work::Stream, System::Mptcp(stack.outer()), paths)));
            }
            jobs.push(job(Work::Download, System::Tunnel(stack), self.links));
            jobs.extend(mptcp.then(|| job(Work::Download, System::Mptcp(stack.outer()), self.links)));
            jobs.extend(ftp.then(|| job(Work::Ftp, System::Tunnel(stack), self.links)));
        }
        jobs.push(job(Work::Download, System::Tcp(Version::V4), 1));
        jobs
    }

    /// How long a measurement should take.
    pub fn expected(&self, job: &Job) -> Duration {
        let seconds = match job.work {
            Work::Stream => self.seconds,
            // Nine tenths of the rate are payload.
            Work::Download | Work::Ftp => {
                self.size as f64 * 8.0 / (0.9 * self.rate.bits_per_second() as f64 * f64::from(job.paths))
            }
        };
        Duration::from_secs_f64(seconds)
    }

    /// The length of a transfer.
    pub fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

impl Job {
    /// How much the built-in generator sends for it.
    pub fn amount(&self, plan: &Plan) -> Amount {
        match self.work {
            Work::Stream => Amount::Time(plan.time()),
            Work::Download | Work::Ftp => Amount::Bytes(plan.size),
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tunnel(stack) => write!(f, "mpt, {stack}"),
            Self::Mptcp(version) => write!(f, "MPTCP, {version}"),
            Self::Tcp(version) => write!(f, "TCP, {version}"),
        }
    }
}

impl Serialize for System {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stream => "stream",
            Self::Download => "download",
            Self::Ftp => "FTP download",
        })
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.paths == 1 { "" } else { "s" };
        write!(f, "{} by {}, {} path{plural}", self.work, self.system, self.paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            links: 4,
            rate: Rate::FAST_ETHERNET,
            seconds: 10.0,
            repeats: 3,
            size: 1_000_000_000,
            iperf3: false,
            gso: true,
        }
    }

    #[test]
    fn nothing_is_measured_twice_in_one_repeat() {
        let mut jobs = plan().jobs(true, true);
        let count = jobs.len();
        jobs.sort();
        jobs.dedup();
        assert_eq!(jobs.len(), count);
        assert_eq!(plan().jobs(false, false).len(), 4 * 4 + 4 + 1);
        assert_eq!(count, 4 * 4 + 2 * 4 + 4 + 2 + 4 + 1);
    }

    #[test]
    fn a_gigabyte_over_four_paths_takes_22_seconds() {
        let job = Job { work: Work::Download, system: System::Mptcp(Version::V4), paths: 4 };
        assert_eq!(plan().expected(&job).as_secs(), 22);
    }
}
