//! `mpt run`: everything is checked before anything is changed; then the tunnel is built and driven until the
//! process is asked to end.

pub mod hosted;
mod memory;
mod plan;

use std::time::Duration;
#[cfg(feature = "program")]
use std::{os::unix::net::UnixStream, path::Path, sync::Arc};

#[cfg(feature = "program")]
use anyhow::Context;
use anyhow::Result;
use mpt_proto::Connection;
#[cfg(feature = "program")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::driver::{Peer, TunnelFacts};
use crate::failure::misconfigured;
use crate::mtu;
#[cfg(feature = "program")]
use crate::{
    control::{Server, default_socket},
    driver::{Driver, Outside, Parts, TunnelMtu},
    host_state::{Family, HostState, Keeper, MARK},
    link::{self, Ends, Interfaces, Setup},
    outbox, privilege,
    routes::Routes,
    socket::{Maker, ToDevice},
    tun::Tun,
    wake::Waker,
};
#[cfg(feature = "program")]
use memory::sealer_memory;
#[cfg(feature = "program")]
use plan::Plan;

#[cfg(feature = "program")]
/// Where the configuration is unless `-c` says otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/mpt/mpt.toml";

/// Between two looks whether a port or an interface of this name is free: another mpt that was just killed has not quite gone yet.
const LOOK: Duration = Duration::from_millis(50);

/// So many looks, a second, until it is refused.
const LOOKS: u32 = 20;

#[cfg(feature = "program")]
/// The number of the loopback interface, which leads to peers on the same machine.
const LOOPBACK: u32 = 1;

/// The interfaces as they are, or a little later if one has the name of the tunnel's, so that it may go.
#[cfg(feature = "program")]
fn interfaces_without(tunnel: &str) -> Result<Interfaces> {
    for _ in 0..LOOKS {
        let interfaces = Interfaces::now()?;
        if interfaces.named(tunnel).is_none() {
            return Ok(interfaces);
        }
        std::thread::sleep(LOOK);
    }
    Interfaces::now()
}

/// What differs between platforms when the configuration does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// Bytes of socket buffer asked for, each way, per local address.
    pub socket_buffer: usize,
    /// Bytes that a connection under the adaptive policy has for packets that it sends.
    pub adaptive_memory: usize,
}

impl Default for Defaults {
    /// A PC's: 40 ms of a path of 800 Mbit/s, so that a pause of our own loses nothing; and 1 Gbit/s for the 130 ms of
    /// a round trip of 50 ms, 20 ms until it is known what arrived, and 60 ms in the queue, half as much again.
    fn default() -> Self {
        Self { socket_buffer: 4 << 20, adaptive_memory: 24 << 20 }
    }
}

