//! One server and thousands of peers in virtual time: what they get of the server's access, which all of them share, what a quiet one
//! notices, and how long it takes until all are back after the server started anew.
//!
//! Peers have two paths each. Both ends of all connections are driven as the loop of the port drives them; the peers' own links are no
//! bottleneck. Nothing is sealed: handshakes take processors, and hardly anything of links.

mod wires;
mod world;

use std::time::Duration;

use self::world::World;
use crate::joined::{Memory, Sizes};

/// Memory of a busy connection: what a peer of `[listen]` is lent, in small.
const BUSY: Sizes = Sizes {
    reorder_slots: 129,
    reorder_cell: 1300,
    reassembly_slots: 0,
    reassembly_cell: 0,
    adaptive_slots: 192,
    adaptive_cell: 1300,
    flows: 16,
};
/// Of one that has little to say.
const IDLE: Sizes = Sizes {
    reorder_slots: 17,
    reorder_cell: 300,
    reassembly_slots: 0,
    reassembly_cell: 0,
    adaptive_slots: 32,
    adaptive_cell: 300,
    flows: 8,
};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Peers; the last one is the quiet one.
    pub peers: usize,
    /// How many of them send and are sent to.
    pub busy: usize,
    /// Bits a second of the server's access, in each direction.
    pub rate: u64,
    /// Links that it consists of, which carry as much each: one, or two, when each has a path of each peer.
    pub links: usize,
    /// What all busy ones together send, in per cent of what the links carry.
    pub load: u64,
    /// Whether the server knows what the links carry, and shares it.
    pub share: bool,
    /// How long each measurement takes.
    pub time: Duration,
    /// What is random follows from it.
    pub seed: u64,
}

/// What all busy ones got in one direction.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Bits a second of inner packets.
    pub rate: f64,
    /// How much of the access all datagrams took.
    pub used: f64,
    /// Jain's index: one if all got the same.
    pub fairness: f64,
}

/// Delay of the quiet one's packets, one way, in both directions.
#[derive(Debug, Clone, Copy)]
pub struct Quiet {
    /// The longest of 99 of 100.
    pub p99: Duration,
    /// Packets that did not come.
    pub lost: u64,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Until all peers were there; then after the server started anew.
    pub came: Duration,
    /// See [`came`](Self::came).
    pub back: Duration,
    /// Bytes of a connection of the server for an idle peer: itself, and what it is lent.
    pub idle_bytes: usize,
    /// While nobody else sends.
    pub alone: Quiet,
    /// While others do.
    pub beside: Quiet,
    /// To the server, and from it.
    pub loads: [Load; 2],
    /// Packets of the busy ones that neither came nor were dropped by a queue of the tunnel, in both directions.
    pub missing: u64,
    /// Datagrams that the links dropped.
    pub dropped: u64,
}

/// Runs it.
pub fn run(setup: &Setup) -> Outcome {
    let mut busy = Memory::new(BUSY, 2 * setup.busy);
    let mut idle = Memory::new(IDLE, 2 * (setup.peers - setup.busy));
    let mut world = World::new(setup, &mut busy, &mut idle);
    let came = world.until_all_are_up(60 * SECOND);
    world.run(2 * SECOND);

    world.ping(setup.time);
    let alone = world.quiet();
    world.load(setup.time + WARM_UP);
    world.run(WARM_UP);
    world.forget_what_came();
    world.ping(setup.time);
    let (loads, beside) = (world.loads(setup.time), world.quiet());
    // What waits leaves.
    world.run(5 * SECOND);
    let (missing, dropped) = (world.missing(), world.dropped());

    world.restart();
    let back = world.until_all_are_up(60 * SECOND);
    let idle_bytes = size_of::<mpt_proto::Connection<'_>>() + IDLE.bytes();
    Outcome { came, back, idle_bytes, alone, beside, loads, missing, dropped }
}

const SECOND: Duration = Duration::from_secs(1);
/// Until the busy ones have found what they may send.
const WARM_UP: Duration = Duration::from_secs(3);
