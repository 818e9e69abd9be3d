//! What a running tunnel tells about itself: the answer to `status`, as data. Field names are stable; new
//! ones may be added.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use mpt_proto::{DownReason, Mode, PathModel, RoamingStats};
use serde::{Deserialize, Serialize};

use crate::data::DataReport;
use crate::events::Event;
use crate::portal::{Access, Portal};

/// Version of the control protocol and of the JSON that `mpt status --json` prints.
pub const VERSION: u32 = 1;

/// How many were dropped, by reason.
pub type Dropped = BTreeMap<String, u64>;

/// Everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// The tunnel interface.
    pub tunnel: TunnelReport,
    /// The connections, in the order of the configuration.
    pub connections: Vec<ConnectionReport>,
    /// The last events, the oldest first.
    #[serde(default)]
    pub events: Vec<Event>,
}

/// The tunnel interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TunnelReport {
    /// Its name.
    pub name: String,
    /// Its addresses with prefix length.
    pub addresses: Vec<String>,
    /// Its MTU in bytes.
    pub mtu: u16,
    /// Milliseconds since it was made.
    pub uptime_ms: u64,
    /// The version of the program that runs it; empty: an earlier one, which does not say.
    #[serde(default)]
    pub program: String,
    /// How often the system's clock was set meanwhile, by a tenth of a second or more.
    #[serde(default)]
    pub clock_steps: u64,
    /// Packets of the tunnel interface that no connection took, and packets that it did not take.
    pub dropped: Dropped,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectionReport {
    /// Its name.
    pub name: String,
    /// The peer's tunnel addresses.
    pub peer: Vec<IpAddr>,
    /// The connection that it stands by for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby_of: Option<String>,
    /// Whether packets take it now; absent where none stands by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<bool>,
    /// Its policy.
    pub policy: String,
    /// Under policy `adaptive`, how it sends now: `adaptive`, or `weighted`; absent under the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Why it sends by weight: `peer_cannot`, `no_memory` (or no sequence numbers), `no_reports`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode_reason: Option<String>,
    /// Whether the peer is known to be an mpt.
    pub peer_is_mpt: bool,
    /// The peer's keys; absent where packets travel in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<SealReport>,
    /// Why nothing comes of it, if people can mend that: what the peer does, as "has another pre-shared key, ..".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Most bits a second of inner packets in each direction; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bps: Option<u64>,
    /// Bytes of memory for packets to be sent under policy `adaptive`; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Where `listen.uplink` is shared, bits a second of datagrams that its turns come to; absent: it does not wait for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink_share_bps: Option<u64>,
    /// Where `listen.downlink` is shared, bits a second of datagrams that the peer is told to send at most; absent: it sends nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downlink_share_bps: Option<u64>,
    /// Bits a second of datagrams that the peer asks for at most, as it shares its access among its peers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_bps: Option<u64>,
    /// What went through.
    pub counters: Counters,
    /// Milliseconds in which it delivered less than its best path alone could, although packets waited.
    #[serde(default)]
    pub worse_than_best_ms: u64,
    /// What was dropped.
    pub dropped: Dropped,
    /// Its paths, in the order of the configuration.
    pub paths: Vec<PathReport>,
}

/// What is known of a peer whose packets are sealed. Secrets are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealReport {
    /// The peer's public key, as in the configuration.
    pub public_key: String,
    /// The cipher in use; absent while there are no keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cipher: Option<String>,
    /// Milliseconds since the handshake that gave the keys in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_age_ms: Option<u64>,
    /// Handshakes that gave keys since the start.
    pub handshakes: u32,
}

/// A connection's counters: inner packets, without our headers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "mpt_proto::Stats documents them")]
pub struct Counters {
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub tx_no_path: u64,
    pub tx_limited: u64,
    pub tx_too_large: u64,
    pub tx_fragments: u64,
    pub tx_dropped: u64,
    pub tx_marked: u64,
    pub tx_resent: u64,
    pub tx_copies: u64,
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub rx_held: u64,
    pub rx_lost: u64,
    pub rx_reassembled: u64,
    pub rx_restarts: u64,
    pub rx_bad_reports: u64,
}

