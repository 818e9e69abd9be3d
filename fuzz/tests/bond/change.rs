//! Links that change, that others use too, that differ by direction; clocks that do not agree.

use std::time::Duration;

use mpt_fuzz::bond::links::link;
use mpt_fuzz::bond::{Bond, PathSetup, Route, StreamSetup};
use mpt_fuzz::joined::{A, B};
use mpt_fuzz::link::Loss;
use mpt_fuzz::rng::Rng;

use crate::table::Table;
use crate::{EQUAL, MS, SECOND, UNEQUAL, bonded, bonded_with, capacity, flow, links, ms, queue, tcp};

const COLUMNS: [&str; 8] = ["", "flow", "Mbit/s", "of sum", "gap ms", "queue ms", "timeouts", "copies"];

/// A line: a flow while `change` is called every 100 ms with the number of the call; what the links could carry is
/// summed up on the way.
fn changing(
    table: &mut Table,
    what: &str,
    text: &str,
    name: &str,
    bar: f64,
    mut change: impl FnMut(&mut Bond<'_>, u32),
) {
    bonded(links(text), |bond| {
        let begun = bond.elapsed();
        let flow = flow(bond, name);
        let (warm, time) = (100, 450);
        let mut bits = 0;
        for step in 0..time {
            change(bond, step);
            if step >= warm {
                let links = (0..bond.path_count()).map(|path| bond.link(A, path));
                bits += links.map(|link| link.config().delivered()).sum::<u64>();
            }
            bond.run(100 * MS);
        }
        let within = begun + 100 * MS * warm..bond.elapsed();
        let possible = bond.capacity(bits / u64::from(time - warm), 1400) / 1e6;
        let queue = ms(queue(bond, &within));
        let flow = bond.flow(flow);
        let rate = flow.meter().rate(&within);
        table
            .row(what)
            .text(name)
            .value(rate, 1)
            .at_least(rate / possible, bar, 3)
            .value(ms(flow.meter().gaps().longest(&within)), 0)
            .value(queue, 1)
            .value(flow.sender().stats().timeouts as f64, 0)
            .at_most(flow.copies() as f64, 0.0, 0)
            .end();
    });
}

fn set_rate(bond: &mut Bond<'_>, path: usize, bits_per_second: u64) {
    bond.change_link(path, |link| link.rate.as_mut().expect("a rate").bits_per_second = bits_per_second);
}

/// A path's rate falls to a tenth for five seconds of each ten.
fn alternating(path: usize, bits_per_second: u64) -> impl FnMut(&mut Bond<'_>, u32) {
    move |bond, step| {
        if step % 50 == 0 {
            set_rate(bond, path, if step % 100 == 0 { bits_per_second } else { bits_per_second / 10 });
        }
    }
}

/// A Wi-Fi of 100 Mbit/s that falls to 20 for 300 ms now and then, and an LTE that wanders from 10 to 60.
fn wandering() -> impl FnMut(&mut Bond<'_>, u32) {
    let mut rng = Rng::new(5);
    let (mut low_until, mut mobile) = (0, 30_000_000);
    move |bond, step| {
        if step >= low_until && rng.chance(50_000) {
            low_until = step + 3;
        }
        set_rate(bond, 0, if step < low_until { 20_000_000 } else { 100_000_000 });
        mobile = (mobile + rng.below(8_000_001) - 4_000_000).clamp(10_000_000, 60_000_000);
        set_rate(bond, 1, mobile);
    }
}

#[test]
fn a_flow_follows_rates_that_change() {
    let mut table = Table::new(
        "change.txt",
        "One flow while rates change, as a share of what the links could carry meanwhile; from 10 s to 45 s",
        &COLUMNS,
    );
    for (name, bars) in [("CUBIC", [0.75, 0.85, 0.75, 0.75]), ("BBR", [0.75, 0.85, 0.75, 0.80])] {
        let what = "100 <> 10 Mbit/s each 5 s, of 100/50/20";
        changing(&mut table, what, UNEQUAL, name, bars[0], alternating(0, 100_000_000));
        let what = "50 <> 5 Mbit/s each 5 s, of 100/50/20";
        changing(&mut table, what, UNEQUAL, name, bars[1], alternating(1, 50_000_000));
        let what = "100 <> 10 Mbit/s each 5 s, of 4 x 100";
        changing(&mut table, what, EQUAL, name, bars[2], alternating(0, 100_000_000));
        let text = "100mbit 5ms, 30mbit 30ms, 20mbit 80ms 1%";
        changing(&mut table, "Wi-Fi with dips, LTE that wanders", text, name, bars[3], wandering());
    }
    table.check();
}

#[test]
fn a_bond_shares_a_link_with_others() {
    let mut table = Table::new(
        "sharing.txt",
        "One CUBIC flow over a bond while others use the link of its first path; its fair share is half of that link and all \
         of the others; from 15 s to 45 s",
        &["", "Mbit/s", "of a fair share", "beside", "beside, of the link", "both, of sum", "queue ms"],
    );
    let stream = |bond: &mut Bond<'_>| {
        let setup = StreamSetup { bits_per_second: 50_000_000, packet_len: 1400 };
        bond.stream(A, Route::Link(0), setup)
    };
    // A bond that watches delays yields to what fills queues, but must not yield all, nor for it the other links.
    for (text, beside, mine, other) in [
        (UNEQUAL, "CUBIC", 0.55, 0.2),
        (UNEQUAL, "BBR", 0.55, 0.2),
        (UNEQUAL, "50 Mbit/s", 0.8, 0.45),
        (EQUAL, "CUBIC", 0.8, 0.2),
        ("50mbit 10ms", "CUBIC", 0.2, 0.2),
        ("50mbit 10ms", "BBR", 0.2, 0.2),
    ] {
        let paths = links(text);
        bonded(paths.clone(), |bond| {
            let begun = bond.elapsed();
            let inside = flow(bond, "CUBIC");
            let is_stream = beside.ends_with("bit/s");
            let guest = if is_stream { stream(bond) } else { bond.tcp(A, Route::Link(0), tcp(beside)) };
            bond.run(45 * SECOND);
            let within = begun + 15 * SECOND..bond.elapsed();
            let meter = if is_stream { bond.stream_of(guest).meter() } else { bond.flow(guest).meter() };
            let (rate, beside_rate) = (bond.flow(inside).meter().rate(&within), meter.rate(&within));
            let link = capacity(bond, &paths[..1]);
            table
                .row(&format!("{beside} on path 0 of {text}"))
                .value(rate, 1)
                .at_least(rate / (capacity(bond, &paths) - link / 2.0), mine, 3)
                .value(beside_rate, 1)
                .at_least(beside_rate / link, other, 2)
                .at_least((rate + beside_rate) / capacity(bond, &paths), 0.9, 3)
                .value(ms(queue(bond, &within)), 1)
                .end();
        });
    }
    table.check();
}

