//! The laboratory: two hosts in network namespaces, shaped links between them, real programs and real traffic.
//!
//! It rebuilds the bench of the paper (Szilagyi, Fejes, Katona, section 3) on one machine. Everything lives in
//! namespaces of the laboratory's own and vanishes with its process; nothing on the host is touched.
#![deny(unsafe_code)]

mod ahead;
pub mod attack;
mod command;
pub mod cpu;
pub mod crowd;
mod ends;
pub mod figure;
pub mod home;
pub mod host;
pub mod limit;
pub mod links;
pub mod machine;
pub mod memory;
pub mod mptcp;
pub mod namespace;
mod out;
pub mod paper;
pub mod progress;
pub mod quick;
pub mod rate;
pub mod relay;
pub mod report;
pub mod sample;
pub mod soak;
pub mod speed;
pub mod stack;
pub mod stopwatch;
pub mod topology;
pub mod traffic;
pub mod transfer;
pub mod tunnel;
mod wireguard;

pub use command::{Args, run};
