//! Text that fits narrow columns.

use ratatui::text::Span;

/// What stands for a value that is not known.
pub(super) const UNKNOWN: &str = "-";

/// What is known, or [`UNKNOWN`].
pub(super) fn known<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), show)
}

/// Text with a width of exactly `width` columns: padded at the end, or cut with an ellipsis.
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

/// As [`fit`], but padded at the beginning.
pub(super) fn right(text: &str, width: usize) -> String {
    let fitted = fit(text, width);
    let bare = fitted.trim_end();
    format!("{}{bare}", " ".repeat(width.saturating_sub(Span::raw(bare).width())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_exactly_the_width() {
        assert_eq!(fit("lte", 5), "lte  ");
        assert_eq!(fit("a-very-long-name", 6), "a-ver…");
        assert_eq!(fit("日本語", 4), "日… ");
        assert_eq!((fit("lte", 0), fit("lte", 1)), (String::new(), "…".to_owned()));
        assert_eq!((right("5", 3), right("12345", 3)), ("  5".to_owned(), "12…".to_owned()));
    }
}
