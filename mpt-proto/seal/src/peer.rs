//! A peer: its keys, its epochs, and the handshake that is under way with it.

use core::time::Duration;

use mpt_proto::{Instant, MAX_PATHS, PathSet};

use crate::epoch::Epoch;
use crate::hash::MAC_LEN;
use crate::keys::{PeerKeys, PublicKey};
use crate::limits::{
    ASSUMED_RTT, COOKIE_LIFE, CROSSED_WITHIN, EPHEMERAL_LIFE, EPOCHS, LONGEST_RTT, RETRY_AFTER,
    RETRY_AT_MOST, RETRY_FAST_FOR, RETRY_SLOWLY, SILENT, SILENT_AFTER_ASKING,
};
use crate::message::{INITIATION_LEN, Proposal, RESPONSE_LEN};
use crate::noise::Initiator;

/// One peer. What of it is due when is in [`Peer::deadline`].
pub(crate) struct Peer<K> {
    pub(crate) keys: PeerKeys,
    pub(crate) epochs: [Option<Epoch<K>>; EPOCHS],
    /// The place of the epoch that we seal with.
    pub(crate) in_use: Option<usize>,
    /// The paths that a handshake may leave on.
    pub(crate) paths: PathSet,
    pub(crate) handshake: Option<Handshake>,
    pub(crate) retry: Retry,
    /// Something wanted to leave and there was no epoch for it.
    pub(crate) wanted: bool,
    pub(crate) silence: Silence,
    /// Those that the peer gave us, for each path. One for all would let whoever reads one path spoil that of another.
    pub(crate) cookies: [Cookie; MAX_PATHS],
    /// The time in our last initiation: the next has a later one.
    pub(crate) our_time: u64,
    /// The latest time in an initiation of the peer's.
    pub(crate) newest_time: Option<u64>,
    pub(crate) initiation_at: Option<Instant>,
    /// When a stale reply last let a handshake begin again at once.
    pub(crate) stale_reply_at: Option<Instant>,
    pub(crate) answered: Option<Answered>,
    /// The round trip of the last handshake.
    pub(crate) rtt: Option<Duration>,
    pub(crate) handshakes: u32,
    pub(crate) news: News,
}

/// A handshake that we began.
pub(crate) struct Handshake {
    pub(crate) initiator: Initiator,
    pub(crate) proposal: Proposal,
    /// Its mac2 is that of no path.
    pub(crate) datagram: [u8; INITIATION_LEN],
    /// Our index.
    pub(crate) index: u32,
    pub(crate) began: Instant,
    /// When the datagram last left.
    pub(crate) sent: Instant,
    /// Paths that it is still to leave on.
    pub(crate) unsent: PathSet,
}

/// When to try again.
pub(crate) struct Retry {
    /// Not before.
    pub(crate) at: Instant,
    wait: Duration,
    /// When the first of the tries in a row was.
    since: Option<Instant>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { at: Instant::ZERO, wait: RETRY_AFTER, since: None }
    }
}

impl Retry {
    /// The peer speaks with our keys: the next time tries begin anew.
    pub(crate) fn settle(&mut self) {
        (self.wait, self.since) = (RETRY_AFTER, None);
    }

    /// A try is made now. The next wait is longer or shorter by a quarter at most, by `chance` (0 to 255).
    pub(crate) fn note(&mut self, chance: u8, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let longest = if now.since(since) < RETRY_FAST_FOR { RETRY_AT_MOST } else { RETRY_SLOWLY };
        self.wait = self.wait.min(longest);
        self.at = now + self.wait.saturating_mul(384 + u32::from(chance)) / 512;
        self.wait = self.wait.saturating_mul(2).min(longest);
    }
}

/// Whether anything comes from the peer.
#[derive(Default)]
pub(crate) struct Silence {
    /// When the first datagram left after the last authentic one came.
    pub(crate) since: Option<Instant>,
    /// When the peer was asked on all paths because of that.
    pub(crate) asked: Option<Instant>,
}

/// A cookie that the peer gave us for a path.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cookie {
    bytes: [u8; MAC_LEN],
    /// When it is too old; at first there is none.
    until: Instant,
}

impl Cookie {
    pub(crate) fn new(bytes: [u8; MAC_LEN], now: Instant) -> Self {
        Self { bytes, until: now + COOKIE_LIFE }
    }
}

/// The last initiation that we answered, and how: its copies on other paths get the same.
pub(crate) struct Answered {
    pub(crate) mac1: [u8; MAC_LEN],
    pub(crate) response: [u8; RESPONSE_LEN],
    pub(crate) at: Instant,
}

/// What the caller is to be told.
#[derive(Default)]
pub(crate) struct News {
    /// There is a new epoch to seal with; `Some(true)`: with another process of the peer.
    pub(crate) session: Option<bool>,
    pub(crate) silent: bool,
    pub(crate) expired: bool,
}

impl<K> Peer<K> {
    pub(crate) fn new(keys: PeerKeys) -> Self {
        Self {
            keys,
            epochs: [const { None }; EPOCHS],
            in_use: None,
            paths: PathSet::default(),
            handshake: None,
            retry: Retry::default(),
            wanted: false,
            silence: Silence::default(),
            cookies: [Cookie::default(); MAX_PATHS],
            our_time: 0,
            newest_time: None,
            initiation_at: None,
            stale_reply_at: None,
            answered: None,
            rtt: None,
            handshakes: 0,
            news: News::default(),
        }
    }

    /// The epoch that we seal with.
    pub(crate) fn epoch(&self) -> Option<&Epoch<K>> {
        self.epochs.get(self.in_use?)?.as_ref()
    }

