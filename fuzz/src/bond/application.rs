//! What uses a bond.

use mpt_proto::Instant;

use super::flood::Flood;
use super::flow::Flow;
use super::lookup::Lookup;
use super::media::Media;
use super::network::{Delivery, Network};
use super::udp::{Ping, Stream};

/// One application, with both of its ends.
#[derive(Debug)]
pub(super) enum Application {
    Flow(Box<Flow>),
    Stream(Stream),
    Ping(Ping),
    Media(Media),
    Lookup(Lookup),
    Flood(Flood),
}

impl Application {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Flow(flow) => flow.poll_timeout(),
            Self::Stream(stream) => stream.poll_timeout(),
            Self::Ping(ping) => ping.poll_timeout(),
            Self::Media(media) => media.poll_timeout(),
            Self::Lookup(lookup) => lookup.poll_timeout(),
            Self::Flood(flood) => flood.poll_timeout(),
        }
    }

    pub(super) fn handle_timeout(&mut self, network: &mut Network<'_>) {
        match self {
            Self::Flow(flow) => flow.handle_timeout(network),
            Self::Stream(stream) => stream.handle_timeout(network),
            Self::Ping(ping) => ping.handle_timeout(network),
            Self::Media(media) => media.handle_timeout(network),
            Self::Lookup(lookup) => lookup.handle_timeout(network),
            Self::Flood(flood) => flood.handle_timeout(network),
        }
    }

    pub(super) fn handle(&mut self, delivery: &Delivery, network: &mut Network<'_>) {
        match self {
            Self::Flow(flow) => flow.handle(delivery, network),
            Self::Stream(stream) => stream.handle(delivery),
            Self::Ping(ping) => ping.handle(delivery, network),
            Self::Media(media) => media.handle(delivery),
            Self::Lookup(lookup) => lookup.handle(delivery, network),
            Self::Flood(flood) => flood.handle(delivery),
        }
    }

    pub(super) fn stop(&mut self) {
        match self {
            Self::Flow(flow) => flow.stop(),
            Self::Stream(stream) => stream.stop(),
            Self::Ping(ping) => ping.stop(),
            Self::Media(media) => media.stop(),
            Self::Lookup(lookup) => lookup.stop(),
            Self::Flood(flood) => flood.stop(),
        }
    }
}
