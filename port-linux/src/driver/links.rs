//! Links that go and come back: which paths can be used, and the sockets that must be bound anew.

use std::time::Duration;

use mpt_proto::{Instant, Link};

use super::{Driver, FIRST_SOCKET};
use crate::socket::{Socket, has_route};

/// How often a link that is down is looked at, for what the watch does not tell: routes that come back. Well
/// below the second that hand-over may take.
const RECHECK: Duration = Duration::from_millis(100);

impl Driver<'_> {
    /// After a connection was driven: if a send found a link down, it must be looked at again.
    pub(super) fn note_links(&mut self, peer: usize, now: Instant) {
        if self.recheck_links.is_none() && self.peers[peer].some_link_is_down() {
            self.recheck_links = Some(now + RECHECK);
        }
    }

    /// Looks at every path's link and tells the core what changed.
    pub(super) fn check_links(&mut self, now: Instant) {
        self.recheck_links = None;
        for peer in 0..self.peers.len() {
            for path in 0..self.peers[peer].paths.len() {
                let was_down = self.peers[peer].link_is_down(path);
                let works = self.interface_runs(peer, path) && (!was_down || self.restore(peer, path));
                let link = if works { Link::Up } else { Link::Down };
                self.mutate(peer, now, |peer| peer.set_link(path, link, now));
            }
            self.note_links(peer, now);
        }
    }

    /// Whether the interface with the path's local address is switched on and has a carrier.
    fn interface_runs(&self, peer: usize, path: usize) -> bool {
        let shared = &self.sockets[self.peers[peer].paths[path].socket];
        let interface = self.interfaces.with_address(shared.local.ip(), shared.device.as_deref());
        interface.is_some_and(|interface| interface.running)
    }

    /// Makes a path usable again whose link was down: there must be a route, and a socket. An address or a
    /// device that went and came back may be another one to the kernel, so the socket is bound anew, unless
    /// another path uses it meanwhile.
    fn restore(&mut self, peer: usize, path: usize) -> bool {
        let (index, remote) = {
            let path = &self.peers[peer].paths[path];
            (path.socket, path.remote)
        };
        let in_use = self.peers.iter().any(|peer| {
            (0..peer.paths.len()).any(|path| peer.paths[path].socket == index && !peer.link_is_down(path))
        });
        let shared = &mut self.sockets[index];
        if !has_route(shared.local, remote, shared.device.as_deref()) {
            return false;
        }
        if in_use && shared.socket.is_some() {
            return true;
        }
        // The old one goes first, as it holds the port; closing it takes it out of epoll.
        shared.socket = None;
        let socket = match Socket::bind(shared.local, shared.device.as_deref()) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::debug!("binding {} anew: {error}", shared.local);
                return false;
            }
        };
        if let Err(error) = self.listen(&socket, FIRST_SOCKET + index as u64) {
            tracing::debug!("waiting for {}: {error}", self.sockets[index].local);
            return false;
        }
        self.sockets[index].socket = Some(socket);
        true
    }
}
