//! `mpt server`: makes a server of this host, and an ordinary host again.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::files::{self, NewFiles};
use super::peers::PRESHARED;
use super::service;
use crate::config::{Config, Endpoint, PEER_FILE};
use crate::control::{self, default_socket};
use crate::entropy;
use crate::failure::misconfigured;
use crate::host_state::HostState;
use crate::keys;
use crate::link::{Interfaces, default_routes, has_ipv6};
use crate::output;

/// The name of a server that is given none.
pub const NAME: &str = "server";

/// What `mpt server setup` is to do.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The name of the configuration.
    pub name: String,
    /// Where the files go.
    pub directory: PathBuf,
    /// Our addresses or names as peers see them; empty: the public ones that this host has.
    pub endpoints: Vec<Endpoint>,
    /// The networks of the tunnel, at most one of each IP version; empty: private ones that nobody here has.
    pub networks: Vec<IpNet>,
    /// The UDP port.
    pub port: u16,
    /// Whether the service is started.
    pub start: bool,
}

/// Runs `mpt server setup`.
///
/// # Errors
/// What this host lacks or what is in the way; then nothing was changed. Where it is a server already, that is told.
pub fn setup(wanted: &Setup) -> Result<()> {
    let name = super::name(&wanted.name)?;
    let file = wanted.directory.join(format!("{name}.toml"));
    if file.symlink_metadata().is_ok() {
        return tell_again(&file, &name);
    }
    super::admit(&wanted.networks)?;
    let interfaces = Interfaces::now()?;
    let endpoints = if wanted.endpoints.is_empty() {
        public_addresses(&interfaces)?.into_iter().map(Endpoint::from).collect()
    } else {
        wanted.endpoints.clone()
    };
    let networks =
        if wanted.networks.is_empty() { free_networks(&interfaces)? } else { wanted.networks.clone() };
    let addresses = networks.iter().map(first_host).collect::<Result<Vec<IpNet>>>()?;
    for (network, own) in networks.iter().zip(&addresses) {
        if let Some(taken) = interfaces.addresses().find(|address| network.contains(address)) {
            return Err(misconfigured(format!(
                "{} is taken: this host has {taken} in it; choose another --network",
                own.trunc()
            )));
        }
    }
    let mut files = NewFiles::default();
    let (directory, key) = (file.with_extension("d"), file.with_extension("key"));
    if !key.is_file() {
        files.key(&key, &keys::random_private()?)?;
    }
    files.directory(&directory)?;
    files.text(&file, &text(&name, (&addresses, &endpoints), wanted.port))?;
    let config = Config::load(&file)?;
    HostState::wanted(&config).check()?;
    files.keep();
    output::print(&format!(
        "{} is made: this host is {} in the tunnel.\n",
        file.display(),
        output::list(&addresses)
    ))?;
    if wanted.networks.is_empty() && !has_ipv6() {
        output::print("IPv6 is switched off here: peers send IPv4 alone through the tunnel.\n")?;
    }
    if wanted.start && service::is_there() {
        service::start(&name).with_context(|| {
            format!("the service does not start; its log says why: {}", service::log_command(&name))
        })?;
        output::print("The service runs, and starts with the machine.\n")?;
    } else {
        output::print(&format!("Start it with:\n  sudo mpt run -c {}\n", file.display()))?;
    }
    tell_firewall(&config, wanted.port, &endpoints)?;
    output::print("Let somebody in with:\n  sudo mpt peer add NAME\n").map(drop)
}

