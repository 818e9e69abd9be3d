//! Two busy connections in virtual time, of which one is saved and restored again and again: from then on the original and the restored one do
//! the same, step by step. And a state that was damaged or made up: it is refused, or its connection bears whatever happens.
#![allow(clippy::cast_possible_truncation, reason = "what is made up here fits")]

use std::time::Duration;

use mpt_proto::wire::gre::{self, Protocol};
use mpt_proto::wire::ip::{self, Flow};
use mpt_proto::wire::{extension, fragment};
use mpt_proto::{
    CONTROL_MAX, ClassRule, Config, Connection, Departure, Ecn, Event, HEADROOM, Instant, Link, PathConfig,
    PathId, Policy, Received, Storage, Travel, Unsent,
};

use crate::joined::memory;
use crate::joined::{Memory, Sizes};
use crate::rng::Rng;

/// Beside the memory of the two ends: that of a twin, and of one that takes an end's place.
const LIVES: usize = 2;
const PATHS: usize = 3;
/// Runs start here, so that times before the start exist.
const START: Instant = Instant::from_micros(1_000_000);
/// Small, so that memory is full at times.
const SIZES: Sizes = Sizes {
    reorder_slots: 97,
    reorder_cell: 1600,
    reassembly_slots: 3,
    reassembly_cell: 4000,
    adaptive_slots: 150,
    adaptive_cell: 1600,
    flows: 32,
};
/// More than that comes out of no step.
const MOST_AT_ONCE: usize = 2_000;

/// A call that changes a connection.
#[derive(Debug, Clone)]
enum Input {
    Packet(Vec<u8>),
    Slice(Vec<u8>, Flow),
    Datagram {
        path: PathId,
        bytes: Vec<u8>,
        ecn: Ecn,
        arrived: Instant,
    },
    Timeout,
    Link(PathId, Link),
    Enabled(PathId, bool),
    MaxDatagram(PathId, u16),
    Tier(PathId, u8),
    Remove(PathId),
    Add,
    TakeCarried(PathId),
    Limit(u64),
    Turn(bool),
    Share(Option<u32>),
    Ask(Option<u32>),
    Pin((u16, u16), PathId),
    SearchSize(PathId, u64),
    Unsent(PathId, Unsent),
    /// All that is to be had, or one.
    Packets,
    OnePacket,
    Transmits,
    OneTransmit,
    Events,
}

/// What a connection answers: all but payload.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Output {
    Left(PathId, Ecn, usize, Vec<u8>),
    Delivered(usize, Ecn),
    Event(Event),
    Other(String),
}

/// What is on its way: when it arrives, at which end, on which path.
type UnderWay = (Instant, usize, usize, Ecn, Vec<u8>);