    /// The same.
    pub(crate) fn epoch_mut(&mut self) -> Option<&mut Epoch<K>> {
        self.epochs.get_mut(self.in_use?)?.as_mut()
    }

    /// The place for another epoch: an empty one; else that of one that waits for its first datagram, if the new one would wait as well
    /// (so that replayed initiations crowd out nothing), or the oldest that we do not seal with.
    pub(crate) fn place(&self, waits: bool) -> usize {
        let waiting = |place: &usize| {
            self.epochs.get(*place).and_then(Option::as_ref).is_some_and(|epoch| epoch.confirmed.is_none())
        };
        let empty = |place: &usize| self.epochs.get(*place).is_some_and(Option::is_none);
        let born = |place: &usize| {
            self.epochs.get(*place).and_then(Option::as_ref).map_or(Instant::ZERO, |epoch| epoch.terms.born)
        };
        let replaced = (0..EPOCHS).find(|place| waits && waiting(place));
        let replaced = replaced.or_else(|| (0..EPOCHS).find(empty));
        replaced
            .or_else(|| (0..EPOCHS).filter(|place| Some(*place) != self.in_use).min_by_key(born))
            .unwrap_or(0)
    }

    /// The epoch in `place` is confirmed: it is sealed with from now on, but for two cases. Of two that both ends began at the same time
    /// the one is used whose initiator has the larger key. And an epoch whose confirmation was held up on the way for longer does not
    /// replace one that is younger. Returns whether it is sealed with.
    pub(crate) fn take_into_use(&mut self, place: usize, ours: &PublicKey, now: Instant) -> bool {
        let Some(new) = self.epochs.get(place).and_then(Option::as_ref) else { return false };
        let before = self.epoch();
        let restarted = before.is_some_and(|before| before.terms.instance != new.terms.instance);
        let is_used = restarted
            || before.is_none_or(|before| {
                let crossed = before.terms.we_began != new.terms.we_began
                    && before.confirmed.is_some_and(|confirmed| now.since(confirmed) < CROSSED_WITHIN);
                if crossed {
                    let peers_is_used = self.keys.public > *ours;
                    new.terms.we_began != peers_is_used
                } else {
                    new.terms.born >= before.terms.born
                }
            });
        if is_used {
            self.in_use = Some(place);
        }
        self.news.session = Some(restarted || self.news.session == Some(true));
        self.silence = Silence::default();
        is_used
    }

    /// Whether a datagram of a path, the newest of its epoch, is the newest of all epochs: no epoch that began later was used on the
    /// path. Epochs of handshakes that may have crossed are used in any order.
    pub(crate) fn is_newest(&self, place: usize, path: u8) -> bool {
        let Some(born) = self.epochs.get(place).and_then(Option::as_ref).map(|epoch| epoch.terms.born) else {
            return false;
        };
        let is_later = |epoch: &Epoch<K>| epoch.terms.born >= born + CROSSED_WITHIN && epoch.has_opened(path);
        !self.epochs.iter().flatten().any(is_later)
    }

    /// A round trip was measured.
    pub(crate) fn note_rtt(&mut self, rtt: Duration) {
        self.rtt = Some(rtt.min(LONGEST_RTT));
    }

    pub(crate) fn rtt_or_assumed(&self) -> Duration {
        self.rtt.unwrap_or(ASSUMED_RTT)
    }

    /// When the peer counts as silent: first it is to be asked, then a handshake is to begin.
    fn silent_at(&self) -> Option<Instant> {
        let rtt = self.rtt_or_assumed();
        match self.silence.asked {
            Some(asked) => Some(asked + SILENT_AFTER_ASKING.max(rtt.saturating_mul(3))),
            None => Some(self.silence.since? + SILENT + rtt),
        }
    }

    /// Whether the peer is to be asked on all paths now.
    pub(crate) fn should_ask(&self, now: Instant) -> bool {
        self.silence.asked.is_none() && self.silent_at().is_some_and(|at| at <= now) && self.epoch().is_some()
    }

    /// Whether the peer may have lost its keys.
    fn is_silent(&self, now: Instant) -> bool {
        self.silence.asked.is_some() && self.silent_at().is_some_and(|at| at <= now)
    }

    /// Whether a handshake is wanted now.
    pub(crate) fn wants(&self, now: Instant) -> bool {
        !self.paths.is_empty()
            && (self.wanted && self.epoch().is_none()
                || self.is_silent(now)
                || self.epoch().is_some_and(|epoch| epoch.is_due(now)))
    }

    /// The cookie for a path.
    pub(crate) fn cookie_for(&self, path: u8, now: Instant) -> Option<&[u8; MAC_LEN]> {
        self.cookies.get(usize::from(path)).filter(|cookie| now < cookie.until).map(|cookie| &cookie.bytes)
    }

    /// When something is to be done; later if nothing is.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let dies = self.epochs.iter().flatten().map(|epoch| epoch.dies).min();
        let handshake = self.handshake.as_ref().map(|handshake| handshake.began + EPHEMERAL_LIFE);
        let can = !self.paths.is_empty();
        let wanted = (can && self.wanted && self.epoch().is_none()).then_some(self.retry.at);
        let rekey = self.epoch().filter(|_| can).map(|epoch| epoch.rekey_at.max(self.retry.at));
        let silent = match self.silence.asked {
            Some(_) => self.silent_at().filter(|_| can).map(|at| at.max(self.retry.at)),
            None => self.silent_at().filter(|_| self.epoch().is_some()),
        };
        [dies, handshake, wanted, rekey, silent].into_iter().flatten().min()
    }
}
