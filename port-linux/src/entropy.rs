//! The system's generator of random numbers: the only place of this crate that asks it.

use rustix::io::{Errno, Result};
use rustix::rand::{GetRandomFlags, getrandom};

/// Fills `bytes` with what nobody can guess.
///
/// # Errors
/// When the kernel gives none.
pub fn fill(bytes: &mut [u8]) -> Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match getrandom(&mut *rest, GetRandomFlags::empty()) {
            Ok(len) => rest = rest.get_mut(len..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The generator, for the layer that seals.
#[derive(Debug, Clone, Copy)]
pub struct SystemEntropy;

impl mpt_seal::Entropy for SystemEntropy {
    /// # Panics
    /// If the kernel gives none: a tunnel without secrets must not go on.
    fn fill(&mut self, bytes: &mut [u8]) {
        if let Err(error) = fill(bytes) {
            panic!("no randomness from the system: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_are_filled_also_where_the_kernel_gives_them_in_parts() {
        // getrandom(2): up to 256 bytes come at once, more may be interrupted.
        let mut bytes = vec![0; 100_000];
        fill(&mut bytes).unwrap();
        assert!(bytes.chunks(64).all(|chunk| chunk.iter().any(|byte| *byte != 0)));
        assert!(fill(&mut []).is_ok());
    }
}
