//! The command line: what can be said, and help that teaches it. What a command does lives in its module.

mod data;
mod look;
mod measure;
mod path;
mod peer;
mod portal;
mod record;

pub use data::{Data, DataAmount, DataWay};
pub use look::{History, Since, Top};
pub use measure::{Ping, Speed};
pub use path::{AddPath, Named, Path, Way};

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;

use port_linux::config::{Endpoint, PORT};
use port_linux::enrol::forward::NewForward;
use port_linux::enrol::{join, server};
use port_linux::init::Wanted;
use port_linux::keys;
use port_linux::logs;
use port_linux::run::DEFAULT_CONFIG;

pub use peer::{Peer, PeerAdd, PeerKeys, PeerList, PeerNamed, PeerShow, Which};
pub use portal::Portal;
pub use record::{Record, Replay, Save, Start, Stop, What};

/// A multipath tunnel: two hosts, one virtual interface, every packet over several links.
///
/// Each end runs `mpt run` with a configuration file that names the tunnel interface, the peer, and the paths
/// to it. Every IP packet that enters the interface leaves on one of the paths as GRE in UDP (RFC 8086), and
/// comes out of the peer's interface: TCP in order, UDP as it arrives, unless told otherwise. A path that dies is
/// left within its dead time; one that comes back is used again.
#[derive(Debug, Parser)]
#[command(name = "mpt", version, propagate_version = true, after_help = format!("Examples:\n{TRY_IT}{EXAMPLES}"), max_term_width = WIDTH)]
pub struct Cli {
    /// Say more: -v for debugging, -vv for everything (RUST_LOG is obeyed as well)
    #[arg(short, long, global = true, display_order = 100, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Form of log lines [default: that of the journal under systemd, else text]
    #[arg(long, global = true, display_order = 101, value_name = "FORM")]
    pub log: Option<logs::Form>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// Columns of help on a terminal that has as many or more.
const WIDTH: usize = 96;

/// The first example.
const TRY_IT: &str = if cfg!(feature = "lab") {
    "  mpt lab                          try it: two hosts, four links, real traffic, all on this host\n"
} else {
    ""
};

/// The other examples.
const EXAMPLES: &str =
    "  mpt init -o mpt.toml             draft a configuration from this host's interfaces, with a key
  mpt check mpt.toml               look for mistakes in a configuration
  sudo mpt run -c mpt.toml         build the tunnel and keep it until Ctrl-C
  sudo mpt server setup            on a rented host: let peers in, each with `mpt peer add NAME`
  sudo mpt join                    at home: everything over all links to that server
  mpt top                          see the paths' states and rates, live
  mpt history --since 12h          what the paths did last night
  sudo mpt doctor                  say what is wrong, and what mends it
  mpt path down lte                take a path out of use
  mpt ping vps --path lte          the round trip to a peer over one path
  mpt speed vps                    what its paths carry, each and all together
  mpt --log json run -c mpt.toml   log lines for a collector

Exit codes: 0 done, 1 failed, 2 bad configuration or usage.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build the tunnel and keep it until Ctrl-C or SIGTERM
    Run(Run),
    /// Look for mistakes in a configuration file, changing nothing
    Check(Check),
    /// Remove what an mpt that was killed has left on this host, its kill switch included
    Clean(Clean),
    /// Show the connections and paths of a running mpt
    Status(Status),
    /// Watch the connections and paths of a running mpt, and take paths into use or out of use
    Top(Top),
    /// Show what the paths did in the last hours or days, and what happened
    History(History),
    /// Print what a running mpt counts and measures, for Prometheus and others
    Metrics(Metrics),
    /// Look for what is wrong with this host, the configuration and the running tunnel, and say what mends it
    Doctor(Doctor),
    /// Measure the round trip to a peer through the tunnel, over all paths or one
    Ping(Ping),
    /// Measure what the paths to a peer carry, each by itself and all together
    Speed(Speed),
    /// Let a running mpt read its configuration again
    Reload(Reload),
    /// Take a path of a running mpt into use or out of use
    Path(Path),
    /// Run a program over the link of one path alone, as a browser for the login page of its network
    Portal(Portal),
    /// Show what paths have used of their data plans, or set it
    Data(Data),
    /// Record what enters the core of a running mpt, for `mpt replay`
    Record(Record),
    /// Do a recording again: check that the core decides as it did, and show what happened
    Replay(Box<Replay>),
    /// Draft a configuration from the interfaces of this machine, and make its key
    Init(Init),
    /// Make a private key, which encrypts the tunnel together with the peer's public one
    Genkey(Genkey),
    /// Print the public key of a private one
    Pubkey(Pubkey),
    /// Make a pre-shared key: a second secret that both ends have
    Genpsk(Genpsk),
    /// Make a server of this host, which peers reach from anywhere
    #[command(subcommand)]
    Server(Server),
    /// Let peers in to this server, and show them
    #[command(subcommand)]
    Peer(Peer),
    /// Join a server by the line that it printed
    Join(Join),
    /// Leave a server: undo what `mpt join` has done
    Leave(Leave),
    /// Turn a configuration of the original MPT-GRE into one of mpt, on standard output
    Import(Import),
    /// Measure the tunnel on this machine: two hosts in namespaces, shaped links, real traffic
    #[cfg(feature = "lab")]
    Lab(mpt_lab::Args),
    /// The laboratory's traffic generator
    #[cfg(feature = "lab")]
    #[command(hide = true)]
    Traffic(mpt_lab::traffic::Args),
}

