//! Checks of the connections of a running tunnel, and of the program that runs it.

use std::cmp::Ordering;
use std::time::Duration;

use super::facts::Facts;
use super::finding::{Check, Finding, Severity};
use crate::measure::versions::Said;
use crate::report::{ConnectionReport, State};
use crate::units::{bit_rate, bytes};

/// All of them.
pub(super) const CHECKS: [Check; 7] = [
    Check { name: "peer_set_up_otherwise", needs_tunnel: true, look: set_up_otherwise },
    Check { name: "foreign_packets", needs_tunnel: true, look: foreign_packets },
    Check { name: "old_program", needs_tunnel: true, look: old_program },
    Check { name: "old_peer", needs_tunnel: true, look: old_peer },
    Check { name: "peer_version", needs_tunnel: true, look: peer_version },
    Check { name: "memory", needs_tunnel: true, look: memory },
    Check { name: "clock_steps", needs_tunnel: true, look: clock_steps },
];

/// What to do where the peer is older.
const NEWER_THERE: &str = "the same version there, as the peer is older: apt install ./mpt_VERSION_ARCH.deb, or the program by hand; then \
                           sudo systemctl restart 'mpt@*' there";
/// What to do where neither is known to be.
const SAME: &str = "the same version at both ends: `mpt --version`";
/// Besides a round trip, packets are kept until it is known that they arrived, and wait in the queue: as long, together.
const KEPT_LONGER: Duration = Duration::from_millis(80);
/// The system's clock is stepped once or twice when a machine starts.
const USUAL_STEPS: u64 = 2;

fn set_up_otherwise(facts: &Facts) -> Vec<Finding> {
    let found = facts.connections().filter_map(|connection| {
        let problem = connection.problem.as_ref()?;
        Some(Finding::new(
            Severity::Fault,
            format!("{}: the peer {problem}", connection.name),
            "nothing that it sends is taken",
            "what the sentence says, at the end that it is about; `mpt check FILE` prints this end's public key",
        ))
    });
    found.collect()
}

fn foreign_packets(facts: &Facts) -> Vec<Finding> {
    let found = facts.connections().filter(|connection| connection.problem.is_none()).filter_map(|connection| {
        let count = connection.dropped.get("wrong_inner_source").copied().filter(|count| *count > 0)?;
        Some(Finding::new(
            Severity::Warning,
            format!("{}: {count} packets came from addresses that are not behind this peer", connection.name),
            "they are dropped: a LAN behind the peer is not in the configuration here, or the peer does not put its own address into them",
            "[[connection.network]] with to = \"NETWORK\" here, or share = [\"NETWORK\"] in [tunnel] of the peer",
        ))
    });
    found.collect()
}

/// The program was replaced, and the process is the one of before.
fn old_program(facts: &Facts) -> Vec<Finding> {
    let running = facts.report.iter().map(|report| &report.tunnel.program);
    let other = running.filter(|running| **running != facts.program);
    let found = other.map(|running| {
        let running = if running.is_empty() { "an earlier one" } else { running };
        Finding::new(
            Severity::Warning,
            format!("the tunnel is run by version {running}, and this program is version {}", facts.program),
            "what was mended or came with the newer one is not there until the tunnel is started again",
            "sudo systemctl restart 'mpt@*'",
        )
    });
    found.collect()
}

fn old_peer(facts: &Facts) -> Vec<Finding> {
    let found = facts.connections().filter_map(|connection| {
        let is_up = connection.paths.iter().any(|path| path.state == State::Up);
        let why = match connection.mode_reason.as_deref().filter(|_| is_up)? {
            "peer_cannot" if connection.peer_is_mpt => "the peer does not speak what policy \"adaptive\" needs",
            "no_reports" => "the peer has stopped to report what arrives",
            _ => return None,
        };
        Some(Finding::new(
            Severity::Warning,
            format!("{}: packets are sent by weight, as {why}", connection.name),
            "rates and delays of the paths are not measured, so that a slow path holds up the others",
            "the same version of mpt at both ends, policy = \"adaptive\" and sequence = true there; `mpt --version`",
        ))
    });
    found.collect()
}

