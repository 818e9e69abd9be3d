use super::*;
use crate::config::{Config, PathConfig};
use crate::connection::identity::OVERTAKEN;
use crate::connection::{Received, Storage};
use crate::ecn::Ecn;

/// Two connections with a path each, whose only wire is the test.
struct Pair {
    here: Connection<'static>,
    there: Connection<'static>,
    path: PathId,
    now: Instant,
}

fn connection(seed: u64, key: Option<u32>) -> (Connection<'static>, PathId) {
    let now = Instant::from_micros(1_000_000);
    let mut connection = Connection::new(Config { seed, key, ..Config::default() }, Storage::none(), now);
    let path = connection.add_path(PathConfig::default(), now).unwrap();
    connection.handle_timeout(now);
    (connection, path)
}

impl Pair {
    fn new() -> Self {
        let ((here, path), (there, _)) = (connection(1, Some(7)), connection(2, Some(7)));
        Self { here, there, path, now: Instant::from_micros(1_000_000) }
    }

    /// The control datagram that `there` has to send.
    fn sent_there(&mut self) -> std::vec::Vec<u8> {
        self.there.poll_transmit(&mut [0; CONTROL_MAX]).unwrap().datagram.to_vec()
    }

    fn arrive_there(&mut self, datagram: &[u8]) {
        let mut datagram = datagram.to_vec();
        let received = self.there.decapsulate(self.path, &mut datagram, Ecn::NotEct, self.now);
        assert_eq!(received, Ok(Received::Consumed));
    }

    fn arrive_here(&mut self, datagram: &[u8]) {
        let mut datagram = datagram.to_vec();
        let received = self.here.decapsulate(self.path, &mut datagram, Ecn::NotEct, self.now);
        assert_eq!(received, Ok(Received::Consumed));
    }
}

#[test]
fn a_challenge_comes_back_as_the_claim_that_answers_it() {
    let mut pair = Pair::new();
    let probe = pair.sent_there();
    assert_eq!(pair.here.claim(&probe), Some(Claim { path: 0, answers: None, known: false }));
    pair.arrive_here(&probe);
    let probe = {
        pair.there.probe(pair.path, pair.now).unwrap();
        pair.sent_there()
    };
    assert_eq!(pair.here.claim(&probe), Some(Claim { path: 0, answers: None, known: true }));

    let mut buffer = [0; CONTROL_MAX];
    let challenge = pair.here.challenge(pair.path, 0xdead_beef, &mut buffer, pair.now).unwrap();
    assert_eq!(challenge.path, pair.path);
    assert!(challenge.datagram.len() <= probe.len(), "nobody gets more than was sent");
    pair.arrive_there(challenge.datagram);

    let echo = pair.sent_there();
    assert_eq!(pair.here.claim(&echo), Some(Claim { path: 0, answers: Some(0xdead_beef), known: true }));
}

#[test]
fn what_is_no_control_message_of_the_peer_claims_nothing() {
    let mut pair = Pair::new();
    let probe = pair.sent_there();

    assert_eq!(pair.there.claim(&probe), None, "our own, come back");
    assert_eq!(connection(3, None).0.claim(&probe), None, "another key");
    // The last four bytes announce the extension: who does not know it sends none.
    for len in 0..probe.len() - 4 {
        assert_eq!(pair.here.claim(&probe[..len]), None, "cut off after {len} bytes");
    }
    assert_eq!(pair.here.claim(b"\x20\x00\x08\x00\x00\x00\x00\x07E"), None, "a packet");
}

#[test]
fn a_message_that_was_recorded_long_ago_claims_nothing() {
    let mut pair = Pair::new();
    let recorded = pair.sent_there();
    pair.arrive_here(&recorded);
    assert!(pair.here.claim(&recorded).is_some_and(|claim| claim.known));
    for _ in 0..=OVERTAKEN {
        pair.there.probe(pair.path, pair.now).unwrap();
        let probe = pair.sent_there();
        pair.arrive_here(&probe);
    }
    assert_eq!(pair.here.claim(&recorded), None);

    // Nor does one of the process before.
    pair.there = connection(4, Some(7)).0;
    let restarted = pair.sent_there();
    pair.arrive_here(&restarted);
    assert_eq!(pair.here.claim(&recorded), None);
}

#[test]
fn a_claim_changes_nothing() {
    let mut pair = Pair::new();
    let probe = pair.sent_there();
    let before = std::format!("{:?}", pair.here);
    assert!(pair.here.claim(&probe).is_some());
    assert_eq!(std::format!("{:?}", pair.here), before);
}

#[test]
fn the_number_that_the_peer_gives_a_path_is_known_once_it_was_heard() {
    let mut pair = Pair::new();
    assert_eq!(pair.here.peer_number(pair.path), Ok(None));
    let probe = pair.sent_there();
    pair.arrive_here(&probe);
    assert_eq!(pair.here.peer_number(pair.path), Ok(Some(0)));
    pair.here.remove_path(pair.path, pair.now).unwrap();
    assert_eq!(pair.here.peer_number(pair.path), Err(UnknownPath));
    assert_eq!(pair.here.probe(pair.path, pair.now), Err(UnknownPath));
}
