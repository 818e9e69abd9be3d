//! All connections, the links and the time.

use std::collections::BTreeSet;
use std::time::Duration;

use mpt_proto::{
    CONTROL_MAX, Config, Connection, Departure, Endpoint, HEADROOM, Handle, Instant, Mode, PathConfig,
    PathId, PathState, Received, Slot, Storage, Timed,
};
use port_linux::sharing::{Downlink, Uplink};

use super::wires::{Frame, HEADERS, Wires};
use super::{Load, Quiet, Setup};
use crate::joined::memory::take;
use crate::joined::{End, Memory};
use crate::rng::Rng;

/// The server, and a peer.
const SERVER: End = 0;
const PEER: End = 1;
/// Paths of each peer.
const PATHS: usize = 2;
/// Runs start here, so that times before the start exist.
const START: Instant = Instant::from_micros(1_000_000);
/// Bytes of a packet of the load, and of the quiet peer.
const PACKET: usize = 1200;
const SMALL: usize = 100;
/// Between two packets of the quiet peer, each way.
const PING_INTERVAL: Duration = Duration::from_millis(20);
/// Most often, when anybody looks whether all are up.
const GLANCE: Duration = Duration::from_millis(10);

/// What a peer's packets in one direction came to.
#[derive(Debug, Clone, Copy, Default)]
struct Meter {
    offered: u64,
    came: u64,
    /// Since somebody looked.
    bytes: u64,
}

/// Sends to or from a peer.
#[derive(Debug, Clone, Copy)]
struct Source {
    from: End,
    peer: usize,
    len: usize,
    every: Duration,
    until: Instant,
}

/// A connection of one end.
struct Member<'m> {
    peer: usize,
    connection: Connection<'m>,
    ids: [PathId; PATHS],
}

impl Timed for Member<'_> {
    fn poll_timeout(&self) -> Option<Instant> {
        self.connection.poll_timeout()
    }
}

/// The connections of one end: the server's, or those of all peers.
struct Host<'m> {
    endpoint: Endpoint<Member<'m>, Vec<Slot<Member<'m>>>>,
    /// By peer.
    handles: Vec<Handle>,
}

impl<'m> Host<'m> {
    fn new(peers: usize) -> Self {
        let mut endpoint = Endpoint::new(Vec::new());
        endpoint.add_slots(peers);
        Self { endpoint, handles: Vec::with_capacity(peers) }
    }

    fn insert(&mut self, member: Member<'m>) -> Handle {
        self.endpoint.insert(member).ok().expect("room for all peers")
    }

    fn get(&self, peer: usize) -> &Member<'m> {
        self.endpoint.get(self.handles[peer]).expect("one for each peer")
    }

    fn get_mut(&mut self, peer: usize) -> &mut Member<'m> {
        self.endpoint.get_mut(self.handles[peer]).expect("one for each peer")
    }
}

/// What connections send through.
struct Outside {
    wires: Wires,
    uplink: Option<Uplink>,
    control: Box<[u8; CONTROL_MAX]>,
}

impl Outside {
    /// Sends what may leave. Returns whether the connection would send more if it were its turn.
    fn pull(&mut self, end: End, handle: Handle, member: &mut Member<'_>, now: Instant) -> bool {
        let Member { peer, connection, .. } = member;
        let mut uplink = self.uplink.as_mut().filter(|_| end == SERVER);
        loop {
            let may = uplink.as_ref().is_none_or(|uplink| uplink.may_send(handle, now));
            connection.set_turn(may);
            let Some(Departure { path, datagram, ecn, .. }) = connection.poll_transmit(&mut self.control)
            else {
                break;
            };
            uplink.iter_mut().for_each(|uplink| uplink.charge(handle, datagram.len() + HEADERS, now));
            let frame = Frame { peer: *peer, path: path.index(), ecn, bytes: datagram.to_vec() };
            self.wires.send(end, frame, now);
        }
        let Some(uplink) = uplink else { return false };
        let waits = connection.waits() && !uplink.may_send(handle, now);
        if waits {
            uplink.wait(handle, now);
        }
        connection.set_share(uplink.share(handle, now).and_then(|share| u32::try_from(share).ok()));
        waits
    }
}

