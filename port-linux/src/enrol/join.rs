//! `mpt join`: a server's line becomes files, a service, and a tunnel that works; `mpt leave` takes it all back.

use std::fs;
use std::io::{IsTerminal, Read, stdin};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use zeroize::Zeroizing;

use super::files::{self, NewFiles};
use super::forward::NewForward;
use super::invitation::LONGEST;
use super::{Invitation, SWITCH_IPV6_ON, service};
use crate::config::{Config, Network, TUNNEL_NAME};
use crate::control::{self, default_socket};
use crate::failure::misconfigured;
use crate::host_state::HostState;
use crate::init::{Invited, Wanted, init};
use crate::keys::{self, KeyBytes, encode};
use crate::link::{Interface, Interfaces, Leases, has_ipv6};
use crate::output;
use crate::report::{ConnectionReport, State};

/// How long the tunnel may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at it.
const GLANCE: Duration = Duration::from_millis(200);
/// What the first line of a file says that [`join`] made.
const MARK: &str = "Made by `mpt join`";

/// What `mpt join` is to do.
#[derive(Debug, Clone)]
pub struct Join {
    /// The name of the configuration; `None`: that of the server.
    pub name: Option<String>,
    /// Where the files go.
    pub directory: PathBuf,
    /// Whether the service is started.
    pub start: bool,
    /// Whether what would take the tunnel goes nowhere when mpt has crashed.
    pub kill_switch: bool,
    /// LANs that use the tunnel, too.
    pub share: Vec<String>,
    /// Servers to ask for names.
    pub dns: Vec<IpAddr>,
    /// Ports of this machine's address in the tunnel that lead to hosts of a LAN.
    pub forwards: Vec<NewForward>,
    /// Only these networks go through the tunnel; empty: those of the line.
    pub networks: Vec<IpNet>,
    /// Only these interfaces carry paths; empty: all that lead out.
    pub only: Vec<String>,
}

/// Runs `mpt join`.
///
/// # Errors
/// What is wrong with the line, or which step failed and what to do about it. Before the service is started, everything is as before
/// then.
pub fn join(wanted: &Join) -> Result<()> {
    let mut invitation =
        Invitation::from_line(&read_line()?).map_err(|error| misconfigured(error.to_string()))?;
    let name = wanted.name.clone().unwrap_or_else(|| invitation.server.clone());
    let name = super::name(&name)?;
    let file = wanted.directory.join(format!("{name}.toml"));
    if file.symlink_metadata().is_ok() {
        return Err(misconfigured(format!(
            "{} is there already: `mpt leave {name}` removes it, --name gives this one another name",
            file.display()
        )));
    }
    super::admit(&wanted.networks)?;
    let leaves_out = !has_ipv6() && leave_ipv6_out(&mut invitation)?;
    let mut interfaces = Interfaces::now()?;
    for network in &invitation.addresses {
        if let Some(taken) = interfaces.addresses().find(|address| network.contains(address)) {
            return Err(misconfigured(format!(
                "the tunnel would have the network {}, and this machine has {taken} in it on another interface: the server needs \
                 another one (mpt server setup --network)",
                network.trunc()
            )));
        }
    }
    let files = write(wanted, &invitation, (&name, &file), &interfaces)?;
    let mut config = Config::load(&file)?;
    config = config.with_paths_now(&mut interfaces)?;
    if config.connections.iter().all(|connection| connection.paths.is_empty()) {
        bail!("{}", no_way(&interfaces));
    }
    HostState::wanted(&config).check()?;
    files.keep();
    tell_made(&config, &file)?;
    tell_unused(&config, &interfaces)?;
    if leaves_out {
        output::print("IPv6 is switched off here: the tunnel has IPv4 alone.\n")?;
    }
    if !wanted.start || !service::is_there() {
        let why = if wanted.start { "This machine has no systemd with the unit mpt@.service. " } else { "" };
        return output::print(&format!("{why}Start it with:\n  sudo mpt run -c {}\n", file.display()))
            .map(drop);
    }
    service::start(&name).with_context(|| {
        format!("the service does not start; its log says why: {}\nTake everything back with: sudo mpt leave {name}", service::log_command(&name))
    })?;
    wait(&config, &name)
}