impl From<&mpt_proto::Stats> for Counters {
    fn from(stats: &mpt_proto::Stats) -> Self {
        Self {
            tx_packets: stats.tx_packets,
            tx_bytes: stats.tx_bytes,
            tx_no_path: stats.tx_no_path,
            tx_limited: stats.tx_limited,
            tx_too_large: stats.tx_too_large,
            tx_fragments: stats.tx_fragments,
            tx_dropped: stats.tx_dropped,
            tx_marked: stats.tx_marked,
            tx_resent: stats.tx_resent,
            tx_copies: stats.tx_copies,
            rx_packets: stats.rx_packets,
            rx_bytes: stats.rx_bytes,
            rx_held: stats.rx_held,
            rx_lost: stats.rx_lost,
            rx_reassembled: stats.rx_reassembled,
            rx_restarts: stats.rx_restarts,
            rx_bad_reports: stats.rx_bad_reports,
        }
    }
}

/// One path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathReport {
    /// Its name.
    pub name: String,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end; `null` until it was heard, where the configuration leaves it open.
    pub remote: Option<SocketAddr>,
    /// The device it is bound to, if any.
    pub device: Option<String>,
    /// `up` or `down`.
    pub state: State,
    /// Why it is down: `disabled`, `link`, `unheard`, `silent`, `deaf`.
    pub reason: Option<String>,
    /// When it is used: `member` together with the others, `spare` while no other one is up, `unused` not at all. Absent: an
    /// earlier version does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What of the machine the path waits for, as a sentence; absent when nothing is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// The login page of its network that is, or may be, in its way; absent where none was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub portal: Option<Portal>,
    /// What the API of its network says (RFC 8908); absent where none was asked, or has not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Why no answer comes on it, as a sentence with the likely causes; absent while answers come, or less than five seconds after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Smoothed round-trip time in microseconds, once known.
    pub rtt_us: Option<u64>,
    /// Its weight.
    pub weight: u16,
    /// Its rank.
    pub rank: u8,
    /// Its tier; zero: an earlier version does not say.
    #[serde(default)]
    pub tier: u8,
    /// What is known of it while the connection's mode is `adaptive`; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelReport>,
    /// Largest UDP payload in bytes that it carries, as far as is known.
    pub max_datagram: u16,
    /// Largest UDP payload in bytes that its interface, or `mtu`, allows; 0: an earlier version does not say.
    #[serde(default)]
    pub ceiling: u16,
    /// Whether that is being looked for: `max_datagram` is not the last word.
    #[serde(default)]
    pub seeks_size: bool,
    /// What routers on the way do to ECN marks, as a sentence about the path; absent where they carry them, or none were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecn: Option<String>,
    /// What the kernel granted its socket; absent while that is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<SocketReport>,
    /// Datagrams handed out for sending, control messages included.
    pub tx_datagrams: u64,
    /// Their bytes: UDP payloads.
    pub tx_bytes: u64,
    /// Datagrams that arrived and were not dropped.
    pub rx_datagrams: u64,
    /// Their bytes: UDP payloads.
    pub rx_bytes: u64,
    /// Probes sent.
    pub probes: u64,
    /// Echoes that came back.
    pub echoes: u64,
    /// Times it went down after it had been up.
    pub downs: u64,
    /// Of the datagrams handed out, those that the kernel did not take.
    pub not_sent: NotSent,
    /// How it followed its peer; absent where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roaming: Option<RoamingReport>,
    /// What it has used of its data plan; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataReport>,
}

/// What the kernel granted a path's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketReport {
    /// Bytes that may wait to be received.
    pub receive_buffer: u64,
    /// Bytes that may wait to leave.
    pub send_buffer: u64,
    /// Bytes that were asked for, each way.
    pub wanted_buffer: u64,
    /// Most datagrams that may leave in one call; 1: the kernel or the interface cannot cut more.
    pub segments: u64,
}

/// How a path followed its peer to other addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RoamingReport {
    /// Challenges sent to addresses that said to be the peer's.
    pub challenges: u64,
    /// Times the path moved to an address that had answered.
    pub moves: u64,
    /// Addresses that did not answer in time.
    pub unproven: u64,
    /// Addresses that answered, while the peer still did at the one before.
    pub kept: u64,
}

impl From<RoamingStats> for RoamingReport {
    fn from(stats: RoamingStats) -> Self {
        let RoamingStats { challenges, moves, unproven, kept, .. } = stats;
        Self { challenges, moves, unproven, kept }
    }
}

