//! Where peers that come by themselves were last, in a file: after a new start they are found again at once, although they may have
//! nothing to say for a while. That they are still there, and are who they were, is for the handshake to show.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mpt_proto::{DownReason, Handle, Instant, Link, PathState};
use serde::{Deserialize, Serialize};

use super::Driver;
use super::senders::Sender;
use crate::state_file::StateFile;

/// Between a change and the file: peers often move several paths at once.
const DELAY: Duration = Duration::from_millis(500);

/// Where one path of a peer was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// The peer's name.
    peer: String,
    /// The position of the path.
    path: usize,
    /// Our end of the socket, as configured.
    local: IpAddr,
    /// The address of ours that the peer sends to, where the socket has several.
    reply_from: Option<IpAddr>,
    /// The peer's end.
    remote: SocketAddr,
}

/// The file, and when it is to be written.
pub struct Remembered {
    file: StateFile,
    due: Option<Instant>,
}

impl Remembered {
    /// In this file.
    pub const fn new(file: StateFile) -> Self {
        Self { file, due: None }
    }

    /// A path was found, or forgotten.
    pub(super) fn note(&mut self, now: Instant) {
        self.due.get_or_insert(now + DELAY);
    }

    /// When the file is to be written.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

impl Driver<'_> {
    /// Where peers are has changed.
    pub(super) fn note_places(&mut self, now: Instant) {
        if let Some(remembered) = &mut self.remembered {
            remembered.note(now);
        }
    }

    /// Writes the file if that is due.
    pub(super) fn remember(&mut self, now: Instant) {
        let Some(remembered) = self.remembered.as_mut().filter(|it| it.due.is_some_and(|due| due <= now))
        else {
            return;
        };
        remembered.due = None;
        let mut places = Vec::new();
        for peer in self.peers.iter().filter(|peer| peer.config.is_learned) {
            for (index, path) in peer.paths.iter().enumerate() {
                let Some((remote, shared)) = path.remote.zip(self.outside.sockets.get(path.socket)) else {
                    continue;
                };
                places.push(Place {
                    peer: peer.config.name.clone(),
                    path: index,
                    local: shared.local.ip(),
                    reply_from: path.reply_from,
                    remote,
                });
            }
        }
        remembered.file.write(&places);
    }

    /// Looks for peers where they were last.
    pub fn recall(&mut self) {
        let Some(places) = self.remembered.as_ref().map(|it| it.file.read::<Vec<Place>>()) else { return };
        let now = self.clock.now();
        let names: HashMap<String, Handle> = self
            .peers
            .iter()
            .filter(|peer| peer.config.is_learned)
            .map(|peer| (peer.config.name.clone(), peer.handle))
            .collect();
        for place in places {
            let Some(&handle) = names.get(&place.peer) else { continue };
            let listens = |shared: &super::SharedSocket| {
                shared.listens && shared.is_open() && shared.local.ip() == place.local
            };
            let Some(socket) = self.outside.sockets.iter().position(listens) else { continue };
            let Some(peer) = self.peers.get_mut(handle) else { continue };
            if place.path >= peer.paths.len() || place.remote.is_ipv4() != place.local.is_ipv4() {
                continue;
            }
            self.resources.wake(peer);
            let path = &mut peer.paths[place.path];
            path.socket = socket;
            path.note_moved(place.remote, place.reply_from, PathState::Down(DownReason::Unheard), now);
            let sender = Sender {
                address: place.remote.ip(),
                port: Some(place.remote.port()),
                peer: handle,
                path: place.path,
            };
            self.outside.sockets[socket].senders.replace(sender);
            peer.set_missing(place.path, None);
            peer.set_link(place.path, Link::Up, now);
            peer.paths_changed = true;
            let _ = peer.connection.probe(peer.paths[place.path].id, now);
        }
    }
}