/// `mpt run`
#[derive(Debug, Args)]
#[command(after_help = "Needs the capability CAP_NET_ADMIN: sudo, or once
  sudo setcap cap_net_admin+ep $(command -v mpt)

Everything is checked before anything is changed. When mpt ends, in whatever way, the interface \
and its routes are gone. The policy rules of a default route through the tunnel, and what makes a \
gateway of the host (nft table, resolver, forwarding), outlive an mpt that is killed: `mpt clean` removes them, \
as does the next start.")]
pub struct Run {
    /// Configuration file
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Control socket [default: /run/mpt/TUNNEL.sock, TUNNEL being the interface's name]
    #[arg(long, value_name = "SOCKET")]
    pub control: Option<PathBuf>,
}

/// `mpt check`
#[derive(Debug, Args)]
#[command(
    after_help = "All mistakes are named, as far as reading can go on behind one: file, line, key, what was found, and what is allowed. \
Then it is looked at what of this host is in the way, as routes, filters and other programs' ports: warnings. Root is not needed, \
but for key files that only root may read.

Exit code 2 when the file has a mistake.

Examples:
  sudo mpt check /etc/mpt/home.toml
  mpt check --offline van.toml     for another machine: this one and key files do not matter"
)]
pub struct Check {
    /// The file is for another machine: look at nothing of this one
    #[arg(long)]
    pub offline: bool,
    /// Configuration file
    pub file: PathBuf,
}

/// `mpt clean`
#[derive(Debug, Args)]
#[command(
    after_help = "Needed only after an mpt was killed (kill -9, out of memory) whose tunnel has a default route, or a LAN, resolver, \
exceptions or forwarded ports (share, masquerade, dns, direct, [[forward]]), or after an `mpt portal` was killed: policy rules, the nft table, the resolver, \
forwarding and control groups are left then, and with \
kill_switch = true the route that keeps packets from the Internet. An mpt that runs is left alone. The service mpt@NAME does it by itself, but leaves a kill switch in place.

