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
pub mod data;
pub mod driver;
#[cfg(feature = "program")]
pub mod enrol;
pub mod entropy;
pub mod events;
pub mod failure;
#[cfg(feature = "program")]
pub mod history;
#[cfg(feature = "program")]
pub mod hooks;
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
#[cfg(feature = "program")]
pub mod logs;
pub mod mtu;
pub mod names;
#[cfg(feature = "program")]
pub mod observer;
pub mod offload;
pub mod outbox;
#[cfg(feature = "program")]
pub mod output;
#[cfg(feature = "program")]
pub mod privilege;
#[cfg(feature = "program")]
pub mod program;
#[cfg(feature = "program")]
pub mod rates;
pub mod report;
pub mod routes;
pub mod run;
pub mod socket;
#[cfg(feature = "program")]
pub mod sparkline;
#[cfg(feature = "program")]
pub mod status;
pub mod supervisor;
#[cfg(feature = "program")]
pub mod top;
pub mod tun;
pub mod wake;
pub mod worse;
