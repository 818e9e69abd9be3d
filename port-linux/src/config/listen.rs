//! `[listen]`, and the directory with a file for each peer that comes by itself.

use std::fmt::Display;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use mpt_proto::{ClassRules, Liveness, PathConfig};
use toml::Spanned;

use super::check::Check;
use super::error::{ConfigError, Source};
use super::file;
use super::forward::Owner;
use super::security::{Choice, GivenKeys};
use super::seen::earlier;
use super::value::{FromText, Name, Table};
use super::{Adaptive, Connection, Endpoint, Network, PORT, Tier};
use crate::link::unspecified;

/// Paths that such a peer may have.
pub(super) const LEARNED_PATHS: usize = 8;

/// How the name of a peer's file ends.
pub(crate) const PEER_FILE: &str = "toml";

/// `[listen]`: peers find us, from wherever they are, and are known by their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// `local`: our addresses, or the unspecified ones (`0.0.0.0`, `::`) for all of an IP version; both by default.
    pub local: Vec<IpAddr>,
    /// `port`: our UDP port there, 4754 by default.
    pub port: u16,
    /// `endpoints`: our addresses or names as peers see them, for the line that `mpt peer add` prints.
    pub endpoints: Vec<Endpoint>,
    /// `peers`: the directory with a file for each of them.
    pub peers: PathBuf,
    /// `memory_mb`: memory of each for packets that are to be sent, here in bytes; the platform's by default.
    pub memory: Option<usize>,
    /// `uplink`: bits a second that this host's access carries to peers; shared among them if it is known.
    pub uplink: Option<u64>,
    /// `downlink`: the same from peers.
    pub downlink: Option<u64>,
}

/// Why a peer's file is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerError {
    /// The name of the file without its ending: that of the peer.
    pub name: String,
    /// What is wrong with the file.
    pub error: ConfigError,
}

impl std::fmt::Display for PeerError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(out)
    }
}

/// Reads the table.
pub(super) fn listen(
    table: Spanned<Table<file::Listen>>,
    choice: &Choice,
    source: &Source<'_>,
) -> Result<Listen, ConfigError> {
    let at = table.span();
    let table = table.into_inner().0;
    if !choice.is_sealed() {
        let problem =
            "peers that come by themselves are known by their keys alone, and there is no [security]";
        let allowed = "[security] with private_key_file = \"..\", made by `mpt genkey`";
        return Err(source.error(&at, problem, allowed));
    }
    let mut local = Vec::new();
    if let Some(list) = table.local {
        if list.get_ref().is_empty() {
            return Err(source.error(
                &list.span(),
                "no address",
                "[\"0.0.0.0\", \"::\"], or addresses of this host",
            ));
        }
        for address in list.into_inner() {
            let (at, address) = (address.span(), address.into_inner().0.0);
            if local.iter().any(|other| meet(*other, address)) {
                let problem = "another address of the list is the same, or stands for all";
                return Err(source.error(&at, problem, "each address once"));
            }
            local.push(address);
        }
    } else {
        local = vec![unspecified(true), unspecified(false)];
    }
    Ok(Listen {
        local,
        port: table.port.map_or(PORT, |port| port.into_inner().0),
        endpoints: table.endpoints.into_iter().map(|address| address.0.0).collect(),
        peers: source.beside(&table.peers.into_inner().0.0),
        memory: table.memory_mb.map(|mb| mb.0 << 20),
        uplink: table.uplink.map(|rate| rate.0.0),
        downlink: table.downlink.map(|rate| rate.0.0),
    })
}

/// Whether two local addresses exclude each other: they are the same, or one of them stands for all.
fn meet(one: IpAddr, other: IpAddr) -> bool {
    one == other || one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified())
}

/// Whether the sockets of `[listen]` and those of the connections can be there at the same time.
pub(super) fn apart(
    listen: &Listen,
    connections: &[Connection],
    source: &Source<'_>,
) -> Result<(), ConfigError> {
    let mut paths = connections.iter().flat_map(|it| it.paths.iter().map(move |path| (it, path)));
    paths.try_for_each(|(connection, path)| apart_from(listen, &connection.name, path, source))
}

