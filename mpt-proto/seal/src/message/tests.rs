use super::*;
use crate::testing::{Random, array, bytes, hex, small_order, times};
use std::vec::Vec;

mod handshake;

use handshake::*;

#[test]
fn the_bytes_are_those_of_docs_wire_md() {
    let record = Record::new();
    let golden: Vec<Vec<u8>> = GOLDEN.iter().map(|hex| bytes(hex)).collect();
    let names = ["initiation", "response", "cookie reply", "stale reply"];
    for ((name, got), golden) in names.iter().zip(record.all()).zip(&golden) {
        std::println!("{name}:\n{}", hex(got));
        assert_eq!(hex(got), hex(golden), "{name}");
    }
}

/// Alice to Bob and his three answers: the indices, keys and payloads are the constants above, the cookie is 16 times 6.
/// An implementation in Python (`hashlib`, `hmac`, `cryptography`) gave the same bytes.
const GOLDEN: [&str; 4] = [
    "200088b500000000210000001234567073aa897feb5d2615cb23238455528882
     94186f3889ead07b5a040212ccc0d701e99747b9371b761600e2b56963cbc9d4
     c5fe5964a94df41fcac1317ae1e08f63f4ba4bb2bc9bffdcc5bcd3b8cdba48d7
     1645131463a0a6e52ad30a84656b3561d30517bd06ad86f6ba7a3e1f53ec5851
     8875bd8a6a561f14059e04d49ade67e7f864c6b398eb2de5dafa82608bc95ffe",
    "200088b512345670220000002afd2ce923d48d33fe39a10dadca885b3f1e1470
     26c2207980e8048f1c132006d0af841ca6f65979184f23ebeae359f435fd8b4d
     385a87e0ed7828a547380cc12949738a3c8a1c87ecebbce311332dbf",
    "200088b51234567023000000404142434445464748494a4b4c4d4e4f50515253
     545556574f0490752e4c652e1141c7af0f987eb755cff9d417351a77293e43d8
     772f5e6a",
    "200088b51234567024000000404142434445464748494a4b4c4d4e4f50515253
     5455565763434064c5b4416cc7a0ecdee5e42dce60298d2e6aa57e36",
];

#[test]
fn two_ends_that_meet_have_the_same_secrets_and_know_what_the_other_said() {
    let (initiator, initiation) = initiate();
    let (_, proposal) = accept_initiation(&initiation).unwrap();
    assert_eq!(proposal, PROPOSAL);
    assert_eq!(Initiation::parse(&initiation).unwrap().sender(), HERE);
    let (there, response) = respond(&initiation, &CHOICE);
    let (here, choice) = accept_response(&response, &initiator).unwrap();
    assert_eq!(choice, CHOICE);
    assert_eq!((here.send, here.receive, here.hash), (there.receive, there.send, there.hash));
    assert_ne!(here.send, here.receive);
}

#[test]
fn with_random_keys_indices_and_words_two_ends_meet() {
    let mut random = Random::new(2);
    for _ in 0..times(200, 2) {
        let (mut here, mut there) = (Identity::new(random.private()), Identity::new(random.private()));
        let preshared = random.preshared();
        let index = |random: &mut Random| u32::from_be_bytes(random.array()) >> 4 | 1;
        let (sender, proposal) = (index(&mut random), Proposal::parse(random.array()));
        let proposal = Proposal { lowest_form: 1, highest_form: 9, ..proposal };
        let written = write_initiation(&mut here, &there.public(), sender, &proposal, &random.array());
        let (initiator, datagram) = written.ok().unwrap();
        let initiation = Initiation::parse(&datagram).unwrap();
        assert!(initiation.has_mac1(&there) && initiation.sender() == sender);
        let (responder, heard) =
            read_proposal(initiation.read_static(&there).ok().unwrap(), &there).ok().unwrap();
        assert_eq!(heard, proposal);
        let choice = Choice {
            index: index(&mut random),
            form: 9,
            cipher: proposal.ciphers.best(Offer::from_bits(0xff)),
            instance: u32::from_be_bytes(random.array()),
        };
        let answer = write_response(responder, &mut there, &preshared, sender, &choice, &random.array());
        let (secrets, datagram) = answer.ok().unwrap();
        let response = Response::parse(&datagram).unwrap();
        assert!(response.has_mac1(&initiator) && response.receiver() == sender);
        let (ours, heard) = response.finish(&initiator, &here, &preshared, &proposal).ok().unwrap();
        assert_eq!((heard, ours.send, ours.receive), (choice, secrets.receive, secrets.send));
    }
}

