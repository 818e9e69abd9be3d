//! Datagrams from addresses that belong to no path, or to another one than they say: the peer itself, perhaps, from somewhere else.

use mpt_proto::{CONTROL_MAX, Claim, DownReason, Handle, Instant, Link, PathState, RoamingStep, Sighting};

use super::outside::Origin;
use super::path::PeerPath;
use super::senders::Sender;
use super::{Driver, Peer};
use crate::entropy;
use crate::events::What;
use crate::link::Missing;

impl Driver<'_> {
    /// A datagram that is no path's remote end's, where nothing is sealed; to be settled.
    pub(super) fn handle_stranger(&mut self, origin: Origin, datagram: &[u8], now: Instant) {
        let Origin { socket, source, .. } = origin;
        for peer in self.peers.iter_mut().filter(|peer| peer.uses_socket(socket)) {
            peer.drops.wrong_source += 1;
        }
        tracing::trace!("a datagram from {source}, which is no path's remote end");
        // Who is known goes first: without keys, other connections take it for a restarted peer of theirs.
        let claims = self.peers.iter().filter(|peer| peer.uses_socket(socket));
        let claims = claims.filter_map(|peer| Some((peer.handle, peer.connection.claim(datagram)?)));
        let Some((peer, claim)) = claims.max_by_key(|(_, claim)| claim.known) else {
            return self.tell_foreign(origin, datagram);
        };
        match self.peers[peer].claimed_path(origin, claim, false) {
            Some(path) => self.handle_claim((peer, path), origin, claim, now),
            None => self.peers[peer].hint(origin, claim),
        }
    }

    /// An authentic datagram of this peer from an address that is no path's remote end; to be settled. What it brings is taken in on the
    /// path that the peer numbers so; if it is the newest and a control message, it is asked whether the peer is there. Returns that path.
    pub(super) fn handle_moved(
        &mut self,
        (peer, number, is_newest): (Handle, u8, bool),
        origin: Origin,
        datagram: &[u8],
        now: Instant,
    ) -> Option<usize> {
        let it = self.peers.get_mut(peer)?;
        self.resources.wake(it);
        let claim = it.connection.claim(datagram).filter(|_| is_newest);
        if let Some(claim) = claim {
            match it.claimed_path(origin, claim, true) {
                Some(path) => self.handle_claim((peer, path), origin, claim, now),
                None => it.hint(origin, claim),
            }
            return None;
        }
        let is_it = |path: &PeerPath| {
            it.may_come(path, origin)
                && path.roaming.is_some()
                && it.connection.peer_number(path.id) == Ok(Some(number))
        };
        let path = it.paths.iter().position(is_it);
        it.drops.wrong_source += u64::from(path.is_none());
        path
    }

    /// A control message that says it is of this path, from an address that is not the path's remote end.
    pub(super) fn handle_claim(
        &mut self,
        (peer, path): (Handle, usize),
        origin: Origin,
        claim: Claim,
        now: Instant,
    ) {
        let Self { peers, outside, .. } = self;
        let Peer { connection, paths, .. } = &mut peers[peer];
        let planned = &mut paths[path];
        let Ok(stats) = connection.path_stats(planned.id) else { return };
        let sighting =
            Sighting { address: origin.source, answers: claim.answers, echoes: stats.echoes.into() };
        let Some(roaming) = &mut planned.roaming else { return };
        match roaming.handle_sighting(sighting, now, random) {
            RoamingStep::Ignore => {}
            RoamingStep::Challenge { stamp, first } => {
                let mut buffer = [0; CONTROL_MAX];
                let challenge = connection.challenge(planned.id, stamp, &mut buffer, now);
                if let Ok(challenge) = challenge {
                    // A challenge that does not leave is a lost one.
                    let _ =
                        outside.send_alone(peer, planned, (origin.socket, origin.back()), &challenge, 0, now);
                }
                if first {
                    // The path is there: its counters were.
                    let _ = connection.probe(planned.id, now);
                }
            }
            RoamingStep::Move => self.move_path(peer, path, origin, now),
        }
    }

    /// The peer's end of a path is where this came from, from now on.
    fn move_path(&mut self, peer: Handle, path: usize, origin: Origin, now: Instant) {
        let Origin { socket, source: address, local, .. } = origin;
        if self.peers[peer].paths[path].other_port.is_some_and(|other| other.tried() == Some(socket)) {
            // The peer has found the port that is tried, from another address of its own.
            self.move_port(peer, path);
        }
        let Peer { config, connection, paths, paths_changed, news, .. } = &mut self.peers[peer];
        *paths_changed = true;
        let planned = &mut paths[path];
        news.path(&config.paths[path].name, What::PathMoved { to: address, from: planned.remote });
        let state = connection.path_state(planned.id).unwrap_or(PathState::Down(DownReason::Unheard));
        planned.note_moved(address, local, state, now);
        let (id, before) = (planned.id, std::mem::replace(&mut planned.socket, socket));
        // Another path that had this address has it no longer, and waits until the peer is heard on it.
        let others = paths.iter_mut().enumerate().filter(|(other, it)| *other != path && it.socket == socket);
        for (_, other) in others.filter(|(_, it)| it.remote == Some(address)) {
            other.remote = None;
        }
        self.outside.sockets[before].senders.remove_path(peer, path);
        let new = Sender { address: address.ip(), port: Some(address.port()), peer, path };
        self.outside.sockets[socket].senders.replace(new);
        // The path is there: its counters were.
        let _ = connection.probe(id, now);
        if config.is_learned {
            self.note_places(now);
        }
        self.check_path(peer, path, now);
    }

    /// Peers that come by themselves and went for long: where they were is forgotten.
    pub(super) fn forget_gone(&mut self, peer: Handle, now: Instant) {
        let Some(it) = self.peers.get_mut(peer).filter(|it| it.config.is_learned) else { return };
        let mut forgotten = false;
        for path in 0..it.paths.len() {
            let planned = &mut it.paths[path];
            if planned.forget_at().is_none_or(|deadline| deadline > now) {
                continue;
            }
            (planned.remote, planned.down_since) = (None, None);
            forgotten = true;
            self.outside.sockets[planned.socket].senders.remove_path(peer, path);
            it.set_missing(path, Some(Missing::Peer));
            it.set_link(path, Link::Down, now);
        }
        if it.rest_at().is_some_and(|deadline| deadline <= now) {
            self.resources.rest(it);
        }
        if forgotten {
            self.note_places(now);
        }
    }
}

