//! What connections need: which sockets, which paths on them, how large. Making a plan changes nothing; it finds what
//! cannot work. Then connections are made of it, at the start and whenever the configuration is read again.

use std::hash::{BuildHasher, Hasher};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mpt_proto::{Connection, Link, Liveness, PathId, Pin, PinError, Pins, PortMatch, Storage};
use mpt_seal::Sealer;
use rustix::io::Errno;

use super::memory::Memories;
use super::senders::Sender;
use super::{OtherPort, Outside, PathMtu, Peer, PeerPath, Peers, Roaming, SharedSocket, SystemSealer};
use crate::ciphers::NativeKey;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::entropy::SystemEntropy;
use crate::failure::misconfigured;
use crate::link::{Ends, Interfaces, scoped};
use crate::mtu::{least_mtu, max_datagram};
use crate::socket::{Maker, Socket, source_address};

/// The MTU taken for an interface that is not there yet: Ethernet's. One that comes with a smaller MTU gets
/// smaller datagrams.
pub const ABSENT_MTU: u16 = 1500;

/// Between two looks at a port that is taken.
const LOOK: Duration = Duration::from_millis(50);

/// The plan.
pub struct Plan {
    pub(super) sockets: Vec<SharedSocket>,
    /// In the order of the configuration.
    pub(super) connections: Vec<PlannedConnection>,
}

/// What one connection needs.
pub(super) struct PlannedConnection {
    paths: Vec<PlannedPath>,
}

struct PlannedPath {
    ends: Ends,
    /// Position among the sockets of the plan.
    socket: usize,
    /// `None`: to be learnt.
    remote: Option<SocketAddr>,
    /// The port that the peer must send from; `None`: any.
    from_port: Option<u16>,
    max_datagram: u16,
}

impl Plan {
    /// # Errors
    /// A local address that is not on this machine (unless a `device` is named: then the path waits for it), two paths that could not
    /// be told apart, ports pinned to two paths.
    pub fn new(config: &Config, interfaces: &Interfaces) -> Result<Self> {
        let mut plan = Self { sockets: Vec::new(), connections: Vec::new() };
        if let Some(listen) = &config.listen {
            for local in &listen.local {
                if !local.is_unspecified() && interfaces.with_address(*local).is_none() {
                    bail!("[listen] local = \"{local}\" is not an address of this machine");
                }
                plan.sockets.push(SharedSocket::listening(SocketAddr::new(*local, listen.port)));
            }
        }
        for (index, connection) in config.connections.iter().enumerate() {
            let mut paths = Vec::new();
            for (path_index, path) in connection.paths.iter().enumerate() {
                let full_name = format!("path {} of connection {}", path.name, connection.name);
                let planned = plan.add(connection, path, (index, path_index), interfaces);
                paths.push(planned.context(full_name)?);
            }
            pins(connection)?;
            plan.connections.push(PlannedConnection { paths });
        }
        Ok(plan)
    }

