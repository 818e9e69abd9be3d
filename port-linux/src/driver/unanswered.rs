//! A path on which nothing comes back although its link works: people are told so, with the likely causes, and again at
//! ever longer intervals.
//!
//! A moment before, one datagram leaves from a socket of its own, in case that somebody on the way says why (ICMP).

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use mpt_proto::{DownReason, Handle, Instant, PathState};

use super::path::PeerPath;
use super::{Driver, Peer};
use crate::socket::{Question, Refusal};

/// How long nothing comes back until it is asked why. Together with [`ANSWERED_WITHIN`], people are told after five seconds.
const ASK_AFTER: Duration = Duration::from_millis(1500);
/// How long a refusal may take: the kernel asks three times, a second each, for an address on the link before it gives up.
const ANSWERED_WITHIN: Duration = Duration::from_millis(3500);
/// Hosts and routers send few refusals a second to one address, and the path's own datagrams use some up: so it is asked again
/// each time that so long has passed.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// Between the first time that people are told and the second.
const SECOND_TIME: Duration = Duration::from_secs(60);
/// Each further interval is so many times as long as the one before.
const FACTOR: u32 = 4;
/// The longest interval.
const SELDOM: Duration = Duration::from_secs(3600);

/// What is known of such a path. There is none of a path that is up, or that waits for something of this host.
#[derive(Debug)]
pub(super) struct Unanswered {
    since: Instant,
    /// When the next step is due.
    due: Instant,
    told: u32,
    /// Since when it is asked why; `None`: it is not asked now.
    asked: Option<Instant>,
    question: Option<Question>,
    refusal: Option<Refusal>,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Wait,
    Ask,
    AskAgain,
    Tell,
}

impl Unanswered {
    fn new(now: Instant) -> Self {
        Self { since: now, due: now + ASK_AFTER, told: 0, asked: None, question: None, refusal: None }
    }

    /// When there is something to do.
    pub(super) const fn poll_timeout(&self) -> Instant {
        self.due
    }

    fn step(&self, now: Instant) -> Step {
        match self.asked {
            _ if self.due > now => Step::Wait,
            None => Step::Ask,
            Some(since) if now.since(since) < ANSWERED_WITHIN => Step::AskAgain,
            Some(_) => Step::Tell,
        }
    }

    /// It was asked; or this host itself refused, if it said so.
    fn note_asked(&mut self, asked: Result<Question, Option<Refusal>>, now: Instant) {
        (self.asked, self.due) = (Some(now), now + ASK_AGAIN);
        match asked {
            Ok(question) => self.question = Some(question),
            Err(refusal) => self.refusal = refusal,
        }
    }

    fn ask_again(&mut self, now: Instant) {
        self.due = now + ASK_AGAIN;
        if let Some(question) = &self.question {
            question.repeat();
        }
    }

    /// People are told now.
    fn note_told(&mut self, now: Instant) {
        if let Some(question) = self.question.take() {
            self.refusal = question.answer();
        }
        let apart = SECOND_TIME.saturating_mul(FACTOR.saturating_pow(self.told)).min(SELDOM);
        (self.asked, self.due, self.told) = (None, now + apart, self.told.saturating_add(1));
    }
}

/// Why no answer comes, as far as this end can know it.
#[derive(Debug)]
pub(super) struct Silence<'a> {
    remote: SocketAddr,
    lasting: Duration,
    /// The peer is heard on the path, and says that it does not hear us there.
    is_heard: bool,
    /// Another path of the peer is up.
    others_work: bool,
    is_sealed: bool,
    /// What the peer does that cannot be understood here.
    problem: Option<&'a str>,
    refusal: Option<Refusal>,
}

impl Silence<'_> {
    /// Whether the cause is that the peer cannot be understood, which is told of the connection.
    pub(super) const fn is_of_connection(&self) -> bool {
        self.refusal.is_none() && self.problem.is_some()
    }
}

impl fmt::Display for Silence<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port, seconds) = (self.remote.ip(), self.remote.port(), self.lasting.as_secs());
        if self.is_heard {
            write!(out, "the peer at {host} has not heard us on it for {seconds} s, though we hear it: ")?;
        } else {
            write!(out, "no answer from {host} port {port} for {seconds} s: ")?;
        }
        if let Some(refusal) = self.refusal {
            return write!(out, "{}", refusal.about(self.remote));
        }
        if let Some(problem) = self.problem {
            return write!(out, "the peer {problem}");
        }
        if self.is_heard {
            return write!(
                out,
                "a firewall there, or on the way, does not let UDP port {port} in, or the peer has another `remote` or `remote_port` for this \
                 path, as its log says then"
            );
        }
        if self.others_work {
            return write!(
                out,
                "mpt runs there, as other paths work. On this way UDP port {port} is dropped, as by a firewall, or the peer has no path for it in \
                 its configuration, or has it out of use"
            );
        }
        write!(
            out,
            "mpt does not run there, or expects us at another address or port, as its log says then; or UDP port {port} does not get in there, \
             as by the provider's firewall; or answers do not get in here"
        )?;
        if self.is_sealed {
            write!(
                out,
                "; or it does not know our key, as after `mpt peer renew` or `remove`: strangers get no answer, and its log says so"
            )?;
        }
        Ok(())
    }
}

