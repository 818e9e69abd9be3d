//! Paths that come while mpt runs: by a command, or because an interface came.

use std::net::IpAddr;

use mpt_proto::{Liveness, MAX_PATHS, PathConfig};
use serde::{Deserialize, Serialize};

use super::value::{FromText, InterfaceName, Name};
use super::{Config, Connection, Endpoint, Path, Tier};

/// Why a path is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// The file has it.
    #[default]
    File,
    /// `mpt path add`: it stays until `mpt path remove`, or until mpt ends.
    Command,
    /// `paths = "auto"`: its interface leads out.
    Interface,
}

/// A path that is to be added, with the names of the configuration's keys. What is not given is inherited as there, and `remote` from
/// the connection's first path that fits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPath {
    /// `name`
    pub name: String,
    /// `device`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// `local`; the unspecified address of the IP version of `remote` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<IpAddr>,
    /// `remote`: an address or a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// `gateway`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// `port`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// `remote_port`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_port: Option<u16>,
    /// `weight`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// `tier`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<u8>,
    /// `rank`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u8>,
    /// `mtu`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
}

impl Config {
    /// The same with another path in the connection of this name.
    ///
    /// # Errors
    /// What of it cannot be, as a sentence that names the key.
    pub fn with_path(&self, connection: &str, new: &NewPath) -> Result<Self, String> {
        let mut config = self.clone();
        let Some(found) = config.connections.iter_mut().find(|it| it.name == connection) else {
            let names: Vec<&str> =
                self.connections.iter().filter(|it| !it.is_learned).map(|it| it.name.as_str()).collect();
            return Err(format!("no connection is named {connection}; there are {}", names.join(", ")));
        };
        if found.is_learned {
            return Err(format!("{connection} is a peer of [listen], which brings its paths by itself"));
        }
        let path = new.path(found, &self.own_addresses(), self.security.is_some())?;
        found.paths.push(path);
        Ok(config)
    }

    /// The same without a path of the connection of this name.
    ///
    /// # Errors
    /// It is not there, or cannot go.
    pub fn without_path(&self, connection: &str, path: &str) -> Result<Self, String> {
        let mut config = self.clone();
        let found = config.connections.iter_mut().find(|it| it.name == connection);
        let found = found.ok_or_else(|| format!("no connection is named {connection}"))?;
        if found.is_learned {
            return Err(format!(
                "{connection} is a peer of [listen], which brings its paths by itself; `mpt path down` closes one"
            ));
        }
        if found.paths.len() == 1 && found.auto.is_none() {
            return Err(format!(
                "{path} is the only path of {connection}: `mpt path down {path}` takes it out of use, another one may take its \
                 place (mpt path add)"
            ));
        }
        if found.paths.iter().any(|it| it.name == path && it.origin == Origin::Interface) {
            return Err(format!(
                "{path} is there by paths = \"auto\": put its interface into `except`, or say `mpt path down {path}`"
            ));
        }
        let device = found.paths.iter().find(|it| it.name == path).and_then(|it| it.device.as_deref());
        if let (Some(auto), Some(device)) = (&found.auto, device)
            && !auto.excepts(device)
        {
            return Err(format!(
                "paths = \"auto\" would make another path over {device}: put it into `except`, or say `mpt path down {path}`"
            ));
        }
        found.paths.retain(|it| it.name != path);
        Ok(config)
    }

    /// Addresses of the tunnel: ours, and those of all peers.
    pub(super) fn own_addresses(&self) -> Vec<IpAddr> {
        let peers = self.connections.iter().flat_map(|connection| connection.peer.iter().copied());
        self.tunnel.addresses.iter().map(ipnet::IpNet::addr).chain(peers).collect()
    }

    /// Takes over the paths that `before` had and no file: those that no longer fit are left out. Returns their names.
    pub(crate) fn keep_added(&mut self, before: &Self) -> Vec<String> {
        let mut left_out = Vec::new();
        for connection in &mut self.connections {
            let Some(old) = before.connections.iter().find(|it| it.name == connection.name) else { continue };
            let stays = |path: &&Path| match path.origin {
                Origin::File => false,
                Origin::Command => true,
                Origin::Interface => connection.auto == old.auto,
            };
            let kept: Vec<Path> = old.paths.iter().filter(stays).cloned().collect();
            for path in kept {
                let is_own = |it: &Path| path.origin == Origin::Interface && it.device == path.device;
                let is_taken =
                    connection.paths.iter().any(|it| it.name == path.name || it.is_at(&path) || is_own(it));
                if is_taken || connection.paths.len() >= MAX_PATHS {
                    left_out.push(format!("{}/{}", connection.name, path.name));
                } else {
                    connection.paths.push(path);
                }
            }
        }
        left_out
    }
}

impl Path {
    /// Whether datagrams of both would have the same ends.
    fn is_at(&self, other: &Self) -> bool {
        let ends = |path: &Self| {
            (
                path.local,
                path.port,
                path.device.clone(),
                path.remote,
                path.remote_name.clone(),
                path.remote_port,
            )
        };
        !self.is_open() && ends(self) == ends(other)
    }
}