struct World<'m> {
    ends: [Connection<'m>; 2],
    /// The end that was saved, and the connection that goes on from there.
    twin: Option<(usize, Connection<'m>)>,
    /// Memory for the next.
    spare: Vec<Storage<'m>>,
    network: Vec<UnderWay>,
    now: Instant,
    rng: Rng,
    serial: u64,
    /// How many steps a twin has done.
    compared: u64,
    largest: usize,
    /// An end is saved before one of so many calls; 0: before none.
    saves: usize,
}

fn config(policy: Policy, seed: u64) -> Config {
    let rule = |port, travel, tier| ClassRule {
        protocol: None,
        ports: Some((port, port)),
        dscp: None,
        network: None,
        travel,
        tier,
    };
    let mut config = Config { seed, flow_seed: 99, policy, slices: true, ..Config::default() };
    for (port, travel, tier) in [
        (7000, Travel::Timely { share: 60, deadline: 30 }, None),
        (7001, Travel::Protected(100), Some(0)),
        (7002, Travel::Path(1), None),
        (7003, Travel::Ordered, None),
        (7004, Travel::Usual, Some(0)),
    ] {
        config.classes.push(rule(port, travel, tier)).expect("room for five rules");
    }
    config
}

impl<'m> World<'m> {
    fn new(policy: Policy, seed: u64, memory: &'m mut Memory) -> Self {
        let mut lives = memory.lives();
        let mut take = || memory::take(&mut lives);
        let (a, b, spare) = (take(), take(), vec![take(), take()]);
        let ends = [(a, seed), (b, seed ^ 1)];
        let ends = ends.map(|(storage, seed)| Connection::new(config(policy, seed), storage, START));
        let mut world = Self {
            ends,
            twin: None,
            spare,
            network: Vec::new(),
            now: START,
            rng: Rng::new(seed),
            serial: 0,
            compared: 0,
            largest: 0,
            saves: 0,
        };
        for end in 0..2 {
            (0..PATHS).for_each(|_| world.enter(end, &Input::Add));
        }
        world
    }

    /// Saves an end and lets the twin go on from there.
    ///
    /// # Panics
    /// What was restored is not what was saved.
    fn save(&mut self, end: usize) {
        let state = saved(&self.ends[end]);
        self.largest = self.largest.max(state.len());
        let former = self.twin.take().map(|(_, twin)| twin.into_storage());
        let storage = former.or_else(|| self.spare.pop()).expect("memory for a twin");
        let seed = self.ends[end].flow_seed();
        let twin = restored(&state, storage, seed).expect("a state that was saved");
        assert!(saved(&twin) == state, "the same state has other bytes");
        self.twin = Some((end, twin));
    }

    /// Calls an end, and its twin in the same way.
    fn enter(&mut self, end: usize, input: &Input) {
        if self.saves > 0 && self.rng.index(self.saves) == 0 {
            self.save(end);
        }
        let outputs = entered(&mut self.ends[end], input, self.now, |departure| {
            let path = departure.path.index();
            // Some are lost, and some overtake others.
            if self.rng.index(100) >= 2 {
                let delay = [5_000, 22_000, 40_000][path % 3] + self.rng.index(4_000) as u64;
                let arrival = self.now + Duration::from_micros(delay);
                let mut room = [0; 2000];
                let datagram = departure.padded(&mut room).expect("room for all").to_vec();
                // A hop of the last path carries less.
                if path != PATHS - 1 || datagram.len() <= 1100 {
                    self.network.push((arrival, 1 - end, path, departure.ecn, datagram));
                }
            }
        });
        let deadline = self.ends[end].poll_timeout();
        if let Some((_, twin)) = self.twin.as_mut().filter(|(of, _)| *of == end) {
            let same = entered(twin, input, self.now, |_| {});
            assert_eq!(outputs, same, "after {input:?} at {:?}", self.now);
            assert_eq!(deadline, twin.poll_timeout(), "after {input:?} at {:?}", self.now);
            self.compared += 1;
        }
    }

    fn path(&mut self, end: usize) -> PathId {
        let paths: Vec<PathId> = self.ends[end].paths().collect();
        paths[self.rng.index(paths.len())]
    }

    /// A packet of one of some flows: data and acknowledgements of TCP, datagrams, both versions of IP.
    fn packet(&mut self) -> Vec<u8> {
        self.serial += 1;
        let (protocol, len) =
            [(6, 1400), (6, 1400), (6, 40), (6, 40), (17, 200), (17, 1300), (6, 3000)][self.rng.index(7)];
        let (flow, is_six) = (self.rng.index(5) as u8, self.rng.index(6) == 0);
        let mut packet = vec![0; HEADROOM + len + if is_six { 20 } else { 0 }];
        let inner = &mut packet[HEADROOM..];
        let ecn = self.rng.index(4) as u8;
        let transport = if is_six {
            inner[0] = 0x60;
            inner[1] = ecn << 4;
            inner[4..6].copy_from_slice(&(len as u16 - 20).to_be_bytes());
            inner[6] = protocol;
            inner[23] = flow;
            40
        } else {
            inner[0] = 0x45;
            inner[1] = ecn;
            inner[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            inner[9] = protocol;
            inner[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, flow, 2]);
            20
        };
        inner[transport..transport + 4].copy_from_slice(&[0x30, 0x39, 0x1b, 0x58 + flow]);
        inner[transport + 8..transport + 12].copy_from_slice(&(self.serial as u32).to_be_bytes());
        inner[transport + 12..transport + 14].copy_from_slice(&[0x50, 0x10]);
        packet
    }

    fn send(&mut self, end: usize) {
        if self.rng.index(40) == 0 && self.ends[end].slice_room().is_some() {
            let packet = self.packet();
            let flow = self.ends[end].flow(&packet[HEADROOM..]);
            for index in 0..10 {
                let mut slice = vec![0; HEADROOM + 8 + 1000];
                let id = self.serial as u8;
                slice[HEADROOM..HEADROOM + 8].copy_from_slice(&[0xe1, index, 0, id, 0x27, 0x10, 0x03, 0xe8]);
                self.enter(end, &Input::Slice(slice, flow));
            }
        } else {
            let packet = self.packet();
            self.enter(end, &Input::Packet(packet));
        }
    }

    /// Something that happens seldom.
    fn change(&mut self, end: usize) {
        let path = self.path(end);
        let flag = self.rng.index(3) > 0;
        let input = match self.rng.index(14) {
            0 => Input::Link(path, if flag { Link::Up } else { Link::Down }),
            1 => Input::Enabled(path, flag),
            2 => Input::MaxDatagram(path, [1472, 1000, 700][self.rng.index(3)]),
            3 => Input::Tier(path, self.rng.index(2) as u8),
            4 if self.ends[end].paths().count() > 1 => {
                self.enter(end, &Input::Remove(path));
                Input::Add
            }
            5 => Input::TakeCarried(path),
            6 => Input::Limit([0, 4_000_000][self.rng.index(2)]),
            7 => Input::Turn(flag),
            8 => Input::Share([None, Some(3_000_000)][self.rng.index(2)]),
            9 => Input::Ask([None, Some(2_000_000)][self.rng.index(2)]),
            10 => Input::Pin((0x3039, 0x1b58 + self.rng.index(3) as u16), path),
            11 => Input::SearchSize(path, self.rng.next()),
            12 => Input::Unsent(path, if flag { Unsent::TooLarge } else { Unsent::Otherwise }),
            _ => Input::Turn(true),
        };
        self.enter(end, &input);
    }

    /// A millisecond or so.
    fn step(&mut self) {
        self.now = self.now + Duration::from_micros(self.rng.index(1500) as u64);
        for end in 0..2 {
            self.network.sort_by_key(|(at, ..)| *at);
            let due = self.network.partition_point(|(at, ..)| *at <= self.now);
            let arrived: Vec<UnderWay> = self.network.drain(..due).collect();
            for (arrived, to, path, ecn, bytes) in arrived {
                let path = self.ends[to].paths().find(|id| id.index() == path);
                if let Some(path) = path {
                    self.enter(to, &Input::Datagram { path, bytes, ecn, arrived });
                    if self.rng.index(4) > 0 {
                        self.enter(to, &Input::Packets);
                    }
                }
            }
            // Busy, and then for a while not.
            if self.rng.index(100) < 80 {
                (0..self.rng.index(6)).for_each(|_| self.send(end));
            }
            if self.rng.index(60) == 0 {
                self.change(end);
            }
            if self.ends[end].poll_timeout().is_some_and(|at| at <= self.now) {
                self.enter(end, &Input::Timeout);
            }
            // One that takes little at a time, so that something is under way within the core when it is saved.
            for _ in 0..self.rng.index(5) {
                let one = [Input::OnePacket, Input::OneTransmit, Input::OneTransmit];
                let which = self.rng.index(one.len());
                self.enter(end, &one[which]);
            }
            // A caller that is late drains later.
            if self.rng.index(10) > 0 {
                [Input::Packets, Input::Transmits, Input::Events]
                    .iter()
                    .for_each(|drain| self.enter(end, drain));
            }
        }
    }

    /// An end starts anew, as another process.
    fn restart(&mut self, end: usize, policy: Policy) {
        if self.twin.as_ref().is_some_and(|(of, _)| *of == end) {
            self.spare.extend(self.twin.take().map(|(_, twin)| twin.into_storage()));
        }
        let storage = self.spare.pop().expect("memory for a new process");
        let new = Connection::new(config(policy, self.rng.next()), storage, self.now);
        self.spare.push(std::mem::replace(&mut self.ends[end], new).into_storage());
        (0..PATHS).for_each(|_| self.enter(end, &Input::Add));
    }
}

/// A connection's state, in which addresses stay, as no number of a flow is there to stand for them.
fn saved(connection: &Connection<'_>) -> Vec<u8> {
    let mut serializer = postcard::Serializer { output: postcard::ser_flavors::AllocVec::new() };
    connection.save(&|_, _| {}, &mut serializer).expect("a vector takes all");
    postcard::ser_flavors::Flavor::finalize(serializer.output).expect("a vector takes all")
}

fn restored<'m>(state: &[u8], storage: Storage<'m>, seed: u64) -> Result<Connection<'m>, postcard::Error> {
    Connection::restore(&mut postcard::Deserializer::from_bytes(state), storage, seed)
}

