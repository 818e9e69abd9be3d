//! What is sent: from an inner packet, or a slice of one, to the datagrams that carry it.

use heapless::Vec;

use crate::adaptive::{Adaptive, Mode};
use crate::connection::flow_pins::FlowPins;
use crate::connection::{Connection, Departures};
use crate::ecn::Ecn;
use crate::gate::Gate;
use crate::path_set::PathSet;
use crate::reassembly::Cut;
use crate::schedule::Scheduler;
use crate::seq::Seq;
use crate::time::Instant;
use crate::wire::HEADROOM;
use crate::wire::control::Features;
use crate::wire::gre::Protocol;
use crate::wire::ip::{self, Flow};
use crate::wire::{extension, fragment, slice};

/// Why a packet was not taken for sending; counted in [`Stats`](crate::Stats).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EncapsulateError {
    /// No path is up.
    NoPath,
    /// It does not fit the path, and the peer does not put fragments together.
    TooLarge,
    /// There are more than [`Config::limit`](crate::Config::limit) allows.
    Limited,
    /// Not a whole IPv4 or IPv6 packet, or less than [`HEADROOM`] bytes before it.
    NotIp,
}

impl core::fmt::Display for EncapsulateError {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(match self {
            Self::NoPath => "no path is up",
            Self::TooLarge => {
                "the packet fits none of the paths it may take, and the peer does not put fragments together"
            }
            Self::Limited => "there are more packets than the limit of the connection allows",
            Self::NotIp => "not a whole IPv4 or IPv6 packet behind the headroom",
        })
    }
}

impl core::error::Error for EncapsulateError {}

/// What decides how packets leave.
#[derive(Debug)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Sender<'s> {
    pub(super) scheduler: Scheduler,
    pub(super) flow_pins: FlowPins<'s>,
    /// When packets may leave.
    pub(super) gate: Gate,
    pub(super) next_sequence: Seq,
    pub(super) next_fragment: u16,
    /// As in [`Config`](crate::Config).
    pub(super) around: u16,
}

