//! Paths that come and go while their connection goes on.
//!
//! A path that goes is closed first for what the peer sends: it is told, over the others, that nothing is heard there any more. What is
//! under way on the path is still taken in, and then its place is free.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use anyhow::Result;
use mpt_proto::{Handle, Instant, Link};

use super::path::{PeerPath, Stay};
use super::plan::PlannedPath;
use super::{Driver, Peer};
use crate::config::{self, NewPath};
use crate::control::{Answer, Reloaded};
use crate::events::What;
use crate::report::VERSION;

/// How long what is under way on a path that was removed is taken in: longer than what waits in the queues of slow links takes.
const LEAVING: Duration = Duration::from_secs(2);

/// How long an interface must lead nowhere until its path of `paths = "auto"` goes: a DHCP client that starts anew, or a modem that dials in again,
/// takes less.
const GONE: Duration = Duration::from_secs(30);

/// Paths of `paths = "auto"` whose interface leads nowhere, by connection and name, since when.
pub(super) type Uncarried = BTreeMap<(String, String), Instant>;

/// What another configuration of a connection changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    /// Nothing.
    None,
    /// Paths, and nothing else.
    Paths,
    /// What only a connection that begins anew can have.
    Other,
}

impl<'s> Peer<'s> {
    /// The paths that are there, with their places.
    fn live_paths(&self) -> impl Iterator<Item = (usize, &config::Path)> {
        let is_there =
            |(index, _): &(usize, &config::Path)| self.paths.get(*index).is_some_and(PeerPath::is_there);
        self.config.paths.iter().enumerate().filter(is_there)
    }

    /// Whether it has this path.
    pub(super) fn has_path(&self, path: &config::Path) -> bool {
        self.live_paths().any(|(_, live)| live == path)
    }

    /// What `wanted` would change.
    pub(super) fn difference(&self, wanted: &config::Connection) -> Difference {
        // So it is with nearly all of many.
        if self.paths.iter().all(PeerPath::is_there) && self.config == *wanted {
            return Difference::None;
        }
        let without_paths = |config: &config::Connection| config::Connection {
            paths: Vec::new(),
            auto: None,
            limit: None,
            record: None,
            ..config.clone()
        };
        if without_paths(&self.config) != without_paths(wanted) {
            return Difference::Other;
        }
        let live: Vec<&config::Path> = self.live_paths().map(|(_, path)| path).collect();
        let goes = live.iter().filter(|path| !wanted.paths.contains(path)).copied();
        let comes = wanted.paths.iter().filter(|path| !live.contains(path));
        let mut changed = goes.chain(comes).peekable();
        if changed.peek().is_none() && self.config.auto == wanted.auto {
            return Difference::None;
        }
        // Pins and classes are set once for all, by the places of paths; places of peers that come by themselves are theirs.
        if self.config.is_learned || self.config.names_paths() || changed.any(config::Path::has_pins) {
            return Difference::Other;
        }
        Difference::Paths
    }

    /// Lets a path go; [`settle`](Self::settle) must follow.
    fn let_go(&mut self, path: usize, now: Instant) {
        self.set_link(path, Link::Down, now);
        let Some(planned) = self.paths.get_mut(path) else { return };
        planned.stay = Stay::Leaves(now + LEAVING);
        (planned.roaming, planned.named) = (None, None);
        (self.paths_changed, self.sizes_changed) = (true, true);
        self.news.path(&self.config.paths[path].name, What::PathRemoved);
    }
}

impl<'s> Driver<'s> {
    /// Adds a path to the connection of this name, until mpt ends.
    pub(super) fn answer_added(&mut self, connection: &str, new: &NewPath) -> Answer {
        let added = self.with_reload_config(|config| config.with_path(connection, new));
        match added {
            Ok(()) => {
                Answer::Path { version: VERSION, path: format!("{connection}/{}", new.name), enabled: true }
            }
            Err(error) => Answer::error(error),
        }
    }

    /// Removes the path of this name.
    pub(super) fn answer_removed(&mut self, wanted: &str) -> Answer {
        let (peer, path) = match self.find_path(wanted) {
            Ok(found) => found,
            Err(error) => return Answer::error(error),
        };
        let config = &self.peers[peer].config;
        let (connection, path) = (config.name.clone(), config.paths[path].name.clone());
        match self.with_reload_config(|config| config.without_path(&connection, &path)) {
            Ok(()) => {
                // One that is added by this name later is another one.
                self.peers[peer].roles.remove(&path);
                Answer::Path { version: VERSION, path: format!("{connection}/{path}"), enabled: false }
            }
            Err(error) => Answer::error(error),
        }
    }

    /// Lets paths of `paths = "auto"` come and go with their interfaces.
    pub(super) fn follow_interfaces(&mut self, now: Instant) {
        let Some(reload) = self.reload.as_ref().filter(|reload| reload.config.wanted_ways().is_some()) else {
            // No connection has such paths any more.
            self.uncarried.clear();
            self.left_out.clear();
            return;
        };
        let uncarried = reload.config.uncarried(&self.interfaces);
        self.uncarried.retain(|path, _| uncarried.contains(path));
        for path in uncarried {
            self.uncarried.entry(path).or_insert(now);
        }
        let gone: Vec<(String, String)> = self
            .uncarried
            .iter()
            .filter(|(_, since)| now.since(**since) >= GONE)
            .map(|(path, _)| path.clone())
            .collect();
        let has = |name: &str, ipv4: bool| self.may_lead(name, ipv4);
        let (new, left_out) = reload.config.with_auto_paths(&self.interfaces, &gone, has);
        if self.left_out != left_out {
            for sentence in &left_out {
                tracing::warn!("{sentence}");
            }
            self.left_out = left_out;
        }
        for path in &gone {
            self.uncarried.remove(path);
        }
        if new != reload.config
            && let Err(error) = self.reconfigure(new)
        {
            tracing::warn!("paths of interfaces that came or went: {error:#}");
        }
    }

