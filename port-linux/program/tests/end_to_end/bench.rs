//! What the tests stand on: the hosts, `mpt run` on them with a configuration that a test changes key by key, and
//! waiting for what `mpt status --json` says.

use std::any::type_name;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
pub(crate) use mpt_lab::host::wire;
use mpt_lab::host::{Host, Running};
use mpt_lab::stack::Stack;
use mpt_lab::stopwatch::Stopwatch;
use mpt_lab::topology::{Side, Topology};
use mpt_lab::tunnel::Security;
use mpt_lab::{namespace, tunnel};
use port_linux::report::{ConnectionReport, PathReport, Report, State};
use rustix::process::Signal;
use toml::{Table, Value};

use crate::programs::{self, Tool};

/// The tunnel interface's name.
pub(crate) const DEVICE: &str = tunnel::DEVICE;

/// How long a test waits for what must happen: far more than it takes, as the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How often it looks.
const GLANCE: Duration = Duration::from_millis(50);

/// Where files are: in the namespaces' own /run.
pub(crate) const DIRECTORY: &str = "/run/mpt-test";

/// The exit code when what the user wrote is wrong.
pub(crate) const MISCONFIGURED: i32 = 2;

/// The exit code when something failed at run time.
pub(crate) const FAILED: i32 = 1;

/// Probes often enough that a path comes up at once, and with a dead time that a busy machine does not reach by
/// itself: with the lab preset a test would be about the scheduler.
const LIVENESS: [(&str, i64); 3] = [("interval_ms", 50), ("idle_ms", 100), ("dead_ms", 1500)];

/// Runs a test's body inside namespaces of its own. The test's name is that of the closure, so that it cannot be
/// mistyped.
pub(crate) fn test<F: FnOnce() -> anyhow::Result<()>>(tools: &[Tool], body: F) {
    let name = type_name::<F>();
    let name = name.strip_suffix("::{{closure}}").expect("the body is a closure in the test's function");
    let (_, name) = name.split_once("::").expect("the crate's name comes first");
    if programs::are_installed(name, tools) {
        namespace::test(name, body);
    }
}

/// Whether packets pass between the program and the kernel many at once; `MPT_TEST_OFFLOAD=off` runs every test the
/// other way.
pub(crate) fn offload() -> bool {
    std::env::var_os("MPT_TEST_OFFLOAD").is_none_or(|value| value != "off")
}

/// Bytes that the seal takes of each datagram.
pub(crate) fn seal() -> u16 {
    Security::of_tests().overhead()
}

/// The program under test.
pub(crate) fn mpt() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mpt"))
}

/// The program on a host, with a line of arguments, which is split at spaces.
pub(crate) fn mpt_on(host: &Host, arguments: &str) -> Command {
    let mut command = host.command(mpt().get_program());
    command.args(arguments.split_whitespace());
    command
}

/// Runs `mpt` with these arguments on a host to its end, with something on its standard input.
pub(crate) fn run(host: &Host, arguments: &str, input: &str) -> anyhow::Result<Output> {
    let mut command = mpt_on(host, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().context("its input")?.write_all(input.as_bytes())?;
    Ok(child.wait_with_output()?)
}

/// Runs `mpt`, which has to succeed. Returns what it prints.
pub(crate) fn done(host: &Host, arguments: &str, input: &str) -> anyhow::Result<String> {
    printed(&run(host, arguments, input)?).with_context(|| format!("mpt {arguments}"))
}

/// Runs `mpt`, which has to fail with this exit code. Returns what it complains about.
pub(crate) fn complains(host: &Host, arguments: &str, input: &str, code: i32) -> anyhow::Result<String> {
    complaint(&run(host, arguments, input)?, code).with_context(|| format!("mpt {arguments}"))
}

/// What a command has printed: it succeeded.
pub(crate) fn printed(output: &Output) -> anyhow::Result<String> {
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout.clone())?)
}