    fn add(
        &mut self,
        connection: &config::Connection,
        path: &config::Path,
        (peer, path_index): (usize, usize),
        interfaces: &Interfaces,
    ) -> Result<PlannedPath> {
        let ends = Ends { local: path.local, remote: path.remote, device: path.device.clone() };
        if connection.is_learned {
            // As small as they are over any of the sockets that listen, of which the first is a place like the others.
            let sizes = self.sockets.iter().filter(|shared| shared.listens);
            let sizes = sizes.map(|shared| max_datagram(ABSENT_MTU, shared.local.ip()));
            let max_datagram = sizes.min().unwrap_or_default();
            return Ok(PlannedPath { ends, socket: 0, remote: None, from_port: None, max_datagram });
        }
        let interface = ends.candidate(interfaces);
        if interface.is_none() && path.device.is_none() {
            let known: Vec<String> = interfaces.addresses().map(|address| address.to_string()).collect();
            // Not the user's error: the address may come late at boot, and the service starts mpt again until it is there.
            bail!(
                "local = \"{}\" is not an address of this machine, which has {}; with a device, the path would \
                 wait for it",
                path.local,
                known.join(", ")
            );
        }
        let (index, mtu) =
            interface.map_or((0, ABSENT_MTU.into()), |interface| (interface.index, interface.mtu));
        let local = scoped(path.local, path.port, index);
        let remote = (!path.remote.is_unspecified()).then(|| scoped(path.remote, path.remote_port, index));
        let path_mtu = path.mtu.unwrap_or(u16::try_from(mtu).unwrap_or(u16::MAX));
        let from_port = connection.check_source_port.then_some(path.remote_port);
        // An interface may be named by alternative names, too.
        let same_device = |shared: &SharedSocket| match (&shared.device, &path.device) {
            (Some(one), Some(other)) => one == other || index != 0 && shared.interface == index,
            (one, other) => one == other,
        };
        let same = |shared: &SharedSocket| shared.local == local && same_device(shared);
        let socket = match self.sockets.iter().position(same) {
            Some(socket) => socket,
            None => {
                self.sockets.push(SharedSocket::new(local, path.device.clone(), index));
                self.sockets.len() - 1
            }
        };
        let max_datagram = max_datagram(path_mtu, path.local);
        let planned = PlannedPath { ends, socket, remote, from_port, max_datagram };
        let Some(remote) = remote else { return Ok(planned) };
        let sender = Sender { address: path.remote, port: from_port, peer, path: path_index };
        let senders = &mut self.sockets[socket].senders;
        let alike = |s: &Sender| {
            s.address == sender.address
                && (s.port == sender.port || s.port.is_none() || sender.port.is_none())
        };
        if senders.iter().any(alike) {
            return Err(misconfigured(format!(
                "another path has the same addresses and ports ({local} and {remote}), and their datagrams could \
                 not be told apart: give one of them another port or remote_port"
            )));
        }
        senders.add(sender);
        Ok(planned)
    }

    /// What the paths of all connections need of this machine.
    pub fn ends(&self) -> Vec<Ends> {
        let paths = self.connections.iter().flat_map(|connection| &connection.paths);
        let bound = paths.filter(|path| path.ends.device.is_some() || !path.ends.local.is_unspecified());
        bound.map(|path| path.ends.clone()).collect()
    }

