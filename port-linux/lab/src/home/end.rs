//! mpt on one host: its commands as people give them, and the process that the service would run.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use port_linux::control;
use port_linux::report::{ConnectionReport, Report, State};
use rustix::process::Signal;

use crate::host::{Host, Running};
use crate::stopwatch::Stopwatch;

/// Where the hosts' directories are: in the laboratory's own /run.
const DIRECTORY: &str = "/run/mpt-home";
/// Where each mpt has its control socket, and what it remembers.
const RUN: &str = "/run/mpt";
/// Runs a program to which a directory of the host's own is [`RUN`]. (`ip netns exec` has made name spaces of mounts for it.)
const WITH_OWN_RUN: &str = "mount --bind \"$0\" /run/mpt && exec \"$@\"";
/// The name of the server's configuration, which is that of the house's, too.
const NAME: &str = "server";

/// How long anything may take to come up.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks.
const GLANCE: Duration = Duration::from_millis(20);

/// A host's mpt. It is ended when this is dropped.
#[derive(Debug)]
pub(super) struct End {
    host: Host,
    mpt: PathBuf,
    /// What /etc/mpt is to it.
    files: PathBuf,
    /// What [`RUN`] is to it.
    run: PathBuf,
    running: Option<Running>,
}

impl End {
    /// Makes its directories. `mpt` is the program.
    pub(super) fn new(host: &Host, mpt: &Path) -> anyhow::Result<Self> {
        let directory = |name: &str| Path::new(DIRECTORY).join(host.name()).join(name);
        let (files, run) = (directory("etc"), directory("run"));
        for directory in [&files, &run, Path::new(RUN)] {
            fs::create_dir_all(directory)?;
        }
        Ok(Self { host: host.clone(), mpt: mpt.to_owned(), files, run, running: None })
    }

    /// Its configuration.
    fn config(&self) -> String {
        self.files.join(format!("{NAME}.toml")).display().to_string()
    }

    /// `mpt` with these arguments, which are split at spaces.
    fn command(&self, arguments: &str) -> Command {
        let mut command = self.host.command("sh");
        command.args(["-c", WITH_OWN_RUN]).arg(&self.run).arg(&self.mpt).args(arguments.split_whitespace());
        command
    }

    /// Runs `mpt` to its end with something on its standard input, and returns what it prints.
    ///
    /// # Errors
    /// What it complains about.
    fn mpt(&self, arguments: &str, input: &str) -> anyhow::Result<String> {
        self.finish(self.command(arguments), input)
    }

    fn finish(&self, mut command: Command, input: &str) -> anyhow::Result<String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run mpt")?;
        if let Some(mut stdin) = child.stdin.take() {
            // It may end without reading. Then its exit status says why.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `mpt server setup`
    pub(super) fn set_server_up(&self) -> anyhow::Result<String> {
        self.mpt(&format!("server setup --no-start --directory {}", self.files.display()), "")
    }

    /// `mpt peer add house`; returns the line.
    pub(super) fn add_peer(&self, arguments: &str) -> anyhow::Result<String> {
        self.mpt(&format!("peer add house {arguments} --config {}", self.config()), "")
    }

    /// `mpt join`
    pub(super) fn join(&self, arguments: &str, line: &str) -> anyhow::Result<String> {
        self.mpt(&format!("join {arguments} --no-start --directory {}", self.files.display()), line)
    }

    /// `mpt leave`
    pub(super) fn leave(&self) -> anyhow::Result<String> {
        self.mpt(&format!("leave --directory {}", self.files.display()), "")
    }

    /// `mpt server remove`
    pub(super) fn remove_server(&self) -> anyhow::Result<String> {
        self.mpt(&format!("server remove --yes --directory {}", self.files.display()), "")
    }

    /// Whether nothing is left of its configuration and keys.
    pub(super) fn has_no_files(&self) -> anyhow::Result<bool> {
        Ok(fs::read_dir(&self.files)?.next().is_none())
    }

    /// Starts what the service runs, and waits for nothing.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = self.command(&format!("run -c {}", self.config()));
        command.stdout(Stdio::null()).stderr(log);
        self.running = Some(self.host.spawn(&mut command)?);
        Ok(())
    }

    /// Waits until it answers on its control socket.
    pub(super) fn until_it_answers(&mut self) -> anyhow::Result<()> {
        let clock = Stopwatch::start();
        while self.report().is_err() {
            if let Some(status) = self.running.as_mut().context("it was not started")?.ended()? {
                bail!("mpt ended at once ({status}): {}", self.said());
            }
            ensure!(clock.elapsed() < PATIENCE, "mpt does not answer: {}", self.said());
            thread::sleep(GLANCE);
        }
        Ok(())
    }

    fn report(&self) -> anyhow::Result<Report> {
        control::report(Some(&self.run.join("mpt0.sock")))
    }

    /// What it says of its only connection.
    pub(super) fn status(&self) -> anyhow::Result<ConnectionReport> {
        self.report()?.connections.into_iter().next().context("no connection")
    }

    /// How many of its paths are up.
    pub(super) fn up(&self) -> usize {
        let is_up =
            |report: ConnectionReport| report.paths.iter().filter(|path| path.state == State::Up).count();
        self.status().map_or(0, is_up)
    }

    /// Waits until this many of its paths are up.
    pub(super) fn until_up(&self, paths: usize) -> anyhow::Result<()> {
        self.until(&format!("{paths} paths are up"), |end| end.up() >= paths)
    }

    /// Waits until it is so.
    ///
    /// # Errors
    /// When that does not happen, with its paths.
    pub(super) fn until(&self, wanted: &str, is: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let clock = Stopwatch::start();
        while !is(self) {
            if clock.elapsed() > PATIENCE {
                let report = self.status()?;
                let paths = report.paths.iter().map(|path| {
                    let why = path.waits_for.as_deref().or(path.reason.as_deref()).unwrap_or("up");
                    format!("{}: {why}", path.name)
                });
                bail!(
                    "not within {} s: {wanted} ({})",
                    PATIENCE.as_secs(),
                    paths.collect::<Vec<_>>().join(", ")
                );
            }
            thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// Kills it (SIGKILL), and waits for its end.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        let mut running = self.running.take().context("it does not run")?;
        running.signal(Signal::KILL);
        running.wait(PATIENCE)?.context("it does not end").map(drop)
    }

    /// What the service does after a crash: `mpt clean`, which leaves a kill switch.
    pub(super) fn clean_after_crash(&self) -> anyhow::Result<()> {
        let mut command = self.command(&format!("clean -c {}", self.config()));
        command.env("SERVICE_RESULT", "signal");
        self.finish(command, "").map(drop)
    }

    /// Ends it as systemd does (SIGTERM).
    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        let status = self.running.take().context("it does not run")?.stop()?;
        ensure!(status.success(), "mpt ended with {status}: {}", self.said());
        Ok(())
    }

    fn log(&self) -> PathBuf {
        Path::new(DIRECTORY).join(format!("{}.log", self.host.name()))
    }

    /// The last lines of its log.
    fn said(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join(" / ")
    }
}
