//! The program `mpt` for a PC.

use std::process::ExitCode;

use mpt::Defaults;

fn main() -> ExitCode {
    mpt::main(&Defaults::default())
}
