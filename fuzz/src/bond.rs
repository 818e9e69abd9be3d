//! A bond under load, in virtual time: two connections over emulated links, applications at both ends, and what
//! they saw.
//!
//! Applications ([`Bond::tcp`], [`Bond::stream`], [`Bond::ping`], [`Bond::traffic`]) use the tunnel, or one of its links beside it, as
//! other traffic does. Links change by [`Bond::change_link`], [`Bond::freeze`] and [`Bond::cut`] between two calls of
//! [`Bond::run`]. Times in questions are since the beginning of the run. Same setup, same calls, same answers.

mod application;
pub mod case;
mod datagram;
mod flood;
mod flow;
pub mod links;
mod lookup;
mod media;
mod network;
mod series;
pub mod traffic;
mod udp;

use std::ops::Range;
use std::time::Duration;

use mpt_proto::{Config, Connection, Event, Instant, Link as Carrier, PathModel};

use crate::clock::Clock;
use crate::joined::{A, B, Joined, START};
use crate::link::{Link, LinkConfig};
use application::Application;
use network::Network;

pub use crate::joined::{End, Memory, PathSetup, Sizes};
pub use flow::{Flow, TcpSetup};
pub use network::Route;
pub use series::{Gaps, Latencies, Meter, PathSeries};
pub use traffic::{DEADLINES, Figures, Traffic};
pub use udp::{Ping, Stream, StreamSetup};

/// Links are looked at this often.
pub const SAMPLE: Duration = Duration::from_millis(10);
/// Bytes of outer headers: IPv4 and UDP.
pub const OUTER: usize = 28;

/// What a bond is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Of all that is random.
    pub seed: u64,
    /// Of each end.
    pub configs: [Config; 2],
    /// The links, and how each end uses them.
    pub paths: Vec<PathSetup>,
    /// So many microseconds a second the clock of end B runs fast. If it is not zero, B's clock also shows another
    /// time.
    pub drift: i32,
}

impl Setup {
    /// The same configuration at both ends, clocks that agree.
    pub fn new(seed: u64, config: &Config, paths: Vec<PathSetup>) -> Self {
        Self { seed, configs: [config.clone(), config.clone()], paths, drift: 0 }
    }
}

/// Names an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppId(usize);

/// Two connections, the links between them, and what uses them.
#[derive(Debug)]
pub struct Bond<'m> {
    network: Network<'m>,
    applications: Vec<Application>,
    /// When each of them has something to do: kept here, as they may be a thousand.
    deadlines: Vec<Option<Instant>>,
    next_sample: Instant,
    /// From each end, on each path.
    series: [Vec<PathSeries>; 2],
}

impl<'m> Bond<'m> {
    /// Two fresh connections and nothing that uses them.
    ///
    /// # Panics
    /// A path's configuration is invalid, or there are more than 16.
    pub fn new(setup: &Setup, memory: &'m mut Memory) -> Self {
        let offset = if setup.drift == 0 { 0 } else { 3_000_000_000 };
        let clocks = [Clock::RIGHT, Clock::new(START, offset, setup.drift)];
        let network = Network::new(setup.seed, setup.configs.clone(), &setup.paths, clocks, memory);
        let series = [A, B].map(|_| vec![PathSeries::default(); setup.paths.len()]);
        Self { network, applications: Vec::new(), deadlines: Vec::new(), next_sample: START, series }
    }

    /// Lets time pass until all paths are up.
    ///
    /// # Panics
    /// They are not within ten seconds.
    pub fn bring_up(&mut self) {
        let until = self.now() + Duration::from_secs(10);
        while !self.joined().all_up() {
            assert!(self.now() < until, "the paths did not come up");
            self.run(SAMPLE);
        }
    }

    /// The time since the beginning.
    pub const fn elapsed(&self) -> Duration {
        self.network.joined.elapsed()
    }

