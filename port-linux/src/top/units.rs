//! Numbers for narrow columns, and text that fits them.

use ratatui::text::Span;

/// What stands for a value that is not known.
pub(super) const UNKNOWN: &str = "-";

/// A rate or a count with at most five characters: `0`, `999`, `1.2k`, `91.4M`, `184M`.
pub(super) fn short(count: u64) -> String {
    let (mut tenths, mut unit) = (u128::from(count) * 10, 0);
    while tenths >= 10_000 {
        (tenths, unit) = (tenths / 1000, unit + 1);
    }
    let unit = ["", "k", "M", "G", "T", "P", "E"].get(unit).copied().unwrap_or_default();
    let whole = tenths / 10;
    if whole >= 100 || unit.is_empty() {
        format!("{whole}{unit}")
    } else {
        format!("{whole}.{}{unit}", tenths % 10)
    }
}

/// Microseconds as milliseconds, with at most five characters below 100 s.
pub(super) fn milliseconds(us: u64) -> String {
    if us < 100_000 { format!("{}.{}", us / 1000, us % 1000 / 100) } else { (us / 1000).to_string() }
}

/// Thousandths as percent: `0.3`, `12`.
pub(super) fn percent(per_mille: u64) -> String {
    if per_mille < 100 {
        format!("{}.{}", per_mille / 10, per_mille % 10)
    } else {
        (per_mille / 10).to_string()
    }
}

/// What is known, or [`UNKNOWN`].
pub(super) fn known<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), show)
}

/// Exactly so many columns: padded at the end, or cut with an ellipsis.
pub(super) fn fit(text: &str, width: usize) -> String {
    let columns = |text: &str| Span::raw(text).width();
    if columns(text) <= width {
        return format!("{text}{}", " ".repeat(width - columns(text)));
    }
    let mut cut = String::new();
    for character in text.chars().filter(|character| !character.is_control()) {
        let mut longer = cut.clone();
        longer.push(character);
        if columns(&longer) + 1 > width {
            break;
        }
        cut = longer;
    }
    if width > 0 {
        cut.push('…');
    }
    let rest = width.saturating_sub(columns(&cut));
    cut + &" ".repeat(rest)
}

/// The same, padded at the beginning.
pub(super) fn right(text: &str, width: usize) -> String {
    let fitted = fit(text, width);
    let bare = fitted.trim_end();
    format!("{}{bare}", " ".repeat(width.saturating_sub(Span::raw(bare).width())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_narrow_columns() {
        let shown = [0, 999, 1_000, 1_250, 99_950, 100_000, 183_500_000, 7_100_000_000, u64::MAX].map(short);
        assert_eq!(shown, ["0", "999", "1.0k", "1.2k", "99.9k", "100k", "183M", "7.1G", "18.4E"]);
        assert_eq!(
            [0, 1_250, 99_999, 100_000, 12_345_678].map(milliseconds),
            ["0.0", "1.2", "99.9", "100", "12345"]
        );
        assert_eq!([0, 3, 99, 100, 1000].map(percent), ["0.0", "0.3", "9.9", "10", "100"]);
    }

    #[test]
    fn text_has_exactly_the_width() {
        assert_eq!(fit("lte", 5), "lte  ");
        assert_eq!(fit("a-very-long-name", 6), "a-ver…");
        assert_eq!(fit("日本語", 4), "日… ");
        assert_eq!((fit("lte", 0), fit("lte", 1)), (String::new(), "…".to_owned()));
        assert_eq!((right("5", 3), right("12345", 3)), ("  5".to_owned(), "12…".to_owned()));
    }
}
