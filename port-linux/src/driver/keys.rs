//! Keys that come, change and go: handshakes leave, and paths are probed with new keys.

use std::time::Duration;

use mpt_proto::{Handle, Instant};
use mpt_seal::Event;

use super::Driver;

/// So many times in [`TURNS_WITHIN`] a peer is another process than before: more often than somebody starts mpt again who tries
/// something, and as often as two machines do that take the tunnel from each other.
const MANY_TURNS: u32 = 5;
/// Each of two machines notices after some seconds of silence that the other one has the tunnel.
const TURNS_WITHIN: Duration = Duration::from_secs(120);

/// How often a peer was another process than before, lately.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Turns {
    since: Instant,
    count: u32,
    told: bool,
}

impl Turns {
    /// It is another process than before. Whether people are to be told, which they are once.
    fn note(&mut self, now: Instant) -> bool {
        if self.count == 0 || now.since(self.since) > TURNS_WITHIN {
            (self.since, self.count) = (now, 0);
        }
        self.count += 1;
        self.count == MANY_TURNS && !std::mem::replace(&mut self.told, true)
    }
}

impl Driver<'_> {
    /// Lets handshakes leave, on the paths that can be used, and does what new keys ask for.
    pub(super) fn follow_keys(&mut self, now: Instant) {
        if !self.outside.is_sealed() {
            return self.paths_changed.clear();
        }
        if !self.paths_changed.is_empty() {
            for handle in std::mem::take(&mut self.paths_changed) {
                let Some(peer) = self.peers.get(handle) else { continue };
                self.outside.set_paths(handle, peer.usable_paths());
            }
            for shared in &mut self.outside.sockets {
                shared.is_used = shared.listens;
            }
            for peer in self.peers.fixed() {
                for (index, path) in peer.paths.iter().enumerate() {
                    if let Some(shared) = self.outside.sockets.get_mut(path.socket) {
                        shared.is_used |= peer.listens(index);
                    }
                }
            }
        }
        while let Some(event) = self.outside.poll_event() {
            let (Event::Session { peer, .. } | Event::Silent { peer } | Event::Expired { peer }) = event
            else {
                continue;
            };
            let Some(handle) = self.outside.owner(peer) else { continue };
            match event {
                Event::Expired { .. } => {
                    tracing::info!("{}: the keys are too old, until the peer answers", self.name_of(handle));
                    continue;
                }
                Event::Session { restarted: true, .. } => {
                    tracing::debug!("{}: keys of another process", self.name_of(handle));
                    self.note_another_process(handle, now);
                }
                _ => {}
            }
            if self.peers.get(handle).is_some() {
                self.mutate(handle, now, |peer| peer.probe_all(now));
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

    /// Tells people, once, of a peer that is two machines.
    fn note_another_process(&mut self, peer: Handle, now: Instant) {
        let Some(peer) = self.peers.get_mut(peer) else { return };
        if peer.turns.note(now) {
            let name = &peer.config.name;
            tracing::warn!(
                "{name}: two machines have its line, or its key, and take the tunnel from each other: `mpt peer renew {name}` makes a new \
                 line for one of them, and each other machine needs a peer of its own. (If there is one machine only, its mpt ends and is \
                 started again and again: its log says why.)"
            );
        }
    }

    fn name_of(&self, peer: Handle) -> &str {
        self.peers.get(peer).map_or("?", |peer| &peer.config.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_started_again_now_and_then_is_one_machine() {
        let at = |seconds: u64| Instant::ZERO + Duration::from_secs(seconds);
        let mut turns = Turns::default();
        assert!((0..100).all(|turn| !turns.note(at(turn * 60))));
        let mut turns = Turns::default();
        let told: Vec<u64> = (0..100).filter(|turn| turns.note(at(1000 + turn * 8))).collect();
        assert_eq!(told, [4]);
    }
}
