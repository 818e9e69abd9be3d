//! The four handshake datagrams, byte by byte; they are drawn in `docs/wire.md`.
//!
//! ```text
//! initiation, 160 bytes                     response, 92 bytes
//!   0  4  GRE 0x200088B5                      0  4  GRE 0x200088B5
//!   4  4  key 0                               4  4  key = initiator's index << 4
//!   8  4  0x21000000                          8  4  0x22000000
//!  12  4  sender index << 4                  12 32  ephemeral
//!  16 32  ephemeral                          44 32  payload, encrypted 16 + 16
//!  48 48  static, encrypted 32 + 16          76 16  mac1 over 0..76
//!  96 32  payload, encrypted 16 + 16
//! 128 16  mac1 over 0..128                  cookie reply, 68: header 12, nonce 24, cookie 16 + 16
//! 144 16  mac2 over 0..144, or zero         stale reply, 60: header 12, nonce 24, time 8 + 16
//! ```
//!
//! An index is a number of 28 bits that is not 0, in a `u32`; on the wire it stands in the upper bits of a word.

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use mpt_proto::Instant;

use crate::cipher::{Offer, Suite, TAG_LEN};
use crate::hash::MAC_LEN;
use crate::keys::{KEY_LEN, PresharedKey, PrivateKey, PublicKey};
use crate::mac::{Cookies, MacKeys, Source, is_mac, mac};
use crate::noise::{Claim, Ephemerals, FIRST_LEN, Initiator, Refused, Responder, SECOND_LEN, Secrets};

/// Bytes of an initiation. Nothing that answers it is longer.
pub(crate) const INITIATION_LEN: usize = 160;
/// Bytes of a response.
pub(crate) const RESPONSE_LEN: usize = 92;
/// Bytes of a cookie reply.
pub(crate) const COOKIE_REPLY_LEN: usize = 68;
/// Bytes of a stale reply.
pub(crate) const STALE_REPLY_LEN: usize = 60;
/// Bytes of the random nonce of a cookie reply and of a stale reply.
pub(crate) const NONCE_LEN: usize = 24;
/// Bytes of a time.
const TIME_LEN: usize = 8;

/// The kinds of handshake datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Begins a handshake.
    Initiation,
    /// Completes it.
    Response,
    /// "Send it again, with mac2 by this cookie": the responder has much to do.
    CookieReply,
    /// "Send a later time than this": the initiation could be a copy of an old one.
    StaleReply,
}

/// What [`kind_of`] reads, and every datagram begins with: GRE with a key (RFC 2890), EtherType 0x88B5.
const GRE: [u8; 4] = [0x20, 0x00, 0x88, 0xb5];
/// Sealed version 2: the first nibble behind GRE header and key. A control message of version 1 has 1 there.
const VERSION: u8 = 2;
/// Bytes of GRE header, key and the word that says version and kind.
const HEADER_LEN: usize = 12;
/// Bytes of either payload.
const PAYLOAD_LEN: usize = 16;
/// Offset of the noise message in an initiation. What is before it goes into the prologue.
const NOISE_AT: usize = 16;
/// Offset of mac1 in an initiation.
const MAC1_AT: usize = 128;
/// Offset of mac2 in an initiation.
const MAC2_AT: usize = 144;
/// Offset of mac1 in a response.
const RESPONSE_MAC1_AT: usize = 76;
/// What a prologue begins with, so that the keys of another protocol are of no use here.
const PROLOGUE: &[u8] = b"mpt sealed 2";
/// What the key of a response's mac1 is derived by. That of an initiation is the responder's public key's, as nothing else is common yet;
/// for a response there is more: nobody can forge its mac1, or try whose public key it was made with.
const RESPONSE_LABEL: &[u8] = b"mpt response";
/// What the key of a stale reply is derived by.
const STALE_LABEL: &[u8] = b"mpt stale";

