//! What arrives: from a datagram to an inner packet, and what control messages change.

use core::time::Duration;

use crate::connection::extended::Extension;
use crate::connection::{Connection, Peer, UnknownPath};
use crate::ecn::Ecn;
use crate::path::PathId;
use crate::path_set::PathSet;
use crate::reassembly::Piece;
use crate::reorder::Insert;
use crate::seq::Seq;
use crate::stats::DropReason;
use crate::time::{Instant, Micros};
use crate::wire::control::{Kind, Message};
use crate::wire::gre::{self, Protocol};
use crate::wire::{extension, fragment, ip, slice};

/// What became of a datagram.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use]
pub enum Received<'d> {
    /// An inner packet (or, with [`Config::slices`](crate::Config::slices), a slice of one), next in order: deliver it
    /// now, then drain [`Connection::poll_packet`].
    Packet(&'d [u8]),
    /// Taken in: a control message, an early packet, or a fragment.
    Consumed,
    /// Dropped and counted.
    Dropped(DropReason),
}

impl Connection<'_> {
    /// Takes a datagram that arrived on `path`, with the ECN bits of its outer header. Its bytes may be
    /// changed.
    ///
    /// # Errors
    /// There is no such path. What the peer sent is never an error.
    pub fn decapsulate<'d>(
        &mut self,
        path: PathId,
        datagram: &'d mut [u8],
        ecn: Ecn,
        now: Instant,
    ) -> Result<Received<'d>, UnknownPath> {
        self.decapsulate_arrived(path, datagram, ecn, now, now)
    }

    /// As [`decapsulate`](Self::decapsulate), for a caller that knows when the datagram arrived, such as by a time stamp
    /// of the system: that it is taken in only later, as the processor was busy, does then not pass for a queue on the
    /// path.
    ///
    /// # Errors
    /// There is no such path.
    pub fn decapsulate_arrived<'d>(
        &mut self,
        path: PathId,
        datagram: &'d mut [u8],
        ecn: Ecn,
        arrived: Instant,
        now: Instant,
    ) -> Result<Received<'d>, UnknownPath> {
        self.tick(now);
        self.arrived = arrived.min(self.now);
        let index = self.path(path)?.id.index();
        let len = datagram.len() as u64;
        let received = self.receive(index, datagram, ecn);
        match received {
            Received::Dropped(reason) => self.stats.drop(reason),
            _ => {
                if let Some(path) = self.at_mut(index) {
                    path.stats.rx_datagrams += 1;
                    path.stats.rx_bytes += len;
                }
            }
        }
        if let Received::Packet(packet) = received {
            self.stats.rx_packets += 1;
            self.stats.rx_bytes += packet.len() as u64;
        }
        self.gather();
        Ok(received)
    }

    fn receive<'d>(&mut self, index: usize, datagram: &'d mut [u8], ecn: Ecn) -> Received<'d> {
        let header = match gre::parse(datagram) {
            Ok(header) => header,
            Err(reason) => return Received::Dropped(reason),
        };
        if header.key != self.layout.key {
            return Received::Dropped(DropReason::WrongKey);
        }
        if self.at(index).is_none_or(|path| !path.enabled) {
            return Received::Dropped(DropReason::PathDisabled);
        }
        let payload = datagram.get_mut(header.len..).unwrap_or_default();
        let payload = match header.protocol {
            Protocol::Control if extension::Header::is_there(payload) => {
                return match self.extension_calls() {
                    Some(calls) => (calls.receive)(self, index, header.sequence, payload, ecn),
                    None => Received::Dropped(DropReason::UnknownProtocol),
                };
            }
            Protocol::Control => return self.receive_control(index, payload, ecn),
            Protocol::Fragment if slice::is_there(payload) => {
                if !self.slices {
                    return Received::Dropped(DropReason::UnknownProtocol);
                }
                if !ip::decapsulate_ecn(payload, ecn) {
                    return Received::Dropped(DropReason::CongestionMarked);
                }
                payload
            }
            Protocol::Fragment => {
                match ecn {
                    Ecn::Ce => fragment::mark_congestion(payload),
                    _ => fragment::clear_congestion(payload),
                }
                if let Err(reason) = fragment::Header::parse(payload) {
                    return Received::Dropped(reason);
                }
                payload
            }
            Protocol::Ipv4 | Protocol::Ipv6 => {
                let Some((_, len)) = ip::parse(payload).filter(|(protocol, _)| *protocol == header.protocol)
                else {
                    return Received::Dropped(DropReason::BadInner);
                };
                let packet = payload.get_mut(..len).unwrap_or_default();
                if !ip::decapsulate_ecn(packet, ecn) {
                    return Received::Dropped(DropReason::CongestionMarked);
                }
                packet
            }
        };
        self.heard(index, true);
        let is_whole = header.protocol != Protocol::Fragment;
        if is_whole && self.is_measured(payload) {
            // Others do not wait for its number.
            if let Some(seq) = header.sequence {
                self.reorder.insert(index, seq, &[], self.now);
            }
            return Received::Packet(payload);
        }
        let fragmented = header.protocol == Protocol::Fragment && !slice::is_there(payload);
        let outcome =
            header.sequence.map_or(Insert::Next, |seq| self.reorder.insert(index, seq, payload, self.now));
        if fragmented && outcome == Insert::Next {
            return self.reassemble(payload).map_or(Received::Consumed, Received::Dropped);
        }
        self.settle_insert(outcome, payload)
    }

    /// What became of a packet that went into the reorder buffer.
    pub(super) fn settle_insert<'d>(&mut self, outcome: Insert, packet: &'d [u8]) -> Received<'d> {
        match outcome {
            Insert::Next => Received::Packet(packet),
            Insert::Held => {
                self.stats.rx_held += 1;
                Received::Consumed
            }
            Insert::Duplicate => Received::Dropped(DropReason::Duplicate),
            Insert::Late => Received::Dropped(DropReason::Late),
            Insert::TooLarge => Received::Dropped(DropReason::TooLarge),
            Insert::Full => Received::Dropped(DropReason::Overflow),
        }
    }

    fn reassemble(&mut self, payload: &[u8]) -> Option<DropReason> {
        match self.reassembly.insert(payload, self.now) {
            Piece::Complete => {
                self.assembled = true;
                None
            }
            Piece::Waiting => None,
            Piece::Duplicate => Some(DropReason::Duplicate),
            Piece::Bad => Some(DropReason::BadFragment),
            Piece::CongestionMarked => Some(DropReason::CongestionMarked),
        }
    }

    fn receive_control<'d>(&mut self, index: usize, payload: &[u8], ecn: Ecn) -> Received<'d> {
        let message = match Message::parse(payload) {
            Ok(message) => message,
            Err(reason) => return Received::Dropped(reason),
        };
        if message.instance == self.instance {
            // Our own, come back by a loop.
            return Received::Dropped(DropReason::BadControl);
        }
        // When the probe left that this answers: whoever answers it was alive after that.
        let asked = (message.kind == Kind::Echo)
            .then(|| self.now - Micros(self.now.stamp().wrapping_sub(message.stamp)));
        let known = self.peer.is_some_and(|peer| peer.instance == message.instance);
        if !known {
            // A former process answers nothing that was asked after its successor was heard; if it does, then
            // it lives, and the other was a forgery or a straggler of a process before it.
            let is_former = self.peer.is_some_and(|peer| {
                peer.previous == Some(message.instance) && asked.is_none_or(|asked| asked <= peer.since)
            });
            if is_former {
                return Received::Dropped(DropReason::Late);
            }
            self.start_peer(&message);
        }
        self.check_head(asked, message.next);
        let fresh = self.peer.is_some_and(|peer| !known || message.count.distance_from(peer.count) > 0);
        let now = self.now;
        if let Some(path) = self.at_mut(index) {
            path.peer_index = Some(message.path);
            match message.kind {
                Kind::Probe => path.handle_probe(message.stamp, ecn),
                Kind::Echo => {
                    path.handle_echo(message.stamp, message.arrived, now);
                    self.scheduler.sample_rtt(index, Micros(now.stamp().wrapping_sub(message.stamp)));
                }
            }
        }
        self.reorder.handle_probe(index, message.next, now);
        if fresh {
            if let Some(peer) = &mut self.peer {
                peer.count = message.count;
                peer.features = message.features;
                peer.mtu = message.mtu;
                peer.extension = message.extension;
            }
            if let Some(Extension { adaptive, .. }) = &mut self.extension {
                adaptive.peer_window = message.extension.unwrap_or(0);
            }
            let hears = PathSet(message.hears);
            for path in self.each_path() {
                path.peer_hears = path.peer_index.is_some_and(|number| hears.contains(usize::from(number)));
            }
        }
        self.heard(index, false);
        for index in 0..self.places {
            self.refresh(index);
        }
        Received::Consumed
    }

    /// The first message of a peer, or of a peer that started anew.
    fn start_peer(&mut self, message: &Message) {
        let previous = self.peer.map(|peer| peer.instance);
        if previous.is_some() {
            self.peer_restarts += 1;
            self.reorder.restart(message.next);
        } else {
            self.reorder.join(message.next);
        }
        self.peer = Some(Peer {
            instance: message.instance,
            previous,
            since: self.now,
            count: message.count,
            features: message.features,
            mtu: message.mtu,
            extension: message.extension,
        });
        if let Some(calls) = self.extension_calls() {
            (calls.restart)(self);
        }
        self.reorder.set_patience(Duration::ZERO);
        self.peer_started = true;
        self.witness = None;
        let now = self.now;
        for path in self.each_path() {
            path.handle_peer_started();
            if previous.is_some() {
                // Until it answers, this may as well be a straggler of a process that is gone: it is asked as soon as
                // on a path in use. Not at once: were two alive, each answer would call for the next probe.
                path.handle_used(now);
            }
        }
    }

    /// All that had arrived before a probe left was sent before its echo, and so has lower numbers than the
    /// `next` of the echo. If the sequence was already further, then numbers that are not this peer's moved
    /// it, forged or of a former process; without this, all that the peer sends would be late from then on.
    fn check_head(&mut self, asked: Option<Instant>, next: Seq) {
        let Some(asked) = asked else { return };
        if let Some((since, head)) = self.witness {
            if asked <= since {
                return;
            }
            if next.distance_from(head) < 0 {
                self.peer_restarts += 1;
                self.reorder.restart(next);
            }
        }
        self.witness = Some((self.now, self.reorder.head()));
    }

    /// Something valid came on the path: a packet (`used`) or a control message.
    pub(super) fn heard(&mut self, index: usize, used: bool) {
        let now = self.now;
        let Some(path) = self.at_mut(index) else { return };
        if used {
            path.handle_used(now);
        }
        let heard_before = path.hears();
        path.handle_heard(now);
        if !heard_before {
            self.refresh(index);
        }
    }

    /// The next inner packet that may be delivered, now that waiting for others is over.
    pub fn poll_packet(&mut self) -> Option<&[u8]> {
        while !core::mem::take(&mut self.assembled) {
            let place = self.reorder.pop()?;
            let packet = self.reorder.packet(place);
            if packet.is_empty() {
                // It was delivered when it came.
                continue;
            }
            if ip::parse(packet).is_some() || slice::is_there(packet) {
                self.stats.rx_packets += 1;
                self.stats.rx_bytes += packet.len() as u64;
                return Some(self.reorder.packet(place));
            }
            match self.reassembly.insert(packet, self.now) {
                Piece::Complete => self.assembled = true,
                Piece::Waiting => {}
                Piece::Duplicate => self.stats.drop(DropReason::Duplicate),
                Piece::Bad => self.stats.drop(DropReason::BadFragment),
                Piece::CongestionMarked => self.stats.drop(DropReason::CongestionMarked),
            }
        }
        let packet = self.reassembly.packet();
        self.stats.rx_reassembled += 1;
        self.stats.rx_packets += 1;
        self.stats.rx_bytes += packet.len() as u64;
        Some(packet)
    }

    /// Which paths must have passed a number for it to be lost: those that the peer uses, if it says so.
    pub(super) fn refresh_live(&mut self) {
        let mut live = self.hears;
        if let Some(open) = self.extension.as_ref().and_then(|extension| extension.adaptive.state.open) {
            for index in self.hears {
                let number = self.at(index).and_then(|path| path.peer_index);
                live.set(index, number.is_some_and(|number| open.contains(usize::from(number))));
            }
        }
        self.reorder.set_live(if live.is_empty() { self.hears } else { live }, self.now);
    }

    /// Collects the counters that the parts keep.
    pub(super) fn gather(&mut self) {
        self.stats.rx_lost = self.reorder.lost();
        if let Some(Extension { adaptive, .. }) = &self.extension {
            let counts = adaptive.counts();
            self.stats.tx_dropped = counts.dropped;
            self.stats.tx_marked = counts.marked;
            self.stats.tx_resent = counts.resent;
            self.stats.rx_bad_reports = counts.bad_reports;
            self.stats.rx_lost += counts.missing;
        }
        self.stats.rx_restarts = self.peer_restarts + self.reorder.restarts();
        if let Some(expired) = self.stats.dropped.get_mut(DropReason::FragmentTimeout as usize) {
            *expired = self.reassembly.expired();
        }
    }
}
