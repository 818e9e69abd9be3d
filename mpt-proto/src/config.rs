//! What the caller decides: one [`Config`] per connection, one [`PathConfig`] per path.

use core::time::Duration;

use crate::adaptive::ClassRules;
use crate::reorder::ReorderConfig;
use crate::schedule::{Pins, Policy};

/// How a connection behaves. Both ends must agree on [`key`](Config::key); all else is each end's own.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Config {
    /// Seed of everything random: the instance number in control messages and the jitter of probes.
    /// Two runs with the same seed and the same inputs do the same. A port seeds it from the system.
    pub seed: u64,
    /// What flows are told apart by is hashed with, together with [`seed`](Self::seed). Who knows both finds out addresses from hashes: a
    /// port that tells others the one keeps the other to itself.
    pub flow_seed: u64,
    /// GRE key (RFC 2890 section 2.1). When set, it is sent, and a datagram without it or with another
    /// one is dropped (RFC 8086 section 3.3). It separates connections; it is not a secret.
    pub key: Option<u32>,
    /// Sends the GRE checksum (RFC 2784 section 2.4). A checksum that arrives is always verified. Wasteful
    /// over UDP with checksums, where RFC 8086 section 3.3 prefers the UDP one.
    pub checksum: bool,
    /// Sends sequence numbers (RFC 2890 section 2.2). The peer needs them to restore order.
    pub sequence: bool,
    /// Which path a packet takes.
    pub policy: Policy,
    /// Ports whose traffic is pinned to a path, whatever the policy (the original's `tcp_dst` and others).
    pub pins: Pins,
    /// How the receiver restores order.
    pub reorder: ReorderConfig,
    /// Sends packets that a path lost again, on the path that delivers first. Only under [`Policy::Adaptive`].
    pub resend: bool,
    /// Keeps all UDP packets in order that are not sparse. Only under [`Policy::Adaptive`], which else does so with flows that carry
    /// bulk.
    pub order_udp: bool,
    /// How packets travel that a rule fits. Only under [`Policy::Adaptive`].
    pub classes: ClassRules,
    /// Most bytes of inner packets, or of slices of them, that are sent in a second; zero: no limit. Under [`Policy::Adaptive`] they wait
    /// their turn in its queue, else what is too much is dropped. See [`Connection::set_limit`](crate::Connection::set_limit).
    pub limit: u64,
    /// Bytes that each datagram has on its way besides its own: the headers of IP and UDP, and what seals it. They count where the peer
    /// [asks](crate::Connection::ask) for less.
    pub around: u16,
    /// Takes slices of large packets ([`wire::slice`](crate::wire::slice)), which are then delivered as they are for the
    /// caller to join, and tells the peer so.
    pub slices: bool,
    /// How long the fragments of a packet wait for the others, at most 71 minutes.
    pub reassembly_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            flow_seed: 0,
            key: None,
            checksum: false,
            sequence: true,
            policy: Policy::Adaptive,
            pins: Pins::new(),
            reorder: ReorderConfig::default(),
            resend: true,
            order_udp: false,
            classes: ClassRules::new(),
            limit: 0,
            // IPv4 and UDP.
            around: 28,
            slices: false,
            // Fragments of one packet leave together on one path; a second is many times any path's jitter.
            reassembly_timeout: Duration::from_secs(1),
        }
    }
}

/// How a path is used and watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PathConfig {
    /// Share of packets under [`Policy::Weighted`] and of flows under [`Policy::Flow`], 1 to 10,000.
    pub weight: u16,
    /// Place in line under [`Policy::Backup`]: the lowest rank that is up carries all; equals share nothing,
    /// the path added first wins.
    pub rank: u8,
    /// Cost under [`Policy::Adaptive`]: a path carries packets only when those of lower tiers are full or down; under
    /// [`Policy::MinRtt`] only when those are down.
    pub tier: u8,
    /// Largest UDP payload the path carries, in bytes: its MTU less the outer IP and UDP headers. A packet
    /// that does not fit is split (RFC 8086 section 4.1 wants it done before encapsulation).
    pub max_datagram: u16,
    /// How the path's life is watched.
    pub liveness: Liveness,
}

impl Default for PathConfig {
    fn default() -> Self {
        // Ethernet's 1,500 bytes less IPv6 (40) and UDP (8): fits under either IP version.
        Self { weight: 1, rank: 0, tier: 1, max_datagram: 1452, liveness: Liveness::default() }
    }
}

/// How a path's life is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Liveness {
    /// No probes; the path counts as up unless its link is down or it is disabled. For peers that are not
    /// mpt, such as a Linux kernel.
    Off,
    /// Probes that the peer echoes.
    Probe(Probing),
}

impl Default for Liveness {
    fn default() -> Self {
        Self::Probe(Probing::INTERNET)
    }
}

/// When probes are sent and when silence means death. Each is at most 71 minutes; longer ones are taken as that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Probing {
    /// Between probes while packets flow or an answer is outstanding; each wait is jittered by up to a
    /// quarter (RFC 8085 section 3.5 asks for jitter).
    pub interval: Duration,
    /// Between probes while no packets flow.
    pub idle: Duration,
    /// A path is down when a probe has been unanswered this long and nothing else was heard on it.
    pub dead: Duration,
}

impl Probing {
    /// Fast hand-over on links that are ours: a silent path is left within 150 ms.
    pub const LAB: Self = Self {
        interval: Duration::from_millis(25),
        idle: Duration::from_millis(100),
        dead: Duration::from_millis(125),
    };

    /// For the Internet: keepalives of an idle tunnel are 15 s apart (RFC 8085 section 3.5); while packets
    /// flow, probes are a negligible part of them, and a silent path is left within two seconds.
    pub const INTERNET: Self = Self {
        interval: Duration::from_millis(500),
        idle: Duration::from_secs(15),
        dead: Duration::from_millis(1500),
    };
}
