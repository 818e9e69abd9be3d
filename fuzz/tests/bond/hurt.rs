//! What an end sees when the other end or the way back misbehaves for a moment: it must not outlast its cause.

use std::time::Duration;

use mpt_fuzz::bond::case::{Case, Outcome};

use crate::table::Table;
use crate::{SECOND, UNEQUAL};

/// Sets of links by what lines call them.
const SETS: [(&str, &str, usize); 3] = [
    ("three unequal", UNEQUAL, 3),
    ("two wandering", "50mbit 20ms wander 5ms each 10ms, 50mbit 20ms wander 5ms each 10ms", 2),
    ("one", "50mbit 20ms", 1),
];

/// What happens, how long it lasts, and the words of an event, with `#` for a path if it happens to all.
const HURTS: [(&str, Duration, &[&str]); 6] = [
    ("A's clock jumps ahead by 0.3 s", Duration::ZERO, &["clock 0 300"]),
    // For B, the stamps of A fall back.
    ("B's clock jumps ahead by 0.3 s", Duration::ZERO, &["clock 1 300"]),
    ("receiver sleeps for 100 ms", Duration::from_millis(100), &["hold # 100 forward"]),
    ("nothing comes back for 1 s", Duration::from_secs(1), &["freeze # back", "+mend #"]),
    ("path 0 holds back 400 ms", Duration::from_millis(400), &["hold 0 400 forward"]),
    ("path 0 holds back 400 ms, both ways", Duration::from_millis(400), &["hold 0 400"]),
];
const AT: Duration = Duration::from_secs(15);

fn events(words: &[&str], lasts: Duration, paths: usize) -> Vec<mpt_fuzz::bond::case::Happening> {
    let of_path = |words: &str, path: usize| {
        let (at, words) = words.strip_prefix('+').map_or((AT, words), |words| (AT + lasts, words));
        let text = format!("{}s {}", at.as_secs_f64(), words.replace('#', &path.to_string()));
        text.parse().expect("an event")
    };
    let all = |words: &&str| if words.contains('#') { 0..paths } else { 0..1 };
    words.iter().flat_map(|words| all(words).map(move |path| of_path(words, path))).collect()
}

#[test]
fn what_hurts_for_a_moment_is_over_a_second_later() {
    let mut table = Table::new(
        "hurt.txt",
        "One flow, in Mbit/s: in the 5 s before something happens after 15 s; in the second after the one that follows it, when \
         nothing happens and when it does; the latter as a part of the lesser of the former two, and of what was before on the first \
         link without a tunnel. Of clocks that drift: from 10 s to 20 s, without drift and with it",
        &["", "links", "flow", "before", "undisturbed", "after", "of the lesser", "plain"],
    );
    for (set, links, paths) in SETS {
        for name in ["CUBIC", "BBR"] {
            let case = Case { flows: vec![name.to_lowercase()], ..Case::new(links) };
            let undisturbed = case.run();
            let steady = undisturbed.rate_within(10 * SECOND, 20 * SECOND);
            for drift in [500, -500] {
                let rate = Case { drift, ..case.clone() }.run().rate_within(10 * SECOND, 20 * SECOND);
                let row = table.row(&format!("clocks drift by {drift} ppm")).text(set).text(name);
                row.value(steady, 1)
                    .value(steady, 1)
                    .value(rate, 1)
                    .at_least(rate / steady, 0.8, 3)
                    .text("-")
                    .end();
            }
            for (called, lasts, words) in HURTS {
                let case = Case { events: events(words, lasts, paths), ..case.clone() };
                let over = AT + lasts + SECOND;
                let rates = |outcome: &Outcome| {
                    let before = outcome.rate_within(AT - 5 * SECOND, AT);
                    [before, outcome.rate_within(over, over + SECOND)]
                };
                let [before, after] = rates(&case.run());
                let [_, undisturbed] = rates(&undisturbed);
                let [plain_before, plain_after] = rates(&case.plain(0).run());
                table
                    .row(called)
                    .text(set)
                    .text(name)
                    .value(before, 1)
                    .value(undisturbed, 1)
                    .value(after, 1)
                    // What a flow does by itself is not held against the tunnel.
                    .at_least(after / before.min(undisturbed), 0.8, 3)
                    .value(plain_after / plain_before, 3)
                    .end();
            }
        }
    }
    table.check();
}
