//! Files with a key: read only if nobody else can read or change them, and made so that nobody can.

use std::fmt;
use std::fs::{Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::{ALLOWED, KeyBytes, decode};
#[cfg(feature = "program")]
use crate::private_file;

/// Longest content that is looked at, in bytes: a key has 45 with its newline.
pub(super) const LONGEST: usize = 256;

/// The rights of group and others.
const OTHERS: u32 = 0o077;

/// The user number of root.
const ROOT: u32 = 0;

/// Why a file is not taken for one with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFileError {
    /// What is wrong.
    pub problem: String,
    /// What would be right, with the command that does it where there is one.
    pub allowed: String,
}

impl KeyFileError {
    fn new(problem: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { problem: problem.into(), allowed: allowed.into() }
    }
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}; allowed: {}", self.problem, self.allowed)
    }
}

impl std::error::Error for KeyFileError {}

/// The key in a file.
///
/// # Errors
/// The file cannot be read, has no key, or others may read or change it.
pub fn read(path: &Path) -> Result<KeyBytes, KeyFileError> {
    // A pipe without a writer must not stop the program: what was opened is looked at before it is read.
    let flags = rustix::fs::OFlags::NONBLOCK.union(rustix::fs::OFlags::NOCTTY);
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let mut file = opened.map_err(|error| unreadable(path, &error))?;
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    guarded(path, &metadata, geteuid().as_raw())?;
    let mut bytes = Zeroizing::new([0; LONGEST]);
    let length = fill(&mut file, bytes.as_mut_slice()).map_err(|error| unreadable(path, &error))?;
    content(bytes.get(..length).unwrap_or_default())
}

fn unreadable(path: &Path, error: &io::Error) -> KeyFileError {
    let shown = path.display();
    match error.kind() {
        ErrorKind::NotFound => {
            KeyFileError::new("there is no such file", "a file that `mpt genkey -o` or `mpt genpsk -o` made")
        }
        ErrorKind::PermissionDenied => KeyFileError::new(
            "this user may not read it",
            format!(
                "a file of the user that runs mpt, which is `mpt` under systemd: sudo chown mpt {shown}; or this command with sudo"
            ),
        ),
        _ => KeyFileError::new(format!("cannot be read: {error}"), "a file with a key"),
    }
}

/// Whether nobody but the user `running` and root can read or change the file.
fn guarded(path: &Path, metadata: &Metadata, running: u32) -> Result<(), KeyFileError> {
    let shown = path.display();
    if metadata.is_dir() {
        return Err(KeyFileError::new("a directory", "a file with a key"));
    }
    if !metadata.is_file() {
        return Err(KeyFileError::new("not a plain file", "a file with a key"));
    }
    // Root runs mpt by hand with the files of the service, too.
    let owner = metadata.uid();
    let is_trusted = owner == ROOT || owner == running || (running == ROOT && is_service(owner));
    if !is_trusted {
        return Err(KeyFileError::new(
            format!("it belongs to user {owner}, who can read and change it"),
            format!("a file of the user that runs mpt, or of root: sudo chown {running} {shown}"),
        ));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(KeyFileError::new(
            format!("others than its owner have access to it (mode {mode:04o})"),
            format!("access for the owner alone: chmod 600 {shown}"),
        ));
    }
    Ok(())
}

#[cfg(feature = "program")]
fn is_service(user: u32) -> bool {
    super::users::service() == Some(user)
}

#[cfg(not(feature = "program"))]
fn is_service(_user: u32) -> bool {
    false
}

