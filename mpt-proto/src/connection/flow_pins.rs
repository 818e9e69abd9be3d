//! Flows that are pinned to a path for a while: those that measure the path by itself.

use crate::connection::Connection;
use crate::path::PathId;
use crate::path_set::PathSet;
use crate::time::Instant;
use crate::wire::ip::Flow;

/// Why a flow was not pinned for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PinFlowError {
    /// The path does not exist, or not any more.
    UnknownPath,
    /// All places lent by [`Storage::with_flow_pins`](crate::Storage::with_flow_pins) are taken.
    Full,
}

impl core::fmt::Display for PinFlowError {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(match self {
            Self::UnknownPath => "there is no such path",
            Self::Full => "all places for flows that are pinned for a while are taken",
        })
    }
}

impl core::error::Error for PinFlowError {}

/// A place for a flow that is pinned for a while. `Default`: a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct FlowPin {
    /// Source and destination.
    ports: (u16, u16),
    path: u8,
    until: Instant,
}

/// The flows of a connection that are pinned for a while.
///
/// Unlike [`Pins`](crate::Pins), they come and go while packets pass, and their packets take no other path when theirs is down:
/// what is measured is that path or nothing. Packets that come the other way are delivered as they arrive, because a path by itself
/// keeps order, and a receiver that waits for what the path has lost would be measured instead.
#[derive(Debug, Default)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct FlowPins<'s> {
    #[cfg_attr(feature = "state", serde(skip))]
    places: &'s mut [FlowPin],
    /// When the last of them ends.
    until: Instant,
}

impl<'s> FlowPins<'s> {
    /// None, in lent memory.
    pub(super) fn new(places: &'s mut [FlowPin]) -> Self {
        places.fill(FlowPin::default());
        Self { places, until: Instant::ZERO }
    }

    /// The places.
    #[cfg(feature = "state")]
    pub(super) const fn places(&self) -> &[FlowPin] {
        self.places
    }

    /// The same with these places.
    #[cfg(feature = "state")]
    pub(super) fn with(self, places: &'s mut [FlowPin]) -> Self {
        Self { places, ..self }
    }

    /// The memory.
    pub(super) fn into_memory(self) -> &'s mut [FlowPin] {
        self.places
    }

    /// Whether there are some at this time. While there are none, they cost packets this comparison.
    const fn is_live(&self, now: Instant) -> bool {
        now.as_micros() < self.until.as_micros()
    }

    /// Pins a flow; the same flow once more replaces what was said of it, so that a time that is over ends its pin. `None`: all
    /// places are taken.
    fn insert(&mut self, pin: FlowPin, now: Instant) -> Option<()> {
        let same = self.places.iter().position(|place| place.ports == pin.ports);
        let place = same.or_else(|| self.places.iter().position(|place| place.until <= now))?;
        *self.places.get_mut(place)? = pin;
        self.until = self.places.iter().map(|pin| pin.until).max().unwrap_or(Instant::ZERO);
        Some(())
    }

    /// Ends the pins to a path.
    pub(super) fn forget(&mut self, path: usize) {
        for place in self.places.iter_mut().filter(|place| usize::from(place.path) == path) {
            *place = FlowPin::default();
        }
    }

    /// The number of the path that the flow is pinned to.
    fn path_of(&self, flow: &Flow, now: Instant) -> Option<usize> {
        self.find(ports(flow)?, now).map(|pin| usize::from(pin.path))
    }

    /// Whether a flow that arrives belongs to one that is pinned: it has the same ports the other way round.
    fn is_answer(&self, flow: &Flow, now: Instant) -> bool {
        let turned = ports(flow).map(|(source, destination)| (destination, source));
        turned.is_some_and(|ports| self.find(ports, now).is_some())
    }

    fn find(&self, ports: (u16, u16), now: Instant) -> Option<&FlowPin> {
        self.places.iter().find(|pin| pin.ports == ports && now < pin.until)
    }
}

fn ports(flow: &Flow) -> Option<(u16, u16)> {
    flow.tcp_ports().or_else(|| flow.udp_ports())
}

