//! What datagrams have beyond packets; the arithmetic is tested in `mpt-link`.

use super::*;
use crate::rng::{MILLION, test_seed};

const START: Instant = Instant::from_micros(1_000_000);
const LATE: Instant = Instant::from_micros(u64::MAX);

#[test]
fn a_datagram_that_finds_a_long_queue_and_speaks_ecn_is_marked() {
    let rate = Rate { bits_per_second: 8_000_000, queue: 100_000, mark_above: Some(2000) };
    let mut link = Link::new(LinkConfig { rate: Some(rate), ..LinkConfig::default() }, 0);
    for ecn in [Ecn::Ect0, Ecn::Ect0, Ecn::Ect0, Ecn::Ect1, Ecn::NotEct] {
        link.send(&[0; 1000], ecn, Instant::ZERO);
    }
    let marks: Vec<Ecn> = std::iter::from_fn(|| link.receive(LATE)).map(|arrival| arrival.ecn()).collect();
    assert_eq!(marks, [Ecn::Ect0, Ecn::Ect0, Ecn::Ect0, Ecn::Ce, Ecn::NotEct]);
}

#[test]
fn corruption_changes_one_byte_and_never_none() {
    let mut link = Link::new(LinkConfig { corrupt: MILLION, ..LinkConfig::default() }, test_seed(8));
    for _ in 0..2000 {
        link.send(&[0; 16], Ecn::NotEct, Instant::ZERO);
        let arrival = link.receive(LATE).unwrap();
        assert_eq!(arrival.datagram.iter().filter(|byte| **byte != 0).count(), 1);
    }
}

#[test]
fn a_datagram_arrives_as_its_senders() {
    let mut link = Link::new(LinkConfig::default(), 0);
    link.send_for(7, b"seven", Ecn::NotEct, START);
    link.send(b"nobody", Ecn::NotEct, START);
    let owners: Vec<u8> = std::iter::from_fn(|| link.receive(START)).map(|arrival| arrival.owner).collect();
    assert_eq!(owners, [7, 0]);
}

#[test]
fn a_datagram_has_arrived_when_the_link_says_it_will() {
    // A delay that is not a whole number of microseconds.
    let delay = Duration::from_nanos(1_500);
    let mut link = Link::new(LinkConfig { delay, ..LinkConfig::default() }, 0);
    link.send(b"late", Ecn::NotEct, START);
    let at = link.poll_timeout().unwrap();
    assert_eq!(at.since(START), Duration::from_micros(2));
    assert!(link.receive(at).is_some());
}
