//! The user who has called mpt by sudo: the program is theirs, not root's.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Who it is.
pub(super) struct User {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    name: String,
    home: PathBuf,
}

impl User {
    /// The user of whom sudo, doas or pkexec tell; `None`: root itself.
    pub(super) fn calling() -> Result<Option<Self>> {
        let told = ["SUDO_UID", "PKEXEC_UID"].iter().find_map(|name| env::var(name).ok());
        let told = told.or_else(|| env::var("DOAS_USER").ok()).filter(|told| told != "0" && told != "root");
        told.map(|told| Self::known(&told)).transpose()
    }

    /// The user of this name or number.
    fn known(user: &str) -> Result<Self> {
        let line = asked("getent", &["passwd", "--", user])?;
        let Some((name, uid, gid, home)) = fields(&line) else {
            bail!("there is no user {user}, who called mpt");
        };
        let groups = asked("id", &["-G", "--", &name])?;
        let groups = groups.split_whitespace().filter_map(|group| group.parse().ok()).map(Gid::from_raw);
        Ok(Self { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid), groups: groups.collect(), name, home })
    }

    /// Sets what programs of the user find in their environment, of which sudo leaves little.
    pub(super) fn furnish(&self, command: &mut Command) {
        command.env("HOME", &self.home).env("USER", &self.name).env("LOGNAME", &self.name);
        let run = PathBuf::from(format!("/run/user/{}", self.uid.as_raw()));
        if run.is_dir() {
            let wayland = run.join("wayland-0");
            if env::var_os("WAYLAND_DISPLAY").is_none() && wayland.exists() {
                command.env("WAYLAND_DISPLAY", "wayland-0");
            }
            command.env("XDG_RUNTIME_DIR", run);
        }
    }

    /// From now on this thread is the user's, for good.
    pub(super) fn become_it(&self) -> Result<()> {
        let (uid, gid) = (self.uid, self.gid);
        let become_it = || {
            set_thread_groups(&self.groups)?;
            set_thread_res_gid(gid, gid, gid)?;
            set_thread_res_uid(uid, uid, uid)
        };
        become_it().with_context(|| format!("cannot become the user {}", self.name))
    }
}

/// The standard output of a program that has to succeed.
fn asked(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program} {} failed ({})", arguments.join(" "), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Name, numbers and home of a line of passwd(5).
fn fields(line: &str) -> Option<(String, u32, u32, PathBuf)> {
    let fields: Vec<&str> = line.trim_end().split(':').collect();
    let [name, _, uid, gid, _, home, _] = fields[..] else { return None };
    Some((name.to_owned(), uid.parse().ok()?, gid.parse().ok()?, Path::new(home).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_read_from_a_line_of_passwd() {
        let found = fields("anna:x:1000:1001:Anna,,,:/home/anna:/bin/bash\n");
        assert_eq!(found, Some(("anna".to_owned(), 1000, 1001, PathBuf::from("/home/anna"))));
        assert_eq!(fields("anna:x:1000\n"), None);
        assert_eq!(fields(""), None);
    }
}
