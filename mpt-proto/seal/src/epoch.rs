//! An epoch: the keys that one handshake gave, and what was sealed and opened with them.

use core::time::Duration;

use mpt_proto::{Instant, MAX_PATHS};

use crate::cipher::{Cipher, Ciphers, NONCE_LEN, Suite};
use crate::datagram::{Header, Plaintext, parts};
use crate::keys::KEY_LEN;
use crate::limits::{LAST_COUNT, REJECT_AFTER, REJECT_AFTER_BYTES, REKEY_AFTER_BYTES, REKEY_AFTER_COUNT};
use crate::noise::{Secrets, data_key};
use crate::reason::Reason;
use crate::window::{Refusal, Window};

/// The keys of a handshake, and how far they are used.
pub(crate) struct Epoch<K> {
    send: Direction<K>,
    receive: Direction<K>,
    /// What a handshake agreed on.
    pub(crate) terms: Terms,
    /// When the peer showed that it has the keys too.
    pub(crate) confirmed: Option<Instant>,
    /// When the next epoch should begin.
    pub(crate) rekey_at: Instant,
    /// When the keys may not be used any more.
    pub(crate) dies: Instant,
    /// The next counter of each path. Only goes up, also when a path number is used for another path.
    counters: [u32; MAX_PATHS],
    windows: [Window; MAX_PATHS],
    sealed_bytes: u64,
    opened_bytes: u64,
}

/// What both ends know of an epoch besides its keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// Our index: in what the peer sends.
    pub(crate) local: u32,
    /// The peer's index: in what we send.
    pub(crate) remote: u32,
    /// The cipher.
    pub(crate) suite: Suite,
    /// Whether we began the handshake.
    pub(crate) we_began: bool,
    /// The random number of the peer's process.
    pub(crate) instance: u32,
    /// When the handshake was done at this end.
    pub(crate) born: Instant,
}

/// A key with what its nonces are made from.
struct Direction<K> {
    key: K,
    iv: [u8; NONCE_LEN],
}

impl<K: Cipher> Direction<K> {
    fn new<C: Ciphers<Key = K>>(ciphers: &C, suite: Suite, secret: &[u8; KEY_LEN], hash: &[u8; 32]) -> Self {
        let derived = data_key(secret, suite.wire(), hash);
        Self { key: ciphers.key(suite, &derived.key), iv: derived.iv }
    }

    /// The deterministic construction of NIST SP 800-38D section 8.2.1, with 32 bits for the path as in RFC 10069.
    fn nonce(&self, path: u8, counter: u32) -> [u8; NONCE_LEN] {
        let [p0, p1, p2, p3, h0, h1, h2, h3, l0, l1, l2, l3] = self.iv;
        let [c0, c1, c2, c3] = counter.to_be_bytes();
        [p0, p1, p2, p3 ^ path, h0, h1, h2, h3, l0 ^ c0, l1 ^ c1, l2 ^ c2, l3 ^ c3]
    }
}

impl<K: Cipher> Epoch<K> {
    /// What a handshake gave; the end that began the handshake has seen with it that the peer has the keys.
    pub(crate) fn new<C: Ciphers<Key = K>>(
        ciphers: &C,
        secrets: &Secrets,
        terms: Terms,
        rekey_after: Duration,
    ) -> Self {
        Self {
            send: Direction::new(ciphers, terms.suite, &secrets.send, &secrets.hash),
            receive: Direction::new(ciphers, terms.suite, &secrets.receive, &secrets.hash),
            terms,
            confirmed: terms.we_began.then_some(terms.born),
            rekey_at: terms.born + rekey_after,
            dies: terms.born + REJECT_AFTER,
            counters: [0; MAX_PATHS],
            windows: [Window::default(); MAX_PATHS],
            sealed_bytes: 0,
            opened_bytes: 0,
        }
    }

    /// Whether anything may still be sealed or opened with the keys.
    pub(crate) fn lives(&self, now: Instant) -> bool {
        now < self.dies && self.sealed_bytes < REJECT_AFTER_BYTES && self.opened_bytes < REJECT_AFTER_BYTES
    }

    /// Seals a plaintext for a path into `place`, which is as long as [`Plaintext::sealed_len`] says. The counter is spent, whatever
    /// becomes of the datagram. False: the path has no counter left.
    pub(crate) fn seal(
        &mut self,
        path: u8,
        plaintext: Plaintext<'_>,
        place: &mut [u8],
        now: Instant,
    ) -> bool {
        let Some(next) = self.counters.get_mut(usize::from(path)).filter(|next| **next < LAST_COUNT) else {
            return false;
        };
        let counter = *next;
        *next += 1;
        self.sealed_bytes += place.len() as u64;
        if counter >= REKEY_AFTER_COUNT || self.sealed_bytes >= REKEY_AFTER_BYTES {
            self.rekey_at = self.rekey_at.min(now);
        }
        let Some((header, ciphertext, tag)) = parts(place) else { return false };
        *header = Header { index: self.terms.remote, path, counter }.bytes();
        plaintext.write(ciphertext);
        *tag = self.send.key.seal(&self.send.nonce(path, counter), header, ciphertext);
        true
    }

