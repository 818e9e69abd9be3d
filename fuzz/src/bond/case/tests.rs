//! Cases as text, and as references of each other.

use super::*;

#[test]
fn a_case_is_the_same_after_it_was_text() {
    for line in [
        "--links \"20mbit 10ms, lte\" --cc cubic --time 20 --seed 1",
        "--links \"20mbit 10ms, shared0\" --policy backup --cc none --ping --time 2.5 --warm 1 --seed 7 --reverse",
        "--links \"20mbit 10ms\" --cc 1000xcubic --beside \"call, conference 2.5mbit, game, dns, thin 120x400kbit, syn 40000\" \
         --time 20 --seed 1",
        "--links \"20mbit 10ms\" --cc bbr,quic --opposite cubic --stream 0.5,2 --paced 5 --at \"1s cut 0\" \"2.25s mend 0\" \
         \"3s freeze 0 back\" \"4s rate 0 2.5\" \"5s delay 0 12.5 forward\" \"6s hold 0 400\" \"7s clock 1 300\" --time 8 --seed 1 \
         --drift -500 --only 0 --plain 0",
    ] {
        assert_eq!(line.parse::<Case>().unwrap().to_string(), line);
    }
    for (line, why) in [
        ("--links \"20mbit 10mn\"", "\"20mbit 10mn\": `10mn`"),
        ("--cc vegas", "no such TCP: vegas"),
        ("--beside \"call, shout\"", "no such traffic: shout"),
        ("--beside \"thin 0x400kbit\"", "no such traffic: thin 0x400kbit"),
        ("--at \"1s cut 0 back\"", "\"1s cut 0 back\" has no direction"),
        ("--at \"1s\"", "\"1s\" is nothing that happens"),
        ("--warm", "--warm wants a value"),
        ("--tame 1", "no such option: --tame"),
    ] {
        let error = line.parse::<Case>().unwrap_err();
        assert!(error.starts_with(why), "{error}");
    }
}

#[test]
fn what_links_carry_is_reckoned_as_it_is_found() {
    let steady: Case = "--links \"20mbit 10ms, 5mbit 30ms 1%\" --time 10".parse().unwrap();
    let reckoned = steady.possible();
    let found = Case { events: vec!["1s delay 0 10".parse().unwrap()], ..steady }.possible();
    for (reckoned, found) in reckoned.iter().zip(&found) {
        assert!((reckoned / found - 1.0).abs() < 0.01, "{reckoned} and {found}");
    }
    let half: Case = "--links \"20mbit 10ms\" --at \"5s rate 0 10\" --time 10 --warm 0".parse().unwrap();
    let [found] = half.possible()[..] else { panic!() };
    assert!((found / 14.6 - 1.0).abs() < 0.05, "{found}");
}

#[test]
fn references_see_the_same_events_and_one_link_only() {
    let case: Case =
        "--links \"20mbit 10ms, 10mbit 20ms\" --policy weighted --at \"4s freeze 0\" \"5s mend 0\" \"6s cut 1\" --time 9"
            .parse()
            .unwrap();
    let first = case.alone(0);
    assert_eq!(first.events.len(), 2);
    let [of_first, plain] = [first, case.plain(0)].map(|case| case.run());
    for outcome in [&of_first, &plain] {
        assert!(outcome.rate_within(2 * SECOND, 4 * SECOND) > 18.0, "{outcome:?}");
        assert!(outcome.rate_within(SECOND * 9 / 2, 5 * SECOND) < 1.0, "{outcome:?}");
    }
    let of_second = case.alone(1).run();
    assert!((8.0..10.0).contains(&of_second.rate_within(2 * SECOND, 6 * SECOND)), "{of_second:?}");
    assert!(of_second.rate_within(7 * SECOND, 9 * SECOND) < 0.1, "{of_second:?}");
}

#[test]
fn what_is_held_back_arrives_at_once() {
    let case: Case = "--links \"20mbit 10ms\" --policy weighted --stream 2 --cc none --ping --at \"2s hold 0 400\" --time 4 --warm 0"
        .parse()
        .unwrap();
    case.with_bond(|bond| {
        let mut running = case.start(bond);
        running.advance(bond, running.begun + case.time);
        let within = running.begun..bond.elapsed();
        let stream = bond.stream_of(running.streams[0]);
        let gap = stream.meter().gaps().longest(&within);
        assert!((Duration::from_millis(395)..Duration::from_millis(420)).contains(&gap), "{gap:?}");
        assert_eq!(stream.lost(&(within.start..within.end - SECOND / 10)), 0);
    });
}

#[test]
fn a_paced_flow_has_its_pace() {
    let case: Case =
        "--links \"20mbit 10ms\" --policy weighted --cc none --paced 5 --time 10 --warm 2".parse().unwrap();
    let outcome = case.run();
    assert!((outcome.beside - 5.0).abs() < 0.05, "{outcome:?}");
}

#[test]
fn what_is_drawn_is_in_the_grammar_and_the_same_after_it_was_text() {
    let mut rng = crate::rng::Rng::new(crate::rng::test_seed(3));
    for scope in [Scope::OneFlow, Scope::Everything] {
        for _ in 0..300 {
            let mut draft = Draft::new(&mut rng, scope);
            for _ in 0..5 {
                let text = draft.case().to_string();
                assert_eq!(text.parse::<Case>().unwrap_or_else(|why| panic!("{why}: {text}")), draft.case());
                assert!(draft.simpler().iter().all(|it| it.case().to_string().len() <= text.len() + 8));
                draft = draft.mutated(&mut rng);
            }
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
