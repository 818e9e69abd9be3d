//! `mpt status`: a report as a table for people, or as JSON for scripts.

use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::config::{NewPath, Rate};
use crate::control::{Answer, Command, ask};
use crate::output;
use crate::report::{ConnectionReport, Dropped, PathReport, Report, SealReport, State};

/// Between two looks of `--watch`.
const INTERVAL: Duration = Duration::from_secs(1);
/// Clears the terminal and goes to its upper left corner.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// How a report is shown.
#[derive(Debug, Clone, Copy)]
pub struct Show {
    /// As one line of JSON.
    pub json: bool,
    /// Again and again, with rates.
    pub watch: bool,
}

/// Runs `mpt status`.
///
/// # Errors
/// When no daemon answers, or it has no connection of that name.
pub fn status(name: Option<&str>, show: Show, socket: Option<&Path>) -> Result<()> {
    let terminal = stdout().is_terminal();
    let mut before: Option<Report> = None;
    loop {
        let report = only(fetch(socket)?, name)?;
        let text = if show.json {
            serde_json::to_string(&report)? + "\n"
        } else {
            let clear = if show.watch && terminal { CLEAR } else { "" };
            let colour = terminal && std::env::var_os("NO_COLOR").is_none();
            format!("{clear}{}", table(&report, before.as_ref(), colour))
        };
        let somebody_reads = output::print(&text)?;
        if !show.watch || !somebody_reads {
            return Ok(());
        }
        before = Some(report);
        std::thread::sleep(INTERVAL);
    }
}

/// Runs `mpt path up NAME` and `mpt path down NAME`.
///
/// # Errors
/// When no daemon answers, or the name is unknown or ambiguous.
pub fn set_path(name: &str, enabled: bool, socket: Option<&Path>) -> Result<()> {
    let path = name.to_owned();
    let command = if enabled { Command::PathUp { path } } else { Command::PathDown { path } };
    match ask(socket, command)? {
        Answer::Path { path, enabled, .. } => {
            output::print(&format!("{path} is {}\n", if enabled { "enabled" } else { "disabled" })).map(drop)
        }
        other => bail!("unexpected answer: {other:?}"),
    }
}

/// Runs `mpt path add`.
///
/// # Errors
/// When no daemon answers, or the path cannot be.
pub fn add_path(connection: String, new: NewPath, socket: Option<&Path>) -> Result<()> {
    match ask(socket, Command::PathAdd { connection, new })? {
        Answer::Path { path, .. } => output::print(&format!("{path} is added\n")).map(drop),
        other => bail!("unexpected answer: {other:?}"),
    }
}

/// Runs `mpt path remove NAME`.
///
/// # Errors
/// When no daemon answers, the name is unknown or ambiguous, or the path cannot go.
pub fn remove_path(path: String, socket: Option<&Path>) -> Result<()> {
    match ask(socket, Command::PathRemove { path })? {
        Answer::Path { path, .. } => output::print(&format!("{path} is removed\n")).map(drop),
        other => bail!("unexpected answer: {other:?}"),
    }
}

/// Runs `mpt reload`.
///
/// # Errors
/// When no daemon runs, or the configuration has an error or needs a new start.
pub fn reload(socket: Option<&Path>) -> Result<()> {
    match ask(socket, Command::Reload)? {
        Answer::Reload { reloaded, .. } => output::print(&format!("{reloaded}\n")).map(drop),
        other => bail!("unexpected answer: {other:?}"),
    }
}

/// Asks a running mpt for its report.
///
/// # Errors
/// When no daemon answers.
pub fn fetch(socket: Option<&Path>) -> Result<Report> {
    match ask(socket, Command::Status)? {
        Answer::Report(report) => Ok(report),
        other => bail!("unexpected answer: {other:?}"),
    }
}

