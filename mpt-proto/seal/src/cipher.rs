//! The ciphers of data datagrams: which there are, which of them two ends share, and the traits behind which a
//! program puts its own implementation.
//!
//! A cipher here is an AEAD (RFC 5116) with a key of 32 bytes, a nonce of 12 and a tag of 16, and works in place. This
//! module never chooses a nonce and never counts: no nonce may be used twice with one key, and that is the duty of the
//! epoch that owns the key.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce, Tag};

use crate::keys::KEY_LEN;

/// Bytes of an authentication tag; every suite's tag has this length.
pub const TAG_LEN: usize = 16;

/// Bytes of a nonce; every suite's nonce has this length.
pub const NONCE_LEN: usize = 12;

/// A cipher by its number in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Suite {
    /// ChaCha20-Poly1305 (RFC 8439): every end has it, and it is fast without special instructions.
    ChaCha20Poly1305 = 1,
    /// AES-256-GCM (NIST SP 800-38D): only ends whose processor has AES instructions offer it. Number 3 is reserved
    /// for AES-128-GCM.
    Aes256Gcm = 2,
}

impl Suite {
    /// Every suite of this version, the one to prefer first.
    pub const ALL: [Self; 2] = [Self::Aes256Gcm, Self::ChaCha20Poly1305];

    /// The suite of a number in the handshake, or `None` for a number that this version does not know.
    pub const fn from_wire(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::ChaCha20Poly1305),
            2 => Some(Self::Aes256Gcm),
            _ => None,
        }
    }

    /// The suite's number in the handshake.
    pub const fn wire(self) -> u8 {
        self as u8
    }

    /// The suite's name as its standard writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChaCha20Poly1305 => "ChaCha20-Poly1305",
            Self::Aes256Gcm => "AES-256-GCM",
        }
    }
}

impl core::fmt::Display for Suite {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(self.name())
    }
}

/// The set of suites that one end offers. ChaCha20-Poly1305 is always in it, so two ends always share a suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer(u8);

impl Offer {
    /// ChaCha20-Poly1305 alone, which every end offers.
    pub const CHACHA: Self = Self(Self::bit(Suite::ChaCha20Poly1305));

    /// The offer of a handshake message: bit `n - 1` stands for the suite with the number `n`. Bits of suites that
    /// this version does not know are ignored, and bit 0 counts as set.
    pub const fn from_bits(bits: u8) -> Self {
        let known = Self::bit(Suite::ChaCha20Poly1305) | Self::bit(Suite::Aes256Gcm);
        Self((bits & known) | Self::CHACHA.0)
    }

    /// The offer as a handshake message carries it, see [`Offer::from_bits`].
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The same offer and one suite more.
    #[must_use]
    pub const fn with(self, suite: Suite) -> Self {
        Self(self.0 | Self::bit(suite))
    }

    /// Whether the suite is offered.
    pub const fn contains(self, suite: Suite) -> bool {
        self.0 & Self::bit(suite) != 0
    }

    /// The suite that two ends use: AES-256-GCM when both offer it, otherwise ChaCha20-Poly1305. The result does not
    /// depend on which end asks.
    pub const fn best(self, other: Self) -> Suite {
        if self.contains(Suite::Aes256Gcm) && other.contains(Suite::Aes256Gcm) {
            Suite::Aes256Gcm
        } else {
            Suite::ChaCha20Poly1305
        }
    }

    const fn bit(suite: Suite) -> u8 {
        1 << (suite.wire() - 1)
    }
}

/// A suite with a key, ready for use. Implementations erase the key when they are dropped.
pub trait Cipher {
    /// Encrypts `bytes` in place, and returns the tag over `associated` and the ciphertext. The caller must never use
    /// a nonce twice with one key.
    fn seal(&self, nonce: &[u8; NONCE_LEN], associated: &[u8], bytes: &mut [u8]) -> [u8; TAG_LEN];

    /// Checks `tag` over `associated` and the ciphertext `bytes` in constant time, and decrypts `bytes` in place.
    /// Returns whether the tag is right. When it returns `false` the content of `bytes` must not be used.
    #[must_use]
    fn open(&self, nonce: &[u8; NONCE_LEN], associated: &[u8], bytes: &mut [u8], tag: &[u8; TAG_LEN])
    -> bool;
}

