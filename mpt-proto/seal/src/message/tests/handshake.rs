//! Alice and Bob, what they say, and what is made of it on the way.

use super::*;

pub(super) const NOON: Instant = Instant::from_micros(1 << 40);
pub(super) const SOURCE: Source = Source([4; 20]);
pub(super) const HERE: u32 = 0x0123_4567;
pub(super) const THERE: u32 = 0x0fed_cba9;
pub(super) const PRESHARED: PresharedKey = PresharedKey::from_bytes([5; KEY_LEN]);
pub(super) const COOKIE: [u8; MAC_LEN] = [6; MAC_LEN];
pub(super) const NEWEST: u64 = 1_767_225_600_000_001;

pub(super) const PROPOSAL: Proposal = Proposal {
    time: 1_767_225_600_000_000,
    lowest_form: 1,
    highest_form: 1,
    ciphers: Offer::CHACHA.with(Suite::Aes256Gcm),
    instance: 0xdead_beef,
};
pub(super) const CHOICE: Choice =
    Choice { index: THERE, form: 1, cipher: Suite::Aes256Gcm, instance: 0x0102_0304 };

impl Identity {
    pub(super) fn public(&self) -> PublicKey {
        self.private.public()
    }
}

/// The keys of RFC 7748 section 6.1: the initiator is Alice, the responder Bob.
pub(super) fn alice() -> Identity {
    let key = array("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    Identity::new(PrivateKey::from_bytes(key))
}

pub(super) fn bob() -> Identity {
    let key = array("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    Identity::new(PrivateKey::from_bytes(key))
}

/// A nonce that is easy to find in a record.
pub(super) fn nonce() -> [u8; NONCE_LEN] {
    array("404142434445464748494a4b4c4d4e4f5051525354555657")
}

pub(super) fn initiate() -> (Initiator, [u8; INITIATION_LEN]) {
    write_initiation(&mut alice(), &bob().public(), HERE, &PROPOSAL, &[1; 32]).ok().unwrap()
}

pub(super) fn respond(initiation: &[u8], choice: &Choice) -> (Secrets, [u8; RESPONSE_LEN]) {
    let (responder, _) = accept_initiation(initiation).unwrap();
    write_response(responder, &mut bob(), &PRESHARED, HERE, choice, &[2; 32]).ok().unwrap()
}

/// All that Bob checks of an initiation before he looks at the time in it.
pub(super) fn accept_initiation(datagram: &[u8]) -> Option<(Responder, Proposal)> {
    let initiation = Initiation::parse(datagram).filter(|initiation| initiation.has_mac1(&bob()))?;
    let claim = initiation.read_static(&bob()).ok()?;
    if *claim.public() != alice().public() {
        return None;
    }
    read_proposal(claim, &bob()).ok()
}

/// All that Alice checks of a response.
pub(super) fn accept_response(datagram: &[u8], initiator: &Initiator) -> Option<(Secrets, Choice)> {
    let response = Response::parse(datagram).filter(|response| response.has_mac1(initiator))?;
    if response.receiver() != HERE {
        return None;
    }
    response.finish(initiator, &alice(), &PRESHARED, &PROPOSAL).ok()
}

pub(super) fn accept_cookie(datagram: &[u8], initiation: &[u8; INITIATION_LEN]) -> Option<[u8; MAC_LEN]> {
    let reply = CookieReply::parse(datagram).filter(|reply| reply.receiver() == HERE)?;
    reply.open(&bob().public(), initiation)
}

pub(super) fn accept_stale(datagram: &[u8], initiator: &Initiator) -> Option<u64> {
    StaleReply::parse(datagram).filter(|reply| reply.receiver() == HERE)?.open(initiator)
}

/// The four datagrams of one meeting, with what reads them.
pub(super) struct Record {
    pub(super) initiator: Initiator,
    pub(super) initiation: [u8; INITIATION_LEN],
    pub(super) response: [u8; RESPONSE_LEN],
    pub(super) cookie_reply: [u8; COOKIE_REPLY_LEN],
    pub(super) stale_reply: [u8; STALE_REPLY_LEN],
}

impl Record {
    pub(super) fn new() -> Self {
        let (initiator, mut initiation) = initiate();
        set_mac2(&mut initiation, Some(&COOKIE));
        let mac1 = *Initiation::parse(&initiation).unwrap().mac1();
        let (responder, _) = accept_initiation(&initiation).unwrap();
        Self {
            initiator,
            response: respond(&initiation, &CHOICE).1,
            cookie_reply: write_cookie_reply(&bob(), HERE, &mac1, &COOKIE, &nonce()),
            stale_reply: write_stale_reply(&responder, HERE, NEWEST, &nonce()),
            initiation,
        }
    }

    pub(super) fn all(&self) -> [&[u8]; 4] {
        [&self.initiation, &self.response, &self.cookie_reply, &self.stale_reply]
    }
}

/// The initiation with its mac1 computed again, by who knows the public key of its receiver.
pub(super) fn with_mac1(mut datagram: [u8; INITIATION_LEN], receiver: &PublicKey) -> [u8; INITIATION_LEN] {
    let mac1 = mac(&MacKeys::new(receiver).mac1, &datagram[..MAC1_AT]);
    put(&mut datagram, MAC1_AT, mac1);
    datagram
}

/// The response with its mac1 computed again, by who read the initiation.
pub(super) fn with_response_mac1(
    mut datagram: [u8; RESPONSE_LEN],
    initiator: &Initiator,
) -> [u8; RESPONSE_LEN] {
    let mac1 = mac(initiator.derive(RESPONSE_LABEL).as_bytes(), &datagram[..RESPONSE_MAC1_AT]);
    put(&mut datagram, RESPONSE_MAC1_AT, mac1);
    datagram
}

/// The datagram with one bit flipped, for each of its bits.
pub(super) fn flipped<const N: usize>(datagram: [u8; N]) -> impl Iterator<Item = (usize, [u8; N])> {
    (0..8 * N).step_by(times(1, 61)).map(move |bit| {
        let mut other = datagram;
        other[bit / 8] ^= 0x80 >> (bit % 8);
        (bit, other)
    })
}

/// An initiation with any 16 bytes in the place of the proposal.
pub(super) fn initiation_that_says(payload: [u8; PAYLOAD_LEN]) -> [u8; INITIATION_LEN] {
    let (_, mut datagram) = initiate();
    let (head, rest) = datagram.split_at_mut(NOISE_AT);
    let prologue: [&[u8]; 2] = [PROLOGUE, head];
    let (alice, bob, ephemeral) = (alice().private, bob().public(), PrivateKey::from_bytes([8; 32]));
    Initiator::start(&prologue, &alice, &bob, ephemeral, &payload, &mut rest[..112]).ok().unwrap();
    with_mac1(datagram, &bob)
}

/// A response with any 16 bytes in the place of the choice.
pub(super) fn response_that_says(
    initiator: &Initiator,
    initiation: &[u8],
    payload: [u8; PAYLOAD_LEN],
) -> [u8; RESPONSE_LEN] {
    let (responder, _) = accept_initiation(initiation).unwrap();
    let mut datagram = respond(initiation, &CHOICE).1;
    let ephemeral = PrivateKey::from_bytes([9; 32]);
    let message = &mut datagram[HEADER_LEN..RESPONSE_MAC1_AT];
    responder.answer(&ephemeral, &PRESHARED, &payload, message).ok().unwrap();
    with_response_mac1(datagram, initiator)
}