/// A line: a flow over paths whose directions differ, or whose ends' clocks do.
fn odd(table: &mut Table, what: &str, name: &str, paths: &[PathSetup], drift: i32, bar: f64) {
    bonded_with(
        paths.to_vec(),
        |setup| setup.drift = drift,
        |bond| {
            let begun = bond.elapsed();
            let flow = flow(bond, name);
            let ping = bond.ping(A, 10 * MS);
            bond.run(60 * SECOND);
            let within = begun + 30 * SECOND..bond.elapsed();
            let queue = ms(queue(bond, &within));
            let p99 = ms(bond.ping_of(ping).one_way().percentile(99, &within));
            let flow = bond.flow(flow);
            let rate = flow.meter().rate(&within);
            table
                .row(what)
                .text(name)
                .value(rate, 1)
                .at_least(rate / capacity(bond, paths), bar, 3)
                .value(ms(flow.meter().gaps().longest(&within)), 0)
                .value(queue, 1)
                .value(p99, 1)
                .at_most(flow.copies() as f64, 0.0, 0)
                .end();
        },
    );
}

#[test]
fn a_flow_does_not_mind_directions_that_differ_or_clocks_that_drift() {
    let mut table = Table::new(
        "odd.txt",
        "One flow over unequal links, each odd in its way; from 30 s to 60 s",
        &["", "flow", "Mbit/s", "of sum", "gap ms", "queue ms", "ping 99 % ms", "copies"],
    );
    let back = |change: &dyn Fn(usize, &mut PathSetup)| {
        let mut paths = links(UNEQUAL);
        paths.iter_mut().enumerate().for_each(|(index, path)| change(index, path));
        paths
    };
    let delays = back(&|index, path| path.link[B].delay = [80 * MS, 30 * MS, 5 * MS][index]);
    odd(&mut table, "back in 80, 30 and 5 ms", "CUBIC", &delays, 0, 0.95);
    odd(&mut table, "back in 80, 30 and 5 ms", "BBR", &delays, 0, 0.90);
    let lossy = back(&|_, path| path.link[B].loss = Loss::Random(20_000));
    odd(&mut table, "2 % lost on all ways back", "CUBIC", &lossy, 0, 0.95);
    let bursty = back(&|_, path| path.link[B].loss = Loss::new(20_000, 8));
    odd(&mut table, "2 % lost on all ways back, bursts of 8", "CUBIC", &bursty, 0, 0.95);
    let narrow = back(&|index, path| {
        let megabits = [10, 5, 1][index];
        path.link[B] = link(megabits * 1_000_000, path.link[B].delay, Duration::from_millis(300));
    });
    odd(&mut table, "10, 5 and 1 Mbit/s back", "CUBIC", &narrow, 0, 0.95);
    // Two paths that nobody knows to be one link.
    let shared = links("100mbit 5ms, 50mbit 30ms, shared0");
    odd(&mut table, "two paths over one link", "CUBIC", &shared, 0, 0.9);
    for drift in [200, -200] {
        let what = format!("clocks drift by {drift} ppm");
        odd(&mut table, &what, "CUBIC", &links(UNEQUAL), drift, 0.95);
        odd(&mut table, &what, "BBR", &links(UNEQUAL), drift, 0.90);
    }
    table.check();
}

