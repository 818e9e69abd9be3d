//! The event loop: one thread waits for the tunnel device, the sockets, the bell and signals, and moves
//! packets in bounded batches.
//!
//! Each wake-up: what arrived on the sockets, with commands and changes of links among it, then what the kernel wants
//! sent, then deadlines. Inner packets are drained after each datagram; control datagrams and events once per
//! wake-up, in the order that [`mpt_proto::Connection`] asks for.

mod change;
mod data;
mod incoming;
mod inside;
mod keyring;
mod keys;
mod limits;
mod links;
mod mismatch;
mod mode;
mod names;
mod news;
mod outside;
mod path;
mod peer;
mod peers;
mod pin;
mod place;
mod plan;
mod portal;
mod ports;
mod record;
mod reload;
mod remembered;
mod report;
mod resources;
mod senders;
mod shares;
mod sizes;
mod standby;
mod strangers;
mod tiers;
mod tunnel_mtu;
mod unanswered;

pub use data::Data;
use inside::{Inside, Outgoing};
pub use names::{Named, Names};
use outside::Arrival;
pub use outside::{Outside, SharedSocket, SystemSealer};
pub use path::PeerPath;
pub use peer::{Peer, Role};
pub use peers::Peers;
pub use plan::{ABSENT_MTU, LOOK, Plan, bind};
pub use portal::Portals;
pub use ports::OtherPort;
pub use reload::{MakeHost, Reload};
pub use remembered::Remembered;
pub use resources::{Resources, sealer, sealing};
pub use senders::Sender;
pub use tunnel_mtu::TunnelMtu;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use mpt_proto::{HEADROOM, Handle, Instant};
use rustix::event::{Timespec, epoll};

use crate::clock::{Alarm, Clock, Stamps};
use crate::control::{Asked, Query};
use crate::events::Journal;
use crate::link::Interfaces;
use crate::mtu;
use crate::offload::{Header, MAX_PACKET, Segmentation, Split, clamp, finish_checksum};
use crate::routes::{Route, Routes};
use crate::socket::{Batch, Maker};
use crate::supervisor::Supervisor;
use crate::tun::Tun;
use crate::wake::Waker;

/// Bytes read from the tunnel device per wake-up: enough to make the wait between them cheap, few enough (half
/// a millisecond at 4 Gbit/s) that probes and arriving datagrams do not wait for it, and that a burst fits the
/// queues of the links.
const TUN_BATCH: usize = 256 << 10;
/// Events taken per wait; more than that stay for the next one.
const EVENTS: usize = 64;

/// Waits from here on could span a suspension worth the name: the alarm ends them in time.
const LONG_WAIT: Duration = Duration::from_millis(250);

/// What a wake-up was for: the number that epoll hands back. Sockets follow from [`FIRST_SOCKET`] on.
const TUN: u64 = 0;
const BELL: u64 = 1;
const SIGNAL: u64 = 2;
const ALARM: u64 = 3;
const FIRST_SOCKET: u64 = 4;

/// What the tunnel interface is, for the report.
#[derive(Debug, Clone)]
pub struct TunnelFacts {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<ipnet::IpNet>,
    /// Its MTU.
    pub mtu: u16,
}

/// What one receive call on each socket brought. Kept from one wake-up to the next for its memory.
#[derive(Debug, Default)]
struct Arrived {
    batches: Vec<Batch>,
    /// Stamp, batch and number within that of each run, to be sorted.
    order: Vec<(Option<Duration>, usize, usize)>,
}

/// Packets that no connection took.
#[derive(Debug, Clone, Copy, Default)]
struct TunnelDrops {
    no_route: u64,
    link_scoped: u64,
    /// Whether people were told that multicast is not carried.
    told_multicast: bool,
}

