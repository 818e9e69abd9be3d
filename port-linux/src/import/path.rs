//! The original's paths, read with the original's own defaults, in our words.

use std::net::IpAddr;

use super::ImportError;
use super::address::{ADDRESS, address_of_version, ip_version};
use super::ini::{Entry, Section};
use super::remarks;
use crate::config::{FromText, InterfaceName};
use crate::link::unspecified;

/// `[path_n]`
pub(super) struct Path {
    pub(super) local: IpAddr,
    pub(super) remote: IpAddr,
    pub(super) device: Option<String>,
    pub(super) weight: u32,
    /// Seconds between keepalives and until death; `None`: no keepalives.
    pub(super) keepalive: Option<(u32, u32)>,
    pub(super) enabled: bool,
    /// Key and ports of `tcp_dst`, `tcp_src`, `udp_dst`, `udp_src`.
    pub(super) pins: Vec<(&'static str, Vec<u16>)>,
    pub(super) remarks: Vec<String>,
}

/// Reads a section `[path_n]`.
pub(super) fn read(mut section: Section) -> Result<Path, ImportError> {
    let mut remarks = Vec::new();
    let ipv4 = ip_version(&mut section, 4)?;
    let device = device(&mut section, &mut remarks)?;
    let remote = section
        .take("remote_ipaddr")
        .ok_or_else(|| section.missing("remote_ipaddr", "the peer's address on this path"))?;
    let remote_address = address_of_version(
        &remote,
        ipv4,
        "the peer's address on this path, of the version that ip_ver says (4 without ip_ver)",
    )?;
    if remote_address.is_unspecified() {
        return Err(remote.refused("mpt has to know where to send", "the peer's address on this path"));
    }
    let local = local_address(&mut section, ipv4, device.is_some(), &mut remarks)?;
    if local == remote_address {
        return Err(remote.refused("this is our own address on this path", "the peer's address on this path"));
    }
    gateway(&mut section, local, remote_address, device.as_deref(), &mut remarks)?;

    let keepalive = keepalive(&mut section, &mut remarks)?;
    let (weight, _) = section.number("weight_out", 1, 1..=10_000)?;
    let (status, entry) = section.number("status", 0, 0..=u32::from(u8::MAX))?;
    if let Some(entry) = entry.filter(|_| status != 0) {
        remarks.push(format!(
            "{entry}: {}; here the path starts disabled, `mpt path up` enables it",
            remarks::path_status(status)
        ));
    }
    let mut pins = Vec::new();
    for key in ["tcp_dst", "tcp_src", "udp_dst", "udp_src"] {
        if let Some(entry) = section.take(key) {
            pins.push((key, ports(&entry, &mut remarks)?));
        }
    }
    remarks::leftovers(section, &mut remarks);
    Ok(Path { local, remote: remote_address, device, weight, keepalive, enabled: status == 0, pins, remarks })
}

/// The original's `dead_time` without the key, in keepalives.
const KEEPALIVES_TO_DEATH: u32 = 3;

/// Longest wait of a liveness table, in seconds: one hour.
const LONGEST_S: u32 = 3600;

/// Seconds between keepalives and until death; `None` without keepalives.
fn keepalive(section: &mut Section, remarks: &mut Vec<String>) -> Result<Option<(u32, u32)>, ImportError> {
    let (keepalive, entry) = section.number("keepalive_time", 0, 0..=u32::from(u8::MAX))?;
    let place = entry
        .map_or_else(|| format!("{} keepalive_time is missing", section.place()), |entry| entry.to_string());
    let default = KEEPALIVES_TO_DEATH * keepalive;
    let (dead, entry) = section.number("dead_time", default, 0..=u32::from(u16::MAX))?;
    if keepalive == 0 {
        remarks.push(format!(
            "{place}: a path that fails beyond this host is not noticed; liveness = \
            \"internet\" on both ends notices it"
        ));
        return Ok(None);
    }
    remarks.push(format!(
        "{place}: the seconds of keepalives are milliseconds of probes here; liveness = \
        \"internet\" notices a dead path sooner"
    ));
    let possible = dead.clamp(2 * keepalive, LONGEST_S);
    if let Some(entry) = entry.filter(|_| possible != dead) {
        let (verb, why) = if possible > dead {
            ("raised", "one lost probe is not a dead path")
        } else {
            ("lowered", "the longest that mpt waits")
        };
        remarks.push(format!("{entry}: {verb} to {possible} s: {why}"));
    }
    Ok(Some((keepalive, possible)))
}

/// The interface of a path; `None` for the original's placeholder.
fn device(section: &mut Section, remarks: &mut Vec<String>) -> Result<Option<String>, ImportError> {
    let Some(entry) = section.take("interface_name") else { return Ok(None) };
    let device = match entry.value.split_once(':') {
        Some((device, _)) => {
            remarks.push(format!(
                "{entry}: the interface is {device}; what follows the colon names only an address"
            ));
            device
        }
        None => &entry.value,
    };
    if matches!(device, "" | "unnamed_path") { Ok(None) } else { interface_name(&entry, device).map(Some) }
}

/// A name that the kernel accepts for an interface.
pub(super) fn interface_name(entry: &Entry, name: &str) -> Result<String, ImportError> {
    InterfaceName::from_text(name).map_err(|problem| entry.refused(problem, InterfaceName::ALLOWED))?;
    Ok(name.to_owned())
}

/// Our address on a path: the private one, else the public one, else whatever the interface has.
fn local_address(
    section: &mut Section,
    ipv4: bool,
    has_device: bool,
    remarks: &mut Vec<String>,
) -> Result<IpAddr, ImportError> {
    let allowed = "an address of the version that ip_ver says (4 without ip_ver)";
    let private = section.take("private_ipaddr");
    let public = section.take("public_ipaddr");
    let given = |entry: &Option<Entry>| match entry {
        Some(entry) if entry.value != "private_ipaddr" => {
            let address = address_of_version(entry, ipv4, allowed)?;
            Ok(Some(address).filter(|address| !address.is_unspecified()))
        }
        _ => Ok(None),
    };
    let (private_address, public_address) = (given(&private)?, given(&public)?);
    if let Some(entry) = &public {
        match (private_address, public_address) {
            (Some(private), Some(public)) if private != public => {
                remarks.push(format!(
                    "{entry}: only the peer needs to know it, as its remote address of this path"
                ));
            }
            (None, Some(_)) => {
                remarks.push(format!(
                    "{entry}: taken for the interface's own address, as private_ipaddr \
                    says none; behind a NAT, write the interface's own here"
                ));
            }
            (_, None) if entry.value != "private_ipaddr" => {
                remarks.push(format!(
                    "{entry}: the original asks a public service for the address; mpt \
                    does not need it, only the peer does"
                ));
            }
            _ => {}
        }
    }
    if let Some(address) = private_address.or(public_address) {
        return Ok(address);
    }
    if !has_device {
        return Err(
            section.missing("private_ipaddr", "our address on this path, or an interface_name that has it")
        );
    }
    let place = private
        .map_or_else(|| format!("{} private_ipaddr is missing", section.place()), |entry| entry.to_string());
    remarks.push(format!("{place}: the kernel chooses an address of the interface"));
    Ok(unspecified(ipv4))
}

/// The original adds a host route through the gateway; mpt leaves the routes below the tunnel alone.
fn gateway(
    section: &mut Section,
    local: IpAddr,
    remote: IpAddr,
    device: Option<&str>,
    remarks: &mut Vec<String>,
) -> Result<(), ImportError> {
    for key in ["gw_ipaddr", "gateway_ipaddr"] {
        let Some(entry) = section.take(key) else { continue };
        let gateway: IpAddr = entry.parse(ADDRESS)?;
        remarks.push(if gateway.is_unspecified() {
            format!("{entry}: mpt uses the routes that are there and does not look for a gateway")
        } else if gateway == local || gateway == remote {
            format!("{entry}: says that {remote} is on the link; mpt needs no route for that")
        } else {
            let device = device.map_or(String::new(), |device| format!(" dev {device}"));
            format!(
                "{entry}: mpt adds no route below the tunnel; unless {remote} is on the link: ip \
                route add {remote} via {gateway}{device}"
            )
        });
    }
    Ok(())
}

/// A list of ports, separated as the original allows it.
fn ports(entry: &Entry, remarks: &mut Vec<String>) -> Result<Vec<u16>, ImportError> {
    const SEPARATORS: [char; 5] = [' ', '\t', ',', ':', ';'];
    let mut list = entry.value.clone();
    if entry.comment.starts_with(|c: char| c.is_ascii_digit())
        && entry.comment.chars().all(|c| c.is_ascii_digit() || SEPARATORS.contains(&c))
    {
        // The original documents the semicolon as a separator, and then reads a comment after it.
        remarks.push(format!(
            "{entry};{}: all these ports count here; the original takes those after the \
            semicolon for a comment",
            entry.comment
        ));
        list = format!("{list} {}", entry.comment);
    }
    let port = |word: &str| word.parse().ok().filter(|&port: &u16| port != 0);
    let allowed = "ports from 1 to 65535, separated by spaces, commas or colons";
    let words = list.split(SEPARATORS).filter(|word| !word.is_empty());
    words
        .map(|word| port(word).ok_or_else(|| entry.refused(format_args!("{word} is no port"), allowed)))
        .collect()
}
