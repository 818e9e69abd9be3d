//! This host's own access, shared among the connections: turns for what they are sent, and what each is told that it may send.

use mpt_proto::{Handle, Instant};

use super::{Driver, Outside, Peer};
use crate::config::Listen;
use crate::sharing::{Downlink, Uplink};

/// Of a connection's `limit`, which counts inner packets, what its datagrams may have with headers, in per cent. More is dropped at this end
/// anyway, and leaves less to others.
const WITH_HEADERS: u64 = 125;

impl Outside<'_> {
    /// Shares what a configuration says; where it says nothing, nothing is shared.
    pub fn share(&mut self, listen: Option<&Listen>) {
        self.uplink = listen.and_then(|listen| listen.uplink).map(Uplink::new);
        self.downlink = listen.and_then(|listen| listen.downlink).map(Downlink::new);
    }

    /// Whether packets of a connection may leave now.
    pub(super) fn may_send(&self, peer: Handle, now: Instant) -> bool {
        self.uplink.as_ref().is_none_or(|uplink| uplink.may_send(peer, now))
    }

    /// A datagram of so many bytes came from a connection, which is to know what it may send.
    pub(super) fn note_arrived(&mut self, peer: &mut Peer<'_>, len: usize, now: Instant) {
        if let Some(downlink) = &mut self.downlink
            && downlink.note(peer.handle, len, now)
        {
            peer.connection.ask(downlink.told(peer.handle));
        }
    }

    /// Bits a second that a connection is limited to now, where others want the uplink and the downlink, too.
    pub(super) fn shares(&self, peer: Handle, now: Instant) -> (Option<u64>, Option<u64>) {
        let to = self.uplink.as_ref().and_then(|uplink| uplink.share(peer, now));
        let from = self.downlink.as_ref().and_then(|downlink| downlink.told(peer));
        (to.map(|bytes| bytes * 8), from.map(|bytes| u64::from(bytes) * 8))
    }
}

impl Peer<'_> {
    /// Whether it may send packets now, which it is told, too.
    pub(super) fn take_turn(&mut self, now: Instant, outside: &Outside<'_>) -> bool {
        let may = outside.may_send(self.handle, now);
        self.connection.set_turn(may);
        may
    }

    /// It may send no more for now: if packets are left it waits, and is known to wait.
    pub(super) fn await_turn(&mut self, now: Instant, outside: &mut Outside<'_>) {
        let Some(uplink) = &mut outside.uplink else { return };
        if self.connection.waits() && !uplink.may_send(self.handle, now) {
            uplink.wait(self.handle, now);
        }
        let share = uplink.share(self.handle, now);
        self.connection.set_share(share.map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX)));
    }
}

impl Driver<'_> {
    /// Lets those send that wait for their turn, as far as the uplink allows it now; [`settle`](Self::settle) must follow.
    pub(super) fn serve_turns(&mut self, now: Instant) {
        let Self { peers, outside, .. } = self;
        while let Some(handle) = outside.uplink.as_mut().and_then(|uplink| uplink.begin_turn(now)) {
            let waits = peers.get_mut(handle).is_some_and(|peer| {
                peer.pull(now, outside);
                peer.connection.waits() && !outside.may_send(handle, now)
            });
            if let Some(uplink) = &mut outside.uplink {
                uplink.end_turn(waits, now);
            }
        }
    }

    /// Shares the downlink anew if that is due.
    pub(super) fn share_downlink(&mut self, now: Instant) {
        let Self { peers, outside, .. } = self;
        let Some(downlink) = &mut outside.downlink else { return };
        if downlink.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        let limit = |handle: Handle| Some(peers.get(handle)?.config.limit? / 8 * WITH_HEADERS / 100);
        downlink.share(limit, now);
        for &handle in downlink.active() {
            if let Some(peer) = peers.get_mut(handle) {
                peer.connection.ask(downlink.told(handle));
            }
        }
    }

    /// Follows another `[listen]`, which differs in nothing but what is shared.
    pub(super) fn follow_shares(&mut self, listen: Option<&Listen>) {
        let Self { peers, outside, .. } = self;
        outside.share(listen);
        // Also those that are quiet now have been told a share.
        for peer in peers.iter_mut() {
            peer.connection.set_share(None);
            peer.connection.ask(None);
        }
    }
}
