//! `cargo +nightly fuzz run state`; without a fuzzer an empty program, so that it builds everywhere.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| mpt_fuzz::target::state(data));

#[cfg(not(fuzzing))]
fn main() {}