fn entered(
    connection: &mut Connection<'_>,
    input: &Input,
    now: Instant,
    mut each: impl FnMut(&Departure<'_>),
) -> Vec<Output> {
    let mut outputs = Vec::new();
    let header_len = connection.header_len();
    let mut left = |outputs: &mut Vec<Output>, departure: &Departure<'_>| {
        let Departure { path, datagram, ecn, padded_to } = *departure;
        let decided = decided(datagram, header_len).min(datagram.len());
        let size = datagram.len().max(padded_to.into());
        outputs.push(Output::Left(path, ecn, size, datagram[..decided].to_vec()));
        each(departure);
    };
    let other = |what: &dyn std::fmt::Debug| Output::Other(format!("{what:?}"));
    match input {
        Input::Packet(packet) => match connection.encapsulate(&mut packet.clone(), now) {
            Ok(mut departures) => {
                while let Some(departure) = departures.next() {
                    left(&mut outputs, &departure);
                }
            }
            Err(error) => outputs.push(other(&error)),
        },
        Input::Slice(slice, flow) => match connection.encapsulate_slice(&mut slice.clone(), flow, now) {
            Ok(mut departures) => {
                while let Some(departure) = departures.next() {
                    left(&mut outputs, &departure);
                }
            }
            Err(error) => outputs.push(other(&error)),
        },
        Input::Datagram { path, bytes, ecn, arrived } => {
            let mut bytes = bytes.clone();
            outputs.push(match connection.decapsulate_arrived(*path, &mut bytes, *ecn, *arrived, now) {
                Ok(Received::Packet(packet)) => Output::Delivered(packet.len(), ip::ecn(packet)),
                what => other(&what),
            });
        }
        Input::Timeout => connection.handle_timeout(now),
        Input::Link(path, link) => outputs.push(other(&connection.handle_link(*path, *link, now))),
        Input::Enabled(path, enabled) => outputs.push(other(&connection.set_enabled(*path, *enabled, now))),
        Input::MaxDatagram(path, size) => {
            outputs.push(other(&connection.set_max_datagram(*path, *size, now)));
        }
        Input::Tier(path, tier) => outputs.push(other(&connection.set_tier(*path, *tier, now))),
        Input::Remove(path) => outputs.push(other(&connection.remove_path(*path, now))),
        Input::Add => outputs.push(other(&connection.add_path(PathConfig::default(), now))),
        Input::TakeCarried(path) => outputs.push(other(&connection.take_carried(*path))),
        Input::Limit(bytes) => connection.set_limit(*bytes),
        Input::Turn(is_its) => outputs.push(other(&connection.set_turn(*is_its))),
        Input::Share(bytes) => outputs.push(other(&connection.set_share(*bytes))),
        Input::Ask(bytes) => outputs.push(other(&connection.ask(*bytes))),
        Input::Pin(ports, path) => {
            let until = now + Duration::from_millis(300);
            outputs.push(other(&connection.pin_flow(*ports, *path, until, now)));
        }
        Input::SearchSize(path, seed) => outputs.push(other(&connection.search_size(*path, 548, *seed, now))),
        Input::Unsent(path, why) => outputs.push(other(&connection.handle_unsent(*path, *why, now))),
        Input::Packets => {
            while let Some(packet) = connection.poll_packet() {
                outputs.push(Output::Delivered(packet.len(), ip::ecn(packet)));
                assert!(outputs.len() < MOST_AT_ONCE, "it hands out packets without end");
            }
        }
        Input::OnePacket => {
            outputs.extend(connection.poll_packet().map(|it| Output::Delivered(it.len(), ip::ecn(it))));
        }
        Input::OneTransmit => {
            let mut buffer = [0; CONTROL_MAX];
            if let Some(departure) = connection.poll_transmit(&mut buffer) {
                left(&mut outputs, &departure);
            }
        }
        Input::Transmits => {
            let mut buffer = [0; CONTROL_MAX];
            while let Some(departure) = connection.poll_transmit(&mut buffer) {
                left(&mut outputs, &departure);
                assert!(outputs.len() < MOST_AT_ONCE, "it hands out datagrams without end");
            }
        }
        Input::Events => {
            while let Some(event) = connection.poll_event() {
                outputs.push(Output::Event(event));
                assert!(outputs.len() < MOST_AT_ONCE, "it hands out events without end");
            }
        }
    }
    outputs
}

