//! Keys that come, change and go: handshakes leave, and paths are probed with new keys.

use mpt_proto::Instant;
use mpt_seal::Event;

use super::Driver;

impl Driver<'_> {
    /// Lets handshakes leave, on the paths that can be used, and does what new keys ask for.
    pub(super) fn follow_keys(&mut self, now: Instant) {
        if !self.outside.is_sealed() {
            return;
        }
        for peer in &self.peers {
            self.outside.set_paths(peer.index, peer.usable_paths());
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
                    tracing::info!("{}: the keys are too old, until the peer answers", self.name_of(peer.index()));
                    (peer, false)
                }
                _ => continue,
            };
            if probes && peer.index() < self.peers.len() {
                self.mutate(peer.index(), now, |peer| peer.probe_all(now));
            }
        }
        let Self { outside, peers, .. } = self;
        outside.send_handshakes(
            |peer, path| {
                let path = peers.get(peer)?.paths.get(path)?;
                Some((path.socket, path.remote?))
            },
            now,
        );
    }

    fn name_of(&self, peer: usize) -> &str {
        self.peers.get(peer).map_or("?", |peer| &peer.config.name)
    }
}
