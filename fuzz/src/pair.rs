//! Two connections joined by emulated links, in virtual time.
//!
//! Time jumps from one event to the next: a datagram arrives, a deadline comes, a source sends. Same setup, same
//! run.

use std::time::Duration;

use mpt_proto::{Config, Connection, Ecn, Event, HEADROOM, Instant, Link as Carrier, PathId, PathState};

use crate::clock::Clock;
pub use crate::joined::{A, B, End, Memory, PathSetup, Sizes};
use crate::joined::{Inbox, Joined};
use crate::link::{Link, LinkConfig};
use crate::log::Log;
use crate::packet::Stamp;

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
    joined: Joined<'m>,
    sources: [Vec<Source>; 2],
    /// Packets that each end was given, and those it refused.
    offered: [u64; 2],
    refused: [u64; 2],
    logs: Logs,
}

#[derive(Debug, Default)]
struct Logs([Log; 2]);

impl Inbox for Logs {
    fn take(&mut self, end: End, packet: &[u8], now: Instant) {
        self.0[end].note(packet, now);
    }
}

impl<'m> Pair<'m> {
    /// Two fresh connections, each with its own configuration (whose seeds are replaced, so that they
    /// differ), joined by `paths`.
    ///
    /// # Panics
    /// A path's configuration is invalid, or there are more than 16.
    pub fn new(seed: u64, configs: [Config; 2], paths: &[PathSetup], memory: &'m mut Memory) -> Self {
        let mut logs = Logs::default();
        let joined = Joined::new(seed, configs, paths, [Clock::RIGHT; 2], memory, &mut logs);
        Self { joined, sources: Default::default(), offered: [0; 2], refused: [0; 2], logs }
    }

    /// The same configuration at both ends.
    pub fn symmetric(seed: u64, config: &Config, paths: &[PathSetup], memory: &'m mut Memory) -> Self {
        Self::new(seed, [config.clone(), config.clone()], paths, memory)
    }

    /// The time.
    pub const fn now(&self) -> Instant {
        self.joined.now()
    }

    /// An end's connection.
    pub const fn end(&self, end: End) -> &Connection<'m> {
        &self.joined.ends[end]
    }

    /// What an end delivered.
    pub const fn log(&self, end: End) -> &Log {
        &self.logs.0[end]
    }

    /// What an end reported, and when.
    pub fn events(&self, end: End) -> &[(Instant, Event)] {
        &self.joined.events[end]
    }

    /// Packets that an end was given to send, and how many of them it refused.
    pub const fn offered(&self, end: End) -> (u64, u64) {
        (self.offered[end], self.refused[end])
    }

    /// Datagrams that arrived at an end.
    pub const fn arrived(&self, end: End) -> u64 {
        self.joined.arrived[end]
    }

    /// The link that leaves an end on a path.
    pub fn link(&mut self, from: End, path: usize) -> &mut Link {
        self.joined.wires[from].link(path)
    }

    /// The id that an end gives a path.
    pub fn id(&self, end: End, path: usize) -> PathId {
        self.joined.id(end, path)
    }

    /// The state of a path at both ends.
    pub fn states(&self, path: usize) -> [PathState; 2] {
        self.joined.states(path)
    }

    /// Whether all paths are up at both ends.
    pub fn all_up(&self) -> bool {
        self.joined.all_up()
    }

    /// Cuts a path in both directions, silently, or mends it.
    pub fn set_cut(&mut self, path: usize, is_cut: bool) {
        self.joined.set_cut(path, is_cut);
    }

    /// An end sees the link below a path go or come.
    pub fn set_carrier(&mut self, end: End, path: usize, carrier: Carrier) {
        let id = self.id(end, path);
        self.joined.mutate(end, &mut self.logs, |connection, now| {
            connection.handle_link(id, carrier, now).expect("no path is removed");
        });
    }

    /// Disables or enables a path at an end.
    pub fn set_enabled(&mut self, end: End, path: usize, enabled: bool) {
        let id = self.id(end, path);
        self.joined.mutate(end, &mut self.logs, |connection, now| {
            connection.set_enabled(id, enabled, now).expect("no path is removed");
        });
    }

    /// An end learns how large the datagrams of a path may be.
    pub fn set_max_datagram(&mut self, end: End, path: usize, size: u16) {
        let id = self.id(end, path);
        self.joined.mutate(end, &mut self.logs, |connection, now| {
            connection.set_max_datagram(id, size, now).expect("no path is removed");
        });
    }

    /// From now on a hop of a path drops datagrams of more than `mtu` bytes, in both directions.
    pub fn set_mtu(&mut self, path: usize, mtu: Option<usize>) {
        let now = self.now();
        for from in [A, B] {
            let link = self.link(from, path);
            let config = LinkConfig { mtu, ..*link.config() };
            link.set_config(config, now);
        }
    }

    /// An end dies and starts anew at once, as another process that knows nothing.
    ///
    /// # Panics
    /// The [`Memory`] has no life left.
    pub fn restart(&mut self, end: End) {
        self.joined.restart(end, &mut self.logs);
    }

    /// Lets an end send packets of `len` bytes at a constant rate for a while, beginning now.
    pub fn send(&mut self, from: End, every: Duration, len: usize, duration: Duration) {
        self.send_with_ecn(from, every, len, duration, Ecn::NotEct);
    }

    /// As [`send`](Self::send), with ECN bits.
    pub fn send_with_ecn(&mut self, from: End, every: Duration, len: usize, duration: Duration, ecn: Ecn) {
        let source = Source { every, len, ecn, next: self.now(), until: self.now() + duration };
        self.sources[from].push(source);
    }

    /// Lets time pass.
    pub fn run(&mut self, duration: Duration) {
        let until = self.now() + duration;
        while let Some(next) = self.next_event().filter(|next| *next <= until) {
            self.joined.advance(next);
            self.step();
        }
        self.joined.advance(until);
    }

    /// Lets time pass until `done`, and says how much; `None`: it was not done within `most`.
    pub fn run_until(&mut self, most: Duration, mut done: impl FnMut(&Self) -> bool) -> Option<Duration> {
        let start = self.now();
        while !done(self) {
            let next = self.next_event().filter(|next| *next <= start + most)?;
            self.joined.advance(next);
            self.step();
        }
        Some(self.now().since(start))
    }

    /// Gives an end a packet to send, now.
    pub fn offer(&mut self, from: End, len: usize, ecn: Ecn) {
        let stamp = Stamp { serial: self.offered[from], sent: self.now() };
        self.offered[from] += 1;
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(&stamp.packet(len, ecn));
        if self.joined.encapsulate(from, &mut buffer, &mut self.logs).is_err() {
            self.refused[from] += 1;
        }
    }

    /// Lets a datagram arrive at an end that no link brought.
    pub fn inject(&mut self, to: End, path: usize, datagram: Vec<u8>, ecn: Ecn) {
        self.joined.inject(to, path, datagram, ecn, &mut self.logs);
    }

    fn next_event(&self) -> Option<Instant> {
        let sendings = self.sources.iter().flatten().map(|source| source.next);
        self.joined.next_event().into_iter().chain(sendings).min()
    }

    /// Does all that is due now, once.
    fn step(&mut self) {
        self.joined.step(&mut self.logs);
        let now = self.now();
        for end in [A, B] {
            for index in 0..self.sources[end].len() {
                let source = self.sources[end][index];
                if source.next <= now && source.next < source.until {
                    self.sources[end][index].next = source.next + source.every;
                    self.offer(end, source.len, source.ecn);
                }
            }
            self.sources[end].retain(|source| source.next < source.until);
        }
    }
}
