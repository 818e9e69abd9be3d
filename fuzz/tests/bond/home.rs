//! Links as people have them at home and on the way.

use std::time::Duration;

use mpt_fuzz::bond::case::{Case, Outcome};
use mpt_fuzz::joined::B;
use mpt_link::Trace;

use crate::table::Table;
use crate::{SECOND, ms};

const DSL_LTE: &str = "16mbit 15ms 1ms queue 400ms back 2mbit, 40mbit 35ms queue 400ms back 10mbit";
const DSL_WANDERING_LTE: &str =
    "16mbit 15ms 1ms queue 400ms back 2mbit, 40mbit 35ms wander 4ms each 10ms queue 400ms back 10mbit";
const STARLINK_5G: &str = "150mbit 25ms wander 4ms each 10ms 1% dip 100ms-300ms each 15s back 15mbit, \
                           80mbit 20ms wander 15ms each 10ms back 20mbit";
const POLICED: &str = "100mbit 20ms policer 30mbit 2MB, 100mbit 20ms policer 30mbit 2MB";
const SMALL_BUCKET: &str = "100mbit 20ms policer 30mbit 5packets, 20mbit 20ms";
const FAR_APART: &str = "300mbit 10ms, 3mbit 30ms";
const WIFI: &str =
    "100mbit 3ms wander 2ms each 5ms heavy 0.1% batch 4ms dip 60ms each 1s back 60mbit, 40mbit 30ms";
const FALLING: &str = "50mbit 10ms, 40mbit 30ms";
const BLOCKS: &str = "50mbit 20ms swap 60ms each 1s, 50mbit 30ms";
const NARROW_BACK: &str = "100mbit 10ms back 2mbit, 100mbit 10ms back 2mbit";

/// Three mobile links, each with a trace of its own: means and deviations of 12, 20 and 8 Mbit/s, 50, 40 and 60 %.
fn traces() -> String {
    let link = |(seed, (megabits, percent, delay)): (u64, (u64, u32, u32))| {
        let text = Trace::synthetic(seed, megabits * 1_000_000, percent * 10_000, 60 * SECOND);
        let file = format!("{}/home-{seed}.trace", env!("CARGO_TARGET_TMPDIR"));
        std::fs::write(&file, text).expect("a trace");
        format!("trace {file} {delay}ms queue 300ms")
    };
    let all = (1..).zip([(12, 50, 35), (20, 40, 45), (8, 60, 60)]);
    all.map(link).collect::<Vec<_>>().join(", ")
}

struct Line {
    called: &'static str,
    links: String,
    events: &'static [&'static str],
    /// Whether both directions are loaded.
    both: bool,
    /// Whether the directions differ, so that a flow the other way is another line.
    differ: bool,
}

fn lines() -> Vec<Line> {
    let line =
        |called, links: &str| Line { called, links: links.into(), events: &[], both: false, differ: false };
    let differ = |line| Line { differ: true, ..line };
    let both = |line| Line { both: true, ..differ(line) };
    let events = |line, events| Line { events, ..line };
    vec![
        differ(line("DSL + LTE, 400 ms of buffer", DSL_LTE)),
        differ(line("the same, LTE wanders by 4 ms", DSL_WANDERING_LTE)),
        differ(line("Starlink + 5G", STARLINK_5G)),
        line("two policed lines of 2 MB", POLICED),
        line("a policer of five packets", SMALL_BUCKET),
        line("300 + 3 Mbit/s", FAR_APART),
        line("three LTE traces", &traces()),
        differ(line("Wi-Fi, pauses of 60 ms", WIFI)),
        events(line("a line falls to 64 kbit/s", FALLING), &["14s rate 0 0.064"]),
        events(line("the same for 5 s", FALLING), &["20s rate 0 0.064", "25s rate 0 50"]),
        line("blocks of 60 ms change places", BLOCKS),
        both(line("DSL + LTE, both directions", DSL_LTE)),
        both(line("2 x 100/2 Mbit/s, both directions", NARROW_BACK)),
    ]
}

impl Line {
    fn case(&self, name: &str) -> Case {
        let opposite = if self.both { vec!["cubic".to_string()] } else { Vec::new() };
        let events = self.events.iter().map(|text| text.parse().expect("an event")).collect();
        let (time, warm, flows) = (45 * SECOND, Some(15 * SECOND), vec![name.to_lowercase()]);
        Case { flows, opposite, events, time, warm, ping: true, ..Case::new(&self.links) }
    }
}

/// What the best link alone does with a case.
#[derive(Default)]
struct Best {
    tunnel: f64,
    plain: f64,
    idle: Duration,
}

impl Best {
    fn of(case: &Case, possible: &[f64]) -> Self {
        let mut best = Self::default();
        for (path, possible) in possible.iter().enumerate() {
            let so_far = best.tunnel.max(best.plain);
            // What carries less cannot be better.
            if possible * 1.01 < so_far {
                continue;
            }
            let [tunnel, plain] = [case.alone(path), case.plain(path)].map(|case| case.run().rate);
            if tunnel.max(plain) > so_far {
                let idle = Case { events: Vec::new(), ..case.alone(path).idle() };
                best.idle = idle.run().ping[1];
            }
            best = Self { tunnel: best.tunnel.max(tunnel), plain: best.plain.max(plain), ..best };
        }
        best
    }
}

#[test]
fn a_flow_over_links_of_a_home_gets_nearly_their_sum() {
    let mut table = Table::new(
        "home.txt",
        "One flow over links as people have them, from 15 s to 45 s: beside the best of the links alone with and without a \
         tunnel, and what they carried; pings beside it, and over the best link alone when it is idle",
        &[
            "",
            "flow",
            "from",
            "Mbit/s",
            "best alone",
            "plain",
            "of the best",
            "of sum",
            "ping 99 % ms",
            "idle",
            "added ms",
        ],
    );
    for line in lines() {
        for (name, is_back) in [("CUBIC", false), ("BBR", false), ("CUBIC", true)] {
            if is_back && !line.differ {
                continue;
            }
            let mut case = line.case(name);
            case.from = if is_back { B } else { case.from };
            let Outcome { rate, ping, .. } = case.run();
            let possible = case.possible();
            let best = Best::of(&case, &possible);
            table
                .row(line.called)
                .text(name)
                .text(if is_back { "B" } else { "A" })
                .value(rate, 1)
                .value(best.tunnel, 1)
                .value(best.plain, 1)
                .at_least(rate / best.tunnel.max(best.plain), 0.97, 3)
                .at_least(rate / possible.iter().sum::<f64>(), 0.85, 3)
                .value(ms(ping[1]), 1)
                .value(ms(best.idle), 1)
                .at_most(ms(ping[1]) - ms(best.idle), 50.0, 1)
                .end();
        }
    }
    table.check();
}
