//! Files that only their owner may read: keys, and what says where people are, and when.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// For writing a file that has the mode 0600 once it is made; whether and how it is made is for the caller to say.
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Makes a file, or empties the one that is there.
///
/// # Errors
/// What the system says.
pub fn create(path: &Path) -> io::Result<File> {
    options().create(true).truncate(true).open(path)
}
