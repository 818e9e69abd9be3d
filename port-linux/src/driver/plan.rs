//! What connections need: which sockets, which paths on them, how large. Making a plan changes nothing; it finds what
//! cannot work. Connections are made of it in `resources`.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mpt_proto::{Pin, PinError, Pins, PortMatch};
use rustix::io::Errno;

use super::SharedSocket;
use crate::config::{self, Config};
use crate::failure::misconfigured;
use crate::link::{Ends, Interfaces, scoped};
use crate::mtu::max_datagram;
use crate::socket::{Maker, Socket, source_address};

/// The MTU taken for an interface that is not there yet: Ethernet's. One that comes with a smaller MTU gets
/// smaller datagrams.
pub const ABSENT_MTU: u16 = 1500;

/// Between two looks at a port or a name that is taken: who had it may just have been killed, and not quite gone yet.
pub const LOOK: Duration = Duration::from_millis(50);

/// The plan.
pub struct Plan {
    sockets: Vec<SharedSocket>,
    /// The position of a socket among these, and from where datagrams of a path come to it: address, and port unless it may be any.
    sources: Vec<(usize, IpAddr, Option<u16>)>,
    /// By connection, in the order of the configuration, and by path.
    pub(super) connections: Vec<Vec<PlannedPath>>,
}

pub(super) struct PlannedPath {
    pub(super) ends: Ends,
    /// Position among the sockets of the plan.
    pub(super) socket: usize,
    /// `None`: to be learnt.
    pub(super) remote: Option<SocketAddr>,
    /// The port that the peer must send from; `None`: any.
    pub(super) from_port: Option<u16>,
    pub(super) max_datagram: u16,
}

impl Plan {
    /// # Errors
    /// A local address that is not on this machine (unless a `device` is named: then the path waits for it), two paths that could not
    /// be told apart, ports pinned to two paths.
    pub fn new(config: &Config, interfaces: &Interfaces) -> Result<Self> {
        Self::again(config, interfaces, |_, _| false)
    }

    /// The same where a connection may have a path already, as `has` tells: that one may wait for its address without a device.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(super) fn again(
        config: &Config,
        interfaces: &Interfaces,
        has: impl Fn(&config::Connection, &config::Path) -> bool,
    ) -> Result<Self> {
        let mut plan = Self { sockets: Vec::new(), sources: Vec::new(), connections: Vec::new() };
        if let Some(listen) = &config.listen {
            for local in &listen.local {
                if !local.is_unspecified() && interfaces.with_address(*local).is_none() {
                    bail!("[listen] local = \"{local}\" is not an address of this machine");
                }
                plan.sockets.push(SharedSocket::listening(SocketAddr::new(*local, listen.port)));
            }
        }
        for connection in &config.connections {
            let mut paths = Vec::new();
            for path in &connection.paths {
                let full_name = format!("path {} of connection {}", path.name, connection.name);
                let may_wait = || path.device.is_some() || has(connection, path);
                let planned = plan.add(connection, path, interfaces, may_wait);
                paths.push(planned.context(full_name)?);
            }
            pins(connection)?;
            plan.connections.push(paths);
        }
        Ok(plan)
    }

    fn add(
        &mut self,
        connection: &config::Connection,
        path: &config::Path,
        interfaces: &Interfaces,
        may_wait: impl FnOnce() -> bool,
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
        if interface.is_none() && !may_wait() {
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
        let alike = |&(other, address, port): &(usize, IpAddr, Option<u16>)| {
            (other, address) == (socket, path.remote)
                && (port == from_port || port.is_none() || from_port.is_none())
        };
        if self.sources.iter().any(alike) {
            return Err(misconfigured(format!(
                "another path has the same addresses and ports ({local} and {remote}), and their datagrams could \
                 not be told apart: give one of them another port or remote_port"
            )));
        }
        self.sources.push((socket, path.remote, from_port));
        Ok(planned)
    }

    /// What the paths of all connections need of this machine.
    pub fn ends(&self) -> Vec<Ends> {
        let paths = self.connections.iter().flatten();
        let bound = paths.filter(|path| path.ends.device.is_some() || !path.ends.local.is_unspecified());
        bound.map(|path| path.ends.clone()).collect()
    }

    /// Puts the sockets that are not there yet behind `sockets`, to be bound. Tells where each socket of the plan is.
    pub(super) fn place_sockets(&mut self, sockets: &mut Vec<SharedSocket>) -> Vec<usize> {
        let place = |planned: SharedSocket| {
            let same = |shared: &SharedSocket| shared.is_same(&planned);
            sockets.iter().position(same).unwrap_or_else(|| {
                sockets.push(planned);
                sockets.len() - 1
            })
        };
        std::mem::take(&mut self.sockets).into_iter().map(place).collect()
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
pub(super) fn pins(config: &config::Connection) -> Result<Pins> {
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
