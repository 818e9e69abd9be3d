//! The proof that the core needs neither `std` nor `alloc`: a static library with its own panic handler and no
//! allocator, which calls the whole public interface. It would not link if anything named them.
//!
//! ```text
//! cargo bare && cargo run -p mpt-proto --example ram
//! ```
//!
//! Other profiles, which unwind, build it as an ordinary library.
#![cfg_attr(panic = "abort", no_std)]

use mpt_proto::{
    AdaptiveState, CONTROL_MAX, Config, Connection, DropReason, Ecn, FlowSlot, HEADROOM, Instant, Link,
    PacketSlot, PathConfig, PathId, PathSizes, Pin, PortMatch, ReassemblySlot, Received, ReorderSlot,
    Storage, Unsent,
};

#[cfg(panic = "abort")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Packets that can wait for earlier ones.
const WINDOW: usize = 64;
const PACKET: usize = 1500;
/// Packets that the sender keeps, and the flows it tells apart.
const KEPT: usize = 16;
const FLOWS: usize = 16;

/// All of the interface but what the adaptive policy and the search for sizes need: what a firmware links that lends them no memory.
#[unsafe(no_mangle)]
pub extern "C" fn mpt_bare(micros: u64, seed: u64) -> usize {
    drive(Storage::none(), micros, seed, |_, _, _| true)
}

/// The same and the search for sizes.
#[unsafe(no_mangle)]
pub extern "C" fn mpt_bare_sizes(micros: u64, seed: u64) -> usize {
    let mut sizes = PathSizes::<2>::default();
    drive(Storage::none().with_path_sizes(&mut sizes), micros, seed, search)
}

/// All of the interface.
#[unsafe(no_mangle)]
pub extern "C" fn mpt_bare_adaptive(micros: u64, seed: u64) -> usize {
    let mut sizes = PathSizes::<2>::default();
    let mut state = AdaptiveState::default();
    let mut kept = [PacketSlot::default(); KEPT];
    let mut bytes = [0; KEPT * (HEADROOM + PACKET)];
    let mut flows = [FlowSlot::default(); FLOWS];
    let storage = Storage::none().with_adaptive(&mut state, &mut kept, &mut bytes, &mut flows);
    drive(storage.with_path_sizes(&mut sizes), micros, seed, search)
}

/// Searches the size of a path.
fn search(connection: &mut Connection<'_>, path: PathId, now: Instant) -> bool {
    let mut control = [0; CONTROL_MAX];
    let mut room = [0; PACKET];
    connection.search_size(path, 548, 7, now).is_ok()
        && connection.poll_transmit(&mut control).is_some_and(|probe| probe.padded(&mut room).is_some())
        && connection.handle_unsent(path, Unsent::TooLarge, now).is_ok()
        && connection.seeks_size(path).is_ok_and(|seeks| seeks)
        && connection.max_datagram(path).is_ok_and(|size| size > 548)
}

/// Sends a packet and takes one in over two paths, and drives everything else once. Returns the bytes delivered.
fn drive(
    storage: Storage<'_>,
    micros: u64,
    seed: u64,
    more: fn(&mut Connection<'_>, PathId, Instant) -> bool,
) -> usize {
    let now = Instant::from_micros(micros);
    let mut slots = [ReorderSlot::default(); WINDOW + 1];
    let mut bytes = [0; (WINDOW + 1) * PACKET];
    let mut pieces = [ReassemblySlot::default(); 2];
    let mut pieces_bytes = [0; 2 * 2000];
    let storage =
        storage.with_reorder(&mut slots, &mut bytes).with_reassembly(&mut pieces, &mut pieces_bytes);
    let mut config = Config { seed, key: Some(1), checksum: true, ..Config::default() };
    let pin = Pin { port_match: PortMatch::TcpSource, port: 22, path: 0 };
    if config.pins.insert(pin).is_err() {
        return 0;
    }
    let mut connection = Connection::new(config, storage, now);
    let (Ok(first), Ok(second)) =
        (connection.add_path(PathConfig::default(), now), connection.add_path(PathConfig::default(), now))
    else {
        return 0;
    };
    let searches = more(&mut connection, first, now);
    let mut delivered = 0;
    let mut buffer = [0x45; HEADROOM + PACKET];
    if let Ok(mut departures) = connection.encapsulate(&mut buffer, now) {
        while let Some(departure) = departures.next() {
            delivered += departure.datagram.len();
        }
    }
    if let Ok(Received::Packet(packet)) = connection.decapsulate(second, &mut buffer, Ecn::Ect0, now) {
        delivered += packet.len();
    }
    connection.handle_timeout(now);
    while let Some(packet) = connection.poll_packet() {
        delivered += packet.len();
    }
    let mut control = [0; CONTROL_MAX];
    while let Some(departure) = connection.poll_transmit(&mut control) {
        delivered += departure.datagram.len();
    }
    while connection.poll_event().is_some() {}
    let claims = connection.claim(&buffer).is_some_and(|claim| claim.known);
    let challenges =
        connection.challenge(second, 7, &mut control, now).is_ok_and(|challenge| challenge.path == second);
    let known = connection.set_enabled(first, false, now).is_ok()
        && connection.handle_link(first, Link::Down, now).is_ok()
        && connection.set_max_datagram(first, 1200, now).is_ok()
        && connection.path_state(first).is_ok()
        && connection.path_rtt(first).is_ok()
        && connection.claim(&buffer).is_none()
        && connection.peer_number(first).is_ok()
        && connection.challenge(first, 1, &mut control, now).is_ok()
        && connection.probe(first, now).is_ok()
        && connection.path_stats(first).is_ok()
        && connection.path_model(first).is_ok_and(|model| model.rate > 0)
        && connection.mode().is_some()
        && connection.probe(first, now).is_ok()
        && connection.peer_number(first).is_ok()
        && connection.remove_path(first, now).is_ok();
    delivered
        + usize::from(claims || challenges || searches)
        + usize::from(known && connection.poll_timeout().is_some() && connection.peer_is_mpt())
        + connection.paths().count()
        + connection.held()
        + connection.header_len()
        + usize::try_from(connection.stats().dropped(DropReason::Late)).unwrap_or(0)
}
