//! From the event loop to the file: blocks in memory, handed to a thread that packs and writes them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use mpt_proto::Instant;

use super::columns::Columns;
use super::encode::Encoder;
use super::file::{self, End, Header};
use super::settings::Settings;
use super::{Decision, Decisions, Input, State, Subject, head};
use crate::{clock, private_file, state_directory};

/// Bytes, unpacked, with which a block is handed on.
const BLOCK_BYTES: usize = 64 << 10;
/// Age of its first input with which a block is handed on: what a crash may lose.
const BLOCK_TIME: Duration = Duration::from_secs(1);
/// Blocks that may wait for the disk: 4 MiB, which are seconds at any rate.
const WAITING: usize = 64;

/// Inputs of some time.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) columns: Columns,
    /// What the core had decided at its end.
    pub(super) decisions: Decisions,
    /// Microseconds of the connection's clock at its end.
    pub(super) now: u64,
}

/// How far the writer is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    handed: AtomicU64,
    written: AtomicU64,
    bytes: AtomicU64,
}

/// Records one connection; or, in a replay, only counts what is decided.
#[derive(Debug)]
pub struct Recorder {
    decisions: Decisions,
    tape: Option<Tape>,
}

#[derive(Debug)]
struct Tape {
    encoder: Encoder,
    /// When the first input of the block came, and the last.
    since: Instant,
    now: Instant,
    to_writer: SyncSender<Block>,
    progress: Arc<Progress>,
    file: PathBuf,
    is_over: bool,
}

impl Recorder {
    /// One that counts decisions, and writes nothing.
    pub(super) fn silent() -> Self {
        Self { decisions: Decisions::default(), tape: None }
    }

    /// What was decided up to now.
    pub(super) fn decisions(&self) -> Decisions {
        self.decisions
    }

    #[inline]
    pub(super) fn input(&mut self, input: &Input<'_>, now: Option<Instant>) {
        let Some(tape) = self.tape.as_mut().filter(|tape| !tape.is_over) else { return };
        if let Some(now) = now {
            tape.now = tape.now.max(now);
            if tape.encoder.len() >= BLOCK_BYTES || tape.now.since(tape.since) >= BLOCK_TIME {
                tape.hand_over(self.decisions);
            }
        }
        tape.encoder.input(input, now);
    }

    #[inline]
    pub(super) fn decide(&mut self, decision: &Decision<'_>) {
        if self.tape.as_ref().is_none_or(|tape| !tape.is_over) {
            self.decisions.add(decision);
        }
    }

    /// Hands on what was not yet. `None`: nothing is written.
    pub fn flush(&mut self) -> Option<State> {
        let tape = self.tape.as_mut()?;
        tape.hand_over(self.decisions);
        self.state()
    }

