//! A smoltcp [`Device`](phy::Device) over a connection: TCP, UDP and ICMP through the tunnel in one process, on a
//! microcontroller or where no tun device can be had.
//!
//! ```text
//!   smoltcp sockets -> Interface -> Tunnel (this device) -> Connection -> Datagrams (UDP sockets, one each path)
//! ```
//!
//! `Interface::poll` drives the connection too: every call takes in what arrived, sends what is due and serves the
//! deadlines. Before waiting, ask both [`Tunnel::poll_timeout`] and `Interface::poll_at`.

use core::ops::Range;

use ::smoltcp::phy::{self, DeviceCapabilities, Medium};
use ::smoltcp::time;

use crate::{CONTROL_MAX, Connection, Ecn, Event, HEADROOM, Instant, PathId, Received, Unsent};

/// The sockets under the tunnel, as the caller has them: one for each path.
pub trait Datagrams {
    /// Whether the datagrams of one more packet may be sent: until then smoltcp is given no token to send, and
    /// keeps the packet in its sockets.
    fn can_send(&self) -> bool {
        true
    }

    /// Sends a datagram on a path, with these ECN bits in the outer header if they can be set. Without room it is
    /// lost, as on any link.
    fn send(&mut self, path: PathId, datagram: &[u8], ecn: Ecn, now: Instant);

    /// Writes the next datagram that arrived to the front of `buffer`, and says on which path, how many bytes,
    /// and its outer ECN bits ([`Ecn::NotEct`] if they cannot be read). One that does not fit is lost.
    fn receive(&mut self, buffer: &mut [u8], now: Instant) -> Option<(PathId, usize, Ecn)>;
}

/// A connection as a device of medium IP.
#[derive(Debug)]
pub struct Tunnel<'b, 's, D> {
    connection: Connection<'s>,
    datagrams: D,
    incoming: &'b mut [u8],
    outgoing: &'b mut [u8],
    control: [u8; CONTROL_MAX],
    oversized: u64,
}

impl<'b, 's, D: Datagrams> Tunnel<'b, 's, D> {
    /// Over a connection, the sockets of its paths, and a buffer for each direction. The interface's MTU is
    /// [`HEADROOM`] less than the smaller buffer, and a path whose size is [searched](Connection::search_size) carries no larger datagrams than
    /// a buffer has room for.
    pub fn new(
        connection: Connection<'s>,
        datagrams: D,
        incoming: &'b mut [u8],
        outgoing: &'b mut [u8],
    ) -> Self {
        Self { connection, datagrams, incoming, outgoing, control: [0; CONTROL_MAX], oversized: 0 }
    }

    /// The connection, for its state and counters.
    pub const fn connection(&self) -> &Connection<'s> {
        &self.connection
    }

    /// The connection, to add paths and to change them. What follows from it is sent by the next poll.
    pub const fn connection_mut(&mut self) -> &mut Connection<'s> {
        &mut self.connection
    }

    /// The sockets under the tunnel.
    pub const fn datagrams_mut(&mut self) -> &mut D {
        &mut self.datagrams
    }

    /// The connection's next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.connection.poll_event()
    }

    /// When the connection wants the interface to be polled next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.connection.poll_timeout()
    }

    /// Inner packets dropped because they were larger than the interface's MTU.
    pub const fn oversized(&self) -> u64 {
        self.oversized
    }

    /// Bytes of the largest inner packet.
    fn mtu(&self) -> usize {
        self.incoming.len().min(self.outgoing.len()).saturating_sub(HEADROOM)
    }

    /// Brings the next inner packet to `incoming`, and says where in it.
    fn next_packet(&mut self, now: Instant) -> Option<Range<usize>> {
        if self.connection.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.connection.handle_timeout(now);
        }
        let mtu = self.mtu();
        loop {
            while let Some(packet) = self.connection.poll_packet() {
                let len = packet.len();
                if let Some(place) = self.incoming.get_mut(..len).filter(|_| len <= mtu) {
                    place.copy_from_slice(packet);
                    return Some(0..len);
                }
                self.oversized += 1;
            }
            while let Some(departure) = self.connection.poll_transmit(&mut self.control) {
                let path = departure.path;
                match departure.padded(self.outgoing) {
                    Some(datagram) => self.datagrams.send(path, datagram, departure.ecn, now),
                    // The path is there: a datagram was to leave on it.
                    None => _ = self.connection.handle_unsent(path, Unsent::TooLarge, now),
                }
            }
            let (path, len, ecn) = self.datagrams.receive(self.incoming, now)?;
            let start = self.incoming.as_ptr().addr();
            let datagram = self.incoming.get_mut(..len)?;
            // A path that was removed has nothing to say.
            let received = self.connection.decapsulate(path, datagram, ecn, now);
            let Ok(Received::Packet(packet)) = received else { continue };
            if packet.len() <= mtu {
                let start = packet.as_ptr().addr().checked_sub(start)?;
                return Some(start..start + packet.len());
            }
            self.oversized += 1;
        }
    }
}

impl<'s, D: Datagrams> phy::Device for Tunnel<'_, 's, D> {
    type RxToken<'a>
        = Incoming<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Outgoing<'a, 's, D>
    where
        Self: 'a;

    fn receive(&mut self, timestamp: time::Instant) -> Option<(Incoming<'_>, Outgoing<'_, 's, D>)> {
        let now = from_smoltcp(timestamp);
        let packet = self.next_packet(now)?;
        let Self { connection, datagrams, incoming, outgoing, .. } = self;
        let outgoing = Outgoing { connection, datagrams, buffer: outgoing, now };
        Some((Incoming { packet: incoming.get(packet)? }, outgoing))
    }

    fn transmit(&mut self, timestamp: time::Instant) -> Option<Outgoing<'_, 's, D>> {
        let Self { connection, datagrams, outgoing, .. } = self;
        datagrams.can_send().then_some(Outgoing {
            connection,
            datagrams,
            buffer: outgoing,
            now: from_smoltcp(timestamp),
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu();
        capabilities
    }
}

/// An inner packet for smoltcp.
#[derive(Debug)]
pub struct Incoming<'a> {
    packet: &'a [u8],
}

impl phy::RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.packet)
    }
}

/// Room for an inner packet of smoltcp's. A packet that the connection refuses is counted in its
/// [`Stats`](crate::Stats).
#[derive(Debug)]
pub struct Outgoing<'a, 's, D> {
    connection: &'a mut Connection<'s>,
    datagrams: &'a mut D,
    buffer: &'a mut [u8],
    now: Instant,
}

impl<D: Datagrams> phy::TxToken for Outgoing<'_, '_, D> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        // smoltcp keeps to the MTU, which has room; beyond it there is none.
        let end = (HEADROOM + len).min(self.buffer.len());
        let buffer = self.buffer.get_mut(..end).unwrap_or_default();
        let result = f(buffer.get_mut(HEADROOM..).unwrap_or_default());
        if let Ok(mut departures) = self.connection.encapsulate(buffer, self.now) {
            while let Some(departure) = departures.next() {
                self.datagrams.send(departure.path, departure.datagram, departure.ecn, self.now);
            }
        }
        result
    }
}

/// The moment in microseconds; smoltcp's times before zero are zero.
fn from_smoltcp(timestamp: time::Instant) -> Instant {
    Instant::from_micros(u64::try_from(timestamp.total_micros()).unwrap_or(0))
}
