use super::*;
use crate::adaptive::tuning::{PROBE_GAIN, PROBE_TIME, SAMPLE};
use core::time::Duration;

/// Bytes a second: a packet of 1,000 bytes each millisecond.
const RATE: f32 = 1_000_000.0;
const ROUND: f32 = 40_000.0;

/// One path, as reports tell it.
struct Bench {
    phases: Phases,
    rate: RateEstimate,
    delay: DelayEstimate,
    see: Signal,
}

/// A path whose delay is known, in this state.
fn bench(state: State) -> Bench {
    let (at, now) = (Anchor::first(20_000.0), Instant::from_micros(10_000_000));
    let see = Signal {
        at,
        now,
        next_number: 1,
        backlog: true,
        is_policed: false,
        random: 0.5,
        sampled: false,
        grows: false,
        probe_time: PROBE_TIME,
        probe_gain: PROBE_GAIN,
        probe_sample: SAMPLE,
        round: ROUND,
        lost: 0,
        mean_len: 1_000.0,
        since_report: 10_000.0,
    };
    let mut bench = Bench {
        phases: Phases::default(),
        rate: RateEstimate::default(),
        delay: DelayEstimate::default(),
        see,
    };
    bench.rate.reset(RATE, now);
    bench.rate.handle(bench.see.at, 1_000.0, false, now);
    bench.rate.handle(bench.see.at.after(100_000, 100_000, 100, 0), 1_000.0, false, now);
    bench.rate.restart(None);
    // Noise is measured while it cruises.
    bench.enter(State::Cruise);
    bench.see.backlog = false;
    for _ in 0..100 {
        bench.calm();
    }
    bench.see.backlog = true;
    bench.enter(state);
    bench
}

impl Bench {
    /// A report: `packets` that left in `sent` microseconds arrived in `arrived`.
    fn report(&mut self, sent: i32, arrived: i32, packets: u32) -> Phase {
        let see = &mut self.see;
        let before = see.at;
        see.at = before.after(sent, arrived, packets, 0);
        see.now = see.now + Duration::from_micros(u64::try_from(arrived).unwrap());
        see.grows = see.at.since(&before).grows(1.1);
        see.since_report = arrived as f32;
        see.next_number = see.at.settled + 1;
        if self.delay.handle(see.at, see.at.delay, self.rate.value(), self.phases.phase(), see.now) {
            self.phases.note_empty(self.rate.value());
        }
        self.phases.handle(see, &mut self.rate, &mut self.delay);
        self.phases.phase()
    }

    /// A report of 10 ms in which as much arrives as was sent: the queue stays as it is.
    fn calm(&mut self) -> Phase {
        self.report(10_000, 10_000, 10)
    }

    /// Reports like that for so long, or until the phase is another one.
    fn calm_for(&mut self, ms: u32) -> Phase {
        let before = self.phases.phase();
        (0..ms / 10).map(|_| self.calm()).find(|phase| *phase != before).unwrap_or(before)
    }

    /// Reports of a delay that is 5 ms longer in each second one, for so long.
    fn wander_for(&mut self, ms: u32) {
        for _ in 0..ms / 20 {
            self.report(10_000, 5_000, 5);
            self.report(10_000, 15_000, 5);
        }
    }

    fn enter(&mut self, state: State) {
        self.phases.enter(state, self.see.next_number, self.see.now);
    }

    /// A queue of this many microseconds, at the path's rate, and then this state.
    fn queue(&mut self, queue: i32, state: State) {
        self.report(5_000, 5_000 + queue, 5 + u32::try_from(queue / 1_000).unwrap());
        self.phases.brake = Brake::default();
        self.enter(state);
    }
}

fn startup() -> State {
    State::startup(RATE, Instant::from_micros(11_000_000))
}

fn probe() -> State {
    State::Probe { rate_before: RATE }
}

fn drain(after: Cause) -> State {
    State::drain(DRAIN, after)
}

fn compete(bench: &Bench) -> State {
    State::Compete { yielded: bench.see.now, lost: bench.see.lost }
}

