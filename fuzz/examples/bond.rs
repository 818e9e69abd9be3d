//! Runs one bond in virtual time and prints what happened, to look into what a scenario's table says.
//!
//! ```text
//! cargo run --release -p mpt-fuzz --example bond -- --links "100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%" --ping
//! cargo run --release -p mpt-fuzz --example bond -- --links "4mbit 10ms, 4mbit 10ms" --at "5s freeze 0" "8s mend 0"
//! ```

#![allow(clippy::print_stdout, reason = "it is a command")]

use std::time::{Duration, Instant};

use mpt_fuzz::bond::case::{Case, OPTIONS};
use mpt_fuzz::bond::links::sum;
use mpt_fuzz::bond::{AppId, Bond, DEADLINES, Figures, Route, TcpSetup, traffic};
use mpt_fuzz::joined::{A, B};

const USAGE: &str = "\
--cross PATH:CC     another TCP flow on the link of a path, beside the tunnel
--every SECONDS     a line (1)";

struct Options {
    case: Case,
    cross: Vec<(usize, String)>,
    every: f64,
}

fn main() {
    let Options { case, cross, every } = options();
    println!("{case} ({} Mbit/s), {:?}", sum(&case.paths()) / 1_000_000, case.policy);
    // What is printed of the host's own time is how long it took.
    #[allow(clippy::disallowed_methods, reason = "not part of the run")]
    let started = Instant::now();
    case.with_bond(|bond| {
        let mut running = case.start(bond);
        let beside = |(path, name): &(usize, String)| {
            let setup = TcpSetup::named(name).unwrap_or_else(|| refuse(&format!("no such TCP: {name}")));
            bond.tcp(case.from, Route::Link(*path), setup)
        };
        let cross = cross.iter().map(beside).collect();
        let flows = [&running.flows[..], &running.paced, &running.opposite].concat();
        let streams = running.streams.clone();
        let report = Report { flows, cross, streams, ping: running.ping, from: case.from };
        let begun = running.begun;
        let mut events = case.events.iter().peekable();
        report.head(bond);
        while bond.elapsed() < begun + case.time {
            let from = bond.elapsed();
            let line = from + Duration::from_secs_f64(every);
            while let Some(event) = events.next_if(|it| begun + it.at < line) {
                println!("        {event}");
            }
            running.advance(bond, line);
            report.line(bond, begun, from..line);
        }
        let measured = case.measured();
        let within = begun + measured.start..bond.elapsed();
        report.summary(bond, within.clone());
        running.figures(bond, &within).iter().for_each(row);
    });
    println!("{:.2} s for {:.0} s", started.elapsed().as_secs_f64(), case.time.as_secs_f64());
}

struct Report {
    flows: Vec<AppId>,
    cross: Vec<AppId>,
    streams: Vec<AppId>,
    ping: Option<AppId>,
    from: usize,
}

type Span = std::ops::Range<Duration>;

impl Report {
    fn head(&self, bond: &Bond<'_>) {
        print!("{:>7} {:>8}", "time", "Mbit/s");
        for path in 0..bond.path_count() {
            print!(" {:>27}", format!("path {path} (queue) model"));
        }
        println!("   gap  [window rtt] of flows, stream, cross, ping");
    }

    fn line(&self, bond: &Bond<'_>, begun: Duration, span: Span) {
        print!("{:7.2}", (span.end - begun).as_secs_f64());
        let rate: f64 = self.flows.iter().map(|flow| bond.flow(*flow).meter().rate(&span)).sum();
        print!(" {rate:8.2}");
        for path in 0..bond.path_count() {
            let series = bond.path_series(self.from, path);
            print!(" {:8.2} ({:5.1})", series.rate(&span), ms(series.backlog(95, &span)));
            let model = bond.path_model(self.from, path);
            let mark = if model.suspect {
                '!'
            } else if model.open {
                '*'
            } else {
                ' '
            };
            print!(" {:5.1}{mark}{:4.4}", f64::from(model.rate) * 8e-6, format!("{:?}", model.phase));
        }
        for flow in &self.flows {
            let flow = bond.flow(*flow);
            let rtt = ms(flow.sender().smoothed_rtt());
            print!(
                " {:5.0} [{:.0} {rtt:.1}]",
                ms(flow.meter().gaps().longest(&span)),
                flow.sender().window()
            );
        }
        for stream in &self.streams {
            let stream = bond.stream_of(*stream);
            let gap = ms(stream.meter().gaps().longest(&span));
            print!("  {:.2}, gap {gap:.1}", stream.meter().rate(&span));
        }
        for cross in &self.cross {
            print!("  {:.2}", bond.flow(*cross).meter().rate(&span));
        }
        if let Some(ping) = self.ping {
            let one_way = bond.ping_of(ping).one_way();
            print!("  {:.1} {:.1}", ms(one_way.percentile(50, &span)), ms(one_way.percentile(99, &span)));
        }
        println!();
    }

