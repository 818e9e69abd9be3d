//! Bulk in TCP and in UDP, and what people have beside it: calls, conferences, games, lookups, many thin flows, a flood.

use std::time::Duration;

use mpt_fuzz::bond::case::{Case, Outcome, Verdict, each};
use mpt_fuzz::bond::{DEADLINES, Figures, Traffic};
use mpt_fuzz::joined::B;

use crate::cases::Runs;
use crate::many::jain;
use crate::ms;
use crate::table::Table;

/// Long enough for a flow to find the sum of all sets but for BBR's, which has a bar relative to itself only.
const TIME: Duration = Duration::from_secs(20);
const WARM: Duration = Duration::from_secs(8);
const THREADS: usize = 2;

/// Bulk in UDP must not be worse off than TCP: a twentieth is what another seed makes of it.
const OF_TCP: f64 = 0.95;
/// Never below the best link alone; 0.03 is what headers and another seed make of it, as in `home.txt`.
const OF_BEST: f64 = 0.97;
/// Of calls, in per cent: Opus conceals one packet of a hundred, G.711 without concealment is hurt by one of a thousand.
const CALL_LOSS: f64 = 0.1;
/// What bulk may add to a call's 99th percentile, in ms: a packet of speech, which a jitter buffer has in any case.
const CALL_ADDED: f64 = 20.0;
/// A ping beside an overloaded bond, in per cent and ms with its answer: one in a hundred is lost on Wi-Fi, and 60 ms is what games
/// are played with.
const PING_LOSS: f64 = 1.0;
const PING: f64 = 60.0;
/// Mbit/s that a flood of SYNs must leave to TCP: a page of text loads.
const BESIDE_FLOOD: f64 = 0.2;
/// Of 1,000 flows: 0.8 is a fifth of them without anything, or all within a half of the mean.
const FAIRNESS: f64 = 0.8;
/// Of what a download and an upload have alone, when each fills its direction: acknowledgements of the download are a fiftieth of it,
/// 2 of 100 Mbit/s, so that they fill what the upload has.
const DOWNLOAD: f64 = 0.8;
const UPLOAD: f64 = 0.2;

const SETS: [(&str, &str); 5] = [
    ("100/50/20", "100mbit 5ms, 50mbit 30ms, 20mbit 80ms"),
    ("50+50", "50mbit 20ms, 50mbit 40ms"),
    ("100+10", "100mbit 20ms, 10mbit 20ms"),
    ("2x15", TWICE_15),
    ("LTE, Starlink, DSL", "lte, starlink, dsl"),
];
const TWICE_15: &str = "15mbit 15ms, 15mbit 15ms";
const NARROW_BACK: &str = "100mbit 10ms back 2mbit, 100mbit 10ms back 2mbit";
/// A flow, and the TCP that it is held to. uTP gives way by design and grows by a packet a round trip: no TCP is its measure.
const FLOWS: [(&str, Option<&str>); 7] = [
    ("CUBIC", None),
    ("BBR", None),
    ("HTTP3", Some("CUBIC")),
    ("HTTP3-BBR", Some("BBR")),
    ("WireGuard", Some("CUBIC")),
    ("WireGuard-BBR", Some("BBR")),
    ("uTP", None),
];
const PEOPLE: [Traffic; 4] = [Traffic::Call, Traffic::Conference(2.5), Traffic::Game, Traffic::Dns];

fn case(links: &str, flow: &str, traffic: &[Traffic]) -> Case {
    let (flows, traffic) = (vec![flow.to_lowercase()], traffic.to_vec());
    Case { flows, traffic, time: TIME, warm: Some(WARM), ..Case::new(links) }
}

/// Both directions of what has a name, the worse of each figure.
struct Worst {
    /// In per cent.
    loss: f64,
    p99: f64,
    /// Frames in time, in per cent.
    frames: f64,
}

