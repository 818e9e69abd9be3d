//! `mpt top` and `mpt history`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use port_linux::history::show::{Form, Show};

use super::Control;

/// `mpt top`
#[derive(Debug, Args)]
#[command(
    after_help = "It takes the whole terminal, shows rates, delays and losses of each path every second, and gives the \
terminal back as it was. A narrow or low terminal shows less. When mpt goes away, it waits until mpt is \
back.

Keys: up and down choose a path, left and right a connection; u takes the path into use, d out of use, \
s makes it a spare; p pauses, q quits, ? explains the columns. NO_COLOR=1 leaves colours out.

Examples:
  mpt top
  mpt top pc2                      begin with this connection
  ssh -t router sudo mpt top       over SSH; -t makes a terminal"
)]
pub struct Top {
    /// The connection to begin with [default: the first one]
    pub name: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub control: Control,
}

/// `mpt history`
#[derive(Debug, Args)]
#[command(
    after_help = "Each mpt keeps a record of each path every ten seconds for a day and every five minutes for a month, \
in /var/lib/mpt/TUNNEL.history (a service: in $STATE_DIRECTORY), unless [tunnel] says history = false. \
It may be read while mpt runs, and when it does not. Rates are those of datagrams; - is not known.

Examples:
  mpt history                              the last two hours, as lines of bars
  mpt history --since 3d --path lte        one path, since three days ago
  mpt history --since 12h --svg night.svg  rates, delay and loss of all paths, and what happened
  mpt history --csv | mlr --icsv --opprint stats1 -a p50 -f rtt_us -g path"
)]
pub struct History {
    /// How far back: a number and s, min, h, d or w
    #[arg(long, value_name = "TIME", default_value = "2h")]
    pub since: Since,
    /// Only paths of this name, PATH or CONNECTION/PATH
    #[arg(long, value_name = "NAME")]
    pub path: Option<String>,
    /// One line of JSON; its field names are stable
    #[arg(long, conflicts_with_all = ["csv", "svg"])]
    pub json: bool,
    /// Every record, one a line
    #[arg(long, conflicts_with = "svg")]
    pub csv: bool,
    /// Draw it into this new or existing file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Of which tunnel: the interface's name [default: the only one that has a history]
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    pub tunnel: Option<String>,
    /// Read this file
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// A length of time, as people write it: `90s`, `30min`, `2h`, `3d`, `1w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since(pub Duration);

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = text.trim_start_matches(|first: char| first.is_ascii_digit());
        let seconds = match unit {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            "d" => 86_400,
            "w" => 7 * 86_400,
            _ => {
                return Err(
                    "neither s, min, h, d nor w after a whole number; allowed: 90s, 30min, 2h, 3d, 1w".into(),
                );
            }
        };
        let number: Option<u32> = text[..text.len() - unit.len()].parse().ok().filter(|number| *number > 0);
        let number = number.ok_or("no whole number above 0; allowed: 90s, 30min, 2h, 3d, 1w")?;
        Ok(Self(Duration::from_secs(u64::from(number) * seconds)))
    }
}

impl From<History> for Show {
    fn from(args: History) -> Self {
        let form = match (args.json, args.csv, args.svg) {
            (true, ..) => Form::Json,
            (_, true, _) => Form::Csv,
            (.., Some(file)) => Form::Svg(file),
            _ => Form::Table,
        };
        Self { since: args.since.0, path: args.path, form, tunnel: args.tunnel, file: args.file }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_a_number_and_a_unit() {
        let seconds = |text: &str| text.parse::<Since>().map(|since| since.0.as_secs());
        let times = ["90s", "30min", "5m", "2h", "3d", "1w"].map(|text| seconds(text).unwrap());
        assert_eq!(times, [90, 1800, 300, 7200, 259_200, 604_800]);
        for wrong in ["", "2", "h", "0h", "-1h", "1.5h", "2 h", "99999999999d", "2y", "２h"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
