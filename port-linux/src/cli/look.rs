//! `mpt top`.

use clap::Args;

use super::Control;

/// `mpt top`
#[derive(Debug, Args)]
#[command(
    after_help = "It takes the whole terminal, shows rates, delays and losses of each path every second, and gives the terminal back as it was. A
narrow or low terminal shows less. When mpt goes away, it waits until mpt is back.

Keys: up and down choose a path, left and right a connection; u takes the path into use, d out of use, s makes it a
spare; p pauses, q quits, ? explains the columns. NO_COLOR=1 leaves colours out.

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
