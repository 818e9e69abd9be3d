//! Sealed sockets under the runner for embassy-net, against a peer that the test drives by hand, in virtual time.

mod wire;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use embassy_net_driver::{Driver, RxToken, TxToken};
use embassy_time::{Duration, MockDriver};
use mpt_fuzz::rng::Rng;
use mpt_fuzz::sealed::{Seeded, peer, private};
use mpt_proto::adapt::embassy::{self, Device, Runner, State};
use mpt_proto::{
    CONTROL_MAX, Config, Connection, Ecn, HEADROOM, Instant, Liveness, PathConfig, PathId, PathState,
    Probing, Received, ReorderSlot, Storage,
};
use mpt_seal::embassy::{Keys, SealedSocket, TunnelEvent};
use mpt_seal::{Event, Memory, OVERHEAD, Opened, PeerId, Portable, Reason, Sealer, Source};
use wire::{Socket, Wire};

const PATHS: usize = 2;
/// Bytes of the largest datagram on the wire, and what is left of it for a packet.
const WIRE: u16 = 300;
const MTU: usize = WIRE as usize - OVERHEAD - 8;
const QUEUE: usize = 3;
/// Between two looks at what there is to do.
const STEP: Duration = Duration::from_millis(1);

type TestSealer = Sealer<'static, Portable, Seeded>;
type TestSocket = SealedSocket<'static, 'static, Socket, Portable, Seeded>;

fn lend<T>(items: Vec<T>) -> &'static mut [T] {
    items.leak()
}

fn now() -> Instant {
    Instant::from_micros(embassy_time::Instant::now().as_micros())
}

/// With memory for one peer, as a microcontroller has it.
fn sealer(key: u8, seed: u64) -> TestSealer {
    let storage = Box::leak(Box::new(Memory::new(1, 2, 0, 1))).lend();
    let instance = u32::try_from(seed).expect("a small number");
    Sealer::new(private(key), instance, Portable, Seeded(Rng::new(seed)), storage, now())
}

fn connection(seed: u64) -> (Connection<'static>, [PathId; PATHS]) {
    let slots = lend(vec![ReorderSlot::default(); 17]);
    let storage = Storage::none().with_reorder(slots, lend(vec![0; 17 * usize::from(WIRE)]));
    let mut connection = Connection::new(Config { seed, ..Config::default() }, storage, now());
    let max_datagram = WIRE - u16::try_from(OVERHEAD).expect("24");
    let path = PathConfig { liveness: Liveness::Probe(Probing::LAB), max_datagram, ..PathConfig::default() };
    let ids = [(); PATHS].map(|()| connection.add_path(path, now()).expect("a sound path"));
    (connection, ids)
}

/// The peer: what `mpt run` is, in small.
struct Peer {
    connection: Connection<'static>,
    paths: [PathId; PATHS],
    sealer: TestSealer,
    id: PeerId,
    packets: Vec<Vec<u8>>,
}

impl Peer {
    fn new(seed: u64) -> Self {
        let mut sealer = sealer(2, seed);
        let id = sealer.add_peer(peer(1)).expect("room");
        sealer.set_paths(id, (0..PATHS).collect());
        let (connection, paths) = connection(seed);
        Self { connection, paths, sealer, id, packets: Vec::new() }
    }

    fn seal(&mut self, path: usize, clear: &[u8], wire: &Wire) {
        let len = self.sealer.sealed_len(clear, WIRE.into()).expect("a datagram of the core");
        let mut place = vec![0; len];
        let number = u8::try_from(path).expect("below 16");
        if self.sealer.seal(self.id, number, clear, &mut place, now()).is_ok() {
            wire.arriving.borrow_mut().push_back(place);
        }
    }

    fn send(&mut self, packet: &[u8], wires: &[Rc<Wire>; PATHS]) {
        let mut buffer = [&[0; HEADROOM][..], packet].concat();
        let mut departures = self.connection.encapsulate(&mut buffer, now()).expect("a path");
        let departure = departures.next().expect("one datagram");
        let (path, clear) = (departure.path.index(), departure.datagram.to_vec());
        self.seal(path, &clear, &wires[path]);
    }

