//! A host's own access, shared among its connections: what they are sent, and what they send.
//!
//! A little less than the access carries is used, so that packets wait here, each connection's by themselves, and not at the provider, all
//! in one queue. [`Uplink`] lets connections send in turns. [`Downlink`] finds out what each may send, for its end to be told.

mod downlink;
mod uplink;
mod water;

pub use downlink::Downlink;
pub use uplink::Uplink;
pub use water::level;

/// Part of an access that is used, in per cent: what is left empties the provider's queue of what came too early, and is for what is not
/// counted, such as the headers of Ethernet.
const USED: u64 = 95;

/// Bytes a second that are shared, of an access of so many bits a second.
const fn shared(bits: u64) -> u64 {
    bits / 8 * USED / 100
}
