//! The tunnel's security: sealed by keys. `clear.rs` is the same without.

use embassy_net::udp::UdpSocket;
use mpt_proto::adapt::embassy::Runner;
use mpt_proto::{Instant, PathId};
use mpt_seal::embassy::{Keys, SealedSocket, TunnelEvent};
use mpt_seal::{
    Entropy, Event, INDEX_SLOTS_PER_PEER, IndexSlot, PeerKeys, PeerSlot, Portable, PortableKey, PresharedKey, PrivateKey, PublicKey,
    RecentSlot, Sealer, Storage, WINDOW_WORDS_MIN,
};