/// What a command has complained about: it failed with this exit code.
pub(crate) fn complaint(output: &Output, code: i32) -> anyhow::Result<String> {
    ensure!(output.status.code() == Some(code), "{output:?}");
    Ok(String::from_utf8(output.stderr.clone())?)
}

/// The exit code and every part of the message are as expected.
pub(crate) fn says(output: &Output, code: i32, parts: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert!(!message.contains("panicked"), "{message}");
}

/// Waits until it is so.
///
/// # Errors
/// When that never happens, or looking fails.
pub(crate) fn until(wanted: &str, is: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    until_within(PATIENCE, wanted, is)
}

/// The same for what may take longer than [`PATIENCE`].
pub(crate) fn until_within(
    patience: Duration,
    wanted: &str,
    mut is: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let clock = Stopwatch::start();
    while !is()? {
        ensure!(clock.elapsed() < patience, "never {wanted}");
        thread::sleep(GLANCE);
    }
    Ok(())
}

/// A configuration of one side, to be changed key by key.
#[derive(Debug, Clone)]
pub(crate) struct Settings(Table);

impl Settings {
    /// The laboratory's, for the first `paths` links, with calm probes; sealed, but where tests are run without.
    pub(crate) fn new(side: Side, stack: Stack, paths: u8) -> Self {
        let options = tunnel::Options {
            security: Security::of_tests(),
            ..tunnel::Options::lab(stack, paths, "weighted")
        };
        let table = tunnel::config(side, &options).parse().expect("the laboratory writes TOML");
        let liveness: Table = LIVENESS.iter().map(|&(key, ms)| (key.to_owned(), ms.into())).collect();
        let settings = Self(table).connection("liveness", liveness);
        if offload() { settings } else { settings.tunnel("offload", false) }
    }

    /// Sets a key of `[tunnel]`.
    pub(crate) fn tunnel(mut self, key: &str, value: impl Into<Value>) -> Self {
        set(&mut self.0["tunnel"], key, value);
        self
    }

    /// Sets a key of the connection.
    pub(crate) fn connection(mut self, key: &str, value: impl Into<Value>) -> Self {
        set(&mut self.0["connection"][0], key, value);
        self
    }

    /// Sets a key of a path, counted from 1.
    pub(crate) fn path(mut self, number: usize, key: &str, value: impl Into<Value>) -> Self {
        set(&mut self.0["connection"][0]["path"][number - 1], key, value);
        self
    }

    /// In the clear: for tests of what is on the wire, or of what goes with clear tunnels alone.
    pub(crate) fn clear(mut self) -> Self {
        self.0.insert("security".to_owned(), "none".into());
        let connection = self.0["connection"][0].as_table_mut().expect("a table");
        connection.remove("public_key");
        self
    }

    /// Removes a path, counted from 1.
    pub(crate) fn without_path(mut self, number: usize) -> Self {
        self.0["connection"][0]["path"].as_array_mut().expect("an array").remove(number - 1);
        self
    }

    /// Sets a table of the file, as TOML.
    pub(crate) fn table(mut self, name: &str, text: &str) -> Self {
        let table: Table = text.parse().expect("TOML");
        self.0.insert(name.to_owned(), table.into());
        self
    }

    /// Adds a network behind the peer.
    pub(crate) fn network(mut self, to: &str) -> Self {
        let connection = self.0["connection"][0].as_table_mut().expect("a table");
        let networks = connection.entry("network").or_insert_with(|| Value::Array(Vec::new()));
        let network = Table::from_iter([("to".to_owned(), to.into())]);
        networks.as_array_mut().expect("an array").push(network.into());
        self
    }

    /// Adds a hook.
    pub(crate) fn hook(mut self, on: &[&str], run: &[&str]) -> Self {
        let list = |texts: &[&str]| Value::Array(texts.iter().map(|text| Value::from(*text)).collect());
        let hook = Table::from_iter([("on".to_owned(), list(on)), ("run".to_owned(), list(run))]);
        let hooks = self.0.entry("hook").or_insert_with(|| Value::Array(Vec::new()));
        hooks.as_array_mut().expect("an array").push(hook.into());
        self
    }

