//! What is late, lost, doubled or damaged, and how often.

use super::*;

#[test]
fn stragglers_are_as_late_as_they_should_be() {
    let config = LinkConfig { straggle: Straggle { share: 100_000, by: 50 * MS }, ..LinkConfig::default() };
    let arrivals = run(&mut pipe(config, 4), 10_000, 100, MS);
    let late = arrivals.iter().filter(|(at, number)| *at == START + MS * *number + 50 * MS).count();
    assert!((800..1200).contains(&late), "{late} of 10,000 at a tenth");
    let in_time = arrivals.iter().filter(|(at, number)| *at == START + MS * *number).count();
    assert_eq!(late + in_time, 10_000);
}

#[test]
fn blocks_that_change_places_keep_their_order_inside() {
    let config = LinkConfig { swap: Some(Swap { block: 60 * MS, each: SECOND }), ..LinkConfig::default() };
    let numbers = numbers(&run(&mut pipe(config, 0), 1000, 100, MS));
    let expected = (60..=120).chain(0..60).chain(121..1000);
    // What leaves just as the block is over may go before or after it.
    let expected: Vec<u32> = expected.collect();
    let place = |number: u32| numbers.iter().position(|it| *it == number).unwrap();
    assert!((0..59).all(|number| place(number) < place(number + 1)));
    assert!(place(119) < place(0) && place(59) < place(121));
    assert_eq!(numbers.len(), expected.len());
    assert_eq!(numbers[200..], expected[200..]);
}

#[test]
fn random_loss_is_as_frequent_as_it_should_be() {
    let mut pipe = pipe(LinkConfig { loss: Loss::Random(50_000), ..LinkConfig::default() }, 5);
    let arrivals = run(&mut pipe, 100_000, 100, MS);
    assert!((4_600..5_400).contains(&pipe.stats().lost), "{} of 100,000 at 5 %", pipe.stats().lost);
    assert_eq!(arrivals.len() as u64 + pipe.stats().lost, 100_000);
}

#[test]
fn bursts_are_as_long_and_as_frequent_as_they_should_be() {
    for (share, length) in [(20_000, 8), (10_000, 5), (200_000, 2)] {
        let config = LinkConfig { loss: Loss::new(share, length), ..LinkConfig::default() };
        let arrived = numbers(&run(&mut pipe(config, 6), 400_000, 100, MS));
        let gaps: Vec<u32> =
            arrived.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|gap| *gap > 0).collect();
        let lost = f64::from(gaps.iter().sum::<u32>());
        let found = (lost / 400_000.0 / f64::from(share) * 1e6, lost / gaps.len() as f64 / f64::from(length));
        assert!((found.0 - 1.0).abs() < 0.15 && (found.1 - 1.0).abs() < 0.1, "{share} {length}: {found:?}");
    }
}

#[test]
fn duplicates_are_as_frequent_as_they_should_be_and_whole() {
    let mut pipe = pipe(LinkConfig { duplicate: 100_000, ..LinkConfig::default() }, 7);
    let all = numbers(&run(&mut pipe, 10_000, 100, MS));
    assert_eq!(all.len() as u64, 10_000 + pipe.stats().duplicated);
    assert!((900..1100).contains(&pipe.stats().duplicated), "{:?}", pipe.stats());
    assert!(all.is_sorted());
}

#[test]
fn damage_changes_one_byte_and_never_none() {
    let mut pipe = pipe(LinkConfig { corrupt: MILLION, ..LinkConfig::default() }, 8);
    for _ in 0..2000 {
        pipe.offer(0, 16, false, Duration::ZERO);
        let mut bytes = [0; 16];
        damage(&mut bytes, pipe.take(Duration::ZERO).unwrap().damage.unwrap());
        assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 1);
    }
    damage(&mut [], 1);
}
