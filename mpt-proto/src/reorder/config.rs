//! What the caller decides of the reorder buffer.

use core::time::Duration;

/// How the reorder buffer waits. Its size is the storage lent to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ReorderConfig {
    /// Most packets a gap may be waited for, 1 to 65,535; zero turns reordering off: packets are delivered
    /// as they come, and only duplicates are dropped. Capped by the lent slots.
    pub window: u16,
    /// Longest a packet waits for earlier ones: `OUTOFORDER_TIMER` of RFC 2890 section 2.2, the original's
    /// `max_buffdelay_msec`. Must exceed the difference of the paths' delays. At most 71 minutes.
    pub delay: Duration,
    /// Whether each path by itself delivers in the order of sending. Then a gap is given up as soon as every
    /// live path has delivered something later. Turn it off where a single path reorders.
    pub paths_in_order: bool,
}

impl Default for ReorderConfig {
    fn default() -> Self {
        Self {
            // 400 Mbit/s of 1,464-byte packets for the delay below are 3,400 packets.
            window: 4096,
            // The original's default; covers a fixed line beside LTE.
            delay: Duration::from_millis(100),
            paths_in_order: true,
        }
    }
}