// The offsets are those that the lengths of the parts give.
const _: () = assert!(MAC1_AT == NOISE_AT + FIRST_LEN + PAYLOAD_LEN && MAC2_AT == MAC1_AT + MAC_LEN);
const _: () = assert!(INITIATION_LEN == MAC2_AT + MAC_LEN);
const _: () = assert!(RESPONSE_MAC1_AT == HEADER_LEN + SECOND_LEN + PAYLOAD_LEN);
const _: () = assert!(RESPONSE_LEN == RESPONSE_MAC1_AT + MAC_LEN);
const _: () = assert!(COOKIE_REPLY_LEN == HEADER_LEN + NONCE_LEN + MAC_LEN + TAG_LEN);
const _: () = assert!(STALE_REPLY_LEN == HEADER_LEN + NONCE_LEN + TIME_LEN + TAG_LEN);
// Every answer is smaller than what it answers.
const _: () = assert!(
    RESPONSE_LEN < INITIATION_LEN && COOKIE_REPLY_LEN < INITIATION_LEN && STALE_REPLY_LEN < INITIATION_LEN
);

impl Kind {
    const ALL: [Self; 4] = [Self::Initiation, Self::Response, Self::CookieReply, Self::StaleReply];

    /// Bytes of such a datagram.
    pub(crate) const fn len(self) -> usize {
        match self {
            Self::Initiation => INITIATION_LEN,
            Self::Response => RESPONSE_LEN,
            Self::CookieReply => COOKIE_REPLY_LEN,
            Self::StaleReply => STALE_REPLY_LEN,
        }
    }

    /// The word behind GRE header and key.
    const fn word(self) -> [u8; 4] {
        let number = match self {
            Self::Initiation => 1,
            Self::Response => 2,
            Self::CookieReply => 3,
            Self::StaleReply => 4,
        };
        [VERSION << 4 | number, 0, 0, 0]
    }

    /// The key of a datagram of this kind, if its length and words are those of the kind.
    fn key_in(self, datagram: &[u8]) -> Option<[u8; 4]> {
        let (gre, rest) = datagram.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_first_chunk::<4>()?;
        (datagram.len() == self.len() && *gre == GRE && rest.starts_with(&self.word())).then_some(*key)
    }

    /// The header of a datagram of this kind.
    fn put_header(self, datagram: &mut [u8], key: [u8; 4]) {
        put(datagram, 0, GRE);
        put(datagram, 4, key);
        put(datagram, 8, self.word());
    }
}

/// The kind of a datagram, by its exact length and its words; `None` if it is no handshake datagram. Whether its key and
/// the rest can be is for `parse` of that kind to say.
pub(crate) fn kind_of(datagram: &[u8]) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.key_in(datagram).is_some())
}

/// The word in which an index travels.
const fn word_of(index: u32) -> [u8; 4] {
    (index << 4).to_be_bytes()
}

/// The index in a word, if it can be one: not 0, and nothing in the lowest four bits.
fn index_in(word: [u8; 4]) -> Option<u32> {
    let word = u32::from_be_bytes(word);
    (word != 0 && word & 0x0f == 0).then_some(word >> 4)
}

/// Copies `value` to `offset`; does nothing where there is no room.
fn put<const N: usize>(bytes: &mut [u8], offset: usize, value: [u8; N]) {
    let place = bytes.get_mut(offset..).and_then(<[u8]>::first_chunk_mut);
    if let Some(place) = place {
        *place = value;
    }
}

/// This end's key and what is derived from it. Erased when dropped.
pub(crate) struct Identity {
    private: PrivateKey,
    ephemerals: Ephemerals,
    macs: MacKeys,
}

impl Identity {
    /// The end that has this key.
    pub(crate) fn new(private: PrivateKey) -> Self {
        let (ephemerals, macs) = (Ephemerals::new(&private), MacKeys::new(&private.public()));
        Self { private, ephemerals, macs }
    }
}

