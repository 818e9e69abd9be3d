//! The tunnel as a network interface of embassy-net, over UDP sockets of whatever network stack lies below.
//!
//! ```text
//!   embassy-net stack on the tunnel address -> Device -> State -> Runner (Connection) -> DatagramSocket, one a path
//! ```
//!
//! The firmware lends static memory, gives the [`Device`] to a second `embassy_net::new`, and lets a task loop
//! over [`Runner::next_event`]. A socket is a dozen lines over embassy-net's `UdpSocket`: see `examples/firmware`.
//!
//! Device and queues are those of embassy-net-driver-channel, as under most drivers for embassy-net. Every queue is
//! bounded. While a path's socket is full, or the queue of the [`State`] is, the stack above gets no token to send and
//! keeps its packets; while the stack above does not take what arrived, datagrams stay in the sockets, whose stack drops
//! what does not fit. A peer that floods costs no more than that.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};

use embassy_net_driver_channel as channel;
use embassy_net_driver_channel::driver::{HardwareAddress, LinkState};
use embassy_time::Timer;

use crate::{CONTROL_MAX, Connection, Ecn, Event, HEADROOM, Instant, PathId, PathState, Received, Unsent};

pub use channel::{Device, State};

/// The UDP socket of one path, to one peer. It need not carry ECN bits: without them the tunnel works in the
/// compatibility mode of RFC 6040 section 4.1.
pub trait DatagramSocket {
    /// Whether a datagram can be sent now; if not, wakes when one can.
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Sends a datagram, or loses it if there is no room.
    fn send(&self, datagram: &[u8], cx: &mut Context<'_>);

    /// Moves the next datagram to the front of `buffer` and returns its length; `None` if it was lost because
    /// it did not fit, or was not the peer's.
    fn poll_receive(&self, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<Option<usize>>;
}

/// Drives the connection.
pub struct Runner<'r, 's, S, const MTU: usize> {
    connection: &'r mut Connection<'s>,
    sockets: &'r [(PathId, S)],
    stack: channel::Runner<'r, MTU>,
    /// The datagram at hand.
    datagram: &'r mut [u8],
    control: [u8; CONTROL_MAX],
    oversized: u64,
    refused: u64,
}

/// The device for embassy-net, and the runner over a connection and the socket of each of its paths. `state` has the
/// places for packets to the stack and from it; `datagram` has room for one, [`HEADROOM`] and the MTU bytes: a path whose size is
/// [searched](Connection::search_size) carries no larger datagrams. A packet is copied once between the two.
///
/// # Panics
/// `state` has no place for packets in one of the directions.
pub fn new<'r, 's, S, const MTU: usize, const INCOMING: usize, const OUTGOING: usize>(
    state: &'r mut State<MTU, INCOMING, OUTGOING>,
    datagram: &'r mut [u8],
    connection: &'r mut Connection<'s>,
    sockets: &'r [(PathId, S)],
) -> (Device<'r, MTU>, Runner<'r, 's, S, MTU>) {
    let (mut stack, device) = channel::new(state, HardwareAddress::Ip);
    stack.set_link_state(LinkState::Up);
    let control = [0; CONTROL_MAX];
    (device, Runner { connection, sockets, stack, datagram, control, oversized: 0, refused: 0 })
}

impl<'r, 's, S: DatagramSocket, const MTU: usize> Runner<'r, 's, S, MTU> {
    /// Carries packets until something happens that the firmware may want to tell. Nothing is lost when the
    /// future is dropped.
    pub async fn next_event(&mut self) -> Event {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// As [`next_event`](Self::next_event), for futures written by hand.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        // Each packet may make room for another; the budget gives other tasks their turn.
        for _ in 0..PACKETS_A_POLL {
            let now = now();
            if self.connection.poll_timeout().is_some_and(|deadline| deadline <= now) {
                self.connection.handle_timeout(now);
            }
            let moved = self.receive(now, cx) | self.send(now, cx);
            self.send_control(now, cx);
            if let Some(event) = self.connection.poll_event() {
                return Poll::Ready(event);
            }
            if !moved {
                if let Some(deadline) = self.connection.poll_timeout() {
                    let at = embassy_time::Instant::from_micros(deadline.as_micros());
                    // Up to a tick late, not early: a deadline that has not come would be waited for again.
                    let at = at + embassy_time::Duration::from_ticks(1);
                    let _ = Pin::new(&mut Timer::at(at)).poll(cx);
                }
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The connection, for its state and counters.
    pub const fn connection(&self) -> &Connection<'s> {
        self.connection
    }

    /// The connection, to change its paths.
    pub const fn connection_mut(&mut self) -> &mut Connection<'s> {
        self.connection
    }

    /// The sockets of the paths.
    pub const fn sockets(&self) -> &'r [(PathId, S)] {
        self.sockets
    }

    /// Inner packets dropped because they were larger than the device's MTU, or than the room for a datagram.
    pub const fn oversized(&self) -> u64 {
        self.oversized
    }

    /// Datagrams that the sockets lost on arrival: too large for the room there is, or not the peer's.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Takes in one datagram of each path, as far as the stack has room. Returns whether there was any.
    fn receive(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let mut any = self.deliver_held(cx);
        for (path, socket) in self.sockets {
            if self.stack.poll_rx_buf(cx).is_pending() {
                return any;
            }
            let Poll::Ready(len) = socket.poll_receive(self.datagram, cx) else { continue };
            any = true;
            let Some(datagram) = len.and_then(|len| self.datagram.get_mut(..len)) else {
                self.refused += 1;
                continue;
            };
            // A path that was removed has nothing to say.
            if let Ok(Received::Packet(packet)) =
                self.connection.decapsulate(*path, datagram, Ecn::NotEct, now)
            {
                self.oversized += u64::from(!deliver(&mut self.stack, packet));
            }
            self.deliver_held(cx);
        }
        any
    }

    /// Delivers the packets whose waiting is over, as far as the stack has room.
    fn deliver_held(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        while self.stack.poll_rx_buf(cx).is_ready()
            && let Some(packet) = self.connection.poll_packet()
        {
            self.oversized += u64::from(!deliver(&mut self.stack, packet));
            any = true;
        }
        any
    }

    /// Sends one packet of the stack's, if every path that may carry it has room. Returns whether there was one.
    fn send(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let Self { connection, sockets, stack, datagram, .. } = self;
        let full = |(path, socket): &(PathId, S)| {
            connection.path_state(*path) == Ok(PathState::Up) && socket.poll_ready(cx).is_pending()
        };
        if sockets.iter().any(full) {
            return false;
        }
        let Poll::Ready(packet) = stack.poll_tx_buf(cx) else { return false };
        let end = HEADROOM + packet.len();
        let fits = datagram.get_mut(HEADROOM..end).map(|room| room.copy_from_slice(packet)).is_some();
        stack.tx_done();
        let Some(buffer) = datagram.get_mut(..end).filter(|_| fits) else {
            self.oversized += 1;
            return true;
        };
        // A packet that is refused is counted by the connection.
        if let Ok(mut departures) = connection.encapsulate(buffer, now) {
            while let Some(departure) = departures.next() {
                send_on(sockets, departure.path, departure.datagram, cx);
            }
        }
        true
    }

    fn send_control(&mut self, now: Instant, cx: &mut Context<'_>) {
        while let Some(departure) = self.connection.poll_transmit(&mut self.control) {
            let path = departure.path;
            match departure.padded(self.datagram) {
                Some(datagram) => send_on(self.sockets, path, datagram, cx),
                // The path is there: a datagram was to leave on it.
                None => _ = self.connection.handle_unsent(path, Unsent::TooLarge, now),
            }
        }
    }
}

/// Gives a packet to the stack, which has a place for it; `false`: it is too large.
fn deliver<const MTU: usize>(stack: &mut channel::Runner<'_, MTU>, packet: &[u8]) -> bool {
    let room = stack.try_rx_buf().and_then(|room| room.get_mut(..packet.len()));
    let fits = room.map(|room| room.copy_from_slice(packet)).is_some();
    if fits {
        stack.rx_done(packet.len());
    }
    fits
}

/// Rounds of one packet a path and direction before other tasks get their turn: a full burst of a small device.
const PACKETS_A_POLL: usize = 16;

fn send_on<S: DatagramSocket>(sockets: &[(PathId, S)], path: PathId, datagram: &[u8], cx: &mut Context<'_>) {
    if let Some((_, socket)) = sockets.iter().find(|(id, _)| *id == path) {
        socket.send(datagram, cx);
    }
}

fn now() -> Instant {
    Instant::from_micros(embassy_time::Instant::now().as_micros())
}
