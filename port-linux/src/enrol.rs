//! From nothing to a working tunnel: `mpt server setup`, `mpt peer` and `mpt join`.
//!
//! They write the files that people could write by hand, and ask the running mpt to read them again; nothing of a tunnel is theirs
//! alone. What is half done when something fails is taken back.

mod files;
mod invitation;
pub mod join;
pub mod peers;
pub mod server;
mod service;

pub use invitation::{BadLine, Invitation};

use anyhow::Result;

use crate::config::{FromText, Name};
use crate::failure::misconfigured;

/// Where configurations are.
const DIRECTORY: &str = "/etc/mpt";

/// A name for a configuration or a peer, which is the name of a file, too.
fn name(text: &str) -> Result<String> {
    let name = Name::from_text(text);
    Ok(name.map_err(|problem| misconfigured(format!("{text}: {problem}; allowed: {}", Name::ALLOWED)))?.0)
}
