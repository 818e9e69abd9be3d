//! Files in which mpt finds something again at its next start, written by one thread: the event loop does not wait for disks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::private_file;

/// The thread that writes the files. It ends when nobody has this any more.
#[derive(Debug, Clone)]
pub struct Writer(mpsc::Sender<Task>);

#[derive(Debug)]
enum Task {
    /// To write this text into the file, instead of what was there.
    Write { path: PathBuf, text: String, loss: Option<&'static str> },
    /// To say when everything that came before is done.
    Tell(mpsc::Sender<()>),
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start() -> io::Result<Self> {
        let (sender, tasks) = mpsc::channel();
        std::thread::Builder::new().name("state".into()).spawn(move || work(&tasks))?;
        Ok(Self(sender))
    }
}

/// A file with one value, as JSON. Only its owner may read it.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    loss: Option<&'static str>,
    writer: Writer,
}

impl StateFile {
    /// Without this file mpt does no worse than at its first start: people are not told when it cannot be written.
    pub const fn new(path: PathBuf, writer: Writer) -> Self {
        Self { path, loss: None, writer }
    }

    /// A file that people would miss: when it cannot be written, they are told `loss`, once until it can be again.
    pub const fn with_loss(path: PathBuf, writer: Writer, loss: &'static str) -> Self {
        Self { path, loss: Some(loss), writer }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was written last; the default if there is nothing, as at the first start, or something of another version.
    pub fn read<T: DeserializeOwned + Default>(&self) -> T {
        fs::read(&self.path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Writes this soon, instead of what was there.
    pub fn write(&self, value: &impl Serialize) {
        if let Ok(text) = serde_json::to_string(value) {
            // The thread ends with us.
            let _ = self.writer.0.send(Task::Write { path: self.path.clone(), text, loss: self.loss });
        }
    }

    /// Waits until everything is written, at most `patience`.
    pub fn flush(&self, patience: Duration) {
        let (sender, done) = mpsc::channel();
        if self.writer.0.send(Task::Tell(sender)).is_ok() {
            let _ = done.recv_timeout(patience);
        }
    }
}

fn work(tasks: &mpsc::Receiver<Task>) {
    let mut failing = BTreeSet::new();
    while let Ok(first) = tasks.recv() {
        let (mut newest, mut waiting) = (BTreeMap::new(), Vec::new());
        for task in std::iter::once(first).chain(tasks.try_iter()) {
            match task {
                Task::Write { path, text, loss } => _ = newest.insert(path, (text, loss)),
                Task::Tell(who) => waiting.push(who),
            }
        }
        for (path, (text, loss)) in newest {
            let file = path.display();
            match (replace(&path, &text), loss) {
                (Ok(()), _) => _ = failing.remove(&path),
                (Err(error), None) => tracing::debug!("{file}: {error}"),
                (Err(error), Some(loss)) => {
                    if failing.insert(path.clone()) {
                        tracing::warn!("{loss}: {file}: {error}");
                    }
                }
            }
        }
        for who in waiting {
            let _ = who.send(());
        }
    }
}

/// Whole or not at all: also when the power fails.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    let mut file = private_file::create(Path::new(&new))?;
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn what_was_written_last_is_there_and_nobody_else_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let writer = Writer::start().unwrap();
        let file = |name: &str| StateFile::new(directory.path().join(name), writer.clone());
        let (one, other) = (file("deep/one"), file("other"));
        assert_eq!(one.read::<u32>(), 0);
        for number in 1..=100 {
            one.write(&number);
            other.write(&(1000 + number));
        }
        one.flush(PATIENCE);
        assert_eq!((one.read(), other.read()), (100, 1100));
        assert_eq!(fs::metadata(one.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing is left beside them");
        fs::write(one.path(), "rubbish").unwrap();
        assert_eq!(one.read::<u32>(), 0);
    }

    #[test]
    fn one_that_cannot_be_written_does_not_stop_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let writer = Writer::start().unwrap();
        let bad = StateFile::with_loss("/proc/nonexistent/state".into(), writer.clone(), "it is lost");
        let good = StateFile::new(directory.path().join("state"), writer);
        bad.write(&1);
        good.write(&2);
        good.flush(PATIENCE);
        assert_eq!((bad.read::<u32>(), good.read::<u32>()), (0, 2));
    }
}
