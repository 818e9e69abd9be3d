//! x
#![allow(clippy::print_stdout, missing_docs)]
use mpt_fuzz::bond::links::{config, links, sizes};
use mpt_fuzz::bond::{Bond, Memory, Route, Setup, TcpSetup};
use mpt_proto::Policy;
use std::time::Duration;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let paths = links(&args[1]);
    let n = paths.len();
    let mut paths = paths;
    for path in &mut paths {
        path.config
            .iter_mut()
            .for_each(|c| c.liveness = mpt_proto::Liveness::Probe(mpt_proto::Probing::INTERNET));
    }
    let mut memory = Memory::new(sizes(&paths), 0);
    let setup = Setup::new(args.get(6).map_or(1, |x| x.parse().unwrap()), &config(Policy::Adaptive), paths);
    let mut bond = Bond::new(&setup, &mut memory);
    bond.bring_up();
    let mut t = TcpSetup::default();
    if args[2] == "bbr" {
        t.config.congestion = mpt_fuzz::tcp_model::Congestion::Bbr;
    }
    let f = bond.tcp(0, Route::Tunnel, t);
    let (a, b): (u64, u64) = (args[3].parse().unwrap(), args[4].parse().unwrap());
    bond.run(Duration::from_millis(a));
    let step: u64 = args.get(5).map_or(50, |x| x.parse().unwrap());
    let mut at = a;
    while at < b {
        if at == 15000 {
            bond.set_clock_ahead(0, Duration::from_millis(300));
        }
        bond.run(Duration::from_millis(step));
        at += step;
        let e = bond.elapsed();
        let r = e - Duration::from_millis(step)..e;
        print!("{:6} {:6.2} held {} ", at, bond.flow(f).meter().rate(&r), bond.end(1).stats().rx_held);
        for p in 0..n {
            let m = bond.path_model(0, p);
            let s = bond.path_series(0, p);
            print!(
                " | {:6.2} q {:5.1} rate {:6.2} {:4.4} mq {:5.1} dev {:4.1} x {:5.1}{}{}",
                s.rate(&r),
                s.backlog(95, &r).as_secs_f64() * 1e3,
                f64::from(m.rate) * 8e-6,
                format!("{:?}", m.phase),
                f64::from(m.queue) / 1e3,
                f64::from(m.jitter) / 1e3,
                f64::from(m.extra_delay) / 1e3,
                if m.open { '*' } else { ' ' },
                if m.suspect { '!' } else { ' ' }
            );
        }
        println!();
    }
}
