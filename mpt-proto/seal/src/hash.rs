//! BLAKE2s in the three uses that the handshake has for it: plain, as HMAC with HKDF (Noise), and keyed (macs and
//! cookies).
//!
//! HMAC is written here, not taken from the crate `hmac`: that one leaves the key's pad in memory.

use blake2::digest::consts::U16;
use blake2::digest::{Digest, KeyInit, Mac};
use blake2::{Blake2s256, Blake2sMac};
use zeroize::Zeroize;

use crate::keys::Secret;

/// Bytes of a hash.
pub(crate) const HASH_LEN: usize = 32;
/// Bytes of a mac and of a cookie.
pub(crate) const MAC_LEN: usize = 16;
/// Bytes of a block of BLAKE2s, which is what HMAC pads its key to (RFC 2104 section 2).
const BLOCK_LEN: usize = 64;

/// BLAKE2s-256 (RFC 7693) over the parts, one behind the other.
pub(crate) fn hash(parts: &[&[u8]]) -> [u8; HASH_LEN] {
    let mut state = Blake2s256::new();
    for part in parts {
        state.update(part);
    }
    state.finalize().into()
}

/// HMAC (RFC 2104) with BLAKE2s-256 over the parts, one behind the other.
pub(crate) fn hmac(key: &[u8; HASH_LEN], parts: &[&[u8]]) -> Secret {
    let mut pad = [0x36; BLOCK_LEN];
    for (byte, key) in pad.iter_mut().zip(key) {
        *byte ^= key;
    }
    let mut inner = Blake2s256::new().chain_update(pad);
    for part in parts {
        inner.update(part);
    }
    for byte in &mut pad {
        *byte ^= 0x36 ^ 0x5c;
    }
    let mut middle: [u8; HASH_LEN] = inner.finalize().into();
    let outer = Blake2s256::new().chain_update(pad).chain_update(middle);
    pad.zeroize();
    middle.zeroize();
    Secret::from_bytes(outer.finalize().into())
}

/// The `HKDF` of the Noise framework (section 4.3), with `N` outputs: that of RFC 5869 where `chain` is the salt and
/// there is no info. The input is all parts, one behind the other.
pub(crate) fn hkdf<const N: usize>(chain: &Secret, input: &[&[u8]]) -> [Secret; N] {
    let extracted = hmac(chain.as_bytes(), input);
    let mut outputs = [const { Secret::ZERO }; N];
    let mut before: &[u8] = &[];
    for (output, number) in outputs.iter_mut().zip(1u8..) {
        *output = hmac(extracted.as_bytes(), &[before, &[number]]);
        before = output.as_bytes();
    }
    outputs
}

/// BLAKE2s-128 (RFC 7693) with a key of at most 32 bytes, over the parts, one behind the other.
pub(crate) fn keyed(key: &[u8], parts: &[&[u8]]) -> [u8; MAC_LEN] {
    let Ok(mut state) = Blake2sMac::<U16>::new_from_slice(key) else {
        // No caller has such a key. If one had it, it must still not become a mac that others can guess.
        return keyed(&hash(&[key]), parts);
    };
    for part in parts {
        Mac::update(&mut state, part);
    }
    state.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::array;

    // Where no document is named, the bytes are those of Python's `hashlib.blake2s` and `hmac`.
    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const TEXT: &[&[u8]] = &[b"sealed", b"", b" mode"];

    #[test]
    fn rfc7693_b_the_hash_of_abc() {
        let abc = array("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
        assert_eq!(hash(&[b"abc"]), abc);
        assert_eq!(hash(&[b"a", b"", b"bc"]), abc);
    }

    #[test]
    fn hmac_is_rfc_2104_and_not_keyed_blake2s() {
        let key = array(KEY);
        let known = array("04bc152b51cb61b8a4e18164cf5c89583a7d7252cbd7c2f782ba7a4332f11b96");
        assert_eq!(hmac(&key, TEXT).as_bytes(), &known);
        let known = array("eaf4bb25938f4d20e72656bbbc7a9bf63c0c18537333c35bdb67db1402661acd");
        assert_eq!(hmac(&[0; 32], &[]).as_bytes(), &known);
    }

    #[test]
    fn noise_4_3_hkdf_gives_the_same_outputs_however_many_are_asked_for() {
        let chain = Secret::from_bytes(array(KEY));
        let known = [
            array("28bd38124e27a8020e6f692893a1a0c7228a3d5f9e555ecafa0cc2ab2514569d"),
            array("b93b1136ee7de8219fd230b6045b9507873ac67572a50b8a23cfb8076f1f3eda"),
            array("120b9c9f3b501647435f1eab21d5c5825cc5b2b549b6d04c06a04e78d9c00f97"),
        ];
        let got: [Secret; 3] = hkdf(&chain, TEXT);
        assert_eq!(got.each_ref().map(Secret::as_bytes), known.each_ref());
        let got: [Secret; 1] = hkdf(&chain, TEXT);
        assert_eq!(got.each_ref().map(Secret::as_bytes), [&known[0]]);
    }

    #[test]
    fn keyed_hashes_know_their_keys_length() {
        let key: [u8; 32] = array(KEY);
        assert_eq!(keyed(&key, TEXT), array("edc0e047ceb43e39bd51b48771ad4d8a"));
        assert_eq!(keyed(&key[..16], TEXT), array("dc8c116c37c9b8635c5ff36985e15fac"));
        assert_eq!(
            keyed(&[7; 33], TEXT),
            keyed(&hash(&[&[7; 33]]), TEXT),
            "a key that is too long is hashed"
        );
    }
}
