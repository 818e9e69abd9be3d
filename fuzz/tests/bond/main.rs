//! What a bond makes of its links: tables in `tests/snapshots/bond/`, each figure beside the bar it is held to.
//!
//! A bar that is missed fails the test, unless `known.rs` lists it; one that is listed and met does as well.
//!
//! Virtual time and fixed seeds: the figures are exact, and a change in behaviour is a change of a table. After one
//! that is meant: `MPT_BLESS=1 cargo test -p mpt-fuzz --test bond`. To look into a line of a table:
//! `cargo run --release -p mpt-fuzz --example bond -- --links "..."`.

mod beside;
mod cases;
mod change;
mod equal;
mod failure;
mod home;
mod hunted;
mod hurt;
mod known;
mod latency;
mod many;
mod mqvpn;
mod policed;
mod policies;
mod random;
mod table;
mod thin;
mod traffic;
mod unequal;
mod wander;
mod worse;

use std::ops::Range;
use std::time::Duration;

use mpt_fuzz::bond::case::Case;
use mpt_fuzz::bond::links::{config, sizes, sum_delivered};
use mpt_fuzz::bond::{AppId, Bond, Memory, PathSetup, Route, Setup, TcpSetup};
use mpt_fuzz::joined::A;
use mpt_fuzz::tcp_model;
use mpt_proto::{Liveness, Policy, Probing};

/// What the tables are about.
const SUBJECT: Subject = Subject { policy: Policy::Adaptive, liveness: Liveness::Probe(Probing::INTERNET) };

struct Subject {
    policy: Policy,
    liveness: Liveness,
}

const SEED: u64 = 1;
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Three links that have nothing in common: a line, a Wi-Fi, a mobile network.
const UNEQUAL: &str = "100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%";
/// The delay of the fastest of them.
const UNEQUAL_BASE: Duration = Duration::from_millis(5);
const EQUAL: &str = "100mbit 5ms, 100mbit 5ms, 100mbit 5ms, 100mbit 5ms";

type Span = Range<Duration>;

/// Paths from text, watched as the subject says.
fn links(text: &str) -> Vec<PathSetup> {
    let mut paths = mpt_fuzz::bond::links::links(text);
    for path in &mut paths {
        path.config.iter_mut().for_each(|config| config.liveness = SUBJECT.liveness);
    }
    paths
}

/// A flow of this congestion control over these links, from 20 s to 60 s: what it has when all is known.
fn known_links(links: &str, congestion: &str) -> Case {
    Case {
        flows: vec![congestion.to_lowercase()],
        time: 60 * SECOND,
        warm: Some(20 * SECOND),
        ..Case::new(links)
    }
}

/// A bond of the subject over these paths, with all of them up.
fn bonded<T>(paths: Vec<PathSetup>, run: impl FnOnce(&mut Bond<'_>) -> T) -> T {
    bonded_with(paths, |_| (), run)
}

/// As [`bonded`], after a change of the setup.
fn bonded_with<T>(
    paths: Vec<PathSetup>,
    change: impl FnOnce(&mut Setup),
    run: impl FnOnce(&mut Bond<'_>) -> T,
) -> T {
    let mut memory = Memory::new(sizes(&paths), 0);
    let mut setup = Setup::new(SEED, &config(SUBJECT.policy), paths);
    change(&mut setup);
    let mut bond = Bond::new(&setup, &mut memory);
    bond.bring_up();
    run(&mut bond)
}

/// A TCP by its name in the tables.
fn tcp(name: &str) -> TcpSetup {
    let known = match name {
        "QUIC in UDP" => TcpSetup::named("quic-udp"),
        "CUBIC with ECN" => TcpSetup::named("ecn"),
        other => TcpSetup::named(&other.to_lowercase()),
    };
    known.unwrap_or_else(|| panic!("no TCP is called {name}"))
}

/// The TCP of a name, for so many segments.
fn transfer(name: &str, segments: u64) -> TcpSetup {
    let setup = tcp(name);
    TcpSetup { config: tcp_model::Config { limit: Some(segments), ..setup.config }, ..setup }
}

/// Mbit/s of inner packets that links deliver at most.
fn capacity(bond: &Bond<'_>, paths: &[PathSetup]) -> f64 {
    bond.capacity(sum_delivered(paths), TcpSetup::default().packet_len) / 1e6
}

/// Starts a flow through the tunnel.
fn flow(bond: &mut Bond<'_>, name: &str) -> AppId {
    bond.tcp(A, Route::Tunnel, tcp(name))
}

/// How long after `begun` a flow first had nine tenths of `megabits` for a second; `None`: never.
fn settled(bond: &Bond<'_>, flow: AppId, begun: Duration, megabits: f64) -> Option<Duration> {
    let meter = bond.flow(flow).meter();
    let starts = (0..).map(|step| begun + 100 * MS * step).take_while(|at| *at + SECOND <= bond.elapsed());
    let mut starts = starts.filter(|at| meter.rate(&(*at..*at + SECOND)) >= 0.9 * megabits);
    starts.next().map(|at| at - begun)
}

/// The fullest of a bond's queues, 95 % of the time.
fn queue(bond: &Bond<'_>, within: &Span) -> Duration {
    let queues = (0..bond.path_count()).map(|path| bond.path_series(A, path).backlog(95, within));
    queues.max().unwrap_or_default()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
