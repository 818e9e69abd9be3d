//! The layer itself: what leaves is sealed, what arrives is opened, and handshakes happen between.

mod handshake;
mod outcome;
mod stats;
mod storage;
#[cfg(test)]
mod tests;

pub use outcome::{AddPeerError, Event, NotSealed, Opened};
pub use stats::{PeerStatus, Stats};
#[cfg(any(feature = "alloc", test))]
pub use storage::Memory;
pub use storage::{PeerSlot, RecentSlot, Storage, WINDOW_WORDS_MIN};

use mpt_proto::{Instant, MAX_PATHS, PathSet};

use storage::WINDOWS;

use crate::budget::Budget;
use crate::cipher::{Ciphers, TAG_LEN};
use crate::datagram::{self, Header, Plaintext, SHORTEST};
use crate::epoch::Epoch;
use crate::index::{INDEX_SLOTS_PER_PEER, Index, Role};
use crate::keys::{PeerKeys, PrivateKey, PublicKey};
use crate::limits::{COPIES_WITHIN, EPHEMERAL_LIFE, EPOCHS};
use crate::mac::{Cookies, Source};
use crate::message::{self, INITIATION_LEN, Identity};
use crate::peer::{Peer, Silence};
use crate::reason::Reason;

/// Where randomness comes from.
pub trait Entropy {
    /// Fills `bytes` with what nobody can guess. A generator that is weak weakens what the private key does not strengthen: forward
    /// secrecy, cookies, nonces of cookie replies, and receiver indices. One that gives the same after each start, in a device without a
    /// clock, makes the same handshake again: if the device restarts within seconds of it, before anything that it sealed arrived, it
    /// uses the same keys and counters twice.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// Names a peer: its position among those that were added, from 0 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(u16);

impl PeerId {
    /// The position.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Seals and opens the datagrams of all peers of one private key, and keeps their keys fresh.
///
/// The caller owns sockets, clock and memory. After each mutation with a later `now` it drains [`poll_transmit`](Self::poll_transmit)
/// and [`poll_event`](Self::poll_event), and it calls [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) says so.
pub struct Sealer<'s, C: Ciphers, E> {
    identity: Identity,
    public: PublicKey,
    instance: u32,
    ciphers: C,
    entropy: E,
    cookies: Cookies,
    budget: Budget<'s>,
    index: Index<'s>,
    peers: &'s mut [PeerSlot<C::Key>],
    /// Positions of peers by their public keys.
    order: &'s mut [u16],
    /// How many there are.
    count: usize,
    windows: &'s mut [u64],
    /// Words of one window.
    window: usize,
    recent: &'s mut [RecentSlot],
    next_recent: usize,
    stats: Stats,
    /// The first moment at which something may be due.
    next: Option<Instant>,
    /// The peers from which on a datagram may be to leave, and an event to be told.
    transmit_from: Option<usize>,
    event_from: Option<usize>,
    outgoing: [u8; INITIATION_LEN],
}

impl<'s, C: Ciphers, E: Entropy> Sealer<'s, C, E> {
    /// For the owner of this private key. `instance` is a random number, by which peers know that this process is another one.
    pub fn new(
        key: PrivateKey,
        instance: u32,
        ciphers: C,
        mut entropy: E,
        storage: Storage<'s, C::Key>,
        now: Instant,
    ) -> Self {
        let Storage { peers, order, index, windows, sources, recent } = storage;
        let secrets: [[u8; 32]; 2] = [handshake::random(&mut entropy), handshake::random(&mut entropy)];
        let most = peers.len().min(order.len()).min(index.len() / INDEX_SLOTS_PER_PEER);
        let words = (windows.len() / WINDOWS).checked_div(most).unwrap_or(0);
        for slot in peers.iter_mut() {
            slot.0 = None;
        }
        Self {
            public: key.public(),
            identity: Identity::new(key),
            instance,
            ciphers,
            entropy,
            cookies: Cookies::new(secrets[0], now),
            budget: Budget::new(sources, secrets[1]),
            index: Index::new(index),
            peers,
            order,
            count: 0,
            windows,
            window: words.checked_ilog2().map_or(0, |log| 1 << log),
            recent,
            next_recent: 0,
            stats: Stats::default(),
            next: None,
            transmit_from: None,
            event_from: None,
            outgoing: [0; INITIATION_LEN],
        }
    }

