//! `mpt path`.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use port_linux::config::{Endpoint, NewPath};

use super::Control;

/// `mpt path`
#[derive(Debug, Args)]
#[command(
    after_help = "The change lasts until mpt ends, and is not written into the configuration: there, `enabled` decides how a path \
starts, and [[connection.path]] is a path that stays. `mpt reload` keeps paths that were added, and brings back those of \
the file that were removed.

Examples:
  mpt path down lte                no packets take this path any more; the peer is told
  mpt path up lte                  they may again, as soon as the peer answers on it
  mpt path down pc2/lte            when several connections have a path of that name
  mpt path add vps lte --device wwan0 --tier 2
  mpt path remove lte"
)]
pub struct Path {
    /// Which way
    #[command(subcommand)]
    pub way: Way,
}

/// `mpt path up`, `down`, `add` and `remove`
#[derive(Debug, Subcommand)]
pub enum Way {
    /// Add one to a connection, until mpt ends
    Add(Box<AddPath>),
    /// Remove one, until mpt ends or the configuration, which has it, is read again
    Remove(Named),
    /// Take it into use
    Up(Named),
    /// Take it out of use
    Down(Named),
}

/// `mpt path add`
#[derive(Debug, Args)]
#[command(
    after_help = "What is not given is as in [[connection.path]]; the peer's address, or name, is that of the connection's first path. \
A server with [listen] learns the path by itself. A peer whose configuration names each path needs the other end of \
this one, too: mpt path add there.

Connections that are there go on, and lose nothing."
)]
pub struct AddPath {
    /// Name of the connection
    pub connection: String,
    /// Name of the path
    pub name: String,
    /// Interface that it takes; it waits while that is not there
    #[arg(long, value_name = "INTERFACE")]
    pub device: Option<String>,
    /// Our address on it [default: whatever address the interface has]
    #[arg(long, value_name = "ADDRESS")]
    pub local: Option<IpAddr>,
    /// The peer's address or name [default: that of the connection's first path]
    #[arg(long, value_name = "ADDRESS")]
    pub remote: Option<Endpoint>,
    /// The router on the link of the interface
    #[arg(long, value_name = "ADDRESS", requires = "device")]
    pub gateway: Option<IpAddr>,
    /// Our UDP port [default: the connection's]
    #[arg(long)]
    pub port: Option<u16>,
    /// The peer's UDP port [default: the connection's]
    #[arg(long, value_name = "PORT")]
    pub remote_port: Option<u16>,
    /// Share of the packets with policy = "weighted" [default: 1]
    #[arg(long)]
    pub weight: Option<u16>,
    /// Cost with policy = "adaptive"; 2 for what is paid by volume [default: 1]
    #[arg(long)]
    pub tier: Option<u8>,
    /// Place in line with policy = "backup" [default: 0]
    #[arg(long)]
    pub rank: Option<u8>,
    /// IP MTU, where a hop beyond the interface has a smaller one
    #[arg(long, value_name = "BYTES")]
    pub mtu: Option<u16>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub control: Control,
}

impl From<AddPath> for NewPath {
    fn from(args: AddPath) -> Self {
        Self {
            name: args.name,
            device: args.device,
            local: args.local,
            remote: args.remote.map(|remote| remote.to_string()),
            gateway: args.gateway,
            port: args.port,
            remote_port: args.remote_port,
            weight: args.weight,
            tier: args.tier,
            rank: args.rank,
            mtu: args.mtu,
        }
    }
}

/// A path of a running mpt.
#[derive(Debug, Args)]
pub struct Named {
    /// The path's name, or CONNECTION/NAME
    pub name: String,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub control: Control,
}
