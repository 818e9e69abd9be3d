//! From what the file says to a [`Config`]: fills in what is inherited, and checks values against each other.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use mpt_proto::{Aspect, Liveness, MAX_PATHS, PathConfig, Policy, Probing, ReorderConfig};
use toml::Spanned;

use super::classes::{class_rules, warn_of_tiers};
use super::data::data_plan;
use super::error::Source;
use super::forward::Forwards;
use super::pins::PinCheck;
use super::roaming;
use super::security::{Choice, ConnectionKeys};
use super::seen::{Seat, Seen, earlier};
use super::tier::{Tier, tier};
use super::tunnel::{IPV6_MIN_MTU, tunnel};
use super::value::{Host, LivenessSetting, LivenessTable, Name, Port, Table, Text};
use super::{Adaptive, Config, ConfigError, Connection, DTLS_PORT, Network, PORT, Path, Tunnel};
use super::{auto, file, hook, listen, metrics, portal, standby};
use crate::link::unspecified;

/// Checks the tables of a file and makes a [`Config`] of them.
pub(super) fn config(file: file::File, source: &Source) -> Result<Config, ConfigError> {
    let kill_switch = file.tunnel.0.kill_switch.as_ref().map(Spanned::span);
    let direct = file.tunnel.0.direct.first().map(Spanned::span);
    let tunnel = tunnel(file.tunnel.0, source)?;
    let choice = Choice::new(file.security, source)?;
    let hooks = hook::hooks(file.hook, source)?;
    if file.connection.is_empty() && file.listen.is_none() {
        return Err(source.error_in_file("no connection", "one table [[connection]] or more, or [listen]"));
    }
    let listen = file.listen.map(|table| listen::listen(table, &choice, source)).transpose()?;
    let mut check = Check::new(source, &tunnel, &choice, Seen::default());
    let mut connections: Vec<Connection> =
        file.connection.into_iter().map(|table| check.connection(table)).collect::<Result<_, _>>()?;
    let paths = connections.iter().flat_map(|connection| &connection.paths);
    let ports = paths.map(|path| path.port).chain(listen.iter().map(|listen| listen.port));
    check.forwards = Forwards::new(file.forward, ports, &tunnel, source)?;
    let mut peer_errors = Vec::new();
    if let Some(listen) = &listen {
        listen::apart(listen, &connections, source)?;
        let (peers, errors) = listen::peers(listen, &mut check)?;
        connections.extend(peers);
        peer_errors = errors;
    }
    let networks = connections.iter().flat_map(|connection| &connection.networks);
    if let Some(at) =
        kill_switch.filter(|_| tunnel.kill_switch && networks.clone().all(|network| !network.is_default()))
    {
        check.warn(&at, "no network is 0.0.0.0/0 or ::/0, so there is nothing that it could hold back");
    }
    if let Some(at) = direct.filter(|_| networks.clone().all(|network| !network.is_default())) {
        check.warn(&at, "no network is 0.0.0.0/0 or ::/0, so nothing but the networks behind the peer takes the tunnel anyway");
    }
    let Check { mut warnings, seen, forwards, .. } = check;
    let (forwards, of_forwards) = forwards.place(&connections, (&tunnel, listen.is_some()), source);
    warnings.extend(of_forwards);
    warnings.extend(seen.far.check(&choice, source)?);
    let metrics = file.metrics.map(|table| metrics::metrics(table, source, &mut warnings));
    let portal = portal::portal(file.portal);
    let is_clear_meant = matches!(choice, Choice::Clear(_));
    let security = match choice {
        Choice::Sealed(security) => Some(security),
        Choice::Clear(_) | Choice::Unsaid => None,
    };
    Ok(Config {
        tunnel,
        connections,
        listen,
        metrics,
        portal,
        security,
        is_clear_meant,
        forwards,
        hooks,
        warnings,
        peer_errors,
    })
}

pub(super) struct Check<'a> {
    source: &'a Source<'a>,
    pub(super) tunnel: &'a Tunnel,
    pub(super) choice: &'a Choice,
    pub(super) warnings: Vec<String>,
    pub(super) seen: Seen,
    pub(super) forwards: Forwards,
}