/// How many bytes of a datagram the core decides: the rest is payload, which a state has not.
fn decided(datagram: &[u8], header_len: usize) -> usize {
    use extension::Kind::{Ordered, Unordered};
    let Ok(header) = gre::parse(datagram) else { return datagram.len() };
    let payload = datagram.get(header_len..).unwrap_or_default();
    match header.protocol {
        Protocol::Ipv4 | Protocol::Ipv6 => header_len,
        Protocol::Fragment => header_len + fragment::LEN,
        Protocol::Control => match extension::Header::parse(payload).map(|header| header.kind) {
            Some(Ordered | Unordered) => header_len + extension::LEN,
            _ => datagram.len(),
        },
    }
}

/// What came of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// Calls that an original and its twin answered alike.
    pub calls: u64,
    /// Bytes of the largest state.
    pub largest: usize,
}

/// Runs two connections for `steps` steps of about a millisecond. Before one of 60 calls an end is saved, and its twin goes on beside it.
///
/// # Panics
/// A twin does something else than its original.
pub fn compare(policy: Policy, seed: u64, steps: u64) -> Compared {
    let mut memory = Memory::new(SIZES, LIVES);
    let mut world = World::new(policy, seed, &mut memory);
    world.saves = 60;
    for step in 0..steps {
        world.step();
        if step % 2000 == 1700 {
            world.restart(usize::from(step % 4000 == 1700), policy);
        }
    }
    Compared { calls: world.compared, largest: world.largest }
}

/// Restores a state in which some bytes are others, or bytes that are no state, and goes on from there.
///
/// # Panics
/// The core panicked, or handed out things without end.
pub fn state(data: &[u8]) {
    let Some((&[policy, steps, how], damage)) = data.split_first_chunk::<3>() else { return };
    let policy = Policy::ALL[usize::from(policy) % Policy::ALL.len()];
    let mut memory = Memory::new(SIZES, LIVES);
    let mut world = World::new(policy, u64::from(policy as u8), &mut memory);
    (0..u64::from(steps) * 4).for_each(|_| world.step());
    let mut state = saved(&world.ends[0]);
    if how & 1 == 0 {
        for change in damage.chunks_exact(3) {
            let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % state.len();
            state[at] ^= change[2];
        }
    } else {
        let at = usize::from(how) * state.len() / 256;
        state.truncate(at);
        state.extend_from_slice(damage);
    }
    let storage = world.spare.pop().expect("memory for a state");
    let Ok(connection) = restored(&state, storage, 7) else { return };
    let _ = saved(&connection);
    world.ends[0] = connection;
    if world.ends[0].paths().next().is_some() {
        (0..100).for_each(|_| world.step());
        let _ = saved(&world.ends[0]);
    }
}