    /// Our public key.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The peer that was added as this one, counted from 0, if it was not removed.
    pub fn peer_id(&self, position: usize) -> Option<PeerId> {
        let id = PeerId(u16::try_from(position).ok()?);
        self.peer(id).map(|_| id)
    }

    /// So many handshakes per second may be computed for strangers, and as many for those who write from the address of a peer's path:
    /// 1,000 if nothing is said. Each costs five multiplications at most. A controller for which that is a fifth of a second says 1 or 2.
    /// With 0 nobody can begin a handshake with this end; it still begins its own.
    pub fn limit_handshakes(&mut self, per_second: u16) {
        self.budget.limit(per_second);
    }

    /// Adds a peer, at the first position that is free. No handshake leaves before [`set_paths`](Self::set_paths).
    ///
    /// # Errors
    /// Why not.
    pub fn add_peer(&mut self, keys: PeerKeys) -> Result<PeerId, AddPeerError> {
        if keys.public == self.public {
            return Err(AddPeerError::Ourselves);
        }
        let Err(rank) = self.rank(&keys.public) else { return Err(AddPeerError::Known) };
        let place =
            self.peers.iter().position(|slot| slot.0.is_none()).filter(|_| {
                self.count < self.order.len() && self.count < self.index.peers() && self.window >= 2
            });
        let Some(place) = place else { return Err(AddPeerError::Full) };
        let id = u16::try_from(place).map_err(|_| AddPeerError::Full)?;
        let mut carried = id;
        for slot in self.order.iter_mut().take(self.count + 1).skip(rank) {
            carried = core::mem::replace(slot, carried);
        }
        self.count += 1;
        if let Some(slot) = self.peers.get_mut(place) {
            slot.0 = Some(Peer::new(keys));
        }
        Ok(PeerId(id))
    }

    /// Removes a peer: its keys are erased, and its indices stand for nobody.
    pub fn remove_peer(&mut self, peer: PeerId) {
        let Some(removed) = self.peer(peer) else { return };
        if let Ok(rank) = self.rank(&removed.keys.public) {
            let mut carried = 0;
            for slot in self.order.iter_mut().take(self.count).skip(rank).rev() {
                carried = core::mem::replace(slot, carried);
            }
            self.count -= 1;
        }
        let Some(slot) = self.peers.get_mut(peer.index()) else { return };
        if let Some(removed) = &slot.0 {
            for epoch in removed.epochs.iter().flatten() {
                self.index.remove(epoch.terms.local);
            }
            if let Some(handshake) = &removed.handshake {
                self.index.remove(handshake.index);
            }
        }
        // Dropped where it lies: what is moved out first leaves its bytes behind.
        slot.0 = None;
    }

    /// The position of a public key among all, or where it would be.
    fn rank(&self, public: &PublicKey) -> Result<usize, usize> {
        let known = self.order.get(..self.count).unwrap_or_default();
        known.binary_search_by(|id| match self.peers.get(usize::from(*id)).and_then(|slot| slot.0.as_ref()) {
            Some(peer) => peer.keys.public.cmp(public),
            None => core::cmp::Ordering::Less,
        })
    }

    fn peer(&self, peer: PeerId) -> Option<&Peer<C::Key>> {
        self.peers.get(peer.index())?.0.as_ref()
    }

    fn peer_mut(&mut self, peer: PeerId) -> Option<&mut Peer<C::Key>> {
        at(self.peers, peer.index())
    }

    /// The paths of a peer that handshakes may leave on: those in use whose remote end is known. At first there is none.
    pub fn set_paths(&mut self, peer: PeerId, paths: PathSet) {
        let Some(it) = self.peer_mut(peer) else { return };
        if it.paths == paths {
            return;
        }
        let new = paths - it.paths;
        it.paths = paths;
        if let Some(handshake) = &mut it.handshake {
            handshake.unsent = handshake.unsent & paths | new;
            self.transmit_from = Some(0);
        }
        self.look_at(peer);
    }

    /// A handshake with this peer is wanted now, whether or not there are keys.
    pub fn initiate(&mut self, peer: PeerId, now: Instant) {
        let Some(it) = self.peer_mut(peer) else { return };
        it.wanted = true;
        if let Some(epoch) = it.epoch_mut() {
            epoch.rekey_at = epoch.rekey_at.min(now);
        }
        self.look_at(peer);
    }

    /// Bytes that this clear datagram will have when it is sealed for a path that takes `limit` bytes. `None`: it may not be sealed.
    pub fn sealed_len(&self, clear: &[u8], limit: usize) -> Option<usize> {
        Some(Plaintext::of(clear)?.sealed_len(limit))
    }

