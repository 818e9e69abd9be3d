//! The phone's keys: files in a folder that only the app can read. The private key is made on the phone and never leaves it; nothing
//! shows more than the public key that belongs to it.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use mpt_seal::PrivateKey;
use port_linux::keys::{encode, random_private, read};
use port_linux::private_file;

/// The file with the phone's private key: what `private_key_file` of a configuration names.
pub const PRIVATE: &str = "phone.key";

/// One file is made at a time.
static MAKING: Mutex<()> = Mutex::new(());

/// The phone's public key, as the server's configuration wants it. The private key is made when it is asked for first.
///
/// # Errors
/// The folder cannot be written to, or the file in it has no key.
pub fn public_key(files: &Path) -> Result<String> {
    make_private(files)?;
    let private = read(&files.join(PRIVATE)).with_context(|| format!("the phone's key, {PRIVATE}"))?;
    let public = PrivateKey::from_bytes(*private).public();
    Ok(encode(public.as_bytes()).as_str().to_owned())
}

/// Makes the phone's private key, if there is none.
pub(crate) fn make_private(files: &Path) -> Result<()> {
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if files.join(PRIVATE).exists() {
        return Ok(());
    }
    let text = encode(&*random_private()?);
    write(files, PRIVATE, text.as_str())
}

/// Writes a key that only the app may read. What is not whole has another name, so that an app that is ended meanwhile leaves no half
/// of a key.
pub(crate) fn write(files: &Path, name: &str, text: &str) -> Result<()> {
    let place = files.join(name);
    let unfinished = files.join(format!("{name}.part"));
    let write = || {
        // The rights of a file are given when it is made.
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = private_file::options().create_new(true).open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&unfinished, &place)
    };
    write().with_context(|| format!("the key {name} cannot be kept on the phone"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_is_the_apps_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = public_key(folder.path()).unwrap();
        assert_eq!((first.len(), first.ends_with('=')), (44, true));
        assert_eq!(public_key(folder.path()).unwrap(), first);
        assert_eq!(fs::metadata(folder.path().join(PRIVATE)).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished is left");
        let other = tempfile::tempdir().unwrap();
        assert_ne!(public_key(other.path()).unwrap(), first);
    }

    #[test]
    fn a_key_that_was_half_written_when_the_app_ended_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("phone.key.part"), "AAAA").unwrap();
        assert_eq!(public_key(folder.path()).unwrap().len(), 44);
    }

    #[test]
    fn a_folder_that_is_not_there_is_a_sentence() {
        let error = format!("{:#}", public_key(Path::new("/nowhere")).unwrap_err());
        assert!(error.starts_with("the key phone.key cannot be kept on the phone: No such file"), "{error}");
    }
}
