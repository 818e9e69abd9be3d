//! What arrives: from a datagram to an inner packet, and what control messages change.

use core::time::Duration;

use crate::connection::extended::Extension;
use crate::connection::identity::{Verdict, asked_at};
use crate::connection::{Connection, UnknownPath};
use crate::ecn::Ecn;
use crate::path::PathId;
use crate::path_set::PathSet;
use crate::reassembly::{Piece, Reassembly};
use crate::reorder::{Insert, Reorder};
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

/// What arrived and is not delivered yet, and in what order it will be.
#[derive(Debug)]
pub(super) struct Receiver<'s> {
    pub(super) reorder: Reorder<'s>,
    pub(super) reassembly: Reassembly<'s>,
    /// A packet put together waits to be polled.
    assembled: bool,
    /// The sequence number that was next at some time; see [`check_head`](Self::check_head).
    witness: Witness,
    /// Times that the sequence started anew by a control message.
    restarts: u64,
}

/// The sequence number that was next at some time, if one is known. An option of both is larger by eight bytes.
#[derive(Debug, Clone, Copy)]
enum Witness {
    None,
    Head { since: Instant, head: Seq },
}

/// The witness, and the restarts.
#[cfg(feature = "state")]
pub(super) type ReceiverFacts = (Option<(Instant, Seq)>, u64);

impl<'s> Receiver<'s> {
    pub(super) const fn new(reorder: Reorder<'s>, reassembly: Reassembly<'s>) -> Self {
        Self { reorder, reassembly, assembled: false, witness: Witness::None, restarts: 0 }
    }

    /// What it keeps beside the memory that was lent: whether a packet waits to be polled, and the others.
    #[cfg(feature = "state")]
    pub(super) const fn facts(&self) -> (bool, ReceiverFacts) {
        let witness = match self.witness {
            Witness::None => None,
            Witness::Head { since, head } => Some((since, head)),
        };
        (self.assembled, (witness, self.restarts))
    }

    /// One that kept these.
    #[cfg(feature = "state")]
    pub(super) fn of(
        reorder: Reorder<'s>,
        (reassembly, assembled): (Reassembly<'s>, bool),
        (witness, restarts): ReceiverFacts,
    ) -> Self {
        let witness = witness.map_or(Witness::None, |(since, head)| Witness::Head { since, head });
        Self { reorder, reassembly, assembled, witness, restarts }
    }

    /// Times that the sequence started anew.
    pub(super) const fn restarts(&self) -> u64 {
        self.restarts + self.reorder.restarts()
    }

    /// A peer was heard first, or has started anew; its next number is this.
    fn start(&mut self, next: Seq, is_another: bool) {
        if is_another {
            self.restarts += 1;
            self.reorder.restart(next);
        } else {
            self.reorder.join(next);
        }
        self.reorder.set_patience(Duration::ZERO);
        self.witness = Witness::None;
    }

    /// All that had arrived before a probe left was sent before its echo, and so has lower numbers than the
    /// `next` of the echo. If the sequence was already further, then numbers that are not this peer's moved
    /// it, forged or of a former process; without this, all that the peer sends would be late from then on.
    fn check_head(&mut self, asked: Option<Instant>, next: Seq, now: Instant) {
        let Some(asked) = asked else { return };
        if let Witness::Head { since, head } = self.witness {
            if asked <= since {
                return;
            }
            if next.distance_from(head) < 0 {
                self.restarts += 1;
                self.reorder.restart(next);
            }
        }
        self.witness = Witness::Head { since: now, head: self.reorder.head() };
    }
}

/// Puts a fragment to its packet. Returns why it was dropped, if it was.
fn reassemble(
    reassembly: &mut Reassembly<'_>,
    assembled: &mut bool,
    fragment: &[u8],
    now: Instant,
) -> Option<DropReason> {
    match reassembly.insert(fragment, now) {
        Piece::Complete => {
            *assembled = true;
            None
        }
        Piece::Waiting => None,
        Piece::Duplicate => Some(DropReason::Duplicate),
        Piece::Bad => Some(DropReason::BadFragment),
        Piece::CongestionMarked => Some(DropReason::CongestionMarked),
    }
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
        let index = self.paths.find(path)?.id.index();
        let len = datagram.len() as u64;
        let received = self.receive(index, datagram, ecn, arrived.min(self.now));
        match received {
            Received::Dropped(reason) => self.stats.drop(reason),
            _ => self.paths.count_received(index, len),
        }
        if let Received::Packet(packet) = received {
            self.stats.rx_packets += 1;
            self.stats.rx_bytes += packet.len() as u64;
        }
        Ok(received)
    }