    /// Seals a datagram of the core for a path into `place`, which has [`sealed_len`](Self::sealed_len) bytes.
    ///
    /// # Errors
    /// Why not; then `place` holds nothing that may leave.
    pub fn seal(
        &mut self,
        peer: PeerId,
        path: u8,
        clear: &[u8],
        place: &mut [u8],
        now: Instant,
    ) -> Result<(), NotSealed> {
        let plaintext = Plaintext::of(clear).ok_or(NotSealed::Form)?;
        if place.len() < plaintext.sealed_len(0) {
            return Err(NotSealed::Form);
        }
        let Some(it) = at(self.peers, peer.index()) else {
            return Err(NotSealed::Form);
        };
        let Some(epoch) = it.epoch_mut().filter(|epoch| epoch.lives(now)) else {
            self.stats.not_sealed += 1;
            if !core::mem::replace(&mut it.wanted, true) || it.epoch().is_some() {
                self.look_at(peer);
            }
            return Err(NotSealed::NoSession);
        };
        let was_due = epoch.is_due(now);
        let is_sealed = epoch.seal(path, plaintext, place, now);
        let mut look = !was_due && epoch.is_due(now);
        if plaintext.asks() && it.silence.since.is_none() {
            it.silence.since = Some(now);
            look = true;
        }
        if look {
            self.look_at(peer);
        }
        if is_sealed {
            Ok(())
        } else {
            self.stats.not_sealed += 1;
            Err(NotSealed::Spent)
        }
    }

