//! One flow over links that have nothing in common, estimated from scratch.

use std::time::Duration;

use mpt_fuzz::bond::links::{config, sizes};
use mpt_fuzz::bond::{Memory, Sizes};

use crate::table::Table;
use crate::{MS, SECOND, SUBJECT, UNEQUAL, bonded, capacity, flow, links, ms, queue, settled, tcp};

/// The columns of tables about one flow.
pub(crate) const COLUMNS: [&str; 10] =
    ["", "Mbit/s", "of sum", "at 90 % s", "gap ms", "queue ms", "resent", "timeouts", "copies", "overtaken"];

/// A line: one flow over some links for a while, of which the first `warm` is left out.
pub(crate) fn line(table: &mut Table, text: &str, name: &str, warm: Duration, time: Duration, bar: f64) {
    line_called(table, text, text, name, warm, time, bar);
}

/// As [`line`], where the links are too many to spell out.
pub(crate) fn line_called(
    table: &mut Table,
    called: &str,
    text: &str,
    name: &str,
    warm: Duration,
    time: Duration,
    bar: f64,
) {
    let paths = links(text);
    bonded(paths.clone(), |bond| {
        let begun = bond.elapsed();
        let flow = flow(bond, name);
        bond.run(time);
        let within = begun + warm..begun + time;
        let sum = capacity(bond, &paths);
        let settled = settled(bond, flow, begun, sum);
        let queue = ms(queue(bond, &within));
        let flow = bond.flow(flow);
        let rate = flow.meter().rate(&within);
        let stats = flow.sender().stats();
        table
            .row(&format!("{name}: {called}"))
            .value(rate, 1)
            .at_least(rate / sum, bar, 3)
            .maybe(settled.map(|at| at.as_secs_f64()), 1)
            .value(ms(flow.meter().gaps().longest(&within)), 0)
            .value(queue, 1)
            .value(stats.retransmissions as f64, 0)
            .value(stats.timeouts as f64, 0)
            .at_most(flow.copies() as f64, 0.0, 0)
            .value(flow.overtaken() as f64, 0)
            .end();
    });
}

#[test]
fn one_flow_gets_the_sum_of_unequal_links() {
    let mut table = Table::new(
        "unequal.txt",
        "One flow over unequal links, nothing known of them; after 20 s (BBR 30 s), until 45 s (60 s)",
        &COLUMNS,
    );
    let jittering = "100mbit 6ms 1ms 0.2%, 50mbit 32.5ms 2.5ms, 20mbit 81.5ms 1.5ms 1%";
    let bursty = "100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1% burst 4";
    for (links, cubic, bbr) in [(UNEQUAL, 0.95, 0.90), (jittering, 0.92, 0.90), (bursty, 0.95, 0.90)] {
        line(&mut table, links, "CUBIC", 20 * SECOND, 45 * SECOND, cubic);
        line(&mut table, links, "BBR", 30 * SECOND, 60 * SECOND, bbr);
    }
    line(&mut table, UNEQUAL, "QUIC", 20 * SECOND, 45 * SECOND, 0.95);
    line(&mut table, UNEQUAL, "CUBIC with ECN", 20 * SECOND, 45 * SECOND, 0.95);
    for buffer in ["queue 20ms", "queue 1000ms"] {
        let links = format!("100mbit 5ms {buffer}, 50mbit 30ms {buffer}, 20mbit 80ms 1% {buffer}");
        line(&mut table, &links, "CUBIC", 20 * SECOND, 45 * SECOND, 0.93);
    }
    // Grows too slowly to fill the bond within a minute; no bar but that of the best link alone.
    line(&mut table, UNEQUAL, "Reno", 20 * SECOND, 45 * SECOND, 0.574);
    // UDP is not put in order: such a flow must not fall behind its best link, which is 0.592 of the sum.
    line(&mut table, UNEQUAL, "QUIC in UDP", 20 * SECOND, 45 * SECOND, 0.574);
    table.check();
}

#[test]
fn flows_climb_from_the_nearest_link_to_all_of_them() {
    let mut table = Table::new(
        "climb.txt",
        "Flows over unequal links from their start on, as a share of the sum; BBR learns a longer round trip each 10 s \
         only; the best link alone is 0.59 of the sum in the first two, 0.67 in the last",
        &["", "in 10 s", "in 20 s", "in 60 s", "at 90 % s"],
    );
    let jittering = "100mbit 6ms 1ms 0.2%, 50mbit 32.5ms 2.5ms, 20mbit 81.5ms 1.5ms 1%";
    for text in [UNEQUAL, jittering, "60mbit 9ms 1ms, 30mbit 26ms 1ms"] {
        for (name, count) in [("BBR", 1), ("BBR", 3), ("CUBIC", 1)] {
            let paths = links(text);
            bonded(paths.clone(), |bond| {
                let begun = bond.elapsed();
                let flows: Vec<_> = (0..count).map(|_| flow(bond, name)).collect();
                bond.run(60 * SECOND);
                let sum = capacity(bond, &paths);
                let share = |seconds: u32| {
                    let within = begun..begun + SECOND * seconds;
                    flows.iter().map(|flow| bond.flow(*flow).meter().rate(&within)).sum::<f64>() / sum
                };
                let settled = (count == 1).then(|| settled(bond, flows[0], begun, sum)).flatten();
                table
                    .row(&format!("{count} {name}: {text}"))
                    .at_least(share(10), 0.5, 3)
                    .at_least(share(20), 0.6, 3)
                    .at_least(share(60), 0.8, 3)
                    .maybe(settled.map(|at| at.as_secs_f64()), 1)
                    .end();
            });
        }
    }
    table.check();
}

