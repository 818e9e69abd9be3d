//! Paths whose peer has a name: where it is, asked for at the start and again while a path stays down.
//!
//! A path that is up stays where it is, whatever its peer's name says. While nothing comes back on it, the addresses that the name
//! has, and the one that worked last, are tried in turn: a server that moved is found, and one that was only away, too. With keys,
//! the server itself can move a path meanwhile (`strangers`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use mpt_proto::{DownReason, Handle, Instant, PathState};

use super::senders::Sender;
use super::{Driver, Peer};
use crate::events::What;
use crate::link::{Missing, scoped};
use crate::names::{Found, Resolver};
use crate::state_file::StateFile;

/// How long nothing comes back on a path until another address of its peer is tried: as long as a handshake is waited for.
const FIRST_TURN: Duration = Duration::from_secs(5);
/// How long each address is tried, so that two handshakes are.
const NEXT_TURN: Duration = Duration::from_secs(10);
/// How long until a name is asked for the first time, and again, while a path needs it; the last is for all that follow.
const WAITS: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(300),
];
/// Shortest time between two questions for a name that nobody knows while interfaces change.
const HURRY: Duration = Duration::from_secs(1);
/// Addresses of a name that are looked at: all of them are tried within a minute and a half.
const MOST_ADDRESSES: usize = 8;

/// How long an answer is waited for until the name is asked for once more: resolvers give up sooner.
const GIVEN_UP: Duration = Duration::from_secs(120);

/// The names of all peers.
pub struct Names {
    resolver: Resolver,
    known: BTreeMap<String, Known>,
    /// What was found before a new start.
    before: HashMap<String, Vec<IpAddr>>,
    /// Keeps what is found.
    file: Option<StateFile>,
}

/// What is known of a name.
#[derive(Debug, Default)]
struct Known {
    /// Its addresses, best first.
    addresses: Vec<IpAddr>,
    /// Whether an answer is awaited.
    is_asked: bool,
    /// When it was last asked for.
    asked: Option<Instant>,
    /// Questions since a path needs it.
    asked_times: usize,
    /// When it is asked for again; `None`: nobody needs it.
    due: Option<Instant>,
    /// Whether people were told that it cannot be found.
    is_told: bool,
}

impl Known {
    /// Somebody needs to know it.
    fn need(&mut self, now: Instant) {
        if self.due.is_none() {
            self.asked_times = 0;
            self.wait(now);
        }
    }

    fn wait(&mut self, now: Instant) {
        let wait = WAITS.get(self.asked_times).or(WAITS.last()).copied().unwrap_or_default();
        self.due = Some(now + wait);
    }

    fn ask(&mut self, name: &str, resolver: &Resolver, now: Instant) {
        let is_awaited = self.is_asked && self.asked.is_some_and(|asked| now.since(asked) < GIVEN_UP);
        if !is_awaited {
            resolver.ask(name);
            (self.is_asked, self.asked) = (true, Some(now));
        }
        self.asked_times += 1;
    }
}

impl Names {
    /// Asks this resolver.
    pub fn new(resolver: Resolver) -> Self {
        Self { resolver, known: BTreeMap::new(), before: HashMap::new(), file: None }
    }

    /// Asks this resolver, and keeps what is found in this file for the next start.
    pub fn with_file(resolver: Resolver, file: StateFile) -> Self {
        Self { before: file.read(), file: Some(file), ..Self::new(resolver) }
    }

