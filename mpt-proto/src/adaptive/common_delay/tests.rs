use super::*;
use crate::rng::Rng;

/// Between reports.
const STEP: Duration = Duration::from_millis(10);
/// A window that never binds.
const WIDE: f32 = 65_000.0;

struct Bench {
    paths: PathDelays,
    delay: CommonDelay,
    up: PathSet,
    now: Instant,
    window: f32,
}

/// Paths with these base delays, in microseconds, of 1.25 MB/s each.
fn bench(bases: &[f32]) -> Bench {
    let mut paths = PathDelays::default();
    let mut up = PathSet::default();
    for (index, base) in bases.iter().enumerate() {
        up.insert(index);
        paths[index] = Some(path(*base));
    }
    let delay = CommonDelay { is_used: true, ..CommonDelay::default() };
    Bench { paths, delay, up, now: Instant::from_micros(10_000_000), window: WIDE }
}

/// A path with this base delay, in microseconds, without a queue or noise.
fn path(base: f32) -> PathDelay {
    PathDelay { base, deviation: 0.0, queue: 0.0, rate: START_RATE, feedback: 50_000.0, unusable_since: None }
}

impl Bench {
    /// Reports for so long, with packets that wait for `sojourn` in the ingress queue; zero: nothing waits.
    fn run(&mut self, ms: u64, sojourn: u32) {
        for _ in 0..ms / 10 {
            self.step(sojourn);
        }
    }

    fn step(&mut self, sojourn: u32) {
        self.now = self.now + STEP;
        if sojourn > 0 {
            self.delay.note_sojourn(sojourn);
        } else {
            self.delay.note_empty();
        }
        self.delay.update(&self.paths, self.up, sojourn > 0, self.window, self.now);
        self.check();
    }

    fn path(&mut self, index: usize) -> &mut PathDelay {
        self.paths[index].as_mut().unwrap()
    }

    /// What must hold after each update.
    fn check(&self) {
        let known = |index: &usize| self.paths[*index].is_some_and(|path| path.unusable_since.is_none());
        let usable = self.up.into_iter().filter(known).count();
        assert!(usable == 0 || !self.delay.open.is_empty(), "no path is open though {usable} could be");
        if usable > 0 {
            assert!(self.delay.open.into_iter().all(|index| self.up.contains(index) && known(&index)));
        }
        assert!(self.delay.hold.is_none_or(f32::is_finite));
    }

    fn open(&self) -> [bool; 2] {
        [0, 1].map(|index| self.delay.open.contains(index))
    }
}

#[test]
fn while_nothing_waits_only_the_fastest_path_is_open_and_nothing_is_held() {
    let mut bench = bench(&[10_000.0, 90_000.0]);
    bench.run(20_000, 0);
    assert_eq!((bench.open(), bench.delay.hold), ([true, false], None));
}

#[test]
fn paths_of_about_the_same_delay_are_all_open_at_once() {
    let mut bench = bench(&[10_000.0, 12_000.0]);
    bench.step(0);
    assert_eq!(bench.open(), [true; 2]);
}

#[test]
fn packets_that_wait_for_longer_than_the_next_path_takes_longer_open_it_soon() {
    for (sojourn, is_open) in [(100_000, true), (30_000, false)] {
        let mut bench = bench(&[10_000.0, 90_000.0]);
        bench.run(60, sojourn);
        assert!(!bench.open()[1], "packets must have waited for a while");
        bench.run(700, sojourn);
        assert_eq!(bench.open()[1], is_open, "{sojourn}");
    }
}

#[test]
fn a_queue_that_comes_and_goes_does_not_raise_the_delay() {
    let mut bench = bench(&[10_000.0, 90_000.0]);
    for _ in 0..500 {
        bench.step(30_000);
        bench.step(30_000);
        bench.step(0);
    }
    // Nor does one that stands for a moment, as while a path that was probed empties.
    for _ in 0..50 {
        bench.run(180, 30_000);
        bench.run(180, 0);
    }
    assert_eq!((bench.open(), bench.delay.hold), ([true, false], None));
    // One that stands most of the time does.
    for _ in 0..50 {
        bench.run(360, 30_000);
        bench.run(180, 0);
    }
    assert_eq!(bench.open(), [true; 2]);
}

