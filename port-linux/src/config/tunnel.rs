//! `[tunnel]`.

use std::collections::HashMap;

use toml::Spanned;

use super::error::Source;
use super::gateway::Lists;
use super::seen::earlier;
use super::{ConfigError, QUEUE, TUNNEL_NAME, Tunnel, file};

/// The smallest MTU of an interface that carries IPv6 (RFC 8200 section 5).
pub(super) const IPV6_MIN_MTU: u16 = 1280;

/// Reads the table.
pub(super) fn tunnel(table: file::Tunnel, source: &Source) -> Result<Tunnel, ConfigError> {
    if table.address.get_ref().is_empty() {
        return Err(source.error(&table.address.span(), "no address", "one address or more"));
    }
    let mut seen = HashMap::new();
    let mut addresses = Vec::new();
    for address in table.address.into_inner() {
        let (at, address) = (address.span(), address.into_inner().0.0);
        if let Some(line) = earlier(&mut seen, address.addr(), source.line(&at)) {
            return Err(source.error(
                &at,
                format_args!("stands in line {line} already"),
                "each address once",
            ));
        }
        addresses.push(address);
    }
    let has_ipv6 = addresses.iter().any(|address| address.addr().is_ipv6());
    let mtu = match table.mtu {
        Some(mtu) => {
            let at = mtu.span();
            let mtu = mtu.into_inner().0;
            if has_ipv6 && mtu.is_some_and(|bytes| bytes < IPV6_MIN_MTU) {
                let problem = "too small for IPv6 (RFC 8200 section 5), and the tunnel has an IPv6 address";
                return Err(source.error(&at, problem, "\"auto\" or a whole number from 1280 to 65535"));
            }
            mtu
        }
        None => None,
    };
    let mut tunnel = Tunnel {
        name: table.name.map_or_else(|| TUNNEL_NAME.to_owned(), |name| name.0.0),
        addresses,
        mtu,
        queue: table.queue.map_or(QUEUE, |queue| queue.0),
        offload: table.offload.unwrap_or(true),
        history: table.history.unwrap_or(true),
        kill_switch: table.kill_switch.is_some_and(Spanned::into_inner),
        share: Vec::new(),
        masquerade: table.masquerade.unwrap_or(false),
        dns: Vec::new(),
        direct: Vec::new(),
        responder: table.responder.unwrap_or(true),
    };
    Lists { share: table.share, dns: table.dns, direct: table.direct }.check(&mut tunnel, source)?;
    Ok(tunnel)
}
