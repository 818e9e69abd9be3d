//! The file of the history.
//!
//! A header says how large everything is. Then come the names of [`COLUMNS`] paths, the ring of the last [`MARKS`] events, and for each
//! column a ring of records for a day and one for a month. Everything has a fixed size and place and a checksum, and is written by one
//! call: what a crash or a full disk has cut is not whole, and is skipped. Records are numbered, so that a ring goes on
//! behind its newest one whatever the clock says. Places that were never written take no room on the disk.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, OFlags};

use super::record::{MARK, Mark, RECORD, Record, cut, is_whole, seal};
use crate::private_file;

/// Paths that there is room for: two connections with as many as one may have.
pub const COLUMNS: usize = 32;
/// Events that are kept.
pub const MARKS: u64 = 1024;
/// Records of a day, one every ten seconds.
const DAY: u64 = 24 * 360;
/// Records of 31 days, one every five minutes.
const MONTH: u64 = 31 * 288;

/// Changes with the form of the file.
const VERSION: u32 = 1;
/// How often it is tried to lock a file, and how long after the last time.
const LOCK_TRIES: u32 = 20;
/// See [`LOCK_TRIES`].
const LOCK_EACH: Duration = Duration::from_millis(10);
const HEADER: usize = 64;
/// Bytes of a column's name, with what belongs to it: names have 64 at most, and there are two.
const ENTRY: usize = 256;
const ENTRY_HEAD: usize = 16;
const NAMES_AT: u64 = 4096;
const MARKS_AT: u64 = NAMES_AT + (COLUMNS * ENTRY) as u64;
const RINGS_AT: u64 = MARKS_AT + MARKS * MARK as u64;
const COLUMN: u64 = (DAY + MONTH) * RECORD as u64;
const SIZE: u64 = RINGS_AT + COLUMNS as u64 * COLUMN;

/// Which of the two rings of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// A record every ten seconds.
    Day,
    /// A record every five minutes.
    Month,
}

impl Span {
    fn places(self) -> u64 {
        match self {
            Self::Day => DAY,
            Self::Month => MONTH,
        }
    }

    fn at(self, column: usize) -> u64 {
        let column = RINGS_AT + column as u64 * COLUMN;
        match self {
            Self::Day => column,
            Self::Month => column + DAY * RECORD as u64,
        }
    }
}

/// A path that has a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its full name, `CONNECTION/PATH`.
    pub name: String,
    /// Its number, which its records carry: those of the path that had the column before have another.
    owner: u32,
}

impl Column {
    fn encode(&self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        let name = cut(&self.name, ENTRY - ENTRY_HEAD);
        bytes[4..8].copy_from_slice(&self.owner.to_le_bytes());
        bytes[8] = u8::try_from(name.len()).unwrap_or(u8::MAX);
        bytes[ENTRY_HEAD..][..name.len()].copy_from_slice(name.as_bytes());
        seal(&mut bytes);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        is_whole(bytes).then_some(())?;
        let name = bytes.get(ENTRY_HEAD..)?.get(..usize::from(bytes[8]))?;
        let owner = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
        Some(Self { name: String::from_utf8(name.to_vec()).ok()?, owner })
    }
}

/// A column that is written to.
#[derive(Debug)]
struct Written {
    column: Column,
    /// Number of the next record of each ring.
    next: [u64; 2],
    /// Counts writes of the table: the column that was not written for the longest time has the least.
    last: u64,
}

/// The file, to be written.
#[derive(Debug)]
pub struct Table {
    file: File,
    columns: [Option<Written>; COLUMNS],
    next_owner: u32,
    next_mark: u64,
    writes: u64,
}

