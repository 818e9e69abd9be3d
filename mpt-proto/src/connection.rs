//! The connection: glue between codec, schedule, reorder buffer and path liveness.
//! API STUB: signatures are final, bodies follow.
#![allow(unused, clippy::all)]
use crate::*;
use core::time::Duration;

/// Bytes that must be free before the inner packet handed to [`Connection::encapsulate`].
pub const HEADROOM: usize = 32;
/// Largest control datagram, in bytes: the buffer for [`Connection::poll_transmit`].
pub const CONTROL_MAX: usize = 64;

/// Memory lent to a connection for as long as it lives.
pub struct Storage<'s> { _s: core::marker::PhantomData<&'s mut [u8]> }
impl<'s> Storage<'s> {
    /// Nothing is held: packets are delivered as they come, fragments are dropped.
    pub fn none() -> Self { todo!() }
    /// Slots and bytes for the reorder buffer; a packet of up to `bytes.len() / slots.len()` bytes fits a
    /// slot; the window is one less than the number of slots.
    pub fn with_reorder(self, slots: &'s mut [ReorderSlot], bytes: &'s mut [u8]) -> Self { todo!() }
    /// Slots and bytes for reassembly, one slot per packet that is being put together.
    pub fn with_reassembly(self, slots: &'s mut [ReassemblySlot], bytes: &'s mut [u8]) -> Self { todo!() }
}
/// One place in the reorder buffer. `Default` is empty.
#[derive(Clone, Copy, Default)]
pub struct ReorderSlot {}
/// One packet being put together. `Default` is empty.
#[derive(Clone, Copy, Default)]
pub struct ReassemblySlot {}

/// The caller named a path that does not exist (any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownPath;

/// Why a packet was not taken for sending; counted in [`Stats`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncapsulateError {
    /// No path is up.
    NoPath,
    /// It fits no path, and the peer does not put fragments together.
    TooLarge,
    /// Not a whole IPv4 or IPv6 packet, or no headroom.
    NotIp,
}
/// Whether the link below a path works, as the caller sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link { 
    /// It works.
    Up,
    /// It does not: no carrier, no address, no route.
    Down }

/// What became of a datagram.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Received<'d> {
    /// An inner packet, next in order: deliver it now, then drain `poll_packet`.
    Packet(&'d [u8]),
    /// Taken in: a control message, an early packet, or a fragment. `poll_packet` may have something.
    Consumed,
    /// Dropped and counted.
    Dropped(Drop),
}
/// The datagrams that carry one inner packet, one at a time: one for most, several for a fragmented or
/// a duplicated packet.
pub struct Departures<'b> { _b: &'b mut [u8] }
/// One datagram to send.
#[derive(Debug, PartialEq, Eq)]
pub struct Departure<'b> {
    /// On this path.
    pub path: PathId,
    /// The UDP payload.
    pub datagram: &'b [u8],
    /// For the outer header (RFC 6040 section 4.1).
    pub ecn: Ecn,
}
impl<'b> Departures<'b> {
    /// The next datagram, to be sent or copied before the next call.
    pub fn next(&mut self) -> Option<Departure<'_>> { todo!() }
}

/// Two hosts, up to 16 paths.
pub struct Connection<'s> { _s: core::marker::PhantomData<&'s mut [u8]> }
impl<'s> Connection<'s> {
    /// A connection without paths. `peer_mtu`...
    pub fn new(config: Config, storage: Storage<'s>, now: Instant) -> Self { todo!() }
    /// Adds a path; `None` when all 16 are taken.
    pub fn add_path(&mut self, config: PathConfig, now: Instant) -> Option<PathId> { todo!() }
    /// Removes a path.
    pub fn remove_path(&mut self, path: PathId, now: Instant) -> Result<(), UnknownPath> { todo!() }
    /// Enables or disables a path (`mpt path up|down`).
    pub fn set_enabled(&mut self, path: PathId, enabled: bool, now: Instant) -> Result<(), UnknownPath> { todo!() }
    /// The caller saw the path's link go or come.
    pub fn handle_link(&mut self, path: PathId, link: Link, now: Instant) -> Result<(), UnknownPath> { todo!() }
    /// Sends an inner packet: `buffer[HEADROOM..]` is the packet, the bytes before it are ours.
    pub fn encapsulate<'b>(&mut self, buffer: &'b mut [u8], now: Instant) -> Result<Departures<'b>, EncapsulateError> { todo!() }
    /// Takes a datagram that arrived on `path` with `ecn` in its outer header.
    pub fn decapsulate<'d>(&mut self, path: PathId, datagram: &'d mut [u8], ecn: Ecn, now: Instant) -> Result<Received<'d>, UnknownPath> { todo!() }
    /// Call when the deadline of `poll_timeout` has come; early or late does no harm.
    pub fn handle_timeout(&mut self, now: Instant) { todo!() }
    /// The next inner packet that may be delivered.
    pub fn poll_packet(&mut self) -> Option<&[u8]> { todo!() }
    /// The next control datagram: written to `buffer`, to be sent on the path returned.
    pub fn poll_transmit<'b>(&mut self, buffer: &'b mut [u8; CONTROL_MAX]) -> Option<Departure<'b>> { todo!() }
    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> { todo!() }
    /// When `handle_timeout` wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> { todo!() }
    /// Counters.
    pub fn stats(&self) -> &Stats { todo!() }
    /// The connection's paths.
    pub fn paths(&self) -> impl Iterator<Item = PathId> + '_ { core::iter::empty() }
    /// A path's state.
    pub fn path_state(&self, path: PathId) -> Result<PathState, UnknownPath> { todo!() }
    /// A path's counters.
    pub fn path_stats(&self, path: PathId) -> Result<&PathStats, UnknownPath> { todo!() }
    /// A path's smoothed round-trip time, once known.
    pub fn path_rtt(&self, path: PathId) -> Result<Option<Duration>, UnknownPath> { todo!() }
    /// Bytes of GRE header before every inner packet: 4, 8, 12 or 16.
    pub fn header_len(&self) -> usize { todo!() }
    /// Whether the peer has been heard to be an mpt.
    pub fn peer_is_mpt(&self) -> bool { todo!() }
}
