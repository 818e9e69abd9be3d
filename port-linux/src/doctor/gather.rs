//! Gathers the facts: from the configuration, the kernel and the running tunnel. What cannot be had is left out, and said so.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::facts::{Facts, LinkFacts, PathFacts, RouteFacts, Wanted};
use crate::config::{Config, Mistakes};
use crate::control::{self, default_socket, first_line};
use crate::host_state::{Family, HostState, MARK};
use crate::link::{self, Ends, Interfaces};
use crate::measure::PORT;
use crate::measure::versions::{self, Said};
use crate::output;
use crate::report::Report;
use crate::socket::{Maker, Socket};

/// Where configurations are, one for each tunnel.
const CONFIGURATIONS: &str = "/etc/mpt";

/// Most peers that are named in one sentence.
const NAMED: usize = 5;

/// The facts, and why some could not be had.
pub(super) fn gather(file: Option<&Path>, socket: Option<&Path>) -> (Facts, Vec<String>) {
    let mut facts = Facts { program: env!("CARGO_PKG_VERSION").to_owned(), ..Facts::default() };
    let mut left_out = Vec::new();
    let mut config = file.map(|file| load(file, &mut facts)).unwrap_or_default();
    let of_config = config.as_ref().map(|config| default_socket(&config.tunnel.name));
    match control::report(socket.or(of_config.as_deref())) {
        Ok(report) => facts.report = Some(report),
        Err(error) => left_out.push(format!("the running tunnel: {}", first_line(&error))),
    }
    if file.is_none() {
        match find(facts.report.as_ref().map(|report| report.tunnel.name.as_str())) {
            Some(file) => config = load(&file, &mut facts),
            None => left_out
                .push(format!("the configuration: say which one of {CONFIGURATIONS} with --config FILE")),
        }
    }
    if let Some(report) = &facts.report {
        facts.peers = versions::ask(report);
        left_out.extend(silent(&facts.peers));
    }
    if let Err(error) = look_at_host(&mut facts, config.as_ref()) {
        left_out.push(format!("this host's interfaces and routes: {error:#}"));
    }
    (facts, left_out)
}

/// Which peers do not say their version, if there are some.
fn silent(peers: &[(String, Said)]) -> Option<String> {
    let silent = peers.iter().filter(|(_, said)| *said == Said::Nothing);
    let names: Vec<&str> = silent.map(|(name, _)| name.as_str()).collect();
    let more = names.len().saturating_sub(NAMED);
    let others = if more > 0 { format!(" and {more} others") } else { String::new() };
    (!names.is_empty()).then(|| {
        format!(
            "the version of {}{others}: no answer from UDP port {PORT} there (`mpt ping` says why)",
            output::list(&names[..names.len().min(NAMED)])
        )
    })
}

/// The facts about this host that a configuration concerns.
///
/// # Errors
/// When netlink cannot be used at all.
pub(super) fn of_host(config: &Config) -> anyhow::Result<Facts> {
    let mut facts = Facts::default();
    note_wanted(config, &mut facts);
    look_at_host(&mut facts, Some(config))?;
    Ok(facts)
}

/// The configuration of the running tunnel, or the only one that there is.
fn find(tunnel: Option<&str>) -> Option<PathBuf> {
    let entries = fs::read_dir(CONFIGURATIONS).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    match (tunnel, &files[..]) {
        (None, [file]) => Some(file.clone()),
        (None, _) => None,
        (Some(tunnel), _) => {
            files.into_iter().find(|file| Config::load(file).is_ok_and(|it| it.tunnel.name == tunnel))
        }
    }
}

/// Reads a configuration, and notes what is wrong with it.
fn load(file: &Path, facts: &mut Facts) -> Option<Config> {
    let text = match Config::text(file) {
        Ok(text) => text,
        Err(error) => {
            facts.errors.push(error.to_string());
            return None;
        }
    };
    let Mistakes { config, errors, .. } = Mistakes::find(&text, &file.display().to_string(), false);
    facts.errors.extend(errors.iter().map(ToString::to_string));
    let config = config?;
    facts.errors.extend(config.peer_errors().iter().map(ToString::to_string));
    facts.warnings.extend(config.warnings().iter().cloned().chain(HostState::wanted(&config).warnings()));
    note_wanted(&config, facts);
    Some(config)
}

fn note_wanted(config: &Config, facts: &mut Facts) {
    let all = HostState::wanted(config).carries_all();
    facts.wanted = Some(Wanted {
        queue: config.tunnel.queue,
        offload: config.tunnel.offload,
        all_v4: all.contains(&Family::V4),
        all_v6: all.contains(&Family::V6),
    });
}

fn look_at_host(facts: &mut Facts, config: Option<&Config>) -> anyhow::Result<()> {
    let mut interfaces = Interfaces::now()?;
    let mut with_paths = None;
    if let Some(config) = config {
        with_paths = Some(config.with_paths_now(&mut interfaces)?);
        facts.tunnel.clone_from(&config.tunnel.name);
        facts.tunnel_networks.clone_from(&config.tunnel.addresses);
    } else if let Some(report) = &facts.report {
        facts.tunnel.clone_from(&report.tunnel.name);
        facts.tunnel_networks = report.tunnel.addresses.iter().filter_map(|text| text.parse().ok()).collect();
    }
    facts.links = links(&interfaces)?;
    let name = |index: u32| interfaces.iter().find(|it| it.index == index).map(|it| it.name.clone());
    let routes = link::near_and_wide_routes()?.into_iter();
    facts.routes = routes
        .filter_map(|it| Some(RouteFacts { to: it.to, interface: name(it.interface)?, is_main: it.is_main }))
        .collect();
    let runs = facts.report.is_some() || interfaces.named(&facts.tunnel).is_some();
    if let Some(config) = with_paths.as_ref().filter(|_| !runs) {
        facts.taken_ports = taken_ports(config, &interfaces);
    }
    facts.buffer_limits = sysctl("net/core/rmem_max").zip(sysctl("net/core/wmem_max"));
    let mark =
        with_paths.as_ref().is_some_and(|config| HostState::wanted(config).needs_mark()).then_some(MARK);
    facts.paths = ends(with_paths.as_ref(), facts.report.as_ref())
        .into_iter()
        .map(|ends| path(ends, &interfaces, mark))
        .collect::<anyhow::Result<_>>()?;
    Ok(())
}

