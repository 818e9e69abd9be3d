//! A connection as the loop sees it: the core's state machine, its paths' sockets, and the port's counters.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use mpt_proto::wire::extension;
use mpt_proto::{
    CONTROL_MAX, Claim, Departure, DownReason, Ecn, Event, HEADROOM, Handle, Instant, Link, MAX_PATHS,
    PathId, PathSet, PathState, Policy, Received,
};

use super::incoming::Incoming;
use super::inside::{Inside, Refusal};
use super::keys::Turns;
use super::limits::LimitNews;
use super::mode::ModeNews;
use super::news::News;
use super::outside::{Origin, Outside};
use super::path::{PeerPath, Stay};
use crate::config;
use crate::events::What;
use crate::link::Missing;
use crate::memory::MemorySize;
use crate::offload::{Header, Slices};
use crate::recorder::Core;
use crate::worse::Worse;

/// So long after it came, a peer of which no path is known may be on its way still: its answer to a challenge.
const REST_AFTER: Duration = Duration::from_secs(10);

/// One peer.
pub struct Peer<'s> {
    /// Which it is among all.
    pub handle: Handle,
    /// From the configuration.
    pub config: config::Connection,
    /// The state machine.
    pub connection: Core<'s>,
    /// The size of the memory that the state machine works in; `None`: a peer that comes by itself is not here.
    pub(super) memory: Option<MemorySize>,
    /// When a peer that comes by itself came.
    pub(super) woken: Instant,
    /// Its paths; the index is that of [`mpt_proto::PathId::index`], and of the path in `config`. The place of one that was removed is
    /// that of the next one that comes.
    pub paths: Vec<PeerPath>,
    /// Dropped by the port.
    pub drops: PeerDrops,
    /// What it has brought and may not yet be handed on.
    pub(super) incoming: Incoming,
    /// Paths, as a bit mask, whose link failed a send since the last look.
    failed_links: u16,
    /// Paths whose link is known to be down.
    down_links: u16,
    /// Paths that people were last told to be up.
    pub(super) told_up: u16,
    pub(super) mode: ModeNews,
    pub(super) limits: [LimitNews; MAX_PATHS],
    /// When it was last looked what limits the paths.
    pub(super) limits_at: Instant,
    /// Whether people were told that somebody speaks from an unexpected address.
    pub(super) hinted: bool,
    /// Paths that are used only while no other is up.
    spares: u16,
    /// Names the next packet that is sent in slices.
    next_sliced: u16,
    /// What the paths carry, or which of them are up, may be another than at the last look.
    pub(super) sizes_changed: bool,
    /// The state of a path may be another than at the last look.
    pub(super) states_changed: bool,
    /// Which paths can be used may be another than at the last look.
    pub(super) paths_changed: bool,
    /// A path has gone down, or is still down, since its link was last looked at.
    pub(super) path_went_down: bool,
    /// Largest UDP payload that its memory was made for.
    pub(super) room: u16,
    /// Bytes that sealing adds to each datagram.
    sealing: u16,
    /// Reasons, as bits, for which people were told that datagrams of the peer are refused.
    pub(super) told_refused: u32,
    /// How often it was another process than before.
    pub(super) turns: Turns,
    /// What people said of paths, by their names: it holds for one that goes and comes again as well.
    pub(super) roles: HashMap<String, Role>,
    /// Why the peer cannot be understood, as a sentence that begins with "the peer".
    pub(super) problem: Option<Cow<'static, str>>,
    pub(super) news: News,
    /// Time in which it delivered less than its best path alone could.
    pub(super) worse: Worse,
}

/// When a path is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Together with the others.
    Member,
    /// While none that is no spare is up. Until then not even probes are sent on it: its radio sleeps.
    Spare,
    /// Not at all.
    Unused,
}

impl Role {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Spare => "spare",
            Self::Unused => "unused",
        }
    }
}

/// Datagrams and inner packets that the port dropped.
#[derive(Debug, Clone, Copy, Default)]
pub struct PeerDrops {
    /// Datagrams on this connection's sockets that came from elsewhere. Connections that share a socket all
    /// count them.
    pub wrong_source: u64,
    /// Inner packets whose source is neither the peer nor behind it.
    pub wrong_inner_source: u64,
    /// Slices that make no sense, or came already.
    pub bad_slice: u64,
}

/// What is wrong where every inner packet of a peer is refused.
const WRONG_INNER_SOURCE: &str = "sends packets from addresses that are not the peer's here: what `tunnel.address` has there is to be in \
    `peer` here, and the other way round";