    /// When a name is to be asked for.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.known.values().filter_map(|known| known.due).min()
    }

    /// Interfaces have changed: who was not known before may be now.
    pub(super) fn hurry(&mut self, now: Instant) {
        for known in self.known.values_mut().filter(|known| known.addresses.is_empty()) {
            known.asked_times = 0;
            known.due = known.asked.map(|asked| now.max(asked + HURRY));
        }
    }

    /// The addresses of a name that have an IP version.
    fn addresses(&self, name: &str, is_ipv4: bool) -> impl Iterator<Item = IpAddr> + '_ {
        let addresses = self.known.get(name).into_iter().flat_map(|known| &known.addresses);
        addresses.copied().filter(move |address| address.is_ipv4() == is_ipv4)
    }

    /// Whether a name may have an address of an IP version: it has, or nothing is known of it.
    pub(super) fn may_have(&self, name: &str, is_ipv4: bool) -> bool {
        let known = self.known.get(name).map(|known| &known.addresses);
        known.is_none_or(|known| known.is_empty() || known.iter().any(|address| address.is_ipv4() == is_ipv4))
    }

    /// What a path waits for that needs an address of a name.
    pub(super) fn missing(&self, name: &str) -> Missing {
        let known = self.known.get(name).and_then(|known| known.addresses.first());
        match known {
            None => Missing::Name(name.to_owned()),
            // Then it has one of the other version.
            Some(address) => Missing::NameOfVersion(name.to_owned(), if address.is_ipv4() { 6 } else { 4 }),
        }
    }

    /// Takes note of what was found. Returns what is news.
    fn note(&mut self, found: Found, now: Instant) -> Option<What> {
        let Found { name, addresses } = found;
        let known = self.known.get_mut(&name)?;
        known.is_asked = false;
        match addresses {
            Ok(addresses) => {
                if known.addresses == addresses && !known.is_told {
                    return None;
                }
                (known.addresses, known.is_told) = (addresses.clone(), false);
                self.write();
                Some(What::NameKnown { name, addresses })
            }
            Err(why) => {
                let is_told = std::mem::replace(&mut known.is_told, true);
                known.need(now);
                let has_address = !known.addresses.is_empty();
                (!is_told).then_some(What::NameUnknown { name, why, has_address })
            }
        }
    }

    fn write(&self) {
        let Some(file) = &self.file else { return };
        let addresses: BTreeMap<&str, &[IpAddr]> =
            self.known.iter().map(|(name, known)| (name.as_str(), &known.addresses[..])).collect();
        file.write(&addresses);
    }
}

/// What a path knows of its peer's name.
#[derive(Debug, Clone)]
pub struct Named {
    /// The name.
    pub name: String,
    /// When another address is tried; `None`: the path is not silent.
    due: Option<Instant>,
    /// The address at which the path was up last.
    worked: Option<IpAddr>,
}

impl Named {
    /// A path that was never up.
    pub(super) const fn new(name: String) -> Self {
        Self { name, due: None, worked: None }
    }

    /// When there is something to do.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Takes note of the path's state with the peer at `remote`. Returns whether another address is to be tried.
    fn handle_state(&mut self, state: PathState, remote: Option<IpAddr>, now: Instant) -> bool {
        if state == PathState::Up {
            self.worked = remote;
        }
        if !state.is_silent() || remote.is_none() {
            self.due = None;
            return false;
        }
        let due = *self.due.get_or_insert(now + FIRST_TURN);
        let is_due = due <= now;
        if is_due {
            self.due = Some(now + NEXT_TURN);
        }
        is_due
    }

    /// The address after `current`, among those of the name and the one that worked; `None`: there is no other.
    fn next(&self, current: IpAddr, known: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
        let mut all: Vec<IpAddr> = known.collect();
        all.extend(self.worked.filter(|worked| !all.contains(worked)));
        let place = all.iter().position(|address| *address == current);
        let next = place.map_or(0, |place| (place + 1) % all.len());
        all.get(next).copied().filter(|address| *address != current)
    }
}

/// Those addresses that a peer can have outside of a tunnel with these addresses.
///
/// # Errors
/// There is none, and why.
fn outside(mut addresses: Vec<IpAddr>, tunnel: &[IpNet]) -> Result<Vec<IpAddr>, String> {
    addresses.retain(|address| {
        let is_inside = tunnel.iter().any(|network| network.contains(address));
        !is_inside && !address.is_unspecified() && !address.is_multicast()
    });
    // Each is tried for some seconds before the one that worked last.
    addresses.truncate(MOST_ADDRESSES);
    if addresses.is_empty() {
        Err("its addresses are of the tunnel, or of no host".to_owned())
    } else {
        Ok(addresses)
    }
}

impl Peer<'_> {
    /// Its paths whose peer has this name.
    fn paths_named<'p>(&'p self, name: &'p str) -> impl Iterator<Item = usize> + 'p {
        let is_it =
            move |index: &usize| self.paths[*index].named.as_ref().is_some_and(|named| named.name == name);
        (0..self.paths.len()).filter(is_it)
    }

    /// Whether a path needs to know where its peer is.
    fn needs_name(&self, path: usize) -> bool {
        let path = &self.paths[path];
        path.remote.is_none() || self.connection.path_state(path.id).is_ok_and(PathState::is_silent)
    }
}

