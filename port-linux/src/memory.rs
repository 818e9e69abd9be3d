//! The memory that connections are lent: taken when one is added, and lent again after it was removed.

use mpt_proto::{
    AdaptiveState, FlowPin, FlowSlot, HEADROOM, PacketSlot, PathSizes, Policy, ReassemblySlot, ReorderSlot,
    Storage,
};
use typed_arena::Arena;

use crate::ciphers::NativeKey;
use crate::config;

/// Packets that may be put together from fragments at the same time, per connection: fragments of one packet
/// leave together, so few are open unless some are lost.
const REASSEMBLY_SLOTS: usize = 16;
/// Flows of tests that measure a single path, per connection: one of three paths at once, each by TCP and a ping.
const FLOW_PINS: usize = 16;
/// Room for a datagram when our own paths are narrower than the peer takes them to be: an Ethernet frame.
const DATAGRAM_MIN: usize = 1500;
/// Room for a packet that the peer splits, when its tunnel MTU is larger than ours: a jumbo frame.
const PACKET_MIN: usize = 9216;
/// Queues that flows are hashed to: with a hundred flows at once, one in ten shares its queue.
const FLOWS: usize = 2048;
/// What peers that come by themselves may keep at least, in bytes, however many they are: 60 Mbit/s over a round trip of 50 ms.
const LEAST_KEPT: usize = 1 << 20;
/// Packets that the core can keep at most.
const KEPT_MAX: usize = 65_534;

/// How much a connection is lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemorySize {
    /// Packets that may wait for earlier ones.
    window: usize,
    /// Bytes of the largest datagram.
    datagram: usize,
    /// Bytes of the largest inner packet.
    packet: usize,
    /// Packets that may wait for a path, or for word that they arrived.
    kept: usize,
    /// Bytes for each of them.
    kept_cell: usize,
}

impl MemorySize {
    /// For a connection whose widest path takes datagrams of `widest` bytes, on an interface of this MTU; `kept` bytes
    /// are for packets to be sent, unless the configuration says otherwise.
    fn new(config: &config::Connection, widest: usize, mtu: usize, kept: usize) -> Self {
        let kept_cell = HEADROOM + widest;
        let kept = match config.policy {
            Policy::Adaptive if config.sequence => config.adaptive.memory.unwrap_or(kept) / kept_cell,
            _ => 0,
        };
        Self {
            window: config.reorder.window.into(),
            datagram: widest.max(DATAGRAM_MIN),
            packet: widest.max(mtu).max(PACKET_MIN),
            kept: kept.min(KEPT_MAX),
            kept_cell,
        }
    }

    /// Bytes for packets to be sent.
    pub(crate) fn to_send(self) -> u64 {
        self.kept.saturating_mul(self.kept_cell) as u64
    }

    /// For a recording.
    pub(crate) const fn parts(self) -> [usize; 5] {
        [self.window, self.datagram, self.packet, self.kept, self.kept_cell]
    }
}

#[cfg(feature = "program")]
impl MemorySize {
    /// As a recording has it.
    pub(crate) const fn of([window, datagram, packet, kept, kept_cell]: [usize; 5]) -> Self {
        Self { window, datagram, packet, kept, kept_cell }
    }
}

/// What a connection is lent, for its life. Pages that are never written to cost nothing.
pub struct Memory {
    reorder_slots: Vec<ReorderSlot>,
    reorder_bytes: Vec<u8>,
    reassembly_slots: Vec<ReassemblySlot>,
    reassembly_bytes: Vec<u8>,
    adaptive: Box<AdaptiveState>,
    kept_slots: Vec<PacketSlot>,
    kept_bytes: Vec<u8>,
    flows: Vec<FlowSlot>,
    flow_pins: [FlowPin; FLOW_PINS],
    path_sizes: PathSizes,
}

impl Memory {
    /// All of it, fresh.
    pub(crate) fn new(size: MemorySize) -> Self {
        // One slot more than the window, and none when reordering is off.
        let slots = if size.window == 0 { 0 } else { size.window + 1 };
        Self {
            reorder_slots: vec![ReorderSlot::default(); slots],
            reorder_bytes: vec![0; slots * size.datagram],
            reassembly_slots: vec![ReassemblySlot::default(); REASSEMBLY_SLOTS],
            reassembly_bytes: vec![0; REASSEMBLY_SLOTS * size.packet],
            adaptive: Box::default(),
            kept_slots: vec![PacketSlot::default(); size.kept],
            kept_bytes: vec![0; size.kept * size.kept_cell],
            flows: vec![FlowSlot::default(); if size.kept == 0 { 0 } else { FLOWS }],
            flow_pins: [FlowPin::default(); FLOW_PINS],
            path_sizes: PathSizes::default(),
        }
    }

    /// Whatever our own policy is, a peer with the adaptive one is understood.
    pub(crate) fn lend(&mut self) -> Storage<'_> {
        let storage = Storage::none()
            .with_reassembly(&mut self.reassembly_slots, &mut self.reassembly_bytes)
            .with_flow_pins(&mut self.flow_pins)
            .with_path_sizes(&mut self.path_sizes)
            .with_adaptive(&mut self.adaptive, &mut self.kept_slots, &mut self.kept_bytes, &mut self.flows);
        if self.reorder_slots.is_empty() {
            storage
        } else {
            storage.with_reorder(&mut self.reorder_slots, &mut self.reorder_bytes)
        }
    }
}