impl Table {
    /// Opens or makes it, for one process at a time. What is no such file is renamed to `FILE.old`, with a warning.
    ///
    /// # Errors
    /// When it cannot be opened or made, or another process has it.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = lock(path)?;
        if file.metadata()?.len() > 0 && !is_ours(&file) {
            let old = aside(path);
            tracing::warn!(
                "{} is no history of this version of mpt, and is now {}: a new one begins",
                path.display(),
                old.display()
            );
            std::fs::rename(path, &old).with_context(|| format!("cannot rename {}", path.display()))?;
            file = lock(path)?;
        }
        if file.metadata()?.len() == 0 {
            file.set_len(SIZE).and_then(|()| file.write_all_at(&header(), 0)).inspect_err(|_| {
                // Half of a header is no history: the next start begins anew.
                let _ = file.set_len(0);
            })?;
        }
        let marks = read_marks(&file)?;
        let mut table = Self {
            columns: [const { None }; COLUMNS],
            next_owner: 1,
            next_mark: marks.last().map_or(1, |(number, _)| number + 1),
            writes: 0,
            file,
        };
        for (place, column) in read_columns(&table.file)? {
            table.next_owner = table.next_owner.max(column.owner.wrapping_add(1));
            let mut written = Written { next: [1; 2], last: 0, column };
            for span in [Span::Day, Span::Month] {
                let records = read_ring(&table.file, place, written.column.owner, span)?;
                written.next[span as usize] = records.last().map_or(1, |(number, _)| number + 1);
            }
            table.columns[place] = Some(written);
        }
        Ok(table)
    }

    /// Writes a record of a path, in place of the oldest one. A path that comes gets a column that is free, or else the one
    /// written longest ago of those whose path is not there; without such a column it has no history.
    ///
    /// # Errors
    /// What the file system says, as on a full disk.
    pub fn write(
        &mut self,
        span: Span,
        path: &str,
        record: &Record,
        is_present: impl Fn(&str) -> bool,
    ) -> io::Result<()> {
        let path = cut(path, ENTRY - ENTRY_HEAD);
        let Some(place) = self.place(path, is_present)? else { return Ok(()) };
        let Some(written) = &mut self.columns[place] else { return Ok(()) };
        let number = written.next[span as usize];
        let at = span.at(place) + number % span.places() * RECORD as u64;
        self.file.write_all_at(&record.encode(written.column.owner, number), at)?;
        self.writes += 1;
        written.last = self.writes;
        written.next[span as usize] += 1;
        Ok(())
    }

    /// Writes an event, in place of the oldest one.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write_mark(&mut self, mark: &Mark) -> io::Result<()> {
        let at = MARKS_AT + self.next_mark % MARKS * MARK as u64;
        self.file.write_all_at(&mark.encode(self.next_mark), at)?;
        self.next_mark += 1;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn replace_file(&mut self, file: File) {
        self.file = file;
    }

    fn place(&mut self, path: &str, is_present: impl Fn(&str) -> bool) -> io::Result<Option<usize>> {
        let is =
            |column: &Option<Written>| column.as_ref().is_some_and(|written| written.column.name == path);
        if let Some(place) = self.columns.iter().position(is) {
            return Ok(Some(place));
        }
        let left =
            self.columns.iter().enumerate().filter(|(_, column)| {
                column.as_ref().is_none_or(|written| !is_present(&written.column.name))
            });
        let longest_ago = left.min_by_key(|(_, column)| column.as_ref().map(|written| written.last));
        let Some((place, _)) = longest_ago else { return Ok(None) };
        let column = Column { name: path.to_owned(), owner: self.next_owner };
        self.file.write_all_at(&column.encode(), NAMES_AT + (place * ENTRY) as u64)?;
        self.next_owner += 1;
        self.columns[place] = Some(Written { column, next: [1; 2], last: 0 });
        Ok(Some(place))
    }
}

/// Where a file goes that is none of ours.
pub fn aside(path: &Path) -> PathBuf {
    let mut old = path.as_os_str().to_owned();
    old.push(".old");
    old.into()
}

