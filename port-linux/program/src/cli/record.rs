//! `mpt record` and `mpt replay`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use port_linux::config::{FromText, Size, policy};
use port_linux::replay::Wanted;

use super::Control;

/// `mpt record`
#[derive(Debug, Args)]
#[command(
    after_help = "A recording has what entered the core: times, control messages, and of packets sizes, ports and flags; no payload and no \
private keys, and addresses only where a [[connection.class]] has a `network`. `mpt replay` does the same again, bit for bit. record = \"64MB\" in a \
[[connection]] records from the start on.

A recording has the last part of what happened: when it has as many bytes as it may, its oldest part goes. It begins at once, and the connection notices \
nothing. It ends by stop, when mpt ends, or when the disk is full or takes less than is recorded. Its files are in the directory \
TUNNEL-CONNECTION in /var/lib/mpt/record (or in $STATE_DIRECTORY/record); those of the one before are kept in TUNNEL-CONNECTION.1.

Examples:
  sudo mpt record start                    the only connection, its last 64 MB
  sudo mpt record start vps --size 1GB
  sudo mpt record save /tmp/bad.mptrec     what is recorded up to now; recording goes on
  sudo mpt record stop
  mpt replay /tmp/bad.mptrec"
)]
pub struct Record {
    /// What to do
    #[command(subcommand)]
    pub what: What,
}

/// `mpt record start`, `stop` and `save`
#[derive(Debug, Subcommand)]
pub enum What {
    /// Record a connection from now on, until mpt ends or the connection begins anew
    Start(Start),
    /// End the recording of a connection, which goes on
    Stop(Stop),
    /// Write what is recorded up to now into one file
    Save(Save),
}

/// `mpt record start`
#[derive(Debug, Args)]
pub struct Start {
    /// Name of the connection [default: the only one]
    pub connection: Option<String>,
    /// Most bytes of its files: the oldest part goes when there is no room
    #[arg(long, default_value = "64MB", value_parser = size)]
    pub size: Size,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub control: Control,
}

/// `mpt record stop`
#[derive(Debug, Args)]
pub struct Stop {
    /// Name of the connection [default: the only one that is recorded]
    pub connection: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub control: Control,
}

/// `mpt record save`
#[derive(Debug, Args)]
pub struct Save {
    /// The file to write
    pub file: PathBuf,
    /// Name of the connection [default: the only one that is recorded]
    pub connection: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub control: Control,
}

/// `mpt replay`
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 1 when the core decides otherwise than it did, or the recording is damaged. A recording that is cut is \
replayed up to the cut.

--policy and --without show what would have been, as far as that can be known: what came from the peer and what \
applications sent stays as recorded. They tell what this end would have decided, not what would have arrived.

Where a recording begins in the middle of its connection, what the core had learned by then stays as it is.

--test makes a test of a recording: NAME.mptrec, cut at --to, and NAME.txt, what the core makes of it. In \
port-linux/tests/recordings, `cargo test -p port-linux --test recordings` compares both from then on.

Examples:
  mpt replay bad.mptrec
  mpt replay bad.mptrec --from 12m --to 13m --each 1s
  mpt replay bad.mptrec --from 12m30s --to 12m31s --packets
  mpt replay bad.mptrec --svg bad.svg
  mpt replay bad.mptrec --without lte
  mpt replay bad.mptrec --to 13m --test port-linux/tests/recordings/lte_stalls"
)]
pub struct Replay {
    /// The recording: a file, or a directory of /var/lib/mpt/record
    pub file: PathBuf,
    /// Show from here on, counted from the beginning: 90s, 12m30s, 1h
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub from: Option<Duration>,
    /// Show up to here
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub to: Option<Duration>,
    /// Length of the intervals [default: about twenty]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub each: Option<Duration>,
    /// Show every datagram: its path and why, or what became of it
    #[arg(long, conflicts_with = "json")]
    pub packets: bool,
    /// A line of JSON for the recording, and one for each interval; the field names are stable
    #[arg(long)]
    pub json: bool,
    /// Draw the intervals into this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// What would have been under another policy
    #[arg(long, value_parser = policy)]
    pub policy: Option<mpt_proto::Policy>,
    /// What would have been without a path; may be repeated
    #[arg(long, value_name = "PATH")]
    pub without: Vec<String>,
    /// Make a test of it: NAME.mptrec and NAME.txt
    #[arg(long, value_name = "NAME", conflicts_with_all = ["packets", "json", "svg", "policy", "without", "from", "each"])]
    pub test: Option<PathBuf>,
}

impl From<Replay> for Wanted {
    fn from(args: Replay) -> Self {
        let Replay { file, from, to, each, packets, json, svg, policy, without, test } = args;
        Self { file, from, to, each, packets, json, svg, policy, without, test }
    }
}

fn size(text: &str) -> Result<Size, String> {
    Size::from_text(text).map_err(|problem| format!("{problem}; allowed: {}", Size::ALLOWED))
}

/// A time such as `1h2m3.5s`.
fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is no time; allowed: such as 90s, 12m30s, 1h or 0.5s");
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().ok().ok_or_else(wrong)?;
        let (unit, behind) = rest[digits..].split_at_checked(1).ok_or_else(wrong)?;
        total += number
            * [("h", 3600.0), ("m", 60.0), ("s", 1.0)]
                .into_iter()
                .find(|(it, _)| *it == unit)
                .ok_or_else(wrong)?
                .1;
        rest = behind;
    }
    Duration::try_from_secs_f64(total).ok().filter(|_| !text.is_empty()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_with_their_units() {
        for (text, millis) in
            [("90s", 90_000), ("12m30s", 750_000), ("1h", 3_600_000), ("0.5s", 500), ("0s", 0)]
        {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "90", "s", "1d", "-1s", "1m30", "é", "1é", "1.2.3s", "1e9h", "99999999999999999999999h"]
        {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
