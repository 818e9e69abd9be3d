//! One path whose peer moves, or seems to, in virtual time.

use core::time::Duration;

use super::*;

/// An address, as small as it can be.
type Address = (u8, u16);

const START: Instant = Instant::from_micros(1_000_000);
const STAMP: u32 = 0xfeed_f00d;

fn seen(port: u16, answers: Option<u32>) -> Sighting<Address> {
    Sighting { address: (9, port), answers, echoes: 5 }
}

fn at(roaming: &mut Roaming<Address>, ms: u64, sighting: Sighting<Address>) -> RoamingStep {
    roaming.handle_sighting(sighting, START + Duration::from_millis(ms), || Some(STAMP))
}

fn challenged() -> Roaming<Address> {
    let mut roaming = Roaming::<Address>::default();
    assert_eq!(at(&mut roaming, 0, seen(1, None)), RoamingStep::Challenge { stamp: STAMP, first: true });
    roaming
}

#[test]
fn an_address_that_answers_its_challenge_is_moved_to() {
    let mut roaming = challenged();
    assert_eq!(at(&mut roaming, 40, seen(1, Some(STAMP))), RoamingStep::Move);
    assert_eq!(roaming.stats(), RoamingStats { challenges: 1, moves: 1, ..RoamingStats::default() });
    // The answer is good once.
    assert_eq!(
        at(&mut roaming, 41, seen(1, Some(STAMP))),
        RoamingStep::Challenge { stamp: STAMP, first: true }
    );
}

#[test]
fn an_answer_from_elsewhere_or_with_another_stamp_or_too_late_moves_nothing() {
    let mut roaming = challenged();
    assert_eq!(at(&mut roaming, 10, seen(2, Some(STAMP))), RoamingStep::Ignore);
    assert_eq!(at(&mut roaming, 20, seen(1, Some(STAMP ^ 1))), RoamingStep::Ignore);
    let again = Roaming::handle_sighting(&mut roaming, seen(1, Some(STAMP)), START + CANDIDATE_LIFE, || {
        Some(STAMP + 1)
    });
    assert_eq!(again, RoamingStep::Challenge { stamp: STAMP + 1, first: true });
    assert_eq!((roaming.stats().moves, roaming.stats().unproven), (0, 1));
}

#[test]
fn a_path_whose_peer_still_answers_at_the_old_address_stays_there() {
    let mut roaming = challenged();
    let sighting = Sighting { echoes: 6, ..seen(1, Some(STAMP)) };
    assert_eq!(at(&mut roaming, 40, sighting), RoamingStep::Ignore);
    assert_eq!(roaming.stats(), RoamingStats { challenges: 1, kept: 1, ..RoamingStats::default() });
}

#[test]
fn whoever_guesses_is_not_believed_even_when_lucky() {
    let mut roaming = challenged();
    for guess in 0..u32::from(WRONG_ANSWERS) {
        at(&mut roaming, 10, seen(1, Some(guess)));
    }
    assert_eq!(at(&mut roaming, 20, seen(1, Some(STAMP))), RoamingStep::Ignore);
    assert_eq!(roaming.stats().moves, 0);
    // A peer whose earlier echoes were under way gets new chances.
    assert_eq!(at(&mut roaming, 1000, seen(1, None)), RoamingStep::Challenge { stamp: STAMP, first: true });
}

#[test]
fn challenges_are_repeated_seldom_and_one_candidate_keeps_others_out_for_a_second() {
    let mut roaming = challenged();
    let mut challenges = 1;
    for ms in 1..1000 {
        challenges += u32::from(at(&mut roaming, ms, seen(1, None)) != RoamingStep::Ignore);
        assert_eq!(at(&mut roaming, ms, seen(2, None)), RoamingStep::Ignore);
    }
    assert_eq!(challenges, 10);
    assert_eq!(at(&mut roaming, 1000, seen(2, None)), RoamingStep::Challenge { stamp: STAMP, first: true });
}

#[test]
fn a_candidate_further_away_than_a_second_proves_itself_while_no_other_wants_its_place() {
    let mut roaming = challenged();
    assert_eq!(at(&mut roaming, 1300, seen(1, None)), RoamingStep::Challenge { stamp: STAMP, first: false });
    assert_eq!(at(&mut roaming, 4900, seen(1, Some(STAMP))), RoamingStep::Move);
    assert_eq!(roaming.stats().unproven, 0);
}

#[test]
fn without_randomness_nobody_is_challenged() {
    let mut roaming = Roaming::<Address>::default();
    assert_eq!(roaming.handle_sighting(seen(1, None), START, || None), RoamingStep::Ignore);
    assert_eq!(roaming.stats(), RoamingStats::default());
}