    /// Opens a datagram of this epoch in place. `words` are the bits of the path's window. Returns whether it is the newest of its path.
    ///
    /// # Errors
    /// Why it is refused; then nothing has changed but the ciphertext.
    pub(crate) fn open(
        &mut self,
        header: Header,
        words: &mut [u64],
        datagram: &mut [u8],
        now: Instant,
    ) -> Result<bool, Reason> {
        if !self.lives(now) {
            return Err(Reason::Expired);
        }
        let window = self.windows.get_mut(usize::from(header.path)).ok_or(Reason::Form)?;
        window.check(words, header.counter).map_err(|refusal| match refusal {
            Refusal::Replayed => Reason::Replayed,
            Refusal::TooOld => Reason::TooOld,
        })?;
        let len = datagram.len() as u64;
        let (associated, ciphertext, tag) = parts(datagram).ok_or(Reason::Form)?;
        let nonce = self.receive.nonce(header.path, header.counter);
        if !self.receive.key.open(&nonce, associated, ciphertext, tag) {
            return Err(Reason::BadTag);
        }
        self.opened_bytes += len;
        if self.opened_bytes >= REKEY_AFTER_BYTES {
            self.rekey_at = self.rekey_at.min(now);
        }
        Ok(window.commit(words, header.counter))
    }
}

impl<K> Epoch<K> {
    /// Whether new keys are due, because of the time, a counter or the number of bytes.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.rekey_at <= now
    }

    /// Whether a datagram of this path was opened.
    pub(crate) fn has_opened(&self, path: u8) -> bool {
        self.windows.get(usize::from(path)).is_some_and(Window::is_used)
    }
}

#[cfg(test)]
impl<K> Epoch<K> {
    /// Lets the next counter of every path be no less than this, and these the bytes that were sealed and opened.
    pub(crate) fn use_up(&mut self, counter: u32, sealed: u64, opened: u64) {
        self.counters = self.counters.map(|before| before.max(counter));
        (self.sealed_bytes, self.opened_bytes) = (sealed, opened);
    }

    pub(crate) fn fingerprint(&self) -> std::string::String {
        std::format!(
            "{:?} {:?} {:?} {:?} {:?} {} {}",
            self.terms,
            self.confirmed,
            self.rekey_at,
            self.counters,
            self.windows,
            self.sealed_bytes,
            self.opened_bytes
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::Portable;
    use crate::testing::{bytes, hex};
    use std::vec;

    /// What [`Epoch::seal`] makes of a packet of 20 bytes. The numbers were computed with Python, too (`hmac`, `hashlib` and the
    /// `cryptography` package).
    #[test]
    fn a_sealed_packet_is_that_of_docs_wire_md() {
        let secrets = Secrets {
            send: core::array::from_fn(|place| u8::try_from(place).unwrap()),
            receive: [0; 32],
            hash: core::array::from_fn(|place| u8::try_from(32 + place).unwrap()),
        };
        let derived = data_key(&secrets.send, 1, &secrets.hash);
        let terms = Terms {
            local: 1,
            remote: 0x0abc_def1,
            suite: Suite::ChaCha20Poly1305,
            we_began: true,
            instance: 0,
            born: Instant::ZERO,
        };
        let mut epoch = Epoch::new(&Portable, &secrets, terms, Duration::from_secs(120));
        epoch.use_up(0x0102_0304, 0, 0);
        let clear = [&[0x10, 0, 8, 0, 0, 0, 0, 7][..], &[0x45; 20]].concat();
        let plaintext = Plaintext::of(&clear).unwrap();
        let mut place = vec![0; plaintext.sealed_len(1400)];
        assert!(epoch.seal(3, plaintext, &mut place, Instant::ZERO));
        let nonce = epoch.send.nonce(3, 0x0102_0304);
        std::println!(
            "key {}\niv {}\nnonce {}\nsealed:\n{}",
            hex(&derived.key),
            hex(&derived.iv),
            hex(&nonce),
            hex(&place)
        );
        assert_eq!(hex(&derived.key), "5f7758f5d6c4377c01715f5e5487442cb819e2bc44d91e3fdfd72d0f139b42f0");
        assert_eq!(hex(&derived.iv), "2f16db16b4cfad4268422fab");
        assert_eq!(hex(&nonce), "2f16db15b4cfad4269402caf");
        assert_eq!(
            place,
            bytes(
                "300088b6abcdef1301020304c656570700f5d50ca1e81e2de36d644a15845009
                 ec366de523c96bd92ae2471f05483edce79c2ff74d47e4b8ab485763"
            )
        );
    }
}
