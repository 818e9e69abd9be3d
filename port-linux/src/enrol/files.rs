//! Files that are made together: all of them, or none.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::failure::misconfigured;
use crate::keys::{self, KeyBytes};

/// Rights of a configuration: the service reads it, and nothing in it is secret.
const READABLE: u32 = 0o644;

/// New files. They are removed when this is dropped, unless [`keep`](Self::keep) was called.
#[derive(Debug, Default)]
pub(super) struct NewFiles {
    made: Vec<PathBuf>,
}

impl NewFiles {
    /// Makes a directory that others may list, unless it is there.
    pub(super) fn directory(&mut self, path: &Path) -> Result<()> {
        match fs::DirBuilder::new().mode(0o755).create(path) {
            Ok(()) => self.made.push(path.to_owned()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
        }
        Ok(())
    }

    /// Writes a new file: whole, or not at all.
    pub(super) fn text(&mut self, path: &Path, text: &str) -> Result<()> {
        let context = || format!("cannot write {}", path.display());
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        let mut file =
            tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new("."))).with_context(context)?;
        file.write_all(text.as_bytes()).with_context(context)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(READABLE)).with_context(context)?;
        file.as_file().sync_all().with_context(context)?;
        file.persist_noclobber(path).map_err(|error| refused(path, error.error))?;
        self.made.push(path.to_owned());
        Ok(())
    }

    /// Makes a new file with a key, which only its owner may read.
    pub(super) fn key(&mut self, path: &Path, key: &KeyBytes) -> Result<()> {
        keys::create(path, key).map_err(|error| refused(path, error))?;
        self.made.push(path.to_owned());
        Ok(())
    }

    /// They stay.
    pub(super) fn keep(mut self) {
        self.made.clear();
    }
}

/// Files that are out of the way under other names. They are put back when this is dropped, unless [`discard`](Self::discard) was called.
#[derive(Debug, Default)]
pub(super) struct Aside {
    moved: Vec<(PathBuf, PathBuf)>,
}

impl Aside {
    /// Moves those of the files that are there.
    pub(super) fn put(paths: &[&Path]) -> Result<Self> {
        let mut aside = Self::default();
        for path in paths {
            let mut name = path.as_os_str().to_owned();
            name.push(".old");
            let old = PathBuf::from(name);
            match fs::rename(path, &old) {
                Ok(()) => aside.moved.push(((*path).to_owned(), old)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("cannot rename {}", path.display())),
            }
        }
        Ok(aside)
    }

    /// They are not needed any more.
    pub(super) fn discard(mut self) {
        for (_, old) in self.moved.drain(..) {
            // Nobody reads a file of that name.
            let _ = fs::remove_file(old);
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        for (path, old) in self.moved.iter().rev() {
            if let Err(error) = fs::rename(old, path) {
                tracing::error!("cannot put {} back to {}: {error}", old.display(), path.display());
            }
        }
    }
}

/// Removes those of the files that are there.
pub(super) fn remove(paths: impl IntoIterator<Item = PathBuf>) -> Result<()> {
    for path in paths {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn refused(path: &Path, error: std::io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::AlreadyExists => misconfigured(format!("{} is there already", path.display())),
        _ => anyhow::Error::new(error).context(format!("cannot write {}", path.display())),
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // The complaint is about what failed before.
            let _ = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_aside_comes_back_whole_unless_it_is_discarded() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let (file, key) = (path("van.toml"), path("van.psk"));
        fs::write(&file, "file").unwrap();
        fs::write(&key, "key").unwrap();
        {
            let _aside = Aside::put(&[&file, &key, &path("none")]).unwrap();
            let mut files = NewFiles::default();
            files.text(&file, "new").unwrap();
        }
        assert_eq!([&file, &key].map(|path| fs::read_to_string(path).unwrap()), ["file", "key"]);
        Aside::put(&[&file]).unwrap().discard();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_not_kept_is_removed_and_what_was_there_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("old"), "old").unwrap();
        {
            let mut files = NewFiles::default();
            files.directory(&path("new")).unwrap();
            files.text(&path("new/a"), "text").unwrap();
            files.key(&path("key"), &keys::random().unwrap()).unwrap();
            assert!(files.text(&path("old"), "new").unwrap_err().to_string().contains("is there already"));
            assert_eq!(fs::metadata(path("key")).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["old"]);
        let mut files = NewFiles::default();
        files.text(&path("new"), "text").unwrap();
        files.keep();
        assert_eq!(fs::read_to_string(path("new")).unwrap(), "text");
    }
}