    fn arrive(&mut self, path: usize, bytes: &mut [u8], wire: &Wire) {
        let number = u8::try_from(path).expect("below 16");
        match self.sealer.open(&Source([number; 20]), Some((self.id, number)), bytes, now()) {
            Opened::Clear { datagram, .. } => {
                let received = self.connection.decapsulate(self.paths[path], datagram, Ecn::NotEct, now());
                if let Ok(Received::Packet(packet)) = received {
                    self.packets.push(packet.to_vec());
                }
            }
            Opened::Reply(reply) => wire.arriving.borrow_mut().push_back(reply.to_vec()),
            Opened::Consumed | Opened::Refused(_) => {}
        }
    }

    /// Takes in what has come, and does what is due.
    fn run(&mut self, wires: &[Rc<Wire>; PATHS]) {
        for (path, wire) in wires.iter().enumerate() {
            while let Some(mut bytes) = { wire.out.borrow_mut().pop_front() } {
                self.arrive(path, &mut bytes, wire);
            }
        }
        self.connection.handle_timeout(now());
        self.sealer.handle_timeout(now().as_micros(), now());
        while let Some((_, path, initiation)) = self.sealer.poll_transmit(now()) {
            wires[usize::from(path)].arriving.borrow_mut().push_back(initiation.to_vec());
        }
        while self.sealer.poll_event().is_some() {}
        while let Some(packet) = self.connection.poll_packet() {
            self.packets.push(packet.to_vec());
        }
        let mut control = [0; CONTROL_MAX];
        while let Some((path, clear)) = {
            let departure = self.connection.poll_transmit(&mut control);
            departure.map(|departure| (departure.path.index(), departure.datagram.to_vec()))
        } {
            self.seal(path, &clear, &wires[path]);
        }
        while self.connection.poll_event().is_some() {}
    }
}

/// A firmware with two paths, and its peer. There is one at a time: they share the clock.
struct Bench {
    device: Device<'static, MTU>,
    runner: Runner<'static, 'static, TestSocket, MTU>,
    keys: &'static Keys<'static, Portable, Seeded>,
    wires: [Rc<Wire>; PATHS],
    peer: Peer,
    events: Vec<TunnelEvent>,
    _alone: MutexGuard<'static, ()>,
}

impl Bench {
    fn new() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = Keys::new(sealer(1, 1), peer(2), lend(vec![0; WIRE.into()])).expect("room");
        let keys: &'static Keys<'static, Portable, Seeded> = Box::leak(Box::new(keys));
        let (ours, ids) = connection(1);
        let wires = [(); PATHS].map(|()| Rc::new(Wire { room: Cell::new(100), ..Wire::default() }));
        let mut below = wires.iter();
        let sockets = ids.map(|id| {
            let socket = Socket(Rc::clone(below.next().expect("a wire for each path")));
            (id, SealedSocket::new(socket, keys, id, WIRE))
        });
        let state = Box::leak(Box::new(State::<MTU, QUEUE, QUEUE>::new()));
        let (device, runner) = embassy::new(
            state,
            lend(vec![0; HEADROOM + MTU]),
            Box::leak(Box::new(ours)),
            lend(Vec::from(sockets)),
        );
        let (peer, events) = (Peer::new(2), Vec::new());
        Self { device, runner, keys, wires, peer, events, _alone: alone }
    }

    /// Lets both ends do what they can for some time.
    fn run_for(&mut self, ms: u64) {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..ms {
            // More polls than a budget of packets allows in one.
            for _ in 0..10 {
                while let Poll::Ready(event) = self.keys.poll_event(&mut self.runner, &mut cx) {
                    self.events.push(event);
                }
            }
            self.peer.run(&self.wires);
            MockDriver::get().advance(STEP);
        }
    }

    /// With keys, and both paths up at both ends.
    fn up() -> Self {
        let mut bench = Self::new();
        bench.run_for(1000);
        assert_eq!(bench.paths_up(), [PATHS; 2]);
        bench
    }

    /// Paths that are up: of the firmware and of the peer.
    fn paths_up(&self) -> [usize; 2] {
        [self.runner.connection(), &self.peer.connection].map(|connection| {
            let is_up = |path: &PathId| connection.path_state(*path) == Ok(PathState::Up);
            connection.paths().filter(is_up).count()
        })
    }

    fn sessions(&self) -> Vec<bool> {
        let session = |event: &TunnelEvent| match event {
            TunnelEvent::Keys(Event::Session { restarted, .. }) => Some(*restarted),
            _ => None,
        };
        self.events.iter().filter_map(session).collect()
    }

    /// The stack sends a packet, if it gets a token.
    fn offer(&mut self, packet: &[u8]) -> bool {
        let token = self.device.transmit(&mut Context::from_waker(Waker::noop()));
        token.map(|token| token.consume(packet.len(), |room| room.copy_from_slice(packet))).is_some()
    }

    /// The stack takes a packet.
    fn take(&mut self) -> Option<Vec<u8>> {
        let (token, _) = self.device.receive(&mut Context::from_waker(Waker::noop()))?;
        Some(token.consume(|packet| packet.to_vec()))
    }

    fn refused(&self, reason: Reason) -> u64 {
        self.keys.stats().refused(reason)
    }
}

