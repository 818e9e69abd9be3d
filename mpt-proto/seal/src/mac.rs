//! What costs little to check before a handshake costs a multiplication: mac1, mac2 and the cookies that mac2 is made
//! with, as in WireGuard (section 5.4.4 and 5.4.7 of its paper) with labels of our own.

use mpt_proto::Instant;
use subtle::ConstantTimeEq;

use crate::hash::{HASH_LEN, MAC_LEN, hash, keyed};
use crate::keys::{PublicKey, Secret};
use crate::limits::COOKIE_LIFE;

/// Where a datagram came from: 16 bytes of an IPv6 address (`::ffff:a.b.c.d` for IPv4), 2 of the port, and 2 that tell to which
/// socket it came. A cookie is worth something from the same source only; how many handshakes one host may begin is counted without
/// port, socket and the lower half of an IPv6 address, of which everybody has many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(pub [u8; 20]);

impl Source {
    /// The IPv4 address, or the network of an IPv6 address.
    pub(crate) fn host(&self) -> &[u8] {
        const IPV4: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
        let len = if self.0.starts_with(&IPV4) { 16 } else { 8 };
        self.0.get(..len).unwrap_or(&self.0)
    }
}

/// The keys, derived from a public key, with which initiations to its owner are checked and cookies from it are sealed. Everybody who
/// knows the public key has them.
pub(crate) struct MacKeys {
    /// The key of an initiation's mac1.
    pub(crate) mac1: [u8; HASH_LEN],
    /// The key of cookie replies.
    pub(crate) cookie: [u8; HASH_LEN],
}

impl MacKeys {
    /// The keys for datagrams to the owner of this public key.
    pub(crate) fn new(receiver: &PublicKey) -> Self {
        let labelled = |label: &[u8]| hash(&[label, receiver.as_bytes()]);
        Self { mac1: labelled(b"mpt mac1"), cookie: labelled(b"mpt cook") }
    }
}

/// mac1 or mac2 of these bytes: BLAKE2s-128 with [`MacKeys::mac1`], or with a cookie.
pub(crate) fn mac(key: &[u8], bytes: &[u8]) -> [u8; MAC_LEN] {
    keyed(key, &[bytes])
}

/// Whether `mac` is that of the bytes, in a time that does not depend on where it differs.
pub(crate) fn is_mac(key: &[u8], bytes: &[u8], mac: &[u8; MAC_LEN]) -> bool {
    keyed(key, &[bytes]).ct_eq(mac).into()
}

/// The responder's cookies: each proves that its sender receives at an address. Nothing is kept for any of them. Erased
/// when dropped.
pub(crate) struct Cookies {
    current: Generation,
    before: Option<Generation>,
}

/// A secret that cookies are made with, and when it was new.
struct Generation {
    secret: Secret,
    born: Instant,
}

impl Generation {
    fn cookie(&self, source: &Source) -> [u8; MAC_LEN] {
        keyed(self.secret.as_bytes(), &[&source.0])
    }

    /// Whether cookies made with it are taken.
    fn is_taken(&self, now: Instant) -> bool {
        now.since(self.born) < COOKIE_LIFE * 2
    }
}

impl Cookies {
    /// Cookies from a secret of 32 random bytes.
    pub(crate) fn new(secret: [u8; 32], now: Instant) -> Self {
        Self { current: Generation { secret: Secret::from_bytes(secret), born: now }, before: None }
    }

    /// The cookie for a source. `fresh` is asked for 32 random bytes when the secret is [`COOKIE_LIFE`] old.
    pub(crate) fn make(
        &mut self,
        source: &Source,
        now: Instant,
        fresh: impl FnOnce() -> [u8; 32],
    ) -> [u8; MAC_LEN] {
        if now.since(self.current.born) >= COOKIE_LIFE {
            let new = Self::new(fresh(), now);
            let old = core::mem::replace(self, new);
            self.before = Some(old.current);
        }
        self.current.cookie(source)
    }