impl Connection<'_> {
    /// Sends an inner packet: `buffer[HEADROOM..]` is the packet, the bytes before it are overwritten. The
    /// datagrams that carry it are to be taken from the result. Where packets wait, in
    /// [`Mode::Adaptive`](crate::Mode::Adaptive), there are mostly none: the packet was copied, and leaves through
    /// [`poll_transmit`](Self::poll_transmit).
    ///
    /// # Errors
    /// The packet was not taken; it is counted.
    pub fn encapsulate<'b>(
        &mut self,
        buffer: &'b mut [u8],
        now: Instant,
    ) -> Result<Departures<'b>, EncapsulateError> {
        self.take_packet(buffer, None, now)
    }

    /// As [`encapsulate`](Self::encapsulate), for a packet that counts as one of `flow`, whatever its addresses are: to do again what was
    /// done with a packet of which they are not known.
    ///
    /// # Errors
    /// The packet was not taken; it is counted.
    pub fn encapsulate_flow<'b>(
        &mut self,
        buffer: &'b mut [u8],
        flow: &Flow,
        now: Instant,
    ) -> Result<Departures<'b>, EncapsulateError> {
        self.take_packet(buffer, Some(flow), now)
    }

    fn take_packet<'b>(
        &mut self,
        buffer: &'b mut [u8],
        flow: Option<&Flow>,
        now: Instant,
    ) -> Result<Departures<'b>, EncapsulateError> {
        self.tick(now);
        let packet = buffer.get(HEADROOM..).unwrap_or_default();
        let Some((protocol, _)) = ip::parse(packet).filter(|(_, len)| *len == packet.len()) else {
            return Err(EncapsulateError::NotIp);
        };
        self.dispatch(buffer, protocol, flow)
    }

    /// Most bytes that a slice of a large packet may have now, its [header](crate::wire::slice::Header) included. `None`:
    /// this end or the peer does not join slices, or no path is up.
    pub fn slice_room(&self) -> Option<usize> {
        let peer = self.identity.peer_with(Features::SLICES)?;
        let extension = if peer.extension.is_some() && self.mode().is_some() { extension::LEN } else { 0 };
        let header_len = self.layout.header_len();
        // What leaves by weight, or is pinned, may get any path.
        let names_paths =
            self.sender.scheduler.has_pins() || self.adaptive().is_some_and(Adaptive::names_paths);
        let is_free = self.mode() == Some(Mode::Adaptive) && !names_paths;
        let (smallest, common) = self.paths.sizes();
        usize::from(if is_free { common } else { smallest })
            .checked_sub(header_len + extension)
            .filter(|room| self.slices && self.layout.sequence && *room > slice::LEN)
    }

    /// The flow of a packet of which slices are to be sent, given its headers.
    pub fn flow(&self, headers: &[u8]) -> Flow {
        Flow::of(headers, self.sender.scheduler.seed())
    }

    /// As [`encapsulate`](Self::encapsulate), for a slice of a large packet of `flow`, of at most
    /// [`slice_room`](Self::slice_room) bytes. All slices of a packet are to be sent one behind the other.
    ///
    /// # Errors
    /// The slice was not taken; it is counted.
    pub fn encapsulate_slice<'b>(
        &mut self,
        buffer: &'b mut [u8],
        flow: &Flow,
        now: Instant,
    ) -> Result<Departures<'b>, EncapsulateError> {
        self.tick(now);
        if !buffer.get(HEADROOM..).is_some_and(slice::is_there) {
            return Err(EncapsulateError::NotIp);
        }
        if self.slice_room().is_none_or(|room| buffer.len() > HEADROOM + room) {
            self.stats.tx_too_large += 1;
            return Err(EncapsulateError::TooLarge);
        }
        self.dispatch(buffer, Protocol::Fragment, Some(flow))
    }

    /// Sends a packet, or a slice of one; its flow is read from it, unless it is given.
    fn dispatch<'b>(
        &mut self,
        buffer: &'b mut [u8],
        protocol: Protocol,
        flow: Option<&Flow>,
    ) -> Result<Departures<'b>, EncapsulateError> {
        self.paths.want(self.now);
        let packet = buffer.get(HEADROOM..).unwrap_or_default();
        let len = packet.len();
        let pinned = self.pinned_for_a_while(packet, flow);
        let engine = self.engine().filter(|_| pinned.is_none());
        if engine.is_some_and(|engine| engine.enqueue(self, packet, flow)) {
            let nowhere = (Ecn::NotEct, PathSet::default());
            let sequence = self.sender.next_sequence;
            return Ok(Departures::new(buffer, self.layout, protocol, sequence, None, Vec::new(), nowhere));
        }
        let up = self.paths.up();
        let paths = pinned.unwrap_or_else(|| self.sender.scheduler.choose(packet, flow, up, self.now));
        if paths.is_empty() {
            self.stats.tx_no_path += 1;
            return Err(EncapsulateError::NoPath);
        }
        let cut = match self.cut_for(paths, len) {
            // A slice that was made for other paths cannot be cut.
            Ok(Some(_)) if slice::is_there(packet) => Err(EncapsulateError::TooLarge),
            cut => cut,
        };
        let cut = cut.inspect_err(|_| self.stats.tx_too_large += 1)?;
        if !self.sender.gate.passes(len, self.now) {
            self.stats.tx_limited += 1;
            return Err(EncapsulateError::Limited);
        }
        let pieces = cut.map_or(1, Cut::pieces);
        let overhead = self.layout.header_len() + if cut.is_some() { fragment::LEN } else { 0 };
        let ecn = ip::ecn(packet);
        let (mut ids, mut marked) = (Vec::new(), PathSet::default());
        for index in paths {
            let bytes = len + pieces * overhead;
            let Some(id) = self.paths.count_sent(index, pieces as u64, bytes as u64) else { continue };
            self.paths.handle_used(index, self.now);
            marked.set(index, self.paths.outer_ecn(index, ecn) == ecn);
            // There are as many places as paths.
            let _ = ids.push(id);
        }
        self.stats.tx_packets += 1;
        self.stats.tx_bytes += len as u64;
        if cut.is_some() {
            self.stats.tx_fragments += pieces as u64;
            self.sender.next_fragment = self.sender.next_fragment.wrapping_add(1);
        }
        let sequence = self.sender.next_sequence;
        if self.layout.sequence {
            self.sender.next_sequence = sequence + u32::try_from(pieces).unwrap_or(0);
        }
        Ok(Departures::new(buffer, self.layout, protocol, sequence, cut, ids, (ecn, marked)))
    }

    /// How the packet must be cut to fit all of `paths`; `None`: it fits whole.
    pub(super) fn cut_for(&self, paths: PathSet, len: usize) -> Result<Option<Cut>, EncapsulateError> {
        let smallest =
            paths.into_iter().filter_map(|index| self.paths.at(index)).map(|path| path.max_datagram).min();
        let room = usize::from(smallest.unwrap_or(0)).saturating_sub(self.layout.header_len());
        if len <= room {
            return Ok(None);
        }
        let peer = self.identity.peer_with(Features::REASSEMBLY);
        if peer.is_none_or(|peer| len > usize::from(peer.mtu)) {
            return Err(EncapsulateError::TooLarge);
        }
        Cut::new(self.sender.next_fragment, len, room).map(Some).ok_or(EncapsulateError::TooLarge)
    }
}
