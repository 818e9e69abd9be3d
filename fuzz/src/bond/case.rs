//! A run as one line of text: links, traffic, what happens meanwhile, how long. What `examples/bond.rs` replays,
//! `examples/hunt.rs` finds, and tables in `tests/bond/` are made of.

mod draft;
mod text;
mod verdict;

use std::collections::BTreeMap;
use std::time::Duration;

use mpt_proto::{Liveness, Policy, Probing};

use super::links::{config, links, sizes};
use super::traffic::protecting;
use super::{AppId, Bond, Figures, Memory, OUTER, PathSetup, Route, Setup, StreamSetup, TcpSetup, Traffic};
use crate::joined::{A, End};
use crate::tcp_model;

pub use draft::{Draft, Scope};
pub use text::OPTIONS;
pub use verdict::{Verdict, each};

/// Bytes of the packets of streams and flows.
pub const PACKET: usize = 1400;
/// Bytes of such a packet on the wire, through the tunnel.
const TUNNELLED: usize = PACKET + 8 + OUTER;
/// How often the delay is set anew while a path holds back what was sent.
const HOLD_STEP: Duration = Duration::from_millis(2);
/// Goodput is kept by this.
const TENTH: Duration = Duration::from_millis(100);
/// What left in this time before the end may still be under way: it is not counted as lost.
const SETTLING: Duration = Duration::from_millis(500);

/// One run: the same text, the same figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// In the grammar of `docs/links.md`.
    pub links: String,
    /// Of both ends.
    pub policy: Policy,
    /// Flows that are measured, each by the name of its TCP ([`TcpSetup::named`]).
    pub flows: Vec<String>,
    /// Where the flows that are measured begin.
    pub from: End,
    /// Flows the other way.
    pub opposite: Vec<String>,
    /// Whether a ping each 10 ms runs beside them.
    pub ping: bool,
    /// Mbit/s of streams of UDP.
    pub streams: Vec<f64>,
    /// Mbit/s of flows of CUBIC whose applications have no more to send.
    pub paced: Vec<f64>,
    /// What else runs beside them.
    pub traffic: Vec<Traffic>,
    /// Calls are protected: copies may be so many per cent of what is sent.
    pub protect: Option<u8>,
    /// Those alone that may take longer than this many milliseconds; with `protect`.
    pub deadline: Option<u16>,
    /// What happens, in the order of time.
    pub events: Vec<Happening>,
    /// How long the run is.
    pub time: Duration,
    /// What is left out of the figures; `None`: a third.
    pub warm: Option<Duration>,
    /// Of all that is random.
    pub seed: u64,
    /// Microseconds a second that the clock of end B gains.
    pub drift: i32,
    /// The flows run on the link of this path, beside the tunnel.
    pub plain: Option<usize>,
    /// All other paths are cut from the begin.
    pub only: Option<usize>,
}

/// Something that happens to a path, or to an end's clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Happening {
    /// Since the flows began.
    pub at: Duration,
    /// What it is.
    pub what: What,
    /// The path, or the end.
    pub path: usize,
    /// The end that the link leaves to which it happens; `None`: both.
    pub from: Option<End>,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    /// All packets vanish.
    Freeze,
    /// All packets vanish, and both ends see it.
    Cut,
    /// The path works again.
    Mend,
    /// Another rate, in Mbit/s.
    Rate(f64),
    /// Another delay.
    Delay(Duration),
    /// Nothing arrives for this time, then all of it at once.
    Hold(Duration),
    /// The clock of an end jumps ahead.
    Clock(Duration),
}

/// The figures of a run, in Mbit/s of inner packets, after what is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Of all flows that are measured.
    pub rate: f64,
    /// Of all flows the other way.
    pub opposite: f64,
    /// Of each flow that is measured.
    pub flows: Vec<f64>,
    /// Of all streams and paced flows.
    pub beside: f64,
    /// Of each direction of the traffic beside them.
    pub traffic: Vec<Figures>,
    /// One way, of a hundred pings 50 and 99.
    pub ping: [Duration; 2],
    /// Pings without an answer, as a share, and of a hundred answers 95.
    pub answered: (f64, Duration),
    /// Mbit/s that the links carry from where the flows begin, without headers of the links.
    pub on_links: f64,
    /// Packets of flows that arrived more often than they were sent.
    pub copies: u64,
    /// Packets that left with a copy beside them, of all packets that both ends sent since their beginning.
    pub copied: f64,
    /// Of all flows that are measured, over each tenth of a second since they began.
    tenths: Vec<f64>,
}

impl Outcome {
    /// Mbit/s of the flows within a time since they began, in whole tenths of a second.
    pub fn rate_within(&self, from: Duration, until: Duration) -> f64 {
        let index = |at: Duration| usize::try_from(at.as_micros() / TENTH.as_micros()).unwrap_or(usize::MAX);
        let tenths = self.tenths.iter().take(index(until)).skip(index(from));
        let (count, sum) = tenths.fold((0_u32, 0.0), |(count, sum), rate| (count + 1, sum + rate));
        sum / f64::from(count.max(1))
    }
}

