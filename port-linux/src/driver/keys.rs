//! Keys that come, change and go: handshakes leave, and paths are probed with new keys.

use mpt_proto::Instant;
use mpt_seal::{Event, Reason};

use super::Driver;
use super::outside::Origin;

impl Driver<'_> {
    /// Lets handshakes leave, on the paths that can be used, and does what new keys ask for.
    pub(super) fn follow_keys(&mut self, now: Instant) {
        if !self.outside.is_sealed() {
            return self.paths_changed.clear();
        }
        if !self.paths_changed.is_empty() {
            for index in std::mem::take(&mut self.paths_changed) {
                let Some(peer) = self.peers.get(index) else { continue };
                self.outside.set_paths(index, peer.usable_paths());
            }
            for shared in &mut self.outside.sockets {
                shared.is_used = shared.listens;
            }
            for peer in self.peers.iter().filter(|peer| !peer.config.is_learned) {
                for (index, path) in peer.paths.iter().enumerate() {
                    if let Some(shared) = self.outside.sockets.get_mut(path.socket) {
                        shared.is_used |= peer.listens(index);
                    }
                }
            }
        }
        while let Some(event) = self.outside.poll_event() {
            let (peer, probes) = match event {
                Event::Session { peer, restarted } => {
                    if restarted {
                        tracing::debug!("{}: keys of another process", self.name_of(peer.index()));
                    }
                    (peer, true)
                }
                Event::Silent { peer } => (peer, true),
                Event::Expired { peer } => {
                    tracing::info!(
                        "{}: the keys are too old, until the peer answers",
                        self.name_of(peer.index())
                    );
                    (peer, false)
                }
                _ => continue,
            };
            if probes && self.peers.get(peer.index()).is_some() {
                self.mutate(peer.index(), now, |peer| peer.probe_all(now));
            }
        }
        let Self { outside, peers, .. } = self;
        outside.send_handshakes(
            |peer, path| {
                let path = peers.get(peer)?.paths.get(path)?;
                Some((path.sockets(), path.destination()?))
            },
            now,
        );
    }

    /// Tells people, once for each reason, that datagrams from the address of a peer are refused because one end is set up otherwise than
    /// the other. Of strangers there is only a counter.
    pub(super) fn tell_refused(&mut self, origin: Origin, reason: Reason) {
        let Origin { socket, source, .. } = origin;
        tracing::trace!("a datagram from {source} is refused: {reason:?}");
        let sender = self.outside.sockets.get(socket).and_then(|shared| shared.senders.find(source));
        let Some(peer) = sender.and_then(|sender| self.peers.get_mut(sender.peer)) else { return };
        let name = &peer.config.name;
        let why = match reason {
            Reason::Clear => {
                "sends in the clear: it needs [security] with a key of its own and our public key, or this end security = \"none\""
            }
            Reason::BadMac => "has another public key for us than ours, which `mpt check` prints here",
            Reason::UnknownPeer => {
                "proves a key that is no connection's: public_key is to be what `mpt check` prints there"
            }
            Reason::BadResponse => {
                "has another pre-shared key, or only one end has one: preshared_key_file is to have the same content at both"
            }
            _ => return,
        };
        peer.problem = Some(why);
        let bit = 1 << reason as u16;
        if peer.told_refused & bit == 0 {
            peer.told_refused |= bit;
            tracing::warn!("{name}: the peer at {source} {why}");
        }
    }

    fn name_of(&self, peer: usize) -> &str {
        self.peers.get(peer).map_or("?", |peer| &peer.config.name)
    }
}
