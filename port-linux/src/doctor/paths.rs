//! Checks of the paths of a running tunnel.

use super::facts::{Facts, PathFacts};
use super::finding::{Check, Finding, Severity};
use crate::mtu;
use crate::report::{ConnectionReport, PathReport, State};
use crate::units::bit_rate;

/// All of them.
pub(super) const CHECKS: [Check; 11] = [
    Check { name: "no_answer", needs_tunnel: true, look: no_answer },
    Check { name: "waiting_path", needs_tunnel: true, look: waiting_path },
    Check { name: "path_out_of_use", needs_tunnel: true, look: path_out_of_use },
    Check { name: "throttled_path", needs_tunnel: true, look: throttled_path },
    Check { name: "unsteady_path", needs_tunnel: true, look: unsteady_path },
    Check { name: "small_datagrams", needs_tunnel: true, look: small_datagrams },
    Check { name: "no_ecn", needs_tunnel: true, look: no_ecn },
    Check { name: "no_segmentation", needs_tunnel: true, look: no_segmentation },
    Check { name: "socket_buffers", needs_tunnel: true, look: socket_buffers },
    Check { name: "forgetful_nat", needs_tunnel: true, look: forgetful_nat },
    Check { name: "costly_path", needs_tunnel: true, look: costly_path },
];

/// A path that goes down, or moves, more often than once in this time is worth a word, from [`OFTEN`] times on.
const SELDOM_S: u64 = 600;
/// See [`SELDOM_S`].
const OFTEN: u64 = 3;
/// A path that carries less than this fraction (1 in 20) of what all carry costs more than it gives, if it has
/// [`LONG_WAIT_US`] or [`MANY_LOST`], too.
const SMALL_SHARE: u64 = 20;
/// Microseconds that packets of other paths wait for those of one path, from which on it costs them much.
const LONG_WAIT_US: u32 = 100_000;
/// The fraction of its datagrams (1 in 20) from which on a path loses many.
const MANY_LOST: u64 = 20;

/// What a check of one path finds.
type OfPath<'a> = (&'a ConnectionReport, &'a PathReport);

