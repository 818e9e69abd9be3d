//! mpt for Android: the native library behind the Java package `io.github.mpttunnel`.
//!
//! The protocol lives in [`mpt_proto`](https://docs.rs/mpt-proto) and the event loop in [`port_linux`]; here is
//! what an app needs otherwise: networks that the app tells of instead of netlink, sockets that the app protects and
//! ties to networks, and the bridge to Java. All unsafe code is in `bridge`.
#![deny(unsafe_code)]

mod bridge;
pub mod config;
pub mod keys;
pub mod networks;
pub mod stats;
pub mod tunnel;