/// Peers that run another version than this tunnel.
fn peer_version(facts: &Facts) -> Vec<Finding> {
    let running = facts.report.as_ref().map(|report| report.tunnel.program.as_str());
    let own = running.filter(|running| !running.is_empty()).unwrap_or(&facts.program);
    facts.peers.iter().filter_map(|(connection, said)| another_version(connection, said, own)).collect()
}

fn another_version(connection: &str, said: &Said, own: &str) -> Option<Finding> {
    let warns = |what: String, mend: &str| {
        Some(Finding::new(
            Severity::Warning,
            format!("{connection}: {what}, and this tunnel {own}"),
            "what came with the newer one, or was mended in it, is not there between the two",
            mend,
        ))
    };
    let there = match said {
        Said::Version(there) if there == own => return None,
        Said::Version(there) => there,
        Said::NotThat => {
            return warns(
                "the peer is run by an earlier version, which does not say its number".into(),
                NEWER_THERE,
            );
        }
        Said::OtherQuestions => {
            return warns("the peer is run by a version that speaks otherwise of itself".into(), SAME);
        }
        Said::Nothing => return None,
    };
    let (Some(of_peer), Some(of_own)) = (numbers(there), numbers(own)) else {
        return warns(format!("the peer is run by version {there}"), SAME);
    };
    let mend = match of_peer.cmp(&of_own) {
        Ordering::Less => NEWER_THERE,
        Ordering::Greater => {
            "the same version here, as this end is older: apt install ./mpt_VERSION_ARCH.deb, or the program by hand; then \
                              sudo systemctl restart 'mpt@*'"
        }
        Ordering::Equal => SAME,
    };
    let finding = warns(format!("the peer is run by version {there}"), mend)?;
    let is_patch = of_peer[..2] == of_own[..2];
    Some(if is_patch { Finding { severity: Severity::Note, ..finding } } else { finding })
}

/// Major, minor and patch of a version; what follows them does not count.
fn numbers(version: &str) -> Option<[u32; 3]> {
    let core = version.split(['-', '+']).next()?;
    let parts: Vec<u32> = core.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    parts.try_into().ok()
}

/// Whether what is under way on all paths has room in the memory for packets to be sent.
fn memory(facts: &Facts) -> Vec<Finding> {
    facts.connections().filter_map(too_small).collect()
}

fn too_small(connection: &ConnectionReport) -> Option<Finding> {
    let has = connection.memory_bytes?;
    let up = connection.paths.iter().filter(|path| path.state == State::Up);
    let measured = up.filter_map(|path| Some((path.measured()?.rate, path.rtt_us?)));
    let (rate, longest) = measured.fold((0, 0), |(sum, longest), (rate, rtt)| (sum + rate, rtt.max(longest)));
    let kept_us = longest + u64::try_from(KEPT_LONGER.as_micros()).unwrap_or(u64::MAX);
    let needs = u64::try_from(u128::from(rate / 8) * u128::from(kept_us) / 1_000_000).unwrap_or(u64::MAX);
    (needs > has).then(|| {
        Finding::new(
            Severity::Warning,
            format!(
                "{}: {} for packets to be sent, and {} at {} ms round trip take {}",
                connection.name,
                bytes(has),
                bit_rate(rate),
                longest / 1000,
                bytes(needs)
            ),
            "when it is full, packets are dropped before the paths are",
            format!("memory_mb = {} in [connection.adaptive]", needs.div_ceil(1 << 20) * 3 / 2),
        )
    })
}

fn clock_steps(facts: &Facts) -> Vec<Finding> {
    let steps = facts.report.as_ref().map_or(0, |report| report.tunnel.clock_steps);
    let found = (steps > USUAL_STEPS).then(|| {
        Finding::new(
            Severity::Note,
            format!("the system's clock was set {steps} times since the tunnel started"),
            "datagrams are stamped by it; mpt notices each step and leaves out what it would tell wrongly, but delays are known less well",
            "let one program keep the time, which slews: sudo apt install chrony; see: timedatectl",
        )
    });
    found.into_iter().collect()
}

#[cfg(test)]
mod tests;
