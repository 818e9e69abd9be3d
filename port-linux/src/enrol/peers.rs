//! `mpt peer`: the peers of a server, a file each.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, IsTerminal, stdout};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use qrcode::QrCode;
use qrcode::render::unicode;
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use super::files::{Aside, NewFiles};
use super::{DIRECTORY, Invitation};
use crate::config::{Config, Connection, FromText, Listen, Name, PEER_FILE};
use crate::control::{Answer, Command, ask, default_socket};
use crate::failure::misconfigured;
use crate::keys::{self, KEY_LEN, KeyBytes, encode};
use crate::output;
use crate::report::{ConnectionReport, State};

/// How the name of the file with a peer's pre-shared key ends.
const PRESHARED: &str = "psk";

/// Which server.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// Its configuration; `None`: the only one in `/etc/mpt` with `[listen]`.
    pub config: Option<PathBuf>,
    /// Its control socket; `None`: that of its tunnel interface.
    pub control: Option<PathBuf>,
}

/// A new peer.
#[derive(Debug, Clone)]
pub struct NewPeer {
    /// Its name.
    pub name: String,
    /// The text of its public key, if it has a key of its own.
    pub public_key: Option<String>,
    /// Networks behind it.
    pub networks: Vec<IpNet>,
    /// What the peer is to send through the tunnel; empty: everything.
    pub through: Vec<IpNet>,
    /// Where the server is, as peers see it; empty: `listen.endpoints`.
    pub endpoints: Vec<IpAddr>,
}

/// A server's configuration, which has `[listen]`.
struct Server {
    config: Config,
    listen: Listen,
    control: PathBuf,
    name: String,
}

impl Server {
    fn load(which: &Which) -> Result<Self> {
        let file = match &which.config {
            Some(file) => file.clone(),
            None => find(Path::new(DIRECTORY))?,
        };
        let config = Config::load(&file)?;
        let Some(listen) = config.listen.clone() else {
            return Err(misconfigured(format!(
                "{}: there is no [listen], so no peers can come; `mpt server setup` makes a configuration for a server",
                file.display()
            )));
        };
        let control = which.control.clone().unwrap_or_else(|| default_socket(&config.tunnel.name));
        let name = file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Ok(Self { config, listen, control, name })
    }

    fn file(&self, name: &str, extension: &str) -> PathBuf {
        self.listen.peers.join(format!("{name}.{extension}"))
    }

    fn peers(&self) -> impl Iterator<Item = &Connection> {
        self.config.connections.iter().filter(|connection| connection.is_learned)
    }

    /// What the running server says of its connections; `None`: it does not run.
    fn status(&self) -> Option<Vec<ConnectionReport>> {
        match ask(Some(&self.control), Command::Status) {
            Ok(Answer::Report(report)) => Some(report.connections),
            _ => None,
        }
    }

    /// Lets the running server read its files again. `false`: it does not run.
    fn reload(&self) -> Result<bool> {
        // A server that was killed leaves its socket behind.
        if UnixStream::connect(&self.control)
            .is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused))
        {
            return Ok(false);
        }
        ask(Some(&self.control), Command::Reload).map(|_| true)
    }

    /// Keeps others from changing the peers until what this returns is dropped.
    fn lock(&self) -> Result<File> {
        let directory = &self.listen.peers;
        let context = || format!("cannot lock {}", directory.display());
        let file = File::open(directory).with_context(context)?;
        flock(&file, FlockOperation::LockExclusive).with_context(context)?;
        Ok(file)
    }
}

/// The only configuration of a server in a directory.
fn find(directory: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let listens = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "toml")
            && fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line.trim() == "[listen]"))
    };
    let mut found: Vec<PathBuf> = files.filter(listens).collect();
    found.sort();
    match &found[..] {
        [file] => Ok(file.clone()),
        [] => Err(misconfigured(format!(
            "no configuration in {} has [listen]: this is no server yet. Make it one with: sudo mpt server setup",
            directory.display()
        ))),
        several => {
            let names: Vec<String> =
                several.iter().map(|file| format!("  --config {}", file.display())).collect();
            Err(misconfigured(format!("there are several servers; say which one with\n{}", names.join("\n"))))
        }
    }
}

