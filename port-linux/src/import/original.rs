//! The original's tunnel interface and connections, read with the original's own defaults, in our words.

use std::net::IpAddr;

use ipnet::IpNet;
use mpt_proto::MAX_PATHS;

use super::ImportError;
use super::address::{ADDRESS, address_of_version, ip_version};
use super::ini::{Ini, Section};
use super::path::{self, Path, interface_name};
use super::remarks;

/// `interface.conf`
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) mtu: u32,
    pub(super) addresses: Vec<IpNet>,
    pub(super) remarks: Vec<String>,
}

/// A file of `connections/`.
pub(super) struct Connection {
    pub(super) files: Vec<String>,
    pub(super) name: String,
    pub(super) peers: Vec<IpAddr>,
    /// `None`: the kernel picks one.
    pub(super) port: Option<u16>,
    pub(super) remote_port: u16,
    pub(super) window: u32,
    pub(super) delay_ms: u32,
    pub(super) paths: Vec<Path>,
    pub(super) networks: Vec<Network>,
    pub(super) remarks: Vec<String>,
}

/// `[net_n]`
pub(super) struct Network {
    pub(super) to: IpNet,
    pub(super) from: IpNet,
    pub(super) remarks: Vec<String>,
}

/// The original's numbers where it has no key to say them.
mod default {
    pub(super) const TUNNEL_NAME: &str = "tun0";
    pub(super) const TUNNEL_MTU: u32 = 1440;
    pub(super) const REMOTE_PORT: u32 = 65_000;
    pub(super) const IP_VERSION: u32 = 6;
    pub(super) const DELAY_MS: u32 = 100;
}

const CIDR: &str = "ADDRESS/LENGTH, such as 10.0.0.2/24";

