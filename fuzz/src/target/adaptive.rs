//! Two connections that send by the adaptive policy with little memory, and a network and a caller that do whatever
//! they like.

use std::time::Duration;

use arbitrary::Arbitrary;
use mpt_proto::wire::control::Message;
use mpt_proto::wire::extension::{self, Header, Kind};
use mpt_proto::wire::gre::{self, Layout, Protocol};
use mpt_proto::wire::report::{Gap, PathReport, Report};
use mpt_proto::{
    AdaptiveState, Config, Ecn, FlowSlot, PacketSlot, PathSizes, Policy, ReassemblySlot, ReorderConfig,
    ReorderSlot, Storage,
};

use crate::target::connection::{CELL, Datagram, Op, PathChoice, SLOTS, World};
use crate::target::operations;

/// Packets that can be kept for sending at most.
const MOST_PACKETS: u8 = 40;
/// Bytes of a slot: the longest packet and what lies before it.
const PACKET: usize = 800;
const MOST_FLOWS: u8 = 5;

#[derive(Debug, Arbitrary)]
struct Setup {
    packets: u8,
    flows: u8,
    resend: bool,
    order_udp: bool,
    sequence: bool,
    window: u8,
    reorder_slots: bool,
    paths: [PathChoice; 3],
}

#[derive(Debug, Arbitrary)]
enum Step {
    Other(Op),
    /// Many packets at once.
    Burst {
        end: bool,
        len: u8,
        count: u8,
    },
    /// Deadlines are kept and datagrams arrive for so many milliseconds.
    Run {
        ms: u8,
        loses: u8,
    },
    /// Deadlines are kept, but nothing arrives.
    Silence {
        ms: u16,
    },
    /// A report of the peer's instance, made up.
    Forge {
        end: bool,
        path: u8,
        count: u32,
        hold: Option<u32>,
        open: u16,
        repairs: bool,
        block: Block,
    },
    /// A packet with an extension header, made up.
    Header {
        end: bool,
        path: u8,
        unordered: bool,
        resent: bool,
        seq: u32,
        number: u32,
        stamp: u32,
    },
    /// A very late time.
    Late,
}

#[derive(Debug, Arbitrary)]
struct Block {
    path: u8,
    settled: u32,
    packets: u32,
    bytes: u32,
    stamp: u32,
    age: u16,
    jitter: u16,
    delay: u32,
    excess: u16,
    gap: u32,
    gap_count: u16,
}

struct Memory {
    state: AdaptiveState,
    packets: Vec<PacketSlot>,
    bytes: Vec<u8>,
    flows: Vec<FlowSlot>,
    slots: Vec<ReorderSlot>,
    cells: Vec<u8>,
    pieces: Vec<ReassemblySlot>,
    pieces_bytes: Vec<u8>,
    path_sizes: PathSizes,
}

impl Memory {
    fn new(setup: &Setup) -> Self {
        let packets = usize::from(setup.packets % (MOST_PACKETS + 1));
        let slots = if setup.reorder_slots { SLOTS } else { 0 };
        Self {
            state: AdaptiveState::default(),
            packets: vec![PacketSlot::default(); packets],
            bytes: vec![0; packets * PACKET],
            flows: vec![FlowSlot::default(); usize::from(setup.flows % (MOST_FLOWS + 1))],
            slots: vec![ReorderSlot::default(); slots],
            cells: vec![0; slots * CELL],
            pieces: vec![ReassemblySlot::default(); 2],
            pieces_bytes: vec![0; 1600],
            path_sizes: PathSizes::default(),
        }
    }

    fn storage(&mut self) -> Storage<'_> {
        Storage::none()
            .with_reorder(&mut self.slots, &mut self.cells)
            .with_reassembly(&mut self.pieces, &mut self.pieces_bytes)
            .with_adaptive(&mut self.state, &mut self.packets, &mut self.bytes, &mut self.flows)
            .with_path_sizes(&mut self.path_sizes)
    }
}

