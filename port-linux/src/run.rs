//! `mpt run`: everything is checked before anything is changed; then the tunnel is built and driven until the
//! process is asked to end.

pub mod hosted;

#[cfg(feature = "program")]
use std::{
    cell::RefCell,
    io::{IsTerminal, Read},
    os::unix::net::UnixStream,
    path::Path,
    sync::{Arc, mpsc},
};

use anyhow::Result;
#[cfg(feature = "program")]
use anyhow::{Context, bail};
use mpt_proto::wire::extension;
use mpt_proto::wire::gre::Layout;
#[cfg(feature = "program")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
#[cfg(feature = "program")]
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
#[cfg(feature = "program")]
use typed_arena::Arena;

use crate::config::Config;
use crate::driver::{self, Peers, TunnelFacts};
use crate::failure::misconfigured;
use crate::mtu;
#[cfg(feature = "program")]
use crate::{
    clock::Clock,
    control::{self, Answer, Query, Server, default_socket},
    data::Store,
    driver::{Data, Driver, Names, Outside, Parts, Plan, Portals, Reload, Remembered, Resources, TunnelMtu},
    events::Journal,
    history::{self, History},
    hooks::{Hooks, Wanted},
    host_state::{Family, HostState, Keeper, MARK},
    link::{self, Ends, Interfaces, Setup, WantedWays},
    measure::responder,
    memory::{self, Memories, Memory},
    metrics::Exporter,
    names::{Past, Resolver},
    observer::Observer,
    outbox,
    portal::Checker,
    privilege,
    recorder::Recordings,
    routes::Routes,
    socket::{Maker, ToDevice},
    state_directory,
    state_file::{StateFile, Writer},
    tun::Tun,
    wake::Waker,
};

#[cfg(feature = "program")]
/// Where the configuration is unless `-c` says otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/mpt/mpt.toml";

#[cfg(feature = "program")]
/// Looks at a port or an interface's name that is taken until it is refused, which take a second.
const LOOKS: u32 = 20;

#[cfg(feature = "program")]
/// The number of the loopback interface, which leads to peers on the same machine.
const LOOPBACK: u32 = 1;

/// Connections that have room, at least, beside those of the configuration, where `[listen]` lets peers come.
#[cfg(feature = "program")]
const ROOM_FOR_PEERS: usize = 1024;
/// Connections that have room, at least, beside those of the configuration, where there is no `[listen]`.
#[cfg(feature = "program")]
const ROOM_FOR_CONNECTIONS: usize = 16;