#[test]
fn a_kind_is_known_by_the_exact_length_and_the_exact_words() {
    let record = Record::new();
    for (kind, datagram) in Kind::ALL.into_iter().zip(record.all()) {
        assert_eq!(kind_of(datagram), Some(kind));
        let mut longer = datagram.to_vec();
        longer.resize(300, 0);
        for len in 0..300 {
            let expected = (len == kind.len()).then_some(kind);
            assert_eq!(kind_of(&longer[..len]), expected, "{kind:?} of {len} bytes");
        }
        for place in [0, 1, 2, 3, 8, 9, 10, 11] {
            for value in (0..=255).step_by(times(1, 51)) {
                let mut other = datagram.to_vec();
                other[place] = value;
                assert_eq!(
                    kind_of(&other).is_some(),
                    value == datagram[place],
                    "byte {place} = {value:#04x}"
                );
            }
        }
    }
}

#[test]
fn what_is_shorter_or_longer_is_no_handshake_datagram() {
    let record = Record::new();
    for datagram in record.all() {
        let mut longer = datagram.to_vec();
        longer.extend_from_slice(&[0; 100]);
        for len in (0..longer.len()).filter(|len| *len != datagram.len()) {
            let cut = &longer[..len];
            assert!(Initiation::parse(cut).is_none() && Response::parse(cut).is_none(), "{len}");
            assert!(CookieReply::parse(cut).is_none() && StaleReply::parse(cut).is_none(), "{len}");
        }
    }
}

#[test]
fn the_key_of_an_initiation_is_zero_and_that_of_an_answer_is_an_index() {
    let record = Record::new();
    for bit in 0..32 {
        let mut other = record.initiation;
        put(&mut other, 4, (1u32 << bit).to_be_bytes());
        assert_eq!(kind_of(&other), Some(Kind::Initiation));
        assert!(Initiation::parse(&other).is_none(), "bit {bit}");
    }
    let (mut response, mut cookie_reply, mut stale_reply) =
        (record.response, record.cookie_reply, record.stale_reply);
    for key in [0, HERE << 4 | 1] {
        put(&mut response, 4, key.to_be_bytes());
        put(&mut cookie_reply, 4, key.to_be_bytes());
        put(&mut stale_reply, 4, key.to_be_bytes());
        assert!(Response::parse(&response).is_none());
        assert!(CookieReply::parse(&cookie_reply).is_none() && StaleReply::parse(&stale_reply).is_none());
    }
}

#[test]
fn an_index_is_28_bits_and_not_zero() {
    assert_eq!(index_in([0; 4]), None);
    assert_eq!(index_in([0, 0, 0, 0x10]), Some(1));
    assert_eq!(index_in([0xff, 0xff, 0xff, 0xf0]), Some(0x0fff_ffff));
    for nibble in 1..16 {
        assert_eq!(index_in([0x12, 0x34, 0x56, 0x70 | nibble]), None);
    }
    assert_eq!(index_in(word_of(HERE)), Some(HERE));
    let (_, initiation) = initiate();
    for word in [0u32, HERE << 4 | 1, HERE << 4 | 8] {
        let mut other = initiation;
        put(&mut other, HEADER_LEN, word.to_be_bytes());
        assert!(Initiation::parse(&with_mac1(other, &bob().public())).is_none(), "{word:#x}");
    }
}

#[test]
fn no_bit_of_an_initiation_can_be_another_but_those_of_mac2() {
    let (_, initiation) = initiate();
    for (bit, other) in flipped(initiation) {
        assert_eq!(accept_initiation(&other).is_some(), bit >= 8 * MAC2_AT, "bit {bit}");
    }
}

