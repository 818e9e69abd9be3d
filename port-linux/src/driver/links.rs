//! Links that come, go and change: which paths can be used, and the sockets that must be bound anew.

use std::time::Duration;

use mpt_proto::{Handle, Instant, Link, PathState};

use super::path::PeerPath;
use super::{Driver, FIRST_SOCKET, Peer};
use crate::link::{Missing, scoped};
use crate::socket::{Socket, source_address};

/// How often a link that is down is looked at, for what the watch does not tell: routes that come back. Well
/// below the second that hand-over may take.
const RECHECK: Duration = Duration::from_millis(100);
/// How often it is looked whether something of this host is still in a path's way: below the seconds between two probes.
const RECHECK_HINDERED: Duration = Duration::from_secs(1);

/// A path's interface, as far as it matters here.
#[derive(Clone, Copy)]
struct Found {
    index: u32,
    mtu: u32,
}

impl Peer<'_> {
    /// Whether something of this host was last in the way of a path whose link works.
    fn some_path_is_hindered(&self) -> bool {
        let is_hindered = |(index, path): (usize, &PeerPath)| {
            self.is_known(index)
                && !self.link_is_down(index)
                && matches!(path.missing, Some(Missing::Route(..) | Missing::Filter(..)))
        };
        self.paths.iter().enumerate().any(is_hindered)
    }
}

