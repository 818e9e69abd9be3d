//! The program `mpt`, for the tests of this crate to have a peer.

use std::process::ExitCode;

fn main() -> ExitCode {
    port_linux::program::main(&port_linux::run::Defaults::default())
}
