//! The tunnel's security: sealed by keys. `clear.rs` has the same names and seals nothing.

use mpt_proto::adapt::embassy::Runner;
use mpt_proto::{Instant, PathId};
use mpt_seal::embassy::{Keys, SealedSocket, TunnelEvent};
use mpt_seal::{
    Entropy, Event, INDEX_SLOTS_PER_PEER, IndexSlot, PeerKeys, PeerSlot, Portable, PortableKey, PresharedKey,
    PrivateKey, PublicKey, RecentSlot, Sealer, Storage, WINDOW_WORDS_MIN,
};
use static_cell::{ConstStaticCell, StaticCell};

use crate::socket::PathSocket;
use crate::{WIRE, entropy};

/// Our private key: that of Alice in RFC 7748 section 6.1, which everybody knows. Each device of a product has one of its own.
const PRIVATE: [u8; 32] = [
    0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45, 0xdf,
    0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a,
];
/// The peer's public key: Bob's there. `mpt pubkey` prints it, in base64.
const PEER: [u8; 32] = [
    0xde, 0x9e, 0xdb, 0x7d, 0x7b, 0x7d, 0xc1, 0xb4, 0xd3, 0x5b, 0x61, 0xc2, 0xec, 0xe4, 0x35, 0x37, 0x3f,
    0x83, 0x43, 0xc8, 0x5b, 0x78, 0x67, 0x4d, 0xad, 0xfc, 0x7e, 0x14, 0x6f, 0x88, 0x2b, 0x4f,
];

/// Bytes that each datagram has more on the wire.
pub const OVERHEAD: usize = mpt_seal::OVERHEAD;
/// What carries one path.
pub type Link = SealedSocket<'static, 'static, PathSocket, Portable, Host>;

/// Randomness for keys.
pub struct Host;

impl Entropy for Host {
    fn fill(&mut self, bytes: &mut [u8]) {
        entropy::fill(bytes);
    }
}

/// The keys.
#[derive(Clone, Copy)]
pub struct Security(&'static Keys<'static, Portable, Host>);

impl Security {
    /// For a tunnel to one peer.
    pub fn new(now: Instant) -> Self {
        static PEERS: StaticCell<[PeerSlot<PortableKey>; 1]> = StaticCell::new();
        static ORDER: ConstStaticCell<[u16; 1]> = ConstStaticCell::new([0]);
        static INDEX: StaticCell<[IndexSlot; INDEX_SLOTS_PER_PEER]> = StaticCell::new();
        static WINDOWS: ConstStaticCell<[u64; WINDOW_WORDS_MIN]> =
            ConstStaticCell::new([0; WINDOW_WORDS_MIN]);
        static RECENT: StaticCell<[RecentSlot; 1]> = StaticCell::new();
        static DATAGRAM: ConstStaticCell<[u8; WIRE as usize]> = ConstStaticCell::new([0; WIRE as usize]);
        static KEYS: StaticCell<Keys<'static, Portable, Host>> = StaticCell::new();
        let storage = Storage {
            peers: PEERS.init_with(Default::default),
            order: ORDER.take(),
            index: INDEX.init_with(Default::default),
            windows: WINDOWS.take(),
            sources: &mut [],
            recent: RECENT.init_with(Default::default),
        };
        let mut instance = [0; 4];
        entropy::fill(&mut instance);
        let (key, instance) = (PrivateKey::from_bytes(PRIVATE), u32::from_le_bytes(instance));
        let peer = PeerKeys { public: PublicKey::from_bytes(PEER), preshared: PresharedKey::NONE };
        let mut sealer = Sealer::new(key, instance, Portable, Host, storage, now);
        sealer.limit_handshakes(2);
        Self(KEYS.init(defmt::unwrap!(Keys::new(sealer, peer, DATAGRAM.take()).ok())))
    }

    /// A path's socket with keys.
    pub fn wrap(self, socket: PathSocket, path: PathId) -> Link {
        SealedSocket::new(socket, self.0, path, WIRE)
    }

    /// Carries packets until something happens, and logs it.
    pub async fn run<const MTU: usize>(self, runner: &mut Runner<'_, '_, Link, MTU>) {
        match self.0.next_event(runner).await {
            TunnelEvent::Connection(event) => defmt::info!("{}", event),
            TunnelEvent::Keys(Event::Session { restarted: false, .. }) => {
                defmt::info!("keys: new ones are in use")
            }
            TunnelEvent::Keys(Event::Session { .. }) => defmt::info!("keys: of another process of the peer"),
            TunnelEvent::Keys(Event::Silent { .. }) => defmt::info!("keys: the peer is silent, and asked"),
            TunnelEvent::Keys(_) => defmt::info!("keys: too old, until the peer answers"),
        }
    }

    /// Logs what the keys went through.
    pub fn log(self) {
        let stats = self.0.stats();
        for reason in mpt_seal::Reason::ALL.into_iter().filter(|reason| stats.refused(*reason) > 0) {
            defmt::info!("{}: {}", reason.name(), stats.refused(reason));
        }
        let handshakes = self.0.status().map_or(0, |status| status.handshakes);
        defmt::info!("keys: handshakes {}, not sealed {}", handshakes, stats.not_sealed);
    }
}
