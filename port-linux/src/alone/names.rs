//! Names for a program that leaves over one link: the servers of that link instead of those of the host.
//!
//! A resolver on this host, such as systemd-resolved, is none of the program's processes: what it asks leaves as the host's packets do,
//! perhaps into the tunnel. So the thread that starts the program gets a view of files of its own, in which /etc/resolv.conf names the
//! servers of the link, and the sockets by which the C library reaches resolvers of the host are not there.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::output;

/// What programs read.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// By which the C library reaches systemd-resolved and nscd.
const SOCKETS: [&str; 2] = ["/run/systemd/resolve/io.systemd.Resolve", "/run/nscd/socket"];
/// Servers that the C library reads, one after the other.
const MOST: usize = 3;

/// Gives this thread, and the programs that it starts, these servers.
pub(super) fn show(servers: &[IpAddr]) -> Result<()> {
    if servers.is_empty() || !Path::new(RESOLV_CONF).exists() {
        output::complain(
            "mpt: no server of names is known of that link: the program asks those of the host, if it can reach them\n",
        );
        return Ok(());
    }
    // SAFETY: it takes nothing from other threads but what they see of mounts from now on in common with this one; no descriptor is
    // concerned.
    #[allow(unsafe_code, reason = "of the crate's flags only one for descriptors is unsafe")]
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.context("cannot have an own view of mounts")?;
    // What is mounted here is not seen by others.
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .context("cannot have an own view of mounts")?;
    let mut text = "# of the link, for one program: mpt portal\n".to_owned();
    for server in servers.iter().take(MOST) {
        let _ = writeln!(text, "nameserver {server}");
    }
    over(&text).with_context(|| format!("cannot give the program another {RESOLV_CONF}"))?;
    for socket in SOCKETS.iter().filter(|socket| Path::new(socket).exists()) {
        mount_bind("/dev/null", *socket).with_context(|| format!("cannot hide {socket}"))?;
    }
    Ok(())
}

/// Puts a file with this text over the host's.
fn over(text: &str) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in("/run").or_else(|_| tempfile::NamedTempFile::new())?;
    file.write_all(text.as_bytes())?;
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(file.path(), everybody)?;
    // Its name goes at the end of this function; the mount stays as long as the program.
    mount_bind(file.path(), RESOLV_CONF)?;
    Ok(())
}
