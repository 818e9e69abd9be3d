//! `mpt portal`: one program over the link of a path alone, past the tunnel, so that somebody can log in at the portal of its network.
//!
//! The kernel binds each socket that the program and its children make to the path's interface, and gives it the mark of mpt's own
//! (`group`). So its packets leave as those of the path do, whatever routes and rules the host has, and no route, rule or table is added. The
//! program has names from the servers of that link (`names`), and is the calling user's (`user`).

mod group;
mod names;
mod user;

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::host_state::MARK;
use crate::link::{Interface, Interfaces, Leases};
use crate::report::{PathReport, Report, find_path};
use crate::{control, names as resolver, output};
use group::Group;
use user::User;

/// How often it is looked whether the program has ended.
const GLANCE: Duration = Duration::from_millis(50);
/// Where the program finds the address of the login page.
const PAGE: &str = "MPT_PORTAL";

pub(crate) use group::clean;

/// Runs `mpt portal`: a program over the link of a path, or without one, prints what is known of a portal there. Returns the
/// program's exit code.
///
/// # Errors
/// When no mpt runs, or has no such path; without root; when the kernel or the host lacks something.
pub fn portal(path: &str, program: &[OsString], socket: Option<&Path>) -> Result<ExitCode> {
    let report = control::report(socket)?;
    let found = found(&report, path)?;
    let Some((program, arguments)) = program.split_first() else {
        let text = found.portal.as_ref().map_or_else(
            || format!("no portal is known of the network of {path}\n"),
            |portal| format!("{}\n", portal.url),
        );
        return output::print(&text).map(|_| ExitCode::SUCCESS);
    };
    if !geteuid().is_root() {
        bail!("only root can tie a program to a link: sudo mpt portal {path} -- PROGRAM");
    }
    let interfaces = Interfaces::now()?;
    let interface = match &found.device {
        Some(name) => interfaces.named(name),
        None => interfaces.with_address(found.local.ip()),
    };
    let interface = interface.with_context(|| format!("the link of {path} is not there now"))?;
    let user = User::calling()?;
    let servers = servers(&report, interface);
    if let Some(portal) = &found.portal {
        output::complain(&format!("the page is {}\n", portal.url));
    }

    let mut command = Command::new(program);
    command.args(arguments);
    command.envs(found.portal.as_ref().map(|portal| (PAGE, portal.url.to_string())));
    if let Some(user) = &user {
        user.furnish(&mut command);
    }
    let (is_ended, is_noted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    // Those of a terminal reach the program as well, which decides.
    for number in [SIGINT, SIGQUIT, SIGHUP] {
        signal_hook::flag::register(number, is_noted.clone()).context("signal handler")?;
    }
    signal_hook::flag::register(SIGTERM, is_ended.clone()).context("signal handler")?;
    let group = Group::enter(&report.tunnel.name, interface.index, MARK)?;
    let child = start(command, user.as_ref(), &servers);
    group.leave();
    let status = child.and_then(|child| wait(child, &is_ended));
    group.remove();
    Ok(code(status.with_context(|| format!("cannot run {}", program.display()))?))
}

/// The path of this name.
fn found<'r>(report: &'r Report, wanted: &str) -> Result<&'r PathReport> {
    let connections = report.connections.iter();
    let paths =
        connections.flat_map(|connection| connection.paths.iter().map(move |path| (connection, path)));
    let names = paths.map(|(connection, path)| (path, connection.name.as_str(), path.name.as_str()));
    find_path(names, wanted).map_err(anyhow::Error::msg)
}

/// The servers of names of a link, as far as they are known; none inside the tunnel.
fn servers(report: &Report, interface: &Interface) -> Vec<std::net::IpAddr> {
    let inside: Vec<IpNet> =
        report.tunnel.addresses.iter().filter_map(|address| address.parse().ok()).collect();
    let mut servers = Leases::default().name_servers(interface);
    servers.extend(resolver::of_host());
    servers.retain(|server| !inside.iter().any(|network| network.contains(server)));
    servers
}

/// Starts the program from a thread that alone has its view of files and its user: those of mpt stay as they are.
fn start(mut command: Command, user: Option<&User>, servers: &[std::net::IpAddr]) -> Result<Child> {
    let work = || {
        names::show(servers)?;
        if let Some(user) = user {
            user.become_it()?;
        }
        Ok(command.spawn()?)
    };
    let joined = thread::scope(|scope| scope.spawn(work).join());
    joined.unwrap_or_else(|_| bail!("the thread that starts it has ended"))
}

/// Waits for the end of the program. If mpt is told to end, the program is.
fn wait(mut child: Child, is_ended: &AtomicBool) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if is_ended.swap(false, Ordering::Relaxed) {
            // It may have ended just now.
            let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        }
        thread::sleep(GLANCE);
    }
}

/// As a shell has it.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