impl NewPath {
    /// The path of this connection, in a configuration whose tunnel has these addresses.
    pub(super) fn path(
        &self,
        connection: &Connection,
        tunnel: &[IpAddr],
        is_sealed: bool,
    ) -> Result<Path, String> {
        let refused = |key: &str, value: &dyn std::fmt::Display, problem: &str, allowed: &str| {
            Err(format!("{key} = {value}: {problem}; allowed: {allowed}"))
        };
        if let Err(problem) = Name::from_text(&self.name) {
            return refused("name", &self.name, problem, Name::ALLOWED);
        }
        if connection.paths.iter().any(|path| path.name == self.name) {
            let problem = "a path of the connection has this name already";
            return refused("name", &self.name, problem, "a name that no other path of the connection has");
        }
        if connection.paths.len() >= MAX_PATHS {
            return Err(format!(
                "{} has {MAX_PATHS} paths, and there is no room for another",
                connection.name
            ));
        }
        if let Some(device) = &self.device
            && let Err(problem) = InterfaceName::from_text(device)
        {
            return refused("device", device, problem, InterfaceName::ALLOWED);
        }
        let (local, remote, remote_name) = self.ends(connection)?;
        let is_public = |address: IpAddr| !address.is_unspecified() && !address.is_loopback();
        for (key, address) in [("local", local), ("remote", remote)] {
            if tunnel.contains(&address) {
                let problem = "this is an address of the tunnel itself";
                return refused(key, &address, problem, "an address of the network below the tunnel");
            }
            if address.is_multicast() {
                return refused(key, &address, "a multicast address is no host's", "the address of one host");
            }
        }
        if local.is_unspecified() && self.device.is_none() {
            let problem = "the unspecified address does not tell the interface";
            return refused("local", &local, problem, "an address of this host, or a device");
        }
        if local == remote && is_public(local) {
            return refused("remote", &remote, "the same as local", "the peer's address");
        }
        if let Some(gateway) = self.gateway {
            if self.device.is_none() {
                return refused("gateway", &gateway, "the router of which link?", "a gateway with a device");
            }
            if gateway.is_ipv4() != local.is_ipv4() {
                return refused(
                    "gateway",
                    &gateway,
                    "not the IP version of local",
                    "an address of that version",
                );
            }
        }
        let default = PathConfig::default();
        let in_range = |key: &str, value: Option<u32>, allowed: std::ops::RangeInclusive<u32>| match value {
            Some(value) if !allowed.contains(&value) => Err(format!(
                "{key} = {value}: out of range; allowed: {} to {}",
                allowed.start(),
                allowed.end()
            )),
            _ => Ok(()),
        };
        in_range("port", self.port.map(u32::from), 1..=65_535)?;
        in_range("remote-port", self.remote_port.map(u32::from), 1..=65_535)?;
        in_range("weight", self.weight.map(u32::from), 1..=10_000)?;
        in_range("tier", self.tier.map(u32::from), 1..=8)?;
        let least_mtu = if local.is_ipv6() { 1280 } else { 576 };
        in_range("mtu", self.mtu.map(u32::from), least_mtu..=65_535)?;
        // The paths of a connection mostly have one preset, given there or in each of them.
        let liveness = connection.paths.first().map_or(connection.liveness, |path| path.liveness);
        let can_prove = liveness != Liveness::Off && connection.check_source_port;
        let is_open = remote.is_unspecified() && remote_name.is_none();
        if is_open && (!can_prove || local.is_unspecified()) {
            let problem = "neither end of the path would be known, or the peer cannot prove where it is";
            return refused("remote", &remote, problem, "the peer's address or name");
        }
        let path = Path {
            name: self.name.clone(),
            local,
            remote,
            remote_name,
            device: self.device.clone(),
            gateway: self.gateway,
            port: self.port.unwrap_or(connection.port),
            remote_port: self.remote_port.unwrap_or(connection.remote_port),
            roaming: is_open || is_sealed && can_prove,
            weight: self.weight.unwrap_or(default.weight),
            rank: self.rank.unwrap_or(default.rank),
            tier: Tier::fixed(self.tier.unwrap_or(default.tier)),
            mtu: self.mtu,
            data: None,
            portal_check: None,
            liveness,
            enabled: true,
            tcp_dst: Vec::new(),
            tcp_src: Vec::new(),
            udp_dst: Vec::new(),
            udp_src: Vec::new(),
            origin: Origin::Command,
        };
        match connection.paths.iter().find(|it| it.is_at(&path)) {
            Some(same) => Err(format!(
                "path {} of {} has the same addresses, ports and device; allowed: another device, local, remote, port or remote-port",
                same.name, connection.name
            )),
            None => Ok(path),
        }
    }

