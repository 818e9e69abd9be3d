//! What happened, for the caller to report.

use crate::path::{EcnFault, PathId, PathState};

/// Something that the caller may want to tell people. Repeated changes of one path between two polls
/// are merged into the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Event {
    /// A path changed its state.
    Path {
        /// Which path.
        path: PathId,
        /// Its state now.
        state: PathState,
    },
    /// ECN marks are not sent on a path any more, as it does not carry them, or are sent again.
    Ecn {
        /// Which path.
        path: PathId,
        /// What is wrong with them; `None`: nothing any more.
        fault: Option<EcnFault>,
    },
    /// Large packets are lost on the path, one after the other, while small ones arrive: it may carry smaller datagrams than
    /// [`PathConfig::max_datagram`](crate::PathConfig::max_datagram) says. Only under
    /// [`Policy::Adaptive`](crate::Policy::Adaptive). They avoid the path until the size is told by
    /// [`set_max_datagram`](crate::Connection::set_max_datagram), even if it is the same, or for ten seconds. Where the size is
    /// [searched](crate::Connection::search_size), the search looks at it at once, and this is not told.
    LargeLost {
        /// Which path.
        path: PathId,
    },
    /// The [search](crate::Connection::search_size) for the size of datagrams that a path carries has changed its answer.
    PathSize {
        /// Which path.
        path: PathId,
        /// Largest UDP payload that is sent on the path now, in bytes.
        size: u16,
        /// Whether that was found; otherwise it is what surely passes while the search goes on.
        is_found: bool,
    },
    /// The peer is another process than before: it started or restarted. Sequence numbers start anew.
    PeerStarted,
}