Examples:
  sudo mpt clean mpt0
  sudo mpt clean -c /etc/mpt/home.toml"
)]
pub struct Clean {
    /// Name of the tunnel interface
    #[arg(required_unless_present = "config", conflicts_with = "config")]
    pub name: Option<String>,
    /// Configuration file that names it
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `mpt status`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpt status                       everything, once
  mpt status pc2                   one connection; with its rates, live: mpt top pc2
  mpt status --json | jq '.connections[].paths[] | {name, state, rtt_us}'")]
pub struct Status {
    /// Only the connection of this name
    pub name: Option<String>,
    /// One line of JSON; its field names are stable
    #[arg(long)]
    pub json: bool,
    /// `mpt top`
    #[arg(long, hide = true, conflicts_with = "json")]
    pub watch: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub control: Control,
}

/// `mpt metrics`
#[derive(Debug, Args)]
#[command(
    after_help = "The text is that of Prometheus (version 0.0.4), as [metrics] in the configuration serves it by HTTP. What each metric means \
and what to do about it: docs/operations.md.

Examples:
  mpt metrics | grep _dropped_total
  mpt metrics > /var/lib/prometheus/node-exporter/mpt.tmp &&
    mv /var/lib/prometheus/node-exporter/mpt.tmp /var/lib/prometheus/node-exporter/mpt.prom
                                   for node_exporter's textfile collector, each minute by cron
  curl --unix-socket /run/mpt/mpt0.metrics.sock http://mpt/metrics
                                   the same where the configuration has [metrics]"
)]
pub struct Metrics {
    /// Only those of the connection of this name
    pub name: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub control: Control,
}

/// `mpt doctor`
#[derive(Debug, Args)]
#[command(
    after_help = "Each finding says what is wrong, why it matters, and what mends it; the worst come first. Nothing is changed. Without a running \
tunnel, only the host and the configuration are looked at, and the checks that are left out are named.

Exit code 0 when nothing is found, 1 when something is, 2 for wrong usage.

Examples:
  sudo mpt doctor                          the running tunnel, and its configuration in /etc/mpt
  mpt doctor --config home.toml            before it is started
  mpt doctor --json | jq -r '.findings[] | .check + \": \" + .mend'"
)]
pub struct Doctor {
    /// Configuration file [default: that of the running tunnel, or the only one in /etc/mpt]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One line of JSON; its field names are stable
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub control: Control,
}

/// `mpt reload`
#[derive(Debug, Args)]
#[command(
    after_help = "Connections and peers that are new come, those that are gone go, those that are set up otherwise begin \
anew, and all others notice nothing. Forwarded ports, hooks, `limit`, and `uplink` and `downlink` of [listen] change without a cut connection; where \
only paths of a connection come, go or change, and none of them has pinned ports, it goes on over the others.

An error in the configuration, or in the file of a peer that mpt has now, changes nothing; the file of any other peer with an error leaves that peer \
out. [tunnel], [security], [metrics] and all else of [listen] cannot change. The first default route through the tunnel, or the first `gateway` of a \
path, can neither come nor go.

`systemctl reload mpt@NAME` and SIGHUP do the same, and tell of errors in the log only. Where standard input \
is a terminal, SIGHUP ends mpt."
)]
pub struct Reload {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub control: Control,
}

/// Which running mpt.
#[derive(Debug, Args)]
pub struct Control {
    /// Control socket of the mpt to ask [default: the only one in /run/mpt]
    #[arg(long = "control", value_name = "SOCKET")]
    pub socket: Option<PathBuf>,
}

/// `mpt init`
#[derive(Debug, Args)]
#[command(
    after_help = "Each interface that is up becomes a path that is bound to it by name, with whatever address it \
has: the path waits for the interface, and follows it when it goes, comes back, or gets another \
address. Interfaces that a Raspberry Pi usually has (eth0, wlan0, usb0, wwan0) stand in comments \
while they are not there. Nothing is asked.

With -o, the configuration is written to FILE, and a private key beside it unless there is one: home.key \
for home.toml. What is printed is the public key, which belongs into the peer's configuration, as the \
peer's belongs into this one. Without -o the configuration is printed, and no key is made.

Example:
  sudo mpt init --remote 198.51.100.7 -o /etc/mpt/home.toml
  sudo nano /etc/mpt/home.toml               # the peer's public key, tunnel addresses
  sudo systemctl enable --now mpt@home"
)]
pub struct Init {
    /// Write the configuration to this new file, and make its key
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The peer's public key, if it is known already
    #[arg(long, value_name = "KEY", value_parser = public_key)]
    pub public_key: Option<String>,
    /// Address or name of the peer outside of the tunnel; may be repeated, as for IPv4 and IPv6
    #[arg(long = "remote", value_name = "ADDRESS", default_values = ["192.0.2.1", "2001:db8::1"])]
    pub remotes: Vec<Endpoint>,
    /// Our address inside the tunnel, with prefix length; may be repeated
    #[arg(long = "address", value_name = "ADDRESS/LENGTH", default_value = "10.0.0.1/24")]
    pub addresses: Vec<IpNet>,
    /// The peer's address inside the tunnel; may be repeated
    #[arg(long = "peer", value_name = "ADDRESS", default_value = "10.0.0.2")]
    pub peers: Vec<IpAddr>,
}

