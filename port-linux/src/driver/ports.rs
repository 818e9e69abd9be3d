//! A path on which nothing comes back, although its link works, tries other ports of this host.
//!
//! A router that translates addresses keeps doing so as long as datagrams of a flow come, and probes never end. A translation that
//! leads nowhere, as after a router went over to its other line, thus lives for ever. Datagrams from another port are another
//! flow, which is translated anew.
//!
//! Whether the peer would follow to another port is not known here. So the port that the path has stays open, and all that
//! leaves on the path leaves from both. The path is at the other port from when the peer has answered there. In all other cases,
//! a peer that was switched off for a while among them, it stays where it is.

use std::time::Duration;

use mpt_proto::{Handle, Instant, PathState};

use super::outside::SharedSocket;
use super::path::{PeerPath, Stay};
use super::senders::{Sender, Senders};
use super::{Driver, FIRST_SOCKET, Peer};
use crate::socket::Socket;

/// How long nothing comes back on a path until another port is tried: several times what it takes to notice a failure (3 s with
/// the preset "internet"), so that short ones make no new flows.
const FIRST_TRIAL: Duration = Duration::from_secs(20);
/// Between two ports that are tried. Each leaves an entry in routers for two minutes or more.
const NEXT_TRIAL: Duration = Duration::from_secs(60);

/// What a path knows of other ports of this host.
#[derive(Debug, Clone, Copy, Default)]
pub struct OtherPort {
    /// When the next one is tried; `None`: the path is not silent.
    due: Option<Instant>,
    /// The index of the socket for it, which is open while one is tried.
    socket: Option<usize>,
    /// Whether one is tried.
    is_tried: bool,
    /// Whether the path's latest datagram came there.
    is_heard: bool,
}

impl OtherPort {
    /// When there is something to do.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// The index of the socket that datagrams leave from as well.
    pub(super) fn tried(&self) -> Option<usize> {
        self.socket.filter(|_| self.is_tried)
    }

    /// A datagram of the path came to the socket with this index.
    pub(super) fn note_heard(&mut self, socket: usize) {
        self.is_heard = self.is_tried && self.socket == Some(socket);
    }
}

/// What is to be done about a path's other port.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Wait,
    Try,
    /// The peer answers at the other port, and nowhere else.
    Move,
    /// The path does not need another port.
    Stop,
}

impl OtherPort {
    fn handle_state(&mut self, state: PathState, now: Instant) -> Step {
        match self.due {
            _ if !state.is_silent() => {
                let is_moved = state == PathState::Up && self.is_tried && self.is_heard;
                let is_over = self.due.take().is_some() || self.is_tried;
                match (is_moved, is_over) {
                    (true, _) => Step::Move,
                    (false, true) => Step::Stop,
                    (false, false) => Step::Wait,
                }
            }
            None => {
                self.due = Some(now + FIRST_TRIAL);
                Step::Wait
            }
            Some(due) if due <= now => {
                self.due = Some(now + NEXT_TRIAL);
                Step::Try
            }
            Some(_) => Step::Wait,
        }
    }
}

impl PeerPath {
    /// The indices of the sockets that its datagrams leave from: its own, and one whose port is tried.
    pub(super) fn sockets(&self) -> [Option<usize>; 2] {
        if self.stay == Stay::Gone {
            return [None, None];
        }
        [Some(self.socket), self.other_port.and_then(|other| other.tried())]
    }

    /// Whether datagrams to the socket with this index are its own.
    pub(super) fn is_on(&self, socket: usize) -> bool {
        self.sockets().contains(&Some(socket))
    }
}

impl Peer<'_> {
    /// A datagram of a path came to the socket with this index.
    pub(super) fn note_heard(&mut self, path: usize, socket: usize) {
        if let Some(other_port) = self.paths.get_mut(path).and_then(|path| path.other_port.as_mut()) {
            other_port.note_heard(socket);
        }
    }
}

