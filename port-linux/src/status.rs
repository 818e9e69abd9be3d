//! `mpt status`: a report as a table for people, or as JSON for scripts.

use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::config::{NewPath, Rate};
use crate::control::{self, Command, ask};
use crate::counters::{self, Figure};
use crate::output;
use crate::report::{ConnectionReport, Dropped, PathReport, Report, SealReport, State};
use crate::units::{bit_rate, bytes, duration, milliseconds};

/// Columns of the table of paths. docs/operations.md explains each.
pub(crate) const PATH_COLUMNS: [&str; 8] =
    ["PATH", "STATE", "LOCAL -> REMOTE", "RTT", "WEIGHT", "SHARE", "SENT", "RECEIVED"];
/// Columns of the table of what is known of paths.
pub(crate) const MODEL_COLUMNS: [&str; 9] =
    ["SENDS ON", "TIER", "RATE", "PHASE", "EXTRA DELAY", "QUEUE", "JITTER", "LOST", "LIMITED BY"];

/// Runs `mpt status`: as a table, or as one line of JSON.
///
/// # Errors
/// When no daemon answers, or it has no connection of that name.
pub fn status(name: Option<&str>, json: bool, socket: Option<&Path>) -> Result<()> {
    let report = only(control::report(socket)?, name)?;
    let text = if json {
        serde_json::to_string(&report)? + "\n"
    } else {
        table(&report, stdout().is_terminal() && output::wants_colours())
    };
    output::print(&text).map(drop)
}

/// Runs `mpt path up NAME` and `mpt path down NAME`.
///
/// # Errors
/// When no daemon answers, or the name is unknown or ambiguous.
pub fn set_path(name: &str, enabled: bool, socket: Option<&Path>) -> Result<()> {
    let path = name.to_owned();
    let command = if enabled { Command::PathUp { path } } else { Command::PathDown { path } };
    let (path, enabled) = ask(socket, command)?.path()?;
    output::print(&format!("{path} is {}\n", if enabled { "enabled" } else { "disabled" })).map(drop)
}

/// Runs `mpt path add`.
///
/// # Errors
/// When no daemon answers, or the path cannot be.
pub fn add_path(connection: String, new: NewPath, socket: Option<&Path>) -> Result<()> {
    let (path, _) = ask(socket, Command::PathAdd { connection, new })?.path()?;
    output::print(&format!("{path} is added\n")).map(drop)
}

/// Runs `mpt path remove NAME`.
///
/// # Errors
/// When no daemon answers, the name is unknown or ambiguous, or the path cannot go.
pub fn remove_path(path: String, socket: Option<&Path>) -> Result<()> {
    let (path, _) = ask(socket, Command::PathRemove { path })?.path()?;
    output::print(&format!("{path} is removed\n")).map(drop)
}

/// Runs `mpt reload`.
///
/// # Errors
/// When no daemon runs, or the configuration has an error or needs a new start.
pub fn reload(socket: Option<&Path>) -> Result<()> {
    let reloaded = ask(socket, Command::Reload)?.reloaded()?;
    output::print(&format!("{reloaded}\n")).map(drop)
}

/// The report with the connection of this name alone.
///
/// # Errors
/// When there is none.
pub(crate) fn only(mut report: Report, name: Option<&str>) -> Result<Report> {
    if let Some(name) = name {
        check_name(&report, name)?;
        report.connections.retain(|connection| connection.name == name);
    }
    Ok(report)
}

/// Checks that there is a connection of this name.
///
/// # Errors
/// There is none; which there are.
pub(crate) fn check_name(report: &Report, name: &str) -> Result<()> {
    let names: Vec<&str> = report.connections.iter().map(|connection| connection.name.as_str()).collect();
    if !names.contains(&name) {
        bail!("no connection is named {name}; there are {}", names.join(", "));
    }
    Ok(())
}

