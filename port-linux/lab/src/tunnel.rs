//! The tunnel under test: two real `mpt run` processes with real configuration files.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use mpt_proto::Policy;
use mpt_proto::wire::extension;
use mpt_seal::PrivateKey;
use port_linux::keys::{self, KeyBytes};
use serde::{Deserialize, Serialize};

use super::host::Running;
use super::limit;
use super::stack::{Stack, Version};
use super::stopwatch::Stopwatch;
use super::topology::{Side, Topology};

/// Name of the tunnel interface, as in the paper.
pub const DEVICE: &str = "tun0";

/// How long the tunnel may take until it passes traffic: several times the longest probe interval of the lab preset.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is asked whether it is up.
const GLANCE: Duration = Duration::from_millis(50);

/// How long PC2 may take to answer PC1: more than the round trip of the slowest link that can be had.
const ANSWER: Duration = Duration::from_millis(2500);

/// Where configuration, sockets and logs are: in the namespaces' own /run, so that they vanish with it.
const DIRECTORY: &str = "/run/mpt-lab";

/// The policies that tunnels can be measured with.
pub(crate) fn policies() -> Vec<&'static str> {
    Policy::ALL.iter().map(|policy| policy.name()).collect()
}

/// What may differ between tunnels.
#[derive(Debug, Clone)]
pub struct Options {
    /// IP versions above and below.
    pub stack: Stack,
    /// The links that are paths.
    pub links: RangeInclusive<u8>,
    /// `connection.policy`.
    pub policy: String,
    /// `connection.liveness`; `None`: the program's default.
    pub liveness: Option<&'static str>,
    /// `connection.slices`.
    pub slices: bool,
    /// `connection.adaptive.udp_in_order`; only for the policy `adaptive`.
    pub udp_in_order: bool,
    /// Whether it is sealed.
    pub security: Security,
}

/// Whether a tunnel is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// By keys that are made for it.
    Keys,
    /// The same, by ChaCha20-Poly1305 even where AES has instructions.
    Chacha,
    /// Packets travel in the clear, as RFC 8086 has it and in the paper.
    None,
}

impl Security {
    /// What tests are run with: `MPT_TEST_SECURITY=none` runs those that are sealed in the clear.
    pub fn of_tests() -> Self {
        match std::env::var_os("MPT_TEST_SECURITY") {
            Some(value) if value == "none" => Self::None,
            _ => Self::Keys,
        }
    }

    /// Bytes that each datagram has more because of it.
    pub fn overhead(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Keys | Self::Chacha => u16::try_from(mpt_seal::OVERHEAD).unwrap_or(u16::MAX),
        }
    }
}

/// The private key of a side, made when it is first asked for.
fn key_bytes(side: Side) -> &'static KeyBytes {
    static KEYS: OnceLock<[KeyBytes; 2]> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let key = || keys::random_private().expect("the system has random numbers");
        [key(), key()]
    });
    &keys[side as usize]
}

/// The same.
pub fn private_key(side: Side) -> PrivateKey {
    keys::private(key_bytes(side))
}

/// The file name of a side's private key, beside its configuration.
fn key_file(side: Side) -> &'static str {
    match side {
        Side::Pc1 => "PC1.key",
        Side::Pc2 => "PC2.key",
    }
}

/// Writes the private key that the configuration of a side names.
///
/// # Errors
/// When the directory cannot be written to.
pub fn write_key(side: Side, directory: &Path) -> anyhow::Result<()> {
    let file = directory.join(key_file(side));
    if file.exists() {
        fs::remove_file(&file)?;
    }
    keys::create(&file, key_bytes(side)).with_context(|| format!("cannot write {}", file.display()))
}

impl Options {
    /// Over the first links, with the liveness for links of a few milliseconds.
    pub fn lab(stack: Stack, paths: u8, policy: &str) -> Self {
        let (links, policy) = (1..=paths, policy.to_owned());
        Self {
            stack,
            links,
            policy,
            liveness: Some("lab"),
            slices: true,
            udp_in_order: false,
            security: Security::Keys,
        }
    }
}

