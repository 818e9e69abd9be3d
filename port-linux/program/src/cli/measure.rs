//! `mpt ping` and `mpt speed`.

use std::time::Duration;

use clap::Args;
use port_linux::measure::ping;
use port_linux::measure::speed::{self, MOST_STREAMS, MOST_TIME, Subject};

use super::Control;

/// `mpt ping`
#[derive(Debug, Args)]
#[command(
    after_help = "What is sent are packets of UDP between the tunnel addresses: sealed, and over the paths that the policy takes for a call. The \
peer's mpt answers by itself, unless its configuration says responder = false. Exit code 1 when nothing came back.

Examples:
  mpt ping vps                     until Ctrl-C, over all paths
  mpt ping vps --path lte -c 10    ten over one path alone, both ways
  mpt ping vps -c 100 -i 0.02 -q --json | jq .rtt.p95_ms"
)]
pub struct Ping {
    /// The peer's name, that of its connection, or its tunnel address
    pub peer: String,
    /// Over this path alone, whatever the policy
    #[arg(long, value_name = "NAME")]
    pub path: Option<String>,
    /// Stop after so many [default: at Ctrl-C]
    #[arg(short, long, value_parser = clap::value_parser!(u32).range(1..))]
    pub count: Option<u32>,
    /// Seconds between two of them
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub interval: Duration,
    /// Bytes of UDP payload
    #[arg(short, long, value_name = "BYTES", default_value_t = 56, value_parser = clap::value_parser!(u16).range(24..=65_000))]
    pub size: u16,
    /// Only the statistics in the end
    #[arg(short, long)]
    pub quiet: bool,
    /// One line of JSON in the end; its field names are stable
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub control: Control,
}

/// Seconds between two questions: a responder answers a peer 200 times a second.
fn interval(text: &str) -> Result<Duration, String> {
    const ALLOWED: &str = "allowed: seconds from 0.01 to 3600";
    let seconds: f64 = text.parse().map_err(|_| ALLOWED.to_owned())?;
    if (0.01..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(ALLOWED.to_owned())
    }
}

impl From<Ping> for ping::Ping {
    fn from(args: Ping) -> Self {
        Self {
            peer: args.peer,
            path: args.path,
            count: args.count,
            interval: args.interval,
            size: args.size.into(),
            quiet: args.quiet,
            json: args.json,
            control: args.control.socket,
        }
    }
}

/// `mpt speed`
#[derive(Debug, Args)]
#[command(
    after_help = "Without --path, --each and --bond, each path is measured by itself and all of them together, so that the share of the sum is \
seen. It takes data: how much is said before, and told after. A path of a higher tier than others is paid for by volume: it is \
measured if it is named, or with --all. Other traffic goes on, and both disturb each other.

added: what the load adds to the round trip of a ping, in the mean. grade: A+ below 5 ms, A 30, B 60, C 200, D 400, else F, for the \
mean of both directions. lost: pings under load that did not come back.

Examples:
  mpt speed vps                    each path and all together, 10 s down and 10 s up each
  mpt speed vps --path lte --seconds 5
  mpt speed vps --bond --json | jq .bond.down.bps"
)]
pub struct Speed {
    /// The peer's name, that of its connection, or its tunnel address
    pub peer: String,
    /// One path by itself, whatever its tier
    #[arg(long, value_name = "NAME", conflicts_with_all = ["each", "bond", "all"])]
    pub path: Option<String>,
    /// Each path by itself
    #[arg(long, conflicts_with = "bond")]
    pub each: bool,
    /// All paths together, as the policy uses them
    #[arg(long)]
    pub bond: bool,
    /// Paths of higher tiers, too, which are paid for by volume
    #[arg(long)]
    pub all: bool,
    /// Seconds in each direction
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_TIME)))]
    pub seconds: u16,
    /// TCP connections at a time
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=i64::from(MOST_STREAMS)))]
    pub streams: u8,
    /// One line of JSON; its field names are stable
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub control: Control,
}

impl From<Speed> for speed::Speed {
    fn from(args: Speed) -> Self {
        let subject = match args.path {
            Some(path) => Subject::Path(path),
            None if args.each => Subject::Each,
            None if args.bond => Subject::Bond,
            None => Subject::All,
        };
        Self {
            peer: args.peer,
            subject,
            paid: args.all,
            seconds: args.seconds,
            streams: args.streams,
            json: args.json,
            control: args.control.socket,
        }
    }
}