/// Reads `interface.conf`.
pub(super) fn interface(mut ini: Ini) -> Result<Interface, ImportError> {
    let mut remarks = Vec::new();
    let mut general = ini.require("general", "a section [general] with tunnel_num = 1")?;
    let (tunnels, entry) = general.number("tunnel_num", 0, 0..=u32::from(u8::MAX))?;
    let allowed = "1 or more: the number of sections [tun_n]";
    let Some(last) = tunnels.checked_sub(1) else {
        return Err(match entry {
            Some(entry) => entry.refused("no tunnel", allowed),
            None => general.missing("tunnel_num", allowed),
        });
    };
    remarks::leftovers(general, &mut remarks);

    let mut tun = ini.require(&format!("tun_{last}"), "the section that tunnel_num announces")?;
    let name = match tun.take("name") {
        Some(entry) => interface_name(&entry, &entry.value)?,
        None => default::TUNNEL_NAME.to_owned(),
    };
    let (mut mtu, entry) = tun.number("mtu", default::TUNNEL_MTU, 576..=65_535)?;
    let mut addresses = Vec::new();
    for (key, ipv4) in [("ipv4_addr", true), ("ipv6_addr", false)] {
        let Some(entry) = tun.take(key) else { continue };
        let address: IpNet = entry.parse(CIDR)?;
        if address.addr().is_ipv4() != ipv4 {
            return Err(entry.refused("the other IP version", CIDR));
        }
        if address.prefix_len() == 0 {
            remarks.push(format!("{entry}: prefix length 0 means that there is none"));
        } else {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(
            tun.missing("ipv4_addr, ipv6_addr", "at least one of them, with a prefix length of 1 or more")
        );
    }
    if addresses.iter().any(|address| address.addr().is_ipv6()) && mtu < 1280 {
        if let Some(entry) = entry {
            remarks.push(format!(
                "{entry}: raised to 1280, the least that IPv6 works with (RFC 8200 section 5)"
            ));
        }
        mtu = 1280;
    }
    remarks::leftovers(tun, &mut remarks);
    remarks.extend(
        ini.rest().map(|section| format!("{}: the original uses only [tun_{last}]", section.place())),
    );
    Ok(Interface { name, mtu, addresses, remarks })
}

/// Reads a file of `connections/`; `tunnel` are the addresses of `interface.conf`.
pub(super) fn connection(mut ini: Ini, tunnel: &[IpNet]) -> Result<Connection, ImportError> {
    let file = ini.file.clone();
    let mut remarks = Vec::new();
    let mut section = ini.require("connection", "a section [connection]")?;
    let name = section.take("name").map_or_else(|| "connection".to_owned(), |entry| entry.value);

    let ipv4 = ip_version(&mut section, default::IP_VERSION)?;
    let peer =
        section.take("ip_remote").ok_or_else(|| section.missing("ip_remote", "the peer's tunnel address"))?;
    let peer_address = address_of_version(
        &peer,
        ipv4,
        "the peer's tunnel address, of the version that ip_ver says (6 without ip_ver)",
    )?;
    let Some(own) = tunnel.iter().find(|own| own.addr().is_ipv4() == ipv4) else {
        let problem = "interface.conf gives the tunnel no address of this IP version";
        return Err(peer.refused(problem, "a version that the tunnel has, too"));
    };
    if own.addr() == peer_address {
        return Err(peer.refused("this is our own tunnel address", "the peer's tunnel address"));
    }
    if let Some(entry) = section.take("ip_local")
        && entry.parse::<IpAddr>(ADDRESS)? != own.addr()
    {
        remarks.push(format!("{entry}: the address of interface.conf counts, {}", own.addr()));
    }

    let (port, entry) = section.number("local_port", 0, 0..=65_535)?;
    let port = narrow(port).filter(|&port| port != 0);
    if port.is_none() {
        let at = entry
            .map_or_else(|| format!("{} local_port is missing", section.place()), |entry| entry.to_string());
        remarks.push(format!(
            "{at}: the original lets the kernel pick a port; here it is {}, and the peer \
            has to have it as its remote_port",
            crate::config::PORT
        ));
    }
    let (remote_port, _) = section.number("remote_port", default::REMOTE_PORT, 1..=65_535)?;
    let (window, entry) = section.number("reorder_window", 0, 0..=65_535)?;
    if window == 0 {
        let at = entry.map_or_else(
            || format!("{} reorder_window is missing", section.place()),
            |entry| entry.to_string(),
        );
        remarks.push(format!(
            "{at}: so the original neither sends sequence numbers nor restores order, \
            and `sequence = false` does the same; without the key, and with a window, both ends restore order"
        ));
    }
    let (mut delay_ms, entry) = section.number("max_buffdelay_msec", 0, 0..=u32::MAX)?;
    if delay_ms == 0 {
        delay_ms = default::DELAY_MS;
    } else if delay_ms > 10_000
        && let Some(entry) = entry
    {
        remarks.push(format!("{entry}: lowered to 10000, the longest that mpt lets a packet wait"));
        delay_ms = 10_000;
    }
    let most = u32::try_from(MAX_PATHS).unwrap_or(u32::MAX);
    let (path_count, entry) = section.number("path_count", 0, 0..=u32::from(u8::MAX))?;
    if path_count == 0 || path_count > most {
        let allowed = format!("1 to {most} paths");
        return Err(match entry {
            Some(entry) => entry.refused("mpt cannot do this", &allowed),
            None => section.missing("path_count", &allowed),
        });
    }
    let (network_count, _) = section.number("network_count", 0, 0..=u32::from(u8::MAX))?;
    remarks::leftovers(section, &mut remarks);

    let paths = (0..path_count)
        .map(|n| {
            path::read(
                ini.require(&format!("path_{n}"), "a section for each path that path_count announces")?,
            )
        })
        .collect::<Result<_, _>>()?;
    let networks = (0..network_count)
        .map(|n| {
            network(
                ini.require(&format!("net_{n}"), "a section for each network that network_count announces")?,
            )
        })
        .collect::<Result<_, _>>()?;
    remarks.extend(ini.rest().map(|section| {
        format!("{}: not used: path_count = {path_count}, network_count = {network_count}", section.place())
    }));
    Ok(Connection {
        files: vec![file],
        name,
        peers: vec![peer_address],
        port,
        remote_port: narrow(remote_port).unwrap_or_default(),
        window,
        delay_ms,
        paths,
        networks,
        remarks,
    })
}

fn network(mut section: Section) -> Result<Network, ImportError> {
    let mut remarks = Vec::new();
    let ipv4 = ip_version(&mut section, 4)?;
    let mut side = |key: &str| {
        let entry = section.take(key).ok_or_else(|| section.missing(key, CIDR))?;
        let network: IpNet = entry.parse(CIDR)?;
        if network.addr().is_ipv4() != ipv4 {
            return Err(entry.refused("not the version that ip_ver says (4 without ip_ver)", CIDR));
        }
        if network != network.trunc() {
            remarks.push(format!("{entry}: the network is {}", network.trunc()));
        }
        Ok(network.trunc())
    };
    let (from, to) = (side("src_addr")?, side("dst_addr")?);
    remarks::leftovers(section, &mut remarks);
    Ok(Network { to, from, remarks })
}

fn narrow(number: u32) -> Option<u16> {
    u16::try_from(number).ok()
}