fn text(name: &str, (addresses, endpoints): (&[IpNet], &[Endpoint]), port: u16) -> String {
    let quoted = |values: Vec<String>| {
        values.iter().map(|value| format!("\"{value}\"")).collect::<Vec<_>>().join(", ")
    };
    format!(
        "# mpt: a server for many peers. Made by `mpt server setup`; `mpt server remove` takes everything back.\n\
         # Peers have a file each in {name}.d, which `mpt peer add NAME` makes. Every key: docs/configuration.md.\n\
         \n\
         [security]\n\
         private_key_file = \"{name}.key\"\n\
         \n\
         [tunnel]\n\
         name = \"mpt0\"\n\
         address = [{}]\n\
         # Peers reach the Internet through this host, with its address.\n\
         masquerade = true\n\
         \n\
         [listen]\n\
         port = {port}\n\
         # Where peers find this host, for the line that `mpt peer add` prints.\n\
         endpoints = [{}]\n\
         peers = \"{name}.d\"\n",
        quoted(addresses.iter().map(ToString::to_string).collect()),
        quoted(endpoints.iter().map(ToString::to_string).collect())
    )
}

/// It is a server already.
fn tell_again(file: &Path, name: &str) -> Result<()> {
    let config = Config::load(file)?;
    let Some(listen) = &config.listen else {
        return Err(misconfigured(format!(
            "{} is there, and no server's: choose another --name",
            file.display()
        )));
    };
    let runs = super::is_running(&config);
    let state = if runs { "runs" } else { "does not run" };
    output::print(&format!(
        "{} is there already, and nothing was changed: {} in the tunnel, {} peers; it {state}.\n",
        file.display(),
        output::list(&config.tunnel.addresses),
        config.connections.len()
    ))?;
    if !runs {
        let command = if service::is_there() {
            format!("sudo systemctl enable --now mpt@{name}")
        } else {
            format!("sudo mpt run -c {}", file.display())
        };
        output::print(&format!("Start it with:\n  {command}\n"))?;
    }
    tell_firewall(&config, listen.port, &listen.endpoints)
}

/// What must let datagrams in, and peers through.
fn tell_firewall(config: &Config, port: u16, endpoints: &[Endpoint]) -> Result<()> {
    let device = &config.tunnel.name;
    let mut text = format!(
        "The provider's firewall, if there is one, has to let UDP port {port} in, to {}.\n",
        output::list(endpoints)
    );
    if says("ufw", &["status"], "Status: active") {
        text += &format!(
            "ufw is active on this host, and has to let it in, too, and peers through:\n  sudo ufw allow {port}/udp\n  sudo ufw route allow in on {device}\n  \
             sudo ufw route allow out on {device}   # for [[forward]]\n"
        );
    }
    if says("firewall-cmd", &["--state"], "running") {
        text += &format!(
            "firewalld runs on this host, and has to let it in, too, and peers through:\n  sudo firewall-cmd --permanent --add-port={port}/udp\n  \
             sudo firewall-cmd --permanent --zone=trusted --add-interface={device}\n  sudo firewall-cmd --reload\n"
        );
    }
    for warning in HostState::wanted(config).warnings() {
        text += &format!("Note that {warning}\n");
    }
    output::print(&text).map(drop)
}

/// Whether a program is there and says this.
fn says(program: &str, arguments: &[&str], wanted: &str) -> bool {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    output
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).lines().any(|line| line.trim() == wanted))
}

/// The addresses of this host that the Internet can reach, of the interfaces with a default route.
fn public_addresses(interfaces: &Interfaces) -> Result<Vec<IpAddr>> {
    let routes = default_routes()?;
    let leads = |index: u32| routes.iter().any(|route| route.interface == index);
    let addresses: Vec<IpAddr> =
        interfaces.iter().filter(|it| leads(it.index)).flat_map(|it| &it.addresses).copied().collect();
    let public = |wanted_v4: bool| {
        addresses
            .iter()
            .copied()
            .find(|address| address.is_ipv4() == wanted_v4 && crate::config::is_public(*address))
    };
    let found: Vec<IpAddr> = public(true).into_iter().chain(public(false)).collect();
    if found.is_empty() {
        return Err(misconfigured(format!(
            "this host has no public address of its own{}: give the one that the Internet knows it by, as the provider shows it, with \
             --endpoint ADDRESS",
            if addresses.is_empty() {
                String::new()
            } else {
                format!(" (it has {})", output::list(&addresses))
            }
        )));
    }
    Ok(found)
}

