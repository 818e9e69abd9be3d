//! Who we are to the peer and who the peer is: two running processes, which may start anew.

use crate::seq::Seq;
use crate::time::{Instant, Micros};
use crate::wire::control::{Features, Kind, Message};

/// How far a message may lie behind the newest one of the peer and still count as new: probes and echoes that
/// were overtaken on other paths, some for each of 16. Older ones are replays.
pub(super) const OVERTAKEN: i32 = 64;

/// See the module.
#[derive(Debug)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Identity {
    /// Our number as a running process.
    instance: u32,
    /// Of the next control message of ours.
    count: Seq,
    peer: Option<Peer>,
}

/// What the peer's control messages told.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Peer {
    instance: u32,
    /// The one before: what it sent may still arrive, and must not pass for another restart.
    previous: Option<u32>,
    /// When the first message with this instance came.
    since: Instant,
    /// Of the newest message.
    count: Seq,
    pub(super) features: Features,
    /// Bytes of the largest packet that it puts together.
    pub(super) mtu: u16,
    /// Packets that its reorder buffer holds, if it speaks the extension.
    pub(super) extension: Option<u16>,
    /// Whether people were told that it started.
    is_told: bool,
}

/// Whose a control message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Our own, come back by a loop.
    Own,
    /// Of a process of the peer that is gone.
    Former,
    /// Of the peer that is known.
    Known,
    /// Of a peer, and none was known.
    First,
    /// Of a peer that has started anew.
    Restarted,
}

impl Identity {
    pub(super) const fn new(instance: u32) -> Self {
        Self { instance, count: Seq::ZERO, peer: None }
    }

    /// Our number as a running process.
    pub(super) const fn instance(&self) -> u32 {
        self.instance
    }

    /// The peer, once it was heard.
    pub(super) const fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// The peer's number as a running process.
    pub(super) fn peer_instance(&self) -> Option<u32> {
        self.peer.map(|peer| peer.instance)
    }

    /// Whether the peer speaks the extension.
    pub(super) fn peer_extends(&self) -> bool {
        self.peer.is_some_and(|peer| peer.extension.is_some())
    }

    /// The peer, if it said that it can do this.
    pub(super) fn peer_with(&self, feature: Features) -> Option<&Peer> {
        self.peer.as_ref().filter(|peer| peer.features.contains(feature))
    }

    /// The number of the next control message of ours, which leaves.
    pub(super) fn next_count(&mut self) -> Seq {
        let count = self.count;
        self.count = count + 1;
        count
    }

    /// Whose a message is. `asked`: when the probe left that it answers; whoever answers it was alive after that.
    pub(super) fn judge(&self, message: &Message, asked: Option<Instant>) -> Verdict {
        if message.instance == self.instance {
            return Verdict::Own;
        }
        let Some(peer) = &self.peer else { return Verdict::First };
        if peer.instance == message.instance {
            return Verdict::Known;
        }
        // A former process answers nothing that was asked after its successor was heard; if it does, then
        // it lives, and the other was a forgery or a straggler of a process before it.
        if peer.previous == Some(message.instance) && asked.is_none_or(|asked| asked <= peer.since) {
            return Verdict::Former;
        }
        Verdict::Restarted
    }

    /// Takes a message of the peer. Returns whether it is the newest: what it says holds.
    pub(super) fn take(&mut self, message: &Message, verdict: Verdict, now: Instant) -> bool {
        let before = self.peer;
        let known = before.filter(|_| verdict == Verdict::Known);
        if known.is_some_and(|peer| message.count.distance_from(peer.count) <= 0) {
            return false;
        }
        self.peer = Some(Peer {
            instance: message.instance,
            previous: known.map_or(before.map(|peer| peer.instance), |peer| peer.previous),
            since: known.map_or(now, |peer| peer.since),
            count: message.count,
            features: message.features,
            mtu: message.mtu,
            extension: message.extension,
            is_told: known.is_some_and(|peer| peer.is_told),
        });
        true
    }

    /// Whether a peer started, which was not told yet.
    pub(super) fn poll_started(&mut self) -> bool {
        self.peer.as_mut().is_some_and(|peer| !core::mem::replace(&mut peer.is_told, true))
    }

    /// Whether a message that came from an address that belongs to no path is of the peer that is known. `None`: it is our own, or old.
    pub(super) fn claims(&self, message: &Message) -> Option<bool> {
        let peer = self.peer.as_ref();
        let known = peer.is_some_and(|peer| peer.instance == message.instance);
        let is_old = peer.is_some_and(|peer| {
            if known {
                message.count.distance_from(peer.count) < -OVERTAKEN
            } else {
                peer.previous == Some(message.instance)
            }
        });
        (message.instance != self.instance && !is_old).then_some(known)
    }
}

/// When the probe left that a message answers; `None`: it answers none.
pub(super) fn asked_at(message: &Message, now: Instant) -> Option<Instant> {
    (message.kind == Kind::Echo).then(|| now - Micros(now.stamp().wrapping_sub(message.stamp)))
}
