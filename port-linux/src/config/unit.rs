//! Numbers with units, as people write them: `2.5mbit`, `64MB`.

/// The number and the unit of a text. A space between them stays with the number.
pub(super) fn split(text: &str) -> (&str, &str) {
    let number = text.trim_end_matches(|last: char| last.is_ascii_alphabetic());
    (number, text.get(number.len()..).unwrap_or_default())
}

/// What a unit stands for, written in small letters or in capitals.
pub(super) fn factor(unit: &str, units: &[(&str, u64)]) -> Option<u64> {
    units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor)
}

/// `number` times `factor`, rounded; `None`: it is something else than digits, perhaps with a point.
pub(super) fn times(number: &str, factor: u64) -> Option<u64> {
    let is_plain = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.');
    let number: f64 = number.parse().ok().filter(|_| is_plain)?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a float saturates"
    )]
    let product = (number * factor as f64).round() as u64;
    Some(product)
}
