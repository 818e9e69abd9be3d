//! A path as the loop sees it: its socket, where the peer is, and what waits to leave.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mpt_proto::{EcnFault, Instant, PathState, Roaming};

use super::data::LAST_TIER;
use super::names::Named;
use super::portal::Watch;
use super::ports::OtherPort;
use super::unanswered::Unanswered;
use crate::link::{Ends, Missing};
use crate::outbox::Outbox;
use crate::report::NotSent;
use crate::socket::Destination;

/// A path of a peer that came by itself is probed for so long after it went down: a NAT on the way has forgotten it, and somebody
/// else may have the address.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// One path.
#[derive(Debug)]
pub struct PeerPath {
    /// The core's name for it.
    pub id: mpt_proto::PathId,
    /// What it needs of the machine.
    pub ends: Ends,
    /// Index of its socket.
    pub socket: usize,
    /// The peer's end; `None` until the peer was heard, where the configuration leaves it open.
    pub remote: Option<SocketAddr>,
    /// The address of ours that the peer sends to, where the socket has several.
    pub reply_from: Option<IpAddr>,
    /// Since when the path is down, as far as it was [noted](Self::note_state).
    pub(super) down_since: Option<Instant>,
    /// Follows the peer to another address, if the path does.
    pub roaming: Option<Roaming<SocketAddr>>,
    /// Tries other ports of this host while nothing comes back, if the path may do so.
    pub other_port: Option<OtherPort>,
    /// Where the peer is by its name, if it has one.
    pub named: Option<Named>,
    /// Largest UDP payload that may be sent now.
    pub max_datagram: u16,
    /// Largest UDP payload that the interface carries, or that the configuration allows.
    pub ceiling: u16,
    /// Largest UDP payload that was last found to pass, and that people were told of.
    pub told_datagram: u16,
    /// What routers on the way do to ECN marks.
    pub(super) ecn_fault: Option<EcnFault>,
    /// Largest UDP payload that there is room for.
    pub planned_datagram: u16,
    /// What the kernel did not take.
    pub not_sent: NotSent,
    /// What waits to leave.
    pub outbox: Outbox,
    /// The address that it was last seen to send from.
    pub source: Option<IpAddr>,
    /// What it waits for, as people were last told.
    pub missing: Option<Missing>,
    /// Why no answer comes, while none does.
    pub(super) unanswered: Option<Box<Unanswered>>,
    /// Whether a portal is in the way, while nothing comes back.
    pub(super) portal: Option<Box<Watch>>,
    /// Its tier by the configuration, at this time of day.
    pub(super) tier: u8,
    /// Its data plan makes it the last one.
    pub(super) is_last: bool,
    /// Whether it is a path, or was one.
    pub(super) stay: Stay,
}

/// Whether a path is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stay {
    /// It is.
    Here,
    /// It was removed; what is under way on it is taken in until then.
    Leaves(Instant),
    /// It was removed, and its place is free.
    Gone,
}

impl PeerPath {
    /// A path that nothing was sent on, with datagrams of at most `max_datagram` bytes.
    pub fn new(
        id: mpt_proto::PathId,
        ends: Ends,
        socket: usize,
        remote: Option<SocketAddr>,
        max_datagram: u16,
    ) -> Self {
        Self {
            id,
            ends,
            socket,
            remote,
            reply_from: None,
            down_since: None,
            roaming: None,
            other_port: None,
            named: None,
            max_datagram,
            ceiling: max_datagram,
            told_datagram: max_datagram,
            ecn_fault: None,
            planned_datagram: max_datagram,
            not_sent: NotSent::default(),
            outbox: Outbox::new(),
            source: None,
            missing: None,
            unanswered: None,
            portal: None,
            tier: 1,
            is_last: false,
            stay: Stay::Here,
        }
    }

    /// Whether it is a path: it was not removed.
    pub(super) fn is_there(&self) -> bool {
        self.stay == Stay::Here
    }

    /// The tier in force.
    pub(super) const fn tier(&self) -> u8 {
        if self.is_last { LAST_TIER } else { self.tier }
    }

    /// The path is up or down now: since when it is down counts from the first time.
    pub(super) fn note_state(&mut self, state: PathState, now: Instant) {
        self.down_since = (state != PathState::Up).then(|| self.down_since.unwrap_or(now));
    }

    /// The peer's end is `remote` from now on, and sends to the address `reply_from` of ours where the socket has several.
    pub(super) fn note_moved(
        &mut self,
        remote: SocketAddr,
        reply_from: Option<IpAddr>,
        state: PathState,
        now: Instant,
    ) {
        self.remote = Some(remote);
        self.ends.remote = remote.ip();
        self.reply_from = reply_from;
        self.down_since = None;
        self.note_state(state, now);
    }

    /// When something of it is due: of a path of a peer that comes by itself also that it is forgotten.
    pub(super) fn poll_timeout(&self, is_learned: bool) -> Option<Instant> {
        let forgotten = is_learned.then(|| self.forget_at()).flatten();
        let port = self.other_port.as_ref().and_then(OtherPort::poll_timeout);
        let name = self.named.as_ref().and_then(Named::poll_timeout);
        let left = match self.stay {
            Stay::Leaves(until) => Some(until),
            Stay::Here | Stay::Gone => None,
        };
        [forgotten, port, name, self.unanswered_at(), left].into_iter().flatten().min()
    }

    /// When the peer's end of a path that was learnt is forgotten, unless the path comes up.
    pub(super) fn forget_at(&self) -> Option<Instant> {
        self.remote.and(self.down_since).map(|since| since + FORGET_AFTER)
    }

    /// Where its datagrams go; `None` until the peer was heard.
    pub(super) fn destination(&self) -> Option<Destination> {
        Some(Destination { remote: self.remote?, source: self.reply_from })
    }
}

#[cfg(test)]
mod tests {
    use mpt_proto::{Connection, DownReason, PathConfig, Storage};

    use super::*;

    const DOWN: PathState = PathState::Down(DownReason::Silent);

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn path() -> PeerPath {
        let mut connection = Connection::new(mpt_proto::Config::default(), Storage::none(), Instant::ZERO);
        let id = connection.add_path(PathConfig::default(), Instant::ZERO).unwrap();
        let any: IpAddr = [0; 4].into();
        let ends = Ends { local: any, remote: any, device: None };
        PeerPath::new(id, ends, 0, Some(([192, 0, 2, 1], 4754).into()), 1472)
    }

    #[test]
    fn a_path_is_forgotten_ten_minutes_after_it_went_down_and_never_while_it_is_up() {
        let mut path = path();
        assert_eq!(path.forget_at(), None);
        path.note_state(DOWN, at(100));
        path.note_state(PathState::Down(DownReason::Link), at(200));
        assert_eq!(path.forget_at(), Some(at(700)), "from the first time, whatever the reason is later");
        path.note_state(PathState::Up, at(300));
        assert_eq!(path.forget_at(), None);
        path.note_state(DOWN, at(400));
        assert_eq!(path.forget_at(), Some(at(1000)));
        path.remote = None;
        assert_eq!(path.forget_at(), None, "there is nothing to forget");
    }

    #[test]
    fn a_path_whose_peer_moved_begins_to_count_anew_unless_it_is_up() {
        let mut path = path();
        path.note_state(DOWN, at(100));
        path.note_moved(([192, 0, 2, 2], 4754).into(), None, DOWN, at(650));
        assert_eq!(path.forget_at(), Some(at(1250)));
        path.note_moved(([192, 0, 2, 3], 4754).into(), None, PathState::Up, at(660));
        assert_eq!(path.forget_at(), None);
    }
}
