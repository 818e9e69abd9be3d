//! `mpt peer add`, `renew` and `remove`: the peers of a server, a file each.

use std::fs;
use std::io::{IsTerminal, stdout};
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use qrcode::QrCode;
use qrcode::render::unicode;
use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use super::Invitation;
use super::files::{Aside, NewFiles};
use super::forward::NewForward;
use super::registry::{Registry, Which};
use crate::config::{Config, Endpoint, FromText, Name, PEER_FILE, Rate};
use crate::failure::misconfigured;
use crate::host_state::HostState;
use crate::keys::{self, KEY_LEN, KeyBytes, encode};
use crate::output;

/// How the name of the file with a peer's pre-shared key ends.
pub(super) const PRESHARED: &str = "psk";

/// A new peer.
#[derive(Debug, Clone)]
pub struct NewPeer {
    /// Its name.
    pub name: String,
    /// The text of its public key, if it has a key of its own.
    pub public_key: Option<String>,
    /// Networks behind it.
    pub networks: Vec<IpNet>,
    /// Its tunnel addresses; empty: the first that nobody has.
    pub addresses: Vec<IpAddr>,
    /// What the peer is to send through the tunnel; empty: everything.
    pub through: Vec<IpNet>,
    /// Where the server is, as peers see it; empty: `listen.endpoints`.
    pub endpoints: Vec<Endpoint>,
    /// Whether the line is shown as for people, with its picture, also where no terminal is.
    pub qr: bool,
    /// Most bits a second of its packets in each direction.
    pub limit: Option<Rate>,
    /// Ports of the server that lead to it.
    pub forwards: Vec<NewForward>,
}

/// Runs `mpt peer add`: the peer's files, a running server that knows it, and the line for the peer.
///
/// # Errors
/// The name is taken, there is no address left, it is not known where the server is, a file cannot be written, or the running server
/// does not take it. Then everything is as before.
pub fn add(which: &Which, new: &NewPeer) -> Result<()> {
    let (server, _alone) = Registry::load_alone(which)?;
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
    let addresses = if new.addresses.is_empty() {
        free_addresses(&server.config)?
    } else {
        new.addresses.iter().map(|address| wanted_address(&server.config, *address)).collect::<Result<_>>()?
    };
    let secrets = Secrets::new(new.public_key.as_deref())?;
    let text = peer_file(&secrets, (&name, &addresses), new);
    let files = PeerFiles { name: &name, secrets, text, addresses };
    enrol(&server, files, new, || {
        // Whatever is wrong with it is said with its line, before the running server sees it.
        let checked = Registry::load(which)?;
        let known = server.config.warnings();
        for warning in checked.config.warnings().iter().filter(|warning| !known.contains(warning)) {
            output::complain(&format!("{warning}\n"));
        }
        // Firewalls that drop what is forwarded, which nobody may have noticed until now.
        let of_host =
            if new.forwards.is_empty() { Vec::new() } else { HostState::wanted(&checked.config).warnings() };
        for warning in of_host {
            output::complain(&format!("{warning}\n"));
        }
        // Also what another peer cannot have any more.
        let before = server.config.peer_errors();
        match checked.config.peer_errors().iter().find(|error| !before.contains(error)) {
            Some(error) => Err(misconfigured(error.to_string())),
            None => Ok(()),
        }
    })
    .inspect_err(|_| follow_again(&server))
}

/// Runs `mpt peer renew`: new keys for a peer, and a new line. The old ones are worth nothing then. All else in the peer's file stays as
/// it is, whatever `networks`, `limit` and `forwards` of `new` are.
///
/// # Errors
/// There is no such peer, or as [`add`].
pub fn renew(which: &Which, new: &NewPeer) -> Result<()> {
    let (server, _alone) = Registry::load_alone(which)?;
    let known = server.peer(&new.name)?;
    let with_length = |address: &IpAddr| {
        let own = server.config.tunnel.addresses.iter().find(|own| own.contains(address));
        own.and_then(|own| IpNet::new(*address, own.prefix_len()).ok()).unwrap_or((*address).into())
    };
    let addresses = known.peer.iter().map(with_length).collect();
    let file = server.file(&known.name, PEER_FILE);
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let secrets = Secrets::new(new.public_key.as_deref())?;
    let text = with_keys(&text, &secrets.public, &format!("{}.{PRESHARED}", known.name))
        .with_context(|| format!("cannot find the keys in {}", file.display()))?;
    let peer = PeerFiles { name: &known.name, secrets, text, addresses };
    // Put back after what is new was removed.
    let aside = Aside::put(&[&file, &server.file(peer.name, PRESHARED)])?;
    match enrol(&server, peer, new, || Ok(())) {
        Ok(()) => aside.discard(),
        Err(error) => {
            drop(aside);
            follow_again(&server);
            return Err(error);
        }
    }
    Ok(())
}

