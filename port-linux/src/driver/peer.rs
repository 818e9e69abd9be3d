//! A connection as the loop sees it: the core's state machine, its paths' sockets, and the port's counters.

use std::net::{IpAddr, SocketAddr};

use mpt_proto::{
    CONTROL_MAX, Connection, Departure, DownReason, Ecn, Event, Instant, Link, Liveness, PathState, Received,
};

use super::SharedSocket;
use crate::config;
use crate::link::{Ends, Missing};
use crate::report::NotSent;
use crate::routes::Routes;
use crate::socket::SendError;
use crate::tun::Tun;

/// One peer.
pub struct Peer<'s> {
    /// From the configuration.
    pub config: config::Connection,
    /// The state machine.
    pub connection: Connection<'s>,
    /// Its paths; the index is that of [`mpt_proto::PathId::index`], as none is ever removed.
    pub paths: Vec<PeerPath>,
    /// Dropped by the port.
    pub drops: PeerDrops,
    /// Paths, as a bit mask, whose link failed a send since the last look.
    failed_links: u16,
    /// Paths whose link is known to be down.
    down_links: u16,
    /// Paths that people were last told to be up.
    told_up: u16,
}

/// One path.
#[derive(Debug)]
pub struct PeerPath {
    /// The core's name for it.
    pub id: mpt_proto::PathId,
    /// What it needs of the machine.
    pub ends: Ends,
    /// Index of its socket.
    pub socket: usize,
    /// The peer's end.
    pub remote: SocketAddr,
    /// Largest UDP payload.
    pub max_datagram: u16,
    /// Largest UDP payload that there is room for.
    pub planned_datagram: u16,
    /// What the kernel did not take.
    pub not_sent: NotSent,
    /// The address that it was last seen to send from.
    pub source: Option<IpAddr>,
    /// What it waits for, as people were last told.
    pub missing: Option<Missing>,
}

impl PeerPath {
    /// A path that nothing was sent on, with datagrams of at most `max_datagram` bytes.
    pub fn new(
        id: mpt_proto::PathId,
        ends: Ends,
        socket: usize,
        remote: SocketAddr,
        max_datagram: u16,
    ) -> Self {
        Self {
            id,
            ends,
            socket,
            remote,
            max_datagram,
            planned_datagram: max_datagram,
            not_sent: NotSent::default(),
            source: None,
            missing: None,
        }
    }
}

/// Datagrams and inner packets that the port dropped.
#[derive(Debug, Clone, Copy, Default)]
pub struct PeerDrops {
    /// Datagrams on this connection's sockets that came from elsewhere. Connections that share a socket all
    /// count them.
    pub wrong_source: u64,
    /// Inner packets whose source is neither the peer nor behind it.
    pub wrong_inner_source: u64,
}

/// Where inner packets go that arrived.
pub struct Delivery<'a> {
    /// The connection's index.
    pub index: usize,
    /// Which sources it may bring.
    pub routes: &'a Routes,
    /// The device.
    pub tun: &'a Tun,
    /// Packets the device refused.
    pub failures: &'a mut u64,
}

impl Delivery<'_> {
    fn deliver(&mut self, packet: &[u8], drops: &mut PeerDrops) {
        if !self.routes.accepts(self.index, packet) {
            drops.wrong_inner_source += 1;
        } else if let Err(error) = self.tun.write(packet) {
            *self.failures += 1;
            tracing::trace!("writing to the tunnel device: {error}");
        }
    }
}

impl<'s> Peer<'s> {
    /// A peer whose paths have been added to `connection` in the order of `paths`.
    pub fn new(config: config::Connection, connection: Connection<'s>, paths: Vec<PeerPath>) -> Self {
        Self {
            config,
            connection,
            paths,
            drops: PeerDrops::default(),
            failed_links: 0,
            down_links: 0,
            told_up: 0,
        }
    }

    /// Whether one of its paths uses this socket.
    pub fn uses_socket(&self, socket: usize) -> bool {
        self.paths.iter().any(|path| path.socket == socket)
    }

    /// Takes a datagram in, and drains.
    pub fn receive(
        &mut self,
        path: usize,
        datagram: &mut [u8],
        ecn: Ecn,
        now: Instant,
        mut delivery: Delivery<'_>,
        sockets: &[SharedSocket],
    ) {
        let Some(path) = self.paths.get(path) else { return };
        if let Ok(Received::Packet(packet)) = self.connection.decapsulate(path.id, datagram, ecn, now) {
            delivery.deliver(packet, &mut self.drops);
        }
        self.drain(now, delivery, sockets);
    }

    /// Sends the inner packet after the headroom of `buffer`, and drains.
    pub fn send(
        &mut self,
        buffer: &mut [u8],
        now: Instant,
        delivery: Delivery<'_>,
        sockets: &[SharedSocket],
    ) {
        // A refusal is counted by the core.
        if let Ok(mut departures) = self.connection.encapsulate(buffer, now) {
            while let Some(departure) = departures.next() {
                transmit(&mut self.paths, &mut self.failed_links, sockets, &departure);
            }
        }
        self.drain(now, delivery, sockets);
    }

