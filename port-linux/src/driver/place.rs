//! A path that is followed by its name, wherever it is.

use mpt_proto::{Handle, PathId};

use super::{Peer, PeerPath, Peers};

/// A path's name, and where it was last.
pub(super) struct Place {
    /// Its connection's name.
    pub(super) connection: String,
    /// Its own.
    pub(super) path: String,
    last: Option<(Handle, usize, PathId)>,
}

impl Place {
    /// Of a path that was not looked for yet.
    pub(super) const fn new(connection: String, path: String) -> Self {
        Self { connection, path, last: None }
    }

    /// Whether it is of this path.
    pub(super) fn is_of(&self, connection: &str, path: &str) -> bool {
        self.connection == connection && self.path == path
    }

    /// Where it was last: the connection, and the path's place there.
    pub(super) fn last(&self) -> Option<(Handle, usize)> {
        self.last.map(|(peer, path, _)| (peer, path))
    }

    /// Where it was is not where it is.
    pub(super) const fn forget(&mut self) {
        self.last = None;
    }

    /// Where the path is, and whether it came anew; `None`: it is not there.
    pub(super) fn find(&mut self, peers: &Peers<'_>) -> Option<(Handle, usize, bool)> {
        let at = |peer: &Peer<'_>, path: usize| {
            let is_it = peer.config.name == self.connection
                && peer.config.paths.get(path).is_some_and(|path| path.name == self.path)
                && peer.paths.get(path).is_some_and(PeerPath::is_there);
            is_it.then(|| (peer.handle, path, peer.paths[path].id))
        };
        let known = self.last.and_then(|(peer, path, _)| at(peers.get(peer)?, path));
        let found = known
            .or_else(|| peers.iter().find_map(|peer| (0..peer.paths.len()).find_map(|path| at(peer, path))));
        let is_new = self.last != found;
        self.last = found;
        found.map(|(peer, path, _)| (peer, path, is_new))
    }
}