/// The interfaces as they are, or a little later if one has the name of the tunnel's, so that it may go.
#[cfg(feature = "program")]
fn interfaces_without(tunnel: &str) -> Result<Interfaces> {
    for _ in 0..LOOKS {
        let interfaces = Interfaces::now()?;
        if interfaces.named(tunnel).is_none() {
            return Ok(interfaces);
        }
        std::thread::sleep(driver::LOOK);
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
pub fn run(config_file: &Path, control: Option<&Path>, defaults: &Defaults) -> Result<()> {
    let mut config = Config::load(config_file)?;
    if config.security.is_some() {
        // The keys are in no core dump, and no other process of this user reads them from memory.
        set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot forbid core dumps")?;
    }
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    for error in config.peer_errors() {
        tracing::error!("this peer is left out: {error}");
    }
    let control = control.map_or_else(|| default_socket(&config.tunnel.name), Path::to_path_buf);
    privilege::check(&control)?;
    let mut interfaces = interfaces_without(&config.tunnel.name)?;
    let ways = WantedWays::default();
    ways.set(config.wanted_ways());
    config = config.with_paths_now(&mut interfaces)?;
    Server::check(&control)?;
    let metrics = config.metrics.clone();
    metrics.iter().try_for_each(|metrics| Exporter::check(metrics, &control))?;
    if interfaces.named(&config.tunnel.name).is_some() {
        bail!(
            "the interface {} exists already: another mpt may be running (see `mpt status`); stop it, or choose another \
             name in [tunnel]",
            config.tunnel.name
        );
    }
    let plan = Plan::new(&config, &interfaces)?;
    let host_state = HostState::wanted(&config);
    host_state.check()?;
    let mark = host_state.needs_mark().then_some(MARK);
    let mut warnings = misrouted(&config, &interfaces, mark)?;
    warnings.extend(host_state.warnings());
    warnings.extend(routeless(&config, &interfaces)?);
    warnings.extend(strict_sources(&config, &interfaces, host_state.carries_all().contains(&Family::V4)));
    for warning in warnings {
        tracing::warn!("{warning}");
    }

    let clock = Clock::start();
    let room = room(&config);
    let (arena, mut sealer_memory) = (Arena::new(), memory::sealer_memory(room));
    let keeper = RefCell::new(None::<Keeper>);
    let mut outside = Outside::new(driver::sealer(&config, &mut sealer_memory, &clock));
    let mut resources = Resources {
        clock,
        memories: memories(&arena, defaults, &config),
        joins: config.tunnel.offload,
        sealing: driver::sealing(&config),
        recordings: Some(Recordings::new(&config.tunnel.name)),
    };
    let awaited = plan.ends();
    let peers = resources.connect_all(&config, plan, &mut outside)?;
    outside.share(config.listen.as_ref());
    let tunnel = tunnel_facts(&config, &peers)?;
    let tie = Arc::new(ToDevice { mark });
    let maker = Maker { offload: config.tunnel.offload, tie, buffer: defaults.socket_buffer };
    driver::bind(&mut outside.sockets, &maker, LOOKS)?;

    // From here on things are made; each goes away with the value that holds it.
    let server = Server::bind(&control)?;
    let exporter = metrics.map(|metrics| Exporter::bind(&metrics, &control)).transpose()?;
    let tun = Tun::create(&tunnel.name, config.tunnel.offload)?;
    let setup = Setup {
        name: &tunnel.name,
        mtu: tunnel.mtu,
        queue: config.tunnel.queue,
        largest: outbox::largest_packet(tunnel.mtu, driver::sealing(&config).into()),
    };
    setup.apply()?;
    let bell = Waker::new()?;
    let (asking, queries) = mpsc::channel();
    server.serve(config_file.to_path_buf(), asking.clone(), bell.clone())?;
    let known = responder::Known::of(&config);
    responder::start(&config, &known, &asking, &bell);
    let hooks = Wanted::new(&config.hooks);
    let mut observer = Observer::new();
    observer.add(Hooks::new(hooks.clone(), clock, &tunnel.name));
    if let Some(history) = open_history(&config) {
        observer.add(history);
    }
    let (events, observing) = observer.start(clock, asking.clone(), bell.clone())?;
    exporter.iter().try_for_each(|exporter| exporter.serve(&asking, &bell))?;
    let (signal, signalled) = UnixStream::pair()?;
    let mut ends = vec![SIGINT, SIGTERM];
    if std::io::stdin().is_terminal() {
        // It comes when the terminal is closed: rules and a kill switch would stay behind.
        ends.push(SIGHUP);
    } else {
        reload_on_hangup(config_file, asking, bell.clone())?;
    }
    for number in ends {
        signal_hook::low_level::pipe::register(number, signalled.try_clone()?).context("signal handler")?;
    }
    let writer = Writer::start().context("cannot start a thread")?;
    let places = StateFile::new(control::places(&control), writer.clone());
    let remembered = config.listen.is_some().then(|| Remembered::new(places));
    // While the host's resolver is as it was.
    let past = (mark.is_some() || !config.tunnel.dns.is_empty())
        .then(|| Past::new(maker.tie.clone(), config.tunnel.dns.clone()));
    let resolver = Resolver::new(bell.clone()).and_past(past);
    let names = Names::with_file(resolver, StateFile::new(control::names(&control), writer.clone()));
    let used = state_directory::path().join(format!("{}.data", tunnel.name));
    let checker = Checker::new(maker.tie.clone(), bell.clone());
    let portals = Portals::new(Box::new(checker), config.portal.clone());
    let connections = peers.iter().map(|peer| (peer.handle, &peer.config));
    let routes = Routes::new(&config.tunnel.addresses, &config.tunnel.share, connections);
    let mut driver = Driver::new(Parts {
        tun,
        tunnel: tunnel.clone(),
        tunnel_mtu: tunnel_mtu(&config, &tunnel),
        outside,
        peers,
        resources,
        routes,
        queries,
        link_changes: link::watch(awaited, ways.clone(), bell.clone())?,
        bell,
        signal,
        interfaces,
        maker,
        reload: Some(Reload {
            config: config.clone(),
            room,
            ways,
            host: Box::new(|config| {
                let state = HostState::wanted(config);
                if state.needs_mark() != mark.is_some() {
                    bail!(
                        "the first default route through the tunnel, or gateway of a path, cannot come or go while mpt runs: restart it"
                    );
                }
                keeper.borrow_mut().as_mut().map_or(Ok(()), |keeper| keeper.replace(state))?;
                hooks.set(&config.hooks);
                known.replace(config);
                Ok(())
            }),
        }),
        remembered,
        names,
        journal: Journal::new(Some(events)),
        portals,
        data: Data::new(Store::new(used, writer)),
    })?;
    driver.recall();
    // Rules outlive the process: nothing that could fail comes between them and the loop.
    keeper.replace(Some(Keeper::start(host_state)?));
    // Of peers that come by themselves it is not known yet how many they have.
    let fixed = config.connections.iter().filter(|connection| !connection.is_learned);
    let count: usize = fixed.map(|connection| connection.paths.len()).sum();
    tracing::info!(
        "{} is up: MTU {}, connections: {}, paths: {count}, control socket: {}",
        tunnel.name,
        tunnel.mtu,
        config.connections.len(),
        control.display()
    );
    let outcome = driver.run();
    observing.end();
    outcome?;
    keeper.take().into_iter().for_each(Keeper::end);
    tracing::info!("{} ends", tunnel.name);
    Ok(())
}

/// The file of what the paths do, where one is wanted and can be had. The tunnel does not depend on it.
#[cfg(feature = "program")]
fn open_history(config: &Config) -> Option<History> {
    let file = history::file_of(&config.tunnel.name);
    if !config.tunnel.history || config.connections.len() > history::MOST {
        return None;
    }
    match History::open(&file) {
        Ok(history) => Some(history),
        Err(error) => {
            tracing::debug!("there will be no history: {error:#}");
            None
        }
    }
}

/// The memory of connections: peers that come by themselves, as many as there are now, may have half of this machine's together.
#[cfg(feature = "program")]
fn memories<'s>(arena: &'s Arena<Memory>, defaults: &Defaults, config: &Config) -> Memories<'s> {
    let machine = rustix::system::sysinfo();
    let bytes = machine.totalram.saturating_mul(machine.mem_unit.into());
    let learned = config.connections.iter().filter(|connection| connection.is_learned).count();
    Memories::new(arena, defaults.adaptive_memory, config.tunnel.mtu)
        .shared(usize::try_from(bytes / 2).unwrap_or(usize::MAX), learned)
}