/// The payload of an initiation: what the initiator can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proposal {
    /// Microseconds since 1970, or any larger number: of one initiator's, only later ones are taken.
    pub(crate) time: u64,
    /// The lowest data form that the initiator speaks.
    pub(crate) lowest_form: u8,
    /// The highest data form that the initiator speaks.
    pub(crate) highest_form: u8,
    /// The ciphers that the initiator has.
    pub(crate) ciphers: Offer,
    /// The random number of the initiator's process, as in control messages.
    pub(crate) instance: u32,
}

impl Proposal {
    fn allows(&self, choice: &Choice) -> bool {
        (self.lowest_form..=self.highest_form).contains(&choice.form) && self.ciphers.contains(choice.cipher)
    }

    fn emit(&self) -> [u8; PAYLOAD_LEN] {
        let mut bytes = [0; PAYLOAD_LEN];
        put(&mut bytes, 0, self.time.to_be_bytes());
        put(&mut bytes, 8, [self.lowest_form, self.highest_form, self.ciphers.bits()]);
        put(&mut bytes, 12, self.instance.to_be_bytes());
        bytes
    }

    /// Byte 11 is for later versions.
    fn parse(bytes: [u8; PAYLOAD_LEN]) -> Self {
        let [t0, t1, t2, t3, t4, t5, t6, t7, lowest_form, highest_form, ciphers, _, i0, i1, i2, i3] = bytes;
        Self {
            time: u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            lowest_form,
            highest_form,
            ciphers: Offer::from_bits(ciphers),
            instance: u32::from_be_bytes([i0, i1, i2, i3]),
        }
    }
}

/// The payload of a response: what the responder chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The responder's index of the new epoch.
    pub(crate) index: u32,
    /// The data form of the new epoch.
    pub(crate) form: u8,
    /// The cipher of the new epoch.
    pub(crate) cipher: Suite,
    /// The random number of the responder's process, as in control messages.
    pub(crate) instance: u32,
}

impl Choice {
    fn emit(&self) -> [u8; PAYLOAD_LEN] {
        let mut bytes = [0; PAYLOAD_LEN];
        put(&mut bytes, 0, word_of(self.index));
        put(&mut bytes, 4, [self.form, self.cipher.wire()]);
        put(&mut bytes, 8, self.instance.to_be_bytes());
        bytes
    }

    /// `None` for an index that cannot be and a cipher that this version does not know. Bytes 6, 7 and 12 to 15 are for later
    /// versions.
    fn parse(bytes: [u8; PAYLOAD_LEN]) -> Option<Self> {
        let [x0, x1, x2, x3, form, cipher, _, _, i0, i1, i2, i3, ..] = bytes;
        Some(Self {
            index: index_in([x0, x1, x2, x3])?,
            form,
            cipher: Suite::from_wire(cipher)?,
            instance: u32::from_be_bytes([i0, i1, i2, i3]),
        })
    }
}

/// Begins a handshake with the owner of `remote`. `sender` is this end's index for the answer, `entropy` is random and used
/// once. The initiation has no mac2 yet, see [`set_mac2`].
pub(crate) fn write_initiation(
    local: &mut Identity,
    remote: &PublicKey,
    sender: u32,
    proposal: &Proposal,
    entropy: &[u8; 32],
) -> Result<(Initiator, [u8; INITIATION_LEN]), Refused> {
    let payload = proposal.emit();
    let mut datagram = [0; INITIATION_LEN];
    Kind::Initiation.put_header(&mut datagram, [0; 4]);
    put(&mut datagram, HEADER_LEN, word_of(sender));
    let (head, rest) = datagram.split_at_mut(NOISE_AT);
    let (message, _) = rest.split_at_mut(MAC1_AT - NOISE_AT);
    let ephemeral = local.ephemerals.next(entropy, &[head, remote.as_bytes(), &payload]);
    let prologue: [&[u8]; 2] = [PROLOGUE, head];
    let initiator = Initiator::start(&prologue, &local.private, remote, ephemeral, &payload, message)?;
    let mac1 = mac(&MacKeys::new(remote).mac1, &datagram[..MAC1_AT]);
    put(&mut datagram, MAC1_AT, mac1);
    Ok((initiator, datagram))
}

