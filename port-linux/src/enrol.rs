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

/// Where configurations are.
const DIRECTORY: &str = "/etc/mpt";
