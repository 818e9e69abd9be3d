//! Programs of others that set what netlink does not reach: `nft`, `resolvectl`, `resolvconf`.

use std::env;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// Where programs for administrators are, which the search path of other users leaves out.
const ADMINISTRATORS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Where a program is; `None` if it is not installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(ADMINISTRATORS.map(PathBuf::from));
    directories.map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// Why a program did not do what it was to do.
#[derive(Debug)]
pub(super) struct Refusal {
    /// What it wrote to standard error, without white space around it.
    pub(super) said: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.said)
    }
}

impl std::error::Error for Refusal {}

/// Runs a program with this input to its end, and returns its standard output.
///
/// # Errors
/// A [`Refusal`] when it fails; another error when it cannot be run.
pub(super) fn run(program: &Path, arguments: &[&str], input: &str) -> Result<String> {
    pass_on_capability();
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let name = program.display();
    let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may end without reading. Then its exit status says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let said = if said.is_empty() { format!("{name} failed ({})", output.status) } else { said };
        bail!(Refusal { said });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Lets programs that this thread starts have CAP_NET_ADMIN, too. A program that has it from its file, by `setcap`, would
/// otherwise keep it to itself. Root's programs have it anyway.
fn pass_on_capability() {
    let net_admin = CapabilitySet::NET_ADMIN;
    let Ok(CapabilitySets { effective, permitted, inheritable }) = capabilities(None) else { return };
    let sets = CapabilitySets { effective, permitted, inheritable: inheritable | net_admin };
    // Where it is not allowed, the program that is started says what it lacks.
    if permitted.contains(net_admin) && set_capabilities(None, sets).is_ok() {
        let _ = rustix::thread::configure_capability_in_ambient_set(net_admin, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_says_why_and_one_that_is_not_there_is_not_found() {
        let sh = find("sh").expect("a shell");
        assert_eq!(run(&sh, &["-c", "cat"], "text").unwrap(), "text");
        let error = run(&sh, &["-c", "echo no such luck >&2; exit 1"], "").unwrap_err();
        assert_eq!(error.downcast::<Refusal>().unwrap().said, "no such luck");
        assert_eq!(find("no-such-program-of-mpt"), None);
    }
}