fn each(facts: &Facts, look: impl Fn(OfPath<'_>) -> Option<Finding>) -> Vec<Finding> {
    facts.running_paths().filter_map(|it| Some(look(it)?.about(name(it)))).collect()
}

fn name((connection, path): OfPath<'_>) -> String {
    format!("{}/{}", connection.name, path.name)
}

/// A path that does not work is a fault if no other one does.
fn severity(connection: &ConnectionReport) -> Severity {
    let some_work = connection.paths.iter().any(|path| path.state == State::Up);
    if some_work { Severity::Warning } else { Severity::Fault }
}

fn no_answer(facts: &Facts) -> Vec<Finding> {
    each(facts, |it| {
        let problem = it.1.problem.as_ref()?;
        Some(Finding::new(
            severity(it.0),
            format!("path {}: {problem}", name(it)),
            "nothing travels on it",
            "what the sentence says; then `mpt doctor` and the log at the other end, which knows what it refuses",
        ))
    })
}

fn waiting_path(facts: &Facts) -> Vec<Finding> {
    each(facts, |it| {
        let missing = it.1.waits_for.as_ref()?;
        let is_it = |path: &&PathFacts| path.connection == it.0.name && path.name == it.1.name;
        let is_told = |path: &PathFacts| !path.is_routed || facts.is_filtered(path);
        if facts.paths.iter().find(is_it).is_some_and(is_told) {
            // By the checks of the host, with the command.
            return None;
        }
        let device = it.1.device.as_deref().unwrap_or("INTERFACE");
        let mend = match &it.1.portal {
            Some(portal) => format!(
                "sudo mpt portal {} -- firefox --no-remote --profile \"$(mktemp -d)\" '{}'",
                name(it),
                portal.url
            ),
            None => format!("ip address show {device}; ip route show table all dev {device}"),
        };
        Some(Finding::new(
            severity(it.0),
            format!("path {} waits: {missing}", name(it)),
            "nothing travels on it until that is there",
            mend,
        ))
    })
}

fn path_out_of_use(facts: &Facts) -> Vec<Finding> {
    each(facts, |it| {
        (it.1.reason.as_deref() == Some("disabled")).then(|| {
            Finding::new(
                Severity::Note,
                format!("path {} is out of use", name(it)),
                "it was taken out of use by `mpt path down`, or by enabled = false",
                format!("sudo mpt path up {}", name(it)),
            )
        })
    })
}

fn throttled_path(facts: &Facts) -> Vec<Finding> {
    each(facts, |it| {
        let model = it.1.measured().filter(|model| model.limited_by == "policer")?;
        Some(Finding::new(
            Severity::Warning,
            format!(
                "path {} is throttled to {}: what exceeds that is dropped on the way",
                name(it),
                bit_rate(model.rate)
            ),
            "the provider's tariff, a used up data volume, or a limit for UDP alone",
            "compare with the tariff and with a download past the tunnel; if only UDP is throttled, another port at both ends may help: port, remote_port",
        ))
    })
}

fn uptime_s(facts: &Facts) -> u64 {
    facts.report.as_ref().map_or(0, |report| report.tunnel.uptime_ms / 1000)
}

/// That, for people.
fn uptime(facts: &Facts) -> String {
    let seconds = uptime_s(facts);
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
}

fn is_often(times: u64, facts: &Facts) -> bool {
    times >= OFTEN && uptime_s(facts) / times < SELDOM_S
}

fn unsteady_path(facts: &Facts) -> Vec<Finding> {
    each(facts, |it| {
        is_often(it.1.downs, facts).then(|| {
            Finding::new(
                Severity::Warning,
                format!("path {} went down {} times in {}", name(it), it.1.downs, uptime(facts)),
                "each time packets on it are sent again on others, and what had only this path waits",
                "the log says what happened each time: journalctl -u 'mpt@*'; on a link with long outages, liveness with a longer dead_ms",
            )
        })
    })
}

/// Datagrams as large as the interface takes do not pass: a hop with a smaller MTU, which does not say so.
fn small_datagrams(facts: &Facts) -> Vec<Finding> {
    each(facts, |it| {
        let (now, ceiling) = (it.1.max_datagram, it.1.ceiling);
        let mtu = mtu::of_datagram(now, it.1.local.ip());
        (it.1.state == State::Up && !it.1.seeks_size && now < ceiling).then(|| {
            Finding::new(
                Severity::Note,
                format!("path {} carries datagrams of {now} bytes, though its interface takes {ceiling}", name(it)),
                "a hop on the way has a smaller MTU; mpt has found that by itself, and looks again after each change of the link",
                format!("mtu = {mtu} in path {} of the configuration saves the search", it.1.name),
            )
        })
    })
}

fn no_ecn(facts: &Facts) -> Vec<Finding> {
    each(facts, |it| {
        let fault = it.1.ecn.as_ref()?;
        Some(Finding::new(
            Severity::Note,
            format!("path {} {fault}", name(it)),
            "a router on the way handles ECN wrongly; packets leave without marks there, so a full queue shows by loss only",
            "nothing at this end; tell the provider",
        ))
    })
}

fn no_segmentation(facts: &Facts) -> Vec<Finding> {
    let wanted = facts.wanted.as_ref().is_none_or(|wanted| wanted.offload);
    each(facts, |it| {
        let socket = it.1.socket.as_ref().filter(|socket| wanted && socket.segments <= 1)?;
        let device = it.1.device.as_deref().unwrap_or("INTERFACE");
        Some(Finding::new(
            Severity::Warning,
            format!(
                "path {} sends each datagram in a call of its own ({} at once)",
                name(it),
                socket.segments
            ),
            "the kernel or the interface does not cut large sends (UDP GSO): at high rates the processor is the limit",
            format!(
                "sudo ethtool -K {device} tx on tx-udp-segmentation on; a kernel of 4.18 or later; then restart mpt"
            ),
        ))
    })
}

fn socket_buffers(facts: &Facts) -> Vec<Finding> {
    let mut found = each(facts, |it| {
        let socket = it.1.socket.as_ref()?;
        let granted = socket.receive_buffer.min(socket.send_buffer);
        let limits = facts.buffer_limits.map_or(String::new(), |(receive, send)| {
            format!(" (the limits are {receive} for receiving and {send} for sending)")
        });
        (granted < socket.wanted_buffer).then(|| {
            Finding::new(
                Severity::Warning,
                format!(
                    "the sockets have buffers of {granted} bytes, not of {}{limits}",
                    socket.wanted_buffer
                ),
                "bursts, and pauses of this process, lose datagrams",
                format!(
                    "sudo sysctl net.core.rmem_max={0} net.core.wmem_max={0}; then restart mpt",
                    socket.wanted_buffer
                ),
            )
        })
    });
    // All sockets are made alike.
    found.truncate(1);
    found
}

fn forgetful_nat(facts: &Facts) -> Vec<Finding> {
    each(facts, |it| {
        let moves = it.1.roaming.map_or(0, |roaming| roaming.moves);
        is_often(moves, facts).then(|| {
            Finding::new(
                Severity::Warning,
                format!("the peer of path {} was found at another address {moves} times in {}", name(it), uptime(facts)),
                "a NAT in front of it forgets soon who spoke, or has several addresses: until the peer speaks again, nothing gets there",
                "at the other end, for this path: liveness = { interval_ms = 500, idle_ms = 5000, dead_ms = 1500 }",
            )
        })
    })
}

/// Paths that bring little, and hold up the others or lose much.
fn costly_path(facts: &Facts) -> Vec<Finding> {
    let of_connection = |connection: &ConnectionReport| {
        let up = connection.paths.iter().filter(|path| path.state == State::Up);
        up.filter_map(PathReport::measured).map(|model| model.rate).sum::<u64>()
    };
    each(facts, |it| {
        let model = it.1.measured().filter(|model| it.1.state == State::Up && model.limited_by != "tier")?;
        let is_small = model.rate.saturating_mul(SMALL_SHARE) < of_connection(it.0);
        let holds_up = model.open && model.extra_delay_us > LONG_WAIT_US;
        let loses = model.lost.saturating_mul(MANY_LOST) > it.1.tx_datagrams;
        let cost = match (holds_up, loses) {
            (true, _) => format!("ordered packets wait {} ms longer for it", model.extra_delay_us / 1000),
            (false, true) => format!("{} of its {} datagrams were lost", model.lost, it.1.tx_datagrams),
            (false, false) => return None,
        };
        is_small.then(|| {
            Finding::new(
                Severity::Note,
                format!("path {} carries {} of {}, and {cost}", name(it), bit_rate(model.rate), bit_rate(of_connection(it.0))),
                "it costs the others more than it gives, unless it is there for the case that they fail",
                format!("tier = 1 in path {} of the configuration: then it is used only when the others are full or down", it.1.name),
            )
        })
    })
}

#[cfg(test)]
mod tests;
