//! `mpt genkey`, `mpt pubkey` and `mpt genpsk`: they print what the commands of these names of `wg` print.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use zeroize::Zeroizing;

use super::file::{LONGEST, content, fill, read};
use super::text::TEXT_LEN;
use super::{KeyBytes, create, encode, private, random, random_private};
use crate::failure::misconfigured;
use crate::output;

/// Runs `mpt genkey`: a new private key into `file`, and its public key to standard output; without `file`, the private
/// key to standard output.
///
/// # Errors
/// When the file is there already or cannot be made.
pub fn genkey(file: Option<&Path>) -> Result<()> {
    let key = random_private()?;
    match file {
        Some(file) => {
            save(file, &key)?;
            print(private(&key).public().as_bytes())
        }
        None => print_secret(&key),
    }
}

/// Runs `mpt genpsk`: a new pre-shared key into `file` or to standard output.
///
/// # Errors
/// When the file is there already or cannot be made.
pub fn genpsk(file: Option<&Path>) -> Result<()> {
    let key = random()?;
    match file {
        Some(file) => save(file, &key),
        None => print_secret(&key),
    }
}

/// Runs `mpt pubkey`: the public key of the private one in `file`, or of that which comes on standard input.
///
/// # Errors
/// When that is no private key, or others may read the file.
pub fn pubkey(file: Option<&Path>) -> Result<()> {
    if let Some(file) = file {
        let key = read(file).map_err(|error| misconfigured(format!("{}: {error}", file.display())))?;
        return print(private(&key).public().as_bytes());
    }
    let mut text = Zeroizing::new([0; LONGEST]);
    let length = fill(&mut std::io::stdin().lock(), text.as_mut_slice()).context("standard input")?;
    let key = content(text.get(..length).unwrap_or_default());
    let key = key.map_err(|error| misconfigured(format!("standard input: {error}")))?;
    print(private(&key).public().as_bytes())
}

/// Saves a key, or says why not.
pub(crate) fn save(file: &Path, key: &KeyBytes) -> Result<()> {
    match create(file, key) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(misconfigured(format!(
            "{} is there already, and a key that is written over is lost; allowed: the name of a new file",
            file.display()
        ))),
        other => other.with_context(|| format!("cannot make {}", file.display())),
    }
}

fn print(key: &[u8; super::KEY_LEN]) -> Result<()> {
    output::print(&format!("{}\n", encode(key))).map(drop)
}

/// Prints a secret, with a warning where a file takes it that others may read.
fn print_secret(key: &KeyBytes) -> Result<()> {
    if standard_output_is_open_to_others() {
        output::complain(
            "warning: standard output is a file that others can read: -o FILE makes one that they cannot\n",
        );
    }
    let text = encode(key);
    let mut line = Zeroizing::new([b'\n'; TEXT_LEN + 1]);
    line[..TEXT_LEN].copy_from_slice(text.as_str().as_bytes());
    output::print(std::str::from_utf8(line.as_slice())?).map(drop)
}

fn standard_output_is_open_to_others() -> bool {
    let file = std::io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let metadata = file.and_then(|file| file.metadata());
    metadata.is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o077 != 0)
}
