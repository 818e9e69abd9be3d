//! Runs one bond in virtual time and prints what happened, to look into what a scenario's table says.
//!
//! ```text
//! cargo run --release -p mpt-fuzz --example bond -- --links "100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%" --ping
//! cargo run --release -p mpt-fuzz --example bond -- --links "4mbit 10ms, 4mbit 10ms" --at "5s freeze 0" "8s mend 0"
//! ```

#![allow(clippy::print_stdout, reason = "it is a command")]

use std::time::{Duration, Instant};

use mpt_fuzz::bond::links::{config, links, sizes, sum};
use mpt_fuzz::bond::{AppId, Bond, Memory, Route, Setup, StreamSetup, TcpSetup};
use mpt_fuzz::joined::{A, B};
use mpt_fuzz::tcp_model::wire::Transport;
use mpt_fuzz::tcp_model::{self, Congestion, LossDetection};
use mpt_proto::{Ecn, Policy};

const USAGE: &str = "\
--links TEXT        links, separated by commas, as below, or shared0 for a path over the link of the first: \"100mbit 5ms,
                    50mbit 33ms 3ms, 20mbit 80ms 1% burst 8 queue 60ms, lte\"; or het, hom (default het)
--policy NAME       adaptive (the default), weighted, flow, backup, redundant
--cc NAME           cubic, reno, bbr, quic (a threshold of three), quic-udp (the same in UDP), ecn (cubic that
                    is marked), none; or several, separated by commas
--ping              a ping each 10 ms beside it
--stream MBIT       a stream of UDP at a constant rate
--cross PATH:CC     another TCP flow on the link of a path, beside the tunnel
--at \"TIME WHAT\"    what happens, any number of: \"5s freeze 0\", \"5s cut 0\", \"6s mend 0\", \"7s rate 0 10\" (Mbit/s),
                    \"7s delay 0 50\" (ms)
--time SECONDS      of virtual time (20)
--warm SECONDS      left out of the summary (a third)
--every SECONDS     a line (1)
--seed N            (1)
--drift PPM         how fast the other end's clock runs (0)
--reverse           the far end sends";

struct Options {
    links: String,
    policy: Policy,
    congestions: Vec<String>,
    ping: bool,
    stream: Option<f64>,
    cross: Vec<(usize, String)>,
    changes: Vec<(Duration, Vec<String>)>,
    time: f64,
    warm: Option<f64>,
    every: f64,
    seed: u64,
    drift: i32,
    from: usize,
}

fn main() {
    let options = options();
    let paths = links(&options.links);
    let mut memory = Memory::new(sizes(&paths), 0);
    let mut setup = Setup::new(options.seed, &config(options.policy), paths);
    setup.drift = options.drift;
    // What is printed of the host's own time is how long it took.
    #[allow(clippy::disallowed_methods, reason = "not part of the run")]
    let started = Instant::now();
    let mut bond = Bond::new(&setup, &mut memory);
    bond.bring_up();
    let from = options.from;
    let flows: Vec<AppId> = options
        .congestions
        .iter()
        .filter(|name| *name != "none")
        .map(|name| bond.tcp(from, Route::Tunnel, tcp(name)))
        .collect();
    let ping = options.ping.then(|| bond.ping(from, Duration::from_millis(10)));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
    let stream = options.stream.map(|megabits| {
        let setup = StreamSetup { bits_per_second: (megabits * 1e6) as u64, packet_len: 1400 };
        bond.stream(from, Route::Tunnel, setup)
    });
    let cross: Vec<AppId> =
        options.cross.iter().map(|(path, name)| bond.tcp(from, Route::Link(*path), tcp(name))).collect();

    let report = Report { flows, cross, stream, ping, from };
    let begun = bond.elapsed();
    let end = begun + Duration::from_secs_f64(options.time);
    let mut changes = options.changes.into_iter().peekable();
    report.head(&bond);
    while bond.elapsed() < end {
        let line = bond.elapsed() + Duration::from_secs_f64(options.every);
        let from = bond.elapsed();
        while let Some((at, words)) = changes.next_if(|(at, _)| begun + *at < line) {
            bond.run((begun + at).saturating_sub(bond.elapsed()));
            println!("        {}", words.join(" "));
            change(&mut bond, &words);
        }
        bond.run(line.saturating_sub(bond.elapsed()));
        report.line(&bond, begun, from..line);
    }
    let warm = Duration::from_secs_f64(options.warm.unwrap_or(options.time / 3.0));
    report.summary(&bond, begun + warm..bond.elapsed());
    println!("{:.2} s for {:.0} s", started.elapsed().as_secs_f64(), options.time);
}

