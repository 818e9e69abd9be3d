//! Paths that come while mpt runs: by a command, or because an interface came.

use std::net::IpAddr;

use mpt_proto::MAX_PATHS;
use serde::{Deserialize, Serialize};

use super::check::{Check, PathDefaults};
use super::error::Source;
use super::security::{Choice, is_bare};
use super::seen::Seen;
use super::{Config, ConfigError, Connection, Path, forward, listen};
use crate::link::unspecified;

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
        let path = new.path(self, found)?;
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

    /// Takes over the paths that `before` had and no file: those that no longer fit are left out. Returns their names.
    pub(crate) fn keep_added(&mut self, before: &Self) -> Vec<String> {
        let (mut left_out, mut seen) = (Vec::new(), Seen::of(self));
        let is_sealed = self.security.is_some();
        // What the file has learnt to say meanwhile holds for them, too.
        let old = before.connections.iter().flat_map(|connection| &connection.paths);
        let is_refused = |path: &&Path| {
            is_bare(self, path.remote) || self.forwards.iter().any(|forward| forward.takes(path.port))
        };
        let refused: Vec<Path> =
            old.filter(|path| path.origin != Origin::File).filter(is_refused).cloned().collect();
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
                let is_taken = connection.paths.iter().any(|it| it.name == path.name || is_own(it));
                let has_room = !is_taken && connection.paths.len() < MAX_PATHS;
                if !has_room || refused.contains(&path) || !seen.add(connection, &path, is_sealed) {
                    left_out.push(format!("{}/{}", connection.name, path.name));
                } else {
                    connection.paths.push(path);
                }
            }
        }
        left_out
    }
}

impl NewPath {
    /// The path that this makes in `connection` of `config`, by the rules of the file: it is read as a table of one.
    pub(super) fn path(&self, config: &Config, connection: &Connection) -> Result<Path, String> {
        if connection.paths.len() >= MAX_PATHS {
            return Err(format!(
                "{} has {MAX_PATHS} paths, and there is no room for another",
                connection.name
            ));
        }
        let text = self.with_ends(connection)?.table();
        let read = || {
            let source = Source::new(&text, "")?;
            let table = toml::from_str(&text).map_err(|error| source.refused(&error))?;
            let choice = config.security.clone().map_or(Choice::Unsaid, Choice::Sealed);
            let mut check = Check::new(&source, &config.tunnel, &choice, Seen::of(config));
            let name = |path: &Path| (path.name.clone(), format!("path {}/{}", connection.name, path.name));
            let mut names = connection.paths.iter().map(name).collect();
            let path = check.path(table, &PathDefaults::of(connection), &[], &mut names)?;
            if let Some(listen) = &config.listen {
                listen::apart_from(listen, &connection.name, &path, &source)?;
            }
            forward::apart_from(&config.forwards, &path, &source)?;
            if is_bare(config, path.remote) {
                check.seen.far.refuse(&source)?;
            }
            Ok(Path { origin: Origin::Command, ..path })
        };
        read().map_err(|error: ConfigError| error.without_place().to_owned())
    }

    /// The same with both ends: the peer's is that of the connection's first path that fits, ours one that the kernel chooses.
    fn with_ends(&self, connection: &Connection) -> Result<Self, String> {
        let (local, remote) = if let Some(remote) = &self.remote {
            // A name is taken to have IPv4 addresses.
            let is_ipv4 = remote.parse().map_or(true, |remote: IpAddr| remote.is_ipv4());
            (self.local.unwrap_or_else(|| unspecified(is_ipv4)), remote.clone())
        } else {
            let fits = |path: &&Path| self.local.is_none_or(|local| local.is_ipv4() == path.local.is_ipv4());
            let first = connection.paths.iter().filter(|path| !path.is_open()).find(fits);
            let first = first.ok_or(
                "remote: no path of the connection tells where the peer is; give its address or name",
            )?;
            let local = self.local.unwrap_or_else(|| unspecified(first.local.is_ipv4()));
            (local, first.remote_name.clone().unwrap_or_else(|| first.remote.to_string()))
        };
        Ok(Self { local: Some(local), remote: Some(remote), ..self.clone() })
    }

    /// The keys of a `[[connection.path]]` that says this. Strings and numbers are written alike in JSON and TOML.
    fn table(&self) -> String {
        let keys = serde_json::to_value(self).ok();
        let keys = keys.as_ref().and_then(serde_json::Value::as_object).into_iter().flatten();
        keys.map(|(key, value)| format!("{key} = {value}\n")).collect()
    }
}