impl Peer<'_> {
    /// Whether datagrams of a path may come to this socket: to its own, and those of a peer that comes by itself to any that listens.
    fn may_come(&self, path: &PeerPath, to: Origin) -> bool {
        path.is_on(to.socket) || self.config.is_learned && to.listens
    }

    /// The path that a claim is about. Several may share the socket (a peer with one address here and three links
    /// there): the best is the one whose number with the peer is known to be the claim's; next, one that does not
    /// work; next, the one that has that number here, which is how paths whose peer speaks first are told apart.
    ///
    /// Who is not known to be the peer may be the peer after a restart. It is listened to where the configuration
    /// leaves the address open, and only while nothing is heard of the peer that was known; with a seal it is the peer in any case
    /// (`is_authentic`).
    fn claimed_path(&self, origin: Origin, claim: Claim, is_authentic: bool) -> Option<usize> {
        let may_be_anybody =
            |path: usize| is_authentic || self.config.paths[path].is_open() && self.paths_up() == 0;
        let rank = |path: usize| {
            let planned = &self.paths[path];
            let state = self.connection.path_state(planned.id).ok()?;
            let listens = self.may_come(planned, origin)
                && planned.roaming.is_some()
                && state != PathState::Down(DownReason::Disabled)
                && (claim.known || may_be_anybody(path));
            let is_other = self.connection.peer_number(planned.id).ok()? != Some(claim.path);
            let is_up = state == PathState::Up;
            (listens && !(is_other && is_up)).then_some((
                is_other,
                is_up,
                path != usize::from(claim.path),
                path,
            ))
        };
        (0..self.paths.len()).filter_map(rank).min().map(|(.., path)| path)
    }

    /// The other path that a control message from the remote end of `path` says it is of: a NAT may hand out its ports the other way
    /// round after it forgot them.
    pub(super) fn claimed_instead(&self, path: usize, origin: Origin, claim: Claim) -> Option<usize> {
        let number = |path: &PeerPath| self.connection.peer_number(path.id).ok().flatten();
        let is_claimed = |path: &PeerPath| number(path) == Some(claim.path);
        let planned = self.paths.get(path).filter(|path| path.roaming.is_some())?;
        if is_claimed(planned) || number(planned).is_none() {
            return None;
        }
        self.claimed_path(origin, claim, false).filter(|other| self.paths.get(*other).is_some_and(is_claimed))
    }
}

/// A number that nobody can guess.
fn random() -> Option<u32> {
    let mut bytes = [0; 4];
    entropy::fill(&mut bytes).ok().map(|()| u32::from_ne_bytes(bytes))
}
