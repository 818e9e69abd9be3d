mod wireguard_go;

use super::*;
use crate::testing::{Random, array, bytes, small_order, times};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{BoxedCryptoResolver, CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random as SnowRandom};
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

/// One protocol of `vectors/cacophony.txt`.
struct Vector {
    prologue: Vec<u8>,
    preshared: PresharedKey,
    initiator: PrivateKey,
    responder: PrivateKey,
    ephemerals: [PrivateKey; 2],
    hash: [u8; 32],
    /// Payloads and ciphertexts.
    messages: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Vector {
    fn new(protocol: &str) -> Self {
        let all = include_str!("../../vectors/cacophony.txt");
        let section =
            all.split("\n\n").find(|text| text.contains(&std::format!("protocol {protocol}\n"))).unwrap();
        let values = |name: &str| -> Vec<&str> {
            section.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).collect()
        };
        let key = |name: &str| PrivateKey::from_bytes(array(values(name)[0]));
        let vector = Self {
            prologue: bytes(values("prologue")[0]),
            preshared: values("psk")
                .first()
                .map_or(PresharedKey::NONE, |hex| PresharedKey::from_bytes(array(hex))),
            initiator: key("init_static"),
            responder: key("resp_static"),
            ephemerals: [key("init_ephemeral"), key("resp_ephemeral")],
            hash: array(values("handshake_hash")[0]),
            messages: values("message")
                .iter()
                .map(|line| line.split_once(' ').unwrap())
                .map(|(payload, ciphertext)| (bytes(payload), bytes(ciphertext)))
                .collect(),
        };
        let public = vector.responder.public();
        assert_eq!(public.as_bytes(), &array(values("init_remote_static")[0]));
        assert_eq!(vector.messages.len(), 6);
        vector
    }

    /// The messages behind the handshake: the initiator's are first, and each end counts its own from 0.
    fn check_transport(&self, initiator: &Secrets, responder: &Secrets) {
        assert_eq!(initiator.send, responder.receive);
        assert_eq!(initiator.receive, responder.send);
        assert_eq!((initiator.hash, responder.hash), (self.hash, self.hash));
        for (number, (payload, ciphertext)) in (0u8..).zip(&self.messages[2..]) {
            let key = if number % 2 == 0 { initiator.send } else { initiator.receive };
            // Section 12.3: 32 bits of zeros, and the number with the lowest byte first.
            let mut nonce = [0; 12];
            nonce[4] = number / 2;
            let mut text = payload.clone();
            let cipher = ChaCha20Poly1305::new((&key).into());
            let tag =
                cipher.encrypt_inout_detached((&nonce).into(), &[], text.as_mut_slice().into()).unwrap();
            text.extend_from_slice(&tag);
            assert_eq!(&text, ciphertext, "message {number}");
        }
    }
}

fn copy(key: &PrivateKey) -> PrivateKey {
    PrivateKey::from_bytes(*key.as_bytes())
}

#[test]
fn cacophony_ikpsk2_both_ends_write_and_read_the_vectors_bytes() {
    let vector = Vector::new("Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s");
    let [(payload1, first), (payload2, second), ..] = vector.messages.as_slice() else { unreachable!() };
    let prologue: [&[u8]; 2] = vector.prologue.split_at(3).into();

    let mut message = vec![0; first.len()];
    let public = vector.responder.public();
    let ephemeral = copy(&vector.ephemerals[0]);
    let initiator =
        Initiator::start(&prologue, &vector.initiator, &public, ephemeral, payload1, &mut message)
            .ok()
            .unwrap();
    assert_eq!(&message, first);

    let claim = Claim::read(&prologue, &vector.responder, &message).ok().unwrap();
    assert_eq!(claim.public(), &vector.initiator.public());
    let mut payload = vec![0; payload1.len()];
    let responder = claim.read_payload(&vector.responder, &mut payload).ok().unwrap();
    assert_eq!(&payload, payload1);

    let mut message = vec![0; second.len()];
    let there =
        responder.answer(&vector.ephemerals[1], &vector.preshared, payload2, &mut message).ok().unwrap();
    assert_eq!(&message, second);

    let mut payload = vec![0; payload2.len()];
    let here = initiator.finish(&vector.initiator, &vector.preshared, &message, &mut payload).ok().unwrap();
    assert_eq!(&payload, payload2);
    vector.check_transport(&here, &there);
}

