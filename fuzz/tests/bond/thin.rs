//! Links that carry a few packets a second: a SIM that is throttled, alone and beside a line.

use mpt_fuzz::bond::Bond;
use mpt_fuzz::joined::B;

use crate::known_links;
use crate::table::Table;

/// What of the link is asked for, alone; and of the line alone, beside it.
const ALONE: f64 = 0.8;
const BESIDE: f64 = 0.95;
const LINE: &str = "50mbit 10ms";
/// Of the thin link's way back, at most: a tenth for signs of life, a tenth for reports, and what liveness probes take.
const SIGNS: f64 = 0.25;

/// Kilobits that an end has sent on the last path, with 46 bytes of Ethernet, IPv4 and UDP for each datagram.
fn sent_back(bond: &Bond<'_>) -> f64 {
    let stats = bond.end(B).paths().last().and_then(|path| bond.end(B).path_stats(path).ok().copied());
    stats.map_or(0.0, |stats| (8 * (stats.tx_bytes + 46 * stats.tx_datagrams)) as f64 / 1000.0)
}

#[test]
fn a_throttled_link_carries_what_it_can_and_costs_the_others_nothing() {
    let mut table = Table::new(
        "thin.txt",
        "One flow over a thin link, from 20 s to 60 s: in kbit/s, beside what plain TCP has, and of what packets can have of the link. \
         Beside a line of 50 Mbit/s: of what the line has alone; and of the thin link's way back what signs of life and reports take",
        &["", "flow", "kbit/s", "plain", "of the link", "beside, Mbit/s", "of the line", "signs back"],
    );
    for (kilobits, rest) in [
        (64, "10ms queue 1000ms"),
        (64, "30ms queue 3000ms"),
        (128, "20ms queue 1000ms"),
        (256, "30ms queue 300ms"),
        (500, "20ms queue 1000ms"),
        (2000, "20ms queue 300ms"),
    ] {
        let link = format!("{kilobits}kbit {rest}");
        for name in ["CUBIC", "BBR"] {
            let case = |links: &str| known_links(links, name);
            let alone = case(&link);
            let [tunnel, plain] = [alone.run(), alone.plain(0).run()].map(|outcome| outcome.rate);
            let possible = alone.possible()[0];
            let both = case(&format!("{LINE}, {link}"));
            let (beside, signs) = both.with_bond(|bond| {
                let mut running = both.start(bond);
                running.advance(bond, running.begun + both.time);
                (both.outcome(bond, &running).rate, sent_back(bond) / bond.elapsed().as_secs_f64())
            });
            let line = both.alone(0).run().rate;
            table
                .row(&link)
                .text(name)
                .value(1000.0 * tunnel, 1)
                .value(1000.0 * plain, 1)
                .at_least(tunnel / possible, ALONE, 3)
                .value(beside, 1)
                .at_least(beside / line, BESIDE, 3)
                .at_most(signs / f64::from(kilobits), SIGNS, 3)
                .end();
        }
    }
    table.check();
}
