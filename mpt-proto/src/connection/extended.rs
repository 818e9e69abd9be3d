//! The extension at work: packets that wait to be pulled by a path, reports, and datagrams with extension headers.

use core::time::Duration;

use crate::adaptive::{Adaptive, Leaving, Mode, News, PathModel};
use crate::connection::departures::{emit, locate};
use crate::connection::{CONTROL_MAX, Connection, Departure, Received, UnknownPath};
use crate::ecn::Ecn;
use crate::event::Event;
use crate::path::PathId;
use crate::path_set::PathSet;
use crate::reassembly::Cut;
use crate::schedule::Policy;
use crate::seq::Seq;
use crate::stats::DropReason;
use crate::time::{Instant, Micros};
use crate::wire::HEADROOM;
use crate::wire::extension::{self, Header, Kind};
use crate::wire::gre::{self, Protocol};
use crate::wire::ip::{self, Flow};
use crate::wire::report::Report;
use crate::wire::slice;

/// Bytes of the datagram of a large marker: as much as a report that tells all there is to tell, so that no path has to carry a size for it
/// alone.
const LARGE_MARKER: usize = 216;
const _: () = assert!(LARGE_MARKER <= CONTROL_MAX);

/// A sender may want packets held for so long at most: a longer time is of a clock that jumped, or made up.
const LONGEST_HOLD: i32 = 500_000;

/// The extension, if memory was lent for it.
#[derive(Debug)]
pub(super) struct Extension<'s> {
    pub(super) adaptive: Adaptive<'s>,
    engine: &'static dyn Engine,
}

impl<'s> Extension<'s> {
    pub(super) const fn new(adaptive: Adaptive<'s>) -> Self {
        Self { adaptive, engine: &ByMeasure }
    }

