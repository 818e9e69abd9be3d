//! Two connections joined by emulated links, in virtual time.
//!
//! [`Pair`] drives both by the contract of [`Connection`]: one mutation, then drain. Time jumps from one
//! event to the next: a datagram arrives, a deadline comes, a source sends. Same setup, same run.

mod memory;

use std::time::Duration;

use mpt_proto::{
    CONTROL_MAX, Config, Connection, Ecn, Event, HEADROOM, Instant, Link as Carrier, PathConfig, PathId,
    PathState, Received,
};

use crate::link::{Link, LinkConfig};
use crate::log::Log;
use crate::packet::Stamp;
use crate::rng::Rng;
pub use memory::{Memory, Sizes};

/// One of the two ends, as an index.
pub type End = usize;
/// The end that scenarios let send.
pub const A: End = 0;
/// The end that scenarios let receive.
pub const B: End = 1;

/// More events than this at one instant mean that a deadline does not move: time would stand still.
const MOST_EVENTS_AT_ONCE: u32 = 100_000;
/// Runs start here, so that times before the start exist.
const START: Instant = Instant::from_micros(1_000_000);

/// A path as both ends configure it, with what lies between.
#[derive(Debug, Clone, Copy, Default)]
pub struct PathSetup {
    /// At each end.
    pub config: [PathConfig; 2],
    /// From each end to the other.
    pub link: [LinkConfig; 2],
}

impl PathSetup {
    /// The same in both directions.
    pub const fn symmetric(config: PathConfig, link: LinkConfig) -> Self {
        Self { config: [config; 2], link: [link; 2] }
    }
}

/// Sends packets at a constant rate.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// Time between packets.
    pub every: Duration,
    /// Bytes of each.
    pub len: usize,
    /// ECN bits of each.
    pub ecn: Ecn,
    next: Instant,
    until: Instant,
}

/// Two connections and the links between them.
#[derive(Debug)]
pub struct Pair<'m> {
    ends: [Connection<'m>; 2],
    configs: [Config; 2],
    memory: std::slice::IterMut<'m, memory::Life>,
    setups: Vec<PathSetup>,
    /// The id that each end gives each path.
    ids: Vec<[PathId; 2]>,
    /// From each end, on each path.
    links: [Vec<Link>; 2],
    now: Instant,
    rng: Rng,
    sources: [Vec<Source>; 2],
    /// Packets that each end was given, and those it refused.
    offered: [u64; 2],
    refused: [u64; 2],
    arrived: [u64; 2],
    logs: [Log; 2],
    events: [Vec<(Instant, Event)>; 2],
    events_now: u32,
}

impl<'m> Pair<'m> {
    /// Two fresh connections, each with its own configuration (whose seeds are replaced, so that they
    /// differ), joined by `paths`.
    ///
    /// # Panics
    /// A path's configuration is invalid, or there are more than 16.
    pub fn new(seed: u64, configs: [Config; 2], paths: &[PathSetup], memory: &'m mut Memory) -> Self {
        let mut rng = Rng::new(seed);
        let mut memory = memory.lives();
        let [a, b] = configs;
        let configs = [Config { seed: rng.next(), ..a }, Config { seed: rng.next(), ..b }];
        let ends = [A, B].map(|end| Connection::new(configs[end].clone(), memory::take(&mut memory), START));
        let links =
            [A, B].map(|from| paths.iter().map(|path| Link::new(path.link[from], rng.next())).collect());
        let mut pair = Self {
            ends,
            configs,
            memory,
            setups: paths.to_vec(),
            ids: Vec::new(),
            links,
            now: START,
            rng,
            sources: Default::default(),
            offered: [0; 2],
            refused: [0; 2],
            arrived: [0; 2],
            logs: Default::default(),
            events: Default::default(),
            events_now: 0,
        };
        for path in paths {
            let ids =
                [A, B].map(|end| pair.ends[end].add_path(path.config[end], START).expect("a sound path"));
            pair.ids.push(ids);
            pair.drain(A);
            pair.drain(B);
        }
        pair
    }

    /// The same configuration at both ends.
    pub fn symmetric(seed: u64, config: &Config, paths: &[PathSetup], memory: &'m mut Memory) -> Self {
        Self::new(seed, [config.clone(), config.clone()], paths, memory)
    }

