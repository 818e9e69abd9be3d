//! mpt for Linux: the library behind the program `mpt`.
//!
//! The protocol lives in [`mpt_proto`]; here are the tunnel interface, the sockets, the event loop, the
//! configuration, and the laboratory.
#![deny(unsafe_code)]

pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod driver;
pub mod failure;
pub mod import;
pub mod init;
pub mod lab;
pub mod link;
pub mod mtu;
pub mod offload;
pub mod outbox;
pub mod output;
pub mod privilege;
pub mod program;
pub mod report;
pub mod routes;
pub mod run;
pub mod socket;
pub mod status;
pub mod supervisor;
pub mod tun;
pub mod wake;