/// Private networks for the tunnel that no interface here has an address in: of both IP versions, if this host has both.
fn free_networks(interfaces: &Interfaces) -> Result<Vec<IpNet>> {
    let mut random = [0; 64];
    entropy::fill(&mut random).context("no random numbers from the system")?;
    // From a part of 10.0.0.0/8 that home routers, Docker and Kubernetes leave alone.
    let v4 = random.chunks_exact(2).filter_map(|bytes| {
        let network = Ipv4Net::new(Ipv4Addr::new(10, 160 + bytes[0] % 64, bytes[1], 0), 24).ok()?;
        Some(IpNet::from(network))
    });
    let is_free = |network: &IpNet| !interfaces.addresses().any(|address| network.contains(&address));
    let v4 = v4.into_iter().find(is_free).context("no private network is free: choose one with --network")?;
    // RFC 4193 section 3.2: random, so that two of them do not meet.
    let [.., a, b, c, d, e] = random;
    let (b_c, d_e) = (u16::from_be_bytes([b, c]), u16::from_be_bytes([d, e]));
    let v6 = Ipv6Net::new(Ipv6Addr::new(0xfd00 | u16::from(a), b_c, d_e, 0, 0, 0, 0, 0), 64)?;
    Ok([v4, v6.into()].into_iter().take(if has_ipv6() { 2 } else { 1 }).collect())
}

/// The first address of a network, with its prefix length.
fn first_host(network: &IpNet) -> Result<IpNet> {
    let first = super::hosts(network)
        .next()
        .with_context(|| format!("{network} has no room for a server and peers"))?;
    Ok(IpNet::new(first, network.prefix_len())?)
}

/// Runs `mpt server remove`: the service ends, and all files of the server go, those of the peers among them.
///
/// # Errors
/// There is no such server, it has peers and `really` is not said, or something cannot be removed.
pub fn remove(name: &str, directory: &Path, really: bool) -> Result<()> {
    let file = directory.join(format!("{name}.toml"));
    if !file.is_file() {
        bail!("{} is not there: this is no server of that name", file.display());
    }
    let config = Config::load(&file)?;
    let Some(listen) = &config.listen else {
        return Err(misconfigured(format!(
            "{} has no [listen], and was not made by `mpt server setup`",
            file.display()
        )));
    };
    let peers = config.connections.len() + config.peer_errors().len();
    if peers > 0 && !really {
        return Err(misconfigured(format!(
            "{peers} peers could not connect any more, and their keys would be gone: say --yes if this is meant"
        )));
    }
    super::end(name, &file, Some(&config))?;
    remove_files(&config, &listen.peers, &file)?;
    output::print(&format!("{name} is no server any more: its configuration, keys and peers are removed.\n"))
        .map(drop)
}

/// Removes the peers' files, their directory if nothing else is in it, where they were last, the key, and the configuration last: so
/// it can be tried again.
fn remove_files(config: &Config, peers: &Path, file: &Path) -> Result<()> {
    let learned = config.connections.iter().filter(|connection| connection.is_learned);
    let names = learned.map(|peer| &peer.name).chain(config.peer_errors().iter().map(|error| &error.name));
    files::remove(
        names.flat_map(|name| [PEER_FILE, PRESHARED].map(|ending| peers.join(format!("{name}.{ending}")))),
    )?;
    // In a directory of our own, also keys of peers whose files somebody has removed. Another one may have keys of others in it.
    if peers == file.with_extension("d") {
        let entries = fs::read_dir(peers).with_context(|| format!("cannot read {}", peers.display()))?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        files::remove(paths.filter(|path| path.extension().is_some_and(|ending| ending == PRESHARED)))?;
    }
    match fs::remove_dir(peers) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
            return Err(error).with_context(|| format!("cannot remove {}", peers.display()));
        }
        _ => {}
    }
    let places = control::places(&default_socket(&config.tunnel.name));
    files::remove([places, file.with_extension("key"), file.to_owned()])
}
