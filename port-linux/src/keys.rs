//! Keys of sealed mode as people handle them: their text, their files, and the commands that make them.
//!
//! A key is 32 bytes. As text it is what `wg` (WireGuard's tool) prints: base64 with padding, 44 characters. A private key
//! and a pre-shared key stand in files of their own, never in the configuration, on a command line or in a log.

#[cfg(feature = "program")]
pub mod commands;
mod file;
mod text;
#[cfg(feature = "program")]
mod users;

use anyhow::{Context, Result};
pub use mpt_seal::KEY_LEN;
use mpt_seal::{PresharedKey, PrivateKey};
use zeroize::Zeroizing;

use crate::entropy;

#[cfg(feature = "program")]
pub use file::create;
pub use file::{KeyFileError, read};
pub(crate) use text::ALLOWED;
pub use text::{ALLOWED_PUBLIC, decode};
pub use text::{KeyText, encode};

/// The bytes of a key, erased when they are dropped.
pub type KeyBytes = Zeroizing<[u8; KEY_LEN]>;

/// 32 bytes from the system's generator of random numbers.
///
/// # Errors
/// When the system has none.
pub fn random() -> Result<KeyBytes> {
    let mut bytes = KeyBytes::default();
    entropy::fill(&mut *bytes).context("no random numbers from the system")?;
    Ok(bytes)
}

/// A new private key. The five bits that X25519 fixes (RFC 7748 section 5) are fixed in it already, as `wg genkey` does.
///
/// # Errors
/// When the system has no random numbers.
pub fn random_private() -> Result<KeyBytes> {
    let mut bytes = random()?;
    bytes[0] &= 248;
    bytes[KEY_LEN - 1] = (bytes[KEY_LEN - 1] & 127) | 64;
    Ok(bytes)
}

/// The private key of these bytes.
pub fn private(bytes: &KeyBytes) -> PrivateKey {
    PrivateKey::from_bytes(**bytes)
}

/// The pre-shared key of these bytes.
pub(crate) fn preshared(bytes: &KeyBytes) -> PresharedKey {
    PresharedKey::from_bytes(**bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_new_key_is_another_one_and_fit_for_x25519() {
        let (one, other) = (random_private().unwrap(), random_private().unwrap());
        assert_ne!(*one, *other);
        for key in [one, other] {
            assert_eq!((key[0] & 7, key[31] & 192), (0, 64));
        }
        assert_ne!(*random().unwrap(), *random().unwrap());
    }
}