impl Driver<'_> {
    /// After a connection was driven: if a send found a link down, or nothing comes back on a path, which is news if it `went_down` just
    /// now, it must be looked at again.
    pub(super) fn note_links(&mut self, peer: Handle, went_down: bool, now: Instant) {
        let Some(peer) = self.peers.get(peer) else { return };
        if !(0..peer.paths.len()).any(|path| peer.has_link_to_look_at(path)) {
            return;
        }
        let patience = if peer.config.is_learned {
            RECHECK_HINDERED
        } else if went_down || peer.some_link_must_be_looked_at() {
            RECHECK
        } else if peer.some_path_is_hindered() {
            RECHECK_HINDERED
        } else {
            return;
        };
        let deadline = now + patience;
        self.recheck_links = Some(self.recheck_links.map_or(deadline, |before| before.min(deadline)));
    }

    /// Looks at every path's link and tells the core what changed.
    pub(super) fn check_links(&mut self, now: Instant) {
        self.recheck_links = None;
        for peer in self.peers.handles() {
            for path in 0..self.peers[peer].paths.len() {
                if self.peers.get(peer).is_some_and(|peer| peer.has_link_to_look_at(path)) {
                    self.check_path(peer, path, now);
                }
            }
            self.note_links(peer, false, now);
        }
    }

    /// Looks at one path's link.
    pub(super) fn check_path(&mut self, peer: Handle, path: usize, now: Instant) {
        let missing = self.check_link(peer, path, now).err();
        let link = if missing.is_none() { Link::Up } else { Link::Down };
        let missing = missing.or_else(|| self.find_obstacle(peer, path));
        self.mutate(peer, now, |peer| {
            let is_free = peer.set_missing(path, missing);
            peer.set_link(path, link, now);
            if is_free && link == Link::Up {
                // The path is there: it was added. Without it the next probe may be seconds away.
                let _ = peer.connection.probe(peer.paths[path].id, now);
            }
        });
    }

    /// What of this host keeps datagrams from a path that is down although its link works. It is only told: where a router
    /// answers for everybody it may be in nobody's way.
    fn find_obstacle(&self, peer: Handle, path: usize) -> Option<Missing> {
        let Peer { connection, paths, .. } = &self.peers[peer];
        let planned = &paths[path];
        let is_silent = connection.path_state(planned.id).is_ok_and(PathState::is_silent);
        let remote = planned.remote.filter(|_| is_silent)?;
        let shared = self.outside.sockets.get(planned.socket)?;
        let interface = planned.ends.candidate(&self.interfaces)?;
        self.maker.tie.obstacle(interface, shared.device.as_deref(), (shared.bound?.ip(), remote.ip()))
    }

    /// Whether a path's link can be used: there is the interface with the address, a route, a socket that
    /// belongs to them, and a known peer.
    fn check_link(&mut self, peer: Handle, path: usize, now: Instant) -> Result<(), Missing> {
        let planned = &self.peers[peer].paths[path];
        if self.outside.listens(planned.socket) {
            // Bound for good, and the kernel finds the way.
            return planned.remote.map(drop).ok_or(Missing::Peer);
        }
        let ends = &planned.ends;
        let interface = ends.interface(&self.interfaces)?;
        let found = Found { index: interface.index, mtu: interface.mtu };
        if let Some(named) = planned.named.as_ref().filter(|_| planned.remote.is_none()) {
            return Err(self.names.missing(&named.name));
        }
        let chosen_by_kernel = ends.local.is_unspecified();
        let shared = &self.outside.sockets[self.peers[peer].paths[path].socket];
        let other_device = shared.device.is_some() && shared.interface != found.index;
        let planned = &self.peers[peer].paths[path];
        let was_down = self.peers[peer].link_is_down(path) && planned.missing != Some(Missing::Peer);
        if was_down || !shared.is_open() || other_device {
            self.restore(peer, path, found)?;
        } else if chosen_by_kernel {
            self.follow_address(peer, path, found, now)?;
        }
        self.follow_mtu(peer, path, found.mtu, now);
        self.peers[peer].paths[path].remote.map(drop).ok_or(Missing::Peer)
    }

    /// A path whose address the kernel chooses goes on from a new one at once: the link counts as new, so that
    /// probes open the way for the peer's datagrams (through a NAT, say) before the next packet needs it.
    fn follow_address(
        &mut self,
        peer: Handle,
        path: usize,
        found: Found,
        now: Instant,
    ) -> Result<(), Missing> {
        let before = self.peers[peer].paths[path].source;
        let source = self.find_source(peer, path)?;
        if before.is_some_and(|before| before != source) {
            self.mutate(peer, now, |peer| peer.set_link(path, Link::Down, now));
            self.restore(peer, path, found)?;
        }
        Ok(())
    }

    /// The address that the path sends from, which needs a route.
    fn find_source(&mut self, peer: Handle, path: usize) -> Result<std::net::IpAddr, Missing> {
        let peer = &mut self.peers[peer];
        let planned = &mut peer.paths[path];
        let shared = &self.outside.sockets[planned.socket];
        let Some(remote) = planned.remote else { return Ok(shared.local.ip()) };
        let source = source_address(shared.local, remote, shared.device.as_deref(), &*self.maker.tie)
            .ok_or_else(|| Missing::Route(planned.ends.remote, planned.ends.device.clone()))?;
        if planned.source.replace(source).is_some_and(|before| before != source) {
            let name = &peer.config.paths[path].name;
            tracing::info!("path {name} of {} has the address {source} now", peer.config.name);
        }
        Ok(source)
    }

    /// Makes a path usable again whose link was down: there must be a route, and a socket. An address or a
    /// device that went and came back may be another one to the kernel, so the socket is bound anew, unless
    /// another path uses it meanwhile.
    fn restore(&mut self, peer: Handle, path: usize, found: Found) -> Result<(), Missing> {
        let index = {
            let path = &mut self.peers[peer].paths[path];
            path.remote = path.remote.map(|remote| scoped(path.ends.remote, remote.port(), found.index));
            path.socket
        };
        let in_use = self.peers.iter().any(|peer| {
            (0..peer.paths.len()).any(|path| {
                peer.paths[path].socket == index && peer.paths[path].is_there() && !peer.link_is_down(path)
            })
        });
        let shared = &mut self.outside.sockets[index];
        let same_device = shared.device.is_none() || shared.interface == found.index;
        shared.local = scoped(shared.local.ip(), shared.local.port(), found.index);
        let source = self.find_source(peer, path)?;
        let shared = &mut self.outside.sockets[index];
        let still_ours = shared.bound.is_some_and(|bound| {
            self.interfaces
                .iter()
                .any(|interface| interface.index == found.index && interface.addresses.contains(&bound.ip()))
        });
        if in_use && same_device && still_ours && shared.is_open() {
            return Ok(());
        }
        // The old one goes first, as it holds the port; closing it takes it out of epoll.
        shared.close();
        let local = scoped(source, shared.local.port(), found.index);
        let refused = |error: std::io::Error| Missing::Socket(local, error.to_string());
        let socket = Socket::bind(local, shared.device.as_deref(), &self.maker).map_err(refused)?;
        self.listen(&socket, FIRST_SOCKET + index as u64).map_err(refused)?;
        let shared = &mut self.outside.sockets[index];
        // Port 0 is one of the kernel's choice.
        let bound = if local.port() == 0 { socket.local_address().map_err(refused)? } else { local };
        shared.open(socket, bound);
        shared.interface = found.index;
        Ok(())
    }
}
