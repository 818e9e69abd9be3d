//! The file that keeps what was counted.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Count;
use crate::state_file::{StateFile, Writer};

/// Version of the file.
const VERSION: u32 = 1;
/// Longer than any list of paths; more is no file of ours.
const SIZE_MAX: u64 = 1 << 20;
/// How long the end of mpt waits for a disk.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// What was counted, by `CONNECTION/PATH`.
pub type Counts = BTreeMap<String, Count>;

#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    paths: Counts,
}

/// Keeps, in a file, what was counted.
pub struct Store(StateFile);

impl Store {
    /// In this file.
    pub const fn new(file: PathBuf, writer: Writer) -> Self {
        Self(StateFile::with_loss(file, writer, "what data plans have used is lost when mpt ends"))
    }

    /// What was written last. A file that is damaged, or of another version, is put aside, and people are told.
    pub fn read(&self) -> Counts {
        let file = self.0.path();
        match read(file) {
            Ok(counts) => counts,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Counts::new(),
            Err(error) => {
                let aside = file.with_extension("data.unreadable");
                let kept = match fs::rename(file, &aside) {
                    Ok(()) => format!("it is {} now", aside.display()),
                    Err(error) => format!("it cannot be put aside: {error}"),
                };
                tracing::warn!(
                    "what the paths' data plans have used is counted anew, as {} cannot be read: {error}; {kept}. \
                     `mpt data set PATH AMOUNT` takes over the provider's figure",
                    file.display()
                );
                Counts::new()
            }
        }
    }

    /// Writes this soon, instead of what was there.
    pub fn write(&self, counts: Counts) {
        self.0.write(&Contents { version: VERSION, paths: counts });
    }

    /// Waits until everything is written, for a while.
    pub fn end(&self) {
        self.0.flush(END_PATIENCE);
    }
}

fn read(file: &Path) -> io::Result<Counts> {
    if fs::metadata(file)?.len() > SIZE_MAX {
        return Err(io::Error::other("it is too large"));
    }
    let contents: Contents = serde_json::from_slice(&fs::read(file)?)?;
    if contents.version != VERSION {
        return Err(io::Error::other(format!("it has version {}, not {VERSION}", contents.version)));
    }
    Ok(contents.paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> Counts {
        let count = serde_json::from_str(r#"{"used":5000000000,"seen":1796000400,"period":1794009600}"#);
        Counts::from([("vps/lte".to_owned(), count.unwrap())])
    }

    fn store(file: PathBuf) -> Store {
        Store::new(file, Writer::start().unwrap())
    }

    #[test]
    fn what_was_counted_is_there_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("deep/mpt0.data");
        let kept = store(file.clone());
        assert_eq!(kept.read(), Counts::new());
        kept.write(Counts::new());
        kept.write(counts());
        kept.end();
        assert_eq!(store(file).read(), counts());
    }

    #[test]
    fn a_file_that_is_cut_or_of_another_version_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("mpt0.data");
        let kept = store(file.clone());
        kept.write(counts());
        kept.end();
        let whole = fs::read_to_string(&file).unwrap();
        let long = " ".repeat(2 << 20);
        let other = whole.replace("\"version\":1", "\"version\":2");
        for text in ["", &whole[..whole.len() / 2], "rubbish", &other, &long] {
            fs::write(&file, text).unwrap();
            assert_eq!(kept.read(), Counts::new());
            assert!(!file.exists());
            assert_eq!(fs::read_to_string(directory.path().join("mpt0.data.unreadable")).unwrap(), text);
        }
        kept.write(counts());
        kept.end();
        assert_eq!(kept.read(), counts(), "and it is written anew");
    }

    #[test]
    fn a_disk_that_takes_nothing_is_no_trouble() {
        let kept = store(PathBuf::from("/proc/nonexistent/mpt0.data"));
        kept.write(counts());
        kept.end();
        assert_eq!(kept.read(), Counts::new());
    }
}
