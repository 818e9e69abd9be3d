//! `mpt data`.

use clap::{Args, Subcommand};
use port_linux::config::DataSize;

use super::Control;

/// `mpt data`
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "A path has a plan by `data` in its [[connection.path]]. Both directions count, with all headers, over restarts. At 80 % of \
it a warning is told, at 90 % the path is used last, at 100 % not at all. `mpt path up` takes it into use again \
nevertheless, until mpt ends.

Examples:
  mpt data                         all paths with a plan
  mpt data lte --json
  mpt data set lte 12.3GB          so much is used, as the provider says
  mpt data add lte 5GB             so much was bought in addition"
)]
pub struct Data {
    /// Which way; nothing: show
    #[command(subcommand)]
    pub way: Option<DataWay>,
    /// The path's name, or CONNECTION/NAME
    pub name: Option<String>,
    /// One line of JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub control: Control,
}

/// `mpt data set` and `mpt data add`
#[derive(Debug, Subcommand)]
pub enum DataWay {
    /// Say how much is used
    Set(DataAmount),
    /// Say how much was bought in addition: until the month ends, or for good
    Add(DataAmount),
}

/// An amount of a path.
#[derive(Debug, Args)]
pub struct DataAmount {
    /// The path's name, or CONNECTION/NAME
    pub name: String,
    /// The amount, such as 12.3GB
    pub amount: DataSize,
    /// One line of JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub control: Control,
}