    /// An end's connection.
    pub const fn end(&self, end: End) -> &Connection<'m> {
        &self.network.joined.ends[end]
    }

    /// What an end reported, and when.
    pub fn events(&self, end: End) -> impl Iterator<Item = (Duration, &Event)> {
        self.network.joined.events[end].iter().map(|(at, event)| (at.since(START), event))
    }

    /// What an end's adaptive policy knows of a path.
    pub fn path_model(&self, from: End, path: usize) -> PathModel {
        let id = self.joined().ids[path][from];
        self.end(from).path_model(id).unwrap_or_default()
    }

    /// The link that leaves an end on a path.
    pub fn link(&self, from: End, path: usize) -> &Link {
        self.joined().wires[from].seen(path)
    }

    /// How many paths there are.
    pub const fn path_count(&self) -> usize {
        self.series[A].len()
    }

    /// What the links that leave an end were like over time.
    pub fn path_series(&self, from: End, path: usize) -> &PathSeries {
        &self.series[from][path]
    }

    /// Packets that an end was given, and refused.
    pub const fn refused(&self, end: End) -> u64 {
        self.network.refused[end]
    }

    /// Packets that came out at an end and that no application knows.
    pub const fn strange(&self) -> u64 {
        self.network.strange
    }

    /// Bits per second of inner packets that links of this rate can carry: what is left when headers are taken off,
    /// those of packets of `packet_len` bytes with the longest header that was seen.
    pub fn capacity(&self, bits_per_second: u64, packet_len: usize) -> f64 {
        let longest = [A, B].map(|end| self.joined().wires[end].longest).into_iter().max();
        let outer = longest.unwrap_or_default().max(packet_len) + OUTER;
        bits_per_second as f64 * packet_len as f64 / outer as f64
    }

    /// Starts a TCP flow now.
    pub fn tcp(&mut self, from: End, route: Route, setup: TcpSetup) -> AppId {
        let (index, now) = (self.applications.len(), self.now());
        let seed = self.network.joined.rng.next();
        self.start(Application::Flow(Box::new(Flow::new(index, from, route, setup, seed, now))))
    }

    /// Starts a stream of UDP packets at a constant rate now.
    pub fn stream(&mut self, from: End, route: Route, setup: StreamSetup) -> AppId {
        let (index, now) = (self.applications.len(), self.now());
        self.start(Application::Stream(Stream::new(index, from, route, setup, now)))
    }

    /// Starts a sparse flow of small UDP packets now, which the other end answers.
    pub fn ping(&mut self, from: End, every: Duration) -> AppId {
        let (index, now) = (self.applications.len(), self.now());
        let seed = self.network.joined.rng.next();
        self.start(Application::Ping(Ping::new(index, from, every, seed, now)))
    }

    /// Starts traffic through the tunnel now, beside flows that are measured from an end.
    pub fn traffic(&mut self, from: End, traffic: Traffic) -> AppId {
        traffic.start(self, from)
    }

    /// A flow sends nothing new any more.
    pub fn stop(&mut self, app: AppId) {
        self.applications[app.0].stop();
        self.deadlines[app.0] = self.applications[app.0].poll_timeout();
    }

    /// What became of traffic within a time, a line for each of its directions.
    pub fn figures(&self, app: AppId, traffic: Traffic, within: &Range<Duration>) -> Vec<Figures> {
        traffic.figures(&self.applications[app.0], within)
    }

    /// What a TCP flow did.
    ///
    /// # Panics
    /// It is not a TCP flow.
    pub fn flow(&self, app: AppId) -> &Flow {
        let Application::Flow(flow) = &self.applications[app.0] else { panic!("{app:?} is not a flow") };
        flow
    }

    /// What became of a stream.
    ///
    /// # Panics
    /// It is not a stream.
    pub fn stream_of(&self, app: AppId) -> &Stream {
        let Application::Stream(stream) = &self.applications[app.0] else {
            panic!("{app:?} is not a stream")
        };
        stream
    }

    /// What a ping measured.
    ///
    /// # Panics
    /// It is not a ping.
    pub fn ping_of(&self, app: AppId) -> &Ping {
        let Application::Ping(ping) = &self.applications[app.0] else { panic!("{app:?} is not a ping") };
        ping
    }

    /// Changes a link from now on, in both directions.
    pub fn change_link(&mut self, path: usize, change: impl Fn(&mut LinkConfig)) {
        for from in [A, B] {
            self.change_link_from(from, path, &change);
        }
    }

    /// Changes the link that leaves an end from now on.
    pub fn change_link_from(&mut self, from: End, path: usize, change: impl Fn(&mut LinkConfig)) {
        let now = self.now();
        let link = self.network.joined.wires[from].link(path);
        let mut config = *link.config();
        change(&mut config);
        link.set_config(config, now);
    }

    /// From now on everything on a path vanishes, silently, until it is [mended](Self::mend).
    pub fn freeze(&mut self, path: usize) {
        self.network.joined.set_cut(path, true);
    }

    /// As [`freeze`](Self::freeze), and both ends see it.
    pub fn cut(&mut self, path: usize) {
        self.network.joined.set_cut(path, true);
        self.network.set_carrier(path, Carrier::Down);
    }

    /// As [`freeze`](Self::freeze), in one direction.
    pub fn freeze_from(&mut self, from: End, path: usize) {
        self.network.joined.wires[from].link(path).set_cut(true);
    }

    /// An end's clock jumps ahead: for the other end, its stamps do.
    pub fn set_clock_ahead(&mut self, end: End, by: Duration) {
        self.network.joined.set_clock_ahead(end, by);
    }

    /// A path works again.
    pub fn mend(&mut self, path: usize) {
        self.network.joined.set_cut(path, false);
        self.network.set_carrier(path, Carrier::Up);
    }

    /// Lets time pass.
    pub fn run(&mut self, duration: Duration) {
        let until = self.now() + duration;
        self.settle();
        while let Some(next) = self.next_event().filter(|next| *next <= until) {
            self.network.joined.advance(next);
            self.network.step();
            self.settle();
        }
        self.network.joined.advance(until);
    }

    /// Bytes of tunnel datagrams that an end sent on each path, as shares of their sum.
    pub fn shares(&self, from: End, within: &Range<Duration>) -> Vec<f64> {
        let sent: Vec<u64> = self.series[from].iter().map(|path| path.sent(within)).collect();
        let sum = sent.iter().sum::<u64>().max(1) as f64;
        sent.into_iter().map(|bytes| bytes as f64 / sum).collect()
    }

    /// Packets that left with a copy beside them, of all that both ends have sent.
    pub fn copied(&self) -> f64 {
        let stats = [0, 1].map(|end| self.end(end).stats());
        let sum = |of: fn(&mpt_proto::Stats) -> u64| stats.iter().map(of).sum::<u64>() as f64;
        sum(|stats| stats.tx_copies) / sum(|stats| stats.tx_packets).max(1.0)
    }

    fn start(&mut self, application: Application) -> AppId {
        self.deadlines.push(application.poll_timeout());
        self.applications.push(application);
        AppId(self.applications.len() - 1)
    }

    const fn joined(&self) -> &Joined<'m> {
        &self.network.joined
    }

    const fn now(&self) -> Instant {
        self.network.joined.now()
    }

    fn next_event(&self) -> Option<Instant> {
        self.deadlines
            .iter()
            .copied()
            .flatten()
            .chain(self.joined().next_event())
            .chain([self.next_sample])
            .min()
    }

    /// Lets the applications have what arrived and do what is due.
    fn settle(&mut self) {
        let now = self.now();
        if self.next_sample <= now {
            self.sample();
        }
        loop {
            while let Some(delivery) = self.network.poll_delivery() {
                match self.applications.get_mut(delivery.application) {
                    Some(application) => {
                        application.handle(&delivery, &mut self.network);
                        self.deadlines[delivery.application] = application.poll_timeout();
                    }
                    None => self.network.strange += 1,
                }
            }
            let applications = self.applications.iter_mut().zip(&mut self.deadlines);
            for (application, deadline) in applications.filter(|(_, at)| at.is_some_and(|at| at <= now)) {
                application.handle_timeout(&mut self.network);
                *deadline = application.poll_timeout();
            }
            if !self.network.has_delivery() {
                break;
            }
        }
    }

    fn sample(&mut self) {
        self.next_sample = self.now() + SAMPLE;
        let joined = &self.network.joined;
        for from in [A, B] {
            let wires = &joined.wires[from];
            for (path, series) in self.series[from].iter_mut().enumerate() {
                series.note(wires.seen(path).backlog(joined.now()), wires.sent[path]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