/// Everything that the loop owns.
pub struct Driver<'s> {
    clock: Clock,
    stamps: Stamps,
    alarm: Alarm,
    epoll: rustix::fd::OwnedFd,
    inside: Inside,
    tunnel: TunnelFacts,
    tunnel_mtu: Option<TunnelMtu>,
    outside: Outside<'s>,
    peers: Peers<'s>,
    resources: Resources<'s>,
    /// Connections for which something is due. Kept for its memory.
    due: Vec<Handle>,
    /// Connections of which other paths can be used than the layer that seals knows of.
    paths_changed: Vec<Handle>,
    /// Connections of which a path changed its state.
    states_changed: Vec<Handle>,
    /// What the paths carry may be another than the tunnel's MTU was made for.
    sizes_changed: bool,
    drops: TunnelDrops,
    /// Until when people are not told of strangers again.
    strangers_told_until: Option<Instant>,
    bell: Waker,
    signal: UnixStream,
    queries: mpsc::Receiver<Query>,
    link_changes: mpsc::Receiver<Interfaces>,
    interfaces: Interfaces,
    recheck_links: Option<Instant>,
    supervisor: Supervisor,
    maker: Maker,
    reload: Option<Reload<'s>>,
    remembered: Option<Remembered>,
    names: Names,
    uncarried: change::Uncarried,
    standbys: standby::Groups,
    /// Why interfaces have no path, as people were told.
    left_out: Vec<String>,
    journal: Journal,
    data: Data,
    tiers: tiers::Tiers,
    portals: Portals,
}

/// What [`Driver::new`] takes.
pub struct Parts<'s> {
    /// The tunnel device.
    pub tun: Tun,
    /// What it is.
    pub tunnel: TunnelFacts,
    /// Lets its MTU follow what the paths carry; `None`: it stays as it is.
    pub tunnel_mtu: Option<TunnelMtu>,
    /// The sockets, and what seals.
    pub outside: Outside<'s>,
    /// The connections, in the order of the configuration.
    pub peers: Peers<'s>,
    /// What they are made with, and the clock.
    pub resources: Resources<'s>,
    /// Which of them carries what.
    pub routes: Routes,
    /// Rung when `queries` or `link_changes` has something.
    pub bell: Waker,
    /// Becomes readable when the process is asked to end.
    pub signal: UnixStream,
    /// From the control socket.
    pub queries: mpsc::Receiver<Query>,
    /// From the watch on links.
    pub link_changes: mpsc::Receiver<Interfaces>,
    /// The links as they were checked.
    pub interfaces: Interfaces,
    /// How sockets are made that replace these.
    pub maker: Maker,
    /// Lets it follow another configuration.
    pub reload: Option<Reload<'s>>,
    /// Where peers that come by themselves were last.
    pub remembered: Option<Remembered>,
    /// Where peers are that have names.
    pub names: Names,
    /// Notes what happens.
    pub journal: Journal,
    /// Counts what paths with a data plan carry.
    pub data: Data,
    /// Looks for captive portals.
    pub portals: Portals,
}

impl<'s> Driver<'s> {
    /// Registers everything that is waited for.
    ///
    /// # Errors
    /// When the kernel refuses, for lack of memory or descriptors.
    pub fn new(parts: Parts<'s>) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll")?;
        let Parts {
            tun,
            tunnel,
            tunnel_mtu,
            outside,
            peers,
            resources,
            routes,
            bell,
            signal,
            queries,
            link_changes,
            interfaces,
            maker,
            reload,
            remembered,
            names,
            journal,
            data,
            portals,
        } = parts;
        let clock = resources.clock;
        let mut driver = Self {
            clock,
            stamps: Stamps::start(clock),
            alarm: Alarm::new().context("timer")?,
            epoll,
            inside: Inside::new(tun, routes, tunnel.mtu),
            tunnel,
            tunnel_mtu,
            outside,
            peers,
            resources,
            due: Vec::new(),
            paths_changed: Vec::new(),
            states_changed: Vec::new(),
            sizes_changed: true,
            drops: TunnelDrops::default(),
            strangers_told_until: None,
            bell,
            signal,
            queries,
            link_changes,
            interfaces,
            recheck_links: None,
            supervisor: Supervisor::from_environment(),
            maker,
            reload,
            remembered,
            names,
            uncarried: change::Uncarried::new(),
            standbys: standby::Groups::new(),
            left_out: Vec::new(),
            journal,
            data,
            tiers: tiers::Tiers::default(),
            portals,
        };
        driver.listen(&driver.inside.tun, TUN)?;
        driver.listen(&driver.bell, BELL)?;
        driver.listen(&driver.signal, SIGNAL)?;
        driver.listen(&driver.alarm, ALARM)?;
        for (number, shared) in (FIRST_SOCKET..).zip(&driver.outside.sockets) {
            if let Some(socket) = shared.descriptor() {
                driver.listen(socket, number)?;
            }
        }
        let configured: Vec<_> = driver.peers.iter().map(|peer| peer.config.clone()).collect();
        driver.begin_standbys(&configured, clock.now());
        driver.begin_names(clock.now());
        driver.begin_tiers(&configured, clock.now());
        driver.begin_data(&configured, &[], clock.now());
        Ok(driver)
    }

