//! Stands in for x25519-dalek under Miri: what mpt-seal uses of it, with multiplication modulo a prime in place of the curve. Two ends
//! agree as they do on the curve, other keys give other secrets, and zero is of small order. Anybody can compute the private key.

#![no_std]
#![forbid(unsafe_code)]

use erase::{Zeroize as _, ZeroizeOnDrop};

/// The prime 2^61 - 1.
const PRIME: u128 = (1 << 61) - 1;
/// Any number.
const BASE: u128 = 0x0123_4567_89ab_cdef;

/// All bytes count, so that a key with any bit changed is another one; a number below the prime that fills the first eight is itself.
fn number(bytes: &[u8; 32]) -> u128 {
    bytes.chunks_exact(8).rev().fold(0, |sum, chunk| {
        let chunk = chunk.iter().rev().fold(0, |sum, byte| sum << 8 | u128::from(*byte));
        (sum * BASE + chunk) % PRIME
    })
}

fn bytes(number: u128) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&number.to_le_bytes());
    bytes
}

#[derive(Clone)]
pub struct StaticSecret([u8; 32]);

impl From<[u8; 32]> for StaticSecret {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl StaticSecret {
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn diffie_hellman(&self, other: &PublicKey) -> SharedSecret {
        SharedSecret(bytes(number(&self.0) * number(&other.0) % PRIME))
    }
}

impl Drop for StaticSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for StaticSecret {}

pub struct PublicKey([u8; 32]);

impl From<&StaticSecret> for PublicKey {
    fn from(secret: &StaticSecret) -> Self {
        Self(bytes(number(&secret.0) * BASE % PRIME))
    }
}

impl From<[u8; 32]> for PublicKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl PublicKey {
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

pub struct SharedSecret([u8; 32]);

impl SharedSecret {
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn was_contributory(&self) -> bool {
        self.0 != [0; 32]
    }
}

impl Drop for SharedSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for SharedSecret {}
