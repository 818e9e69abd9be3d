//! Sealed mode under the tunnel of [`mpt_proto::adapt::embassy`]: sockets that seal what leaves and open what arrives.
//!
//! ```text
//!   embassy-net stack on the tunnel address -> Device -> Runner (Connection) -> SealedSocket, one a path -> DatagramSocket
//!                                                                                    \-> Keys (Sealer), one for all of them
//! ```
//!
//! The firmware makes [`Keys`] of a [`Sealer`] and the peer's public key, wraps the socket of each path in a [`SealedSocket`], and lets
//! a task loop over [`Keys::next_event`] instead of over the runner's own `next_event`. Everything else is as without keys; paths are
//! added with a `max_datagram` that is less by [`OVERHEAD`](crate::OVERHEAD), and the device's MTU is less by as much.
//!
//! A datagram is copied once more than in the clear, as it is sealed and opened in a buffer of its own.

use core::cell::{RefCell, RefMut};
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};

use embassy_time::Timer;
use mpt_proto::adapt::embassy::{DatagramSocket, Runner};
use mpt_proto::{Instant, PathId, PathSet};

use crate::cipher::Ciphers;
use crate::keys::PeerKeys;
use crate::mac::Source;
use crate::sealer::{AddPeerError, Entropy, Event, Opened, PeerId, PeerStatus, Sealer, Stats};

/// The keys that the sockets of all paths to one peer share.
pub struct Keys<'s, C: Ciphers, E> {
    peer: PeerId,
    shared: RefCell<Shared<'s, C, E>>,
}

struct Shared<'s, C: Ciphers, E> {
    sealer: Sealer<'s, C, E>,
    /// The sealed datagram at hand.
    datagram: &'s mut [u8],
    /// The paths that handshakes leave on.
    paths: PathSet,
}

/// What happened to the tunnel or to its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelEvent {
    /// An event of the connection.
    Connection(mpt_proto::Event),
    /// An event of the keys. What it asks for is done already.
    Keys(Event),
}

impl<'s, C: Ciphers, E: Entropy> Keys<'s, C, E> {
    /// Keys for a tunnel to one peer, by a sealer without peers. `datagram` is a buffer for the largest datagram on the wire: Ethernet's
    /// 1,500 bytes less 28 of IPv4 and UDP.
    ///
    /// # Errors
    /// The peer's public key is our own, or the sealer was lent too little memory.
    pub fn new(
        mut sealer: Sealer<'s, C, E>,
        peer: PeerKeys,
        datagram: &'s mut [u8],
    ) -> Result<Self, AddPeerError> {
        let peer = sealer.add_peer(peer)?;
        Ok(Self { peer, shared: RefCell::new(Shared { sealer, datagram, paths: PathSet::default() }) })
    }

    /// Carries packets and keeps the keys fresh until something happens that the firmware may want to tell. Nothing is lost when the
    /// future is dropped.
    pub async fn next_event<S: DatagramSocket, const MTU: usize>(
        &self,
        runner: &mut Runner<'_, '_, SealedSocket<'_, 's, S, C, E>, MTU>,
    ) -> TunnelEvent {
        poll_fn(|cx| self.poll_event(runner, cx)).await
    }

    /// As [`next_event`](Self::next_event), for futures written by hand.
    pub fn poll_event<S: DatagramSocket, const MTU: usize>(
        &self,
        runner: &mut Runner<'_, '_, SealedSocket<'_, 's, S, C, E>, MTU>,
        cx: &mut Context<'_>,
    ) -> Poll<TunnelEvent> {
        if let Poll::Ready(event) = runner.poll_event(cx) {
            return Poll::Ready(TunnelEvent::Connection(event));
        }
        // What left and what arrived may have changed what is due.
        let now = now();
        let Some(mut shared) = self.shared() else { return Poll::Pending };
        let Shared { sealer, .. } = &mut *shared;
        // Without a clock of the time of day: the peer tells the latest time that it knows (a stale reply), at the price of a round trip
        // after each start.
        sealer.handle_timeout(0, now);
        while let Some((_, path, initiation)) = sealer.poll_transmit(now) {
            if let Some((_, socket)) = runner.sockets().iter().find(|(_, socket)| socket.path == path) {
                socket.socket.send(initiation, cx);
            }
        }
        if let Some(event) = sealer.poll_event() {
            drop(shared);
            if matches!(event, Event::Session { .. } | Event::Silent { .. }) {
                for (path, _) in runner.sockets() {
                    // A path that was removed is not asked.
                    let _ = runner.connection_mut().probe(*path, now);
                }
            }
            return Poll::Ready(TunnelEvent::Keys(event));
        }
        if let Some(deadline) = sealer.poll_timeout() {
            let at = embassy_time::Instant::from_micros(deadline.as_micros());
            // Up to a tick late, not early: a deadline that has not come would be waited for again.
            let at = at + embassy_time::Duration::from_ticks(1);
            let _ = Pin::new(&mut Timer::at(at)).poll(cx);
        }
        Poll::Pending
    }