/// IK has the parts of `IKpsk2` but for the pre-shared key, and therefore no key from `e`.
#[test]
fn cacophony_ik_the_parts_write_the_vectors_bytes() {
    let vector = Vector::new("Noise_IK_25519_ChaChaPoly_BLAKE2s");
    let [(payload1, first), (payload2, second), ..] = vector.messages.as_slice() else { unreachable!() };
    let (initiator, responder) = (&vector.initiator, &vector.responder);
    let [e1, e2] = &vector.ephemerals;
    let mut state = Symmetric::named(b"Noise_IK_25519_ChaChaPoly_BLAKE2s");
    state.mix_hash(&[&vector.prologue]);
    state.mix_hash(&[responder.public().as_bytes()]);

    let mut message = vec![0; first.len()];
    let (public, rest) = message.split_at_mut(KEY_LEN);
    let (name, text) = rest.split_at_mut(SEALED_KEY_LEN);
    public.copy_from_slice(e1.public().as_bytes());
    state.mix_hash(&[public]);
    let key = state.mix_shared(e1, &responder.public()).ok().unwrap();
    assert_eq!(state.encrypt(&key, initiator.public().as_bytes(), name), Ok(()));
    let key = state.mix_shared(initiator, &responder.public()).ok().unwrap();
    assert_eq!(state.encrypt(&key, payload1, text), Ok(()));
    assert_eq!(&message, first);

    let mut message = vec![0; second.len()];
    let (public, text) = message.split_at_mut(KEY_LEN);
    public.copy_from_slice(e2.public().as_bytes());
    state.mix_hash(&[public]);
    state.mix_shared(e2, &e1.public()).ok().unwrap();
    let key = state.mix_shared(e2, &initiator.public()).ok().unwrap();
    assert_eq!(state.encrypt(&key, payload2, text), Ok(()));
    assert_eq!(&message, second);

    let [first, second] = state.split().map(|secret| *secret.as_bytes());
    let hash = state.hash;
    let (here, there) =
        (Secrets { send: first, receive: second, hash }, Secrets { send: second, receive: first, hash });
    vector.check_transport(&here, &there);
}

/// snow with randomness of ours: its own would need an operating system's, and could not be repeated.
struct Seeded([u8; 32]);

impl CryptoResolver for Seeded {
    fn resolve_rng(&self) -> Option<Box<dyn SnowRandom>> {
        Some(Box::new(Self(self.0)))
    }
    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }
    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }
    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

impl SnowRandom for Seeded {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), snow::Error> {
        out.copy_from_slice(&self.0[..out.len()]);
        Ok(())
    }
}

#[test]
fn snow_completes_a_thousand_handshakes_with_us_in_either_role() {
    let mut random = Random::new(1);
    let name = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
    for round in 0..times(1000, 1) {
        let (initiator, responder) = (random.private(), random.private());
        let (public, preshared) = (responder.public(), random.array());
        let prologue = {
            let len = random.below(100);
            random.bytes(len)
        };
        let payload1 = {
            let len = random.below(200);
            random.bytes(len)
        };
        let payload2 = {
            let len = random.below(200);
            random.bytes(len)
        };
        let resolver: BoxedCryptoResolver = Box::new(Seeded(random.array()));
        let snow = snow::Builder::with_resolver(name.parse().unwrap(), resolver);
        let snow = snow.prologue(&prologue).unwrap().psk(2, &preshared).unwrap();
        let ours = PresharedKey::from_bytes(preshared);
        let mut first = vec![0; FIRST_LEN + payload1.len()];
        let mut second = vec![0; SECOND_LEN + payload2.len()];
        let (mut read1, mut read2) = (vec![0; payload1.len()], vec![0; payload2.len()]);

        let (secrets, mut snow, we_begin) = if round % 2 == 0 {
            let snow = snow.local_private_key(responder.as_bytes()).unwrap();
            let mut snow = snow.build_responder().unwrap();
            let we =
                Initiator::start(&[&prologue], &initiator, &public, random.private(), &payload1, &mut first);
            assert_eq!(snow.read_message(&first, &mut read1).unwrap(), payload1.len());
            assert_eq!(snow.get_remote_static().unwrap(), initiator.public().as_bytes());
            assert_eq!(snow.write_message(&payload2, &mut second).unwrap(), second.len());
            (we.ok().unwrap().finish(&initiator, &ours, &second, &mut read2), snow, true)
        } else {
            let snow = snow.local_private_key(initiator.as_bytes()).unwrap();
            let mut snow = snow.remote_public_key(public.as_bytes()).unwrap().build_initiator().unwrap();
            assert_eq!(snow.write_message(&payload1, &mut first).unwrap(), first.len());
            let claim = Claim::read(&[&prologue], &responder, &first).ok().unwrap();
            assert_eq!(claim.public(), &initiator.public());
            let we = claim.read_payload(&responder, &mut read1).ok().unwrap();
            let secrets = we.answer(&random.private(), &ours, &payload2, &mut second);
            assert_eq!(snow.read_message(&second, &mut read2).unwrap(), payload2.len());
            (secrets, snow, false)
        };
        let secrets = secrets.ok().unwrap();
        assert_eq!((read1, read2), (payload1, payload2), "round {round}");
        assert!(snow.is_handshake_finished());
        assert_eq!(snow.get_handshake_hash(), secrets.hash);
        let (first, second) = snow.dangerously_get_raw_split();
        let (send, receive) = if we_begin { (first, second) } else { (second, first) };
        assert_eq!((secrets.send, secrets.receive), (send, receive), "round {round}");
    }
}

