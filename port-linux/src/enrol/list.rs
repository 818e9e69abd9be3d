//! `mpt peer list` and `mpt peer show`: the peers of a server, who is there, and over what.

use std::fmt::Write as _;
use std::net::IpAddr;

use anyhow::{Result, bail};
use ipnet::IpNet;
use serde::Serialize;

use super::registry::{Registry, Which};
use crate::config::{Connection, Forward, Rate};
use crate::keys::encode;
use crate::output;
use crate::report::{ConnectionReport, State};
use crate::units::bytes;

/// A peer, for people and scripts.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    addresses: Vec<IpAddr>,
    networks: Vec<IpNet>,
    /// Most bits a second of its packets in each direction; `null`: no limit.
    limit_bps: Option<u64>,
    /// Ports of this server that lead to it, or to hosts behind it.
    forwards: Vec<Forward>,
    public_key: String,
    /// `null`: the server does not run.
    connected: Option<bool>,
    paths: Vec<String>,
    received_bytes: u64,
    sent_bytes: u64,
}

impl Row {
    fn new(peer: &Connection, forwards: &[Forward], reports: Option<&[ConnectionReport]>) -> Self {
        let report = reports.and_then(|reports| reports.iter().find(|report| report.name == peer.name));
        let up = report.into_iter().flat_map(|report| &report.paths).filter(|path| path.state == State::Up);
        let paths: Vec<String> = up.filter_map(|path| Some(path.remote?.ip().to_string())).collect();
        let key = peer.keys.as_ref().map(|keys| encode(keys.public.as_bytes()).as_str().to_owned());
        Self {
            name: peer.name.clone(),
            addresses: peer.peer.clone(),
            networks: peer.networks.iter().map(|network| network.to).collect(),
            limit_bps: peer.limit,
            forwards: forwards.iter().filter(|forward| forward.leads_to(peer)).cloned().collect(),
            public_key: key.unwrap_or_default(),
            connected: reports.map(|_| !paths.is_empty()),
            paths,
            received_bytes: report.map_or(0, |report| report.counters.rx_bytes),
            sent_bytes: report.map_or(0, |report| report.counters.tx_bytes),
        }
    }
}

/// Runs `mpt peer list`, or `mpt peer show NAME` with a name.
///
/// # Errors
/// There is no such peer.
pub fn list(which: &Which, name: Option<&str>, json: bool) -> Result<()> {
    let server = Registry::load(which)?;
    let reports = server.status();
    let wanted = server.peers().filter(|peer| name.is_none_or(|name| peer.name == name));
    let rows: Vec<Row> =
        wanted.map(|peer| Row::new(peer, &server.config.forwards, reports.as_deref())).collect();
    if let Some(name) = name.filter(|_| rows.is_empty()) {
        bail!(server.unknown(name));
    }
    if json {
        return output::print(&(serde_json::to_string(&rows)? + "\n")).map(drop);
    }
    for error in server.config.peer_errors() {
        output::complain(&format!("left out: {error}\n"));
    }
    let text = match (&rows[..], name) {
        ([row], Some(_)) => details(row),
        _ => table(&rows),
    };
    output::print(&text).map(drop)
}

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "There are no peers yet. Add one with: sudo mpt peer add NAME\n".to_owned();
    }
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(4);
    let mut text = format!(
        "{:width$}  {:<16} {:<9} {:>10} {:>10}  PATHS\n",
        "NAME", "ADDRESS", "STATE", "RECEIVED", "SENT"
    );
    for row in rows {
        let address = row.addresses.first().map_or_else(String::new, ToString::to_string);
        let state = row.state();
        let (received, sent) = (bytes(row.received_bytes), bytes(row.sent_bytes));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:width$}  {address:<16} {state:<9} {received:>10} {sent:>10}  {}",
            row.name,
            row.paths.join(", ")
        );
    }
    text
}

impl Row {
    fn state(&self) -> &'static str {
        match self.connected {
            Some(true) => "connected",
            Some(false) => "away",
            None => "?",
        }
    }
}

fn details(row: &Row) -> String {
    let join = |list: &[String]| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    let networks: Vec<String> = row.networks.iter().map(ToString::to_string).collect();
    let addresses: Vec<String> = row.addresses.iter().map(ToString::to_string).collect();
    let limit = row.limit_bps.map_or_else(|| "none".to_owned(), |bits| Rate(bits).to_string());
    let forwards: Vec<String> = row.forwards.iter().map(ToString::to_string).collect();
    format!(
        "{}: {}\n  addresses in the tunnel: {}\n  networks behind it: {}\n  ports that lead to it: {}\n  limit: {limit}\n  public key: {}\n  paths: {}\n  received {}, sent {}\n",
        row.name,
        row.state(),
        join(&addresses),
        join(&networks),
        join(&forwards),
        row.public_key,
        join(&row.paths),
        bytes(row.received_bytes),
        bytes(row.sent_bytes)
    )
}