/// The applications of a case, and what is still to happen.
#[derive(Debug)]
pub struct Running {
    /// When they began, since the beginning of the run.
    pub begun: Duration,
    /// Those that are measured.
    pub flows: Vec<AppId>,
    /// Those the other way.
    pub opposite: Vec<AppId>,
    /// Streams of UDP.
    pub streams: Vec<AppId>,
    /// Flows with little to send.
    pub paced: Vec<AppId>,
    /// What else runs.
    pub traffic: Vec<(AppId, Traffic)>,
    /// The ping.
    pub ping: Option<AppId>,
    /// By time, and by number among those of the same time.
    todo: BTreeMap<(Duration, usize), Action>,
    number: usize,
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Happening(Happening),
    Delay { from: End, path: usize, delay: Duration },
}

impl Case {
    /// One flow of CUBIC over links for 20 s.
    pub fn new(links: &str) -> Self {
        Self {
            links: links.into(),
            policy: Policy::Adaptive,
            flows: vec!["cubic".into()],
            from: A,
            opposite: Vec::new(),
            ping: false,
            streams: Vec::new(),
            paced: Vec::new(),
            traffic: Vec::new(),
            protect: None,
            deadline: None,
            events: Vec::new(),
            time: Duration::from_secs(20),
            warm: None,
            seed: 1,
            drift: 0,
            plain: None,
            only: None,
        }
    }

    /// Its paths, watched as on the Internet.
    ///
    /// # Panics
    /// The links are written wrong.
    pub fn paths(&self) -> Vec<PathSetup> {
        let mut paths = links(&self.links);
        let liveness = Liveness::Probe(Probing::INTERNET);
        paths.iter_mut().flat_map(|path| &mut path.config).for_each(|config| config.liveness = liveness);
        paths
    }

    /// The time that the figures are about, since the flows began.
    pub fn measured(&self) -> std::ops::Range<Duration> {
        self.warm.unwrap_or(self.time / 3)..self.time
    }

    /// The same with one path only.
    #[must_use]
    pub fn alone(&self, path: usize) -> Self {
        let mut case = self.clone();
        let is_clock = |it: &Happening| matches!(it.what, What::Clock(_));
        case.events.retain(|it| it.path == path || is_clock(it));
        Self { only: Some(path), ping: false, ..case }
    }

    /// The same with one path only, and with the flows beside the tunnel.
    #[must_use]
    pub fn plain(&self, path: usize) -> Self {
        Self { plain: Some(path), ..self.alone(path) }
    }

    /// The same with nothing but its ping.
    #[must_use]
    pub fn idle(&self) -> Self {
        let (none, no_names) = (Vec::new, Vec::new);
        Self {
            flows: no_names(),
            opposite: no_names(),
            streams: none(),
            paced: none(),
            traffic: Vec::new(),
            ping: true,
            ..self.clone()
        }
    }

    /// Runs it.
    ///
    /// # Panics
    /// The links are written wrong, or a name is no TCP's.
    pub fn run(&self) -> Outcome {
        self.with_bond(|bond| {
            let mut running = self.start(bond);
            running.advance(bond, running.begun + self.time);
            self.outcome(bond, &running)
        })
    }

