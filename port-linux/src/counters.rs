//! What a tunnel counts and measures: every number of a [`Report`](crate::report::Report) in one table, with what people are told of
//! it. `mpt status`, the metrics and docs/operations.md take their words from here; the names are those of the JSON.
//!
//! A number that is new in the report gets a line here and one in docs/operations.md: tests ask for both. A metric and its labels
//! follow from the line.

mod words;

pub use words::{
    CONNECTION_DROPS, DOWN_REASONS, LIMITS, MODE_REASONS, NOT_SENT, PHASES, TUNNEL_DROPS, Word, meaning,
};

use crate::data::DataReport;
use crate::portal::Access;
use crate::report::{
    ConnectionReport, ModelReport, PathReport, RoamingReport, SocketReport, State, TunnelReport,
};

/// How a number changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from zero at the start of mpt or of what it belongs to.
    Counter,
    /// It is how things are now.
    Gauge,
}

/// What a number is a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things, as the help says.
    Number,
    /// Bytes.
    Bytes,
    /// Bits a second.
    BitsPerSecond,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// 1 for yes, 0 for no.
    YesOrNo,
}

impl Unit {
    /// The unit of its metric, the end of the metric's name: the base unit, as Prometheus wants it.
    pub fn of_metric(self) -> Option<&'static str> {
        match self {
            Self::Number | Self::YesOrNo => None,
            Self::Bytes => Some("bytes"),
            Self::BitsPerSecond => Some("bytes_per_second"),
            Self::Milliseconds | Self::Microseconds => Some("seconds"),
        }
    }

    /// A value of the report in the unit of its metric.
    #[allow(clippy::cast_precision_loss, reason = "of times and rates, which are not exact")]
    pub fn to_metric(self, value: u64) -> f64 {
        let value = value as f64;
        match self {
            Self::Number | Self::YesOrNo | Self::Bytes => value,
            Self::BitsPerSecond => value / 8.0,
            Self::Milliseconds => value / 1e3,
            Self::Microseconds => value / 1e6,
        }
    }
}

/// One number of a report's part `R`.
#[derive(Debug, Clone, Copy)]
pub struct Figure<R: 'static> {
    /// Where it is in the JSON of that part, such as `counters.tx_bytes`.
    pub field: &'static str,
    /// Its metric's name without what all of the part begin with, and without unit and `_total`.
    pub metric: &'static str,
    /// How it changes.
    pub kind: Kind,
    /// What it is a number of.
    pub unit: Unit,
    /// What it is, as a sentence without its full stop.
    pub help: &'static str,
    /// The words behind the number in `mpt status`, where it stands among those that are shown when they are not zero.
    pub shown: Option<&'static str>,
    /// Its value; `None`: there is none now.
    pub value: fn(&R) -> Option<u64>,
}

impl<R> Figure<R> {
    const fn counter(
        field: &'static str,
        metric: &'static str,
        help: &'static str,
        value: fn(&R) -> Option<u64>,
    ) -> Self {
        Self { field, metric, kind: Kind::Counter, unit: Unit::Number, help, shown: None, value }
    }

    const fn gauge(
        field: &'static str,
        metric: &'static str,
        help: &'static str,
        value: fn(&R) -> Option<u64>,
    ) -> Self {
        Self { field, metric, kind: Kind::Gauge, unit: Unit::Number, help, shown: None, value }
    }

    const fn in_unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    const fn shown(mut self, words: &'static str) -> Self {
        self.shown = Some(words);
        self
    }

    /// Those of `figures` that `mpt status` shows in words, as `3 lost on the way`, where they are not zero.
    pub fn in_words(figures: &[Self], of: &R) -> Vec<String> {
        let shown = figures.iter().filter_map(|figure| Some((figure, figure.shown?)));
        let counted = shown.filter_map(|(figure, words)| Some(((figure.value)(of)?, words)));
        counted.filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}")).collect()
    }
}

type OfTunnel = Figure<TunnelReport>;
type OfConnection = Figure<ConnectionReport>;
type OfPath = Figure<PathReport>;

/// Of the tunnel interface.
pub static TUNNEL: [OfTunnel; 3] = [
    OfTunnel::gauge("mtu", "mtu", "Largest packet that the tunnel interface takes", |t| Some(t.mtu.into()))
        .in_unit(Unit::Bytes),
    OfTunnel::gauge("uptime_ms", "uptime", "Time since the tunnel was made", |t| Some(t.uptime_ms))
        .in_unit(Unit::Milliseconds),
    OfTunnel::counter(
        "clock_steps",
        "clock_steps",
        "Times the system's clock was set by a tenth of a second or more",
        |t| Some(t.clock_steps),
    ),
];