fn only(mut report: Report, name: Option<&str>) -> Result<Report> {
    if let Some(name) = name {
        let names: Vec<String> =
            report.connections.iter().map(|connection| connection.name.clone()).collect();
        report.connections.retain(|connection| connection.name == name);
        if report.connections.is_empty() {
            bail!("no connection is named {name}; there are {}", names.join(", "));
        }
    }
    Ok(report)
}

/// The report as text; with an earlier one, rates and shares are those since then.
pub fn table(report: &Report, before: Option<&Report>, colour: bool) -> String {
    let tunnel = &report.tunnel;
    let seconds = before
        .map(|b| Duration::from_millis(tunnel.uptime_ms.saturating_sub(b.tunnel.uptime_ms)).as_secs_f64());
    let mut text = format!(
        "{}  {}  MTU {}  up {}\n",
        tunnel.name,
        tunnel.addresses.join(", "),
        tunnel.mtu,
        duration(Duration::from_millis(tunnel.uptime_ms))
    );
    text += &dropped(&tunnel.dropped);
    for connection in &report.connections {
        let earlier = before.and_then(|b| b.connections.iter().find(|c| c.name == connection.name));
        text += &connection_text(connection, earlier.zip(seconds), colour);
    }
    text
}

fn connection_text(
    connection: &ConnectionReport,
    before: Option<(&ConnectionReport, f64)>,
    colour: bool,
) -> String {
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
    let rate = |now: u64, then: fn(&ConnectionReport) -> u64| {
        before.map_or(String::new(), |(b, seconds)| {
            format!(", {}", bit_rate(now.saturating_sub(then(b)), seconds))
        })
    };
    text += &format!(
        "  sent {} packets, {}{}; received {} packets, {}{}\n",
        c.tx_packets,
        bytes(c.tx_bytes),
        rate(c.tx_bytes, |b| b.counters.tx_bytes),
        c.rx_packets,
        bytes(c.rx_bytes),
        rate(c.rx_bytes, |b| b.counters.rx_bytes),
    );
    let rare = [
        ("came early and waited", c.rx_held),
        ("lost on the way", c.rx_lost),
        ("put together from fragments", c.rx_reassembled),
        ("fragments sent", c.tx_fragments),
        ("dropped to keep the queue short", c.tx_dropped),
        ("marked to keep the queue short", c.tx_marked),
        ("sent again", c.tx_resent),
        ("not sent as no path was up", c.tx_no_path),
        ("not sent as too large", c.tx_too_large),
        ("not sent as more than the limit", c.tx_limited),
        ("restarts of the peer", c.rx_restarts),
        ("reports that cannot be true", c.rx_bad_reports),
    ];
    let rare: Vec<String> =
        rare.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")).collect();
    if !rare.is_empty() {
        text += &format!("  {}\n", rare.join(", "));
    }
    text += &dropped(&connection.dropped);
    text + &paths_text(&connection.paths, before.map(|(b, seconds)| (&b.paths[..], seconds)), colour)
        + &models_text(&connection.paths)
}