impl<'a> Check<'a> {
    /// Checks what stands in `source`, beside what was `seen` elsewhere.
    pub(super) fn new(source: &'a Source<'a>, tunnel: &'a Tunnel, choice: &'a Choice, seen: Seen) -> Self {
        Self { source, tunnel, choice, warnings: Vec::new(), seen, forwards: Forwards::default() }
    }

    /// Whether the file is of another machine.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.source.is_elsewhere
    }

    fn warn(&mut self, at: &Range<usize>, problem: impl std::fmt::Display) {
        self.warnings.push(self.source.warning(at, problem));
    }

    fn connection(&mut self, table: Spanned<Table<file::Connection>>) -> Result<Connection, ConfigError> {
        let source = self.source;
        let at = table.span();
        let table = table.into_inner().0;
        let default = mpt_proto::Config::default();

        let keys =
            ConnectionKeys { at: &at, table: &table }.check(self.choice, &mut self.seen.keys, source)?;

        let name_at = table.name.span();
        let name = table.name.into_inner().0.0;
        let place = source.place(&name_at);
        if let Some(place) = earlier(&mut self.seen.connections, name.clone(), place) {
            let problem = format_args!("the connection in {place} has this name already");
            return Err(source.error(&name_at, problem, "a name that no other connection has"));
        }

        let wants_adaptive = table.policy.as_ref().is_some_and(|policy| policy.0.0 == Policy::Adaptive);
        let policy = table.policy.map_or(default.policy, |policy| policy.0.0);
        let sequence = table.sequence.as_ref().map_or(default.sequence, |sequence| *sequence.get_ref());
        if let Some(adaptive) = table.adaptive.as_ref().filter(|_| policy != Policy::Adaptive) {
            self.warn(&adaptive.span(), "only policy \"adaptive\" uses this table");
        }
        let adaptive = adaptive(table.adaptive.map(|adaptive| adaptive.into_inner().0), &default);
        if let Some(class) = table.class.first().filter(|_| policy != Policy::Adaptive) {
            self.warn(&class.span(), "only policy \"adaptive\" uses this table");
        }
        let window_at =
            table.reorder.as_ref().and_then(|reorder| reorder.0.window.as_ref()).map(Spanned::span);
        let reorder = reorder(table.reorder.as_ref().map(|reorder| &reorder.0));
        if let Some(sequence_at) = table.sequence.as_ref().map(Spanned::span).filter(|_| !sequence) {
            if wants_adaptive {
                self.warn(
                    &sequence_at,
                    "policy \"adaptive\" needs sequence numbers: packets are sent by weight",
                );
            }
            if policy == Policy::Redundant {
                self.warn(
                    &sequence_at,
                    "without sequence numbers the peer delivers every copy that policy \"redundant\" sends",
                );
            }
            if let Some(window_at) = window_at.filter(|_| reorder.window > 0) {
                self.warn(
                    &window_at,
                    "order is restored by sequence numbers, which `sequence = false` \
                    turns off on this side; the peer has to send them",
                );
            }
        }

        let standby =
            standby::Keys { of: table.standby_of, after: table.standby_after_s, back: table.standby_back_s };
        let standby = standby.check(&self.seen.firsts, source)?;
        let first = standby.as_ref().and_then(|standby| self.seen.firsts.get(&standby.of)).cloned();
        if let (Some(standby), Some(network)) = (&standby, table.network.first()) {
            let problem = format_args!("it has the networks of {}, for which it stands by", standby.of);
            return Err(source.error(&network.span(), problem, "no [[connection.network]] here"));
        }
        let networks = table.network.into_iter().map(|network| self.network(network.into_inner().0));
        let mut networks: Vec<(Range<usize>, Network)> = networks.collect::<Result<_, _>>()?;
        if let Some(first) = &first {
            networks = first.networks.iter().map(|network| (at.clone(), *network)).collect();
        }
        let peer = self.peers(table.peer, &networks, first.as_ref())?;

        let defaults = PathDefaults {
            policy,
            connection: name.clone(),
            key: table.key.as_ref().map(|key| key.get_ref().0).or(default.key),
            check_source_port: table.check_source_port.unwrap_or(true),
            port: self.port(table.port, PORT),
            remote_port: self.port(table.remote_port, PORT),
            liveness: self.liveness(table.liveness)?.unwrap_or_default(),
        };
        if let Some(remotes) = &table.remote {
            for remote in remotes.get_ref() {
                let address = remote.get_ref().0.0.address();
                self.seen.far.add(address.unwrap_or(unspecified(true)), &remote.span());
            }
        }
        let auto = auto::Keys { paths: table.paths, except: table.except, remote: table.remote };
        let auto = auto.check(&at, source)?;
        if table.path.is_empty() && auto.is_none() {
            let allowed = "1 to 16 tables [[connection.path]], or paths = \"auto\"";
            return Err(source.error(&at, "no path", allowed));
        }
        let mut names = HashMap::new();
        let mut pins = PinCheck::default();
        let mut paths = Vec::new();
        for (index, path) in table.path.into_iter().enumerate() {
            if index == MAX_PATHS {
                let allowed = format!("1 to {MAX_PATHS} tables [[connection.path]]");
                return Err(source.error(&path.span(), "one path too many in this connection", &allowed));
            }
            let path = path.into_inner().0;
            pins.add(&path, index, source)?;
            paths.push(self.path(path, &defaults, &networks, &mut names)?);
        }
        if auto.is_none() {
            warn_of_tiers(&table.class, &paths).for_each(|(at, problem)| self.warn(&at, problem));
        }
        let classes = class_rules(table.class, &paths, source)?;
        if auto.is_none() && paths.iter().all(|path| !path.enabled) {
            self.warn(&at, "no path is enabled: the connection carries nothing until `mpt path up`");
        }
        if policy == Policy::Backup
            && paths.len() > 1
            && paths.iter().all(|path| path.liveness == Liveness::Off)
        {
            self.warn(
                &at,
                "policy \"backup\" with liveness \"off\" changes paths only when an interface goes down",
            );
        }
        let networks: Vec<Network> = networks.into_iter().map(|(_, network)| network).collect();
        let multicast = match &first {
            Some(first) => first.multicast,
            None => self.multicast(table.multicast)?,
        };
        let of = standby.as_ref().map_or_else(|| name.clone(), |standby| standby.of.clone());
        let shared = self.seen.firsts.entry(of).or_default();
        shared.peers.extend(&peer);
        if standby.is_none() {
            (shared.networks, shared.multicast) = (networks.clone(), multicast);
        }
        Ok(Connection {
            name,
            peer,
            keys,
            networks,
            port: defaults.port,
            remote_port: defaults.remote_port,
            check_source_port: defaults.check_source_port,
            policy,
            key: defaults.key,
            checksum: table.checksum.map_or(default.checksum, Spanned::into_inner),
            sequence,
            slices: table.slices.unwrap_or(true),
            multicast,
            limit: table.limit.map(|limit| limit.0.0),
            record: table.record.map(|size| size.0.0),
            adaptive,
            classes,
            reorder,
            standby,
            liveness: defaults.liveness,
            auto,
            paths,
            is_learned: false,
        })
    }

    /// Whether multicast takes this connection. A packet to a group has no address that would tell two peers apart.
    fn multicast(&mut self, wanted: Option<Spanned<bool>>) -> Result<bool, ConfigError> {
        let Some(wanted) = wanted.filter(|wanted| *wanted.get_ref()) else { return Ok(false) };
        let at = wanted.span();
        if let Some(line) = self.seen.multicast.replace(self.source.line(&at)) {
            let problem = format_args!("line {line} has it already, and a packet takes one connection");
            return Err(self.source.error(&at, problem, "true in one connection, false in the others"));
        }
        Ok(true)
    }

    fn peers(
        &mut self,
        peers: Spanned<Vec<Spanned<Text<Host>>>>,
        networks: &[(Range<usize>, Network)],
        first: Option<&standby::First>,
    ) -> Result<Vec<IpAddr>, ConfigError> {
        let source = self.source;
        if peers.get_ref().is_empty() {
            return Err(source.error(&peers.span(), "no address", "one tunnel address of the peer or more"));
        }
        let mut addresses = Vec::new();
        for peer in peers.into_inner() {
            let (at, peer) = (peer.span(), peer.into_inner().0.0);
            if self.tunnel.addresses.iter().any(|own| own.addr() == peer) {
                return Err(source.error(&at, "this is our own tunnel address", "the peer's tunnel address"));
            }
            if !self.tunnel.addresses.iter().any(|own| own.addr().is_ipv4() == peer.is_ipv4()) {
                let version = if peer.is_ipv4() { "IPv4" } else { "IPv6" };
                let problem = format_args!("the tunnel interface has no {version} address to reach it from");
                let allowed = "an address of an IP version that `tunnel.address` has, too";
                return Err(source.error(&at, problem, allowed));
            }
            let is_shared = first.is_some_and(|first| first.peers.contains(&peer));
            let before = earlier(&mut self.seen.peers, peer, source.place(&at));
            if let Some(place) = before.filter(|_| !is_shared || addresses.contains(&peer)) {
                let problem = format_args!("stands in {place} already, so packets to it would have two ways");
                return Err(source.error(&at, problem, "each peer address once in the file"));
            }
            let is_below = |seat: &Seat| seat.local == peer || seat.remote.address() == Some(peer);
            if self.seen.sockets.keys().any(is_below) {
                let problem = "a path of an earlier connection has this address, below the tunnel";
                return Err(source.error(&at, problem, "an address that only the tunnel has"));
            }
            let reached = self.tunnel.addresses.iter().any(|own| own.contains(&peer))
                || networks.iter().any(|(_, network)| network.to.contains(&peer));
            if !reached {
                self.warn(
                    &at,
                    "no prefix of `tunnel.address` contains it, so no route leads there; widen \
                    the prefix or add a [[connection.network]]",
                );
            }
            addresses.push(peer);
        }
        Ok(addresses)
    }

    fn network(&mut self, table: file::Network) -> Result<(Range<usize>, Network), ConfigError> {
        let source = self.source;
        let at = table.to.span();
        let to = table.to.into_inner().0.0;
        let from = match table.from {
            Some(from) => {
                let (from_at, from) = (from.span(), from.into_inner().0.0);
                if from.addr().is_ipv4() != to.addr().is_ipv4() {
                    let problem = format_args!("not the IP version of `to`, which is {to}");
                    return Err(source.error(&from_at, problem, "a network of the same IP version"));
                }
                Some(from)
            }
            None => None,
        };
        let network = Network { to, from };
        if let Some(place) = earlier(&mut self.seen.networks, network, source.place(&at)) {
            let problem = format_args!("the network in {place} is the same");
            return Err(source.error(&at, problem, "each pair of `to` and `from` once in the file"));
        }
        Ok((at, network))
    }

    /// Checks a path of a connection with these `defaults` and `networks`, whose other paths have these `names`.
    pub(super) fn path(
        &mut self,
        table: file::Path,
        defaults: &PathDefaults,
        networks: &[(Range<usize>, Network)],
        names: &mut HashMap<String, String>,
    ) -> Result<Path, ConfigError> {
        let source = self.source;
        let default = PathConfig::default();
        self.own_name(&table.name, names)?;
        let (local_at, local) = (table.local.span(), table.local.into_inner().0.0);
        let (remote_at, endpoint) = (table.remote.span(), table.remote.into_inner().0.0);
        let remote_name = endpoint.name().map(str::to_owned);
        // A name has addresses of both IP versions perhaps; the path has one.
        let remote = endpoint.address().unwrap_or_else(|| unspecified(local.is_ipv4()));
        let device = table.device.map(|device| device.0.0);

        if local.is_ipv4() != remote.is_ipv4() {
            let problem = format_args!("not the IP version of `local`, which is {local}");
            return Err(source.error(&remote_at, problem, "two addresses of the same IP version"));
        }
        if local == remote && !remote.is_unspecified() {
            return Err(source.error(&remote_at, "the same as `local`", "the peer's address"));
        }
        for (at, address) in [(&local_at, local), (&remote_at, remote)] {
            if self.tunnel.addresses.iter().any(|own| own.addr() == address)
                || self.seen.peers.contains_key(&address)
            {
                let problem = "this is an address of the tunnel itself";
                return Err(source.error(at, problem, "an address of the network below the tunnel"));
            }
            let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
            if device.is_none() && (link_local || (address.is_unspecified() && at == &local_at)) {
                let kind = if link_local { "link-local" } else { "unspecified" };
                let problem =
                    format_args!("the {kind} address does not tell the interface, and `device` is missing");
                return Err(source.error(at, problem, "another address, or this one with device = \"eth1\""));
            }
        }
        let gateway = self.seen.gateways.check(table.gateway, device.as_deref(), local, source)?;
        let port = self.port(table.port, defaults.port);
        let remote_port = self.port(table.remote_port, defaults.remote_port);
        let socket = Seat { local, port, device: device.clone(), remote: endpoint, remote_port };
        let liveness = self.liveness(table.liveness)?.unwrap_or(defaults.liveness);
        let place = format!("the path in line {}", source.line(&local_at));
        let ends = roaming::Ends {
            connection: &defaults.connection,
            is_sealed: self.choice.is_sealed(),
            key: defaults.key,
            check_source_port: defaults.check_source_port,
            local,
            remote,
            port,
            is_named: remote_name.is_some(),
            device: &device,
            remote_at: &remote_at,
            place: &place,
        };
        let roaming = ends.check(table.roaming, liveness, &mut self.seen.unnamed, source)?;
        self.seen.far.add(remote, &remote_at);
        // Paths whose peer is to be learnt may differ in nothing here: they are told apart by their numbers.
        let before = earlier(&mut self.seen.sockets, socket, place);
        if let Some(place) = before.filter(|_| remote_name.is_some() || !remote.is_unspecified()) {
            let problem = format_args!("{place} has the same addresses, ports and device");
            let allowed = "paths that differ in `local`, `remote`, `port`, `remote_port` or `device`";
            return Err(source.error(&local_at, problem, allowed));
        }
        if let Some(mtu) = table.mtu.as_ref().filter(|mtu| local.is_ipv6() && mtu.get_ref().0 < IPV6_MIN_MTU)
        {
            let problem = "too small for IPv6 (RFC 8200 section 5)";
            return Err(source.error(&mtu.span(), problem, "a whole number from 1280 to 65535"));
        }

        if let Some(weight) = &table.weight
            && !defaults.policy.has(Aspect::Weight)
        {
            self.warn(&weight.span(), "the policy of this connection does not use weights");
        }
        if let Some(tier) = &table.tier
            && !defaults.policy.has(Aspect::Tier)
        {
            self.warn(&tier.span(), unused("tiers", Aspect::Tier));
        }
        if let Some(rank) = &table.rank
            && !defaults.policy.has(Aspect::Rank)
        {
            self.warn(&rank.span(), unused("ranks", Aspect::Rank));
        }
        if device.is_none() && remote_name.is_none() {
            // A default route for all packets spares those of mpt itself; that from a network knows them by their source.
            let takes = |network: &Network| {
                network.to.contains(&remote)
                    && (!network.is_default() || network.from.is_some_and(|from| from.contains(&local)))
            };
            for (at, _) in networks.iter().filter(|(_, network)| takes(network)) {
                let problem = format_args!(
                    "contains the path's remote address {remote}: unless a narrower route leads there, the \
                    tunnel's own datagrams go into the tunnel; give the path a `device`"
                );
                self.warn(at, problem);
            }
        }
        Ok(Path {
            name: table.name.into_inner().0.0,
            local,
            remote,
            remote_name,
            device,
            gateway,
            port,
            remote_port,
            roaming,
            weight: table.weight.map_or(default.weight, |weight| weight.into_inner().0),
            rank: table.rank.map_or(default.rank, |rank| rank.into_inner().0),
            tier: table.tier.map_or(Ok(Tier::fixed(default.tier)), |it| tier(it, source))?,
            mtu: table.mtu.map(|mtu| mtu.into_inner().0),
            data: table.data.map(|data| data_plan(data, source)).transpose()?,
            portal_check: table.portal_check,
            liveness,
            enabled: table.enabled.unwrap_or(true),
            tcp_dst: ports(&table.tcp_dst),
            tcp_src: ports(&table.tcp_src),
            udp_dst: ports(&table.udp_dst),
            udp_src: ports(&table.udp_src),
            origin: super::Origin::File,
        })
    }

    /// Notes the name of a path, which no other one of the connection may have.
    fn own_name(
        &self,
        name: &Spanned<Text<Name>>,
        names: &mut HashMap<String, String>,
    ) -> Result<(), ConfigError> {
        let at = name.span();
        let place = format!("the path in line {}", self.source.line(&at));
        let Some(place) = earlier(names, name.get_ref().0.0.clone(), place) else { return Ok(()) };
        let problem = format_args!("{place} has this name already");
        Err(self.source.error(&at, problem, "a name that no other path of the connection has"))
    }

    fn port(&mut self, port: Option<Spanned<Port>>, default: u16) -> u16 {
        let Some(port) = port else { return default };
        if port.get_ref().0 == DTLS_PORT {
            self.warn(
                &port.span(),
                "this port is for GRE in UDP with DTLS (RFC 8086 section 5), which mpt does not speak",
            );
        }
        port.get_ref().0
    }

    fn liveness(&self, setting: Option<LivenessSetting>) -> Result<Option<Liveness>, ConfigError> {
        let LivenessTable { interval_ms, idle_ms, dead_ms } = match setting {
            None => return Ok(None),
            Some(LivenessSetting::Word(liveness)) => return Ok(Some(liveness)),
            Some(LivenessSetting::Table(table)) => table,
        };
        let (interval, idle, dead) = (interval_ms.0, idle_ms.get_ref().0, dead_ms.get_ref().0);
        if idle < interval {
            let allowed = format!("interval_ms or more, that is {interval} or more");
            return Err(self.source.error(&idle_ms.span(), "shorter than interval_ms", &allowed));
        }
        if dead < 2 * interval {
            let allowed = format!("twice interval_ms or more, that is {} or more", 2 * interval);
            let problem = "a single lost probe would take the path down";
            return Err(self.source.error(&dead_ms.span(), problem, &allowed));
        }
        let [interval, idle, dead] = [interval, idle, dead].map(|ms| Duration::from_millis(ms.into()));
        Ok(Some(Liveness::Probe(Probing { interval, idle, dead })))
    }
}

