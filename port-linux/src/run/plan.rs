//! What `mpt run` is going to make: which sockets, which paths on them, how large. Making a plan changes
//! nothing; it finds what cannot work.

use std::hash::{BuildHasher, Hasher};
use std::io::ErrorKind;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use mpt_proto::{Connection, Liveness, Pin, PinError, Pins, PortMatch, Storage};
use mpt_seal::Sealer;
use rustix::io::Errno;

use super::add_paths;
use super::memory::{Memory, MemorySize};
use crate::ciphers::NativeKey;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::driver::{OtherPort, PathMtu, Peer, PeerPath, Roaming, Sender, SharedSocket, SystemSealer};
use crate::entropy::SystemEntropy;
use crate::failure::misconfigured;
use crate::link::{Ends, Interfaces, scoped};
use crate::mtu::{least_mtu, max_datagram};
use crate::socket::{Maker, Socket, source_address};

/// The MTU taken for an interface that is not there yet: Ethernet's. One that comes with a smaller MTU gets
/// smaller datagrams.
const ABSENT_MTU: u32 = 1500;

/// The plan.
pub(super) struct Plan {
    sockets: Vec<SharedSocket>,
    /// By connection, by path.
    paths: Vec<Vec<PlannedPath>>,
}

struct PlannedPath {
    ends: Ends,
    socket: usize,
    /// `None`: to be learnt.
    remote: Option<SocketAddr>,
    max_datagram: u16,
}