/// See the module.
pub(super) struct World<'m> {
    setup: Setup,
    now: Instant,
    rng: Rng,
    /// Of each end.
    hosts: [Host<'m>; 2],
    outside: Outside,
    downlink: Option<Downlink>,
    sources: Vec<Source>,
    /// When each is to send.
    sending: BTreeSet<(Instant, usize)>,
    /// To each end.
    meters: [Vec<Meter>; 2],
    /// Bytes of datagrams that came since somebody looked.
    came: [u64; 2],
    /// Delays of the quiet one's packets, and how many were sent.
    delays: Vec<Duration>,
    pinged: u64,
}

impl<'m> World<'m> {
    pub(super) fn new(setup: &Setup, busy: &'m mut Memory, idle: &'m mut Memory) -> Self {
        let (mut busy, mut idle) = (busy.lives(), idle.lives());
        let mut world = Self {
            setup: *setup,
            now: START,
            rng: Rng::new(setup.seed),
            hosts: [Host::new(setup.peers), Host::new(setup.peers)],
            outside: Outside {
                wires: Wires::new(setup),
                uplink: setup.share.then(|| Uplink::new(setup.rate)),
                control: Box::new([0; CONTROL_MAX]),
            },
            downlink: setup.share.then(|| Downlink::new(setup.rate)),
            sources: Vec::new(),
            sending: BTreeSet::new(),
            meters: [vec![Meter::default(); setup.peers], vec![Meter::default(); setup.peers]],
            came: [0; 2],
            delays: Vec::new(),
            pinged: 0,
        };
        for peer in 0..setup.peers {
            for end in [SERVER, PEER] {
                let storage = take(if peer < setup.busy { &mut busy } else { &mut idle });
                let member = world.connect(peer, storage);
                let handle = world.hosts[end].insert(member);
                world.hosts[end].handles.push(handle);
            }
        }
        world.settle();
        world
    }