#[test]
fn one_flow_keeps_up_with_its_links_when_all_of_them_lose() {
    let mut table =
        Table::new("loss.txt", "One flow over links that all lose; after 10 s, until 30 s", &COLUMNS);
    let time = 30 * SECOND;
    for (loss, bar) in [("1%", 0.95), ("1% burst 4", 0.90), ("5%", 0.80)] {
        let links = format!("100mbit 5ms {loss}, 50mbit 30ms {loss}, 20mbit 80ms {loss}");
        line(&mut table, &links, "CUBIC", 10 * SECOND, time, bar);
    }
    // What a wide link loses must not wait for the near but thin one that would deliver each packet of it first, nor
    // be given up while it is repaired over the only wide one.
    for links in
        ["3mbit 3ms 3% burst 5, 80mbit 30ms 3% burst 7, 12mbit 12ms", "1mbit 5ms, 100mbit 90ms 1.5% burst 3"]
    {
        line(&mut table, links, "CUBIC", 20 * SECOND, time, 0.70);
    }
    // A single lossy link is repaired as well.
    line(&mut table, "50mbit 10ms 1%", "CUBIC", 10 * SECOND, time, 0.95);
    line(&mut table, "50mbit 10ms 1%, 50mbit 10ms", "CUBIC", 10 * SECOND, time, 0.95);
    table.check();
}

#[test]
fn a_small_reorder_buffer_costs_rate_but_nothing_else() {
    let mut table = Table::new(
        "memory.txt",
        "One CUBIC flow over unequal links, by slots of the reorder buffer; after 20 s, until 45 s",
        &["slots", "Mbit/s", "of sum", "of the best link", "copies", "overtaken"],
    );
    // The best link alone is 100 of 169.8 Mbit/s.
    for (slots, bar) in [(17, 0.95), (257, 0.95), (1025, 0.97), (2049, 1.4), (4097, 1.6)] {
        let paths = links(UNEQUAL);
        let sizes = Sizes { reorder_slots: slots, ..sizes(&paths) };
        let mut memory = Memory::new(sizes, 0);
        let setup = mpt_fuzz::bond::Setup::new(crate::SEED, &config(SUBJECT.policy), paths.clone());
        let mut bond = mpt_fuzz::bond::Bond::new(&setup, &mut memory);
        bond.bring_up();
        let begun = bond.elapsed();
        let flow = flow(&mut bond, "CUBIC");
        bond.run(45 * SECOND);
        let rate = bond.flow(flow).meter().rate(&(begun + 20 * SECOND..begun + 45 * SECOND));
        let best = capacity(&bond, &paths[..1]);
        table
            .row(&slots.to_string())
            .value(rate, 1)
            .value(rate / capacity(&bond, &paths), 3)
            .at_least(rate / best, bar, 2)
            .at_most(bond.flow(flow).copies() as f64, 0.0, 0)
            .value(bond.flow(flow).overtaken() as f64, 0)
            .end();
    }
    table.check();
}

#[test]
fn short_transfers_take_no_longer_than_on_the_fastest_link_alone() {
    let mut table = Table::new(
        "short.txt",
        "Time of one CUBIC transfer over an idle bond of unequal links, and over its fastest link alone, in ms",
        &["segments", "fastest alone", "bond", "ratio", "bond, warm", "ratio"],
    );
    for segments in [10, 50, 100, 250, 500, 1000, 3000, 10_000] {
        let took = |text: &str, is_warm: bool| {
            bonded(links(text), |bond| {
                if is_warm {
                    let flow = bond.tcp(0, mpt_fuzz::bond::Route::Tunnel, tcp("CUBIC"));
                    bond.run(10 * SECOND);
                    bond.stop(flow);
                }
                bond.run(3 * SECOND);
                let setup = crate::transfer("CUBIC", segments);
                let flow = bond.tcp(0, mpt_fuzz::bond::Route::Tunnel, setup);
                bond.run(30 * SECOND);
                ms(bond.flow(flow).took().unwrap_or(100_000 * MS))
            })
        };
        let alone = took("100mbit 5ms", false);
        let (cold, warm) = (took(UNEQUAL, false), took(UNEQUAL, true));
        table
            .row(&segments.to_string())
            .value(alone, 1)
            .value(cold, 1)
            .at_most(cold / alone, 1.1, 2)
            .value(warm, 1)
            .at_most(warm / alone, 1.05, 2)
            .end();
    }
    table.check();
}
