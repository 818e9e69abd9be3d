//! Two hundred random sets of links: a bond is never worse than the best of its links.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mpt_fuzz::bond::PathSetup;
use mpt_fuzz::bond::links::delivered;
use mpt_fuzz::joined::A;
use mpt_fuzz::rng::Rng;

use crate::table::Table;
use crate::{bonded, capacity, flow, links};

const SETS: usize = 200;
const THREADS: usize = 2;
/// Long enough for CUBIC to fill a long fat link.
const WARM: Duration = Duration::from_secs(30);
const TIME: Duration = Duration::from_secs(45);
/// The least that a bond must have of its best link alone, and the middle one of the sum.
const OF_BEST: f64 = 0.97;
const OF_SUM: f64 = 0.9;

/// From 1 to `most`, each power of two about as often as any other.
fn spread(rng: &mut Rng, most: u64) -> u64 {
    loop {
        let octave = 1 << rng.below(u64::from(most.ilog2()) + 1);
        let value = octave + rng.below(octave);
        if value <= most {
            return value;
        }
    }
}

/// Two to five links: 1 to 300 Mbit/s, 1 to 200 ms; half of them lose up to 5 %, half of those in bursts.
fn set(number: usize) -> String {
    let mut rng = Rng::new(number as u64);
    let links: Vec<String> = (0..2 + rng.below(4))
        .map(|_| {
            let (rate, delay) = (spread(&mut rng, 300), spread(&mut rng, 200));
            let loss = match rng.below(4) {
                0 => format!(" {}.{}%", rng.below(5), rng.below(10)),
                1 => format!(" {}.{}% burst {}", rng.below(5), rng.below(10), 2 + rng.below(7)),
                _ => String::new(),
            };
            format!("{rate}mbit {delay}ms{loss}")
        })
        .collect();
    links.join(", ")
}

/// Mbit/s of one flow over some paths, and what they could carry.
fn goodput(paths: &[PathSetup]) -> (f64, f64) {
    bonded(paths.to_vec(), |bond| {
        let begun = bond.elapsed();
        let flow = flow(bond, "CUBIC");
        bond.run(TIME);
        (bond.flow(flow).meter().rate(&(begun + WARM..begun + TIME)), capacity(bond, paths))
    })
}

struct Outcome {
    number: usize,
    text: String,
    bond: f64,
    best: f64,
    sum: f64,
}

fn run(number: usize) -> Outcome {
    let text = set(number);
    let paths = links(&text);
    let (bond, sum) = goodput(&paths);
    let mut single = paths;
    single.sort_by_key(|path| std::cmp::Reverse(delivered(path.link[A])));
    let mut best: f64 = 0.0;
    for path in single {
        // What carries less than the best so far had cannot be better.
        if delivered(path.link[A]) as f64 / 1e6 > best {
            best = best.max(goodput(&[path]).0);
        }
    }
    println!("set {number}: {bond:.2} of {sum:.2}, best alone {best:.2}: --links \"{text}\"");
    Outcome { number, text, bond, best, sum }
}

#[test]
#[ignore = "three minutes on two cores: cargo test -p mpt-fuzz --test bond -- --ignored"]
fn a_bond_is_never_worse_than_its_best_link_and_mostly_nearly_the_sum() {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= SETS {
                        break;
                    }
                    let outcome = run(number);
                    outcomes.lock().expect("no thread panics").push(outcome);
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().expect("no thread panics");
    outcomes.sort_by(|a, b| (a.bond / a.best).total_cmp(&(b.bond / b.best)));
    let mut shares: Vec<f64> = outcomes.iter().map(|it| it.bond / it.sum).collect();
    shares.sort_by(f64::total_cmp);
    let mut table = Table::new(
        "random.txt",
        "One CUBIC flow over random sets of links, from 30 s to 45 s, beside the best of the links alone; worst first",
        &["set", "Mbit/s", "best alone", "of the best", "of sum"],
    );
    table.row("median").text("").text("").text("").at_least(shares[SETS / 2], OF_SUM, 3).end();
    for outcome in &outcomes {
        table
            .row(&format!("{}: {}", outcome.number, outcome.text))
            .value(outcome.bond, 2)
            .value(outcome.best, 2)
            .at_least(outcome.bond / outcome.best, OF_BEST, 3)
            .value(outcome.bond / outcome.sum, 3)
            .end();
    }
    table.check();
}
