//! The program `mpt` for the Raspberry Pi: that of a PC with what a small machine wants otherwise.

use std::process::ExitCode;

use mpt::Defaults;

/// A Pi's: 40 ms of a path of 200 Mbit/s. Datagrams that wait in a socket take about twice their bytes of kernel
/// memory, so the 16 paths of a connection can bind 32 MB of a 1 GB machine and not 128 MB (docs/raspberry.md). The
/// adaptive policy has memory for 500 Mbit/s over round trips of 50 ms.
const DEFAULTS: Defaults = Defaults { socket_buffer: 1 << 20, adaptive_memory: 8 << 20 };

fn main() -> ExitCode {
    mpt::main(&DEFAULTS)
}