    /// What must follow every mutation, in the order that the core asks for. A path whose link failed is told
    /// to the core, which is a mutation again; each path fails at most once.
    pub fn drain(&mut self, now: Instant, mut delivery: Delivery<'_>, sockets: &[SharedSocket]) {
        let mut control = [0; CONTROL_MAX];
        loop {
            while let Some(packet) = self.connection.poll_packet() {
                delivery.deliver(packet, &mut self.drops);
            }
            while let Some(departure) = self.connection.poll_transmit(&mut control) {
                transmit(&mut self.paths, &mut self.failed_links, sockets, &departure);
            }
            while let Some(event) = self.connection.poll_event() {
                self.tell(event);
            }
            let news = self.failed_links & !self.down_links;
            self.failed_links = 0;
            if news == 0 {
                return;
            }
            let index = news.trailing_zeros() as usize;
            self.failed_links = news & (news - 1);
            self.set_link(index, Link::Down, now);
        }
    }

    /// Tells the core about a path's link; a drain must follow. Returns whether that was news.
    pub fn set_link(&mut self, index: usize, link: Link, now: Instant) -> bool {
        let (Some(path), before) = (self.paths.get(index), self.down_links) else { return false };
        match link {
            Link::Down => self.down_links |= 1 << index,
            Link::Up => self.down_links &= !(1 << index),
        }
        if before == self.down_links {
            return false;
        }
        self.connection.handle_link(path.id, link, now).is_ok()
    }

    /// Whether the path's link is known to be down.
    pub fn link_is_down(&self, index: usize) -> bool {
        self.down_links & (1 << index) != 0
    }

    /// Whether a path's link is down of which nobody will tell that it is back: a send failed, or the route
    /// is missing. Interfaces and addresses are told of.
    pub fn some_link_must_be_looked_at(&self) -> bool {
        let untold =
            |path: &PeerPath| matches!(path.missing, None | Some(Missing::Route(..) | Missing::Socket(..)));
        let down = |index: &usize| self.link_is_down(*index);
        self.down_links != 0 && (0..self.paths.len()).filter(down).any(|index| untold(&self.paths[index]))
    }

    /// How many paths are up.
    pub fn paths_up(&self) -> u32 {
        self.told_up.count_ones()
    }

    /// Notes what a path waits for, and tells people when that is news; for a path that was up, `tell` does.
    pub fn set_missing(&mut self, index: usize, missing: Option<Missing>) {
        let Some(path) = self.paths.get_mut(index).filter(|path| path.missing != missing) else { return };
        if let (Some(missing), Some(config)) = (&missing, self.config.paths.get(index))
            && self.told_up & (1 << index) == 0
        {
            tracing::info!("path {} of {} waits: {missing}", config.name, self.config.name);
        }
        path.missing = missing;
    }

    /// Tells people. That a path is down for another reason than before (silent, then without a link) is for
    /// who looks closely.
    fn tell(&mut self, event: Event) {
        let peer = &self.config.name;
        match event {
            Event::Path { path, state } => {
                let index = path.index();
                let bit = 1 << index;
                let was_up = self.told_up & bit != 0;
                let Some(path) = self.config.paths.get(index) else { return };
                match state {
                    PathState::Up if was_up => {}
                    PathState::Up => {
                        self.told_up |= bit;
                        tracing::info!("path {} of {peer} is up", path.name);
                    }
                    PathState::Down(reason) => {
                        self.told_up &= !bit;
                        let missing = self.paths.get(index).and_then(|path| path.missing.as_ref());
                        let why = match (reason, missing) {
                            (DownReason::Link, Some(missing)) => missing.to_string(),
                            _ => explain(reason, path.liveness),
                        };
                        if was_up {
                            tracing::info!("path {} of {peer} is down: {why}", path.name);
                        } else {
                            tracing::debug!("path {} of {peer} is still down: {why}", path.name);
                        }
                    }
                }
            }
            Event::PeerStarted => tracing::info!("{peer} has started"),
            _ => {}
        }
    }
}

fn explain(reason: DownReason, liveness: Liveness) -> String {
    match (reason, liveness) {
        (DownReason::Disabled, _) => "disabled".into(),
        (DownReason::Link, _) => "its link is down".into(),
        (DownReason::Unheard, _) => "the peer has not been heard on it yet".into(),
        (DownReason::Silent, Liveness::Probe(probing)) => {
            format!("silent for {} ms", probing.dead.as_millis())
        }
        (DownReason::Silent, Liveness::Off) => "silent".into(),
        (DownReason::Deaf, _) => "the peer does not hear us on it".into(),
        (other, _) => format!("{other:?}"),
    }
}

/// Hands a datagram to the kernel; what it does not take is counted and lost, as on any link.
fn transmit(
    paths: &mut [PeerPath],
    failed_links: &mut u16,
    sockets: &[SharedSocket],
    departure: &Departure<'_>,
) {
    let index = departure.path.index();
    let Some(path) = paths.get_mut(index) else { return };
    let Some(SharedSocket { socket: Some(socket), .. }) = sockets.get(path.socket) else {
        path.not_sent.link += 1;
        *failed_links |= 1 << index;
        return;
    };
    match socket.send(path.remote, departure.datagram, departure.ecn) {
        Ok(()) => {}
        Err(SendError::Full) => path.not_sent.full += 1,
        Err(SendError::TooBig) => path.not_sent.too_big += 1,
        Err(SendError::Refused) => path.not_sent.refused += 1,
        Err(SendError::Link(error)) => {
            path.not_sent.link += 1;
            *failed_links |= 1 << index;
            tracing::trace!("sending to {}: {error}", path.remote);
        }
    }
}
