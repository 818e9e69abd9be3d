//! What applications send by and receive from.

use std::collections::VecDeque;

use mpt_proto::wire::ip;
use mpt_proto::{Config, HEADROOM, Instant, Link as Carrier};

use crate::clock::Clock;
use crate::joined::{A, B, End, Inbox, Joined, Memory, OTHER, PathSetup};

/// The port of the end that began, of the first application.
const FIRST_PORT: u16 = 40_000;
/// Bytes of a packet that applications look at: IPv4, UDP, WireGuard's with what is inside, TCP with all options, and eight
/// of data.
const HEAD: usize = 136;

/// How packets of an application travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Through the tunnel.
    Tunnel,
    /// On the link of a path, beside the tunnel.
    Link(usize),
}

/// A packet that arrived.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) application: usize,
    pub(super) end: End,
    pub(super) at: Instant,
    pub(super) len: usize,
    head: [u8; HEAD],
}

impl Delivery {
    /// The packet's beginning.
    pub(super) fn head(&self) -> &[u8] {
        &self.head[..self.len.min(HEAD)]
    }
}

/// Two connections and their links, with what came out of them.
#[derive(Debug)]
pub(super) struct Network<'m> {
    pub(super) joined: Joined<'m>,
    arrivals: Arrivals,
    buffer: Vec<u8>,
    /// Packets that the connections did not take.
    pub(super) refused: [u64; 2],
    pub(super) strange: u64,
}

#[derive(Debug, Default)]
struct Arrivals(VecDeque<Delivery>);

impl Inbox for Arrivals {
    fn take(&mut self, end: End, packet: &[u8], at: Instant) {
        let mut head = [0; HEAD];
        let len = packet.len().min(HEAD);
        head[..len].copy_from_slice(&packet[..len]);
        // Applications are told apart by IPv4's identification.
        let application = usize::from(u16::from_be_bytes([head[4], head[5]]));
        self.0.push_back(Delivery { application, end, at, len: packet.len(), head });
    }

    fn take_other(&mut self, end: End, packet: &[u8], now: Instant) {
        self.take(end, packet, now);
    }
}

impl<'m> Network<'m> {
    pub(super) fn new(
        seed: u64,
        configs: [Config; 2],
        paths: &[PathSetup],
        clocks: [Clock; 2],
        memory: &'m mut Memory,
    ) -> Self {
        let mut arrivals = Arrivals::default();
        let joined = Joined::new(seed, configs, paths, clocks, memory, &mut arrivals);
        Self { joined, arrivals, buffer: Vec::new(), refused: [0; 2], strange: 0 }
    }

    pub(super) const fn now(&self) -> Instant {
        self.joined.now()
    }

    pub(super) fn step(&mut self) {
        self.joined.step(&mut self.arrivals);
    }

    pub(super) fn poll_delivery(&mut self) -> Option<Delivery> {
        self.arrivals.0.pop_front()
    }

    pub(super) fn has_delivery(&self) -> bool {
        !self.arrivals.0.is_empty()
    }

    /// Sends the packet that `write` appends.
    pub(super) fn send(&mut self, from: End, route: Route, write: impl FnOnce(&mut Vec<u8>)) {
        self.buffer.clear();
        self.buffer.resize(HEADROOM, 0);
        write(&mut self.buffer);
        match route {
            Route::Tunnel => {
                let taken = self.joined.encapsulate(from, &mut self.buffer, &mut self.arrivals);
                self.refused[from] += u64::from(taken.is_err());
            }
            Route::Link(path) => {
                let (packet, now) = (&self.buffer[HEADROOM..], self.joined.now());
                self.joined.wires[from].link(path).send_for(OTHER, packet, ip::ecn(packet), now);
            }
        }
    }

    pub(super) fn set_carrier(&mut self, path: usize, carrier: Carrier) {
        for end in [A, B] {
            let id = self.joined.id(end, path);
            self.joined.mutate(end, &mut self.arrivals, |connection, now| {
                connection.handle_link(id, carrier, now).expect("no path is removed");
            });
        }
    }
}

/// The identification in the packets of an application with this number.
pub(super) fn id(application: usize) -> u16 {
    u16::try_from(application).expect("fewer applications than identifications")
}

/// The port of the end that began, of an application with this number.
pub(super) fn client_port(application: usize) -> u16 {
    FIRST_PORT + u16::try_from(application).expect("fewer applications than ports")
}

/// The last byte of an end's address.
pub(super) fn host(end: End) -> u8 {
    if end == A { 1 } else { 2 }
}
