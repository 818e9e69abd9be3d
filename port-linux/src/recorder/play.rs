//! A recording played: the same core, in virtual time.

use std::io::Read;

use anyhow::{Context, Result, bail};
use mpt_proto::{
    CONTROL_MAX, Connection, Departure, Event, HEADROOM, Instant, Link, PathId, Policy, Received,
};

use super::decode::{Decoder, Entry};
use super::file::{End, Header, Next, Recording, end};
use super::{Change, Core, Decisions, Recorder};
use crate::driver::{Memory, MemorySize};

/// What was done otherwise than it was recorded, to see what would have been.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Otherwise {
    /// Another policy.
    pub policy: Option<Policy>,
    /// Paths that are never used, by name.
    pub without: Vec<String>,
    /// It is played on where something else is decided.
    pub goes_on: bool,
}

impl Otherwise {
    fn is_nothing(&self) -> bool {
        self.policy.is_none() && self.without.is_empty()
    }
}

/// Who watches a recording being played. `core` is as it is after what happened.
pub trait Watch {
    /// Time has come to `now`.
    fn time(&mut self, core: &Connection<'_>, now: Instant) {
        let _ = (core, now);
    }
    /// A path was added.
    fn path(&mut self, path: PathId, name: &str) {
        let _ = (path, name);
    }
    /// A packet, or a slice of one, of so many bytes came from the tunnel interface; whether the core took it.
    fn packet(&mut self, size: usize, taken: bool, now: Instant) {
        let _ = (size, taken, now);
    }
    /// A datagram left.
    fn departure(&mut self, departure: &Departure<'_>, header_len: usize, now: Instant) {
        let _ = (departure, header_len, now);
    }
    /// A datagram arrived on a path.
    fn arrival(&mut self, path: u8, size: usize, received: &Received<'_>, now: Instant) {
        let _ = (path, size, received, now);
    }
    /// Something happened that people are told of.
    fn event(&mut self, event: Event, now: Instant) {
        let _ = (event, now);
    }
}

/// Watches nothing.
impl Watch for () {}

/// What came of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How the recording ended.
    pub end: End,
    /// How long it is, in microseconds.
    pub length: u64,
    /// Blocks, at the end of each of which decisions are compared.
    pub blocks: u64,
    /// Decisions.
    pub decisions: u64,
    /// The block, by its first and last microsecond since the beginning, in which something else was decided than was recorded.
    pub differs: Option<(u64, u64)>,
}

/// Plays a recording for somebody who watches. Stops where something else is decided than was recorded, unless something is done
/// `otherwise`.
///
/// # Errors
/// It is no recording, of another format, or damaged.
pub fn play(from: impl Read, otherwise: &Otherwise, watch: &mut impl Watch) -> Result<(Header, Verdict)> {
    let mut recording = Recording::open(from)?;
    let header = recording.header.clone();
    let mut memory = Memory::new(MemorySize::of(sizes(&header)?));
    let mut config = header.settings.config();
    config.policy = otherwise.policy.unwrap_or(config.policy);
    let begin = Instant::from_micros(header.now);
    let connection = Connection::new(config, memory.lend(), begin);
    let mut player = Player {
        core: Core::recorded(connection, Box::new(Recorder::silent())),
        decoder: Decoder::new(begin),
        places: [None; mpt_proto::MAX_PATHS],
        without: &otherwise.without,
        closed: 0,
        watch,
    };
    let mut verdict = Verdict { end: End::Cut, length: 0, blocks: 0, decisions: 0, differs: None };
    let compares = otherwise.is_nothing();
    loop {
        let mut block = match recording.next()? {
            Next::Block(block) => block,
            Next::End(end) => {
                verdict.end = end;
                return Ok((header, verdict));
            }
        };
        while let Some(entry) = player.decoder.next(&mut block.reader).ok().with_context(|| {
            format!("block {} makes no sense: another build of mpt may have recorded it", verdict.blocks)
        })? {
            player.enter(entry)?;
        }
        let since = verdict.length;
        verdict.length = block.now.saturating_sub(header.now);
        verdict.blocks += 1;
        let decided = player.decisions();
        verdict.decisions = decided.count;
        if compares && verdict.differs.is_none() && decided != block.decisions {
            verdict.differs = Some((since, verdict.length));
            if !otherwise.goes_on {
                return Ok((header, verdict));
            }
        }
    }
}

/// What stands before a recording.
///
/// # Errors
/// It is none, or of another format.
pub fn header(from: impl Read) -> Result<Header> {
    Ok(Recording::open(from)?.header)
}

/// A recording up to the block that has this microsecond since its beginning.
///
/// # Errors
/// It is none, or damaged before that.
pub fn cut(bytes: &[u8], until: u64) -> Result<Vec<u8>> {
    let mut recording = Recording::open(bytes)?;
    let begin = recording.header.now;
    loop {
        match recording.next()? {
            Next::End(_) => return Ok(bytes.to_vec()),
            Next::Block(block) if block.now.saturating_sub(begin) < until => {}
            Next::Block(_) => {
                let mut cut = bytes[..bytes.len() - recording.rest().len()].to_vec();
                cut.extend(end(End::Saved));
                return Ok(cut);
            }
        }
    }
}

/// The memory that the core was lent, if it can be.
fn sizes(header: &Header) -> Result<[usize; 5]> {
    /// Most that any configuration asks for, in bytes.
    const MOST: u64 = 8 << 30;
    let [window, datagram, packet, kept, cell] = header.memory;
    let bytes = window.saturating_mul(datagram).saturating_add(kept.saturating_mul(cell));
    if bytes > MOST || packet > MOST >> 8 {
        bail!("its header makes no sense: the connection had {bytes} bytes of memory");
    }
    Ok(header.memory.map(|size| usize::try_from(size).unwrap_or(usize::MAX)))
}