    fn summary(&self, bond: &Bond<'_>, span: Span) {
        let capacity = bond.capacity(sum_now(bond, self.from), 1400) / 1e6;
        for flow in &self.flows {
            let flow = bond.flow(*flow);
            let rate = flow.meter().rate(&span);
            let gap = ms(flow.meter().gaps().longest(&span));
            println!(
                "flow    {rate:.2} Mbit/s, {:.1} % of {capacity:.2}; longest gap {gap:.1} ms; copies {}, overtaken {}; {:?}",
                100.0 * rate / capacity,
                flow.copies(),
                flow.overtaken(),
                flow.sender().stats(),
            );
        }
        for cross in &self.cross {
            let flow = bond.flow(*cross);
            println!("beside  {:.2} Mbit/s; {:?}", flow.meter().rate(&span), flow.sender().stats());
        }
        for stream in &self.streams {
            let stream = bond.stream_of(*stream);
            println!(
                "stream  {:.2} Mbit/s; lost {} of {}, copies {}, overtaken {}; longest gap {:.1} ms; delay {}",
                stream.meter().rate(&span),
                stream.lost(&(Duration::ZERO..span.end.saturating_sub(Duration::from_millis(500)))),
                stream.sent(),
                stream.copies(),
                stream.overtaken(),
                ms(stream.meter().gaps().longest(&span)),
                percentiles(stream.latencies(), &span),
            );
        }
        if let Some(ping) = self.ping {
            let ping = bond.ping_of(ping);
            println!("ping    one way {}", percentiles(ping.one_way(), &span));
            println!("        and back {}", percentiles(ping.round_trip(), &span));
        }
        for (path, share) in bond.shares(self.from, &span).into_iter().enumerate() {
            let (series, stats) = (bond.path_series(self.from, path), bond.link(self.from, path).stats());
            println!(
                "path {path}  {:.2} Mbit/s, {:.1} %; queue {:.1} / {:.1} / {:.1} ms; overflowed {}, lost {}, cut {}",
                series.rate(&span),
                100.0 * share,
                ms(series.backlog(50, &span)),
                ms(series.backlog(95, &span)),
                ms(series.backlog(100, &span)),
                stats.overflowed,
                stats.lost,
                stats.cut,
            );
        }
        for end in [A, B] {
            println!("end {end}   refused {}; {:?}", bond.refused(end), bond.end(end).stats());
        }
    }
}

/// A direction of the traffic beside the flows.
fn row(figures: &Figures) {
    let Figures { called, rate, sent, lost, late, beyond, overtaken, delay, frames } = figures;
    let [p50, p95, p99] = delay.map(ms);
    print!(
        "{called:<20} {rate:.2} Mbit/s; lost {lost} of {sent} ({:.2} %), late {late}, overtaken {overtaken}; delay ",
        { 100.0 * figures.loss() }
    );
    print!("{p50:.1} / {p95:.1} / {p99:.1} ms (50, 95, 99 %)");
    for (deadline, beyond) in DEADLINES.iter().zip(beyond).filter(|_| called.starts_with("call")) {
        print!(", {beyond} not in {} ms", deadline.as_millis());
    }
    match frames {
        Some([complete, all]) => println!("; {complete} of {all} frames in 150 ms"),
        None => println!(),
    }
}

/// The sum of the rates that the links have now.
fn sum_now(bond: &Bond<'_>, from: usize) -> u64 {
    (0..bond.path_count()).map(|path| bond.link(from, path).config().capacity()).sum()
}

fn percentiles(latencies: &mpt_fuzz::bond::Latencies, span: &Span) -> String {
    let [p50, p95, p99, most] = [50, 95, 99, 100].map(|at| ms(latencies.percentile(at, span)));
    format!("{p50:.1} / {p95:.1} / {p99:.1} / {most:.1} ms (50, 95, 99, 100 %)")
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn refuse(why: &str) -> ! {
    eprintln!("{why}\n\n{OPTIONS}\n{USAGE}\n\n{}\n\n{}", traffic::GRAMMAR, mpt_link::GRAMMAR);
    std::process::exit(2);
}

fn options() -> Options {
    let case = "--links het".parse().unwrap_or_else(|why: String| refuse(&why));
    let mut options = Options { case, cross: Vec::new(), every: 1.0 };
    let mut words = std::env::args().skip(1).peekable();
    while let Some(option) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| refuse(&format!("{option} wants a value")));
        match option.as_str() {
            "--cross" => {
                let text = value();
                let (path, name) = text.split_once(':').unwrap_or((&text, "cubic"));
                options.cross.push((parse(path), name.into()));
            }
            "--every" => options.every = parse(&value()),
            _ => match options.case.take(&option, &mut words) {
                Ok(true) => {}
                Ok(false) => refuse(&format!("no such option: {option}")),
                Err(why) => refuse(&why),
            },
        }
    }
    options
}

fn parse<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| refuse(&format!("{text:?} is not a number")))
}
