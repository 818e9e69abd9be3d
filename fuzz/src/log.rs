//! What one end delivered, and questions about it.

use std::collections::HashSet;
use std::time::Duration;

use mpt_proto::Instant;

use crate::packet::Stamp;

/// A packet that came out of the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Which, and when it was sent.
    pub stamp: Stamp,
    /// When it came out.
    pub at: Instant,
}

impl Delivery {
    /// How long it took.
    pub const fn delay(&self) -> Duration {
        self.at.since(self.stamp.sent)
    }
}

/// What one end delivered, in the order of delivery.
#[derive(Debug, Clone, Default)]
pub struct Log {
    deliveries: Vec<Delivery>,
    broken: usize,
}

impl Log {
    /// Notes a packet that came out at `at`.
    pub fn note(&mut self, packet: &[u8], at: Instant) {
        match Stamp::read(packet) {
            Some((stamp, true)) => self.deliveries.push(Delivery { stamp, at }),
            _ => self.broken += 1,
        }
    }

    /// The intact packets.
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// How many intact packets there are.
    pub const fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Packets that are not what was sent.
    pub const fn broken(&self) -> usize {
        self.broken
    }

    /// Serial numbers in the order of delivery.
    pub fn serials(&self) -> impl Iterator<Item = u64> + Clone + '_ {
        self.deliveries.iter().map(|delivery| delivery.stamp.serial)
    }

    /// Whether no packet came out behind a later one, or twice.
    pub fn is_in_order(&self) -> bool {
        self.deliveries.windows(2).all(|pair| pair[0].stamp.serial < pair[1].stamp.serial)
    }

    /// How many packets came out that had come out before.
    pub fn duplicates(&self) -> usize {
        let mut seen = HashSet::new();
        self.serials().filter(|serial| !seen.insert(*serial)).count()
    }

    /// The longest time a packet took; zero if there is none.
    pub fn longest_delay(&self) -> Duration {
        self.deliveries.iter().map(Delivery::delay).max().unwrap_or_default()
    }

    /// The longest time between two packets that came out one behind the other, both since `from`.
    pub fn longest_gap(&self, from: Instant) -> Duration {
        let since: Vec<Instant> = self.deliveries.iter().map(|it| it.at).filter(|at| *at >= from).collect();
        since.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap_or_default()
    }

    /// What came out since `from`, as a log of its own.
    #[must_use]
    pub fn since(&self, from: Instant) -> Self {
        let deliveries = self.deliveries.iter().copied().filter(|it| it.at >= from).collect();
        Self { deliveries, broken: 0 }
    }
}
