//! One path whose delay wanders: no queue of ours, and nothing lost.

use mpt_fuzz::bond::case::Case;

use crate::cases::{Runs, case};
use crate::ms;
use crate::table::Table;

const DEVIATIONS: [u32; 6] = [1, 2, 3, 5, 10, 20];
const EACH: [u32; 6] = [0, 1, 3, 10, 30, 100];

/// A line: deviation and how long it stays, in ms, and the flow.
#[derive(Debug, Clone, Copy)]
struct Line {
    deviation: u32,
    each: u32,
    reorder: bool,
    name: &'static str,
}

impl Line {
    fn called(self) -> String {
        let each = if self.each == 0 { String::new() } else { format!(" each {}ms", self.each) };
        let reorder = if self.reorder { " reorder" } else { "" };
        format!("wander {}ms{each}{reorder}", self.deviation)
    }
}

fn lines(deviations: &[u32], each: &[u32], reorder: bool, name: &'static str) -> Vec<Line> {
    let of = |deviation| each.iter().map(move |each| Line { deviation, each: *each, reorder, name });
    deviations.iter().flat_map(|deviation| of(*deviation)).collect()
}

fn check(lines: &[Line]) {
    let mut table = Table::new(
        "wander.txt",
        "One flow over 50 Mbit/s and 20 ms with a delay that wanders, from 15 s to 30 s, beside the same over the link without a \
         tunnel; what it adds to the delay of pings through the tunnel",
        &["", "flow", "Mbit/s", "plain", "of plain", "ping 99 % ms", "idle", "added ms"],
    );
    let runs = Runs::default();
    for line in lines {
        let case = Case { ping: true, ..case(&format!("50mbit 20ms {}", line.called()), line.name) };
        let [tunnel, plain, idle] = [&case, &case.plain(0), &case.idle()].map(|case| runs.run(case));
        let [busy, idle] = [tunnel.ping[1], idle.ping[1]].map(ms);
        table
            .row(&line.called())
            .text(line.name)
            .value(tunnel.rate, 1)
            .value(plain.rate, 1)
            .at_least(tunnel.rate / plain.rate, 0.95, 3)
            .value(busy, 1)
            .value(idle, 1)
            .at_most(busy - idle, 10.0 + 3.0 * f64::from(line.deviation), 1)
            .end();
    }
    table.check();
}

#[test]
fn a_flow_over_one_path_does_not_mind_a_delay_that_wanders() {
    let mut all = lines(&DEVIATIONS, &EACH, false, "CUBIC");
    all.extend(lines(&[2, 5, 10], &[0, 3, 10, 100], true, "CUBIC"));
    all.extend(lines(&DEVIATIONS, &[0, 10, 100], false, "BBR"));
    check(&all);
}
