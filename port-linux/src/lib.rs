//! mpt for Linux: the library behind the program `mpt`.
//!
//! The protocol lives in [`mpt_proto`]; here are the tunnel interface, the sockets, the event loop, the
//! configuration, and the laboratory.

pub mod config;
