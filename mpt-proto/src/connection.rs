//! The connection: glue between codec, schedule, reorder buffer, reassembly and path liveness.

mod departures;
mod extended;
mod receive;
mod stranger;

use core::time::Duration;

use heapless::Vec;

use crate::adaptive::{Adaptive, AdaptiveState, FlowSlot, PacketSlot};
use crate::config::{Config, PathConfig};
use crate::ecn::Ecn;
use crate::event::Event;
use crate::path::{Due, Path, PathId, PathState};
use crate::path_set::{MAX_PATHS, PathSet};
use crate::reassembly::{Cut, Reassembly, ReassemblySlot};
use crate::reorder::{Reorder, ReorderSlot};
use crate::rng::Rng;
use crate::schedule::{Policy, Scheduler};
use crate::seq::Seq;
use crate::stats::{Drop, PathStats, Stats};
use crate::time::{Instant, earlier};
use crate::wire::control::{self, Features, Kind, Message};
use crate::wire::gre::{self, Layout, Protocol};
use crate::wire::ip::{self, Flow};
use crate::wire::{extension, fragment, report, slice};

use extended::Extension;

pub use departures::{Departure, Departures};
pub use stranger::Claim;

/// Bytes that must be free before the inner packet handed to [`Connection::encapsulate`]: the longest GRE
/// header and a fragment header.
pub const HEADROOM: usize = gre::MAX_LEN + fragment::LEN;
/// Largest datagram of our own, in bytes: the buffer for [`Connection::poll_transmit`].
pub const CONTROL_MAX: usize = gre::MAX_LEN + extension::LEN + report::MAX_LEN;

/// Memory lent to a connection for as long as it lives.
#[derive(Debug, Default)]
pub struct Storage<'s> {
    reorder: (&'s mut [ReorderSlot], &'s mut [u8]),
    reassembly: (&'s mut [ReassemblySlot], &'s mut [u8]),
    adaptive: Option<(Adaptive<'s>, &'static Extension)>,
}

impl<'s> Storage<'s> {
    /// Nothing is held: packets are delivered as they come, fragments are dropped.
    pub fn none() -> Self {
        Self::default()
    }

    /// Slots and bytes for the reorder buffer; a packet of up to `bytes.len() / slots.len()` bytes fits a
    /// slot, and fragments need [`HEADROOM`] more than they carry. The window is at most one less than the
    /// number of slots, and at most 65,535.
    #[must_use]
    pub fn with_reorder(self, slots: &'s mut [ReorderSlot], bytes: &'s mut [u8]) -> Self {
        Self { reorder: (slots, bytes), ..self }
    }

    /// Slots and bytes for reassembly, one slot for each packet that is being put together: few, as they are
    /// searched. A packet of up to `bytes.len() / slots.len()` bytes can be put together.
    #[must_use]
    pub fn with_reassembly(self, slots: &'s mut [ReassemblySlot], bytes: &'s mut [u8]) -> Self {
        Self { reassembly: (slots, bytes), ..self }
    }

    /// Memory for the extension: with it the connection understands a peer that sends by
    /// [`Policy::Adaptive`](crate::Policy::Adaptive), and with slots, bytes and flows it sends by it. A packet of up to
    /// `bytes.len() / slots.len()` less [`HEADROOM`] bytes fits a slot; there should be slots for what is under way in
    /// a round trip and 50 ms more, at most 65,534. Flows are told apart by a hash: 16 to 1,024 are sensible.
    ///
    /// A program that never calls this does not link the extension.
    #[must_use]
    pub fn with_adaptive(
        self,
        state: &'s mut AdaptiveState,
        slots: &'s mut [PacketSlot],
        bytes: &'s mut [u8],
        flows: &'s mut [FlowSlot],
    ) -> Self {
        let (slots, bytes) = if flows.is_empty() { Default::default() } else { (slots, bytes) };
        let adaptive = Adaptive::new(state, slots, bytes, flows);
        Self { adaptive: Some((adaptive, &extended::EXTENSION)), ..self }
    }
}

