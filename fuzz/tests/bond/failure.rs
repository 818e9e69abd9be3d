//! Links that go, and come back.

use std::time::Duration;

use mpt_fuzz::bond::{AppId, Bond, Meter, PathSetup, Route, StreamSetup};
use mpt_fuzz::joined::{A, B};
use mpt_proto::{Event, Liveness, PathState, Probing};

use crate::table::Table;
use crate::{EQUAL, MS, SECOND, Span, UNEQUAL, bonded, capacity, flow, links, ms};

/// What happens to a path.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Blow {
    /// Both ends see it go.
    Cut,
    /// Everything on it vanishes.
    Freeze,
    /// It freezes for 200 ms every two seconds, five times.
    Flap,
}

/// What is sent meanwhile.
#[derive(Debug, Clone, Copy)]
enum Load {
    Stream { megabits: u64 },
    Flow(&'static str),
}

/// What is sent, running.
enum Running {
    Stream(AppId),
    Flow(AppId),
}

impl Running {
    fn start(load: Load, bond: &mut Bond<'_>) -> Self {
        match load {
            Load::Flow(name) => Self::Flow(flow(bond, name)),
            Load::Stream { megabits } => {
                let setup = StreamSetup { bits_per_second: megabits * 1_000_000, packet_len: 1400 };
                Self::Stream(bond.stream(A, Route::Tunnel, setup))
            }
        }
    }

    fn meter<'b>(&self, bond: &'b Bond<'_>) -> &'b Meter {
        match self {
            Self::Stream(stream) => bond.stream_of(*stream).meter(),
            Self::Flow(flow) => bond.flow(*flow).meter(),
        }
    }

    fn copies(&self, bond: &Bond<'_>) -> u64 {
        match self {
            Self::Stream(stream) => bond.stream_of(*stream).copies(),
            Self::Flow(flow) => bond.flow(*flow).copies(),
        }
    }

