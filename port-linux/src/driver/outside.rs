//! The tunnel's outer side: the sockets, and the layer that seals what leaves through them and opens what arrives.
//!
//! No datagram of the tunnel leaves otherwise: it gets to a socket through [`Outside::transmit`] or [`Outside::send_alone`], which seal if
//! there are keys; handshakes leave by themselves. `Question` (socket/refusal.rs) sends an empty one from a socket of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result};
use mpt_proto::{Departure, Ecn, Handle, Instant, PathSet, Unsent};
use mpt_seal::{Event, Opened, PeerId, PeerStatus, Reason, Sealer, Source, Stats};

use super::keyring::Keyring;
use super::path::PeerPath;
use super::senders::{Sender, Senders};
use crate::ciphers::NativeCiphers;
use crate::clock;
use crate::config;
use crate::entropy::SystemEntropy;
use crate::failure::misconfigured;
use crate::mtu;
use crate::sharing::{Downlink, Uplink};
use crate::socket::{Batch, Destination, SendError, Socket};

/// The layer that seals, with this system's randomness.
pub type SystemSealer<'s> = Sealer<'s, NativeCiphers, SystemEntropy>;

/// A socket and the paths that share it.
#[derive(Debug)]
pub struct SharedSocket {
    /// Open, or not while its address is gone.
    socket: Option<Socket>,
    /// Our end, as configured: perhaps with an unspecified address.
    pub local: SocketAddr,
    /// Our end, as bound. A path whose address the kernel chooses is bound to the one it chose: bound to every
    /// address, its socket would be in the way of the others, which have the same port.
    pub bound: Option<SocketAddr>,
    /// The device it is bound to.
    pub device: Option<String>,
    /// The device's number when it was bound: a device that went and came back has another one. 0: none yet.
    pub interface: u32,
    /// Whose datagrams come to it from where. In the clear, others are refused.
    pub senders: Senders,
    /// Whether a path of it is in use, with a link: else not even a handshake is answered.
    pub(super) is_used: bool,
    /// Whether peers come to it by themselves, from anywhere.
    pub listens: bool,
}

/// Where a datagram came to, and from where.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// Position of the socket.
    pub socket: usize,
    /// Who sent it.
    pub source: SocketAddr,
    /// The address of ours that it came to, where an answer has to come from that one and the socket has several.
    pub local: Option<IpAddr>,
    /// Whether peers come to the socket by themselves.
    pub listens: bool,
}

impl Origin {
    /// Where an answer goes.
    pub const fn back(&self) -> Destination {
        Destination { remote: self.source, source: self.local }
    }
}

impl SharedSocket {
    /// One that is to be opened.
    pub fn new(local: SocketAddr, device: Option<String>, interface: u32) -> Self {
        Self {
            socket: None,
            local,
            bound: None,
            device,
            interface,
            senders: Senders::default(),
            is_used: true,
            listens: false,
        }
    }

    /// One for peers that come by themselves.
    pub fn listening(local: SocketAddr) -> Self {
        Self { listens: true, ..Self::new(local, None, 0) }
    }

    /// Whether it hears what comes to any address of ours.
    pub(super) fn has_all_addresses(&self) -> bool {
        self.listens && self.local.ip().is_unspecified()
    }

    /// Whether it serves the same paths as another one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.device == other.device
            && self.listens == other.listens
            && (self.local.ip(), self.local.port()) == (other.local.ip(), other.local.port())
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    /// It is open from now on, bound to `local`.
    pub fn open(&mut self, socket: Socket, local: SocketAddr) {
        self.socket = Some(socket);
        self.bound = Some(local);
    }

    /// Closes it, which takes it out of epoll, too.
    pub fn close(&mut self) {
        self.socket = None;
    }

    /// Bytes of buffer that the kernel granted for receiving and sending, and most datagrams of one call, if it is open.
    pub(super) fn granted(&self) -> Option<((usize, usize), usize)> {
        let socket = self.socket.as_ref()?;
        Some((socket.buffer_sizes().ok()?, socket.max_run()))
    }

    /// What is waited for, if it is open.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// What has arrived.
    ///
    /// # Errors
    /// As [`Socket::receive`].
    pub fn receive(&self, batch: &mut Batch) -> io::Result<()> {
        match &self.socket {
            Some(socket) => socket.receive(batch),
            None => {
                // It was closed after it had become readable: what another socket brought before is not its.
                batch.clear();
                Ok(())
            }
        }
    }
}