    /// The file's text.
    pub(crate) fn text(&self) -> String {
        self.0.to_string()
    }
}

fn set(table: &mut Value, key: &str, value: impl Into<Value>) {
    table.as_table_mut().expect("a table").insert(key.to_owned(), value.into());
}

/// A running `mpt run`. It is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Mpt {
    running: Running,
    host: Host,
    files: Files,
}

/// The files of an `mpt run`.
#[derive(Debug, Clone)]
struct Files {
    config: PathBuf,
    control: PathBuf,
    log: PathBuf,
}

impl Files {
    fn of(host: &Host) -> anyhow::Result<Self> {
        fs::create_dir_all(DIRECTORY)?;
        let file = |suffix: &str| Path::new(DIRECTORY).join(format!("{}.{suffix}", host.name()));
        Ok(Self { config: file("toml"), control: file("sock"), log: file("log") })
    }

    /// Writes a configuration, and the keys beside it.
    fn write(&self, settings: &Settings) -> anyhow::Result<()> {
        fs::write(&self.config, settings.text())?;
        [Side::Pc1, Side::Pc2].into_iter().try_for_each(|side| tunnel::write_key(side, Path::new(DIRECTORY)))
    }

    /// `mpt run` with these files.
    fn command(&self, host: &Host) -> Command {
        let mut command = host.command(mpt().get_program());
        command.args(self.run_arguments()).env("STATE_DIRECTORY", DIRECTORY);
        command
    }

    /// The arguments of `mpt run`.
    fn run_arguments(&self) -> [&OsStr; 5] {
        ["run".as_ref(), "-c".as_ref(), self.config.as_ref(), "--control".as_ref(), self.control.as_ref()]
    }
}

/// Runs an `mpt run` to its end: one that refuses to start, or else fails the test.
pub(crate) fn refused(host: &Host, settings: &Settings) -> anyhow::Result<Output> {
    let files = Files::of(host)?;
    files.write(settings)?;
    let command = files.command(host);
    let output =
        Command::new("timeout").arg("20").arg(command.get_program()).args(command.get_args()).output()?;
    ensure!(output.status.code() != Some(124), "mpt started although it should have refused to");
    Ok(output)
}

impl Mpt {
    /// Starts it, and waits until it answers on its control socket.
    pub(crate) fn start(host: &Host, settings: &Settings) -> anyhow::Result<Self> {
        Self::start_with(host, settings, &[])
    }

    /// The same with more in its environment.
    pub(crate) fn start_with(
        host: &Host,
        settings: &Settings,
        environment: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let files = Files::of(host)?;
        files.write(settings)?;
        let mut command = files.command(host);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        Self::launch(host, files, command)
    }

    /// The same with a configuration that a command has made.
    pub(crate) fn with_config(host: &Host, config: impl Into<PathBuf>) -> anyhow::Result<Self> {
        let files = Files { config: config.into(), ..Files::of(host)? };
        let command = files.command(host);
        Self::launch(host, files, command)
    }

    /// The same on a terminal of its own. To end it by SIGKILL closes the terminal: the kernel sends SIGHUP to `mpt`, which is
    /// not waited for.
    pub(crate) fn start_on_a_terminal(host: &Host, settings: &Settings) -> anyhow::Result<Self> {
        let files = Files::of(host)?;
        let run = files.run_arguments().map(|argument| argument.to_string_lossy().into_owned()).join(" ");
        files.write(settings)?;
        let mut command = host.command("script");
        command.args(["-q", "-c", &format!("exec {} {run}", env!("CARGO_BIN_EXE_mpt")), "/dev/null"]);
        Self::launch(host, files, command)
    }

