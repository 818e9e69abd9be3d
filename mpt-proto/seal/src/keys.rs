//! The keys that a program gives to this crate: private, public and pre-shared.
//!
//! Types with a secret in them erase it when they are dropped, and have no `Debug`. Text forms (base64) and key files are
//! the program's.

use core::fmt;

use subtle::ConstantTimeEq;
use x25519_dalek::{SharedSecret, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of every key here.
pub const KEY_LEN: usize = 32;

/// A private X25519 key (RFC 7748 section 5): who has it is the end that its public key names. Erased when dropped.
#[derive(Clone)]
pub struct PrivateKey {
    secret: StaticSecret,
    public: PublicKey,
}

impl PrivateKey {
    /// The key of these bytes. Every 32 random bytes are one: RFC 7748 section 5 fixes five of their bits when the key is
    /// used. The caller erases its own copy.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        let secret = StaticSecret::from(bytes);
        let public = PublicKey(*x25519_dalek::PublicKey::from(&secret).as_bytes());
        Self { secret, public }
    }

    /// The public key that belongs to it.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// The bytes that the key was made of.
    pub(crate) fn as_bytes(&self) -> &[u8; KEY_LEN] {
        self.secret.as_bytes()
    }

    /// The secret that this end shares with the owner of `other` (RFC 7748 section 6.1); `None` where it is all zero: a
    /// public key of small order gives that with every private key.
    pub(crate) fn agree(&self, other: &PublicKey) -> Option<SharedSecret> {
        let shared = self.secret.diffie_hellman(&x25519_dalek::PublicKey::from(other.0));
        shared.was_contributory().then_some(shared)
    }
}

/// Two private keys are the same if their public keys are.
impl PartialEq for PrivateKey {
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public
    }
}

impl Eq for PrivateKey {}

impl ZeroizeOnDrop for PrivateKey {}

/// A public X25519 key (RFC 7748 section 5). It is a peer's only name: whoever proves the private key is that peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; KEY_LEN]);

impl PublicKey {
    /// The key of these bytes. Any are taken: a key that nobody can have completes no handshake.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// A secret of 32 bytes that two peers share besides their keys. It keeps what was recorded closed also to who can
/// compute private keys from public ones one day. Erased when dropped.
#[derive(Clone)]
pub struct PresharedKey(Secret);

impl PresharedKey {
    /// No pre-shared key: 32 zeros take its place, as in WireGuard.
    pub const NONE: Self = Self(Secret::ZERO);

    /// The key of these bytes. The caller erases its own copy.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(Secret::from_bytes(bytes))
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        self.0.as_bytes()
    }
}

impl PartialEq for PresharedKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for PresharedKey {}

impl ZeroizeOnDrop for PresharedKey {}

/// What this end knows of a peer before they meet.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerKeys {
    /// The peer's name and the key that it must prove.
    pub public: PublicKey,
    /// The secret that both share besides, or [`PresharedKey::NONE`].
    pub preshared: PresharedKey,
}

/// Shows the public key alone.
impl fmt::Debug for PeerKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PeerKeys").field("public", &self.public).finish_non_exhaustive()
    }
}

/// 32 bytes that nobody else may learn. Erased when dropped.
#[derive(Clone)]
pub(crate) struct Secret([u8; KEY_LEN]);

impl Secret {
    pub(crate) const ZERO: Self = Self([0; KEY_LEN]);

    pub(crate) const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Secret {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{array, small_order};
    use std::format;

    #[test]
    fn rfc7748_6_1_two_ends_agree_on_a_secret() {
        let alice = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
        let bob = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
        let [alice, bob] = [alice, bob].map(|hex| PrivateKey::from_bytes(array(hex)));
        let public = array("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        assert_eq!(alice.public(), PublicKey::from_bytes(public));
        let public = array("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        assert_eq!(bob.public(), PublicKey::from_bytes(public));
        let secret = array("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(alice.agree(&bob.public()).unwrap().as_bytes(), &secret);
        assert_eq!(bob.agree(&alice.public()).unwrap().as_bytes(), &secret);
    }

    #[test]
    fn a_public_key_of_small_order_gives_no_secret() {
        let private = PrivateKey::from_bytes([7; 32]);
        for point in small_order() {
            assert!(private.agree(&PublicKey::from_bytes(point)).is_none(), "{point:02x?}");
        }
    }

    #[test]
    fn keys_with_secrets_are_erased_when_dropped() {
        fn is_erased<T: ZeroizeOnDrop>() {}
        is_erased::<PrivateKey>();
        is_erased::<PresharedKey>();
        is_erased::<Secret>();
        is_erased::<StaticSecret>();
        is_erased::<SharedSecret>();
        is_erased::<crate::noise::Secrets>();
        is_erased::<crate::noise::DataKey>();
    }

    #[test]
    fn a_public_key_is_shown_as_hexadecimal_digits_and_ordered_by_its_bytes() {
        let key =
            PublicKey::from_bytes(array("00ff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d"));
        let shown = "00ff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d";
        assert_eq!(format!("{key:?}"), shown);
        assert!(key < PublicKey::from_bytes([1; 32]));
    }
}
