//! Which peer is measured, from where, and over which path: what the running mpt says of it.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};

use super::PORT;
use crate::control::{self, Command};
use crate::report::{ConnectionReport, PathReport, Report, State, TunnelReport};

/// A peer whose tunnel can be measured.
#[derive(Debug)]
pub(super) struct Target {
    /// What is known of it.
    pub(super) connection: ConnectionReport,
    /// Its tunnel address.
    pub(super) address: IpAddr,
    /// Ours, of the same IP version.
    local: IpAddr,
    /// The tunnel interface, and its MTU.
    device: String,
    mtu: u16,
    /// The control socket of the running mpt.
    control: Option<PathBuf>,
}

impl Target {
    /// The peer of this name or tunnel address, of the mpt behind this control socket.
    ///
    /// # Errors
    /// No mpt runs, it has no such peer, or that cannot be measured now.
    pub(super) fn find(wanted: &str, control: Option<&Path>) -> Result<Self> {
        let target = Self::of(control::report(control)?, wanted)?;
        Ok(Self { control: control.map(Path::to_path_buf), ..target })
    }

    fn of(report: Report, wanted: &str) -> Result<Self> {
        let names: Vec<String> =
            report.connections.iter().map(|connection| connection.name.clone()).collect();
        let address: Option<IpAddr> = wanted.parse().ok();
        let is_wanted = |connection: &ConnectionReport| {
            connection.name == wanted
                || address.is_some_and(|address| connection.peer.contains(&address))
                    && connection.used != Some(false)
        };
        let Some(connection) = report.connections.into_iter().find(is_wanted) else {
            bail!("no connection has the name or tunnel address {wanted}; there are {}", names.join(", "));
        };
        if connection.used == Some(false) {
            bail!(
                "{wanted} carries no packets now: another connection does that in its place (see mpt status)"
            );
        }
        let (address, local) = ends(&report.tunnel, &connection, address).with_context(|| {
            format!("{} has no tunnel address of the IP version that {wanted} has", report.tunnel.name)
        })?;
        Ok(Self {
            connection,
            address,
            local,
            device: report.tunnel.name,
            mtu: report.tunnel.mtu,
            control: None,
        })
    }

    /// Its path of this name, which is up.
    ///
    /// # Errors
    /// There is none, or it is down: that is said with its reason.
    pub(super) fn path(&self, name: &str) -> Result<&PathReport> {
        let name = name.strip_prefix(&format!("{}/", self.connection.name)).unwrap_or(name);
        let Some(path) = self.connection.paths.iter().find(|path| path.name == name) else {
            let names: Vec<&str> = self.connection.paths.iter().map(|path| path.name.as_str()).collect();
            bail!("{} has no path {name}; there are {}", self.connection.name, names.join(", "));
        };
        if path.state != State::Up {
            let reason = path.waits_for.clone().or_else(|| path.reason.clone()).unwrap_or_default();
            bail!("path {name} of {} is down: {reason}", self.connection.name);
        }
        Ok(path)
    }