impl Driver<'_> {
    /// Whether a path may find its peer by this name and in this IP version: an address is known or may be, or a path works with one,
    /// whatever the name says meanwhile.
    pub(super) fn may_lead(&self, name: &str, is_ipv4: bool) -> bool {
        let works = |peer: &Peer<'_>, path: usize| {
            let planned = &peer.paths[path];
            let is_up = peer.connection.path_state(planned.id).is_ok_and(|state| state == PathState::Up);
            is_up && planned.ends.local.is_ipv4() == is_ipv4
        };
        self.names.may_have(name, is_ipv4)
            || self.peers.iter().any(|peer| peer.paths_named(name).any(|path| works(peer, path)))
    }

    /// Asks for the names of the configuration that were not asked for yet, and forgets others.
    pub(super) fn begin_names(&mut self, now: Instant) {
        let paths = self.peers.iter().flat_map(|peer| &peer.paths);
        let mut wanted: BTreeSet<String> =
            paths.filter_map(|path| path.named.as_ref()).map(|named| named.name.clone()).collect();
        // Of paths that are to come, it decides over the IP version.
        let autos = self.peers.iter().filter_map(|peer| peer.config.auto.as_ref());
        wanted.extend(autos.flat_map(|auto| &auto.remotes).filter_map(|it| it.name().map(str::to_owned)));
        self.names.known.retain(|name, _| wanted.contains(name));
        for name in &wanted {
            let names = &mut self.names;
            if !names.known.contains_key(name) {
                let addresses = names.before.get(name).cloned().unwrap_or_default();
                let mut known = Known { addresses, ..Known::default() };
                known.ask(name, &names.resolver, now);
                names.known.insert(name.clone(), known);
            }
            self.use_name(name, now);
        }
    }

    /// What was found of names.
    pub(super) fn handle_found(&mut self, now: Instant) {
        let found: Vec<Found> = self.names.resolver.found().collect();
        for mut found in found {
            // A server inside the tunnel may know the peer by its address there, and filters of advertisements give 0.0.0.0.
            found.addresses =
                found.addresses.and_then(|addresses| outside(addresses, &self.tunnel.addresses));
            let name = found.name.clone();
            let Some(what) = self.names.note(found, now) else { continue };
            let is_known = matches!(what, What::NameKnown { .. });
            self.journal.note(now, None, None, what);
            if is_known {
                self.use_name(&name, now);
                self.follow_interfaces(now);
            }
        }
    }

    /// Paths that need it go to the first address of a name.
    fn use_name(&mut self, name: &str, now: Instant) {
        for peer in self.peers.handles() {
            let paths: Vec<usize> = self.peers[peer].paths_named(name).collect();
            for path in paths {
                if !self.peers[peer].needs_name(path) {
                    continue;
                }
                let planned = &self.peers[peer].paths[path];
                let known: Vec<IpAddr> = self.names.addresses(name, planned.ends.local.is_ipv4()).collect();
                match known.first() {
                    _ if planned.remote.is_some_and(|remote| known.contains(&remote.ip())) => {}
                    Some(address) => self.turn_to(peer, path, *address, now),
                    // It tells what it waits for.
                    None => {
                        self.check_path(peer, path, now);
                        if let Some(known) = self.names.known.get_mut(name) {
                            known.need(now);
                        }
                    }
                }
            }
        }
    }

    /// Looks at those paths of a connection whose peer has a name.
    pub(super) fn follow_name(&mut self, peer: Handle, now: Instant) {
        let paths = self.peers.get(peer).map_or(&[][..], |peer| &peer.paths);
        if paths.iter().all(|path| path.named.is_none()) {
            return;
        }
        for path in 0..paths.len() {
            let Peer { connection, paths, .. } = &mut self.peers[peer];
            let planned = &mut paths[path];
            let Some(named) = &mut planned.named else { continue };
            let Ok(state) = connection.path_state(planned.id) else { continue };
            let current = planned.remote.map(|remote| remote.ip());
            let is_due = named.handle_state(state, current, now);
            if let Some(known) = self.names.known.get_mut(&named.name).filter(|_| named.due.is_some()) {
                known.need(now);
            }
            let Some(current) = current.filter(|_| is_due) else { continue };
            let known = self.names.addresses(&named.name, planned.ends.local.is_ipv4());
            if let Some(next) = named.next(current, known) {
                self.turn_to(peer, path, next, now);
            }
        }
    }

    /// Asks for the names that are due.
    pub(super) fn follow_names(&mut self, now: Instant) {
        let Self { names, peers, .. } = self;
        for (name, known) in &mut names.known {
            if known.due.is_none_or(|due| due > now) {
                continue;
            }
            let is_needed = peers.iter().any(|peer| peer.paths_named(name).any(|path| peer.needs_name(path)));
            if is_needed || known.addresses.is_empty() {
                known.ask(name, &names.resolver, now);
                known.wait(now);
            } else {
                known.due = None;
            }
        }
    }

    /// A path's peer is looked for at an address of its name.
    fn turn_to(&mut self, peer: Handle, path: usize, address: IpAddr, now: Instant) {
        let Peer { config, connection, paths, paths_changed, .. } = &mut self.peers[peer];
        let socket = paths[path].socket;
        let is_taken = |(other, it): (usize, &super::PeerPath)| {
            other != path && it.socket == socket && it.remote.is_some_and(|remote| remote.ip() == address)
        };
        let (Some(shared), Some(path_config)) =
            (self.outside.sockets.get_mut(socket), config.paths.get(path))
        else {
            return;
        };
        if paths.iter().enumerate().any(is_taken) {
            return tracing::debug!(
                "path {} of {}: another path is at {address} already",
                path_config.name,
                config.name
            );
        }
        let planned = &mut paths[path];
        let remote = scoped(address, path_config.remote_port, shared.interface);
        if planned.remote.is_some() {
            let (name, silent) = (&path_config.name, planned.ends.remote);
            tracing::info!(
                "path {name} of {}: nothing comes back from {silent}, {address} is tried",
                config.name
            );
        }
        let state = connection.path_state(planned.id).unwrap_or(PathState::Down(DownReason::Unheard));
        planned.note_moved(remote, None, state, now);
        *paths_changed = true;
        let port = config.check_source_port.then_some(path_config.remote_port);
        shared.senders.replace(Sender { address, port, peer, path });
        let id = planned.id;
        // What was tried led to the address before.
        self.stop_trial(peer, path);
        // The path is there: its state was.
        let _ = self.peers[peer].connection.probe(id, now);
        self.check_path(peer, path, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: PathState = PathState::Down(DownReason::Silent);
    const OLD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const NEW: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3));

    fn at(named: &mut Named, seconds: u64, state: PathState) -> bool {
        named.handle_state(state, Some(OLD), Instant::ZERO + Duration::from_secs(seconds))
    }

    #[test]
    fn of_a_long_answer_so_many_are_taken_that_the_one_that_worked_has_its_turn_soon() {
        let many = (0..80).map(|last| IpAddr::from([203, 0, 113, last])).collect();
        assert_eq!(outside(many, &[]).unwrap().len(), MOST_ADDRESSES);
    }

    #[test]
    fn another_address_is_tried_after_five_seconds_of_silence_and_then_each_ten() {
        let mut named = Named::new("vps".into());
        assert!(!at(&mut named, 100, SILENT));
        assert!(!at(&mut named, 104, SILENT));
        assert!(at(&mut named, 105, SILENT));
        assert!(!at(&mut named, 114, SILENT));
        assert!(at(&mut named, 115, SILENT));
        for state in [PathState::Up, PathState::Down(DownReason::Link), PathState::Down(DownReason::Disabled)]
        {
            assert!(!at(&mut named, 120, state));
            assert_eq!(named.poll_timeout(), None);
        }
        assert!(!at(&mut named, 121, SILENT), "it begins anew");
    }

    #[test]
    fn the_address_that_worked_stays_among_those_that_are_tried() {
        let mut named = Named::new("vps".into());
        at(&mut named, 1, PathState::Up);
        let next = |current, known: &[IpAddr]| named.next(current, known.iter().copied());
        assert_eq!(next(OLD, &[NEW, OTHER]), Some(NEW));
        assert_eq!(next(NEW, &[NEW, OTHER]), Some(OTHER));
        assert_eq!(next(OTHER, &[NEW, OTHER]), Some(OLD));
        assert_eq!(next(OLD, &[OLD]), None, "there is no other");
        assert_eq!(next(OLD, &[]), None);
        let fresh = Named::new("vps".into());
        assert_eq!(fresh.next(OLD, [].into_iter()), None);
    }

    #[test]
    fn addresses_of_the_tunnel_and_of_no_host_are_left_out() {
        let tunnel = ["10.8.0.2/24".parse().unwrap()];
        let addresses = |list: &[&str]| list.iter().map(|it| it.parse().unwrap()).collect::<Vec<IpAddr>>();
        let all = addresses(&["10.8.0.1", "0.0.0.0", "224.0.0.1", "198.51.100.7", "::"]);
        assert_eq!(outside(all, &tunnel), Ok(addresses(&["198.51.100.7"])));
        assert!(outside(addresses(&["10.8.0.1"]), &tunnel).is_err());
    }

    #[test]
    fn a_name_is_asked_for_less_and_less_often() {
        let mut known = Known::default();
        let start = Instant::ZERO + Duration::from_secs(1000);
        known.need(start);
        let mut waits = Vec::new();
        for _ in 0..7 {
            let due = known.due.unwrap();
            waits.push(due.since(known.asked.unwrap_or(start)).as_secs());
            (known.asked, known.asked_times) = (Some(due), known.asked_times + 1);
            known.wait(due);
            known.need(due);
        }
        assert_eq!(waits, [5, 30, 60, 120, 300, 300, 300]);
    }
}