#[test]
fn no_bit_of_an_initiation_can_be_another_also_where_mac1_is_right() {
    let (_, initiation) = initiate();
    for (bit, other) in flipped(initiation).take_while(|(bit, _)| *bit < 8 * MAC1_AT) {
        assert!(accept_initiation(&with_mac1(other, &bob().public())).is_none(), "bit {bit}");
    }
}

#[test]
fn no_bit_of_an_initiation_can_be_another_where_a_cookie_is_asked_for() {
    let mut cookies = Cookies::new([3; 32], NOON);
    let (_, mut initiation) = initiate();
    set_mac2(&mut initiation, Some(&cookies.make(&SOURCE, NOON, || unreachable!())));
    let has_mac2 =
        |datagram: &[u8]| Initiation::parse(datagram).is_some_and(|it| it.has_mac2(&cookies, &SOURCE, NOON));
    assert!(has_mac2(&initiation));
    for (bit, other) in flipped(initiation) {
        assert!(!has_mac2(&other), "bit {bit}");
    }
}

#[test]
fn no_bit_of_a_response_can_be_another_and_a_good_one_is_taken_after_all_bad_ones() {
    let (initiator, initiation) = initiate();
    let (_, response) = respond(&initiation, &CHOICE);
    for (bit, other) in flipped(response) {
        assert!(accept_response(&other, &initiator).is_none(), "bit {bit}");
        let other = with_response_mac1(other, &initiator);
        assert_eq!(accept_response(&other, &initiator).is_some(), bit >= 8 * RESPONSE_MAC1_AT, "bit {bit}");
    }
    assert!(accept_response(&response, &initiator).is_some());
}

#[test]
fn no_bit_of_a_cookie_reply_or_a_stale_reply_can_be_another() {
    let record = Record::new();
    assert_eq!(accept_cookie(&record.cookie_reply, &record.initiation), Some(COOKIE));
    for (bit, other) in flipped(record.cookie_reply) {
        assert_eq!(accept_cookie(&other, &record.initiation), None, "bit {bit}");
    }
    assert_eq!(accept_stale(&record.stale_reply, &record.initiator), Some(NEWEST));
    for (bit, other) in flipped(record.stale_reply) {
        assert_eq!(accept_stale(&other, &record.initiator), None, "bit {bit}");
    }
}

#[test]
fn a_cookie_reply_is_for_one_initiation_of_one_responder() {
    let record = Record::new();
    let (_, other) = write_initiation(&mut alice(), &bob().public(), HERE, &PROPOSAL, &[7; 32]).ok().unwrap();
    assert_eq!(accept_cookie(&record.cookie_reply, &other), None);
    let reply = CookieReply::parse(&record.cookie_reply).unwrap();
    assert_eq!(reply.open(&alice().public(), &record.initiation), None);
    let mut resent = record.initiation;
    set_mac2(&mut resent, None);
    assert_eq!(reply.open(&bob().public(), &resent), Some(COOKIE), "mac2 is not part of it");
}

#[test]
fn a_stale_reply_is_read_by_who_made_the_initiation_only() {
    let record = Record::new();
    let again = write_initiation(&mut alice(), &bob().public(), HERE, &PROPOSAL, &[7; 32]);
    let (other, _) = again.ok().unwrap();
    assert_eq!(accept_stale(&record.stale_reply, &other), None, "the same end, another initiation");
}

#[test]
fn a_cookie_changes_mac2_and_nothing_else() {
    let (_, initiation) = initiate();
    assert_eq!(initiation[MAC2_AT..], [0; MAC_LEN]);
    let mut with = initiation;
    set_mac2(&mut with, Some(&COOKIE));
    assert_eq!(with[..MAC2_AT], initiation[..MAC2_AT]);
    assert_eq!(with[MAC2_AT..], mac(&COOKIE, &initiation[..MAC2_AT]));
    set_mac2(&mut with, None);
    assert_eq!(with, initiation);
}

