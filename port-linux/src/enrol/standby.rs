//! `mpt join --standby-of`: a second server's line becomes a connection that stands by for the first one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{IsTerminal, stdin};
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::files::{Aside, NewFiles};
use super::join::read_line;
use super::{Invitation, is_running};
use crate::config::{Config, Connection, Endpoint, Name};
use crate::control::{Command, ask, default_socket};
use crate::failure::misconfigured;
use crate::keys::{KeyBytes, encode};
use crate::output;

/// Adds the server of a line to the configuration of this name.
///
/// # Errors
/// The configuration is not there, the line is for another machine, or does not fit; then everything is as before.
pub fn stand_by(first: &str, directory: &Path) -> Result<()> {
    let first = super::name(first)?;
    let file = directory.join(format!("{first}.toml"));
    if !file.is_file() {
        return Err(misconfigured(format!(
            "{} is not there: join the first server before one that stands by for it",
            file.display()
        )));
    }
    let config = Config::load(&file)?;
    let connection = config.connections.iter().find(|it| it.standby.is_none() && !it.is_learned);
    let Some(connection) = connection else { bail!("{} has no connection to a server", file.display()) };
    if stdin().is_terminal() {
        output::complain(&format!(
            "On the second server, whose tunnel has the same network:\n  {}\n",
            at_server(&config)
        ));
    }
    let invitation =
        Invitation::from_line(&read_line()?).map_err(|error| misconfigured(error.to_string()))?;
    check(&config, &invitation)?;

    let name = Name::free(&invitation.server, |name| config.connections.iter().any(|it| it.name == name));
    let preshared =
        invitation.preshared_key.map(|bytes| (format!("{first}.{name}.psk"), KeyBytes::new(bytes)));
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let table = table(connection, &name, &invitation, preshared.as_ref().map(|(file, _)| file.as_str()))?;
    // What is new goes before what was there comes back.
    let aside = Aside::put(&[&file])?;
    let mut files = NewFiles::default();
    if let Some((name, key)) = &preshared {
        files.key(&directory.join(name), key)?;
    }
    files.text(&file, &format!("{}\n{table}", text.trim_end()))?;
    Config::load(&file)?;
    let runs = is_running(&config);
    if runs {
        ask(Some(&default_socket(&config.tunnel.name)), Command::Reload)?.reloaded()?;
    }
    files.keep();
    aside.discard();
    let when = if runs { "now" } else { "from its next start on" };
    output::print(&format!("{name} stands by for {}, {when}; `mpt status` shows it.\n", connection.name))
        .map(drop)
}

/// Whether the line fits a machine that has a tunnel already.
fn check(config: &Config, invitation: &Invitation) -> Result<()> {
    let remedy =
        || format!("on the second server, whose tunnel needs the same network: {}", at_server(config));
    if invitation.private_key.is_some() {
        return Err(misconfigured(format!(
            "the line has a new key for this machine, which has one already; {}",
            remedy()
        )));
    }
    let own: BTreeSet<_> = config.tunnel.addresses.iter().collect();
    if own != invitation.addresses.iter().collect() {
        return Err(misconfigured(format!(
            "the line gives this machine the tunnel address {}, and it has {}; {}",
            output::list(&invitation.addresses),
            output::list(&config.tunnel.addresses),
            remedy()
        )));
    }
    let is_known = |connection: &&Connection| {
        connection.keys.as_ref().is_some_and(|keys| *keys.public.as_bytes() == invitation.server_key)
    };
    if let Some(known) = config.connections.iter().find(is_known) {
        return Err(misconfigured(format!("the line is of {}, which is there already", known.name)));
    }
    Ok(())
}

/// What makes the line on the second server.
fn at_server(config: &Config) -> String {
    let key = config.security.as_ref().map(|security| encode(security.private_key.public().as_bytes()));
    let mut command = "sudo mpt peer add NAME".to_owned();
    if let Some(key) = key {
        let _ = write!(command, " --public-key {}", key.as_str());
    }
    for address in &config.tunnel.addresses {
        let _ = write!(command, " --address {}", address.addr());
    }
    command
}

/// The table of the connection, with paths over what the first one's take.
fn table(first: &Connection, name: &str, invitation: &Invitation, preshared: Option<&str>) -> Result<String> {
    let quoted =
        |values: Vec<String>| values.iter().map(|it| format!("\"{it}\"")).collect::<Vec<_>>().join(", ");
    let addresses: &[IpAddr] = &invitation.server_addresses;
    let mut text = format!(
        "\n# Takes over when {} does not answer. Made by `mpt join --standby-of`.\n\
         [[connection]]\nname = \"{name}\"\nstandby_of = \"{}\"\npeer = [{}]\nremote_port = {}\npublic_key = \"{}\"\n",
        first.name,
        first.name,
        quoted(addresses.iter().map(ToString::to_string).collect()),
        invitation.port,
        encode(&invitation.server_key).as_str()
    );
    if let Some(file) = preshared {
        let _ = writeln!(text, "preshared_key_file = {}", toml::Value::String(file.to_owned()));
    }
    if let Some(auto) = &first.auto {
        let remotes = invitation.endpoints.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "paths = \"auto\"\nremote = [{}]", quoted(remotes));
        if !auto.except.is_empty() {
            let except = auto.except.iter().map(ToString::to_string).collect();
            let _ = writeln!(text, "except = [{}]", quoted(except));
        }
    }
    for path in first.paths.iter().filter(|path| path.device.is_some() || first.auto.is_none()) {
        let fits = |endpoint: &&Endpoint| {
            endpoint.address().is_none_or(|address| address.is_ipv4() == path.local.is_ipv4())
        };
        let remote = invitation.endpoints.iter().find(fits).with_context(|| {
            format!("the server of the line has no address of the IP version of path {}", path.name)
        })?;
        let _ = write!(
            text,
            "\n[[connection.path]]\nname = \"{}\"\nlocal = \"{}\"\nremote = \"{remote}\"\n",
            path.name, path.local
        );
        if let Some(device) = &path.device {
            let _ = writeln!(text, "device = {}", toml::Value::String(device.clone()));
        }
        if let Some(gateway) = path.gateway {
            let _ = writeln!(text, "gateway = \"{gateway}\"");
        }
        let _ = writeln!(text, "tier = {}", path.tier);
    }
    Ok(text)
}