/// Files were taken back: a running server that was too slow to answer may have read them, and reads what is there now.
fn follow_again(server: &Registry) {
    // It was told already why nothing came of it.
    let _ = server.reload();
}

/// A peer whose files are to be written.
struct PeerFiles<'a> {
    name: &'a str,
    secrets: Secrets,
    /// Of the file with its configuration.
    text: String,
    /// Its tunnel addresses, with the lengths of the tunnel's prefixes.
    addresses: Vec<IpNet>,
}

/// Writes the files of a peer, has them checked, lets the running server read them, and prints the line. On an error the files are
/// gone.
fn enrol(
    server: &Registry,
    peer: PeerFiles<'_>,
    new: &NewPeer,
    check: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let endpoints = endpoints(server, &new.endpoints)?;
    let secrets = &peer.secrets;
    let mut files = NewFiles::default();
    files.key(&server.file(peer.name, PRESHARED), &secrets.preshared)?;
    files.text(&server.file(peer.name, PEER_FILE), &peer.text)?;
    check()?;
    let runs = server.reload().context("the running server does not take it, and everything is as before")?;
    files.keep();
    let through = if new.through.is_empty() { everything(&peer.addresses) } else { new.through.clone() };
    let invitation = invitation(server, secrets, (endpoints, peer.addresses, through));
    tell(peer.name, server, &invitation, (runs, new.qr))
}

