//! The files of a recording: a directory of segments, of which the oldest goes when there is no room for what comes.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};

use super::file::{self, End, Header, Start};
use crate::{clock, private_file};

/// A segment ends when it has this part of what the recording may have. So 7 of 8 parts are always there, and the states with which
/// segments begin, which have 10 to 100 kB in a busy tunnel, are little of 64 MB.
const SEGMENTS: u64 = 8;
/// Number of the first segment.
pub(super) const FIRST: u64 = 1;
const ENDING: &str = "mptrec";

/// How far the writer is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) handed: AtomicU64,
    pub(super) written: AtomicU64,
    /// Bytes in all files.
    pub(super) bytes: AtomicU64,
    /// Number of the last segment that is long enough: another one is to begin behind it.
    pub(super) full: AtomicU64,
}

/// Writes the segments of a recording.
#[derive(Debug)]
pub(super) struct Ring {
    directory: PathBuf,
    limit: u64,
    header: Header,
    /// Numbers and sizes of the files that are there, the oldest first.
    files: VecDeque<(u64, u64)>,
    file: File,
    progress: Arc<Progress>,
}

/// Why nothing more is written.
#[derive(Debug)]
pub(super) enum Stop {
    /// What is to be written has no room, even alone.
    Full,
    Failed(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

fn segment(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:08}.{ENDING}"))
}

impl Ring {
    /// A new one in this directory, which is made; what was recorded there before is kept beside it.
    pub(super) fn create(
        directory: &Path,
        limit: u64,
        header: Header,
        start: Option<&Start>,
        progress: Arc<Progress>,
    ) -> Result<Self> {
        let mut former = directory.as_os_str().to_owned();
        former.push(".1");
        let of_before = || format!("cannot keep what was recorded in {} before", directory.display());
        match fs::remove_dir_all(&former) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(of_before);
            }
            _ => {}
        }
        match fs::rename(directory, &former) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(of_before);
            }
            _ => {}
        }
        let cannot = || format!("cannot write to {}", directory.display());
        fs::create_dir_all(directory).with_context(cannot)?;
        let begin = begin(&header, start)?;
        let number = FIRST;
        let mut file = private_file::create(&segment(directory, number)).with_context(cannot)?;
        file.write_all(&begin).with_context(cannot)?;
        progress.bytes.store(begin.len() as u64, Ordering::Release);
        let files = VecDeque::from([(number, begin.len() as u64)]);
        Ok(Self { directory: directory.to_owned(), limit, header, files, file, progress })
    }

    fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Makes room for more bytes: the oldest segments go, but for those of `kept`.
    fn make_room(&mut self, bytes: usize, kept: usize) -> Result<(), Stop> {
        while self.bytes() + bytes as u64 + file::END > self.limit {
            if self.files.len() <= kept {
                return Err(Stop::Full);
            }
            if let Some((number, _)) = self.files.pop_front() {
                fs::remove_file(segment(&self.directory, number))?;
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.file.write_all(bytes)?;
        if let Some((_, size)) = self.files.back_mut() {
            *size += bytes.len() as u64;
        }
        self.progress.bytes.store(self.bytes(), Ordering::Release);
        Ok(())
    }

    /// Appends to the segment.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.make_room(bytes.len(), 1)?;
        self.write(bytes)?;
        if let Some((number, _)) = self.files.back().filter(|(_, bytes)| *bytes >= self.limit / SEGMENTS) {
            self.progress.full.store(*number, Ordering::Release);
        }
        Ok(())
    }

    /// Begins another segment.
    pub(super) fn next(&mut self, start: &Start) -> Result<(), Stop> {
        let number = self.files.back().map_or(0, |(number, _)| *number) + 1;
        self.header.began = clock::time_of_day();
        self.header.now = start.now;
        let begin = begin(&self.header, Some(start)).map_err(io::Error::other)?;
        self.make_room(begin.len(), 0)?;
        self.end(End::GoesOn)?;
        self.file = private_file::create(&segment(&self.directory, number))?;
        self.files.push_back((number, 0));
        self.write(&begin)
    }

    /// Ends the segment, or all.
    pub(super) fn end(&mut self, how: End) -> Result<(), Stop> {
        self.write(&file::end(how))
    }
}

fn begin(header: &Header, start: Option<&Start>) -> Result<Vec<u8>> {
    let mut begin = file::begin(header)?;
    begin.extend(start.iter().flat_map(|start| file::start(start)));
    Ok(begin)
}

/// The segments of a recording as one file.
#[derive(Debug)]
pub struct Joined {
    files: VecDeque<File>,
    now: Cursor<Vec<u8>>,
    is_first: bool,
    /// How it ends if nothing says so.
    end: End,
}

impl Joined {
    /// What lies in this directory at this moment; where it goes on, it ends as it was saved, or cut.
    ///
    /// # Errors
    /// It cannot be read, or no recording is in it.
    pub fn open(directory: &Path, end: End) -> Result<Self> {
        let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
        let mut names: Vec<PathBuf> = entries.collect::<io::Result<_>>()?;
        names.retain(|name| name.extension().is_some_and(|ending| ending == ENDING));
        names.sort();
        let mut files = VecDeque::new();
        for name in &names {
            match File::open(name) {
                // It made room meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => files.push_back(opened?),
            }
        }
        if files.is_empty() {
            bail!("there is no recording in {}", directory.display());
        }
        Ok(Self { files, now: Cursor::default(), is_first: true, end })
    }

    /// The next segment. `false`: there is none.
    fn next(&mut self) -> io::Result<bool> {
        let Some(mut file) = self.files.pop_front() else { return Ok(false) };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (segments, how) = file::segments(&bytes);
        let mut part = bytes.get(segments.clone()).unwrap_or_default().to_vec();
        if self.is_first {
            part = bytes.get(..segments.end).unwrap_or_default().to_vec();
            self.is_first = false;
        }
        if self.files.is_empty() {
            let how = if matches!(how, End::GoesOn | End::Cut) { self.end } else { how };
            if how != End::Cut {
                part.extend(file::end(how));
            }
        }
        self.now = Cursor::new(part);
        Ok(true)
    }
}

impl Read for Joined {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.now.read(buffer)?;
            if read > 0 || buffer.is_empty() || !self.next()? {
                return Ok(read);
            }
        }
    }
}

/// A recording: a file, or a directory of segments.
///
/// # Errors
/// It cannot be read.
pub fn open(from: &Path) -> Result<Box<dyn Read>> {
    if from.is_dir() {
        return Ok(Box::new(Joined::open(from, End::Cut)?));
    }
    Ok(Box::new(io::BufReader::with_capacity(1 << 16, File::open(from)?)))
}
