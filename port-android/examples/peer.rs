//! The program `mpt`, for the tests of this crate to have a peer.

use std::process::ExitCode;

fn main() -> ExitCode {
    mpt::main(&mpt::Defaults::default())
}
