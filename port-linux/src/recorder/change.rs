//! What seldom enters the core, written out in a recording: calls of people, of links and of the loop's own measures.

use mpt_proto::{Liveness, PathConfig};
use serde::{Deserialize, Serialize};

/// A call of the core. Their order is that of the file's format: what is new comes last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// [`add_path`](mpt_proto::Connection::add_path).
    AddPath {
        /// Its name in the configuration.
        name: String,
        /// What it was added with.
        settings: PathSettings,
    },
    /// [`remove_path`](mpt_proto::Connection::remove_path).
    RemovePath(u8),
    /// [`set_enabled`](mpt_proto::Connection::set_enabled).
    Enabled {
        /// Which path.
        path: u8,
        /// Whether it is used from now on.
        enabled: bool,
    },
    /// [`handle_link`](mpt_proto::Connection::handle_link).
    Link {
        /// Of which path.
        path: u8,
        /// Whether it works.
        is_up: bool,
    },
    /// [`set_max_datagram`](mpt_proto::Connection::set_max_datagram).
    MaxDatagram {
        /// Of which path.
        path: u8,
        /// Bytes.
        size: u16,
    },
    /// [`take_carried`](mpt_proto::Connection::take_carried).
    TakeCarried(u8),
    /// [`probe`](mpt_proto::Connection::probe).
    Probe(u8),
    /// [`challenge`](mpt_proto::Connection::challenge).
    Challenge {
        /// On which path.
        path: u8,
        /// What it carries.
        stamp: u32,
    },
    /// [`set_limit`](mpt_proto::Connection::set_limit), in bytes a second.
    Limit(u64),
    /// [`set_turn`](mpt_proto::Connection::set_turn).
    Turn(bool),
    /// [`set_share`](mpt_proto::Connection::set_share), in bytes a second.
    Share(Option<u32>),
    /// [`ask`](mpt_proto::Connection::ask), in bytes a second.
    Ask(Option<u32>),
    /// [`set_tier`](mpt_proto::Connection::set_tier).
    Tier {
        /// Of which path.
        path: u8,
        /// Its tier.
        tier: u8,
    },
    /// [`pin_flow`](mpt_proto::Connection::pin_flow).
    PinFlow {
        /// Source and destination.
        ports: (u16, u16),
        /// To which path.
        path: u8,
        /// Until when, in microseconds.
        until: u64,
    },
    /// [`search_size`](mpt_proto::Connection::search_size).
    SearchSize {
        /// Of which path.
        path: u8,
        /// Bytes that pass in any case.
        least: u16,
        /// Of the stamps of its probes.
        seed: u64,
    },
    /// [`handle_unsent`](mpt_proto::Connection::handle_unsent).
    Unsent {
        /// On which path.
        path: u8,
        /// For its size.
        is_too_large: bool,
    },
}

/// What a path is added with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PathSettings {
    weight: u16,
    rank: u8,
    tier: u8,
    max_datagram: u16,
    /// Microseconds of [`Probing`](mpt_proto::Probing); `None`: it is not probed.
    probing: Option<[u64; 3]>,
}

impl From<PathConfig> for PathSettings {
    fn from(config: PathConfig) -> Self {
        let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let probing = match config.liveness {
            Liveness::Off => None,
            Liveness::Probe(probing) => Some([probing.interval, probing.idle, probing.dead].map(micros)),
        };
        let PathConfig { weight, rank, tier, max_datagram, .. } = config;
        Self { weight, rank, tier, max_datagram, probing }
    }
}

impl From<PathSettings> for PathConfig {
    fn from(settings: PathSettings) -> Self {
        let probe = |times: [u64; 3]| {
            let [interval, idle, dead] = times.map(std::time::Duration::from_micros);
            Liveness::Probe(mpt_proto::Probing { interval, idle, dead })
        };
        let liveness = settings.probing.map_or(Liveness::Off, probe);
        let PathSettings { weight, rank, tier, max_datagram, .. } = settings;
        Self { weight, rank, tier, max_datagram, liveness }
    }
}