/// What it is limited to as an access is shared.
fn shares_text(connection: &ConnectionReport) -> String {
    let shares = [
        (connection.uplink_share_bps, "its share of the uplink now:"),
        (connection.downlink_share_bps, "of the downlink it may take now:"),
        (connection.asked_bps, "the peer asks for no more than"),
    ];
    let shares: Vec<String> = shares
        .iter()
        .filter_map(|(bits, what)| Some(format!("{what} {}", scaled((*bits)?, &BIT_RATES))))
        .collect();
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
fn policy_text(connection: &ConnectionReport) -> String {
    let why = match connection.mode_reason.as_deref() {
        None => return connection.policy.clone(),
        Some("peer_cannot") if !connection.peer_is_mpt => "the peer has not been heard",
        Some("peer_cannot") => "the peer does not speak it",
        Some("no_memory") => "it needs memory and sequence numbers",
        Some("no_reports") => "the peer does not report",
        Some(other) => other,
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
            scaled(model.rate, &BIT_RATES),
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
    let head = ["SENDS ON", "TIER", "RATE", "PHASE", "EXTRA DELAY", "QUEUE", "JITTER", "LOST", "LIMITED BY"];
    aligned(head, &rows, |_, padded| padded)
}

fn paths_text(paths: &[PathReport], before: Option<(&[PathReport], f64)>, colour: bool) -> String {
    let earlier =
        |path: &PathReport| before.and_then(|(b, _)| b.iter().find(|earlier| earlier.name == path.name));
    let sent = |path: &PathReport| path.tx_bytes.saturating_sub(earlier(path).map_or(0, |e| e.tx_bytes));
    let all: u64 = paths.iter().map(sent).sum();
    let traffic = |datagrams: u64, total: u64, then: Option<u64>| match (before, then) {
        (Some((_, seconds)), Some(then)) => bit_rate(total.saturating_sub(then), seconds),
        _ => format!("{datagrams} / {}", bytes(total)),
    };
    let rows = paths.iter().map(|path| {
        let state = match (path.state, &path.reason) {
            (State::Up, _) => "up".to_owned(),
            (State::Down, Some(reason)) => format!("down ({reason})"),
            (State::Down, None) => "down".to_owned(),
        };
        let device = path.device.as_ref().map_or(String::new(), |device| format!(" on {device}"));
        let remote = path.remote.map_or("(not known yet)".to_owned(), |remote| remote.to_string());
        let then = earlier(path);
        [
            path.name.clone(),
            state,
            format!("{}{device} -> {remote}", path.local),
            path.rtt_us.map_or("-".to_owned(), milliseconds),
            path.weight.to_string(),
            (sent(path) * 100).checked_div(all).map_or("-".to_owned(), |percent| format!("{percent} %")),
            traffic(path.tx_datagrams, path.tx_bytes, then.map(|t| t.tx_bytes)),
            traffic(path.rx_datagrams, path.rx_bytes, then.map(|t| t.rx_bytes)),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let head = ["PATH", "STATE", "LOCAL -> REMOTE", "RTT", "WEIGHT", "SHARE", "SENT", "RECEIVED"];
    let mut text = aligned(head, &rows, |column, padded| match padded.trim_end() {
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
        let roaming = path.roaming.unwrap_or_default();
        let followed = [
            ("times its peer was found at another address", roaming.moves),
            ("addresses that did not prove to be its peer's", roaming.unproven),
            ("addresses that did while its peer was still at the old one", roaming.kept),
        ];
        let followed: Vec<String> =
            followed.iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{n} {what}")).collect();
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
fn aligned<const N: usize>(
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

fn milliseconds(us: u64) -> String {
    format!("{}.{} ms", us / 1000, us % 1000 / 100)
}

fn dropped(reasons: &Dropped) -> String {
    let reasons: Vec<String> = reasons
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    if reasons.is_empty() { String::new() } else { format!("  dropped: {}\n", reasons.join(", ")) }
}

fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

pub(crate) fn bytes(count: u64) -> String {
    scaled(count, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

fn bit_rate(bytes: u64, seconds: f64) -> String {
    if seconds <= 0.0 {
        return "-".into();
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "for display"
    )]
    let bits = (bytes as f64 * 8.0 / seconds).round() as u64;
    scaled(bits, &BIT_RATES)
}

const BIT_RATES: [&str; 7] = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", "Pbit/s", "Ebit/s"];

/// With one digit after the point from a thousand on.
fn scaled(count: u64, units: &[&str]) -> String {
    let (mut whole, mut tenth) = (count, None);
    let mut unit = units.iter();
    let mut name = unit.next();
    while whole >= 1000 {
        let Some(next) = unit.next() else { break };
        (whole, tenth, name) = (whole / 1000, Some(whole % 1000 / 100), Some(next));
    }
    let name = name.copied().unwrap_or_default();
    tenth.map_or(format!("{whole} {name}"), |tenth| format!("{whole}.{tenth} {name}"))
}

#[cfg(test)]
mod tests;
