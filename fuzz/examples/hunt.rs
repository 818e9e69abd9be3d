//! Hunts for links, traffic and events over which a bond is worse than the best of its links, or far below their sum.
//!
//! ```text
//! cargo run --release -p mpt-fuzz --example hunt -- --minutes 10 --seed 1 --threads 2
//! ```
//!
//! Cases are drawn at random, and made from the worst so far by small changes. They come in generations of a fixed size, so
//! that one seed always hunts the same way, whatever the number of threads: time only says how far. What is found is
//! printed as lines for `examples/bond.rs`, made simpler as long as it stays as bad.

#![allow(clippy::print_stdout, reason = "it is a command")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use mpt_fuzz::bond::case::{Case, Draft, Scope, Verdict, each};
use mpt_fuzz::rng::Rng;

const USAGE: &str = "\
--minutes N   how long to hunt (5)
--cases N     at most so many cases (no limit)
--seed S      (1)
--threads T   (2)
--links-only  one flow, no events: the cases of tests/bond/random.rs
--simplify N  how many of the worst are made simpler (3)";

/// Cases that are drawn from the same knowledge.
const GENERATION: usize = 32;
/// So many of the worst are changed, and printed.
const WORST: usize = 10;
/// Of these at most so many that were made from the same one.
const OF_FAMILY: usize = 1;
/// A simpler case may be better by this.
const AS_BAD: f64 = 0.02;

struct Options {
    time: Duration,
    cases: usize,
    seed: u64,
    threads: usize,
    scope: Scope,
    simplify: usize,
}

/// A case that was run; `None`: it panicked.
#[derive(Clone)]
struct Found {
    draft: Draft,
    verdict: Option<Verdict>,
}

/// What a case is ranked by.
#[derive(Clone, Copy)]
enum Rank {
    Best,
    Sum,
}

impl Rank {
    fn of(self, found: &Found) -> f64 {
        match (&found.verdict, self) {
            (None, _) => -1.0,
            (Some(verdict), Self::Best) => verdict.of_best(),
            (Some(verdict), Self::Sum) => verdict.of_sum(),
        }
    }
}

fn main() {
    let options = options();
    // A panic is a finding: it is told with its case.
    std::panic::set_hook(Box::new(|_| {}));
    #[allow(clippy::disallowed_methods, reason = "how long to hunt is about the host's time")]
    let started = Instant::now();
    let mut rng = Rng::new(options.seed);
    let mut all: Vec<Found> = Vec::new();
    let mut worst: Vec<Found> = Vec::new();
    while started.elapsed() < options.time && all.len() < options.cases {
        let drafts: Vec<Draft> = (0..GENERATION)
            .map(|number| match worst.get(rng.index(worst.len().max(1))) {
                Some(parent) if number % 2 == 1 => parent.draft.mutated(&mut rng),
                _ => Draft::new(&mut rng, options.scope),
            })
            .collect();
        all.extend(each(&drafts, options.threads, try_out));
        worst = [Rank::Best, Rank::Sum].into_iter().flat_map(|rank| sorted(&all, rank)).collect();
        let head = |rank| sorted(&all, rank).first().map_or(1.0, |found| rank.of(found));
        eprintln!(
            "{:5.0} s, {} cases; worst {:.3} of the best, {:.3} of the sum",
            started.elapsed().as_secs_f64(),
            all.len(),
            head(Rank::Best),
            head(Rank::Sum)
        );
    }
    for (rank, name) in [(Rank::Best, "the best link"), (Rank::Sum, "the sum")] {
        println!("\nWorst against {name}:");
        for (index, found) in sorted(&all, rank).into_iter().enumerate() {
            print(&found);
            if index < options.simplify {
                let simple = simplified(found.clone(), rank, options.threads);
                if simple.draft != found.draft {
                    print!("  as bad:  ");
                    print(&simple);
                }
            }
        }
        percentiles(&all, rank, name);
    }
    println!(
        "\nTo look into one: cargo run --release -p mpt-fuzz --example bond -- LINE\n\
         To keep one: paste `(0.97, r#\"LINE\"#),` into HUNTED in fuzz/tests/bond/hunted.rs, its first number the bar against the \
         best link, and take it over: MPT_BLESS=1 cargo test -p mpt-fuzz --test bond hunted"
    );
}

fn try_out(draft: &Draft) -> Found {
    let case = draft.case();
    let verdict = catch_unwind(AssertUnwindSafe(|| Verdict::in_short(&case, &Case::run))).ok();
    Found { draft: draft.clone(), verdict }
}

/// The worst, but few of a family.
fn sorted(all: &[Found], rank: Rank) -> Vec<Found> {
    let mut order: Vec<&Found> = all.iter().collect();
    order.sort_by(|a, b| rank.of(a).total_cmp(&rank.of(b)));
    let mut members: BTreeMap<u64, usize> = BTreeMap::new();
    order.retain(|found| {
        let count = members.entry(found.draft.family()).or_default();
        *count += 1;
        *count <= OF_FAMILY
    });
    order.into_iter().take(WORST).cloned().collect()
}

/// As long as something can be left out and the case stays as bad, it is.
fn simplified(mut found: Found, rank: Rank, threads: usize) -> Found {
    let as_bad = rank.of(&found) + AS_BAD;
    loop {
        let tried = each(&found.draft.simpler(), threads, try_out);
        let Some(simpler) = tried.into_iter().find(|it| rank.of(it) <= as_bad) else { return found };
        found = simpler;
    }
}

fn print(found: &Found) {
    let case = found.draft.case();
    match &found.verdict {
        None => println!("panics:  {case}"),
        Some(verdict) => println!(
            "{:.3} of the best ({:.2} of {:.2} Mbit/s), {:.3} of the sum:  {case}",
            verdict.of_best(),
            verdict.outcome.rate,
            verdict.alone.max(verdict.plain),
            verdict.of_sum()
        ),
    }
}

fn percentiles(all: &[Found], rank: Rank, name: &str) {
    let mut values: Vec<f64> = all.iter().map(|found| rank.of(found)).collect();
    values.sort_by(f64::total_cmp);
    let at = |percent: usize| values.get(values.len() * percent / 100).copied().unwrap_or(f64::NAN);
    println!(
        "{} cases against {name} (1: clear without a reference): 1 % {:.3}, 5 % {:.3}, 10 % {:.3}, 25 % {:.3}, median {:.3}",
        values.len(),
        at(1),
        at(5),
        at(10),
        at(25),
        at(50)
    );
}

fn options() -> Options {
    let mut options = Options {
        time: Duration::from_secs(300),
        cases: usize::MAX,
        seed: 1,
        threads: 2,
        scope: Scope::Everything,
        simplify: 3,
    };
    let mut words = std::env::args().skip(1);
    while let Some(option) = words.next() {
        let mut value =
            || words.next().and_then(|word| word.parse::<f64>().ok()).unwrap_or_else(|| refuse(&option));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
        let mut whole = || value() as usize;
        match option.as_str() {
            "--cases" => options.cases = whole(),
            "--seed" => options.seed = whole() as u64,
            "--threads" => options.threads = whole().max(1),
            "--simplify" => options.simplify = whole(),
            "--minutes" => options.time = Duration::from_secs_f64(60.0 * value().clamp(0.0, 1e6)),
            "--links-only" => options.scope = Scope::OneFlow,
            _ => refuse(&option),
        }
    }
    options
}

fn refuse(option: &str) -> ! {
    eprintln!("{option}: no such option, or not a number\n\n{USAGE}");
    std::process::exit(2);
}
