//! A TCP flow, with its sender at one end and its receiver at the other.

use std::collections::BTreeMap;
use std::time::Duration;

use mpt_proto::{Ecn, Instant};

use super::network::{Delivery, Network, Route, client_port, host, id};
use super::series::Meter;
use crate::joined::{End, START};
use crate::tcp_model::wire::{Format, Segment, Transport};
use crate::tcp_model::{Config, Congestion, LossDetection, Ranges, Receiver, Sender};

const SERVER_PORT: u16 = 5201;
/// HTTP/3, WireGuard and BitTorrent.
const QUIC_PORT: u16 = 443;
const WIREGUARD_PORT: u16 = 51_820;
const UTP_PORT: u16 = 6881;

/// A flow's settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TcpSetup {
    /// The sender's.
    pub config: Config,
    /// How its packets look.
    pub transport: Transport,
    /// Bytes of a packet with data.
    pub packet_len: usize,
    /// Of packets with data.
    pub ecn: Ecn,
}

impl Default for TcpSetup {
    fn default() -> Self {
        Self { config: Config::default(), transport: Transport::Tcp, packet_len: 1400, ecn: Ecn::NotEct }
    }
}

impl TcpSetup {
    /// A flow by its name in tables and commands: `cubic`, `reno`, `bbr`, `quic` (a threshold of three), `quic-udp` (the
    /// same in UDP), `ecn` (CUBIC that is marked); `http3` and `http3-bbr` (as `quic`, with QUIC's packets), `wireguard` and
    /// `wireguard-bbr` (TCP inside WireGuard), `utp` (LEDBAT with uTP's packets).
    pub fn named(name: &str) -> Option<Self> {
        let config = Config::default();
        let quic = Config { detection: LossDetection::Threshold, ..config };
        let bbr = |config| Config { congestion: Congestion::Bbr, ..config };
        let (config, transport) = match name {
            "cubic" => (config, Transport::Tcp),
            "reno" => (Config { congestion: Congestion::Reno, ..config }, Transport::Tcp),
            "bbr" => (bbr(config), Transport::Tcp),
            "quic" => (quic, Transport::Tcp),
            "quic-udp" => (quic, Transport::Udp),
            "http3" => (quic, Transport::Quic),
            "http3-bbr" => (bbr(quic), Transport::Quic),
            "wireguard" => (config, Transport::WireGuard),
            "wireguard-bbr" => (bbr(config), Transport::WireGuard),
            // libutp resends after three later acknowledgements.
            "utp" => (Config { congestion: Congestion::Ledbat, ..quic }, Transport::Utp),
            "ecn" => return Some(Self { ecn: Ecn::Ect0, ..Self::default() }),
            _ => return None,
        };
        Some(Self { config, transport, ..Self::default() })
    }
}

/// A TCP flow.
#[derive(Debug)]
pub struct Flow {
    from: End,
    route: Route,
    format: Format,
    sender: Sender,
    receiver: Receiver,
    begun: Instant,
    done: Option<Instant>,
    stopped: bool,
    meter: Meter,
    /// A QUIC client has still to say hello.
    hello: bool,
    /// When each transmission that has not arrived was sent, where acknowledgements tell delays.
    transmitted: BTreeMap<u64, Instant>,
    transmissions: Ranges,
    newest: u64,
    copies: u64,
    overtaken: u64,
}