/// Writes the mac2 of an initiation by a cookie, or zeros without one. Nothing else of the initiation changes.
pub(crate) fn set_mac2(initiation: &mut [u8; INITIATION_LEN], cookie: Option<&[u8; MAC_LEN]>) {
    let mac2 = cookie.map_or([0; MAC_LEN], |cookie| mac(cookie, &initiation[..MAC2_AT]));
    put(initiation, MAC2_AT, mac2);
}

/// An initiation of the right form. Nothing of it is authentic yet.
#[derive(Clone, Copy)]
pub(crate) struct Initiation<'d> {
    datagram: &'d [u8; INITIATION_LEN],
    sender: u32,
    mac1: &'d [u8; MAC_LEN],
    mac2: &'d [u8; MAC_LEN],
}

impl<'d> Initiation<'d> {
    /// An initiation by its form: length, words, key 0, and an index that can be.
    pub(crate) fn parse(datagram: &'d [u8]) -> Option<Self> {
        Kind::Initiation.key_in(datagram).filter(|key| *key == [0; 4])?;
        Some(Self {
            datagram: datagram.try_into().ok()?,
            sender: index_in(*datagram.get(HEADER_LEN..)?.first_chunk()?)?,
            mac1: datagram.get(MAC1_AT..)?.first_chunk()?,
            mac2: datagram.get(MAC2_AT..)?.first_chunk()?,
        })
    }

    /// The index that the initiator wants the answer for.
    pub(crate) const fn sender(&self) -> u32 {
        self.sender
    }

    /// Its mac1, by which copies of one initiation are known: only mac2 differs between them.
    pub(crate) const fn mac1(&self) -> &'d [u8; MAC_LEN] {
        self.mac1
    }

    /// Whether the sender knows the public key of `local`.
    pub(crate) fn has_mac1(&self, local: &Identity) -> bool {
        is_mac(&local.macs.mac1, &self.datagram[..MAC1_AT], self.mac1)
    }

    /// Whether the sender received a cookie at this source not long ago.
    pub(crate) fn has_mac2(&self, cookies: &Cookies, source: &Source, now: Instant) -> bool {
        cookies.accept(source, now, &self.datagram[..MAC2_AT], self.mac2)
    }

    /// Whom the sender says it is, with one DH.
    pub(crate) fn read_static(&self, local: &Identity) -> Result<Claim<'d>, Refused> {
        let prologue: [&[u8]; 2] = [PROLOGUE, &self.datagram[..NOISE_AT]];
        Claim::read(&prologue, &local.private, &self.datagram[NOISE_AT..MAC1_AT])
    }
}

/// Reads the payload of an initiation, with one DH more: the sender is who it says, or this is a copy of its initiation.
pub(crate) fn read_proposal(claim: Claim<'_>, local: &Identity) -> Result<(Responder, Proposal), Refused> {
    let mut payload = [0; PAYLOAD_LEN];
    let responder = claim.read_payload(&local.private, &mut payload)?;
    Ok((responder, Proposal::parse(payload)))
}

