//! `mpt peer`: what can be said of the peers of a server.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use port_linux::config::{Endpoint, FromText, Rate};
use port_linux::enrol;
use port_linux::enrol::forward::NewForward;
use port_linux::enrol::peers::NewPeer;

use super::public_key;

/// `mpt peer`
#[derive(Debug, Subcommand)]
pub enum Peer {
    /// Let a peer in: gives it an address, and prints the line that its machine takes
    #[command(
        after_help = "The line has the peer's private key in it: it is a secret, and is not kept here. Paste it into `sudo mpt join` on \
the peer's machine; on a terminal it is shown as a QR code, too. Who wants no secret to travel makes the key there \
(`mpt join --new`) and gives the public one here.

Examples:
  sudo mpt peer add van
  sudo mpt peer add office --network 192.168.7.0/24
                                   packets to the LAN behind it go there; it has to forward them
  sudo mpt peer add home --forward 8443:443 --forward 5060/udp
                                   TCP port 8443 of this server leads to port 443 of it
  sudo mpt peer add boat --limit 50mbit
                                   as much of this server's line, at most
  sudo mpt peer add lab --through 10.9.0.0/16
                                   it sends only this through the tunnel, not everything
  sudo mpt peer add van | ssh van sudo mpt join"
    )]
    Add(PeerAdd),
    /// Give a peer new keys and a new line: the old one, and who has it, are locked out
    #[command(
        after_help = "A line cannot be shown again, as its private key is not kept here: this makes another one. All else in the peer's file \
stays as it is.

Examples:
  sudo mpt peer renew van
  ssh vps sudo mpt peer renew phone --qr                  a QR code for a camera"
    )]
    Renew(PeerKeys),
    /// Show all peers
    List(PeerList),
    /// Show one peer
    Show(PeerShow),
    /// Lock a peer out
    Remove(PeerNamed),
}

/// Which server.
#[derive(Debug, Args)]
pub struct Which {
    /// Configuration of the server [default: the only one in /etc/mpt that listens]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Its control socket [default: /run/mpt/TUNNEL.sock]
    #[arg(long, value_name = "SOCKET")]
    pub control: Option<PathBuf>,
}

impl From<Which> for enrol::Which {
    fn from(args: Which) -> Self {
        Self { config: args.config, control: args.control }
    }
}

/// `mpt peer add`
#[derive(Debug, Args)]
pub struct PeerAdd {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub keys: PeerKeys,
    /// Network behind it; may be repeated
    #[arg(long = "network", value_name = "NETWORK/LENGTH")]
    pub networks: Vec<IpNet>,
    /// Its tunnel address, as where another server has it, too; may be repeated [default: the first that nobody has]
    #[arg(long = "address", value_name = "ADDRESS")]
    pub addresses: Vec<IpAddr>,
    /// Most of its packets in each direction, such as 50mbit [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub limit: Option<Rate>,
    /// Port of this server's public addresses that leads to it; may be repeated. TO is another port of it, or a host behind it
    #[arg(long = "forward", value_name = "PORT[:TO][/udp]")]
    pub forwards: Vec<NewForward>,
}

/// `mpt peer renew`, and what `mpt peer add` has in common with it
#[derive(Debug, Args)]
pub struct PeerKeys {
    /// The peer's name
    pub name: String,
    /// Its public key, if it has made its own
    #[arg(long, value_name = "KEY", value_parser = public_key)]
    pub public_key: Option<String>,
    /// What it sends through the tunnel; may be repeated [default: everything]
    #[arg(long = "through", value_name = "NETWORK/LENGTH")]
    pub through: Vec<IpNet>,
    /// Show the line as a QR code also where standard output is no terminal, as by ssh without one
    #[arg(long)]
    pub qr: bool,
    /// Address or name at which it finds this server; may be repeated [default: `endpoints` of the configuration]
    #[arg(long = "endpoint", value_name = "ADDRESS")]
    pub endpoints: Vec<Endpoint>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub which: Which,
}

/// `mpt peer list`, and what `mpt peer show` has in common with it
#[derive(Debug, Args)]
pub struct PeerList {
    /// As JSON; its field names are stable
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub which: Which,
}

/// `mpt peer show`
#[derive(Debug, Args)]
pub struct PeerShow {
    /// The peer's name
    pub name: String,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub list: PeerList,
}

/// `mpt peer remove`
#[derive(Debug, Args)]
pub struct PeerNamed {
    /// The peer's name
    pub name: String,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub which: Which,
}

/// Reads a rate.
fn rate(text: &str) -> Result<Rate, String> {
    Rate::from_text(text).map_err(|problem| format!("{problem}; allowed: {}", Rate::ALLOWED))
}

impl PeerAdd {
    /// The server that is meant, and the peer.
    pub fn split(self) -> (enrol::Which, NewPeer) {
        let Self { keys, networks, addresses, limit, forwards } = self;
        let (which, new) = keys.split();
        (which, NewPeer { networks, addresses, limit, forwards, ..new })
    }
}

impl PeerKeys {
    /// The server that is meant, and a peer with nothing but keys.
    pub fn split(self) -> (enrol::Which, NewPeer) {
        let Self { name, public_key, through, qr, endpoints, which } = self;
        let (networks, addresses, limit, forwards) = (Vec::new(), Vec::new(), None, Vec::new());
        let new = NewPeer { name, public_key, networks, addresses, through, endpoints, qr, limit, forwards };
        (which.into(), new)
    }
}