    /// Our address, the peer's, and its name.
    fn ends(&self, connection: &Connection) -> Result<(IpAddr, IpAddr, Option<String>), String> {
        let any = |is_ipv4: bool| -> IpAddr { if is_ipv4 { [0; 4].into() } else { [0; 16].into() } };
        let given = match &self.remote {
            Some(text) => Some(text.parse().map_err(|problem| format!("remote = {text}: {problem}"))?),
            None => None,
        };
        if given.is_none() {
            let fits = |path: &&Path| self.local.is_none_or(|local| local.is_ipv4() == path.local.is_ipv4());
            let first = connection.paths.iter().filter(|path| !path.is_open()).find(fits);
            let first = first.ok_or(
                "remote: no path of the connection tells where the peer is; give its address or name",
            )?;
            let local = self.local.unwrap_or_else(|| any(first.local.is_ipv4()));
            return Ok((local, first.remote, first.remote_name.clone()));
        }
        match given {
            Some(Endpoint::Address(remote)) => {
                let local = self.local.unwrap_or_else(|| any(remote.is_ipv4()));
                if local.is_ipv4() != remote.is_ipv4() {
                    return Err(format!(
                        "remote = {remote}: not the IP version of local, which is {local}; allowed: two addresses of the same IP version"
                    ));
                }
                Ok((local, remote, None))
            }
            Some(Endpoint::Name(name)) => {
                let local = self.local.unwrap_or_else(|| any(true));
                Ok((local, any(local.is_ipv4()), Some(name)))
            }
            None => Err("remote is missing".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let text = "security = \"none\"\n[tunnel]\naddress = [\"10.0.0.1/24\"]\n[[connection]]\nname = \"vps\"\npeer = [\"10.0.0.2\"]\n\
                    [[connection.path]]\nname = \"dsl\"\ndevice = \"eth1\"\nlocal = \"0.0.0.0\"\nremote = \"198.51.100.7\"\n";
        Config::parse(text, "test").unwrap()
    }

    fn lte() -> NewPath {
        NewPath { name: "lte".into(), device: Some("wwan0".into()), ..NewPath::default() }
    }

    #[test]
    fn a_path_takes_what_it_is_not_given_from_its_connection() {
        let new = config().with_path("vps", &lte()).unwrap();
        let path = &new.connections[0].paths[1];
        assert_eq!((path.remote, path.local), ("198.51.100.7".parse().unwrap(), "0.0.0.0".parse().unwrap()));
        assert_eq!((path.port, path.tier.default, path.origin), (4754, 1, Origin::Command));
        assert_eq!(new.without_path("vps", "lte"), Ok(config()));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_key() {
        let refusals = [
            (NewPath { name: "a b".into(), ..lte() }, "name = a b"),
            (NewPath { name: "dsl".into(), ..lte() }, "name = dsl: a path of the connection has"),
            (NewPath { device: Some("wwan0/1".into()), ..lte() }, "device = wwan0/1"),
            (NewPath { device: None, ..lte() }, "local = 0.0.0.0: the unspecified"),
            (NewPath { device: Some("eth1".into()), ..lte() }, "path dsl of vps has the same addresses"),
            (
                NewPath { local: Some("10.0.0.1".parse().unwrap()), ..lte() },
                "local = 10.0.0.1: this is an address",
            ),
            (NewPath { local: Some("fd00::1".parse().unwrap()), ..lte() }, "no path of the connection tells"),
            (NewPath { remote: Some("1.2.3".into()), ..lte() }, "remote = 1.2.3: not an IP address"),
            (NewPath { remote: Some("224.0.0.1".into()), ..lte() }, "remote = 224.0.0.1: a multicast"),
            (NewPath { remote: Some("0.0.0.0".into()), ..lte() }, "remote = 0.0.0.0: neither end"),
            (NewPath { gateway: Some("fe80::1".parse().unwrap()), ..lte() }, "gateway = fe80::1: not the IP"),
            (NewPath { weight: Some(0), ..lte() }, "weight = 0: out of range; allowed: 1 to 10000"),
            (NewPath { tier: Some(9), ..lte() }, "tier = 9: out of range; allowed: 1 to 8"),
            (NewPath { mtu: Some(100), ..lte() }, "mtu = 100: out of range"),
            (NewPath { port: Some(0), ..lte() }, "port = 0: out of range"),
        ];
        for (new, said) in refusals {
            let error = config().with_path("vps", &new).unwrap_err();
            assert!(error.starts_with(said) || error.contains(said), "{error} instead of {said}");
        }
        let error = config().with_path("vpn", &lte()).unwrap_err();
        assert_eq!(error, "no connection is named vpn; there are vps");
        assert!(config().without_path("vps", "dsl").unwrap_err().contains("the only path"));
    }

    #[test]
    fn a_file_that_is_read_again_keeps_added_paths_unless_it_has_them_itself() {
        let before = config().with_path("vps", &lte()).unwrap();
        let mut new = config();
        assert_eq!(new.keep_added(&before), [""; 0]);
        assert_eq!(new, before);
        let mut with_it = config();
        let mut own = before.connections[0].paths[1].clone();
        own.origin = Origin::File;
        with_it.connections[0].paths.push(own);
        let expected = with_it.clone();
        assert_eq!(with_it.keep_added(&before), ["vps/lte"]);
        assert_eq!(with_it, expected);
    }
}
