//! Ports pinned to paths: the original's `tcp_dst`, `tcp_src`, `udp_dst` and `udp_src` lists.

use heapless::Vec;

use crate::wire::ip::Flow;

/// Most pins of a connection.
pub const MAX_PINS: usize = 64;

/// Which port of a packet is compared. Where two pins fit a packet, the first of these wins, as in the
/// original: source before destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub enum PortMatch {
    /// TCP source port (`tcp_src`).
    TcpSource,
    /// TCP destination port (`tcp_dst`).
    TcpDestination,
    /// UDP source port (`udp_src`).
    UdpSource,
    /// UDP destination port (`udp_dst`).
    UdpDestination,
}

/// Packets with this port take this path while it is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct Pin {
    /// Which port is compared.
    pub port_match: PortMatch,
    /// With what.
    pub port: u16,
    /// The path's number, [`PathId::index`](crate::PathId::index).
    pub path: u8,
}

/// Why a pin was refused. The table is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PinError {
    /// All [`MAX_PINS`] places are taken.
    Full,
    /// The port is pinned already, to the path of this number.
    Conflict(u8),
}

impl core::fmt::Display for PinError {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Full => write!(out, "all {MAX_PINS} places for pins are taken"),
            Self::Conflict(path) => write!(out, "the port is pinned to path {path} already"),
        }
    }
}

impl core::error::Error for PinError {}

/// A connection's pins.
///
/// Invariant: sorted by what they match, and no two match the same.
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct Pins {
    table: Vec<Pin, MAX_PINS>,
}

impl Pins {
    /// No pins.
    pub const fn new() -> Self {
        Self { table: Vec::new() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// All of them, sorted by what they match.
    pub fn iter(&self) -> impl Iterator<Item = &Pin> {
        self.table.iter()
    }

    /// Adds a pin; the same one twice is one.
    ///
    /// # Errors
    /// The table is full, or the port is pinned to another path.
    pub fn insert(&mut self, pin: Pin) -> Result<(), PinError> {
        match self.find(pin.port_match, pin.port) {
            Ok(at) => match self.table.get(at) {
                Some(there) if there.path != pin.path => Err(PinError::Conflict(there.path)),
                _ => Ok(()),
            },
            Err(at) => {
                self.table.push(pin).map_err(|_| PinError::Full)?;
                // `Vec::insert` would panic for a place behind the end.
                if let Some(tail @ [_, ..]) = self.table.get_mut(at..) {
                    tail.rotate_right(1);
                }
                Ok(())
            }
        }
    }

    /// The number of the path that the flow is pinned to.
    pub fn path_of(&self, flow: &Flow) -> Option<usize> {
        if let Some((source, destination)) = flow.tcp_ports() {
            self.either(PortMatch::TcpSource, source, PortMatch::TcpDestination, destination)
        } else if let Some((source, destination)) = flow.udp_ports() {
            self.either(PortMatch::UdpSource, source, PortMatch::UdpDestination, destination)
        } else {
            None
        }
    }

    fn either(&self, first: PortMatch, source: u16, second: PortMatch, destination: u16) -> Option<usize> {
        let at = self.find(first, source).or_else(|_| self.find(second, destination)).ok()?;
        self.table.get(at).map(|pin| usize::from(pin.path))
    }

    fn find(&self, port_match: PortMatch, port: u16) -> Result<usize, usize> {
        self.table.binary_search_by_key(&(port_match, port), |pin| (pin.port_match, pin.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_pin_changes_nothing() {
        let mut pins = Pins::new();
        let pin = |port, path| Pin { port_match: PortMatch::TcpSource, port, path };
        for port in 0..64 {
            pins.insert(pin(1000 - port, 0)).unwrap();
        }
        let before = pins.table.clone();
        assert_eq!(pins.insert(pin(1, 0)), Err(PinError::Full));
        assert_eq!(pins.insert(pin(1000, 3)), Err(PinError::Conflict(0)));
        assert_eq!(pins.insert(pin(1000, 0)), Ok(()));
        assert_eq!(pins.table, before);
    }
}
