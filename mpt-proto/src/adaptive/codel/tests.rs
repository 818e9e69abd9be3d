use super::*;
use std::vec::Vec;

const BOUNDS: Bounds = Bounds { target: 5_000, interval: 100_000 };
const STEP: u32 = 100;

/// Asks about a packet each 100 us from `start` on, all with this sojourn; says when one was due.
fn run(codel: &mut Codel, start: u32, micros: u32, sojourn: u32) -> Vec<u32> {
    let times = (0..micros / STEP).map(|step| start.wrapping_add(step * STEP));
    times.filter(|now| codel.is_due(sojourn, false, BOUNDS, *now)).collect()
}

#[test]
fn rfc8289_4_1_a_sojourn_below_the_target_is_never_due() {
    assert_eq!(run(&mut Codel::default(), 0, 5_000_000, BOUNDS.target - 1), []);
}

#[test]
fn rfc8289_4_1_the_target_must_be_exceeded_for_an_interval() {
    let mut codel = Codel::default();
    assert_eq!(run(&mut codel, 0, BOUNDS.interval, 6_000), []);
    assert!(codel.is_due(6_000, false, BOUNDS, BOUNDS.interval));
    // One good packet begins the interval anew.
    let mut codel = Codel::default();
    assert_eq!(run(&mut codel, 0, BOUNDS.interval, 6_000), []);
    assert!(!codel.is_due(4_000, false, BOUNDS, BOUNDS.interval));
    assert_eq!(run(&mut codel, BOUNDS.interval + STEP, BOUNDS.interval, 6_000), []);
}

#[test]
fn rfc8289_4_2_drops_come_at_intervals_over_the_root_of_their_count() {
    for start in [0, u32::MAX - 700_000] {
        let times = run(&mut Codel::default(), start, 3_000_000, 50_000);
        assert!(times.len() > 50, "{}", times.len());
        let mut expected = f64::from(BOUNDS.interval);
        for (count, time) in (1u32..).zip(&times) {
            let error = f64::from(time.wrapping_sub(start)) - expected;
            // The root has eight bits behind the point, and packets come at the steps of the run.
            assert!((-1.0..=f64::from(STEP) + expected / 256.0).contains(&error), "{count}: {error}");
            expected += f64::from(BOUNDS.interval) / f64::from(count).sqrt();
        }
    }
}

#[test]
fn rfc8289_5_4_the_last_packet_is_never_due() {
    let mut codel = Codel::default();
    run(&mut codel, 0, 1_000_000, 50_000);
    assert!(!codel.is_due(50_000, true, BOUNDS, 1_000_000));
    assert_eq!(run(&mut codel, 1_000_100, BOUNDS.interval, 50_000), [], "the queue was empty");
}

#[test]
fn rfc8289_5_4_soon_after_it_resumes_near_the_rate_that_helped_and_later_it_begins_anew() {
    let gap_after = |pause: u32| {
        let mut codel = Codel::default();
        let last = *run(&mut codel, 0, 2_000_000, 50_000).last().unwrap();
        assert!(!codel.is_due(0, false, BOUNDS, 2_000_000));
        assert!(last < 2_000_000);
        let times = run(&mut codel, 2_000_000 + pause, 1_000_000, 50_000);
        times[1] - times[0]
    };
    assert!(gap_after(0) < BOUNDS.interval / 4, "{}", gap_after(0));
    assert_eq!(gap_after(16 * BOUNDS.interval), BOUNDS.interval);
}

#[test]
fn counts_and_bounds_at_their_limits_do_no_harm() {
    let mut codel = Codel { count: u32::MAX, dropping: true, above_at: Some(0), ..Codel::default() };
    assert!(codel.is_due(u32::MAX, false, Bounds { target: 0, interval: u32::MAX }, 1));
    assert!(codel.step(BOUNDS) <= BOUNDS.interval / 255);
    let mut codel = Codel::default();
    let zero = Bounds { target: 0, interval: 0 };
    assert!(!codel.is_due(0, false, zero, 0));
    assert!(codel.is_due(0, false, zero, 0), "without an interval the second packet is due");
}
