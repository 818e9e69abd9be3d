//! What `mpt run` is going to make: which sockets, which paths on them, how large. Making a plan changes
//! nothing; it finds what cannot work.

use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use anyhow::{Context, Result, bail};
use mpt_proto::{Connection, Pin, PinError, Pins, PortMatch, Storage};

use super::{MemorySize, add_paths};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::driver::{Peer, PeerPath, Sender, SharedSocket};
use crate::failure::misconfigured;
use crate::link::Interfaces;
use crate::mtu::max_datagram;
use crate::outbox::Outbox;
use crate::report::NotSent;
use crate::socket::{BUFFER_SIZE, Socket};

/// Room for a datagram when our own paths are narrower than the peer takes them to be: an Ethernet frame.
const DATAGRAM_MIN: usize = 1500;
/// Room for a packet that the peer splits, when its tunnel MTU is larger than ours: a jumbo frame.
const PACKET_MIN: usize = 9216;

/// The plan.
pub(super) struct Plan {
    sockets: Vec<SharedSocket>,
    /// By connection, by path.
    paths: Vec<Vec<PlannedPath>>,
}

struct PlannedPath {
    socket: usize,
    remote: SocketAddr,
    max_datagram: u16,
}

impl Plan {
    /// # Errors
    /// An interface that exists already, a local address that is not on this machine, a device that does not
    /// exist, two paths that could not be told apart.
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
        let device = path.device.as_deref();
        if let Some(device) = device.filter(|device| interfaces.named(device).is_none()) {
            return Err(misconfigured(format!(
                "device = \"{device}\": there is no such interface on this machine"
            )));
        }
        let Some(interface) = interfaces.with_address(path.local, device) else {
            let on = device.map_or("this machine".to_owned(), |device| format!("interface {device}"));
            let known: Vec<String> = interfaces.addresses().map(|address| address.to_string()).collect();
            return Err(misconfigured(format!(
                "local = \"{}\" is not an address of {on}; this machine has {}",
                path.local,
                known.join(", ")
            )));
        };
        let local = socket_address(path.local, path.port, interface.index);
        let remote = socket_address(path.remote, path.remote_port, interface.index);
        let path_mtu = path.mtu.unwrap_or(u16::try_from(interface.mtu).unwrap_or(u16::MAX));
        let sender = Sender {
            address: path.remote,
            port: connection.check_source_port.then_some(path.remote_port),
            peer,
            path: path_index,
        };
        let same = |shared: &SharedSocket| shared.local == local && shared.device == path.device;
        let socket = match self.sockets.iter().position(same) {
            Some(socket) => socket,
            None => {
                self.sockets.push(SharedSocket {
                    socket: None,
                    local,
                    device: path.device.clone(),
                    senders: Vec::new(),
                });
                self.sockets.len() - 1
            }
        };
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
        Ok(PlannedPath { socket, remote, max_datagram: max_datagram(path_mtu, path.local) })
    }

    /// How much memory each connection needs.
    pub(super) fn sizes(&self, config: &Config) -> Vec<MemorySize> {
        let mtu = usize::from(config.tunnel.mtu.unwrap_or(0));
        let of = |(connection, paths): (&config::Connection, &Vec<PlannedPath>)| {
            let widest = paths.iter().map(|path| usize::from(path.max_datagram)).max().unwrap_or(0);
            MemorySize {
                window: connection.reorder.window.into(),
                datagram: widest.max(DATAGRAM_MIN),
                packet: widest.max(mtu).max(PACKET_MIN),
            }
        };
        config.connections.iter().zip(&self.paths).map(of).collect()
    }

    /// The state machine of a connection, with its paths.
    ///
    /// # Errors
    /// Ports pinned to two paths, or more than the core takes.
    pub(super) fn peer<'s>(
        &self,
        index: usize,
        config: &config::Connection,
        storage: Storage<'s>,
        clock: &Clock,
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
            ..mpt_proto::Config::default()
        };
        let mut connection = Connection::new(settings, storage, clock.now());
        let max_datagrams: Vec<u16> = planned.iter().map(|path| path.max_datagram).collect();
        let ids = add_paths(&mut connection, config, &max_datagrams, clock)?;
        let paths = ids.into_iter().zip(planned).map(|(id, path)| PeerPath {
            id,
            socket: path.socket,
            remote: path.remote,
            max_datagram: path.max_datagram,
            not_sent: NotSent::default(),
            outbox: Outbox::new(),
        });
        Ok(Peer::new(config.clone(), connection, paths.collect()))
    }

    /// Binds the sockets: the last check, and it changes nothing that outlives them.
    ///
    /// # Errors
    /// Names the address and port that is taken.
    pub(super) fn bind(self) -> Result<Vec<SharedSocket>> {
        let mut sockets = self.sockets;
        let mut granted = (BUFFER_SIZE, BUFFER_SIZE);
        for shared in &mut sockets {
            let socket = Socket::bind(shared.local, shared.device.as_deref()).with_context(|| {
                format!(
                    "cannot bind UDP {}: is another program using the port? `ss -ulpn sport = :{}` shows it",
                    shared.local,
                    shared.local.port()
                )
            })?;
            let (receive, send) = socket.buffer_sizes()?;
            granted = (granted.0.min(receive), granted.1.min(send));
            if socket.may_fragment() {
                tracing::warn!("the kernel may fragment datagrams from {}", shared.local);
            }
            shared.socket = Some(socket);
        }
        if granted.0 < BUFFER_SIZE || granted.1 < BUFFER_SIZE {
            tracing::warn!(
                "socket buffers are {} bytes for receiving and {} for sending; {BUFFER_SIZE} were asked for. Raise the \
                 limits with: sudo sysctl net.core.rmem_max={BUFFER_SIZE} net.core.wmem_max={BUFFER_SIZE}",
                granted.0,
                granted.1
            );
        }
        Ok(sockets)
    }
}

/// A link-local address means something only together with its interface.
fn socket_address(address: IpAddr, port: u16, interface: u32) -> SocketAddr {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => SocketAddrV6::new(v6, port, 0, interface).into(),
        _ => SocketAddr::new(address, port),
    }
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

/// A number that differs from run to run, from the randomness that the standard library gets from the system.
fn seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
