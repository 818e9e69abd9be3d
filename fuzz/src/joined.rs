//! Two connections, the links between them and the time: what [`pair`](crate::pair) and [`bond`](crate::bond)
//! have in common.
//!
//! Both ends are driven by the contract of [`Connection`]: one mutation, then drain.

pub(crate) mod memory;

use std::time::Duration;

use mpt_proto::{
    CONTROL_MAX, Config, Connection, Departure, Ecn, EncapsulateError, Event, Instant, PathConfig, PathId,
    PathState, Received,
};

use crate::clock::Clock;
use crate::link::{Link, LinkConfig};
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
pub(crate) const START: Instant = Instant::from_micros(1_000_000);
/// Whose packets those are, on a link, that are not of a path of the tunnel.
pub(crate) const OTHER: u8 = u8::MAX;

/// A path as both ends configure it, with what lies between.
#[derive(Debug, Clone, Copy, Default)]
pub struct PathSetup {
    /// At each end.
    pub config: [PathConfig; 2],
    /// From each end to the other.
    pub link: [LinkConfig; 2],
    /// The path uses the links of the path with this number, and its own carry nothing: what the two have in front of
    /// them is one bottleneck, which neither end knows.
    pub shares: Option<usize>,
}

impl PathSetup {
    /// The same in both directions.
    pub const fn symmetric(config: PathConfig, link: LinkConfig) -> Self {
        Self { config: [config; 2], link: [link; 2], shares: None }
    }
}

/// Takes what comes out.
pub(crate) trait Inbox {
    /// An inner packet came out of the tunnel at an end.
    fn take(&mut self, end: End, packet: &[u8], now: Instant);

    /// A packet that shared a link with the tunnel arrived at an end.
    fn take_other(&mut self, _end: End, _packet: &[u8], _now: Instant) {}
}

/// The links that leave an end.
#[derive(Debug)]
pub(crate) struct Wires {
    /// One for each path; those of paths that share another's are not used.
    links: Vec<Link>,
    /// Which of them each path uses.
    used: Vec<usize>,
    /// Bytes of datagrams sent on each path, and the longest of them.
    pub(crate) sent: Vec<u64>,
    pub(crate) longest: usize,
}

impl Wires {
    /// With the seed of each link, and of what it has in common with its other direction.
    fn new(from: End, paths: &[PathSetup], seeds: &[u64], weather: &[u64]) -> Self {
        let seeds = seeds.iter().zip(weather);
        let link = |(path, (seed, weather)): (&PathSetup, (&u64, &u64))| {
            Link::new(path.link[from], *seed).with_weather(*weather)
        };
        Self {
            links: paths.iter().zip(seeds).map(link).collect(),
            used: paths.iter().enumerate().map(|(index, path)| path.shares.unwrap_or(index)).collect(),
            sent: vec![0; paths.len()],
            longest: 0,
        }
    }

    /// The link that a path uses.
    pub(crate) fn link(&mut self, path: usize) -> &mut Link {
        &mut self.links[self.used[path]]
    }

    /// The same, to look at.
    pub(crate) fn seen(&self, path: usize) -> &Link {
        &self.links[self.used[path]]
    }

    fn send(&mut self, departure: &Departure<'_>, now: Instant) {
        let path = departure.path.index();
        self.sent[path] += departure.datagram.len() as u64;
        self.longest = self.longest.max(departure.datagram.len());
        let owner = u8::try_from(path).unwrap_or(OTHER);
        self.link(path).send_for(owner, departure.datagram, departure.ecn, now);
    }
}

