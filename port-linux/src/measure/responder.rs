//! What answers `mpt ping` and `mpt speed` of the peers: threads of `mpt run`, beside the event loop.
//!
//! The sockets have the tunnel addresses and are bound to the tunnel interface, so that nothing from elsewhere reaches them; what
//! comes through the tunnel is answered only if it comes from the tunnel address of a peer, which the event loop lets no other peer
//! use. Answers are never longer than questions, and everything is bounded: answers in a second, TCP connections of a peer and of all,
//! and the time of each.

mod echo;
mod stream;

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use super::PORT;
use super::protocol::Refusal;
use crate::config::Config;
use crate::control::{Answer, Asked, Query, relay};
use crate::wake::Waker;

/// TCP connections that may wait to be taken.
const BACKLOG: i32 = 16;

/// The tunnel addresses of the peers, which change when the configuration is read again.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<RwLock<HashSet<IpAddr>>>);

impl Known {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Self {
        let known = Self::default();
        known.replace(config);
        known
    }

    /// Those of another configuration from now on.
    pub fn replace(&self, config: &Config) {
        let peers =
            config.connections.iter().flat_map(|connection| connection.peer.iter().copied()).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = peers;
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&address)
    }
}

/// The rest of the program, as the responder needs it.
#[derive(Debug, Clone)]
struct Daemon {
    known: Known,
    queries: Sender<Query>,
    bell: Waker,
}

impl Daemon {
    /// Pins what is sent from [`PORT`] to this end of a flow.
    fn pin(&self, to: SocketAddr, path: u8, seconds: u16) -> Result<(), Refusal> {
        let asked = Asked::PinToPeer { address: to.ip(), path, flow: (PORT, to.port()), seconds };
        match relay(asked, &self.queries, &self.bell) {
            Answer::Pinned { .. } => Ok(()),
            Answer::Error { error, .. } => {
                tracing::debug!("a test of {to}: {error}");
                Err(Refusal::Path)
            }
            _ => Err(Refusal::Path),
        }
    }
}

/// Starts the responder, unless the configuration forbids it. The tunnel goes on without it where it cannot be: that is told.
pub fn start(config: &Config, known: &Known, queries: &Sender<Query>, bell: &Waker) {
    if !config.tunnel.responder {
        return;
    }
    let daemon = Daemon { known: known.clone(), queries: queries.clone(), bell: bell.clone() };
    for address in &config.tunnel.addresses {
        let end = SocketAddr::new(address.addr(), PORT);
        if let Err(error) = serve(end, &config.tunnel.name, &daemon) {
            tracing::warn!("mpt ping and mpt speed of peers are not answered at {end}: {error:#}");
        }
    }
}

fn serve(end: SocketAddr, device: &str, daemon: &Daemon) -> Result<()> {
    let udp = UdpSocket::from(bound(end, device, Type::DGRAM).context("UDP")?);
    let tcp = bound(end, device, Type::STREAM).context("TCP")?;
    tcp.listen(BACKLOG).context("TCP")?;
    let listener = TcpListener::from(tcp);
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.into()).spawn(work).map(drop).context("cannot start a thread")
    };
    let (echoes, streams) = (daemon.clone(), daemon.clone());
    spawn("echo", Box::new(move || echo::serve(&udp, &echoes)))?;
    spawn("speed", Box::new(move || stream::serve(&listener, &streams)))
}

/// A socket with this address, which need not be there yet, and with this device alone.
fn bound(end: SocketAddr, device: &str, kind: Type) -> io::Result<Socket> {
    let protocol = if kind == Type::DGRAM { Protocol::UDP } else { Protocol::TCP };
    let socket = Socket::new(Domain::for_address(end), kind, Some(protocol))?;
    socket.bind_device(Some(device.as_bytes()))?;
    if end.is_ipv4() {
        socket.set_freebind_v4(true)?;
    } else {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&end.into())?;
    Ok(socket)
}
