//! What a peer with a `limit` has brought: it is handed on at that rate, and waits until then. A queue, unlike a bucket that drops what is
//! too much, lets a TCP reach the rate however short its round trip is; `CoDel` (RFC 8289) keeps it short.

use std::collections::VecDeque;

use mpt_proto::{Bounds, Codel, Instant, Limit};

/// The queue that is good, and for how long it may be longer, in microseconds: those of RFC 8289 section 4.4 with a target of twice as
/// much, as the rate lets packets out in runs of a millisecond and is up to 10 ms ahead.
const BOUNDS: Bounds = Bounds { target: 10_000, interval: 100_000 };

/// Most that waits is what leaves within this part of a second; but [`LEAST_BYTES`] at least, twenty packets, and [`MOST_BYTES`] at most.
const PART: u64 = 10;
/// See [`PART`].
const LEAST_BYTES: u64 = 32 << 10;
/// See [`PART`]. A tenth of a second at 320 Mbit/s.
const MOST_BYTES: u64 = 4 << 20;

/// What a packet that waits takes beside its bytes: its place in the queue, and what the allocator keeps.
const OVERHEAD: u64 = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Incoming {
    limit: Limit,
    waiting: VecDeque<(Instant, Box<[u8]>)>,
    /// Bytes that wait, and may wait.
    bytes: u64,
    room: u64,
    codel: Codel,
    /// Packets, or slices of packets, that were dropped.
    pub(super) dropped: u64,
}

impl Incoming {
    /// For so many bytes a second; zero: no limit.
    pub(super) fn new(rate: u64) -> Self {
        Self {
            limit: Limit::new(rate),
            waiting: VecDeque::new(),
            bytes: 0,
            room: room(rate),
            codel: Codel::default(),
            dropped: 0,
        }
    }

    /// At another rate from now on.
    pub(super) fn set_rate(&mut self, rate: u64) {
        self.limit.set(rate);
        self.room = room(rate);
    }

    /// Whether a packet is to be handed on at once. If not, it waits or was dropped.
    pub(super) fn passes(&mut self, packet: &[u8], now: Instant) -> bool {
        if self.waiting.is_empty() && self.limit.is_open(now) {
            self.limit.charge(packet.len(), now);
            return true;
        }
        let len = cost(packet);
        if self.bytes + len > self.room {
            self.dropped += 1;
        } else {
            self.bytes += len;
            self.waiting.push_back((now, packet.into()));
        }
        false
    }

    /// The next packet that may be handed on now.
    pub(super) fn next(&mut self, now: Instant) -> Option<Box<[u8]>> {
        while self.limit.is_open(now)
            && let Some((since, packet)) = self.waiting.pop_front()
        {
            self.bytes -= cost(&packet);
            let sojourn = u32::try_from(now.since(since).as_micros()).unwrap_or(u32::MAX);
            // Stamps are compared modulo 2^32.
            #[allow(clippy::cast_possible_truncation, reason = "as they wrap")]
            let stamp = now.as_micros() as u32;
            if !self.codel.is_due(sojourn, self.waiting.is_empty(), BOUNDS, stamp) {
                self.limit.charge(packet.len(), now);
                return Some(packet);
            }
            self.dropped += 1;
        }
        None
    }

    /// When [`next`](Self::next) may have something.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then(|| self.limit.opens_at(Instant::ZERO))
    }
}

/// Bytes that a packet takes while it waits: a peer that sends the smallest ones gets no more memory than others.
fn cost(packet: &[u8]) -> u64 {
    packet.len() as u64 + OVERHEAD
}

/// How many bytes may wait at a rate.
fn room(rate: u64) -> u64 {
    (rate / PART).clamp(LEAST_BYTES, MOST_BYTES)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// 20 Mbit/s.
    const RATE: u64 = 2_500_000;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(1_000_000 + millis * 1000)
    }

    /// Bytes that are handed on of packets that come at `offered` bytes a millisecond, for a second, and the longest wait.
    fn flood(incoming: &mut Incoming, offered: u64) -> (u64, Duration) {
        let (mut passed, mut longest) = (0, Duration::ZERO);
        for millis in 0..1000 {
            let now = at(millis);
            for _ in 0..offered / 1000 {
                let mut packet = [0; 1000];
                packet[..8].copy_from_slice(&millis.to_be_bytes());
                passed += if incoming.passes(&packet, now) { 1000 } else { 0 };
            }
            while let Some(packet) = incoming.next(now) {
                let since = at(u64::from_be_bytes(packet[..8].try_into().unwrap()));
                longest = longest.max(now.since(since));
                passed += packet.len() as u64;
            }
            assert!(incoming.poll_timeout().is_none_or(|due| due > now), "nobody looks in vain");
        }
        (passed, longest)
    }

    #[test]
    fn a_flood_gets_the_rate_and_waits_for_a_tenth_of_a_second_at_most() {
        let mut incoming = Incoming::new(RATE);
        let (passed, longest) = flood(&mut incoming, 20_000);
        let ahead = RATE / 100 + 2000;
        assert!((RATE..=RATE + ahead).contains(&passed), "{passed}");
        assert!(longest <= Duration::from_millis(100), "{longest:?}");
        assert!(incoming.dropped > 15_000, "{}", incoming.dropped);
        // What waits is let go when the limit is.
        incoming.set_rate(0);
        let left = std::iter::from_fn(|| incoming.next(at(1000))).count();
        assert!(left > 0 && incoming.bytes == 0 && incoming.poll_timeout().is_none(), "{left}");
    }

    #[test]
    fn what_is_less_than_the_rate_neither_waits_nor_is_dropped_and_without_one_everything_passes() {
        for (rate, offered) in [(RATE, 2_000), (0, 100_000)] {
            let mut incoming = Incoming::new(rate);
            let (passed, longest) = flood(&mut incoming, offered);
            assert_eq!((passed, longest, incoming.dropped), (offered * 1000, Duration::ZERO, 0));
        }
    }

    #[test]
    fn a_flood_of_the_smallest_packets_takes_no_more_memory_than_one_of_large_ones() {
        let mut incoming = Incoming::new(RATE);
        let passed = (0..100_000).filter(|_| incoming.passes(&[0x45; 20], at(0))).count();
        assert!(passed < 5_000, "{passed}");
        assert!(incoming.waiting.len() as u64 * (20 + OVERHEAD) <= room(RATE));
        assert!(incoming.dropped > 90_000);
    }
}