    /// Starts a command that runs `mpt run` with these files, and waits until it answers.
    fn launch(host: &Host, files: Files, mut command: Command) -> anyhow::Result<Self> {
        let log = File::create(&files.log)?;
        command.stdout(log.try_clone()?).stderr(log);
        let running = host.spawn(&mut command)?;
        let mut mpt = Self { running, host: host.clone(), files };
        let answers = until("an answer", || {
            let Some(status) = mpt.running.ended()? else { return Ok(mpt.status().is_ok()) };
            bail!("mpt ended at once ({status})")
        });
        answers.with_context(|| mpt.said())?;
        Ok(mpt)
    }

    /// What `mpt status --json` says.
    pub(crate) fn status(&self) -> anyhow::Result<Report> {
        let output = mpt().args(["status", "--json", "--control"]).arg(&self.files.control).output()?;
        serde_json::from_str(&printed(&output)?).context("mpt status --json")
    }

    /// What it says of its only connection.
    pub(crate) fn connection(&self) -> anyhow::Result<ConnectionReport> {
        self.status()?.connections.pop().context("no connection")
    }

    /// Waits until its status is as wanted, and returns it.
    ///
    /// # Errors
    /// With the last status when that never happens.
    pub(crate) fn until(
        &self,
        wanted: &str,
        is: impl Fn(&ConnectionReport) -> bool,
    ) -> anyhow::Result<ConnectionReport> {
        self.until_within(PATIENCE, wanted, is)
    }

    /// The same for what may take longer than [`PATIENCE`].
    pub(crate) fn until_within(
        &self,
        patience: Duration,
        wanted: &str,
        is: impl Fn(&ConnectionReport) -> bool,
    ) -> anyhow::Result<ConnectionReport> {
        let clock = Stopwatch::start();
        loop {
            let report = self.connection()?;
            if is(&report) {
                return Ok(report);
            }
            if clock.elapsed() > patience {
                bail!("{}: never {wanted}; in the end: {report:#?}\n{}", self.host.name(), self.said());
            }
            thread::sleep(GLANCE);
        }
    }

    /// Waits until something else than its status is so.
    ///
    /// # Errors
    /// As [`until`], with what it has written.
    pub(crate) fn until_around(
        &self,
        wanted: &str,
        is: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        until(wanted, is).with_context(|| self.said())
    }

    /// Waits until all its paths are up.
    pub(crate) fn until_up(&self) -> anyhow::Result<ConnectionReport> {
        self.until("all paths up", |c| c.paths.iter().all(|path| path.state == State::Up))
    }

    /// Waits until a path, counted from 1, is down for one of these reasons.
    pub(crate) fn until_down(&self, number: usize, reasons: &[&str]) -> anyhow::Result<ConnectionReport> {
        self.until(&format!("path {number} down for {reasons:?}"), |connection| {
            let path = &connection.paths[number - 1];
            path.state == State::Down
                && path.reason.as_deref().is_some_and(|reason| reasons.contains(&reason))
        })
    }

    /// Runs a command of `mpt` that asks this one, beside it, and has to succeed. Returns what it prints.
    pub(crate) fn done(&self, arguments: &str) -> anyhow::Result<String> {
        done(&self.host, &self.asked(arguments), "")
    }

    /// The same for one that has to fail with this exit code. Returns what it complains about.
    pub(crate) fn complains(&self, arguments: &str, code: i32) -> anyhow::Result<String> {
        complains(&self.host, &self.asked(arguments), "", code)
    }

    /// Arguments that ask this one.
    fn asked(&self, arguments: &str) -> String {
        format!("{arguments} --control {}", self.files.control.display())
    }

    /// `mpt path up NAME` or `mpt path down NAME`.
    pub(crate) fn set_path(&self, way: &str, name: &str) -> anyhow::Result<String> {
        self.path(&format!("{way} {name}"))
    }

    /// `mpt path` with this line of arguments.
    pub(crate) fn path(&self, arguments: &str) -> anyhow::Result<String> {
        self.done(&format!("path {arguments}"))
    }

