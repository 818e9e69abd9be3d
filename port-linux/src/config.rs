//! The configuration file: TOML to typed configuration, with errors that name file, line and key.
//!
//! Reading has two steps: `file` and `value` say what may stand in the file and check each value by itself;
//! `check` fills in what is inherited and checks values against each other. Nothing else in the program has
//! to doubt a [`Config`] that came from [`Config::load`].

mod added;
mod auto;
mod check;
mod classes;
mod data;
mod endpoint;
mod error;
mod file;
mod forward;
mod gateway;
mod hook;
mod listen;
mod metrics;
#[cfg(feature = "program")]
mod mistakes;
mod pins;
mod portal;
mod rate;
mod roaming;
mod security;
mod seen;
mod size;
mod standby;
#[cfg(test)]
mod tests;
mod tier;
mod tunnel;
mod unit;
mod value;

use std::net::IpAddr;

use ipnet::IpNet;
use mpt_proto::{ClassRules, Liveness, Policy, ReorderConfig, Travel};
use mpt_seal::PeerKeys;

pub use added::{NewPath, Origin};
pub use auto::Auto;
pub use data::{DataPlan, DataSize};
pub use endpoint::Endpoint;
pub use error::ConfigError;
pub use forward::{Entrance, Forward};
pub use gateway::{Exception, Share, Transport};
pub use hook::Hook;
#[cfg(feature = "program")]
pub(crate) use listen::PEER_FILE;
pub use listen::{Listen, PeerError};
pub use metrics::Metrics;
#[cfg(feature = "program")]
pub use mistakes::{Mistakes, path_lines};
#[cfg(feature = "program")]
pub(crate) use portal::authority;
pub use portal::{CheckUrl, Portal, PortalAnswer};
pub use rate::Rate;
pub use security::Security;
#[cfg(feature = "program")]
pub(crate) use security::is_public;
pub use size::Size;
pub use standby::Standby;
pub use tier::{Interval, Tier, TierTime};
#[cfg(feature = "program")]
pub use value::{FromText, policy};
#[cfg(feature = "program")]
pub(crate) use value::{InterfaceName, Name};

/// The UDP port of GRE in UDP (RFC 8086 section 3.2.2): the default of `port` and `remote_port`.
pub const PORT: u16 = 4754;

/// The UDP port of GRE in UDP with DTLS, which nothing else may use (RFC 8086 section 5).
const DTLS_PORT: u16 = 4755;

/// The default of `tunnel.name`.
pub const TUNNEL_NAME: &str = "mpt0";

/// The default of `tunnel.queue`, in packets. The kernel drops at the tail of this queue whatever queueing
/// discipline is attached; 1,000 packets are 12 ms at 1 Gbit/s, which covers a wait for the processor.
pub const QUEUE: u32 = 1000;