/// What the paths of a connection inherit, and the policy that uses them.
pub(super) struct PathDefaults {
    pub(super) connection: String,
    pub(super) key: Option<u32>,
    pub(super) check_source_port: bool,
    pub(super) policy: Policy,
    pub(super) port: u16,
    pub(super) remote_port: u16,
    pub(super) liveness: Liveness,
}

/// That a setting of paths is not used, and which policies use it.
fn unused(settings: &str, aspect: Aspect) -> String {
    let users = Policy::ALL.iter().filter(|policy| policy.has(aspect)).map(|policy| policy.name());
    match users.collect::<Vec<_>>()[..] {
        [one] => format!("only policy \"{one}\" uses {settings}"),
        ref several => format!("only policies \"{}\" use {settings}", several.join("\" and \"")),
    }
}

fn adaptive(table: Option<file::Adaptive>, default: &mpt_proto::Config) -> Adaptive {
    let (resend, udp_in_order, memory_mb) =
        table.map_or((None, None, None), |table| (table.resend, table.udp_in_order, table.memory_mb));
    Adaptive {
        resend: resend.unwrap_or(default.resend),
        udp_in_order: udp_in_order.unwrap_or(default.order_udp),
        memory: memory_mb.map(|mb| mb.0 << 20),
    }
}

fn reorder(table: Option<&file::Reorder>) -> ReorderConfig {
    let default = ReorderConfig::default();
    let Some(table) = table else { return default };
    ReorderConfig {
        window: table.window.as_ref().map_or(default.window, |window| window.get_ref().0),
        delay: table.delay_ms.map_or(default.delay, |delay| Duration::from_millis(delay.0.into())),
        paths_in_order: table.paths_in_order.unwrap_or(default.paths_in_order),
    }
}

fn ports(ports: &[Spanned<Port>]) -> Vec<u16> {
    ports.iter().map(|port| port.get_ref().0).collect()
}
