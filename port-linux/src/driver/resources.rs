//! What connections are made with, and how: at the start, whenever the configuration is read again, and when peers that come by
//! themselves come and go.

use std::hash::{BuildHasher, Hasher};

use anyhow::Result;
use mpt_proto::{Connection, Handle, Link, Liveness, PathId, Roaming, Storage};
use mpt_seal::Sealer;

use super::plan::{ABSENT_MTU, Plan, PlannedPath, pins};
use super::senders::Sender;
use super::{Named, OtherPort, Outside, Peer, PeerPath, Peers, SystemSealer};
use crate::ciphers::NativeKey;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::entropy::{self, SystemEntropy};
use crate::failure::misconfigured;
use crate::link::unspecified;
use crate::memory::{Memories, MemorySize};
use crate::mtu::{least_mtu, max_datagram};
use crate::recorder::{Core, Recordings, Subject};

/// Bytes of the largest datagram.
fn widest(sizes: &[u16]) -> usize {
    sizes.iter().max().copied().unwrap_or(0).into()
}

/// What connections are made with.
pub struct Resources<'s> {
    /// The clock of all of them.
    pub clock: Clock,
    /// Their memory.
    pub memories: Memories<'s>,
    /// The tunnel device takes and gives large packets.
    pub joins: bool,
    /// Bytes that each datagram has more on the wire.
    pub sealing: u16,
    /// Records those connections that are to be; without it none is.
    pub recordings: Option<Recordings>,
}