/// An implementation of the suites.
pub trait Ciphers {
    /// A suite with a key.
    type Key: Cipher;

    /// The suites that this implementation has and that are fast on this processor.
    fn offered(&self) -> Offer;

    /// Prepares `suite` for use with `key`. The caller names only suites of [`Ciphers::offered`].
    fn key(&self, suite: Suite, key: &[u8; KEY_LEN]) -> Self::Key;
}

/// The suites in Rust alone, for every processor: ChaCha20-Poly1305, and AES-256-GCM with the crate's feature `aes`.
///
/// The feature is for processors with AES instructions. Without them the cipher is correct and slow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Portable;

/// A key of [`Portable`]. It has no `Debug`, and is erased when it is dropped.
pub struct PortableKey(Context);

#[cfg_attr(
    feature = "aes",
    allow(clippy::large_enum_variant, reason = "there is no heap for a key schedule")
)]
enum Context {
    ChaCha(ChaCha20Poly1305),
    #[cfg(feature = "aes")]
    Aes(aes_gcm::Aes256Gcm),
}

impl Ciphers for Portable {
    type Key = PortableKey;

    fn offered(&self) -> Offer {
        if cfg!(feature = "aes") { Offer::CHACHA.with(Suite::Aes256Gcm) } else { Offer::CHACHA }
    }

    /// Without the feature `aes` every key becomes one of ChaCha20-Poly1305: a peer that chose what was not offered
    /// shares no key with this end, and its datagrams are refused.
    fn key(&self, suite: Suite, key: &[u8; KEY_LEN]) -> PortableKey {
        match suite {
            #[cfg(feature = "aes")]
            Suite::Aes256Gcm => {
                let key: &aes_gcm::Key<aes_gcm::Aes256Gcm> = key.into();
                PortableKey(Context::Aes(aes_gcm::Aes256Gcm::new(key)))
            }
            _ => {
                let key: &Key = key.into();
                PortableKey(Context::ChaCha(ChaCha20Poly1305::new(key)))
            }
        }
    }
}