impl Flow {
    pub(super) fn new(
        index: usize,
        from: End,
        route: Route,
        setup: TcpSetup,
        seed: u64,
        now: Instant,
    ) -> Self {
        // QUIC's and WireGuard's servers send, as in a download.
        let client = client_port(index);
        let ports = match setup.transport {
            Transport::Tcp | Transport::Udp => [client, SERVER_PORT],
            Transport::Quic => [QUIC_PORT, client],
            Transport::WireGuard => [WIREGUARD_PORT, client],
            Transport::Utp => [UTP_PORT, client],
        };
        let format = Format {
            transport: setup.transport,
            hosts: [host(from), host(1 - from)],
            ports,
            id: id(index),
            packet_len: setup.packet_len,
            ecn: setup.ecn,
        };
        Self {
            from,
            route,
            format,
            sender: Sender::new(setup.config, seed, now),
            receiver: Receiver::default(),
            begun: now,
            done: None,
            stopped: false,
            meter: Meter::default(),
            hello: setup.transport == Transport::Quic,
            transmitted: BTreeMap::new(),
            transmissions: Ranges::default(),
            newest: 0,
            copies: 0,
            overtaken: 0,
        }
    }

    /// The sender.
    pub const fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Bytes of inner packets by when they were in order at the receiver.
    pub const fn meter(&self) -> &Meter {
        &self.meter
    }

    /// How long all there was to send took; `None`: it is not all there yet.
    pub fn took(&self) -> Option<Duration> {
        self.done.map(|done| done.since(self.begun))
    }

    /// Packets that arrived more than once without having been sent more than once.
    pub const fn copies(&self) -> u64 {
        self.copies
    }

    /// Packets that arrived behind one that was sent later.
    pub const fn overtaken(&self) -> u64 {
        self.overtaken
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.stopped {
            return None;
        }
        let begin = (self.sender.acknowledged() == 0 && self.newest == 0).then_some(self.begun);
        [self.sender.poll_timeout().or(begin), self.receiver.poll_timeout()].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, network: &mut Network<'_>) {
        if std::mem::take(&mut self.hello) {
            let format = self.format.reversed();
            network.send(1 - self.from, self.route, |packet| format.hello(packet));
        }
        self.receiver.handle_timeout(network.now());
        self.acknowledge(network);
        self.sender.handle_timeout(network.now());
        self.transmit(network);
    }

    pub(super) fn handle(&mut self, delivery: &Delivery, network: &mut Network<'_>) {
        let Some(segment) = Segment::read(delivery.head(), self.format.transport) else { return };
        if delivery.end == self.from {
            if !self.stopped {
                let ack = segment.ack(self.format, self.sender.acknowledged());
                self.sender.handle_ack(&ack, delivery.at);
                self.transmit(network);
            }
            return;
        }
        let before = self.receiver.next();
        let Some((number, transmission, reduced)) = segment.data(self.format, before) else { return };
        if !self.transmissions.insert(transmission) {
            self.copies += 1;
        } else if transmission < self.newest {
            self.overtaken += 1;
        }
        self.newest = self.newest.max(transmission);
        self.meter.note_arrival(delivery.at.since(START));
        if let Some(sent) = self.transmitted.remove(&transmission) {
            self.receiver.note_delay(delivery.at.since(sent));
        }
        self.receiver.handle_segment(number, transmission, segment.ecn, reduced, delivery.at);
        let progress = self.receiver.next() - before;
        if progress > 0 {
            self.meter.note(progress * self.format.packet_len as u64, delivery.at.since(START));
            if self.sender.limit().is_some_and(|limit| self.receiver.next() >= limit) {
                self.done.get_or_insert(delivery.at);
            }
        }
        self.acknowledge(network);
    }

    pub(super) const fn stop(&mut self) {
        self.stopped = true;
    }

    fn acknowledge(&mut self, network: &mut Network<'_>) {
        if let Some(ack) = self.receiver.poll_ack() {
            let format = self.format.reversed();
            network.send(1 - self.from, self.route, |packet| format.ack(packet, &ack));
        }
    }

    fn transmit(&mut self, network: &mut Network<'_>) {
        while let Some((number, transmission)) = self.sender.poll_transmit(network.now()) {
            let reduced = self.sender.take_reduced();
            let format = self.format;
            if format.transport == Transport::Utp {
                self.transmitted.insert(transmission, network.now());
            }
            network.send(self.from, self.route, |packet| {
                format.data(packet, number, transmission, reduced);
            });
        }
    }
}