/// Two connections and the links between them.
#[derive(Debug)]
pub(crate) struct Joined<'m> {
    pub(crate) ends: [Connection<'m>; 2],
    configs: [Config; 2],
    memory: std::slice::IterMut<'m, memory::Life>,
    setups: Vec<PathSetup>,
    /// The id that each end gives each path.
    pub(crate) ids: Vec<[PathId; 2]>,
    /// From each end.
    pub(crate) wires: [Wires; 2],
    /// What each end believes the time to be.
    clocks: [Clock; 2],
    now: Instant,
    pub(crate) rng: Rng,
    /// Datagrams that arrived at each end.
    pub(crate) arrived: [u64; 2],
    pub(crate) events: [Vec<(Instant, Event)>; 2],
    events_now: u32,
    /// Where connections write control messages and reports.
    control: Box<[u8; CONTROL_MAX]>,
}

impl<'m> Joined<'m> {
    /// Two fresh connections, each with its own configuration (whose seeds are replaced, so that they
    /// differ), joined by `paths`.
    ///
    /// # Panics
    /// A path's configuration is invalid, or there are more than 16.
    pub(crate) fn new(
        seed: u64,
        configs: [Config; 2],
        paths: &[PathSetup],
        clocks: [Clock; 2],
        memory: &'m mut Memory,
        inbox: &mut impl Inbox,
    ) -> Self {
        let mut rng = Rng::new(seed);
        let mut memory = memory.lives();
        let [a, b] = configs;
        let configs = [Config { seed: rng.next(), ..a }, Config { seed: rng.next(), ..b }];
        let ends = [A, B].map(|end| {
            let storage = memory::take(&mut memory);
            Connection::new(configs[end].clone(), storage, clocks[end].local(START))
        });
        let seeds = [A, B].map(|_| paths.iter().map(|_| rng.next()).collect::<Vec<_>>());
        let wires = [A, B].map(|from| Wires::new(from, paths, &seeds[from], &seeds[A]));
        let mut joined = Self {
            ends,
            configs,
            memory,
            setups: paths.to_vec(),
            ids: Vec::new(),
            wires,
            clocks,
            now: START,
            rng,
            arrived: [0; 2],
            events: Default::default(),
            events_now: 0,
            control: Box::new([0; CONTROL_MAX]),
        };
        for path in paths {
            let ids = [A, B].map(|end| {
                let now = joined.local(end);
                joined.ends[end].add_path(path.config[end], now).expect("a sound path")
            });
            joined.ids.push(ids);
            joined.drain(A, inbox);
            joined.drain(B, inbox);
        }
        joined
    }

    pub(crate) const fn now(&self) -> Instant {
        self.now
    }

    /// What an end believes the time to be.
    fn local(&self, end: End) -> Instant {
        self.clocks[end].local(self.now)
    }

    /// The id that an end gives a path.
    pub(crate) fn id(&self, end: End, path: usize) -> PathId {
        self.ids[path][end]
    }

    /// The state of a path at both ends.
    pub(crate) fn states(&self, path: usize) -> [PathState; 2] {
        [A, B].map(|end| self.ends[end].path_state(self.id(end, path)).expect("no path is removed"))
    }

    /// Whether all paths are up at both ends.
    pub(crate) fn all_up(&self) -> bool {
        (0..self.ids.len()).all(|path| self.states(path) == [PathState::Up; 2])
    }

    /// Cuts a path in both directions, silently, or mends it.
    pub(crate) fn set_clock_ahead(&mut self, end: End, by: Duration) {
        self.clocks[end] = self.clocks[end].ahead(by);
    }

    pub(crate) fn set_cut(&mut self, path: usize, is_cut: bool) {
        for from in [A, B] {
            self.wires[from].link(path).set_cut(is_cut);
        }
    }