/// The caller named a path that does not exist, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UnknownPath;

/// Why a path was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum AddPathError {
    /// All [`MAX_PATHS`] are taken.
    Full,
    /// The weight is not 1 to 10,000.
    Weight,
}

/// Why a packet was not taken for sending; counted in [`Stats`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EncapsulateError {
    /// No path is up.
    NoPath,
    /// It does not fit the path, and the peer does not put fragments together.
    TooLarge,
    /// Not a whole IPv4 or IPv6 packet, or less than [`HEADROOM`] bytes before it.
    NotIp,
}

/// Whether the link below a path works, as the caller sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Link {
    /// It works.
    Up,
    /// It does not: no carrier, no address, no route.
    Down,
}

/// What became of a datagram.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use]
pub enum Received<'d> {
    /// An inner packet (or, with [`Config::slices`], a slice of one), next in order: deliver it now, then drain [`Connection::poll_packet`].
    Packet(&'d [u8]),
    /// Taken in: a control message, an early packet, or a fragment.
    Consumed,
    /// Dropped and counted.
    Dropped(Drop),
}

/// Weights that [`PathConfig`] may have.
const WEIGHTS: core::ops::RangeInclusive<u16> = 1..=10_000;

/// Two hosts joined by up to 16 paths: one peer, one sequence space.
///
/// The connection does no I/O and reads no clock. Drive it like this:
///
/// 1. Call **one** of the methods that change it: [`encapsulate`](Self::encapsulate) with a packet from the
///    tunnel interface, [`decapsulate`](Self::decapsulate) with a datagram from a socket,
///    [`handle_timeout`](Self::handle_timeout), [`handle_link`](Self::handle_link),
///    [`set_enabled`](Self::set_enabled), [`add_path`](Self::add_path) or
///    [`remove_path`](Self::remove_path), with the time as last argument. A time before the last one is taken
///    as that one.
/// 2. Send or deliver what it returned.
/// 3. Drain, in this order: [`poll_packet`](Self::poll_packet), [`poll_transmit`](Self::poll_transmit),
///    [`poll_event`](Self::poll_event), until each returns `None`; before waiting ask
///    [`poll_timeout`](Self::poll_timeout) until when. A caller that works in batches drains `poll_packet` after each
///    datagram and the others at the end of the batch; after `encapsulate` only `poll_transmit` may have something.
///
/// Datagrams of one path leave in the order they were handed out: a probe tells the peer what was sent before
/// it.
///
/// ```
/// use mpt_proto::{CONTROL_MAX, Config, Connection, Ecn, HEADROOM, Instant, PathConfig, Received, Storage};
///
/// let now = Instant::from_micros(1);
/// let new = |seed| Connection::new(Config { seed, ..Config::default() }, Storage::none(), now);
/// let (mut here, mut there) = (new(1), new(2));
/// let path_here = here.add_path(PathConfig::default(), now).unwrap();
/// let path_there = there.add_path(PathConfig::default(), now).unwrap();
///
/// // Control datagrams go to and fro until both ends hear each other.
/// for _ in 0..3 {
///     let mut buffer = [0; CONTROL_MAX];
///     here.handle_timeout(now);
///     while let Some(departure) = here.poll_transmit(&mut buffer) {
///         let mut datagram = departure.datagram.to_vec();
///         let _ = there.decapsulate(path_there, &mut datagram, Ecn::NotEct, now).unwrap();
///     }
///     there.handle_timeout(now);
///     while let Some(departure) = there.poll_transmit(&mut buffer) {
///         let mut datagram = departure.datagram.to_vec();
///         let _ = here.decapsulate(path_here, &mut datagram, Ecn::NotEct, now).unwrap();
///     }
/// }
///
/// // A packet from the tunnel interface, read with room before it.
/// let packet = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 59, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
/// let mut buffer = [0; HEADROOM + 20];
/// buffer[HEADROOM..].copy_from_slice(&packet);
/// let mut departures = here.encapsulate(&mut buffer, now).unwrap();
/// let mut datagram = departures.next().unwrap().datagram.to_vec(); // "send" it
/// assert!(departures.next().is_none());
///
/// let received = there.decapsulate(path_there, &mut datagram, Ecn::NotEct, now).unwrap();
/// assert_eq!(received, Received::Packet(&packet));
/// ```
#[derive(Debug)]
pub struct Connection<'s> {
    layout: Layout,
    rng: Rng,
    now: Instant,
    /// When the datagram at hand arrived.
    arrived: Instant,
    paths: [Option<Path>; MAX_PATHS],
    /// One more than the highest number ever given to a path: what lies behind need not be searched.
    places: usize,
    /// How often each number was given to a new path.
    generations: [u8; MAX_PATHS],
    up: PathSet,
    /// The paths whose state may be another than was last told by an event.
    changed: PathSet,
    /// The paths that may have a control message to send.
    due: PathSet,
    /// The paths that our control messages say we hear.
    hears: PathSet,
    scheduler: Scheduler,
    reorder: Reorder<'s>,
    reassembly: Reassembly<'s>,
    adaptive: Option<Adaptive<'s>>,
    /// There if `adaptive` is.
    extension: Option<&'static Extension>,
    /// Largest datagram that every path that is up carries.
    smallest_datagram: u16,
    /// The caller joins slices.
    slices: bool,
    /// A packet put together waits to be polled.
    assembled: bool,
    next_sequence: Seq,
    next_fragment: u16,
    /// Our number as a running process.
    instance: u32,
    /// Of the next control message.
    count: Seq,
    peer: Option<Peer>,
    peer_started: bool,
    peer_restarts: u64,
    /// The sequence number that was next at some time; see `check_head`.
    witness: Option<(Instant, Seq)>,
    stats: Stats,
}

