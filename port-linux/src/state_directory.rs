//! Where state lies: what outlives the host's start, as histories, recordings and what data plans have used, and what does not.

use std::ffi::OsString;
use std::path::PathBuf;

/// Where that lies which lives as long as mpt or the host runs: control sockets, and settings to be put back.
pub const RUNTIME: &str = "/run/mpt";

/// The directory, unless the service manager says otherwise.
pub const DEFAULT: &str = "/var/lib/mpt";

/// The directory: as systemd says (`StateDirectory=`), else [`DEFAULT`].
pub fn path() -> PathBuf {
    given(std::env::var_os("STATE_DIRECTORY")).unwrap_or_else(|| PathBuf::from(DEFAULT))
}

/// The first of the directories in `STATE_DIRECTORY`, of which a unit may have several.
fn given(variable: Option<OsString>) -> Option<PathBuf> {
    std::env::split_paths(&variable?).next().filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_directories_it_is_the_first_and_a_relative_one_is_none() {
        let of = |variable: &str| given(Some(variable.into()));
        assert_eq!(of("/var/lib/mpt:/var/lib/other"), Some("/var/lib/mpt".into()));
        assert_eq!([of(""), of("state"), given(None)], [None, None, None]);
    }
}
