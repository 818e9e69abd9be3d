//! The file that keeps what was counted, written by a thread of its own: the loop does not wait for disks.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Count;

/// Version of the file.
const VERSION: u32 = 1;
/// Longer than any list of paths; more is no file of ours.
const SIZE_MAX: u64 = 1 << 20;
/// How long the end of mpt waits for a disk.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// Where programs keep what outlives them: as systemd says (`StateDirectory=`), else `/var/lib/mpt`.
pub fn directory() -> PathBuf {
    let first = |paths: std::ffi::OsString| std::env::split_paths(&paths).next();
    let given = std::env::var_os("STATE_DIRECTORY").and_then(first).filter(|path| path.is_absolute());
    given.unwrap_or_else(|| PathBuf::from("/var/lib/mpt"))
}

/// What was counted, by `CONNECTION/PATH`.
pub type Counts = BTreeMap<String, Count>;

#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    paths: Counts,
}

/// See the module.
pub struct Store {
    file: PathBuf,
    texts: Option<mpsc::Sender<String>>,
    ended: Option<mpsc::Receiver<()>>,
}

impl Store {
    /// In this file; the thread starts with the first write.
    pub const fn new(file: PathBuf) -> Self {
        Self { file, texts: None, ended: None }
    }

    /// What was written last. A file that is damaged, or of another version, is put aside, and people are told.
    pub fn read(&self) -> Counts {
        match read(&self.file) {
            Ok(counts) => counts,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Counts::new(),
            Err(error) => {
                let aside = self.file.with_extension("data.unreadable");
                let kept = match fs::rename(&self.file, &aside) {
                    Ok(()) => format!("it is {} now", aside.display()),
                    Err(error) => format!("it cannot be put aside: {error}"),
                };
                tracing::warn!(
                    "what the paths' data plans have used is counted anew, as {} cannot be read: {error}; {kept}. \
                     `mpt data set PATH AMOUNT` takes over the provider's figure",
                    self.file.display()
                );
                Counts::new()
            }
        }
    }

    /// Writes this soon, instead of what was there.
    pub fn write(&mut self, counts: Counts) {
        let Ok(text) = serde_json::to_string(&Contents { version: VERSION, paths: counts }) else { return };
        if self.texts.is_none() {
            (self.texts, self.ended) = start(self.file.clone()).unzip();
        }
        if let Some(texts) = &self.texts {
            // The thread ends with us.
            let _ = texts.send(text);
        }
    }

    /// Waits until everything is written, for a while.
    pub fn end(&mut self) {
        self.texts = None;
        if let Some(ended) = self.ended.take() {
            let _ = ended.recv_timeout(END_PATIENCE);
        }
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

fn start(file: PathBuf) -> Option<(mpsc::Sender<String>, mpsc::Receiver<()>)> {
    let (texts, to_write) = mpsc::channel::<String>();
    let (end, ended) = mpsc::channel();
    let work = move || {
        let mut is_told = false;
        while let Ok(first) = to_write.recv() {
            let text = to_write.try_iter().last().unwrap_or(first);
            match write(&file, &text) {
                Ok(()) => is_told = false,
                // Once, until it can be written again.
                Err(_) if is_told => {}
                Err(error) => {
                    is_told = true;
                    let file = file.display();
                    tracing::warn!("what data plans have used is lost when mpt ends: {file}: {error}");
                }
            }
        }
        let _ = end.send(());
    };
    std::thread::Builder::new().name("data".into()).spawn(work).ok().map(|_| (texts, ended))
}

/// Whole or not at all: also when the power fails.
fn write(file: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = file.with_extension("data.new");
    let mut written =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    written.write_all(text.as_bytes())?;
    written.sync_data()?;
    fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> Counts {
        let count = serde_json::from_str(r#"{"used":5000000000,"seen":1796000400,"period":1794009600}"#);
        Counts::from([("vps/lte".to_owned(), count.unwrap())])
    }

    #[test]
    fn what_was_counted_is_there_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("deep/mpt0.data");
        let mut store = Store::new(file.clone());
        assert_eq!(store.read(), Counts::new());
        store.write(Counts::new());
        store.write(counts());
        store.end();
        assert_eq!(Store::new(file).read(), counts());
    }

    #[test]
    fn a_file_that_is_cut_or_of_another_version_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("mpt0.data");
        let mut store = Store::new(file.clone());
        store.write(counts());
        store.end();
        let whole = fs::read_to_string(&file).unwrap();
        let long = " ".repeat(2 << 20);
        let other = whole.replace("\"version\":1", "\"version\":2");
        for text in ["", &whole[..whole.len() / 2], "rubbish", &other, &long] {
            fs::write(&file, text).unwrap();
            assert_eq!(store.read(), Counts::new());
            assert!(!file.exists());
            assert_eq!(fs::read_to_string(directory.path().join("mpt0.data.unreadable")).unwrap(), text);
        }
        store.write(counts());
        store.end();
        assert_eq!(store.read(), counts(), "and it is written anew");
    }

    #[test]
    fn a_disk_that_takes_nothing_is_no_trouble() {
        let mut store = Store::new(PathBuf::from("/proc/nonexistent/mpt0.data"));
        store.write(counts());
        store.end();
        assert_eq!(store.read(), Counts::new());
    }
}