fn packet(len: usize, mark: u8) -> Vec<u8> {
    let mut packet = vec![mark; len];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&u16::try_from(len).expect("a packet").to_be_bytes());
    packet
}

#[test]
fn keys_are_agreed_on_and_packets_of_every_size_go_both_ways_sealed() {
    let mut bench = Bench::up();
    assert_eq!(bench.sessions(), [false], "one handshake, whichever end began it");
    assert_eq!(bench.keys.status().map(|status| status.handshakes), Some(1));
    for len in (20..=MTU).step_by(7).chain([MTU]) {
        let (there, back) = (packet(len, 0x5a), packet(len, 0xa5));
        assert!(bench.offer(&there));
        bench.peer.send(&back, &bench.wires);
        let waiting = bench.wires.iter().flat_map(|wire| wire.arriving.borrow().clone());
        assert!(waiting.into_iter().all(|datagram| datagram.len() <= WIRE.into()));
        bench.run_for(3);
        assert_eq!(bench.peer.packets.pop(), Some(there), "{len} bytes");
        assert_eq!(bench.take(), Some(back), "{len} bytes");
    }
    assert_eq!((bench.take(), bench.peer.packets.pop()), (None, None));
    assert_eq!(bench.runner.oversized(), 0);
    let needless = bench.refused(Reason::Stale);
    assert!(bench.runner.refused() == needless && needless < 2, "but for the answer that came second");
}

#[test]
fn nothing_that_leaves_can_be_read() {
    let mut bench = Bench::up();
    bench.run_for(0);
    assert!(bench.offer(&packet(MTU, 0x5a)));
    let mut cx = Context::from_waker(Waker::noop());
    let _ = bench.keys.poll_event(&mut bench.runner, &mut cx);
    let left: Vec<Vec<u8>> = bench.wires.iter().flat_map(|wire| wire.out.borrow().clone()).collect();
    assert!(left.iter().any(|datagram| datagram.len() == usize::from(WIRE)), "the whole path's size is used");
    assert!(left.iter().all(|datagram| !datagram.windows(8).any(|bytes| bytes == [0x5a; 8])));
    assert!(left.iter().all(|datagram| datagram.starts_with(&[0x30, 0, 0x88, 0xb6])));
}

