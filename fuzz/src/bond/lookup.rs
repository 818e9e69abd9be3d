//! Names that are looked up: a DNS query each half second, each from a port of its own, and its answer.

use std::ops::Range;
use std::time::Duration;

use mpt_proto::Instant;

use super::datagram::{Datagram, Lead};
use super::network::{Delivery, Network, Route, host, id};
use super::series::Latencies;
use super::traffic::Figures;
use super::udp::sent_within;
use crate::joined::{End, START};
use crate::rng::Rng;
use crate::tcp_model::Ranges;

const EVERY: Duration = Duration::from_millis(500);
const DNS_PORT: u16 = 53;
/// Ports that a client may take (RFC 6056 section 3.2).
const CLIENT_PORTS: Range<u16> = 1024..u16::MAX;
/// Bytes of a query for a name of some 30 letters, and of an answer with a few addresses.
const QUERY_LEN: usize = 76;
const ANSWER_LEN: usize = 180;

/// A client that looks up names, and its server at the other end.
#[derive(Debug)]
pub(super) struct Lookup {
    from: End,
    id: u16,
    rng: Rng,
    next: Option<Instant>,
    sent: Vec<Instant>,
    answered: Ranges,
    round_trip: Latencies,
}

impl Lookup {
    pub(super) fn new(index: usize, from: End, seed: u64, now: Instant) -> Self {
        Self {
            from,
            id: id(index),
            rng: Rng::new(seed),
            next: Some(now),
            sent: Vec::new(),
            answered: Ranges::default(),
            round_trip: Latencies::default(),
        }
    }

    /// What became of the queries; delays are those of a query and its answer.
    pub(super) fn figures(&self, called: String, within: &Range<Duration>) -> Figures {
        let numbers = sent_within(&self.sent, within);
        let mut lost = 0;
        self.answered.absent(numbers.clone(), |_| lost += 1);
        let delay = [50, 95, 99].map(|hundredths| self.round_trip.percentile(hundredths, within));
        Figures { called, sent: numbers.end - numbers.start, lost, delay, ..Figures::default() }
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn handle_timeout(&mut self, network: &mut Network<'_>) {
        let now = network.now();
        let query = Datagram {
            hosts: [host(self.from), host(1 - self.from)],
            ports: [any_port(&mut self.rng), DNS_PORT],
            id: self.id,
            lead: Lead::Dns { is_answer: false },
            serial: self.sent.len() as u64,
            sent: now,
        };
        self.sent.push(now);
        self.next = Some(now + EVERY);
        network.send(self.from, Route::Tunnel, |packet| query.write(packet, QUERY_LEN));
    }

    pub(super) fn handle(&mut self, delivery: &Delivery, network: &mut Network<'_>) {
        let is_answer = delivery.end == self.from;
        let Some(datagram) = Datagram::read(delivery.head(), Lead::Dns { is_answer }) else { return };
        if is_answer {
            if self.answered.insert(datagram.serial) {
                self.round_trip.note(delivery.at.since(START), delivery.at.since(datagram.sent));
            }
            return;
        }
        let answer = Datagram { lead: Lead::Dns { is_answer: true }, ..datagram.reply() };
        network.send(delivery.end, Route::Tunnel, |packet| answer.write(packet, ANSWER_LEN));
    }

    pub(super) const fn stop(&mut self) {
        self.next = None;
    }
}

/// A port as a client takes it, at random.
pub(super) fn any_port(rng: &mut Rng) -> u16 {
    let count = u64::from(CLIENT_PORTS.end - CLIENT_PORTS.start);
    CLIENT_PORTS.start + u16::try_from(rng.below(count)).unwrap_or(0)
}