impl Cipher for PortableKey {
    fn seal(&self, nonce: &[u8; NONCE_LEN], associated: &[u8], bytes: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce: &Nonce = nonce.into();
        let sealed = match &self.0 {
            Context::ChaCha(cipher) => cipher.encrypt_inout_detached(nonce, associated, (&mut *bytes).into()),
            #[cfg(feature = "aes")]
            Context::Aes(cipher) => cipher.encrypt_inout_detached(nonce, associated, (&mut *bytes).into()),
        };
        match sealed {
            Ok(tag) => tag.into(),
            // More than 64 GiB in one piece, the only failure there is. What is not encrypted must not leave.
            Err(_) => {
                bytes.fill(0);
                [0; TAG_LEN]
            }
        }
    }

    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> bool {
        let (nonce, tag): (&Nonce, &Tag) = (nonce.into(), tag.into());
        let opened = match &self.0 {
            Context::ChaCha(cipher) => cipher.decrypt_inout_detached(nonce, associated, bytes.into(), tag),
            #[cfg(feature = "aes")]
            Context::Aes(cipher) => cipher.decrypt_inout_detached(nonce, associated, bytes.into(), tag),
        };
        opened.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::bytes as hex;

    /// A known answer: sealed as the standard has it, opened again, and refused with any bit of it changed.
    fn check(suite: Suite, [key, nonce, associated, plaintext, ciphertext, tag]: [&str; 6]) {
        let key = Portable.key(suite, &hex(key).try_into().expect("32 bytes"));
        let nonce = hex(nonce).try_into().expect("12 bytes");
        let (associated, plaintext, ciphertext) = (hex(associated), hex(plaintext), hex(ciphertext));
        let tag: [u8; TAG_LEN] = hex(tag).try_into().expect("16 bytes");

        let mut bytes = plaintext.clone();
        assert_eq!(key.seal(&nonce, &associated, &mut bytes), tag);
        assert_eq!(bytes, ciphertext);
        assert!(key.open(&nonce, &associated, &mut bytes, &tag));
        assert_eq!(bytes, plaintext);

        let mut whole = [associated.as_slice(), &ciphertext, &tag].concat();
        for bit in 0..whole.len() * 8 {
            whole[bit / 8] ^= 1 << (bit % 8);
            let (associated, rest) = whole.split_at(associated.len());
            let (bytes, tag) = rest.split_at(ciphertext.len());
            let opened = key.open(&nonce, associated, &mut bytes.to_vec(), tag.try_into().expect("16 bytes"));
            assert!(!opened, "bit {bit}");
            whole[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn chacha_gives_the_answers_of_rfc_8439() {
        // Section 2.8.2.
        check(
            Suite::ChaCha20Poly1305,
            [
                "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
                "070000004041424344454647",
                "50515253c0c1c2c3c4c5c6c7",
                "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a2049662049\
                 20636f756c64206f6666657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c20\
                 73756e73637265656e20776f756c642062652069742e",
                "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92\
                 728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad67594558580\
                 8b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116",
                "1ae10b594f09e26a7e902ecbd0600691",
            ],
        );
    }

    #[cfg(feature = "aes")]
    #[test]
    fn aes_gives_the_answers_of_the_gcm_specification() {
        // McGrew and Viega, appendix B, test cases 13 to 16; NIST's submission has the same.
        const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
        const KEY: &str = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
        const PLAINTEXT: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e24\
                                 49a6b525b16aedf5aa0de657ba637b39";
        const CIPHERTEXT: &str = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b10\
                                  56828838c5f61e6393ba7a0abcc9f662";
        let suite = Suite::Aes256Gcm;
        check(suite, [ZEROS, &ZEROS[..24], "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"]);
        check(
            suite,
            [
                ZEROS,
                &ZEROS[..24],
                "",
                &ZEROS[..32],
                "cea7403d4d606b6e074ec5d3baf39d18",
                "d0d1c8a799996bf0265b98b5d48ab919",
            ],
        );
        let nonce = "cafebabefacedbaddecaf888";
        let (plaintext, ciphertext) =
            (std::format!("{PLAINTEXT}1aafd255"), std::format!("{CIPHERTEXT}898015ad"));
        check(suite, [KEY, nonce, "", &plaintext, &ciphertext, "b094dac5d93471bdec1a502270e3cc6c"]);
        let associated = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
        check(suite, [KEY, nonce, associated, PLAINTEXT, CIPHERTEXT, "76fc6ece0f4e1768cddf8853bb2d551b"]);
    }

    #[test]
    fn another_key_or_nonce_opens_nothing() {
        for suite in Suite::ALL.into_iter().filter(|&suite| Portable.offered().contains(suite)) {
            let mut bytes = *b"a packet";
            let tag = Portable.key(suite, &[1; 32]).seal(&[2; 12], b"head", &mut bytes);
            for (key, nonce) in [([0; 32], [2; 12]), ([1; 32], [3; 12])] {
                assert!(
                    !Portable.key(suite, &key).open(&nonce, b"head", &mut bytes.clone(), &tag),
                    "{suite}"
                );
            }
            assert!(Portable.key(suite, &[1; 32]).open(&[2; 12], b"head", &mut bytes, &tag), "{suite}");
        }
    }

    #[test]
    fn suites_are_the_numbers_of_the_handshake() {
        for suite in Suite::ALL {
            assert_eq!(Suite::from_wire(suite.wire()), Some(suite));
        }
        assert_eq!((Suite::ChaCha20Poly1305.wire(), Suite::Aes256Gcm.wire()), (1, 2));
        assert!([0, 3, 255].into_iter().all(|number| Suite::from_wire(number).is_none()));
    }

    #[test]
    fn two_ends_choose_the_same_suite_whatever_they_offer() {
        for (ours, theirs) in (0..=255).flat_map(|ours| (0..=255).map(move |theirs| (ours, theirs))) {
            let (a, b) = (Offer::from_bits(ours), Offer::from_bits(theirs));
            let suite = a.best(b);
            assert_eq!(suite, b.best(a));
            assert!(a.contains(suite) && b.contains(suite));
            assert_eq!(suite == Suite::Aes256Gcm, ours & theirs & 2 != 0);
        }
    }

    #[test]
    fn every_offer_has_chacha_and_nothing_that_is_not_known() {
        assert_eq!(Offer::from_bits(0), Offer::CHACHA);
        assert_eq!(Offer::from_bits(0xff).bits(), 3);
        assert_eq!(Offer::CHACHA.with(Suite::Aes256Gcm).bits(), 3);
    }
}
