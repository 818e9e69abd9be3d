//! The connection: glue between codec, schedule, reorder buffer, reassembly and path liveness.

mod departures;
mod extended;
mod flow_pins;
mod identity;
mod paths;
mod receive;
mod send;
mod sizes;
#[cfg(feature = "state")]
mod state;
mod storage;
mod stranger;
mod table;

use crate::adaptive::Adaptive;
use crate::config::Config;
use crate::event::Event;
use crate::gate::Gate;
use crate::path::Due;
use crate::reassembly::Reassembly;
use crate::reorder::Reorder;
use crate::rng::Rng;
use crate::schedule::{Policy, Scheduler};
use crate::seq::Seq;
use crate::stats::{DropReason, Stats};
use crate::time::Instant;
use crate::wire::control::{self, Features, Kind, Message};
use crate::wire::gre::{self, Layout, Protocol};
use crate::wire::{extension, report};

use extended::Extension;
use flow_pins::FlowPins;
use identity::Identity;
use receive::Receiver;
use send::Sender;
use sizes::{LentSizes, renewed};
use table::PathTable;

pub use departures::{Departure, Departures};
pub use flow_pins::{FlowPin, PinFlowError};
pub use paths::{AddPathError, Link, UnknownPath, common_size};
pub use receive::Received;
pub use send::EncapsulateError;
pub use sizes::{PathSizes, SearchSizeError, Unsent};
pub use storage::Storage;
pub use stranger::Claim;

/// Largest datagram of our own, in bytes: the buffer for [`Connection::poll_transmit`].
pub const CONTROL_MAX: usize = gre::MAX_LEN + extension::LEN + report::MAX_LEN;

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
    /// The time as of the last call.
    now: Instant,
    rng: Rng,
    layout: Layout,
    /// The caller joins slices.
    slices: bool,
    paths: PathTable,
    identity: Identity,
    sender: Sender<'s>,
    receiver: Receiver<'s>,
    extension: Option<Extension<'s>>,
    sizes: Option<LentSizes<'s>>,
    /// What is counted here; [`stats`](Self::stats) adds what the parts count.
    stats: Stats,
}

