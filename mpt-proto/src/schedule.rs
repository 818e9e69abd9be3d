//! Which path a packet takes.
use heapless::Vec;
/// How a path is chosen for each packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy { 
    /// Per packet, by weight.
    Weighted,
    /// Per flow, by hash.
    Flow,
    /// Lowest rank that is up.
    Backup,
    /// A copy on every path.
    Redundant }
/// Which port of a packet is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortMatch { 
    /// TCP source
    TcpSource,
    /// TCP destination
    TcpDestination,
    /// UDP source
    UdpSource,
    /// UDP destination
    UdpDestination }
/// One port, one path number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin { 
    /// Which port.
    pub port_match: PortMatch,
    /// Its number.
    pub port: u16,
    /// The path's number ([`PathId::index`](crate::PathId::index)).
    pub path: u8 }
/// Pins refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinError { 
    /// All 64 places are taken.
    Full,
    /// The port is pinned to another path already.
    Conflict }
/// A table of pins.
#[derive(Debug, Clone, Default)]
pub struct Pins { table: Vec<Pin, 64> }
impl Pins {
    /// Empty
    pub const fn new() -> Self { Self { table: Vec::new() } }
    /// Adds
    pub fn insert(&mut self, pin: Pin) -> Result<(), PinError> { self.table.push(pin).map_err(|_| PinError::Full) }
}