/// The configuration file of one side.
pub fn config(side: Side, options: &Options) -> String {
    let (own, peer) = (tunnel_addresses(side), tunnel_addresses(side.peer()));
    let (name, policy, slices) =
        (if side == Side::Pc1 { "pc2" } else { "pc1" }, &options.policy, options.slices);
    let security = match options.security {
        Security::Keys => format!("[security]\nprivate_key_file = \"{}\"\n", key_file(side)),
        Security::Chacha => {
            format!("[security]\nprivate_key_file = \"{}\"\ncipher = \"chacha20-poly1305\"\n", key_file(side))
        }
        Security::None => "security = \"none\"\n".to_owned(),
    };
    let mut text = format!(
        r#"{security}
[tunnel]
name = "{DEVICE}"
address = ["{v4}/24", "{v6}/112"]

[[connection]]
name = "{name}"
peer = ["{peer4}", "{peer6}"]
policy = "{policy}"
slices = {slices}
"#,
        v4 = own[0],
        v6 = own[1],
        peer4 = peer[0],
        peer6 = peer[1],
    );
    if options.security != Security::None {
        let _ = writeln!(text, "public_key = \"{}\"", public_key(side.peer()));
    }
    if let Some(liveness) = options.liveness {
        let _ = writeln!(text, "liveness = \"{liveness}\"");
    }
    if options.udp_in_order {
        let _ = writeln!(text, "adaptive.udp_in_order = true");
    }
    for link in options.links.clone() {
        let version = options.stack.outer();
        let _ = write!(
            text,
            r#"
[[connection.path]]
name = "path{link}"
local = "{local}"
remote = "{remote}"
"#,
            local = side.address(link, version),
            remote = side.peer().address(link, version),
        );
    }
    text
}

/// A configuration of a side in the clear, sealed: between the laboratory's two hosts.
///
/// # Errors
/// When it is no TOML, or has no connection.
pub fn sealed(side: Side, text: &str) -> anyhow::Result<String> {
    let mut table: toml::Table = text.parse()?;
    let security = toml::Table::from_iter([("private_key_file".to_owned(), key_file(side).into())]);
    table.insert("security".to_owned(), security.into());
    let connections = table.get_mut("connection").and_then(toml::Value::as_array_mut);
    for connection in connections.context("no connection")?.iter_mut().filter_map(toml::Value::as_table_mut) {
        connection.insert("public_key".to_owned(), public_key(side.peer()).into());
    }
    Ok(table.to_string())
}

/// A side's public key, as configurations have it.
fn public_key(side: Side) -> String {
    keys::encode(private_key(side).public().as_bytes()).as_str().to_owned()
}

fn tunnel_addresses(side: Side) -> [std::net::IpAddr; 2] {
    [Version::V4, Version::V6].map(|version| side.tunnel_address(version))
}

/// Both ends. They are ended when this is dropped.
#[derive(Debug)]
pub struct Tunnel {
    options: Options,
    ends: [End; 2],
}

#[derive(Debug)]
struct End {
    side: Side,
    running: Running,
    mpt: PathBuf,
    control: PathBuf,
    log: PathBuf,
}

impl Tunnel {
    /// Starts `mpt` (the program's path) on both hosts and waits until all paths are up and PC2 answers PC1.
    ///
    /// # Errors
    /// When a process ends or the tunnel is not up within ten seconds; the error carries their last words.
    pub fn start(net: &Topology, mpt: &Path, options: Options) -> anyhow::Result<Self> {
        let start = |side| End::start(net, mpt, side, &config(side, &options));
        let ends = [start(Side::Pc1)?, start(Side::Pc2)?];
        let mut tunnel = Self { options, ends };
        let clock = Stopwatch::start();
        while !tunnel.is_up(net)? {
            if clock.elapsed() > PATIENCE {
                bail!("the tunnel is not up after {} s\n{}", PATIENCE.as_secs(), tunnel.last_words());
            }
            thread::sleep(GLANCE);
        }
        Ok(tunnel)
    }