/// A whole configuration file: one tunnel interface and the connections that share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[tunnel]`
    pub tunnel: Tunnel,
    /// `[[connection]]`, at least one unless there is `listen`; behind these the peers of `listen`.
    pub connections: Vec<Connection>,
    /// `[listen]`: where peers that come by themselves are waited for.
    pub listen: Option<Listen>,
    /// `[metrics]`: where others read what is counted and measured; `None`: nowhere.
    pub metrics: Option<Metrics>,
    /// `[portal]`: how captive portals are found.
    pub portal: Portal,
    /// `[security]`: this end's key; `None`: packets travel in the clear.
    pub security: Option<Security>,
    /// Whether the file says that packets are to travel in the clear: `security = "none"`.
    pub(crate) is_clear_meant: bool,
    /// `[[forward]]`, of this file and of those of the peers.
    pub forwards: Vec<Forward>,
    /// `[[hook]]`: programs that are run when something happens.
    pub hooks: Vec<Hook>,
    /// See [`Config::warnings`].
    pub(crate) warnings: Vec<String>,
    /// See [`Config::peer_errors`].
    pub(crate) peer_errors: Vec<PeerError>,
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or says something that cannot work; the error is fit to be printed.
    pub fn load(path: &std::path::Path) -> Result<Self, ConfigError> {
        Self::parse(&Self::text(path)?, &path.display().to_string())
    }

    /// The text of the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, or is not text.
    pub fn text(path: &std::path::Path) -> Result<String, ConfigError> {
        let file = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| ConfigError::unreadable(&file, &error))?;
        String::from_utf8(bytes).map_err(|error| ConfigError::not_text(&file, &error))
    }

    /// Reads and checks `text`; `file` is the name that errors and warnings begin with. Key files are read, too: their
    /// names are relative to the directory of `file`.
    ///
    /// # Errors
    ///
    /// When the text says something that cannot work; the error is fit to be printed.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        let source = error::Source::new(text, file)?;
        let tables = toml::from_str(text).map_err(|error| source.refused(&error))?;
        check::config(tables, &source)
    }

    /// Why files of the directory `listen.peers` were left out: one file with an error does not keep the peers of the others away.
    pub fn peer_errors(&self) -> &[PeerError] {
        &self.peer_errors
    }

    /// What works but is probably not meant: one line each, beginning with file and line.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// `[tunnel]`: the interface that applications use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// `name`: the interface's name, `mpt0` by default.
    pub name: String,
    /// `address`: its addresses with prefix length; IPv4, IPv6 or both.
    pub addresses: Vec<IpNet>,
    /// `mtu`: a number of bytes, or `None` for `"auto"`: the largest that no path has to split.
    pub mtu: Option<u16>,
    /// `queue`: packets the kernel may queue before us (txqueuelen).
    pub queue: u32,
    /// `offload`: whether the kernel may hand over and take many packets as one.
    pub offload: bool,
    /// `history`: whether what each path did is kept in a file; `true` by default.
    pub history: bool,
    /// `kill_switch`: whether packets that a default route sends into the tunnel are refused, rather than sent past it,
    /// after mpt has ended by a crash; `false` by default.
    pub kill_switch: bool,
    /// `masquerade`: whether what comes out of the tunnel leaves this host with this host's address; `false` by default.
    pub masquerade: bool,
    /// `share`: the LANs whose hosts use the tunnel with this host's tunnel address; none by default.
    pub share: Vec<Share>,
    /// `dns`: the servers that this host asks for names while the tunnel is there; empty: its resolver stays as it is.
    pub dns: Vec<IpAddr>,
    /// `direct`: packets that leave past the tunnel in spite of a default route through it; none by default.
    pub direct: Vec<Exception>,
    /// `responder`: whether peers may measure the tunnel against this host (`mpt ping`, `mpt speed`); `true` by default.
    pub responder: bool,
}

/// `[[connection]]`: one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// `name`: unique in the file.
    pub name: String,
    /// `peer`: the peer's tunnel addresses.
    pub peer: Vec<IpAddr>,
    /// `public_key` and `preshared_key_file`: what the peer must prove. There are some in every connection, or none in
    /// any, as in [`Config::security`].
    pub keys: Option<PeerKeys>,
    /// `[[connection.network]]`: networks behind the peer.
    pub networks: Vec<Network>,
    /// `port`: our UDP port on every path, 4754 by default (RFC 8086).
    pub port: u16,
    /// `remote_port`: the peer's UDP port, 4754 by default.
    pub remote_port: u16,
    /// `check_source_port`: whether the peer's datagrams must come from `remote_port`; `true` by default. A
    /// Linux kernel as peer varies its source port.
    pub check_source_port: bool,
    /// `policy`: `"adaptive"`, `"weighted"`, `"flow"`, `"backup"`, `"redundant"` or `"minrtt"`.
    pub policy: Policy,
    /// `key`: GRE key, off by default.
    pub key: Option<u32>,
    /// `checksum`: GRE checksum, off by default.
    pub checksum: bool,
    /// `sequence`: GRE sequence numbers, on by default.
    pub sequence: bool,
    /// `slices`: whether large packets may cross as slices, with headers for the whole instead of each segment; on by
    /// default, and used if the peer does so, too.
    pub slices: bool,
    /// `multicast`: whether multicast, broadcast and link-local packets take this connection; off by default, and on in
    /// one connection at most.
    pub multicast: bool,
    /// `limit`: most bits of inner packets in a second, in each direction; no limit by default.
    pub limit: Option<u64>,
    /// `record`: bytes of a file in which the connection is recorded; it is not by default.
    pub record: Option<u64>,
    /// `[connection.adaptive]`: `resend`, `udp_in_order`, `memory_mb`.
    pub adaptive: Adaptive,
    /// `[[connection.class]]`: how packets travel, whatever their flow does. The core's own.
    pub classes: ClassRules,
    /// `[connection.reorder]`: `window`, `delay_ms`, `paths_in_order`.
    pub reorder: ReorderConfig,
    /// `standby_of`, `standby_after_s` and `standby_back_s`: it is used when another one does not answer, and has that one's networks.
    pub standby: Option<Standby>,
    /// `liveness`: the default of the paths.
    pub liveness: Liveness,
    /// `paths = "auto"`, `except` and `remote`: paths come and go with interfaces.
    pub auto: Option<Auto>,
    /// `[[connection.path]]`: 1 to 16, or none with `auto`; and those that came while mpt runs.
    pub paths: Vec<Path>,
    /// A peer of `listen.peers`: `paths` are places for those that the peer turns out to have.
    pub is_learned: bool,
}