    /// Whether `mac2` over `bytes` was made with a cookie of this source that is still taken.
    pub(crate) fn accept(&self, source: &Source, now: Instant, bytes: &[u8], mac2: &[u8; MAC_LEN]) -> bool {
        let generations = core::iter::once(&self.current).chain(&self.before);
        generations.filter(|one| one.is_taken(now)).any(|one| is_mac(&one.cookie(source), bytes, mac2))
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::testing::array;

    const NOON: Instant = Instant::from_micros(1 << 40);
    const SOURCE: Source = Source([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);

    fn after(seconds: u64) -> Instant {
        NOON + Duration::from_secs(seconds)
    }

    // By Python's `hashlib.blake2s`.
    #[test]
    fn keys_and_macs_are_those_that_another_implementation_computes() {
        let public: [u8; 32] = core::array::from_fn(|place| 100 + u8::try_from(place).unwrap());
        let keys = MacKeys::new(&PublicKey::from_bytes(public));
        assert_eq!(keys.mac1, array("d232730bb40a9e8cbbea12fb6511a22b452763f059c69444ad5ce100eb750735"));
        assert_eq!(keys.cookie, array("7194fc3026d7db6741de120ab0fbf31f4e87849ab0603adf7992c59076c4d07e"));
        assert_eq!(mac(&keys.mac1, b"sealed mode"), array("4433696a97c6dc08a63571e5636c9f79"));

        let secret = array("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
        let cookie = Cookies::new(secret, NOON).make(&SOURCE, NOON, || unreachable!());
        assert_eq!(cookie, array("bc26f48421dd99fd45e15e736d3e7dac"));
        assert_eq!(mac(&cookie, b"sealed mode"), array("950cca2f4d3cdbf45d6bf786796895bd"));
    }

    #[test]
    fn a_mac_with_any_bit_flipped_is_none() {
        let good = mac(&[7; 32], b"text");
        assert!(is_mac(&[7; 32], b"text", &good));
        for bit in 0..128 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_mac(&[7; 32], b"text", &bad), "bit {bit}");
        }
    }

    #[test]
    fn a_cookie_is_worth_nothing_from_another_address_port_or_socket() {
        let mut cookies = Cookies::new([1; 32], NOON);
        let cookie = cookies.make(&SOURCE, NOON, || unreachable!());
        let mac2 = mac(&cookie, b"text");
        assert!(cookies.accept(&SOURCE, NOON, b"text", &mac2));
        assert!(!cookies.accept(&SOURCE, NOON, b"Text", &mac2));
        for place in 0..20 {
            let mut other = SOURCE;
            other.0[place] ^= 1;
            assert!(!cookies.accept(&other, NOON, b"text", &mac2), "byte {place}");
        }
    }

    #[test]
    fn a_secret_makes_cookies_for_120_s_and_they_are_taken_for_120_s_more() {
        let mut cookies = Cookies::new([1; 32], NOON);
        let early = mac(&cookies.make(&SOURCE, NOON, || unreachable!()), b"text");
        let late = mac(&cookies.make(&SOURCE, after(119), || unreachable!()), b"text");
        assert_eq!(early, late);
        let next = mac(&cookies.make(&SOURCE, after(120), || [2; 32]), b"text");
        assert_ne!(next, late);
        assert!(cookies.accept(&SOURCE, after(239), b"text", &late));
        assert!(!cookies.accept(&SOURCE, after(240), b"text", &late));
        assert!(cookies.accept(&SOURCE, after(240), b"text", &next));
        cookies.make(&SOURCE, after(240), || [3; 32]);
        assert!(cookies.accept(&SOURCE, after(359), b"text", &next));
        assert!(!cookies.accept(&SOURCE, after(359), b"text", &late));
    }

    #[test]
    fn after_a_long_silence_no_old_cookie_is_taken() {
        let mut cookies = Cookies::new([1; 32], NOON);
        let old = mac(&cookies.make(&SOURCE, NOON, || unreachable!()), b"text");
        assert!(!cookies.accept(&SOURCE, after(10_000), b"text", &old), "nobody asked for one since");
        cookies.make(&SOURCE, after(10_000), || [2; 32]);
        assert!(!cookies.accept(&SOURCE, after(10_000), b"text", &old));
    }

    #[test]
    fn a_mac2_of_zeros_is_never_taken() {
        assert!(!Cookies::new([1; 32], NOON).accept(&SOURCE, NOON, b"text", &[0; MAC_LEN]));
    }
}