    /// Lets handshakes leave on these paths only. At first they leave on the path of every [`SealedSocket`] there is.
    pub fn set_paths(&self, paths: PathSet) {
        if let Some(mut shared) = self.shared() {
            shared.paths = paths;
            shared.sealer.set_paths(self.peer, paths);
        }
    }

    /// What people are told of the keys.
    pub fn status(&self) -> Option<PeerStatus> {
        self.shared()?.sealer.status(self.peer, now())
    }

    /// Datagrams refused, by reason.
    pub fn stats(&self) -> Stats {
        self.shared().map(|shared| *shared.sealer.stats()).unwrap_or_default()
    }

    /// `None` only where a socket of the firmware's calls back while it sends or receives.
    fn shared(&self) -> Option<RefMut<'_, Shared<'s, C, E>>> {
        self.shared.try_borrow_mut().ok()
    }
}

/// The socket of one path, with keys: sealed datagrams pass through the socket below, clear ones are what the runner sees.
pub struct SealedSocket<'k, 's, S, C: Ciphers, E> {
    socket: S,
    keys: &'k Keys<'s, C, E>,
    path: u8,
    max_datagram: usize,
}

impl<'k, 's, S, C: Ciphers, E: Entropy> SealedSocket<'k, 's, S, C, E> {
    /// The socket of this path, on which datagrams of up to `max_datagram` bytes may leave.
    pub fn new(socket: S, keys: &'k Keys<'s, C, E>, path: PathId, max_datagram: u16) -> Self {
        if let Some(mut shared) = keys.shared() {
            shared.paths.insert(path.index());
            let paths = shared.paths;
            shared.sealer.set_paths(keys.peer, paths);
        }
        // Path numbers are below 16.
        let number = u8::try_from(path.index()).unwrap_or(u8::MAX);
        Self { socket, keys, path: number, max_datagram: max_datagram.into() }
    }
}

impl<S: DatagramSocket, C: Ciphers, E: Entropy> DatagramSocket for SealedSocket<'_, '_, S, C, E> {
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_ready(cx)
    }

    /// Without keys the datagram is lost, and a handshake begins.
    fn send(&self, clear: &[u8], cx: &mut Context<'_>) {
        let Some(mut shared) = self.keys.shared() else { return };
        let Shared { sealer, datagram, .. } = &mut *shared;
        let len = sealer.sealed_len(clear, self.max_datagram);
        let Some(place) = len.and_then(|len| datagram.get_mut(..len)) else { return };
        if sealer.seal(self.keys.peer, self.path, clear, place, now()).is_ok() {
            self.socket.send(place, cx);
        }
    }

    fn poll_receive(&self, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<Option<usize>> {
        let Some(mut shared) = self.keys.shared() else { return Poll::Pending };
        let Shared { sealer, datagram, .. } = &mut *shared;
        let Poll::Ready(len) = self.socket.poll_receive(datagram, cx) else { return Poll::Pending };
        let Some(datagram) = len.and_then(|len| datagram.get_mut(..len)) else { return Poll::Ready(None) };
        match sealer.open(&self.source(), Some((self.keys.peer, self.path)), datagram, now()) {
            Opened::Clear { datagram: clear, .. } => {
                let place = buffer.get_mut(..clear.len());
                Poll::Ready(place.map(|place| place.copy_from_slice(clear)).map(|()| clear.len()))
            }
            Opened::Refused(_) => Poll::Ready(None),
            Opened::Reply(reply) => {
                self.socket.send(reply, cx);
                again(cx)
            }
            Opened::Consumed => again(cx),
        }
    }
}

impl<S, C: Ciphers, E> SealedSocket<'_, '_, S, C, E> {
    /// Where datagrams of this socket come from: the socket below lets pass what is from the peer's address only, so that its number
    /// stands for address and port.
    fn source(&self) -> Source {
        let mut source = [0; 20];
        if let Some(last) = source.last_mut() {
            *last = self.path;
        }
        Source(source)
    }
}

/// A datagram was about keys: the runner has nothing from it, and looks for the next one.
fn again<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

fn now() -> Instant {
    Instant::from_micros(embassy_time::Instant::now().as_micros())
}