    /// Packets of a stream that did not arrive; `None`: a flow sends them again.
    fn lost(&self, bond: &Bond<'_>, within: &Span) -> Option<u64> {
        match self {
            Self::Stream(stream) => Some(bond.stream_of(*stream).lost(within)),
            Self::Flow(_) => None,
        }
    }
}

/// Deals the blow, lets five seconds and more pass, mends, and says when it mended.
fn deal(bond: &mut Bond<'_>, blow: Blow, path: usize) -> Duration {
    match blow {
        Blow::Cut => bond.cut(path),
        Blow::Freeze => bond.freeze(path),
        Blow::Flap => {
            for _ in 0..5 {
                bond.freeze(path);
                bond.run(200 * MS);
                bond.mend(path);
                bond.run(SECOND * 9 / 5);
            }
            return bond.elapsed() - SECOND * 9 / 5;
        }
    }
    bond.run(5 * SECOND);
    bond.mend(path);
    bond.elapsed()
}

/// How long after it was mended a path carried half of what it had carried; `None`: not within eight seconds.
fn back(bond: &Bond<'_>, path: usize, before: f64, mended: Duration) -> Option<Duration> {
    let series = bond.path_series(A, path);
    let steps = (0..80).map(|step| mended + 100 * MS * step);
    steps
        .into_iter()
        .find(|at| series.rate(&(*at..*at + 100 * MS)) >= before / 2.0)
        .map(|at| at + 100 * MS - mended)
}

fn line(table: &mut Table, text: &str, load: Load, blow: Blow, path: usize) {
    let paths = links(text);
    let rest: Vec<PathSetup> =
        paths.iter().enumerate().filter(|(index, _)| *index != path).map(|(_, path)| *path).collect();
    bonded(paths.clone(), |bond| {
        let running = Running::start(load, bond);
        // Long enough for a flow to use all of the links.
        bond.run(if matches!(load, Load::Flow(_)) { 25 * SECOND } else { 10 * SECOND });
        let dealt = bond.elapsed();
        let before = bond.path_series(A, path).rate(&(dealt - 2 * SECOND..dealt));
        let mended = deal(bond, blow, path);
        bond.run(8 * SECOND);
        let meter = running.meter(bond);
        let gap = ms(meter.gaps().longest(&(dealt..mended + 3 * SECOND)));
        // Nobody can tell a path that fell silent from one that is only late, sooner than it would be late.
        let only_fast_path = blow != Blow::Cut && text == UNEQUAL && path == 0;
        let lost = running.lost(bond, &(dealt - SECOND..mended + SECOND));
        let offered = match load {
            Load::Stream { megabits } => (megabits as f64).min(capacity(bond, &rest)),
            Load::Flow(_) => capacity(bond, &rest),
        };
        let within = if blow == Blow::Flap { dealt..mended } else { dealt + SECOND..dealt + 5 * SECOND };
        let load_text = match load {
            Load::Stream { megabits } => format!("{megabits} Mbit/s"),
            Load::Flow(name) => name.to_string(),
        };
        let row = table
            .row(&format!("{blow:?} path {path} of {text}"))
            .text(&load_text)
            .value(before, 1)
            .at_most(gap, if only_fast_path { 150.0 } else { 100.0 }, 0);
        let row = match (lost, load) {
            // What the rest cannot carry is lost whoever sends it.
            (Some(lost), Load::Stream { megabits }) if megabits as f64 > offered => row.value(lost as f64, 0),
            (Some(lost), _) => row.at_most(lost as f64, 10.0, 0),
            (None, _) => row.text("-"),
        };
        let row = row.at_most(running.copies(bond) as f64, 0.0, 0).at_least(
            meter.rate(&within) / offered,
            if blow == Blow::Flap { 0.7 } else { 0.9 },
            3,
        );
        // A path that was hardly used need not be used again.
        let row = if before > 2.0 {
            row.within(back(bond, path, before, mended).map(ms), 2000.0, 0)
        } else {
            row.text("-")
        };
        row.end();
    });
}

const COLUMNS: [&str; 8] = ["", "load", "used Mbit/s", "gap ms", "lost", "copies", "of the rest", "back ms"];

#[test]
fn a_stream_hardly_feels_a_path_go() {
    let mut table = Table::new(
        "failure-stream.txt",
        "A UDP stream while a path goes for 5 s: what the path carried before, the longest gap, packets lost, rate from \
         1 s on as a share of what the rest can carry, time until the path carries half as much as before",
        &COLUMNS,
    );
    for blow in [Blow::Cut, Blow::Freeze, Blow::Flap] {
        for path in 0..3 {
            line(&mut table, UNEQUAL, Load::Stream { megabits: 60 }, blow, path);
        }
        // More than the fastest carries.
        line(&mut table, UNEQUAL, Load::Stream { megabits: 130 }, blow, 1);
        line(&mut table, EQUAL, Load::Stream { megabits: 250 }, blow, 0);
    }
    table.check();
}

#[test]
fn a_flow_hardly_feels_a_path_go() {
    let mut table = Table::new(
        "failure-flow.txt",
        "One TCP flow while a path goes for 5 s: what the path carried before, the longest gap, rate from 1 s on as a \
         share of what the rest can carry, time until the path carries half as much as before",
        &COLUMNS,
    );
    for blow in [Blow::Cut, Blow::Freeze, Blow::Flap] {
        for path in 0..3 {
            line(&mut table, UNEQUAL, Load::Flow("CUBIC"), blow, path);
        }
        line(&mut table, EQUAL, Load::Flow("CUBIC"), blow, 0);
    }
    line(&mut table, UNEQUAL, Load::Flow("BBR"), Blow::Freeze, 0);
    line(&mut table, EQUAL, Load::Flow("BBR"), Blow::Freeze, 0);
    table.check();
}

#[test]
fn a_path_that_went_while_nothing_was_sent_is_left_by_what_is_sent_then() {
    let mut table = Table::new(
        "failure-silent.txt",
        "A path of an idle bond with the Internet's probes freezes; 100 ms later a ping is sent each 100 ms: time in \
         ms until no packet takes the path, and pings lost in ten seconds",
        &["", "left after", "lost"],
    );
    for (path, idle) in [(0, 40), (0, 45), (0, 50), (1, 40), (1, 45), (2, 40), (2, 45)] {
        let mut paths = links(UNEQUAL);
        for path in &mut paths {
            path.config.iter_mut().for_each(|config| config.liveness = Liveness::Probe(Probing::INTERNET));
        }
        bonded(paths, |bond| {
            bond.run(idle * SECOND);
            bond.freeze(path);
            bond.run(100 * MS);
            let begun = bond.elapsed();
            let ping = bond.ping(A, 100 * MS);
            let mut left = None;
            while bond.elapsed() < begun + 10 * SECOND {
                bond.run(10 * MS);
                let is_down = |(_, event): &(Duration, &Event)| matches!(event, Event::Path { path: id, state: PathState::Down(_) } if id.index() == path);
                if bond.path_model(A, path).suspect
                    || bond.events(A).any(|event| event.0 >= begun && is_down(&event))
                {
                    left = left.or(Some(bond.elapsed() - begun));
                }
            }
            bond.stop(ping);
            bond.run(SECOND);
            let ping = bond.ping_of(ping);
            let came = ping.one_way().count(&(begun..bond.elapsed()));
            table
                .row(&format!("path {path} of {UNEQUAL}, after {idle} s"))
                .within(left.map(ms), 1000.0, 0)
                .at_most(ping.sent() as f64 - came as f64, 0.0, 0)
                .end();
        });
    }
    table.check();
}

#[test]
fn a_path_that_goes_while_nothing_is_sent_is_missed_within_a_second() {
    let mut table = Table::new(
        "failure-idle.txt",
        "A path of an idle bond with the lab's probes freezes: time in ms until each end says that it is down, and up again once mended",
        &["", "down here", "down there", "up here", "up there"],
    );
    for path in 0..3 {
        // With those of the Internet an idle tunnel asks each 15 s, so that radios sleep; it is no sooner told.
        let mut paths = links(UNEQUAL);
        for path in &mut paths {
            path.config.iter_mut().for_each(|config| config.liveness = Liveness::Probe(Probing::LAB));
        }
        bonded(paths, |bond| {
            bond.run(20 * SECOND);
            let frozen = bond.elapsed();
            bond.freeze(path);
            bond.run(20 * SECOND);
            let mended = bond.elapsed();
            bond.mend(path);
            bond.run(20 * SECOND);
            let first = |end, since: Duration, up: bool| {
                let change = bond.events(end).find(|(at, event)| {
                    let is_it = matches!(event, Event::Path { path: id, state }
                        if id.index() == path && (*state == PathState::Up) == up);
                    *at >= since && is_it
                });
                change.map(|(at, _)| ms(at - since))
            };
            table
                .row(&format!("path {path} of {UNEQUAL}"))
                .within(first(A, frozen, false), 1000.0, 0)
                .within(first(B, frozen, false), 1000.0, 0)
                .within(first(A, mended, true), 2000.0, 0)
                .within(first(B, mended, true), 2000.0, 0)
                .end();
        });
    }
    table.check();
}
