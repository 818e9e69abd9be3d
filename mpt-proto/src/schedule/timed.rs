//! Flows that are pinned to a path for a while: those that measure the path by itself.

use heapless::Vec;

use crate::time::Instant;
use crate::wire::ip::Flow;

/// Most flows of a connection that are pinned for a while.
pub const MAX_TIMED_PINS: usize = 16;

/// Packets of TCP and UDP with these ports take this path, until the time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TimedPin {
    /// Source and destination.
    ports: (u16, u16),
    path: u8,
    until: Instant,
}

/// The flows of a connection that are pinned for a while.
///
/// Unlike [`Pins`](super::Pins), they come and go while packets pass, and their packets take no other path when theirs is down:
/// what is measured is that path or nothing.
#[derive(Debug, Default)]
pub(crate) struct TimedPins {
    table: Vec<TimedPin, MAX_TIMED_PINS>,
    /// When the last of them ends.
    until: Instant,
}

impl TimedPins {
    /// Whether there are some at this time. While there are none, they cost packets this comparison.
    pub(crate) fn is_live(&self, now: Instant) -> bool {
        now < self.until
    }

    /// Pins a flow; the same flow once more replaces what was said of it, so that a time that is over ends its pin. `None`: all
    /// places are taken.
    pub(crate) fn insert(&mut self, ports: (u16, u16), path: u8, until: Instant, now: Instant) -> Option<()> {
        self.table.retain(|pin| pin.ports != ports && now < pin.until);
        if now < until {
            self.table.push(TimedPin { ports, path, until }).ok()?;
        }
        self.until = self.table.iter().map(|pin| pin.until).max().unwrap_or(Instant::ZERO);
        Some(())
    }

    /// Ends the pins to a path.
    pub(crate) fn forget(&mut self, path: usize) {
        self.table.retain(|pin| usize::from(pin.path) != path);
    }

    /// The number of the path that the flow is pinned to.
    pub(crate) fn path_of(&self, flow: &Flow, now: Instant) -> Option<usize> {
        let ports = flow.tcp_ports().or_else(|| flow.udp_ports())?;
        let pin = self.table.iter().find(|pin| pin.ports == ports && now < pin.until)?;
        Some(usize::from(pin.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Instant {
        Instant::from_micros(second * 1_000_000)
    }

    fn flow(protocol: u8, ports: (u16, u16)) -> Flow {
        Flow { protocol, ports: Some(ports), hash: 0 }
    }

    #[test]
    fn a_pin_holds_for_its_flow_until_its_time_is_over() {
        let mut pins = TimedPins::default();
        assert!(!pins.is_live(at(0)));
        pins.insert((5000, 7), 2, at(10), at(0)).unwrap();
        for protocol in [6, 17] {
            assert_eq!(pins.path_of(&flow(protocol, (5000, 7)), at(9)), Some(2));
            assert_eq!(pins.path_of(&flow(protocol, (7, 5000)), at(9)), None, "the other direction");
            assert_eq!(pins.path_of(&flow(protocol, (5000, 7)), at(10)), None);
        }
        assert_eq!(pins.path_of(&Flow { protocol: 1, ports: None, hash: 0 }, at(9)), None);
        assert!(pins.is_live(at(9)) && !pins.is_live(at(10)));
    }

    #[test]
    fn the_same_flow_once_more_is_one_pin_and_places_whose_time_is_over_are_free() {
        let mut pins = TimedPins::default();
        for round in 0..100 {
            pins.insert((5000, 7), round, at(10), at(0)).unwrap();
        }
        assert_eq!(pins.path_of(&flow(6, (5000, 7)), at(1)), Some(99));
        pins.insert((5000, 7), 0, at(1), at(1)).unwrap();
        assert!(!pins.is_live(at(1)), "ended before its time");
        for port in 0..16 {
            pins.insert((port, 7), 0, at(10), at(0)).unwrap();
        }
        assert_eq!(pins.insert((100, 7), 0, at(20), at(0)), None);
        pins.insert((100, 7), 0, at(20), at(10)).unwrap();
        assert_eq!(pins.table.len(), 1);
    }

    #[test]
    fn pins_end_with_their_path() {
        let mut pins = TimedPins::default();
        pins.insert((1, 7), 0, at(10), at(0)).unwrap();
        pins.insert((2, 7), 1, at(10), at(0)).unwrap();
        pins.forget(1);
        assert_eq!(pins.path_of(&flow(6, (1, 7)), at(1)), Some(0));
        assert_eq!(pins.path_of(&flow(6, (2, 7)), at(1)), None);
    }
}