impl From<Init> for Wanted {
    fn from(args: Init) -> Self {
        Self {
            remotes: args.remotes,
            addresses: args.addresses,
            peers: args.peers,
            public_key: args.public_key,
            invited: None,
        }
    }
}

/// Checks the text of a public key.
fn public_key(text: &str) -> Result<String, String> {
    match keys::decode(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(problem) => Err(format!("{problem}; allowed: {}", keys::ALLOWED_PUBLIC)),
    }
}

/// `mpt genkey`
#[derive(Debug, Args)]
#[command(
    after_help = "Each end of a tunnel has a private key, in a file of its own that only its owner may read, and the \
other end's public key, in its configuration:

  [security]
  private_key_file = \"/etc/mpt/home.key\"
  [[connection]]
  public_key = \"..\"               # what `mpt genkey -o` printed at the other end

Keys are 32 bytes in base64, as `wg genkey` makes them. Do not use one key in both.

Examples:
  sudo mpt genkey -o /etc/mpt/home.key         make the file, print the public key
  umask 077; mpt genkey > home.key             the same by hand, then: mpt pubkey < home.key"
)]
pub struct Genkey {
    /// Write the key to this new file that only its owner may read, and print its public key instead
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `mpt pubkey`
#[derive(Debug, Args)]
#[command(
    after_help = "The public key is no secret: it goes into `public_key` of the other end's configuration.

Examples:
  sudo mpt pubkey /etc/mpt/home.key
  mpt pubkey < home.key"
)]
pub struct Pubkey {
    /// The file with the private key; standard input by default
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `mpt genpsk`
#[derive(Debug, Args)]
#[command(
    after_help = "Optional. It keeps what somebody recorded closed even if public keys give away private ones one \
day, as a quantum computer might do. Both ends have the same one, which travels on a safe way, such as \
a USB stick or ssh:

  [[connection]]
  preshared_key_file = \"/etc/mpt/home.psk\"

Example:
  sudo mpt genpsk -o /etc/mpt/home.psk"
)]
pub struct Genpsk {
    /// Write the key to this new file that only its owner may read
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `mpt import`
#[derive(Debug, Args)]
#[command(after_help = "Example:
  mpt import mpt-gre/conf > mpt.toml && mpt check mpt.toml")]
pub struct Import {
    /// Directory with interface.conf and connections/*.conf
    pub dir: PathBuf,
}

/// `mpt server`
#[derive(Debug, Subcommand)]
pub enum Server {
    /// Make the configuration and keys of a server, and start it
    #[command(
        after_help = "It needs a host with a public address, such as a rented one. Peers reach the Internet through it. \
Done twice it changes nothing, and says how things are.

Examples:
  sudo mpt server setup
  sudo mpt server setup --endpoint 203.0.113.7     where the host is behind its provider's NAT
  sudo mpt peer add van                            then, for each peer"
    )]
    Setup(ServerSetup),
    /// End the server, and remove its configuration, keys and peers
    Remove(ServerRemove),
}

/// `mpt server setup`
#[derive(Debug, Args)]
pub struct ServerSetup {
    /// Name of the configuration, /etc/mpt/NAME.toml, and of the service, mpt@NAME
    #[arg(long, default_value = server::NAME)]
    pub name: String,
    /// Address or name that peers find this host at; may be repeated, as for IPv4 and IPv6 [default: its public ones]
    #[arg(long = "endpoint", value_name = "ADDRESS")]
    pub endpoints: Vec<Endpoint>,
    /// Network inside the tunnel; twice for IPv4 and IPv6: with one alone, peers send only that IP version through the tunnel
    /// [default: private ones that nobody here has]
    #[arg(long = "network", value_name = "NETWORK/LENGTH")]
    pub networks: Vec<IpNet>,
    /// UDP port
    #[arg(long, default_value_t = PORT)]
    pub port: u16,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub place: Place,
}

