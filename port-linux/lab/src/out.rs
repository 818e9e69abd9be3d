//! Files of a result.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// Writes one file of the result.
pub(crate) fn write(directory: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