/// Why no interface carries a path.
fn no_way(interfaces: &Interfaces) -> String {
    let candidates = interfaces.iter().filter(|interface| !interface.is_loopback() && !interface.is_tunnel());
    let seen: Vec<String> = candidates
        .map(|interface| {
            let why = if !interface.running {
                "it is switched off or has no carrier"
            } else if interface.addresses.is_empty() {
                "it has no address"
            } else {
                "no default route leads through it; with --paths it is taken nevertheless"
            };
            format!("\n  {}: {why}", interface.name)
        })
        .collect();
    format!("no interface of this machine leads to the server now:{}", seen.concat())
}

/// Takes the addresses and networks of IPv6 inside the tunnel out, which no interface here could have. Whether there were any.
///
/// # Errors
/// There are no others.
fn leave_ipv6_out(invitation: &mut Invitation) -> Result<bool> {
    let before = invitation.addresses.len();
    invitation.addresses.retain(|address| address.addr().is_ipv4());
    invitation.server_addresses.retain(IpAddr::is_ipv4);
    invitation.networks.retain(|network| network.addr().is_ipv4());
    if invitation.addresses.is_empty() || invitation.networks.is_empty() {
        return Err(misconfigured(format!(
            "the tunnel would have IPv6 alone, which is switched off here; switch it on with: {SWITCH_IPV6_ON}"
        )));
    }
    Ok(invitation.addresses.len() < before)
}

/// The line, from a person or a pipe.
pub(super) fn read_line() -> Result<Zeroizing<String>> {
    if stdin().is_terminal() {
        output::complain("The line that `mpt peer add` printed on the server:\n");
        let mut line = Zeroizing::new(String::new());
        stdin().read_line(&mut line).context("standard input")?;
        return Ok(line);
    }
    let mut text = Zeroizing::new(String::new());
    let most = u64::try_from(LONGEST).unwrap_or(u64::MAX);
    stdin().lock().take(most).read_to_string(&mut text).context("standard input")?;
    Ok(text)
}