#[test]
fn a_standing_queue_raises_the_delay_slowly_until_the_slower_path_fits() {
    let mut bench = bench(&[10_000.0, 90_000.0]);
    bench.step(0);
    let (began, mut before) = (bench.now, bench.delay.delay);
    while bench.open() != [true; 2] {
        bench.step(20_000);
        let (rise, rest) = (bench.delay.delay - before, 90_000.0 + ALLOWANCE - before);
        let is_slow = rise <= RISE * STEP.as_micros() as f32 + 1.0;
        assert!(is_slow || rest < 20_000.0, "{rise} us at once, {rest} before it is there");
        before = bench.delay.delay;
        assert!(bench.now.since(began) < Duration::from_secs(10), "it does not open");
    }
    let took = bench.now.since(began).as_micros() as f32;
    assert!(took >= 60_000.0 / RISE, "{took} us");
    bench.run(10_000, 20_000);
    let hold = bench.delay.hold.unwrap();
    assert!((hold - 90_000.0).abs() < 1_000.0, "it stays at what the slower path needs: {hold}");
    assert!(!bench.delay.may_rise);
}

#[test]
fn a_flow_that_fills_the_open_paths_without_a_queue_is_led_on_by_what_it_has_on_the_way() {
    for (bytes, is_full) in [(12_000, true), (6_000, false)] {
        let mut bench = bench(&[10_000.0, 90_000.0]);
        bench.path(0).feedback = 40_000.0;
        bench.path(1).feedback = 120_000.0;
        let fastest = 10_000.0 + ALLOWANCE;
        let mut run = |ms: u64| {
            for _ in 0..ms / 10 {
                bench.delay.note_sent(bytes);
                bench.step(STANDING / 2);
            }
            (bench.delay.delay - fastest, bench.open()[1])
        };
        assert!(run(2_500).0 < 1.0, "a short transfer is let alone");
        let (first, is_open) = run(7_500);
        let bearable = if is_full { (LIFT - 1.0) * 40_000.0 } else { 0.0 };
        assert!((first - bearable).abs() < 1.0 && !is_open, "{first} of {bearable} for {bytes} bytes");
        assert_eq!(run(20_000).1, is_full, "{bytes} bytes");
    }
}

#[test]
fn it_sinks_again_when_nothing_has_waited_for_a_while() {
    let mut bench = bench(&[10_000.0, 90_000.0]);
    bench.run(10_000, 20_000);
    assert_eq!(bench.open(), [true; 2]);
    let raised = bench.delay.delay;
    bench.run(400, 0);
    assert!(bench.delay.delay >= raised - 1.0, "not at once");
    bench.run(1_000, 0);
    assert!(bench.delay.delay < raised);
    let before = bench.delay.delay;
    bench.step(0);
    assert!(before - bench.delay.delay <= FALL * STEP.as_micros() as f32 + 1.0);
    bench.run(20_000, 0);
    assert_eq!((bench.open(), bench.delay.hold), ([true, false], None));
}

#[test]
fn it_stays_while_more_is_sent_than_the_nearer_paths_carry() {
    for (bytes, stays) in [(12_000, true), (9_000, false)] {
        let mut bench = bench(&[10_000.0, 90_000.0]);
        for (steps, sojourn) in [(1_000, 20_000), (2_000, 0)] {
            assert!(sojourn > 0 || bench.open() == [true; 2]);
            for _ in 0..steps {
                bench.delay.note_sent(bytes);
                bench.step(sojourn);
            }
        }
        assert_eq!(bench.open(), [true, stays], "{bytes} bytes");
        bench.run(10_000, 0);
        assert_eq!(bench.open(), [true, false], "the transfer is over");
    }
}

#[test]
fn what_is_sent_keeps_no_more_than_the_receiver_has_room_for() {
    let mut bench = bench(&[10_000.0, 90_000.0]);
    bench.run(10_000, 20_000);
    assert_eq!(bench.open(), [true; 2]);
    // 40 ms of both paths' rate.
    bench.window = 102.0;
    for _ in 0..1_000 {
        bench.delay.note_sent(12_000);
        bench.step(0);
    }
    assert_eq!((bench.open(), bench.delay.hold), ([true, false], None));
}

#[test]
fn between_transfers_it_is_at_once_what_the_near_paths_need() {
    let mut bench = bench(&[10_000.0, 90_000.0]);
    bench.run(10_000, 20_000);
    bench.delay.is_used = false;
    bench.run(1_000, 20_000);
    assert_eq!(bench.open(), [true; 2], "of packets that need no order, too many for the near path");
    bench.run(600, 0);
    assert_eq!((bench.open(), bench.delay.hold), ([true, false], None));
}