    fn connect(&mut self, peer: usize, storage: Storage<'m>) -> Member<'m> {
        let config = Config { seed: self.rng.next(), ..Config::default() };
        let mut connection = Connection::new(config, storage, self.now);
        let path = PathConfig { max_datagram: 1400, ..PathConfig::default() };
        let ids = [0; PATHS].map(|_| connection.add_path(path, self.now).expect("a sound path"));
        Member { peer, connection, ids }
    }

    /// The server starts anew, and knows where its peers were.
    pub(super) fn restart(&mut self) {
        for peer in 0..self.setup.peers {
            let handle = self.hosts[SERVER].handles[peer];
            let before = self.hosts[SERVER].endpoint.remove(handle).expect("one for each peer");
            self.outside.uplink.iter_mut().for_each(|uplink| uplink.remove(handle));
            self.downlink.iter_mut().for_each(|downlink| downlink.remove(handle));
            let member = self.connect(peer, before.connection.into_storage());
            self.hosts[SERVER].handles[peer] = self.hosts[SERVER].insert(member);
        }
        self.settle();
    }

    fn is_up(&self, peer: usize) -> bool {
        [SERVER, PEER].into_iter().all(|end| {
            let Member { connection, ids, .. } = self.hosts[end].get(peer);
            let is_up = |id: &PathId| connection.path_state(*id) == Ok(PathState::Up);
            connection.mode() == Some(Mode::Adaptive) && ids.iter().all(is_up)
        })
    }

    /// Lets time pass until all paths of all peers are up at both ends, and says how much.
    pub(super) fn until_all_are_up(&mut self, most: Duration) -> Duration {
        let since = self.now;
        let mut first = 0;
        while first < self.setup.peers {
            assert!(self.now < since + most, "peer {first} is not there");
            self.run(GLANCE);
            first += (first..self.setup.peers).take_while(|peer| self.is_up(*peer)).count();
        }
        self.now.since(since)
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.next_event().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = until;
    }

    fn next_event(&self) -> Option<Instant> {
        let deadline = self.hosts.iter().filter_map(|host| host.endpoint.poll_timeout()).min();
        let sending = self.sending.first().map(|(at, _)| *at);
        let uplink = self.outside.uplink.as_ref().and_then(Uplink::poll_timeout);
        let downlink = self.downlink.as_ref().and_then(Downlink::poll_timeout);
        [deadline, sending, self.outside.wires.poll_timeout(), uplink, downlink].into_iter().flatten().min()
    }

    /// Does all that is due.
    fn step(&mut self) {
        let now = self.now;
        while let Some((end, mut frame)) = self.outside.wires.receive(now) {
            self.arrive(end, &mut frame);
        }
        for host in &mut self.hosts {
            while let Some(handle) = host.endpoint.next_due(now) {
                let member = host.endpoint.get_mut(handle);
                member.into_iter().for_each(|member| member.connection.handle_timeout(now));
            }
        }
        while let Some((at, number)) = self.sending.first().copied().filter(|(at, _)| *at <= now) {
            self.sending.remove(&(at, number));
            let source = self.sources[number];
            if at < source.until {
                self.sending.insert((at + source.every, number));
                self.offer(source);
            }
        }
        if let Some(downlink) =
            self.downlink.as_mut().filter(|it| it.poll_timeout().is_some_and(|due| due <= now))
        {
            downlink.share(|_| None, now);
            for &handle in downlink.active() {
                let member = self.hosts[SERVER].endpoint.get_mut(handle);
                member.into_iter().for_each(|member| _ = member.connection.ask(downlink.told(handle)));
            }
        }
        self.settle();
        while let Some(handle) = self.outside.uplink.as_mut().and_then(|uplink| uplink.begin_turn(now)) {
            let member = self.hosts[SERVER].endpoint.get_mut(handle);
            let waits = member.is_some_and(|member| self.outside.pull(SERVER, handle, member, now));
            self.outside.uplink.iter_mut().for_each(|uplink| uplink.end_turn(waits, now));
        }
        // Not before: who has packets that no path takes yet would wait for its next turn at once.
        self.settle();
    }

    fn arrive(&mut self, end: End, frame: &mut Frame) {
        let (peer, now) = (frame.peer, self.now);
        self.came[end] += (frame.bytes.len() + HEADERS) as u64;
        let handle = self.hosts[end].handles[peer];
        let Member { connection, ids, .. } = self.hosts[end].get_mut(peer);
        if end == SERVER
            && let Some(downlink) = &mut self.downlink
            && downlink.note(handle, frame.bytes.len() + HEADERS, now)
        {
            connection.ask(downlink.told(handle));
        }
        let received = connection.decapsulate(ids[frame.path], &mut frame.bytes, frame.ecn, now);
        if let Ok(Received::Packet(packet)) = received {
            note(&mut self.meters[end][peer], &mut self.delays, packet, now);
        }
        while let Some(packet) = connection.poll_packet() {
            note(&mut self.meters[end][peer], &mut self.delays, packet, now);
        }
    }

    fn offer(&mut self, Source { from, peer, len, .. }: Source) {
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(&packet(len, self.now));
        self.meters[1 - from][peer].offered += 1;
        self.pinged += u64::from(len == SMALL);
        // Paths are up, and the packet is one.
        let _ = self.hosts[from].get_mut(peer).connection.encapsulate(&mut buffer, self.now).map(drop);
    }

    /// What follows changes of connections.
    fn settle(&mut self) {
        for end in [SERVER, PEER] {
            while let Some((handle, member)) = self.hosts[end].endpoint.next_touched() {
                while let Some(packet) = member.connection.poll_packet() {
                    note(&mut self.meters[end][member.peer], &mut self.delays, packet, self.now);
                }
                self.outside.pull(end, handle, member, self.now);
                while member.connection.poll_event().is_some() {}
                self.hosts[end].endpoint.settled(handle);
            }
        }
    }

    fn add(&mut self, from: End, peer: usize, (len, every, time): (usize, Duration, Duration)) {
        let begins = self.now + self.rng.time(every);
        self.sending.insert((begins, self.sources.len()));
        self.sources.push(Source { from, peer, len, every, until: self.now + time });
    }

    /// Lets the quiet peer and the server send each other a little.
    pub(super) fn ping(&mut self, time: Duration) {
        self.delays.clear();
        self.pinged = 0;
        for from in [SERVER, PEER] {
            self.add(from, self.setup.peers - 1, (SMALL, PING_INTERVAL, time));
        }
        self.run(time);
    }

    /// Lets the busy ones send for a time, and be sent to.
    pub(super) fn load(&mut self, time: Duration) {
        let bits = self.setup.rate * self.setup.load / 100 / self.setup.busy as u64;
        let every = Duration::from_nanos(PACKET as u64 * 8 * 1_000_000_000 / bits);
        for peer in 0..self.setup.busy {
            for from in [SERVER, PEER] {
                self.add(from, peer, (PACKET, every, time));
            }
        }
    }

    pub(super) fn forget_what_came(&mut self) {
        self.meters.iter_mut().flatten().for_each(|meter| meter.bytes = 0);
        self.came = [0; 2];
    }

    /// What became of the packets of the quiet one, when the last of them have come.
    pub(super) fn quiet(&mut self) -> Quiet {
        self.run(Duration::from_millis(500));
        self.delays.sort_unstable();
        let p99 = self.delays.get(self.delays.len() * 99 / 100).copied().unwrap_or(Duration::MAX);
        Quiet { p99, lost: self.pinged - self.delays.len() as u64 }
    }

    /// What came within this time, to the server and from it.
    pub(super) fn loads(&self, time: Duration) -> [Load; 2] {
        [SERVER, PEER].map(|end| {
            let bytes = self.meters[end][..self.setup.busy].iter().map(|meter| meter.bytes as f64);
            let (sum, squares) = (bytes.clone().sum::<f64>(), bytes.map(|bytes| bytes * bytes).sum::<f64>());
            let rate = |bytes: f64| bytes * 8.0 / time.as_secs_f64();
            let fairness = sum * sum / (squares * self.setup.busy as f64);
            Load { rate: rate(sum), used: rate(self.came[end] as f64) / self.setup.rate as f64, fairness }
        })
    }

    pub(super) fn missing(&self) -> u64 {
        let of = |end: End, peer: usize| {
            let meter = self.meters[end][peer];
            let dropped = self.hosts[1 - end].get(peer).connection.stats().tx_dropped;
            meter.offered.saturating_sub(meter.came + dropped)
        };
        (0..self.setup.busy).flat_map(|peer| [of(SERVER, peer), of(PEER, peer)]).sum()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.outside.wires.dropped()
    }
}

/// An inner packet came.
fn note(meter: &mut Meter, delays: &mut Vec<Duration>, packet: &[u8], now: Instant) {
    meter.came += 1;
    meter.bytes += packet.len() as u64;
    if packet.len() == SMALL {
        let sent = packet[28..36].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        delays.push(now.since(Instant::from_micros(sent)));
    }
}

/// IPv4 and UDP, with the time of sending behind the headers.
fn packet(len: usize, now: Instant) -> Vec<u8> {
    let mut packet = vec![0; len];
    packet[..20].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet[2..4].copy_from_slice(&u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes());
    packet[20..24].copy_from_slice(&[0x9c, 0x40, 0, 9]);
    packet[28..36].copy_from_slice(&now.as_micros().to_be_bytes());
    packet
}
