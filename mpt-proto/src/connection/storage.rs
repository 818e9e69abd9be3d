//! The memory that a connection works in.

use crate::adaptive::{Adaptive, AdaptiveState, FlowSlot, PacketSlot};
use crate::connection::extended::Extension;
use crate::connection::flow_pins::FlowPin;
use crate::connection::sizes::{LentSizes, PathSizes};
use crate::reassembly::ReassemblySlot;
use crate::reorder::ReorderSlot;

/// Memory lent to a connection for as long as it lives.
#[derive(Debug, Default)]
pub struct Storage<'s> {
    pub(super) reorder: (&'s mut [ReorderSlot], &'s mut [u8]),
    pub(super) reassembly: (&'s mut [ReassemblySlot], &'s mut [u8]),
    pub(super) extension: Option<Extension<'s>>,
    pub(super) flow_pins: &'s mut [FlowPin],
    pub(super) sizes: Option<LentSizes<'s>>,
}

impl<'s> Storage<'s> {
    /// Nothing is held: packets are delivered as they come, fragments are dropped.
    pub fn none() -> Self {
        Self::default()
    }

    /// Slots and bytes for the reorder buffer; a packet of up to `bytes.len() / slots.len()` bytes fits a
    /// slot, and fragments need [`HEADROOM`](crate::HEADROOM) more than they carry. The window is at most one less than the
    /// number of slots, and at most 65,535.
    #[must_use]
    pub fn with_reorder(self, slots: &'s mut [ReorderSlot], bytes: &'s mut [u8]) -> Self {
        Self { reorder: (slots, bytes), ..self }
    }

    /// Slots and bytes for reassembly, one slot for each packet that is being put together: few, as they are
    /// searched. A packet of up to `bytes.len() / slots.len()` bytes can be put together.
    #[must_use]
    pub fn with_reassembly(self, slots: &'s mut [ReassemblySlot], bytes: &'s mut [u8]) -> Self {
        Self { reassembly: (slots, bytes), ..self }
    }

    /// Places for flows that are pinned to a path for a while: few, as they are searched for every packet while there are some.
    #[must_use]
    pub fn with_flow_pins(self, places: &'s mut [FlowPin]) -> Self {
        Self { flow_pins: places, ..self }
    }

    /// Memory for the search for the sizes that paths carry: [`Connection::search_size`](crate::Connection::search_size).
    ///
    /// A program that never calls this does not link the search.
    #[must_use]
    pub fn with_path_sizes<const N: usize>(self, sizes: &'s mut PathSizes<N>) -> Self {
        *sizes = PathSizes::default();
        Self { sizes: Some(sizes), ..self }
    }

    /// Memory for the extension: with it the connection understands a peer that sends by
    /// [`Policy::Adaptive`](crate::Policy::Adaptive), and with slots, bytes and flows it sends by it. A packet of up to
    /// `bytes.len() / slots.len()` less [`HEADROOM`](crate::HEADROOM) bytes fits a slot; there should be slots for what is under way in
    /// a round trip and 50 ms more, at most 65,534. Flows are told apart by a hash: 16 to 1,024 are sensible.
    ///
    /// A program that never calls this does not link the extension.
    #[must_use]
    pub fn with_adaptive(
        self,
        state: &'s mut AdaptiveState,
        slots: &'s mut [PacketSlot],
        bytes: &'s mut [u8],
        flows: &'s mut [FlowSlot],
    ) -> Self {
        let (slots, bytes) = if flows.is_empty() { Default::default() } else { (slots, bytes) };
        let adaptive = Adaptive::new(state, slots, bytes, flows);
        Self { extension: Some(Extension::new(adaptive)), ..self }
    }
}
