//! When losses of large packets are taken for a smaller MTU.

use std::vec::Vec;

use super::*;

const LARGE: u16 = 1400;
const NOW: Instant = Instant::from_micros(1_000_000);

/// Sends a packet and settles it; returns whether the size is doubted by that.
fn send(sizes: &mut Sizes, number: u32, len: u16, arrives: bool) -> bool {
    sizes.note_sent(number, len);
    sizes.note_settled(number, |lost| !arrives && lost == number, true, NOW)
}

#[test]
fn the_third_large_packet_in_a_row_that_is_lost_raises_a_doubt_once() {
    let mut sizes = Sizes::default();
    sizes.set_room(1440);
    let doubts: Vec<bool> = (1..=5).map(|number| send(&mut sizes, number, LARGE, false)).collect();
    assert_eq!(doubts, [false, false, true, false, false]);
    assert_eq!((sizes.trusted(), sizes.takes(1440)), (LARGE - 1, true));
    sizes.handle_time(NOW + DOUBT_FOR);
    assert_eq!(sizes.trusted(), 1440, "nobody answered");
}

#[test]
fn one_that_arrives_begins_the_row_anew_and_small_ones_do_not_count() {
    let mut sizes = Sizes::default();
    for number in 1..1000 {
        assert!(!send(&mut sizes, number, LARGE, number % 3 == 0));
    }
    let mut sizes = Sizes::default();
    for number in 1..100 {
        assert!(!send(&mut sizes, number, SMALL_PACKET, false), "a small one");
    }
    assert!(!send(&mut sizes, 100, LARGE, false));
    assert!(!send(&mut sizes, 101, 1000, true), "it says nothing of larger ones");
    assert!(!send(&mut sizes, 102, LARGE, false));
    assert!(send(&mut sizes, 103, LARGE, false));
}

#[test]
fn a_packet_that_was_not_watched_counts_if_it_arrives() {
    let mut sizes = Sizes::default();
    assert!(!send(&mut sizes, 1, LARGE, false) && !send(&mut sizes, 2, LARGE, false));
    sizes.note_arrived(LARGE);
    assert!(!send(&mut sizes, 3, LARGE, false) && !send(&mut sizes, 4, LARGE, false));
    assert!(send(&mut sizes, 5, LARGE, false));
}

#[test]
fn an_outage_that_takes_many_packets_counts_once() {
    let mut sizes = Sizes::default();
    for number in 1..=100 {
        sizes.note_sent(number, LARGE);
    }
    assert!(!sizes.note_settled(100, |_| true, true, NOW));
    assert!(!send(&mut sizes, 101, LARGE, false));
    assert!(send(&mut sizes, 102, LARGE, false));
}

#[test]
fn what_reports_may_not_have_named_says_nothing() {
    let mut sizes = Sizes::default();
    assert!(!send(&mut sizes, 1, LARGE, false) && !send(&mut sizes, 2, LARGE, false));
    sizes.note_sent(3, LARGE);
    assert!(!sizes.note_settled(3, |_| false, false, NOW));
    assert!(send(&mut sizes, 4, LARGE, false));
}

#[test]
fn smaller_ones_that_are_lost_beside_are_doubted_as_well_unless_one_of_their_size_arrives() {
    for (arrives, trusted) in [(false, 1199), (true, LARGE - 1)] {
        let mut sizes = Sizes::default();
        assert!(!send(&mut sizes, 1, LARGE, false) && !send(&mut sizes, 2, LARGE, false));
        sizes.note_lost(1200);
        if arrives {
            sizes.note_arrived(1300);
        }
        assert!(send(&mut sizes, 3, LARGE, false));
        assert_eq!(sizes.trusted(), trusted);
    }
}