    /// `mpt data` with this line of arguments.
    pub(crate) fn data(&self, arguments: &str) -> anyhow::Result<String> {
        self.done(&format!("data {arguments}"))
    }

    /// `mpt record` with this line of arguments.
    pub(crate) fn record(&self, arguments: &str) -> anyhow::Result<String> {
        self.done(&format!("record {arguments}"))
    }

    /// `mpt reload` with another configuration; returns what it prints.
    pub(crate) fn reload(&self, settings: &Settings) -> anyhow::Result<String> {
        self.files.write(settings)?;
        self.done("reload")
    }

    /// Whether an event of this name is among the last ones.
    pub(crate) fn has_told(&self, name: &str) -> anyhow::Result<bool> {
        Ok(self.status()?.events.iter().any(|event| event.what.name() == name))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Sends it a signal and waits for its end.
    pub(crate) fn end(&mut self, signal: Signal) -> anyhow::Result<ExitStatus> {
        self.signal(signal);
        self.running.wait(PATIENCE)?.with_context(|| format!("mpt does not end\n{}", self.said()))
    }

    /// Its control socket.
    pub(crate) fn control(&self) -> &Path {
        &self.files.control
    }

    /// What it has written so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.files.log).unwrap_or_default()
    }
}

/// Two hosts and a tunnel between them.
pub(crate) struct Tunnel {
    /// PC1's end.
    pub(crate) pc1: Mpt,
    /// PC2's end.
    pub(crate) pc2: Mpt,
    /// The hosts.
    pub(crate) net: Topology,
}

impl Tunnel {
    /// Links, one path on each, and `mpt` on both hosts; `change` has the last word on the configuration. Waits until
    /// all paths are up at both ends.
    pub(crate) fn start(
        paths: u8,
        stack: Stack,
        change: impl Fn(Side, Settings) -> Settings,
    ) -> anyhow::Result<Self> {
        let net = Topology::build(paths, None)?;
        Self::start_on(net, stack, change)
    }

    /// The same on hosts that a test has changed.
    pub(crate) fn start_on(
        net: Topology,
        stack: Stack,
        change: impl Fn(Side, Settings) -> Settings,
    ) -> anyhow::Result<Self> {
        let start = |side| Mpt::start(net.host(side), &change(side, Settings::new(side, stack, net.links())));
        let tunnel = Self { pc1: start(Side::Pc1)?, pc2: start(Side::Pc2)?, net };
        tunnel.until_up()?;
        Ok(tunnel)
    }

    /// Waits until all paths are up at both ends.
    pub(crate) fn until_up(&self) -> anyhow::Result<()> {
        self.pc1.until_up()?;
        self.pc2.until_up()?;
        Ok(())
    }
}

/// A host's routes, but for the link-local ones: the kernel goes on setting those while a test runs.
pub(crate) fn routes(host: &Host) -> anyhow::Result<String> {
    let all = host.run("ip -4 route show table all")? + &host.run("ip -6 route show table all")?;
    Ok(all.lines().filter(|line| !line.contains("fe80::")).map(|line| format!("{line}\n")).collect())
}

/// As it is.
pub(crate) fn unchanged(_: Side, settings: Settings) -> Settings {
    settings
}

/// Bytes that left on each path since `before`.
pub(crate) fn sent_by_path(before: &ConnectionReport, after: &ConnectionReport) -> Vec<u64> {
    let sent = |(before, after): (&PathReport, &PathReport)| after.tx_bytes - before.tx_bytes;
    before.paths.iter().zip(&after.paths).map(sent).collect()
}

/// What the connection dropped: reasons and how many.
pub(crate) fn dropped(connection: &ConnectionReport) -> Vec<(String, u64)> {
    connection.dropped.iter().filter(|(_, n)| **n > 0).map(|(reason, n)| (reason.clone(), *n)).collect()
}
