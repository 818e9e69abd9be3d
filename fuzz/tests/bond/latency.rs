//! A sparse flow beside bulk.

use std::time::Duration;

use mpt_fuzz::joined::A;

use crate::table::Table;
use crate::{EQUAL, MS, SECOND, UNEQUAL, UNEQUAL_BASE, bonded, flow, links, ms};

#[test]
fn a_ping_beside_bulk_takes_little_longer_than_the_fastest_link() {
    let mut table = Table::new(
        "latency.txt",
        "One-way delay in ms of a packet of 160 bytes each 10 ms beside bulk flows, from 5 s to 30 s",
        &["", "base", "50 %", "95 %", "99 %", "100 %", "there and back 99 %", "lost"],
    );
    let one = "20mbit 10ms";
    let jittering = "100mbit 6ms 1ms, 50mbit 32.5ms 2.5ms, 20mbit 81.5ms 1.5ms 1%";
    let bloated = "100mbit 5ms queue 1000ms, 50mbit 30ms queue 1000ms, 20mbit 80ms 1% queue 1000ms";
    let rows: [(&str, &[&str], Duration); 9] = [
        (bloated, &["CUBIC"], UNEQUAL_BASE),
        (UNEQUAL, &[], UNEQUAL_BASE),
        (UNEQUAL, &["CUBIC"], UNEQUAL_BASE),
        (UNEQUAL, &["BBR"], UNEQUAL_BASE),
        (UNEQUAL, &["CUBIC", "CUBIC", "CUBIC", "CUBIC"], UNEQUAL_BASE),
        (jittering, &["CUBIC"], UNEQUAL_BASE),
        (EQUAL, &["CUBIC"], 5 * MS),
        (EQUAL, &["BBR"], 5 * MS),
        (one, &["CUBIC"], 10 * MS),
    ];
    for (text, flows, base) in rows {
        bonded(links(text), |bond| {
            let begun = bond.elapsed();
            for name in flows {
                flow(bond, name);
            }
            let ping = bond.ping(A, 10 * MS);
            bond.run(30 * SECOND);
            let within = begun + 5 * SECOND..bond.elapsed();
            let ping = bond.ping_of(ping);
            let at = |hundredths| ms(ping.one_way().percentile(hundredths, &within));
            let all = begun..bond.elapsed();
            let lost = ping.sent() as f64 - ping.one_way().count(&all) as f64;
            let name = if flows.is_empty() { "idle".to_string() } else { flows.join(" ") };
            table
                .row(&format!("{name}: {text}"))
                .value(ms(base), 0)
                .at_most(at(50), ms(base) + 5.0, 1)
                .value(at(95), 1)
                .at_most(at(99), ms(base) + 25.0, 1)
                .value(at(100), 1)
                .value(ms(ping.round_trip().percentile(99, &within)), 1)
                .value(lost, 0)
                .end();
        });
    }
    table.note("Lost: those on the way at the end included.");
    table.check();
}