#[test]
fn before_a_transfer_it_covers_far_paths_only_if_the_near_ones_are_thin() {
    for (rate, far) in [(START_RATE, false), (START_RATE / 4.0, true)] {
        let mut bench = bench(&[10_000.0, 90_000.0]);
        bench.delay.is_used = false;
        bench.path(0).rate = rate;
        bench.path(1).rate = 10.0 * START_RATE;
        bench.step(0);
        assert_eq!(bench.open(), [true, far], "{rate} bytes a second");
    }
}

#[test]
fn no_more_is_held_than_the_receiver_has_room_for() {
    let mut bench = bench(&[10_000.0, 90_000.0]);
    bench.window = 64.0;
    bench.path(0).rate = 12_500_000.0;
    bench.path(1).rate = 12_500_000.0;
    bench.run(30_000, 20_000);
    let held = bench.delay.spread(10_000.0) * 1e-6 * 25_000_000.0 / 1_400.0;
    assert!(held <= 64.0, "{held} packets");
    assert_eq!(bench.open(), [true, false]);
}

#[test]
fn a_path_that_lags_too_far_behind_is_not_worth_it() {
    let mut bench = bench(&[10_000.0, 10_000.0 + MOST_SPREAD + 2.0 * TOLERANCE]);
    bench.run(60_000, 20_000);
    assert_eq!((bench.open(), bench.delay.hold), ([true, false], None));
}

#[test]
fn a_path_whose_queue_grows_closes_but_for_the_last() {
    let mut bench = bench(&[10_000.0, 12_000.0]);
    bench.path(1).queue = 50_000.0;
    bench.step(20_000);
    assert_eq!(bench.open(), [true, false]);
    bench.path(0).queue = 200_000.0;
    bench.step(20_000);
    assert_eq!(bench.open(), [false, true], "the better of two that do not fit");
}

#[test]
fn while_a_path_is_down_its_delay_is_kept_for_it_and_then_no_more() {
    let mut bench = bench(&[10_000.0, 90_000.0]);
    bench.run(10_000, 20_000);
    let raised = bench.delay.delay;
    bench.up.set(1, false);
    bench.path(1).unusable_since = Some(bench.now);
    bench.run(10_000, 20_000);
    assert!(bench.delay.delay > raised - 1.0);
    assert_eq!(bench.open(), [true, false]);
    bench.run(30_000, 20_000);
    assert!(bench.delay.delay < raised - 10_000.0, "{}", bench.delay.delay);
}

#[test]
fn whatever_paths_do_one_that_works_is_open() {
    for seed in 0..30 {
        let mut rng = Rng::new(seed);
        let mut bench = bench(&[10_000.0, 50_000.0, -3_000.0, 0.0]);
        for _ in 0..2_000 {
            let index = usize::try_from(rng.below(4)).unwrap();
            let path = bench.paths[index].get_or_insert(path(0.0));
            match rng.below(8) {
                0 => {
                    let is_up = rng.below(2) == 0;
                    bench.up.set(index, is_up);
                    path.unusable_since = (!is_up).then_some(bench.now);
                }
                1 => path.unusable_since = (rng.below(2) == 0).then_some(bench.now),
                2 => path.queue = rng.below(400_000) as f32,
                3 => path.base = rng.below(600_000) as f32 - 300_000.0,
                4 => path.rate = rng.below(4_000_000_000) as f32,
                5 => bench.window = rng.below(65_536) as f32,
                6 => bench.paths[index] = None,
                _ => path.deviation = rng.below(50_000) as f32,
            }
            let sojourn = u32::try_from(rng.below(3) * 10_000).unwrap();
            bench.run(rng.below(60), sojourn);
            bench.step(sojourn);
        }
    }
}

