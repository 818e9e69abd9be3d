//! One direction of an emulated link that carries datagrams, in virtual time: [`mpt_link::Pipe`] with ECN and owners.

use std::time::Duration;

use mpt_link::Pipe;
use mpt_link::pipe::damage;
use mpt_proto::{Ecn, Instant};

pub use mpt_link::{Dip, LinkConfig, LinkStats, Loss, Policer, Rate, Step, Straggle, Swap, Trace, Wander};

/// A datagram that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Its bytes.
    pub datagram: Vec<u8>,
    ecn: Ecn,
    /// Whose it is, as the sender said: 0 unless others share the link.
    pub owner: u8,
}

impl Arrival {
    /// The ECN bits of its outer header.
    pub const fn ecn(&self) -> Ecn {
        self.ecn
    }
}

/// One direction of a link.
///
/// Invariant: `sent + duplicated = policed + overflowed + lost + cut + received + in_flight`.
#[derive(Debug)]
pub struct Link {
    pipe: Pipe<Arrival>,
}

impl Link {
    /// A link without anything on it.
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        Self { pipe: Pipe::new(config, seed) }
    }

    /// With the dips and steps of another seed: both directions of a link have them at the same times.
    #[must_use]
    pub fn with_weather(self, seed: u64) -> Self {
        Self { pipe: self.pipe.with_weather(seed) }
    }

    /// What became of the datagrams so far.
    pub const fn stats(&self) -> &LinkStats {
        self.pipe.stats()
    }

    /// Datagrams on the way, those in the queue included.
    pub fn in_flight(&self) -> usize {
        self.pipe.in_flight()
    }

    /// Changes what the link does from now on to what is sent. A new rate also moves what waits in the queue; a
    /// smaller queue drops nothing of it.
    pub fn set_config(&mut self, config: LinkConfig, now: Instant) {
        self.pipe.set_config(config, since_zero(now));
    }

    /// What the link does.
    pub const fn config(&self) -> &LinkConfig {
        self.pipe.config()
    }

    /// How long what is sent now would wait for what was sent before.
    pub fn backlog(&self, now: Instant) -> Duration {
        self.pipe.backlog(since_zero(now))
    }

    /// Cuts the link, silently: what is on it and what is sent is lost. Or restores it.
    pub fn set_cut(&mut self, is_cut: bool) {
        self.pipe.set_cut(is_cut);
    }

    /// Sends a datagram.
    pub fn send(&mut self, datagram: &[u8], ecn: Ecn, now: Instant) {
        self.send_for(0, datagram, ecn, now);
    }

    /// Sends a datagram of one of several that share the link.
    pub fn send_for(&mut self, owner: u8, datagram: &[u8], ecn: Ecn, now: Instant) {
        let arrival = Arrival { datagram: datagram.to_vec(), ecn, owner };
        self.pipe.offer(arrival, datagram.len(), ecn != Ecn::NotEct, since_zero(now));
    }

    /// When the next datagram arrives.
    pub fn poll_timeout(&self) -> Option<Instant> {
        // Up to the next microsecond, so that it has arrived then.
        let micros = self.pipe.due()?.as_nanos().div_ceil(1000);
        Some(Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)))
    }

    /// The next datagram that has arrived by `now`.
    pub fn receive(&mut self, now: Instant) -> Option<Arrival> {
        let taken = self.pipe.take(since_zero(now))?;
        let mut arrival = taken.frame;
        if taken.marked {
            arrival.ecn = Ecn::Ce;
        }
        if let Some(random) = taken.damage {
            damage(&mut arrival.datagram, random);
        }
        Some(arrival)
    }
}

fn since_zero(now: Instant) -> Duration {
    now.since(Instant::ZERO)
}

#[cfg(test)]
mod tests;