/// Runs `mpt peer add`: the peer's files, a running server that knows it, and the line for the peer.
///
/// # Errors
/// The name is taken, there is no address left, it is not known where the server is, a file cannot be written, or the running server
/// does not take it. Then everything is as before.
pub fn add(which: &Which, new: &NewPeer) -> Result<()> {
    let _alone = Server::load(which)?.lock()?;
    let server = Server::load(which)?;
    let name = super::name(&new.name)?;
    if name.starts_with('.') {
        return Err(misconfigured(format!(
            "{name}: files whose names begin with a dot are not looked at; choose another name"
        )));
    }
    if server.config.connections.iter().any(|connection| connection.name == name) {
        return Err(misconfigured(format!(
            "there is a peer {name} already; `mpt peer remove {name}` removes it, `mpt peer renew {name}` gives it new keys"
        )));
    }
    let endpoints = endpoints(&server, &new.endpoints)?;
    let addresses = free_addresses(&server.config)?;
    let secrets = Secrets::new(new.public_key.as_deref())?;
    let mut files = NewFiles::default();
    files.key(&server.file(&name, PRESHARED), &secrets.preshared)?;
    let allowed = addresses.iter().map(|address| address.addr().to_string());
    let allowed: Vec<String> = allowed.chain(new.networks.iter().map(ToString::to_string)).collect();
    files.text(&server.file(&name, PEER_FILE), &peer_file(&secrets, &name, &allowed))?;
    // Whatever is wrong with it is said with its line, before the running server sees it.
    let checked = Server::load(&Which { config: Some(config_file(which)?), control: which.control.clone() })?;
    if let Some(error) = checked.config.peer_errors().iter().find(|error| error.name == name) {
        return Err(misconfigured(error.to_string()));
    }
    let runs = server.reload().context("the running server does not take it, and everything is as before")?;
    files.keep();
    let through = if new.through.is_empty() { everything(&addresses) } else { new.through.clone() };
    let invitation = invitation(&server, &secrets, (endpoints, addresses, through));
    tell(&name, &server, &invitation, runs)
}

/// Runs `mpt peer renew`: new keys for a peer, and a new line. The old ones are worth nothing then.
///
/// # Errors
/// There is no such peer, or as [`add`].
pub fn renew(which: &Which, new: &NewPeer) -> Result<()> {
    let server = Server::load(which)?;
    let _alone = server.lock()?;
    let name = new.name.as_str();
    let peer = server.peers().find(|peer| peer.name == name).with_context(|| unknown(&server, name))?;
    let endpoints = endpoints(&server, &new.endpoints)?;
    let addresses = peer.peer.iter().map(|address| {
        let own = server.config.tunnel.addresses.iter().find(|own| own.contains(address));
        IpNet::new(*address, own.map_or(32, IpNet::prefix_len)).unwrap_or_else(|_| (*address).into())
    });
    let addresses: Vec<IpNet> = addresses.collect();
    let allowed = peer.peer.iter().map(ToString::to_string);
    let allowed: Vec<String> =
        allowed.chain(peer.networks.iter().map(|network| network.to.to_string())).collect();
    let secrets = Secrets::new(new.public_key.as_deref())?;
    let (file, key) = (server.file(name, PEER_FILE), server.file(name, PRESHARED));
    // Put back after what is new was removed.
    let aside = Aside::put(&[&file, &key])?;
    let mut files = NewFiles::default();
    files.key(&key, &secrets.preshared)?;
    files.text(&file, &peer_file(&secrets, name, &allowed))?;
    let runs = server.reload().context("the running server does not take it, and everything is as before")?;
    files.keep();
    aside.discard();
    let through = if new.through.is_empty() { everything(&addresses) } else { new.through.clone() };
    tell(name, &server, &invitation(&server, &secrets, (endpoints, addresses, through)), runs)
}