/// Two ends and the messages between them.
struct Meeting {
    initiator: PrivateKey,
    responder: PrivateKey,
    begun: Initiator,
    first: [u8; FIRST_LEN + 4],
}

const PRESHARED: PresharedKey = PresharedKey::from_bytes([5; 32]);

impl Meeting {
    fn new() -> Self {
        let (initiator, responder) = (PrivateKey::from_bytes([1; 32]), PrivateKey::from_bytes([2; 32]));
        let (ephemeral, mut first) = (PrivateKey::from_bytes([3; 32]), [0; FIRST_LEN + 4]);
        let begun =
            Initiator::start(&[b"us"], &initiator, &responder.public(), ephemeral, b"ping", &mut first)
                .ok()
                .unwrap();
        Self { initiator, responder, begun, first }
    }

    fn claim(&self) -> Claim<'_> {
        Claim::read(&[b"us"], &self.responder, &self.first).ok().unwrap()
    }

    fn heard(&self) -> Responder {
        self.claim().read_payload(&self.responder, &mut [0; 4]).ok().unwrap()
    }

    fn answer(&self, preshared: &PresharedKey) -> [u8; SECOND_LEN + 4] {
        let mut second = [0; SECOND_LEN + 4];
        self.heard().answer(&PrivateKey::from_bytes([4; 32]), preshared, b"pong", &mut second).ok().unwrap();
        second
    }

    fn finish(&self, message: &[u8]) -> Result<Secrets, Refused> {
        self.begun.finish(&self.initiator, &PRESHARED, message, &mut [0; 4])
    }
}

#[test]
fn another_prologue_or_another_responder_reads_nothing() {
    let meeting = Meeting::new();
    let read = |prologue, key: &PrivateKey| Claim::read(&[prologue], key, &meeting.first).err();
    assert_eq!(read(b"us", &meeting.responder), None);
    assert_eq!(read(b"US", &meeting.responder), Some(Refused::BadTag));
    assert_eq!(read(b"us", &meeting.initiator), Some(Refused::BadTag));
}

#[test]
fn a_claim_of_another_static_key_is_not_borne_out_by_the_payload() {
    let meeting = Meeting::new();
    let mut claim = meeting.claim();
    claim.public = PrivateKey::from_bytes([9; 32]).public();
    let mut payload = [7; 4];
    assert_eq!(claim.read_payload(&meeting.responder, &mut payload).err(), Some(Refused::BadTag));
    assert_eq!(payload, [0; 4], "nothing is left of it");
}

#[test]
fn a_preshared_key_that_differs_in_one_bit_completes_no_handshake() {
    let meeting = Meeting::new();
    for bit in (0..256).step_by(times(1, 100)) {
        let mut other = [5; 32];
        other[bit / 8] ^= 1 << (bit % 8);
        let second = meeting.answer(&PresharedKey::from_bytes(other));
        assert_eq!(meeting.finish(&second).err(), Some(Refused::BadTag), "bit {bit}");
    }
    let second = meeting.answer(&PresharedKey::NONE);
    assert_eq!(meeting.finish(&second).err(), Some(Refused::BadTag));
}

