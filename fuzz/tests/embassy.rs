//! The runner and the device for embassy-net, against a connection that the test drives by hand. Time stands still.

mod wire;

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Waker};

use embassy_net_driver::{Driver, RxToken, TxToken};
use mpt_proto::adapt::embassy::{self, Device, Runner, State};
use mpt_proto::{
    CONTROL_MAX, Config, Connection, Ecn, HEADROOM, Instant, Liveness, PathConfig, PathId, PathSizes,
    Received, ReorderConfig, ReorderSlot, Storage,
};
use wire::{Socket, Wire};

const MTU: usize = 200;
const PACKET: usize = HEADROOM + MTU;
const QUEUE: usize = 3;

/// A firmware with one path that is always up, and its peer.
struct Bench {
    device: Device<'static, MTU>,
    runner: Runner<'static, 'static, Socket, MTU>,
    wire: Rc<Wire>,
    peer: Connection<'static>,
    path: PathId,
}

fn connection(seed: u64, liveness: Liveness, now: Instant) -> (Connection<'static>, PathId) {
    let slots = vec![ReorderSlot::default(); 17].leak();
    let storage = Storage::none().with_reorder(slots, vec![0; 17 * 400].leak());
    let storage = storage.with_path_sizes(Box::leak(Box::<PathSizes<1>>::default()));
    // The tests below let a path reorder.
    let reorder = ReorderConfig { paths_in_order: false, ..ReorderConfig::default() };
    let mut connection = Connection::new(Config { seed, reorder, ..Config::default() }, storage, now);
    let path = PathConfig { liveness, ..PathConfig::default() };
    let id = connection.add_path(path, now).expect("a sound path");
    (connection, id)
}

impl Bench {
    fn new() -> Self {
        Self::with(Liveness::Off)
    }

    fn with(liveness: Liveness) -> Self {
        let now = Instant::ZERO;
        let ((ours, id), (peer, path)) = (connection(1, liveness, now), connection(2, liveness, now));
        let wire = Rc::new(Wire { room: Cell::new(usize::MAX), ..Wire::default() });
        let state = Box::leak(Box::new(State::<MTU, QUEUE, QUEUE>::new()));
        let sockets = vec![(id, Socket(Rc::clone(&wire)))].leak();
        let (device, runner) =
            embassy::new(state, vec![0; PACKET].leak(), Box::leak(Box::new(ours)), sockets);
        let mut bench = Self { device, runner, wire, peer, path };
        bench.run();
        bench
    }

