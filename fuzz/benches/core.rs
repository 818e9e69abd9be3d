//! What the core costs for a packet: two connections in one thread, without sockets.
//!
//! ```text
//! cargo bench -p mpt-fuzz --bench core              # the table of docs/measurements.md
//! cargo bench -p mpt-fuzz --bench core -- 1 64      # one number of paths and one window only
//! cargo bench -p mpt-fuzz --bench core -- sealed    # sealed mode only
//! cargo bench -p mpt-fuzz --bench core -- state     # writing a connection's state down
//! cargo bench -p mpt-fuzz --bench core -- endpoint  # one busy connection beside many idle ones
//! ```
//!
//! Packets of 1,400 bytes in 16 TCP flows go from one end to the other in batches, in virtual time. Every second path
//! lags behind by a batch, so that the reorder buffer works. The sender's time is all that its connection does:
//! packets, reports that come, deadlines, and one copy of each datagram to where the network would take it. The
//! receiver's is the same for the other end. Each number is that of the quickest of many rounds: whatever else the
//! machine does only adds to it.

#[path = "core/endpoint.rs"]
mod endpoint;
#[path = "core/sealed.rs"]
mod sealed;
#[path = "core/state.rs"]
mod state;

use std::collections::VecDeque;
use std::time::{Duration, Instant as Wall};

use mpt_proto::{
    AdaptiveState, CONTROL_MAX, Config, Connection, Ecn, FlowSlot, HEADROOM, Instant, Liveness, PacketSlot,
    PathConfig, PathId, Policy, Probing, Received, ReorderConfig, ReorderSlot, Storage,
};

const LEN: usize = 1_400;
/// Bytes of a slot.
const CELL: usize = 1_464;
const BATCH: usize = 16;
/// Virtual time of a batch: 900 Mbit/s.
const TICK: Duration = Duration::from_micros(200);
/// Batches of a round.
const ROUND: usize = 256;
const ROUNDS: usize = 31;
/// Virtual time before the first round, until the rates are known.
const WARM_UP: u32 = 15_000;

struct Datagram {
    path: usize,
    len: usize,
    bytes: [u8; 1_600],
}

/// One direction of the network: what left in this batch and what lags behind.
#[derive(Default)]
struct Wire {
    now: VecDeque<Box<Datagram>>,
    later: VecDeque<Box<Datagram>>,
    #[allow(
        clippy::vec_box,
        reason = "moved to and fro by pointer: the network copies nothing but what is sent"
    )]
    free: Vec<Box<Datagram>>,
}

impl Wire {
    fn post(&mut self, path: PathId, bytes: &[u8], lags: bool) {
        let mut datagram =
            self.free.pop().unwrap_or_else(|| Box::new(Datagram { path: 0, len: 0, bytes: [0; 1_600] }));
        datagram.path = path.index();
        datagram.len = bytes.len();
        datagram.bytes[..bytes.len()].copy_from_slice(bytes);
        if lags && path.index() % 2 == 1 { &mut self.later } else { &mut self.now }.push_back(datagram);
    }
}

struct End<'m> {
    connection: Connection<'m>,
    paths: Vec<PathId>,
    out: Wire,
    delivered: u64,
    spent: Duration,
}

impl<'m> End<'m> {
    fn new(
        policy: Policy,
        seed: u64,
        paths: usize,
        window: usize,
        now: Instant,
        flows: &'m mut Memory,
    ) -> Self {
        let window = u16::try_from(window).expect("a window of 16 bits");
        let reorder = ReorderConfig { window, delay: Duration::from_millis(50), ..ReorderConfig::default() };
        let config = Config { seed, policy, reorder, ..Config::default() };
        let Memory { slots, cells, state, packets, bytes, flows } = flows;
        let storage = Storage::none().with_reorder(slots, cells).with_adaptive(state, packets, bytes, flows);
        let mut connection = Connection::new(config, storage, now);
        let path = PathConfig { liveness: Liveness::Probe(Probing::INTERNET), ..PathConfig::default() };
        let paths = (0..paths).map(|_| connection.add_path(path, now).expect("a sound path")).collect();
        Self { connection, paths, out: Wire::default(), delivered: 0, spent: Duration::ZERO }
    }

    fn drain(&mut self, lags: bool) {
        while self.connection.poll_packet().is_some() {
            self.delivered += 1;
        }
        let mut control = [0; CONTROL_MAX];
        while let Some(departure) = self.connection.poll_transmit(&mut control) {
            self.out.post(departure.path, departure.datagram, lags);
        }
    }

