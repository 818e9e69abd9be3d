//! A thousand random sets of links: a bond is not worse than the best of its links, and mostly nearly the sum.

use std::time::Duration;

use mpt_fuzz::bond::case::{Case, Draft, Scope, Verdict, each};
use mpt_fuzz::rng::Rng;

use crate::table::Table;

const THREADS: usize = 2;
/// Long enough for CUBIC to fill a long fat link.
const WARM: Duration = Duration::from_secs(30);
const TIME: Duration = Duration::from_secs(45);
/// The least that a bond must have of its best link alone, what it must have but for one of a hundred, and the median of
/// the sum.
const LEAST: f64 = 0.95;
const OF_BEST: f64 = 0.97;
const OF_SUM: f64 = 0.93;
/// The worst that are told.
const TOLD: usize = 20;

struct Outcome {
    number: u64,
    case: Case,
    verdict: Verdict,
}

fn run(number: u64) -> Outcome {
    let case = Draft::new(&mut Rng::new(number), Scope::OneFlow).case();
    let case = Case { time: TIME, warm: Some(WARM), ..case };
    let verdict = Verdict::in_short(&case, &Case::run);
    println!("{number}: {:.3} of the best, {:.3} of the sum: {case}", verdict.of_best(), verdict.of_sum());
    Outcome { number, case, verdict }
}

/// A value by its share of those that are less.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

#[test]
#[ignore = "a quarter of an hour on two cores: cargo test -p mpt-fuzz --test bond -- --ignored random; 200 of them with MPT_QUICK=1"]
fn a_bond_over_random_links_is_not_worse_than_its_best_link_and_mostly_nearly_the_sum() {
    let quick = std::env::var_os("MPT_QUICK").is_some();
    let (file, count) = if quick { ("random-quick.txt", 200) } else { ("random.txt", 1000) };
    let numbers: Vec<u64> = (0..count).collect();
    let mut outcomes = each(&numbers, THREADS, |number| run(*number));
    outcomes.sort_by(|a, b| a.verdict.of_best().total_cmp(&b.verdict.of_best()));
    let mut table = Table::new(
        file,
        "One flow over random sets of links, from 30 s to 45 s, beside the better of the best link alone with and without a \
         tunnel (1: no link carries as much); percentiles, and the worst",
        &["", "Mbit/s", "best alone", "plain", "of the best", "of sum"],
    );
    let of_best: Vec<f64> = outcomes.iter().map(|it| it.verdict.of_best()).collect();
    let mut of_sum: Vec<f64> = outcomes.iter().map(|it| it.verdict.of_sum()).collect();
    of_sum.sort_by(f64::total_cmp);
    for percent in [0, 1, 5, 10, 25, 50, 75] {
        let row = table.row(&format!("{percent} %")).text("").text("").text("");
        let (best, sum) = (percentile(&of_best, percent), percentile(&of_sum, percent));
        let row = match percent {
            0 => row.at_least(best, LEAST, 3),
            1 => row.at_least(best, OF_BEST, 3),
            _ => row.value(best, 3),
        };
        if percent == 50 { row.at_least(sum, OF_SUM, 3) } else { row.value(sum, 3) }.end();
    }
    for (index, Outcome { number, verdict, .. }) in outcomes.iter().take(TOLD).enumerate() {
        table
            .row(&format!("worst {}: set {number}", index + 1))
            .value(verdict.outcome.rate, 2)
            .value(verdict.alone, 2)
            .value(verdict.plain, 2)
            .value(verdict.of_best(), 3)
            .value(verdict.of_sum(), 3)
            .end();
    }
    for Outcome { number, case, .. } in outcomes.iter().take(TOLD) {
        table.note(&format!("{number}: {case}"));
    }
    table.check();
}
