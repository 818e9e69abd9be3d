//! Several flows at once.

use mpt_fuzz::bond::{Route, StreamSetup};
use mpt_fuzz::joined::{A, B};

use crate::table::Table;
use crate::{MS, SECOND, UNEQUAL, bonded, capacity, flow, links, ms, tcp};

/// Jain's index: one if all are equal, one of their number if one has all.
pub(crate) fn jain(rates: &[f64]) -> f64 {
    let (sum, squares) = (rates.iter().sum::<f64>(), rates.iter().map(|rate| rate * rate).sum::<f64>());
    sum * sum / (rates.len() as f64 * squares)
}

#[test]
fn flows_share_a_bond_fairly_and_fill_it() {
    let mut table = Table::new(
        "many.txt",
        "Flows beside each other over unequal links, with a UDP stream and a ping; from 15 s to 45 s",
        &["", "Mbit/s", "stream", "of sum", "fairness", "stream lost", "ping 99 % ms", "copies"],
    );
    let rows: [(&str, usize, u64, f64); 6] = [
        ("CUBIC", 2, 0, 0.9),
        ("CUBIC", 8, 0, 0.9),
        ("CUBIC", 32, 0, 0.9),
        ("BBR", 4, 0, 0.8),
        ("CUBIC", 4, 20, 0.9),
        ("QUIC", 4, 20, 0.9),
    ];
    for (name, count, megabits, fairness) in rows {
        let paths = links(UNEQUAL);
        bonded(paths.clone(), |bond| {
            let begun = bond.elapsed();
            let flows: Vec<_> = (0..count).map(|_| flow(bond, name)).collect();
            let setup = StreamSetup { bits_per_second: megabits * 1_000_000, packet_len: 1400 };
            let stream = (megabits > 0).then(|| bond.stream(A, Route::Tunnel, setup));
            let ping = bond.ping(A, 10 * MS);
            bond.run(45 * SECOND);
            let within = begun + 15 * SECOND..bond.elapsed();
            let rates: Vec<f64> = flows.iter().map(|it| bond.flow(*it).meter().rate(&within)).collect();
            let copies: u64 = flows.iter().map(|it| bond.flow(*it).copies()).sum();
            let streamed = stream.map_or(0.0, |it| bond.stream_of(it).meter().rate(&within));
            let lost = stream.map_or(0, |it| bond.stream_of(it).lost(&(within.start..within.end - SECOND)));
            let sum = rates.iter().sum::<f64>() + streamed;
            table
                .row(&format!("{count} {name}"))
                .value(sum - streamed, 1)
                .value(streamed, 1)
                .at_least(sum / capacity(bond, &paths), 0.93, 3)
                .at_least(jain(&rates), fairness, 3)
                .value(lost as f64, 0)
                .at_most(ms(bond.ping_of(ping).one_way().percentile(99, &within)), 30.0, 1)
                .at_most(copies as f64, 0.0, 0)
                .end();
        });
    }
    table.check();
}

#[test]
fn both_directions_are_filled_at_once() {
    let mut table = Table::new(
        "both.txt",
        "One CUBIC flow each way over unequal links; from 20 s to 45 s",
        &["", "Mbit/s", "of sum", "copies"],
    );
    let paths = links(UNEQUAL);
    bonded(paths.clone(), |bond| {
        let begun = bond.elapsed();
        let flows = [A, B].map(|from| bond.tcp(from, Route::Tunnel, tcp("CUBIC")));
        bond.run(45 * SECOND);
        let within = begun + 20 * SECOND..bond.elapsed();
        for (flow, name) in flows.into_iter().zip(["there", "back"]) {
            let flow = bond.flow(flow);
            let rate = flow.meter().rate(&within);
            table
                .row(name)
                .value(rate, 1)
                .at_least(rate / capacity(bond, &paths), 0.9, 3)
                .at_most(flow.copies() as f64, 0.0, 0)
                .end();
        }
    });
    table.check();
}