impl PathDefaults {
    /// What a path that comes to `connection` inherits.
    fn of(connection: &Connection) -> Self {
        Self {
            connection: connection.name.clone(),
            key: connection.key,
            check_source_port: connection.check_source_port,
            policy: connection.policy,
            port: connection.port,
            remote_port: connection.remote_port,
            // The paths of a connection mostly have one preset, given there or in each of them.
            liveness: connection.paths.first().map_or(connection.liveness, |path| path.liveness),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "security = \"none\"\n[tunnel]\naddress = [\"10.0.0.1/24\"]\n[[connection]]\nname = \"vps\"\npeer = [\"10.0.0.2\"]\n\
                        [[connection.path]]\nname = \"dsl\"\ndevice = \"eth1\"\nlocal = \"0.0.0.0\"\nremote = \"198.51.100.7\"\n\
                        gateway = \"192.168.1.1\"\n";

    fn config() -> Config {
        Config::parse(TEXT, "test").unwrap()
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

    /// What the file says to the same table, with the place of the other path as a command has it.
    fn refused_in_file(new: &NewPath) -> String {
        let table = new.with_ends(&config().connections[0]).unwrap().table();
        let text = format!("{TEXT}[[connection.path]]\n{table}");
        let error = Config::parse(&text, "test").unwrap_err();
        let said = error.without_place().replace("connection.path.", "");
        match said.split_once("the path in line ") {
            None => said,
            Some((before, rest)) => {
                format!("{before}path vps/dsl{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_words_of_the_file() {
        let (v4, v6) = (|text: &str| Some(text.parse().unwrap()), |text: &str| Some(text.parse().unwrap()));
        let of = |remote: &str| NewPath { remote: Some(remote.into()), ..lte() };
        let refusals = [
            (NewPath { name: "a b".into(), ..lte() }, "name = \"a b\": a character that names cannot have"),
            (NewPath { name: "a\"\nb = 1".into(), ..lte() }, "name = \"a\\\"\\nb = 1\": a character that"),
            (NewPath { name: "dsl".into(), ..lte() }, "name = \"dsl\": path vps/dsl has this name already"),
            (NewPath { device: Some("wwan0/1".into()), ..lte() }, "device = \"wwan0/1\": a character"),
            (NewPath { device: None, ..lte() }, "local = \"0.0.0.0\": the unspecified address does not tell"),
            (
                NewPath { device: Some("eth1".into()), ..lte() },
                "local = \"0.0.0.0\": path vps/dsl has the same addresses",
            ),
            (
                NewPath { local: v4("10.0.0.1"), ..lte() },
                "local = \"10.0.0.1\": this is an address of the tunnel",
            ),
            (of("10.0.0.2"), "remote = \"10.0.0.2\": this is an address of the tunnel"),
            (
                NewPath { local: v4("127.0.0.1"), ..of("127.0.0.1") },
                "remote = \"127.0.0.1\": the same as `local`",
            ),
            (
                NewPath { local: v6("2001:db8::1"), ..of("192.0.2.7") },
                "remote = \"192.0.2.7\": not the IP version",
            ),
            (of("1.2.3"), "remote = \"1.2.3\": not an IP address"),
            (of("224.0.0.1"), "remote = \"224.0.0.1\": a multicast address"),
            (of("255.255.255.255"), "remote = \"255.255.255.255\": the broadcast address"),
            (of("0.0.0.0"), "remote = \"0.0.0.0\": neither end of the path is known"),
            (
                NewPath { device: None, local: v6("2001:db8::1"), ..of("fe80::1") },
                "remote = \"fe80::1\": the link-local address does not tell the interface",
            ),
            (
                NewPath { device: None, local: v4("192.168.1.2"), gateway: v4("192.168.1.1"), ..lte() },
                "gateway = \"192.168.1.1\": a router is one on the link of a device",
            ),
            (NewPath { gateway: v6("fe80::1"), ..lte() }, "gateway = \"fe80::1\": not the IP version"),
            (NewPath { gateway: v4("0.0.0.0"), ..lte() }, "gateway = \"0.0.0.0\": the unspecified address"),
            (
                NewPath { local: v4("192.168.1.2"), gateway: v4("192.168.1.2"), ..lte() },
                "gateway = \"192.168.1.2\": the same as `local`",
            ),
            (
                NewPath {
                    device: Some("eth1".into()),
                    port: Some(4800),
                    gateway: v4("192.168.1.9"),
                    ..lte()
                },
                "gateway = \"192.168.1.9\": path vps/dsl has the same device, and the gateway 192.168.1.1",
            ),
            (
                NewPath { weight: Some(0), ..lte() },
                "weight = 0: out of range; allowed: a whole number from 1 to 10000",
            ),
            (
                NewPath { tier: Some(9), ..lte() },
                "tier = 9: out of range; allowed: a whole number from 1 to 8",
            ),
            (NewPath { mtu: Some(100), ..lte() }, "mtu = 100: out of range"),
            (NewPath { mtu: Some(1000), ..of("2001:db8::7") }, "mtu = 1000: too small for IPv6"),
            (NewPath { port: Some(0), ..lte() }, "port = 0: out of range"),
        ];
        for (new, said) in refusals {
            let error = config().with_path("vps", &new).unwrap_err();
            assert!(error.starts_with(said), "{error} instead of {said}");
            assert_eq!(error, refused_in_file(&new));
        }
        let error = config().with_path("vps", &NewPath { local: v6("fd00::1"), ..lte() }).unwrap_err();
        assert!(error.contains("no path of the connection tells"), "{error}");
        let error = config().with_path("vpn", &lte()).unwrap_err();
        assert_eq!(error, "no connection is named vpn; there are vps");
        assert!(config().without_path("vps", "dsl").unwrap_err().contains("the only path"));
    }

    #[test]
    fn paths_of_another_connection_and_of_listen_are_in_the_way_too() {
        let other = "[[connection]]\nname = \"pc3\"\npeer = [\"10.0.0.3\"]\n[[connection.path]]\nname = \"open\"\n\
                     local = \"192.0.2.1\"\nremote = \"0.0.0.0\"\n[[connection.path]]\nname = \"lan\"\nlocal = \"192.0.2.2\"\n\
                     remote = \"192.0.2.3\"\n";
        let config = Config::parse(&(TEXT.to_owned() + other), "test").unwrap();
        let ends = |local: &str, remote: &str| NewPath {
            device: None,
            local: Some(local.parse().unwrap()),
            remote: Some(remote.into()),
            ..lte()
        };
        let error = |new: &NewPath| config.with_path("vps", new).unwrap_err();
        let same = error(&ends("192.0.2.2", "192.0.2.3"));
        assert!(same.contains(": path pc3/lan has the same addresses, ports and device; "), "{same}");
        let open = error(&ends("192.0.2.1", "0.0.0.0"));
        assert!(open.contains(": path pc3/open of another connection learns its peer at the same"), "{open}");
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

    #[test]
    fn a_file_that_is_read_again_leaves_out_added_paths_that_do_not_go_with_it() {
        let added = NewPath { port: Some(4800), gateway: Some([192, 168, 1, 1].into()), ..lte() };
        let added = NewPath { device: Some("eth1".into()), ..added };
        let before = config().with_path("vps", &added).unwrap();
        assert_eq!(config().keep_added(&before), [""; 0]);
        let mut other_router = Config::parse(&TEXT.replace("192.168.1.1", "192.168.1.9"), "test").unwrap();
        assert_eq!(other_router.keep_added(&before), ["vps/lte"]);
        let mut same_ends = Config::parse(&TEXT.replace("gateway", "port = 4800\ngateway"), "test").unwrap();
        assert_eq!(same_ends.keep_added(&before), ["vps/lte"]);
    }

    #[test]
    fn a_file_that_says_nothing_of_security_gets_no_path_into_the_internet() {
        let unsaid = TEXT.replace("security = \"none\"\n", "");
        let unsaid = || Config::parse(&unsaid, "test").unwrap();
        let of = |remote: &str| NewPath { remote: Some(remote.into()), ..lte() };
        let open = NewPath { local: Some([192, 0, 2, 1].into()), ..of("0.0.0.0") };
        for (far, kind) in [
            (of("8.8.8.8"), "remote = \"8.8.8.8\": a public address"),
            (of("vps.example.net"), "remote = \"vps.example.net\": a peer that may be anywhere"),
            (open, "remote = \"0.0.0.0\": a peer that may be anywhere"),
        ] {
            let error = unsaid().with_path("vps", &far).unwrap_err();
            let said = format!(
                "{kind}, and the file does not say whether packets are encrypted; allowed: [security] with keys, or security = \"none\", \
                 in the file"
            );
            assert_eq!(error, said);
            assert!(config().with_path("vps", &far).is_ok(), "{far:?}: it is meant");
            // The file has said so when it came, and does not any more.
            let before = config().with_path("vps", &far).unwrap();
            assert_eq!(unsaid().keep_added(&before), ["vps/lte"]);
            assert_eq!(config().keep_added(&before), [""; 0]);
        }
        assert!(unsaid().with_path("vps", &lte()).is_ok());
    }

    #[test]
    fn a_path_whose_port_is_forwarded_is_refused() {
        let text = |protocol: &str| {
            format!("{TEXT}[[forward]]\nproto = \"{protocol}\"\nport = \"4800-4810\"\nto = \"10.0.0.2\"\n")
        };
        let forwards = |protocol: &str| Config::parse(&text(protocol), "test").unwrap();
        let added = |port| NewPath { port: Some(port), ..lte() };
        let error = forwards("udp").with_path("vps", &added(4805)).unwrap_err();
        assert_eq!(
            error,
            "[[forward]] udp 4800-4810 to 10.0.0.2 takes the datagrams of path lte, which come to its port 4805; allowed: another `port` \
             for the path, or in [[forward]]"
        );
        assert!(forwards("udp").with_path("vps", &added(4811)).is_ok());
        assert!(forwards("tcp").with_path("vps", &added(4805)).is_ok());
        // A file that is read again has it.
        let before = config().with_path("vps", &added(4805)).unwrap();
        assert_eq!(forwards("udp").keep_added(&before), ["vps/lte"]);
        assert_eq!(forwards("tcp").keep_added(&before), [""; 0]);
    }
}
