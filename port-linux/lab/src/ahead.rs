//! What is measured runs ahead of what makes the load, where both are on the same processors: by the kernel's real-time class, which the
//! program `chrt` (util-linux) gives.

use std::process::{Command, Stdio};

use rustix::thread::gettid;

/// The priority within the class: the lowest but those that other things may have.
const PRIORITY: &str = "10";

/// Whether this user may have it. Root of a machine may, root of a user namespace may not.
pub(super) fn is_possible() -> bool {
    succeeds(Command::new("chrt").args(["--rr", PRIORITY, "true"]))
}

/// The words before those of a program that is to run ahead.
pub(super) const PROGRAM: [&str; 3] = ["chrt", "--rr", PRIORITY];

/// Lets the calling thread run ahead, and those that it starts from now on.
pub(super) fn this_thread() {
    let id = gettid().as_raw_nonzero().to_string();
    // It was found to be possible.
    let _ = succeeds(Command::new("chrt").args(["--rr", "--pid", PRIORITY, &id]));
}

fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
