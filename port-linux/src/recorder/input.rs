//! What can enter the core: one variant for each method that changes a connection.

use mpt_proto::wire::ip::Flow;
use mpt_proto::{Connection, Ecn, HEADROOM, Instant, PathConfig};

/// A call of the core. Paths are named by their number, which [`PathId::index`](mpt_proto::PathId::index) is.
#[derive(Debug)]
pub enum Input<'a> {
    /// [`add_path`](Connection::add_path).
    AddPath {
        /// Its name in the configuration.
        name: &'a str,
        /// What it was added with.
        config: PathConfig,
    },
    /// [`remove_path`](Connection::remove_path).
    RemovePath(u8),
    /// [`set_enabled`](Connection::set_enabled).
    Enabled {
        /// Which path.
        path: u8,
        /// Whether it is used from now on.
        enabled: bool,
    },
    /// [`handle_link`](Connection::handle_link).
    Link {
        /// Of which path.
        path: u8,
        /// Whether it works.
        is_up: bool,
    },
    /// [`set_max_datagram`](Connection::set_max_datagram).
    MaxDatagram {
        /// Of which path.
        path: u8,
        /// Bytes.
        size: u16,
    },
    /// [`take_carried`](Connection::take_carried).
    TakeCarried(u8),
    /// [`probe`](Connection::probe).
    Probe(u8),
    /// [`challenge`](Connection::challenge).
    Challenge {
        /// On which path.
        path: u8,
        /// What it carries.
        stamp: u32,
    },
    /// [`set_limit`](Connection::set_limit), in bytes a second.
    Limit(u64),
    /// [`set_turn`](Connection::set_turn).
    Turn(bool),
    /// [`set_share`](Connection::set_share), in bytes a second.
    Share(Option<u32>),
    /// [`ask`](Connection::ask), in bytes a second.
    Ask(Option<u32>),
    /// [`set_tier`](Connection::set_tier).
    Tier {
        /// Of which path.
        path: u8,
        /// Its tier.
        tier: u8,
    },
    /// [`pin_flow`](Connection::pin_flow).
    PinFlow {
        /// Source and destination.
        ports: (u16, u16),
        /// To which path.
        path: u8,
        /// Until when.
        until: Instant,
    },
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