/// What must follow from a state, by name: the state, what happens, and the phase that is reached.
#[test]
fn each_phase_ends_by_what_it_waits_for_and_by_nothing_else() {
    type Case = (&'static str, State, fn(&mut Bench), Phase);
    let cases: &[Case] = &[
        (
            "Startup ends when three rounds do not grow",
            startup(),
            |bench| {
                bench.see.sampled = true;
                bench.calm_for(150);
            },
            Phase::Drain,
        ),
        (
            "Startup goes on after two such rounds",
            startup(),
            |bench| {
                bench.see.sampled = true;
                bench.calm_for(100);
            },
            Phase::Startup,
        ),
        (
            "Startup goes on while rounds grow",
            startup(),
            |bench| {
                bench.see.sampled = true;
                for _ in 0..20 {
                    bench.calm_for(50);
                    bench.rate.reset(1.25 * bench.rate.value(), bench.see.now);
                }
            },
            Phase::Startup,
        ),
        (
            "Startup ends by a queue that grows",
            startup(),
            |bench| {
                for _ in 0..4 {
                    bench.report(6_500, 10_000, 10);
                }
            },
            Phase::Drain,
        ),
        (
            "Startup does not end by one step of the delay",
            startup(),
            |bench| {
                bench.report(10_000, 30_000, 10);
                bench.calm_for(180);
            },
            Phase::Startup,
        ),
        (
            "Startup ends by a queue that stays for twenty reports",
            startup(),
            |bench| {
                bench.report(10_000, 30_000, 10);
                assert_eq!(bench.calm_for(180), Phase::Startup);
                bench.calm();
            },
            Phase::Drain,
        ),
        (
            "Startup of a noisy path does not end by a queue that stays",
            startup(),
            |bench| {
                bench.wander_for(500);
                bench.enter(startup());
                bench.report(10_000, 50_000, 10);
                bench.wander_for(400);
                assert!(bench.delay.is_noisy() && bench.delay.queue().smoothed > 2.0 * bench.delay.target());
            },
            Phase::Startup,
        ),
        (
            "Startup does not end for want of packets to send",
            startup(),
            |bench| {
                bench.calm_for(3_000);
            },
            Phase::Startup,
        ),
        (
            "Startup of a path that drops what exceeds its rate ends without a drain",
            startup(),
            |bench| {
                bench.see.is_policed = true;
                bench.calm();
            },
            Phase::Cruise,
        ),
        (
            "Drain ends when the queue is gone",
            drain(Cause::Queue),
            |bench| {
                bench.queue(30_000, drain(Cause::Queue));
                bench.report(20_000, 10_000, 10);
                bench.report(20_000, 10_000, 10);
                assert_eq!(bench.phases.phase(), Phase::Drain);
                bench.report(20_000, 10_000, 10);
            },
            Phase::Cruise,
        ),
        (
            "Drain ends after four rounds and 0.3 s",
            drain(Cause::Queue),
            |bench| {
                bench.queue(30_000, drain(Cause::Queue));
                assert_eq!(bench.calm_for(400), Phase::Drain);
                bench.calm_for(100);
            },
            Phase::Cruise,
        ),
        (
            "Drain for a proof shows a longer way",
            drain(Cause::Proof),
            |bench| {
                bench.queue(30_000, drain(Cause::Proof));
                for _ in 0..3 {
                    bench.report(10_000, 10_000, 5);
                }
                let base = bench.delay.base().unwrap();
                assert!((base - 50_000.0).abs() < 500.0, "{base}");
            },
            Phase::Cruise,
        ),
        (
            "Cruise probes when the period is over",
            State::Cruise,
            |bench| {
                bench.calm_for(600);
            },
            Phase::Probe,
        ),
        (
            "Cruise does not probe while nothing waits",
            State::Cruise,
            |bench| {
                bench.see.backlog = false;
                bench.calm_for(5_000);
            },
            Phase::Cruise,
        ),
        (
            "Cruise does not probe on a queue",
            State::Cruise,
            |bench| {
                bench.queue(6_000, State::Cruise);
                bench.calm_for(900);
            },
            Phase::Cruise,
        ),
        (
            "Cruise drains when no empty queue was seen for a second",
            State::Cruise,
            |bench| {
                bench.queue(6_000, State::Cruise);
                bench.calm_for(1_100);
            },
            Phase::Drain,
        ),
        (
            "Probe ends when it has been heard of",
            probe(),
            |bench| {
                assert_eq!(bench.calm_for(100), Phase::Probe);
                bench.calm();
            },
            Phase::Drain,
        ),
        (
            "Probe ends by a queue",
            probe(),
            |bench| {
                bench.report(1_000, 15_000, 15);
            },
            Phase::Drain,
        ),
        (
            "Compete ends when the queue is gone",
            State::Cruise,
            |bench| {
                bench.queue(30_000, State::Cruise);
                bench.enter(compete(bench));
                bench.calm_for(5_000);
                assert_eq!(bench.phases.phase(), Phase::Compete);
                bench.report(38_000, 10_000, 10);
            },
            Phase::Cruise,
        ),
        (
            "Compete ends without a loss for so long that it is a longer way",
            State::Cruise,
            |bench| {
                bench.queue(30_000, State::Cruise);
                bench.enter(compete(bench));
                assert_eq!(bench.calm_for(29_900), Phase::Compete);
                bench.calm_for(200);
                assert_eq!(bench.delay.base(), None);
            },
            Phase::Cruise,
        ),
    ];
    for (name, state, happens, phase) in cases {
        let mut bench = bench(*state);
        happens(&mut bench);
        assert_eq!(bench.phases.phase(), *phase, "{name}");
    }
}

/// A probe after which the rate is `growth` times that of before, with datagrams that arrive over `arrived` microseconds for each
/// 8,889 in which they leave. Returns the phase after the drain, and the period until the next probe.
fn after_probe(growth: f32, arrived: i32) -> (Phase, f32) {
    let mut bench = bench(probe());
    while bench.phases.phase() == Phase::Probe {
        bench.report(8_889, arrived, 10);
    }
    assert_eq!(bench.phases.phase(), Phase::Drain);
    bench.rate.reset(growth * RATE, bench.see.now);
    while bench.phases.phase() == Phase::Drain {
        let drains = if bench.delay.queue().now > 1_000.0 { 11_000 } else { 10_000 };
        bench.report(drains, 10_000, 10);
    }
    (bench.phases.phase(), bench.phases.period)
}

#[test]
fn a_probe_that_grew_starts_up_again_and_one_in_vain_waits_longer() {
    assert_eq!(after_probe(1.1, 8_889), (Phase::Startup, ROUND), "grew");
    assert_eq!(after_probe(1.02, 8_889), (Phase::Cruise, 750_000.0), "in vain");
    assert_eq!(after_probe(1.1, 10_000), (Phase::Cruise, 750_000.0), "full: what grew is the queue");
}

#[test]
fn no_more_is_sent_than_the_phase_says() {
    let mut bench = bench(startup());
    bench.calm();
    assert_eq!(bench.phases.gain(), STARTUP_GAIN);
    bench.enter(probe());
    bench.calm_for(60);
    assert_eq!(bench.phases.gain(), PROBE_GAIN);
    bench.calm();
    assert_eq!(bench.phases.gain(), 1.0, "the rest of the probe waits for the reports");
    bench.enter(State::Cruise);
    bench.calm();
    assert_eq!(bench.phases.gain(), 1.0);
    bench.queue(12_000, State::Cruise);
    bench.calm();
    assert!((bench.phases.gain() - 0.9).abs() < 0.01, "{} with 12 ms of queue", bench.phases.gain());
    bench.queue(100_000, State::Cruise);
    bench.calm();
    assert_eq!(bench.phases.gain(), CRUISE_LEAST);
}

#[test]
fn the_brake_needs_two_windows_that_fall_behind() {
    let mut one = bench(State::Cruise);
    one.report(20_000, 60_000, 20);
    assert_eq!(one.report(20_000, 20_000, 20), Phase::Cruise);
    assert_eq!(one.report(20_000, 60_000, 20), Phase::Cruise, "not two in a row");
    let mut two = bench(State::Cruise);
    two.phases.brake.from = Some(two.see.at);
    two.report(20_000, 60_000, 20);
    assert_eq!(two.report(20_000, 50_000, 20), Phase::Drain);
    assert_eq!(two.rate.value(), 400_000.0, "the faster of both is the rate");
    assert_eq!(two.phases.gain(), DRAIN);
}

#[test]
fn without_a_queue_the_brake_is_not_pulled() {
    let mut bench = bench(State::Cruise);
    for _ in 0..2 {
        assert_eq!(bench.report(20_000, 25_000, 10), Phase::Cruise);
    }
}

#[test]
fn a_silence_after_which_everything_comes_at_once_does_not_pull_the_brake() {
    for silence in [50, 100, 150, 200, 300] {
        for calm in 0..3 {
            let mut bench = bench(State::Cruise);
            bench.calm_for(10 * calm);
            // The first packet that waited, and then all others.
            bench.report(10_000, 10_000 + 1_000 * silence, 10);
            bench.report(1_000 * silence, 10_000, u32::try_from(silence).unwrap());
            for _ in 0..20 {
                assert_ne!(bench.calm(), Phase::Drain, "{silence} ms");
            }
            assert_eq!(bench.rate.value(), RATE, "{silence} ms");
        }
    }
}

#[test]
fn after_the_brake_the_rate_of_before_is_tried_once() {
    let mut bench = bench(State::Cruise);
    // Long enough for the slow mean.
    bench.see.backlog = false;
    bench.calm_for(1_000);
    bench.report(20_000, 60_000, 20);
    assert_eq!(bench.report(20_000, 50_000, 20), Phase::Drain);
    while bench.phases.phase() == Phase::Drain {
        bench.report(20_000, 10_000, 4);
    }
    assert_eq!(bench.phases.phase(), Phase::Startup);
    bench.enter(State::Cruise);
    bench.report(20_000, 120_000, 20);
    assert_eq!(bench.report(20_000, 120_000, 20), Phase::Drain);
    assert!(matches!(bench.phases.state, State::Drain { after: Cause::Brake { regain: 0.0 }, .. }));
}

#[test]
fn a_path_that_was_silent_empties_before_it_goes_on_where_it_was() {
    let mut bench = bench(State::Cruise);
    bench.see.backlog = false;
    bench.calm_for(100);
    bench.rate.reset(RATE / 4.0, bench.see.now);
    bench.phases.revive(&bench.rate, bench.see.next_number, bench.see.now);
    assert_eq!(bench.phases.phase(), Phase::Drain);
    assert_eq!(bench.calm(), Phase::Startup);
}

#[test]
fn a_queue_that_stands_though_the_rate_was_cut_is_met_by_loss_alone() {
    let mut bench = bench(State::Cruise);
    // A drain that may last for as long as it takes.
    bench.see.round = 600_000.0;
    bench.queue(40_000, drain(Cause::Queue));
    bench.rate.reset(0.4 * RATE, bench.see.now);
    assert_eq!(bench.calm_for(1_900), Phase::Drain);
    assert_eq!(bench.calm_for(200), Phase::Compete);
    assert_eq!(bench.rate.value(), 0.5 * RATE);
    bench.see.round = ROUND;
    bench.calm_for(400);
    let grown = bench.rate.value();
    assert!((grown - (0.5 * RATE + 10.0 * 2.0 * 1_000.0 / 0.04)).abs() < 1_000.0, "{grown}");
    bench.see.lost += 5;
    bench.calm();
    assert!((bench.rate.value() - 0.7 * grown).abs() < 1.0);
    bench.see.lost += 5;
    bench.calm();
    assert!((bench.rate.value() - 0.7 * grown).abs() < 1.0, "once in a round trip");
}

#[test]
fn a_long_queue_is_not_that_of_others_before_it_had_time_to_drain() {
    let mut bench = bench(State::Cruise);
    bench.see.round = 3_000_000.0;
    bench.queue(1_000_000, drain(Cause::Queue));
    bench.rate.reset(0.4 * RATE, bench.see.now);
    assert_eq!(bench.calm_for(3_900), Phase::Drain);
    assert_eq!(bench.calm_for(200), Phase::Compete);
}

#[test]
#[ignore = "fault: Cruise looks for the base each second (STALE_BASE) and counts the queue as seen empty, so that it never \
            stands for two (SQUEEZED); the drain takes the 40 ms that others keep for the base, and then probes find the queue \
            empty"]
fn a_queue_that_others_keep_leads_from_cruise_to_compete() {
    let mut bench = bench(State::Cruise);
    bench.queue(40_000, State::Cruise);
    bench.rate.reset(0.4 * RATE, bench.see.now);
    let phases = (0..1_000).map(|_| {
        let packets = if bench.phases.gain() < 0.8 { 2 } else { 4 };
        bench.report(10_000, 10_000, packets)
    });
    assert!(phases.into_iter().any(|phase| phase == Phase::Compete), "it never competes");
}

#[test]
fn after_a_rate_that_fell_at_once_probes_follow_each_other_soon_and_then_ever_more_slowly() {
    // How long it cruises before each of some probes in vain after a brake that leaves so many packets in 50 ms.
    let periods = |packets: u32| {
        let mut bench = bench(State::Cruise);
        bench.phases.brake.from = Some(bench.see.at);
        bench.report(20_000, 50_000, packets);
        assert_eq!(bench.report(20_000, 50_000, packets), Phase::Drain);
        let mut periods = std::vec::Vec::new();
        for _ in 0..4 {
            bench.enter(State::drain(DRAIN, Cause::Probe { rate_before: bench.rate.value(), is_full: true }));
            bench.delay.set_empty(bench.see.now);
            bench.report(20_000, 1_000, 1);
            periods.push(bench.phases.period);
        }
        periods
    };
    let (little, much) = (periods(42), periods(20));
    assert!(little[0] >= PROBE_JITTER * PROBE_PERIOD.0, "{little:?}");
    assert!(much[0] <= 2.0 * ROUND && much.is_sorted() && much[3] > 2.0 * much[0], "{much:?}");
}