    /// Puts the sockets that are not there yet behind `sockets`, to be bound. Tells where each socket of the plan is.
    pub(super) fn place_sockets(&mut self, sockets: &mut Vec<SharedSocket>) -> Vec<usize> {
        let place = |mut planned: SharedSocket| {
            let same = |shared: &SharedSocket| shared.is_same(&planned);
            sockets.iter().position(same).unwrap_or_else(|| {
                // These are of the plan's numbers.
                planned.senders = Default::default();
                sockets.push(planned);
                sockets.len() - 1
            })
        };
        std::mem::take(&mut self.sockets).into_iter().map(place).collect()
    }
}

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

    /// Makes a connection, at a position that is free; its sockets are at these places.
    ///
    /// # Errors
    /// The layer that seals has no room, or another peer with this key.
    pub(super) fn connect(
        &mut self,
        config: &config::Connection,
        planned: &PlannedConnection,
        sockets: &[usize],
        outside: &mut Outside<'s>,
        peers: &mut Peers<'s>,
    ) -> Result<usize> {
        let position = match outside.add_keys(config)? {
            Some(position) => position,
            None => peers.vacant(),
        };
        let sizes: Vec<u16> = planned.paths.iter().map(|path| path.max_datagram).collect();
        let memory = (!config.is_learned).then(|| self.memories.lend(config, widest(&sizes))).unzip();
        let made = self.state_machine(config, &sizes, memory.1.unwrap_or_default());
        let (connection, ids) = made.inspect_err(|_| outside.remove(position))?;
        let mut paths = Vec::new();
        for (index, ((planned, config), id)) in planned.paths.iter().zip(&config.paths).zip(ids).enumerate() {
            let Some(&socket) = sockets.get(planned.socket) else { continue };
            let mut made =
                PeerPath::new(id, planned.ends.clone(), socket, planned.remote, planned.max_datagram);
            made.roaming = config.roaming.then(Roaming::default);
            // Where the peer's address is open it is the peer who finds the way; without probes nothing is known to be silent.
            let may_change = planned.remote.is_some() && config.liveness != Liveness::Off;
            made.other_port = may_change.then(OtherPort::default);
            // A peer that is not probed would not answer; a configured size needs no search.
            if config.mtu.is_none() && config.liveness != Liveness::Off {
                let least = max_datagram(least_mtu(config.local), config.local);
                made.search = Some(PathMtu::new(least, planned.max_datagram));
            }
            if planned.remote.is_some() {
                let sender = Sender {
                    address: planned.ends.remote,
                    port: planned.from_port,
                    peer: position,
                    path: index,
                };
                outside.sockets[socket].senders.add(sender);
            }
            paths.push(made);
        }
        let mut peer = Peer::new(position, config.clone(), (connection, memory.0), paths, self.sealing);
        if config.is_learned {
            // Nothing leaves on a place for a path.
            let now = self.clock.now();
            (0..peer.paths.len()).for_each(|path| _ = peer.set_link(path, Link::Down, now));
        }
        peers.insert(peer);
        Ok(position)
    }

    /// The state machine of a connection, with its paths, whose datagrams have these sizes on the wire.
    fn state_machine(
        &self,
        config: &config::Connection,
        sizes: &[u16],
        storage: Storage<'s>,
    ) -> Result<(Connection<'s>, Vec<PathId>)> {
        let settings = mpt_proto::Config {
            seed: seed(),
            key: config.key,
            checksum: config.checksum,
            sequence: config.sequence,
            policy: config.policy,
            pins: pins(config)?,
            reorder: config.reorder,
            resend: config.adaptive.resend,
            order_udp: config.adaptive.udp_in_order,
            classes: config.classes.clone(),
            slices: config.slices && config.sequence && self.joins,
            ..mpt_proto::Config::default()
        };
        let mut connection = Connection::new(settings, storage, self.clock.now());
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
            self.begin_anew(peer, storage);
            (peer.memory, peer.woken) = (Some(size), self.clock.now());
        }
    }

    /// It went for long: its memory serves others.
    pub(super) fn rest(&mut self, peer: &mut Peer<'s>) {
        if let Some(size) = peer.memory.take() {
            let before = self.begin_anew(peer, Storage::none());
            before.into_iter().for_each(|before| self.memories.take_back(size, before));
        }
    }

    /// Gives a peer a new state machine that works in this memory. Returns the former one.
    fn begin_anew(&self, peer: &mut Peer<'s>, storage: Storage<'s>) -> Option<Connection<'s>> {
        let sizes: Vec<u16> = peer.paths.iter().map(|path| path.max_datagram).collect();
        // What was made once from this configuration can be made again.
        let (connection, ids) = self.state_machine(&peer.config, &sizes, storage).ok()?;
        Some(peer.begin_anew(connection, &ids, self.clock.now()))
    }

    /// Adds a path to the core, behind those that are there.
    fn add_path(
        &self,
        connection: &mut Connection<'_>,
        path: &config::Path,
        max_datagram: u16,
    ) -> Result<PathId> {
        let now = self.clock.now();
        let settings = mpt_proto::PathConfig {
            weight: path.weight,
            rank: path.rank,
            tier: path.tier,
            max_datagram: max_datagram.saturating_sub(self.sealing),
            liveness: path.liveness,
        };
        let id = connection
            .add_path(settings, now)
            .map_err(|error| misconfigured(format!("path {}: {error:?}", path.name)))?;
        if !path.enabled {
            // A path that was added a line ago is known.
            let _ = connection.set_enabled(id, false, now);
        }
        Ok(id)
    }

    /// Removes a connection, if there is one at this position; its memory serves others.
    pub(super) fn disconnect(&mut self, index: usize, outside: &mut Outside<'s>, peers: &mut Peers<'s>) {
        outside.remove(index);
        if let Some(peer) = peers.remove(index)
            && let Some(size) = peer.memory
        {
            self.memories.take_back(size, peer.connection);
        }
    }
}