/// Addresses and ports of this host that another program has.
fn taken_ports(config: &Config, interfaces: &Interfaces) -> Vec<(String, SocketAddr)> {
    let of_listen = config.listen.iter().flat_map(|listen| {
        listen.local.iter().map(|local| ("[listen]".to_owned(), SocketAddr::new(*local, listen.port), None))
    });
    let connections = config.connections.iter().filter(|connection| !connection.is_learned);
    let of_paths = connections.flat_map(|connection| {
        connection.paths.iter().map(|path| {
            let name = format!("path {}/{}", connection.name, path.name);
            (name, SocketAddr::new(path.local, path.port), path.device.as_deref())
        })
    });
    let is_taken = |(_, address, device): &(String, SocketAddr, Option<&str>)| {
        let maker = Maker::new(1 << 16);
        let is_here = device.is_none_or(|device| interfaces.named(device).is_some());
        let error = Socket::bind(*address, *device, &maker).err().filter(|_| is_here);
        error.is_some_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    };
    let mut taken: Vec<_> = of_listen.chain(of_paths).filter(is_taken).collect();
    taken.dedup_by_key(|(_, address, device)| (*address, *device));
    taken.into_iter().map(|(of, address, _)| (of, address)).collect()
}

fn links(interfaces: &Interfaces) -> anyhow::Result<Vec<LinkFacts>> {
    let queues = link::queues()?;
    let links = interfaces.iter().map(|interface| {
        let queue =
            queues.iter().find(|queue| queue.interface == interface.index).cloned().unwrap_or_default();
        let arp_ignore = ["all", &interface.name]
            .into_iter()
            .filter_map(|name| sysctl(&format!("net/ipv4/conf/{name}/arp_ignore")));
        LinkFacts {
            name: interface.name.clone(),
            kind: interface.kind.clone(),
            queue: queue.len,
            sent: queue.sent,
            dropped: queue.dropped,
            discipline: queue.discipline,
            is_strict: link::is_strict(&interface.name),
            answers_for_others: interface.has_neighbours && arp_ignore.max() == Some(0),
        }
    });
    Ok(links.collect())
}

fn sysctl(name: &str) -> Option<u64> {
    fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?.trim().parse().ok()
}

/// The ends of a path whose peer has an address, as they are known.
struct Known {
    connection: String,
    name: String,
    local: IpAddr,
    remote: IpAddr,
    device: Option<String>,
    has_gateway: bool,
}

/// Of the running tunnel, where peers may have moved and paths have come; otherwise of the configuration.
fn ends(config: Option<&Config>, report: Option<&Report>) -> Vec<Known> {
    let of_config = config.into_iter().flat_map(|config| &config.connections).filter(|it| !it.is_learned);
    let configured: Vec<Known> = of_config
        .flat_map(|connection| connection.paths.iter().map(move |path| (connection, path)))
        .map(|(connection, path)| Known {
            connection: connection.name.clone(),
            name: path.name.clone(),
            local: path.local,
            remote: path.remote,
            device: path.device.clone(),
            has_gateway: path.gateway.is_some(),
        })
        .collect();
    let Some(report) = report else {
        return configured.into_iter().filter(|path| !path.remote.is_unspecified()).collect();
    };
    let running = report
        .connections
        .iter()
        .flat_map(|connection| connection.paths.iter().map(move |path| (connection, path)));
    let running = running.filter_map(|(connection, path)| {
        let of_config = configured.iter().find(|it| it.connection == connection.name && it.name == path.name);
        Some(Known {
            connection: connection.name.clone(),
            name: path.name.clone(),
            local: of_config.map_or(path.local.ip(), |it| it.local),
            remote: path.remote?.ip(),
            device: path.device.clone(),
            has_gateway: of_config.is_some_and(|it| it.has_gateway),
        })
    });
    running.collect()
}

/// A path as the host's routes have it.
fn path(ends: Known, interfaces: &Interfaces, mark: Option<u32>) -> anyhow::Result<PathFacts> {
    let Known { connection, name, local, remote, device, has_gateway } = ends;
    let own = match &device {
        Some(device) => interfaces.named(device),
        None => interfaces.with_address(local),
    };
    let named =
        |index: Option<u32>| interfaces.iter().find(|it| Some(it.index) == index).map(|it| it.name.clone());
    let leaves_by = named(link::egress(local, remote, mark)?);
    let answers_by = named(link::egress(local, remote, None)?);
    let is_routed = match (&device, own) {
        // That an interface is missing is told where paths wait.
        (Some(_), None) => true,
        (Some(_), Some(own)) => !own.running || !own.has_neighbours || link::reaches(own.index, remote)?,
        (None, _) => leaves_by.is_some(),
    };
    let ends = Ends { local, remote, device };
    let missing = ends.interface(interfaces).err().map(|missing| missing.to_string());
    let device = ends.device;
    let own = own.map(|own| own.name.clone());
    Ok(PathFacts {
        missing,
        connection,
        name,
        local,
        remote,
        device,
        has_gateway,
        own,
        leaves_by,
        answers_by,
        is_routed,
    })
}