/// The same for a path of the connection of this name.
pub(super) fn apart_from(
    listen: &Listen,
    connection: &str,
    path: &super::Path,
    source: &Source<'_>,
) -> Result<(), ConfigError> {
    if path.port != listen.port || !listen.local.iter().any(|local| meet(*local, path.local)) {
        return Ok(());
    }
    let problem = format!(
        "[listen] and path {} of connection {connection} have the same address and port {}",
        path.name, listen.port
    );
    Err(source.error_in_file(&problem, "another `port` in one of them"))
}

/// The peers of the directory, in the order of their names, and what is wrong with the files that are left out.
///
/// # Errors
/// The directory cannot be read.
pub(super) fn peers(
    listen: &Listen,
    check: &mut Check<'_>,
) -> Result<(Vec<Connection>, Vec<PeerError>), ConfigError> {
    if check.is_elsewhere() {
        return Ok((Vec::new(), Vec::new()));
    }
    let directory = listen.peers.display().to_string();
    let unreadable = |error: &std::io::Error| ConfigError::unreadable(&directory, error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&listen.peers).map_err(|error| unreadable(&error))? {
        let path = entry.map_err(|error| unreadable(&error))?.path();
        // As editors and package managers leave behind, among others.
        let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.extension().is_some_and(|extension| extension == PEER_FILE) {
            files.push(path);
        }
    }
    files.sort();
    let (mut peers, mut errors) = (Vec::new(), Vec::new());
    for path in files {
        match peer(listen, &path, check) {
            Ok(peer) => peers.push(peer),
            Err(error) => {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                errors.push(PeerError { name, error });
            }
        }
    }
    Ok((peers, errors))
}

fn peer(listen: &Listen, path: &Path, check: &mut Check<'_>) -> Result<Connection, ConfigError> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| ConfigError::unreadable(&file, &error))?;
    let text = String::from_utf8(bytes).map_err(|error| ConfigError::not_text(&file, &error))?;
    let source = Source::new(&text, &file)?;
    let table: file::Peer = toml::from_str(&text).map_err(|error| source.refused(&error))?;
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let name = Name::from_text(stem)
        .map_err(|problem| source.error_in_file(&format!("as the name of a peer: {problem}"), Name::ALLOWED))?
        .0;
    let Choice::Sealed(security) = check.choice else {
        return Err(source.error_in_file("there is no [security]", "keys for this end"));
    };
    let place = format!("{file} line {}", source.line(&table.public_key.span()));
    if check.seen.connections.contains_key(&name) {
        return Err(source.error_in_file("another connection has this name", "a name that no other has"));
    }
    let (peer, networks) = allowed(&table.allowed_ips, (&source, &file), check)?;
    let preshared = table.preshared_key_file.as_ref();
    let given = GivenKeys { public: &table.public_key, preshared, place: place.clone() };
    let owner = Owner { addresses: &peer, networks: &networks };
    let forwards = check.forwards.read(table.forward, Some(&owner), check.tunnel, &source)?;
    let keys = given.check(security, &mut check.seen.keys, &source)?;
    // Nothing can be wrong any more: other files may not have what this one has.
    check.warnings.extend(forwards.warnings.iter().cloned());
    check.forwards.add(forwards);
    check.seen.connections.insert(name.clone(), place.clone());
    check.seen.peers.extend(peer.iter().map(|peer| (*peer, place.clone())));
    check.seen.networks.extend(networks.iter().map(|network| (*network, place.clone())));
    let limit = table.limit.map(|limit| limit.0.0);
    Ok(Connection { limit, ..connection(listen, name, keys, peer, networks) })
}