/// What the adaptive policy knows of a path, for what it sends there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelReport {
    /// Its tier.
    pub tier: u8,
    /// Bits a second that it carries, headers included.
    pub rate: u64,
    /// What is done to find that out: `startup`, `drain`, `cruise`, `probe`, `compete`.
    pub phase: String,
    /// Microseconds of delay beyond that of the fastest path, without queues.
    pub extra_delay_us: u32,
    /// Microseconds that the queue on it adds.
    pub queue_us: u32,
    /// Microseconds: standard deviation of its delay without a queue.
    pub jitter_us: u32,
    /// Datagrams that did not arrive.
    pub lost: u64,
    /// Packets that left on it and had left before, on whichever path: repairs of losses, and copies that protect.
    #[serde(default)]
    pub resent: u64,
    /// Whether it carries packets that are kept in order.
    pub open: bool,
    /// Whether it seems to have stopped to deliver.
    pub suspect: bool,
    /// Why it carries no more: `not measured yet`, `outage`, `delay` (it does not fit that of the others for ordered packets),
    /// `policer` (what exceeds a rate is dropped), `other traffic` (that keeps the link's queue full), `draining a queue`, `tier`
    /// (those of a lower one suffice), `application` (less is sent than it could carry), `bandwidth`. Empty: an earlier version
    /// does not say.
    #[serde(default)]
    pub limited_by: String,
}

impl ModelReport {
    /// Whether `rate` is a measurement, and not what is assumed of a path that was not used yet.
    pub fn is_measured(&self) -> bool {
        self.phase != "startup" && self.limited_by != "not measured yet"
    }

    /// Of a path of this tier.
    pub fn new(tier: u8, model: &PathModel) -> Self {
        Self {
            tier,
            rate: u64::from(model.rate) * 8,
            phase: model.phase.as_str().to_owned(),
            extra_delay_us: model.extra_delay,
            queue_us: model.queue,
            jitter_us: model.jitter,
            lost: model.lost,
            resent: model.resent,
            open: model.open,
            suspect: model.suspect,
            limited_by: model.limited_by.as_str().to_owned(),
        }
    }
}

impl PathReport {
    /// What is known of it, if its rate was measured.
    pub fn measured(&self) -> Option<&ModelReport> {
        self.model.as_ref().filter(|model| model.is_measured())
    }
}

/// Whether packets may take a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum State {
    Up,
    Down,
}

/// Datagrams that the kernel did not take, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NotSent {
    /// The socket's or the interface's queue was full.
    pub full: u64,
    /// Larger than the interface's MTU.
    pub too_big: u64,
    /// No address, no route or no interface.
    pub link: u64,
    /// Refused by a firewall or the remote host.
    pub refused: u64,
}

impl NotSent {
    /// With their names, in this order.
    pub fn named(&self) -> [(&'static str, u64); 4] {
        [("full", self.full), ("too_big", self.too_big), ("link", self.link), ("refused", self.refused)]
    }
}

/// A reason's name.
pub fn reason_name(reason: DownReason) -> &'static str {
    match reason {
        DownReason::Disabled => "disabled",
        DownReason::Link => "link",
        DownReason::Unheard => "unheard",
        DownReason::Silent => "silent",
        DownReason::Deaf => "deaf",
        _ => "other",
    }
}

/// The name of a way to send, and of the reason when it is not the adaptive one.
pub fn mode_name(mode: Mode) -> (&'static str, Option<&'static str>) {
    match mode {
        Mode::Adaptive => ("adaptive", None),
        Mode::PeerCannot => ("weighted", Some("peer_cannot")),
        Mode::NoMemory => ("weighted", Some("no_memory")),
        Mode::NoReports => ("weighted", Some("no_reports")),
        _ => ("weighted", Some("other")),
    }
}

/// The path called `wanted`: `PATH`, or `CONNECTION/PATH`.
///
/// # Errors
/// There is none, or several are: what there is.
pub(crate) fn find_path<'c, P: Copy>(
    paths: impl Iterator<Item = (P, &'c str, &'c str)>,
    wanted: &str,
) -> Result<P, String> {
    let mut found = Vec::new();
    let mut known = Vec::new();
    for (place, connection, path) in paths {
        let full = format!("{connection}/{path}");
        if path == wanted || full == wanted {
            found.push((place, full.clone()));
        }
        known.push(full);
    }
    match &found[..] {
        [(place, _)] => Ok(*place),
        [] => Err(format!("no path is named {wanted}; there are {}", known.join(", "))),
        several => {
            let names: Vec<&str> = several.iter().map(|(_, name)| name.as_str()).collect();
            Err(format!("several paths are named {wanted}; say {}", names.join(" or ")))
        }
    }
}