    /// The process ids of both ends.
    pub fn pids(&self) -> [u32; 2] {
        [self.ends[0].running.pid(), self.ends[1].running.pid()]
    }

    /// The address at PC2 that traffic is sent to.
    pub fn address(&self) -> std::net::IpAddr {
        Side::Pc2.tunnel_address(self.options.stack.inner())
    }

    /// Payload of TCP per byte on the wire, for the MTU that the tunnel interface really has.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn limit(&self, net: &Topology) -> anyhow::Result<f64> {
        Ok(limit::tunnel(self.options.stack, net.pc1.mtu(DEVICE)?, self.extension()?))
    }

    /// Payload of QUIC per byte on the wire, for the MTU that the tunnel interface really has.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn quic_limit(&self, net: &Topology) -> anyhow::Result<f64> {
        Ok(limit::quic_tunnel(self.options.stack, net.pc1.mtu(DEVICE)?, self.extension()?))
    }

    /// Payload of TCP inside WireGuard with an MTU per byte on the wire, for the MTU that the tunnel interface really has.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn wireguard_limit(&self, net: &Topology, mtu: u32) -> anyhow::Result<f64> {
        let below = (net.pc1.mtu(DEVICE)?, self.extension()?);
        Ok(limit::wireguard(self.options.stack, mtu, Some(below)))
    }

    /// The largest MTU of WireGuard with which no packet must be cut to pass.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn wireguard_mtu(&self, net: &Topology) -> anyhow::Result<u32> {
        Ok(net.pc1.mtu(DEVICE)? - limit::wireguard_overhead(self.options.stack.inner()))
    }

    /// Bytes of extension header and seal in each datagram.
    fn extension(&self) -> anyhow::Result<u32> {
        let extension = if self.options.policy == "adaptive" { extension::LEN } else { 0 };
        Ok(u32::try_from(extension + usize::from(self.options.security.overhead()))?)
    }

    /// What `mpt status --json` says on PC1 and PC2 now; nothing where it cannot say.
    pub fn status(&self, net: &Topology) -> [Option<serde_json::Value>; 2] {
        self.ends.each_ref().map(|end| serde_json::from_slice(&end.status(net)?).ok())
    }

    /// Ends both processes.
    ///
    /// # Errors
    /// When one of them does not end cleanly on SIGTERM.
    pub fn stop(mut self) -> anyhow::Result<()> {
        for end in &mut self.ends {
            let status = end.running.stop()?;
            if !status.success() {
                bail!("mpt on {:?} did not end cleanly ({status})\n{}", end.side, end.last_words());
            }
        }
        Ok(())
    }

    fn is_up(&mut self, net: &Topology) -> anyhow::Result<bool> {
        for end in &mut self.ends {
            if let Some(status) = end.running.ended()? {
                bail!("mpt on {:?} ended at once ({status})\n{}", end.side, end.last_words());
            }
        }
        let paths = self.options.links.len();
        let up = self.ends.iter().all(|end| end.paths_up(net) == Some(paths));
        Ok(up && net.pc1.reaches(self.address(), ANSWER)?)
    }

    fn last_words(&self) -> String {
        self.ends.each_ref().map(End::last_words).join("\n")
    }
}

impl End {
    fn start(net: &Topology, mpt: &Path, side: Side, config: &str) -> anyhow::Result<Self> {
        let host = net.host(side);
        let directory = Path::new(DIRECTORY);
        fs::create_dir_all(directory).with_context(|| format!("cannot make {DIRECTORY}"))?;
        let path = |suffix: &str| directory.join(format!("{}.{suffix}", host.name()));
        let (file, control, log) = (path("toml"), path("sock"), path("log"));
        fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
        write_key(side, directory)?;
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = host.command(mpt);
        command.arg("run").arg("-c").arg(&file).arg("--control").arg(&control);
        command.stdout(output.try_clone()?).stderr(output);
        let running = host.spawn(&mut command)?;
        Ok(Self { side, running, mpt: mpt.to_owned(), control, log })
    }