/// The report as text.
pub fn table(report: &Report, colour: bool) -> String {
    let tunnel = &report.tunnel;
    let mut text = format!(
        "{}  {}  MTU {}  up {}\n",
        tunnel.name,
        tunnel.addresses.join(", "),
        tunnel.mtu,
        duration(Duration::from_millis(tunnel.uptime_ms))
    );
    text += &dropped(&tunnel.dropped);
    for connection in &report.connections {
        text += &connection_text(connection, colour);
    }
    text
}

fn connection_text(connection: &ConnectionReport, colour: bool) -> String {
    let c = &connection.counters;
    let peers: Vec<String> = connection.peer.iter().map(ToString::to_string).collect();
    let kind = if connection.peer_is_mpt { "peer is mpt" } else { "peer has not said that it is mpt" };
    let policy = policy_text(connection);
    let mut text = format!("\n{}  {}  {policy}  {kind}\n", connection.name, peers.join(", "));
    text += &match (connection.used, &connection.standby_of) {
        (Some(true), Some(first)) => format!("  in use, as {first} does not answer, or has not for long\n"),
        (Some(false), Some(first)) => format!("  stands by for {first}\n"),
        (Some(false), None) => "  not in use: another one has taken over\n".to_owned(),
        _ => String::new(),
    };
    text += &seal_text(connection.seal.as_ref());
    if let Some(problem) = &connection.problem {
        text += &format!("  the peer {problem}\n");
    }
    if let Some(bits) = connection.limit_bps {
        text += &format!("  limited to {} in each direction\n", Rate(bits));
    }
    text += &shares_text(connection);
    text += &format!(
        "  sent {} packets, {}; received {} packets, {}\n",
        c.tx_packets,
        bytes(c.tx_bytes),
        c.rx_packets,
        bytes(c.rx_bytes),
    );
    let rare = Figure::in_words(&counters::CONNECTION, connection);
    if !rare.is_empty() {
        text += &format!("  {}\n", rare.join(", "));
    }
    text += &dropped(&connection.dropped);
    text + &paths_text(&connection.paths, colour) + &models_text(&connection.paths)
}

/// What it is limited to as an access is shared.
fn shares_text(connection: &ConnectionReport) -> String {
    let shares = [
        (connection.uplink_share_bps, "its share of the uplink now:"),
        (connection.downlink_share_bps, "of the downlink it may take now:"),
        (connection.asked_bps, "the peer asks for no more than"),
    ];
    let shares: Vec<String> =
        shares.iter().filter_map(|(bits, what)| Some(format!("{what} {}", bit_rate((*bits)?)))).collect();
    if shares.is_empty() { String::new() } else { format!("  {}\n", shares.join(", ")) }
}

/// Whether packets are sealed, and by what.
fn seal_text(seal: Option<&SealReport>) -> String {
    let Some(seal) = seal else {
        return "  in the clear: everybody on the way can read and change packets\n".into();
    };
    let key = seal.public_key.get(..8).unwrap_or(&seal.public_key);
    match (&seal.cipher, seal.keys_age_ms) {
        (Some(cipher), Some(age)) => {
            format!(
                "  sealed by {cipher}, peer's key {key}.., keys of {} ago\n",
                duration(Duration::from_millis(age))
            )
        }
        _ => format!("  sealed, peer's key {key}..: no handshake with it yet, or none any more\n"),
    }
}

/// The policy, and how packets are sent if not by it.
pub(crate) fn policy_text(connection: &ConnectionReport) -> String {
    let why = match connection.mode_reason.as_deref() {
        None => return connection.policy.clone(),
        Some("peer_cannot") if !connection.peer_is_mpt => "the peer has not been heard",
        Some(other) => counters::meaning(&counters::MODE_REASONS, other).unwrap_or(other),
    };
    let mode = connection.mode.as_deref().unwrap_or_default();
    format!("{} ({mode} now: {why})", connection.policy)
}

