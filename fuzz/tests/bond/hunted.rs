//! What `examples/hunt.rs` found, so that it stays mended.

use mpt_fuzz::bond::case::{Case, Verdict};

use crate::table::Table;

/// Of each the bar against the best link, and the options of `examples/bond.rs`.
const HUNTED: &[(f64, &str)] = &[
    // A policer lets a burst through, and holds a near link to a fraction of it for good.
    (
        0.97,
        r#"--links "54mbit 1ms policer 1mbit 200kB, 76mbit 5ms" --cc cubic --time 30 --warm 15 --seed 541"#,
    ),
    // A slow link that is near, and a fast one that is far.
    (
        0.97,
        r#"--links "9mbit 1ms, 97mbit 63ms" --cc bbr --stream 2 --paced 5 --time 30 --warm 15 --seed 363"#,
    ),
    (
        0.97,
        r#"--links "138mbit 44ms, 6mbit 1ms wander 3ms each 1ms smooth" --cc bbr --time 45 --warm 30 --seed 325"#,
    ),
    (
        0.97,
        r#"--links "33mbit 108ms, 19mbit 101ms 4.2% queue 556ms wander 2ms reorder batch 1ms breathe 50%, 256mbit 36ms" --cc cubic --time 45 --warm 30 --seed 901"#,
    ),
    (
        0.97,
        r#"--links "33mbit 61ms wander 7ms batch 12ms, 12mbit 6ms policer 1mbit 200kB" --cc cubic --time 30 --warm 15 --seed 88"#,
    ),
    (
        0.97,
        r#"--links "92mbit 6ms queue 12ms step 15ms each 12s, 3mbit 164ms" --cc cubic --time 45 --warm 30 --seed 614"#,
    ),
    (
        0.97,
        r#"--links "79mbit 165ms 2.7%, 3mbit 25ms" --cc bbr --opposite cubic --time 30 --warm 15 --seed 547"#,
    ),
];

#[test]
fn what_was_hunted_down_stays_mended() {
    let mut table = Table::new(
        "hunted.txt",
        "What hunts found: all flows together beside the best of the links alone, with and without a tunnel, and the sum",
        &["", "Mbit/s", "best alone", "plain", "of the best", "of sum"],
    );
    for (number, (bar, line)) in (1_usize..).zip(HUNTED) {
        let case: Case = line.parse().unwrap_or_else(|why| panic!("{why}: {line}"));
        let verdict = Verdict::of(&case, &Case::run);
        table
            .row(&format!("case {number}"))
            .value(verdict.outcome.rate, 2)
            .value(verdict.alone, 2)
            .value(verdict.plain, 2)
            .at_least(verdict.of_best(), *bar, 3)
            .value(verdict.of_sum(), 3)
            .end();
    }
    for (number, (_, line)) in (1_usize..).zip(HUNTED) {
        table.note(&format!("{number}: {line}"));
    }
    table.check();
}
