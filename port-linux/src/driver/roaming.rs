//! A peer that goes on from another address: which address is asked for a proof, and when it is believed.
//!
//! Nothing is authenticated, so an address is learnt as QUIC validates one (RFC 9000 section 8.2). A control message
//! of the peer from an address that belongs to no path makes a candidate: it gets a probe with an unpredictable
//! stamp. The path moves when the echo of that stamp comes from there, unless the peer has meanwhile answered at the
//! old address, which is asked, too. What is sent to a candidate is never more than it has sent.

use std::net::SocketAddr;
use std::time::Duration;

use mpt_proto::Instant;

use crate::report::RoamingReport;

/// How long a candidate may take to prove itself: longer than a round trip over a satellite with full queues on the way.
const CANDIDATE_LIFE: Duration = Duration::from_secs(5);
/// How long a candidate keeps others out, and itself once its chances are used up: longer than most round trips, and short, as it
/// may be a forged address. After that the next address takes its place.
const CANDIDATE_PRIORITY: Duration = Duration::from_secs(1);
/// Shortest time between two challenges to a candidate, in case one is lost.
const CHALLENGE_INTERVAL: Duration = Duration::from_millis(100);
/// Wrong answers that a candidate may give: echoes of earlier probes that were under way. More are guesses, and with
/// these few one in 500 million guessers is lucky.
const WRONG_ANSWERS: u8 = 8;

/// What one path knows of its peer's next address: at most one candidate.
#[derive(Debug, Clone, Default)]
pub struct Roaming {
    candidate: Option<Candidate>,
    /// Told in the report.
    pub counts: RoamingReport,
}

#[derive(Debug, Clone)]
struct Candidate {
    address: SocketAddr,
    stamp: u32,
    since: Instant,
    challenged: Instant,
    /// Echoes that had come from the old address before.
    echoes: u64,
    wrong_answers: u8,
}

/// A control message that says it is of the peer, from an address that belongs to no path.
#[derive(Debug, Clone, Copy)]
pub struct Sighting {
    /// Where it came from.
    pub address: SocketAddr,
    /// The stamp of the probe that it answers, if it answers one.
    pub answers: Option<u32>,
    /// Echoes that have come on the path from the address that it has.
    pub echoes: u64,
}

/// What is to be done about a sighting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Ignore,
    /// A challenge with this stamp is to be sent to the candidate.
    Challenge {
        /// The stamp.
        stamp: u32,
        /// Whether it is the candidate's first: then the old address is to be asked, too.
        first: bool,
    },
    /// The path's peer is at that address from now on.
    Move,
}

