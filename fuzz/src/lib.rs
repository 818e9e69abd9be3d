//! Everything adversarial about mpt.
//!
//! - [`link`]: an emulated link in virtual time, and [`pair`]: two connections joined by such links, with
//!   [`log`] of what came out. The scenarios in `tests/` run on them.
//! - [`bond`]: the same two connections under load, with [`tcp_model`], a TCP to judge a tunnel by. The tables in
//!   `tests/bond/` and the command `examples/bond.rs` run on it.
//! - [`crowd`]: one server and thousands of peers, in virtual time as well.
//! - [`oracle`]: naive models of the core's data structures.
//! - [`sealed`]: what a sealer of sealed mode is lent, and ciphers that fail where a nonce is used twice.
//! - [`target`]: what fuzzing runs. Each target is a function of bytes, called by the fuzzer
//!   (`fuzz_targets/`), by a seeded test and with every file of the committed corpus (`tests/corpus.rs`).
//!
//! Whatever is random comes from a seed, which tests print; `MPT_SEED` replays it.

pub mod bond;
pub mod clock;
pub mod crowd;
pub mod joined;
pub mod link;
pub mod log;
pub mod oracle;
pub mod packet;
pub mod pair;
pub mod rng;
pub mod sealed;
pub mod target;
pub mod tcp_model;