#[test]
fn a_cookie_counts_at_its_source_and_for_its_time() {
    let mut cookies = Cookies::new([3; 32], NOON);
    let cookie = cookies.make(&SOURCE, NOON, || unreachable!());
    let (_, mut datagram) = initiate();
    let has_mac2 = |datagram: &[u8], source: &Source, seconds| {
        let now = NOON + core::time::Duration::from_secs(seconds);
        Initiation::parse(datagram).unwrap().has_mac2(&cookies, source, now)
    };
    assert!(!has_mac2(&datagram, &SOURCE, 0), "zeros are none");
    set_mac2(&mut datagram, Some(&cookie));
    assert!(has_mac2(&datagram, &SOURCE, 0) && has_mac2(&datagram, &SOURCE, 239));
    assert!(!has_mac2(&datagram, &SOURCE, 240) && !has_mac2(&datagram, &Source([5; 20]), 0));
}

#[test]
fn who_is_not_asked_for_reads_nothing_and_cannot_answer() {
    let (initiator, datagram) = initiate();
    let mallory = || Identity::new(PrivateKey::from_bytes([66; 32]));
    let initiation = Initiation::parse(&datagram).unwrap();
    assert!(!initiation.has_mac1(&mallory()) && !initiation.has_mac1(&alice()));
    assert_eq!(initiation.read_static(&mallory()).err(), Some(Refused::BadTag));
    // Mallory is asked by Alice, and gives what he knows of her to Bob and the other way round.
    let (responder, _) = accept_initiation(&datagram).unwrap();
    let (_, response) =
        write_response(responder, &mut bob(), &PresharedKey::NONE, HERE, &CHOICE, &[2; 32]).ok().unwrap();
    assert!(accept_response(&response, &initiator).is_none(), "another pre-shared key");
    let written = write_initiation(&mut alice(), &mallory().public(), HERE, &PROPOSAL, &[1; 32]);
    let (to_mallory, _) = written.ok().unwrap();
    assert!(accept_response(&respond(&datagram, &CHOICE).1, &to_mallory).is_none(), "another responder");
}

#[test]
fn an_answer_to_one_initiation_is_none_to_another() {
    let (first, datagram) = initiate();
    let (_, response) = respond(&datagram, &CHOICE);
    let again = write_initiation(&mut alice(), &bob().public(), HERE, &PROPOSAL, &[7; 32]);
    let (second, _) = again.ok().unwrap();
    assert!(accept_response(&response, &second).is_none());
    assert!(accept_response(&response, &first).is_some());
}

#[test]
fn fields_for_later_versions_are_ignored_where_they_are_authentic() {
    let mut payload = PROPOSAL.emit();
    payload[11] = 0xff;
    let (_, proposal) = accept_initiation(&initiation_that_says(payload)).unwrap();
    assert_eq!(proposal, PROPOSAL);

    let (initiator, initiation) = initiate();
    let mut payload = CHOICE.emit();
    for place in [6, 7, 12, 13, 14, 15] {
        payload[place] = 0xff;
    }
    let (_, choice) =
        accept_response(&response_that_says(&initiator, &initiation, payload), &initiator).unwrap();
    assert_eq!(choice, CHOICE);
}

#[test]
fn a_choice_that_was_not_offered_is_refused() {
    let finish = |proposal: &Proposal, choice: [u8; PAYLOAD_LEN]| {
        let written = write_initiation(&mut alice(), &bob().public(), HERE, proposal, &[1; 32]);
        let (initiator, initiation) = written.ok().unwrap();
        let datagram = response_that_says(&initiator, &initiation, choice);
        let response = Response::parse(&datagram).unwrap();
        response.finish(&initiator, &alice(), &PRESHARED, proposal).err()
    };
    let says = |index, form, cipher| {
        let mut payload = CHOICE.emit();
        put::<4>(&mut payload, 0, index);
        put(&mut payload, 4, [form, cipher]);
        payload
    };
    let index = word_of(THERE);
    assert_eq!(finish(&PROPOSAL, says(index, 1, 1)), None);
    assert_eq!(finish(&PROPOSAL, says(index, 1, 2)), None);
    for (form, cipher) in [(0, 1), (2, 1), (1, 0), (1, 3), (1, 255)] {
        assert_eq!(finish(&PROPOSAL, says(index, form, cipher)), Some(Refused::Payload), "{form}, {cipher}");
    }
    for word in [0u32, 5, THERE << 4 | 5] {
        assert_eq!(finish(&PROPOSAL, says(word.to_be_bytes(), 1, 1)), Some(Refused::Payload), "{word:#x}");
    }
    let without_aes = Proposal { ciphers: Offer::CHACHA, ..PROPOSAL };
    assert_eq!(finish(&without_aes, says(index, 1, 2)), Some(Refused::Payload));
    let later = Proposal { lowest_form: 2, highest_form: 4, ..PROPOSAL };
    for form in 0..8 {
        let refused = !(2..=4).contains(&form);
        assert_eq!(finish(&later, says(index, form, 1)), refused.then_some(Refused::Payload), "form {form}");
    }
}