impl<'s> Resources<'s> {
    /// Makes the connections of a plan.
    ///
    /// # Errors
    /// The layer that seals has no room, or two peers have one key.
    pub fn connect_all(
        &mut self,
        config: &Config,
        mut plan: Plan,
        outside: &mut Outside<'s>,
    ) -> Result<Peers<'s>> {
        let mut peers = Peers::default();
        let sockets = plan.place_sockets(&mut outside.sockets);
        for (config, planned) in config.connections.iter().zip(&plan.connections) {
            self.connect(config, planned, &sockets, outside, &mut peers)?;
        }
        Ok(peers)
    }

    /// Makes a connection, and tells its handle; its sockets are at these places.
    ///
    /// # Errors
    /// The layer that seals has no room, or another peer with this key.
    pub(super) fn connect(
        &mut self,
        config: &config::Connection,
        planned: &[PlannedPath],
        sockets: &[usize],
        outside: &mut Outside<'s>,
        peers: &mut Peers<'s>,
    ) -> Result<Handle> {
        let handle = peers.next_handle();
        outside.add_keys(handle, config)?;
        let sizes: Vec<u16> = planned.iter().map(|path| path.max_datagram).collect();
        // Paths that come by themselves have room for what Ethernet carries.
        let to_come = config.auto.as_ref().map(|_| max_datagram(ABSENT_MTU, unspecified(true)));
        let room = sizes.iter().copied().chain(to_come).max().unwrap_or(0);
        let memory = (!config.is_learned).then(|| self.memories.lend(config, room.into())).unzip();
        let made = self.state_machine(config, &sizes, (memory.0, memory.1.unwrap_or_default()));
        let (connection, ids) = made.inspect_err(|_| outside.remove(handle))?;
        let mut paths = Vec::new();
        for (index, ((planned, config), id)) in planned.iter().zip(&config.paths).zip(ids).enumerate() {
            let Some(&socket) = sockets.get(planned.socket) else { continue };
            add_sender(planned, socket, (handle, index), outside);
            paths.push(path(config, planned, id, socket, planned.max_datagram));
        }
        let mut peer = Peer::new(handle, config.clone(), (connection, memory.0), paths, self.sealing);
        peer.room = room;
        if config.is_learned {
            // Nothing leaves on a place for a path.
            let now = self.clock.now();
            (0..peer.paths.len()).for_each(|path| _ = peer.set_link(path, Link::Down, now));
        }
        peers.insert(peer);
        Ok(handle)
    }

    /// Adds a path to a connection that is there, whose memory was made for other paths: larger datagrams than theirs have no room.
    /// Returns its place.
    ///
    /// # Errors
    /// There is no room for another path.
    pub(super) fn add(
        &self,
        peer: &mut Peer<'s>,
        config: &config::Path,
        planned: &PlannedPath,
        socket: usize,
        outside: &mut Outside<'s>,
    ) -> Result<usize> {
        let size = planned.max_datagram.min(peer.room);
        let id = self.add_path(&mut peer.connection, config, size)?;
        let (index, made) = (id.index(), path(config, planned, id, socket, size));
        match (peer.paths.get_mut(index), peer.config.paths.get_mut(index)) {
            (Some(place), Some(place_config)) => (*place, *place_config) = (made, config.clone()),
            _ => {
                peer.paths.push(made);
                peer.config.paths.push(config.clone());
            }
        }
        peer.clear_place(index);
        add_sender(planned, socket, (peer.handle, index), outside);
        Ok(index)
    }

    /// What the state machine of a connection is set up with.
    fn settings(&self, config: &config::Connection) -> Result<mpt_proto::Config> {
        Ok(mpt_proto::Config {
            seed: seed(),
            flow_seed: seed(),
            key: config.key,
            checksum: config.checksum,
            sequence: config.sequence,
            policy: config.policy,
            pins: pins(config)?,
            reorder: config.reorder,
            resend: config.adaptive.resend,
            order_udp: config.adaptive.udp_in_order,
            classes: config.classes.clone(),
            limit: config.bytes_per_second(),
            around: 28 + self.sealing,
            slices: config.slices && config.sequence && self.joins,
            ..mpt_proto::Config::default()
        })
    }

    /// Records a connection from now on, its last so many bytes; or no longer.
    pub(super) fn record(&mut self, peer: &mut Peer<'s>, limit: Option<u64>) {
        peer.connection.stop_recording();
        // What was made once from this configuration can be made again.
        let settings = self.settings(&peer.config).ok();
        let now = self.clock.now();
        let wanted = limit.zip(peer.memory).zip(settings).zip(self.recordings.as_mut());
        if let Some((((limit, memory), settings), recordings)) = wanted {
            let (memory, core) = (memory.parts(), None);
            let connection = &peer.config.name;
            let subject = Subject { connection, limit, config: &settings, memory, now, core };
            peer.connection.record(recordings, subject);
        }
    }

    /// The state machine of a connection, with its paths, whose datagrams have these sizes on the wire.
    fn state_machine(
        &mut self,
        config: &config::Connection,
        sizes: &[u16],
        (memory, storage): (Option<MemorySize>, Storage<'s>),
    ) -> Result<(Core<'s>, Vec<PathId>)> {
        let settings = self.settings(config)?;
        let now = self.clock.now();
        let recorder = config.record.zip(memory).zip(self.recordings.as_mut());
        let recorder = recorder.and_then(|((limit, memory), recordings)| {
            let (memory, core) = (memory.parts(), None);
            let connection = &config.name;
            recordings.begin(&Subject { connection, limit, config: &settings, memory, now, core })
        });
        let connection = Connection::new(settings, storage, now);
        let mut connection = match recorder {
            Some(recorder) => Core::recorded(connection, recorder),
            None => Core::from(connection),
        };
        let paths = config.paths.iter().zip(sizes);
        let ids =
            paths.map(|(path, size)| self.add_path(&mut connection, path, *size)).collect::<Result<_>>()?;
        Ok((connection, ids))
    }

    /// A peer that comes by itself has come: from now on it has the memory that a connection takes.
    pub(super) fn wake(&mut self, peer: &mut Peer<'s>) {
        if peer.memory.is_none() {
            let sizes: Vec<u16> = peer.paths.iter().map(|path| path.planned_datagram).collect();
            let (size, storage) = self.memories.lend(&peer.config, widest(&sizes));
            self.begin_anew(peer, (Some(size), storage));
            (peer.memory, peer.woken) = (Some(size), self.clock.now());
        }
    }

    /// It went for long: its memory serves others.
    pub(super) fn rest(&mut self, peer: &mut Peer<'s>) {
        if let Some(size) = peer.memory.take() {
            let before = self.begin_anew(peer, (None, Storage::none()));
            before.into_iter().for_each(|before| self.memories.take_back(size, before.into_storage()));
        }
    }

    /// Gives a peer a new state machine that works in this memory. Returns the former one.
    fn begin_anew(
        &mut self,
        peer: &mut Peer<'s>,
        memory: (Option<MemorySize>, Storage<'s>),
    ) -> Option<Core<'s>> {
        let sizes: Vec<u16> = peer.paths.iter().map(|path| path.ceiling).collect();
        // What was made once from this configuration can be made again.
        let (connection, ids) = self.state_machine(&peer.config, &sizes, memory).ok()?;
        Some(peer.begin_anew(connection, &ids, self.clock.now()))
    }

    /// Adds a path to the core, behind those that are there.
    fn add_path(&self, connection: &mut Core<'_>, path: &config::Path, max_datagram: u16) -> Result<PathId> {
        let now = self.clock.now();
        let settings = mpt_proto::PathConfig {
            weight: path.weight,
            rank: path.rank,
            tier: path.tier.default,
            max_datagram: max_datagram.saturating_sub(self.sealing),
            liveness: path.liveness,
        };
        let id = connection
            .add_path(&path.name, settings, now)
            .map_err(|error| misconfigured(format!("path {}: {error:?}", path.name)))?;
        self.search_size(connection, path, id);
        if !path.enabled {
            // A path that was added a line ago is known.
            let _ = connection.set_enabled(id, false, now);
        }
        Ok(id)
    }

    /// Lets the core find out what hops beyond a path's interface carry, where the configuration does not say it.
    fn search_size(&self, connection: &mut Core<'_>, path: &config::Path, id: PathId) {
        let mut seed = [0; 8];
        if path.mtu.is_some() || entropy::fill(&mut seed).is_err() {
            return;
        }
        let least = max_datagram(least_mtu(path.local), path.local).saturating_sub(self.sealing);
        // A peer that is not probed would not answer, and one that is not here has no memory: neither is searched.
        let _ = connection.search_size(id, least, u64::from_ne_bytes(seed), self.clock.now());
    }

    /// Removes a connection, if it is there; its memory serves others.
    pub(super) fn disconnect(&mut self, handle: Handle, outside: &mut Outside<'s>, peers: &mut Peers<'s>) {
        outside.remove(handle);
        if let Some(peer) = peers.remove(handle)
            && let Some(size) = peer.memory
        {
            self.memories.take_back(size, peer.connection.into_storage());
        }
    }
}