    /// Calls one of an end's connection that changes it, with that end's time, and drains it.
    pub(crate) fn mutate(
        &mut self,
        end: End,
        inbox: &mut impl Inbox,
        change: impl FnOnce(&mut Connection<'m>, Instant),
    ) {
        let now = self.local(end);
        change(&mut self.ends[end], now);
        self.drain(end, inbox);
    }

    /// An end dies and starts anew at once, as another process that knows nothing.
    ///
    /// # Panics
    /// The [`Memory`] has no life left.
    pub(crate) fn restart(&mut self, end: End, inbox: &mut impl Inbox) {
        let config = Config { seed: self.rng.next(), ..self.configs[end].clone() };
        let now = self.local(end);
        self.ends[end] = Connection::new(config, memory::take(&mut self.memory), now);
        for path in 0..self.setups.len() {
            let config = self.setups[path].config[end];
            self.ids[path][end] = self.ends[end].add_path(config, now).expect("a sound path");
        }
        self.drain(end, inbox);
    }

    /// Gives an end a packet to send, now; before it must be room for the headers.
    pub(crate) fn encapsulate(
        &mut self,
        from: End,
        buffer: &mut [u8],
        inbox: &mut impl Inbox,
    ) -> Result<(), EncapsulateError> {
        let now = self.local(from);
        let taken = match self.ends[from].encapsulate(buffer, now) {
            Ok(mut departures) => {
                while let Some(departure) = departures.next() {
                    self.wires[from].send(&departure, self.now);
                }
                Ok(())
            }
            Err(error) => Err(error),
        };
        self.drain(from, inbox);
        taken
    }

    /// Lets a datagram arrive at an end.
    pub(crate) fn inject(
        &mut self,
        to: End,
        path: usize,
        mut datagram: Vec<u8>,
        ecn: Ecn,
        inbox: &mut impl Inbox,
    ) {
        self.arrived[to] += 1;
        let (id, now) = (self.id(to, path), self.local(to));
        let received = self.ends[to].decapsulate(id, &mut datagram, ecn, now).expect("no path is removed");
        if let Received::Packet(packet) = received {
            inbox.take(to, packet, self.now);
        }
        self.drain(to, inbox);
    }

    /// Sets the time to that of the next event.
    pub(crate) fn advance(&mut self, to: Instant) {
        if to > self.now {
            self.now = to;
            self.events_now = 0;
        }
        self.events_now += 1;
        assert!(self.events_now < MOST_EVENTS_AT_ONCE, "time stands still at {:?}", self.now);
    }

    /// When something happens next.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        let arrivals = self.wires.iter().flat_map(|wires| &wires.links).filter_map(Link::poll_timeout);
        let deadlines = [A, B].into_iter().filter_map(|end| self.deadline(end));
        arrivals.chain(deadlines).min()
    }

    /// Does all that is due now, once.
    pub(crate) fn step(&mut self, inbox: &mut impl Inbox) {
        for from in [A, B] {
            for link in 0..self.wires[from].links.len() {
                while let Some(arrival) = self.wires[from].links[link].receive(self.now) {
                    if arrival.owner == OTHER {
                        inbox.take_other(1 - from, &arrival.datagram, self.now);
                    } else {
                        let (path, ecn) = (usize::from(arrival.owner), arrival.ecn());
                        self.inject(1 - from, path, arrival.datagram, ecn, inbox);
                    }
                }
            }
        }
        for end in [A, B] {
            if self.deadline(end).is_some_and(|deadline| deadline <= self.now) {
                self.mutate(end, inbox, Connection::handle_timeout);
            }
        }
    }

    /// How long ago the run began.
    pub(crate) const fn elapsed(&self) -> Duration {
        self.now.since(START)
    }

    fn deadline(&self, end: End) -> Option<Instant> {
        self.ends[end].poll_timeout().map(|local| self.clocks[end].time(local))
    }

    fn drain(&mut self, end: End, inbox: &mut impl Inbox) {
        let connection = &mut self.ends[end];
        while let Some(packet) = connection.poll_packet() {
            inbox.take(end, packet, self.now);
        }
        while let Some(departure) = connection.poll_transmit(&mut self.control) {
            self.wires[end].send(&departure, self.now);
        }
        while let Some(event) = connection.poll_event() {
            self.events[end].push((self.now, event));
        }
    }
}