#[test]
fn a_peer_whose_key_is_of_small_order_is_told_nothing() {
    for point in small_order() {
        let weak = PublicKey::from_bytes(point);
        let written = write_initiation(&mut alice(), &weak, HERE, &PROPOSAL, &[1; 32]);
        assert_eq!(written.err(), Some(Refused::WeakKey));
    }
}

#[test]
fn initiations_of_two_ends_have_one_shape_and_name_neither() {
    let (_, of_alice) = initiate();
    let mut other = Identity::new(PrivateKey::from_bytes([66; 32]));
    let (_, of_other) =
        write_initiation(&mut other, &bob().public(), HERE, &PROPOSAL, &[1; 32]).ok().unwrap();
    assert_eq!(of_alice[..NOISE_AT], of_other[..NOISE_AT]);
    assert_eq!(of_alice[MAC2_AT..], of_other[MAC2_AT..]);
    let record = Record::new();
    for datagram in record.all() {
        for public in [alice().public(), bob().public()] {
            assert!(!datagram.windows(4).any(|bytes| public.as_bytes().starts_with(bytes)));
        }
    }
}

#[test]
fn no_two_initiations_of_one_end_have_a_key_in_common_even_without_entropy() {
    let mut local = alice();
    let mut written = |index, time| {
        let proposal = Proposal { time, ..PROPOSAL };
        write_initiation(&mut local, &bob().public(), index, &proposal, &[0; 32]).ok().unwrap().1[16..48]
            .to_vec()
    };
    let first = written(HERE, 1);
    assert_ne!(written(HERE, 1), first, "the counter");
    // After a restart the counter begins again.
    let after_restart = |index, time| {
        let proposal = Proposal { time, ..PROPOSAL };
        let (_, bytes) =
            write_initiation(&mut alice(), &bob().public(), index, &proposal, &[0; 32]).ok().unwrap();
        bytes[16..48].to_vec()
    };
    assert_eq!(after_restart(HERE, 1), first);
    assert_ne!(after_restart(HERE, 2), first);
    assert_ne!(after_restart(HERE + 1, 1), first);
}

#[test]
fn arbitrary_bytes_are_refused_and_never_panic() {
    let mut random = Random::new(3);
    let (initiator, initiation) = initiate();
    for round in 0..times(4_000, 16) {
        let kind = Kind::ALL[round % 4];
        let mut datagram = random.bytes(kind.len());
        kind.put_header(&mut datagram, if kind == Kind::Initiation { [0; 4] } else { word_of(HERE) });
        put(&mut datagram, HEADER_LEN, word_of(HERE));
        if let Ok(datagram) = <[u8; INITIATION_LEN]>::try_from(datagram.as_slice()) {
            let datagram = with_mac1(datagram, &bob().public());
            assert!(Initiation::parse(&datagram).unwrap().has_mac1(&bob()));
            assert!(accept_initiation(&datagram).is_none());
        }
        if let Ok(datagram) = <[u8; RESPONSE_LEN]>::try_from(datagram.as_slice()) {
            let datagram = with_response_mac1(datagram, &initiator);
            assert!(Response::parse(&datagram).unwrap().has_mac1(&initiator));
            assert!(accept_response(&datagram, &initiator).is_none());
        }
        assert!(accept_cookie(&datagram, &initiation).is_none());
        assert!(accept_stale(&datagram, &initiator).is_none());
    }
}