/// Connections that there is to be room for: those that a configuration has, and some that come when it is read again.
#[cfg(feature = "program")]
fn room(config: &Config) -> usize {
    let more = if config.listen.is_some() { ROOM_FOR_PEERS } else { ROOM_FOR_CONNECTIONS };
    (config.connections.len() + more).next_multiple_of(more)
}

/// Lets the configuration be read again at SIGHUP, by a thread that waits for it.
#[cfg(feature = "program")]
fn reload_on_hangup(config: &Path, queries: mpsc::Sender<Query>, bell: Waker) -> Result<()> {
    let (mut hangups, signalled) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGHUP, signalled).context("signal handler")?;
    let config = config.to_path_buf();
    let work = move || {
        while hangups.read_exact(&mut [0]).is_ok() {
            if let Answer::Error { error, .. } = control::reload(&config, &queries, &bell) {
                tracing::error!("SIGHUP: {error}");
            }
        }
    };
    std::thread::Builder::new().name("reload".into()).spawn(work).context("cannot start a thread")?;
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

/// Paths whose device is there, and has no route to the peer: the kernel looks for the peer on the link then, where it is not.
#[cfg(feature = "program")]
fn routeless(config: &Config, interfaces: &Interfaces) -> Result<Vec<String>> {
    let (mut warnings, leases) = (Vec::new(), link::Leases::default());
    let paths = config.connections.iter().flat_map(|connection| &connection.paths);
    for path in paths.filter(|path| path.gateway.is_none() && !path.remote.is_unspecified()) {
        let ends = Ends { local: path.local, remote: path.remote, device: path.device.clone() };
        let Some(name) = &path.device else { continue };
        let Ok(interface) = ends.interface(interfaces) else { continue };
        if interface.has_neighbours && !link::reaches(interface.index, path.remote)? {
            let router = leases.router(interface).filter(|_| path.remote.is_ipv4());
            let remedy = router.map_or_else(
                || "gateway = \"..\", the router on that link".to_owned(),
                |router| format!("gateway = \"{router}\", which DHCP named there"),
            );
            warnings.push(format!(
                "path {}: there is no route to {} through {name} now. If none is to come, as where only the first of two \
                 links gave this host a default route, give the path {remedy}",
                path.name, path.remote
            ));
        }
    }
    Ok(warnings)
}