    /// When a path of an interface that leads nowhere goes.
    pub(super) fn next_gone(&self) -> Option<Instant> {
        self.uncarried.values().map(|since| *since + GONE).min()
    }

    /// Follows what `change` makes of the present configuration.
    pub(super) fn with_reload_config(
        &mut self,
        change: impl FnOnce(&config::Config) -> Result<config::Config, String>,
    ) -> Result<(), String> {
        let Some(reload) = &self.reload else {
            return Err("this tunnel is set up by the program that it is part of".to_owned());
        };
        let new = change(&reload.config)?;
        self.reconfigure(new).map(drop).map_err(|error| format!("{error:#}"))
    }

    /// Lets those paths of a connection come and go that make it the one that is wanted, as far as there is room.
    pub(super) fn change_paths(
        &mut self,
        handle: Handle,
        (wanted, planned, sockets): (&config::Connection, &[PlannedPath], &[usize]),
        reloaded: &mut Reloaded,
        now: Instant,
    ) {
        let peer = &self.peers[handle];
        let full = |name: &str| format!("{}/{name}", wanted.name);
        let goes: Vec<(usize, String)> = peer
            .live_paths()
            .filter(|(_, path)| !wanted.paths.contains(path))
            .map(|(place, path)| (place, path.name.clone()))
            .collect();
        let live: Vec<&config::Path> = peer.live_paths().map(|(_, path)| path).collect();
        let comes: Vec<(&config::Path, &PlannedPath)> =
            wanted.paths.iter().zip(planned).filter(|(path, _)| !live.contains(path)).collect();
        self.peers[handle].config.auto.clone_from(&wanted.auto);
        for (path, name) in goes {
            // One that is set up otherwise may have the same ends: datagrams are of the new one at once.
            let is_replaced = comes.iter().any(|(path, _)| path.name == name);
            self.stop_trial(handle, path);
            self.peers[handle].paths[path].other_port = None;
            self.mutate(handle, now, |peer| peer.let_go(path, now));
            if is_replaced {
                self.remove_path(handle, path, now);
            }
            reloaded.paths_removed.push(full(&name));
        }
        if self.peers[handle].live_paths().count() + comes.len() > self.free_places(handle) {
            self.finish_leaving(handle, now + LEAVING);
        }
        for (path, planned) in comes {
            let Some(&socket) = sockets.get(planned.socket) else { continue };
            let Self { resources, peers, outside, .. } = self;
            let Some(peer) = peers.get_mut(handle) else { continue };
            match resources.add(peer, path, planned, socket, outside) {
                Ok(place) => {
                    peer.news.path(&path.name, What::PathAdded);
                    if let Some(&role) = peer.roles.get(&path.name) {
                        // The path is there: it was added.
                        let _ = peer.set_role(place, role, now);
                    }
                    reloaded.paths_added.push(full(&path.name));
                }
                Err(error) => tracing::error!("path {} of {}: {error:#}", path.name, wanted.name),
            }
        }
    }

    /// Places of a connection that have no path that leaves.
    fn free_places(&self, peer: Handle) -> usize {
        let leaves = |path: &&PeerPath| matches!(path.stay, Stay::Leaves(_));
        mpt_proto::MAX_PATHS - self.peers[peer].paths.iter().filter(leaves).count()
    }

    /// Frees the places of paths whose time has come.
    pub(super) fn finish_leaving(&mut self, handle: Handle, now: Instant) {
        let is_over = |path: &PeerPath| matches!(path.stay, Stay::Leaves(until) if until <= now);
        let Some(peer) = self.peers.get(handle) else { return };
        let over: Vec<usize> = (0..peer.paths.len()).filter(|path| is_over(&peer.paths[*path])).collect();
        if over.is_empty() {
            return;
        }
        for path in over {
            self.remove_path(handle, path, self.clock.now());
        }
        self.close_unused_sockets();
    }

    /// Frees the place of a path.
    fn remove_path(&mut self, handle: Handle, path: usize, now: Instant) {
        let Some(peer) = self.peers.get_mut(handle) else { return };
        let Some(planned) = peer.paths.get_mut(path) else { return };
        planned.stay = Stay::Gone;
        planned.remote = None;
        let (id, socket) = (planned.id, planned.socket);
        // The path is there: it was added.
        let _ = peer.connection.remove_path(id, now);
        peer.clear_place(path);
        if let Some(shared) = self.outside.sockets.get_mut(socket) {
            shared.senders.remove_path(handle, path);
        }
        self.mutate(handle, now, |_| ());
    }

    /// Closes the sockets that no path uses.
    pub(super) fn close_unused_sockets(&mut self) {
        // Those that a path has gone on from are in no plan.
        let paths = self.peers.iter().flat_map(|peer| &peer.paths);
        let used: HashSet<usize> = paths.flat_map(PeerPath::sockets).flatten().collect();
        for (place, shared) in self.outside.sockets.iter_mut().enumerate() {
            if !used.contains(&place) && !shared.listens {
                shared.close();
            }
        }
    }
}
