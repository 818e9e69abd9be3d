//! `mpt` as ARM code against this machine's own. `port-raspbian/build` makes the programs and `port-raspbian/kernels`
//! fetches kernels; without them the tests are skipped and say so; with `MPT_REQUIRE_ARM=1` they fail.

mod arm;
mod machine;
mod user;