/// Whom a datagram is of, and what the core is to read.
#[derive(Debug)]
pub enum Arrival<'d> {
    /// Of the path whose remote end it came from.
    Path {
        /// The path.
        sender: Sender,
        /// The clear datagram.
        datagram: &'d mut [u8],
    },
    /// Authentic, and from an address that is no path's remote end.
    Moved {
        /// The connection.
        peer: Handle,
        /// The number that the peer gives the path.
        number: u8,
        /// Whether no later one came of that path.
        is_newest: bool,
        /// The clear datagram.
        datagram: &'d mut [u8],
    },
    /// From an address that is no path's remote end; nothing is known of who sent it.
    Stranger(&'d mut [u8]),
    /// Refused and counted.
    Refused(Reason),
    /// There is nothing for the core.
    Nothing,
}

/// Sockets, and the layer before them.
pub struct Outside<'s> {
    /// The sockets.
    pub sockets: Vec<SharedSocket>,
    sealer: Option<SystemSealer<'s>>,
    keyring: Keyring,
    /// This host's own access, where it is shared among the connections.
    pub(super) uplink: Option<Uplink>,
    pub(super) downlink: Option<Downlink>,
}

impl<'s> Outside<'s> {
    /// Without sockets and peers; sealed if there is a sealer.
    pub fn new(sealer: Option<SystemSealer<'s>>) -> Self {
        Self { sockets: Vec::new(), sealer, keyring: Keyring::default(), uplink: None, downlink: None }
    }

    /// Gives the layer that seals the keys of a connection, if something is sealed.
    ///
    /// # Errors
    /// There is no room, or another peer with this key.
    pub(super) fn add_keys(&mut self, handle: Handle, config: &config::Connection) -> Result<()> {
        let Some(sealer) = &mut self.sealer else { return Ok(()) };
        let keys = config.keys.clone().context("a connection without a public key")?;
        let peer = sealer.add_peer(keys);
        let peer = peer.map_err(|error| misconfigured(format!("connection {}: {error}", config.name)))?;
        self.keyring.add(handle, peer);
        Ok(())
    }

    /// The connection that the layer that seals means.
    pub(super) fn owner(&self, peer: PeerId) -> Option<Handle> {
        self.keyring.owner(peer)
    }

    /// Forgets a connection: its keys, and where it is.
    pub(super) fn remove(&mut self, peer: Handle) {
        for shared in &mut self.sockets {
            shared.senders.remove(peer);
        }
        self.uplink.iter_mut().for_each(|uplink| uplink.remove(peer));
        self.downlink.iter_mut().for_each(|downlink| downlink.remove(peer));
        if let Some(keys) = self.keyring.remove(peer) {
            self.sealer.iter_mut().for_each(|sealer| sealer.remove_peer(keys));
        }
    }

    /// Whether a socket is open.
    pub fn is_open(&self, socket: usize) -> bool {
        self.sockets.get(socket).is_some_and(SharedSocket::is_open)
    }

    /// Where a datagram came to, `local` being the address of ours that it was sent to.
    pub(super) fn origin(&self, socket: usize, source: SocketAddr, local: Option<IpAddr>) -> Origin {
        let has_several = self.sockets.get(socket).is_some_and(SharedSocket::has_all_addresses);
        let local = local.filter(|_| has_several);
        Origin { socket, source, local, listens: self.listens(socket) }
    }

    /// Whether peers come to a socket by themselves.
    pub(super) fn listens(&self, socket: usize) -> bool {
        self.sockets.get(socket).is_some_and(|shared| shared.listens)
    }

    /// Whether everything is sealed.
    pub fn is_sealed(&self) -> bool {
        self.sealer.is_some()
    }

