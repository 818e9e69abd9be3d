use super::*;
use crate::ecn::Ecn::{Ce, Ect0, Ect1, NotEct};

/// What becomes of the marked probe on the way.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Arrives(Ecn),
    /// At a peer that does not tell how.
    ArrivesUntold,
    Lost,
    /// As the regular one is.
    BothLost,
}

use Fate::{Arrives, ArrivesUntold, BothLost, Lost};

/// A path whose regular probes leave each half second and are answered after 50 ms.
struct Bench {
    check: EcnCheck,
    now: Instant,
    tests: u32,
}

impl Bench {
    fn new() -> Self {
        Self { check: EcnCheck::default(), now: Instant::from_micros(5_000_000), tests: 0 }
    }

    /// Lets regular probes leave for some seconds, while packets with marks leave, too.
    fn run(&mut self, seconds: u32, fate: Fate) {
        for _ in 0..2 * seconds {
            self.check.outer(Ect0);
            let probe = self.now.stamp();
            let test = self.check.test(self.now);
            self.tests += u32::from(test);
            self.now = self.now + Micros(50_000);
            if fate != BothLost {
                self.check.handle_echo(probe, Some(NotEct), self.now);
            }
            if test {
                let stamp = self.check.stamp();
                match fate {
                    Arrives(mark) => self.check.handle_echo(stamp, Some(mark), self.now),
                    ArrivesUntold => self.check.handle_echo(stamp, None, self.now),
                    Lost | BothLost => {}
                }
            }
            self.now = self.now + Micros(450_000);
        }
    }

    /// The outer marks for each of the inner ones.
    fn outer(&mut self) -> [Ecn; 4] {
        [NotEct, Ect1, Ect0, Ce].map(|inner| self.check.outer(inner))
    }
}

const ALL: [Ecn; 4] = [NotEct, Ect1, Ect0, Ce];
const NONE: [Ecn; 4] = [NotEct; 4];

#[test]
fn rfc6040_4_1_the_outer_header_has_the_marks_once_the_path_is_known_to_carry_them() {
    for fate in [Arrives(Ect0), Arrives(Ce), ArrivesUntold] {
        let mut bench = Bench::new();
        assert_eq!(bench.outer(), NONE, "compatibility mode until then");
        bench.run(1, fate);
        assert_eq!(bench.outer(), ALL);
        assert_eq!(bench.check.news(), None, "that it works is no news");
    }
}

#[test]
fn rfc9000_13_4_2_a_path_that_clears_marks_gets_none_and_is_tried_again() {
    for wrong in [NotEct, Ect1] {
        let mut bench = Bench::new();
        bench.run(1, Arrives(wrong));
        assert_eq!(bench.outer(), NONE);
        assert_eq!(bench.check.news(), Some(Some(EcnFault::Cleared)));
        bench.run(55, Arrives(Ect0));
        assert_eq!((bench.outer(), bench.tests, bench.check.news()), (NONE, 1, None), "not yet");
        bench.run(10, Arrives(Ect0));
        assert_eq!((bench.outer(), bench.check.news()), (ALL, Some(None)));
    }
}

#[test]
fn rfc9000_13_4_2_a_path_that_drops_what_is_marked_gets_no_marks() {
    let mut bench = Bench::new();
    bench.run(10, Lost);
    assert_eq!((bench.outer(), bench.check.news()), (NONE, None), "it may be chance");
    bench.run(10, Lost);
    assert_eq!((bench.outer(), bench.check.news()), (NONE, Some(Some(EcnFault::Lost))));
    let before = bench.tests;
    bench.run(50, Lost);
    assert_eq!(bench.tests, before);
    bench.run(20, Lost);
    assert_eq!((bench.tests, bench.check.news()), (before + 1, None), "tried again, in vain");
}

#[test]
fn after_the_first_lost_test_no_marks_are_risked() {
    let mut bench = Bench::new();
    bench.run(1, Arrives(Ect0));
    // A test is due within 2 s, and given up 3 s later.
    bench.run(6, Lost);
    assert_eq!((bench.outer(), bench.check.news()), (NONE, None));
    bench.run(4, Arrives(Ect0));
    assert_eq!((bench.outer(), bench.check.news()), (ALL, None));
}

#[test]
fn what_is_lost_together_with_unmarked_probes_tells_nothing() {
    let mut bench = Bench::new();
    bench.run(1, Arrives(Ect0));
    bench.run(120, BothLost);
    assert_eq!((bench.outer(), bench.check.news()), (ALL, None));
}

#[test]
fn rfc9000_13_4_2_a_path_that_marks_everything_gets_no_marks_but_congestion_may_last() {
    let mut bench = Bench::new();
    bench.run(4, Arrives(Ce));
    assert_eq!((bench.outer(), bench.tests), (ALL, 8));
    bench.run(1, Arrives(Ce));
    assert_eq!((bench.outer(), bench.check.news()), (NONE, Some(Some(EcnFault::AllMarked))));

    let mut bench = Bench::new();
    for _ in 0..20 {
        bench.run(4, Arrives(Ce));
        bench.run(1, Arrives(Ect0));
        assert_eq!((bench.outer(), bench.check.news()), (ALL, None));
    }
}

#[test]
fn a_path_that_nothing_marked_wants_is_not_tested() {
    let mut check = EcnCheck::default();
    for second in 0..100 {
        let now = Instant::from_micros(second * 1_000_000);
        assert_eq!(check.outer(NotEct), NotEct);
        assert!(!check.test(now));
    }
}

#[test]
fn a_path_that_starts_anew_is_tested_anew() {
    let mut bench = Bench::new();
    bench.run(1, Arrives(NotEct));
    assert_eq!(bench.check.news(), Some(Some(EcnFault::Cleared)));
    bench.check.restart();
    assert_eq!((bench.outer(), bench.check.news()), (NONE, None));
    bench.run(1, Arrives(Ect0));
    assert_eq!((bench.outer(), bench.check.news()), (ALL, Some(None)));
}