#[test]
fn a_bad_answer_does_not_end_a_handshake() {
    let meeting = Meeting::new();
    let good = meeting.answer(&PRESHARED);
    let mut bad = good;
    bad[40] ^= 1;
    assert_eq!(meeting.finish(&bad).err(), Some(Refused::BadTag));
    let secrets = meeting.finish(&good).ok().unwrap();
    assert_eq!(meeting.finish(&good).ok().unwrap().hash, secrets.hash);
}

#[test]
fn points_of_small_order_are_refused_wherever_a_key_can_be() {
    let meeting = Meeting::new();
    let key = || PrivateKey::from_bytes([3; 32]);
    for point in small_order() {
        let weak = PublicKey::from_bytes(point);
        let started = Initiator::start(&[], &meeting.initiator, &weak, key(), b"", &mut [0; FIRST_LEN]);
        assert_eq!(started.err(), Some(Refused::WeakKey), "the responder's static");

        let mut first = meeting.first;
        first[..32].copy_from_slice(&point);
        let read = Claim::read(&[b"us"], &meeting.responder, &first);
        assert_eq!(read.err(), Some(Refused::WeakKey), "the initiator's ephemeral");

        let mut claim = meeting.claim();
        claim.public = weak;
        let read = claim.read_payload(&meeting.responder, &mut [0; 4]);
        assert_eq!(read.err(), Some(Refused::WeakKey), "the initiator's static, es");

        for (ephemeral, public) in [(weak, meeting.initiator.public()), (key().public(), weak)] {
            let responder = Responder { ephemeral, public, ..meeting.heard() };
            let answered = responder.answer(&key(), &PRESHARED, b"", &mut [0; SECOND_LEN]);
            assert_eq!(answered.err(), Some(Refused::WeakKey), "the initiator's keys, ee and se");
        }

        let mut second = meeting.answer(&PRESHARED);
        second[..32].copy_from_slice(&point);
        assert_eq!(meeting.finish(&second).err(), Some(Refused::WeakKey), "the responder's ephemeral");
    }
}

#[test]
fn messages_and_payloads_of_lengths_that_do_not_belong_together_are_refused() {
    let meeting = Meeting::new();
    let second = meeting.answer(&PRESHARED);
    let key = || PrivateKey::from_bytes([3; 32]);
    let public = meeting.responder.public();
    for len in (0..150).step_by(times(1, 20)) {
        let mut message = vec![0; len];
        let start = Initiator::start(&[], &meeting.initiator, &public, key(), b"ping", &mut message);
        assert_eq!(start.err(), (len != FIRST_LEN + 4).then_some(Refused::Length), "{len}");
        let answer = meeting.heard().answer(&key(), &PRESHARED, b"pong", &mut message);
        assert_eq!(answer.err(), (len != SECOND_LEN + 4).then_some(Refused::Length), "{len}");
        let mut payload = vec![0; len];
        let read = meeting.claim().read_payload(&meeting.responder, &mut payload);
        assert_eq!(read.err(), (len != 4).then_some(Refused::Length), "{len}");
        let read = meeting.begun.finish(&meeting.initiator, &PRESHARED, &second, &mut payload);
        assert_eq!(read.err(), (len != 4).then_some(Refused::Length), "{len}");
    }
    for len in (0..meeting.first.len()).step_by(times(1, 20)) {
        let read = Claim::read(&[b"us"], &meeting.responder, &meeting.first[..len]);
        assert!(read.is_err_and(|why| why == Refused::Length) == (len < 80), "{len}");
    }
    for len in (0..second.len()).step_by(times(1, 20)) {
        assert_eq!(meeting.finish(&second[..len]).err(), Some(Refused::Length), "{len}");
    }
}