    /// Another one in the same memory.
    #[cfg(feature = "state")]
    pub(super) fn with<E>(
        self,
        restore: impl FnOnce(Adaptive<'s>) -> Result<Adaptive<'s>, E>,
    ) -> Result<Self, E> {
        Ok(Self { adaptive: restore(self.adaptive)?, ..self })
    }

    /// As it was lent.
    pub(super) fn renewed(self) -> Self {
        Self { adaptive: self.engine.renew(self.adaptive), ..self }
    }
}

/// What the rest of the connection asks of the extension. It is called through a trait object that [`with_adaptive`] alone makes, so that
/// a program that never calls that does not link what lies behind.
///
/// What is called for every packet is inlined, so that the table leads there without another jump.
///
/// [`with_adaptive`]: crate::Storage::with_adaptive
pub(super) trait Engine: core::fmt::Debug + Sync {
    /// Memory as it was lent, for another connection.
    fn renew<'a>(&self, adaptive: Adaptive<'a>) -> Adaptive<'a>;
    /// The path of this number is a new one, of this tier.
    fn set_path(&self, connection: &mut Connection<'_>, path: usize, tier: u8);
    /// A path may have gone down or come up, or carry other datagrams.
    fn settle_path(&self, connection: &mut Connection<'_>, path: usize, is_up: bool);
    /// The size of the path's datagrams is known.
    fn settle_size(&self, connection: &mut Connection<'_>, path: usize);
    /// The peer is another one than before.
    fn restart(&self, connection: &mut Connection<'_>);
    /// Takes a packet, or a slice of one of this flow, which leaves with an extension header; `false`: it is to be sent by
    /// another policy.
    fn enqueue(&self, connection: &mut Connection<'_>, packet: &[u8], flow: Option<&Flow>) -> bool;
    /// Takes what follows a GRE header with an extension header, on a path and of this time.
    fn receive<'d>(
        &self,
        connection: &mut Connection<'_>,
        from: (usize, Instant),
        sequence: Option<Seq>,
        payload: &'d mut [u8],
        ecn: Ecn,
    ) -> Received<'d>;
    /// The next datagram with an extension header, written to the buffer or where the packet was kept.
    fn poll<'b>(
        &self,
        connection: &'b mut Connection<'_>,
        buffer: &'b mut [u8; CONTROL_MAX],
    ) -> Option<Departure<'b>>;
    fn handle_timeout(&self, connection: &mut Connection<'_>);
    fn deadline(&self, connection: &Connection<'_>) -> Instant;
    /// What is to be told.
    fn poll_event(&self, connection: &mut Connection<'_>) -> Option<Event>;
    /// What is known of a path.
    fn path_model(&self, connection: &Connection<'_>, path: usize) -> PathModel;
}

/// The only engine: [`Adaptive`].
#[derive(Debug)]
struct ByMeasure;

impl Engine for ByMeasure {
    fn renew<'a>(&self, adaptive: Adaptive<'a>) -> Adaptive<'a> {
        adaptive.renewed()
    }

    fn set_path(&self, connection: &mut Connection<'_>, path: usize, tier: u8) {
        if let Some(extension) = &mut connection.extension {
            extension.adaptive.set_path(path, tier, connection.now);
        }
    }

    fn settle_path(&self, connection: &mut Connection<'_>, path: usize, is_up: bool) {
        connection.settle_adaptive(path, is_up);
    }

    fn settle_size(&self, connection: &mut Connection<'_>, path: usize) {
        if let Some(extension) = &mut connection.extension {
            extension.adaptive.settle_size(path, connection.now);
        }
    }

    fn restart(&self, connection: &mut Connection<'_>) {
        connection.extension.iter_mut().for_each(|extension| extension.adaptive.restart());
    }

    fn enqueue(&self, connection: &mut Connection<'_>, packet: &[u8], flow: Option<&Flow>) -> bool {
        connection.enqueue(packet, flow).is_some()
    }

    fn receive<'d>(
        &self,
        connection: &mut Connection<'_>,
        from: (usize, Instant),
        sequence: Option<Seq>,
        payload: &'d mut [u8],
        ecn: Ecn,
    ) -> Received<'d> {
        connection.receive_extended(from, sequence, payload, ecn)
    }

    fn poll<'b>(
        &self,
        connection: &'b mut Connection<'_>,
        buffer: &'b mut [u8; CONTROL_MAX],
    ) -> Option<Departure<'b>> {
        connection.poll_extended(buffer)
    }

    fn handle_timeout(&self, connection: &mut Connection<'_>) {
        connection.handle_adaptive_timeout();
    }

    fn deadline(&self, connection: &Connection<'_>) -> Instant {
        connection.adaptive_deadline().unwrap_or(Instant::NEVER)
    }

    /// The path whose large packets seem not to arrive any more.
    fn poll_event(&self, connection: &mut Connection<'_>) -> Option<Event> {
        let index = connection.extension.as_mut()?.adaptive.state.doubted.pop()?;
        Some(Event::LargeLost { path: connection.paths.at(index)?.id })
    }

    fn path_model(&self, connection: &Connection<'_>, path: usize) -> PathModel {
        connection.adaptive().map(|adaptive| adaptive.path_model(path, connection.now)).unwrap_or_default()
    }
}

impl<'s> Connection<'s> {
    pub(super) fn engine(&self) -> Option<&'static dyn Engine> {
        self.extension.as_ref().map(|extension| extension.engine)
    }

