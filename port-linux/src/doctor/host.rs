//! Checks of this host: its routes, filters, queues and limits.

use std::collections::BTreeSet;

use super::facts::{Facts, PathFacts};
use super::finding::{Check, Finding, Severity};
use crate::link::is_tunnel_kind;
use crate::report::{ConnectionReport, PathReport};

/// All of them.
pub(super) const CHECKS: [Check; 13] = [
    Check { name: "configuration", needs_tunnel: false, look: configuration },
    Check { name: "missing_link", needs_tunnel: false, look: missing_link },
    Check { name: "name_taken", needs_tunnel: false, look: name_taken },
    Check { name: "port_taken", needs_tunnel: false, look: port_taken },
    Check { name: "rp_filter", needs_tunnel: false, look: rp_filter },
    Check { name: "arp_flux", needs_tunnel: false, look: arp_flux },
    Check { name: "missing_route", needs_tunnel: false, look: missing_route },
    Check { name: "wrong_interface", needs_tunnel: false, look: wrong_interface },
    Check { name: "nested_path", needs_tunnel: false, look: nested_path },
    Check { name: "same_network", needs_tunnel: false, look: same_network },
    Check { name: "other_default_route", needs_tunnel: false, look: other_default_route },
    Check { name: "tunnel_queue", needs_tunnel: false, look: tunnel_queue },
    Check { name: "path_queue", needs_tunnel: true, look: path_queue },
];

/// Of so many packets, one that is dropped for a full queue is no news.
const FEW_DROPS: u64 = 1000;
/// Of so many packets that leave an interface, one that its queue drops is what a TCP needs to know the link's rate.
const FEW_FULL: u64 = 50;
/// Queueing disciplines that take as many packets as the interface's txqueuelen says.
const BY_LENGTH: [&str; 3] = ["pfifo_fast", "pfifo", "mq"];

fn configuration(facts: &Facts) -> Vec<Finding> {
    let mend = "edit that line; `mpt check FILE` shows whether it is right then";
    let errors = facts.errors.iter().map(|text| {
        Finding::new(
            Severity::Fault,
            text,
            "mpt does not start with this file, or leaves this peer out",
            mend,
        )
    });
    let warnings = facts.warnings.iter().map(|text| {
        Finding::new(Severity::Warning, text, "it works, but is probably not what is meant", mend)
    });
    errors.chain(warnings).collect()
}

/// Paths whose interface or address is not there. A running tunnel says itself what its paths wait for.
fn missing_link(facts: &Facts) -> Vec<Finding> {
    let paths = facts.paths.iter().filter(|_| facts.report.is_none());
    let found = paths.filter_map(|path| Some((path, path.missing.as_ref()?))).map(|(path, missing)| {
        let what = format!("path {}: {missing}", path.full_name());
        let found = match &path.device {
            Some(device) => Finding::new(
                Severity::Warning,
                what,
                "the path waits until that is there",
                format!("ip address show {device}"),
            ),
            None => Finding::new(
                Severity::Fault,
                what,
                "mpt does not start without that address",
                format!("another `local` in path {}, as `ip -brief address` shows them; or local = \"0.0.0.0\" with a device", path.name),
            ),
        };
        found.about(path.full_name())
    });
    found.collect()
}

/// An interface of somebody else with the tunnel's name.
fn name_taken(facts: &Facts) -> Vec<Finding> {
    let taken = facts.link(&facts.tunnel).filter(|link| link.kind.as_deref() != Some("tun"));
    let found = taken.map(|link| {
        Finding::new(
            Severity::Fault,
            format!("there is an interface {} already, and it is no tunnel of mpt", link.name),
            "mpt does not start while another interface has the name",
            "another `name` in [tunnel] of the configuration",
        )
    });
    found.into_iter().collect()
}

