//! Which counters of one path were taken in already: the anti-replay window of RFC 6479, over lent words.

/// Bits of a word.
const WORD: u32 = 64;

/// Why a counter is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It was taken in before.
    Replayed,
    /// It lies so far behind the newest one that nobody knows any more.
    TooOld,
}

/// What is known of the counters of one path in one epoch; the bits themselves are lent with each call, a power of two of words, at
/// least two. One word is always being refilled (RFC 6479 section 2), so that the window spans all words but one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Window {
    /// One more than the newest counter taken in; 0: none was.
    next: u64,
}

impl Window {
    /// Whether a datagram with this counter may be taken in. Changes nothing, so that a forged datagram does not, either.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(self, words: &[u64], counter: u32) -> Result<(), Refusal> {
        let counter64 = u64::from(counter);
        if counter64 >= self.next {
            return Ok(());
        }
        if self.next - counter64 > span(words) {
            return Err(Refusal::TooOld);
        }
        let (place, bit) = position(words, counter);
        match words.get(place) {
            Some(word) if word & bit == 0 => Ok(()),
            Some(_) => Err(Refusal::Replayed),
            None => Err(Refusal::TooOld),
        }
    }

    /// Whether any counter was taken in.
    pub(crate) fn is_used(&self) -> bool {
        self.next != 0
    }

    /// Notes that the datagram with this counter was authentic, after [`check`](Self::check) let it pass. Returns whether it is the
    /// newest of its path.
    pub(crate) fn commit(&mut self, words: &mut [u64], counter: u32) -> bool {
        let counter64 = u64::from(counter);
        let is_newest = counter64 >= self.next;
        if is_newest {
            let target = counter / WORD;
            match self.next.checked_sub(1) {
                // What is lent may hold the bits of an earlier epoch.
                None => words.fill(0),
                Some(newest) => {
                    let from = u32::try_from(newest).unwrap_or(u32::MAX) / WORD;
                    let all = u32::try_from(words.len()).unwrap_or(u32::MAX);
                    for step in 1..=(target - from).min(all) {
                        let (place, _) = position(words, (from + step).wrapping_mul(WORD));
                        if let Some(word) = words.get_mut(place) {
                            *word = 0;
                        }
                    }
                }
            }
            self.next = counter64 + 1;
        }
        let (place, bit) = position(words, counter);
        if let Some(word) = words.get_mut(place) {
            *word |= bit;
        }
        is_newest
    }
}

/// How far behind the newest counter another may lie and still be told from a replay.
fn span(words: &[u64]) -> u64 {
    words.len().saturating_sub(1) as u64 * u64::from(WORD)
}

/// The word and the bit of a counter.
fn position(words: &[u64], counter: u32) -> (usize, u64) {
    let mask = words.len().wrapping_sub(1);
    ((counter / WORD) as usize & mask, 1 << (counter % WORD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::times;
    use std::collections::HashSet;
    use std::vec;

    /// Takes a counter in, if the window lets it.
    fn take(window: &mut Window, words: &mut [u64], counter: u32) -> Result<bool, Refusal> {
        window.check(words, counter)?;
        Ok(window.commit(words, counter))
    }

    #[test]
    fn each_counter_is_taken_once() {
        let (mut window, mut words) = (Window::default(), vec![!0; 4]);
        assert_eq!(take(&mut window, &mut words, 0), Ok(true));
        assert_eq!(take(&mut window, &mut words, 0), Err(Refusal::Replayed));
        assert_eq!(take(&mut window, &mut words, 5), Ok(true));
        assert_eq!(take(&mut window, &mut words, 3), Ok(false));
        assert_eq!(take(&mut window, &mut words, 3), Err(Refusal::Replayed));
    }

    #[test]
    fn what_is_older_than_the_window_is_refused_and_the_last_counter_is_one() {
        let (mut window, mut words) = (Window::default(), vec![0; 4]);
        assert_eq!(take(&mut window, &mut words, u32::MAX), Ok(true));
        assert_eq!(take(&mut window, &mut words, u32::MAX), Err(Refusal::Replayed));
        assert_eq!(take(&mut window, &mut words, u32::MAX - 191), Ok(false));
        assert_eq!(take(&mut window, &mut words, u32::MAX - 192), Err(Refusal::TooOld));
        assert_eq!(take(&mut window, &mut words, 0), Err(Refusal::TooOld));
    }

    #[test]
    fn looking_changes_nothing() {
        let (mut window, mut words) = (Window::default(), vec![0; 2]);
        take(&mut window, &mut words, 9).unwrap();
        let before = (window.next, words.clone());
        assert_eq!(window.check(&words, 1_000_000), Ok(()));
        assert_eq!(window.check(&words, 9), Err(Refusal::Replayed));
        assert_eq!((window.next, words), before);
    }

    /// Against a set of all counters ever taken: nothing is taken twice, and what the span promises is taken.
    #[test]
    fn the_window_agrees_with_a_set_whatever_the_order() {
        for seed in 0..times(50u64, 4) {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut draw = |below: u32| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                u32::try_from(random % u64::from(below)).unwrap()
            };
            let mut words = vec![!0; 1 << (1 + seed % 4)];
            let span = span(&words);
            let (mut window, mut taken, mut newest) = (Window::default(), HashSet::new(), None::<u32>);
            for _ in 0..times(3000, 200) {
                let around = newest.unwrap_or(u32::try_from(seed).unwrap());
                let counter = match draw(20) {
                    0 => around.saturating_add(draw(2000)),
                    1..=9 => around.saturating_add(draw(4)),
                    _ => around.saturating_sub(draw(300)),
                };
                let is_old = newest
                    .is_some_and(|newest| u64::from(newest) + 1 - u64::from(counter.min(newest)) > span);
                let expected = match (is_old, taken.contains(&counter)) {
                    (true, _) => Err(Refusal::TooOld),
                    (false, true) => Err(Refusal::Replayed),
                    (false, false) => Ok(newest.is_none_or(|newest| counter > newest)),
                };
                assert_eq!(
                    take(&mut window, &mut words, counter),
                    expected,
                    "seed {seed}, counter {counter}"
                );
                if expected.is_ok() {
                    taken.insert(counter);
                    newest = newest.max(Some(counter));
                }
            }
        }
    }
}