    /// Takes what the other end sent, keeps deadlines, and sends the packets.
    #[allow(clippy::disallowed_methods, reason = "what is measured is the time that the machine takes")]
    fn turn(&mut self, wire: &mut Wire, packets: &mut [[u8; HEADROOM + LEN]], now: Instant) {
        let began = Wall::now();
        while let Some(mut datagram) = wire.now.pop_front() {
            let path = self.paths[datagram.path];
            let bytes = &mut datagram.bytes[..datagram.len];
            if let Ok(Received::Packet(_)) = self.connection.decapsulate(path, bytes, Ecn::NotEct, now) {
                self.delivered += 1;
            }
            while self.connection.poll_packet().is_some() {
                self.delivered += 1;
            }
            wire.free.push(datagram);
        }
        if self.connection.poll_timeout().is_some_and(|at| at <= now) {
            self.connection.handle_timeout(now);
        }
        for packet in packets.iter_mut() {
            if let Ok(mut departures) = self.connection.encapsulate(packet, now) {
                while let Some(departure) = departures.next() {
                    self.out.post(departure.path, departure.datagram, true);
                }
            }
        }
        self.drain(true);
        self.spent += began.elapsed();
        std::mem::swap(&mut wire.now, &mut wire.later);
    }
}

struct Memory {
    slots: Vec<ReorderSlot>,
    cells: Vec<u8>,
    state: Box<AdaptiveState>,
    packets: Vec<PacketSlot>,
    bytes: Vec<u8>,
    flows: Vec<FlowSlot>,
}

impl Memory {
    fn new(window: usize) -> Self {
        // What is kept for sending does not depend on the window of the other direction: as the ports lend it.
        let packets = 4_096;
        Self {
            slots: vec![ReorderSlot::default(); window + 1],
            cells: vec![0; (window + 1) * CELL],
            state: Box::default(),
            packets: vec![PacketSlot::default(); packets],
            bytes: vec![0; packets * CELL],
            flows: vec![FlowSlot::default(); 256],
        }
    }
}

fn packets() -> Vec<[u8; HEADROOM + LEN]> {
    (0..BATCH)
        .map(|flow| {
            let mut packet = [0; HEADROOM + LEN];
            let inner = &mut packet[HEADROOM..];
            inner[..20]
                .copy_from_slice(&[0x45, 0, 5, 120, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
            inner[20..24].copy_from_slice(&[200, u8::try_from(flow).expect("few flows"), 0, 80]);
            inner[32..34].copy_from_slice(&[0x50, 0x10]);
            packet
        })
        .collect()
}

/// Nanoseconds a packet at the sender and the receiver, and the share of packets that came out.
fn measure(policy: Policy, paths: usize, window: usize) -> ([f64; 2], f64) {
    let (mut here, mut there) = (Memory::new(window), Memory::new(window));
    let mut now = Instant::from_micros(1_000_000);
    let mut a = End::new(policy, 1, paths, window, now, &mut here);
    let mut b = End::new(policy, 2, paths, window, now, &mut there);
    let mut packets = packets();
    let mut round = |a: &mut End<'_>, b: &mut End<'_>, batches: usize| {
        let before = (a.spent, b.spent, b.delivered);
        for _ in 0..batches {
            now = now + TICK;
            a.turn(&mut b.out, &mut packets, now);
            b.turn(&mut a.out, &mut [], now);
        }
        let each = (batches * BATCH) as f64;
        let nanos = |spent: Duration| spent.as_nanos() as f64 / each;
        ([nanos(a.spent - before.0), nanos(b.spent - before.1)], (b.delivered - before.2) as f64 / each)
    };
    round(&mut a, &mut b, WARM_UP as usize);
    let rounds: Vec<_> = (0..ROUNDS).map(|_| round(&mut a, &mut b, ROUND)).collect();
    let least = |of: fn(&([f64; 2], f64)) -> f64| rounds.iter().map(of).fold(f64::INFINITY, f64::min);
    ([least(|round| round.0[0]), least(|round| round.0[1])], least(|round| round.1))
}

fn main() {
    if std::env::args().any(|argument| argument == "sealed") {
        sealed::print();
        return;
    }
    if std::env::args().any(|argument| argument == "endpoint") {
        endpoint::print();
        return;
    }
    if std::env::args().any(|argument| argument == "state") {
        state::print();
        return;
    }
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let wanted = |at: usize, value: usize| numbers.get(at).is_none_or(|number| *number == value);
    println!("| policy | paths | window | sender, ns | receiver, ns | delivered |");
    println!("|---|---|---|---|---|---|");
    for (name, policy) in [("weighted", Policy::Weighted), ("adaptive", Policy::Adaptive)] {
        for paths in [1, 4, 16].into_iter().filter(|paths| wanted(0, *paths)) {
            for window in [64, 1_024, 65_535].into_iter().filter(|window| wanted(1, *window)) {
                let ([sender, receiver], delivered) = measure(policy, paths, window);
                println!(
                    "| {name} | {paths} | {window} | {sender:.0} | {receiver:.0} | {:.1} % |",
                    100.0 * delivered
                );
            }
        }
    }
    if numbers.is_empty() {
        println!();
        sealed::print();
    }
}