    /// How many paths `mpt status` calls up; `None` while it cannot say.
    fn paths_up(&self, net: &Topology) -> Option<usize> {
        parse_paths_up(&self.status(net)?)
    }

    /// What `mpt status --json` says; `None` while it cannot.
    fn status(&self, net: &Topology) -> Option<Vec<u8>> {
        let mut command = net.host(self.side).command(&self.mpt);
        command.args(["status", "--json", "--control"]).arg(&self.control);
        Some(command.output().ok().filter(|output| output.status.success())?.stdout)
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(10)..];
        format!("{:?} said:\n  {}", self.side, last.join("\n  "))
    }
}

fn parse_paths_up(json: &[u8]) -> Option<usize> {
    #[derive(Deserialize)]
    struct Status {
        connections: Vec<Connection>,
    }
    #[derive(Deserialize)]
    struct Connection {
        paths: Vec<State>,
    }
    #[derive(Deserialize)]
    struct State {
        state: String,
    }
    let status: Status = serde_json::from_slice(json).ok()?;
    Some(
        status
            .connections
            .iter()
            .flat_map(|connection| &connection.paths)
            .filter(|path| path.state == "up")
            .count(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_gets_its_own_addresses_and_its_peers() {
        let options = Options::lab(Stack::V4OverV6, 2, "weighted");
        let text = config(Side::Pc2, &options);
        let table: toml::Table = text.parse().expect("TOML");
        let connection = &table["connection"][0];
        assert_eq!(table["tunnel"]["address"][1].as_str(), Some("fec::1:2/112"));
        assert_eq!(connection["peer"][0].as_str(), Some("10.0.0.1"));
        assert_eq!(connection["path"].as_array().map(Vec::len), Some(2));
        assert_eq!(connection["path"][1]["local"].as_str(), Some("2001:db8:acad:2::20"));
        assert_eq!(connection["path"][1]["remote"].as_str(), Some("2001:db8:acad:2::10"));
        assert!(connection.get("adaptive").is_none());
    }

    #[test]
    fn each_side_has_its_own_key_and_knows_its_peers() {
        let options = Options::lab(Stack::V4OverV4, 1, "weighted");
        let [one, two]: [toml::Table; 2] =
            [Side::Pc1, Side::Pc2].map(|side| config(side, &options).parse().expect("TOML"));
        assert_eq!(one["security"]["private_key_file"].as_str(), Some("PC1.key"));
        assert_ne!(one["connection"][0]["public_key"], two["connection"][0]["public_key"]);
        let clear = Options { security: Security::None, ..options };
        let clear: toml::Table = config(Side::Pc1, &clear).parse().expect("TOML");
        assert_eq!(clear["security"].as_str(), Some("none"));
        assert!(clear["connection"][0].get("public_key").is_none());
    }

    #[test]
    fn udp_is_kept_in_order_when_wanted_and_every_path_stays() {
        let options = Options { udp_in_order: true, ..Options::lab(Stack::V4OverV4, 2, "adaptive") };
        let table: toml::Table = config(Side::Pc1, &options).parse().expect("TOML");
        let connection = &table["connection"][0];
        assert_eq!(connection["adaptive"]["udp_in_order"].as_bool(), Some(true));
        assert_eq!(connection["path"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn paths_that_are_up_are_counted() {
        let json =
            br#"{"connections":[{"paths":[{"name":"path1","state":"up"},{"name":"path2","state":"down"}]}]}"#;
        assert_eq!(parse_paths_up(json), Some(1));
        assert_eq!(parse_paths_up(b"not yet"), None);
    }
}
