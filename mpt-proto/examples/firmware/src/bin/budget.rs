//! What the core and sealed mode cost on a Cortex-M4: bytes, and instructions for each packet. `./budget` runs it in QEMU with
//! `-icount shift=0`, where an instruction takes a nanosecond: the counts repeat.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;

use cortex_m::peripheral::SYST;
use cortex_m_semihosting::debug;
use defmt_semihosting as _;
use mpt_proto::{
    AdaptiveState, CONTROL_MAX, Config, Connection, Ecn, FlowSlot, HEADROOM, Instant, Liveness, PacketSlot,
    PathConfig, PathId, PathSet, Policy, ReorderSlot, Storage,
};
use mpt_seal::{
    Entropy, INDEX_SLOTS_PER_PEER, IndexSlot, Opened, PeerKeys, PeerSlot, Portable, PortableKey,
    PresharedKey, PrivateKey, RecentSlot, Sealer, Source, WINDOW_WORDS_MIN,
};

/// Nanoseconds, and so instructions, of a tick of SysTick at 25 MHz.
const INSTRUCTIONS_PER_TICK: u32 = 40;
const SYSTICK_MAX: u32 = 0x00ff_ffff;
const PACKETS: u32 = 1000;
const WINDOW: usize = 16;
/// So small that copying it does not count: an IPv4 header without more, and UDP's ports for the flow.
const INNER: usize = 28;
/// The aims: instructions for a packet, and bytes of memory beside the packets, of two paths and a window of 16.
const MOST_INSTRUCTIONS: u32 = 1000;
const MOST_BYTES: usize = 4096;
const GRE: usize = 8;
const NOW: Instant = Instant::from_micros(1);
/// Bytes of the smallest and the largest packet that are sealed.
const SEALED: [usize; 2] = [64, 1440];
const PACKET: [u8; INNER] =
    [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2, 0, 7, 0, 7, 0, 8, 0, 0];

/// Instructions of a call, 600 million at most.
fn measure(work: impl FnOnce()) -> u32 {
    let start = SYST::get_current();
    work();
    (start.wrapping_sub(SYST::get_current()) & SYSTICK_MAX) * INSTRUCTIONS_PER_TICK
}

/// Instructions of each of many calls.
fn count(mut work: impl FnMut(u32)) -> u32 {
    measure(|| (0..PACKETS).for_each(&mut work)) / PACKETS
}

/// What a driver does after each mutation.
fn drain(connection: &mut Connection<'_>, control: &mut [u8; CONTROL_MAX]) {
    while let Some(packet) = connection.poll_packet() {
        black_box(packet);
    }
    while let Some(departure) = connection.poll_transmit(control) {
        black_box(departure.datagram);
    }
    while let Some(event) = connection.poll_event() {
        black_box(event);
    }
    black_box(connection.poll_timeout());
}

fn add_paths<const N: usize>(connection: &mut Connection<'_>) -> [PathId; N] {
    let path = PathConfig { liveness: Liveness::Off, ..PathConfig::default() };
    let ids = [(); N].map(|()| defmt::unwrap!(connection.add_path(path, NOW)));
    drain(connection, &mut [0; CONTROL_MAX]);
    ids
}

fn send(policy: Policy) -> (u32, u32) {
    let mut connection = Connection::new(Config { policy, ..Config::default() }, Storage::none(), NOW);
    let _: [PathId; 2] = add_paths(&mut connection);
    let mut buffer = [0; HEADROOM + INNER];
    buffer[HEADROOM..].copy_from_slice(&PACKET);
    let mut control = [0; CONTROL_MAX];
    let mut encapsulate = |drained: bool| {
        count(|_| {
            let mut departures = defmt::unwrap!(connection.encapsulate(&mut buffer, NOW).ok());
            while let Some(departure) = departures.next() {
                black_box(departure.datagram);
            }
            if drained {
                drain(&mut connection, &mut control);
            }
        })
    };
    (encapsulate(false), encapsulate(true))
}

