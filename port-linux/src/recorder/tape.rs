//! From the event loop to the files: blocks and states in memory, handed to a thread that packs and writes them.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use mpt_proto::wire::ip::Flow;
use mpt_proto::{Connection, Instant};
use serde::{Serialize, Serializer};

use super::columns::Columns;
use super::core::Names;
use super::encode::Encoder;
use super::file::{self, End, Header, Start};
use super::ring::{self, Progress, Ring, Stop};
use super::settings::Settings;
use super::{Decision, Decisions, Input, State, Subject, head};
use crate::{clock, state_directory};

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

/// What the writer is handed.
#[derive(Debug)]
enum Item {
    Block(Box<Block>),
    Start(Start),
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
    to_writer: SyncSender<Item>,
    progress: Arc<Progress>,
    directory: PathBuf,
    /// The number of the segment that inputs go to.
    segment: u64,
    is_over: bool,
}

impl Recorder {
    /// One that counts decisions beyond these, and writes nothing.
    pub(super) fn silent(decisions: Decisions) -> Self {
        Self { decisions, tape: None }
    }

    /// Whether another segment is to begin.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        let is_full = |tape: &Tape| tape.progress.full.load(Ordering::Relaxed) == tape.segment;
        self.tape.as_ref().is_some_and(|tape| !tape.is_over && is_full(tape))
    }

    /// Begins another segment with the state of the core, of which everything up to now is recorded.
    pub(super) fn begin_segment(&mut self, core: &Connection<'_>, names: &Names) {
        let Some(tape) = &mut self.tape else { return };
        tape.hand_over(self.decisions);
        tape.segment += 1;
        tape.encoder.renew(tape.now);
        let start = snapshot(&mut tape.encoder, core, names, self.decisions, tape.now);
        tape.send(Item::Start(start));
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
        let Progress { handed, written, bytes, .. } = &*tape.progress;
        Some(State {
            directory: tape.directory.clone(),
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
        self.send(Item::Block(Box::new(block)));
    }

    fn send(&mut self, item: Item) {
        match self.to_writer.try_send(item) {
            Ok(()) => _ = self.progress.handed.fetch_add(1, Ordering::Relaxed),
            // The disk is full, or cannot be written: the writer has said so.
            Err(TrySendError::Disconnected(_)) => self.is_over = true,
            Err(TrySendError::Full(_)) => {
                self.is_over = true;
                tracing::warn!(
                    "the recording in {} ends: its disk takes less than what is recorded",
                    self.directory.display()
                );
            }
        }
    }
}

/// The state of a core, with what stands for addresses in the packets that are recorded.
struct Saved<'a, 'e> {
    core: &'a Connection<'a>,
    encoder: RefCell<&'e mut Encoder>,
}

impl Serialize for Saved<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hide = |flow: &Flow, addresses: &mut [u8]| self.encoder.borrow_mut().hide(flow, addresses);
        self.core.save(&hide, serializer)
    }
}

fn snapshot(
    encoder: &mut Encoder,
    core: &Connection<'_>,
    names: &Names,
    decisions: Decisions,
    now: Instant,
) -> Start {
    // A state of any size can be written.
    let state = postcard::to_allocvec(&Saved { core, encoder: RefCell::new(encoder) }).unwrap_or_default();
    let named = (0..).zip(names).filter_map(|(path, name)| Some((path, name.as_deref()?.to_owned())));
    Start { state, paths: named.collect(), decisions, now: now.as_micros() }
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

    /// Begins a recording, and keeps the last one beside it: of a core that is new, or that lives already. `None`: it cannot, which people are
    /// told.
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
        let Subject { connection, limit, config, memory, now, core } = subject;
        fs::create_dir_all(&self.directory).with_context(|| {
            let directory = self.directory.display();
            let usual = state_directory::DEFAULT;
            format!("cannot make the directory {directory} (STATE_DIRECTORY names another one than {usual})")
        })?;
        let directory = self.directory.join(format!("{}-{connection}", self.tunnel));
        let header = Header {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            began: clock::time_of_day(),
            tunnel: self.tunnel.clone(),
            connection: (*connection).to_owned(),
            settings: Settings::from(*config),
            memory: memory.map(|size| size as u64),
            now: now.as_micros(),
        };
        let mut encoder = Encoder::new(config.policy, head::needs_addresses(&config.classes), *now);
        let decisions = Decisions::default();
        let start = core.map(|(core, names)| snapshot(&mut encoder, core, names, decisions, *now));
        let progress = Arc::new(Progress::default());
        let ring = Ring::create(&directory, *limit, header, start.as_ref(), progress.clone())?;
        let (to_writer, items) = mpsc::sync_channel(WAITING);
        let writer = Writer { ring, directory: directory.clone(), progress: progress.clone() };
        let thread = std::thread::Builder::new().name("record".into()).spawn(move || writer.run(&items))?;
        self.writers.retain(|writer| !writer.is_finished());
        self.writers.push(thread);
        tracing::info!(
            "{connection} is recorded in {}: the last {} MB",
            directory.display(),
            limit / 1_000_000
        );
        let (since, segment, is_over) = (*now, ring::FIRST, false);
        let tape = Tape { encoder, since, now: *now, to_writer, progress, directory, segment, is_over };
        Ok(Recorder { decisions, tape: Some(tape) })
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
    ring: Ring,
    directory: PathBuf,
    progress: Arc<Progress>,
}

impl Writer {
    fn run(mut self, items: &Receiver<Item>) {
        let name = self.directory.display();
        while let Ok(item) = items.recv() {
            let written = match item {
                Item::Block(block) => self.ring.append(&file::pack(*block)),
                Item::Start(start) => self.ring.next(&start),
            };
            match written {
                Ok(()) => _ = self.progress.written.fetch_add(1, Ordering::Release),
                Err(Stop::Full) => {
                    tracing::warn!("the recording in {name} ends: what it may have has no room for a second");
                    let _ = self.ring.end(End::Full);
                    return;
                }
                Err(Stop::Failed(error)) => {
                    tracing::warn!("the recording in {name} ends: {error}");
                    return;
                }
            }
        }
        // The disk may be full: then it seems to be cut, which it is.
        let _ = self.ring.end(End::Closed);
    }
}