fn lock(path: &Path) -> Result<File> {
    let mut options = private_file::options();
    options.read(true).create(true).truncate(false);
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let file =
        options.custom_flags(flags).open(path).with_context(|| format!("cannot open {}", path.display()))?;
    // A program that is being started, as by a hook, has the lock for a moment after it was let go.
    let mut tries = (0..LOCK_TRIES).map(|turn| {
        thread::sleep(if turn == 0 { Duration::ZERO } else { LOCK_EACH });
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
    });
    if tries.all(|locked| locked.is_err()) {
        bail!("{} is in use by another mpt", path.display());
    }
    drop(tries);
    Ok(file)
}

fn header() -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[4..16].copy_from_slice(b"mpt history\n");
    bytes[16..20].copy_from_slice(&VERSION.to_le_bytes());
    for (place, size) in bytes[24..].chunks_exact_mut(8).zip([SIZE, COLUMN, MARKS, COLUMNS as u64]) {
        place.copy_from_slice(&size.to_le_bytes());
    }
    seal(&mut bytes);
    bytes
}

/// Whether a file is a history of this version, and has all its bytes.
pub fn is_ours(file: &File) -> bool {
    let mut bytes = [0; HEADER];
    let is_read = file.read_exact_at(&mut bytes, 0).is_ok();
    is_read && bytes == header() && file.metadata().is_ok_and(|metadata| metadata.len() == SIZE)
}

/// Opens a file to read it.
///
/// # Errors
/// When it cannot be read, or is no history of this version.
pub fn open_to_read(path: &Path) -> Result<File> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            bail!("{}: {error}. Ask as the user that runs mpt, or with sudo.", path.display())
        }
        Err(error) => return Err(error).with_context(|| format!("cannot open {}", path.display())),
    };
    if !is_ours(&file) {
        bail!("{} is no history that this version of mpt can read", path.display());
    }
    Ok(file)
}

/// The columns that have a path, with their places.
///
/// # Errors
/// What the file system says.
pub fn read_columns(file: &File) -> io::Result<Vec<(usize, Column)>> {
    let mut bytes = vec![0; COLUMNS * ENTRY];
    file.read_exact_at(&mut bytes, NAMES_AT)?;
    let columns = bytes.chunks_exact(ENTRY).enumerate();
    Ok(columns.filter_map(|(place, entry)| Some((place, Column::decode(entry)?))).collect())
}

/// The records of a column, the oldest first.
///
/// # Errors
/// What the file system says.
pub fn read(file: &File, (place, column): &(usize, Column), span: Span) -> io::Result<Vec<Record>> {
    let records = read_ring(file, *place, column.owner, span)?;
    Ok(records.into_iter().map(|(_, record)| record).collect())
}

fn read_ring(file: &File, place: usize, owner: u32, span: Span) -> io::Result<Vec<(u64, Record)>> {
    let mut bytes = vec![0; usize::try_from(span.places()).unwrap_or(0) * RECORD];
    file.read_exact_at(&mut bytes, span.at(place))?;
    let records = bytes.chunks_exact(RECORD).filter_map(Record::decode);
    let own = records.filter(|(of, ..)| *of == owner);
    let mut records: Vec<(u64, Record)> = own.map(|(_, number, record)| (number, record)).collect();
    records.sort_unstable_by_key(|(number, _)| *number);
    Ok(records)
}

/// The events, the oldest first, with their numbers.
///
/// # Errors
/// What the file system says.
pub fn read_marks(file: &File) -> io::Result<Vec<(u64, Mark)>> {
    let mut bytes = vec![0; usize::try_from(MARKS).unwrap_or(0) * MARK];
    file.read_exact_at(&mut bytes, MARKS_AT)?;
    let mut marks: Vec<(u64, Mark)> = bytes.chunks_exact(MARK).filter_map(Mark::decode).collect();
    marks.sort_unstable_by_key(|(number, _)| *number);
    Ok(marks)
}
