//! mpt for Linux: the library behind the program `mpt`.
//!
//! The protocol lives in [`mpt_proto`]; here are the tunnel interface, the sockets, the event loop, the
//! configuration, and the laboratory.
#![deny(unsafe_code)]

#[cfg(feature = "program")]
pub mod check;
pub mod ciphers;
#[cfg(feature = "program")]
pub mod clean;
#[cfg(feature = "program")]
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod driver;
#[cfg(feature = "program")]
pub mod enrol;
pub mod entropy;
pub mod failure;
#[cfg(feature = "program")]
pub mod host_state;
#[cfg(feature = "program")]
pub mod import;
#[cfg(feature = "program")]
pub mod init;
pub mod keys;
#[cfg(feature = "program")]
pub mod lab;
pub mod link;
pub mod mtu;
pub mod names;
pub mod offload;
pub mod outbox;
#[cfg(feature = "program")]
pub mod output;
#[cfg(feature = "program")]
pub mod privilege;
#[cfg(feature = "program")]
pub mod program;
pub mod report;
pub mod routes;
pub mod run;
pub mod sharing;
pub mod socket;
#[cfg(feature = "program")]
pub mod status;
pub mod supervisor;
pub mod tun;
pub mod wake;
