//! From the receiver index of a datagram to the peer and epoch that it is for: a hash table with open addressing over lent slots.
//!
//! Indices are random and ours, so that their low bits are a hash already and nobody can make them collide.

/// Bits of an index on the wire.
pub(crate) const INDEX_BITS: u32 = 28;

/// Slots that a table must have for each peer: five indices at most (four epochs and a handshake under way), so that it is never
/// fuller than five eighths and a search is short.
pub const INDEX_SLOTS_PER_PEER: usize = 8;

/// A place of the table; lent to [`Storage`](crate::Storage).
#[derive(Debug, Clone, Copy, Default)]
pub struct IndexSlot {
    /// 0: empty.
    index: u32,
    peer: u16,
    role: Role,
}

/// What an index stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Role {
    /// The handshake that we began.
    #[default]
    Handshake,
    /// The epoch in this place of its peer.
    Epoch(u8),
}

/// The table.
#[derive(Debug)]
pub(crate) struct Index<'s> {
    slots: &'s mut [IndexSlot],
}

impl<'s> Index<'s> {
    /// An empty table over the largest power of two of these slots.
    pub(crate) fn new(slots: &'s mut [IndexSlot]) -> Self {
        let len = slots.len().checked_ilog2().map_or(0, |log| 1 << log);
        let slots = slots.get_mut(..len).unwrap_or_default();
        slots.fill(IndexSlot::default());
        Self { slots }
    }

    /// Peers that there is room for.
    pub(crate) fn peers(&self) -> usize {
        self.slots.len() / INDEX_SLOTS_PER_PEER
    }

    /// Slots of the table.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// Slots that stand for somebody.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.slots.iter().filter(|slot| slot.index != 0).count()
    }

    /// Whom an index stands for.
    pub(crate) fn get(&self, index: u32) -> Option<(u16, Role)> {
        let slot = self.slots.get(self.find(index)?)?;
        Some((slot.peer, slot.role))
    }

    /// Lets an index stand for this, also if it stood for something else; false if there is no room, or the index is 0.
    pub(crate) fn insert(&mut self, index: u32, peer: u16, role: Role) -> bool {
        let place = self.find(index).or_else(|| self.probe(index).find(|place| self.is_empty(*place)));
        let Some(slot) = place.and_then(|place| self.slots.get_mut(place)).filter(|_| index != 0) else {
            return false;
        };
        *slot = IndexSlot { index, peer, role };
        true
    }

    /// Frees an index. What had to go further because of it moves back, so that no search meets a gap.
    pub(crate) fn remove(&mut self, index: u32) {
        let Some(mut gap) = self.find(index) else { return };
        let mask = self.slots.len() - 1;
        let mut place = gap;
        for _ in 0..mask {
            place = (place + 1) & mask;
            let Some(slot) = self.slots.get(place).copied().filter(|slot| slot.index != 0) else { break };
            let home = slot.index as usize & mask;
            // It may move to the gap if that does not lie before its home.
            if (place.wrapping_sub(home) & mask) >= (place.wrapping_sub(gap) & mask) {
                self.put(gap, slot);
                gap = place;
            }
        }
        self.put(gap, IndexSlot::default());
    }

    fn put(&mut self, place: usize, slot: IndexSlot) {
        if let Some(to) = self.slots.get_mut(place) {
            *to = slot;
        }
    }

    fn find(&self, index: u32) -> Option<usize> {
        let is_it = |place: &usize| self.slots.get(*place).is_some_and(|slot| slot.index == index);
        self.probe(index).take_while(|place| !self.is_empty(*place)).find(is_it)
    }

    fn is_empty(&self, place: usize) -> bool {
        self.slots.get(place).is_none_or(|slot| slot.index == 0)
    }

    /// All places, from the one where the index should be.
    fn probe(&self, index: u32) -> impl Iterator<Item = usize> + use<> {
        let len = self.slots.len();
        (0..len).map(move |step| (index as usize).wrapping_add(step) & len.wrapping_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::times;
    use std::collections::HashMap;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn a_table_agrees_with_a_map_also_where_indices_collide() {
        let mut random = 1u64;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let mut slots = vec![IndexSlot::default(); 64];
        let (mut table, mut map) = (Index::new(&mut slots), HashMap::new());
        for step in 0..times(20_000, 200) {
            // Few values, of which many share a home.
            let index = u32::try_from(1 + draw(8) + 64 * draw(12)).unwrap();
            if map.len() < 60 && draw(2) == 0 {
                let peer = u16::try_from(draw(1000)).unwrap();
                assert!(table.insert(index, peer, Role::Epoch(3)));
                map.insert(index, peer);
            } else {
                table.remove(index);
                map.remove(&index);
            }
            for index in (0..8).flat_map(|low| (0..12).map(move |high| 1 + low + 64 * high)) {
                let got = table.get(index).map(|(peer, _)| peer);
                assert_eq!(got, map.get(&index).copied(), "step {step}, index {index}");
            }
        }
    }

    #[test]
    fn a_full_table_refuses_and_zero_is_no_index() {
        let mut slots = vec![IndexSlot::default(); 9];
        let mut table = Index::new(&mut slots);
        assert_eq!(table.peers(), 1);
        let fits: Vec<bool> = (1..=9).map(|index| table.insert(index, 7, Role::Handshake)).collect();
        assert_eq!(fits, [true, true, true, true, true, true, true, true, false]);
        assert!(table.insert(3, 8, Role::Epoch(1)), "it is there already");
        assert_eq!(table.get(3), Some((8, Role::Epoch(1))));
        assert!(!table.insert(0, 1, Role::Handshake));
        assert_eq!(table.get(0), None);
        assert!(!Index::new(&mut []).insert(1, 1, Role::Handshake));
    }
}