    /// Takes in a datagram that came to a socket.
    pub fn open<'d>(&mut self, origin: Origin, datagram: &'d mut [u8], now: Instant) -> Arrival<'d> {
        let Origin { socket, source, .. } = origin;
        let Self { sockets, sealer, keyring, .. } = self;
        let Some(shared) = sockets.get(socket) else { return Arrival::Nothing };
        let Some(sealer) = sealer else {
            return match shared.senders.find(source) {
                Some(sender) => Arrival::Path { sender, datagram },
                None => Arrival::Stranger(datagram),
            };
        };
        // Only answers to handshakes need to know the path, and these come from where they were sent to.
        let path = || {
            let sender = shared.senders.find(source)?;
            Some((keyring.keys(sender.peer)?, u8::try_from(sender.path).ok()?))
        };
        let path = if datagram.len() <= mpt_seal::LONGEST_HANDSHAKE { path() } else { None };
        match sealer.open(&opaque(socket, source), path, datagram, now) {
            Opened::Clear { peer, path: number, is_newest, datagram } => {
                let Some(peer) = keyring.owner(peer) else { return Arrival::Nothing };
                match shared.senders.find_of(peer, source) {
                    Some(sender) => Arrival::Path { sender, datagram },
                    None => Arrival::Moved { peer, number, is_newest, datagram },
                }
            }
            Opened::Reply(reply) => {
                if let Some(socket) = shared.socket.as_ref().filter(|_| shared.is_used) {
                    // A lost answer is asked for again.
                    let _ = socket.send(origin.back(), reply, reply.len(), Ecn::NotEct);
                }
                Arrival::Nothing
            }
            Opened::Consumed => Arrival::Nothing,
            Opened::Refused(reason) => Arrival::Refused(reason),
        }
    }

    /// Whether a datagram of so many bytes may leave on a path without making a queue of this host's own too long.
    pub fn takes(&self, path: &PeerPath, len: usize, now: Instant) -> bool {
        let socket = self.sockets.get(path.socket).and_then(|shared| shared.socket.as_ref());
        socket.is_none_or(|socket| socket.takes(len, now))
    }

    /// Puts a datagram behind those that wait to leave on its path. Returns whether the path's link works.
    pub fn transmit(
        &mut self,
        peer: Handle,
        path: &mut PeerPath,
        departure: &Departure<'_>,
        now: Instant,
    ) -> bool {
        let Self { sockets, sealer, keyring, uplink, .. } = self;
        let sockets = opened(sockets, path.sockets());
        let destination = path.destination();
        let headers = usize::from(mtu::headers(path.ends.remote));
        let mut charge =
            |len: usize| uplink.iter_mut().for_each(|uplink| uplink.charge(peer, len + headers, now));
        let PeerPath { not_sent, outbox, max_datagram, .. } = path;
        let max_run = sockets[0].map_or(1, Socket::max_run);
        let mut works = true;
        let hand_over = |bytes: &[u8], size: usize, ecn: Ecn| {
            works &= hand_over(sockets, destination, not_sent, bytes, size, ecn);
        };
        let clear = departure.datagram;
        let Some(sealer) = sealer else {
            charge(clear.len());
            outbox.push(clear, departure.ecn, max_run, hand_over);
            return works;
        };
        let number = departure.path.index();
        let sealed = sealer.sealed_len(clear, usize::from(*max_datagram)).zip(keyring.keys(peer));
        if let Some(((len, peer), number)) = sealed.zip(u8::try_from(number).ok()) {
            charge(len);
            let seal = |place: &mut [u8]| sealer.seal(peer, number, clear, place, now).is_ok();
            outbox.push_with(len, departure.ecn, max_run, seal, hand_over);
        }
        works
    }

    /// Lets leave what waits on a path. Returns whether its link works.
    pub fn flush(&self, path: &mut PeerPath) -> bool {
        let sockets = opened(&self.sockets, path.sockets());
        let destination = path.destination();
        let PeerPath { not_sent, outbox, .. } = path;
        let mut works = true;
        outbox.flush(|bytes, size, ecn| works &= hand_over(sockets, destination, not_sent, bytes, size, ecn));
        works
    }

    /// Sends a probe of a path's size, to which sealing adds `sealing` bytes, at once. Returns why it did not leave, if so.
    pub fn probe_size(
        &mut self,
        peer: Handle,
        path: &PeerPath,
        probe: &Departure<'_>,
        sealing: u16,
        now: Instant,
    ) -> Option<Unsent> {
        let size = usize::from(probe.padded_to) + usize::from(sealing);
        let sent = path
            .destination()
            .and_then(|to| self.send_alone(peer, path, (path.socket, to), probe, size, now));
        match sent {
            Some(Ok(())) => None,
            Some(Err(SendError::TooBig)) => Some(Unsent::TooLarge),
            None | Some(Err(_)) => Some(Unsent::Otherwise),
        }
    }

    /// Sends a control message of a path from a socket to `to` at once, as a datagram of `size` bytes if it is shorter: zeros follow it, which a
    /// peer ignores and which do not change a checksum. `None`: there is no socket or there are no keys.
    pub fn send_alone(
        &mut self,
        peer: Handle,
        path: &PeerPath,
        (socket, to): (usize, Destination),
        message: &Departure<'_>,
        size: usize,
        now: Instant,
    ) -> Option<Result<(), SendError>> {
        let Self { sockets, sealer, keyring, .. } = self;
        let socket = sockets.get(socket)?.socket.as_ref()?;
        let mut datagram = message.datagram.to_vec();
        if let Some(sealer) = sealer {
            let bare = sealer.sealed_len(&datagram, 0)?;
            datagram.resize(datagram.len() + size.saturating_sub(bare), 0);
            let mut sealed = vec![0; sealer.sealed_len(&datagram, size)?];
            let number = u8::try_from(path.id.index()).ok()?;
            sealer.seal(keyring.keys(peer)?, number, &datagram, &mut sealed, now).ok()?;
            datagram = sealed;
        } else {
            datagram.resize(size.max(datagram.len()), 0);
        }
        Some(socket.send(to, &datagram, datagram.len(), message.ecn))
    }

    /// Sends the handshakes that are due, each from the sockets and to the remote end that `path` tells for a connection's path. A lost one
    /// is sent again later.
    pub fn send_handshakes<'p>(
        &mut self,
        path: impl Fn(Handle, usize) -> Option<([Option<usize>; 2], Destination)> + 'p,
        now: Instant,
    ) {
        let Self { sockets, sealer, keyring, .. } = self;
        let Some(sealer) = sealer else { return };
        while let Some((peer, number, initiation)) = sealer.poll_transmit(now) {
            let Some((from, to)) = keyring.owner(peer).and_then(|peer| path(peer, number.into())) else {
                continue;
            };
            for socket in opened(sockets, from).into_iter().flatten() {
                let _ = socket.send(to, initiation, initiation.len(), Ecn::NotEct);
            }
        }
    }

    /// What happened to a peer's keys.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.sealer.as_mut()?.poll_event()
    }

    /// Which paths of a peer handshakes may leave on.
    pub fn set_paths(&mut self, peer: Handle, paths: PathSet) {
        if let Some((sealer, keys)) = self.sealer.as_mut().zip(self.keyring.keys(peer)) {
            sealer.set_paths(keys, paths);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let sealer = self.sealer.as_ref().and_then(Sealer::poll_timeout);
        let uplink = self.uplink.as_ref().and_then(Uplink::poll_timeout);
        let downlink = self.downlink.as_ref().and_then(Downlink::poll_timeout);
        [sealer, uplink, downlink].into_iter().flatten().min()
    }

    /// Keys that are too old, handshakes that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(sealer) = &mut self.sealer {
            sealer.handle_timeout(clock::time_of_day(), now);
        }
    }

    /// What people are told of a peer's keys; `None`: nothing is sealed.
    pub fn status(&self, peer: Handle, now: Instant) -> Option<PeerStatus> {
        self.sealer.as_ref()?.status(self.keyring.keys(peer)?, now)
    }

    /// Datagrams refused; `None`: nothing is sealed.
    pub fn stats(&self) -> Option<&Stats> {
        self.sealer.as_ref().map(Sealer::stats)
    }
}

