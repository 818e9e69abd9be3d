//! What a run is compared with: the best of its links alone, and the sum of what they carry.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Case, Outcome, PACKET, TUNNELLED, What, bits};
use crate::bond::{OUTER, Route, StreamSetup};
use crate::joined::End;
use crate::link::LinkConfig;

/// Links are flooded so long before it counts: queues are full then, and buckets empty.
const FILLING: Duration = Duration::from_secs(5);

/// A run and what it is compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The run.
    pub outcome: Outcome,
    /// Mbit/s of the same over the best link alone, through the tunnel and without it.
    pub alone: f64,
    /// Likewise without the tunnel.
    pub plain: f64,
    /// Mbit/s of inner packets that all links deliver at most.
    pub sum: f64,
}

impl Verdict {
    /// Judges a case, given what runs one and perhaps remembers. References that cannot be better than what was found
    /// are left out.
    pub fn of(case: &Case, run: &dyn Fn(&Case) -> Outcome) -> Self {
        Self::above(case, run, |_| 0.0)
    }

    /// As [`of`](Self::of), without references that cannot be better than the run itself: if even the largest link
    /// carries no more than that, there are none, and [`of_best`](Self::of_best) is one.
    pub fn in_short(case: &Case, run: &dyn Fn(&Case) -> Outcome) -> Self {
        Self::above(case, run, |outcome| outcome.rate)
    }

    fn above(case: &Case, run: &dyn Fn(&Case) -> Outcome, least: impl Fn(&Outcome) -> f64) -> Self {
        let outcome = run(case);
        let least = least(&outcome);
        let mut possible: Vec<(usize, f64)> = case.possible().into_iter().enumerate().collect();
        let sum = possible.iter().map(|(_, rate)| rate).sum::<f64>();
        let sum = (sum - case.beside()).max(0.0);
        possible.sort_by(|a, b| b.1.total_cmp(&a.1));
        let (mut alone, mut plain): (f64, f64) = (0.0, 0.0);
        let without_headers = TUNNELLED as f64 / (PACKET + OUTER) as f64;
        for (path, possible) in possible {
            if possible * without_headers > alone.max(plain).max(least) {
                plain = plain.max(run(&case.plain(path)).rate);
                alone = alone.max(run(&case.alone(path)).rate);
            }
        }
        Self { outcome, alone, plain, sum }
    }

    /// The run as a part of the better of both references, at most one if it was clear without them.
    pub fn of_best(&self) -> f64 {
        match self.alone.max(self.plain) {
            0.0 => 1.0,
            best => self.outcome.rate / best,
        }
    }

    /// The run as a part of the sum.
    pub fn of_sum(&self) -> f64 {
        self.outcome.rate / self.sum.max(1e-9)
    }
}

impl Case {
    /// Mbit/s of inner packets that each link delivers through a tunnel at most, in the time that is measured and in
    /// the direction of the flows: reckoned, or where the link varies or something happens, found by sending more
    /// than it carries.
    pub fn possible(&self) -> Vec<f64> {
        let paths = self.paths();
        let links: Vec<LinkConfig> = paths.iter().map(|path| path.link[self.from]).collect();
        let varies = |link: &LinkConfig| link.trace.is_some() || link.dip.is_some() || link.policer.is_some();
        let mut rates: Vec<f64> = if self.events.is_empty() && !links.iter().any(varies) {
            links
                .iter()
                .map(|link| link.delivered() as f64 * PACKET as f64 / TUNNELLED as f64 / 1e6)
                .collect()
        } else {
            self.flooded(&links)
        };
        for (rate, path) in rates.iter_mut().zip(&paths) {
            if path.shares.is_some() {
                *rate = 0.0;
            }
        }
        rates
    }

    /// Mbit/s that the traffic beside the flows has.
    fn beside(&self) -> f64 {
        let traffic = self.traffic.iter().map(|it| it.rate()).sum::<f64>();
        self.streams.iter().chain(&self.paced).sum::<f64>() + traffic
    }

    fn flooded(&self, links: &[LinkConfig]) -> Vec<f64> {
        let idle = Self { ping: false, ..self.idle() };
        let offered = |path: usize, link: &LinkConfig| {
            let later = self.events.iter().filter(|it| it.path == path).filter_map(|it| match it.what {
                What::Rate(megabits) => Some(bits(megabits)),
                _ => None,
            });
            let now = link.rate.map_or(0, |rate| rate.bits_per_second);
            let most = later.chain([now]).max().unwrap_or(0);
            most * if link.trace.is_some() { 3 } else { 1 } * 6 / 5
        };
        idle.with_bond(|bond| {
            let mut running = idle.start(bond);
            let measured = self.measured();
            running.advance(bond, running.begun + measured.start.saturating_sub(FILLING));
            let from: End = self.from;
            let streams: Vec<_> = links
                .iter()
                .enumerate()
                .map(|(path, link)| {
                    let setup = StreamSetup { bits_per_second: offered(path, link), packet_len: PACKET };
                    bond.stream(from, Route::Link(path), setup)
                })
                .collect();
            running.advance(bond, running.begun + self.time);
            let within = running.begun + measured.start..running.begun + measured.end;
            let share = (PACKET + OUTER) as f64 / TUNNELLED as f64;
            streams.iter().map(|it| bond.stream_of(*it).meter().rate(&within) * share).collect()
        })
    }
}

/// Calls with each item on some threads. The answers are in the order of the items.
///
/// # Panics
/// A call panics.
pub fn each<T: Sync, R: Send>(items: &[T], threads: usize, call: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let answers: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    *answers[index].lock().expect("no thread panics") = Some(call(item));
                }
            });
        }
    });
    let answer = |it: Mutex<Option<R>>| it.into_inner().expect("no thread panics").expect("all were called");
    answers.into_iter().map(answer).collect()
}
