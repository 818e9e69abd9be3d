use super::*;
use core::time::Duration;

const START: Instant = Instant::from_micros(1_000_000);

/// Sends all that may leave until `ms` later, looking each `step` microseconds; returns the bytes.
fn send(pacer: &mut Pacer, ms: u64, step: usize) -> u64 {
    let mut sent = 0;
    for time in (0..1_000 * ms).step_by(step) {
        let now = START.later(time);
        while pacer.takes_more(now) {
            pacer.handle_sent(1_000, false, now);
            sent += 1_000;
        }
    }
    sent
}

fn pacer(pace: f32) -> Pacer {
    let mut pacer = Pacer::default();
    pacer.set_pace(pace, 0.0);
    pacer
}

#[test]
fn what_leaves_keeps_to_the_pace() {
    for (pace, step) in [(5_000.0, 200), (1_250_000.0, 200), (1_250_000.0, 1_000), (125_000_000.0, 100)] {
        let sent = send(&mut pacer(pace), 4_000, step) as f32 / 4.0;
        assert!((sent - pace).abs() < 0.01 * pace + 1_000.0, "{sent} of {pace} bytes a second");
    }
}

#[test]
fn a_pause_gives_a_credit_of_a_millisecond_or_of_four_if_the_caller_was_late() {
    for (may_be_late, most) in [(false, 1_000), (true, 4_000)] {
        let mut pacer = pacer(1_000_000.0);
        let mut burst = 0;
        while pacer.takes_more(START) {
            assert_eq!(pacer.handle_sent(100, may_be_late, START), may_be_late && burst == 0);
            burst += 100;
        }
        assert!((most..=most + 100).contains(&burst), "{burst} bytes at once");
    }
}

#[test]
fn a_caller_that_is_in_time_is_not_late() {
    let mut pacer = pacer(1_000_000.0);
    pacer.handle_sent(1_000, false, START);
    assert!(!pacer.handle_sent(1_000, true, START + Duration::from_millis(3)));
    assert!(pacer.handle_sent(1_000, true, START + Duration::from_millis(10)));
}

#[test]
fn a_run_begins_when_enough_time_has_gathered_and_goes_on_until_that_is_used() {
    let mut pacer = pacer(12_500_000.0);
    while pacer.takes_more(START) {
        pacer.handle_sent(1_000, false, START);
    }
    assert!(!pacer.is_ready(START.later(500)) && pacer.takes_more(START.later(500)));
    let later = START.later(900);
    assert!(pacer.is_ready(later));
    let mut run = 0;
    while pacer.takes_more(later) {
        pacer.handle_sent(1_000, false, later);
        run += 1;
    }
    assert!((9..=12).contains(&run), "{run} packets of a run");
}

#[test]
fn the_wait_is_until_a_packet_may_leave() {
    let mut pacer = pacer(1_000_000.0);
    for _ in 0..11 {
        pacer.handle_sent(1_000, false, START);
    }
    let wait = pacer.wait(START);
    assert!((9_900..=10_000).contains(&wait), "{wait} us for ten packets, one of which was credit");
    assert_eq!(pacer.time_of(10_000) / 100, 100);
    assert!(!pacer.takes_more(START.later(wait - 100)) && pacer.takes_more(START.later(wait + 1)));
}

#[test]
fn a_pause_gives_as_much_credit_more_as_noise_hides() {
    let mut pacer = Pacer::default();
    pacer.set_pace(1_000_000.0, 9_000.0);
    let mut burst = 0;
    while pacer.takes_more(START) {
        pacer.handle_sent(100, false, START);
        burst += 100;
    }
    assert!((10_000..=10_100).contains(&burst), "{burst} bytes at once");
}