impl Worst {
    fn of(outcome: &Outcome, name: &str) -> Self {
        let directions = outcome.traffic.iter().filter(|it| it.called.starts_with(name));
        let none = Self { loss: 0.0, p99: 0.0, frames: 100.0 };
        directions.fold(none, |worst, it: &Figures| {
            let [complete, all] = it.frames.unwrap_or([1, 1]).map(|count| count as f64);
            Self {
                loss: worst.loss.max(100.0 * it.loss()),
                p99: worst.p99.max(ms(it.delay[2])),
                frames: worst.frames.min(100.0 * complete / all),
            }
        })
    }
}

/// The 99th percentile of a call that has its best link for itself.
fn own_p99(runs: &Runs, links: &str) -> f64 {
    let call = Case { flows: Vec::new(), ..case(links, "none", &[Traffic::Call]) };
    let paths = 0..links.split(',').count();
    let of_path = |path| Worst::of(&runs.run(&call.alone(path)), "call").p99;
    paths.map(of_path).fold(f64::INFINITY, f64::min)
}

#[test]
fn bulk_in_udp_gets_what_tcp_gets_and_people_beside_it_do_not_notice() {
    let mut table = Table::new(
        "traffic.txt",
        "A flow in TCP or UDP alone, and beside a call, a conference of 2.5 Mbit/s, a game and lookups; from 8 s to 20 s. Loss and \
         99th percentiles (one way, ms) of the worse direction; frames in time within 150 ms; DNS with its answer",
        &[
            "",
            "flow",
            "beside",
            "Mbit/s",
            "of the best",
            "of TCP",
            "of sum",
            "call lost %",
            "call 99 %",
            "more than alone",
            "audio 99 %",
            "frames %",
            "game 99 %",
            "DNS 99 %",
        ],
    );
    let runs = Runs::default();
    let mut lines = Vec::new();
    for (called, links) in SETS {
        for (flow, measure) in FLOWS {
            lines.push((called, links, flow, measure, &[][..]));
            lines.push((called, links, flow, measure, &PEOPLE[..]));
        }
    }
    let verdicts = each(&lines, THREADS, |(_, links, flow, _, traffic)| {
        Verdict::in_short(&case(links, flow, traffic), &|case| runs.run(case))
    });
    for ((called, links, flow, measure, traffic), verdict) in lines.iter().zip(&verdicts) {
        let is_alone = traffic.is_empty();
        let row = table
            .row(called)
            .text(flow)
            .text(if is_alone { "-" } else { "people" })
            .value(verdict.outcome.rate, 1)
            .at_least(verdict.of_best(), OF_BEST, 3);
        let row = match measure {
            None => row.maybe(None, 3),
            Some(tcp) => {
                let tcp = runs.run(&case(links, tcp, traffic)).rate;
                row.at_least(verdict.outcome.rate / tcp, OF_TCP, 3)
            }
        };
        let row = row.value(verdict.of_sum(), 3);
        if is_alone {
            row.end();
            continue;
        }
        let [call, audio, video, game, dns] =
            ["call", "audio", "video", "game", "dns"].map(|name| Worst::of(&verdict.outcome, name));
        row.at_most(call.loss, CALL_LOSS, 2)
            .value(call.p99, 1)
            .at_most(call.p99 - own_p99(&runs, links), CALL_ADDED, 1)
            .value(audio.p99, 1)
            .value(video.frames, 1)
            .value(game.p99, 1)
            .value(dns.p99, 1)
            .end();
    }
    table.check();
}

#[test]
fn a_ping_and_a_download_survive_many_thin_flows_and_a_flood() {
    let mut table = Table::new(
        "traffic-many.txt",
        "A ping and a flow of CUBIC beside more than 2 x 15 Mbit/s carry; from 8 s to 20 s. What TCP should have: one of 122 parts of \
         the sum, or beside a flood 0.2 Mbit/s",
        &["", "TCP Mbit/s", "of what it should have", "ping lost %", "ping and back 95 %, ms"],
    );
    for traffic in [Traffic::Thin(120, 400), Traffic::Syn(40_000)] {
        let case = Case { ping: true, ..case(TWICE_15, "CUBIC", &[traffic]) };
        let outcome = case.run();
        let should_have = match traffic {
            Traffic::Thin(count, _) => case.possible().iter().sum::<f64>() / f64::from(count + 2),
            _ => BESIDE_FLOOD,
        };
        let (lost, took) = outcome.answered;
        table
            .row(&traffic.to_string())
            .value(outcome.rate, 3)
            .at_least(outcome.rate / should_have, 1.0, 2)
            .at_most(100.0 * lost, PING_LOSS, 2)
            .at_most(ms(took), PING, 1)
            .end();
    }
    table.check();
}