#[test]
fn both_ends_have_the_same_keys_for_answers_and_the_hash_after_message_1() {
    let meeting = Meeting::new();
    let there = meeting.heard();
    assert_eq!(meeting.begun.derive(b"any").as_bytes(), there.derive(b"any").as_bytes());
    assert_ne!(there.derive(b"any").as_bytes(), there.derive(b"other").as_bytes());
    assert_eq!(meeting.begun.hash(), there.hash());
    let claim = meeting.claim();
    assert_ne!(claim.symmetric.derive(b"any").as_bytes(), there.derive(b"any").as_bytes(), "it needs `ss`");
}

// By Python's `hmac`.
#[test]
fn data_keys_depend_on_secret_cipher_and_hash() {
    let chacha = data_key(&[0x11; 32], 1, &[0x22; 32]);
    assert_eq!(chacha.key, array("b584abc1ca949cddc6e744514215acb3928074a2841232035a796dbf76cdfe4c"));
    assert_eq!(chacha.iv, array("5121ada7b20f4708a66cc3a1"));
    let aes = data_key(&[0x11; 32], 2, &[0x22; 32]);
    assert_eq!(aes.key, array("4d067ed3cc62e1def9a0010c81f8b78e614c429017147da16945e3a7789585ed"));
    assert_eq!(aes.iv, array("965762a2d6df786e3f8a173a"));
    assert_ne!(data_key(&[0x11; 32], 1, &[0x23; 32]).key, chacha.key);
    assert_ne!(data_key(&[0x12; 32], 1, &[0x22; 32]).key, chacha.key);
}

// By Python's `hmac` and `hashlib`.
#[test]
fn ephemeral_keys_differ_also_where_the_entropy_does_not() {
    let local: [u8; 32] = array("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let mut keys = Ephemerals::new(&PrivateKey::from_bytes(local));
    let known = [
        "fbc145d76b8caa5cd3ee7eb4e3e2767504dda59ef53218f0909c0433f7361042",
        "fe2ad41e93e0d75cd4a22c08927bc1f9286650772b8c8cb66c3f086a8ff562e8",
    ];
    for hex in known {
        assert_eq!(keys.next(&[0x33; 32], &[b"con", b"text"]).as_bytes(), &array(hex));
    }
    let first = |local, entropy, context: &[u8]| {
        *Ephemerals::new(&PrivateKey::from_bytes(local)).next(&entropy, &[context]).as_bytes()
    };
    let key = first(local, [0; 32], b"");
    assert_eq!(first(local, [0; 32], b""), key, "nothing else goes into it");
    for other in [first([9; 32], [0; 32], b""), first(local, [1; 32], b""), first(local, [0; 32], b"x")] {
        assert_ne!(other, key);
    }
}

/// The token `ee` needs one of the ephemeral private keys, which no longer exist: nothing that static keys give stands in for it.
#[test]
fn p3_who_has_all_static_keys_and_the_record_later_cannot_compute_the_keys() {
    let meeting = Meeting::new();
    let second = meeting.answer(&PRESHARED);
    let used = meeting.finish(&second).ok().unwrap();
    let (public, text) = second.split_first_chunk::<KEY_LEN>().unwrap();
    let theirs = PublicKey::from_bytes(*public);
    let compute = |ee: &[u8]| {
        // What the initiator would do, by who can read message 1 with the responder's static key.
        let mut symmetric = meeting.heard().symmetric;
        symmetric.mix_ephemeral(&theirs);
        symmetric.mix_key(ee);
        symmetric.mix_shared(&meeting.initiator, &theirs).ok().unwrap();
        let key = symmetric.mix_preshared(&PRESHARED);
        let is_read = symmetric.decrypt(&key, text, &mut [0; 4]).is_ok();
        (is_read, symmetric.split().each_ref().map(|secret| *secret.as_bytes()))
    };
    let ephemeral = PrivateKey::from_bytes([3; 32]);
    let shared = ephemeral.agree(&theirs).unwrap();
    let known = [used.send, used.receive];
    assert_eq!(compute(shared.as_bytes()), (true, known), "with it, it could be done");
    let publics = [ephemeral.public(), theirs, meeting.initiator.public(), meeting.responder.public()];
    for private in [&meeting.initiator, &meeting.responder] {
        for public in &publics {
            let (is_read, secrets) = compute(private.agree(public).unwrap().as_bytes());
            assert!(!is_read && secrets.iter().all(|secret| !known.contains(secret)));
        }
    }
    assert!(!compute(&[0; 32]).0);
}
