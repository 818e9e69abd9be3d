//! A set of numbers that come mostly in runs.

use std::ops::Range;

/// Numbers as runs, ascending, neither touching nor empty.
#[derive(Debug, Clone, Default)]
pub struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// Adds a number; false: it was there.
    pub fn insert(&mut self, number: u64) -> bool {
        // The first run that ends at the number or behind it: the only one it can be in or prolong.
        let at = self.0.partition_point(|run| run.end < number);
        let joins_next = self.0.get(at + 1).is_some_and(|next| next.start == number + 1);
        match self.0.get_mut(at) {
            Some(run) if run.contains(&number) => return false,
            Some(run) if run.end == number => {
                run.end += 1;
                if joins_next {
                    let next = self.0.remove(at + 1);
                    self.0[at].end = next.end;
                }
            }
            Some(run) if run.start == number + 1 => run.start = number,
            _ => self.0.insert(at, number..number + 1),
        }
        true
    }

    /// The run that holds a number.
    pub fn run_of(&self, number: u64) -> Option<Range<u64>> {
        let at = self.0.partition_point(|run| run.end <= number);
        self.0.get(at).filter(|run| run.contains(&number)).cloned()
    }

    /// Forgets all numbers below.
    pub fn forget_below(&mut self, number: u64) {
        let gone = self.0.partition_point(|run| run.end <= number);
        self.0.drain(..gone);
        if let Some(first) = self.0.first_mut() {
            first.start = first.start.max(number);
        }
    }

    /// Calls with each number of `within` that is not in the set, ascending.
    pub fn absent(&self, within: Range<u64>, mut call: impl FnMut(u64)) {
        let mut number = within.start;
        let first = self.0.partition_point(|run| run.end <= within.start);
        for run in &self.0[first..] {
            (number..run.start.min(within.end)).for_each(&mut call);
            number = run.end.max(number);
            if number >= within.end {
                return;
            }
        }
        (number..within.end).for_each(call);
    }

    /// The first run.
    pub fn first(&self) -> Option<Range<u64>> {
        self.0.first().cloned()
    }

    /// Whether there is no number.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, test_seed};
    use std::collections::BTreeSet;

    #[test]
    fn a_set_of_runs_answers_as_a_set_of_numbers_does() {
        let mut rng = Rng::new(test_seed(60));
        let (mut runs, mut numbers) = (Ranges::default(), BTreeSet::new());
        for step in 0..4000 {
            let number = step / 50 + rng.below(60);
            match rng.below(10) {
                0 => {
                    runs.forget_below(number);
                    numbers.retain(|it| *it >= number);
                }
                _ => assert_eq!(runs.insert(number), numbers.insert(number)),
            }
            let (from, to) = (step / 50, step / 50 + 70);
            let mut absent = Vec::new();
            runs.absent(from..to, |it| absent.push(it));
            assert!(absent.into_iter().eq((from..to).filter(|it| !numbers.contains(it))));
            assert_eq!(runs.run_of(number).is_some(), numbers.contains(&number));
            assert!(runs.0.windows(2).all(|two| two[0].end < two[1].start), "{runs:?}");
            assert_eq!(runs.first().map(|run| run.start), numbers.first().copied());
        }
    }
}