#[test]
fn each_verdict_has_its_reason() {
    let frame = Frame {
        floor: 10_000.0,
        most: 300_000.0,
        ceiling: 90_000.0,
        next: Some(90_000.0),
        enough: 10_000.0,
        lifted: 10_000.0,
    };
    let load = Load { is_used: true, rests: false, standing: None, is_filled: false };
    let waits = |standing| Load { standing: Some(standing), ..load };
    let rests = Load { rests: true, ..load };
    let cases = [
        ("nothing waits", 50_000.0, frame, load, Verdict::Stay),
        ("the fast path is gone", 5_000.0, frame, load, Verdict::Jump),
        ("no flow would feel it", 50_000.0, frame, Load { is_used: false, ..rests }, Verdict::Jump),
        ("of another kind, packets wait", 50_000.0, frame, Load { is_used: false, ..load }, Verdict::Stay),
        ("packets wait", 10_000.0, frame, waits(20_000), Verdict::Rise),
        ("they wait for longer than the next path takes", 10_000.0, frame, waits(90_000), Verdict::Rush),
        ("the next path is near", 80_000.0, frame, waits(20_000), Verdict::Rush),
        ("all paths are open", 90_000.0, frame, waits(90_000), Verdict::Stay),
        ("there is no next path", 50_000.0, Frame { next: None, ..frame }, waits(90_000), Verdict::Rise),
        (
            "the open paths are full without a queue",
            50_000.0,
            Frame { lifted: 60_000.0, ..frame },
            Load { is_filled: true, ..load },
            Verdict::Lift,
        ),
        (
            "they are full, and the flow bears no more",
            60_000.0,
            Frame { lifted: 60_000.0, ..frame },
            Load { is_filled: true, ..load },
            Verdict::Stay,
        ),
        ("they are not full", 50_000.0, Frame { lifted: 60_000.0, ..frame }, load, Verdict::Stay),
        ("nothing has waited for a while", 50_000.0, frame, rests, Verdict::Sink),
        ("it is at the floor", 10_000.0, frame, rests, Verdict::Stay),
        (
            "the slowest path is faster now",
            50_000.0,
            Frame { ceiling: 40_000.0, ..frame },
            waits(90_000),
            Verdict::Sink,
        ),
        ("it is a little faster", 50_000.0, Frame { ceiling: 48_000.0, ..frame }, load, Verdict::Stay),
    ];
    for (name, delay, frame, load, verdict) in cases {
        assert_eq!(decide(delay, &frame, &load), verdict, "{name}");
    }
}

#[test]
fn a_stream_beside_that_never_waits_does_not_close_slower_paths() {
    let mut bench = bench(&[10_000.0, 90_000.0]);
    for _ in 0..2_000 {
        // Two flows have turns: one has sent little, and its packets leave at once.
        for sojourn in [0, 30_000, 0] {
            bench.delay.note_sojourn(sojourn);
        }
        bench.step(30_000);
    }
    assert_eq!(bench.open(), [true; 2]);
}

#[test]
fn packets_of_several_paths_are_held_for_what_the_nearest_wanders() {
    let mut bench = bench(&[10_000.0, 90_000.0]);
    bench.path(0).deviation = 5_000.0;
    bench.run(1_000, 0);
    assert_eq!(bench.delay.hold, Some(10_000.0 + DELAY_NOISE * 5_000.0));
    bench.path(0).deviation = 20_000.0;
    bench.run(2_000, 0);
    assert_eq!(bench.delay.hold, Some(10_000.0 + HELD_NOISE), "but not for ever");
    bench.path(1).unusable_since = Some(bench.now);
    bench.run(2_000, 0);
    assert_eq!(bench.delay.hold, None, "alone");
    bench.path(1).unusable_since = None;
    bench.path(0).deviation = NO_HOLD / DELAY_NOISE;
    bench.run(2_000, 0);
    assert_eq!(bench.delay.hold, None, "not worth it");
}

#[test]
fn what_is_held_for_a_slower_path_does_not_end_at_once_when_that_goes() {
    let mut bench = bench(&[10_000.0, 90_000.0]);
    bench.run(5_000, 100_000);
    let held = bench.delay.hold.expect("the slower path is waited for");
    bench.path(1).unusable_since = Some(bench.now);
    bench.run(20, 100_000);
    assert!(
        bench.delay.hold.is_some_and(|hold| hold > held - 5_000.0),
        "{:?} after {held}",
        bench.delay.hold
    );
}

#[test]
fn nothing_waits_for_a_path_that_carries_next_to_nothing_but_it_is_tried() {
    for (share, is_waited_for) in [(0.004, false), (0.1, true)] {
        let mut bench = bench(&[10_000.0, 90_000.0]);
        bench.path(1).rate = share * START_RATE;
        bench.run(5_000, 20_000);
        assert_eq!(bench.open(), [true, is_waited_for], "{share}");
        assert_eq!(bench.delay.tried.contains(1), !is_waited_for, "{share}");
    }
}