/// Runs `mpt peer remove`.
///
/// # Errors
/// There is no such peer, or its files cannot be removed.
pub fn remove(which: &Which, name: &str) -> Result<()> {
    let (server, _alone) = Registry::load_alone(which)?;
    let file = server.file(name, PEER_FILE);
    // Also one whose file has an error, which is no connection.
    if Name::from_text(name).is_err() || !file.is_file() {
        bail!(server.unknown(name));
    }
    fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    // Not every peer has one.
    let _ = fs::remove_file(server.file(name, PRESHARED));
    let runs =
        server.reload().with_context(|| format!("{name} is removed, but the running server still has it"))?;
    let when = if runs { "now" } else { "when mpt runs" };
    output::print(&format!("{name} is removed: it cannot connect any more, {when}.\n")).map(drop)
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

/// The text of a new peer's file.
fn peer_file(secrets: &Secrets, (name, addresses): (&str, &[IpNet]), new: &NewPeer) -> String {
    let addresses = addresses.iter().map(|address| address.addr().to_string());
    let allowed = addresses.chain(new.networks.iter().map(ToString::to_string));
    let allowed: Vec<String> = allowed.map(|allowed| format!("\"{allowed}\"")).collect();
    let limit = new.limit.map_or_else(String::new, |limit| format!("limit = \"{limit}\"\n"));
    let forwards: String = new.forwards.iter().map(ToString::to_string).collect();
    format!(
        "# Made by `mpt peer add {name}`; `mpt reload` after a change.\npublic_key = \"{}\"\npreshared_key_file = \"{name}.{PRESHARED}\"\n\
         # The peer's tunnel addresses, and networks behind it.\nallowed_ips = [{}]\n{limit}{forwards}",
        secrets.public,
        allowed.join(", ")
    )
}

/// The text of a peer's file with other keys; `None`: it has none.
fn with_keys(text: &str, public: &str, preshared: &str) -> Option<String> {
    let places = toml::from_str::<KeyPlaces>(text).ok()?;
    let (public_at, public) = (places.public_key.span(), format!("\"{public}\""));
    let mut changes = match places.preshared_key_file {
        Some(place) => vec![(public_at, public), (place.span(), format!("\"{preshared}\""))],
        None => vec![(public_at, format!("{public}\npreshared_key_file = \"{preshared}\""))],
    };
    // The later place first, so that the other one stays where it is.
    changes.sort_by_key(|(at, _)| std::cmp::Reverse(at.start));
    let mut text = text.to_owned();
    for (at, value) in changes {
        text.get(at.clone())?;
        text.replace_range(at, &value);
    }
    Some(text)
}

/// Where keys stand in a peer's file.
#[derive(Deserialize)]
struct KeyPlaces {
    public_key: Spanned<IgnoredAny>,
    preshared_key_file: Option<Spanned<IgnoredAny>>,
}

/// Where peers find the server.
fn endpoints(server: &Registry, given: &[Endpoint]) -> Result<Vec<Endpoint>> {
    let endpoints = if given.is_empty() { &server.listen.endpoints } else { given };
    if endpoints.is_empty() {
        return Err(misconfigured(
            "it is not known where peers find this server: give its public address or name with --endpoint ADDRESS, or for all peers as \
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
        let free = super::hosts(own).find(|address| !taken(address));
        let free = free.with_context(|| format!("no address of {} is left for another peer", own.trunc()))?;
        Ok(IpNet::new(free, own.prefix_len())?)
    };
    config.tunnel.addresses.iter().map(of).collect()
}

/// A tunnel address with its prefix length, which nobody else has.
fn wanted_address(config: &Config, address: IpAddr) -> Result<IpNet> {
    let own = config.tunnel.addresses.iter().find(|own| own.contains(&address));
    let Some(own) = own else {
        let networks: Vec<IpNet> = config.tunnel.addresses.iter().map(IpNet::trunc).collect();
        return Err(misconfigured(format!(
            "--address {address} is in none of the tunnel's networks: {}",
            output::list(&networks)
        )));
    };
    let owner = config.connections.iter().find(|connection| connection.peer.contains(&address));
    let taken = match owner {
        Some(owner) => Some(format!("{} has it", owner.name)),
        None if own.addr() == address => Some("it is this server's own".to_owned()),
        None => None,
    };
    match taken {
        Some(why) => Err(misconfigured(format!("--address {address}: {why}"))),
        None => Ok(IpNet::new(address, own.prefix_len())?),
    }
}

/// Everything of the IP versions that a peer has an address of.
fn everything(addresses: &[IpNet]) -> Vec<IpNet> {
    let v4 = addresses.iter().any(|address| address.addr().is_ipv4()).then(|| Ipv4Net::default().into());
    let v6 = addresses.iter().any(|address| address.addr().is_ipv6()).then(|| Ipv6Net::default().into());
    v4.into_iter().chain(v6).collect()
}

fn invitation(
    server: &Registry,
    secrets: &Secrets,
    (endpoints, addresses, networks): (Vec<Endpoint>, Vec<IpNet>, Vec<IpNet>),
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

/// Prints the line, for people (on a terminal, or with `qr`) with what to do with it, and as a picture that a camera can see.
fn tell(name: &str, server: &Registry, invitation: &Invitation, (runs, qr): (bool, bool)) -> Result<()> {
    let line = invitation.to_line().context("the line cannot be made")?;
    if !stdout().is_terminal() && !qr {
        return output::print(&format!("{}\n", *line)).map(drop);
    }
    let picture = QrCode::new(line.as_bytes()).map_or_else(
        |_| "With so many networks, the line does not fit into a QR code.".to_owned(),
        |code| code.render::<unicode::Dense1x2>().quiet_zone(true).build(),
    );
    let addresses: Vec<String> = invitation.addresses.iter().map(ToString::to_string).collect();
    let state = if runs {
        "the running server knows it".to_owned()
    } else {
        format!("the server does not run yet: sudo systemctl start mpt@{}", server.name)
    };
    output::print(&format!(
        "{name} is {}; {state}.\nOn its machine: sudo mpt join, and this line, which is a secret and is not kept here:\n\n{}\n\n{picture}\n",
        addresses.join(", "),
        *line
    ))
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_keys_leave_all_else_in_the_file() {
        let text = "# Mine.\npublic_key = \"old\" # of the van\nallowed_ips = [\"10.8.0.2\"]\n";
        assert_eq!(
            with_keys(text, "new", "van.psk").unwrap(),
            "# Mine.\npublic_key = \"new\"\npreshared_key_file = \"van.psk\" # of the van\nallowed_ips = [\"10.8.0.2\"]\n"
        );
        let text = "preshared_key_file = 'a.psk'\npublic_key = \"old\"\n[[forward]]\nport = 1\n";
        assert_eq!(
            with_keys(text, "longer", "van.psk").unwrap(),
            "preshared_key_file = \"van.psk\"\npublic_key = \"longer\"\n[[forward]]\nport = 1\n"
        );
        assert_eq!(with_keys("allowed_ips = []\n", "new", "van.psk"), None);
    }

    #[test]
    fn a_peer_without_ipv6_is_not_told_to_send_it_into_the_tunnel() {
        let v4: IpNet = "10.8.0.2/24".parse().unwrap();
        assert_eq!(everything(&[v4]), ["0.0.0.0/0".parse().unwrap()]);
        assert_eq!(everything(&[v4, "fd00::2/64".parse().unwrap()]).len(), 2);
    }
}
