//! `cargo +nightly fuzz run endpoint`; without a fuzzer an empty program, so that it builds everywhere.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| mpt_fuzz::target::endpoint(data));

#[cfg(not(fuzzing))]
fn main() {}