impl Plan {
    /// # Errors
    /// An interface that exists already, a local address that is not on this machine (unless a `device` is
    /// named: then the path waits for it), two paths that could not be told apart.
    pub(super) fn new(config: &Config, interfaces: &Interfaces) -> Result<Self> {
        let tunnel = &config.tunnel.name;
        if interfaces.named(tunnel).is_some() {
            bail!(
                "the interface {tunnel} exists already: another mpt may be running (see `mpt status`); stop it, or \
                 choose another name in [tunnel]"
            );
        }
        let mut plan = Self { sockets: Vec::new(), paths: Vec::new() };
        for (index, connection) in config.connections.iter().enumerate() {
            let mut paths = Vec::new();
            for (path_index, path) in connection.paths.iter().enumerate() {
                let full_name = format!("path {} of connection {}", path.name, connection.name);
                let planned = plan.add(connection, path, (index, path_index), interfaces);
                paths.push(planned.context(full_name)?);
            }
            plan.paths.push(paths);
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
        let (index, mtu) = interface.map_or((0, ABSENT_MTU), |interface| (interface.index, interface.mtu));
        let local = scoped(path.local, path.port, index);
        let remote = (!path.remote.is_unspecified()).then(|| scoped(path.remote, path.remote_port, index));
        let path_mtu = path.mtu.unwrap_or(u16::try_from(mtu).unwrap_or(u16::MAX));
        let sender = Sender {
            address: path.remote,
            port: connection.check_source_port.then_some(path.remote_port),
            peer,
            path: path_index,
        };
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
        let planned = PlannedPath { ends, socket, remote, max_datagram: max_datagram(path_mtu, path.local) };
        let Some(remote) = remote else { return Ok(planned) };
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
        senders.push(sender);
        Ok(planned)
    }

    /// The memory that each connection needs, `kept` bytes for packets to be sent unless it says otherwise.
    pub(super) fn memories(&self, config: &Config, kept: usize) -> Vec<Memory> {
        let mtu = usize::from(config.tunnel.mtu.unwrap_or(0));
        let of = |(connection, paths): (&config::Connection, &Vec<PlannedPath>)| {
            let widest = paths.iter().map(|path| usize::from(path.max_datagram)).max().unwrap_or(0);
            Memory::new(MemorySize::new(connection, widest, mtu, kept))
        };
        config.connections.iter().zip(&self.paths).map(of).collect()
    }

    /// The connections, each with its paths and its memory, which [`Self::memories`] has made.
    ///
    /// # Errors
    /// Ports pinned to two paths, or more than the core takes.
    pub(super) fn peers<'s>(
        &self,
        config: &Config,
        memories: &'s mut [Memory],
        clock: &Clock,
        joins: bool,
    ) -> Result<Vec<Peer<'s>>> {
        let sealing = sealing(config);
        let connections = config.connections.iter().zip(memories).enumerate();
        connections
            .map(|(index, (connection, memory))| {
                self.peer(index, connection, memory.lend(), clock, (joins, sealing))
            })
            .collect()
    }

    /// The state machine of a connection, with its paths; `joins`: the tunnel device takes and gives large packets; `sealing`: bytes that
    /// each datagram has more on the wire.
    fn peer<'s>(
        &self,
        index: usize,
        config: &config::Connection,
        storage: Storage<'s>,
        clock: &Clock,
        (joins, sealing): (bool, u16),
    ) -> Result<Peer<'s>> {
        let planned = self.paths.get(index).map(Vec::as_slice).unwrap_or_default();
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
            slices: config.slices && config.sequence && joins,
            ..mpt_proto::Config::default()
        };
        let mut connection = Connection::new(settings, storage, clock.now());
        let max_datagrams: Vec<u16> =
            planned.iter().map(|path| path.max_datagram.saturating_sub(sealing)).collect();
        let ids = add_paths(&mut connection, config, &max_datagrams, clock)?;
        let paths = ids.into_iter().zip(planned).zip(&config.paths).map(|((id, path), config)| {
            let mut made = PeerPath::new(id, path.ends.clone(), path.socket, path.remote, path.max_datagram);
            made.roaming = config.roaming.then(Roaming::default);
            // Where the peer's address is open it is the peer who finds the way; without probes nothing is known to be silent.
            let may_change = path.remote.is_some() && config.liveness != Liveness::Off;
            made.other_port = may_change.then(OtherPort::default);
            // A peer that is not probed would not answer; a configured size needs no search.
            if config.mtu.is_none() && config.liveness != Liveness::Off {
                let least = max_datagram(least_mtu(config.local), config.local);
                made.search = Some(PathMtu::new(least, path.max_datagram));
            }
            made
        });
        Ok(Peer::new(index, config.clone(), connection, paths.collect(), sealing))
    }

    /// Binds the sockets: the last check, and it changes nothing that outlives them.
    ///
    /// # Errors
    /// Names the address and port that is taken.
    pub(super) fn bind(self, maker: &Maker) -> Result<Vec<SharedSocket>> {
        let buffer = maker.buffer;
        let mut sockets = self.sockets;
        let mut granted = (buffer, buffer);
        for shared in &mut sockets {
            let device = shared.device.as_deref();
            let local = if shared.local.ip().is_unspecified() {
                let remote = shared.senders.first().map(|sender| scoped(sender.address, 1, shared.interface));
                match remote.and_then(|remote| source_address(shared.local, remote, device, &*maker.tie)) {
                    Some(source) => scoped(source, shared.local.port(), shared.interface),
                    None => continue,
                }
            } else {
                shared.local
            };
            let socket = match bind_patiently(local, device, maker) {
                Ok(socket) => socket,
                Err(error) if waits(shared, &error) => continue,
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
        Ok(sockets)
    }
}

/// Binds a socket; a port that is taken may be free a moment later, if who had it was just killed.
fn bind_patiently(local: SocketAddr, device: Option<&str>, maker: &Maker) -> std::io::Result<Socket> {
    for _ in 0..super::LOOKS {
        match Socket::bind(local, device, maker) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => std::thread::sleep(super::LOOK),
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
pub(super) fn sealing(config: &Config) -> u16 {
    if config.security.is_some() { u16::try_from(mpt_seal::OVERHEAD).unwrap_or(u16::MAX) } else { 0 }
}

/// The layer that seals, if there are keys, with the connections as its peers.
///
/// # Errors
/// Two connections with one key, or one with our own.
pub(super) fn sealer<'s>(
    config: &Config,
    memory: &'s mut mpt_seal::Memory<NativeKey>,
    clock: &Clock,
) -> Result<Option<SystemSealer<'s>>> {
    let Some(security) = &config.security else { return Ok(None) };
    #[allow(clippy::cast_possible_truncation, reason = "any 32 bits do")]
    let instance = seed() as u32;
    let mut sealer = Sealer::new(
        security.private_key.clone(),
        instance,
        security.ciphers,
        SystemEntropy,
        memory.lend(),
        clock.now(),
    );
    for connection in &config.connections {
        let keys = connection.keys.clone().context("a connection without a public key")?;
        sealer
            .add_peer(keys)
            .map_err(|error| misconfigured(format!("connection {}: {error}", connection.name)))?;
    }
    Ok(Some(sealer))
}

/// A number that differs from run to run, from the randomness that the standard library gets from the system.
fn seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