/// All that is not lent: small enough for a microcontroller.
const _: () = assert!(size_of::<Connection<'_>>() <= 4096);

impl<'s> Connection<'s> {
    /// A connection without paths.
    pub fn new(config: Config, storage: Storage<'s>, now: Instant) -> Self {
        let mut rng = Rng::new(config.seed);
        let (reorder_slots, reorder_bytes) = storage.reorder;
        let (reassembly_slots, reassembly_bytes) = storage.reassembly;
        #[allow(clippy::cast_possible_truncation, reason = "any 32 of 64 random bits do")]
        let instance = rng.next() as u32;
        let mut extension = storage.extension;
        if let Some(Extension { adaptive, .. }) = &mut extension {
            adaptive.is_chosen = config.policy == Policy::Adaptive;
            (adaptive.resends, adaptive.order_udp) = (config.resend, config.order_udp);
            adaptive.state.rules = config.classes;
        }
        let scheduler = Scheduler::new(config.policy, config.pins, rng.next() ^ config.flow_seed);
        let sender = Sender {
            scheduler,
            flow_pins: FlowPins::new(storage.flow_pins),
            gate: Gate::new(config.limit),
            next_sequence: Seq::ZERO,
            next_fragment: 0,
            around: config.around,
        };
        let receiver = Receiver::new(
            Reorder::new(config.reorder, reorder_slots, reorder_bytes),
            Reassembly::new(config.reassembly_timeout, reassembly_slots, reassembly_bytes),
        );
        Self {
            now,
            rng,
            layout: Layout { checksum: config.checksum, key: config.key, sequence: config.sequence },
            slices: config.slices,
            paths: PathTable::new(now),
            identity: Identity::new(instance),
            sender,
            receiver,
            extension,
            sizes: storage.sizes,
            stats: Stats::default(),
        }
    }

    /// Another [`Config::limit`], from now on.
    pub fn set_limit(&mut self, bytes: u64) {
        self.sender.gate.set_limit(bytes);
        self.limit_changed();
    }

    fn limit_changed(&mut self) {
        if let Some(Extension { adaptive, .. }) = &mut self.extension {
            adaptive.state.limit_changed();
        }
    }

    /// Under [`Policy::Adaptive`], whether packets for the peer may leave, where several connections share an uplink and take turns.
    /// Without a turn they wait in the queue; control messages, reports and what a path lost leave all the same.
    /// Returns whether it was not so already.
    pub fn set_turn(&mut self, is_its: bool) -> bool {
        self.sender.gate.hold(!is_its)
    }

    /// Bytes a second that its turns come to, by which it is decided how long packets may wait; `None`: it does not wait for turns.
    /// Returns whether it differs from the last value that counted by more than a quarter.
    pub fn set_share(&mut self, bytes: Option<u32>) -> bool {
        let is_news = self.sender.gate.set_share(bytes);
        if is_news {
            self.limit_changed();
        }
        is_news
    }

    /// Whether packets wait that leave in its turn, as soon as a path takes them.
    pub fn waits(&self) -> bool {
        self.adaptive().is_some_and(Adaptive::waits)
    }

    /// Asks the peer to send at most so many bytes a second, as datagrams with their outer headers; `None`: as much as it likes. It is told
    /// by the next report, and forgets it when none comes for two seconds. A peer of an earlier version does not know of it. Returns whether it is
    /// another rate than before.
    pub fn ask(&mut self, bytes: Option<u32>) -> bool {
        let Some(Extension { adaptive, .. }) = &mut self.extension else { return false };
        let before = core::mem::replace(&mut adaptive.state.feedback.most, bytes);
        before != bytes
    }

    /// What the peer asked for in the same way.
    pub fn asked(&self) -> Option<u32> {
        self.sender.gate.asked(self.now)
    }

    /// Ends the connection: its memory serves another one.
    pub fn into_storage(self) -> Storage<'s> {
        Storage {
            reorder: self.receiver.reorder.into_memory(),
            reassembly: self.receiver.reassembly.into_memory(),
            extension: self.extension.map(Extension::renewed),
            flow_pins: self.sender.flow_pins.into_memory(),
            sizes: self.sizes.map(renewed),
        }
    }

    /// Call when the deadline of [`poll_timeout`](Self::poll_timeout) has come; early or late does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tick(now);
        let now = self.now;
        self.change_paths(|path| path.handle_timeout(now));
        self.receiver.reorder.handle_timeout(now);
        self.receiver.reassembly.handle_timeout(now);
        if let Some(sizes) = &mut self.sizes {
            sizes.handle_timeout(now);
        }
        if let Some(engine) = self.engine() {
            engine.handle_timeout(self);
        }
    }

    /// The next datagram that is to leave by itself: a control message, a report, or a packet that waited for a path.
    /// The first two are written to `buffer`. A probe of a path's size is to be [padded](Departure::padded) by the caller.
    pub fn poll_transmit<'b>(&'b mut self, buffer: &'b mut [u8; CONTROL_MAX]) -> Option<Departure<'b>> {
        match self.paths.poll_due(self.now, &mut self.rng).or_else(|| self.poll_size_probe()) {
            Some((index, due)) => self.emit_control(index, due, buffer),
            None => self.engine()?.poll(self, buffer),
        }
    }

    /// A control message for a path, written to `buffer`. `None`: there is no such path.
    fn emit_control<'b>(
        &mut self,
        index: usize,
        due: Due,
        buffer: &'b mut [u8; CONTROL_MAX],
    ) -> Option<Departure<'b>> {
        let Due { stamp, arrived, ecn, padded_to } = due;
        let extension = self.extension.is_some() && self.layout.sequence;
        let mtu = self.receiver.reassembly.max_packet();
        let message = Message {
            kind: if arrived.is_some() { Kind::Echo } else { Kind::Probe },
            path: u8::try_from(index).ok()?,
            hears: self.paths.hears().0,
            instance: self.identity.instance(),
            count: self.identity.next_count(),
            next: self.sender.next_sequence,
            stamp,
            arrived,
            features: Features::default()
                .and(Features::REASSEMBLY, mtu > 0)
                .and(Features::SLICES, self.slices),
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            extension: extension.then(|| self.receiver.reorder.window()),
        };
        // A padded one has all headers of a packet: what is wrapped around both is as long.
        let layout = Layout { sequence: self.layout.sequence && padded_to > 0, ..self.layout };
        let len = layout.header_len() + control::LEN;
        let path = self.paths.count_sent(index, 1, len.max(padded_to.into()) as u64)?;
        let datagram = buffer.get_mut(..len)?;
        crate::wire::put(datagram, layout.header_len(), message.emit());
        layout.emit(datagram, Protocol::Control, Seq::ZERO);
        Some(Departure { path, datagram, ecn, padded_to })
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.identity.poll_started() {
            return Some(Event::PeerStarted);
        }
        self.paths.poll_event().or_else(|| self.poll_size_event()).or_else(|| self.engine()?.poll_event(self))
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let Receiver { reorder, reassembly, .. } = &self.receiver;
        let or_never = |deadline: Option<Instant>| deadline.unwrap_or(Instant::NEVER);
        let buffers = or_never(reorder.deadline()).min(or_never(reassembly.deadline()));
        let mut soonest = self.paths.deadline().min(buffers);
        if let Some(sizes) = &self.sizes {
            soonest = soonest.min(sizes.deadline());
        }
        if let Some(engine) = self.engine() {
            soonest = soonest.min(engine.deadline(self));
        }
        (soonest != Instant::NEVER).then_some(soonest)
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        let Receiver { reorder, reassembly, .. } = &self.receiver;
        let mut stats = self.stats;
        stats.rx_lost = reorder.lost();
        stats.rx_restarts = self.receiver.restarts();
        if let Some(adaptive) = self.adaptive() {
            let counts = adaptive.counts();
            stats.tx_dropped = counts.dropped;
            stats.tx_marked = counts.marked;
            stats.tx_resent = counts.resent;
            stats.tx_copies = counts.copied;
            stats.rx_bad_reports = counts.bad_reports;
            stats.rx_lost += counts.missing;
        }
        if let Some(expired) = stats.dropped.get_mut(DropReason::FragmentTimeout as usize) {
            *expired = reassembly.expired();
        }
        stats
    }

    /// Bytes of GRE header before every inner packet: 4, 8, 12 or 16.
    pub const fn header_len(&self) -> usize {
        self.layout.header_len()
    }

    /// Whether the peer was heard to be an mpt.
    pub const fn peer_is_mpt(&self) -> bool {
        self.identity.peer().is_some()
    }

    /// Packets waiting in the reorder buffer.
    pub const fn held(&self) -> usize {
        self.receiver.reorder.held()
    }

    /// Time does not go back.
    fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }
}

#[cfg(test)]
mod tests;
