use super::*;
use crate::rng::{MILLION, test_seed};

const MS: Duration = Duration::from_millis(1);
const START: Instant = Instant::from_micros(1_000_000);
const LATE: Instant = Instant::from_micros(u64::MAX);

/// Sends `count` datagrams that are their own numbers, `gap` apart.
fn send(link: &mut Link, count: u32, gap: Duration) {
    for number in 0..count {
        link.send(&number.to_be_bytes(), Ecn::Ect0, START + gap * number);
    }
}

/// What arrives, with when.
fn arrivals(link: &mut Link) -> Vec<(Instant, u32)> {
    let mut all = Vec::new();
    while let Some(at) = link.poll_timeout() {
        assert_eq!(link.receive(at - Duration::from_micros(1)), None, "not before its time");
        let number = link.receive(at).unwrap().datagram.try_into().unwrap();
        all.push((at, u32::from_be_bytes(number)));
    }
    all
}

fn numbers(link: &mut Link) -> Vec<u32> {
    arrivals(link).into_iter().map(|(_, number)| number).collect()
}

#[test]
fn a_perfect_wire_delivers_everything_at_once() {
    let mut link = Link::new(LinkConfig::default(), 0);
    send(&mut link, 100, MS);
    let expected: Vec<_> = (0..100).map(|number| (START + MS * number, number)).collect();
    assert_eq!(arrivals(&mut link), expected);
}

#[test]
fn the_rate_is_exact_to_a_packet_over_any_time() {
    // A rate that divides nothing evenly, and more than it carries: the queue is never empty.
    let rate = Rate { bits_per_second: 99_999_989, queue: 15_000, mark_above: None };
    let mut link = Link::new(LinkConfig { rate: Some(rate), ..LinkConfig::default() }, 0);
    let seconds = 2;
    for micros in (0..seconds * 1_000_000).step_by(100) {
        link.send(&[0; 1500], Ecn::NotEct, Instant::from_micros(micros));
    }
    let mut carried = 0;
    while link.receive(Instant::from_micros(seconds * 1_000_000)).is_some() {
        carried += 1;
    }
    assert_eq!(carried, rate.bits_per_second * seconds / (1500 * 8));
}

#[test]
fn a_queue_drops_what_does_not_fit_its_bytes_and_frees_them_as_they_leave() {
    let rate = Rate { bits_per_second: 8_000_000, queue: 3000, mark_above: None };
    let mut link = Link::new(LinkConfig { rate: Some(rate), ..LinkConfig::default() }, 0);
    for _ in 0..5 {
        link.send(&[0; 1000], Ecn::NotEct, Instant::ZERO);
    }
    assert_eq!((link.stats().overflowed, link.in_flight()), (2, 3));
    link.send(&[0; 1000], Ecn::NotEct, Instant::from_micros(999));
    assert_eq!(link.stats().overflowed, 3, "the first has not quite left");
    link.send(&[0; 1000], Ecn::NotEct, Instant::from_micros(1000));
    assert_eq!((link.stats().overflowed, link.in_flight()), (3, 4));
}

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
fn jitter_keeps_the_order_unless_told_otherwise() {
    let jitter = LinkConfig { delay: 20 * MS, jitter: 10 * MS, ..LinkConfig::default() };
    let seed = test_seed(3);
    let mut link = Link::new(jitter, seed);
    send(&mut link, 1000, MS);
    let all = arrivals(&mut link);
    assert!(all.iter().map(|(_, number)| *number).eq(0..1000));
    let delays = all.iter().map(|(at, number)| at.since(START + MS * *number));
    assert!(delays.clone().all(|delay| (20 * MS..=30 * MS).contains(&delay)));
    assert!(delays.max() > Some(29 * MS), "jitter is used to the full");

    let mut link = Link::new(LinkConfig { jitter_reorders: true, ..jitter }, seed);
    send(&mut link, 1000, MS);
    let mut all = numbers(&mut link);
    assert!(!all.is_sorted());
    all.sort_unstable();
    assert!(all.into_iter().eq(0..1000));
}

#[test]
fn stragglers_are_as_late_as_they_should_be() {
    let config = LinkConfig { straggle: 100_000, straggle_by: 50 * MS, ..LinkConfig::default() };
    let mut link = Link::new(config, test_seed(4));
    send(&mut link, 10_000, MS);
    let all = arrivals(&mut link);
    let late = all.iter().filter(|(at, number)| *at == START + MS * *number + 50 * MS).count();
    assert!((800..1200).contains(&late), "{late} of 10,000 at a tenth");
    let in_time = all.iter().filter(|(at, number)| *at == START + MS * *number).count();
    assert_eq!(late + in_time, 10_000);
}

#[test]
fn random_loss_is_as_frequent_as_it_should_be() {
    let mut link =
        Link::new(LinkConfig { loss: Loss::Random(50_000), ..LinkConfig::default() }, test_seed(5));
    send(&mut link, 100_000, MS);
    assert!((4_600..5_400).contains(&link.stats().lost), "{} of 100,000 at 5 %", link.stats().lost);
    assert_eq!(numbers(&mut link).len() as u64 + link.stats().lost, 100_000);
}

