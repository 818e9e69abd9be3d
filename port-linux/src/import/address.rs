//! Addresses and their IP version, as the original writes them.

use std::net::IpAddr;

use super::ImportError;
use super::ini::{Entry, Section};

/// What is allowed where either version is.
pub(super) const ADDRESS: &str = "an IP address";

/// Takes `ip_ver` out; true for IPv4.
pub(super) fn ip_version(section: &mut Section, default: u32) -> Result<bool, ImportError> {
    match section.number("ip_ver", default, 0..=6)? {
        (4, _) => Ok(true),
        (6, _) => Ok(false),
        // The original takes 0 for 4 in paths, where 4 is the default.
        (0, _) if default == 4 => Ok(true),
        (_, Some(entry)) => Err(entry.refused("no such IP version", "4 or 6")),
        (_, None) => Ok(default == 4),
    }
}

/// An address of the version that `ip_version` told.
pub(super) fn address_of_version(entry: &Entry, ipv4: bool, allowed: &str) -> Result<IpAddr, ImportError> {
    let address: IpAddr = entry.parse(allowed)?;
    if address.is_ipv4() != ipv4 {
        return Err(entry.refused("the other IP version", allowed));
    }
    Ok(address)
}