#[test]
fn a_thousand_flows_share_a_bond() {
    let mut table = Table::new(
        "traffic-flows.txt",
        "1,000 flows of CUBIC over 100/50/20 Mbit/s; from 8 s to 20 s",
        &["", "Mbit/s", "of sum", "fairness", "least kbit/s", "without anything"],
    );
    let flows = vec!["cubic".to_string(); 1000];
    let case = Case { flows, ..case(SETS[0].1, "CUBIC", &[]) };
    let outcome = case.run();
    let least = outcome.flows.iter().copied().fold(f64::INFINITY, f64::min);
    let starved = outcome.flows.iter().filter(|rate| **rate == 0.0).count();
    table
        .row("1,000 CUBIC")
        .value(outcome.rate, 1)
        .value(outcome.rate / case.possible().iter().sum::<f64>(), 3)
        .at_least(jain(&outcome.flows), FAIRNESS, 3)
        .value(1000.0 * least, 1)
        .at_most(starved as f64, 0.0, 0)
        .end();
    table.check();
}

#[test]
fn a_download_and_an_upload_over_narrow_ways_back_leave_each_other_alive() {
    let mut table = Table::new(
        "traffic-both.txt",
        "A flow each way over 2 x 100/2 Mbit/s; from 8 s to 20 s: Mbit/s, and of what each has alone",
        &["", "download", "part of its own", "upload", "of its own"],
    );
    for (down, up) in [("CUBIC", "CUBIC"), ("BBR", "CUBIC"), ("HTTP3", "CUBIC")] {
        let download = case(NARROW_BACK, down, &[]);
        let upload = Case { from: B, ..case(NARROW_BACK, up, &[]) };
        let both = Case { opposite: upload.flows.clone(), ..download.clone() }.run();
        let own = [download, upload].map(|case| case.run().rate);
        table
            .row(&format!("{down} down, {up} up"))
            .value(both.rate, 1)
            .at_least(both.rate / own[0], DOWNLOAD, 3)
            .value(both.opposite, 2)
            .at_least(both.opposite / own[1], UPLOAD, 3)
            .end();
    }
    table.check();
}

/// What copies may be, in per cent of all that is sent.
const COPIES: u8 = 15;

#[test]
fn a_call_that_is_protected_has_no_gaps_and_no_late_packets_over_links_that_lose() {
    let mut table = Table::new(
        "traffic-call.txt",
        "A call over two links that lose 3 % in bursts of so many packets, beside a download or alone, without and with protection; from \
         8 s to 120 s. Beside what it has on the better link alone; what the links carry beside the same without protection",
        &["", "burst", "protected", "lost %", "99 % ms", "more than its own", "on the links"],
    );
    let runs = Runs::default();
    let mut cases = Vec::new();
    for (called, flow) in [("beside CUBIC", "CUBIC"), ("alone", "none")] {
        for burst in [1, 4, 20] {
            let links = format!("20mbit 20ms 3% burst {burst}, 20mbit 30ms 3% burst {burst}");
            for protect in [None, Some(COPIES)] {
                let flows = if flow == "none" { Vec::new() } else { vec![flow.to_lowercase()] };
                let case = Case {
                    flows,
                    protect,
                    time: Duration::from_secs(120),
                    ..case(&links, flow, &[Traffic::Call])
                };
                cases.push((called, burst, case));
            }
        }
    }
    let outcomes = each(&cases, THREADS, |(.., case)| {
        let own = Case { flows: Vec::new(), protect: None, ..case.clone() };
        (runs.run(case), Worst::of(&runs.run(&own.alone(0)), "call").p99)
    });
    for (pair, outcomes) in cases.chunks(2).zip(outcomes.chunks(2)) {
        let without = outcomes[0].0.on_links;
        for ((called, burst, case), (outcome, own)) in pair.iter().zip(outcomes) {
            let call = Worst::of(outcome, "call");
            let row = table.row(called).text(&burst.to_string());
            match case.protect.is_some() {
                false => row.text("no").value(call.loss, 2).value(call.p99, 1).value(call.p99 - own, 1).end(),
                true => row
                    .text("yes")
                    .at_most(call.loss, CALL_LOSS, 2)
                    .value(call.p99, 1)
                    .at_most(call.p99 - own, CALL_ADDED, 1)
                    .at_most(outcome.on_links / without, 1.0 + f64::from(COPIES) / 100.0, 3)
                    .end(),
            }
        }
    }
    table.check();
}