/// What may come from the peer and go to it: its tunnel addresses, and networks behind it.
fn allowed(
    list: &Spanned<Vec<Spanned<super::value::Text<super::value::AllowedIp>>>>,
    (source, file): (&Source<'_>, &str),
    check: &Check<'_>,
) -> Result<(Vec<IpAddr>, Vec<Network>), ConfigError> {
    let own = &check.tunnel.addresses;
    let (mut peer, mut networks) = (Vec::new(), Vec::new());
    let mut seen = std::collections::HashMap::new();
    for entry in list.get_ref() {
        let (at, network) = (entry.span(), entry.get_ref().0.0);
        let place = format!("{file} line {}", source.line(&at));
        let taken = |place: &dyn Display| {
            let problem = format_args!("stands in {place} already, so packets to it would have two ways");
            source.error(&at, problem, "an address or network that no other peer has")
        };
        if let Some(place) = earlier(&mut seen, network, place) {
            return Err(taken(&place));
        }
        let address = network.addr();
        let is_host = network.prefix_len() == network.max_prefix_len();
        if own.iter().any(|own| own.addr() == address) && is_host {
            return Err(source.error(&at, "this is our own tunnel address", "the peer's tunnel address"));
        }
        if !own.iter().any(|own| own.addr().is_ipv4() == address.is_ipv4()) {
            let version = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            let problem = format_args!("the tunnel interface has no {version} address to reach it from");
            return Err(source.error(
                &at,
                problem,
                "an address of an IP version that `tunnel.address` has, too",
            ));
        }
        if is_host && own.iter().any(|own| own.contains(&address)) {
            if let Some(place) = check.seen.peers.get(&address) {
                return Err(taken(place));
            }
            peer.push(address);
        } else {
            if let Some(own) = own.iter().find(|own| network.contains(*own) || own.contains(&network)) {
                let problem = format_args!("overlaps the tunnel's own network {}", IpNet::trunc(own));
                return Err(source.error(&at, problem, "a network behind the peer"));
            }
            let network = Network { to: network, from: None };
            if let Some(place) = check.seen.networks.get(&network) {
                return Err(taken(place));
            }
            networks.push(network);
        }
    }
    if peer.is_empty() {
        let first = own.first().map_or_else(String::new, |own| format!(" of {}", own.trunc()));
        let allowed = format!("one tunnel address{first} or more, and networks behind the peer");
        return Err(source.error(&list.span(), "no tunnel address of the peer", &allowed));
    }
    Ok((peer, networks))
}

/// The connection of such a peer, with places for the paths that it turns out to have.
fn connection(
    listen: &Listen,
    name: String,
    keys: mpt_seal::PeerKeys,
    peer: Vec<IpAddr>,
    networks: Vec<Network>,
) -> Connection {
    let (default, path) = (mpt_proto::Config::default(), PathConfig::default());
    let local = listen.local.first().copied().unwrap_or(unspecified(true));
    let remote = unspecified(local.is_ipv4());
    let paths = (1..=LEARNED_PATHS).map(|number| super::Path {
        name: number.to_string(),
        local,
        remote,
        remote_name: None,
        device: None,
        gateway: None,
        port: listen.port,
        remote_port: PORT,
        roaming: true,
        weight: path.weight,
        rank: path.rank,
        tier: Tier::fixed(path.tier),
        mtu: None,
        data: None,
        portal_check: None,
        liveness: Liveness::default(),
        enabled: true,
        tcp_dst: Vec::new(),
        tcp_src: Vec::new(),
        udp_dst: Vec::new(),
        udp_src: Vec::new(),
        origin: super::Origin::File,
    });
    Connection {
        name,
        peer,
        keys: Some(keys),
        networks,
        port: listen.port,
        remote_port: PORT,
        check_source_port: false,
        policy: default.policy,
        key: None,
        checksum: false,
        sequence: true,
        slices: true,
        multicast: false,
        limit: None,
        record: None,
        adaptive: Adaptive { resend: default.resend, udp_in_order: default.order_udp, memory: listen.memory },
        classes: ClassRules::new(),
        reorder: default.reorder,
        standby: None,
        liveness: Liveness::default(),
        auto: None,
        paths: paths.collect(),
        is_learned: true,
    }
}