/// Answers an initiation. `receiver` is the initiator's index, `entropy` is random and used once.
pub(crate) fn write_response(
    responder: Responder,
    local: &mut Identity,
    preshared: &PresharedKey,
    receiver: u32,
    choice: &Choice,
    entropy: &[u8; 32],
) -> Result<(Secrets, [u8; RESPONSE_LEN]), Refused> {
    let payload = choice.emit();
    let mut datagram = [0; RESPONSE_LEN];
    Kind::Response.put_header(&mut datagram, word_of(receiver));
    let ephemeral = local.ephemerals.next(entropy, &[responder.hash(), &payload]);
    let key = responder.derive(RESPONSE_LABEL);
    let message = &mut datagram[HEADER_LEN..RESPONSE_MAC1_AT];
    let secrets = responder.answer(&ephemeral, preshared, &payload, message)?;
    let mac1 = mac(key.as_bytes(), &datagram[..RESPONSE_MAC1_AT]);
    put(&mut datagram, RESPONSE_MAC1_AT, mac1);
    Ok((secrets, datagram))
}

/// A response of the right form. Nothing of it is authentic yet.
#[derive(Clone, Copy)]
pub(crate) struct Response<'d> {
    datagram: &'d [u8; RESPONSE_LEN],
    receiver: u32,
    mac1: &'d [u8; MAC_LEN],
}

impl<'d> Response<'d> {
    /// A response by its form: length, words, and an index that can be.
    pub(crate) fn parse(datagram: &'d [u8]) -> Option<Self> {
        Some(Self {
            receiver: index_in(Kind::Response.key_in(datagram)?)?,
            datagram: datagram.try_into().ok()?,
            mac1: datagram.get(RESPONSE_MAC1_AT..)?.first_chunk()?,
        })
    }

    /// The index of the initiation that it answers.
    pub(crate) const fn receiver(&self) -> u32 {
        self.receiver
    }

    /// Whether the sender read our initiation: it is the responder.
    pub(crate) fn has_mac1(&self, initiator: &Initiator) -> bool {
        let key = initiator.derive(RESPONSE_LABEL);
        is_mac(key.as_bytes(), &self.datagram[..RESPONSE_MAC1_AT], self.mac1)
    }

    /// Completes the handshake, with two DHs. A response that is refused changes nothing. A choice that `proposal` did not
    /// offer is refused.
    pub(crate) fn finish(
        &self,
        initiator: &Initiator,
        local: &Identity,
        preshared: &PresharedKey,
        proposal: &Proposal,
    ) -> Result<(Secrets, Choice), Refused> {
        let mut payload = [0; PAYLOAD_LEN];
        let message = &self.datagram[HEADER_LEN..RESPONSE_MAC1_AT];
        let secrets = initiator.finish(&local.private, preshared, message, &mut payload)?;
        let choice = Choice::parse(payload).filter(|choice| proposal.allows(choice));
        Ok((secrets, choice.ok_or(Refused::Payload)?))
    }
}

/// Answers an initiation, whose index and mac1 are given, with the cookie for its source. `nonce` is random.
pub(crate) fn write_cookie_reply(
    local: &Identity,
    receiver: u32,
    mac1: &[u8; MAC_LEN],
    cookie: &[u8; MAC_LEN],
    nonce: &[u8; NONCE_LEN],
) -> [u8; COOKIE_REPLY_LEN] {
    let mut datagram = [0; COOKIE_REPLY_LEN];
    Kind::CookieReply.put_header(&mut datagram, word_of(receiver));
    put_sealed(&mut datagram, &local.macs.cookie, nonce, mac1, cookie);
    datagram
}

/// A cookie reply of the right form. Nothing of it is authentic yet.
#[derive(Clone, Copy)]
pub(crate) struct CookieReply<'d> {
    datagram: &'d [u8; COOKIE_REPLY_LEN],
    receiver: u32,
}

impl<'d> CookieReply<'d> {
    /// A cookie reply by its form: length, words, and an index that can be.
    pub(crate) fn parse(datagram: &'d [u8]) -> Option<Self> {
        let receiver = index_in(Kind::CookieReply.key_in(datagram)?)?;
        Some(Self { datagram: datagram.try_into().ok()?, receiver })
    }

    /// The index of the initiation that it answers.
    pub(crate) const fn receiver(&self) -> u32 {
        self.receiver
    }

