//! What the tests of several modules need.

use std::string::String;
use std::vec::Vec;

use crate::keys::{PresharedKey, PrivateKey};

/// How often a test does something: the first, or the second where Miri interprets it, a thousand times slower.
pub(crate) const fn times<T: Copy>(often: T, interpreted: T) -> T {
    if cfg!(miri) { interpreted } else { often }
}

/// The bytes of hexadecimal digits. White space between them is ignored.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> =
        hex.split_whitespace().flat_map(str::chars).map(|c| c.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

/// [`bytes`] of a known number.
pub(crate) fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

/// Hexadecimal digits, 32 bytes a line.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for (place, byte) in bytes.iter().enumerate() {
        let before = if place > 0 && place % 32 == 0 { "\n" } else { "" };
        write!(text, "{before}{byte:02x}").unwrap();
    }
    text
}

/// Seeded randomness. `MPT_SEED=N` takes another seed, and the seed is printed where a test fails.
pub(crate) struct Random(fastrand::Rng);

impl Random {
    pub(crate) fn new(default: u64) -> Self {
        let seed = std::env::var("MPT_SEED").ok().map_or(default, |seed| seed.parse().unwrap());
        std::println!("MPT_SEED={seed}");
        Self(fastrand::Rng::with_seed(seed))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes);
        bytes
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = std::vec![0; len];
        self.0.fill(&mut bytes);
        bytes
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound)
    }

    pub(crate) fn private(&mut self) -> PrivateKey {
        PrivateKey::from_bytes(self.array())
    }

    pub(crate) fn preshared(&mut self) -> PresharedKey {
        PresharedKey::from_bytes(self.array())
    }
}

/// The points of small order that a public key can be, as bytes (Bernstein, "Curve25519: new Diffie-Hellman speed
/// records", and cr.yp.to/ecdh.html): with each of them every private key gives the secret zero. The first two and their
/// likes plus p, each also with the bit set that X25519 ignores.
pub(crate) fn small_order() -> Vec<[u8; 32]> {
    let canonical = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    let with_top_bit = |mut point: [u8; 32]| {
        point[31] |= 0x80;
        point
    };
    canonical.iter().map(|hex| array(hex)).flat_map(|point| [point, with_top_bit(point)]).collect()
}