    /// How the recording is.
    pub fn state(&self) -> Option<State> {
        let tape = self.tape.as_ref()?;
        let Progress { handed, written, bytes } = &*tape.progress;
        Some(State {
            file: tape.file.clone(),
            bytes: bytes.load(Ordering::Acquire),
            handed: handed.load(Ordering::Relaxed),
            written: written.load(Ordering::Acquire),
            is_over: tape.is_over,
        })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Tape {
    fn hand_over(&mut self, decisions: Decisions) {
        self.since = self.now;
        if self.is_over || self.encoder.len() == 0 {
            return;
        }
        let block = Block { columns: self.encoder.take(), decisions, now: self.now.as_micros() };
        match self.to_writer.try_send(block) {
            Ok(()) => _ = self.progress.handed.fetch_add(1, Ordering::Relaxed),
            // The file is full, or cannot be written: the writer has said so.
            Err(TrySendError::Disconnected(_)) => self.is_over = true,
            Err(TrySendError::Full(_)) => {
                self.is_over = true;
                tracing::warn!(
                    "the recording {} ends: its disk takes less than what is recorded",
                    self.file.display()
                );
            }
        }
    }
}

/// Where recordings go, and the threads that write them.
#[derive(Debug)]
pub struct Recordings {
    directory: PathBuf,
    tunnel: String,
    writers: Vec<JoinHandle<()>>,
}

impl Recordings {
    /// Those of the tunnel interface with this name, below the directory for state.
    pub fn new(tunnel: &str) -> Self {
        Self::in_directory(tunnel, &state_directory::path().join("record"))
    }

    /// Those in this directory.
    pub(super) fn in_directory(tunnel: &str, directory: &Path) -> Self {
        Self { directory: directory.to_path_buf(), tunnel: tunnel.to_owned(), writers: Vec::new() }
    }

    /// Begins a recording, and keeps the last one beside it. `None`: it cannot, which people are told.
    pub fn begin(&mut self, subject: &Subject<'_>) -> Option<Box<Recorder>> {
        match self.try_begin(subject) {
            Ok(recorder) => Some(Box::new(recorder)),
            Err(error) => {
                tracing::warn!("{} is not recorded: {error:#}", subject.connection);
                None
            }
        }
    }

    fn try_begin(&mut self, subject: &Subject<'_>) -> Result<Recorder> {
        let Subject { connection, limit, config, memory, now } = subject;
        fs::create_dir_all(&self.directory).with_context(|| {
            let directory = self.directory.display();
            let usual = state_directory::DEFAULT;
            format!("cannot make the directory {directory} (STATE_DIRECTORY names another one than {usual})")
        })?;
        let file = self.directory.join(format!("{}-{connection}.mptrec", self.tunnel));
        let former = self.directory.join(format!("{}-{connection}.1.mptrec", self.tunnel));
        match fs::rename(&file, &former) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot rename {}", file.display()));
            }
            _ => {}
        }
        let header = Header {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            began: clock::time_of_day(),
            tunnel: self.tunnel.clone(),
            connection: (*connection).to_owned(),
            settings: Settings::from(*config),
            memory: memory.map(|size| size as u64),
            now: now.as_micros(),
        };
        let begin = file::begin(&header)?;
        let mut opened =
            private_file::create(&file).with_context(|| format!("cannot make {}", file.display()))?;
        opened.write_all(&begin).with_context(|| format!("cannot write {}", file.display()))?;
        let progress = Arc::new(Progress::default());
        progress.bytes.store(begin.len() as u64, Ordering::Release);
        let (to_writer, blocks) = mpsc::sync_channel(WAITING);
        let writer = Writer {
            file: opened,
            name: file.clone(),
            bytes: begin.len() as u64,
            limit: *limit,
            progress: progress.clone(),
        };
        let thread = std::thread::Builder::new().name("record".into()).spawn(move || writer.run(&blocks))?;
        self.writers.retain(|writer| !writer.is_finished());
        self.writers.push(thread);
        tracing::info!("{connection} is recorded in {}, up to {} MB", file.display(), limit / 1_000_000);
        let encoder = Encoder::new(config.policy, head::needs_addresses(&config.classes), *now);
        let (since, is_over) = (*now, false);
        let tape = Tape { encoder, since, now: *now, to_writer, progress, file, is_over };
        Ok(Recorder { decisions: Decisions::default(), tape: Some(tape) })
    }
}

/// What is written when mpt ends is waited for.
impl Drop for Recordings {
    fn drop(&mut self) {
        for writer in self.writers.drain(..) {
            // One that has panicked has said so.
            let _ = writer.join();
        }
    }
}

/// The thread's side.
struct Writer {
    file: File,
    name: PathBuf,
    bytes: u64,
    limit: u64,
    progress: Arc<Progress>,
}

impl Writer {
    fn run(mut self, blocks: &Receiver<Block>) {
        while let Ok(block) = blocks.recv() {
            let packed = file::pack(block);
            if self.bytes + packed.len() as u64 + file::END > self.limit {
                tracing::info!(
                    "the recording {} is full and ends: `mpt record start` begins another one",
                    self.name.display()
                );
                return self.end(End::Full);
            }
            if let Err(error) = self.file.write_all(&packed) {
                tracing::warn!("the recording {} ends: {error}", self.name.display());
                return;
            }
            self.bytes += packed.len() as u64;
            self.progress.bytes.store(self.bytes, Ordering::Release);
            self.progress.written.fetch_add(1, Ordering::Release);
        }
        self.end(End::Closed);
    }

    fn end(&mut self, how: End) {
        if self.file.write_all(&file::end(how)).is_ok() {
            self.progress.bytes.fetch_add(file::END, Ordering::Release);
        }
    }
}
