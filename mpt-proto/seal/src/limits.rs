//! Limits and times of sealed mode: each with its unit and the reason for its value.

use core::time::Duration;

/// From the birth of an epoch until the end that began it begins the next: WireGuard's REKEY_AFTER_TIME (section 6.1).
pub(crate) const REKEY_AFTER: Duration = Duration::from_secs(120);
/// At most this much is added to [`REKEY_AFTER`] by chance, so that many peers of a server do not begin at once.
pub(crate) const REKEY_SPREAD: Duration = Duration::from_secs(5);
/// The same for the end that answered: it steps in when the other did not.
pub(crate) const REKEY_AFTER_ANSWERING: Duration = Duration::from_secs(150);
/// From the birth of an epoch until its keys are erased: WireGuard's REJECT_AFTER_TIME. Of datagrams forged at 10^7 a second until then
/// there are 2^31, below the integrity limits of both ciphers (2^36 and 2^52, RFC 9001 section B), so that no count of them ends a key.
/// At least 55 s after the next epoch began: longer than any path and reorder buffer delays.
pub(crate) const REJECT_AFTER: Duration = Duration::from_secs(180);
/// Bytes of one direction after which the next epoch is begun: AES-GCM with 2^34 blocks (2^38 bytes) has an advantage of 2^-61.
pub(crate) const REKEY_AFTER_BYTES: u64 = 1 << 37;
/// Bytes of one direction after which nothing is sent or taken in any more.
pub(crate) const REJECT_AFTER_BYTES: u64 = 1 << 38;
/// A counter of one path from which on the next epoch is begun.
pub(crate) const REKEY_AFTER_COUNT: u32 = 1 << 31;
/// A counter that is never used: a path that comes to it is spent until the next epoch.
pub(crate) const LAST_COUNT: u32 = u32::MAX;

/// Epochs of one peer at a time: one in use, one before it, and two of handshakes that crossed.
pub(crate) const EPOCHS: usize = 4;
/// Two epochs that are confirmed within this time of each other, begun by different ends, are handshakes that crossed.
pub(crate) const CROSSED_WITHIN: Duration = Duration::from_secs(5);

/// After an initiation until the same bytes leave again, at first; each time in vain doubles it. The same bytes, so that the answer over a
/// satellite, 600 ms later, is still one.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(250);
/// The longest time between two initiations while packets or probes want to leave: a peer that is back is found within a second.
pub(crate) const RETRY_AT_MOST: Duration = Duration::from_millis(800);
/// The same once a peer was not found for [`RETRY_FAST_FOR`]: it may be gone for good.
pub(crate) const RETRY_SLOWLY: Duration = Duration::from_secs(5);
/// See [`RETRY_SLOWLY`].
pub(crate) const RETRY_FAST_FOR: Duration = Duration::from_secs(60);
/// How long one ephemeral key is used: WireGuard's REKEY_TIMEOUT.
pub(crate) const EPHEMERAL_LIFE: Duration = Duration::from_secs(5);

/// Without anything authentic for this time and a round trip while datagrams leave, the peer is asked on all paths.
pub(crate) const SILENT: Duration = Duration::from_millis(100);
/// Without an answer to that for this time (or three round trips, if that is longer) the peer may have lost its keys: a handshake begins,
/// and the keys are kept.
pub(crate) const SILENT_AFTER_ASKING: Duration = Duration::from_millis(250);
/// The round trip that is assumed until one was measured.
pub(crate) const ASSUMED_RTT: Duration = Duration::from_millis(500);
/// The longest round trip that is believed: of a satellite, with a queue. Whoever delays one datagram by more would otherwise delay the
/// notice of a peer's restart for minutes.
pub(crate) const LONGEST_RTT: Duration = Duration::from_secs(1);

/// The shortest time between two initiations of one peer that are taken, WireGuard's 20 ms.
pub(crate) const INITIATIONS_APART: Duration = Duration::from_millis(20);
/// Initiations that cost a Diffie-Hellman, per second, if [`Sealer::limit_handshakes`](crate::Sealer::limit_handshakes) does not say
/// otherwise: at 0.2 ms each a fifth of a processor core. The limits below follow it. Those from the address of a peer's
/// path count apart from those of strangers, whose flood keeps none of them out. Nobody but the responder can have us compute for a
/// response.
pub(crate) const HANDSHAKES_PER_SECOND: u16 = 1000;
/// One of so many of these may be without a cookie. More mean load: for [`LOAD_LASTS`] only those with a cookie are taken.
pub(crate) const ONE_WITHOUT_COOKIE_OF: u16 = 4;
/// See [`ONE_WITHOUT_COOKIE_OF`].
pub(crate) const LOAD_LASTS: Duration = Duration::from_secs(1);
/// Initiations whose mac1 is looked at, for each that may cost a Diffie-Hellman: at half a microsecond to 200 a flood costs a
/// hundredth of a processor core. More are dropped unread.
pub(crate) const CHECKS_PER_HANDSHAKE: u32 = 20;
/// Initiations with a cookie that one host (an IPv4 address, or an IPv6 network of 64 bits) may have taken per second, and at once
/// (WireGuard's numbers).
pub(crate) const PER_SOURCE_PER_SECOND: u8 = 20;
/// See [`PER_SOURCE_PER_SECOND`].
pub(crate) const PER_SOURCE_AT_ONCE: u8 = 5;
/// How long the initiator may use a cookie: its issuer accepts it at least as long.
pub(crate) const COOKIE_LIFE: Duration = Duration::from_secs(120);
/// How long copies of an initiation that was answered get the same answer: longer than the life of an ephemeral key and the delay of any
/// path. Their number has no limit, as whoever repeats what it recorded would use it up before the copies of slower paths arrive; an
/// answer to a copy costs less than any refusal, and is shorter than the copy.
pub(crate) const COPIES_WITHIN: Duration = Duration::from_secs(10);
/// The shortest time between two stale replies of one peer after which a handshake begins again at once: one that always sends them
/// would make us compute a handshake each round trip.
pub(crate) const STALE_REPLIES_APART: Duration = Duration::from_secs(1);
