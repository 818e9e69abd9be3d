//! `mpt lab home`: a house with three links, a LAN, a rented server and the Internet, set up by the commands that people use; then
//! all that a house goes through, and in the end both hosts as they were.
//!
//! Hosts are network namespaces (`world`), mpt is the real program (`end`), each step is a row (`table`).

mod end;
mod internet;
mod pulse;
mod steps;
mod table;
mod world;

use std::path::Path;
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::Parser;
use port_linux::output;
use serde::Serialize;

use self::table::{Ended, Row, Steps};
use super::cpu;
use super::machine::Machine;
use super::namespace;
use super::transfer;

/// Programs of others that a house needs, and the Debian packages that have them.
const TOOLS: [(&str, &str); 3] = [("nft", "nftables"), ("curl", "curl"), ("mount", "mount")];

/// How long the steps take without the downloads and the upload.
const USUAL: Duration = Duration::from_secs(12);

/// Above this many per cent of [`cpu::background`], times are more about the other things.
const BUSY: f64 = 10.0;

/// Arguments of `mpt lab home`.
#[derive(Debug, Parser)]
#[command(
    about = "Build a house with three links, and a server for it, and try all that a house goes through: a minute",
    after_help = "A machine at home with fibre (NAT), DSL (double NAT) and LTE (a NAT that changes ports), a host in its LAN, a rented server, and \
a host of the Internet with a page and a name, all in network namespaces. `mpt server setup`, `mpt peer add` and `mpt join` set the \
tunnel up; then everything is tried: names, IPv4 and IPv6, TCP and QUIC, the sum of the links, pulled cables, routers that forget, \
kill -9, the kill switch, `mpt leave`. Nothing of this machine is touched, /etc/mpt neither.

Exit code 1 when a step failed."
)]
pub struct Args {
    /// Length of each download
    #[arg(long, default_value_t = 5.0, value_parser = transfer::seconds)]
    seconds: f64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Everything.
#[derive(Debug, Clone, Serialize)]
struct Outcome {
    format: u32,
    machine: Machine,
    background_percent: f64,
    figures: Figures,
    steps: Vec<Row>,
}

/// Goodput of downloads, in Mbit/s, where they were measured.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
struct Figures {
    /// Over the best link, without mpt.
    alone_mbit_s: Option<f64>,
    /// Over all links through the tunnel.
    sum_mbit_s: Option<f64>,
}

/// That everything is there that is needed.
pub(super) fn check() -> anyhow::Result<()> {
    let missing: Vec<(&str, &str)> =
        TOOLS.into_iter().filter(|(tool, _)| !namespace::is_installed(tool)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (tools, packages): (Vec<&str>, Vec<&str>) = missing.into_iter().unzip();
    bail!(
        "a house needs programs that are not there ({}): sudo apt install {}",
        tools.join(", "),
        packages.join(" ")
    )
}

/// Runs it inside the laboratory. `mpt` is the program's path.
///
/// # Errors
/// When the hosts cannot be built, or a step failed; then after the table was printed.
pub(super) fn run(args: &Args, mpt: &Path) -> anyhow::Result<()> {
    let background_percent = cpu::background()?;
    let time = Duration::from_secs_f64(args.seconds);
    let (mut steps, mut figures) = (Steps::new(USUAL + time * 3), Figures::default());
    steps::house(mpt, time, &mut steps, &mut figures)?;
    let outcome =
        Outcome { format: 1, machine: Machine::describe(), background_percent, figures, steps: steps.end() };
    if args.json {
        output::print(&(serde_json::to_string_pretty(&outcome)? + "\n"))?;
    } else {
        output::print(&text(&outcome))?;
    }
    let failed = outcome.steps.iter().filter(|row| row.ended == Ended::Failed).count();
    ensure!(failed == 0, "{failed} of {} steps failed", outcome.steps.len());
    Ok(())
}

fn text(outcome: &Outcome) -> String {
    let busy = outcome.background_percent;
    let note = if busy > BUSY {
        format!("Other things kept the machine {busy:.0} % busy.\n")
    } else {
        String::new()
    };
    format!("{}\n{}\n{note}", table::text(&outcome.steps), outcome.machine)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
        let args = Args::try_parse_from(["home"]).expect("defaults");
        assert!(!args.json && args.seconds > 0.0);
    }
}