    pub(super) fn adaptive(&self) -> Option<&Adaptive<'s>> {
        self.extension.as_ref().map(|extension| &extension.adaptive)
    }

    /// How packets are sent under [`Policy::Adaptive`]; `None` under another policy.
    pub fn mode(&self) -> Option<Mode> {
        (self.sender.scheduler.policy() == Policy::Adaptive).then(|| self.adaptive_mode())
    }

    /// What the adaptive policy knows of a path. All zero, and not measured, while it knows nothing.
    ///
    /// # Errors
    /// There is no such path.
    pub fn path_model(&self, path: PathId) -> Result<PathModel, UnknownPath> {
        let index = self.paths.find(path)?.id.index();
        Ok(self.engine().map(|engine| engine.path_model(self, index)).unwrap_or_default())
    }

    fn adaptive_mode(&self) -> Mode {
        let Some(adaptive) = self.adaptive().filter(|adaptive| adaptive.can_send()) else {
            return Mode::NoMemory;
        };
        if !self.layout.sequence {
            Mode::NoMemory
        } else if !self.identity.peer_extends() {
            Mode::PeerCannot
        } else if adaptive.is_deaf(self.now) {
            Mode::NoReports
        } else {
            Mode::Adaptive
        }
    }

    /// Takes a packet, or a slice of one of this flow, into the ingress queue; or, where a path is named for it, to leave there with the
    /// next poll. `None`: it is to be sent by another policy, or the limit drops it.
    #[inline]
    fn enqueue(&mut self, packet: &[u8], flow: Option<&Flow>) -> Option<()> {
        if self.sender.scheduler.policy() != Policy::Adaptive || self.paths.up().is_empty() {
            return None;
        }
        let mode = self.adaptive_mode();
        let (now, up) = (self.now, self.paths.up());
        let adaptive = &mut self.extension.as_mut()?.adaptive;
        if mode == Mode::NoReports {
            adaptive.note_active(now);
        }
        if mode != Mode::Adaptive || !adaptive.fits(packet.len()) {
            return None;
        }
        let pinned = self.sender.scheduler.pin(packet, flow, up);
        let flow = flow.copied().unwrap_or_else(|| Flow::of(packet, self.sender.scheduler.seed()));
        let named = pinned.or_else(|| adaptive.named_path(packet, &flow, now));
        match named.filter(|path| up.contains(*path)) {
            Some(path) if self.sender.gate.passes(packet.len(), now) => {
                adaptive.push_named(path, packet, now);
            }
            Some(_) => return None,
            None if adaptive.is_taken(packet.len(), up) => adaptive.push(packet, &flow, now),
            None => return None,
        }
        self.stats.tx_packets += 1;
        self.stats.tx_bytes += packet.len() as u64;
        Some(())
    }

    fn handle_adaptive_timeout(&mut self) {
        let by_measure = self.mode() == Some(Mode::Adaptive);
        let (now, up, instance) = (self.now, self.paths.up(), self.identity.instance());
        let Some(Extension { adaptive, .. }) = &mut self.extension else { return };
        if !self.identity.peer_extends() {
            return;
        }
        adaptive.handle_timeout(up, &self.sender.gate, now);
        let ways = adaptive.report_ways(up, &self.sender.gate, now);
        let paths = &self.paths;
        let number_of = |index: usize| paths.at(index)?.peer_index;
        // What leaves by another policy is not repaired, and may come on any path at any time.
        let orders = if by_measure { adaptive.orders() } else { (None, PathSet::default(), false) };
        adaptive.state.feedback.handle_timeout(now, instance, orders, ways, number_of);
    }

    /// The next datagram with an extension header: a report or a sign of life, written to `buffer`, or a packet.
    #[inline]
    fn poll_extended<'b>(&'b mut self, buffer: &'b mut [u8]) -> Option<Departure<'b>> {
        let now = self.now;
        let adaptive = &mut self.extension.as_mut()?.adaptive;
        let header_len = self.layout.header_len();
        let body = header_len + extension::LEN;
        let signal = match adaptive.state.feedback.poll() {
            Some((path, report)) => {
                let len = buffer.get_mut(body..).and_then(|body| report.emit(body));
                len.map(|len| (path, Kind::Report, len))
            }
            None => adaptive.poll_marker().map(|(path, is_large)| {
                let padding = if is_large { LARGE_MARKER - body } else { 0 };
                buffer.get_mut(body..).unwrap_or_default().fill(0);
                (path, Kind::Marker, padding)
            }),
        };
        let (path, header, seq, datagram) = if let Some((path, kind, len)) = signal {
            let header = adaptive.stamp(path, kind, false, len, now)?;
            (path, header, self.sender.next_sequence, buffer.get_mut(..body + len)?)
        } else {
            let Some(leaving) = self.poll_packet_or_pieces() else { return self.poll_piece() };
            let adaptive = &mut self.extension.as_mut()?.adaptive;
            let datagram = adaptive.datagram(&leaving, body);
            (leaving.path, leaving.header, leaving.seq, datagram)
        };
        header.emit(datagram.get_mut(header_len..)?);
        self.layout.emit(datagram, Protocol::Control, seq);
        let ecn = match header.kind {
            Kind::Ordered | Kind::Unordered => datagram.get(body..).map_or(Ecn::NotEct, ip::ecn),
            Kind::Report | Kind::Marker => Ecn::NotEct,
        };
        let id = self.paths.count_sent(path, 1, datagram.len() as u64)?;
        self.sender.gate.charge_datagram(datagram.len() + usize::from(self.sender.around), now);
        if signal.is_none() {
            self.paths.handle_used(path, now);
        }
        let ecn = self.paths.outer_ecn(path, ecn);
        Some(Departure { path: id, datagram, ecn, padded_to: 0 })
    }

    /// The next packet that leaves whole. `None`: there is none, or one leaves in pieces before.
    #[inline]
    fn poll_packet_or_pieces(&mut self) -> Option<Leaving> {
        loop {
            let adaptive = &mut self.extension.as_mut()?.adaptive;
            if adaptive.state.pieces.is_none() {
                let leaving = adaptive.poll(
                    self.paths.up(),
                    (&mut self.sender.next_sequence, &mut self.sender.gate),
                    self.now,
                );
                if leaving.is_some() || adaptive.state.pieces.is_none() {
                    return leaving;
                }
            }
            if self.cut_pieces().is_some() {
                return None;
            }
            // It cannot be cut, or has left.
            self.extension.as_mut()?.adaptive.end_pieces();
        }
    }

    /// Looks whether the packet that leaves in pieces has another one, and before the first decides how it is cut.
    fn cut_pieces(&mut self) -> Option<()> {
        let adaptive = &mut self.extension.as_mut()?.adaptive;
        let pieces = adaptive.state.pieces?;
        if pieces.piece > 0 {
            let left = pieces.cut.map_or(0, Cut::pieces) > usize::from(pieces.piece);
            return left.then_some(());
        }
        let is_slice = adaptive.packet_in_pieces(0).is_some_and(|packet| slice::is_there(packet));
        let cut = self.cut_for(PathSet::of(pieces.path), pieces.len).ok().filter(|_| !is_slice);
        let Some(cut) = cut else {
            self.stats.tx_too_large += 1;
            return None;
        };
        if cut.is_some() {
            self.sender.next_fragment = self.sender.next_fragment.wrapping_add(1);
        }
        self.extension.as_mut()?.adaptive.state.pieces = Some(pieces.cut_by(cut));
        Some(())
    }

    /// The next piece of the packet that leaves in pieces, if there is one.
    fn poll_piece(&mut self) -> Option<Departure<'_>> {
        let adaptive = &mut self.extension.as_mut()?.adaptive;
        let pieces = adaptive.state.pieces?;
        adaptive.state.pieces = Some(pieces.next());
        let buffer = adaptive.packet_in_pieces(HEADROOM)?;
        let packet = buffer.get(HEADROOM..).unwrap_or_default();
        let (protocol, ecn) = (ip::parse(packet).map(|(protocol, _)| protocol), ip::ecn(packet));
        let protocol = protocol.filter(|_| pieces.cut.is_none()).unwrap_or(Protocol::Fragment);
        let datagram = locate(buffer, self.layout, pieces.cut, pieces.piece)?;
        emit(datagram, self.layout, protocol, (pieces.cut, pieces.piece), self.sender.next_sequence);
        self.sender.next_sequence = self.sender.next_sequence + 1;
        self.stats.tx_fragments += u64::from(pieces.cut.is_some());
        let id = self.paths.count_sent(pieces.path, 1, datagram.len() as u64)?;
        self.sender.gate.charge_datagram(datagram.len() + usize::from(self.sender.around), self.now);
        self.paths.handle_used(pieces.path, self.now);
        let ecn = self.paths.outer_ecn(pieces.path, ecn);
        Some(Departure { path: id, datagram, ecn, padded_to: 0 })
    }

    /// Takes what follows a GRE header with an extension header.
    #[inline]
    fn receive_extended<'d>(
        &mut self,
        (index, arrived): (usize, Instant),
        sequence: Option<Seq>,
        payload: &'d mut [u8],
        ecn: Ecn,
    ) -> Received<'d> {
        let Some(Extension { adaptive, .. }) = &mut self.extension else {
            return Received::Dropped(DropReason::UnknownProtocol);
        };
        let (Some(header), Some(sequence)) = (Header::parse(payload), sequence) else {
            return Received::Dropped(DropReason::BadControl);
        };
        let len = payload.len() + extension::OUTER;
        let body = payload.get_mut(extension::LEN..).unwrap_or_default();
        let (now, up) = (self.now, self.paths.up());
        match header.kind {
            Kind::Report => {
                let known = self.identity.peer_instance();
                let Some(report) = Report::parse(body).filter(|report| known == Some(report.instance)) else {
                    return Received::Dropped(DropReason::BadControl);
                };
                adaptive.state.feedback.handle(index, &header, len, false, arrived, now);
                let news = adaptive.handle_report(&report, header.stamp, up, now);
                if news == News::Fresh {
                    self.follow(&report);
                }
                self.receiver.reorder.handle_probe(index, sequence, now);
                self.heard(index, false);
                match news {
                    News::Fresh | News::Old => Received::Consumed,
                    News::Impossible => Received::Dropped(DropReason::BadControl),
                }
            }
            Kind::Marker => {
                adaptive.state.feedback.handle(index, &header, len, true, arrived, now);
                self.receiver.reorder.handle_probe(index, sequence, now);
                self.heard(index, false);
                Received::Consumed
            }
            Kind::Ordered | Kind::Unordered => {
                let inner_len = match ip::parse(body) {
                    Some((_, len)) => len,
                    None if self.slices && slice::is_there(body) => body.len(),
                    None => return Received::Dropped(DropReason::BadInner),
                };
                // What the sender counted: zeros behind the packet, as padding, are not of it.
                let len = inner_len + extension::LEN + extension::OUTER;
                adaptive.state.feedback.handle(index, &header, len, true, arrived, now);
                let packet = body.get_mut(..inner_len).unwrap_or_default();
                if !ip::decapsulate_ecn(packet, ecn) {
                    return Received::Dropped(DropReason::CongestionMarked);
                }
                if header.kind == Kind::Unordered {
                    let is_new = adaptive.state.once.take(sequence, header.resent);
                    self.heard(index, true);
                    return if is_new {
                        Received::Packet(packet)
                    } else {
                        Received::Dropped(DropReason::Duplicate)
                    };
                }
                let release = adaptive.release(&header, now);
                self.heard(index, true);
                let outcome = self.receiver.reorder.insert_until(index, sequence, packet, release, now);
                self.settle_insert(outcome, packet)
            }
        }
    }

    /// Does as the peer's report wants: how long to hold, and which paths to wait for.
    fn follow(&mut self, report: &Report) {
        let Some(Extension { adaptive, .. }) = &mut self.extension else { return };
        adaptive.obey(report);
        self.sender.gate.ask(report.most, self.now);
        self.refresh_live();
        let Some(adaptive) = self.adaptive().filter(|_| report.repairs) else {
            return self.receiver.reorder.set_patience(Duration::ZERO);
        };
        let patience = adaptive.repair_time(self.receiver.reorder.live());
        self.receiver.reorder.set_patience(patience);
    }

    /// A path may have gone down or come up, or carry other datagrams.
    fn settle_adaptive(&mut self, index: usize, is_up: bool) {
        let headers = self.layout.header_len() + extension::LEN;
        let headers = u16::try_from(headers).unwrap_or(u16::MAX);
        let room = self.paths.at(index).map_or(u16::MAX, |path| path.max_datagram.saturating_sub(headers));
        if let Some(Extension { adaptive, .. }) = &mut self.extension {
            adaptive.set_room(index, room, self.now);
            adaptive.set_up(index, is_up, self.paths.up(), self.now);
        }
    }

    fn adaptive_deadline(&self) -> Option<Instant> {
        let adaptive = self.adaptive().filter(|_| self.identity.peer_extends())?;
        adaptive.deadline(self.paths.up(), &self.sender.gate, self.now)
    }
}

impl Adaptive<'_> {
    /// Until when an ordered packet is to be held.
    #[allow(clippy::cast_possible_wrap, reason = "a difference of stamps")]
    fn release(&self, header: &Header, now: Instant) -> Instant {
        let Some(hold) = self.state.hold.filter(|_| !header.resent) else { return now };
        let wait = header.stamp.wrapping_add(hold).wrapping_sub(now.stamp()) as i32;
        if (1..=LONGEST_HOLD).contains(&wait) { now + Micros(wait.unsigned_abs()) } else { now }
    }

    fn obey(&mut self, report: &Report) {
        self.state.hold = report.hold;
        self.state.open = Some(PathSet(report.open)).filter(|open| !open.is_empty());
    }
}

/// What the extension headers of a connection have before them is a control header with a sequence number.
const _: () = assert!(gre::MAX_LEN + extension::LEN <= crate::wire::HEADROOM);
