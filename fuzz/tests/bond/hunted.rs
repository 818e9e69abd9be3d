//! What `examples/hunt.rs` found, so that it stays mended.

use mpt_fuzz::bond::case::{Case, Verdict};

use crate::table::Table;

/// Of each the bar against the best link, and the options of `examples/bond.rs`.
const HUNTED: &[(f64, &str)] = &[];

#[test]
fn what_was_hunted_down_stays_mended() {
    let mut table = Table::new(
        "hunted.txt",
        "What hunts found: all flows together beside the best of the links alone, with and without a tunnel, and the sum",
        &["", "Mbit/s", "best alone", "plain", "of the best", "of sum"],
    );
    for (bar, line) in HUNTED {
        let case: Case = line.parse().unwrap_or_else(|why| panic!("{why}: {line}"));
        let verdict = Verdict::of(&case, &Case::run);
        table
            .row(line)
            .value(verdict.outcome.rate, 2)
            .value(verdict.alone, 2)
            .value(verdict.plain, 2)
            .at_least(verdict.of_best(), *bar, 3)
            .value(verdict.of_sum(), 3)
            .end();
    }
    table.check();
}
