//! What is joined and cut again is what came: nothing lost, nothing made up, each flow in order.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use port_linux::offload::{Coalescer, HEADER_LEN, Header, Joins, MAX_PACKET, Segmentation, Split};

use crate::oracle::offload::{Packet, Tcp, canonical, flag, flow};
use crate::target::operations;
use crate::target::split::Shape;

/// Flows: more than the coalescer keeps at a time.
const FLOWS: usize = 12;
/// Datagrams that every kernel cuts in one go.
const MOST_DATAGRAMS: usize = 64;

#[derive(Debug, Arbitrary)]
enum Op {
    /// The next packets of a flow, all of one size.
    Next {
        flow: u8,
        len: u16,
        count: u8,
    },
    /// The next packet with something that the others before did not have.
    Odd {
        flow: u8,
        len: u8,
        change: Change,
    },
    /// The next packet with a byte changed, which makes a checksum or a length wrong.
    Corrupt {
        flow: u8,
        len: u8,
        at: u8,
        change: u8,
    },
    /// A packet of a flow of its own, up to the largest.
    Large(Shape),
    Raw(Vec<u8>),
    Flush,
}

#[derive(Debug, Arbitrary)]
enum Change {
    Gap(u8),
    Flags(u8),
    Acknowledgement(u8),
    Window(u8),
    Timestamp(u8),
    Class(u8),
    Identification(u8),
    Fragmentable(bool),
    Extra(u8),
}

/// Joins, and cuts again.
///
/// # Panics
/// A packet is lost, made up, changed, or out of its flow's order; or what is written is not what a kernel takes.
pub fn coalesce(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let joins = Joins { tcp: first & 1 == 0, udp: first & 2 == 0 };
    let mut flows: Vec<Packet> = (0..FLOWS).map(start).collect();
    let mut coalescer = Coalescer::new();
    let mut came: Vec<Vec<u8>> = Vec::new();
    let mut left: Vec<Vec<u8>> = Vec::new();
    for op in operations::<Op>(data).take(40) {
        let before = came.len();
        match op {
            Op::Next { flow, len, count } => {
                let next = &mut flows[usize::from(flow) % FLOWS];
                for _ in 0..count % 80 {
                    came.push(advance(next, usize::from(len) % 3000).bytes(true));
                }
            }
            Op::Odd { flow, len, change } => {
                let next = &mut flows[usize::from(flow) % FLOWS];
                came.push(odd(next, len.into(), &change).bytes(true));
            }
            Op::Corrupt { flow, len, at, change } => {
                let mut bytes = advance(&mut flows[usize::from(flow) % FLOWS], len.into()).bytes(true);
                let at = usize::from(at) % bytes.len();
                bytes[at] ^= change;
                came.push(bytes);
            }
            Op::Large(shape) => came.push(shape.packet().bytes(true)),
            Op::Raw(bytes) => came.push(bytes),
            Op::Flush => coalescer.flush(|header, packet| receive(header, packet, joins, &mut left)),
        }
        for packet in &came[before..] {
            coalescer.push(packet, joins, |header, packet| receive(header, packet, joins, &mut left));
        }
    }
    coalescer.flush(|header, packet| receive(header, packet, joins, &mut left));
    coalescer.flush(|_, _| panic!("nothing is left"));
    compare(&came, &left);
}

fn start(number: usize) -> Packet {
    let port = u16::try_from(number).expect("few");
    let tcp = Tcp {
        sequence: u32::MAX - 5000,
        acknowledgement: 7,
        flags: flag::ACK,
        window: 500,
        timestamp: Some(9),
    };
    Packet {
        is_ipv6: number.is_multiple_of(2),
        class: 0,
        identification: u16::MAX - 3,
        dont_fragment: number.is_multiple_of(3),
        extra: 0,
        ports: [4000, port],
        tcp: (number % 4 < 2).then_some(tcp),
        data: Vec::new(),
    }
}

/// The flow's next packet; the flow goes on after it.
fn advance(next: &mut Packet, len: usize) -> Packet {
    let packet = Packet { data: vec![next.identification.to_be_bytes()[1]; len], ..next.clone() };
    next.identification = next.identification.wrapping_add(1);
    if let Some(tcp) = &mut next.tcp {
        tcp.sequence = tcp.sequence.wrapping_add(u32::try_from(len).expect("short"));
    }
    packet
}

fn odd(next: &mut Packet, len: usize, change: &Change) -> Packet {
    match (change, &mut next.tcp) {
        (Change::Gap(by), Some(tcp)) => tcp.sequence = tcp.sequence.wrapping_add(u32::from(*by)),
        (Change::Acknowledgement(by), Some(tcp)) => tcp.acknowledgement += u32::from(*by),
        (Change::Window(by), Some(tcp)) => tcp.window ^= u16::from(*by),
        (Change::Timestamp(by), Some(tcp)) => tcp.timestamp = by.checked_sub(1).map(u32::from),
        (Change::Class(class), _) => next.class = *class,
        (Change::Identification(by), _) => {
            next.identification = next.identification.wrapping_add(u16::from(*by));
        }
        (Change::Fragmentable(may), _) => next.dont_fragment = !may,
        _ => {}
    }
    let mut packet = advance(next, len);
    match (change, &mut packet.tcp) {
        (Change::Flags(flags), Some(tcp)) => tcp.flags = *flags,
        (Change::Extra(extra), _) => packet.extra = extra % 4,
        _ => {}
    }
    packet
}

/// What a kernel makes of what is written to the tunnel device.
fn receive(header: &[u8], packet: &[u8], joins: Joins, left: &mut Vec<Vec<u8>>) {
    let bytes = [header, packet].concat();
    let (header, packet) = bytes.split_first_chunk::<HEADER_LEN>().expect("a header");
    let header = Header::parse(header).expect("a header that makes sense");
    if header == Header::PLAIN {
        return left.push(packet.to_vec());
    }
    assert!(packet.len() <= MAX_PACKET);
    let before = left.len();
    let mut split = Split::new(header, packet, MAX_PACKET).expect("what was joined can be cut");
    let mut out = vec![0; MAX_PACKET];
    while let Some(len) = split.next_into(&mut out) {
        left.push(out[..len].to_vec());
    }
    let count = left.len() - before;
    assert!(count > 1, "one packet is not joined");
    match header.segmentation {
        Segmentation::Tcp { .. } => assert!(joins.tcp),
        Segmentation::Udp { .. } => assert!(joins.udp && count <= MOST_DATAGRAMS),
        Segmentation::None => panic!("a checksum left to be done"),
    }
}

fn compare(came: &[Vec<u8>], left: &[Vec<u8>]) {
    assert_eq!(came.len(), left.len(), "as many as came");
    // Each flow in order, and what may belong to any flow in its place among all of them: it closes what came before.
    let by_flow = |packets: &[Vec<u8>]| {
        let mut flows = BTreeMap::<(usize, Vec<u8>), Vec<Vec<u8>>>::new();
        let mut barriers = Vec::new();
        for packet in packets {
            match flow(packet) {
                Some(flow) => flows.entry((barriers.len(), flow)).or_default().push(canonical(packet)),
                None => barriers.push(canonical(packet)),
            }
        }
        (flows, barriers)
    };
    assert!(by_flow(came) == by_flow(left), "a flow is out of order, or a packet changed");
}
