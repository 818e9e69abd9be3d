//! `Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s` of the Noise Protocol Framework, revision 34, and nothing else of it.
//!
//! The pattern is, with `s` the responder's static key that the initiator knows before:
//!
//! ```text
//! <- s
//! ...
//! -> e, es, s, ss        message 1: 32 + (32 + 16) + payload + 16 bytes
//! <- e, ee, se, psk      message 2: 32 + payload + 16 bytes
//! ```
//!
//! Section numbers in this file are the framework's. In this pattern every key encrypts one text, so that the nonce is
//! always zero and no state counts it. Names, prologue and payloads are the caller's; those of the tunnel are in
//! [`message`](crate::message).

use blake2::{Blake2s256, Digest};
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::cipher::TAG_LEN;
use crate::hash::{HASH_LEN, hash, hkdf, hmac};
use crate::keys::{KEY_LEN, PresharedKey, PrivateKey, PublicKey, Secret};

/// The protocol's name, which is longer than a hash and is therefore hashed (section 5.2).
const NAME: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
/// Bytes of a public key, encrypted.
const SEALED_KEY_LEN: usize = KEY_LEN + TAG_LEN;
/// Bytes of message 1 besides its payload.
pub(crate) const FIRST_LEN: usize = KEY_LEN + SEALED_KEY_LEN + TAG_LEN;
/// Bytes of message 2 besides its payload.
pub(crate) const SECOND_LEN: usize = KEY_LEN + TAG_LEN;

/// Why a handshake message was not taken, or not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Message and payload do not have lengths that belong together.
    Length,
    /// A public key in it, or the one it is for, is of small order: the secret would be all zero.
    WeakKey,
    /// A part of it does not decrypt: it is damaged, forged, or for somebody else.
    BadTag,
    /// It is authentic, and says what this end does not understand or did not offer.
    Payload,
}

/// What both ends have when the handshake is done. Erased when dropped.
pub(crate) struct Secrets {
    /// What the keys for sending are derived from, see [`data_key`].
    pub(crate) send: [u8; KEY_LEN],
    /// What the keys for receiving are derived from, see [`data_key`].
    pub(crate) receive: [u8; KEY_LEN],
    /// The hash over all that both ends said (section 11.2).
    pub(crate) hash: [u8; HASH_LEN],
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.send.zeroize();
        self.receive.zeroize();
        self.hash.zeroize();
    }
}

impl ZeroizeOnDrop for Secrets {}

/// A key of data datagrams, and what their nonces are combined with. Erased when dropped.
pub(crate) struct DataKey {
    /// The cipher's key.
    pub(crate) key: [u8; KEY_LEN],
    /// XORed with path and counter it is the nonce.
    pub(crate) iv: [u8; 12],
}

impl Drop for DataKey {
    fn drop(&mut self) {
        self.key.zeroize();
        self.iv.zeroize();
    }
}

impl ZeroizeOnDrop for DataKey {}

/// The key of one direction, from [`Secrets::send`] or [`Secrets::receive`], the number of the cipher and
/// [`Secrets::hash`]: two ends that do not agree on the cipher share no key.
pub(crate) fn data_key(secret: &[u8; KEY_LEN], suite: u8, handshake: &[u8; HASH_LEN]) -> DataKey {
    let secret = Secret::from_bytes(*secret);
    let [key, other] = hkdf(&secret, &[b"mpt data", &[suite], handshake]);
    let mut iv = [0; 12];
    for (byte, other) in iv.iter_mut().zip(other.as_bytes()) {
        *byte = *other;
    }
    DataKey { key: *key.as_bytes(), iv }
}

/// A source of ephemeral keys that does not rely on the entropy alone. Erased when dropped.
///
/// A key is a hash of 32 bytes of entropy, a subkey of the static key, a counter, and what the handshake is about. Who can
/// guess the entropy still lacks the subkey. Where a weak generator gives the same entropy again after a restart, another
/// handshake has another key nevertheless, so that no key encrypts two texts.
pub(crate) struct Ephemerals {
    subkey: Secret,
    count: u64,
}

impl Ephemerals {
    /// A source for the owner of this static key.
    pub(crate) fn new(local: &PrivateKey) -> Self {
        Self { subkey: hmac(local.as_bytes(), &[b"mpt ephemeral"]), count: 0 }
    }

    /// The next key, for a handshake in which this end says `context`.
    pub(crate) fn next(&mut self, entropy: &[u8; 32], context: &[&[u8]]) -> PrivateKey {
        let count = self.count;
        self.count = count.wrapping_add(1);
        let bytes = hmac(self.subkey.as_bytes(), &[entropy, &count.to_be_bytes(), &hash(context)]);
        PrivateKey::from_bytes(*bytes.as_bytes())
    }
}

/// The state that both ends have in common (section 5.2): the chaining key `ck` and the hash `h`.
#[derive(Clone)]
struct Symmetric {
    chain: Secret,
    hash: [u8; HASH_LEN],
}