    /// Takes a datagram in that came from `source`; its bytes are changed. `path` is our path with that remote end, if there is one.
    pub fn open<'d>(
        &mut self,
        source: &Source,
        path: Option<(PeerId, u8)>,
        datagram: &'d mut [u8],
        now: Instant,
    ) -> Opened<'d> {
        let opened = match message::kind_of(datagram) {
            Some(kind) => self.handle_handshake(kind, source, path, datagram, now),
            None => self.open_data(datagram, now),
        };
        if let Opened::Refused(reason) = opened {
            self.stats.refuse(reason);
        }
        opened
    }

    fn open_data<'d>(&mut self, datagram: &'d mut [u8], now: Instant) -> Opened<'d> {
        let Some(header) = Header::parse(datagram) else {
            return Opened::Refused(if datagram.len() < SHORTEST {
                Reason::Short
            } else if is_clear(datagram) {
                Reason::Clear
            } else {
                Reason::Form
            });
        };
        let Some((number, Role::Epoch(place))) = self.index.get(header.index) else {
            return Opened::Refused(Reason::UnknownIndex);
        };
        let (number, place) = (usize::from(number), usize::from(place));
        let Some(peer) = at(self.peers, number) else {
            return Opened::Refused(Reason::UnknownIndex);
        };
        let Some(epoch) = peer.epochs.get_mut(place).and_then(Option::as_mut) else {
            return Opened::Refused(Reason::UnknownIndex);
        };
        let first = ((number * EPOCHS + place) * MAX_PATHS + usize::from(header.path)) * self.window;
        let words = self.windows.get_mut(first..first + self.window).unwrap_or_default();
        let is_newest = match epoch.open(header, words, datagram, now) {
            Ok(is_newest) => is_newest,
            Err(reason) => return Opened::Refused(reason),
        };
        let (is_first, is_due) = (epoch.confirmed.is_none(), epoch.is_due(now));
        let is_newest = is_newest && peer.is_newest(place, header.path);
        peer.silence = Silence::default();
        peer.retry.settle();
        let id = PeerId(position(number));
        if is_first {
            self.confirm(id, place, now);
        } else if is_due {
            self.look_at(id);
        }
        let len = datagram.len() - TAG_LEN;
        match datagram::clear(datagram, len) {
            Some(datagram) => Opened::Clear { peer: id, path: header.path, is_newest, datagram },
            None => Opened::Refused(Reason::Content),
        }
    }

    /// The first datagram of an epoch came: the peer has the keys.
    fn confirm(&mut self, id: PeerId, place: usize, now: Instant) {
        let Some(peer) = self.peer_mut(id) else { return };
        if let Some(epoch) = peer.epochs.get_mut(place).and_then(Option::as_mut) {
            epoch.confirmed = Some(now);
            let born = epoch.terms.born;
            peer.note_rtt(now.since(born));
            // No copy of the initiation gets these keys any more: an initiator whose randomness repeats after a restart would use their
            // counters again.
            peer.answered = None;
        }
        self.take_into_use(id, place, now);
    }

    /// Lets a confirmed epoch be sealed with. Those of a process of the peer that is gone are erased then, but not what the same process
    /// began meanwhile. A handshake of ours has become needless, and its answer could still come from the process that is gone.
    fn take_into_use(&mut self, id: PeerId, place: usize, now: Instant) {
        let public = self.public;
        let Some(peer) = self.peer_mut(id) else { return };
        let is_used = peer.take_into_use(place, &public, now);
        peer.handshakes += 1;
        peer.wanted = false;
        let instance_in = |epoch: &Option<Epoch<C::Key>>| epoch.as_ref().map(|epoch| epoch.terms.instance);
        let instances = peer.epochs.each_ref().map(instance_in);
        if is_used {
            let ours = instances.get(place).copied().flatten();
            for (other, instance) in instances.into_iter().enumerate() {
                if instance.is_some() && instance != ours {
                    self.erase(id, other);
                }
            }
            self.give_up(id);
        }
        self.event_from = Some(0);
        self.look_at(id);
    }

    /// Erases the keys of an epoch; its index stands for nobody.
    fn erase(&mut self, id: PeerId, place: usize) {
        let Some(peer) = at(self.peers, id.index()) else { return };
        let Some(slot) = peer.epochs.get_mut(place) else { return };
        let Some(epoch) = slot else { return };
        self.index.remove(epoch.terms.local);
        // Dropped where it lies: what is moved out first leaves its bytes behind.
        *slot = None;
        if peer.in_use == Some(place) {
            peer.in_use = None;
        }
    }

    /// Ends the handshake that we began and that is under way.
    fn give_up(&mut self, id: PeerId) {
        let Some(peer) = at(self.peers, id.index()) else { return };
        if let Some(handshake) = &peer.handshake {
            self.index.remove(handshake.index);
        }
        peer.handshake = None;
    }

    /// Puts an epoch into its place.
    fn put(&mut self, id: PeerId, epoch: Epoch<C::Key>) -> Option<usize> {
        let peer = self.peer(id)?;
        let place = peer.place(epoch.confirmed.is_none());
        self.erase(id, place);
        if !self.index.insert(epoch.terms.local, id.0, Role::Epoch(u8::try_from(place).ok()?)) {
            return None;
        }
        *self.peer_mut(id)?.epochs.get_mut(place)? = Some(epoch);
        Some(place)
    }

    /// Something of this peer may be due earlier than thought.
    fn look_at(&mut self, id: PeerId) {
        let deadline = self.peer(id).and_then(Peer::deadline);
        self.next = match (self.next, deadline) {
            (Some(next), Some(deadline)) => Some(next.min(deadline)),
            (next, deadline) => next.or(deadline),
        };
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Does what is due. `time` is that of day in microseconds since 1970, or 0 where there is no clock: it only has to rise, mostly.
    pub fn handle_timeout(&mut self, time: u64, now: Instant) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        self.next = None;
        for place in 0..self.peers.len() {
            let id = PeerId(position(place));
            if self.peer(id).is_some() {
                self.handle_peer(id, time, now);
                self.look_at(id);
            }
        }
    }

    fn handle_peer(&mut self, id: PeerId, time: u64, now: Instant) {
        for place in 0..EPOCHS {
            let Some(peer) = self.peer_mut(id) else { return };
            let is_over =
                peer.epochs.get(place).and_then(Option::as_ref).is_some_and(|epoch| !epoch.lives(now));
            if is_over {
                peer.news.expired |= peer.in_use == Some(place);
                self.erase(id, place);
                self.event_from = Some(0);
            }
        }
        let Some(peer) = self.peer_mut(id) else { return };
        if peer.answered.as_ref().is_some_and(|answered| now.since(answered.at) >= COPIES_WITHIN) {
            peer.answered = None;
        }
        if peer.should_ask(now) {
            peer.silence.asked = Some(now);
            peer.news.silent = true;
            self.event_from = Some(0);
        }
        let Some(peer) = self.peer_mut(id) else { return };
        let (wants, may) = (peer.wants(now), peer.retry.at <= now);
        let is_old =
            peer.handshake.as_ref().is_some_and(|handshake| now.since(handshake.began) >= EPHEMERAL_LIFE);
        if is_old {
            // Whoever still wants one says so again.
            peer.wanted = false;
            self.give_up(id);
        }
        if wants && may {
            self.try_handshake(id, time, now);
        }
    }

    /// The next initiation that is to leave: on which path of whom.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(PeerId, u8, &[u8])> {
        let from = self.transmit_from?;
        for place in from..self.peers.len() {
            let Some(peer) = at(self.peers, place) else { continue };
            let Some(handshake) = &mut peer.handshake else { continue };
            let Some(path) = handshake.unsent.pop().and_then(|path| u8::try_from(path).ok()) else {
                continue;
            };
            self.outgoing = handshake.datagram;
            message::set_mac2(&mut self.outgoing, peer.cookie_for(path, now));
            self.transmit_from = Some(place);
            return Some((PeerId(position(place)), path, &self.outgoing));
        }
        self.transmit_from = None;
        None
    }

    /// What happened, one thing at a time.
    pub fn poll_event(&mut self) -> Option<Event> {
        let from = self.event_from?;
        for place in from..self.peers.len() {
            let Some(peer) = at(self.peers, place) else { continue };
            let id = PeerId(position(place));
            self.event_from = Some(place);
            if core::mem::take(&mut peer.news.expired) {
                return Some(Event::Expired { peer: id });
            }
            if let Some(restarted) = peer.news.session.take() {
                return Some(Event::Session { peer: id, restarted });
            }
            if core::mem::take(&mut peer.news.silent) {
                return Some(Event::Silent { peer: id });
            }
        }
        self.event_from = None;
        None
    }

    /// Datagrams by what became of them.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What people are told of a peer.
    pub fn status(&self, peer: PeerId, now: Instant) -> Option<PeerStatus> {
        let peer = self.peer(peer)?;
        let epoch = peer.epoch().filter(|epoch| epoch.lives(now));
        Some(PeerStatus {
            public: peer.keys.public,
            suite: epoch.map(|epoch| epoch.terms.suite),
            age: epoch.map(|epoch| now.since(epoch.terms.born)),
            handshakes: peer.handshakes,
        })
    }
}

