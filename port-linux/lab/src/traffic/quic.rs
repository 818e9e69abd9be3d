//! A stream of bytes over QUIC (RFC 9000), by quinn: bulk data in one direction, as [`super::stream`] sends it over TCP.
//!
//! TLS is rustls with ring. The receiver makes a certificate for itself, and the sender, which is in the same process,
//! trusts that one alone. QUIC is in programs that are built with the feature `quic`; without it [`listen`] says so.

#[cfg(not(feature = "quic"))]
mod absent;
#[cfg(feature = "quic")]
mod endpoint;

use serde::Serialize;

#[cfg(not(feature = "quic"))]
pub use self::absent::{Certificate, Listener, listen, receive, send};
#[cfg(feature = "quic")]
pub use self::endpoint::{Certificate, Listener, listen, receive, send};
use super::stream::{self, Payload, USUAL_CONGESTION};

/// Whether this program was built with QUIC.
pub const IS_BUILT_IN: bool = cfg!(feature = "quic");

/// What to say where it was not.
pub const NOT_BUILT_IN: &str =
    "this program was built without QUIC: build it with `cargo build -p mpt --features quic`";

/// How the sender finds its rate, and what the stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The congestion control of quinn: `cubic` or `bbr`.
    pub congestion: &'static str,
    /// The bytes of the stream.
    pub payload: Payload,
}

impl Default for Flow {
    fn default() -> Self {
        Self { congestion: USUAL_CONGESTION, payload: Payload::Zeros }
    }
}

/// What the sender's QUIC connection counted from its first packet to its end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Counts {
    /// QUIC packets sent, with acknowledgements and probes for the path MTU.
    pub sent_packets: u64,
    /// QUIC packets declared lost (RFC 9002 section 6.1), without probes for the path MTU. A packet that only came
    /// later than three others counts as well.
    pub lost_packets: u64,
    /// How often the congestion control was told of congestion.
    pub congestion_events: u64,
    /// The largest UDP payload that path MTU discovery found to pass, in bytes.
    pub udp_payload: u16,
    /// The smoothed round-trip time at the end, in milliseconds.
    pub rtt_ms: f64,
    /// The congestion window at the end, in bytes.
    pub congestion_window: u64,
}

impl Counts {
    /// Packets declared lost of those sent, in per cent.
    pub fn lost_percent(&self) -> f64 {
        100.0 * self.lost_packets as f64 / self.sent_packets.max(1) as f64
    }
}

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sent {
    /// Payload, and the time from the end of the handshake until the receiver had acknowledged all.
    #[serde(flatten)]
    pub stream: stream::Sent,
    /// Packets.
    pub counts: Counts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_sent_nothing_lost_nothing() {
        let none = Counts {
            sent_packets: 0,
            lost_packets: 0,
            congestion_events: 0,
            udp_payload: 1200,
            rtt_ms: 0.0,
            congestion_window: 12_000,
        };
        assert_eq!(none.lost_percent(), 0.0);
        assert_eq!(Counts { sent_packets: 400, lost_packets: 1, ..none }.lost_percent(), 0.25);
    }
}
