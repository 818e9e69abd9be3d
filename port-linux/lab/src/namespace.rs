//! A world of its own for the laboratory and for end-to-end tests.
//!
//! A process that needs network namespaces runs itself again under util-linux `unshare`, with network, mount and
//! pid namespaces of its own (and a user namespace when it is not root). In there it may do what root may, and
//! all it made vanishes with it: hosts, links, tunnel interfaces, files on `/run`, and every child, however it
//! ends. The host is never touched.
//!
//! A test uses it like this:
//!
//! ```no_run
//! use mpt_lab::{namespace, topology::Topology};
//!
//! #[test]
//! fn pc1_reaches_pc2() {
//!     namespace::test("pc1_reaches_pc2", || {
//!         let net = Topology::build(2, None)?;
//!         assert!(net.pc1.reaches("172.16.2.20".parse()?, std::time::Duration::from_secs(1))?);
//!         Ok(())
//!     });
//! }
//! ```

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::{env, fs, thread};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Set for the process inside; believed only by one that is the first of its pid namespace.
const MARK: &str = "MPT_LAB_INSIDE";

/// Where tunnels inside keep what outlives them, as systemd says it: nowhere, as the directory above is not there. They have
/// names that tunnels of the host may have, too.
const LAB_STATE: &str = "/run/mpt-lab/state";

/// Exit status of a test that has passed inside. The harness never returns it, so a name that fits no test, of
/// which the harness would run none and be content, does not pass.
const PASSED: i32 = 42;

/// What a program ended by SIGINT returns to a shell.
const INTERRUPTED: i32 = 130;

/// Why there can be no laboratory here, and what to do about it.
#[derive(Debug)]
pub struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Returns inside, on the second run; on the first run it runs this program again inside with the same arguments,
/// and ends the process with its exit status.
///
/// # Errors
/// [`Refused`] when a tool is missing or the kernel allows no namespaces or no tunnel interface.
pub fn enter() -> anyhow::Result<()> {
    if is_inside() {
        return settle();
    }
    permitted()?;
    let status = run_inside(env::args_os().skip(1), Stdio::inherit())?;
    std::process::exit(status.code().unwrap_or(INTERRUPTED));
}

/// Runs a test's body inside. `name` is the test's full name, as `cargo test -- --list` shows it.
///
/// Outside, this runs the same test executable again for that one test, and fails when it fails. Where the
/// kernel refuses namespaces or tunnel interfaces the test is skipped, and says so on standard error even when
/// the test harness captures the output.
///
/// # Panics
/// When the body returns an error or panics, or when `unshare` is missing: a test fails by panicking.
pub fn test(name: &str, body: impl FnOnce() -> anyhow::Result<()>) {
    if is_inside() {
        settle().expect("the namespaces can be furnished");
        if let Err(error) = body() {
            panic!("{error:?}");
        }
        std::process::exit(PASSED);
    }
    match permitted() {
        Err(error) if error.is::<Refused>() => {
            // Straight to the descriptor: the harness hides what macros print of a test that passes.
            let _ = writeln!(io::stderr(), "SKIPPED {name}: {error}");
            return;
        }
        other => other.expect("unshare can be run"),
    }
    let arguments = [name, "--exact", "--nocapture", "--include-ignored"].map(Into::into);
    let status = run_inside(arguments.into_iter(), Stdio::null()).expect("the test can be run inside");
    assert!(status.code() == Some(PASSED), "{name} failed inside its namespaces: {status}");
}

/// Whether this process is the first one inside.
fn is_inside() -> bool {
    env::var_os(MARK).is_some() && std::process::id() == 1
}

/// The `unshare` command for this user.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child"]);
    command.env("STATE_DIRECTORY", LAB_STATE);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
}

/// Checks everything that can be missing, before anything is begun.
fn permitted() -> anyhow::Result<()> {
    for (tool, package) in [("unshare", "util-linux"), ("ip", "iproute2"), ("tc", "iproute2")] {
        if !is_installed(tool) {
            bail!("the laboratory needs the program `{tool}`: apt install {package}");
        }
    }
    let trial = unshare().arg("true").stdin(Stdio::null()).output().context("cannot run unshare")?;
    if !trial.status.success() {
        let said = String::from_utf8_lossy(&trial.stderr);
        return Err(Refused(format!(
            "the kernel refuses namespaces to this user ({}). Run it as root, or allow user namespaces: \
             sudo sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000 \
             kernel.apparmor_restrict_unprivileged_userns=0 (those of them that exist here)",
            said.trim()
        ))
        .into());
    }
    let device = "/dev/net/tun";
    fs::OpenOptions::new().read(true).write(true).open(device).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => format!("Run it as root, or: sudo chmod 666 {device}"),
            _ => "Load the driver: sudo modprobe tun".to_owned(),
        };
        Refused(format!("this user cannot open {device} ({error}). {remedy}"))
    })?;
    Ok(())
}

/// Whether a program is on the search path, or where Debian keeps system programs.
pub fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|directory| directory.join(program).is_file())
}

/// The `unshare` processes of this process: more than one when tests run in parallel.
static BEGUN: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Runs this executable inside and waits for it. SIGINT and SIGTERM end it and everything in it.
fn run_inside(arguments: impl Iterator<Item = OsString>, stdin: Stdio) -> anyhow::Result<ExitStatus> {
    static WATCHER: Once = Once::new();
    let mut begun = lock(&BEGUN);
    WATCHER.call_once(|| {
        on_interrupt(|| {
            for pid in lock(&BEGUN).iter() {
                // `unshare` lets SIGTERM pass it by; its death is what ends the namespaces (--kill-child).
                let _ = kill_process(*pid, Signal::KILL);
            }
        });
    });
    let mut child = unshare()
        .arg(env::current_exe().context("cannot find this executable")?)
        .args(arguments)
        .env(MARK, "1")
        .stdin(stdin)
        .spawn()
        .context("cannot run unshare")?;
    let pid = Pid::from_child(&child);
    begun.push(pid);
    drop(begun);
    let status = child.wait();
    lock(&BEGUN).retain(|other| *other != pid);
    Ok(status?)
}

/// Locks even after another thread panicked: a list of pids cannot be left half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on SIGINT and SIGTERM do `work` and end this process.
fn on_interrupt(work: impl FnOnce() + Send + 'static) {
    let mut signals = Signals::new([SIGINT, SIGTERM]).expect("these two signals can be handled");
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            work();
            std::process::exit(INTERRUPTED);
        }
    });
}

/// Furnishes the namespaces: `/proc` that knows our pids, an empty `/run` for files and for `ip netns`.
fn settle() -> anyhow::Result<()> {
    // Unhandled, the first process of a pid namespace would ignore them.
    on_interrupt(|| ());
    // A container may refuse this one; then only the CPU time of single processes is unknown.
    let _ = Command::new("mount").args(["-t", "proc", "proc", "/proc"]).stderr(Stdio::null()).status();
    let status = Command::new("mount").args(["-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run"]).status()?;
    if !status.success() {
        bail!("cannot mount a tmpfs on /run inside the namespaces");
    }
    fs::create_dir("/run/netns").context("cannot make /run/netns")?;
    Ok(())
}
