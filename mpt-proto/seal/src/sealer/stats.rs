//! What the sealer counts, and what people are told of a peer.

use core::time::Duration;

use crate::cipher::Suite;
use crate::keys::PublicKey;
use crate::reason::Reason;

/// Counters of all peers together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stats {
    refused: [u64; Reason::ALL.len()],
    /// Datagrams that did not leave, as there were no keys.
    pub not_sealed: u64,
}

impl Stats {
    /// Datagrams refused for this reason.
    pub fn refused(&self, reason: Reason) -> u64 {
        self.refused.get(reason as usize).copied().unwrap_or(0)
    }

    pub(super) fn refuse(&mut self, reason: Reason) {
        if let Some(count) = self.refused.get_mut(reason as usize) {
            *count += 1;
        }
    }
}

/// What people are told of a peer.
#[derive(Debug, Clone, Copy)]
pub struct PeerStatus {
    /// Its name.
    pub public: PublicKey,
    /// The cipher in use; `None`: there are no keys.
    pub suite: Option<Suite>,
    /// How long ago the handshake was that gave the keys in use.
    pub age: Option<Duration>,
    /// Handshakes that gave keys.
    pub handshakes: u32,
}