/// Runs `mpt peer remove`.
///
/// # Errors
/// There is no such peer, or its files cannot be removed.
pub fn remove(which: &Which, name: &str) -> Result<()> {
    let server = Server::load(which)?;
    let _alone = server.lock()?;
    let file = server.file(name, PEER_FILE);
    // Also one whose file has an error, which is no connection.
    if Name::from_text(name).is_err() || !file.is_file() {
        bail!(unknown(&server, name));
    }
    fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    // Not every peer has one.
    let _ = fs::remove_file(server.file(name, PRESHARED));
    let runs =
        server.reload().with_context(|| format!("{name} is removed, but the running server still has it"))?;
    let when = if runs { "now" } else { "when mpt runs" };
    output::print(&format!("{name} is removed: it cannot connect any more, {when}.\n")).map(drop)
}

/// A peer, for people and scripts.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    addresses: Vec<IpAddr>,
    networks: Vec<IpNet>,
    public_key: String,
    /// `null`: the server does not run.
    connected: Option<bool>,
    paths: Vec<String>,
    received_bytes: u64,
    sent_bytes: u64,
}

impl Row {
    fn new(peer: &Connection, reports: Option<&[ConnectionReport]>) -> Self {
        let report = reports.and_then(|reports| reports.iter().find(|report| report.name == peer.name));
        let up = report.into_iter().flat_map(|report| &report.paths).filter(|path| path.state == State::Up);
        let paths: Vec<String> = up.filter_map(|path| Some(path.remote?.ip().to_string())).collect();
        let key = peer.keys.as_ref().map(|keys| encode(keys.public.as_bytes()).as_str().to_owned());
        Self {
            name: peer.name.clone(),
            addresses: peer.peer.clone(),
            networks: peer.networks.iter().map(|network| network.to).collect(),
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
    let server = Server::load(which)?;
    let reports = server.status();
    let wanted = server.peers().filter(|peer| name.is_none_or(|name| peer.name == name));
    let rows: Vec<Row> = wanted.map(|peer| Row::new(peer, reports.as_deref())).collect();
    if let Some(name) = name.filter(|_| rows.is_empty()) {
        bail!(unknown(&server, name));
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
    format!(
        "{}: {}\n  addresses in the tunnel: {}\n  networks behind it: {}\n  public key: {}\n  paths: {}\n  received {}, sent {}\n",
        row.name,
        row.state(),
        join(&addresses),
        join(&networks),
        row.public_key,
        join(&row.paths),
        bytes(row.received_bytes),
        bytes(row.sent_bytes)
    )
}

/// `8.4 kB`
fn bytes(count: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.into_iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => format!("{}.{} {unit}", count / size, count % size * 10 / size),
        None => format!("{count} B"),
    }
}

fn unknown(server: &Server, name: &str) -> String {
    let names: Vec<&str> = server.peers().map(|peer| peer.name.as_str()).collect();
    let known =
        if names.is_empty() { "there is none".to_owned() } else { format!("there are {}", names.join(", ")) };
    format!("no peer is named {name}; {known}")
}

/// The configuration file that is meant.
fn config_file(which: &Which) -> Result<PathBuf> {
    which.config.clone().map_or_else(|| find(Path::new(DIRECTORY)), Ok)
}

/// What only the peer and the server know.
struct Secrets {
    /// `None`: the peer has made it.
    private: Option<KeyBytes>,
    public: String,
    preshared: KeyBytes,
}

impl Secrets {
    fn new(public_key: Option<&str>) -> Result<Self> {
        let preshared = keys::random()?;
        let Some(public) = public_key else {
            let private = keys::random_private()?;
            let public = encode(keys::private(&private).public().as_bytes()).as_str().to_owned();
            return Ok(Self { private: Some(private), public, preshared });
        };
        Ok(Self { private: None, public: public.to_owned(), preshared })
    }
}

fn peer_file(secrets: &Secrets, name: &str, allowed: &[String]) -> String {
    let allowed: Vec<String> = allowed.iter().map(|allowed| format!("\"{allowed}\"")).collect();
    format!(
        "# Made by `mpt peer add {name}`; `mpt reload` after a change.\npublic_key = \"{}\"\npreshared_key_file = \"{name}.{PRESHARED}\"\n\
         # The peer's tunnel addresses, and networks behind it.\nallowed_ips = [{}]\n",
        secrets.public,
        allowed.join(", ")
    )
}

/// Where peers find the server.
fn endpoints(server: &Server, given: &[IpAddr]) -> Result<Vec<IpAddr>> {
    let endpoints = if given.is_empty() { &server.listen.endpoints } else { given };
    if endpoints.is_empty() {
        return Err(misconfigured(
            "it is not known where peers find this server: give its public address with --endpoint ADDRESS, or for all peers as \
             endpoints = [\"ADDRESS\"] in [listen]",
        ));
    }
    Ok(endpoints.to_vec())
}

/// The first addresses of the tunnel's networks that nobody has, with their prefix lengths.
fn free_addresses(config: &Config) -> Result<Vec<IpNet>> {
    let taken = |address: &IpAddr| {
        config.tunnel.addresses.iter().any(|own| own.addr() == *address)
            || config.connections.iter().any(|connection| connection.peer.contains(address))
    };
    let of = |own: &IpNet| {
        let free = own.hosts().find(|address| !taken(address) && *address != own.network());
        let free = free.with_context(|| format!("no address of {} is left for another peer", own.trunc()))?;
        Ok(IpNet::new(free, own.prefix_len())?)
    };
    config.tunnel.addresses.iter().map(of).collect()
}

/// Everything of the IP versions that a peer has an address of.
fn everything(addresses: &[IpNet]) -> Vec<IpNet> {
    let v4 = addresses.iter().any(|address| address.addr().is_ipv4()).then(|| Ipv4Net::default().into());
    let v6 = addresses.iter().any(|address| address.addr().is_ipv6()).then(|| Ipv6Net::default().into());
    v4.into_iter().chain(v6).collect()
}

fn invitation(
    server: &Server,
    secrets: &Secrets,
    (endpoints, addresses, networks): (Vec<IpAddr>, Vec<IpNet>, Vec<IpNet>),
) -> Invitation {
    let key = server.config.security.as_ref().map(|security| *security.private_key.public().as_bytes());
    let bytes = |key: &KeyBytes| -> [u8; KEY_LEN] { **key };
    Invitation {
        server: server.name.clone(),
        // A server without keys was refused when its configuration was read.
        server_key: key.unwrap_or_default(),
        private_key: secrets.private.as_ref().map(bytes),
        preshared_key: Some(bytes(&secrets.preshared)),
        endpoints,
        port: server.listen.port,
        addresses,
        server_addresses: server.config.tunnel.addresses.iter().map(IpNet::addr).collect(),
        networks,
    }
}

/// Prints the line, for people with what to do with it, and as a picture where a camera can see it.
fn tell(name: &str, server: &Server, invitation: &Invitation, runs: bool) -> Result<()> {
    let line = invitation.to_line().context("the line cannot be made")?;
    if !stdout().is_terminal() {
        return output::print(&format!("{}\n", *line)).map(drop);
    }
    // With many networks it does not fit into one.
    let picture = QrCode::new(line.as_bytes())
        .map_or_else(|_| String::new(), |code| code.render::<unicode::Dense1x2>().quiet_zone(true).build());
    let addresses: Vec<String> = invitation.addresses.iter().map(ToString::to_string).collect();
    let state = if runs {
        "the running server knows it"
    } else {
        "the server does not run yet: sudo systemctl start mpt@"
    };
    let unit = if runs { "" } else { server.name.as_str() };
    output::print(&format!(
        "{name} is {}; {state}{unit}.\nOn its machine: sudo mpt join, and this line, which is a secret and is not kept here:\n\n{}\n\n{picture}\n",
        addresses.join(", "),
        *line
    ))
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_bytes_are_short() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (8_450, "8.4 kB"),
            (1_000_000, "1.0 MB"),
            (12_345_678_901, "12.3 GB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn a_peer_without_ipv6_is_not_told_to_send_it_into_the_tunnel() {
        let v4: IpNet = "10.8.0.2/24".parse().unwrap();
        assert_eq!(everything(&[v4]), ["0.0.0.0/0".parse().unwrap()]);
        assert_eq!(everything(&[v4, "fd00::2/64".parse().unwrap()]).len(), 2);
    }
}