/// What the adaptive policy knows of the paths, if it is at work.
fn models_text(paths: &[PathReport]) -> String {
    let rows = paths.iter().filter_map(|path| Some((path, path.model.as_ref()?))).map(|(path, model)| {
        let limit = match (path.state, model.limited_by.as_str()) {
            (State::Down, _) => "outage: it is down",
            (_, "outage") => "outage: it stopped",
            (_, "delay") => "delay: any order",
            (_, "") => "-",
            (_, other) => other,
        };
        [
            path.name.clone(),
            model.tier.to_string(),
            if model.is_measured() { bit_rate(model.rate) } else { "-".to_owned() },
            model.phase.clone(),
            milliseconds(model.extra_delay_us.into()),
            milliseconds(model.queue_us.into()),
            milliseconds(model.jitter_us.into()),
            model.lost.to_string(),
            limit.to_owned(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    aligned(MODEL_COLUMNS, &rows, |_, padded| padded)
}

fn paths_text(paths: &[PathReport], colour: bool) -> String {
    let all: u64 = paths.iter().map(|path| path.tx_bytes).sum();
    let rows = paths.iter().map(|path| {
        let state = match (path.state, &path.reason) {
            (State::Up, _) => "up".to_owned(),
            (State::Down, Some(reason)) => format!("down ({reason})"),
            (State::Down, None) => "down".to_owned(),
        };
        let device = path.device.as_ref().map_or(String::new(), |device| format!(" on {device}"));
        let remote = path.remote.map_or("(not known yet)".to_owned(), |remote| remote.to_string());
        [
            path.name.clone(),
            state,
            format!("{}{device} -> {remote}", path.local),
            path.rtt_us.map_or("-".to_owned(), milliseconds),
            path.weight.to_string(),
            (path.tx_bytes * 100).checked_div(all).map_or("-".to_owned(), |percent| format!("{percent} %")),
            format!("{} / {}", path.tx_datagrams, bytes(path.tx_bytes)),
            format!("{} / {}", path.rx_datagrams, bytes(path.rx_bytes)),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let mut text = aligned(PATH_COLUMNS, &rows, |column, padded| match padded.trim_end() {
        cell if colour && column == 1 => {
            let code = if cell == "up" { "32" } else { "31" };
            format!("\x1b[{code}m{padded}\x1b[0m")
        }
        _ => padded,
    });
    for path in paths {
        if let Some(missing) = &path.waits_for {
            text += &format!("  {} waits: {missing}\n", path.name);
        }
        if let Some(access) = &path.access {
            text += &format!("  {}: its network says: {access}\n", path.name);
        }
        if let Some(problem) = &path.problem {
            text += &format!("  {}: {problem}\n", path.name);
        }
        let followed = Figure::in_words(&counters::PATH, path);
        if !followed.is_empty() {
            text += &format!("  {}: {}\n", path.name, followed.join(", "));
        }
        let lost: Vec<String> =
            path.not_sent.named().iter().filter(|(_, n)| *n > 0).map(|(r, n)| format!("{r} {n}")).collect();
        if !lost.is_empty() {
            text += &format!("  {}: the kernel did not take: {}\n", path.name, lost.join(", "));
        }
    }
    text
}

/// Lines with cells below each other; `paint` gets each padded cell of `rows`, and its column.
pub(crate) fn aligned<const N: usize>(
    head: [&str; N],
    rows: &[[String; N]],
    paint: impl Fn(usize, String) -> String,
) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.fold(head[column].chars().count(), usize::max)
    });
    let pad = |column: usize, cell: &str| format!("{cell:<width$}", width = widths[column]);
    let mut lines = vec![head.iter().enumerate().map(|(column, cell)| pad(column, cell)).collect::<Vec<_>>()];
    lines.extend(rows.iter().map(|row| {
        row.iter().enumerate().map(|(column, cell)| paint(column, pad(column, cell))).collect::<Vec<_>>()
    }));
    lines.iter().map(|cells| format!("  {}\n", cells.join("  ").trim_end())).collect()
}

fn dropped(reasons: &Dropped) -> String {
    let reasons: Vec<String> = reasons
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    if reasons.is_empty() { String::new() } else { format!("  dropped: {}\n", reasons.join(", ")) }
}

#[cfg(test)]
pub(crate) mod tests;