/// Reads until the end of the file or of the room.
pub(super) fn fill(file: &mut impl Read, room: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = room.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// The key that the content of a file, or standard input, stands for. White space after it does not matter.
pub(super) fn content(bytes: &[u8]) -> Result<KeyBytes, KeyFileError> {
    let text = std::str::from_utf8(bytes).map_err(|_| KeyFileError::new("it is not text", ALLOWED))?;
    let text = text.trim_ascii_end();
    if text.is_empty() {
        return Err(KeyFileError::new("it is empty", ALLOWED));
    }
    if text.contains('\n') {
        return Err(KeyFileError::new("it has more than one line", ALLOWED));
    }
    decode(text).map_err(|problem| KeyFileError::new(format!("it has no key: {problem}"), ALLOWED))
}

/// Makes a new file with a key that only its owner may read. A file that is there already is left as it is.
///
/// # Errors
/// What the system says; [`ErrorKind::AlreadyExists`] if the file is there.
#[cfg(feature = "program")]
pub fn create(path: &Path, key: &KeyBytes) -> io::Result<()> {
    use std::io::Write;

    let mut file = private_file::options().create_new(true).open(path)?;
    let written = (|| {
        file.write_all(super::encode(key).as_str().as_bytes())?;
        file.write_all(b"\n")?;
        super::users::give_to_service(&file, path)?;
        file.sync_all()
    })();
    if written.is_err() {
        // What is there of it is no key; that it stays is worth no second complaint.
        let _ = std::fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    const TEXT: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn file(directory: &tempfile::TempDir, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = directory.path().join("home.key");
        let _ = fs::remove_file(&path);
        fs::write(&path, content).expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its mode");
        path
    }

    fn refused(path: &Path) -> String {
        match read(path) {
            Ok(_) => panic!("{} is taken", path.display()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_file_of_its_owner_alone_is_read_whatever_white_space_follows() {
        let directory = tempfile::tempdir().expect("a directory");
        for end in ["", "\n", "\r\n", "\n\n", " \n"] {
            for mode in [0o600, 0o400] {
                let key = read(&file(&directory, format!("{TEXT}{end}"), mode)).expect("a key");
                assert_eq!(key[31], 31);
            }
        }
    }

    #[test]
    fn access_for_others_is_refused_with_the_command_that_ends_it() {
        let directory = tempfile::tempdir().expect("a directory");
        for mode in [0o644, 0o640, 0o604, 0o620, 0o601, 0o660] {
            let path = file(&directory, TEXT, mode);
            let message = refused(&path);
            assert!(message.contains(&format!("(mode {mode:04o})")), "{message}");
            assert!(message.ends_with(&format!("chmod 600 {}", path.display())), "{message}");
        }
    }

    #[test]
    fn a_file_of_somebody_else_is_refused_with_the_command_that_ends_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = file(&directory, TEXT, 0o600);
        let metadata = fs::metadata(&path).expect("metadata");
        let owner = metadata.uid();
        assert_eq!(guarded(&path, &metadata, owner), Ok(()));
        let by_somebody_else = guarded(&path, &metadata, owner + 1);
        if owner == ROOT {
            assert_eq!(by_somebody_else, Ok(()), "root's files are good for everybody who can read them");
            std::os::unix::fs::chown(&path, Some(54_321), None).expect("root may do this");
            let message =
                guarded(&path, &fs::metadata(&path).expect("metadata"), ROOT).unwrap_err().to_string();
            assert!(message.contains("belongs to user 54321"), "{message}");
            assert!(message.ends_with(&format!("sudo chown 0 {}", path.display())), "{message}");
        } else {
            let message = by_somebody_else.unwrap_err().to_string();
            assert!(message.ends_with(&format!("sudo chown {} {}", owner + 1, path.display())), "{message}");
        }
    }

    #[test]
    fn what_is_no_key_file_has_a_sentence_of_its_own() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(refused(&directory.path().join("none")).starts_with("there is no such file"));
        assert!(refused(directory.path()).starts_with("a directory"));
        assert!(refused(Path::new("/dev/null")).starts_with("not a plain file"));
        for (content, expected) in [
            ("", "it is empty"),
            ("\n\n", "it is empty"),
            ("hello\n", "it has no key: too short"),
            (&TEXT[..40], "it has no key: too short"),
            (&TEXT.replace('=', "\n"), "it has no key: the `=` at the end is missing"),
            (&format!("{TEXT}\n{TEXT}\n"), "it has more than one line"),
            (&"x".repeat(10_000), "it has no key: too long"),
        ] {
            assert!(refused(&file(&directory, content, 0o600)).starts_with(expected), "{content}");
        }
        assert!(refused(&file(&directory, [0xff; 44], 0o600)).starts_with("it is not text"));
    }

    /// Opening it for reading would wait for somebody who writes.
    #[test]
    fn a_pipe_does_not_stop_the_program() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).expect("a pipe");
        assert!(refused(&path).starts_with("not a plain file"));
    }

    #[cfg(feature = "program")]
    #[test]
    fn a_new_file_is_its_owners_alone_and_an_old_one_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("new.key");
        let key = crate::keys::random_private().expect("a key");
        create(&path, &key).expect("made");
        assert_eq!(fs::metadata(&path).expect("metadata").mode() & 0o7777, 0o600);
        assert_eq!(*read(&path).expect("a key"), *key);
        let again = create(&path, &crate::keys::random_private().expect("a key")).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        assert_eq!(*read(&path).expect("the old key"), *key);
    }
}
