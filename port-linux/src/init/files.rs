//! The files of a draft: the configuration, and the private key beside it.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Draft;
use crate::failure::misconfigured;
use crate::keys::{self, KeyBytes, commands, encode};

/// The key file of a configuration file: of the same name, in the same directory. Named as from there.
///
/// # Errors
/// When the configuration file is there already, or has no name.
pub(super) fn key_beside(file: &Path) -> Result<PathBuf> {
    if file.symlink_metadata().is_ok() {
        return Err(taken(file));
    }
    let name = file.file_stem().filter(|_| file.extension().is_none_or(|extension| extension != "key"));
    let name = name.with_context(|| format!("{} is no name for a configuration file", file.display()))?;
    Ok(Path::new(name).with_extension("key"))
}

/// Writes the draft, and the key unless it is there. What is left to do.
pub(super) fn make(draft: &Draft, file: &Path, key_file: &Path) -> Result<String> {
    let key_file = file.with_file_name(key_file);
    let (key, is_new) = key(&key_file)?;
    write(file, &draft.text)?;
    let mut said = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(said, "{}: the configuration, to be edited", file.display());
    let made = if is_new { "a new private key" } else { "the private key, as it was" };
    let _ = writeln!(said, "{}: {made}", key_file.display());
    let public = *keys::private(&key).public().as_bytes();
    let _ = writeln!(said, "For `public_key` in the peer's configuration: {}", encode(&public));
    if draft.text.contains("public_key = \"\"") {
        let _ = writeln!(
            said,
            "Into `public_key` in {} belongs the peer's, which `mpt init -o` or `mpt check` prints there.",
            file.display()
        );
    }
    Ok(said)
}

/// The key in the file, which is made if it is not there, and whether it was made.
fn key(file: &Path) -> Result<(KeyBytes, bool)> {
    if file.symlink_metadata().is_ok() {
        let key = keys::read(file).map_err(|error| misconfigured(format!("{}: {error}", file.display())))?;
        return Ok((key, false));
    }
    let key = keys::random_private()?;
    commands::save(file, &key)?;
    Ok((key, true))
}

fn write(file: &Path, text: &str) -> Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).open(file);
    match made.and_then(|mut made| made.write_all(text.as_bytes())) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(taken(file)),
        other => other.with_context(|| format!("cannot write {}", file.display())),
    }
}

fn taken(file: &Path) -> anyhow::Error {
    misconfigured(format!("{} is there already; allowed: the name of a new file", file.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const DRAFT: &str = "public_key = \"\"\n";

    fn make_in(directory: &tempfile::TempDir) -> (PathBuf, String) {
        let file = directory.path().join("home.toml");
        let key = key_beside(&file).expect("a name");
        assert_eq!(key, Path::new("home.key"));
        let draft = Draft { text: DRAFT.into(), warnings: Vec::new() };
        let said = make(&draft, &file, &key).expect("both are made");
        (file, said)
    }

    fn public_key(said: &str) -> &str {
        let line = said.lines().find(|line| line.starts_with("For `public_key`")).expect("a line");
        line.rsplit_once(' ').expect("words").1
    }

    #[test]
    fn the_key_is_beside_the_configuration_and_what_is_printed_is_its_public_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, said) = make_in(&directory);
        assert_eq!(fs::read_to_string(&file).expect("text"), DRAFT);
        let key_file = directory.path().join("home.key");
        assert_eq!(fs::metadata(&key_file).expect("a file").mode() & 0o7777, 0o600);
        let key = keys::private(&keys::read(&key_file).expect("a key")).public();
        assert_eq!(public_key(&said), encode(key.as_bytes()).as_str());
        assert!(!said.contains(fs::read_to_string(&key_file).expect("text").trim()), "the secret is printed");
        assert!(said.contains("belongs the peer's"), "{said}");
    }

    #[test]
    fn a_key_that_is_there_stays_and_a_configuration_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, first) = make_in(&directory);
        let error = key_beside(&file).unwrap_err().to_string();
        assert!(error.ends_with("home.toml is there already; allowed: the name of a new file"), "{error}");
        fs::remove_file(&file).expect("removed");
        let (_, second) = make_in(&directory);
        assert_eq!(public_key(&first), public_key(&second));
        assert!(second.contains("as it was"), "{second}");
    }

    #[test]
    fn a_name_that_would_be_the_keys_own_is_refused() {
        assert!(key_beside(Path::new("home.key")).is_err());
        assert!(key_beside(Path::new("/")).is_err());
    }
}
