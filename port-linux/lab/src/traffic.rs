//! The traffic generator: sends TCP, MPTCP or numbered UDP, and measures at the receiving end.
//!
//! `mpt traffic serve` and `mpt traffic send` make it usable between any two hosts; the laboratory calls the same
//! functions in threads that are on its hosts.

pub mod call;
pub mod echo;
pub mod meter;
pub mod paced;
pub mod packets;
pub mod pattern;
pub mod ping;
pub mod pipe;
pub mod quic;
pub mod stream;
pub mod udp;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::{Parser, Subcommand};
use port_linux::output;

use self::stream::{Amount, Payload, Transport};
use super::rate::Rate;

/// Silence for longer than this ends a transfer with an error: twice what a TCP retransmission takes to back off
/// to after a break of five seconds, so that only a dead path or peer is given up.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Arguments of `mpt traffic`.
#[derive(Debug, Parser)]
pub struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Receive one transfer and print as JSON what came
    Serve {
        /// Address to listen on
        #[arg(long, default_value_t = IpAddr::V6(Ipv6Addr::UNSPECIFIED))]
        listen: IpAddr,
        #[command(flatten)]
        common: Common,
    },
    /// Send to a host that runs `mpt traffic serve`, and print as JSON what was sent
    Send {
        /// The receiver's address
        host: IpAddr,
        /// How long to send
        #[arg(long, default_value_t = 10.0, value_name = "SECONDS", value_parser = seconds)]
        seconds: f64,
        /// Send exactly so many bytes instead (TCP only)
        #[arg(long, conflicts_with_all = ["seconds", "udp"])]
        bytes: Option<u64>,
        /// Rate of UDP payload, such as 50mbit
        #[arg(long, default_value = "10mbit", requires = "udp")]
        rate: Rate,
        /// Payload of each UDP datagram, in bytes
        #[arg(long, default_value_t = udp::PAYLOAD, requires = "udp", value_parser = clap::value_parser!(u16).range(16..=65_507))]
        size: u16,
        #[command(flatten)]
        common: Common,
    },
    /// A tunnel that does nothing, to compare with: packets cross as they are, over one path
    Pipe {
        /// Name of the tunnel device that is made
        device: String,
        /// This end
        local: SocketAddr,
        /// The other end
        remote: SocketAddr,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Port of the receiver
    #[arg(long, default_value_t = 5201)]
    port: u16,
    /// Multipath TCP instead of TCP
    #[arg(long, conflicts_with = "udp")]
    mptcp: bool,
    /// Numbered UDP datagrams instead of TCP
    #[arg(long)]
    udp: bool,
}

impl Common {
    fn transport(&self) -> Transport {
        if self.mptcp { Transport::Mptcp } else { Transport::Tcp }
    }
}

/// A positive number of seconds, at most a day.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(seconds),
        _ => Err("a number of seconds above 0 and up to 86400 is needed".to_owned()),
    }
}

/// Runs `mpt traffic`.
///
/// # Errors
/// When the socket cannot be had, or the peer is silent for 20 s.
pub fn run(args: Args) -> anyhow::Result<()> {
    let json = match args.role {
        Role::Pipe { device, local, remote } => return pipe::run(&device, local, remote),
        Role::Serve { listen, common } => {
            let address = SocketAddr::new(listen, common.port);
            if common.udp {
                let socket = udp::bind(address)?;
                serde_json::to_string(&udp::receive(&socket, Duration::MAX)?)?
            } else {
                let listener = stream::listen(address, common.transport())?;
                serde_json::to_string(&stream::receive(&listener, Payload::Zeros, Duration::MAX)?)?
            }
        }
        Role::Send { host, seconds, bytes, rate, size, common } => {
            let address = SocketAddr::new(host, common.port);
            let time = Duration::from_secs_f64(seconds);
            if common.udp {
                serde_json::to_string(&udp::send(address, rate, size, time)?)?
            } else {
                let amount = bytes.map_or(Amount::Time(time), Amount::Bytes);
                serde_json::to_string(&stream::send(address, common.transport(), amount)?)?
            }
        }
    };
    output::print(&(json + "\n"))?;
    Ok(())
}
