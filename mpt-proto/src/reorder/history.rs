//! Which of the last numbers were delivered, so that a duplicate is told from a straggler.

/// A bit for each of the last `32 * WORDS` numbers before the head, like the anti-replay window of RFC 6479.
#[derive(Debug)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct History<const WORDS: usize> {
    /// Bit `n % LEN` stands for the number settled n-th.
    #[cfg_attr(feature = "state", serde(with = "crate::state::words"))]
    bits: [u32; WORDS],
    /// Numbers settled so far, modulo `LEN`.
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::bounded"))]
    end: usize,
}

impl<const WORDS: usize> History<WORDS> {
    /// How far back it remembers.
    const LEN: usize = WORDS * 32;

    pub(crate) const fn new() -> Self {
        Self { bits: [0; WORDS], end: 0 }
    }

    /// The next number was delivered.
    pub(crate) fn push(&mut self) {
        self.set(self.end, true);
        self.advance(1);
    }

    /// The next `numbers` were not.
    pub(crate) fn skip(&mut self, mut numbers: usize) {
        if numbers >= Self::LEN {
            self.bits = [0; WORDS];
            return;
        }
        while numbers > 0 {
            if let (0, 32.., Some(word)) = (self.end % 32, numbers, self.bits.get_mut(self.end / 32)) {
                *word = 0;
                self.advance(32);
                numbers -= 32;
            } else {
                self.set(self.end, false);
                self.advance(1);
                numbers -= 1;
            }
        }
    }

    const fn advance(&mut self, numbers: usize) {
        self.end += numbers;
        if self.end >= Self::LEN {
            self.end -= Self::LEN;
        }
    }

    /// Whether the number `back` before the next one was delivered; `None` if that is too long ago.
    pub(crate) fn was_delivered(&self, back: usize) -> Option<bool> {
        let at = self.position(back)?;
        self.bits.get(at / 32).map(|word| word & 1 << (at % 32) != 0)
    }

    /// The number `back` before the next one was delivered after all.
    pub(crate) fn mark(&mut self, back: usize) {
        if let Some(at) = self.position(back) {
            self.set(at, true);
        }
    }

    fn position(&self, back: usize) -> Option<usize> {
        let at = (1..=Self::LEN).contains(&back).then(|| self.end + Self::LEN - back)?;
        Some(if at < Self::LEN { at } else { at - Self::LEN })
    }

    fn set(&mut self, at: usize, delivered: bool) {
        if let Some(word) = self.bits.get_mut(at / 32) {
            let bit = 1 << (at % 32);
            *word = if delivered { *word | bit } else { *word & !bit };
        }
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "small numbers")]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::vec::Vec;

    #[test]
    fn it_answers_like_a_list_of_everything() {
        let mut rng = Rng::new(1);
        let mut history = History::<32>::new();
        let mut oracle: Vec<bool> = std::vec![false; 1024];
        for _ in 0..5000 {
            match rng.below(10) {
                0 => {
                    let numbers = rng.below(1500) as usize;
                    history.skip(numbers);
                    oracle.extend(std::iter::repeat_n(false, numbers));
                }
                1 => {
                    let back = rng.below(1023) as usize + 1;
                    history.mark(back);
                    let at = oracle.len() - back;
                    oracle[at] = true;
                }
                _ => {
                    history.push();
                    oracle.push(true);
                }
            }
            let back = rng.below(1023) as usize + 1;
            assert_eq!(history.was_delivered(back), Some(oracle[oracle.len() - back]));
        }
        assert_eq!((history.was_delivered(0), history.was_delivered(1025)), (None, None));
    }
}
