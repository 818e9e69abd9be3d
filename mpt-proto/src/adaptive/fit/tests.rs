//! Which paths take what.

use super::*;
use crate::adaptive::{AdaptiveState, FlowSlot, PacketSlot};
use std::boxed::Box;
use std::vec;

const NOW: Instant = Instant::from_micros(1_000_000);
const BOTH: PathSet = PathSet(0b11);

/// A sender over paths with room for packets of these sizes.
fn sender(rooms: [u16; 2]) -> Adaptive<'static> {
    let state: &'static mut AdaptiveState = Box::leak(Box::default());
    let slots = vec![PacketSlot::default(); 4].leak();
    let mut adaptive = Adaptive::new(state, slots, vec![0; 8000].leak(), vec![FlowSlot::default(); 1].leak());
    for (path, room) in rooms.into_iter().enumerate() {
        adaptive.set_room(path, room, NOW);
    }
    adaptive
}

/// Loses three packets of a size on a path.
fn lose(adaptive: &mut Adaptive<'_>, path: usize, len: u16) {
    let sizes = &mut adaptive.state.models[path].sizes;
    let doubts = (1..=3).map(|number| {
        sizes.note_sent(number, len);
        sizes.note_settled(number, |_| true, true, NOW)
    });
    assert_eq!(doubts.filter(|is_doubted| *is_doubted).count(), 1);
    adaptive.refresh_trusted(NOW);
}

#[test]
fn a_packet_goes_where_it_fits_and_one_that_fits_nowhere_anywhere() {
    let adaptive = sender([1000, 1400]);
    let of = |len| (adaptive.fitting(BOTH, len), adaptive.is_taken(len, BOTH));
    assert_eq!(of(1000), (BOTH, true));
    assert_eq!(of(1001), (PathSet::of(1), true));
    assert_eq!(of(1401), (BOTH, false), "in pieces");
    assert!(!adaptive.is_taken(1001, PathSet::of(0)), "the wide path is down");
}

#[test]
fn a_path_that_is_suspect_takes_nothing_if_another_is_alive() {
    let adaptive = sender([1000, 1400]);
    adaptive.state.models[1].suspect(NOW);
    assert!(!adaptive.is_taken(1001, BOTH), "it does not wait for the end of the suspicion");
    adaptive.state.models[0].suspect(NOW);
    assert!(adaptive.is_taken(1001, BOTH), "one of them comes back");
}

#[test]
fn a_doubted_size_avoids_the_path_while_another_takes_it_and_until_it_is_known() {
    let mut adaptive = sender([1400, 1400]);
    lose(&mut adaptive, 0, 1200);
    assert_eq!(adaptive.fitting(BOTH, 1199), BOTH);
    assert_eq!(adaptive.fitting(BOTH, 1200), PathSet::of(1));
    assert_eq!(adaptive.fitting(PathSet::of(0), 1200), PathSet::of(0), "a lone path is tried");
    lose(&mut adaptive, 1, 1200);
    assert_eq!(adaptive.fitting(BOTH, 1200), BOTH, "both in doubt are better than none");
    adaptive.settle_size(0, NOW);
    assert_eq!(adaptive.fitting(BOTH, 1200), PathSet::of(0));
}

#[test]
fn bulk_that_is_parked_waits_for_a_path_that_takes_it_even_if_that_is_not_open() {
    let mut adaptive = sender([1000, 1400]);
    adaptive.state.delay.open = PathSet::of(0);
    assert_eq!(adaptive.for_bulk(BOTH), PathSet::of(0));
    let index = adaptive.pool.store(&[0; 1200]);
    adaptive.state.parked = index;
    assert!(adaptive.has_bulk());
    assert_eq!(adaptive.for_bulk(BOTH), PathSet::of(1));
    assert_eq!(adaptive.for_bulk(PathSet::of(0)), PathSet::of(0), "in pieces");
    adaptive.state.delay.open = BOTH;
    assert_eq!(adaptive.for_bulk(BOTH), PathSet::of(1));
}
