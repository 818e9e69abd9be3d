//! A flood, or a scan: TCP connections that are opened from random ports and come to nothing.

use std::ops::Range;
use std::time::Duration;

use mpt_proto::Instant;
use mpt_proto::wire::checksum;

use super::lookup::any_port;
use super::network::{Delivery, Network, Route, host, id};
use super::series::{Latencies, Meter};
use super::traffic::Figures;
use crate::joined::{End, START};
use crate::rng::Rng;

/// They leave in bursts, as a sender's timer has it.
const EVERY: Duration = Duration::from_millis(1);
const SERVER_PORT: u16 = 443;
/// Bytes of a SYN with the options that Linux sends: maximum segment size, window scale, SACK, timestamps.
const SYN_LEN: usize = 60;
const FLAG_SYN: u8 = 0x02;
/// Where the timestamp option's values stand.
const STAMP: usize = 48;

/// SYNs without end.
#[derive(Debug)]
pub(super) struct Flood {
    from: End,
    id: u16,
    per_second: u64,
    rng: Rng,
    begun: Instant,
    stopped: bool,
    sent: u64,
    bursts: u32,
    meter: Meter,
    latencies: Latencies,
    /// When each that arrived was sent.
    arrived: Latencies,
}

impl Flood {
    pub(super) fn new(index: usize, from: End, per_second: u64, seed: u64, now: Instant) -> Self {
        Self {
            from,
            id: id(index),
            per_second,
            rng: Rng::new(seed),
            begun: now,
            stopped: false,
            sent: 0,
            bursts: 0,
            meter: Meter::default(),
            latencies: Latencies::default(),
            arrived: Latencies::default(),
        }
    }

    /// What became of them.
    pub(super) fn figures(&self, called: String, within: &Range<Duration>) -> Figures {
        let since = |at: Duration| at.saturating_sub(self.begun.since(START)).as_micros();
        let count = (since(within.end) - since(within.start)) * u128::from(self.per_second) / 1_000_000;
        let sent = u64::try_from(count).unwrap_or(u64::MAX);
        let lost = sent.saturating_sub(self.arrived.count(within) as u64);
        let delay = [50, 95, 99].map(|hundredths| self.latencies.percentile(hundredths, within));
        Figures { called, rate: self.meter.rate(within), sent, lost, delay, ..Figures::default() }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.stopped).then(|| self.begun + EVERY * self.bursts)
    }

    pub(super) fn handle_timeout(&mut self, network: &mut Network<'_>) {
        let now = network.now();
        self.bursts += 1;
        let due = u128::from(self.per_second) * now.since(self.begun).as_micros() / 1_000_000;
        while u128::from(self.sent) < due {
            self.sent += 1;
            let port = any_port(&mut self.rng);
            let (from, id) = (self.from, self.id);
            network.send(from, Route::Tunnel, |packet| syn(packet, from, id, port, now));
        }
    }

    pub(super) fn handle(&mut self, delivery: &Delivery) {
        let Some(stamp) = delivery.head().get(STAMP..).and_then(<[u8]>::first_chunk) else { return };
        let sent = Instant::from_micros(u64::from_be_bytes(*stamp));
        let at = delivery.at.since(START);
        self.meter.note(delivery.len as u64, at);
        self.latencies.note(at, delivery.at.since(sent));
        self.arrived.note(sent.since(START), Duration::ZERO);
    }

    pub(super) const fn stop(&mut self) {
        self.stopped = true;
    }
}

/// Appends a SYN. Its time of sending stands in the place of the timestamp option's values, which nobody reads.
fn syn(packet: &mut Vec<u8>, from: End, id: u16, port: u16, now: Instant) {
    let start = packet.len();
    let len = u16::try_from(SYN_LEN).unwrap_or(0).to_be_bytes();
    let [id, port] = [id, port].map(u16::to_be_bytes);
    packet.extend_from_slice(&[0x45, 0, len[0], len[1], id[0], id[1], 0x40, 0, 64, 6, 0, 0]);
    packet.extend_from_slice(&[10, 0, 0, host(from), 10, 0, 0, host(1 - from)]);
    let sum = checksum(&packet[start..]).to_be_bytes();
    packet[start + 10..start + 12].copy_from_slice(&sum);
    packet.extend_from_slice(&[port, SERVER_PORT.to_be_bytes()].concat());
    packet.resize(start + SYN_LEN, 0);
    // 40 bytes of header.
    packet[start + 32] = 0xa0;
    packet[start + 33] = FLAG_SYN;
    packet[start + STAMP..start + STAMP + 8].copy_from_slice(&now.as_micros().to_be_bytes());
}