/// `order` says which number comes in which turn.
fn receive(order: impl Fn(u32) -> u32, drained: bool) -> u32 {
    let mut slots = [ReorderSlot::default(); WINDOW + 1];
    let mut bytes = [0; (WINDOW + 1) * INNER];
    let storage = Storage::none().with_reorder(&mut slots, &mut bytes);
    let mut connection = Connection::new(Config::default(), storage, NOW);
    let paths: [PathId; 2] = add_paths(&mut connection);
    let mut datagram = [0; GRE + INNER];
    datagram[..4].copy_from_slice(&[0x10, 0, 0x08, 0]);
    datagram[GRE..].copy_from_slice(&PACKET);
    let mut control = [0; CONTROL_MAX];
    let instructions = count(|turn| {
        datagram[4..GRE].copy_from_slice(&order(turn).to_be_bytes());
        let path = paths[turn as usize % 2];
        let received = connection.decapsulate(path, &mut datagram, Ecn::NotEct, NOW);
        let _ = black_box(&received);
        if drained {
            drain(&mut connection, &mut control);
        }
    });
    drain(&mut connection, &mut control);
    defmt::assert_eq!(connection.stats().rx_packets, u64::from(PACKETS));
    instructions
}

/// Numbers that repeat, so that the counts do. A product has random ones.
struct Counter(u8);

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(5).wrapping_add(1);
            *byte = self.0;
        }
    }
}

/// What a sealer with one peer is lent.
struct SealerMemory {
    peers: [PeerSlot<PortableKey>; 1],
    order: [u16; 1],
    index: [IndexSlot; INDEX_SLOTS_PER_PEER],
    windows: [u64; WINDOW_WORDS_MIN],
    recent: [RecentSlot; 1],
}

impl SealerMemory {
    fn new() -> Self {
        let (peers, index, recent) = Default::default();
        Self { peers, order: [0], index, windows: [0; WINDOW_WORDS_MIN], recent }
    }

    /// The end with one of two private keys, whose peer has the other.
    fn sealer(&mut self, [ours, theirs]: [u8; 2]) -> Sealer<'_, Portable, Counter> {
        let Self { peers, order, index, windows, recent } = self;
        let storage = mpt_seal::Storage { peers, order, index, windows, sources: &mut [], recent };
        let [key, theirs] = [ours, theirs].map(|key| PrivateKey::from_bytes([key; 32]));
        let mut sealer = Sealer::new(key, ours.into(), Portable, Counter(ours), storage, NOW);
        let keys = PeerKeys { public: theirs.public(), preshared: PresharedKey::NONE };
        let peer = defmt::unwrap!(sealer.add_peer(keys).ok());
        sealer.set_paths(peer, PathSet::of(0));
        sealer
    }
}

