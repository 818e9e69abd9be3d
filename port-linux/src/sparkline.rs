//! A course of values as one line of text.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What stands where a value is not known.
const UNKNOWN: char = ' ';

/// The last `width` of the values, the largest of these as the highest bar. Right-aligned: the last value is the last character.
pub fn sparkline(values: &[Option<u64>], width: usize) -> String {
    let shown = &values[values.len().saturating_sub(width)..];
    let highest = shown.iter().flatten().max().copied().unwrap_or(0);
    let bar = |value: u64| {
        // The lowest bar is for nothing, and for little beside the highest.
        let step = u128::from(value) * (BARS.len() as u128 - 1);
        let step = step.div_ceil(u128::from(highest.max(1)));
        BARS[usize::try_from(step).unwrap_or(0).min(BARS.len() - 1)]
    };
    let missing = std::iter::repeat_n(UNKNOWN, width - shown.len());
    missing.chain(shown.iter().map(|value| value.map_or(UNKNOWN, bar))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_values_are_shown_right_aligned_and_scaled_to_the_highest() {
        let values: Vec<Option<u64>> = [9_999, 0, 1, 35, 70].map(Some).to_vec();
        assert_eq!(sparkline(&values, 4), "▁▂▅█");
        assert_eq!(sparkline(&values[1..], 6), "  ▁▂▅█");
    }

    #[test]
    fn what_is_not_known_is_a_gap_and_nothing_is_the_lowest_bar() {
        assert_eq!(sparkline(&[Some(4), None, Some(0)], 3), "█ ▁");
        assert_eq!(sparkline(&[Some(0), Some(0)], 2), "▁▁");
        assert_eq!(sparkline(&[], 3), "   ");
        assert_eq!(sparkline(&[Some(1)], 0), "");
        assert_eq!(sparkline(&[Some(u64::MAX), Some(u64::MAX - 1)], 2), "██");
    }
}
