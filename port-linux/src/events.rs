//! What happened to the tunnel, its connections and their paths: one list, from which the log line, the hooks and the JSON are made.
//!
//! The loop notes each event in its [`Journal`], which keeps the last ones and hands each to who observes it.

mod journal;
mod sentence;

pub use journal::Journal;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use mpt_proto::LimitedBy;
use serde::{Deserialize, Serialize};

pub use crate::event_names::NAMES;
use crate::portal::{Address, By};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts from 1 at the start of mpt; a gap means that some were not kept.
    pub number: u64,
    /// Milliseconds since mpt started.
    pub uptime_ms: u64,
    /// Milliseconds since 1970, by the system's clock.
    pub time_ms: u64,
    /// How much it matters.
    pub level: Level,
    /// The connection's name, unless it happened to all of the tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// The path's name, if it happened to a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What happened, by its name in `event`, with what belongs to it.
    #[serde(flatten)]
    pub what: What,
    /// The log line.
    pub text: String,
}

impl fmt::Display for Event {
    /// The log line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Good to know.
    Info,
    /// Somebody may have to do something.
    Warning,
}

/// What happened. Names, as [`name`](What::name) has them, and fields are stable; others may be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// Packets may take the path.
    PathUp,
    /// Packets may not take the path any more.
    PathDown {
        /// `disabled`, `link`, `unheard`, `silent`, `deaf`.
        reason: String,
        /// The reason, for people.
        why: String,
    },
    /// The path, which is down, waits for something of this machine.
    PathWaits {
        /// For what, as a sentence.
        why: String,
    },
    /// The path came while its connection went on.
    PathAdded,
    /// The path went while its connection went on.
    PathRemoved,
    /// The peer's end of the path is elsewhere.
    PathMoved {
        /// Where it is.
        to: SocketAddr,
        /// Where it was, if that was known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<SocketAddr>,
    },
    /// Something unusual limits the path, which is up.
    PathLimited {
        /// What it is.
        by: Limit,
    },
    /// That is over.
    PathFreed {
        /// What it was.
        by: Limit,
    },
    /// Packets leave without ECN marks on the path.
    EcnFault {
        /// What the path does to them.
        fault: EcnFault,
    },
    /// The path carries ECN marks again.
    EcnCarried,
    /// The first of the connection's paths came up.
    PeerUp,
    /// None of the connection's paths is up any more.
    PeerDown,
    /// The peer's mpt is another process than before.
    PeerStarted,
    /// What the peer sends is refused, as the two ends are set up otherwise: the first time of each reason.
    PeerRefused {
        /// Where it came from.
        from: SocketAddr,
        /// Why, as a sentence about the peer.
        why: String,
    },
    /// How packets are sent to the peer.
    Mode {
        /// `adaptive` or `weighted`.
        mode: String,
        /// Why it is not `adaptive`: `peer_cannot`, `no_memory`, `no_reports`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Packets take this connection instead of another one, as one of both stands by for the other.
    Standby {
        /// The other one.
        before: String,
        /// Whether the other one still answers: then this one comes first, and is back.
        is_back: bool,
        /// Seconds for which this one has answered, if it is back, or the other one has not.
        seconds: u64,
    },
    /// For some seconds, all paths together have delivered less than the best one alone could, although packets waited.
    WorseThanBest {
        /// The best path's name.
        best: String,
        /// Bits a second that it could deliver, headers included.
        rate_bps: u64,
        /// Bits a second that all of them delivered.
        delivered_bps: u64,
        /// Why the best path carries no more, as in the status.
        limited_by: String,
    },
    /// That is over.
    AsGoodAsBest {
        /// Milliseconds that it took.
        ms: u64,
    },
    /// The path has used four fifths of its data plan.
    DataWarned {
        /// Bytes that are used.
        used_bytes: u64,
        /// Bytes of the plan.
        size_bytes: u64,
    },
    /// The path has used nine tenths of its data plan, and is used last from now on.
    DataDemoted {
        /// As in [`DataWarned`](Self::DataWarned).
        used_bytes: u64,
        /// As in [`DataWarned`](Self::DataWarned).
        size_bytes: u64,
    },
    /// The path's data plan is used up, and the path out of use.
    DataReached {
        /// As in [`DataWarned`](Self::DataWarned).
        used_bytes: u64,
        /// As in [`DataWarned`](Self::DataWarned).
        size_bytes: u64,
    },
    /// Less is used than before: a month has begun, or somebody said so.
    DataRenewed {
        /// As in [`DataWarned`](Self::DataWarned).
        used_bytes: u64,
        /// As in [`DataWarned`](Self::DataWarned).
        size_bytes: u64,
    },
    /// The system's clock does not say which month it is.
    DataClock {
        /// What about it, as a sentence.
        why: String,
    },
    /// The path's tier is another one by the time of day.
    TierChanged {
        /// That from now on, unless its data plan makes it the last one.
        tier: u8,
        /// That before.
        before: u8,
    },
    /// A login page of its network is, or may be, in the path's way.
    PathPortal {
        /// Its address.
        url: Address,
        /// How it was found: `http`, `dhcp`.
        by: By,
    },
    /// The tunnel interface has another MTU.
    TunnelMtu {
        /// The interface's name.
        interface: String,
        /// Bytes of the largest packet that it takes.
        mtu: u16,
        /// That before.
        before: u16,
    },
    /// The name of a peer cannot be resolved.
    NameUnknown {
        /// The name.
        name: String,
        /// Why, for people.
        why: String,
        /// Whether its last address is used meanwhile; otherwise its paths wait.
        has_address: bool,
    },
    /// The name of a peer has other addresses than before, or can be resolved again.
    NameKnown {
        /// The name.
        name: String,
        /// Its addresses, the best first.
        addresses: Vec<IpAddr>,
    },
    /// An event that this version does not know.
    #[serde(other)]
    Other,
}

