//! What can enter the core: one variant for each method that changes a connection.

use mpt_proto::wire::ip::Flow;
use mpt_proto::{Connection, Ecn, HEADROOM, Instant};

use super::Change;

/// A call of the core. Paths are named by their number, which [`PathId::index`](mpt_proto::PathId::index) is.
#[derive(Debug)]
pub enum Input<'a> {
    /// What happens seldom.
    Change(Change),
    /// [`handle_timeout`](Connection::handle_timeout).
    Timeout,
    /// A call for a path that is not there any more: time passes.
    Tick,
    /// [`decapsulate_arrived`](Connection::decapsulate_arrived).
    Datagram {
        /// On which path.
        path: u8,
        /// The clear datagram.
        datagram: &'a [u8],
        /// Of its outer header.
        ecn: Ecn,
        /// When it arrived, which is before it is taken in.
        arrived: Instant,
    },
    /// [`encapsulate`](Connection::encapsulate).
    Packet {
        /// The inner packet.
        packet: &'a [u8],
        /// As the core reads it.
        flow: Flow,
    },
    /// [`encapsulate_slice`](Connection::encapsulate_slice).
    Slice {
        /// The slice.
        slice: &'a [u8],
        /// Of its packet.
        flow: Flow,
    },
    /// [`poll_packet`](Connection::poll_packet).
    PollPacket,
    /// [`poll_transmit`](Connection::poll_transmit).
    PollTransmit,
    /// [`poll_event`](Connection::poll_event).
    PollEvent,
}

impl<'a> Input<'a> {
    /// The packet behind the headroom of `buffer`.
    pub(super) fn packet(buffer: &'a [u8], connection: &Connection<'_>) -> Self {
        let packet = buffer.get(HEADROOM..).unwrap_or_default();
        Self::Packet { packet, flow: connection.flow(packet) }
    }

    /// The slice behind the headroom of `buffer`.
    pub(super) fn slice(buffer: &'a [u8], flow: &Flow) -> Self {
        Self::Slice { slice: buffer.get(HEADROOM..).unwrap_or_default(), flow: *flow }
    }
}