/// An address and the socket that heard it, as the sealer compares them.
fn opaque(socket: usize, source: SocketAddr) -> Source {
    let ip = match source.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut bytes = [0; 20];
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..18].copy_from_slice(&source.port().to_be_bytes());
    let socket = u16::try_from(socket).unwrap_or(u16::MAX);
    bytes[18..].copy_from_slice(&socket.to_be_bytes());
    Source(bytes)
}

/// The sockets with these indices, if they are open.
fn opened(sockets: &[SharedSocket], from: [Option<usize>; 2]) -> [Option<&Socket>; 2] {
    from.map(|index| sockets.get(index?)?.socket.as_ref())
}

/// Hands datagrams to the kernel; what it does not take is counted and lost, as on any link. Returns whether the
/// link works. What leaves from a port that is tried leaves from the path's own as well, which counts.
fn hand_over(
    [socket, tried]: [Option<&Socket>; 2],
    destination: Option<Destination>,
    not_sent: &mut crate::report::NotSent,
    bytes: &[u8],
    size: usize,
    ecn: Ecn,
) -> bool {
    let count = bytes.len().div_ceil(size.max(1)) as u64;
    let Some((socket, destination)) = socket.zip(destination) else {
        not_sent.link += count;
        return false;
    };
    let outcome = socket.send(destination, bytes, size, ecn);
    if let Some(tried) = tried {
        let _ = tried.send(destination, bytes, size, ecn);
    }
    match outcome {
        Ok(()) => {}
        Err(SendError::Full) => not_sent.full += count,
        Err(SendError::TooBig) => not_sent.too_big += count,
        Err(SendError::Refused) => not_sent.refused += count,
        Err(SendError::Link(error)) => {
            not_sent.link += count;
            tracing::debug!("sending to {}: {error}", destination.remote);
            return false;
        }
    }
    true
}