/// The configuration and its keys, beside each other.
fn write(
    wanted: &Join,
    invitation: &Invitation,
    (name, file): (&str, &Path),
    interfaces: &Interfaces,
) -> Result<NewFiles> {
    let mut files = NewFiles::default();
    let key = file.with_extension("key");
    match invitation.private_key {
        Some(bytes) => files.key(&key, &KeyBytes::new(bytes))?,
        None if key.is_file() => {}
        None => {
            return Err(misconfigured(format!(
                "the line is for a machine that has made its own key, and {} is not there: `mpt join --new --name {name}` makes it",
                key.display()
            )));
        }
    }
    let preshared_key_file = invitation.preshared_key.map(|bytes| {
        let file = file.with_extension("psk");
        files.key(&file, &KeyBytes::new(bytes)).map(|()| file_name(&file))
    });
    let draft = init(
        &Wanted {
            remotes: invitation.endpoints.clone(),
            addresses: invitation.addresses.clone(),
            peers: invitation.server_addresses.clone(),
            public_key: Some(encode(&invitation.server_key).as_str().to_owned()),
            invited: Some(Invited {
                name: invitation.server.clone(),
                tunnel: free_tunnel(interfaces),
                port: invitation.port,
                preshared_key_file: preshared_key_file.transpose()?,
                networks: if wanted.networks.is_empty() {
                    invitation.networks.clone()
                } else {
                    wanted.networks.clone()
                },
                kill_switch: wanted.kill_switch,
                share: wanted.share.clone(),
                dns: wanted.dns.clone(),
                only: (!wanted.only.is_empty()).then(|| wanted.only.clone()),
            }),
        },
        Path::new(&file_name(&key)),
    )?;
    for warning in &draft.warnings {
        tracing::warn!("{warning}");
    }
    let forwards: String = wanted.forwards.iter().map(ToString::to_string).collect();
    files.text(file, &(draft.text + &forwards))?;
    Ok(files)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The first name for a tunnel interface that no interface has: mpt0, mpt1 and so on.
fn free_tunnel(interfaces: &Interfaces) -> String {
    let stem = TUNNEL_NAME.trim_end_matches('0');
    let names = (0..).map(|number: u32| format!("{stem}{number}"));
    names.into_iter().find(|name| interfaces.named(name).is_none()).unwrap_or_else(|| TUNNEL_NAME.to_owned())
}

fn tell_made(config: &Config, file: &Path) -> Result<()> {
    let connections = config.connections.iter();
    let paths: Vec<&str> = connections
        .flat_map(|connection| &connection.paths)
        .filter_map(|path| path.device.as_deref())
        .collect();
    output::print(&format!("{} is made: paths over {}.\n", file.display(), paths.join(", "))).map(drop)
}

/// Says which interfaces could be used, and are not, as no default route leads through them: some DHCP clients set only one.
fn tell_unused(config: &Config, interfaces: &Interfaces) -> Result<()> {
    let paths: Vec<_> = config.connections.iter().flat_map(|connection| &connection.paths).collect();
    let is_used =
        |interface: &Interface| paths.iter().any(|path| path.device.as_deref() == Some(&interface.name));
    let is_auto = config.connections.iter().any(|connection| connection.auto.is_some());
    let leases = Leases::default();
    for interface in interfaces.iter().filter(|it| is_auto && it.may_lead_out() && it.running && !is_used(it))
    {
        if let Some(router) = leases.router(interface) {
            output::print(&format!(
                "{name} is not used: DHCP named the router {router} there, and the host has no default route through it. Where that is not meant, \
                 append to the configuration:\n  [[connection.path]]\n  name = \"{name}\"\n  device = \"{name}\"\n  local = \"0.0.0.0\"\n  \
                 gateway = \"{router}\"\n  remote = the server's address\n",
                name = interface.name
            ))?;
        }
    }
    Ok(())
}

/// Waits until the tunnel works, and says so, or what keeps it from that.
fn wait(config: &Config, name: &str) -> Result<()> {
    let socket = default_socket(&config.tunnel.name);
    let mut last = None;
    for _ in 0..PATIENCE.as_millis() / GLANCE.as_millis() {
        if let Ok(report) = control::report(Some(&socket)) {
            last = report.connections.into_iter().next();
        }
        if let Some(connection) = &last
            && connection.paths.iter().any(|path| path.state == State::Up)
        {
            return tell_works(connection, config);
        }
        sleep(GLANCE);
    }
    bail!(
        "{}\nIt goes on trying. Its log: {}\nTake everything back with: sudo mpt leave {name}",
        failure(last.as_ref()),
        service::log_command(name)
    )
}

fn tell_works(connection: &ConnectionReport, config: &Config) -> Result<()> {
    let up = connection.paths.iter().filter(|path| path.state == State::Up).count();
    let all = if config.connections.iter().flat_map(|it| &it.networks).any(Network::is_default) {
        "Everything goes through it now"
    } else {
        "It is up"
    };
    output::print(&format!(
        "The tunnel to {} works: {up} of {} paths are up. {all}; `mpt status` shows it.\n",
        connection.name,
        connection.paths.len()
    ))
    .map(drop)
}

/// Why no path is up, as far as it is known.
fn failure(connection: Option<&ConnectionReport>) -> String {
    let Some(connection) = connection else {
        return "mpt started, but does not answer".to_owned();
    };
    if let Some(problem) = &connection.problem {
        return format!("{}: the peer {problem}", connection.name);
    }
    let mut lines = vec!["no path is up yet:".to_owned()];
    for path in &connection.paths {
        let remote = path
            .remote
            .map_or_else(String::new, |remote| format!(" from {} port {}", remote.ip(), remote.port()));
        let why = match path.waits_for.as_ref().or(path.problem.as_ref()) {
            Some(waits) => waits.clone(),
            None => {
                format!("no answer{remote}: does mpt run there, and does the provider's firewall let UDP in?")
            }
        };
        lines.push(format!("  {}: {why}", path.name));
    }
    lines.push(
        "A line that was used after `mpt peer renew` or `mpt peer remove` gets no answer, either.".to_owned(),
    );
    lines.join("\n")
}

/// Runs `mpt join --new`: makes this machine's key, and prints the public one for `mpt peer add --public-key`.
///
/// # Errors
/// The key is there already, or cannot be made.
pub fn new_key(name: Option<&str>, directory: &Path) -> Result<()> {
    let name = super::name(name.unwrap_or(super::server::NAME))?;
    let file = directory.join(format!("{name}.key"));
    let key = keys::random_private()?;
    let mut files = NewFiles::default();
    files.key(&file, &key)?;
    files.keep();
    let public = encode(keys::private(&key).public().as_bytes());
    output::print(&format!(
        "{} is made. On the server:\n  sudo mpt peer add NAME --public-key {public}\nThen, here, with the line that it prints:\n  sudo mpt join --name {name}\n",
        file.display()
    ))
    .map(drop)
}

/// Runs `mpt leave`: the service ends, and its files and all that it did to this host go.
///
/// # Errors
/// There is no such configuration, it was not made by `mpt join`, or something cannot be removed.
pub fn leave(name: Option<&str>, directory: &Path) -> Result<()> {
    let file = joined(name, directory)?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    super::end(&name, &file, Config::load(&file).ok().as_ref())?;
    let standbys = of_standbys(&file, &name);
    files::remove(
        [file.clone(), file.with_extension("key"), file.with_extension("psk")].into_iter().chain(standbys),
    )?;
    output::print(&format!("{name} is left: its configuration and keys are removed. The server still knows this machine; there, `mpt peer remove` forgets it.\n")).map(drop)
}

/// The files with pre-shared keys that `mpt join --standby-of` made for this configuration.
fn of_standbys(file: &Path, name: &str) -> Vec<PathBuf> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    let connections = table.get("connection").and_then(|it| it.as_array()).into_iter().flatten();
    let files = connections.filter_map(|it| it.get("preshared_key_file")?.as_str());
    let of_this = files.filter(|file| file.starts_with(&format!("{name}.")) && !file.contains('/'));
    of_this.map(|key| file.with_file_name(key)).collect()
}

/// The configuration that is to be left.
fn joined(name: Option<&str>, directory: &Path) -> Result<PathBuf> {
    let is_joined = |text: &str| text.lines().take(3).any(|line| line.contains(MARK));
    if let Some(name) = name {
        let file = directory.join(format!("{name}.toml"));
        if !file.is_file() {
            bail!("{} is not there", file.display());
        }
        if !fs::read_to_string(&file).is_ok_and(|text| is_joined(&text)) {
            return Err(misconfigured(format!(
                "{} was not made by `mpt join`: remove it by hand",
                file.display()
            )));
        }
        return Ok(file);
    }
    let found = super::configurations(directory, is_joined)?;
    match &found[..] {
        [file] => Ok(file.clone()),
        [] => bail!(
            "there is nothing to leave: no configuration in {} was made by `mpt join`",
            directory.display()
        ),
        several => {
            let names: Vec<_> = several.iter().filter_map(|file| file.file_stem()?.to_str()).collect();
            Err(misconfigured(format!("there are several: say mpt leave {}", names.join(" or mpt leave "))))
        }
    }
}