/// A path as the loop sees it, on the socket at this place, with datagrams of at most `size` bytes.
fn path(config: &config::Path, planned: &PlannedPath, id: PathId, socket: usize, size: u16) -> PeerPath {
    let mut made = PeerPath::new(id, planned.ends.clone(), socket, planned.remote, size);
    made.tier = config.tier.default;
    made.roaming = config.roaming.then(Roaming::default);
    // Where the peer's address is open it is the peer who finds the way; without probes nothing is known to be silent.
    let is_given = planned.remote.is_some() || config.remote_name.is_some();
    made.other_port = (is_given && config.liveness != Liveness::Off).then(OtherPort::default);
    made.named = config.remote_name.clone().map(Named::new);
    made
}

/// Lets datagrams from a path's peer be known as the path's.
fn add_sender(
    planned: &PlannedPath,
    socket: usize,
    (peer, path): (Handle, usize),
    outside: &mut Outside<'_>,
) {
    if planned.remote.is_some()
        && let Some(shared) = outside.sockets.get_mut(socket)
    {
        let sender = Sender { address: planned.ends.remote, port: planned.from_port, peer, path };
        shared.senders.add(sender);
    }
}

/// Bytes that sealing adds to each datagram.
pub fn sealing(config: &Config) -> u16 {
    if config.security.is_some() { u16::try_from(mpt_seal::OVERHEAD).unwrap_or(u16::MAX) } else { 0 }
}

/// The layer that seals, if there are keys; it has no peers yet.
pub fn sealer<'s>(
    config: &Config,
    memory: &'s mut mpt_seal::Memory<NativeKey>,
    clock: &Clock,
) -> Option<SystemSealer<'s>> {
    let security = config.security.as_ref()?;
    #[allow(clippy::cast_possible_truncation, reason = "any 32 bits do")]
    let instance = seed() as u32;
    Some(Sealer::new(
        security.private_key.clone(),
        instance,
        security.ciphers,
        SystemEntropy,
        memory.lend(),
        clock.now(),
    ))
}

/// A number that differs from run to run, from the randomness that the standard library gets from the system.
fn seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
