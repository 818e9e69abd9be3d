//! The tunnel as a network interface of embassy-net, over UDP sockets of whatever network stack lies below.
//!
//! ```text
//!   embassy-net stack on the tunnel address -> Device -> Queues -> Runner (Connection) -> DatagramSocket, one a path
//! ```
//!
//! The firmware lends static memory, gives the [`Device`] to a second `embassy_net::new`, and lets a task loop
//! over [`Runner::next_event`]. A socket is a dozen lines over embassy-net's `UdpSocket`: see `examples/firmware`.
//!
//! Every queue is bounded. While a path's socket is full, or [`Queues`] is, the stack above gets no token to send
//! and keeps its packets; while the stack above does not take what arrived, datagrams stay in the sockets, whose
//! stack drops what does not fit. A peer that floods costs no more than that.

mod device;

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};

use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::zerocopy_channel::{Receiver, Sender};
use embassy_time::Timer;

use crate::adapt::Intake;
use crate::{CONTROL_MAX, Connection, Ecn, Event, Instant, PathId, PathState};

pub use device::{Device, Packet, Queues, RxToken, TxToken};

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
#[derive(Debug)]
pub struct Runner<'r, 's, S, const N: usize> {
    connection: &'r mut Connection<'s>,
    sockets: &'r [(PathId, S)],
    to_device: Sender<'r, CriticalSectionRawMutex, Packet<N>>,
    from_device: Receiver<'r, CriticalSectionRawMutex, Packet<N>>,
    intake: Intake,
    control: [u8; CONTROL_MAX],
    refused: u64,
}

impl<'s, S: DatagramSocket, const N: usize> Runner<'_, 's, S, N> {
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
            self.send_control(cx);
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

    /// Inner packets dropped because they were larger than the device's MTU.
    pub const fn oversized(&self) -> u64 {
        self.intake.oversized
    }

    /// Datagrams that the sockets lost on arrival: too large for a [`Packet`], or not the peer's.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Takes in one datagram of each path, as far as the device has room. Returns whether there was any.
    fn receive(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let mut any = self.deliver_held(cx);
        for (path, socket) in self.sockets {
            let Poll::Ready(packet) = self.to_device.poll_send(cx) else { return any };
            let Poll::Ready(len) = socket.poll_receive(&mut packet.bytes, cx) else { continue };
            any = true;
            let Some(len) = len else {
                self.refused += 1;
                continue;
            };
            let arrival = (*path, len, Ecn::NotEct);
            if let Some(range) = self.intake.decapsulate(self.connection, &mut packet.bytes, arrival, now) {
                (packet.start, packet.end) = (range.start, range.end);
                self.to_device.send_done();
            }
            self.deliver_held(cx);
        }
        any
    }

    /// Delivers the packets whose waiting is over, as far as the device has room.
    fn deliver_held(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        while let Poll::Ready(packet) = self.to_device.poll_send(cx) {
            let Some(range) = self.intake.poll_packet(self.connection, &mut packet.bytes) else { break };
            (packet.start, packet.end) = (range.start, range.end);
            self.to_device.send_done();
            any = true;
        }
        any
    }

    /// Sends one packet of the device's, if every path that may carry it has room. Returns whether there was one.
    fn send(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let Self { connection, sockets, from_device, .. } = self;
        let full = |(path, socket): &(PathId, S)| {
            connection.path_state(*path) == Ok(PathState::Up) && socket.poll_ready(cx).is_pending()
        };
        if sockets.iter().any(full) {
            return false;
        }
        let Poll::Ready(packet) = from_device.poll_receive(cx) else { return false };
        // A packet that is refused is counted by the connection.
        if let Some(buffer) = packet.bytes.get_mut(..packet.end)
            && let Ok(mut departures) = connection.encapsulate(buffer, now)
        {
            while let Some(departure) = departures.next() {
                send_on(sockets, departure.path, departure.datagram, cx);
            }
        }
        from_device.receive_done();
        true
    }

    fn send_control(&mut self, cx: &mut Context<'_>) {
        while let Some(departure) = self.connection.poll_transmit(&mut self.control) {
            send_on(self.sockets, departure.path, departure.datagram, cx);
        }
    }
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