    fn listen(&self, source: impl AsFd, number: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?)
    }

    /// Runs until the process is asked to end.
    ///
    /// # Errors
    /// When waiting itself fails, or somebody deleted the interface; nothing that a peer sends ends it.
    pub fn run(mut self) -> Result<()> {
        let ended = self.turn();
        self.end_data();
        ended
    }

    fn turn(&mut self) -> Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        let (mut ready, mut arrived) = (Vec::with_capacity(EVENTS), Arrived::default());
        let mut outgoing = Outgoing::new();
        let mut segment = vec![0; HEADROOM + MAX_PACKET];
        self.check_links(self.clock.now());
        self.handle_timeouts();
        self.supervisor.ready(self.clock.now());
        loop {
            let timeout = self.timeout();
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("waiting for events"),
            }
            let mut tun_is_ready = false;
            ready.clear();
            for event in &events {
                match event.data.u64() {
                    TUN => tun_is_ready = true,
                    BELL => self.handle_bell(),
                    ALARM => self.alarm.silence(),
                    SIGNAL => {
                        self.supervisor.stopping();
                        return Ok(());
                    }
                    number => ready.push(usize::try_from(number - FIRST_SOCKET)?),
                }
            }
            self.handle_sockets(&ready, &mut arrived);
            if tun_is_ready {
                self.handle_tun(&mut outgoing, &mut segment)
                    .with_context(|| format!("the interface {} is gone", self.tunnel.name))?;
            }
            self.settle(self.clock.now());
            self.handle_timeouts();
        }
    }

    /// One receive call's worth of datagrams from each of these sockets, through the core, to the tunnel device; to be
    /// settled. In the order in which they arrived, whatever the socket: so most need not wait for others in the core.
    fn handle_sockets(&mut self, ready: &[usize], arrived: &mut Arrived) {
        if ready.is_empty() {
            return;
        }
        let Arrived { batches, order } = arrived;
        batches.resize_with(batches.len().max(ready.len()), Batch::new);
        order.clear();
        for (place, (index, batch)) in ready.iter().zip(batches.iter_mut()).enumerate() {
            let Some(shared) = self.outside.sockets.get(*index) else { continue };
            if let Err(error) = shared.receive(batch) {
                tracing::trace!("receive: {error}");
            }
            order.extend(batch.stamps().enumerate().map(|(run, stamp)| (stamp, place, run)));
        }
        order.sort_unstable();
        let now = self.stamps.look();
        for &(_, place, run) in order.iter() {
            let (index, mut run) = (ready[place], batches[place].run(run));
            let ecn = run.ecn;
            let origin = self.outside.origin(index, run.source, run.destination);
            let arrived = run.stamp.map_or(now, |stamp| self.stamps.arrival(stamp));
            for datagram in run.datagrams() {
                let len = datagram.len() + usize::from(mtu::headers(origin.source.ip()));
                let (peer, path, datagram) = match self.outside.open(origin, datagram, now) {
                    Arrival::Path { sender, datagram } => (sender.peer, sender.path, datagram),
                    Arrival::Moved { peer, number, is_newest, datagram } => {
                        match self.handle_moved((peer, number, is_newest), origin, datagram, now) {
                            Some(path) => (peer, path, datagram),
                            None => continue,
                        }
                    }
                    Arrival::Stranger(datagram) => {
                        self.handle_stranger(origin, datagram, now);
                        continue;
                    }
                    Arrival::Refused(reason) => {
                        self.tell_refused(origin, reason);
                        continue;
                    }
                    Arrival::Nothing => continue,
                };
                let Some(connection) = self.peers.get_mut(peer) else { continue };
                self.outside.note_arrived(connection, len, now);
                let claimed =
                    connection.receive(path, datagram, (origin, ecn), (arrived, now), &mut self.inside);
                if let Some((path, claim)) = claimed {
                    self.handle_claim((peer, path), origin, claim, now);
                }
            }
        }
    }

    /// Packets from the tunnel device, cut where the kernel left that to us, through the core, to the sockets; to be
    /// settled.
    ///
    /// # Errors
    /// When the interface was deleted.
    fn handle_tun(&mut self, outgoing: &mut Outgoing, segment: &mut [u8]) -> io::Result<()> {
        let now = self.clock.now();
        let mut bytes = 0;
        while bytes < TUN_BATCH {
            let Some((header, buffer)) = outgoing.read(&self.inside.tun)? else { break };
            bytes += buffer.len();
            self.handle_packet(header, buffer, segment, now);
        }
        Ok(())
    }

    /// One packet of the kernel, behind [`HEADROOM`] bytes of `buffer`; `segment` has room for a part of it.
    fn handle_packet(&mut self, header: Option<Header>, buffer: &mut [u8], segment: &mut [u8], now: Instant) {
        let packet = &mut buffer[HEADROOM..];
        let handle = match self.inside.routes.route(packet) {
            Route::To(handle) => handle,
            Route::LinkScoped { is_missed } => return self.drop_link_scoped(is_missed),
            Route::None => return self.drops.no_route += 1,
        };
        let Self { peers, outside, inside, .. } = self;
        let (Some(peer), Some(header)) = (peers.get_mut(handle), header) else {
            return inside.drops.tun_read += 1;
        };
        if header.segmentation == Segmentation::None {
            match finish_checksum(header, packet) {
                Some(()) => {
                    clamp(packet, inside.mtu);
                    peer.send(buffer, now, outside);
                }
                None => inside.drops.tun_read += 1,
            }
            return peer.pull(now, outside);
        }
        if peer.send_sliced(header, packet, segment, now, outside).is_some() {
            return peer.pull(now, outside);
        }
        let room = usize::from(self.tunnel.mtu);
        let Some(mut split) = Split::new(header, packet, room) else { return inside.drops.tun_read += 1 };
        while let Some(len) = split.next_into(&mut segment[HEADROOM..]) {
            peer.send(&mut segment[..HEADROOM + len], now, outside);
        }
        peer.pull(now, outside);
    }

    /// Counts a packet to the link itself that no connection carries, and tells people of the first that somebody may miss.
    fn drop_link_scoped(&mut self, is_missed: bool) {
        self.drops.link_scoped += 1;
        if is_missed && !std::mem::replace(&mut self.drops.told_multicast, true) {
            tracing::warn!(
                "multicast, broadcast and link-local packets on {} are dropped: multicast = true in a [[connection]] \
                 sends them to its peer",
                self.tunnel.name
            );
        }
    }

    /// After a wake-up: control datagrams and events of all connections, and what was held back to go together. Once,
    /// so that packets that arrived on different paths are joined.
    fn settle(&mut self, now: Instant) {
        loop {
            self.settle_touched(now);
            self.follow_keys(now);
            self.serve_turns(now);
            if self.paths_changed.is_empty() && !self.peers.some_are_touched() {
                break;
            }
        }
        self.inside.flush();
    }

    /// Settles every connection that was touched.
    fn settle_touched(&mut self, now: Instant) {
        while let Some(peer) = self.peers.next_touched() {
            peer.settle(now, &mut self.inside, &mut self.outside);
            peer.tell_news(&mut self.journal, now);
            let handle = peer.handle;
            if std::mem::take(&mut peer.paths_changed) {
                self.paths_changed.push(handle);
            }
            if std::mem::take(&mut peer.states_changed) {
                self.states_changed.push(handle);
            }
            self.sizes_changed |= std::mem::take(&mut peer.sizes_changed);
            let went_down = std::mem::take(&mut peer.path_went_down);
            self.note_links(handle, went_down, now);
            self.peers.settled(handle);
        }
    }

    /// Commands from the control socket and changes of links.
    fn handle_bell(&mut self) {
        self.bell.silence();
        if let Some(interfaces) = self.link_changes.try_iter().last() {
            self.interfaces = interfaces;
            self.follow_interfaces(self.clock.now());
            self.check_links(self.clock.now());
            self.names.hurry(self.clock.now());
        }
        self.handle_found(self.clock.now());
        self.handle_portals(self.clock.now());
        while let Ok(query) = self.queries.try_recv() {
            let answer = match query.asked {
                Asked::Command(command) => self.answer(&command),
                Asked::PinToPeer { address, path, flow, seconds } => {
                    self.answer_pin_to_peer(address, path, flow, seconds)
                }
                Asked::Configuration(config) => self.answer_config(*config),
            };
            // The client may have gone meanwhile.
            let _ = query.answer.send(answer);
        }
    }

    fn handle_timeouts(&mut self) {
        let now = self.clock.now();
        if self.recheck_links.is_some_and(|deadline| deadline <= now) {
            self.check_links(now);
        }
        let mut due = std::mem::take(&mut self.due);
        self.peers.take_due(now, &mut due);
        // All of them before one is settled: what is due and was not called yet would be settled twice.
        for &handle in &due {
            if let Some(peer) = self.peers.get_mut(handle) {
                peer.handle_timeout(now);
            }
        }
        self.settle_touched(now);
        self.inside.flush();
        for &handle in &due {
            self.forget_gone(handle, now);
            self.follow_ports(handle, now);
            self.follow_name(handle, now);
            self.follow_unanswered(handle, now);
            self.finish_leaving(handle, now);
        }
        self.due = due;
        self.outside.handle_timeout(now);
        self.share_downlink(now);
        self.follow_sizes(now);
        let some_state_changed = !self.states_changed.is_empty();
        while let Some(handle) = self.states_changed.pop() {
            self.follow_ports(handle, now);
            self.follow_name(handle, now);
            self.follow_unanswered(handle, now);
        }
        self.follow_names(now);
        if some_state_changed || self.next_standby(now).is_some_and(|deadline| deadline <= now) {
            self.follow_standbys(now);
        }
        if self.next_gone().is_some_and(|deadline| deadline <= now) {
            self.follow_interfaces(now);
        }
        self.settle(now);
        self.remember(now);
        self.follow_tiers(now);
        self.follow_data(now);
        self.supervisor.handle_timeout(now);
        let (up, all) = self.peers.paths();
        self.supervisor.paths(up, all);
    }

    /// One mutation of a connection, and the drain that must follow.
    fn mutate<T>(&mut self, handle: Handle, now: Instant, mutation: impl FnOnce(&mut Peer<'s>) -> T) -> T {
        let outcome = mutation(&mut self.peers[handle]);
        self.settle_touched(now);
        self.inside.flush();
        outcome
    }

    /// How long to wait at most; `None`: until something happens.
    fn timeout(&self) -> Option<Timespec> {
        let tunnel = self.tunnel_mtu.as_ref().and_then(TunnelMtu::poll_timeout);
        let deadlines =
            self.peers.poll_timeout().into_iter().chain(tunnel).chain(self.outside.poll_timeout());
        let deadline = deadlines
            .chain(self.recheck_links)
            .chain(self.remembered.as_ref().and_then(Remembered::poll_timeout))
            .chain(self.names.poll_timeout())
            .chain(self.next_gone())
            .chain(self.data.poll_timeout())
            .chain(self.tiers.poll_timeout())
            .chain(self.next_standby(self.clock.now()))
            .chain(self.supervisor.poll_timeout())
            .min()?;
        let wait = deadline.since(self.clock.now());
        if wait >= LONG_WAIT {
            self.alarm.set(deadline, &self.clock);
        }
        Some(Timespec::try_from(wait).unwrap_or(Timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 }))
    }
}