impl Roaming {
    /// A sighting; `random` gives a number that nobody can guess, or fails.
    pub fn handle_sighting(
        &mut self,
        sighting: Sighting,
        now: Instant,
        random: impl FnOnce() -> Option<u32>,
    ) -> Step {
        let is_over = |candidate: &Candidate| {
            let has_chances =
                candidate.address == sighting.address && candidate.wrong_answers < WRONG_ANSWERS;
            now.since(candidate.since) >= if has_chances { CANDIDATE_LIFE } else { CANDIDATE_PRIORITY }
        };
        if self.candidate.as_ref().is_some_and(is_over) {
            self.candidate = None;
            self.counts.unproven += 1;
        }
        let Some(candidate) = &mut self.candidate else {
            let Some(stamp) = random() else { return Step::Ignore };
            let Sighting { address, echoes, .. } = sighting;
            self.candidate =
                Some(Candidate { address, stamp, since: now, challenged: now, echoes, wrong_answers: 0 });
            self.counts.challenges += 1;
            return Step::Challenge { stamp, first: true };
        };
        if candidate.address != sighting.address || candidate.wrong_answers == WRONG_ANSWERS {
            return Step::Ignore;
        }
        match sighting.answers {
            Some(stamp) if stamp == candidate.stamp => {
                let answered_meanwhile = sighting.echoes != candidate.echoes;
                self.candidate = None;
                if answered_meanwhile {
                    self.counts.kept += 1;
                    return Step::Ignore;
                }
                self.counts.moves += 1;
                Step::Move
            }
            answers => {
                candidate.wrong_answers += u8::from(answers.is_some());
                if now.since(candidate.challenged) < CHALLENGE_INTERVAL {
                    return Step::Ignore;
                }
                candidate.challenged = now;
                self.counts.challenges += 1;
                Step::Challenge { stamp: candidate.stamp, first: false }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_micros(1_000_000);
    const STAMP: u32 = 0xfeed_f00d;

    fn seen(port: u16, answers: Option<u32>) -> Sighting {
        Sighting { address: ([198, 51, 100, 9], port).into(), answers, echoes: 5 }
    }

    fn at(roaming: &mut Roaming, ms: u64, sighting: Sighting) -> Step {
        roaming.handle_sighting(sighting, START + Duration::from_millis(ms), || Some(STAMP))
    }

    fn challenged() -> Roaming {
        let mut roaming = Roaming::default();
        assert_eq!(at(&mut roaming, 0, seen(1, None)), Step::Challenge { stamp: STAMP, first: true });
        roaming
    }

    #[test]
    fn an_address_that_answers_its_challenge_is_moved_to() {
        let mut roaming = challenged();
        assert_eq!(at(&mut roaming, 40, seen(1, Some(STAMP))), Step::Move);
        assert_eq!(roaming.counts, RoamingReport { challenges: 1, moves: 1, ..RoamingReport::default() });
        // The answer is good once.
        assert_eq!(at(&mut roaming, 41, seen(1, Some(STAMP))), Step::Challenge { stamp: STAMP, first: true });
    }

    #[test]
    fn an_answer_from_elsewhere_or_with_another_stamp_or_too_late_moves_nothing() {
        let mut roaming = challenged();
        assert_eq!(at(&mut roaming, 10, seen(2, Some(STAMP))), Step::Ignore);
        assert_eq!(at(&mut roaming, 20, seen(1, Some(STAMP ^ 1))), Step::Ignore);
        let again =
            Roaming::handle_sighting(&mut roaming, seen(1, Some(STAMP)), START + CANDIDATE_LIFE, || {
                Some(STAMP + 1)
            });
        assert_eq!(again, Step::Challenge { stamp: STAMP + 1, first: true });
        assert_eq!((roaming.counts.moves, roaming.counts.unproven), (0, 1));
    }

    #[test]
    fn a_path_whose_peer_still_answers_at_the_old_address_stays_there() {
        let mut roaming = challenged();
        let sighting = Sighting { echoes: 6, ..seen(1, Some(STAMP)) };
        assert_eq!(at(&mut roaming, 40, sighting), Step::Ignore);
        assert_eq!(roaming.counts, RoamingReport { challenges: 1, kept: 1, ..RoamingReport::default() });
    }

    #[test]
    fn whoever_guesses_is_not_believed_even_when_lucky() {
        let mut roaming = challenged();
        for guess in 0..u32::from(WRONG_ANSWERS) {
            at(&mut roaming, 10, seen(1, Some(guess)));
        }
        assert_eq!(at(&mut roaming, 20, seen(1, Some(STAMP))), Step::Ignore);
        assert_eq!(roaming.counts.moves, 0);
        // A peer whose earlier echoes were under way gets new chances.
        assert_eq!(at(&mut roaming, 1000, seen(1, None)), Step::Challenge { stamp: STAMP, first: true });
    }

    #[test]
    fn challenges_are_repeated_seldom_and_one_candidate_keeps_others_out_for_a_second() {
        let mut roaming = challenged();
        let mut challenges = 1;
        for ms in 1..1000 {
            challenges += u32::from(at(&mut roaming, ms, seen(1, None)) != Step::Ignore);
            assert_eq!(at(&mut roaming, ms, seen(2, None)), Step::Ignore);
        }
        assert_eq!(challenges, 10);
        assert_eq!(at(&mut roaming, 1000, seen(2, None)), Step::Challenge { stamp: STAMP, first: true });
    }

    #[test]
    fn a_candidate_further_away_than_a_second_proves_itself_while_no_other_wants_its_place() {
        let mut roaming = challenged();
        assert_eq!(at(&mut roaming, 1300, seen(1, None)), Step::Challenge { stamp: STAMP, first: false });
        assert_eq!(at(&mut roaming, 4900, seen(1, Some(STAMP))), Step::Move);
        assert_eq!(roaming.counts.unproven, 0);
    }

    #[test]
    fn without_randomness_nobody_is_challenged() {
        let mut roaming = Roaming::default();
        assert_eq!(roaming.handle_sighting(seen(1, None), START, || None), Step::Ignore);
        assert_eq!(roaming.counts, RoamingReport::default());
    }
}