#[test]
fn bursts_are_as_long_and_as_frequent_as_they_should_be() {
    // Bursts of 8 on average, and 2 % lost: begin / (begin + end) = 1 / 50.
    let end = MILLION / 8;
    let loss = Loss::Bursts { begin: end / 49, end };
    let mut link = Link::new(LinkConfig { loss, ..LinkConfig::default() }, test_seed(6));
    send(&mut link, 400_000, MS);
    let arrived = numbers(&mut link);
    let gaps: Vec<u32> =
        arrived.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|gap| *gap > 0).collect();
    let lost: u32 = gaps.iter().sum();
    let (share, length) = (f64::from(lost) / 400_000.0, f64::from(lost) / gaps.len() as f64);
    assert!((0.017..0.023).contains(&share), "{share} lost");
    assert!((7.3..8.7).contains(&length), "bursts of {length}");
}

#[test]
fn duplicates_are_as_frequent_as_they_should_be_and_whole() {
    let mut link = Link::new(LinkConfig { duplicate: 100_000, ..LinkConfig::default() }, test_seed(7));
    send(&mut link, 10_000, MS);
    let all = numbers(&mut link);
    assert_eq!(all.len() as u64, 10_000 + link.stats().duplicated);
    assert!((900..1100).contains(&link.stats().duplicated), "{:?}", link.stats());
    assert!(all.is_sorted());
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
fn a_cut_loses_what_is_under_way_and_what_is_sent_until_it_is_mended() {
    let mut link = Link::new(LinkConfig { delay: 10 * MS, ..LinkConfig::default() }, 0);
    send(&mut link, 3, MS);
    link.set_cut(true);
    assert_eq!(link.poll_timeout(), None);
    send(&mut link, 2, MS);
    assert_eq!(link.stats().cut, 5);
    link.set_cut(false);
    send(&mut link, 1, MS);
    assert_eq!(numbers(&mut link), [0]);
}

#[test]
fn the_same_seed_does_the_same_and_another_one_does_not() {
    let config = LinkConfig {
        delay: 5 * MS,
        jitter: 5 * MS,
        jitter_reorders: true,
        rate: Some(Rate { bits_per_second: 100_000, queue: 100, mark_above: None }),
        loss: Loss::Random(100_000),
        duplicate: 100_000,
        straggle: 100_000,
        straggle_by: 9 * MS,
        overhead: 0,
        corrupt: 0,
    };
    let run = |seed| {
        let mut link = Link::new(config, seed);
        send(&mut link, 1000, MS / 4);
        let all = arrivals(&mut link);
        let stats = *link.stats();
        assert_eq!(
            stats.sent + stats.duplicated,
            stats.overflowed + stats.lost + stats.cut + stats.received + link.in_flight() as u64
        );
        all
    };
    assert_eq!(run(9), run(9));
    assert_ne!(run(9), run(10));
}

#[test]
fn a_new_rate_moves_what_waits_and_what_comes() {
    let rate = |bits_per_second| Some(Rate { bits_per_second, queue: 100_000, mark_above: None });
    let config = LinkConfig { rate: rate(8_000_000), overhead: 28, delay: 10 * MS, ..LinkConfig::default() };
    let mut link = Link::new(config, 0);
    let send = |link: &mut Link, now| link.send(&[0; 972], Ecn::NotEct, now);
    (0..10).for_each(|_| send(&mut link, START));
    assert_eq!(link.backlog(START), 10 * MS, "a millisecond for each thousand bytes, headers included");
    // Two and a half have left; the rest goes ten times as fast, then ten times as slow.
    let change = START + MS * 5 / 2;
    link.set_config(LinkConfig { rate: rate(80_000_000), ..config }, change);
    assert_eq!(link.backlog(change), MS * 3 / 4);
    send(&mut link, change);
    assert_eq!(link.backlog(change), MS * 17 / 20);
    link.set_config(LinkConfig { rate: rate(800_000), ..config }, change);
    assert_eq!(link.backlog(change), 85 * MS);
    let mut arrivals = Vec::new();
    while let Some(at) = link.poll_timeout() {
        link.receive(at).unwrap();
        arrivals.push(at.since(START) - 10 * MS);
    }
    let expected = [MS, 2 * MS].into_iter().chain((0..9).map(|n| MS * 15 / 2 + 10 * MS * n));
    assert!(arrivals.iter().copied().eq(expected), "{arrivals:?}");
}

#[test]
fn a_datagram_arrives_as_its_senders() {
    let mut link = Link::new(LinkConfig::default(), 0);
    link.send_for(7, b"seven", Ecn::NotEct, START);
    link.send(b"nobody", Ecn::NotEct, START);
    let owners: Vec<u8> = std::iter::from_fn(|| link.receive(START)).map(|arrival| arrival.owner).collect();
    assert_eq!(owners, [7, 0]);
}