impl Connection {
    /// `limit` in bytes a second; zero: no limit.
    pub fn bytes_per_second(&self) -> u64 {
        self.limit.map_or(0, |bits| bits / 8)
    }
}

/// `[connection.adaptive]`: how the adaptive policy works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adaptive {
    /// `resend`: whether packets that a path lost are sent again; `true` by default.
    pub resend: bool,
    /// `udp_in_order`: whether UDP packets are kept in order, too; `false` by default.
    pub udp_in_order: bool,
    /// `memory_mb`: memory for packets that are to be sent, here in bytes; the platform's by default.
    pub memory: Option<usize>,
}

/// `[[connection.network]]`: a network reached through the peer (the original's `[net_n]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// `to`: destination prefix; gets a route through the tunnel interface, or, with prefix length 0, policy rules that
    /// lead there.
    pub to: IpNet,
    /// `from`: source prefix that may use it; everything by default.
    pub from: Option<IpNet>,
}

impl Network {
    /// Whether it is everything: `0.0.0.0/0` or `::/0`.
    pub fn is_default(&self) -> bool {
        self.to.prefix_len() == 0
    }
}

impl Connection {
    /// Whether a class names a path.
    pub fn names_paths(&self) -> bool {
        self.classes.iter().any(|class| matches!(class.travel, Travel::Path(_)))
    }
}

impl Path {
    /// Whether ports are pinned to it.
    pub fn has_pins(&self) -> bool {
        [&self.tcp_dst, &self.tcp_src, &self.udp_dst, &self.udp_src].iter().any(|ports| !ports.is_empty())
    }

    /// Whether the peer's address is learnt from what it sends.
    pub const fn is_open(&self) -> bool {
        self.remote.is_unspecified() && self.remote_name.is_none()
    }
}

/// `[[connection.path]]`: a pair of physical addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// `name`: unique in the connection.
    pub name: String,
    /// `local`: our address on this path; unspecified (`0.0.0.0`, `::`) lets the kernel choose one of
    /// `device`, which must then be given.
    pub local: IpAddr,
    /// `remote`: the peer's address on this path, same IP version; unspecified (`0.0.0.0`, `::`): learnt from what
    /// the peer sends, or from `remote_name`.
    pub remote: IpAddr,
    /// `remote`, where it is a name: the peer is at one of its addresses of the IP version of `local`.
    pub remote_name: Option<String>,
    /// `device`: bind to this interface as well.
    pub device: Option<String>,
    /// `gateway`: the router that datagrams to the peer leave by, on the link of `device`; by default, the routes of the host
    /// say.
    pub gateway: Option<IpAddr>,
    /// `port`: our UDP port on this path; the connection's unless given (filled in here).
    pub port: u16,
    /// `remote_port`: the peer's UDP port on this path; the connection's unless given (filled in here).
    pub remote_port: u16,
    /// `roaming`: whether the path follows the peer to another address or port; by default where `remote` is
    /// unspecified, and with keys.
    pub roaming: bool,
    /// `weight`: 1 to 10,000.
    pub weight: u16,
    /// `rank`: 0 to 255, for the backup policy.
    pub rank: u8,
    /// `tier`: 1 to 8, for the adaptive policy, perhaps another one by time of day.
    pub tier: Tier,
    /// `mtu`: the path's IP MTU; the interface's by default.
    pub mtu: Option<u16>,
    /// `data`: how much it may carry; no bound by default.
    pub data: Option<DataPlan>,
    /// `portal_check`: whether a captive portal is looked for on its link by HTTP; by default, where it is not metered.
    pub portal_check: Option<bool>,
    /// `liveness`: `"lab"`, `"internet"`, `"off"` or a table of `interval_ms`, `idle_ms`, `dead_ms`; the
    /// connection's (same key there) unless given (filled in here); `"internet"` by default.
    pub liveness: Liveness,
    /// `enabled`: whether it starts enabled; `true` by default.
    pub enabled: bool,
    /// `tcp_dst`, `tcp_src`, `udp_dst`, `udp_src`: ports pinned to this path.
    pub tcp_dst: Vec<u16>,
    /// See `tcp_dst`.
    pub tcp_src: Vec<u16>,
    /// See `tcp_dst`.
    pub udp_dst: Vec<u16>,
    /// See `tcp_dst`.
    pub udp_src: Vec<u16>,
    /// Why it is there.
    pub origin: Origin,
}