struct Player<'s, 'w, W> {
    core: Core<'s>,
    decoder: Decoder,
    places: [Option<PathId>; mpt_proto::MAX_PATHS],
    without: &'w [String],
    /// The places of paths that are never used.
    closed: u16,
    watch: &'w mut W,
}

impl<W: Watch> Player<'_, '_, W> {
    fn decisions(&mut self) -> Decisions {
        self.core.recorder().map(|recorder| recorder.decisions()).unwrap_or_default()
    }

    fn enter(&mut self, entry: Entry) -> Result<()> {
        let now = self.decoder.now();
        let header_len = self.core.header_len();
        let Self { core, decoder, watch, places, .. } = self;
        match entry {
            Entry::Timeout => core.handle_timeout(now),
            Entry::Tick => core.tick(now),
            Entry::Datagram { path, ecn, arrived } => {
                let Some(id) = places.get(usize::from(path)).copied().flatten() else { return Ok(()) };
                let size = decoder.buffer.len();
                let received = core.decapsulate_arrived(id, &mut decoder.buffer, ecn, arrived, now);
                if let Ok(received) = received {
                    watch.arrival(path, size, &received, now);
                }
            }
            Entry::Packet { hash } => {
                let buffer = &mut decoder.buffer;
                let size = buffer.len() - HEADROOM;
                let flow = mpt_proto::wire::ip::Flow { hash, ..core.flow(&buffer[HEADROOM..]) };
                let each = |departure: &Departure<'_>| watch.departure(departure, header_len, now);
                let taken = core.encapsulate_flow(buffer, &flow, now, each).is_ok();
                watch.packet(size, taken, now);
            }
            Entry::Slice { flow } => {
                let buffer = &mut decoder.buffer;
                let size = buffer.len() - HEADROOM;
                let each = |departure: &Departure<'_>| watch.departure(departure, header_len, now);
                let taken = core.encapsulate_slice(buffer, &flow, now, each).is_ok();
                watch.packet(size, taken, now);
            }
            Entry::PollPacket(count) => (0..count).for_each(|_| _ = core.poll_packet()),
            Entry::PollTransmit(count) => {
                for _ in 0..count {
                    let mut buffer = [0; CONTROL_MAX];
                    if let Some(departure) = core.poll_transmit(&mut buffer) {
                        watch.departure(&departure, header_len, now);
                    }
                }
            }
            Entry::PollEvent(count) => {
                for _ in 0..count {
                    if let Some(event) = core.poll_event() {
                        watch.event(event, now);
                    }
                }
            }
            Entry::Change(change) => self.change(change, now)?,
        }
        self.watch.time(&self.core, now);
        Ok(())
    }

    fn change(&mut self, change: Change, now: Instant) -> Result<()> {
        let place = |path: u8| self.places.get(usize::from(path)).copied().flatten();
        match change {
            Change::AddPath { name, settings } => {
                // A refusal was recorded as well.
                if let Ok(id) = self.core.add_path(&name, settings.into(), now) {
                    self.places[id.index()] = Some(id);
                    self.watch.path(id, &name);
                    let is_closed = self.without.contains(&name);
                    self.closed = self.closed & !(1 << id.index()) | u16::from(is_closed) << id.index();
                    if is_closed {
                        self.core.set_enabled(id, false, now).ok().context("a path that was added")?;
                    }
                }
            }
            Change::RemovePath(path) => {
                if let Some(id) = place(path) {
                    _ = self.core.remove_path(id, now);
                    self.places[usize::from(path)] = None;
                }
            }
            Change::Enabled { path, enabled } => {
                if let Some(id) = place(path) {
                    let enabled = enabled && self.closed & (1 << id.index()) == 0;
                    _ = self.core.set_enabled(id, enabled, now);
                }
            }
            Change::Link { path, is_up } => {
                if let Some(id) = place(path) {
                    _ = self.core.handle_link(id, if is_up { Link::Up } else { Link::Down }, now);
                }
            }
            Change::MaxDatagram { path, size } => {
                if let Some(id) = place(path) {
                    _ = self.core.set_max_datagram(id, size, now);
                }
            }
            Change::TakeCarried(path) => {
                if let Some(id) = place(path) {
                    _ = self.core.take_carried(id);
                }
            }
            Change::Probe(path) => {
                if let Some(id) = place(path) {
                    _ = self.core.probe(id, now);
                }
            }
            Change::Challenge { path, stamp } => {
                let mut buffer = [0; CONTROL_MAX];
                if let Some(id) = place(path) {
                    _ = self.core.challenge(id, stamp, &mut buffer, now);
                }
            }
            Change::Limit(bytes) => self.core.set_limit(bytes),
            Change::Turn(is_its) => self.core.set_turn(is_its),
            Change::Share(bytes) => self.core.set_share(bytes),
            Change::Ask(bytes) => self.core.ask(bytes),
            Change::Tier { path, tier } => {
                if let Some(id) = place(path) {
                    _ = self.core.set_tier(id, tier, now);
                }
            }
            Change::PinFlow { ports, path, until } => {
                if let Some(id) = place(path) {
                    _ = self.core.pin_flow(ports, id, Instant::from_micros(until), now);
                }
            }
        }
        Ok(())
    }
}
