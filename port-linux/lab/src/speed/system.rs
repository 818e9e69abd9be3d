//! What `mpt lab --speed` compares, and how each of it is started.

use std::net::IpAddr;
use std::path::Path;

use serde::Serialize;

use super::pipe;
use crate::ends::Ends;
use crate::mptcp;
use crate::stack::{Stack, Version};
use crate::topology::{Side, Topology};
use crate::traffic::stream::Transport;
use crate::tunnel::{Options, Security, Tunnel};
use crate::wireguard;

/// One of the systems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(super) enum System {
    /// No tunnel: the first link.
    Plain,
    /// Kernel MPTCP over all links.
    Mptcp {
        /// How many.
        links: u8,
    },
    /// The tunnel.
    Mpt {
        /// How many paths.
        paths: u8,
        /// `connection.policy`.
        policy: String,
        /// Whether large packets cross as slices, or as plain RFC 8086 has it.
        slices: bool,
        /// Whether it is sealed.
        security: Security,
    },
    /// The least that a tunnel in user space does, over the first link.
    Pipe,
    /// WireGuard in user space (`wireguard-go`) over the first link.
    WireGuard,
}

impl System {
    /// For people.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Plain => "no tunnel, 1 link".to_owned(),
            Self::Mptcp { links } => format!("kernel MPTCP, {links} links"),
            Self::Mpt { paths, policy, slices, security } => {
                let paths =
                    if *paths == 1 { "1 path".to_owned() } else { format!("{paths} paths, {policy}") };
                let slices = if *slices { "" } else { ", no slices" };
                let security = match security {
                    Security::None => ", clear",
                    Security::Keys => ", sealed",
                    Security::Chacha => ", sealed, ChaCha",
                };
                format!("mpt, {paths}{slices}{security}")
            }
            Self::Pipe => "tun and UDP alone, 1 link".to_owned(),
            Self::WireGuard => "wireguard-go, 1 link".to_owned(),
        }
    }

    /// Starts it. `mpt` is the program's path.
    ///
    /// # Errors
    /// When it is not up in time.
    pub(super) fn start(&self, net: &Topology, mpt: &Path) -> anyhow::Result<Started> {
        Ok(match self {
            Self::Plain => Started::Kernel(Transport::Tcp),
            Self::Mptcp { links } => {
                mptcp::prepare(net, *links, Version::V4)?;
                Started::Kernel(Transport::Mptcp)
            }
            Self::Mpt { paths, policy, slices, security } => {
                let options = Options {
                    slices: *slices,
                    security: *security,
                    ..Options::lab(Stack::V4OverV4, *paths, policy)
                };
                Started::Mpt(Tunnel::start(net, mpt, options)?)
            }
            Self::Pipe => Started::Other(pipe::start(net, mpt)?, pipe::ADDRESS),
            Self::WireGuard => Started::Other(
                wireguard::start(net, |side| side.address(1, Version::V4), wireguard::USUAL_MTU)?,
                wireguard::ADDRESS,
            ),
        })
    }
}

/// A system that carries traffic.
#[derive(Debug)]
pub(super) enum Started {
    /// The kernel does it.
    Kernel(Transport),
    /// The tunnel.
    Mpt(Tunnel),
    /// Another tunnel, and PC2's address in it.
    Other(Ends, IpAddr),
}

impl Started {
    /// How applications connect.
    pub(super) fn transport(&self) -> Transport {
        match self {
            Self::Kernel(transport) => *transport,
            _ => Transport::Tcp,
        }
    }

    /// PC2, as applications on PC1 know it.
    pub(super) fn address(&self) -> IpAddr {
        match self {
            Self::Kernel(_) => Side::Pc2.address(1, Version::V4),
            Self::Mpt(tunnel) => tunnel.address(),
            Self::Other(_, address) => *address,
        }
    }

    /// The processes of both ends; none where the kernel does it.
    pub(super) fn processes(&self) -> Vec<u32> {
        match self {
            Self::Kernel(_) => Vec::new(),
            Self::Mpt(tunnel) => tunnel.pids().to_vec(),
            Self::Other(ends, _) => ends.pids().to_vec(),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the tunnel does not end cleanly.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Kernel(_) => Ok(()),
            Self::Mpt(tunnel) => tunnel.stop(),
            Self::Other(ends, _) => ends.stop(),
        }
    }
}