/// Of a connection. Packets are inner packets, without mpt's headers.
pub static CONNECTION: [OfConnection; 27] = [
    OfConnection::gauge("used", "used", "Whether packets take this connection; there only where one stands by", |c| {
        c.used.map(u64::from)
    })
    .in_unit(Unit::YesOrNo),
    OfConnection::gauge("peer_is_mpt", "peer_is_mpt", "Whether the peer has said that it is an mpt", |c| {
        Some(c.peer_is_mpt.into())
    })
    .in_unit(Unit::YesOrNo),
    OfConnection::gauge(
        "seal.keys_age_ms",
        "keys_age",
        "Time since the handshake that gave the keys in use; absent while there are none",
        |c| c.seal.as_ref()?.keys_age_ms,
    )
    .in_unit(Unit::Milliseconds),
    OfConnection::counter("seal.handshakes", "handshakes", "Handshakes that gave keys", |c| {
        Some(c.seal.as_ref()?.handshakes.into())
    }),
    OfConnection::gauge("limit_bps", "limit", "Most that each direction may carry; absent without a limit", |c| {
        c.limit_bps
    })
    .in_unit(Unit::BitsPerSecond),
    OfConnection::gauge(
        "uplink_share_bps",
        "uplink_share",
        "What the peer's turns at listen.uplink come to; absent where it does not wait for them",
        |c| c.uplink_share_bps,
    )
    .in_unit(Unit::BitsPerSecond),
    OfConnection::gauge(
        "downlink_share_bps",
        "downlink_share",
        "Most that the peer is told to send, of listen.downlink; absent where it sends nothing",
        |c| c.downlink_share_bps,
    )
    .in_unit(Unit::BitsPerSecond),
    OfConnection::gauge(
        "asked_bps",
        "asked",
        "Most that the peer asks for, as it shares its access among its peers",
        |c| c.asked_bps,
    )
    .in_unit(Unit::BitsPerSecond),
    OfConnection::gauge("memory_bytes", "memory", "Memory for packets to be sent under policy adaptive", |c| {
        c.memory_bytes
    })
    .in_unit(Unit::Bytes),
    OfConnection::counter(
        "worse_than_best_ms",
        "worse_than_best",
        "Time in which all paths delivered less than the best one alone could, although packets waited",
        |c| Some(c.worse_than_best_ms),
    )
    .in_unit(Unit::Milliseconds),
    OfConnection::counter("counters.tx_packets", "tx_packets", "Packets taken for sending", |c| {
        Some(c.counters.tx_packets)
    }),
    OfConnection::counter("counters.tx_bytes", "tx", "Bytes of packets taken for sending", |c| {
        Some(c.counters.tx_bytes)
    })
    .in_unit(Unit::Bytes),
    OfConnection::counter("counters.tx_no_path", "tx_no_path", "Packets not sent as no path was up", |c| {
        Some(c.counters.tx_no_path)
    })
    .shown("not sent as no path was up"),
    OfConnection::counter(
        "counters.tx_limited",
        "tx_limited",
        "Packets not sent as there were more than the limit allows, and no queue to wait in",
        |c| Some(c.counters.tx_limited),
    )
    .shown("not sent as more than the limit"),
    OfConnection::counter(
        "counters.tx_too_large",
        "tx_too_large",
        "Packets not sent as they fit no path, and the peer puts no fragments together",
        |c| Some(c.counters.tx_too_large),
    )
    .shown("not sent as too large"),
    OfConnection::counter("counters.tx_fragments", "tx_fragments", "Fragments sent", |c| {
        Some(c.counters.tx_fragments)
    })
    .shown("fragments sent"),
    OfConnection::counter(
        "counters.tx_dropped",
        "tx_dropped",
        "Packets dropped while they waited to be sent, to keep the queue short, and acknowledgements that a later one replaced there",
        |c| Some(c.counters.tx_dropped),
    )
    .shown("dropped to keep the queue short"),
    OfConnection::counter(
        "counters.tx_marked",
        "tx_marked",
        "Packets marked as having met congestion while they waited to be sent, instead of being dropped",
        |c| Some(c.counters.tx_marked),
    )
    .shown("marked to keep the queue short"),
    OfConnection::counter("counters.tx_resent", "tx_resent", "Packets sent again, as a path lost them or died", |c| {
        Some(c.counters.tx_resent)
    })
    .shown("sent again"),
    OfConnection::counter(
        "counters.tx_copies",
        "tx_copies",
        "Packets that left with a copy on another path beside them, as a class protects them",
        |c| Some(c.counters.tx_copies),
    )
    .shown("sent with a copy"),
    OfConnection::counter("counters.rx_packets", "rx_packets", "Packets received and handed on", |c| {
        Some(c.counters.rx_packets)
    }),
    OfConnection::counter("counters.rx_bytes", "rx", "Bytes of packets received and handed on", |c| {
        Some(c.counters.rx_bytes)
    })
    .in_unit(Unit::Bytes),
    OfConnection::counter("counters.rx_held", "rx_held", "Packets received that came early and waited for others", |c| {
        Some(c.counters.rx_held)
    })
    .shown("came early and waited"),
    OfConnection::counter("counters.rx_lost", "rx_lost", "Packets given up, as they did not come in time", |c| {
        Some(c.counters.rx_lost)
    })
    .shown("lost on the way"),
    OfConnection::counter("counters.rx_reassembled", "rx_reassembled", "Packets put together from fragments", |c| {
        Some(c.counters.rx_reassembled)
    })
    .shown("put together from fragments"),
    OfConnection::counter(
        "counters.rx_restarts",
        "rx_restarts",
        "Times the numbering of packets began anew, as the peer did, or as numbers that were not the peer's had moved it",
        |c| Some(c.counters.rx_restarts),
    )
    .shown("restarts of the peer"),
    OfConnection::counter("counters.rx_bad_reports", "rx_bad_reports", "Reports of the peer that cannot be true", |c| {
        Some(c.counters.rx_bad_reports)
    })
    .shown("reports that cannot be true"),
];