impl<'s> Peer<'s> {
    /// A peer whose paths have been added to `connection` in the order of `paths`.
    /// Sealing adds `sealing` bytes to each of its datagrams.
    pub fn new(
        handle: Handle,
        config: config::Connection,
        (connection, memory): (Core<'s>, Option<MemorySize>),
        paths: Vec<PeerPath>,
        sealing: u16,
    ) -> Self {
        let room = paths.iter().map(|path| path.planned_datagram).max().unwrap_or(0);
        Self {
            handle,
            incoming: Incoming::new(config.bytes_per_second()),
            config,
            connection,
            memory,
            room,
            woken: Instant::ZERO,
            paths,
            drops: PeerDrops::default(),
            failed_links: 0,
            down_links: 0,
            told_up: 0,
            mode: ModeNews::default(),
            limits: Default::default(),
            limits_at: Instant::ZERO,
            hinted: false,
            spares: 0,
            next_sliced: 0,
            sizes_changed: false,
            states_changed: true,
            paths_changed: true,
            path_went_down: false,
            sealing,
            told_refused: 0,
            turns: Turns::default(),
            roles: HashMap::new(),
            problem: None,
            news: News::default(),
            worse: Worse::default(),
        }
    }

    /// What may be sent to it, and what it may send, is another rate from now on.
    pub(super) fn set_limit(&mut self, limit: Option<u64>) {
        self.config.limit = limit;
        self.connection.set_limit(self.config.bytes_per_second());
        self.incoming.set_rate(self.config.bytes_per_second());
    }

    /// Goes on with a new state machine, whose paths have these names and no link yet. Returns the former one.
    pub(super) fn begin_anew(&mut self, connection: Core<'s>, paths: &[PathId], now: Instant) -> Core<'s> {
        let before = std::mem::replace(&mut self.connection, connection);
        (self.told_up, self.down_links, self.failed_links) = (0, 0, 0);
        for (index, id) in paths.iter().enumerate() {
            if let Some(path) = self.paths.get_mut(index) {
                path.id = *id;
                // The new one begins with what the interface takes.
                (path.max_datagram, path.told_datagram) = (path.ceiling, path.ceiling);
            }
            self.set_link(index, Link::Down, now);
        }
        before
    }

    /// A path has come to this place, or gone from it: what is known of the place is void.
    pub(super) fn clear_place(&mut self, index: usize) {
        let others = !(1 << index);
        self.told_up &= others;
        self.failed_links &= others;
        self.down_links &= others;
        self.spares &= others;
        if let Some(limit) = self.limits.get_mut(index) {
            *limit = LimitNews::default();
        }
        (self.paths_changed, self.sizes_changed, self.states_changed) = (true, true, true);
    }

    /// Whether one of its paths uses this socket.
    pub fn uses_socket(&self, socket: usize) -> bool {
        self.paths.iter().any(|path| path.is_on(socket))
    }

    /// When [`handle_timeout`](Self::handle_timeout), or a look at the size of datagrams, is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let paths = self.paths.iter().filter_map(|path| path.poll_timeout(self.config.is_learned));
        paths
            .chain(self.rest_at())
            .chain(self.incoming.poll_timeout())
            .chain(self.news.poll_timeout())
            .chain(self.connection.poll_timeout())
            .min()
    }

    /// When a peer that came by itself, and of which no path is known, gives its memory back.
    pub(super) fn rest_at(&self) -> Option<Instant> {
        let is_lost = self.config.is_learned && self.paths.iter().all(|path| path.remote.is_none());
        self.memory.filter(|_| is_lost).map(|_| self.woken + REST_AFTER)
    }

    /// Time has passed; [`settle`](Self::settle) must follow.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.connection.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.connection.handle_timeout(now);
        }
    }

    /// Bytes that every packet has more on a path than in the tunnel, outer IP and UDP headers aside.
    pub fn header_len(&self) -> usize {
        self.connection.header_len() + usize::from(self.sealing)
    }

    /// The same for a packet that leaves whole by the connection's policy.
    pub fn overhead(&self) -> usize {
        let adapts = self.config.policy == Policy::Adaptive && self.config.sequence;
        self.header_len() + if adapts { extension::LEN } else { 0 }
    }

    /// Bytes that sealing adds to each datagram.
    pub(super) const fn sealing(&self) -> u16 {
        self.sealing
    }

    /// Tells the core how large the datagrams of a path may be, as far as its interface is concerned: on the wire, `size` bytes.
    pub(super) fn set_max_datagram(&mut self, path: usize, size: u16, now: Instant) {
        let planned = &mut self.paths[path];
        planned.max_datagram = size;
        if let Err(error) =
            self.connection.set_max_datagram(planned.id, size.saturating_sub(self.sealing), now)
        {
            tracing::debug!("size of a path's datagrams: {error:?}");
        }
    }

    /// The paths that a handshake may leave on: those in use with a link and a known remote end.
    pub(super) fn usable_paths(&self) -> PathSet {
        let may = |index: &usize| {
            self.paths[*index].remote.is_some() && !self.link_is_down(*index) && self.is_enabled(*index)
        };
        (0..self.paths.len()).filter(may).collect()
    }

    /// Whether a handshake on the path is answered: it is in use, and nothing is missing but word of where the peer is.
    pub(super) fn listens(&self, index: usize) -> bool {
        let waits_for_peer = self.paths.get(index).is_some_and(|path| path.missing == Some(Missing::Peer));
        self.is_enabled(index) && (waits_for_peer || !self.link_is_down(index))
    }

    /// Probes all paths that may be probed; [`settle`](Self::settle) must follow.
    pub(super) fn probe_all(&mut self, now: Instant) {
        for path in &self.paths {
            // The path is there: it was added.
            let _ = self.connection.probe(path.id, now);
        }
    }

    /// Takes a datagram in that arrived some time ago, and delivers what it brings; [`settle`](Self::settle) must follow. Returns
    /// another path and the claim, if the datagram claims to be of that one: then it is left to the caller.
    pub fn receive(
        &mut self,
        path: usize,
        datagram: &mut [u8],
        (origin, ecn): (Origin, Ecn),
        (arrived, now): (Instant, Instant),
        inside: &mut Inside,
    ) -> Option<(usize, Claim)> {
        self.note_heard(path, origin.socket);
        let is_small = datagram.len() <= CONTROL_MAX;
        let claim = is_small.then(|| self.connection.claim(datagram)).flatten().filter(|claim| claim.known);
        if let Some(claim) = claim
            && let Some(other) = self.claimed_instead(path, origin, claim)
        {
            return Some((other, claim));
        }
        if self.sealing == 0 && mpt_seal::is_initiation(datagram) {
            self.tell_sealed(origin.source);
        }
        let path = self.paths.get(path)?;
        match self.connection.decapsulate_arrived(path.id, datagram, ecn, arrived, now) {
            Ok(Received::Packet(packet)) if self.incoming.passes(packet, now) => {
                let delivered = inside.deliver(self.handle, packet);
                self.note(delivered);
            }
            Ok(Received::Dropped(reason)) => self.tell_dropped(reason, datagram, origin.source),
            _ => {}
        }
        self.deliver(now, inside);
        None
    }

    /// Lets packets go that waited for a path whose turn it is; [`settle`](Self::settle) must follow. Often enough, so
    /// that paths do not stand still, and the queue does not overflow, while a batch is read.
    pub fn pull(&mut self, now: Instant, outside: &mut Outside<'_>) {
        let mut control = [0; CONTROL_MAX];
        loop {
            self.take_turn(now, outside);
            let Some(departure) = self.connection.poll_transmit(&mut control) else { break };
            let index = departure.path.index();
            let Some(path) = self.paths.get_mut(index) else { continue };
            let works = if departure.padded_to == 0 {
                outside.transmit(self.handle, path, &departure, now)
            } else {
                // A probe tells the peer what was sent before it.
                let works = outside.flush(path);
                if let Some(why) = outside.probe_size(self.handle, path, &departure, self.sealing, now) {
                    // The path is there: a datagram left for it.
                    let _ = self.connection.handle_unsent(path.id, why, now);
                }
                works
            };
            if !works {
                self.failed_links |= 1 << index;
            }
        }
        self.await_turn(now, outside);
    }

    /// Sends the inner packet after the headroom of `buffer`; [`settle`](Self::settle) must follow.
    pub fn send(&mut self, buffer: &mut [u8], now: Instant, outside: &mut Outside<'_>) {
        let Self { connection, paths, failed_links, handle, .. } = self;
        // A refusal is counted by the core.
        let _ = connection.encapsulate(buffer, now, |departure| {
            transmit(departure, (*handle, paths, failed_links), now, outside);
        });
    }

    /// Sends a large packet of TCP, as it came from the kernel, in slices; [`settle`](Self::settle) must follow. `buffer`
    /// has room for a datagram. `None`: nothing was sent, as the peer does not join slices or the packet is not fit for it.
    pub fn send_sliced(
        &mut self,
        header: Header,
        packet: &[u8],
        buffer: &mut [u8],
        now: Instant,
        outside: &mut Outside<'_>,
    ) -> Option<()> {
        let room = self.connection.slice_room()?.min(buffer.len() - HEADROOM);
        let flow = self.connection.flow(packet);
        if !self.connection.may_slice(&flow) {
            return None;
        }
        let mut slices = Slices::new(header, packet, room, self.next_sliced)?;
        self.next_sliced = self.next_sliced.wrapping_add(1);
        while let Some(len) = slices.next_into(&mut buffer[HEADROOM..]) {
            let slice = &mut buffer[..HEADROOM + len];
            // Not moved: reading it in other pieces than it was written in would wait for the packet to reach the memory.
            let Self { connection, paths, failed_links, handle, .. } = self;
            // A refusal is counted by the core.
            let _ = connection.encapsulate_slice(slice, &flow, now, |departure| {
                transmit(departure, (*handle, paths, failed_links), now, outside);
            });
        }
        Some(())
    }

    /// What must follow mutations, in the order that the core asks for; then everything that waits leaves. A
    /// path whose link failed is told to the core, which is a mutation again; each path fails at most once.
    pub fn settle(&mut self, now: Instant, inside: &mut Inside, outside: &mut Outside<'_>) {
        loop {
            self.deliver(now, inside);
            self.pull(now, outside);
            for (number, path) in self.paths.iter_mut().enumerate() {
                if !outside.flush(path) {
                    self.failed_links |= 1 << number;
                }
            }
            while let Some(event) = self.connection.poll_event() {
                if event == Event::PeerStarted {
                    inside.forget(self.handle);
                }
                self.tell(event, now);
            }
            self.tell_mode(now);
            self.tell_limits(now);
            self.tell_worse(now);
            if self.rotate_spares(now) {
                continue;
            }
            let news = self.failed_links & !self.down_links;
            self.failed_links = 0;
            if news == 0 {
                return;
            }
            let failed = news.trailing_zeros() as usize;
            self.failed_links = news & (news - 1);
            self.set_link(failed, Link::Down, now);
        }
    }

    /// Gives a path another role; [`settle`](Self::settle) must follow.
    ///
    /// # Errors
    /// There is no such path.
    pub fn set_role(&mut self, index: usize, role: Role, now: Instant) -> Result<(), mpt_proto::UnknownPath> {
        let Some(path) = self.paths.get(index) else { return Err(mpt_proto::UnknownPath) };
        self.paths_changed = true;
        match role {
            Role::Spare => self.spares |= 1 << index,
            Role::Member | Role::Unused => {
                self.spares &= !(1 << index);
                self.connection.set_enabled(path.id, role == Role::Member, now)?;
            }
        }
        Ok(())
    }

    /// When the path is used.
    pub fn role(&self, index: usize) -> Role {
        match (self.is_spare(index), self.is_enabled(index)) {
            (true, _) => Role::Spare,
            (false, true) => Role::Member,
            (false, false) => Role::Unused,
        }
    }

    /// Whether the path is used only while no other is up.
    pub(super) fn is_spare(&self, index: usize) -> bool {
        self.spares & (1 << index) != 0
    }

    /// Whether the path may be used now.
    pub fn is_enabled(&self, index: usize) -> bool {
        let state = self.paths.get(index).and_then(|path| self.connection.path_state(path.id).ok());
        state.is_some_and(|state| state != PathState::Down(DownReason::Disabled))
    }

    /// Lets spares stand in while no other path is up, and sends them back after that. Returns whether it did.
    fn rotate_spares(&mut self, now: Instant) -> bool {
        let needed = self.told_up & !self.spares == 0;
        let mut changed = false;
        for index in (0..self.paths.len()).filter(|index| self.spares & (1 << index) != 0) {
            if self.is_enabled(index) != needed {
                changed |= self.connection.set_enabled(self.paths[index].id, needed, now).is_ok();
            }
        }
        self.paths_changed |= changed;
        changed
    }

    fn deliver(&mut self, now: Instant, inside: &mut Inside) {
        while let Some(packet) = self.connection.poll_packet() {
            if self.incoming.passes(packet, now) {
                let delivered = inside.deliver(self.handle, packet);
                self.note(delivered);
            }
        }
        while let Some(packet) = self.incoming.next(now) {
            let delivered = inside.deliver(self.handle, &packet);
            self.note(delivered);
        }
    }

    fn note(&mut self, delivered: Result<(), Refusal>) {
        match delivered {
            Ok(()) => {}
            Err(Refusal::Source) => {
                if self.drops.wrong_inner_source == 0 {
                    tracing::warn!("{}: the peer {WRONG_INNER_SOURCE}", self.config.name);
                }
                self.drops.wrong_inner_source += 1;
            }
            Err(Refusal::Slice) => self.drops.bad_slice += 1,
        }
    }

    /// What keeps the peer and this end from each other, if people can mend it: a sentence that begins with "the peer".
    pub(super) fn problem(&self) -> Option<&str> {
        let refused = self.drops.wrong_inner_source;
        if refused > 0 && refused == self.connection.stats().rx_packets {
            return Some(WRONG_INNER_SOURCE);
        }
        self.problem.as_deref().filter(|_| self.told_up == 0)
    }

    /// Tells the core about a path's link; [`settle`](Self::settle) must follow. Returns whether that was news.
    pub fn set_link(&mut self, index: usize, link: Link, now: Instant) -> bool {
        let (Some(path), before) = (self.paths.get(index), self.down_links) else { return false };
        match link {
            Link::Down => self.down_links |= 1 << index,
            Link::Up => self.down_links &= !(1 << index),
        }
        if before == self.down_links {
            return false;
        }
        self.paths_changed = true;
        self.connection.handle_link(path.id, link, now).is_ok()
    }

    /// Whether the path's link is known to be down.
    pub fn link_is_down(&self, index: usize) -> bool {
        self.down_links & (1 << index) != 0
    }

    /// Whether a path's link is down of which nobody will tell that it is back: a send failed, or the route
    /// is missing. Interfaces and addresses are told of.
    pub fn some_link_must_be_looked_at(&self) -> bool {
        let untold =
            |path: &PeerPath| matches!(path.missing, None | Some(Missing::Route(..) | Missing::Socket(..)));
        let down = |index: &usize| self.link_is_down(*index) && self.is_known(*index);
        self.down_links != 0 && (0..self.paths.len()).filter(down).any(|index| untold(&self.paths[index]))
    }

    /// How many paths are up.
    pub fn paths_up(&self) -> u32 {
        self.told_up.count_ones()
    }

    /// How many paths there are: of a peer that comes by itself, those on which it came.
    pub(super) fn paths_known(&self) -> u32 {
        let known = (0..self.paths.len()).filter(|index| self.is_known(*index));
        u32::try_from(known.count()).unwrap_or(u32::MAX)
    }

    /// Whether it is a path, not only a place for one.
    pub(super) fn is_known(&self, index: usize) -> bool {
        let Some(path) = self.paths.get(index) else { return false };
        path.stay == Stay::Here && (!self.config.is_learned || path.remote.is_some())
    }

    /// Whether a look at the path's link may bring news: a socket that listens is bound for good, and only a failed send says otherwise.
    pub(super) fn has_link_to_look_at(&self, index: usize) -> bool {
        self.is_known(index) && (!self.config.is_learned || self.link_is_down(index))
    }

    /// Notes what a path waits for, and tells people when that is news; for a path that was up, `tell` does. Returns whether it
    /// waits no longer.
    pub fn set_missing(&mut self, index: usize, missing: Option<Missing>) -> bool {
        let Some(path) = self.paths.get_mut(index).filter(|path| path.missing != missing) else {
            return false;
        };
        self.paths_changed = true;
        // That a place of a peer that comes by itself is free is nothing to tell.
        if let (Some(missing), Some(config)) = (&missing, self.config.paths.get(index))
            && !self.config.is_learned
            && self.told_up & (1 << index) == 0
        {
            self.news.path(&config.name, What::PathWaits { why: missing.to_string() });
        }
        path.missing = missing;
        path.missing.is_none()
    }
}

/// Lets a datagram that carries a packet leave, of the connection with this handle. What would make a long queue of this host's own
/// longer is lost, as on a link with a shorter one: the interface's queue is no place to wait, as a TCP does not see what waits there.
fn transmit(
    departure: &Departure<'_>,
    (peer, paths, failed_links): (Handle, &mut [PeerPath], &mut u16),
    now: Instant,
    outside: &mut Outside<'_>,
) {
    let index = departure.path.index();
    let Some(path) = paths.get_mut(index) else { return };
    if !outside.takes(path, departure.datagram.len(), now) {
        path.not_sent.full += 1;
    } else if !outside.transmit(peer, path, departure, now) {
        *failed_links |= 1 << index;
    }
}