#[test]
fn what_is_replayed_damaged_or_in_the_clear_is_refused_and_changes_nothing() {
    let mut bench = Bench::up();
    bench.peer.send(&packet(100, 1), &bench.wires);
    let path = bench.wires.iter().position(|wire| !wire.arriving.borrow().is_empty()).expect("it left");
    let good = bench.wires[path].arriving.borrow()[0].clone();
    bench.run_for(2);
    assert_eq!(bench.take(), Some(packet(100, 1)));
    let mut damaged = good.clone();
    // The counter: a number that did not come yet.
    damaged[8] ^= 1;
    let clear = [&[0x10, 0, 8, 0, 0, 0, 0, 9][..], &packet(100, 2)].concat();
    let (refused, stranger) = (bench.runner.refused(), vec![0; WIRE.into()]);
    bench.wires[path].arriving.borrow_mut().extend([
        good,
        damaged,
        clear,
        stranger,
        vec![0; 3],
        vec![0; 2000],
    ]);
    bench.run_for(10);
    assert_eq!(bench.take(), None);
    let reasons = [Reason::Replayed, Reason::BadTag, Reason::Clear, Reason::Form, Reason::Short];
    assert_eq!(reasons.map(|reason| bench.refused(reason)), [1; 5]);
    assert_eq!(bench.runner.refused() - refused, 6, "and one did not fit");
    assert_eq!(bench.paths_up(), [PATHS; 2]);
}

#[test]
fn keys_are_renewed_every_two_minutes_and_no_packet_is_lost() {
    let mut bench = Bench::up();
    for number in 0..700 {
        let (there, back) = (packet(60, 1), packet(60, 2));
        assert!(bench.offer(&there));
        bench.peer.send(&back, &bench.wires);
        bench.run_for(20);
        assert_eq!((bench.take(), bench.peer.packets.pop()), (Some(back), Some(there)), "{number}");
        MockDriver::get().advance(Duration::from_millis(480));
        bench.run_for(5);
    }
    let handshakes = bench.keys.status().expect("a peer").handshakes;
    assert!((3..=5).contains(&handshakes), "one each two minutes: {handshakes}");
}

#[test]
fn a_peer_that_was_restarted_is_found_again_within_a_second() {
    let mut bench = Bench::up();
    bench.peer = Peer::new(3);
    bench.run_for(1000);
    assert_eq!(bench.sessions().last(), Some(&true), "{:?}", bench.events);
    assert_eq!(bench.paths_up(), [PATHS; 2]);
    assert!(bench.offer(&packet(200, 4)));
    bench.run_for(10);
    assert_eq!(bench.peer.packets, [packet(200, 4)]);
}

#[test]
fn a_firmware_that_was_restarted_has_no_clock_and_is_believed_nevertheless() {
    let mut bench = Bench::up();
    let peer = std::mem::replace(&mut bench.peer, Peer::new(4));
    drop(bench);
    let mut bench = Bench::new();
    bench.peer = peer;
    bench.run_for(3000);
    assert_eq!(bench.paths_up(), [PATHS; 2], "{:?}", bench.events);
}

#[test]
fn a_path_without_room_keeps_packets_back_and_handshakes_go_on_over_the_other() {
    let mut bench = Bench::new();
    bench.wires[0].room.set(0);
    bench.run_for(1000);
    assert_eq!(bench.sessions(), [false]);
    assert_eq!(bench.paths_up(), [1, 1]);
    bench.wires[0].room.set(100);
    bench.run_for(1000);
    assert_eq!(bench.paths_up(), [PATHS; 2]);
    // Both paths may carry the next packet: while one of them is full it waits.
    bench.wires[1].room.set(0);
    for _ in 0..QUEUE {
        bench.offer(&packet(100, 1));
    }
    let mut cx = Context::from_waker(Waker::noop());
    let _ = bench.keys.poll_event(&mut bench.runner, &mut cx);
    assert!(!bench.offer(&packet(100, 2)));
    assert!(bench.peer.packets.is_empty());
    bench.wires[1].room.set(100);
    bench.run_for(10);
    assert_eq!(bench.peer.packets.len(), QUEUE);
}

#[test]
fn our_own_key_is_no_peer() {
    let bench = Bench::new();
    let keys = Keys::new(sealer(1, 1), peer(1), lend(vec![0; 10]));
    assert!(keys.is_err());
    drop(bench);
}