impl Symmetric {
    /// The state before message 1 of this pattern (section 5.3, `Initialize`).
    fn new(prologue: &[&[u8]], responder: &PublicKey) -> Self {
        let mut state = Self::named(NAME);
        state.mix_hash(prologue);
        state.mix_hash(&[responder.as_bytes()]);
        state
    }

    fn named(name: &[u8]) -> Self {
        let hash = hash(&[name]);
        Self { chain: Secret::from_bytes(hash), hash }
    }

    /// `MixHash` of the parts, one behind the other.
    fn mix_hash(&mut self, parts: &[&[u8]]) {
        let mut state = Blake2s256::new().chain_update(self.hash);
        for part in parts {
            state.update(part);
        }
        self.hash = state.finalize().into();
    }

    /// `MixKey`: returns the key `k`.
    fn mix_key(&mut self, input: &[u8]) -> Secret {
        let [chain, key] = hkdf(&self.chain, &[input]);
        self.chain = chain;
        key
    }

    /// `MixKey` of the secret that two keys give.
    fn mix_shared(&mut self, ours: &PrivateKey, theirs: &PublicKey) -> Result<Secret, Refused> {
        let shared = ours.agree(theirs).ok_or(Refused::WeakKey)?;
        Ok(self.mix_key(shared.as_bytes()))
    }

    /// The token `e` of a pattern with a pre-shared key (section 9.2): the public key goes into hash and chain.
    fn mix_ephemeral(&mut self, public: &PublicKey) {
        self.mix_hash(&[public.as_bytes()]);
        self.mix_key(public.as_bytes());
    }

    /// The token `psk`, `MixKeyAndHash`: returns the key `k`.
    fn mix_preshared(&mut self, preshared: &PresharedKey) -> Secret {
        let [chain, mixed, key] = hkdf(&self.chain, &[preshared.as_bytes()]);
        self.chain = chain;
        self.mix_hash(&[mixed.as_bytes()]);
        key
    }

    /// `EncryptAndHash`: `sealed` is the text and its tag.
    fn encrypt(&mut self, key: &Secret, text: &[u8], sealed: &mut [u8]) -> Result<(), Refused> {
        let (body, tag) = sealed.split_at_mut_checked(text.len()).ok_or(Refused::Length)?;
        let tag: &mut [u8; TAG_LEN] = tag.try_into().map_err(|_| Refused::Length)?;
        body.copy_from_slice(text);
        let cipher = ChaCha20Poly1305::new(key.as_bytes().into());
        let sum = cipher.encrypt_inout_detached(&Nonce::default(), &self.hash, body.into());
        *tag = sum.map_err(|_| Refused::Length)?.into();
        self.mix_hash(&[sealed]);
        Ok(())
    }

    /// `DecryptAndHash`: `sealed` is the text and its tag. Of a text that is refused nothing is left in `text`.
    fn decrypt(&mut self, key: &Secret, sealed: &[u8], text: &mut [u8]) -> Result<(), Refused> {
        let (body, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(Refused::Length)?;
        if body.len() != text.len() {
            return Err(Refused::Length);
        }
        text.copy_from_slice(body);
        let cipher = ChaCha20Poly1305::new(key.as_bytes().into());
        let opened = cipher.decrypt_inout_detached(&Nonce::default(), &self.hash, text.into(), tag.into());
        if opened.is_err() {
            text.fill(0);
            return Err(Refused::BadTag);
        }
        self.mix_hash(&[sealed]);
        Ok(())
    }

    /// `Split`: what the initiator sends with, and what the responder sends with.
    fn split(&self) -> [Secret; 2] {
        hkdf(&self.chain, &[])
    }

    /// When message 1 is complete: a key that nobody has but who wrote it and who can read it.
    fn derive(&self, label: &[u8]) -> Secret {
        let [key] = hkdf(&self.chain, &[label]);
        key
    }
}

/// The initiator between message 1 and message 2. Erased when dropped.
pub(crate) struct Initiator {
    symmetric: Symmetric,
    ephemeral: PrivateKey,
}

impl Initiator {
    /// Begins a handshake with the owner of `remote`, and writes message 1: [`FIRST_LEN`] bytes more than its payload.
    pub(crate) fn start(
        prologue: &[&[u8]],
        local: &PrivateKey,
        remote: &PublicKey,
        ephemeral: PrivateKey,
        payload: &[u8],
        message: &mut [u8],
    ) -> Result<Self, Refused> {
        let (public, rest) = message.split_first_chunk_mut::<KEY_LEN>().ok_or(Refused::Length)?;
        let (name, text) = rest.split_first_chunk_mut::<SEALED_KEY_LEN>().ok_or(Refused::Length)?;
        let mut symmetric = Symmetric::new(prologue, remote);
        *public = *ephemeral.public().as_bytes();
        symmetric.mix_ephemeral(&ephemeral.public());
        let key = symmetric.mix_shared(&ephemeral, remote)?;
        symmetric.encrypt(&key, local.public().as_bytes(), name)?;
        let key = symmetric.mix_shared(local, remote)?;
        symmetric.encrypt(&key, payload, text)?;
        Ok(Self { symmetric, ephemeral })
    }

