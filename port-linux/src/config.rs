//! The configuration file: TOML to typed configuration, with errors that name file, line and key.

use std::net::IpAddr;

use ipnet::IpNet;
use mpt_proto::{Liveness, Policy, ReorderConfig};

/// A whole configuration file: one tunnel interface and the connections that share it.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[tunnel]`
    pub tunnel: Tunnel,
    /// `[[connection]]`, at least one.
    pub connections: Vec<Connection>,
}

/// `[tunnel]`: the interface that applications use.
#[derive(Debug, Clone)]
pub struct Tunnel {
    /// `name`: the interface's name, `mpt0` by default.
    pub name: String,
    /// `address`: its addresses with prefix length; IPv4, IPv6 or both.
    pub addresses: Vec<IpNet>,
    /// `mtu`: a number of bytes, or `None` for `"auto"`: the largest that no path has to split.
    pub mtu: Option<u16>,
    /// `queue`: packets the kernel may queue before us (txqueuelen).
    pub queue: u32,
}

/// `[[connection]]`: one peer.
#[derive(Debug, Clone)]
pub struct Connection {
    /// `name`: unique in the file.
    pub name: String,
    /// `peer`: the peer's tunnel addresses.
    pub peer: Vec<IpAddr>,
    /// `[[connection.network]]`: networks behind the peer.
    pub networks: Vec<Network>,
    /// `port`: our UDP port on every path, 4754 by default (RFC 8086).
    pub port: u16,
    /// `remote_port`: the peer's UDP port, 4754 by default.
    pub remote_port: u16,
    /// `check_source_port`: whether the peer's datagrams must come from `remote_port`; `true` by default. A
    /// Linux kernel as peer varies its source port.
    pub check_source_port: bool,
    /// `policy`: `"weighted"`, `"flow"`, `"backup"` or `"redundant"`.
    pub policy: Policy,
    /// `key`: GRE key, off by default.
    pub key: Option<u32>,
    /// `checksum`: GRE checksum, off by default.
    pub checksum: bool,
    /// `sequence`: GRE sequence numbers, on by default.
    pub sequence: bool,
    /// `[connection.reorder]`: `window`, `delay_ms`, `paths_in_order`.
    pub reorder: ReorderConfig,
    /// `[[connection.path]]`: 1 to 16.
    pub paths: Vec<Path>,
}

/// `[[connection.network]]`: a network reached through the peer (the original's `[net_n]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// `to`: destination prefix; gets a route through the tunnel interface.
    pub to: IpNet,
    /// `from`: source prefix that may use it; everything by default.
    pub from: Option<IpNet>,
}

/// `[[connection.path]]`: a pair of physical addresses.
#[derive(Debug, Clone)]
pub struct Path {
    /// `name`: unique in the connection.
    pub name: String,
    /// `local`: our address on this path.
    pub local: IpAddr,
    /// `remote`: the peer's address on this path, same IP version.
    pub remote: IpAddr,
    /// `device`: bind to this interface as well.
    pub device: Option<String>,
    /// `port`: our UDP port on this path; the connection's unless given (filled in here).
    pub port: u16,
    /// `remote_port`: the peer's UDP port on this path; the connection's unless given (filled in here).
    pub remote_port: u16,
    /// `weight`: 1 to 10,000.
    pub weight: u16,
    /// `rank`: 0 to 255, for the backup policy.
    pub rank: u8,
    /// `mtu`: the path's IP MTU; the interface's by default.
    pub mtu: Option<u16>,
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
}
