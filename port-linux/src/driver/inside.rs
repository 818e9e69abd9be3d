//! The tunnel's inner side: where inner packets come from and go to.

use mpt_proto::{HEADROOM, Handle};

use mpt_proto::wire::slice;

use crate::offload::{Coalescer, HEADER_LEN, Header, Joiner, MAX_PACKET, Refused, clamp, exceeds};
use crate::routes::Routes;
use crate::tun::Tun;

/// Packets that the interface did not give or take.
#[derive(Debug, Clone, Copy, Default)]
pub struct InsideDrops {
    /// The kernel's header before a packet made no sense.
    pub tun_read: u64,
    /// The kernel refused a packet.
    pub tun_write: u64,
}

/// The tunnel device, what may leave through it, and packets that are joined on their way there.
#[derive(Debug)]
pub struct Inside {
    /// The device.
    pub tun: Tun,
    /// Which connection carries what.
    pub routes: Routes,
    /// Counted.
    pub drops: InsideDrops,
    /// Bytes of the largest packet that the tunnel carries whole: its MTU now. SYNs that a peer's packets bring offer no
    /// larger segments than fit.
    pub mtu: u16,
    coalescer: Coalescer,
    joiner: Joiner<Handle>,
    /// Room for a SYN that is changed; what a connection brings is only lent.
    syn: Vec<u8>,
}

/// Why a packet, or a slice of one, that a connection brought is not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The connection may not bring packets from this source.
    Source,
    /// A slice that makes no sense, or came already.
    Slice,
}

impl Inside {
    /// Around an open device whose interface has this MTU.
    pub fn new(tun: Tun, routes: Routes, mtu: u16) -> Self {
        Self {
            tun,
            routes,
            drops: InsideDrops::default(),
            mtu,
            coalescer: Coalescer::new(),
            joiner: Joiner::new(),
            syn: Vec::new(),
        }
    }

    /// Hands a packet, or a slice of one, that a connection brought to the kernel, perhaps later together with those that
    /// follow it: [`flush`](Self::flush) must come.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn deliver(&mut self, connection: Handle, packet: &[u8]) -> Result<(), Refusal> {
        let Self { tun, routes, drops, mtu, coalescer, joiner, syn } = self;
        if slice::is_there(packet) {
            // Packets of a flow stay in order.
            coalescer.flush(|header, packet| write(tun, drops, header, packet));
            let accepts = |headers: &[u8]| routes.accepts(connection, headers);
            let outcome =
                joiner.push(connection, packet, accepts, |front, data| write(tun, drops, front, data));
            return outcome.map_err(|refused| match refused {
                Refused::Headers => Refusal::Source,
                Refused::Bad | Refused::Duplicate => Refusal::Slice,
            });
        }
        if !routes.accepts(connection, packet) {
            return Err(Refusal::Source);
        }
        let packet = if exceeds(packet, *mtu) {
            syn.clear();
            syn.extend_from_slice(packet);
            clamp(syn, *mtu);
            syn
        } else {
            packet
        };
        joiner.flush_before(packet, |front, data| write(tun, drops, front, data));
        coalescer.push(packet, tun.joins(), |header, packet| write(tun, drops, header, packet));
        Ok(())
    }

    /// Hands over what was held back to be joined.
    pub fn flush(&mut self) {
        let Self { tun, coalescer, joiner, drops, .. } = self;
        joiner.flush(|front, data| write(tun, drops, front, data));
        coalescer.flush(|header, packet| write(tun, drops, header, packet));
    }

    /// The peer of a connection started anew: its slices no longer belong together.
    pub fn forget(&mut self, connection: Handle) {
        let Self { tun, joiner, drops, .. } = self;
        joiner.forget(connection, |front, data| write(tun, drops, front, data));
    }

    /// Slices that were given up, as the headers of their packet never came.
    pub fn orphans(&self) -> u64 {
        self.joiner.orphans()
    }
}

fn write(tun: &Tun, drops: &mut InsideDrops, header: &[u8], packet: &[u8]) {
    let outcome = if header.is_empty() { tun.write_joined(packet) } else { tun.write(header, packet) };
    if let Err(error) = outcome {
        drops.tun_write += 1;
        tracing::trace!("writing to the tunnel device: {error}");
    }
}

/// Room for one packet of the kernel, with [`HEADROOM`] before it; allocated once.
#[derive(Debug)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
}

/// Where the kernel's header begins, so that the packet behind it begins after the headroom.
const HEADER_AT: usize = HEADROOM - HEADER_LEN;

impl Outgoing {
    /// Room for the largest packet.
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; HEADROOM + MAX_PACKET] }
    }

    /// Reads a packet; `None` when there is none. What it is to be cut into is `None` if the kernel's header
    /// makes no sense.
    ///
    /// # Errors
    /// As [`Tun::read`].
    pub(super) fn read(&mut self, tun: &Tun) -> std::io::Result<Option<(Option<Header>, &mut [u8])>> {
        let Some(len) = tun.read(&mut self.bytes[HEADER_AT..])? else { return Ok(None) };
        let header = self.bytes[HEADER_AT..].first_chunk().and_then(Header::parse);
        let end = HEADER_AT + len.max(HEADER_LEN);
        Ok(Some((header, &mut self.bytes[..end])))
    }
}
