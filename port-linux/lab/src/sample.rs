//! Repeats of one measurement, summed up.

use serde::{Deserialize, Serialize};

/// Median and range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The middle one, or the mean of the middle two.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// Sums up; `None` for nothing.
pub fn summary(values: impl IntoIterator<Item = f64>) -> Option<Summary> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let upper = sorted.len() / 2;
    let median = match sorted.len() % 2 {
        0 => f64::midpoint(sorted[upper - 1], sorted[upper]),
        _ => sorted[upper],
    };
    Some(Summary { median, min, max })
}

/// The value below or at which a share of all lies, of a histogram whose index is the value; 0 for nothing.
pub fn percentile(histogram: &[u64], share: f64) -> usize {
    let wanted = (histogram.iter().sum::<u64>() as f64 * share).ceil();
    let mut sum = 0;
    let reached = |count: &u64| {
        sum += count;
        sum as f64 >= wanted
    };
    histogram.iter().position(reached).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_odd_number_is_the_middle_one() {
        assert_eq!(summary([9.0, 1.0, 2.0]), Some(Summary { median: 2.0, min: 1.0, max: 9.0 }));
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(summary([4.0, 1.0, 2.0, 9.0]).map(|summary| summary.median), Some(3.0));
    }

    #[test]
    fn nothing_has_no_summary() {
        assert_eq!(summary([]), None);
    }

    #[test]
    fn a_percentile_is_the_least_value_that_covers_the_share() {
        let histogram = [0, 98, 1, 0, 1];
        assert_eq!([0.5, 0.98, 0.99, 1.0].map(|share| percentile(&histogram, share)), [1, 1, 2, 4]);
        assert_eq!(percentile(&[0, 0], 0.5), 0);
    }
}
