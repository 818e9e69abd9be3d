//! Which places of the ring are occupied, as a tree of 16-bit words, so that the next occupied one is found
//! in four steps however wide the gap.

use super::ReorderSlot;

/// Levels of the tree: 16^4 places.
const LEVELS: usize = 4;

/// A bit for each place; in the level above a bit for each word that is not zero; and so on, up to a single
/// word. The words live in the `tree` fields of the slots: `n` places need less than `n / 15 + 4` of them,
/// which a ring of `n` slots and its spare always has.
#[derive(Debug)]
#[cfg_attr(feature = "state", derive(Default))]
pub(super) struct Occupancy {
    /// Where each level's words begin, and behind the last where they end.
    starts: [usize; LEVELS + 1],
    levels: usize,
    places: usize,
}

impl Occupancy {
    pub(super) fn new(places: usize) -> Self {
        let mut starts = [0; LEVELS + 1];
        let mut words = places.div_ceil(16);
        let mut levels = 0;
        let mut end = 0;
        for start in starts.iter_mut().skip(1) {
            end += words;
            *start = end;
            levels += 1;
            if words <= 1 {
                break;
            }
            words = words.div_ceil(16);
        }
        Self { starts, levels, places }
    }

    /// Where a word lives, if the level has it.
    fn slot(&self, level: usize, index: usize) -> Option<usize> {
        let at = self.starts.get(level)? + index;
        (at < *self.starts.get(level + 1)?).then_some(at)
    }

    fn word(&self, slots: &[ReorderSlot], level: usize, index: usize) -> u16 {
        self.slot(level, index).and_then(|at| slots.get(at)).map_or(0, |slot| slot.tree)
    }

    fn set_word(&self, slots: &mut [ReorderSlot], level: usize, index: usize, word: u16) {
        if let Some(slot) = self.slot(level, index).and_then(|at| slots.get_mut(at)) {
            slot.tree = word;
        }
    }

    pub(super) fn contains(&self, slots: &[ReorderSlot], place: usize) -> bool {
        place < self.places && self.word(slots, 0, place / 16) & 1 << (place % 16) != 0
    }

    pub(super) fn insert(&self, slots: &mut [ReorderSlot], place: usize) {
        let mut index = place;
        for level in 0..self.levels {
            let word = self.word(slots, level, index / 16);
            self.set_word(slots, level, index / 16, word | 1 << (index % 16));
            if word != 0 {
                return;
            }
            index /= 16;
        }
    }

    pub(super) fn remove(&self, slots: &mut [ReorderSlot], place: usize) {
        let mut index = place;
        for level in 0..self.levels {
            let word = self.word(slots, level, index / 16) & !(1 << (index % 16));
            self.set_word(slots, level, index / 16, word);
            if word != 0 {
                return;
            }
            index /= 16;
        }
    }

    /// The first occupied place at or behind `from`.
    pub(super) fn first_from(&self, slots: &[ReorderSlot], from: usize) -> Option<usize> {
        // Up, until a word has something at or behind; then down its lowest such bit.
        let mut index = from;
        let mut level = 0;
        loop {
            let rest = self.word(slots, level, index / 16) & (u16::MAX << (index % 16));
            if rest != 0 {
                index = index / 16 * 16 + rest.trailing_zeros() as usize;
                break;
            }
            level += 1;
            if level == self.levels {
                return None;
            }
            index = index / 16 + 1;
        }
        for below in (0..level).rev() {
            index = index * 16 + self.word(slots, below, index).trailing_zeros() as usize;
        }
        Some(index)
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "small numbers")]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::collections::BTreeSet;
    use std::vec;

    #[test]
    fn the_next_occupied_place_is_found_like_in_a_sorted_set() {
        for places in [1, 2, 15, 16, 17, 255, 256, 257, 4096, 4097, 65_535] {
            let mut slots = vec![ReorderSlot::default(); places + 1];
            let tree = Occupancy::new(places);
            let mut oracle = BTreeSet::new();
            let mut rng = Rng::new(places as u64);
            for _ in 0..4000 {
                let place = rng.below(places as u64) as usize;
                if rng.below(3) == 0 {
                    tree.insert(&mut slots, place);
                    oracle.insert(place);
                } else {
                    tree.remove(&mut slots, place);
                    oracle.remove(&place);
                }
                let from = rng.below(places as u64) as usize;
                assert_eq!(
                    tree.first_from(&slots, from),
                    oracle.range(from..).next().copied(),
                    "{places}: {from}"
                );
                assert_eq!(tree.contains(&slots, from), oracle.contains(&from));
            }
        }
    }
}