/// All that is not lent: small enough for a microcontroller.
const _: () = assert!(size_of::<Connection<'_>>() <= 4096);

/// What the peer's control messages told.
#[derive(Debug, Clone, Copy)]
struct Peer {
    instance: u32,
    /// The one before: what it sent may still arrive, and must not pass for another restart.
    previous: Option<u32>,
    /// When the first message with this instance came.
    since: Instant,
    /// Of the newest message.
    count: Seq,
    features: Features,
    mtu: u16,
    /// Packets that its reorder buffer holds, if it speaks the extension.
    extension: Option<u16>,
}

impl<'s> Connection<'s> {
    /// A connection without paths.
    pub fn new(config: Config, storage: Storage<'s>, now: Instant) -> Self {
        let mut rng = Rng::new(config.seed);
        let (reorder_slots, reorder_bytes) = storage.reorder;
        let (reassembly_slots, reassembly_bytes) = storage.reassembly;
        #[allow(clippy::cast_possible_truncation, reason = "any 32 of 64 random bits do")]
        let instance = rng.next() as u32;
        let (mut adaptive, extension) = storage.adaptive.unzip();
        if let Some(adaptive) = &mut adaptive {
            adaptive.is_chosen = config.policy == Policy::Adaptive;
            (adaptive.resends, adaptive.order_udp) = (config.resend, config.order_udp);
        }
        Self {
            layout: Layout { checksum: config.checksum, key: config.key, sequence: config.sequence },
            now,
            arrived: now,
            paths: [const { None }; MAX_PATHS],
            places: 0,
            generations: [0; MAX_PATHS],
            up: PathSet::default(),
            changed: PathSet::default(),
            due: PathSet::default(),
            hears: PathSet::default(),
            scheduler: Scheduler::new(config.policy, config.pins, rng.next()),
            reorder: Reorder::new(config.reorder, reorder_slots, reorder_bytes),
            reassembly: Reassembly::new(config.reassembly_timeout, reassembly_slots, reassembly_bytes),
            adaptive,
            extension,
            smallest_datagram: 0,
            slices: config.slices,
            assembled: false,
            next_sequence: Seq::ZERO,
            next_fragment: 0,
            instance,
            count: Seq::ZERO,
            peer: None,
            peer_started: false,
            peer_restarts: 0,
            witness: None,
            stats: Stats::default(),
            rng,
        }
    }

    /// Adds a path.
    ///
    /// # Errors
    /// All 16 are taken, or the weight is out of range.
    pub fn add_path(&mut self, config: PathConfig, now: Instant) -> Result<PathId, AddPathError> {
        self.tick(now);
        if !WEIGHTS.contains(&config.weight) {
            return Err(AddPathError::Weight);
        }
        let free =
            self.paths.iter_mut().zip(&self.generations).enumerate().find(|(_, (path, _))| path.is_none());
        let (index, (place, generation)) = free.ok_or(AddPathError::Full)?;
        let id =
            PathId { index: u8::try_from(index).map_err(|_| AddPathError::Full)?, generation: *generation };
        *place = Some(Path::new(id, config, self.now));
        self.places = self.places.max(index + 1);
        self.scheduler.set_path(index, config.weight, config.rank);
        if let Some(extension) = self.extension {
            (extension.set_path)(self, index, config.tier);
        }
        self.refresh(index);
        Ok(id)
    }

    /// Removes a path.
    ///
    /// # Errors
    /// There is no such path.
    pub fn remove_path(&mut self, path: PathId, now: Instant) -> Result<(), UnknownPath> {
        self.tick(now);
        let index = self.path(path)?.id.index();
        if let (Some(place), Some(generation)) = (self.paths.get_mut(index), self.generations.get_mut(index))
        {
            *place = None;
            *generation = generation.wrapping_add(1);
        }
        self.scheduler.set_path(index, 0, 0);
        self.refresh(index);
        if let Some(extension) = self.extension {
            (extension.set_path)(self, index, 0);
        }
        Ok(())
    }

    /// Enables or disables a path (`mpt path up|down`). The peer is told.
    ///
    /// # Errors
    /// There is no such path.
    pub fn set_enabled(&mut self, path: PathId, enabled: bool, now: Instant) -> Result<(), UnknownPath> {
        self.change(path, now, |path| core::mem::replace(&mut path.enabled, enabled) != enabled && enabled)
    }

    /// The caller saw the path's link go or come. The peer is told.
    ///
    /// # Errors
    /// There is no such path.
    pub fn handle_link(&mut self, path: PathId, link: Link, now: Instant) -> Result<(), UnknownPath> {
        let up = link == Link::Up;
        self.change(path, now, |path| core::mem::replace(&mut path.link_up, up) != up && up)
    }

    /// The path carries larger or smaller datagrams from now on: its interface came with another MTU. As
    /// [`PathConfig::max_datagram`](crate::PathConfig::max_datagram), in bytes.
    ///
    /// # Errors
    /// There is no such path.
    pub fn set_max_datagram(
        &mut self,
        path: PathId,
        max_datagram: u16,
        now: Instant,
    ) -> Result<(), UnknownPath> {
        self.tick(now);
        self.path_mut(path)?.max_datagram = max_datagram;
        self.refresh(path.index());
        Ok(())
    }

    fn change(
        &mut self,
        id: PathId,
        now: Instant,
        revives: impl FnOnce(&mut Path) -> bool,
    ) -> Result<(), UnknownPath> {
        self.tick(now);
        let now = self.now;
        let path = self.path_mut(id)?;
        if revives(path) {
            path.revive(now);
        }
        self.refresh(id.index());
        self.handle_timeout(now);
        Ok(())
    }

    /// Sends an inner packet: `buffer[HEADROOM..]` is the packet, the bytes before it are overwritten. The
    /// datagrams that carry it are to be taken from the result. Under [`Policy::Adaptive`](crate::Policy::Adaptive)
    /// there are none: the packet was copied, and leaves through [`poll_transmit`](Self::poll_transmit).
    ///
    /// # Errors
    /// The packet was not taken; it is counted.
    pub fn encapsulate<'b>(
        &mut self,
        buffer: &'b mut [u8],
        now: Instant,
    ) -> Result<Departures<'b>, EncapsulateError> {
        self.tick(now);
        let Some(packet) = buffer.get(HEADROOM..) else { return Err(EncapsulateError::NotIp) };
        let Some((protocol, _)) = ip::parse(packet).filter(|(_, len)| *len == packet.len()) else {
            return Err(EncapsulateError::NotIp);
        };
        self.dispatch(buffer, protocol, None)
    }

    /// Most bytes that a slice of a large packet may have now, its [header](crate::wire::slice::Header) included. `None`:
    /// this end or the peer does not join slices, or no path is up.
    pub fn slice_room(&self) -> Option<usize> {
        let peer = self.peer.filter(|peer| peer.features.contains(Features::SLICES))?;
        let extension = if peer.extension.is_some() && self.mode().is_some() { extension::LEN } else { 0 };
        let header_len = self.layout.header_len();
        usize::from(self.smallest_datagram)
            .checked_sub(header_len + extension)
            .filter(|room| self.slices && self.layout.sequence && *room > slice::LEN)
    }

    /// The flow of a packet of which slices are to be sent, given its headers.
    pub fn flow(&self, headers: &[u8]) -> Flow {
        Flow::of(headers, self.scheduler.seed())
    }

    /// As [`encapsulate`](Self::encapsulate), for a slice of a large packet of `flow`, of at most
    /// [`slice_room`](Self::slice_room) bytes. All slices of a packet are to be sent one behind the other.
    ///
    /// # Errors
    /// The slice was not taken; it is counted.
    pub fn encapsulate_slice<'b>(
        &mut self,
        buffer: &'b mut [u8],
        flow: &Flow,
        now: Instant,
    ) -> Result<Departures<'b>, EncapsulateError> {
        self.tick(now);
        if !buffer.get(HEADROOM..).is_some_and(slice::is_there) {
            return Err(EncapsulateError::NotIp);
        }
        if self.slice_room().is_none_or(|room| buffer.len() > HEADROOM + room) {
            self.stats.tx_too_large += 1;
            return Err(EncapsulateError::TooLarge);
        }
        self.dispatch(buffer, Protocol::Fragment, Some(flow))
    }

    /// Sends a packet, or a slice of one of this flow.
    fn dispatch<'b>(
        &mut self,
        buffer: &'b mut [u8],
        protocol: Protocol,
        flow: Option<&Flow>,
    ) -> Result<Departures<'b>, EncapsulateError> {
        let packet = buffer.get(HEADROOM..).unwrap_or_default();
        let len = packet.len();
        if self.extension.is_some_and(|extension| (extension.enqueue)(self, packet, flow)) {
            let (ecn, sequence) = (Ecn::NotEct, self.next_sequence);
            return Ok(Departures::new(buffer, self.layout, protocol, sequence, None, Vec::new(), ecn));
        }
        let paths = self.scheduler.choose(packet, flow, self.up, self.now);
        if paths.is_empty() {
            self.stats.tx_no_path += 1;
            return Err(EncapsulateError::NoPath);
        }
        let cut = self.cut_for(paths, len).inspect_err(|_| self.stats.tx_too_large += 1)?;
        let pieces = cut.map_or(1, Cut::pieces);
        let overhead = self.layout.header_len() + if cut.is_some() { fragment::LEN } else { 0 };
        let mut ids = Vec::new();
        for index in paths {
            let Some(path) = self.paths.get_mut(index).and_then(Option::as_mut) else { continue };
            path.handle_used(self.now);
            path.stats.tx_datagrams += pieces as u64;
            path.stats.tx_bytes += (len + pieces * overhead) as u64;
            // There are as many places as paths.
            let _ = ids.push(path.id);
        }
        self.stats.tx_packets += 1;
        self.stats.tx_bytes += len as u64;
        if cut.is_some() {
            self.stats.tx_fragments += pieces as u64;
            self.next_fragment = self.next_fragment.wrapping_add(1);
        }
        let sequence = self.next_sequence;
        if self.layout.sequence {
            self.next_sequence = sequence + u32::try_from(pieces).unwrap_or(0);
        }
        let ecn = ip::ecn(packet);
        Ok(Departures::new(buffer, self.layout, protocol, sequence, cut, ids, ecn))
    }

    /// How the packet must be cut to fit all of `paths`; `None`: it fits whole.
    fn cut_for(&self, paths: PathSet, len: usize) -> Result<Option<Cut>, EncapsulateError> {
        let smallest =
            paths.into_iter().filter_map(|index| self.at(index)).map(|path| path.max_datagram).min();
        let room = usize::from(smallest.unwrap_or(0)).saturating_sub(self.layout.header_len());
        if len <= room {
            return Ok(None);
        }
        let peer = self.peer.filter(|peer| peer.features.contains(Features::REASSEMBLY));
        if peer.is_none_or(|peer| len > usize::from(peer.mtu)) {
            return Err(EncapsulateError::TooLarge);
        }
        Cut::new(self.next_fragment, len, room).map(Some).ok_or(EncapsulateError::TooLarge)
    }

    /// Call when the deadline of [`poll_timeout`](Self::poll_timeout) has come; early or late does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tick(now);
        let now = self.now;
        for index in 0..self.places {
            if let Some(path) = self.at_mut(index) {
                path.handle_timeout(now);
                self.refresh(index);
            }
        }
        self.reorder.handle_timeout(now);
        self.reassembly.handle_timeout(now);
        if let Some(extension) = self.extension {
            (extension.handle_timeout)(self);
        }
        self.gather();
    }

    /// The next datagram that is to leave by itself: a control message, a report, or a packet that waited for a path.
    /// The first two are written to `buffer`.
    pub fn poll_transmit<'b>(&'b mut self, buffer: &'b mut [u8; CONTROL_MAX]) -> Option<Departure<'b>> {
        match self.poll_due() {
            Some((index, Due::Probe)) => self.emit_control(index, Kind::Probe, self.now.stamp(), buffer),
            Some((index, Due::Echo(stamp))) => self.emit_control(index, Kind::Echo, stamp, buffer),
            None => (self.extension?.poll)(self, buffer),
        }
    }

    /// The control message that is to be sent now, and on which path.
    fn poll_due(&mut self) -> Option<(usize, Due)> {
        loop {
            let index = self.due.into_iter().next()?;
            let path = self.paths.get_mut(index).and_then(Option::as_mut);
            if let Some(due) = path.and_then(|path| path.poll_due(self.now, &mut self.rng)) {
                return Some((index, due));
            }
            self.due.set(index, false);
        }
    }

    /// A control message for a path, written to `buffer`. `None`: there is no such path.
    fn emit_control<'b>(
        &mut self,
        index: usize,
        kind: Kind,
        stamp: u32,
        buffer: &'b mut [u8; CONTROL_MAX],
    ) -> Option<Departure<'b>> {
        let extension = self.adaptive.is_some() && self.layout.sequence;
        let mtu = self.reassembly.max_packet();
        let message = Message {
            kind,
            path: u8::try_from(index).ok()?,
            hears: self.hears.0,
            instance: self.instance,
            count: self.count,
            next: self.next_sequence,
            stamp,
            features: Features::default()
                .and(Features::REASSEMBLY, mtu > 0)
                .and(Features::SLICES, self.slices),
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            extension: extension.then(|| self.reorder.window()),
        };
        let layout = Layout { sequence: false, ..self.layout };
        let len = layout.header_len() + control::LEN;
        let path = self.paths.get_mut(index)?.as_mut()?;
        let datagram = buffer.get_mut(..len)?;
        crate::wire::put(datagram, layout.header_len(), message.emit());
        layout.emit(datagram, Protocol::Control, Seq::ZERO);
        self.count = self.count + 1;
        path.stats.tx_datagrams += 1;
        path.stats.tx_bytes += len as u64;
        Some(Departure { path: path.id, datagram, ecn: Ecn::NotEct })
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        if core::mem::take(&mut self.peer_started) {
            return Some(Event::PeerStarted);
        }
        while let Some(index) = self.changed.pop() {
            let Some(path) = self.at_mut(index) else { continue };
            let state = path.state();
            if core::mem::replace(&mut path.told, state) != state {
                return Some(Event::Path { path: path.id, state });
            }
        }
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let buffers = earlier(self.reorder.deadline(), self.reassembly.deadline());
        let extension = self.extension.and_then(|extension| (extension.deadline)(self));
        self.known_paths()
            .fold(earlier(buffers, extension), |soonest, path| earlier(soonest, path.deadline()))
    }

    /// Counters.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The connection's paths, by number.
    pub fn paths(&self) -> impl Iterator<Item = PathId> + '_ {
        self.known_paths().map(|path| path.id)
    }

    /// A path's state.
    ///
    /// # Errors
    /// There is no such path.
    pub fn path_state(&self, path: PathId) -> Result<PathState, UnknownPath> {
        self.path(path).map(Path::state)
    }

    /// A path's counters.
    ///
    /// # Errors
    /// There is no such path.
    pub fn path_stats(&self, path: PathId) -> Result<&PathStats, UnknownPath> {
        self.path(path).map(|path| &path.stats)
    }

    /// A path's smoothed round-trip time (RFC 6298), once known.
    ///
    /// # Errors
    /// There is no such path.
    pub fn path_rtt(&self, path: PathId) -> Result<Option<Duration>, UnknownPath> {
        self.path(path).map(Path::rtt)
    }

    /// Bytes of GRE header before every inner packet: 4, 8, 12 or 16.
    pub const fn header_len(&self) -> usize {
        self.layout.header_len()
    }

    /// Whether the peer was heard to be an mpt.
    pub const fn peer_is_mpt(&self) -> bool {
        self.peer.is_some()
    }

    /// Packets waiting in the reorder buffer.
    pub const fn held(&self) -> usize {
        self.reorder.held()
    }

    /// Time does not go back.
    fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn known_paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.get(..self.places).unwrap_or_default().iter().filter_map(Option::as_ref)
    }

    fn each_path(&mut self) -> impl Iterator<Item = &mut Path> {
        self.paths.get_mut(..self.places).unwrap_or_default().iter_mut().filter_map(Option::as_mut)
    }

    fn at(&self, index: usize) -> Option<&Path> {
        self.paths.get(index)?.as_ref()
    }

    fn at_mut(&mut self, index: usize) -> Option<&mut Path> {
        self.paths.get_mut(index)?.as_mut()
    }

    fn path(&self, id: PathId) -> Result<&Path, UnknownPath> {
        self.at(id.index()).filter(|path| path.id == id).ok_or(UnknownPath)
    }

    fn path_mut(&mut self, id: PathId) -> Result<&mut Path, UnknownPath> {
        self.at_mut(id.index()).filter(|path| path.id == id).ok_or(UnknownPath)
    }

    /// Carries what changed in a path's state to all that depend on it.
    fn refresh(&mut self, index: usize) {
        let (up, hears) = self.at(index).map_or((false, false), |path| (path.is_up(), path.hears()));
        let went_down = self.up.contains(index) && !up;
        if let Some(path) = self.at_mut(index).filter(|_| went_down) {
            path.stats.downs += 1;
        }
        self.up.set(index, up);
        self.changed.insert(index);
        self.due.insert(index);
        let sizes = self.up.into_iter().filter_map(|index| self.at(index)).map(|path| path.max_datagram);
        self.smallest_datagram = sizes.min().unwrap_or(0);
        if let Some(extension) = self.extension {
            (extension.refresh)(self, index, up);
        }
        if self.hears.contains(index) != hears {
            self.hears.set(index, hears);
            self.refresh_live();
            // The peer learns at once, on every path that may reach it.
            self.due = PathSet(u16::MAX);
            for path in self.each_path() {
                path.probe_now();
            }
        }
    }
}

#[cfg(test)]
mod tests;