struct Report {
    flows: Vec<AppId>,
    cross: Vec<AppId>,
    stream: Option<AppId>,
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
        if let Some(stream) = self.stream {
            let stream = bond.stream_of(stream);
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
        if let Some(stream) = self.stream {
            let stream = bond.stream_of(stream);
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

fn tcp(name: &str) -> TcpSetup {
    let config = tcp_model::Config::default();
    let quic = tcp_model::Config { detection: LossDetection::Threshold, ..config };
    let (config, transport) = match name {
        "cubic" => (config, Transport::Tcp),
        "reno" => (tcp_model::Config { congestion: Congestion::Reno, ..config }, Transport::Tcp),
        "bbr" => (tcp_model::Config { congestion: Congestion::Bbr, ..config }, Transport::Tcp),
        "quic" => (quic, Transport::Tcp),
        "quic-udp" => (quic, Transport::Udp),
        "ecn" => return TcpSetup { ecn: Ecn::Ect0, ..TcpSetup::default() },
        other => refuse(&format!("no such congestion control: {other}")),
    };
    TcpSetup { config, transport, ..TcpSetup::default() }
}

fn change(bond: &mut Bond<'_>, words: &[String]) {
    let number = |at: usize| -> u64 {
        let word = words.get(at).and_then(|word| word.parse().ok());
        word.unwrap_or_else(|| refuse(&format!("{words:?} wants a number")))
    };
    let path = usize::try_from(number(1)).unwrap_or(usize::MAX);
    match words[0].as_str() {
        "freeze" => bond.freeze(path),
        "cut" => bond.cut(path),
        "mend" => bond.mend(path),
        "rate" => bond.change_link(path, |link| {
            link.trace = None;
            if let Some(rate) = &mut link.rate {
                rate.bits_per_second = number(2) * 1_000_000;
            }
        }),
        "delay" => bond.change_link(path, |link| link.delay = Duration::from_millis(number(2))),
        other => refuse(&format!("no such change: {other}")),
    }
}

fn refuse(why: &str) -> ! {
    eprintln!("{why}\n\n{USAGE}\n\n{}", mpt_link::GRAMMAR);
    std::process::exit(2);
}

fn options() -> Options {
    let mut options = Options {
        links: "het".into(),
        policy: Policy::Adaptive,
        congestions: vec!["cubic".into()],
        ping: false,
        stream: None,
        cross: Vec::new(),
        changes: Vec::new(),
        time: 20.0,
        warm: None,
        every: 1.0,
        seed: 1,
        drift: 0,
        from: A,
    };
    let mut words = std::env::args().skip(1).peekable();
    while let Some(option) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| refuse(&format!("{option} wants a value")));
        match option.as_str() {
            "--links" => options.links = value(),
            "--policy" => options.policy = policy(&value()),
            "--cc" => options.congestions = value().split(',').map(Into::into).collect(),
            "--ping" => options.ping = true,
            "--stream" => options.stream = Some(parse(&value())),
            "--cross" => {
                let text = value();
                let (path, name) = text.split_once(':').unwrap_or((&text, "cubic"));
                options.cross.push((parse(path), name.into()));
            }
            "--at" => {
                while let Some(text) = words.next_if(|word| !word.starts_with("--")) {
                    let mut parts = text.split_whitespace().map(String::from);
                    let time = parts.next().unwrap_or_default();
                    let time = Duration::from_secs_f64(parse(time.trim_end_matches('s')));
                    options.changes.push((time, parts.collect()));
                }
            }
            "--time" => options.time = parse(&value()),
            "--warm" => options.warm = Some(parse(&value())),
            "--every" => options.every = parse(&value()),
            "--seed" => options.seed = parse(&value()),
            "--drift" => options.drift = parse(&value()),
            "--reverse" => options.from = B,
            other => refuse(&format!("no such option: {other}")),
        }
    }
    options.changes.sort_by_key(|(at, _)| *at);
    options.links = match options.links.as_str() {
        "het" => "100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%".into(),
        "hom" => ["100mbit 5ms"; 4].join(", "),
        _ => options.links,
    };
    let paths = links(&options.links);
    println!(
        "{} ({} Mbit/s), {:?}, seed {}",
        options.links,
        sum(&paths) / 1_000_000,
        options.policy,
        options.seed
    );
    options
}

fn policy(name: &str) -> Policy {
    match name {
        "adaptive" => Policy::Adaptive,
        "weighted" => Policy::Weighted,
        "flow" => Policy::Flow,
        "backup" => Policy::Backup,
        "redundant" => Policy::Redundant,
        other => refuse(&format!("no such policy: {other}")),
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| refuse(&format!("{text:?} is not a number")))
}