    /// The cookie, if the reply comes from who saw `initiation` and knows the public key `remote` that it is for.
    pub(crate) fn open(
        &self,
        remote: &PublicKey,
        initiation: &[u8; INITIATION_LEN],
    ) -> Option<[u8; MAC_LEN]> {
        open_sealed(self.datagram, &MacKeys::new(remote).cookie, &initiation[MAC1_AT..MAC2_AT])
    }
}

/// Answers an initiation whose time is not later than `newest`, the latest of its sender's. `receiver` is the initiator's
/// index, `nonce` is random.
pub(crate) fn write_stale_reply(
    responder: &Responder,
    receiver: u32,
    newest: u64,
    nonce: &[u8; NONCE_LEN],
) -> [u8; STALE_REPLY_LEN] {
    let mut datagram = [0; STALE_REPLY_LEN];
    Kind::StaleReply.put_header(&mut datagram, word_of(receiver));
    let key = responder.derive(STALE_LABEL);
    put_sealed(&mut datagram, key.as_bytes(), nonce, responder.hash(), &newest.to_be_bytes());
    datagram
}

/// A stale reply of the right form. Nothing of it is authentic yet.
#[derive(Clone, Copy)]
pub(crate) struct StaleReply<'d> {
    datagram: &'d [u8; STALE_REPLY_LEN],
    receiver: u32,
}

impl<'d> StaleReply<'d> {
    /// A stale reply by its form: length, words, and an index that can be.
    pub(crate) fn parse(datagram: &'d [u8]) -> Option<Self> {
        let receiver = index_in(Kind::StaleReply.key_in(datagram)?)?;
        Some(Self { datagram: datagram.try_into().ok()?, receiver })
    }

    /// The index of the initiation that it answers.
    pub(crate) const fn receiver(&self) -> u32 {
        self.receiver
    }

    /// The newest time that the responder knows, if the reply is by who could read the initiation.
    pub(crate) fn open(&self, initiator: &Initiator) -> Option<u64> {
        let key = initiator.derive(STALE_LABEL);
        open_sealed(self.datagram, key.as_bytes(), initiator.hash()).map(u64::from_be_bytes)
    }
}

/// Writes what follows the header of a cookie reply or a stale reply: nonce, text encrypted, tag (XChaCha20-Poly1305,
/// draft-irtf-cfrg-xchacha-03).
fn put_sealed<const N: usize>(
    datagram: &mut [u8],
    key: &[u8; KEY_LEN],
    nonce: &[u8; NONCE_LEN],
    associated: &[u8],
    text: &[u8; N],
) {
    let mut text = *text;
    let cipher = XChaCha20Poly1305::new(key.into());
    // It fails for texts of 256 GiB. What is not encrypted must not leave.
    if let Ok(tag) = cipher.encrypt_inout_detached(nonce.into(), associated, text.as_mut_slice().into()) {
        put(datagram, HEADER_LEN, *nonce);
        put(datagram, HEADER_LEN + NONCE_LEN, text);
        put::<TAG_LEN>(datagram, HEADER_LEN + NONCE_LEN + N, tag.into());
    }
}

/// Reads what [`put_sealed`] wrote, if it is authentic.
fn open_sealed<const N: usize>(datagram: &[u8], key: &[u8; KEY_LEN], associated: &[u8]) -> Option<[u8; N]> {
    let (nonce, rest) = datagram.get(HEADER_LEN..)?.split_first_chunk::<NONCE_LEN>()?;
    let (text, rest) = rest.split_first_chunk::<N>()?;
    let (tag, _) = rest.split_first_chunk::<TAG_LEN>()?;
    let mut text = *text;
    let cipher = XChaCha20Poly1305::new(key.into());
    let opened =
        cipher.decrypt_inout_detached(nonce.into(), associated, text.as_mut_slice().into(), tag.into());
    opened.ok().map(|()| text)
}

#[cfg(test)]
mod tests;