impl Driver<'_> {
    /// Looks at those paths of a connection on which nothing comes back.
    pub(super) fn follow_unanswered(&mut self, peer: Handle, now: Instant) {
        // Of a peer that comes by itself nobody knows whether it wants to.
        let Some(it) = self.peers.get(peer).filter(|it| !it.config.is_learned) else { return };
        let count = it.paths.len();
        self.follow_portals(peer, now);
        for path in 0..count {
            let it = &mut self.peers[peer];
            let waits = it.waits_for_answer(path);
            let planned = &mut it.paths[path];
            if !waits {
                planned.unanswered = None;
                continue;
            }
            let unanswered = planned.unanswered.get_or_insert_with(|| Box::new(Unanswered::new(now)));
            match unanswered.step(now) {
                Step::Wait => {}
                Step::Ask => self.ask_why(peer, path, now),
                Step::AskAgain => unanswered.ask_again(now),
                Step::Tell => {
                    unanswered.note_told(now);
                    it.tell_unanswered(path, self.outside.is_sealed(), now);
                }
            }
        }
    }

    fn ask_why(&mut self, peer: Handle, path: usize, now: Instant) {
        let planned = &mut self.peers[peer].paths[path];
        let (Some(unanswered), Some(remote)) = (&mut planned.unanswered, planned.remote) else { return };
        let shared = self.outside.sockets.get(planned.socket);
        let Some((shared, local)) = shared.and_then(|shared| Some((shared, shared.bound?))) else {
            unanswered.note_asked(Err(None), now);
            return;
        };
        let asked = Question::ask(local, remote, shared.device.as_deref(), &*self.maker.tie);
        unanswered.note_asked(asked.map_err(|error| Refusal::of_send(&error)), now);
    }
}

impl Peer<'_> {
    /// Whether nothing comes back on a path although nothing is missing on this host.
    pub(super) fn waits_for_answer(&self, index: usize) -> bool {
        let Some(path) = self.paths.get(index) else { return false };
        let is_silent = self.connection.path_state(path.id).is_ok_and(PathState::is_silent);
        is_silent && path.is_there() && path.missing.is_none() && path.remote.is_some()
    }

    /// Why no answer comes on a path, once that has lasted for a while.
    pub(super) fn silence(&self, index: usize, is_sealed: bool, now: Instant) -> Option<Silence<'_>> {
        let path = self.paths.get(index)?;
        let unanswered = path.unanswered.as_ref().filter(|unanswered| unanswered.told > 0)?;
        let state = self.connection.path_state(path.id).ok()?;
        Some(Silence {
            remote: path.remote?,
            lasting: now.since(unanswered.since),
            is_heard: state == PathState::Down(DownReason::Deaf),
            others_work: self.paths_up() > 0,
            is_sealed,
            problem: self.problem(),
            refusal: unanswered.refusal,
        })
    }

    /// Tells people why no answer comes, unless they were told just now: that a path which worked is down, and what of the peer cannot be
    /// understood.
    fn tell_unanswered(&self, index: usize, is_sealed: bool, now: Instant) {
        let (Some(path), Some(config)) = (self.paths.get(index), self.config.paths.get(index)) else {
            return;
        };
        let Some(silence) = self.silence(index, is_sealed, now) else { return };
        let is_first = path.unanswered.as_ref().is_some_and(|unanswered| unanswered.told == 1);
        let has_worked = self.connection.path_stats(path.id).is_ok_and(|stats| stats.echoes > 0);
        let has_portal = path.portal_found().is_some();
        if has_portal || has_worked && silence.refusal.is_none() || is_first && silence.is_of_connection() {
            return;
        }
        tracing::warn!("path {} of {}: {silence}", config.name, self.config.name);
    }
}

impl PeerPath {
    /// When it is to be looked at again why no answer comes.
    pub(super) fn unanswered_at(&self) -> Option<Instant> {
        let unanswered = self.unanswered.as_ref().map(|unanswered| unanswered.poll_timeout());
        unanswered.into_iter().chain(self.portal_at()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(milliseconds)
    }

    #[test]
    fn it_is_told_after_five_seconds_and_then_ever_more_seldom_each_time_asked_before() {
        let mut unanswered = Unanswered::new(at(0));
        let (mut told, mut asked) = (Vec::new(), 0);
        for tick in 0..100_000 {
            let now = at(tick * 125);
            match unanswered.step(now) {
                Step::Wait => {}
                Step::Ask => unanswered.note_asked(Err(None), now),
                Step::AskAgain => {
                    unanswered.ask_again(now);
                    asked += 1;
                }
                Step::Tell => {
                    unanswered.note_told(now);
                    told.push((tick * 125, std::mem::take(&mut asked)));
                }
            }
        }
        assert_eq!(told[..4], [(5_000, 13), (68_500, 13), (312_000, 13), (1_275_500, 13)]);
        assert_eq!(told[5].0 - told[4].0, 3_603_500);
    }

    #[test]
    fn what_is_known_best_is_said_and_nothing_that_cannot_be_known() {
        let silence = || Silence {
            remote: ([203, 0, 113, 7], 4754).into(),
            lasting: Duration::from_secs(5),
            is_heard: false,
            others_work: false,
            is_sealed: false,
            problem: None,
            refusal: None,
        };
        let refusal = Some(Refusal::NobodyListens);
        let cases = [
            (silence(), "mpt does not run there"),
            (Silence { is_sealed: true, ..silence() }, "does not know our key"),
            (Silence { others_work: true, is_sealed: true, ..silence() }, "no path for it"),
            (Silence { is_heard: true, ..silence() }, "another `remote`"),
            (
                Silence { problem: Some("is of the moon"), others_work: true, ..silence() },
                "the peer is of the moon",
            ),
            (
                Silence { refusal, problem: Some("is of the moon"), ..silence() },
                "nobody listens on UDP port 4754",
            ),
        ];
        for (silence, part) in cases {
            let text = silence.to_string();
            assert!(text.contains(part) && text.contains("203.0.113.7") && text.contains("5 s"), "{text}");
            assert_eq!(text.contains("our key"), part.contains("our key"), "{text}");
        }
    }
}