/// The memory of all connections. What was taken for one is kept for others of its size until the arena goes.
pub struct Memories<'s> {
    arena: &'s Arena<Memory>,
    /// Bytes for packets to be sent, unless a connection's configuration says otherwise.
    kept: usize,
    /// The same for peers that come by themselves.
    kept_for_learned: usize,
    /// Bytes of the largest inner packet.
    mtu: usize,
    unused: Vec<(MemorySize, Storage<'s>)>,
}

impl<'s> Memories<'s> {
    /// Lent from `arena`; a connection may keep `kept` bytes of packets that are to be sent, unless its configuration says otherwise.
    pub fn new(arena: &'s Arena<Memory>, kept: usize, tunnel_mtu: Option<u16>) -> Self {
        let mtu = tunnel_mtu.unwrap_or(0).into();
        Self { arena, kept, kept_for_learned: kept, mtu, unused: Vec::new() }
    }

    /// So many peers that come by themselves keep at most `bytes` together, if each can have a mebibyte of that.
    #[must_use]
    pub fn shared(self, bytes: usize, peers: usize) -> Self {
        let share = bytes / peers.max(1);
        Self { kept_for_learned: share.max(LEAST_KEPT).min(self.kept), ..self }
    }

    /// Memory for a connection whose widest path takes datagrams of `widest` bytes.
    pub(crate) fn lend(&mut self, config: &config::Connection, widest: usize) -> (MemorySize, Storage<'s>) {
        let kept = if config.is_learned { self.kept_for_learned } else { self.kept };
        let size = MemorySize::new(config, widest, self.mtu, kept);
        match self.unused.iter().position(|(unused, _)| *unused == size) {
            Some(place) => self.unused.swap_remove(place),
            None => (size, self.arena.alloc(Memory::new(size)).lend()),
        }
    }

    /// Takes back what a connection was lent.
    pub(crate) fn take_back(&mut self, size: MemorySize, storage: Storage<'s>) {
        self.unused.push((size, storage));
    }
}

/// Words of the replay window of one path in one epoch: 8,191 or fewer numbers may lie between a datagram and the newest of its path.
/// At 1.6 million datagrams a second on one path these are 5 ms, by which networks reorder; 129 were too few at 1 Gbit/s (quinn#2710).
const WINDOW_WORDS: usize = 128;
/// Sources that are counted one by one while there is a flood of handshakes.
const SOURCES: usize = 1024;
/// Initiations whose copies on other paths are known, at least: as many as peers may come at once when a server has started.
const RECENT: usize = 64;

/// What the layer that seals is lent, for this many peers.
pub fn sealer_memory(peers: usize) -> mpt_seal::Memory<NativeKey> {
    mpt_seal::Memory::new(peers, WINDOW_WORDS, SOURCES.max(2 * peers), RECENT.max(peers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::run::Defaults;

    /// For a connection with this line in it, whose widest path takes datagrams of so many bytes.
    fn size(line: &str, widest: usize) -> MemorySize {
        let text = format!(
            "tunnel.address = [\"10.0.0.1/24\"]\n[[connection]]\nname = \"c\"\npeer = [\"10.0.0.2\"]\n{line}\n\
             [[connection.path]]\nname = \"p\"\nlocal = \"172.16.1.10\"\nremote = \"172.16.1.20\"\n"
        );
        let config = Config::parse(&text, "test").unwrap();
        MemorySize::new(&config.connections[0], widest, 0, Defaults::default().adaptive_memory)
    }

    #[test]
    fn by_default_a_gigabit_over_a_round_trip_of_50_ms_fits_and_all_is_less_than_64_mib() {
        let size = size("", 1472);
        let bytes_in_130_ms = 1_000_000_000 / 8 * 130 / 1000;
        assert!(size.kept * 1456 >= bytes_in_130_ms, "{size:?}");
        let lent = size.kept * (size.kept_cell + size_of::<PacketSlot>())
            + (size.window + 1) * (size.datagram + size_of::<ReorderSlot>())
            + REASSEMBLY_SLOTS * (size.packet + size_of::<ReassemblySlot>())
            + FLOWS * size_of::<FlowSlot>()
            + size_of::<AdaptiveState>();
        assert!(lent < 64 << 20, "{lent}");
    }

    #[test]
    fn large_packets_take_no_more_memory_and_the_configuration_decides() {
        let jumbo = size("", 65_507);
        assert!(jumbo.kept > 0 && jumbo.kept * jumbo.kept_cell <= 24 << 20, "{jumbo:?}");
        assert_eq!(size("adaptive.memory_mb = 1", 1472).kept, (1 << 20) / (HEADROOM + 1472));
        assert_eq!(size("adaptive.memory_mb = 1024", 1472).kept, KEPT_MAX);
    }

    #[test]
    fn many_peers_share_what_one_may_have_alone_and_each_has_a_mebibyte() {
        let arena = Arena::new();
        let shared =
            |peers| Memories::new(&arena, 24 << 20, None).shared(1 << 30, peers).kept_for_learned >> 20;
        assert_eq!([0, 1, 42, 100, 1000, 10_000].map(shared), [24, 24, 24, 10, 1, 1]);
    }

    #[test]
    fn what_does_not_send_by_the_adaptive_policy_needs_no_memory_for_it() {
        for line in ["policy = \"weighted\"", "sequence = false"] {
            assert_eq!(size(line, 1472).kept, 0, "{line}");
        }
    }
}
