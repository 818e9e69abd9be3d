//! The memory that connections are lent, taken once.

use mpt_proto::{
    AdaptiveState, FlowSlot, HEADROOM, PacketSlot, Policy, ReassemblySlot, ReorderSlot, Storage,
};

use crate::config;

/// Packets that may be put together from fragments at the same time, per connection: fragments of one packet
/// leave together, so few are open unless some are lost.
const REASSEMBLY_SLOTS: usize = 16;
/// Room for a datagram when our own paths are narrower than the peer takes them to be: an Ethernet frame.
const DATAGRAM_MIN: usize = 1500;
/// Room for a packet that the peer splits, when its tunnel MTU is larger than ours: a jumbo frame.
const PACKET_MIN: usize = 9216;
/// Queues that flows are hashed to: with a hundred flows at once, one in ten shares its queue.
const FLOWS: usize = 1024;
/// Packets that the core can keep at most.
const KEPT_MAX: usize = 65_534;

/// How much a connection is lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemorySize {
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
    pub(super) fn new(config: &config::Connection, widest: usize, mtu: usize, kept: usize) -> Self {
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
}

/// What a connection is lent, for its life. Pages that are never written to cost nothing.
pub(super) struct Memory {
    reorder_slots: Vec<ReorderSlot>,
    reorder_bytes: Vec<u8>,
    reassembly_slots: Vec<ReassemblySlot>,
    reassembly_bytes: Vec<u8>,
    adaptive: Box<AdaptiveState>,
    kept_slots: Vec<PacketSlot>,
    kept_bytes: Vec<u8>,
    flows: Vec<FlowSlot>,
}

impl Memory {
    pub(super) fn new(size: MemorySize) -> Self {
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
        }
    }

    /// Whatever our own policy is, a peer with the adaptive one is understood.
    pub(super) fn lend(&mut self) -> Storage<'_> {
        let storage = Storage::none()
            .with_reassembly(&mut self.reassembly_slots, &mut self.reassembly_bytes)
            .with_adaptive(&mut self.adaptive, &mut self.kept_slots, &mut self.kept_bytes, &mut self.flows);
        if self.reorder_slots.is_empty() {
            storage
        } else {
            storage.with_reorder(&mut self.reorder_slots, &mut self.reorder_bytes)
        }
    }
}
