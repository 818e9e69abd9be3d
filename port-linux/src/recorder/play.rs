//! A recording played: the same core, in virtual time.

use std::io::Read;

use anyhow::{Context, Result, anyhow, bail};
use mpt_proto::{
    CONTROL_MAX, Connection, Departure, Event, HEADROOM, Instant, Link, PathId, Policy, Received, Storage,
    Unsent,
};
use serde::{Serialize, Serializer};

use super::decode::{Decoder, Entry};
use super::file::{End, Header, Next, Recording, Start, end};
use super::{Change, Core, Decisions, Recorder};
use crate::memory::{Memory, MemorySize};

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
    /// The recording begins in the middle of its connection's life.
    pub had_begun: bool,
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
    let mut storage = Some(memory.lend());
    let mut player: Option<Player<'_, '_, _>> = None;
    let mut watch = Some(watch);
    let mut verdict =
        Verdict { end: End::Cut, length: 0, blocks: 0, decisions: 0, differs: None, had_begun: false };
    let mut decided_before = 0;
    let compares = otherwise.is_nothing();
    loop {
        let next = recording.next()?;
        if let (Next::Start(_) | Next::Block(_), Some(storage), Some(watch)) =
            (&next, storage.take(), watch.take())
        {
            player = Some(match &next {
                Next::Start(start) => {
                    verdict.had_begun = true;
                    decided_before = start.decisions.count;
                    Player::restored(start, storage, otherwise, watch)?
                }
                _ => Player::new(&header, storage, otherwise, watch),
            });
        }
        let since = verdict.length;
        match (next, &mut player) {
            (Next::Start(start), Some(player)) => {
                // That of the first segment is the one that was just restored.
                let is_same = player.meets(&start);
                player.decoder = Decoder::new(Instant::from_micros(start.now));
                verdict.length = start.now.saturating_sub(header.now);
                if compares && verdict.differs.is_none() && !is_same {
                    verdict.differs = Some((since, verdict.length));
                }
            }
            (Next::Block(mut block), Some(player)) => {
                while let Some(entry) = player.decoder.next(&mut block.reader).ok().with_context(|| {
                    format!(
                        "block {} makes no sense: another build of mpt may have recorded it",
                        verdict.blocks
                    )
                })? {
                    player.enter(entry)?;
                }
                verdict.length = block.now.saturating_sub(header.now);
                verdict.blocks += 1;
                let decided = player.decisions();
                verdict.decisions = decided.count.saturating_sub(decided_before);
                if compares && verdict.differs.is_none() && decided != block.decisions {
                    verdict.differs = Some((since, verdict.length));
                }
            }
            (Next::End(end), _) => {
                verdict.end = end;
                return Ok((header, verdict));
            }
            (_, None) => bail!("there is nothing to play"),
        }
        if verdict.differs.is_some() && !otherwise.goes_on {
            return Ok((header, verdict));
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
/// It begins where it began: with a state, if it had one.
///
/// # Errors
/// It is none, or damaged before that.
pub fn cut(bytes: &[u8], until: u64) -> Result<Vec<u8>> {
    let mut recording = Recording::open(bytes)?;
    let begin = recording.header.now;
    loop {
        match recording.next()? {
            Next::End(_) => return Ok(bytes.to_vec()),
            Next::Start(_) => {}
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

/// The state of a core that is played.
struct AsPlayed<'a>(&'a Connection<'a>);

impl Serialize for AsPlayed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.save(&|_, _| {}, serializer)
    }
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

impl<'s, 'w, W: Watch> Player<'s, 'w, W> {
    /// Of a core that is new.
    fn new(header: &Header, storage: Storage<'s>, otherwise: &'w Otherwise, watch: &'w mut W) -> Self {
        let mut config = header.settings.config();
        config.policy = otherwise.policy.unwrap_or(config.policy);
        let begin = Instant::from_micros(header.now);
        Self::of(Connection::new(config, storage, begin), Decisions::default(), begin, otherwise, watch)
    }

    /// Of one that lives already.
    fn restored(
        start: &Start,
        storage: Storage<'s>,
        otherwise: &'w Otherwise,
        watch: &'w mut W,
    ) -> Result<Self> {
        // Packets come with the hashes of their flows.
        let mut core = Connection::restore(&mut postcard::Deserializer::from_bytes(&start.state), storage, 0)
            .map_err(|error| {
                anyhow!("the state with which it begins makes no sense: another build of mpt may have recorded it ({error})")
            })?;
        if let Some(policy) = otherwise.policy {
            core.set_policy(policy);
        }
        let now = Instant::from_micros(start.now);
        let ids: Vec<PathId> = core.paths().collect();
        let mut player = Self::of(core, start.decisions, now, otherwise, watch);
        for id in ids {
            let name = start.paths.iter().find(|(path, _)| usize::from(*path) == id.index());
            player.note_path(id, name.map_or("?", |(_, name)| name), now)?;
        }
        Ok(player)
    }

    fn of(
        core: Connection<'s>,
        decisions: Decisions,
        now: Instant,
        otherwise: &'w Otherwise,
        watch: &'w mut W,
    ) -> Self {
        Self {
            core: Core::recorded(core, Box::new(Recorder::silent(decisions))),
            decoder: Decoder::new(now),
            places: [None; mpt_proto::MAX_PATHS],
            without: &otherwise.without,
            closed: 0,
            watch,
        }
    }

    /// A path is there; one that is never used is closed.
    fn note_path(&mut self, id: PathId, name: &str, now: Instant) -> Result<()> {
        self.places[id.index()] = Some(id);
        self.watch.path(id, name);
        let is_closed = self.without.iter().any(|without| without == name);
        self.closed = self.closed & !(1 << id.index()) | u16::from(is_closed) << id.index();
        if is_closed {
            self.core.set_enabled(id, false, now).ok().context("a path that is there")?;
        }
        Ok(())
    }

    /// Whether the core is as it was when this segment began: its state has the same bytes, in which addresses are as they are played.
    fn meets(&self, start: &Start) -> bool {
        postcard::to_allocvec(&AsPlayed(&self.core)).is_ok_and(|state| state == start.state)
    }

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
                    self.note_path(id, &name, now)?;
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
            Change::SearchSize { path, least, seed } => {
                if let Some(id) = place(path) {
                    _ = self.core.search_size(id, least, seed, now);
                }
            }
            Change::Unsent { path, is_too_large } => {
                let why = if is_too_large { Unsent::TooLarge } else { Unsent::Otherwise };
                if let Some(id) = place(path) {
                    _ = self.core.handle_unsent(id, why, now);
                }
            }
        }
        Ok(())
    }
}