/// UDP ports that another program has.
fn port_taken(facts: &Facts) -> Vec<Finding> {
    let found = facts.taken_ports.iter().map(|(of, address)| {
        Finding::new(
            Severity::Fault,
            format!("{of}: another program has UDP port {} of {}", address.port(), address.ip()),
            "mpt does not start, or the path waits, while it has it",
            format!(
                "sudo ss -ulpn sport = :{} shows which; or another `port`, and `remote_port` of the peer",
                address.port()
            ),
        )
    });
    found.collect()
}

/// Paths whose peer is not heard, as the best route back leads elsewhere.
fn rp_filter(facts: &Facts) -> Vec<Finding> {
    let found = facts.paths.iter().filter(|path| facts.is_filtered(path)).map(|path| {
        let own = path.own.as_deref().unwrap_or_default();
        Finding::new(
            Severity::Fault,
            format!("the kernel drops what comes for path {} through {own}", path.full_name()),
            format!(
                "rp_filter is 1 there, which wants the best route to {} to lead through the same interface; it leads through {}",
                path.remote,
                path.answers_by.as_deref().unwrap_or("none")
            ),
            format!("sudo sysctl net.ipv4.conf.{own}.rp_filter=2"),
        ).about(path.full_name())
    });
    found.collect()
}

/// Interfaces of paths in one LAN that answer for each other.
fn arp_flux(facts: &Facts) -> Vec<Finding> {
    let of_paths: BTreeSet<&str> = facts.paths.iter().filter_map(|path| path.own.as_deref()).collect();
    let networks = |name: &str| {
        let name = name.to_owned();
        facts.routes.iter().filter(move |route| route.interface == name && route.to.prefix_len() > 1)
    };
    let mut found = Vec::new();
    for one in &of_paths {
        for other in of_paths.iter().filter(|other| *other > one) {
            let shared = networks(one)
                .find(|route| route.to.addr().is_ipv4() && networks(other).any(|it| it.to == route.to));
            let flux =
                [one, other].iter().any(|name| facts.link(name).is_some_and(|link| link.answers_for_others));
            if let Some(shared) = shared.filter(|_| flux) {
                found.push(Finding::new(
                    Severity::Warning,
                    format!("{one} and {other} are both in {} and answer for each other's addresses (ARP flux)", shared.to),
                    "neighbours may send what is for one link to the other, so that both paths share one cable, or one of them is silent",
                    "sudo sysctl net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",
                ));
            }
        }
    }
    found
}

fn missing_route(facts: &Facts) -> Vec<Finding> {
    let lost =
        facts.paths.iter().filter(|path| !path.is_routed && !path.has_gateway && path.missing.is_none());
    let found = lost.map(|path| {
        let through = path.device.as_ref().map_or(String::new(), |device| format!(" through {device}"));
        let mend = match &path.device {
            Some(device) => format!(
                "gateway = \"ROUTER\" in path {} of the configuration, or: sudo ip route add default via ROUTER dev {device} metric 1000",
                path.name
            ),
            None => format!("sudo ip route add {} via ROUTER", path.remote),
        };
        Finding::new(
            Severity::Fault,
            format!("path {} has no route to {}{through}", path.full_name(), path.remote),
            "without one the kernel looks for the peer on the link itself, where it is not, or sends nothing",
            mend,
        ).about(path.full_name())
    });
    found.collect()
}

/// Paths that leave through another interface than the one with their address.
fn wrong_interface(facts: &Facts) -> Vec<Finding> {
    let found = facts.paths.iter().filter_map(|path| {
        let (own, used) = (path.own.as_ref()?, path.leaves_by.as_ref()?);
        let is_other = path.device.is_none() && own != used && used != "lo" && !is_tunnel(facts, used);
        is_other.then(|| {
            Finding::new(
                Severity::Warning,
                format!("path {} has the address {} of {own}, and leaves through {used}", path.full_name(), path.local),
                "Linux sends by destination alone: two addresses do not make two links, and the path shares a cable with another one",
                format!("device = \"{own}\" in path {} of the configuration", path.name),
            ).about(path.full_name())
        })
    });
    found.collect()
}

