//! Sealed mode of the multipath tunnel: a layer below `mpt_proto::Connection` that encrypts its datagrams.
//!
//! Two ends know each other by X25519 keys. A handshake of two datagrams, `Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s`,
//! gives them the keys of an epoch; every datagram of the tunnel then travels sealed by these keys. The
//! datagrams are drawn in `docs/wire.md`.
//!
//! No `std`, no `alloc`, no `unsafe`, no panic whatever bytes arrive; entropy and time come from the caller.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod budget;
mod cipher;
mod datagram;
#[cfg(feature = "embassy")]
pub mod embassy;
mod epoch;
mod hash;
mod index;
mod keys;
mod limits;
mod mac;
mod message;
mod noise;
mod peer;
mod reason;
mod sealer;
#[cfg(test)]
mod testing;
mod window;

pub use budget::SourceSlot;
pub use cipher::{Cipher, Ciphers, NONCE_LEN, Offer, Portable, PortableKey, Suite, TAG_LEN};
pub use datagram::OVERHEAD;
pub use index::{INDEX_SLOTS_PER_PEER, IndexSlot};
pub use keys::{KEY_LEN, PeerKeys, PresharedKey, PrivateKey, PublicKey};
pub use mac::Source;
pub use reason::Reason;
#[cfg(any(feature = "alloc", test))]
pub use sealer::Memory;
pub use sealer::{
    AddPeerError, Entropy, Event, NotSealed, Opened, PeerId, PeerSlot, PeerStatus, RecentSlot, Sealer, Stats,
    Storage, WINDOW_WORDS_MIN,
};

/// Whether a datagram begins a handshake, by its form: for an end without keys, which can only tell people of it.
pub fn is_initiation(datagram: &[u8]) -> bool {
    message::kind_of(datagram) == Some(message::Kind::Initiation)
}

/// Bytes of the longest handshake datagram.
pub const LONGEST_HANDSHAKE: usize = message::INITIATION_LEN;