    fn receive<'d>(
        &mut self,
        index: usize,
        datagram: &'d mut [u8],
        ecn: Ecn,
        arrived: Instant,
    ) -> Received<'d> {
        let header = match gre::parse(datagram) {
            Ok(header) => header,
            Err(reason) => return Received::Dropped(reason),
        };
        if header.key != self.layout.key {
            return Received::Dropped(DropReason::WrongKey);
        }
        if self.paths.at(index).is_none_or(|path| !path.is_enabled()) {
            return Received::Dropped(DropReason::PathDisabled);
        }
        let payload = datagram.get_mut(header.len..).unwrap_or_default();
        let payload = match header.protocol {
            Protocol::Control if extension::Header::is_there(payload) => {
                return match self.engine() {
                    Some(engine) => engine.receive(self, (index, arrived), header.sequence, payload, ecn),
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
                self.receiver.reorder.insert(index, seq, &[], self.now);
            }
            return Received::Packet(payload);
        }
        let fragmented = header.protocol == Protocol::Fragment && !slice::is_there(payload);
        let outcome = header
            .sequence
            .map_or(Insert::Next, |seq| self.receiver.reorder.insert(index, seq, payload, self.now));
        if fragmented && outcome == Insert::Next {
            let Receiver { reassembly, assembled, .. } = &mut self.receiver;
            return reassemble(reassembly, assembled, payload, self.now)
                .map_or(Received::Consumed, Received::Dropped);
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

    fn receive_control<'d>(&mut self, index: usize, payload: &[u8], ecn: Ecn) -> Received<'d> {
        if let Some(sizes) = &mut self.sizes
            && sizes.takes(index, payload, &self.identity, self.now)
        {
            self.heard(index, false);
            return Received::Consumed;
        }
        let message = match Message::parse(payload) {
            Ok(message) => message,
            Err(reason) => return Received::Dropped(reason),
        };
        let now = self.now;
        let asked = asked_at(&message, now);
        let verdict = self.identity.judge(&message, asked);
        match verdict {
            Verdict::Own => return Received::Dropped(DropReason::BadControl),
            Verdict::Former => return Received::Dropped(DropReason::Late),
            Verdict::Known => {}
            Verdict::First | Verdict::Restarted => {
                self.receiver.start(message.next, verdict == Verdict::Restarted);
                if let Some(engine) = self.engine() {
                    engine.restart(self);
                }
            }
        }
        let is_news = self.identity.take(&message, verdict, now);
        self.receiver.check_head(asked, message.next, now);
        if message.kind == Kind::Echo {
            let rtt = Micros(now.stamp().wrapping_sub(message.stamp));
            self.sender.scheduler.sample_rtt(index, rtt);
        }
        self.receiver.reorder.handle_probe(index, message.next, now);
        if let Some(Extension { adaptive, .. }) = self.extension.as_mut().filter(|_| is_news) {
            adaptive.peer_window = message.extension.unwrap_or(0);
        }
        let hears = PathSet(message.hears);
        self.change_paths(|path| {
            let is_it = path.id.index() == index;
            if verdict != Verdict::Known {
                path.handle_peer_started();
            }
            if verdict == Verdict::Restarted {
                // Until it answers, this may as well be a straggler of a process that is gone: it is asked as soon as
                // on a path in use. Not at once: were two alive, each answer would call for the next probe.
                path.handle_used(now);
            }
            if is_it {
                path.handle_control(&message, ecn, now);
            }
            if is_news {
                path.peer_hears = path.peer_index.is_some_and(|number| hears.contains(usize::from(number)));
            }
            if is_it {
                path.handle_heard(now);
            }
        });
        Received::Consumed
    }

    /// The next inner packet that may be delivered, now that waiting for others is over.
    pub fn poll_packet(&mut self) -> Option<&[u8]> {
        while !core::mem::take(&mut self.receiver.assembled) {
            let place = self.receiver.reorder.pop()?;
            let packet = self.receiver.reorder.packet(place);
            if packet.is_empty() {
                // It was delivered when it came.
                continue;
            }
            if ip::parse(packet).is_some() || slice::is_there(packet) {
                self.stats.rx_packets += 1;
                self.stats.rx_bytes += packet.len() as u64;
                return Some(self.receiver.reorder.packet(place));
            }
            let Receiver { reorder, reassembly, assembled, .. } = &mut self.receiver;
            if let Some(reason) = reassemble(reassembly, assembled, reorder.packet(place), self.now) {
                self.stats.drop(reason);
            }
        }
        let packet = self.receiver.reassembly.packet();
        self.stats.rx_reassembled += 1;
        self.stats.rx_packets += 1;
        self.stats.rx_bytes += packet.len() as u64;
        Some(packet)
    }

    /// Which paths must have passed a number for it to be lost: those that the peer uses, if it says so.
    pub(super) fn refresh_live(&mut self) {
        let hears = self.paths.hears();
        let mut live = hears;
        if let Some(open) = self.extension.as_ref().and_then(|extension| extension.adaptive.state.open) {
            for index in hears {
                let number = self.paths.at(index).and_then(|path| path.peer_index);
                live.set(index, number.is_some_and(|number| open.contains(usize::from(number))));
            }
        }
        self.receiver.reorder.set_live(if live.is_empty() { hears } else { live }, self.now);
    }
}
