//! The program `mpt` for a PC.

use std::process::ExitCode;

use port_linux::program;
use port_linux::run::Defaults;

fn main() -> ExitCode {
    program::main(&Defaults::default())
}