#[cfg(feature = "program")]
/// Runs `mpt run`.
///
/// # Errors
/// Before anything was changed: what is wrong with the configuration, the machine or the privileges. After
/// that: what the kernel refused; nothing is left behind.
pub fn run(config: &Path, control: Option<&Path>, defaults: &Defaults) -> Result<()> {
    let config = Config::load(config)?;
    if config.security.is_some() {
        // The keys are in no core dump, and no other process of this user reads them from memory.
        set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot forbid core dumps")?;
    }
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let control = control.map_or_else(|| default_socket(&config.tunnel.name), Path::to_path_buf);
    privilege::check(&control)?;
    let interfaces = interfaces_without(&config.tunnel.name)?;
    Server::check(&control)?;
    let plan = Plan::new(&config, &interfaces)?;
    let host_state = HostState::wanted(&config);
    host_state.check()?;
    let mark = host_state.is_gateway().then_some(MARK);
    let mut warnings = misrouted(&config, &interfaces, mark)?;
    if host_state.carries_all().contains(&Family::V4) {
        warnings.extend(strict_sources(&config, &interfaces));
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }

    let clock = Clock::start();
    let mut memories = plan.memories(&config, defaults.adaptive_memory);
    let peers = plan.peers(&config, &mut memories, &clock, config.tunnel.offload)?;
    let mut sealer_memory = sealer_memory(peers.len());
    let sealer = plan::sealer(&config, &mut sealer_memory, &clock)?;
    let tunnel = tunnel_facts(&config, &peers)?;
    let tie = Arc::new(ToDevice { mark });
    let maker = Maker { offload: config.tunnel.offload, tie, buffer: defaults.socket_buffer };
    let sockets = plan.bind(&maker)?;

    // From here on things are made; each goes away with the value that holds it.
    let server = Server::bind(&control)?;
    let tun = Tun::create(&tunnel.name, config.tunnel.offload)?;
    let setup = Setup {
        name: &tunnel.name,
        mtu: tunnel.mtu,
        queue: config.tunnel.queue,
        largest: outbox::largest_packet(tunnel.mtu, plan::sealing(&config).into()),
    };
    setup.apply()?;
    let bell = Waker::new()?;
    let (signal, signalled) = UnixStream::pair()?;
    // The last one comes when a terminal is closed: rules and a kill switch would stay behind.
    for number in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::low_level::pipe::register(number, signalled.try_clone()?).context("signal handler")?;
    }
    let awaited = peers.iter().flat_map(|peer| &peer.paths).map(|path| path.ends.clone()).collect();
    let driver = Driver::new(Parts {
        clock,
        tun,
        tunnel: tunnel.clone(),
        tunnel_mtu: tunnel_mtu(&config, &tunnel),
        outside: Outside::new(sockets, sealer),
        peers,
        routes: Routes::new(&config.tunnel.addresses, &config.connections),
        queries: server.serve(bell.clone())?,
        link_changes: link::watch(awaited, bell.clone())?,
        bell,
        signal,
        interfaces,
        maker,
    })?;
    // Rules outlive the process: nothing that could fail comes between them and the loop.
    let keeper = Keeper::start(host_state, config.tunnel.kill_switch)?;
    let count: usize = config.connections.iter().map(|connection| connection.paths.len()).sum();
    tracing::info!(
        "{} is up: MTU {}, connections: {}, paths: {count}, control socket: {}",
        tunnel.name,
        tunnel.mtu,
        config.connections.len(),
        control.display()
    );
    driver.run()?;
    keeper.end();
    tracing::info!("{} ends", tunnel.name);
    Ok(())
}

#[cfg(feature = "program")]
/// Paths that leave through another interface than the one with their address: by default, Linux sends by
/// destination alone, so two addresses do not make two links.
fn misrouted(config: &Config, interfaces: &Interfaces, mark: Option<u32>) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for path in config.connections.iter().flat_map(|connection| &connection.paths) {
        let known = path.device.is_none() && !path.remote.is_unspecified();
        let own = interfaces.with_address(path.local).filter(|_| known);
        let Some((own, used)) = own.zip(link::egress(path.local, path.remote, mark)?) else { continue };
        let used = interfaces.iter().find(|interface| interface.index == used && used != LOOPBACK);
        if let Some(used) = used.filter(|used| used.index != own.index) {
            warnings.push(format!(
                "path {}: datagrams from {} leave through {}, as the routes are, although {} has that address: give the \
                 path device = \"{}\"",
                path.name, path.local, used.name, own.name, own.name
            ));
        }
    }
    Ok(warnings)
}

/// Paths whose peer would not be heard while all IPv4 packets go through the tunnel. The kernel asks the rules, and without
/// the mark, which way an answer to a datagram would take; where it is strict, that must be the interface that the datagram
/// came from (`rp_filter` of ip-sysctl).
#[cfg(feature = "program")]
fn strict_sources(config: &Config, interfaces: &Interfaces) -> Vec<String> {
    let filter = |name: &str| {
        let value = std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"));
        value.ok().and_then(|value| value.trim().parse::<u8>().ok()).unwrap_or(0)
    };
    let mut warnings = Vec::new();
    for path in config.connections.iter().flat_map(|connection| &connection.paths) {
        let ends = Ends { local: path.local, remote: path.remote, device: path.device.clone() };
        let interface = ends.candidate(interfaces).filter(|_| path.local.is_ipv4());
        let Some(name) = interface.map(|interface| &interface.name) else { continue };
        if filter("all").max(filter(name)) == 1 {
            warnings.push(format!(
                "path {}: the kernel drops what arrives on {name}, as rp_filter = 1 there wants answers to leave through \
                 the same interface, and all other packets go through the tunnel. Run: sudo sysctl \
                 net.ipv4.conf.{name}.rp_filter=2",
                path.name
            ));
        }
    }
    warnings
}

