//! Why datagrams are refused.

/// Why a datagram was refused. Nothing but a counter changed because of it, except for [`Content`](Self::Content).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Too short to be sealed.
    Short,
    /// Not a sealed datagram, nor one of a handshake of this version.
    Form,
    /// A datagram of a tunnel without keys.
    Clear,
    /// Its index is none that we gave, or of an epoch that is over.
    UnknownIndex,
    /// Its epoch is too old.
    Expired,
    /// It came before.
    Replayed,
    /// So far behind the newest one of its path that nobody knows whether it came before.
    TooOld,
    /// Damaged or forged.
    BadTag,
    /// Authentic, and nothing that a clear datagram may hold.
    Content,
    /// A handshake of somebody who does not know our public key.
    BadMac,
    /// A handshake of a key that is no peer's.
    UnknownPeer,
    /// An answer to a handshake of ours that does not fit: by the true peer, the pre-shared keys differ.
    BadResponse,
    /// A handshake that is no later than one that was answered, or that answers none of ours.
    Stale,
    /// More handshakes than are answered.
    Busy,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Short,
        Self::Form,
        Self::Clear,
        Self::UnknownIndex,
        Self::Expired,
        Self::Replayed,
        Self::TooOld,
        Self::BadTag,
        Self::Content,
        Self::BadMac,
        Self::UnknownPeer,
        Self::BadResponse,
        Self::Stale,
        Self::Busy,
    ];

    /// A name for counters: lower case, with underscores.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Short => "seal_short",
            Self::Form => "seal_form",
            Self::Clear => "seal_clear",
            Self::UnknownIndex => "seal_unknown_index",
            Self::Expired => "seal_expired",
            Self::Replayed => "seal_replayed",
            Self::TooOld => "seal_too_old",
            Self::BadTag => "seal_bad_tag",
            Self::Content => "seal_content",
            Self::BadMac => "seal_bad_mac",
            Self::UnknownPeer => "seal_unknown_peer",
            Self::BadResponse => "seal_bad_response",
            Self::Stale => "seal_stale",
            Self::Busy => "seal_busy",
        }
    }
}