/// Links of which at least one makes packets late now and then, and what is asked of a call over them, in ms.
const LATE: [(&str, &str, &[u64]); 5] = [
    ("LTE, Starlink", "lte, starlink", &[100, 150]),
    ("5G, Starlink", "5g, starlink", &[60, 100]),
    ("LTE in a car, Starlink", "lte-driving, starlink", &[100, 150]),
    ("dips, wanders", "40mbit 25ms dip 100ms-300ms each 15s, 40mbit 35ms wander 8ms each 10ms", &[60, 150]),
    ("2 x 3 % loss", "20mbit 20ms 3% burst 4, 20mbit 30ms 3% burst 4", &[100, 150]),
];
/// What of a call may come too late, in per cent: a contract for the 99th percentile.
const TOO_LATE: f64 = 1.0;

/// A call alone, or beside a download.
fn check_deadlines(table: &'static str, flow: &'static str) {
    let mut table = Table::new(
        table,
        "A call over two links, alone or beside a download; from 8 s to 120 s. Packets of the worse direction that were not there \
         within a deadline: without copies, with `protected` at 15 %, and with that deadline beside; copies, of all packets sent",
        &["", "beside", "ms", "late %", "protected", "copies %", "deadline", "copies % "],
    );
    let mut cases = Vec::new();
    for (called, links, deadlines) in LATE {
        for deadline in deadlines {
            for (protect, within) in [(None, None), (Some(COPIES), None), (Some(COPIES), Some(*deadline))] {
                let flows = if flow == "none" { Vec::new() } else { vec![flow.to_lowercase()] };
                let case = Case {
                    flows,
                    protect,
                    deadline: within.and_then(|within| u16::try_from(within).ok()),
                    time: Duration::from_secs(120),
                    ..case(links, flow, &[Traffic::Call])
                };
                cases.push((called, flow, *deadline, case));
            }
        }
    }
    let runs = Runs::default();
    let outcomes = each(&cases, THREADS, |(.., case)| runs.run(case));
    for (cases, outcomes) in cases.chunks(3).zip(outcomes.chunks(3)) {
        let (called, flow, deadline, _) = &cases[0];
        let index =
            DEADLINES.iter().position(|it| it.as_millis() == u128::from(*deadline)).expect("it is counted");
        let late = |outcome: &Outcome| {
            let shares =
                outcome.traffic.iter().map(|it| 100.0 * it.beyond[index] as f64 / it.sent.max(1) as f64);
            shares.fold(0.0, f64::max)
        };
        let [without, protected, timely] = [0, 1, 2].map(|place| &outcomes[place]);
        table
            .row(called)
            .text(if *flow == "none" { "-" } else { flow })
            .text(&deadline.to_string())
            .value(late(without), 2)
            .value(late(protected), 2)
            .value(100.0 * protected.copied, 2)
            .at_most(late(timely), TOO_LATE, 2)
            .at_most(100.0 * timely.copied, f64::from(COPIES), 2)
            .end();
    }
    table.check();
}

#[test]
fn a_call_with_a_deadline_keeps_it_with_copies_where_they_count() {
    check_deadlines("traffic-deadline.txt", "none");
}

#[test]
#[ignore = "minutes: cargo test -p mpt-fuzz --test bond -- --ignored"]
fn a_call_with_a_deadline_keeps_it_beside_a_download() {
    check_deadlines("traffic-deadline-beside.txt", "CUBIC");
}