impl Driver<'_> {
    /// Looks at those paths of a connection that may go on from another port.
    pub(super) fn follow_ports(&mut self, peer: Handle, now: Instant) {
        for path in 0..self.peers.get(peer).map_or(0, |peer| peer.paths.len()) {
            let Peer { connection, paths, .. } = &mut self.peers[peer];
            let PeerPath { id, other_port: Some(other_port), .. } = &mut paths[path] else { continue };
            let Ok(state) = connection.path_state(*id) else { continue };
            match other_port.handle_state(state, now) {
                Step::Wait => {}
                Step::Try => self.try_port(peer, path, now),
                Step::Move => self.move_port(peer, path),
                Step::Stop => self.stop_trial(peer, path),
            }
        }
    }

    /// Lets what leaves on a path leave from another port, too, one that the kernel chooses.
    fn try_port(&mut self, peer: Handle, path: usize, now: Instant) {
        self.stop_trial(peer, path);
        let Peer { config, connection, paths, path_went_down, .. } = &mut self.peers[peer];
        // What of this host is in the way may have changed since the path went down.
        *path_went_down = true;
        let planned = &mut paths[path];
        let PeerPath { remote: Some(remote), other_port: Some(other_port), .. } = planned else { return };
        let Some(home) = self.outside.sockets.get(planned.socket) else { return };
        let Some(mut local) = home.bound.filter(|_| home.is_open()) else { return };
        local.set_port(0);
        let mut configured = home.local;
        configured.set_port(0);
        let (device, interface) = (home.device.clone(), home.interface);
        let bound = Socket::bind(local, device.as_deref(), &self.maker)
            .and_then(|socket| socket.local_address().map(|bound| (socket, bound)));
        let (socket, bound) = match bound {
            Ok(made) => made,
            Err(error) => return tracing::debug!("another port for a silent path: {error}"),
        };
        let sockets = &mut self.outside.sockets;
        let index = *other_port.socket.get_or_insert_with(|| {
            sockets.push(SharedSocket::new(configured, device.clone(), interface));
            sockets.len() - 1
        });
        let sender = Sender {
            address: remote.ip(),
            port: config.check_source_port.then_some(remote.port()),
            peer,
            path,
        };
        let shared = &mut sockets[index];
        (shared.device, shared.interface, shared.senders) = (device, interface, Senders::default());
        shared.senders.add(sender);
        shared.open(socket, bound);
        (other_port.is_tried, other_port.is_heard) = (true, false);
        let (id, name) = (planned.id, &config.paths[path].name);
        tracing::debug!("path {name} of {} is silent: port {} is tried, too", config.name, bound.port());
        // The path is there: its state was.
        let _ = connection.probe(id, now);
        if let Some(socket) = self.outside.sockets[index].descriptor()
            && let Err(error) = self.listen(socket, FIRST_SOCKET + index as u64)
        {
            tracing::debug!("another port for a silent path: {error}");
            return self.stop_trial(peer, path);
        }
        self.mutate(peer, now, |_| ());
    }

    /// The path is at the port that was tried from now on.
    pub(super) fn move_port(&mut self, peer: Handle, path: usize) {
        let Peer { paths, paths_changed, .. } = &mut self.peers[peer];
        let planned = &mut paths[path];
        let Some(other_port) = &mut planned.other_port else { return };
        let Some(new) = other_port.socket.take() else { return };
        let old = std::mem::replace(&mut planned.socket, new);
        (other_port.is_tried, *paths_changed) = (false, true);
        let is_shared = self.peers.iter().any(|peer| peer.uses_socket(old));
        let sockets = &mut self.outside.sockets;
        let port = |shared: &SharedSocket| shared.bound.map_or(0, |bound| bound.port());
        let (before, after) = (port(&sockets[old]), port(&sockets[new]));
        let config = &self.peers[peer].config;
        tracing::info!(
            "path {} of {} goes on from port {after}: nothing came back to port {before}",
            config.paths[path].name,
            config.name
        );
        if is_shared {
            sockets[old].senders.remove_path(peer, path);
            return;
        }
        // After a change of the link it is bound to the configured port again.
        let configured = sockets[old].local;
        sockets[old].local = std::mem::replace(&mut sockets[new].local, configured);
        sockets[old].close();
        if let Some(other_port) = &mut self.peers[peer].paths[path].other_port {
            other_port.socket = Some(old);
        }
    }

    /// No other port is tried any more.
    pub(super) fn stop_trial(&mut self, peer: Handle, path: usize) {
        let Some(other_port) = &mut self.peers[peer].paths[path].other_port else { return };
        other_port.is_tried = false;
        if let Some(shared) = other_port.socket.and_then(|index| self.outside.sockets.get_mut(index)) {
            // Closing it takes it out of epoll, too.
            shared.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use mpt_proto::DownReason;

    use super::*;

    const SILENT: PathState = PathState::Down(DownReason::Silent);

    fn at(port: &mut OtherPort, seconds: u64, state: PathState) -> Step {
        port.handle_state(state, Instant::ZERO + Duration::from_secs(seconds))
    }

    fn tried() -> OtherPort {
        let mut port = OtherPort::default();
        assert_eq!(at(&mut port, 100, SILENT), Step::Wait);
        assert_eq!(at(&mut port, 119, SILENT), Step::Wait);
        assert_eq!(at(&mut port, 120, SILENT), Step::Try);
        OtherPort { is_tried: true, socket: Some(7), ..port }
    }

    #[test]
    fn another_port_is_tried_after_twenty_seconds_and_then_each_minute() {
        let mut port = tried();
        assert_eq!(at(&mut port, 179, SILENT), Step::Wait);
        assert_eq!(at(&mut port, 180, PathState::Down(DownReason::Deaf)), Step::Try);
    }

    #[test]
    fn the_path_moves_only_if_it_is_up_and_was_heard_there_last() {
        for (heard, state, step) in [
            (7, PathState::Up, Step::Move),
            (3, PathState::Up, Step::Stop),
            (7, PathState::Down(DownReason::Link), Step::Stop),
        ] {
            let mut port = tried();
            port.note_heard(7);
            port.note_heard(heard);
            assert_eq!(at(&mut port, 121, state), step);
        }
    }

    #[test]
    fn a_path_without_a_link_or_switched_off_does_nothing_and_begins_to_count_anew() {
        let mut port = OtherPort::default();
        assert_eq!(at(&mut port, 100, SILENT), Step::Wait);
        assert_eq!(at(&mut port, 110, PathState::Down(DownReason::Link)), Step::Stop);
        assert_eq!(at(&mut port, 111, PathState::Down(DownReason::Disabled)), Step::Wait);
        assert_eq!(at(&mut port, 120, SILENT), Step::Wait);
        assert_eq!(at(&mut port, 139, SILENT), Step::Wait);
        assert_eq!(at(&mut port, 140, SILENT), Step::Try);
    }
}