    /// Reads message 2 and its payload, which is [`SECOND_LEN`] bytes shorter. A message that is refused changes nothing: a
    /// good one can still come.
    pub(crate) fn finish(
        &self,
        local: &PrivateKey,
        preshared: &PresharedKey,
        message: &[u8],
        payload: &mut [u8],
    ) -> Result<Secrets, Refused> {
        let (public, text) = message.split_first_chunk::<KEY_LEN>().ok_or(Refused::Length)?;
        let public = PublicKey::from_bytes(*public);
        let mut symmetric = self.symmetric.clone();
        symmetric.mix_ephemeral(&public);
        symmetric.mix_shared(&self.ephemeral, &public)?;
        symmetric.mix_shared(local, &public)?;
        let key = symmetric.mix_preshared(preshared);
        symmetric.decrypt(&key, text, payload)?;
        let [send, receive] = symmetric.split();
        Ok(Secrets { send: *send.as_bytes(), receive: *receive.as_bytes(), hash: symmetric.hash })
    }

    /// A key of what answers message 1, which the responder derives as well.
    pub(crate) fn derive(&self, label: &[u8]) -> Secret {
        self.symmetric.derive(label)
    }

    /// The hash after message 1.
    pub(crate) fn hash(&self) -> &[u8; HASH_LEN] {
        &self.symmetric.hash
    }
}

/// The responder when it has read, with one DH, which static key message 1 names. That the sender has that key is shown
/// by the payload only. Erased when dropped.
pub(crate) struct Claim<'m> {
    symmetric: Symmetric,
    ephemeral: PublicKey,
    public: PublicKey,
    text: &'m [u8],
}

impl<'m> Claim<'m> {
    /// Reads the ephemeral and the static key of message 1.
    pub(crate) fn read(prologue: &[&[u8]], local: &PrivateKey, message: &'m [u8]) -> Result<Self, Refused> {
        let (ephemeral, rest) = message.split_first_chunk::<KEY_LEN>().ok_or(Refused::Length)?;
        let (name, text) = rest.split_first_chunk::<SEALED_KEY_LEN>().ok_or(Refused::Length)?;
        let ephemeral = PublicKey::from_bytes(*ephemeral);
        let mut symmetric = Symmetric::new(prologue, &local.public());
        symmetric.mix_ephemeral(&ephemeral);
        let key = symmetric.mix_shared(local, &ephemeral)?;
        let mut public = [0; KEY_LEN];
        symmetric.decrypt(&key, name, &mut public)?;
        Ok(Self { symmetric, ephemeral, public: PublicKey::from_bytes(public), text })
    }

    /// The static key that the sender says it has.
    pub(crate) const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Reads the payload of message 1, which is [`FIRST_LEN`] bytes shorter: its sender has the private key, or the message
    /// is a copy of one whose sender had it.
    pub(crate) fn read_payload(self, local: &PrivateKey, payload: &mut [u8]) -> Result<Responder, Refused> {
        let Self { mut symmetric, ephemeral, public, text } = self;
        let key = symmetric.mix_shared(local, &public)?;
        symmetric.decrypt(&key, text, payload)?;
        Ok(Responder { symmetric, ephemeral, public })
    }
}

/// The responder between message 1 and message 2. Erased when dropped.
pub(crate) struct Responder {
    symmetric: Symmetric,
    ephemeral: PublicKey,
    public: PublicKey,
}

impl Responder {
    /// Writes message 2: [`SECOND_LEN`] bytes more than its payload.
    pub(crate) fn answer(
        self,
        ephemeral: &PrivateKey,
        preshared: &PresharedKey,
        payload: &[u8],
        message: &mut [u8],
    ) -> Result<Secrets, Refused> {
        let Self { mut symmetric, ephemeral: theirs, public: name } = self;
        let (public, text) = message.split_first_chunk_mut::<KEY_LEN>().ok_or(Refused::Length)?;
        *public = *ephemeral.public().as_bytes();
        symmetric.mix_ephemeral(&ephemeral.public());
        symmetric.mix_shared(ephemeral, &theirs)?;
        symmetric.mix_shared(ephemeral, &name)?;
        let key = symmetric.mix_preshared(preshared);
        symmetric.encrypt(&key, payload, text)?;
        let [receive, send] = symmetric.split();
        Ok(Secrets { send: *send.as_bytes(), receive: *receive.as_bytes(), hash: symmetric.hash })
    }

    /// A key of what answers message 1, which the initiator derives as well.
    pub(crate) fn derive(&self, label: &[u8]) -> Secret {
        self.symmetric.derive(label)
    }

    /// The hash after message 1.
    pub(crate) const fn hash(&self) -> &[u8; HASH_LEN] {
        &self.symmetric.hash
    }
}

#[cfg(test)]
mod tests;