impl<C: Ciphers, E> Drop for Sealer<'_, C, E> {
    /// Erases the keys in what was lent.
    fn drop(&mut self) {
        for slot in self.peers.iter_mut() {
            slot.0 = None;
        }
    }
}

#[cfg(test)]
impl<C: Ciphers, E> Sealer<'_, C, E> {
    /// Lets the latest time of a peer's initiations be this.
    fn set_newest_time(&mut self, id: PeerId, time: u64) {
        if let Some(peer) = &mut self.peers[id.index()].0 {
            peer.newest_time = Some(time);
        }
    }

    /// All that a datagram could change, but for counters of refusals and the budget for handshakes.
    fn fingerprint(&self) -> std::string::String {
        let peers: std::vec::Vec<_> = self
            .peers
            .iter()
            .flat_map(|slot| &slot.0)
            .map(|peer| {
                let epochs: std::vec::Vec<_> = peer.epochs.iter().flatten().map(Epoch::fingerprint).collect();
                let handshake = peer.handshake.as_ref().map(|handshake| (handshake.index, handshake.unsent));
                let times = (peer.our_time, peer.newest_time, peer.initiation_at, peer.retry.at);
                let silence = (peer.silence.since, peer.silence.asked);
                std::format!(
                    "{epochs:?} {:?} {handshake:?} {times:?} {silence:?} {:?}",
                    peer.in_use,
                    peer.wanted
                )
            })
            .collect();
        std::format!("{peers:?} {:?} {:?} {:?}", self.windows, self.index, self.next)
    }
}

/// The peer in a place. A function of the slots alone, so that the rest of a sealer may be used meanwhile.
fn at<K>(peers: &mut [PeerSlot<K>], place: usize) -> Option<&mut Peer<K>> {
    peers.get_mut(place)?.0.as_mut()
}

/// Whether this may be a datagram of a tunnel without keys: GRE of version 0 with an EtherType of one.
fn is_clear(datagram: &[u8]) -> bool {
    matches!(
        datagram,
        [flags, 0, 0x08, 0x00, ..] | [flags, 0, 0x86, 0xdd, ..] | [flags, 0, 0x88, 0xb5 | 0xb6, ..] if flags & 0x4f == 0
    )
}

/// A position as a peer's number.
fn position(place: usize) -> u16 {
    u16::try_from(place).unwrap_or(u16::MAX)
}
