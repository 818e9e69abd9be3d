//! Sealed mode alone, with its whole interface but nothing around it: `./budget` links it to see what flash it takes, and that nothing
//! in it can panic. It is to mpt-seal what `examples/bare.rs` is to mpt-proto.
#![no_std]

use mpt_proto::{Instant, PathSet};
use mpt_seal::{
    Entropy, INDEX_SLOTS_PER_PEER, IndexSlot, Opened, PeerKeys, PeerSlot, Portable, PortableKey,
    PresharedKey, PrivateKey, PublicKey, Reason, RecentSlot, Sealer, Source, Storage, WINDOW_WORDS_MIN,
};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Counts, which is enough to be linked.
struct Counter(u8);

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

/// Does everything once with a datagram of `len` bytes that arrived and one that is to leave. Returns bytes that leave.
///
/// # Safety
/// Each pointer is to memory of its length that nothing else uses meanwhile: keys of 32 bytes, a datagram that arrived, and room for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mpt_sealed(
    keys: *const [[u8; 32]; 3],
    arrived: *mut u8,
    len: usize,
    room: *mut u8,
    room_len: usize,
    micros: u64,
) -> usize {
    // SAFETY: the caller's promise.
    let ([private, public, preshared], arrived, room) = unsafe {
        (
            *keys,
            core::slice::from_raw_parts_mut(arrived, len),
            core::slice::from_raw_parts_mut(room, room_len),
        )
    };
    let now = Instant::from_micros(micros);
    let mut peers = [PeerSlot::<PortableKey>::default()];
    let (mut order, mut recent) = ([0], [RecentSlot::default()]);
    let mut index = [IndexSlot::default(); INDEX_SLOTS_PER_PEER];
    let mut windows = [0; WINDOW_WORDS_MIN];
    let storage = Storage {
        peers: &mut peers,
        order: &mut order,
        index: &mut index,
        windows: &mut windows,
        sources: &mut [],
        recent: &mut recent,
    };
    let mut sealer = Sealer::new(PrivateKey::from_bytes(private), 1, Portable, Counter(0), storage, now);
    let keys =
        PeerKeys { public: PublicKey::from_bytes(public), preshared: PresharedKey::from_bytes(preshared) };
    let Ok(peer) = sealer.add_peer(keys) else { return 0 };
    sealer.set_paths(peer, PathSet::of(0));
    sealer.initiate(peer, now);
    let mut left = match sealer.open(&Source([0; 20]), Some((peer, 0)), arrived, now) {
        Opened::Clear { datagram, .. } => datagram.len(),
        Opened::Reply(reply) => reply.len(),
        Opened::Consumed | Opened::Refused(_) => 0,
    };
    sealer.handle_timeout(micros, now);
    while let Some((_, _, initiation)) = sealer.poll_transmit(now) {
        left += initiation.len();
    }
    while sealer.poll_event().is_some() {}
    if let Some(len) = sealer.sealed_len(arrived, 1472)
        && let Some(place) = room.get_mut(..len)
        && sealer.seal(peer, 0, arrived, place, now).is_ok()
    {
        left += len;
    }
    left += usize::from(sealer.status(peer, now).is_some_and(|status| status.age.is_some()));
    left += usize::try_from(sealer.stats().refused(Reason::Form)).unwrap_or(0);
    left += usize::from(sealer.poll_timeout().is_some());
    sealer.remove_peer(peer);
    left
}