/// Binds the sockets that are not open: the last check, and it changes nothing that outlives them. A port that is taken is looked at
/// so many times more.
///
/// # Errors
/// Names the address and port that is taken.
pub fn bind(sockets: &mut [SharedSocket], maker: &Maker, looks: u32) -> Result<()> {
    let buffer = maker.buffer;
    let mut granted = (buffer, buffer);
    for shared in sockets.iter_mut().filter(|shared| !shared.is_open()) {
        let device = shared.device.as_deref();
        let local = if shared.local.ip().is_unspecified() && !shared.listens {
            let remote =
                shared.senders.iter().next().map(|sender| scoped(sender.address, 1, shared.interface));
            match remote.and_then(|remote| source_address(shared.local, remote, device, &*maker.tie)) {
                Some(source) => scoped(source, shared.local.port(), shared.interface),
                None => continue,
            }
        } else {
            shared.local
        };
        let socket = match bind_patiently(local, device, maker, looks) {
            Ok(socket) => socket,
            Err(error) if waits(shared, &error) => continue,
            Err(error) if lacks_ipv6(shared, &error) => {
                tracing::info!("this host has no IPv6: peers come by IPv4");
                continue;
            }
            Err(error) => {
                let hint = bind_hint(local, &error);
                return Err(error).with_context(|| format!("cannot bind UDP {local}{hint}"));
            }
        };
        let (receive, send) = socket.buffer_sizes()?;
        granted = (granted.0.min(receive), granted.1.min(send));
        if socket.may_fragment() {
            tracing::warn!("the kernel may fragment datagrams from {local}");
        }
        shared.open(socket, local);
    }
    if granted.0 < buffer || granted.1 < buffer {
        tracing::warn!(
            "socket buffers are {} bytes for receiving and {} for sending; {buffer} were asked for. Raise the \
             limits with: sudo sysctl net.core.rmem_max={buffer} net.core.wmem_max={buffer}",
            granted.0,
            granted.1
        );
    }
    Ok(())
}

/// Binds a socket; a port that is taken may be free a moment later, if who had it was just killed.
fn bind_patiently(
    local: SocketAddr,
    device: Option<&str>,
    maker: &Maker,
    looks: u32,
) -> std::io::Result<Socket> {
    for _ in 0..looks {
        match Socket::bind(local, device, maker) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => std::thread::sleep(LOOK),
            outcome => return outcome,
        }
    }
    Socket::bind(local, device, maker)
}

/// What would help where a socket cannot be bound, to follow the address in a message.
fn bind_hint(local: SocketAddr, error: &std::io::Error) -> String {
    let port = local.port();
    match error.kind() {
        ErrorKind::AddrInUse => {
            format!(": is another program using the port? `ss -ulpn sport = :{port}` shows it")
        }
        ErrorKind::PermissionDenied if port < 1024 => String::from(
            ": ports below 1024 are privileged and need the capability CAP_NET_BIND_SERVICE, too. Choose another `port`, or give the \
             program both: sudo setcap cap_net_admin,cap_net_bind_service+ep $(command -v mpt)",
        ),
        _ => String::new(),
    }
}

/// Whether a socket cannot be bound only because its device, or the device's address, is yet to come. A
/// link-local address whose device is not there gets EINVAL.
fn waits(shared: &SharedSocket, error: &std::io::Error) -> bool {
    let absent =
        matches!(Errno::from_io_error(error), Some(Errno::NODEV | Errno::ADDRNOTAVAIL | Errno::INVAL));
    shared.device.is_some() && absent
}

/// Whether a socket for everybody who comes by IPv6 cannot be bound because the host has none.
fn lacks_ipv6(shared: &SharedSocket, error: &std::io::Error) -> bool {
    let lacks = matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL));
    shared.has_all_addresses() && shared.local.is_ipv6() && lacks
}

/// The ports pinned to paths.
fn pins(config: &config::Connection) -> Result<Pins> {
    let mut pins = Pins::new();
    for (number, path) in (0u8..).zip(&config.paths) {
        let lists = [
            ("tcp_src", PortMatch::TcpSource, &path.tcp_src),
            ("tcp_dst", PortMatch::TcpDestination, &path.tcp_dst),
            ("udp_src", PortMatch::UdpSource, &path.udp_src),
            ("udp_dst", PortMatch::UdpDestination, &path.udp_dst),
        ];
        for (key, port_match, ports) in lists {
            for &port in ports {
                pins.insert(Pin { port_match, port, path: number }).map_err(|error| {
                    let why = match error {
                        PinError::Conflict(_) => "that port is pinned to another path already",
                        _ => "a connection has room for 64 pinned ports",
                    };
                    misconfigured(format!(
                        "path {} of connection {}: {key} = {port}: {why}",
                        path.name, config.name
                    ))
                })?;
            }
        }
    }
    Ok(pins)
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
