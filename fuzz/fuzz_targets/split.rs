//! `cargo +nightly fuzz run split`; without a fuzzer an empty program, so that it builds everywhere.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| mpt_fuzz::target::split(data));

#[cfg(not(fuzzing))]
fn main() {}
