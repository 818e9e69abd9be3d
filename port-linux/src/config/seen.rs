//! What stands in a configuration once, and where.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use super::endpoint::Endpoint;
use super::gateway::Gateways;
use super::roaming::UnnamedPeers;
use super::security::{FarPeers, SeenKeys};
use super::standby::Firsts;
use super::{Config, Connection, Network, Path};

/// What the connections of a configuration may not share, and where each stands.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) connections: HashMap<String, String>,
    pub(super) peers: HashMap<IpAddr, String>,
    pub(super) networks: HashMap<Network, String>,
    /// Where a path stands, by what its datagrams have in common.
    pub(super) sockets: HashMap<Seat, String>,
    pub(super) unnamed: UnnamedPeers,
    pub(super) gateways: Gateways,
    pub(super) firsts: Firsts,
    pub(super) keys: SeenKeys,
    pub(super) far: FarPeers,
    /// The line of `multicast = true`.
    pub(super) multicast: Option<usize>,
}

impl Seen {
    /// What a configuration that was read has already, for a path that comes to it.
    pub(super) fn of(config: &Config) -> Self {
        let mut seen = Self::default();
        for connection in &config.connections {
            seen.peers.extend(connection.peer.iter().map(|peer| (*peer, String::new())));
            // Those of a peer that comes by itself have the socket of `listen`.
            for path in connection.paths.iter().filter(|_| !connection.is_learned) {
                seen.add(connection, path, config.security.is_some());
            }
        }
        seen
    }

    /// Notes a path of a connection. Returns whether that goes with what was noted before.
    pub(super) fn add(&mut self, connection: &Connection, path: &Path, is_sealed: bool) -> bool {
        let place = format!("path {}/{}", connection.name, path.name);
        let router = path.device.as_deref().zip(path.gateway);
        let same_router =
            router.is_none_or(|(device, gateway)| self.gateways.note(device, gateway, &place).0 == gateway);
        let is_learnt_alone = !path.is_open() || is_sealed || {
            let datagrams = (path.local, path.port, path.device.clone(), connection.key);
            let first = (connection.name.clone(), place.clone());
            self.unnamed.entry(datagrams).or_insert(first).0 == connection.name
        };
        let other = earlier(&mut self.sockets, Seat::of(path), place);
        same_router && is_learnt_alone && (path.is_open() || other.is_none())
    }
}

/// What datagrams of a path have in common: no two paths may have the same.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Seat {
    pub(super) local: IpAddr,
    pub(super) port: u16,
    pub(super) device: Option<String>,
    pub(super) remote: Endpoint,
    pub(super) remote_port: u16,
}

impl Seat {
    /// That of a path.
    pub(super) fn of(path: &Path) -> Self {
        let remote = path.remote_name.clone().map_or(Endpoint::Address(path.remote), Endpoint::Name);
        let Path { local, port, remote_port, .. } = *path;
        Self { local, port, device: path.device.clone(), remote, remote_port }
    }
}

/// Notes that `key` stands at a place; tells the place where it stood before.
pub(super) fn earlier<K: Eq + Hash, P: Clone>(seen: &mut HashMap<K, P>, key: K, place: P) -> Option<P> {
    let mut before = None;
    seen.entry(key).and_modify(|first| before = Some(first.clone())).or_insert(place);
    before
}
