//! Another tunnel's two processes, one on each host.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::bail;

use super::host::Running;
use super::stopwatch::Stopwatch;
use super::topology::{Side, Topology};

/// Time to start and, where there is such a thing, to shake hands.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a question to the other end may take, and how often one is asked.
pub(super) const GLANCE: Duration = Duration::from_millis(50);

/// Both ends. They are ended when this is dropped.
#[derive(Debug)]
pub(super) struct Ends {
    /// What people call it.
    name: &'static str,
    ends: [Running; 2],
    clock: Stopwatch,
}

impl Ends {
    /// Starts what `command` makes for each side. What it says is not shown.
    ///
    /// # Errors
    /// When it cannot be run.
    pub(super) fn start(
        net: &Topology,
        name: &'static str,
        command: impl Fn(Side) -> Command,
    ) -> anyhow::Result<Self> {
        let start = |side: Side| {
            let mut command = command(side);
            net.host(side).spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))
        };
        Ok(Self { name, ends: [start(Side::Pc1)?, start(Side::Pc2)?], clock: Stopwatch::start() })
    }

    /// Waits until it is so.
    ///
    /// # Errors
    /// When it cannot be told, a process ends, or ten seconds have passed since the start.
    pub(super) fn wait(&mut self, mut is_so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        while !is_so()? {
            for end in &mut self.ends {
                if let Some(status) = end.ended()? {
                    bail!("{} ended at once ({status})", self.name);
                }
            }
            if self.clock.elapsed() > PATIENCE {
                bail!("{} is not up after {} s", self.name, PATIENCE.as_secs());
            }
            thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// The process ids of both ends.
    pub(super) fn pids(&self) -> [u32; 2] {
        self.ends.each_ref().map(Running::pid)
    }

    /// Ends both.
    ///
    /// # Errors
    /// When somebody else reaped them.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        for end in &mut self.ends {
            end.stop()?;
        }
        Ok(())
    }
}