/// What limits a path, where that is unusual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// It seems to have stopped to deliver.
    Outage,
    /// What exceeds a rate is dropped.
    Policer,
    /// Other traffic keeps its link's queue full.
    OtherTraffic,
}

impl Limit {
    /// If it is unusual.
    pub fn unusual(limit: LimitedBy) -> Option<Self> {
        match limit {
            LimitedBy::Outage => Some(Self::Outage),
            LimitedBy::Policer => Some(Self::Policer),
            LimitedBy::OtherTraffic => Some(Self::OtherTraffic),
            _ => None,
        }
    }
}

/// What a path does to datagrams with ECN marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "mpt_proto::EcnFault documents them")]
pub enum EcnFault {
    Lost,
    Cleared,
    AllMarked,
    Other,
}

impl From<mpt_proto::EcnFault> for EcnFault {
    fn from(fault: mpt_proto::EcnFault) -> Self {
        match fault {
            mpt_proto::EcnFault::Lost => Self::Lost,
            mpt_proto::EcnFault::Cleared => Self::Cleared,
            mpt_proto::EcnFault::AllMarked => Self::AllMarked,
            _ => Self::Other,
        }
    }
}

impl What {
    /// Its name, as JSON and the configuration have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PathUp => "path_up",
            Self::PathDown { .. } => "path_down",
            Self::PathWaits { .. } => "path_waits",
            Self::PathAdded => "path_added",
            Self::PathRemoved => "path_removed",
            Self::PathMoved { .. } => "path_moved",
            Self::PathLimited { .. } => "path_limited",
            Self::PathFreed { .. } => "path_freed",
            Self::EcnFault { .. } => "ecn_fault",
            Self::EcnCarried => "ecn_carried",
            Self::PeerUp => "peer_up",
            Self::PeerDown => "peer_down",
            Self::PeerStarted => "peer_started",
            Self::PeerRefused { .. } => "peer_refused",
            Self::Mode { .. } => "mode",
            Self::Standby { .. } => "standby",
            Self::WorseThanBest { .. } => "worse_than_best",
            Self::AsGoodAsBest { .. } => "as_good_as_best",
            Self::DataWarned { .. } => "data_warned",
            Self::DataDemoted { .. } => "data_demoted",
            Self::DataReached { .. } => "data_reached",
            Self::DataRenewed { .. } => "data_renewed",
            Self::DataClock { .. } => "data_clock",
            Self::TierChanged { .. } => "tier_changed",
            Self::PathPortal { .. } => "path_portal",
            Self::TunnelMtu { .. } => "tunnel_mtu",
            Self::NameUnknown { .. } => "name_unknown",
            Self::NameKnown { .. } => "name_known",
            Self::Other => "other",
        }
    }

    /// How much it matters.
    pub fn level(&self) -> Level {
        match self {
            // Somebody wanted it.
            Self::PathDown { reason, .. } if reason == "disabled" => Level::Info,
            Self::PathDown { .. } | Self::PeerDown | Self::EcnFault { .. } | Self::WorseThanBest { .. } => {
                Level::Warning
            }
            Self::PathLimited { by: Limit::Outage } => Level::Warning,
            Self::DataWarned { .. } | Self::DataDemoted { .. } | Self::DataReached { .. } => Level::Warning,
            Self::DataClock { .. } | Self::PathPortal { .. } => Level::Warning,
            Self::PeerRefused { .. } | Self::NameUnknown { .. } => Level::Warning,
            Self::Standby { is_back, .. } if !is_back => Level::Warning,
            _ => Level::Info,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One of each kind, in the order of [`NAMES`].
    pub(crate) fn one_of_each() -> Vec<What> {
        vec![
            What::PathUp,
            What::PathDown { reason: "silent".into(), why: "silent for 300 ms".into() },
            What::PathWaits { why: "the interface wwan0 is missing".into() },
            What::PathAdded,
            What::PathRemoved,
            What::PathMoved { to: ([192, 0, 2, 1], 4754).into(), from: None },
            What::PathLimited { by: Limit::Policer },
            What::PathFreed { by: Limit::Policer },
            What::EcnFault { fault: EcnFault::Cleared },
            What::EcnCarried,
            What::PeerUp,
            What::PeerDown,
            What::PeerStarted,
            What::PeerRefused { from: ([192, 0, 2, 1], 4754).into(), why: "sends in the clear".into() },
            What::Mode { mode: "weighted".into(), reason: Some("no_reports".into()) },
            What::Standby { before: "one".into(), is_back: false, seconds: 10 },
            What::WorseThanBest {
                best: "dsl".into(),
                rate_bps: 94_000_000,
                delivered_bps: 8_000_000,
                limited_by: "delay".into(),
            },
            What::AsGoodAsBest { ms: 21_000 },
            What::DataWarned { used_bytes: 40, size_bytes: 50 },
            What::DataDemoted { used_bytes: 45, size_bytes: 50 },
            What::DataReached { used_bytes: 50, size_bytes: 50 },
            What::DataRenewed { used_bytes: 0, size_bytes: 50 },
            What::DataClock { why: "the clock is 3650 days later".into() },
            What::TierChanged { tier: 1, before: 2 },
            What::PathPortal { url: Address::new(b"http://login.example/").unwrap(), by: By::Http },
            What::TunnelMtu { interface: "mpt0".into(), mtu: 1300, before: 1432 },
            What::NameUnknown { name: "a.example".into(), why: "no answer".into(), has_address: false },
            What::NameKnown { name: "a.example".into(), addresses: vec![[192, 0, 2, 1].into()] },
        ]
    }

    #[test]
    fn each_event_has_its_name_in_json_and_comes_back() {
        let names: Vec<&str> = one_of_each().iter().map(What::name).collect();
        assert_eq!(names, NAMES);
        for what in one_of_each() {
            let name = what.name();
            let text = what.sentence(Some("vps"), Some("lte"));
            let event = Event {
                number: 7,
                uptime_ms: 1_000,
                time_ms: 1_800_000_000_000,
                level: what.level(),
                connection: Some("vps".into()),
                path: Some("lte".into()),
                what,
                text,
            };
            let json = serde_json::to_value(&event).unwrap();
            assert_eq!(json["event"], name);
            assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
        }
    }

    #[test]
    fn an_event_of_a_later_version_is_read_with_its_text() {
        let line = r#"{"number":1,"uptime_ms":2,"time_ms":3,"level":"info","event":"moon_rose","phase":"full","text":"the moon rose"}"#;
        let event: Event = serde_json::from_str(line).unwrap();
        assert_eq!((event.what.name(), event.to_string()), ("other", "the moon rose".to_owned()));
    }
}
