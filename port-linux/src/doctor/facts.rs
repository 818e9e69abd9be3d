//! What is known of this host, the configuration and the running tunnel when `mpt doctor` looks: gathered once, so that every
//! check is a function of it.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::link::Discipline;
use crate::measure::versions::Said;
use crate::report::{ConnectionReport, PathReport, Report};

/// Everything.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// This program's version.
    pub(super) program: String,
    /// The tunnel interface's name, if one is known.
    pub(super) tunnel: String,
    /// The networks of the tunnel interface.
    pub(super) tunnel_networks: Vec<IpNet>,
    /// What the configuration says; `None`: none was read.
    pub(super) wanted: Option<Wanted>,
    /// What is wrong with the configuration, and what is probably not meant.
    pub(super) errors: Vec<String>,
    /// See `errors`.
    pub(super) warnings: Vec<String>,
    /// The interfaces.
    pub(super) links: Vec<LinkFacts>,
    /// Networks on the links themselves, and routes to half of all addresses or more: with the name of their interface.
    pub(super) routes: Vec<RouteFacts>,
    /// The paths, as far as the host's routes concern them.
    pub(super) paths: Vec<PathFacts>,
    /// Who wants which address and port that another program has.
    pub(super) taken_ports: Vec<(String, SocketAddr)>,
    /// Most bytes of socket buffer that the kernel grants to others than administrators: `net.core.rmem_max`, `net.core.wmem_max`.
    pub(super) buffer_limits: Option<(u64, u64)>,
    /// What the peers that are up say of their version, by the names of their connections.
    pub(super) peers: Vec<(String, Said)>,
    /// What the running tunnel says; `None`: none runs, or it does not answer.
    pub(super) report: Option<Report>,
}

/// What a configuration wants of the host.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// `tunnel.queue`.
    pub(super) queue: u32,
    /// `tunnel.offload`.
    pub(super) offload: bool,
    /// Whether all IPv4 packets take the tunnel.
    pub(super) all_v4: bool,
    /// Whether all IPv6 packets do.
    pub(super) all_v6: bool,
}

/// An interface.
#[derive(Debug, Clone, Default)]
pub(super) struct LinkFacts {
    pub(super) name: String,
    /// What kind of virtual interface it is, in the kernel's words.
    pub(super) kind: Option<String>,
    /// Packets that its queue takes (txqueuelen).
    pub(super) queue: Option<u32>,
    /// Packets that were handed to it, and those of them that were dropped there.
    pub(super) sent: u64,
    pub(super) dropped: u64,
    /// What stands before it.
    pub(super) discipline: Option<Discipline>,
    /// Whether the kernel drops what comes in here and would be answered through another interface (`rp_filter` = 1).
    pub(super) is_strict: bool,
    /// Whether it answers ARP for addresses of other interfaces (`arp_ignore` = 0).
    pub(super) answers_for_others: bool,
}

/// A route.
#[derive(Debug, Clone)]
pub(super) struct RouteFacts {
    pub(super) to: IpNet,
    pub(super) interface: String,
    /// Whether it is in the main table.
    pub(super) is_main: bool,
}

/// A path and the ways of this host.
#[derive(Debug, Clone)]
pub(super) struct PathFacts {
    pub(super) connection: String,
    pub(super) name: String,
    pub(super) local: IpAddr,
    pub(super) remote: IpAddr,
    /// The interface that it is bound to.
    pub(super) device: Option<String>,
    /// Whether it names a router of its own.
    pub(super) has_gateway: bool,
    /// The interface that has its address.
    pub(super) own: Option<String>,
    /// The interface through which its datagrams leave by the routes.
    pub(super) leaves_by: Option<String>,
    /// The interface by which the kernel would answer the peer, as `rp_filter` asks.
    pub(super) answers_by: Option<String>,
    /// Whether some route leads to the peer through its device.
    pub(super) is_routed: bool,
    /// What of its interface or address is not there.
    pub(super) missing: Option<String>,
}

impl PathFacts {
    /// `CONNECTION/PATH`.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.connection, self.name)
    }
}

impl Facts {
    /// Whether the kernel drops what the peer sends on a path: the best route back leads elsewhere, and the filter is strict.
    pub(super) fn is_filtered(&self, path: &PathFacts) -> bool {
        let own = path.own.as_deref().and_then(|name| self.link(name));
        path.local.is_ipv4() && own.is_some_and(|link| link.is_strict) && path.answers_by != path.own
    }

    /// The interface with this name.
    pub(super) fn link(&self, name: &str) -> Option<&LinkFacts> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The connections of the running tunnel.
    pub(super) fn connections(&self) -> impl Iterator<Item = &ConnectionReport> {
        self.report.iter().flat_map(|report| &report.connections)
    }

    /// The paths of the running tunnel with their connections.
    pub(super) fn running_paths(&self) -> impl Iterator<Item = (&ConnectionReport, &PathReport)> {
        self.connections().flat_map(|connection| connection.paths.iter().map(move |path| (connection, path)))
    }
}