/// The tunnel's MTU: as configured, or the largest that every path takes whole.
fn tunnel_facts(config: &Config, peers: &[Peer<'_>]) -> Result<TunnelFacts> {
    let narrowest = |extended: bool| {
        let fits = peers.iter().map(|peer| {
            let overhead = if extended { peer.overhead() } else { peer.header_len() };
            mtu::tunnel_mtu(peer.paths.iter().map(|path| path.max_datagram), overhead)
        });
        fits.min().unwrap_or(0)
    };
    let (fits, whole) = (narrowest(true), narrowest(false));
    let chosen = config.tunnel.mtu.unwrap_or(fits);
    if chosen > whole {
        tracing::warn!(
            "tunnel MTU {chosen}: packets of more than {whole} bytes are split unless a path takes them, which costs speed"
        );
    }
    if chosen > fits && fits < whole {
        tracing::warn!(
            "tunnel MTU {chosen}: packets of more than {fits} bytes have no room for what policy \"adaptive\" adds, and \
             are sent by weight unless a path takes them"
        );
    }
    let least = if has_ipv6(config) { mtu::IPV6_MIN_MTU } else { mtu::IPV4_MIN_MTU };
    if chosen < least {
        return Err(misconfigured(format!(
            "the tunnel MTU would be {chosen} bytes, less than the {least} that an interface with these addresses \
             and networks needs: raise the narrowest path's mtu, or set [tunnel] mtu = {least} and let packets be split"
        )));
    }
    Ok(TunnelFacts {
        name: config.tunnel.name.clone(),
        addresses: config.tunnel.addresses.clone(),
        mtu: chosen,
    })
}

/// Whether the tunnel interface has to carry IPv6: the kernel takes that away when the MTU is below 1280.
fn has_ipv6(config: &Config) -> bool {
    let networks = config.connections.iter().flat_map(|connection| &connection.networks);
    let mut prefixes = config.tunnel.addresses.iter().chain(networks.map(|network| &network.to));
    prefixes.any(|prefix| prefix.addr().is_ipv6())
}

/// What lets the tunnel's MTU follow what the paths carry, unless the configuration has it fixed.
#[cfg(feature = "program")]
fn tunnel_mtu(config: &Config, tunnel: &TunnelFacts) -> Option<TunnelMtu> {
    let least = if has_ipv6(config) { mtu::IPV6_MIN_MTU } else { mtu::IPV4_COMMON_MTU };
    config.tunnel.mtu.is_none().then(|| TunnelMtu::new(least, tunnel.mtu, link::set_mtu))
}

/// Adds a connection's paths to the core, in order.
fn add_paths(
    connection: &mut Connection<'_>,
    config: &config::Connection,
    max_datagrams: &[u16],
    clock: &Clock,
) -> Result<Vec<mpt_proto::PathId>> {
    let now = clock.now();
    config
        .paths
        .iter()
        .zip(max_datagrams)
        .map(|(path, &max_datagram)| {
            let settings = mpt_proto::PathConfig {
                weight: path.weight,
                rank: path.rank,
                tier: path.tier,
                max_datagram,
                liveness: path.liveness,
            };
            let id = connection.add_path(settings, now).map_err(|error| {
                misconfigured(format!("path {} of {}: {error:?}", path.name, config.name))
            })?;
            if !path.enabled {
                // A path that was added a line ago is known.
                let _ = connection.set_enabled(id, false, now);
            }
            Ok(id)
        })
        .collect()
}
