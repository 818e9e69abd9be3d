//! UDP applications: a stream at a constant rate, and a sparse flow that is answered.

use std::ops::Range;
use std::time::Duration;

use mpt_proto::Instant;

use super::datagram::{Datagram, Lead};
use super::network::{Delivery, Network, Route, client_port, host, id};
use super::series::{Latencies, Meter};
use crate::joined::{End, START};
use crate::rng::Rng;
use crate::tcp_model::Ranges;

const STREAM_PORT: u16 = 9;
const ECHO_PORT: u16 = 7;
/// Bytes of a ping, as of a packet with 20 ms of speech.
const PING_LEN: usize = 160;

/// A stream's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSetup {
    /// Of inner packets.
    pub bits_per_second: u64,
    /// Bytes of each.
    pub packet_len: usize,
}

/// UDP packets at a constant rate in one direction.
#[derive(Debug)]
pub struct Stream {
    setup: StreamSetup,
    from: End,
    route: Route,
    ports: [u16; 2],
    id: u16,
    begun: Instant,
    stopped: bool,
    /// When each packet was sent.
    sent: Vec<Instant>,
    meter: Meter,
    latencies: Latencies,
    arrived: Ranges,
    newest: u64,
    copies: u64,
    overtaken: u64,
}

impl Stream {
    pub(super) fn new(index: usize, from: End, route: Route, setup: StreamSetup, now: Instant) -> Self {
        Self {
            setup,
            from,
            route,
            ports: [client_port(index), STREAM_PORT],
            id: id(index),
            begun: now,
            stopped: false,
            sent: Vec::new(),
            meter: Meter::default(),
            latencies: Latencies::default(),
            arrived: Ranges::default(),
            newest: 0,
            copies: 0,
            overtaken: 0,
        }
    }

    /// Bytes by when they arrived.
    pub const fn meter(&self) -> &Meter {
        &self.meter
    }

    /// How long packets took.
    pub const fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// Packets that arrived more than once.
    pub const fn copies(&self) -> u64 {
        self.copies
    }

    /// Packets that arrived behind one that was sent later.
    pub const fn overtaken(&self) -> u64 {
        self.overtaken
    }

    /// Packets that were sent.
    pub const fn sent(&self) -> u64 {
        self.sent.len() as u64
    }

    /// Packets that were sent within a time and have not arrived.
    pub fn lost(&self, within: &Range<Duration>) -> u64 {
        let mut lost = 0;
        self.arrived.absent(sent_within(&self.sent, within), |_| lost += 1);
        lost
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.stopped).then(|| self.begun + self.after(self.sent()))
    }

    pub(super) fn handle_timeout(&mut self, network: &mut Network<'_>) {
        while self.poll_timeout().is_some_and(|at| at <= network.now()) {
            let hosts = [host(self.from), host(1 - self.from)];
            let (serial, sent) = (self.sent(), network.now());
            let (ports, id) = (self.ports, self.id);
            let datagram = Datagram { hosts, ports, id, lead: Lead::Bare, serial, sent };
            self.sent.push(sent);
            let len = self.setup.packet_len;
            network.send(self.from, self.route, |packet| datagram.write(packet, len));
        }
    }

    pub(super) fn handle(&mut self, delivery: &Delivery) {
        let Some(datagram) = Datagram::read(delivery.head(), Lead::Bare) else { return };
        if !self.arrived.insert(datagram.serial) {
            self.copies += 1;
            return;
        }
        self.overtaken += u64::from(datagram.serial < self.newest);
        self.newest = self.newest.max(datagram.serial);
        self.meter.note(delivery.len as u64, delivery.at.since(START));
        self.meter.note_arrival(delivery.at.since(START));
        self.latencies.note(delivery.at.since(START), delivery.at.since(datagram.sent));
    }

    pub(super) const fn stop(&mut self) {
        self.stopped = true;
    }

    /// From the beginning to the packet with a number.
    fn after(&self, serial: u64) -> Duration {
        let bits = serial * self.setup.packet_len as u64 * 8;
        let micros = u128::from(bits) * 1_000_000 / u128::from(self.setup.bits_per_second.max(1));
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

/// Small UDP packets now and then, each answered at once.
#[derive(Debug)]
pub struct Ping {
    from: End,
    every: Duration,
    ports: [u16; 2],
    id: u16,
    rng: Rng,
    next: Option<Instant>,
    /// When each request was sent, and which were answered.
    sent: Vec<Instant>,
    answered: Ranges,
    one_way: Latencies,
    round_trip: Latencies,
}

impl Ping {
    pub(super) fn new(index: usize, from: End, every: Duration, seed: u64, now: Instant) -> Self {
        Self {
            from,
            every,
            ports: [client_port(index), ECHO_PORT],
            id: id(index),
            rng: Rng::new(seed),
            next: Some(now),
            sent: Vec::new(),
            answered: Ranges::default(),
            one_way: Latencies::default(),
            round_trip: Latencies::default(),
        }
    }

    /// How many were sent.
    pub const fn sent(&self) -> u64 {
        self.sent.len() as u64
    }

    /// How many of those sent within a time were not answered, as a share.
    pub fn lost(&self, within: &Range<Duration>) -> f64 {
        let numbers = sent_within(&self.sent, within);
        let mut lost = 0_u64;
        self.answered.absent(numbers.clone(), |_| lost += 1);
        lost as f64 / (numbers.end - numbers.start).max(1) as f64
    }

    /// How long requests took to the other end.
    pub const fn one_way(&self) -> &Latencies {
        &self.one_way
    }

    /// How long requests and answers took together.
    pub const fn round_trip(&self) -> &Latencies {
        &self.round_trip
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn handle_timeout(&mut self, network: &mut Network<'_>) {
        let now = network.now();
        let hosts = [host(self.from), host(1 - self.from)];
        let (ports, id, serial) = (self.ports, self.id, self.sent());
        let datagram = Datagram { hosts, ports, id, lead: Lead::Bare, serial, sent: now };
        self.sent.push(now);
        // A fifth earlier or later, so that it keeps step with nothing.
        let wait = self.every * 4 / 5 + self.rng.time(self.every * 2 / 5);
        self.next = Some(now + wait);
        network.send(self.from, Route::Tunnel, |packet| datagram.write(packet, PING_LEN));
    }

    pub(super) fn handle(&mut self, delivery: &Delivery, network: &mut Network<'_>) {
        let Some(datagram) = Datagram::read(delivery.head(), Lead::Bare) else { return };
        let (at, took) = (delivery.at.since(START), delivery.at.since(datagram.sent));
        if delivery.end == self.from {
            self.answered.insert(datagram.serial);
            self.round_trip.note(at, took);
            return;
        }
        self.one_way.note(at, took);
        let reply = datagram.reply();
        network.send(delivery.end, Route::Tunnel, |packet| reply.write(packet, PING_LEN));
    }

    pub(super) const fn stop(&mut self) {
        self.next = None;
    }
}

/// The numbers of what was sent within a time, given when each was.
pub(super) fn sent_within(sent: &[Instant], within: &Range<Duration>) -> Range<u64> {
    let before = |end: Duration| sent.partition_point(|at| at.since(START) < end) as u64;
    before(within.start)..before(within.end)
}
