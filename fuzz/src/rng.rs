//! Pseudo-random numbers that a seed reproduces.

pub use mpt_link::rng::{MILLION, Rng};

/// The seed of a test: `MPT_SEED` if it is set, else `default`. It is printed, so that a failure shows it.
///
/// # Panics
/// `MPT_SEED` is not a number.
pub fn test_seed(default: u64) -> u64 {
    let seed = match std::env::var("MPT_SEED") {
        Ok(text) => text.parse().expect("MPT_SEED is a decimal number"),
        Err(_) => default,
    };
    println!("seed {seed}: replay with MPT_SEED={seed}");
    seed
}
