//! What becomes of what the caller asks for and hands in, and what it is told.

use super::PeerId;
use crate::reason::Reason;

/// Why a peer was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddPeerError {
    /// There is no room for another one.
    Full,
    /// There is one with this public key.
    Known,
    /// The public key is our own.
    Ourselves,
}

impl core::fmt::Display for AddPeerError {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(match self {
            Self::Full => "there is no room for another peer",
            Self::Known => "there is a peer with this public key already",
            Self::Ourselves => "the peer's public key is our own",
        })
    }
}

impl core::error::Error for AddPeerError {}

/// Why a datagram was not sealed; it is not to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotSealed {
    /// There are no keys yet, or no more; a handshake begins by itself.
    NoSession,
    /// The path has used all its counters; a handshake begins by itself.
    Spent,
    /// Not a datagram that may be sealed (a GRE header with a key or a checksum), the place for it is of the wrong length, or there is
    /// no such peer.
    Form,
}

/// What became of a datagram that arrived.
#[derive(Debug)]
#[must_use]
pub enum Opened<'d> {
    /// It is of this peer, whole and for the first time.
    Clear {
        /// Who sealed it.
        peer: PeerId,
        /// The sender's number of the path it left on.
        path: u8,
        /// Whether no later one of that path came before.
        is_newest: bool,
        /// The clear datagram, for the core; zeros may follow what it holds.
        datagram: &'d mut [u8],
    },
    /// To be sent back to where the datagram came from; shorter than that was.
    Reply(&'d [u8]),
    /// Taken in: it was about keys.
    Consumed,
    /// Dropped and counted.
    Refused(Reason),
}

/// What the caller should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// New keys are in use: the peer is to be probed on all paths, so that it uses them too.
    Session {
        /// With whom.
        peer: PeerId,
        /// Its process is another than before.
        restarted: bool,
    },
    /// Datagrams leave and nothing comes: the peer is to be probed on all paths. Without an answer a handshake follows by itself.
    Silent {
        /// Who.
        peer: PeerId,
    },
    /// The last keys are too old: nothing leaves until the next handshake.
    Expired {
        /// With whom.
        peer: PeerId,
    },
}
