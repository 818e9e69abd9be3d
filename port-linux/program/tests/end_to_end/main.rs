//! The real program with real programs: `mpt run` on tunnel interfaces and veth links in network namespaces, with
//! `ping`, `iperf3`, `nft`, `tshark` and scapy around it.
//!
//! Every test makes a world of its own (see [`mpt_lab::namespace`]); nothing touches the host. A test that
//! lacks a tool, or a kernel that allows namespaces, is skipped and says so; with `MPT_REQUIRE_TOOLS=1` a missing
//! tool is a failure.

mod adaptive;
mod bad_input;
mod bench;
mod captured;
mod crafted;
mod deep_buffer;
mod doctor;
mod ecn;
mod encapsulations;
mod gateway;
mod handover;
mod history;
mod house;
mod lab;
mod logs;
mod measure;
mod metrics;
mod multicast;
mod names;
mod paths;
mod policies;
mod portal;
mod programs;
#[cfg(feature = "quic")]
mod quic;
mod recorded;
mod refusals;
mod restart;
mod sealed;
mod standby;
mod start;
mod told;
mod top;
mod traffic;
mod translators;
mod unanswered;
mod ways;
mod worse;
