//! A peer that goes on from another address: which address is asked for a proof, and when it is believed.
//!
//! Nothing is authenticated, so an address is learnt as QUIC validates one (RFC 9000 section 8.2). A control message
//! of the peer from an address that belongs to no path makes a candidate: it gets a probe with an unpredictable
//! stamp. The path moves when the echo of that stamp comes from there, unless the peer has meanwhile answered at the
//! old address, which is asked, too. What is sent to a candidate is never more than it has sent.

use crate::time::{Instant, Micros};

/// How long a candidate may take to prove itself: longer than a round trip over a satellite with full queues on the way.
const CANDIDATE_LIFE: Micros = Micros(5_000_000);
/// How long a candidate keeps others out, and itself once its chances are used up: longer than most round trips, and short, as it
/// may be a forged address. After that the next address takes its place.
const CANDIDATE_PRIORITY: Micros = Micros(1_000_000);
/// Shortest time between two challenges to a candidate, in case one is lost.
const CHALLENGE_INTERVAL: Micros = Micros(100_000);
/// Wrong answers that a candidate may give: echoes of earlier probes that were under way. More are guesses, and with
/// these few one in 500 million guessers is lucky.
const WRONG_ANSWERS: u8 = 8;

/// What one path knows of its peer's next address: at most one candidate. Without I/O: its caller knows the addresses, `A`, and sends
/// the challenges that [`Connection::challenge`](crate::Connection::challenge) makes.
#[derive(Debug, Clone)]
pub struct Roaming<A> {
    candidate: Option<Candidate<A>>,
    counts: RoamingStats,
}

/// How a path followed its peer to other addresses, counted since the path was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct RoamingStats {
    /// Challenges sent to addresses that said to be the peer's.
    pub challenges: u64,
    /// Times the path moved to an address that had answered.
    pub moves: u64,
    /// Addresses that did not answer in time.
    pub unproven: u64,
    /// Addresses that answered, while the peer still did at the one before.
    pub kept: u64,
}

#[derive(Debug, Clone)]
struct Candidate<A> {
    address: A,
    stamp: u32,
    since: Instant,
    challenged: Instant,
    /// Echoes that had come from the old address before.
    echoes: u64,
    wrong_answers: u8,
}

/// A control message that says it is of the peer, from an address that belongs to no path.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Sighting<A> {
    /// Where it came from.
    pub address: A,
    /// The stamp of the probe that it answers, if it answers one.
    pub answers: Option<u32>,
    /// Echoes that have come on the path from the address that it has.
    pub echoes: u64,
}

/// What is to be done about a sighting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RoamingStep {
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

/// Nothing was heard from elsewhere yet.
impl<A> Default for Roaming<A> {
    fn default() -> Self {
        Self { candidate: None, counts: RoamingStats::default() }
    }
}

impl<A: Copy + Eq> Roaming<A> {
    /// What was counted.
    pub const fn stats(&self) -> RoamingStats {
        self.counts
    }

    /// A sighting; `random` gives a number that nobody can guess, or fails.
    pub fn handle_sighting(
        &mut self,
        sighting: Sighting<A>,
        now: Instant,
        random: impl FnOnce() -> Option<u32>,
    ) -> RoamingStep {
        let is_over = |candidate: &Candidate<A>| {
            let has_chances =
                candidate.address == sighting.address && candidate.wrong_answers < WRONG_ANSWERS;
            now >= candidate.since + if has_chances { CANDIDATE_LIFE } else { CANDIDATE_PRIORITY }
        };
        if self.candidate.as_ref().is_some_and(is_over) {
            self.candidate = None;
            self.counts.unproven += 1;
        }
        let Some(candidate) = &mut self.candidate else {
            let Some(stamp) = random() else { return RoamingStep::Ignore };
            let Sighting { address, echoes, .. } = sighting;
            self.candidate =
                Some(Candidate { address, stamp, since: now, challenged: now, echoes, wrong_answers: 0 });
            self.counts.challenges += 1;
            return RoamingStep::Challenge { stamp, first: true };
        };
        if candidate.address != sighting.address || candidate.wrong_answers == WRONG_ANSWERS {
            return RoamingStep::Ignore;
        }
        match sighting.answers {
            Some(stamp) if stamp == candidate.stamp => {
                let answered_meanwhile = sighting.echoes != candidate.echoes;
                self.candidate = None;
                if answered_meanwhile {
                    self.counts.kept += 1;
                    return RoamingStep::Ignore;
                }
                self.counts.moves += 1;
                RoamingStep::Move
            }
            answers => {
                candidate.wrong_answers += u8::from(answers.is_some());
                if now < candidate.challenged + CHALLENGE_INTERVAL {
                    return RoamingStep::Ignore;
                }
                candidate.challenged = now;
                self.counts.challenges += 1;
                RoamingStep::Challenge { stamp: candidate.stamp, first: false }
            }
        }
    }
}

#[cfg(test)]
mod tests;