/// Does whatever the bytes say.
///
/// # Panics
/// As [`connection`](super::connection).
pub fn adaptive(data: &[u8]) {
    let Some((setup, rest)) = data.split_at_checked(32) else { return };
    let Some(setup) = operations::<Setup>(setup).next() else { return };
    let config = Config {
        seed: 1,
        policy: Policy::Adaptive,
        resend: setup.resend,
        order_udp: setup.order_udp,
        sequence: setup.sequence,
        reorder: ReorderConfig { window: u16::from(setup.window), ..ReorderConfig::default() },
        ..Config::default()
    };
    let (mut a, mut b) = (Memory::new(&setup), Memory::new(&setup));
    let mut world = World::new(config, [a.storage(), b.storage()], setup.paths);
    for step in operations::<Step>(rest) {
        apply(&mut world, step);
        world.check();
    }
}

fn apply(world: &mut World<'_>, step: Step) {
    match step {
        Step::Other(op) => world.apply(op),
        Step::Burst { end, len, count } => {
            (0..count).for_each(|_| world.send(end.into(), usize::from(len) * 3, Ecn::Ect0));
        }
        Step::Run { ms, loses } => {
            for tick in 0..ms {
                world.now = world.now + Duration::from_millis(1);
                let is_lost = loses & 1 << (tick % 8) != 0;
                for datagram in std::mem::take(&mut world.network).into_iter().filter(|_| !is_lost) {
                    world.arrive(datagram);
                }
                keep_deadlines(world);
            }
        }
        Step::Silence { ms } => {
            for _ in 0..ms % 1024 {
                world.now = world.now + Duration::from_millis(4);
                keep_deadlines(world);
                world.network.clear();
            }
        }
        Step::Forge { end, path, count, hold, open, repairs, block } => {
            forge(world, end.into(), path, Report { hold, open, repairs, ..report(count, &block) });
        }
        Step::Header { end, path, unordered, resent, seq, number, stamp } => {
            world.is_honest = false;
            let kind = if unordered { Kind::Unordered } else { Kind::Ordered };
            let packet = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
            inject(world, end.into(), path, Header { kind, resent, number, stamp }, seq, &packet);
        }
        Step::Late => world.now = mpt_proto::Instant::from_micros(u64::MAX / 2),
    }
}

fn keep_deadlines(world: &mut World<'_>) {
    for end in 0..2 {
        if world.ends[end].poll_timeout().is_some_and(|at| at <= world.now) {
            world.time_out(end, world.now);
        }
    }
}

fn report(count: u32, block: &Block) -> Report {
    let path = PathReport {
        path: block.path % 4,
        settled: block.settled % 0x0100_0000,
        packets: block.packets,
        bytes: block.bytes,
        stamp: block.stamp,
        age: block.age.into(),
        jitter: block.jitter.into(),
        delay: block.delay,
        excess: block.excess.into(),
    };
    let gap = Gap { path: path.path, first: block.gap % 0x0100_0000, count: block.gap_count };
    let mut report = Report { count: mpt_proto::Seq::from_u32(count), ..Report::default() };
    let _ = (report.paths.push(path), report.gaps.push(gap));
    report
}

/// A report as if the other end had made it: its instance is read off a control message under way.
fn forge(world: &mut World<'_>, end: usize, path: u8, report: Report) {
    world.is_honest = false;
    let mut messages = world.network.iter().filter(|datagram| datagram.to == end).filter_map(|datagram| {
        let header =
            gre::parse(&datagram.bytes).ok().filter(|header| header.protocol == Protocol::Control)?;
        Message::parse(datagram.bytes.get(header.len..)?).ok()
    });
    let Some(Message { instance, .. }) = messages.next_back() else { return };
    let mut body = [0; mpt_proto::wire::report::MAX_LEN];
    let Some(len) = (Report { instance, ..report }).emit(&mut body) else { return };
    let header = Header { kind: Kind::Report, resent: false, number: 1, stamp: 1 };
    inject(world, end, path, header, 0, &body[..len]);
}

fn inject(world: &mut World<'_>, to: usize, path: u8, header: Header, seq: u32, body: &[u8]) {
    let layout = Layout { checksum: false, key: None, sequence: true };
    let at = layout.header_len();
    let mut bytes = vec![0; at + extension::LEN];
    bytes.extend_from_slice(body);
    header.emit(&mut bytes[at..]);
    layout.emit(&mut bytes, Protocol::Control, mpt_proto::Seq::from_u32(seq));
    world.arrive(Datagram { to, path: usize::from(path % 4), bytes, ecn: Ecn::NotEct });
}