    /// Lets the runner do what it can.
    fn run(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        // More polls than a budget of packets allows in one.
        for _ in 0..100 {
            while self.runner.poll_event(&mut cx).is_ready() {}
        }
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

    /// The peer sends a packet.
    fn arrive(&mut self, packet: &[u8]) {
        let mut buffer = [&[0; HEADROOM][..], packet].concat();
        let mut departures = self.peer.encapsulate(&mut buffer, Instant::ZERO).expect("a path");
        let datagram = departures.next().expect("one datagram").datagram.to_vec();
        self.wire.arriving.borrow_mut().push_back(datagram);
    }
}

fn packet(len: usize, mark: u8) -> Vec<u8> {
    let mut packet = vec![mark; len];
    packet[..4].copy_from_slice(&[0x45, 0, 0, u8::try_from(len).unwrap_or(u8::MAX)]);
    packet[2..4].copy_from_slice(&u16::try_from(len).unwrap_or(0).to_be_bytes());
    packet
}

#[test]
fn packets_go_both_ways_and_in_order() {
    let mut bench = Bench::new();
    for mark in 0..2 {
        assert!(bench.offer(&packet(MTU, mark)));
        bench.arrive(&packet(MTU, mark));
    }
    bench.run();
    for mark in 0..2 {
        assert_eq!(bench.take(), Some(packet(MTU, mark)));
        let mut datagram = bench.wire.out.borrow_mut().pop_front().unwrap();
        let received = bench.peer.decapsulate(bench.path, &mut datagram, Ecn::NotEct, Instant::ZERO).unwrap();
        assert_eq!(received, Received::Packet(&packet(MTU, mark)));
    }
    assert_eq!((bench.take(), bench.wire.out.borrow().len()), (None, 0));
}

#[test]
fn a_packet_that_waited_for_an_earlier_one_is_delivered_behind_it() {
    let mut bench = Bench::new();
    bench.arrive(&packet(100, 1));
    bench.arrive(&packet(100, 2));
    bench.wire.arriving.borrow_mut().swap(0, 1);
    bench.run();
    assert_eq!([bench.take(), bench.take()], [Some(packet(100, 1)), Some(packet(100, 2))]);
    assert_eq!(bench.runner.connection().stats().rx_held, 1);
}

#[test]
fn while_a_socket_is_full_the_stack_gets_no_token_and_nothing_is_lost() {
    let mut bench = Bench::new();
    bench.wire.room.set(0);
    for mark in 0..3 {
        assert!(bench.offer(&packet(MTU, mark)));
        bench.run();
    }
    assert!(!bench.offer(&packet(MTU, 3)), "the queue holds {QUEUE}");
    bench.wire.room.set(usize::MAX);
    bench.run();
    assert_eq!(bench.wire.out.borrow().len(), QUEUE);
    assert!(bench.offer(&packet(MTU, 3)));
}

#[test]
fn while_the_stack_takes_nothing_datagrams_stay_in_the_socket() {
    let mut bench = Bench::new();
    for mark in 0..100 {
        bench.arrive(&packet(MTU, mark));
    }
    bench.run();
    assert_eq!(bench.wire.arriving.borrow().len(), 100 - QUEUE);
    for mark in 0..100 {
        assert_eq!(bench.take(), Some(packet(MTU, mark)));
        bench.run();
    }
}

#[test]
fn a_flood_of_nonsense_is_counted_and_the_tunnel_goes_on() {
    let mut bench = Bench::new();
    for number in 0..1000u32 {
        let nonsense = number.to_le_bytes().repeat(number as usize % 40);
        bench.wire.arriving.borrow_mut().push_back(nonsense);
    }
    bench.arrive(&packet(MTU, 7));
    bench.run();
    assert_eq!(bench.take(), Some(packet(MTU, 7)));
    assert_eq!(bench.runner.connection().stats().dropped.iter().sum::<u64>(), 1000);
}

#[test]
fn what_is_larger_than_the_mtu_or_a_packet_is_dropped_and_counted() {
    let mut bench = Bench::new();
    bench.arrive(&packet(MTU + 1, 1));
    bench.wire.arriving.borrow_mut().push_back(vec![0; PACKET + 1]);
    // Held, as it comes before the one above it; found too large when it is its turn.
    bench.arrive(&packet(MTU + 2, 2));
    bench.arrive(&packet(20, 3));
    bench.wire.arriving.borrow_mut().swap(2, 3);
    bench.run();
    assert_eq!((bench.take(), bench.take()), (Some(packet(20, 3)), None));
    assert_eq!((bench.runner.oversized(), bench.runner.refused()), (2, 1));
}

#[test]
fn the_size_of_a_path_is_searched_as_far_as_the_buffer_has_room() {
    let mut bench = Bench::with(Liveness::default());
    let path = bench.runner.sockets()[0].0;
    bench.runner.connection_mut().search_size(path, 100, 7, Instant::ZERO).unwrap();
    let mut longest = 0;
    for _ in 0..10 {
        bench.run();
        for mut datagram in bench.wire.out.take() {
            longest = longest.max(datagram.len());
            let received =
                bench.peer.decapsulate(bench.path, &mut datagram, Ecn::NotEct, Instant::ZERO).unwrap();
            assert_eq!(received, Received::Consumed);
            let mut control = [0; CONTROL_MAX];
            while let Some(departure) = bench.peer.poll_transmit(&mut control) {
                bench.wire.arriving.borrow_mut().push_back(departure.datagram.to_vec());
            }
        }
    }
    let found = usize::from(bench.runner.connection().max_datagram(path).unwrap());
    assert!(found == longest && (PACKET - 7..=PACKET).contains(&found), "{found}, {longest}");
    assert_eq!(bench.runner.connection().seeks_size(path), Ok(false));
}