/// Paths whose peer would not be heard while all IPv4 packets go through the tunnel (`all_inside`), or as their router is not
/// one of the host's. The kernel asks the rules, and without the mark, which way an answer to a datagram would take; where it
/// is strict, that must be the interface that the datagram came from (`rp_filter` of ip-sysctl).
#[cfg(feature = "program")]
fn strict_sources(config: &Config, interfaces: &Interfaces, all_inside: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    let paths = config.connections.iter().flat_map(|connection| &connection.paths);
    for path in paths.filter(|path| all_inside || path.gateway.is_some()) {
        let ends = Ends { local: path.local, remote: path.remote, device: path.device.clone() };
        let interface = ends.candidate(interfaces).filter(|_| path.local.is_ipv4());
        let Some(name) = interface.map(|interface| &interface.name) else { continue };
        if link::is_strict(name) {
            warnings.push(format!(
                "path {}: the kernel drops what arrives on {name}, as rp_filter = 1 there wants answers to leave through \
                 the same interface, and others would leave through another one. Run: sudo sysctl \
                 net.ipv4.conf.{name}.rp_filter=2",
                path.name
            ));
        }
    }
    warnings
}

/// The tunnel's MTU: as configured, or the largest that every path takes whole.
fn tunnel_facts(config: &Config, peers: &Peers<'_>) -> Result<TunnelFacts> {
    let narrowest = |extended: bool| {
        let fits = peers.iter().map(|peer| {
            let overhead = if extended { peer.overhead() } else { peer.header_len() };
            // Those that come by themselves are narrower perhaps, which is seen then.
            let to_come = peer
                .config
                .auto
                .is_some()
                .then(|| mtu::max_datagram(driver::ABSENT_MTU, crate::link::unspecified(true)));
            let paths = peer.paths.iter().map(|path| path.max_datagram).filter(|_| to_come.is_none());
            mtu::tunnel_mtu(paths.chain(to_come), overhead)
        });
        fits.chain(of_learned(config, extended)).min().unwrap_or(0)
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

/// The largest packet that leaves whole to a peer of `[listen]`, over Ethernet.
fn of_learned(config: &Config, extended: bool) -> Option<u16> {
    let header = Layout { checksum: false, key: None, sequence: true }.header_len();
    let extension = if extended { extension::LEN } else { 0 };
    let sizes = config.listen.iter().flat_map(|listen| &listen.local);
    let sizes = sizes.map(|local| mtu::max_datagram(driver::ABSENT_MTU, *local));
    config
        .listen
        .is_some()
        .then(|| mtu::tunnel_mtu(sizes, header + extension + usize::from(driver::sealing(config))))
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
