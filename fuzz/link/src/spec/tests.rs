use super::*;
use crate::config::{Dip, Loss, Policer, Rate, Step, Straggle, Swap, Wander};
use crate::{profiles, rng::Rng};

const MS: Duration = Duration::from_millis(1);

fn spec(text: &str) -> LinkSpec {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn three_links_are_read_in_their_order() {
    let links = links("100mbit 5ms, 50mbit 30ms, 20mbit 80ms 1%").unwrap();
    let rates: Vec<u64> = links.iter().map(|link| link.forward.capacity() / 1_000_000).collect();
    let delays: Vec<u128> = links.iter().map(|link| link.forward.delay.as_millis()).collect();
    assert_eq!((rates, delays), (vec![100, 50, 20], vec![5, 30, 80]));
    assert_eq!(links[2].back.loss, Loss::Random(10_000));
    assert_eq!(links[0].forward.rate.map(|rate| rate.queue), Some(100_000_000 / 8 * 150 / 1000));
}

#[test]
fn every_word_is_read() {
    let text = "1.5mbit 20ms 2ms 0.5% burst 5 queue 64kB wander 5ms each 10ms heavy smooth reorder step 20ms each 15s \
                dip 100ms-300ms each 15s batch 8ms policer 1mbit 2MB duplicate 0.1% corrupt 0.2% straggle 1% 60ms \
                swap 60ms each 1s";
    let expected = LinkConfig {
        delay: 20 * MS,
        jitter: 2 * MS,
        reorder: true,
        overhead: 0,
        rate: Some(Rate { bits_per_second: 1_500_000, queue: 64_000, mark_above: None }),
        trace: None,
        policer: Some(Policer { bits_per_second: 1_000_000, bucket: 2_000_000 }),
        dip: Some(Dip { shortest: 100 * MS, longest: 300 * MS, each: 15_000 * MS }),
        batch: 8 * MS,
        loss: Loss::Bursts { share: 5_000, length: 5 },
        duplicate: 1_000,
        straggle: Straggle { share: 10_000, by: 60 * MS },
        wander: Some(Wander { deviation: 5 * MS, each: 10 * MS, heavy: true, smooth: true }),
        step: Some(Step { within: 20 * MS, each: 15_000 * MS }),
        swap: Some(Swap { block: 60 * MS, each: 1000 * MS }),
        corrupt: 2_000,
        mtu: None,
    };
    assert_eq!(spec(text), LinkSpec::symmetric(expected));
    let other = text
        .replace("20ms 2ms", "jitter 2ms")
        .replace(" reorder", "")
        .replace("1.5mbit ", "1.5mbit reorder 20ms ");
    assert_eq!(spec(&other), spec(text), "in any order");
    assert_eq!(
        spec("1mbit policer 1mbit 5packets").forward.policer.map(|policer| policer.bucket),
        Some(5 * FULL_FRAME)
    );
}

#[test]
fn the_other_direction_is_alike_but_for_the_words_behind_back() {
    let link = spec("16mbit 15ms 1% queue 300ms wander 5ms back 2mbit 20ms wander none");
    let back = spec("2mbit 20ms 1% queue 300ms").forward;
    assert_eq!((link.back, link.forward), (back, spec("16mbit 15ms 1% queue 300ms wander 5ms").forward));
    assert_eq!(
        back.rate.map(|rate| rate.queue),
        Some(2_000_000 / 8 * 300 / 1000),
        "a time, at the other rate"
    );
}

#[test]
fn words_behind_a_preset_override_it_but_not_what_differs_on_its_way_back() {
    let plain = spec("lte");
    let changed = spec("lte 60mbit queue 400ms 0%");
    assert_eq!(changed.forward.capacity(), 60_000_000);
    assert_eq!(changed.back.capacity(), plain.back.capacity());
    assert_eq!(changed.back.rate.map(|rate| rate.queue), Some(10_000_000 / 8 * 400 / 1000));
    assert_eq!((changed.back.loss, changed.forward.wander), (Loss::None, plain.forward.wander));
    assert_eq!(spec("starlink dip none back 30mbit").back.capacity(), 30_000_000);
    assert_eq!(spec("starlink dip none").back.dip, None);
}

#[test]
fn presets_are_what_their_documentation_says() {
    let rates = presets().iter().map(|preset| {
        let link = spec(preset.name);
        assert_eq!(link, spec(preset.text), "{}", preset.name);
        let bits = |config: LinkConfig| config.rate.map_or(0, |rate| rate.bits_per_second / 1_000_000);
        (preset.name, bits(link.forward), bits(link.back), link.forward.delay.as_millis())
    });
    let expected = [
        ("dsl", 16, 2, 15),
        ("cable", 100, 10, 8),
        ("fibre", 300, 100, 8),
        ("lte", 40, 10, 35),
        ("lte-driving", 20, 6, 45),
        ("5g", 80, 20, 20),
        ("starlink", 150, 15, 25),
        ("geo", 20, 3, 320),
        ("wifi", 100, 60, 3),
        ("train", 15, 5, 50),
    ];
    assert!(rates.eq(expected));
    assert!(profiles().iter().all(|profile| links(profile.links).is_ok_and(|links| links.len() == 2)));
    assert!(presets().iter().all(|preset| GRAMMAR.contains(preset.name)));
}

#[test]
fn what_carries_less_is_counted_once() {
    let dips = spec("10mbit dip 100ms-300ms each 2s 10%").forward;
    assert_eq!((dips.capacity(), dips.delivered()), (9_000_000, 8_100_000));
    let policed = spec("10mbit dip 100ms-300ms each 2s policer 5mbit 1MB 10%").forward;
    assert_eq!((policed.capacity(), policed.delivered()), (5_000_000, 4_500_000));
    assert_eq!(LinkConfig::default().capacity(), 0);
}

#[test]
fn a_link_is_written_as_it_was_read() {
    for text in [
        "100mbit 5ms",
        "20mbit 80ms 2.5ms 0.1% burst 5 queue 300ms",
        "64kbit 500us 7%",
        "16mbit 15ms back 2mbit queue 300ms",
        "20mbit 45ms wander 12ms each 50ms heavy smooth reorder",
        "9601bit queue 123457B policer 1gbit 5packets swap 60ms each 1s",
        "20mbit breathe 40% 20ms back 5mbit breathe 0% 0ms",
    ] {
        assert_eq!(spec(text).to_string(), text);
    }
}

#[test]
fn whatever_is_written_parses_to_the_same_link() {
    let words = [
        "20ms",
        "20ms 2ms",
        "1%",
        "1% burst 5",
        "0% burst 1",
        "queue 64kB",
        "queue 2MB",
        "queue 33ms",
        "wander 5ms",
        "wander 5ms each 10ms heavy",
        "wander 7ms each 100ms smooth",
        "wander none",
        "reorder",
        "reorder none",
        "step 20ms each 15s",
        "step none",
        "dip 200ms each 15s",
        "dip 100ms-300ms each 15s",
        "dip none",
        "batch 8ms",
        "batch none",
        "policer 30mbit 2MB",
        "policer 3mbit 7packets",
        "policer none",
        "duplicate 0.1%",
        "duplicate none",
        "corrupt 0.1%",
        "straggle 1% 60ms",
        "straggle none",
        "swap 60ms each 1s",
        "swap none",
        "breathe 40%",
        "breathe 0%",
    ];
    let mut rng = Rng::new(1);
    let mut some = |most: u64| -> String {
        (0..rng.below(most)).map(|_| format!(" {}", words[rng.index(words.len())])).collect()
    };
    let mut read = 0;
    for number in 0..20_000 {
        let begin = [["16mbit", "64kbit", "1gbit"], ["lte", "starlink", "train"]].concat()[number % 6];
        let mut text = format!("{begin}{}", some(6));
        if number % 2 == 0 {
            text += &format!(" back 3mbit{}", some(6));
        }
        // Some say the same twice, or a burst without a loss.
        if let Ok(link) = text.parse::<LinkSpec>() {
            let again = link.to_string();
            assert_eq!(spec(&again), link, "{text}\n{again}");
            read += 1;
        }
    }
    assert!(read > 5000, "{read}");
}

#[test]
fn an_error_says_which_link_what_was_found_and_what_is_allowed() {
    for (text, found, allowed) in [
        ("100mbit 5ms, 50mbit 5", "link 2, `50mbit 5`: `5` is not a time", "80ms"),
        ("100mb 5ms", "link 1, `100mb 5ms`: `100mb` is not", "80ms"),
        ("5ms", "`5ms` is no rate", "20mbit"),
        ("1mbit 50s", "`50s` is not from 0", "10s"),
        ("1mbit 5ms 60%", "`60%` is not a share", "50%"),
        ("1mbit 5ms 1% 2%", "`2%` comes after another", "of its kind"),
        ("1mbit 5ms 6ms", "jitter, 6ms, is longer", "arrive"),
        ("1mbit 5ms burst 5", "`burst` needs a loss", "1%"),
        ("1mbit 5ms 1% burst 0", "`0` is not a mean number", "1 to 1000"),
        ("1mbit 5ms queue", "nothing after `queue`", "a time or a size"),
        ("1mbit 5ms queue 0ms", "takes no packet", "queue"),
        ("1mbit 5ms queue 5", "`5` is not a time", "64kB"),
        ("1mbit 5ms loose", "`loose` is not known", "`wander`"),
        ("1mbit 5ms,", "link 2, ``: there is nothing", "trace FILE"),
        ("loose", "`loose` is not known", "a rate"),
        ("queue 5ms", "`queue` is no rate", "starlink"),
        ("1mbit NaNms", "`NaNms` is not known", "times"),
        ("1mbit wander 5ms smooth", "`smooth` needs a correlation time", "each"),
        ("1mbit wander 5ms each", "nothing after `each`", "10ms"),
        ("1mbit dip 5ms", "nothing after `dip`", "each 15s"),
        ("1mbit dip 5ms every 2s", "`every` stands where `dip` wants `each`", "each 15s"),
        ("1mbit dip 2s each 1s", "a dip of 2s each 1s leaves nothing", ""),
        ("1mbit dip 300ms-200ms each 1s", "the first time is the longer one", ""),
        ("1mbit policer 3mbit", "nothing after `policer`", "5packets"),
        ("1mbit policer 3mbit 2ms", "`2ms` is not a bucket", "5packets"),
        ("1mbit swap 600ms each 1s", "two blocks", "period"),
        ("1mbit back", "nothing after `back`", "other direction"),
        ("1mbit back 2mbit back 3mbit", "`back` stands twice", ""),
        ("1mbit 5ms back 9ms jitter 10ms", "on the way back: the jitter", "delay"),
        ("trace /nowhere 5ms", "trace `/nowhere`", "No such file"),
        ("1mbit lte", "`lte` is not known", "a rate"),
    ] {
        let error = links(text).map(|links| format!("{links:?}")).unwrap_err();
        assert!(error.contains(found) && error.contains(allowed), "{text}: {error}");
    }
}
