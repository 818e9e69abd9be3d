//! Media over UDP: frames at a steady pace, each a packet or a burst of them, in one or both directions.

use std::ops::Range;
use std::time::Duration;

use mpt_proto::Instant;

use super::datagram::{Datagram, Lead};
use super::network::{Delivery, Network, Route, host, id};
use super::series::{Latencies, Meter};
use super::traffic::{DEADLINES, Figures};
use super::udp::sent_within;
use crate::joined::{End, START};
use crate::tcp_model::Ranges;

/// A frame that is not complete after this is not shown: ITU-T G.114 allows conversations 150 ms one way.
const FRAME_DEADLINE: Duration = Duration::from_millis(150);
/// A packet that takes longer than the median by this is late: a jitter buffer of 60 ms, as is usual for speech, has no
/// more.
const JITTER_BUFFER: Duration = Duration::from_millis(60);

/// What one direction of a medium sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shape {
    pub(super) lead: Lead,
    /// From a frame to the next.
    pub(super) every: Duration,
    /// Bytes of a frame's packets.
    pub(super) frame_len: usize,
    /// Bytes of a packet at most.
    pub(super) packet_len: usize,
    /// Frames from one key frame to the next, and a key frame's size to that of another frame.
    pub(super) key: Option<(u64, usize)>,
}

/// One direction of a medium.
#[derive(Debug)]
pub(super) struct Leg {
    from: End,
    ports: [u16; 2],
    shape: Shape,
    begun: Instant,
    frames: Vec<Frame>,
    /// When each packet was sent.
    sent: Vec<Instant>,
    arrived: Ranges,
    newest: u64,
    overtaken: u64,
    meter: Meter,
    latencies: Latencies,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    /// Its first packet's number.
    first: u64,
    sent: Instant,
    /// Packets that have not arrived.
    missing: u64,
    /// What it took until it was complete.
    took: Duration,
}

impl Leg {
    /// A direction from an end; its first frame leaves `after` behind `now`.
    pub(super) fn new(from: End, ports: [u16; 2], shape: Shape, now: Instant, after: Duration) -> Self {
        Self {
            from,
            ports,
            shape,
            begun: now + after,
            frames: Vec::new(),
            sent: Vec::new(),
            arrived: Ranges::default(),
            newest: 0,
            overtaken: 0,
            meter: Meter::default(),
            latencies: Latencies::default(),
        }
    }

    fn next_frame(&self) -> Instant {
        let count = u32::try_from(self.frames.len()).unwrap_or(u32::MAX);
        self.begun + self.shape.every * count
    }

    fn send_frame(&mut self, application: u16, network: &mut Network<'_>) {
        let Shape { lead, frame_len, packet_len, key, .. } = self.shape;
        let number = self.frames.len() as u64;
        let times = key.filter(|(each, _)| number.is_multiple_of(*each)).map_or(1, |(_, times)| times);
        let (len, sent) = (frame_len * times, network.now());
        let count = len.div_ceil(packet_len);
        let first = self.sent.len() as u64;
        self.frames.push(Frame { first, sent, missing: count as u64, took: Duration::ZERO });
        let hosts = [host(self.from), host(1 - self.from)];
        for serial in (first..).take(count) {
            let datagram = Datagram { hosts, ports: self.ports, id: application, lead, serial, sent };
            self.sent.push(sent);
            // All packets of a frame are about as long.
            network.send(self.from, Route::Tunnel, |packet| datagram.write(packet, len / count));
        }
    }

    fn take(&mut self, datagram: Datagram, delivery: &Delivery) {
        if !self.arrived.insert(datagram.serial) {
            return;
        }
        self.overtaken += u64::from(datagram.serial < self.newest);
        self.newest = self.newest.max(datagram.serial);
        let at = delivery.at.since(START);
        self.meter.note(delivery.len as u64, at);
        self.latencies.note(at, delivery.at.since(datagram.sent));
        let after = self.frames.partition_point(|frame| frame.first <= datagram.serial);
        if let Some(frame) = after.checked_sub(1).and_then(|index| self.frames.get_mut(index)) {
            frame.missing -= 1;
            frame.took = delivery.at.since(frame.sent);
        }
    }

    fn figures(&self, called: String, within: &Range<Duration>) -> Figures {
        let numbers = sent_within(&self.sent, within);
        let mut lost = 0;
        self.arrived.absent(numbers.clone(), |_| lost += 1);
        let delay = [50, 95, 99].map(|hundredths| self.latencies.percentile(hundredths, within));
        let frames: Vec<_> =
            self.frames.iter().filter(|frame| within.contains(&frame.sent.since(START))).collect();
        let complete = frames.iter().filter(|it| it.missing == 0 && it.took <= FRAME_DEADLINE).count();
        let has_frames = self.shape.frame_len > self.shape.packet_len;
        Figures {
            called,
            rate: self.meter.rate(within),
            sent: numbers.end - numbers.start,
            lost,
            late: self.latencies.count_above(delay[0] + JITTER_BUFFER, within) as u64,
            beyond: DEADLINES.map(|deadline| lost + self.latencies.count_above(deadline, within) as u64),
            overtaken: self.overtaken,
            delay,
            frames: has_frames.then_some([complete as u64, frames.len() as u64]),
        }
    }
}

/// Legs that begin and end together.
#[derive(Debug)]
pub(super) struct Media {
    id: u16,
    legs: Vec<Leg>,
    stopped: bool,
}

impl Media {
    pub(super) fn new(index: usize, legs: Vec<Leg>) -> Self {
        Self { id: id(index), legs, stopped: false }
    }

    /// What became of each direction, by a name.
    pub(super) fn figures(&self, names: &[&str], within: &Range<Duration>) -> Vec<Figures> {
        self.legs.iter().zip(names).map(|(leg, name)| leg.figures((*name).to_string(), within)).collect()
    }

    /// What became of all legs together: the worst delays, and the sum of all else.
    pub(super) fn together(&self, called: String, within: &Range<Duration>) -> Figures {
        let each = self.legs.iter().map(|leg| leg.figures(String::new(), within));
        let none = Figures { called, ..Figures::default() };
        each.fold(none, |sum, leg| Figures {
            rate: sum.rate + leg.rate,
            sent: sum.sent + leg.sent,
            lost: sum.lost + leg.lost,
            late: sum.late + leg.late,
            beyond: std::array::from_fn(|index| sum.beyond[index] + leg.beyond[index]),
            overtaken: sum.overtaken + leg.overtaken,
            delay: std::array::from_fn(|index| sum.delay[index].max(leg.delay[index])),
            ..sum
        })
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.legs.iter().map(Leg::next_frame).min().filter(|_| !self.stopped)
    }

    pub(super) fn handle_timeout(&mut self, network: &mut Network<'_>) {
        let (application, now) = (self.id, network.now());
        for leg in &mut self.legs {
            while leg.next_frame() <= now {
                leg.send_frame(application, network);
            }
        }
    }

    pub(super) fn handle(&mut self, delivery: &Delivery) {
        for leg in self.legs.iter_mut().filter(|leg| leg.from != delivery.end) {
            if let Some(datagram) = Datagram::read(delivery.head(), leg.shape.lead)
                && datagram.ports == leg.ports
            {
                leg.take(datagram, delivery);
                return;
            }
        }
    }

    pub(super) const fn stop(&mut self) {
        self.stopped = true;
    }
}
