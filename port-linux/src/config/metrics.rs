//! `[metrics]`: where a collector of metrics finds those of the tunnel.

use std::net::SocketAddr;

use toml::Spanned;

use super::error::Source;
use super::file;
use super::value::{FromText, Table};

/// `[metrics]`: whether, and where, others may read what `mpt metrics` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// `socket`: whether they are served on a socket beside the control socket; `true` by default.
    pub socket: bool,
    /// `listen`: a loopback address where they are served by TCP; none by default.
    pub listen: Option<SocketAddr>,
}

/// Reads the table.
pub(super) fn metrics(
    table: Spanned<Table<file::Metrics>>,
    source: &Source<'_>,
    warnings: &mut Vec<String>,
) -> Metrics {
    let at = table.span();
    let table = table.into_inner().0;
    let metrics =
        Metrics { socket: table.socket.unwrap_or(true), listen: table.listen.map(|listen| listen.0.0) };
    if !metrics.socket && metrics.listen.is_none() {
        warnings.push(source.warning(&at, "neither socket nor listen: nobody can read the metrics here"));
    }
    metrics
}

/// An address of this host that no other host reaches, and a port.
pub(super) struct LoopbackAddress(pub(super) SocketAddr);

impl FromText for LoopbackAddress {
    const ALLOWED: &'static str = "a loopback address with a port, such as 127.0.0.1:9475 or [::1]:9475: other hosts need a proxy that knows them";

    fn from_text(text: &str) -> Result<Self, &'static str> {
        let address: SocketAddr = text.parse().map_err(|_| {
            if text.parse::<std::net::IpAddr>().is_ok() {
                "the port is missing"
            } else {
                "not an address with a port"
            }
        })?;
        if !address.ip().is_loopback() {
            return Err("other hosts could read it");
        }
        if address.port() == 0 {
            return Err("port 0 is none");
        }
        Ok(Self(address))
    }
}
