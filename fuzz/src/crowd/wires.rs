//! The server's own access, which all peers share.

use std::time::Duration;

use mpt_link::Pipe;
use mpt_proto::{Ecn, Instant};

use super::Setup;
use crate::joined::End;
use crate::link::{LinkConfig, Rate};

/// IPv4 and UDP.
pub(super) const HEADERS: usize = 28;
/// One way.
const DELAY: Duration = Duration::from_millis(10);
/// What waits at a provider, as time at its rate: much, as such queues have it.
const QUEUE: u64 = 10;

/// A datagram.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) peer: usize,
    pub(super) path: usize,
    pub(super) ecn: Ecn,
    pub(super) bytes: Vec<u8>,
}

/// See the module: its links, from each end.
pub(super) struct Wires([Vec<Pipe<Frame>>; 2]);

impl Wires {
    pub(super) fn new(setup: &Setup) -> Self {
        let bits_per_second = setup.rate / setup.links as u64;
        let queue = usize::try_from(bits_per_second / 8 / QUEUE).unwrap_or(usize::MAX);
        let rate = Some(Rate { bits_per_second, queue, mark_above: None });
        let config = LinkConfig { delay: DELAY, overhead: HEADERS, rate, ..LinkConfig::default() };
        let from = |end: u64| {
            (0..setup.links as u64).map(move |link| Pipe::new(config, setup.seed ^ link << 1 ^ end))
        };
        Self([0, 1].map(|end| from(end).collect()))
    }

    pub(super) fn send(&mut self, from: End, frame: Frame, now: Instant) {
        let (len, is_capable) = (frame.bytes.len(), frame.ecn != Ecn::NotEct);
        let links = &mut self.0[from];
        let link = frame.path % links.len();
        links[link].offer(frame, len, is_capable, now.since(Instant::ZERO));
    }

    /// The next datagram that has arrived, and at which end.
    pub(super) fn receive(&mut self, now: Instant) -> Option<(End, Frame)> {
        let now = now.since(Instant::ZERO);
        let mut links = self
            .0
            .iter_mut()
            .enumerate()
            .flat_map(|(from, links)| links.iter_mut().map(move |it| (from, it)));
        links.find_map(|(from, link)| Some((1 - from, link.take(now)?.frame)))
    }

    /// When one arrives.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let due = self.0.iter().flatten().filter_map(Pipe::due).min()?;
        Some(Instant::from_micros(u64::try_from(due.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)))
    }

    /// Datagrams that did not fit the queues.
    pub(super) fn dropped(&self) -> u64 {
        self.0.iter().flatten().map(|pipe| pipe.stats().overflowed).sum()
    }
}