/// A handshake between two ends, and datagrams sealed and opened.
fn seal() {
    let (mut one, mut two) = (SealerMemory::new(), SealerMemory::new());
    let (mut one, mut two) = (one.sealer([1, 2]), two.sealer([2, 1]));
    let peer = defmt::unwrap!(one.peer_id(0));
    let from = (Source([0; 20]), Some((peer, 0)));
    one.initiate(peer, NOW);
    let begin = measure(|| one.handle_timeout(0, NOW));
    let mut datagram = [0; 1472];
    let initiation = defmt::unwrap!(one.poll_transmit(NOW)).2;
    let datagram = &mut datagram[..initiation.len()];
    datagram.copy_from_slice(initiation);
    let mut response = [0; 160];
    let mut len = 0;
    let answer = measure(|| {
        if let Opened::Reply(reply) = two.open(&from.0, from.1, datagram, NOW) {
            len = reply.len();
            response[..len].copy_from_slice(reply);
        }
    });
    let finish = measure(|| {
        defmt::assert!(matches!(one.open(&from.0, from.1, &mut response[..len], NOW), Opened::Consumed))
    });
    defmt::println!("instructions: handshake: begin {}, answer {}, finish {}", begin, answer, finish);
    for size in SEALED {
        let mut clear = [0; 8 + SEALED[1]];
        let clear = &mut clear[..8 + size];
        clear[..9].copy_from_slice(&[0x10, 0, 0x08, 0, 0, 0, 0, 1, 0x45]);
        let mut place = [0; 1472];
        let len = defmt::unwrap!(one.sealed_len(clear, place.len()));
        let place = &mut place[..len];
        let mut opened = 0;
        let sealed = count(|_| {
            defmt::assert!(one.seal(peer, 0, clear, place, NOW).is_ok());
        });
        for _ in 0..PACKETS / 10 {
            defmt::assert!(one.seal(peer, 0, clear, place, NOW).is_ok());
            opened += measure(|| {
                defmt::assert!(matches!(
                    black_box(two.open(&from.0, from.1, place, NOW)),
                    Opened::Clear { .. }
                ));
            });
        }
        let opened = opened / (PACKETS / 10);
        defmt::println!("instructions: packet of {} bytes: seal {}, open {}", size, sealed, opened);
    }
}

/// Prints the memory of sealed mode, and what it costs.
fn sealed() {
    let (sealer, peer) = (size_of::<Sealer<'_, Portable, Counter>>(), size_of::<PeerSlot<PortableKey>>());
    let rest = size_of::<SealerMemory>() - peer - WINDOW_WORDS_MIN * 8;
    defmt::println!("RAM: Sealer {} B, each peer {} B, index and recent {} B", sealer, peer, rest);
    defmt::println!(
        "RAM: sealed, one peer: {} B, and windows of {} B",
        sealer + peer + rest,
        WINDOW_WORDS_MIN * 8
    );
    seal();
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let mut timer = defmt::unwrap!(cortex_m::Peripherals::take()).SYST;
    timer.set_clock_source(cortex_m::peripheral::syst::SystClkSource::Core);
    timer.set_reload(SYSTICK_MAX);
    timer.clear_current();
    timer.enable_counter();

    let (connection, slot) = (size_of::<Connection<'_>>(), size_of::<ReorderSlot>());
    defmt::println!("RAM: Connection {} B, each slot of the window {} B", connection, slot);
    defmt::assert!(connection + (WINDOW + 1) * slot + CONTROL_MAX < MOST_BYTES);
    let (state, kept, flow) = (size_of::<AdaptiveState>(), size_of::<PacketSlot>(), size_of::<FlowSlot>());
    defmt::println!("RAM: AdaptiveState {} B, each packet kept {} B, each flow {} B", state, kept, flow);
    for (paths, window) in [(2, 16), (4, 64)] {
        let sum = connection + (window + 1) * slot + CONTROL_MAX;
        defmt::println!("RAM: {} paths, window {}: {} B and the packets", paths, window, sum);
    }
    for &policy in &Policy::ALL[1..] {
        let (alone, drained) = send(policy);
        defmt::println!("instructions: send, {}: {}, with draining {}", policy, alone, drained);
        defmt::assert!(drained < MOST_INSTRUCTIONS);
    }
    let (alone, drained) = (receive(|turn| turn, false), receive(|turn| turn, true));
    defmt::println!("instructions: receive in order: {}, with draining {}", alone, drained);
    defmt::assert!(drained < MOST_INSTRUCTIONS);
    // Each second packet overtakes the one before it.
    let swapped = receive(|turn| turn ^ 1, true);
    defmt::println!("instructions: receive, pairs swapped, with draining {}", swapped);
    defmt::assert!(swapped < MOST_INSTRUCTIONS);
    sealed();
    debug::exit(debug::EXIT_SUCCESS);
    loop {}
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    defmt::error!("{}", defmt::Display2Format(info));
    debug::exit(debug::EXIT_FAILURE);
    loop {}
}