fn is_tunnel(facts: &Facts, name: &str) -> bool {
    name == facts.tunnel || facts.link(name).and_then(|link| link.kind.as_deref()).is_some_and(is_tunnel_kind)
}

/// Paths that leave through the tunnel itself, or through another one.
fn nested_path(facts: &Facts) -> Vec<Finding> {
    let found = facts.paths.iter().filter_map(|path| {
        let used = path.device.as_ref().or(path.leaves_by.as_ref()).filter(|used| is_tunnel(facts, used))?;
        Some(if *used == facts.tunnel {
            Finding::new(
                Severity::Fault,
                format!("path {} leaves through {used}, the tunnel itself", path.full_name()),
                format!("its datagrams would carry themselves: the route to {} leads into the tunnel", path.remote),
                format!(
                    "device = \"INTERFACE\" in path {} of the configuration, or another network or peer address of the tunnel; see: ip route get {}",
                    path.name, path.remote
                ),
            ).about(path.full_name())
        } else {
            Finding::new(
                Severity::Note,
                format!("path {} leaves through {used}, which is a tunnel, too", path.full_name()),
                "it costs room in every packet, and both tunnels fall together; with two paths inside one tunnel nothing is won",
                format!("if that is not meant: device = \"INTERFACE\" in path {} of the configuration", path.name),
            ).about(path.full_name())
        })
    });
    found.collect()
}

/// A LAN with the tunnel's addresses.
fn same_network(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for network in &facts.tunnel_networks {
        let overlaps = |to: &ipnet::IpNet| to.contains(&network.network()) || network.contains(&to.network());
        let others =
            facts.routes.iter().filter(|route| route.interface != facts.tunnel && route.to.prefix_len() > 1);
        for route in others.filter(|route| overlaps(&route.to)) {
            found.push(Finding::new(
                Severity::Fault,
                format!("{} of the tunnel and {} on {} overlap", network.trunc(), route.to, route.interface),
                "packets for the peer go to that link, or packets for hosts there into the tunnel",
                "another network in tunnel.address and peer, at both ends (on a server: mpt server setup --network)",
            ));
        }
        for path in facts.paths.iter().filter(|path| network.contains(&path.remote)) {
            found.push(
                Finding::new(
                    Severity::Fault,
                    format!(
                        "the peer's outer address {} of path {} is in {} of the tunnel",
                        path.remote,
                        path.full_name(),
                        network.trunc()
                    ),
                    "the route to the peer leads into the tunnel that is to be made of it",
                    "another network in tunnel.address and peer, at both ends",
                )
                .about(path.full_name()),
            );
        }
    }
    found
}

/// Routes that take packets which a default route through the tunnel is for.
fn other_default_route(facts: &Facts) -> Vec<Finding> {
    let Some(wanted) = &facts.wanted else { return Vec::new() };
    let takes_all = |is_ipv4: bool| if is_ipv4 { wanted.all_v4 } else { wanted.all_v6 };
    // The main table's default route is passed over by mpt's rules; its narrower routes come first.
    let halves = facts.routes.iter().filter(|route| {
        route.is_main
            && route.to.prefix_len() == 1
            && route.interface != facts.tunnel
            && takes_all(route.to.addr().is_ipv4())
    });
    let found = halves.map(|route| {
        Finding::new(
            Severity::Warning,
            format!("{} leads through {}, past the tunnel", route.to, route.interface),
            "another program, such as OpenVPN, has made a default route of two halves, which comes before the tunnel's",
            format!("end that program, or: sudo ip route del {} dev {}", route.to, route.interface),
        )
    });
    found.collect()
}