/// `mpt server remove`
#[derive(Debug, Args)]
pub struct ServerRemove {
    /// Name of the configuration
    #[arg(long, default_value = server::NAME)]
    pub name: String,
    /// Also if there are peers
    #[arg(long)]
    pub yes: bool,
    /// Where the configuration is
    #[arg(long, value_name = "DIRECTORY", default_value = "/etc/mpt")]
    pub directory: PathBuf,
}

/// Where files go, and whether the service is started.
#[derive(Debug, Args)]
pub struct Place {
    /// Where the files go
    #[arg(long, value_name = "DIRECTORY", default_value = "/etc/mpt")]
    pub directory: PathBuf,
    /// Make the files only: do not start the service
    #[arg(long)]
    pub no_start: bool,
}

/// `mpt join`
#[derive(Debug, Args)]
#[command(
    after_help = "Asks for the line that `mpt peer add` printed on the server, or reads it from standard input: not as an argument, which \
others on this machine could read. Each interface that leads out becomes a path. Then the service mpt@NAME is \
started, now and at each boot, and everything goes through all links at once. `mpt leave` takes it back.

Examples:
  sudo mpt join
  sudo mpt join --share 192.168.6.0/24 --kill-switch
                                   a router: its LAN, too, and nothing past the tunnel
  sudo mpt join --share lan0 --forward 443:192.168.6.2
                                   what the server forwards to port 443 goes on to that host
  sudo mpt join --new              make the key here; see: mpt peer add --help"
)]
pub struct Join {
    /// Name of the configuration and the service [default: the server's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Make this machine's key, and print the public one for `mpt peer add --public-key`
    #[arg(long)]
    pub new: bool,
    /// After a crash, nothing leaves past the tunnel until mpt runs again
    #[arg(long)]
    pub kill_switch: bool,
    /// LAN behind this machine that uses the tunnel, too: a network or an interface; may be repeated
    #[arg(long = "share", value_name = "LAN")]
    pub share: Vec<String>,
    /// Server to ask for names, through the tunnel; may be repeated
    #[arg(long = "dns", value_name = "ADDRESS")]
    pub dns: Vec<IpAddr>,
    /// Port that leads to a host of a LAN, for what comes out of the tunnel; may be repeated
    #[arg(long = "forward", value_name = "PORT:HOST[:PORT][/udp]")]
    pub forwards: Vec<NewForward>,
    /// Only this goes through the tunnel; may be repeated [default: what the line says, mostly everything]
    #[arg(long = "network", value_name = "NETWORK/LENGTH")]
    pub networks: Vec<IpNet>,
    /// Name of the configuration of a server that was joined before: this one takes over when that one does not answer
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "new", "kill_switch", "share", "dns", "networks", "only", "no_start"])]
    pub standby_of: Option<String>,
    /// Interface that carries a path; may be repeated [default: all that lead out, also those that come later]
    #[arg(long = "paths", value_name = "INTERFACE")]
    pub only: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub place: Place,
}

/// `mpt leave`
#[derive(Debug, Args)]
pub struct Leave {
    /// Name of the configuration [default: the only one that `mpt join` made]
    pub name: Option<String>,
    /// Where the configuration is
    #[arg(long, value_name = "DIRECTORY", default_value = "/etc/mpt")]
    pub directory: PathBuf,
}

impl From<ServerSetup> for server::Setup {
    fn from(args: ServerSetup) -> Self {
        Self {
            name: args.name,
            directory: args.place.directory,
            endpoints: args.endpoints,
            networks: args.networks,
            port: args.port,
            start: !args.place.no_start,
        }
    }
}

impl From<Join> for join::Join {
    fn from(args: Join) -> Self {
        Self {
            name: args.name,
            directory: args.place.directory,
            start: !args.place.no_start,
            kill_switch: args.kill_switch,
            share: args.share,
            dns: args.dns,
            forwards: args.forwards,
            networks: args.networks,
            only: args.only,
        }
    }
}

#[cfg(test)]
mod tests;
