//! The user that the service runs as: what is made for it in its directory must belong to it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{Uid, fchown};
use rustix::process::geteuid;

/// The user that the Debian package makes, and that `mpt@.service` runs as.
const SERVICE: &str = "mpt";

/// Where the service's configurations are.
const SERVICE_DIRECTORY: &str = "/etc/mpt";

/// The service's user number, if the machine has such a user.
pub(super) fn service() -> Option<u32> {
    number(&fs::read_to_string("/etc/passwd").ok()?, SERVICE)
}

/// The number of a user in the text of a file such as /etc/passwd (see passwd(5)).
fn number(users: &str, name: &str) -> Option<u32> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

/// Gives a new file in the service's directory to the service. Only root can, and only there it is meant.
pub(super) fn give_to_service(file: &File, path: &Path) -> io::Result<()> {
    let is_there = path.canonicalize().is_ok_and(|path| path.starts_with(SERVICE_DIRECTORY));
    let is_meant = geteuid().is_root() && is_there;
    match service().filter(|_| is_meant) {
        Some(user) => Ok(fchown(file, Some(Uid::from_raw(user)), None)?),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_user_is_the_third_field_of_its_line() {
        let users = "root:x:0:0:root:/root:/bin/bash\nmptx:x:7:7::/:/bin/sh\nmpt:x:104:109::/nonexistent:/usr/sbin/nologin\n";
        assert_eq!(number(users, "mpt"), Some(104));
        assert_eq!(number(users, "root"), Some(0));
        assert_eq!(number(users, "nobody"), None);
        assert_eq!(number("mpt:x\n", "mpt"), None);
    }
}
