//! The log line of each event.

use std::fmt;

use super::{EcnFault, Limit, What};
use crate::config::DataSize;
use crate::portal::By;
use crate::units::megabits;

impl What {
    /// The log line, for what happened to this connection and path.
    pub fn sentence(&self, connection: Option<&str>, path: Option<&str>) -> String {
        let peer = connection.unwrap_or("the tunnel");
        let it = path.map_or_else(|| peer.to_owned(), |path| format!("path {path} of {peer}"));
        match self {
            Self::PathUp => format!("{it} is up"),
            Self::PathDown { why, .. } => format!("{it} is down: {why}"),
            Self::PathWaits { why } => format!("{it} waits: {why}"),
            Self::PathAdded => format!("{it} is added"),
            Self::PathRemoved => format!("{it} is removed"),
            Self::PathMoved { to, from: Some(from) } => {
                format!("{it}: the peer is at {to} now, not at {from}")
            }
            Self::PathMoved { to, from: None } => format!("{it}: the peer is at {to}"),
            Self::PathLimited { by } => format!("{it} {}", begins(*by)),
            Self::PathFreed { by } => format!("{it} {}", ends(*by)),
            Self::EcnFault { fault } => {
                format!("{it} {fault}: packets leave without ECN marks there")
            }
            Self::EcnCarried => format!("{it} carries ECN marks again"),
            Self::PeerUp => format!("{it} answers: the first of its paths is up"),
            Self::PeerDown => format!("{it} does not answer: none of its paths is up"),
            Self::PeerStarted => format!("{it} has started"),
            Self::PeerRefused { from, why } => format!("{it}: the peer at {from} {why}"),
            Self::Mode { mode, reason } => {
                format!("packets to {it} are sent {}", how(mode, reason.as_deref()))
            }
            Self::Standby { is_back: true, seconds, .. } => {
                format!("{it} has answered for {seconds} s: packets take it again")
            }
            Self::Standby { before, is_back: false, seconds } => {
                format!("{before} has not answered for {seconds} s: packets take {it}")
            }
            Self::WorseThanBest { best, rate_bps, delivered_bps, limited_by } => format!(
                "all paths of {it} together deliver {} Mbit/s, less than {best} alone could, {} Mbit/s ({limited_by})",
                megabits(*delivered_bps),
                megabits(*rate_bps)
            ),
            Self::AsGoodAsBest { ms } => {
                format!("{it} delivers as much as its best path could again, after {} s", ms / 1000)
            }
            Self::DataWarned { used_bytes, size_bytes } => {
                format!("{it} has used {} of its data plan", share(*used_bytes, *size_bytes))
            }
            Self::DataDemoted { used_bytes, size_bytes } => format!(
                "{it} has used {} of its data plan: it is used last from now on",
                share(*used_bytes, *size_bytes)
            ),
            Self::DataReached { used_bytes, size_bytes } => format!(
                "{it} has used {} of its data plan: it is out of use. `mpt path up` takes it into use nevertheless, `mpt data add` adds \
                 what was bought",
                share(*used_bytes, *size_bytes)
            ),
            Self::DataRenewed { used_bytes, size_bytes } => {
                format!("{it} has used {} of its data plan again", share(*used_bytes, *size_bytes))
            }
            Self::DataClock { why } => format!("{it} has a data plan, and {why}"),
            Self::TierChanged { tier, before } => {
                format!("{it} is of tier {tier} from now on, by the time of day, and was of tier {before}")
            }
            Self::PathPortal { url, by: By::Dhcp } => {
                format!(
                    "{it} has no answer, and its network names a portal, {url}, which may want a login: {}",
                    hint(connection, path)
                )
            }
            Self::PathPortal { url, .. } => {
                format!(
                    "{it} ends at the portal of its network, {url}, which wants a login: {}",
                    hint(connection, path)
                )
            }
            Self::TunnelMtu { interface, mtu, before } if mtu < before => {
                format!("{interface} has MTU {mtu} now: larger packets do not fit all paths")
            }
            Self::TunnelMtu { interface, mtu, .. } => format!("{interface} has MTU {mtu} again"),
            Self::NameUnknown { name, why, has_address } => {
                let meanwhile =
                    if *has_address { "its last address is used meanwhile" } else { "its paths wait" };
                format!("the name {name} cannot be resolved: {why}. It is asked for again; {meanwhile}")
            }
            Self::NameKnown { name, addresses } => {
                let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                format!("{name} has the address {}", list.join(", "))
            }
            Self::Other => "something happened that this version of mpt does not know".to_owned(),
        }
    }
}

/// What opens a page over the link of a path.
fn hint(connection: Option<&str>, path: Option<&str>) -> String {
    let name: Vec<&str> = connection.into_iter().chain(path).collect();
    format!("`sudo mpt portal {} -- PROGRAM` runs a browser over that link alone", name.join("/"))
}

fn begins(limit: Limit) -> &'static str {
    match limit {
        Limit::Outage => "seems to have stopped to deliver",
        Limit::Policer => "is limited by a policer: what exceeds a rate is dropped on the way",
        Limit::OtherTraffic => "competes with other traffic that keeps its link's queue full",
    }
}

fn ends(limit: Limit) -> &'static str {
    match limit {
        Limit::Outage => "delivers again",
        Limit::Policer => "is not limited by a policer any more",
        Limit::OtherTraffic => "does not compete with other traffic any more",
    }
}

impl fmt::Display for EcnFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "drops datagrams with ECN marks",
            Self::Cleared => "changes ECN marks",
            Self::AllMarked => "marks all datagrams as having met congestion",
            Self::Other => "does not carry ECN marks",
        })
    }
}

/// `12.3 GB of 50.0 GB`
fn share(used: u64, size: u64) -> String {
    format!("{} of {}", DataSize(used), DataSize(size))
}

fn how(mode: &str, reason: Option<&str>) -> &'static str {
    match (mode, reason) {
        ("adaptive", _) => "by what is measured on each path",
        (_, Some("peer_cannot")) => "by weight, as the peer does not speak the adaptive policy's extension",
        (_, Some("no_reports")) => "by weight, as the peer has stopped to report what arrives",
        _ => "by weight, as the adaptive policy needs memory and sequence numbers",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_which_path_of_which_connection_and_what() {
        let line = |what: What| what.sentence(Some("vps"), Some("lte"));
        assert_eq!(line(What::PathUp), "path lte of vps is up");
        let down = What::PathDown { reason: "silent".into(), why: "silent for 300 ms".into() };
        assert_eq!(line(down), "path lte of vps is down: silent for 300 ms");
        assert_eq!(
            line(What::EcnFault { fault: EcnFault::Cleared }),
            "path lte of vps changes ECN marks: packets leave without ECN marks there"
        );
        let moved = What::PathMoved { to: ([192, 0, 2, 1], 4754).into(), from: None };
        assert_eq!(line(moved), "path lte of vps: the peer is at 192.0.2.1:4754");
        assert_eq!(What::PeerStarted.sentence(Some("vps"), None), "vps has started");
        let refused =
            What::PeerRefused { from: ([192, 0, 2, 1], 4754).into(), why: "sends in the clear".into() };
        assert_eq!(refused.sentence(Some("vps"), None), "vps: the peer at 192.0.2.1:4754 sends in the clear");
        let taken = What::Standby { before: "one".into(), is_back: false, seconds: 10 };
        assert_eq!(taken.sentence(Some("two"), None), "one has not answered for 10 s: packets take two");
    }
}