    /// Calls with a fresh bond whose paths are up.
    pub fn with_bond<T>(&self, run: impl FnOnce(&mut Bond<'_>) -> T) -> T {
        let paths = self.paths();
        let mut memory = Memory::new(sizes(&paths), 0);
        let mut config = config(self.policy);
        config.classes.extend(self.protect.map(|share| protecting(share, self.deadline)));
        let setup = Setup { drift: self.drift, ..Setup::new(self.seed, &config, paths) };
        let mut bond = Bond::new(&setup, &mut memory);
        bond.bring_up();
        run(&mut bond)
    }

    /// Starts the applications.
    ///
    /// # Panics
    /// A name is no TCP's.
    pub fn start(&self, bond: &mut Bond<'_>) -> Running {
        for path in (0..bond.path_count()).filter(|path| self.only.is_some_and(|only| only != *path)) {
            bond.cut(path);
        }
        let named = |name: &String| TcpSetup::named(name).unwrap_or_else(|| panic!("no TCP is {name}"));
        let route = self.plain.map_or(Route::Tunnel, Route::Link);
        let (begun, from) = (bond.elapsed(), self.from);
        let flows = self.flows.iter().map(|name| bond.tcp(from, route, named(name))).collect();
        let opposite = self.opposite.iter().map(|name| bond.tcp(1 - from, route, named(name))).collect();
        let ping = self.ping.then(|| bond.ping(from, Duration::from_millis(10)));
        let streams = self.streams.iter().map(|megabits| {
            let setup = StreamSetup { bits_per_second: bits(*megabits), packet_len: PACKET };
            bond.stream(from, Route::Tunnel, setup)
        });
        let streams = streams.collect();
        let paced = self.paced.iter().map(|megabits| {
            let pace = Some(bits(*megabits) / 8);
            let config = tcp_model::Config {
                pace: pace.map(|bytes| bytes as f64 / PACKET as f64),
                ..tcp_model::Config::default()
            };
            bond.tcp(from, Route::Tunnel, TcpSetup { config, ..TcpSetup::default() })
        });
        let paced = paced.collect();
        let traffic = self.traffic.iter().map(|it| (bond.traffic(from, *it), *it)).collect();
        let todo = self.events.iter().enumerate();
        let todo = todo.map(|(number, it)| ((begun + it.at, number), Action::Happening(*it))).collect();
        Running { begun, flows, opposite, streams, paced, traffic, ping, todo, number: self.events.len() }
    }

    /// The figures of a bond that has run.
    pub fn outcome(&self, bond: &Bond<'_>, running: &Running) -> Outcome {
        let begun = running.begun;
        let measured = self.measured();
        let within = begun + measured.start..begun + measured.end;
        let rates =
            |apps: &[AppId]| -> f64 { apps.iter().map(|app| bond.flow(*app).meter().rate(&within)).sum() };
        let streams: f64 = running.streams.iter().map(|app| bond.stream_of(*app).meter().rate(&within)).sum();
        let tenths = (0..).map(|tenth| begun + TENTH * tenth).take_while(|at| *at + TENTH <= within.end);
        let of_tenth = |at: Duration| -> f64 {
            running.flows.iter().map(|app| bond.flow(*app).meter().rate(&(at..at + TENTH))).sum()
        };
        let ping = running.ping.map(|ping| bond.ping_of(ping).one_way());
        let lost =
            running.ping.map_or(0.0, |ping| bond.ping_of(ping).lost(&(within.start..within.end - SETTLING)));
        let round_trip = running.ping.map(|ping| bond.ping_of(ping).round_trip());
        let percentile = |hundredths| ping.map_or(Duration::ZERO, |it| it.percentile(hundredths, &within));
        Outcome {
            rate: rates(&running.flows),
            flows: running.flows.iter().map(|app| bond.flow(*app).meter().rate(&within)).collect(),
            opposite: rates(&running.opposite),
            beside: streams + rates(&running.paced),
            traffic: running.figures(bond, &within),
            ping: [percentile(50), percentile(99)],
            answered: (lost, round_trip.map_or(Duration::ZERO, |it| it.percentile(95, &within))),
            on_links: (0..bond.path_count())
                .map(|path| bond.path_series(self.from, path).rate(&within))
                .sum(),
            copies: running.flows.iter().map(|app| bond.flow(*app).copies()).sum(),
            copied: bond.copied(),
            tenths: tenths.map(of_tenth).collect(),
        }
    }
}

impl Running {
    /// What became of the traffic beside the flows, a line for each direction. What was sent in the last half second is left
    /// out.
    pub fn figures(&self, bond: &Bond<'_>, within: &std::ops::Range<Duration>) -> Vec<Figures> {
        let within = within.start..within.end.saturating_sub(SETTLING).max(within.start);
        self.traffic.iter().flat_map(|(app, traffic)| bond.figures(*app, *traffic, &within)).collect()
    }

    /// Lets time pass, and what is due happen.
    pub fn advance(&mut self, bond: &mut Bond<'_>, until: Duration) {
        while let Some(entry) = self.todo.first_entry().filter(|entry| entry.key().0 <= until) {
            let ((at, _), action) = entry.remove_entry();
            bond.run(at.saturating_sub(bond.elapsed()));
            match action {
                Action::Happening(it) => self.happen(bond, it),
                Action::Delay { from, path, delay } => {
                    bond.change_link_from(from, path, |link| link.delay = delay);
                }
            }
        }
        bond.run(until.saturating_sub(bond.elapsed()));
    }

    fn happen(&mut self, bond: &mut Bond<'_>, it: Happening) {
        let ends = || (0..2).filter(|end| it.from.is_none_or(|from| from == *end));
        match it.what {
            What::Freeze => ends().for_each(|from| bond.freeze_from(from, it.path)),
            What::Cut => bond.cut(it.path),
            What::Mend => bond.mend(it.path),
            What::Rate(megabits) => ends().for_each(|from| {
                bond.change_link_from(from, it.path, |link| {
                    if let Some(rate) = &mut link.rate {
                        rate.bits_per_second = bits(megabits);
                    }
                });
            }),
            What::Delay(delay) => {
                ends().for_each(|from| bond.change_link_from(from, it.path, |link| link.delay = delay));
            }
            What::Clock(by) => bond.set_clock_ahead(it.path, by),
            What::Hold(time) => ends().for_each(|from| self.hold(bond, from, it.path, time)),
        }
    }

    /// What is sent in this time arrives at its end.
    fn hold(&mut self, bond: &Bond<'_>, from: End, path: usize, time: Duration) {
        let (now, usual) = (bond.elapsed(), bond.link(from, path).config().delay);
        let mut passed = Duration::ZERO;
        while passed < time + HOLD_STEP {
            let delay = usual + time.saturating_sub(passed);
            self.todo.insert((now + passed, self.number), Action::Delay { from, path, delay });
            self.number += 1;
            passed += HOLD_STEP;
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
fn bits(megabits: f64) -> u64 {
    (megabits * 1e6) as u64
}

#[cfg(test)]
mod tests;
