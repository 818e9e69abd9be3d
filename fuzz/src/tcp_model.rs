//! A TCP in virtual time, plain enough to read and close enough to a modern one to judge a tunnel by: selective
//! acknowledgements, RACK with an adaptive reordering window, proportional rate reduction, undo, and CUBIC, Reno,
//! BBR or LEDBAT.
//!
//! Sans-IO like the core: [`Sender`] and [`Receiver`] take `now` as last argument and are polled. Segments are
//! counted, all of the same size; [`wire`] writes them as IP packets. There is no handshake, no tail loss probe,
//! and the receiver's window is a constant.

mod bbr;
mod ledbat;
mod loss_based;
mod ranges;
mod receiver;
mod sender;
pub mod wire;

use std::ops::Range;
use std::time::Duration;

use mpt_proto::Instant;

pub use ranges::Ranges;
pub use receiver::Receiver;
pub use sender::{Sender, SenderStats};

/// How a sender finds its rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Congestion {
    /// CUBIC (RFC 9438).
    #[default]
    Cubic,
    /// Halves at a loss, one more segment a round trip (RFC 5681).
    Reno,
    /// Version 1, simplified: startup, drain, the cycle of gains, and the probe of the round trip.
    Bbr,
    /// Gives way: keeps the queue it makes at 100 ms (RFC 6817). What uTP, and so BitTorrent, does.
    Ledbat,
}

/// How a sender tells that a segment is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LossDetection {
    /// By time (RFC 8985), with a window that grows where duplicates show that it was too narrow.
    #[default]
    Rack,
    /// Three later ones arrived: QUIC's packet threshold (RFC 9002 section 6.1.1), which never adapts.
    Threshold,
}

/// A sender's settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// How it finds its rate.
    pub congestion: Congestion,
    /// How it finds losses.
    pub detection: LossDetection,
    /// Leaves slow start when the round trip grows (HyStart, RFC 9406 without its second phase). Not for BBR and LEDBAT.
    pub hystart: bool,
    /// Most segments that may be unacknowledged: the receiver's window.
    pub window: u64,
    /// Segments to send in all; `None`: without end.
    pub limit: Option<u64>,
    /// Segments a second that the application writes; `None`: all of them at once.
    pub pace: Option<f64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            congestion: Congestion::Cubic,
            detection: LossDetection::Rack,
            hystart: true,
            // 28 MB of 1,400 bytes: no limit to 1 Gbit/s over 200 ms.
            window: 20_000,
            limit: None,
            pace: None,
        }
    }
}

/// Most blocks that the options of a TCP header hold (RFC 2018 section 3).
pub const MOST_BLOCKS: usize = 3;

/// An acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ack {
    /// Everything below has arrived.
    pub cumulative: u64,
    /// What arrived beyond, the most recent first (RFC 2018); before it, if there is one, the duplicate that
    /// caused this acknowledgement (RFC 2883).
    pub blocks: Vec<Range<u64>>,
    /// The receiver saw "congestion experienced" (RFC 3168).
    pub congested: bool,
    /// The transmission that a timestamp would tell (RFC 7323): of the earliest segment that this acknowledges.
    pub echo: u32,
    /// One-way delay of the newest segment, where the transport tells it (uTP, BEP 29).
    pub delay: Option<Duration>,
}

impl Ack {
    /// The duplicate that is reported, if one is: a first block that the cumulative number or the second block
    /// covers already (RFC 2883 section 4).
    pub fn duplicate(&self) -> Option<u64> {
        let first = self.blocks.first()?;
        let covered = first.end <= self.cumulative
            || self
                .blocks
                .get(1)
                .is_some_and(|second| second.start <= first.start && first.end <= second.end);
        covered.then_some(first.start)
    }
}

/// Seconds of a duration; the models reckon in floats, with nothing but sums, products and quotients, so that
/// every machine gets the same.
fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// Seconds since the beginning of time.
fn at(now: Instant) -> f64 {
    now.as_micros() as f64 / 1e6
}

/// The moment this many seconds after the beginning of time, rounded up.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
fn instant(at: f64) -> Instant {
    Instant::from_micros((at * 1e6).ceil() as u64)
}

#[cfg(test)]
mod tests;