/// Of a path. Datagrams are those of all kinds, their bytes UDP payloads without the seal.
pub static PATH: [OfPath; 38] = [
    OfPath::gauge("state", "up", "Whether packets may take the path", |p| {
        Some((p.state == State::Up).into())
    })
    .in_unit(Unit::YesOrNo),
    OfPath::gauge("rtt_us", "rtt", "Round-trip time, smoothed; absent until it is known", |p| p.rtt_us)
        .in_unit(Unit::Microseconds),
    OfPath::gauge(
        "weight",
        "weight",
        "The path's weight, which counts where packets are sent by weight",
        |p| Some(p.weight.into()),
    ),
    OfPath::gauge(
        "rank",
        "rank",
        "The path's rank under policy backup: the lowest that is up is used",
        |p| Some(p.rank.into()),
    ),
    OfPath::gauge("tier", "configured_tier", "The path's tier in the configuration", |p| {
        (p.tier != 0).then_some(p.tier.into())
    }),
    OfPath::gauge(
        "ceiling",
        "ceiling",
        "Largest UDP payload that the path's interface, or mtu, allows",
        |p| (p.ceiling != 0).then_some(p.ceiling.into()),
    )
    .in_unit(Unit::Bytes),
    OfPath::gauge(
        "seeks_size",
        "seeks_size",
        "Whether the size that the path carries is being looked for",
        |p| Some(p.seeks_size.into()),
    )
    .in_unit(Unit::YesOrNo),
    OfPath::gauge("socket.receive_buffer", "receive_buffer", "Bytes that may wait to be received", |p| {
        socket(p, |s| s.receive_buffer)
    })
    .in_unit(Unit::Bytes),
    OfPath::gauge("socket.send_buffer", "send_buffer", "Bytes that may wait to leave", |p| {
        socket(p, |s| s.send_buffer)
    })
    .in_unit(Unit::Bytes),
    OfPath::gauge(
        "socket.wanted_buffer",
        "wanted_buffer",
        "Bytes of either buffer that were asked for",
        |p| socket(p, |s| s.wanted_buffer),
    )
    .in_unit(Unit::Bytes),
    OfPath::gauge(
        "socket.segments",
        "segments",
        "Most datagrams that may leave in one call; 1 where the kernel or the interface cannot cut",
        |p| socket(p, |s| s.segments),
    ),
    OfPath::gauge("data.size_bytes", "data_plan", "Bytes of the path's data plan", |p| {
        data(p, |d| Some(d.size_bytes))
    })
    .in_unit(Unit::Bytes),
    OfPath::gauge("data.used_bytes", "data_used", "Bytes of the data plan that are used", |p| {
        data(p, |d| Some(d.used_bytes))
    })
    .in_unit(Unit::Bytes),
    OfPath::gauge(
        "data.renews_at",
        "data_renews_at",
        "When the next month of the data plan begins, in seconds since 1970",
        |p| data(p, |d| d.renews_at),
    ),
    OfPath::gauge(
        "access.captive",
        "captive",
        "Whether the API of the path's network says that it wants a login",
        |p| access(p, |a| Some(a.captive.into())),
    )
    .in_unit(Unit::YesOrNo),
    OfPath::gauge(
        "access.seconds_left",
        "access_left_seconds",
        "Seconds until the network wants a login again",
        |p| access(p, |a| a.seconds_left),
    ),
    OfPath::gauge("access.bytes_left", "access_left", "Bytes until the network wants a login again", |p| {
        access(p, |a| a.bytes_left)
    })
    .in_unit(Unit::Bytes),
    OfPath::gauge("max_datagram", "max_datagram", "Largest UDP payload that the path carries", |p| {
        Some(p.max_datagram.into())
    })
    .in_unit(Unit::Bytes),
    OfPath::gauge(
        "model.tier",
        "tier",
        "The path's tier: a higher one is used when those below are full or down",
        |p| model(p, |m| m.tier.into()),
    ),
    OfPath::gauge(
        "model.rate",
        "rate",
        "What the path carries to the peer, as measured, headers included",
        |p| model(p, |m| m.rate),
    )
    .in_unit(Unit::BitsPerSecond),
    OfPath::gauge(
        "model.extra_delay_us",
        "extra_delay",
        "Delay towards the peer beyond that of the fastest path, without queues",
        |p| model(p, |m| m.extra_delay_us.into()),
    )
    .in_unit(Unit::Microseconds),
    OfPath::gauge("model.queue_us", "queue", "Delay that a queue on the way to the peer adds", |p| {
        model(p, |m| m.queue_us.into())
    })
    .in_unit(Unit::Microseconds),
    OfPath::gauge(
        "model.jitter_us",
        "jitter",
        "Standard deviation of the delay towards the peer while there is no queue",
        |p| model(p, |m| m.jitter_us.into()),
    )
    .in_unit(Unit::Microseconds),
    OfPath::counter("model.lost", "lost", "Datagrams that did not arrive at the peer", |p| {
        model(p, |m| m.lost)
    }),
    OfPath::counter(
        "model.resent",
        "resent",
        "Packets that left on the path and had left before: repairs and copies",
        |p| model(p, |m| m.resent),
    ),
    OfPath::gauge("model.open", "open", "Whether the path carries packets that are kept in order", |p| {
        model(p, |m| m.open.into())
    })
    .in_unit(Unit::YesOrNo),
    OfPath::gauge("model.suspect", "suspect", "Whether the path seems to have stopped to deliver", |p| {
        model(p, |m| m.suspect.into())
    })
    .in_unit(Unit::YesOrNo),
    OfPath::counter(
        "tx_datagrams",
        "tx_datagrams",
        "Datagrams handed out for sending, mpt's own messages included",
        |p| Some(p.tx_datagrams),
    ),
    OfPath::counter("tx_bytes", "tx", "Bytes of datagrams handed out for sending", |p| Some(p.tx_bytes))
        .in_unit(Unit::Bytes),
    OfPath::counter("rx_datagrams", "rx_datagrams", "Datagrams that arrived and were not dropped", |p| {
        Some(p.rx_datagrams)
    }),
    OfPath::counter("rx_bytes", "rx", "Bytes of datagrams that arrived and were not dropped", |p| {
        Some(p.rx_bytes)
    })
    .in_unit(Unit::Bytes),
    OfPath::counter("probes", "probes", "Probes sent, to see whether the path lives", |p| Some(p.probes)),
    OfPath::counter("echoes", "echoes", "Echoes of probes that came back", |p| Some(p.echoes)),
    OfPath::counter("downs", "downs", "Times the path went down after it had been up", |p| Some(p.downs)),
    OfPath::counter(
        "roaming.challenges",
        "roaming_challenges",
        "Questions to addresses that said to be the peer's, whether they are",
        |p| roaming(p, |r| r.challenges),
    ),
    OfPath::counter(
        "roaming.moves",
        "roaming_moves",
        "Times the path followed its peer to another address",
        |p| roaming(p, |r| r.moves),
    )
    .shown("times its peer was found at another address"),
    OfPath::counter(
        "roaming.unproven",
        "roaming_unproven",
        "Addresses that said to be the peer's, and did not prove it in time",
        |p| roaming(p, |r| r.unproven),
    )
    .shown("addresses that did not prove to be its peer's"),
    OfPath::counter(
        "roaming.kept",
        "roaming_kept",
        "Addresses that proved to be the peer's while it still answered at the one before",
        |p| roaming(p, |r| r.kept),
    )
    .shown("addresses that did while its peer was still at the old one"),
];

fn model(path: &PathReport, value: fn(&ModelReport) -> u64) -> Option<u64> {
    path.model.as_ref().map(value)
}

fn socket(path: &PathReport, value: fn(&SocketReport) -> u64) -> Option<u64> {
    path.socket.as_ref().map(value)
}

fn data(path: &PathReport, value: fn(&DataReport) -> Option<u64>) -> Option<u64> {
    path.data.as_ref().and_then(value)
}

fn access(path: &PathReport, value: fn(&Access) -> Option<u64>) -> Option<u64> {
    path.access.as_ref().and_then(value)
}

fn roaming(path: &PathReport, value: fn(&RoamingReport) -> u64) -> Option<u64> {
    path.roaming.as_ref().map(value)
}

#[cfg(all(test, feature = "program"))]
mod document;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
