//! Counters. They only grow, and wrap after 2^64.

/// Why something that arrived was dropped. What a peer sends is never an error: it is one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DropReason {
    /// Shorter than its headers say, or than the inner packet's own length.
    Truncated,
    /// GRE version is not 0 (RFC 2784 section 2.3.1).
    BadVersion,
    /// A reserved bit that must be zero is set (RFC 2784 section 2.3).
    BadFlags,
    /// The GRE checksum does not match (RFC 2784 section 2.4).
    BadChecksum,
    /// The key is missing, is another one, or none was expected (RFC 8086 section 3.3).
    WrongKey,
    /// An EtherType that is neither IPv4, IPv6 nor ours (RFC 2784 section 3).
    UnknownProtocol,
    /// The inner packet is not what its EtherType says, or its header is malformed.
    BadInner,
    /// A control message of ours that makes no sense.
    BadControl,
    /// A fragment that contradicts itself or the others, or needs more room than was lent.
    BadFragment,
    /// A copy of a packet that was already taken.
    Duplicate,
    /// The sequence number was already given up, or lies too far back (RFC 2890 section 2.2).
    Late,
    /// Larger than a lent slot.
    TooLarge,
    /// Congestion was experienced, but the inner transport does not speak ECN (RFC 6040 section 4.2).
    CongestionMarked,
    /// A packet lost some of its fragments.
    FragmentTimeout,
    /// The path is disabled.
    PathDisabled,
    /// The reorder buffer had no room: the caller did not drain it.
    Overflow,
}

impl DropReason {
    /// Every reason, in the order of [`Stats::dropped`].
    pub const ALL: [Self; 16] = [
        Self::Truncated,
        Self::BadVersion,
        Self::BadFlags,
        Self::BadChecksum,
        Self::WrongKey,
        Self::UnknownProtocol,
        Self::BadInner,
        Self::BadControl,
        Self::BadFragment,
        Self::Duplicate,
        Self::Late,
        Self::TooLarge,
        Self::CongestionMarked,
        Self::FragmentTimeout,
        Self::PathDisabled,
        Self::Overflow,
    ];

    /// The name used in `mpt status` and its JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::BadVersion => "bad_version",
            Self::BadFlags => "bad_flags",
            Self::BadChecksum => "bad_checksum",
            Self::WrongKey => "wrong_key",
            Self::UnknownProtocol => "unknown_protocol",
            Self::BadInner => "bad_inner",
            Self::BadControl => "bad_control",
            Self::BadFragment => "bad_fragment",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::TooLarge => "too_large",
            Self::CongestionMarked => "congestion_marked",
            Self::FragmentTimeout => "fragment_timeout",
            Self::PathDisabled => "path_disabled",
            Self::Overflow => "overflow",
        }
    }
}

impl core::fmt::Display for DropReason {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(self.name())
    }
}

impl core::error::Error for DropReason {}

/// A connection's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct Stats {
    /// Inner packets taken for sending.
    pub tx_packets: u64,
    /// Their bytes, without our headers.
    pub tx_bytes: u64,
    /// Inner packets refused because no path was up.
    pub tx_no_path: u64,
    /// Inner packets refused because they fit no path and the peer does not put fragments together.
    pub tx_too_large: u64,
    /// Inner packets refused because there were more than [`Config::limit`](crate::Config::limit) allows, and no queue to wait in.
    pub tx_limited: u64,
    /// Fragments sent.
    pub tx_fragments: u64,
    /// Inner packets dropped from the ingress queue, to keep it short, and acknowledgements that a later one replaced there.
    pub tx_dropped: u64,
    /// Inner packets marked "congestion experienced" there instead.
    pub tx_marked: u64,
    /// Packets sent again, as a path lost them or died.
    pub tx_resent: u64,
    /// Copies of packets that a rule protects, sent beside them on another path ([`Travel::Protected`](crate::Travel::Protected)).
    pub tx_copies: u64,
    /// Reports that claimed what cannot be.
    pub rx_bad_reports: u64,
    /// Inner packets delivered.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Packets that came early and waited.
    pub rx_held: u64,
    /// Sequence numbers given up: packets that did not come in time.
    pub rx_lost: u64,
    /// Packets put together from fragments.
    pub rx_reassembled: u64,
    /// Times the sequence started anew: because the peer did, or because numbers that were not the peer's had
    /// moved it.
    pub rx_restarts: u64,
    /// What was dropped, in the order of [`DropReason::ALL`].
    pub dropped: [u64; DropReason::ALL.len()],
}

impl Stats {
    /// How many were dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or(0)
    }

    pub(crate) fn drop(&mut self, reason: DropReason) {
        if let Some(counter) = self.dropped.get_mut(reason as usize) {
            *counter = counter.wrapping_add(1);
        }
    }
}

/// A path's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct PathStats {
    /// Datagrams handed out for sending, control messages included.
    pub tx_datagrams: u64,
    /// Their bytes: UDP payloads.
    pub tx_bytes: u64,
    /// Datagrams that arrived and were not dropped, control messages included.
    pub rx_datagrams: u64,
    /// Their bytes: UDP payloads.
    pub rx_bytes: u64,
    /// Probes sent, 4,294,967,295 at most.
    pub probes: u32,
    /// Echoes that came back, 4,294,967,295 at most.
    pub echoes: u32,
    /// Times the path went down after it had been up, 4,294,967,295 at most.
    pub downs: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_place_in_the_table() {
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.name());
        }
    }
}