/// How long until a path's model has at most a quarter more than its rate, and at least half: from there on a flow that grows
/// decides. `None`: not within five seconds.
fn found(bond: &mut Bond<'_>, path: usize, bits_per_second: u64) -> Option<Duration> {
    let changed = bond.elapsed();
    set_rate(bond, path, bits_per_second);
    while bond.elapsed() < changed + 5 * SECOND {
        bond.run(10 * MS);
        let rate = f64::from(bond.path_model(A, path).rate) * 8.0 / bits_per_second as f64;
        if (0.5..1.25).contains(&rate) {
            let took = bond.elapsed() - changed;
            bond.run(5 * SECOND);
            return Some(took);
        }
    }
    None
}

#[test]
fn a_rate_that_changes_tenfold_is_found_within_a_second_or_two() {
    let mut table = Table::new(
        "rate.txt",
        "A path's rate falls to a tenth and rises tenfold under load, six times: how long until the model of the path has at most a \
         quarter more than it, and at least half, in ms",
        &["", "load", "fall, median", "fall, worst", "rise, median", "rise, worst"],
    );
    let unequal = [(EQUAL, 0, 100), (UNEQUAL, 0, 100), (UNEQUAL, 1, 50)];
    let flows = ["CUBIC", "BBR"]
        .into_iter()
        .flat_map(|name| unequal.map(|(text, path, rate)| (text, path, rate, name)));
    // On a lone link a flow grows no faster than the model does: a stream shows what the model can.
    for (text, path, megabits, name) in flows.chain([("50mbit 10ms", 0, 50, "60 Mbit/s of UDP")]) {
        bonded(links(text), |bond| {
            if name.ends_with("UDP") {
                bond.stream(A, Route::Tunnel, StreamSetup { bits_per_second: 60_000_000, packet_len: 1400 });
            } else {
                flow(bond, name);
            }
            bond.run(20 * SECOND);
            let mut times: [Vec<Duration>; 2] = Default::default();
            for _ in 0..6 {
                for (times, rate) in times.iter_mut().zip([megabits * 100_000, megabits * 1_000_000]) {
                    times.push(found(bond, path, rate).unwrap_or(10 * SECOND));
                }
            }
            let [[fall, slowest_fall], [rise, slowest_rise]] = times.map(|mut times| {
                times.sort();
                [times[2], times[5]].map(ms)
            });
            table
                .row(&format!("{megabits} <> {} Mbit/s on path {path} of {text}", megabits / 10))
                .text(name)
                .at_most(fall, 1000.0, 0)
                .at_most(slowest_fall, 2000.0, 0)
                .at_most(rise, 1000.0, 0)
                .at_most(slowest_rise, 2000.0, 0)
                .end();
        });
    }
    table.check();
}