/// The tunnel interface's own queue.
fn tunnel_queue(facts: &Facts) -> Vec<Finding> {
    let Some((link, wanted)) = facts.link(&facts.tunnel).zip(facts.wanted.as_ref()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if link.queue.is_some_and(|queue| queue < wanted.queue) {
        found.push(Finding::new(
            Severity::Warning,
            format!(
                "the queue of {} takes {} packets, not the {} of tunnel.queue",
                link.name,
                link.queue.unwrap_or(0),
                wanted.queue
            ),
            "the kernel drops what comes in a burst that mpt has not read yet",
            format!("sudo ip link set {} txqueuelen {}", link.name, wanted.queue),
        ));
    } else if link.dropped > link.sent / FEW_DROPS && link.dropped > FEW_DROPS {
        found.push(Finding::new(
            Severity::Warning,
            format!(
                "{} dropped {} packets, as its queue of {} was full; {} were sent",
                link.name, link.dropped, wanted.queue, link.sent
            ),
            "mpt does not get the processor often enough for the bursts that applications send",
            format!(
                "queue = {} in [tunnel] of the configuration, and a restart",
                wanted.queue.saturating_mul(2)
            ),
        ));
    }
    found
}

/// The interface that a path of the running tunnel leaves through.
fn interface_of(facts: &Facts, connection: &ConnectionReport, path: &PathReport) -> Option<String> {
    let of = |it: &&PathFacts| it.connection == connection.name && it.name == path.name;
    path.device.clone().or_else(|| facts.paths.iter().find(of)?.own.clone())
}

/// Queues of interfaces that paths leave through: those that mpt keeps short, and those that are short by themselves.
fn path_queue(facts: &Facts) -> Vec<Finding> {
    facts.running_paths().filter_map(|it| too_fast(facts, it)).chain(too_short(facts)).collect()
}

fn too_fast(facts: &Facts, (connection, path): (&ConnectionReport, &PathReport)) -> Option<Finding> {
    let full = path.not_sent.full;
    let name = interface_of(facts, connection, path)?;
    (full > FEW_DROPS && full > path.tx_datagrams / FEW_DROPS).then(|| {
        let mend = if connection.policy == "adaptive" {
            format!("mpt speed {} shows what the path carries; tc -s qdisc show dev {name}: what waits there", connection.name)
        } else {
            "policy = \"adaptive\" in the connection, at both ends: it measures what each path takes".to_owned()
        };
        Finding::new(
            Severity::Warning,
            format!("path {}/{}: {full} datagrams were dropped here, as its queue on {name} was full", connection.name, path.name),
            "the link takes less than is sent on it, and mpt lets nothing wait there for long: an application that does not slow down loses \
             what exceeds it, also while other paths have room",
            mend,
        ).about(format!("{}/{}", connection.name, path.name))
    })
}

fn too_short(facts: &Facts) -> Vec<Finding> {
    let used: BTreeSet<String> = facts
        .running_paths()
        .filter_map(|(connection, path)| interface_of(facts, connection, path))
        .collect();
    let found = used.iter().filter_map(|name| {
        let link = facts.link(name)?;
        let discipline = link.discipline.as_ref()?;
        let (kind, passed, dropped) = (&discipline.kind, discipline.passed, discipline.dropped);
        let mend = match link.queue {
            Some(queue) if BY_LENGTH.contains(&kind.as_str()) => {
                format!("sudo ip link set {name} txqueuelen {}", (queue * 2).max(1000))
            }
            _ => format!("a larger limit, or another queue: tc -s qdisc show dev {name}"),
        };
        (dropped > FEW_DROPS && dropped > passed / FEW_FULL).then(|| {
            Finding::new(
                Severity::Warning,
                format!("the queue of {name} ({kind}) dropped {dropped} packets, and {passed} left"),
                "it is full again and again, by the tunnel or by others: it takes less than comes at once, or the link is slower than what is \
                 sent. What is dropped is sent again, later, or is lost",
                mend,
            )
        })
    });
    found.collect()
}

#[cfg(test)]
mod tests;
