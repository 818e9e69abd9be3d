//! Sealed mode for tests: memory for a sealer, a generator with a seed, and ciphers that watch over nonces.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use mpt_proto::Instant;
use mpt_seal::{
    Cipher, Ciphers, Entropy, Memory, NONCE_LEN, Offer, PeerKeys, Portable, PortableKey, PresharedKey,
    PrivateKey, Sealer, Source, Suite, TAG_LEN,
};

use crate::rng::Rng;

/// Runs start here, so that times before the start exist.
pub const START: Instant = Instant::from_micros(1_000_000_000);
/// Words of each replay window.
const WINDOW_WORDS: usize = 4;

/// A sealer whose ciphers watch over nonces.
pub type WatchedSealer<'m> = Sealer<'m, Watched, Seeded>;

/// Entropy with a seed.
#[derive(Debug)]
pub struct Seeded(pub Rng);

impl Entropy for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0.bytes(bytes.len()));
    }
}

/// Every key and nonce that was sealed with, of all ends of a run.
pub type Used = Rc<RefCell<HashSet<([u8; 32], [u8; NONCE_LEN])>>>;

/// Ciphers that panic when a nonce is used twice with one key.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    used: Used,
}

/// A key of [`Watched`].
pub struct WatchedKey {
    inner: PortableKey,
    key: [u8; 32],
    used: Used,
}

impl Ciphers for Watched {
    type Key = WatchedKey;

    fn offered(&self) -> Offer {
        Offer::CHACHA
    }

    fn key(&self, suite: Suite, key: &[u8; 32]) -> WatchedKey {
        WatchedKey { inner: Portable.key(suite, key), key: *key, used: self.used.clone() }
    }
}

impl Cipher for WatchedKey {
    fn seal(&self, nonce: &[u8; NONCE_LEN], associated: &[u8], bytes: &mut [u8]) -> [u8; TAG_LEN] {
        assert!(self.used.borrow_mut().insert((self.key, *nonce)), "a nonce is used twice");
        self.inner.seal(nonce, associated, bytes)
    }

    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> bool {
        self.inner.open(nonce, associated, bytes, tag)
    }
}

/// What a sealer with this many peers is lent.
#[must_use]
pub fn memory<K>(peers: usize) -> Memory<K> {
    Memory::new(peers, WINDOW_WORDS, 16, 4)
}

/// The private key of this number.
#[must_use]
pub fn private(number: u8) -> PrivateKey {
    PrivateKey::from_bytes([number; 32])
}

/// The peer that has the private key of this number, with a pre-shared key that all have.
#[must_use]
pub fn peer(number: u8) -> PeerKeys {
    PeerKeys { public: private(number).public(), preshared: PresharedKey::from_bytes([9; 32]) }
}

/// The address of the end of a path.
#[must_use]
pub fn source(path: u8) -> Source {
    Source([path; 20])
}

/// The sealer of the owner of private key `number`.
pub fn sealer<'m>(
    number: u8,
    instance: u32,
    ciphers: Watched,
    memory: &'m mut Memory<WatchedKey>,
    now: Instant,
) -> WatchedSealer<'m> {
    let entropy = Seeded(Rng::stream(u64::from(number), u64::from(instance)));
    Sealer::new(private(number), instance, ciphers, entropy, memory.lend(), now)
}
