//! The memory that connections borrow.

use mpt_proto::{AdaptiveState, FlowSlot, PacketSlot, PathSizes, ReassemblySlot, ReorderSlot, Storage};

/// How much each connection is lent.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Slots of the reorder buffer.
    pub reorder_slots: usize,
    /// Bytes of each.
    pub reorder_cell: usize,
    /// Slots of reassembly.
    pub reassembly_slots: usize,
    /// Bytes of each.
    pub reassembly_cell: usize,
    /// Packets that a sender keeps under the adaptive policy; zero: it cannot send by it.
    pub adaptive_slots: usize,
    /// Bytes of each.
    pub adaptive_cell: usize,
    /// Queues that flows are hashed to.
    pub flows: usize,
}

impl Sizes {
    /// Bytes of all that a connection is lent.
    pub const fn bytes(&self) -> usize {
        self.reorder_slots * (size_of::<ReorderSlot>() + self.reorder_cell)
            + self.reassembly_slots * (size_of::<ReassemblySlot>() + self.reassembly_cell)
            + size_of::<AdaptiveState>()
            + self.adaptive_slots * (size_of::<PacketSlot>() + self.adaptive_cell)
            + self.flows * size_of::<FlowSlot>()
            + size_of::<PathSizes>()
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            reorder_slots: 1025,
            reorder_cell: 1600,
            reassembly_slots: 4,
            reassembly_cell: 9000,
            adaptive_slots: 1024,
            adaptive_cell: 1600,
            flows: 2048,
        }
    }
}

/// Memory for two connections and for those that take their place when an end restarts.
#[derive(Debug)]
pub struct Memory {
    lives: Vec<Life>,
}

/// What one connection is lent.
#[derive(Debug)]
pub(crate) struct Life {
    reorder: (Vec<ReorderSlot>, Vec<u8>),
    reassembly: (Vec<ReassemblySlot>, Vec<u8>),
    adaptive: Box<AdaptiveState>,
    packets: (Vec<PacketSlot>, Vec<u8>),
    flows: Vec<FlowSlot>,
    path_sizes: Box<PathSizes>,
}

impl Memory {
    /// For two connections and as many restarts.
    pub fn new(sizes: Sizes, restarts: usize) -> Self {
        let life = || Life {
            reorder: (
                vec![ReorderSlot::default(); sizes.reorder_slots],
                vec![0; sizes.reorder_slots * sizes.reorder_cell],
            ),
            reassembly: (
                vec![ReassemblySlot::default(); sizes.reassembly_slots],
                vec![0; sizes.reassembly_slots * sizes.reassembly_cell],
            ),
            adaptive: Box::default(),
            packets: (
                vec![PacketSlot::default(); sizes.adaptive_slots],
                vec![0; sizes.adaptive_slots * sizes.adaptive_cell],
            ),
            flows: vec![FlowSlot::default(); sizes.flows],
            path_sizes: Box::default(),
        };
        Self { lives: (0..2 + restarts).map(|_| life()).collect() }
    }

    pub(crate) fn lives(&mut self) -> std::slice::IterMut<'_, Life> {
        self.lives.iter_mut()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(Sizes::default(), 0)
    }
}

/// The storage of the next life.
pub(crate) fn take<'m>(lives: &mut std::slice::IterMut<'m, Life>) -> Storage<'m> {
    let Life { reorder, reassembly, adaptive, packets, flows, path_sizes } =
        lives.next().expect("memory for one more restart");
    Storage::none()
        .with_reorder(&mut reorder.0, &mut reorder.1)
        .with_reassembly(&mut reassembly.0, &mut reassembly.1)
        .with_adaptive(adaptive, &mut packets.0, &mut packets.1, flows)
        .with_path_sizes(path_sizes)
}