impl Connection<'_> {
    /// Pins packets of TCP and UDP with these ports, source and destination, to a path until `until`, to measure the path by itself:
    /// whatever the policy and [`Config::pins`](crate::Config::pins) say. While the path is down, they are not sent. What
    /// comes with these ports the other way round is delivered as it arrives. The same ports once more replace what was said of
    /// them; a time that is over ends it.
    ///
    /// # Errors
    /// There is no such path, or no place for another flow.
    pub fn pin_flow(
        &mut self,
        ports: (u16, u16),
        path: PathId,
        until: Instant,
        now: Instant,
    ) -> Result<(), PinFlowError> {
        self.tick(now);
        let path = self.paths.find(path).map_err(|_| PinFlowError::UnknownPath)?.id.index;
        self.sender.flow_pins.insert(FlowPin { ports, path, until }, self.now).ok_or(PinFlowError::Full)
    }

    /// Whether large packets of this flow are to be sent in slices, if [`slice_room`](Self::slice_room) allows any: those that are
    /// [pinned for a while](Self::pin_flow) are not, so that the receiver knows each packet's flow.
    pub fn may_slice(&self, flow: &Flow) -> bool {
        !self.sender.flow_pins.is_live(self.now) || self.sender.flow_pins.path_of(flow, self.now).is_none()
    }

    /// The path that `packet` (or a slice of this flow) is pinned to for a while: none of them if that is down. `None`: it is not.
    pub(super) fn pinned_for_a_while(&self, packet: &[u8], flow: Option<&Flow>) -> Option<PathSet> {
        if !self.sender.flow_pins.is_live(self.now) {
            return None;
        }
        let flow = flow.copied().unwrap_or_else(|| self.flow(packet));
        let path = self.sender.flow_pins.path_of(&flow, self.now)?;
        Some(if self.paths.up().contains(path) { PathSet::of(path) } else { PathSet::default() })
    }

    /// Whether a packet that arrives is delivered at once, as it belongs to a flow that is pinned for a while.
    pub(super) fn is_measured(&self, packet: &[u8]) -> bool {
        self.sender.flow_pins.is_live(self.now)
            && self.sender.flow_pins.is_answer(&self.flow(packet), self.now)
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

    fn pin(port: u16, path: u8, until: u64) -> FlowPin {
        FlowPin { ports: (port, 7), path, until: at(until) }
    }

    #[test]
    fn a_pin_holds_for_its_flow_until_its_time_is_over() {
        let mut places = [FlowPin::default(); 2];
        let mut pins = FlowPins::new(&mut places);
        assert!(!pins.is_live(at(0)));
        pins.insert(pin(5000, 2, 10), at(0)).unwrap();
        for protocol in [6, 17] {
            let (sent, arrived) = (flow(protocol, (5000, 7)), flow(protocol, (7, 5000)));
            assert_eq!(pins.path_of(&sent, at(9)), Some(2));
            assert_eq!(pins.path_of(&arrived, at(9)), None, "the other direction");
            assert!(pins.is_answer(&arrived, at(9)) && !pins.is_answer(&sent, at(9)));
            assert!(pins.path_of(&sent, at(10)).is_none() && !pins.is_answer(&arrived, at(10)));
        }
        assert_eq!(pins.path_of(&Flow { protocol: 1, ports: None, hash: 0 }, at(9)), None);
        assert_eq!(pins.path_of(&flow(6, (0, 0)), at(9)), None, "the free place");
        assert!(pins.is_live(at(9)) && !pins.is_live(at(10)));
    }

    #[test]
    fn the_same_flow_once_more_is_one_pin_and_places_whose_time_is_over_are_free() {
        let mut places = [FlowPin::default(); 16];
        let mut pins = FlowPins::new(&mut places);
        for round in 0..100 {
            pins.insert(pin(5000, round, 10), at(0)).unwrap();
        }
        assert_eq!(pins.path_of(&flow(6, (5000, 7)), at(1)), Some(99));
        pins.insert(pin(5000, 0, 1), at(1)).unwrap();
        assert!(!pins.is_live(at(1)), "ended before its time");
        for port in 1..=16 {
            pins.insert(pin(port, 0, 10), at(1)).unwrap();
        }
        assert_eq!(pins.insert(pin(100, 0, 20), at(1)), None);
        pins.insert(pin(100, 0, 20), at(10)).unwrap();
        assert_eq!(FlowPins::default().insert(pin(1, 0, 10), at(0)), None, "without memory");
    }

    #[test]
    fn pins_end_with_their_path_and_with_their_connection() {
        let mut places = [FlowPin::default(); 2];
        let mut pins = FlowPins::new(&mut places);
        pins.insert(pin(1, 0, 10), at(0)).unwrap();
        pins.insert(pin(2, 1, 10), at(0)).unwrap();
        pins.forget(1);
        assert_eq!(pins.path_of(&flow(6, (1, 7)), at(1)), Some(0));
        assert_eq!(pins.path_of(&flow(6, (2, 7)), at(1)), None);
        let pins = FlowPins::new(pins.into_memory());
        assert_eq!(pins.path_of(&flow(6, (1, 7)), at(1)), None);
    }
}