    /// Whether a datagram with this payload leaves in one packet: pieces of one have no ports, and take any path.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn fits(&self, payload: usize) -> Result<()> {
        let headers = if self.address.is_ipv4() { 28 } else { 48 };
        let most = usize::from(self.mtu).saturating_sub(headers);
        if payload > most {
            bail!("{payload} bytes are cut, and the pieces take any path: over a path alone, {most} at most");
        }
        Ok(())
    }

    /// What mpt says of the connection now.
    ///
    /// # Errors
    /// The mpt, or the connection, is not there any more.
    pub(super) fn look(&self) -> Result<ConnectionReport> {
        let report = control::report(self.control.as_deref())?;
        let same = report.connections.into_iter().find(|connection| connection.name == self.connection.name);
        same.with_context(|| format!("{} is not there any more", self.connection.name))
    }

    /// Pins what is sent from these ports to the responder to a path of this name, and returns by which number the peer knows it.
    ///
    /// # Errors
    /// mpt says that it cannot be.
    pub(super) fn pin(&self, path: &str, ports: &[u16], time: Duration) -> Result<u8> {
        let path = format!("{}/{path}", self.connection.name);
        let flows = ports.iter().map(|port| (*port, PORT)).collect();
        let seconds = u16::try_from(time.as_secs()).unwrap_or(u16::MAX);
        control::ask(self.control.as_deref(), Command::Pin { path, flows, seconds })?.peer_number()
    }

    /// Ends that. It ends by itself, too.
    pub(super) fn unpin(&self, path: &str, ports: &[u16]) {
        let _ = self.pin(path, ports, Duration::ZERO);
    }

    /// A UDP socket that is connected to the responder.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn udp(&self) -> Result<UdpSocket> {
        let socket = self.bound(Type::DGRAM, Protocol::UDP)?;
        socket.connect(&SocketAddr::new(self.address, PORT).into()).with_context(|| self.unreachable())?;
        Ok(socket.into())
    }

    /// A socket for a TCP connection to the responder, and its port.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn tcp(&self) -> Result<(Socket, u16)> {
        let socket = self.bound(Type::STREAM, Protocol::TCP)?;
        let port = socket.local_addr()?.as_socket().map_or(0, |end| end.port());
        Ok((socket, port))
    }

    /// Connects it.
    ///
    /// # Errors
    /// There is no responder, or it does not answer in this time.
    pub(super) fn connect(&self, socket: Socket, patience: Duration) -> Result<TcpStream> {
        match socket.connect_timeout(&SocketAddr::new(self.address, PORT).into(), patience) {
            Ok(()) => Ok(socket.into()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn bound(&self, kind: Type, protocol: Protocol) -> Result<Socket> {
        bound(self.local, &self.device, kind, protocol)
    }

    fn unreachable(&self) -> String {
        format!("cannot reach {} through {}", self.address, self.device)
    }

    /// What an error of a socket to the responder means.
    pub(super) fn failed(&self, error: &io::Error) -> anyhow::Error {
        let name = &self.connection.name;
        match error.kind() {
            ErrorKind::ConnectionRefused => anyhow::anyhow!(
                "{name} has no responder: its mpt is older than this command, or its configuration says responder = false"
            ),
            ErrorKind::TimedOut | ErrorKind::WouldBlock => self.silent(),
            _ => anyhow::anyhow!("{}: {error}", self.unreachable()),
        }
    }

    /// Nothing came back.
    pub(super) fn silent(&self) -> anyhow::Error {
        let name = &self.connection.name;
        let up = self.connection.paths.iter().filter(|path| path.state == State::Up).count();
        if up == 0 {
            return anyhow::anyhow!(
                "nothing came back from {name}: none of its paths is up (see mpt status)"
            );
        }
        anyhow::anyhow!(
            "nothing came back from {name}, though paths are up: a firewall there may drop UDP and TCP port {PORT} on its tunnel \
             interface"
        )
    }
}

/// The tunnel addresses of a peer and of this host between which is asked: of one IP version, and that of the peer as `wanted`.
pub(super) fn ends(
    tunnel: &TunnelReport,
    connection: &ConnectionReport,
    wanted: Option<IpAddr>,
) -> Option<(IpAddr, IpAddr)> {
    let own: Vec<IpNet> = tunnel.addresses.iter().filter_map(|own| own.parse().ok()).collect();
    let mut addresses = connection.peer.iter().filter(|peer| wanted.is_none_or(|wanted| wanted == **peer));
    addresses.find_map(|peer| {
        let mut same: Vec<_> = own.iter().filter(|own| own.addr().is_ipv4() == peer.is_ipv4()).collect();
        // The one in whose network the peer is, if there are several.
        same.sort_by_key(|own| !own.contains(peer));
        Some((*peer, same.first()?.addr()))
    })
}

/// A socket with a tunnel address of this host.
///
/// # Errors
/// What the kernel says.
pub(super) fn bound(local: IpAddr, device: &str, kind: Type, protocol: Protocol) -> Result<Socket> {
    let end = SocketAddr::new(local, 0);
    let socket = Socket::new(Domain::for_address(end), kind, Some(protocol))?;
    // So that no route leads past the tunnel. Linux before 5.7 allows that to few; routes lead there mostly.
    let _ = socket.bind_device(Some(device.as_bytes()));
    socket.bind(&end.into()).with_context(|| format!("cannot use the tunnel address {local}"))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report() -> Report {
        let path = |name: &str, state: &str| {
            json!({
                "name": name, "local": "192.0.2.1:4754", "remote": null, "device": null, "state": state, "reason": "silent",
                "rtt_us": null, "weight": 1, "rank": 0, "max_datagram": 1472, "tx_datagrams": 0, "tx_bytes": 0,
                "rx_datagrams": 0, "rx_bytes": 0, "probes": 0, "echoes": 0, "downs": 0,
                "not_sent": {"full": 0, "too_big": 0, "link": 0, "refused": 0}
            })
        };
        let connection = |name: &str, peer: &[&str], used: Option<bool>| {
            json!({
                "name": name, "peer": peer, "used": used, "policy": "adaptive", "peer_is_mpt": true, "counters": {},
                "dropped": {}, "paths": [path("dsl", "up"), path("lte", "down")]
            })
        };
        serde_json::from_value(json!({
            "version": 1,
            "tunnel": {
                "name": "mpt0", "addresses": ["10.9.0.1/24", "10.0.0.1/24", "fd00::1/64"], "mtu": 1400, "uptime_ms": 1,
                "dropped": {}
            },
            "connections": [
                connection("vps", &["10.0.0.2", "fd00::2"], None),
                connection("second", &["10.0.0.3"], Some(false)),
                connection("far", &["172.16.0.1"], None),
            ]
        }))
        .unwrap()
    }

    fn ends(wanted: &str) -> (String, String) {
        let target = Target::of(report(), wanted).unwrap();
        (target.address.to_string(), target.local.to_string())
    }

    fn problem(wanted: &str) -> String {
        Target::of(report(), wanted).unwrap_err().to_string()
    }

    #[test]
    fn a_peer_is_found_by_its_name_or_its_tunnel_address() {
        assert_eq!(ends("vps"), ("10.0.0.2".into(), "10.0.0.1".into()));
        assert_eq!(ends("fd00::2"), ("fd00::2".into(), "fd00::1".into()));
        assert_eq!(ends("far"), ("172.16.0.1".into(), "10.9.0.1".into()), "in no network of ours");
        assert_eq!(
            problem("vsp"),
            "no connection has the name or tunnel address vsp; there are vps, second, far"
        );
        assert!(problem("second").contains("carries no packets now"));
    }

    #[test]
    fn a_path_that_is_not_there_or_not_up_is_an_error_that_says_so() {
        let target = Target::of(report(), "vps").unwrap();
        assert_eq!(target.path("dsl").unwrap().name, "dsl");
        assert_eq!(target.path("vps/dsl").unwrap().name, "dsl");
        let problem = |name| target.path(name).unwrap_err().to_string();
        assert_eq!(problem("eth9"), "vps has no path eth9; there are dsl, lte");
        assert_eq!(problem("lte"), "path lte of vps is down: silent");
    }

    #[test]
    fn what_is_cut_is_not_measured_over_a_path_alone() {
        for (peer, most) in [("10.0.0.2", 1372), ("fd00::2", 1352)] {
            let target = Target::of(report(), peer).unwrap();
            target.fits(most).unwrap();
            assert!(target.fits(most + 1).unwrap_err().to_string().contains(&format!("{most} at most")));
        }
    }
}