/// draft-irtf-cfrg-xchacha-03 appendix A.3.1.
#[test]
fn replies_are_sealed_by_the_xchacha20_poly1305_of_the_draft() {
    const TEXT: &[u8; 114] =
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the \
        future, sunscreen would be it.";
    let key = array("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
    let associated = bytes("50515253c0c1c2c3c4c5c6c7");
    let mut datagram = [0; HEADER_LEN + NONCE_LEN + 114 + TAG_LEN];
    put_sealed(&mut datagram, &key, &nonce(), &associated, TEXT);
    let sealed = bytes(
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216
         cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c68b13
         b52ec0875924c1c7987947deafd8780acf49",
    );
    assert_eq!(datagram[..HEADER_LEN], [0; HEADER_LEN]);
    assert_eq!(datagram[HEADER_LEN..][..NONCE_LEN], nonce());
    assert_eq!(datagram[HEADER_LEN + NONCE_LEN..], sealed);
    assert_eq!(open_sealed(&datagram, &key, &associated), Some(*TEXT));
}

#[test]
#[ignore = "prints times, for a release build"]
#[allow(clippy::disallowed_methods, reason = "it measures")]
fn how_long_each_step_takes() {
    use std::hint::black_box;
    use std::time::Instant as Clock;

    const BATCHES: usize = 400;
    const ROUNDS: u32 = 5;
    /// Prints the time of a step in the fastest batch, which other programs disturbed least.
    fn time<T>(name: &str, mut step: impl FnMut() -> T) {
        let batch = |_| {
            let begin = Clock::now();
            (0..ROUNDS).for_each(|_| drop(black_box(step())));
            begin.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
        };
        std::println!("{name:40} {:8.2} us", (0..BATCHES).map(batch).fold(f64::INFINITY, f64::min));
    }

    let (mut here, there, public) = (alice(), bob(), bob().public());
    let (initiator, datagram) = initiate();
    let initiation = Initiation::parse(&datagram).unwrap();
    let (_, answer) = respond(&datagram, &CHOICE);
    let response = Response::parse(&answer).unwrap();
    let mut cookies = Cookies::new([3; 32], NOON);
    let cookie = cookies.make(&SOURCE, NOON, || unreachable!());
    let heard = || read_proposal(initiation.read_static(&there).ok().unwrap(), &there).ok().unwrap().0;
    let responder = heard();
    let mut there_too = bob();
    let key = PrivateKey::from_bytes([1; 32]);

    time("one DH", || key.agree(&public));
    time("a public key from a private one", || PrivateKey::from_bytes([1; 32]));
    time("initiation: written", || write_initiation(&mut here, &public, HERE, &PROPOSAL, &[1; 32]));
    time("initiation: form", || Initiation::parse(black_box(&datagram)));
    time("initiation: mac1", || initiation.has_mac1(&there));
    time("initiation: mac2, one cookie secret", || initiation.has_mac2(&cookies, &SOURCE, NOON));
    time("initiation: static read", || initiation.read_static(&there));
    time("initiation: static and payload read", heard);
    time("all of the responder: read and answer", || {
        write_response(heard(), &mut there_too, &PRESHARED, HERE, &CHOICE, &[2; 32])
    });
    time("response: mac1", || response.has_mac1(&initiator));
    time("response: finish", || response.finish(&initiator, &here, &PRESHARED, &PROPOSAL));
    time("cookie made and cookie reply written", || {
        let cookie = cookies.make(&SOURCE, NOON, || unreachable!());
        write_cookie_reply(&there, HERE, initiation.mac1(), &cookie, &nonce())
    });
    time("stale reply written", || write_stale_reply(&responder, HERE, NEWEST, &nonce()));
    time("mac2 written", || {
        let mut datagram = datagram;
        set_mac2(&mut datagram, Some(&cookie));
        datagram
    });
}