    /// The time.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// An end's connection.
    pub const fn end(&self, end: End) -> &Connection<'m> {
        &self.ends[end]
    }

    /// What an end delivered.
    pub const fn log(&self, end: End) -> &Log {
        &self.logs[end]
    }

    /// What an end reported, and when.
    pub fn events(&self, end: End) -> &[(Instant, Event)] {
        &self.events[end]
    }

    /// Packets that an end was given to send, and how many of them it refused.
    pub const fn offered(&self, end: End) -> (u64, u64) {
        (self.offered[end], self.refused[end])
    }

    /// Datagrams that arrived at an end.
    pub const fn arrived(&self, end: End) -> u64 {
        self.arrived[end]
    }

    /// The link that leaves an end on a path.
    pub fn link(&mut self, from: End, path: usize) -> &mut Link {
        &mut self.links[from][path]
    }

    /// The id that an end gives a path.
    pub fn id(&self, end: End, path: usize) -> PathId {
        self.ids[path][end]
    }

    /// The state of a path at both ends.
    pub fn states(&self, path: usize) -> [PathState; 2] {
        [A, B].map(|end| self.ends[end].path_state(self.id(end, path)).expect("no path is removed"))
    }

    /// Whether all paths are up at both ends.
    pub fn all_up(&self) -> bool {
        (0..self.ids.len()).all(|path| self.states(path) == [PathState::Up; 2])
    }

    /// Cuts a path in both directions, silently, or mends it.
    pub fn set_cut(&mut self, path: usize, is_cut: bool) {
        for from in [A, B] {
            self.links[from][path].set_cut(is_cut);
        }
    }

    /// An end sees the link below a path go or come.
    pub fn set_carrier(&mut self, end: End, path: usize, carrier: Carrier) {
        let id = self.id(end, path);
        self.ends[end].handle_link(id, carrier, self.now).expect("no path is removed");
        self.drain(end);
    }

    /// Disables or enables a path at an end.
    pub fn set_enabled(&mut self, end: End, path: usize, enabled: bool) {
        let id = self.id(end, path);
        self.ends[end].set_enabled(id, enabled, self.now).expect("no path is removed");
        self.drain(end);
    }

    /// An end dies and starts anew at once, as another process that knows nothing.
    ///
    /// # Panics
    /// The [`Memory`] has no life left.
    pub fn restart(&mut self, end: End) {
        let config = Config { seed: self.rng.next(), ..self.configs[end].clone() };
        self.ends[end] = Connection::new(config, memory::take(&mut self.memory), self.now);
        for path in 0..self.setups.len() {
            let config = self.setups[path].config[end];
            self.ids[path][end] = self.ends[end].add_path(config, self.now).expect("a sound path");
        }
        self.drain(end);
    }

    /// Lets an end send packets of `len` bytes at a constant rate for a while, beginning now.
    pub fn send(&mut self, from: End, every: Duration, len: usize, duration: Duration) {
        self.send_with_ecn(from, every, len, duration, Ecn::NotEct);
    }

    /// As [`send`](Self::send), with ECN bits.
    pub fn send_with_ecn(&mut self, from: End, every: Duration, len: usize, duration: Duration, ecn: Ecn) {
        let source = Source { every, len, ecn, next: self.now, until: self.now + duration };
        self.sources[from].push(source);
    }

    /// Lets time pass.
    pub fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(next) = self.next_event().filter(|next| *next <= until) {
            self.advance(next);
            self.step();
        }
        self.advance(until);
    }

    /// Lets time pass until `done`, and says how much; `None`: it was not done within `most`.
    pub fn run_until(&mut self, most: Duration, mut done: impl FnMut(&Self) -> bool) -> Option<Duration> {
        let start = self.now;
        while !done(self) {
            let next = self.next_event().filter(|next| *next <= start + most)?;
            self.advance(next);
            self.step();
        }
        Some(self.now.since(start))
    }

    /// Gives an end a packet to send, now.
    pub fn offer(&mut self, from: End, len: usize, ecn: Ecn) {
        let stamp = Stamp { serial: self.offered[from], sent: self.now };
        self.offered[from] += 1;
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(&stamp.packet(len, ecn));
        match self.ends[from].encapsulate(&mut buffer, self.now) {
            Ok(mut departures) => {
                while let Some(departure) = departures.next() {
                    let link = &mut self.links[from][departure.path.index()];
                    link.send(departure.datagram, departure.ecn, self.now);
                }
            }
            Err(_) => self.refused[from] += 1,
        }
        self.drain(from);
    }

    /// Lets a datagram arrive at an end that no link brought.
    pub fn inject(&mut self, to: End, path: usize, mut datagram: Vec<u8>, ecn: Ecn) {
        self.arrived[to] += 1;
        let id = self.id(to, path);
        let received =
            self.ends[to].decapsulate(id, &mut datagram, ecn, self.now).expect("no path is removed");
        if let Received::Packet(packet) = received {
            self.logs[to].note(packet, self.now);
        }
        self.drain(to);
    }

    fn advance(&mut self, to: Instant) {
        if to > self.now {
            self.now = to;
            self.events_now = 0;
        }
        self.events_now += 1;
        assert!(self.events_now < MOST_EVENTS_AT_ONCE, "time stands still at {:?}", self.now);
    }

    fn next_event(&self) -> Option<Instant> {
        let arrivals = self.links.iter().flatten().filter_map(Link::poll_timeout);
        let deadlines = self.ends.iter().filter_map(Connection::poll_timeout);
        let sendings = self.sources.iter().flatten().map(|source| source.next);
        arrivals.chain(deadlines).chain(sendings).min()
    }

    /// Does all that is due now, once.
    fn step(&mut self) {
        for from in [A, B] {
            for path in 0..self.links[from].len() {
                while let Some(arrival) = self.links[from][path].receive(self.now) {
                    let ecn = arrival.ecn();
                    self.inject(1 - from, path, arrival.datagram, ecn);
                }
            }
        }
        for end in [A, B] {
            if self.ends[end].poll_timeout().is_some_and(|deadline| deadline <= self.now) {
                self.ends[end].handle_timeout(self.now);
                self.drain(end);
            }
            for index in 0..self.sources[end].len() {
                let source = self.sources[end][index];
                if source.next <= self.now && source.next < source.until {
                    self.sources[end][index].next = source.next + source.every;
                    self.offer(end, source.len, source.ecn);
                }
            }
            self.sources[end].retain(|source| source.next < source.until);
        }
    }

    fn drain(&mut self, end: End) {
        let connection = &mut self.ends[end];
        while let Some(packet) = connection.poll_packet() {
            self.logs[end].note(packet, self.now);
        }
        let mut buffer = [0; CONTROL_MAX];
        while let Some(departure) = connection.poll_transmit(&mut buffer) {
            let link = &mut self.links[end][departure.path.index()];
            link.send(departure.datagram, departure.ecn, self.now);
        }
        while let Some(event) = connection.poll_event() {
            self.events[end].push((self.now, event));
        }
    }
}
